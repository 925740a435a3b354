use proptest::prelude::*;

use super::*;
use crate::job::Source;
use crate::routing::Rule;

/// Rules as they stand in a configuration file.
fn written(toml: &str) -> Vec<Rule> {
    #[derive(serde::Deserialize)]
    struct File {
        rule: Vec<Rule>,
    }
    toml::from_str::<File>(toml).unwrap().rule
}

/// The sample of the design paper, as far as this version knows its keys, and some more.
fn office() -> Rules {
    Rules::compile(&written(
        r#"
        [[rule]]
        name = "named recipient"
        to = "{recipient}@fax.example.com"

        [[rule]]
        name = "number in the address"
        to = "{number}@fax.example.com"
        require_sender = ["claims staff"]
        body_on_cover = true

        [[rule]]
        name = "billing statements"
        source = "sftp:billing"
        file = "{account}_{number}.pdf"
        reference = "{account}"
        identifier = "{account}"
        identifier_label = "Account"
        pages = "1-3,7"

        [[rule]]
        name = "number in the subject"
        source = "smtp"
        to = "fax@example.com"
        subject = "claim {claim} to {number}"
        reference = "C-{claim}"
        subject_on_cover = false
        providers = ["second"]

        [[rule]]
        name = "scans"
        source = "folder"
        file = "*.pdf"
        recipient = "archive"

        [[rule]]
        name = "all other scans"
        source = "folder:scans"
        recipient = "front-desk"
        "#,
    ))
    .unwrap()
}

fn mail(to: &str, subject: &str) -> Facts {
    Facts {
        source: Source::Smtp,
        sender: "claims staff".into(),
        to: Some(to.into()),
        subject: Some(subject.into()),
        file: None,
    }
}

fn drop(source: &str, file: &str) -> Facts {
    Facts {
        source: source.parse().unwrap(),
        sender: "system".into(),
        file: Some(file.into()),
        ..Facts::default()
    }
}

#[test]
fn the_first_rule_that_holds_decides() {
    let key = |key: &str| Some(Ask::Key(key.into()));
    let number = |number: &str| Some(Ask::Number(number.into()));
    for (facts, rule, ask) in [
        (mail("Mercy-Radiology@FAX.example.com", ""), "named recipient", key("mercy-radiology")),
        (mail("+12125550199@fax.example.com", "x"), "number in the address", number("+12125550199")),
        (mail("\"(212) 555-0199\"@fax.example.com", "x"), "number in the address", number("(212) 555-0199")),
        (mail("911@fax.example.com", "x"), "number in the address", number("911")),
        (
            mail("fax@example.com", "Claim 4711 to +1 212 555 0199"),
            "number in the subject",
            number("+1 212 555 0199"),
        ),
        (
            mail("fax@example.com", " claim\u{a0}4711\r\n to\t212-555-0199 "),
            "number in the subject",
            number("212-555-0199"),
        ),
        (mail("fax@example.com", "Re: claim 4711 to +12125550199"), "", None),
        (mail("fax@example.com", "claim 4711 to +12125550199 urgent"), "", None),
        (mail("+12125550199@other.example", "x"), "", None),
        (mail("+12125550199@fax.example.com.evil.example", "x"), "", None),
        (mail("evil@x@fax.example.com", "x"), "", None),
        (drop("sftp:billing", "483920_+12125550199.pdf"), "billing statements", number("+12125550199")),
        (
            drop("sftp:billing", "in/today/483920_+12125550199.PDF"),
            "billing statements",
            number("+12125550199"),
        ),
        (drop("sftp:billing", "../483920_+12125550199.pdf.tmp"), "", None),
        (drop("sftp:other", "483920_+12125550199.pdf"), "", None),
        (drop("folder:scans", "*.pdf"), "scans", key("archive")),
        (drop("folder:scans", "x.pdf"), "all other scans", key("front-desk")),
        (drop("folder:mail", "x.pdf"), "", None),
        (drop("cli", "x.pdf"), "", None),
    ] {
        let routed = office().route(&facts);
        assert_eq!(routed.route.as_ref().map(|route| route.ask.clone()), ask, "{facts:?} {:?}", routed.trace);
        assert_eq!(routed.route.as_ref().map_or("", |route| route.rule.as_str()), rule, "{facts:?}");
        assert_eq!(routed.refusal().is_some(), ask.is_none());
    }
}

