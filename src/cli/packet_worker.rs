//! `faxbridge packet-worker`: the child process in which documents are opened; started by the daemon, never by a person.

use std::process::ExitCode;

/// The child reads its limits from the command line by itself, before anything else happens in it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Limits, as the daemon sets them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _limits: Vec<String>,
}

pub(crate) fn run(_arguments: &Arguments) -> ExitCode {
    faxbridge::packet::worker_main()
}
