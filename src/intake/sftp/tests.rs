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
use crate::intake::testing::Rig;
use crate::job::Source;

const NEW: OpenFlags = OpenFlags::WRITE.union(OpenFlags::CREATE).union(OpenFlags::TRUNCATE);

struct TestServer {
    rig: Rig,
    key: PrivateKey,
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    shelves: Arc<Shelves>,
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
            "[sftp]\nlisten = []\n{}\n[[sender]]\nname = \"Billing\"\nsftp_user = \"billing\"\n\
             sftp_keys = [\"ssh-rsa broken\", \"{public}\"]\n[[sender]]\nname = \"Claims\"\nsftp_user = \"claims\"\n\
             sftp_keys = [\"{public}\"]\n",
            limits.replace("KEY", &public)
        ))
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let config = rig.intake.config().sftp.clone().unwrap();
        let keys = HostKeys::load_or_make(&config, rig.path()).unwrap();
        let (intake, shelves) = (rig.intake.clone(), Arc::<Shelves>::default());
        let served = serve(listener, Door::Modern, config, keys, intake, Arc::clone(&shelves), stopping);
        let serving = tokio::spawn(served);
        TestServer { rig, key, address, stop, serving, shelves }
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

    /// What is done when nobody waits, as if it were `later` than now.
    async fn look_after(&self, later: Duration) {
        let keeper = Keeper { intake: self.rig.intake.clone(), shelves: Arc::clone(&self.shelves) };
        keeper.look_after(Instant::now() + later).await;
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
    assert_eq!(server.rig.spool.list().unwrap().len(), 2);
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
    // Resumed: what is written does not begin at its first byte.
    let handle = open("/in/near.pdf", OpenFlags::WRITE).await.unwrap().handle;
    client.sftp.write(&handle, 8, "ij".into()).await.unwrap();
    assert!(refused(client.sftp.close(handle).await).1.contains("gap"));
    // Appended, empty.
    let append = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND;
    assert_eq!(refused(open("/in/near.pdf", append).await).0, StatusCode::OpUnsupported);
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
    let (mut said, mut status) = (String::new(), None);
    while let Some(message) = channel.wait().await {
        match message {
            russh::ChannelMsg::ExtendedData { data, ext: 1 } => {
                said.push_str(std::str::from_utf8(&data).unwrap());
            }
            russh::ChannelMsg::ExitStatus { exit_status } => status = Some(exit_status),
            _ => {}
        }
    }
    assert!(said.contains("SFTP and nothing else"), "{said}");
    assert_eq!(status, Some(1));
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
async fn an_unknown_request_is_answered_and_the_next_one_too() {
    let server = TestServer::start().await;
    let ssh = server.sign_in("billing", &server.key).await.unwrap();
    let mut channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    let framed = |packet: &[u8]| [&(packet.len() as u32).to_be_bytes(), packet].concat();
    let link = b"\x15\0\0\0\x07\0\0\0\x01a\0\0\0\x01b\0";
    let real_path = b"\x10\0\0\0\x08\0\0\0\x01.";
    let all = [framed(b"\x01\0\0\0\x03"), framed(link), framed(real_path)].concat();
    channel.data_bytes(all).await.unwrap();
    channel.eof().await.unwrap();
    let mut answers = Vec::new();
    while let Some(message) = channel.wait().await {
        if let russh::ChannelMsg::Data { data } = message {
            answers.extend_from_slice(&data);
        }
    }
    let unsupported = [&[101, 0, 0, 0, 7][..], &8_u32.to_be_bytes()].concat();
    assert!(memchr::memmem::find(&answers, &unsupported).is_some(), "{answers:?}");
    assert!(memchr::memmem::find(&answers, &[104, 0, 0, 0, 8]).is_some(), "{answers:?}");
}

#[tokio::test]
async fn the_same_name_again_is_a_new_file_however_it_is_opened() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    let put = async |flags: OpenFlags, offset: u64, body: &[u8]| {
        let handle = client.sftp.open("/in/a.pdf", flags, FileAttributes::empty()).await?.handle;
        client.sftp.write(&handle, offset, body.to_vec()).await?;
        // As OpenSSH's scp does, whatever was there before.
        let size = FileAttributes { size: Some(body.len() as u64), ..FileAttributes::empty() };
        client.sftp.fsetstat(&handle, size).await?;
        client.sftp.close(handle).await.map(drop)
    };
    let create = OpenFlags::WRITE | OpenFlags::CREATE;
    put(create, 0, b"one").await.unwrap();
    put(create, 0, b"second").await.unwrap();
    put(OpenFlags::WRITE, 0, b"3").await.unwrap();
    // Everything is written behind what is there, so that where it says does not count.
    put(NEW | OpenFlags::APPEND, 0, b"fourth").await.unwrap();
    let bodies: Vec<Vec<u8>> =
        server.rig.accepted(billing()).await.into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [&b"one"[..], b"second", b"3", b"fourth"]);
    assert_eq!(client.size("/in/a.pdf").await, Some(6));
    // Opened and closed again, as for the resumption of what is whole already.
    let handle =
        client.sftp.open("/in/a.pdf", OpenFlags::WRITE, FileAttributes::empty()).await.unwrap().handle;
    client.sftp.close(handle).await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await.len(), 4);
    assert_eq!(server.rig.turned_away(billing()).await, []);
}

