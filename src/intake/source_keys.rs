//! What recognises the same mail or file when it comes again.
//!
//! A mail has one key for each of its recipients: its sender, Message-ID, what it says ([`Arrival::content_sha256`]), and that recipient.
//! The way it came is not in it, so a mail that is sent and also fetched from a mailbox is one; neither are the other recipients,
//! since a client that saw no answer may send the mail to each of them on its own. Some scanners give every mail the same Message-ID:
//! another text is another mail, and so is another Subject or Content-Type. Other header lines differ with the way and do not
//! count.
//!
//! Somebody who has a copy of a signed mail may send it first. What such a copy brings about must never be the answer to the mail
//! itself. So whatever could be otherwise in the copy is in the key, and must be covered by the signature; where it is not, there is
//! a [`Doubt`](super::proof::Doubt), and the copy has a key among the doubtful, by which no mail without doubt is known.
//!
//! A number can be written in many ways, and may have a name in the register besides. So a mail has a mark without its recipients too,
//! and each of its faxes one of that and the number ([`fax_mark`]), made when it is prepared.
//!
//! A file has one key: its way, sender, name and content. A mail without Message-ID is known by every byte of it, over SMTP for a
//! few hours; what a person sends by hand is new each time.
//!
//! A key is a mark under a key derived from the master key: file names and Message-IDs can be guessed, and whoever has the
//! database alone must not be able to try. What is marked is the digest that earlier versions recorded as it was, so that
//! theirs can be put under the mark too ([`crate::store::Store::key_former_sources`]).

use std::collections::HashSet;

use aws_lc_rs::digest;

use super::Arrival;
use super::header::FormerContent;
use super::proof::Doubt;
use crate::job::{FaxNumber, Source};
use crate::store::{SourceKey, SourceKeys, Spent};
use crate::text::hex;
use crate::vault::Marker;

/// The kinds of a mail's keys.
const CERTAIN: &str = "mail, certain";
const DOUBTFUL: &str = "mail, doubtful";

/// The keys of `arrival`, made with the [`Purpose::Source`](crate::vault::Purpose) marker. Its recipients stand beside the keys
/// afterwards, each once.
pub(super) fn source_keys(arrival: &mut Arrival, sha256: &str, marker: &Marker) -> SourceKeys {
    let spent = spent(arrival);
    let source = arrival.source.to_string();
    match (&arrival.source, &arrival.file) {
        (Source::Smtp | Source::Imap(_), _) => {
            let mail = Mail {
                sender: &arrival.sender,
                named: arrival.message_id.as_deref().unwrap_or(sha256),
                content: arrival.content_sha256.as_deref().unwrap_or_default(),
                former: arrival.former.as_ref(),
                doubt: arrival.doubt.as_ref(),
                marker,
            };
            let is_smtp = matches!(arrival.source, Source::Smtp);
            let former = is_smtp.then(|| mail.former(&arrival.envelope_to)).flatten();
            if arrival.envelope_to.is_empty() {
                // Out of a mailbox that knows no recipients: the rules alone say who gets it.
                return SourceKeys { each: vec![mail.to("")], former, spent };
            }
            let mut seen = HashSet::new();
            let mut each = Vec::with_capacity(arrival.envelope_to.len());
            arrival.envelope_to.retain(|to| {
                let key = mail.to(to);
                let first = seen.insert(key.key.clone());
                if first {
                    each.push(key);
                }
                first
            });
            SourceKeys { each, former, spent }
        }
        (Source::Sftp(_) | Source::Folder(_), Some(file)) => {
            let key = marker.mark(&fingerprint(&[&source, &arrival.sender, file, sha256]));
            SourceKeys { each: vec![key.into()], former: None, spent }
        }
        _ => SourceKeys::default(),
    }
}

/// After which end of its fax the same mail or file is a wish to try anew.
fn spent(arrival: &Arrival) -> Spent {
    match &arrival.source {
        // Anybody may send a copy again, at any time.
        Source::Smtp if !arrival.straight => Spent::Never,
        // A person who tries anew writes a new mail. It is servers that send the same once more, and late.
        Source::Smtp | Source::Imap(_) if arrival.message_id.is_some() => Spent::Failed,
        _ => Spent::Ended,
    }
}

