//! `faxbridge preview`: mails and files through everything but sending.
//!
//! The same parts as in the daemon ([`Workshop`], [`Planner`], cover), so that what is shown is what would happen; but the
//! database is only looked at, nothing is sealed, and what is made lies readable in `--out`: that is the point of it.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use faxbridge::addressing::readers::at_rcpt;
use faxbridge::clock::{SharedClock, SystemClock};
use faxbridge::config::{Config, Proof, Sender};
use faxbridge::cover::{self, Fonts};
use faxbridge::intake::proof::unproven;
use faxbridge::job::{self, JobId, Priority, Source};
use faxbridge::packet::{self, Bench, Contents, Made, Workshop, WorkshopLimits};
use faxbridge::prepare::front::Front;
use faxbridge::prepare::packet_rules;
use faxbridge::prepare::plan::{Plan, PlannedJob, Planner, Request};
use faxbridge::routing::{Ask, Route, Rules};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::AsyncReadExt;

use super::listing::{print, say};
use super::{ConfigFile, Misuse, load, look_at_store};
use faxbridge::addressing::Selection;
use faxbridge::sealed::Part;
use input::Input;
use shape::{PreviewVerdict, Shown, ShownJob, ShownPacket, ShownPart};

mod input;
pub(super) mod shape;

/// Bytes of a document handed over at a time.
const CHUNK: usize = 256 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Folder for the final PDFs and the pictures of their pages, unsealed; made if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// One JSON object a line, one line for each input
    #[arg(long)]
    json: bool,
    /// How the inputs are taken to come in, as rules call it: smtp, sftp:USER, folder:NAME, cli
    ///
    /// Left out: smtp for mails; for files cli with --to or --recipient, else the first watched folder.
    #[arg(long, value_name = "NAME", value_parser = source_of)]
    source: Option<Source>,
    /// Who sends, in place of a mail's From
    #[arg(long, value_name = "ADDR")]
    from: Option<String>,
    /// Envelope recipients, in place of a mail's To, Cc and Bcc; for files the recipient's key or number
    #[arg(long, value_name = "ADDR")]
    to: Vec<String>,
    /// Key in the register, in place of what the rules say
    #[arg(long, value_name = "KEY")]
    recipient: Option<String>,
    /// Dots per inch of the pictures
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(20..=400))]
    dpi: u32,
    /// Make no pictures
    #[arg(long)]
    no_pictures: bool,
    /// Mails, PDFs, other files, or folders of them
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
}

fn one_or_more(inputs: usize) -> String {
    if inputs == 1 { "one input is".to_owned() } else { format!("{inputs} inputs are") }
}

fn source_of(text: &str) -> Result<Source, String> {
    text.parse().map_err(|_| "allowed: smtp, imap:NAME, sftp:USER, folder:NAME, cli".to_owned())
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let desk = Previewer::open(arguments).await?;
    let inputs = input::inputs(&desk.arguments.inputs, &desk.arguments.out);
    let at_once = desk.config.limits.workers.max(1);
    let missing = inputs.iter().filter(|input| !input.path.exists()).count();
    let mut shown = stream::iter(inputs).map(|input| desk.show(input)).buffered(at_once);
    while let Some(shown) = shown.next().await {
        if desk.arguments.json {
            say(serde_json::to_string(&shown)?)?;
        } else {
            print(format_args!("{}\n{shown}\n", super::listing::plain(&shown.input)))?;
        }
    }
    if missing > 0 {
        anyhow::bail!("{} not there; look at the names that were given", one_or_more(missing));
    }
    Ok(())
}

/// What all inputs share.
struct Previewer {
    arguments: Arguments,
    config: Arc<Config>,
    planner: Planner,
    rules: Arc<Rules>,
    workshop: Workshop,
    fonts: Arc<Fonts>,
    zone: TimeZone,
    clock: SharedClock,
}

/// One input, opened.
struct Opened {
    request: Request,
    contents: Contents,
    bench: Option<Bench>,
    from: Option<String>,
    notes: Vec<String>,
}

