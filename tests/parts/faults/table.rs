//! The matrix: what goes wrong, and what is right then.

use std::ops::RangeInclusive;

use faxbridge::job::Cause;
use faxbridge::simulator::server::Quirks;

use super::proxy::{Fault, PAGE, Said};
use super::vendors::Vendor;

/// Something that goes wrong, always with the first submit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    pub(crate) trouble: Trouble,
    /// What goes wrong with the questions that follow.
    pub(crate) asked: Option<(&'static str, Fault)>,
    /// Whether the Job may go another way: over a provider with which all is well.
    pub(crate) routed: bool,
    /// How the provider differs from the simulator's idea of it.
    pub(crate) quirks: Quirks,
    /// A number with which the simulator does something in particular.
    number: Option<&'static str>,
    /// For so many minutes; 0: until the Job waits for the first time.
    pub(crate) minutes: i64,
    /// What is right then.
    ending: Ending,
}

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens.
    Nobody,
    /// Between adapter and provider.
    Wire(Fault),
    /// With the webhook.
    Webhook(Hooks),
}

/// How the webhook comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hooks {
    /// Twice, once the answer is recorded.
    Twice,
    /// Before the answer.
    BeforeTheAnswer,
    /// Not at all.
    Never,
}

/// What is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It went well all the same, and that is known so many seconds after it was taken.
    Delivered(i64),
    /// The fax was certainly not sent: it is tried again so many seconds later, or a tenth more.
    NotSent(Cause, i64),
    /// The same, again and again until the trouble is over; the provider rests meanwhile.
    Rests(Cause),
    /// The same, and it goes the other way of its route at once.
    Switched(Cause),
    /// The answer was lost; the fax is found by its reference and followed to its end.
    Found,
    /// The same, once questions are answered again. Until then nothing is concluded.
    FoundLate,
    /// Nobody can know whether it was taken. It is not found, and not found again after the quiet time; then it is sent again.
    NotTaken,
    /// Nobody can know, and nobody can be asked: a person decides.
    Held,
    /// Questions are answered, and no answer decides it: a person does, once that has gone on for an hour.
    HeldLate,
    /// The answer was lost, and the provider tells by itself, signed, how it ended.
    Told,
    /// The answer was lost, and the provider names the fax in a webhook: it is asked about that name.
    Named,
}

const fn says(status: u16, header: &'static str) -> Trouble {
    Trouble::Wire(Fault::Says(Said { status, header, body: PAGE }))
}

const fn takes_and_says(status: u16) -> Trouble {
    Trouble::Wire(Fault::SaysTaken(Said { status, header: "", body: PAGE }))
}

const fn case(name: &'static str, trouble: Trouble, minutes: i64, ending: Ending) -> Case {
    let quirks = Quirks { bare: false, unlisted: false, probes: false, silent_failures: false };
    Case { name, trouble, asked: None, routed: false, quirks, number: None, minutes, ending }
}

const UNLISTED: Quirks = Quirks { bare: false, unlisted: true, probes: false, silent_failures: false };
const BARE: Quirks = Quirks { bare: true, unlisted: false, probes: false, silent_failures: false };
const PROBES: Quirks = Quirks { bare: false, unlisted: false, probes: true, silent_failures: false };
/// No webhook comes for this one.
const NO_NEWS: Option<&str> = Some("+12125550123");

use Cause::{AccountTrouble, ProviderTrouble, RateLimited};
use Ending::{Delivered, Found, FoundLate, Held, HeldLate, Named, NotSent, NotTaken, Rests, Switched, Told};

/// What goes wrong, and what is right for an adapter of which [`otherwise`] says nothing.
#[rustfmt::skip]
const CASES: &[Case] = &[
    case("connection refused", Trouble::Nobody, 0, NotSent(ProviderTrouble, 60)),
    case("down for an hour", Trouble::Nobody, 60, Rests(ProviderTrouble)),
    case("reset before the body is read", Trouble::Wire(Fault::ResetUnread), 0, NotTaken),
    case("reset after it was taken", Trouble::Wire(Fault::ResetTaken), 0, Found),
    case("reset in the answer", Trouble::Wire(Fault::ResetInAnswer), 0, Found),
    case("no answer in time", Trouble::Wire(Fault::Withheld), 0, Found),
    case("429 with Retry-After", says(429, "Retry-After: 90"), 0, NotSent(RateLimited, 90)),
    case("429 without", says(429, ""), 0, NotSent(RateLimited, 60)),
    case("401, the API's own", Trouble::Wire(Fault::Stranger), 20, Rests(AccountTrouble)),
    case("402", says(402, ""), 20, Rests(AccountTrouble)),
    case("403", says(403, ""), 20, Rests(AccountTrouble)),
    case("404 of a proxy", says(404, ""), 0, NotTaken),
    case("500, not taken", says(500, ""), 0, NotTaken),
    case("500, taken", takes_and_says(500), 0, Found),
    case("200 with garbage, not taken", says(200, ""), 0, NotTaken),
    case("200 with garbage, taken", takes_and_says(200), 0, Found),
    case("the answer's JSON breaks off", Trouble::Wire(Fault::Truncated), 0, Found),
    case("webhook twice", Trouble::Webhook(Hooks::Twice), 0, Delivered(0)),
    case("webhook before the answer", Trouble::Webhook(Hooks::BeforeTheAnswer), 0, Delivered(0)),
    case("webhook never", Trouble::Webhook(Hooks::Never), 0, Delivered(15)),
];

