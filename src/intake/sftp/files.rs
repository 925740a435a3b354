//! The requests of one SFTP channel, on the virtual tree of its user.
//!
//! | place | a client may |
//! |---|---|
//! | `/` | list it |
//! | `/in` | upload; rename an upload from a temporary name; see what was accepted until its fax is final |
//! | `/results` | list, read and remove result files |
//!
//! An upload counts when its handle is closed under a final name, or when it is renamed to one; "yes" is said only when
//! the intake has it on disk. What was accepted can be seen, so that clients which check size after an upload
//! are content, but neither read, changed nor removed: from then on it is a fax, and `job cancel` is the way to stop it.
//!
//! The same name again, whatever has become of the first, is a new file: the same bytes are known and answered as such, others
//! are another fax. A client need not ask to have the first emptied (OpenSSH's scp does not); what it writes must begin at
//! byte 0 all the same, so that no half of a resumed upload passes for a file.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use russh_sftp::extensions::HardlinkExtension;
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, Open, OpenFlags, Packet, Status, StatusCode, Version,
};

use super::keeper::{self, Keeper, Refused};
use super::refusals::{Reason, Refusals, User};
use super::shares::{Room, Writing};
use super::shelf::{Lying, Owed, Presence, Shelves, Temporary};
use super::upload::{Mode, Upload, Whole, sentence};
use crate::crash;
use crate::intake::resting::NotAccepted;
use crate::intake::{Draft, Drop as Dropped, Intake, SftpUser};
use crate::sealed::ResultFile;
use crate::shared_folder::names::{self, BadName, Place};

/// Files and listings a channel may have open at once.
const HANDLES: usize = 64;
/// Entries in one answer to SSH_FXP_READDIR.
const ENTRIES: usize = 100;
/// Most bytes in one answer to SSH_FXP_READ.
const READ: u32 = 32 << 10;

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = russh_sftp::extensions::FSYNC;

/// What the channels of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) intake: Intake,
    pub(super) shelves: Arc<Shelves>,
    pub(super) refusals: Arc<Refusals>,
    /// A slow upload is ended after this, and silence.
    pub(super) idle: Duration,
    pub(super) temporary_for: Duration,
    pub(super) max_unaccepted: u64,
}

/// One channel's view: its user, and what it has open.
pub(super) struct Files {
    shared: Shared,
    keeper: Keeper,
    user: SftpUser,
    address: IpAddr,
    open: HashMap<u64, Opened>,
    next_handle: u64,
    greeted: bool,
    presence: Presence,
}

enum Opened {
    Upload(Box<Upload>, Writing),
    Listing(std::vec::IntoIter<File>),
    Result(ResultFile),
}

/// A whole file, on its way in or from the shelf.
enum Body {
    Draft(Draft, Room),
    Lying(Lying),
}

impl Body {
    fn bytes(&self) -> u64 {
        match self {
            Body::Draft(draft, _) => draft.written(),
            Body::Lying(lying) => lying.resting.bytes(),
        }
    }
}

/// A request refused: the code for the program, the sentence for the person.
#[derive(Debug)]
pub(super) struct No {
    code: StatusCode,
    sentence: String,
}

impl No {
    fn new(code: StatusCode, sentence: impl Into<String>) -> Self {
        No { code, sentence: sentence.into() }
    }

    fn failure(sentence: impl Into<String>) -> Self {
        No::new(StatusCode::Failure, sentence)
    }

    fn denied(sentence: &str) -> Self {
        No::new(StatusCode::PermissionDenied, sentence)
    }

    fn missing() -> Self {
        No::new(StatusCode::NoSuchFile, "There is no such file.")
    }

    /// As the answer to request `id`.
    pub(super) fn packet(self, id: u32) -> Packet {
        Packet::status(id, self.code, &self.sentence, "en")
    }
}

impl From<BadName> for No {
    fn from(bad: BadName) -> Self {
        No::failure(format!("Refused: {bad}."))
    }
}

