//! The adapter against an hfaxd that says what it is told to say. The real one is in `tests/hylafax.rs`; here is what a real
//! one does seldom, or only when it is broken into.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::delivery::testing::{REFERENCE, Slip, adapter, end_word, now, word};
use crate::job::FaxNumber;

const NUMBER: &str = "+12125550199";
/// What a server says that works. A command not in here is answered with 200.
const USUAL: &[(&str, &str)] = &[
    ("", "220 test server (HylaFAX (tm) Version 6.0.7) ready."),
    ("USER", "331 Password required for faxbridge."),
    ("PASS", "230 User faxbridge logged in."),
    ("STOT", "150 FILE: /tmp/doc7.pdf (Opening new data connection)."),
    ("226", "226 Transfer complete (FILE: /tmp/doc7.pdf)."),
    ("JNEW", "200 New job created: jobid: 7 groupid: 7."),
    ("JPARM", "213 set."),
    ("JPARM DOCUMENT", "200 Added document."),
    ("JPARM JOBINFO", "213 0123456789abcdef-1"),
    ("JPARM STATE", "213 ACTIVE"),
    ("JPARM STATUS", "213 "),
    ("JPARM STATUSCODE", "213 000"),
    ("JPARM NPAGES", "213 0"),
    ("JPARM TOTPAGES", "213 3"),
    ("JPARM TOTDIALS", "213 0"),
    ("STAT", "211-test server status:\r\n    Version 6.0.7\r\n211 End of status"),
    ("QUIT", "221 Goodbye."),
];
/// In place of a reply: the connection ends.
const HANGS_UP: &str = "";

/// An hfaxd with its script.
struct Fake {
    port: u16,
    said: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Vec<u8>>>,
}

impl Fake {
    /// Answers as usual, but for these.
    async fn with(unusual: &[(&str, &str)]) -> Fake {
        let control = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let script: Vec<(String, String)> =
            unusual.iter().chain(USUAL).map(|(to, say)| ((*to).to_owned(), (*say).to_owned())).collect();
        let fake =
            Fake { port: control.local_addr().unwrap().port(), said: Arc::default(), stored: Arc::default() };
        let (said, stored) = (Arc::clone(&fake.said), Arc::clone(&fake.stored));
        tokio::spawn(async move {
            while let Ok((stream, _)) = control.accept().await {
                tokio::spawn(serve(stream, script.clone(), Arc::clone(&said), Arc::clone(&stored)));
            }
        });
        fake
    }

    fn adapter(&self) -> Box<dyn Provider> {
        adapter(
            &format!(
                "kind = \"hylafax\"\nurl = \"hylafax://127.0.0.1:{}\"\nlogin = \"faxbridge\"\n\
                 password = \"env:HYLAFAX\"\ntimeout = \"3 s\"",
                self.port
            ),
            "correct horse",
        )
        .unwrap()
    }

    /// Whether it was told a command that begins so.
    fn was_told(&self, command: &str) -> bool {
        self.said.lock().unwrap().iter().any(|line| line.starts_with(command))
    }
}

async fn serve(
    stream: TcpStream,
    script: Vec<(String, String)>,
    said: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Vec<u8>>>,
) -> Option<()> {
    // The longest begin of a command that the script knows, and of those the first.
    let reply = |command: &str| {
        let known = script.iter().filter(|(to, _)| {
            command
                .strip_prefix(to.as_str())
                .is_some_and(|rest| rest.is_empty() || (!to.is_empty() && rest.starts_with(' ')))
        });
        known.rev().max_by_key(|(to, _)| to.len()).map_or("200 Done.".to_owned(), |(_, say)| say.clone())
    };
    let mut control = BufReader::new(stream);
    let mut say = reply("");
    let mut data = TcpListener::bind("127.0.0.1:0").await.ok()?;
    loop {
        if say == HANGS_UP {
            return None;
        }
        control.get_mut().write_all(format!("{say}\r\n").as_bytes()).await.ok()?;
        let mut line = String::new();
        if control.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        said.lock().unwrap().push(line.clone());
        say = reply(&line);
        if line == "EPSV" && say == "200 Done." {
            data = TcpListener::bind("127.0.0.1:0").await.ok()?;
            say = format!("229 Entering Extended Passive Mode (|||{}|)", data.local_addr().ok()?.port());
        }
        if line == "STOT" && say.starts_with("150") {
            control.get_mut().write_all(format!("{say}\r\n").as_bytes()).await.ok()?;
            let mut bytes = Vec::new();
            let _ = data.accept().await.ok()?.0.read_to_end(&mut bytes).await;
            *stored.lock().unwrap() = bytes;
            say = reply("226");
        }
    }
}

