//! Whether the domain in From vouches for a mail: DKIM (RFC 6376), SPF (RFC 7208), aligned by DMARC (RFC 7489, RFC 9989).
//!
//! What counts is narrower than what those allow, and never wider:
//!
//! - A pass is needed, whatever the domain's policy says: `p=none` asks receivers to be lenient with junk, and this is about proof.
//! - A DKIM signature of the very domain in From is enough, with or without a DMARC record: the record could add nothing to it. SPF,
//!   and signatures by a domain above or below, count where the record is there and its alignment allows it.
//! - Other domains do not count, even where RFC 9989's walk up the tree finds a common organization: names under a public suffix
//!   whose keeper publishes a record without `psd=y` would count for each other.
//! - A signature must cover From and, where there is one, Subject, since a Subject can hold the number. Neither `l=` (text may be
//!   added) nor SHA-1 counts.
//! - Date, Message-ID and the MIME fields must be covered where they are there: whoever passes a mail on could otherwise change how its
//!   body is read, or send it again as another mail. Google and Microsoft leave some of them out. Such a signature is whole together
//!   with a pass of SPF for the very domain in From, since then the mail comes straight from its server. Without that pass it says
//!   who wrote the mail and not that it is as it was written: a person has to look at it ([`Vouched::But`]).
//! - SPF is not asked about a mail server that hands over to us (`smtp.upstream_from`, LMTP): it passes on what strangers write, and
//!   may well be in the domain's own record.

use std::net::IpAddr;

use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::dkim::{DkimError, Signature};
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcResult, DnsError, Error, SpfOutput, SpfResult,
};

use super::author::{Author, a_label};
use super::digest::Digest;
use super::header::Header;
use super::resolver::Resolver;

/// Signatures of one mail that are verified.
const MOST_SIGNATURES: usize = 10;
/// Names in a signature's list of fields; each is looked for in all of the header.
const MOST_SIGNED: usize = 200;

/// Fields beside From and Subject that a signature must cover where a mail has them.
const COVERED: [&str; 5] =
    ["Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];

/// How far a domain vouches for a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vouched {
    /// For all of it that counts.
    Whole,
    /// For who wrote it; its signature leaves these fields out.
    But(Vec<&'static str>),
}

/// From where a mail came, as far as SPF is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The other end.
    pub(super) peer: IpAddr,
    /// What it calls itself.
    pub(super) hello: &'a str,
    /// Envelope sender.
    pub(super) from: &'a str,
    /// Our own name.
    pub(super) hostname: &'a str,
}

/// Why a domain does not vouch for a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotAligned {
    /// Nobody knows at the moment; with the cause.
    Unknown(String),
    /// The mail was changed after it was signed.
    Changed,
    /// All signatures have expired.
    Expired,
    /// The signature does not cover what it must.
    Partial,
    /// The key is not in the DNS.
    NoKey,
    /// A signature is wrong in another way.
    Wrong,
    /// A pass of another domain, which the DMARC record does not allow.
    NotAllowed,
    /// A pass that counts only with a DMARC record, which is not there.
    NoRecord,
    /// No signature of the domain, and SPF does not pass.
    Nothing,
}

