//! What InterFAX' numbers mean.

use crate::delivery::http::after_call;
use crate::job::Cause;

/// Statuses above zero, in the bridge's words (docs.uplandsoftware.com, `interfax`: `fax-status-codes`). What is not in here is
/// `Cause::Unknown`. `LineTrouble` stands for a transmission that broke off, see [`cause_of`]. 403 is a cancelled fax, not the
/// HTTP status.
pub(super) const CODES: &[(i64, Cause)] = &[
    (263, Cause::Busy),
    (3931, Cause::Busy),
    (3933, Cause::Busy),
    (3937, Cause::Busy),
    (6017, Cause::Busy),
    (8025, Cause::Busy),
    (3935, Cause::NoAnswer),
    (6018, Cause::NoAnswer),
    (8021, Cause::NoAnswer),
    (3936, Cause::Voice),
    (3224, Cause::NotAFax),
    (8010, Cause::NotAFax),
    (3211, Cause::NotAFax),
    (3220, Cause::NotAFax),
    (3225, Cause::NotAFax),
    (3231, Cause::NotAFax),
    (3233, Cause::NotAFax),
    (3264, Cause::NotAFax),
    (3267, Cause::NotAFax),
    (3269, Cause::NotAFax),
    (6088, Cause::NotAFax),
    (6095, Cause::NotAFax),
    (6097, Cause::NotAFax),
    (6099, Cause::NotAFax),
    (6100, Cause::NotAFax),
    (3912, Cause::NotInService),
    (3932, Cause::NotInService),
    (3938, Cause::NotInService),
    (6001, Cause::NotInService),
    (6027, Cause::NotInService),
    (6028, Cause::NotInService),
    (6022, Cause::NotInService),
    (6021, Cause::Blocked),
    (6029, Cause::Blocked),
    (3223, Cause::LineTrouble),
    (3230, Cause::LineTrouble),
    (3268, Cause::LineTrouble),
    (7200, Cause::LineTrouble),
    (1, Cause::ProviderTrouble),
    (256, Cause::ProviderTrouble),
    (205_001, Cause::ProviderTrouble),
    (206_001, Cause::ProviderTrouble),
    (6002, Cause::ProviderTrouble),
    (2, Cause::ProviderTrouble),
    (12, Cause::ProviderTrouble),
    (3072, Cause::ProviderTrouble),
    (3080, Cause::ProviderTrouble),
    (3300, Cause::ProviderTrouble),
    (3510, Cause::ProviderTrouble),
    (3830, Cause::ProviderTrouble),
    (6003, Cause::ProviderTrouble),
    (6004, Cause::ProviderTrouble),
    (6016, Cause::ProviderTrouble),
    (6019, Cause::ProviderTrouble),
    (6031, Cause::ProviderTrouble),
    (6034, Cause::ProviderTrouble),
    (6038, Cause::ProviderTrouble),
    (6041, Cause::ProviderTrouble),
    (6042, Cause::ProviderTrouble),
    (6043, Cause::ProviderTrouble),
    (6044, Cause::ProviderTrouble),
    (6047, Cause::ProviderTrouble),
    (6050, Cause::ProviderTrouble),
    (6054, Cause::ProviderTrouble),
    (6057, Cause::ProviderTrouble),
    (6058, Cause::ProviderTrouble),
    (6063, Cause::ProviderTrouble),
    (6065, Cause::ProviderTrouble),
    (6069, Cause::ProviderTrouble),
    (6079, Cause::ProviderTrouble),
    (6102, Cause::ProviderTrouble),
    (6111, Cause::ProviderTrouble),
    (6127, Cause::ProviderTrouble),
    (7004, Cause::ProviderTrouble),
    (7012, Cause::ProviderTrouble),
    (7013, Cause::ProviderTrouble),
    (204_000, Cause::DocumentRefused),
    (204_001, Cause::DocumentRefused),
    (205_000, Cause::AccountTrouble),
    (403, Cause::Cancelled),
];

/// Codes of orders that were refused (`web-service-return-codes`).
const REFUSALS: &[(i64, Cause)] = &[
    // A developer's account, which may only send to its own number.
    (-111, Cause::AccountTrouble),
    (-112, Cause::Blocked),
    (-123, Cause::DocumentRefused),
];

/// Why a fax failed of which the far end confirmed so many pages. Whatever the reason: what lies there in part is not sent again
/// by itself.
pub(super) fn cause_of(status: i64, pages_sent: Option<u32>) -> Cause {
    let cause = CODES.iter().find(|(known, _)| *known == status).map_or(Cause::Unknown, |(_, cause)| *cause);
    after_call(cause, pages_sent)
}

/// Why an order was refused.
pub(super) fn cause_of_refusal(code: i64) -> Cause {
    REFUSALS.iter().find(|(known, _)| *known == code).map_or(Cause::Unknown, |(_, cause)| *cause)
}
