//! Who sent a mail: which sender of the configuration it is, and what proves it.
//!
//! A sender's own word is no proof, and neither is an envelope sender: anybody can write them. What counts is named in
//! [`Proof`], and a sender's `proof` key says which of them count for it. Three are known before the mail: a password, a client
//! certificate, the network it comes from. The other two (DMARC, the word of a named mail server in front) need the mail
//! itself: such a session is [`Standing::Open`] until the mail's end, and the answer to that end says whether it was proven. A
//! mail that was not is refused there and then; nothing is bounced later, since the bounce would go to whoever was forged.

mod author;
pub(in crate::intake) mod copy;
mod coverage;
mod digest;
mod dmarc;
mod header;
mod resolver;
mod results;

use std::net::IpAddr;
use std::time::Duration;

use author::Author;
use coverage::Demands;
pub use coverage::{CLOCKS_APART, Doubt};
use digest::Digest;
use dmarc::{NotAligned, Origin, Vouched};
use header::Header;
pub use resolver::Resolver;

use super::{Draft, Intake, Refusal};
use crate::config::{Proof, Sender};

/// All lookups for one mail together. Senders wait ten minutes for the answer to a mail (RFC 5321, section 4.5.3.2.6).
const PATIENCE: Duration = Duration::from_secs(20);