#[tokio::test]
async fn a_whole_batch_waits_under_temporary_names() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    for n in 0..40 {
        client.put(&format!("/in/{n}.pdf.tmp"), format!("%PDF- {n}").as_bytes()).await.unwrap();
    }
    assert_eq!(server.rig.accepted(billing()).await, []);
    drop(client);
    // Another session, much later.
    server.look_after(Duration::from_secs(150)).await;
    let client = server.client("billing").await;
    for n in 0..40 {
        client.sftp.rename(&format!("/in/{n}.pdf.tmp"), &format!("/in/{n}.pdf")).await.unwrap();
    }
    assert_eq!(server.rig.accepted(billing()).await.len(), 40);
    assert_eq!(server.rig.turned_away(billing()).await, []);
}

#[tokio::test]
async fn what_is_left_lying_is_removed_and_told() {
    let server = TestServer::start_with("temporary_for = \"1 h\"").await;
    let client = server.client("billing").await;
    client.put("/in/a.pdf.tmp", b"%PDF-").await.unwrap();
    server.look_after(Duration::from_secs(3599)).await;
    assert_eq!(client.names("/in").await, ["a.pdf.tmp"]);
    server.look_after(Duration::from_secs(3600)).await;
    assert_eq!(client.names("/in").await, Vec::<String>::new());
    let told = server.rig.turned_away(billing()).await;
    assert!(
        matches!(told.as_slice(), [(name, why)] if name == "a.pdf.tmp" && why.contains("never renamed")),
        "{told:?}"
    );
    assert_eq!(server.rig.spool.list().unwrap(), Vec::<String>::new());
    let refused = refused(client.sftp.rename("/in/a.pdf.tmp", "/in/a.pdf").await);
    assert_eq!(refused.0, StatusCode::NoSuchFile);
}

