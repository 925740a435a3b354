//! The address at which a receipt or notice is answered with a command: `NAME+TOKEN@DOMAIN`.
//!
//! ```text
//! TOKEN = submission (16 letters) hour (4 letters) mark (20 letters)
//! ```
//!
//! *hour* is until when it is good, in hours since 1970; *mark* is the first 100 bits of a mark of both under the master key
//! ([`crate::vault::Marker`]). So an address is known as ours without being remembered, cannot be made or lengthened by anybody
//! else, and is the same for all receipts of one hour. All letters are Crockford's base 32 in lower case, since mail systems
//! fold the case of addresses; 41 of the 64 bytes that a local part may have (RFC 5321, section 4.5.3.1.1) leave 23 for NAME.
//!
//! A good address says which Submission is meant, and nothing about who writes: a command is proven like any mail, and only
//! the sender of the Submission is listened to ([`crate::commands`]).

use jiff::{SignedDuration, Timestamp};

use crate::config::{Config, Receipt};
use crate::job::SubmissionId;
use crate::text::BASE32;
use crate::vault::{Marker, Purpose, Vault};

const SUBMISSION: usize = 16;
const HOUR: usize = 4;
const TOKEN: usize = SUBMISSION + HOUR + 20;
// The longest NAME, `+` and a token fill a local part.
const _: () = assert!(Receipt::LONGEST_REPLY_NAME + 1 + TOKEN == 64);

/// For an address that was good once.
pub const EXPIRED: &str =
    "The time in which that receipt could be answered is over. Ask whoever runs the fax bridge.";
/// For an address that was never given out.
pub const UNKNOWN: &str = "That is no address at which a receipt can be answered; answer the receipt itself.";

/// Makes and reads such addresses.
#[derive(Debug, Clone)]
pub struct Replies {
    name: String,
    domain: String,
    marker: Marker,
    valid_for: SignedDuration,
}

/// What an address is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Not an address for answers at all.
    Elsewhere,
    /// An answer to what was said about this Submission.
    To(SubmissionId),
    /// It was good once.
    Expired,
    /// No such address was ever given out.
    Unknown,
}

impl Replies {
    /// As the configuration says; `None` where receipts cannot be answered.
    #[must_use]
    pub fn of(config: &Config, vault: &Vault) -> Option<Replies> {
        let receipt = config.receipt.as_ref()?;
        let (name, domain) = receipt.reply_to.as_deref()?.trim().rsplit_once('@')?;
        Some(Replies {
            name: name.to_owned(),
            domain: domain.to_owned(),
            marker: vault.marker(Purpose::Reply),
            valid_for: receipt.replies_valid_for.signed(),
        })
    }

    /// Where what is said about `submission` at `now` can be answered.
    #[must_use]
    pub fn address(&self, submission: SubmissionId, now: Timestamp) -> String {
        let until = now.saturating_add(self.valid_for).unwrap_or(Timestamp::MAX);
        // Rounded up: never shorter than promised.
        let hour = u32::try_from(until.as_second().saturating_add(3599).div_euclid(3600)).unwrap_or(0);
        let pass = format!("{submission}{}", written(hour));
        format!("{}+{pass}{}@{}", self.name, self.marker.short_mark(&pass), self.domain)
    }

    /// What `address` is to us at `now`.
    #[must_use]
    pub fn read(&self, address: &str, now: Timestamp) -> Reply {
        let Some((local, domain)) = address.trim().rsplit_once('@') else { return Reply::Elsewhere };
        let (name, token) = local.split_once('+').unwrap_or((local, ""));
        if !name.eq_ignore_ascii_case(&self.name) || !domain.eq_ignore_ascii_case(&self.domain) {
            return Reply::Elsewhere;
        }
        self.admitted(&token.to_ascii_lowercase(), now).unwrap_or(Reply::Unknown)
    }

