//! Folder in: files that other programs leave in a folder of this machine.
//!
//! Nobody tells us when a foreign file is whole. So one is taken when it has been quiet (`folder/evidence.rs`: shortly after the
//! system told that a writer closed it, or for longer where it told nothing) and its content, where that says so, has its end
//! (`folder/content.rs`). What changes meanwhile is one document, as it was last.
//!
//! It is then claimed by a rename to where only we are (`folder/claim.rs`): from there nobody swaps it, and two scans cannot take
//! it twice. Only when [`Intake::accept`] has it on disk is the claim deleted. After a crash, claims are taken again at the
//! start, and the same file from the same folder is one submission. A refusal for good moves the file to `refused/`, with the
//! reason beside it; a refusal for now puts it back for the next scan.
//!
//! Everything else that lies there stays, and its sender is told of it once: empty files, folders, links of both kinds, pipes,
//! what is cut off, and temporary names that were left for an hour. Silent are only our own folders, hidden files and what
//! desktops leave.
//!
//! Who may write to the folder is not trusted with anything but the files he puts there: every step goes through descriptors
//! (`folder/dir.rs`), and a folder that strangers could exchange is not watched at all (`folder/trust.rs`).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::Instant;

use self::claim::{Claim, Claims};
use self::evidence::{Evidence, Look, Odd, Print, Step, Why};
use self::listing::{digest_of, look_at};
use self::notices::{Notices, watcher};
use super::{Intake, Refusal, TurnedAway};
use crate::alarm::Alarm;
use crate::config;
use crate::job::Source;
use crate::shared_folder::{Dir, FileThread, RESULTS, clear_temporaries, names, trusted};

mod claim;
mod content;
mod evidence;
mod keep;
mod listing;
mod notices;
mod take;
#[cfg(test)]
mod tests;

pub use claim::abandoned;

/// Entries of a folder that are looked at; more want a person.
const MOST: usize = 50_000;
/// Entries that are told of between two scans, and within an hour: whoever fills a folder with links is not to fill a disk with
/// results.
const TOLD_AT_ONCE: usize = 40;
const TOLD_AN_HOUR: usize = 500;
/// Between two looks for results and refused files that are too old.
const KEEPING: Duration = Duration::from_secs(60 * 60);
/// A file system that has not answered for this long does not.
const SLOW: Duration = Duration::from_secs(30);
/// Tries, a tenth of a second apart, until the former watch of a folder must have ended.
const BUSY: u32 = 300;
/// What is in hand when the daemon is stopped gets this much time; a file system that hangs gets no more.
const GRACE: Duration = Duration::from_secs(10);

/// Takes files from the folder `[folder.NAME]` until `stop` turns true; a file being taken then is finished first.
///
/// A folder that cannot be used raises an alarm, and is tried again at every `scan`.
pub async fn watch(name: String, config: config::Folder, intake: Intake, mut stop: watch::Receiver<bool>) {
    let ending = {
        let mut stop = stop.clone();
        async move {
            stopped(&mut stop).await;
            tokio::time::sleep(GRACE).await;
        }
    };
    let watching = async {
        let mut busy = 0;
        loop {
            let problem = match Folder::open(&name, &config, &intake).await {
                Ok(mut folder) => match folder.run(&mut stop).await {
                    Ok(()) => return,
                    Err(problem) => problem,
                },
                // The former watch, before a reload, is about to end.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && busy < BUSY => {
                    busy += 1;
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(100)) => continue,
                        () = stopped(&mut stop) => return,
                    }
                }
                Err(problem) => problem,
            };
            let cause = format!(
                "the folder {} cannot be used, nothing in it is taken: {problem}",
                config.path.display()
            );
            intake.alarms().raise(Alarm::Folder(name.clone()), cause, intake.inner.clock.now());
            tokio::select! {
                () = tokio::time::sleep(config.scan.std()) => {}
                () = stopped(&mut stop) => return,
            }
        }
    };
    tokio::select! {
        () = watching => {}
        () = ending => tracing::warn!(folder.name = name, "folder {name}: its file system does not answer; what is in hand there is taken up at the next start"),
    }
}