impl Files {
    pub(super) fn new(shared: Shared, user: SftpUser, address: IpAddr) -> Self {
        let presence = shared.shelves.enter(&user.user);
        let keeper = Keeper { intake: shared.intake.clone(), shelves: Arc::clone(&shared.shelves) };
        let (open, next_handle, greeted) = (HashMap::new(), 0, false);
        Files { shared, keeper, user, address, open, next_handle, greeted, presence }
    }

    pub(super) fn user(&self) -> &str {
        &self.user.user
    }

    /// Whether a file is being written.
    pub(super) fn uploading(&self) -> bool {
        self.uploads().next().is_some()
    }

    /// Ends uploads that only hold a place.
    pub(super) fn end_slow_ones(&mut self, now: Instant) {
        for opened in self.open.values_mut() {
            if let Opened::Upload(upload, _) = opened {
                upload.end_if_slow(now, self.shared.idle);
            }
        }
    }

    /// Answers every request but SSH_FXP_WRITE. `None`: this is no request that a client may send now.
    pub(super) async fn answer(&mut self, request: Packet) -> Option<Packet> {
        if let Packet::Init(_) = request {
            return self.greet();
        }
        if !self.greeted {
            return None;
        }
        let id = request.get_request_id();
        let answer = match request {
            Packet::Open(open) => self.open(open).await,
            Packet::Close(close) => self.close(id, &close.handle).await,
            Packet::Read(read) => self.read(id, &read.handle, read.offset, read.len),
            Packet::Lstat(lstat) => self.stat(id, &lstat.path).await,
            Packet::Stat(stat) => self.stat(id, &stat.path).await,
            Packet::Fstat(fstat) => self.fstat(id, &fstat.handle),
            Packet::SetStat(set) => self.set_stat(id, &set.path, &set.attrs).await,
            Packet::FSetStat(set) => self.fset_stat(id, &set.handle, &set.attrs),
            Packet::OpenDir(dir) => self.open_listing(id, &dir.path).await,
            Packet::ReadDir(dir) => self.read_listing(id, &dir.handle),
            Packet::Remove(remove) => self.remove(id, &remove.filename).await,
            Packet::MkDir(dir) => make_folder(id, &dir.path),
            Packet::RmDir(_) => Err(No::denied("Folders cannot be removed here.")),
            Packet::RealPath(real) => real_path(id, &real.path),
            Packet::Rename(rename) => self.rename(id, &rename.oldpath, &rename.newpath).await,
            Packet::ReadLink(_) | Packet::Symlink(_) => Err(unsupported("There are no links here.")),
            Packet::Extended(extended) => self.extended(id, &extended.request, extended.data).await,
            _ => return None,
        };
        Some(answer.unwrap_or_else(|no| no.packet(id)))
    }

    /// The answer to a request of no known type; `None` before the greeting.
    pub(super) fn unsupported(&self, id: u32) -> Option<Packet> {
        self.greeted.then(|| unsupported("This request is not supported.").packet(id))
    }

    /// SSH_FXP_WRITE.
    pub(super) async fn write(&mut self, handle: &[u8], offset: u64, data: Bytes) -> Result<(), No> {
        let number = std::str::from_utf8(handle).ok().and_then(|handle| handle.parse().ok());
        let Some(Opened::Upload(upload, _)) = number.and_then(|number: u64| self.open.get_mut(&number))
        else {
            return Err(bad_handle());
        };
        upload.write(offset, data).await.map_err(No::failure)
    }

    fn greet(&mut self) -> Option<Packet> {
        if std::mem::replace(&mut self.greeted, true) {
            return None;
        }
        let mut version = Version::new();
        version.extensions.insert(POSIX_RENAME.into(), "1".into());
        version.extensions.insert(FSYNC.into(), "1".into());
        Some(version.into())
    }

