//! What is sent, and the clients that send it: each goes on with a submission until it gets its yes for it.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faxbridge::daemon::Addresses;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Semaphore, TryAcquireError, watch};
use tokio::task::JoinSet;

use super::Chance;
use super::providers::{ROUTES, Route};
use super::support::{Stage, documents, smtp};

/// Mail programs at once.
const MAIL_PROGRAMS: usize = 16;
/// SFTP clients at once, and files that each puts in one session.
const SFTP_CLIENTS: usize = 2;
const FILES: usize = 6;

/// How a submission comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    Mail,
    Sftp,
    Folder,
}

/// What is known about one submission before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) n: u64,
    pub(crate) way: Way,
    pub(crate) route: Route,
    /// The numbers it is for; their last digits say what the simulator does.
    pub(crate) numbers: Vec<String>,
    /// Whether the numbers stand in the register.
    pub(crate) verified: bool,
    /// A document that cannot be opened holds the packet.
    pub(crate) broken: bool,
    /// Comes a second time, after the yes.
    pub(crate) repeated: bool,
    /// A drop that is first uploaded under a temporary name.
    renamed: bool,
}

impl Submission {
    /// The `n`th.
    pub(crate) fn draw(n: u64, chance: &mut Chance) -> Submission {
        let way = match chance.below(10) {
            0..5 => Way::Mail,
            5..8 => Way::Sftp,
            _ => Way::Folder,
        };
        let route = ROUTES[usize::try_from(chance.below(ROUTES.len() as u64)).unwrap()];
        let mut numbers = vec![number(n, 0, route, chance)];
        if way == Way::Mail && chance.below(20) == 0 {
            numbers.push(number(n, 1, route, chance));
        }
        // Both may be one that several share; a mail is faxed to a number once.
        numbers.dedup();
        Submission {
            n,
            way,
            route,
            numbers,
            verified: chance.below(60) != 0,
            broken: chance.below(60) == 0,
            repeated: chance.below(20) == 0,
            renamed: chance.below(2) == 0,
        }
    }

    /// Message-ID of a mail, with its brackets.
    pub(crate) fn message_id(&self) -> String {
        format!("<{}@clinic.example>", self.n)
    }

    /// Where a mail for `number` goes.
    fn address(&self, number: &str) -> String {
        format!("{number}@{}.clinic.example", self.route.name)
    }

    /// Name of a drop.
    pub(crate) fn file(&self) -> String {
        format!("{}_{}_{}.pdf", self.route.name, self.n, self.numbers[0])
    }

    /// What stands on its page.
    pub(crate) fn mark(&self) -> String {
        format!("document {} ends", self.n)
    }

    fn document(&self) -> Vec<u8> {
        if self.broken { documents::fixture("encrypted.pdf") } else { documents::pdf(&self.mark(), 1) }
    }
}

/// Endings that have their script at the simulator. Not 32: an account without money stops its provider for everybody, and keeps
/// all jobs until their deadline. Not 37: that provider takes a fax and then says that it never had it. Where the crash came
/// before its answer, its word is all there is, and it is false.
const SCRIPTED: [u64; 27] = [
    10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 33, 34, 35, 36,
    38,
];

/// A number of its own for most; a few share one, and wait for each other.
fn number(n: u64, which: u64, route: Route, chance: &mut Chance) -> String {
    const AREAS: [&str; 10] = ["212", "312", "415", "617", "713", "206", "303", "404", "503", "602"];
    if chance.below(20) == 0 {
        return format!("+1{}5550190", AREAS[usize::try_from(n % 10).unwrap()]);
    }
    // Most are spoilt by chance only; the others have an ending of the simulator's table.
    let ending = match chance.below(10) {
        0..7 => 40 + chance.below(60),
        _ => match SCRIPTED[usize::try_from(chance.below(SCRIPTED.len() as u64)).unwrap()] {
            // It has one word for a document that it could not fetch and one that it could not read, and we have to believe the
            // first: where nobody else can be tried, that goes on until the deadline.
            31 if route.providers == ["signalwire"] => 30,
            ending => ending,
        },
    };
    let area = AREAS[usize::try_from(n % 10).unwrap()];
    format!("+1{area}{:03}{:02}{ending:02}", 222 + n / 500 + 300 * which, (n / 10) % 50 + 50 * which % 50)
}

