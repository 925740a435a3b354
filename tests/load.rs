//! Story: a long queue. Thousands of jobs wait when the daemon starts, five hundred of them (or a twentieth, in a short run)
//! for one number.
//!
//! Afterwards: every job is delivered once, no number ever had two calls at once, and the queue behind the one number delayed
//! nobody: when the last of the others was dialled, most of that queue was still waiting.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `FAXBRIDGE_LOAD_JOBS` | how many jobs; a fifth as many numbers | 1000 |
//! | `FAXBRIDGE_LOAD_PER_SECOND` | answers that the simulator gives in a second | as many as it can |
//!
//! It prints jobs per second and the daemon's memory. `benches/RESULTS.md` has the figures of 10,000 jobs at 200 answers a
//! second with the release build.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fault ends the story")]

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use faxbridge::clock::{Clock, SystemClock};
use faxbridge::delivery::simulator::wire::Standing;
use faxbridge::job::{FaxNumber, JobId, JobState, Source, SubmissionId};
use faxbridge::simulator::server::Fax;
use faxbridge::spool::Spool;
use faxbridge::store::{Document, JobFilter, NewJob, NewSubmission, PacketRow, SourceKeys, Verdict};
use faxbridge::text::hex;
use faxbridge::vault::{MasterKey, WrappedKey};
use jiff::SignedDuration;
use support::{Clinic, Stage};

/// The number that a twentieth of the jobs go to.
const CROWDED: &str = "+12122220190";
/// Jobs of one submission.
const BATCH: u64 = 100;

fn setting(name: &str) -> Option<u32> {
    std::env::var(name)
        .ok()
        .map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")))
}

/// The number of the `n`th job: every twentieth goes to the crowded one, the others to a fifth as many numbers as jobs.
fn number(n: u64, jobs: u64) -> String {
    if n.is_multiple_of(20) {
        return CROWDED.to_owned();
    }
    let which = n % (jobs / 5).max(1);
    // An ending from 40 on is delivered at once, whatever else the number is.
    format!("+1312{:03}{:02}{:02}", 222 + which / 3000, which / 60 % 50, 40 + which % 60)
}

/// Puts the jobs into store and spool as preparing would have.
async fn fill(stage: &Stage, jobs: u64, packet: &[u8]) {
    let spool = Spool::open(stage.path("data/spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
    let now = SystemClock.now();
    for batch in 0..jobs.div_ceil(BATCH) {
        let (key, WrappedKey(wrapped_key)) = spool.vault().new_key().unwrap();
        let sealed = async || {
            let mut writer = spool.create(&key).unwrap();
            writer.write(packet).await.unwrap();
            let sealed = writer.finish().await.unwrap();
            Document { name: sealed.name, bytes: packet.len() as u64, sha256: hex(sealed.sha256.as_ref()) }
        };
        let submission = NewSubmission {
            id: SubmissionId::new(now, batch),
            source: Source::Cli,
            source_keys: SourceKeys::default(),
            sender: "command line".into(),
            receipt_to: None,
            accepted_at: now,
            wrapped_key,
            facts: Vec::new(),
            documents: vec![sealed().await],
        };
        let id = stage.store.insert_submission(submission, now).await.unwrap().unwrap();
        let first = batch * BATCH;
        let documents =
            futures_util::future::join_all((first..jobs.min(first + BATCH)).map(|_| sealed())).await;
        let jobs = documents.into_iter().zip(first..).map(|(document, n)| {
            let number = number(n, jobs);
            NewJob {
                id: JobId::new(now, n),
                version: 1,
                recipient: Some(format!("office{}", number.trim_start_matches('+'))),
                number: Some(FaxNumber::from_e164(&number).unwrap()),
                rule: "load".into(),
                route: vec!["simulator".into()],
                state: JobState::Queued { due: now },
                deadline: now + SignedDuration::from_hours(24),
                send_at: None,
                priority: faxbridge::job::Priority::Normal,
                packet: Some(PacketRow { document, shared: None, pages: 3, cover_pages: 1 }),
                facts: Vec::new(),
                mark: None,
            }
        });
        let jobs = jobs.collect();
        assert!(stage.store.record_prepared(id, Verdict::Jobs, Vec::new(), jobs, false, now).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_for_one_number_delays_nobody_and_no_number_has_two_calls_at_once() {
    let jobs = u64::from(setting("FAXBRIDGE_LOAD_JOBS").unwrap_or(1000));
    let per_second = setting("FAXBRIDGE_LOAD_PER_SECOND");
    let mut stage = Stage::with(&Clinic::new(), |simulator| {
        // The queue of the one number takes longer than all others, unless those wait for it.
        simulator.call_time = Duration::from_millis(400);
        simulator.per_second = per_second;
        simulator.keep = false;
    })
    .await;
    let mut numbers: Vec<String> = (0..jobs).map(|n| number(n, jobs)).collect();
    numbers.sort();
    numbers.dedup();
    let entries: Vec<(String, &str)> = numbers
        .iter()
        .map(|number| (format!("office{}", number.trim_start_matches('+')), number.as_str()))
        .collect();
    stage.verified(&entries).await;
    let packet = support::documents::pdf("load", 3);
    fill(&stage, jobs, &packet).await;

    stage.start().await;
    let began = Instant::now();
    let idle = stage.daemon().memory("VmRSS");
    let open = JobFilter { open: true, ..JobFilter::default() };
    stage
        .until_in(
            Duration::from_secs(jobs.max(600)),
            Duration::from_millis(200),
            "every job is delivered",
            async || stage.store.jobs(&open, 1).await.unwrap().is_empty().then_some(()),
        )
        .await;
    let took = began.elapsed();
    let peak = stage.daemon().memory("VmHWM");

    let faxes = stage.simulator.faxes();
    let mut calls: HashMap<&str, u32> = HashMap::new();
    for fax in faxes.iter().filter(|fax| fax.status == Standing::Delivered) {
        *calls.entry(fax.job()).or_default() += 1;
    }
    assert_eq!(calls.len() as u64, jobs, "each job was delivered");
    assert!(calls.values().all(|times| *times == 1), "and none twice");
    let violations = stage.simulator.violations();
    assert!(violations.is_empty(), "{violations:?}");
    let (crowd, others): (Vec<&Fax>, Vec<&Fax>) = faxes.iter().partition(|fax| fax.number == CROWDED);
    let first = faxes.iter().map(|fax| fax.taken).min().unwrap();
    let last = others.iter().filter_map(|fax| fax.ended).max().unwrap();
    let behind = crowd.iter().filter(|fax| fax.dialled.is_some_and(|at| at > last)).count();
    let seconds = last.duration_since(first).as_secs_f64();
    println!(
        "{} jobs to {} numbers: {:.0} jobs/s over {seconds:.1} s; {} to one number end after {:.1} s, {behind} of them after all \
         others; memory {idle} MiB at the start, {peak} MiB at most",
        faxes.len(),
        numbers.len(),
        others.len() as f64 / seconds,
        crowd.len(),
        took.as_secs_f64(),
    );
    assert!(behind > 0, "the others had to wait for the one number's whole queue");
    assert!(stage.daemon().stop().await.success(), "it stops in order:\n{}", stage.log_tail());
}
