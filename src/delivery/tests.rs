//! What is said of the providers in other places is what their adapters do.

use zeroize::Zeroizing;

use super::{Capabilities, HeaderLine, Secrets, build};
use crate::config::{self, Provider};

/// Every kind that stands in `config/providers/`, with its adapter's capabilities.
fn kinds() -> Vec<(Provider, Capabilities)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("config/providers").unwrap() {
        let loaded = config::load(&entry.unwrap().path()).unwrap_or_else(|faults| panic!("{faults}"));
        let (name, section) = loaded.config.provider.first_key_value().unwrap();
        let secrets = Secrets {
            token: Zeroizing::new("t".into()),
            password: Zeroizing::new("p".into()),
            // Telnyx' is a public key, 32 bytes in base64; the others take any.
            webhook_key: Some(Zeroizing::new(b"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=".to_vec())),
        };
        let adapter = build(name, section, &secrets).unwrap_or_else(|error| panic!("{error}"));
        all.push((section.clone(), adapter.capabilities()));
    }
    all.sort_by_key(|(provider, _)| provider.facts().word);
    all
}

#[test]
fn the_facts_of_a_kind_say_what_the_adapters_do() {
    for (provider, can) in kinds() {
        let keys = provider.facts();
        let name = keys.word;
        assert_eq!(can.header == HeaderLine::Provider, keys.prints_header, "{name}: header line");
        assert_eq!(can.fetches, keys.fetches, "{name}: fetches");
        assert_eq!(can.signs_webhooks, keys.signs, "{name}: signs webhooks");
    }
}

#[test]
fn the_readme_says_what_the_adapters_can() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let word = |can: bool| if can { "yes" } else { "no" };
    let mut rows = String::new();
    for (provider, can) in kinds() {
        let kind = provider.facts().word;
        let header = if can.header == HeaderLine::Provider { "the provider" } else { "our cover" };
        let webhook = match kind {
            "hylafax" => "none",
            _ if can.signs_webhooks => "signed",
            _ => "a hint",
        };
        rows.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {header} | {webhook} |\n",
            kind,
            word(can.finds_by_reference),
            word(can.cancels),
            word(can.deletes),
            word(can.reports_pages),
        ));
    }
    assert!(readme.contains(&rows), "the README's table of providers should read:\n{rows}");
}
