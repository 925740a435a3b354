//! What the simulator knows: every fax it took, which calls are under way, and what it must never see.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::face::Face;
use super::script::{Plan, Quirks};
use crate::delivery::simulator::wire::{CallResult, FaxView, Standing};

/// Details of faxes that are shown without what is optional, and without the reason of a failure.
const BARE: &str = "-bare";
const SILENT: &str = "-silent";

/// One fax as the simulator took it; also the contents of `ID.json` in the record folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fax {
    /// The simulator's name for it.
    pub id: String,
    /// Which API it came by.
    #[serde(default)]
    pub face: Face,
    /// The client's name for it.
    pub reference: String,
    /// The number dialled, E.164.
    pub number: String,
    /// Pages as the client announced them.
    pub pages_announced: Option<u32>,
    /// Pages counted in the PDF itself, once it was looked at.
    pub pages: Option<u32>,
    /// Bytes received.
    pub bytes: u64,
    /// SHA-256 of what was received, hex.
    pub sha256: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// When the call began.
    pub dialled: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub status: Standing,
    /// How it ended.
    pub result: Option<CallResult>,
    /// Whether pages came out at the far end, so that `ID.pdf` was written.
    pub printed: bool,
    /// Whether the client had its copy deleted.
    pub deleted: bool,
    /// What else the order said, in the words of the API that it came by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Fax {
    /// The part of the reference before the attempt's number: the same for all tries of one job.
    #[must_use]
    pub fn job(&self) -> &str {
        job_of(&self.reference)
    }

    /// The same, as these quirks want it shown.
    pub(super) fn with_marks(mut self, quirks: Quirks) -> Fax {
        for (mark, wanted) in [(BARE, quirks.bare), (SILENT, quirks.silent_failures)] {
            if wanted {
                self.details.insert(mark.to_owned(), String::new());
            }
        }
        self
    }

    /// Our name for it, where it is shown.
    pub(super) fn label(&self) -> Option<&str> {
        (!self.details.contains_key(BARE)).then_some(self.reference.as_str())
    }

    /// Whether answers do not say why it failed.
    pub(super) fn is_silent(&self) -> bool {
        self.details.contains_key(SILENT)
    }

    pub(super) fn view(&self) -> FaxView {
        FaxView {
            id: self.id.clone(),
            reference: self.reference.clone(),
            status: self.status,
            result: self.result.clone(),
        }
    }
}

/// Something a client must never do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When it was seen.
    pub at: Timestamp,
    /// The fax by which it was seen.
    pub id: String,
    /// `overlapping_calls`: two calls to one number at once. `page_count`: announced and counted pages differ.
    pub kind: &'static str,
    /// The same in words.
    pub what: String,
}

/// Every fax, in memory; bounded.
pub(super) struct Book {
    inner: Mutex<Inner>,
    at_most: usize,
}

#[derive(Default)]
struct Inner {
    faxes: HashMap<String, Entry>,
    by_reference: HashMap<String, Vec<String>>,
    order: VecDeque<String>,
    tries: HashMap<String, u32>,
    tries_order: VecDeque<String>,
    /// Calls under way, by number.
    lines: HashMap<String, u32>,
    violations: Vec<Violation>,
    taken: u64,
}

impl Inner {
    /// Notes a violation. The first thousand tell enough.
    fn complain(&mut self, violation: Option<&Violation>) {
        if self.violations.len() < 1000 {
            self.violations.extend(violation.cloned());
        }
    }
}

struct Entry {
    fax: Fax,
    plan: Plan,
    /// Questions by reference that still have to miss it.
    list_lags: u32,
}

/// No room: too many faxes have not ended.
pub(super) struct Full;

/// The answer to the wish to cancel.
pub(super) enum Cancel {
    Done(Box<Fax>),
    TooLate,
    Unknown,
}

impl Book {
    pub(super) fn new(at_most: usize) -> Self {
        Book { inner: Mutex::default(), at_most }
    }