impl Previewer {
    async fn open(arguments: Arguments) -> anyhow::Result<Previewer> {
        let loaded = load(&arguments.file.config)?;
        let misuse = |key: &str, error: String| Misuse(loaded.fault(key, error).to_string());
        let config = Arc::new(loaded.config.clone());
        let rules = Rules::compile(&config.rule).map_err(|faults| {
            Misuse(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let rules = Arc::new(rules);
        let store = look_at_store(&config.store.data_dir).await?;
        let planner = Planner::new(Arc::clone(&config), store, Arc::clone(&rules))
            .map_err(|error| misuse("organization", error))?;
        let fonts = Fonts::with_files(&config.cover.fonts)
            .map_err(|error| misuse("cover.fonts", error.to_string()))?;
        let zone = TimeZone::get(&config.organization.time_zone)
            .map_err(|error| misuse("organization.time_zone", error.to_string()))?;
        let limits = WorkshopLimits {
            workers: config.limits.workers,
            memory: config.limits.worker_memory.get(),
            time: config.limits.worker_time.std(),
        };
        let workshop = Workshop::new(std::env::current_exe()?, limits);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&arguments.out)
            .map_err(|error| Misuse(format!("--out {}: {error}", arguments.out.display())))?;
        let (fonts, clock) = (Arc::new(fonts), Arc::new(SystemClock));
        Ok(Previewer { arguments, config, planner, rules, workshop, fonts, zone, clock })
    }

    /// Whatever happens, an input gets its verdict.
    async fn show(&self, input: Input) -> Shown {
        let opened = match self.open_input(&input).await {
            Ok(opened) => opened,
            Err(sentence) => return refused(&input, sentence),
        };
        let from = opened.from.clone();
        match self.preview(&input, opened).await {
            Ok(shown) => shown,
            Err(error) => Shown { from, ..refused(&input, format!("It could not be previewed: {error:#}.")) },
        }
    }

    /// Opens the document in a child. What intake would refuse is an error here, as a sentence.
    async fn open_input(&self, input: &Input) -> Result<Opened, String> {
        let unreadable = |error: std::io::Error| format!("The file cannot be read: {error}.");
        let size = std::fs::metadata(&input.path).map_err(unreadable)?;
        if size.is_dir() {
            return Err("The folder cannot be listed.".to_owned());
        }
        let limit = self.config.limits.submission;
        if size.len() > limit.get() {
            return Err(format!("This is larger than the {limit} that are taken here (limits.submission)."));
        }
        let head = input::head(&input.path).map_err(unreadable)?;
        if head.is_empty() {
            return Err("The file is empty; there is nothing to fax.".to_owned());
        }
        let mail = match &self.arguments.source {
            Some(source) => source.kind().brings_mails(),
            None => input::is_mail(&input.path, &head),
        };
        let file = input.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let kind = if mail { packet::Input::Mail } else { packet::Input::File { name: file.clone() } };
        let document = tokio::fs::File::open(&input.path).await.map_err(unreadable)?;
        let bytes = document.metadata().await.map_or(0, |metadata| metadata.len());
        let opened = self.workshop.open(kind, bytes, chunks(document), &packet_rules(&self.config)).await;
        let (contents, bench) = match opened {
            Ok(bench) => (bench.contents().clone(), Some(bench)),
            Err(error) if error.is_ours() => return Err(format!("It could not be opened here: {error}.")),
            Err(error) => (Contents { hold: Some(error.sentence()), ..Contents::default() }, None),
        };
        let mut opened = if mail { self.as_mail(&head, contents) } else { self.as_file(file, contents) };
        opened.bench = bench;
        Ok(opened)
    }

    fn as_mail(&self, head: &[u8], contents: Contents) -> Opened {
        let from = self.arguments.from.clone().or_else(|| contents.mail.as_ref()?.from_address.clone());
        let mut notes = Vec::new();
        let sender = from
            .as_deref()
            .and_then(|from| self.config.sender.iter().find(|sender| sender.writes_from(from)));
        if sender.is_none() {
            let who = from.as_deref().unwrap_or("nobody");
            let said = at_the_door(who);
            notes.push(format!(
                "no sender of the configuration writes from {who}: SMTP would refuse this mail, {said}"
            ));
        }
        if let (Some(sender), Some(from)) = (sender, from.as_deref()) {
            notes.extend(proofs(sender, from));
        }
        let readers = sender.map_or(Vec::new(), |sender| sender.readers.clone());
        let sender = sender.map_or("unknown".to_owned(), |sender| sender.name.clone());
        let source = self.arguments.source.clone().unwrap_or(Source::Smtp);
        let mut to = self.arguments.to.clone();
        if to.is_empty() {
            let addressed = input::addressed_to(head);
            // Colleagues in Cc are none of ours: the mail server hands over only what is faxed here.
            let ours = |to: &&String| {
                at_rcpt(to, &readers).iter().any(|to| self.rules.could_take(&source, &sender, to))
            };
            to = addressed.iter().filter(ours).cloned().collect();
            if to.is_empty() {
                to = addressed;
            }
        }
        let recipient = self.arguments.recipient.clone();
        let to = if recipient.is_some() { Vec::new() } else { to };
        let envelope_from = from.clone();
        let request = Request { source, sender, to, recipient, envelope_from, ..Request::default() };
        Opened { request, contents, bench: None, from, notes }
    }

    fn as_file(&self, file: String, contents: Contents) -> Opened {
        let named = !self.arguments.to.is_empty() || self.arguments.recipient.is_some();
        let source =
            self.arguments.source.clone().unwrap_or_else(|| match self.config.folder.keys().next() {
                Some(folder) if !named => Source::Folder(folder.clone()),
                _ => Source::Cli,
            });
        let senders = &self.config.sender;
        let from = self.arguments.from.clone();
        let by_source = match &source {
            Source::Sftp(user) => senders.iter().find(|sender| sender.sftp_user.as_ref() == Some(user)),
            Source::Folder(name) => {
                let wanted = self.config.folder.get(name).map(|folder| &folder.sender);
                senders.iter().find(|sender| Some(&sender.name) == wanted)
            }
            _ => from.as_deref().and_then(|from| {
                senders.iter().find(|sender| sender.writes_from(from) || sender.name == from)
            }),
        };
        let mut notes = Vec::new();
        if by_source.is_none() && source != Source::Cli {
            notes.push(format!("no sender of the configuration sends by {source}"));
        }
        let sender = by_source.or(senders.first()).map_or("unknown".to_owned(), |sender| sender.name.clone());
        let (to, recipient) = (self.arguments.to.clone(), self.arguments.recipient.clone());
        let to = if recipient.is_some() { Vec::new() } else { to };
        let request = Request { source, sender, to, file: Some(file), recipient, ..Request::default() };
        Opened { request, contents, bench: None, from, notes }
    }

    async fn preview(&self, input: &Input, mut opened: Opened) -> anyhow::Result<Shown> {
        let now = self.clock.now();
        let plan = self.planner.plan(&opened.request, &opened.contents, now).await?;
        let mut bench = opened.bench.take();
        let contents = opened.contents;
        let mut shown = Shown {
            input: input.shown.clone(),
            verdict: PreviewVerdict::Ready,
            reason: None,
            subject: contents.mail.as_ref().and_then(|mail| mail.subject.clone()),
            from: opened.from,
            parts: Vec::new(),
            packet: None,
            jobs: Vec::new(),
            traces: Vec::new(),
            notes: opened.notes,
        };
        let mut first_made = None;
        match plan {
            Plan::Ignored(reason) => (shown.verdict, shown.reason) = (PreviewVerdict::Ignored, Some(reason)),
            Plan::Refused(sentence, traces) => {
                (shown.verdict, shown.reason) = (PreviewVerdict::Refused, Some(sentence));
                shown.traces = traces;
            }
            // Only the daemon carries commands out.
            Plan::Command(carried) => {
                (shown.verdict, shown.reason) = (PreviewVerdict::Ignored, Some(carried.sentence));
            }
            Plan::Jobs(jobs) => {
                let several = jobs.len() > 1;
                for (n, planned) in jobs.into_iter().enumerate() {
                    shown.traces.extend(planned.trace.iter().filter(|_| n == 0).cloned());
                    let (job, made) = self
                        .job(
                            input,
                            planned,
                            several.then_some(n + 1),
                            bench.as_mut(),
                            &contents,
                            &mut shown.notes,
                        )
                        .await?;
                    if let (None, Some((pdf, made))) = (&shown.packet, made) {
                        shown.packet =
                            Some(ShownPacket { pdf, pages: made.pages, cover_pages: made.cover_pages });
                        first_made = Some(made);
                    }
                    if let (PreviewVerdict::Ready, Some(why)) = (shown.verdict, &job.held) {
                        (shown.verdict, shown.reason) = (PreviewVerdict::Held, Some(why.clone()));
                    }
                    shown.jobs.push(job);
                }
            }
        }
        if shown.jobs.is_empty() && contents.hold.is_none() {
            // Nobody gets it, but its pages can be looked at, with the recipient left blank on the cover.
            let front = self.blank_front(&opened.request, &contents, now).await?;
            match self.make(input, front, None, None, bench.as_mut(), &mut shown.notes).await? {
                Ok(made) => {
                    let (pdf, made) = made;
                    shown.packet =
                        Some(ShownPacket { pdf, pages: made.pages, cover_pages: made.cover_pages });
                    first_made = Some(made);
                }
                Err(sentence) => shown.notes.push(sentence),
            }
        }
        shown.parts = parts(&contents, first_made.as_ref());
        Ok(shown)
    }

    /// One job and, where its pages could be made, their PDF.
    async fn job(
        &self,
        input: &Input,
        planned: PlannedJob,
        n: Option<usize>,
        bench: Option<&mut Bench>,
        contents: &Contents,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<(ShownJob, Option<(String, Made)>)> {
        notes.extend(planned.warnings.iter().cloned());
        if let Some(at) = planned.send_at {
            let at = at.to_zoned(self.zone.clone());
            notes.push(format!("it is sent not before {}", at.strftime("%-d %B %Y, %H:%M %Z")));
        }
        if planned.priority != Priority::Normal {
            notes.push(format!("its priority is {}", planned.priority));
        }
        let mut held = planned.holds.told().map(|(_, sentence)| sentence);
        let mut made = None;
        // A list of the rule that is none was dropped by the plan, and must not show all pages in its place.
        let wrong_pages = planned.route.pages.is_some() && planned.selection.is_none();
        let can_be_made = contents.hold.is_none() || contents.nothing && planned.body.is_some();
        if can_be_made && !wrong_pages {
            let front = Front::of(&planned, &self.fonts).await.map_err(|(_, sentence)| sentence);
            match self.make(input, front, planned.selection.as_ref(), n, bench, notes).await? {
                Ok(done) => made = Some(done),
                Err(sentence) => held = held.or(Some(sentence)),
            }
        }
        let asked = match &planned.route.ask {
            Ask::Key(key) => Some(key.clone()),
            Ask::Number(_) => None,
        };
        let job = ShownJob {
            recipient: planned.entry.map(|entry| entry.key).or(asked),
            number: planned.number.map(|number| number.to_string()),
            rule: planned.route.rule,
            held,
            pdf: n.and(made.as_ref().map(|(pdf, _)| pdf.clone())),
        };
        Ok((job, made))
    }

    /// Makes the final PDF with `front` before the documents and pictures of its pages; the inner error is the sentence of a hold.
    async fn make(
        &self,
        input: &Input,
        front: Result<Front, String>,
        selection: Option<&Selection>,
        n: Option<usize>,
        bench: Option<&mut Bench>,
        notes: &mut Vec<String>,
    ) -> anyhow::Result<Result<(String, Made), String>> {
        let Some(bench) = bench else { return Ok(Err("The document could not be opened.".to_owned())) };
        let front = match front {
            Ok(front) => front,
            Err(sentence) => return Ok(Err(sentence)),
        };
        let mut pdf = Vec::new();
        let made = match bench.make(front.pdfs(), selection, &mut pdf).await {
            Ok(made) => made,
            Err(error) if error.is_ours() => return Err(error.into()),
            Err(error) => return Ok(Err(error.sentence())),
        };
        notes.extend(front.warnings.into_iter().chain(made.warnings.iter().cloned()));
        let stem = match n {
            // Not `-2`, which tells inputs of one name apart.
            Some(n) => format!("{}-recipient-{n}", input.stem),
            None => input.stem.clone(),
        };
        let name = format!("{stem}.pdf");
        self.write(&name, &pdf)?;
        drop(pdf);
        // Packets of one input differ in their covers only: the pages behind are shown once.
        let pictured = if n.is_none_or(|n| n == 1) { made.pages } else { made.cover_pages };
        if !self.arguments.no_pictures {
            for page in 0..pictured {
                match bench.pictures(page..page + 1, self.arguments.dpi).await {
                    Ok(pictures) => {
                        for picture in pictures {
                            self.write(&format!("{stem}-page-{:03}.png", page + 1), &picture)?;
                        }
                    }
                    Err(error) => {
                        notes.push(format!("no pictures from page {} on: {error}", page + 1));
                        break;
                    }
                }
            }
        }
        Ok(Ok((name, made)))
    }

    /// A cover that leaves the unknown blank; the inner error is the sentence of a hold.
    async fn blank_front(
        &self,
        request: &Request,
        contents: &Contents,
        now: Timestamp,
    ) -> anyhow::Result<Result<Front, String>> {
        let route = Route::direct(Ask::Key(String::new()));
        let chance = job::chance().map_err(|_| anyhow::anyhow!("no randomness"))?;
        let sender = self.config.sender.iter().find(|sender| sender.name == request.sender);
        let sheet = cover::fill::sheet(&cover::fill::Known {
            config: &self.config,
            sender,
            author: request.claim(contents, sender).author(&self.config).0,
            subject: contents.mail.as_ref().and_then(|mail| mail.subject.as_deref()),
            message: None,
            attention: None,
            from: None,
            entry: None,
            number: None,
            route: &route,
            job: JobId::new(now, chance),
            pages: contents.pages.saturating_add(1),
            at: now.to_zoned(self.zone.clone()),
        });
        Ok(Front::draw(sheet, true, None, &self.fonts).await.map_err(|(_, sentence)| sentence))
    }

    /// For the eyes of whoever runs this alone.
    fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.arguments.out.join(name);
        write_private(&path, bytes).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }
}

/// What the client of an unproven mail hears.
fn at_the_door(from: &str) -> String {
    let refusal = unproven(from);
    format!("with \"550 {} {}\"", refusal.code, refusal.sentence)
}

/// What a mail from this sender must come with, which no file shows.
fn proofs(sender: &Sender, from: &str) -> Option<String> {
    let ways = [
        (Proof::Network, !sender.networks.is_empty(), "from one of its networks"),
        (Proof::Login, sender.login.is_some(), "with its login and password"),
        (Proof::Certificate, !sender.certificates.is_empty(), "with its client certificate"),
        (Proof::Dmarc, true, "with a signature or SPF that DMARC accepts"),
        (Proof::Upstream, true, "proven by the mail server in front"),
    ];
    let ways = ways.iter().filter(|(proof, there, _)| *there && sender.accepts(*proof));
    let ways: Vec<&str> = ways.map(|(.., words)| *words).collect();
    if ways.is_empty() {
        return None;
    }
    let (ways, said) = (ways.join(", or "), at_the_door(from));
    Some(format!("taken over SMTP only if it comes {ways}; without that it is refused, as {said}"))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

/// The file in chunks.
fn chunks(file: tokio::fs::File) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send {
    stream::try_unfold(file, |mut file| async move {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await?;
        Ok((read > 0).then(|| (Bytes::from(chunk), file)))
    })
}

/// Every part, with its pages in the final PDF or why there are none.
fn parts(contents: &Contents, made: Option<&Made>) -> Vec<ShownPart> {
    let shown = |(place, part): (usize, &Part)| {
        let body = || made.and_then(|made| made.body).filter(|_| part.body);
        let pages = made.and_then(|made| made.parts.get(place).copied().flatten()).or_else(body);
        let left_out = match (pages, &part.left_out, &part.holds) {
            (Some(_), _, _) => None,
            (None, Some(why), _) | (None, None, Some(why)) => Some(why.clone()),
            (None, None, None) if made.is_some() => {
                Some("Its pages are not among those that were selected.".to_owned())
            }
            (None, None, None) => Some("The packet is held, so that nothing of it is faxed.".to_owned()),
        };
        ShownPart { name: part.name.clone(), kind: part.kind, sha256: part.sha256.clone(), pages, left_out }
    };
    contents.parts.iter().enumerate().map(shown).collect()
}

fn refused(input: &Input, sentence: String) -> Shown {
    Shown {
        input: input.shown.clone(),
        verdict: PreviewVerdict::Refused,
        reason: Some(sentence),
        subject: None,
        from: None,
        parts: Vec::new(),
        packet: None,
        jobs: Vec::new(),
        traces: Vec::new(),
        notes: Vec::new(),
    }
}
