//! Story: providers call from the Internet, to report on a fax and to fetch its document. curl plays the provider.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use aws_lc_rs::digest;
use faxbridge::clock::{Clock, SystemClock};
use faxbridge::delivery::media::Media;
use faxbridge::delivery::simulator::signature;
use faxbridge::delivery::simulator::wire::{CallResult, FaxView, Report, Standing};
use faxbridge::delivery::webhook::Hooks;
use faxbridge::job::{self, JobState};
use faxbridge::store::Job;
use jiff::SignedDuration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::stage::WEBHOOK_KEY;
use crate::support::{Clinic, Stage, certificate, clients, documents};
use faxbridge::text::hex;
use faxbridge::vault::{Marker, MasterKey, Purpose};

/// Nothing is found out by asking: the first question comes too late for every story.
const CONFIG: &str = r#"
[[sender]]
name = "desk"

[policy]
ask_first = "1 h"
ask_at_most = "1 h"

[webhook]
public_url = "https://fax.example.com/hook"
tls_certificate = "DIR/certificate.pem"
tls_key = "DIR/certificate.key"

[media]
listen = "127.0.0.1:0"
public_url = "https://fax.example.com/documents"
tls_certificate = "DIR/certificate.pem"
tls_key = "DIR/certificate.key"
"#;
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls/authority.pem");

/// A stage whose calls last for ever, as far as the story goes, with a fax in the provider's hands.
async fn stage() -> (Stage, Job) {
    let change = |options: &mut faxbridge::simulator::server::Options| {
        options.call_time = Duration::from_secs(3600);
    };
    let mut stage = Stage::with(&Clinic::new().with(CONFIG).by_name().radiology(), change).await;
    for (from, to) in [("fax.example.com.pem", "certificate.pem"), ("fax.example.com.key", "certificate.key")]
    {
        stage.secret(to, &documents::fixture(&format!("tls/{from}")));
    }
    stage.start().await;
    std::fs::write(stage.path("paper.pdf"), documents::pdf("A report", 2)).unwrap();
    let paper = stage.path("paper.pdf");
    let arguments = ["--to", "mercy-radiology", "--from", "desk", "--no-wait", paper.to_str().unwrap()];
    let sent = stage.command("send", &arguments).await;
    assert!(sent.status.success(), "{}", clients::said(&sent));
    let job = stage
        .until("the provider has the fax", async || {
            stage.jobs().await.pop().filter(|job| matches!(job.state, JobState::InTransit { .. }))
        })
        .await;
    (stage, job)
}

fn marker(purpose: Purpose) -> Marker {
    MasterKey::from_bytes(&[7; 32]).unwrap().marker(purpose).unwrap()
}

/// The URL that the provider would have been given for the document of `job`, at `address`.
fn document_at(address: SocketAddr, job: &Job, valid_for: SignedDuration) -> String {
    let media = Media::new(&format!("https://{address}"), marker(Purpose::Media), valid_for);
    media.url_for(&job::reference(job.id, 1), SystemClock.now())
}

/// curl, believing in `authority` only; prints the status behind what it got.
async fn curl(authority: &Path, arguments: &[&str]) -> Output {
    Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "60",
            "--write-out",
            "%{http_code}",
        ])
        .arg("--cacert")
        .arg(authority)
        .args(arguments)
        .output()
        .await
        .expect("curl is installed")
}

async fn status(arguments: &[&str]) -> String {
    clients::said(&curl(Path::new(AUTHORITY), arguments).await)
}