/// Enters the numbers that are to be known.
pub(crate) async fn register(stage: &Stage, submissions: &[Submission]) {
    let mut known = HashSet::new();
    let mut entries = Vec::new();
    // A number that one of them needs verified is verified.
    for number in submissions.iter().filter(|s| s.verified).flat_map(|s| &s.numbers) {
        if known.insert(number) {
            entries.push((format!("office{}", number.trim_start_matches('+')), number.clone()));
        }
    }
    stage.verified(&entries).await;
}

/// All clients at work; they end when dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    address: watch::Sender<Option<Addresses>>,
    mails: Queue,
    uploads: Queue,
    drops: Queue,
    /// Those with a yes; a dropped file has it once it is gone from the folder, which is looked at in the end.
    promised: Mutex<HashSet<u64>>,
    /// Times that a client had to try again.
    again: Mutex<u64>,
    folder: PathBuf,
    scans: PathBuf,
    key: PathBuf,
}

/// What waits to be sent one way.
struct Queue {
    waiting: Mutex<VecDeque<Submission>>,
    /// One permit lets one be sent.
    gate: Semaphore,
}

impl Queue {
    fn of(way: Way, submissions: &[Submission]) -> Queue {
        let waiting = submissions.iter().filter(|s| s.way == way).cloned().collect();
        Queue { waiting: Mutex::new(waiting), gate: Semaphore::new(0) }
    }

    async fn next(&self) -> Option<Submission> {
        // Fails once the gate is closed, which means that all may go.
        if let Ok(permit) = self.gate.acquire().await {
            permit.forget();
        }
        self.waiting.lock().unwrap().pop_front()
    }

    /// One more, if it may be sent already.
    fn another(&self) -> Option<Submission> {
        match self.gate.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => {}
            Err(TryAcquireError::NoPermits) => return None,
        }
        self.waiting.lock().unwrap().pop_front()
    }
}

impl Clients {
    pub(crate) fn start(stage: &Stage, submissions: &[Submission]) -> Clients {
        let shared = Arc::new(Shared {
            address: watch::Sender::new(None),
            mails: Queue::of(Way::Mail, submissions),
            uploads: Queue::of(Way::Sftp, submissions),
            drops: Queue::of(Way::Folder, submissions),
            promised: Mutex::default(),
            again: Mutex::default(),
            folder: stage.path("outgoing"),
            scans: stage.path("scans"),
            key: stage.path("sftp"),
        });
        std::fs::create_dir_all(&shared.folder).unwrap();
        std::fs::create_dir_all(&shared.scans).unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..MAIL_PROGRAMS {
            tasks.spawn(Arc::clone(&shared).mail());
        }
        for n in 0..SFTP_CLIENTS {
            tasks.spawn(Arc::clone(&shared).upload(n));
        }
        tasks.spawn(Arc::clone(&shared).drop_files());
        Clients { shared, tasks }
    }

    /// Where the daemon is now.
    pub(crate) fn tell(&self, stage: Option<&Stage>) {
        self.shared.address.send_replace(stage.map(Stage::addresses));
    }

    /// Returns once a daemon listens.
    pub(crate) async fn served(&self) {
        self.shared.address().await;
    }

    /// Lets about `n` more submissions be sent, over all ways.
    pub(crate) fn release(&self, n: u64) {
        let n = usize::try_from(n).unwrap();
        self.shared.mails.gate.add_permits(n.div_ceil(2));
        self.shared.uploads.gate.add_permits((3 * n).div_ceil(10));
        self.shared.drops.gate.add_permits(n.div_ceil(5));
    }

    pub(crate) fn promised(&self) -> usize {
        self.shared.promised.lock().unwrap().len()
    }

    /// Lets all go.
    pub(crate) fn release_all(&self) {
        for queue in [&self.shared.mails, &self.shared.uploads, &self.shared.drops] {
            queue.gate.close();
        }
    }

    /// Those that nobody has begun to send.
    pub(crate) fn left(&self) -> usize {
        let queues = [&self.shared.mails, &self.shared.uploads, &self.shared.drops];
        queues.iter().map(|queue| queue.waiting.lock().unwrap().len()).sum()
    }
}

