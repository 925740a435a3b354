//! The adapter against the simulator's Telnyx face, and against answers that the face does not give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use futures_util::stream;
use tokio::net::TcpListener;

use zeroize::Zeroizing;

use super::*;
use crate::delivery::testing::{
    self, Account, CALLER, KEY, REFERENCE, Row, Slip, Stage, cause_of_class, end_word, judged, now, pdf, word,
};
use crate::job::{Outcome, Report};

const ACCOUNT: Account = Account {
    path: "/telnyx",
    keys: "kind = \"telnyx\"\ntoken = \"env:T\"\naccount = \"1293384261075731499\"",
    // It tells them by webhook only.
    shows_pages: 0,
};

/// Telnyx does not tell a voice from silence, nor how far a transmission came that broke off.
const OTHERS: &[Row] = &[
    ("14", &[("taken", "retry not_a_fax 0")]),
    ("16", &[("taken", "retry partly_sent 0")]),
    ("28", &[("taken", "retry partly_sent 0"), ("taken", "delivered 3")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    let stage = Stage::open(ACCOUNT).await;
    stage.every_line_of_the_table(OTHERS).await;
    for fax in stage.simulator.faxes() {
        let order = ["connection_id", "from", "quality"].map(|key| fax.details[key].as_str());
        assert_eq!(order, ["1293384261075731499", CALLER, "high"]);
    }
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
async fn a_document_that_cannot_be_fetched_ends_the_fax_undialled() {
    let stage = Stage::open(ACCOUNT).await;
    for (index, path) in ["/none.pdf", "/moved.pdf", "/endless.pdf"].into_iter().enumerate() {
        let reference = format!("job{index}-1");
        stage.send_by(stage.adapter.as_ref(), "+12125550100", &reference, path).await.unwrap();
        stage.simulator.idle().await;
        let end = stage.end(&reference, "+12125550100").await;
        assert_eq!(end.outcome, Outcome::Retry(Cause::ProviderTrouble), "{path}");
        assert_eq!(end.raw_code.as_deref(), Some("file_download_failed"), "{path}");
    }
    stage.send_by(stage.adapter.as_ref(), "+12125550100", "jobx-1", "/nonsense.pdf").await.unwrap();
    stage.simulator.idle().await;
    let end = stage.end("jobx-1", "+12125550100").await;
    assert_eq!(end.outcome, Outcome::Refused(Cause::DocumentRefused));
    assert!(stage.simulator.faxes().iter().filter(|fax| fax.dialled.is_some()).count() == 1);
    let slip = Slip::new("+12125550100", REFERENCE, &pdf(3));
    let result = stage.adapter.submit(slip.order(stream::empty())).await;
    assert_eq!(word(&result), "not sent provider_trouble");
    assert!(result.unwrap_err().to_string().contains("[media]"));
}

#[tokio::test]
async fn webhooks_tell_pages_and_are_believed_only_when_signed() {
    let mut stage = Stage::open(ACCOUNT).await;
    let way = ["fax.queued", "fax.media.processed", "fax.sending.started"];
    let expected: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("00", [&way[..], &["fax.delivered"]].concat()),
        ("12", [&way[..], &["fax.failed"]].concat()),
        ("21", [&way[..], &["fax.delivered", "fax.delivered"]].concat()),
        ("22", [&way[..], &["fax.delivered"]].concat()),
        ("23", vec![]),
        ("35", vec!["fax.queued"]),
        ("36", way.to_vec()),
    ]);
    for (ending, events) in expected {
        let (taken, reference, webhooks) = stage.webhooks(ending, events.len()).await;
        let mut names = Vec::new();
        for (event, arrived) in events.iter().zip(webhooks) {
            let now = now();
            let body: serde_json::Value = serde_json::from_slice(&arrived.body).unwrap();
            assert_eq!(body["data"]["event_type"], *event, "{ending}");
            names.push(body["data"]["id"].to_string());
            let status = match *event {
                "fax.delivered" => Status::Ended(Report {
                    pages_sent: Some(3),
                    seconds: Some(1),
                    ..Report::bare(Outcome::Delivered)
                }),
                "fax.failed" => Status::Ended(Report {
                    raw_code: Some("user_busy".into()),
                    ..Report::bare(Outcome::Retry(Cause::Busy))
                }),
                _ => Status::Working,
            };
            let (provider_ref, reference) = (Some(taken.provider_ref.clone()), Some(reference.clone()));
            let news = News { provider_ref, reference, status };
            assert_eq!(stage.adapter.read_webhook(&arrived.hook(), now), Ok(vec![news]), "{ending} {event}");
            testing::only_signed_and_soon(stage.adapter.as_ref(), &arrived, now);
        }
        names.sort();
        names.dedup();
        assert_eq!(
            names.len(),
            events.len() - usize::from(ending == "21"),
            "the same event has the same name"
        );
    }
}

#[tokio::test]
async fn without_the_key_no_webhook_is_believed() {
    let section = testing::section(&ACCOUNT.section("http://127.0.0.1:1", 1_000));
    let crate::config::Kind::Telnyx(keys) = &section.kind else { panic!("{section:?}") };
    let telnyx = Telnyx::new(&section, keys, &Secrets::default()).unwrap();
    let headers = axum::http::HeaderMap::new();
    let hook = Hook { url: "", reference: None, headers: &headers, body: b"{}" };
    assert_eq!(telnyx.read_webhook(&hook, now()), Err(WebhookRefusal::NoKey));
    assert!(!telnyx.capabilities().reports_pages);
    let spoiled = Secrets { webhook_key: Some(Zeroizing::new(KEY.to_vec())), ..Secrets::default() };
    assert!(Telnyx::new(&section, keys, &spoiled).is_err_and(|fault| fault.starts_with("webhook_key: ")));
}

#[tokio::test]
async fn cancelling_asks_and_the_status_tells() {
    let stage = Stage::open(ACCOUNT).await;
    let expected = ["Asked", "TooLate", "Asked", "TooLate", "refused cancelled 0"];
    assert_eq!(stage.cancels().await, expected);
    let dialled = stage.listed("job36-1", "+12125550136").await.unwrap();
    assert_eq!(dialled.status, Status::Working, "202 is no promise");
    let none = "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0";
    assert_eq!(stage.adapter.cancel(none).await, Ok(Cancelled::NotThere));
    assert_eq!(stage.adapter.status(none).await, Ok(Status::NotThere));
}

#[tokio::test]
async fn deleting_can_be_repeated() {
    let refusal = Stage::open(ACCOUNT).await.deletes_what_has_ended("35").await;
    assert!(matches!(refusal, AskError::Nonsense { .. }), "not confirmed");
}

#[tokio::test]
async fn a_wrong_token_or_url_proves_nothing() {
    let mut stage = Stage::open(ACCOUNT).await;
    stage.wrong_secret("token").await;
    stage.wrong_url("unknown").await;
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_not_for_ever() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let ours = STANDARD.encode(REFERENCE);
    let page = move |query: String| {
        count.fetch_add(1, Ordering::SeqCst);
        // Ours stands on the third page of the number that ends in 00, and on none of the other; neither list says how long it is.
        let is_there = query.contains("0100") && query.contains("number%5D=3");
        let (id, state) = if is_there { ("mine", ours.as_str()) } else { ("other", "b3RoZXI=") };
        axum::Json(json!({ "data": [{ "id": id, "status": "delivered", "client_state": state }] }))
    };
    let router = Router::new().route(
        "/v2/faxes",
        get(async move |axum::extract::RawQuery(query): axum::extract::RawQuery| page(query.unwrap())),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let telnyx = ACCOUNT.adapter(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(axum::serve(listener, router).into_future());
    let Ok(Search::Found(found)) = testing::find(telnyx.as_ref(), REFERENCE, "+12125550100").await else {
        panic!("it is there")
    };
    assert_eq!(found.provider_ref, "mine");
    asked.store(0, Ordering::SeqCst);
    let lost = testing::find(telnyx.as_ref(), REFERENCE, "+12125550199").await;
    assert!(matches!(lost, Err(AskError::Nonsense { .. })), "an end that was not reached proves no absence");
    assert_eq!(asked.load(Ordering::SeqCst), PAGES);
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let state = STANDARD.encode(REFERENCE);
    let good = format!(r#"{{"data":{{"id":"f","status":"queued","client_state":"{state}"}}}}"#);
    let wrong = |field: &str| {
        format!(r#"{{"errors":[{{"code":"1","title":"t","source":{{"pointer":"/{field}"}}}}]}}"#)
    };
    let bare = r#"{"errors":[{"code":"1","title":"t"}]}"#;
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (202, None, &good, "taken"),
        (200, None, &good, "taken"),
        (202, None, r#"{"data":{"id":"f","status":"queued","client_state":"b3RoZXI="}}"#, "unknown"),
        // The state is optional: its absence contradicts nothing.
        (202, None, r#"{"data":{"id":"f","status":"queued"}}"#, "taken"),
        (201, None, r#"{"data":{"id":"f","status":"queued","client_state":null}}"#, "taken"),
        (202, None, &good.replace(r#""f""#, r#""""#), "unknown"),
        (202, None, r#"{"data":null}"#, "unknown"),
        (202, None, bare, "unknown"),
        (200, None, "<html>", "unknown"),
        (302, None, "", "unknown"),
        (400, None, bare, "refused unknown"),
        (404, None, bare, "refused unknown"),
        (404, None, "<html>", "unknown"),
        (404, None, r#"{"errors":[]}"#, "unknown"),
        (422, None, &wrong("to"), "refused number_refused"),
        (422, None, "", "refused unknown"),
        (422, None, &wrong("media_url"), "refused document_refused"),
        (422, None, &wrong("connection_id"), "not sent account_trouble"),
        (422, None, &wrong("from"), "not sent account_trouble"),
        (422, None, &wrong("webhook_url"), "refused unknown"),
        (401, None, bare, "not sent account_trouble"),
        (402, None, bare, "not sent account_trouble"),
        (403, None, bare, "not sent account_trouble"),
        (408, None, "", "unknown"),
        (429, Some(7), bare, "not sent rate_limited 7s"),
        (429, None, bare, "not sent rate_limited"),
        (500, Some(7), bare, "unknown"),
        (500, None, &wrong("from"), "unknown"),
        (503, Some(7), bare, "unknown"),
    ];
    judged(table, |answer| judge_submit(answer, &state));
}

#[test]
fn events_and_what_they_tell() {
    let event = |kind: &str, more: &str| {
        format!(r#"{{"data":{{"event_type":"{kind}","id":"e","payload":{{"fax_id":"f"{more}}}}}}}"#)
    };
    let table: &[(String, &str)] = &[
        (event("fax.delivered", r#","page_count":2"#), "delivered 2"),
        (event("fax.delivered", ""), "delivered 0"),
        (event("fax.failed", r#","failure_reason":"user_busy""#), "retry busy 0"),
        // Older models of the API do not tell why.
        (event("fax.failed", ""), "retry unknown 0"),
        (event("fax.failed", r#","failure_reason":null"#), "retry unknown 0"),
        (event("fax.failed", r#","failure_reason":"success""#), "retry unknown 0"),
        (event("fax.sending.started", r#","status":"delivered""#), "working"),
        (event("fax.new", ""), "working"),
    ];
    for (body, expected) in table {
        let news = wire::read_event(body.as_bytes()).unwrap();
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].provider_ref.as_deref(), Some("f"));
        assert_eq!(end_word(&news[0].status), *expected, "{body}");
    }
    let inbound = event("fax.received", r#","direction":"inbound""#);
    assert_eq!(wire::read_event(inbound.as_bytes()), Ok(vec![]));
    for body in ["", "[]", "{}", r#"{"data":{"event_type":"fax.delivered","payload":{}}}"#] {
        assert!(matches!(wire::read_event(body.as_bytes()), Err(WebhookRefusal::Malformed(_))), "{body}");
    }
    // Not ours, or spoiled: the provider's own name is there all the same.
    for state in [r#","client_state":"%""#, r#","client_state":"/w==""#, ""] {
        let news = wire::read_event(event("fax.queued", state).as_bytes()).unwrap();
        assert_eq!(news[0].reference, None, "{state}");
    }
}

#[test]
fn the_codes_are_those_of_the_fact_sheet() {
    let lines = testing::sheet(include_str!("../../../fixtures/providers/telnyx.csv"));
    assert!(lines.iter().all(|line| line[0].is_empty()));
    let sheet: BTreeMap<&str, Cause> =
        lines.iter().map(|[_, code, class]| (*code, cause_of_class(class))).collect();
    let codes: BTreeMap<&str, Cause> = codes::CODES.iter().copied().collect();
    assert_eq!(codes, sheet);
    assert_eq!(codes.len(), codes::CODES.len(), "each stands once");
    assert_eq!(codes::cause_of("carrier_lost"), Cause::PartlySent, "how far it came is not told");
    assert_eq!(codes::cause_of("user_busy"), Cause::Busy);
    assert_eq!(codes::cause_of("general_disturbance"), Cause::Unknown);
}
