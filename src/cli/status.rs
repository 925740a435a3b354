//! `faxbridge status`: whether all is well, and how much waits where.
//!
//! It reads what the daemon keeps in the database, and changes nothing. Exit status 0 where all is well, 1 where an alarm is
//! open or no daemon runs.

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::config::{Config, Loaded};
use faxbridge::store::{AlarmRow, Backlog, Backlogs, ProviderRow};
use faxbridge::text::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::listing::{Table, Times, count, plain, print, say};
use super::{ConfigFile, daemon_runs, load, look_at_store, provider};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// All as one JSON object
    #[arg(long)]
    json: bool,
}

/// How it stands.
struct Status {
    running: bool,
    /// Open ones.
    alarms: Vec<AlarmRow>,
    queues: Backlogs,
    providers: Vec<ProviderRow>,
    /// Configured ones, and when each was last looked through.
    mailboxes: Vec<(String, Option<Timestamp>)>,
    /// Bytes that are free where documents are kept; `None` where that cannot be asked.
    free: Option<u64>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let loaded = load(&arguments.file.config)?;
    let status = ask(&loaded).await?;
    if arguments.json {
        say(as_json(&status, &loaded.config))?;
    } else {
        print(as_text(&status, &loaded.config, SystemClock.now()))?;
    }
    match (status.running, status.alarms.len()) {
        (true, 0) => Ok(()),
        (false, _) => anyhow::bail!("no daemon is running on {}", loaded.config.store.data_dir.display()),
        (true, 1) => anyhow::bail!("1 alarm is open"),
        (true, n) => anyhow::bail!("{n} alarms are open"),
    }
}

async fn ask(loaded: &Loaded) -> anyhow::Result<Status> {
    let config = &loaded.config;
    let dir = &config.store.data_dir;
    let store = look_at_store(dir).await?;
    let mut alarms = store.alarms().await?;
    alarms.retain(|alarm| alarm.over_at.is_none());
    let looks = store.mailbox_looks().await?;
    let look = |name: &String| looks.iter().find(|(other, _)| other == name).and_then(|(_, at)| *at);
    Ok(Status {
        running: daemon_runs(dir),
        alarms,
        queues: store.queues().await?,
        providers: store.providers().await?,
        mailboxes: config.imap.keys().map(|name| (name.clone(), look(name))).collect(),
        free: rustix::fs::statvfs(dir).ok().map(|facts| facts.f_bavail.saturating_mul(facts.f_frsize)),
    })
}

fn queues(queues: &Backlogs) -> [(&'static str, &'static str, Backlog); 5] {
    [
        ("unprepared", "accepted, not yet opened", queues.unprepared),
        ("queued", "waiting to be sent", queues.queued),
        ("in_hand", "with a provider", queues.in_hand),
        ("held", "held for a person", queues.held),
        ("outbox", "answers that have not left", queues.outbox),
    ]
}

fn as_json(status: &Status, config: &Config) -> Value {
    let alarm = |row: &AlarmRow| json!({"alarm": named(row), "kind": row.kind, "name": row.name, "since": row.since.to_string(), "cause": row.cause});
    let queue =
        |queue: Backlog| json!({"count": queue.count, "oldest": queue.oldest.map(|at| at.to_string())});
    let waiting: serde_json::Map<String, Value> =
        queues(&status.queues).into_iter().map(|(key, _, each)| (key.to_owned(), queue(each))).collect();
    let mailbox = |(name, at): &(String, Option<Timestamp>)| json!({"mailbox": name, "looked_at": at.map(|at| at.to_string())});
    json!({
        "fine": status.running && status.alarms.is_empty(),
        "running": status.running,
        "alarms": status.alarms.iter().map(alarm).collect::<Vec<_>>(),
        "queues": waiting,
        "providers": status.providers.iter().map(|row| provider::as_json(row, config)).collect::<Vec<_>>(),
        "mailboxes": status.mailboxes.iter().map(mailbox).collect::<Vec<_>>(),
        "disk": {"free": status.free, "reserve": config.limits.disk_reserve.get()},
    })
}

fn named(row: &AlarmRow) -> String {
    match &row.name {
        Some(name) => format!("{}.{name}", row.kind),
        None => row.kind.clone(),
    }
}

