//! What a Submission would become: for each address it names, the rule, the recipient, the cover, or why it is held.
//!
//! Reads the register, changes nothing. The daemon carries a [`Plan`] out; `faxbridge preview` shows it.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::addressing::Facts;
use crate::config::{Config, Sender};
use crate::cover::{self, Sheet};
use crate::job::{self, FaxNumber, Hold, JobId};
use crate::packet::{Contents, Selection};
use crate::register::number::NumberRules;
use crate::register::{self, Entry, Wanted};
use crate::routing::{Ask, Route, Routed, Rules, Trace};
use crate::store::{Store, StoreError};

/// What is known of a Submission before its documents are opened.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `smtp`, `sftp:USER`, `folder:NAME`, `cli`.
    pub source: String,
    /// The sender's name in the configuration.
    pub sender: String,
    /// Envelope recipients of a mail; what was asked for on the command line.
    pub to: Vec<String>,
    /// Name of a file.
    pub file: Option<String>,
    /// The register's key that `preview --recipient` puts in the place of what rules would say.
    pub recipient: Option<String>,
}

/// What a Submission becomes.
#[derive(Debug, Clone)]
pub enum Plan {
    /// It must be neither faxed nor answered; the reason, for the log.
    Ignored(String),
    /// Nothing of it can be faxed; the sentence for its sender, and what each rule said.
    Refused(String, Vec<Trace>),
    /// It was an answer to a receipt, and is carried out.
    Command(crate::commands::Carried),
    /// These Jobs.
    Jobs(Vec<PlannedJob>),
}

/// A Job to be.
#[derive(Debug, Clone)]
pub struct PlannedJob {
    /// Its name.
    pub id: JobId,
    /// The envelope recipients that it stands for: more than one where they mean the same telephone.
    pub to: Vec<String>,
    /// The register's entry, where there is one.
    pub entry: Option<Entry>,
    /// The number, as far as it is known.
    pub number: Option<FaxNumber>,
    /// Where the rules send it.
    pub route: Route,
    /// What each rule said.
    pub trace: Vec<Trace>,
    /// Why it is held, and the sentence for its sender.
    pub held: Option<(Hold, String)>,
    /// Pages of the documents to send; all where it is `None`.
    pub selection: Option<Selection>,
    /// Its cover.
    pub sheet: Sheet,
    /// The providers that may send it, in order.
    pub providers: Vec<String>,
}

/// Plans Submissions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Planner {
    config: Arc<Config>,
    store: Store,
    rules: Arc<Rules>,
    numbers: Arc<NumberRules>,
    zone: TimeZone,
}

impl Planner {
    /// Puts a planner together.
    ///
    /// # Errors
    /// A sentence where country or time zone are unknown.
    pub fn new(config: Arc<Config>, store: Store, rules: Arc<Rules>) -> Result<Planner, String> {
        let numbers = Arc::new(NumberRules::new(&config.organization.country, &config.policy.countries)?);
        let zone = TimeZone::get(&config.organization.time_zone).map_err(|e| e.to_string())?;
        Ok(Planner { config, store, rules, numbers, zone })
    }

    /// How numbers are read here.
    #[must_use]
    pub fn numbers(&self) -> &NumberRules {
        &self.numbers
    }

    /// Decides what `request` with these `contents` becomes.
    ///
    /// # Errors
    /// Where the database or the machine's randomness fails.
    pub async fn plan(
        &self,
        request: &Request,
        contents: &Contents,
        now: Timestamp,
    ) -> Result<Plan, StoreError> {
        if let Some(reason) = contents.mail.as_ref().and_then(|mail| mail.auto_submitted.clone()) {
            return Ok(Plan::Ignored(reason));
        }
        let mut jobs = Vec::new();
        let mut numbers = HashSet::new();
        let mut refusal = None;
        let mut traces = Vec::new();
        let addresses: Vec<Option<&String>> =
            if request.to.is_empty() { vec![None] } else { request.to.iter().map(Some).collect() };
        for to in addresses {
            let routed = self.route(request, contents, to);
            let Some(route) = routed.route.clone() else {
                refusal = refusal.or(routed.refusal());
                traces.extend(routed.trace);
                continue;
            };
            let mut job = self.job(request, contents, route, routed.trace, now).await?;
            // Two addresses that mean the same telephone get one fax.
            if job.number.as_ref().is_some_and(|number| !numbers.insert(number.clone())) {
                let first = jobs.iter_mut().find(|other: &&mut PlannedJob| other.number == job.number);
                if let Some(first) = first {
                    first.to.extend(to.cloned());
                }
                continue;
            }
            job.to.extend(to.cloned());
            jobs.push(job);
        }
        Ok(match refusal {
            // Half a batch is worse than none: where one address goes nowhere, the sender hears of it and nothing is sent.
            Some(sentence) => Plan::Refused(sentence, traces),
            None => Plan::Jobs(jobs),
        })
    }

