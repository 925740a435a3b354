use std::collections::BTreeMap;

use super::*;
use crate::register::number::NumberRules;
use crate::register::{EntryState, NewEntry, VerifiedHow, Word};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn number() -> FaxNumber {
    FaxNumber::from_e164("+12125550101").unwrap()
}

fn entry(key: &str) -> Entry {
    let fields: BTreeMap<&str, &str> =
        [("key", key), ("name", "Mercy"), ("number", "+12125550101")].into_iter().collect();
    let numbers = NumberRules::new("US", &[]).unwrap();
    let mut entry = NewEntry::check(&fields, &numbers).unwrap().into_entry(at(0));
    let word =
        Word { by: "records", account: "jane", how: VerifiedHow::Callback, evidence: "called", until: None };
    entry.verify(&word, false, at(0)).unwrap();
    entry
}

fn good() -> Evidence {
    Evidence {
        at: at(1),
        authorization: Some(Authorization {
            sender: "front desk".into(),
            source: "smtp".into(),
            proof: Some(Proof::Login),
        }),
        recipient: Recipient::found(None, Some(&entry("mercy")), false),
        packet: Some(Pages { pages: 3, cover_pages: 1 }),
        cover: Some(CoverLook::LookedThrough),
        found: Vec::new(),
        lifted: false,
        seal: None,
    }
}

#[test]
fn what_the_register_says_of_a_number() {
    let suspended = |key: &str| {
        let mut entry = entry(key);
        entry.suspend("asked to", at(1));
        entry
    };
    let unverified = Entry {
        state: EntryState::Unverified,
        verified_by: None,
        second_by: None,
        verified_at: None,
        ..entry("mercy")
    };
    let expired = Entry { valid_until: Some(at(2)), ..entry("mercy") };
    let table = [
        (vec![entry("mercy")], false, Standing::Verified, None),
        (vec![entry("mercy")], true, Standing::OnePerson, Some(Hold::Unverified)),
        (vec![], false, Standing::NotListed, Some(Hold::Unverified)),
        (vec![entry("hope")], false, Standing::NotListed, Some(Hold::Unverified)),
        (vec![unverified], false, Standing::Unverified, Some(Hold::Unverified)),
        (vec![expired], false, Standing::Expired, Some(Hold::ExpiredEntry)),
        (vec![suspended("mercy")], false, Standing::Suspended, Some(Hold::Suspended)),
        (vec![entry("mercy"), suspended("hope")], false, Standing::Suspended, Some(Hold::Suspended)),
    ];
    for (entries, two_person, standing, hold) in table {
        let found = Recipient::look(&entries, Some("mercy"), Some(&number()), two_person, at(5));
        assert_eq!((found.standing, found.hold()), (standing, hold));
    }
    let nobody = Recipient::look(&[entry("mercy")], None, Some(&number()), false, at(5));
    assert_eq!(nobody.hold(), Some(Hold::Unverified));
    let nowhere = Recipient::look(&[entry("mercy")], Some("mercy"), None, false, at(5));
    assert_eq!(nowhere.hold(), Some(Hold::Unverified));
    for (hold, standing) in
        [(Hold::UnknownRecipient, Standing::Unknown), (Hold::BadNumber, Standing::BadNumber)]
    {
        let found = Recipient::found(Some(hold), None, false);
        assert_eq!((found.standing, found.hold()), (standing, Some(hold)));
    }
    let verified = Recipient::look(&[entry("mercy")], Some("mercy"), Some(&number()), false, at(5));
    assert_eq!((verified.verified_by.as_deref(), verified.verified_at), (Some("records"), Some(at(0))));
}

#[test]
fn each_verdict_from_what_passes() {
    let plain = || Moment::plain(at(10), at(100));
    let table = [
        (plain(), Verdict::Send),
        (Moment { told: true, ..plain() }, Verdict::Follow),
        (Moment { now: at(100), ..plain() }, Verdict::Over),
        (Moment { cancel: true, ..plain() }, Verdict::Cancelled),
        (Moment { quiet_until: Some(at(50)), ..plain() }, Verdict::Later(at(50))),
        (Moment { carrier: Carrier::There("b".into()), ..plain() }, Verdict::Elsewhere("b".into())),
        (Moment { carrier: Carrier::Nowhere, ..plain() }, Verdict::Hold(Hold::Account)),
        (Moment { forgotten: true, ..plain() }, Verdict::AskFirst),
        // What was told comes first, then the clock, then a person's wish, then the evidence.
        (Moment { told: true, now: at(100), cancel: true, ..plain() }, Verdict::Follow),
        (Moment { now: at(100), cancel: true, ..plain() }, Verdict::Over),
        (Moment { cancel: true, quiet_until: Some(at(50)), ..plain() }, Verdict::Cancelled),
        (Moment { quiet_until: Some(at(50)), carrier: Carrier::Nowhere, ..plain() }, Verdict::Later(at(50))),
    ];
    for (moment, wanted) in table {
        assert_eq!(verdict(&good(), &moment), wanted, "{moment:?}");
    }
    let suspended = Recipient { standing: Standing::Suspended, ..good().recipient };
    let stopped = Evidence { recipient: suspended, ..good() };
    let quiet = Moment { quiet_until: Some(at(50)), carrier: Carrier::Nowhere, ..plain() };
    assert_eq!(verdict(&stopped, &quiet), Verdict::Hold(Hold::Suspended), "a number that nobody may call");
    assert_eq!(verdict(&stopped, &Moment { cancel: true, ..plain() }), Verdict::Cancelled);
}

