//! Story: the office has a mail server, which hands what is to be faxed on to us: a real Postfix, over SMTP and over LMTP, known
//! by its address or by its certificate, as an Exchange connector would be.
//!
//! Needs root and the packages of `tests/packages.txt`; without them it fails.

mod mta;

use std::process::Stdio;
use std::time::Duration;

use crate::support::sink::Letter;
use crate::support::{Stage, documents, smtp};
use mta::{Postfix, free_address};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const CONFIG: &str = r#"
[smtp]
listen = ["SMTP"]
listen_lmtp = ["LMTP"]
hostname = "fax.clinic.example"
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"
client_authorities = "FIXTURES/tls/partners.pem"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example", "jürgen@clinic.example"]
networks = ["127.0.0.0/8"]
receipts_to = "jane@clinic.example"

[[sender]]
name = "partner"
certificates = ["mail.partner.example"]
addresses = ["@partner.example"]
receipts_to = "partner@clinic.example"

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[[rule]]
name = "named recipient, over LMTP"
to = "{recipient}@lmtp.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

/// Postfix: where what goes.
const ROUTES: &str = "
transport_maps = inline:{ {fax.clinic.example = smtp:[127.0.0.1]:SMTP} {lmtp.clinic.example = lmtp:inet:127.0.0.1:LMTP} \
    {other.clinic.example = smtp:[127.0.0.1]:SMTP} {other-lmtp.clinic.example = lmtp:inet:127.0.0.1:LMTP} \
    {clinic.example = smtp:[127.0.0.1]:SINK} }
";

const JANE: &str = "jane@clinic.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const RADIOLOGY_LMTP: &str = "mercy-radiology@lmtp.clinic.example";
const NUMBER: &str = "+12125550199";
const LABS: &str = "+12125550110";
/// Postfix tries again after a second, and looks once a second; this machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// A stage whose daemon listens at the same addresses after each start, and the Postfix in front of it.
async fn stage(more: &str) -> (Stage, Postfix) {
    let (ours, lmtp) = (free_address(), free_address());
    let config =
        CONFIG.replace("\"SMTP\"", &format!("\"{ours}\"")).replace("\"LMTP\"", &format!("\"{lmtp}\""));
    let mut stage = Stage::new(&config).await;
    stage.verified(&[("mercy-radiology", NUMBER), ("county-labs", LABS)]).await;
    stage.start().await;
    let sink = stage.sink.address();
    let routes = ROUTES
        .replace("SMTP", &ours.port().to_string())
        .replace("LMTP", &lmtp.port().to_string())
        .replace("SINK", sink.rsplit(':').next().unwrap());
    let postfix = Postfix::start(&format!("{routes}{more}")).await;
    (stage, postfix)
}

fn mail(from: &str, to: &str, message_id: &str) -> Vec<u8> {
    documents::mail(from, to, message_id, "Referral", &[("r.pdf", &documents::pdf("referral", 1))])
}

