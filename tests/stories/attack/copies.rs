//! Copies of signed mails, sent by somebody who has one.
//!
//! Whoever gets hold of a signed mail can hand it over himself: as it is, with other words in the session, with what the signature
//! leaves out changed, to somebody else, or later. Nothing of that may be the answer to the mail itself, which comes straight from
//! its own server, nor silence its author, nor be faxed where the author did not send it.

use faxbridge::job::{Hold, JobState};

use super::signatures::{ALL, ANYWHERE, BOUNCES, GOOGLE, JANE, OWN, Rig, TO, changed, letter, rig_with};
use crate::support::smtp::Session;

/// As Microsoft 365 signs: no To.
const MICROSOFT: [&str; 6] = ["From", "Date", "Subject", "Message-ID", "Content-Type", "MIME-Version"];
const NUMBER: &str = "+12125550199";
const HARBOR: &str = "+12125550155";
/// What answers a mail that is new, and one that is not.
const NEW: &str = "250 2.0.0 accepted as";
const KNOWN: &str = "250 2.0.0 accepted before as";

impl Rig {
    fn whole(&self, n: u32) -> Vec<u8> {
        self.signed(&ALL, "clinic.example", &letter(n, JANE))
    }

    async fn copy(&self, mail: &[u8]) -> String {
        self.hand_over(ANYWHERE, BOUNCES, mail).await
    }

    async fn original(&self, mail: &[u8]) -> String {
        self.hand_over(OWN, JANE, mail).await
    }
}

fn begins(reply: &str, with: &str) {
    assert!(reply.starts_with(with), "{reply} does not begin with {with}");
}

/// Our own address as the envelope's or in From: nothing is taken that would be neither faxed nor answered.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_that_nobody_would_hear_of() {
    let rig = rig_with("").await;
    let real = rig.whole(1);
    begins(
        &rig.hand_over(ANYWHERE, "fax@clinic.example", &real).await,
        "550 5.7.1 fax@clinic.example is the address",
    );
    let filled = format!(
        "In-Reply-To: <a@b>\r\n{}Auto-Submitted: auto-replied\r\n",
        format!(" {}\r\n", "x".repeat(900)).repeat(20)
    );
    begins(&rig.copy(&[filled.as_bytes(), &real].concat()).await, "552 5.3.4");
    begins(&rig.original(&real).await, NEW);
    rig.stage.final_receipt("<1@clinic.example>").await;
    let ours = rig.signed(&ALL, "clinic.example", &letter(2, "fax@clinic.example"));
    begins(&rig.hand_over(OWN, JANE, &ours).await, "550 5.7.1 fax@clinic.example is the address");
    assert_eq!(rig.stage.submissions().await.len(), 1);
}

/// What is to be told to whom is not for somebody to say who has a copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_does_not_silence_the_author() {
    let rig = rig_with("").await;
    let real = rig.whole(1);
    let mut session = Session::connect_from(rig.stage.smtp(), ANYWHERE).await.unwrap();
    session.command(&format!("MAIL FROM:<{BOUNCES}> ENVID=x"), 250).await.unwrap();
    session.command(&format!("RCPT TO:<{TO}> NOTIFY=NEVER"), 250).await.unwrap();
    session.command("DATA", 354).await.unwrap();
    session.say(&[&real[..], b".\r\n"].concat()).await.unwrap();
    begins(&session.expect(250).await.unwrap(), NEW);
    begins(&rig.original(&real).await, KNOWN);
    let receipt = rig.stage.final_receipt("<1@clinic.example>").await;
    assert_eq!(receipt.envelope_to, JANE);
    assert_eq!(rig.stage.simulator.faxes().len(), 1);
}

/// A field that a reader follows must be signed, also where it is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_other_fields_for_a_reader_goes_nowhere_and_stands_for_nothing() {
    let rig = rig_with(
        "[[rule]]\nname = \"number\"\nto = \"{number}@fax.bridge.example\"\n\
         [[sender]]\nname = \"program\"\naddresses = [\"@program.example\"]\nproof = [\"dmarc\"]\nreaders = [\"rightfax\", \"hylafax\"]\n",
    )
    .await;
    let (from, gateway) = ("jane@program.example", "fax@fax.bridge.example");
    let to_number = |n| {
        let mail =
            changed(&letter(n, from), &format!("To: <{TO}>"), &format!("To: \"/fax={NUMBER}/\" <{gateway}>"));
        rig.signed(&MICROSOFT, "program.example", &mail)
    };
    let real = to_number(1);
    let first = rig.hand_over_to(ANYWHERE, BOUNCES, gateway, &changed(&real, NUMBER, HARBOR)).await;
    begins(&first, NEW);
    assert_eq!(rig.held(&first).await, Some(Hold::Proof));
    let second = rig.hand_over_to(OWN, from, gateway, &real).await;
    begins(&second, NEW);
    assert_eq!(rig.held(&second).await, None);
    rig.stage.final_receipt("<1@clinic.example>").await;
    let real = rig.signed(&MICROSOFT, "program.example", &letter(2, from));
    let added = [b"X-FAX-To: Mr. Mallory, Room 13\r\n", &real[..]].concat();
    let first = rig.copy(&added).await;
    assert_eq!(rig.held(&first).await, Some(Hold::Proof));
    let second = rig.hand_over(OWN, from, &real).await;
    begins(&second, NEW);
    rig.stage.final_receipt("<2@clinic.example>").await;
    assert_eq!(rig.stage.delivered(NUMBER).len(), 2);
    assert!(rig.stage.delivered(HARBOR).is_empty());
}

