//! What HylaFAX says about a job that has ended, in the bridge's words.
//!
//! Jobs are submitted with one dial and one try, so that HylaFAX never redials. The price, measured with HylaFAX 6.0.7: the
//! code of a job that fails is then always 333 or 334 ("too many attempts"), whatever the cause, and the cause stands only
//! in the text in front of `; too many attempts to dial`. Leaving it more dials would keep the code, but would leave it to
//! HylaFAX to call again before anybody looked. So both are read: the text where it is known, else the code.
//!
//! NPAGES is what the far end confirmed. A page that it printed and whose confirmation was lost is not in it, so zero is
//! believed only for causes that come before the first page; all that happens after training is
//! [`Cause::PartlySent`], and a person decides.

use super::look::Facts;
use crate::delivery::Status;
use crate::delivery::http::cut;
use crate::job::{Cause, Outcome, Report};

/// HylaFAX's error codes from first to last, in the bridge's words; the first that fits counts. HylaFAX+ and 6.0 share them.
/// Not in here are 333 and 334, which only say that dials or tries are used up.
pub(super) const CODES: &[(u16, u16, Cause)] = &[
    (1, 1, Cause::Busy),
    (2, 2, Cause::NotAFax),
    (3, 3, Cause::NoAnswer),
    (4, 6, Cause::ProviderTrouble), // no dial tone, bad dial command, the modem is off
    (7, 8, Cause::NotAFax),
    (9, 9, Cause::ProviderTrouble), // a call came in while dialling
    (10, 10, Cause::Blocked),
    (11, 11, Cause::NoAnswer),
    (12, 12, Cause::NotAFax),
    (13, 13, Cause::PartlySent),
    (50, 59, Cause::PartlySent),
    (122, 122, Cause::NotAFax),
    (126, 126, Cause::NotAFax),
    (100, 155, Cause::PartlySent),
    (280, 288, Cause::PartlySent),
    (308, 308, Cause::Blocked),
    (314, 323, Cause::DocumentRefused),
    (327, 327, Cause::Blocked),
    (335, 335, Cause::DocumentRefused),
    (344, 345, Cause::Cancelled),
    (402, 419, Cause::DocumentRefused),
];

/// How HylaFAX's texts begin, as they stand in its programs, in the bridge's words. The first that fits counts.
pub(super) const TEXTS: &[(&str, Cause)] = &[
    ("Busy signal detected", Cause::Busy),
    ("No answer from remote", Cause::NoAnswer),
    ("No answer or ring back", Cause::NoAnswer),
    ("Ringback detected, no answer", Cause::NoAnswer),
    // The network's own refusal, silence and a person who says hello all look like this to the modem.
    ("No carrier detected", Cause::NotAFax),
    ("Carrier established, but Phase A failure", Cause::NotAFax),
    ("Data connection established", Cause::NotAFax),
    ("Ring detected without successful handshake", Cause::NotAFax),
    ("No receiver protocol (T.30 T1 timeout)", Cause::NotAFax),
    ("Remote has no T.4 receiver capability", Cause::NotAFax),
    ("Blacklisted by modem", Cause::Blocked),
    ("No local dialtone", Cause::ProviderTrouble),
    ("Invalid dialing command", Cause::ProviderTrouble),
    ("Unknown problem", Cause::ProviderTrouble),
    ("Glare - RING detected", Cause::ProviderTrouble),
    // Training, before the first page.
    ("Failure to train", Cause::LineTrouble),
    ("DIS/DTC received 3 times; DCS not recognized", Cause::LineTrouble),
    ("COMREC error in transmit Phase B", Cause::LineTrouble),
    ("Unspecified Transmit Phase B error", Cause::LineTrouble),
    // From here on a page may have been printed. The switch to sending ("silence") also comes after a page.
    ("Failure to receive silence", Cause::PartlySent),
    ("No response to ", Cause::PartlySent),
    ("Unspecified Transmit Phase C error", Cause::PartlySent),
    ("Unspecified Transmit Phase D error", Cause::PartlySent),
    ("Communication failure during Phase B/C", Cause::PartlySent),
    ("Failure to transmit clean ECM image data", Cause::PartlySent),
    ("Failure to raise V.21 transmission carrier", Cause::PartlySent),
    ("Giving up after 3 attempts to send same page", Cause::PartlySent),
    ("Unable to transmit page", Cause::PartlySent),
    ("Unable to continue after PIN or PIP", Cause::PartlySent),
    ("Remote fax disconnected prematurely", Cause::PartlySent),
    ("Receiver flow control exceeded timer", Cause::PartlySent),
    ("Stop and wait failure", Cause::PartlySent),
    ("Modem protocol error", Cause::PartlySent),
    ("Fax protocol error", Cause::PartlySent),
    ("COMREC ", Cause::PartlySent),
    ("RSPREC ", Cause::PartlySent),
    ("Job aborted by request", Cause::Cancelled),
    ("Job aborted by user", Cause::Cancelled),
    ("Call aborted by user", Cause::Cancelled),
    // The scheduler was killed in mid-call; what the call came to, nobody saw.
    ("REJECT: Too many attempts", Cause::PartlySent),
    ("REJECT: Unable to convert dial string", Cause::Blocked),
    ("REJECT: Too many pages", Cause::DocumentRefused),
    ("REJECT: No work found", Cause::DocumentRefused),
    ("REJECT: Page width", Cause::DocumentRefused),
    ("Document preparation failed", Cause::DocumentRefused),
    ("Converted document is not valid TIFF", Cause::DocumentRefused),
    ("Can not open document file", Cause::DocumentRefused),
];

