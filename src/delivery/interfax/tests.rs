//! The adapter against the simulator's InterFAX face, and against answers that the face does not give.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;

use super::*;
use crate::delivery::testing::{
    self, CALLER, REFERENCE, Slip, TOKEN, cause_of_class, end_word, now, pdf, receiver, send, word,
};
use crate::simulator::script;
use crate::simulator::server::Options;

fn keys(url: &str, timeout: Duration) -> String {
    format!(
        "kind = \"interfax\"\nurl = \"{url}\"\nlogin = \"clinic\"\npassword = \"env:P\"\ntimeout = \"{} ms\"",
        timeout.as_millis()
    )
}

fn adapter(url: &str, password: &str, timeout: Duration) -> Box<dyn Provider> {
    testing::adapter(&keys(url, timeout), password).unwrap()
}

/// A simulator with the adapter.
struct Stage(testing::Stage);

impl std::ops::Deref for Stage {
    type Target = testing::Stage;

    fn deref(&self) -> &testing::Stage {
        &self.0
    }
}

impl Stage {
    async fn set(change: impl FnOnce(&mut Options)) -> Stage {
        let keys = |url: &str| keys(&format!("{url}/interfax"), Duration::from_secs(20));
        Stage(testing::Stage::set(keys, change).await)
    }

    fn url(&self) -> String {
        format!("{}/interfax", self.simulator.url())
    }

