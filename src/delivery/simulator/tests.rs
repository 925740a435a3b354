//! The adapter against a living simulator: every line of the table, over real HTTP.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;

use super::*;
use crate::delivery::testing::{
    self, Arrived, KEY, REFERENCE, Slip, TOKEN, end_word, hex_digest, now, pdf, receiver, send, word,
};
use crate::simulator::script;
use crate::simulator::server::{Chaos, Fax, Options};

/// A simulator with the adapter of its own kind.
struct Stage(testing::Stage);

impl std::ops::Deref for Stage {
    type Target = testing::Stage;

    fn deref(&self) -> &testing::Stage {
        &self.0
    }
}

impl std::ops::DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut testing::Stage {
        &mut self.0
    }
}

impl Stage {
    async fn set(change: impl FnOnce(&mut Options)) -> Stage {
        Stage(testing::Stage::set(|url| keys(url, Duration::from_secs(20)), change).await)
    }

    async fn find(&self, reference: &str) -> Option<Found> {
        match testing::find(self.adapter.as_ref(), reference, "+12125550100").await.unwrap() {
            Search::Found(found) => Some(found),
            Search::NotListed => None,
            Search::NeverSent => panic!("this provider cannot know that"),
            Search::Undecided(silent) => panic!("undecided: {silent:?}"),
        }
    }

    async fn end(&self, reference: &str) -> Report {
        self.0.end(reference, "+12125550100").await
    }
}

fn keys(url: &str, timeout: Duration) -> String {
    format!(
        "kind = \"simulator\"\nurl = \"{url}\"\ntoken = \"env:T\"\ntimeout = \"{} ms\"",
        timeout.as_millis()
    )
}

fn adapter(url: &str, token: &str, timeout: Duration) -> Box<dyn Provider> {
    testing::adapter(&keys(url, timeout), token).unwrap()
}

