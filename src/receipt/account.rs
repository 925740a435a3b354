//! From the store's rows to an [`Account`]: what a receipt may tell about a Submission.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Account, AccountVerdict, AttemptAccount, Check, Deletion, FileAccount, JobAccount, PartAccount};
use crate::config::{Config, Proof};
use crate::job::{Hold, JobState, SubmissionId};
use crate::register::{self, Entry};
use crate::sealed::{Before, Carried, CommandOutcome, JobFacts, Part, SubmissionFacts};
use crate::spool::{Spool, SpoolError};
use crate::store::{self, AnswerKind, AttemptRow, Job, JobFilter, Store, StoreError, Submission};
use crate::text::counted;
use crate::vault::{Purpose, SealKey, VaultError, WrappedKey};

/// Jobs of one Submission that a receipt tells of.
const MOST_JOBS: u32 = 10_000;
/// Parts of one mail that a receipt tells of.
const MOST_PARTS: usize = 100;

/// Why an account cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed value could not be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// There is no such Submission.
    #[error("there is no submission {0}")]
    Unknown(SubmissionId),
}

impl From<VaultError> for AccountError {
    fn from(error: VaultError) -> Self {
        AccountError::Spool(error.into())
    }
}

/// Gives accounts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts {
    config: Arc<Config>,
    store: Store,
    spool: Spool,
}

impl Accounts {
    /// Puts them together.
    #[must_use]
    pub fn new(config: Arc<Config>, store: Store, spool: Spool) -> Self {
        Accounts { config, store, spool }
    }

