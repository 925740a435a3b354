//! The packets of a Submission's Jobs: made by a worker, sealed, and gone again where they are not recorded.
//!
//! Jobs that send the same pages share them: those are made and sealed once, and for each Job only what it has of its own. Before anything
//! is written, the disk has room for it promised, and what turns out larger asks for more as it goes.

use jiff::Timestamp;

use super::again::LOST;
use super::front::Front;
use super::plan::PlannedJob;
use super::{PrepareError, Preparer, packet_rules};
use crate::addressing::Selection;
use crate::job::{Hold, JobState};
use crate::packet::workshop::BoxError;
use crate::packet::{Bench, Contents, Input, Made, Measured, Sink, WorkshopError};
use crate::sealed::JobFacts;
use crate::spool::{Reservation, Sealed, Sealing, Spool, SpoolError, Writer};
use crate::store::{Document, NewJob, PacketRow};
use crate::text::hex;
use crate::vault::SealKey;

/// What a cover and what belongs to it take, as a rule.
const OWN: u64 = 128 << 10;
/// Files that are on their way to the disk at once.
const SYNCING: usize = 16;

/// For the sender of a document whose pages came out otherwise than they were counted.
const MISCOUNTED: &str =
    "The pages of this document could not be counted reliably. Print it to a new PDF and send that.";

/// Where a Submission's documents come from.
pub(super) struct Received<'a> {
    pub key: &'a SealKey,
    pub documents: &'a [Document],
    /// The names of those that are files; what has none is a mail.
    pub files: Vec<String>,
}

/// The opened documents, from which one packet after the other is made.
pub(super) struct Packets<'a> {
    preparer: &'a Preparer,
    from: Received<'a>,
    bench: Option<Bench>,
    /// Something was made since it was opened.
    used: bool,
    /// Why there are no more packets to be had from it.
    spoiled: Option<String>,
    room: Option<Reservation>,
    files: Files,
}

/// What a worker is to make.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Pages for several Jobs.
    Pages(Option<&'a Selection>),
    /// What one Job has of its own, with the pages made last.
    Front(&'a Front),
    /// A packet that shares nothing.
    Whole(&'a Front, Option<&'a Selection>),
}

impl Work<'_> {
    async fn by(self, bench: &mut Bench, sink: &mut Spooled<'_>) -> Result<Made, WorkshopError> {
        let (made, front) = match self {
            Work::Pages(selection) => return bench.pages(selection, sink).await.map(|()| Made::default()),
            Work::Front(front) => (bench.front(front.pdfs(), sink).await?, front),
            Work::Whole(front, selection) => (bench.make(front.pdfs(), selection, sink).await?, front),
        };
        match front.pages {
            // One number on the cover, in the packet and in the receipt, or nothing leaves.
            Some(printed) if printed != made.pages => {
                Err(WorkshopError::Held { sentence: MISCOUNTED.to_owned() })
            }
            _ => Ok(made),
        }
    }
}

/// What the worker made, and the file it was sealed as; nothing where there is no document; or why not, for the sender.
type MadeFile = Result<Option<(Made, Sealed)>, String>;

/// A Job's packet; nothing where there are no pages; or why it is held.
type Packet = Result<Option<Packed>, (Hold, String)>;

/// A Job's packet, and what its sender would like to know of it.
struct Packed {
    row: PacketRow,
    warnings: Vec<String>,
    /// First and last page of each part of the mail.
    parts: Vec<Option<(u32, u32)>>,
    /// The same of its text.
    body: Option<(u32, u32)>,
}

impl<'a> Packets<'a> {
    /// Opens the documents. What a worker could not cope with holds the packet; what is our own trouble is an error.
    pub(super) async fn open(
        preparer: &'a Preparer,
        from: Received<'a>,
    ) -> Result<(Contents, Packets<'a>), PrepareError> {
        let mut packets = Packets::none(preparer, from);
        let contents = packets.reopen().await?;
        Ok((contents, packets))
    }