/// For each ending: what the submits of one job come to, one after the other, and how the last of them ends.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    ("00", &[("taken", "delivered 3")]),
    ("10", &[("taken", "retry busy 0"), ("taken", "delivered 3")]),
    ("11", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "delivered 3")]),
    ("12", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "retry busy 0")]),
    ("13", &[("taken", "retry no_answer 0")]),
    ("14", &[("taken", "refused voice 0")]),
    ("15", &[("taken", "refused not_in_service 0")]),
    ("16", &[("taken", "retry partly_sent 1")]),
    ("17", &[("refused document_refused", "")]),
    ("18", &[("not sent rate_limited 1s", ""), ("not sent rate_limited 1s", ""), ("taken", "delivered 3")]),
    ("19", &[("unknown", "delivered 3")]),
    // 20 has a test of its own: its client must not wait long.
    ("21", &[("taken", "delivered 3")]),
    ("22", &[("taken", "delivered 3")]),
    ("23", &[("taken", "delivered 3")]),
    ("24", &[("unknown", "delivered 3")]),
    (
        "25",
        &[
            ("not sent provider_trouble 1s", ""),
            ("not sent provider_trouble 1s", ""),
            ("taken", "delivered 3"),
        ],
    ),
    // 26: the question by reference below is the second one; see the test of the lagging list.
    ("27", &[("taken", "retry not_a_fax 0"), ("taken", "retry not_a_fax 0")]),
    ("28", &[("taken", "retry line_trouble 0"), ("taken", "delivered 3")]),
    ("29", &[("taken", "retry unknown 0")]),
    ("30", &[("taken", "refused blocked 0")]),
    ("31", &[("taken", "refused document_refused 0")]),
    ("32", &[("not sent account_trouble", "")]),
    ("33", &[("unknown", "delivered 3")]),
    ("34", &[("unknown", ""), ("taken", "delivered 3")]),
    ("35", &[("taken", "working")]),
    ("36", &[("taken", "working")]),
    ("37", &[("taken", "")]),
    ("38", &[("unknown", ""), ("taken", "delivered 3")]),
    ("39", &[("refused number_refused", "")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    let stage = Stage::set(|_| {}).await;
    let endings: Vec<&str> = script::TABLE.iter().map(|row| row.ending).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|(ending, _)| *ending).collect();
    assert_eq!(
        endings.iter().filter(|ending| !["20", "26"].contains(ending)).copied().collect::<Vec<_>>(),
        expected,
        "every line is tested"
    );
    for (ending, tries) in EXPECTED {
        let number = format!("+121255501{ending}");
        for (index, (submit, end)) in tries.iter().enumerate() {
            let reference = format!("job{ending}-{}", index + 1);
            let result = stage.send(&number, &reference).await;
            assert_eq!(word(&result), *submit, "{reference}: {result:?}");
            stage.simulator.idle().await;
            let found = stage.find(&reference).await;
            let ended = found.as_ref().map_or(String::new(), |found| end_word(&found.status));
            assert_eq!(ended, *end, "{reference}");
            if let (Ok(taken), Some(found)) = (&result, &found) {
                assert_eq!(taken.provider_ref, found.provider_ref);
                assert_eq!(stage.adapter.status(&taken.provider_ref).await.unwrap(), found.status);
            }
            if *ending == "37" {
                let id = result.unwrap().provider_ref;
                assert_eq!(stage.adapter.status(&id).await.unwrap(), Status::NotThere);
            }
        }
    }
    assert_eq!(stage.simulator.violations(), []);
    for fax in stage.simulator.faxes() {
        assert_eq!(stage.paper(&fax).is_some(), fax.printed, "{fax:?}");
        if fax.printed {
            assert_eq!(stage.paper(&fax).unwrap(), pdf(3));
            assert_eq!(fax.sha256, hex_digest(&pdf(3)));
            assert_eq!(fax.pages, Some(3));
        }
    }
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    let stage = Stage::set(|_| {}).await;
    let hasty = adapter(&stage.simulator.url(), TOKEN, Duration::from_millis(300));
    let result = send(hasty.as_ref(), "+12125550120", REFERENCE, &pdf(3), None).await;
    assert_eq!(word(&result), "unknown");
    stage.simulator.idle().await;
    assert_eq!(stage.end(REFERENCE).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    let stage = Stage::set(|_| {}).await;
    assert_eq!(word(&stage.send("+12125550126", REFERENCE).await), "unknown");
    stage.simulator.idle().await;
    assert_eq!(stage.find(REFERENCE).await, None);
    assert_eq!(stage.end(REFERENCE).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn webhooks_come_once_twice_early_or_never_and_are_believed_only_when_signed() {
    let mut stage = Stage::set(|_| {}).await;
    let expected = HashMap::from([("00", 1), ("21", 2), ("22", 1), ("23", 0)]);
    for (ending, times) in expected {
        let reference = format!("job{ending}-1");
        let taken = stage.send(&format!("+121255501{ending}"), &reference).await.unwrap();
        if ending == "22" {
            assert_eq!(stage.inbox.len(), 1, "it came before the answer");
        }
        stage.simulator.idle().await;
        assert_eq!(stage.inbox.len(), times, "{ending}");
        let now = now();
        for _ in 0..times {
            let arrived = stage.inbox.recv().await.unwrap();
            let news = stage.adapter.read_webhook(&arrived.hook(), now).unwrap();
            let end = Status::Ended(stage.end(&reference).await);
            assert_eq!(
                news,
                [News {
                    provider_ref: Some(taken.provider_ref.clone()),
                    reference: Some(reference.clone()),
                    status: end
                }]
            );
            let refusal = |hook: &Hook<'_>, now| stage.adapter.read_webhook(hook, now).unwrap_err();
            let unsigned = axum::http::HeaderMap::new();
            let bare = Hook { headers: &unsigned, ..arrived.hook() };
            assert_eq!(refusal(&bare, now), WebhookRefusal::Unsigned);
            let mut forged = arrived.body.to_vec();
            forged.push(b' ');
            assert_eq!(
                refusal(&Hook { body: &forged, ..arrived.hook() }, now),
                WebhookRefusal::WrongSignature
            );
            let later = now + SignedDuration::from_mins(6);
            assert!(matches!(refusal(&arrived.hook(), later), WebhookRefusal::Stale { .. }));
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
    let mut stage = Stage::set(|_| {}).await;
    let (hook, mut inbox) = receiver(2).await;
    stage.hook = hook;
    stage.send("+12125550100", REFERENCE).await.unwrap();
    let arrived = inbox.recv().await.unwrap();
    assert!(stage.adapter.read_webhook(&arrived.hook(), now()).is_ok());
}

#[tokio::test]
async fn two_calls_to_one_number_at_once_are_noted() {
    let stage = Stage::set(|_| {}).await;
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
    let stage = Stage::set(|_| {}).await;
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
    let stage = Stage::set(|_| {}).await;
    let waiting = stage.send("+12125550135", "joba-1").await.unwrap().provider_ref;
    let cancelled = [stage.adapter.cancel(&waiting).await, stage.adapter.cancel(&waiting).await];
    assert_eq!(cancelled, [Ok(Cancelled::Stopped), Ok(Cancelled::Stopped)], "it can be repeated");
    assert_eq!(end_word(&stage.adapter.status(&waiting).await.unwrap()), "refused cancelled 0");
    let done = stage.send("+12125550100", "jobb-1").await.unwrap().provider_ref;
    stage.simulator.idle().await;
    assert_eq!(stage.adapter.cancel(&done).await, Ok(Cancelled::TooLate));
    assert_eq!(stage.adapter.cancel("fx-none").await, Ok(Cancelled::NotThere));
}

#[tokio::test]
async fn deleting_removes_the_copy_and_the_paper_unless_that_is_kept() {
    for keep in [false, true] {
        let stage = Stage::set(|options| options.keep = keep).await;
        let id = stage.send("+12125550100", REFERENCE).await.unwrap().provider_ref;
        stage.simulator.idle().await;
        let copies = || std::fs::read_dir(stage.folder.path().join(".copies")).unwrap().count();
        assert_eq!(copies(), 1);
        for _ in 0..2 {
            assert_eq!(stage.adapter.delete(&id).await, Ok(()));
        }
        assert_eq!(copies(), 0);
        let fax = stage.simulator.faxes().remove(0);
        assert!(fax.deleted);
        assert_eq!(stage.paper(&fax).is_some(), keep);
        let written = std::fs::read(stage.folder.path().join(format!("{id}.json"))).unwrap();
        assert_eq!(serde_json::from_slice::<Fax>(&written).unwrap(), fax);
        assert_eq!(stage.end(REFERENCE).await.outcome, Outcome::Delivered, "the entry stays");
        assert_eq!(stage.adapter.delete("fx-none").await, Ok(()), "gone already is well");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_has_certainly_not_got_it() {
    let mut stage = Stage::set(|_| {}).await;
    stage.simulator.close().await;
    assert_eq!(word(&stage.send("+12125550100", REFERENCE).await), "not sent provider_trouble");
    assert!(matches!(
        testing::find(stage.adapter.as_ref(), REFERENCE, "+12125550100").await,
        Err(AskError::NoAnswer { .. })
    ));
    stage.simulator.reopen().await.unwrap();
    assert_eq!(word(&stage.send("+12125550100", REFERENCE).await), "taken");
    assert_eq!(stage.adapter.check().await, Ok(()));
    let nowhere = adapter("http://no-such-host.invalid", TOKEN, Duration::from_secs(5));
    assert_eq!(
        word(&send(nowhere.as_ref(), "+12125550100", REFERENCE, b"x", None).await),
        "not sent provider_trouble"
    );
}

#[tokio::test]
async fn a_wrong_token_is_the_operators_matter() {
    let stage = Stage::set(|_| {}).await;
    let stranger = adapter(&stage.simulator.url(), "guess", Duration::from_secs(5));
    let result = send(stranger.as_ref(), "+12125550100", REFERENCE, &vec![b'x'; 3 << 20], None).await;
    assert_eq!(word(&result), "not sent account_trouble");
    assert_eq!(stranger.check().await.unwrap_err().key, "token");
    assert_eq!(stage.simulator.faxes(), []);
}

#[tokio::test]
async fn a_wrong_url_proves_nothing() {
    let stage = Stage::set(|_| {}).await;
    let lost = adapter(&format!("{}/elsewhere/", stage.simulator.url()), TOKEN, Duration::from_secs(5));
    assert!(matches!(lost.status("fx-1").await, Err(AskError::Nonsense { .. })));
    assert!(matches!(
        testing::find(lost.as_ref(), REFERENCE, "+12125550100").await,
        Err(AskError::Nonsense { .. })
    ));
    for url in ["", "fax.example.com", "ftp://fax.example.com", "mailto:fax@example.com"] {
        assert!(testing::adapter(&keys(url, Duration::from_secs(1)), TOKEN).is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused_and_leaves_nothing() {
    let stage = Stage::set(|_| {}).await;
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    let chunks = wire::DOCUMENT_AT_MOST / (1 << 20) + 1;
    let slip = Slip { bytes: chunks << 20, ..Slip::new("+12125550100", REFERENCE, b"") };
    let order = slip.order(stream::iter(0..chunks).map(move |_| Ok(chunk.clone())));
    assert_eq!(word(&stage.adapter.submit(order).await), "refused document_refused");
    assert_eq!(std::fs::read_dir(stage.folder.path().join(".copies")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_document_that_breaks_off_is_certainly_not_sent() {
    let stage = Stage::set(|_| {}).await;
    let whole = pdf(3);
    let faulty: [Vec<std::io::Result<Bytes>>; 3] = [
        vec![Ok(Bytes::copy_from_slice(&whole[..100])), Err(std::io::ErrorKind::InvalidData.into())],
        vec![Ok(Bytes::copy_from_slice(&whole[..100]))],
        vec![Ok(Bytes::copy_from_slice(&whole)), Ok(Bytes::from_static(b"more"))],
    ];
    for chunks in faulty {
        let slip = Slip::new("+12125550100", REFERENCE, &whole);
        let order = slip.order(stream::iter(chunks));
        assert_eq!(word(&stage.adapter.submit(order).await), "not sent provider_trouble");
    }
    assert_eq!(stage.simulator.faxes(), []);
}

#[tokio::test]
async fn pages_are_counted_in_the_document_itself() {
    let stage = Stage::set(|_| {}).await;
    send(stage.adapter.as_ref(), "+12125550100", "joba-1", &pdf(2), None).await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.simulator.violations()[0].kind, "page_count");
    assert_eq!(stage.end("joba-1").await.pages_sent, Some(2));
    send(stage.adapter.as_ref(), "+12125550100", "jobb-1", b"no PDF at all", None).await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.end("jobb-1").await.outcome, Outcome::Refused(Cause::DocumentRefused));
}

#[tokio::test]
async fn under_chaos_every_answer_is_true() {
    let stage = Stage::set(|options| {
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
    for (status, wait, body, expected) in table {
        let answer = Answer {
            status: StatusCode::from_u16(*status).unwrap(),
            headers: wait
                .map(|seconds: i64| (reqwest::header::RETRY_AFTER, seconds.into()))
                .into_iter()
                .collect(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(word(&judge_submit(&answer, "r")), *expected, "{status} {body}");
    }
}
