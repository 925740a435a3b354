//! Whether the register stands behind a Job at this moment: asked before any release, whoever asks for it.

use jiff::Timestamp;

use super::Trouble;
use crate::config::Config;
use crate::job::number_words;
use crate::register;
use crate::register::number::NumberRules;
use crate::routing::Ask;
use crate::store::{Job, Store};

/// Why the register does not stand behind `job`, with what to do; `None` where it does.
///
/// # Errors
/// Where the database fails, or country or number rules of the configuration cannot be used.
pub(super) async fn objection(
    store: &Store,
    config: &Config,
    job: &Job,
    now: Timestamp,
) -> Result<Option<String>, Trouble> {
    let Some(number) = &job.number else { return Ok(None) };
    let numbers = NumberRules::new(&config.organization.country, &config.policy.countries)
        .map_err(Trouble::Configuration)?;
    // All that share the number: one that is suspended stops it under every name.
    let found = store.recipients_with_number(number).await?;
    let ask = match &job.recipient {
        None => Ask::Number(number.to_string()),
        Some(key) => {
            let Some(entry) = store.recipient(key).await? else {
                return Ok(Some(format!(
                    "The register has no entry {key} any more: it has to be added and verified first."
                )));
            };
            if entry.number != *number {
                return Ok(Some(format!(
                    "The number of {key} is {} now, the job was made for {}; cancel it and have it sent again.",
                    number_words(&entry.number),
                    number_words(number)
                )));
            }
            Ask::Key(key.clone())
        }
    };
    let resolved = register::resolve(&ask, &found, &numbers, config.policy.two_person, now);
    Ok(resolved.err().map(|(_, sentence)| sentence))
}
