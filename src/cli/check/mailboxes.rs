//! Mailboxes and the tokens that open them: signs in, and says which setting is wrong if that fails.

use std::sync::Arc;
use std::time::Duration;

use faxbridge::clock::SystemClock;
use faxbridge::config::{Loaded, OauthFlow, OauthProvider};
use faxbridge::daemon;
use faxbridge::intake::imap;
use faxbridge::oauth::{Keeper, Sources, TokenSource};
use faxbridge::store::Store;

use super::{Findings, config_key};

/// The longest that somebody who checks waits for a mailbox.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for every token, and returns the sources that gave one. `unread` are the keys of secrets that cannot be read, which is told
/// elsewhere.
pub(super) async fn tokens(
    loaded: &Loaded,
    unread: &[&str],
    findings: &mut Findings,
) -> anyhow::Result<Sources> {
    let config = &loaded.config;
    let spoiled = |prefix: &str| unread.iter().any(|key| key.starts_with(prefix));
    let keeper = if config.oauth.is_empty() { None } else { keeper(loaded).await };
    let mut tokens = Sources::new();
    for (name, section) in &config.oauth {
        let prefix = format!("oauth.{}.", config_key(name));
        if spoiled(&prefix) {
            continue;
        }
        // Providers that give a refresh token once and take it once: what is not kept is lost.
        if keeper.is_none()
            && section.flow == OauthFlow::RefreshToken
            && section.provider == OauthProvider::Other
        {
            findings.ok(format_args!(
                "oauth.{name}: no token is asked for before the first `faxbridge serve`, since a new refresh token could not be kept"
            ))?;
            continue;
        }
        let fault = |key: &str, sentence: String| loaded.fault(&format!("{prefix}{key}"), sentence);
        let source = match TokenSource::new(name, section, keeper.clone(), Arc::new(SystemClock)) {
            Ok(source) => source,
            Err(error) => {
                findings.at(&fault(error.key, error.sentence))?;
                continue;
            }
        };
        match source.token().await {
            Ok(_) => {
                findings.ok(format_args!("oauth.{name} gives an access token"))?;
                tokens.insert(name.clone(), Arc::new(source));
            }
            Err(error) => findings.outside(fault(error.key, error.sentence))?,
        }
    }
    Ok(tokens)
}

/// Opens every mailbox.
pub(super) async fn check(
    loaded: &Loaded,
    unread: &[&str],
    tokens: &Sources,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let spoiled = |prefix: &str| unread.iter().any(|key| key.starts_with(prefix));
    for (name, section) in &loaded.config.imap {
        let prefix = format!("imap.{}.", config_key(name));
        let source = section.oauth.as_deref().map(|oauth| tokens.get(oauth).cloned());
        // Without its token there is nothing to add to what was said about that.
        if spoiled(&prefix) || source.as_ref().is_some_and(Option::is_none) {
            continue;
        }
        let fault = |key: &str, sentence: String| loaded.fault(&format!("{prefix}{key}"), sentence);
        match tokio::time::timeout(PATIENCE, imap::check(section, source.flatten())).await {
            Ok(Ok(missing)) if missing.is_empty() => {
                findings.ok(format_args!("the mailbox {name} lets us in, and has its folders"))?;
            }
            Ok(Ok(missing)) => findings.ok(format_args!(
                "the mailbox {name} lets us in; the daemon will make the missing folders {}",
                missing.iter().map(|folder| format!("{folder:?}")).collect::<Vec<_>>().join(", ")
            ))?,
            // What lies on this machine keeps a daemon from fetching for good.
            Ok(Err(error))
                if error.key == "authorities"
                    && !section.authorities.as_ref().is_none_or(|path| path.exists()) =>
            {
                findings.at(&fault(error.key, error.sentence))?;
            }
            Ok(Err(error)) => findings.outside(fault(error.key, error.sentence))?,
            Err(_) => {
                let sentence = format!("the mailbox did not answer within {} s", PATIENCE.as_secs());
                findings.outside(fault("server", sentence))?;
            }
        }
    }
    Ok(())
}

/// Where a new refresh token goes that a provider gives in place of the old: the daemon's database, if there is one already.
async fn keeper(loaded: &Loaded) -> Option<Keeper> {
    let dir = &loaded.config.store.data_dir;
    // Only where nothing would have to be made, or brought up to date.
    let store = Store::join(dir, "check").await.ok()?;
    let spool = daemon::open_spool(loaded).ok()?;
    Some(Keeper { store, vault: spool.vault().clone() })
}
