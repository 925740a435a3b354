//! The faces of the simulator: beside its own API it speaks those of real providers, so that each adapter runs against a
//! living peer. A face is how a fax comes in, how it is asked about and how its end is reported; what happens to the fax
//! ([`super::script`]) and what is kept of it is the same behind all of them.
//!
//! Each face lies under a path of its own, `/sinch`, `/telnyx` and so on; that path is the `url` of the provider's section.
//! Accounts are the simulator's: its token is the token and the password of each. A request that the provider would not
//! accept is refused as the provider refuses it.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::book::Fax;
use super::line::Cut;
use super::office::Office;
use super::script::Answer;
use crate::delivery::simulator::{signature, wire};

mod faxplus;
mod form;
mod interfax;
mod phaxio;
mod signalwire;
mod sinch;
mod srfax;
mod telnyx;

pub use telnyx::public_key as telnyx_public_key;

/// Which API a fax came by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Face {
    /// The simulator's own.
    #[default]
    Own,
    /// Sinch Fax API v3.
    Sinch,
    /// Telnyx Programmable Fax.
    Telnyx,
    /// Phaxio v2.1.
    Phaxio,
    /// InterFAX REST.
    Interfax,
    /// Fax.Plus v3.
    Faxplus,
    /// SRFax.
    Srfax,
    /// SignalWire, Compatibility API.
    Signalwire,
}

/// A webhook, ready to be sent.
pub(super) struct Message {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Face {
    /// Whether its webhooks carry the document back.
    pub(super) fn returns_documents(self) -> bool {
        matches!(self, Face::Sinch | Face::Phaxio)
    }

    /// The webhook to `url` that reports how `fax` ended, signed under `key` where the provider signs. `document` is the
    /// client's copy, where it is there, not too large, and [wanted](Face::returns_documents).
    pub(super) fn message(
        self,
        fax: &Fax,
        document: Option<&[u8]>,
        url: &str,
        key: &[u8],
        now: Timestamp,
    ) -> Option<Message> {
        match self {
            Face::Own => {
                let body =
                    serde_json::to_vec(&wire::Report { event: "fax.ended".into(), fax: fax.view() }).ok()?;
                let signed = HeaderValue::try_from(signature::sign(key, now, &body)).ok()?;
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(signature::HEADER, signed);
                Some(Message { headers, body })
            }
            Face::Sinch => sinch::message(fax, document, now),
            Face::Telnyx => telnyx::message(fax, url, key, now),
            Face::Phaxio => phaxio::message(fax, document, url, key),
            Face::Interfax => interfax::message(fax, url, key, now),
            Face::Faxplus => faxplus::message(fax, url, key, now),
            Face::Srfax => srfax::message(fax, url, key, now),
            Face::Signalwire => signalwire::message(fax, url),
        }
    }

    /// The webhooks that report how `fax` stands while it is on its way, of the API that sends such.
    pub(super) fn progress(self, fax: &Fax, key: &[u8], now: Timestamp) -> Vec<Message> {
        match self {
            Face::Telnyx => telnyx::progress(fax, key, now),
            _ => Vec::new(),
        }
    }

    /// Where the document of `fax` is to be fetched, if it did not come with the order.
    pub(super) fn media(self, fax: &Fax) -> Option<&str> {
        match self {
            Face::Telnyx | Face::Signalwire => fax.details.get("media_url").map(String::as_str),
            _ => None,
        }
    }
}

/// The routes of all faces but the own one.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
        .nest("/sinch", sinch::routes(office))
        .nest("/telnyx", telnyx::routes(office))
        .nest("/phaxio", phaxio::routes(office))
        .nest("/interfax", interfax::routes(office))
        .nest("/faxplus", faxplus::routes(office))
        .nest("/srfax", srfax::routes(office))
        .nest("/signalwire", signalwire::routes(office))
}

/// What the client of any API sees where the connection or a proxy is what fails; `None` where the API itself answers.
pub(super) fn disturbed(answer: Answer, line: &Cut) -> Option<Response> {
    match answer {
        Answer::ResetTaken | Answer::ResetUntaken => {
            line.now();
            Some(StatusCode::IM_A_TEAPOT.into_response())
        }
        Answer::Garbage => Some((StatusCode::OK, "<html><title>Welcome</title>").into_response()),
        Answer::GatewayLost => {
            Some((StatusCode::BAD_GATEWAY, "<html><title>502 Bad Gateway</title>").into_response())
        }
        _ => None,
    }
}

/// Whether `shown` is the secret `wanted`, without telling by its time how much of it was right.
pub(super) fn is_right(shown: &[u8], wanted: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(shown, wanted).is_ok()
}
