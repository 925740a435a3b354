//! Several documents of one Submission, and several forms of one packet.

use super::*;

fn document(name: &str, bytes: u64, sha256: &str) -> Document {
    Document { name: name.into(), bytes, sha256: sha256.into() }
}

#[tokio::test]
async fn two_documents_are_accepted_kept_and_forgotten_as_a_whole() {
    let (_dir, store) = open().await;
    // By name they would come the other way round.
    let documents = vec![document("second", 10, "aa"), document("first", 5, "bb")];
    let new = NewSubmission { documents: documents.clone(), ..submission(1, Some("key")) };
    let id = store.insert_submission(new, at(-1)).await.unwrap().unwrap();
    assert_eq!(store.received(id).await.unwrap(), documents);
    assert_eq!(store.submission(id).await.unwrap().unwrap().bytes, 15);
    let accepted: Vec<String> =
        sql::query("SELECT detail FROM ledger").scalars(store.readers()).await.unwrap();
    assert_eq!(accepted, ["from billing, 15 bytes, aa, bb"]);
    let claimed = store.claim_submission("billing", at(1), at(60)).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.bytes), (id, 15));
    let jobs = vec![held(1, "+12125550101")];
    assert!(store.record_prepared(id, Verdict::Jobs, vec![], jobs, false, at(2)).await.unwrap());
    assert!(store.replaced_packets(id).await.unwrap().is_empty(), "what was received is never replaced");
    let job = store.jobs(&JobFilter::default(), 9).await.unwrap().remove(0);
    advance(&store, &job, Event::Cancel, 3).await;
    let mut names = store.destroy_key(id, digests(), at(4)).await.unwrap();
    names.sort();
    assert_eq!(names, ["first", "packet1", "second"]);
    store.forget_documents(names).await.unwrap();
    assert_eq!(store.received(id).await.unwrap(), []);
}

#[tokio::test]
async fn a_further_form_has_its_own_digest_and_goes_with_its_packet() {
    let (_dir, store) = open().await;
    let id = with_jobs(&store, 1, vec![held(1, "+12125550101"), held(2, "+12125550102")]).await;
    let [one, two] = [1, 2].map(|n| JobId::new(at(0), n));
    let (pdf, dots) = (document("packet1", 20, "bb"), document("dots1", 7, "cc"));
    assert!(store.record_form(one, Form::Bilevel, dots.clone()).await.unwrap());
    assert_eq!(store.forms(one).await.unwrap(), [(Form::Pdf, pdf), (Form::Bilevel, dots)]);
    assert_eq!(store.forms(two).await.unwrap(), [(Form::Pdf, document("packet2", 20, "bb"))]);
    assert!(store.replaced_packets(id).await.unwrap().is_empty());
    // Prepared anew, all forms of the former packets are nobody's.
    assert!(store.prepare_again(id, &Actor::Daemon, at(2)).await.unwrap());
    let anew = vec![held(3, "+12125550101")];
    assert!(store.record_prepared(id, Verdict::Jobs, vec![], anew, false, at(3)).await.unwrap());
    let mut replaced = store.replaced_packets(id).await.unwrap();
    replaced.sort();
    assert_eq!(replaced, ["dots1", "packet1", "packet2"]);
    store.forget_documents(replaced).await.unwrap();
    assert!(!store.record_form(one, Form::Bilevel, document("late", 7, "cc")).await.unwrap());
    // With the key goes every form.
    assert!(
        store.record_form(JobId::new(at(0), 3), Form::Bilevel, document("dots3", 7, "dd")).await.unwrap()
    );
    let job = store.jobs(&JobFilter::default(), 9).await.unwrap().remove(0);
    advance(&store, &job, Event::Cancel, 4).await;
    let mut names = store.destroy_key(id, digests(), at(5)).await.unwrap();
    names.sort();
    assert_eq!(names, ["doc1", "dots3", "packet3"]);
}

/// Rows of before have neither a place nor a form.
#[tokio::test]
async fn a_packet_of_an_earlier_version_is_a_pdf() {
    let (_dir, store) = open().await;
    let id = with_jobs(&store, 1, vec![held(1, "+12125550101")]).await;
    let former = "INSERT INTO document (name, submission_id, job_id, bytes, sha256) SELECT 'old', id, NULL, 3, 'ee' FROM submission";
    store.write(move |tx| Box::pin(async move { sql::query(former).execute(tx).await })).await.unwrap();
    assert_eq!(store.received(id).await.unwrap().len(), 2);
    let forms = store.forms(JobId::new(at(0), 1)).await.unwrap();
    assert_eq!(forms, [(Form::Pdf, document("packet1", 20, "bb"))]);
}
