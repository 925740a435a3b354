//! Whether the disk has room, told once when it has not and once when it has again.

use crate::config::Config;

/// With less than this the disk is full, whatever the configuration leaves free.
const FULL: u64 = 1 << 20;

/// What a look at the disk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing that was not told.
    Same,
    /// There is too little room; the sentence for the operator.
    Short(String),
    /// There is room again.
    Over,
}

/// Looks at the free space from time to time.
#[derive(Debug)]
pub(super) struct DiskWatch {
    /// Less is too little.
    least: u64,
    /// After that, enough is this.
    enough: u64,
    shown: String,
    short: bool,
}

impl DiskWatch {
    pub(super) fn new(config: &Config) -> Self {
        DiskWatch::with(config.limits.disk_reserve.get(), config.store.data_dir.display().to_string())
    }

    fn with(reserve: u64, shown: String) -> Self {
        let least = reserve.max(FULL);
        // A tenth more, so that what comes and goes does not raise and clear the alarm each time.
        DiskWatch { least, enough: least.saturating_add(least / 10), shown, short: false }
    }

    /// `free` bytes are free.
    pub(super) fn look(&mut self, free: u64) -> Look {
        match self.short {
            false if free < self.least => {
                self.short = true;
                Look::Short(format!(
                    "the disk under {} has {} MB free, and {} MB are to stay free (limits.disk_reserve): nothing is taken in and nothing \
                     prepared until there is room; remove what does not belong there, or give it a larger disk",
                    self.shown,
                    free / 1_000_000,
                    self.least.div_ceil(1_000_000),
                ))
            }
            true if free >= self.enough => {
                self.short = false;
                Look::Over
            }
            _ => Look::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_and_over_only_when_there_is_room_to_spare() {
        const MB: u64 = 1_000_000;
        let mut disk = DiskWatch::with(100 * MB, "/data".into());
        let mut told = Vec::new();
        for free in [300, 101, 99, 98, 101, 105, 109, 110, 101, 99] {
            told.push(match disk.look(free * MB) {
                Look::Same => '.',
                Look::Short(_) => '!',
                Look::Over => 'o',
            });
        }
        assert_eq!(told.into_iter().collect::<String>(), "..!....o.!");
        let mut none = DiskWatch::with(0, "/data".into());
        assert!(matches!(none.look(4096), Look::Short(cause) if cause.contains("/data has 0 MB free")));
        assert_eq!(none.look(2 << 20), Look::Over);
    }
}
