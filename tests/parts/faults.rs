//! The fault matrix: every adapter with everything that can go wrong between it and its provider (`faults/table.rs`), through
//! the real worker with its store, spool, webhook listener and media host.
//!
//! For each cell: nothing is lost (the fax is delivered in the end, or a person is asked), nothing goes out twice (counted at
//! the simulator), each Attempt has the right cause, and the step right after the fault is the right one. Time is a clock
//! that is moved on by hand, from one step of the Job to its next. After a lost answer it can also be cancelled.
//!
//! HylaFAX is not of this kind: it speaks no HTTP, and its faults are in `tests/hylafax.rs`. There, `the_wire_breaks` covers
//! the refused connection ("a try with nobody there"), the wrong password (the 401), the reset before it is taken (`Cut::InParameters`,
//! `Cut::BeforeJsubm`), the reset after it was taken (`Cut::BeforeReply`) and in the answer (`Cut::InReply`). An answer that never comes
//! is `Cut::Unnoticed`, in `hylafax_is_killed_in_mid_call`. It has no webhooks, rate limits or
//! bodies of answers.

mod bench;
mod proxy;
mod table;
mod vendors;

use std::panic::AssertUnwindSafe;

use faxbridge::alarm::Alarm;
use faxbridge::job::state::Event;
use faxbridge::job::{Cause, FaxNumber, JobState};
use faxbridge::register::EntryState;
use faxbridge::simulator::server::Quirks;
use faxbridge::store::Condition;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::SignedDuration;

use bench::{Bench, Rest};
use proxy::Fault;
use table::{Case, Ending, Hooks, Trouble, cells};
use vendors::{
    FAXPLUS_ORDER, FAXPLUS_UPLOAD, INTERFAX, PHAXIO, SIGNALWIRE, SIMULATOR, SINCH, SRFAX, TELNYX, Vendor,
};

