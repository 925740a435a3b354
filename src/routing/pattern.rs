//! Patterns with captures: `{account}_{number}.pdf`.
//!
//! A pattern takes a whole text or nothing. Literal characters match without regard to ASCII capitals; `{{` and `}}` stand for
//! braces. A capture takes as little as lets the rest match, and what it may take depends on its name: `{number}` takes only
//! characters of telephone numbers, `{recipient}` only a key of the register, so that a rule for named recipients does not
//! swallow the numbers that a later rule is for; every other name takes anything, at least one character.
//!
//! Where a fax goes is never a guess: a text in which `{number}` or `{recipient}` could be read in two ways is reported as
//! ambiguous, and patterns that invite that are refused when they are compiled.
//!
//! One matcher serves two questions, because a pattern is a text whose captures are wild characters: does this text match, and
//! would everything that pattern matches match this one too (for rules that can never be reached).

use std::collections::{BTreeMap, BTreeSet};

/// Longest text a pattern is tried on, in characters. Subjects may be longer than one line (RFC 5322) but not a book.
pub const LONGEST_TEXT: usize = 1000;

/// Bounds on a pattern, and by that on the work per text.
const MOST_CAPTURES: usize = 8;
const LONGEST_PATTERN: usize = 300;

/// What was captured, by name.
pub type Captures = BTreeMap<String, String>;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    pieces: Vec<Piece>,
    watched: BTreeSet<String>,
}

/// How a text matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// In one way, as far as it matters.
    Plain(Captures),
    /// In several ways that would send it to different places; the capture that is unclear.
    Ambiguous(String),
}

/// What a capture may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `{number}`: digits, `+`, brackets, dot, dash, blank; at least one digit.
    Number,
    /// `{recipient}`: letters, digits, dash, dot; at least one letter.
    Key,
    /// Anything.
    Any,
    /// Anything but `/`, in names of files.
    Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(char),
    Capture(String, Class),
}

/// A character of a text, or what stands for many of them when the text is itself a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Char(char),
    Wild(Class),
}

impl Pattern {
    /// Reads a pattern for addresses and subjects.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the key.
    pub fn compile(written: &str) -> Result<Pattern, String> {
        Pattern::build(written, Class::Any)
    }

    /// Reads a pattern for names of files: a capture stays within one folder.
    ///
    /// # Errors
    /// As [`Pattern::compile`].
    pub fn for_files(written: &str) -> Result<Pattern, String> {
        Pattern::build(written, Class::Name)
    }

    fn build(written: &str, others: Class) -> Result<Pattern, String> {
        let pieces = pieces(written, others)?;
        if pieces.is_empty() {
            return Err("is empty; leave the key out where anything may stand".into());
        }
        check_neighbours(&pieces)?;
        let watched = names(&pieces)
            .filter(|name| matches!(*name, "number" | "recipient"))
            .map(str::to_owned)
            .collect();
        Ok(Pattern { written: written.to_owned(), pieces, watched })
    }

    /// Has these captures reported as ambiguous too, because they say where a fax goes.
    pub fn watch<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        self.watched.extend(names.map(str::to_owned));
    }

    /// The names of its captures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.pieces)
    }

    /// As it stands in the configuration.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether it says something about folders, which a plain file name does not have.
    #[must_use]
    pub fn has_folders(&self) -> bool {
        self.pieces.contains(&Piece::Literal('/'))
    }

    /// How `text` matches, if the whole of it does.
    #[must_use]
    pub fn matches(&self, text: &str) -> Option<Match> {
        let symbols: Vec<Symbol> = text.chars().take(LONGEST_TEXT + 1).map(Symbol::Char).collect();
        let ways = Ways::new(&self.pieces, &symbols)?;
        if let Some(name) = ways.unclear(&self.watched) {
            return Some(Match::Ambiguous(name.to_owned()));
        }
        let taken = ways.shortest();
        Some(Match::Plain(taken.into_iter().map(|(name, run)| (name.to_owned(), plain(run))).collect()))
    }

    /// Whether this pattern certainly matches every text that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &Pattern) -> bool {
        let symbols: Vec<Symbol> = other
            .pieces
            .iter()
            .map(|piece| match piece {
                Piece::Literal(c) => Symbol::Char(*c),
                Piece::Capture(_, class) => Symbol::Wild(*class),
            })
            .collect();
        Ways::new(&self.pieces, &symbols).is_some()
    }
}