fn pieces(document: &[u8]) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let pieces: Vec<_> = document.chunks(7).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

/// Hands over a fax; returns what came of it in a word, and the names that were kept.
async fn submit(fake: &Fake) -> (String, Vec<String>) {
    let document = b"%PDF-1.5 a referral";
    let slip = Slip::new(NUMBER, REFERENCE, document);
    let taken = fake.adapter().submit(slip.order(pieces(document))).await;
    (word(&taken), slip.kept.0.into_inner().unwrap())
}

#[tokio::test]
async fn what_each_reply_makes_of_a_submit() {
    let trouble = "not sent provider_trouble";
    let account = "not sent account_trouble";
    // Reply to, reply, what it comes to, whether JSUBM was written.
    let table: &[(&str, &str, &str, bool)] = &[
        ("", "220 test HylaFAX server shut down; available only for admin use.", trouble, false),
        ("", "421 Too many connections.", trouble, false),
        ("", "554 No SMTP service here", trouble, false),
        ("", "SSH-2.0-OpenSSH_9.2", trouble, false),
        ("", HANGS_UP, trouble, false),
        ("USER", "530 User faxbridge access denied.", account, false),
        ("PASS", "530 Login incorrect.", account, false),
        ("PASS", "421 Timeout.", trouble, false),
        ("PASS", "500 'PASS ': Syntax error.", account, false),
        ("FORM", "504 Format not supported.", "refused unknown", false),
        ("EPSV", "229 Entering Extended Passive Mode (|||0|)", trouble, false),
        ("STOT", "550 Permission denied.", "refused document_refused", false),
        ("STOT", "150 Opening new data connection.", trouble, false),
        ("226", "426 Data connection lost.", trouble, false),
        ("226", "552 No space.", trouble, false),
        ("JNEW", "503 Cannot create a job.", trouble, false),
        ("JNEW", "200 New job created.", trouble, false),
        ("JNEW", HANGS_UP, trouble, false),
        ("JPARM DIALSTRING", "503 Permission denied.", "refused unknown", false),
        ("JPARM DOCUMENT", "550 Document type not recognized.", "refused document_refused", false),
        ("JPARM DOCUMENT", HANGS_UP, trouble, false),
        ("JSUBM", HANGS_UP, "unknown", true),
        ("JSUBM", "421 Server shutting down.", "unknown", true),
        ("JSUBM", "200", "taken", true),
        ("JSUBM", "200-Job 7\r\n200 submitted.", "taken", true),
        ("JSUBM", "2000 Job 7 submitted.", "unknown", true),
        ("JSUBM", "HTTP/1.1 200 OK", "unknown", true),
        ("JSUBM", "150 Wait.", "unknown", true),
        ("JSUBM", "504 Cannot submit job 7; null or missing MODEM parameter.", "refused unknown", true),
        ("JSUBM", "460 Failed to submit job 7: Unable to open scheduler FIFO.", trouble, true),
        ("JSUBM", "450 Job file lock failed.", trouble, true),
    ];
    for (to, say, want, written) in table {
        let fake = Fake::with(&[(to, say)]).await;
        let (came_to, kept) = submit(&fake).await;
        assert_eq!(came_to, *want, "{to}: {say}");
        assert_eq!(fake.was_told("JSUBM"), *written, "{to}: {say}");
        // What may have been submitted can be asked for.
        assert!(!written || kept == ["7/0123456789abcdef-1"], "{to}: {say}: {kept:?}");
    }
}

#[tokio::test]
async fn a_job_that_the_scheduler_did_not_take_and_that_cannot_be_deleted_is_unknown() {
    let failed = ("JSUBM", "460 Failed to submit job 7.");
    for say in ["504 Job 7 not deleted; use JSUSP first.", HANGS_UP] {
        let fake = Fake::with(&[failed, ("JDELE", say)]).await;
        assert_eq!(submit(&fake).await.0, "unknown", "{say}");
    }
}

