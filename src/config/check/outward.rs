//! Ways out: providers, their webhooks, the mail relay of receipts.

use super::forms::{host_of, is_this_machine, url};
use super::values::mail_address;
use super::{at_least_one, both_or_neither};
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::{Config, RelayTls};

pub(super) fn providers(config: &Config, report: &mut Report<'_>) {
    let list = at("provider");
    if config.provider.is_empty() && !report.is_spoiled(&list) {
        report.warn(&Path::default(), "no [provider.NAME]: nothing can be faxed");
    }
    for (name, provider) in &config.provider {
        let here = list.key(name);
        match url(&provider.url) {
            Err(sentence) => report.fault(&here.key("url"), sentence),
            Ok(url) if !url.encrypted && !is_this_machine(&url.host) => {
                let sentence =
                    "found http to another machine: token and documents travel in clear; use https";
                report.warn(&here.key("url"), sentence);
            }
            Ok(_) => {}
        }
        at_least_one(&here.key("concurrency"), provider.concurrency as u64, report);
        match (&provider.webhook_key, &config.webhook) {
            (Some(_), None) if !report.is_spoiled(&at("webhook")) => {
                report.warn(&here.key("webhook_key"), "has no use without a section [webhook]");
            }
            (None, Some(_)) => {
                let sentence =
                    "has no webhook_key: its webhooks cannot be told from forged ones, so it is only polled";
                report.warn(&here, sentence);
            }
            _ => {}
        }
    }
}

pub(super) fn webhook(config: &Config, report: &mut Report<'_>) {
    let Some(public) = config.webhook.as_ref().and_then(|webhook| webhook.public_url.as_deref()) else {
        return;
    };
    if let Err(sentence) = url(public) {
        report.fault(&at("webhook").key("public_url"), sentence);
    }
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