    /// Without the documents.
    pub(super) fn none(preparer: &'a Preparer, from: Received<'a>) -> Packets<'a> {
        let files = Files { spool: preparer.spool.clone(), sealing: Vec::new(), names: Vec::new() };
        Packets { preparer, from, bench: None, used: false, spoiled: None, room: None, files }
    }

    async fn reopen(&mut self) -> Result<Contents, PrepareError> {
        (self.bench, self.used) = (None, false);
        let Preparer { spool, workshop, config, .. } = self.preparer;
        let mut documents = Vec::new();
        for (place, document) in self.from.documents.iter().enumerate() {
            let name = self.from.files.get(place).cloned();
            let input = name.map_or(Input::Mail, |name| Input::File { name });
            let reader = spool.read(self.from.key, &document.name).await?;
            documents.push((input, document.bytes, reader.into_stream()));
        }
        match workshop.open_all(documents, &packet_rules(config)).await {
            Ok(bench) => {
                let contents = bench.contents().clone();
                self.bench = Some(bench);
                Ok(contents)
            }
            Err(error) if error.is_ours() => Err(error.into()),
            Err(error) => Ok(Contents { hold: Some(error.sentence()), ..Contents::default() }),
        }
    }

    /// Makes and seals the packets of `planned`, whose documents have `bytes` bytes. Held Jobs have one too, where the documents can become
    /// pages, so that they can be looked at and released.
    pub(super) async fn make(
        &mut self,
        planned: Vec<PlannedJob>,
        bytes: u64,
        now: Timestamp,
    ) -> Result<Vec<NewJob>, PrepareError> {
        let groups = groups(&planned);
        if self.bench.is_some() && !groups.is_empty() {
            let own = OWN.saturating_mul(planned.len() as u64);
            let wanted = bytes.saturating_mul(groups.len() as u64).saturating_add(own);
            let reserve = self.preparer.config.limits.disk_reserve.get();
            self.room = Some(self.preparer.spool.promise(wanted, reserve)?);
        }
        let mut packets: Vec<Packet> = planned.iter().map(|_| Ok(None)).collect();
        for group in groups {
            for (place, packet) in self.group(&planned, &group).await? {
                if let Some(known) = packets.get_mut(place) {
                    *known = packet;
                }
            }
        }
        let jobs = planned.into_iter().zip(packets);
        jobs.map(|(job, packet)| self.job(job, packet, now)).collect()
    }

    /// The files of what was made, when all of them are on the disk.
    pub(super) async fn finish(mut self) -> Result<Files, PrepareError> {
        self.files.synced().await?;
        Ok(self.files)
    }

    /// The packets of Jobs that send the same pages, by their places in `planned`.
    async fn group(
        &mut self,
        planned: &[PlannedJob],
        group: &[usize],
    ) -> Result<Vec<(usize, Packet)>, PrepareError> {
        let jobs = || group.iter().filter_map(|place| Some((*place, planned.get(*place)?)));
        let mut packets = Vec::with_capacity(group.len());
        let several = group.len() > 1;
        let selection = jobs().next().and_then(|(_, job)| job.selection.as_ref());
        let shared = if several { self.seal(Work::Pages(selection)).await? } else { Ok(None) };
        for (place, job) in jobs() {
            packets.push((
                place,
                match (&shared, Front::of(job, &self.preparer.fonts).await) {
                    (Err(sentence), _) => Err((Hold::Part, sentence.clone())),
                    (_, Err(why)) => Err(why),
                    (Ok(None), Ok(_)) if several => Ok(None),
                    (Ok(shared), Ok(front)) => {
                        let shared = shared.as_ref().map(|(_, sealed)| sealed.name.as_str());
                        self.packet(job, front, shared).await?
                    }
                },
            ));
        }
        Ok(packets)
    }

    /// The packet of one Job: whole, or with the pages that are `shared`.
    async fn packet(
        &mut self,
        job: &PlannedJob,
        front: Front,
        shared: Option<&str>,
    ) -> Result<Packet, PrepareError> {
        let work = match shared {
            Some(_) => Work::Front(&front),
            None => Work::Whole(&front, job.selection.as_ref()),
        };
        Ok(match self.seal(work).await? {
            Ok(None) => Ok(None),
            Ok(Some((made, sealed))) => {
                let Sealed { name, bytes, sha256 } = sealed;
                let whole = || Measured { bytes, sha256: hex(&sha256) };
                let Measured { bytes, sha256 } = made.container.clone().unwrap_or_else(whole);
                let document = Document { name, bytes, sha256 };
                let shared = shared.map(str::to_owned);
                let row = PacketRow { document, shared, pages: made.pages, cover_pages: made.cover_pages };
                let warnings = front.warnings.into_iter().chain(made.warnings).collect();
                Ok(Some(Packed { row, warnings, parts: made.parts, body: made.body }))
            }
            Err(sentence) => Err((Hold::Part, sentence)),
        })
    }

    /// Has the worker make something, and seals it.
    async fn seal(&mut self, work: Work<'_>) -> Result<MadeFile, PrepareError> {
        loop {
            let Some(bench) = self.bench.as_mut() else {
                return Ok(self.spoiled.clone().map_or(Ok(None), Err));
            };
            let writer = self.preparer.spool.create(self.from.key)?;
            let mut sink = Spooled { writer, room: self.room.as_mut() };
            match work.by(bench, &mut sink).await {
                Ok(made) => {
                    self.used = true;
                    let sealed = self.files.add(sink.writer).await?;
                    return Ok(Ok(Some((made, sealed))));
                }
                Err(WorkshopError::Held { sentence }) => return Ok(Err(sentence)),
                // The time is one document's; here it went into the pages of those before. Each further one has time of
                // its own if it needs it.
                Err(WorkshopError::TimedOut(_)) if self.used => {
                    self.reopen().await?;
                    if self.bench.is_none() {
                        self.spoiled = Some(LOST.to_owned());
                    }
                }
                Err(error) if !error.is_ours() => {
                    // The worker is gone, and the next one would come to the same end over the next packet.
                    self.bench = None;
                    self.spoiled = Some(error.sentence());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn job(&self, job: PlannedJob, packet: Packet, now: Timestamp) -> Result<NewJob, PrepareError> {
        let config = &self.preparer.config;
        let (mut holds, mut warnings) = (job.holds, job.warnings);
        let (mut part_pages, mut body_pages) = (Vec::new(), None);
        let packet = match packet {
            Ok(None) => None,
            Ok(Some(packed)) => {
                warnings.extend(packed.warnings);
                (part_pages, body_pages) = (packed.parts, packed.body);
                Some(packed.row)
            }
            Err((hold, sentence)) => {
                holds.add(hold, sentence);
                None
            }
        };
        let held = holds.told();
        // Released by a person after that, it goes at once; until then the state machine knows it too.
        let due = job.send_at.unwrap_or(now).max(now);
        let state = match &held {
            None => JobState::Queued { due },
            Some((hold, _)) => {
                let until = now.saturating_add(config.policy.hold_for.signed()).unwrap_or(Timestamp::MAX);
                JobState::Held { hold: *hold, until }
            }
        };
        let facts = JobFacts {
            to: job.to,
            reference: job.route.reference.clone(),
            recipient_name: job.sheet.to_name.clone(),
            hold: held.map(|(_, sentence)| sentence),
            trace: job.trace,
            warnings,
            part_pages,
            body_pages,
        };
        let deadline = due.saturating_add(config.policy.deadline.signed()).unwrap_or(Timestamp::MAX);
        Ok(NewJob {
            id: job.id,
            version: job.version,
            recipient: job.entry.map(|entry| entry.key),
            number: job.number,
            rule: job.route.rule,
            route: job.providers,
            state,
            deadline,
            send_at: job.send_at,
            priority: job.priority,
            packet,
            facts: facts.seal(self.from.key)?,
            mark: job.mark,
        })
    }
}

/// The places of Jobs that send the same pages; those that a part holds have none.
fn groups(planned: &[PlannedJob]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Option<&Selection>, Vec<usize>)> = Vec::new();
    for (place, job) in planned.iter().enumerate() {
        if job.holds.has(Hold::Part) {
            continue;
        }
        let selection = job.selection.as_ref();
        match groups.iter_mut().find(|(known, _)| *known == selection) {
            Some((_, places)) => places.push(place),
            None => groups.push((selection, vec![place])),
        }
    }
    groups.into_iter().map(|(_, places)| places).collect()
}

/// Sealed files that no row names yet. Dropped before they are kept, they go.
pub(super) struct Files {
    spool: Spool,
    /// On their way to the disk; these see to that themselves.
    sealing: Vec<Sealing>,
    names: Vec<String>,
}

impl Files {
    async fn add(&mut self, writer: Writer) -> Result<Sealed, SpoolError> {
        if self.sealing.len() >= SYNCING {
            self.synced().await?;
        }
        let sealing = writer.seal().await?;
        let sealed = sealing.sealed.clone();
        self.sealing.push(sealing);
        Ok(sealed)
    }

    /// Returns when all of them are on the disk.
    async fn synced(&mut self) -> Result<(), SpoolError> {
        for sealing in std::mem::take(&mut self.sealing) {
            let name = sealing.sealed.name.clone();
            sealing.synced().await?;
            self.names.push(name);
        }
        Ok(())
    }

    /// A row names them now.
    pub(super) fn keep(mut self) {
        self.names.clear();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(error) = self.spool.forget_now(name) {
                tracing::warn!(error = %error, "a packet that is not needed stays until the next start: {error}");
            }
        }
    }
}

/// The spool as the place where a packet goes.
struct Spooled<'a> {
    writer: Writer,
    room: Option<&'a mut Reservation>,
}

impl Sink for Spooled<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BoxError> {
        if let Some(room) = &mut self.room {
            room.spend(bytes.len() as u64)?;
        }
        Ok(self.writer.write(bytes).await?)
    }
}
