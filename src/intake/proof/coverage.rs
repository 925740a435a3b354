//! What a signature says beyond who wrote a mail, where nothing else speaks for it.
//!
//! A signed mail can be sent on by anybody who has a copy of it: its recipients, a list, a mail server on the way. He can change
//! what the signature leaves out, send it to somebody else, and send it years later. So where the mail does not come straight from
//! its domain, it is faxed only as far as the signature reaches:
//!
//! - It must cover whatever decides what is faxed, also the fields that the mail does not have, since somebody may have added or
//!   taken them away: the fields in [`ALWAYS`], and those that the sender's `readers` look at. Some may be missing from it where
//!   the mail has none ([`WHERE_THERE`]).
//! - Its recipients stand in a To or Cc that it covers.
//! - It is younger than mails are known for when they come again (`retention.repeats`). After that nothing could tell a copy from a
//!   new mail.
//!
//! Everything else is a [`Doubt`], and a person has to look at it.

use jiff::{SignedDuration, Timestamp};
use mail_auth::dkim::Signature;
use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue};

use super::header::Header;
use crate::addressing::readers::Reader;
use crate::intake::content_digest::is_multipart;

/// How far the clock of whoever signs a mail may be ahead.
pub const CLOCKS_APART: SignedDuration = SignedDuration::from_hours(1);
/// Fields that must be covered whether the mail has them or not.
const ALWAYS: [&str; 4] = ["Date", "Message-ID", "Subject", "Content-Type"];
/// Fields that must be covered where the mail has them.
const WHERE_THERE: [&str; 2] = ["MIME-Version", ENCODING];
const ENCODING: &str = "Content-Transfer-Encoding";
/// Longest line of such a field. White space in a longer one is not looked at when a mail is recognised.
const LONGEST_LINE: usize = 998;
/// Recipients that are named in a sentence.
const MOST_NAMED: usize = 3;

/// What the proof of a mail leaves open, although the mail is its sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// For the sender, and for whoever has to look at it.
    pub sentence: String,
    /// The envelope recipients that it is about.
    pub about: Vec<String>,
}

impl Doubt {
    /// Whether it is about this envelope recipient.
    #[must_use]
    pub fn is_about(&self, recipient: &str) -> bool {
        self.about.iter().any(|to| to.eq_ignore_ascii_case(recipient))
    }

    /// The same about those that are left; none where that is nobody.
    #[must_use]
    pub(in crate::intake) fn narrowed(mut self, left: impl Fn(&String) -> bool) -> Option<Doubt> {
        self.about.retain(left);
        (!self.about.is_empty()).then_some(self)
    }
}

/// What a signature is held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands<'a> {
    /// How its sender's mails are read.
    pub(super) readers: &'a [Reader],
    /// Envelope recipients.
    pub(super) to: &'a [String],
    /// Now.
    pub(super) now: Timestamp,
    /// For how long mails are known when they come again.
    pub(super) repeats: SignedDuration,
}

/// How far a signature reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coverage {
    /// Fields that it leaves out.
    left_out: Vec<&'static str>,
    /// Recipients that it does not name.
    unnamed: Vec<String>,
    /// When it was made.
    age: Age,
}

/// When a signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// Not long ago.
    Young,
    /// Longer ago than mails are known.
    Old,
    /// Later than now, or it does not say.
    Strange,
}