/// A report that the fax of `job` was delivered, as a file for curl, and its signature.
fn report(stage: &Stage, job: &Job) -> (String, String) {
    let JobState::InTransit { provider_ref, .. } = &job.state else { panic!("{:?}", job.state) };
    let fax = FaxView {
        id: provider_ref.clone(),
        reference: job::reference(job.id, 1),
        status: Standing::Delivered,
        result: Some(CallResult {
            code: "ok".into(),
            text: "sent".into(),
            pages_sent: 3,
            seconds: 60,
            remote_id: None,
        }),
    };
    let body = serde_json::to_vec(&Report { event: "fax.ended".into(), fax }).unwrap();
    std::fs::write(stage.path("report.json"), &body).unwrap();
    let signed = signature::sign(WEBHOOK_KEY, SystemClock.now(), &body);
    (format!("@{}", stage.path("report.json").display()), format!("{}: {signed}", signature::HEADER))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_reports_over_tls_to_the_url_that_check_shows() {
    let (mut stage, job) = stage().await;
    let address = stage.addresses().webhook.unwrap();
    let checked = clients::said(&stage.command("check", &[]).await);
    let bare =
        Hooks::new("https://fax.example.com/hook", marker(Purpose::Webhook)).url_for("simulator", None);
    assert!(!checked.contains(&bare), "no token unless it is asked for: {checked}");
    assert!(checked.contains("report to https://fax.example.com/hook/hooks/simulator/TOKEN ("), "{checked}");
    let checked = clients::said(&stage.command("check", &["--show-tokens"]).await);
    let shown =
        checked.lines().find_map(|line| line.split_once("is told with each fax to report to ")).unwrap().1;
    assert_eq!(
        shown,
        Hooks::new("https://fax.example.com/hook", marker(Purpose::Webhook)).url_for("simulator", None)
    );
    assert!(checked.contains("the TLS certificate of [webhook] and its key fit each other"), "{checked}");
    let path = shown.strip_prefix("https://fax.example.com/hook").unwrap();
    let url = format!("https://{address}{path}?ref={}", job::reference(job.id, 1));
    let (body, signed) = report(&stage, &job);
    let post = ["--data-binary", &body, "-H", &signed];

    let wrong = url.replacen(path, "/hooks/simulator/0000", 1);
    assert_eq!(status(&[&post[..], &[&wrong]].concat()).await, "404");
    assert_eq!(status(&["--data-binary", &body, &url]).await, "403", "without a signature");
    let large = stage.path("large");
    std::fs::write(&large, vec![b'x'; 17 << 20]).unwrap();
    assert_eq!(status(&["--data-binary", &format!("@{}", large.display()), &url]).await, "413");
    assert_eq!(stage.jobs().await.pop().unwrap().version, job.version, "nothing of that was news");
    for _ in 0..2 {
        assert_eq!(status(&[&post[..], &[&url]].concat()).await, "204");
    }
    // Under its signature the provider's word is proof, though its own list still shows the call going on.
    let delivered = async || stage.jobs().await.pop().filter(|now| now.state == JobState::Delivered);
    stage.until("what was signed as delivered is delivered", delivered).await;

    // Whoever never ends his request does not keep it from stopping.
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(stage.daemon().stop().await.success());
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    // The log holds no token.
    assert!(!stage.log().contains(path.rsplit('/').next().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_where_providers_report_and_tokens_only_to_who_asks() {
    let interfax = "webhook.public_url = \"https://fax.example.com/\"\n\
                    [provider.panel]\nkind = \"interfax\"\nurl = \"http://127.0.0.1:9\"\nlogin = \"x\"\n\
                    password = \"file:DIR/provider.token\"\n";
    let stage = Stage::new(&Clinic::new().with(interfax)).await;
    let hooks = Hooks::new("https://fax.example.com", marker(Purpose::Webhook));
    let (typed_in, told) = (hooks.url_for("panel", None), hooks.url_for("simulator", None));
    let typed_in = format!("in its control panel, tell InterFAX to post to {typed_in}");
    for (arguments, shown) in [(&[][..], false), (&["--show-tokens"], true)] {
        let checked = clients::said(&stage.command("check", arguments).await);
        for url in [&typed_in, &told] {
            assert_eq!(checked.contains(url), shown, "{url}: {checked}");
        }
        assert!(checked.contains("InterFAX to post to https://fax.example.com/hooks/panel/"), "{checked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_at_a_reload_and_a_bad_one_is_not() {
    let (mut stage, job) = stage().await;
    let address = stage.addresses().media.unwrap();
    let certificate = stage.path("certificate.pem");
    std::fs::write(&certificate, "no certificate").unwrap();
    stage.daemon().hang_up();
    stage.logged("certificate.pem").await;
    let url = document_at(address, &job, SignedDuration::from_mins(30));
    assert!(status(&["--head", &url]).await.ends_with("200"), "the old one stays in force");

    let key = stage.path("certificate.key");
    certificate::make(&certificate, &key, "2", "IP:127.0.0.1", &[]);
    // The port stays the same, so that the new daemon is found where the old one was.
    let text = std::fs::read_to_string(stage.path("faxbridge.toml")).unwrap();
    let (before, section) = text.split_once("[media]").unwrap();
    let section = section.replacen("127.0.0.1:0", &address.to_string(), 1);
    std::fs::write(stage.path("faxbridge.toml"), format!("{before}[media]{section}")).unwrap();
    stage.daemon().hang_up();
    let renewed =
        async || clients::said(&curl(&certificate, &["--head", &url]).await).ends_with("200").then_some(());
    stage.until("the new certificate is taken", renewed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_fetches_the_document_whatever_happens_to_the_daemon_and_may_look_first() {
    let (mut stage, job) = stage().await;
    let half_an_hour = SignedDuration::from_mins(30);
    let path = {
        let url = document_at(stage.addresses().media.unwrap(), &job, half_an_hour);
        url[url.find("/media/").unwrap()..].to_owned()
    };
    let url = |stage: &Stage| format!("https://{}{path}", stage.addresses().media.unwrap());
    let expired = document_at(stage.addresses().media.unwrap(), &job, SignedDuration::from_secs(-1));
    assert_eq!(status(&[&expired]).await, "404");
    let forged = format!("{}0", &url(&stage)[..url(&stage).len() - 1]);
    let forged = if forged == url(&stage) { forged.replacen(".1", ".2", 1) } else { forged };
    assert_eq!(status(&[&forged]).await, "404");
    assert_eq!(status(&["--path-as-is", &url(&stage).replacen("/media/", "/x/../media/", 1)]).await, "404");
    assert_eq!(status(&["--request", "POST", &url(&stage)]).await, "404");
    let head = status(&["--head", &url(&stage)]).await;
    assert!(head.contains("cache-control: no-store"), "{head}");

    // The URL from before is good in another process.
    stage.daemon().kill().await;
    stage.start().await;
    let fetched = stage.path("fetched.pdf");
    assert_eq!(status(&["--output", fetched.to_str().unwrap(), &url(&stage)]).await, "200");
    let bytes = std::fs::read(&fetched).unwrap();
    let packet = job.packet.as_ref().unwrap();
    assert_eq!(hex(digest::digest(&digest::SHA256, &bytes).as_ref()), packet.document.sha256);
    // Whoever fetched it to look at it only comes again.
    let again = stage.path("again.pdf");
    assert_eq!(status(&["--output", again.to_str().unwrap(), &url(&stage)]).await, "200");
    assert_eq!(std::fs::read(&again).unwrap(), bytes, "the same bytes each time");

    let noted = async || {
        let history = stage.store.history(job.id).await.unwrap();
        history.iter().any(|row| row.actor == "media" && row.event == "fetched").then_some(())
    };
    stage.until("it is noted that the document was fetched", noted).await;
    stage.daemon().kill().await;
    stage.start().await;
    assert_eq!(status(&["--output", again.to_str().unwrap(), &url(&stage)]).await, "200", "for a while");
    let log = stage.log();
    assert!(!log.contains(path.rsplit('.').next().unwrap()), "the log holds no mark");
    assert!(log.contains("the provider has fetched its document"));
}
