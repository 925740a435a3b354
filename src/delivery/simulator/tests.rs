//! The adapter against a living simulator: every line of the table, over real HTTP.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::delivery::testing::{
    self, Account, Arrived, KEY, REFERENCE, Row, Slip, Stage, TOKEN, judged, now, pdf, receiver, send, word,
};
use crate::simulator::server::{Chaos, Fax};

const ACCOUNT: Account =
    Account { path: "", keys: "kind = \"simulator\"\ntoken = \"env:T\"", shows_pages: 3 };

/// It says when to come again only where it took nothing.
const OTHERS: &[Row] = &[(
    "25",
    &[("not sent provider_trouble 1s", ""), ("not sent provider_trouble 1s", ""), ("taken", "delivered 3")],
)];

#[tokio::test]
async fn every_line_of_the_table() {
    Stage::open(ACCOUNT).await.every_line_of_the_table(OTHERS).await;
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    Stage::open(ACCOUNT).await.answers_too_late(300).await;
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    assert_eq!(Stage::open(ACCOUNT).await.list_lags().await, Search::NotListed);
}

#[tokio::test]
async fn webhooks_come_once_twice_early_or_never_and_are_believed_only_when_signed() {
    let mut stage = Stage::open(ACCOUNT).await;
    for (ending, times) in [("00", 1), ("21", 2), ("22", 1), ("23", 0)] {
        let (taken, reference, webhooks) = stage.webhooks(ending, times).await;
        for arrived in webhooks {
            let now = now();
            let news = stage.adapter.read_webhook(&arrived.hook(), now).unwrap();
            let status = Status::Ended(stage.end(&reference, "+12125550100").await);
            let (provider_ref, reference) = (Some(taken.provider_ref.clone()), Some(reference.clone()));
            assert_eq!(news, [News { provider_ref, reference, status }]);
            testing::only_signed_and_soon(stage.adapter.as_ref(), &arrived, now);
        }
    }
    let mut headers = axum::http::HeaderMap::new();
    let now = now();
    headers.insert(signature::HEADER, signature::sign(KEY, now, b"[]").parse().unwrap());
    let empty = Arrived { url: String::new(), headers, body: Bytes::from_static(b"[]") };
    assert!(matches!(stage.adapter.read_webhook(&empty.hook(), now), Err(WebhookRefusal::Malformed(_))));
}

#[tokio::test]
async fn a_webhook_that_is_not_taken_comes_again() {
    let mut stage = Stage::open(ACCOUNT).await;
    let (hook, mut inbox) = receiver(2).await;
    stage.hook = hook;
    stage.send("+12125550100", REFERENCE).await.unwrap();
    let arrived = inbox.recv().await.unwrap();
    assert!(stage.adapter.read_webhook(&arrived.hook(), now()).is_ok());
}

#[tokio::test]
async fn two_calls_to_one_number_at_once_are_noted() {
    let stage = Stage::open(ACCOUNT).await;
    // The call to the first never ends.
    stage.send("+12125550136", "joba-1").await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.simulator.violations(), []);
    stage.send("+12125550236", "jobb-1").await.unwrap();
    assert_eq!(stage.simulator.violations(), [], "another number");
    let second = stage.send("+12125550136", "jobc-1").await.unwrap();
    stage.simulator.idle().await;
    let violations = stage.simulator.violations();
    assert_eq!(violations.len(), 1);
    assert_eq!((violations[0].kind, &violations[0].id), ("overlapping_calls", &second.provider_ref));
    assert!(calls(stage.folder.path()).iter().any(|line| line["event"] == "violation"));
}

#[tokio::test]
async fn the_same_reference_twice_is_two_faxes() {
    let stage = Stage::open(ACCOUNT).await;
    for _ in 0..2 {
        stage.send("+12125550100", REFERENCE).await.unwrap();
        stage.simulator.idle().await;
    }
    let faxes = stage.simulator.faxes();
    assert_eq!(faxes.len(), 2);
    assert!(faxes.iter().all(|fax| fax.reference == REFERENCE && fax.job() == "0123456789abcdef"));
    assert_ne!(faxes[0].id, faxes[1].id);
    assert!(faxes.iter().all(|fax| stage.paper(fax).is_some()));
    let ended = calls(stage.folder.path());
    assert_eq!(ended.iter().filter(|line| line["event"] == "ended" && line["printed"] == true).count(), 2);
}

#[tokio::test]
async fn cancelling_works_until_it_is_dialled() {
    let stage = Stage::open(ACCOUNT).await;
    let expected = ["Stopped", "Stopped", "TooLate", "TooLate", "refused cancelled 0"];
    assert_eq!(stage.cancels().await, expected);
    assert_eq!(stage.adapter.cancel("fx-none").await, Ok(Cancelled::NotThere));
}

