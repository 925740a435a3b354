//! What the header of a mail says, with mail-parser behind types of our own, so that a change of parser is a change of this
//! file. Every value is one line.

use mail_parser::{HeaderName, HeaderValue, Message, MessageParser};

use super::mime::fields;
use super::names::one_line;
use crate::addressing::{Addressee, Automatic, MailFacts};

/// Addresses of To and Cc that are looked at.
const MOST_ADDRESSEES: usize = 500;
/// `X-FAX-` header fields that are looked at.
const MOST_FAX_FIELDS: usize = 50;

/// Reads the header of a mail; `None` where there is not one field.
pub(super) fn facts(header: &[u8]) -> Option<MailFacts> {
    fields(header).next()?;
    let parser = MessageParser::new()
        .with_address_headers()
        .with_date_headers()
        .with_message_ids()
        .header_text(HeaderName::Subject);
    let message = parser.parse_headers(header)?;
    let from = message.from().and_then(mail_parser::Address::first);
    let line = |text: &str| Some(one_line(text, 500)).filter(|line| !line.is_empty());
    let mut references = identifiers(message.references());
    if references.is_empty() {
        references = identifiers(message.in_reply_to());
    }
    references.drain(..references.len().saturating_sub(50));
    Some(MailFacts {
        subject: message.subject().and_then(line),
        from_name: from.and_then(|from| from.name.as_deref()).and_then(line),
        from_address: from.and_then(|from| from.address.as_deref()).and_then(line),
        message_id: message.message_id().and_then(line),
        references,
        date: message
            .date()
            .filter(|date| date.is_valid())
            .and_then(|date| jiff::Timestamp::from_second(date.to_timestamp()).ok()),
        automatic: automatic(header),
        addressees: addressees(&message),
        fax_fields: fax_fields(header),
    })
}

/// The address in From, as `facts` has it.
#[must_use]
pub fn from_address(header: &[u8]) -> Option<String> {
    facts(header)?.from_address
}

fn addressees(message: &Message<'_>) -> Vec<Addressee> {
    let fields = [message.to(), message.cc()].into_iter().flatten();
    let addresses = fields.flat_map(mail_parser::Address::iter);
    let named = addresses.filter_map(|one| {
        let address = one.address.as_deref().map(|text| one_line(text, 500))?;
        let name = one.name.as_deref().map(|text| one_line(text, 500)).filter(|name| !name.is_empty());
        Some(Addressee { name, address })
    });
    named.take(MOST_ADDRESSEES).collect()
}

fn fax_fields(header: &[u8]) -> Vec<(String, String)> {
    let found = fields(header).filter_map(|(name, value)| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Some((one_line(name.strip_prefix("x-fax-")?, 100), one_line(&String::from_utf8_lossy(value), 500)))
    });
    found.take(MOST_FAX_FIELDS).collect()
}

fn identifiers(value: &HeaderValue<'_>) -> Vec<String> {
    let clean = |text: &str| Some(one_line(text, 500)).filter(|line| !line.is_empty());
    match value {
        HeaderValue::Text(text) => clean(text).into_iter().collect(),
        HeaderValue::TextList(list) => list.iter().filter_map(|text| clean(text)).collect(),
        _ => Vec::new(),
    }
}

/// The fields that [`automatic`] looks at.
pub const MACHINE_FIELDS: &[&str] = &[
    "x-faxbridge",
    "auto-submitted",
    "content-type",
    "x-failed-recipients",
    "return-path",
    "precedence",
    "list-id",
    "x-loop",
    "x-autoreply",
    "x-autorespond",
    "in-reply-to",
];

/// Whether this is the Message-ID of an answer of ours: `SUBMISSION.final@HOST` and the like.
fn names_a_receipt(id: &str) -> bool {
    let Some((submission, rest)) = id.trim().trim_start_matches('<').split_once('.') else { return false };
    submission.len() == 16
        && submission.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        && ["final@", "accepted@", "command@", "held."].iter().any(|kind| rest.starts_with(kind))
}

