//! The named steps of a fax at which the crash test kills the process.
//!
//! `FAXBRIDGE_CRASH_AT=attempt.committed:3` ends the process with SIGKILL the third time it reaches that step: no
//! destructor runs, no buffer is flushed, as in a power cut that the disk survives. Without the variable a step costs one
//! atomic load. It is compiled in always, so that what is tested is what is shipped.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every step, in the order in which a fax passes them. The name is what `FAXBRIDGE_CRASH_AT` takes.
pub const STEPS: &[&str] = &[
    "intake.synced",
    "intake.committed",
    "intake.answered",
    "imap.accepted",
    "imap.recorded",
    "prepare.claimed",
    "prepare.sealed",
    "prepare.committed",
    "imap.moving",
    "imap.copied",
    "imap.moved",
    "attempt.committed",
    "handle.kept",
    "request.sent",
    "answer.recorded",
    "outcome.received",
    "outcome.recorded",
    "receipt.sending",
    "receipt.sent",
    "receipt.recorded",
    "retention.key_destroyed",
    "retention.unlinked",
];

static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Marks that `step` was reached; ends the process here and now if the environment says so.
pub fn reached(step: &'static str) {
    debug_assert!(STEPS.contains(&step), "{step} is not in crash::STEPS");
    let plan = PLAN.get_or_init(|| plan_from(std::env::var("FAXBRIDGE_CRASH_AT").ok().as_deref()));
    if let Some((at, count)) = plan
        && at == step
        && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Reads `step` or `step:count`.
fn plan_from(value: Option<&str>) -> Option<(String, u64)> {
    let value = value?;
    let (step, count) = value.split_once(':').unwrap_or((value, "1"));
    Some((step.to_owned(), count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_step_and_a_count() {
        assert_eq!(plan_from(None), None);
        assert_eq!(plan_from(Some("request.sent")), Some(("request.sent".into(), 1)));
        assert_eq!(plan_from(Some("request.sent:7")), Some(("request.sent".into(), 7)));
        assert_eq!(plan_from(Some("request.sent:x")), None);
    }
}
