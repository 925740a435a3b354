//! A list of recipients as CSV (RFC 4180), as spreadsheets write it: all of it, or every fault with its line.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::NewEntry;
use super::number::{NumberRules, shown};

/// The columns that are known; `name` and `number` must be there.
const COLUMNS: [&str; 8] =
    ["key", "name", "number", "organization", "department", "attention", "notes", "quiet_hours"];

/// A fault of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {sentence}")]
pub struct ImportFault {
    /// Where the record begins, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub sentence: String,
}

/// Reads a list with its columns named in the first line, in any order. Commas separate, or semicolons where the first line has
/// only those (spreadsheets in countries with a decimal comma).
///
/// # Errors
/// Every fault; then nothing of the list is to be used.
pub fn import(text: &str, rules: &NumberRules) -> Result<Vec<NewEntry>, Vec<ImportFault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().next().unwrap_or_default();
    let separator = if first.contains(';') && !first.contains(',') { ';' } else { ',' };
    let mut records = records(text, separator).map_err(|fault| vec![fault])?.into_iter();
    let Some((line, header)) = records.next() else {
        return Err(vec![fault(
            1,
            "The list is empty; its first line must name the columns, as name,number.",
        )]);
    };
    let columns = columns(line, &header)?;
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    let mut keys = BTreeSet::new();
    for (line, record) in records {
        if record.len() != columns.len() {
            let sentence =
                format!("{} fields stand here, the first line names {}.", record.len(), columns.len());
            faults.push(fault(line, &sentence));
            continue;
        }
        let fields: BTreeMap<&str, &str> =
            columns.iter().map(String::as_str).zip(record.iter().map(String::as_str)).collect();
        match NewEntry::check(&fields, rules) {
            Err(sentences) => faults.extend(sentences.iter().map(|sentence| fault(line, sentence))),
            Ok(entry) if !keys.insert(entry.key.clone()) => {
                faults.push(fault(
                    line,
                    &format!("The key {} stands further up already; give this one its own.", entry.key),
                ));
            }
            Ok(entry) => entries.push(entry),
        }
    }
    if entries.is_empty() && faults.is_empty() {
        faults.push(fault(line, "The list names columns, but no recipient."));
    }
    if faults.is_empty() { Ok(entries) } else { Err(faults) }
}

fn columns(line: usize, header: &[String]) -> Result<Vec<String>, Vec<ImportFault>> {
    let columns: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for name in &columns {
        if !COLUMNS.contains(&name.as_str()) {
            faults.push(fault(
                line,
                &format!("The column \"{}\" is not known; there are {}.", shown(name), COLUMNS.join(", ")),
            ));
        } else if !seen.insert(name) {
            faults.push(fault(line, &format!("The column {name} stands twice.")));
        }
    }
    for needed in ["name", "number"] {
        if !columns.iter().any(|name| name == needed) {
            faults.push(fault(line, &format!("The column {needed} is missing.")));
        }
    }
    if faults.is_empty() { Ok(columns) } else { Err(faults) }
}

fn fault(line: usize, sentence: &str) -> ImportFault {
    ImportFault { line, sentence: sentence.to_owned() }
}

