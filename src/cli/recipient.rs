//! `faxbridge recipient`: the register of verified recipients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use faxbridge::job::JobState;
use faxbridge::job::number_words;
use faxbridge::register::number::NumberRules;
use faxbridge::register::{self, Entry, EntryState, NewEntry, QuietHours, VerifiedHow, Word};
use faxbridge::store::{Job, JobFilter, RegisterChange};
use jiff::Timestamp;
use jiff::civil::Date;

use super::listing::{Table, Times, count, plain, print, say};
use super::{Misuse, Register, SystemAccount, actor};

/// The columns of an exported list, which are those that `import` takes.
const COLUMNS: [&str; 8] =
    ["key", "name", "number", "organization", "department", "attention", "notes", "quiet_hours"];
/// Held jobs that are looked through for a recipient.
const LOOKED_AT: u32 = 10_000;

pub(crate) type Arguments = super::About<What>;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Lists the register
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows one entry: who verified it, how, until when
    Show {
        /// Key of the entry
        key: String,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Adds an entry; nothing is faxed to it before it is verified
    Add(Add),
    /// Records that a person vouches for the number of an entry
    Verify(Verify),
    /// Stops every fax to an entry, and to its number under any other name
    Suspend {
        /// Key of the entry
        key: String,
        /// Why; senders get to read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Says when a recipient is not to be called; its faxes wait until it may be
    Quiet {
        /// Key of the entry
        key: String,
        /// Days, times and a time zone, as "Mon-Fri 18:00-08:00; Sat-Sun America/Chicago", or `none`
        #[arg(value_name = "HOURS|none", value_parser = quiet_or_none)]
        hours: Quiet,
    },
    /// Adds the entries of a list (CSV with the columns key, name, number, organization, department, attention, notes, quiet_hours):
    /// all, or none
    Import {
        /// The list; name and number must be there, a missing key is made from the name
        list: PathBuf,
    },
    /// Prints the register as a list that can be imported; verifications do not travel
    Export,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// Its name in addresses and rules, as mercy-radiology; made from the name when left out
    #[arg(long)]
    key: Option<String>,
    /// Person or place, as on the cover
    #[arg(long)]
    name: String,
    /// Fax number, international with +, or as it is dialled in the organization's country
    #[arg(long, allow_hyphen_values = true)]
    number: String,
    /// Organization, for the cover
    #[arg(long)]
    organization: Option<String>,
    /// Department, for the cover
    #[arg(long)]
    department: Option<String>,
    /// For whose attention, for the cover
    #[arg(long)]
    attention: Option<String>,
    /// For the records desk; never on a cover
    #[arg(long)]
    notes: Option<String>,
    /// When it is not to be called: days, times and a time zone, as "Mon-Fri 18:00-08:00; Sat-Sun America/Chicago"; the organization's
    /// zone when none is given
    #[arg(long, value_name = "HOURS")]
    quiet_hours: Option<String>,
}

/// What `recipient quiet` is given. A type of its own, for clap takes an `Option` for an argument that can be left out.
#[derive(Debug, Clone)]
pub(crate) struct Quiet(Option<QuietHours>);

fn quiet_or_none(text: &str) -> Result<Quiet, String> {
    if text == "none" { Ok(Quiet(None)) } else { text.parse().map(Some).map(Quiet) }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Key of the entry
    key: String,
    /// How the number was checked
    #[arg(long)]
    how: How,
    /// What shows it: URL, date of the document, who was spoken to
    #[arg(long, value_name = "TEXT")]
    evidence: String,
    /// Who checked it, as receipts are to call them; the name of the account that runs this when left out. Two persons, where the
    /// policy wants two, are two accounts
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Last day on which that holds, as 2027-12-31; without end when left out
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
}

/// [`VerifiedHow`] in the words of the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum How {
    /// On the recipient's official website
    OfficialWebsite,
    /// In an official portal or directory
    Portal,
    /// On a letter of the recipient
    Letter,
    /// On a form that the recipient signed
    SignedForm,
    /// By a call back to a published telephone number
    CallBack,
    /// By a code that was faxed there and read back
    ConfirmationFax,
}

