//! What is left of a mail for its proof: header, author, and digests of the body. The body itself is gone by then.

use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;

use super::author::{Author, NoAuthor};
use super::copy::MailCopy;
use super::header::{self, Header, Unreadable};

/// See the module.
#[derive(Debug)]
pub(super) struct Digest {
    /// The header with the empty line behind it.
    pub(super) header: Vec<u8>,
    /// Who it is from, as it says.
    pub(super) author: Author,
    /// Of the body, for each way in which a signature of it is made.
    pub(super) body_hashes: Vec<(Canonicalization, HashAlgorithm, u64, Vec<u8>)>,
}

/// Why a mail cannot have a proof.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Its header.
    #[error(transparent)]
    Header(#[from] Unreadable),
    /// Its From field.
    #[error(transparent)]
    Author(#[from] NoAuthor),
}

impl Digest {
    /// Of the mail in `copy`. Takes as long as four digests of it, so not on a thread that serves others.
    pub(super) fn of(copy: &MailCopy) -> Result<Digest, Unusable> {
        let mail = copy.bytes();
        let (head, body) = mail.split_at(header::length(mail));
        let read = Header::read(head)?;
        let author = Author::of(&read)?;
        let mut body_hashes =
            AuthenticatedMessage::parse(mail).map(|message| message.body_hashes).unwrap_or_default();
        let trimmed = without_blank_end(body);
        if trimmed.len() < body.len() {
            // mail-auth 0.13 keeps lines of white space at the end of a relaxed body, which RFC 6376, section 3.4.4 leaves out.
            for (canonicalization, algorithm, _, hash) in &mut body_hashes {
                if *canonicalization == Canonicalization::Relaxed {
                    let right = algorithm.hash(Canonicalization::Relaxed.canonical_body(trimmed, 0));
                    *hash = right.as_ref().to_vec();
                }
            }
        }
        Ok(Digest { header: head.to_vec(), author, body_hashes })
    }
}

/// `body` without the lines at its end that hold white space or nothing.
fn without_blank_end(body: &[u8]) -> &[u8] {
    let text = body.trim_ascii_end().len();
    let end = memchr::memmem::find(body.get(text..).unwrap_or_default(), b"\r\n")
        .map_or(body.len(), |at| text.saturating_add(at).saturating_add(2));
    let first_line_is_blank = text == 0;
    if first_line_is_blank { &[] } else { body.get(..end).unwrap_or(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_white_space_at_the_end_are_no_part_of_a_relaxed_body() {
        for (body, expected) in [
            ("text\r\n", "text\r\n"),
            ("text\r\n\r\n\r\n", "text\r\n"),
            ("text\r\n \r\n\t \r\n", "text\r\n"),
            ("text \r\n \r\n", "text \r\n"),
            ("a\r\n \r\nb\r\n \r\n", "a\r\n \r\nb\r\n"),
            ("text", "text"),
            ("text  ", "text  "),
            ("text\r\n  ", "text\r\n"),
            (" \r\n \r\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_blank_end(body.as_bytes()), expected.as_bytes(), "{body:?}");
        }
    }
}
