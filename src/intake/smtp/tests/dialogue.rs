//! Commands and their replies.

use super::*;

/// What the client sends, and how the replies begin.
type Turn<'a> = (&'a str, &'a [&'a str]);

const HELLO: Turn = ("EHLO client.example.com\r\n", &["250-fax.example.com"]);
const MAIL: Turn = ("MAIL FROM:<jane@example.com>\r\n", &["250 2.1.0"]);
const RCPT: Turn = ("RCPT TO:<smith@fax.example.com>\r\n", &["250 2.1.5"]);
// Without a Message-ID, by its bytes: the second one of them is known.
const BODY: Turn = ("Subject: x\r\n\r\nbody\r\n.\r\n", &["250 2.0.0 accepted "]);
const QUIT: Turn = ("QUIT\r\n", &["221 2.0.0"]);

#[tokio::test]
async fn dialogues() {
    let long = format!("NOOP {}\r\n", "x".repeat(4089));
    let endless = format!("{}\r\nNOOP\r\n", "x".repeat(100_000));
    let cases: &[(&str, &[Turn])] = &[
        ("a mail", &[HELLO, MAIL, RCPT, ("DATA\r\n", &["354 "]), BODY, QUIT]),
        (
            "two mails in one session",
            &[
                HELLO,
                MAIL,
                RCPT,
                ("DATA\r\n", &["354 "]),
                BODY,
                MAIL,
                RCPT,
                ("DATA\r\n", &["354 "]),
                ("Subject: y\r\n\r\nbody\r\n.\r\n", &["250 2.0.0 accepted as "]),
                MAIL,
                RCPT,
                ("DATA\r\n", &["354 "]),
                // Without a Message-ID, by its bytes.
                ("Subject: x\r\n\r\nbody\r\n.\r\n", &["250 2.0.0 accepted before as "]),
                QUIT,
            ],
        ),
        (
            "commands in any case, with HELO",
            &[
                ("hElO client\r\n", &["250 fax.example.com"]),
                ("mail from:<Jane@Example.com> body=8bitmime size=100\r\n", &["250 2.1.0"]),
                ("rcpt TO:<smith@fax.example.com>\r\n", &["250 2.1.5"]),
                ("quit\r\n", &["221 2.0.0"]),
            ],
        ),
        (
            "a pipelined mail",
            &[
                HELLO,
                (
                    "MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nRCPT TO:<b@fax.example.com>\r\nDATA\r\n",
                    &["250 2.1.0", "250 2.1.5", "250 2.1.5", "354 "],
                ),
                (
                    "body\r\n.\r\nRSET\r\nMAIL FROM:<jane@example.com>\r\nQUIT\r\n",
                    &["250 2.0.0 accepted as", "250 2.0.0", "250 2.1.0", "221 2.0.0"],
                ),
            ],
        ),
        (
            "things out of order",
            &[
                ("MAIL FROM:<jane@example.com>\r\n", &["503 5.5.1"]),
                HELLO,
                ("RCPT TO:<smith@fax.example.com>\r\n", &["503 5.5.1"]),
                ("DATA\r\n", &["503 5.5.1"]),
                MAIL,
                ("MAIL FROM:<jane@example.com>\r\n", &["503 5.5.1"]),
                ("DATA\r\n", &["554 5.5.1"]),
                ("RCPT TO:<smith@fax.example.com>\r\n", &["503 5.5.1"]),
            ],
        ),
        (
            "RSET and EHLO forget the mail",
            &[
                HELLO,
                MAIL,
                RCPT,
                ("RSET\r\n", &["250 2.0.0"]),
                ("DATA\r\n", &["503 5.5.1"]),
                MAIL,
                RCPT,
                HELLO,
                ("DATA\r\n", &["503 5.5.1"]),
                MAIL,
                RCPT,
                ("DATA\r\n", &["354 "]),
                BODY,
            ],
        ),
        (
            "what is no mail",
            &[
                ("NOOP\r\n", &["250 2.0.0"]),
                ("NOOP with words\r\n", &["250 2.0.0"]),
                ("VRFY jane\r\n", &["252 2.1.5"]),
                ("HELP\r\n", &["214 2.0.0"]),
                ("EXPN staff\r\n", &["502 5.5.1"]),
                ("ETRN x\r\n", &["502 5.5.1"]),
                ("HELLO there\r\n", &["500 5.5.1"]),
                ("\r\n", &["500 5.5"]),
                ("EHLO\r\n", &["501 5.5.4"]),
                ("STARTTLS\r\n", &["502 5.5.1"]),
                ("AUTH PLAIN AGJpbGwAYSBwYXNzd29yZA==\r\n", &["502 5.5.1"]),
                QUIT,
            ],
        ),
        (
            "what Postfix' and other servers' clients get away with",
            &[
                ("HELO my computer\r\n", &["250 fax.example.com"]),
                ("EHLO [192.0.2.7]\r\n", &["250-fax.example.com"]),
                ("MAIL FROM: <jane@example.com>  SIZE=100  \r\n", &["250 2.1.0"]),
                ("RCPT TO:  smith@fax.example.com \r\n", &["250 2.1.5"]),
                ("RCPT TO:<\"smith\"@fax.example.com>\r\n", &["250 2.1.5"]),
                ("DATA  \r\n", &["354 "]),
                BODY,
                ("RSET now\r\n", &["501 5.5.4"]),
                ("DATA now\r\n", &["501 5.5.4"]),
                ("LHLO x\r\n", &["500 5.5.1 SMTP is spoken here"]),
            ],
        ),
        (
            "a browser",
            &[("POST / HTTP/1.1\r\nMAIL FROM:<jane@example.com>\r\nQUIT\r\n", &["554 5.5.1 This is"])],
        ),
        (
            "somebody else's address",
            &[("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO x\r\n", &["554 5.7.0 No PROXY"])],
        ),
        (
            "the same in binary",
            &[("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &["500 5.5.1", "500 5.5.1", "554 5.7.0 No PROXY"])],
        ),
        (
            "only CR LF ends a command",
            &[
                ("NOOP\n", &["500 5.5.2"]),
                ("NO\rOP\r\n", &["500 5.5.2"]),
                ("NOOP\r\r\n", &["500 5.5.2"]),
                ("NOOP \0\r\n", &["500 5.5.2"]),
                ("NOOP \u{e9}\r\n", &["500 5.5.2"]),
                ("NOOP\r\n", &["250 2.0.0"]),
            ],
        ),
        (
            "long lines",
            &[(&long, &["250 2.0.0"]), ("NOOP\r\n", &["250 2.0.0"]), (&endless, &["500 5.5.2", "250 2.0.0"])],
        ),
        (
            "parameters and addresses of MAIL",
            &[
                HELLO,
                ("MAIL FROM:<jane@example.com> SIZE=1048577\r\n", &["552 5.3.4"]),
                ("MAIL FROM:<jane@example.com> SIZE=999999999999999999\r\n", &["552 5.3.4"]),
                ("MAIL FROM:<jane@example.com> SIZE=big\r\n", &["501 5.5.4"]),
                ("MAIL FROM:<jane@example.com> BODY=BINARYMIME\r\n", &["555 5.5.4"]),
                ("MAIL FROM:<jane@example.com> RET=ALL\r\n", &["501 5.5.4"]),
                ("MAIL FROM:<jane@example.com> REQUIRETLS\r\n", &["555 5.5.4"]),
                ("MAIL FROM:<postmaster>\r\n", &["553 5.1.7"]),
                ("MAIL FROM:<@relay.example:jane@example.com>\r\n", &["553 5.1.7 A route"]),
                ("MAIL FROM:<jane@example.com> X=Y\r\n", &["555 5.5.4"]),
                ("MAIL FROM:<jane@example.com\r\n", &["501 5.5.4"]),
                ("MAIL FROM:<jane>\r\n", &["553 5.1.7"]),
                ("MAIL FROM:<\"jane@example.com\"@example.org>\r\n", &["553 5.1.7"]),
                ("MAIL TO:<jane@example.com>\r\n", &["501 5.5.4"]),
                ("MAIL FROM:<jane@example.com> SIZE=1048576 BODY=7BIT\r\n", &["250 2.1.0"]),
            ],
        ),
        (
            "recipients",
            &[
                HELLO,
                MAIL,
                (
                    "RCPT TO:<smith@elsewhere.example.com>\r\n",
                    &["550 5.1.1 smith@elsewhere.example.com is not"],
                ),
                ("RCPT TO:<>\r\n", &["553 5.1.3"]),
                ("RCPT TO:<smith>\r\n", &["553 5.1.3"]),
                ("RCPT TO:<smith@fax.example.com> NOTIFY=SOON\r\n", &["501 5.5.4"]),
                ("RCPT TO:<Postmaster>\r\n", &["550 5.1.1 postmaster is not faxed"]),
                ("RCPT TO:<@relay.example:smith@fax.example.com>\r\n", &["553 5.1.3 A route"]),
                ("DATA\r\n", &["554 5.5.1"]),
                MAIL,
                ("RCPT TO:<a@fax.example.com>\r\n", &["250 2.1.5"]),
                ("RCPT TO:<a@fax.example.com>\r\n", &["250 2.1.5"]),
                ("RCPT TO:<b@fax.example.com>\r\n", &["250 2.1.5"]),
                ("RCPT TO:<c@fax.example.com>\r\n", &["250 2.1.5"]),
                ("RCPT TO:<d@fax.example.com>\r\n", &["452 4.5.3"]),
                ("DATA\r\n", &["354 "]),
                BODY,
            ],
        ),
        (
            "recipients without end",
            &[
                HELLO,
                MAIL,
                (
                    "RCPT TO:<a@no>\r\nRCPT TO:<a@no>\r\nRCPT TO:<a@no>\r\nRCPT TO:<a@no>\r\nRCPT TO:<a@no>\r\nRCPT TO:<a@no>\r\n",
                    &["550 5.1.1"; 6],
                ),
                ("RCPT TO:<a@fax.example.com>\r\n", &["452 4.5.3"]),
            ],
        ),
        (
            "an unknown sender hears it for each recipient",
            &[
                HELLO,
                ("MAIL FROM:<mallory@example.com>\r\n", &["250 2.1.0"]),
                ("RCPT TO:<smith@fax.example.com>\r\n", &["550 5.7.1 mallory@example.com is not known here"]),
                ("RCPT TO:<jones@fax.example.com>\r\n", &["550 5.7.1 mallory@example.com is not known here"]),
                ("DATA\r\n", &["554 5.5.1"]),
            ],
        ),
        (
            "a sender with a password needs it",
            &[
                HELLO,
                ("MAIL FROM:<bill@example.com>\r\n", &["250 2.1.0"]),
                ("RCPT TO:<smith@fax.example.com>\r\n", &["550 5.7.1"]),
            ],
        ),
        (
            "notices of machines are never faxed",
            &[
                HELLO,
                ("MAIL FROM:<>\r\n", &["250 2.1.0"]),
                ("RCPT TO:<smith@fax.example.com>\r\n", &["550 5.7.1 Mail without a sender"]),
                ("DATA\r\n", &["554 5.5.1"]),
            ],
        ),
    ];
    let bench = Bench::new().await;
    for (name, turns) in cases {
        let mut client = bench.connect();
        client.expect(&["220 fax.example.com ESMTP faxbridge"]).await;
        for (sent, expected) in *turns {
            client.send(sent).await;
            let begun: String = sent.chars().take(80).collect();
            for beginning in *expected {
                let reply = client.hear().await;
                assert!(
                    reply.starts_with(beginning),
                    "{name}: to {begun:?} expected {beginning:?}, heard {reply:?}"
                );
            }
        }
        if turns.last().is_some_and(|(sent, _)| sent.ends_with("QUIT\r\n") || sent.contains("PROXY")) {
            client.over().await;
        }
    }
}

#[tokio::test]
async fn the_offer() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.expect(&["220 "]).await;
    assert_eq!(
        client.say("EHLO client.example.com\r\n").await,
        "250-fax.example.com\n250-PIPELINING\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250-CHUNKING\n250-SMTPUTF8\n\
         250-DSN\n250 SIZE 1048576"
    );
}

#[tokio::test]
async fn replies_of_one_batch_come_at_once() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.expect(&["220 "]).await;
    client.send("NOOP\r\n".repeat(50)).await;
    // The first bytes that come are all replies: nothing was sent between two commands that were there together.
    let mut first = vec![0; 16 * 1024];
    let n = client.stream.read(&mut first).await.unwrap();
    assert_eq!(n, 50 * "250 2.0.0 Still here.\r\n".len());
}

