//! What a provider that cannot be asked by our reference lists to the number of a Job, for the person who has to decide.

use faxbridge::daemon::build_provider;
use faxbridge::delivery::{AskError, LookAlike, Sought};
use faxbridge::job::{Hold, JobState};
use faxbridge::store::{AttemptRow, Job};

use super::JobCommands;

impl JobCommands {
    /// Lists them where nobody could find out whether `job` was sent, and its provider has such a list.
    pub(super) async fn show_look_alikes(&self, job: &Job, attempts: &[AttemptRow]) -> anyhow::Result<()> {
        let (JobState::Held { hold: Hold::Unclear, .. }, Some(last)) = (&job.state, attempts.last()) else {
            return Ok(());
        };
        let found = match self.look_alikes(job, last).await {
            Ok(found) => found,
            Err(AskError::Unsupported) => return Ok(()),
            Err(error) => {
                return self.line("there", &format!("{} could not be asked: {error}", last.provider));
            }
        };
        let at = self.times.full(last.started());
        if found.is_empty() {
            let words =
                format!("{} lists no fax to this number since {at}; its list may lag behind", last.provider);
            return self.line("there", &words);
        }
        let many = format!(
            "{} lists these to this number since {at}; it does not say whose they are:",
            last.provider
        );
        self.line("there", &many)?;
        for fax in found {
            self.line("", &words(&fax))?;
        }
        Ok(())
    }

    async fn look_alikes(&self, job: &Job, attempt: &AttemptRow) -> Result<Vec<LookAlike>, AskError> {
        let config = &self.bridge.config;
        let section = config.provider.get(&attempt.provider).ok_or(AskError::Unsupported)?;
        let number = job.number.as_ref().ok_or(AskError::Unsupported)?;
        let provider = build_provider(&attempt.provider, section)
            .map_err(|error| AskError::Account { detail: format!("{error:#}") })?;
        let caller = section.facts().from.or(config.organization.fax.as_deref());
        let since = attempt.started();
        let sought = Sought { reference: &attempt.reference, kept: None, number, since, forgotten: false };
        provider.look_alikes(caller, sought).await
    }
}

fn words(fax: &LookAlike) -> String {
    let made = fax.made.as_deref().unwrap_or("without a time");
    let pages = fax.pages.map_or(String::new(), |pages| format!(", {pages} pages"));
    format!("{made}: {}{pages}, there {}", fax.status, fax.provider_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fax_in_a_line() {
        let fax = LookAlike {
            provider_ref: "b3877c40".into(),
            made: Some("2026-01-15T10:00:00Z".into()),
            status: "delivered".into(),
            pages: Some(3),
        };
        assert_eq!(words(&fax), "2026-01-15T10:00:00Z: delivered, 3 pages, there b3877c40");
        let bare = LookAlike { made: None, pages: None, ..fax };
        assert_eq!(words(&bare), "without a time: delivered, there b3877c40");
    }
}
