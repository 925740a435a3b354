//! A small mailbox: takes every mail that comes to it over SMTP on loopback, and keeps each as a file.
//!
//! The receipts of the demo land in it, and it is the sink of the end-to-end tests, which include this file. It knows as much
//! of RFC 5321 as a relay's client needs (EHLO, MAIL, RCPT, DATA, RSET, NOOP, QUIT, pipelined), no TLS and no sign-in. Dropped,
//! it is gone from the net, as in an outage; [`Mailbox::open`] at the same address brings it back.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Largest mail it takes; receipts have a few KiB.
const MAIL_AT_MOST: usize = 32 << 20;
/// Longest command line.
const LINE_AT_MOST: u64 = 4096;

/// A mail that was taken.
#[derive(Debug, Clone)]
pub(crate) struct DemoMail {
    /// Envelope sender; empty for the null one of receipts.
    pub(crate) from: String,
    /// Envelope recipients.
    pub(crate) to: Vec<String>,
    /// Header and body, as they came.
    pub(crate) bytes: Vec<u8>,
    /// The file that holds them.
    pub(crate) path: PathBuf,
}

/// A mailbox at work.
#[derive(Debug)]
pub(crate) struct Mailbox {
    address: SocketAddr,
    letters: watch::Receiver<Vec<DemoMail>>,
    /// Aborted when the mailbox is dropped, and the sessions with it.
    _serving: JoinSet<()>,
}

impl Mailbox {
    /// Opens a mailbox that keeps its mails in `folder` as `0001.eml` and so on. Port 0 lets the system choose.
    pub(crate) async fn open(listen: SocketAddr, folder: &Path) -> io::Result<Mailbox> {
        tokio::fs::create_dir_all(folder).await?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let (sender, letters) = watch::channel(Vec::new());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::new(Shelf { folder: folder.to_owned(), letters: sender })));
        Ok(Mailbox { address, letters, _serving: serving })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All mails so far, in the order in which they came.
    pub(crate) fn letters(&self) -> Vec<DemoMail> {
        self.letters.borrow().clone()
    }

    /// The first mail of which `wanted` holds, once it is there. For tests: the demo looks at all mails, again and again.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&DemoMail) -> bool) -> DemoMail {
        let mut letters = self.letters.clone();
        loop {
            let found = letters.borrow_and_update().iter().find(|letter| wanted(letter)).cloned();
            match found {
                Some(letter) => return letter,
                // The sender lives as long as the mailbox; without it nothing more can come.
                None if letters.changed().await.is_err() => std::future::pending().await,
                None => {}
            }
        }
    }
}

/// Where mails are kept.
struct Shelf {
    folder: PathBuf,
    letters: watch::Sender<Vec<DemoMail>>,
}

impl Shelf {
    /// Keeps a mail: in its file first, then in the list.
    fn keep(&self, from: String, to: Vec<String>, bytes: Vec<u8>) -> io::Result<()> {
        let mut kept = Ok(());
        self.letters.send_modify(|letters| {
            let path = self.folder.join(format!("{:04}.eml", letters.len() + 1));
            kept = std::fs::write(&path, &bytes);
            if kept.is_ok() {
                letters.push(DemoMail { from, to, bytes, path });
            }
        });
        kept
    }
}

async fn serve(listener: TcpListener, shelf: Arc<Shelf>) {
    let mut sessions = JoinSet::new();
    loop {
        while sessions.try_join_next().is_some() {}
        if let Ok((stream, _)) = listener.accept().await {
            let shelf = Arc::clone(&shelf);
            // A session that breaks is the client's to mend: it has no answer, and comes again.
            sessions.spawn(async move { drop(Session::new(stream, shelf).run().await) });
        }
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    shelf: Arc<Shelf>,
    from: Option<String>,
    to: Vec<String>,
}

impl Session {
    fn new(stream: TcpStream, shelf: Arc<Shelf>) -> Session {
        Session { stream: BufReader::new(stream), shelf, from: None, to: Vec::new() }
    }

    async fn run(mut self) -> io::Result<()> {
        self.say("220 mailbox.example ESMTP").await?;
        while let Some(line) = self.line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.say("250-mailbox.example\r\n250-PIPELINING\r\n250 8BITMIME").await?,
                "HELO" => self.say("250 mailbox.example").await?,
                "MAIL" => {
                    self.from = Some(path_in(&line));
                    self.to.clear();
                    self.say("250 go on").await?;
                }
                "RCPT" if self.from.is_some() => {
                    self.to.push(path_in(&line));
                    self.say("250 go on").await?;
                }
                "DATA" if !self.to.is_empty() => self.data().await?,
                "RCPT" | "DATA" => self.say("503 not in this order").await?,
                "RSET" => {
                    self.from = None;
                    self.to.clear();
                    self.say("250 forgotten").await?;
                }
                "NOOP" => self.say("250 here").await?,
                "QUIT" => return self.say("221 good-bye").await,
                _ => self.say("502 not known here").await?,
            }
        }
        Ok(())
    }

    async fn data(&mut self) -> io::Result<()> {
        self.say("354 end with a line of one dot").await?;
        let mut bytes = Vec::new();
        loop {
            let start = bytes.len();
            self.stream.read_until(b'\n', &mut bytes).await?;
            match bytes.get(start..).unwrap_or_default() {
                b".\r\n" => {
                    bytes.truncate(start);
                    break;
                }
                // RFC 5321, section 4.5.2: a dot in front of a line was added for the way.
                [b'.', ..] => drop(bytes.remove(start)),
                line if !line.ends_with(b"\n") => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
            if bytes.len() > MAIL_AT_MOST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        let kept = self.shelf.keep(self.from.take().unwrap_or_default(), std::mem::take(&mut self.to), bytes);
        self.say(if kept.is_ok() { "250 kept" } else { "451 it cannot be kept now" }).await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_AT_MOST).read_until(b'\n', &mut line).await?;
        Ok(line.ends_with(b"\n").then(|| String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await
    }
}

/// `jane@example.com` of `RCPT TO:<jane@example.com> NOTIFY=NEVER`.
fn path_in(line: &str) -> String {
    let path = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    path.map(|(path, _)| path.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lettre::message::SinglePart;
    use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

    use super::*;

    #[tokio::test]
    async fn what_a_real_client_sends_is_kept_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(SocketAddr::from(([127, 0, 0, 1], 0)), folder.path()).await.unwrap();
        let relay = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(mailbox.address().port())
            .build();
        let body = ".a dot\r\n..two dots\r\n.\r\nend\r\n";
        let message = Message::builder()
            .from("fax@clinic.example".parse().unwrap())
            .to("jane@clinic.example".parse().unwrap())
            .subject("dots")
            .singlepart(SinglePart::plain(body.to_owned()))
            .unwrap();
        relay.send(message.clone()).await.unwrap();
        relay.send(message.clone()).await.unwrap();
        let second = mailbox.wait_for(|letter| letter.path.ends_with("0002.eml")).await;
        assert_eq!(mailbox.letters().len(), 2);
        // The client ends every mail with a line end of its own.
        assert_eq!(second.bytes.strip_suffix(b"\r\n").unwrap(), message.formatted());
        assert_eq!(std::fs::read(&second.path).unwrap(), second.bytes);
        assert_eq!(
            (second.from.as_str(), second.to.join(" ")),
            ("fax@clinic.example", "jane@clinic.example".into())
        );
    }
}
