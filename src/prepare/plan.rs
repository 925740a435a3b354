//! What a Submission would become: for each address it names, the rule, the recipient, the cover, or why it is held.
//!
//! Reads the register, changes nothing. The daemon carries a [`Plan`] out; `faxbridge preview` shows it.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::addressing::directive::{Asked, Said, Stop, Target};
use crate::addressing::letter::{Dialect, Letter};
use crate::addressing::readers::{self, Addressed, Reader};
use crate::addressing::{Facts, Moment, Selection};
use crate::config::{Config, Proof, Provider, Sender};
use crate::cover::author::Claim;
use crate::cover::{self, Sheet};
use crate::intake::not_faxed;
use crate::job::{self, FaxNumber, Hold, JobId, Priority, Source};
use crate::packet::Contents;
use crate::register::number::{self, NumberRules};
use crate::register::{self, Entry, Wanted};
use crate::routing::{Ask, Route, Routed, Rules, Trace};
use crate::store::{FaxMark, Store, StoreError};

use super::holds::Holds;
use super::wishes::{self, Bounds, Granted};

/// What is known of a Submission before its documents are opened.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Where it comes from.
    pub source: Source,
    /// The sender's name in the configuration.
    pub sender: String,
    /// Envelope recipients of a mail; what was asked for on the command line.
    pub to: Vec<String>,
    /// Name of a file.
    pub file: Option<String>,
    /// The register's key that `preview --recipient` puts in the place of what rules would say.
    pub recipient: Option<String>,
    /// Envelope sender of a mail.
    pub envelope_from: Option<String>,
    /// What proved that a mail is its sender's.
    pub proof: Option<Proof>,
    /// What the proof of its sender leaves open.
    pub doubt: Option<String>,
    /// The envelope recipients that the doubt is about; all where none is named.
    pub doubtful: Vec<String>,
    /// When it was accepted: what times of day in it are counted from. Left out, now.
    pub accepted_at: Option<Timestamp>,
    /// Its Jobs so far, where it is prepared anew: what takes the place of one keeps its name.
    pub former: Vec<Former>,
}

impl Request {
    /// What the proof of its sender leaves open of a Job for this envelope recipient.
    fn doubt_about(&self, envelope: Option<&str>) -> Option<&str> {
        let is_meant = |to: &str| self.doubtful.iter().any(|about| about.eq_ignore_ascii_case(to));
        self.doubt.as_deref().filter(|_| self.doubtful.is_empty() || envelope.is_none_or(is_meant))
    }

    /// What the mail says of its author, and what that is worth.
    #[must_use]
    pub fn claim<'a>(&'a self, contents: &'a Contents, sender: Option<&'a Sender>) -> Claim<'a> {
        Claim {
            sender,
            proof: self.proof,
            envelope_from: self.envelope_from.as_deref(),
            mail: contents.mail.as_ref(),
        }
    }
}

/// A Job that stands until its Submission has been prepared anew.
#[derive(Debug, Clone)]
pub struct Former {
    /// The envelope recipients that it stands for.
    pub to: Vec<String>,
    /// Its name.
    pub id: JobId,
    /// How often it was changed.
    pub version: i64,
}

impl Former {
    fn stands_for(&self, envelope: Option<&str>) -> bool {
        envelope.map_or(self.to.is_empty(), |envelope| self.to.iter().any(|to| to == envelope))
    }
}

/// What a Submission becomes.
#[derive(Debug, Clone)]
pub enum Plan {
    /// It must be neither faxed nor answered; the reason, for the log.
    Ignored(String),
    /// Nothing of it can be faxed; the sentence for its sender, and what each rule said.
    Refused(String, Vec<Trace>),
    /// It was an answer to a receipt, and is carried out.
    Command(crate::sealed::Carried),
    /// These Jobs.
    Jobs(Vec<PlannedJob>),
}

