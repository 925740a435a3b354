use super::*;
use crate::job::{FaxNumber, Hold, Source};
use crate::receipt::Deletion;

fn at(text: &str) -> Timestamp {
    format!("2026-11-22T{text}Z").parse().unwrap()
}

fn recipient(to: &str, failure: bool, success: bool, never: bool) -> DsnRecipient {
    DsnRecipient { to: to.into(), original: None, failure, success, never }
}

fn job(to: &[&str], state: JobState) -> JobAccount {
    JobAccount {
        job: "06d0s8mk2c0000b2".parse().unwrap(),
        before: None,
        to: to.iter().map(|to| (*to).to_owned()).collect(),
        quiet_until: None,
        reference: None,
        reference_mark: None,
        keep_reference: false,
        recipient: None,
        number: Some(FaxNumber::from_e164("+12125550199").unwrap()),
        state,
        hold_sentence: None,
        pages: Some(2),
        cover_pages: 1,
        sha256: None,
        rule: None,
        cancel: None,
        attempts: Vec::new(),
        parts: Vec::new(),
        warnings: Vec::new(),
        checklist: Vec::new(),
    }
}

fn account(recipients: Vec<DsnRecipient>, jobs: Vec<JobAccount>) -> Account {
    Account {
        submission: "06d0s8mk2c0000a1".parse().unwrap(),
        source: Source::Smtp,
        organization: "Example Clinic".into(),
        time_zone: "America/New_York".into(),
        accepted_at: at("14:05:10"),
        original_message_id: Some("<abc@example.com>".into()),
        verdict: AccountVerdict::Jobs,
        jobs,
        deletion: Deletion::After { minutes: 30 },
        file: None,
        left: false,
        dsn: Some(Dsn { envelope_id: Some("QQ 314159".into()), full: true, recipients }),
    }
}

fn told(account: &Account) -> Option<String> {
    report(account, AnswerKind::Final, "fax.example.com", at("15:00:00"))
}

const FAILED: JobState = JobState::Failed { cause: Cause::Busy };

#[test]
fn the_report_in_full() {
    let mut asked = recipient("labs@fax.example.com", true, false, false);
    asked.original = Some("rfc822;Labs@Clinic.example".into());
    let others = [
        recipient("mercy@fax.example.com", true, false, false),
        recipient("front@fax.example.com", false, true, false),
        recipient("quiet@fax.example.com", false, false, true),
    ];
    let recipients = [vec![asked], others.to_vec()].concat();
    let jobs = vec![
        job(&["LABS@fax.example.com"], FAILED),
        job(&["mercy@fax.example.com"], JobState::Delivered),
        job(&["front@fax.example.com"], JobState::Delivered),
        job(&["quiet@fax.example.com"], FAILED),
    ];
    let expected = "Reporting-MTA: dns; fax.example.com\r\n\
        Original-Envelope-Id: QQ 314159\r\n\
        Arrival-Date: Sun, 22 Nov 2026 14:05:10 +0000\r\n\
        \r\n\
        Original-Recipient: rfc822;Labs@Clinic.example\r\n\
        Final-Recipient: rfc822;labs@fax.example.com\r\n\
        Action: failed\r\n\
        Status: 5.4.1\r\n\
        Diagnostic-Code: X-Fax; busy (job 06d0s8mk2c0000b2)\r\n\
        \r\n\
        Final-Recipient: rfc822;front@fax.example.com\r\n\
        Action: delivered\r\n\
        Status: 2.0.0\r\n\
        Diagnostic-Code: X-Fax; delivered (job 06d0s8mk2c0000b2)\r\n";
    let account = account(recipients, jobs);
    assert_eq!(told(&account).as_deref(), Some(expected));
    assert_eq!(report(&account, AnswerKind::Held, "h", at("15:00:00")), None, "a notice is none");
    assert_eq!(told(&Account { dsn: None, ..account }), None);
}

