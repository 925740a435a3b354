//! The adapter against the simulator's InterFAX face, and against answers that the face does not give.

use std::collections::BTreeMap;

use axum::http::HeaderMap;

use super::*;
use crate::delivery::testing::{
    self, Account, CALLER, REFERENCE, Row, Stage, TOKEN, cause_of_class, now, receiver, searched, send, tap,
    word,
};

const ACCOUNT: Account = Account {
    path: "/interfax",
    keys: "kind = \"interfax\"\nlogin = \"clinic\"\npassword = \"env:P\"",
    shows_pages: 3,
};

/// It has one word for everything that is wrong with an order.
const OTHERS: &[Row] = &[("39", &[("refused unknown", "")])];

#[tokio::test]
async fn every_line_of_the_table() {
    let stage = Stage::open(ACCOUNT).await;
    stage.every_line_of_the_table(OTHERS).await;
    let order = [
        ("csid", CALLER),
        ("retriesToPerform", "1"),
        ("pageHeader", "From: Lakeside Family Clinic +12125550101  To: {To}  Pages: {TotalPages}"),
        ("resolution", "fine"),
        ("rendering", "bw"),
    ];
    for fax in stage.simulator.faxes() {
        assert_eq!(order.map(|(key, _)| (key, fax.details[key].as_str())), order);
    }
    let id = stage.simulator.faxes()[0].id.clone();
    let shown = reqwest::Client::new().get(format!("{}/outbound/faxes/{id}", stage.url()));
    let shown: serde_json::Value =
        shown.basic_auth("clinic", Some(TOKEN)).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["attemptsToPerform"], 1, "no redials");
    let end = stage.end("job00-1", "+12125550100").await;
    assert_eq!((end.remote_id.as_deref(), end.seconds, end.raw_code), (Some("FAXSIM"), Some(1), None));
    assert_eq!(stage.end("job29-1", "+12125550129").await.raw_code.as_deref(), Some("9917"));
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    Stage::open(ACCOUNT).await.answers_too_late(300).await;
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    // The search by reference does not show it yet, that by number does: nothing is certain then.
    let first = Stage::open(ACCOUNT).await.list_lags().await;
    assert!(matches!(first, Search::Undecided(_)), "{first:?}");
}

#[tokio::test]
async fn callbacks_go_where_the_panel_says_and_are_hints() {
    let (hook, inbox) = receiver(0).await;
    let mut stage = Stage::set(ACCOUNT, |options| options.interfax_callback = Some(hook)).await;
    stage.inbox = inbox;
    stage.webhooks_are_hints(false).await;
    let headers = HeaderMap::new();
    let read = |body: &[u8], reference| {
        let hook = Hook { url: "", reference, headers: &headers, body };
        stage.adapter.read_webhook(&hook, now())
    };
    assert_eq!(read(b"TransactionIDType=Inbound&TransactionID=1", None), Ok(vec![]));
    for body in [&b""[..], b"\xff", b"TransactionID=", b"TransactionID=12a", b"TransactionID=%2F1", b"x=1"] {
        assert!(matches!(read(body, None), Err(WebhookRefusal::Malformed(_))), "{body:?}");
    }
    let hint = News { provider_ref: None, reference: Some(REFERENCE.into()), status: Status::Working };
    assert_eq!(read(b"Status=0", Some(REFERENCE)), Ok(vec![hint]), "whatever stands in it");
}

#[tokio::test]
async fn cancelling_asks_and_the_status_tells() {
    let stage = Stage::open(ACCOUNT).await;
    let expected = ["Asked", "TooLate", "TooLate", "TooLate", "refused cancelled 0"];
    assert_eq!(stage.cancels().await, expected);
    assert_eq!(stage.adapter.cancel("123").await, Ok(Cancelled::TooLate), "one word for both");
    assert_eq!(stage.adapter.status("123").await, Ok(Status::NotThere));
    assert!(!stage.adapter.capabilities().deletes);
    assert_eq!(stage.adapter.delete("123").await, Err(AskError::Unsupported));
}

#[tokio::test]
async fn a_wrong_password_or_url_proves_nothing() {
    let mut stage = Stage::open(ACCOUNT).await;
    stage.wrong_secret("password").await;
    stage.wrong_url("unknown").await;
}

#[tokio::test]
async fn a_document_that_breaks_off_is_certainly_not_sent() {
    let stage = Stage::open(ACCOUNT).await;
    stage.document_breaks_off().await;
    let large = vec![b'x'; 20_000_001];
    let result = send(stage.adapter.as_ref(), "+12125550100", REFERENCE, &large, None).await;
    assert_eq!(word(&result), "refused document_refused");
}