/// The records with the lines they begin in; empty lines are left out.
fn records(text: &str, separator: char) -> Result<Vec<(usize, Vec<String>)>, ImportFault> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut field = String::new();
    // Whether the field was quoted, and whether its quote is still open.
    let (mut quoted, mut open) = (false, false);
    let (mut line, mut began) = (1, 1);
    let mut characters = text.chars().peekable();
    loop {
        let c = characters.next();
        if c == Some('\n') || c == Some('\r') && characters.peek() != Some(&'\n') {
            line += 1;
        }
        match c {
            Some('"') if open && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            Some('"') if open => open = false,
            Some(c) if open => field.push(c),
            None if open => return Err(fault(began, "A quote is opened here and never closed.")),
            Some('"') if field.trim().is_empty() && !quoted => {
                field.clear();
                (quoted, open) = (true, true);
            }
            Some('"') => {
                return Err(fault(
                    line,
                    "A quote stands inside a field; put the field in quotes and double it.",
                ));
            }
            Some(c) if c == separator => {
                record.push(std::mem::take(&mut field));
                quoted = false;
            }
            Some('\r') if characters.peek() == Some(&'\n') => {}
            Some('\n' | '\r') | None => {
                if quoted || !record.is_empty() || !field.trim().is_empty() {
                    record.push(std::mem::take(&mut field));
                    records.push((began, std::mem::take(&mut record)));
                }
                field.clear();
                quoted = false;
                began = line;
                if c.is_none() {
                    return Ok(records);
                }
            }
            Some(c) if quoted && !c.is_whitespace() => {
                return Err(fault(
                    line,
                    "Text stands behind a closing quote; put the whole field in quotes.",
                ));
            }
            Some(_) if quoted => {}
            Some(c) => field.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn us() -> NumberRules {
        NumberRules::new("US", &[]).unwrap()
    }

    #[test]
    fn lists_are_read() {
        let list = "\u{feff}Name,number, key ,notes\r\n\
                    Mercy Radiology,+12125550199,,\r\n\
                    \r\n\
                    \"Smith, \"\"Jo\"\"\",(212) 555-0100,smith.jo,\"call first\"\r\n\
                    Dr. J\u{fc}rgen M\u{fc}ller\u{2019}s Praxis,212-555-0101,, \n";
        let entries = import(list, &us()).unwrap();
        let keys: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), entry.number.as_str())).collect();
        assert_eq!(
            keys,
            [
                ("mercy-radiology", "+12125550199"),
                ("smith.jo", "+12125550100"),
                ("dr-juergen-muellers-praxis", "+12125550101"),
            ]
        );
        assert_eq!(entries[1].name, "Smith, \"Jo\"");
        assert_eq!(entries[1].typed, "(212) 555-0100");
        assert_eq!((entries[1].notes.as_deref(), entries[0].notes.as_deref()), (Some("call first"), None));
        assert_eq!(import("number;name\r+12125550199;\"A;B\"", &us()).unwrap()[0].name, "A;B");
    }

    #[test]
    fn every_fault_has_its_line_and_nothing_is_taken() {
        for (list, expected) in [
            ("", vec!["line 1: The list is empty"]),
            ("name,number\n", vec!["line 1: The list names columns, but no recipient"]),
            (
                "name,fax\nA,+12125550199",
                vec!["line 1: The column \"fax\" is not known", "line 1: The column number is missing"],
            ),
            ("name,number,name\n", vec!["line 1: The column name stands twice"]),
            (
                "name,number,key\nA,+12125550199,ok\n,+1212555,B C\n\"x\ny\",911,d\nB,+12125550198,ok\nC,1\n",
                vec![
                    "line 3: The name is missing",
                    "line 3: \"B C\" cannot be a key",
                    "line 3: The fax number \"+1212555\" is too short",
                    "line 4: The name has line breaks",
                    "line 4: The fax number \"911\" is an emergency",
                    "line 6: The key ok stands further up",
                    "line 7: 2 fields stand here, the first line names 3",
                ],
            ),
            ("name,number\n\u{4e2d},+12125550199", vec!["line 2: No key can be made"]),
            (
                "name,number,quiet_hours\nA,+12125550199,at night",
                vec!["line 2: The quiet hours cannot be read"],
            ),
            ("name,number\n\nA\"B,+12125550199", vec!["line 3: A quote stands inside"]),
            ("name,number\n\"A\"B,+12125550199", vec!["line 2: Text stands behind a closing quote"]),
            ("name,number\n\"A,+12125550199\n\n", vec!["line 2: A quote is opened here"]),
            ("name,number\nA,", vec!["line 2: No fax number is given"]),
        ] {
            let faults = import(list, &us()).unwrap_err();
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (told, expected) in told.iter().zip(expected) {
                assert!(told.starts_with(expected), "{told}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "(\\PC|[\",;\r\n]){0,80}") {
            let _ = import(&list, &us());
            let _ = import(&format!("name,number\n{list}"), &us());
        }

        #[test]
        fn quoted_fields_come_back(fields in prop::collection::vec("[a\",;\r\n ]{0,6}", 1..4)) {
            let line = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            let read = records(&format!("{line}\r\n"), ',').unwrap();
            prop_assert_eq!(read.first().map(|(_, record)| record.clone()), Some(fields));
        }
    }
}
