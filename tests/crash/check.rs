//! What must be true in the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use faxbridge::job::{FaxNumber, JobId, JobState, SourceKind, from_reference};
use faxbridge::store::{Document, Job, Submission as Row};
use serde_json::Value;

use super::load::{Submission, Way};
use super::person::Decisions;
use super::providers::{ROUTES, provider_of};
use super::support::stage::{Came, MASTER_KEY};
use super::support::{Stage, clients};
use faxbridge::vault::{MasterKey, Purpose};

/// Checks everything, and says in figures what there was.
pub(crate) async fn all(stage: &Stage, sent: &[Submission], decisions: &Decisions) {
    everything_ends(stage).await;
    let rows = stage.submissions().await;
    let jobs = stage.jobs().await;
    none_lost_none_doubled(sent, &rows, &jobs);
    none_faxed_twice(stage, &jobs, decisions).await;
    never_blind(stage, &jobs).await;
    the_right_pages(stage, sent);
    one_receipt_each(stage, sent, &rows).await;
    gone_when_done(stage);
    never_seen(stage, &jobs, decisions);
}

/// What the provider must never see: two calls to one number, or another count of pages than announced.
fn never_seen(stage: &Stage, jobs: &[Job], decisions: &Decisions) {
    let mut violations = stage.simulator.violations();
    // A person who released an unclear job may have let it ring while its first call still hung.
    for number in
        jobs.iter().filter(|job| decisions.released.contains(&job.id)).filter_map(|job| job.number.as_ref())
    {
        violations.retain(|v| !(v.kind == "overlapping_calls" && v.what.contains(number.as_str())));
    }
    assert_eq!(violations, []);
}

/// Every submission is final, every answer has left, every key is destroyed.
async fn everything_ends(stage: &Stage) {
    stage
        .until_in(
            Duration::from_secs(120),
            Duration::from_millis(300),
            "every submission is answered and destroyed",
            async || {
                for row in stage.submissions().await {
                    if row.final_at.is_none()
                        || row.destroyed_at.is_none()
                        || stage.store.unsent(row.id).await.unwrap() > 0
                    {
                        return None;
                    }
                }
                Some(())
            },
        )
        .await;
}

/// One submission per mail or file, one job per submission and number. A client that sends again after it was told that a fax
/// failed or was cancelled means another one: so many more there may be, and no more.
fn none_lost_none_doubled(sent: &[Submission], rows: &[Row], jobs: &[Job]) {
    let mut expected: BTreeMap<(Way, String), i64> = BTreeMap::new();
    for submission in sent {
        for number in &submission.numbers {
            *expected.entry((submission.way, number.clone())).or_default() += 1;
        }
    }
    let ways: HashMap<_, _> = rows.iter().map(|row| (row.id, way(row))).collect();
    let mut spent: BTreeMap<(Way, String), i64> = BTreeMap::new();
    for job in jobs {
        let number = job.number.as_ref().map_or(String::new(), ToString::to_string);
        let key = (ways[&job.submission], number);
        *expected.entry(key.clone()).or_default() -= 1;
        if matches!(job.state, JobState::Failed { .. } | JobState::Cancelled) {
            *spent.entry(key).or_default() += 1;
        }
    }
    expected.retain(|key, balance| *balance > 0 || -*balance > spent.get(key).copied().unwrap_or_default());
    assert_eq!(expected, BTreeMap::new(), "positive: lost; negative: made twice");
    let alive: HashSet<_> = jobs
        .iter()
        .filter(|job| !matches!(job.state, JobState::Failed { .. } | JobState::Cancelled))
        .map(|job| job.submission)
        .collect();
    let more = rows.len().checked_sub(sent.len()).expect("no submission is lost");
    assert!(more <= rows.len() - alive.len(), "{more} submissions too many");
    println!("{more} submissions came again after they had failed");
}

fn way(row: &Row) -> Way {
    match row.source.kind() {
        SourceKind::Smtp => Way::Mail,
        SourceKind::Sftp => Way::Sftp,
        _ => Way::Folder,
    }
}

