//! Whose client certificate it is: the names in it, once an authority of ours has vouched for it.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// More names than that are not looked at.
const MOST: usize = 100;

/// The DNS names and mail addresses of `certificate` (RFC 5280, section 4.2.1.6). Its subject is not looked at: what stands there
/// was never meant to be compared.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some((_, names))) = certificate.tbs_certificate().get_extension::<SubjectAltName>() else {
        return Vec::new();
    };
    let name = |name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::Rfc822Name(name) => Some(name.to_string()),
        _ => None,
    };
    names.0.into_iter().filter_map(name).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn names_of_certificates() {
        let read = |name| of(&CertificateDer::from_pem_file(format!("fixtures/tls/{name}.pem")).unwrap());
        assert_eq!(read("fax.example.com"), ["fax.example.com", "localhost"]);
        assert_eq!(read("partner"), ["mail.partner.example", "scanner@partner.example"]);
        assert_eq!(read("authority"), Vec::<String>::new());
        assert_eq!(of(&CertificateDer::from(vec![0x30, 3, 2, 1, 0])), Vec::<String>::new());
    }
}
