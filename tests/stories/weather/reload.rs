//! Changed configurations: taken whole or not at all, while everything that is under way lives.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UnixDatagram};
use tokio::time::Instant;

use crate::support::stage::{BASE, MASTER_KEY};
use crate::support::{Stage, clients, documents, smtp};

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "first.clinic.example"

[sftp]
listen = ["127.0.0.1:0"]

[[sender]]
name = "desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[[rule]]
name = "statements"
source = "sftp:billing"
file = "{account}_{number}.pdf"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const NUMBER: &str = "+12125550199";
const TO: &str = "mercy@fax.clinic.example";
const REFUSED: &str = "the new configuration is not taken";
const TAKEN: &str = "the configuration is taken";

async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", NUMBER)]).await;
    stage.start().await;
    stage
}

fn hang_up(stage: &mut Stage) {
    let pid = Pid::from_raw(stage.daemon().pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

fn count(stage: &Stage, sentence: &str) -> usize {
    stage.log().matches(sentence).count()
}

/// Asks for a reload and waits until it was taken or refused, as it should be; what was logged of it.
async fn reload(stage: &mut Stage, what: &str, expected: &str) -> String {
    let before = stage.log().len();
    hang_up(stage);
    let logged = async || {
        let log = stage.log().get(before..).unwrap_or_default().to_owned();
        (log.contains(REFUSED) || log.contains(TAKEN)).then_some(log)
    };
    let log = stage.until(&format!("an answer to the reload: {what}"), logged).await;
    assert!(log.contains(expected), "{what}: {log}");
    log
}

/// The first line that a server says.
async fn greeting(address: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(address).await.ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.ok()?;
    Some(line)
}

async fn serves(stage: &mut Stage, what: &str) {
    assert!(stage.daemon().runs(), "{what}: the daemon has ended:\n{}", stage.log_tail());
    let (mail, files) = (greeting(stage.smtp()).await, greeting(stage.sftp()).await);
    assert!(mail.is_some_and(|line| line.contains("first.clinic.example")), "{what}: no mail is taken");
    assert!(files.is_some_and(|line| line.starts_with("SSH-2.0")), "{what}: no files are taken");
}

/// Changes of the configuration's text that must be refused: what it is, what is replaced by what, and words of the refusal.
fn changes(taken: &str) -> Vec<(&'static str, &'static str, String, &'static str)> {
    let at = |what, from, to: &str, words| (what, from, to.to_owned(), words);
    vec![
        at("no TOML", "[policy]", "[[[bad\n[policy]", "not TOML"),
        at("an unknown key", "hurry =", "hurrry =", "hurrry"),
        at("a mistyped log level", "[policy]", "[telemetry]\nlog = \"inof\"\n[policy]", "telemetry.log"),
        at(
            "a sender's password is missing",
            "name = \"desk\"",
            "name = \"desk\"\nlogin = \"desk\"\npassword = \"file:DIR/none\"",
            "sender[1].password",
        ),
        at(
            "the DKIM key is missing",
            "from = \"fax@clinic.example\"",
            "from = \"fax@clinic.example\"\ndkim_domain = \"clinic.example\"\ndkim_selector = \"fax\"\ndkim_key = \"file:DIR/none\"",
            "receipt.dkim_key",
        ),
        at(
            "the DKIM key is no key",
            "from = \"fax@clinic.example\"",
            "from = \"fax@clinic.example\"\ndkim_domain = \"clinic.example\"\ndkim_selector = \"fax\"\ndkim_key = \"file:DIR/provider.token\"",
            "receipt.dkim_key",
        ),
        at(
            "a port is taken",
            "listen = [\"127.0.0.1:0\"]\nhostname",
            &format!("listen = [\"{taken}\"]\nhostname"),
            "another program listens there",
        ),
        at(
            "an address of another machine",
            "listen = [\"127.0.0.1:0\"]\nhostname",
            "listen = [\"192.0.2.77:2525\"]\nhostname",
            "this machine has no such address",
        ),
        at("a host key that is none", "[sftp]", "[sftp]\nhost_key = \"DIR/garbage\"", "sftp.host_key"),
        at("a font is missing", "[policy]", "[cover]\nfonts = [\"DIR/none.ttf\"]\n[policy]", "cover.fonts"),
        at(
            "client authorities are missing",
            "hostname",
            "client_authorities = \"DIR/none.pem\"\nhostname",
            "smtp.client_authorities",
        ),
        at(
            "the relay's authorities are missing",
            "tls = \"none\"",
            "tls = \"starttls\"\nauthorities = \"DIR/none.pem\"",
            "receipt.authorities",
        ),
        at(
            "a certificate that is none",
            "hostname",
            "tls_certificate = \"DIR/garbage\"\ntls_key = \"DIR/garbage\"\nhostname",
            "smtp.tls_certificate",
        ),
        at(
            "the webhook's certificate is missing",
            "[webhook]",
            "[webhook]\ntls_certificate = \"DIR/none\"\ntls_key = \"DIR/none\"",
            "webhook.tls_certificate",
        ),
        at(
            "the data folder cannot be",
            "data_dir = \"DIR/data\"",
            "data_dir = \"/proc/nowhere\"",
            "store.data_dir",
        ),
        at("another data folder", "data_dir = \"DIR/data\"", "data_dir = \"DIR/data2\"", "store.data_dir"),
        at("another master key", "DIR/master.key", "DIR/other.key", "store.master_key"),
        at(
            "a folder that is not there",
            "[policy]",
            "[folder.scans]\npath = \"DIR/none\"\nsender = \"desk\"\n[policy]",
            "folder.scans.path",
        ),
        at(
            "a mailbox's password is missing",
            "[policy]",
            "[imap.office]\nserver = \"127.0.0.1:1\"\nsender = \"desk\"\nlogin = \"office\"\npassword = \"file:DIR/none\"\n[policy]",
            "imap.office.password",
        ),
        at(
            "a mailbox's authorities are missing",
            "[policy]",
            "[imap.office]\nserver = \"127.0.0.1:1\"\nsender = \"desk\"\nlogin = \"office\"\npassword = \"file:DIR/provider.token\"\nauthorities = \"DIR/none\"\n[policy]",
            "imap.office.authorities",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_faulty_is_refused_with_its_sentence_and_the_old_one_serves_on() {
    let mut stage = stage().await;
    stage.secret("garbage", b"garbage");
    stage.secret("other.key", &[8; 32]);
    std::fs::create_dir(stage.path("data2")).unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let whole = format!("{BASE}{CONFIG}");
    for (what, from, to, words) in changes(&other.local_addr().unwrap().to_string()) {
        assert!(whole.contains(from), "{what}: nothing to replace");
        stage.configure(&whole.replacen(from, &to, 1));
        let log = reload(&mut stage, what, REFUSED).await;
        assert!(log.contains(words), "{what}: the refusal does not say {words:?}: {log}");
        serves(&mut stage, what).await;
    }
    stage.configure(&whole);
    // What lies beside the configuration.
    let file = |name: &str| stage.path(name);
    for (what, path, words) in [
        ("the provider's token is gone", file("provider.token"), "provider.simulator.token"),
        ("the master key is gone", file("master.key"), "store.master_key"),
        ("the configuration is gone", file("faxbridge.toml"), "there is no such file"),
    ] {
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).unwrap();
        let log = reload(&mut stage, what, REFUSED).await;
        assert!(log.contains(words), "{what}: {log}");
        serves(&mut stage, what).await;
        std::fs::rename(&aside, &path).unwrap();
    }
    let key = stage.path("data/ssh_host_ed25519_key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let log = reload(&mut stage, "the host key is open to others", REFUSED).await;
    assert!(log.contains("sftp.host_key") && log.contains("0600"), "{log}");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let config = stage.path("faxbridge.toml");
    std::fs::write(&config, "").unwrap();
    reload(&mut stage, "an empty file", REFUSED).await;
    serves(&mut stage, "an empty file").await;
    // None of that has left anything behind: it still works, and a good one is taken.
    stage.configure(&whole.replacen("hurry = 600", "hurry = 500", 1));
    reload(&mut stage, "a good change", TAKEN).await;
    serves(&mut stage, "a good change").await;
    let log = stage.log();
    assert!(log.contains("alarm reload: ") && log.contains("alarm reload is over"), "{log}");
    let mail = mail("<after@clinic.example>");
    smtp::send(stage.smtp(), "jane@clinic.example", &[TO], &mail).await.unwrap();
    assert!(stage.final_receipt("<after@clinic.example>").await.is_final());
    assert_eq!(MASTER_KEY, [7; 32]);
}

fn mail(id: &str) -> Vec<u8> {
    let pdf = documents::pdf("reload", 1);
    documents::mail("jane@clinic.example", TO, id, "Records", &[("records.pdf", &pdf)])
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_uploads_and_files_that_wait_for_their_name_live_through_a_reload() {
    let mut stage = stage().await;
    let (smtp_at, sftp_at) = (stage.smtp(), stage.sftp());
    // A session in the middle of a mail, and one between two commands.
    let message = mail("<through@clinic.example>");
    let (head, tail) = message.split_at(message.len() / 2);
    let mut session = smtp::Session::connect(smtp_at).await.unwrap();
    session.command("MAIL FROM:<jane@clinic.example>", 250).await.unwrap();
    session.command(&format!("RCPT TO:<{TO}>"), 250).await.unwrap();
    session.command("DATA", 354).await.unwrap();
    session.say(head).await.unwrap();
    let mut quiet = smtp::Session::connect(smtp_at).await.unwrap();
    // A file that waits under a temporary name, and one that is still coming: two seconds at 2,000 Kbit/s.
    std::fs::write(stage.path("kept.pdf"), documents::pdf("kept", 1)).unwrap();
    let put = clients::sftp(&stage, "put kept.pdf in/1_+12125550199.pdf.part\n").await;
    assert!(put.status.success(), "{}", clients::said(&put));
    let mut large = documents::pdf("large", 1);
    large.extend(vec![b'\n'; 500_000]);
    std::fs::write(stage.path("large.pdf"), large).unwrap();
    let before = spooled(&stage.path("data/spool"));
    let upload = clients::slow_sftp(&stage, 2000, "put large.pdf in/2_+12125550199.pdf\n").await;
    let begun = async || (spooled(&stage.path("data/spool")) > before).then_some(());
    stage.until("the upload has begun", begun).await;

    let second = format!("{BASE}{CONFIG}").replacen("first.clinic", "second.clinic", 1);
    stage.configure(&second);
    let asked = Instant::now();
    reload(&mut stage, "another name", TAKEN).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "it waited for somebody: {:?}", asked.elapsed());
    assert!(greeting(smtp_at).await.is_some_and(|line| line.contains("second.clinic.example")));
    // And once more, so that there are two former ones.
    reload(&mut stage, "the same again", TAKEN).await;

    session.say(tail).await.unwrap();
    session.say(b".\r\n").await.unwrap();
    session.expect(250).await.expect("the mail that was under way is taken");
    quiet
        .send("jane@clinic.example", &[TO], &mail("<later@clinic.example>"))
        .await
        .expect("the session goes on");
    let uploaded = upload.wait_with_output().await.unwrap();
    assert!(uploaded.status.success(), "{}", clients::said(&uploaded));
    assert_eq!(stage.sftp(), sftp_at);
    let renamed = clients::sftp(&stage, "rename in/1_+12125550199.pdf.part in/1_+12125550199.pdf\n").await;
    assert!(renamed.status.success(), "{}", clients::said(&renamed));
    stage.until("all four are faxed", async || (stage.delivered(NUMBER).len() == 4).then_some(())).await;
    drop((session, quiet));
    assert!(stage.daemon().stop().await.success());
}

fn spooled(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { spooled(&entry.path()) } else { 1 }).sum()
}

/// When systemd was told that the daemon lives, and how often it was told that a reload is over.
async fn listen(systemd: UnixDatagram, until: Instant) -> (Duration, usize) {
    let (mut buffer, mut last, mut longest, mut ready) = ([0; 4096], Instant::now(), Duration::ZERO, 0);
    while let Ok(read) = tokio::time::timeout_at(until, systemd.recv(&mut buffer)).await {
        let said = String::from_utf8_lossy(&buffer[..read.unwrap()]).into_owned();
        if said.lines().any(|line| line == "WATCHDOG=1") {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        ready += said.lines().filter(|line| *line == "READY=1").count();
    }
    (longest.max(last.elapsed()), ready)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_delays_no_reload_and_the_watchdog_is_fed() {
    // Takes connections and never answers.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!("{BASE}{CONFIG}")
        .replacen("PROVIDER", &format!("http://{}", hole.local_addr().unwrap()), 1)
        .replacen("timeout = \"3 s\"", "timeout = \"60 s\"", 1);
    let mut stage = Stage::with(&config, |_| {}).await;
    stage.verified(&[("mercy", NUMBER)]).await;
    let socket = stage.path("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    let environment =
        [("NOTIFY_SOCKET", socket.to_str().unwrap().to_owned()), ("WATCHDOG_USEC", "1000000".to_owned())];
    stage.start_with(&environment).await;
    smtp::send(stage.smtp(), "jane@clinic.example", &[TO], &mail("<hangs@clinic.example>")).await.unwrap();
    let sending = async || stage.jobs().await.iter().any(|job| job.state.as_str() == "sending").then_some(());
    stage.until("the request is under way", sending).await;
    let heard = tokio::spawn(listen(systemd, Instant::now() + Duration::from_secs(6)));
    for n in 0..3 {
        stage.configure(&config.replacen("hurry = 600", &format!("hurry = {}", 500 + n), 1));
        let asked = Instant::now();
        reload(&mut stage, "beside a request that hangs", TAKEN).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "it waited: {:?}", asked.elapsed());
    }
    let (longest, ready) = heard.await.unwrap();
    assert!(longest < Duration::from_secs(1), "systemd was not told for {longest:?}");
    assert!(ready >= 3, "systemd was told of {ready} reloads");
    // The request is still the only one: nothing is sent again for a reload.
    assert_eq!(stage.store.attempts(stage.jobs().await[0].id).await.unwrap().len(), 1);
    serves(&mut stage, "afterwards").await;
    stage.daemon().kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_hangups_is_harmless_at_any_moment() {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", NUMBER)]).await;
    // From the first moment at which the process is the one that serves.
    stage.spawn(&[]);
    let pid = stage.daemon().pid();
    let environment = format!("/proc/{pid}/environ");
    let itself = || {
        std::fs::read(&environment)
            .is_ok_and(|all| String::from_utf8_lossy(&all).contains("MALLOC_ARENA_MAX"))
    };
    while !itself() {
        assert!(stage.daemon().runs(), "it ended before it began");
        tokio::task::yield_now().await;
    }
    while !stage.path("data/addresses.json").exists() {
        hang_up(&mut stage);
        assert!(stage.daemon().runs(), "a hangup during the start ended it");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stage.daemon().listening().await.unwrap();
    // While it serves: two hundred of them, in four seconds.
    let before = count(&stage, TAKEN);
    for _ in 0..200 {
        hang_up(&mut stage);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.configure(&format!("{BASE}{CONFIG}").replacen("first.clinic", "last.clinic", 1));
    hang_up(&mut stage);
    let address = stage.smtp();
    let last = async || greeting(address).await.filter(|line| line.contains("last.clinic.example"));
    stage.until("the last one counts", last).await;
    assert!(count(&stage, TAKEN) > before);
    smtp::send(address, "jane@clinic.example", &[TO], &mail("<storm@clinic.example>")).await.unwrap();
    stage.final_receipt("<storm@clinic.example>").await;
    // While it stops.
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let storm = tokio::spawn(async move {
        while kill_process(pid, Signal::HUP).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let ended = stage.daemon().ended().await;
    storm.abort();
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_end_pile_up_no_former_configurations() {
    let mut stage = stage().await;
    let address = stage.smtp();
    let mut quiet = Vec::new();
    for n in 0..6 {
        quiet.push(smtp::Session::connect(address).await.unwrap());
        stage.configure(&format!("{BASE}{CONFIG}").replacen("first.clinic", &format!("n{n}.clinic"), 1));
        hang_up(&mut stage);
        let taken = async || greeting(address).await.filter(|line| line.contains(&format!("n{n}.clinic")));
        stage.until("the next one is taken", taken).await;
    }
    // The oldest had to make room, with a word.
    quiet[0].expect(421).await.expect("the first session was ended");
    quiet[5].command("NOOP", 250).await.expect("the last goes on");
}
