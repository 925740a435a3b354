//! The DKIM signature of our mail (RFC 6376; RFC 8463 for Ed25519), for relays that do not sign by themselves.
//!
//! The header is signed relaxed, since mail systems fold it anew; the body is signed as it is, which is also what both sides of
//! mail-auth and of every verifier agree on (its relaxed form of the body keeps blank lines at the end in 0.13). Fields
//! that only some receipts have are listed where they are there.

use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::config::Config;

/// What is signed of the header.
const FIELDS: &[&str] = &[
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Faxbridge",
    "MIME-Version",
    "Content-Type",
];

/// Signs mails.
pub struct Dkim(Signer);

enum Signer {
    Rsa(DkimSigner<RsaKey<Sha256>, Done>),
    Ed25519(DkimSigner<Ed25519Key, Done>),
}

impl std::fmt::Debug for Dkim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dkim")
    }
}

impl Dkim {
    /// As `[receipt]` says; `None` where nothing is to be signed.
    ///
    /// # Errors
    /// A sentence that begins with the key of the configuration.
    pub fn of(config: &Config) -> Result<Option<Dkim>, String> {
        let Some(receipt) = &config.receipt else { return Ok(None) };
        let (Some(domain), Some(selector), Some(key)) =
            (&receipt.dkim_domain, &receipt.dkim_selector, &receipt.dkim_key)
        else {
            return Ok(None);
        };
        let secret = key.read().map_err(|e| format!("receipt.dkim_key: {e}"))?;
        Dkim::new(domain, selector, secret.bytes()).map(Some)
    }

    /// Signs for `selector._domainkey.domain` with the private key in `pem`.
    ///
    /// # Errors
    /// A sentence that begins with `receipt.dkim_key`.
    pub fn new(domain: &str, selector: &str, pem: &[u8]) -> Result<Dkim, String> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            "receipt.dkim_key: found no private key in PEM form; allowed: RSA (PKCS #1 or #8) or Ed25519 (PKCS #8), as of \
             `openssl genrsa 2048` or `openssl genpkey -algorithm ed25519`"
                .to_owned()
        })?;
        if let PrivateKeyDer::Pkcs8(der) = &key
            && let Ok(key) = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der())
        {
            return Ok(Dkim(Signer::Ed25519(signer(
                DkimSigner::from_key(key).domain(domain).selector(selector),
            ))));
        }
        let key = RsaKey::<Sha256>::from_key_der(key).map_err(|_| {
            "receipt.dkim_key: found a private key that cannot sign; allowed: RSA of 2048 bits or more, or Ed25519".to_owned()
        })?;
        Ok(Dkim(Signer::Rsa(signer(DkimSigner::from_key(key).domain(domain).selector(selector)))))
    }

    /// The mail with its signature in front.
    ///
    /// # Errors
    /// A sentence where the library of cryptography refuses.
    pub fn sign(&self, mail: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match &self.0 {
            Signer::Rsa(signer) => signer.sign(mail),
            Signer::Ed25519(signer) => signer.sign(mail),
        };
        let mut signed = signature
            .map_err(|e| format!("the receipt could not be signed (DKIM): {e}"))?
            .to_header()
            .into_bytes();
        signed.extend_from_slice(mail);
        Ok(signed)
    }
}

fn signer<T: mail_auth::common::crypto::SigningKey>(
    begun: DkimSigner<T, mail_auth::dkim::NeedHeaders>,
) -> DkimSigner<T, Done> {
    begun
        .headers(FIELDS.iter().copied())
        .header_canonicalization(Canonicalization::Relaxed)
        .body_canonicalization(Canonicalization::Simple)
}
