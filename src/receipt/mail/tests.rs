use mail_parser::{HeaderValue as Parsed, MessageParser};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::receipt::{Deletion, Verdict, letter};

fn account() -> Account {
    Account {
        submission: "06d0s8mk2c0000a1".parse().unwrap(),
        source: "smtp".into(),
        organization: "Example Clinic".into(),
        time_zone: "UTC".into(),
        accepted_at: "2026-11-22T14:05:10Z".parse().unwrap(),
        original_message_id: Some("<abc.1@example.com>".into()),
        verdict: Verdict::Refused { sentence: "The PDF is empty.".into() },
        jobs: Vec::new(),
        deletion: Deletion::After { minutes: 30 },
    }
}

fn post() -> Post {
    Post {
        from: "fax@example.com".into(),
        to: "jane@example.net".into(),
        host: "fax.example.com".into(),
        at: "2026-11-22T14:22:10Z".parse().unwrap(),
    }
}

fn built(account: &Account, kind: Kind, post: &Post) -> Result<Mail, ReceiptError> {
    build(account, kind, &letter::letter(account, kind), post)
}

#[test]
fn the_mail_is_an_automatic_answer_in_the_sender_s_thread() {
    let mail = built(&account(), Kind::Final, &post()).unwrap();
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
    let first = built(&account(), Kind::Held, &post()).unwrap();
    let other = Account { verdict: Verdict::Refused { sentence: "Another.".into() }, ..account() };
    assert_eq!(built(&account(), Kind::Held, &post()).unwrap(), first);
    assert_ne!(built(&other, Kind::Held, &post()).unwrap().message_id, first.message_id);
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
    let mail = built(&account, Kind::Final, &post).unwrap();
    let parsed = MessageParser::default().parse(&mail.bytes).unwrap();
    assert!(parsed.bcc().is_none() && parsed.header("In-Reply-To").is_none());
    assert_eq!(parsed.headers().len(), 9, "{:?}", parsed.headers());

    for to in ["", "jane", "jane@example.net\r\nBcc: all@example.com", "jane@example.net, all@example.com"] {
        post.to = to.into();
        assert!(matches!(built(&account, Kind::Final, &post), Err(ReceiptError::Address(_))), "{to:?}");
    }
}

/// What a relay answers to a command, by its first word.
type Replies = &'static [(&'static str, &'static str)];

/// Plays a relay for one session: greets, answers each command from `replies` by its first word, and returns what it heard.
async fn relay_that(
    replies: &'static [(&'static str, &'static str)],
) -> (Result<(), RelayError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let reply = |word: &str| replies.iter().find(|(at, _)| *at == word).map(|(_, reply)| *reply);
        write.write_all(b"220 relay.example.com\r\n").await.unwrap();
        let (mut heard, mut in_data) = (Vec::new(), false);
        while let Ok(Some(line)) = lines.next_line().await {
            let word = line.split([' ', ':']).next().unwrap_or("").to_owned();
            let answer = match (in_data, word.as_str()) {
                (true, ".") => {
                    in_data = false;
                    reply(".").unwrap_or("250 2.0.0 taken")
                }
                (true, _) => continue,
                (false, "DATA") => {
                    in_data = true;
                    "354 go on"
                }
                (false, "EHLO") => reply("EHLO").unwrap_or("250 relay.example.com"),
                (false, word) => reply(word).unwrap_or("250 2.0.0 ok"),
            };
            heard.push(line);
            if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                break;
            }
        }
        heard
    });
    let login = replies.iter().any(|(at, _)| *at == "AUTH").then(|| ("fax".to_owned(), "secret".to_owned()));
    let relay = Relay::new(&address, RelayTls::None, login, "fax.example.com").unwrap();
    let mail = built(&account(), Kind::Final, &post()).unwrap();
    let result = relay.send(&mail.to, &mail.bytes).await;
    (result, peer.await.unwrap())
}

#[tokio::test]
async fn the_relay_hears_a_null_sender() {
    let (result, heard) = relay_that(&[]).await;
    assert_eq!(result, Ok(()));
    let heard: Vec<&str> = heard.iter().map(String::as_str).collect();
    assert_eq!(
        heard.get(..4).unwrap(),
        ["EHLO fax.example.com", "MAIL FROM:<>", "RCPT TO:<jane@example.net>", "DATA"]
    );
}

#[tokio::test]
async fn refusals_are_told_apart_and_hold_no_address() {
    let table: &[(Replies, bool, &str)] = &[
        (
            &[("RCPT", "550 5.1.1 <jane@example.net>: no such user")],
            true,
            "the relay refused the receipt for good (550 5.1.1)",
        ),
        (
            &[("RCPT", "450 4.2.0 <jane@example.net>: greylisted")],
            false,
            "the relay refused the receipt for now (450 4.2.0)",
        ),
        (&[(".", "554 no thanks")], true, "the relay refused the receipt for good (554)"),
        (&[(".", "452 4.3.1 disk full")], false, "the relay refused the receipt for now (452 4.3.1)"),
        (
            &[("EHLO", "250-relay\r\n250 AUTH PLAIN"), ("AUTH", "535 5.7.8 wrong")],
            false,
            "the relay refuses our sign-in (535 5.7.8)",
        ),
    ];
    for (replies, permanent, expected) in table {
        let error = relay_that(replies).await.0.unwrap_err();
        assert_eq!((error.permanent, error.to_string().as_str()), (*permanent, *expected));
    }
}

#[tokio::test]
async fn a_relay_that_is_away_is_tried_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let relay = Relay::new(&address, RelayTls::None, None, "fax.example.com").unwrap();
    let error = relay.send("jane@example.net", b"x").await.unwrap_err();
    assert!(!error.permanent && error.sentence.starts_with("the relay could not be reached"), "{error}");
    assert!(relay.send("jane", b"x").await.unwrap_err().permanent);
}

#[test]
fn relays_are_written_as_host_and_port() {
    let table = [
        ("127.0.0.1:25", Some(("127.0.0.1", 25))),
        ("[::1]:587", Some(("::1", 587))),
        ("mail.example.com:465", Some(("mail.example.com", 465))),
        ("mail.example.com", None),
        (":25", None),
        ("mail:0", None),
    ];
    for (address, expected) in table {
        let found = host_and_port(address);
        assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected, "{address}");
    }
}
