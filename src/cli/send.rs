//! `faxbridge send`: submits files from the shell and follows them to the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use faxbridge::intake::{Arrival, Intake};
use faxbridge::job::{JobState, SubmissionId};
use faxbridge::job::{Source, number_words};
use faxbridge::routing::Rules;
use faxbridge::store::{Job, JobFilter, Verdict, within_process};
use tokio::io::AsyncReadExt;

use super::job::JobCommands;
use super::job::words::state_words;
use super::listing::{count, plain, say};
use super::{Bridge, ConfigFile, Misuse, daemon_runs};

/// Between two looks at the database.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// To whom: a key of the register, or a number that stands in it; may be given several times
    #[arg(long, value_name = "RECIPIENT", required = true, allow_hyphen_values = true)]
    to: Vec<String>,
    /// Name of the sender in the configuration; the only one when left out
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Return once the files are accepted
    #[arg(long)]
    no_wait: bool,
    /// Files, each a fax of its own
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let bridge = Bridge::open(&arguments.file.config).await?;
    own(&bridge.config.store.data_dir)?;
    let sender = sender(&bridge, arguments.from.as_deref())?;
    let intake = intake(&bridge)?;
    // All are looked at before the first is taken: a slip in the last name is not to leave half a batch behind.
    for file in &arguments.files {
        let facts = std::fs::metadata(file).map_err(|e| Misuse(format!("{}: {e}", file.display())))?;
        if !facts.is_file() {
            return Err(Misuse(format!("{} is not a file", file.display())).into());
        }
    }
    let mut submissions = Vec::new();
    let visit = bridge.spool.visit()?;
    for file in &arguments.files {
        let id = submit(&intake, file, &sender, &arguments.to).await?;
        say(format_args!("{}: accepted as submission {id}", plain(&file.display().to_string())))?;
        submissions.push((id, file.clone()));
    }
    drop(visit);
    let runs = daemon_runs(&bridge.config.store.data_dir);
    if !runs {
        eprintln!(
            "warning: no daemon is running here; the files are kept, and faxed once `faxbridge serve` is started"
        );
    }
    if arguments.no_wait {
        return Ok(());
    }
    if !runs {
        anyhow::bail!(
            "nothing to follow without a daemon; `faxbridge job show {}` tells later what became of it",
            first(&submissions)
        );
    }
    let mut following = Following { desk: JobCommands::of(bridge), told: BTreeMap::new(), live: Live::new() };
    following.follow(&submissions).await
}

/// Files written by another user than the daemon's could not be read by it.
fn own(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(data_dir).with_context(|| data_dir.display().to_string())?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Misuse(format!(
            "{} belongs to the user with id {owner}, and the daemon could not read what another one puts there; run this as that \
             user (sudo -u '#{owner}' faxbridge send ...)",
            data_dir.display()
        ))
        .into());
    }
    Ok(())
}

fn sender(bridge: &Bridge, from: Option<&str>) -> anyhow::Result<String> {
    let names: Vec<&str> = bridge.config.sender.iter().map(|sender| sender.name.as_str()).collect();
    match (from, names.as_slice()) {
        (Some(from), names) if names.contains(&from) => Ok(from.to_owned()),
        (Some(from), names) => Err(Misuse(format!(
            "--from {from:?} is no sender of the configuration; there are: {}",
            names.join(", ")
        ))
        .into()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, []) => {
            Err(Misuse("the configuration has no [[sender]]; add one to send as".to_owned()).into())
        }
        (None, names) => {
            Err(Misuse(format!("say who sends: --from NAME, one of: {}", names.join(", "))).into())
        }
    }
}