/// A Job to be.
#[derive(Debug, Clone)]
pub struct PlannedJob {
    /// Its name.
    pub id: JobId,
    /// How often it was changed, this time included; 1 for a new one.
    pub version: i64,
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
    /// Why it is held.
    pub holds: Holds,
    /// Pages of the documents to send; all where it is `None`.
    pub selection: Option<Selection>,
    /// Its cover. The pages on it do not count those of `body` yet.
    pub sheet: Sheet,
    /// Whether the cover is sent.
    pub cover: bool,
    /// The mail's text, where it is faxed as pages.
    pub body: Option<String>,
    /// Not before this instant.
    pub send_at: Option<Timestamp>,
    /// How urgent.
    pub priority: Priority,
    /// What its sender would like to know, as sentences.
    pub warnings: Vec<String>,
    /// The providers that may send it, in order.
    pub providers: Vec<String>,
    /// By which the same mail to the same number is known; made when the plan is carried out.
    pub mark: Option<FaxMark>,
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
        let sender = self.sender(&request.sender);
        if let Some(automatic) = contents.mail.as_ref().and_then(|mail| mail.automatic.as_ref())
            && let Some(sentence) = not_faxed(sender, automatic)
        {
            // An answer to a notice could be answered by a notice.
            return Ok(match automatic.notice {
                true => Plan::Ignored(automatic.reason.clone()),
                false => Plan::Refused(sentence, Vec::new()),
            });
        }
        let moment = Moment {
            now: request.accepted_at.unwrap_or(now),
            zone: self.zone.clone(),
            most: self.config.policy.send_at_most.signed(),
        };
        let letter = match letter(contents, sender, &moment) {
            Ok(letter) => letter,
            Err(stop) => return Ok(Plan::Refused(stop.sentence(), Vec::new())),
        };
        let mut batch = Batch::default();
        let mut former = request.former.clone();
        for (envelope, addressed) in self.addresses(request, contents, sender, &letter) {
            let to = addressed.as_ref().map(|addressed| addressed.to.as_str());
            let routed = self.route(request, &letter, to);
            let Some(route) = routed.route.clone() else {
                // Another system's form that was no address in the end says best why no rule takes it.
                let form = addressed.and_then(|addressed| addressed.said.err()).map(Stop::sentence);
                batch.refuse(form.or(contents.hold.clone()).or(routed.refusal()).unwrap_or_default());
                batch.traces.extend(routed.trace);
                continue;
            };
            let own = match addressed.map_or(Ok(Vec::new()), |addressed| addressed.said) {
                Ok(own) => own,
                Err(stop) => return Ok(Plan::Refused(stop.sentence(), routed.trace)),
            };
            let place = former.iter().position(|known| known.stands_for(envelope.as_deref()));
            let former = place.map(|place| former.swap_remove(place)).map(|known| (known.id, known.version));
            let doubt = request.doubt_about(envelope.as_deref());
            let case = Case { request, contents, letter: &letter, own: &own, doubt, former, now };
            match self.job(&case, route, routed.trace).await? {
                Ok(job) => {
                    if let Err(sentence) = batch.add(job, own, envelope) {
                        return Ok(Plan::Refused(sentence, Vec::new()));
                    }
                }
                Err((stop, trace)) => return Ok(Plan::Refused(stop.sentence(), trace)),
            }
        }
        Ok(batch.plan())
    }

    /// The envelope recipients, each with the form that rules take apart; one without an address where there is none.
    fn addresses(
        &self,
        request: &Request,
        contents: &Contents,
        sender: Option<&Sender>,
        letter: &Letter,
    ) -> Vec<(Option<String>, Option<Addressed>)> {
        if request.to.is_empty() {
            return vec![(None, None)];
        }
        let readers: &[Reader] = match (sender, &contents.mail) {
            (Some(sender), Some(_)) if request.source != Source::Cli => &sender.readers,
            _ => &[],
        };
        let addressees = contents.mail.as_ref().map_or(&[][..], |mail| &mail.addressees);
        let claimed = letter.targets();
        let expand = |to: &String| {
            let forms = readers::expand(to, readers, addressees, &claimed);
            forms.into_iter().map(|form| (Some(to.clone()), Some(form))).collect::<Vec<_>>()
        };
        request.to.iter().flat_map(expand).collect()
    }

    fn route(&self, request: &Request, letter: &Letter, to: Option<&str>) -> Routed {
        let asked = request.recipient.clone().map(Ask::Key).or_else(|| {
            // On the command line a person names the recipient, not an address that rules take apart.
            (request.source == Source::Cli).then(|| to.map(ask_for)).flatten()
        });
        if let Some(ask) = asked {
            return Routed { trace: Vec::new(), route: Some(Route::direct(ask)) };
        }
        self.rules.route(&Facts {
            source: request.source.clone(),
            sender: request.sender.clone(),
            to: to.map(str::to_owned),
            subject: letter.subject.clone(),
            file: request.file.clone(),
        })
    }

    /// One Job, or why the whole mail goes nowhere.
    async fn job(
        &self,
        case: &Case<'_>,
        mut route: Route,
        trace: Vec<Trace>,
    ) -> Result<Result<PlannedJob, (Stop, Vec<Trace>)>, StoreError> {
        let Case { request, contents, letter, now, .. } = *case;
        let sender = self.sender(&request.sender);
        let providers = self.providers(&route);
        let asked = Asked::gather(letter.said.iter().chain(case.own));
        let granted = asked.and_then(|asked| {
            let bounds = Bounds { sender, header_printed: self.header_is_printed(&providers) };
            let granted = wishes::grant(&asked, letter, &mut route, contents, bounds)?;
            Ok((asked, granted))
        });
        let (asked, granted) = match granted {
            Ok(both) => both,
            Err(stop) => return Ok(Err((stop, trace))),
        };
        let (entry, number, unknown) = self.look_up(&route.ask, now).await?;
        let mut holds = Holds::default();
        holds.extend(unknown);
        if let Err(stop) = self.same_target(&asked, &route.ask, entry.as_ref(), number.as_ref()) {
            return Ok(Err((stop, trace)));
        }
        let chance = job::chance().map_err(|_| StoreError::Closed)?;
        let (id, version) =
            case.former.map_or((JobId::new(now, chance), 1), |(id, version)| (id, version + 1));
        let mut chosen = |fault: crate::addressing::selection::SelectionError| {
            holds.add(Hold::Part, fault.to_string());
        };
        // A rule's list that is none was reported when the configuration was loaded.
        if let Some(Err(fault)) = route.pages.as_deref().map(str::parse::<Selection>) {
            chosen(fault);
        }
        let selected = granted.selection.as_ref().map(|selection| selection.of(contents.pages));
        let (pages, selection) = match selected {
            None => (contents.pages, None),
            Some(Ok(pages)) => (u32::try_from(pages.len()).unwrap_or(u32::MAX), granted.selection.clone()),
            Some(Err(fault)) => {
                chosen(fault);
                (contents.pages, granted.selection.clone())
            }
        };
        let Granted { cover, body, send_at, priority, mut warnings, .. } = granted.clone();
        let (author, told) = request.claim(contents, sender).author(&self.config);
        warnings.extend(told.filter(|_| cover).map(str::to_owned));
        let sheet = cover::fill::sheet(&cover::fill::Known {
            config: &self.config,
            sender,
            author,
            subject: granted.subject.as_deref(),
            message: granted.message.as_deref(),
            attention: granted.attention.as_deref(),
            from: granted.from.as_deref(),
            entry: entry.as_ref(),
            number: number.as_ref(),
            route: &route,
            job: id,
            pages: pages.saturating_add(u32::from(cover)),
            at: now.to_zoned(self.zone.clone()),
        });
        let part = contents.hold.clone().filter(|_| !(contents.nothing && body.is_some()));
        holds.extend(part.map(|sentence| (Hold::Part, sentence)));
        holds.extend(cover::clinical(&sheet).filter(|_| cover).map(|sentence| (Hold::Cover, sentence)));
        holds.extend(case.doubt.map(|sentence| (Hold::Proof, sentence.to_owned())));
        Ok(Ok(PlannedJob {
            id,
            version,
            to: Vec::new(),
            entry,
            number,
            route,
            trace,
            holds,
            selection,
            sheet,
            cover,
            body,
            send_at,
            priority,
            warnings,
            providers,
            mark: None,
        }))
    }

    /// Whoever else the mail names has to be the one whom the address and the rules name: a directive never sends elsewhere.
    fn same_target(
        &self,
        asked: &Asked,
        ask: &Ask,
        entry: Option<&Entry>,
        number: Option<&FaxNumber>,
    ) -> Result<(), Stop> {
        for told in &asked.targets {
            let same = match (&told.value, ask, number) {
                // As it is written in both places: also where it is no number that could be dialled.
                (Target::Number(claimed), Ask::Number(asked), _) if claimed == asked => true,
                (Target::Number(claimed), _, Some(number)) => {
                    number.as_str().trim_start_matches('+') == claimed.trim_start_matches('+')
                        || number::parse(claimed, &self.numbers).is_ok_and(|claimed| claimed == *number)
                }
                (Target::Key(claimed), Ask::Key(asked), _) if claimed == asked => true,
                (Target::Key(claimed), ..) => entry.is_some_and(|entry| entry.key == *claimed),
                (Target::Number(_), _, None) => false,
            };
            if !same {
                return Err(told.stop(
                    "is not the number that the address stands for; a fax goes where its address says. Correct one of them",
                ));
            }
        }
        Ok(())
    }

    /// Whether every one of `providers` prints who sends and when.
    fn header_is_printed(&self, providers: &[String]) -> bool {
        let prints = |name: &String| self.config.provider.get(name).is_some_and(Provider::says_who_sends);
        !providers.is_empty() && providers.iter().all(prints)
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

/// What there is to plan a Job from.
#[derive(Clone, Copy)]
struct Case<'a> {
    request: &'a Request,
    contents: &'a Contents,
    letter: &'a Letter,
    /// What the address itself asked for.
    own: &'a [Said],
    /// What the proof of the sender leaves open of it.
    doubt: Option<&'a str>,
    /// The Job in whose place it comes, and its version.
    former: Option<(JobId, i64)>,
    now: Timestamp,
}

