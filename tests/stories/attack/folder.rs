//! Strangers who may write to a watched folder: a second user of the system, who knows the code.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Stage, clients, documents};

const NUMBER: &str = "+12125550199";
const NOBODY: u32 = 65534;
/// The user that the daemon is in one of the stories, and the group of those who scan.
const DAEMON: u32 = 64_701;

const CONFIG: &str = r#"
[folder.scans]
path = "DIR/drop/scans"
sender = "scans"
scan = "200 ms"
quiet = "200 ms"
settle = "1 s"

[limits]
submission = "5 MB"

[[sender]]
name = "scans"
receipts_to = "desk@clinic.example"

[[rule]]
name = "scans by number"
source = "folder:scans"
file = "{serial}_{number}.pdf"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

/// The stage with the watched folder in this mode, root's as the daemon is.
async fn stage(mode: u32) -> Stage {
    let stage = Stage::new(CONFIG).await;
    std::fs::create_dir_all(stage.path("drop/scans")).unwrap();
    allow(&stage.path("drop/scans"), mode);
    stage.verified(&[("mercy", NUMBER)]).await;
    stage
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn name(serial: u32) -> String {
    format!("{serial}_{NUMBER}.pdf")
}

fn scan(stage: &Stage, serial: u32) {
    let pdf = documents::pdf(&format!("scan {serial}"), 1);
    std::fs::write(stage.path("drop/scans").join(name(serial)), pdf).unwrap();
}

/// The records of the result files in `folder`.
fn results(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let plain = entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file());
    let read = |path: &Path| serde_json::from_slice::<Value>(&std::fs::read(path).ok()?).ok();
    plain.filter_map(|entry| Some(read(&entry.path())?["receipt"].clone())).collect()
}

async fn result(stage: &Stage, name: &str) -> Value {
    let folder = stage.path("drop/scans/results");
    let found = async || results(&folder).into_iter().find(|record| record["file"]["name"] == name);
    stage.until(&format!("a result about {name}"), found).await
}

