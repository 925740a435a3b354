//! One control connection to hfaxd: lines out, replies in, and data connections beside it.
//!
//! Replies look like those of FTP (RFC 959 section 4.2): `NNN text`, or `NNN-text` up to the line that begins with the same
//! `NNN` and a space. What comes is bounded in length, and everything ends with the deadline that the session was opened with.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::delivery::http::cut;

/// A line longer than this is not of hfaxd.
const LINE_AT_MOST: usize = 4096;
/// A reply of more lines than this is not of hfaxd.
const LINES_AT_MOST: usize = 300;
/// How long the goodbye may take.
const COURTESY: Duration = Duration::from_secs(2);

/// A reply, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The text behind the code, line by line.
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// The last line, which is the only one of most replies.
    pub(super) fn text(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// The code alone, for the log: the text may repeat what we sent.
    pub(super) fn describe(&self, to: &str) -> String {
        format!("{to} was answered with {}", self.code)
    }
}

/// Why a conversation did not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// No connection, no answer in time, or hfaxd hung up.
    Lost(String),
    /// What came is no reply of hfaxd's.
    Garbled(String),
}

impl Broken {
    pub(super) fn detail(self) -> String {
        let (Broken::Lost(detail) | Broken::Garbled(detail)) = self;
        detail
    }
}

/// A control connection.
pub(super) struct Session {
    control: BufReader<TcpStream>,
    peer: SocketAddr,
    deadline: Instant,
}

impl Session {
    /// Connects and reads the greeting.
    pub(super) async fn open(host: &str, port: u16, deadline: Instant) -> Result<(Session, Reply), Broken> {
        let connected = timeout_at(deadline, TcpStream::connect((host, port))).await;
        let stream =
            connected.map_err(|_| late("connecting"))?.map_err(|error| lost("connecting", &error))?;
        // Whatever becomes of this process, what was not delivered yet goes with it: the kernel must not bring a JSUBM
        // across a minute after we gave the connection up and began to ask what became of it.
        stream.set_zero_linger().map_err(|error| lost("connecting", &error))?;
        stream.set_nodelay(true).map_err(|error| lost("connecting", &error))?;
        let peer = stream.peer_addr().map_err(|error| lost("connecting", &error))?;
        let mut session = Session { control: BufReader::new(stream), peer, deadline };
        loop {
            let reply = session.reply("the connection").await?;
            // A warning that our address has no name that leads back to it; the greeting follows.
            if reply.code != 130 {
                return Ok((session, reply));
            }
        }
    }

    /// Sends one command and reads its reply. `name` stands for it in details, since the command may hold what no log may.
    pub(super) async fn command(&mut self, name: &str, line: &[u8]) -> Result<Reply, Broken> {
        self.say(name, line).await?;
        self.reply(name).await
    }

    /// Sends one command.
    pub(super) async fn say(&mut self, name: &str, line: &[u8]) -> Result<(), Broken> {
        let whole = [line, b"\r\n"].concat();
        let written = timeout_at(self.deadline, self.control.get_mut().write_all(&whole)).await;
        written.map_err(|_| late(name))?.map_err(|error| lost(name, &error))
    }

    /// Reads one reply.
    pub(super) async fn reply(&mut self, name: &str) -> Result<Reply, Broken> {
        let mut unfinished = Unfinished::default();
        loop {
            let line = timeout_at(self.deadline, self.line(name)).await.map_err(|_| late(name))??;
            if let Some(reply) = unfinished.take(&line).map_err(|what| garbled(name, what))? {
                return Ok(reply);
            }
        }
    }

