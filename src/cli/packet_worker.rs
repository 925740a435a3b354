//! `faxbridge packet-worker`: the child process in which documents are opened; started by the daemon, never by a person.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// As the daemon's side sets them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _limits: Vec<String>,
}

pub(crate) fn run(_arguments: &Arguments) -> ExitCode {
    ExitCode::FAILURE
}
