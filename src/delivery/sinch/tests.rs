//! The adapter against the simulator's face of Sinch, over real HTTP.

use std::collections::{BTreeSet, HashMap};

use axum::http::HeaderMap;
use base64::Engine as _;
use reqwest::multipart::Part;

use super::*;
use crate::delivery::testing::{
    self, Account, REFERENCE, Row, Stage, TOKEN, adapter, cause_of_class, end_word, form_of, judged, now,
    pdf, posted, searched, send, tap,
};

const ACCOUNT: Account = Account {
    path: "/sinch",
    keys: "kind = \"sinch\"\naccount = \"p1\"\nlogin = \"key\"\npassword = \"env:P\"",
    shows_pages: 3,
};

/// A voice is not told from a mute machine.
const OTHERS: &[Row] = &[("14", &[("taken", "retry not_a_fax 0")])];

#[tokio::test]
async fn every_line_of_the_table() {
    Stage::open(ACCOUNT).await.every_line_of_the_table(OTHERS).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_and_a_list_that_lags_leave_it_unknown() {
    let stage = Stage::open(ACCOUNT).await;
    stage.answers_too_late(300).await;
    assert_eq!(stage.list_lags().await, Search::NotListed);
}

#[tokio::test]
async fn what_is_sent_is_what_the_vendor_documents_and_nothing_is_left_to_its_defaults() {
    let (url, mut taps) = tap(200, &[r#"{"id":"f1","status":"QUEUED"}"#]).await;
    let adapter = ACCOUNT.adapter(&url);
    let document = pdf(3);
    send(adapter.as_ref(), "+12125550100", REFERENCE, &document, Some("https://h.example/x?ref=r"))
        .await
        .unwrap();
    let sent = taps.recv().await.unwrap();
    assert_eq!(sent.url, "POST /v3/projects/p1/faxes");
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("key:{TOKEN}"));
    assert_eq!(sent.headers["authorization"], format!("Basic {basic}"));
    let (fields, file) = form_of(&sent);
    let expected = HashMap::from([
        ("to", "+12125550100"),
        ("from", "+12125550101"),
        ("headerText", "Lakeside Family Clinic"),
        ("headerPageNumbers", "true"),
        ("headerTimeZone", "America/Chicago"),
        ("maxRetries", "0"),
        ("resolution", "FINE"),
        ("labels[job]", REFERENCE),
        ("callbackUrl", "https://h.example/x?ref=r"),
        ("callbackUrlContentType", "application/json"),
    ]);
    assert_eq!(fields, expected);
    assert_eq!(file, ("file", &document[..]));
}

#[tokio::test]
async fn the_list_is_asked_by_number_and_time_and_read_page_by_page() {
    let fax = |id: &str, label: &str| {
        format!(r#"{{"id":"{id}","status":"IN_PROGRESS","labels":{{"job":"{label}"}},"to":"+1"}}"#)
    };
    let ours = fax("f2", REFERENCE);
    let strange = r#"{"id":7,"status":"NEW"}"#;
    let page = |faxes: &[&str], page: u32, total: u32| {
        format!(r#"{{"faxes":[{}],"page":{page},"totalPages":{total}}}"#, faxes.join(","))
    };
    let table = [
        (page(&[&fax("f1", "other-1"), strange, &ours], 1, 1), "f2 working"),
        (page(&[&ours], 0, 1), "f2 working"),
        (page(&[], 1, 0), "not listed"),
        (r#"{"faxes":[]}"#.to_owned(), "not listed"),
        (page(&[&fax("f1", "0123456789abcdef-2")], 1, 1), "not listed"),
        // Page 1 over and over, whatever is asked for.
        (page(&[&ours], 1, 3), "cannot tell"),
        (page(&[&ours.replace("IN_PROGRESS", "NEW")], 1, 1), "cannot tell"),
        (page(&[&ours.replace("f2", "../x")], 1, 1), "cannot tell"),
        ("<html>".to_owned(), "cannot tell"),
    ];
    for (body, expected) in table {
        let (url, mut taps) = tap(200, &[&body]).await;
        let found = testing::find(ACCOUNT.adapter(&url).as_ref(), REFERENCE, "+12125550100").await;
        assert_eq!(searched(&found), expected, "{body}");
        let asked = taps.recv().await.unwrap().url;
        let start = "GET /v3/projects/p1/faxes?createTime%3E=20";
        assert!(asked.starts_with(start), "{asked}");
        assert!(asked.ends_with("Z&to=%2B12125550100&direction=OUTBOUND&pageSize=500"), "{asked}");
    }
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end_wherever_it_counts_from() {
    for first in [0, 1] {
        let page = |number: u32, label: &str| {
            let fax = format!(r#"{{"id":"f{number}","status":"QUEUED","labels":{{"job":"{label}"}}}}"#);
            format!(r#"{{"faxes":[{fax}],"page":{number},"totalPages":3,"pageSize":1,"totalItems":3}}"#)
        };
        let pages = [page(first, "other-1"), page(first + 1, "other-2"), page(first + 2, REFERENCE)];
        let (url, mut taps) = tap(200, &pages.each_ref().map(String::as_str)).await;
        let found = testing::find(ACCOUNT.adapter(&url).as_ref(), REFERENCE, "+12125550100").await;
        assert_eq!(searched(&found), format!("f{} working", first + 2));
        let mut asked = Vec::new();
        while let Ok(question) = taps.try_recv() {
            asked.push(question.url.split_once("pageSize=500").unwrap().1.to_owned());
        }
        assert_eq!(asked, ["".to_owned(), format!("&page={}", first + 1), format!("&page={}", first + 2)]);
    }
}

#[tokio::test]
async fn webhooks_are_hints_whatever_stands_in_them() {
    let mut stage = Stage::open(ACCOUNT).await;
    for (ending, times) in [("00", 1), ("21", 2), ("22", 1), ("23", 0)] {
        let (taken, reference, webhooks) = stage.webhooks(ending, times).await;
        for arrived in webhooks {
            let event: Value = serde_json::from_slice(&arrived.body).unwrap();
            assert_eq!(
                (&event["event"], &event["fax"]["status"]),
                (&"FAX_COMPLETED".into(), &"COMPLETED".into())
            );
            let copy = event["files"][0]["file"].as_str().unwrap();
            assert_eq!(base64::engine::general_purpose::STANDARD.decode(copy).unwrap(), pdf(3));
            let expected = News {
                provider_ref: Some(taken.provider_ref.clone()),
                reference: Some(reference.clone()),
                status: Status::Working,
            };
            assert_eq!(stage.adapter.read_webhook(&arrived.hook(), now()), Ok(vec![expected.clone()]));
            let headers = HeaderMap::new();
            let url = Hook { url: "", reference: Some(&reference), headers: &headers, body: b"" };
            let by_url = News { provider_ref: None, ..expected.clone() };
            for body in [&b""[..], b"{", b"[]", br#"{"fax":{"id":"../x"}}"#, &vec![b' '; 10 << 20]] {
                let hook = Hook { body, ..url };
                assert_eq!(stage.adapter.read_webhook(&hook, now()), Ok(vec![by_url.clone()]));
                let bare = Hook { reference: None, ..hook };
                assert!(matches!(
                    stage.adapter.read_webhook(&bare, now()),
                    Err(WebhookRefusal::Malformed(_))
                ));
            }
        }
    }
}

#[tokio::test]
async fn webhooks_carry_the_credentials_of_their_url_and_no_large_document() {
    let mut stage = Stage::open(ACCOUNT).await;
    let hook = format!("{}?ref=joba-1", stage.hook.replace("http://", "http://u:p@"));
    let large = [pdf(3), vec![b' '; 80 << 10]].concat();
    send(stage.adapter.as_ref(), "+12125550100", "joba-1", &large, Some(&hook)).await.unwrap();
    let arrived = stage.inbox.recv().await.unwrap();
    assert_eq!(arrived.headers["authorization"], "Basic dTpw");
    let event: Value = serde_json::from_slice(&arrived.body).unwrap();
    assert!(event.get("files").is_none());
}

#[tokio::test]
async fn deleting_and_cancelling() {
    let stage = Stage::open(ACCOUNT).await;
    let id = stage.send("+12125550100", REFERENCE).await.unwrap().provider_ref;
    stage.simulator.idle().await;
    for _ in 0..2 {
        assert_eq!(stage.adapter.delete(&id).await, Ok(()));
    }
    assert!(stage.simulator.faxes()[0].deleted);
    assert_eq!(stage.adapter.delete("fx-none").await, Ok(()), "gone already is well");
    assert_eq!(stage.adapter.cancel(&id).await, Err(AskError::Unsupported));
    // As a person at the vendor's dashboard can.
    let waiting = stage.send("+12125550135", "jobb-1").await.unwrap().provider_ref;
    assert!(matches!(stage.adapter.delete(&waiting).await, Err(AskError::Nonsense { .. })));
    let cancel = format!("{}/v1/faxes/{waiting}/cancel", stage.simulator.url());
    reqwest::Client::new().post(cancel).bearer_auth(TOKEN).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(end_word(&stage.adapter.status(&waiting).await.unwrap()), "refused cancelled 0");
}

#[tokio::test]
async fn wrong_settings_prove_nothing_about_a_fax() {
    let mut stage = Stage::open(ACCOUNT).await;
    stage.wrong_secret("password").await;
    stage.wrong_url("unknown").await;
    let without = ACCOUNT.section("https://x.example", 1_000).replace("account = \"p1\"", "");
    let refused = toml::from_str::<crate::config::Provider>(&without).unwrap_err();
    assert!(refused.message().contains("`account`"), "{refused}");
    for account in ["account = \"\"", "account = \"a/b\"", "account = \"..\""] {
        let broken = ACCOUNT.section("https://x.example", 1_000).replace("account = \"p1\"", account);
        assert!(adapter(&broken, TOKEN).is_err_and(|fault| fault.fault.starts_with("account:")), "{account}");
    }
}

/// A submit that the vendor would not accept, and the field that the face names; without one: the answer's status.
#[tokio::test]
async fn the_face_refuses_what_the_vendor_would() {
    type Change = fn(Vec<(&'static str, String)>) -> Vec<(&'static str, String)>;
    fn with(
        mut fields: Vec<(&'static str, String)>,
        name: &'static str,
        value: &str,
    ) -> Vec<(&'static str, String)> {
        fields.retain(|(known, _)| *known != name);
        fields.push((name, value.to_owned()));
        fields
    }
    let table: &[(&str, Change)] = &[
        ("to", |fields| fields.into_iter().filter(|(name, _)| *name != "to").collect()),
        ("to", |fields| with(fields, "to", "2125550100")),
        ("to", |fields| with(fields, "to", "+12125550100,+12125550101")),
        ("to", |mut fields| {
            fields.push(("to", "+12125550101".into()));
            fields
        }),
        ("from", |fields| with(fields, "from", "the clinic")),
        ("header_text", |fields| with(fields, "header_text", "x")),
        ("contentUrl", |fields| with(fields, "contentUrl", "https://x.example/a.pdf")),
        ("labels", |fields| with(fields, "labels", "job=1")),
        ("headerText", |fields| with(fields, "headerText", &"x".repeat(51))),
        ("headerPageNumbers", |fields| with(fields, "headerPageNumbers", "yes")),
        ("headerTimeZone", |fields| with(fields, "headerTimeZone", "America/Gotham")),
        ("maxRetries", |fields| with(fields, "maxRetries", "6")),
        ("maxRetries", |fields| with(fields, "maxRetries", "-1")),
        ("retryDelaySeconds", |fields| with(fields, "retryDelaySeconds", "29")),
        ("resolution", |fields| with(fields, "resolution", "fine")),
        ("imageConversionMethod", |fields| with(fields, "imageConversionMethod", "NONE")),
        ("callbackUrl", |fields| with(fields, "callbackUrl", "ftp://x.example")),
        ("callbackUrlContentType", |fields| with(fields, "callbackUrlContentType", "text/json")),
        ("callbackUrlContentType", |fields| with(fields, "callbackUrl", "https://x.example")),
    ];
    let stage = Stage::open(ACCOUNT).await;
    let url = format!("{}/v3/projects/p1/faxes", stage.url());
    let client = reqwest::Client::new();
    let post = |fields, file| posted(&url, fields, file);
    let file = || Part::bytes(pdf(1)).file_name("fax.pdf");
    let good = || vec![("to", "+12125550100".to_owned()), ("labels[job]", "joba-1".to_owned())];
    let refused = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 422);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        body["details"][0]["fieldViolations"][0]["field"].as_str().unwrap().to_owned()
    };
    for (field, change) in table {
        assert_eq!(refused(post(change(good()), Some(file()))).await, *field);
    }
    assert_eq!(refused(post(good(), None)).await, "file");
    assert_eq!(refused(post(good(), Some(Part::bytes(pdf(1))))).await, "file", "no filename");
    let empty = Part::bytes(Vec::new()).file_name("fax.pdf");
    assert_eq!(refused(post(good(), Some(empty))).await, "file", "nothing in it");
    let json =
        client.post(&url).basic_auth("key", Some(TOKEN)).json(&serde_json::json!({"to": "+12125550100"}));
    assert_eq!(refused(json).await, "");
    for (name, value) in
        [("labels", "job=1"), ("pageSize", "1001"), ("createTime>", "soon"), ("status", "DONE")]
    {
        let question = client.get(&url).basic_auth("key", Some(TOKEN)).query(&[(name, value)]);
        assert_eq!(refused(question).await, name);
    }
    assert_eq!(stage.simulator.faxes(), []);
    assert_eq!(post(good(), Some(file())).send().await.unwrap().status(), 200, "the good one is taken");
    let bearer = client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!((bearer.status().as_u16(), bearer.bytes().await.unwrap().len()), (401, 0));
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let violation = |field: &str| {
        format!(
            r#"{{"code":"422","error":"Invalid parameters","message":"m","details":{{"fieldViolations":[{{"field":"{field}","description":"d"}}]}}}}"#
        )
    };
    let object = r#"{"code":400,"status":"INVALID_ARGUMENT","message":"m"}"#;
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (200, None, r#"{"id":"f","status":"QUEUED","labels":{"job":"r"}}"#, "taken"),
        (200, None, r#"{"id":"f","status":"QUEUED"}"#, "taken"),
        (201, None, r#"{"id":"f","status":"FAILURE","errorType":"CALL_ERROR","errorCode":17}"#, "taken"),
        (200, None, r#"{"id":"f","status":"QUEUED","labels":{"job":"other"}}"#, "unknown"),
        (200, None, r#"{"id":"","status":"QUEUED"}"#, "unknown"),
        (200, None, r#"{"id":"..","status":"QUEUED"}"#, "unknown"),
        (200, None, r#"{"faxes":[{"id":"f","status":"QUEUED"}]}"#, "unknown"),
        (200, None, "<html>", "unknown"),
        (204, None, "", "unknown"),
        (302, None, "", "unknown"),
        (400, None, object, "refused unknown"),
        (400, None, r#"{"code":"404","error":"Bad Request","message":"m"}"#, "refused unknown"),
        (400, None, r#"{"code":"soon","message":"m"}"#, "unknown"),
        (400, None, r#"{"error":"Could not connect to URL"}"#, "unknown"),
        (422, None, &violation("to"), "refused number_refused"),
        (422, None, "", "refused unknown"),
        (422, None, &violation("file"), "refused document_refused"),
        (422, None, &violation("x"), "refused unknown"),
        (404, None, object, "not sent account_trouble"),
        (404, None, "<html>", "unknown"),
        (408, None, "", "unknown"),
        (401, None, "", "not sent account_trouble"),
        (402, None, "", "not sent account_trouble"),
        (403, None, "", "not sent account_trouble"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (429, None, "", "not sent rate_limited"),
        (500, Some(7), object, "unknown"),
        (503, Some(7), object, "unknown"),
        (504, None, "", "unknown"),
    ];
    judged(table, |answer| judge_submit(answer, "r"));
}

#[test]
fn how_a_fax_stands() {
    let table = [
        (r#""status":"QUEUED""#, "working"),
        (r#""status":"IN_PROGRESS","pagesSentSuccessfully":1"#, "working"),
        (r#""status":"COMPLETED""#, "delivered 0"),
        (r#""status":"COMPLETED","numberOfPages":3,"pagesSentSuccessfully":3"#, "delivered 3"),
        (r#""status":"COMPLETED","numberOfPages":3,"pagesSentSuccessfully":2"#, "retry partly_sent 2"),
        (r#""status":"FAILURE""#, "retry unknown 0"),
        (r#""status":"FAILURE","errorType":"CALL_ERROR","errorCode":17"#, "retry busy 0"),
        (r#""status":"FAILURE","errorType":"CALL_ERROR","errorCode":"17""#, "retry busy 0"),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":17"#, "retry unknown 0"),
        // Busy, and yet a page came out: a person decides.
        (
            r#""status":"FAILURE","errorType":"CALL_ERROR","errorCode":17,"pagesSentSuccessfully":1"#,
            "retry partly_sent 1",
        ),
        (
            r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":12,"pagesSentSuccessfully":0"#,
            "retry line_trouble 0",
        ),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":12"#, "retry partly_sent 0"),
        (r#""status":"FAILURE","errorType":"CALL_ERROR","errorCode":11"#, "retry partly_sent 0"),
        (
            r#""status":"FAILURE","errorType":"CALL_ERROR","errorCode":43,"pagesSentSuccessfully":0"#,
            "retry provider_trouble 0",
        ),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":40"#, "retry partly_sent 0"),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":46"#, "retry account_trouble 0"),
        // The same number, two meanings.
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":133"#, "refused blocked 0"),
        (
            r#""status":"FAILURE","errorType":"DOCUMENT_CONVERSION_ERROR","errorCode":133"#,
            "refused document_refused 0",
        ),
        (r#""status":"FAILURE","errorType":"FATAL_ERROR","errorCode":17"#, "retry unknown 0"),
        (r#""status":"FAILURE","errorType":"LINE_ERROR","errorCode":17"#, "retry unknown 0"),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":119"#, "refused blocked 0"),
        (r#""status":"FAILURE","errorType":"FAX_ERROR","errorCode":79"#, "retry partly_sent 0"),
    ];
    for (fields, expected) in table {
        let fax: FaxView = serde_json::from_str(&format!(r#"{{"id":"f",{fields}}}"#)).unwrap();
        assert_eq!(end_word(&status_of(&fax)), expected, "{fields}");
    }
    let text = r#"{"id":"f","status":"FAILURE","errorType":"CALL_ERROR","errorCode":17,"errorMessage":"Busy\u0007"}"#;
    let Status::Ended(report) = status_of(&serde_json::from_str(text).unwrap()) else { panic!() };
    assert_eq!(
        (report.raw_code.as_deref(), report.raw_text.as_deref()),
        (Some("CALL_ERROR 17"), Some("Busy"))
    );
    assert!(
        serde_json::from_str::<FaxView>(r#"{"id":"f","status":"NEW"}"#).is_err(),
        "a word that we do not know"
    );
}

#[test]
fn the_table_of_codes_is_that_of_the_fact_sheet() {
    let mut known = BTreeSet::new();
    for line in testing::sheet(include_str!("../../../fixtures/providers/sinch.csv")) {
        let [kind, code, class] = line;
        let code = code.parse().unwrap();
        assert_eq!(codes::cause_of(kind, code), cause_of_class(class), "{line:?}");
        assert!(known.insert((kind, code)), "{line:?} twice");
    }
    let table: Vec<_> =
        codes::CODES.iter().flat_map(|(kind, codes, _)| codes.iter().map(|code| (*kind, *code))).collect();
    assert_eq!(
        table.iter().copied().collect::<BTreeSet<_>>().len(),
        table.len(),
        "no code stands there twice"
    );
    for pair in table {
        assert!(known.contains(&pair), "{pair:?} is not of the fact sheet");
    }
}
