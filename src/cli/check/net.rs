//! What the configuration points to on the network.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::Duration;

use faxbridge::config::{self, Kind, Loaded, Proof};
use faxbridge::daemon::{self, Addresses};
use faxbridge::delivery::webhook::Hooks;
use faxbridge::intake::proof::Resolver;
use faxbridge::oauth::Sources;
use faxbridge::receipt::dkim::Dkim;
use faxbridge::receipt::outbox;
use faxbridge::receipt::relay::token_map;
use futures_util::future::join_all;

use super::Findings;
use crate::cli::daemon_runs;
use faxbridge::vault::{MasterKey, Purpose};

/// The longest that somebody who checks waits for a relay.
const PATIENCE: Duration = Duration::from_secs(20);

/// Addresses that can be listened on, or are by the daemon that runs.
pub(super) fn listeners(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    let dir = &loaded.config.store.data_dir;
    let written = std::fs::read(dir.join("addresses.json")).ok().filter(|_| daemon_runs(dir));
    let held = written.and_then(|written| serde_json::from_slice::<Addresses>(&written).ok());
    let held = held.map(|held| held.all()).unwrap_or_default();
    for (key, address, tried) in daemon::try_all(&loaded.config, &held) {
        match tried {
            Ok(()) => findings.ok(format_args!("{key}: {address} is free"))?,
            Err(error) => {
                let advice = match error.kind() {
                    ErrorKind::AddrInUse => "another program listens there: stop it or choose another port",
                    ErrorKind::AddrNotAvailable => "this machine has no such address",
                    ErrorKind::PermissionDenied => {
                        findings.warn(loaded.fault(
                            key,
                            format!("{address}: this user may not listen there; the unit's AmbientCapabilities= gives that to the daemon"),
                        ))?;
                        continue;
                    }
                    _ => "nothing can listen there",
                };
                findings.at(&loaded.fault(key, format!("{address}: {error}; {advice}")))?;
            }
        }
    }
    Ok(())
}

/// Signs in at a provider, and says which setting is wrong if that fails.
pub(super) async fn provider(
    loaded: &Loaded,
    name: &str,
    section: &config::Provider,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let key = |last: &str| format!("provider.{}.{last}", super::config_key(name));
    let provider = match daemon::build_provider(name, section) {
        Ok(provider) => provider,
        Err(error) => {
            // The sentence begins with the key that is at fault.
            let error = format!("{error:#}");
            let (at, sentence) = error.split_once(": ").unwrap_or(("kind", &error));
            return findings.at(&loaded.fault(&key(at), sentence.to_owned()));
        }
    };
    match provider.check().await {
        Ok(()) => findings.ok(format_args!("the provider {name} lets us in"))?,
        Err(fault) => findings.outside(loaded.fault(&key(fault.key), fault.sentence))?,
    }
    if section.facts().webhook_key.is_some() && loaded.config.webhook.is_none() {
        findings
            .warn(loaded.fault(&key("webhook_key"), "without a [webhook] section no webhook can arrive"))?;
    }
    Ok(())
}

/// Where each provider reports. Who has the token of such a URL can make us ask the provider: it is printed for who asks for it, and
/// otherwise has no place in a terminal's history, a ticket or a journal.
pub(super) fn hooks(loaded: &Loaded, show_tokens: bool, findings: &mut Findings) -> anyhow::Result<()> {
    let config = &loaded.config;
    let Some(section) = &config.webhook else { return Ok(()) };
    if section.public_url.is_none() && section.listen.port() == 0 {
        return findings.ok("where providers report is known when the daemon runs: webhook.listen leaves the port to the system");
    }
    // What is wrong with the key is told elsewhere.
    let Ok(secret) = config.store.master_key.read_raw() else { return Ok(()) };
    let Ok(marker) = MasterKey::from_bytes(secret.bytes()).and_then(|key| key.marker(Purpose::Webhook))
    else {
        return Ok(());
    };
    let hooks = Hooks::new(&daemon::webhook_base(section, section.listen), marker);
    for (name, provider) in &config.provider {
        let url = hooks.url_for(name, None);
        let url = if show_tokens { url } else { without_token(&url) };
        match &provider.kind {
            Kind::Hylafax(_) => {}
            Kind::Interfax(_) => {
                findings.ok(format_args!(
                    "the provider {name}: in its control panel, tell InterFAX to post to {url}"
                ))?;
            }
            Kind::Faxplus(_) => {
                findings.ok(format_args!(
                    "the provider {name}: in its account, set a webhook for the event fax_sent to {url}"
                ))?;
            }
            _ => findings.ok(format_args!("the provider {name} is told with each fax to report to {url}"))?,
        }
    }
    Ok(())
}