/// A text with captures to be filled in, as `Claim {account}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template; braces as in a [`Pattern`].
    ///
    /// # Errors
    /// As [`Pattern::compile`].
    pub fn compile(written: &str) -> Result<Template, String> {
        match pieces(written, Class::Any)? {
            none if none.is_empty() => Err("is empty; leave the key out instead".into()),
            pieces => Ok(Template(pieces)),
        }
    }

    /// The captures it needs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.0)
    }

    /// With the captures filled in; one that is missing leaves nothing.
    #[must_use]
    pub fn fill(&self, captures: &Captures) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(c) => text.push(*c),
                Piece::Capture(name, _) => text.push_str(captures.get(name).map_or("", String::as_str)),
            }
        }
        text
    }
}

fn names(pieces: &[Piece]) -> impl Iterator<Item = &str> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Capture(name, _) => Some(name.as_str()),
        Piece::Literal(_) => None,
    })
}

fn pieces(written: &str, others: Class) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '{' | '}' if rest.starts_with(c) => {
                rest = rest.get(1..).unwrap_or_default();
                pieces.push(Piece::Literal(c));
            }
            '{' => {
                let (name, behind) =
                    rest.split_once('}').ok_or("has a { without its }; write {{ for a brace")?;
                if !name.starts_with(|c: char| c.is_ascii_lowercase())
                    || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                {
                    let name: String = name.chars().take(30).collect();
                    return Err(format!(
                        "has a capture {{{name}}}; those are named in lower-case letters, digits and _"
                    ));
                }
                let class = match name {
                    "number" => Class::Number,
                    "recipient" => Class::Key,
                    _ => others,
                };
                if !seen.insert(name) {
                    return Err(format!("has {{{name}}} twice"));
                }
                pieces.push(Piece::Capture(name.to_owned(), class));
                rest = behind;
            }
            '}' => return Err("has a } without its {; write }} for a brace".into()),
            c if c.is_control() => return Err("has a control character".into()),
            c => pieces.push(Piece::Literal(c)),
        }
    }
    if seen.len() > MOST_CAPTURES || pieces.len() > LONGEST_PATTERN {
        return Err(format!(
            "is too long; {MOST_CAPTURES} captures and {LONGEST_PATTERN} characters are the most"
        ));
    }
    Ok(pieces)
}

/// Refuses patterns in which a number or key could end or begin at several places.
fn check_neighbours(pieces: &[Piece]) -> Result<(), String> {
    let mut before: Option<(&str, Class)> = None;
    let mut between = String::new();
    for piece in pieces {
        let (name, class) = match piece {
            Piece::Literal(c) => {
                between.push(*c);
                continue;
            }
            Piece::Capture(name, class) => (name.as_str(), *class),
        };
        if let Some((first, first_class)) = before {
            if between.is_empty() {
                return Err(format!(
                    "has nothing between {{{first}}} and {{{name}}}; put a separator such as _ there"
                ));
            }
            let blurred = |class: Class| {
                matches!(class, Class::Number | Class::Key)
                    && between.chars().all(|c| class.takes(Symbol::Char(c)))
            };
            if blurred(first_class) || blurred(class) {
                return Err(format!(
                    "has {between:?} between {{{first}}} and {{{name}}}, which can also be part of them; put a separator such as _ there"
                ));
            }
        }
        before = Some((name, class));
        between.clear();
    }
    let digit = |piece: &Piece| matches!(piece, Piece::Literal(c) if *c == '+' || c.is_ascii_digit());
    let number = |piece: &Piece| matches!(piece, Piece::Capture(_, Class::Number));
    let cut = pieces.windows(2).any(|pair| {
        matches!(pair, [first, second] if digit(first) && number(second) || number(first) && digit(second))
    });
    if cut {
        return Err("has a + or digit directly beside {number}, which would be cut off the number; {number} takes them itself".into());
    }
    Ok(())
}

