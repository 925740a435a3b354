//! Ways out: providers, their webhooks, the mail relay of receipts.

use super::forms::{Url, host_of, is_e164, is_this_machine, url};
use super::values::mail_address;
use super::{at_least_one, both_or_neither, known_sender, no_repeats, unknown};
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::units::Duration;
use crate::config::{
    Config, Facts, Kind, OauthFlow, OauthProvider, Provider, Receipt, RelayTls, Sender, Tls,
};

pub(super) fn providers(config: &Config, report: &mut Report<'_>) {
    let list = at("provider");
    if config.provider.is_empty() && !report.is_spoiled(&list) {
        report.warn(&Path::default(), "no [provider.NAME]: nothing can be faxed");
    }
    for (name, provider) in &config.provider {
        let here = list.key(name);
        let facts = provider.facts();
        let kind = facts.word;
        address(&here.key("url"), provider, report);
        if !provider.says_who_sends() && config.organization.phone.is_none() {
            let sentence = format!(
                "kind = \"{kind}\" prints no header line, so the cover has to carry what the law wants on a fax (47 CFR 68.318(d)): \
                 date, sender and telephone number; add organization.phone"
            );
            report.fault(&here.key("kind"), sentence);
        }
        from(&here.key("from"), facts, config, report);
        if let Some(mail) = facts.mail {
            mail_address(&here.key("mail"), mail, report);
        }
        if let Some(per_minute) = provider.per_minute {
            at_least_one(&here.key("per_minute"), u64::from(per_minute), report);
        }
        at_least_one(&here.key("concurrency"), provider.concurrency as u64, report);
        if facts.fetches
            && config.media.is_none()
            && !report.is_spoiled(&at("media"))
            && !report.is_spoiled(&here.key("kind"))
        {
            let sentence = format!(
                "kind = \"{kind}\" takes no upload, it fetches documents from us; add the section [media], with listen and \
                 public_url"
            );
            report.fault(&here.key("kind"), sentence);
        }
        match (facts.webhook_key, &config.webhook) {
            (Some(_), None) if !report.is_spoiled(&at("webhook")) => {
                report.warn(&here.key("webhook_key"), "has no use without a section [webhook]");
            }
            (None, Some(_)) if facts.signs => {
                let sentence =
                    "has no webhook_key: its webhooks cannot be told from forged ones, so it is only polled";
                report.warn(&here, sentence);
            }
            _ => {}
        }
    }
}

/// The number that faxes come from may be missing here where the organization has one.
fn from(here: &Path, facts: Facts<'_>, config: &Config, report: &mut Report<'_>) {
    match facts.from {
        Some(from) if !is_e164(from) => {
            let sentence =
                format!("found {from:?}; allowed: a number with country code, as \"+12125550101\"");
            report.fault(here, sentence);
        }
        None if facts.needs_from && config.organization.fax.is_none() => {
            let kind = facts.word;
            let sentence = format!("is missing; kind = \"{kind}\" needs it, here or as organization.fax");
            report.fault(here, sentence);
        }
        _ => {}
    }
}

