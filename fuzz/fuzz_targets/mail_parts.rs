//! A mail to its parts, every one of them accounted for: see `faxbridge::packet::fuzzing`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| faxbridge::packet::fuzzing::mail(data));
