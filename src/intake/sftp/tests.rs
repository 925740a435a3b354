//! A real client (russh) against the real server on loopback, with a real intake behind it.

use std::sync::Arc;

use russh::client;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::extensions::HardlinkExtension;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::intake::Source;
use crate::intake::testing::Rig;

const NEW: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE).union(OpenFlags::TRUNCATE);

struct TestServer {
    rig: Rig,
    key: PrivateKey,
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

struct Client {
    sftp: RawSftpSession,
    ssh: client::Handle<Trusting>,
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl TestServer {
    async fn start() -> TestServer {
        TestServer::start_with("").await
    }

    async fn start_with(limits: &str) -> TestServer {
        let key = hostkey::load_or_make(&tempfile::tempdir().unwrap().path().join("user")).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        let rig = Rig::new(&format!(
            "[sftp]\nlisten = []\n{limits}\n[[sender]]\nname = \"Billing\"\nsftp_user = \"billing\"\n\
             sftp_keys = [\"ssh-rsa broken\", \"{public}\"]\n[[sender]]\nname = \"Claims\"\nsftp_user = \"claims\"\n\
             sftp_keys = [\"{public}\"]\n"
        ))
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let host_key = hostkey::load_or_make(&rig.path().join("host_key")).unwrap();
        let config = rig.intake.config().sftp.clone().unwrap();
        let shelves = Arc::default();
        let serving = tokio::spawn(serve(listener, config, host_key, rig.intake.clone(), shelves, stopping));
        TestServer { rig, key, address, stop, serving }
    }

    async fn sign_in(&self, user: &str, key: &PrivateKey) -> Option<client::Handle<Trusting>> {
        let mut ssh = client::connect(Arc::default(), self.address, Trusting).await.ok()?;
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        ssh.authenticate_publickey(user, key).await.unwrap().success().then_some(ssh)
    }

    async fn client(&self, user: &str) -> Client {
        let ssh = self.sign_in(user, &self.key).await.unwrap();
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let sftp = RawSftpSession::new(channel.into_stream());
        sftp.init().await.unwrap();
        Client { sftp, ssh }
    }

    /// Stops the server and waits until all it had to do is done.
    async fn stop(self) -> Rig {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
        self.rig
    }
}

impl Client {
    async fn put(&self, path: &str, body: &[u8]) -> Result<(), Error> {
        let handle = self.sftp.open(path, NEW, FileAttributes::empty()).await?.handle;
        for (number, part) in body.chunks(32 << 10).enumerate() {
            self.sftp.write(&handle, (number * (32 << 10)) as u64, part.to_vec()).await?;
        }
        self.sftp.close(handle).await.map(drop)
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let handle = self.sftp.opendir(path).await.unwrap().handle;
        let mut names = Vec::new();
        while let Ok(more) = self.sftp.readdir(&handle).await {
            names.extend(more.files.into_iter().map(|file| file.filename));
        }
        self.sftp.close(handle).await.unwrap();
        names.retain(|name| name != "." && name != "..");
        names
    }

    async fn size(&self, path: &str) -> Option<u64> {
        self.sftp.stat(path).await.ok().and_then(|found| found.attrs.size)
    }