/// The Jobs of one Submission.
#[derive(Default)]
struct Batch {
    jobs: Vec<PlannedJob>,
    /// For each of them: what its address asked for, and how many addresses mean it.
    sources: Vec<(Vec<Said>, usize)>,
    refusal: Option<String>,
    traces: Vec<Trace>,
}

impl Batch {
    /// The first reason is told.
    fn refuse(&mut self, sentence: String) {
        self.refusal.get_or_insert(sentence);
    }

    /// Adds a Job. Two addresses that mean the same telephone get one fax, if they want the same.
    fn add(&mut self, mut job: PlannedJob, own: Vec<Said>, envelope: Option<String>) -> Result<(), String> {
        let mut both = self.jobs.iter_mut().zip(&mut self.sources);
        let known = both.find(|(known, _)| known.number.is_some() && known.number == job.number);
        let Some((known, (asked, times))) = known else {
            job.to.extend(envelope);
            self.jobs.push(job);
            self.sources.push((own, 1));
            return Ok(());
        };
        let wishes = |said: &[Said]| said.iter().map(|said| said.wish.clone()).collect::<Vec<_>>();
        if wishes(asked) != wishes(&own) || !is_same_fax(known, &job) {
            return Err("Two of the addresses mean the same number and ask for different faxes to it. Send them in two mails."
                .to_owned());
        }
        known.to.extend(envelope.filter(|to| !known.to.contains(to)));
        *times += 1;
        Ok(())
    }

