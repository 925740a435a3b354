//! `faxbridge demo`: the whole way on this machine, with nothing to set up.
//!
//! The fax provider is simulated (real HTTP, nothing is dialled) and the receipts land in a mailbox of the demo's own. All the
//! rest is what an office would run: the bridge is a process of its own with a configuration of its own, mails come by SMTP,
//! drops by SFTP, scans through a watched folder. Six things are sent; each is followed to its end and then proven from what
//! lies at the far ends. Exit status 0 means that nothing was missing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use faxbridge::clock::{SharedClock, SystemClock};
use faxbridge::daemon;
use faxbridge::job;
use faxbridge::simulator::server;
use faxbridge::store::Store;
use russh::keys::PrivateKey;
use tokio::signal::unix::{SignalKind, signal};

mod cases;
mod child;
mod clients;
mod follow;
mod mailbox;
mod papers;
mod place;
mod proof;

use super::load;
use cases::{CASES, Case, Promise, SFTP_USER, Way};
use child::Bridge;
use clients::{Mail, Sftp};
use follow::{Eyes, Followed, Follower, Table};
use mailbox::Mailbox;
use place::{Fill, Place};

/// What is not proven this long after the start is missing.
const AT_MOST: Duration = Duration::from_secs(45);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where faxes, covers and receipts are put: a new or empty folder, or a former demo's
    #[arg(long, value_name = "DIR", default_value = "faxbridge-demo")]
    out: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        shown = show(arguments) => shown,
        // What ran is stopped by being dropped.
        _ = tokio::signal::ctrl_c() => bail!("interrupted; what the demo had started is stopped"),
        _ = terminate.recv() => bail!("told to end; what the demo had started is stopped"),
    }
}

async fn show(arguments: Arguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let place = Place::prepare(&arguments.out)?;
    let stage = Stage::set(&place).await?;
    let mut bridge = Bridge::start(&place).await?;
    let clock: SharedClock = Arc::new(SystemClock);
    let store = Store::open(&place.data(), "demo").await?;
    let recipients = cases::register(&store, &clock).await?;
    introduce(&bridge, &stage, recipients);

    let table = Table::new(start);
    table.head();
    let message_ids = stage.send_all(&bridge, &place, &table).await?;
    let spool = daemon::open_spool(&load(&place.config())?).map_err(anyhow::Error::msg)?;
    let eyes = Eyes { store: &store, spool: &spool, mailbox: &stage.mailbox };
    let mut follower = Follower::new(eyes, &table, &clock, message_ids);
    follower.follow(&mut bridge, start + AT_MOST).await?;
    let followed = follower.followed;
    let records = stage.records(&bridge, &place, &store, &followed).await?;
    let expected = store.document_names().await?.len();
    bridge.stop().await?;

    let faxes = stage.simulator.faxes();
    let mut missing = Vec::new();
    let mut kept = [0usize; 2];
    for (followed, record) in followed.iter().zip(&records) {
        let evidence = proof::Evidence { followed, faxes: &faxes, record: record.as_deref() };
        let sentences = proof::prove(&evidence, &place)?;
        if sentences.is_empty() {
            kept[usize::from(followed.case.promise == Promise::Held)] += 1;
        }
        missing.extend(sentences);
    }
    missing.extend(stage.surprises(&place, expected)?);
    tell_where(&place);
    conclude(kept, &missing)
}

/// All that stands around the bridge.
struct Stage {
    simulator: server::Running,
    mailbox: Mailbox,
    key: PrivateKey,
}

impl Stage {
    /// Starts provider and mailbox, and writes the bridge's configuration for them.
    async fn set(place: &Place) -> anyhow::Result<Stage> {
        let (token, webhook_key) = (random_hex()?, random_hex()?);
        let mut options = server::Options::new(place.provider(), &token, webhook_key.as_bytes());
        // What came out at the far end stays when the bridge has the provider's copy deleted: that is paper.
        options.keep = true;
        let simulator = server::serve(options).await.context("the simulated provider does not start")?;
        let mailbox = Mailbox::open(([127, 0, 0, 1], 0).into(), &place.mailbox()).await?;
        let key = clients::new_key()?;
        place.configure(&Fill {
            provider: &simulator.url(),
            relay: mailbox.address(),
            key: &key.public_key().to_openssh()?,
            token: &token,
            webhook_key: &webhook_key,
        })?;
        Ok(Stage { simulator, mailbox, key })
    }

    /// Hands over all six; returns the Message-IDs of the mails, empty for files.
    async fn send_all(&self, bridge: &Bridge, place: &Place, table: &Table) -> anyhow::Result<Vec<String>> {
        let mut message_ids = Vec::new();
        for case in &CASES {
            let paper = (case.paper)()?;
            message_ids.push(self.send(case, paper, bridge, place).await?);
            let pages = if case.pages == 1 { "1 page".to_owned() } else { format!("{} pages", case.pages) };
            let (state, how) = match case.way {
                Way::Mail { .. } => ("accepted", "250 over SMTP"),
                Way::Sftp { .. } => ("accepted", "closed over SFTP"),
                Way::Folder { .. } => ("dropped", "into the watched folder"),
            };
            table.line(case, state, &format!("{how}, a PDF of {pages}"));
        }
        Ok(message_ids)
    }

