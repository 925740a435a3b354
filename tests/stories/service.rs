//! The daemon as systemd sees it: ready when it listens, alive as long as it says so, reloaded, stopped.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UnixDatagram};

use crate::support::{Clinic, Stage};

fn clinic() -> Clinic {
    Clinic::new().mail().with("smtp.hostname = \"first.clinic.example\"").by_name()
}

/// What the daemon says to systemd next, of what begins with `wanted`.
async fn said(systemd: &UnixDatagram, wanted: &str) -> bool {
    let mut buffer = [0; 4096];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(30), systemd.recv(&mut buffer)).await;
        let length = read.unwrap_or_else(|_| panic!("systemd was not told {wanted}")).unwrap();
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
            return true;
        }
    }
}

/// The first line of a session.
async fn greeting(address: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(address).await.ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.ok()?;
    Some(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_it_is_ready_that_it_lives_and_when_it_stops() {
    let mut stage = Stage::new(&clinic()).await;
    let socket = stage.path("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", socket.to_str().unwrap().to_owned()),
        // Half of this is the pause between two signs of life.
        ("WATCHDOG_USEC", "200000".to_owned()),
    ];
    stage.spawn(&environment);
    assert!(said(&systemd, "READY=1").await);
    stage.daemon().listening().await.unwrap();
    assert!(
        greeting(stage.smtp()).await.is_some_and(|line| line.starts_with("220 ")),
        "ready means that it listens"
    );
    assert!(said(&systemd, "WATCHDOG=1").await);
    assert!(said(&systemd, "WATCHDOG=1").await);
    assert!(stage.daemon().stop().await.success());
    assert!(said(&systemd, "STOPPING=1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_is_taken_while_it_runs_and_a_bad_one_changes_nothing() {
    let mut stage = clinic().open().await;
    let first = stage.smtp();

    stage.configure(clinic().without("smtp.hostname").with("smtp.hostnam = \"first.clinic.example\""));
    stage.daemon().hang_up();
    stage.logged("hostnam: unknown key").await;
    assert!(greeting(first).await.unwrap().contains("first.clinic.example"));

    // The port stays the same, so that the new daemon is found where the old one was.
    let good = format!("[smtp]\nhostname = \"second.clinic.example\"\nlisten = [\"{first}\"]");
    stage.configure(clinic().with(&good));
    stage.daemon().hang_up();
    let taken = async || greeting(first).await.filter(|line| line.contains("second.clinic.example"));
    stage.until("the good configuration is taken", taken).await;
    assert!(stage.daemon().stop().await.success());
}

/// How often the threads of the process `pid` have waited for something.
fn waits(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let count = |status: String| {
        let line =
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:").map(str::to_owned));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    status.map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_with_nothing_to_do_hardly_wakes() {
    let mut stage = clinic().open().await;
    let pid = stage.daemon().pid();
    // What a start leaves to be done is done.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = waits(pid);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let woken = waits(pid) - before;
    // Two looks a second for what the command line committed, one at the clock, one at the disk every other second; each wakes a
    // thread or two. Naps of two seconds and less in each part came to more than a thousand.
    assert!(woken < 300, "{woken} times in ten seconds");
    assert!(stage.daemon().stop().await.success());
}
