//! BDAT.

use super::*;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// From the greeting to the recipient.
    async fn up_to_bdat(&mut self) {
        self.send(
            "EHLO client.example.com\r\nMAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\n",
        )
        .await;
        self.expect(&["220 ", "250-fax.example.com", "250 2.1.0", "250 2.1.5"]).await;
    }
}

/// What the client sends, and how the replies to it begin.
type Turn<'a> = (&'a [u8], &'a [&'a str]);

#[tokio::test]
async fn chunks() {
    const NOOP: Turn = (b"NOOP\r\n", &["250 2.0.0 Still"]);
    let cases: &[(&str, &[Turn])] = &[
        ("one", &[(b"BDAT 17 LAST\r\nSubject: x\r\n\r\nb\r\n", &["250 2.0.0 accepted as"]), NOOP]),
        (
            "three, and all at once, with commands behind them",
            &[(
                b"BDAT 11\r\nSubject: x\rBDAT 3\r\n\n\r\nBDAT 0\r\nbdat 0 last\r\nRSET\r\n",
                &[
                    "250 2.0.0 11 bytes",
                    "250 2.0.0 3 bytes",
                    "250 2.0.0 0 bytes",
                    "250 2.0.0 accepted as",
                    "250 2.0.0 F",
                ],
            )],
        ),
        (
            "what looks like an end or a command is none",
            &[
                (
                    b"BDAT 20\r\na\r\n.\r\nQUIT\r\nDATA\r\n\r\nBDAT 0 LAST\r\n",
                    &["250 2.0.0 20", "250 2.0.0 accepted"],
                ),
                NOOP,
            ],
        ),
        ("nothing", &[(b"BDAT 0 LAST\r\n", &["550 5.6.0 The file is empty"]), NOOP]),
        (
            "a bare line feed, then what was under way",
            &[
                (
                    b"BDAT 5\r\na\nb\r\nBDAT 3\r\nc\r\nBDAT 3 LAST\r\nd\r\n",
                    &["550 5.6.0 This mail has", "550 5.6.0 This mail has", "550 5.6.0 This mail has"],
                ),
                NOOP,
                (b"BDAT 1 LAST\r\n.", &["503 5.5.1 MAIL and RCPT"]),
                NOOP,
            ],
        ),
        (
            "a bare CR over two chunks",
            &[(b"BDAT 2\r\na\rBDAT 1 LAST\r\nb", &["250 2.0.0 2", "550 5.6.0"]), NOOP],
        ),
        ("a bare CR at the end", &[(b"BDAT 2 LAST\r\na\r", &["550 5.6.0"]), NOOP]),
        (
            "after a refused chunk a new mail may begin",
            &[
                (b"BDAT 2\r\n\n\n", &["550 5.6.0"]),
                (b"RCPT TO:<b@fax.example.com>\r\nDATA\r\n", &["503 5.5.1", "503 5.5.1"]),
                (b"MAIL FROM:<jane@example.com>\r\n", &["250 2.1.0"]),
            ],
        ),
        (
            "never both",
            &[
                (b"BDAT 3\r\na\r\nDATA\r\n", &["250 2.0.0 3 bytes", "503 5.5.1 This mail came by BDAT"]),
                (b"RCPT TO:<b@fax.example.com>\r\n", &["503 5.5.1 RCPT comes before BDAT"]),
                (b"MAIL FROM:<jane@example.com>\r\n", &["503 5.5.1 One mail"]),
                (b"RSET\r\nBDAT 3 LAST\r\na\r\n", &["250 2.0.0", "503 5.5.1"]),
            ],
        ),
        (
            "a size that is none",
            &[(b"BDAT many LAST\r\nMAIL FROM:<x@y>\r\n", &["501 5.5.4 It is written: BDAT"])],
        ),
        ("a size beyond all", &[(b"BDAT 99999999999999999999 LAST\r\n", &["501 5.5.4"])]),
    ];
    let bench = Bench::new().await;
    for (name, turns) in cases {
        let mut client = bench.connect();
        client.up_to_bdat().await;
        for (sent, expected) in *turns {
            client.send(sent).await;
            for beginning in *expected {
                let reply = client.hear().await;
                assert!(reply.starts_with(beginning), "{name}: expected {beginning:?}, heard {reply:?}");
            }
        }
    }
}

