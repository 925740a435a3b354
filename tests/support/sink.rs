//! The mail sink, in which receipts land: `sink.py` as a process, and what it kept.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use mail_parser::{HeaderValue, MessageParser};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) envelope_from: String,
    pub(crate) envelope_to: String,
    pub(crate) message_id: String,
    pub(crate) in_reply_to: Option<String>,
    pub(crate) references: Option<String>,
    pub(crate) auto_submitted: Option<String>,
    /// The address of Reply-To.
    pub(crate) reply_to: Option<String>,
    pub(crate) subject: String,
    /// The plain text.
    pub(crate) text: String,
    /// The HTML text.
    pub(crate) html: String,
}

impl Letter {
    fn read(bytes: &[u8]) -> Letter {
        let message = MessageParser::default().parse(bytes).expect("a receipt can be parsed");
        let header = |name: &str| match message.header(name) {
            Some(HeaderValue::Text(text)) => Some(text.to_string()),
            Some(HeaderValue::TextList(texts)) => Some(texts.join(" ")),
            _ => None,
        };
        let raw = |name: &str| message.header_raw(name).map(|value| value.trim().to_owned());
        Letter {
            envelope_from: raw("X-Envelope-From").unwrap_or_default(),
            envelope_to: raw("X-Envelope-To").unwrap_or_default(),
            message_id: message.message_id().unwrap_or_default().to_owned(),
            in_reply_to: header("In-Reply-To"),
            references: header("References"),
            auto_submitted: raw("Auto-Submitted"),
            reply_to: raw("Reply-To"),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).unwrap_or_default().into_owned(),
            html: message.body_html(0).unwrap_or_default().into_owned(),
        }
    }

    /// The plain text in one line, however it was folded.
    pub(crate) fn words(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Whether this is the last word on a submission, not a notice on the way.
    pub(crate) fn is_final(&self) -> bool {
        self.message_id.split('@').next().is_some_and(|stem| stem.ends_with(".final"))
    }
}

/// A sink at work; it ends when dropped.
pub(crate) struct Sink {
    _child: Child,
    folder: PathBuf,
    port: u16,
    read: Mutex<Vec<Letter>>,
}

impl Sink {
    /// Opens one that keeps mails in `folder`.
    pub(crate) async fn open(folder: &Path) -> Sink {
        Sink::of("tests/support/sink.py", folder, &[]).await
    }

    /// The same with a script of its own, called with `folder` and `arguments`.
    pub(crate) async fn of(script: &str, folder: &Path, arguments: &[&str]) -> Sink {
        std::fs::create_dir_all(folder).unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script))
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let port = line.trim().parse().expect("the sink tells its port; is python3-aiosmtpd installed?");
        Sink { _child: child, folder: folder.to_owned(), port, read: Mutex::default() }
    }

    /// For `receipt.relay`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The file of the `n`th mail, from 1.
    pub(crate) fn file(&self, n: usize) -> PathBuf {
        self.folder.join(format!("{n:06}.eml"))
    }

    /// Every mail so far, in the order of arrival.
    pub(crate) fn letters(&self) -> Vec<Letter> {
        let mut read = self.read.lock().unwrap();
        while let Ok(bytes) = std::fs::read(self.folder.join(format!("{:06}.eml", read.len() + 1))) {
            read.push(Letter::read(&bytes));
        }
        read.clone()
    }
}
