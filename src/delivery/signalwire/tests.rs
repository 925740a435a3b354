//! The adapter against the simulator's face of SignalWire, over real HTTP, and its judgements as
//! tables.

use futures_util::stream;
use reqwest::header::AUTHORIZATION;
use serde_json::json;

use super::*;
use crate::delivery::testing::{
    self, Account, REFERENCE, Row, Slip, Stage, TOKEN, cause_of_class, end_word, judged, now, word,
};

const ACCOUNT: Account = Account {
    path: "/signalwire",
    keys: "kind = \"signalwire\"\naccount = \"e0d6a1b7\"\ntoken = \"env:T\"",
    shows_pages: 3,
};

/// How each ends for whoever knows its id: nothing finds it otherwise (19, 24, 26, 33).
///
/// What has no status of its own is told by texts, which do not tell a voice from a machine that is
/// none for faxes (14), nor a number out of service or a refused call from one where nothing
/// answered (15, 30); no count of pages goes with what broke off (16, 28); refusals have no code
/// (17, 39); a document that cannot be read may as well have been out of reach (31).
const OTHERS: &[Row] = &[
    ("14", &[("taken", "retry not_a_fax 0")]),
    ("15", &[("taken", "retry not_a_fax 0")]),
    ("16", &[("taken", "retry partly_sent 0")]),
    ("17", &[("refused unknown", "")]),
    ("19", &[("unknown", "")]),
    ("24", &[("unknown", "")]),
    ("26", &[("unknown", "")]),
    ("28", &[("taken", "retry partly_sent 0"), ("taken", "delivered 3")]),
    ("30", &[("taken", "retry not_a_fax 0")]),
    ("31", &[("taken", "retry provider_trouble 0")]),
    ("33", &[("unknown", "")]),
    ("37", &[("taken", "not there")]),
    ("39", &[("refused unknown", "")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    let stage = Stage::open(ACCOUNT).await;
    stage.every_line_of_the_table(OTHERS).await;
    let found = testing::find(stage.adapter.as_ref(), "job00-1", "+12125550100").await;
    assert_eq!(found, Err(AskError::Unsupported));
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    Stage::open(ACCOUNT).await.answers_too_late(1_000).await;
}

#[tokio::test]
async fn a_document_that_cannot_be_fetched_ends_the_fax() {
    let stage = Stage::open(ACCOUNT).await;
    let taken = stage.send_by(stage.adapter.as_ref(), "+12125550100", REFERENCE, "/gone.pdf").await.unwrap();
    stage.simulator.idle().await;
    let status = stage.adapter.status(&taken.provider_ref).await.unwrap();
    assert_eq!(end_word(&status), "retry provider_trouble 0");
}

#[tokio::test]
async fn what_cannot_be_ordered_does_not_leave() {
    let stage = Stage::open(ACCOUNT).await;
    let bare = Slip::new("+12125550100", REFERENCE, b"");
    let result = stage.adapter.submit(bare.order(stream::empty())).await;
    assert_eq!(word(&result), "not sent account_trouble");
    assert!(result.unwrap_err().to_string().contains("[media]"));
    let media = format!("{}/fax.pdf", stage.media.as_deref().unwrap());
    let slip = Slip { media: Some(&media), ..Slip::new("+12125550100", REFERENCE, b"") };
    let order = Order { caller: None, ..slip.order(stream::empty()) };
    assert_eq!(word(&stage.adapter.submit(order).await), "not sent account_trouble");
    assert_eq!(stage.simulator.faxes(), []);
}

#[tokio::test]
async fn callbacks_are_hints_by_their_url() {
    Stage::open(ACCOUNT).await.webhooks_are_hints(true).await;
}

#[tokio::test]
async fn cancelling_works_until_it_is_dialled() {
    let stage = Stage::open(ACCOUNT).await;
    let expected = ["Stopped", "Stopped", "TooLate", "TooLate", "refused cancelled 0"];
    assert_eq!(stage.cancels().await, expected);
    assert_eq!(stage.adapter.cancel(NOBODYS).await, Ok(Cancelled::NotThere));
}

#[tokio::test]
async fn deleting_removes_the_fax_once_it_has_ended() {
    let refusal = Stage::open(ACCOUNT).await.deletes_what_has_ended("36").await;
    assert!(matches!(refusal, AskError::NoAnswer { .. }), "{refusal}");
}

#[tokio::test]
async fn a_wrong_token_or_project_is_trouble_with_the_account() {
    let stage = Stage::open(ACCOUNT).await;
    stage.wrong_secret("token").await;
    let any = testing::adapter(&ACCOUNT.section(&stage.url(), 1_000), "a\nb");
    assert!(any.is_ok(), "whatever it is, it travels as base64");
}

#[tokio::test]
async fn a_wrong_url_proves_nothing() {
    Stage::open(ACCOUNT).await.wrong_url("unknown").await;
}

#[tokio::test]
async fn the_face_refuses_what_the_api_would_not_take() {
    let stage = Stage::open(ACCOUNT).await;
    let good =
        [("To", "+12125550100"), ("From", "+12125550101"), ("MediaUrl", "https://media.example/a.pdf")];
    let post = async |project: &str, body: String, kind: &str| {
        let base = stage.simulator.url();
        let url = format!("{base}/signalwire/api/laml/2010-04-01/Accounts/{project}/Faxes");
        let request = reqwest::Client::new().post(url).header(AUTHORIZATION, basic("p", TOKEN).unwrap());
        let answer = request.header(CONTENT_TYPE, kind).body(body).send().await.unwrap();
        let status = answer.status();
        let error: ApiError = answer.json().await.unwrap();
        assert!(!error.message.is_empty() && error.code.is_number());
        status.as_u16()
    };
    let form = "application/x-www-form-urlencoded";
    let written = |fields: &[(&str, &str)]| {
        let mut carrier = Url::parse("http://form/").unwrap();
        carrier.query_pairs_mut().extend_pairs(fields);
        carrier.query().unwrap().to_owned()
    };
    for (key, value) in [
        ("To", "2125550100"),
        ("From", ""),
        ("MediaUrl", "/a.pdf"),
        ("Quality", "best"),
        ("StoreMedia", "no"),
        ("Ttl", "4"),
        ("StatusCallback", "hook"),
        ("StatusCallbackMethod", "PUT"),
        ("Header", "Clinic"),
    ] {
        let mut fields = good.to_vec();
        fields.push((key, value));
        assert_eq!(post("p", written(&fields), form).await, 422, "{key}={value}");
    }
    for missing in 0..good.len() {
        let mut fields = good.to_vec();
        fields.remove(missing);
        assert_eq!(post("p", written(&fields), form).await, 422, "{fields:?}");
    }
    assert_eq!(post("p", "{}".into(), "application/json").await, 400);
    assert_eq!(post("q", written(&good), form).await, 401, "another project's");
    assert_eq!(stage.simulator.faxes(), []);
}

#[test]
fn codes_are_those_of_the_fact_sheet() {
    let lines = testing::sheet(include_str!("../../../fixtures/providers/signalwire.csv"));
    for [status, text, class] in &lines {
        match *class {
            "delivered" => {
                assert_eq!(end(json!({"sid": "f", "status": status, "num_pages": "3"})), "delivered 3");
            }
            class => assert_eq!(cause_of(status, text), cause_of_class(class), "{status} {text}"),
        }
    }
    for ((status, text), _) in CODES {
        assert!(lines.iter().any(|line| line[..2] == [*status, *text]), "{status} {text}");
    }
}

fn end(fax: Value) -> String {
    let fax: Fax = serde_json::from_value(fax).unwrap();
    fax.status().map_or("nonsense".into(), |status| end_word(&status))
}

#[test]
fn faxes_and_how_they_end() {
    let failed =
        |text: &str| json!({"sid": "f", "status": "failed", "error_message": text, "num_pages": "3"});
    let table = [
        (json!({"sid": "f", "status": "processing"}), "working"),
        (json!({"sid": "f", "status": "received"}), "nonsense"),
        (json!({"sid": "f", "status": "delivered", "num_pages": null}), "delivered 0"),
        (json!({"sid": "f", "status": "busy", "num_pages": "3"}), "retry busy 0"),
        (failed("connection failed."), "retry not_a_fax 0"),
        // Not word for word: not to be tried again by itself.
        (failed("Connection Failed after page 2"), "retry unknown 0"),
        (failed("Unexpected DCN while waiting for ECM"), "retry partly_sent 0"),
        (failed("Received no response to DCS or TCF"), "retry partly_sent 0"),
        (failed("Log entry lost"), "retry unknown 0"),
        (failed(""), "retry unknown 0"),
        (json!({"sid": "f", "status": "failed"}), "retry unknown 0"),
    ];
    for (fax, expected) in table {
        assert_eq!(end(fax.clone()), expected, "{fax}");
    }
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (201, None, r#"{"sid":"f","status":"queued"}"#, "taken"),
        (200, None, r#"{"sid":"f","status":"queued"}"#, "taken"),
        (201, None, r#"{"sid":"","status":"queued"}"#, "unknown"),
        (201, None, "{}", "unknown"),
        (200, None, "<html>", "unknown"),
        (302, None, "", "unknown"),
        (400, None, r#"{"code":21201,"message":"no To","more_info":"","status":400}"#, "refused unknown"),
        (422, None, r#"{"errors":[{"code":"x","message":"no To","more_info":""}]}"#, "refused unknown"),
        (422, None, r#"{"errors":[]}"#, "unknown"),
        (422, None, r#"{"code":null,"message":""}"#, "unknown"),
        (400, None, r#"{"code":20003,"message":"Authentication Error"}"#, "not sent account_trouble"),
        (500, None, r#"{"code":20003,"message":"Authentication Error"}"#, "unknown"),
        (401, None, "", "not sent account_trouble"),
        (404, None, "<html>", "unknown"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (500, None, "", "unknown"),
        (503, Some(7), "", "unknown"),
    ];
    judged(table, judge_submit);
}

/// A list by numbers and date, which helps whoever decides about a fax whose answer was lost.
#[tokio::test]
async fn faxes_to_that_number_can_be_looked_at() {
    let stage = Stage::open(ACCOUNT).await;
    for (number, reference) in
        [("+12125550100", "joba-1"), ("+12125550100", "jobb-1"), ("+12125550199", "jobc-1")]
    {
        assert_eq!(word(&stage.send(number, reference).await), "taken");
    }
    stage.simulator.idle().await;
    let number = crate::job::FaxNumber::from_e164("+12125550100").unwrap();
    let look = async |caller, since| {
        let sought = Sought { reference: "jobx-1", kept: None, number: &number, since, forgotten: false };
        stage.adapter.look_alikes(caller, sought).await.unwrap()
    };
    let found = look(Some(testing::CALLER), now()).await;
    let words: Vec<(&str, Option<u32>)> = found.iter().map(|fax| (fax.status.as_str(), fax.pages)).collect();
    assert_eq!(words, [("delivered", Some(3)), ("delivered", Some(3))]);
    assert!(found.iter().all(|fax| fax.made.is_some() && !fax.provider_ref.is_empty()));
    assert_eq!(look(None, now()).await.len(), 2);
    assert_eq!(look(Some("+12125550777"), now()).await, []);
    assert_eq!(look(None, now() + jiff::SignedDuration::from_hours(1)).await, [], "ordered before");
}