impl Coverage {
    /// Of `signature` in a mail with this `header`.
    pub(super) fn of(signature: &Signature, header: &Header<'_>, demands: Demands<'_>) -> Coverage {
        let covers = |name: &str| covers(signature, header, name);
        let multipart = header.one("content-type").is_some_and(is_multipart);
        let mut wanted: Vec<&'static str> = ALWAYS.to_vec();
        wanted.extend(WHERE_THERE.into_iter().filter(|name| header.one(name).is_some()));
        // Something with parts is not encoded itself; without them, the text would be read otherwise if the field were gone.
        if !multipart && !wanted.contains(&ENCODING) {
            wanted.push(ENCODING);
        }
        for reader in demands.readers {
            wanted.extend(reader.header_fields());
        }
        let mut left_out: Vec<&'static str> = wanted.into_iter().filter(|name| !covers(name)).collect();
        if header.one("message-id").is_none() && !left_out.contains(&"Message-ID") {
            left_out.push("Message-ID");
        }
        if demands.readers.contains(&Reader::Hylafax) && !covers_all(signature, header, "x-fax-") {
            left_out.push("all X-FAX fields");
        }
        let named: Vec<String> = ["to", "cc"]
            .into_iter()
            .filter(|name| covers(name))
            .flat_map(|name| addresses(header, name))
            .collect();
        let is_named = |to: &&String| named.iter().any(|name| bare(name).eq_ignore_ascii_case(&bare(to)));
        let unnamed = demands.to.iter().filter(|to| !is_named(to)).cloned().collect();
        Coverage { left_out, unnamed, age: age(signature, header, demands) }
    }

    /// The one of both that leaves less open.
    pub(super) fn wider(self, other: Coverage) -> Coverage {
        let open = |coverage: &Coverage| {
            (coverage.age != Age::Young, coverage.left_out.len(), coverage.unnamed.len())
        };
        if open(&other) < open(&self) { other } else { self }
    }

    /// Whether it leaves nothing open.
    pub(super) fn is_whole(&self) -> bool {
        self.left_out.is_empty() && self.unnamed.is_empty() && self.age == Age::Young
    }

    /// What it leaves open of a mail to the envelope recipients `to`.
    pub(super) fn doubt(&self, domain: &str, to: &[String]) -> Option<Doubt> {
        if self.is_whole() {
            return None;
        }
        let mut sentence = format!(
            "This mail did not come straight from a server of {domain} (SPF), so its DKIM signature alone speaks for it."
        );
        if !self.left_out.is_empty() {
            let fields = self.left_out.join(", ");
            sentence.push_str(&format!(
                " It does not cover {fields}, so the mail may have been changed on its way."
            ));
        }
        match self.age {
            Age::Young => {}
            Age::Old => sentence
                .push_str(" It was made too long ago to tell this mail from one that was sent here before."),
            Age::Strange => {
                sentence.push_str(
                    " It does not say when it was made, so this may be a mail that was sent here before.",
                );
            }
        }
        if !self.unnamed.is_empty() {
            let mut named =
                self.unnamed.get(..MOST_NAMED.min(self.unnamed.len())).unwrap_or_default().join(", ");
            if self.unnamed.len() > MOST_NAMED {
                named.push_str(" and others");
            }
            sentence.push_str(&format!(
                " It does not cover a To or Cc with {named}, so somebody who has a copy of the mail may have sent it there."
            ));
        }
        let about_all = !self.left_out.is_empty() || self.age != Age::Young;
        Some(Doubt { sentence, about: if about_all { to.to_vec() } else { self.unnamed.clone() } })
    }
}

/// Whether nobody can add, take away or change a field `name` without breaking the signature: it lists the name at least as often
/// as the mail has it, and once where there is none.
fn covers(signature: &Signature, header: &Header<'_>, name: &str) -> bool {
    let listed = signature.h.iter().filter(|signed| signed.trim().eq_ignore_ascii_case(name)).count();
    let mut there = 0_usize;
    for value in header.all(name) {
        there = there.saturating_add(1);
        if value.split(|byte| *byte == b'\n').any(|line| line.len() > LONGEST_LINE) {
            return false;
        }
    }
    listed >= there.max(1)
}

/// The same of every field in the mail whose name begins with `prefix`.
fn covers_all(signature: &Signature, header: &Header<'_>, prefix: &str) -> bool {
    let begins =
        |name: &str| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    header.names().filter(|name| begins(name)).all(|name| covers(signature, header, name))
}

fn addresses(header: &Header<'_>, name: &str) -> Vec<String> {
    let parse = |value: &[u8]| match MessageStream::new(value).parse_address() {
        HeaderValue::Address(address) => written(&address),
        _ => Vec::new(),
    };
    header.all(name).flat_map(parse).collect()
}

