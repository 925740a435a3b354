//! The face of SRFax.

use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;

use super::Message;
use crate::delivery::simulator::book::Fax;
use crate::delivery::simulator::office::Office;

/// What lies under `/srfax`.
pub(super) fn routes(_office: &Arc<Office>) -> Router<Arc<Office>> {
    Router::new()
}

/// The webhook to `url` that reports how `fax` ended.
pub(super) fn message(_fax: &Fax, _url: &str, _key: &[u8], _now: Timestamp) -> Option<Message> {
    None
}
