//! The adapter against the simulator's Telnyx face, and against answers that the face does not give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;

use jiff::SignedDuration;

use super::*;
use crate::delivery::testing::{
    self, CALLER, KEY, REFERENCE, Slip, TOKEN, cause_of_class, end_word, now, pdf, word,
};
use crate::job::{Outcome, Report};
use crate::simulator::script;
use crate::simulator::server::Options;

fn keys(url: &str, timeout: Duration) -> String {
    format!(
        "kind = \"telnyx\"\nurl = \"{url}\"\ntoken = \"env:T\"\naccount = \"1293384261075731499\"\ntimeout = \"{} ms\"",
        timeout.as_millis()
    )
}

fn adapter(url: &str, token: &str, timeout: Duration) -> Box<dyn Provider> {
    testing::adapter(&keys(url, timeout), token).unwrap()
}

async fn listen(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

/// Stands in for the bridge's own media host: a fax of three pages, and ways not to get it.
async fn media_host() -> String {
    let chunked = async || Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(pdf(3)))]));
    listen(
        Router::new()
            .route("/fax.pdf", get(async || pdf(3)))
            .route("/nonsense.pdf", get(async || "no PDF at all"))
            .route("/endless.pdf", get(chunked))
            .route("/moved.pdf", get(async || (StatusCode::FOUND, [(LOCATION, "/fax.pdf")]))),
    )
    .await
}

/// A simulator with the adapter, and the media host.
struct Stage {
    inner: testing::Stage,
    media: String,
}

impl std::ops::Deref for Stage {
    type Target = testing::Stage;

    fn deref(&self) -> &testing::Stage {
        &self.inner
    }
}

impl Stage {
    async fn set(change: impl FnOnce(&mut Options)) -> Stage {
        let keys = |url: &str| keys(&format!("{url}/telnyx"), Duration::from_secs(20));
        Stage { inner: testing::Stage::set(keys, change).await, media: media_host().await }
    }

    fn url(&self) -> String {
        format!("{}/telnyx", self.simulator.url())
    }

    async fn send(&self, number: &str, reference: &str) -> Result<Taken, SubmitError> {
        self.send_by(self.adapter.as_ref(), number, reference, "/fax.pdf").await
    }

    async fn send_by(
        &self,
        adapter: &dyn Provider,
        number: &str,
        reference: &str,
        path: &str,
    ) -> Result<Taken, SubmitError> {
        let (hook, media) = (format!("{}?ref={reference}", self.hook), format!("{}{path}", self.media));
        let slip = Slip { hook: Some(&hook), media: Some(&media), ..Slip::new(number, reference, &pdf(3)) };
        adapter.submit(slip.order(stream::empty())).await
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

/// For each ending: what the submits of one job come to, one after the other, and how the last of them ends. No pages: Telnyx
/// tells them by webhook only.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    ("00", &[("taken", "delivered 0")]),
    ("10", &[("taken", "retry busy 0"), ("taken", "delivered 0")]),
    ("11", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "delivered 0")]),
    ("12", &[("taken", "retry busy 0"), ("taken", "retry busy 0"), ("taken", "retry busy 0")]),
    ("13", &[("taken", "retry no_answer 0")]),
    // Telnyx does not tell a voice from silence.
    ("14", &[("taken", "retry not_a_fax 0")]),
    ("15", &[("taken", "refused not_in_service 0")]),
    ("16", &[("taken", "retry partly_sent 0")]),
    ("17", &[("refused document_refused", "")]),
    ("18", &[("not sent rate_limited 1s", ""), ("not sent rate_limited 1s", ""), ("taken", "delivered 0")]),
    ("19", &[("unknown", "delivered 0")]),
    // 20 has a test of its own: its client must not wait long.
    ("21", &[("taken", "delivered 0")]),
    ("22", &[("taken", "delivered 0")]),
    ("23", &[("taken", "delivered 0")]),
    ("24", &[("unknown", "delivered 0")]),
    // Nowhere does Telnyx promise that it took nothing when it answers 503.
    ("25", &[("unknown", ""), ("unknown", ""), ("taken", "delivered 0")]),
    // 26: see the test of the lagging list.
    ("27", &[("taken", "retry not_a_fax 0"), ("taken", "retry not_a_fax 0")]),
    // Nothing was printed, but nobody at Telnyx says so.
    ("28", &[("taken", "retry partly_sent 0"), ("taken", "delivered 0")]),
    ("29", &[("taken", "retry unknown 0")]),
    ("30", &[("taken", "refused blocked 0")]),
    ("31", &[("taken", "refused document_refused 0")]),
    ("32", &[("not sent account_trouble", "")]),
    ("33", &[("unknown", "delivered 0")]),
    ("34", &[("unknown", ""), ("taken", "delivered 0")]),
    ("35", &[("taken", "working")]),
    ("36", &[("taken", "working")]),
    ("37", &[("taken", "")]),
    ("38", &[("unknown", ""), ("taken", "delivered 0")]),
    ("39", &[("refused number_refused", "")]),
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
    for fax in stage.simulator.faxes() {
        assert_eq!(stage.paper(&fax).is_some(), fax.printed, "{fax:?}");
        assert_eq!(fax.sha256, testing::hex_digest(&pdf(3)), "it was fetched");
        if fax.printed {
            assert_eq!(stage.paper(&fax).unwrap(), pdf(3));
        }
        let order = ["connection_id", "from", "quality"].map(|key| fax.details[key].as_str());
        assert_eq!(order, ["1293384261075731499", CALLER, "high"]);
    }
}