#[test]
fn a_route_carries_what_its_rule_says() {
    let billing = office().route(&drop("sftp:billing", "483920_+12125550199.pdf")).route.unwrap();
    assert_eq!(billing.reference.as_deref(), Some("483920"));
    assert_eq!(billing.identifier, Some(("Account".into(), "483920".into())));
    assert_eq!(billing.pages.as_deref(), Some("1-3,7"));
    assert!(billing.subject_on_cover && !billing.body_on_cover);
    let claim = office().route(&mail("fax@example.com", "claim 4711 to +12125550199")).route.unwrap();
    assert_eq!(
        (claim.reference.as_deref(), claim.providers.as_slice()),
        (Some("C-4711"), &["second".to_owned()][..])
    );
    assert!(!claim.subject_on_cover);
}

#[test]
fn the_trace_says_why_not() {
    let routed = office().route(&mail("fax@example.com", "hello"));
    let trace: Vec<String> = routed
        .trace
        .iter()
        .map(|line| match &line.verdict {
            RuleVerdict::Failed { condition, found } => format!("{}: {condition}: {found}", line.rule),
            other => format!("{}: {other:?}", line.rule),
        })
        .collect();
    assert_eq!(
        trace,
        [
            "named recipient: to = \"{recipient}@fax.example.com\": It was sent to fax@example.com.",
            "number in the address: to = \"{number}@fax.example.com\": It was sent to fax@example.com.",
            "billing statements: source = \"sftp:billing\": It came by smtp.",
            "number in the subject: subject = \"claim {claim} to {number}\": The subject is \"hello\".",
            "scans: source = \"folder\": It came by smtp.",
            "all other scans: source = \"folder:scans\": It came by smtp.",
        ]
    );
    let refused =
        office().route(&Facts { sender: "visitor".into(), ..mail("+12125550199@fax.example.com", "") });
    assert!(
        matches!(&refused.trace[1].verdict, RuleVerdict::Failed { found, .. } if found == "The sender is visitor.")
    );
    let json = serde_json::to_string(&routed.trace).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Trace>>(&json).unwrap(), routed.trace);
}

#[test]
fn a_number_that_could_be_read_in_two_ways_ends_the_search() {
    let rules = Rules::compile(&written(
        r#"
        [[rule]]
        name = "by file"
        file = "{account}_{number}_{date}.pdf"

        [[rule]]
        name = "rest"
        recipient = "front-desk"
        "#,
    ))
    .unwrap();
    assert!(rules.route(&drop("cli", "a_2125550199_x.pdf")).route.is_some());
    let routed = rules.route(&drop("cli", "a_2125550100_2125550199_x.pdf"));
    assert_eq!(routed.route, None);
    assert_eq!(
        routed.refusal().as_deref(),
        Some("What stands for {number} in the file name could be read in two ways.")
    );
    let watched = Rules::compile(&written(
        "[[rule]]\nname = 'r'\nfile = '{a}_{desk}_{b}.pdf'\nrecipient = 'desk-{desk}'",
    ))
    .unwrap();
    assert!(watched.route(&drop("cli", "1_2_3.pdf")).route.is_some());
    assert!(watched.route(&drop("cli", "1_2_3_4.pdf")).route.is_none());
}

#[test]
fn what_could_be_taken_at_rcpt() {
    for (source, sender, to, expected) in [
        ("smtp", "claims staff", "mercy@fax.example.com", true),
        ("smtp", "claims staff", "+12125550199@fax.example.com", true),
        ("smtp", "visitor", "+12125550199@fax.example.com", false),
        ("smtp", "visitor", "fax@example.com", true),
        ("smtp", "visitor", "postmaster@example.com", false),
        ("smtp", "visitor", "\"", false),
        ("smtp", "visitor", "", false),
    ] {
        assert_eq!(office().could_take(&source.parse().unwrap(), sender, to), expected, "{sender} {to}");
    }
    let drops = Rules::compile(&written("[[rule]]\nname = 'r'\nfile = '{number}.pdf'")).unwrap();
    assert!(!drops.could_take(&Source::Smtp, "x", "a@example.com"), "a rule for files takes no mail");
}

