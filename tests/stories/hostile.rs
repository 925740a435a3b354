//! Story: mail that is made to hurt. Each is refused or accounted for in bounded time and memory, and a good mail right behind it is
//! faxed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::smtp::{Refused, Session};
use crate::support::stage::BASE;
use crate::support::{Stage, documents, smtp};
use shapes::Shape;
use tokio::sync::Barrier;

mod shapes;

const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

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
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";

/// From the end of a hostile mail to what becomes of it. A healthy machine takes a second or two.
const BOUND: Duration = Duration::from_secs(60);
/// What the daemon may take of memory at its peak, whatever comes; a mail is never whole in it.
const MEMORY_MIB: u64 = 128;
/// Recipients of one mail, where the configuration does not say.
const MOST_RECIPIENTS: usize = 100;

async fn stage(config: &str) -> Stage {
    let mut stage = Stage::with(&format!("{BASE}{WAYS}{config}"), |_| {}).await;
    stage.verified(&[("mercy-radiology", NUMBER)]).await;
    stage.start().await;
    stage
}

fn good_mail(id: &str) -> Vec<u8> {
    documents::mail(JANE, RADIOLOGY, id, "Good", &[("good.pdf", &documents::pdf("good", 1))])
}

/// The daemon is the same process as before, serves, and has not grown beyond its bound.
async fn a_good_mail_goes_through(stage: &mut Stage, behind: &str) {
    let before = stage.delivered(NUMBER).len();
    let id = format!("<good-behind-{behind}@clinic.example>");
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &good_mail(&id)).await.unwrap();
    let receipt = stage.final_receipt(&id).await;
    assert!(receipt.text.contains("Delivered"), "behind {behind}: {}", receipt.text);
    assert_eq!(stage.delivered(NUMBER).len(), before + 1, "behind {behind}");
    assert!(stage.daemon().runs(), "it still runs behind {behind}");
    let peak = peak_mib(stage.daemon().pid());
    assert!(peak <= MEMORY_MIB, "behind {behind} the daemon's peak is {peak} MiB");
}

/// The most memory that a process ever had resident.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux tells the peak");
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// Waits until everything that was accepted has its verdict.
async fn all_decided(stage: &Stage, what: &str) {
    let pause = Duration::from_millis(20);
    stage
        .until_in(BOUND, pause, &format!("a verdict on {what}"), async || {
            stage.submissions().await.iter().all(|submission| submission.verdict.is_some()).then_some(())
        })
        .await;
}

/// No line of the log is anybody's but the program's, and nothing in it is the sender's.
fn the_log_is_its_own(stage: &Stage) {
    let log = stage.log();
    for line in log.lines() {
        assert!(line.starts_with("20"), "a line that does not begin with the program's time: {line:?}");
    }
    for word in ["njected", "mallory", "was-here", "trap", "jane@"] {
        assert!(!log.contains(word), "the log repeats {word:?} of a mail");
    }
}