/// Asks the DNS about the mail that `digest` is of. Without `origin` SPF is not asked.
pub(super) async fn aligned(
    resolver: &Resolver,
    digest: &Digest,
    origin: Option<Origin<'_>>,
) -> Result<Vouched, NotAligned> {
    let author = &digest.author;
    let mut message = AuthenticatedMessage::parse(&digest.header).ok_or(NotAligned::Nothing)?;
    message.body_hashes.clone_from(&digest.body_hashes);
    message.from = vec![author.address()];
    let unusable = choose(&mut message, digest, author);
    let authenticator = resolver.authenticator();
    let signed = authenticator.verify_dkim(&message).await;
    let passes = |output: &DkimOutput<'_>| *output.result() == DkimResult::Pass;
    let of_author = |output: &DkimOutput<'_>| {
        output.signature().and_then(|signature| a_label(&signature.d)).as_ref() == Some(&author.domain)
    };
    let header = Header::read(&digest.header).map_err(|_| NotAligned::Wrong)?;
    let left_out = |output: &DkimOutput<'_>| {
        output.signature().map(|signature| left_out(&header, signature)).unwrap_or_default()
    };
    let whole: Vec<DkimOutput<'_>> =
        signed.iter().filter(|output| left_out(output).is_empty()).cloned().collect();
    if whole.iter().any(|output| passes(output) && of_author(output)) {
        return Ok(Vouched::Whole);
    }
    let (spf, from_domain) = match origin {
        Some(origin) => envelope(resolver, origin, author).await,
        None => (SpfOutput::default(), String::new()),
    };
    let record = authenticator.verify_dmarc(DmarcParameters::new(&message, &whole, &from_domain, &spf)).await;
    if [record.dkim_result(), record.spf_result()].contains(&&DmarcResult::Pass) {
        return Ok(Vouched::Whole);
    }
    let record = if whole.len() == signed.len() {
        record
    } else {
        authenticator.verify_dmarc(DmarcParameters::new(&message, &signed, &from_domain, &spf)).await
    };
    let own = signed.iter().find(|output| passes(output) && of_author(output));
    let allowed =
        || signed.iter().find(|output| passes(output) && *record.dkim_result() == DmarcResult::Pass);
    if let Some(output) = own.or_else(allowed) {
        return match spf.result() {
            SpfResult::Pass if own.is_some() && from_domain == author.domain => Ok(Vouched::Whole),
            SpfResult::TempError => Err(NotAligned::Unknown("SPF: a lookup failed".into())),
            _ => Ok(Vouched::But(left_out(output))),
        };
    }
    Err(unknown(&signed, &spf, [record.dkim_result(), record.spf_result()])
        .unwrap_or_else(|| reason(&signed, &spf, unusable, record.dmarc_record().is_some())))
}

/// Leaves in `message` the signatures that may count, and says why others of these domains do not.
fn choose(message: &mut AuthenticatedMessage<'_>, digest: &Digest, author: &Author) -> Option<NotAligned> {
    let has_subject = Header::read(&digest.header).is_ok_and(|header| header.one("subject").is_some());
    let mut unusable = None;
    message.dkim_headers.retain(|header| {
        let signature = &header.header;
        if !a_label(&signature.d).is_some_and(|domain| related(&domain, &author.domain)) {
            return false;
        }
        let whole = covers(signature, "from") && (!has_subject || covers(signature, "subject"));
        let usable = whole && signature.a != Algorithm::RsaSha1 && signature.h.len() <= MOST_SIGNED;
        if !usable {
            unusable = Some(if whole { NotAligned::Wrong } else { NotAligned::Partial });
        }
        usable
            && digest.body_hashes.iter().any(|(canonicalization, algorithm, length, _)| {
                (canonicalization, *algorithm, length)
                    == (&signature.cb, HashAlgorithm::from(signature.a), &signature.l)
            })
    });
    if message.errors.iter().any(|fault| fault.header == Error::Dkim(DkimError::SignatureLength)) {
        unusable = unusable.or(Some(NotAligned::Partial));
    }
    message.errors.clear();
    message.dkim_headers.truncate(MOST_SIGNATURES);
    for header in &mut message.dkim_headers {
        // Neither reports of failures (RFC 6651) nor third parties' signatures (RFC 6541) are asked for.
        header.header.r = false;
        header.header.atps = None;
    }
    unusable
}