/// Waits until Postfix has nothing left to do.
async fn all_gone(stage: &Stage, postfix: &Postfix) {
    stage
        .until_in(PATIENCE, PAUSE, "an empty queue of Postfix", async || {
            (postfix.waiting().await == 0).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postfix_hands_over_by_smtp_and_by_lmtp_is_faxed() {
    let (stage, postfix) = stage("").await;
    for (to, id) in [(RADIOLOGY, "<1@clinic.example>"), (RADIOLOGY_LMTP, "<2@clinic.example>")] {
        smtp::send(postfix.address, JANE, &[to], &mail(JANE, to, id)).await.unwrap();
        let receipt = stage.final_receipt(id).await;
        assert!(receipt.text.contains("Delivered: all 2 pages"), "{}\n{}", receipt.text, postfix.log());
    }
    assert_eq!(stage.delivered(NUMBER).len(), 2);
    all_gone(&stage, &postfix).await;
    let log = postfix.log();
    assert!(log.contains("postfix/lmtp[") && log.contains("postfix/smtp["), "{log}");
    assert_eq!(log.matches("status=sent (250 2.0.0 accepted as").count(), 2, "{log}");
    postfix.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_letters_and_bytes_and_what_was_asked_to_be_told_pass_postfix() {
    const SCRIPT: &str = r#"
import smtplib, sys
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.ehlo()
    assert s.has_extn("smtputf8") and s.has_extn("8bitmime") and s.has_extn("dsn")
    assert s.sendmail("j\u00fcrgen@clinic.example", [sys.argv[2]], sys.stdin.buffer.read(),
        mail_options=["SMTPUTF8", "BODY=8BITMIME", "RET=HDRS", "ENVID=QQ+2B314"],
        rcpt_options=["NOTIFY=FAILURE", "ORCPT=rfc822;radiology+2Bfax@clinic.example"]) == {}
"#;
    let (stage, postfix) = stage("").await;
    for (to, id) in [(RADIOLOGY, "<1@clinic.example>"), (RADIOLOGY_LMTP, "<2@clinic.example>")] {
        let text = String::from_utf8(mail("jürgen@clinic.example", to, id)).unwrap();
        let text = text
            .replace("Subject: Referral", "Subject: Überweisung")
            .replace("Please see", "Bitte schön, see");
        let mut client = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT, &postfix.address.port().to_string(), to])
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        client.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
        assert!(client.wait().await.unwrap().success(), "{}", postfix.log());
        stage.final_receipt(id).await;
    }
    assert_eq!(stage.delivered(NUMBER).len(), 2, "{}", postfix.log());
    let sent = postfix.log();
    assert_eq!(sent.matches("status=sent (250 2.0.0 accepted as").count(), 2, "{sent}");
    all_gone(&stage, &postfix).await;
    postfix.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_recipients_one_is_refused_and_its_sender_hears_it_from_postfix() {
    let (stage, postfix) = stage("").await;
    for (n, (good, bad)) in
        [(RADIOLOGY, "nobody@other.clinic.example"), (RADIOLOGY_LMTP, "nobody@other-lmtp.clinic.example")]
            .into_iter()
            .enumerate()
    {
        let id = format!("<{n}@clinic.example>");
        smtp::send(postfix.address, JANE, &[good, bad], &mail(JANE, good, &id)).await.unwrap();
        stage.final_receipt(&id).await;
        let sentence = format!("{bad} is not an address that is faxed here");
        stage
            .until_in(PATIENCE, PAUSE, "Postfix' notice", async || {
                let words = |letter: &Letter| letter.text.split_whitespace().collect::<Vec<_>>().join(" ");
                stage.sink.letters().into_iter().find(|letter| words(letter).contains(&sentence))
            })
            .await;
        assert_eq!(stage.delivered(NUMBER).len(), n + 1);
    }
    all_gone(&stage, &postfix).await;
    postfix.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_its_answer_it_gets_the_mail_again_and_faxes_it_once() {
    let (mut stage, postfix) = stage("").await;
    let cases = [
        (RADIOLOGY, "intake.committed"),
        (RADIOLOGY_LMTP, "intake.committed"),
        (RADIOLOGY, "intake.answered"),
        (RADIOLOGY_LMTP, "intake.synced"),
    ];
    for (n, (to, step)) in cases.into_iter().enumerate() {
        assert!(stage.daemon().stop().await.success());
        stage.spawn(&[("FAXBRIDGE_CRASH_AT", step.to_owned())]);
        stage.daemon().listening().await.unwrap();
        let id = format!("<{n}@clinic.example>");
        smtp::send(postfix.address, JANE, &[to], &mail(JANE, to, &id)).await.unwrap();
        let status = stage.daemon().ended().await;
        assert!(!status.success(), "{step}: it was to be killed");
        stage.start().await;
        stage
            .until_in(PATIENCE, PAUSE, "a final receipt", async || {
                stage.answers(&id).into_iter().find(Letter::is_final)
            })
            .await;
        all_gone(&stage, &postfix).await;
        assert_eq!(stage.submissions().await.len(), n + 1, "{step} {to}: one mail, one submission");
        assert_eq!(stage.delivered(NUMBER).len(), n + 1, "{step} {to}: one mail, one fax");
        assert_eq!(stage.answers(&id).len(), 1, "{step} {to}: one answer");
    }
    let log = postfix.log();
    assert!(log.contains("accepted before as"), "{log}");
    postfix.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_server_is_known_by_its_certificate() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls");
    let tls = format!(
        "smtp_tls_security_level = encrypt\nlmtp_tls_security_level = encrypt\n\
         smtp_tls_cert_file = {fixtures}/partner.pem\nsmtp_tls_key_file = {fixtures}/partner.key\n\
         lmtp_tls_cert_file = {fixtures}/partner.pem\nlmtp_tls_key_file = {fixtures}/partner.key\n\
         smtp_tls_loglevel = 1\n"
    );
    let (stage, postfix) = stage(&tls).await;
    let from = "scanner@partner.example";
    for (to, id) in [(RADIOLOGY, "<1@partner.example>"), (RADIOLOGY_LMTP, "<2@partner.example>")] {
        smtp::send(postfix.address, from, &[to], &mail(from, to, id)).await.unwrap();
        stage.final_receipt(id).await;
    }
    assert_eq!(stage.delivered(NUMBER).len(), 2);
    let senders: Vec<String> = stage.submissions().await.into_iter().map(|s| s.sender).collect();
    assert_eq!(senders, ["partner", "partner"]);
    all_gone(&stage, &postfix).await;
    postfix.stop().await;

    // The same without the certificate, from the same address: a stranger.
    let sent =
        smtp::send(stage.smtp(), from, &[RADIOLOGY], &mail(from, RADIOLOGY, "<3@partner.example>")).await;
    assert!(matches!(&sent, Err(smtp::Refused::Reply(550, text)) if text.contains("5.7.1")), "{sent:?}");
}