struct Folder<'a> {
    name: &'a str,
    config: &'a config::Folder,
    intake: &'a Intake,
    files: FileThread,
    root: Dir,
    claims: Arc<Claims>,
    notices: Arc<Notices>,
    /// Ends when dropped. `None` where the system gives no notices: then scans are all there is.
    watcher: Option<notify::RecommendedWatcher>,
    evidence: Evidence,
    /// Why files are refused for now, where they are.
    refusing: Option<String>,
    /// Why a refused file cannot be moved aside, where one cannot.
    unmoved: Option<String>,
    /// How many were told of since the last scan, and in this hour.
    told: (usize, usize),
    /// Why a file could not be taken that will be tried again.
    trouble: Option<String>,
    kept: Option<Instant>,
}

/// What a scan finds in the folder.
struct Found {
    entries: Vec<(OsString, Print, Look)>,
    left_over: Vec<Claim>,
    full: bool,
}

impl<'a> Folder<'a> {
    async fn open(name: &'a str, config: &'a config::Folder, intake: &'a Intake) -> io::Result<Self> {
        let (path, data) = (config.path.clone(), intake.config().store.data_dir.clone());
        let claims_name = name.to_owned();
        let files = FileThread::start()?;
        let (root, claims) = files
            .run(move || {
                trusted(&path).map_err(io::Error::other)?;
                let root = Dir::open(&path)?;
                let claims = Claims::open(root.clone(), &data, &claims_name)?;
                clear_temporaries(&root)?;
                if root.facts()?.mode & 0o022 != 0 {
                    // Before somebody else makes them; where he has, it is told when they are needed.
                    let _ = root.read_only(OsStr::new(RESULTS));
                    let _ = root.returned(OsStr::new(claim::REFUSED));
                }
                Ok((root, Arc::new(claims)))
            })
            .await?;
        let evidence = Evidence::new(config.quiet.std(), config.settle.std());
        let notices = Arc::default();
        let (watcher, refusing, unmoved, trouble, told, kept) = (None, None, None, None, (0, 0), None);
        Ok(Folder {
            name,
            config,
            intake,
            files,
            root,
            claims,
            notices,
            watcher,
            evidence,
            refusing,
            unmoved,
            told,
            trouble,
            kept,
        })
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> io::Result<()> {
        let mut scan_at = Instant::now();
        loop {
            let wake = self.evidence.next_due().map_or(scan_at, |due| due.min(scan_at));
            tokio::select! {
                biased;
                () = stopped(stop) => return Ok(()),
                () = tokio::time::sleep_until(wake) => {}
                () = self.notices.came.notified() => {}
            }
            if Instant::now() >= scan_at {
                // Before the scan, so that no file can come between the two unseen.
                let problem = self.watch_for_notices().await;
                (self.told.0, self.unmoved, self.trouble) = (0, None, None);
                let full = self.scan(stop).await?;
                self.tell_problems(problem, full);
                scan_at = Instant::now() + self.config.scan.std();
            }
            let noticed = self.notices.take();
            let noticed = self.looked_at(noticed.into_iter().collect()).await?;
            self.act_on(noticed, Why::Notice, stop).await?;
            let due = self.evidence.due(Instant::now());
            let found = self.looked_at(due.clone()).await?;
            let there: HashSet<&OsString> = found.iter().map(|(name, ..)| name).collect();
            for gone in due.iter().filter(|name| !there.contains(name)) {
                self.evidence.forget(gone);
            }
            self.act_on(found, Why::Scan, stop).await?;
        }
    }

    /// Runs `work` on the folder's thread, and says so where its file system does not answer.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut working = std::pin::pin!(self.files.run(work));
        if let Ok(done) = tokio::time::timeout(SLOW, &mut working).await {
            return done;
        }
        let cause = format!("the file system of {} does not answer", self.config.path.display());
        self.intake.alarms().raise(Alarm::Folder(self.name.to_owned()), cause, self.intake.inner.clock.now());
        working.await
    }

