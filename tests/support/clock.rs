//! A wall clock that a story steps, for one daemon alone: Debian's libfaketime. The monotonic clock goes on as it is.

use std::path::{Path, PathBuf};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// See the module.
#[derive(Debug)]
pub(crate) struct Clock(PathBuf);

impl Clock {
    /// One that goes right, kept in the file `at`.
    pub(crate) fn at(at: PathBuf) -> Clock {
        assert!(Path::new(LIBRARY).exists(), "the package faketime is installed");
        let clock = Clock(at);
        clock.step("+0");
        clock
    }

    /// What the daemon needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let one = || "1".to_owned();
        vec![
            ("LD_PRELOAD", LIBRARY.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.display().to_string()),
            ("FAKETIME_NO_CACHE", one()),
            ("DONT_FAKE_MONOTONIC", one()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", one()),
            ("NO_FAKE_STAT", one()),
        ]
    }

    /// Sets it `ahead` of the true time: `+8d`, `-90`, `+0`.
    pub(crate) fn step(&self, ahead: &str) {
        // Renamed into place: the library reads it whenever the daemon asks for the time.
        let new = self.0.with_extension("new");
        std::fs::write(&new, ahead).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}
