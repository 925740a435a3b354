//! The contract with the vendors: what the adapters really send is held against a description of each API
//! (`fixtures/api`), by a peer that knows nothing else (`contract/peer.py`).
//!
//! The simulator shows that adapters understand answers; it was written by the same hands, so it may share their
//! misunderstandings of requests. The descriptions are the second opinion: reduced from the vendors' own to the
//! operations and fields that we may use. Every request must be valid, and every operation of the description must have
//! been used, so that nothing stands there that is not tested.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use faxbridge::config;
use faxbridge::delivery::{AskError, Keep, Order, Provider, Secrets, Sought, SubmitError, Taken, build};
use faxbridge::job::FaxNumber;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use peer::{Peer, Verdict};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use zeroize::Zeroizing;

mod peer;

const DOCUMENT: &str = "fixtures/three-pages.pdf";
/// The names in it are those of the examples in the descriptions: adapters compare what comes back.
const REFERENCE: &str = "0123456789abcdef-1";
const NUMBER: &str = "+12125550199";
const CALLER: &str = "+12125550101";
const WEBHOOK: &str = "https://fax.clinic.example/hooks/it/token?ref=0123456789abcdef-1";
/// Asked for where the submit named no fax, so that the other requests are seen all the same.
const NO_FAX: &str = "3f2b8c1e-0a1b-4c2d-8e3f-000000000001";
const MEDIA: &str = "https://fax.clinic.example/media/once.pdf";

/// A provider, and how it is configured but for its URL.
struct Vendor {
    description: &'static str,
    /// What its API answers, where the description does not say.
    answers: Option<&'static str>,
    keys: &'static str,
    /// Credentials of the kind that it wants; which ones, no description knows.
    authorization: &'static str,
}

impl Vendor {
    /// Its section of the configuration, with the API at `url`.
    fn section(&self, url: &str) -> config::Provider {
        toml::from_str(&format!("url = \"{url}\"\n{}", self.keys)).unwrap()
    }

    fn adapter(&self, url: &str) -> Box<dyn Provider> {
        let secret = || Zeroizing::new("secret".to_owned());
        let secrets = Secrets { token: secret(), password: secret(), webhook_key: None };
        build("it", &self.section(url), &secrets).unwrap()
    }
}

const SINCH: Vendor = Vendor {
    description: "fixtures/api/sinch.yaml",
    answers: Some("tests/parts/contract/sinch-answers.yaml"),
    keys: r#"
        kind = "sinch"
        account = "00000000-0000-4000-8000-000000000001"
        login = "key-id"
        password = "file:/x"
    "#,
    authorization: "Basic a2V5OnNlY3JldA==",
};

const TELNYX: Vendor = Vendor {
    description: "fixtures/api/telnyx.yaml",
    answers: Some("tests/parts/contract/telnyx-answers.yaml"),
    keys: r#"
        kind = "telnyx"
        account = "1293384261075731499"
        token = "file:/x"
        from = "+12125550101"
    "#,
    authorization: "Bearer secret",
};

#[tokio::test]
async fn sinch_gets_what_its_api_describes() {
    holds(&SINCH).await;
}

#[tokio::test]
async fn telnyx_gets_what_its_api_describes() {
    holds(&TELNYX).await;
}

async fn holds(vendor: &Vendor) {
    let peer = Peer::open(vendor.description, vendor.answers).await;
    let adapter = vendor.adapter(&peer.url());
    let results = everything(adapter.as_ref(), vendor).await;
    let verdicts = peer.verdicts();
    let faults: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.faults.is_empty()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for (what, result) in results {
        assert_eq!(result, Ok(()), "{what}");
    }
    let used: BTreeSet<String> = verdicts.iter().filter_map(|verdict| verdict.operation.clone()).collect();
    assert_eq!(used, peer.operations(), "what is described is what is used");

    let sent = &verdicts[0];
    let body = sent.body.to_string();
    let named = body.contains(REFERENCE) || body.contains(&STANDARD.encode(REFERENCE));
    assert!(named && body.contains(NUMBER) && body.contains(CALLER), "{body}");
    if adapter.capabilities().fetches {
        assert!(body.contains(MEDIA) && sent.files.is_empty(), "{sent:?}");
    } else {
        let hashes: Vec<_> = sent.files.iter().map(|file| (file.bytes, &*file.sha256)).collect();
        let hash: String = digest::digest(&digest::SHA256, &document())
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hashes, [(document().len(), &*hash)], "the document, once and whole");
    }
    breaks(&peer, sent, vendor).await;
}