fn address(here: &Path, provider: &Provider, report: &mut Report<'_>) {
    let text = provider.facts().url;
    if matches!(provider.kind, Kind::Hylafax(_)) {
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

/// A fault when there is no `[oauth.NAME]` of that name.
fn known_oauth(path: &Path, name: &str, config: &Config, report: &mut Report<'_>) {
    if !config.oauth.contains_key(name) && !report.is_spoiled(&at("oauth")) {
        let known = config.oauth.keys().map(String::as_str);
        report.fault(path, unknown(name, "oauth section", "[oauth.NAME]", known));
    }
}

/// Mailboxes: reachable, with one way to sign in, and with somebody whose mail it is.
pub(super) fn mailboxes(config: &Config, report: &mut Report<'_>) {
    for (name, mailbox) in &config.imap {
        let here = at("imap").key(name);
        let of_provider = mailbox.oauth.as_ref().and_then(|name| config.oauth.get(name));
        match &mailbox.server {
            Some(server) if host_of(server).is_none() => {
                let sentence = format!("found {server:?}; allowed: host:port, as \"mail.example.com:993\"");
                report.fault(&here.key("server"), sentence);
            }
            None if of_provider.is_none_or(|oauth| oauth.provider == OauthProvider::Other) => {
                report.fault(
                    &here.key("server"),
                    "is missing; only with oauth of microsoft or google it is known",
                );
            }
            Some(server) if mailbox.tls == Tls::None && !host_of(server).is_some_and(is_this_machine) => {
                let sentence = "found none with a server on another machine: the password and all documents would travel \
                                in clear; allowed: implicit or starttls";
                report.fault(&here.key("tls"), sentence);
            }
            _ => {}
        }
        match (&mailbox.password, &mailbox.oauth) {
            (None, None) => report.fault(&here.key("password"), "is missing: add password or oauth"),
            (Some(_), Some(_)) => {
                report.fault(&here.key("oauth"), "stands beside password; allowed: one of the two");
            }
            (None, Some(oauth)) => known_oauth(&here.key("oauth"), oauth, config, report),
            (Some(_), None) => {}
        }
        match (&mailbox.sender, &mailbox.authserv_id) {
            (Some(sender), None) => known_sender(&here.key("sender"), sender, config, report),
            (None, Some(_)) => {}
            (None, None) => report.fault(
                &here.key("authserv_id"),
                "is missing: nothing would prove who sent a mail; add authserv_id, or sender where every mail in here is one sender's",
            ),
            (Some(_), Some(_)) => report.fault(
                &here.key("authserv_id"),
                "stands beside sender, which takes every mail for that sender's; allowed: one of the two",
            ),
        }
        let folders = [
            ("folder", &mailbox.folder),
            ("faxed", &mailbox.faxed),
            ("held", &mailbox.held),
            ("refused", &mailbox.refused),
        ];
        for (i, (key, folder)) in folders.iter().enumerate() {
            if folder.trim().is_empty() {
                report.fault(&here.key(key), "found nothing; allowed: the name of a folder");
            } else if folders.iter().take(1.min(i)).any(|(_, other)| other == folder) {
                report.fault(
                    &here.key(key),
                    format!("found {folder:?}, the folder that is fetched; allowed: another"),
                );
            }
        }
        if mailbox.recipients.is_empty() {
            report.fault(
                &here.key("recipients"),
                "found an empty list; allowed: delivered-to, x-original-to, to",
            );
        }
    }
}

/// Token sources: complete for their provider and flow.
pub(super) fn oauth(config: &Config, report: &mut Report<'_>) {
    for (name, section) in &config.oauth {
        let here = at("oauth").key(name);
        if let Some(text) = &section.token_url {
            match url(text) {
                Err(sentence) => report.fault(&here.key("token_url"), sentence),
                Ok(url) if !url.encrypted && !is_this_machine(&url.host) => {
                    report.fault(
                        &here.key("token_url"),
                        "found http; allowed: https, since secrets travel that way",
                    );
                }
                Ok(_) => {}
            }
        }
        let needed: &[(&str, bool)] = match (section.provider, section.flow) {
            (OauthProvider::Microsoft, OauthFlow::ClientCredentials) => {
                &[("tenant", section.tenant.is_some()), ("client_secret", section.client_secret.is_some())]
            }
            (OauthProvider::Google, OauthFlow::ClientCredentials) => &[("flow", false)],
            (OauthProvider::Other, OauthFlow::ClientCredentials) => &[
                ("token_url", section.token_url.is_some()),
                ("scope", section.scope.is_some()),
                ("client_secret", section.client_secret.is_some()),
            ],
            (OauthProvider::Other, OauthFlow::RefreshToken) => &[
                ("token_url", section.token_url.is_some()),
                ("refresh_token", section.refresh_token.is_some()),
            ],
            (_, OauthFlow::RefreshToken) => &[("refresh_token", section.refresh_token.is_some())],
        };
        for (key, _) in needed.iter().filter(|(_, there)| !there) {
            let sentence = match *key {
                "flow" => {
                    "found client-credentials, which Google does not have for mail; allowed: refresh-token"
                }
                "tenant" => "is missing: Microsoft's token endpoint needs the tenant's id or domain",
                _ => "is missing, and needed for this provider and flow",
            };
            report.fault(&here.key(key), sentence);
        }
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

pub(super) fn alarm(config: &Config, report: &mut Report<'_>) {
    let list = at("alarm").key("mail_to");
    let addresses = &config.alarm.mail_to;
    for (i, address) in addresses.iter().enumerate() {
        mail_address(&list.nth(i), address, report);
    }
    let named = addresses.iter().enumerate().map(|(i, address)| (list.nth(i), address.as_str()));
    no_repeats(named, "in mail_to", report);
    if !addresses.is_empty() && config.receipt.is_none() && !report.is_spoiled(&at("receipt")) {
        report.fault(&list, "needs [receipt]: the relay by which mail leaves");
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
    if let Some(address) = &receipt.bounce_from {
        mail_address(&here.key("bounce_from"), address, report);
    }
    let (login, password) = (receipt.login.is_some(), receipt.password.is_some());
    match &receipt.oauth {
        Some(name) => {
            known_oauth(&here.key("oauth"), name, config, report);
            if password {
                report.fault(&here.key("oauth"), "stands beside password; allowed: one of the two");
            }
            if !login {
                report.fault(&here.key("oauth"), "needs login: the mailbox that the token is for");
            }
        }
        None => both_or_neither(&here, ("login", login), ("password", password), report),
    }
    if let Some(address) = &receipt.reply_to {
        mail_address(&here.key("reply_to"), address, report);
        let name = address.split('@').next().unwrap_or("");
        let most = Receipt::LONGEST_REPLY_NAME;
        if name.len() > most || name.contains('+') {
            let sentence = format!(
                "found {name:?} in front of the @; allowed: at most {most} characters without +, since a token is put behind it"
            );
            report.fault(&here.key("reply_to"), sentence);
        }
    }
    let own = |sender: &&Sender| {
        sender.addresses.iter().any(|address| !address.starts_with('@') && config.is_own_address(address))
    };
    if let Some(sender) = config.sender.iter().find(own) {
        let sentence = format!(
            "is also an address of the sender {:?}: mail from there is taken for our own and refused",
            sender.name
        );
        report.warn(&here.key("from"), sentence);
    }
    let dkim = [
        ("dkim_domain", receipt.dkim_domain.is_some()),
        ("dkim_selector", receipt.dkim_selector.is_some()),
        ("dkim_key", receipt.dkim_key.is_some()),
    ];
    if let (Some((there, _)), true) =
        (dkim.iter().find(|(_, there)| *there), dkim.iter().any(|(_, there)| !there))
    {
        let sentence =
            "stands alone; allowed: dkim_domain, dkim_selector and dkim_key together, or none of them";
        report.fault(&here.key(there), sentence);
    }
    if receipt.tls == RelayTls::None && host.is_some_and(|host| !is_this_machine(host)) {
        let sentence =
            "found none with a relay on another machine: receipts, and the password if any, travel in clear";
        report.warn(&here.key("tls"), sentence);
    }
}
