//! Two nodes on one database: what one has leased the other leaves alone.

use super::*;

#[tokio::test]
async fn who_lost_a_lease_does_not_take_it_from_its_new_owner() {
    let dir = tempfile::tempdir().unwrap();
    let one = Store::open(dir.path(), "one").await.unwrap();
    let two = Store::open(dir.path(), "two").await.unwrap();
    // A Submission: what the one says of it after its time is not heard while the other has it.
    let id = one.insert_submission(submission(1, None), at(-1)).await.unwrap().unwrap();
    let prepare = async |store: &Store, now| {
        store.claim_submission("billing", at(now), at(now + 60)).await.unwrap().is_some()
    };
    assert!(prepare(&one, 1).await && !prepare(&two, 2).await);
    assert!(prepare(&two, 61).await);
    one.postpone_prepare(id, at(70)).await.unwrap();
    assert!(!prepare(&one, 80).await, "it is the other's until then");
    two.postpone_prepare(id, at(90)).await.unwrap();
    assert!(prepare(&one, 90).await);
    // A Job.
    let jobs = vec![queued(1, "+12125550101")];
    assert!(one.record_prepared(id, Verdict::Jobs, vec![], jobs, false, at(100)).await.unwrap());
    let job = claim(&one, 101).await.remove(0);
    assert!(claim(&two, 102).await.is_empty());
    assert_eq!(claim(&two, 161).await.len(), 1);
    one.release_job(job.id, at(170)).await.unwrap();
    assert!(claim(&one, 180).await.is_empty(), "it is the other's until then");
    two.release_job(job.id, at(190)).await.unwrap();
    assert_eq!(claim(&one, 190).await.len(), 1);
    // An answer.
    let job = one.job(job.id).await.unwrap().unwrap();
    assert!(matches!(advance(&one, &job, Event::Cancel, 200).await.0, Saved::Done(_)));
    let answers = async |store: &Store, now| {
        store.claim_outbox(Queue::Compose(&[]), at(now), at(now + 60), 9).await.unwrap()
    };
    let (mine, theirs) = (answers(&one, 201).await, answers(&two, 261).await);
    assert_eq!(mine.len(), theirs.len());
    assert!(!mine.is_empty() && answers(&one, 262).await.is_empty());
    for row in &mine {
        one.record_unsent(&row.id, "too late", None).await.unwrap();
    }
    assert_eq!(answers(&one, 321).await.len(), mine.len(), "given up by nobody who had it");
    // A start drops what its own name has, and nothing else.
    assert_eq!(two.drop_own_leases().await.unwrap(), 0);
    assert!(one.drop_own_leases().await.unwrap() > 0);
}

/// Each writer remembers the ledger's last row, which the other then is not behind.
#[tokio::test]
async fn the_ledger_is_one_chain_whoever_writes() {
    use crate::store::ledger::{Entry, Link};
    type Row = (i64, i64, String, Option<String>, String, String, String);
    let dir = tempfile::tempdir().unwrap();
    let one = Store::open(dir.path(), "one").await.unwrap();
    let two = Store::open(dir.path(), "two").await.unwrap();
    let mut n = 0;
    for turn in 0..6 {
        // Alone, and several in one commit.
        let all = (0..=turn % 3 * 2).map(|_| {
            n += 1;
            if turn % 2 == 0 { &one } else { &two }.insert_submission(submission(n, None), at(-1))
        });
        for inserted in futures_util::future::join_all(all).await {
            inserted.unwrap().unwrap();
        }
    }
    let rows: Vec<Row> =
        sql::query("SELECT seq, at, actor, submission_id, event, detail, hash FROM ledger ORDER BY seq")
            .fetch_all(one.readers())
            .await
            .unwrap();
    assert_eq!(rows.len() as u64, n);
    let mut last: Option<Link> = None;
    for (seq, time, actor, submission, event, detail, hash) in rows {
        let entry =
            Entry { actor, submission: submission.map(|id| id.parse().unwrap()), job: None, event, detail };
        let time = jiff::Timestamp::from_millisecond(time).unwrap();
        let link = Link::after(last.as_ref(), time, &entry);
        assert_eq!((link.seq, &link.hash), (seq, &hash));
        last = Some(link);
    }
}
