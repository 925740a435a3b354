//! Signed mails: by mail-auth, which also verifies, and by dkimpy, which nobody here wrote.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// Fields that mail-auth signs.
pub(crate) const FIELDS: [&str; 7] =
    ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"];

/// The keys of all domains.
pub(crate) struct Keys {
    folder: std::path::PathBuf,
}

impl Keys {
    /// Makes them, with OpenSSL.
    pub(crate) fn make(folder: &Path) -> Keys {
        let keys = Keys { folder: folder.to_owned() };
        keys.openssl(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "rsa.pem",
        ]);
        keys.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "ed.pem"]);
        keys.openssl(&["pkey", "-in", "rsa.pem", "-pubout", "-outform", "DER", "-out", "rsa.pub"]);
        keys.openssl(&["pkey", "-in", "ed.pem", "-pubout", "-outform", "DER", "-out", "ed.pub"]);
        keys
    }

    /// The record of the RSA key.
    pub(crate) fn rsa_record(&self) -> String {
        format!("v=DKIM1; k=rsa; p={}", BASE64_STANDARD.encode(self.read("rsa.pub")))
    }

    /// The record of the Ed25519 key, which is the last 32 bytes of its envelope (RFC 8463, section 4).
    pub(crate) fn ed_record(&self) -> String {
        let public = self.read("ed.pub");
        format!("v=DKIM1; k=ed25519; p={}", BASE64_STANDARD.encode(&public[public.len() - 32..]))
    }

    /// `mail` with an RSA signature of `domain` in front.
    pub(crate) fn rsa(&self, domain: &str, mail: &[u8]) -> Vec<u8> {
        self.rsa_with("s1", domain, &FIELDS, |signer| signer, mail)
    }

    /// The same of `fields`, with a key elsewhere, and as `change` makes it.
    pub(crate) fn rsa_with(
        &self,
        selector: &str,
        domain: &str,
        fields: &[&str],
        change: impl FnOnce(DkimSigner<RsaKey<Sha256>, Done>) -> DkimSigner<RsaKey<Sha256>, Done>,
        mail: &[u8],
    ) -> Vec<u8> {
        let key = PrivateKeyDer::from_pem_slice(&self.read("rsa.pem")).unwrap();
        let key = RsaKey::<Sha256>::from_key_der(key).unwrap();
        let signer = DkimSigner::from_key(key).domain(domain).selector(selector).headers(fields.to_vec());
        put_in_front(&change(signer.header_canonicalization(Canonicalization::Relaxed)), mail)
    }

    /// `mail` with an Ed25519 signature of `domain` in front.
    pub(crate) fn ed(&self, domain: &str, mail: &[u8]) -> Vec<u8> {
        let key = PrivateKeyDer::from_pem_slice(&self.read("ed.pem")).unwrap();
        let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(key.secret_der()).unwrap();
        put_in_front(&DkimSigner::from_key(key).domain(domain).selector("ed").headers(FIELDS.to_vec()), mail)
    }

    /// `mail` as dkimpy signs it, relaxed; long `expired`, or not at all.
    pub(crate) fn dkimpy(&self, domain: &str, expired: bool, mail: &[u8]) -> Vec<u8> {
        const SCRIPT: &str = r#"
import sys, dkim
domain, expired, key = sys.argv[1].encode(), sys.argv[2] == "true", open(sys.argv[3], "rb").read()
if expired:
    # It has no way to say x=; the field is added where it puts the others together.
    dkim.time.time = lambda: 1500000000
    inner = dkim.DKIM.gen_header
    dkim.DKIM.gen_header = lambda self, fields, *rest, **more: inner(
        self, fields[:-1] + [(b"x", b"1500086400"), fields[-1]], *rest, **more)
mail = sys.stdin.buffer.read()
signature = dkim.sign(mail, b"s1", domain, key, canonicalize=(b"relaxed", b"relaxed"))
sys.stdout.buffer.write(signature + mail)
"#;
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT, domain, &expired.to_string()])
            .arg(self.folder.join("rsa.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        child.stdin.take().unwrap().write_all(mail).unwrap();
        let signed = child.wait_with_output().unwrap();
        assert!(signed.status.success(), "python3-dkim is installed");
        assert!(!expired || signed.stdout.windows(12).any(|piece| piece == b"x=1500086400"));
        signed.stdout
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(name)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl").current_dir(&self.folder).args(arguments).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

fn put_in_front<T: SigningKey>(signer: &DkimSigner<T, Done>, mail: &[u8]) -> Vec<u8> {
    [signer.sign(mail).unwrap().to_header().as_bytes(), mail].concat()
}
