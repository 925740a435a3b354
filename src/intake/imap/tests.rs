//! What needs no server. The story with a real one is `tests/stories/imap.rs`.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::intake::testing::Rig;

#[test]
fn pauses_grow_and_have_an_end() {
    let seconds = |failures, slow| pause(failures, slow, 0).as_secs();
    assert_eq!([1, 2, 3, 7, 8, 40].map(|n| seconds(n, false)), [5, 10, 20, 320, 600, 600]);
    assert_eq!([1, 2, 4, 5, 40].map(|n| seconds(n, true)), [120, 240, 960, 1800, 1800]);
    assert_eq!(pause(1, false, 999), Duration::from_millis(4001));
    assert_eq!(pause(1, false, 1000), Duration::from_millis(5000));
}

/// A mail on the server of these tests: where it lies, and its UID there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lying {
    folder: &'static str,
    uid: u32,
}

/// A server with two mails that nobody's rule takes, and with moods.
#[derive(Debug, Default)]
struct Server {
    mails: Vec<Lying>,
    selected: &'static str,
    /// It does not move this mail.
    stuck: Option<u32>,
    /// It says NO to so many SELECTs of this folder, which is there.
    busy: (&'static str, u32),
    bodies: u32,
    moves: u32,
}

const MAIL: &str = "From: jane@clinic.example\r\nTo: nobody@fax.example\r\nSubject: x\r\n\r\nbody\r\n";

impl Server {
    /// The answer to `command`, without the tag: untagged lines, then the status.
    fn answer(&mut self, command: &str) -> String {
        let names = ["INBOX", "Faxed", "Held", "Refused"];
        let folder = names.into_iter().find(|name| command.contains(&format!("\"{name}\"")));
        let uid = command.split([' ', ':', ',']).find_map(|word| word.parse::<u32>().ok());
        let word = |at: usize| command.split(' ').nth(at).unwrap_or_default();
        match (word(0), word(1)) {
            ("CAPABILITY", _) => "* CAPABILITY IMAP4rev1 MOVE UIDPLUS\r\nOK".into(),
            ("LIST", _) => format!("* LIST () \"/\" \"{}\"\r\nOK", folder.unwrap_or_default()),
            ("STATUS", _) => {
                format!("* STATUS \"{}\" (UIDVALIDITY 1 UIDNEXT 100)\r\nOK", folder.unwrap_or_default())
            }
            ("SELECT", _) => {
                let (busy, times) = &mut self.busy;
                if Some(*busy) == folder && *times > 0 {
                    *times -= 1;
                    return "NO [UNAVAILABLE] not now".into();
                }
                self.selected = folder.unwrap_or_default();
                "* 2 EXISTS\r\n* OK [UIDVALIDITY 1] valid\r\nOK [READ-WRITE]".into()
            }
            ("UID", "SEARCH") => {
                // "UID 101", "UID 101,102", "UID 101:102", or none: all.
                let asked: Vec<u32> =
                    command.split([' ', ':', ',']).filter_map(|word| word.parse().ok()).collect();
                let first_to_last = asked.iter().min().copied()..=asked.iter().max().copied();
                let here = self.mails.iter().filter(|mail| mail.folder == self.selected);
                let found = here.filter(|mail| asked.is_empty() || first_to_last.contains(&Some(mail.uid)));
                let uids: Vec<String> = found.map(|mail| mail.uid.to_string()).collect();
                format!("* SEARCH {}\r\nOK", uids.join(" "))
            }
            ("UID", "FETCH") if command.contains("SIZE") => {
                let here = self.mails.iter().filter(|mail| mail.folder == self.selected);
                let sizes: Vec<String> = here
                    .map(|mail| format!("* 1 FETCH (UID {} RFC822.SIZE {})\r\n", mail.uid, MAIL.len()))
                    .collect();
                format!("{}OK", sizes.concat())
            }
            ("UID", "FETCH") => {
                self.bodies += 1;
                format!(
                    "* 1 FETCH (UID {} BODY[] {{{}}}\r\n{MAIL})\r\nOK",
                    uid.unwrap_or_default(),
                    MAIL.len()
                )
            }
            ("UID", "MOVE") if uid == self.stuck => "NO [CANNOT] this one stays".into(),
            ("UID", "MOVE") => {
                self.moves += 1;
                let there = 100 + self.moves;
                let from = self.selected;
                if let Some(mail) =
                    self.mails.iter_mut().find(|mail| mail.folder == from && Some(mail.uid) == uid)
                {
                    *mail = Lying { folder: folder.unwrap_or_default(), uid: there };
                }
                format!("OK [COPYUID 1 {} {there}]", uid.unwrap_or_default())
            }
            ("UID", "EXPUNGE") => {
                let from = self.selected;
                self.mails.retain(|mail| mail.folder != from);
                "OK".into()
            }
            _ => "OK".into(),
        }
    }
}

/// Serves connections until it is dropped.
async fn serve(server: Arc<Mutex<Server>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let _ = write.write_all(b"* OK ready\r\n").await;
            while let Ok(Some(line)) = lines.next_line().await {
                let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
                let answer = server.lock().unwrap().answer(command);
                let (untagged, status) =
                    answer.rsplit_once("\r\n").map_or(("", answer.as_str()), |both| both);
                let end = if untagged.is_empty() { "" } else { "\r\n" };
                let _ = write.write_all(format!("{untagged}{end}{tag} {status}\r\n").as_bytes()).await;
            }
        }
    });
    address
}

