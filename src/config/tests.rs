//! Every file in `config/` loads, the sample holds every key at its true default, and a file full of faults reports them all.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What the demo puts in place of its placeholders.
fn demo() -> String {
    let key = SAMPLE.lines().find_map(|line| line.split_once("[\"ssh-ed25519 ")).unwrap().1;
    DEMO.replace("DEMO_DIR", "/tmp/demo")
        .replace("DEMO_KEY", &format!("ssh-ed25519 {}", key.trim_end_matches("\"]")))
        .replace("DEMO_PROVIDER", "http://127.0.0.1:1234")
        .replace("DEMO_RELAY", "127.0.0.1:2525")
}

fn good(text: &str) -> Loaded {
    parse(text, "x.toml").unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults of a file, without its name.
fn faults(text: &str) -> Vec<String> {
    let faults = parse(text, "x.toml").expect_err("has faults");
    faults.faults.iter().map(|fault| fault.to_string().replacen("x.toml:", "", 1)).collect()
}

/// The sample with all the keys that it shows commented out.
fn uncommented() -> String {
    let lines = SAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
        _ => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_file_in_config_loads_without_faults_or_warnings_that_are_not_meant() {
    for entry in std::fs::read_dir("config").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (loaded, warnings): (Loaded, &[&str]) = match name.as_str() {
            "faxbridge.toml" => (load(&path).unwrap_or_else(|faults| panic!("{faults}")), &[]),
            "demo.toml" => (good(&demo()), &["policy.hurry"]),
            other => panic!("config/{other} is in no test"),
        };
        let keys: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, warnings, "{name}: {:?}", loaded.warnings);
    }
}

#[test]
fn what_the_sample_shows_behind_a_number_sign_are_the_defaults() {
    let (shown, left_out) = (good(&uncommented()), good(SAMPLE));
    assert_ne!(shown.text, left_out.text);
    assert_eq!(format!("{:#?}", shown.config), format!("{:#?}", left_out.config));
}

/// The keys of each section, out of its own mouth: an unknown key is answered with all that are allowed.
#[test]
fn the_sample_has_every_key_of_every_section() {
    let sections = [
        "organization", "store", "retention", "limits", "smtp", "sftp", "folder.scans", "sender", "rule", "policy", "cover",
        "provider.main", "webhook", "receipt", "telemetry",
    ];
    let allowed = |text: &str, key: &str| -> BTreeSet<String> {
        let faults = parse(text, "x").unwrap_err();
        let fault = faults.faults.iter().find(|fault| fault.key.ends_with(key)).unwrap_or_else(|| panic!("{faults}"));
        let list = fault.sentence.strip_prefix("unknown key; allowed here: ").unwrap();
        list.split(';').next().unwrap().split(", ").map(str::to_owned).collect()
    };
    let known: BTreeSet<String> = sections.iter().map(|s| s.split('.').next().unwrap().to_owned()).collect();
    assert_eq!(allowed(&format!("no_such_section = 1\n{SAMPLE}"), "no_such_section"), known);

    let table: toml::Table = uncommented().parse().unwrap();
    for section in sections {
        let header = if matches!(section, "sender" | "rule") { format!("[[{section}]]") } else { format!("[{section}]") };
        let broken = SAMPLE.replacen(&header, &format!("{header}\nno_such_key = 1"), 1);
        let keys = allowed(&broken, "no_such_key");
        let mut value = &toml::Value::Table(table.clone());
        for part in section.split('.') {
            value = &value[part];
        }
        let shown: BTreeSet<String> = match value {
            toml::Value::Array(list) => list.iter().flat_map(|one| one.as_table().unwrap().keys().cloned()).collect(),
            one => one.as_table().unwrap().keys().cloned().collect(),
        };
        assert_eq!(shown, keys, "{section}");
    }
}

/// Enough of a file for [`faults`] to be about one line.
const LEAST: &str = r#"
[organization]
name = "Clinic"
country = "US"
time_zone = "America/New_York"
[store]
data_dir = "/var/lib/faxbridge"
master_key = "file:/k"
"#;

