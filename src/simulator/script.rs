//! What the simulator does with a fax: decided by the last two digits of its number.
//!
//! "Tries" are counted per job: references of the form `JOB-ATTEMPT` with the same `JOB` share one count. All other
//! endings are delivered at once, as 00 is. The same table is served at `GET /v1/numbers`.
//!
//! | number ends in | what happens |
//! | --- | --- |
//! | 00 | delivered |
//! | 10 | busy at the first try, then delivered |
//! | 11 | busy at the first two tries, then delivered |
//! | 12 | busy, always |
//! | 13 | no answer, always |
//! | 14 | a voice answers |
//! | 15 | the number is not in service |
//! | 16 | the line breaks after the first page |
//! | 17 | the document is refused, at once |
//! | 18 | 429 at the first two tries with Retry-After 1, then delivered |
//! | 19 | 500 after taking the fax; delivered |
//! | 20 | takes the fax, answers later than the client waits; delivered |
//! | 21 | delivered; the webhook comes twice |
//! | 22 | delivered; the webhook comes before the answer |
//! | 23 | delivered; the webhook never comes |
//! | 24 | connection reset after taking the fax; delivered |
//! | 25 | 503 with Retry-After 1 at the first two tries, not taken; then delivered |
//! | 26 | 500 after taking the fax, and the first question by reference does not find it; delivered |
//! | 27 | what answers is not a fax machine, always |
//! | 28 | line trouble before the first page at the first try, then delivered |
//! | 29 | fails with a code that stands in no table |
//! | 30 | the far end refuses the call |
//! | 31 | the document cannot be made into pages, found out after taking it |
//! | 32 | 402: no balance, not taken |
//! | 33 | 200 with an answer that makes no sense; taken and delivered |
//! | 34 | 502 at the first try and not taken, then delivered |
//! | 35 | stays in the queue until it is cancelled |
//! | 36 | is dialled and never ends |
//! | 37 | taken, then forgotten: asked for it, the simulator says that it has no such fax |
//! | 38 | connection reset at the first try before taking the fax, then delivered |
//! | 39 | the number is refused as no telephone number, at once |

use serde::Serialize;

/// What the client gets to see of its submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptedAnswer {
    /// 201 with the fax.
    Created,
    /// 422: nothing can be made of the document. Not taken.
    DocumentRefused,
    /// 422: the number is none. Not taken.
    NumberRefused,
    /// 429 with Retry-After. Not taken.
    RateLimited,
    /// 503 with Retry-After. Not taken.
    Unavailable,
    /// 402. Not taken.
    NoBalance,
    /// 502, as a proxy gives it whose server is gone. Not taken.
    GatewayLost,
    /// The connection is reset. Not taken.
    ResetUntaken,
    /// 500. Taken.
    FailureTaken,
    /// 201, after longer than any client waits. Taken.
    Late,
    /// The connection is reset. Taken.
    ResetTaken,
    /// 200 with a page that is not of this API. Taken.
    Garbage,
}

impl ScriptedAnswer {
    /// Whether the fax is in the book afterwards.
    pub(super) fn takes(self) -> bool {
        matches!(
            self,
            ScriptedAnswer::Created
                | ScriptedAnswer::FailureTaken
                | ScriptedAnswer::Late
                | ScriptedAnswer::ResetTaken
                | ScriptedAnswer::Garbage
        )
    }
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Every page arrives.
    Delivers,
    /// It fails with this code and text; no page arrives.
    Fails(&'static str, &'static str),
    /// One page arrives, then the line breaks.
    Breaks,
    /// It is never dialled.
    Waits,
    /// It is dialled and never ends.
    Hangs,
}

/// How often the end is reported, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reports {
    Once,
    Twice,
    BeforeTheAnswer,
    Never,
}

/// All that is decided about one fax when it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) answer: ScriptedAnswer,
    pub(super) call: Call,
    pub(super) reports: Reports,
    /// Questions by reference that do not find it although it is there.
    pub(super) list_lags: u32,
    /// Whether asking for it by its id says that there is none.
    pub(super) forgotten: bool,
}

const PLAIN: Plan = Plan {
    answer: ScriptedAnswer::Created,
    call: Call::Delivers,
    reports: Reports::Once,
    list_lags: 0,
    forgotten: false,
};

/// One line of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Row {
    /// The last two digits of the number.
    pub ending: &'static str,
    /// What happens, in words.
    pub happens: &'static str,
    #[serde(skip)]
    plan: Plan,
    /// The plan holds for this many tries of a job; later ones are delivered. 0: for all.
    #[serde(skip)]
    tries: u32,
}

const fn row(ending: &'static str, happens: &'static str, tries: u32, plan: Plan) -> Row {
    Row { ending, happens, plan, tries }
}

const fn answers(answer: ScriptedAnswer) -> Plan {
    Plan { answer, ..PLAIN }
}

