//! The program `faxbridge`: arguments to a subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("packet-worker") {
        return faxbridge::packet::worker_main();
    }
    ExitCode::SUCCESS
}
