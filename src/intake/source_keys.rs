//! What recognises the same mail or file when it comes again.
//!
//! A mail has one key for each of its recipients: its sender, Message-ID, the fields that say when it was written and how its
//! body is to be read, its body, and that recipient. The way it came is not in it, so a mail that is sent and also fetched from a
//! mailbox is one; neither are the other recipients, since a client that saw no answer may send the mail to each of them on its
//! own. Some scanners give every mail the same Message-ID: another body is
//! another mail, and so is another Content-Type: a copy in which somebody changed what no signature covers must not stand in for
//! the mail itself. Other header lines differ with the way and do not count.
//!
//! A number can be written in many ways, and may have a name in the register besides. So a mail has a mark without its recipients too,
//! and each of its faxes one of that and the number ([`fax_mark`]), made when it is prepared.
//!
//! A file has one key: its way, sender, name and content. A mail without Message-ID is known by every byte of it
//! ([`Arrival::identity`]), over SMTP for a few hours; what a person sends by hand is new each time.
//!
//! A key is a mark under a key derived from the master key: file names and Message-IDs can be guessed, and whoever has the
//! database alone must not be able to try. What is marked is the digest that earlier versions recorded as it was, so that
//! theirs can be put under the mark too ([`crate::store::Store::key_former_sources`]).

use std::collections::HashSet;

use aws_lc_rs::digest;

use super::{Arrival, Source};
use crate::job::FaxNumber;
use crate::store::SourceKeys;
use crate::text::hex;
use crate::vault::Marker;

/// The keys of `arrival`, made with the [`Purpose::Source`](crate::vault::Purpose) marker. Its recipients stand beside the keys
/// afterwards, each once.
pub(super) fn source_keys(arrival: &mut Arrival, sha256: &str, marker: &Marker) -> SourceKeys {
    let key = |fields: &[&str]| marker.mark(&fingerprint(fields));
    let source = arrival.source.to_string();
    let named = arrival.message_id.as_ref().or(arrival.identity.as_ref());
    match (&arrival.source, named, &arrival.file) {
        (Source::Smtp | Source::Imap(_), Some(message_id), _) => {
            let mail = Mail {
                sender: &arrival.sender,
                message_id,
                reading: arrival.reading_sha256.as_deref(),
                body: arrival.body_sha256.as_deref(),
                marker,
            };
            let former = matches!(arrival.source, Source::Smtp).then(|| mail.former(&arrival.envelope_to));
            if arrival.envelope_to.is_empty() {
                // Out of a mailbox that knows no recipients: the rules alone say who gets it.
                return SourceKeys { each: vec![mail.to("")], former };
            }
            let mut seen = HashSet::new();
            let mut each = Vec::with_capacity(arrival.envelope_to.len());
            arrival.envelope_to.retain(|to| {
                let key = mail.to(to);
                let first = seen.insert(key.clone());
                if first {
                    each.push(key);
                }
                first
            });
            SourceKeys { each, former }
        }
        (Source::Sftp(_) | Source::Folder(_), _, Some(file)) => {
            SourceKeys { each: vec![key(&[&source, &arrival.sender, file, sha256])], former: None }
        }
        _ => SourceKeys::default(),
    }
}

/// The mark of `arrival` as a mail, whichever way it came and whomever it is addressed to; none where it is no mail, or there is
/// nothing to know it by.
pub(super) fn mail_mark(arrival: &Arrival, marker: &Marker) -> Option<String> {
    let named = arrival.message_id.as_ref().or(arrival.identity.as_ref());
    let (Source::Smtp | Source::Imap(_), Some(named)) = (&arrival.source, named) else { return None };
    let digest = |sha256: &Option<String>| sha256.clone().unwrap_or_default();
    let (reading, body) = (digest(&arrival.reading_sha256), digest(&arrival.body_sha256));
    Some(marker.mark(&fingerprint(&["mail to anybody", &arrival.sender, named, &reading, &body])))
}

/// The mark of a fax: of a mail ([`crate::sealed::MailMark`]) to a number.
#[must_use]
pub fn fax_mark(mail: &str, number: &FaxNumber, marker: &Marker) -> String {
    marker.mark(&fingerprint(&["fax", mail, number.as_str()]))
}

/// What recognises a file that was turned away, in this `version` of it.
pub(super) fn turned_away(
    (source, sender): (&Source, &str),
    name: &str,
    version: &str,
    marker: &Marker,
) -> String {
    marker.mark(&fingerprint(&["turned away", &source.to_string(), sender, name, version]))
}

