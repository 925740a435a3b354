//! The promise: when [`Intake::accept`] returns, the Submission survives a power cut.
//!
//! A protocol ([`smtp`], [`sftp`], [`folder`]) opens a [`Draft`], streams the document into it, and calls `accept`. Only then
//! may it answer "250", close the handle with success, or delete the claimed file: by then the document is sealed and synced,
//! its directory entry too, and its row is committed. Anything before that leaves nothing behind but an orphan file, which
//! the next start removes. The same mail or file again is recognised by its source keys (`source_keys`), whichever way it comes,
//! and answered with the first one's name.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::{constant_time, digest};
use jiff::Timestamp;

use crate::addressing::Automatic;
use crate::addressing::readers::at_rcpt;
use crate::alarm::Alarms;
use crate::clock::SharedClock;
use crate::config::{Config, Network, Sender, SenderKind};
use crate::job::Source;
use crate::replies::{self, Replies, Reply};
use crate::routing::Rules;
use crate::spool::Spool;
use crate::store::{Store, Wake};

mod accept;
mod arrivals;
mod content_digest;
mod draft;
pub mod folder;
mod header;
pub mod imap;
pub mod proof;
mod refusal;
mod resting;
pub mod sftp;
pub mod smtp;
mod source_keys;
pub(crate) mod tail;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turned_away;

pub use accept::{Accepted, Arrival};
pub use arrivals::Arrivals;
pub use draft::Draft;
use header::Seen;
use proof::Resolver;
use proof::copy::Budget;
pub use refusal::Refusal;
pub use source_keys::fax_mark;
pub use turned_away::TurnedAway;

/// What every way in shares: cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    inner: Arc<Inner>,
    arrivals: Arc<Arrivals>,
    alarms: Alarms,
    seen: sftp::Seen,
}

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    store: Store,
    spool: Spool,
    rules: Arc<Rules>,
    clock: SharedClock,
    logins: Vec<Login>,
    networks: Vec<Vec<Network>>,
    /// The mail server in front whose word counts.
    upstream: Vec<Network>,
    /// Made when a mail first needs it: the system's name servers may become known later than we start.
    resolver: Mutex<Option<Resolver>>,
    /// For [`Draft::keep_copy`].
    memory: Budget,
    arrived: Arc<dyn Wake>,
    /// Addresses at which receipts are answered.
    replies: Option<Replies>,
}

#[derive(Debug)]
struct Login {
    name: String,
    password: crate::config::secret::Secret,
    sender: String,
}

