//! What hfaxd says about one job.
//!
//! hfaxd reads a job again only when its file's time, in whole seconds, has changed, and a session that submitted a job goes
//! on calling it SUSPENDED for as long as it likes. So each look is a session of its own.

use super::session::{Broken, Reply, Session};
use crate::delivery::AskError;

/// Our name for the fax at HylaFAX: the job's number, and the reference that stands in its JOBINFO. The number alone would not
/// do: HylaFAX counts from the start again when its spool is made anew, and every kill and delete goes by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) job: u32,
    pub(super) reference: String,
}

impl Handle {
    pub(super) fn read(text: &str) -> Option<Handle> {
        let (job, reference) = text.split_once('/')?;
        let handle = Handle { job: job.parse().ok()?, reference: reference.to_owned() };
        (handle.to_string() == text && !reference.is_empty()).then_some(handle)
    }
}

impl std::fmt::Display for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.job, self.reference)
    }
}

/// What a look at a job's number came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// It is the job with our reference.
    Ours(Facts),
    /// There is no such job, or it is another's.
    Absent,
    /// JNEW took the number, and nothing was ever submitted under it: only JSUBM writes a job's file.
    Blank,
}

/// How a job stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) state: String,
    /// STATUSCODE.
    pub(super) code: Option<u16>,
    /// STATUS.
    pub(super) text: String,
    /// Pages that the far end confirmed.
    pub(super) pages: u32,
    /// Pages of the document; none before it was converted.
    pub(super) pages_in_all: u32,
    /// Calls so far.
    pub(super) dials: u32,
}

impl Facts {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "DONE" | "FAILED")
    }

    /// It rests, and no call was made for it.
    pub(super) fn never_dialled(&self) -> bool {
        self.state == "SUSPENDED" && self.dials == 0 && self.pages == 0
    }
}

/// Makes the job the session's current one, if it is ours, and asks how it stands.
pub(super) async fn look(session: &mut Session, handle: &Handle) -> Result<Look, AskError> {
    let reply = session.command("JOB", format!("JOB {}", handle.job).as_bytes()).await?;
    if reply.code != 200 {
        return no_job(&reply);
    }
    if parameter(session, "JOBINFO").await? != handle.reference {
        return Ok(Look::Absent);
    }
    let state = parameter(session, "STATE").await?;
    // The job moved from one queue to the other since the first question; the next look will find it there.
    if state.is_empty() || state == "UNDEFINED" {
        return Err(AskError::NoAnswer { detail: "the job moved while it was looked at".into() });
    }
    let pages = number(session, "NPAGES").await?;
    let pages_in_all = number(session, "TOTPAGES").await?;
    let dials = number(session, "TOTDIALS").await?;
    let code = number(session, "STATUSCODE").await?.try_into().ok();
    // Last: it may hold a converter's message of several lines, behind which replies and questions no longer match.
    let text = parameter(session, "STATUS").await?;
    Ok(Look::Ours(Facts { state, code, text, pages, pages_in_all, dials }))
}

/// What a refusal of `JOB id` says. Anything but these two sentences of hfaxd's is no word about the job.
fn no_job(reply: &Reply) -> Result<Look, AskError> {
    match reply.code {
        500 if reply.text().contains("job does not exist") => Ok(Look::Absent),
        500 if reply.text().contains("job deleted by another party") => Ok(Look::Absent),
        500 if reply.text().contains("corrupted job description") => Ok(Look::Blank),
        _ => Err(refused(reply, "JOB")),
    }
}

async fn parameter(session: &mut Session, name: &str) -> Result<String, AskError> {
    let reply = session.command(name, format!("JPARM {name}").as_bytes()).await?;
    match reply.code {
        213 => Ok(reply.text().to_owned()),
        500 if reply.text().contains("job deleted by another party") => {
            Err(AskError::NoAnswer { detail: "the job moved while it was looked at".into() })
        }
        _ => Err(refused(&reply, name)),
    }
}

async fn number(session: &mut Session, name: &str) -> Result<u32, AskError> {
    let text = parameter(session, name).await?;
    text.trim().parse().map_err(|_| AskError::Nonsense { detail: format!("{name} is no number") })
}

/// A reply that says nothing about the fax.
pub(super) fn refused(reply: &Reply, to: &str) -> AskError {
    let detail = reply.describe(to);
    match reply.code {
        530 => AskError::Account { detail },
        400..=499 => AskError::NoAnswer { detail },
        _ => AskError::Nonsense { detail },
    }
}

impl From<Broken> for AskError {
    fn from(broken: Broken) -> AskError {
        match broken {
            Broken::Lost(detail) => AskError::NoAnswer { detail },
            Broken::Garbled(detail) => AskError::Nonsense { detail },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_reads_back_and_nothing_else_is_one() {
        let handle = Handle { job: 17, reference: "0123456789abcdef-1".into() };
        assert_eq!(Handle::read(&handle.to_string()), Some(handle));
        for text in ["17", "17/", "/x", "x/y", "+17/x", "017/x", "-1/x", "99999999999/x", ""] {
            assert_eq!(Handle::read(text), None, "{text}");
        }
    }

    #[test]
    fn only_hfaxds_own_words_are_word_of_a_job() {
        let word = |code, text: &str| no_job(&Reply { code, lines: vec![text.into()] });
        let missing = "Cannot set job 7; job does not exist (No such file or directory).";
        assert_eq!(word(500, missing), Ok(Look::Absent));
        let blank = "Cannot set job 7; invalid or corrupted job description file.";
        assert_eq!(word(500, blank), Ok(Look::Blank));
        assert!(matches!(word(500, "Cannot set job 7; Permission denied."), Err(AskError::Nonsense { .. })));
        assert!(matches!(word(500, "JOB: Command not recognized."), Err(AskError::Nonsense { .. })));
        assert!(matches!(word(421, missing), Err(AskError::NoAnswer { .. })));
        assert!(matches!(word(530, "Please login with USER and PASS."), Err(AskError::Account { .. })));
    }
}