    async fn find(&self, reference: &str, number: &str) -> Option<Found> {
        match testing::find(self.adapter.as_ref(), reference, number).await.unwrap() {
            Search::Found(found) => Some(found),
            Search::NotListed => None,
            Search::NeverSent => panic!("this provider cannot know that"),
            Search::Undecided(silent) => panic!("undecided: {silent:?}"),
        }
    }
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
    // Nowhere does InterFAX promise that it took nothing when it answers 503.
    ("25", &[("unknown", ""), ("unknown", ""), ("taken", "delivered 3")]),
    // 26: see the test of the lagging list.
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
    ("39", &[("refused unknown", "")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    let stage = Stage::set(|_| {}).await;
    let endings: Vec<&str> =
        script::TABLE.iter().map(|row| row.ending).filter(|ending| !["20", "26"].contains(ending)).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|(ending, _)| *ending).collect();
    assert_eq!(endings, expected, "every line is tested");
    for (ending, tries) in EXPECTED {
        let number = format!("+121255501{ending}");
        for (index, (submit, end)) in tries.iter().enumerate() {
            let reference = format!("job{ending}-{}", index + 1);
            let result = stage.send(&number, &reference).await;
            assert_eq!(word(&result), *submit, "{reference}: {result:?}");
            stage.simulator.idle().await;
            let found = stage.find(&reference, &number).await;
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
    let order = [
        ("csid", CALLER),
        ("retriesToPerform", "1"),
        ("pageHeader", "From: Lakeside Family Clinic +12125550101  To: {To}  Pages: {TotalPages}"),
        ("resolution", "fine"),
        ("rendering", "bw"),
    ];
    for fax in stage.simulator.faxes() {
        assert_eq!(stage.paper(&fax).is_some(), fax.printed, "{fax:?}");
        assert_eq!(fax.sha256, testing::hex_digest(&pdf(3)));
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
    let stage = Stage::set(|_| {}).await;
    let hasty = adapter(&stage.url(), TOKEN, Duration::from_millis(300));
    let result = send(hasty.as_ref(), "+12125550120", REFERENCE, &pdf(3), None).await;
    assert_eq!(word(&result), "unknown");
    stage.simulator.idle().await;
    assert_eq!(stage.end(REFERENCE, "+12125550120").await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    let stage = Stage::set(|_| {}).await;
    assert_eq!(word(&stage.send("+12125550126", REFERENCE).await), "unknown");
    stage.simulator.idle().await;
    // The search by reference does not show it yet, that by number does: nothing is certain then.
    let search = testing::find(stage.adapter.as_ref(), REFERENCE, "+12125550126").await.unwrap();
    assert!(matches!(search, Search::Undecided(_)), "{search:?}");
    assert_eq!(stage.end(REFERENCE, "+12125550126").await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn callbacks_go_where_the_panel_says_and_are_hints() {
    let (hook, mut inbox) = receiver(0).await;
    let stage = Stage::set(|options| options.interfax_callback = Some(hook)).await;
    for (ending, times) in [("00", 1), ("21", 2), ("22", 1), ("23", 0)] {
        let taken = stage.send(&format!("+121255501{ending}"), &format!("job{ending}-1")).await.unwrap();
        if ending == "22" {
            assert_eq!(inbox.len(), 1, "it came before the answer");
        }
        stage.simulator.idle().await;
        assert_eq!(inbox.len(), times, "{ending}");
        for _ in 0..times {
            let arrived = inbox.recv().await.unwrap();
            let provider_ref = Some(taken.provider_ref.clone());
            let hint = News { provider_ref, reference: None, status: Status::Working };
            assert_eq!(stage.adapter.read_webhook(&arrived.hook(), now()), Ok(vec![hint]));
        }
    }
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
    let stage = Stage::set(|_| {}).await;
    let waiting = stage.send("+12125550135", "joba-1").await.unwrap().provider_ref;
    assert_eq!(stage.adapter.cancel(&waiting).await, Ok(Cancelled::Asked));
    assert_eq!(end_word(&stage.adapter.status(&waiting).await.unwrap()), "refused cancelled 0");
    assert_eq!(stage.adapter.cancel(&waiting).await, Ok(Cancelled::TooLate));
    let dialled = stage.send("+12125550136", "jobb-1").await.unwrap().provider_ref;
    stage.simulator.idle().await;
    assert_eq!(stage.adapter.cancel(&dialled).await, Ok(Cancelled::TooLate));
    assert_eq!(stage.adapter.cancel("123").await, Ok(Cancelled::TooLate), "one word for both");
    assert_eq!(stage.adapter.status("123").await, Ok(Status::NotThere));
    assert!(!stage.adapter.capabilities().deletes);
    assert_eq!(stage.adapter.delete(&dialled).await, Err(AskError::Unsupported));
}

#[tokio::test]
async fn a_wrong_password_or_url_proves_nothing() {
    let stage = Stage::set(|_| {}).await;
    assert_eq!(stage.adapter.check().await, Ok(()));
    let stranger = adapter(&stage.url(), "guess", Duration::from_secs(5));
    let result = send(stranger.as_ref(), "+12125550100", REFERENCE, &vec![b'x'; 3 << 20], None).await;
    assert_eq!(word(&result), "not sent account_trouble");
    assert_eq!(stranger.check().await.unwrap_err().key, "password");
    assert!(matches!(stranger.status("1").await, Err(AskError::Account { .. })));
    let lost = adapter(&format!("{}/elsewhere/", stage.simulator.url()), TOKEN, Duration::from_secs(5));
    assert_eq!(lost.check().await.unwrap_err().key, "url");
    assert!(matches!(lost.status("1").await, Err(AskError::Nonsense { .. })));
    assert!(matches!(lost.cancel("1").await, Err(AskError::Nonsense { .. })));
    let found = testing::find(lost.as_ref(), REFERENCE, "+12125550100").await;
    assert!(matches!(found, Err(AskError::Nonsense { .. })));
    let result = send(lost.as_ref(), "+12125550100", REFERENCE, &pdf(3), None).await;
    assert_eq!(word(&result), "unknown");
    let nobody = adapter("http://127.0.0.1:1", TOKEN, Duration::from_secs(5));
    let result = send(nobody.as_ref(), "+12125550100", REFERENCE, &pdf(3), None).await;
    assert_eq!(word(&result), "not sent provider_trouble");
    assert_eq!(stage.simulator.faxes(), []);
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
    for pieces in faulty {
        let slip = Slip::new("+12125550100", REFERENCE, &whole);
        let order = slip.order(stream::iter(pieces));
        assert_eq!(word(&stage.adapter.submit(order).await), "not sent provider_trouble");
    }
    assert_eq!(stage.simulator.faxes(), []);
    let large = vec![b'x'; 20_000_001];
    let result = send(stage.adapter.as_ref(), "+12125550100", REFERENCE, &large, None).await;
    assert_eq!(word(&result), "refused document_refused");
}

#[tokio::test]
async fn what_a_search_brings_must_be_what_was_sought() {
    let fax = |status: i64, number: &str, time: &str| serde_json::json!({ "id": 7 + status.rem_euclid(2), "status": status, "destinationFax": number, "submitTime": time });
    let (ours, soon) = ("0012125550100", now().strftime("%Y-%m-%dT%H:%M:%S").to_string());
    let nonsense = "nonsense";
    let table = [
        (vec![], "not listed"),
        (vec![fax(-3, ours, &soon)], "working"),
        (vec![fax(-22, ours, &soon)], "working"),
        (vec![fax(6017, ours, &soon), fax(-1, ours, &soon)], "working"),
        (vec![fax(-1, ours, &soon), fax(0, ours, &soon), fax(6017, ours, &soon)], "delivered 0"),
        (vec![fax(0, "0012125550199", &soon)], nonsense),
        (vec![fax(0, ours, "2016-10-03T00:36:41")], nonsense),
        // What it does not say contradicts nothing.
        (vec![fax(0, "12125550100", &soon)], "delivered 0"),
        (vec![fax(0, ours, "yesterday")], "delivered 0"),
        (vec![serde_json::json!({ "id": 7, "status": 0 })], "delivered 0"),
    ];
    for (list, expected) in table {
        let body = serde_json::Value::from(list).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = body.clone();
        let router = Router::new().route("/outbound/search", get(async move || answer));
        tokio::spawn(axum::serve(listener, router).into_future());
        let interfax = adapter(&url, TOKEN, Duration::from_secs(5));
        let found = match testing::find(interfax.as_ref(), REFERENCE, "+12125550100").await {
            Ok(Search::Found(found)) => end_word(&found.status),
            Ok(Search::NotListed) => "not listed".into(),
            Err(AskError::Nonsense { .. }) => nonsense.into(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let http = Http::new("https://rest.example/base/", Duration::from_secs(1)).unwrap();
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
        let answer = Answer {
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
    let sheet = include_str!("../../../fixtures/providers/interfax.csv");
    let sheet: BTreeMap<i64, Cause> = sheet
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!((fields.len(), fields[0]), (3, ""), "{line}");
            (fields[1].parse().unwrap(), cause_of_class(fields[2]))
        })
        .collect();
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
