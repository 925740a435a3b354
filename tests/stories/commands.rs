//! Story: staff answer what the fax bridge mailed them, and something happens; attackers do too, and nothing does.

use crate::support::sink::Letter;
use crate::support::smtp::Refused;
use crate::support::stage::{BASE, MASTER_KEY};
use crate::support::{Stage, documents, smtp};
use faxbridge::config::Config;
use faxbridge::job::SubmissionId;
use faxbridge::replies::Replies;
use faxbridge::spool::Spool;
use faxbridge::store::Verdict;
use faxbridge::vault::MasterKey;
use jiff::{SignedDuration, Timestamp};

const CONFIG: &str = r#"
reply_to = "reply@fax.clinic.example"
refusals_per_hour = 5

[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "claims"
addresses = ["@claims.example"]
networks = ["127.0.0.0/8"]
acceptance = true

[[rule]]
name = "only with a reference"
to = "filed@file.clinic.example"
subject = "File {reference}"
require_sender = ["front desk"]
recipient = "mercy-radiology"

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const JANE: &str = "jane@clinic.example";
const BOB: &str = "bob@claims.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";
const UNVERIFIED: &str = "+12125550177@fax.clinic.example";
/// After its first page the line breaks.
const BREAKS: &str = "breaks@fax.clinic.example";

async fn stage() -> Stage {
    let mut stage = Stage::with(&format!("{BASE}{CONFIG}"), |_| {}).await;
    stage.verified(&[("mercy-radiology", NUMBER), ("breaks", "+12125550116")]).await;
    stage.start().await;
    stage
}

fn fax(from: &str, to: &str, id: &str) -> Vec<u8> {
    documents::mail(from, to, id, "Referral", &[("r.pdf", &documents::pdf("r", 1))])
}

/// An answer, as a mail program writes it: the words above what is answered.
fn answer(from: &str, to: &str, id: &str, words: &str) -> Vec<u8> {
    format!(
        "From: Jane Doe <{from}>\r\nTo: <{to}>\r\nSubject: Re: Fax held\r\nMessage-ID: {id}\r\n\
         Date: Sun, 22 Nov 2026 10:05:00 -0500\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {words}\r\n\r\nJane Doe\r\nFront desk\r\n\r\nOn Sunday Lakeside Family Clinic wrote:\r\n> Held: the fax was not sent.\r\n> cancel\r\n"
    )
    .into_bytes()
}

/// Sends a fax that is held, and waits for the notice; returns it and where it can be answered.
async fn held(stage: &Stage, to: &str, id: &str) -> (Letter, String) {
    smtp::send(stage.smtp(), JANE, &[to], &fax(JANE, to, id)).await.unwrap();
    let notice = stage.notice(id).await;
    assert!(notice.text.contains("Held"), "{}", notice.text);
    let reply_to = notice.reply_to.clone().expect("a notice can be answered");
    assert!(reply_to.starts_with("reply+") && reply_to.ends_with("@fax.clinic.example"), "{reply_to}");
    (notice, reply_to)
}

/// Answers, and waits for what is said to that.
async fn say(stage: &Stage, from: &str, to: &str, id: &str, words: &str) -> Letter {
    smtp::send(stage.smtp(), from, &[to], &answer(from, to, id, words)).await.unwrap();
    stage.until(&format!("an answer to {id}"), async || stage.answers(id).pop()).await
}

/// However it is broken into lines.
fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn states(stage: &Stage) -> Vec<String> {
    stage.jobs().await.iter().map(|job| job.state.as_str().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_fax_is_asked_about_and_cancelled_by_answers() {
    let stage = stage().await;
    let (notice, reply_to) = held(&stage, UNVERIFIED, "<1@clinic.example>").await;
    assert!(in_a_line(&notice.text).contains("answer this mail with: cancel"), "{}", notice.text);
    let status = say(&stage, JANE, &reply_to, "<2@clinic.example>", "Status").await;
    assert!(status.text.starts_with("This is how it stands."), "{}", status.text);
    assert!(status.text.contains("Held: the fax"), "{}", status.text);
    assert_eq!(status.auto_submitted.as_deref(), Some("auto-replied"));
    assert!(status.reply_to.is_some(), "and that can be answered again");
    let unsaid = say(&stage, JANE, &reply_to, "<3@clinic.example>", "Thanks a lot!").await;
    assert!(unsaid.text.contains("was not understood"), "{}", unsaid.text);
    let release = say(&stage, JANE, &reply_to, "<4@clinic.example>", "release").await;
    assert!(release.text.contains("has to be verified first"), "{}", release.text);
    assert_eq!(states(&stage).await, ["held"]);

    let done = say(&stage, JANE, &reply_to, "<5@clinic.example>", "CANCEL.").await;
    assert!(done.text.starts_with("Done: the fax is cancelled"), "{}", done.text);
    assert_eq!(done.in_reply_to.as_deref(), Some("5@clinic.example"));
    assert_eq!(done.subject, "Done: Fax cancelled: number ending in 0177");
    let receipt = stage.final_receipt("<1@clinic.example>").await;
    assert!(receipt.text.starts_with("Cancelled"), "{}", receipt.text);
    assert_eq!(states(&stage).await, ["cancelled"]);

    // The same mail again is the same command: nothing is done or said anew.
    let mail = answer(JANE, &reply_to, "<5@clinic.example>", "CANCEL.");
    let said = smtp::send(stage.smtp(), JANE, &[&reply_to], &mail).await.unwrap();
    assert!(said.contains("before"), "{said}");
    let over = say(&stage, JANE, &reply_to, "<6@clinic.example>", "cancel").await;
    assert!(over.text.contains("it has ended already"), "{}", over.text);
    assert_eq!(stage.answers("<5@clinic.example>").len(), 1);
    assert!(stage.simulator.faxes().is_empty(), "nothing rang");
    let log = stage.log();
    assert!(!log.contains("reply+") && !log.contains(JANE), "no address in the log: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fax_that_broke_off_is_sent_again_on_its_sender_s_word_only() {
    let stage = stage().await;
    let (notice, reply_to) = held(&stage, BREAKS, "<10@clinic.example>").await;
    assert!(in_a_line(&notice.text).contains("release sends it again"), "{}", notice.text);
    assert_eq!(stage.simulator.faxes().len(), 1);
    let done = say(&stage, JANE, &reply_to, "<11@clinic.example>", "release").await;
    assert!(done.text.starts_with("Done: the fax is released"), "{}", done.text);
    stage.until("a second call", async || (stage.simulator.faxes().len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_commands() {
    let stage = stage().await;
    let (_, reply_to) = held(&stage, UNVERIFIED, "<20@clinic.example>").await;
    let send = async |from: &str, to: &[&str], mail: &[u8]| smtp::send(stage.smtp(), from, to, mail).await;
    let mallory = "mallory@elsewhere.example";
    let refused = send(mallory, &[&reply_to], &answer(mallory, &reply_to, "<21@x>", "cancel")).await;
    assert!(matches!(&refused, Err(Refused::Reply(550, text)) if text.contains("5.7.1")), "{refused:?}");
    // A proven sender, with an address that was meant for another.
    let other = say(&stage, BOB, &reply_to, "<22@claims.example>", "cancel").await;
    assert!(other.text.contains("only the sender of a fax"), "{}", other.text);
    assert!(!other.text.contains("0177") && other.reply_to.is_none(), "and learns nothing: {}", other.text);
    // Somebody within the network who writes another's name into From.
    let forged = answer(BOB, &reply_to, "<23@clinic.example>", "cancel");
    send(JANE, &[&reply_to], &forged).await.unwrap();
    let said = stage.until("an answer", async || stage.answers("<23@clinic.example>").pop()).await;
    assert!(said.text.contains("only the sender of a fax"), "{}", said.text);

    let mut other = reply_to.clone().into_bytes();
    other[12] = if other[12] == b'0' { b'1' } else { b'0' };
    let tampered = String::from_utf8(other).unwrap();
    let late = expired(&stage);
    for (to, code) in
        [(&tampered, "5.1.1"), (&late, "5.7.1"), (&"reply@fax.clinic.example".to_owned(), "5.1.1")]
    {
        let refused = send(JANE, &[to], &answer(JANE, to, "<24@clinic.example>", "cancel")).await;
        assert!(
            matches!(&refused, Err(Refused::Reply(550, text)) if text.contains(code)),
            "{to}: {refused:?}"
        );
    }
    // A fax address beside it.
    let both = fax(JANE, RADIOLOGY, "<25@clinic.example>");
    send(JANE, &[RADIOLOGY, &reply_to], &both).await.unwrap();
    let said = stage.until("an answer", async || stage.answers("<25@clinic.example>").pop()).await;
    assert!(said.text.contains("in mails of their own"), "{}", said.text);
    // A document.
    let with = fax(JANE, &reply_to, "<26@clinic.example>");
    send(JANE, &[&reply_to], &with).await.unwrap();
    stage
        .until("it to be looked at", async || {
            (stage.submissions().await.iter().filter(|s| s.verdict == Some(Verdict::Command)).count() == 4)
                .then_some(())
        })
        .await;
    assert_eq!(states(&stage).await, ["held"], "nothing of all that changed anything");
    assert!(stage.simulator.faxes().is_empty(), "or was faxed");
}

/// An address for answers that was good some days ago.
fn expired(stage: &Stage) -> String {
    let text = format!("{BASE}{CONFIG}").replace("DIR", "/x").replace("PROVIDER", "http://127.0.0.1:1");
    let config: Config = toml::from_str(&text.replace("RELAY", "127.0.0.1:1")).unwrap();
    let spool = Spool::open(stage.path("data/spool"), MasterKey::from_bytes(&MASTER_KEY).unwrap()).unwrap();
    let then = faxbridge::clock::Clock::now(&faxbridge::clock::SystemClock)
        .checked_sub(SignedDuration::from_hours(80))
        .unwrap_or(Timestamp::MIN);
    Replies::of(&config, spool.vault()).unwrap().address(SubmissionId::new(then, 1), then)
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_not_answered_and_two_bridges_fall_silent() {
    let stage = stage().await;
    let (notice, reply_to) = held(&stage, UNVERIFIED, "<30@clinic.example>").await;
    let with = |field: &str, id: &str| {
        let mail = String::from_utf8(answer(JANE, &reply_to, id, "I am out of the office. cancel")).unwrap();
        format!("{field}\r\n{mail}").into_bytes()
    };
    let machines = [
        with("Auto-Submitted: auto-replied", "<31@clinic.example>"),
        with("Precedence: bulk", "<32@clinic.example>"),
        // A notice of another bridge that lost its Auto-Submitted on the way.
        with("X-Faxbridge: receipt", "<33@clinic.example>"),
        answer("fax@clinic.example", &reply_to, "<34@clinic.example>", "cancel"),
    ];
    for mail in &machines {
        let from = if mail.starts_with(b"From: Jane Doe <fax@") { "fax@clinic.example" } else { JANE };
        let sent = smtp::send(stage.smtp(), from, &[&reply_to], mail).await;
        // It is told at the door, and by no mail.
        assert!(matches!(sent, Err(Refused::Reply(550, _))), "{sent:?}");
    }
    // What the bridge itself wrote, handed back to it by a mail system that gave it a sender.
    let own = std::fs::read(stage.sink.file(1)).unwrap();
    let cut = own.windows(2).enumerate().filter(|(_, w)| w == b"\r\n").nth(1).unwrap().0 + 2;
    let handed_back = smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &own[cut..]).await;
    assert!(matches!(handed_back, Err(Refused::Reply(550, _))), "{handed_back:?}");
    assert_eq!(stage.submissions().await.len(), 1, "nothing of all that was taken");
    // A bounce has no sender, and is refused before it is a mail.
    let bounce = smtp::send(stage.smtp(), "", &[&reply_to], b"Subject: x\r\n\r\nx\r\n").await;
    assert!(matches!(bounce, Err(Refused::Reply(550, _))), "{bounce:?}");
    assert_eq!(states(&stage).await, ["held"]);
    assert_eq!(stage.sink.letters().len(), 1, "only the notice was mailed, {}", notice.subject);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_to_one_address_are_braked_and_faxes_are_answered_all_the_same() {
    let stage = stage().await;
    let filed = "filed@file.clinic.example";
    let answered = async || stage.sink.letters().len();
    for n in 40..48 {
        let id = format!("<{n}@clinic.example>");
        smtp::send(stage.smtp(), JANE, &[filed], &fax(JANE, filed, &id)).await.unwrap();
    }
    stage
        .until("eight verdicts", async || {
            let mut settled = 0;
            for submission in stage.submissions().await {
                let answers = stage.store.answers(submission.id).await.unwrap();
                settled += usize::from(answers.iter().any(|answer| answer.next_at.is_none()));
            }
            (settled == 8).then_some(())
        })
        .await;
    assert_eq!(answered().await, 5, "refusals_per_hour");
    let mut unsaid = 0;
    for submission in stage.submissions().await {
        assert!(stage.store.receipt(submission.id).await.unwrap().is_some(), "the record is kept");
        let answers = stage.store.answers(submission.id).await.unwrap();
        unsaid += answers.iter().filter(|answer| answer.sent_at.is_none()).count();
    }
    assert_eq!(unsaid, 3);
    assert_eq!(stage.log().matches("two machines may be writing").count(), 1, "told once");
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &fax(JANE, RADIOLOGY, "<50@clinic.example>")).await.unwrap();
    assert!(stage.final_receipt("<50@clinic.example>").await.text.starts_with("Delivered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_it_is_told_at_once_what_was_understood() {
    let stage = stage().await;
    smtp::send(stage.smtp(), BOB, &[RADIOLOGY], &fax(BOB, RADIOLOGY, "<60@claims.example>")).await.unwrap();
    stage.final_receipt("<60@claims.example>").await;
    let answers = stage.until("both answers", async || {
        let answers = stage.answers("<60@claims.example>");
        (answers.len() == 2).then_some(answers)
    });
    let answers = answers.await;
    let accepted = answers.iter().find(|letter| !letter.is_final()).unwrap();
    assert_eq!(accepted.subject, "Fax accepted: number ending in 0199");
    let text = &accepted.text;
    let said = in_a_line(text);
    assert!(
        said.starts_with("Accepted: 2 pages for Office of mercy-radiology at +1 212-555-0199. "),
        "{text}"
    );
    assert!(!text.contains("no delivery was reported"), "{text}");
    assert!(text.contains("It goes out now."), "{text}");
    assert!(accepted.reply_to.is_some());
    // Held, there is only the notice; and who did not ask for it gets none.
    smtp::send(stage.smtp(), BOB, &[UNVERIFIED], &fax(BOB, UNVERIFIED, "<61@claims.example>")).await.unwrap();
    stage.notice("<61@claims.example>").await;
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &fax(JANE, RADIOLOGY, "<62@clinic.example>")).await.unwrap();
    stage.final_receipt("<62@clinic.example>").await;
    assert_eq!(stage.answers("<61@claims.example>").len(), 1);
    assert_eq!(stage.answers("<62@clinic.example>").len(), 1);
}

/// Its relay is the bridge itself, as where a mail system sends all mail of the domain to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_answers_to_itself_falls_silent() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let own = format!("127.0.0.1:{port}");
    let smtp_at = format!("[smtp]\nlisten = [\"{own}\"]");
    let config = format!("{BASE}{CONFIG}").replace("RELAY", &own);
    let config = config.replace("[smtp]\nlisten = [\"127.0.0.1:0\"]", &smtp_at);
    let mut stage = Stage::with(&config, |_| {}).await;
    stage.start().await;
    let filed = "filed@file.clinic.example";
    smtp::send(stage.smtp(), JANE, &[filed], &fax(JANE, filed, "<70@clinic.example>")).await.unwrap();
    let answer = stage
        .until("an answer that is given up", async || {
            let submission = stage.submissions().await.into_iter().next()?;
            let answers = stage.store.answers(submission.id).await.unwrap();
            answers.into_iter().find(|answer| answer.next_at.is_none())
        })
        .await;
    assert_eq!(answer.sent_at, None);
    assert!(answer.last_error.unwrap().contains("for good (550 5.7.1)"), "its sender is nobody");
    assert_eq!(stage.submissions().await.len(), 1, "nothing came of the answer");
}
