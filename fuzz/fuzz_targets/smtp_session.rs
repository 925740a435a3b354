//! What a client may say to the SMTP listener, byte by byte: see `faxbridge::intake::smtp::fuzzing`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| faxbridge::intake::smtp::fuzzing::session(data));
