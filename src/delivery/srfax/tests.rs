//! The adapter against the simulator's face of SRFax, over real HTTP, and its judgements as tables.

use futures_util::stream;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::record::cause_of;
use super::*;
use crate::delivery::testing::{
    self, Account, REFERENCE, Row, Slip, Stage, TOKEN, cause_of_class, end_word, judged, pdf, searched, send,
    word,
};
use crate::job::FaxNumber;

const ACCOUNT: Account = Account {
    path: "/srfax",
    keys: r#"
        kind = "srfax"
        account = "12345"
        password = "env:P"
        mail = "fax@clinic.example"
        from = "+12125550101"
    "#,
    shows_pages: 3,
};

/// Only three texts of failures are known (15, 28, 30), a voice is not told from a machine that is
/// none for faxes (14), and a document that could not be converted is not there (31).
const OTHERS: &[Row] = &[
    ("14", &[("taken", "retry not_a_fax 0")]),
    ("15", &[("taken", "retry unknown 0")]),
    ("28", &[("taken", "retry unknown 0"), ("taken", "delivered 3")]),
    ("30", &[("taken", "retry unknown 0")]),
    ("31", &[("taken", "")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    Stage::open(ACCOUNT).await.every_line_of_the_table(OTHERS).await;
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    let stage = Stage::open(ACCOUNT).await;
    stage.answers_too_late(1_000).await;
    assert_eq!(stage.end("job20-1", "+12125550120").await.remote_id.as_deref(), Some("FAXSIM"));
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    assert_eq!(Stage::open(ACCOUNT).await.list_lags().await, Search::NotListed);
}

#[tokio::test]
async fn a_document_that_breaks_off_is_certainly_not_sent() {
    Stage::open(ACCOUNT).await.document_breaks_off().await;
}

/// What leaves, to the byte: one request, its length announced, the document as base64 at the end
/// of it.
#[tokio::test]
async fn a_submit_is_one_request_of_known_length() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/srfax", listener.local_addr().unwrap());
    let adapter = testing::adapter(&ACCOUNT.section(&url, 20_000), "p\"w").unwrap();
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\"}") {
            assert_ne!(peer.read_buf(&mut seen).await.unwrap(), 0, "it ended early");
        }
        let body = r#"{"Status":"Success","Result":423211375}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        peer.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        String::from_utf8(seen).unwrap()
    });
    let taken =
        send(adapter.as_ref(), "+12125550100", REFERENCE, &pdf(3), Some("http://h/?ref=r")).await.unwrap();
    assert_eq!(taken.provider_ref, "423211375");
    let seen = server.await.unwrap();
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /srfax/SRF_SecWebSvc.php HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    use base64::Engine as _;
    let content = base64::engine::general_purpose::STANDARD.encode(pdf(3));
    let expected = json!({
        "action": "Queue_Fax", "access_id": 12345, "access_pwd": "p\"w", "sCallerID": "2125550101",
        "sSenderEmail": "fax@clinic.example", "sFaxType": "SINGLE", "sToFaxNumber": "12125550100",
        "sAccountCode": REFERENCE, "sRetries": "0", "sFaxFromHeader": "Lakeside Family Clinic",
        "sNotifyURL": "http://h/?ref=r", "sFileName_1": "fax.pdf", "sFileContent_1": content,
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
}

#[tokio::test]
async fn what_cannot_be_written_as_it_wants_it_does_not_leave() {
    let stage = Stage::open(ACCOUNT).await;
    let long = "0123456789abcdef-1234";
    let cases = [
        ("+4930123456", REFERENCE, "refused blocked"),
        ("+442079460000", REFERENCE, "refused blocked"),
        ("+12125550100", long, "not sent account_trouble"),
    ];
    for (number, reference, expected) in cases {
        let result = send(stage.adapter.as_ref(), number, reference, &pdf(3), None).await;
        assert_eq!(word(&result), expected, "{number} {reference}");
    }
    let slip = Slip::new("+12125550100", REFERENCE, b"");
    let order = Order { caller: Some("+4930123456"), ..slip.order(stream::empty()) };
    assert_eq!(word(&stage.adapter.submit(order).await), "not sent account_trouble");
    let abroad = ACCOUNT.section(&stage.url(), 20_000).replace("+1212", "+4930");
    assert!(testing::adapter(&abroad, TOKEN).err().unwrap().fault.starts_with("from: "));
    assert_eq!(stage.simulator.faxes(), []);
}

#[tokio::test]
async fn webhooks_are_hints_by_their_url() {
    Stage::open(ACCOUNT).await.webhooks_are_hints(true).await;
}

#[tokio::test]
async fn cancelling_takes_out_what_still_waits() {
    let expected = ["Stopped", "NotThere", "ask again", "TooLate", "not there"];
    assert_eq!(Stage::open(ACCOUNT).await.cancels().await, expected);
}

#[tokio::test]
async fn deleting_removes_the_record_once_the_fax_has_ended() {
    let refusal = Stage::open(ACCOUNT).await.deletes_what_has_ended("36").await;
    assert!(matches!(refusal, AskError::Nonsense { .. }), "{refusal}");
}

#[tokio::test]
async fn a_wrong_password_is_trouble_with_the_account() {
    Stage::open(ACCOUNT).await.wrong_secret("password").await;
}

#[tokio::test]
async fn a_wrong_url_proves_nothing() {
    Stage::open(ACCOUNT).await.wrong_url("unknown").await;
}

#[tokio::test]
async fn the_face_refuses_what_the_api_would_not_take() {
    let stage = Stage::open(ACCOUNT).await;
    let good = json!({
        "action": "Queue_Fax", "access_id": 12345, "access_pwd": TOKEN, "sCallerID": "2125550101",
        "sSenderEmail": "fax@clinic.example", "sFaxType": "SINGLE", "sToFaxNumber": "12125550135",
        "sRetries": "0", "sFileName_1": "a.pdf", "sFileContent_1": "JVBERi0xLjc=",
    });
    let call = async |body: &Value| {
        let url = format!("{}/srfax/SRF_SecWebSvc.php", stage.simulator.url());
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Envelope>().await.unwrap()
    };
    let accepted = call(&good).await;
    assert_eq!(accepted.status, "Success", "{:?}", accepted.result);
    let cases = [
        ("access_id", json!("")),
        ("access_id", json!("12345")),
        ("access_pwd", json!("wrong")),
        ("action", json!("Send_Fax")),
        ("sCallerID", json!("12125550101")),
        ("sSenderEmail", json!("clinic")),
        ("sFaxType", json!("FINE")),
        ("sToFaxNumber", json!("+12125550100")),
        ("sToFaxNumber", json!("2125550100")),
        ("sToFaxNumber", json!("12125550100|12125550101")),
        ("sAccountCode", json!("0123456789abcdef-1234")),
        ("sRetries", json!("3")),
        ("sFaxFromHeader", json!("x".repeat(31))),
        ("sNotifyURL", json!("/hook")),
        ("sFileName_1", json!("fax")),
        ("sFileContent_1", json!("")),
        ("sFileContent_1", json!("%PDF")),
        ("sResolution", json!("fine")),
        ("sRetries", json!([0])),
    ];
    for (key, value) in cases {
        let mut body = good.clone();
        body[key] = value;
        assert_eq!(call(&body).await.status, "Failed", "{key}: {}", body[key]);
    }
    for more in [json!({"sPeriod": "DAY"}), json!({"sPeriod": "RANGE", "sStartDate": "20260101"})] {
        let mut body = json!({ "action": "Get_Fax_Outbox", "access_id": 1, "access_pwd": TOKEN });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(call(&body).await.status, "Failed", "{body}");
    }
    let inbound = json!({
        "action": "Delete_Fax", "access_id": 1, "access_pwd": TOKEN, "sDirection": "IN", "sFaxDetailsID_1": "1",
    });
    assert_eq!(call(&inbound).await.status, "Failed");
    assert_eq!(stage.simulator.faxes().len(), 1);
}

#[test]
fn codes_are_those_of_the_fact_sheet() {
    let lines = testing::sheet(include_str!("../../../fixtures/providers/srfax.csv"));
    for [kind, code, class] in &lines {
        match *kind {
            "Sent" => assert_eq!(
                (end(json!({"SentStatus": "Sent", "Pages": "3"})), *class),
                ("delivered 3".into(), "delivered")
            ),
            "Failed" => assert_eq!(cause_of(code), Some(cause_of_class(class)), "{code}"),
            _ => assert_eq!(refusal(code).map(|(_, cause)| cause), Some(cause_of_class(class)), "{code}"),
        }
    }
    for (code, _) in CODES {
        assert!(lines.iter().any(|[kind, known, _]| *kind == "Failed" && known == code), "{code}");
    }
}

fn end(record: Value) -> String {
    let record: Record = serde_json::from_value(record).unwrap();
    record.status().map_or("nonsense".into(), |status| end_word(&status))
}

#[test]
fn records_and_how_they_end() {
    let table = [
        (json!({"SentStatus": "In Progress"}), "working"),
        (json!({"SentStatus": "Sending Email", "Pages": 3}), "working"),
        (json!({"SentStatus": "Sent", "Pages": 3}), "delivered 3"),
        (json!({"SentStatus": "Failed", "ErrorCode": "busy "}), "retry busy 0"),
        // Whatever it counts as pages there: a busy line took none.
        (json!({"SentStatus": "Failed", "ErrorCode": "Busy", "Pages": 3}), "retry busy 0"),
        (json!({"SentStatus": "Failed", "ErrorCode": "All lines busy", "Pages": 0}), "retry unknown 0"),
        (
            json!({"SentStatus": "Failed", "ErrorCode": "No HttpAnswer after page 2", "Pages": "2"}),
            "retry partly_sent 2",
        ),
        (json!({"SentStatus": "Failed", "ErrorCode": "", "Pages": ""}), "retry unknown 0"),
        (json!({"SentStatus": "Failed", "Pages": -1}), "retry unknown 0"),
        (json!({"SentStatus": "Unknown"}), "nonsense"),
        (json!({"SentStatus": ""}), "nonsense"),
    ];
    for (record, expected) in table {
        assert_eq!(end(record.clone()), expected, "{record}");
    }
}

#[test]
fn what_the_outbox_says() {
    let number = FaxNumber::from_e164("+12125550100").unwrap();
    let since = Timestamp::from_second(1_790_000_000).unwrap();
    let sought = Sought { reference: "job-1", kept: None, number: &number, since, forgotten: false };
    let judged = |list: Value| searched(&judge_list(serde_json::from_value(list).unwrap(), &sought));
    let fax = |name: &str, status: &str, code: &str| json!({ "FileName": name, "SentStatus": status, "AccountCode": code, "ErrorCode": "Busy", "Pages": 3 });
    assert_eq!(judged(json!([])), "not listed");
    assert_eq!(judged(json!([fax("a|1", "Sent", "job-12"), fax("b|2", "Sent", "")])), "may be 2");
    // Without an account code only another number or time is somebody else's.
    let bare = |number: &str, sent: Value| json!([{ "FileName": "c|3", "SentStatus": "Sent", "ToFaxNumber": number, "EpochTime": sent }]);
    assert_eq!(judged(bare("12125550100", json!("1790000060"))), "may be 3");
    assert_eq!(judged(bare("12125550100", json!(1_789_999_000))), "not listed", "sent before");
    assert_eq!(judged(bare("12125550199", json!("1790000060"))), "not listed");
    assert_eq!(judged(bare("", Value::Null)), "may be 3");
    assert_eq!(judged(json!([fax("a|1", "Failed", "job-1"), fax("b|2", "Sent", "job-1")])), "2 delivered 3");
    assert_eq!(
        judged(json!([fax("a|1", "Failed", "job-1"), fax("b|2", "In Progress", "job-1")])),
        "2 working"
    );
    assert_eq!(judged(json!([fax("a", "Sent", "job-1")])), "cannot tell");
    assert_eq!(judged(json!([fax("a|1", "New", "job-1")])), "cannot tell");
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (200, None, r#"{"Status":"Success","Result":"423211375"}"#, "taken"),
        (200, None, r#"{"Status":"Success","Result":423211375}"#, "taken"),
        (200, None, r#"{"Status":"Success","Result":""}"#, "unknown"),
        (200, None, r#"{"Status":"Success"}"#, "unknown"),
        (200, None, r#"{"Status":"Success","Result":{}}"#, "unknown"),
        (200, None, r#"{"Status":"Perhaps","Result":"1"}"#, "unknown"),
        (200, None, r#"{"Status":"Failed","Result":"Invalid Fax Type / "}"#, "refused unknown"),
        (200, None, r#"{"Status":"Failed","Result":"No Files to Fax /"}"#, "refused document_refused"),
        (
            200,
            None,
            r#"{"Status":"Failed","Result":"Invalid CallerID provided / "}"#,
            "not sent account_trouble",
        ),
        (
            200,
            None,
            r#"{"Status":"Failed","Result":"Invalid Senders Email Address /"}"#,
            "not sent account_trouble",
        ),
        (
            200,
            None,
            r#"{"Status":"Failed","Result":"Forbidden: Access is denied / Invalid Authentication."}"#,
            "not sent account_trouble",
        ),
        (200, None, r#"{"Status":"Failed","Result":"ACCESS DENIED"}"#, "not sent account_trouble"),
        (200, None, r#"{"Status":"Failed","Result":"something new"}"#, "refused unknown"),
        (200, None, r#"{"Status":"Failed"}"#, "unknown"),
        (200, None, "<html>", "unknown"),
        (201, None, r#"{"Status":"Success","Result":"423211375"}"#, "unknown"),
        (302, None, "", "unknown"),
        (400, None, r#"{"Status":"Failed","Result":"No Files to Fax /"}"#, "unknown"),
        (404, None, "<html>", "unknown"),
        (403, None, "<html>", "not sent account_trouble"),
        (429, Some(7), "", "not sent rate_limited 7s"),
        (500, None, "", "unknown"),
        (503, Some(7), "", "unknown"),
    ];
    judged(table, judge_submit);
}

#[test]
fn unknown_texts_stay_out_of_the_log() {
    let text = "Invalid Fax Number 12125550100 / fax@clinic.example";
    assert!(!failed(text).contains("0100") && !failed(text).contains('@'));
}
