//! What Sinch's error codes mean (developers.sinch.com/docs/fax/api-reference/fax/error-messages).
//!
//! A code is nothing without its type: 133 is "number not permitted" as a `FAX_ERROR` and "the PDF could not be
//! normalised" as a `DOCUMENT_CONVERSION_ERROR`. Phaxio, of the same house, uses the numbers of these two types too.

use crate::job::Cause;

/// Type and codes, and what they come to. What is not in here is `Cause::Unknown`; so are the type `GENERAL_ERROR` and the
/// type `FATAL_ERROR`. `http::after_call` has the last word: it knows about pages.
#[rustfmt::skip]
pub(in crate::delivery) const CODES: &[(&str, &[u32], Cause)] = &[
    ("CALL_ERROR", &[17], Cause::Busy),
    // Rang too long; nothing that is a fax machine answered.
    ("CALL_ERROR", &[16, 30], Cause::NoAnswer),
    // Hung up at once; incompatible destination.
    ("CALL_ERROR", &[19, 32], Cause::NotAFax),
    ("CALL_ERROR", &[34, 49], Cause::NotInService),
    // Dropped: what the other calls never got to, this one may have.
    ("CALL_ERROR", &[11], Cause::LineTrouble),
    ("CALL_ERROR", &[15, 43], Cause::ProviderTrouble),
    // No answer, maybe out of paper.
    ("FAX_ERROR", &[48], Cause::NoAnswer),
    // No fax tone; no response; timeouts at the start; hung up before receiving; incompatible.
    ("FAX_ERROR", &[132, 26, 14, 13, 38, 31, 68], Cause::NotAFax),
    ("FAX_ERROR", &[133], Cause::Blocked),
    // Image size, resolution; the file is deleted; there are no pages.
    ("FAX_ERROR", &[7, 25, 113, 117], Cause::DocumentRefused),
    ("FAX_ERROR", &[6, 8, 10, 12, 18, 20, 21, 22, 28, 29, 41, 53, 60, 63, 77, 80, 82, 84, 131], Cause::LineTrouble),
    // Telephony error.
    ("FAX_ERROR", &[40, 44], Cause::ProviderTrouble),
    // Insufficient funds.
    ("FAX_ERROR", &[46], Cause::AccountTrouble),
    ("FAX_ERROR", &[75, 76], Cause::Cancelled),
    // "Too late to cancel": it was being sent when somebody wanted it back.
    ("FAX_ERROR", &[79], Cause::PartlySent),
    // Simulated failures of a test: nothing is dialled, and it would fail the same way again.
    ("FAX_ERROR", &[119, 122], Cause::Blocked),
    ("DOCUMENT_CONVERSION_ERROR", &[4, 54, 55, 57, 69, 128, 129, 130, 133], Cause::DocumentRefused),
];

/// What the code of a type means by itself.
pub(in crate::delivery) fn cause_of(kind: &str, code: u32) -> Cause {
    let row = CODES.iter().find(|(known, codes, _)| *known == kind && codes.contains(&code));
    row.map_or(Cause::Unknown, |(.., cause)| *cause)
}
