//! The simulator's own API.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/faxes` | multipart `reference`, `to`, `pages`?, `sha256`?, `webhook_url`?, `caller`?, `document`; 201 and the fax |
//! | `GET /v1/faxes/{id}` | the fax; 404 `fax.unknown` |
//! | `GET /v1/faxes?reference=R` | `{"faxes": [..]}`, every fax with that reference |
//! | `POST /v1/faxes/{id}/cancel` | the fax; 409 `fax.too_late` once it is dialled |
//! | `DELETE /v1/faxes/{id}` | 204, the stored document is gone; 409 `fax.not_ended` before its end |
//! | `GET /v1/account` | 200 when the token is right |
//!
//! All want `Authorization: Bearer TOKEN`. Other answers than 2xx carry `{"error": {"code",
//! "message"}}`. It knows every fax, by whichever face that came: so it plays the person at the
//! dashboard, where a provider's API does not let clients cancel.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::Face;
use super::form::{Form, Unread};
use crate::delivery::simulator::signature;
use crate::delivery::simulator::wire::{self, ErrorBody, ErrorView, FaxList};
use crate::job::FaxNumber;
use crate::simulator::api::{self, Api, Ending, Message, Refusal, disk_trouble};
use crate::simulator::book::Fax;
use crate::simulator::office::{Office, Submitted};

pub(super) struct Own;

impl Api for Own {
    const FACE: Face = Face::Own;
    type Order = ();

    fn routes() -> Router<Arc<Office>> {
        Router::new()
            .route("/v1/faxes", post(api::submit::<Own>).get(list))
            .route("/v1/faxes/{id}", get(api::show::<Own>).delete(api::delete::<Own>))
            .route("/v1/faxes/{id}/cancel", post(api::cancel::<Own>))
            .route("/v1/account", get(account))
    }

    fn lets_in(request: &Request, office: &Office) -> bool {
        api::shows_token(request, office)
    }

    async fn read(office: &Arc<Office>, request: Request) -> Result<(Submitted, ()), Box<Response>> {
        let id = office.next_id().map_err(|fault| Box::new(disk_trouble::<Own>(&fault)))?;
        let mut form =
            Form::read(office, &id, &["document"], request).await.map_err(|unread| match unread {
                Unread::Wrong(wrong) => {
                    let message = format!("{} {}", wrong.field, wrong.what);
                    bad(StatusCode::BAD_REQUEST, "request.malformed", message.trim())
                }
                Unread::TooLarge(_) => {
                    bad(StatusCode::PAYLOAD_TOO_LARGE, "document.too_large", "the document is too large")
                }
                Unread::Disk(fault) => Box::new(disk_trouble::<Own>(&fault)),
            })?;
        let Some(document) = form.document.take() else {
            return Err(bad(StatusCode::BAD_REQUEST, "request.incomplete", "there is no document"));
        };
        let text = |name: &str| form.one(name).ok().flatten().map(str::to_owned);
        let (reference, number) = (text("reference").unwrap_or_default(), text("to").unwrap_or_default());
        if reference.is_empty() || reference.len() > 64 {
            let message = "a reference has 1 to 64 characters";
            return Err(bad(StatusCode::BAD_REQUEST, "request.incomplete", message));
        }
        if FaxNumber::from_e164(&number).is_err() {
            let message = "`to` is not in E.164 form";
            return Err(bad(StatusCode::UNPROCESSABLE_ENTITY, "number.refused", message));
        }
        if text("sha256").is_some_and(|announced| !announced.eq_ignore_ascii_case(&document.sha256)) {
            let message = "the document is not the one that was announced";
            return Err(bad(StatusCode::BAD_REQUEST, "document.damaged", message));
        }
        let pages_announced = text("pages").and_then(|pages| pages.parse().ok());
        let webhook_url = text("webhook_url");
        let submitted = Submitted::of(Face::Own, id, document, reference, number);
        Ok((Submitted { pages_announced, webhook_url, ..submitted }, ()))
    }

    fn taken(fax: &Fax, (): &()) -> Response {
        (StatusCode::CREATED, Json(fax.view())).into_response()
    }

    fn refuse(refusal: Refusal) -> Response {
        let (status, code, message) = match refusal {
            Refusal::WrongCredentials => (StatusCode::UNAUTHORIZED, "token.wrong", "no such token"),
            Refusal::DocumentRefused => {
                let message = "no pages can be made of the document";
                (StatusCode::UNPROCESSABLE_ENTITY, "document.refused", message)
            }
            Refusal::NumberRefused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "number.refused", "`to` is no telephone number")
            }
            Refusal::NoBalance => {
                (StatusCode::PAYMENT_REQUIRED, "account.no_balance", "the account has no balance")
            }
            Refusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate.limited", "too many requests"),
            Refusal::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "server.busy", "nothing was taken, come again")
            }
            Refusal::NoSuchFax => (StatusCode::NOT_FOUND, "fax.unknown", "there is no such fax"),
            Refusal::NotEnded => (StatusCode::CONFLICT, "fax.not_ended", "it has not ended"),
            Refusal::BeingSent | Refusal::Ended => {
                (StatusCode::CONFLICT, "fax.too_late", "it is dialled already")
            }
            Refusal::Trouble => (StatusCode::INTERNAL_SERVER_ERROR, "server.failure", "something went wrong"),
        };
        error(status, code, message)
    }

    fn known(office: &Office, id: &str) -> Result<Fax, Box<Response>> {
        office.book.fax(id).ok_or_else(|| Box::new(Own::refuse(Refusal::NoSuchFax)))
    }

    fn shown(fax: &Fax, _asked: &HeaderMap) -> Response {
        Json(fax.view()).into_response()
    }

    fn cancelled(fax: &Fax) -> Response {
        Json(fax.view()).into_response()
    }

    fn message(ending: &Ending<'_>) -> Option<Message> {
        let report = wire::Report { event: "fax.ended".into(), fax: ending.fax.view() };
        let message = Message::json(&report)?;
        let signed = signature::sign(ending.key, ending.now, &message.body);
        message.with(signature::HEADER, signed)
    }
}

#[derive(Deserialize)]
struct Wanted {
    reference: String,
}

async fn list(State(office): State<Arc<Office>>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    match wanted {
        Ok(Query(wanted)) => Json(FaxList { faxes: office.book.list(&wanted.reference) }).into_response(),
        Err(_) => error(StatusCode::BAD_REQUEST, "request.incomplete", "ask with ?reference="),
    }
}

async fn account() -> Response {
    Json(json!({ "account": "simulator", "state": "active" })).into_response()
}

fn bad(status: StatusCode, code: &str, message: &str) -> Box<Response> {
    Box::new(error(status, code, message))
}

/// An error in the API's form.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let error = ErrorView { code: code.to_owned(), message: message.to_owned() };
    (status, Json(ErrorBody { error })).into_response()
}