    fn route(&self, request: &Request, contents: &Contents, to: Option<&String>) -> Routed {
        let asked = request.recipient.clone().map(Ask::Key).or_else(|| {
            // On the command line a person names the recipient, not an address that rules take apart.
            (request.source == "cli").then(|| to.map(|to| ask_for(to))).flatten()
        });
        if let Some(ask) = asked {
            return Routed { trace: Vec::new(), route: Some(direct(ask)) };
        }
        self.rules.route(&Facts {
            source: request.source.clone(),
            sender: request.sender.clone(),
            to: to.cloned(),
            subject: contents.mail.as_ref().and_then(|mail| mail.subject.clone()),
            file: request.file.clone(),
        })
    }

    async fn job(
        &self,
        request: &Request,
        contents: &Contents,
        route: Route,
        trace: Vec<Trace>,
        now: Timestamp,
    ) -> Result<PlannedJob, StoreError> {
        let chance = job::chance().map_err(|_| StoreError::Closed)?;
        let id = JobId::new(now, chance);
        let (entry, number, mut held) = self.look_up(&route.ask, now).await?;
        let selection = match route.pages.as_deref().map(str::parse::<Selection>) {
            None => None,
            Some(Ok(selection)) => Some(selection),
            Some(Err(fault)) => {
                held.get_or_insert((Hold::Part, fault.to_string()));
                None
            }
        };
        let pages = match selection.as_ref().map(|selection| selection.of(contents.pages)) {
            None => contents.pages,
            Some(Ok(chosen)) => u32::try_from(chosen.len()).unwrap_or(u32::MAX),
            Some(Err(fault)) => {
                held.get_or_insert((Hold::Part, fault.to_string()));
                contents.pages
            }
        };
        let sheet = cover::fill::sheet(&cover::fill::Known {
            config: &self.config,
            sender: self.sender(&request.sender),
            mail: contents.mail.as_ref(),
            text: contents.text.as_deref(),
            entry: entry.as_ref(),
            number: number.as_ref(),
            route: &route,
            job: id,
            pages: pages.saturating_add(1),
            at: now.to_zoned(self.zone.clone()),
        });
        if let Some(sentence) = &contents.hold {
            held = Some((Hold::Part, sentence.clone()));
        } else if let Some(sentence) = cover::clinical(&sheet) {
            // Goes before what the register says: once the number is verified, nobody would look at the cover again.
            held = Some((Hold::Cover, sentence));
        }
        let providers = self.providers(&route);
        Ok(PlannedJob { id, to: Vec::new(), entry, number, route, trace, held, selection, sheet, providers })
    }

    /// The register's answer to what was asked for: entry and number as far as they are known, and why the Job is held.
    async fn look_up(
        &self,
        ask: &Ask,
        now: Timestamp,
    ) -> Result<(Option<Entry>, Option<FaxNumber>, Option<(Hold, String)>), StoreError> {
        let wanted = match register::lookup(ask, &self.numbers) {
            Ok(wanted) => wanted,
            Err(held) => return Ok((None, None, Some(held))),
        };
        let number = match &wanted {
            Wanted::Number(number) => Some(number.clone()),
            Wanted::Key(key) => self.store.recipient(key).await?.map(|entry| entry.number),
        };
        // Entries of other names with the same number count too: a dead number is dead under every name.
        let found = match &number {
            Some(number) => self.store.recipients_with_number(number).await?,
            None => Vec::new(),
        };
        match register::resolve(ask, &found, &self.numbers, self.config.policy.two_person, now) {
            Ok(entry) => Ok((Some(entry.clone()), number, None)),
            Err((hold, mut sentence)) => {
                if let (Some(number), true) = (&number, found.is_empty()) {
                    sentence = self.with_likely_slip(number, sentence).await?;
                }
                let meant = found.iter().find(|entry| match &wanted {
                    Wanted::Key(key) => entry.key == *key,
                    Wanted::Number(_) => true,
                });
                Ok((meant.cloned(), number, Some((hold, sentence))))
            }
        }
    }

    /// A number that nobody knows may be one that somebody knows, mistyped.
    async fn with_likely_slip(&self, number: &FaxNumber, sentence: String) -> Result<String, StoreError> {
        let all = self.store.recipients().await?;
        let slip = register::slip_sentence(&register::slips(number, &all));
        Ok(slip.map_or(sentence.clone(), |slip| format!("{sentence} {slip}")))
    }

    /// Who may send it: as its rule says, else as the policy does, else the first by name.
    fn providers(&self, route: &Route) -> Vec<String> {
        [&route.providers, &self.config.policy.providers]
            .into_iter()
            .find(|names| !names.is_empty())
            .cloned()
            .unwrap_or_else(|| self.config.provider.keys().take(1).cloned().collect())
    }

    fn sender(&self, name: &str) -> Option<&Sender> {
        self.config.sender.iter().find(|sender| sender.name == name)
    }
}

/// What a person means who names a recipient: a key where it can be one (a key has a letter), else a number.
fn ask_for(text: &str) -> Ask {
    let text = text.trim();
    match register::check_key(text) {
        Ok(()) => Ask::Key(text.to_owned()),
        Err(_) => Ask::Number(text.to_owned()),
    }
}

fn direct(ask: Ask) -> Route {
    Route {
        rule: "asked for directly".to_owned(),
        ask,
        reference: None,
        identifier: None,
        body_on_cover: false,
        body_as_pages: false,
        cover_may_be_left_out: false,
        subject_on_cover: true,
        pages: None,
        providers: Vec::new(),
    }
}
