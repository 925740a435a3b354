//! Ways in: the listeners together, SMTP, SFTP, folders.

use std::net::SocketAddr;

use super::{at_least_one, both_or_neither, known_sender};
use crate::config::check::forms::is_domain;
use crate::config::faults::Report;
use crate::config::source::{Path, at};
use crate::config::{Config, Network, Sender, Sftp};

/// Every listening address once; and at least one way in.
pub(super) fn listeners(config: &Config, report: &mut Report<'_>) {
    let lists = [
        ("smtp", "listen", config.smtp.as_ref().map(|smtp| &smtp.listen)),
        ("smtp", "listen_tls", config.smtp.as_ref().map(|smtp| &smtp.listen_tls)),
        ("smtp", "listen_lmtp", config.smtp.as_ref().map(|smtp| &smtp.listen_lmtp)),
        ("sftp", "listen", config.sftp.as_ref().map(|sftp| &sftp.listen)),
        ("sftp", "listen_legacy", config.sftp.as_ref().map(|sftp| &sftp.listen_legacy)),
    ];
    let nowhere = config.smtp.as_ref().is_some_and(|smtp| {
        smtp.listen.is_empty() && smtp.listen_tls.is_empty() && smtp.listen_lmtp.is_empty()
    });
    let mut all: Vec<(Path, SocketAddr)> = Vec::new();
    for (section, key, list) in lists {
        let Some(list) = list else { continue };
        let path = at(section).key(key);
        if list.is_empty() && key == "listen" && (section == "sftp" || nowhere) {
            let sentence = format!(
                "found an empty list; allowed: at least one address, as [\"127.0.0.1:2525\"]; leave [{section}] out to \
                 listen nowhere"
            );
            report.fault(&path, sentence);
        }
        all.extend(list.iter().enumerate().map(|(i, address)| (path.nth(i), *address)));
    }
    all.extend(config.webhook.iter().map(|webhook| (at("webhook").key("listen"), webhook.listen)));
    all.extend(config.media.iter().map(|media| (at("media").key("listen"), media.listen)));
    let mut seen: Vec<(&Path, SocketAddr)> = Vec::new();
    for (path, address) in &all {
        if let Some((first, _)) = seen.iter().find(|(_, other)| other == address && address.port() != 0) {
            report.fault(
                path,
                format!("found {address}, which is taken by {first}; allowed: another address or port"),
            );
        } else {
            seen.push((path, *address));
        }
    }
    if config.smtp.is_none() && config.imap.is_empty() && config.sftp.is_none() && config.folder.is_empty() {
        report.warn(
            &Path::default(),
            "no [smtp], [imap.NAME], [sftp] or [folder.NAME]: documents only come in by `faxbridge send`",
        );
    }
}

pub(super) fn smtp(config: &Config, report: &mut Report<'_>) {
    let here = at("smtp");
    let Some(smtp) = &config.smtp else {
        let unused = |sender: &Sender| !sender.addresses.is_empty() && config.imap.is_empty();
        if let Some(i) = config.sender.iter().position(unused) {
            let sentence = "mail addresses of senders have no use without a section [smtp] or [imap.NAME]";
            report.warn(&at("sender").nth(i).key("addresses"), sentence);
        }
        return;
    };
    if !is_domain(&smtp.hostname) {
        let sentence = format!("found {:?}; allowed: a host name, as \"fax.example.com\"", smtp.hostname);
        report.fault(&here.key("hostname"), sentence);
    }
    let (certificate, key) = (smtp.tls_certificate.is_some(), smtp.tls_key.is_some());
    both_or_neither(&here, ("tls_certificate", certificate), ("tls_key", key), report);
    if !certificate && !key {
        if !smtp.listen_tls.is_empty() {
            report.fault(&here.key("listen_tls"), "needs a certificate: add tls_certificate and tls_key");
        }
        if smtp.client_authorities.is_some() {
            report.fault(&here.key("client_authorities"), "needs TLS: add tls_certificate and tls_key");
        }
        for (i, _) in config.sender.iter().enumerate().filter(|(_, sender)| sender.login.is_some()) {
            let sentence = "has no use yet: passwords are only taken over TLS, and [smtp] has no tls_certificate \
                            and tls_key";
            report.warn(&at("sender").nth(i).key("login"), sentence);
        }
    }
    let lists = [
        ("proxy_from", &smtp.proxy_from),
        ("upstream_from", &smtp.upstream_from),
        ("without_tls_from", &smtp.without_tls_from),
    ];
    for (key, list) in lists {
        networks(&here.key(key), list, report);
    }
    if smtp.require_tls && !certificate && !key {
        report.fault(&here.key("require_tls"), "needs a certificate: add tls_certificate and tls_key");
    }
    if !smtp.require_tls && !smtp.without_tls_from.is_empty() {
        report.warn(&here.key("without_tls_from"), "has no use without require_tls");
    }
    let upstream = (!smtp.upstream_from.is_empty(), smtp.upstream_id.is_some());
    both_or_neither(&here, ("upstream_from", upstream.0), ("upstream_id", upstream.1), report);
    if let Some(n) = smtp.mails_per_minute {
        at_least_one(&here.key("mails_per_minute"), n.into(), report);
    }
    at_least_one(&here.key("failed_logins"), smtp.failed_logins.into(), report);
    at_least_one(&here.key("max_recipients"), smtp.max_recipients as u64, report);
    at_least_one(&here.key("max_sessions"), smtp.max_sessions as u64, report);
    at_least_one(&here.key("max_sessions_per_address"), smtp.max_sessions_per_address as u64, report);
    at_least_one(&here.key("max_sessions_per_relay"), smtp.max_sessions_per_relay as u64, report);
    if smtp.idle > smtp.session_time {
        let sentence = format!(
            "found {}; allowed: at most smtp.session_time, which is {}",
            smtp.idle, smtp.session_time
        );
        report.fault(&here.key("idle"), sentence);
    }
}

