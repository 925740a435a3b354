//! `faxbridge config sample`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prints a configuration in which every key stands with its meaning and default
    Sample,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match arguments.what {
        What::Sample => print!("{}", faxbridge::config::SAMPLE),
    }
    ExitCode::SUCCESS
}