/// What providers do otherwise than the simulator.
#[rustfmt::skip]
const QUIRKS: &[Case] = &[
    Case { quirks: UNLISTED, ..case("answer lost, no list shows it, the provider tells", Trouble::Wire(Fault::ResetTaken), 0, Told) },
    Case { quirks: BARE, number: NO_NEWS, ..case("answer lost, the list shows it without labels", Trouble::Wire(Fault::ResetTaken), 0, HeldLate) },
    Case { quirks: BARE, ..case("answer and webhook without labels", Trouble::Webhook(Hooks::Twice), 0, Delivered(0)) },
    Case { quirks: PROBES, ..case("a look at the document before it is fetched", Trouble::Webhook(Hooks::Twice), 0, Delivered(0)) },
];

/// What goes wrong with questions, for ten minutes, after the answer to the submit was lost or while the call is awaited. It is
/// never news: nothing follows from it.
#[rustfmt::skip]
const ASKED: &[(&str, Fault)] = &[
    ("reset", Fault::ResetUnread),
    ("reset in the answer", Fault::ResetInAnswer),
    ("the JSON breaks off", Fault::Truncated),
    ("401, the API's own", Fault::Stranger),
    ("404 of a proxy", Fault::Says(Said { status: 404, header: "", body: PAGE })),
    ("429", Fault::Says(Said { status: 429, header: "Retry-After: 90", body: PAGE })),
    ("500", Fault::Says(Said { status: 500, header: "", body: PAGE })),
    ("200 with garbage", Fault::Says(Said { status: 200, header: "", body: PAGE })),
    ("200 with an empty object", Fault::Says(Said { status: 200, header: "", body: "{}" })),
];

/// What also goes wrong where the Job may go another way.
const ROUTED: &[&str] = &[
    "connection refused",
    "reset before the body is read",
    "reset after it was taken",
    "429 with Retry-After",
    "401, the API's own",
    "500, not taken",
];

/// Every cell of an adapter.
pub(crate) fn cells(vendor: &Vendor) -> Vec<Case> {
    let mut cells = CASES.to_vec();
    let fetches = matches!(vendor.name, "telnyx" | "signalwire");
    // An upload does not order anything, and the simulator's own label is not optional.
    let quirks =
        QUIRKS.iter().filter(|case| vendor.name != "faxplus, upload" && (!case.quirks.probes || fetches));
    cells.extend(quirks.filter(|case| !case.quirks.bare || vendor.name != "simulator"));
    // With an upload nothing can be lost, and nothing is asked.
    if vendor.name != "faxplus, upload" {
        let lost = case("answer lost", Trouble::Wire(Fault::ResetTaken), 10, FoundLate);
        let taken = case("taken", Trouble::Webhook(Hooks::Never), 10, Delivered(15));
        for fault in ASKED {
            cells.extend([lost, taken].map(|case| Case { asked: Some(*fault), ..case }));
        }
    }
    // What is asked here would be told: by a webhook, where it is signed, at once.
    for case in &mut cells {
        if matches!(case.ending, Found | FoundLate) && vendor.name != "faxplus, upload" {
            case.number = NO_NEWS;
        }
    }
    // Who cannot be asked is not asked.
    cells.retain(|case| vendor.name != "signalwire" || case.ending != FoundLate);
    let routed = cells.iter().filter(|case| case.asked.is_none() && ROUTED.contains(&case.name));
    let routed: Vec<Case> = routed.map(|case| Case { routed: true, minutes: 0, ..*case }).collect();
    cells.extend(routed);
    cells
}

