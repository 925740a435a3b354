use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

/// What a relay answers to a command, by its first word.
type Replies = &'static [(&'static str, &'static str)];

/// Plays a relay for one session: greets, answers each command from `replies` by its first word, and returns what it heard.
async fn relay_that(replies: Replies, tls: RelayTls) -> (Result<(), RelayError>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let reply = |word: &str| replies.iter().find(|(at, _)| *at == word).map(|(_, reply)| *reply);
        let greeting = reply("GREETING").unwrap_or("220 relay.example.com");
        write.write_all(format!("{greeting}\r\n").as_bytes()).await.unwrap();
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
    let login = match replies.iter().any(|(at, _)| *at == "AUTH") {
        true => Login::Password("fax".to_owned(), "secret".to_owned().into()),
        false => Login::None,
    };
    let relay = Relay::new(&address, tls, None, login, "fax.example.com").unwrap();
    let result = relay.send("jane@example.net", b"Subject: x\r\n\r\ny\r\n").await;
    (result, peer.await.unwrap())
}

#[tokio::test]
async fn the_relay_hears_a_null_sender() {
    let (result, heard) = relay_that(&[], RelayTls::None).await;
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
        (&[("GREETING", "554 5.7.1 no")], false, "the relay turns us away (554 5.7.1)"),
        (&[("GREETING", "421 4.3.2 busy")], false, "the relay refused the receipt for now (421 4.3.2)"),
        (&[("EHLO", "502 what")], false, "the relay turns us away (502)"),
        (
            &[("MAIL", "501 5.1.7 Invalid MAIL FROM address provided")],
            false,
            "the relay refuses mail without an envelope sender (501 5.1.7), as receipts have none; set receipt.bounce_from to an \
             address that it lets us send from, whose mail somebody reads",
        ),
        (&[("MAIL", "451 4.7.1 later")], false, "the relay refused the receipt for now (451 4.7.1)"),
    ];
    for (replies, permanent, expected) in table {
        let error = relay_that(replies, RelayTls::None).await.0.unwrap_err();
        assert_eq!((error.permanent, error.to_string().as_str()), (*permanent, *expected));
    }
}

#[tokio::test]
async fn a_relay_that_is_away_is_tried_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let relay = Relay::new(&address, RelayTls::None, None, Login::None, "fax.example.com").unwrap();
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

/// For relays that take no null sender; and what they say of it is found out before the first receipt.
#[tokio::test]
async fn a_relay_hears_the_bounce_address_where_there_is_one() {
    for (from, expected) in
        [(None, "MAIL FROM:<>"), (Some("bounces@example.com"), "MAIL FROM:<bounces@example.com>")]
    {
        for check in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let peer = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 relay\r\n").await.unwrap();
                let mut heard = Vec::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = match line.as_str() {
                        "MAIL FROM:<>" => b"501 no\r\n",
                        line if line.starts_with("RCPT") => b"450 later\r\n",
                        _ => b"250 relay\r\n",
                    };
                    heard.push(line);
                    if write.write_all(answer).await.is_err() {
                        break;
                    }
                }
                heard
            });
            let relay = Relay::new(&address, RelayTls::None, None, Login::None, "fax.example.com").unwrap();
            let relay = relay.with_bounces_to(from).unwrap();
            if check {
                assert_eq!(relay.check().await.is_ok(), from.is_some());
            } else {
                assert!(!relay.send("jane@example.net", b"x").await.unwrap_err().permanent);
            }
            let heard = peer.await.unwrap();
            assert_eq!(heard.get(1).map(String::as_str), Some(expected), "{heard:?}");
        }
    }
    let relay = Relay::new("127.0.0.1:25", RelayTls::None, None, Login::None, "h").unwrap();
    assert!(relay.with_bounces_to(Some("nobody")).is_err());
}

/// A password or a receipt that somebody on the way asks for by taking STARTTLS out of the offer.
#[tokio::test]
async fn nothing_is_said_in_clear_where_tls_is_asked_for() {
    let replies: Replies = &[("EHLO", "250-relay\r\n250 AUTH PLAIN LOGIN"), ("AUTH", "235 2.7.0 welcome")];
    let (result, heard) = relay_that(replies, RelayTls::Starttls).await;
    let error = result.unwrap_err();
    assert!(!error.permanent && error.sentence.contains("does not offer STARTTLS"), "{error}");
    assert!(heard.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
    let (result, heard) = relay_that(
        &[("EHLO", "250-relay\r\n250 STARTTLS"), ("STARTTLS", "454 4.7.0 not now")],
        RelayTls::Starttls,
    )
    .await;
    assert!(!result.unwrap_err().permanent);
    assert!(
        heard.iter().all(|line| ["EHLO", "STAR", "QUIT"].iter().any(|word| line.starts_with(word))),
        "{heard:?}"
    );
}

/// Tokens in turn; the first is refused, as XOAUTH2 refuses: with a question.
struct Turns(std::sync::Mutex<u32>);

impl Tokens for Turns {
    fn token(&self) -> BoxFuture<'_, Result<Zeroizing<String>, String>> {
        let n = *self.0.lock().unwrap();
        Box::pin(async move { Ok(Zeroizing::new(format!("t{n}"))) })
    }

    fn renewed<'a>(&'a self, refused: &'a str) -> BoxFuture<'a, Result<Zeroizing<String>, String>> {
        assert_eq!(refused, format!("t{}", self.0.lock().unwrap()));
        *self.0.lock().unwrap() += 1;
        self.token()
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_the_operator_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let mut tokens = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 relay.example.com\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = match line.split(' ').next().unwrap_or("") {
                    "EHLO" => "250-relay\r\n250 AUTH XOAUTH2 PLAIN",
                    "AUTH" => {
                        assert!(line.starts_with("AUTH XOAUTH2 "), "{line}");
                        tokens += 1;
                        "334 eyJzdGF0dXMiOiI0MDAifQ=="
                    }
                    _ => "221 2.0.0 bye",
                };
                if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
                    break;
                }
            }
            if tokens == 2 {
                return tokens;
            }
        }
        tokens
    });
    let tokens = Arc::new(Turns(std::sync::Mutex::new(1)));
    let login = Login::Token("fax@example.com".into(), Arc::clone(&tokens) as Arc<dyn Tokens>);
    let relay = Relay::new(&address, RelayTls::None, None, login, "fax.example.com").unwrap();
    let error = relay.send("jane@example.net", b"x").await.unwrap_err();
    assert!(!error.permanent && error.sign_in, "{error}");
    assert_eq!(peer.await.unwrap(), 2, "two tokens, not more");
    assert_eq!(*tokens.0.lock().unwrap(), 2);
}
