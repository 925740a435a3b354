//! The adapter against the simulator's face of Phaxio, over real HTTP.

use std::collections::{BTreeSet, HashMap};

use axum::http::HeaderMap;
use jiff::SignedDuration;
use reqwest::multipart::Part;

use super::*;
use crate::delivery::testing::{
    self, Account, Arrived, KEY, REFERENCE, Row, Stage, TOKEN, cause_of_class, end_word, form_of, judged,
    now, pdf, posted, searched, send, tap,
};

const ACCOUNT: Account = Account {
    path: "/phaxio",
    keys: "kind = \"phaxio\"\nlogin = \"key\"\npassword = \"env:P\"",
    shows_pages: 3,
};

/// A voice is not told from a mute machine (14), nor how many pages arrived (16; 28, where no page
/// was sent and the API cannot say so); a refusal has no code: what is wrong stands in its text
/// only (17).
const OTHERS: &[Row] = &[
    ("14", &[("taken", "retry not_a_fax 0")]),
    ("16", &[("taken", "retry partly_sent 0")]),
    ("17", &[("refused unknown", "")]),
    ("28", &[("taken", "retry partly_sent 0"), ("taken", "delivered 3")]),
];

#[tokio::test]
async fn every_line_of_the_table() {
    Stage::open(ACCOUNT).await.every_line_of_the_table(OTHERS).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_and_a_list_that_lags_leave_it_unknown() {
    let stage = Stage::open(ACCOUNT).await;
    stage.answers_too_late(300).await;
    // The list by tag does not show it yet; that by number does, with its tag.
    assert!(matches!(stage.list_lags().await, Search::Found(_)));
}

#[tokio::test]
async fn what_is_sent_is_what_the_vendor_documents() {
    let (url, mut taps) = tap(200, &[r#"{"success":true,"message":"m","data":{"id":323034811}}"#]).await;
    let document = pdf(3);
    let adapter = ACCOUNT.adapter(&url);
    let taken =
        send(adapter.as_ref(), "+12125550100", REFERENCE, &document, Some("https://h.example/x?ref=r")).await;
    assert_eq!(taken, Ok(Taken { provider_ref: "323034811".into() }));
    let sent = taps.recv().await.unwrap();
    assert_eq!(sent.url, "POST /v2.1/faxes");
    let (fields, file) = form_of(&sent);
    let expected = HashMap::from([
        ("to", "+12125550100"),
        ("caller_id", "+12125550101"),
        ("header_text", "Lakeside Family Clinic"),
        ("callback_url", "https://h.example/x?ref=r"),
        ("tag[job]", REFERENCE),
    ]);
    assert_eq!(fields, expected);
    assert_eq!(file, ("file", &document[..]));
}

#[tokio::test]
async fn the_list_is_asked_by_tag_and_time_and_read_page_by_page() {
    let fax =
        |id: &str, tag: &str| format!(r#"{{"id":{id},"status":"inprogress","tags":{{"job":"{tag}"}}}}"#);
    let ours = fax("7", REFERENCE);
    let page = |faxes: &[&str], total: u32| {
        let paging = format!(r#""paging":{{"total":{total},"per_page":100,"page":1}}"#);
        format!(r#"{{"success":true,"message":"m","data":[{}],{paging}}}"#, faxes.join(","))
    };
    let table = [
        // A tag that is not ours proves that the filter does nothing; ours is found all the same.
        (page(&[&fax("6", "other-1"), r#"{"tags":[]}"#, &ours], 3), "7 working"),
        (page(&[&ours], 1), "7 working"),
        (page(&[], 0), "not listed"),
        (r#"{"success":true,"data":[]}"#.to_owned(), "not listed"),
        (page(&[&ours], 1_000_000), "cannot tell"),
        (page(&[&ours.replace("inprogress", "new")], 1), "cannot tell"),
        (page(&[&ours.replace("7", "\"x\"")], 1), "cannot tell"),
        (r#"{"success":false,"message":"m"}"#.to_owned(), "cannot tell"),
        (r#"{"success":true,"message":"m"}"#.to_owned(), "cannot tell"),
        ("<html>".to_owned(), "cannot tell"),
    ];
    for (body, expected) in table {
        let (url, mut taps) = tap(200, &[&body]).await;
        let found = testing::find(ACCOUNT.adapter(&url).as_ref(), REFERENCE, "+12125550100").await;
        assert_eq!(searched(&found), expected, "{body}");
        let asked = taps.recv().await.unwrap().url;
        let start = format!("GET /v2.1/faxes?tag%5Bjob%5D={REFERENCE}&created_after=20");
        assert!(asked.starts_with(&start), "{asked}");
        assert!(asked.ends_with("Z&direction=sent&per_page=100&page=1"), "{asked}");
    }
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end() {
    let page = |id: u32, tag: &str| {
        let fax = format!(r#"{{"id":{id},"status":"queued","tags":{{"job":"{tag}"}}}}"#);
        format!(r#"{{"success":true,"data":[{fax}],"paging":{{"total":101,"per_page":100,"page":{id}}}}}"#)
    };
    let (url, mut taps) = tap(200, &[&page(1, "other-1"), &page(2, REFERENCE)]).await;
    let found = testing::find(ACCOUNT.adapter(&url).as_ref(), REFERENCE, "+12125550100").await;
    assert_eq!(searched(&found), "2 working");
    assert!(taps.recv().await.unwrap().url.ends_with("&page=1"));
    assert!(taps.recv().await.unwrap().url.ends_with("&page=2"));
    assert!(taps.try_recv().is_err(), "no more than there are");
}

#[tokio::test]
async fn webhooks_come_once_twice_early_or_never_and_are_believed_only_when_signed() {
    let mut stage = Stage::open(ACCOUNT).await;
    for (ending, times) in [("00", 1), ("12", 1), ("21", 2), ("22", 1), ("23", 0)] {
        let (taken, reference, webhooks) = stage.webhooks(ending, times).await;
        for arrived in webhooks {
            assert!(arrived.body.windows(5).any(|bytes| bytes == b"%PDF-"), "it brings the document back");
            let expected = News {
                provider_ref: Some(taken.provider_ref.clone()),
                reference: Some(reference.clone()),
                status: Status::Ended(stage.end(&reference, &format!("+121255501{ending}")).await),
            };
            // At any time: there is none in the signature.
            let later = now() + SignedDuration::from_hours(10_000);
            assert_eq!(stage.adapter.read_webhook(&arrived.hook(), later), Ok(vec![expected]));
            let refusal = |hook: &Hook<'_>| stage.adapter.read_webhook(hook, now()).unwrap_err();
            let mut unsigned = arrived.headers.clone();
            unsigned.remove("x-phaxio-signature");
            assert_eq!(refusal(&Hook { headers: &unsigned, ..arrived.hook() }), WebhookRefusal::Unsigned);
            unsigned.insert("x-phaxio-signature", "0".repeat(40).parse().unwrap());
            assert_eq!(
                refusal(&Hook { headers: &unsigned, ..arrived.hook() }),
                WebhookRefusal::WrongSignature
            );
            let elsewhere = Hook { url: "https://other.example/hook", ..arrived.hook() };
            assert_eq!(refusal(&elsewhere), WebhookRefusal::WrongSignature);
            // One byte of the document, one of a field, and a field more.
            let forged = |from: &str, to: &str| {
                let at = memchr::memmem::find(&arrived.body, from.as_bytes()).unwrap();
                [&arrived.body[..at], to.as_bytes(), &arrived.body[at + from.len()..]].concat()
            };
            for body in [
                forged("%PDF-1", "%PDF-2"),
                forged("\"direction\"", "\"directiom\""),
                forged("\r\nsent\r\n", "\r\nreceived\r\n"),
            ] {
                let hook = Hook { body: &body, ..arrived.hook() };
                assert_eq!(refusal(&hook), WebhookRefusal::WrongSignature);
            }
            let cut = Hook { body: &arrived.body[..arrived.body.len() / 2], ..arrived.hook() };
            assert!(matches!(refusal(&cut), WebhookRefusal::Malformed(_)));
        }
    }
    let keyless = Secrets { password: Zeroizing::new(TOKEN.into()), ..Secrets::default() };
    let section = testing::section(&ACCOUNT.section("http://x.example", 1_000));
    let crate::config::Kind::Phaxio(keys) = &section.kind else { panic!("{section:?}") };
    let keyless = Phaxio::new(&section, keys, &keyless).unwrap();
    assert!(!keyless.capabilities().signs_webhooks);
    let hook = Hook { url: "", reference: Some(REFERENCE), headers: &HeaderMap::new(), body: b"" };
    assert_eq!(keyless.read_webhook(&hook, now()), Err(WebhookRefusal::NoKey));
}

/// A webhook of these parts, whose names with a `!` are files, under `signature`.
fn hook(url: &str, parts: &[(&str, &str)], signature: &str) -> Arrived {
    let mut body = String::new();
    for (name, value) in parts {
        let (name, file) = name.strip_suffix('!').map_or((*name, ""), |name| (name, "; filename=\"f\""));
        body.push_str(&format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str("--b--\r\n");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "multipart/form-data; boundary=b".parse().unwrap());
    headers.insert("x-phaxio-signature", signature.parse().unwrap());
    Arrived { url: url.into(), headers, body: body.into() }
}

/// The signature by the recipe of the documentation, by other means than the adapter's: what is
/// signed is written out.
fn sign(key: &[u8], message: &str) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    crate::text::hex(hmac::sign(&key, message.as_bytes()).as_ref())
}

#[test]
fn signatures_made_elsewhere_are_right() {
    // Made with Python's hmac, not with this code.
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[], "ff9a3843f196c71b0ba6e1cd3f33df877674dced"),
        (&[("file!", "%PDF-1.4\n")], "28f2313cd51ba4934de67ca954655210ff52457a"),
    ];
    let url = "https://bridge.example.com/hooks/phaxio?t=1";
    let fields = [
        ("success", "true"),
        ("is_test", "false"),
        ("fax", r#"{"id":42,"status":"success"}"#),
        ("direction", "sent"),
    ];
    for (files, signature) in table {
        let arrived = hook(url, &[*files, &fields].concat(), signature);
        let news = webhook::read(b"tok-test", &arrived.hook()).unwrap();
        let ended = Status::Ended(Report::bare(Outcome::Delivered));
        assert_eq!(news, [News { provider_ref: Some("42".into()), reference: None, status: ended }]);
        assert_eq!(webhook::read(b"tok-tesu", &arrived.hook()), Err(WebhookRefusal::WrongSignature));
    }
}

#[test]
fn what_webhooks_say() {
    let failed = r#""status":"failure","error_type":"lineError","error_id":17,"error_message":"Busy""#;
    let fax = |rest: &str| format!(r#"{{"id":42,"tags":{{"job":"{REFERENCE}"}},{rest}}}"#);
    let failure = fax(failed);
    let working = fax(r#""status":"inprogress""#);
    let new = fax(r#""status":"new""#);
    // Parts, in the order of their names, and the news: reference and how it stands.
    type Case<'a> = (&'a [(&'a str, &'a str)], Result<&'a str, &'a str>);
    let table: &[Case<'_>] = &[
        (&[("fax", &failure)], Ok("0123456789abcdef-1 ended")),
        (&[("fax", &working)], Ok("0123456789abcdef-1 working")),
        (&[("fax", &new)], Ok("0123456789abcdef-1 working")),
        (&[("fax", r#"{"id":42,"status":"queued"}"#)], Ok("from-url working")),
        (&[("direction", "received"), ("fax", &failure)], Ok("")),
        (
            &[
                ("fax[error_id]", "17"),
                ("fax[error_type]", "lineError"),
                ("fax[id]", "42"),
                ("fax[status]", "failure"),
                ("fax[tags][job]", REFERENCE),
            ],
            Ok("0123456789abcdef-1 ended"),
        ),
        (
            &[
                ("fax[error_type]", ""),
                ("fax[id]", "42"),
                ("fax[recipients][0][error_id]", "17"),
                ("fax[recipients][0][error_type]", "lineError"),
                ("fax[status]", "failure"),
            ],
            Ok("from-url ended"),
        ),
        (&[("fax[id]", "x"), ("fax[status]", "success")], Err("it names no fax")),
        (&[("fax", "{}")], Err("a field is missing")),
        (&[("fax", "<html>")], Err("it is no JSON")),
        (&[("success", "true")], Err("it names no fax")),
    ];
    for (parts, expected) in table {
        let signed: String = parts.iter().map(|(name, value)| format!("{name}{value}")).collect();
        let url = "https://h.example/hooks/phaxio?ref=from-url";
        let arrived = hook(url, parts, &sign(KEY, &format!("{url}{signed}")));
        match (webhook::read(KEY, &arrived.hook()), expected) {
            (Ok(news), Ok(expected)) => {
                let words: Vec<String> = news
                    .iter()
                    .map(|news| {
                        assert_eq!(news.provider_ref.as_deref(), Some("42"));
                        let stands = match &news.status {
                            Status::Ended(report) => {
                                assert_eq!(report.raw_code.as_deref(), Some("lineError 17"));
                                assert_eq!(report.outcome, Outcome::Retry(Cause::Busy));
                                "ended"
                            }
                            Status::Working => "working",
                            Status::NotThere => "not there",
                        };
                        format!("{} {stands}", news.reference.as_deref().unwrap_or_default())
                    })
                    .collect();
                assert_eq!(words.concat(), *expected, "{parts:?}");
            }
            (Err(WebhookRefusal::Malformed(why)), Err(expected)) => {
                assert!(why.starts_with(expected), "{parts:?}: {why}");
            }
            (other, _) => panic!("{parts:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn deleting_and_cancelling() {
    let stage = Stage::open(ACCOUNT).await;
    let waiting = stage.send("+12125550135", "joba-1").await.unwrap().provider_ref;
    let refusal = stage.adapter.delete(&waiting).await;
    assert!(matches!(refusal, Err(AskError::Nonsense { .. })), "it has not ended");
    let expected = ["Asked", "Asked", "TooLate", "TooLate", "refused cancelled 0"];
    assert_eq!(stage.cancels().await, expected);
    assert_eq!(stage.adapter.cancel("1").await, Ok(Cancelled::NotThere));
    let done = stage.listed("job00-1", "+12125550100").await.unwrap().provider_ref;
    for _ in 0..2 {
        assert_eq!(stage.adapter.delete(&done).await, Ok(()));
    }
    assert!(stage.simulator.faxes().iter().all(|fax| fax.deleted == (fax.id == done)));
    assert_eq!(stage.adapter.delete("1").await, Ok(()), "gone already is well");
}

#[tokio::test]
async fn wrong_settings_prove_nothing_about_a_fax() {
    let mut stage = Stage::open(ACCOUNT).await;
    stage.wrong_secret("password").await;
    stage.wrong_url("unknown").await;
}

#[tokio::test]
async fn the_face_refuses_what_the_vendor_would() {
    let tags = |count: usize| -> Vec<(String, String)> {
        (0..count).map(|n| (format!("tag[t{n}]"), "x".into())).collect()
    };
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    // What stands in the form beside a good number, and the field that the answer names first.
    let table = [
        (one("to", "+12125550101"), "to"),
        (one("to[]", "+12125550101"), "to"),
        (one("caller_id", "clinic"), "caller_id"),
        (one("headerText", "x"), "headerText"),
        (one("content_url", "https://x.example/a.pdf"), "content_url"),
        (one("tag", "job=1"), "tag"),
        (one("tag[a][b]", "x"), "tag[a][b]"),
        (tags(11), "tag"),
        (one("header_text", &"x".repeat(51)), "header_text"),
        (one("callback_url", "x"), "callback_url"),
        (one("cancel_timeout", "2"), "cancel_timeout"),
        (one("batch_delay", "3601"), "batch_delay"),
        (one("batch_collision_avoidance", "1"), "batch_collision_avoidance"),
        (one("test_fail", "lineError"), "test_fail"),
    ];
    let stage = Stage::open(ACCOUNT).await;
    let url = format!("{}/v2.1/faxes", stage.url());
    let client = reqwest::Client::new();
    let post = |number: Option<&str>, mut fields: Vec<(String, String)>, file| {
        fields.extend(number.map(|number| ("to".to_owned(), number.to_owned())));
        posted(&url, fields, file)
    };
    let file = || Part::bytes(pdf(1)).file_name("fax.pdf");
    let refused = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 422);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body["success"], false);
        body["message"].as_str().unwrap().split(' ').next().unwrap().to_owned()
    };
    let good = Some("+12125550100");
    for (fields, field) in table {
        assert_eq!(refused(post(good, fields, Some(file()))).await, field);
    }
    assert_eq!(refused(post(None, vec![], Some(file()))).await, "to");
    assert_eq!(refused(post(Some("2125550100"), vec![], Some(file()))).await, "to");
    assert_eq!(refused(post(good, vec![], None)).await, "file");
    assert_eq!(refused(post(good, vec![], Some(Part::bytes(pdf(1))))).await, "file", "no filename");
    for (name, value) in
        [("tags[job]", "r"), ("per_page", "1001"), ("created_after", "soon"), ("direction", "received")]
    {
        let question = client.get(&url).basic_auth("key", Some(TOKEN)).query(&[(name, value)]);
        assert_eq!(refused(question).await, name);
    }
    assert_eq!(stage.simulator.faxes(), []);
    assert_eq!(
        post(good, tags(10), Some(file())).send().await.unwrap().status(),
        200,
        "the good one is taken"
    );
    assert_eq!(client.get(&url).bearer_auth(TOKEN).send().await.unwrap().status(), 401);
}

#[test]
fn answers_to_a_submit_and_what_they_prove() {
    let no = r#"{"success":false,"message":"m"}"#;
    let table: &[(u16, Option<i64>, &str, &str)] = &[
        (200, None, r#"{"success":true,"message":"m","data":{"id":1}}"#, "taken"),
        (200, None, r#"{"success":true,"message":"m","data":{"id":"x"}}"#, "unknown"),
        (200, None, r#"{"success":true,"message":"m"}"#, "unknown"),
        (200, None, r#"{"data":{"id":1}}"#, "unknown"),
        (200, None, "<html>", "unknown"),
        // HTTP says yes, the API says no.
        (200, None, no, "refused unknown"),
        (204, None, "", "unknown"),
        (302, None, "", "unknown"),
        (400, None, no, "refused unknown"),
        (422, None, no, "refused unknown"),
        (422, None, "<html>", "unknown"),
        (422, None, r#"{"success":true,"data":{"id":1}}"#, "unknown"),
        (404, None, no, "not sent account_trouble"),
        (404, None, "<html>", "unknown"),
        (408, None, "", "unknown"),
        (401, None, no, "not sent account_trouble"),
        (402, None, no, "not sent account_trouble"),
        (403, None, "", "not sent account_trouble"),
        (429, Some(7), no, "not sent rate_limited 7s"),
        (500, None, no, "unknown"),
        (502, None, "", "unknown"),
        (503, Some(7), no, "unknown"),
        (503, None, no, "unknown"),
        (503, Some(7), "<html>", "unknown"),
        (504, None, no, "unknown"),
    ];
    judged(table, judge_submit);
}

#[test]
fn how_a_fax_stands() {
    let failed = |kind: &str, id: u32| format!(r#""status":"failure","error_type":"{kind}","error_id":{id}"#);
    let table = [
        (r#""status":"queued""#.to_owned(), "working"),
        (r#""status":"pendingbatch""#.to_owned(), "working"),
        (r#""status":"inprogress","num_pages":3"#.to_owned(), "working"),
        (r#""status":"success","num_pages":3"#.to_owned(), "delivered 3"),
        (r#""status":"success","num_pages":"3","recipients":null"#.to_owned(), "delivered 3"),
        (r#""status":"success","num_pages":0"#.to_owned(), "delivered 0"),
        // A fax to one number cannot end so; if it does, somebody may have pages.
        (r#""status":"partialsuccess","num_pages":3"#.to_owned(), "retry partly_sent 0"),
        (r#""status":"failure""#.to_owned(), "retry unknown 0"),
        (failed("lineError", 17), "retry busy 0"),
        (failed("lineError", 50), "refused blocked 0"),
        (failed("lineError", 110), "retry provider_trouble 0"),
        // "Dropped" is not a call that could not be placed.
        (failed("lineError", 11), "retry partly_sent 0"),
        (failed("lineError", 109), "retry partly_sent 0"),
        (failed("faxError", 13), "retry not_a_fax 0"),
        (failed("faxError", 12), "retry partly_sent 0"),
        (failed("faxError", 40), "retry partly_sent 0"),
        (failed("faxError", 46), "retry account_trouble 0"),
        (failed("faxError", 75), "refused cancelled 0"),
        (failed("faxError", 17), "retry unknown 0"),
        (failed("documentConversionError", 57), "refused document_refused 0"),
        (failed("generalError", 17), "retry unknown 0"),
        (failed("fatalError", 17), "retry unknown 0"),
        (failed("lineError", 122), "retry unknown 0"),
        (
            r#""status":"failure","error_type":null,"recipients":[{"error_type":"lineError","error_id":16}]"#
                .to_owned(),
            "retry no_answer 0",
        ),
    ];
    for (fields, expected) in table {
        let fax: FaxView = serde_json::from_str(&format!(r#"{{"id":1,{fields}}}"#)).unwrap();
        assert_eq!(end_word(&status_of(&fax).unwrap()), expected, "{fields}");
    }
    let fax: FaxView = serde_json::from_str(r#"{"id":1,"status":"new"}"#).unwrap();
    assert!(matches!(status_of(&fax), Err(AskError::Nonsense { .. })), "a word that we do not know");
}

#[test]
fn the_table_of_codes_is_that_of_the_fact_sheet() {
    let plain = |kind: &str, code: u32| {
        let shared = SHARED.iter().find(|(ours, _)| *ours == kind);
        let row = CODES.iter().find(|(known, codes, _)| *known == kind && codes.contains(&code));
        shared.map_or(row.map_or(Cause::Unknown, |row| row.2), |(_, theirs)| codes::cause_of(theirs, code))
    };
    let mut known = BTreeSet::new();
    for line in testing::sheet(include_str!("../../../fixtures/providers/phaxio.csv")) {
        let [kind, code, class] = line;
        let code = code.parse().unwrap();
        let expected = cause_of_class(class);
        assert_eq!(plain(kind, code), expected, "{line:?}");
        // Without a count of pages, trouble on the way may have printed some.
        let doubtful =
            expected == Cause::LineTrouble || (expected == Cause::ProviderTrouble && kind != "lineError");
        let judged = if doubtful { Cause::PartlySent } else { expected };
        assert_eq!(cause_of(kind, Some(code)), judged, "{line:?}");
        assert!(known.insert((kind, code)), "{line:?} twice");
    }
    let shared = SHARED.iter().flat_map(|(ours, theirs)| {
        codes::CODES.iter().filter(move |row| row.0 == *theirs).map(move |row| (*ours, row.1))
    });
    let rows = CODES.iter().map(|row| (row.0, row.1)).chain(shared);
    let table: Vec<_> = rows.flat_map(|(kind, codes)| codes.iter().map(move |code| (kind, *code))).collect();
    assert_eq!(
        table.iter().copied().collect::<BTreeSet<_>>().len(),
        table.len(),
        "no code stands there twice"
    );
    for pair in table {
        assert!(known.contains(&pair), "{pair:?} is not of the fact sheet");
    }
}