    async fn open(&mut self, request: Open) -> Result<Packet, No> {
        if self.open.len() >= HANDLES {
            return Err(No::failure("Too many files are open in this session. Close some first."));
        }
        let writing = request.pflags.intersects(OpenFlags::WRITE | OpenFlags::APPEND);
        let opened = match (names::place(&request.filename)?, writing) {
            (Place::Upload(name), true) => self.begin(name, request.pflags).await?,
            (Place::Upload(name), false) => {
                self.size_in(&name).await?.ok_or_else(No::missing)?;
                return Err(No::denied("Files in /in were handed over and cannot be read back."));
            }
            (Place::Result(name), false) => {
                Opened::Result(self.results().await?.remove(&name).ok_or_else(No::missing)?)
            }
            (Place::Result(_), true) => {
                return Err(No::denied("Only faxbridge writes to /results. Upload to /in."));
            }
            (Place::Root | Place::In | Place::Results, _) => return Err(No::failure("This is a folder.")),
            (Place::Nowhere, true) => return Err(No::denied("Files can be uploaded to /in only.")),
            (Place::Nowhere, false) => return Err(No::missing()),
        };
        Ok(self.opened(request.id, opened))
    }

    /// Opens an upload. Whatever keeps it from being taken is told now rather than at its close, as far as it is known now.
    async fn begin(&self, name: String, flags: OpenFlags) -> Result<Opened, No> {
        let mode = self.mode(&name, flags).await?;
        let now = Instant::now();
        if self.is_temporary(&name) && !self.shared.shelves.has_room(self.user(), &name, now) {
            return Err(No::failure(
                "Too many uploads wait under temporary names. Rename or remove some first.",
            ));
        }
        let writing = Writing::begin(&self.presence.used)
            .ok_or_else(|| No::failure("Too many files are being written by this user. Close some first."))?;
        let room = Room::of(&self.presence.used, self.shared.max_unaccepted).ok_or_else(|| {
            No::failure(
                "Too much waits here unfinished or under temporary names. Rename or remove some first.",
            )
        })?;
        let draft = self.shared.intake.begin().await.map_err(|refusal| No::failure(sentence(refusal)))?;
        let share = (Arc::clone(&self.presence.early), room);
        Ok(Opened::Upload(Box::new(Upload::new(name, mode, draft, share, now)), writing))
    }

    /// Only whole new files: what OpenSSH, rclone, WinSCP and paramiko ask for (create and truncate) needs no look-up.
    async fn mode(&self, name: &str, flags: OpenFlags) -> Result<Mode, No> {
        let append = flags.contains(OpenFlags::APPEND);
        if flags.contains(OpenFlags::CREATE | OpenFlags::TRUNCATE) && !flags.contains(OpenFlags::EXCLUDE) {
            return Ok(Mode { append, over_another: false });
        }
        let exists = self.size_in(name).await?.is_some();
        match exists {
            true if flags.contains(OpenFlags::EXCLUDE) => {
                Err(No::failure("A file of this name is there already."))
            }
            // What is appended would be faxed on its own.
            true if append && !flags.contains(OpenFlags::TRUNCATE) => {
                Err(unsupported("Appending to a file is not possible here. Upload the whole file again."))
            }
            false if !flags.contains(OpenFlags::CREATE) => Err(No::missing()),
            _ => Ok(Mode { append, over_another: exists && !flags.contains(OpenFlags::TRUNCATE) }),
        }
    }

    fn is_temporary(&self, name: &str) -> bool {
        names::is_temporary(name, &self.user.temporary_names, &self.user.final_names)
    }

    async fn close(&mut self, id: u32, handle: &str) -> Result<Packet, No> {
        let opened = number(handle).and_then(|number| self.open.remove(&number)).ok_or_else(bad_handle)?;
        if let Opened::Upload(upload, _writing) = opened {
            let (name, bytes) = (upload.name.clone(), upload.written());
            match upload.finish() {
                Whole::File(draft, room) => self.settle(name, Body::Draft(*draft, room), None).await?,
                Whole::Untouched => {}
                Whole::Not(sentence) => {
                    return Err(self
                        .refuse(Refused { name, bytes, sha256: None }, &sentence, &sentence)
                        .await);
                }
            }
        }
        Ok(done(id))
    }