    async fn line(&mut self, name: &str) -> Result<Vec<u8>, Broken> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.control).take(LINE_AT_MOST as u64);
        let read = bounded.read_until(b'\n', &mut line).await.map_err(|error| lost(name, &error))?;
        match line.last() {
            Some(b'\n') => Ok(line),
            _ if read == LINE_AT_MOST => Err(garbled(name, "a line without an end")),
            _ => Err(Broken::Lost(format!("{name}: hfaxd closed the connection"))),
        }
    }

    /// Opens a data connection. It always leads to the host that we are connected to: of an address in the reply only the
    /// port counts, so that nobody can have a document sent elsewhere.
    pub(super) async fn data(&mut self) -> Result<TcpStream, Broken> {
        let reply = self.command("EPSV", b"EPSV").await?;
        let port = match reply.code {
            229 => extended_port(reply.text()),
            // A server without EPSV (RFC 2428) has the command of RFC 959.
            500..=599 => {
                let reply = self.command("PASV", b"PASV").await?;
                if reply.code == 227 { passive_port(reply.text()) } else { None }
            }
            _ => None,
        };
        let port = port.ok_or_else(|| garbled("EPSV", "no port for the document"))?;
        let address = SocketAddr::new(self.peer.ip(), port);
        let connected = timeout_at(self.deadline, TcpStream::connect(address)).await;
        connected.map_err(|_| late("the data connection"))?.map_err(|e| lost("the data connection", &e))
    }

    /// Writes `pieces` to a data connection and closes it, and reads the reply that ends the transfer.
    pub(super) async fn transfer(
        &mut self,
        mut data: TcpStream,
        pieces: impl Stream<Item = std::io::Result<Bytes>>,
    ) -> Result<Reply, Broken> {
        let name = "the data connection";
        let mut pieces = std::pin::pin!(pieces);
        let all = async {
            while let Some(piece) = pieces.next().await {
                data.write_all(&piece?).await?;
            }
            data.shutdown().await
        };
        timeout_at(self.deadline, all).await.map_err(|_| late(name))?.map_err(|error| lost(name, &error))?;
        self.reply("STOT").await
    }

    /// Says goodbye. How hfaxd takes it changes nothing, so it gets a short time of its own.
    pub(super) async fn quit(mut self) {
        self.deadline = Instant::now() + COURTESY;
        let _ = self.command("QUIT", b"QUIT").await;
    }
}

/// A string as hfaxd reads it: in double quotes, in Latin-1. Quotes and backslashes get a backslash in front; what Latin-1
/// does not have, control characters and telnet's 0xFF become question marks, so that no text can end the line or the quotes.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    for c in text.chars() {
        match (c, u8::try_from(c)) {
            ('"' | '\\', Ok(byte)) => out.extend([b'\\', byte]),
            (_, Ok(byte @ (0x20..=0x7e | 0xa0..=0xfe))) => out.push(byte),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
    out
}

/// A reply of which the last line has not come yet.
#[derive(Default)]
struct Unfinished(Option<Reply>);

impl Unfinished {
    /// Takes one line, with or without its end; returns the reply when it is whole.
    fn take(&mut self, line: &[u8]) -> Result<Option<Reply>, &'static str> {
        let line: String = line.iter().map(|byte| char::from(*byte)).collect();
        let line = line.trim_end_matches(['\r', '\n']);
        let head = head(line);
        match (&mut self.0, head) {
            (None, Some((code, last, text))) => {
                let reply = Reply { code, lines: vec![text.to_owned()] };
                if last {
                    return Ok(Some(reply));
                }
                self.0 = Some(reply);
                Ok(None)
            }
            (None, None) => Err("no reply"),
            (Some(reply), head) => {
                if reply.lines.len() >= LINES_AT_MOST {
                    return Err("a reply without an end");
                }
                match head {
                    Some((code, last, text)) if code == reply.code => {
                        reply.lines.push(text.to_owned());
                        Ok(if last { self.0.take() } else { None })
                    }
                    _ => {
                        reply.lines.push(line.to_owned());
                        Ok(None)
                    }
                }
            }
        }
    }
}

/// Code, whether it is the last line, and text.
fn head(line: &str) -> Option<(u16, bool, &str)> {
    let code = line.get(..3).filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?;
    let last = match line.as_bytes().get(3) {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return None,
    };
    Some((code.parse().ok()?, last, line.get(4..).unwrap_or_default()))
}

/// `Entering Extended Passive Mode (|||52609|)` (RFC 2428 section 3).
fn extended_port(text: &str) -> Option<u16> {
    let inside = text.split_once("(|||")?.1.split_once("|)")?.0;
    inside.parse().ok().filter(|port| *port != 0)
}

/// `Entering passive mode (127,0,0,1,156,217)` (RFC 959 section 4.1.2), without the host.
fn passive_port(text: &str) -> Option<u16> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside.split(',').map(|n| n.trim().parse().ok()).collect::<Option<_>>()?;
    match numbers.as_slice() {
        [_, _, _, _, high, low] => Some(u16::from_be_bytes([*high, *low])).filter(|port| *port != 0),
        _ => None,
    }
}

fn late(name: &str) -> Broken {
    Broken::Lost(format!("{name}: no answer in time"))
}

fn lost(name: &str, error: &std::io::Error) -> Broken {
    Broken::Lost(format!("{name}: {}", cut(&error.to_string())))
}