fn document() -> Vec<u8> {
    std::fs::read(DOCUMENT).unwrap()
}

/// The shortest order: the document in small pieces, and neither caller nor webhook.
fn order(number: &FaxNumber) -> Order<'_> {
    let pieces: Vec<_> = document().chunks(500).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Order {
        reference: REFERENCE,
        number,
        pages: 3,
        bytes: document().len() as u64,
        sha256: "",
        document: stream::iter(pieces).boxed(),
        media_url: None,
        webhook_url: None,
        caller: None,
        header: "",
        time_zone: "America/New_York",
        keep: &Nowhere,
    }
}

/// Keeps nothing: none of these providers names a fax before it takes it.
struct Nowhere;

impl Keep for Nowhere {
    fn keep<'a>(&'a self, _provider_ref: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(std::future::ready(Err("not here".to_owned())))
    }
}

/// Everything that an adapter can be asked, and whether it was content with the answer.
async fn everything(adapter: &dyn Provider, vendor: &Vendor) -> Vec<(&'static str, Result<(), String>)> {
    let can = adapter.capabilities();
    let number = FaxNumber::from_e164(NUMBER).unwrap();
    let media = can.fetches.then_some(MEDIA);
    let full = Order {
        media_url: media,
        webhook_url: Some(WEBHOOK),
        caller: Some(CALLER),
        header: "Lakeside Family Clinic, a name that is longer than any header line has room for",
        time_zone: "America/New_York",
        ..order(&number)
    };
    let taken = adapter.submit(full).await;
    let needs_caller = vendor.section("http://x").facts().needs_from;
    let least = Order { media_url: media, caller: needs_caller.then_some(CALLER), ..order(&number) };
    let least = adapter.submit(least).await;
    let id = taken.as_ref().map_or(NO_FAX, |taken| &taken.provider_ref).to_owned();
    let sought = Sought {
        reference: REFERENCE,
        kept: None,
        number: &number,
        since: Timestamp::UNIX_EPOCH,
        forgotten: false,
    };
    let told = |result: Result<Taken, SubmitError>| result.map(drop).map_err(|error| error.to_string());
    let mut results = vec![
        ("submit with all fields", told(taken)),
        ("submit with the least", told(least)),
        ("status", said(adapter.status(&id).await, true)),
        ("find", said(adapter.find(sought).await, can.finds_by_reference)),
        ("cancel", said(adapter.cancel(&id).await, can.cancels)),
        ("delete", said(adapter.delete(&id).await, can.deletes)),
    ];
    results.push(("check", adapter.check().await.map_err(|fault| fault.to_string())));
    results
}

