//! Ways out: providers, their webhooks, the mail relay of receipts.

use super::forms::{Url, host_of, is_e164, is_this_machine, url};
use super::values::mail_address;
use super::{at_least_one, both_or_neither};
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::units::Duration;
use crate::config::{Config, Provider, ProviderKind, RelayTls};

pub(super) fn providers(config: &Config, report: &mut Report<'_>) {
    let list = at("provider");
    if config.provider.is_empty() && !report.is_spoiled(&list) {
        report.warn(&Path::default(), "no [provider.NAME]: nothing can be faxed");
    }
    for (name, provider) in &config.provider {
        let here = list.key(name);
        keys_of_its_kind(config, &here, provider, report);
        address(&here.key("url"), provider, report);
        if let Some(from) = &provider.from
            && !is_e164(from)
        {
            let sentence =
                format!("found {from:?}; allowed: a number with country code, as \"+12125550101\"");
            report.fault(&here.key("from"), sentence);
        }
        if let Some(mail) = &provider.mail {
            mail_address(&here.key("mail"), mail, report);
        }
        if let Some(per_minute) = provider.per_minute {
            at_least_one(&here.key("per_minute"), u64::from(per_minute), report);
        }
        at_least_one(&here.key("concurrency"), provider.concurrency as u64, report);
        if provider.kind.keys().fetches
            && config.media.is_none()
            && !report.is_spoiled(&at("media"))
            && !report.is_spoiled(&here.key("kind"))
        {
            let kind = provider.kind.as_str();
            let sentence = format!(
                "kind = \"{kind}\" takes no upload, it fetches documents from us; add the section [media], with listen and \
                 public_url"
            );
            report.fault(&here.key("kind"), sentence);
        }
        match (&provider.webhook_key, &config.webhook) {
            (Some(_), None) if !report.is_spoiled(&at("webhook")) => {
                report.warn(&here.key("webhook_key"), "has no use without a section [webhook]");
            }
            (None, Some(_)) if provider.kind.keys().signs => {
                let sentence =
                    "has no webhook_key: its webhooks cannot be told from forged ones, so it is only polled";
                report.warn(&here, sentence);
            }
            _ => {}
        }
    }
}

/// Each kind has keys that it needs, and does not know those of others.
fn keys_of_its_kind(config: &Config, here: &Path, provider: &Provider, report: &mut Report<'_>) {
    if report.is_spoiled(&here.key("kind")) {
        return;
    }
    let keys = provider.kind.keys();
    let kind = provider.kind.as_str();
    for (key, present) in provider.chosen() {
        let present = present || (key == "from" && config.organization.fax.is_some());
        let needed = keys.needs.contains(&key);
        if needed && !present && !report.is_spoiled(&here.key(key)) {
            let advice = if key == "from" { ", here or as organization.fax" } else { "" };
            report.fault(&here.key(key), format!("is missing; kind = \"{kind}\" needs it{advice}"));
        }
    }
    for (key, present) in provider.chosen() {
        let known = key == "url" || keys.needs.contains(&key) || keys.takes.contains(&key);
        if present && !known {
            let allowed = [keys.needs, keys.takes].concat().join(", ");
            report.fault(
                &here.key(key),
                format!("has no meaning for kind = \"{kind}\"; that kind has: {allowed}"),
            );
        }
    }
}

fn address(here: &Path, provider: &Provider, report: &mut Report<'_>) {
    let Some(text) = provider.url.as_deref() else { return };
    if provider.kind == ProviderKind::Hylafax {
        let host = text.strip_prefix("hylafax://").map(|rest| rest.trim_end_matches('/')).and_then(host_of);
        match host {
            None => {
                let sentence = format!("found {text:?}; allowed: \"hylafax://host:4559\"");
                report.fault(here, sentence);
            }
            Some(host) if !is_this_machine(host) => {
                let sentence = "the client protocol of HylaFAX has no encryption: password and documents travel in clear; keep it within \
                     the machine, or a network or tunnel that nobody else can listen on";
                report.warn(here, sentence);
            }
            Some(_) => {}
        }
        return;
    }
    match url(text) {
        Err(sentence) => report.fault(here, sentence),
        Ok(url) if !url.encrypted && !is_this_machine(&url.host) => {
            let sentence = "found http to another machine: token and documents travel in clear; use https";
            report.warn(here, sentence);
        }
        Ok(_) => {}
    }
}

pub(super) fn webhook(config: &Config, report: &mut Report<'_>) {
    let Some(webhook) = &config.webhook else { return };
    let here = at("webhook");
    let (certificate, key) = (webhook.tls_certificate.is_some(), webhook.tls_key.is_some());
    both_or_neither(&here, ("tls_certificate", certificate), ("tls_key", key), report);
    let Some(public) = webhook.public_url.as_deref() else { return };
    match public_url(public) {
        Err(sentence) => report.fault(&here.key("public_url"), sentence),
        Ok(url) if !url.encrypted && !is_this_machine(&url.host) => {
            let sentence = "found http from another machine: the tokens in webhook URLs, and the documents that some providers send \
                 along, travel in clear; use https";
            report.warn(&here.key("public_url"), sentence);
        }
        Ok(_) => {}
    }
}

pub(super) fn media(config: &Config, report: &mut Report<'_>) {
    let Some(media) = &config.media else { return };
    let here = at("media");
    let (certificate, key) = (media.tls_certificate.is_some(), media.tls_key.is_some());
    both_or_neither(&here, ("tls_certificate", certificate), ("tls_key", key), report);
    match public_url(&media.public_url) {
        Err(sentence) => report.fault(&here.key("public_url"), sentence),
        Ok(url) if !url.encrypted && !is_this_machine(&url.host) => {
            let sentence = format!(
                "found {:?}; allowed: an https:// URL, since documents travel that way",
                media.public_url
            );
            report.fault(&here.key("public_url"), sentence);
        }
        Ok(_) => {}
    }
    let allowed = Duration::minutes(1)..=Duration::hours(24);
    if !allowed.contains(&media.valid_for) {
        let sentence = format!("found {}; allowed: 1 min to 24 h", media.valid_for);
        report.fault(&here.key("valid_for"), sentence);
    }
}

/// A URL that paths are put behind.
fn public_url(text: &str) -> Result<Url, String> {
    let read = url(text)?;
    if text.contains(['?', '#']) {
        return Err(format!("found {text:?}; allowed: a URL without ? and #, since a path is put behind it"));
    }
    Ok(read)
}

pub(super) fn receipt(config: &Config, report: &mut Report<'_>) {
    let Some(receipt) = &config.receipt else { return };
    let here = at("receipt");
    let host = host_of(&receipt.relay);
    if host.is_none() {
        let sentence = format!(
            "found {:?}; allowed: host:port, as \"mail.example.com:587\" or \"127.0.0.1:25\"",
            receipt.relay
        );
        report.fault(&here.key("relay"), sentence);
    }
    mail_address(&here.key("from"), &receipt.from, report);
    let (login, password) = (receipt.login.is_some(), receipt.password.is_some());
    both_or_neither(&here, ("login", login), ("password", password), report);
    if receipt.tls == RelayTls::None && host.is_some_and(|host| !is_this_machine(host)) {
        let sentence =
            "found none with a relay on another machine: receipts, and the password if any, travel in clear";
        report.warn(&here.key("tls"), sentence);
    }
}