    async fn posix_rename(&self, from: &str, to: &str) -> Packet {
        let paths = HardlinkExtension { oldpath: from.into(), newpath: to.into() };
        self.sftp.extended("posix-rename@openssh.com", paths.try_into().unwrap()).await.unwrap()
    }
}

fn billing() -> Source {
    Source::Sftp("billing".into())
}

/// The code and sentence of a refusal.
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> (StatusCode, String) {
    match answer {
        Err(Error::Status(status)) => (status.status_code, status.error_message),
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn an_upload_counts_when_it_is_closed_and_stays_visible() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    let body = vec![7; 100_000];
    client.put("in/1_+12125550199.pdf", &body).await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await, [("1_+12125550199.pdf".into(), body.clone())]);
    assert_eq!(client.size("/in/1_+12125550199.pdf").await, Some(100_000));
    assert_eq!(client.names("/in").await, ["1_+12125550199.pdf"]);
    assert_eq!(client.names("/").await, ["in", "results"]);
    // The same again is the same.
    client.put("/in/1_+12125550199.pdf", &body).await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await.len(), 1);
    // What clients do after an upload.
    let mtime = FileAttributes { mtime: Some(1), atime: Some(1), ..FileAttributes::empty() };
    client.sftp.setstat("/in/1_+12125550199.pdf", mtime).await.unwrap();
    assert_eq!(refused(client.sftp.remove("/in/1_+12125550199.pdf").await).0, StatusCode::PermissionDenied);
    assert_eq!(
        refused(client.sftp.rename("/in/1_+12125550199.pdf", "/in/b.pdf").await).0,
        StatusCode::PermissionDenied
    );
    let read = client.sftp.open("/in/1_+12125550199.pdf", OpenFlags::READ, FileAttributes::empty()).await;
    assert_eq!(refused(read).0, StatusCode::PermissionDenied);
    // Another user sees nothing of it.
    let other = server.client("claims").await;
    assert_eq!(other.names("/in").await, Vec::<String>::new());
    assert_eq!(other.size("/in/1_+12125550199.pdf").await, None);
}

#[tokio::test]
async fn a_temporary_name_counts_when_it_is_renamed() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    for name in ["a.pdf.part", ".b.pdf", "c.pdf.1f2e3d4c.partial"] {
        client.put(&format!("/in/{name}"), b"%PDF-").await.unwrap();
        assert_eq!(client.size(&format!("/in/{name}")).await, Some(5));
    }
    assert_eq!(server.rig.accepted(billing()).await, []);
    client.sftp.rename("/in/a.pdf.part", "/in/a.pdf").await.unwrap();
    // Over another connection, as rclone may do.
    let second = server.client("billing").await;
    assert!(
        matches!(second.posix_rename("/in/.b.pdf", "/in/b.tmp").await, Packet::Status(status) if status.status_code == StatusCode::Ok)
    );
    assert_eq!(server.rig.accepted(billing()).await.len(), 1);
    assert!(
        matches!(second.posix_rename("/in/b.tmp", "/in/b.pdf").await, Packet::Status(status) if status.status_code == StatusCode::Ok)
    );
    client.sftp.remove("/in/c.pdf.1f2e3d4c.partial").await.unwrap();
    assert_eq!(refused(client.sftp.remove("/in/c.pdf.1f2e3d4c.partial").await).0, StatusCode::NoSuchFile);
    let names: Vec<String> = server.rig.accepted(billing()).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a.pdf", "b.pdf"]);
    assert_eq!(client.names("/in").await, ["a.pdf", "b.pdf"]);
}

#[tokio::test]
async fn a_dropped_connection_leaves_nothing() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    let handle = client.sftp.open("/in/a.pdf", NEW, FileAttributes::empty()).await.unwrap().handle;
    // More than two blocks of the spool, the second of which waits for the first.
    for nth in 0..7 {
        client.sftp.write(&handle, nth * 32_000, vec![1; 32_000]).await.unwrap();
    }
    client.put("/in/b.pdf.part", b"%PDF-").await.unwrap();
    assert_eq!(server.rig.spool.list().unwrap().len(), 1, "what is small is still in memory");
    drop(client.sftp);
    client.ssh.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    drop(client.ssh);
    let rig = server.stop().await;
    assert_eq!(rig.accepted(billing()).await, []);
    // A block that is being written ends first, on a thread of its own.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !rig.spool.list().unwrap().is_empty() && std::time::Instant::now() < limit {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.spool.list().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_server_waits_for_an_upload_when_it_stops() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    let handle = client.sftp.open("/in/a.pdf", NEW, FileAttributes::empty()).await.unwrap().handle;
    client.sftp.write(&handle, 0, b"%PDF-".to_vec()).await.unwrap();
    server.stop.send(true).unwrap();
    client.sftp.write(&handle, 5, b"1.4".to_vec()).await.unwrap();
    client.sftp.close(handle).await.unwrap();
    server.serving.await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await, [("a.pdf".into(), b"%PDF-1.4".to_vec())]);
}