#[test]
fn faults_are_told_all_at_once() {
    let faults = |toml: &str| -> Vec<String> {
        match Rules::compile(&written(toml)) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    };
    for (rule, expected) in [
        ("name = 'r'\nto = '{recipient}@x'", ""),
        ("name = ' '\nto = '{recipient}@x'", "rule \"#1\": name is empty"),
        ("name = 'r'", "rule \"r\": recipient is missing"),
        ("name = 'r'\nto = '{recipient}'", "rule \"r\": to has no @"),
        ("name = 'r'\nto = '{a}{number}@x'", "rule \"r\": to has nothing between {a} and {number}"),
        ("name = 'r'\nto = '{recipient}@x'\nsource = 'ftp'", "rule \"r\": source is \"ftp\"; there are smtp"),
        ("name = 'r'\nto = '{recipient}@x'\nsource = 'smtp:x'", "rule \"r\": source is"),
        ("name = 'r'\nto = '{recipient}@x'\nsource = 'sftp:'", "rule \"r\": source is"),
        ("name = 'r'\nto = '{recipient}@x'\nsource = 'sftp'", "rule \"r\": to can never hold"),
        ("name = 'r'\nsubject = '{number}'\nsource = 'folder'", "rule \"r\": subject can never hold"),
        ("name = 'r'\nfile = '{number}.pdf'\nsource = 'smtp'", "rule \"r\": file can never hold"),
        (
            "name = 'r'\nrecipient = 'a'\nnumber = '+12125550199'",
            "rule \"r\": number stands beside recipient",
        ),
        (
            "name = 'r'\nto = '{recipient}@x'\nsubject = '{number}'",
            "rule \"r\": number and recipient are both captured",
        ),
        (
            "name = 'r'\nto = '{number}@x'\nsubject = '{number}'",
            "rule \"r\": subject captures {number}, and so does to",
        ),
        (
            "name = 'r'\nto = '{number}@x'\nreference = '{account}'",
            "rule \"r\": reference uses {account}, which no pattern",
        ),
        ("name = 'r'\nrecipient = '{a}'", "rule \"r\": recipient uses {a}, which no pattern"),
        (
            "name = 'r'\nrecipient = 'a'\nidentifier_label = 'Claim'",
            "rule \"r\": identifier_label names an identifier",
        ),
        ("name = 'r'\nrecipient = 'a'\npages = '3-1'", "rule \"r\": pages is \"3-1\""),
        ("name = 'r'\nrecipient = 'a'\npages = '1,,2'", "rule \"r\": pages is"),
        ("name = 'r'\nrecipient = 'a'\npages = '0'", "rule \"r\": pages is"),
        ("name = 'r'\nrecipient = 'a'\npages = '1-3, 2'", "rule \"r\": pages is"),
        ("name = 'r'\nrecipient = 'a'\npages = ' 1 - 3 , 7'", ""),
    ] {
        let found = faults(&format!("[[rule]]\n{rule}"));
        match expected {
            "" => assert_eq!(found, Vec::<String>::new(), "{rule}"),
            part => assert!(found.len() == 1 && found[0].starts_with(part), "{rule}: {found:?}"),
        }
    }
    let many = faults(
        "[[rule]]\nname='a'\nto='{x'\nsource='fax'\npages='x'\n[[rule]]\nname='a'\nrecipient='b'\n[[rule]]\nname='c'\nfile='}'",
    );
    assert_eq!(many.len(), 5, "{many:?}");
}

