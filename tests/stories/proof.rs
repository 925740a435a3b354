//! Story: strangers write in a clinic's name, and so does the clinic; the DNS and the mail server in front tell them apart.
//!
//! A real name server (NSD) holds the records, mails are signed by mail-auth and by dkimpy, and every mail goes through a session
//! with the real daemon from the address of whoever sends it.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::smtp::{Refused, Session};
use crate::support::{Stage, documents};
use dns::Dns;
use mail_auth::dkim::Canonicalization;
use sign::{FIELDS, Keys};

pub(crate) mod dns;
pub(crate) mod sign;

const CONFIG: &str = r#"
[dns]
servers = ["NAMESERVER"]
timeout = "2 s"

[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.bridge.example"
upstream_from = ["127.0.0.9"]
upstream_id = "mx.clinic.example"

[[sender]]
name = "clinic"
addresses = ["@clinic.example"]
proof = ["dmarc", "upstream"]

[[sender]]
name = "others"
addresses = ["@strict.example", "@bare.example", "@broken.example", "jane@b.gov.example"]
proof = ["dmarc"]

[[sender]]
name = "abroad"
addresses = ["@präxis.example"]
proof = ["dmarc"]

[[sender]]
name = "behind"
addresses = ["@behind.example"]
proof = ["upstream"]

[[sender]]
name = "desk"
addresses = ["@desk.example"]
networks = ["192.0.2.0/24"]
proof = ["network"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.bridge.example"

[policy]
ask_first = "200 ms"
ask_at_most = "500 ms"
"#;

const TO: &str = "mercy-radiology@fax.bridge.example";
const NUMBER: &str = "+12125550199";

/// Somebody's machine.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// The server in the SPF records of the domains themselves, the attacker's too.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The server in the SPF records of `mail.` in front of them.
const BELOW: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// The clinic's mail server in front, also in its SPF record.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

const JANE: &str = "Jane Doe <jane@clinic.example>";
/// An envelope sender that says nothing, as mailing services write them.
const BOUNCES: &str = "bounces+17@mailer.example";

/// What becomes of a mail.
enum Becomes {
    /// It is taken, as this sender's.
    Taken(&'static str),
    /// It is refused, with a reply that begins and goes on so.
    Refused(&'static str, &'static str),
}
use Becomes::{Refused as No, Taken};

/// A mail: what it shows, from which machine, envelope sender, the mail, what becomes of it.
type Row = (&'static str, Ipv4Addr, &'static str, Vec<u8>, Becomes);

/// A mail of its own: the same one twice would be known.
fn mail(from: &str) -> Vec<u8> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let id = format!("<{}@clinic.example>", COUNT.fetch_add(1, Ordering::Relaxed));
    documents::mail(from, TO, &id, "A referral", &[]).replace_from(from)
}

/// `documents::mail` puts a name in front of the address; a row writes all of the field.
trait ReplaceFrom {
    fn replace_from(self, from: &str) -> Vec<u8>;
}

impl ReplaceFrom for Vec<u8> {
    fn replace_from(self, from: &str) -> Vec<u8> {
        let text = String::from_utf8(self).unwrap();
        text.replacen(&format!("From: Jane Doe <{from}>"), &format!("From: {from}"), 1).into_bytes()
    }
}

/// `mail` with a line in front.
fn with(line: &str, mail: &[u8]) -> Vec<u8> {
    [line.as_bytes(), b"\r\n", mail].concat()
}

fn changed(mail: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(from), "{from:?} is in the mail");
    text.replace(from, to).into_bytes()
}

fn records(keys: &Keys) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let rsa = || keys.rsa_record();
    vec![
        ("clinic.example", text("v=spf1 ip4:127.0.0.2 ip4:127.0.0.9 -all")),
        ("_dmarc.clinic.example", text("v=DMARC1; p=none")),
        ("s1._domainkey.clinic.example", rsa()),
        ("ed._domainkey.clinic.example", keys.ed_record()),
        ("revoked._domainkey.clinic.example", text("v=DKIM1; p=")),
        ("mail.clinic.example", text("v=spf1 ip4:127.0.0.3 -all")),
        ("s1._domainkey.mail.clinic.example", rsa()),
        ("_dmarc.strict.example", text("v=DMARC1; p=reject; adkim=s; aspf=s")),
        ("s1._domainkey.mail.strict.example", rsa()),
        ("mail.strict.example", text("v=spf1 ip4:127.0.0.3 -all")),
        ("bare.example", text("v=spf1 ip4:127.0.0.2 -all")),
        ("s1._domainkey.bare.example", rsa()),
        ("s1._domainkey.mail.bare.example", rsa()),
        ("s1._domainkey.xn--prxis-hra.example", rsa()),
        // Under a suffix whose keeper has a record.
        ("_dmarc.gov.example", text("v=DMARC1; p=none")),
        ("s1._domainkey.a.gov.example", rsa()),
        ("a.gov.example", text("v=spf1 ip4:127.0.0.2 -all")),
        // All in order, and nobody's sender.
        ("evil.example", text("v=spf1 ip4:127.0.0.2 exp=clinic.example -all")),
        ("_dmarc.evil.example", text("v=DMARC1; p=reject")),
        ("s1._domainkey.evil.example", rsa()),
        ("c1inic.example", text("v=spf1 ip4:127.0.0.2 -all")),
        ("_dmarc.c1inic.example", text("v=DMARC1; p=reject")),
        ("s1._domainkey.c1inic.example", rsa()),
        ("_dmarc.desk.example", text("v=DMARC1; p=reject")),
        ("s1._domainkey.desk.example", rsa()),
        ("s1._domainkey.behind.example", rsa()),
        ("s1._domainkey.lists.example", rsa()),
    ]
}

