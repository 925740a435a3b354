//! Rules: from the facts of a Submission to where it goes.
//!
//! The first rule whose conditions all hold wins, and the trace keeps for each rule before it which condition failed first. A
//! rule is compiled once, with every fault it has reported at once; a rule that could send one text to two places, or that
//! names no place, is a fault and not a surprise later. What a rule says about where to send is an [`Ask`]: only the register
//! of verified recipients turns it into a number that is dialled.

use serde::{Deserialize, Serialize};

use crate::addressing::{Address, Facts};
use crate::job::Source;
use crate::text::quotable;
use pattern::{Captures, Match, Pattern};

mod compile;
pub mod pattern;
mod rule;

use compile::Compiled;
pub use rule::Rule;

/// How much of what was found a trace repeats, in characters.
const REPEATED: usize = 80;

/// The rules, ready for use.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Compiled>);

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {key} {sentence}")]
pub struct RuleFault {
    /// Its name, or its place (`#3`) where it has none.
    pub rule: String,
    /// The key at fault, as in the configuration.
    pub key: &'static str,
    /// What is wrong and what is allowed; reads on from the key.
    pub sentence: String,
}

/// What a rule asks the register for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The entry with this key.
    Key(String),
    /// The entry with this number, as written by the sender.
    Number(String),
}

/// Where a Submission goes and how. Reference and identifier may hold patient data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The rule that says so.
    pub rule: String,
    /// To whom.
    pub ask: Ask,
    /// The sender's reference.
    pub reference: Option<String>,
    /// Patient or claim identifier for the cover: what it is called, and its value.
    pub identifier: Option<(String, String)>,
    /// Whether the mail's text becomes the cover message.
    pub body_on_cover: bool,
    /// Whether the mail's text is faxed as pages.
    #[serde(default)]
    pub body_as_pages: bool,
    /// Whether the sender may leave the cover out.
    #[serde(default)]
    pub cover_may_be_left_out: bool,
    /// Whether the cover shows the mail's subject.
    pub subject_on_cover: bool,
    /// Which pages, as `1-3,7`; all where it is missing.
    pub pages: Option<String>,
    /// Names of the providers that may send it, in order, where the rule chooses.
    pub providers: Vec<String>,
}

impl Route {
    /// Without a rule: a sender asked for it, by name or number.
    #[must_use]
    pub fn direct(ask: Ask) -> Route {
        Route {
            rule: "asked for directly".to_owned(),
            ask,
            reference: None,
            identifier: None,
            body_on_cover: false,
            body_as_pages: false,
            cover_may_be_left_out: false,
            subject_on_cover: true,
            pages: None,
            providers: Vec::new(),
        }
    }
}

/// How one rule saw the facts. Holds text of the sender: it is sealed wherever that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The rule.
    pub rule: String,
    /// What came of it.
    pub verdict: RuleVerdict,
}

/// See [`Trace`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    /// Every condition holds.
    Matched {
        /// What was captured.
        captures: Captures,
    },
    /// A condition does not hold.
    Failed {
        /// The first such, as `to = "{number}@fax.example.com"`.
        condition: String,
        /// What was found instead, as a sentence.
        found: String,
    },
    /// Every condition holds, but where it goes could be read in two ways: no further rule is tried.
    Ambiguous {
        /// The condition.
        condition: String,
        /// What is unclear, as a sentence.
        found: String,
    },
}

/// What the rules came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// Each rule up to the one that decided.
    pub trace: Vec<Trace>,
    /// Where it goes; `None` where no rule takes it, or the one that does cannot tell where to.
    pub route: Option<Route>,
}

impl Rules {
    /// Compiles the rules of the configuration.
    ///
    /// # Errors
    /// Every fault of every rule.
    pub fn compile(rules: &[Rule]) -> Result<Rules, Vec<RuleFault>> {
        compile::all(rules).map(Rules)
    }

    /// The first rule whose conditions all hold, and why the ones before it do not.
    #[must_use]
    pub fn route(&self, facts: &Facts) -> Routed {
        let mut trace = Vec::new();
        for rule in &self.0 {
            let verdict = rule.try_on(facts);
            let route = match &verdict {
                RuleVerdict::Matched { captures } => Some(rule.route(captures)),
                RuleVerdict::Failed { .. } | RuleVerdict::Ambiguous { .. } => None,
            };
            let decided = !matches!(verdict, RuleVerdict::Failed { .. });
            trace.push(Trace { rule: rule.name.clone(), verdict });
            if decided {
                return Routed { trace, route };
            }
        }
        Routed { trace, route: None }
    }

    /// Whether any rule might take a mail of this sender to this envelope recipient, whatever its subject: the question at RCPT.
    #[must_use]
    pub fn could_take(&self, source: &Source, sender: &str, to: &str) -> bool {
        self.0.iter().any(|rule| rule.could_take(source, sender, to))
    }

    /// Rules that can never match, because an earlier one takes all that they would. Sound, not complete: a rule that is named
    /// is dead, one that is not may still be.
    #[must_use]
    pub fn dead(&self) -> Vec<RuleFault> {
        let mut faults = Vec::new();
        for (place, rule) in self.0.iter().enumerate() {
            if let Some(earlier) = self.0.iter().take(place).find(|earlier| earlier.covers(rule)) {
                let sentence =
                    format!("can never match: {:?} stands before it and takes all it would", earlier.name);
                faults.push(RuleFault { rule: rule.name.clone(), key: "name", sentence });
            }
        }
        faults
    }