#[tokio::test]
async fn there_is_no_way_out_of_the_tree() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    use StatusCode::{Failure, NoSuchFile, OpUnsupported, PermissionDenied};
    let writes = [
        ("/etc/cron.d/x", PermissionDenied),
        ("../../../tmp/x.pdf", PermissionDenied),
        ("/in/../../tmp/x.pdf", PermissionDenied),
        ("/in/sub/x.pdf", PermissionDenied),
        ("/x.pdf", PermissionDenied),
        ("/results/x.json", PermissionDenied),
        ("/in", Failure),
        ("/", Failure),
        ("/in/a\0b.pdf", Failure),
        ("/in/a\nb.pdf", Failure),
        ("/in/\u{fffd}.pdf", Failure),
    ];
    for (path, code) in writes {
        assert_eq!(refused(client.sftp.open(path, NEW, FileAttributes::empty()).await).0, code, "{path:?}");
    }
    for path in ["/etc/passwd", "../../etc/passwd", "/in/../../etc/passwd", "/in/x.pdf", "/results/x"] {
        let read = client.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await;
        assert_eq!(refused(read).0, NoSuchFile, "{path}");
        assert_eq!(refused(client.sftp.lstat(path).await).0, NoSuchFile, "{path}");
        assert_eq!(refused(client.sftp.opendir(path).await).0, NoSuchFile, "{path}");
        assert_eq!(refused(client.sftp.remove(path).await).0, NoSuchFile, "{path}");
    }
    assert_eq!(refused(client.sftp.symlink("/in/l", "/etc/passwd").await).0, OpUnsupported);
    assert_eq!(refused(client.sftp.readlink("/in").await).0, OpUnsupported);
    assert_eq!(refused(client.sftp.hardlink("/in/x.pdf", "/in/y.pdf").await).0, OpUnsupported);
    assert_eq!(refused(client.sftp.mkdir("/in/sub", FileAttributes::empty()).await).0, PermissionDenied);
    assert_eq!(refused(client.sftp.rmdir("/in").await).0, PermissionDenied);
    client.put("/in/a.tmp", b"x").await.unwrap();
    assert_eq!(refused(client.sftp.rename("/in/a.tmp", "/etc/a.pdf").await).0, PermissionDenied);
    assert_eq!(refused(client.sftp.rename("/in/a.tmp", "/results/a.pdf").await).0, PermissionDenied);
    assert_eq!(client.sftp.realpath("../../etc").await.unwrap().files[0].filename, "/etc");
    assert_eq!(server.rig.accepted(billing()).await, []);
}

#[tokio::test]
async fn writes_come_in_order_or_nearly() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    let open = async |name: &str, flags| client.sftp.open(name, flags, FileAttributes::empty()).await;
    // Overtaken within the window.
    let handle = open("/in/near.pdf", NEW).await.unwrap().handle;
    for (offset, part) in [(2, "cd"), (6, "gh"), (0, "ab"), (4, "ef")] {
        client.sftp.write(&handle, offset, part.into()).await.unwrap();
    }
    client.sftp.close(handle).await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await[0].1, b"abcdefgh");
    // A gap.
    let handle = open("/in/gap.pdf", NEW).await.unwrap().handle;
    client.sftp.write(&handle, 2, "cd".into()).await.unwrap();
    assert!(refused(client.sftp.close(handle).await).1.contains("gap"));
    // Back to what came already: refused at once, and at the close.
    let handle = open("/in/back.pdf", NEW).await.unwrap().handle;
    client.sftp.write(&handle, 0, "ab".into()).await.unwrap();
    assert!(refused(client.sftp.write(&handle, 0, "x".into()).await).1.contains("whole file"));
    assert!(refused(client.sftp.close(handle).await).1.contains("whole file"));
    // Too far ahead.
    let handle = open("/in/far.pdf", NEW).await.unwrap().handle;
    for offset in 0..20 {
        let written = client.sftp.write(&handle, 1 + offset * 240_000, vec![0; 240_000]).await;
        assert_eq!(written.is_ok(), offset < 17, "{offset}");
    }
    assert!(refused(client.sftp.close(handle).await).1.contains("out of order"));
    // Resumed, appended, empty.
    assert_eq!(refused(open("/in/near.pdf", OpenFlags::WRITE).await).0, StatusCode::OpUnsupported);
    assert_eq!(refused(open("/in/a.pdf", NEW | OpenFlags::APPEND).await).0, StatusCode::OpUnsupported);
    assert_eq!(refused(open("/in/a.pdf", OpenFlags::WRITE).await).0, StatusCode::NoSuchFile);
    assert_eq!(refused(open("/in/near.pdf", NEW | OpenFlags::EXCLUDE).await).0, StatusCode::Failure);
    assert!(refused(client.put("/in/empty.pdf", b"").await).1.contains("empty"));
    assert_eq!(server.rig.accepted(billing()).await.len(), 1);
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_with_a_sentence() {
    let server = TestServer::start_with("[limits]\nsubmission = 100000").await;
    let client = server.client("billing").await;
    assert!(refused(client.put("/in/a.pdf", &[1; 200_000]).await).1.contains("larger than"));
    assert_eq!(server.rig.accepted(billing()).await, []);
}