/// The mark of `arrival` as a mail, whichever way it came and whomever it is addressed to; none where it is no mail.
pub(super) fn mail_mark(arrival: &Arrival, sha256: &str, marker: &Marker) -> Option<String> {
    let (Source::Smtp | Source::Imap(_)) = &arrival.source else { return None };
    let named = arrival.message_id.as_deref().unwrap_or(sha256);
    let content = arrival.content_sha256.as_deref().unwrap_or_default();
    Some(marker.mark(&fingerprint(&["mail to anybody", &arrival.sender, named, content])))
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
    let mut kept = keys.each.iter().map(|key| !known.contains(&key.key));
    arrival.envelope_to.retain(|_| kept.next().unwrap_or(true));
    keys.each.retain(|key| !known.contains(&key.key));
    let to = &arrival.envelope_to;
    arrival.doubt = arrival.doubt.take().and_then(|doubt| doubt.narrowed(|recipient| to.contains(recipient)));
    if let Some(dsn) = &mut arrival.dsn {
        dsn.recipients.retain(|recipient| arrival.envelope_to.contains(&recipient.to));
    }
}

struct Mail<'a> {
    sender: &'a str,
    named: &'a str,
    content: &'a str,
    former: Option<&'a FormerContent>,
    doubt: Option<&'a Doubt>,
    marker: &'a Marker,
}