impl From<How> for VerifiedHow {
    fn from(how: How) -> Self {
        match how {
            How::OfficialWebsite => VerifiedHow::Website,
            How::Portal => VerifiedHow::Portal,
            How::Letter => VerifiedHow::Letter,
            How::SignedForm => VerifiedHow::Form,
            How::CallBack => VerifiedHow::Callback,
            How::ConfirmationFax => VerifiedHow::ConfirmationFax,
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let desk = RegisterCommands::open(&arguments.file.config).await?;
    match arguments.what {
        What::List { json } => desk.list(json).await,
        What::Show { key, json } => desk.show(&key, json).await,
        What::Add(add) => desk.add(&add).await,
        What::Verify(verify) => desk.verify(&verify).await,
        What::Suspend { key, reason } => desk.suspend(&key, &reason).await,
        What::Quiet { key, hours } => desk.quiet(&key, hours.0).await,
        What::Import { list } => desk.import(&list).await,
        What::Export => desk.export().await,
    }
}

/// The register with what is needed to change it.
struct RegisterCommands {
    register: Register,
    numbers: NumberRules,
    times: Times,
}

impl RegisterCommands {
    async fn open(path: &Path) -> anyhow::Result<RegisterCommands> {
        let register = Register::open(path).await?;
        let config = &register.config;
        let numbers =
            NumberRules::new(&config.organization.country, &config.policy.countries).map_err(Misuse)?;
        let times = Times::of(config);
        Ok(RegisterCommands { numbers, times, register })
    }

    fn now(&self) -> Timestamp {
        self.register.clock.now()
    }

    fn two_person(&self) -> bool {
        self.register.config.policy.two_person
    }

    async fn entry(&self, key: &str) -> anyhow::Result<Entry> {
        let entry = self.register.store.recipient(key).await?;
        entry.with_context(|| {
            format!("there is no recipient called {key:?}; `faxbridge recipient list` shows them all")
        })
    }

    async fn list(&self, json: bool) -> anyhow::Result<()> {
        let entries = self.register.store.recipients().await?;
        let now = self.now();
        if json {
            return entries.iter().try_for_each(|entry| say(record(entry, now)));
        }
        if entries.is_empty() {
            return say(
                "The register is empty: nothing can be faxed. Begin with `faxbridge recipient add` or `faxbridge recipient import`.",
            );
        }
        let mut table =
            Table::new(&["KEY", "NUMBER", "STATE", "NAME", "VERIFIED BY", "UNTIL", "QUIET HOURS"]);
        for entry in &entries {
            let by =
                [&entry.verified_by, &entry.second_by].into_iter().flatten().cloned().collect::<Vec<_>>();
            table.row([
                entry.key.clone(),
                number_words(&entry.number),
                entry.state_at(now).to_string(),
                entry.name.clone(),
                by.join(" and "),
                entry.valid_until.map_or(String::new(), |until| self.times.full(until)),
                entry.quiet_hours.as_ref().map_or(String::new(), ToString::to_string),
            ]);
        }
        print(table)
    }

    async fn show(&self, key: &str, json: bool) -> anyhow::Result<()> {
        let entry = self.entry(key).await?;
        if json {
            return say(record(&entry, self.now()));
        }
        let open = self.jobs_of(&entry).await?;
        let held = open.iter().filter(|job| matches!(job.state, JobState::Held { .. })).count();
        let time = |at: Option<Timestamp>| at.map(|at| self.times.full(at));
        let lines = [
            ("key", Some(entry.key.clone())),
            ("name", Some(entry.name.clone())),
            ("organization", entry.organization.clone()),
            ("department", entry.department.clone()),
            ("attention", entry.attention.clone()),
            ("number", Some(number_words(&entry.number))),
            ("as typed", Some(entry.typed.clone())),
            ("far end", entry.csid.clone()),
            ("state", Some(self.state_words(&entry))),
            ("verified by", person(&entry.verified_by, &entry.verified_account)),
            ("second person", person(&entry.second_by, &entry.second_account)),
            ("how", entry.verified_how.clone()),
            ("evidence", entry.evidence.clone()),
            ("verified", time(entry.verified_at)),
            ("until", time(entry.valid_until)),
            (
                "voices",
                Some(entry.voice_count)
                    .filter(|n| *n > 0)
                    .map(|n| format!("a person answered {}", count(n, "time"))),
            ),
            ("quiet hours", entry.quiet_hours.as_ref().map(|hours| self.quiet_words(hours))),
            ("notes", entry.notes.clone()),
            ("added", time(Some(entry.created_at))),
            ("changed", time(Some(entry.updated_at))),
            ("open jobs", Some(format!("{}, {held} of them held", open.len()))),
        ];
        for (label, value) in lines {
            if let Some(value) = value {
                say(format_args!("{label:14} {}", plain(&value)))?;
            }
        }
        Ok(())
    }

    fn state_words(&self, entry: &Entry) -> String {
        match entry.state_at(self.now()) {
            EntryState::Suspended => match &entry.state_reason {
                Some(reason) => format!("suspended: {reason}"),
                None => "suspended".to_owned(),
            },
            EntryState::Unverified if entry.verified_by.is_some() => {
                "unverified: one person has verified it, and the policy wants two".to_owned()
            }
            state => state.to_string(),
        }
    }

    fn quiet_words(&self, hours: &QuietHours) -> String {
        match hours.until(self.now(), self.times.zone()) {
            Some(until) => format!("{hours} (now, until {})", self.times.full(until)),
            None => hours.to_string(),
        }
    }

    async fn add(&self, add: &Add) -> anyhow::Result<()> {
        let fields = BTreeMap::from([
            ("key", add.key.as_deref().unwrap_or_default()),
            ("name", &add.name),
            ("number", &add.number),
            ("organization", add.organization.as_deref().unwrap_or_default()),
            ("department", add.department.as_deref().unwrap_or_default()),
            ("attention", add.attention.as_deref().unwrap_or_default()),
            ("notes", add.notes.as_deref().unwrap_or_default()),
            ("quiet_hours", add.quiet_hours.as_deref().unwrap_or_default()),
        ]);
        let new = NewEntry::check(&fields, &self.numbers).map_err(|faults| Misuse(faults.join("\n")))?;
        let entry = new.into_entry(self.now());
        self.warn_of_likeness(std::slice::from_ref(&entry)).await?;
        self.insert(vec![entry.clone()]).await?;
        say(format_args!("Added {}: {} at {}.", entry.key, plain(&entry.name), number_words(&entry.number)))?;
        say(format_args!(
            "Nothing is faxed to it before its number is verified: faxbridge recipient verify {} --how HOW --evidence TEXT",
            entry.key
        ))
    }

    async fn insert(&self, entries: Vec<Entry>) -> anyhow::Result<()> {
        match self.register.store.add_recipients(entries, &actor(), self.now()).await? {
            None => Ok(()),
            Some(key) => {
                let known = self.entry(&key).await?;
                anyhow::bail!(
                    "nothing was added: the key {key} is taken by {} at {}; choose another key",
                    plain(&known.name),
                    number_words(&known.number)
                )
            }
        }
    }

    /// A number that is nearly that of a verified entry is more likely a slip than a neighbour.
    async fn warn_of_likeness(&self, new: &[Entry]) -> anyhow::Result<()> {
        let known = self.register.store.recipients().await?;
        for entry in new {
            if let Some(sentence) = register::slip_sentence(&register::slips(&entry.number, &known)) {
                eprintln!(
                    "warning: likely slip: {} is at {}. {sentence}",
                    entry.key,
                    number_words(&entry.number)
                );
            }
            if let Some(same) = known.iter().find(|other| other.number == entry.number) {
                eprintln!(
                    "note: {} has the number {} too; whoever suspends one stops both",
                    same.key,
                    number_words(&same.number)
                );
            }
        }
        Ok(())
    }

    async fn verify(&self, verify: &Verify) -> anyhow::Result<()> {
        let mut entry = self.entry(&verify.key).await?;
        let until = verify.until.map(|day| self.times.end_of(day)).transpose()?;
        let account = SystemAccount::acting();
        let by = verify.by.clone().unwrap_or_else(|| account.name());
        let (how, evidence) = (verify.how.into(), verify.evidence.as_str());
        let word = Word { by: &by, account: &account.id(), how, evidence, until };
        let now = self.now();
        let state = entry.verify(&word, self.two_person(), now).map_err(|fault| Misuse(fault.to_string()))?;
        self.register.store.put_recipient(entry.clone(), &actor(), RegisterChange::Verified, now).await?;
        let (key, number) = (&entry.key, number_words(&entry.number));
        if state != EntryState::Verified {
            return say(format_args!(
                "{key}: {number} is verified by {}. The policy wants a second person's word before anything is faxed there, under \
                 another account of this system than {account}: faxbridge recipient verify {key} ...",
                plain(&by)
            ));
        }
        let until =
            entry.valid_until.map_or(String::new(), |until| format!(" until {}", self.times.full(until)));
        say(format_args!("{key}: {number} is verified{until}; faxes may be sent there."))?;
        self.tell_held(&entry).await
    }

    /// A verification releases nothing by itself: what was held may have been sent on another way meanwhile.
    async fn tell_held(&self, entry: &Entry) -> anyhow::Result<()> {
        let jobs = self.jobs_of(entry).await?;
        let held: Vec<&Job> = jobs.iter().filter(|job| matches!(job.state, JobState::Held { .. })).collect();
        if held.is_empty() {
            return Ok(());
        }
        say(format_args!("{} held for it. They stay held until you release each:", count_held(held.len())))?;
        for job in held.iter().take(20) {
            say(format_args!("  faxbridge job release {}", job.id))?;
        }
        if held.len() > 20 {
            say("  ... and so on: faxbridge job list --state held")?;
        }
        Ok(())
    }

    /// Open jobs to this entry or its number.
    async fn jobs_of(&self, entry: &Entry) -> anyhow::Result<Vec<Job>> {
        let filter = JobFilter { open: true, ..JobFilter::default() };
        let mut jobs = self.register.store.jobs(&filter, LOOKED_AT).await?;
        jobs.retain(|job| {
            job.recipient.as_deref() == Some(&entry.key) || job.number.as_ref() == Some(&entry.number)
        });
        Ok(jobs)
    }

    async fn suspend(&self, key: &str, reason: &str) -> anyhow::Result<()> {
        let mut entry = self.entry(key).await?;
        let now = self.now();
        entry.suspend(reason, now);
        self.register.store.put_recipient(entry.clone(), &actor(), RegisterChange::Suspended, now).await?;
        say(format_args!(
            "{key} is suspended: nothing is faxed to {} any more until it is verified anew. A call that is under way is not broken off.",
            number_words(&entry.number)
        ))
    }

    async fn quiet(&self, key: &str, hours: Option<QuietHours>) -> anyhow::Result<()> {
        let mut entry = self.entry(key).await?;
        let now = self.now();
        entry.set_quiet_hours(hours, now);
        self.register.store.put_recipient(entry.clone(), &actor(), RegisterChange::QuietHours, now).await?;
        match &entry.quiet_hours {
            Some(hours) => say(format_args!(
                "{key} is not called {}. A call that is under way is not broken off.",
                self.quiet_words(hours)
            )),
            None => say(format_args!("{key} may be called at any time.")),
        }
    }

    async fn import(&self, list: &Path) -> anyhow::Result<()> {
        let bytes =
            std::fs::read(list).map_err(|e| Misuse(format!("{} cannot be read: {e}", list.display())))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            anyhow::anyhow!("{}: not UTF-8 text; save the list as \"CSV UTF-8\"", list.display())
        })?;
        let new = register::import::import(&text, &self.numbers).map_err(|faults| {
            let lines: Vec<String> =
                faults.iter().map(|fault| format!("{}: {fault}", list.display())).collect();
            anyhow::anyhow!(
                "nothing was imported; {} to be put right:\n{}",
                count(lines.len(), "fault"),
                lines.join("\n")
            )
        })?;
        let now = self.now();
        let entries: Vec<Entry> = new.into_iter().map(|entry| entry.into_entry(now)).collect();
        self.warn_of_likeness(&entries).await?;
        let n = entries.len();
        self.insert(entries).await?;
        let recipients = count(n, "recipient");
        say(format_args!(
            "Imported {recipients}. Nothing is faxed to them before each number is verified: faxbridge recipient verify"
        ))
    }