#[tokio::test]
async fn results_are_listed_read_and_removed() {
    let server = TestServer::start().await;
    server.rig.add_result("billing", "1", "a.json", &[b'x'; 50_000]).await;
    server.rig.add_result("claims", "2", "b.json", b"{}").await;
    let client = server.client("billing").await;
    assert_eq!(client.names("/results").await, ["a.json"]);
    assert_eq!(client.size("/results/a.json").await, Some(50_000));
    let handle =
        client.sftp.open("/results/a.json", OpenFlags::READ, FileAttributes::empty()).await.unwrap().handle;
    let mut body = Vec::new();
    while let Ok(more) = client.sftp.read(&handle, body.len() as u64, 40_000).await {
        body.extend(more.data);
    }
    assert_eq!(body, [b'x'; 50_000]);
    client.sftp.close(handle).await.unwrap();
    client.sftp.remove("/results/a.json").await.unwrap();
    assert_eq!(client.names("/results").await, Vec::<String>::new());
    assert_eq!(server.rig.intake.results("claims").await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_users_key_opens_and_only_sftp_is_served() {
    let server = TestServer::start().await;
    let stranger = hostkey::load_or_make(&server.rig.path().join("stranger")).unwrap();
    assert!(stranger.to_openssh(LineEnding::LF).is_ok());
    assert!(server.sign_in("billing", &stranger).await.is_none());
    assert!(server.sign_in("nobody", &server.key).await.is_none());
    let ssh = server.sign_in("billing", &server.key).await.unwrap();
    let mut channel = ssh.channel_open_session().await.unwrap();
    channel.exec(true, "md5sum a.pdf").await.unwrap();
    loop {
        match channel.wait().await.unwrap() {
            russh::ChannelMsg::Failure => break,
            russh::ChannelMsg::Success => panic!("exec was taken"),
            _ => {}
        }
    }
    assert!(ssh.channel_open_direct_tcpip("127.0.0.1", 25, "127.0.0.1", 1).await.is_err());
}

#[tokio::test]
async fn a_malformed_packet_ends_the_channel() {
    let server = TestServer::start().await;
    let ssh = server.sign_in("billing", &server.key).await.unwrap();
    for bad in [&[255, 255, 255, 255, 6][..], &[0, 0, 0, 1, 99], &[0, 0, 0, 2, 6, 0], &[0, 0, 0, 0]] {
        let mut channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        channel.data_bytes(bad.to_vec()).await.unwrap();
        while !matches!(channel.wait().await, None | Some(russh::ChannelMsg::Close)) {}
    }
}

#[tokio::test]
async fn bytes_behind_the_data_of_a_write_are_passed_over() {
    let server = TestServer::start().await;
    let ssh = server.sign_in("billing", &server.key).await.unwrap();
    let mut channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let framed = |packet: &[u8]| [&(packet.len() as u32).to_be_bytes(), packet].concat();
    let open = b"\x03\0\0\0\x01\0\0\0\x08in/a.pdf\0\0\0\x1a\0\0\0\0";
    let write = b"\x06\0\0\0\x02\0\0\0\x010\0\0\0\0\0\0\0\0\0\0\0\x03abcOLD";
    let close = b"\x04\0\0\0\x03\0\0\0\x010";
    let all = [framed(b"\x01\0\0\0\x03"), framed(open), framed(write), framed(close)].concat();
    channel.data_bytes(all).await.unwrap();
    channel.eof().await.unwrap();
    while !matches!(channel.wait().await, None | Some(russh::ChannelMsg::Close)) {}
    assert_eq!(server.rig.accepted(billing()).await, [("a.pdf".into(), b"abc".to_vec())]);
}

#[tokio::test]
async fn sessions_are_limited() {
    let server = TestServer::start_with("max_sessions = 2").await;
    let _first = server.client("billing").await;
    let _second = server.client("claims").await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut third, &mut said).await.unwrap();
    assert_eq!(said, "Too many connections, try again later.\r\n");
}
