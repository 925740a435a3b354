//! STARTTLS and AUTH.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::{TlsError, server_config};
use super::*;

const CERTIFICATE: &str = "fixtures/tls/fax.example.com.pem";
const KEY: &str = "fixtures/tls/fax.example.com.key";
const AUTHORITY: &str = "fixtures/tls/authority.pem";

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.tls = Some(server_config(Path::new(CERTIFICATE), Path::new(KEY)).unwrap().into());
    bench
}

async fn start_tls(mut client: Client<DuplexStream>) -> Client<TlsStream<DuplexStream>> {
    client.expect(&["220 "]).await;
    let offer = client.say("EHLO client\r\n").await;
    assert!(offer.contains("\n250-STARTTLS\n") && !offer.contains("AUTH"), "{offer}");
    client.send("STARTTLS\r\n").await;
    client.expect(&["220 2.0.0"]).await;
    assert!(client.stream.buffer().is_empty());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(AUTHORITY).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
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
    assert!(offer.contains("\n250-AUTH PLAIN\n") && !offer.contains("STARTTLS"), "{offer}");
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
    client.send("EHLO client\r\nAUTH LOGIN\r\nAUTH WHATEVER\r\n").await;
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