/// What the simulator printed against what the jobs say.
async fn none_faxed_twice(stage: &Stage, jobs: &[Job], decisions: &Decisions) {
    let mut printed: HashMap<JobId, u32> = HashMap::new();
    let faxes = stage.simulator.faxes();
    for fax in &faxes {
        let (job, _) = from_reference(&fax.reference).expect("a reference of ours");
        *printed.entry(job).or_default() += u32::from(fax.was_delivered());
    }
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for job in jobs {
        let end = match &job.state {
            JobState::Failed { cause } => format!("failed ({cause})"),
            state => state.as_str().to_owned(),
        };
        *ends.entry(end.clone()).or_default() += 1;
        let copies = printed.remove(&job.id).unwrap_or(0);
        let twice = copies == 2 && decisions.released.contains(&job.id);
        let right = match job.state {
            // A person may have stated it of one that came to nothing.
            JobState::Delivered => copies == 1 || (copies == 0 && decisions.stated.contains(&job.id)),
            JobState::Failed { .. } => copies == 0,
            JobState::Cancelled => copies == 0 && decisions.cancelled.contains(&job.id),
            _ => false,
        };
        if !(right || twice) {
            wrong.push(format!("job {} is {end}, and was printed {copies} times", job.id));
            story(stage, job).await;
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(printed.values().all(|copies| *copies == 0), "faxes of jobs that the store does not know");
    println!("{} calls for {} jobs: {ends:?}", faxes.len(), jobs.len());
}

/// Prints all that is known about a job.
async fn story(stage: &Stage, job: &Job) {
    for attempt in stage.store.attempts(job.id).await.unwrap() {
        println!("{attempt:?}");
    }
    for fax in stage.simulator.faxes().iter().filter(|fax| fax.job() == job.id.as_str()) {
        println!("{fax:?}");
    }
    for line in stage.log().lines().filter(|line| line.contains(job.id.as_str())) {
        println!("{line}");
    }
}

/// Every call has an Attempt that was there first, of the same number and the same bytes, with a provider of its route.
async fn never_blind(stage: &Stage, jobs: &[Job]) {
    let jobs: HashMap<JobId, &Job> = jobs.iter().map(|job| (job.id, job)).collect();
    let mut calls: BTreeMap<&str, u32> = BTreeMap::new();
    let mut by: HashMap<JobId, HashSet<&str>> = HashMap::new();
    for fax in stage.simulator.faxes() {
        let (id, n) = from_reference(&fax.reference).unwrap();
        let job = jobs[&id];
        let attempts = stage.store.attempts(id).await.unwrap();
        let attempt = attempts.iter().find(|attempt| attempt.n == i64::from(n));
        let attempt = attempt.unwrap_or_else(|| panic!("call {} has no attempt", fax.reference));
        assert!(attempt.started() <= fax.taken, "attempt {} was opened after its call", fax.reference);
        assert_eq!(job.number.as_ref().map(FaxNumber::as_str), Some(fax.number.as_str()));
        assert_eq!(attempt.provider, provider_of(&fax));
        *calls.entry(provider_of(&fax)).or_default() += 1;
        by.entry(id).or_default().insert(provider_of(&fax));
        let route = ROUTES.iter().find(|route| route.rules().contains(&job.rule)).expect("a rule of ours");
        assert!(route.providers.contains(&attempt.provider.as_str()), "{} by {route:?}", attempt.provider);
        // Some fetch the document after they have taken the fax, if the daemon lives then.
        if fax.bytes > 0 || fax.was_delivered() {
            // Of what is destroyed only a mark of the digest is left.
            let digests = MasterKey::from_bytes(&MASTER_KEY).unwrap().marker(Purpose::Digest).unwrap();
            let document = &job.packet.as_ref().expect("what was called has pages").document;
            let known = [fax.sha256.clone(), Document::mark(&fax.sha256, &digests)];
            assert!(known.contains(&document.sha256), "{} is not what was sent", document.sha256);
        }
    }
    let two = by.values().filter(|providers| providers.len() > 1).count();
    println!("calls by provider: {calls:?}; {two} jobs by two");
}

/// What came out at a number is what was sent there: a cover, and the page with the mark.
fn the_right_pages(stage: &Stage, sent: &[Submission]) {
    let mut wanted: HashMap<&str, Vec<String>> = HashMap::new();
    for submission in sent {
        for number in &submission.numbers {
            wanted.entry(number).or_default().push(submission.mark());
        }
    }
    let mut looked = 0;
    for fax in stage.simulator.faxes().iter().filter(|fax| fax.was_delivered()) {
        let path = stage.path(&format!("faxed/{}.pdf", fax.id));
        let printed = lopdf::Document::load(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(printed.get_pages().len(), 2, "{}: cover and page", fax.id);
        let text = printed.extract_text(&[2]).unwrap();
        let marks = &wanted[fax.number.as_str()];
        assert!(marks.iter().any(|mark| text.contains(mark)), "{}: {text:?}, not {marks:?}", fax.number);
        looked += 1;
    }
    println!("{looked} printed faxes have their cover and the right page");
}

/// One final answer per submission and way.
async fn one_receipt_each(stage: &Stage, sent: &[Submission], rows: &[Row]) {
    let mut finals: HashMap<String, u32> = HashMap::new();
    for letter in stage.sink.letters().iter().filter(|letter| letter.is_final()) {
        *finals.entry(letter.message_id.clone()).or_default() += 1;
    }
    let copies: u32 = finals.values().map(|times| times - 1).sum();
    let by_mail: HashSet<String> =
        finals.keys().filter_map(|id| Some(id.split_once(".final@")?.0.to_owned())).collect();
    assert_eq!(by_mail.len(), finals.len());
    let expected: HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    assert_eq!(by_mail, expected, "every submission has its one final mail");
    let answered = finals_answer(stage);
    let mails = sent.iter().filter(|s| s.way == Way::Mail).map(Submission::message_id);
    let mails: HashSet<String> = mails.map(|id| id.trim_matches(['<', '>']).to_owned()).collect();
    assert_eq!(answered, mails, "every mail has its final answer in its thread");
    for row in rows {
        assert!(stage.store.receipt(row.id).await.unwrap().is_some(), "the receipt of {} is kept", row.id);
    }
    for (way, folder) in [(Way::Sftp, fetched(stage).await), (Way::Folder, stage.path("scans/results"))] {
        let expected: HashSet<String> =
            rows.iter().filter(|row| self::way(row) == way).map(|row| row.id.to_string()).collect();
        let mut found = HashSet::new();
        for file in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = file.unwrap().path();
            let text = std::fs::read(&path).unwrap();
            let result: Value =
                serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let receipt = &result["receipt"];
            if receipt["kind"] == "final" {
                let submission = receipt["submission"].as_str().unwrap().to_owned();
                assert!(found.insert(submission), "{}: a second result", path.display());
            }
        }
        assert_eq!(found, expected, "every drop has its one result ({way:?})");
    }
    println!("{} receipts by mail, {copies} of them came twice under one Message-ID", finals.len());
}

/// The mails that final receipts answer.
fn finals_answer(stage: &Stage) -> HashSet<String> {
    let letters = stage.sink.letters();
    letters
        .into_iter()
        .filter(super::support::sink::Letter::is_final)
        .filter_map(|letter| letter.in_reply_to)
        .collect()
}

/// What a client of OpenSSH gets from `results/`.
async fn fetched(stage: &Stage) -> std::path::PathBuf {
    let folder = stage.path("fetched");
    std::fs::create_dir(&folder).unwrap();
    let output = clients::sftp(stage, "lcd fetched\nget results/*\n").await;
    assert!(output.status.success(), "{}", clients::said(&output));
    folder
}

/// No document is left, sealed or not.
fn gone_when_done(stage: &Stage) {
    let mut left = Vec::new();
    let mut folders =
        vec![stage.path("small/data/spool"), stage.path("small/data/claims"), stage.path("scans/.faxbridge")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !(path.ends_with("key-check") || path.ends_with("visitors")) {
                left.push(path);
            }
        }
    }
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