/// Returns once every client has its yes for everything.
pub(crate) async fn all_promised(stage: &Stage, clients: &mut Clients) {
    let tasks = &mut clients.tasks;
    stage
        .until("every client has its yes", async || {
            while let Some(ended) = tasks.try_join_next() {
                ended.expect("a client failed");
            }
            tasks.is_empty().then_some(())
        })
        .await;
    stage
        .until("every dropped file is claimed", async || {
            let files = std::fs::read_dir(stage.path("scans")).unwrap();
            let mut files = files.filter_map(Result::ok).filter(|file| file.path().is_file());
            files.next().is_none().then_some(())
        })
        .await;
    println!("{} promised; clients had to try {} times more", clients.promised(), {
        *clients.shared.again.lock().unwrap()
    });
}

impl Shared {
    async fn address(&self) -> Addresses {
        let mut address = self.address.subscribe();
        let found = address.wait_for(Option::is_some).await.unwrap();
        found.clone().unwrap()
    }

    fn promise(&self, submission: &Submission) {
        self.promised.lock().unwrap().insert(submission.n);
    }

    /// Before the next try, so that a dead daemon is not asked without pause.
    async fn pause(&self) {
        *self.again.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    async fn mail(self: Arc<Self>) {
        while let Some(submission) = self.mails.next().await {
            let to: Vec<String> =
                submission.numbers.iter().map(|number| submission.address(number)).collect();
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            let document = submission.document();
            let from = "jane@clinic.example";
            let id = submission.message_id();
            let mail = documents::mail(from, to[0], &id, "Claim", &[("claim.pdf", &document)]);
            let mut times = 1 + u32::from(submission.repeated);
            while times > 0 {
                let address = self.address().await.smtp[0];
                match smtp::send(address, from, &to, &mail).await {
                    Ok(_) => {
                        self.promise(&submission);
                        times -= 1;
                    }
                    Err(smtp::Refused::Reply(code, reply)) if code / 100 == 5 => {
                        panic!("mail {} was refused for good: {reply}", submission.n)
                    }
                    Err(_) => self.pause().await,
                }
            }
        }
    }

    async fn upload(self: Arc<Self>, client: usize) {
        while let Some(first) = self.uploads.next().await {
            let mut files = vec![first];
            while files.len() < FILES
                && let Some(submission) = self.uploads.another()
            {
                files.push(submission);
            }
            let mut batch = String::new();
            for submission in &files {
                let name = submission.file();
                std::fs::write(self.folder.join(&name), submission.document()).unwrap();
                if submission.renamed {
                    batch.push_str(&format!("put {name} in/{name}.part\nrename in/{name}.part in/{name}\n"));
                } else {
                    batch.push_str(&format!("put {name} in/{name}\n"));
                }
            }
            // The whole batch again until all of it went through, as scripts do.
            while !self.sftp(&batch, client).await {
                self.pause().await;
            }
            for submission in &files {
                self.promise(submission);
                std::fs::remove_file(self.folder.join(submission.file())).unwrap();
            }
            let repeated: Vec<&Submission> = files.iter().filter(|s| s.repeated).collect();
            for submission in repeated {
                let name = submission.file();
                std::fs::write(self.folder.join(&name), submission.document()).unwrap();
                while !self.sftp(&format!("put {name} in/{name}\n"), client).await {
                    self.pause().await;
                }
            }
        }
    }

    async fn sftp(&self, batch: &str, client: usize) -> bool {
        let port = self.address().await.sftp[0].port();
        let mut child = Command::new("sftp")
            .args(["-q", "-P", &port.to_string(), "-i"])
            .arg(&self.key)
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-F", "none", "-b", "-"])
            .arg("billing@127.0.0.1")
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(self.folder.join(format!("sftp.{client}.err"))).unwrap())
            .kill_on_drop(true)
            .spawn()
            .expect("openssh-client is installed");
        // Fails where the connection is dead already.
        let _ = child.stdin.take().unwrap().write_all(batch.as_bytes()).await;
        child.wait().await.unwrap().success()
    }

    async fn drop_files(self: Arc<Self>) {
        // Whether the daemon lives or not: that is what a folder is for.
        while let Some(submission) = self.drops.next().await {
            let file = self.scans.join(submission.file());
            for time in 0..1 + u32::from(submission.repeated) {
                if time > 0 {
                    while Path::exists(&file) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                if submission.renamed {
                    let temporary = self.scans.join(format!("{}.tmp", submission.file()));
                    std::fs::write(&temporary, submission.document()).unwrap();
                    std::fs::rename(temporary, &file).unwrap();
                } else {
                    std::fs::write(&file, submission.document()).unwrap();
                }
            }
            self.promise(&submission);
        }
    }
}
