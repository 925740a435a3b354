//! What somebody wrote in a mail, apart from what their mail program put around it: the mail that is answered or passed on, the
//! signature, the line that says which telephone it was written on.
//!
//! There is no standard for any of this, so it goes by what programs write, in the languages that offices here get mail in. In
//! doubt words stay: a quote on a cover is ugly, an answer that is missing from it is a fault.

mod words;

use words::{ALONE, FOOTERS, FROM, OPENS, PROGRAMS, RULED, WHAT, WHEN, WROTE};

/// Words handed on.
const LIMIT: usize = 8 << 10;
/// Lines that one "On ... wrote:" may be broken into, and their length.
const ATTRIBUTION_LINES: usize = 4;
const ATTRIBUTION_LENGTH: usize = 400;

/// What the sender of this text wrote themselves, at most 8 KiB. Between quotes everything they wrote is kept; disclaimers too,
/// which somebody wants to be there.
#[must_use]
pub fn own_words(text: &str) -> String {
    own_words_or_part(text).0
}

/// The same, and whether there were more than that.
#[must_use]
pub fn own_words_or_part(text: &str) -> (String, bool) {
    let lines: Vec<&str> = text.lines().collect();
    let quotes = Quotes::of(&lines);
    let mut own: Vec<&str> = Vec::new();
    let mut number = 0;
    while let Some(&line) = lines.get(number) {
        let rest = lines.get(number..).unwrap_or_default();
        if is_signature_mark(line) || begins_another_mail(rest) {
            break;
        }
        if let Some(length) = attribution(rest) {
            // In front of quoted lines it goes with them; otherwise all that follows is the other mail.
            let behind = lines.get(number + length..).unwrap_or_default();
            if !behind.iter().find(|line| !is_blank(line)).is_some_and(|line| is_quoted(line)) {
                break;
            }
            number += length;
            continue;
        }
        if !quotes.holds(line) {
            own.push(line);
        }
        number += 1;
    }
    strip_end(&mut own);
    let words = without_needless_blanks(&own);
    if words.len() <= LIMIT {
        return (words, false);
    }
    let mut end = LIMIT - '…'.len_utf8();
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    (format!("{}…", words.get(..end).unwrap_or_default()), true)
}

/// Which lines are taken for quotes.
struct Quotes {
    /// There is an attribution.
    answered: bool,
    /// Without one, this many lines look like quotes.
    plain: usize,
}

impl Quotes {
    fn of(lines: &[&str]) -> Quotes {
        let answered =
            (0..lines.len()).any(|number| attribution(lines.get(number..).unwrap_or_default()).is_some());
        Quotes {
            answered,
            plain: lines.iter().filter(|line| is_quoted(line) && !is_comparison(line)).count(),
        }
    }

    /// A single line with `>` in a mail that answers nothing may mean "more than": a laboratory's `> 5.5 mmol/l`.
    fn holds(&self, line: &str) -> bool {
        is_quoted(line) && (self.answered || (self.plain > 1 && !is_comparison(line)))
    }
}

fn is_quoted(line: &str) -> bool {
    line.starts_with('>')
}

fn is_comparison(line: &str) -> bool {
    line.trim_start_matches(['>', ' ', '=', '\u{a0}']).starts_with(|c: char| c.is_ascii_digit())
}

fn is_blank(line: &str) -> bool {
    line.chars().all(|c| c.is_whitespace() || c == '\u{200b}')
}

/// RFC 3676 section 4.3. The blank behind it gets lost on many ways.
fn is_signature_mark(line: &str) -> bool {
    matches!(line, "-- " | "--" | "--\u{a0}")
}

/// How many lines from here on say who wrote, and when, what is quoted below.
fn attribution(lines: &[&str]) -> Option<usize> {
    let first = lines.first()?;
    let start = first.trim_start();
    if start.is_empty() || is_quoted(first) {
        return None;
    }
    let lower = start.to_lowercase();
    let opens =
        OPENS.iter().any(|word| lower.starts_with(word)) || (start.contains('@') && start.contains('<'));
    if !opens || start.len() > ATTRIBUTION_LENGTH {
        return None;
    }
    let mut joined = String::new();
    for (number, line) in lines.iter().take(ATTRIBUTION_LINES).enumerate() {
        if is_blank(line) || is_quoted(line) || joined.len() + line.len() > ATTRIBUTION_LENGTH {
            return None;
        }
        joined.push(' ');
        joined.push_str(&line.trim().to_lowercase());
        let ended = joined.trim_end_matches([' ', '\u{a0}']).strip_suffix([':', '：']);
        let Some(sentence) = ended else { continue };
        if !WROTE.iter().any(|word| has_word(sentence, word)) {
            return None;
        }
        // "On Monday the insurer wrote:" stands in letters too. Programs write an address or the time of day, or quote.
        let behind = lines.get(number + 1..).unwrap_or_default().iter().find(|line| !is_blank(line));
        let certain =
            sentence.contains('@') || has_time(sentence) || behind.is_some_and(|line| is_quoted(line));
        return certain.then_some(number + 1);
    }
    None
}