#[tokio::test]
async fn deleting_removes_the_copy_and_the_paper_unless_that_is_kept() {
    for keep in [false, true] {
        let stage = Stage::set(ACCOUNT, |options| options.keep = keep).await;
        let id = stage.send("+12125550100", REFERENCE).await.unwrap().provider_ref;
        stage.simulator.idle().await;
        assert_eq!(stage.copies(), 1);
        for _ in 0..2 {
            assert_eq!(stage.adapter.delete(&id).await, Ok(()));
        }
        assert_eq!(stage.copies(), 0);
        let fax = stage.simulator.faxes().remove(0);
        assert!(fax.deleted);
        assert_eq!(stage.paper(&fax).is_some(), keep);
        let written = std::fs::read(stage.folder.path().join(format!("{id}.json"))).unwrap();
        assert_eq!(serde_json::from_slice::<Fax>(&written).unwrap(), fax);
        assert_eq!(stage.end(REFERENCE, "+12125550100").await.outcome, Outcome::Delivered, "the entry stays");
        assert_eq!(stage.adapter.delete("fx-none").await, Ok(()), "gone already is well");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_has_certainly_not_got_it() {
    let mut stage = Stage::open(ACCOUNT).await;
    stage.simulator.close().await;
    assert_eq!(word(&stage.send("+12125550100", REFERENCE).await), "not sent provider_trouble");
    assert!(matches!(
        testing::find(stage.adapter.as_ref(), REFERENCE, "+12125550100").await,
        Err(AskError::NoAnswer { .. })
    ));
    stage.simulator.reopen().await.unwrap();
    assert_eq!(word(&stage.send("+12125550100", REFERENCE).await), "taken");
    assert_eq!(stage.adapter.check().await, Ok(()));
    let nowhere = ACCOUNT.adapter("http://no-such-host.invalid");
    assert_eq!(
        word(&send(nowhere.as_ref(), "+12125550100", REFERENCE, b"x", None).await),
        "not sent provider_trouble"
    );
}

#[tokio::test]
async fn a_wrong_token_is_the_operators_matter() {
    Stage::open(ACCOUNT).await.wrong_secret("token").await;
}

#[tokio::test]
async fn a_wrong_url_proves_nothing() {
    // What answers there is the simulator all the same, and it says that it took nothing.
    Stage::open(ACCOUNT).await.wrong_url("refused unknown").await;
    for url in ["", "fax.example.com", "ftp://fax.example.com", "mailto:fax@example.com"] {
        assert!(testing::adapter(&ACCOUNT.section(url, 1_000), TOKEN).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused_and_leaves_nothing() {
    let stage = Stage::open(ACCOUNT).await;
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = wire::DOCUMENT_AT_MOST / (1 << 20) + 1;
    let slip = Slip { bytes: chunks << 20, ..Slip::new("+12125550100", REFERENCE, b"") };
    let order = slip.order(stream::iter(0..chunks).map(move |_| Ok(chunk.clone())));
    assert_eq!(word(&stage.adapter.submit(order).await), "refused document_refused");
    assert_eq!(stage.copies(), 0);
}

#[tokio::test]
async fn a_document_that_breaks_off_is_certainly_not_sent() {
    Stage::open(ACCOUNT).await.document_breaks_off().await;
}

#[tokio::test]
async fn pages_are_counted_in_the_document_itself() {
    let stage = Stage::open(ACCOUNT).await;
    send(stage.adapter.as_ref(), "+12125550100", "joba-1", &pdf(2), None).await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.simulator.violations()[0].kind, "page_count");
    assert_eq!(stage.end("joba-1", "+12125550100").await.pages_sent, Some(2));
    send(stage.adapter.as_ref(), "+12125550100", "jobb-1", b"no PDF at all", None).await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.end("jobb-1", "+12125550100").await.outcome, Outcome::Refused(Cause::DocumentRefused));
}

#[tokio::test]
async fn under_chaos_every_answer_is_true() {
    let stage = Stage::set(ACCOUNT, |options| {
        options.chaos = Some(Chaos { late: 0, ..Chaos::new(42) });
        options.call_time = Duration::ZERO;
    })
    .await;
    let mut unknown = 0;
    for job in 0..150 {
        let reference = format!("job{job}-1");
        let number = format!("+1212555{job:04}99");
        let result = send(stage.adapter.as_ref(), &number, &reference, &pdf(3), None).await;
        let there = stage.simulator.faxes().iter().any(|fax| fax.reference == reference);
        match result {
            Ok(_) => assert!(there, "{reference}"),
            Err(SubmitError::NotSent { .. } | SubmitError::Refused(_)) => assert!(!there, "{reference}"),
            Err(SubmitError::Unknown { .. }) => unknown += 1,
        }
    }
    assert!(unknown > 0, "chaos was too kind to test anything");
    stage.simulator.idle().await;
    assert_eq!(stage.simulator.violations(), []);
}

/// The lines of `calls.jsonl`.
fn calls(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("calls.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (201, None, r#"{"id":"f","reference":"r","status":"queued"}"#, "taken"),
        (200, None, r#"{"id":"f","reference":"other","status":"queued"}"#, "unknown"),
        (200, None, r#"{"id":"","reference":"r","status":"queued"}"#, "unknown"),
        (200, None, "<html>", "unknown"),
        (204, None, "", "unknown"),
        (302, None, "", "unknown"),
        (400, None, r#"{"error":{"code":"x.new","message":""}}"#, "refused unknown"),
        (422, None, r#"{"error":{"code":"document.refused","message":""}}"#, "refused document_refused"),
        (404, None, "<html>", "unknown"),
        (408, None, "", "unknown"),
        (401, None, "", "not sent account_trouble"),
        (402, None, "", "not sent account_trouble"),
        (403, None, "", "not sent account_trouble"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (429, None, "", "not sent rate_limited"),
        (500, Some(7), "", "unknown"),
        (502, None, "", "unknown"),
        (503, Some(7), "", "not sent provider_trouble 7s"),
        (503, None, "", "unknown"),
        (504, None, "", "unknown"),
    ];
    judged(table, |answer| judge_submit(answer, "r"));
}
