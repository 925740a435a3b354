//! The face of Fax.Plus, REST API v3 (<https://apidoc.fax.plus>).
//!
//! | request under `/v3` | answer |
//! | --- | --- |
//! | `POST /accounts/{user}/files` | multipart with one file `fax_file`; `{"path"}` |
//! | `POST /accounts/{user}/outbox` | JSON; 201 and `{"ids": {number: id}}` where `return_ids` asks for it |
//! | `GET /accounts/{user}/outbox`, `.../outbox/{id}` | what has not been sent |
//! | `DELETE /accounts/{user}/outbox/{id}` | 204 while it waits |
//! | `GET /accounts/{user}/faxes?category&after&before&limit`, `.../faxes/{id}` | what has |
//! | `DELETE /accounts/{user}/faxes/{id}` | 204, the record and its document are gone |
//! | `POST /hooks`, `GET /hooks`, `DELETE /hooks/{id}` | where ended faxes are reported |
//!
//! All want `Authorization: Bearer TOKEN`; errors are `{"error", "description"}`. The codes of errors are made up, but for
//! `too_many_files` and `too_many_destinations`: the vendor names no others. Uploads and hooks are forgotten when the
//! simulator goes off the net. An upload is used up by its first order; one order is to one number, at once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Face;
use crate::delivery::simulator::wire::DOCUMENT_AT_MOST;
use crate::job::FaxNumber;
use crate::simulator::api::{self, Api, Ending, Message, Refusal};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};
use crate::simulator::print::Incoming;
use archive::{
    delete_fax, fax_view, list_faxes, list_outbox, show_fax, show_outbox, status_of, take_out, time,
};

mod archive;

/// Uploads without an order, and hooks.
const KEPT: usize = 100;
/// An order is not longer.
const ORDER_AT_MOST: usize = 1 << 20;

/// What the account keeps beside its faxes.
#[derive(Default)]
struct Account {
    inner: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    uploads: VecDeque<Upload>,
    hooks: Vec<HookEntry>,
}

struct Upload {
    id: String,
    document: Incoming,
}

struct HookEntry {
    id: String,
    target: String,
    event: String,
}

impl HookEntry {
    fn view(&self) -> Value {
        json!({ "id": self.id, "target": self.target, "event": self.event })
    }
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Faxplus;

impl Api for Faxplus {
    const FACE: Face = Face::Faxplus;
    /// Whether the answer is to name the fax.
    type Order = bool;

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/v3/accounts/{user}/files", post(upload))
            .route("/v3/accounts/{user}/outbox", post(api::submit::<Faxplus>).get(list_outbox))
            .route("/v3/accounts/{user}/outbox/{id}", get(show_outbox).delete(take_out))
            .route("/v3/accounts/{user}/faxes", get(list_faxes))
            .route("/v3/accounts/{user}/faxes/{id}", get(show_fax).delete(delete_fax))
            .route("/v3/hooks", post(add_hook).get(list_hooks))
            .route("/v3/hooks/{id}", delete(remove_hook))
            .layer(Extension(Arc::new(Account::default())))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::shows_token(request, office)
    }

    async fn read(_office: &Arc<Office>, request: Request) -> Result<(Submitted, bool), Box<Response>> {
        let account = request.extensions().get::<Arc<Account>>().cloned().unwrap_or_default();
        let order: Order = read_json(request).await?;
        let bad = |code: &str, text: &str| Box::new(error(StatusCode::BAD_REQUEST, code, text));
        if let Some((code, text)) = order.fault() {
            return Err(bad(code, text));
        }
        let (upload, webhook_url) = {
            let mut kept = account.lock();
            let wanted =
                |upload: &Upload| order.files.iter().any(|path| *path == format!("{}.pdf", upload.id));
            let upload = kept.uploads.iter().position(wanted).and_then(|nth| kept.uploads.remove(nth));
            (upload, kept.hooks.iter().find(|hook| hook.event == "fax_sent").map(|hook| hook.target.clone()))
        };
        let upload = upload.ok_or_else(|| bad("invalid_file", "no such file was uploaded"))?;
        let (return_ids, reference) = (order.return_ids, order.reference());
        let number = order.to.into_iter().next().unwrap_or_default();
        let submitted = Submitted {
            webhook_url,
            details: BTreeMap::from([("from".into(), order.from), ("text".into(), order.comment.text)]),
            ..Submitted::of(Face::Faxplus, upload.id, upload.document, reference, number)
        };
        Ok((submitted, return_ids))
    }

