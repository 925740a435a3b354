//! The faces of the simulator: beside its own API it speaks those of real providers, so that each adapter runs against a
//! living peer. A face is how a fax comes in, how it is asked about and how its end is reported; what happens to the fax
//! ([`super::script`]) and what is kept of it is the same behind all of them.
//!
//! Each face lies under a path of its own, `/sinch`, `/telnyx` and so on; that path is the `url` of the provider's section.
//! Accounts are the simulator's: its token is the token and the password of each. A request that the provider would not
//! accept is refused as the provider refuses it.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::{self, Api, Ending, Message};
use super::book::Fax;
use super::office::Office;

mod faxplus;
mod form;
mod interfax;
mod own;
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

impl Face {
    /// Whether its webhooks carry the document back.
    pub(super) fn returns_documents(self) -> bool {
        matches!(self, Face::Sinch | Face::Phaxio)
    }

    /// The webhook that reports how a fax ended.
    pub(super) fn message(self, ending: &Ending<'_>) -> Option<Message> {
        match self {
            Face::Own => own::Own::message(ending),
            Face::Sinch => sinch::Sinch::message(ending),
            Face::Telnyx => telnyx::Telnyx::message(ending),
            Face::Phaxio => phaxio::Phaxio::message(ending),
            Face::Interfax => interfax::Interfax::message(ending),
            Face::Faxplus => faxplus::Faxplus::message(ending),
            Face::Srfax => srfax::Srfax::message(ending),
            Face::Signalwire => signalwire::Signalwire::message(ending),
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

/// The routes of all faces.
pub(super) fn routes(office: &Arc<Office>) -> Router<Arc<Office>> {
    api::guarded::<own::Own>(office)
        .nest("/sinch", api::guarded::<sinch::Sinch>(office))
        .nest("/telnyx", api::guarded::<telnyx::Telnyx>(office))
        .nest("/phaxio", api::guarded::<phaxio::Phaxio>(office))
        .nest("/interfax", api::guarded::<interfax::Interfax>(office))
        .nest("/faxplus", api::guarded::<faxplus::Faxplus>(office))
        .nest("/srfax", api::guarded::<srfax::Srfax>(office))
        .nest("/signalwire", api::guarded::<signalwire::Signalwire>(office))
        .fallback(async || own::error(StatusCode::NOT_FOUND, "path.unknown", "there is nothing here"))
}