/// What proves nothing but the author is held, and is no answer to the mail that comes from its own server.
#[tokio::test(flavor = "multi_thread")]
async fn a_doubtful_copy_does_not_hold_the_mail_itself() {
    let rig = rig_with("").await;
    let real = rig.signed(&GOOGLE, "clinic.example", &letter(1, JANE));
    let copy = rig.copy(&real).await;
    assert_eq!(rig.held(&copy).await, Some(Hold::Proof));
    begins(&rig.copy(&real).await, KNOWN);
    let original = rig.original(&real).await;
    begins(&original, NEW);
    assert_eq!(rig.held(&original).await, None);
    rig.stage.final_receipt("<1@clinic.example>").await;
    begins(&rig.original(&real).await, KNOWN);
    begins(&rig.copy(&real).await, KNOWN);
    assert_eq!(rig.stage.delivered(NUMBER).len(), 1);
}

/// Sent to somebody whom its author did not write to, with other white space, or long after it was signed.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_where_and_when_its_author_sent_it() {
    let rig = rig_with("").await;
    let real = rig.whole(1);
    let elsewhere = rig.hand_over_to(ANYWHERE, BOUNCES, "harbor@fax.bridge.example", &real).await;
    assert_eq!(rig.held(&elsewhere).await, Some(Hold::Proof));
    let told = rig.stage.notice("<1@clinic.example>").await;
    let text = told.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("does not cover a To or Cc with harbor@fax.bridge.example"), "{text}");
    // Its own server may send it to whomever it likes, as blind copies.
    let blind = rig.hand_over_to(OWN, JANE, "harbor@fax.bridge.example", &real).await;
    assert_eq!(rig.held(&blind).await, None);
    begins(&rig.copy(&real).await, NEW);
    let relaxed = [&real[..], b"\r\n \r\n\r\n"].concat();
    begins(&rig.copy(&relaxed).await, KNOWN);
    begins(&rig.copy(&[b"X-Way: 1\r\n", &relaxed[..]].concat()).await, KNOWN);
}

/// A fax that somebody cancelled stays cancelled, whoever sends the same mail once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_fax_stays_cancelled() {
    let rig = rig_with("").await;
    let unknown = "unknown-key@fax.bridge.example";
    let mail = changed(&letter(1, JANE), &format!("To: <{TO}>"), &format!("To: <{unknown}>"));
    let mail = rig.signed(&ALL, "clinic.example", &mail);
    let first = rig.hand_over_to(OWN, JANE, unknown, &mail).await;
    assert!(rig.held(&first).await.is_some());
    let job = rig.stage.jobs().await[0].id.to_string();
    let cancelled = rig.stage.command("job", &["cancel", &job]).await;
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    rig.stage.final_receipt("<1@clinic.example>").await;
    rig.stage
        .until("the answer to be out", async || {
            let open = rig.stage.submissions().await.iter().any(|submission| submission.final_at.is_none());
            (!open).then_some(())
        })
        .await;
    begins(&rig.hand_over_to(ANYWHERE, BOUNCES, unknown, &mail).await, KNOWN);
    begins(&rig.hand_over_to(OWN, JANE, unknown, &mail).await, KNOWN);
    assert!(rig.stage.jobs().await.iter().all(|job| job.state == JobState::Cancelled));
}

/// Copies of what came before do not use up the minute of their author, and doubtful ones have a minute of their own.
#[tokio::test(flavor = "multi_thread")]
async fn copies_do_not_use_up_the_authors_minute() {
    let rig = rig_with(
        "[[sender]]\nname = \"few\"\naddresses = [\"@few.example\"]\nproof = [\"dmarc\"]\nmails_per_minute = 3\n",
    )
    .await;
    let from = "jane@few.example";
    let real = rig.signed(&ALL, "few.example", &letter(1, from));
    begins(&rig.hand_over(OWN, from, &real).await, NEW);
    for _ in 0..5 {
        begins(&rig.copy(&real).await, KNOWN);
    }
    let open = rig.signed(&GOOGLE, "few.example", &letter(2, from));
    for n in 0..5 {
        let mangled = changed(&open, "multipart/mixed", &format!("multipart/x{n}"));
        begins(&rig.copy(&mangled).await, if n < 3 { NEW } else { "450 4.7.1" });
    }
    begins(&rig.hand_over(OWN, from, &open).await, NEW);
    begins(&rig.hand_over(OWN, from, &rig.signed(&ALL, "few.example", &letter(3, from))).await, NEW);
    begins(&rig.hand_over(OWN, from, &rig.signed(&ALL, "few.example", &letter(4, from))).await, "450 4.7.1");
}
