//! Command lines: RFC 5321, section 4.1.1, and the verbs of the extensions.
//!
//! Our own reader, since what it must see is what libraries smooth over: whether a local part was quoted, whether there was a
//! source route, whether a parameter is there twice or its xtext is none.

use zeroize::Zeroizing;

use super::parameter::{self, OfMail, OfRcpt};
use super::path::{self, Path};
use super::reply::Reply;

/// Longest name that a client may give itself (a domain's length, RFC 5321, section 4.5.3.1.2).
const MAX_NAME: usize = 255;

/// A command that makes sense by itself.
#[derive(Debug)]
pub(super) enum Command {
    Hello(Hello, String),
    Mail(Path, OfMail),
    Rcpt(Path, OfRcpt),
    Data,
    /// So many bytes follow at once.
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Quit,
    Verify,
    Help,
    StartTls,
    Auth {
        mechanism: String,
        initial: Option<Zeroizing<String>>,
    },
}

/// How a client greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    Ehlo,
    Helo,
    /// LMTP's (RFC 2033, section 4.1).
    Lhlo,
}

/// A line that is no such command.
#[derive(Debug)]
pub(super) enum Fault {
    /// The answer; the next line is a command again.
    Line(Reply),
    /// The answer, and nothing that follows may be read: it may be no command.
    Stream(Reply),
}

impl From<Reply> for Fault {
    fn from(reply: Reply) -> Self {
        Fault::Line(reply)
    }
}

/// Reads one line with its CR LF.
pub(super) fn parse(line: &[u8]) -> Result<Command, Fault> {
    let text = clean(line)?;
    let text = text.trim_end_matches(' ');
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_start_matches(' ');
    let verb = verb.to_ascii_uppercase();
    // Only names and addresses may be in other letters.
    if !rest.is_ascii() && !matches!(verb.as_str(), "MAIL" | "RCPT" | "EHLO" | "HELO" | "LHLO") {
        return Err(unclean());
    }
    let alone = |command| match rest.is_empty() {
        true => Ok(command),
        false => Err(syntax(501, format!("{verb} stands alone."))),
    };
    match verb.as_str() {
        "EHLO" => hello(Hello::Ehlo, rest),
        "HELO" => hello(Hello::Helo, rest),
        "LHLO" => hello(Hello::Lhlo, rest),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => alone(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "STARTTLS" => alone(Command::StartTls),
        // RFC 5321, section 4.1.1.9: its words are ignored.
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(syntax(501, "It is written: VRFY address")),
        "VRFY" => Ok(Command::Verify),
        "AUTH" => auth(rest),
        "EXPN" | "ETRN" | "ATRN" | "TURN" | "SEND" | "SOML" | "SAML" => {
            Err(Reply::new(502, "5.5.1", format!("{verb} is not offered here.")).into())
        }
        // A mail may follow, which must not be read as commands.
        "BURL" => Err(Fault::Stream(Reply::new(502, "5.5.1", "BURL is not offered here."))),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Err(Fault::Stream(Reply::new(
            554,
            "5.5.1",
            "This is a mail server, which speaks SMTP and no HTTP.",
        ))),
        "PROXY" => Err(proxied()),
        _ => Err(Reply::new(500, "5.5.1", "There is no such command.").into()),
    }
}

/// Printable characters and one CR LF at the end: what parsers disagree about does not come further than this.
fn clean(line: &[u8]) -> Result<&str, Fault> {
    // The third line of a PROXY header of version 2, whose first two are empty.
    if line == b"\0\r\n" {
        return Err(proxied());
    }
    let text = line.strip_suffix(b"\r\n").and_then(|text| std::str::from_utf8(text).ok());
    text.filter(|text| !text.chars().any(char::is_control)).ok_or_else(unclean)
}

fn unclean() -> Fault {
    Reply::new(500, "5.5.2", "A command is a line of printable characters that ends with CR LF.").into()
}

fn proxied() -> Fault {
    Fault::Stream(Reply::new(554, "5.7.0", "No PROXY header is taken from your address."))
}

fn syntax(code: u16, text: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Reply::new(code, "5.5.4", text).into()
}

fn hello(hello: Hello, name: &str) -> Result<Command, Fault> {
    if !(1..=MAX_NAME).contains(&name.len()) {
        return Err(syntax(501, "It is written: EHLO name"));
    }
    Ok(Command::Hello(hello, name.to_owned()))
}

/// What stands behind `keyword`, in any case.
fn behind<'a>(keyword: &str, text: &'a str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| text.get(keyword.len()..)).flatten()
}

fn mail(rest: &str) -> Result<Command, Fault> {
    const SHAPE: &str = "It is written: MAIL FROM:<address>";
    let text = behind("FROM:", rest).ok_or_else(|| syntax(501, SHAPE))?;
    let (path, parameters) = path::parse(text).map_err(|fault| match fault {
        path::Fault::Shape => syntax(501, SHAPE),
        path::Fault::Route => {
            Reply::new(553, "5.1.7", "A route before an address is not taken; write the address alone.")
                .into()
        }
        path::Fault::Address => {
            Fault::Line(Reply::new(553, "5.1.7", "That is no mail address to send from."))
        }
    })?;
    Ok(Command::Mail(path, parameter::of_mail(parameters)?))
}