fn garbled(name: &str, what: &str) -> Broken {
    Broken::Garbled(format!("{name}: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines, and the replies that they are: codes with their texts.
    type Row = (&'static str, &'static [(u16, &'static [&'static str])]);

    fn read(lines: &str) -> Result<Vec<(u16, Vec<String>)>, &'static str> {
        let mut unfinished = Unfinished::default();
        let mut replies = Vec::new();
        for line in lines.split_inclusive('\n') {
            if let Some(reply) = unfinished.take(line.as_bytes())? {
                replies.push((reply.code, reply.lines));
            }
        }
        assert!(unfinished.0.is_none(), "a reply has no end: {:?}", unfinished.0);
        Ok(replies)
    }

    #[test]
    fn replies_as_hfaxd_writes_them() {
        let table: &[Row] = &[
            (
                "220 vm server (HylaFAX (tm) Version 6.0.7) ready.\r\n",
                &[(220, &["vm server (HylaFAX (tm) Version 6.0.7) ready."])],
            ),
            (
                "211-vm HylaFAX server status:\r\n    Connected to 220 people\r\n211 End of status\r\n",
                &[(211, &["vm HylaFAX server status:", "    Connected to 220 people", "End of status"])],
            ),
            (
                "216-Waiting for job 11\r\n216 Wait completed.\r\n",
                &[(216, &["Waiting for job 11", "Wait completed."])],
            ),
            // Another code inside a reply is text of it; so is a line that only begins with the digits.
            ("211-a\r\n500 b\r\n211x\r\n211 c\r\n", &[(211, &["a", "500 b", "211x", "c"])]),
            ("213 \r\n213\r\n", &[(213, &[""]), (213, &[""])]),
            ("130 Warning\r\n220 ready\n", &[(130, &["Warning"]), (220, &["ready"])]),
        ];
        for (lines, replies) in table {
            let want: Vec<(u16, Vec<String>)> = replies
                .iter()
                .map(|(code, lines)| (*code, lines.iter().map(|line| (*line).to_owned()).collect()))
                .collect();
            assert_eq!(read(lines), Ok(want), "{lines}");
        }
    }

    #[test]
    fn what_is_no_reply_is_not_taken_for_one() {
        for lines in [
            "\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "22\r\n",
            "22x 1\r\n",
            "+20 ok\r\n",
            "220\tready\r\n",
            " 220 ready\r\n",
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
        let endless = format!("211-{}", "more\r\n".repeat(LINES_AT_MOST + 1));
        assert_eq!(read(&endless), Err("a reply without an end"));
    }

    #[test]
    fn of_a_passive_reply_only_the_port_counts() {
        let table = [
            ("Entering passive mode (127,0,0,1,156,217)", Some(40153)),
            ("Entering passive mode (10,9,8,7,0,21)", Some(21)),
            ("Entering passive mode (127,0,0,1,0,0)", None),
            ("Entering passive mode (127,0,0,1,256,1)", None),
            ("Entering passive mode (127,0,0,1,1)", None),
            ("Entering passive mode", None),
        ];
        for (text, port) in table {
            assert_eq!(passive_port(text), port, "{text}");
        }
        let table = [
            ("Entering Extended Passive Mode (|||52609|)", Some(52609)),
            ("Entering Extended Passive Mode (|||0|)", None),
            ("Entering Extended Passive Mode (|||65536|)", None),
            ("Entering Extended Passive Mode (|1|10.0.0.1|5|)", None),
        ];
        for (text, port) in table {
            assert_eq!(extended_port(text), port, "{text}");
        }
    }

    #[test]
    fn no_text_ends_the_quotes_or_the_line() {
        let table: &[(&str, &[u8])] = &[
            ("Lakeside", b"\"Lakeside\""),
            ("a\"b\\c", b"\"a\\\"b\\\\c\""),
            ("a\r\nJSUBM", b"\"a??JSUBM\""),
            ("M\u{fc}ller \u{ff}\u{2014}\u{0}", b"\"M\xfcller ???\""),
        ];
        for (text, want) in table {
            assert_eq!(quoted(text), *want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut unfinished = Unfinished::default();
            for line in &lines {
                if unfinished.take(line).is_err() {
                    break;
                }
            }
        }

        #[test]
        fn no_text_panics(text in "(\\d{3}[ -])?[(|,)0-9a-zäÿ\u{0}]{0,40}") {
            let _ = (head(&text), passive_port(&text), extended_port(&text));
            let line = quoted(&text);
            prop_assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0 | 0xff)));
        }
    }
}
