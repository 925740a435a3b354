//! LMTP: what is different.

use super::*;

async fn bench() -> Bench {
    Bench { protocol: Protocol::Lmtp, ..Bench::new().await }
}

#[tokio::test]
async fn one_answer_for_each_recipient() {
    let bench = bench().await;
    let mut client = bench.connect();
    client.expect(&["220 fax.example.com LMTP faxbridge"]).await;
    client.send("EHLO x\r\nHELO x\r\nMAIL FROM:<jane@example.com>\r\n").await;
    client.expect(&["500 5.5.1 LMTP", "500 5.5.1", "503 5.5.1 LHLO comes first"]).await;
    let offer = client.say("LHLO x\r\n").await;
    for word in
        ["PIPELINING", "CHUNKING", "SMTPUTF8", "DSN", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 1048576"]
    {
        assert!(offer.contains(word), "{offer}");
    }
    let four = "MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nRCPT TO:<x@elsewhere.example>\r\n\
                RCPT TO:<b@fax.example.com>\r\nRCPT TO:<a@fax.example.com>\r\n";
    let taken = ["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "250 2.1.5"];
    client.send(format!("{four}DATA\r\n")).await;
    client.expect(&taken).await;
    client.expect(&["354 "]).await;
    client.send("Subject: x\r\n\r\nbody\r\n.\r\nNOOP\r\n").await;
    let first = client.hear().await;
    assert_eq!(client.hear().await, first);
    assert_eq!(client.hear().await, first);
    client.expect(&["250 2.0.0 Still"]).await;
    let (_, _, facts) = bench.accepted(&first).await;
    assert_eq!(facts.envelope_to, ["a@fax.example.com", "b@fax.example.com"]);

    // Chunks have one answer each, and the last one an answer for each recipient.
    client.send(format!("{four}BDAT 3\r\na\r\nBDAT 3 LAST\r\nb\r\nNOOP\r\n")).await;
    client.expect(&taken).await;
    client
        .expect(&["250 2.0.0 3 bytes", "250 2.0.0 acc", "250 2.0.0 acc", "250 2.0.0 acc", "250 2.0.0 Still"])
        .await;

    // A refusal too.
    client.send(format!("{four}DATA\r\n")).await;
    client.expect(&taken).await;
    client.expect(&["354 "]).await;
    client.send("a\nb\r\n.\r\nNOOP\r\n").await;
    client.expect(&["550 5.6.0", "550 5.6.0", "550 5.6.0", "250 2.0.0 Still"]).await;

    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<x@elsewhere.example>\r\nDATA\r\nNOOP\r\n").await;
    client.expect(&["250 ", "550 5.1.1", "503 5.5.1", "250 2.0.0 Still"]).await;
    assert_eq!(bench.submissions().await.len(), 2);
}

#[tokio::test]
async fn a_stop_lets_a_mail_end() {
    let bench = bench().await;
    let mut waiting = bench.connect();
    waiting.expect(&["220 "]).await;
    let mut sending = bench.connect();
    sending.send("LHLO x\r\nMAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nRCPT TO:<b@fax.example.com>\r\nDATA\r\n").await;
    sending.expect(&["220 ", "250-", "250 ", "250 ", "250 ", "354 "]).await;
    bench.stop.send_replace(true);
    waiting.expect(&["421 4.3.2"]).await;
    waiting.over().await;
    sending.send("Subject: x\r\n\r\n.\r\n").await;
    sending.expect(&["250 2.0.0 accepted as", "250 2.0.0 accepted as", "421 4.3.2"]).await;
    sending.over().await;
}
