//! The checklist of a receipt: what was examined before a fax was sent, as it was recorded then. A box is ticked only for what somebody or
//! something examined and found good; for what nobody examined, the line says so.

use jiff::Timestamp;

use super::Check;
use crate::job::{Hold, JobState};
use crate::policy::{CoverLook, Evidence, Recipient, Seal, Standing};
use crate::store::AttemptRow;
use crate::text::counted;

/// Whether it was found good, and how.
type Line = (bool, String);

const NOTHING: &str = "nothing was recorded of what was examined";

/// The six items of every receipt; `zone` is the IANA name of the time zone in which days are told.
pub(super) fn checklist(
    evidence: Option<&Evidence>,
    state: &JobState,
    attempts: &[AttemptRow],
    zone: &str,
) -> Vec<Check> {
    let line = |what: fn(&Evidence, &str) -> Line| {
        evidence.map_or_else(|| (false, NOTHING.to_owned()), |evidence| what(evidence, zone))
    };
    [
        ("authorization", line(authorization)),
        ("recipient", line(|evidence, zone| recipient(&evidence.recipient, zone))),
        ("packet", line(packet)),
        ("cover sheet", line(cover)),
        ("privacy", line(privacy)),
        ("proof", proof(state, attempts)),
    ]
    .map(|(item, (ok, note))| Check { item: item.to_owned(), ok, note })
    .into()
}

/// Whose it is, and what proved that.
fn authorization(evidence: &Evidence, _: &str) -> Line {
    let Some(from) = &evidence.authorization else { return (false, NOTHING.to_owned()) };
    let sent = format!("sent by {} over {}", from.sender, from.source);
    let (ok, how) = match from.proof {
        Some(proof) => (true, proof.words()),
        None if from.source.starts_with("sftp") => (true, "signed in over SFTP"),
        None => (false, "who handed it in was not examined"),
    };
    match lifted(evidence, Hold::Proof) {
        Some(words) => (evidence.lifted, format!("{sent}: {how}, which leaves something open{words}")),
        None => (ok, format!("{sent}: {how}")),
    }
}

/// What the register said of the number.
fn recipient(said: &Recipient, zone: &str) -> Line {
    let day = |at: Timestamp| {
        at.in_tz(zone).map_or_else(|_| at.to_string(), |at| at.strftime("%-d %B %Y").to_string())
    };
    let verified = match (&said.verified_by, said.verified_at) {
        (Some(by), Some(at)) => {
            let both = said.second_by.as_ref().map_or(by.clone(), |second| format!("{by} and {second}"));
            Some(format!("number verified by {both} on {}", day(at)))
        }
        _ => None,
    };
    match (said.standing, verified) {
        (Standing::Verified, Some(verified)) => (true, verified),
        (Standing::Verified, None) => (true, "number verified".to_owned()),
        (Standing::OnePerson, Some(verified)) => {
            (false, format!("{verified}; a second person has to confirm it"))
        }
        (Standing::Expired, Some(verified)) => {
            let until = said.valid_until.map_or(String::new(), |until| format!(" on {}", day(until)));
            (false, format!("{verified}, which expired{until}"))
        }
        (Standing::Suspended, _) => (false, "the number is suspended".to_owned()),
        (Standing::Unknown, _) => (false, "the register has no such recipient".to_owned()),
        (Standing::BadNumber, _) => (false, "no number that can be dialled is known".to_owned()),
        (Standing::NotListed, _) => (false, "the number is not in the register".to_owned()),
        (Standing::Unverified | Standing::OnePerson | Standing::Expired, _) => {
            (false, "nobody has verified this number".to_owned())
        }
    }
}

fn packet(evidence: &Evidence, _: &str) -> Line {
    match evidence.packet {
        Some(packet) => (true, format!("{}, every part accounted for", counted(packet.pages, "page"))),
        None if evidence.found.contains(&Hold::Part) => {
            (false, "a part could not be made into pages".to_owned())
        }
        None => (false, "not made".to_owned()),
    }
}

fn cover(evidence: &Evidence, _: &str) -> Line {
    match evidence.packet {
        Some(packet) if packet.cover_pages == 0 => {
            (true, "left out, as the rule lets its sender ask".to_owned())
        }
        Some(packet) => (packet.cover_pages == 1, format!("page 1 of {}", packet.pages)),
        None => (false, "not made".to_owned()),
    }
}

/// What was looked for on the cover, and how the pages lay until they left.
fn privacy(evidence: &Evidence, _: &str) -> Line {
    let (ok, looked) = match (evidence.cover, lifted(evidence, Hold::Cover)) {
        (None, _) => (false, "nothing was recorded of a look through the cover".to_owned()),
        (Some(CoverLook::LeftOut), _) => {
            (evidence.seal.is_some(), "no cover, so none was looked through".to_owned())
        }
        (Some(CoverLook::LookedThrough), None) => {
            (true, "cover looked through, nothing clinical found".to_owned())
        }
        (Some(CoverLook::LookedThrough), Some(words)) => (
            evidence.lifted,
            format!("cover looked through, and something found that a person had to see{words}"),
        ),
    };
    match evidence.seal {
        Some(Seal::AsPrepared) => (ok, format!("{looked}; pages read from their seal as prepared")),
        Some(Seal::NotNow | Seal::Broken) => (false, format!("{looked}; the sealed pages could not be read")),
        None => (ok, looked),
    }
}

/// That a person let it go on, where `hold` was found; `None` where it was not.
fn lifted(evidence: &Evidence, hold: Hold) -> Option<&'static str> {
    evidence.found.contains(&hold).then_some(if evidence.lifted { "; a person let it go on" } else { "" })
}

/// Who says that it was delivered.
fn proof(state: &JobState, attempts: &[AttemptRow]) -> Line {
    let confirmed = attempts.iter().rev().find(|attempt| attempt.is_confirmed());
    match (state, confirmed) {
        (JobState::Delivered, Some(attempt)) => {
            (true, format!("delivery reported by {} in attempt {}", attempt.provider, attempt.n))
        }
        (JobState::Delivered, None) => {
            (false, "a person stated that it arrived; no provider reported it".to_owned())
        }
        _ => (false, "no delivery was reported".to_owned()),
    }
}

#[cfg(test)]
mod tests;
