//! Story: how receipts leave. Relays with TLS and sign-in that nobody here wrote, signatures and reports as other programs read them.

use std::path::Path;
use std::sync::Arc;

use crate::support::sink::Sink;
use crate::support::{Clinic, JANE, RADIOLOGY, Stage, documents, smtp};
use faxbridge::clock::{Clock, SystemClock};
use faxbridge::config::{self, Proof, RelayTls};
use faxbridge::daemon;
use faxbridge::intake::{Arrival, Intake};
use faxbridge::job::Source;
use faxbridge::receipt::Relay;
use faxbridge::receipt::dkim::Dkim;
use faxbridge::receipt::relay::Login;
use faxbridge::routing::Rules;
use faxbridge::sealed::{Dsn, DsnRecipient};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tls");
/// Busy, always.
const BUSY: &str = "busy@fax.clinic.example";

/// One with more lines for its receipts.
async fn staged(receipt: &str) -> Stage {
    let clinic = Clinic::new().mail().by_name().brisk().with("policy.calls = 2").with(receipt);
    Stage::new(&clinic.radiology().recipient("busy", "+12125550112")).await
}

/// A relay of Python's aiosmtpd, with the certificate of the fixtures.
async fn relay(folder: &Path, mode: &str, login: Option<(&str, &Path)>) -> Sink {
    let (certificate, key) =
        (format!("{FIXTURES}/fax.example.com.pem"), format!("{FIXTURES}/fax.example.com.key"));
    let mut arguments = vec![mode, certificate.as_str(), key.as_str()];
    if let Some((name, secret)) = login {
        arguments.extend([name, secret.to_str().unwrap()]);
    }
    Sink::of("tests/stories/receipts/relay.py", folder, &arguments).await
}

fn heard(folder: &Path) -> Vec<String> {
    let heard = std::fs::read_to_string(folder.join("heard")).unwrap_or_default();
    heard.lines().map(str::to_owned).collect()
}

async fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn script(name: &str) -> String {
    format!("{}/tests/stories/receipts/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gets_mail_under_the_tls_that_was_asked_for_or_none() {
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct horse").unwrap();
    let authority = std::fs::read(format!("{FIXTURES}/authority.pem")).unwrap();
    let password = |word: &str| Login::Password("fax".into(), word.to_owned().into());
    let open = async |name: &str, mode| {
        let at = folder.path().join(name);
        (relay(&at, mode, Some(("fax", &secret))).await, at)
    };
    let (starttls, starttls_at) = open("starttls", "starttls").await;
    let (implicit, implicit_at) = open("implicit", "implicit").await;
    let known = Some(authority.as_slice());
    let table = [
        ("STARTTLS", &starttls, RelayTls::Starttls, known, password("correct horse"), None),
        ("implicit TLS", &implicit, RelayTls::Implicit, known, password("correct horse"), None),
        (
            "wrong password",
            &starttls,
            RelayTls::Starttls,
            known,
            password("wrong"),
            Some("refuses our sign-in (535"),
        ),
        (
            "wrong password",
            &implicit,
            RelayTls::Implicit,
            known,
            password("wrong"),
            Some("refuses our sign-in (535"),
        ),
        ("no sign-in", &starttls, RelayTls::Starttls, known, Login::None, Some("refuses our sign-in (530")),
        (
            "unknown authority",
            &starttls,
            RelayTls::Starttls,
            None,
            password("correct horse"),
            Some("could not be reached"),
        ),
        (
            "unknown authority",
            &implicit,
            RelayTls::Implicit,
            None,
            password("correct horse"),
            Some("could not be reached"),
        ),
    ];
    for (name, sink, tls, authorities, login, refused) in table {
        let before = sink.letters().len();
        let relay = Relay::new(&sink.address(), tls, authorities, login, "fax.clinic.example").unwrap();
        let sent = relay.send(JANE, b"Subject: x\r\n\r\nx\r\n").await;
        match (&sent, refused) {
            (Ok(()), None) => assert_eq!(relay.check().await, Ok(()), "{name}"),
            (Err(error), Some(part)) => {
                assert!(!error.permanent && error.sentence.contains(part), "{name}: {error}");
            }
            _ => panic!("{name}: {sent:?}"),
        }
        assert_eq!(sink.letters().len(), before + usize::from(refused.is_none()), "{name}");
    }
    let under_tls = |at: &Path| {
        heard(at).iter().filter(|line| line.starts_with("MAIL")).all(|line| line == "MAIL under TLS")
    };
    assert!(under_tls(&starttls_at) && under_tls(&implicit_at));
    // Another name than the certificate's is another host.
    let elsewhere = starttls.address().replace("127.0.0.1", "127.0.0.2");
    let relay =
        Relay::new(&elsewhere, RelayTls::Starttls, known, password("correct horse"), "fax.clinic.example");
    assert!(relay.unwrap().send(JANE, b"x").await.is_err());
    let none =
        Relay::new("127.0.0.1:25", RelayTls::Starttls, Some(b"nothing"), Login::None, "h").unwrap_err();
    assert!(none.sentence.starts_with("receipt.authorities"), "{none}");
}

/// A token endpoint that gives out `t1`, `t2`, ... in turn.
async fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for n in 1.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut read = vec![0; 8192];
            let mut length = 0;
            while !read[..length].windows(4).any(|four| four == b"\r\n\r\n") {
                let more = stream.read(&mut read[length..]).await.unwrap();
                if more == 0 {
                    break;
                }
                length += more;
            }
            let body = format!(r#"{{"access_token": "t{n}", "token_type": "Bearer", "expires_in": 3600}}"#);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_relay_refuses_is_renewed_once_and_the_mail_signed() {
    let folder = TempDir::new().unwrap();
    let (at, secret) = (folder.path().join("mails"), folder.path().join("token"));
    // The first token was taken back before its time.
    std::fs::write(&secret, "t2").unwrap();
    let relay = relay(&at, "starttls", Some(("fax@clinic.example", &secret))).await;
    let lines = format!(
        "[receipt]\nrelay = \"{}\"\ntls = \"starttls\"\nlogin = \"fax@clinic.example\"\noauth = \"office\"\n\
         authorities = \"FIXTURES/tls/authority.pem\"\n",
        relay.address()
    );
    let more = format!(
        "dkim_domain = \"clinic.example\"\ndkim_selector = \"fax\"\ndkim_key = \"file:DIR/dkim.key\"\n\
         [oauth.office]\nprovider = \"other\"\nflow = \"client-credentials\"\nclient_id = \"c\"\n\
         client_secret = \"file:DIR/client.secret\"\nscope = \"s\"\ntoken_url = \"{}\"\n",
        token_endpoint().await
    );
    let mut stage = staged(&(lines + &more)).await;
    stage.secret("client.secret", b"hush");
    let pem = output("openssl", &["genrsa", "2048"]).await;
    stage.secret("dkim.key", pem.as_bytes());
    stage.start().await;
    let mail =
        documents::mail(JANE, RADIOLOGY, "<1@clinic.example>", "R", &[("r.pdf", &documents::pdf("r", 1))]);
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    let receipt = stage.until("a receipt", async || relay.letters().pop()).await;
    assert_eq!(receipt.envelope_from, "<>");
    let signed_in: Vec<String> = heard(&at).into_iter().filter(|line| line.starts_with("XOAUTH2")).collect();
    assert_eq!(signed_in, ["XOAUTH2 t1", "XOAUTH2 t2"]);
    let key = stage.path("dkim.key");
    let public = format!("openssl pkey -in {} -pubout -outform DER | base64 -w0", key.display());
    let public = output("sh", &["-c", &public]).await;
    let found = verdicts(&relay.file(1), &format!("v=DKIM1; k=rsa; p={public}")).await;
    assert_eq!(found, "good bad bad bad");
    let checked = stage.command("check", &[]).await;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("DKIM signature of receipts can sign"), "{said}");
}

async fn verdicts(mail: &Path, txt: &str) -> String {
    let mail = mail.to_str().unwrap();
    output("/usr/bin/python3", &[&script("dkim_check.py"), mail, "fax._domainkey.clinic.example", txt]).await
}