/// Which of the fields that are there, or that somebody may have taken away, `signature` does not cover.
fn left_out(header: &Header<'_>, signature: &Signature) -> Vec<&'static str> {
    let is_there = |name: &str| header.one(name).is_some();
    // A mail with MIME-Version has a Content-Type; where it is gone, its parts would be taken for text.
    let belongs = |name: &str| is_there(name) || (name == "Content-Type" && is_there("MIME-Version"));
    COVERED.into_iter().filter(|name| belongs(name) && !covers(signature, name)).collect()
}

fn covers(signature: &Signature, name: &str) -> bool {
    signature.h.iter().any(|signed| signed.trim().eq_ignore_ascii_case(name))
}

/// What SPF says of the envelope, where that is of a domain that could count.
async fn envelope(resolver: &Resolver, origin: Origin<'_>, author: &Author) -> (SpfOutput, String) {
    let nothing = (SpfOutput::default(), String::new());
    let Some((local, domain)) = origin.from.rsplit_once('@') else { return nothing };
    let Some(domain) = a_label(domain).filter(|domain| related(domain, &author.domain)) else {
        return nothing;
    };
    let sender = format!("{local}@{domain}");
    let peer = origin.peer.to_canonical();
    let asked = SpfParameters::verify_mail_from(peer, origin.hello, origin.hostname, &sender);
    (resolver.authenticator().verify_spf(asked).await, domain)
}

/// Whether one is the other or above it. Both are A-labels.
fn related(one: &str, other: &str) -> bool {
    let above = |upper: &str, lower: &str| lower.strip_suffix(upper).is_some_and(|rest| rest.ends_with('.'));
    one == other || above(one, other) || above(other, one)
}

/// The cause, where what nobody knows now might have been a pass.
fn unknown(signed: &[DkimOutput<'_>], spf: &SpfOutput, aligned: [&DmarcResult; 2]) -> Option<NotAligned> {
    for output in signed {
        if let DkimResult::TempError(error) = output.result() {
            return Some(NotAligned::Unknown(format!("DKIM: {error}")));
        }
    }
    if spf.result() == SpfResult::TempError {
        return Some(NotAligned::Unknown("SPF: a lookup failed".into()));
    }
    let passed =
        spf.result() == SpfResult::Pass || signed.iter().any(|output| *output.result() == DkimResult::Pass);
    for result in aligned {
        match result {
            DmarcResult::TempError(error) if passed => {
                return Some(NotAligned::Unknown(format!("DMARC: {error}")));
            }
            _ => {}
        }
    }
    None
}

/// The sentence that helps most: about a signature of the domain, if there is one.
fn reason(
    signed: &[DkimOutput<'_>],
    spf: &SpfOutput,
    unusable: Option<NotAligned>,
    has_record: bool,
) -> NotAligned {
    let passed = |output: &DkimOutput<'_>| *output.result() == DkimResult::Pass;
    if spf.result() == SpfResult::Pass || signed.iter().any(passed) {
        return if has_record { NotAligned::NotAllowed } else { NotAligned::NoRecord };
    }
    let faults = signed.iter().filter_map(|output| match output.result() {
        DkimResult::Neutral(error) | DkimResult::Fail(error) | DkimResult::PermError(error) => Some(error),
        DkimResult::Pass | DkimResult::TempError(_) | DkimResult::None => None,
    });
    let mut told = faults.map(|error| match error {
        Error::Dkim(DkimError::FailedBodyHashMatch) | Error::Crypto(_) => NotAligned::Changed,
        Error::Dkim(DkimError::SignatureExpired) => NotAligned::Expired,
        Error::Dns(DnsError::RecordNotFound(_) | DnsError::InvalidRecordType)
        | Error::Dkim(DkimError::RevokedPublicKey) => NotAligned::NoKey,
        _ => NotAligned::Wrong,
    });
    told.next_back().or(unusable).unwrap_or(NotAligned::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_domain_itself_and_those_above_and_below_are_related() {
        for (one, other, expected) in [
            ("clinic.example", "clinic.example", true),
            ("mail.clinic.example", "clinic.example", true),
            ("clinic.example", "mail.clinic.example", true),
            ("evilclinic.example", "clinic.example", false),
            ("a.clinic.example", "b.clinic.example", false),
            ("example", "clinic.example", true),
        ] {
            assert_eq!(related(one, other), expected, "{one} {other}");
        }
        assert_eq!(a_label("example"), None, "a top-level domain is no domain here");
    }
}