fn as_text(status: &Status, config: &Config, now: Timestamp) -> String {
    let times = Times::of(config);
    let runs = if status.running { "A daemon is running" } else { "No daemon is running" };
    let mut text = format!("{runs} on {}.\n\n", config.store.data_dir.display());
    if status.alarms.is_empty() {
        text.push_str("No alarm is open.\n");
    }
    // A cause is a sentence: in a table it would be a line without end.
    for row in &status.alarms {
        let (name, cause) = (plain(&named(row)), plain(&row.cause));
        text.push_str(&format!("ALARM {name}, since {}:\n    {cause}\n", times.full(row.since)));
    }
    let mut waiting = Table::new(&["QUEUE", "NUMBER", "OLDEST"]);
    for (_, words, queue) in queues(&status.queues) {
        let oldest = queue.oldest.map_or(String::new(), |at| age(now, at));
        waiting.row([words.to_owned(), queue.count.to_string(), oldest]);
    }
    text.push_str(&format!("\n{waiting}"));
    if !status.providers.is_empty() {
        text.push_str(&format!("\n{}", provider::table(&status.providers, config)));
    }
    if !status.mailboxes.is_empty() {
        let mut mailboxes = Table::new(&["MAILBOX", "LAST LOOKED THROUGH"]);
        for (name, at) in &status.mailboxes {
            mailboxes.row([name.clone(), at.map_or("never".to_owned(), |at| times.full(at))]);
        }
        text.push_str(&format!("\n{mailboxes}"));
    }
    let free = status.free.map_or("unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    text.push_str(&format!(
        "\nDisk: {free} free; mails and files are taken down to {}.\n",
        config.limits.disk_reserve
    ));
    text
}

/// How long ago `at` was, in the largest unit that is whole.
fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = usize::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    match seconds {
        0..120 => count(seconds, "second"),
        120..7_200 => count(seconds / 60, "minute"),
        7_200..172_800 => count(seconds / 3_600, "hour"),
        _ => count(seconds / 86_400, "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_json_is_what_people_read() {
        let demo = faxbridge::config::DEMO;
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGV4YW1wbGUgb25seTogcHV0IHlvdXIga2V5IGhlcmUh billing@ledger";
        let text = demo
            .replace("DEMO_DIR", "/nowhere")
            .replace("DEMO_KEY", key)
            .replace("DEMO_PROVIDER", "http://127.0.0.1:9")
            .replace("DEMO_RELAY", "127.0.0.1:9");
        let loaded = faxbridge::config::parse(&text, "demo").unwrap();
        let since = Timestamp::from_second(1_796_000_000).unwrap();
        let empty = Backlog { count: 0, oldest: None };
        let status = Status {
            running: true,
            alarms: vec![AlarmRow {
                kind: "provider".into(),
                name: Some("main".into()),
                cause: "the token is refused\u{1b}[2J".into(),
                since,
                over_at: None,
                mails: String::new(),
            }],
            queues: Backlogs {
                unprepared: Backlog { count: 3, oldest: Some(since) },
                queued: empty,
                in_hand: empty,
                held: empty,
                outbox: empty,
            },
            providers: Vec::new(),
            mailboxes: vec![("records".into(), None)],
            free: Some(5_000_000),
        };
        let text = as_text(&status, &loaded.config, since + jiff::SignedDuration::from_mins(3));
        for part in [
            "A daemon is running on /nowhere",
            "ALARM provider.main, since 2026-11-29 19:53 EST:",
            "    the token is refused [2J\n",
            "accepted, not yet opened    3       3 minutes\n",
            "waiting to be sent          0\n",
            "records  never\n",
            "Disk: 5 MB free",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let json = as_json(&status, &loaded.config);
        assert_eq!(json["fine"], false);
        assert_eq!(json["alarms"][0]["alarm"], "provider.main");
        assert_eq!(json["queues"]["unprepared"], json!({"count": 3, "oldest": since.to_string()}));
        assert_eq!(json["mailboxes"][0], json!({"mailbox": "records", "looked_at": null}));
        assert_eq!(json["disk"]["free"], 5_000_000);
    }
}