/// No mail that left has a field that a sender smuggled in.
fn no_receipt_has_more_fields(stage: &Stage) {
    let entries = std::fs::read_dir(stage.path("mails")).unwrap();
    for path in
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "eml"))
    {
        let mail = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let header = mail.split("\r\n\r\n").next().unwrap();
        for line in header.lines() {
            let line = line.to_lowercase();
            assert!(
                !line.starts_with("x-injected") && !line.starts_with("bcc") && !line.starts_with("injected"),
                "{header}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_refused_or_accounted_for_and_a_good_mail_behind_it_is_faxed() {
    let mut stage = stage("").await;
    for shape in shapes::all() {
        let before = stage.simulator.faxes().len();
        let began = Instant::now();
        match smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &shape.mail).await {
            Err(Refused::Reply(code, reply)) => {
                assert_eq!(code / 100, 5, "{}: for good, or it comes again: {reply}", shape.name);
            }
            Err(Refused::Broken(error)) => panic!("{}: it hung up: {error}", shape.name),
            Ok(_) => {
                all_decided(&stage, shape.name).await;
                // Whoever wrote it hears of it.
                stage
                    .until(&format!("an answer to {}", shape.name), async || {
                        (!stage.answers(&shape.id()).is_empty()).then_some(())
                    })
                    .await;
            }
        }
        let took = began.elapsed();
        assert!(took < BOUND, "{} took {} s", shape.name, took.as_secs());
        if !shape.may_be_faxed {
            assert_eq!(stage.simulator.faxes().len(), before, "{}: nothing of it is faxed", shape.name);
        }
        println!("{:>8} ms, peak {} MiB  {}", took.as_millis(), peak_mib(stage.daemon().pid()), shape.name);
        a_good_mail_goes_through(&mut stage, shape.name).await;
    }
    the_log_is_its_own(&stage);
    no_receipt_has_more_fields(&stage);
    assert!(
        !Path::new("/etc/faxbridge-was-here.pdf").exists()
            && !Path::new("/tmp/faxbridge-was-here.pdf").exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn preview_has_a_verdict_on_each_and_accounts_for_its_parts() {
    let stage = stage("").await;
    let shapes = shapes::all();
    let file = |shape: &Shape| stage.path(&format!("{}.eml", shape.name)).display().to_string();
    for shape in &shapes {
        std::fs::write(file(shape), &shape.mail).unwrap();
    }
    let out = stage.path("out").display().to_string();
    let mut arguments: Vec<String> =
        ["--json", "--no-pictures", "--from", JANE, "--to", RADIOLOGY, "--out", &out]
            .map(str::to_owned)
            .to_vec();
    arguments.extend(shapes.iter().map(file));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let began = Instant::now();
    let output =
        tokio::time::timeout(BOUND * 3, stage.command("preview", &arguments)).await.expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{} shapes in {} ms", shapes.len(), began.elapsed().as_millis());
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), shapes.len());
    for (shape, line) in shapes.iter().zip(lines.lines()) {
        let shown: serde_json::Value = serde_json::from_str(line).unwrap();
        let verdict = shown["verdict"].as_str().unwrap();
        assert!(shape.may_be_faxed || verdict != "ready", "{}: {line}", shape.name);
        assert!(verdict == "ready" || shown["reason"].is_string(), "{}: it says why not: {line}", shape.name);
        for part in shown["parts"].as_array().unwrap() {
            assert!(
                part["pages"].is_null() != part["left_out"].is_null(),
                "{}: faxed or left out: {part}",
                shape.name
            );
            let name = part["name"].as_str().unwrap();
            assert!(
                !name.chars().any(char::is_control) && name.chars().count() <= 120,
                "{}: {name:?}",
                shape.name
            );
            assert!(!name.contains(['/', '\\']), "{}: {name:?}", shape.name);
        }
    }
    let made: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let ours = |name: &String| shapes.iter().any(|shape| *name == format!("{}.pdf", shape.name));
    assert!(made.iter().all(ours), "only PDFs that are called as their mails: {made:?}");
}

/// Says a mail of about `bytes` whose one attachment is in base64, a piece at a time, and reads the reply.
async fn say_long_mail(session: &mut Session, bytes: usize) -> Result<String, Refused> {
    session.command(&format!("MAIL FROM:<{JANE}>"), 250).await?;
    session.command(&format!("RCPT TO:<{RADIOLOGY}>"), 250).await?;
    session.command("DATA", 354).await?;
    let head = format!(
        "From: <{JANE}>\r\nTo: <{RADIOLOGY}>\r\nSubject: long\r\nMessage-ID: <long@clinic.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream; name=\"long.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    session.say(head.as_bytes()).await?;
    let piece = format!("{}\r\n", "QUJD".repeat(19)).repeat(1024);
    for _ in 0..bytes.div_ceil(piece.len()) {
        session.say(piece.as_bytes()).await?;
    }
    session.say(b".\r\n").await?;
    session.expect(250).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_beyond_the_limit_is_refused_and_a_large_one_within_it_accounted_for() {
    let mut stage = stage("\n[limits]\nsubmission = \"64 MiB\"\n").await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    match session.command(&format!("MAIL FROM:<{JANE}> SIZE=100000000"), 250).await {
        Err(Refused::Reply(552, reply)) => assert!(reply.contains("5.3.4 A mail has at most"), "{reply}"),
        other => panic!("{other:?}"),
    }
    // Without a word in advance: read to its end, so that the session stays usable, and refused.
    match say_long_mail(&mut session, 100 << 20).await {
        Err(Refused::Reply(552, reply)) => assert!(reply.contains("5.3.4"), "{reply}"),
        other => panic!("{other:?}"),
    }
    assert!(stage.submissions().await.is_empty(), "nothing of it was kept");
    a_good_mail_goes_through(&mut stage, "100-mb").await;

    // In the same session: no document, so it is held, and its sender told.
    say_long_mail(&mut session, 45 << 20).await.unwrap();
    let notice = stage.notice("<long@clinic.example>").await;
    assert!(notice.text.contains("Held") && notice.text.contains("long.bin"), "{}", notice.text);
    a_good_mail_goes_through(&mut stage, "45-mb").await;

    // And one that is a document: a page, and 33 MB that no page shows.
    let mut pdf = lopdf::Document::load_mem(&documents::pdf("large", 1)).unwrap();
    let noise: Vec<u8> =
        (0..33_u32 << 20).map(|n| u8::try_from(n.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    pdf.add_object(lopdf::Stream::new(lopdf::dictionary! {}, noise));
    let mut bytes = Vec::new();
    pdf.save_to(&mut bytes).unwrap();
    let mail = documents::mail(JANE, RADIOLOGY, "<large@clinic.example>", "Large", &[("large.pdf", &bytes)]);
    assert!(mail.len() > 45_000_000);
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    let receipt = stage.final_receipt("<large@clinic.example>").await;
    assert!(receipt.text.contains("Delivered: all 2 pages"), "{}", receipt.text);
    a_good_mail_goes_through(&mut stage, "large").await;
}

/// Recipients `r000` and so on, each with a number of its own. What the simulator does with a number decide its last two digits; from
/// 40 on it behaves.
async fn many_recipients(stage: &Stage, count: usize) -> Vec<(String, String)> {
    let many: Vec<(String, String)> = (0..count)
        .map(|n| (format!("r{n:03}"), format!("+1{}5550{}", 212 + 100 * (n / 50), 140 + n % 50)))
        .collect();
    let borrowed: Vec<(&str, &str)> =
        many.iter().map(|(key, number)| (key.as_str(), number.as_str())).collect();
    stage.verified(&borrowed).await;
    many
}

#[tokio::test(flavor = "multi_thread")]
async fn of_5000_recipients_those_within_the_limit_get_their_fax_and_the_rest_is_refused() {
    let mut stage = Stage::with(&format!("{BASE}{WAYS}"), |_| {}).await;
    let many = many_recipients(&stage, MOST_RECIPIENTS).await;
    stage.start().await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.command(&format!("MAIL FROM:<{JANE}>"), 250).await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    for batch in (0..5000).collect::<Vec<usize>>().chunks(100) {
        // Pipelined (RFC 2920), as mail servers do.
        let lines: String =
            batch.iter().map(|n| format!("RCPT TO:<r{n:03}@fax.clinic.example>\r\n")).collect();
        session.say(lines.as_bytes()).await.unwrap();
        for _ in batch {
            match session.expect(250).await {
                Ok(_) => taken += 1,
                Err(Refused::Reply(452, reply)) => {
                    assert!(reply.contains("4.5.3 A mail has at most 100 recipients"), "{reply}");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((taken, refused), (MOST_RECIPIENTS, 5000 - MOST_RECIPIENTS));
    session.command("DATA", 354).await.unwrap();
    let mail = documents::mail(
        JANE,
        "many@x",
        "<many@clinic.example>",
        "Many",
        &[("m.pdf", &documents::pdf("many", 1))],
    );
    session.say(&mail).await.unwrap();
    session.say(b".\r\n").await.unwrap();
    session.expect(250).await.unwrap();
    let receipt = stage.final_receipt("<many@clinic.example>").await;
    assert!(receipt.text.contains("Delivered"), "{}", receipt.text);
    for (key, number) in &many {
        assert_eq!(stage.delivered(number).len(), 1, "{key}");
    }
    assert_eq!(stage.simulator.faxes().len(), MOST_RECIPIENTS);
    assert!(peak_mib(stage.daemon().pid()) <= MEMORY_MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_drops_in_mid_mail_leaves_nothing() {
    let mut stage = stage("").await;
    let mail = good_mail("<dropped@clinic.example>");
    for n in 0..50 {
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        session.command(&format!("MAIL FROM:<{JANE}>"), 250).await.unwrap();
        session.command(&format!("RCPT TO:<{RADIOLOGY}>"), 250).await.unwrap();
        session.command("DATA", 354).await.unwrap();
        // Everywhere from the first byte to the dot, whose line never ends.
        session.say(&mail[..mail.len() * n / 49]).await.unwrap();
        if n == 49 {
            session.say(b".\r").await.unwrap();
        }
        drop(session);
    }
    assert!(stage.submissions().await.is_empty());
    // The same mail, whole: it was never accepted before.
    let said = smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    assert!(said.contains("accepted as "), "{said}");
    stage.final_receipt("<dropped@clinic.example>").await;
    assert_eq!(stage.submissions().await.len(), 1);
    a_good_mail_goes_through(&mut stage, "dropped").await;
    // Nothing lies in the spool that no submission names.
    let spooled = stage.until("an orderly spool", async || {
        let files = std::fs::read_dir(stage.path("data/spool")).unwrap().count();
        (files <= 8).then_some(files)
    });
    spooled.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_id_three_times_is_one_fax_and_the_same_answer() {
    let stage = stage("").await;
    let mail = good_mail("<three@clinic.example>");
    // As three servers hand it over that do not know of each other, all at once.
    let send = || async { smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap() };
    let said = [send(), send(), send()];
    let said = futures_util::future::join_all(said).await;
    let name = |reply: &String| reply.trim().rsplit(' ').next().unwrap().to_owned();
    let names: Vec<String> = said.iter().map(name).collect();
    assert!(names.iter().all(|one| *one == names[0]), "the same answer: {said:?}");
    assert_eq!(said.iter().filter(|reply| reply.contains("accepted as ")).count(), 1, "{said:?}");
    stage.final_receipt("<three@clinic.example>").await;
    // And once more when all is over, on another way through other servers.
    let mut late = b"Received: from a by b; Mon, 23 Nov 2026 10:00:00 -0500\r\n".to_vec();
    late.extend_from_slice(&mail);
    let reply = smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &late).await.unwrap();
    assert_eq!(name(&reply), names[0], "{reply}");
    assert_eq!(stage.submissions().await.len(), 1);
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    assert_eq!(stage.answers("<three@clinic.example>").len(), 1);
}

/// The text of the page behind the cover of what was faxed.
fn faxed_text(stage: &Stage, id: &str) -> String {
    let printed = lopdf::Document::load(stage.path(&format!("faxed/{id}.pdf"))).unwrap();
    assert_eq!(printed.get_pages().len(), 2, "a cover and a page");
    printed.extract_text(&[2]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_mails_at_the_same_moment_are_two_faxes_and_never_mixed() {
    const PAIRS: usize = 50;
    let mut stage = Stage::with(&format!("{BASE}{WAYS}"), |_| {}).await;
    let many = many_recipients(&stage, 2 * PAIRS).await;
    stage.start().await;
    let moment = Barrier::new(2);
    // All in two sessions, so that both are at the same step of the dialogue.
    let one_side = async |side: usize| {
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        for pair in 0..PAIRS {
            let n = 2 * pair + side;
            let to = format!("{}@fax.clinic.example", many[n].0);
            let page = documents::pdf(&format!("page of {}", many[n].0), 1);
            let id = format!("<pair-{n}@clinic.example>");
            // The same subject, the same file name, the same size: only the page differs, and the name of the mail.
            let mail = documents::mail(JANE, "fax@x", &id, "Same", &[("same.pdf", &page)]);
            moment.wait().await;
            session.send(JANE, &[&to], &mail).await.unwrap();
        }
    };
    tokio::join!(one_side(0), one_side(1));
    for n in 0..2 * PAIRS {
        stage.final_receipt(&format!("<pair-{n}@clinic.example>")).await;
    }
    assert_eq!(stage.submissions().await.len(), 2 * PAIRS);
    let mut texts = BTreeMap::new();
    for (key, number) in &many {
        let faxes = stage.delivered(number);
        assert_eq!(faxes.len(), 1, "{key} got one");
        texts.insert(key.clone(), faxed_text(&stage, &faxes[0].id));
    }
    for (key, text) in &texts {
        assert!(text.contains(&format!("page of {key}")), "{key} got {text:?}");
    }
}