#[tokio::test]
async fn an_answer_later_than_the_client_waits_leaves_it_unknown_and_the_fax_is_there() {
    let stage = Stage::set(|_| {}).await;
    let hasty = adapter(&stage.url(), TOKEN, Duration::from_millis(300));
    let result = stage.send_by(hasty.as_ref(), "+12125550120", REFERENCE, "/fax.pdf").await;
    assert_eq!(word(&result), "unknown");
    stage.simulator.idle().await;
    assert_eq!(stage.end(REFERENCE, "+12125550120").await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_list_that_lags_misses_it_once() {
    let stage = Stage::set(|_| {}).await;
    assert_eq!(word(&stage.send("+12125550126", REFERENCE).await), "unknown");
    stage.simulator.idle().await;
    assert_eq!(stage.find(REFERENCE, "+12125550126").await, None);
    assert_eq!(stage.end(REFERENCE, "+12125550126").await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_document_that_cannot_be_fetched_ends_the_fax_undialled() {
    let stage = Stage::set(|_| {}).await;
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
    let mut stage = Stage::set(|_| {}).await;
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
        let reference = format!("job{ending}-1");
        let taken = stage.send(&format!("+121255501{ending}"), &reference).await.unwrap();
        if ending == "22" {
            assert_eq!(stage.inbox.len(), events.len(), "they came before the answer");
        }
        stage.simulator.idle().await;
        assert_eq!(stage.inbox.len(), events.len(), "{ending}");
        let (now, mut names) = (now(), Vec::new());
        for event in &events {
            let arrived = stage.inner.inbox.recv().await.unwrap();
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
            let refusal = |hook: &Hook<'_>, now| stage.adapter.read_webhook(hook, now).unwrap_err();
            let unsigned = axum::http::HeaderMap::new();
            let bare = Hook { headers: &unsigned, ..arrived.hook() };
            assert_eq!(refusal(&bare, now), WebhookRefusal::Unsigned);
            let forged = [&arrived.body[..], b" "].concat();
            let forged = Hook { body: &forged, ..arrived.hook() };
            assert_eq!(refusal(&forged, now), WebhookRefusal::WrongSignature);
            let later = now + SignedDuration::from_mins(6);
            assert!(matches!(refusal(&arrived.hook(), later), WebhookRefusal::Stale { .. }));
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
    let section = testing::section(&keys("http://127.0.0.1:1", Duration::from_secs(1)));
    let telnyx = Telnyx::new("t", &section, &Secrets::default()).unwrap();
    let headers = axum::http::HeaderMap::new();
    let hook = Hook { url: "", reference: None, headers: &headers, body: b"{}" };
    assert_eq!(telnyx.read_webhook(&hook, now()), Err(WebhookRefusal::NoKey));
    assert!(!telnyx.capabilities().reports_pages);
    let spoiled = Secrets { webhook_key: Some(Zeroizing::new(KEY.to_vec())), ..Secrets::default() };
    assert!(Telnyx::new("t", &section, &spoiled).is_err_and(|fault| fault.starts_with("webhook_key: ")));
}

#[tokio::test]
async fn cancelling_asks_and_the_status_tells() {
    let stage = Stage::set(|_| {}).await;
    let waiting = stage.send("+12125550135", "joba-1").await.unwrap().provider_ref;
    stage.simulator.idle().await;
    assert_eq!(stage.adapter.cancel(&waiting).await, Ok(Cancelled::Asked));
    assert_eq!(end_word(&stage.adapter.status(&waiting).await.unwrap()), "refused cancelled 0");
    assert_eq!(stage.adapter.cancel(&waiting).await, Ok(Cancelled::TooLate));
    let dialled = stage.send("+12125550136", "jobb-1").await.unwrap().provider_ref;
    stage.simulator.idle().await;
    assert_eq!(stage.adapter.cancel(&dialled).await, Ok(Cancelled::Asked));
    assert_eq!(stage.adapter.status(&dialled).await, Ok(Status::Working), "202 is no promise");
    let none = "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0";
    assert_eq!(stage.adapter.cancel(none).await, Ok(Cancelled::NotThere));
    assert_eq!(stage.adapter.status(none).await, Ok(Status::NotThere));
}

#[tokio::test]
async fn deleting_can_be_repeated() {
    let stage = Stage::set(|_| {}).await;
    let id = stage.send("+12125550100", REFERENCE).await.unwrap().provider_ref;
    stage.simulator.idle().await;
    let copies = || std::fs::read_dir(stage.folder.path().join(".copies")).unwrap().count();
    assert_eq!(copies(), 1);
    for _ in 0..2 {
        assert_eq!(stage.adapter.delete(&id).await, Ok(()));
    }
    assert_eq!(copies(), 0);
    assert_eq!(stage.adapter.status(&id).await, Ok(Status::NotThere));
    let waiting = stage.send("+12125550135", "joba-1").await.unwrap().provider_ref;
    assert!(matches!(stage.adapter.delete(&waiting).await, Err(AskError::Nonsense { .. })), "not confirmed");
}

#[tokio::test]
async fn a_wrong_token_or_url_proves_nothing() {
    let stage = Stage::set(|_| {}).await;
    assert_eq!(stage.adapter.check().await, Ok(()));
    let stranger = adapter(&stage.url(), "guess", Duration::from_secs(5));
    let result = stage.send_by(stranger.as_ref(), "+12125550100", REFERENCE, "/fax.pdf").await;
    assert_eq!(word(&result), "not sent account_trouble");
    assert_eq!(stranger.check().await.unwrap_err().key, "token");
    assert!(matches!(stranger.status("x").await, Err(AskError::Account { .. })));
    let lost = adapter(&format!("{}/elsewhere/", stage.simulator.url()), TOKEN, Duration::from_secs(5));
    assert_eq!(lost.check().await.unwrap_err().key, "url");
    assert!(matches!(lost.status("x").await, Err(AskError::Nonsense { .. })));
    assert!(matches!(lost.delete("x").await, Err(AskError::Nonsense { .. })));
    assert!(matches!(lost.cancel("x").await, Err(AskError::Nonsense { .. })));
    let found = testing::find(lost.as_ref(), REFERENCE, "+12125550100").await;
    assert!(matches!(found, Err(AskError::Nonsense { .. })));
    let result = stage.send_by(lost.as_ref(), "+12125550100", REFERENCE, "/fax.pdf").await;
    assert_eq!(word(&result), "unknown");
    assert_eq!(stage.simulator.faxes(), []);
    let nobody = adapter("http://127.0.0.1:1", TOKEN, Duration::from_secs(5));
    let result = stage.send_by(nobody.as_ref(), "+12125550100", REFERENCE, "/fax.pdf").await;
    assert_eq!(word(&result), "not sent provider_trouble");
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
    let url = listen(Router::new().route(
        "/v2/faxes",
        get(async move |axum::extract::RawQuery(query): axum::extract::RawQuery| page(query.unwrap())),
    ))
    .await;
    let telnyx = adapter(&url, TOKEN, Duration::from_secs(5));
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
    for (status, wait, body, expected) in table {
        let answer = Answer {
            status: StatusCode::from_u16(*status).unwrap(),
            headers: wait
                .map(|seconds: i64| (reqwest::header::RETRY_AFTER, seconds.into()))
                .into_iter()
                .collect(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(word(&judge_submit(&answer, &state)), *expected, "{status} {body}");
    }
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
    let sheet = include_str!("../../../fixtures/providers/telnyx.csv");
    let sheet: BTreeMap<&str, Cause> = sheet
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!((fields.len(), fields[0]), (3, ""), "{line}");
            (fields[1], cause_of_class(fields[2]))
        })
        .collect();
    let codes: BTreeMap<&str, Cause> = codes::CODES.iter().copied().collect();
    assert_eq!(codes, sheet);
    assert_eq!(codes.len(), codes::CODES.len(), "each stands once");
    assert_eq!(codes::cause_of("carrier_lost"), Cause::PartlySent, "how far it came is not told");
    assert_eq!(codes::cause_of("user_busy"), Cause::Busy);
    assert_eq!(codes::cause_of("general_disturbance"), Cause::Unknown);
}
