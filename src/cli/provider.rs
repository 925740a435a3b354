//! `faxbridge provider`: how the fax providers fare.

use faxbridge::config::Config;
use faxbridge::receipt::cause_words;
use faxbridge::store::{Condition, ProviderRow};
use serde_json::json;

use super::Register;
use super::listing::{Table, Times, print, say};

pub(crate) type Arguments = super::About<What>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Lists the providers: whether each takes faxes, and how many wait for it
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let desk = Register::open(&arguments.file.config).await?;
    let What::List { json } = arguments.what;
    let rows = desk.store.providers().await?;
    if json {
        return rows.iter().try_for_each(|row| say(as_json(row, &desk.config)));
    }
    if rows.is_empty() {
        return say(
            "No provider has been used yet; `faxbridge check` signs in to those that are configured.",
        );
    }
    print(table(&rows, &desk.config))
}

fn kind_of(row: &ProviderRow, config: &Config) -> Option<&'static str> {
    config.provider.get(&row.name).map(|section| section.facts().word)
}

/// `row` for scripts.
pub(super) fn as_json(row: &ProviderRow, config: &Config) -> serde_json::Value {
    json!({
        "provider": row.name,
        "kind": kind_of(row, config),
        "condition": row.condition,
        "cause": row.cause,
        "detail": row.detail,
        "since": row.since.map(|at| at.to_string()),
        "rests_until": row.rests_until.map(|at| at.to_string()),
        "queued": row.queued,
        "in_hand": row.in_hand,
    })
}

/// `rows` for people.
pub(super) fn table(rows: &[ProviderRow], config: &Config) -> Table {
    let times = Times::of(config);
    let mut table = Table::new(&["PROVIDER", "KIND", "WAITING", "IN HAND", "CONDITION"]);
    for row in rows {
        table.row([
            row.name.clone(),
            kind_of(row, config).unwrap_or("not configured any more").to_owned(),
            row.queued.to_string(),
            row.in_hand.to_string(),
            condition_words(row, &times),
        ]);
    }
    table
}

fn condition_words(row: &ProviderRow, times: &Times) -> String {
    if row.condition == Condition::Good {
        return "takes faxes".to_owned();
    }
    let cause = row.cause.map_or("no reason is noted", cause_words);
    let detail = row.detail.as_ref().map_or(String::new(), |detail| format!(" ({detail})"));
    let until = row.rests_until.map_or(String::new(), |at| format!("; tried again at {}", times.full(at)));
    format!("rests: {cause}{detail}{until}")
}