impl Intake {
    /// Puts the ways in together. `arrived` is told of every new Submission.
    ///
    /// # Errors
    /// A sentence where a password cannot be read or a network is malformed.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        spool: Spool,
        rules: Arc<Rules>,
        clock: SharedClock,
        arrived: Arc<dyn Wake>,
    ) -> Result<Intake, String> {
        let mut logins = Vec::new();
        let mut networks = Vec::new();
        for sender in &config.sender {
            if let (Some(name), Some(password)) = (&sender.login, &sender.password) {
                let password = password.read().map_err(|e| format!("sender {:?}: {e}", sender.name))?;
                logins.push(Login { name: name.clone(), password, sender: sender.name.clone() });
            }
            let parsed: Result<Vec<Network>, String> =
                sender.networks.iter().map(|text| text.parse()).collect();
            networks.push(parsed.map_err(|e| format!("sender {:?}: {e}", sender.name))?);
        }
        let upstream = config.smtp.iter().flat_map(|smtp| &smtp.upstream_from).map(|text| text.parse());
        let upstream =
            upstream.collect::<Result<_, String>>().map_err(|e| format!("smtp.upstream_from: {e}"))?;
        let memory = Budget::new(config.limits.submission.get());
        let replies = Replies::of(&config, spool.vault());
        Ok(Intake {
            inner: Arc::new(Inner {
                config,
                store,
                spool,
                rules,
                clock,
                logins,
                networks,
                upstream,
                resolver: Mutex::default(),
                memory,
                arrived,
                replies,
            }),
            arrivals: Arc::default(),
            alarms: Alarms::default(),
            seen: sftp::Seen::default(),
        })
    }

    /// Tells `arrivals` of everything that comes in, and `alarms` of what wants a person.
    #[must_use]
    pub fn telling(self, arrivals: Arc<Arrivals>, alarms: Alarms) -> Intake {
        Intake { arrivals, alarms, ..self }
    }

    /// Shares what it remembers of open drops with whoever destroys their keys.
    #[must_use]
    pub fn remembering(self, seen: sftp::Seen) -> Intake {
        Intake { seen, ..self }
    }

    /// Where what wants a person is told.
    #[must_use]
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// The configuration that all ways in share.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Whether a mail whose header says this is taken for `sender`: all that would later be neither faxed nor answered is refused
    /// while whoever sends it still listens.
    ///
    /// # Errors
    /// Why not, in a sentence for whoever sent it.
    pub(in crate::intake) fn takes(&self, sender: &str, to: &[String], seen: &Seen) -> Result<(), Refusal> {
        self.is_not_our_own(seen.from.as_deref().unwrap_or_default())?;
        let Some(automatic) = &seen.automatic else { return Ok(()) };
        let sender = self.inner.config.sender.iter().find(|known| known.name == sender);
        if let Some(sentence) = not_faxed(sender, automatic) {
            return Err(Refusal::permanent("5.7.1", sentence));
        }
        if to.iter().any(|to| self.answers_a_receipt(to).is_some()) {
            return Err(Refusal::permanent("5.7.1", "A program cannot answer a receipt; a person has to."));
        }
        Ok(())
    }

    /// Whether `from` is none of the addresses that our receipts come from and are answered at.
    ///
    /// # Errors
    /// Where it is: a mail from there would be our own, or go round in circles.
    pub(in crate::intake) fn is_not_our_own(&self, from: &str) -> Result<(), Refusal> {
        if self.inner.config.is_own_address(from) {
            let sentence =
                format!("{from} is the address that receipts of this service come from; send from your own.");
            return Err(Refusal::permanent("5.7.1", sentence));
        }
        Ok(())
    }

    /// The sender whose account this is, if the password is right. Takes the same time for any wrong password.
    #[must_use]
    pub fn login(&self, login: &str, password: &[u8]) -> Option<String> {
        let given = digest::digest(&digest::SHA256, password);
        let mut found = None;
        for account in &self.inner.logins {
            let kept = digest::digest(&digest::SHA256, account.password.bytes());
            let right = constant_time::verify_slices_are_equal(given.as_ref(), kept.as_ref()).is_ok();
            if right && account.name == login {
                found = Some(account.sender.clone());
            }
        }
        found
    }

    /// Whether there is an account of this name.
    pub(in crate::intake) fn has_login(&self, login: &str) -> bool {
        self.inner.logins.iter().any(|account| account.name == login)
    }

    /// Whether `to` is an address at which a receipt is answered, and a good one; `None` where it is no such address at all.
    fn answers_a_receipt(&self, to: &str) -> Option<Result<(), Refusal>> {
        match self.inner.replies.as_ref()?.read(to, self.inner.clock.now()) {
            Reply::Elsewhere => None,
            Reply::To(_) => Some(Ok(())),
            Reply::Expired => Some(Err(Refusal::permanent("5.7.1", replies::EXPIRED))),
            Reply::Unknown => Some(Err(Refusal::permanent("5.1.1", replies::UNKNOWN))),
        }
    }

    /// Whether the configuration names `address` as a sender's or as the mail server in front.
    #[must_use]
    pub fn names_address(&self, address: IpAddr) -> bool {
        let senders = self.inner.networks.iter().flatten();
        senders.chain(&self.inner.upstream).any(|network| network.contains(address))
    }

    /// Whether any rule could take a mail from `sender` to the envelope recipient `to`, or that one is for answers to receipts.
    ///
    /// # Errors
    /// Where none could.
    pub fn routable(&self, sender: &str, to: &str) -> Result<(), Refusal> {
        self.routable_from(&Source::Smtp, sender, to)
    }

    /// The same of a mail that came in by `source`.
    ///
    /// # Errors
    /// Where none could.
    pub fn routable_from(&self, source: &Source, sender: &str, to: &str) -> Result<(), Refusal> {
        if let Some(answer) = self.answers_a_receipt(to) {
            return answer;
        }
        // Another system's form of the address, where this sender's are understood: rules see what it stands for.
        let forms = at_rcpt(to, self.readers(sender));
        if forms.iter().any(|to| self.inner.rules.could_take(source, sender, to)) {
            return Ok(());
        }
        Err(not_faxed_here(to))
    }

    /// A Message-ID as the store keeps it; none where that fails, then the mail is found by its place alone.
    fn sealed_message_id(&self, message_id: Option<String>) -> Option<Vec<u8>> {
        self.inner.spool.vault().seal_message_id(&message_id?).ok()
    }

    /// The opposite.
    fn opened_message_id(&self, sealed: &[u8]) -> Option<String> {
        self.inner.spool.vault().open_message_id(sealed).ok()
    }
}

/// Why mail that a program wrote is not faxed for `sender`, in a sentence for whoever sent it.
#[must_use]
pub fn not_faxed(sender: Option<&Sender>, automatic: &Automatic) -> Option<String> {
    let Automatic { reason, notice } = automatic;
    if *notice {
        return Some(format!(
            "This is a notice or an automatic answer ({reason}); such mail is never faxed."
        ));
    }
    let is_program = sender.is_some_and(|sender| sender.kind == SenderKind::Program);
    (!is_program).then(|| {
        format!(
            "A program wrote this mail ({reason}), and its sender is known here as a person. Ask whoever runs the fax \
             service to let programs send for this sender."
        )
    })
}

fn not_faxed_here(to: &str) -> Refusal {
    Refusal::permanent("5.1.1", format!("{to} is not an address that is faxed here."))
}
