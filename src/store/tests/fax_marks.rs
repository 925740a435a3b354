//! A mail is faxed to a number once.

use super::provider::sql;
use super::*;

fn mark(doubtful: bool) -> FaxMark {
    let counts = Counts { accepted_at: at(0), since: at(-100), spent: Spent::Ended };
    FaxMark { key: "k".into(), doubtful, counts }
}

fn marked(n: u64, mark: FaxMark) -> NewJob {
    NewJob { mark: Some(mark), ..queued(n, "+12125550101") }
}

async fn prepare(store: &Store, n: u64, job: NewJob) -> Result<bool, StoreError> {
    let id = store.insert_submission(submission(n, None), at(-1)).await.unwrap().unwrap();
    store.record_prepared(id, Verdict::Jobs, vec![], vec![job], false, at(1)).await
}

fn id(n: u64) -> SubmissionId {
    SubmissionId::new(at(0), n)
}

#[tokio::test]
async fn a_fax_stands_in_the_way_of_the_same_mail_to_the_same_number() {
    let (_dir, store) = open().await;
    assert!(prepare(&store, 1, marked(1, mark(false))).await.unwrap());
    let first = Some(FaxedBefore { job: JobId::new(at(0), 1), submission: id(1) });
    let found = async |mark: FaxMark, n| store.faxed_before(&mark, id(n)).await.unwrap();
    assert_eq!(found(mark(false), 2).await, first);
    assert_eq!(found(mark(true), 2).await, first, "a doubtful copy brings nothing new");
    assert_eq!(found(mark(false), 1).await, None, "not of itself");
    assert_eq!(found(FaxMark { key: "other".into(), ..mark(false) }, 2).await, None);
    let later = Counts { since: at(1), ..mark(false).counts };
    assert_eq!(found(FaxMark { counts: later, ..mark(false) }, 2).await, None, "too long ago");
    // Whoever looked before the first was recorded finds out when it is to be recorded itself, and nothing of it is.
    let overtaken = prepare(&store, 2, marked(2, mark(false))).await;
    assert!(matches!(overtaken, Err(StoreError::FaxedBefore)), "{overtaken:?}");
    assert!(store.is_unprepared(id(2)).await.unwrap());
    assert_eq!(store.jobs(&JobFilter::default(), 9).await.unwrap().len(), 1);
    // Prepared anew, it does not stand in its own way.
    assert!(
        prepare(
            &store,
            3,
            NewJob { mark: Some(FaxMark { key: "h".into(), ..mark(false) }), ..held(3, "+12125550102") }
        )
        .await
        .unwrap()
    );
    assert!(store.prepare_again(id(3), &Actor::Daemon, at(2)).await.unwrap());
    let anew = vec![marked(4, FaxMark { key: "h".into(), ..mark(false) })];
    assert!(store.record_prepared(id(3), Verdict::Jobs, vec![], anew, false, at(3)).await.unwrap());
    assert_eq!(store.forget_source_keys(at(1)).await.unwrap(), 2);
    assert_eq!(found(mark(false), 2).await, None, "forgotten");
}

#[tokio::test]
async fn what_did_not_arrive_may_be_tried_anew_and_what_was_cancelled_only_by_whoever_may() {
    for (event, free) in [
        (Event::Cancel, &[Spent::Ended][..]),
        (Event::Resolve(false), &[Spent::Ended, Spent::Failed]),
        (Event::Hold(Hold::Person), &[]),
    ] {
        let (_dir, store) = open().await;
        assert!(
            prepare(&store, 1, NewJob { mark: Some(mark(false)), ..held(1, "+12125550101") }).await.unwrap()
        );
        let job = store.job(JobId::new(at(0), 1)).await.unwrap().unwrap();
        advance(&store, &job, event.clone(), 2).await;
        sql(&store, "UPDATE outbox SET next_at = NULL").await;
        for spent in [Spent::Ended, Spent::Failed, Spent::Never] {
            let mark = FaxMark { counts: Counts { spent, ..mark(false).counts }, ..mark(false) };
            let known = store.faxed_before(&mark, id(2)).await.unwrap();
            assert_eq!(known.is_none(), free.contains(&spent), "{event:?} {spent:?}");
        }
    }
}

/// A copy that somebody may have changed is no answer to the mail itself, until a person has looked at it.
#[tokio::test]
async fn a_doubtful_copy_stands_in_nobodys_way_before_it_is_released() {
    let doubtful = |n| NewJob { mark: Some(mark(true)), ..held(n, "+12125550101") };
    let (_dir, store) = open().await;
    assert!(prepare(&store, 1, doubtful(1)).await.unwrap());
    assert_eq!(store.faxed_before(&mark(false), id(2)).await.unwrap(), None);
    assert!(
        store.faxed_before(&mark(true), id(2)).await.unwrap().is_some(),
        "one copy is as good as the next"
    );
    let copy = store.job(JobId::new(at(0), 1)).await.unwrap().unwrap();
    assert_eq!(store.twin(copy.id, copy.submission).await.unwrap(), None);
    // The mail itself comes.
    assert!(prepare(&store, 2, marked(2, mark(false))).await.unwrap());
    let twin = store.twin(copy.id, copy.submission).await.unwrap();
    assert_eq!(twin, Some(JobId::new(at(0), 2)), "whoever would release the copy is told");

    let (_dir, store) = open().await;
    assert!(prepare(&store, 1, doubtful(1)).await.unwrap());
    let copy = store.job(JobId::new(at(0), 1)).await.unwrap().unwrap();
    advance(&store, &copy, Event::Release, 2).await;
    let known = store.faxed_before(&mark(false), id(2)).await.unwrap();
    assert_eq!(known.map(|known| known.job), Some(copy.id), "a person was certain");
}

#[tokio::test]
async fn what_brought_nothing_new_is_answered_for_by_the_first() {
    let (_dir, store) = open().await;
    assert!(prepare(&store, 1, marked(1, mark(false))).await.unwrap());
    let insert =
        async |n, key: &str| store.insert_submission(with_keys(n, &[key], None), at(-100)).await.unwrap();
    assert!(insert(2, "a").await.is_ok());
    assert!(store.record_known(id(2), id(1), vec![7], at(1)).await.unwrap());
    assert!(!store.record_known(id(2), id(1), vec![8], at(2)).await.unwrap(), "once");
    let known = store.submission(id(2)).await.unwrap().unwrap();
    assert_eq!((known.verdict, known.final_at, known.facts), (Some(Verdict::Known), Some(at(1)), vec![7]));
    assert_eq!(insert(3, "a").await, Err(super::known(1, &["a"])), "to whoever sends it again too");
}