/// No cell has business later than this.
const LONGEST: SignedDuration = SignedDuration::from_hours(3);
/// Before that much time is over, absence at a provider proves nothing (`policy.quiet`).
const QUIET: SignedDuration = SignedDuration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_simulators_own_api() {
    row(&SIMULATOR).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sinch() {
    row(&SINCH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telnyx() {
    row(&TELNYX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phaxio() {
    row(&PHAXIO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interfax() {
    row(&INTERFAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faxplus_upload() {
    row(&FAXPLUS_UPLOAD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faxplus_order() {
    row(&FAXPLUS_ORDER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn srfax() {
    row(&SRFAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signalwire() {
    row(&SIGNALWIRE).await;
}

/// All cells of an adapter, at once.
async fn row(vendor: &'static Vendor) {
    let cases = cells(vendor);
    let mut all: Vec<_> = cases.iter().map(|case| (case.title(), cell(vendor, case).boxed_local())).collect();
    if vendor.name != "faxplus, upload" {
        for fault in [Fault::ResetUnread, Fault::ResetTaken] {
            all.push((format!("cancelled after {fault:?}"), cancelled(vendor, fault).boxed_local()));
        }
        all.push(("no telephone number".into(), no_number(vendor).boxed_local()));
        all.push(("only the webhook says why".into(), told_why(vendor).boxed_local()));
        for sent in [false, true] {
            let title = format!("the folder copied back, {}", if sent { "sent before" } else { "not sent" });
            all.push((title, copied_back(vendor, sent).boxed_local()));
        }
    }
    let many = all.len();
    let cells = all.into_iter().map(async |(title, cell)| {
        let panicked = AssertUnwindSafe(cell).catch_unwind().await.err()?;
        let text = match panicked.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => other.downcast_ref::<&str>().map_or("a panic", |text| *text).to_owned(),
        };
        Some(format!("{title}: {text}"))
    });
    let wrong: Vec<String> = join_all(cells).await.into_iter().flatten().collect();
    let few = wrong.len();
    assert!(wrong.is_empty(), "{}: {few} of {many} cells:\n{}", vendor.name, wrong.join("\n"));
}

async fn cell(vendor: &'static Vendor, case: &Case) {
    let ending = case.ending(vendor);
    let story = ending.story(case.takes());
    let number = FaxNumber::from_e164(case.number()).unwrap();
    // Long enough for a busy machine, where it is not itself the fault.
    let timeout = if case.trouble == Trouble::Wire(Fault::Withheld) { "2 s" } else { "30 s" };
    let (mut bench, worker) = Bench::new(vendor, number, timeout, case.routed, case.quirks).await;
    let begun = bench.now();
    assert_eq!(
        worker.providers["it"].capabilities().finds_by_reference,
        vendor.name != "signalwire",
        "the table relies on it"
    );
    if let Trouble::Wire(fault) = case.trouble {
        bench.proxy.fault(Some(fault));
    }
    bench.proxy.question_fault(case.asked.map(|(_, fault)| fault));
    if case.trouble != Trouble::Nobody {
        bench.proxy.open();
    }
    bench.start(worker);
    if case.trouble == Trouble::Webhook(Hooks::Twice) {
        bench.taken().await;
    }
    bench.take_webhooks();

    // The step right after the fault.
    let mut rest = bench.rest().await;
    assert_eq!(rest.job.state.as_str(), story.rests_as, "right after it: {}", bench.path().await);
    let waits = rest.next.map_or(0, |next| next.duration_since(begun).as_secs());
    assert!(story.waits.contains(&waits), "waits for {waits} s");
    if case.asked.is_none() {
        fares(&bench, ending).await;
    }

    // It lasts, and is over.
    while bench.now().duration_since(begun) < SignedDuration::from_mins(case.minutes) {
        assert_eq!(rest.job.state.as_str(), story.rests_as, "while it lasts: {}", bench.path().await);
        bench.pass(&rest);
        rest = bench.rest().await;
    }
    if case.asked.is_none() {
        fares(&bench, ending).await;
    }
    bench.proxy.fault(None);
    bench.proxy.question_fault(None);
    bench.proxy.open();

    // And all is well in the end.
    while !rest.job.state.is_final() {
        assert!(bench.now().duration_since(begun) < LONGEST, "it takes too long: {}", bench.path().await);
        if matches!(rest.job.state, JobState::Held { .. }) {
            assert!(bench.store.uncomposed(bench.submission).await.unwrap(), "a person is told");
            let calls = usize::from(case.takes());
            assert_eq!(bench.simulator.faxes().len(), calls, "not sent again on a guess");
            bench.decide(if case.takes() { Event::Resolve(true) } else { Event::Release }).await;
        } else {
            bench.pass(&rest);
        }
        rest = bench.rest().await;
    }
    ended_well(&bench, case, ending).await;
    bench.stop().await;
}

/// A person wants it cancelled after its answer was lost: it is not sent again on anybody's word, and where the provider has it and
/// can cancel, it is not sent at all.
async fn cancelled(vendor: &'static Vendor, fault: Fault) {
    // It stays in the provider's queue.
    let number = FaxNumber::from_e164("+12125550135").unwrap();
    let (mut bench, worker) = Bench::new(vendor, number, "30 s", false, Quirks::default()).await;
    let can = worker.providers["it"].capabilities();
    if !can.finds_by_reference || (fault.takes() && !can.cancels) {
        return;
    }
    bench.proxy.fault(Some(fault));
    bench.proxy.open();
    bench.start(worker);
    bench.take_webhooks();
    let begun = bench.now();
    let mut rest = bench.rest().await;
    bench.proxy.fault(None);
    bench.wish_to_cancel().await;
    rest = Rest { next: None, ..rest };
    while !rest.job.state.is_final() {
        if rest.next.is_some() {
            bench.pass(&rest);
        }
        rest = bench.rest().await;
        assert!(bench.now().duration_since(begun) < LONGEST, "it takes too long: {}", bench.path().await);
    }
    let (path, tries) = match fault.takes() {
        true => ("queued > sending > unclear > in_transit > cancelled", ["cancelled"]),
        false => ("queued > sending > unclear > cancelled", ["not_taken"]),
    };
    assert_eq!((bench.path().await.as_str(), bench.tries().await), (path, tries.map(String::from).to_vec()));
    let faxes = bench.simulator.faxes();
    assert_eq!((bench.proxy.seen(), faxes.len()), (1, usize::from(fault.takes())));
    assert!(faxes.iter().all(|fax| fax.dialled.is_none()), "{faxes:?}");
    let told = bench.store.uncomposed(bench.submission).await.unwrap();
    assert!(told, "the sender is told");
    bench.stop().await;
}

/// The provider refuses the number as none: nobody was called, and that is what its sender reads.
async fn no_number(vendor: &'static Vendor) {
    let number = FaxNumber::from_e164("+12125550139").unwrap();
    let (mut bench, worker) = Bench::new(vendor, number, "30 s", false, Quirks::default()).await;
    bench.proxy.open();
    bench.start(worker);
    let rest = bench.rest().await;
    // These give no word for it that is known.
    let known = !matches!(vendor.name, "interfax" | "faxplus, order" | "signalwire");
    let expected = if known {
        JobState::Failed { cause: Cause::NumberRefused }
    } else {
        assert!(matches!(rest.job.state, JobState::Held { .. }), "{:?}", rest.job.state);
        rest.job.state.clone()
    };
    assert_eq!(rest.job.state, expected);
    assert_eq!(bench.tries().await, [if known { "number_refused" } else { "unknown" }]);
    assert_eq!(bench.simulator.faxes().len(), 0);
    let entry = bench.store.recipient("mercy").await.unwrap().unwrap();
    assert_eq!(entry.state, EntryState::Verified, "nobody found out that it is out of service");
    bench.stop().await;
}

/// Why the fax failed stands in the webhook only: where that is signed it is believed, as an answer would be.
async fn told_why(vendor: &'static Vendor) {
    let number = FaxNumber::from_e164("+12125550110").unwrap();
    let quirks = Quirks { silent_failures: true, ..Quirks::default() };
    let (mut bench, worker) = Bench::new(vendor, number, "30 s", false, quirks).await;
    bench.proxy.open();
    bench.start(worker);
    bench.taken().await;
    bench.take_webhooks();
    let mut rest = bench.rest().await;
    while !rest.job.state.is_final() {
        assert!(!matches!(rest.job.state, JobState::Held { .. }), "{}", bench.path().await);
        bench.pass(&rest);
        rest = bench.rest().await;
    }
    assert_eq!(bench.tries().await, ["busy", "delivered"]);
    assert_eq!(bench.simulator.faxes().len(), 2);
    bench.stop().await;
}

/// A backup of the whole folder is copied back that does not know that the fax was sent: it is not sent twice. Nor is it lost
/// where it was not sent.
async fn copied_back(vendor: &'static Vendor, sent: bool) {
    let number = FaxNumber::from_e164("+12125550100").unwrap();
    let (mut bench, worker) = Bench::new(vendor, number, "30 s", false, Quirks::default()).await;
    bench.proxy.open();
    bench.back_up().await;
    let begun = bench.now();
    if sent {
        bench.start(worker);
        bench.taken().await;
        bench.take_webhooks();
        let mut rest = bench.rest().await;
        while !rest.job.state.is_final() {
            bench.pass(&rest);
            rest = bench.rest().await;
        }
        bench.stop_worker().await;
    }
    let worker = bench.restore().await;
    bench.start(worker);
    let mut rest = bench.rest().await;
    while !rest.job.state.is_final() {
        assert!(bench.now().duration_since(begun) < LONGEST, "it takes too long: {}", bench.path().await);
        if matches!(rest.job.state, JobState::Held { .. }) {
            assert_eq!(vendor.name, "signalwire", "who can be asked is asked: {}", bench.path().await);
            bench.decide(if sent { Event::Resolve(true) } else { Event::Release }).await;
        } else {
            bench.pass(&rest);
        }
        rest = bench.rest().await;
    }
    let path = match (sent, vendor.name) {
        (true, "signalwire") => "queued > unclear > held > delivered",
        (true, _) => "queued > unclear > in_transit > delivered",
        (false, "signalwire") => "queued > unclear > held > queued > sending > in_transit > delivered",
        (false, _) => "queued > unclear > queued > sending > in_transit > delivered",
    };
    assert_eq!(bench.path().await, path);
    assert_eq!(bench.simulator.faxes().len(), 1, "one fax");
    bench.stop().await;
}

/// How the provider must fare in the trouble.
async fn fares(bench: &Bench, ending: Ending) {
    let row = bench.provider("it").await;
    match ending {
        Ending::NotSent(Cause::RateLimited, seconds) => {
            assert_eq!((row.condition, row.cause), (Condition::Resting, Some(Cause::RateLimited)));
            // It is left alone as long as it asks; where it does not ask, for a moment.
            let rests = row.rests_until.unwrap().duration_since(bench.now()).as_secs();
            assert_eq!(rests, if seconds == 90 { 90 } else { 10 });
        }
        Ending::Switched(cause @ Cause::RateLimited) => {
            assert_eq!((row.condition, row.cause), (Condition::Resting, Some(cause)));
        }
        Ending::Rests(Cause::AccountTrouble) | Ending::Switched(Cause::AccountTrouble) => {
            assert_eq!((row.condition, row.cause), (Condition::Resting, Some(Cause::AccountTrouble)));
            let raised = bench.alarms.open();
            assert_eq!(raised.len(), 1, "a person is wanted at once");
            assert_eq!(raised[0].0, Alarm::Provider("it".into()));
        }
        // Five failures make it rest; less do not.
        Ending::Rests(cause) => {
            let many = bench.tries().await.len() >= 5;
            let rests = (row.condition, row.cause) == (Condition::Resting, Some(cause));
            assert_eq!(rests, many, "{row:?}");
        }
        _ => assert_eq!(row.condition, Condition::Good, "one failure is not many"),
    }
}

async fn ended_well(bench: &Bench, case: &Case, ending: Ending) {
    let story = ending.story(case.takes());
    let tries = bench.tries().await;
    let repeated = if matches!(ending, Ending::Rests(_)) { tries.len() - 2 } else { 0 };
    let path = story.path.replace(" AGAIN", &" > sending > queued".repeat(repeated));
    assert_eq!(bench.path().await, path);
    let mut expected = vec![story.tries[0]; repeated];
    expected.extend(&story.tries);
    assert_eq!(tries, expected);
    if matches!(ending, Ending::Rests(_)) {
        assert!((2..=12).contains(&repeated), "{repeated} tries for nothing in {} minutes", case.minutes);
    }
    assert!(bench.store.uncomposed(bench.submission).await.unwrap(), "the sender is told");
    let switched = matches!(ending, Ending::Switched(_));
    if !switched && case.asked.is_none() {
        assert_eq!(bench.provider("it").await.condition, Condition::Good);
        assert_eq!(bench.alarms.open(), [], "it takes faxes again");
    }

    // What was asked of the provider, and what it did.
    let attempts = bench.store.attempts(bench.job).await.unwrap();
    let (last, before) = attempts.split_last().unwrap();
    assert_eq!(last.provider, if switched { "other" } else { "it" });
    let unheard = if case.trouble == Trouble::Nobody { before.len() } else { 0 };
    let heard = attempts.len() - unheard - usize::from(switched);
    assert_eq!(bench.proxy.seen(), heard, "one request for each attempt");
    let faxes = bench.simulator.faxes();
    assert_eq!(faxes.len(), 1, "{faxes:?}");
    assert_eq!(faxes[0].job(), bench.job.as_str());
    assert_eq!(faxes[0].sha256, bench::paper_hash());
    assert!(faxes[0].printed && faxes[0].result.as_ref().is_some_and(|result| result.code == "ok"));
    assert_eq!(bench.simulator.violations(), []);
    let reports = match case.trouble {
        _ if case.number() == "+12125550123" => 0,
        Trouble::Webhook(Hooks::Twice) => 2,
        Trouble::Webhook(Hooks::Never) => 0,
        _ => 1,
    };
    assert_eq!(bench.webhooks(), reports, "webhooks were believed");
    if ending == Ending::NotTaken {
        let looked_for = attempts[0].ended().unwrap().duration_since(attempts[0].started());
        assert!(looked_for >= QUIET, "sent again after {looked_for:#}");
    }
}