/// What a session knows about who is at its other end.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The account it signed in with.
    pub login: Option<String>,
    /// Names (DNS names, mail addresses) in the client certificate that was believed.
    pub certificate: Vec<String>,
    /// Its address; behind a load balancer the one that the PROXY header names.
    pub peer: IpAddr,
    /// Its address is a load balancer's own, which did not say whose the connection is: that proves nothing.
    pub nameless: bool,
    /// Whether it is a mail server that hands over what others sent it, as everybody who speaks LMTP (RFC 2033). Its address says
    /// nothing about who wrote a mail, as little as that of `smtp.upstream_from` does.
    pub handed_over: bool,
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
    /// The address in From, where the mail itself proved it. Receipts go there: the envelope's sender is not proven then.
    pub author: Option<String>,
    /// What the proof leaves open: the mail is theirs, and may have been changed on its way or sent by somebody else.
    pub doubt: Option<Doubt>,
    /// It comes straight from them: nobody who merely has a copy of a mail could send it so.
    pub straight: bool,
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
        self.is_not_our_own(from)?;
        let proven = |sender: &Sender, proof| {
            Ok(Standing::Proven(Proven {
                sender: sender.name.clone(),
                proof,
                author: None,
                doubt: None,
                straight: true,
            }))
        };
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
        // What a mail server hands over has its address, whoever wrote it: where the mail itself can prove the sender, it must.
        let relayed = witness.handed_over || self.is_upstream(witness);
        let near = senders.iter().zip(&self.inner.networks).find(|(sender, networks)| {
            let by_mail = sender.accepts(Proof::Dmarc) || sender.accepts(Proof::Upstream);
            sender.accepts(Proof::Network)
                && !witness.nameless
                && !(relayed && by_mail)
                && sender.writes_from(from)
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

    /// Finds out from the mail itself who sent it to `to`. `draft` kept a copy of it (`Draft::keep_copy`), which is gone afterwards.
    ///
    /// # Errors
    /// Where nothing in it proves that it is a sender's, for good; for now where the DNS does not answer.
    pub async fn prove(&self, draft: &Draft, witness: &Witness, to: &[String]) -> Result<Proven, Refusal> {
        let copy = draft.take_copy().ok_or_else(|| not_now("a mail to be proven was not kept"))?;
        let digest = tokio::task::spawn_blocking(move || Digest::of(&copy)).await;
        let digest = digest.map_err(not_now)?.map_err(|fault| forged(&fault))?;
        let author = &digest.author;
        let upstream = self.is_upstream(witness);
        let vouching = self.sender_for(author, Proof::Upstream);
        let aligning = self.sender_for(author, Proof::Dmarc);
        let proven = |sender: &Sender, proof| Proven {
            sender: sender.name.clone(),
            proof,
            author: Some(author.address()),
            doubt: None,
            straight: false,
        };
        let mut refusal = match (vouching, aligning) {
            (None, None) => return Err(unproven(&author.address())),
            (Some(_), None) if !upstream => return Err(not_through(author)),
            _ => None,
        };
        if let Some(sender) = vouching.filter(|_| upstream) {
            match self.vouched_upstream(&digest) {
                Ok(()) => return Ok(proven(sender, Proof::Upstream)),
                Err(silent) => refusal = Some(silent),
            }
        }
        if let Some(sender) = aligning {
            let repeats = self.inner.config.retention.repeats.signed();
            let demands = Demands { readers: &sender.readers, to, now: self.now(), repeats };
            match self.aligned(&digest, witness, upstream || witness.handed_over, demands).await {
                Ok(vouched) => {
                    let doubt = match &vouched {
                        Vouched::Straight => None,
                        Vouched::Signed(coverage) => coverage.doubt(&author.domain, to),
                    };
                    let straight = vouched == Vouched::Straight;
                    return Ok(Proven { doubt, straight, ..proven(sender, Proof::Dmarc) });
                }
                Err(failed) => refusal = Some(failed),
            }
        }
        Err(refusal.unwrap_or_else(|| unproven(&author.address())))
    }

    fn is_upstream(&self, witness: &Witness) -> bool {
        !witness.nameless && self.inner.upstream.iter().any(|network| network.contains(witness.peer))
    }

    fn vouched_upstream(&self, digest: &Digest) -> Result<(), Refusal> {
        let id = self.inner.config.smtp.as_ref().and_then(|smtp| smtp.upstream_id.as_deref());
        let header = Header::read(&digest.header).map_err(|fault| forged(&fault))?;
        results::vouch(&header, id.unwrap_or_default(), &digest.author)
            .map_err(|fault| not_vouched(&digest.author, &fault))
    }

    /// How the domain in From vouches for the mail.
    async fn aligned(
        &self,
        digest: &Digest,
        witness: &Witness,
        relayed: bool,
        demands: Demands<'_>,
    ) -> Result<Vouched, Refusal> {
        let resolver = self.resolver().map_err(not_now)?;
        let hostname = self.inner.config.smtp.as_ref().map_or("", |smtp| smtp.hostname.as_str());
        let origin = Origin { peer: witness.peer, hello: &witness.hello, from: &witness.from, hostname };
        let asked = dmarc::aligned(&resolver, digest, (!relayed).then_some(origin), demands);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(vouched)) => Ok(vouched),
            Ok(Err(fault)) => Err(not_aligned(&digest.author, &fault, relayed)),
            Err(_) => Err(not_now(format_args!("DNS lookups took longer than {} s", PATIENCE.as_secs()))),
        }
    }

    fn resolver(&self) -> Result<Resolver, String> {
        let Ok(mut kept) = self.inner.resolver.lock() else { return Err("a thread died".to_owned()) };
        if let Some(resolver) = &*kept {
            return Ok(resolver.clone());
        }
        let made = Resolver::new(&self.inner.config.dns)?;
        Ok(kept.insert(made).clone())
    }

    /// The sender that may write from the address `from` where `proof` shows that a mail is from there.
    #[must_use]
    pub fn sender_of(&self, from: &str, proof: Proof) -> Option<String> {
        let author = Author::parse(from)?;
        self.sender_for(&author, proof).map(|sender| sender.name.clone())
    }

    fn sender_for(&self, author: &Author, proof: Proof) -> Option<&Sender> {
        let mut senders = self.inner.config.sender.iter();
        senders.find(|sender| sender.accepts(proof) && author.writes_for(sender))
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

/// The address in From that the server `authserv_id` vouches for, lower case and A-labels behind its `@`. `header` is a mail's
/// header or begins with it; the server must be one that takes foreign fields of its own name out (RFC 8601, section 5). With the
/// authserv-id `mx.microsoft.com` fields without a name count, which is how Microsoft 365 writes them, and so does its mark of mail
/// from a signed-in user of the same organization.
///
/// # Errors
/// A sentence where it does not vouch, or where the header has not one author in every reading.
pub fn vouched(header: &[u8], authserv_id: &str) -> Result<String, Refusal> {
    let header = Header::read(header).map_err(|fault| forged(&fault))?;
    let author = Author::of(&header).map_err(|fault| forged(&fault))?;
    results::vouch(&header, authserv_id, &author).map_err(|fault| not_vouched(&author, &fault))?;
    Ok(author.address())
}

fn not_vouched(author: &Author, fault: &results::NotVouched) -> Refusal {
    // RFC 7372, section 3.4: more than one way to tell was tried, and none could.
    Refusal::permanent(
        "5.7.26",
        format!("This mail from {} {fault}, so nothing proves who sent it.", author.address()),
    )
}

fn not_through(author: &Author) -> Refusal {
    Refusal::permanent(
        "5.7.1",
        format!(
            "Mail from {} is only taken through its own mail server; send it from your usual account.",
            author.address()
        ),
    )
}

/// RFC 3463, section 3.5: a directory server failed.
fn not_now(cause: impl std::fmt::Display) -> Refusal {
    Refusal::temporary("4.4.3", "Who sent this mail cannot be checked at the moment; try again later.", cause)
}

/// What whoever sent it can do about it, with the codes of RFC 7372.
fn not_aligned(author: &Author, fault: &NotAligned, relayed: bool) -> Refusal {
    let domain = &author.domain;
    let what = match fault {
        NotAligned::Unknown(cause) => return not_now(cause),
        NotAligned::Changed => {
            "its DKIM signature does not fit: it was changed on its way, as mailing lists and \
                                forwarding do. Send it directly"
                .to_owned()
        }
        NotAligned::Expired => "its DKIM signature has expired. Send it anew".to_owned(),
        NotAligned::Partial => format!(
            "its DKIM signature does not cover From, Subject and all of the text. Ask whoever runs the mail of {domain} to sign all of it"
        ),
        NotAligned::NoKey => format!(
            "the key of its DKIM signature is not in the DNS. Ask whoever runs the mail of {domain} to publish it"
        ),
        NotAligned::Wrong => format!(
            "its DKIM signature cannot be verified. Ask whoever runs the mail of {domain} to look at it"
        ),
        NotAligned::NotAllowed => format!(
            "what vouches for it is another domain than {domain}, and the DMARC record of {domain} does not allow that. \
             Ask whoever runs its mail to sign as {domain}"
        ),
        NotAligned::NoRecord => format!(
            "{domain} has no DMARC record, so nothing but its own DKIM signature counts. Ask whoever runs its mail to sign, or to \
             publish a record"
        ),
        NotAligned::Nothing if relayed => {
            format!("it has no DKIM signature of {domain}. Ask whoever runs the mail of {domain} to sign it")
        }
        NotAligned::Nothing => format!(
            "it has no DKIM signature of {domain}, and SPF of {domain} does not name the server it comes from. Send it \
             through the mail server of {domain}, or ask whoever runs that to sign"
        ),
    };
    // Where SPF was not asked it is the author's signature alone that is missing (section 3.1), else both (section 3.4).
    let code = if relayed { "5.7.22" } else { "5.7.26" };
    Refusal::permanent(code, format!("Nothing proves that this mail is from {domain}: {what}."))
}

/// Of a mail whose header no proper mail program writes.
fn forged(fault: &impl std::fmt::Display) -> Refusal {
    Refusal::permanent(
        "5.7.1",
        format!(
            "This mail {fault}, so nobody can tell who sent it. Write it anew in a mail program and send it from there."
        ),
    )
}

/// A sender without addresses may write from any.
fn may_write(sender: &Sender, from: &str, proof: Proof) -> bool {
    sender.accepts(proof) && (sender.addresses.is_empty() || sender.writes_from(from))
}

/// What is said at RCPT to who writes from an address that no sender has, or without what proves that it is his.
#[must_use]
pub fn unproven(from: &str) -> Refusal {
    Refusal::permanent(
        "5.7.1",
        format!(
            "{from} is not known here as a sender of faxes from your network; sign in, or ask the administrator to be added."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing::Rig;

    /// An address that a mail server or a load balancer lends to everybody proves nobody's mail, where the mail itself could.
    #[tokio::test]
    async fn an_address_that_is_lent_is_no_proof() {
        let rig = Rig::new(
            "[smtp]\nlisten = [\"127.0.0.1:0\"]\nhostname = \"x\"\nupstream_from = [\"192.0.2.25\"]\nupstream_id = \"mx\"\n\
             [[sender]]\nname = \"both\"\naddresses = [\"@clinic.example\"]\nnetworks = [\"192.0.2.0/24\"]\nproof = [\"network\", \"upstream\"]\n\
             [[sender]]\nname = \"inside\"\naddresses = [\"@lab.example\"]\nnetworks = [\"192.0.2.0/24\"]\n",
        )
        .await;
        let witness = |peer: &str, from: &str| Witness {
            login: None,
            certificate: Vec::new(),
            peer: peer.parse().unwrap(),
            nameless: false,
            handed_over: false,
            hello: "x".into(),
            from: from.into(),
        };
        let (clinic, lab) = ("jane@clinic.example", "joe@lab.example");
        let network = |sender: &str| {
            Ok(Standing::Proven(Proven {
                sender: sender.into(),
                proof: Proof::Network,
                author: None,
                doubt: None,
                straight: true,
            }))
        };
        let standing = |witness: &Witness| rig.intake.standing(witness);
        assert_eq!(standing(&witness("192.0.2.7", clinic)), network("both"));
        assert_eq!(standing(&witness("192.0.2.25", clinic)), Ok(Standing::Open), "the server in front");
        assert_eq!(standing(&witness("192.0.2.25", lab)), network("inside"), "as its administrator says");
        let handed = Witness { handed_over: true, ..witness("192.0.2.7", clinic) };
        assert_eq!(standing(&handed), Ok(Standing::Open), "LMTP");
        let nameless = Witness { nameless: true, ..witness("192.0.2.7", lab) };
        assert_eq!(standing(&nameless), Ok(Standing::Open), "a load balancer that does not say whose it is");
    }
}