    /// A whole file has the name `name` now: kept when that is a temporary one, a fax when it is final. `from` is the temporary
    /// name that it had before.
    async fn settle(&self, name: String, body: Body, from: Option<String>) -> Result<(), No> {
        if self.is_temporary(&name) {
            return self.lay_aside(name, body).await;
        }
        let bytes = body.bytes();
        if bytes == 0 {
            if names::is_marker(&name) {
                // It says that something else is whole, which we know already. A refusal would stop the client's batch.
                return Ok(());
            }
            let sentence = "This file is empty, so there is nothing to fax.";
            let refused = Refused { name, bytes, sha256: None };
            return Err(self.refuse(refused, sentence, "it is empty").await);
        }
        // What came under this name before and was refused for now is no longer what its client means.
        drop(self.shared.shelves.take_owed(self.user(), &name));
        let arrival = keeper::arrival(self.user(), &self.user.sender, &name);
        let (accepted, room) = match body {
            Body::Draft(draft, room) => (self.shared.intake.accept_or_keep(draft, arrival).await, room),
            Body::Lying(lying) => {
                (self.shared.intake.accept_resting(lying.resting, arrival).await, lying.room)
            }
        };
        let now = Instant::now();
        match accepted {
            Ok((accepted, sha256)) => {
                crash::reached("intake.answered");
                self.keeper.taken(self.user(), name, bytes, (accepted, sha256), now).await;
                Ok(())
            }
            Err(not_accepted) => Err(self.not_now(name, bytes, not_accepted, (from, room), now).await),
        }
    }

    async fn lay_aside(&self, name: String, body: Body) -> Result<(), No> {
        let lying = match body {
            Body::Lying(lying) => lying,
            Body::Draft(draft, room) => {
                let resting = draft.rest().await.map_err(|refusal| No::failure(sentence(refusal)))?;
                Lying { resting, sender: self.user.sender.clone(), room }
            }
        };
        let since = Instant::now();
        let until = since + self.shared.temporary_for;
        if let Some((name, lying)) =
            self.shared.shelves.keep(self.user(), name, Temporary { lying, since, until })
        {
            self.keeper.left_lying(self.user(), name, lying).await;
        }
        Ok(())
    }

    /// A file was not accepted: for good, or it is kept and tried again. Whether the client looks at this answer or not.
    async fn not_now(
        &self,
        name: String,
        bytes: u64,
        NotAccepted { refusal, resting }: NotAccepted,
        (from, room): (Option<String>, Room),
        now: Instant,
    ) -> No {
        let cause = keeper::cause(&refusal).to_owned();
        if refusal.permanent {
            let sha256 = resting.as_ref().map(crate::intake::resting::Resting::sha256);
            return self.refuse(Refused { name, bytes, sha256 }, &refusal.sentence, &cause).await;
        }
        let sender = self.user.sender.clone();
        let Some(resting) = resting else {
            // The document is gone: whoever does not look at the answer of the close must hear of it otherwise.
            return self.refuse(Refused { name, bytes, sha256: None }, &refusal.sentence, &cause).await;
        };
        self.tell(&format!("for now, it is kept and tried again: {cause}"), now);
        let (next, tries) = (keeper::pause(0, now), 1);
        let owed = Owed { lying: Lying { resting, sender, room }, from, since: now, next, tries };
        if !self.shared.shelves.owe(self.user(), name, owed) {
            return No::failure(refusal.sentence);
        }
        No::failure(
            "This file cannot be recorded at the moment. It is kept and tried again; you may also upload it again.",
        )
    }