const fn calls(call: Call) -> Plan {
    Plan { call, ..PLAIN }
}

const BUSY: Plan = calls(Call::Fails("line.busy", "user busy"));

/// The whole table; the module documentation shows the same.
pub static TABLE: &[Row] = &[
    row("00", "delivered", 0, PLAIN),
    row("10", "busy at the first try, then delivered", 1, BUSY),
    row("11", "busy at the first two tries, then delivered", 2, BUSY),
    row("12", "busy, always", 0, BUSY),
    row("13", "no answer, always", 0, calls(Call::Fails("line.no_answer", "no answer"))),
    row("14", "a voice answers", 0, calls(Call::Fails("line.voice", "answered by a voice"))),
    row(
        "15",
        "the number is not in service",
        0,
        calls(Call::Fails("line.not_in_service", "unallocated number")),
    ),
    row("16", "the line breaks after the first page", 0, calls(Call::Breaks)),
    row("17", "the document is refused, at once", 0, answers(ScriptedAnswer::DocumentRefused)),
    row(
        "18",
        "429 at the first two tries with Retry-After 1, then delivered",
        2,
        answers(ScriptedAnswer::RateLimited),
    ),
    row("19", "500 after taking the fax; delivered", 0, answers(ScriptedAnswer::FailureTaken)),
    row(
        "20",
        "takes the fax, answers later than the client waits; delivered",
        0,
        answers(ScriptedAnswer::Late),
    ),
    row("21", "delivered; the webhook comes twice", 0, Plan { reports: Reports::Twice, ..PLAIN }),
    row(
        "22",
        "delivered; the webhook comes before the answer",
        0,
        Plan { reports: Reports::BeforeTheAnswer, ..PLAIN },
    ),
    row("23", "delivered; the webhook never comes", 0, Plan { reports: Reports::Never, ..PLAIN }),
    row("24", "connection reset after taking the fax; delivered", 0, answers(ScriptedAnswer::ResetTaken)),
    row(
        "25",
        "503 with Retry-After 1 at the first two tries, not taken; then delivered",
        2,
        answers(ScriptedAnswer::Unavailable),
    ),
    row(
        "26",
        "500 after taking the fax, and the first question by reference does not find it; delivered",
        0,
        Plan { list_lags: 1, ..answers(ScriptedAnswer::FailureTaken) },
    ),
    row(
        "27",
        "what answers is not a fax machine, always",
        0,
        calls(Call::Fails("fax.no_tone", "no fax tone heard")),
    ),
    row(
        "28",
        "line trouble before the first page at the first try, then delivered",
        1,
        calls(Call::Fails("fax.line_trouble", "training failed")),
    ),
    row(
        "29",
        "fails with a code that stands in no table",
        0,
        calls(Call::Fails("x.9917", "general disturbance")),
    ),
    row("30", "the far end refuses the call", 0, calls(Call::Fails("line.blocked", "call rejected"))),
    row(
        "31",
        "the document cannot be made into pages, found out after taking it",
        0,
        calls(Call::Fails("document.unreadable", "conversion failed")),
    ),
    row("32", "402: no balance, not taken", 0, answers(ScriptedAnswer::NoBalance)),
    row(
        "33",
        "200 with an answer that makes no sense; taken and delivered",
        0,
        answers(ScriptedAnswer::Garbage),
    ),
    row("34", "502 at the first try and not taken, then delivered", 1, answers(ScriptedAnswer::GatewayLost)),
    row("35", "stays in the queue until it is cancelled", 0, calls(Call::Waits)),
    row("36", "is dialled and never ends", 0, calls(Call::Hangs)),
    row(
        "37",
        "taken, then forgotten: asked for it, the simulator says that it has no such fax",
        0,
        Plan { forgotten: true, reports: Reports::Never, ..PLAIN },
    ),
    row(
        "38",
        "connection reset at the first try before taking the fax, then delivered",
        1,
        answers(ScriptedAnswer::ResetUntaken),
    ),
    row(
        "39",
        "the number is refused as no telephone number, at once",
        0,
        answers(ScriptedAnswer::NumberRefused),
    ),
];

/// What happens to a fax to `number` that is the `nth` try of its job (1 for the first).
pub(super) fn plan(number: &str, nth: u32) -> Plan {
    let row = TABLE.iter().find(|row| number.ends_with(row.ending));
    row.filter(|row| row.tries == 0 || nth <= row.tries).map_or(PLAIN, |row| row.plan)
}

/// How a provider differs from the simulator's idea of it, for all faxes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// What the vendors' descriptions call optional is left out of answers, lists and webhooks: labels, tags, states, comments,
    /// account codes.
    pub bare: bool,
    /// No list ever shows a fax, and no search finds it.
    pub unlisted: bool,
    /// Before a document is fetched, its first bytes are, and its head.
    pub probes: bool,
    /// Why a fax failed stands in webhooks only.
    pub silent_failures: bool,
}

