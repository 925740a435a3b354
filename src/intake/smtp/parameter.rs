//! Parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), AUTH (RFC 4954), and the four of DSN
//! (RFC 3461). What is malformed or there twice is an error, never a guess: a client that asked to be told of a failure must
//! not find out later that we had understood something else.

use super::reply::Reply;

/// Longest ENVID, encoded (RFC 3461, section 5.4).
const MAX_ENVELOPE_ID: usize = 100;
/// Longest ORCPT, encoded (RFC 3461, section 5.4).
const MAX_ORIGINAL: usize = 500;

/// What MAIL asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OfMail {
    /// Size of the mail as its client counts it.
    pub(super) size: Option<u64>,
    /// Addresses and header may have UTF-8 in them.
    pub(super) international: bool,
    /// RET: whether the whole mail was asked back in a failure's report.
    pub(super) full: Option<bool>,
    /// ENVID, decoded.
    pub(super) envelope_id: Option<String>,
    body: bool,
    auth: bool,
}

/// What RCPT asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OfRcpt {
    /// NOTIFY.
    pub(super) notify: Option<Notify>,
    /// ORCPT, decoded, as `rfc822;jane@example.com`.
    pub(super) original: Option<String>,
}

/// When a report is wanted. All false is NEVER.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notify {
    pub(super) success: bool,
    pub(super) failure: bool,
    pub(super) delay: bool,
}

/// Reads the parameters behind MAIL's path.
pub(super) fn of_mail(text: &str) -> Result<OfMail, Reply> {
    let mut found = OfMail::default();
    for (keyword, value) in parameters(text) {
        let wrong = || malformed(&keyword);
        match (keyword.as_str(), value) {
            ("SIZE", Some(digits)) => {
                let all =
                    (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
                let size = all.then(|| digits.parse().unwrap_or(u64::MAX)).ok_or_else(wrong)?;
                once(&mut found.size, size, &keyword)?;
            }
            ("BODY", Some(value))
                if value.eq_ignore_ascii_case("7BIT") || value.eq_ignore_ascii_case("8BITMIME") =>
            {
                flag(&mut found.body, &keyword)?;
            }
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("BINARYMIME") => return Err(unsupported()),
            ("SMTPUTF8", None) => flag(&mut found.international, &keyword)?,
            // Whom the client heard it from: nothing depends on it here (RFC 4954, section 5).
            ("AUTH", Some(value)) => {
                if value != "<>" {
                    xtext(value).ok_or_else(wrong)?;
                }
                flag(&mut found.auth, &keyword)?;
            }
            ("RET", Some(value)) => {
                let full = value.eq_ignore_ascii_case("FULL");
                if !full && !value.eq_ignore_ascii_case("HDRS") {
                    return Err(wrong());
                }
                once(&mut found.full, full, &keyword)?;
            }
            ("ENVID", Some(value)) => {
                let id = xtext(value).filter(|id| {
                    id.is_ascii() && (1..=MAX_ENVELOPE_ID).contains(&value.len()) && !id.is_empty()
                });
                once(&mut found.envelope_id, id.ok_or_else(wrong)?, &keyword)?;
            }
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH" | "RET" | "ENVID", _) => return Err(wrong()),
            _ => return Err(unsupported()),
        }
    }
    Ok(found)
}

/// Reads the parameters behind RCPT's path.
pub(super) fn of_rcpt(text: &str) -> Result<OfRcpt, Reply> {
    let mut found = OfRcpt::default();
    for (keyword, value) in parameters(text) {
        let wrong = || malformed(&keyword);
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => {
                once(&mut found.notify, notify(value).ok_or_else(wrong)?, &keyword)?;
            }
            ("ORCPT", Some(value)) => {
                once(&mut found.original, original(value).ok_or_else(wrong)?, &keyword)?;
            }
            ("NOTIFY" | "ORCPT", _) => return Err(wrong()),
            _ => return Err(unsupported()),
        }
    }
    Ok(found)
}

fn parameters(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => (keyword.to_ascii_uppercase(), Some(value)),
        None => (word.to_ascii_uppercase(), None),
    })
}

/// RFC 3461, section 4.1: NEVER stands alone.
fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::default());
    }
    let mut notify = Notify::default();
    for word in value.split(',') {
        let place = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(place, true) {
            return None;
        }
    }
    Some(notify)
}

/// RFC 3461, section 4.2, and for `utf-8` RFC 6533, section 3.
fn original(value: &str) -> Option<String> {
    if value.len() > MAX_ORIGINAL {
        return None;
    }
    let (kind, address) = value.split_once(';')?;
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return None;
    }
    let address = match kind.eq_ignore_ascii_case("utf-8") {
        true => unitext(address)?,
        false => xtext(address).filter(|address| address.is_ascii())?,
    };
    (!address.is_empty()).then(|| format!("{};{address}", kind.to_ascii_lowercase()))
}

