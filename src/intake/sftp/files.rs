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
    Attrs, Data, File, FileAttributes, Handle, Name, Open, OpenFlags, Packet, StatusCode, Version,
};

use self::answer::{
    bad_handle, done, end, file, folder, keeps_size, make_folder, number, real_path, unsupported,
};
use self::arriving::Body;
use super::account::{Drop as Dropped, SftpUser};
use super::keeper::{Keeper, Refused};
use super::refusals::Refusals;
use super::shares::Writing;
use super::shelf::{Presence, Shelves};
use super::upload::{Upload, Whole, sentence};
use crate::intake::Intake;
use crate::sealed::ResultFile;
use crate::shared_folder::names::{self, Place};

mod answer;
mod arriving;

pub(super) use answer::No;

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
