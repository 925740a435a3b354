//! Authentication-Results (RFC 8601): what another server found out about a mail, where that server is believed.
//!
//! A sender can put such fields into a mail as well. They are worth something only because the believed server takes those out
//! that claim to be its own (RFC 8601, section 5). A second line is held here: servers write one field per checking program, so
//! several may be theirs, and a forged one stands below. So *every* DMARC result under the server's name must say pass for the
//! domain in From; one that says anything else outweighs all others, and so does one that cannot be read.

use super::author::{Author, a_label, comment, quoted};
use super::header::Header;

/// Microsoft 365 writes this into ARC fields, and its Authentication-Results without any name. It renames those that a mail
/// brings along (Authentication-Results-Original), so that the nameless are its own.
const MICROSOFT: &str = "mx.microsoft.com";
/// What Exchange puts into mail from a signed-in user of the same organization, for which it looks at neither DKIM nor SPF
/// (`dmarc=none`). Its header firewall takes X-MS-Exchange-Organization-* out of mail from anywhere else.
const INTERNAL: &str = "x-ms-exchange-organization-authas";
/// Fields of one mail that are looked at.
const MOST_FIELDS: usize = 100;

/// Why a server's word does not prove anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotVouched {
    /// It has not written one.
    #[error("carries no DMARC result of {0}")]
    Silent(String),
    /// It says something else.
    #[error("did not pass DMARC by the word of {0}")]
    Failed(String),
    /// A field of its name is malformed, or there are too many fields.
    #[error("has Authentication-Results that cannot be read")]
    Unreadable,
}

/// Whether the server `id` says of this mail that its From domain vouches for it.
pub(super) fn vouch(header: &Header<'_>, id: &str, author: &Author) -> Result<(), NotVouched> {
    let microsoft = id == MICROSOFT;
    let mut found = Vec::new();
    for (nth, value) in header.all("authentication-results").enumerate() {
        if nth >= MOST_FIELDS {
            return Err(NotVouched::Unreadable);
        }
        let text = String::from_utf8_lossy(value);
        let mut reader = Reader { rest: &text };
        let Ok(named) = reader.id() else {
            // Nobody's field, where names are written.
            if microsoft {
                return Err(NotVouched::Unreadable);
            }
            continue;
        };
        let theirs = match &named {
            Some(name) => name == id,
            None => microsoft,
        };
        if theirs {
            found.extend(reader.results(named.is_none()).map_err(|Malformed| NotVouched::Unreadable)?);
        }
    }
    let passed = |result: &Dmarc| {
        result.result.eq_ignore_ascii_case("pass") && result.domain.as_ref() == Some(&author.domain)
    };
    let unchecked = |result: &Dmarc| {
        result.result.eq_ignore_ascii_case("none") && result.domain.as_ref() == Some(&author.domain)
    };
    if microsoft && is_internal(header) && found.iter().all(|result| passed(result) || unchecked(result)) {
        return Ok(());
    }
    if found.is_empty() {
        return Err(NotVouched::Silent(id.to_owned()));
    }
    if found.iter().all(passed) { Ok(()) } else { Err(NotVouched::Failed(id.to_owned())) }
}

fn is_internal(header: &Header<'_>) -> bool {
    let mut fields = header.all(INTERNAL);
    let value = fields.next().map(<[u8]>::trim_ascii);
    value.is_some_and(|value| value.eq_ignore_ascii_case(b"internal")) && fields.next().is_none()
}

/// A DMARC result.
#[derive(Debug, PartialEq, Eq)]
struct Dmarc {
    result: String,
    /// `header.from`, as A-labels; none where it is missing, no domain, or there are two.
    domain: Option<String>,
}

/// A field that the grammar does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

struct Reader<'x> {
    rest: &'x str,
}

