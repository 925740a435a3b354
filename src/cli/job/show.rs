//! `faxbridge job show`: all that a clerk needs to know about a job.

use faxbridge::job::number_words;
use faxbridge::job::{Id, JobId, JobState, Priority, SubmissionId};
use faxbridge::store::{
    AnswerKind, AnswerRow, AnswerWay, AttemptRow, Job, JobFilter, ProviderCopy, Submission, Verdict,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::JobCommands;
use super::words::{attempt_words, cancel_words, state_words};
use crate::cli::Misuse;
use crate::cli::listing::{count, plain, say};
use crate::cli::preview::shape::trace_words;
use faxbridge::sealed::JobFacts;

/// Jobs of one submission that are shown.
const JOBS_AT_MOST: u32 = 1000;

impl JobCommands {
    pub(super) async fn show(&self, id: &str, json: bool) -> anyhow::Result<()> {
        // Jobs and submissions are named alike: which it is, the store knows.
        let plain_id: Id = id.parse().map_err(|error| Misuse(format!("{error}")))?;
        let as_job: JobId = plain_id.as_str().parse()?;
        if let Some(job) = self.bridge.store.job(as_job).await? {
            let submission = self.submission(job.submission).await?;
            return self.show_job(&job, &submission, json).await;
        }
        let as_submission: SubmissionId = plain_id.as_str().parse()?;
        let Some(submission) = self.bridge.store.submission(as_submission).await? else {
            anyhow::bail!(
                "there is neither a job nor a submission {plain_id}; `faxbridge job list` shows the latest jobs"
            );
        };
        let filter = JobFilter { submission: Some(submission.id), ..JobFilter::default() };
        let jobs = self.bridge.store.jobs(&filter, JOBS_AT_MOST).await?;
        if jobs.is_empty() {
            return self.show_jobless(&submission, json);
        }
        for (n, job) in jobs.iter().enumerate() {
            if n > 0 && !json {
                say("")?;
            }
            self.show_job(job, &submission, json).await?;
        }
        Ok(())
    }

    /// A submission that is not prepared yet, or became nothing.
    fn show_jobless(&self, submission: &Submission, json: bool) -> anyhow::Result<()> {
        let refusal = self.refusal(submission);
        let words = match submission.verdict {
            None => "accepted; its documents are not opened yet".to_owned(),
            Some(Verdict::Ignored) => {
                "ignored: it is the mail of a machine, and is neither faxed nor answered".to_owned()
            }
            Some(Verdict::Refused) => {
                let why = refusal.clone().unwrap_or_else(|| "the sender was told why".to_owned());
                format!("refused: {why}")
            }
            Some(Verdict::Command) => "an answer to a receipt, with a command in it".to_owned(),
            Some(Verdict::Known) => self.known_words(submission),
            Some(Verdict::Jobs) => "prepared, without jobs".to_owned(),
        };
        if json {
            return say(json!({
                "submission": submission.id.as_str(),
                "source": submission.source.to_string(),
                "sender": submission.sender,
                "accepted_at": submission.accepted_at.to_string(),
                "verdict": submission.verdict.map(Verdict::as_str),
                "reason": refusal,
                "destroyed_at": submission.destroyed_at.map(|at| at.to_string()),
            }));
        }
        self.line(
            "submission",
            &format!("{}, by {} from {}", submission.id, submission.source, submission.sender),
        )?;
        self.line("accepted", &self.times.full(submission.accepted_at))?;
        self.line("state", &words)
    }

    /// By which faxes a submission is known that brought nothing new.
    fn known_words(&self, submission: &Submission) -> String {
        let facts = self.unseal(submission).submission(submission);
        let before = facts.map(|facts| facts.before).unwrap_or_default();
        let jobs: Vec<String> = before.iter().map(|before| before.job.to_string()).collect();
        match jobs.is_empty() {
            true => "known: the same mail came before and was faxed then".to_owned(),
            false => format!("known: the same mail came before, and is faxed as job {}", jobs.join(", ")),
        }
    }

    async fn show_job(&self, job: &Job, submission: &Submission, json: bool) -> anyhow::Result<()> {
        let store = &self.bridge.store;
        let attempts = store.attempts(job.id).await?;
        let answers = store.answers(submission.id).await?;
        let answers: Vec<AnswerRow> = answers
            .into_iter()
            .filter(|answer| answer.job_id.as_deref().is_none_or(|id| id == job.id.as_str()))
            .collect();
        let facts = self.unseal(submission).job(job);
        let history = store.history(job.id).await?;
        if json {
            let mut record = super::listed(job);
            let more = json!({
                "source": submission.source.to_string(),
                "sender": submission.sender,
                "accepted_at": submission.accepted_at.to_string(),
                "reference": facts.as_ref().and_then(|facts| facts.reference.clone()),
                "recipient_name": facts.as_ref().map(|facts| facts.recipient_name.clone()),
                "hold_sentence": self.hold_words(job, submission),
                "warnings": facts.as_ref().map(|facts| facts.warnings.clone()),
                "trace": facts.as_ref().map(|facts| &facts.trace),
                "attempts": attempts.iter().map(attempt_record).collect::<Vec<_>>(),
                "answers": answers.iter().map(answer_record).collect::<Vec<_>>(),
                "destroyed_at": submission.destroyed_at.map(|at| at.to_string()),
                "history": history.iter().map(|row| json!({
                    "at": at(row.at).map(|at| at.to_string()), "actor": row.actor, "event": row.event, "detail": row.detail,
                })).collect::<Vec<_>>(),
            });
            if let (Value::Object(record), Value::Object(more)) = (&mut record, more) {
                record.extend(more);
            }
            return say(record);
        }
        self.show_head(job, submission, facts.as_ref())?;
        self.show_attempts(&attempts)?;
        self.show_look_alikes(job, &attempts).await?;
        for answer in &answers {
            self.line("answer", &self.answer_words(answer))?;
        }
        self.line("documents", &self.documents_words(submission, &attempts))?;
        for row in history {
            let when = at(row.at).map_or(String::new(), |at| self.times.full(at));
            self.line("history", &format!("{when}  {} {} ({})", row.event, row.detail, row.actor))?;
        }
        self.show_advice(job)
    }

    fn show_head(&self, job: &Job, submission: &Submission, facts: Option<&JobFacts>) -> anyhow::Result<()> {
        self.line("job", job.id.as_str())?;
        self.line(
            "submission",
            &format!(
                "{}, fax {} of it, by {} from {}",
                submission.id, job.n, submission.source, submission.sender
            ),
        )?;
        self.line("accepted", &self.times.full(submission.accepted_at))?;
        let name = facts.map(|facts| facts.recipient_name.as_str()).filter(|name| !name.is_empty());
        let key = job.recipient.as_deref().unwrap_or("not in the register");
        self.line("recipient", &name.map_or(key.to_owned(), |name| format!("{name} ({key})")))?;
        self.line("number", &job.number.as_ref().map_or("not known".to_owned(), number_words))?;
        if let Some(reference) = facts.and_then(|facts| facts.reference.as_ref()) {
            self.line("reference", reference)?;
        }
        self.line("state", &state_words(&job.state, self.now(), &self.times))?;
        if let Some(at) = job.send_at {
            self.line("send at", &format!("not before {}, as its sender asked", self.times.full(at)))?;
        }
        if job.priority != Priority::Normal {
            self.line("priority", job.priority.as_str())?;
        }
        if let Some(sentence) = self.hold_words(job, submission) {
            self.line("held", &sentence)?;
        }
        if let Some(wish) = job.cancel {
            self.line("cancel", &cancel_words(wish, &job.provider))?;
        }
        match &job.packet {
            Some(packet) => {
                let pages = count(packet.pages as usize, "page");
                self.line("pages", &format!("{pages}, {} of them cover", packet.cover_pages))?;
                let digest = packet
                    .document
                    .digest()
                    .map_or("kept as a mark only; the receipt states it".to_owned(), |sha256| {
                        format!("sha256 {sha256}")
                    });
                self.line("digest", &digest)?;
            }
            None => self.line("pages", "none could be made")?,
        }
        for warning in facts.map(|facts| facts.warnings.as_slice()).unwrap_or_default() {
            self.line("warning", warning)?;
        }
        if job.route.len() > 1 {
            self.line("providers", &format!("{} in this order; now {}", job.route.join(", "), job.provider))?;
        } else {
            self.line("provider", &job.provider)?;
        }
        self.line("rule", &job.rule)?;
        for trace in facts.map(|facts| facts.trace.as_slice()).unwrap_or_default() {
            self.line("", &trace_words(trace))?;
        }
        if !job.state.is_final() {
            self.line("deadline", &format!("{}; no try starts after that", self.times.full(job.deadline)))?;
        }
        Ok(())
    }

    fn show_attempts(&self, attempts: &[AttemptRow]) -> anyhow::Result<()> {
        if attempts.is_empty() {
            return self.line("tries", "none yet");
        }
        for attempt in attempts {
            let ended =
                attempt.ended().map_or(String::new(), |ended| format!(" to {}", self.times.full(ended)));
            let provider_ref =
                attempt.provider_ref.as_ref().map_or(String::new(), |name| format!(", there {name}"));
            self.line(
                &format!("try {}", attempt.n),
                &format!(
                    "{}{ended}, {}{provider_ref}: {}",
                    self.times.full(attempt.started()),
                    attempt.provider,
                    attempt_words(attempt)
                ),
            )?;
        }
        Ok(())
    }

    fn answer_words(&self, answer: &AnswerRow) -> String {
        let what = match answer.kind {
            AnswerKind::Final => "final receipt",
            AnswerKind::Accepted => "notice that it was accepted",
            AnswerKind::Command => "answer to a command",
            AnswerKind::Again => "answer to the same file again",
            AnswerKind::Held => "notice that it is held",
        };
        let way = if answer.way == AnswerWay::Mail { "by mail" } else { "as a result file" };
        match (answer.sent_at.and_then(at), answer.next_at.and_then(at)) {
            (Some(sent), _) => format!("{what} {way}: sent {}", self.times.full(sent)),
            (None, Some(_)) if answer.tries == 0 => format!("{what} {way}: about to leave"),
            (None, Some(next)) => {
                let why = answer.last_error.as_deref().unwrap_or("no reason is noted");
                format!(
                    "{what} {way}: not sent yet after {} ({why}), again at {}",
                    if answer.tries == 1 { "1 try".to_owned() } else { format!("{} tries", answer.tries) },
                    self.times.full(next)
                )
            }
            (None, None) => {
                let why = answer.last_error.as_deref().unwrap_or("no reason is noted");
                format!("{what} {way}: could not be sent ({why})")
            }
        }
    }

    fn documents_words(&self, submission: &Submission, attempts: &[AttemptRow]) -> String {
        let copies: Vec<&AttemptRow> =
            attempts.iter().filter(|attempt| attempt.provider_ref.is_some()).collect();
        let deleted = copies.iter().filter_map(|attempt| attempt.copy_deleted_at).max().and_then(at);
        let here = match submission.destroyed_at {
            Some(destroyed) => {
                format!("key destroyed {}: nobody can read them any more", self.times.full(destroyed))
            }
            None => "here, sealed; destroyed after the final state of every fax of the submission".to_owned(),
        };
        let there = match deleted {
            _ if copies.is_empty() => String::new(),
            _ if copies.iter().any(|attempt| attempt.provider_copy() == Some(ProviderCopy::Kept)) => {
                "; the provider keeps its copy, and deletes nothing at our request".to_owned()
            }
            Some(last) if copies.iter().all(|attempt| attempt.copy_deleted_at.is_some()) => {
                format!("; the provider's copy deleted {}", self.times.full(last))
            }
            _ => "; the provider's copy is not deleted yet".to_owned(),
        };
        format!("{here}{there}")
    }

    /// What a person can do about it now.
    fn show_advice(&self, job: &Job) -> anyhow::Result<()> {
        let id = job.id;
        match &job.state {
            JobState::Held { .. } => {
                self.line("to do", &format!("faxbridge job release {id}, or cancel, or resolve"))
            }
            JobState::Unclear { since, absent_since, ask_at, .. } => {
                let known = match absent_since {
                    Some(at) => {
                        format!("{} does not list it, first at {}", job.provider, self.times.full(*at))
                    }
                    None => format!("{} has said nothing about it", job.provider),
                };
                self.line(
                    "unclear",
                    &format!(
                        "since {}; {known}; asked next at {}",
                        self.times.full(*since),
                        self.times.full(*ask_at)
                    ),
                )?;
                self.line(
                    "to do",
                    &format!("nothing while the provider is asked; if you know: faxbridge job resolve {id} --delivered or --not-delivered"),
                )
            }
            JobState::Sending { .. } | JobState::InTransit { .. } if job.cancel.is_none() => {
                self.line("to do", &format!("nothing; to stop it: faxbridge job cancel {id}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn line(&self, label: &str, text: &str) -> anyhow::Result<()> {
        say(format_args!("{label:12}{}", plain(text)))
    }
}

fn at(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}

fn attempt_record(attempt: &AttemptRow) -> Value {
    json!({
        "attempt": attempt.n,
        "provider": attempt.provider,
        "provider_ref": attempt.provider_ref,
        "started_at": attempt.started().to_string(),
        "ended_at": attempt.ended().map(|at| at.to_string()),
        "outcome": attempt.outcome,
        "cause": attempt.cause,
        "sent": attempt.sent(),
        "words": attempt_words(attempt),
        "pages_sent": attempt.pages_sent,
        "remote_id": attempt.remote_id,
        "seconds": attempt.seconds,
        "raw_code": attempt.raw_code,
        "raw_text": attempt.raw_text,
        "copy_deleted_at": attempt.copy_deleted_at.and_then(at).map(|at| at.to_string()),
    })
}

fn answer_record(answer: &AnswerRow) -> Value {
    json!({
        "kind": answer.kind,
        "way": answer.way,
        "tries": answer.tries,
        "sent_at": answer.sent_at.and_then(at).map(|at| at.to_string()),
        "next_at": answer.next_at.and_then(at).map(|at| at.to_string()),
        "last_error": answer.last_error,
    })
}
