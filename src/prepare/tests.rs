//! Preparing without a worker: what becomes of a Submission that cannot be prepared.

use std::sync::Mutex;

use super::*;
use crate::clock::Clock;
use crate::job::{Actor, Hold, Source, SubmissionId};
use crate::packet::WorkshopLimits;
use crate::routing::Rules;
use crate::store::{Document, NewSubmission, SourceKeys, within_process};
use crate::text::hex;
use crate::vault::MasterKey;

/// A clock that is moved by hand.
#[derive(Debug)]
struct Hand(Mutex<Timestamp>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

struct Rig {
    preparer: Preparer,
    clock: Arc<Hand>,
    _dir: tempfile::TempDir,
}

impl Rig {
    /// Without a program for workers.
    async fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let config = "[organization]\nname = \"Example\"\ncountry = \"US\"\ntime_zone = \"UTC\"\n[store]\n\
                      data_dir = \"/nonexistent\"\nmaster_key = \"env:NONE\"\n[[sender]]\nname = \"front desk\"\n\
                      [[rule]]\nname = \"any\"\nto = \"{number}@fax.example.com\"\n";
        let config: Arc<Config> = Arc::new(toml::from_str(config).unwrap());
        let spool = Spool::open(dir.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let store = Store::open(dir.path(), "test").await.unwrap();
        let clock = Arc::new(Hand(Mutex::new(Timestamp::from_second(1_795_000_000).unwrap())));
        let rules = Arc::new(Rules::compile(&config.rule).unwrap());
        let limits = WorkshopLimits { workers: 1, memory: 1 << 30, time: Duration::from_secs(60) };
        let preparer = Preparer {
            workshop: Workshop::new("/nonexistent/faxbridge".into(), limits),
            planner: Planner::new(Arc::clone(&config), store.clone(), rules).unwrap(),
            commands: commands::Desk::new(Arc::clone(&config), store.clone(), spool.vault().clone()),
            fonts: Arc::new(Fonts::builtin()),
            clock: Arc::clone(&clock) as SharedClock,
            arrivals: Arc::default(),
            arrived: within_process(),
            made: within_process(),
            answered: within_process(),
            alarms: Alarms::default(),
            store,
            spool,
            config,
        };
        Rig { preparer, clock, _dir: dir }
    }

    async fn accepted(&self) -> SubmissionId {
        let Preparer { spool, store, .. } = &self.preparer;
        let (key, WrappedKey(wrapped_key)) = spool.vault().new_key().unwrap();
        let mut writer = spool.create(&key).unwrap();
        writer.write(b"%PDF-1.7").await.unwrap();
        let sealed = writer.finish().await.unwrap();
        let to = vec!["+12125550199@fax.example.com".to_owned()];
        let facts = SubmissionFacts { envelope_to: to, ..SubmissionFacts::default() };
        let submission = NewSubmission {
            id: SubmissionId::new(self.clock.now(), 1),
            source: Source::Smtp,
            source_keys: SourceKeys::default(),
            sender: "front desk".into(),
            receipt_to: Some(spool.vault().seal_address("jane@example.com").unwrap()),
            accepted_at: self.clock.now(),
            wrapped_key,
            facts: facts.seal(&key).unwrap(),
            documents: vec![Document { name: sealed.name, bytes: 8, sha256: hex(&sealed.sha256) }],
        };
        store.insert_submission(submission, Timestamp::MIN).await.unwrap().unwrap()
    }

    /// Tries until nothing is left to be tried; returns how often.
    async fn try_on(&self) -> u32 {
        let Preparer { store, .. } = &self.preparer;
        for tries in 0..100 {
            let now = self.clock.now();
            let claimed =
                store.claim_submission("front desk", now, now + SignedDuration::from_secs(60)).await;
            let Some(submission) = claimed.unwrap() else { return tries };
            assert_eq!(submission.prepare_tries, tries + 1);
            self.preparer.prepare(submission).await;
            *self.clock.0.lock().unwrap() += again::after(tries + 1);
        }
        panic!("it is tried without end");
    }
}

#[tokio::test]
async fn what_cannot_be_prepared_is_held_at_last_and_its_sender_told() {
    let rig = Rig::new().await;
    let id = rig.accepted().await;
    let before = rig.clock.now();
    assert_eq!(rig.try_on().await, 20);
    let took = rig.clock.now().duration_since(before);
    assert!((25..35).contains(&took.as_mins()), "{took}");
    let Preparer { store, spool, alarms, .. } = &rig.preparer;
    let jobs = store.jobs(&JobFilter::default(), 9).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert!(matches!(job.state, JobState::Held { hold: Hold::Part, .. }), "{:?}", job.state);
    assert_eq!(job.packet, None);
    let wrapped = store.submission(id).await.unwrap().unwrap().wrapped_key.unwrap();
    let key = spool.vault().unwrap_key(&WrappedKey(wrapped)).unwrap();
    let sentence = JobFacts::open(&key, &job.facts).unwrap().hold.unwrap();
    assert!(sentence.contains("for a reason that lies with us"), "{sentence}");
    assert!(store.uncomposed(id).await.unwrap(), "the notice to the sender is in the outbox");
    assert_eq!(spool.list().unwrap().len(), 1, "only what was received");
    assert!(alarms.open().iter().any(|(alarm, _)| *alarm == Alarm::Preparation));
    // A person who has mended it releases it, and all begins anew.
    assert!(store.prepare_again(id, &Actor::Daemon, rig.clock.now()).await.unwrap());
    assert_eq!(rig.try_on().await, 20);
}

#[tokio::test]
async fn what_was_received_and_is_gone_is_told_sooner() {
    let rig = Rig::new().await;
    rig.accepted().await;
    for name in rig.preparer.spool.list().unwrap() {
        rig.preparer.spool.forget(&name).await.unwrap();
    }
    assert_eq!(rig.try_on().await, 6);
    assert_eq!(rig.preparer.store.jobs(&JobFilter::default(), 9).await.unwrap().len(), 1);
}
