//! The daemon as systemd sees it: ready when it listens, alive as long as it says so, reloaded, stopped.
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UnixDatagram};

use crate::support::Stage;

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "first.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"
"#;

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

fn hang_up(stage: &mut Stage) {
    let pid = Pid::from_raw(stage.daemon().pid().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_it_is_ready_that_it_lives_and_when_it_stops() {
    let mut stage = Stage::new(CONFIG).await;
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
    let mut stage = Stage::new(CONFIG).await;
    stage.start().await;
    let first = stage.smtp();
    let base = crate::support::stage::BASE;

    stage.configure(&format!("{base}{}", CONFIG.replace("hostname", "hostnam")));
    hang_up(&mut stage);
    let refused = async || stage.log().contains("hostnam: unknown key").then_some(());
    stage.until("the bad configuration is refused", refused).await;
    assert!(greeting(first).await.unwrap().contains("first.clinic.example"));

    // The port stays the same, so that the new daemon is found where the old one was.
    let good = CONFIG.replace("first.clinic", "second.clinic").replace("127.0.0.1:0", &first.to_string());
    stage.configure(&format!("{base}{good}"));
    hang_up(&mut stage);
    let taken = async || greeting(first).await.filter(|line| line.contains("second.clinic.example"));
    stage.until("the good configuration is taken", taken).await;
    assert!(stage.daemon().stop().await.success());
}