fn taken(keys: &Keys) -> Vec<Row> {
    let jane = || mail(JANE);
    let blank_end = [jane().as_slice(), b"\r\n \r\n\t \r\n\r\n"].concat();
    let vouched =
        "Authentication-Results: mx.clinic.example;\r\n dmarc=pass (p=none) header.from=clinic.example";
    let behind = "Authentication-Results: mx.clinic.example; dmarc=pass header.from=behind.example";
    vec![
        ("signed by the domain", ANYWHERE, BOUNCES, keys.rsa("clinic.example", &jane()), Taken("clinic")),
        ("signed with Ed25519", ANYWHERE, BOUNCES, keys.ed("clinic.example", &jane()), Taken("clinic")),
        ("signed below", ANYWHERE, BOUNCES, keys.rsa("mail.clinic.example", &jane()), Taken("clinic")),
        (
            "signed by dkimpy",
            ANYWHERE,
            BOUNCES,
            keys.dkimpy("clinic.example", false, &jane()),
            Taken("clinic"),
        ),
        (
            "blank lines at the end, signed by dkimpy",
            ANYWHERE,
            BOUNCES,
            keys.dkimpy("clinic.example", false, &blank_end),
            Taken("clinic"),
        ),
        ("from the domain's own server", OWN, "jane@clinic.example", jane(), Taken("clinic")),
        ("from a server below", BELOW, "bounces@mail.clinic.example", jane(), Taken("clinic")),
        (
            "a broken signature, from the domain's own server",
            OWN,
            "jane@clinic.example",
            changed(&keys.rsa("clinic.example", &jane()), "Please", "PLEASE"),
            Taken("clinic"),
        ),
        (
            "a list's signature beside the domain's whole one",
            ANYWHERE,
            BOUNCES,
            keys.rsa("lists.example", &keys.rsa("clinic.example", &jane())),
            Taken("clinic"),
        ),
        (
            "signed by the domain, which has no DMARC record",
            ANYWHERE,
            BOUNCES,
            keys.rsa("bare.example", &mail("jane@bare.example")),
            Taken("others"),
        ),
        (
            "upper case",
            ANYWHERE,
            BOUNCES,
            keys.rsa("clinic.example", &mail("<Jane@CLINIC.Example>")),
            Taken("clinic"),
        ),
        (
            "A-labels",
            ANYWHERE,
            BOUNCES,
            keys.rsa("xn--prxis-hra.example", &mail("jane@xn--prxis-hra.example")),
            Taken("abroad"),
        ),
        (
            "U-labels",
            ANYWHERE,
            BOUNCES,
            keys.rsa("xn--prxis-hra.example", &mail("jane@präxis.example")),
            Taken("abroad"),
        ),
        ("the server in front vouches", FRONT, BOUNCES, with(vouched, &jane()), Taken("clinic")),
        (
            "the server in front vouches for who has no other proof",
            FRONT,
            BOUNCES,
            with(behind, &mail("jane@behind.example")),
            Taken("behind"),
        ),
        (
            "the server in front is silent, the domain signed",
            FRONT,
            BOUNCES,
            keys.rsa("clinic.example", &jane()),
            Taken("clinic"),
        ),
    ]
}