/// What is right for this adapter in particular, and why.
fn otherwise(vendor: &Vendor, case: &Case) -> Option<(Ending, &'static str)> {
    match (vendor.name, case.ending) {
        ("signalwire", Found | NotTaken | Told | HeldLate) => Some((
            Held,
            "it has no search by our reference, and its webhooks name nothing and are not signed",
        )),
        ("sinch" | "faxplus, order", Told) => {
            Some((Named, "its webhooks are not signed, and name the fax: it is asked about that name"))
        }
        ("srfax", Told) => {
            Some((HeldLate, "its webhooks are not signed, and name nothing but our reference"))
        }
        ("interfax", Told) => {
            Some((HeldLate, "its webhooks are not signed, and no answer says whose fax it is that they name"))
        }
        ("faxplus, upload", Found | NotTaken) => {
            Some((NotSent(ProviderTrouble, 60), "an upload calls nobody: the order never left"))
        }
        _ => None,
    }
}

impl Case {
    pub(crate) fn ending(&self, vendor: &Vendor) -> Ending {
        match otherwise(vendor, self).map_or(self.ending, |(ending, _)| ending) {
            // An answer that was lost goes nowhere else: what is known then is only the word of who lost it.
            NotSent(cause, _) | Rests(cause) if self.routed => Switched(cause),
            ending => ending,
        }
    }

    pub(crate) fn title(&self) -> String {
        let asked = self.asked.map_or(String::new(), |(name, _)| format!(", asked: {name}"));
        format!("{}{asked}{}", self.name, if self.routed { ", another way" } else { "" })
    }

    /// A number with which the simulator does what is meant with webhooks.
    pub(crate) fn number(&self) -> &'static str {
        match self.trouble {
            _ if self.number.is_some() => self.number.unwrap_or_default(),
            Trouble::Webhook(Hooks::Twice) => "+12125550121",
            Trouble::Webhook(Hooks::BeforeTheAnswer) => "+12125550122",
            Trouble::Webhook(Hooks::Never) => "+12125550123",
            _ => "+12125550100",
        }
    }

    /// Whether the provider has the fax after the first submit.
    pub(crate) fn takes(&self) -> bool {
        match self.trouble {
            Trouble::Nobody => false,
            Trouble::Wire(fault) => fault.takes(),
            Trouble::Webhook(_) => true,
        }
    }
}

/// What is to be seen of an [`Ending`].
pub(crate) struct Story {
    /// The state in which the Job waits first.
    pub(crate) rests_as: &'static str,
    /// For how many seconds.
    pub(crate) waits: RangeInclusive<i64>,
    /// Its states, `AGAIN` standing for one more try that was not sent.
    pub(crate) path: &'static str,
    /// What the Attempts came to; the first may repeat where the path says `AGAIN`.
    pub(crate) tries: Vec<&'static str>,
}

impl Ending {
    pub(crate) fn story(self, taken: bool) -> Story {
        let told = |rests_as, waits, path, tries: &[&'static str]| Story {
            rests_as,
            waits,
            path,
            tries: tries.to_vec(),
        };
        match self {
            Delivered(0) => {
                told("delivered", 0..=0, "queued > sending > in_transit > delivered", &["delivered"])
            }
            Delivered(seconds) => {
                let path = "queued > sending > in_transit > delivered";
                told("in_transit", seconds..=seconds, path, &["delivered"])
            }
            NotSent(cause, seconds) => told(
                "queued",
                seconds..=seconds * 11 / 10,
                "queued > sending > queued > sending > in_transit > delivered",
                &[cause.as_str(), "delivered"],
            ),
            Rests(cause) => told(
                "queued",
                60..=66,
                "queued > sending > queued AGAIN > sending > in_transit > delivered",
                &[cause.as_str(), "delivered"],
            ),
            Switched(cause) => told(
                "delivered",
                0..=0,
                "queued > sending > queued > sending > in_transit > delivered",
                &[cause.as_str(), "delivered"],
            ),
            FoundLate => {
                let path = "queued > sending > unclear > in_transit > delivered";
                told("unclear", 15..=15, path, &["delivered"])
            }
            Found => {
                let path = "queued > sending > unclear > in_transit > delivered";
                told("in_transit", 15..=15, path, &["delivered"])
            }
            NotTaken => told(
                "unclear",
                15..=15,
                "queued > sending > unclear > queued > sending > in_transit > delivered",
                &["not_taken", "delivered"],
            ),
            HeldLate => {
                told("unclear", 15..=15, "queued > sending > unclear > held > delivered", &["unclear"])
            }
            Told => told("delivered", 0..=0, "queued > sending > unclear > delivered", &["delivered"]),
            Named => {
                let path = "queued > sending > unclear > in_transit > delivered";
                told("in_transit", 15..=15, path, &["delivered"])
            }
            // The person says that it arrived, or lets it go out again.
            Held if taken => {
                told("held", 0..=0, "queued > sending > unclear > held > delivered", &["unclear"])
            }
            Held => told(
                "held",
                0..=0,
                "queued > sending > unclear > held > queued > sending > in_transit > delivered",
                &["unclear", "delivered"],
            ),
        }
    }
}
