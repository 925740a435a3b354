//! Signatures that cover too little.
//!
//! Somebody who gets hold of a signed mail (its recipient, a list, a mail server on the way) may send it again, with whatever the
//! signature leaves out changed. A real name server (NSD) holds the records, and every mail goes through a session with the real
//! daemon.

use std::net::Ipv4Addr;

use faxbridge::job::{Hold, JobState};
use faxbridge::store::{JobFilter, Verdict};

use crate::proof::dns::Dns;
use crate::proof::sign::{FIELDS, Keys};
use crate::support::smtp::{Refused, Session};
use crate::support::{Stage, documents};

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
addresses = ["@clinic.example", "@bare.example"]
proof = ["dmarc"]
acceptance = true

[[rule]]
name = "named recipient"
to = "{recipient}@fax.bridge.example"

[policy]
ask_first = "200 ms"
ask_at_most = "500 ms"
"#;

pub(super) const TO: &str = "mercy-radiology@fax.bridge.example";
pub(super) const ANYWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// The server in the SPF record.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The mail server in front.
const FRONT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
pub(super) const JANE: &str = "jane@clinic.example";
pub(super) const BOUNCES: &str = "bounces+17@mailer.example";
/// As Google signs: no Content-Type.
pub(super) const GOOGLE: [&str; 6] = ["To", "Subject", "Message-ID", "Date", "From", "MIME-Version"];
/// All that counts.
pub(super) const ALL: [&str; 7] =
    ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

pub(super) struct Rig {
    pub(super) stage: Stage,
    keys: Keys,
    _dns: Dns,
    _folder: tempfile::TempDir,
}

async fn rig() -> Rig {
    rig_with("").await
}

/// With `more` behind the configuration.
pub(super) async fn rig_with(more: &str) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::make(folder.path());
    let records = [
        ("clinic.example", "v=spf1 ip4:127.0.0.2 ip4:127.0.0.9 -all".to_owned()),
        ("_dmarc.clinic.example", "v=DMARC1; p=reject".to_owned()),
        ("s1._domainkey.clinic.example", keys.rsa_record()),
        // No DMARC record.
        ("bare.example", "v=spf1 ip4:127.0.0.2 -all".to_owned()),
        ("s1._domainkey.bare.example", keys.rsa_record()),
        // Programs and few mails: of tests beside this file.
        ("program.example", "v=spf1 ip4:127.0.0.2 -all".to_owned()),
        ("s1._domainkey.program.example", keys.rsa_record()),
        ("few.example", "v=spf1 ip4:127.0.0.2 -all".to_owned()),
        ("s1._domainkey.few.example", keys.rsa_record()),
        ("mail.bare.example", "v=spf1 ip4:127.0.0.2 -all".to_owned()),
    ];
    let dns = Dns::start(folder.path(), &records);
    let mut stage = Stage::new(&format!("{}{more}", CONFIG.replace("NAMESERVER", &dns.address()))).await;
    stage.verified(&[("mercy-radiology", "+12125550199"), ("harbor", "+12125550155")]).await;
    stage.start().await;
    Rig { stage, keys, _dns: dns, _folder: folder }
}

impl Rig {
    pub(super) fn signed(&self, fields: &[&str], domain: &str, mail: &[u8]) -> Vec<u8> {
        self.keys.rsa_with("s1", domain, fields, |signer| signer, mail)
    }

    pub(super) async fn hand_over(&self, own: Ipv4Addr, from: &str, mail: &[u8]) -> String {
        self.hand_over_to(own, from, TO, mail).await
    }

    pub(super) async fn hand_over_to(&self, own: Ipv4Addr, from: &str, to: &str, mail: &[u8]) -> String {
        let mut session = Session::connect_from(self.stage.smtp(), own).await.unwrap();
        match session.send(from, &[to], mail).await {
            Ok(reply) | Err(Refused::Reply(_, reply)) => reply,
            Err(Refused::Broken(error)) => panic!("the session broke: {error}"),
        }
    }

    /// Why the mail of that reply is held; none where it is not.
    pub(super) async fn held(&self, reply: &str) -> Option<Hold> {
        let id = reply.trim().rsplit(' ').next().unwrap().parse().unwrap();
        self.stage
            .until("a verdict", async || {
                let submission = self.stage.store.submission(id).await.unwrap()?;
                (submission.verdict == Some(Verdict::Jobs)).then_some(())
            })
            .await;
        let filter = JobFilter { submission: Some(id), ..JobFilter::default() };
        let jobs = self.stage.store.jobs(&filter, 10).await.unwrap();
        assert_eq!(jobs.len(), 1);
        match jobs[0].state {
            JobState::Held { hold, .. } => Some(hold),
            _ => None,
        }
    }
}

pub(super) fn letter(n: u32, from: &str) -> Vec<u8> {
    let pdf = documents::pdf(&format!("referral {n}"), 1);
    documents::mail(from, TO, &format!("<{n}@clinic.example>"), "A referral", &[("a.pdf", &pdf)])
}

pub(super) fn changed(mail: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(from), "{from:?} is in the mail");
    text.replacen(from, to, 1).into_bytes()
}

