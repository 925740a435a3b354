//! `faxbridge mailbox`: the mails in fetched mailboxes of which nothing was faxed, and why.

use faxbridge::store::RefusedMail;
use serde_json::json;

use super::listing::{Table, Times, print, say};
use super::{Misuse, Register};

pub(crate) type Arguments = super::About<What>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Lists the mails of which nothing was faxed, newest first: nobody has answered them
    List {
        /// Only those of this [imap.NAME] section
        name: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        most: u32,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let desk = Register::open(&arguments.file.config).await?;
    let What::List { name, most, json } = arguments.what;
    if let Some(name) = name.as_ref().filter(|name| !desk.config.imap.contains_key(*name)) {
        return Err(Misuse(format!("the configuration has no section [imap.{name}]")).into());
    }
    let mails = desk.store.refused_mails(name.as_deref(), most).await?;
    if json {
        return mails.iter().try_for_each(|mail| say(as_json(mail)));
    }
    if mails.is_empty() {
        return say("No mail was left without a fax.");
    }
    let times = Times::of(&desk.config);
    let mut table = Table::new(&["MAILBOX", "FOLDER", "UID", "FETCHED", "WHY NOTHING OF IT IS FAXED"]);
    for mail in mails {
        table.row([
            mail.mailbox,
            mail.place.folder,
            mail.place.uid.to_string(),
            times.full(mail.fetched_at),
            mail.reason,
        ]);
    }
    print(table)
}

fn as_json(mail: &RefusedMail) -> serde_json::Value {
    json!({
        "mailbox": mail.mailbox,
        "folder": mail.place.folder,
        "uidvalidity": mail.place.uidvalidity,
        "uid": mail.place.uid,
        "fetched_at": mail.fetched_at.to_string(),
        "reason": mail.reason,
    })
}