/// Why nobody wrote the mail with this `header` by hand (RFC 3834 section 5; `Precedence` from before it; RFC 2919 for lists;
/// RFC 6522 and RFC 8098 for reports; RFC 5321 section 4.5.5 for the null sender).
///
/// `X-Auto-Response-Suppress` is not among the signs: Exchange puts it into mail of people too. Nor is `List-Unsubscribe`
/// alone: services that send documents for an office write it.
#[must_use]
pub fn automatic(header: &[u8]) -> Option<Automatic> {
    let first = |wanted: &str| {
        let mut found = fields(header).filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        found.next().map(|(_, value)| one_line(&String::from_utf8_lossy(value), 200))
    };
    let word = |value: String| value.split([';', '(']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let notice = |reason: &str| Some(Automatic { reason: reason.to_owned(), notice: true });
    if first("X-Faxbridge").is_some_and(|value| value.eq_ignore_ascii_case("receipt")) {
        return notice("it is an answer of this program");
    }
    let submitted = first("Auto-Submitted").map(word).filter(|value| !value.is_empty() && value != "no");
    let submitted = submitted.map(|value| (value == "auto-generated", one_line(&value, 40)));
    if let Some((false, value)) = &submitted {
        return notice(&format!("a program sent it (Auto-Submitted: {value})"));
    }
    let kind = first("Content-Type").map(word).unwrap_or_default();
    for report in ["multipart/report", "message/disposition-notification", "message/delivery-status"] {
        if kind == report {
            return notice(&format!("it is a report of a mail system ({report})"));
        }
    }
    if first("X-Failed-Recipients").is_some() {
        return notice("it is a report of a mail system (X-Failed-Recipients)");
    }
    // The uppermost: those below it are of earlier ways of the same mail.
    if first("Return-Path").is_some_and(|path| path.split_whitespace().collect::<String>() == "<>") {
        return notice("it has no sender who could be answered (Return-Path: <>)");
    }
    let precedence = first("Precedence").map(word);
    let program = submitted.is_some() || precedence.is_some();
    if program && first("In-Reply-To").is_some_and(|id| names_a_receipt(&id)) {
        return notice("it is a program's, and answers a receipt");
    }
    let answers = ["X-Autoreply", "X-Autorespond"].iter().any(|name| first(name).is_some());
    if answers || precedence.as_deref() == Some("auto_reply") {
        return notice("it is an answer that a program gave by itself");
    }
    let generated = |reason: String| Some(Automatic { reason, notice: false });
    if let Some((_, value)) = submitted {
        return generated(format!("a program sent it (Auto-Submitted: {value})"));
    }
    if let Some(value) = precedence.filter(|value| matches!(value.as_str(), "bulk" | "list" | "junk")) {
        return generated(format!("it is mail to many (Precedence: {value})"));
    }
    if first("List-Id").is_some_and(|id| !id.is_empty()) {
        return generated("it is mail of a list".into());
    }
    first("X-Loop").and_then(|_| generated("a program sent it (X-Loop)".into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(header: &str) -> Option<MailFacts> {
        facts(header.as_bytes())
    }

    #[test]
    fn mail_of_machines_is_known_as_such() {
        for (header, reason) in [
            (
                "Auto-Submitted: auto-replied (vacation)",
                Some("a program sent it (Auto-Submitted: auto-replied)"),
            ),
            (
                "Auto-Submitted: auto-generated; x=y",
                Some("a program sent it (Auto-Submitted: auto-generated)"),
            ),
            ("Auto-Submitted: no", None),
            ("Auto-Submitted: No (really)", None),
            ("Precedence: bulk", Some("it is mail to many (Precedence: bulk)")),
            ("Precedence: List", Some("it is mail to many (Precedence: list)")),
            ("Precedence: junk\r\nList-Id: <a.example.com>", Some("it is mail to many (Precedence: junk)")),
            ("Precedence: first-class", None),
            ("X-Auto-Response-Suppress: All", None),
            ("List-Id: Friends <friends.example.com>", Some("it is mail of a list")),
            ("List-Unsubscribe: <mailto:off@example.com>", None),
            ("Return-Path: <>", Some("it has no sender who could be answered (Return-Path: <>)")),
            ("Return-Path: < >", Some("it has no sender who could be answered (Return-Path: <>)")),
            ("Return-Path: <a@example.com>\r\nReturn-Path: <>", None),
            (
                "X-Failed-Recipients: x@example.com",
                Some("it is a report of a mail system (X-Failed-Recipients)"),
            ),
            ("X-Loop: robot@example.com", Some("a program sent it (X-Loop)")),
            ("X-Faxbridge: receipt", Some("it is an answer of this program")),
            (
                "Content-Type: multipart/report; boundary=b",
                Some("it is a report of a mail system (multipart/report)"),
            ),
            (
                "Content-Type: message/disposition-notification",
                Some("it is a report of a mail system (message/disposition-notification)"),
            ),
        ] {
            let facts = of(&format!("From: a@example.com\r\n{header}\r\n\r\n")).unwrap();
            let automatic = facts.automatic;
            assert_eq!(automatic.as_ref().map(|found| found.reason.as_str()), reason, "{header}");
        }
    }

    /// A program that is allowed to send has its documents faxed; what answers or reports is no document, whatever else it says.
    #[test]
    fn answers_and_reports_are_told_from_what_a_program_sends() {
        for (header, notice) in [
            ("Auto-Submitted: auto-generated", false),
            ("Auto-Submitted: auto-generated\r\nPrecedence: bulk", false),
            ("Precedence: bulk", false),
            ("List-Id: <a.example.com>", false),
            ("X-Loop: x", false),
            ("Auto-Submitted: auto-replied", true),
            ("Auto-Submitted: auto-notified; owner-email=x", true),
            ("Precedence: auto_reply", true),
            ("Precedence: bulk\r\nX-Autoreply: yes", true),
            ("Auto-Submitted: auto-generated\r\nContent-Type: Multipart/Report; boundary=b", true),
            ("Auto-Submitted: auto-generated\r\nReturn-Path: <>", true),
            ("Precedence: bulk\r\nX-Failed-Recipients: a@b.example", true),
            ("Auto-Submitted: auto-generated\r\nX-Faxbridge: receipt", true),
        ] {
            let found = automatic(format!("From: a@example.com\r\n{header}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(found.notice, notice, "{header}: {}", found.reason);
        }
    }

    #[test]
    fn no_value_has_a_second_line() {
        let header = "From: =?utf-8?Q?Jane=0D=0ABcc=3A_x?= <jane@example.com>\r\n\
            Subject: =?utf-8?B?T25lDQpYLUV2aWw6IHR3bw==?= \u{202e}x\r\n\
            To: =?utf-8?Q?a=0Ab?= <a@example.com>\r\nX-FAX-To: one\r\n two\r\n\r\n";
        let facts = of(header).unwrap();
        assert_eq!(facts.subject.as_deref(), Some("One X-Evil: two x"));
        assert_eq!(facts.from_name.as_deref(), Some("Jane Bcc: x"));
        assert_eq!(facts.addressees[0].name.as_deref(), Some("a b"));
        assert_eq!(facts.fax_fields, [("to".to_owned(), "one two".to_owned())]);
        assert_eq!(of("no field here"), None);
    }

    proptest! {
        #[test]
        fn any_header_is_one_line_each(value in "[ -\\[\\]-~\r\n\t=?ü]{0,60}") {
            let header = format!("Subject: {value}\r\nFrom: {value}\r\nTo: {value}\r\nMessage-ID: {value}\r\n\r\n");
            let facts = of(&header).unwrap();
            let json = serde_json::to_string(&facts).unwrap();
            prop_assert!(!json.contains("\\n") && !json.contains("\\r"), "{json}");
        }
    }
}
