//! Who sent a mail: which sender of the configuration it is, and what proves it.
//!
//! A sender's own word is no proof, and neither is an envelope sender: anybody can write them. What counts is named in
//! [`Proof`], and a sender's `proof` key says which of them count for it. Three are known before the mail: a password, a client
//! certificate, the network it comes from. The other two (DMARC, the word of a named mail server in front) need the mail
//! itself: such a session is [`Standing::Open`] until the mail's end, and the answer to that end says whether it was proven. A
//! mail that was not is refused there and then; nothing is bounced later, since the bounce would go to whoever was forged.

use std::net::IpAddr;

use super::{Draft, Intake, Refusal, writes_from};
use crate::config::{Proof, Sender};

/// What a session knows about who is at its other end.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The account it signed in with.
    pub login: Option<String>,
    /// Names (DNS names, mail addresses) in the client certificate that was believed.
    pub certificate: Vec<String>,
    /// Its address; behind a load balancer the one that the PROXY header names.
    pub peer: IpAddr,
    /// What it called itself in EHLO, for SPF.
    pub hello: String,
    /// Envelope sender; never empty.
    pub from: String,
}

/// A sender, and what proved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its name in the configuration.
    pub sender: String,
    /// What proved it.
    pub proof: Proof,
}

/// What is known after MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Who it is.
    Proven(Proven),
    /// Only the mail itself can tell; [`Intake::prove`] is to be asked at its end.
    Open,
}

impl Intake {
    /// What is known of the sender before the mail is.
    ///
    /// # Errors
    /// Where nothing that the mail can hold would make a difference.
    pub fn standing(&self, witness: &Witness) -> Result<Standing, Refusal> {
        let senders = &self.inner.config.sender;
        let from = witness.from.as_str();
        let proven =
            |sender: &Sender, proof| Ok(Standing::Proven(Proven { sender: sender.name.clone(), proof }));
        if let Some(login) = &witness.login {
            let sender = senders.iter().find(|sender| sender.login.as_ref() == Some(login));
            return match sender {
                Some(sender) if may_write(sender, from, Proof::Login) => proven(sender, Proof::Login),
                _ => Err(Refusal::permanent(
                    "5.7.1",
                    format!("The account {login} may not send faxes as {from}."),
                )),
            };
        }
        let certified = senders.iter().find(|sender| {
            may_write(sender, from, Proof::Certificate)
                && sender
                    .certificates
                    .iter()
                    .any(|name| witness.certificate.iter().any(|shown| shown.eq_ignore_ascii_case(name)))
        });
        if let Some(sender) = certified {
            return proven(sender, Proof::Certificate);
        }
        let near = senders.iter().zip(&self.inner.networks).find(|(sender, networks)| {
            sender.accepts(Proof::Network)
                && writes_from(sender, from)
                && networks.iter().any(|network| network.contains(witness.peer))
        });
        if let Some((sender, _)) = near {
            return proven(sender, Proof::Network);
        }
        let by_mail = |sender: &Sender| {
            sender
                .proof
                .as_ref()
                .is_some_and(|_| sender.accepts(Proof::Dmarc) || sender.accepts(Proof::Upstream))
        };
        if senders.iter().any(by_mail) {
            return Ok(Standing::Open);
        }
        Err(unproven(from))
    }

    /// Finds out from the mail itself who sent it. `draft` kept a copy of it ([`Draft::keep_copy`]).
    ///
    /// # Errors
    /// Where nothing in it proves that it is a sender's.
    pub async fn prove(&self, draft: &Draft, witness: &Witness) -> Result<Proven, Refusal> {
        let _ = draft;
        Err(unproven(&witness.from))
    }

    /// Whether any sender that only its mail can prove might have a mail to `to` faxed.
    ///
    /// # Errors
    /// Where none could.
    pub fn routable_by_any(&self, to: &str) -> Result<(), Refusal> {
        if let Some(answer) = self.answers_a_receipt(to) {
            return answer;
        }
        let senders = self.inner.config.sender.iter();
        let mut open =
            senders.filter(|sender| sender.accepts(Proof::Dmarc) || sender.accepts(Proof::Upstream));
        if open.any(|sender| self.routable(&sender.name, to).is_ok()) {
            return Ok(());
        }
        Err(super::not_faxed_here(to))
    }
}

/// A sender without addresses may write from any.
fn may_write(sender: &Sender, from: &str, proof: Proof) -> bool {
    sender.accepts(proof) && (sender.addresses.is_empty() || writes_from(sender, from))
}

fn unproven(from: &str) -> Refusal {
    Refusal::permanent(
        "5.7.1",
        format!(
            "{from} is not known here as a sender of faxes from your network; sign in, or ask the administrator to be added."
        ),
    )
}