/// The mailbox of `server`, fetched until what is returned is dropped.
async fn fetched(server: &Arc<Mutex<Server>>) -> (Rig, watch::Sender<bool>) {
    let rig = Rig::new("[[sender]]\nname = \"office\"\n[retention]\nmailboxes = \"1 s\"\n").await;
    let password = rig.path().join("password");
    std::fs::write(&password, "secret").unwrap();
    let section = format!(
        "server = \"{}\"\ntls = \"none\"\nlogin = \"fax\"\npassword = \"file:{}\"\nsender = \"office\"\npoll = \"1 s\"\n",
        serve(Arc::clone(server)).await,
        password.display()
    );
    let (stop, stopped) = watch::channel(false);
    let mailbox = Mailbox {
        name: "office".into(),
        section: toml::from_str(&section).unwrap(),
        tokens: None,
        intake: rig.intake.clone(),
        bodies: Arc::new(Semaphore::new(BODIES)),
    };
    tokio::spawn(fetch(mailbox, stopped));
    (rig, stop)
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !look() {
        assert!(Instant::now() < deadline, "there was not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn two_mails() -> Server {
    Server { mails: [1, 2].map(|uid| Lying { folder: "INBOX", uid }).into(), ..Server::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_moved_keeps_no_other_from_its_place() {
    let server = Arc::new(Mutex::new(Server { stuck: Some(1), ..two_mails() }));
    let (rig, _stop) = fetched(&server).await;
    until("the second mail is moved", || server.lock().unwrap().moves == 1).await;
    let alarm = || {
        rig.intake.alarms().open().into_iter().find(|(alarm, _)| *alarm == Alarm::Mailbox("office".into()))
    };
    until("an alarm", || alarm().is_some()).await;
    assert!(alarm().unwrap().1.cause.contains("refuses UID MOVE"));
    assert_eq!(server.lock().unwrap().mails.first(), Some(&Lying { folder: "INBOX", uid: 1 }), "it stays");
    assert_eq!(server.lock().unwrap().bodies, 2, "each was fetched once");
    let listed = rig.store.refused_mails(Some("office"), 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|mail| mail.reason == "it names no address that a rule takes"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_no_to_a_folder_for_now_has_not_lost_it() {
    let server = Arc::new(Mutex::new(Server { busy: ("Refused", 1), ..two_mails() }));
    let (rig, _stop) = fetched(&server).await;
    until("its mood is over", || server.lock().unwrap().busy.1 == 0).await;
    // Deleted there, as retention.mailboxes says: where they lay was not forgotten over a NO.
    until("both mails are deleted", || server.lock().unwrap().mails.is_empty()).await;
    assert_eq!(server.lock().unwrap().bodies, 2, "each was fetched once");
    drop(rig);
}
