//! Clients that take all of something, and the others beside them.

/// What a sender's documents cost is that sender's.
mod preparing {
    use std::time::{Duration, Instant};

    use faxbridge::store::Submission;
    use lopdf::{Document, Object, Stream, dictionary};
    use tokio::time::MissedTickBehavior;

    use crate::support::smtp::Session;
    use crate::support::stage::BASE;
    use crate::support::{Stage, documents, smtp};

    const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "somebody"
addresses = ["mallory@elsewhere.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[limits]
workers = 2
worker_time = "20 s"
"#;

    const JANE: &str = "jane@clinic.example";
    const MALLORY: &str = "mallory@elsewhere.example";
    const TO: &str = "mercy-radiology@fax.clinic.example";

    /// A small PDF that keeps its reader busy: each of its pages unfolds the same stream to 60 MB of blanks.
    fn bomb() -> Vec<u8> {
        let mut document = Document::with_version("1.5");
        let tree = document.new_object_id();
        let mut content = Stream::new(dictionary! {}, vec![b' '; 60 << 20]);
        content.compress().unwrap();
        let content = document.add_object(content);
        let kids: Vec<Object> = (0..290)
            .map(|_| {
                let page = dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content };
                document.add_object(page).into()
            })
            .collect();
        document.objects.insert(
            tree,
            Object::Dictionary(dictionary! {
                "Type" => "Pages", "Count" => 290, "Kids" => kids, "Resources" => dictionary! {},
                "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
            }),
        );
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
        document.trailer.set("Root", catalog);
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        bytes
    }

    async fn stage() -> Stage {
        // Nobody is in the register, so that nothing is sent: how long preparing takes is the question.
        let mut stage = Stage::with(&format!("{BASE}{WAYS}"), |_| {}).await;
        stage.start().await;
        stage
    }

    /// Six of them delayed the next mail by three minutes.
    #[tokio::test(flavor = "multi_thread")]
    async fn slow_documents_of_one_sender_delay_nobody_else() {
        let mut stage = stage().await;
        let bomb = bomb();
        assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
        for n in 0..6 {
            let mail = documents::mail(MALLORY, TO, &format!("<bomb{n}@x>"), "Bomb", &[("bomb.pdf", &bomb)]);
            smtp::send(stage.smtp(), MALLORY, &[TO], &mail).await.unwrap();
        }
        stage
            .until("two workers at it", async || {
                let begun = stage.submissions().await.iter().filter(|s| s.prepare_tries > 0).count();
                (begun >= 2).then_some(())
            })
            .await;
        for n in 0..3 {
            let id = format!("<good{n}@x>");
            let good = documents::mail(JANE, TO, &id, "Good", &[("good.pdf", &documents::pdf("good", 1))]);
            let began = Instant::now();
            smtp::send(stage.smtp(), JANE, &[TO], &good).await.unwrap();
            stage
                .until("the other sender's job", async || {
                    let all = stage.submissions().await;
                    let mine = |s: &&Submission| {
                        s.sender == "front desk" && stage.facts(s).message_id.as_deref() == Some(&id)
                    };
                    all.iter().find(mine).filter(|s| s.verdict.is_some()).map(|_| ())
                })
                .await;
            let took = began.elapsed();
            let slow = stage
                .submissions()
                .await
                .iter()
                .filter(|s| s.sender == "somebody" && s.verdict.is_none())
                .count();
            eprintln!("prepared after {took:?}, with {slow} slow ones waiting or at work");
            assert!(slow > 0, "the bombs are none");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        stage.daemon().kill().await;
    }

    /// Unprepared Submissions, and how long the oldest of them waits.
    async fn behind(stage: &Stage) -> (usize, Duration) {
        let now = faxbridge::clock::Clock::now(&faxbridge::clock::SystemClock);
        let all = stage.submissions().await;
        let waiting = all.iter().filter(|submission| submission.verdict.is_none());
        let oldest = waiting.clone().map(|s| now.duration_since(s.accepted_at)).max();
        (waiting.count(), oldest.and_then(|age| age.try_into().ok()).unwrap_or_default())
    }

    /// At a steady 33 a second half were unprepared after 24 s, because there was never a quiet period.
    #[tokio::test(flavor = "multi_thread")]
    async fn preparing_keeps_pace_with_arriving() {
        let mut stage = stage().await;
        let pdf = documents::pdf("good", 1);
        let mail =
            |n: usize| documents::mail(JANE, TO, &format!("<pace{n}@x>"), "Good", &[("good.pdf", &pdf)]);
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        // What the machine can do while nothing arrives.
        const FIRST: usize = 40;
        for n in 0..FIRST {
            session.send(JANE, &[TO], &mail(n)).await.unwrap();
        }
        let (left, began) = (behind(&stage).await.0, Instant::now());
        stage.until("all prepared", async || (behind(&stage).await.0 == 0).then_some(())).await;
        let each = began.elapsed() / u32::try_from(left.max(1)).unwrap();
        // A third of that, but no slower than what leaves no quiet period.
        let gap = (each * 3).clamp(Duration::from_millis(25), Duration::from_millis(36));
        eprintln!("{left} prepared in {each:?} each; then one every {gap:?}");
        let mut ticks = tokio::time::interval(gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut n, mut most, mut oldest) = (FIRST, 0, Duration::ZERO);
        let until = Instant::now() + Duration::from_secs(12);
        while Instant::now() < until {
            ticks.tick().await;
            session.send(JANE, &[TO], &mail(n)).await.unwrap();
            n += 1;
            if n % 16 == 0 {
                let (count, age) = behind(&stage).await;
                (most, oldest) = (most.max(count), oldest.max(age));
            }
        }
        eprintln!("{} mails in 12 s: at most {most} unprepared, the oldest for {oldest:?}", n - FIRST);
        // A machine that cannot do both has no time left; then nothing is promised.
        if each < Duration::from_millis(15) {
            assert!(oldest < Duration::from_secs(2), "{oldest:?}");
        } else {
            assert!(oldest < Duration::from_secs(6), "{oldest:?}");
        }
        stage.daemon().kill().await;
    }
}

mod sftp {
    //! Over SFTP: places for sessions, time to sign in, and the log.

    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::process::Command;
    use tokio::time::Instant;

    use crate::support::clients::said;
    use crate::support::{Stage, documents};

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
