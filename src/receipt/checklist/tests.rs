use std::sync::Arc;

use super::*;
use crate::config::{Config, Proof};
use crate::job::state::{Context, Event, step};
use crate::job::{Actor, FaxNumber, JobId, Priority, Source, SubmissionId};
use crate::policy::{Authorization, Pages};
use crate::receipt::account::Accounts;
use crate::register::number::NumberRules;
use crate::register::{NewEntry, VerifiedHow, Word};
use crate::sealed::{JobFacts, SubmissionFacts};
use crate::spool::Spool;
use crate::store::{
    self, AnswerKind, Document, NewJob, NewSubmission, Opening, PacketRow, RegisterChange, SourceKeys, Store,
};
use crate::vault::MasterKey;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn evidence() -> Evidence {
    Evidence {
        at: at(1),
        authorization: Some(Authorization {
            sender: "front desk".into(),
            source: "smtp".into(),
            proof: Some(Proof::Login),
        }),
        recipient: Recipient {
            standing: Standing::Verified,
            verified_by: Some("records".into()),
            second_by: None,
            verified_at: Some(at(-86_400)),
            valid_until: None,
        },
        packet: Some(Pages { pages: 3, cover_pages: 1 }),
        cover: Some(CoverLook::LookedThrough),
        found: Vec::new(),
        lifted: false,
        seal: Some(Seal::AsPrepared),
    }
}

/// The lines, as `[x] item: note`.
fn lines(checks: &[Check]) -> Vec<String> {
    let mark = |ok| if ok { 'x' } else { ' ' };
    checks.iter().map(|check| format!("[{}] {}: {}", mark(check.ok), check.item, check.note)).collect()
}

fn of(evidence: &Evidence) -> Vec<String> {
    lines(&checklist(Some(evidence), &JobState::Cancelled, &[], "UTC"))
}

#[test]
fn each_line_says_what_was_examined() {
    assert_eq!(
        of(&evidence()),
        [
            "[x] authorization: sent by front desk over smtp: signed in with a password",
            "[x] recipient: number verified by records on 14 January 2027",
            "[x] packet: 3 pages, every part accounted for",
            "[x] cover sheet: page 1 of 3",
            "[x] privacy: cover looked through, nothing clinical found; pages read from their seal as prepared",
            "[ ] proof: no delivery was reported",
        ]
    );
}

#[test]
fn what_nobody_examined_is_not_ticked() {
    let from = |source: &str, proof| {
        let authorization = Authorization { sender: "billing".into(), source: source.into(), proof };
        of(&Evidence { authorization: Some(authorization), ..evidence() }).remove(0)
    };
    assert_eq!(
        from("folder:scans", None),
        "[ ] authorization: sent by billing over folder:scans: who handed it in was not examined"
    );
    assert!(from("cli", None).starts_with("[ ] "));
    assert!(from("sftp:billing", None).starts_with("[x] "));
    let privacy = |evidence: Evidence| of(&evidence).remove(4);
    assert_eq!(
        privacy(Evidence { cover: None, seal: None, ..evidence() }),
        "[ ] privacy: nothing was recorded of a look through the cover"
    );
    assert!(privacy(Evidence { seal: Some(Seal::Broken), ..evidence() }).starts_with("[ ] "));
    assert_eq!(
        privacy(Evidence { cover: Some(CoverLook::LeftOut), seal: None, ..evidence() }),
        "[ ] privacy: no cover, so none was looked through"
    );
    assert_eq!(
        privacy(Evidence { cover: Some(CoverLook::LeftOut), ..evidence() }),
        "[x] privacy: no cover, so none was looked through; pages read from their seal as prepared"
    );
}

#[test]
fn what_a_person_let_go_on_is_told() {
    let found = |lifted| Evidence { found: vec![Hold::Proof, Hold::Cover], lifted, ..evidence() };
    for lifted in [false, true] {
        let lines = of(&found(lifted));
        for line in [&lines[0], &lines[4]] {
            assert_eq!(line.starts_with("[x]"), lifted, "{line}");
            assert_eq!(line.contains("a person let it go on"), lifted, "{line}");
        }
    }
}

#[test]
fn every_standing_has_its_line() {
    for standing in Standing::ALL {
        let said = Recipient { standing: *standing, ..evidence().recipient };
        let (ok, note) = recipient(&said, "UTC");
        assert_eq!(ok, *standing == Standing::Verified, "{note}");
        assert!(!note.is_empty());
    }
}

/// A fax that was prepared with `prepared`, and sent with `sent` where that is given.
struct Rig {
    _folder: tempfile::TempDir,
    store: Store,
    spool: Spool,
    submission: SubmissionId,
    job: JobId,
}

