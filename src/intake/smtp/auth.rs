//! What AUTH PLAIN (RFC 4616) and AUTH LOGIN answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A login and its password, wiped from memory when dropped.
pub(super) struct Credentials {
    login: Zeroizing<Vec<u8>>,
    password: Zeroizing<Vec<u8>>,
}

impl Credentials {
    /// The name that claims to log in.
    pub(super) fn login(&self) -> Option<&str> {
        std::str::from_utf8(&self.login).ok()
    }

    /// What it offers as proof.
    pub(super) fn password(&self) -> &[u8] {
        &self.password
    }
}

/// Reads `base64(authorize-as NUL login NUL password)`; None if it is not that, or asks to act for somebody else.
pub(super) fn plain(response: &str) -> Option<Credentials> {
    let decoded = decode(response)?;
    let mut parts = decoded.split(|byte| *byte == 0);
    let (acts_for, login, password) = (parts.next()?, parts.next()?, parts.next()?);
    let own = parts.next().is_none() && !login.is_empty() && (acts_for.is_empty() || acts_for == login);
    let keep = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
    own.then(|| Credentials { login: keep(login), password: keep(password) })
}

/// Reads the two answers of LOGIN, each in base64.
pub(super) fn login(login: &str, password: &str) -> Option<Credentials> {
    let credentials = Credentials { login: decode(login)?, password: decode(password)? };
    (!credentials.login.is_empty()).then_some(credentials)
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text.trim()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read<'a> = Option<(&'a str, &'a [u8])>;

    fn read(credentials: Option<&Credentials>) -> Read<'_> {
        credentials.map(|c| (c.login().unwrap(), c.password()))
    }

    #[test]
    fn plain_responses() {
        let cases: &[(&[u8], Read<'_>)] = &[
            (b"\0jane\0secret", Some(("jane", b"secret"))),
            (b"jane\0jane\0secret", Some(("jane", b"secret"))),
            (b"\0jane\0", Some(("jane", b""))),
            (b"boss\0jane\0secret", None),
            (b"\0\0secret", None),
            (b"\0jane\0sec\0ret", None),
            (b"jane\0secret", None),
            (b"", None),
        ];
        for (response, expected) in cases {
            let found = plain(&STANDARD.encode(response));
            assert_eq!(read(found.as_ref()), *expected, "{:?}", response.escape_ascii());
        }
        assert!(plain("=").is_none());
        assert!(plain("not base 64!").is_none());
    }

    #[test]
    fn login_answers() {
        let cases: &[(&str, &str, Read<'_>)] = &[
            ("jane", "secret", Some(("jane", b"secret"))),
            ("jane", "", Some(("jane", b""))),
            ("", "secret", None),
        ];
        for (name, password, expected) in cases {
            let found = login(&STANDARD.encode(name), &STANDARD.encode(password));
            assert_eq!(read(found.as_ref()), *expected, "{name} {password}");
        }
        assert!(login("jane!", "secret").is_none());
    }
}