/// Takes away what is `known`: keys, their recipients, and what was asked for those.
pub(super) fn narrow(arrival: &mut Arrival, keys: &mut SourceKeys, known: &[String]) {
    let known: HashSet<&String> = known.iter().collect();
    let mut kept = keys.each.iter().map(|key| !known.contains(key));
    arrival.envelope_to.retain(|_| kept.next().unwrap_or(true));
    keys.each.retain(|key| !known.contains(key));
    if let Some(dsn) = &mut arrival.dsn {
        dsn.recipients.retain(|recipient| arrival.envelope_to.contains(&recipient.to));
    }
}

struct Mail<'a> {
    sender: &'a str,
    message_id: &'a str,
    reading: Option<&'a str>,
    body: Option<&'a str>,
    marker: &'a Marker,
}

impl Mail<'_> {
    fn to(&self, recipient: &str) -> String {
        let recipient = recipient.to_ascii_lowercase();
        let (reading, body) = (self.reading.unwrap_or_default(), self.body.unwrap_or_default());
        self.marker.mark(&fingerprint(&["mail", self.sender, self.message_id, reading, body, &recipient]))
    }

    /// As version 0.1 made one for all recipients of a mail over SMTP: so that a mail that came before the upgrade is known
    /// after it.
    fn former(&self, recipients: &[String]) -> String {
        let mut recipients: Vec<String> = recipients.iter().map(|to| to.to_ascii_lowercase()).collect();
        recipients.sort();
        let mut fields = vec!["smtp", self.sender, self.message_id];
        fields.extend(self.body);
        fields.extend(recipients.iter().map(String::as_str));
        self.marker.mark(&fingerprint(&fields))
    }
}