#[test]
fn rules_that_can_never_match_are_named() {
    let dead = |toml: &str| -> Vec<String> {
        Rules::compile(&written(toml)).unwrap().dead().into_iter().map(|fault| fault.rule).collect()
    };
    assert_eq!(office().dead(), []);
    for (toml, expected) in [
        ("[[rule]]\nname='a'\nto='{x}@fax'\nrecipient='x'\n[[rule]]\nname='b'\nto='{number}@FAX'", vec!["b"]),
        ("[[rule]]\nname='a'\nto='{number}@fax'\n[[rule]]\nname='b'\nto='{x}@fax'\nrecipient='x'", vec![]),
        (
            "[[rule]]\nname='a'\nrecipient='x'\n[[rule]]\nname='b'\nto='{number}@fax'\n[[rule]]\nname='c'\nrecipient='y'",
            vec!["b", "c"],
        ),
        (
            "[[rule]]\nname='a'\nsource='sftp'\nrecipient='x'\n[[rule]]\nname='b'\nsource='sftp:u'\nrecipient='y'",
            vec!["b"],
        ),
        (
            "[[rule]]\nname='a'\nsource='sftp:u'\nrecipient='x'\n[[rule]]\nname='b'\nsource='sftp'\nrecipient='y'",
            vec![],
        ),
        (
            "[[rule]]\nname='a'\nsource='sftp:u'\nrecipient='x'\n[[rule]]\nname='b'\nsource='sftp:us'\nrecipient='y'",
            vec![],
        ),
        (
            "[[rule]]\nname='a'\nrequire_sender=['s','t']\nrecipient='x'\n[[rule]]\nname='b'\nrequire_sender=['s']\nrecipient='y'",
            vec!["b"],
        ),
        (
            "[[rule]]\nname='a'\nrequire_sender=['s']\nrecipient='x'\n[[rule]]\nname='b'\nrecipient='y'",
            vec![],
        ),
        ("[[rule]]\nname='a'\nsubject='{x}'\nrecipient='x'\n[[rule]]\nname='b'\nrecipient='y'", vec![]),
    ] {
        assert_eq!(dead(toml), expected, "{toml}");
    }
}

#[test]
fn what_is_asked_whatever_arrives_can_be_listed() {
    let rules = office();
    let fixed: Vec<_> = rules.fixed_asks().collect();
    assert_eq!(
        fixed,
        [("scans", Ask::Key("archive".into())), ("all other scans", Ask::Key("front-desk".into()))]
    );
}

proptest! {
    #[test]
    fn no_facts_panic_and_what_is_routed_was_routable_at_rcpt(
        to in "\\PC{0,60}|[a-z0-9+@.\"]{0,30}|[a-z0-9+]{1,12}@fax.example.com",
        subject in "\\PC{0,80}|claim [0-9a ]{0,12} to [0-9+ ]{0,14}",
        file in "\\PC{0,60}|[0-9_+/.]{0,24}\\.pdf",
        source in prop::sample::select(vec!["smtp", "sftp:billing", "folder:scans", "cli"]),
    ) {
        let facts = Facts {
            source: source.parse().unwrap(), sender: "claims staff".into(),
            to: Some(to.clone()), subject: Some(subject), file: Some(file),
        };
        let routed = office().route(&facts);
        prop_assert!(routed.trace.len() <= 6);
        if let Some(Route { ask: Ask::Key(key), .. }) = &routed.route {
            prop_assert!(key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'));
        }
        if source == "smtp" && routed.route.is_some() {
            prop_assert!(office().could_take(&Source::Smtp, "claims staff", &to));
        }
    }

    #[test]
    fn what_another_systems_address_stands_for_was_routable_at_rcpt(
        to in "(FAX=|IMCEAFAX-|jane@|)[+0-9a-z/=]{0,14}(@|\\.)?fax.example.com|fax@fax.example.com|fax@example.com",
        name in proptest::option::of("/fax=[0-9 -]{0,14}/?"),
        claimed in proptest::option::of("[0-9]{1,12}"),
    ) {
        use crate::addressing::directive::Target;
        use crate::addressing::readers::{at_rcpt, expand};
        use crate::addressing::readers::Reader;
        let readers = [Reader::Efax, Reader::Rightfax, Reader::Interfax, Reader::Hylafax, Reader::T37];
        let addressees = [crate::addressing::Addressee { name, address: to.clone() }];
        let claimed: Vec<Target> = claimed.map(Target::Number).into_iter().collect();
        for one in expand(&to, &readers, &addressees, &claimed) {
            let facts = Facts {
                source: Source::Smtp, sender: "claims staff".into(), to: Some(one.to), ..Facts::default()
            };
            if office().route(&facts).route.is_some() {
                let forms = at_rcpt(&to, &readers);
                prop_assert!(forms.iter().any(|form| office().could_take(&Source::Smtp, "claims staff", form)), "{to}");
            }
        }
    }
}