impl Reader<'_> {
    /// The authserv-id with its version; none where the field begins with a result, as Microsoft's do. Then nothing was read.
    fn id(&mut self) -> Result<Option<String>, Malformed> {
        let whole = self.rest;
        self.space()?;
        let id = self.value(true)?;
        self.space()?;
        if self.rest.starts_with('=') {
            self.rest = whole;
            return Ok(None);
        }
        let digits = self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        self.skip(digits);
        self.space()?;
        if id.is_empty() || !(self.rest.is_empty() || self.rest.starts_with(';')) {
            return Err(Malformed);
        }
        Ok(Some(id))
    }

    /// All DMARC results that follow. `nameless`: also past sections that are none; Microsoft puts further domains between
    /// semicolons.
    fn results(&mut self, nameless: bool) -> Result<Vec<Dmarc>, Malformed> {
        let mut found = Vec::new();
        loop {
            self.space()?;
            while self.rest.starts_with(';') {
                self.skip(1);
                self.space()?;
            }
            if self.rest.is_empty() {
                return Ok(found);
            }
            let method = self.value(true)?;
            self.space()?;
            if !self.rest.starts_with('=') {
                let ended = self.rest.is_empty() || self.rest.starts_with(';');
                if ended && (nameless || method.eq_ignore_ascii_case("none")) {
                    continue;
                }
                return Err(Malformed);
            }
            self.skip(1);
            self.space()?;
            let result = self.value(false)?;
            let domain = self.properties()?;
            let method = method.split_once('/').map_or(method.as_str(), |(method, _)| method);
            if method.trim().eq_ignore_ascii_case("dmarc") {
                found.push(Dmarc { result, domain });
            }
        }
    }

    /// The properties of one result; `header.from` among them.
    fn properties(&mut self) -> Result<Option<String>, Malformed> {
        let mut domains = Vec::new();
        loop {
            self.space()?;
            if self.rest.is_empty() || self.rest.starts_with(';') {
                break;
            }
            let name = self.value(true)?;
            self.space()?;
            if !self.rest.starts_with('=') {
                return Err(Malformed);
            }
            self.skip(1);
            self.space()?;
            let value = self.value(false)?;
            if name.eq_ignore_ascii_case("header.from") {
                let domain = value.rsplit_once('@').map_or(value.as_str(), |(_, domain)| domain);
                domains.push(a_label(domain));
            }
        }
        match domains.as_slice() {
            [domain] => Ok(domain.clone()),
            _ => Ok(None),
        }
    }

    /// Past white space and comments.
    fn space(&mut self) -> Result<(), Malformed> {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            if !self.rest.starts_with('(') {
                return Ok(());
            }
            let length = comment(self.rest).ok_or(Malformed)?;
            self.skip(length);
        }
    }

    /// A word or a quoted string or both side by side (`"jane doe"@clinic.example`), up to white space, a comment, `;` or, in
    /// a name, `=`. Empty where there is none.
    fn value(&mut self, is_name: bool) -> Result<String, Malformed> {
        let mut value = String::new();
        while let Some(first) = self.rest.chars().next() {
            match first {
                '"' => {
                    let length = quoted(self.rest).ok_or(Malformed)?;
                    let inside = self.rest.get(1..length.saturating_sub(1)).unwrap_or_default();
                    let mut escaped = false;
                    for c in inside.chars() {
                        escaped = c == '\\' && !escaped;
                        if !escaped {
                            value.push(c);
                        }
                    }
                    self.skip(length);
                }
                ' ' | '\t' | '\r' | '\n' | '(' | ';' => break,
                '=' if is_name => break,
                c if c.is_control() => return Err(Malformed),
                c => {
                    value.push(c);
                    self.skip(c.len_utf8());
                }
            }
        }
        if value.is_empty() && !self.rest.is_empty() && !self.rest.starts_with(';') {
            return Err(Malformed);
        }
        Ok(value)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "mx.clinic.example";

    /// How `fields` (without the name) bear on a mail from jane@clinic.example.
    fn verdict(id: &str, fields: &[&str]) -> Result<(), NotVouched> {
        let fields: String =
            fields.iter().map(|field| format!("Authentication-Results: {field}\r\n")).collect();
        let mail = format!("{fields}From: Jane <jane@clinic.example>\r\n\r\n");
        let header = Header::read(mail.as_bytes()).unwrap();
        vouch(&header, id, &Author::of(&header).unwrap())
    }

    #[test]
    fn only_the_named_servers_pass_for_the_domain_in_from_counts() {
        let silent = || Err(NotVouched::Silent(ID.into()));
        let failed = || Err(NotVouched::Failed(ID.into()));
        let unreadable = || Err(NotVouched::Unreadable);
        let pass = "mx.clinic.example; dmarc=pass header.from=clinic.example";
        for (fields, expected) in [
            (vec![pass], Ok(())),
            // As OpenDMARC, Google, rspamd and Fastmail write it.
            (vec!["mx.clinic.example; dmarc=pass (p=reject dis=none) header.from=clinic.example"], Ok(())),
            (
                vec![
                    "mx.clinic.example;\r\n       dkim=pass header.i=@clinic.example header.s=s1 header.b=\"Ab/=\";\r\n       \
                     spf=pass (x: domain of jane@clinic.example designates 192.0.2.1; ok) smtp.mailfrom=jane@clinic.example;\r\n       \
                     dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=clinic.example",
                ],
                Ok(()),
            ),
            (
                vec![
                    "mx.clinic.example; dkim=none; dmarc=pass policy.published-domain-policy=none header.from=CLINIC.example;",
                ],
                Ok(()),
            ),
            (
                vec![
                    "mx.clinic.example 1; dmarc/1 = pass reason=\"a \\\"b\\\"; c\" header.from = \"clinic.example\"",
                ],
                Ok(()),
            ),
            (
                vec![
                    "(a (b) c) mx.clinic.example (d);(e)dmarc(f)=(g)pass(h)header.from(i)=(j)clinic.example(k)",
                ],
                Ok(()),
            ),
            (vec!["\"mx.clinic.example\"; dmarc=pass header.from=clinic.example."], Ok(())),
            (vec!["mx.clinic.example; dmarc=pass header.from=jane@clinic.example"], Ok(())),
            // One field per program, and fields of others beside.
            (vec!["mx.clinic.example; dkim=pass header.d=clinic.example", pass], Ok(())),
            (vec!["other.example; dmarc=fail header.from=clinic.example", pass, "x (", "= ;"], Ok(())),
            (vec![], silent()),
            (vec!["mx.clinic.example; none"], silent()),
            (
                vec![
                    "mx.clinic.example; dkim=pass header.d=clinic.example; spf=pass smtp.mailfrom=clinic.example",
                ],
                silent(),
            ),
            (vec!["other.example; dmarc=pass header.from=clinic.example"], silent()),
            (vec!["MX.clinic.example; dmarc=pass header.from=clinic.example"], silent()),
            (vec!["mx.clinic.example.evil.example; dmarc=pass header.from=clinic.example"], silent()),
            (vec!["evil.example (mx.clinic.example;); dmarc=pass header.from=clinic.example"], silent()),
            (vec!["dmarc=pass header.from=clinic.example"], silent()),
            (vec!["mx.clinic.example; x-dmarc=pass header.from=clinic.example"], silent()),
            (
                vec!["mx.clinic.example; spf=fail reason=\"; dmarc=pass header.from=clinic.example\""],
                silent(),
            ),
            (vec!["mx.clinic.example; spf=fail (; dmarc=pass header.from=clinic.example)"], silent()),
            (vec!["mx.clinic.example; dmarc=fail header.from=clinic.example"], failed()),
            (vec!["mx.clinic.example; dmarc=passed header.from=clinic.example"], failed()),
            (vec!["mx.clinic.example; dmarc=pass"], failed()),
            (vec!["mx.clinic.example; dmarc=pass header.from=evil.example"], failed()),
            (vec!["mx.clinic.example; dmarc=pass header.from=sub.clinic.example"], failed()),
            (
                vec!["mx.clinic.example; dmarc=pass header.from=evil.example header.from=clinic.example"],
                failed(),
            ),
            (vec!["mx.clinic.example; dmarc=pass smtp.mailfrom=clinic.example"], failed()),
            // A forged field below, or what a sloppy server let into its own.
            (vec!["mx.clinic.example; dmarc=fail header.from=clinic.example", pass], failed()),
            (vec![pass, "mx.clinic.example; dmarc=fail header.from=clinic.example"], failed()),
            (
                vec![
                    "mx.clinic.example; spf=pass smtp.mailfrom=x; dmarc=pass header.from=clinic.example; dmarc=fail header.from=clinic.example",
                ],
                failed(),
            ),
            (vec!["mx.clinic.example; dmarc=pass header.from=clinic.example ("], unreadable()),
            (vec!["mx.clinic.example; dmarc=pass header.from=\"clinic.example"], unreadable()),
            (vec!["mx.clinic.example; dmarc pass header.from=clinic.example"], unreadable()),
            (vec!["mx.clinic.example; spf=pass and; dmarc=pass header.from=clinic.example"], unreadable()),
            (vec![pass; MOST_FIELDS + 1], unreadable()),
        ] {
            assert_eq!(verdict(ID, &fields), expected, "{fields:?}");
        }
        assert_eq!(verdict(ID, &[&format!("mx.clinic.example{}", "(".repeat(200_000))]), silent());
    }

    #[test]
    fn microsofts_fields_have_no_name() {
        let pass = "spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=clinic.example; dkim=pass (signature was verified)\r\n \
                    header.d=clinic.example;dmarc=pass action=none header.from=clinic.example;compauth=pass reason=100";
        let other = "spf=none (sender IP is 192.0.2.1) smtp.mailfrom=x.example; y.example; dkim=none header.d=x.example;\
                     dmarc=fail action=none header.from=clinic.example;compauth=pass reason=703";
        assert_eq!(verdict(MICROSOFT, &[pass]), Ok(()));
        assert_eq!(
            verdict(MICROSOFT, &["mx.microsoft.com 1; dmarc=pass header.from=clinic.example"]),
            Ok(())
        );
        assert_eq!(verdict(MICROSOFT, &[other]), Err(NotVouched::Failed(MICROSOFT.into())));
        assert_eq!(verdict(MICROSOFT, &[other, pass]), Err(NotVouched::Failed(MICROSOFT.into())));
        assert_eq!(
            verdict(MICROSOFT, &["other.example; dmarc=pass header.from=clinic.example"]),
            Err(NotVouched::Silent(MICROSOFT.into()))
        );
        assert_eq!(
            verdict(ID, &[pass]),
            Err(NotVouched::Silent(ID.into())),
            "without a name only where Microsoft is named"
        );
    }

    #[test]
    fn a_colleagues_mail_within_microsoft_365_is_vouched_for_by_the_header_firewall() {
        let verdict = |id: &str, fields: &str| {
            let mail = format!("{fields}From: jane@clinic.example\r\n\r\n");
            let header = Header::read(mail.as_bytes()).unwrap();
            vouch(&header, id, &Author::of(&header).unwrap()).is_ok()
        };
        let (inside, none) = (
            "X-MS-Exchange-Organization-AuthAs: Internal\r\n",
            "Authentication-Results: dkim=none (message not signed)\r\n header.d=none;dmarc=none action=none header.from=clinic.example;\r\n",
        );
        let fail = none.replace("dmarc=none", "dmarc=fail");
        assert!(verdict(MICROSOFT, inside));
        assert!(verdict(MICROSOFT, &format!("{none}{inside}")));
        assert!(!verdict(MICROSOFT, none));
        assert!(!verdict(MICROSOFT, &format!("{fail}{inside}")));
        assert!(!verdict(MICROSOFT, &format!("{inside}{inside}")));
        assert!(!verdict(MICROSOFT, &inside.replace("Internal", "Anonymous")));
        assert!(!verdict(MICROSOFT, &inside.replace("Organization", "CrossTenant")));
        assert!(!verdict(ID, inside), "other servers let it pass");
    }

    proptest::proptest! {
        /// Whatever a mail brings along, it is read to its end, and words of nobody's prove nothing.
        #[test]
        fn strange_words_are_read_and_prove_nothing(words in "[a-z.=;()\"\\\\ /1@\u{e4}]{0,60}", bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let mail = format!("Authentication-Results: mx.evil.example; {words}\r\nFrom: jane@clinic.example\r\n\r\n");
            proptest::prop_assert!(crate::intake::proof::vouched(mail.as_bytes(), ID).is_err());
            proptest::prop_assert!(crate::intake::proof::vouched(&bytes, ID).is_err());
            let field = [b"From: ".as_slice(), &bytes, b"\r\nAuthentication-Results: ", &bytes, words.as_bytes(), b"\r\n\r\n"].concat();
            let _ = crate::intake::proof::vouched(&field, MICROSOFT);
        }
    }
}