/// SHA-256 over all fields, each preceded by its length, so that no two lists of them are the same bytes.
fn fingerprint(fields: &[&str]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for field in fields {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field.as_bytes());
    }
    hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{MasterKey, Purpose};

    fn mail(message_id: Option<&str>, to: &[&str]) -> Arrival {
        Arrival {
            envelope_from: Some("jane@example.com".into()),
            envelope_to: to.iter().map(|to| (*to).to_owned()).collect(),
            message_id: message_id.map(str::to_owned),
            body_sha256: Some("b1".into()),
            reading_sha256: Some("r1".into()),
            ..Arrival::new(Source::Smtp, "front desk".into())
        }
    }

    fn file(name: &str) -> Arrival {
        Arrival { file: Some(name.into()), ..Arrival::new(Source::Sftp("billing".into()), "billing".into()) }
    }

    fn each(mut arrival: Arrival, sha256: &str) -> Vec<String> {
        source_keys(&mut arrival, sha256, &marker(7)).each
    }

    fn marker(master: u8) -> Marker {
        MasterKey::from_bytes(&[master; 32]).unwrap().marker(Purpose::Source).unwrap()
    }

    #[test]
    fn nobody_without_the_master_key_can_try_names() {
        let (name, digest) = ("Miller_Anna_1971_+12125550199.pdf", "d1");
        let known = each(file(name), digest);
        let fields = ["sftp:billing", "billing", name, digest];
        assert_ne!(known, [fingerprint(&fields)], "a plain digest can be tried by anybody");
        let another = source_keys(&mut file(name), digest, &marker(8));
        assert_ne!(known, another.each, "another master key makes another mark");
        let digests = MasterKey::from_bytes(&[7; 32]).unwrap().marker(Purpose::Digest).unwrap();
        assert_ne!(known, [digests.mark(&fingerprint(&fields))], "another purpose too");
    }

    #[test]
    fn a_mail_is_known_for_each_recipient_whichever_way_it_came() {
        let whole = each(mail(Some("<1@x>"), &["a@f", "b@f"]), "d1");
        let [a, b] = whole.as_slice() else { panic!("one key for each") };
        assert_ne!(a, b);
        let same = |arrival: Arrival| each(arrival, "d2").first() == Some(a);
        assert!(same(mail(Some("<1@x>"), &["a@f"])), "alone");
        assert!(same(mail(Some("<1@x>"), &["A@F", "c@f"])), "case and company differ");
        let fetched = Arrival { source: Source::Imap("office".into()), ..mail(Some("<1@x>"), &["a@f"]) };
        assert!(same(fetched), "out of a mailbox");
        assert!(!same(mail(Some("<2@x>"), &["a@f"])), "another mail");
        assert!(
            !same(Arrival { sender: "billing".into(), ..mail(Some("<1@x>"), &["a@f"]) }),
            "another sender"
        );
        let other = Arrival { body_sha256: Some("b2".into()), ..mail(Some("<1@x>"), &["a@f"]) };
        assert!(!same(other), "a scanner that gives every mail the same Message-ID");
        let mangled = Arrival { reading_sha256: Some("r2".into()), ..mail(Some("<1@x>"), &["a@f"]) };
        assert!(!same(mangled), "a copy with another Content-Type");
        assert!(each(mail(None, &["a@f"]), "d1").is_empty(), "neither Message-ID nor bytes");
        let unnamed = Arrival { identity: Some("d1".into()), ..mail(None, &["a@f"]) };
        let fetched = Arrival { source: Source::Imap("office".into()), ..unnamed.clone() };
        assert_eq!(each(fetched, "d1"), each(unnamed.clone(), "d1"), "without a Message-ID, by its bytes");
        let other = Arrival { identity: Some("d2".into()), ..unnamed.clone() };
        assert_ne!(each(other, "d1"), each(unnamed, "d1"), "another mail without a Message-ID");
        let nobody = Arrival { source: Source::Imap("office".into()), ..mail(Some("<1@x>"), &[]) };
        assert_eq!(each(nobody, "d1").len(), 1, "a mailbox without recipients");
    }

    #[test]
    fn a_fax_is_known_by_its_mail_and_number() {
        let number = |text| FaxNumber::from_e164(text).unwrap();
        let known = |arrival: &Arrival, text| {
            Some(fax_mark(&mail_mark(arrival, &marker(7))?, &number(text), &marker(7)))
        };
        let first = mail(Some("<1@x>"), &["mercy@f"]);
        let here = known(&first, "+12125550199");
        assert!(here.is_some());
        let fetched = Arrival { source: Source::Imap("office".into()), ..mail(Some("<1@x>"), &[]) };
        for same in [&mail(Some("<1@x>"), &["+1-212-555-0199@f", "x@f"]), &fetched] {
            assert_eq!(known(same, "+12125550199"), here);
        }
        for (other, number) in [
            (first.clone(), "+12125550198"),
            (mail(Some("<2@x>"), &["mercy@f"]), "+12125550199"),
            (Arrival { body_sha256: Some("b2".into()), ..first.clone() }, "+12125550199"),
            (Arrival { reading_sha256: Some("r2".into()), ..first.clone() }, "+12125550199"),
            (Arrival { sender: "billing".into(), ..first.clone() }, "+12125550199"),
        ] {
            assert_ne!(known(&other, number), here, "{other:?}");
        }
        assert_eq!(mail_mark(&file("x.pdf"), &marker(7)), None, "each file is one");
        assert_eq!(mail_mark(&mail(None, &["a@f"]), &marker(7)), None, "nothing to know it by");
    }

    #[test]
    fn a_file_is_known_by_its_way_name_and_content() {
        let f = each(file("1_+12125550199.pdf"), "d1");
        assert_eq!(f.len(), 1);
        assert_eq!(f, each(file("1_+12125550199.pdf"), "d1"));
        assert_ne!(f, each(file("1_+12125550199.pdf"), "d2"), "another content");
        assert_ne!(f, each(file("1_+12125550198.pdf"), "d1"), "another number in the name");
        let cli = Arrival { source: Source::Cli, ..file("x.pdf") };
        assert!(each(cli, "d1").is_empty(), "what a person sends by hand is meant");
    }

    #[test]
    fn keys_are_the_marks_of_what_version_0_1_recorded() {
        let former = |to: &[&str]| source_keys(&mut mail(Some("<1@x>"), to), "d1", &marker(7)).former;
        let marked = |fields: &[&str]| marker(7).mark(&fingerprint(fields));
        let fields = ["smtp", "front desk", "<1@x>", "b1", "a@f", "b@f"];
        assert_eq!(former(&["B@f", "a@f"]), Some(marked(&fields)));
        assert_eq!(each(file("x.pdf"), "d1"), [marked(&["sftp:billing", "billing", "x.pdf", "d1"])]);
    }

    #[test]
    fn what_is_known_goes_with_its_recipients_and_their_wishes() {
        use crate::sealed::{Dsn, DsnRecipient};
        let wish = |to: &str| DsnRecipient {
            to: to.into(),
            original: None,
            failure: true,
            success: false,
            never: false,
        };
        let mut arrival = mail(Some("<1@x>"), &["a@f", "A@f", "b@f", "c@f"]);
        arrival.dsn = Some(Dsn { recipients: vec![wish("a@f"), wish("b@f")], ..Dsn::default() });
        let mut keys = source_keys(&mut arrival, "d1", &marker(7));
        assert_eq!(arrival.envelope_to, ["a@f", "b@f", "c@f"], "the same one once");
        let b = keys.each.get(1).cloned().unwrap();
        narrow(&mut arrival, &mut keys, &[b]);
        assert_eq!(arrival.envelope_to, ["a@f", "c@f"]);
        assert_eq!(keys.each.len(), 2);
        assert_eq!(arrival.dsn.unwrap().recipients, [wish("a@f")]);
    }
}
