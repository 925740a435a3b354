//! The sheet in front of every fax: what it says ([`Sheet`]), what it must not say ([`clinical()`]), and its page
//! ([`page::draw`]). Behind it, where a rule wants that, the text of a mail as pages ([`body::draw`]).
//!
//! The page is always exactly one. Whatever a sender wrote, long text wraps, then shrinks, then is cut with an ellipsis
//! and a warning; the fields that make a fax arrive at the right desk never push each other off the page. A character
//! that no font can draw is an error that names it, because an empty box on paper in another office helps nobody.

pub mod author;
pub mod body;
mod clinical;
mod content;
pub mod fill;
mod fonts;
pub mod page;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use clinical::clinical;
pub use fonts::Fonts;

use crate::config::Paper;

/// What a cover says. An empty text or `None` is a field that is left out, without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sheet {
    /// Size of the page.
    pub paper: Paper,
    /// Other words for the printed labels, by their English name as listed in [`LABELS`].
    pub labels: BTreeMap<String, String>,
    /// Who the fax is for.
    pub to_name: String,
    /// Their department.
    pub to_department: String,
    /// The person it is for the attention of.
    pub to_attention: String,
    /// The number it is sent to, as people read it.
    pub to_fax: String,
    /// Who sends it.
    pub from_name: String,
    /// Their organization; also the large name at the top.
    pub from_organization: String,
    /// Number to call back.
    pub from_phone: String,
    /// Address to write back to.
    pub from_mail: String,
    /// Date and time, already written out with the zone.
    pub date: String,
    /// Subject.
    pub subject: Option<String>,
    /// Patient or claim identifier: what it is called, and the identifier.
    pub identifier: Option<(String, String)>,
    /// The sender's own reference.
    pub reference: Option<String>,
    /// Our job id, printed small at the foot.
    pub job: Option<String>,
    /// Pages of the whole fax, this one included; `None` leaves room to write it by hand.
    pub pages: Option<u32>,
    /// Confidentiality notice.
    pub notice: String,
    /// Message to the recipient; line breaks are kept.
    pub message: Option<String>,
}

/// English names of the printed labels, the keys of [`Sheet::labels`]. Case, `_` and `-` make no difference.
pub const LABELS: [&str; 18] = [
    "fax",
    "to",
    "from",
    "department",
    "attention",
    "fax number",
    "organization",
    "telephone",
    "mail",
    "date",
    "subject",
    "identifier",
    "reference",
    "pages",
    "including this one",
    "message",
    "confidential",
    "job",
];

/// Why there is no cover. The sentences hold no text of the sheet, only where it is and which character it is.
#[derive(Debug, thiserror::Error)]
pub enum CoverError {
    /// A letter that none of the fonts can draw.
    #[error(
        "the {field} holds the character U+{:04X} ({script}), which no font of the cover can draw; \
         leave it out, or ask whoever runs the fax bridge to add a font that has it", u32::from(*.character)
    )]
    NoGlyph {
        /// Which part of the sheet.
        field: &'static str,
        /// The character.
        character: char,
        /// What it is written in, in words.
        script: &'static str,
    },
    /// More text than is faxed as pages.
    #[error("the text of the mail would fill more than {most} pages; write less, or attach it as a PDF")]
    TooLong {
        /// Pages at most.
        most: u32,
    },
    /// A font file of the configuration that cannot be read.
    #[error("cover.fonts names {}, which cannot be read: {cause}", .path.display())]
    FontFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A font file of the configuration that is none.
    #[error("cover.fonts names {}, which is not a TrueType or OpenType font", .path.display())]
    NotAFont {
        /// The file.
        path: PathBuf,
    },
    /// The PDF could not be written; a fault of ours.
    #[error("the cover page could not be written as PDF: {0}")]
    Pdf(String),
}
