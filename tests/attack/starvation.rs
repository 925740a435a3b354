//! Clients that take all of something, and the others beside them.

mod sftp {
    //! Over SFTP: places for sessions, time to sign in, and the log.

    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::process::Command;
    use tokio::time::Instant;

    use super::super::support::clients::said;
    use super::super::support::{Stage, documents};

    const CONFIG: &str = r#"
[sftp]
listen = ["127.0.0.1:0"]
max_sessions = 12
max_sessions_per_address = 4

[[sender]]
name = "billing"
sftp_user = "billing"
sftp_keys = ["SFTP_KEY"]

[[rule]]
name = "by number"
source = "sftp"
file = "{account}_{number}.pdf"
"#;

    async fn stage() -> Stage {
        let mut stage = Stage::new(CONFIG).await;
        stage.start().await;
        stage
    }

    /// A connection from another address of this machine.
    async fn from(last: u8, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
        socket.connect(to).await.unwrap()
    }

    /// What the server says first.
    async fn greeting(client: &mut TcpStream) -> String {
        let mut said = vec![0; 200];
        let length = client.read(&mut said).await.unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    }

    /// An upload by OpenSSH's sftp from another address than the one that attacks.
    async fn upload(stage: &Stage, name: &str) {
        std::fs::write(stage.path(name), documents::pdf(name, 1)).unwrap();
        std::fs::write(stage.path("batch"), format!("put {name} in/\n")).unwrap();
        let output = Command::new("sftp")
            .current_dir(stage.path(""))
            .args(["-q", "-P", &stage.sftp().port().to_string(), "-i", "sftp", "-F", "none", "-b", "batch"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "BatchMode=yes",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-o", "BindAddress=127.0.0.99", "billing@127.0.0.1"])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_no_key_keeps_nobody_out_and_fills_no_log() {
        let stage = stage().await;
        let to = stage.sftp();
        // Two of four places of each address are for those who have not signed in, and twelve of them all in all.
        let mut held = Vec::new();
        for last in 2..6 {
            for place in 0..3 {
                let mut client = from(last, to).await;
                let said = greeting(&mut client).await;
                assert_eq!(said.starts_with("SSH-2.0"), place < 2, "address {last}, place {place}: {said}");
                held.push(client);
            }
        }
        upload(&stage, "1_+12125550199.pdf").await;
        for _ in 0..300 {
            let mut client = from(2, to).await;
            assert!(greeting(&mut client).await.starts_with("Too many connections from your address"));
        }
        upload(&stage, "2_+12125550199.pdf").await;
        let log = stage.log();
        let told = log.lines().filter(|line| line.contains("too many sessions from this address")).count();
        assert_eq!(told, 4, "one line for each address, and counts later: {log}");
        assert_eq!(stage.submissions().await.len(), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_drips_at_the_door_is_soon_gone() {
        let stage = stage().await;
        let start = Instant::now();
        let mut drips = from(2, stage.sftp()).await;
        let mut greets = from(3, stage.sftp()).await;
        greets.write_all(b"SSH-2.0-slow\r\n").await.unwrap();
        // A byte now and then is no life sign.
        let drip = async {
            let mut ignored = [0; 4096];
            let (mut read, mut write) = drips.split();
            let dripping = async {
                while write.write_all(b"S").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            let reading = async { while read.read(&mut ignored).await.is_ok_and(|length| length > 0) {} };
            tokio::select! { () = dripping => {}, () = reading => {} }
            start.elapsed()
        };
        let wait = async {
            let mut ignored = [0; 4096];
            while greets.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
            start.elapsed()
        };
        let (dripped, waited) = tokio::join!(drip, wait);
        assert!(dripped < Duration::from_secs(15), "{dripped:?}");
        assert!(waited < Duration::from_secs(25), "{waited:?}");
        upload(&stage, "3_+12125550199.pdf").await;
    }
}