impl Rig {
    async fn new(prepared: Option<Evidence>) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::from_bytes(&[7; 32]).unwrap();
        let spool = Spool::open(folder.path().join("spool"), master).unwrap();
        let store = Store::open(folder.path(), "test").await.unwrap();
        let (key, wrapped) = spool.vault().new_key().unwrap();
        let (submission, job) = (SubmissionId::new(at(0), 1), JobId::new(at(0), 2));
        let sealed = SubmissionFacts::default().seal(&key).unwrap();
        let document = |name: &str| Document { name: name.into(), bytes: 1, sha256: "00".into() };
        let new = NewSubmission {
            id: submission,
            source: Source::Smtp,
            source_keys: SourceKeys::default(),
            sender: "front desk".into(),
            accepted_at: at(0),
            wrapped_key: wrapped.0,
            facts: sealed.clone(),
            documents: vec![document("received")],
            receipt_to: None,
        };
        store.insert_submission(new, at(-1000)).await.unwrap().unwrap();
        let fields = [("key", "mercy"), ("name", "Mercy"), ("number", "+12125550199")];
        let numbers = NumberRules::new("US", &[]).unwrap();
        let mut entry = NewEntry::check(&fields.into_iter().collect(), &numbers).unwrap().into_entry(at(0));
        let word = Word {
            by: "records",
            account: "jane",
            how: VerifiedHow::Callback,
            evidence: "called",
            until: None,
        };
        entry.verify(&word, false, at(0)).unwrap();
        assert_eq!(store.add_recipients(vec![entry], &Actor::Daemon, at(0)).await.unwrap(), None);
        let facts = JobFacts { evidence: prepared, ..JobFacts::default() }.seal(&key).unwrap();
        let jobs = vec![NewJob {
            id: job,
            version: 1,
            recipient: Some("mercy".into()),
            number: Some(FaxNumber::from_e164("+12125550199").unwrap()),
            rule: "r".into(),
            route: vec!["sim".into()],
            state: JobState::Queued { due: at(0) },
            deadline: at(10_000),
            send_at: None,
            priority: Priority::Normal,
            packet: Some(PacketRow { document: document("packet"), shared: None, pages: 3, cover_pages: 1 }),
            facts,
            mark: None,
        }];
        let verdict = store::Verdict::Jobs;
        assert!(store.record_prepared(submission, verdict, sealed, jobs, false, at(0)).await.unwrap());
        Rig { _folder: folder, store, spool, submission, job }
    }

    /// Opens an Attempt.
    async fn send(&self, evidence: Option<Evidence>) {
        let job = self.store.job(self.job).await.unwrap().unwrap();
        let claimed = Event::Claimed { attempt: 1 };
        let step = step(&job.state, claimed, &Context::plain(at(5), job.deadline)).unwrap();
        let opening = Opening { two_person: false, evidence };
        self.store.save_opening(&job, step, opening, at(5)).await.unwrap();
    }

    /// The checklist of a receipt under a configuration that was changed `so`.
    async fn told(&self, so: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = crate::config::parse(crate::config::SAMPLE, "sample").unwrap().config;
        so(&mut config);
        let accounts = Accounts::new(Arc::new(config), self.store.clone(), self.spool.clone());
        let account = accounts.account(self.submission, AnswerKind::Final, None).await.unwrap();
        lines(&account.jobs[0].checklist)
    }
}

#[tokio::test]
async fn a_receipt_shows_what_was_recorded_though_everything_has_changed_since() {
    let rig = Rig::new(Some(evidence())).await;
    assert_eq!(rig.told(|_| {}).await, of(&evidence()), "that of preparing, before anything is sent");
    let sent = Evidence {
        recipient: Recipient { verified_by: Some("second desk".into()), ..evidence().recipient },
        ..evidence()
    };
    rig.send(Some(sent.clone())).await;
    // Now the policy wants two persons, another sender is configured, and the number is suspended.
    let mut entry = rig.store.recipient("mercy").await.unwrap().unwrap();
    entry.suspend("gone", at(6));
    rig.store.put_recipient(entry, &Actor::Daemon, RegisterChange::Changed, at(6)).await.unwrap();
    let told = rig
        .told(|config| {
            config.policy.two_person = true;
            config.sender.clear();
        })
        .await;
    assert_eq!(told, of(&sent));
    assert!(told[1].contains("second desk"), "that of the attempt, not that of preparing: {}", told[1]);
}

#[tokio::test]
async fn a_row_from_before_anything_was_recorded_says_so() {
    let rig = Rig::new(None).await;
    rig.send(None).await;
    let told = rig.told(|_| {}).await;
    for line in &told[..5] {
        assert!(line.starts_with("[ ] ") && line.ends_with(NOTHING), "{line}");
    }
    let old = br#"{"reference":null,"recipient_name":"Mercy","hold":null}"#;
    assert_eq!(serde_json::from_slice::<JobFacts>(old).unwrap().evidence, None);
}