/// An answer, or the admission that there is none where the adapter says that it cannot.
fn said<T>(result: Result<T, AskError>, can: bool) -> Result<(), String> {
    match result {
        Err(AskError::Unsupported) if !can => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// The peer can say no: what the adapter sent is sent once more by hand, each time with one thing broken.
async fn breaks(peer: &Peer, sent: &Verdict, vendor: &Vendor) {
    let again = |method: Method| {
        let url = format!("{}{}", peer.url(), sent.path);
        Client::new().request(method, url)
    };
    let signed = |request: RequestBuilder| request.header("authorization", vendor.authorization);
    let with = |name: &str, value: Option<Value>| {
        let mut body = sent.body.clone();
        let fields = body.as_object_mut().unwrap();
        match value {
            Some(value) => fields.insert(name.into(), value),
            None => fields.remove(name),
        };
        body
    };
    let post = || again(Method::from_bytes(sent.method.as_bytes()).unwrap());
    for (request, fault) in [
        (filled(signed(post()), sent, &sent.body), None),
        (filled(post(), sent, &sent.body), Some("security: needs")),
        (filled(signed(post()), sent, &with("surplus", Some(json!("x")))), Some("'surplus' ")),
        (filled(signed(post()), sent, &with("to", None)), Some("'to' is a required property")),
        (signed(post()).body("to=+12125550199"), Some("content type: None is not among")),
        (filled(signed(again(Method::PUT)), sent, &sent.body), Some("method: PUT is not among")),
        (signed(Client::new().get(format!("{}/fax", peer.base()))), Some("path: not in the description")),
    ] {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        match fault {
            None => assert!((200..300).contains(&status), "the unbroken one: {text}"),
            Some(fault) => assert!(status == 422 && text.contains(fault), "{fault}: {status} {text}"),
        }
    }
}

/// The request with a body like the one that was sent: of the same kind, with the same files, but these fields.
fn filled(request: RequestBuilder, sent: &Verdict, body: &Value) -> RequestBuilder {
    if sent.content_type.as_deref() == Some("application/json") {
        return request.json(body);
    }
    let mut form = Form::new();
    let files: BTreeSet<&str> = sent.files.iter().map(|file| &*file.name).collect();
    for (name, value) in body.as_object().unwrap() {
        if files.contains(name.as_str()) {
            let part = Part::bytes(document()).file_name("x.pdf").mime_str("application/pdf").unwrap();
            form = form.part(name.clone(), part);
        } else if let Some(inner) = value.as_object() {
            for (key, value) in inner {
                form = form.text(format!("{name}[{key}]"), text(value));
            }
        } else {
            form = form.text(name.clone(), text(value));
        }
    }
    request.multipart(form)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Each kind of fault, at an API that is made for it; with what is right about it in front.
#[tokio::test]
async fn the_peer_tells_each_kind_of_fault() {
    let peer = Peer::open("tests/parts/contract/peer.yaml", None).await;
    let url = |rest: &str| format!("{}{rest}", peer.base());
    let to = |method, rest: &str| Client::new().request(method, url(rest)).basic_auth("key", Some("secret"));
    let json = |body: &str| {
        to(Method::POST, "/faxes").header("content-type", "application/json").body(body.to_owned())
    };
    let file = || Part::bytes(document()).file_name("fax.pdf").mime_str("application/pdf").unwrap();
    let good = || Form::new().text("to", NUMBER).part("file", file());
    let form = |form: Form| to(Method::POST, "/faxes").multipart(form);
    let list = |query: &str| to(Method::GET, &format!("/faxes?{query}"));
    let raw = |body: &str| {
        to(Method::POST, "/faxes")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(body.to_owned())
    };
    let field = "Content-Disposition: form-data; name=\"to\"\r\n\r\n+12125550199";
    let id = "3f2b8c1e-0a1b-4c2d-8e3f-000000000001";
    let cases: Vec<(RequestBuilder, &[&str])> = vec![
        (json(r#"{"to":"+12125550199","media_url":"https://x.example/1"}"#), &[]),
        (json(r#"{"to":"+12125550199","media_name":"x","tries":0,"quiet":false,"labels":{"a":"b"}}"#), &[]),
        (json(r#"{"to":"+12125550199","media_name":"x","media_url":"https://x.example/1"}"#), &["body: "]),
        (json(r#"{"to":"+12125550199"}"#), &["body: "]),
        (
            json(r#"{"to":"12","media_name":"x","tries":"1"}"#),
            &["body.to: '12'", "body.tries: '1' is not of"],
        ),
        (json(r#"{"to":"+12125550199","media_name":"x","tries":6}"#), &["body.tries: 6 is greater"]),
        (
            json(r#"{"to":"+12125550199","media_name":"x","try":1}"#),
            &["body: Additional properties", "'try'"],
        ),
        (json(r#"{"to":"+12125550199","media_url":"/1"}"#), &["body.media_url: '/1' is not a 'uri'"]),
        (json(r#"{"to":"+12125550199","to":"+12125550198","media_name":"x"}"#), &["no JSON: twice: to"]),
        (json("{"), &["body: no JSON"]),
        (to(Method::POST, "/faxes"), &["body: is required"]),
        (
            to(Method::POST, "/faxes").header("content-type", "text/plain").body("x"),
            &["content type: text/plain"],
        ),
        (form(good()), &[]),
        (form(good().text("tries", "0").text("quiet", "false").text("labels[job]", "x-1")), &[]),
        (form(good().text("tries", "none").text("quiet", "no")), &["body.tries: 'none'", "body.quiet: 'no'"]),
        (form(good().text("labels[job]", "x".repeat(21))), &["body.labels.job: ", "too long"]),
        (form(good().text("labels", "x")), &["body.labels: 'x' is not of type 'object'"]),
        (form(good().text("to", NUMBER)), &["'to': stands twice"]),
        (form(good().text("to[x]", NUMBER)), &["'to[x]': is no object"]),
        (form(good().text("labels[", "x")), &["'labels[': brackets do not match"]),
        (form(good().text("tag[a]", "1").text("state", "eA==").part("fax", file())), &[]),
        (
            form(good().text("tag[a]", "x").text("state", "?")),
            &["tag[a]: 'x' is not of", "body.state: '?' is not a"],
        ),
        (form(good().text("tag[1]", "1")), &["body: 'tag' does not match"]),
        (
            form(good().part("fax", file().mime_str("text/plain").unwrap())),
            &["form.fax: text/plain is not among"],
        ),
        (form(good().text("surplus", "x")), &["body: 'surplus' does not match"]),
        (form(good().part("file", file())), &["form.file: stands 2 times"]),
        (form(Form::new().text("to", NUMBER)), &["'file' is a required property"]),
        (
            form(Form::new().text("to", NUMBER).part("file", file().mime_str("text/plain").unwrap())),
            &["form.file: text/plain"],
        ),
        (
            form(Form::new().text("to", NUMBER).text("file", "x")),
            &["form.file: None", "a file without a name"],
        ),
        (form(Form::new().part("to", file()).part("file", file())), &["form.to: a file where a field"]),
        (raw(&format!("--b\r\n{field}\r\n")), &["form: does not begin and end"]),
        (raw(&format!("--b\r\n{field}\r\n--b--\r\n")), &["body: 'file' is a required property"]),
        (list("size=1"), &[]),
        (list("size=1&filter[created_at][gte]=2026-01-15T10:00:00Z"), &[]),
        (
            list("size=1&filter[created_at][gte]=2026-01-15"),
            &["query.filter.created_at.gte: '2026-01-15' is not a"],
        ),
        (
            list("size=1&filter[created_at][lte]=x&page=2"),
            &["'lte' was unexpected", "query.page: not in the"],
        ),
        (list("size=1&size=2"), &["query.size: stands 2 times"]),
        (list("size=101"), &["query.size: 101 is greater"]),
        (list(""), &["query.size: is required"]),
        (to(Method::DELETE, &format!("/faxes/{id}")), &[]),
        (to(Method::DELETE, "/faxes/1"), &["path.id: '1' is not"]),
        (to(Method::DELETE, &format!("/faxes/{id}")).body("x"), &["body: none is described"]),
        (to(Method::GET, &format!("/faxes/{id}")), &["method: GET is not among those of /faxes/{id}"]),
        (to(Method::GET, "/fax"), &["path: not in the description"]),
        (Client::new().delete(url(&format!("/faxes/{id}"))), &["security: needs key"]),
        (Client::new().delete(url(&format!("/faxes/{id}"))).bearer_auth("x"), &["security: needs key"]),
    ];
    let mut wrong = Vec::new();
    for (request, faults) in cases {
        let status = request.send().await.unwrap().status().as_u16();
        let verdict = peer.verdicts().pop().unwrap();
        let told = verdict.faults.join("\n");
        let right = match faults {
            [] => (200..300).contains(&status) && told.is_empty(),
            faults => status == 422 && faults.iter().all(|fault| told.contains(fault)),
        };
        if !right {
            wrong.push(format!("{faults:?} was expected, {status} came: {verdict:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