/// Decodes xtext (RFC 3461, section 4): `+` and two hex digits, upper case, stand for a byte; `+` and `=` never for themselves.
/// What it decodes to has no control characters: it is to stand in header fields of mails.
fn xtext(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => byte,
            _ => return None,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes `\x{HEX}` (RFC 6533, section 3); other characters stand for themselves, a backslash, `+` and `=` do not.
fn unitext(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(code) = rest.strip_prefix("\\x{") {
            let (digits, later) = code.split_once('}')?;
            let fits = (2..=6).contains(&digits.len()) && digits.bytes().all(|byte| hex(byte).is_some());
            let c = fits.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32))??;
            out.push(c);
            rest = later;
        } else if matches!(c, '\\' | '+' | '=' | ' ') {
            return None;
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..)?;
        }
    }
    (!out.chars().any(char::is_control)).then_some(out)
}

fn once<T>(place: &mut Option<T>, value: T, keyword: &str) -> Result<(), Reply> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(twice(keyword)),
    }
}

fn flag(place: &mut bool, keyword: &str) -> Result<(), Reply> {
    if std::mem::replace(place, true) { Err(twice(keyword)) } else { Ok(()) }
}

fn twice(keyword: &str) -> Reply {
    Reply::new(501, "5.5.4", format!("{keyword} is there twice."))
}

fn malformed(keyword: &str) -> Reply {
    Reply::new(501, "5.5.4", format!("The value of {keyword} is none."))
}

fn unsupported() -> Reply {
    Reply::new(555, "5.5.4", "A parameter of this command belongs to an extension that is not offered here.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Reply>) -> u16 {
        result.err().map_or(250, |reply| reply.code())
    }

    #[test]
    fn parameters_of_mail() {
        for (text, expected) in [
            ("", 250),
            ("  ", 250),
            (" SIZE=100 BODY=8BITMIME", 250),
            (" size=0 body=7bit smtputf8 auth=<> ret=hdrs envid=QQ314159", 250),
            (" AUTH=jane+40example.com", 250),
            (" SIZE=99999999999999999999", 250),
            (" SIZE=999999999999999999999", 501),
            (" SIZE=", 501),
            (" SIZE", 501),
            (" SIZE=1k", 501),
            (" SIZE=-1", 501),
            (" SIZE=+1", 501),
            (" SIZE=1 SIZE=1", 501),
            (" BODY=9BIT", 501),
            (" BODY=BINARYMIME", 555),
            (" SMTPUTF8=1", 501),
            (" SMTPUTF8 SMTPUTF8", 501),
            (" AUTH=a=b", 501),
            (" RET=BOTH", 501),
            (" RET=FULL RET=FULL", 501),
            (" ENVID=", 501),
            (" ENVID=a+0Ab", 501),
            (" ENVID=a+2", 501),
            (" ENVID=a+2g", 501),
            (" ENVID=a+2b", 501),
            (" ENVID=a+C3+A9", 501),
            (" REQUIRETLS", 555),
            (" X=Y", 555),
            (" =", 555),
        ] {
            assert_eq!(code(of_mail(text)), expected, "{text}");
        }
        assert_eq!(code(of_mail(&format!(" ENVID={}", "x".repeat(100)))), 250);
        assert_eq!(code(of_mail(&format!(" ENVID={}", "x".repeat(101)))), 501);
        let found = of_mail(" RET=FULL ENVID=a+2Bb+3Dc SIZE=7 SMTPUTF8").unwrap();
        assert_eq!(found.envelope_id.as_deref(), Some("a+b=c"));
        assert_eq!((found.full, found.size, found.international), (Some(true), Some(7), true));
    }

    #[test]
    fn parameters_of_rcpt() {
        for (text, expected) in [
            ("", 250),
            (" NOTIFY=NEVER", 250),
            (" NOTIFY=success,FAILURE,Delay", 250),
            (" NOTIFY=NEVER,FAILURE", 501),
            (" NOTIFY=FAILURE,FAILURE", 501),
            (" NOTIFY=", 501),
            (" NOTIFY=FAILURE,", 501),
            (" NOTIFY", 501),
            (" NOTIFY=NEVER NOTIFY=NEVER", 501),
            (" ORCPT=jane@example.com", 501),
            (" ORCPT=rfc822;", 501),
            (" ORCPT=;jane", 501),
            (" ORCPT=rfc822;a=b", 501),
            (" ORCPT=rfc822;a+0D+0Ab", 501),
            (" ORCPT=utf-8;a\\x{0A}", 501),
            (" ORCPT=utf-8;a\\x{D800}", 501),
            (" ORCPT=utf-8;a\\", 501),
            (" SIZE=1", 555),
        ] {
            assert_eq!(code(of_rcpt(text)), expected, "{text}");
        }
        let original = |text| of_rcpt(text).unwrap().original.unwrap();
        assert_eq!(original(" ORCPT=RFC822;jane+2Bfax@example.com"), "rfc822;jane+fax@example.com");
        assert_eq!(original(" ORCPT=utf-8;j\\x{F6}rg@example.com"), "utf-8;j\u{f6}rg@example.com");
        assert_eq!(original(" ORCPT=utf-8;j\u{f6}rg@example.com"), "utf-8;j\u{f6}rg@example.com");
        let notify = of_rcpt(" NOTIFY=SUCCESS,DELAY").unwrap().notify.unwrap();
        assert_eq!((notify.success, notify.failure, notify.delay), (true, false, true));
        assert_eq!(of_rcpt(" NOTIFY=NEVER").unwrap().notify, Some(Notify::default()));
    }
}