    /// The account of a Submission; a notice tells of `only_job` alone. That of a command is the account of what it was about.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub async fn account(
        &self,
        id: SubmissionId,
        kind: AnswerKind,
        only_job: Option<&str>,
        now: Timestamp,
    ) -> Result<Account, AccountError> {
        let submission = self.store.submission(id).await?.ok_or(AccountError::Unknown(id))?;
        let (key, facts) = self.opened(&submission)?;
        if submission.verdict != Some(store::Verdict::Command) {
            return self.known((submission, key.as_ref()), facts, (kind, only_job), now).await;
        }
        let Carried { about, outcome, sentence } = facts.command.clone().unwrap_or_else(|| Carried {
            about: None,
            outcome: CommandOutcome::NotDone,
            sentence: "What came of it is told in the ledger only: it was written too late.".to_owned(),
        });
        let original_message_id = facts.message_id.clone();
        let target = match about {
            Some(about) => self.store.submission(about).await?,
            None => None,
        };
        let mut known = match target {
            Some(target) => {
                let (key, facts) = self.opened(&target)?;
                self.known((target, key.as_ref()), facts, (AnswerKind::Final, None), now).await?
            }
            None => self.known((submission, key.as_ref()), facts, (AnswerKind::Final, None), now).await?,
        };
        known.verdict = AccountVerdict::Command { id, outcome, sentence };
        known.original_message_id = original_message_id;
        Ok(known)
    }

    /// A Submission's key and what it seals. Once the key is destroyed, that is left out; everything else can still be told.
    fn opened(&self, submission: &Submission) -> Result<(Option<SealKey>, SubmissionFacts), AccountError> {
        let Some(wrapped) = &submission.wrapped_key else { return Ok((None, SubmissionFacts::default())) };
        let key = self.spool.vault().unwrap_key(&WrappedKey(wrapped.clone()))?;
        let facts = SubmissionFacts::open(&key, &submission.facts)?;
        Ok((Some(key), facts))
    }

    async fn known(
        &self,
        (submission, key): (Submission, Option<&SealKey>),
        facts: SubmissionFacts,
        (kind, only_job): (AnswerKind, Option<&str>),
        now: Timestamp,
    ) -> Result<Account, AccountError> {
        let id = submission.id;
        let filter = JobFilter { submission: Some(id), ..JobFilter::default() };
        let mut jobs = Vec::new();
        for job in self.store.jobs(&filter, MOST_JOBS).await? {
            if only_job.is_none_or(|only| kind == AnswerKind::Final || job.id.as_str() == only) {
                jobs.push(self.job((&submission, &facts), job, key, now).await?);
            }
        }
        if only_job.is_none() {
            jobs.extend(self.before(&facts.before, now).await?);
        }
        let verdict = match submission.verdict {
            Some(store::Verdict::Refused | store::Verdict::Ignored) => {
                let general = "It cannot be faxed as it is.".to_owned();
                AccountVerdict::Refused { sentence: facts.refusal.unwrap_or(general) }
            }
            Some(store::Verdict::Jobs | store::Verdict::Known | store::Verdict::Command) | None => {
                AccountVerdict::Jobs
            }
        };
        Ok(Account {
            submission: id,
            source: submission.source.clone(),
            organization: self.config.organization.name.clone(),
            time_zone: self.config.organization.time_zone.clone(),
            accepted_at: submission.accepted_at,
            original_message_id: facts.message_id,
            verdict,
            jobs,
            deletion: self.deletion(&submission),
            dsn: facts.dsn,
            left: facts.left,
            file: facts.file.map(|name| FileAccount { name, sha256: facts.sha256 }),
        })
    }

    /// The faxes that were made before, of the same mail, with the addresses for which they stand here.
    async fn before(&self, before: &[Before], now: Timestamp) -> Result<Vec<JobAccount>, AccountError> {
        let mut jobs = Vec::new();
        for Before { to, job, submission } in before {
            let (Some(job), Some(first)) =
                (self.store.job(*job).await?, self.store.submission(*submission).await?)
            else {
                continue;
            };
            let (key, facts) = self.opened(&first)?;
            let account = self.job((&first, &facts), job, key.as_ref(), now).await?;
            jobs.push(JobAccount { to: to.clone(), before: Some(*submission), ..account });
        }
        Ok(jobs)
    }

    async fn job(
        &self,
        (submission, sealed): (&Submission, &SubmissionFacts),
        job: Job,
        key: Option<&SealKey>,
        now: Timestamp,
    ) -> Result<JobAccount, AccountError> {
        let facts = match key {
            Some(key) if !job.facts.is_empty() => JobFacts::open(key, &job.facts)?,
            _ => JobFacts::default(),
        };
        let entry = match &job.recipient {
            Some(recipient) => self.store.recipient(recipient).await?,
            None => None,
        };
        let attempts = self.store.attempts(job.id).await?;
        let organization = &self.config.organization;
        let policy = (self.config.policy.two_person, now);
        let proven = (submission, sealed.proof);
        let checklist = checklist(proven, &job, entry.as_ref(), &attempts, policy, &organization.time_zone);
        let packet = job.packet.as_ref();
        let zone = TimeZone::get(&self.config.organization.time_zone).unwrap_or(TimeZone::UTC);
        let parts = parts(&sealed.parts, &facts);
        let warnings = facts.warnings.iter().map(|warning| without_names(warning, &sealed.parts)).collect();
        let hours = entry.as_ref().and_then(|entry| entry.quiet_hours.as_ref());
        let hold_sentence = facts.hold_sentence(job.as_made).map(str::to_owned);
        Ok(JobAccount {
            job: job.id,
            to: facts.to,
            before: None,
            quiet_until: hours.and_then(|hours| hours.until(submission.accepted_at, &zone)),
            reference_mark: facts
                .reference
                .as_ref()
                .map(|reference| self.spool.vault().marker(Purpose::Reference).mark_secret(reference)),
            keep_reference: self.config.rule.iter().any(|rule| rule.name == job.rule && rule.keep_reference),
            reference: facts.reference,
            recipient: entry.map(|entry| (entry.key, entry.name)),
            number: job.number,
            hold_sentence,
            state: job.state,
            pages: packet.map(|packet| packet.pages),
            cover_pages: packet.map_or(0, |packet| packet.cover_pages),
            // What left, as the last Attempt noted it; only a mark of it is left when the documents are gone.
            sha256: attempts
                .last()
                .and_then(|attempt| attempt.sha256.clone())
                .or_else(|| packet.map(|packet| packet.document.sha256.clone()))
                .filter(|sha256| !store::is_mark(sha256)),
            rule: Some(job.rule),
            cancel: job.cancel,
            parts,
            warnings,
            attempts: attempts.into_iter().map(attempt).collect(),
            checklist,
        })
    }

    fn deletion(&self, submission: &Submission) -> Deletion {
        let documents = self.config.retention.documents.signed();
        match (submission.destroyed_at, submission.final_at) {
            (Some(at), _) => Deletion::Done(at),
            (None, Some(at)) => Deletion::By(at.saturating_add(documents).unwrap_or(Timestamp::MAX)),
            (None, None) => {
                Deletion::After { minutes: u32::try_from(documents.as_mins()).unwrap_or(30).max(1) }
            }
        }
    }
}

impl Account {
    /// The same for an answer that travels.
    #[must_use]
    pub fn without_file(&self) -> Account {
        Account { file: None, ..self.clone() }
    }

    /// The same without what the sender wrote or called his files and business, and without the providers' own words: for the record
    /// that is kept for years. Of a reference the mark stays, by which it is known to whoever has it and the master key.
    #[must_use]
    pub fn to_keep(&self) -> Account {
        let mut account = self.without_file();
        for job in &mut account.jobs {
            job.hold_sentence = None;
            // They quote what was asked for, and name files.
            job.warnings = Vec::new();
            job.reference = job.reference.take().filter(|_| job.keep_reference);
            for attempt in &mut job.attempts {
                attempt.raw_text = None;
            }
        }
        if let AccountVerdict::Refused { sentence } = &mut account.verdict {
            *sentence = "It could not be faxed as it was; its sender was told why.".to_owned();
        }
        account
    }
}

/// A warning without file names, which have no place in what travels in clear.
fn without_names(warning: &str, parts: &[Part]) -> String {
    let mut warning = warning.to_owned();
    for (n, part) in (1..).zip(parts.iter().take(MOST_PARTS)) {
        if !part.name.is_empty() {
            warning = warning.replace(&part.name, &format!("part {n}"));
        }
    }
    warning
}