#[tokio::test]
async fn the_order_is_carried_out_to_the_letter() {
    let fake = Fake::with(&[("", "130 Warning, no name for this address.\r\n220 ready.")]).await;
    assert_eq!(submit(&fake).await, ("taken".to_owned(), vec!["7/0123456789abcdef-1".to_owned()]));
    assert_eq!(fake.stored.lock().unwrap().as_slice(), b"%PDF-1.5 a referral");
    let said = fake.said.lock().unwrap().clone();
    for line in [
        "USER \"faxbridge\"",
        "PASS \"correct horse\"",
        "JPARM DIALSTRING \"+12125550199\"",
        "JPARM EXTERNAL \"+12125550199\"",
        "JPARM JOBINFO \"0123456789abcdef-1\"",
        "JPARM MAXDIALS 1",
        "JPARM MAXTRIES 1",
        "JPARM LASTTIME 000103",
        "JPARM PAGELENGTH 279",
        "JPARM TSI \"+12125550101\"",
        "JPARM TAGLINE \"Lakeside Family Clinic +12125550101|%Y-%m-%d %H:%M %Z|Page %%P of %%T\"",
        "JPARM DOCUMENT /tmp/doc7.pdf",
    ] {
        assert_eq!(said.iter().filter(|said| *said == line).count(), 1, "{line} in {said:#?}");
    }
    let place = |command: &str| said.iter().position(|line| line.starts_with(command)).unwrap();
    assert!(place("JOB DEFAULT") < place("JNEW") && place("JNEW") < place("JPARM"));
    assert_eq!(said.iter().filter(|line| *line == "JSUBM").count(), 1);
}

#[tokio::test]
async fn a_document_that_breaks_off_makes_no_job() {
    let document = b"%PDF-1.5 a referral";
    let short = || pieces(&document[..10]);
    let broken =
        stream::iter([Ok(Bytes::from_static(b"%PDF")), Err(std::io::Error::other("a seal is broken"))]);
    let long = pieces(b"%PDF-1.5 a referral, and more than was announced");
    let slip = Slip::new(NUMBER, REFERENCE, document);
    for order in [slip.order(short()), slip.order(broken), slip.order(long)] {
        let fake = Fake::with(&[]).await;
        let taken = fake.adapter().submit(order).await;
        assert_eq!(word(&taken), "not sent provider_trouble");
        assert!(!fake.was_told("JNEW"));
    }
}

#[tokio::test]
async fn a_number_that_cannot_be_kept_is_not_submitted() {
    struct Full;
    impl crate::delivery::Keep for Full {
        fn keep<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
            Box::pin(std::future::ready(Err("the disk is full".into())))
        }
    }
    let fake = Fake::with(&[]).await;
    let slip = Slip::new(NUMBER, REFERENCE, b"%PDF");
    let order = Order { keep: &Full, ..slip.order(pieces(b"%PDF")) };
    assert_eq!(word(&fake.adapter().submit(order).await), "not sent provider_trouble");
    assert!(fake.was_told("JNEW") && !fake.was_told("JSUBM") && !fake.was_told("JPARM"));
}

