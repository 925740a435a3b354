//! STARTTLS and AUTH.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::{Certificate, Partners, TlsError, configured, server_config};
use super::*;
use crate::config::Proof;

const CERTIFICATE: &str = "fixtures/tls/fax.example.com.pem";
const KEY: &str = "fixtures/tls/fax.example.com.key";
const AUTHORITY: &str = "fixtures/tls/authority.pem";

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    let tls = server_config(Path::new(CERTIFICATE), Path::new(KEY)).unwrap();
    bench.set(|settings| settings.tls = Some(tls.into()));
    bench
}

async fn start_tls(client: Client<DuplexStream>) -> Client<TlsStream<DuplexStream>> {
    start_tls_as(client, None).await
}

/// STARTTLS, with a client certificate where there is one.
async fn start_tls_as(
    mut client: Client<DuplexStream>,
    own: Option<(&str, &str)>,
) -> Client<TlsStream<DuplexStream>> {
    client.expect(&["220 "]).await;
    let offer = client.say("EHLO client\r\n").await;
    assert!(offer.contains("\n250-STARTTLS\n") && !offer.contains("AUTH"), "{offer}");
    client.send("STARTTLS\r\n").await;
    client.expect(&["220 2.0.0"]).await;
    assert!(client.stream.buffer().is_empty());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(AUTHORITY).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("fax.example.com").unwrap();
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, client.stream.into_inner()).await.unwrap();
    Client { stream: BufReader::new(stream), session: client.session }
}

fn response(login: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{login}\0{password}"))
}

#[tokio::test]
async fn a_mail_with_a_password() {
    let bench = bench().await;
    let mut client = start_tls(bench.connect()).await;
    client.send("MAIL FROM:<bill@example.com>\r\n").await;
    client.expect(&["503 5.5.1"]).await;
    let offer = client.say("EHLO client\r\n").await;
    assert!(offer.contains("\n250-AUTH PLAIN LOGIN\n") && !offer.contains("STARTTLS"), "{offer}");
    client.send("STARTTLS\r\n").await;
    client.expect(&["503 5.5.1"]).await;
    client.send(format!("AUTH PLAIN {}\r\n", response("bill", "a password"))).await;
    client.expect(&["235 2.7.0"]).await;
    client.send(format!("AUTH PLAIN {}\r\n", response("bill", "a password"))).await;
    client.expect(&["503 5.5.1"]).await;
    client.send("MAIL FROM:<bill@example.com> AUTH=<>\r\nRCPT TO:<smith@fax.example.com>\r\nDATA\r\n").await;
    client.expect(&["250 ", "250 ", "354 "]).await;
    let reply = client.say(format!("Subject: x\r\n\r\n{}.\r\n", "0123456789\r\n".repeat(20_000))).await;
    let (bytes, submission, _) = bench.accepted(&reply).await;
    assert_eq!((bytes.len(), submission.sender.as_str()), (14 + 240_000, "billing"));
    // The account does not make its owner somebody else.
    client.send("MAIL FROM:<jane@example.com>\r\nRCPT TO:<smith@fax.example.com>\r\nQUIT\r\n").await;
    client.expect(&["250 ", "550 5.7.1", "221 "]).await;
    client.over().await;
}

#[tokio::test]
async fn a_password_after_a_challenge() {
    let bench = bench().await;
    let mut client = start_tls(bench.connect()).await;
    client.send("EHLO client\r\nAUTH PLAIN\r\n").await;
    client.expect(&["250-", "334 "]).await;
    client.send("*\r\n").await;
    client.expect(&["501 5.7.0"]).await;
    client.send("AUTH PLAIN\r\n").await;
    client.expect(&["334 "]).await;
    client.send(format!("{}\r\n", response("bill", "a password"))).await;
    client.expect(&["235 2.7.0"]).await;
}

#[tokio::test]
async fn a_password_by_login() {
    let bench = bench().await;
    let (name, password) = (STANDARD.encode("bill"), STANDARD.encode("a password"));
    for (first, answers) in [
        ("AUTH LOGIN\r\n".to_owned(), vec![&name, &password]),
        (format!("auth login {name}\r\n"), vec![&password]),
    ] {
        let mut client = start_tls(bench.connect()).await;
        client.send("EHLO client\r\n").await;
        client.expect(&["250-"]).await;
        let mut heard = client.say(&first).await;
        for answer in answers {
            let expected = if answer == &name { "334 VXNlcm5hbWU6" } else { "334 UGFzc3dvcmQ6" };
            assert_eq!(heard, expected);
            heard = client.say(format!("{answer}\r\n")).await;
        }
        assert!(heard.starts_with("235 2.7.0"), "{heard}");
    }
    let mut client = start_tls(bench.connect()).await;
    client.send("EHLO client\r\nAUTH LOGIN\r\n").await;
    client.expect(&["250-", "334 "]).await;
    client.send("*\r\nAUTH LOGIN\r\n").await;
    client.expect(&["501 5.7.0", "334 "]).await;
    client.send(format!("{name}\r\n*\r\n")).await;
    client.expect(&["334 ", "501 5.7.0"]).await;
    client.send(format!("AUTH LOGIN\r\n{name}\r\n{name}\r\n")).await;
    client.expect(&["334 ", "334 ", "535 5.7.8"]).await;
}