impl Class {
    fn takes(self, symbol: Symbol) -> bool {
        match (self, symbol) {
            (Class::Number, Symbol::Char(c)) => c.is_ascii_digit() || "+().- ".contains(c),
            (Class::Key, Symbol::Char(c)) => c.is_ascii_alphanumeric() || c == '-' || c == '.',
            (Class::Name, Symbol::Char(c)) => c != '/',
            (Class::Any, _) => true,
            (Class::Name, Symbol::Wild(wild)) => wild != Class::Any,
            (own, Symbol::Wild(wild)) => own == wild,
        }
    }

    /// Whether this symbol is what the capture needs at least one of.
    fn needs(self, symbol: Symbol) -> bool {
        match (self, symbol) {
            (Class::Number, Symbol::Char(c)) => c.is_ascii_digit(),
            (Class::Key, Symbol::Char(c)) => c.is_ascii_alphabetic(),
            (own, symbol) => own.takes(symbol),
        }
    }

    /// The ends that a capture beginning at `from` may have, shortest first.
    fn ends(self, symbols: &[Symbol], from: usize) -> impl Iterator<Item = usize> {
        let run = symbols.get(from..).unwrap_or_default();
        let mut enough = false;
        run.iter().take_while(move |symbol| self.takes(**symbol)).enumerate().filter_map(
            move |(place, symbol)| {
                enough |= self.needs(*symbol);
                enough.then_some(from + place + 1)
            },
        )
    }
}

/// Every way in which pieces can take a whole text.
struct Ways<'a> {
    pieces: &'a [Piece],
    symbols: &'a [Symbol],
    /// Whether the pieces from `.0` on can take the text from `.1` on; row by row.
    can_finish: Vec<bool>,
}

impl<'a> Ways<'a> {
    /// `None` where there is no way.
    fn new(pieces: &'a [Piece], symbols: &'a [Symbol]) -> Option<Self> {
        if symbols.len() > LONGEST_TEXT {
            return None;
        }
        let width = symbols.len() + 1;
        let mut ways = Ways { pieces, symbols, can_finish: vec![false; (pieces.len() + 1) * width] };
        if let Some(end) = ways.can_finish.last_mut() {
            *end = true;
        }
        for (index, piece) in pieces.iter().enumerate().rev() {
            for from in 0..width {
                let possible = match piece {
                    Piece::Literal(c) => ways.literal(*c, from) && ways.finishes(index + 1, from + 1),
                    Piece::Capture(_, class) => {
                        class.ends(symbols, from).any(|to| ways.finishes(index + 1, to))
                    }
                };
                if let Some(cell) = ways.can_finish.get_mut(index * width + from) {
                    *cell = possible;
                }
            }
        }
        ways.finishes(0, 0).then_some(ways)
    }

    fn finishes(&self, piece: usize, from: usize) -> bool {
        let width = self.symbols.len() + 1;
        from < width && self.can_finish.get(piece * width + from).copied().unwrap_or(false)
    }

    fn literal(&self, c: char, at: usize) -> bool {
        matches!(self.symbols.get(at), Some(Symbol::Char(found)) if found.eq_ignore_ascii_case(&c))
    }

