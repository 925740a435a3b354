//! `peer.py` as a process, and what it said about each request.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What the peer makes of one request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Verdict {
    /// The operation of the description, if it is one.
    pub(crate) operation: Option<String>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    /// The fields of a form, or the JSON.
    pub(crate) body: Value,
    pub(crate) files: Vec<File>,
    /// All that is wrong with it; empty when it is valid.
    pub(crate) faults: Vec<String>,
}

/// A file in a form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: usize,
    pub(crate) sha256: String,
}

/// What the peer says when it is ready.
#[derive(Deserialize)]
struct Ready {
    port: u16,
    base: String,
    operations: Vec<String>,
}

/// A peer at work; it ends when dropped.
pub(crate) struct Peer {
    _child: Child,
    folder: TempDir,
    ready: Ready,
}

impl Peer {
    /// Opens one that knows the API of this description, and answers with these where it has no example.
    pub(crate) async fn open(description: &str, answers: Option<&str>) -> Peer {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("/usr/bin/python3")
            .arg(root.join("tests/parts/contract/peer.py"))
            .arg(root.join(description))
            .arg(verdicts(&folder))
            .args(answers.map(|answers| root.join(answers)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("{description}: no peer; are python3-yaml and python3-jsonschema installed? It says why above.")
        });
        Peer { _child: child, folder, ready }
    }

    /// Where it is, without the version that the description puts in front of every path.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ready.port)
    }

    /// The same with the version, as `/v2`.
    pub(crate) fn base(&self) -> String {
        self.url() + &self.ready.base
    }

    /// The operations of the description.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        self.ready.operations.iter().cloned().collect()
    }

    /// The verdicts so far.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let text = std::fs::read_to_string(verdicts(&self.folder)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn verdicts(folder: &TempDir) -> PathBuf {
    folder.path().join("verdicts.jsonl")
}
