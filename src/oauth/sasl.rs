//! How an access token is presented to a mail server.

use zeroize::Zeroizing;

/// The one message of XOAUTH2, as Google ("OAuth 2.0 Mechanism") and Microsoft have it; not in base64 yet.
#[must_use]
pub fn xoauth2(login: &str, token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("user={login}\x01auth=Bearer {token}\x01\x01"))
}

/// The one message of OAUTHBEARER (RFC 7628, section 3.1), for the server at `host` and `port`; not in base64 yet.
#[must_use]
pub fn oauthbearer(login: &str, token: &str, host: &str, port: u16) -> Zeroizing<String> {
    // "=" and "," are what a GS2 header is made of (RFC 5801, section 4).
    let login = login.replace('=', "=3D").replace(',', "=2C");
    Zeroizing::new(format!("n,a={login},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        assert_eq!(
            xoauth2("fax@clinic.example", "abc").as_str(),
            "user=fax@clinic.example\x01auth=Bearer abc\x01\x01"
        );
        assert_eq!(
            oauthbearer("a,b=c@clinic.example", "abc", "mail.example", 993).as_str(),
            "n,a=a=2Cb=3Dc@clinic.example,\x01host=mail.example\x01port=993\x01auth=Bearer abc\x01\x01"
        );
    }
}
