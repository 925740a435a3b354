//! What Telnyx' words for a failure mean.

use crate::delivery::http::after_call;
use crate::job::Cause;

/// `failure_reason`, in the bridge's words (support article 4967498 and the models of the vendor's SDKs). What is not in here is
/// `Cause::Unknown`. `LineTrouble` stands for a transmission that broke off, see [`cause_of`].
pub(super) const CODES: &[(&str, Cause)] = &[
    ("user_busy", Cause::Busy),
    ("receiver_no_answer", Cause::NoAnswer),
    ("receiver_no_response", Cause::NoAnswer),
    ("fax_initial_communication_timeout", Cause::NotAFax),
    ("receiver_incompatible_destination", Cause::NotAFax),
    ("receiver_unallocated_number", Cause::NotInService),
    ("receiver_invalid_number_format", Cause::NotInService),
    ("destination_invalid", Cause::NotInService),
    ("receiver_decline", Cause::Blocked),
    ("rejected", Cause::Blocked),
    ("destination_not_in_countries_whitelist", Cause::Blocked),
    ("destination_not_in_service_plan", Cause::Blocked),
    ("unverified_destination_not_allowed", Cause::Blocked),
    ("unverified_origination_number", Cause::Blocked),
    ("fax_signaling_error", Cause::LineTrouble),
    ("invalid_ecm_response_from_receiver", Cause::LineTrouble),
    ("receiver_call_dropped", Cause::LineTrouble),
    ("receiver_communication_error", Cause::LineTrouble),
    ("carrier_lost", Cause::LineTrouble),
    ("sender_call_dropped", Cause::LineTrouble),
    ("sender_communication_error", Cause::LineTrouble),
    ("receiver_recovery_on_timer_expire", Cause::ProviderTrouble),
    ("destination_unreachable", Cause::ProviderTrouble),
    ("service_unavailable", Cause::ProviderTrouble),
    // Our own media host was not reached. Certainly nothing was dialled.
    ("file_download_failed", Cause::ProviderTrouble),
    ("connection_channel_limit_exceeded", Cause::RateLimited),
    ("outbound_profile_channel_limit_exceeded", Cause::RateLimited),
    ("user_channel_limit_exceeded", Cause::RateLimited),
    ("account_disabled", Cause::AccountTrouble),
    ("no_outbound_profile", Cause::AccountTrouble),
    ("outbound_profile_daily_spend_limit_exceeded", Cause::AccountTrouble),
    ("file_format_invalid", Cause::DocumentRefused),
    ("file_size_limit_exceeded", Cause::DocumentRefused),
    ("page_count_limit_exceeded", Cause::DocumentRefused),
    ("media_processing_exception", Cause::DocumentRefused),
    ("sender_canceled", Cause::Cancelled),
    // Of a fax that failed all the same.
    ("success", Cause::Unknown),
];

/// The field of an order that was refused, and what that means.
const FIELDS: &[(&str, Cause)] = &[
    // Not out of service for all that is known: nobody was called.
    ("to", Cause::NumberRefused),
    ("media_url", Cause::DocumentRefused),
    ("connection_id", Cause::AccountTrouble),
    ("from", Cause::AccountTrouble),
];

/// Reasons of provider trouble that come before a far end has answered: the document was not fetched, the call not set up.
const BEFORE_THE_CALL: &[&str] = &["file_download_failed", "destination_unreachable", "service_unavailable"];

/// Why a fax failed. How far a transmission came is never told, so it may have printed pages.
pub(super) fn cause_of(reason: &str) -> Cause {
    match CODES.iter().find(|(known, _)| *known == reason) {
        Some((known, cause)) if BEFORE_THE_CALL.contains(known) => *cause,
        Some((_, cause)) => after_call(*cause, None),
        None => Cause::Unknown,
    }
}

/// Why an order was refused, of which this field is wrong.
pub(super) fn cause_of_field(field: Option<&str>) -> Cause {
    FIELDS.iter().find(|(known, _)| Some(*known) == field).map_or(Cause::Unknown, |(_, cause)| *cause)
}
