//! The words of a command: the first line that the sender wrote himself, and nothing else of the mail.

use crate::job::JobId;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Let a held Job go on.
    Release,
    /// Stop what has not ended.
    Cancel,
    /// Tell how it stands.
    Status,
}

/// A command, as it was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// What is to be done.
    pub word: Word,
    /// With which Job; all that can be meant where it is `None`.
    pub job: Option<JobId>,
}

/// Reads `WORD`, `WORD JOB` or `WORD job JOB` in any case, with or without punctuation behind a word. Anything else on the line
/// is not understood: "do not cancel this" is no command.
#[must_use]
pub fn read(text: &str) -> Option<Command> {
    let line = text.lines().map(plain).find(|line| !line.is_empty())?;
    let mut words = line.split(' ').map(|word| word.trim_end_matches(['.', ',', ';', ':', '!']));
    let word = match words.next()?.to_ascii_lowercase().as_str() {
        "release" => Word::Release,
        "cancel" => Word::Cancel,
        "status" => Word::Status,
        _ => return None,
    };
    let mut next = words.next();
    if next.is_some_and(|next| next.eq_ignore_ascii_case("job")) {
        // "cancel job" alone names none.
        next = Some(words.next()?);
    }
    let job = next.map(str::parse).transpose().ok()?;
    words.next().is_none().then_some(Command { word, job })
}

/// One line as a person sees it: blanks of every kind are one blank, marks without a shape are none.
fn plain(line: &str) -> String {
    let shown: String = line
        .chars()
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_own_line_is_the_command() {
        let job: JobId = "06d0s8mk2c0000b2".parse().unwrap();
        let all = |word| Some(Command { word, job: None });
        let one = |word| Some(Command { word, job: Some(job) });
        let table = [
            ("cancel", all(Word::Cancel)),
            ("Cancel.", all(Word::Cancel)),
            ("  STATUS!  \r\n\r\nJane Doe\r\nFront desk", all(Word::Status)),
            ("\n\n\u{feff}release\u{a0}\n> Held: the fax", all(Word::Release)),
            ("cancel 06d0s8mk2c0000b2", one(Word::Cancel)),
            ("Cancel job 06D0S8MK2C0000B2.", one(Word::Cancel)),
            ("release: 06d0s8mk2c0000b2", one(Word::Release)),
            ("cancel job", None),
            ("cancel 06d0s8mk2c0000b2 06d0s8mk2c0000b3", None),
            ("cancel this fax", None),
            ("please cancel", None),
            ("do not cancel", None),
            ("cancelled?", None),
            ("cancel?", None),
            ("> cancel", None),
            ("Thank you!\ncancel", None),
            ("On Sunday the fax bridge wrote:\n> cancel", None),
            ("", None),
            (" \r\n\t\r\n", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_not(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
