//! The certificate that clients see, and the certificates that they show.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How soon a renewed certificate is noticed.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why there is no TLS to be had from the configured files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The chain or key cannot be read.
    #[error("{path} cannot be read as PEM: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// The file of the chain has no certificate in it.
    #[error("{0} has no certificate in it")]
    NoCertificate(PathBuf),
    /// The two do not fit each other, or the key is of a kind that TLS has no use for.
    #[error("certificate {certificate} and key {key} cannot be used together: {cause}")]
    Unusable {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// There is no TLS at all.
    #[error("TLS cannot be set up: {0}")]
    Provider(rustls::Error),
    /// No certificate can be checked with these authorities.
    #[error("the authorities in {path} cannot be used: {cause}")]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// What rustls says.
        cause: String,
    },
}

/// A server certificate with its key, which follows its files: handshakes that begin after a renewal show the new one, and no
/// session notices.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    looked: Mutex<Look>,
}

/// What the files were like at the last look.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    stamps: Stamps,
    /// They changed since what is in use was read, and could not be used; whether that was said.
    broken: Option<bool>,
    #[cfg(test)]
    times: usize,
}

impl Look {
    fn new(stamps: Stamps) -> Self {
        Look {
            stamps,
            broken: None,
            #[cfg(test)]
            times: 0,
        }
    }
}

type Stamps = [Option<(i64, i64, u64, u64)>; 2];

impl Certificate {
    /// Reads `chain` (the server's own certificate first) and `key`, PEM both.
    ///
    /// # Errors
    /// [`TlsError`] names the file at fault.
    pub fn read(chain: &Path, key: &Path) -> Result<Arc<Certificate>, TlsError> {
        // First the stamps: a change in between is then seen at the next look.
        let stamps = stamps(chain, key);
        let current = RwLock::new(Arc::new(load(chain, key)?));
        let looked = Mutex::new(Look::new(stamps));
        Ok(Arc::new(Certificate { chain: chain.to_owned(), key: key.to_owned(), current, looked }))
    }

    /// Looks after its files now and then until `stop` turns true.
    pub async fn watch(self: Arc<Self>, every: Duration, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(every) => {}
            }
            let this = Arc::clone(&self);
            if let Err(error) = spawn_blocking(move || this.look()).await {
                tracing::error!("looking after a TLS certificate failed within: {error}");
            }
        }
    }

    /// Waits until its files were looked at so many times more.
    #[cfg(test)]
    pub(super) async fn looks(&self, times: usize) {
        let looked = || self.looked.lock().unwrap().times;
        let until = looked() + times;
        while looked() < until {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// The chain that handshakes show.
    #[cfg(test)]
    pub(super) fn current_chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.read().unwrap().cert.clone()
    }

    /// Reads files that have changed. Chain and key are two files, and a look may come between their renewals: what does not
    /// fit together is an error only when it still does not at the next look.
    fn look(&self) {
        let now = stamps(&self.chain, &self.key);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        {
            looked.times += 1;
        }
        let changed = now != looked.stamps;
        if !changed && looked.broken != Some(false) {
            return;
        }
        looked.stamps = now;
        match load(&self.chain, &self.key) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                looked.broken = None;
                tracing::info!("a renewed TLS certificate is in use: {}", self.chain.display());
            }
            Err(error) if !changed => {
                looked.broken = Some(true);
                tracing::error!(
                    "a renewed TLS certificate is not taken, the one before stays in use: {error}"
                );
            }
            Err(_) => looked.broken = Some(false),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn stamps(chain: &Path, key: &Path) -> Stamps {
    let stamp =
        |metadata: Metadata| (metadata.mtime(), metadata.mtime_nsec(), metadata.ino(), metadata.len());
    [chain, key].map(|path| std::fs::metadata(path).ok().map(stamp))
}

fn load(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates(chain)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    CertifiedKey::from_der(certificates, private, &provider()).map_err(|cause| TlsError::Unusable {
        certificate: chain.to_owned(),
        key: key.to_owned(),
        cause,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.map_err(unreadable(path))?;
    if read.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(read) }
}

fn unreadable(path: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let path = path.to_owned();
    move |cause| TlsError::Unreadable { path, cause }
}

/// By name, so that this does not depend on who installed which default before.
fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}

/// Reads `tls_certificate` (the server's own first, then the chain) and `tls_key` once.
///
/// # Errors
/// [`TlsError`] names the file at fault.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    configured(Certificate::read(certificate, key)?, None)
}

/// TLS as `certificate` has it, and with client certificates where there are `partners`.
///
/// # Errors
/// Where rustls' own provider lacks what rustls calls safe.
pub fn configured(
    certificate: Arc<Certificate>,
    partners: Option<&Arc<Partners>>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Provider)?;
    let builder = match partners {
        Some(partners) => builder.with_client_cert_verifier(Arc::clone(partners) as _),
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(builder.with_cert_resolver(certificate)))
}

/// The authorities whose client certificates are believed.
///
/// Others are let pass and count for nothing: mail servers of strangers show whatever certificate they have when they are asked
/// for one, and shall not lose TLS by it. So [`Partners::vouch_for`] has to be asked after the handshake.
#[derive(Debug)]
pub struct Partners {
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Partners {
    /// Reads `client_authorities`, PEM.
    ///
    /// # Errors
    /// Where there is none in it, or one of them is none.
    pub fn read(path: &Path) -> Result<Arc<Partners>, TlsError> {
        let fault = |cause: String| TlsError::Authorities { path: path.to_owned(), cause };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|e| fault(e.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
        let verifier = builder.allow_unauthenticated().build().map_err(|e| fault(e.to_string()))?;
        Ok(Arc::new(Partners { verifier }))
    }

    /// Whether one of the authorities vouches for the owner of this chain, the owner's own certificate first.
    #[must_use]
    pub fn vouch_for(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((own, between)) = chain.split_first() else { return false };
        self.verifier.verify_client_cert(own, between, now).is_ok()
    }
}

impl ClientCertVerifier for Partners {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
