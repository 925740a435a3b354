use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000).unwrap() + SignedDuration::from_hours(24 * days)
}

fn us() -> NumberRules {
    NumberRules::new("US", &[]).unwrap()
}

fn entry(key: &str, number: &str) -> Entry {
    let fields = [("key", key), ("name", "Mercy Radiology"), ("number", number)].into_iter().collect();
    NewEntry::check(&fields, &us()).unwrap().into_entry(at(0))
}

fn verified(key: &str, number: &str) -> Entry {
    let mut entry = entry(key, number);
    entry.verify(&word("anna", Some(at(365))), false, at(0)).unwrap();
    entry
}

fn suspended(key: &str, number: &str, reason: &str) -> Entry {
    let mut entry = verified(key, number);
    entry.suspend(reason, at(1));
    entry
}

fn word(by: &str, until: Option<Timestamp>) -> Word<'_> {
    let account = match by.trim().to_lowercase().as_str() {
        "anna" => "uid:1000 (anna)",
        "ben" => "uid:1001 (ben)",
        _ => "uid:0 (root)",
    };
    Word { by, account, how: VerifiedHow::Website, evidence: "https://mercy.example/contact", until }
}

fn key(key: &str) -> Ask {
    Ask::Key(key.into())
}

fn number(number: &str) -> Ask {
    Ask::Number(number.into())
}

fn outcome(ask: &Ask, found: &[Entry], two_person: bool, now: Timestamp) -> Result<String, Held> {
    resolve(ask, found, &us(), two_person, now).map(|entry| entry.key.clone())
}

