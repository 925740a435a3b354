//! In whose name a cover speaks. Pure.
//!
//! A password, a network or a certificate proves whose a mail is, and nothing of what it says in From. A clinic must not be named on
//! a cover by whoever may send faxes here too.

use crate::addressing::MailFacts;
use crate::config::{Config, Proof, Sender};

/// Who wrote a mail, as far as a cover may say so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Author<'a> {
    /// The name in From.
    pub name: Option<&'a str>,
    /// The mail address.
    pub address: Option<&'a str>,
}

/// What the proof of a mail leaves of its author.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Whose it is.
    pub sender: Option<&'a Sender>,
    /// What proved that.
    pub proof: Option<Proof>,
    /// The envelope's sender.
    pub envelope_from: Option<&'a str>,
    /// What the mail says.
    pub mail: Option<&'a MailFacts>,
}

impl<'a> Claim<'a> {
    /// Name and address of From where they are the sender's own, else the envelope's address where that is; the second is what
    /// the sender should know then.
    #[must_use]
    pub fn author(self, config: &Config) -> (Author<'a>, Option<&'static str>) {
        let Some(mail) = self.mail else { return (Author::default(), None) };
        let said = Author { name: mail.from_name.as_deref(), address: mail.from_address.as_deref() };
        let Some(sender) = self.sender else { return (said, None) };
        // These two proved the address in From itself.
        let proven = matches!(self.proof, Some(Proof::Dmarc | Proof::Upstream));
        if proven || said.address.is_none_or(|address| may_write(config, sender, address)) {
            return (said, None);
        }
        let envelope = self.envelope_from.filter(|address| may_write(config, sender, address));
        let told = sender.mail.is_none().then_some(
            "The address in From is not one that you may send faxes from, so the cover does not show it, nor the name beside it.",
        );
        (Author { name: None, address: envelope }, told)
    }
}

/// Whether `address` is the sender's. One without addresses may write from any that is nobody else's.
fn may_write(config: &Config, sender: &Sender, address: &str) -> bool {
    let others = || config.sender.iter().any(|other| other.writes_from(address));
    sender.writes_from(address) || (sender.addresses.is_empty() && !others())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_speaks_in_the_name_of_another() {
        let config: Config = toml::from_str(
            "[organization]\nname = \"Example\"\ncountry = \"US\"\ntime_zone = \"UTC\"\n[store]\n\
             data_dir = \"/nonexistent\"\nmaster_key = \"env:NONE\"\n\
             [[sender]]\nname = \"clinic\"\naddresses = [\"@clinic.example\"]\n\
             [[sender]]\nname = \"partner\"\naddresses = [\"b@partner.example\"]\n\
             [[sender]]\nname = \"login\"\n[[sender]]\nname = \"fixed\"\nmail = \"desk@fixed.example\"\n",
        )
        .unwrap();
        let (jane, partner) = ("jane@clinic.example", "b@partner.example");
        let whole = |address: &'static str| Author { name: Some("Dr. Roe"), address: Some(address) };
        let bare = |address| Author { name: None, address };
        for (sender, proof, envelope, from, wanted, told) in [
            ("clinic", Proof::Network, jane, jane, whole(jane), false),
            (
                "clinic",
                Proof::Network,
                "scan@clinic.example",
                "JANE@Clinic.example",
                whole("JANE@Clinic.example"),
                false,
            ),
            ("partner", Proof::Network, partner, jane, bare(Some(partner)), true),
            ("partner", Proof::Certificate, partner, "x@elsewhere.example", bare(Some(partner)), true),
            ("partner", Proof::Mailbox, jane, jane, bare(None), true),
            (
                "partner",
                Proof::Dmarc,
                "bounces@mailer.example",
                "b@xn--4ca.example",
                whole("b@xn--4ca.example"),
                false,
            ),
            ("login", Proof::Login, "any@x.example", "any@x.example", whole("any@x.example"), false),
            ("login", Proof::Login, "any@x.example", jane, bare(Some("any@x.example")), true),
            ("login", Proof::Login, jane, jane, bare(None), true),
            ("fixed", Proof::Login, jane, jane, bare(None), false),
        ] {
            let mail = MailFacts {
                from_name: Some("Dr. Roe".into()),
                from_address: Some(from.into()),
                ..MailFacts::default()
            };
            let claim = Claim {
                sender: config.sender.iter().find(|known| known.name == sender),
                proof: Some(proof),
                envelope_from: Some(envelope),
                mail: Some(&mail),
            };
            let (author, said) = claim.author(&config);
            assert_eq!((author, said.is_some()), (wanted, told), "{sender} {proof:?} {envelope} {from}");
        }
    }
}
