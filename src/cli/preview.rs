//! `faxbridge preview`.

/// To come.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) async fn run(_arguments: Arguments) -> anyhow::Result<()> {
    anyhow::bail!("to come")
}