/// Whether the word stands in the text with no letter beside it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Whether there is a time of day, as `9:05` or `21.30`.
fn has_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b':', b'.', bytes).any(|at| {
        let digit =
            |place: Option<usize>| place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_digit);
        let colon = bytes.get(at) == Some(&b':');
        // 02.11.2026 is no time.
        let lone =
            colon || (!digit(at.checked_sub(3)) && !digit(Some(at + 3)) && bytes.get(at + 3) != Some(&b'.'));
        digit(at.checked_sub(1)) && digit(Some(at + 1)) && digit(Some(at + 2)) && lone
    })
}

/// Whether another mail begins at these lines: a rule with words, or the block of fields that Outlook writes.
fn begins_another_mail(lines: &[&str]) -> bool {
    let Some(first) = lines.first() else { return false };
    is_rule_with_words(first) || is_field_block(lines)
}

/// `-----Original Message-----` and `---------- Forwarded message ---------`, in the languages of their senders.
fn is_rule_with_words(line: &str) -> bool {
    let lower = line.trim().trim_matches('*').to_lowercase();
    let words = lower.trim_matches(|c: char| matches!(c, '-' | '_' | '=') || c.is_whitespace());
    let ruled = lower.starts_with("--") || lower.starts_with("__") || lower.starts_with("==");
    (ruled && RULED.contains(&words))
        || ALONE.iter().any(|alone| {
            words.strip_suffix([':', ' ', '\u{a0}']).unwrap_or(words).trim_end_matches([' ', '\u{a0}', ':'])
                == *alone
        })
}

/// `From:`, then within the next lines when and to whom or what about, as Outlook writes above the mail that it quotes.
fn is_field_block(lines: &[&str]) -> bool {
    let field = |line: &str, of: &[&str]| {
        let line = line.trim().trim_start_matches('*');
        let key = line
            .split_once([':', '：'])
            .map(|(key, _)| key.trim_end_matches(['*', ' ', '\u{a0}']).to_lowercase());
        key.is_some_and(|key| of.contains(&key.as_str()))
    };
    if !lines.first().is_some_and(|line| field(line, FROM)) {
        return false;
    }
    // Addressees may take some lines; an empty line ends the block.
    let block: Vec<&str> = lines.iter().skip(1).take(8).take_while(|line| !is_blank(line)).copied().collect();
    block.iter().any(|line| field(line, WHEN)) && block.iter().any(|line| field(line, WHAT))
}

/// Takes off what stands at the end: blank lines, rules, and what a telephone adds.
fn strip_end(own: &mut Vec<&str>) {
    while let Some(last) = own.last() {
        let is_rule =
            last.trim().len() > 2 && last.trim().chars().all(|c| matches!(c, '-' | '_' | '=' | '*'));
        if !is_blank(last) && !is_rule && !is_footer(last) {
            break;
        }
        own.pop();
    }
}

/// "Sent from my iPhone", and what others say of themselves.
fn is_footer(line: &str) -> bool {
    let line = line.trim().trim_start_matches(['<', '[', '*', '_']).to_lowercase();
    // A sentence that only begins so is longer.
    line.chars().count() <= 120
        && FOOTERS.iter().any(|footer| line.starts_with(footer))
        && !is_sentence_about_documents(&line)
}

/// "Sent via courier: ..." is the sender's own.
fn is_sentence_about_documents(line: &str) -> bool {
    !PROGRAMS.iter().any(|word| line.contains(word))
}