#[tokio::test]
async fn guessing_is_slowed_down_and_then_not_listened_to() {
    let mut bench = bench().await;
    let (window, delay) = (Duration::from_secs(600), Duration::from_millis(20));
    bench.set(|settings| settings.guesses = Guesses::new(4, window, delay));
    let wrong = format!("AUTH PLAIN {}\r\n", response("bill", "another password"));
    let right = format!("AUTH PLAIN {}\r\n", response("bill", "a password"));
    let mut waited = Vec::new();
    for _ in 0..2 {
        let mut client = start_tls(bench.connect()).await;
        client.send("EHLO client\r\n").await;
        client.expect(&["250-"]).await;
        for _ in 0..2 {
            let begun = tokio::time::Instant::now();
            client.send(&wrong).await;
            client.expect(&["535 5.7.8"]).await;
            waited.push(begun.elapsed());
        }
    }
    for (waited, least) in waited.iter().zip([20, 40, 80, 160]) {
        assert!(*waited >= Duration::from_millis(least), "{waited:?}");
    }
    let mut client = start_tls(bench.connect()).await;
    client.send("EHLO client\r\n").await;
    client.expect(&["250-"]).await;
    client.send(&right).await;
    client.expect(&["454 4.7.0 There were too many wrong passwords"]).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_tarpit() {
    let mut bench = bench().await;
    bench.set(|settings| settings.guesses = Guesses::new(4, Duration::from_secs(1), Duration::from_secs(30)));
    let mut client = start_tls(bench.connect()).await;
    client.send("EHLO client\r\n").await;
    client.expect(&["250-"]).await;
    client.send(format!("AUTH PLAIN {}\r\n", response("bill", "another password"))).await;
    let begun = tokio::time::Instant::now();
    bench.stop.send_replace(true);
    client.expect(&["421 4.3.2"]).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_handshake() {
    let bench = bench().await;
    let mut client = bench.connect();
    client.send("EHLO client\r\n").await;
    client.expect(&["220 ", "250-"]).await;
    client.send("STARTTLS\r\n").await;
    client.expect(&["220 2.0.0"]).await;
    client.send(b"\x16\x03\x01\x02\x00").await;
    let begun = tokio::time::Instant::now();
    bench.stop.send_replace(true);
    client.over().await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_certificate_proves_whose_mail_it_is_and_a_strangers_proves_nothing() {
    let mut bench = Bench::new().await;
    let partners = Partners::read(Path::new("fixtures/tls/partners.pem")).unwrap();
    let certificate = Certificate::read(Path::new(CERTIFICATE), Path::new(KEY)).unwrap();
    let tls = configured(certificate, Some(&partners)).unwrap();
    bench.set(|settings| (settings.tls, settings.partners) = (Some(tls.into()), Some(partners)));
    let partner = ("fixtures/tls/partner.pem", "fixtures/tls/partner.key");
    // The same name, by its own word.
    let impostor = ("fixtures/tls/impostor.pem", "fixtures/tls/impostor.key");
    let cases: &[(Option<(&str, &str)>, &str)] = &[
        (Some(partner), "250 2.1.5"),
        (Some((CERTIFICATE, KEY)), "550 5.7.1"),
        (Some(impostor), "550 5.7.1"),
        (None, "550 5.7.1"),
    ];
    for (own, expected) in cases {
        let mut client = start_tls_as(bench.connect(), *own).await;
        client
            .send("EHLO client\r\nMAIL FROM:<anybody@partner.example>\r\nRCPT TO:<a@fax.example.com>\r\n")
            .await;
        client.expect(&["250-", "250 2.1.0", expected]).await;
        if expected.starts_with("250") {
            client.send("DATA\r\n").await;
            client.expect(&["354 "]).await;
            let reply = client.say("Subject: x\r\n\r\nbody\r\n.\r\n").await;
            let (_, submission, facts) = bench.accepted(&reply).await;
            assert_eq!((submission.sender.as_str(), facts.proof), ("partner", Some(Proof::Certificate)));
        }
    }
    assert!(matches!(Partners::read(Path::new(KEY)), Err(TlsError::NoCertificate(_))));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let put = |from: &str, to: &Path| {
        // As renewals do it: a new file under the old name.
        let new = to.with_extension("new");
        std::fs::copy(from, &new).unwrap();
        std::fs::rename(new, to).unwrap();
    };
    put(CERTIFICATE, &chain);
    put(KEY, &key);
    let certificate = Certificate::read(&chain, &key).unwrap();
    let (stop, stopped) = watch::channel(false);
    let watching = tokio::spawn(Arc::clone(&certificate).watch(Duration::from_millis(5), stopped));
    let shown = |path: &str| CertificateDer::from_pem_file(path).unwrap();
    let (old, new) = (shown(CERTIFICATE), shown("fixtures/tls/partner.pem"));
    assert_eq!(certificate.current_chain()[0], old);
    // Half of a renewal, and then for long: what was is used.
    put("fixtures/tls/partner.pem", &chain);
    certificate.looks(3).await;
    assert_eq!(certificate.current_chain()[0], old);
    std::fs::remove_file(&key).unwrap();
    certificate.looks(3).await;
    assert_eq!(certificate.current_chain()[0], old);
    put("fixtures/tls/partner.key", &key);
    certificate.looks(2).await;
    assert_eq!(certificate.current_chain()[0], new);
    stop.send_replace(true);
    watching.await.unwrap();
}

#[tokio::test]
async fn a_password_before_tls_is_not_heard() {
    let bench = bench().await;
    let mut client = bench.connect();
    client.send(format!("EHLO client\r\nAUTH PLAIN {}\r\n", response("bill", "a password"))).await;
    client.expect(&["220 ", "250-", "538 5.7.11"]).await;
    client.send("MAIL FROM:<bill@example.com>\r\nRCPT TO:<smith@fax.example.com>\r\n").await;
    client.expect(&["250 ", "550 5.7.1"]).await;
}

#[tokio::test]
async fn three_wrong_passwords_end_the_session() {
    let bench = bench().await;
    let mut client = start_tls(bench.connect()).await;
    client.send("EHLO client\r\nAUTH CRAM-MD5\r\nAUTH WHATEVER\r\n").await;
    client.expect(&["250-", "504 5.5.4", "504 5.5.4"]).await;
    client.send(format!("AUTH PLAIN {}\r\n", response("bill", "another password"))).await;
    client.expect(&["535 5.7.8"]).await;
    client.send("AUTH PLAIN not-base-64\r\n").await;
    client.expect(&["501 5.5.2"]).await;
    client.send(format!("AUTH PLAIN {}\r\n", response("nobody", "a password"))).await;
    client.expect(&["535 5.7.8"]).await;
    client.over().await;
}

#[tokio::test]
async fn words_before_tls_do_not_count_under_tls() {
    let bench = bench().await;
    let mut client = bench.connect();
    client.expect(&["220 "]).await;
    client.send("EHLO client\r\n").await;
    client.expect(&["250-"]).await;
    client.send("STARTTLS\r\nMAIL FROM:<jane@example.com>\r\n").await;
    client.expect(&["501 5.5.4"]).await;
    client.over().await;
}

#[tokio::test]
async fn what_is_no_tls_ends_the_session() {
    let bench = bench().await;
    let mut client = bench.connect();
    client.send("EHLO client\r\n").await;
    client.expect(&["220 ", "250-"]).await;
    client.send("STARTTLS\r\n").await;
    client.expect(&["220 "]).await;
    client.send("MAIL FROM:<jane@example.com>\r\n").await;
    let Client { stream, session } = client;
    session.await.unwrap();
    drop(stream);
}

#[test]
fn unusable_files_are_named() {
    let read = |certificate: &str, key: &str| server_config(Path::new(certificate), Path::new(key)).err();
    assert!(matches!(read("fixtures/tls/none.pem", KEY), Some(TlsError::Unreadable { .. })));
    assert!(matches!(read(KEY, KEY), Some(TlsError::NoCertificate(_))));
    assert!(matches!(read(CERTIFICATE, CERTIFICATE), Some(TlsError::Unreadable { .. })));
    let error = read(AUTHORITY, KEY).unwrap();
    assert!(matches!(error, TlsError::Unusable { .. }));
    assert!(error.to_string().starts_with("certificate fixtures/tls/authority.pem and key"), "{error}");
}
