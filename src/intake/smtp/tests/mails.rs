//! What becomes of a mail's bytes.

use proptest::prelude::*;

use super::*;
use crate::job::Source;

#[tokio::test]
async fn the_bytes_are_kept_as_they_are() {
    let bench = Bench::new().await;
    let long_line = format!("{}\r\n.\r\n", "x".repeat(300_000));
    let cases: &[(&[u8], &[u8])] = &[
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
        (b"..\r\n...\r\n..a\r\n.\r\n", b".\r\n..\r\n.a\r\n"),
        (b"Subject: \xe4\xff\0\r\n\r\n\x80\r\n.\r\n", b"Subject: \xe4\xff\0\r\n\r\n\x80\r\n"),
        (long_line.as_bytes(), &long_line.as_bytes()[..300_002]),
    ];
    for (sent, kept) in cases {
        let mut client = bench.connect();
        client.up_to_data().await;
        let reply = client.say(sent).await;
        let (bytes, submission, facts) = bench.accepted(&reply).await;
        assert_eq!(bytes, *kept);
        assert_eq!(submission.sender, "desk");
        assert_eq!(submission.source, Source::Smtp);
        assert_eq!(facts.envelope_from.as_deref(), Some("jane@example.com"));
        assert_eq!(facts.envelope_to, ["Dr.Smith@fax.example.com"]);
    }
}

#[tokio::test]
async fn what_smugglers_send_is_refused_at_its_true_end() {
    let bench = Bench::new().await;
    let ends = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\n\n.\r\n", "\r\r\n.\n"];
    for end in ends {
        let mut client = bench.connect();
        client.up_to_data().await;
        let hidden = "MAIL FROM:<jane@example.com>\r\nRCPT TO:<x@fax.example.com>\r\nDATA\r\nhidden\r\n";
        client.send(format!("Subject: x\r\n\r\nbody{end}{hidden}.\r\nNOOP\r\n")).await;
        client.expect(&["550 5.6.0 This mail has a carriage return", "250 2.0.0 Still here"]).await;
        client.send("QUIT\r\n").await;
        client.expect(&["221 "]).await;
        client.over().await;
    }
    assert!(bench.submissions().await.is_empty());
    assert!(bench.spool.list().unwrap().is_empty(), "nothing of them is left");
}

#[tokio::test]
async fn too_much_is_read_to_its_end_and_refused() {
    let bench = Bench::new().await;
    let limit = bench.intake.config().limits.submission.get();
    let mut client = bench.connect();
    client.up_to_data().await;
    client.send("Subject: x\r\n\r\n").await;
    let line = [&[b'x'; 998][..], b"\r\n"].concat();
    for _ in 0..=limit / 1000 {
        client.send(&line).await;
    }
    client.send(".\r\nNOOP\r\n").await;
    client.expect(&["552 5.3.4 ", "250 2.0.0"]).await;

    // A header of 10 MB.
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["250 ", "250 ", "354 "]).await;
    for n in 0..10_000 {
        client.send(format!("X-{n}: {}\r\n", "x".repeat(990))).await;
    }
    client.send("\r\nbody\r\n.\r\nNOOP\r\n").await;
    client.expect(&["552 5.3.4 The header", "250 2.0.0"]).await;

    // Nothing at all.
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["250 ", "250 ", "354 "]).await;
    assert!(client.say(".\r\n").await.starts_with("550 5.6.0"));
    assert!(bench.submissions().await.is_empty());
    assert!(bench.spool.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_goes_leaves_nothing() {
    let bench = Bench::new().await;
    for part in ["", "Subject: x\r\n\r\nbo", "Subject: x\r\n\r\nbody\r\n", "body\r\n.", "body\r\n.\r"] {
        let mut client = bench.connect();
        client.up_to_data().await;
        bench.is_left_alone(client, part).await;
    }
}

#[tokio::test]
async fn a_trickle_is_cut_off() {
    let bench = Bench::new().await;
    let mut client = bench.connect_for(Duration::from_millis(500), Duration::from_secs(3600));
    client.up_to_data().await;
    let (mut ours, mut theirs) = tokio::io::split(client.stream.into_inner());
    // Never silent for as long as is allowed, and yet this ends.
    let trickle = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        while theirs.write_all(b"x\r\n").await.is_ok() {
            pace.tick().await;
        }
    });
    let mut heard = String::new();
    ours.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("421 4.4.2"), "{heard}");
    assert!(bench.spool.list().unwrap().is_empty());
    trickle.abort();
}

#[tokio::test]
async fn the_same_mail_again_is_answered_with_the_first() {
    let bench = Bench::new().await;
    let mail = "Message-ID:\r\n <1@example.com>\r\nSubject: x\r\n\r\nbody\r\n.\r\n";
    let mut first = bench.connect();
    first.up_to_data().await;
    let first = first.say(mail).await;
    let mut second = bench.connect();
    second.up_to_data().await;
    let second = second.say(mail).await;
    let id = first.strip_prefix("250 2.0.0 accepted as ").unwrap();
    assert_eq!(second.strip_prefix("250 2.0.0 accepted before as ").unwrap(), id);
    assert_eq!(bench.submissions().await.len(), 1);
    assert_eq!(bench.accepted(&first).await.2.message_id.as_deref(), Some("<1@example.com>"));
}

#[tokio::test]
async fn a_disk_without_room_is_a_refusal_for_now() {
    let mut bench = Bench::new().await;
    let text = CONFIG.replace("FOLDER", bench.folder.path().to_str().unwrap());
    let mut config: Config = toml::from_str(&text).unwrap();
    config.limits.disk_reserve = crate::config::units::Bytes::mebibytes(1 << 40);
    let rules = Arc::new(Rules::compile(&config.rule).unwrap());
    let (store, spool) = (bench.store.clone(), bench.spool.clone());
    bench.intake =
        Intake::new(Arc::new(config), store, spool, rules, Arc::new(SystemClock), Arc::new(Notify::new()))
            .unwrap();
    let mut client = bench.connect();
    client.send("EHLO x\r\nMAIL FROM:<jane@example.com>\r\nRCPT TO:<a@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["220 ", "250-", "250 ", "250 ", "452 4.3.1 There is no room"]).await;
}

proptest! {
    // Each case commits and syncs: few of them, the scanner alone has its thousands.
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn chunks_make_no_difference_in_the_spool(
        lines in proptest::collection::vec("[ -~]{0,80}|\\.{0,3}|\u{e9}{0,3}", 1..200),
        sizes in proptest::collection::vec(1usize..2000, 1..20),
    ) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let stuffed: String =
            lines.iter().map(|l| format!("{}{l}\r\n", if l.starts_with('.') { "." } else { "" })).collect();
        let wire = format!("{stuffed}.\r\n").into_bytes();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let kept = runtime.block_on(async {
            let bench = Bench::new().await;
            let mut client = bench.connect();
            client.up_to_data().await;
            let mut rest = &wire[..];
            for size in sizes.iter().cycle() {
                let (now, later) = rest.split_at((*size).min(rest.len()));
                client.send(now).await;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let reply = client.hear().await;
            bench.accepted(&reply).await.0
        });
        prop_assert_eq!(String::from_utf8(kept).unwrap(), content);
    }
}
