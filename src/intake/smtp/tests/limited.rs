//! How much one client gets, and what it may ask to be told.

use super::*;
use crate::sealed::{Dsn, DsnRecipient};

const MAIL: &str = "MAIL FROM:<jane@example.com>\r\nRSET\r\n";

#[tokio::test]
async fn mails_of_an_address_in_a_minute() {
    let mut bench = Bench::new().await;
    bench.set(|settings| settings.mails_per_minute = Some(3));
    let mut first = bench.connect();
    first.send(format!("EHLO x\r\n{MAIL}{MAIL}")).await;
    first.expect(&["220 ", "250-", "250 2.1.0", "250 ", "250 2.1.0", "250 "]).await;
    let mut second = bench.connect();
    second.send(format!("EHLO x\r\n{MAIL}{MAIL}")).await;
    second
        .expect(&["220 ", "250-", "250 2.1.0", "250 ", "450 4.7.0 Your address sends too many", "250 "])
        .await;
}

#[tokio::test]
async fn mails_of_a_sender_in_a_minute() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.send("EHLO x\r\n").await;
    client.expect(&["220 ", "250-"]).await;
    for expected in ["250 2.1.5", "250 2.1.5", "450 4.7.1 This sender has too many"] {
        // Two recipients are one mail.
        client
            .send("MAIL FROM:<slow@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nRCPT TO:<b@fax.example.com>\r\nRSET\r\n")
            .await;
        client.expect(&["250 2.1.0", expected, expected, "250 "]).await;
    }
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\n").await;
    client.expect(&["250 2.1.0", "250 2.1.5"]).await;
}

#[tokio::test]
async fn what_was_asked_to_be_told_is_kept() {
    let bench = Bench::new().await;
    let recipient = |to: &str, original: Option<&str>, [failure, success, never]: [bool; 3]| DsnRecipient {
        to: format!("{to}@fax.example.com"),
        original: original.map(str::to_owned),
        failure,
        success,
        never,
    };
    let cases: Vec<(&str, &str, Option<Dsn>)> = vec![
        ("", "RCPT TO:<a@fax.example.com>\r\n", None),
        (
            " RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<a@fax.example.com>\r\n",
            Some(Dsn { envelope_id: Some("QQ+1".into()), full: false, recipients: vec![] }),
        ),
        (
            " RET=FULL",
            "RCPT TO:<a@fax.example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;A+2Bx@example.com\r\n\
             RCPT TO:<b@fax.example.com> notify=never\r\nRCPT TO:<c@fax.example.com>\r\n",
            Some(Dsn {
                envelope_id: None,
                full: true,
                recipients: vec![
                    recipient("a", Some("rfc822;A+x@example.com"), [true, false, false]),
                    recipient("b", None, [false, false, true]),
                ],
            }),
        ),
        (
            "",
            "RCPT TO:<a@fax.example.com> NOTIFY=SUCCESS\r\nRCPT TO:<b@fax.example.com> NOTIFY=DELAY\r\n",
            Some(Dsn {
                envelope_id: None,
                full: false,
                recipients: vec![
                    recipient("a", None, [false, true, false]),
                    recipient("b", None, [false, false, false]),
                ],
            }),
        ),
    ];
    for (n, (of_mail, rcpts, expected)) in cases.into_iter().enumerate() {
        let mut client = bench.connect();
        client.send(format!("EHLO x\r\nMAIL FROM:<jane@example.com>{of_mail}\r\n{rcpts}DATA\r\n")).await;
        client.expect(&["220 ", "250-", "250 2.1.0"]).await;
        client.expect(&vec!["250 2.1.5"; rcpts.matches("RCPT TO").count()]).await;
        client.expect(&["354 "]).await;
        let reply = client.say(format!("Subject: {n}\r\n\r\nbody\r\n.\r\n")).await;
        assert_eq!(bench.accepted(&reply).await.2.dsn, expected);
    }
}

#[tokio::test]
async fn letters_of_other_languages() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.send("EHLO x\r\nMAIL FROM:<l\u{e4}ngsam@b\u{fc}cher.example>\r\n").await;
    client.expect(&["220 ", "250-", "553 5.6.7"]).await;
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<\u{e4}@fax.example.com>\r\nRSET\r\n").await;
    client.expect(&["250 ", "553 5.6.7", "250 "]).await;
    client
        .send("MAIL FROM:<l\u{e4}ngsam@b\u{fc}cher.example> SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n")
        .await;
    client.expect(&["250 2.1.0", "250 2.1.5", "354 "]).await;
    let reply = client.say("Subject: \u{4e2d}\u{6587}\r\n\r\n\u{e4}\r\n.\r\n").await;
    let (bytes, submission, facts) = bench.accepted(&reply).await;
    assert_eq!(bytes, "Subject: \u{4e2d}\u{6587}\r\n\r\n\u{e4}\r\n".as_bytes());
    assert_eq!(submission.sender, "slow");
    assert_eq!(facts.envelope_from.as_deref(), Some("l\u{e4}ngsam@xn--bcher-kva.example"));
    client.send("MAIL FROM:<jane@example.com> SMTPUTF8\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["250 ", "250 ", "354 "]).await;
    client.send(b"Subject: caf\xe9\r\n\r\nbody\r\n.\r\n").await;
    client.expect(&["550 5.6.0 This mail was announced with SMTPUTF8"]).await;
}

#[tokio::test]
async fn mail_without_tls_is_refused_where_tls_is_required() {
    let mut bench = Bench::new().await;
    bench.set(|settings| {
        settings.require_tls = true;
        settings.without_tls = vec!["192.0.2.96/28".parse().unwrap()];
    });
    let time = Duration::from_secs(60);
    for (peer, expected) in [
        ("192.0.2.7", "530 5.7.0 Mail is only taken over TLS here"),
        ("2001:db8::7", "530 5.7.0"),
        ("192.0.2.97", "250 2.1.0"),
        ("127.0.0.1", "250 2.1.0"),
        ("::1", "250 2.1.0"),
    ] {
        let mut client = bench.connect_from(peer, time, time);
        client.send("EHLO x\r\nMAIL FROM:<jane@example.com>\r\n").await;
        client.expect(&["220 ", "250-", expected]).await;
    }
}