    /// What each capture takes when each, from the front, takes as little as it can.
    fn shortest(&self) -> Vec<(&'a str, &'a [Symbol])> {
        let mut at = 0;
        let mut taken = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(_) => at += 1,
                Piece::Capture(name, class) => {
                    let to =
                        class.ends(self.symbols, at).find(|to| self.finishes(index + 1, *to)).unwrap_or(at);
                    taken.push((name.as_str(), self.symbols.get(at..to).unwrap_or_default()));
                    at = to;
                }
            }
        }
        taken
    }

    /// The name of a watched capture that could be read in two ways, if there is one.
    fn unclear(&self, watched: &BTreeSet<String>) -> Option<&'a str> {
        let mut reachable = BTreeSet::from([0]);
        for (index, piece) in self.pieces.iter().enumerate() {
            let mut next = BTreeSet::new();
            let mut readings = BTreeSet::new();
            for from in reachable {
                match piece {
                    Piece::Literal(c) if self.literal(*c, from) => {
                        next.insert(from + 1);
                    }
                    Piece::Literal(_) => {}
                    Piece::Capture(name, class) => {
                        for to in class.ends(self.symbols, from).filter(|to| self.finishes(index + 1, *to)) {
                            next.insert(to);
                            if watched.contains(name) {
                                readings.insert((from, to));
                            }
                        }
                    }
                }
            }
            let texts: BTreeSet<String> = readings
                .into_iter()
                .map(|(from, to)| plain(self.symbols.get(from..to).unwrap_or_default()))
                .collect();
            if let (Piece::Capture(name, _), true) = (piece, texts.len() > 1) {
                return Some(name);
            }
            reachable = next;
        }
        None
    }
}