#[tokio::test]
async fn what_a_search_brings_must_be_what_was_sought() {
    let fax = |status: i64, number: &str, time: &str| serde_json::json!({ "id": 7 + status.rem_euclid(2), "status": status, "destinationFax": number, "submitTime": time });
    let (ours, soon) = ("0012125550100", now().strftime("%Y-%m-%dT%H:%M:%S").to_string());
    let nonsense = "cannot tell";
    let table = [
        (vec![], "not listed"),
        (vec![fax(-3, ours, &soon)], "8 working"),
        (vec![fax(-22, ours, &soon)], "7 working"),
        (vec![fax(6017, ours, &soon), fax(-1, ours, &soon)], "8 working"),
        (vec![fax(-1, ours, &soon), fax(0, ours, &soon), fax(6017, ours, &soon)], "7 delivered 0"),
        (vec![fax(0, "0012125550199", &soon)], nonsense),
        (vec![fax(0, ours, "2016-10-03T00:36:41")], nonsense),
        // What it does not say contradicts nothing.
        (vec![fax(0, "12125550100", &soon)], "7 delivered 0"),
        (vec![fax(0, ours, "yesterday")], "7 delivered 0"),
        (vec![serde_json::json!({ "id": 7, "status": 0 })], "7 delivered 0"),
    ];
    for (list, expected) in table {
        let body = serde_json::Value::from(list).to_string();
        let (url, _taps) = tap(200, &[&body]).await;
        let found = testing::find(ACCOUNT.adapter(&url).as_ref(), REFERENCE, "+12125550100").await;
        assert_eq!(searched(&found), expected, "{body}");
    }
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let section = testing::section(&ACCOUNT.section("https://rest.example/base/", 1_000));
    let http = Http::new(&section, None, DIALECT).unwrap();
    let said = r#"{"code":-1062,"message":"Wrong parameter","moreInfo":"x"}"#;
    let table: &[(u16, &str, &str, &str)] = &[
        (201, "https://rest.example/base/outbound/faxes/667915751", "", "taken"),
        (201, "https://rest-sl.example/base/outbound/faxes/131201409296898", "", "taken"),
        (201, "/base/outbound/faxes/1", "", "taken"),
        (201, "", "", "unknown"),
        (201, "", r#"{"id":1}"#, "unknown"),
        (201, "https://rest.example/base/outbound/faxes/", "", "unknown"),
        (201, "https://rest.example/base/outbound/faxes/12a", "", "unknown"),
        (201, "https://rest.example/base/outbound/faxes/1/cancel", "", "unknown"),
        (201, "https://rest.example/base/outbound/batches/1", "", "unknown"),
        (201, "https://rest.example/outbound/faxes/1", "", "unknown"),
        (201, "https://rest.example/base/outbound/faxes/12345678901234567890", "", "unknown"),
        (200, "https://rest.example/base/outbound/faxes/1", "", "taken"),
        (202, "https://rest.example/base/outbound/faxes/1", "", "taken"),
        (200, "", "", "unknown"),
        (302, "https://rest.example/base/outbound/faxes/1", "", "unknown"),
        (400, "", said, "refused unknown"),
        (400, "", "<html>", "unknown"),
        (400, "", r#"{"code":-112,"message":"m"}"#, "refused blocked"),
        (400, "", r#"{"code":-123,"message":"m"}"#, "refused document_refused"),
        (400, "", r#"{"code":-111,"message":"m"}"#, "not sent account_trouble"),
        (500, "", r#"{"code":-111,"message":"m"}"#, "unknown"),
        (413, "", said, "refused document_refused"),
        (413, "", "<html>", "unknown"),
        (415, "", said, "refused document_refused"),
        (401, "", "", "not sent account_trouble"),
        (402, "", said, "not sent account_trouble"),
        (404, "", "", "unknown"),
        (408, "", "", "unknown"),
        (429, "", said, "not sent rate_limited"),
        (500, "", said, "unknown"),
        (503, "", said, "unknown"),
    ];
    for (status, location, body, expected) in table {
        let answer = HttpAnswer {
            status: StatusCode::from_u16(*status).unwrap(),
            headers: (!location.is_empty())
                .then(|| (LOCATION, location.parse().unwrap()))
                .into_iter()
                .collect(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(word(&judge_submit(&answer, &http)), *expected, "{status} {location} {body}");
    }
}

#[test]
fn the_header_line_holds_no_placeholder_but_ours() {
    for (sender, expected) in [
        ("Lakeside {Pages}\n", "From: Lakeside Pages +1  To: {To}  Pages: {TotalPages}".to_owned()),
        (&"x".repeat(99), format!("From: {} +1  To: {{To}}  Pages: {{TotalPages}}", "x".repeat(50))),
    ] {
        assert_eq!(page_header(sender, Some("+1")), expected);
    }
}

#[test]
fn the_codes_are_those_of_the_fact_sheet() {
    let lines = testing::sheet(include_str!("../../../fixtures/providers/interfax.csv"));
    assert!(lines.iter().all(|line| line[0].is_empty()));
    let sheet: BTreeMap<i64, Cause> =
        lines.iter().map(|[_, code, class]| (code.parse().unwrap(), cause_of_class(class))).collect();
    let codes: BTreeMap<i64, Cause> = codes::CODES.iter().copied().collect();
    assert_eq!(codes, sheet);
    assert_eq!(codes.len(), codes::CODES.len(), "each stands once");
    for (status, pages, cause) in [
        (3230, Some(0), Cause::LineTrouble),
        (3230, Some(1), Cause::PartlySent),
        (3230, None, Cause::PartlySent),
        (6017, Some(0), Cause::Busy),
        (6017, None, Cause::Busy),
        // "Maybe out of paper": what came out before is there.
        (6018, Some(2), Cause::PartlySent),
        (403, Some(0), Cause::Cancelled),
        (9917, Some(0), Cause::Unknown),
        (i64::MAX, None, Cause::Unknown),
    ] {
        assert_eq!(codes::cause_of(status, pages), cause, "{status} {pages:?}");
    }
}