fn intake(bridge: &Bridge) -> anyhow::Result<Intake> {
    let rules = Rules::compile(&bridge.config.rule)
        .map_err(|faults| Misuse(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    // Passwords of mail senders may be for the daemon's eyes only, and are not needed here.
    let mut config = bridge.config.as_ref().clone();
    for sender in &mut config.sender {
        sender.password = None;
    }
    let intake = Intake::new(
        Arc::new(config),
        bridge.store.clone(),
        bridge.spool.clone(),
        Arc::new(rules),
        Arc::clone(&bridge.clock),
        within_process(),
    );
    intake.map_err(|sentence| Misuse(sentence).into())
}

async fn submit(intake: &Intake, file: &Path, sender: &str, to: &[String]) -> anyhow::Result<SubmissionId> {
    let refused = |refusal: faxbridge::intake::Refusal| match refusal.cause {
        Some(cause) => anyhow::anyhow!("{}: {} ({cause})", file.display(), refusal.sentence),
        None => anyhow::anyhow!("{}: {}", file.display(), refusal.sentence),
    };
    let mut document = tokio::fs::File::open(file).await.with_context(|| file.display().to_string())?;
    let mut draft = intake.begin().await.map_err(refused)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = document.read(&mut chunk).await.with_context(|| file.display().to_string())?;
        match chunk.get(..n) {
            Some(bytes) if n > 0 => draft.write(bytes).await.map_err(refused)?,
            _ => break,
        }
    }
    let arrival = Arrival {
        envelope_to: to.to_vec(),
        file: file.file_name().map(|name| name.to_string_lossy().into_owned()),
        ..Arrival::new(Source::Cli, sender.to_owned())
    };
    Ok(intake.accept(draft, arrival).await.map_err(refused)?.id())
}

fn first(submissions: &[(SubmissionId, PathBuf)]) -> String {
    submissions.first().map(|(id, _)| id.to_string()).unwrap_or_default()
}

/// How one submission stands.
enum Stand {
    /// Not prepared yet, or some of its jobs move.
    Moving(String),
    /// Delivered to everybody.
    Good,
    /// It ended otherwise, or a person has to decide.
    Bad,
}

/// Follows submissions: a line for every change, and on a terminal one that shows what is waited for.
struct Following {
    desk: JobCommands,
    /// The last line of each job or submission.
    told: BTreeMap<String, String>,
    live: Live,
}

impl Following {
    async fn follow(&mut self, submissions: &[(SubmissionId, PathBuf)]) -> anyhow::Result<()> {
        let start = self.desk.bridge.clock.now();
        loop {
            let (mut good, mut bad, mut waiting) = (0, 0, Vec::new());
            for (id, _) in submissions {
                match self.look(*id).await? {
                    Stand::Moving(what) => waiting.push(what),
                    Stand::Good => good += 1,
                    Stand::Bad => bad += 1,
                }
            }
            let Some(first) = waiting.first() else {
                self.live.clear()?;
                return match bad {
                    0 => say(format_args!("Delivered: {}.", count(good, "file"))),
                    _ => Err(anyhow::anyhow!("not delivered: {bad} of {}", count(submissions.len(), "file"))),
                };
            };
            let seconds = self.desk.bridge.clock.now().duration_since(start).as_secs();
            let ended = good + bad;
            self.live.show(&format!("{seconds} s, {ended} of {} ended, {first}", submissions.len()))?;
            if !daemon_runs(&self.desk.bridge.config.store.data_dir) {
                self.live.clear()?;
                anyhow::bail!("the daemon has stopped; the files are kept, and faxed once it runs again");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, id: SubmissionId) -> anyhow::Result<Stand> {
        let store = self.desk.bridge.store.clone();
        let submission = store.submission(id).await?.with_context(|| format!("submission {id} is gone"))?;
        match submission.verdict {
            None => return Ok(Stand::Moving(format!("submission {id} is being prepared"))),
            Some(Verdict::Jobs | Verdict::Known) => {}
            Some(Verdict::Refused | Verdict::Ignored | Verdict::Command) => {
                let why = self.desk.refusal(&submission).unwrap_or_else(|| "it is not faxed.".to_owned());
                self.tell(id.as_str(), format!("submission {id} was refused: {why}"))?;
                return Ok(Stand::Bad);
            }
        }
        let filter = JobFilter { submission: Some(id), ..JobFilter::default() };
        let jobs = store.jobs(&filter, 1000).await?;
        let now = self.desk.bridge.clock.now();
        let mut moving = None;
        for job in &jobs {
            let words = state_words(&job.state, now, &self.desk.times);
            let line = format!("job {} to {}: {words}", job.id, whom(job));
            if !job.state.is_final() && !matches!(job.state, JobState::Held { .. }) {
                moving.get_or_insert(line.clone());
            }
            match self.desk.hold_words(job, &submission) {
                Some(why) => {
                    self.tell(job.id.as_str(), format!("job {} to {} is held: {why}", job.id, whom(job)))?;
                }
                None => self.tell(job.id.as_str(), line)?,
            }
        }
        Ok(match moving {
            Some(line) => Stand::Moving(line),
            None if jobs.iter().all(|job| job.state == JobState::Delivered) => Stand::Good,
            None => Stand::Bad,
        })
    }

    /// Says what has changed, once.
    fn tell(&mut self, whose: &str, line: String) -> anyhow::Result<()> {
        if self.told.get(whose) == Some(&line) {
            return Ok(());
        }
        self.live.clear()?;
        say(plain(&line))?;
        self.told.insert(whose.to_owned(), line);
        Ok(())
    }
}

fn whom(job: &Job) -> String {
    let number = job.number.as_ref().map(number_words);
    match (&job.recipient, number) {
        (Some(key), Some(number)) => format!("{key} at {number}"),
        (Some(only), None) => only.clone(),
        (None, Some(only)) => only,
        (None, None) => "its recipient".to_owned(),
    }
}

/// The line on a terminal that is written over; nothing where nobody watches.
struct Live {
    terminal: bool,
    shown: bool,
}

impl Live {
    fn new() -> Self {
        Live { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, text: &str) -> anyhow::Result<()> {
        if self.terminal {
            // Longer than a narrow terminal it would wrap, and could not be written over.
            let text: String = plain(text).chars().take(78).collect();
            write!(std::io::stderr(), "\r\x1b[2K{text}")?;
            std::io::stderr().flush()?;
            self.shown = true;
        }
        Ok(())
    }

    fn clear(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.shown) {
            write!(std::io::stderr(), "\r\x1b[2K")?;
            std::io::stderr().flush()?;
        }
        Ok(())
    }
}