/// What became of each part in the fax of `job`.
fn parts(parts: &[Part], job: &JobFacts) -> Vec<PartAccount> {
    let of_part = |(at, part): (usize, &Part)| {
        let own = job.part_pages.get(at).copied().flatten();
        let pages = own.or(job.body_pages.filter(|_| part.body));
        // Two empty parts are alike without being a document that came twice.
        let same = |other: &&Part| other.sha256 == part.sha256 && part.bytes > 0 && !part.sha256.is_empty();
        let same_as =
            parts.iter().take(at).position(|other| same(&other)).map(|place| place.saturating_add(1));
        PartAccount {
            n: at.saturating_add(1),
            kind: part.kind.word(),
            left_out: part.left_out.clone().filter(|_| pages.is_none()),
            holds: part.holds.is_some(),
            pages,
            same_as,
        }
    };
    parts.iter().take(MOST_PARTS).enumerate().map(of_part).collect()
}

fn attempt(row: AttemptRow) -> AttemptAccount {
    AttemptAccount {
        n: u32::try_from(row.n).unwrap_or(0),
        started_at: row.started(),
        ended_at: row.ended(),
        cause: row.cause(),
        sent: row.sent(),
        copy: row.provider_copy().map(|copy| (copy, row.copy_deleted())),
        pages_sent: row.pages_sent.and_then(|pages| u32::try_from(pages).ok()),
        provider: row.provider,
        outcome: row.outcome,
        remote_id: row.remote_id,
        raw_code: row.raw_code,
        raw_text: row.raw_text,
        stated: row.stated != 0,
    }
}

/// What was checked, with how; the six items of every receipt.
fn checklist(
    (submission, by): (&Submission, Option<Proof>),
    job: &Job,
    entry: Option<&Entry>,
    attempts: &[AttemptRow],
    policy: (bool, Timestamp),
    zone: &str,
) -> Vec<Check> {
    let check = |item: &str, ok: bool, note: String| Check { item: item.to_owned(), ok, note };
    let recipient = register_says(job, entry, policy, zone);
    let (packet, cover) = match &job.packet {
        Some(packet) => (
            (true, format!("{}, every part accounted for", counted(packet.pages, "page"))),
            match packet.cover_pages {
                0 => (true, "left out, as the rule lets its sender ask".to_owned()),
                n => (n == 1, format!("page 1 of {}", packet.pages)),
            },
        ),
        None => ((false, "a part could not be made into pages".to_owned()), (false, "not made".to_owned())),
    };
    let proof = match (&job.state, attempts.last()) {
        (JobState::Delivered, Some(last)) => {
            (true, format!("delivery reported by {} in attempt {}", last.provider, last.n))
        }
        _ => (false, "no delivery was reported".to_owned()),
    };
    vec![
        check("authorization", true, authorization(submission, by)),
        check("recipient", recipient.0, recipient.1),
        check("packet", packet.0, packet.1),
        check("cover sheet", cover.0, cover.1),
        check("privacy", true, "documents sealed from the first byte, none in this receipt".to_owned()),
        check("proof", proof.0, proof.1),
    ]
}

/// Whether the register stands behind the Job at `now`: what it says at this moment, not only that somebody once verified it.
fn register_says(
    job: &Job,
    entry: Option<&Entry>,
    (two_person, now): (bool, Timestamp),
    zone: &str,
) -> (bool, String) {
    let Some(entry) = entry else { return (false, "the number is not in the register".to_owned()) };
    let day = |at: Timestamp| {
        at.in_tz(zone).map_or_else(|_| at.to_string(), |at| at.strftime("%-d %B %Y").to_string())
    };
    let verified = match (&entry.verified_by, entry.verified_at) {
        (Some(by), Some(at)) => Some(format!("number verified by {by} on {}", day(at))),
        _ => None,
    };
    let Some(number) = &job.number else { return (false, "no number is known".to_owned()) };
    match (register::why_not(entry, number, two_person, now), verified) {
        (None, Some(verified)) => (true, verified),
        (Some(Hold::Suspended), Some(verified)) if job.state == JobState::Delivered => {
            (true, format!("{verified}; suspended since"))
        }
        (Some(Hold::Suspended), _) => (false, "the number is suspended".to_owned()),
        (Some(Hold::ExpiredEntry), Some(verified)) => {
            let until = entry.valid_until.map_or(String::new(), |until| format!(" on {}", day(until)));
            (false, format!("{verified}, which expired{until}"))
        }
        _ if entry.number != *number => (false, "the register has another number for it now".to_owned()),
        (Some(_), Some(verified)) => (false, format!("{verified}; a second person has to confirm it")),
        (_, None) => (false, "nobody has verified this number".to_owned()),
    }
}

/// Whose it is, and what proved that where it is a mail.
fn authorization(submission: &Submission, by: Option<Proof>) -> String {
    let sent = format!("sent by {} over {}", submission.sender, submission.source);
    by.map_or(sent.clone(), |proof| format!("{sent}: {}", proof.words()))
}