#[tokio::test]
async fn what_is_found_by_a_kept_number() {
    let kept = format!("7/{REFERENCE}");
    let rests: &[(&str, &str)] = &[("JPARM STATE", "213 SUSPENDED")];
    let dialled: &[(&str, &str)] = &[("JPARM STATE", "213 SUSPENDED"), ("JPARM TOTDIALS", "213 1")];
    let no_job = "500 Cannot set job 7; job does not exist (No such file or directory).";
    let blank = "500 Cannot set job 7; invalid or corrupted job description file.";
    let many = "213 Document preparation failed: line 1\r\nSTATE 200 DONE";
    // Script, minutes since the attempt, answer, whether anything was deleted.
    type Row<'a> = (&'a [(&'a str, &'a str)], i64, &'a str, bool);
    let table: &[Row<'_>] = &[
        (&[], 0, "found working", false),
        (&[("JPARM STATE", "213 DONE"), ("JPARM NPAGES", "213 3")], 600, "found delivered 3", false),
        (
            &[("JPARM STATE", "213 FAILED"), ("JPARM STATUS", many)],
            0,
            "found refused document_refused 0",
            false,
        ),
        (rests, 600, "never sent", true),
        (dialled, 0, "found working", false),
        (&[("JOB 7", no_job)], 14, "not listed", false),
        (&[("JOB 7", no_job)], 16, "no answer", false),
        (&[("JOB 7", blank)], 600, "not listed", false),
        (&[("JPARM JOBINFO", "213 another")], 1, "not listed", false),
        (&[("JPARM JOBINFO", "213 another"), ("JPARM STATE", "213 SUSPENDED")], 16, "no answer", false),
        (&[("JOB 7", "500 Cannot set job 7; Permission denied.")], 0, "nonsense", false),
        (&[("JPARM STATE", "213 UNDEFINED")], 0, "no answer", false),
        (
            &[("JPARM STATE", "500 Cannot access job state; job deleted by another party.")],
            0,
            "no answer",
            false,
        ),
        (&[("JPARM NPAGES", "213 -1")], 0, "nonsense", false),
        (&[("JPARM STATE", HANGS_UP)], 0, "no answer", false),
        (&[("PASS", "530 Login incorrect.")], 0, "account", false),
    ];
    let number = FaxNumber::from_e164(NUMBER).unwrap();
    for (script, minutes, want, deleted) in table {
        let fake = Fake::with(script).await;
        let since = now() - SignedDuration::from_mins(*minutes);
        let sought =
            Sought { reference: REFERENCE, kept: Some(&kept), number: &number, since, forgotten: false };
        let found = match fake.adapter().find(sought).await {
            Ok(Search::Found(found)) => {
                assert_eq!(found.provider_ref, kept);
                format!("found {}", end_word(&found.status))
            }
            Ok(Search::NotListed | Search::Undecided(_)) => "not listed".into(),
            Ok(Search::NeverSent) => "never sent".into(),
            Err(AskError::NoAnswer { .. }) => "no answer".into(),
            Err(AskError::Nonsense { .. }) => "nonsense".into(),
            Err(AskError::Account { .. }) => "account".into(),
            Err(AskError::Unsupported) => "unsupported".into(),
        };
        assert_eq!(found, *want, "{script:?} after {minutes} min");
        assert_eq!(fake.was_told("JDELE"), *deleted, "{script:?}");
        assert!(!fake.was_told("JKILL") && !fake.was_told("JSUBM"), "{script:?}");
    }
}

#[tokio::test]
async fn without_a_kept_number_nothing_was_submitted_and_nobody_is_asked() {
    let fake = Fake::with(&[]).await;
    let number = FaxNumber::from_e164(NUMBER).unwrap();
    let sought = Sought { reference: REFERENCE, kept: None, number: &number, since: now(), forgotten: false };
    assert_eq!(fake.adapter().find(sought).await, Ok(Search::NeverSent));
    assert!(fake.said.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_check_names_the_key_to_mend() {
    let table: &[(&str, &str, Option<&str>)] = &[
        ("STAT", "211 End of status", None),
        ("USER", "530 User faxbridge access denied.", Some("login")),
        ("PASS", "530 Login incorrect.", Some("password")),
        ("", "220 test HylaFAX server shut down; available only for admin use.", Some("url")),
        ("", "SSH-2.0-OpenSSH_9.2", Some("url")),
    ];
    for (to, say, want) in table {
        let fake = Fake::with(&[(to, say)]).await;
        let fault = fake.adapter().check().await.err();
        assert_eq!(fault.as_ref().map(|fault| fault.key), *want, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_and_one_that_never_stops() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = |port: u16| {
        format!(
            "kind = \"hylafax\"\nurl = \"hylafax://127.0.0.1:{port}\"\nlogin = \"f\"\ntimeout = \"200 ms\""
        )
    };
    let quiet = adapter(&keys(silent.local_addr().unwrap().port()), "").unwrap();
    assert!(matches!(quiet.status("7/x").await, Err(AskError::NoAnswer { .. })));
    for say in ["x".repeat(100_000), "220-more\r\n".repeat(10_000)] {
        let fake = Fake::with(&[("", &say)]).await;
        assert!(matches!(fake.adapter().status("7/x").await, Err(AskError::Nonsense { .. })));
    }
}

#[test]
fn only_a_hylafax_url_is_an_address() {
    let ok = |host: &str, port| Ok((host.to_owned(), port));
    assert_eq!(address("hylafax://fax.clinic.example:4560"), ok("fax.clinic.example", 4560));
    assert_eq!(address("hylafax://127.0.0.1/"), ok("127.0.0.1", 4559));
    assert_eq!(address("hylafax://[::1]:4559"), ok("::1", 4559));
    for url in [
        "",
        "http://x",
        "hylafax:",
        "hylafax://",
        "hylafax://a:b@x",
        "hylafax://x/y",
        "hylafax://x?y",
        "hylafax://x:0x",
    ] {
        assert!(address(url).unwrap_err().starts_with("url: "), "{url}");
    }
}
