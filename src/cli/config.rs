//! `faxbridge config sample`, `faxbridge config credentials`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use faxbridge::config::{Config, Handed};

use super::{ConfigFile, load};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prints a configuration in which every key stands with its meaning and default
    Sample,
    /// Prints what the systemd unit needs to hand over the secrets that the configuration names
    Credentials(ConfigFile),
}

/// What the unit hands over in any case.
const IN_THE_UNIT: &str = "master.key";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.what {
        What::Sample => print!("{}", faxbridge::config::SAMPLE),
        What::Credentials(file) => match load(&file.config) {
            Ok(loaded) => print!("{}", drop_in(&loaded.config)),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

/// Lines for /etc/systemd/system/faxbridge.service.d/credentials.conf.
fn drop_in(config: &Config) -> String {
    let mut text = "# Made by `faxbridge config credentials`. Each file: one secret, mode 600, owned by root.\n[Service]\n".to_owned();
    for Handed { name, is_tls_key } in config.credentials() {
        if name == IN_THE_UNIT {
            continue;
        }
        let file = if is_tls_key { "tls/privkey.pem" } else { name.as_str() };
        text.push_str(&format!("LoadCredential={name}:/etc/faxbridge/{file}\n"));
    }
    text
}