#[tokio::test]
async fn nonsense_ends_the_session() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.expect(&["220 "]).await;
    client.send("WHAT\r\n".repeat(25)).await;
    client.expect(&["500 5.5.1"; 19]).await;
    client.expect(&["421 4.7.0"]).await;
    client.over().await;
}

#[tokio::test]
async fn silence_and_length_end_the_session() {
    let bench = Bench::new().await;
    let (soon, late) = (Duration::from_millis(100), Duration::from_secs(3600));
    for begun in ["", "EHLO cl"] {
        let mut client = bench.connect_for(soon, late);
        client.expect(&["220 "]).await;
        client.send(begun).await;
        client.expect(&["421 4.4.2 fax.example.com heard too little"]).await;
        client.over().await;
    }
    let mut client = bench.connect_for(late, soon);
    client.expect(&["220 ", "421 4.4.2 fax.example.com closes sessions"]).await;
    client.over().await;
}

#[tokio::test]
async fn a_stop_ends_sessions_between_mails_and_lets_a_mail_end() {
    let bench = Bench::new().await;
    let mut waiting = bench.connect();
    waiting.expect(&["220 "]).await;
    let mut sending = bench.connect();
    sending.up_to_data().await;
    sending.send("Subject: x\r\n\r\nfirst half").await;
    bench.stop.send_replace(true);
    waiting.expect(&["421 4.3.2"]).await;
    waiting.over().await;
    sending.send(" second half\r\n.\r\nNOOP\r\n").await;
    let reply = sending.hear().await;
    let (bytes, ..) = bench.accepted(&reply).await;
    assert_eq!(bytes, b"Subject: x\r\n\r\nfirst half second half\r\n");
    sending.expect(&["421 4.3.2"]).await;
    sending.over().await;
}
