//! The certificate for STARTTLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

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
}

/// Reads `tls_certificate` (the server's own first, then the chain) and `tls_key`.
///
/// # Errors
/// [`TlsError`] names the file at fault.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| TlsError::Unreadable { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(certificate.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    // The provider by name, so that this does not depend on who installed which default before.
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map(Arc::new)
        .map_err(|cause| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            cause,
        })
}