    /// What rules ask for whatever arrives, with the rule's name: `check` looks these up in the register.
    pub fn fixed_asks(&self) -> impl Iterator<Item = (&str, Ask)> {
        self.0.iter().filter_map(|rule| Some((rule.name.as_str(), rule.fixed_ask()?)))
    }
}

impl Routed {
    /// The answer to the sender where no rule decides where it goes; `None` where one does.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        match (&self.route, self.trace.last()) {
            (Some(_), _) => None,
            (None, Some(Trace { verdict: RuleVerdict::Ambiguous { found, .. }, .. })) => Some(found.clone()),
            (None, _) => Some(
                "No rule of this fax service says where this goes. Check the address, the subject or the file name against the \
                 instructions you were given, or ask the administrator."
                    .to_owned(),
            ),
        }
    }
}

impl Compiled {
    fn try_on(&self, facts: &Facts) -> RuleVerdict {
        if let Some(source) = self.source.as_ref().filter(|source| !source.matches(&facts.source)) {
            let found = format!("It came by {}.", quotable(&facts.source.to_string(), REPEATED));
            return failed("source", &source.to_string(), &found);
        }
        if !self.sender_holds(&facts.sender) {
            let found = format!("The sender is {}.", quotable(&facts.sender, REPEATED));
            return RuleVerdict::Failed { condition: format!("require_sender = {:?}", self.senders), found };
        }
        let mut captures = Captures::new();
        let conditions: [(&str, String, Option<Seen>); 3] = [
            (
                "to",
                self.to.as_ref().map(compile::To::written).unwrap_or_default(),
                self.see_to(facts.to.as_deref()),
            ),
            ("subject", written(self.subject.as_ref()), self.see_subject(facts.subject.as_deref())),
            ("file", written(self.file.as_ref()), self.see_file(facts.file.as_deref())),
        ];
        for (key, pattern, seen) in conditions {
            match seen {
                None => {}
                Some(Ok(Match::Plain(more))) => captures.extend(more),
                Some(Ok(Match::Ambiguous(name))) => {
                    let found = format!(
                        "What stands for {{{name}}} in the {} could be read in two ways.",
                        plain_key(key)
                    );
                    return RuleVerdict::Ambiguous { condition: condition(key, &pattern), found };
                }
                Some(Err(found)) => return failed(key, &pattern, &found),
            }
        }
        RuleVerdict::Matched { captures }
    }

    fn could_take(&self, source: &Source, sender: &str, to: &str) -> bool {
        // A mail brings no file name: rules that want one are for drops.
        let drops_only = self.file.is_some() && source.kind().brings_mails();
        !drops_only
            && self.source.as_ref().is_none_or(|wanted| wanted.matches(source))
            && self.sender_holds(sender)
            && self.see_to(Some(to)).is_none_or(|seen| seen.is_ok())
    }

    fn sender_holds(&self, sender: &str) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|wanted| wanted == sender)
    }

    fn see_to(&self, to: Option<&str>) -> Option<Seen> {
        let wanted = self.to.as_ref()?;
        let Some(to) = to else { return Some(Err("It has no envelope recipient.".to_owned())) };
        let address = match Address::parse(to) {
            Ok(address) => address,
            Err(fault) => return Some(Err(format!("In {}, {fault}.", quotable(to, REPEATED)))),
        };
        Some(wanted.matches(&address).ok_or_else(|| format!("It was sent to {}.", quotable(to, REPEATED))))
    }

    fn see_subject(&self, subject: Option<&str>) -> Option<Seen> {
        let wanted = self.subject.as_ref()?;
        // Folded header lines, tabs and the non-breaking spaces of mail programs read as the one blank they look like.
        let Some(subject) = subject.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")) else {
            return Some(Err("It has no subject.".to_owned()));
        };
        Some(
            wanted
                .matches(&subject)
                .ok_or_else(|| format!("The subject is \"{}\".", quotable(&subject, REPEATED))),
        )
    }

    fn see_file(&self, file: Option<&str>) -> Option<Seen> {
        let wanted = self.file.as_ref()?;
        let Some(file) = file else { return Some(Err("It is not a dropped file.".to_owned())) };
        let name = if wanted.has_folders() { file } else { file.rsplit('/').next().unwrap_or(file) };
        Some(
            wanted
                .matches(name)
                .ok_or_else(|| format!("The file is called \"{}\".", quotable(name, REPEATED))),
        )
    }
}

/// A condition that was looked at: how it matched, or what was found instead.
type Seen = Result<Match, String>;

fn written(pattern: Option<&Pattern>) -> String {
    pattern.map(|pattern| pattern.written().to_owned()).unwrap_or_default()
}

fn condition(key: &str, wanted: &str) -> String {
    format!("{key} = \"{wanted}\"")
}

fn failed(key: &str, wanted: &str, found: &str) -> RuleVerdict {
    RuleVerdict::Failed { condition: condition(key, wanted), found: found.to_owned() }
}

fn plain_key(key: &str) -> &str {
    match key {
        "to" => "address",
        "file" => "file name",
        other => other,
    }
}

#[cfg(test)]
mod tests;