#[test]
fn each_verdict_from_the_evidence() {
    let standing = |standing| Recipient { standing, ..good().recipient };
    let found = |found: &[Hold]| Evidence { found: found.to_vec(), ..good() };
    let table = [
        (found(&[]), Verdict::Send),
        (found(&[Hold::Cover]), Verdict::Hold(Hold::Cover)),
        (found(&[Hold::Cover, Hold::Proof]), Verdict::Hold(Hold::Proof)),
        (found(&[Hold::Proof, Hold::Part]), Verdict::Hold(Hold::Part)),
        (Evidence { lifted: true, ..found(&[Hold::Cover, Hold::Proof]) }, Verdict::Send),
        (Evidence { recipient: standing(Standing::Expired), ..good() }, Verdict::Hold(Hold::ExpiredEntry)),
        (
            Evidence { recipient: standing(Standing::Unverified), ..found(&[Hold::Cover]) },
            Verdict::Hold(Hold::Cover),
        ),
        // Nobody lifts what the register says.
        (
            Evidence {
                recipient: standing(Standing::Unverified),
                lifted: true,
                ..found(&[Hold::Unverified, Hold::Cover])
            },
            Verdict::Hold(Hold::Unverified),
        ),
        (Evidence { packet: None, ..good() }, Verdict::Hold(Hold::Part)),
        (Evidence { packet: None, ..found(&[Hold::Cover]) }, Verdict::Hold(Hold::Cover)),
        (Evidence { seal: Some(Seal::AsPrepared), ..good() }, Verdict::Send),
        (Evidence { seal: Some(Seal::NotNow), ..good() }, Verdict::Later(at(70))),
        (Evidence { seal: Some(Seal::Broken), ..good() }, Verdict::Hold(Hold::Part)),
    ];
    for (evidence, wanted) in table {
        assert_eq!(verdict(&evidence, &Moment::plain(at(10), at(100))), wanted, "{evidence:?}");
    }
}

#[test]
fn before_an_attempt_the_register_is_asked_again_and_the_rest_is_kept() {
    let prepared = Evidence { found: vec![Hold::Cover], ..good() };
    let suspended = Recipient { standing: Standing::Suspended, ..good().recipient };
    let again = Evidence::again(Some(prepared.clone()), suspended.clone(), prepared.packet, at(9));
    assert_eq!((again.at, &again.recipient), (at(9), &suspended));
    assert_eq!((&again.authorization, again.cover), (&prepared.authorization, prepared.cover));
    assert!(again.lifted, "it is queued, so a person let it go on");
    assert_eq!(again.holds(), [Hold::Suspended]);
    let before = Evidence::again(None, suspended, prepared.packet, at(9));
    assert_eq!((before.authorization, before.cover, before.lifted), (None, None, false));
}

#[test]
fn evidence_is_read_back_and_so_is_that_of_earlier_versions() {
    let evidence = Evidence { seal: Some(Seal::AsPrepared), ..good() };
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    let least = r#"{"at":"2027-01-15T08:00:01Z","recipient":{"standing":"verified"}}"#;
    let least: Evidence = serde_json::from_str(least).unwrap();
    assert_eq!((least.authorization, least.cover, least.seal), (None, None, None));
}

#[test]
fn a_packet_larger_than_a_provider_takes_does_not_fit() {
    for (pages, bytes, most_pages, most_bytes, wanted) in [
        (3, 100, None, None, true),
        (3, 100, Some(3), Some(100), true),
        (4, 100, Some(3), None, false),
        (3, 101, None, Some(100), false),
    ] {
        assert_eq!(fits(pages, bytes, most_pages, most_bytes), wanted, "{pages} {bytes}");
    }
}