    fn plan(mut self) -> Plan {
        if let Some(sentence) = self.refusal {
            // Half a batch is worse than none: where one address goes nowhere, the sender hears of it and nothing is sent.
            return Plan::Refused(sentence, self.traces);
        }
        for (job, (_, times)) in self.jobs.iter_mut().zip(&self.sources).filter(|(_, (_, times))| *times > 1)
        {
            let number = job.number.as_ref().map(crate::job::number_words).unwrap_or_default();
            job.warnings.push(format!("{times} of the addresses mean {number}; it is faxed there once."));
        }
        Plan::Jobs(self.jobs)
    }
}

/// Whether two rules make the same of a mail: what the second address would add must not be lost with it.
fn is_same_fax(one: &PlannedJob, other: &PlannedJob) -> bool {
    let pages = |job: &PlannedJob| (job.selection.clone(), job.body.clone(), job.cover);
    let course = |job: &PlannedJob| (job.send_at, job.priority, job.providers.clone());
    let told = |job: &PlannedJob| {
        let sheet = &job.sheet;
        (sheet.subject.clone(), sheet.identifier.clone(), sheet.reference.clone(), sheet.message.clone())
    };
    pages(one) == pages(other) && course(one) == course(other) && told(one) == told(other)
}

/// The mail's subject and text with what they ask for. What is no mail asks for nothing.
fn letter(contents: &Contents, sender: Option<&Sender>, moment: &Moment) -> Result<Letter, Stop> {
    let (text, Some(mail)) = (contents.text.as_deref(), &contents.mail) else { return Ok(Letter::default()) };
    let dialect = match sender {
        Some(sender) => Dialect { directives: sender.directives, readers: &sender.readers },
        None => Dialect { directives: false, readers: &[] },
    };
    Letter::read(mail, text, dialect, moment)
}

/// What a person means who names a recipient: a key where it can be one (a key has a letter), else a number.
fn ask_for(text: &str) -> Ask {
    let text = text.trim();
    match register::check_key(text) {
        Ok(()) => Ask::Key(text.to_owned()),
        Err(_) => Ask::Number(text.to_owned()),
    }
}