    async fn export(&self) -> anyhow::Result<()> {
        print(csv(&self.register.store.recipients().await?))
    }
}

/// A person as named, and the account under which they said so.
fn person(name: &Option<String>, account: &Option<String>) -> Option<String> {
    let name = name.as_ref()?;
    Some(account.as_ref().map_or(name.clone(), |account| format!("{name}, under {account}")))
}

fn count_held(n: usize) -> String {
    if n == 1 { "1 job is".to_owned() } else { format!("{n} jobs are") }
}

/// An entry as JSON. Its state is the one at `now`, whether or not anybody has written down that its time ran out.
fn record(entry: &Entry, now: Timestamp) -> serde_json::Value {
    let mut record = serde_json::to_value(entry).unwrap_or_default();
    if let Some(state) = record.get_mut("state") {
        *state = entry.state_at(now).as_str().into();
    }
    record
}

fn csv(entries: &[Entry]) -> String {
    let mut list = COLUMNS.join(",");
    list.push_str("\r\n");
    for entry in entries {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let fields = [
            entry.key.clone(),
            entry.name.clone(),
            entry.number.to_string(),
            text(&entry.organization),
            text(&entry.department),
            text(&entry.attention),
            text(&entry.notes),
            entry.quiet_hours.as_ref().map_or(String::new(), ToString::to_string),
        ];
        list.push_str(&fields.map(|field| quoted(&field)).join(","));
        list.push_str("\r\n");
    }
    list
}

