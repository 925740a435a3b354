//! What a page would lose on its way to the fax, and the sentence for its sender.

/// Something that a page is drawn with, or that a viewer shows on it, and that the new file could not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The content names something that is not in the file.
    Missing,
    /// Data that does not decode to its end.
    Damaged,
    /// Data that unfolds to more than can be looked through.
    TooLarge,
    /// A mark (named in words) that shows on the screen and is set not to print.
    NotPrinting(&'static str),
    /// A mark (named in words) that viewers draw from its fields, because its appearance is missing.
    Undrawn(&'static str),
    /// A passage that somebody wanted blacked out, and that is still there.
    Redaction,
}

impl Loss {
    /// The sentence for the sender, who knows the document as `name` and counts its pages from 1.
    pub(super) fn sentence(self, name: &str, page: usize) -> String {
        let anew = "Print it to a new PDF, look whether that shows everything, and send it.";
        match self {
            Loss::Missing => format!(
                "Page {page} of {name} is drawn with a font, picture or drawing that is not in the file, so that something \
                 would be missing on the fax. {anew}"
            ),
            Loss::Damaged => format!(
                "Page {page} of {name} is drawn with data that is damaged or cut off, so that something would be missing on \
                 the fax. {anew}"
            ),
            Loss::TooLarge => format!(
                "Page {page} of {name} unfolds to more data than any fax needs. Print it to a new PDF and send that."
            ),
            Loss::NotPrinting(mark) => format!(
                "Page {page} of {name} has {mark} that shows on the screen, but is set not to print, so that the fax would not \
                 show it. Let it print or delete it, and send the file again."
            ),
            Loss::Undrawn(mark) => format!(
                "Page {page} of {name} has {mark} that the file describes, but does not draw, so that the fax would not show \
                 it. {anew}"
            ),
            Loss::Redaction => format!(
                "Page {page} of {name} has a passage that is marked for redaction, but not redacted: what should be covered is \
                 still in the file. Apply the redaction and send the file again."
            ),
        }
    }
}

/// Why pages were not written. It shows itself as the sentence for the sender.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// A page would lose something.
    #[error("{0}")]
    Lost(String),
    /// The file could not be put together.
    #[error("The packet could not be written: {0}.")]
    Io(#[from] std::io::Error),
}
