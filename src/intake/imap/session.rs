//! The few commands of IMAP (RFC 3501) that fetching a mailbox takes.
//!
//! Commands are written and their answers read here, not by the client library's own methods: those hide the codes that tell where
//! a moved mail has come to lie (RFC 4315), take a FETCH that failed for one of no mails, and drop that there is new mail.

use std::fmt;
use std::time::Duration;

use async_imap::imap_proto::rfc4315::UidSetMember;
use async_imap::imap_proto::{
    AttributeValue, Capability, MailboxDatum, NameAttribute, Response, ResponseCode, Status, StatusAttribute,
};
use async_imap::types::UnsolicitedResponse;
use tokio::time::timeout;

use super::guard::{Guard, TooLarge};
use super::{MailboxError, MailboxFault, names};

/// A server that says nothing for so long in the middle of a command is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// A signed-in connection.
pub(super) struct Session {
    inner: async_imap::Session<Guard>,
    /// The server told of new mail since this was last reset.
    pub(super) news: bool,
    can: Can,
    selected: Option<Selected>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("can", &self.can).finish_non_exhaustive()
    }
}

/// What the server can do beyond RFC 3501.
#[derive(Debug, Clone, Copy, Default)]
struct Can {
    /// RFC 2177.
    idle: bool,
    /// RFC 6851.
    moving: bool,
    /// RFC 4315.
    uidplus: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Selected {
    folder: String,
    uidvalidity: u32,
}

/// A folder, as STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) uidvalidity: u32,
    pub(super) uidnext: u32,
}

/// A mail, as it came; its bytes are the answer's own.
pub(super) struct Body(UnsolicitedResponse);

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        let UnsolicitedResponse::Other(answer) = &self.0 else { return &[] };
        let Response::Fetch(_, attributes) = answer.parsed() else { return &[] };
        let body = attributes.iter().find_map(|attribute| match attribute {
            AttributeValue::BodySection { section: None, data: Some(data), .. } => Some(data.as_ref()),
            _ => None,
        });
        body.unwrap_or_default()
    }
}

/// What a command's answer brought beside its data.
#[derive(Debug, Default)]
struct Done {
    copied: Option<(u32, u32)>,
    read_only: bool,
}

