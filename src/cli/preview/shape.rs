//! What `preview` tells of one input: the stable JSON line (DESIGN, section 5), and the same for people.

use std::fmt;

use faxbridge::routing::{RuleVerdict, Trace};
use serde::Serialize;

use crate::cli::listing::{count, plain};

/// One line of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) input: String,
    pub(super) verdict: PreviewVerdict,
    pub(super) reason: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) from: Option<String>,
    pub(super) parts: Vec<ShownPart>,
    pub(super) packet: Option<ShownPacket>,
    pub(super) jobs: Vec<ShownJob>,
    /// For people only: the shape of the line is kept stable.
    #[serde(skip)]
    pub(super) traces: Vec<Trace>,
    #[serde(skip)]
    pub(super) notes: Vec<String>,
}

/// What would become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PreviewVerdict {
    Ready,
    Held,
    Refused,
    Ignored,
}

#[derive(Debug, Serialize)]
pub(super) struct ShownPart {
    pub(super) name: String,
    pub(super) kind: faxbridge::sealed::PartKind,
    pub(super) sha256: String,
    pub(super) pages: Option<(u32, u32)>,
    pub(super) left_out: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct ShownPacket {
    pub(super) pdf: String,
    pub(super) pages: u32,
    pub(super) cover_pages: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct ShownJob {
    pub(super) recipient: Option<String>,
    pub(super) number: Option<String>,
    pub(super) rule: String,
    pub(super) held: Option<String>,
    /// Only where there are several recipients, each with a PDF of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pdf: Option<String>,
}

impl PreviewVerdict {
    fn as_str(self) -> &'static str {
        match self {
            PreviewVerdict::Ready => "ready",
            PreviewVerdict::Held => "held",
            PreviewVerdict::Refused => "refused",
            PreviewVerdict::Ignored => "ignored",
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |label: &str, text: &str| writeln!(f, "  {label:9}{}", plain(text));
        let verdict = self.verdict.as_str().to_uppercase();
        let reason = self.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        let head = format!("{verdict}{reason}");
        line("verdict", &head)?;
        if let Some(subject) = &self.subject {
            line("subject", subject)?;
        }
        if let Some(from) = &self.from {
            line("from", from)?;
        }
        for part in &self.parts {
            let fate = match (part.pages, &part.left_out) {
                (Some((first, last)), _) if first == last => format!("page {first}"),
                (Some((first, last)), _) => format!("pages {first}-{last}"),
                (None, Some(why)) => format!("left out: {why}"),
                (None, None) => "no page".to_owned(),
            };
            line("part", &format!("{}: {fate}", part.name))?;
        }
        match &self.packet {
            Some(packet) => line(
                "packet",
                &format!("{}, {}, cover included", packet.pdf, count(packet.pages as usize, "page")),
            )?,
            None => line("packet", "none")?,
        }
        for job in &self.jobs {
            let whom = job.recipient.as_deref().unwrap_or("unknown recipient");
            let number = job.number.as_deref().unwrap_or("no number");
            let state = job.held.as_ref().map_or("ready".to_owned(), |why| format!("held: {why}"));
            let pdf = job.pdf.as_ref().map_or(String::new(), |pdf| format!(", {pdf}"));
            line("job", &format!("{whom} at {number}, by \"{}\"{pdf}: {state}", job.rule))?;
        }
        for trace in &self.traces {
            line("rule", &trace_words(trace))?;
        }
        for note in &self.notes {
            line("note", note)?;
        }
        Ok(())
    }
}

/// How one rule saw it, in a line.
pub(crate) fn trace_words(trace: &Trace) -> String {
    match &trace.verdict {
        RuleVerdict::Matched { captures } => {
            let captured: Vec<String> =
                captures.iter().map(|(name, value)| format!("{{{name}}} is {value}")).collect();
            let captured =
                if captured.is_empty() { String::new() } else { format!(", {}", captured.join(", ")) };
            format!("\"{}\" takes it{captured}", trace.rule)
        }
        RuleVerdict::Failed { condition, found } => {
            format!("\"{}\" does not: {condition}. {found}", trace.rule)
        }
        RuleVerdict::Ambiguous { condition, found } => {
            format!("\"{}\" stops here: {condition}. {found}", trace.rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use faxbridge::sealed::PartKind;

    use super::*;

    #[test]
    fn the_shape_is_the_one_that_was_promised() {
        let shown = Shown {
            input: "claims/a.eml".into(),
            verdict: PreviewVerdict::Ready,
            reason: None,
            subject: Some("decoded".into()),
            from: Some("jane@example.com".into()),
            parts: vec![ShownPart {
                name: "scan.pdf".into(),
                kind: PartKind::Pdf,
                sha256: "00".into(),
                pages: Some((2, 6)),
                left_out: None,
            }],
            packet: Some(ShownPacket { pdf: "a.pdf".into(), pages: 6, cover_pages: 1 }),
            jobs: vec![ShownJob {
                recipient: Some("mercy-radiology".into()),
                number: Some("+12125550199".into()),
                rule: "named recipient".into(),
                held: None,
                pdf: None,
            }],
            traces: Vec::new(),
            notes: Vec::new(),
        };
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            "{\"input\":\"claims/a.eml\",\"verdict\":\"ready\",\"reason\":null,\"subject\":\"decoded\",\
             \"from\":\"jane@example.com\",\"parts\":[{\"name\":\"scan.pdf\",\"kind\":\"pdf\",\"sha256\":\"00\",\
             \"pages\":[2,6],\"left_out\":null}],\"packet\":{\"pdf\":\"a.pdf\",\"pages\":6,\"cover_pages\":1},\
             \"jobs\":[{\"recipient\":\"mercy-radiology\",\"number\":\"+12125550199\",\"rule\":\"named recipient\",\
             \"held\":null}]}"
        );
        let people = shown.to_string();
        assert!(people.contains("  part     scan.pdf: pages 2-6\n"), "{people}");
        assert!(
            people.contains("mercy-radiology at +12125550199, by \"named recipient\": ready"),
            "{people}"
        );
    }
}