/// RFC 4180: quotes where a field needs them, doubled inside.
fn quoted(field: &str) -> String {
    if field.contains([',', ';', '"', '\r', '\n']) || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let numbers = NumberRules::new("US", &[]).unwrap();
        let list = "name,number,notes,quiet_hours\n\"Smith, \"\"Jo\"\"\",(212) 555-0100,call first,\n\
                    Mercy Radiology,+12125550199,,22:00-07:00 ; sat-sun America/Chicago\n";
        let new = register::import::import(list, &numbers).unwrap();
        new.into_iter().map(|entry| entry.into_entry(Timestamp::UNIX_EPOCH)).collect()
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let list = csv(&entries());
        assert_eq!(
            list,
            "key,name,number,organization,department,attention,notes,quiet_hours\r\n\
             smith-jo,\"Smith, \"\"Jo\"\"\",+12125550100,,,,call first,\r\n\
             mercy-radiology,Mercy Radiology,+12125550199,,,,,\"22:00-07:00; Sat-Sun America/Chicago\"\r\n"
        );
        let numbers = NumberRules::new("US", &[]).unwrap();
        let again = register::import::import(&list, &numbers).unwrap();
        let again: Vec<Entry> =
            again.into_iter().map(|entry| entry.into_entry(Timestamp::UNIX_EPOCH)).collect();
        assert_eq!(csv(&again), list);
    }

    #[test]
    fn a_record_tells_the_state_of_now() {
        let mut entry = entries().remove(0);
        entry.state = EntryState::Verified;
        entry.valid_until = Some(Timestamp::from_second(10).unwrap());
        let state = |at| record(&entry, Timestamp::from_second(at).unwrap())["state"].clone();
        assert_eq!((state(9), state(10)), ("verified".into(), "expired".into()));
    }

    #[test]
    fn every_way_of_verifying_has_a_word() {
        assert_eq!(How::value_variants().len(), VerifiedHow::ALL.len());
    }
}