/// Lines joined, with at most one blank line where quotes were taken out.
fn without_needless_blanks(own: &[&str]) -> String {
    let mut words = String::new();
    let mut blanks = 0;
    for line in own {
        if is_blank(line) {
            blanks += 1;
            continue;
        }
        if !words.is_empty() {
            words.push_str(if blanks > 0 { "\n\n" } else { "\n" });
        }
        blanks = 0;
        words.push_str(line.trim_end());
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mail_that_is_answered_is_cut() {
        for quoted in [
            "On Mon, Nov 2, 2026 at 10:00 AM Jane Doe <jane@example.com> wrote:\n\n> Old\n> words",
            "On Mon, Nov 2, 2026 at 10:00 AM Jane Doe <\njane@example.com> wrote:\n\n> Old",
            "On 2 Nov 2026, at 10:00, Jane Doe <jane@example.com> wrote:\n\nOld words without marks",
            "On 2 Nov 2026, at 10:00, Jane Doe wrote:\n\nOld words without marks",
            "Am 02.11.2026 um 10.00 Uhr schrieb Jane Doe:\nOld",
            "On 11/2/26 10:00, Jane Doe wrote:\n> Old",
            "Jane Doe <jane@example.com> wrote:\n> Old",
            "Am 02.11.26 um 10:00 schrieb Jane Doe:\n> Old",
            "Am Mo., 2. Nov. 2026 um 10:00 Uhr schrieb Jane Doe <jane@example.com>:\nOld",
            "Le lun. 2 nov. 2026 à 10:00, Jane Doe <jane@example.com> a écrit :\nOld",
            "Le 02/11/2026 à 10:00, Jane Doe a écrit\u{a0}:\n> Old",
            "El lun, 2 nov 2026 a las 10:00, Jane Doe (<jane@example.com>) escribió:\nOld",
            "Il giorno lun 2 nov 2026 alle ore 10:00 Jane <jane@example.com> ha scritto:\nOld",
            "Op ma 2 nov. 2026 om 10:00 schreef Jane Doe <jane@example.com>:\nOld",
            "Em seg., 2 de nov. de 2026 às 10:00, Jane <jane@example.com> escreveu:\nOld",
            "-----Original Message-----\nFrom: Jane\nOld",
            "-----Ursprüngliche Nachricht-----\nVon: Jane\nOld",
            "---------- Forwarded message ---------\nFrom: Jane\nOld",
            "-------- Message transféré --------\nOld",
            "________________________________\nFrom: Jane Doe <jane@example.com>\nSent: Monday, November 2, 2026 10:00\nTo: Bob\nSubject: x\n\nOld",
            "From: Jane Doe\nSent: Monday\nTo: Bob\nSubject: x\nOld",
            "*From:* Jane Doe\n*Date:* Monday\n*To:* Bob\n\nOld",
            "Von: Jane Doe\nGesendet: Montag, 2. November 2026 10:00\nAn: Bob\nBetreff: x\n\nOld",
            "De : Jane Doe\nEnvoyé : lundi 2 novembre 2026 10:00\nÀ : Bob\nObjet : x\n\nOld",
            "De: Jane Doe\nEnviado el: lunes, 2 de noviembre de 2026 10:00\nPara: Bob\nAsunto: x\n\nOld",
            "Begin forwarded message:\n\nFrom: Jane\nOld",
            "Anfang der weitergeleiteten Nachricht:\n\nVon: Jane\nOld",
            "> Old\n> words\n> of another",
        ] {
            let text = format!("Dear colleague,\n\nplease see attached.\n\n{quoted}\n");
            assert_eq!(own_words(&text), "Dear colleague,\n\nplease see attached.", "{quoted}");
        }
    }

    #[test]
    fn signatures_and_footers_are_cut() {
        for end in [
            "-- \nJane Doe\n+1 212 555 0100",
            "--\nJane",
            "Sent from my iPhone",
            "Sent from my iPhone\n\n-- \nJane",
            "Get Outlook for iOS<https://aka.example/x>",
            "Von meinem iPhone gesendet",
            "Gesendet mit der mobilen Mail App",
            "Diese Nachricht wurde von meinem Android-Gerät mit K-9 Mail gesendet.",
            "Envoyé de mon iPhone",
            "Enviado desde mi iPhone",
            "Sent from Outlook for Android<https://aka.example/x>\n________________________________",
        ] {
            assert_eq!(own_words(&format!("See attached.\n\n{end}\n")), "See attached.", "{end}");
        }
    }

    #[test]
    fn answers_between_quotes_are_kept() {
        for (text, own) in [
            (
                "On 2 Nov 2026 at 10:00 Jane <jane@example.com> wrote:\n> One?\nYes.\n> Two?\n> More?\n\nNo.\n-- \nBob",
                "Yes.\n\nNo.",
            ),
            ("> One?\nYes.\n> Two?\nNo.", "Yes.\nNo."),
            ("Hello,\n\n> One?\n>> Older\n\nYes.", "Hello,\n\nYes."),
        ] {
            assert_eq!(own_words(text), own, "{text}");
        }
    }

    #[test]
    fn a_letter_that_only_looks_alike_is_kept_whole() {
        for text in [
            "Potassium:\n> 5.5 mmol/l\n> 6 on Monday",
            "One line\n> with a mark",
            "On Monday the insurer wrote:\n\nWe do not pay.",
            "On 12 March we wrote: see page 2.",
            "From: the front desk\nplease call back.",
            "De acuerdo: mañana",
            "To: Dr. Jones\nSubject: records",
            "Please read -- and sign.\n\nThis mail is confidential and meant for its addressee alone.",
            "Sent via courier: two binders.",
            "I sent it from my iPhone yesterday.",
            "",
        ] {
            assert_eq!(own_words(text), text, "{text}");
        }
    }

    #[test]
    fn length_is_bounded() {
        let long = own_words(&"ü".repeat(100_000));
        assert!(long.len() <= 8 << 10 && long.ends_with('…'));
        for piece in ["On 10:00 a@b wrote\n", "> ", ">\n", "From: x\n", "-- x\n", "x@<\n", "a ", "\n"] {
            let text = piece.repeat((64 << 10) / piece.len());
            let began = Instant::now();
            let _ = own_words(&text);
            assert!(began.elapsed() < Duration::from_secs(5), "{piece:?}: {:?}", began.elapsed());
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_up(text in "(On 2 Nov 10:00 a@b wrote:|> q|-- |From: x|Sent: y|To: z|word|ü| |\n){0,30}") {
            let own = own_words(&text);
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            prop_assert!(own.lines().all(|line| line.is_empty() || lines.contains(&line)), "{own:?}");
        }
    }
}
