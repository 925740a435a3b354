//! A real Dovecot with a folder, ports and certificate of its own; ended with the story.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::support::{certificate, port};

/// The one mailbox.
pub(crate) const USER: &str = "fax@clinic.example";
/// Its password, and everybody else's.
pub(crate) const PASSWORD: &str = "open-sesame";

const CONFIG: &str = r#"
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/dovecot.log
instance_name = INSTANCE
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login xoauth2 oauthbearer
auth_failure_delay = 0
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
service imap-login {
  inet_listener imap {
    port = IMAP_PORT
  }
  inet_listener imaps {
    port = IMAPS_PORT
    ssl = yes
  }
}
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = DIR/oauth2.conf
}
passdb {
  driver = static
  args = password=PASSWORD
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=DIR/mail/%u
}
"#;

const INTROSPECTION: &str = "introspection_mode = post\nintrospection_url = URL\nusername_attribute = username\n\
    active_attribute = active\nactive_value = true\n";

/// See the module.
pub(crate) struct Dovecot {
    child: Child,
    /// Without TLS, or with STARTTLS.
    pub(crate) port: u16,
    /// With TLS from the first byte.
    pub(crate) tls_port: u16,
    dir: TempDir,
}

impl Dovecot {
    /// Starts it with `more` in its configuration. Access tokens are asked about at `introspection`.
    pub(crate) async fn start(more: &str, introspection: &str) -> Dovecot {
        let dir = tempfile::Builder::new().prefix("faxbridge-dovecot-").tempdir().unwrap();
        // Its processes have a user of their own.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mail = dir.path().join("mail");
        std::fs::create_dir(&mail).unwrap();
        std::fs::set_permissions(&mail, std::fs::Permissions::from_mode(0o777)).unwrap();
        make_certificate(&dir);
        let (port, tls_port) = (port::free(), port::free());
        let at = dir.path().to_str().unwrap();
        let text = format!("{CONFIG}{more}")
            .replace("PASSWORD", PASSWORD)
            .replace("IMAPS_PORT", &tls_port.to_string())
            .replace("IMAP_PORT", &port.to_string())
            .replace("INSTANCE", dir.path().file_name().unwrap().to_str().unwrap())
            .replace("DIR", at);
        std::fs::write(dir.path().join("dovecot.conf"), text).unwrap();
        // It does not start without an address, whether anybody has a token or not.
        let introspection = if introspection.is_empty() { "http://127.0.0.1:1/" } else { introspection };
        std::fs::write(dir.path().join("oauth2.conf"), INTROSPECTION.replace("URL", introspection)).unwrap();
        let child = Command::new("/usr/sbin/dovecot")
            .args(["-F", "-c"])
            .arg(dir.path().join("dovecot.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("dovecot-core is installed");
        let dovecot = Dovecot { child, port, tls_port, dir };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(("127.0.0.1", tls_port)).await.is_ok() {
                return dovecot;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("dovecot does not listen; its log:\n{}", dovecot.log());
    }

    /// The certificate of the authority that its own is of: itself.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default()
    }

    /// Puts `mail` into `folder`, as its delivery agent does.
    pub(crate) async fn deliver(&self, folder: &str, mail: &[u8]) {
        let mut child =
            self.doveadm(&["save", "-u", USER, "-m", folder]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(mail).await.unwrap();
        assert!(child.wait().await.unwrap().success(), "a mail could not be delivered:\n{}", self.log());
    }

    /// Message-IDs of the mails in `folder`, in order; none where there is no such folder.
    pub(crate) async fn mails(&self, folder: &str) -> Vec<String> {
        let output = self.run(&["-f", "tab", "fetch", "-u", USER, "hdr.message-id", "mailbox", folder]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    /// Flags of the first mail in `folder`.
    pub(crate) async fn flags(&self, folder: &str) -> String {
        let output = self.run(&["-f", "tab", "fetch", "-u", USER, "flags", "mailbox", folder]).await;
        String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap_or_default().to_owned()
    }

    /// Gives `folder` another UIDVALIDITY.
    pub(crate) async fn change_uidvalidity(&self, folder: &str, uidvalidity: u32) {
        let number = uidvalidity.to_string();
        let done = self.run(&["mailbox", "update", "-u", USER, "--uid-validity", &number, folder]).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Makes a folder as a person does.
    pub(crate) async fn make(&self, folder: &str) {
        assert!(self.run(&["mailbox", "create", "-u", USER, folder]).await.status.success());
    }

    /// Cuts every connection off.
    pub(crate) async fn kick(&self) {
        self.run(&["kick", USER]).await;
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.doveadm(arguments).output().await.expect("doveadm is installed")
    }

    fn doveadm(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/doveadm");
        command.arg("-c").arg(self.dir.path().join("dovecot.conf")).args(arguments).stderr(Stdio::piped());
        command
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master takes its children with it only when it is asked to.
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            for _ in 0..200 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn make_certificate(dir: &TempDir) {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    certificate::make(&certificate, &key, "30", "IP:127.0.0.1", certificate::LEAF);
}
