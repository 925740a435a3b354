//! The certificate is renewed under a running daemon: sessions go on, new ones see the new one, nobody reloads anything.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Clinic, Stage, certificate};

/// Makes a certificate and puts it in place as renewals do: new files under the old names, one after the other.
fn renew(stage: &Stage) -> CertificateDer<'static> {
    let (chain, key) = (stage.path("chain.new"), stage.path("key.new"));
    certificate::make(&chain, &key, "30", "DNS:fax.clinic.example", certificate::LEAF);
    let certificate = CertificateDer::from_pem_file(&chain).unwrap();
    std::fs::rename(chain, stage.path("chain.pem")).unwrap();
    std::fs::rename(key, stage.path("key.pem")).unwrap();
    certificate
}

/// A session behind TLS, with the one certificate trusted.
async fn connect(
    stage: &Stage,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<BufReader<TlsStream<TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(stage.addresses().smtp_tls[0]).await?;
    let name = ServerName::try_from("fax.clinic.example").unwrap();
    Ok(BufReader::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

async fn greeted(session: &mut BufReader<TlsStream<TcpStream>>, word: &str) {
    let mut line = String::new();
    session.read_line(&mut line).await.unwrap();
    assert!(line.starts_with(word), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_and_no_session_is_lost() {
    let certificate = "[smtp]\nlisten_tls = [\"127.0.0.1:0\"]\ntls_certificate = \"DIR/chain.pem\"\n\
                       tls_key = \"DIR/key.pem\"";
    let clinic = Clinic::new().mail().without("smtp.listen").with(certificate).by_name();
    let mut stage = Stage::new(&clinic).await;
    let old = renew(&stage);
    stage.start().await;
    let mut session = connect(&stage, &old).await.unwrap();
    greeted(&mut session, "220 ").await;
    let new = renew(&stage);
    let mut fresh = stage.until("the renewed certificate", async || connect(&stage, &new).await.ok()).await;
    greeted(&mut fresh, "220 ").await;
    assert!(connect(&stage, &old).await.is_err(), "the old one is not shown any more");

    // One that is broken changes nothing, and is complained about once.
    std::fs::write(stage.path("chain.pem"), "nothing").unwrap();
    stage
        .until("a complaint", async || {
            stage.log().contains("a renewed TLS certificate is not taken").then_some(())
        })
        .await;
    greeted(&mut connect(&stage, &new).await.unwrap(), "220 ").await;

    session.get_mut().write_all(b"NOOP\r\n").await.unwrap();
    greeted(&mut session, "250 ").await;
    assert!(stage.daemon().stop().await.success());
    greeted(&mut session, "421 4.3.2").await;
    assert_eq!(stage.log().matches("a renewed TLS certificate is not taken").count(), 1);
}
