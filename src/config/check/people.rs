//! Senders: names, addresses, the proof that a mail is theirs, keys.

use russh::keys::PublicKey;

use super::forms::is_domain;
use super::values::mail_address;
use super::{both_or_neither, no_repeats};
use crate::config::faults::Report;
use crate::config::network::Network;
use crate::config::source::{Path, at};
use crate::config::{Config, Proof, Sender};

pub(super) fn senders(config: &Config, report: &mut Report<'_>) {
    let list = at("sender");
    let each = || config.sender.iter().enumerate().map(|(i, sender)| (list.nth(i), sender));
    no_repeats(
        each().map(|(path, s)| (path.key("name"), s.name.as_str())),
        "each sender its own name",
        report,
    );
    let logins = each().filter_map(|(path, s)| Some((path.key("login"), s.login.as_deref()?)));
    no_repeats(logins, "each login to one sender", report);
    let users = each().filter_map(|(path, s)| Some((path.key("sftp_user"), s.sftp_user.as_deref()?)));
    no_repeats(users, "each SFTP user to one sender", report);
    for (path, sender) in each() {
        let mailbox = config.imap.values().any(|mailbox| mailbox.sender.as_ref() == Some(&sender.name));
        mail(&path, sender, mailbox, report);
        sftp(&path, sender, report);
        for (key, address) in [("receipts_to", &sender.receipts_to), ("mail", &sender.mail)] {
            if let Some(address) = address {
                mail_address(&path.key(key), address, report);
            }
        }
        let has_folder = config.folder.values().any(|folder| folder.sender == sender.name);
        let mails = !sender.addresses.is_empty()
            || sender.login.is_some()
            || !sender.certificates.is_empty()
            || mailbox;
        if !mails && sender.sftp_user.is_none() && !has_folder {
            let sentence =
                "has no addresses, no sftp_user and no folder: only `faxbridge send` can send in its name";
            report.warn(&path, sentence);
        }
        // Mail is answered by mail. A sender with files alone reads result files.
        let expects = [
            ("receipts_to", sender.receipts_to.is_some()),
            ("addresses", !sender.addresses.is_empty()),
            ("login", sender.login.is_some()),
        ];
        if let Some((key, _)) = expects.iter().find(|(_, expects)| *expects)
            && config.receipt.is_none()
            && !report.is_spoiled(&at("receipt"))
        {
            let sentence =
                "receipts cannot be mailed: the section [receipt] is missing; add it, with relay and from";
            report.fault(&path.key(key), sentence);
        }
    }
}

/// Addresses, and the proof without which nothing from them is taken; `mailbox`: a mailbox is all this sender's.
fn mail(path: &Path, sender: &Sender, mailbox: bool, report: &mut Report<'_>) {
    for (i, address) in sender.addresses.iter().enumerate() {
        let here = path.key("addresses").nth(i);
        if address.starts_with('@') {
            if !address.strip_prefix('@').is_some_and(is_domain) {
                report
                    .fault(&here, format!("found {address:?}; allowed: a whole domain, as \"@example.com\""));
            }
        } else if !address.contains('@') {
            let sentence = format!(
                "found {address:?}; allowed: an address, as \"jane@example.com\", or a domain, as \"@example.com\""
            );
            report.fault(&here, sentence);
        } else {
            mail_address(&here, address, report);
        }
        let first = sender.addresses.iter().position(|other| other.eq_ignore_ascii_case(address));
        if first != Some(i) {
            report.warn(&here, format!("found {address:?} a second time in this list"));
        }
    }
    for (i, network) in sender.networks.iter().enumerate() {
        if let Err(sentence) = network.parse::<Network>() {
            report.fault(&path.key("networks").nth(i), sentence);
        } else if network.ends_with("/0") {
            let sentence = format!(
                "found {network:?}: mail from everywhere is taken for this sender's, without any proof"
            );
            report.warn(&path.key("networks").nth(i), sentence);
        }
    }
    let (login, password) = (sender.login.is_some(), sender.password.is_some());
    both_or_neither(path, ("login", login), ("password", password), report);
    proofs(path, sender, report);
    if let Some(n) = sender.mails_per_minute {
        super::at_least_one(&path.key("mails_per_minute"), n.into(), report);
    }
    let unread = ["networks", "login", "addresses", "certificates", "proof"]
        .iter()
        .any(|key| report.is_unread(&path.key(key)));
    let by_others = sender
        .proof
        .as_ref()
        .is_some_and(|list| list.iter().any(|proof| matches!(proof, Proof::Dmarc | Proof::Upstream)));
    let proven =
        !sender.networks.is_empty() || login || !sender.certificates.is_empty() || by_others || mailbox;
    if !sender.addresses.is_empty() && !proven && !unread {
        let sentence = "nothing proves that mail from these addresses is this sender's, so none would be taken; add \
                        networks (where it may come from), login and password, or proof = [\"dmarc\"]";
        report.fault(&path.key("addresses"), sentence);
    }
    if sender.addresses.is_empty() && !sender.networks.is_empty() && !unread {
        let sentence = "has no use without addresses; add the mail addresses this sender writes from there";
        report.fault(&path.key("networks"), sentence);
    }
}

/// A fault for each proof that is named and can never be given.
fn proofs(path: &Path, sender: &Sender, report: &mut Report<'_>) {
    let Some(list) = &sender.proof else { return };
    let here = path.key("proof");
    if list.is_empty() {
        report.fault(
            &here,
            "found an empty list: no mail of this sender would be taken; leave it out, or name a proof",
        );
    }
    for (i, proof) in list.iter().enumerate() {
        let missing = match proof {
            Proof::Login if sender.login.is_none() => "login and password",
            Proof::Certificate if sender.certificates.is_empty() => "certificates",
            Proof::Network if sender.networks.is_empty() => "networks",
            Proof::Dmarc | Proof::Upstream if sender.addresses.is_empty() => "addresses",
            _ => continue,
        };
        if !report.is_unread(&path.key(missing)) {
            report.fault(&here.nth(i), format!("can never be given: the sender has no {missing}"));
        }
    }
}

fn sftp(path: &Path, sender: &Sender, report: &mut Report<'_>) {
    let keys = path.key("sftp_keys");
    match &sender.sftp_user {
        Some(_) if sender.sftp_keys.is_empty() && !report.is_unread(&keys) => {
            let sentence = "has no key to log in with; add sftp_keys, as [\"ssh-ed25519 AAAA... billing\"] (the content of its .pub file)";
            report.fault(&path.key("sftp_user"), sentence);
        }
        Some(user) if user.chars().any(|c| c.is_control() || c.is_whitespace() || "/\\:".contains(c)) => {
            report.fault(
                &path.key("sftp_user"),
                format!("found {user:?}; allowed: no spaces, slashes or colons"),
            );
        }
        None if !sender.sftp_keys.is_empty() && !report.is_unread(&path.key("sftp_user")) => {
            report.fault(&keys, "has no use without sftp_user");
        }
        _ => {}
    }
    for (i, key) in sender.sftp_keys.iter().enumerate() {
        let here = keys.nth(i);
        // Before any look at the content: a private key must not end up in a message.
        if key.contains("PRIVATE KEY") {
            report.fault(&here, "found a private key; allowed: the public one (the .pub file). Make a new pair, this one is spent");
        } else if PublicKey::from_openssh(key.trim()).is_err() {
            let sentence = "found something else than a public key; allowed: the one line of a .pub file, as \
                            \"ssh-ed25519 AAAA... billing\", without options before it";
            report.fault(&here, sentence);
        }
    }
}