fn forged(keys: &Keys) -> Vec<Row> {
    let jane = mail(JANE);
    let signed = keys.rsa("clinic.example", &jane);
    let with_length =
        keys.rsa_with("s1", "clinic.example", &FIELDS, |signer| signer.body_length(true), &jane);
    let without_subject: Vec<&str> = FIELDS.into_iter().filter(|name| *name != "Subject").collect();
    let simple = |selector| {
        let change = |signer: mail_auth::dkim::DkimSigner<_, _>| {
            signer.body_canonicalization(Canonicalization::Simple)
        };
        keys.rsa_with(selector, "clinic.example", &FIELDS, change, &jane)
    };
    let footer = |mail: &[u8]| [mail, b"-- \r\nYou get this mail from a list.\r\n"].concat();
    let strict = mail("jane@strict.example");
    let bare = mail("jane@bare.example");
    let not_signed = "it has no DKIM signature of clinic.example";
    let changed_later = "its DKIM signature does not fit";
    let not_allowed = "the DMARC record of strict.example does not allow that";
    let no_record = "bare.example has no DMARC record";
    vec![
        ("no signature", ANYWHERE, "jane@clinic.example", jane.clone(), No("550 5.7.26", not_signed)),
        (
            "another's signature and server",
            OWN,
            "x@evil.example",
            keys.rsa("evil.example", &jane),
            No("550 5.7.26", not_signed),
        ),
        (
            "the body altered",
            ANYWHERE,
            BOUNCES,
            changed(&signed, "attachment", "attachments"),
            No("550 5.7.26", changed_later),
        ),
        (
            "the Subject altered",
            ANYWHERE,
            BOUNCES,
            changed(&signed, "A referral", "+12125550110"),
            No("550 5.7.26", changed_later),
        ),
        (
            "a list's Subject and footer, with its signature",
            ANYWHERE,
            "list@lists.example",
            keys.rsa("lists.example", &footer(&changed(&signed, "A referral", "[list] A referral"))),
            No("550 5.7.26", changed_later),
        ),
        (
            "text behind a signature with l=",
            ANYWHERE,
            BOUNCES,
            footer(&with_length),
            No("550 5.7.26", "does not cover From, Subject and all of the text"),
        ),
        (
            "a signature that leaves the Subject out",
            ANYWHERE,
            BOUNCES,
            keys.rsa_with("s1", "clinic.example", &without_subject, |signer| signer, &jane),
            No("550 5.7.26", "does not cover From, Subject"),
        ),
        (
            "expired",
            ANYWHERE,
            BOUNCES,
            keys.dkimpy("clinic.example", true, &jane),
            No("550 5.7.26", "its DKIM signature has expired"),
        ),
        ("no key", ANYWHERE, BOUNCES, simple("s9"), No("550 5.7.26", "is not in the DNS")),
        ("a revoked key", ANYWHERE, BOUNCES, simple("revoked"), No("550 5.7.26", "is not in the DNS")),
        (
            "signed below, where the record wants the domain itself",
            ANYWHERE,
            BOUNCES,
            keys.rsa("mail.strict.example", &strict),
            No("550 5.7.26", not_allowed),
        ),
        (
            "from a server below, where the record wants the domain itself",
            BELOW,
            "bounces@mail.strict.example",
            strict.clone(),
            No("550 5.7.26", not_allowed),
        ),
        (
            "signed below, without a record",
            ANYWHERE,
            BOUNCES,
            keys.rsa("mail.bare.example", &bare),
            No("550 5.7.26", no_record),
        ),
        (
            "from the domain's own server, without a record",
            OWN,
            "jane@bare.example",
            bare,
            No("550 5.7.26", no_record),
        ),
        (
            "a neighbour under a suffix that has a record",
            OWN,
            "x@a.gov.example",
            keys.rsa("a.gov.example", &mail("jane@b.gov.example")),
            No("550 5.7.26", "it has no DKIM signature of b.gov.example"),
        ),
        (
            "the DNS fails",
            ANYWHERE,
            BOUNCES,
            keys.rsa("broken.example", &mail("jane@broken.example")),
            No("451 4.4.3", "cannot be checked at the moment"),
        ),
        (
            "a look-alike with everything in order",
            OWN,
            "jane@c1inic.example",
            keys.rsa("c1inic.example", &mail("Jane Doe <jane@c1inic.example>")),
            No("550 5.7.1", "jane@c1inic.example is not known here"),
        ),
        (
            "a display name that is an address",
            OWN,
            "jane@clinic.example",
            keys.rsa("evil.example", &mail("\"jane@clinic.example\" <x@evil.example>")),
            No("550 5.7.1", "x@evil.example is not known here"),
        ),
        (
            "two From fields",
            ANYWHERE,
            BOUNCES,
            with("From: x@evil.example", &signed),
            No("550 5.7.1", "has the header field from twice"),
        ),
        (
            "a second Subject",
            ANYWHERE,
            BOUNCES,
            with("Subject: +12125550110", &signed),
            No("550 5.7.1", "has the header field subject twice"),
        ),
        (
            "two addresses",
            ANYWHERE,
            BOUNCES,
            keys.rsa("clinic.example", &mail("jane@clinic.example, x@evil.example")),
            No("550 5.7.1", "has more than one address in its From field"),
        ),
        (
            "a line that is no field",
            ANYWHERE,
            BOUNCES,
            with("From x@evil.example", &signed),
            No("550 5.7.1", "that is no header field"),
        ),
        (
            "a sender for whom DMARC does not count",
            ANYWHERE,
            "jane@desk.example",
            keys.rsa("desk.example", &mail("jane@desk.example")),
            No("550 5.7.1", "jane@desk.example is not known here"),
        ),
    ]
}