/// All files below, with size and inode: what must be the same after an attack.
fn inventory(folder: &Path) -> Vec<(String, u64, u64)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = path.symlink_metadata().unwrap();
            if facts.is_dir() {
                folders.push(path);
            } else {
                all.push((path.display().to_string(), facts.len(), facts.ino()));
            }
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_strangers_can_exchange_is_refused_with_the_cure() {
    for (mode, drop, owner) in
        [(0o777, 0o755, 0), (0o770, 0o755, 0), (0o700, 0o777, 0), (0o755, 0o755, NOBODY)]
    {
        let mut stage = stage(mode).await;
        allow(&stage.path("drop"), drop);
        stage.hand_over(owner, &["drop/scans"]);
        let check = stage.command("check", &[]).await;
        let failed = stage.try_start(&[]).await.expect_err("it must not start");
        assert_eq!(
            (check.status.code(), failed.status.code()),
            (Some(2), Some(2)),
            "{mode:o} {drop:o} {owner}"
        );
        for said in [clients::said(&check), stage.log()] {
            assert!(said.contains("folder.scans.path") && said.contains("chmod 1770"), "{said}");
        }
        // The cure, as it is told.
        stage.hand_over(0, &["drop/scans"]);
        allow(&stage.path("drop"), 0o755);
        allow(&stage.path("drop/scans"), 0o1770);
        stage.start().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_place_of_our_folders_lead_nowhere() {
    // The sticky bit keeps strangers from renaming what is there; but they may be first.
    let mut stage = stage(0o1777).await;
    std::fs::create_dir(stage.path("other")).unwrap();
    std::fs::create_dir(stage.path("other/claimed")).unwrap();
    std::fs::write(stage.path("other/claimed").join(name(7)), documents::pdf("another department's", 1))
        .unwrap();
    let data = stage.path("data").display().to_string();
    let planted = format!(
        "ln -s {data} .faxbridge; ln -s ../../other results; ln -s ../../other refused; mkfifo {fifo}; \
         ln -s {data}/faxbridge.db {link}; ln -s ../../other {folder}; truncate -s 4T {giant}; \
         head -c 6000000 /dev/zero | tr '\\0' x > {large}",
        fifo = name(1),
        link = name(2),
        folder = name(3),
        giant = name(4),
        large = name(6),
    );
    let done = stage.stranger("drop/scans", &planted).await;
    assert!(done.status.success(), "{}", clients::said(&done));
    let before = inventory(&stage.path("other"));
    stage.start().await;
    scan(&stage, 5);
    stage.until("the scan is faxed all the same", async || stage.delivered(NUMBER).first().cloned()).await;
    stage.until("the alarm", async || stage.log().contains("alarm results.scans").then_some(())).await;
    assert_eq!(inventory(&stage.path("other")), before, "nothing came, nothing went, nothing was faxed");
    assert_eq!(stage.delivered(NUMBER).len(), 1);
    // Without the link the results come, the one about each of them too; and mails came meanwhile.
    let done = stage.stranger("drop/scans", "rm results refused").await;
    assert!(done.status.success(), "{}", clients::said(&done));
    assert_eq!(result(&stage, &name(5)).await["state"], "delivered");
    for serial in [1, 2, 3, 4, 6] {
        assert_eq!(result(&stage, &name(serial)).await["state"], "failed");
    }
    stage.until("six mails", async || (stage.sink.letters().len() == 6).then_some(())).await;
    let aside = stage.path("drop/scans/refused").join(name(6));
    stage.until("what is too large is moved aside", async || aside.exists().then_some(())).await;
    assert_eq!(stage.daemon().stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_puts_into_results_stops_no_receipt_and_no_shutdown() {
    let mut stage = stage(0o1777).await;
    std::fs::create_dir(stage.path("drop/scans/results")).unwrap();
    allow(&stage.path("drop/scans/results"), 0o777);
    let planted = format!(
        "mkfifo 1_{NUMBER}.json; ln -s /dev/zero 2_{NUMBER}.json; truncate -s 4T 3_{NUMBER}.json; mkdir 4_{NUMBER}.json; \
         for n in $(seq 2 40); do mkfifo 4_{NUMBER}.$n.json; done"
    );
    let done = stage.stranger("drop/scans/results", &planted).await;
    assert!(done.status.success(), "{}", clients::said(&done));
    stage.start().await;
    for serial in 1..=5 {
        scan(&stage, serial);
    }
    for serial in 1..=5 {
        assert_eq!(result(&stage, &name(serial)).await["state"], "delivered");
    }
    stage.until("five mails", async || (stage.sink.letters().len() == 5).then_some(())).await;
    let began = Instant::now();
    stage.daemon().stop().await;
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_opened_to_strangers_while_it_is_watched_is_let_go() {
    let mut stage = stage(0o1777).await;
    stage.start().await;
    scan(&stage, 1);
    assert_eq!(result(&stage, &name(1)).await["state"], "delivered");
    allow(&stage.path("drop/scans"), 0o777);
    stage.until("the alarm", async || stage.log().contains("alarm folder.scans").then_some(())).await;
    // What the stranger could not do before.
    let data = stage.path("data").display().to_string();
    let exchanged = format!(
        "mv results taken; ln -s {data}/spool results; rm -rf .faxbridge; ln -s {data} .faxbridge; mkdir refused 2>/dev/null || true"
    );
    let done = stage.stranger("drop/scans", &exchanged).await;
    assert!(done.status.success(), "{}", clients::said(&done));
    scan(&stage, 2);
    let patience = Instant::now() + Duration::from_secs(3);
    stage.until("fifteen scans", async || (Instant::now() > patience).then_some(())).await;
    assert!(stage.path("drop/scans").join(name(2)).exists());
    assert!(stage.path("data/faxbridge.db").exists() && stage.path("data/spool/key-check").exists());
    // Closed again, and the links taken away by whoever runs this.
    let done = stage.stranger("drop/scans", "rm results .faxbridge").await;
    assert!(done.status.success());
    allow(&stage.path("drop/scans"), 0o1777);
    assert_eq!(result(&stage, &name(2)).await["state"], "delivered");
    stage
        .until("it is over", async || stage.log().contains("alarm folder.scans is over").then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scanners_of_a_group_drop_files_read_results_and_reach_no_more() {
    // As the README sets it up: the daemon has a user of its own, the writers share a group that it is not in.
    let mut stage = stage(0o3770).await;
    stage.hand_over(DAEMON, &["drop"]);
    std::os::unix::fs::chown(stage.path("drop/scans"), Some(DAEMON), Some(NOBODY)).unwrap();
    allow(&stage.path("drop/scans"), 0o3770);
    std::fs::create_dir(stage.path("scans")).unwrap();
    stage.start_as(DAEMON).await;
    let put = async |serial: u32| {
        std::fs::write(stage.path("scan.pdf"), documents::pdf(&format!("scan {serial}"), 1)).unwrap();
        let copied = stage.stranger("drop/scans", &format!("cat ../../scan.pdf > {}", name(serial))).await;
        assert!(copied.status.success(), "{}", clients::said(&copied));
    };
    put(1).await;
    assert_eq!(result(&stage, &name(1)).await["state"], "delivered");
    let read = stage.stranger("drop/scans", &format!("cat results/1_{NUMBER}.json")).await;
    assert!(read.status.success() && clients::said(&read).contains("delivered"), "the group reads it");
    let facts = stage.path("drop/scans/results").join(format!("1_{NUMBER}.json")).metadata().unwrap();
    assert_eq!((facts.mode() & 0o777, facts.gid()), (0o640, NOBODY), "and nobody else does");
    // A file that the group may not have is refused to the daemon too, and told of.
    let closed =
        stage.stranger("drop/scans", &format!("echo '%PDF-1.4 %%EOF' > {0}; chmod 000 {0}", name(2))).await;
    assert!(closed.status.success());
    let told = result(&stage, &name(2)).await;
    assert!(told["sentence"].as_str().unwrap().contains("cannot be moved or read"), "{told:#}");
    // Nothing of ours can be taken away, and nobody answers in our name.
    for script in [
        "mv results x".to_owned(),
        "rm -rf .faxbridge; ls ../../data".to_owned(),
        "cat ../../data/faxbridge.db".to_owned(),
        format!("mv results/1_{NUMBER}.json results/hidden"),
        format!("rm -f results/1_{NUMBER}.json"),
        format!("echo '{{}}' > results/3_{NUMBER}.json"),
    ] {
        assert!(!stage.stranger("drop/scans", &script).await.status.success(), "{script}");
    }
    put(3).await;
    assert_eq!(result(&stage, &name(3)).await["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_its_owner_keeps_locked_delays_no_other() {
    let mut stage = stage(0o1777).await;
    stage.start().await;
    // A lease: who opens the file has to wait until its holder lets go, or the system's patience ends.
    let locked = format!(
        "exec python3 -c \"import fcntl, os, signal, time\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\n\
         fd = os.open('1_{NUMBER}.pdf', os.O_CREAT | os.O_RDWR)\nos.write(fd, b'%PDF-1.4 %%EOF')\n\
         os.close(os.open('done', os.O_CREAT | os.O_WRONLY))\nfcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
         os.unlink('done')\ntime.sleep(60)\""
    );
    let mut holder = stage.stranger_at_work("drop/scans", &locked);
    let ready = stage.path("drop/scans").join(name(1));
    stage
        .until("the lease", async || {
            (ready.exists() && !stage.path("drop/scans/done").exists()).then_some(())
        })
        .await;
    for serial in 2..=4 {
        scan(&stage, serial);
    }
    let began = Instant::now();
    for serial in 2..=4 {
        assert_eq!(result(&stage, &name(serial)).await["state"], "delivered");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    holder.kill().await.unwrap();
    stage.until("the locked one", async || (!ready.exists()).then_some(())).await;
}
