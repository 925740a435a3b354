//! The README's steps, the unit and the examples, held against each other and against the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::daemon::PROGRAM;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(HERE).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every configuration that an office may start from.
fn examples() -> Vec<PathBuf> {
    let mut found = vec![Path::new(HERE).join("config/faxbridge.toml")];
    for folder in ["config/providers", "config/mail"] {
        let entries = std::fs::read_dir(Path::new(HERE).join(folder)).unwrap();
        found.extend(entries.map(|entry| entry.unwrap().path()));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// What stands behind `mark` in the lines of `text` that count, up to a quote.
fn behind(text: &str, mark: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let parts = lines.flat_map(|line| line.split(mark).skip(1).map(str::to_owned).collect::<Vec<_>>());
    parts.map(|part| part.split(['"', ' ']).next().unwrap_or_default().to_owned()).collect()
}

/// Names and files of the credentials that lines of a unit hand over.
fn loaded(unit: &str) -> Vec<(String, String)> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix("LoadCredential="));
    lines
        .map(|line| line.split_once(':').map(|(name, file)| (name.to_owned(), file.to_owned())).unwrap())
        .collect()
}

/// The commands in the README's section about a real office.
fn steps() -> String {
    let readme = text("README.md");
    let (_, section) = readme.split_once("## A real office").unwrap();
    section.split_once("### Mail").unwrap().0.to_owned()
}

fn run(arguments: &[&str]) -> String {
    let ran = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn every_secret_of_every_example_is_handed_over_by_the_steps() {
    let unit = loaded(&text("systemd/faxbridge.service"));
    for example in examples() {
        let (name, config) = (example.display(), std::fs::read_to_string(&example).unwrap());
        let mut wanted = behind(&config, "credential:");
        assert!(wanted.contains("master.key"), "{name}");
        wanted.extend(behind(&config, "/run/credentials/faxbridge.service/"));
        let printed = run(&["config", "credentials", "--config", example.to_str().unwrap()]);
        let handed: Vec<_> = unit.iter().cloned().chain(loaded(&printed)).collect();
        let names: BTreeSet<String> = handed.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, wanted, "{name}: the unit and its drop-in, and what the configuration names");
        assert_eq!(handed.len(), names.len(), "{name}: each once");
        for (credential, file) in handed {
            let told = [
                "tls.key:/etc/faxbridge/tls/privkey.pem".to_owned(),
                format!("{credential}:/etc/faxbridge/{credential}"),
            ];
            assert!(told.contains(&format!("{credential}:{file}")), "{name}: {file} is made by no step");
        }
        // What is no credential must be readable for a user that systemd makes up.
        assert!(behind(&config, "\"file:").is_empty(), "{name}: a file that only root can read");
    }
}

#[test]
fn the_steps_make_what_the_unit_wants_and_let_the_daemon_read_it() {
    let (steps, unit) = (steps(), text("systemd/faxbridge.service"));
    let handed = loaded(&unit);
    assert_eq!(handed, [("master.key".to_owned(), "/etc/faxbridge/master.key".to_owned())]);
    for made in [
        "install -m 755 target/release/faxbridge /usr/local/bin/",
        "install -m 644 systemd/faxbridge.service /etc/systemd/system/",
        "> /etc/faxbridge/master.key",
        "`/etc/faxbridge/tls/privkey.pem`",
        "faxbridge config credentials > /etc/systemd/system/faxbridge.service.d/credentials.conf",
        "systemctl enable --now faxbridge",
    ] {
        assert!(steps.contains(made), "no step says {made:?}");
    }
    // The unit's user is made up at each start: root's folder must let it in, or it cannot read its configuration.
    assert!(unit.contains("DynamicUser=yes"));
    assert!(steps.contains("install -d -m 755 /etc/faxbridge") && !steps.contains("-m 700 /etc/faxbridge"));
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        for path in
            line.split([' ', '\'']).filter(|word| word.starts_with("/usr/local") || word.starts_with("/etc"))
        {
            assert!(["/usr/local/bin/faxbridge", "/etc/faxbridge/faxbridge.toml"].contains(&path), "{line}");
        }
    }
}

#[test]
fn every_command_of_the_steps_exists() {
    let steps = steps();
    let mut commands = BTreeSet::new();
    for part in steps.split("faxbridge ").skip(1) {
        let words: Vec<&str> = part.split_whitespace().take(2).collect();
        let [first, second] = words[..] else { continue };
        let plain = |word: &str| word.chars().all(|c| c.is_ascii_lowercase());
        let first = first.trim_end_matches('`');
        if ["check", "preview"].contains(&first) {
            commands.insert(vec![first.to_owned()]);
        } else if ["recipient", "config", "job"].contains(&first)
            && plain(second.trim_end_matches(['`', ',']))
        {
            commands.insert(vec![first.to_owned(), second.trim_end_matches(['`', ',']).to_owned()]);
        }
    }
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        run(&arguments);
    }
}
