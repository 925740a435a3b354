//! NSD with a root zone of its own: every name that is looked up is in here or does not exist.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A name server at work; it ends when dropped.
pub(crate) struct Dns {
    child: Child,
    port: u16,
}

impl Dns {
    /// Serves TXT records (name, text). A zone `broken.example` is configured and has no file: NSD answers SERVFAIL.
    pub(crate) fn start(folder: &Path, records: &[(&str, String)]) -> Dns {
        let mut zone = String::from(
            "$ORIGIN .\n$TTL 60\n@ SOA ns.invalid. hostmaster.invalid. 1 60 60 600 1\n@ NS ns.invalid.\nns.invalid. A 127.0.0.1\n",
        );
        for (name, text) in records {
            // A string of a TXT record has at most 255 bytes (RFC 1035, section 3.3).
            let strings: Vec<String> = text
                .as_bytes()
                .chunks(200)
                .map(|piece| format!("\"{}\"", std::str::from_utf8(piece).unwrap()))
                .collect();
            zone.push_str(&format!("{name}. TXT {}\n", strings.join(" ")));
        }
        std::fs::write(folder.join("root.zone"), zone).unwrap();
        let port = free_port();
        let at = folder.display();
        let config = format!(
            "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{at}\"\n  database: \"\"\n  \
             pidfile: \"\"\n  zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: \"{at}\"\n  \
             logfile: \"{at}/nsd.log\"\n  server-count: 1\n  rrl-ratelimit: 0\nremote-control:\n  control-enable: no\n\
             zone:\n  name: \".\"\n  zonefile: \"root.zone\"\nzone:\n  name: \"broken.example\"\n  zonefile: \"missing.zone\"\n"
        );
        std::fs::write(folder.join("nsd.conf"), config).unwrap();
        let child = Command::new("/usr/sbin/nsd")
            .arg("-d")
            .arg("-c")
            .arg(folder.join("nsd.conf"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nsd is installed");
        let dns = Dns { child, port };
        dns.answers(folder);
        dns
    }

    /// Its address, as the configuration wants it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until the root's SOA is told.
    fn answers(&self, folder: &Path) {
        let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
        asker.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let question = [0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut answer = [0; 512];
        loop {
            let _ = asker.send_to(&question, ("127.0.0.1", self.port));
            // Byte 3 ends with the response code; 0 is "no error".
            if asker.recv(&mut answer).is_ok_and(|_| answer[3] & 0x0f == 0) {
                return;
            }
            let log = std::fs::read_to_string(folder.join("nsd.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nsd does not answer; its log:\n{log}");
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        // Asked, not killed: it has children that it must end itself.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