    /// Refused for good: told in the log, by a result file and by mail.
    async fn refuse(&self, file: Refused, sentence: &str, cause: &str) -> No {
        self.tell(cause, Instant::now());
        self.keeper.refuse(self.user(), &self.user.sender, file, sentence).await;
        No::failure(sentence)
    }

    fn tell(&self, cause: &str, now: Instant) {
        let user = User::Known(self.user());
        self.shared.refusals.tell(Reason::Upload, self.address, user, cause, now);
    }

    async fn rename(&mut self, id: u32, from: &str, to: &str) -> Result<Packet, No> {
        let (Place::Upload(from), Place::Upload(to)) = (names::place(from)?, names::place(to)?) else {
            return Err(No::denied("Only files in /in can be renamed, and only within it."));
        };
        let shelves = &self.shared.shelves;
        let lying = shelves.take(self.user(), &from).or_else(|| {
            // It was renamed before, refused for now, and its client tries again.
            shelves.take_renamed(self.user(), &to, &from).map(|owed| owed.lying)
        });
        if let Some(lying) = lying {
            self.settle(to, Body::Lying(lying), Some(from)).await?;
            return Ok(done(id));
        }
        match self.size_in(&from).await? {
            Some(_) => Err(No::denied("This file was accepted as a fax already and cannot be renamed.")),
            None => Err(No::missing()),
        }
    }

    async fn remove(&mut self, id: u32, path: &str) -> Result<Packet, No> {
        match names::place(path)? {
            Place::Upload(name) => {
                let shelves = &self.shared.shelves;
                if shelves.take(self.user(), &name).is_some()
                    || shelves.take_owed(self.user(), &name).is_some()
                {
                    return Ok(done(id));
                }
                self.size_in(&name).await?.ok_or_else(No::missing)?;
                Err(No::denied("This file was accepted as a fax already. To stop it, use job cancel."))
            }
            Place::Result(name) => {
                let result = self.results().await?.remove(&name).ok_or_else(No::missing)?;
                let removed = self.shared.intake.remove_result(self.user(), &result.id).await;
                removed.map_err(|refusal| No::failure(sentence(refusal)))?;
                Ok(done(id))
            }
            Place::Nowhere => Err(No::missing()),
            Place::Root | Place::In | Place::Results => Err(No::failure("This is a folder.")),
        }
    }

    fn read(&mut self, id: u32, handle: &str, offset: u64, length: u32) -> Result<Packet, No> {
        let result = match number(handle).and_then(|number| self.open.get(&number)) {
            Some(Opened::Result(result)) => result,
            Some(Opened::Upload(..)) => return Err(No::denied("A file being uploaded cannot be read.")),
            _ => return Err(bad_handle()),
        };
        let rest =
            usize::try_from(offset).ok().and_then(|offset| result.body.get(offset..)).unwrap_or_default();
        let data = rest.get(..length.min(READ) as usize).unwrap_or(rest);
        if data.is_empty() {
            return Err(end());
        }
        Ok(Data { id, data: data.to_vec() }.into())
    }

    async fn stat(&mut self, id: u32, path: &str) -> Result<Packet, No> {
        let attrs = match names::place(path)? {
            Place::Root | Place::In | Place::Results => folder(),
            Place::Upload(name) => {
                let (bytes, at) = self.size_in(&name).await?.ok_or_else(No::missing)?;
                file(bytes, at)
            }
            Place::Result(name) => {
                let result = self.results().await?.remove(&name).ok_or_else(No::missing)?;
                file(result.body.len() as u64, Some(result.at))
            }
            Place::Nowhere => return Err(No::missing()),
        };
        Ok(Attrs { id, attrs }.into())
    }

    fn fstat(&mut self, id: u32, handle: &str) -> Result<Packet, No> {
        let attrs = match number(handle).and_then(|number| self.open.get(&number)) {
            Some(Opened::Upload(upload, _)) => file(upload.written(), None),
            Some(Opened::Result(result)) => file(result.body.len() as u64, Some(result.at)),
            Some(Opened::Listing(_)) => folder(),
            None => return Err(bad_handle()),
        };
        Ok(Attrs { id, attrs }.into())
    }

