//! Rules that fit each other and the register.

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::config::Loaded;
use faxbridge::register::number::NumberRules;
use faxbridge::register::{self, EntryState, Wanted};
use faxbridge::routing::{Ask, Rules};
use faxbridge::store::Store;

use super::Findings;
use crate::cli::listing::count;

pub(super) async fn check(
    loaded: &Loaded,
    store: Option<&Store>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let config = &loaded.config;
    // Faults of rules were told already, as a start would.
    let Ok(rules) = Rules::compile(&config.rule) else { return Ok(()) };
    let dead = rules.dead();
    dead.iter().try_for_each(|fault| findings.warn(fault))?;
    match config.rule.len() {
        0 => findings.warn("there is no [[rule]]: every mail and file is refused")?,
        n if dead.is_empty() => {
            findings.ok(format_args!("{}, none of them in another's shadow", count(n, "rule")))?;
        }
        _ => {}
    }
    let numbers = match NumberRules::new(&config.organization.country, &config.policy.countries) {
        Ok(numbers) => numbers,
        Err(error) => return findings.fault(loaded.fault("organization.country", error)),
    };
    let Some(store) = store else { return Ok(()) };
    let (entries, now) = (store.recipients().await?, SystemClock.now());
    let verified = entries.iter().filter(|entry| entry.state_at(now) == EntryState::Verified).count();
    if verified == 0 {
        findings.warn(
            "no recipient is verified, so that every fax is held: faxbridge recipient add, faxbridge recipient verify",
        )?;
    } else {
        findings.ok(format_args!(
            "{} in the register, {verified} of them verified",
            count(entries.len(), "recipient")
        ))?;
    }
    for (rule, ask) in rules.fixed_asks() {
        if let Err(sentence) = stands(&ask, store, &numbers, config.policy.two_person).await? {
            findings.warn(format_args!("rule {rule:?}: what it takes is held. {sentence}"))?;
        }
    }
    Ok(())
}

/// Whether the register stands behind what a rule names, or the sentence why not.
async fn stands(
    ask: &Ask,
    store: &Store,
    numbers: &NumberRules,
    two_person: bool,
) -> anyhow::Result<Result<(), String>> {
    let found = match register::lookup(ask, numbers) {
        Err((_, sentence)) => return Ok(Err(sentence)),
        Ok(Wanted::Number(number)) => store.recipients_with_number(&number).await?,
        Ok(Wanted::Key(key)) => match store.recipient(&key).await? {
            Some(entry) => store.recipients_with_number(&entry.number).await?,
            None => Vec::new(),
        },
    };
    let verdict = register::resolve(ask, &found, numbers, two_person, SystemClock.now());
    Ok(verdict.map(|_| ()).map_err(|(_, sentence)| sentence))
}