fn plain(run: &[Symbol]) -> String {
    run.iter().filter_map(|symbol| if let Symbol::Char(c) = symbol { Some(*c) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captured(pattern: &str, text: &str) -> Option<String> {
        Some(match Pattern::compile(pattern).unwrap().matches(text)? {
            Match::Plain(captures) => {
                captures.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
            }
            Match::Ambiguous(name) => format!("?{name}"),
        })
    }

    #[test]
    fn patterns_capture() {
        for (pattern, text, expected) in [
            ("{account}_{number}.pdf", "483920_+12125550199.pdf", Some("account=483920|number=+12125550199")),
            ("{account}_{number}.pdf", "483920_+12125550199.PDF", Some("account=483920|number=+12125550199")),
            ("{account}_{number}.pdf", "a_b_(212) 555-0199.pdf", Some("account=a_b|number=(212) 555-0199")),
            ("{account}_{number}.pdf", "_+12125550199.pdf", None),
            ("{account}_{number}.pdf", "483920_.pdf", None),
            ("{account}_{number}.pdf", "483920_+-.pdf", None),
            ("{account}_{number}.pdf", "483920_+12125550199.pdf.exe", None),
            ("{account}_{number}.pdf", "483920_+1212555O199.pdf", None),
            ("{number}", "+12125550199", Some("number=+12125550199")),
            ("{number}", "call +12125550199", None),
            ("{recipient}", "mercy-radiology", Some("recipient=mercy-radiology")),
            ("{recipient}", "12125550199", None),
            ("{recipient}", "+12125550199", None),
            ("{recipient}", "m\u{fc}ller", None),
            ("{a}-{b}", "1-2-3", Some("a=1|b=2-3")),
            ("{a}_{number}_{b}", "x_2125550199_y", Some("a=x|b=y|number=2125550199")),
            ("{a}_{number}_{b}", "x_2125550100_2125550199_y", Some("?number")),
            ("{a} to {recipient} for {b}", "1 to x for y for z", Some("a=1|b=y for z|recipient=x")),
            ("{a}_{recipient}_{b}", "1_mercy_south_2", Some("?recipient")),
            ("Fax {{{number}}}", "FAX {1}", Some("number=1")),
            ("plain", "PLAIN", Some("")),
            ("plain", "plai", None),
            ("\u{c4}", "\u{e4}", None),
        ] {
            assert_eq!(captured(pattern, text).as_deref(), expected, "{pattern} {text}");
        }
        assert!(Pattern::for_files("{a}.pdf").unwrap().matches("in/x.pdf").is_none());
        assert!(Pattern::for_files("{dir}/{a}.pdf").unwrap().matches("in/x.pdf").is_some());
        assert!(Pattern::compile("{a}").unwrap().matches(&"x".repeat(LONGEST_TEXT + 1)).is_none());
    }

    #[test]
    fn patterns_that_invite_guesses_are_refused() {
        for (pattern, part) in [
            ("", "is empty"),
            ("{account}{number}", "nothing between"),
            ("{account}-{number}", "can also be part"),
            ("{number} {account}", "can also be part"),
            ("{recipient}-{account}", "can also be part"),
            ("+{number}", "cut off"),
            ("{number}9", "cut off"),
            ("{number", "without its }"),
            ("number}", "without its {"),
            ("{Number}", "lower-case"),
            ("{}", "lower-case"),
            ("{9a}", "lower-case"),
            ("{a}_{a}", "twice"),
            ("a\nb", "control"),
            ("{a}_{b}_{c}_{d}_{e}_{f}_{g}_{h}_{i}", "too long"),
        ] {
            let fault = Pattern::compile(pattern).unwrap_err();
            assert!(fault.contains(part), "{pattern}: {fault}");
        }
    }

    #[test]
    fn patterns_cover_narrower_ones() {
        for (wide, narrow, expected) in [
            ("{a}@fax.example.com", "{number}@fax.example.com", true),
            ("{a}@fax.example.com", "{recipient}@FAX.example.com", true),
            ("{recipient}@fax.example.com", "{number}@fax.example.com", false),
            ("{recipient}@fax.example.com", "mercy@fax.example.com", true),
            ("{recipient}@fax.example.com", "9@fax.example.com", false),
            ("{number}@fax.example.com", "{recipient}@fax.example.com", false),
            ("{number}@fax.example.com", "911@fax.example.com", true),
            ("{a}_{number}.pdf", "{b}_{c}_{number}.pdf", true),
            ("{a}_{b}.pdf", "{a}_{number}.pdf", true),
            ("{a}_{number}.pdf", "{a}_{b}.pdf", false),
            ("{a}", "{b}", true),
            ("x{a}", "{a}", false),
        ] {
            let covers = Pattern::compile(wide).unwrap().covers(&Pattern::compile(narrow).unwrap());
            assert_eq!(covers, expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn templates_fill() {
        let captures = Captures::from([("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), "2".to_owned())]);
        assert_eq!(Template::compile("{{{a}}}-{b}{c}!").unwrap().fill(&captures), "{{b}}-2!");
        assert!(Template::compile("").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_literals_around_captures_stay(
            pattern in "[ab_{}]{0,12}|\\{a\\}_\\{number\\}|\\PC{0,20}",
            text in "[ab_0-9]{0,30}|\\PC{0,60}",
        ) {
            if let Ok(pattern) = Pattern::compile(&pattern) {
                if let Some(Match::Plain(captures)) = pattern.matches(&text) {
                    let rebuilt = Template::compile(pattern.written()).unwrap().fill(&captures);
                    prop_assert!(rebuilt.eq_ignore_ascii_case(&text), "{} {}", rebuilt, text);
                }
                prop_assert!(pattern.covers(&pattern));
            }
        }

        #[test]
        fn a_covering_pattern_matches_what_the_covered_one_does(
            wide in "(\\{a\\}|\\{number\\}|\\{recipient\\}|[x_1]){1,4}",
            narrow in "(\\{a\\}|\\{number\\}|\\{recipient\\}|[x_1]){1,4}",
            text in "[x_1+]{0,6}",
        ) {
            if let (Ok(wide), Ok(narrow)) = (Pattern::compile(&wide), Pattern::compile(&narrow))
                && wide.covers(&narrow)
                && narrow.matches(&text).is_some()
            {
                prop_assert!(wide.matches(&text).is_some());
            }
        }
    }
}
