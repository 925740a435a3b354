//! Certificates that are made as an office makes them.

use std::path::Path;
use std::process::Command;

/// Makes a certificate of `days` days that signs itself, for `names` (`DNS:fax.example` or `IP:127.0.0.1`), and its key.
pub(crate) fn make(certificate: &Path, key: &Path, days: &str, names: &str, more: &[&str]) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            days,
        ])
        .args(["-subj", "/CN=made", "-addext", &format!("subjectAltName={names}")])
        .args(more)
        .arg("-out")
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// For [`make`]: the certificate is no authority.
pub(crate) const LEAF: &[&str] = &["-addext", "basicConstraints=critical,CA:FALSE"];
