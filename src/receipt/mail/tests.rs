use mail_parser::{HeaderValue as Parsed, MessageParser};

use super::*;
use crate::job::Source;
use crate::receipt::{AccountVerdict, Deletion, letter};

fn account() -> Account {
    Account {
        submission: "06d0s8mk2c0000a1".parse().unwrap(),
        source: Source::Smtp,
        organization: "Example Clinic".into(),
        time_zone: "UTC".into(),
        accepted_at: "2026-11-22T14:05:10Z".parse().unwrap(),
        original_message_id: Some("<abc.1@example.com>".into()),
        verdict: AccountVerdict::Refused { sentence: "The PDF is empty.".into() },
        jobs: Vec::new(),
        deletion: Deletion::After { minutes: 30 },
        dsn: None,
        file: None,
        left: false,
    }
}

fn post() -> Post {
    Post {
        from: "fax@example.com".into(),
        to: "jane@example.net".into(),
        reply_to: None,
        host: "fax.example.com".into(),
        at: "2026-11-22T14:22:10Z".parse().unwrap(),
    }
}

fn built(account: &Account, kind: AnswerKind, post: &Post) -> Result<Mail, ReceiptError> {
    build(account, kind, &letter::letter(account, kind, Some(post)), post)
}

#[test]
fn the_mail_is_an_automatic_answer_in_the_sender_s_thread() {
    let mail = built(&account(), AnswerKind::Final, &post()).unwrap();
    assert_eq!(mail.to, "jane@example.net");
    assert_eq!(mail.message_id, "<06d0s8mk2c0000a1.final@fax.example.com>");
    let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
    let text = |name: &str| match parsed.header(name.to_owned()) {
        Some(Parsed::Text(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(text("Message-ID"), "06d0s8mk2c0000a1.final@fax.example.com");
    assert_eq!(text("In-Reply-To"), "abc.1@example.com");
    assert_eq!(text("References"), "abc.1@example.com");
    assert_eq!(text("Auto-Submitted"), "auto-replied");
    assert_eq!(parsed.subject(), Some("Fax not sent: it could not be accepted"));
    assert_eq!(parsed.from().unwrap().first().unwrap().name(), Some("Example Clinic"));
    assert_eq!(parsed.date().unwrap().to_rfc3339(), "2026-11-22T14:22:10Z");
    assert!(parsed.body_text(0).unwrap().starts_with("Not sent: The PDF is empty."));
    assert!(parsed.body_html(0).unwrap().contains("<strong>Not sent: The PDF is empty.</strong>"));
    assert!(!mail.bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'), "only CRLF ends a line");
}

#[test]
fn notices_have_ids_of_their_own_and_the_same_one_has_the_same() {
    let first = built(&account(), AnswerKind::Held, &post()).unwrap();
    let other = Account { verdict: AccountVerdict::Refused { sentence: "Another.".into() }, ..account() };
    assert_eq!(built(&account(), AnswerKind::Held, &post()).unwrap(), first);
    assert_ne!(built(&other, AnswerKind::Held, &post()).unwrap().message_id, first.message_id);
}

#[test]
fn only_an_id_gets_into_the_thread_headers() {
    let long = format!("<{}@example.com>", "x".repeat(1000));
    let table = [
        ("<a@b>", Some("<a@b>")),
        (" <a@b>\r\n", Some("<a@b>")),
        ("<a@b>\r\nBcc: all@example.com", None),
        ("<a@b> <c@d>", None),
        ("<a\r\nBcc: x@b>", None),
        ("<é@b>", None),
        ("a@b", None),
        ("<>", None),
        (long.as_str(), None),
    ];
    for (original, expected) in table {
        assert_eq!(thread_id(original), expected, "{original:?}");
    }
}

#[test]
fn nothing_from_outside_adds_a_header() {
    let mut account = account();
    account.organization = "Clinic\r\nBcc: all@example.com\r\n\r\nbody".into();
    account.original_message_id = Some("<a@b>\r\nBcc: all@example.com".into());
    let mut post = post();
    post.host = "fax\r\nBcc: all@example.com".into();
    let mail = built(&account, AnswerKind::Final, &post).unwrap();
    let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
    assert!(parsed.bcc().is_none() && parsed.header("In-Reply-To").is_none());
    assert_eq!(parsed.headers().len(), 10, "{:?}", parsed.headers());

    for to in ["", "jane", "jane@example.net\r\nBcc: all@example.com", "jane@example.net, all@example.com"] {
        post.to = to.into();
        assert!(matches!(built(&account, AnswerKind::Final, &post), Err(ReceiptError::Address(_))), "{to:?}");
    }
}