#[tokio::test]
async fn a_refusal_at_the_close_is_told_to_whom_it_may_concern() {
    let server = TestServer::start_with("[limits]\nsubmission = 100000").await;
    let client = server.client("billing").await;
    assert!(refused(client.put("/in/empty.pdf", b"").await).1.contains("empty"));
    // A sign that a batch is whole, and no document.
    client.put("/in/batch.done", b"").await.unwrap();
    let handle = client.sftp.open("/in/large.pdf", NEW, FileAttributes::empty()).await.unwrap().handle;
    for nth in 0..4 {
        let _ = client.sftp.write(&handle, nth * 30_000, vec![1; 30_000]).await;
    }
    client.sftp.close(handle).await.unwrap_err();
    // A client that gives its file up has seen the refusal.
    let handle = client.sftp.open("/in/given-up.pdf", NEW, FileAttributes::empty()).await.unwrap().handle;
    client.sftp.write(&handle, 5, b"x".to_vec()).await.unwrap();
    drop(client);
    let rig = server.stop().await;
    let told = rig.turned_away(billing()).await;
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["empty.pdf", "large.pdf"], "{told:?}");
    assert!(told[1].1.contains("larger than"));
    assert_eq!(rig.spool.list().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_same_file_again_is_answered_with_the_first() {
    let server = TestServer::start().await;
    let client = server.client("billing").await;
    for _ in 0..2 {
        client.put("/in/a.pdf", b"%PDF-").await.unwrap();
    }
    client.put("/in/a.pdf.tmp", b"%PDF-").await.unwrap();
    client.sftp.rename("/in/a.pdf.tmp", "/in/a.pdf").await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await.len(), 1);
    let filter = crate::store::SubmissionFilter::default();
    let first = server.rig.store.submissions(&filter, 10).await.unwrap()[0].id;
    let answers = server.rig.store.answers(first).await.unwrap();
    assert_eq!(
        answers.iter().filter(|answer| answer.kind == crate::store::AnswerKind::Again).count(),
        2,
        "{answers:?}"
    );
    assert_eq!(server.rig.spool.list().unwrap().len(), 1, "the bytes that came again are gone");
}

#[tokio::test]
async fn temporary_names_are_each_users_own() {
    let server = TestServer::start_with(
        "[[sender]]\nname = \"Odd\"\nsftp_user = \"odd\"\nsftp_keys = [\"KEY\"]\n\
         temporary_names = [\"*.xfer\"]\nfinal_names = [\"_*\"]\n",
    )
    .await;
    let client = server.client("odd").await;
    for name in ["_a.pdf", "a.pdf.xfer", "b.pdf.part"] {
        client.put(&format!("/in/{name}"), b"%PDF-").await.unwrap();
    }
    let accepted = server.rig.accepted(Source::Sftp("odd".into())).await;
    assert_eq!(accepted, [("_a.pdf".into(), b"%PDF-".to_vec())]);
    let client = server.client("billing").await;
    for name in ["_a.pdf", "a.pdf.xfer"] {
        client.put(&format!("/in/{name}"), b"%PDF-").await.unwrap();
    }
    let accepted = server.rig.accepted(billing()).await;
    assert_eq!(accepted, [("a.pdf.xfer".into(), b"%PDF-".to_vec())]);
}

#[tokio::test]
async fn what_a_user_may_have_waiting_is_told_at_the_open() {
    let server = TestServer::start_with("max_unaccepted = 50000").await;
    let client = server.client("billing").await;
    client.put("/in/a.pdf.tmp", &[1; 30_000]).await.unwrap();
    let large = client.put("/in/b.pdf.tmp", &[1; 30_000]).await;
    assert!(refused(large).1.contains("waits here"));
    client.put("/in/c.pdf.tmp", &[1; 20_000]).await.unwrap();
    let open = client.sftp.open("/in/d.pdf", NEW, FileAttributes::empty()).await;
    assert!(refused(open).1.contains("waits here"), "told before anything is sent");
    let other = server.client("claims").await;
    other.put("/in/a.pdf", b"%PDF-").await.unwrap();
    client.sftp.rename("/in/a.pdf.tmp", "/in/a.pdf").await.unwrap();
    client.put("/in/d.pdf", b"%PDF-").await.unwrap();
    assert_eq!(server.rig.accepted(billing()).await.len(), 2);
}

#[tokio::test]
async fn sessions_are_limited() {
    let server = TestServer::start_with("max_sessions_per_address = 2").await;
    let _first = server.client("billing").await;
    let _second = server.client("claims").await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut third, &mut said).await.unwrap();
    assert_eq!(said, "Too many connections from your address, try again later.\r\n");
}