/// Misbehaviour by chance on top of the table, for the crash test. Each figure is a probability in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chaos {
    /// Where the chance starts: the same seed and order of requests give the same misbehaviour.
    pub seed: u64,
    /// 500 after taking the fax.
    pub failure_taken: u32,
    /// Connection reset after taking the fax.
    pub reset_taken: u32,
    /// Connection reset before taking it.
    pub reset_untaken: u32,
    /// 503, not taken.
    pub unavailable: u32,
    /// Taken, answered too late.
    pub late: u32,
    /// The webhook never comes.
    pub report_lost: u32,
    /// The webhook comes twice.
    pub report_twice: u32,
    /// The webhook comes before the answer.
    pub report_early: u32,
    /// The first question by reference does not find it.
    pub list_lags: u32,
    /// Busy, although the number would be answered.
    pub busy: u32,
}

impl Chaos {
    /// A bad day at the provider.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Chaos {
            seed,
            failure_taken: 30,
            reset_taken: 30,
            reset_untaken: 30,
            unavailable: 30,
            late: 10,
            report_lost: 100,
            report_twice: 100,
            report_early: 50,
            list_lags: 100,
            busy: 30,
        }
    }

    /// Spoils `plan`, if it is a plain one, for the `count`th request.
    pub(super) fn spoil(&self, plan: Plan, count: u64) -> Plan {
        if plan != PLAIN {
            return plan;
        }
        let mut answer = ScriptedAnswer::Created;
        let mut draw = self.draw(count, 0);
        for (share, kind) in [
            (self.failure_taken, ScriptedAnswer::FailureTaken),
            (self.reset_taken, ScriptedAnswer::ResetTaken),
            (self.reset_untaken, ScriptedAnswer::ResetUntaken),
            (self.unavailable, ScriptedAnswer::Unavailable),
            (self.late, ScriptedAnswer::Late),
        ] {
            if draw < share {
                answer = kind;
                break;
            }
            draw -= share;
        }
        let report = self.draw(count, 1);
        let reports = if report < self.report_lost {
            Reports::Never
        } else if report < self.report_lost + self.report_twice {
            Reports::Twice
        } else if report < self.report_lost + self.report_twice + self.report_early {
            Reports::BeforeTheAnswer
        } else {
            Reports::Once
        };
        let list_lags = u32::from(self.draw(count, 2) < self.list_lags);
        let call = if self.draw(count, 3) < self.busy { BUSY.call } else { Call::Delivers };
        Plan { answer, call, reports, list_lags, forgotten: false }
    }

    /// A number below 1000 that depends on nothing but the seed and the arguments (splitmix64).
    fn draw(&self, count: u64, aspect: u64) -> u32 {
        let mut z = self.seed.wrapping_add((count * 8 + aspect + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % 1000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_documentation_is_the_table_in_the_code() {
        let mut made = String::from("//! | number ends in | what happens |\n//! | --- | --- |\n");
        for row in TABLE {
            made.push_str(&format!("//! | {} | {} |\n", row.ending, row.happens));
        }
        let written: String = include_str!("script.rs")
            .lines()
            .filter(|line| line.starts_with("//! |"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(written, made, "copy the right-hand side into the module documentation");
    }

    #[test]
    fn endings_are_two_digits_and_stand_once_in_order() {
        let endings: Vec<&str> = TABLE.iter().map(|row| row.ending).collect();
        let mut sorted = endings.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(endings, sorted);
        assert!(endings.iter().all(|e| e.len() == 2 && e.bytes().all(|b| b.is_ascii_digit())));
    }

    #[test]
    fn tries_count() {
        let busy = |number, nth| plan(number, nth).call == BUSY.call;
        assert_eq!(
            [busy("+12125550111", 1), busy("+12125550111", 2), busy("+12125550111", 3)],
            [true, true, false]
        );
        assert!(busy("+12125550112", 99));
        assert_eq!(plan("+12125550199", 1), PLAIN);
        assert_eq!(plan("+12125550105", 1), PLAIN);
    }

    #[test]
    fn chaos_comes_about_as_often_as_it_says_and_leaves_scripted_numbers_alone() {
        let chaos = Chaos::new(7);
        let n = 10_000;
        let plans: Vec<Plan> = (0..n).map(|count| chaos.spoil(PLAIN, count)).collect();
        let share = |f: &dyn Fn(&Plan) -> bool| plans.iter().filter(|p| f(p)).count() * 1000 / plans.len();
        assert!((20..40).contains(&share(&|p| p.answer == ScriptedAnswer::ResetTaken)));
        assert!((80..120).contains(&share(&|p| p.reports == Reports::Never)));
        assert_eq!(chaos.spoil(BUSY, 1), BUSY);
        assert_eq!(chaos.spoil(PLAIN, 17), Chaos::new(7).spoil(PLAIN, 17));
    }
}