#[test]
fn only_what_was_asked_for_is_reported() {
    let refused = AccountVerdict::Refused { sentence: "The PDF is empty.".into() };
    let table = [
        ("failure, delivered", (true, false, false), AccountVerdict::Jobs, JobState::Delivered, None),
        ("failure, failed", (true, false, false), AccountVerdict::Jobs, FAILED, Some("Status: 5.4.1")),
        (
            "failure, cancelled",
            (true, false, false),
            AccountVerdict::Jobs,
            JobState::Cancelled,
            Some("Status: 5.0.0"),
        ),
        ("failure, refused", (true, false, false), refused.clone(), FAILED, Some("Status: 5.6.0")),
        ("success, failed", (false, true, false), AccountVerdict::Jobs, FAILED, None),
        (
            "success, delivered",
            (false, true, false),
            AccountVerdict::Jobs,
            JobState::Delivered,
            Some("Action: delivered"),
        ),
        ("never, failed", (false, false, true), AccountVerdict::Jobs, FAILED, None),
        ("nothing, failed", (false, false, false), AccountVerdict::Jobs, FAILED, None),
        ("never, refused", (false, false, true), refused, FAILED, None),
    ];
    for (name, (failure, success, never), verdict, state, expected) in table {
        let recipients = vec![recipient("a@fax.example.com", failure, success, never)];
        let mut account = account(recipients, vec![job(&["a@fax.example.com"], state)]);
        account.verdict = verdict;
        let report = told(&account);
        match (report, expected) {
            (None, None) => {}
            (Some(report), Some(part)) => assert!(report.contains(part), "{name}: {report}"),
            (report, _) => panic!("{name}: {report:?}"),
        }
    }
}

#[test]
fn every_cause_has_a_code_of_failure() {
    for cause in Cause::ALL {
        let code = status(*cause);
        assert!(code.starts_with("5.") && code.split('.').count() == 3, "{cause}: {code}");
    }
}

#[test]
fn never_is_kept() {
    let never = |to| recipient(to, false, false, true);
    let (a, b) = ("a@fax.example.com", "b@fax.example.com");
    let held = || JobState::Held { hold: Hold::Unverified, until: at("20:00:00") };
    let table = [
        ("one, never", vec![never(a)], vec![job(&[a], held())], Silence::Wholly),
        (
            "two, one never",
            vec![never(a), recipient(b, true, false, false)],
            vec![job(&[a], held()), job(&[b], held())],
            Silence::Partly,
        ),
        (
            "one telephone, one never",
            vec![never(a), recipient(b, true, false, false)],
            vec![job(&[a, b], held())],
            Silence::None,
        ),
        ("both never", vec![never(a), never(b)], vec![job(&[a], held()), job(&[b], held())], Silence::Wholly),
        ("a job of no address", vec![never(a)], vec![job(&[], held())], Silence::None),
    ];
    for (name, recipients, jobs, expected) in table {
        let account = account(recipients, jobs);
        assert_eq!(account.silence(), expected, "{name}");
        assert!(account.without_silent().jobs.iter().all(|job| job.to != [a]), "{name}");
    }
    let mut refused = account(vec![never(a), recipient(b, true, false, false)], Vec::new());
    refused.verdict = AccountVerdict::Refused { sentence: "x.".into() };
    assert_eq!(refused.silence(), Silence::None, "somebody wants to hear of it");
    assert_eq!(Account { dsn: None, ..refused }.silence(), Silence::None);
}

#[test]
fn nothing_from_outside_adds_a_field() {
    let mut asked = recipient("a@fax.example.com", true, false, false);
    asked.original = Some("rfc822;x\r\nStatus: 2.0.0".into());
    let mut one = account(vec![asked], vec![job(&["a@fax.example.com"], FAILED)]);
    one.dsn.as_mut().unwrap().envelope_id = Some("x\r\nStatus: 2.0.0".into());
    let report = told(&one).unwrap();
    assert!(!report.contains("2.0.0") && !report.contains("Original-"), "{report}");
    let wide = account(
        vec![recipient("jörg@fax.example.com", true, false, false)],
        vec![job(&["jörg@fax.example.com"], FAILED)],
    );
    let report = told(&wide).unwrap();
    assert!(report.contains("Final-Recipient: utf-8;j\\x{F6}rg@fax.example.com\r\n"), "{report}");
}
