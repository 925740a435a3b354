//! The layers of this library, bottom up, and the test that holds them.
//!
//! A file names only modules of its own layer or of one below, and no modules name each other in a circle. Test modules
//! are free: they build what they need from anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every module of `lib.rs`. A new one finds its place here first.
const LAYERS: &[&[&str]] = &[
    // What knows nothing of faxes: sentences, time, the process, and how often a peer may do something.
    &["text", "clock", "crash", "process", "tally", "gate"],
    // Words and pure grammars; the types of their own sections of the configuration too.
    &["job", "addressing", "routing", "register"],
    &["config"],
    // One verdict over what those say; the store asks for it too, in the transaction that opens an Attempt.
    &["policy"],
    // What keeps: lines, keys and sealed values, bytes, rows.
    &["log", "vault", "spool", "store"],
    // What several wings share: persisted facts, decisions about Jobs, reply addresses, foreign folders, alarms (they have rows), sockets, tokens.
    &["sealed", "decide", "replies", "shared_folder", "alarm", "listener", "oauth"],
    // Pages.
    &["packet", "cover"],
    // The wings.
    &["intake", "prepare", "delivery", "receipt", "commands", "retention"],
    &["daemon"],
    // Stands beside delivery; up here so that only the command line (`main.rs`) and tests can name it.
    &["simulator"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// What is wrong in `files`, by path below `src` and text.
fn faults(files: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in files {
        let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        let module = parts[0];
        let Some(own) = layer(module) else {
            faults.push(format!("{path}: {module} has no layer"));
            continue;
        };
        if text.contains(&"super::".repeat(parts.len())) {
            faults.push(format!("{path}: leave a module by crate::, not by super::"));
        }
        for other in text.split("crate::").skip(1).flat_map(heads) {
            match layer(other) {
                _ if other == module => {}
                Some(above) if above > own => faults.push(format!("{path}: {other} lies above {module}")),
                Some(_) => _ = arrows.entry(module).or_default().insert(other),
                // A macro of the crate, or a word in a text.
                None => {}
            }
        }
    }
    // Whoever leads only to what is gone goes; what stays leads to a circle.
    while let Some(end) = arrows.iter().find(|(_, to)| to.iter().all(|to| !arrows.contains_key(to))) {
        let end = *end.0;
        arrows.remove(end);
    }
    faults.extend(
        arrows.iter().map(|(module, to)| format!("{module} is in a circle, or leads to one: {to:?}")),
    );
    faults
}

/// The modules that stand behind `crate::`: one, or those of a list in braces.
fn heads(path: &str) -> Vec<&str> {
    let head = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(list) = path.strip_prefix('{') else { return vec![&path[..head(path)]] };
    let (mut depth, mut heads, mut fresh) = (0, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && !c.is_whitespace() => {
                heads.push(&list[at..at + head(&list[at..])]);
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// The files below `dir`, without comments, test modules and what only the binary has.
fn read(root: &Path, dir: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let path = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let name = entry.file_stem().unwrap().to_str().unwrap();
        let is_test = ["tests", "testing", "fuzzing", "samples", "layers"].contains(&name);
        if is_test || path.starts_with("cli") || ["main.rs", "lib.rs"].contains(&path.as_str()) {
            continue;
        }
        if entry.is_dir() {
            read(root, &entry, files);
            continue;
        }
        if !path.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(&entry).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        files.push((path, lines.join("\n")));
    }
}

#[test]
fn no_file_names_a_module_above_it_and_none_name_each_other_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    read(&root, &root, &mut files);
    assert!(files.len() > 200, "only {} files were found", files.len());
    assert_eq!(faults(&files), [] as [String; 0]);
}

/// Each line of the map in `lib.rs` that begins with a file names a function in it; files in brackets are there too.
#[test]
fn the_map_names_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(root.join("lib.rs")).unwrap();
    let map = map.split("```").nth(1).unwrap();
    let mut found = 0;
    for line in map.lines() {
        let mut words = line
            .trim_start_matches("//!")
            .split_whitespace()
            .map(|word| word.trim_matches(|c| "(),.:".contains(c)));
        let text = |file: &str| {
            fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{line}: {file} is not there"))
        };
        if let Some(file) = words.next().filter(|word| word.ends_with(".rs")) {
            let name = words.next().unwrap();
            assert!(text(file).contains(&format!("fn {name}(")), "{line}: no fn {name}");
            found += 1;
        }
        words.filter(|word| word.ends_with(".rs")).for_each(|file| drop(text(file)));
    }
    assert!(found > 15, "only {found} lines");
}

#[test]
fn an_upward_arrow_a_circle_and_a_module_without_a_layer_are_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let good =
        [file("store/jobs.rs", "use super::x; use crate::{job::{self, Id}, spool};"), file("spool.rs", "")];
    assert_eq!(faults(&good), [] as [String; 0]);
    for (path, text, fault) in [
        ("store/jobs.rs", "use crate::{job, receipt::words};", "store/jobs.rs: receipt lies above store"),
        ("delivery.rs", "fn f() { crate::simulator::x() }", "delivery.rs: simulator lies above delivery"),
        (
            "store/jobs.rs",
            "use super::super::job;",
            "store/jobs.rs: leave a module by crate::, not by super::",
        ),
        ("utils.rs", "", "utils.rs: utils has no layer"),
    ] {
        assert_eq!(faults(&[file(path, text)]), [fault]);
    }
    let circle = [file("intake.rs", "use crate::receipt;"), file("receipt/a.rs", "use crate::intake::b;")];
    assert_eq!(faults(&circle).len(), 2);
}
