//! The adapter against the simulator's face of Fax.Plus, over real HTTP, and its judgements as
//! tables.

use bytes::Bytes;
use futures_util::stream;
use reqwest::StatusCode;
use serde_json::Value;

use super::answer::ApiError;
use super::*;
use crate::delivery::testing::{
    self, Account, Arrived, REFERENCE, Row, Slip, Stage, TOKEN, cause_of_class, judged, now, pdf, word,
};

const ACCOUNT: Account =
    Account { path: "/faxplus", keys: "kind = \"faxplus\"\ntoken = \"env:T\"", shows_pages: 3 };

/// Calls the face as a client of its own making.
async fn call(
    stage: &Stage,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Option<ApiError>) {
    let url = format!("{}/faxplus/v3/{path}", stage.simulator.url());
    let request = reqwest::Client::new().request(method, url).bearer_auth(TOKEN);
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.ok())
}

async fn hook_up(stage: &Stage) {
    let body = json!({ "target": stage.hook, "event": "fax_sent" });
    let (status, _) = call(stage, Method::POST, "hooks", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED);
}

/// It does not tell a voice from a machine that is none for faxes (14, 27), no count of pages goes
/// with a transmission that broke off (16, 28), and what is wrong with a number has no code (39).
const OTHERS: &[Row] = &[
    ("14", &[("taken", "retry unknown 0")]),
    ("16", &[("taken", "retry partly_sent 0")]),
    ("27", &[("taken", "retry unknown 0"), ("taken", "retry unknown 0")]),
    ("28", &[("taken", "retry partly_sent 0"), ("taken", "delivered 3")]),
    ("39", &[("refused unknown", "")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    Stage::open(ACCOUNT).await.every_line_of_the_table(OTHERS).await;
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    Stage::open(ACCOUNT).await.answers_too_late(2_000).await;
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    assert_eq!(Stage::open(ACCOUNT).await.list_lags().await, Search::NotListed);
}

/// Nothing is dialled by an upload, so nothing that happens to it leaves a fax unknown.
#[tokio::test]
async fn a_document_that_breaks_off_is_certainly_not_sent() {
    let stage = Stage::open(ACCOUNT).await;
    stage.document_breaks_off().await;
    // A document that never comes: the upload is given up in time.
    let hasty = testing::adapter(&ACCOUNT.section(&stage.url(), 200), TOKEN).unwrap();
    let slip = Slip::new("+12125550100", REFERENCE, &pdf(3));
    assert_eq!(word(&hasty.submit(slip.order(stream::pending())).await), "not sent provider_trouble");
    assert_eq!(stage.simulator.faxes(), []);
}

#[tokio::test]
async fn webhooks_are_hints_by_the_id_of_the_order() {
    let mut stage = Stage::open(ACCOUNT).await;
    hook_up(&stage).await;
    stage.webhooks_are_hints(false).await;
}

#[tokio::test]
async fn hooks_belong_to_the_account_until_they_are_removed() {
    let stage = Stage::open(ACCOUNT).await;
    hook_up(&stage).await;
    let url = format!("{}/faxplus/v3/hooks", stage.simulator.url());
    let listed: Value =
        reqwest::Client::new().get(url).bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["data"][0]["target"], stage.hook);
    let one = format!("hooks/{}", listed["data"][0]["id"].as_str().unwrap());
    assert_eq!(call(&stage, Method::DELETE, &one, None).await.0, StatusCode::NO_CONTENT);
    stage.send("+12125550100", REFERENCE).await.unwrap();
    stage.simulator.idle().await;
    assert_eq!(stage.inbox.len(), 0);
}

#[tokio::test]
async fn webhooks_that_name_no_fax_of_ours_are_no_news() {
    let stage = Stage::open(ACCOUNT).await;
    let read = |body: &'static str| {
        let body = Bytes::from_static(body.as_bytes());
        let arrived = Arrived { url: String::new(), headers: axum::http::HeaderMap::new(), body };
        stage.adapter.read_webhook(&arrived.hook(), now())
    };
    assert_eq!(read(r#"{"hook":{"event":"fax_received"},"data":{"id":"x"}}"#), Ok(Vec::new()));
    for body in
        ["", "[]", r#"{"hook":{"event":"fax_sent"}}"#, r#"{"hook":{"event":"fax_sent"},"data":{"id":""}}"#]
    {
        assert!(matches!(read(body), Err(WebhookRefusal::Malformed(_))), "{body}");
    }
}

#[tokio::test]
async fn cancelling_takes_out_what_still_waits() {
    let expected = ["Stopped", "NotThere", "TooLate", "TooLate", "not there"];
    assert_eq!(Stage::open(ACCOUNT).await.cancels().await, expected);
}

#[tokio::test]
async fn deleting_removes_the_record_once_the_fax_has_ended() {
    let refusal = Stage::open(ACCOUNT).await.deletes_what_has_ended("36").await;
    assert!(matches!(refusal, AskError::NoAnswer { .. }), "{refusal}");
}

#[tokio::test]
async fn a_wrong_token_is_trouble_with_the_account() {
    Stage::open(ACCOUNT).await.wrong_secret("token").await;
}

#[tokio::test]
async fn a_wrong_url_proves_nothing() {
    // It gets no further than the upload.
    Stage::open(ACCOUNT).await.wrong_url("not sent provider_trouble").await;
}

#[tokio::test]
async fn the_face_refuses_what_the_api_would_not_take() {
    let stage = Stage::open(ACCOUNT).await;
    let good = json!({ "from": "+12125550101", "to": ["+12125550100"], "files": ["x.pdf"] });
    let with = |key: &str, value: Value| {
        let mut order = good.clone();
        order[key] = value;
        Some(order)
    };
    let numbers: Vec<String> = (0..4001).map(|n| format!("+1212555{n:04}")).collect();
    let cases = [
        (with("files", json!(["never-uploaded.pdf"])), "invalid_file"),
        (with("files", json!(vec!["x.pdf"; 11])), "too_many_files"),
        (with("to", json!(numbers)), "too_many_destinations"),
        (with("to", json!(["2125550100"])), "invalid_number"),
        (with("to", json!("+12125550100")), "invalid_request"),
        (with("from", json!("clinic")), "invalid_number"),
        (with("from", Value::Null), "invalid_request"),
        (with("resolution", json!("fine")), "invalid_request"),
        (with("options", json!({ "retry": { "count": 3, "delay": 0 } })), "invalid_request"),
        (Some(json!({})), "invalid_request"),
        (None, "invalid_request"),
    ];
    for (body, code) in cases {
        let (status, error) = call(&stage, Method::POST, "accounts/self/outbox", body.clone()).await;
        assert_eq!((status, error.unwrap().error.as_str()), (StatusCode::BAD_REQUEST, code), "{body:?}");
    }
    let questions = [
        (Method::GET, "accounts/self/faxes?limit=51", StatusCode::BAD_REQUEST),
        (Method::GET, "accounts/self/faxes?after=2026-01-01T00:00:00Z", StatusCode::BAD_REQUEST),
        (Method::GET, "accounts/self/faxes?category=outbox", StatusCode::BAD_REQUEST),
        (Method::GET, "accounts/self/faxes?tag=x", StatusCode::BAD_REQUEST),
        (Method::GET, "accounts/self/outbox/x", StatusCode::NOT_FOUND),
        (Method::GET, "accounts/self/faxes/x", StatusCode::NOT_FOUND),
        (Method::DELETE, "hooks/x", StatusCode::NOT_FOUND),
        (Method::POST, "accounts/self/files", StatusCode::BAD_REQUEST),
    ];
    for (method, path, expected) in questions {
        let (status, error) = call(&stage, method, path, None).await;
        assert_eq!(status, expected, "{path}");
        assert!(error.is_some_and(|error| !error.error.is_empty()), "{path}");
    }
    let hook = json!({ "target": "http://127.0.0.1/", "event": "fax_failed" });
    assert_eq!(call(&stage, Method::POST, "hooks", Some(hook)).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.simulator.faxes(), []);
}

#[test]
fn codes_are_those_of_the_fact_sheet() {
    let lines = testing::sheet(include_str!("../../../fixtures/providers/faxplus.csv"));
    assert!(lines.iter().all(|line| line[0].is_empty()));
    for [_, code, class] in &lines {
        if *class == "delivered" {
            let fax = list::Ended::with_status(code);
            assert_eq!(report_of(&fax).outcome, Outcome::Delivered);
        } else {
            let known = CODES.iter().find(|(known, _)| known == code);
            assert_eq!(known.map(|(_, cause)| *cause), Some(cause_of_class(class)), "{code}");
        }
    }
    for (code, _) in CODES {
        assert!(lines.iter().any(|[_, known, _]| known == code), "{code} is in no line of the fact sheet");
    }
    assert_eq!(
        report_of(&list::Ended::with_status("failed_fs_9917")).outcome,
        Outcome::Retry(Cause::Unknown)
    );
}

#[test]
fn answers_to_an_order_and_what_they_prove() {
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (201, None, r#"{"ids":{"+12125550100":"f"}}"#, "taken"),
        (200, None, r#"{"ids":{"1 (212) 555-0100":"f"}}"#, "taken"),
        (201, None, r#"{"ids":{"+12125550199":"f"}}"#, "unknown"),
        (201, None, r#"{"ids":{"+12125550100":""}}"#, "unknown"),
        (201, None, r#"{"ids":{"+12125550100":{}}}"#, "unknown"),
        (201, None, "{}", "unknown"),
        (200, None, "<html>", "unknown"),
        (302, None, "", "unknown"),
        (400, None, r#"{"error":"too_many_files","description":"10"}"#, "refused unknown"),
        (400, None, r#"{"error":{"code":"x"}}"#, "unknown"),
        (413, None, r#"{"error":"too_large","description":"150 MB"}"#, "refused document_refused"),
        (413, None, "<html>", "unknown"),
        (404, None, "<html>", "unknown"),
        (401, None, "", "not sent account_trouble"),
        (402, None, "", "not sent account_trouble"),
        (403, None, "", "not sent account_trouble"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (500, None, r#"{"error":"internal","description":""}"#, "unknown"),
        (503, Some(7), r#"{"error":"unavailable","description":""}"#, "unknown"),
        (504, None, "", "unknown"),
    ];
    judged(table, |answer| judge_order(answer, "+12125550100"));
}

#[test]
fn answers_to_an_upload_leave_nothing_unknown() {
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (200, None, r#"{"path":"a.pdf"}"#, "taken"),
        (200, None, r#"{"path":""}"#, "not sent provider_trouble"),
        (200, None, "<html>", "not sent provider_trouble"),
        (302, None, "", "not sent provider_trouble"),
        (
            400,
            None,
            r#"{"error":"failed_mimetype_not_supported","description":""}"#,
            "refused document_refused",
        ),
        (400, None, r#"{"error":"x","description":""}"#, "refused unknown"),
        (404, None, "<html>", "not sent provider_trouble"),
        (413, None, "<html>", "refused document_refused"),
        (401, None, "", "not sent account_trouble"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (503, Some(7), "", "not sent provider_trouble 7s"),
        (500, None, "", "not sent provider_trouble"),
    ];
    judged(table, |answer| judge_upload(answer).map(|path| Taken { provider_ref: path }));
}
