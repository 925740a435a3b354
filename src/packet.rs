//! Documents to pages: what a submission is made of, part by part, and the PDF that is faxed in its place.
//!
//! Everything here reads bytes that a stranger wrote. So it happens in child processes ([`workshop`] is the daemon's
//! side, [`worker_main`] the child's) that have limits of memory and time and can be killed: a crash, a hang or a
//! bomb is a verdict on that one document, never an outage.
//!
//! Two rules decide every doubt:
//!
//! - **Whole or held.** Each part of a mail is in [`Contents::parts`]: faxed as pages n-m, left out for a reason that
//!   leaves nothing of substance behind (the mail's text, a signature), or holding the whole packet with a sentence.
//! - **Written anew.** The PDF that leaves is put together from the page contents alone (`packet/anew.rs`). What the sender's file had
//!   besides (scripts, attachments, metadata, dropped pages) is not removed from it, it is never copied.
//!
//! Sentences in here are for the sender of the document and name his files; they never go to a log.

use crate::addressing::MailFacts;
use crate::sealed::Part;
use serde::{Deserialize, Serialize};

mod anew;
pub mod container;
mod content;
mod facts;
mod frames;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod graphic;
mod html;
mod kind;
mod layers;
mod loss;
mod mail;
mod mapi;
mod marks;
mod mime;
mod names;
mod notice;
mod opened;
mod parameters;
mod pdf;
mod picture;
#[cfg(test)]
mod samples;
mod text;
mod tnef;
mod transfer;
mod typed;
mod whole;
mod worker;
pub mod workshop;

pub use container::{Container, Measured};
pub use facts::{MACHINE_FIELDS, automatic, from_address};
pub(crate) use mime::fields as header_fields;
pub(crate) use pdf::cut_off_sentence;
pub use worker::worker_main;
pub use workshop::{Bench, BoxError, Sink, Workshop, WorkshopError, WorkshopLimits};

/// What a document of a submission is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Input {
    /// A mail in RFC 5322 form.
    Mail,
    /// A file.
    File {
        /// Its name as the sender wrote it.
        name: String,
    },
}

/// How much a submission may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Pages of one packet, cover included. Counted after the page selection, in [`Bench::make`].
    pub max_pages: u32,
    /// Parts of one mail, containers not counted.
    pub max_parts: u32,
    /// Largest header of a mail, in bytes.
    pub max_header: u64,
    /// How deep parts of a mail may lie in one another.
    pub max_depth: u32,
    /// Bytes that a single compressed stream of a PDF may unfold to while it is loaded.
    pub max_decompressed: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            max_pages: 300,
            max_parts: 500,
            max_header: 1 << 20,
            max_depth: 50,
            max_decompressed: 64 << 20,
        }
    }
}

/// What a submission holds: the answer to [`Workshop::open`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Facts from the header, for a mail.
    pub mail: Option<MailFacts>,
    /// What the sender typed, whole (quotes and signature too, see [`own_words`](crate::addressing::message::own_words)), at most 64 KiB: lines end in
    /// `\n`, no blank lines at either end, flowed lines (RFC 3676) joined. From the HTML form where there is no plain one.
    pub text: Option<String>,
    /// There was more text than that; then it cannot become pages.
    #[serde(default)]
    pub text_cut: bool,
    /// Every part, in the order of the mail; what was within a mail or `winmail.dat` follows it. A file is its own only part.
    pub parts: Vec<Part>,
    /// Pages of all parts together, cover not counted, before any selection.
    pub pages: u32,
    /// Why this cannot be faxed as it is; one sentence for the sender with what to do. With it, nothing can be made.
    pub hold: Option<String>,
    /// `hold` only says that there is nothing to fax: a mail whose text becomes pages ([`Front::body`]) can be made all the same.
    #[serde(default)]
    pub nothing: bool,
}

/// What stands before the documents in a packet: PDFs that were drawn here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Front<'a> {
    /// The cover.
    pub cover: Option<&'a [u8]>,
    /// The mail's text as pages.
    pub body: Option<&'a [u8]>,
}

/// What [`Bench::make`] made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Pages of the final PDF, cover included.
    pub pages: u32,
    /// How many of them are cover.
    pub cover_pages: u32,
    /// First and last page of the mail's text, where that is faxed as pages.
    #[serde(default)]
    pub body: Option<(u32, u32)>,
    /// For each of [`Contents::parts`], its first and last page in the final PDF; `None` when no page of it is there.
    pub parts: Vec<Option<(u32, u32)>>,
    /// What a careful sender would like to know: a cover field was cut, a PDF carried attachments that are not faxed.
    pub warnings: Vec<String>,
    /// Length and digest of the file that leaves.
    #[serde(default)]
    pub container: Option<Measured>,
}

#[cfg(test)]
mod tests;