    async fn send(
        &self,
        case: &Case,
        paper: Vec<u8>,
        bridge: &Bridge,
        place: &Place,
    ) -> anyhow::Result<String> {
        match case.way {
            Way::Mail { to, subject, text, name } => {
                let id = format!("demo-{}-{:016x}@clinic.example", case.n, chance()?);
                let smtp = *bridge.addresses.smtp.first().context("the bridge does not listen for mail")?;
                let message_id = &format!("<{id}>");
                clients::send_mail(smtp, Mail { to, subject, text, message_id, attachment: (name, paper) })
                    .await?;
                return Ok(id);
            }
            Way::Sftp { file } => {
                self.sign_in(bridge, place).await?.put(&format!("in/{file}"), &paper).await?;
            }
            Way::Folder { file } => clients::drop_file(&place.scans(), file, &paper).await?,
        }
        Ok(String::new())
    }

    async fn sign_in(&self, bridge: &Bridge, place: &Place) -> anyhow::Result<Sftp> {
        let sftp = *bridge.addresses.sftp.first().context("the bridge does not listen for SFTP")?;
        Sftp::connect(sftp, SFTP_USER, &self.key, &place.data().join("ssh_host_ed25519_key")).await
    }

    /// Fetches the signed record of each: a drop's from where its sender would look for it.
    async fn records(
        &self,
        bridge: &Bridge,
        place: &Place,
        store: &Store,
        followed: &[Followed],
    ) -> anyhow::Result<Vec<Option<Vec<u8>>>> {
        let mut records = Vec::new();
        for followed in followed {
            let result = |file: &str| format!("results/{}.json", file.trim_end_matches(".pdf"));
            records.push(match (followed.case.way.file(), &followed.submission) {
                (Some((true, file)), _) => self.sign_in(bridge, place).await?.get(&result(file)).await?,
                (Some((false, file)), _) => tokio::fs::read(place.scans().join(result(file))).await.ok(),
                (None, Some(submission)) => store.receipt(submission.id).await?.map(String::into_bytes),
                (None, None) => None,
            });
        }
        Ok(records)
    }

    /// What happened besides, and should not have. `expected` sealed files belong to what is held.
    fn surprises(&self, place: &Place, expected: usize) -> anyhow::Result<Vec<String>> {
        let mut sentences: Vec<String> = self
            .simulator
            .violations()
            .into_iter()
            .map(|one| format!("The provider complains: {}.", one.what))
            .collect();
        let left = std::fs::read_dir(place.mailbox())?.count();
        if left > 0 {
            sentences.push(format!(
                "{left} mails came that nobody asked for; they lie in {}.",
                place.mailbox().display()
            ));
        }
        let sealed = proof::sealed_files(&place.data())?.len();
        if sealed != expected {
            sentences.push(format!("{sealed} sealed files lie in the spool, where {expected} are known."));
        }
        Ok(sentences)
    }
}

impl Way {
    /// The file that was dropped, and whether over SFTP.
    fn file(&self) -> Option<(bool, &'static str)> {
        match self {
            Way::Mail { .. } => None,
            Way::Sftp { file } => Some((true, file)),
            Way::Folder { file } => Some((false, file)),
        }
    }
}

fn introduce(bridge: &Bridge, stage: &Stage, recipients: usize) {
    let shown =
        |addresses: &[std::net::SocketAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    println!("faxbridge demo: all on this machine, nothing is really dialled.\n");
    println!(
        "  bridge     SMTP {}, SFTP {}, a watched folder",
        shown(&bridge.addresses.smtp),
        shown(&bridge.addresses.sftp)
    );
    println!("  provider   simulated, {}", stage.simulator.url());
    println!("  mailbox    for the receipts, {}", stage.mailbox.address());
    println!("  register   {recipients} verified numbers\n");
}

fn tell_where(place: &Place) {
    let out = place.named.display();
    println!("\n  {out}/faxed/      the PDFs that came out at the far end");
    println!("  {out}/covers/     a picture of each cover sheet");
    println!("  {out}/receipts/   receipts as mail, signed records as JSON");
    println!("  {out}/log.txt     what the bridge said\n");
}

/// The last line, or why there is none.
fn conclude([faxed, held]: [usize; 2], missing: &[String]) -> anyhow::Result<()> {
    let all = CASES.len();
    if missing.is_empty() {
        println!(
            "{} of {all} as promised: {faxed} faxed and proven, {held} held because nobody verified its number.",
            faxed + held
        );
        return Ok(());
    }
    for sentence in missing {
        println!("{sentence}");
    }
    bail!("{} of {all} as promised; what is missing stands above", faxed + held)
}

fn chance() -> anyhow::Result<u64> {
    job::chance().map_err(|_| anyhow::anyhow!("the system has no randomness"))
}

/// 32 random bytes in hex.
fn random_hex() -> anyhow::Result<String> {
    let mut text = String::new();
    for _ in 0..4 {
        text.push_str(&format!("{:016x}", chance()?));
    }
    Ok(text)
}