    /// Times and permissions are taken and forgotten: clients set them after every upload. A size is a truncation.
    async fn set_stat(&mut self, id: u32, path: &str, attrs: &FileAttributes) -> Result<Packet, No> {
        let size = match names::place(path)? {
            Place::Upload(name) => Some(self.size_in(&name).await?.ok_or_else(No::missing)?.0),
            Place::Root | Place::In | Place::Results => None,
            Place::Result(_) => return Err(No::denied("Only faxbridge writes to /results.")),
            Place::Nowhere => return Err(No::missing()),
        };
        keeps_size(id, attrs, size)
    }

    fn fset_stat(&mut self, id: u32, handle: &str, attrs: &FileAttributes) -> Result<Packet, No> {
        match number(handle).and_then(|number| self.open.get(&number)) {
            Some(Opened::Upload(upload, _)) => keeps_size(id, attrs, Some(upload.written())),
            Some(_) => Err(No::denied("Only uploads can be changed.")),
            None => Err(bad_handle()),
        }
    }

    async fn open_listing(&mut self, id: u32, path: &str) -> Result<Packet, No> {
        if self.open.len() >= HANDLES {
            return Err(No::failure("Too many files are open in this session. Close some first."));
        }
        let mut entries = vec![File::new(".", folder()), File::new("..", folder())];
        match names::place(path)? {
            Place::Root => entries.extend(["in", "results"].map(|name| File::new(name, folder()))),
            Place::In => {
                let files = self.all_in().await?;
                entries.extend(files.into_iter().map(|(name, (bytes, at))| File::new(name, file(bytes, at))));
            }
            Place::Results => {
                let results = self.results().await?.into_iter();
                entries.extend(
                    results.map(|(name, result)| {
                        File::new(name, file(result.body.len() as u64, Some(result.at)))
                    }),
                );
            }
            Place::Upload(_) | Place::Result(_) | Place::Nowhere => return Err(No::missing()),
        }
        Ok(self.opened(id, Opened::Listing(entries.into_iter())))
    }

    fn read_listing(&mut self, id: u32, handle: &str) -> Result<Packet, No> {
        let Some(Opened::Listing(entries)) = number(handle).and_then(|number| self.open.get_mut(&number))
        else {
            return Err(bad_handle());
        };
        let files: Vec<File> = entries.take(ENTRIES).collect();
        if files.is_empty() {
            return Err(end());
        }
        Ok(Name { id, files }.into())
    }

    async fn extended(&mut self, id: u32, request: &str, data: Vec<u8>) -> Result<Packet, No> {
        match request {
            POSIX_RENAME => {
                // The same two strings as in hardlink@openssh.com.
                let paths: HardlinkExtension = russh_sftp::de::from_bytes(&mut Bytes::from(data))
                    .map_err(|_| No::new(StatusCode::BadMessage, "This request is malformed."))?;
                self.rename(id, &paths.oldpath, &paths.newpath).await
            }
            // Nothing counts before the close, and the close syncs.
            FSYNC => Ok(done(id)),
            _ => Err(unsupported("This extension is not supported.")),
        }
    }

    fn opened(&mut self, id: u32, opened: Opened) -> Packet {
        let number = self.next_handle;
        self.next_handle += 1;
        self.open.insert(number, opened);
        Handle { id, handle: number.to_string() }.into()
    }