    /// Which try of its job this submit is, from 1; also how many submits there were before it.
    pub(super) fn count_try(&self, reference: &str) -> (u32, u64) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let job = job_of(reference).to_owned();
        inner.taken += 1;
        let tries = inner.tries.entry(job.clone()).or_insert(0);
        *tries += 1;
        let nth = *tries;
        if nth == 1 {
            inner.tries_order.push_back(job);
            if inner.tries_order.len() > self.at_most
                && let Some(oldest) = inner.tries_order.pop_front()
            {
                inner.tries.remove(&oldest);
            }
        }
        (nth, inner.taken)
    }

    /// Enters a fax. Returns the ids that fell out at the other end.
    pub(super) fn enter(&self, fax: Fax, plan: Plan) -> Result<Vec<String>, Full> {
        let mut inner = self.lock();
        let mut fallen = Vec::new();
        while inner.order.len() >= self.at_most {
            let oldest_ended = |inner: &Inner| {
                let id = inner.order.front()?;
                inner.faxes.get(id).is_none_or(|entry| entry.fax.status.is_final()).then(|| id.clone())
            };
            let Some(id) = oldest_ended(&inner) else {
                if inner.order.len() >= 2 * self.at_most {
                    return Err(Full);
                }
                break;
            };
            inner.order.pop_front();
            if let Some(entry) = inner.faxes.remove(&id)
                && let Some(ids) = inner.by_reference.get_mut(&entry.fax.reference)
            {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    inner.by_reference.remove(&entry.fax.reference);
                }
            }
            fallen.push(id);
        }
        inner.order.push_back(fax.id.clone());
        inner.by_reference.entry(fax.reference.clone()).or_default().push(fax.id.clone());
        inner.faxes.insert(fax.id.clone(), Entry { fax, list_lags: plan.list_lags, plan });
        Ok(fallen)
    }

    /// The fax of that name, unless it is one that the simulator forgets.
    pub(super) fn fax(&self, id: &str) -> Option<Fax> {
        let inner = self.lock();
        inner.faxes.get(id).filter(|entry| !entry.plan.forgotten).map(|entry| entry.fax.clone())
    }

    /// The faxes that came by `face` and that `wanted` picks, oldest first, without those that lists do not show yet. For the
    /// lists of APIs that cannot be asked by reference: each look at a list that lags counts.
    pub(super) fn search(&self, face: Face, wanted: impl Fn(&Fax) -> bool) -> Vec<Fax> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut found = Vec::new();
        for id in &inner.order {
            let Some(entry) = inner.faxes.get_mut(id) else { continue };
            if entry.fax.face != face || entry.plan.forgotten || !wanted(&entry.fax) {
                continue;
            }
            if entry.list_lags > 0 {
                entry.list_lags -= 1;
            } else {
                found.push(entry.fax.clone());
            }
        }
        found
    }

    /// The faxes with that reference, oldest first, without those that the list does not show yet.
    pub(super) fn list(&self, reference: &str) -> Vec<FaxView> {
        let mut inner = self.lock();
        let ids = inner.by_reference.get(reference).cloned().unwrap_or_default();
        let mut views = Vec::new();
        for id in ids {
            if let Some(entry) = inner.faxes.get_mut(&id).filter(|entry| !entry.plan.forgotten) {
                if entry.list_lags > 0 {
                    entry.list_lags -= 1;
                } else {
                    views.push(entry.fax.view());
                }
            }
        }
        views
    }

    /// Notes that the document was fetched, which came after its fax.
    pub(super) fn fetched(&self, id: &str, bytes: u64, sha256: String) {
        if let Some(entry) = self.lock().faxes.get_mut(id) {
            entry.fax.bytes = bytes;
            entry.fax.sha256 = sha256;
        }
    }

    /// Ends a fax that is not to be dialled, unless it was cancelled. Returns it as it now stands.
    pub(super) fn give_up(&self, id: &str, now: Timestamp, result: CallResult) -> Option<Fax> {
        let mut inner = self.lock();
        let fax = &mut inner.faxes.get_mut(id)?.fax;
        if fax.status != Standing::Queued {
            return None;
        }
        fax.status = Standing::Failed;
        fax.result = Some(result);
        fax.ended = Some(now);
        Some(fax.clone())
    }

    /// Begins the call, unless the fax was cancelled. A second call to a number at once is noted, not hindered.
    pub(super) fn dial(&self, id: &str, now: Timestamp) -> Option<(Fax, Option<Violation>)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let fax = &mut inner.faxes.get_mut(id)?.fax;
        if fax.status != Standing::Queued {
            return None;
        }
        fax.status = Standing::Sending;
        fax.dialled = Some(now);
        let fax = fax.clone();
        let calls = inner.lines.entry(fax.number.clone()).or_insert(0);
        *calls += 1;
        let violation = (*calls > 1).then(|| Violation {
            at: now,
            id: fax.id.clone(),
            kind: "overlapping_calls",
            what: format!("{calls} calls to {} at once", fax.number),
        });
        inner.complain(violation.as_ref());
        Some((fax, violation))
    }

    /// Ends the call. Returns the fax as it now stands.
    pub(super) fn hang_up(
        &self,
        id: &str,
        now: Timestamp,
        result: CallResult,
        pages: Option<u32>,
    ) -> Option<(Fax, Option<Violation>)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let fax = &mut inner.faxes.get_mut(id)?.fax;
        fax.status = if result.code == "ok" { Standing::Delivered } else { Standing::Failed };
        fax.printed = result.pages_sent > 0;
        fax.result = Some(result);
        fax.pages = pages;
        fax.ended = Some(now);
        let fax = fax.clone();
        if let Some(calls) = inner.lines.get_mut(&fax.number) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                inner.lines.remove(&fax.number);
            }
        }
        let violation = (fax.pages_announced.is_some() && pages.is_some() && fax.pages_announced != pages)
            .then(|| Violation {
                at: now,
                id: fax.id.clone(),
                kind: "page_count",
                what: format!(
                    "{} pages announced, {} in the document",
                    fax.pages_announced.unwrap_or(0),
                    pages.unwrap_or(0)
                ),
            });
        inner.complain(violation.as_ref());
        Some((fax, violation))
    }

    pub(super) fn cancel(&self, id: &str, now: Timestamp) -> Cancel {
        let mut inner = self.lock();
        let Some(entry) = inner.faxes.get_mut(id).filter(|entry| !entry.plan.forgotten) else {
            return Cancel::Unknown;
        };
        match entry.fax.status {
            Standing::Queued => {
                entry.fax.status = Standing::Cancelled;
                entry.fax.ended = Some(now);
                Cancel::Done(Box::new(entry.fax.clone()))
            }
            Standing::Cancelled => Cancel::Done(Box::new(entry.fax.clone())),
            _ => Cancel::TooLate,
        }
    }

    /// Notes that the client had its copy deleted; `None` when there is no such fax.
    pub(super) fn delete(&self, id: &str) -> Option<Fax> {
        let mut inner = self.lock();
        let fax = &mut inner.faxes.get_mut(id).filter(|entry| !entry.plan.forgotten)?.fax;
        fax.deleted = true;
        Some(fax.clone())
    }

    /// Notes `mark` among the details of a fax.
    pub(super) fn mark(&self, id: &str, mark: &str) {
        if let Some(entry) = self.lock().faxes.get_mut(id) {
            entry.fax.details.insert(mark.to_owned(), String::new());
        }
    }

    /// All faxes still in the book, oldest first.
    pub(super) fn all(&self) -> Vec<Fax> {
        let inner = self.lock();
        inner.order.iter().filter_map(|id| inner.faxes.get(id)).map(|entry| entry.fax.clone()).collect()
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn job_of(reference: &str) -> &str {
    reference.rsplit_once('-').map_or(reference, |(job, _)| job)
}

#[cfg(test)]
mod tests {
    use super::super::script::plan;
    use super::*;

    fn fax(id: &str, reference: &str) -> Fax {
        Fax {
            id: id.into(),
            face: Face::Own,
            reference: reference.into(),
            number: "+12125550100".into(),
            pages_announced: None,
            pages: None,
            bytes: 1,
            sha256: String::new(),
            taken: Timestamp::UNIX_EPOCH,
            dialled: None,
            ended: None,
            status: Standing::Queued,
            result: None,
            printed: false,
            deleted: false,
            details: BTreeMap::new(),
        }
    }

    #[test]
    fn the_book_stays_bounded_and_forgets_only_what_has_ended() {
        let book = Book::new(2);
        let now = Timestamp::UNIX_EPOCH;
        let plan = plan("+12125550100", 1);
        for id in ["a", "b"] {
            assert!(book.enter(fax(id, "job-1"), plan).is_ok_and(|fallen| fallen.is_empty()));
        }
        assert!(matches!(book.cancel("a", now), Cancel::Done(_)));
        assert_eq!(book.enter(fax("c", "job-2"), plan).ok().unwrap(), ["a"]);
        assert_eq!(book.list("job-1").len(), 1);
        assert!(book.enter(fax("d", "job-3"), plan).is_ok());
        assert!(book.enter(fax("e", "job-4"), plan).is_ok());
        assert!(book.enter(fax("f", "job-5"), plan).is_err(), "none of them has ended");
    }

    #[test]
    fn tries_are_counted_by_job() {
        let book = Book::new(10);
        assert_eq!(book.count_try("abc-1").0, 1);
        assert_eq!(book.count_try("abc-2").0, 2);
        assert_eq!(book.count_try("abd-1"), (1, 3));
        assert_eq!(book.count_try("bare").0, 1);
    }
}