    fn admitted(&self, token: &str, now: Timestamp) -> Option<Reply> {
        let pass = token.get(..SUBMISSION + HOUR).filter(|_| token.len() == TOKEN)?;
        if !self.marker.is_short_mark(pass, token.get(SUBMISSION + HOUR..)?) {
            return None;
        }
        // From here on the text is one that `address` wrote.
        let (submission, hour) = pass.split_at_checked(SUBMISSION)?;
        let until = i64::from(hour_in(hour)?).saturating_mul(3600);
        let submission = submission.parse().ok()?;
        Some(if now.as_second() < until { Reply::To(submission) } else { Reply::Expired })
    }
}

/// An hour in four letters: 20 bits, enough until the year 2089.
fn written(hour: u32) -> String {
    let letter = |place: u32| {
        let digit = usize::try_from((hour >> (5 * place)) & 31).unwrap_or(0);
        char::from(BASE32.get(digit).copied().unwrap_or(b'0'))
    };
    (0..4).rev().map(letter).collect()
}

fn hour_in(letters: &str) -> Option<u32> {
    letters.bytes().try_fold(0u32, |hour, letter| {
        let digit = BASE32.iter().position(|known| *known == letter)?;
        Some((hour << 5) | u32::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::MasterKey;

    fn replies(key: u8) -> Replies {
        Replies {
            name: "reply".into(),
            domain: "fax.clinic.example".into(),
            marker: MasterKey::from_bytes(&[key; 32]).unwrap().marker(Purpose::Reply).unwrap(),
            valid_for: SignedDuration::from_hours(72),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn id() -> SubmissionId {
        "06d0s8mk2c0000a1".parse().unwrap()
    }

    #[test]
    fn an_address_is_good_for_its_submission_and_time_in_whatever_case() {
        let made = at("2026-11-22T14:22:10Z");
        let address = replies(7).address(id(), made);
        assert!(address.starts_with("reply+06d0s8mk2c0000a1"), "{address}");
        let local = address.split('@').next().unwrap();
        assert!(local.len() <= 5 + 64 - Receipt::LONGEST_REPLY_NAME, "{local}");
        assert_eq!(address, replies(7).address(id(), at("2026-11-22T14:59:59Z")), "the same within an hour");
        let table = [
            ("2026-11-22T14:22:10Z", Reply::To(id())),
            ("2026-11-25T14:22:10Z", Reply::To(id())),
            ("2026-11-25T14:59:59Z", Reply::To(id())),
            ("2026-11-25T15:00:00Z", Reply::Expired),
            ("2036-11-25T15:00:00Z", Reply::Expired),
        ];
        for (now, expected) in table {
            assert_eq!(replies(7).read(&address, at(now)), expected, "{now}");
            assert_eq!(replies(7).read(&address.to_uppercase(), at(now)), expected, "{now}");
        }
    }

    #[test]
    fn nobody_else_can_make_one_and_none_can_be_changed() {
        let now = at("2026-11-22T14:22:10Z");
        let address = replies(7).address(id(), now);
        assert_eq!(replies(8).read(&address, now), Reply::Unknown, "another master key");
        let (local, domain) = address.split_once('@').unwrap();
        for place in "reply+".len()..local.len() {
            let mut other = local.as_bytes().to_vec();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            let other = format!("{}@{domain}", String::from_utf8(other).unwrap());
            assert_eq!(replies(7).read(&other, now), Reply::Unknown, "{other}");
        }
        for other in [
            format!("{local}0@{domain}"),
            format!("{}@{domain}", &local[..local.len() - 1]),
            format!("reply+é{}@{domain}", &local[8..]),
            format!("reply@{domain}"),
            format!("reply+@{domain}"),
        ] {
            assert_eq!(replies(7).read(&other, now), Reply::Unknown, "{other}");
        }
        for other in
            ["jane@fax.clinic.example", "replyx@fax.clinic.example", "reply@elsewhere.example", "reply", ""]
        {
            assert_eq!(replies(7).read(other, now), Reply::Elsewhere, "{other}");
        }
    }
}
