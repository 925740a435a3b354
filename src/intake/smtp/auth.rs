//! AUTH PLAIN (RFC 4616): what the client's one answer says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A login and its password, wiped from memory when dropped.
pub(super) struct Credentials {
    decoded: Zeroizing<Vec<u8>>,
    login: std::ops::Range<usize>,
}

impl Credentials {
    /// The name that claims to log in.
    pub(super) fn login(&self) -> Option<&str> {
        std::str::from_utf8(self.decoded.get(self.login.clone())?).ok()
    }

    /// What it offers as proof.
    pub(super) fn password(&self) -> &[u8] {
        self.decoded.get(self.login.end + 1..).unwrap_or_default()
    }
}

/// Reads `base64(authorize-as NUL login NUL password)`; None if it is not that, or asks to act for somebody else.
pub(super) fn plain(response: &str) -> Option<Credentials> {
    // "=" stands for an empty initial response (RFC 4954, section 4), which PLAIN does not have.
    let decoded = Zeroizing::new(STANDARD.decode(response.trim()).ok()?);
    let mut places = memchr::memchr_iter(0, &decoded);
    let (first, second) = (places.next()?, places.next()?);
    if places.next().is_some() {
        return None;
    }
    let (acts_for, login) = (decoded.get(..first)?, decoded.get(first + 1..second)?);
    let own = !login.is_empty() && (acts_for.is_empty() || acts_for == login);
    own.then_some(Credentials { login: first + 1..second, decoded })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_responses() {
        type Case = (&'static [u8], Option<(&'static str, &'static [u8])>);
        let cases: &[Case] = &[
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
            let read = plain(&STANDARD.encode(response));
            let read = read.as_ref().map(|c| (c.login().unwrap(), c.password()));
            assert_eq!(read, *expected, "{:?}", response.escape_ascii());
        }
        assert!(plain("=").is_none());
        assert!(plain("not base 64!").is_none());
    }
}