/// A fault for each of `list` that is no network.
fn networks(path: &Path, list: &[String], report: &mut Report<'_>) {
    for (i, network) in list.iter().enumerate() {
        if let Err(sentence) = network.parse::<Network>() {
            report.fault(&path.nth(i), sentence);
        }
    }
}

pub(super) fn sftp(config: &Config, report: &mut Report<'_>) {
    let here = at("sftp");
    let Some(sftp) = &config.sftp else {
        if let Some(i) = config.sender.iter().position(|sender| sender.sftp_user.is_some()) {
            report.warn(&at("sender").nth(i).key("sftp_user"), "has no use without a section [sftp]");
        }
        return;
    };
    at_least_one(&here.key("max_sessions"), sftp.max_sessions as u64, report);
    for (key, most) in [
        ("max_sessions_per_address", sftp.max_sessions_per_address),
        ("max_sessions_per_gateway", sftp.max_sessions_per_gateway),
    ] {
        at_least_one(&here.key(key), most as u64, report);
        if sftp.max_sessions > 1 && most >= sftp.max_sessions {
            let sentence =
                format!("{most} of {} sessions: one address can keep all others out", sftp.max_sessions);
            report.warn(&here.key(key), sentence);
        }
    }
    networks(&here.key("gateways"), &sftp.gateways, report);
    if sftp.max_unaccepted < config.limits.submission {
        let sentence = format!(
            "found {}; allowed: at least limits.submission, which is {}",
            sftp.max_unaccepted, config.limits.submission
        );
        report.fault(&here.key("max_unaccepted"), sentence);
    }
    legacy(config, sftp, report);
    if config.sender.iter().all(|sender| sender.sftp_user.is_none()) && !report.is_spoiled(&at("sender")) {
        report.warn(&here, "no sender has an sftp_user: nobody can log in");
    }
}

/// Old clients have a listener of their own, or none.
fn legacy(config: &Config, sftp: &Sftp, report: &mut Report<'_>) {
    let user = config.sender.iter().position(|sender| sender.sftp_legacy);
    match (user, sftp.listen_legacy.is_empty()) {
        (Some(i), true) => {
            let sentence =
                "has no use yet: old clients are served on sftp.listen_legacy only, which is empty";
            report.warn(&at("sender").nth(i).key("sftp_legacy"), sentence);
        }
        (None, false) if !report.is_spoiled(&at("sender")) => {
            let sentence = "nobody can log in there: no sender has sftp_legacy = true";
            report.warn(&at("sftp").key("listen_legacy"), sentence);
        }
        _ => {}
    }
}

pub(super) fn folders(config: &Config, report: &mut Report<'_>) {
    let mut seen: Vec<(&String, &std::path::PathBuf)> = Vec::new();
    for (name, folder) in &config.folder {
        let here = at("folder").key(name);
        known_sender(&here.key("sender"), &folder.sender, config, report);
        let path = &folder.path;
        if path.as_os_str().is_empty() {
            report.fault(&here.key("path"), "found nothing; allowed: the path of a folder");
        } else if let Some((other, _)) =
            seen.iter().find(|(_, seen)| path.starts_with(seen) || seen.starts_with(path))
        {
            // Each would take the other's files, or its results for new ones.
            let sentence = format!(
                "found {path:?}, the same folder as that of folder.{other} or one inside the other; \
                                    allowed: folders apart from each other"
            );
            report.fault(&here.key("path"), sentence);
        } else {
            seen.push((name, path));
        }
        let data = &config.store.data_dir;
        let both = !path.as_os_str().is_empty() && !report.is_spoiled(&at("store").key("data_dir"));
        if both && (path.starts_with(data) || data.starts_with(path)) {
            let sentence = format!("found {path:?}; allowed: a folder apart from store.data_dir ({data:?})");
            report.fault(&here.key("path"), sentence);
        }
    }
}