impl Mail<'_> {
    fn to(&self, recipient: &str) -> SourceKey {
        let folded = recipient.to_ascii_lowercase();
        let key =
            |kind| self.marker.mark(&fingerprint(&[kind, self.sender, self.named, self.content, &folded]));
        let earlier = self.former.map(|content| self.earlier(content, &folded));
        let mut also: Vec<String> = earlier.into_iter().collect();
        if self.doubt.is_some_and(|doubt| doubt.is_about(recipient)) {
            also.push(key(CERTAIN));
            return SourceKey { key: key(DOUBTFUL), also };
        }
        SourceKey { key: key(CERTAIN), also }
    }

    /// As the version before recorded one: so that a mail that came before the upgrade is known after it.
    fn earlier(&self, content: &FormerContent, folded: &str) -> String {
        let fields = ["mail", self.sender, self.named, &content.reading_sha256, &content.body_sha256, folded];
        self.marker.mark(&fingerprint(&fields))
    }

    /// As version 0.1 made one for all recipients of a mail over SMTP: so that a mail that came before the upgrade is known
    /// after it.
    fn former(&self, recipients: &[String]) -> Option<String> {
        let mut recipients: Vec<String> = recipients.iter().map(|to| to.to_ascii_lowercase()).collect();
        recipients.sort();
        let mut fields = vec!["smtp", self.sender, self.named, &self.former?.body_sha256];
        fields.extend(recipients.iter().map(String::as_str));
        Some(self.marker.mark(&fingerprint(&fields)))
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
            content_sha256: Some("c1".into()),
            former: Some(FormerContent { reading_sha256: "r1".into(), body_sha256: "b1".into() }),
            ..Arrival::new(Source::Smtp, "front desk".into())
        }
    }

    fn file(name: &str) -> Arrival {
        Arrival { file: Some(name.into()), ..Arrival::new(Source::Sftp("billing".into()), "billing".into()) }
    }

    fn each(mut arrival: Arrival, sha256: &str) -> Vec<String> {
        let keys = source_keys(&mut arrival, sha256, &marker(7)).each;
        keys.into_iter().map(|key| key.key).collect()
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
        assert_ne!(known[0], another.each[0].key, "another master key makes another mark");
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
        let other = Arrival { content_sha256: Some("c2".into()), ..mail(Some("<1@x>"), &["a@f"]) };
        assert!(
            !same(other),
            "a scanner that gives every mail the same Message-ID, or a copy that says something else"
        );
        let unnamed = mail(None, &["a@f"]);
        let fetched = Arrival { source: Source::Imap("office".into()), ..unnamed.clone() };
        assert_eq!(each(fetched, "d1"), each(unnamed.clone(), "d1"), "without a Message-ID, by its bytes");
        assert_ne!(each(unnamed.clone(), "d2"), each(unnamed, "d1"), "another mail without a Message-ID");
        let nobody = Arrival { source: Source::Imap("office".into()), ..mail(Some("<1@x>"), &[]) };
        assert_eq!(each(nobody, "d1").len(), 1, "a mailbox without recipients");
    }

    #[test]
    fn a_fax_is_known_by_its_mail_and_number() {
        let number = |text| FaxNumber::from_e164(text).unwrap();
        let known = |arrival: &Arrival, text| {
            Some(fax_mark(&mail_mark(arrival, "d1", &marker(7))?, &number(text), &marker(7)))
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
            (Arrival { content_sha256: Some("c2".into()), ..first.clone() }, "+12125550199"),
            (Arrival { sender: "billing".into(), ..first.clone() }, "+12125550199"),
        ] {
            assert_ne!(known(&other, number), here, "{other:?}");
        }
        assert_eq!(mail_mark(&file("x.pdf"), "d1", &marker(7)), None, "each file is one");
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

    /// What nobody can be sure of is known by what came in a way that leaves no doubt, and never the other way round.
    #[test]
    fn a_doubtful_copy_is_not_what_a_mail_is_known_by() {
        let doubtful = |about: &[&str]| {
            let about = about.iter().map(|to| (*to).to_owned()).collect();
            let doubt = Some(Doubt { sentence: "s".into(), about });
            let mut arrival = Arrival { doubt, straight: false, ..mail(Some("<1@x>"), &["a@f", "b@f"]) };
            source_keys(&mut arrival, "d1", &marker(7)).each
        };
        let certain = source_keys(&mut mail(Some("<1@x>"), &["a@f", "b@f"]), "d1", &marker(7)).each;
        let knows =
            |later: &SourceKey, first: &SourceKey| later.key == first.key || later.also.contains(&first.key);
        for (both, a) in [(doubtful(&["a@f", "b@f"]), 0), (doubtful(&["b@f"]), 1)] {
            let (copy, real) = (&both[a], &certain[a]);
            assert!(knows(copy, real) && knows(copy, copy), "a copy that comes later brings nothing new");
            assert!(!knows(real, copy), "the mail itself is new after a copy");
        }
        assert_eq!(doubtful(&["b@f"])[0], certain[0], "there is no doubt about this one");
    }

    #[test]
    fn what_is_known_from_before_the_upgrade() {
        let fields = ["mail", "front desk", "<1@x>", "r1", "b1", "a@f"];
        let before = marker(7).mark(&fingerprint(&fields));
        for doubt in [None, Some(Doubt { sentence: "s".into(), about: vec!["A@f".into()] })] {
            let mut arrival = Arrival { doubt, ..mail(Some("<1@x>"), &["A@f"]) };
            assert!(source_keys(&mut arrival, "d1", &marker(7)).each[0].also.contains(&before));
        }
    }

    #[test]
    fn a_copy_is_never_a_wish_to_try_anew() {
        let imap = || Source::Imap("office".into());
        for (arrival, expected) in [
            (mail(Some("<1@x>"), &["a@f"]), Spent::Failed),
            (Arrival { straight: false, ..mail(Some("<1@x>"), &["a@f"]) }, Spent::Never),
            (Arrival { straight: false, ..mail(None, &["a@f"]) }, Spent::Never),
            (Arrival { source: imap(), ..mail(Some("<1@x>"), &["a@f"]) }, Spent::Failed),
            (mail(None, &["a@f"]), Spent::Ended),
            (file("x.pdf"), Spent::Ended),
        ] {
            assert_eq!(spent(&arrival), expected, "{arrival:?}");
        }
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
        arrival.doubt = Some(Doubt { sentence: "s".into(), about: vec!["b@f".into()] });
        let b = keys.each.get(1).cloned().unwrap();
        narrow(&mut arrival, &mut keys, &[b.key]);
        assert_eq!(arrival.envelope_to, ["a@f", "c@f"]);
        assert_eq!(keys.each.len(), 2);
        assert_eq!(arrival.dsn.unwrap().recipients, [wish("a@f")]);
        assert_eq!(arrival.doubt, None, "it was about the one that is gone");
    }
}
