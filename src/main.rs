//! `faxbridge`: arguments to a subcommand. What each one does stands in `cli/`, one file per subcommand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod cli;

/// Overwrites what is freed: documents, texts, names and addresses go through many buffers, most of them those of libraries.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Turns a mail with attachments, or a file dropped over SFTP, into a fax to a verified number.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole way on this machine, nothing to set up: real mails and files in, faxes and receipts out
    Demo(cli::demo::Arguments),
    /// Runs the daemon
    Serve(cli::serve::Arguments),
    /// Checks the configuration and all it points to
    Check(cli::check::Arguments),
    /// Takes mails and files through everything but sending, and changes nothing
    Preview(cli::preview::Arguments),
    /// Submits files from the shell and follows them to the end
    Send(cli::send::Arguments),
    /// Lists, shows, holds, releases, cancels and resolves jobs
    Job(cli::job::Arguments),
    /// Lists the mails of fetched mailboxes of which nothing was faxed, and why
    Mailbox(cli::mailbox::Arguments),
    /// Shows how it all stands: open alarms, what waits where, providers, mailboxes, disk
    Status(cli::status::Arguments),
    /// Shows how the fax providers fare
    Provider(cli::provider::Arguments),
    /// Keeps the register of verified recipients
    Recipient(cli::recipient::Arguments),
    /// Runs the fax provider of demo and tests on its own
    Simulator(cli::simulator::Arguments),
    /// Prints a commented sample of the configuration
    Config(cli::config::Arguments),
    /// Opens documents for the daemon, in a process that may be killed
    #[command(hide = true)]
    PacketWorker(cli::packet_worker::Arguments),
}

fn main() -> ExitCode {
    if let Err(error) = faxbridge::process::keep_memory_private() {
        faxbridge::log::last_words(&format!(
            "faxbridge: core dumps could not be turned off, and would hold documents: {error}"
        ));
        return ExitCode::FAILURE;
    }
    // Nothing that this process makes is for others, whatever it was started with; where others are to read, it is said there.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Demo(arguments) => cli::run(cli::demo::run(arguments)),
        Command::Serve(arguments) => cli::serve::begin(arguments),
        Command::Check(arguments) => cli::run(cli::check::run(arguments)),
        Command::Preview(arguments) => cli::run(cli::preview::run(arguments)),
        Command::Send(arguments) => cli::run(cli::send::run(arguments)),
        Command::Job(arguments) => cli::run(cli::job::run(arguments)),
        Command::Mailbox(arguments) => cli::run(cli::mailbox::run(arguments)),
        Command::Status(arguments) => cli::run(cli::status::run(arguments)),
        Command::Provider(arguments) => cli::run(cli::provider::run(arguments)),
        Command::Recipient(arguments) => cli::run(cli::recipient::run(arguments)),
        Command::Simulator(arguments) => cli::run(cli::simulator::run(arguments)),
        Command::Config(arguments) => cli::config::run(&arguments),
        Command::PacketWorker(arguments) => cli::packet_worker::run(&arguments),
    }
}