#[tokio::test]
async fn dkim_signs_with_every_kind_of_key_and_says_which_is_none() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let make = async |name: &str, arguments: &[&str]| {
        let pem = output("openssl", arguments).await;
        std::fs::write(at(name), &pem).unwrap();
        pem
    };
    let rsa = make("rsa", &["genrsa", "2048"]).await;
    let traditional = make("traditional", &["rsa", "-in", at("rsa").to_str().unwrap(), "-traditional"]).await;
    assert!(traditional.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "{traditional}");
    let ed25519 = make("ed25519", &["genpkey", "-algorithm", "ed25519"]).await;
    let mail = "From: fax@clinic.example\r\nTo: jane@clinic.example\r\nSubject: A  fax\r\nMessage-ID: <a@b>\r\n\
                Auto-Submitted: auto-replied\r\n\r\nYour fax  \r\n\r\n \r\n\r\n";
    for (name, pem, kind, tail) in
        [("rsa", rsa, "rsa", 0), ("traditional", traditional, "rsa", 0), ("ed25519", ed25519, "ed25519", 32)]
    {
        let signed = Dkim::new("clinic.example", "fax", pem.as_bytes()).unwrap().sign(mail.as_ref()).unwrap();
        let file = at(&format!("{name}.eml"));
        std::fs::write(&file, signed).unwrap();
        let cut = if tail > 0 { format!("| tail -c {tail}") } else { String::new() };
        let public =
            format!("openssl pkey -in {} -pubout -outform DER {cut} | base64 -w0", at(name).display());
        let public = output("sh", &["-c", &public]).await;
        let found = verdicts(&file, &format!("v=DKIM1; k={kind}; p={public}")).await;
        assert_eq!(found, "good bad bad bad", "{name}");
    }
    let elliptic = make("ec", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]).await;
    for pem in ["", "no key", elliptic.as_str()] {
        let error = Dkim::new("clinic.example", "fax", pem.as_bytes()).unwrap_err();
        assert!(error.starts_with("receipt.dkim_key: found "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_sign_keeps_the_daemon_from_starting() {
    let more = "[receipt]\ndkim_domain = \"clinic.example\"\ndkim_selector = \"fax\"\n\
                dkim_key = \"file:DIR/dkim.key\"\n";
    let mut stage = staged(more).await;
    stage.secret("dkim.key", b"nothing of the kind");
    let failed = stage.try_start(&[]).await.unwrap_err();
    assert_eq!(failed.status.code(), Some(2));
    assert!(stage.log().contains("receipt.dkim_key: found no private key"), "{}", stage.log());
}

/// Accepts a mail as the SMTP server does for a client that asked for these notices.
async fn accepted(stage: &Stage, id: &str, asked: &[(&str, bool, bool, bool)]) {
    let loaded = config::load(&stage.path("faxbridge.toml")).unwrap();
    let spool = daemon::open_spool(&loaded).unwrap();
    let rules = Arc::new(Rules::compile(&loaded.config.rule).unwrap());
    let clock = Arc::new(SystemClock);
    let (config, store) = (Arc::new(loaded.config), stage.store.clone());
    let intake = Intake::new(config, store, spool, rules, clock, faxbridge::store::within_process()).unwrap();
    let recipients = asked.iter().map(|(to, failure, success, never)| DsnRecipient {
        to: (*to).to_owned(),
        original: Some(format!("rfc822;{to}")),
        failure: *failure,
        success: *success,
        never: *never,
    });
    let mail = documents::mail(JANE, RADIOLOGY, id, "Secret subject", &[("r.pdf", &documents::pdf("r", 1))]);
    let mut draft = intake.begin().await.unwrap();
    draft.write(&mail).await.unwrap();
    let arrival = Arrival {
        proof: Some(Proof::Network),
        dsn: Some(Dsn { envelope_id: Some("E-1".into()), full: true, recipients: recipients.collect() }),
        envelope_from: Some(JANE.into()),
        envelope_to: asked.iter().map(|(to, ..)| (*to).to_owned()).collect(),
        message_id: Some(id.to_owned()),
        ..Arrival::new(Source::Smtp, "front desk".into())
    };
    intake.accept(draft, arrival).await.unwrap();
}

async fn parsed(mail: &Path) -> Value {
    let text = output("/usr/bin/python3", &[&script("report.py"), mail.to_str().unwrap()]).await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_for_delivery_notices_gets_the_receipt_in_that_shape() {
    let mut stage = staged("").await;
    accepted(&stage, "<1@clinic.example>", &[(BUSY, true, false, false), (RADIOLOGY, true, false, false)])
        .await;
    stage.start().await;
    stage.final_receipt("<1@clinic.example>").await;
    let report = parsed(&stage.sink.file(1)).await;
    assert_eq!(report["type"], "multipart/report");
    assert_eq!(report["report"], "delivery-status");
    assert_eq!(
        report["parts"],
        serde_json::json!(["multipart/alternative", "message/delivery-status", "text/rfc822-headers"])
    );
    assert_eq!(report["defects"], serde_json::json!([]));
    let blocks = report["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2, "the mail, and the one that failed: {blocks:?}");
    assert_eq!(blocks[0]["Reporting-MTA"], "dns; clinic.example");
    assert_eq!(blocks[0]["Original-Envelope-Id"], "E-1");
    assert_eq!(blocks[1]["Final-Recipient"], format!("rfc822;{BUSY}"));
    assert_eq!(blocks[1]["Original-Recipient"], format!("rfc822;{BUSY}"));
    assert_eq!((&blocks[1]["Action"], &blocks[1]["Status"]), (&"failed".into(), &"5.4.1".into()));
    assert!(blocks[1]["Diagnostic-Code"].as_str().unwrap().starts_with("X-Fax; busy"));
    assert_eq!(report["original"][0].as_str().unwrap().trim(), "Message-ID: <1@clinic.example>");
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("1 delivered, 1 failed"), "one answer for all: {text}");
    let raw = std::fs::read_to_string(stage.sink.file(1)).unwrap();
    assert!(!raw.contains("Secret subject"), "the subject does not travel back");

    // Delivered, and asked for that; then failures only, and nothing failed: a receipt of the usual shape.
    stage.daemon().stop().await;
    accepted(&stage, "<2@clinic.example>", &[(RADIOLOGY, false, true, false)]).await;
    accepted(&stage, "<3@clinic.example>", &[(RADIOLOGY, true, false, false)]).await;
    accepted(&stage, "<4@clinic.example>", &[(BUSY, false, false, true)]).await;
    stage.start().await;
    stage.final_receipt("<2@clinic.example>").await;
    stage.final_receipt("<3@clinic.example>").await;
    let silent = stage.submissions().await.into_iter().next().unwrap();
    stage
        .until("the record of what is not mailed", async || {
            stage.store.receipt(silent.id).await.unwrap().filter(|body| body.contains("\"busy\""))
        })
        .await;
    let mut kinds = Vec::new();
    for n in 1..=stage.sink.letters().len() {
        let report = parsed(&stage.sink.file(n)).await;
        let action = report["blocks"].as_array().unwrap().last().map(|block| block["Action"].clone());
        kinds.push((report["type"].as_str().unwrap().to_owned(), action));
    }
    kinds.sort_by_key(|(kind, action)| (kind.clone(), action.as_ref().map(ToString::to_string)));
    assert_eq!(
        kinds,
        [
            ("multipart/alternative".to_owned(), None),
            ("multipart/report".to_owned(), Some("delivered".into())),
            ("multipart/report".to_owned(), Some("failed".into())),
        ]
    );
    let answers = stage.store.answers(silent.id).await.unwrap();
    assert!(answers[0].last_error.as_deref().unwrap().contains("NOTIFY=NEVER"), "{answers:?}");
    assert!(SystemClock.now() > silent.accepted_at);
}

/// As a mail program asks for it in MAIL and RCPT.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_asks_for_over_smtp_comes_back() {
    let mut stage = staged("").await;
    stage.start().await;
    let mail = documents::mail(JANE, BUSY, "<9@clinic.example>", "R", &[("r.pdf", &documents::pdf("r", 1))]);
    std::fs::write(stage.path("mail.eml"), mail).unwrap();
    let port = stage.smtp().port().to_string();
    let path = stage.path("mail.eml");
    output("/usr/bin/python3", &[&script("notify.py"), &port, JANE, BUSY, path.to_str().unwrap()]).await;
    stage.final_receipt("<9@clinic.example>").await;
    let report = parsed(&stage.sink.file(1)).await;
    assert_eq!(report["type"], "multipart/report");
    assert_eq!(report["blocks"][0]["Original-Envelope-Id"], "order 7");
    assert_eq!(report["blocks"][1]["Original-Recipient"], "rfc822;Front+Desk@clinic.example");
    assert_eq!(report["blocks"][1]["Action"], "failed");
}
