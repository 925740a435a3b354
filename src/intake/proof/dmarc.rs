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
//! - A mail comes straight from its sender where SPF passes for the very domain in From, beside the signature, or as DMARC allows
//!   it. Then it is as it was written. Where its signature alone speaks for it, anybody may have sent it who has a copy, and how far
//!   it is faxed depends on what the signature covers (`coverage`). Google and Microsoft leave out much that counts.
//! - SPF is not asked about a mail server that hands over to us (`smtp.upstream_from`, LMTP): it passes on what strangers write, and
//!   may well be in the domain's own record.

use std::net::IpAddr;
use std::time::Duration;

use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::dkim::{DkimError, Signature};
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, DnsError, Error, SpfOutput,
    SpfResult,
};

use super::author::{Author, a_label};
use super::coverage::{Coverage, Demands};
use super::digest::Digest;
use super::header::Header;
use super::resolver::Resolver;

/// Signatures of one mail that are verified.
const MOST_SIGNATURES: usize = 10;
/// Names in a signature's list of fields; each is looked for in all of the header.
const MOST_SIGNED: usize = 200;

/// So long SPF is waited for where a signature passes already.
const SPF_PATIENCE: Duration = Duration::from_secs(8);

/// How a domain vouches for a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vouched {
    /// It came straight from a server of the domain.
    Straight,
    /// A signature speaks for it, and reaches that far.
    Signed(Coverage),
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
    demands: Demands<'_>,
) -> Result<Vouched, NotAligned> {
    let author = &digest.author;
    let mut message = AuthenticatedMessage::parse(&digest.header).ok_or(NotAligned::Nothing)?;
    message.body_hashes.clone_from(&digest.body_hashes);
    message.from = vec![author.address()];
    let unusable = choose(&mut message, digest, author);
    let authenticator = resolver.authenticator();
    let signed = authenticator.verify_dkim(&message).await;
    let (spf, from_domain) = match origin {
        Some(origin) => envelope(resolver, origin, author).await,
        None => (SpfOutput::default(), String::new()),
    };
    let record =
        authenticator.verify_dmarc(DmarcParameters::new(&message, &signed, &from_domain, &spf)).await;
    let passed = counting(resolver, &message, &signed, author, &record).await;
    let of_domain = spf.result() == SpfResult::Pass && from_domain == author.domain;
    let own = passed.iter().any(|signature| is_of(signature, author));
    if *record.spf_result() == DmarcResult::Pass || (of_domain && own) {
        return Ok(Vouched::Straight);
    }
    let header = Header::read(&digest.header).map_err(|_| NotAligned::Wrong)?;
    let mut reach = passed.iter().map(|signature| Coverage::of(signature, &header, demands));
    if let Some(first) = reach.next() {
        let coverage = reach.fold(first, |best, next| if best.is_whole() { best } else { best.wider(next) });
        // With a pass of SPF there would be no doubt.
        return match unknown_spf(&spf, record.spf_result()) {
            Some(unknown) if !coverage.is_whole() => Err(unknown),
            _ => Ok(Vouched::Signed(coverage)),
        };
    }
    Err(unknown(&signed, &spf, [record.dkim_result(), record.spf_result()])
        .unwrap_or_else(|| reason(&signed, &spf, unusable, record.dmarc_record().is_some())))
}

/// The signatures that pass and count: of the very domain, or of a related one as the DMARC record allows.
async fn counting<'a>(
    resolver: &Resolver,
    message: &AuthenticatedMessage<'_>,
    signed: &'a [DkimOutput<'a>],
    author: &Author,
    record: &DmarcOutput,
) -> Vec<&'a Signature> {
    let passes = signed.iter().filter(|output| *output.result() == DkimResult::Pass);
    let mut counting = Vec::new();
    for output in passes {
        let Some(signature) = output.signature() else { continue };
        let allowed = is_of(signature, author)
            || *record.dkim_result() == DmarcResult::Pass && {
                let alone = std::slice::from_ref(output);
                let spf = SpfOutput::default();
                let parameters = DmarcParameters::new(message, alone, "", &spf);
                let alone = resolver.authenticator().verify_dmarc(parameters).await;
                *alone.dkim_result() == DmarcResult::Pass
            };
        if allowed {
            counting.push(signature);
        }
    }
    counting
}

fn is_of(signature: &Signature, author: &Author) -> bool {
    a_label(&signature.d).as_ref() == Some(&author.domain)
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
    let asked = resolver.authenticator().verify_spf(asked);
    match tokio::time::timeout(SPF_PATIENCE, asked).await {
        Ok(output) => (output, domain),
        Err(_) => (SpfOutput::new(domain.clone()).with_result(SpfResult::TempError), domain),
    }
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
    if let Some(unknown) = unknown_spf(spf, &DmarcResult::None) {
        return Some(unknown);
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

/// The cause, where what nobody knows now might have shown that the mail comes straight from the domain.
fn unknown_spf(spf: &SpfOutput, aligned: &DmarcResult) -> Option<NotAligned> {
    match (spf.result(), aligned) {
        (SpfResult::TempError, _) => Some(NotAligned::Unknown("SPF: a lookup failed".into())),
        (SpfResult::Pass, DmarcResult::TempError(error)) => {
            Some(NotAligned::Unknown(format!("DMARC: {error}")))
        }
        _ => None,
    }
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