impl Session {
    /// Asks what the server can do.
    pub(super) async fn begin(inner: async_imap::Session<Guard>) -> Result<Session, MailboxError> {
        let mut session = Session { inner, news: false, can: Can::default(), selected: None };
        let mut can = Can::default();
        let each = |answer: &Response<'_>| {
            if let Response::Capabilities(list) = answer {
                for word in list {
                    if let Capability::Atom(word) = word {
                        can.idle |= word.eq_ignore_ascii_case("IDLE");
                        can.moving |= word.eq_ignore_ascii_case("MOVE");
                        can.uidplus |= word.eq_ignore_ascii_case("UIDPLUS");
                    }
                }
            }
        };
        session.command("CAPABILITY", each).await?;
        session.can = can;
        Ok(session)
    }

    /// Whether the server tells of new mail by itself.
    pub(super) fn can_idle(&self) -> bool {
        self.can.idle
    }

    /// Sends a command and reads to its end.
    async fn command(
        &mut self,
        text: &str,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<Done, MailboxError> {
        let verb = verb(text);
        let tag = timeout(SILENCE, self.inner.run_command(text)).await.map_err(|_| MailboxError::Lost)??;
        let mut done = Done::default();
        loop {
            let answer = self.answer().await?;
            let UnsolicitedResponse::Other(answer) = &answer else { return Err(MailboxError::Lost) };
            match answer.parsed() {
                Response::Done { tag: of, status, outcome } if *of == tag => {
                    note_code(outcome.code.as_ref(), &mut done);
                    return match status {
                        Status::Ok => Ok(done),
                        _ => Err(refused(verb, outcome.information.as_deref().unwrap_or_default())),
                    };
                }
                Response::Data { status: Status::Bye, .. } => return Err(MailboxError::Lost),
                Response::Data { outcome, .. } => note_code(outcome.code.as_ref(), &mut done),
                Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
                _ => {}
            }
            each(answer.parsed());
        }
    }

    /// The next answer, in a box with a name. A large one may take as long as its bytes keep coming.
    async fn answer(&mut self) -> Result<UnsolicitedResponse, MailboxError> {
        loop {
            let before = self.inner.get_ref().received;
            match timeout(SILENCE, self.inner.read_response()).await {
                Ok(Ok(Some(answer))) => return Ok(UnsolicitedResponse::Other(answer)),
                Ok(Ok(None)) => return Err(MailboxError::Lost),
                Ok(Err(error)) => return Err(MailboxError::from(error)),
                Err(_) if self.inner.get_ref().received != before => {}
                Err(_) => return Err(MailboxError::Lost),
            }
        }
    }

    /// Makes sure that `folder` is the one that commands are about; its UIDVALIDITY.
    pub(super) async fn select(&mut self, folder: &str) -> Result<u32, MailboxError> {
        if let Some(selected) = self.selected.as_ref().filter(|selected| selected.folder == folder) {
            return Ok(selected.uidvalidity);
        }
        self.select_anew(folder).await
    }

    /// The same from the beginning, as at the start and after a wait.
    pub(super) async fn select_anew(&mut self, folder: &str) -> Result<u32, MailboxError> {
        self.selected = None;
        let mut uidvalidity = None;
        let each = |answer: &Response<'_>| {
            if let Response::Data { outcome, .. } = answer
                && let Some(ResponseCode::UidValidity(found)) = outcome.code
            {
                uidvalidity = Some(found);
            }
        };
        let done = self.command(&format!("SELECT {}", names::folder(folder)), each).await?;
        if done.read_only {
            let sentence = format!("may only read {folder:?}: mails could not be moved out of it");
            return Err(MailboxError::Setting(MailboxFault::new("login", sentence)));
        }
        // A server without one cannot tell one mail from another (RFC 3501, section 2.3.1.1).
        let uidvalidity =
            uidvalidity.ok_or(MailboxError::Broken("the server gives folders no UIDVALIDITY"))?;
        self.selected = Some(Selected { folder: folder.to_owned(), uidvalidity });
        Ok(uidvalidity)
    }

    /// Selects `folder`, unless it is selected; `None` where there is no such folder. A server says NO for many reasons (another program
    /// has it locked, a part of the server is down), so a folder that it still lists is there.
    pub(super) async fn select_if_there(&mut self, folder: &str) -> Result<Option<u32>, MailboxError> {
        match self.select(folder).await {
            Ok(uidvalidity) => Ok(Some(uidvalidity)),
            Err(MailboxError::Refused { verb }) => {
                if self.is_listed(folder).await? {
                    Err(MailboxError::Refused { verb })
                } else {
                    Ok(None)
                }
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn is_listed(&mut self, folder: &str) -> Result<bool, MailboxError> {
        let mut listed = false;
        let each = |answer: &Response<'_>| {
            if let Response::MailboxData(MailboxDatum::List(found)) = answer {
                // What has only folders below it is no folder for mails.
                listed |= !found.name_attributes.iter().any(|attribute| match attribute {
                    NameAttribute::NoSelect => true,
                    NameAttribute::Extension(word) => word.eq_ignore_ascii_case("\\NonExistent"),
                    _ => false,
                });
            }
        };
        self.command(&format!("LIST \"\" {}", names::folder(folder)), each).await?;
        Ok(listed)
    }

    /// Where `folder` stands; `None` where there is no such folder.
    pub(super) async fn status(&mut self, folder: &str) -> Result<Option<Standing>, MailboxError> {
        let (mut uidvalidity, mut uidnext) = (None, None);
        let each = |answer: &Response<'_>| {
            if let Response::MailboxData(MailboxDatum::Status { status, .. }) = answer {
                for attribute in status {
                    match attribute {
                        StatusAttribute::UidValidity(found) => uidvalidity = Some(*found),
                        StatusAttribute::UidNext(found) => uidnext = Some(*found),
                        _ => {}
                    }
                }
            }
        };
        match self.command(&format!("STATUS {} (UIDVALIDITY UIDNEXT)", names::folder(folder)), each).await {
            Ok(_) => match (uidvalidity, uidnext) {
                (Some(uidvalidity), Some(uidnext)) => Ok(Some(Standing { uidvalidity, uidnext })),
                _ => Err(MailboxError::Broken("the server does not say where a folder stands")),
            },
            Err(MailboxError::Refused { .. }) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes `folder`, and has mail programs show it.
    pub(super) async fn create(&mut self, folder: &str) -> Result<(), MailboxError> {
        let name = names::folder(folder);
        self.command(&format!("CREATE {name}"), |_| {}).await?;
        match self.command(&format!("SUBSCRIBE {name}"), |_| {}).await {
            Ok(_) | Err(MailboxError::Refused { .. }) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The UIDs that `query` finds in the selected folder, smallest first.
    pub(super) async fn search(&mut self, query: &str) -> Result<Vec<u32>, MailboxError> {
        let mut uids = Vec::new();
        let each = |answer: &Response<'_>| {
            if let Response::MailboxData(MailboxDatum::Search(found)) = answer {
                uids.extend_from_slice(found);
            }
        };
        self.command(&format!("UID SEARCH {query}"), each).await?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Sizes of `uids`; those that are gone are left out.
    pub(super) async fn sizes(&mut self, uids: &[u32]) -> Result<Vec<(u32, u64)>, MailboxError> {
        let mut sizes = Vec::new();
        let each = |answer: &Response<'_>| {
            if let Response::Fetch(_, attributes) = answer {
                let (mut uid, mut size) = (None, None);
                for attribute in attributes {
                    match attribute {
                        AttributeValue::Uid(found) => uid = Some(*found),
                        AttributeValue::Rfc822Size(found) => size = Some(u64::from(*found)),
                        _ => {}
                    }
                }
                sizes.extend(uid.zip(size));
            }
        };
        self.command(&format!("UID FETCH {} (UID RFC822.SIZE)", names::set(uids)), each).await?;
        sizes.retain(|(uid, _)| uids.contains(uid));
        Ok(sizes)
    }

    /// A mail, whole; `None` where it is gone. It is not marked as read by that.
    pub(super) async fn body(&mut self, uid: u32) -> Result<Option<Body>, MailboxError> {
        let command = format!("UID FETCH {uid} (UID BODY.PEEK[])");
        let tag =
            timeout(SILENCE, self.inner.run_command(&command)).await.map_err(|_| MailboxError::Lost)??;
        let mut body = None;
        loop {
            let answer = self.answer().await?;
            let UnsolicitedResponse::Other(read) = &answer else { return Err(MailboxError::Lost) };
            match read.parsed() {
                Response::Done { tag: of, status: Status::Ok, .. } if *of == tag => return Ok(body),
                Response::Done { tag: of, outcome, .. } if *of == tag => {
                    return Err(refused("UID FETCH", outcome.information.as_deref().unwrap_or_default()));
                }
                Response::Data { status: Status::Bye, .. } => return Err(MailboxError::Lost),
                Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
                Response::Fetch(_, attributes) => {
                    let ours = attributes.contains(&AttributeValue::Uid(uid));
                    let whole = attributes.iter().any(|attribute| {
                        matches!(attribute, AttributeValue::BodySection { section: None, data: Some(_), .. })
                    });
                    if ours && whole {
                        body = Some(Body(answer));
                    }
                }
                _ => {}
            }
        }
    }

    /// Copies or moves the mail `uid` of the selected folder; where it has come to lie, if the server tells.
    ///
    /// # Errors
    /// Those of the connection; [`MailboxError::Refused`] where the server does not do it.
    pub(super) async fn transfer(&mut self, uid: u32, folder: &str) -> Result<Transferred, MailboxError> {
        let verb = if self.can.moving { "UID MOVE" } else { "UID COPY" };
        let done = self.command(&format!("{verb} {uid} {}", names::folder(folder)), |_| {}).await?;
        Ok(Transferred { place: done.copied, still_here: !self.can.moving })
    }

    /// Deletes mails of the selected folder, and no others. False where that could not be promised: they are marked then, and
    /// whoever empties the folder takes them with them.
    pub(super) async fn delete(&mut self, uids: &[u32]) -> Result<bool, MailboxError> {
        let set = names::set(uids);
        self.command(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"), |_| {}).await?;
        if self.can.uidplus {
            self.command(&format!("UID EXPUNGE {set}"), |_| {}).await?;
            return Ok(true);
        }
        // EXPUNGE deletes what anybody marked.
        let marked = self.search("DELETED").await?;
        if marked.iter().all(|uid| uids.contains(uid)) {
            self.command("EXPUNGE", |_| {}).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Lets the server say what it has to.
    pub(super) async fn noop(&mut self) -> Result<(), MailboxError> {
        self.command("NOOP", |_| {}).await.map(drop)
    }

    /// Begins to be told of new mail (RFC 2177); false where the server does not want to after all.
    pub(super) async fn begin_idle(&mut self) -> Result<bool, MailboxError> {
        let tag =
            timeout(SILENCE, self.inner.run_command("IDLE")).await.map_err(|_| MailboxError::Lost)??;
        loop {
            let answer = self.answer().await?;
            let UnsolicitedResponse::Other(answer) = &answer else { return Err(MailboxError::Lost) };
            match answer.parsed() {
                Response::Continue(_) => return Ok(true),
                Response::Done { tag: of, .. } if *of == tag => {
                    self.can.idle = false;
                    return Ok(false);
                }
                Response::Data { status: Status::Bye, .. } => return Err(MailboxError::Lost),
                Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
                _ => {}
            }
        }
    }

    /// Returns when there is news. May be dropped at any time and called again.
    pub(super) async fn idle(&mut self) -> Result<(), MailboxError> {
        while !self.news {
            let answer =
                self.inner.read_response().await.map_err(MailboxError::from)?.ok_or(MailboxError::Lost)?;
            match answer.parsed() {
                Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
                Response::Data { status: Status::Bye, .. } | Response::Done { .. } => {
                    return Err(MailboxError::Lost);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends what [`Session::begin_idle`] began.
    pub(super) async fn end_idle(&mut self) -> Result<(), MailboxError> {
        timeout(SILENCE, self.inner.run_command_untagged("DONE")).await.map_err(|_| MailboxError::Lost)??;
        loop {
            let answer = self.answer().await?;
            let UnsolicitedResponse::Other(answer) = &answer else { return Err(MailboxError::Lost) };
            match answer.parsed() {
                Response::Done { .. } => return Ok(()),
                Response::Data { status: Status::Bye, .. } => return Err(MailboxError::Lost),
                Response::MailboxData(MailboxDatum::Exists(_) | MailboxDatum::Recent(_)) => self.news = true,
                _ => {}
            }
        }
    }

    /// Says good-bye, if the server still listens.
    pub(super) async fn logout(mut self) {
        let _ = timeout(Duration::from_secs(2), self.command("LOGOUT", |_| {})).await;
    }
}

/// What [`Session::transfer`] did.
#[derive(Debug)]
pub(super) struct Transferred {
    /// UIDVALIDITY and UID there.
    pub(super) place: Option<(u32, u32)>,
    /// It was copied, and still has to be deleted here.
    pub(super) still_here: bool,
}

fn note_code(code: Option<&ResponseCode<'_>>, done: &mut Done) {
    match code {
        Some(ResponseCode::CopyUid(uidvalidity, _, there)) => {
            done.copied = match there.as_slice() {
                [UidSetMember::Uid(uid)] => Some((*uidvalidity, *uid)),
                [UidSetMember::UidRange(range)] if range.start() == range.end() => {
                    Some((*uidvalidity, *range.start()))
                }
                _ => None,
            };
        }
        Some(ResponseCode::ReadOnly) => done.read_only = true,
        _ => {}
    }
}

/// The words of a command that may be told.
fn verb(text: &str) -> &'static str {
    let known = [
        "CAPABILITY",
        "SELECT",
        "STATUS",
        "CREATE",
        "SUBSCRIBE",
        "UID SEARCH",
        "UID FETCH",
        "UID MOVE",
        "UID COPY",
        "UID STORE",
        "UID EXPUNGE",
        "LIST",
        "EXPUNGE",
        "NOOP",
        "LOGOUT",
    ];
    known.into_iter().find(|verb| text.starts_with(verb)).unwrap_or("a command")
}

/// The server's words are looked at, and not shown: they may hold anything.
fn refused(verb: &'static str, text: &str) -> MailboxError {
    // Exchange lets anybody sign in who has a token, and says so late, when the mailbox is opened.
    if text.to_ascii_lowercase().contains("authenticated but not connected") {
        let sentence = "is not a mailbox that the application or account may open: check the address, and its FullAccess permission";
        return MailboxError::Setting(MailboxFault::new("login", sentence));
    }
    MailboxError::Refused { verb }
}

impl From<std::io::Error> for MailboxError {
    /// The text of a parser's error would repeat what it read.
    fn from(error: std::io::Error) -> Self {
        if error.get_ref().and_then(|inner| inner.downcast_ref::<TooLarge>()).is_some() {
            MailboxError::TooLarge
        } else {
            MailboxError::Lost
        }
    }
}

impl From<async_imap::error::Error> for MailboxError {
    fn from(error: async_imap::error::Error) -> Self {
        match error {
            async_imap::error::Error::Io(error) => MailboxError::from(error),
            _ => MailboxError::Lost,
        }
    }
}