    fn taken(fax: &Fax, return_ids: &bool) -> Response {
        let ids = if *return_ids { json!({ "ids": { &fax.number: fax.id } }) } else { json!({}) };
        (StatusCode::CREATED, Json(ids)).into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, code, text) = match refusal {
            Refusal::WrongCredentials => (StatusCode::UNAUTHORIZED, "unauthorized", "no such token"),
            Refusal::DocumentRefused => {
                (StatusCode::BAD_REQUEST, "failed_mimetype_not_supported", "the file cannot be faxed")
            }
            Refusal::NumberRefused => (StatusCode::BAD_REQUEST, "invalid_number", "that is no number"),
            Refusal::NoBalance => (StatusCode::PAYMENT_REQUIRED, "insufficient_credit", "not enough credit"),
            Refusal::RateLimited => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "this number sends too much")
            }
            Refusal::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "nothing was taken, come again")
            }
            Refusal::NoSuchFax => (StatusCode::NOT_FOUND, "not_found", "there is no such fax"),
            Refusal::NotEnded | Refusal::BeingSent | Refusal::Ended => {
                (StatusCode::BAD_REQUEST, "invalid_status", "it is being sent")
            }
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something went wrong"),
        };
        error(status, code, text)
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        Json(fax_view(fax)).into_response()
    }

    fn cancelled(_fax: &Fax) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }

    /// Nothing signs it.
    fn message(Ending { fax, url, now, .. }: &Ending<'_>) -> Option<Message> {
        Message::json(&json!({
            // The ids are the same unless Fax.Plus dials again by itself, and nobody asked it to.
            "hook": { "id": fax.id, "event": "fax_sent", "event_time": time(*now), "target": url },
            "data": {
                "id": fax.id, "uid": "self", "pages": fax.pages, "from": fax.details.get("from"), "to": fax.number,
                "start_time": fax.dialled.map(time), "file": format!("{}.tiff", fax.id), "file_name": "fax",
                "cost": fax.pages, "status": status_of(fax),
            },
        }))
    }
}

async fn upload(
    State(office): State<Arc<Office>>,
    Extension(account): Extension<Arc<Account>>,
    request: Request,
) -> Response {
    match receive(&office, request).await {
        Ok(upload) => {
            let path = format!("{}.pdf", upload.id);
            let mut kept = account.lock();
            kept.uploads.push_back(upload);
            if kept.uploads.len() > KEPT {
                kept.uploads.pop_front();
            }
            Json(json!({ "path": path })).into_response()
        }
        Err(refusal) => *refusal,
    }
}

/// Reads the upload to its very end, the file straight to disk.
async fn receive(office: &Arc<Office>, request: Request) -> Result<Upload, Box<Response>> {
    let bad = |text: &str| Box::new(error(StatusCode::BAD_REQUEST, "invalid_request", text));
    let disk = |fault: io::Error| Box::new(api::disk_trouble::<Faxplus>(&fault));
    let mut parts =
        Multipart::from_request(request, &()).await.map_err(|rejection| bad(&rejection.body_text()))?;
    let mut upload: Option<Upload> = None;
    let mut too_large = false;
    while let Some(mut part) = parts.next_field().await.map_err(|fault| bad(&fault.body_text()))? {
        let fits = part.name() == Some("fax_file")
            && part.file_name().is_some_and(|name| name.contains('.'))
            && upload.is_none();
        if !fits {
            return Err(bad("the form holds one file, `fax_file`, with the extension of its kind"));
        }
        let id = office.next_id().map_err(disk)?;
        let mut document = office.records.receive(&id).await.map_err(disk)?;
        while let Some(chunk) = part.chunk().await.map_err(|fault| bad(&fault.body_text()))? {
            // Read on all the same: a client that is still sending would see a reset in place of the answer.
            too_large |= document.bytes + chunk.len() as u64 > DOCUMENT_AT_MOST;
            if !too_large {
                document.write(&chunk).await.map_err(disk)?;
            }
        }
        document.finish().await.map_err(disk)?;
        upload = Some(Upload { id, document });
    }
    if too_large {
        return Err(Box::new(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "file_too_large",
            "the file is too large",
        )));
    }
    upload.ok_or_else(|| bad("there is no `fax_file`"))
}

