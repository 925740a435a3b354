//! `faxbridge simulator`: the fax provider of demo and tests, on its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use faxbridge::config::secret::SecretRef;
use faxbridge::job;
use faxbridge::simulator::server::{self, Chaos, Options};
use faxbridge::simulator::telnyx_public_key;
use tokio::signal::unix::{SignalKind, signal};

use super::Misuse;
use super::listing::say;

/// The token and key of whoever does not give any.
const TOKEN: &str = "simulator";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder for what it prints; made if missing
    #[arg(long, value_name = "DIR")]
    record: PathBuf,
    /// File with the bearer token that clients must show [default: the token is "simulator"]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the key under which webhooks are signed [default: a random one, so that nobody can check them]
    #[arg(long, value_name = "FILE")]
    webhook_key_file: Option<PathBuf>,
    /// Where faxes of the InterFAX face are reported, as its control panel would have it [default: nowhere]
    #[arg(long, value_name = "URL")]
    interfax_callback: Option<String>,
    /// How long a call lasts, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    call_time: u64,
    /// Keep printed pages when the client deletes its copy
    #[arg(long)]
    keep: bool,
    /// Answers in a second at most
    #[arg(long, value_name = "N")]
    per_second: Option<u32>,
    /// Misbehave by chance, the same way for the same seed
    #[arg(long, value_name = "SEED")]
    chaos: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let token = match &arguments.token_file {
        Some(path) => {
            let secret = read(path)?;
            secret.text().with_context(|| format!("{} is not text", path.display()))?.trim().to_owned()
        }
        None => TOKEN.to_owned(),
    };
    let webhook_key = match &arguments.webhook_key_file {
        Some(path) => read(path)?.bytes().to_vec(),
        None => job::chance().context("no randomness")?.to_be_bytes().to_vec(),
    };
    let mut options = Options::new(arguments.record.clone(), &token, &webhook_key);
    options.listen = arguments.listen;
    options.call_time = Duration::from_millis(arguments.call_time);
    options.keep = arguments.keep;
    options.interfax_callback = arguments.interfax_callback.clone();
    options.per_second = arguments.per_second;
    options.chaos = arguments.chaos.map(Chaos::new);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = server::serve(options).await.with_context(|| {
        format!("cannot listen on {} and write to {}", arguments.listen, arguments.record.display())
    })?;
    say(format_args!(
        "listening on {}; faxes are printed into {}",
        running.url(),
        arguments.record.display()
    ))?;
    if arguments.webhook_key_file.is_some() {
        say(format_args!("public key of the Telnyx face: {}", telnyx_public_key(&webhook_key)))?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    for violation in running.violations() {
        eprintln!("violation: {violation:?}");
    }
    running.stop().await;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<faxbridge::config::secret::Secret> {
    SecretRef::File(path.to_owned()).read().map_err(|error| Misuse(error.to_string()).into())
}