/// The URL with a word in place of its token, which is its last part.
fn without_token(url: &str) -> String {
    let front = url.rsplit_once('/').map_or(url, |(front, _)| front);
    format!("{front}/TOKEN (`faxbridge check --show-tokens` prints the token)")
}

/// Asks the DNS for the DMARC records of senders that are proven by them.
pub(super) async fn dns(loaded: &Loaded, findings: &mut Findings) -> anyhow::Result<()> {
    let config = &loaded.config;
    let aligned = config.sender.iter().filter(|sender| sender.accepts(Proof::Dmarc));
    let addresses = aligned.flat_map(|sender| &sender.addresses);
    let domains: BTreeSet<&str> =
        addresses.filter_map(|address| address.rsplit_once('@')).map(|(_, domain)| domain).collect();
    if domains.is_empty() {
        return Ok(());
    }
    let resolver = match Resolver::new(&config.dns) {
        Ok(resolver) => resolver,
        Err(sentence) => {
            let sentence = format!("{sentence}; name one here");
            return findings.outside(loaded.fault("dns.servers", sentence));
        }
    };
    let answers = domains.iter().map(|domain| resolver.has_dmarc(domain));
    for (domain, answer) in domains.iter().zip(join_all(answers).await) {
        match answer {
            Ok(true) => findings.ok(format_args!("the DNS has a DMARC record of {domain}"))?,
            Ok(false) => findings.warn(loaded.fault(
                "sender",
                format!("{domain} has no DMARC record: its mail is proven by a DKIM signature of exactly that domain only"),
            ))?,
            Err(error) => {
                let sentence = format!("no answer about {domain}: {error}; its mail waits until there is one");
                findings.outside(loaded.fault("dns.servers", sentence))?;
            }
        }
    }
    Ok(())
}

/// Greets the relay and signs in, where its section says so with one of the tokens that were given.
pub(super) async fn relay(loaded: &Loaded, tokens: &Sources, findings: &mut Findings) -> anyhow::Result<()> {
    match Dkim::of(&loaded.config) {
        Ok(None) => {}
        Ok(Some(_)) => findings.ok("the key for the DKIM signature of receipts can sign")?,
        Err(sentence) => {
            let sentence = sentence.trim_start_matches("receipt.dkim_key: ").to_owned();
            findings.at(&loaded.fault("receipt.dkim_key", sentence))?;
        }
    }
    let wanted = loaded.config.receipt.as_ref().and_then(|receipt| receipt.oauth.as_ref());
    if wanted.is_some_and(|name| !tokens.contains_key(name)) {
        // Why there is no token was told.
        return Ok(());
    }
    match outbox::relay(&loaded.config, &token_map(tokens)) {
        Ok(None) => Ok(()),
        Err(sentence) => findings.at(&loaded.fault("receipt.relay", sentence)),
        Ok(Some((relay, _))) => match tokio::time::timeout(PATIENCE, relay.check()).await {
            Ok(Ok(())) => findings.ok("the mail relay takes our greeting"),
            Ok(Err(error)) => findings.outside(loaded.fault("receipt.relay", error.to_string())),
            Err(_) => {
                let sentence = format!("the relay did not answer within {} s", PATIENCE.as_secs());
                findings.outside(loaded.fault("receipt.relay", sentence))
            }
        },
    }
}