/// How the job stands.
pub(super) fn status(facts: &Facts) -> Status {
    let outcome = match facts.state.as_str() {
        "DONE" => Outcome::Delivered,
        // Seen where its scheduler was killed in mid-call and the call went on to its good end without it: the next
        // scheduler rejects the job because its one dial is used up, with every page confirmed.
        "FAILED" if facts.pages_in_all > 0 && facts.pages >= facts.pages_in_all => Outcome::Delivered,
        "FAILED" => Outcome::of(cause(facts)),
        // Whatever else it is, it has not ended. ACTIVE with all pages confirmed is not DONE yet either.
        _ => return Status::Working,
    };
    Status::Ended(Report {
        outcome,
        pages_sent: Some(facts.pages),
        remote_id: None,
        seconds: None,
        raw_code: facts.code.map(|code| format!("E{code:03}")),
        raw_text: Some(cut(&facts.text)).filter(|text| !text.is_empty()),
    })
}

fn cause(facts: &Facts) -> Cause {
    let by_code = facts.code.and_then(|code| {
        CODES.iter().find(|(first, last, _)| (*first..=*last).contains(&code)).map(|(.., cause)| *cause)
    });
    let by_text = TEXTS.iter().find(|(text, _)| facts.text.starts_with(text)).map(|(_, cause)| *cause);
    // Its time ran out in the queue, all lines taken: nobody was called.
    let waited = facts.text.starts_with("Kill time expired") && facts.dials == 0;
    let cause = by_text.or(by_code).or(waited.then_some(Cause::ProviderTrouble)).unwrap_or(Cause::Unknown);
    match cause {
        Cause::Cancelled => Cause::Cancelled,
        _ if facts.pages > 0 => Cause::PartlySent,
        cause => cause,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::testing::{cause_of_class, end_word};

    fn facts(state: &str, code: u16, text: &str, pages: u32, dials: u32) -> Facts {
        Facts { state: state.into(), code: Some(code), text: text.into(), pages, pages_in_all: 4, dials }
    }

    #[test]
    fn the_codes_are_those_of_the_fact_sheet_but_where_the_real_server_taught_better() {
        let sheet = include_str!("../../../fixtures/providers/hylafax.csv");
        let mut known = 0;
        for line in sheet.lines().skip(1) {
            let mut fields = line.split(',').skip(1);
            let (code, class) = (fields.next().unwrap(), fields.next().unwrap());
            let number: u16 = code.trim_start_matches('E').parse().unwrap();
            let expected = match (number, class) {
                // Seen after a page too: what was printed is not known.
                (100 | 101, _) => Cause::PartlySent,
                // Zero confirmed pages are no proof that none was printed.
                (_, "transmission_error") => Cause::PartlySent,
                // The server's own rules for dialling do not take the number; nothing says that it is out of service.
                (327, _) => Cause::Blocked,
                (_, class) => cause_of_class(class),
            };
            assert_eq!(cause(&facts("FAILED", number, "", 0, 1)), expected, "{code}");
            known += 1;
        }
        // What the table has beside the sheet: 102, the one code between two of its ranges.
        let listed: u16 = CODES.iter().map(|(first, last, _)| last - first + 1).sum();
        let twice = 2; // 122 and 126 lie within a range, too
        assert_eq!(listed - twice, known + 1);
        assert_eq!(cause(&facts("FAILED", 999, "", 0, 1)), Cause::Unknown);
    }

    /// As read from the real server (tests/hylafax), where `; too many attempts` stands behind.
    #[test]
    fn jobs_as_they_end() {
        let dial = "; too many attempts to dial";
        let send = "; too many attempts to send";
        let table = [
            ("DONE", 0, String::new(), 3, 1, "delivered 3"),
            ("FAILED", 333, format!("Busy signal detected{dial}"), 0, 1, "retry busy 0"),
            ("FAILED", 333, format!("No answer from remote{dial}"), 0, 1, "retry no_answer 0"),
            ("FAILED", 333, format!("No carrier detected{dial}"), 0, 1, "retry not_a_fax 0"),
            ("FAILED", 333, format!("No local dialtone{dial}"), 0, 1, "retry provider_trouble 0"),
            (
                "FAILED",
                333,
                format!("No response to PPS repeated 3 times.{dial}"),
                0,
                1,
                "retry partly_sent 0",
            ),
            (
                "FAILED",
                333,
                format!("No response to MPS repeated 3 tries{dial}"),
                0,
                1,
                "retry partly_sent 0",
            ),
            ("FAILED", 333, format!("Unspecified Transmit Phase C error{dial}"), 1, 1, "retry partly_sent 1"),
            (
                "FAILED",
                333,
                format!("Failure to receive silence (synchronization failure).{dial}"),
                0,
                1,
                "retry partly_sent 0",
            ),
            (
                "FAILED",
                334,
                format!("Failure to train remote modem at 2400 bps or minimum speed{send}"),
                0,
                1,
                "retry line_trouble 0",
            ),
            // Confirmed pages outweigh what the call ended with.
            ("FAILED", 334, format!("Busy signal detected{send}"), 2, 3, "retry partly_sent 2"),
            ("FAILED", 1, "Busy signal detected".into(), 0, 1, "retry busy 0"),
            ("FAILED", 345, "Job aborted by request".into(), 0, 1, "refused cancelled 0"),
            ("FAILED", 345, "Job aborted by request".into(), 2, 1, "refused cancelled 2"),
            ("FAILED", 333, "REJECT: Too many attempts to dial: 1, max 1".into(), 4, 1, "delivered 4"),
            (
                "FAILED",
                333,
                "REJECT: Too many attempts to dial: 1, max 1".into(),
                2,
                1,
                "retry partly_sent 2",
            ),
            (
                "FAILED",
                333,
                "REJECT: Too many attempts to dial: 1, max 1".into(),
                0,
                1,
                "retry partly_sent 0",
            ),
            ("FAILED", 325, "Kill time expired".into(), 0, 0, "retry provider_trouble 0"),
            ("FAILED", 325, "Kill time expired".into(), 0, 1, "retry unknown 0"),
            (
                "FAILED",
                327,
                "REJECT: Unable to convert dial string to canonical format".into(),
                0,
                0,
                "refused blocked 0",
            ),
            ("FAILED", 999, "Something new".into(), 0, 1, "retry unknown 0"),
            ("FAILED", 333, "; too many attempts to dial".into(), 0, 1, "retry unknown 0"),
            ("FAILED", 0, String::new(), 0, 0, "retry unknown 0"),
            ("ACTIVE", 0, String::new(), 3, 1, "working"),
            ("SLEEPING", 1, "Busy signal detected".into(), 0, 1, "working"),
            ("SUSPENDED", 0, String::new(), 0, 0, "working"),
            ("NEW STATE", 0, String::new(), 0, 0, "working"),
        ];
        for (state, code, text, pages, dials, word) in table {
            let status = status(&facts(state, code, &text, pages, dials));
            assert_eq!(end_word(&status), word, "{state} {code} {text}");
        }
    }

    #[test]
    fn code_and_text_stay_as_they_came_and_bounded() {
        let Status::Ended(report) = status(&facts("FAILED", 1, &"x".repeat(9999), 0, 1)) else { panic!() };
        assert_eq!(report.raw_code.as_deref(), Some("E001"));
        assert!(report.raw_text.unwrap().len() < 500);
    }

    proptest! {
        #[test]
        fn nothing_unknown_is_tried_again_by_itself(code in any::<u16>(), text in ".{0,60}") {
            let known = CODES.iter().any(|(first, last, _)| (*first..=*last).contains(&code))
                || TEXTS.iter().any(|(begin, _)| text.starts_with(begin));
            prop_assume!(!known);
            let Status::Ended(report) = status(&facts("FAILED", code, &text, 0, 1)) else { panic!() };
            prop_assert_eq!(report.outcome.cause(), Some(Cause::Unknown));
        }
    }
}