/// `POST outbox`. What is not in here has no meaning to the API, and whoever sends it is mistaken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    from: String,
    to: Vec<String>,
    files: Vec<String>,
    #[serde(default)]
    comment: Comment,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    return_ids: bool,
    /// Understood, and refused: this office sends at once.
    send_time: Option<Value>,
    /// Understood, and refused: this office has no covers.
    cover_page: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Comment {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default, rename = "enhancement")]
    _enhancement: Option<bool>,
    #[serde(default)]
    retry: Option<Retry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retry {
    count: u32,
    #[serde(rename = "delay")]
    _delay: u32,
}

impl Order {
    /// What is wrong with it.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        if self.files.len() > 10 {
            return Some(("too_many_files", "a fax has 10 files at most"));
        }
        if self.to.len() > 4000 {
            return Some(("too_many_destinations", "a fax has 4000 destinations at most"));
        }
        let is_number = |text: &String| FaxNumber::from_e164(text).is_ok();
        let from = self.from == "no_number" || self.from.split(',').all(|one| is_number(&one.to_owned()));
        if !from || !self.to.iter().all(is_number) {
            return Some(("invalid_number", "numbers are written as +15551230001"));
        }
        if self.to.len() != 1
            || self.files.len() != 1
            || self.send_time.is_some()
            || self.cover_page.is_some()
        {
            return Some((
                "invalid_request",
                "the simulator sends one file to one number, at once and as it is",
            ));
        }
        if self.options.retry.as_ref().is_some_and(|retry| retry.count > 0) {
            return Some(("invalid_request", "the simulator dials once"));
        }
        None
    }

    fn reference(&self) -> String {
        self.comment.tags.first().unwrap_or(&self.comment.text).clone()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHook {
    target: String,
    event: String,
}

async fn add_hook(
    State(office): State<Arc<Office>>,
    Extension(account): Extension<Arc<Account>>,
    request: Request,
) -> Response {
    let hook: NewHook = match read_json(request).await {
        Ok(hook) => hook,
        Err(refusal) => return *refusal,
    };
    let bad = |text: &str| error(StatusCode::BAD_REQUEST, "invalid_request", text);
    if !matches!(hook.event.as_str(), "fax_sent" | "fax_received") {
        return bad("an event is fax_sent or fax_received");
    }
    if !hook.target.starts_with("http://") && !hook.target.starts_with("https://") {
        return bad("a target is a URL");
    }
    let Ok(id) = office.next_id() else { return bad("there is no id left") };
    let mut kept = account.lock();
    if kept.hooks.len() >= KEPT {
        return bad("there are too many hooks");
    }
    kept.hooks.push(HookEntry { id: id.clone(), target: hook.target, event: hook.event });
    (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
}

async fn list_hooks(Extension(account): Extension<Arc<Account>>) -> Response {
    let hooks: Vec<Value> = account.lock().hooks.iter().map(HookEntry::view).collect();
    Json(json!({ "data": hooks })).into_response()
}

async fn remove_hook(Extension(account): Extension<Arc<Account>>, Path(id): Path<String>) -> Response {
    let mut kept = account.lock();
    let Some(nth) = kept.hooks.iter().position(|hook| hook.id == id) else {
        return Faxplus::refuse(Refusal::NoSuchFax);
    };
    kept.hooks.remove(nth);
    StatusCode::NO_CONTENT.into_response()
}

/// The body as JSON.
async fn read_json<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Box<Response>> {
    let bad = |text: &str| Box::new(error(StatusCode::BAD_REQUEST, "invalid_request", text));
    let kind = request.headers().get(HeaderName::from_static("content-type")).cloned();
    let body =
        axum::body::to_bytes(request.into_body(), ORDER_AT_MOST).await.map_err(|_| bad("it is too long"))?;
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        return Err(bad("it is not announced as JSON"));
    }
    serde_json::from_slice(&body).map_err(|fault| bad(&fault.to_string()))
}

fn error(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({ "error": error, "description": description }))).into_response()
}
