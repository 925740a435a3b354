//! Behind the counter: what becomes of a fax once it is taken, from dialling to the last webhook.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::book::{Book, Cancel, Fax, Violation};
use super::face::Face;
use super::print::{Incoming, Records};
use super::script::{self, Call, Plan, Reports, ScriptedAnswer};
use super::server::Options;
use super::webhook::Reporter;
use crate::delivery::simulator::wire::{CallResult, Standing};
use crate::job;

/// The far end's identity on every call that got through.
const REMOTE_ID: &str = "FAXSIM";

/// Documents up to this size come back with the webhook, where the provider does that.
const RETURNED_AT_MOST: u64 = 64 << 10;

/// A fax as it came over the counter.
pub(super) struct Submitted {
    /// [`Office::next_id`]'s, under which its document was received.
    pub(super) id: String,
    /// Which API it came by.
    pub(super) face: Face,
    /// The client's name for it.
    pub(super) reference: String,
    /// E.164.
    pub(super) number: String,
    /// Pages as the client announced them, where its API lets it.
    pub(super) pages_announced: Option<u32>,
    /// Where the client wants to be told.
    pub(super) webhook_url: Option<String>,
    /// What came in.
    pub(super) document: Incoming,
    /// What else the order said, in the words of its API.
    pub(super) details: BTreeMap<String, String>,
}

impl Submitted {
    /// A fax of which no more is known.
    pub(super) fn of(face: Face, id: String, document: Incoming, reference: String, number: String) -> Self {
        let (pages_announced, webhook_url, details) = (None, None, BTreeMap::new());
        Submitted { id, face, reference, number, pages_announced, webhook_url, document, details }
    }
}

/// What came of it.
pub(super) enum Took {
    /// Nothing; the client is to see this.
    NotTaken(ScriptedAnswer),
    /// No room.
    Full,
    /// It is in the book; the client is to see this.
    Taken(Box<Fax>, ScriptedAnswer),
}

/// All that handlers and calls share.
pub(super) struct Office {
    pub(super) options: Options,
    pub(super) book: Book,
    pub(super) records: Records,
    pub(super) reporter: Reporter,
    pub(super) run: u64,
    pub(super) closed: watch::Receiver<()>,
    /// Calls and webhooks under way.
    pub(super) busy: watch::Sender<u64>,
}

impl Office {
    /// A fresh name for a fax: the run, and chance; names say nothing of what came before.
    pub(super) fn next_id(&self) -> io::Result<String> {
        let chance = job::chance().map_err(|_| io::Error::other("the system has no randomness"))?;
        Ok(format!("fx-{:08x}-{:012x}", self.run, chance & 0xffff_ffff_ffff))
    }

    /// Takes a fax as the script has it for its number, and sees to its call. Returns when it is time to answer: later than
    /// the client waits, or after the webhook, where the script says so.
    pub(super) async fn take(self: &Arc<Self>, submitted: Submitted) -> Took {
        let now = self.options.clock.now();
        let Submitted { id, reference, number, .. } = &submitted;
        let (nth, count) = self.book.count_try(reference);
        let mut plan = script::plan(number, nth);
        if let Some(chaos) = &self.options.chaos {
            plan = chaos.spoil(plan, count);
        }
        let quirks = self.options.quirks;
        if quirks.unlisted {
            plan.list_lags = u32::MAX;
        }
        if !plan.answer.takes() {
            self.log(&json!({ "at": now, "event": "not_taken", "reference": reference, "number": number }));
            return Took::NotTaken(plan.answer);
        }
        let fax = Fax {
            id: id.clone(),
            face: submitted.face,
            reference: submitted.reference,
            number: submitted.number,
            pages_announced: submitted.pages_announced,
            pages: None,
            bytes: submitted.document.bytes,
            sha256: submitted.document.sha256.clone(),
            taken: now,
            dialled: None,
            ended: None,
            status: Standing::Queued,
            result: None,
            printed: false,
            deleted: false,
            details: submitted.details,
        };
        let fax = fax.with_marks(quirks);
        let Ok(fallen) = self.book.enter(fax.clone(), plan) else { return Took::Full };
        submitted.document.keep();
        self.log(&json!({
            "at": now, "event": "taken", "id": fax.id, "reference": fax.reference, "number": fax.number,
            "sha256": fax.sha256, "bytes": fax.bytes,
        }));
        for id in fallen {
            let _ = self.records.forget(&id).await;
        }
        let (told, hear) = oneshot::channel();
        let mut closed = self.closed.clone();
        let caller = Arc::clone(self);
        let (dialled, webhook_url) = (fax.clone(), submitted.webhook_url);
        caller.busy.send_modify(|busy| *busy += 1);
        // Not part of the request: the call goes on when the client hangs up.
        tokio::spawn(async move {
            tokio::select! {
                () = caller.carry_out(&dialled, plan, webhook_url) => {}
                _ = closed.changed() => {}
            }
            caller.busy.send_modify(|busy| *busy -= 1);
            let _ = told.send(());
        });
        if plan.reports == Reports::BeforeTheAnswer {
            // Ends when the webhook was taken, given up, or the simulator stopped.
            let _ = tokio::time::timeout(Duration::from_secs(10), hear).await;
        }
        if plan.answer == ScriptedAnswer::Late {
            tokio::time::sleep(self.options.late_by).await;
        }
        Took::Taken(Box::new(fax), plan.answer)
    }