fn rcpt(rest: &str) -> Result<Command, Fault> {
    const SHAPE: &str = "It is written: RCPT TO:<address>";
    let text = behind("TO:", rest).ok_or_else(|| syntax(501, SHAPE))?;
    let (path, parameters) = path::parse(text).map_err(|fault| match fault {
        path::Fault::Shape => syntax(501, SHAPE),
        path::Fault::Route => {
            Reply::new(553, "5.1.3", "A route before an address is not taken; write the address alone.")
                .into()
        }
        path::Fault::Address => Fault::Line(Reply::new(553, "5.1.3", "That is no mail address to send to.")),
    })?;
    Ok(Command::Rcpt(path, parameter::of_rcpt(parameters)?))
}

/// RFC 3030, section 2. Where its size cannot be read, nobody knows where the next command begins.
fn bdat(rest: &str) -> Result<Command, Fault> {
    let lost = || Fault::Stream(Reply::new(501, "5.5.4", "It is written: BDAT size [LAST]"));
    let (digits, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    // At most 18 digits: sizes can be added up without thought.
    if !(1..=18).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(lost());
    }
    let size = digits.parse().map_err(|_| lost())?;
    match rest.trim_matches(' ') {
        "" => Ok(Command::Bdat { size, last: false }),
        word if word.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { size, last: true }),
        _ => Err(lost()),
    }
}

fn auth(rest: &str) -> Result<Command, Fault> {
    let (mechanism, initial) =
        rest.split_once(' ').map_or((rest, None), |(m, i)| (m, Some(i.trim_matches(' '))));
    if mechanism.is_empty() {
        return Err(syntax(501, "It is written: AUTH mechanism [response]"));
    }
    let initial = initial.map(|response| Zeroizing::new(response.to_owned()));
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let long = format!("EHLO {}\r\n", "x".repeat(256));
        for (line, expected) in [
            ("EHLO client\r\n", "Hello"),
            ("ehlo [192.0.2.7]\r\n", "Hello"),
            ("HELO my computer\r\n", "Hello"),
            ("EHLO b\u{fc}ro\r\n", "Hello"),
            ("LHLO x  \r\n", "Hello"),
            ("EHLO\r\n", "501"),
            (&long, "501"),
            ("MAIL FROM:<a@b>\r\n", "Mail"),
            ("mail  from:   <a@b>   size=1  \r\n", "Mail"),
            ("MAIL FROM:a@b\r\n", "Mail"),
            ("MAIL FROM <a@b>\r\n", "501"),
            ("MAIL FROM:\r\n", "501"),
            ("MAIL\r\n", "501"),
            ("RCPT TO:<\u{e9}@b>\r\n", "Rcpt"),
            ("RCPT TO:<@a,@b:c@d>\r\n", "553"),
            ("DATA\r\n", "Data"),
            ("DATA  \r\n", "Data"),
            ("DATA now\r\n", "501"),
            ("BDAT 0 LAST\r\n", "Bdat { size: 0, last: true"),
            ("bdat 17  last \r\n", "Bdat { size: 17, last: true"),
            ("BDAT 17\r\n", "Bdat { size: 17, last: false"),
            ("BDAT\r\n", "!501"),
            ("BDAT x\r\n", "!501"),
            ("BDAT -1\r\n", "!501"),
            ("BDAT +1\r\n", "!501"),
            ("BDAT 1 FIRST\r\n", "!501"),
            ("BDAT 9999999999999999999\r\n", "!501"),
            ("RSET\r\n", "Rset"),
            ("RSET all\r\n", "501"),
            ("NOOP and more\r\n", "Noop"),
            ("QUIT\r\n", "Quit"),
            ("QUIT now\r\n", "501"),
            ("VRFY jane\r\n", "Verify"),
            ("VRFY\r\n", "501"),
            ("EXPN staff\r\n", "502"),
            ("HELP MAIL\r\n", "Help"),
            ("STARTTLS\r\n", "StartTls"),
            ("AUTH plain AGE=\r\n", "Auth { mechanism: \"PLAIN\""),
            ("AUTH\r\n", "501"),
            ("BURL imap://x LAST\r\n", "!502"),
            ("GET / HTTP/1.1\r\n", "!554"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "!554"),
            ("\0\r\n", "!554"),
            ("\r\n", "500"),
            ("HELLO\r\n", "500"),
            (" NOOP\r\n", "500"),
            ("NOOP\n", "500"),
            ("NO\rOP\r\n", "500"),
            ("NOOP\t\r\n", "500"),
            ("NOOP \u{e9}\r\n", "500"),
            ("MAIL FROM:<a\u{85}@b>\r\n", "500"),
        ] {
            let found = match parse(line.as_bytes()) {
                Ok(command) => format!("{command:?}"),
                Err(Fault::Line(reply)) => reply.code().to_string(),
                Err(Fault::Stream(reply)) => format!("!{}", reply.code()),
            };
            assert!(found.starts_with(expected), "{line:?}: {found}");
        }
        assert!(matches!(parse(b"MAIL FROM:<\xe9@b>\r\n"), Err(Fault::Line(reply)) if reply.code() == 500));
    }
}