/// What strangers write about who vouches for them, and what the clinic's mail server itself would be fooled by.
fn forged_words() -> Vec<Row> {
    let behind = mail("jane@behind.example");
    let jane = mail(JANE);
    let words = |id: &str, result: &str, domain: &str| {
        format!("Authentication-Results: {id}; dmarc={result} header.from={domain}")
    };
    let pass = words("mx.clinic.example", "pass", "behind.example");
    let not_passed = "did not pass DMARC by the word of mx.clinic.example";
    let silent = "carries no DMARC result of mx.clinic.example";
    vec![
        (
            "the right words from another machine",
            ANYWHERE,
            BOUNCES,
            with(&pass, &behind),
            No("550 5.7.1", "only taken through its own mail server"),
        ),
        (
            "the right words from another machine, of a domain that could prove it otherwise",
            ANYWHERE,
            BOUNCES,
            with(&words("mx.clinic.example", "pass", "clinic.example"), &jane),
            No("550 5.7.26", "it has no DKIM signature of clinic.example"),
        ),
        (
            "another server's words",
            FRONT,
            BOUNCES,
            with(&words("mx.evil.example", "pass", "behind.example"), &behind),
            No("550 5.7.26", silent),
        ),
        (
            "forged words below",
            FRONT,
            BOUNCES,
            with(&words("mx.clinic.example", "fail", "behind.example"), &with(&pass, &behind)),
            No("550 5.7.26", not_passed),
        ),
        (
            "a pass for another domain",
            FRONT,
            BOUNCES,
            with(&words("mx.clinic.example", "pass", "evil.example"), &behind),
            No("550 5.7.26", not_passed),
        ),
        ("no words", FRONT, BOUNCES, behind, No("550 5.7.26", silent)),
        (
            "passed on by the server in front, which SPF names",
            FRONT,
            "jane@clinic.example",
            jane,
            No("550 5.7.22", "it has no DKIM signature of clinic.example"),
        ),
    ]
}