/// What a signature must cover, or what must stand beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_leaves_out_how_a_mail_is_read_holds_it() {
    let rig = rig().await;
    let without = |name: &str| -> Vec<&str> { ALL.into_iter().filter(|field| *field != name).collect() };
    let bare = "jane@bare.example";
    let no_mime = |n| {
        changed(
            &changed(&letter(n, JANE), "MIME-Version: 1.0\r\n", ""),
            "Content-Type: multipart",
            "X: multipart",
        )
    };
    let mut wrong = Vec::new();
    for (what, own, from, mail, held) in [
        ("all of it", ANYWHERE, BOUNCES, rig.signed(&ALL, "clinic.example", &letter(1, JANE)), None),
        (
            "as Google, by strangers",
            ANYWHERE,
            BOUNCES,
            rig.signed(&GOOGLE, "clinic.example", &letter(2, JANE)),
            Some(Hold::Proof),
        ),
        (
            "as Google, from its own server",
            OWN,
            JANE,
            rig.signed(&GOOGLE, "clinic.example", &letter(3, JANE)),
            None,
        ),
        (
            "as Google, passed on",
            FRONT,
            JANE,
            rig.signed(&GOOGLE, "clinic.example", &letter(4, JANE)),
            Some(Hold::Proof),
        ),
        (
            "no Date",
            ANYWHERE,
            BOUNCES,
            rig.signed(&without("Date"), "clinic.example", &letter(5, JANE)),
            Some(Hold::Proof),
        ),
        (
            "no Message-ID",
            ANYWHERE,
            BOUNCES,
            rig.signed(&without("Message-ID"), "clinic.example", &letter(6, JANE)),
            Some(Hold::Proof),
        ),
        (
            "no MIME-Version",
            ANYWHERE,
            BOUNCES,
            rig.signed(&without("MIME-Version"), "clinic.example", &letter(7, JANE)),
            Some(Hold::Proof),
        ),
        (
            "the fields of before",
            ANYWHERE,
            BOUNCES,
            rig.signed(&FIELDS[..5], "clinic.example", &letter(8, JANE)),
            Some(Hold::Proof),
        ),
        (
            "an encoding that is there and not covered",
            ANYWHERE,
            BOUNCES,
            rig.signed(
                &ALL,
                "clinic.example",
                &changed(&letter(9, JANE), "MIME-Version", "Content-Transfer-Encoding: 7bit\r\nMIME-Version"),
            ),
            Some(Hold::Proof),
        ),
        (
            "without a DMARC record, from its own server",
            OWN,
            bare,
            rig.signed(&GOOGLE, "bare.example", &letter(10, bare)),
            None,
        ),
        (
            "without a DMARC record, from a server below",
            OWN,
            "b@mail.bare.example",
            rig.signed(&GOOGLE, "bare.example", &letter(11, bare)),
            Some(Hold::Proof),
        ),
        (
            "a whole signature beside one that is not",
            ANYWHERE,
            BOUNCES,
            rig.signed(&GOOGLE, "clinic.example", &rig.signed(&ALL, "clinic.example", &letter(12, JANE))),
            None,
        ),
        (
            "a Content-Type taken away",
            ANYWHERE,
            BOUNCES,
            changed(
                &rig.signed(&GOOGLE, "clinic.example", &letter(13, JANE)),
                "\r\nContent-Type: multipart",
                "\r\nX-Was: multipart",
            ),
            Some(Hold::Part),
        ),
        (
            "neither there nor signed",
            ANYWHERE,
            BOUNCES,
            rig.signed(&["From", "Subject", "Date", "Message-ID"], "clinic.example", &no_mime(14)),
            Some(Hold::Part),
        ),
    ] {
        let reply = rig.hand_over(own, from, &mail).await;
        if !reply.starts_with("250") {
            wrong.push(format!("{what}: {}", reply.trim()));
            continue;
        }
        let found = rig.held(&reply).await;
        if found != held {
            wrong.push(format!("{what}: {found:?}, not {held:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows are wrong:\n{}\n{}",
        wrong.len(),
        wrong.join("\n"),
        rig.stage.log_tail()
    );
    let told =
        rig.stage.until("a notice", async || rig.stage.answers("2@clinic.example").into_iter().next()).await;
    let text = told.text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["does not cover Content-Type", "may have been changed on its way", "release job"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// The same mail, changed where its signature does not reach, comes first; the real one is faxed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_mangled_copy_that_comes_first_does_not_stand_in_for_the_mail() {
    let rig = rig().await;
    let real = rig.signed(&GOOGLE, "clinic.example", &letter(1, JANE));
    let mangled = changed(&real, "Content-Type: multipart/mixed", "Content-Type: multipart/x-other");
    let first = rig.hand_over(ANYWHERE, BOUNCES, &mangled).await;
    assert!(first.starts_with("250 2.0.0 accepted as"), "{first}");
    let second = rig.hand_over(OWN, JANE, &real).await;
    assert!(second.starts_with("250 2.0.0 accepted as"), "it is not known by the copy: {second}");
    assert_eq!(rig.held(&second).await, None);
    assert!(rig.held(&first).await.is_some());
    rig.stage.final_receipt("<1@clinic.example>").await;
    // And it is known when it comes again.
    let again = rig.hand_over(OWN, JANE, &real).await;
    assert!(again.starts_with("250 2.0.0 accepted before as"), "{again}");
    assert_eq!(rig.stage.simulator.faxes().len(), 1, "the real one alone");
}