    /// Sets the watch where there is none; returns why there is none, where that is so.
    async fn watch_for_notices(&mut self) -> Option<String> {
        if self.watcher.is_some() {
            return None;
        }
        let (path, notices) = (self.config.path.clone(), Arc::clone(&self.notices));
        match self.on_disk(move || watcher(&path, notices)).await {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                None
            }
            Err(error) => Some(format!(
                "the system gives no notices of new files in {} ({error}); it is looked through every {}, so files are taken \
                 later than they could be. More watches: sysctl fs.inotify.max_user_watches, fs.inotify.max_user_instances",
                self.config.path.display(),
                self.config.scan
            )),
        }
    }

    fn tell_problems(&self, no_notices: Option<String>, full: bool) {
        let alarm = Alarm::Folder(self.name.to_owned());
        let shown = self.config.path.display();
        let full = full.then(|| {
            format!(
                "more than {MOST} things lie in {shown}; the rest is not looked at until some are removed"
            )
        });
        let refusing = self
            .refusing
            .as_ref()
            .map(|cause| format!("files wait in {shown}, since they are refused for now: {cause}"));
        let unmoved = self
            .unmoved
            .as_ref()
            .map(|cause| format!("refused files cannot be moved to refused/ in {shown}: {cause}"));
        let trouble = self
            .trouble
            .as_ref()
            .map(|error| format!("a file in {shown} cannot be taken, and is tried again: {error}"));
        let many = (self.told.1 >= TOLD_AN_HOUR).then(|| {
            format!("{TOLD_AN_HOUR} things in {shown} that are no files to fax were told of within an hour; more are not")
        });
        let problems: Vec<String> =
            [full, many, refusing, unmoved, trouble, no_notices].into_iter().flatten().collect();
        if problems.is_empty() {
            self.intake.alarms().clear(&alarm);
        } else {
            self.intake.alarms().raise(alarm, problems.join("; "), self.intake.inner.clock.now());
        }
    }

    /// First what was claimed and not brought in, after a crash or because another file had taken its name. Then looks
    /// at everything. Returns whether that is more than is looked at.
    async fn scan(&mut self, stop: &watch::Receiver<bool>) -> io::Result<bool> {
        let (path, root, claims) = (self.config.path.clone(), self.root.clone(), Arc::clone(&self.claims));
        let named = self.temporary();
        let found = self
            .on_disk(move || {
                trusted(&path).map_err(io::Error::other)?;
                if !Dir::open(&path)?.facts()?.is_same_file(&root.facts()?) {
                    return Err(io::Error::other("it was replaced by another folder"));
                }
                let names = root.names(MOST)?;
                let full = names.len() >= MOST;
                Ok(Found { entries: look_at(&root, names, &named)?, left_over: claims.left_over()?, full })
            })
            .await?;
        for claim in found.left_over {
            if *stop.borrow() {
                return Ok(found.full);
            }
            self.bring_in(claim).await?;
        }
        self.keep().await;
        self.evidence.forget_all_but(&found.entries.iter().map(|(name, ..)| name.clone()).collect());
        self.act_on(found.entries, Why::Scan, stop).await?;
        Ok(found.full)
    }

    /// What tells temporary names from final ones in this folder.
    fn temporary(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let (temporary, finals) = (self.config.temporary_names.clone(), self.config.final_names.clone());
        move |name| names::is_temporary(name, &temporary, &finals)
    }

    async fn looked_at(&self, names: Vec<OsString>) -> io::Result<Vec<(OsString, Print, Look)>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (root, named) = (self.root.clone(), self.temporary());
        self.on_disk(move || look_at(&root, names, &named)).await
    }

    async fn act_on(
        &mut self,
        entries: Vec<(OsString, Print, Look)>,
        why: Why,
        stop: &watch::Receiver<bool>,
    ) -> io::Result<()> {
        for (name, print, look) in entries {
            if *stop.borrow() {
                return Ok(());
            }
            match self.evidence.observe(&name, (print, look), why, Instant::now()) {
                Step::Wait => {}
                Step::Take => self.take(name, print).await?,
                Step::Tell(odd) if self.told.0 < TOLD_AT_ONCE && self.told.1 < TOLD_AN_HOUR => {
                    self.told = (self.told.0 + 1, self.told.1 + 1);
                    self.tell_of(name, print, odd).await?;
                }
                Step::Tell(_) => self.evidence.put_off(&name, Instant::now() + self.config.scan.std()),
            }
        }
        Ok(())
    }

    /// Tells the sender of an entry that is not taken.
    async fn tell_of(&mut self, name: OsString, print: Print, odd: Odd) -> io::Result<()> {
        let limit = self.intake.config().limits.submission.get();
        let (root, file) = (self.root.clone(), name.clone());
        let sha256 = match odd {
            Odd::Cut | Odd::Begun if print.bytes() <= limit => {
                self.on_disk(move || Ok(digest_of(&root, &file, limit).ok().flatten())).await?
            }
            _ => None,
        };
        let shown = name.to_string_lossy();
        let away = TurnedAway { sha256, left: true, ..self.turned_away(&name, print, &odd.sentence(&shown)) };
        self.turn_away(away, odd.what()).await?;
        self.evidence.told(&name);
        Ok(())
    }

    fn turned_away(&self, name: &OsStr, print: Print, sentence: &str) -> TurnedAway {
        TurnedAway {
            source: Source::Folder(self.name.to_owned()),
            sender: self.config.sender.clone(),
            name: name.to_string_lossy().into_owned(),
            version: print.version(),
            bytes: print.bytes(),
            sha256: None,
            left: false,
            sentence: sentence.to_owned(),
        }
    }

    /// `what` is for the log, and names no file.
    async fn turn_away(&self, away: TurnedAway, what: &str) -> io::Result<()> {
        if let Some(id) = self.intake.turn_away(away).await.map_err(failed)? {
            tracing::warn!(
                folder.name = self.name, submission.id = %id,
                "folder {}: something that lies there is not taken: {what}; its result file, as submission {id}, has its name",
                self.name
            );
        }
        Ok(())
    }

    /// Removes results and refused files that are too old, now and then.
    async fn keep(&mut self) {
        let now = Instant::now();
        if self.kept.is_some_and(|kept| now.duration_since(kept) < KEEPING) {
            return;
        }
        (self.kept, self.told.1) = (Some(now), 0);
        let (wall, retention) = (self.intake.inner.clock.now(), &self.intake.config().retention);
        let before = |kept: SignedDuration| wall.checked_sub(kept).unwrap_or(jiff::Timestamp::MIN);
        let (results, refused) = (before(retention.results.signed()), before(retention.refused.signed()));
        let root = self.root.clone();
        match self.on_disk(move || keep::clear(&root, results, refused)).await {
            Ok(0) => {}
            Ok(n) => tracing::info!(
                folder.name = self.name,
                files = n,
                "folder {}: removed {n} old results and refused files",
                self.name
            ),
            Err(error) => tracing::warn!(
                folder.name = self.name,
                "folder {}: old results and refused files could not be removed: {error}",
                self.name
            ),
        }
    }
}

/// Trouble with the database, which is over at the next scan or told by an alarm of its own.
fn failed(refusal: Refusal) -> io::Error {
    io::Error::other(refusal.cause.unwrap_or(refusal.sentence))
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