async fn stage(dns: &str) -> Stage {
    let mut stage = Stage::new(&CONFIG.replace("NAMESERVER", dns)).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    stage
}

/// Hands over one mail from `own`; the reply, whatever it is.
async fn hand_over(stage: &Stage, own: Ipv4Addr, from: &str, mail: &[u8]) -> String {
    let mut session = Session::connect_from(stage.smtp(), own).await.unwrap();
    match session.send(from, &[TO], mail).await {
        Ok(reply) | Err(Refused::Reply(_, reply)) => reply,
        Err(Refused::Broken(error)) => panic!("the session broke: {error}"),
    }
}

/// Whose the mail of that reply is.
async fn sender_of(stage: &Stage, reply: &str) -> Option<String> {
    let id = reply.trim().strip_prefix("250 2.0.0 accepted as ")?;
    let submission = stage.store.submission(id.parse().ok()?).await.unwrap()?;
    Some(submission.sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_senders_own_is_taken_and_everything_else_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::make(folder.path());
    let dns = Dns::start(folder.path(), &records(&keys));
    let stage = stage(&dns.address()).await;
    let mut wrong = Vec::new();
    let rows = forged(&keys).into_iter().chain(forged_words()).chain(taken(&keys));
    for (what, own, from, mail, becomes) in rows {
        let reply = hand_over(&stage, own, from, &mail).await;
        let right = match becomes {
            Taken(sender) => sender_of(&stage, &reply).await.as_deref() == Some(sender),
            No(begins, contains) => reply.starts_with(begins) && reply.contains(contains),
        };
        if !right {
            wrong.push(format!("{what}: {}", reply.trim()));
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}\n{}", wrong.len(), wrong.join("\n"), stage.log_tail());
    assert!(!stage.log().contains("jane@"), "no address in the log");

    let checked = stage.command("check", &[]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "a DNS that fails lies outside: {said}");
    for part in [
        "has a DMARC record of clinic.example",
        "bare.example has no DMARC record",
        "no answer about broken.example",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_go_to_who_was_proven_and_tell_what_proved_it() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::make(folder.path());
    let dns = Dns::start(folder.path(), &records(&keys));
    let stage = stage(&dns.address()).await;
    let pdf = documents::pdf("the referral", 1);
    let letter = |id: &str| documents::mail("jane@clinic.example", TO, id, "Referral", &[("a.pdf", &pdf)]);
    let vouched = "Authentication-Results: mx.clinic.example; dmarc=pass header.from=clinic.example";
    for (id, own, mail, words) in [
        (
            "<1@clinic.example>",
            ANYWHERE,
            keys.rsa("clinic.example", &letter("<1@clinic.example>")),
            "vouches for the mail (DMARC)",
        ),
        (
            "<2@clinic.example>",
            FRONT,
            with(vouched, &letter("<2@clinic.example>")),
            "the mail server in front vouches",
        ),
    ] {
        let reply = hand_over(&stage, own, "stranger@evil.example", &mail).await;
        assert!(reply.starts_with("250"), "{reply}");
        let receipt = stage.final_receipt(id).await;
        assert_eq!(
            receipt.envelope_to, "jane@clinic.example",
            "not to an envelope sender that nothing proved"
        );
        let text = receipt.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dns_that_is_silent_makes_mail_wait() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::make(folder.path());
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stage = stage(&silent.local_addr().unwrap().to_string()).await;
    let signed = keys.rsa("clinic.example", &mail(JANE));
    let reply = hand_over(&stage, ANYWHERE, "jane@clinic.example", &signed).await;
    assert!(reply.starts_with("451 4.4.3"), "{reply}");
    assert!(stage.submissions().await.is_empty());
    let checked = stage.command("check", &[]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.contains("no answer about clinic.example"), "{said}");
}
