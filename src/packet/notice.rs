//! Notices that mail filters leave where they took a file out of a mail.
//!
//! The file is gone, and only the notice says that there was one: a mail with it is not whole. There is no standard for such notices,
//! so it goes by what filters write. In a text that stands behind a document, where people rarely write, a sentence is enough that says
//! that a file was removed. In the text in front it takes the words of a known filter, or such a sentence behind a mark as filters set.

/// Texts longer than this are letters.
const MOST: usize = 16 << 10;
/// What is looked at of a line in a text in front.
const LINE: usize = 400;

/// What was in the mail.
const FILES: &[&str] = &[
    "attachment",
    "attached file",
    "file",
    "document",
    "anhang",
    "anlage",
    "datei",
    "pièce jointe",
    "fichier",
    "adjunto",
    "archivo",
    "allegat",
    "bijlage",
    "bestand",
];

/// What became of it.
const GONE: &[&str] = &[
    "removed",
    "taken out",
    "stripped",
    "deleted",
    "quarantined",
    "blocked",
    "scrubbed",
    "dropped",
    "discarded",
    "replaced",
    "entfernt",
    "gelöscht",
    "blockiert",
    "supprimé",
    "retiré",
    "bloqué",
    "eliminado",
    "rimoss",
    "eliminat",
    "verwijderd",
];

/// Between the two, so that "a file that I deleted" is none.
const PASSIVE: &[&str] = &[
    "was ",
    "were ",
    "been ",
    "is ",
    "are ",
    "wurde",
    "ist ",
    "sind ",
    "été ",
    "ha sido",
    "han sido",
    "è stat",
    "sono stat",
    "werd",
    "zijn ",
];

/// Of known filters, wherever they stand.
const KNOWN: &[&str] = &[
    "one or more attachments removed",
    "has been replaced by this warning message",
    "removed from this document as it constituted a security hazard",
    "all attachments have been removed",
    "attachment was scrubbed",
    "text was scrubbed",
    "you deleted an attachment from this message",
    "the original mime headers for the attachment were",
    "the following attachment was removed",
    "the following attachments were removed",
    "malware was detected in one or more attachments",
    "[attachment removed]",
    "[attachment stripped]",
    "attachment(s) removed",
    "attachments were stripped",
];

/// How a filter's own line begins.
const MARKS: &[&str] = &[
    "warning",
    "caution",
    "attention",
    "achtung",
    "warnung",
    "avertissement",
    "attenzione",
    "aviso",
    "let op",
    "note of the",
    "notice",
    "hinweis",
    "[",
    "*",
    "!",
    "---",
    "===",
    "###",
];

/// Whether `text` says that a file was taken out of the mail; `behind` a document, or in front of all.
pub(super) fn is_of_a_filter(text: &str, behind: bool) -> bool {
    let text = text.get(..text.floor_char_boundary(MOST.min(text.len()))).unwrap_or_default().to_lowercase();
    if KNOWN.iter().any(|words| text.contains(words)) {
        return true;
    }
    if behind {
        // A dot within a name ends no sentence.
        return text.split(['\n', ';']).flat_map(|line| line.split(". ")).any(says_that_a_file_is_gone);
    }
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.get(..line.floor_char_boundary(LINE.min(line.len()))).unwrap_or_default();
        MARKS.iter().any(|mark| line.starts_with(mark)) && says_that_a_file_is_gone(line)
    })
}

fn says_that_a_file_is_gone(sentence: &str) -> bool {
    FILES.iter().any(|file| sentence.contains(file))
        && GONE.iter().any(|gone| {
            sentence.find(gone).is_some_and(|at| {
                let before = sentence.get(..at).unwrap_or_default();
                // "removed attachments: a.zip" has no verb, and means the same.
                PASSIVE.iter().any(|verb| before.contains(verb)) || before.trim().len() < 4
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_told_from_letters() {
        for (text, front, behind) in [
            (
                "NOTE OF THE MAIL FILTER: one file of this mail was taken out (orders.pdf). Ask your administrator.",
                true,
                true,
            ),
            ("Warning: This message has had one or more attachments removed\nWarning: (a.zip).", true, true),
            (
                "An attachment named a.exe was removed from this document as it constituted a security hazard.",
                true,
                true,
            ),
            ("Malware was detected in one or more attachments included with this email message.", true, true),
            ("A non-text attachment was scrubbed...\nName: a.pdf", true, true),
            (
                "You deleted an attachment from this message. The original MIME headers for the attachment were:",
                true,
                true,
            ),
            ("*** ACHTUNG: Der Anhang wurde aus Sicherheitsgründen entfernt. ***", true, true),
            ("[The attachment scan.pdf has been quarantined]", true, true),
            ("The file orders.pdf has been blocked by the gateway.", false, true),
            ("La pièce jointe a été supprimée.", false, true),
            ("Removed attachments: a.zip", false, true),
            // People's own words.
            ("Please see the attached file.\nThe sutures were removed on Monday.", false, false),
            ("The old file was deleted from our system; please use this document.", false, true),
            ("If you are not the intended recipient, delete this mail and any attachment.", false, false),
            ("Warning: the patient is allergic to penicillin. Documents attached.", false, false),
            ("*Dr. Smith*\nDocuments removed from the chart are not included", false, false),
            ("Scanned from MFP", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_of_a_filter(text, false), front, "in front: {text}");
            assert_eq!(is_of_a_filter(text, true), behind, "behind: {text}");
        }
        assert!(!is_of_a_filter(&"ü".repeat(100_000), true));
    }
}
