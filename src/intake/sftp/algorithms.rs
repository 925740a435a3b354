//! What is spoken below SFTP: to everybody, and on the listener for old clients.
//!
//! Nothing is switched on for an old client on the listener that the others use: what is weak there would be there for whoever
//! stands between them and us.

use std::borrow::Cow;

use russh::keys::ssh_key::{EcdsaCurve, HashAlg};
use russh::keys::{Algorithm, PrivateKey};
use russh::{Preferred, cipher, kex, mac};

use super::hostkey::HostKeys;

/// The client's order counts (RFC 4253 section 7.1), so this is a set: russh's own, and AES-128-GCM, which costs the least where the
/// processor helps.
const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];

/// What JSch 0.1.54 and OpenSSH 4 to 6 know. No group of 1024 bits, no CBC, no DSA: who has nothing better stays out.
const OLD_KEX: &[kex::Name] = &[
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA1,
    kex::DH_G14_SHA1,
];

const KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// What is offered, strongest first.
pub(super) fn preferred(legacy: bool) -> Preferred {
    let modern = Preferred { cipher: CIPHERS.into(), key: KEYS.into(), ..Preferred::DEFAULT };
    if !legacy {
        return modern;
    }
    let with = |more: &[kex::Name]| -> Cow<'static, [kex::Name]> {
        modern.kex.iter().chain(more).copied().collect::<Vec<_>>().into()
    };
    let keys: Vec<Algorithm> = KEYS.iter().cloned().chain([Algorithm::Rsa { hash: None }]).collect();
    let macs: Vec<mac::Name> = modern.mac.iter().copied().chain([mac::HMAC_SHA1]).collect();
    Preferred { kex: with(OLD_KEX), key: keys.into(), mac: macs.into(), ..modern }
}

/// The host keys that are shown.
pub(super) fn host_keys(keys: HostKeys, legacy: bool) -> Vec<PrivateKey> {
    let old = if legacy { keys.legacy } else { Vec::new() };
    std::iter::once(keys.key).chain(old).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_spoken_where_it_is_asked_for_only() {
        let (modern, old) = (preferred(false), preferred(true));
        let sha1 = Algorithm::Rsa { hash: None };
        assert!(!modern.key.contains(&sha1) && old.key.contains(&sha1));
        for name in [kex::DH_G14_SHA1, kex::DH_GEX_SHA1] {
            assert!(!modern.kex.contains(&name) && old.kex.contains(&name));
        }
        assert!(!modern.mac.contains(&mac::HMAC_SHA1) && old.mac.contains(&mac::HMAC_SHA1));
        for weak in [kex::DH_G1_SHA1, kex::NONE] {
            assert!(!old.kex.contains(&weak));
        }
        assert_eq!(old.cipher, modern.cipher);
    }
}