fn written(address: &Address<'_>) -> Vec<String> {
    address.iter().filter_map(|one| one.address.as_deref().map(str::to_owned)).collect()
}

/// An address without quotes around its local part: sessions and mails write them differently.
fn bare(address: &str) -> String {
    address.replace('"', "")
}

fn age(signature: &Signature, header: &Header<'_>, demands: Demands<'_>) -> Age {
    let Some(made) = made(signature, header) else { return Age::Strange };
    let age = demands.now.duration_since(made);
    if age < -CLOCKS_APART {
        Age::Strange
    } else if age >= demands.repeats {
        Age::Old
    } else {
        Age::Young
    }
}

/// As it says itself, else when the mail says that it was written.
fn made(signature: &Signature, header: &Header<'_>) -> Option<Timestamp> {
    if signature.t > 0 {
        return Timestamp::from_second(i64::try_from(signature.t).ok()?).ok();
    }
    let HeaderValue::DateTime(date) = MessageStream::new(header.one("date")?).parse_date() else {
        return None;
    };
    Some(date)
        .filter(mail_parser::DateTime::is_valid)
        .and_then(|date| Timestamp::from_second(date.to_timestamp()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;
    const ALL: &str = "From:To:Cc:Subject:Date:Message-ID:MIME-Version:Content-Type";
    const TO: &str = "mercy@fax.example";
    const MAIL: &str = "From: jane@clinic.example\r\nTo: <mercy@fax.example>\r\nSubject: x\r\nDate: Wed, 18 Nov 2026 11:06:40 +0000\r\n\
                        Message-ID: <1@x>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n";

    fn coverage(fields: &str, made: i64, header: &str, readers: &[Reader], to: &[&str]) -> Coverage {
        let h = fields.split(':').map(str::to_owned).collect();
        let signature = Signature { h, t: made.cast_unsigned(), ..Signature::default() };
        let to: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
        let now = Timestamp::from_second(NOW).unwrap();
        let demands = Demands { readers, to: &to, now, repeats: SignedDuration::from_hours(24) };
        Coverage::of(&signature, &Header::read(format!("{header}\r\n").as_bytes()).unwrap(), demands)
    }

    #[test]
    fn what_decides_what_is_faxed_is_covered_or_left_out() {
        let single = MAIL.replace("multipart/mixed; boundary=b", "text/plain");
        let bare = MAIL.replace("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n", "");
        let without = |name: &str| ALL.replace(name, "X");
        let (right, hyla) = ([Reader::Rightfax], [Reader::Hylafax]);
        let fax = format!("{ALL}:X-FAX-To:X-FAX-Dialstring:X-FAX-AutoCoverPage");
        type Row<'a> = (&'a str, String, String, &'a [Reader], Vec<&'a str>);
        let rows: [Row<'_>; 17] = [
            ("all of it", ALL.into(), MAIL.into(), &[], vec![]),
            ("as Google", without("Content-Type"), MAIL.into(), &[], vec!["Content-Type"]),
            ("no Date", without("Date"), MAIL.into(), &[], vec!["Date"]),
            ("no version", without("MIME-Version"), MAIL.into(), &[], vec!["MIME-Version"]),
            (
                "no Subject, and none there",
                without("Subject"),
                MAIL.replace("Subject", "Y"),
                &[],
                vec!["Subject"],
            ),
            (
                "an encoding that was added",
                ALL.into(),
                format!("{MAIL}Content-Transfer-Encoding: 7bit\r\n"),
                &[],
                vec![ENCODING],
            ),
            ("an encoding that may be gone", ALL.into(), single.clone(), &[], vec![ENCODING]),
            ("none, and that is signed", format!("{ALL}:{ENCODING}"), single, &[], vec![]),
            (
                "MIME fields that may be gone",
                "From:To:Subject:Date:Message-ID".into(),
                bare,
                &[],
                vec!["Content-Type", ENCODING],
            ),
            ("no Message-ID", ALL.into(), MAIL.replace("Message-ID", "Y"), &[], vec!["Message-ID"]),
            (
                "a long line",
                ALL.into(),
                MAIL.replace("Subject: x", &"Subject: x".repeat(110)),
                &[],
                vec!["Subject"],
            ),
            ("RightFax", ALL.into(), MAIL.into(), &right, vec![]),
            ("RightFax, as Microsoft", without("Cc"), MAIL.into(), &right, vec!["Cc"]),
            (
                "RightFax, another To on top",
                ALL.into(),
                format!("To: x@y.example\r\n{MAIL}"),
                &right,
                vec!["To"],
            ),
            (
                "HylaFAX, all gone",
                ALL.into(),
                MAIL.into(),
                &hyla,
                vec!["X-FAX-To", "X-FAX-Dialstring", "X-FAX-AutoCoverPage"],
            ),
            ("HylaFAX", fax.clone(), format!("{MAIL}X-FAX-To: Dr. Roe\r\n"), &hyla, vec![]),
            ("HylaFAX, one added", fax, format!("{MAIL}X-Fax-Vres: 98\r\n"), &hyla, vec!["all X-FAX fields"]),
        ];
        for (what, fields, header, readers, left_out) in rows {
            assert_eq!(coverage(&fields, NOW, &header, readers, &[]).left_out, left_out, "{what}");
        }
    }

    #[test]
    fn recipients_stand_in_a_covered_to_or_cc() {
        let cc = format!("{MAIL}Cc: Labs <LABS@fax.example>, a: b@fax.example;\r\n");
        let without_to = ALL.replace("To:", "");
        for (fields, header, to, unnamed) in [
            (ALL, MAIL, vec![TO], vec![]),
            (ALL, MAIL, vec!["Mercy@FAX.example"], vec![]),
            (ALL, MAIL, vec![TO, "labs@fax.example"], vec!["labs@fax.example"]),
            (ALL, cc.as_str(), vec![TO, "labs@fax.example", "b@fax.example"], vec![]),
            (without_to.as_str(), cc.as_str(), vec![TO, "labs@fax.example"], vec![TO]),
        ] {
            assert_eq!(coverage(fields, NOW, header, &[], &to).unnamed, unnamed, "{fields} {to:?}");
        }
        let doubt = |to: &[&str]| {
            let to_owned: Vec<String> = to.iter().map(|to| (*to).to_owned()).collect();
            coverage(ALL, NOW, MAIL, &[], to).doubt("clinic.example", &to_owned)
        };
        assert_eq!(doubt(&[TO]), None);
        let bcc = doubt(&[TO, "labs@fax.example"]).unwrap();
        assert_eq!(bcc.about, ["labs@fax.example"], "{}", bcc.sentence);
        assert!(bcc.sentence.contains("To or Cc with labs@fax.example"), "{}", bcc.sentence);
    }

    #[test]
    fn a_signature_is_young_until_copies_are_forgotten() {
        let hour = 3600;
        for (made, expected) in [
            (NOW, Age::Young),
            (NOW - 24 * hour + 1, Age::Young),
            (NOW - 24 * hour, Age::Old),
            (NOW + hour, Age::Young),
            (NOW + hour + 1, Age::Strange),
            (i64::MAX, Age::Strange),
        ] {
            assert_eq!(coverage(ALL, made, MAIL, &[], &[TO]).age, expected, "{made}");
        }
        // Without a time of its own, by the mail's.
        let dated = |date: &str| {
            let from = "Date: Wed, 18 Nov 2026 11:06:40 +0000";
            coverage(ALL, 0, &MAIL.replace(from, date), &[], &[TO]).age
        };
        assert_eq!(dated("Date: Wed, 18 Nov 2026 11:06:40 +0000"), Age::Young);
        assert_eq!(dated("Date: Mon, 16 Nov 2026 11:06:40 +0000"), Age::Old);
        assert_eq!(dated("Date: Mon, 16 Nov 2037 11:06:40 +0000"), Age::Strange);
        assert_eq!(dated("Date: one day"), Age::Strange);
    }
}