#[test]
fn the_least_that_loads_warns_that_it_does_nothing() {
    let warnings = good(LEAST).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert_eq!(
        warnings,
        "x.toml: no [smtp], [sftp] or [folder.NAME]: documents only come in by `faxbridge send`\n\
         x.toml: no [[rule]]: every submission is answered with \"no rule takes this\"\n\
         x.toml: no [provider.NAME]: nothing can be faxed"
    );
}

#[test]
fn all_faults_of_a_file_at_once_with_their_lines() {
    let text = r#"[organization]
name = "Clinic"
country = "USA"
time_zone = "New York"

[store]
data_dir = "/var/lib/faxbridge"
master_key = "hunter2"

[retention]
documents = "2 h"

[smtp]
lisen = ["127.0.0.1:25"]
listen = [25]
hostname = "fax.example.com"
idle = 5

[[sender]]
name = "desk"
addresses = ["jane@example.com"]
networks = ["10.0.0.0/8", "10.1.2.3/8"]

[[sender]]
name = "desk"
addresses = ["joe"]

[[rule]]
name = "all"
to = "{number}@fax.example.com"

[[rule]]
name = "none"
to = "{numer}@fax.example.com"
require_sender = ["desks"]
reference = "{account}"
colour = "red"

[provider.main]
kind = "pigeon"
url = "ftp://x"

[receipt]
relay = "mail.example.com"
from = "Fax <fax@example.com>"
"#;
    let expected = [
        r#"3: organization.country: found "USA"; allowed: the two capital letters of a country (ISO 3166), as "US", "DE""#,
        r#"4: organization.time_zone: found "New York"; allowed: a zone of the IANA database, as "America/New_York"; did you mean "America/New_York"?"#,
        r#"8: store.master_key: secrets never stand in this file, only where they are: "file:/path", "credential:name" (systemd) or "env:NAME""#,
        r#"11: retention.documents: found 2 h; allowed: at most 30 min, since documents are promised to be gone by then"#,
        r#"14: smtp.lisen: unknown key; allowed here: listen, hostname, tls_certificate, tls_key, max_recipients, max_sessions, max_sessions_per_address, idle, session_time; did you mean listen?"#,
        r#"15: smtp.listen[1]: found something else than an address with a port; allowed: "127.0.0.1:2525", "[::1]:2525" (a number, not a name; port 0 lets the system choose)"#,
        r#"17: smtp.idle: found integer 5; allowed: a length of time with its unit, as "90 s", "30 min", "24 h" or "7 days""#,
        r#"22: sender[1].networks[2]: found "10.1.2.3/8", which is no network; allowed: 10.0.0.0/8 or 10.1.2.3"#,
        r#"25: sender[2].name: found "desk" a second time; allowed: once, each sender its own name"#,
        r#"26: sender[2].addresses[1]: found "joe"; allowed: an address, as "jane@example.com", or a domain, as "@example.com""#,
        r#"26: sender[2].addresses: nothing proves that mail from these addresses is this sender's, so none would be taken; add networks (where it may come from) or login and password"#,
        r#"32: rule[2]: the rule has no target; allowed: recipient or number, or {recipient} or {number} in to, subject or file"#,
        r#"35: rule[2].require_sender[1]: found "desks", which no [[sender]] is called; allowed: "desk"; did you mean "desk"?"#,
        r#"36: rule[2].reference: found {account}, which this rule does not capture; allowed: {numer}"#,
        r#"37: rule[2].colour: unknown key; allowed here: name, source, to, subject, file, require_sender, recipient, number, reference, identifier, identifier_label, body_on_cover, subject_on_cover, pages, provider"#,
        r#"39: provider.main.token: the key is missing and has no default; `faxbridge config sample` shows what it means"#,
        r#"40: provider.main.kind: found "pigeon"; allowed: simulator"#,
        r#"41: provider.main.url: found "ftp://x"; allowed: an https:// or http:// URL with a host, as "https://fax.example.com/api""#,
        r#"44: receipt.relay: found "mail.example.com"; allowed: host:port, as "mail.example.com:587" or "127.0.0.1:25""#,
        r#"45: receipt.from: found "Fax <fax@example.com>"; allowed: a mail address, as "jane@example.com", without a name"#,
    ];
    assert_eq!(faults(text).join("\n"), expected.join("\n"));
    assert!(!parse(text, "x").unwrap_err().to_string().contains("hunter2"));
}