#[tokio::test]
async fn chunks_without_recipients_are_read_and_refused() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.send("EHLO x\r\nBDAT 7\r\nQUIT\r\n.BDAT 3 LAST\r\na\r\n").await;
    client.expect(&["220 ", "250-", "503 5.5.1", "503 5.5.1"]).await;
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@elsewhere.example>\r\nBDAT 6\r\nQUIT\r\nBDAT 2 LAST\r\nxx").await;
    client.expect(&["250 ", "550 5.1.1", "554 5.5.1", "554 5.5.1"]).await;
    client.send("MAIL FROM:<mallory@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await;
    client.expect(&["250 ", "550 5.7.1", "554 5.5.1", "250 2.0.0 Still"]).await;
    assert!(bench.submissions().await.is_empty());
}

#[tokio::test]
async fn the_same_mail_by_bdat_and_by_data_is_the_same() {
    let bench = Bench::new().await;
    let body = "Message-ID: <1@example.com>\r\n\r\n.a dot\r\nno end";
    let mut client = bench.connect();
    client.up_to_bdat().await;
    let first = client.say(format!("BDAT {} LAST\r\n{body}", body.len())).await;
    assert_eq!(bench.accepted(&first).await.0, format!("{body}\r\n").as_bytes());
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["250 ", "250 ", "354 "]).await;
    let second = client.say("Message-ID: <1@example.com>\r\n\r\n..a dot\r\nno end\r\n.\r\n").await;
    assert!(second.starts_with("250 2.0.0 accepted before as "), "{second}");
}

#[tokio::test]
async fn too_many_chunks_are_read_to_their_end_and_refused() {
    let bench = Bench::new().await;
    let limit = bench.intake.config().limits.submission.get();
    let mut client = bench.connect();
    client.up_to_bdat().await;
    let chunk = [&b"BDAT 1000000\r\n"[..], &b"012345\r\n\r\n".repeat(100_000)].concat();
    for n in 0..=limit / 1_000_000 + 2 {
        let reply = client.say(&chunk).await;
        let expected = if (n + 1) * 1_000_000 <= limit { "250 2.0.0 1000000" } else { "552 5.3.4" };
        assert!(reply.starts_with(expected), "chunk {n}: {reply}");
    }
    assert!(bench.spool.list().unwrap().is_empty(), "nothing of it is left");
    client.send("BDAT 0 LAST\r\nNOOP\r\n").await;
    client.expect(&["552 5.3.4", "250 2.0.0 Still"]).await;
}

#[tokio::test]
async fn a_client_that_goes_between_chunks_leaves_nothing() {
    let bench = Bench::new().await;
    for part in ["BDAT 5\r\na\r\nb\r", "BDAT 3\r\na\r\n", "BDAT 3\r\na\r\nBDAT 1 L", "BDAT 10 LAST\r\na\r\n"]
    {
        let mut client = bench.connect();
        client.up_to_bdat().await;
        bench.is_left_alone(client, part).await;
    }
}

#[tokio::test]
async fn a_trickle_of_chunks_is_cut_off() {
    let bench = Bench::new().await;
    let mut client = bench.connect_for(Duration::from_millis(500), Duration::from_secs(3600));
    client.up_to_bdat().await;
    // Never silent for as long as is allowed, and yet this ends.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let last = loop {
        pace.tick().await;
        let reply = client.say("BDAT 1\r\nx").await;
        if !reply.starts_with("250 ") {
            break reply;
        }
    };
    assert!(last.starts_with("421 4.4.2"), "{last}");
    assert!(bench.spool.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_stop_waits_for_the_last_chunk() {
    let bench = Bench::new().await;
    let mut client = bench.connect();
    client.up_to_bdat().await;
    client.send("BDAT 3\r\na\r\n").await;
    client.expect(&["250 2.0.0 3 bytes"]).await;
    bench.stop.send_replace(true);
    client.send("BDAT 3\r\nb\r\n").await;
    client.expect(&["250 2.0.0 3 bytes"]).await;
    let reply = client.say("BDAT 3 LAST\r\nc\r\n").await;
    assert_eq!(bench.accepted(&reply).await.0, b"a\r\nb\r\nc\r\n");
    client.expect(&["421 4.3.2"]).await;
    client.over().await;
}
