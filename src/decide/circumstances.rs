//! What a decision about a Job depends on beside its state: gathered in one place, for the worker and for people.

use jiff::{SignedDuration, Timestamp};

use crate::config::{self, Config};
use crate::job::retry::RetryPolicy;
use crate::job::state::{Context, Patience, Route};
use crate::job::{Absent, Cause, Report};
use crate::store::{AttemptRow, Job, Store, StoreError};

/// All that [`Context`] borrows, as it stands now.
#[derive(Debug)]
pub struct Circumstances {
    /// Every Attempt of the Job, in order.
    pub attempts: Vec<AttemptRow>,
    earlier: Vec<Cause>,
    retry: RetryPolicy,
    patience: Patience,
    route: Route,
    absent: Absent,
    doubt: bool,
    news: bool,
    proven: bool,
    number_failed: u32,
    cancel: bool,
    deadline: Timestamp,
    not_before: Option<Timestamp>,
    hold_for: SignedDuration,
    try_for: SignedDuration,
}

#[cfg(test)]
impl Circumstances {
    /// Those of a Job with these Attempts, with every policy at its default and one provider, `sim`.
    pub(super) fn plain(attempts: Vec<AttemptRow>, deadline: Timestamp) -> Circumstances {
        let context = Context::plain(deadline, deadline);
        Circumstances {
            earlier: Vec::new(),
            retry: context.retry.clone(),
            patience: context.patience.clone(),
            route: context.route.clone(),
            absent: context.absent,
            doubt: attempts.iter().any(AttemptRow::is_doubtful),
            attempts,
            news: false,
            proven: false,
            number_failed: 0,
            cancel: false,
            deadline,
            not_before: None,
            hold_for: context.hold_for,
            try_for: context.try_for,
        }
    }
}

impl Circumstances {
    /// Looks up what `job` depends on.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn of(store: &Store, config: &Config, job: &Job) -> Result<Circumstances, StoreError> {
        let attempts = store.attempts(job.id).await?;
        let number_failed = match &job.number {
            Some(number) => store.failed_calls(number.as_str()).await?,
            None => 0,
        };
        let policy = &config.policy;
        let provider = config.provider.get(&job.provider);
        let quiet = provider.and_then(|provider| provider.quiet).unwrap_or(policy.quiet);
        // A provider that is configured no more takes no further fax.
        let configured = job.route.iter().filter(|name| config.provider.contains_key(*name));
        Ok(Circumstances {
            earlier: attempts.iter().filter_map(AttemptRow::cause).collect(),
            doubt: attempts.iter().any(AttemptRow::is_doubtful),
            news: attempts.last().is_some_and(|last| last.ended_at.is_none() && last.news_at.is_some()),
            proven: attempts.iter().any(AttemptRow::is_delivered),
            attempts,
            retry: RetryPolicy {
                calls: policy.calls,
                number_calls: policy.number_calls,
                number_rest: policy.number_rest.signed(),
                hurry: policy.hurry,
            },
            patience: Patience {
                ask_first: policy.ask_first.signed(),
                ask_at_most: policy.ask_at_most.signed(),
                silent_after: policy.silent_after.signed(),
                quiet: quiet.signed(),
                unclear_at_most: policy.unclear_at_most.signed(),
            },
            route: Route { providers: configured.cloned().collect(), current: job.provider.clone() },
            absent: provider.map_or(Absent::Hold, config::Provider::absent),
            number_failed,
            cancel: store.cancel_wish(job.id).await?.is_some(),
            deadline: job.deadline,
            not_before: job.send_at,
            hold_for: policy.hold_for.signed(),
            try_for: policy.deadline.signed(),
        })
    }

    /// Whether the next Attempt may have been made already, and forgotten when the database was copied back at `restored`; its
    /// Submission was accepted at `accepted`. Not after the provider, or a person, has said since then that it was not.
    #[must_use]
    pub fn is_forgotten(&self, restored: Timestamp, accepted: Timestamp) -> bool {
        accepted <= restored
            && self.attempts.iter().filter(|attempt| attempt.started() >= restored).all(|attempt| {
                // Asked about, and found at the provider: then there may have been another one behind it.
                attempt.asked_first != 0 && attempt.provider_ref.is_some()
            })
    }

    /// What a provider told of an Attempt that was closed without knowing, and the Job has yet to follow.
    #[must_use]
    pub fn told_late(&self) -> Option<(u32, Report)> {
        let told = |attempt: &AttemptRow| Some((u32::try_from(attempt.n).ok()?, attempt.told()?));
        self.attempts.iter().filter(|attempt| attempt.ended_at.is_some()).find_map(told)
    }

    /// For a decision at `now`; `jitter` in 0..=1 spreads retries.
    #[must_use]
    pub fn context(&self, now: Timestamp, jitter: f64) -> Context<'_> {
        Context {
            now,
            deadline: self.deadline,
            not_before: self.not_before,
            hold_for: self.hold_for,
            try_for: self.try_for,
            earlier: &self.earlier,
            retry: &self.retry,
            patience: &self.patience,
            route: &self.route,
            absent: self.absent,
            doubt: self.doubt,
            news: self.news,
            proven: self.proven,
            number_failed: self.number_failed,
            cancel: self.cancel,
            jitter,
        }
    }
}
