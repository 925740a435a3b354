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
    let entries =
        ["config", "config/providers", "config/mail"].map(|folder| std::fs::read_dir(folder).unwrap());
    for entry in entries.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (loaded, warnings): (Loaded, &[&str]) = match name.as_str() {
            "faxbridge.toml" => (load(&path).unwrap_or_else(|faults| panic!("{faults}")), &[]),
            "demo.toml" => (good(&demo()), &["policy.hurry"]),
            _ if path.starts_with("config/providers") => {
                let loaded = load(&path).unwrap_or_else(|faults| panic!("{faults}"));
                let kind = loaded.config.provider.values().map(|section| section.facts().word);
                assert_eq!(kind.collect::<Vec<_>>(), [name.trim_end_matches(".toml")]);
                (loaded, &[])
            }
            _ if path.starts_with("config/mail") => {
                (load(&path).unwrap_or_else(|faults| panic!("{faults}")), &[])
            }
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

const KINDS: [&str; 9] =
    ["simulator", "sinch", "telnyx", "phaxio", "interfax", "faxplus", "srfax", "signalwire", "hylafax"];

/// The keys of each section, out of its own mouth: an unknown key is answered with all that are allowed.
#[test]
fn the_sample_has_every_key_of_every_section() {
    let sections = [
        "organization",
        "store",
        "retention",
        "limits",
        "dns",
        "smtp",
        "imap.records",
        "oauth.microsoft",
        "sftp",
        "folder.scans",
        "sender",
        "rule",
        "policy",
        "cover",
        "provider.main",
        "webhook",
        "media",
        "receipt",
        "alarm",
        "telemetry",
    ];
    let allowed = |text: &str, key: &str| -> BTreeSet<String> {
        let faults = parse(text, "x").unwrap_err();
        let fault =
            faults.faults.iter().find(|fault| fault.key.ends_with(key)).unwrap_or_else(|| panic!("{faults}"));
        let list = fault.sentence.strip_prefix("unknown key; allowed here: ");
        let list =
            list.or_else(|| fault.sentence.split_once("; that kind has: ").map(|(_, list)| list)).unwrap();
        list.split(';').next().unwrap().split(", ").map(str::to_owned).collect()
    };
    let known: BTreeSet<String> = sections.iter().map(|s| s.split('.').next().unwrap().to_owned()).collect();
    assert_eq!(allowed(&format!("no_such_section = 1\n{SAMPLE}"), "no_such_section"), known);

    let mut table: toml::Table = uncommented().parse().unwrap();
    // Each kind of provider, mailbox and token source has keys of its own: together the sample's show all.
    for (list, first) in [("provider", "main"), ("imap", "records"), ("oauth", "microsoft")] {
        let sections = table[list].as_table_mut().unwrap();
        let all: toml::Table = sections.values().flat_map(|one| one.as_table().unwrap().clone()).collect();
        sections.insert(first.to_owned(), toml::Value::Table(all));
    }
    // It stands in the place of the password, and so in a comment.
    assert!(SAMPLE.contains("\n#   oauth = \"microsoft\"\n"));
    table["receipt"].as_table_mut().unwrap().insert("oauth".into(), "microsoft".into());
    for section in sections {
        let header = if matches!(section, "sender" | "rule") {
            format!("\n[[{section}]]\n")
        } else {
            format!("\n[{section}]\n")
        };
        let broken = SAMPLE.replacen(&header, &format!("{header}no_such_key = 1\n"), 1);
        let mut keys = allowed(&broken, "no_such_key");
        if section == "provider.main" {
            keys.insert("kind".to_owned());
            keys.extend(KINDS.iter().flat_map(|kind| {
                allowed(&format!("[provider.a]\nkind = \"{kind}\"\nno_such_key = 1"), "no_such_key")
            }));
        }
        let mut value = &toml::Value::Table(table.clone());
        for part in section.split('.') {
            value = &value[part];
        }
        let shown: BTreeSet<String> = match value {
            toml::Value::Array(list) => {
                list.iter().flat_map(|one| one.as_table().unwrap().keys().cloned()).collect()
            }
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
        "x.toml: no [smtp], [imap.NAME], [sftp] or [folder.NAME]: documents only come in by `faxbridge send`\n\
         x.toml: no [[rule]]: no submission can be routed, and every one is refused\n\
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
        r#"14: smtp.lisen: unknown key; allowed here: listen, listen_tls, listen_lmtp, hostname, tls_certificate, tls_key, client_authorities, require_tls, without_tls_from, proxy_from, upstream_from, upstream_id, mails_per_minute, failed_logins, failed_login_window, tarpit, max_recipients, max_sessions, max_sessions_per_address, max_sessions_per_relay, unproven_time, idle, session_time; did you mean listen?"#,
        r#"15: smtp.listen[1]: found something else than an address with a port; allowed: "127.0.0.1:2525", "[::1]:2525" (a number, not a name; port 0 lets the system choose)"#,
        r#"17: smtp.idle: found integer 5; allowed: a length of time with its unit, as "90 s", "30 min", "24 h" or "7 days""#,
        r#"22: sender[1].networks[2]: found "10.1.2.3/8", which is no network; allowed: 10.0.0.0/8 or 10.1.2.3"#,
        r#"25: sender[2].name: found "desk" a second time; allowed: once, each sender its own name"#,
        r#"26: sender[2].addresses[1]: found "joe"; allowed: an address, as "jane@example.com", or a domain, as "@example.com""#,
        r#"26: sender[2].addresses: nothing proves that mail from these addresses is this sender's, so none would be taken; add networks (where it may come from), login and password, or proof = ["dmarc"]"#,
        r#"32: rule[2].recipient: is missing: the rule must capture {recipient} or {number}, or say recipient = or number ="#,
        r#"35: rule[2].require_sender[1]: found "desks", which no [[sender]] is called; allowed: "desk"; did you mean "desk"?"#,
        r#"36: rule[2].reference: uses {account}, which no pattern of this rule captures"#,
        r#"37: rule[2].colour: unknown key; allowed here: name, source, to, subject, file, require_sender, recipient, number, reference, keep_reference, identifier, identifier_label, body_on_cover, body_as_pages, cover_may_be_left_out, subject_on_cover, pages, providers"#,
        r#"40: provider.main.kind: found "pigeon"; allowed: simulator, sinch, telnyx, phaxio, interfax, faxplus, srfax, signalwire, hylafax"#,
        r#"41: provider.main.url: found "ftp://x"; allowed: an https:// or http:// URL with a host, as "https://fax.example.com/api""#,
        r#"44: receipt.relay: found "mail.example.com"; allowed: host:port, as "mail.example.com:587" or "127.0.0.1:25""#,
        r#"45: receipt.from: found "Fax <fax@example.com>"; allowed: a mail address, as "jane@example.com", without a name"#,
    ];
    assert_eq!(faults(text).join("\n"), expected.join("\n"));
    assert!(!parse(text, "x").unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn what_is_not_toml_is_said_first_with_every_line() {
    let found = faults("[organization]\nname = Clinic\n\n[store\ndata_dir = \"/x\"\n[store]\n");
    assert!(found.iter().all(|fault| fault.contains("not TOML")), "{found:?}");
    assert!(found[0].starts_with("2: "), "{found:?}");
    assert!(found.iter().any(|fault| fault.starts_with("4: ")), "{found:?}");
}

#[test]
fn single_faults_with_their_lines() {
    // Added to the least that loads, which has 8 lines.
    for (added, expected) in [
        (
            "[sender]\nname = \"x\"",
            "9: sender: found [sender]; allowed: [[sender]], with two brackets, once for each sender",
        ),
        ("[[smtp]]\nlisten = []", "9: smtp: found a list or [[smtp]]; allowed: one section [smtp]"),
        (
            "[[folder]]\npath = \"/x\"",
            "9: folder: found a list or [[folder]]; allowed: sections [folder.NAME]",
        ),
        (
            "[provider]\nurl = \"http://x\"",
            "10: provider.url: found a key outside of a provider; allowed: sections [provider.NAME], each with its keys",
        ),
        (
            "[sftp]\nlisten = []",
            "10: sftp.listen: found an empty list; allowed: at least one address, as [\"127.0.0.1:2525\"]; leave [sftp] out to listen nowhere",
        ),
        (
            "[sftp]",
            "9: sftp.listen: the key is missing and has no default; `faxbridge config sample` shows what it means",
        ),
        ("[policy]\ncalls = 0", "10: policy.calls: found 0; allowed: 1 or more"),
        ("[policy]\nhurry = 0", "10: policy.hurry: found 0; allowed: 1 or more"),
        ("[policy]\ncalls = -1", "10: policy.calls: found integer -1; allowed: a whole number, 0 or more"),
        (
            "[policy]\ncalls = \"15\"",
            "10: policy.calls: found string \"15\"; allowed: a whole number, 0 or more",
        ),
        (
            "[policy]\ncountries = [\"US\", \"ZZ\"]",
            "10: policy.countries[2]: found \"ZZ\"; allowed: the two capital letters of a country (ISO 3166), as \"US\", \"DE\"",
        ),
        (
            "[policy]\ntwo_person = \"yes\"",
            "10: policy.two_person: found string \"yes\"; allowed: true or false",
        ),
        ("[limits]\n\npages = 0", "11: limits.pages: found 0; allowed: 1 or more"),
        (
            "[limits]\nsubmission = \"50 megs\"",
            "10: limits.submission: found \"50 megs\"; allowed: a size, as \"25 MB\", \"512 KiB\", \"1 GiB\" or a plain number of bytes",
        ),
        ("[cover]\npaper = \"A4\"", "10: cover.paper: found \"A4\"; allowed: letter, a4; did you mean a4?"),
        ("[telemetry]\nlog = \"a=b=c\"", "10: telemetry.log: found \"a=b=c\"; allowed: error, warn"),
        (
            "[receipt]\nrelay = \"a.example:25\"\nfrom = \"fax@a.example\"\n[alarm]\nmail_to = [\"nobody\"]",
            "13: alarm.mail_to[1]: found \"nobody\"; allowed: a mail address",
        ),
        ("[alarm]\nmail_to = [\"a@b.example\"]", "10: alarm.mail_to: needs [receipt]"),
        ("[telemetry]\nlog = \"inof\"", "10: telemetry.log: found \"inof\"; allowed: error, warn"),
        (
            "[telemetry]\nlog = \"info,faxbridge=debgu\"",
            "10: telemetry.log: found \"info,faxbridge=debgu\"; allowed: error, warn",
        ),
        ("[telemetry]\nlog = \"\"", "10: telemetry.log: found \"\"; allowed: error, warn"),
        (
            "[[sender]]\nname = \"a\"\nlogin = \"a\"\naddresses = [\"a@b.c\"]\n[receipt]\nrelay=\"m:25\"\nfrom=\"f@x\"",
            "11: sender[1].login: stands alone; allowed: together with password, or neither",
        ),
        (
            "[[sender]]\nname = \"a\"\nreceipts_to = \"a@b.c\"",
            "11: sender[1].receipts_to: receipts cannot be mailed: the section [receipt] is missing; add it, with relay and from",
        ),
        ("[[sender]]\nname = \"a\"\nsftp_user = \"a\"", "11: sender[1].sftp_user: has no key to log in with"),
        (
            "[[sender]]\nname = \"a\"\nsftp_user = \"a\"\nsftp_keys = [\n  \"ssh-ed25519 AAAA\",\n]",
            "13: sender[1].sftp_keys[1]: found something else than a public key",
        ),
        (
            "[folder.in]\npath = \"/in\"\nsender = \"a\"",
            "11: folder.in.sender: found \"a\", but there is no [[sender]]; add the sender",
        ),
        (
            "[[rule]]\nname = \"a\"\nrecipient = \"k\"\nproviders = [\"m\"]",
            "12: rule[1].providers[1]: found \"m\", but there is no [provider.NAME]; add the provider",
        ),
        (
            "[[rule]]\nname = \"a\"\nrecipient = \"k\"\nsource = \"sftp:b\"",
            "12: rule[1].source: found \"b\", but there is no sftp_user of a [[sender]]",
        ),
        ("[[rule]]\nname = \"a\"\nto = \"{number@fax.example.com\"", "11: rule[1].to: "),
        (
            "[[rule]]\nname = \"a\"\nrecipient = \"k\"\nnumber = \"+1\"",
            "12: rule[1].number: stands beside recipient",
        ),
        (
            "[smtp]\nlisten = [\"[::]:25\"]\nhostname = \"x\"\ntls_key = \"/k\"",
            "12: smtp.tls_key: stands alone; allowed: together with tls_certificate, or neither",
        ),
        (
            "[smtp]\nlisten = [\"[::]:25\"]\nhostname = \"x\"\n[sftp]\nlisten = [\"[::]:25\"]",
            "13: sftp.listen[1]: found [::]:25, which is taken by smtp.listen[1]; allowed: another address or port",
        ),
        ("organisation = 1", "9: store.organisation: unknown key; allowed here: data_dir, master_key, node"),
        ("[organisation]\nname = \"x\"", "9: organisation: unknown key; allowed here: organization, "),
        (
            "[retention]\nrecords = \"3 days\"",
            "10: retention.records: found 3 days; allowed: at least retention.results (7 days), for which these rows are needed",
        ),
        (
            "[retention]\nproofs = \"1 day\"",
            "10: retention.proofs: found 1 day; allowed: at least retention.records (400 days), so that no job outlives its proof",
        ),
        ("[retention]\nresults = \"0 s\"", "10: retention.results: found \"0 s\"; allowed: more than zero"),
        (
            "[webhook]\nlisten = \"[::1]:1\"\npublic_url = \"fax.example.com\"",
            "11: webhook.public_url: found \"fax.example.com\"; allowed: an https:// or http:// URL",
        ),
        (
            "[webhook]\nlisten = \"[::1]:1\"\npublic_url = \"https://fax.example.com/?a=b\"",
            "11: webhook.public_url: found \"https://fax.example.com/?a=b\"; allowed: a URL without ? and #",
        ),
        (
            "[webhook]\nlisten = \"[::1]:1\"\ntls_key = \"/k\"",
            "11: webhook.tls_key: stands alone; allowed: together with tls_certificate, or neither",
        ),
        (
            "[media]\nlisten = \"[::1]:1\"",
            "9: media.public_url: the key is missing and has no default; `faxbridge config sample` shows what it means",
        ),
        (
            "[media]\nlisten = \"[::1]:1\"\npublic_url = \"http://fax.example.com\"",
            "11: media.public_url: found \"http://fax.example.com\"; allowed: an https:// URL, since documents travel that way",
        ),
        (
            "[media]\nlisten = \"[::1]:1\"\npublic_url = \"http://[::1]:1\"\ntls_certificate = \"/c\"",
            "12: media.tls_certificate: stands alone; allowed: together with tls_key, or neither",
        ),
        (
            "[media]\nlisten = \"[::1]:1\"\npublic_url = \"https://x\"\nvalid_for = \"30 s\"",
            "12: media.valid_for: found 30 s; allowed: 1 min to 24 h",
        ),
        (
            "[webhook]\nlisten = \"[::1]:1\"\n[media]\nlisten = \"[::1]:1\"\npublic_url = \"https://x\"",
            "12: media.listen: found [::1]:1, which is taken by webhook.listen; allowed: another address or port",
        ),
        (
            "[provider.a]\nkind = \"faxplus\"\ntoken = \"env:T\"\nfrom = \"+12125550101\"",
            "10: provider.a.kind: kind = \"faxplus\" prints no header line, so the cover has to carry what the law wants",
        ),
        (
            "[provider.a]\nkind = \"sinch\"\naccount = \"p\"\nlogin = \"k\"\npassword = \"env:P\"\ntoken = \"env:T\"",
            "14: provider.a.token: has no meaning for kind = \"sinch\"; that kind has: account, login, password, from",
        ),
        (
            "[provider.a]\nkind = \"phaxio\"\nlogin = \"l\"\npassword = \"env:P\"\ntimeuot = \"1 s\"",
            "13: provider.a.timeuot: has no meaning for kind = \"phaxio\"; that kind has: login, password, webhook_key, from, url, timeout, \
             concurrency, per_minute, absent, quiet; did you mean timeout?",
        ),
        (
            "[provider.a]\nkind = \"phaxio\"\nlogin = 5\npassword = \"env:P\"",
            "11: provider.a.login: found integer 5; allowed: a text in quotes",
        ),
        (
            "[provider.a]\nkind = \"phaxio\"\nlogin = \"l\"\npassword = \"hunter2\"",
            "12: provider.a.password: secrets never stand in this file",
        ),
        (
            "[provider.a]\nkind = \"phaxio\"\nlogin = \"l\"\npassword = \"env:P\"\ntimeout = 60",
            "13: provider.a.timeout: found integer 60; allowed: a length of time with its unit",
        ),
        (
            "[provider.a]\nkind = \"phaxio\"\nlogin = \"l\"",
            "9: provider.a.password: is missing; kind = \"phaxio\" needs it",
        ),
        (
            "[provider.a]\nkind = \"srfax\"\naccount = \"1\"\npassword = \"env:P\"\nmail = \"a@example.com\"",
            "9: provider.a.from: is missing; kind = \"srfax\" needs it, here or as organization.fax",
        ),
        (
            "[provider.a]\nkind = \"pigeon\"\naccount = \"1\"",
            "10: provider.a.kind: found \"pigeon\"; allowed: simulator, sinch",
        ),
        ("[provider.a]\naccount = \"1\"", "9: provider.a.kind: the key is missing and has no default"),
        ("[provider.a]\nkind = 5", "10: provider.a.kind: found "),
        (
            "[provider.a]\nkind = \"hylafax\"\nurl = \"https://fax.example.com\"\nlogin = \"l\"",
            "11: provider.a.url: found \"https://fax.example.com\"; allowed: \"hylafax://host:4559\"",
        ),
    ] {
        let found = faults(&format!("{}{added}\n", LEAST.trim_start_matches('\n').to_owned() + "\n"));
        assert_eq!(found.len(), 1, "{added}\n{}", found.join("\n"));
        assert!(found[0].starts_with(expected), "{added}\n found    {}\n expected {expected}", found[0]);
    }
}

#[test]
fn a_provider_that_fetches_needs_a_place_to_fetch_from() {
    let office = LEAST.trim_start().replace("country", "phone = \"+1 212 555 0100\"\ncountry");
    let found = faults(&format!(
        "{office}[provider.a]\nkind = \"telnyx\"\naccount = \"1\"\ntoken = \"env:T\"\nfrom = \"+12125550101\"\n"
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "10: provider.a.kind: kind = \"telnyx\" takes no upload, it fetches documents from us; add the section [media]";
    assert!(found[0].starts_with(expected), "{}", found[0]);
}

#[test]
fn a_cover_that_the_law_wants_cannot_be_left_out() {
    let office = LEAST.replace("country", "phone = \"+1 212 555 0100\"\ncountry");
    let rule =
        "[[rule]]\nname = \"a\"\nrecipient = \"k\"\nproviders = [\"a\"]\ncover_may_be_left_out = true\n";
    let silent = "[provider.a]\nkind = \"faxplus\"\ntoken = \"env:T\"\nfrom = \"+12125550101\"\n";
    let prints = "[provider.a]\nkind = \"phaxio\"\nlogin = \"l\"\npassword = \"env:T\"\n";
    for (provider, expected) in [(silent, true), (prints, false)] {
        let warnings = good(&format!("{office}{provider}{rule}")).warnings;
        let found = warnings.iter().any(|warning| {
            warning.key == "rule[1].cover_may_be_left_out"
                && warning.sentence.starts_with("has no use: provider \"a\" prints no header line")
        });
        assert_eq!(found, expected, "{provider}\n{warnings:#?}");
    }
}

#[test]
fn what_works_but_is_hardly_meant_is_a_warning() {
    let mail = "[smtp]\nlisten = [\"127.0.0.1:25\"]\nhostname = \"x\"\n[receipt]\nrelay = \"127.0.0.1:25\"\nfrom = \"f@x\"";
    let sender = "[[sender]]\nname = \"a\"\naddresses = [\"a@b\"]";
    for (added, key, expected) in [
        (format!("{mail}\n{sender}\nlogin = \"a\"\npassword = \"env:P\""), "sender[1].login", "has no use yet: passwords are only taken over TLS"),
        (format!("{mail}\n{sender}\nnetworks = [\"0.0.0.0/0\"]"), "sender[1].networks[1]", "found \"0.0.0.0/0\": mail from everywhere"),
        (format!("{mail}\n{sender}\nnetworks = [\"::1\"]").replace("relay = \"127.0.0.1", "tls = \"none\"\nrelay = \"192.0.2.1"), "receipt.tls", "found none with a relay on another machine"),
        ("[[sender]]\nname = \"a\"".to_owned(), "sender[1]", "has no addresses, no sftp_user and no folder"),
        ("[provider.a]\nkind = \"simulator\"\nurl = \"http://192.0.2.1\"\ntoken = \"env:T\"".to_owned(), "provider.a.url", "found http to another machine"),
        ("[provider.a]\nkind = \"simulator\"\nurl = \"https://x\"\ntoken = \"env:T\"\n[webhook]\nlisten = \"[::1]:0\"".to_owned(), "provider.a", "has no webhook_key"),
        ("[webhook]\nlisten = \"[::1]:1\"\npublic_url = \"http://fax.example.com\"".to_owned(), "webhook.public_url", "found http from another machine"),
        ("[[rule]]\nname = \"a\"\nrecipient = \"k\"\n[[rule]]\nname = \"b\"\nto = \"{number}@x\"".to_owned(), "rule[2].name", "can never match: \"a\" stands before it"),
        (format!("{mail}\n{sender}\nnetworks = [\"::1\"]\n[[rule]]\nname = \"a\"\nsubject = \"{{x}} [Ref: {{r}}]\"\nrecipient = \"k\""), "rule[1].subject", "never sees [Ref: {r}]"),
        ("[policy]\nhurry = 2".to_owned(), "policy.hurry", "found 2: busy numbers are called again"),
        ("[limits]\nsubmission = \"900 MiB\"".to_owned(), "limits.worker_memory", "found 1 GiB, less than twice"),
    ] {
        let warnings = good(&format!("{LEAST}{added}\n")).warnings;
        let found = warnings.iter().any(|warning| warning.key == key && warning.sentence.starts_with(expected));
        assert!(found, "{added}\n{warnings:#?}");
    }
}

#[test]
fn missing_sections_are_named_and_their_keys_are_not() {
    assert_eq!(
        faults(""),
        [
            " organization: the section [organization] is missing; `faxbridge config sample` shows it",
            " store: the section [store] is missing; `faxbridge config sample` shows it",
        ]
    );
}

#[test]
fn files_that_cannot_be_read_are_faults_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.toml");
    let says = |path: &Path| load(path).unwrap_err().to_string();
    assert!(says(&path).contains("none.toml: there is no such file; `faxbridge config sample`"));
    std::fs::write(&path, b"# caf\xe9\n").unwrap();
    assert!(says(&path).contains("none.toml:1: found bytes that are not UTF-8"));
    assert!(says(dir.path()).contains("cannot be read"));
}

#[test]
fn secrets_are_looked_for_with_the_line_of_their_key() {
    let loaded = good(SAMPLE);
    let keys: Vec<String> = loaded.config.secrets().into_iter().map(|(key, _)| key).collect();
    let all = [
        "store.master_key",
        "sender[2].password",
        "provider.main.token",
        "provider.main.webhook_key",
        "provider.second.password",
        "provider.third.password",
        "imap.scanner.password",
        "oauth.google.client_secret",
        "oauth.google.refresh_token",
        "oauth.microsoft.client_secret",
        "receipt.dkim_key",
        "receipt.password",
    ];
    assert_eq!(keys, all);
    let (faults, _) = loaded.secrets();
    assert_eq!(faults.len(), all.len());
    for fault in faults {
        let line = SAMPLE.lines().nth(fault.line.unwrap() - 1).unwrap();
        let key = fault.key.rsplit('.').next().unwrap();
        assert!(line.starts_with(&format!("{key} = ")), "{fault} is not about {line}");
    }
    assert_eq!(
        loaded.fault("smtp.tls_key", "x").line,
        Some(1 + SAMPLE.lines().position(|l| l.starts_with("tls_key")).unwrap())
    );
    assert_eq!(loaded.fault("nowhere.at[all", "x").line, None);
}

#[test]
fn every_credential_of_the_sample_is_handed_over() {
    let config = good(SAMPLE).config;
    let handed: Vec<String> = config.credentials().into_iter().map(|handed| handed.name).collect();
    for (key, secret) in config.secrets() {
        let secret::SecretRef::Credential(name) = secret else {
            panic!("{key} of the sample is no credential")
        };
        // `faxbridge config credentials` prints a line for each but the one that stands in the unit itself.
        assert!(handed.contains(name), "{name}");
    }
    let unit = include_str!("../../systemd/faxbridge.service");
    let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("LoadCredential=")).collect();
    assert_eq!(lines, ["LoadCredential=master.key:/etc/faxbridge/master.key"], "the one that all have");
}

/// Lines that are nearly right, in any order: what people and editors make of a file.
fn nearly_right() -> impl Strategy<Value = String> {
    let lines: Vec<String> = uncommented().lines().map(str::to_owned).collect();
    let broken = prop_oneof![
        4 => proptest::sample::select(lines.clone()),
        1 => (proptest::sample::select(lines), ".{0,12}", any::<proptest::sample::Index>()).prop_map(|(line, more, at)| {
            let at = at.index(line.len() + 1);
            let at = (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            format!("{}{more}{}", &line[..at], &line[at..])
        }),
        1 => "[a-z_]{1,8} = (true|1|-1|\\[\\]|\\{\\}|\"x\"|2026-01-01)",
    ];
    proptest::collection::vec(broken, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,200}") {
        drop(parse(&text, "x"));
    }

    #[test]
    fn nothing_nearly_right_is_too_odd(text in nearly_right()) {
        drop(parse(&text, "x"));
    }

    #[test]
    fn a_value_of_any_kind_anywhere_is_reported_on_its_line(
        at in any::<proptest::sample::Index>(),
        value in prop_oneof![Just("true"), Just("-7"), Just("[]"), Just("{}"), Just("{ a = 1 }"), Just("[[1]]"), Just("1.5"), Just("1979-05-27"), Just("\"\"")],
    ) {
        let text = uncommented();
        let keys: Vec<usize> =
            text.lines().enumerate().filter(|(_, l)| l.starts_with(|c: char| c.is_ascii_lowercase())).map(|(i, _)| i).collect();
        let line = keys[at.index(keys.len())];
        let broken: Vec<String> = text.lines().enumerate().map(|(i, l)| {
            if i == line { format!("{} = {value}", l.split(" = ").next().unwrap()) } else { l.to_owned() }
        }).collect();
        // A value may be right by chance, or a name that others then miss; else its own line is reported.
        if let Err(faults) = parse(&broken.join("\n"), "x") {
            let named = ["name", "path", "sftp_user", "addresses", "login", "password", "networks", "sftp_keys", "to", "file", "subject", "provider", "flow", "oauth", "authserv_id", "sender", "certificates", "tls_certificate", "tls_key", "upstream_from"];
            let key = broken[line].split(" = ").next().unwrap().to_owned();
            prop_assert!(
                faults.faults.iter().any(|fault| fault.line == Some(line + 1)) || named.contains(&key.as_str()),
                "{}\n{faults}", broken[line]
            );
        }
    }
}
