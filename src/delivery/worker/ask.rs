//! How a fax is asked about whose Attempt is under way: what its provider has told by itself comes first.

use futures_util::future::join_all;
use jiff::SignedDuration;

use super::Worker;
use super::hands::Hands;
use crate::delivery::health::Seen;
use crate::delivery::{AskError, Cancelled, Provider, Search, Sought, Status};
use crate::job::state::Event;
use crate::job::{Cause, FaxNumber, Outcome, Report};
use crate::store::{AttemptRow, CancelWish, Job, StoreError};

/// How long the webhook that says why a fax failed is waited for, from the one before it.
const REASON_COMES: SignedDuration = SignedDuration::from_mins(2);

impl Worker {
    /// What is known now of Attempt `attempt`, which is under way; `provider_ref` where an answer told it.
    pub(super) async fn inquire(
        &self,
        job: &Job,
        attempt: u32,
        provider_ref: Option<&str>,
        hands: &Hands,
    ) -> Event {
        let row = match self.store.attempt(job.id, attempt).await {
            Ok(row) => row,
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: its attempt cannot be read: {error}", job.id);
                return Event::NoAnswer;
            }
        };
        if let Some(report) = row.as_ref().and_then(AttemptRow::told) {
            tracing::info!(job.id = %job.id, "job {}: {} told by itself how it ended", job.id, job.provider);
            self.note_account(job, &report, hands).await;
            return Event::Ended { report, wait: None };
        }
        match (provider_ref, row) {
            (Some(provider_ref), row) => {
                let event = self.ask(job, provider_ref, hands).await;
                if row.is_some_and(|row| self.reason_may_come(job, &event, &row)) {
                    return Event::StillGoing;
                }
                event
            }
            (None, None) => Event::CannotTell,
            // It told its name for the fax under its signature.
            (None, Some(AttemptRow { provider_ref: Some(provider_ref), .. })) => {
                Event::Found { provider_ref }
            }
            (None, Some(row)) => self.find_out(job, &row, hands).await,
        }
    }

    /// Whether the provider says that the fax failed and not why, and has spoken under its signature a moment ago: some tell why
    /// in a webhook only, and that may be on its way.
    fn reason_may_come(&self, job: &Job, event: &Event, row: &AttemptRow) -> bool {
        let Event::Ended { report, .. } = event else { return false };
        let signs = self.providers.get(&job.provider).is_some_and(|it| it.capabilities().signs_webhooks);
        let news = row.news().is_some_and(|at| self.clock.now().duration_since(at) < REASON_COMES);
        signs && news && report.outcome.cause() == Some(Cause::Unknown) && report.raw_code.is_none()
    }

    /// What a report says of the account.
    async fn note_account(&self, job: &Job, report: &Report, hands: &Hands) {
        if report.outcome.cause() == Some(Cause::AccountTrouble) {
            let seen = Seen::Trouble { cause: Cause::AccountTrouble, wait: None };
            self.note(hands, &job.provider, seen, report.raw_code.as_deref().unwrap_or("no balance")).await;
        }
    }

    /// Tells the provider of a wish to cancel, then asks how the fax stands.
    async fn ask(&self, job: &Job, provider_ref: &str, hands: &Hands) -> Event {
        let Some(provider) = self.providers.get(&job.provider) else { return Event::NoAnswer };
        match self.store.cancel_wish(job.id).await {
            Ok(Some(CancelWish::Wished)) => {
                if let Some(event) = self.cancel(job, provider.as_ref(), provider_ref).await {
                    return event;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
                return Event::NoAnswer;
            }
        }
        match provider.status(provider_ref).await {
            Ok(Status::Working) => Event::StillGoing,
            Ok(Status::Ended(report)) => {
                self.note_account(job, &report, hands).await;
                Event::Ended { report, wait: None }
            }
            Ok(Status::NotThere) => Event::NotThere,
            Err(error) => self.no_answer(job, &error, hands).await,
        }
    }

    /// Passes on a person's wish to cancel, and records what the provider made of it. What follows from it at once, if
    /// anything does; else the fax is asked about as ever, and what became of it is the truth.
    async fn cancel(&self, job: &Job, provider: &dyn Provider, provider_ref: &str) -> Option<Event> {
        let answer = match provider.cancel(provider_ref).await {
            Err(AskError::Unsupported) => CancelWish::Cannot,
            Ok(Cancelled::Stopped) => CancelWish::Stopped,
            Ok(Cancelled::Asked) => CancelWish::Asked,
            Ok(Cancelled::TooLate) => CancelWish::TooLate,
            Ok(Cancelled::NotThere) => CancelWish::NotThere,
            Err(error) => {
                // The wish stays and is passed on again at the next look; how the fax stands is asked all the same.
                tracing::warn!(job.id = %job.id, error = %error, "job {} could not be cancelled yet: {error}", job.id);
                return None;
            }
        };
        if let Err(error) = self.store.answer_cancel(job.id, answer, self.clock.now()).await {
            tracing::error!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
            return Some(Event::NoAnswer);
        }
        tracing::info!(job.id = %job.id, "job {}: {} says to the wish to cancel: {answer}", job.id, job.provider);
        (answer == CancelWish::Stopped).then(|| {
            let raw_text = Some("cancelled before it was sent".to_owned());
            let report =
                Report { raw_text, pages_sent: Some(0), ..Report::bare(Outcome::of(Cause::Cancelled)) };
            Event::Ended { report, wait: None }
        })
    }

    /// Asks about an Unclear Job of which no answer ever named the fax: by the names in unsigned webhooks, then by our reference.
    async fn find_out(&self, job: &Job, row: &AttemptRow, hands: &Hands) -> Event {
        let Some(provider) = self.providers.get(&job.provider) else { return Event::NoAnswer };
        let Some(number) = &job.number else { return Event::CannotTell };
        let sought = match self.sought(job, row, number).await {
            Ok(sought) => sought,
            Err(error) => {
                tracing::error!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
                return Event::NoAnswer;
            }
        };
        let hinted = self.by_hints(job, row, provider.as_ref(), sought).await;
        let hinted = match hinted {
            Some(found @ Event::Found { .. }) => return found,
            other => other,
        };
        let mut found = self.search(job, row, &job.provider, sought).await;
        if sought.forgotten {
            // It may have gone another way of its route by then.
            let others = job.route.iter().filter(|name| **name != job.provider);
            let others = others.map(|name| async {
                match self.search(job, row, name, sought).await {
                    Ok(Search::NotListed | Search::NeverSent) => None,
                    Ok(Search::Found(_) | Search::Undecided(_)) => Some(Ok(Search::Undecided(Vec::new()))),
                    Err(error) => Some(Err(error)),
                }
            });
            if let (Ok(Search::NotListed | Search::NeverSent), Some(other)) =
                (&found, join_all(others).await.into_iter().flatten().next())
            {
                found = other;
            }
        }
        match found {
            Ok(Search::Found(found)) => Event::Found { provider_ref: found.provider_ref },
            // A name that may be its own forbids to believe a list that does not show it.
            Ok(Search::NotListed) => hinted.unwrap_or(Event::NotThere),
            Ok(Search::Undecided(_)) => {
                tracing::warn!(job.id = %job.id, "job {}: {} shows a fax that may be it and does not say whose it is", job.id, job.provider);
                Event::Undecided
            }
            Ok(Search::NeverSent) => Event::NeverSent,
            Err(AskError::Unsupported) => Event::CannotTell,
            Err(error) => self.no_answer(job, &error, hands).await,
        }
    }

    /// What to look for.
    async fn sought<'a>(
        &self,
        job: &'a Job,
        row: &'a AttemptRow,
        number: &'a FaxNumber,
    ) -> Result<Sought<'a>, StoreError> {
        let forgotten = row.asked_first != 0;
        // It was not opened before the Submission was accepted, whenever that was forgotten.
        let since = if forgotten {
            let submission = self.store.submission(job.submission).await?;
            submission.map_or(job.made_at, |submission| submission.accepted_at)
        } else {
            row.started()
        };
        let kept = row.kept_ref.as_deref();
        Ok(Sought { reference: &row.reference, kept, number, since, forgotten })
    }

    /// Asks `name` by our reference. Faxes that do not say whose they are and are known to be of other Attempts do not count.
    async fn search(
        &self,
        job: &Job,
        row: &AttemptRow,
        name: &str,
        sought: Sought<'_>,
    ) -> Result<Search, AskError> {
        let provider = self.providers.get(name).ok_or(AskError::Unsupported)?;
        if !provider.capabilities().finds_by_reference {
            return Err(AskError::Unsupported);
        }
        let silent = match provider.find(sought).await? {
            Search::Undecided(silent) => silent,
            certain => return Ok(certain),
        };
        let mut unknown = Vec::new();
        for provider_ref in silent {
            let this = (job.id, u32::try_from(row.n).unwrap_or(u32::MAX));
            let known = self.store.is_of_another(name, &provider_ref, this).await;
            if !known.map_err(|error| AskError::NoAnswer { detail: error.to_string() })? {
                unknown.push(provider_ref);
            }
        }
        Ok(Search::unless_silent(unknown))
    }

    /// What came of the names in unsigned webhooks, if anything did.
    async fn by_hints(
        &self,
        job: &Job,
        row: &AttemptRow,
        provider: &dyn Provider,
        sought: Sought<'_>,
    ) -> Option<Event> {
        let this = (job.id, u32::try_from(row.n).unwrap_or(u32::MAX));
        let mut undecided = None;
        for hint in row.hints() {
            if self.store.is_of_another(&job.provider, &hint, this).await.unwrap_or(true) {
                continue;
            }
            match provider.confirm(&hint, sought).await {
                Ok(Search::Found(found)) => return Some(Event::Found { provider_ref: found.provider_ref }),
                // Its URL carries a secret and our reference, and number and time fit.
                Ok(Search::Undecided(_)) if row.news_at.is_some() => {
                    return Some(Event::Found { provider_ref: hint });
                }
                Ok(Search::Undecided(_)) => undecided = Some(Event::Undecided),
                Ok(Search::NotListed | Search::NeverSent) | Err(AskError::Unsupported) => {}
                Err(error) => {
                    tracing::warn!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
                    undecided = Some(Event::NoAnswer);
                }
            }
        }
        undecided
    }

    /// No trustworthy answer came; that the provider does not let us in is told at once.
    async fn no_answer(&self, job: &Job, error: &AskError, hands: &Hands) -> Event {
        tracing::warn!(job.id = %job.id, error = %error, "job {}: {error}", job.id);
        if let AskError::Account { detail } = error {
            let seen = Seen::Trouble { cause: Cause::AccountTrouble, wait: None };
            self.note(hands, &job.provider, seen, detail).await;
        }
        Event::NoAnswer
    }
}
