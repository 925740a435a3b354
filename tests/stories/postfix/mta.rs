//! A Postfix as the stories see it: started from a folder of its own, on loopback and a free port.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

const PROGRAMS: &str = "/usr/lib/postfix/sbin";
/// How long its start may take.
const START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What is the same in each. It tries again every second.
const MAIN: &str = "
compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = DIR
maillog_file = DIR/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.clinic.example
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost =
default_transport = error:nowhere else
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtp_destination_concurrency_failed_cohort_limit = 0
lmtp_destination_concurrency_failed_cohort_limit = 0
smtputf8_enable = yes
";

const MASTER: &str = "
127.0.0.1:PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// A running one; it ends when dropped.
pub(crate) struct Postfix {
    /// Where it takes mail.
    pub(crate) address: SocketAddr,
    master: Child,
    // Last: the folder goes when what uses it is gone.
    dir: TempDir,
}

impl Postfix {
    /// Starts one with `config` behind what all have.
    pub(crate) async fn start(config: &str) -> Postfix {
        let dir = tempfile::Builder::new().prefix("faxbridge-postfix-").tempdir().unwrap();
        let at = dir.path();
        // Its parts run as another user.
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["queue", "data", "config"] {
            std::fs::create_dir(at.join(folder)).unwrap();
        }
        let address = free_address();
        let main = format!("{MAIN}{config}").replace("DIR", at.to_str().unwrap());
        std::fs::write(at.join("config/main.cf"), main).unwrap();
        std::fs::write(at.join("config/master.cf"), MASTER.replace("PORT", &address.port().to_string()))
            .unwrap();
        let owned = Command::new("chown").arg("postfix").arg(at.join("data")).status().await.unwrap();
        assert!(owned.success(), "root, and Debian's package postfix, are needed");
        // Makes the folders of the queue.
        let checked =
            Command::new("/usr/sbin/postfix").arg("-c").arg(at.join("config")).arg("check").output().await;
        let checked = checked.expect("postfix is installed");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let master = Command::new(Path::new(PROGRAMS).join("master"))
            .args(["-d", "-c"])
            .arg(at.join("config"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let postfix = Postfix { address, master, dir };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            assert!(Instant::now() < deadline, "Postfix does not listen:\n{}", postfix.log());
            tokio::time::sleep(PAUSE).await;
        }
        postfix
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// How many mails wait in it.
    pub(crate) async fn waiting(&self) -> usize {
        let queue = Command::new("/usr/sbin/postqueue")
            .arg("-c")
            .arg(self.config())
            .arg("-j")
            .output()
            .await
            .expect("postfix is installed");
        String::from_utf8_lossy(&queue.stdout).lines().count()
    }

    /// Stops it, and waits until all its parts have ended.
    pub(crate) async fn stop(mut self) {
        let pid = self.master.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.master.wait().await.unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }
}

/// An address where nobody listens at present.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
