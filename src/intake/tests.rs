//! What is accepted once, whichever way and however often it comes.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::testing::Rig;
use super::{Accepted, Arrival};
use crate::job::Source;
use crate::sealed::SubmissionFacts;
use crate::store::SubmissionFilter;
use crate::vault::WrappedKey;

/// One delivery of a mail: which, to whom, which way.
#[derive(Debug, Clone)]
struct Delivery {
    mail: usize,
    to: Vec<usize>,
    way: usize,
}

impl Delivery {
    fn arrival(&self) -> Arrival {
        let source = match self.way {
            0 => Source::Smtp,
            n => Source::Imap(format!("box{n}")),
        };
        // The two ways write addresses as they like.
        let to = |n: &usize| {
            let to = format!("r{n}@fax.example.com");
            if self.way == 1 { to.to_ascii_uppercase() } else { to }
        };
        Arrival {
            envelope_from: Some("jane@example.com".into()),
            envelope_to: self.to.iter().map(to).collect(),
            message_id: Some(format!("<{}@example.com>", self.mail)),
            content_sha256: Some(format!("content {}", self.mail)),
            ..Arrival::new(source, "front desk".into())
        }
    }
}

async fn deliver(rig: &Rig, arrival: Arrival) -> Accepted {
    let mut draft = rig.intake.begin().await.unwrap();
    draft.write(b"From: jane@example.com\r\n\r\nHello.\r\n").await.unwrap();
    rig.intake.accept(draft, arrival).await.unwrap()
}

/// How often each mail was accepted for each recipient, by Message-ID and folded address.
async fn faxes(rig: &Rig) -> BTreeMap<(String, String), usize> {
    let mut faxes = BTreeMap::new();
    for submission in rig.store.submissions(&SubmissionFilter::default(), 10_000).await.unwrap() {
        let key = rig.spool.vault().unwrap_key(&WrappedKey(submission.wrapped_key.unwrap())).unwrap();
        let facts = SubmissionFacts::open(&key, &submission.facts).unwrap();
        assert!(!rig.store.received(submission.id).await.unwrap().is_empty());
        assert!(!facts.envelope_to.is_empty(), "a Submission for nobody");
        let message_id = facts.message_id.unwrap();
        for to in facts.envelope_to {
            let which = (message_id.clone(), to.to_ascii_lowercase());
            *faxes.entry(which).or_default() += 1;
        }
    }
    faxes
}

#[tokio::test]
async fn three_times_over_two_ways_is_one_submission_and_one_answer() {
    let rig = Rig::new("").await;
    let one = |way| Delivery { mail: 1, to: vec![1, 2], way };
    let first = deliver(&rig, one(0).arrival()).await;
    assert!(matches!(first, Accepted::New(_)));
    for way in [0, 1, 2] {
        assert_eq!(deliver(&rig, one(way).arrival()).await, Accepted::Known(first.id()));
    }
    assert_eq!(faxes(&rig).await.into_values().collect::<Vec<_>>(), [1, 1]);
    // Those of the repeats go when their threads are done with them.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while rig.spool.list().unwrap().len() > 1 && std::time::Instant::now() < limit {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.spool.list().unwrap().len(), 1, "the repeats leave no files");
}

#[tokio::test]
async fn a_mail_that_comes_again_in_parts_is_new_only_for_who_is_new() {
    let rig = Rig::new("").await;
    let to = |to: &[usize]| Delivery { mail: 1, to: to.to_vec(), way: 0 }.arrival();
    let first = deliver(&rig, to(&[1, 2])).await;
    assert_eq!(deliver(&rig, to(&[1])).await, Accepted::Known(first.id()));
    let rest = deliver(&rig, to(&[2, 3])).await;
    assert!(matches!(rest, Accepted::New(_)));
    assert_ne!(rest.id(), first.id());
    assert_eq!(deliver(&rig, to(&[3])).await, Accepted::Known(rest.id()));
    assert!(faxes(&rig).await.into_values().all(|times| times == 1));
}

#[tokio::test]
async fn two_mails_in_the_same_moment_are_two() {
    let rig = Rig::new("").await;
    let both = (1..=2).map(|mail| deliver(&rig, Delivery { mail, to: vec![1], way: 0 }.arrival()));
    let both = join_all(both).await;
    assert!(both.iter().all(|accepted| matches!(accepted, Accepted::New(_))));
    assert_eq!(faxes(&rig).await.len(), 2);
}

#[tokio::test]
async fn a_document_that_does_not_come_to_the_disk_is_not_recorded() {
    let rig = Rig::new("").await;
    let mut draft = rig.intake.begin().await.unwrap();
    // It takes bytes, and cannot be synced.
    let (_reader, pipe) = std::io::pipe().unwrap();
    draft.writer = draft.writer.into_file(std::fs::File::from(std::os::fd::OwnedFd::from(pipe)));
    draft.write(b"From: jane@example.com\r\n\r\nHello.\r\n").await.unwrap();
    let arrival = || Delivery { mail: 1, to: vec![1], way: 0 }.arrival();
    let refusal = rig.intake.accept(draft, arrival()).await.unwrap_err();
    assert!(!refusal.permanent, "{refusal:?}");
    assert!(faxes(&rig).await.is_empty());
    assert!(matches!(deliver(&rig, arrival()).await, Accepted::New(_)), "it is known by nothing");
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (0..3_usize, proptest::collection::vec(0..5_usize, 1..5), 0..3_usize)
        .prop_map(|(mail, to, way)| Delivery { mail, to, way })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Split as they like, in any order, over any way, some at the same time: each mail is accepted once for each recipient.
    #[test]
    fn each_mail_is_accepted_once_for_each_recipient(
        rounds in proptest::collection::vec(proptest::collection::vec(delivery(), 1..4), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new("").await;
            let mut wanted = BTreeMap::new();
            for round in &rounds {
                join_all(round.iter().map(|delivery| deliver(&rig, delivery.arrival()))).await;
                for delivery in round {
                    for to in &delivery.to {
                        let which = (format!("<{}@example.com>", delivery.mail), format!("r{to}@fax.example.com"));
                        wanted.insert(which, 1);
                    }
                }
            }
            assert_eq!(faxes(&rig).await, wanted);
        });
    }
}
