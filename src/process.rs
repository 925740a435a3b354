//! What keeps a process's memory to itself, and the limits that it lives under.
//!
//! Documents, texts and keys are in memory while they are worked on. What becomes of that memory is settled here and where the
//! program begins: freed memory is overwritten (`main.rs` has the allocator), a crash writes none of it to a disk, and no other
//! process of the same account can look into it. What can be swapped out is for whoever sets up the machine: the systemd unit
//! turns that off for this service.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Lets nothing of this process's memory go anywhere: no core dumps, no debugger of the same account. Each program of ours calls
/// it before anything else; a program that it becomes, or starts, has to do it again.
///
/// # Errors
/// What the system says; then it may still dump core.
pub fn keep_memory_private() -> rustix::io::Result<()> {
    lower(Resource::Core, 0)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Overwrites the part of this thread's stack that was in use last. What functions had in their variables stays there until
/// others use the place, and a thread that waits uses none: so threads do this before they wait.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0u8; STACK_WIPED];
    std::hint::black_box(&mut below);
}

/// Deeper than any work of ours goes; a microsecond or two.
const STACK_WIPED: usize = 64 * 1024;

/// Lowers a limit to `most`. One that is lower already stays: whoever set it meant it.
///
/// # Errors
/// What the system says.
pub fn lower(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let now = getrlimit(resource);
    let least = |limit: Option<u64>| Some(limit.map_or(most, |limit| limit.min(most)));
    setrlimit(resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_lower_already_stays() {
        // One that this process has no use for, so that the other tests do not miss it.
        let resource = Resource::Rttime;
        lower(resource, 1_000_000).unwrap();
        lower(resource, 2_000_000).unwrap();
        assert_eq!(getrlimit(resource), Rlimit { current: Some(1_000_000), maximum: Some(1_000_000) });
        lower(resource, 500_000).unwrap();
        assert_eq!(getrlimit(resource).maximum, Some(500_000));
    }
}