    /// Cancels a fax that is not dialled yet.
    pub(super) async fn cancel(&self, id: &str) -> io::Result<Cancel> {
        let now = self.options.clock.now();
        let cancel = self.book.cancel(id, now);
        if let Cancel::Done(fax) = &cancel {
            self.log(&json!({ "at": now, "event": "cancelled", "id": id }));
            self.records.note(fax).await?;
        }
        Ok(cancel)
    }

    /// Deletes the client's copy.
    pub(super) async fn delete(&self, id: &str) -> io::Result<()> {
        self.records.delete(id).await?;
        let Some(fax) = self.book.delete(id) else { return Ok(()) };
        self.log(&json!({ "at": self.options.clock.now(), "event": "deleted", "id": id }));
        self.records.note(&fax).await
    }

    /// One call from the document, where it is still to be fetched, to the last webhook.
    async fn carry_out(&self, fax: &Fax, plan: Plan, webhook_url: Option<String>) {
        let (clock, id) = (&self.options.clock, fax.id.clone());
        let told = webhook_url.as_deref().filter(|_| plan.reports != Reports::Never);
        let (fetched, ()) = tokio::join!(self.fetch(fax), self.tell_progress(told, fax));
        if let Err(result) = fetched {
            if let Some(fax) = self.book.give_up(&id, clock.now(), result) {
                self.conclude(&fax, plan.reports, webhook_url.as_deref()).await;
            }
            return;
        }
        if plan.call == Call::Waits {
            return;
        }
        let Some((fax, violation)) = self.book.dial(&id, clock.now()) else { return };
        self.log(&json!({
            "at": fax.dialled, "event": "call", "id": id, "reference": fax.reference, "number": fax.number,
        }));
        violation.inspect(|violation| self.log_violation(violation));
        if plan.call == Call::Hangs {
            return self.tell_progress(told, &fax).await;
        }
        tokio::join!(tokio::time::sleep(self.options.call_time), self.tell_progress(told, &fax));
        let pages = self.records.count_pages(&id).await;
        let result = self.result_of(plan.call, pages);
        if result.pages_sent > 0
            && let Err(fault) = self.records.print(&id).await
        {
            tracing::error!(fax.id = %id, %fault, "simulator: fax {id} could not be printed: {fault}");
        }
        let Some((fax, violation)) = self.book.hang_up(&id, clock.now(), result, pages) else { return };
        violation.inspect(|violation| self.log_violation(violation));
        self.conclude(&fax, plan.reports, webhook_url.as_deref()).await;
    }

    /// Writes down how a fax ended, and reports it.
    async fn conclude(&self, fax: &Fax, reports: Reports, webhook_url: Option<&str>) {
        let id = &fax.id;
        if let Err(fault) = self.records.note(fax).await {
            tracing::error!(fax.id = %id, %fault, "simulator: fax {id} could not be recorded: {fault}");
        }
        self.log(&json!({
            "at": fax.ended, "event": "ended", "id": id, "reference": fax.reference, "number": fax.number,
            "status": fax.status, "result": fax.result, "pages": fax.pages, "printed": fax.printed,
        }));
        if let Some(url) = webhook_url {
            self.report(url, fax, reports).await;
        }
    }

    /// Tells how a fax stands that has not ended, where somebody wants to know and its API tells that.
    async fn tell_progress(&self, webhook_url: Option<&str>, fax: &Fax) {
        if let Some(url) = webhook_url {
            self.reporter.progress(url, fax).await;
        }
    }

    async fn report(&self, url: &str, fax: &Fax, reports: Reports) {
        let times = match reports {
            Reports::Never => 0,
            Reports::Once | Reports::BeforeTheAnswer => 1,
            Reports::Twice => 2,
        };
        let document = match fax.face.returns_documents() {
            true => self.records.small_copy(&fax.id, RETURNED_AT_MOST).await,
            false => None,
        };
        for _ in 0..times {
            let taken = self.reporter.tell(url, fax, document.as_deref()).await;
            self.log(&json!({
                "at": self.options.clock.now(), "event": "webhook", "id": fax.id, "taken": taken,
            }));
        }
    }

    fn result_of(&self, call: Call, pages: Option<u32>) -> CallResult {
        let ended = |code: &str, text: &str, pages_sent: u32| CallResult {
            code: code.to_owned(),
            text: text.to_owned(),
            pages_sent,
            // Rounded up, as telephone companies do.
            seconds: u32::try_from(self.options.call_time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
            remote_id: (pages_sent > 0).then(|| REMOTE_ID.to_owned()),
        };
        match (call, pages) {
            (Call::Fails(code, text), _) => ended(code, text, 0),
            (_, None) => ended("document.unreadable", "the document is no PDF with pages", 0),
            (Call::Breaks, Some(_)) => ended("fax.partly_sent", "carrier lost after page 1", 1),
            (_, Some(pages)) => ended("ok", "delivered", pages),
        }
    }

    fn log_violation(&self, violation: &Violation) {
        tracing::error!(fax.id = %violation.id, "simulator: violation {} by fax {}", violation.kind, violation.id);
        self.log(&json!({
            "at": violation.at, "event": "violation", "id": violation.id, "kind": violation.kind,
            "what": violation.what,
        }));
    }

    pub(super) fn log(&self, line: &serde_json::Value) {
        if let Err(fault) = self.records.log(line) {
            tracing::error!(%fault, "simulator: calls.jsonl cannot be written: {fault}");
        }
    }
}