#[test]
fn only_verified_entries_are_sent_to() {
    let good = || verified("mercy", "+12125550199");
    for (ask, found, two_person, now, expected) in [
        (key("mercy"), vec![good()], false, at(1), Ok("mercy")),
        (number("212-555-0199"), vec![good()], false, at(1), Ok("mercy")),
        (number("+12125550199"), vec![entry("a", "+12125550199"), good()], false, at(1), Ok("mercy")),
        (
            key("mercy"),
            vec![],
            false,
            at(1),
            Err((
                Hold::UnknownRecipient,
                "There is no recipient called \"mercy\". Check the spelling, or ask the records desk",
            )),
        ),
        (
            key("../etc"),
            vec![],
            false,
            at(1),
            Err((Hold::UnknownRecipient, "There is no recipient called \"../etc\"")),
        ),
        (
            key("other"),
            vec![good()],
            false,
            at(1),
            Err((Hold::UnknownRecipient, "There is no recipient called \"other\"")),
        ),
        (
            number("+12125550198"),
            vec![],
            false,
            at(1),
            Err((Hold::Unverified, "Nobody has verified the number +12125550198.")),
        ),
        (number("+12125550198"), vec![good()], false, at(1), Err((Hold::Unverified, "Nobody has verified"))),
        (
            number("911"),
            vec![],
            false,
            at(1),
            Err((Hold::BadNumber, "The fax number \"911\" is an emergency")),
        ),
        (
            key("mercy"),
            vec![entry("mercy", "+12125550199")],
            false,
            at(1),
            Err((
                Hold::Unverified,
                "The number +12125550199 of Mercy Radiology (mercy) has not been verified yet; ask the records desk to verify it: \
                 faxbridge recipient verify mercy.",
            )),
        ),
        (
            key("mercy"),
            vec![good()],
            false,
            at(365),
            Err((
                Hold::ExpiredEntry,
                "The verification of +12125550199 for Mercy Radiology (mercy) ended on 18 November 2027 (UTC); ask",
            )),
        ),
        (
            key("mercy"),
            vec![good()],
            true,
            at(1),
            Err((
                Hold::Unverified,
                "The number +12125550199 of Mercy Radiology (mercy) has been verified by one person",
            )),
        ),
        (
            key("mercy"),
            vec![suspended("mercy", "+12125550199", "not in service.")],
            false,
            at(2),
            Err((
                Hold::Suspended,
                "The number +12125550199 of Mercy Radiology (mercy) is suspended: not in service. Find out the right number, then",
            )),
        ),
        // A dead number is dead under every name.
        (
            number("+12125550199"),
            vec![good(), suspended("old", "+12125550199", "")],
            false,
            at(2),
            Err((Hold::Suspended, "The number +12125550199 of Mercy Radiology (old) is suspended. Find")),
        ),
        (
            key("mercy"),
            vec![good(), suspended("old", "+12125550199", "")],
            false,
            at(2),
            Err((Hold::Suspended, "The number +12125550199 of Mercy Radiology (old) is suspended. Find")),
        ),
        (key("mercy"), vec![good(), suspended("old", "+12125550100", "")], false, at(2), Ok("mercy")),
    ] {
        match (outcome(&ask, &found, two_person, now), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err((hold, sentence)), Err((expected, start))) => {
                assert_eq!(hold, expected, "{sentence}");
                assert!(sentence.starts_with(start) && sentence.ends_with('.'), "{sentence}");
            }
            (found, expected) => panic!("{ask:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_country_that_is_no_longer_allowed_holds_known_recipients_too() {
    let wide = NumberRules::new("US", &["US".into(), "DE".into()]).unwrap();
    let mut berlin = verified("berlin", "+12125550199");
    berlin.number = FaxNumber::from_e164("+4930901820").unwrap();
    let found = [berlin];
    assert!(resolve(&key("berlin"), &found, &wide, false, at(1)).is_ok());
    assert_eq!(resolve(&key("berlin"), &found, &us(), false, at(1)).unwrap_err().0, Hold::BadNumber);
    assert!(
        resolve(&key("berlin"), found.first(), &wide, false, at(1)).is_ok(),
        "an option is a list of one"
    );
}

#[test]
fn before_every_call_the_register_is_asked_again() {
    let ours = FaxNumber::from_e164("+12125550199").unwrap();
    let good = verified("mercy", "+12125550199");
    assert_eq!(why_not(&good, &ours, false, at(1)), None);
    assert_eq!(why_not(&good, &ours, true, at(1)), Some(Hold::Unverified));
    assert_eq!(why_not(&good, &ours, false, at(365)), Some(Hold::ExpiredEntry));
    let other = FaxNumber::from_e164("+12125550198").unwrap();
    assert_eq!(
        why_not(&good, &other, false, at(1)),
        Some(Hold::Unverified),
        "the entry's number was changed meanwhile"
    );
    assert_eq!(why_not(&suspended("m", "+12125550199", ""), &ours, false, at(999)), Some(Hold::Suspended));
    let mut moved = good;
    moved.renumber(other.clone(), "555-0198", at(2));
    assert_eq!(why_not(&moved, &other, false, at(2)), Some(Hold::Unverified));
    assert_eq!((moved.verified_by, moved.valid_until, moved.typed.as_str()), (None, None, "555-0198"));
}

#[test]
fn two_persons_are_two_persons() {
    let mut one = entry("mercy", "+12125550199");
    assert_eq!(one.verify(&word("Anna", Some(at(100))), true, at(1)), Ok(EntryState::Unverified));
    assert_eq!(one.verify(&word(" anna ", None), true, at(1)), Err(RegisterFault::SamePerson("Anna".into())));
    let typed = Word { by: "Ben", ..word("anna", None) };
    assert_eq!(
        one.verify(&typed, true, at(1)),
        Err(RegisterFault::SamePerson("Anna".into())),
        "another name only"
    );
    let account = Word { by: "anna", ..word("Ben", None) };
    assert_eq!(
        one.verify(&account, true, at(1)),
        Err(RegisterFault::SamePerson("Anna".into())),
        "another account only"
    );
    assert_eq!(one.verify(&word("Ben", Some(at(50))), true, at(2)), Ok(EntryState::Verified));
    assert_eq!((one.verified_by.as_deref(), one.second_by.as_deref()), (Some("Anna"), Some("Ben")));
    assert_eq!((one.valid_until, one.verified_at), (Some(at(50)), Some(at(2))));
    assert!(one.evidence.as_deref().unwrap().contains("; Ben (website): https://"));
    // Anew, from the first word on: when it ran out, and when it was suspended.
    assert_eq!(one.verify(&word("Ben", None), true, at(60)), Ok(EntryState::Unverified));
    assert_eq!((one.verified_by.as_deref(), one.second_by.as_deref()), (Some("Ben"), None));
    assert_eq!(one.verify(&word("Anna", None), true, at(61)), Ok(EntryState::Verified));
    one.suspend("not in service", at(62));
    assert_eq!(one.verify(&word("Anna", None), true, at(63)), Ok(EntryState::Unverified));
    assert_eq!(one.state_reason, None);
    // A first word that ran out before the second came does not count.
    let mut late = entry("mercy", "+12125550199");
    late.verify(&word("Anna", Some(at(2))), true, at(1)).unwrap();
    assert_eq!(late.verify(&word("Ben", None), true, at(3)), Ok(EntryState::Unverified));
    // Verified when one was enough: the second word completes it.
    let mut early = verified("mercy", "+12125550199");
    assert_eq!(early.verify(&word("Ben", None), true, at(3)), Ok(EntryState::Verified));
    assert_eq!(why_not(&early, &early.number, true, at(4)), None);
    // Recorded before accounts were: two words of then stand, one of then is nobody's.
    let mut former = verified("mercy", "+12125550199");
    (former.verified_account, former.second_by) = (None, Some("Ben".into()));
    assert_eq!(why_not(&former, &former.number, true, at(4)), None);
    former.second_by = None;
    assert_eq!(former.verify(&word("Ben", None), true, at(4)), Ok(EntryState::Unverified));
    assert_eq!(former.verify(&word("Anna", None), true, at(5)), Ok(EntryState::Verified));
}

#[test]
fn a_word_needs_a_name_evidence_and_a_future() {
    let mut fresh = entry("mercy", "+12125550199");
    let before = fresh.clone();
    let plain = word("anna", None);
    for (word, fault) in [
        (Word { by: " ", ..plain }, RegisterFault::Nobody),
        (Word { evidence: "", ..plain }, RegisterFault::NoEvidence),
        (Word { until: Some(at(1)), ..plain }, RegisterFault::Over),
    ] {
        assert_eq!(fresh.verify(&word, false, at(1)), Err(fault));
    }
    assert_eq!(fresh, before);
}

#[test]
fn the_second_voice_suspends() {
    let mut one = verified("mercy", "+12125550199");
    one.count_voice(at(1));
    assert_eq!((one.voice_count, one.state), (1, EntryState::Verified));
    one.count_voice(at(2));
    assert_eq!((one.voice_count, one.state), (2, EntryState::Suspended));
    assert_eq!(one.state_reason.as_deref(), Some("a person answered twice instead of a fax machine"));
    one.verify(&word("anna", None), false, at(3)).unwrap();
    assert_eq!((one.voice_count, one.state), (0, EntryState::Verified));
}

#[test]
fn slips_are_shown() {
    let entries = [
        verified("mercy", "+12125550199"),
        verified("other", "+12125550142"),
        entry("unverified", "+12125550197"),
    ];
    let typed = FaxNumber::from_e164("+12125550198").unwrap();
    let near = slips(&typed, &entries);
    assert_eq!(near.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["mercy"]);
    assert_eq!(
        slip_sentence(&near).as_deref(),
        Some(
            "It differs by one slip of the finger from the verified number +12125550199 of Mercy Radiology (mercy); check which one is meant."
        )
    );
    assert_eq!(slip_sentence(&[]), None);
}

#[test]
fn keys() {
    for good in ["a", "mercy-radiology", "dr.smith", "3m", "a1-b.c"] {
        assert!(check_key(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "123",
        "12-555",
        "-a",
        "a-",
        "a..b",
        "A",
        "a b",
        "a_b",
        "a@b",
        "m\u{fc}ller",
        "../a",
        &"a".repeat(49),
    ] {
        assert!(check_key(bad).is_err(), "{bad}");
    }
    for (name, expected) in [
        ("Mercy Radiology", Some("mercy-radiology")),
        ("  St. Mary's -- Hospital (East)  ", Some("st-marys-hospital-east")),
        ("M\u{dc}LLER & S\u{f6}hne", Some("mueller-soehne")),
        ("3M", Some("3m")),
        ("123", None),
        ("\u{4e2d}\u{6587}", None),
        ("", None),
    ] {
        assert_eq!(suggest_key(name).as_deref(), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn a_suggested_key_is_a_key_that_rules_capture(name in "\\PC{0,80}|[a-z0-9 .'-]{0,70}") {
        if let Some(key) = suggest_key(&name) {
            prop_assert!(check_key(&key).is_ok());
            let pattern = crate::routing::pattern::Pattern::compile("{recipient}").unwrap();
            prop_assert!(pattern.matches(&key).is_some());
        }
    }

    #[test]
    fn whatever_happens_only_a_whole_verification_lets_a_fax_through(
        steps in prop::collection::vec((0..5u8, 0..3usize, 1..40i64), 0..12), two_person: bool,
    ) {
        let mut one = entry("mercy", "+12125550199");
        let mut day = 0;
        for (what, who, days) in steps {
            day += days % 7;
            match what {
                0 | 1 => drop(one.verify(&word(["anna", "ben", ""][who], Some(at(day + days))), two_person, at(day))),
                2 => one.suspend("stopped", at(day)),
                3 => one.count_voice(at(day)),
                _ => one.renumber(FaxNumber::from_e164("+12125550142").unwrap(), "x", at(day)),
            }
            if why_not(&one, &one.number.clone(), two_person, at(day)).is_none() {
                prop_assert!(one.verified_by.is_some() && one.valid_until.unwrap() > at(day));
                prop_assert!(!two_person || one.second_by.is_some() && one.second_by != one.verified_by);
                prop_assert!(one.voice_count < 2);
            }
        }
    }
}