    /// Size and time of a file in `/in`: being written by this session, waiting for its final name, or accepted.
    async fn size_in(&self, name: &str) -> Result<Option<(u64, Option<Timestamp>)>, No> {
        if let Some(bytes) = self.shared.shelves.size(self.user(), name) {
            return Ok(Some((bytes, None)));
        }
        if let Some(upload) = self.uploads().find(|upload| upload.name == name) {
            return Ok(Some((upload.written(), None)));
        }
        let now = Instant::now();
        if let Some(known) = self.shared.shelves.look_up(self.user(), name, now) {
            return Ok(known);
        }
        self.drops(now).await?;
        Ok(self.shared.shelves.look_up(self.user(), name, now).flatten())
    }

    /// The list of accepted files, oldest first.
    async fn drops(&self, now: Instant) -> Result<Vec<Dropped>, No> {
        let drops =
            self.shared.intake.drops(self.user()).await.map_err(|refusal| No::failure(sentence(refusal)))?;
        self.shared.shelves.learn(self.user(), &drops, now);
        Ok(drops)
    }

    /// All files in `/in`, one entry a name: the newest where a name was used more than once.
    async fn all_in(&self) -> Result<BTreeMap<String, (u64, Option<Timestamp>)>, No> {
        let drops = self.drops(Instant::now()).await?;
        let mut files: BTreeMap<_, _> =
            drops.into_iter().map(|drop| (drop.name, (drop.bytes, Some(drop.at)))).collect();
        files.extend(self.uploads().map(|upload| (upload.name.clone(), (upload.written(), None))));
        files.extend(
            self.shared.shelves.list(self.user()).into_iter().map(|(name, bytes)| (name, (bytes, None))),
        );
        Ok(files)
    }

    fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.open.values().filter_map(|opened| match opened {
            Opened::Upload(upload, _) => Some(upload.as_ref()),
            _ => None,
        })
    }

    async fn results(&self) -> Result<BTreeMap<String, ResultFile>, No> {
        let results = self
            .shared
            .intake
            .results(self.user())
            .await
            .map_err(|refusal| No::failure(sentence(refusal)))?;
        let named = results.into_iter().filter(|result| names::check(&result.name).is_ok());
        Ok(named.map(|result| (result.name.clone(), result)).collect())
    }
}

fn make_folder(id: u32, path: &str) -> Result<Packet, No> {
    match names::place(path)? {
        // Tools that "make sure" of their target folder take an error for a failed upload.
        Place::Root | Place::In | Place::Results => Ok(done(id)),
        _ => Err(No::denied("Folders cannot be made here: upload to /in.")),
    }
}

fn real_path(id: u32, path: &str) -> Result<Packet, No> {
    let files = vec![File::dummy(names::absolute(path)?)];
    Ok(Name { id, files }.into())
}

fn keeps_size(id: u32, attrs: &FileAttributes, size: Option<u64>) -> Result<Packet, No> {
    match attrs.size {
        Some(asked) if Some(asked) != size => Err(unsupported("Files cannot be truncated or extended here.")),
        _ => Ok(done(id)),
    }
}

fn number(handle: &str) -> Option<u64> {
    handle.parse().ok()
}

fn done(id: u32) -> Packet {
    Status { id, status_code: StatusCode::Ok, error_message: String::new(), language_tag: String::new() }
        .into()
}

fn end() -> No {
    No::new(StatusCode::Eof, "End of file.")
}

fn bad_handle() -> No {
    No::failure("This file is not open.")
}

fn unsupported(sentence: &str) -> No {
    No::new(StatusCode::OpUnsupported, sentence)
}

fn folder() -> FileAttributes {
    FileAttributes {
        permissions: Some(0o040_700),
        size: Some(0),
        uid: Some(0),
        gid: Some(0),
        ..Default::default()
    }
}

fn file(bytes: u64, at: Option<Timestamp>) -> FileAttributes {
    // SFTP version 3 has 32 bits for seconds.
    let seconds = at.and_then(|at| u32::try_from(at.as_second()).ok());
    FileAttributes {
        permissions: Some(0o100_600),
        size: Some(bytes),
        uid: Some(0),
        gid: Some(0),
        atime: seconds,
        mtime: seconds,
        ..Default::default()
    }
}
