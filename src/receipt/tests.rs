use serde_json::Value;

use super::letter::letter;
use super::*;
use crate::job::{Hold, Source};

fn at(text: &str) -> Timestamp {
    format!("2026-11-22T{text}Z").parse().unwrap()
}

fn account(jobs: Vec<JobAccount>) -> Account {
    Account {
        submission: "06d0s8mk2c0000a1".parse().unwrap(),
        source: Source::Smtp,
        organization: "Example Clinic".into(),
        time_zone: "UTC".into(),
        accepted_at: at("14:05:10"),
        original_message_id: Some("<abc@example.com>".into()),
        verdict: AccountVerdict::Jobs,
        jobs,
        deletion: Deletion::By(at("14:52:00")),
        dsn: None,
        file: None,
        left: false,
    }
}

fn job(state: JobState, attempts: Vec<AttemptAccount>) -> JobAccount {
    JobAccount {
        job: "06d0s8mk2c0000b2".parse().unwrap(),
        before: None,
        to: vec!["mercy-radiology@fax.example.com".into()],
        quiet_until: None,
        reference: Some("483920".into()),
        reference_mark: Some("0f0f".into()),
        keep_reference: false,
        recipient: Some(("mercy-radiology".into(), "Mercy Radiology".into())),
        number: Some(FaxNumber::from_e164("+12125550199").unwrap()),
        state,
        hold_sentence: None,
        pages: Some(3),
        cover_pages: 1,
        sha256: Some("ab".repeat(32)),
        rule: Some("named recipient".into()),
        cancel: None,
        attempts,
        parts: Vec::new(),
        warnings: Vec::new(),
        checklist: Vec::new(),
    }
}

fn attempt(n: u32, started: &str, ended: &str, cause: Option<Cause>) -> AttemptAccount {
    AttemptAccount {
        n,
        provider: "simulator".into(),
        started_at: at(started),
        ended_at: Some(at(ended)),
        outcome: Some(if cause.is_some() { "retry" } else { "delivered" }.into()),
        cause,
        pages_sent: None,
        remote_id: None,
        raw_code: None,
        raw_text: None,
        stated: false,
        sent: Some(if cause.is_some() { Sent::Nothing } else { Sent::All }),
        copy: None,
    }
}

fn delivered_attempt(n: u32, started: &str, ended: &str) -> AttemptAccount {
    AttemptAccount {
        pages_sent: Some(3),
        remote_id: Some("MERCY RAD".into()),
        sent: Some(Sent::All),
        copy: Some((ProviderCopy::Deleted, Some(at(ended)))),
        ..attempt(n, started, ended, None)
    }
}

fn delivered() -> Account {
    let mut job = job(JobState::Delivered, vec![delivered_attempt(1, "14:20:00", "14:22:09")]);
    job.checklist = vec![
        Check {
            item: "authorization".into(),
            ok: true,
            note: "sender front desk, rule named recipient".into(),
        },
        Check {
            item: "recipient".into(),
            ok: true,
            note: "verified 2026-10-01 by records, from the official website".into(),
        },
        Check { item: "packet".into(), ok: true, note: "1 part faxed, 0 left out".into() },
    ];
    account(vec![job])
}

fn busy_then_delivered() -> Account {
    let busy = |n, started, ended| AttemptAccount {
        raw_code: Some("17".into()),
        raw_text: Some("user busy".into()),
        ..attempt(n, started, ended, Some(Cause::Busy))
    };
    account(vec![job(
        JobState::Delivered,
        vec![
            busy(1, "14:06:00", "14:06:31"),
            busy(2, "14:09:31", "14:10:02"),
            delivered_attempt(3, "14:13:02", "14:15:00"),
        ],
    )])
}

fn held_unverified() -> Account {
    let until = "2026-11-25T14:06:00Z".parse().unwrap();
    let mut held = job(JobState::Held { hold: Hold::Unverified, until }, Vec::new());
    held.recipient = None;
    held.hold_sentence = Some("Nobody has verified the number +1 212 555 0199 yet.".into());
    held.sha256 = None;
    Account { deletion: Deletion::After { minutes: 30 }, ..account(vec![held]) }
}

fn no_answer() -> Account {
    let tries = [
        ("14:06:00", "14:06:40"),
        ("14:11:40", "14:12:20"),
        ("14:42:20", "14:43:00"),
        ("15:43:00", "15:43:44"),
    ];
    let attempts =
        (1..).zip(tries).map(|(n, (from, to))| attempt(n, from, to, Some(Cause::NoAnswer))).collect();
    let mut failed = job(JobState::Failed { cause: Cause::NoAnswer }, attempts);
    failed.recipient = None;
    failed.number = Some(FaxNumber::from_e164("+493012345678").unwrap());
    Account { deletion: Deletion::Done(at("15:43:44")), ..account(vec![failed]) }
}

fn partly_sent() -> Account {
    let broken =
        AttemptAccount { pages_sent: Some(2), ..attempt(1, "14:06:00", "14:08:00", Some(Cause::PartlySent)) };
    let mut partly = job(JobState::Failed { cause: Cause::PartlySent }, vec![broken]);
    partly.pages = Some(5);
    account(vec![partly])
}

fn unclear() -> Account {
    let lost = AttemptAccount {
        outcome: Some("unclear".into()),
        cause: None,
        sent: Some(Sent::Perhaps),
        ..attempt(1, "14:06:00", "15:07:00", None)
    };
    account(vec![job(JobState::Failed { cause: Cause::Unclear }, vec![lost])])
}

fn refused() -> Account {
    Account {
        verdict: AccountVerdict::Refused {
            sentence: "The PDF is encrypted. Save it without a password and send it again.".into(),
        },
        ..account(Vec::new())
    }
}

fn batch() -> Account {
    let mut first = job(JobState::Delivered, vec![delivered_attempt(1, "14:06:00", "14:08:00")]);
    first.reference = Some("A-1".into());
    let mut second = job(
        JobState::Failed { cause: Cause::NotInService },
        vec![attempt(1, "14:06:00", "14:06:20", Some(Cause::NotInService))],
    );
    second.reference = Some("A-2".into());
    second.recipient = None;
    second.number = Some(FaxNumber::from_e164("+12125550133").unwrap());
    let mut third = job(JobState::Cancelled, Vec::new());
    third.reference = Some("A-3".into());
    Account {
        source: Source::Sftp("claims".into()),
        original_message_id: None,
        ..account(vec![first, second, third])
    }
}

/// What it is called, what happened, which answer, and its text.
type Case = (&'static str, fn() -> Account, AnswerKind, &'static str);

/// Every answer in full; the first line is the subject.
const ANSWERS: &[Case] = &[
    ("delivered", delivered, AnswerKind::Final, include_str!("tests/delivered.txt")),
    (
        "busy, then delivered",
        busy_then_delivered,
        AnswerKind::Final,
        include_str!("tests/busy-then-delivered.txt"),
    ),
    ("held, unverified", held_unverified, AnswerKind::Held, include_str!("tests/held-unverified.txt")),
    ("no answer after 4 tries", no_answer, AnswerKind::Final, include_str!("tests/no-answer.txt")),
    ("partly sent", partly_sent, AnswerKind::Final, include_str!("tests/partly-sent.txt")),
    ("unclear", unclear, AnswerKind::Final, include_str!("tests/unclear.txt")),
    ("refused", refused, AnswerKind::Final, include_str!("tests/refused.txt")),
    ("batch of 3", batch, AnswerKind::Final, include_str!("tests/batch.txt")),
];

#[test]
fn answers_in_full() {
    for (name, account, kind, expected) in ANSWERS {
        let letter = letter(&account(), *kind, None);
        let answer = format!("Subject: {}\n\n{}", letter.subject, text::render(&letter));
        assert_eq!(&answer, expected, "{name}");
        let html = html::render(&letter);
        for line in std::iter::once(&letter.headline).chain(&letter.footer) {
            assert!(html.contains(&html::escape(line)), "{name}: {line} is not in the HTML");
        }
    }
}

#[test]
fn the_record_in_full() {
    let expected: Value = serde_json::from_str(include_str!("tests/no-answer.json")).unwrap();
    assert_eq!(record::record(&no_answer(), AnswerKind::Final), expected);
}

#[test]
fn what_is_kept_names_no_reference_and_verifies() {
    let key = SigningKey::ephemeral().unwrap();
    let mut account = no_answer();
    account.jobs[0].hold_sentence = Some("The file Miller.pdf is damaged.".into());
    account.jobs[0].attempts[0].raw_text = Some("483920: no answer".into());
    let kept = |account: &Account| {
        let json = compose(&account.to_keep(), AnswerKind::Final, None, &key).unwrap().json;
        let record: Value = serde_json::from_slice(&json).unwrap();
        signature::verify(&record).unwrap();
        (String::from_utf8(json).unwrap(), record["receipt"]["jobs"][0].clone())
    };
    let (text, job) = kept(&account);
    assert!(!text.contains("483920") && !text.contains("Miller"), "{text}");
    assert_eq!((&job["reference"], &job["reference_mark"]), (&Value::Null, &"0f0f".into()));
    assert_eq!(job["sha256"], account.jobs[0].sha256.clone().unwrap(), "the digest is the proof");
    // Its rule says so.
    account.jobs[0].keep_reference = true;
    assert_eq!(kept(&account).1["reference"], "483920");
    // What went out has both, under a signature of its own.
    let sent: Value =
        serde_json::from_slice(&compose(&account, AnswerKind::Final, None, &key).unwrap().json).unwrap();
    let job = &sent["receipt"]["jobs"][0];
    assert_eq!((&job["reference"], &job["reference_mark"]), (&"483920".into(), &"0f0f".into()));
}

#[test]
fn a_batch_is_as_good_as_its_worst_fax() {
    let states = |account: &Account| {
        let record = record::record(account, AnswerKind::Final);
        (record["state"].clone(), record["counts"].clone())
    };
    let (state, counts) = states(&batch());
    assert_eq!(state, "failed");
    assert_eq!(counts, serde_json::json!({"delivered": 1, "failed": 1, "cancelled": 1}));
    let mut good = batch();
    good.jobs.truncate(1);
    assert_eq!(states(&good).0, "delivered");
    assert_eq!(states(&refused()).0, "failed");
}

#[test]
fn a_notice_tells_of_what_is_held_and_of_nothing_else() {
    let mut account = held_unverified();
    account.jobs.push(delivered().jobs.remove(0));
    let letter = letter(&account, AnswerKind::Held, None);
    assert_eq!(letter.sections.len(), 1);
    assert!(letter.headline.starts_with("Held: "), "{}", letter.headline);
    assert_eq!(record::record(&account, AnswerKind::Held)["state"], "held");
}

#[test]
fn there_are_whole_sentences_for_every_end() {
    let until = at("20:00:00");
    let ends = Cause::ALL.iter().map(|cause| JobState::Failed { cause: *cause });
    let holds = Hold::ALL.iter().map(|hold| JobState::Held { hold: *hold, until });
    let others = [JobState::Delivered, JobState::Cancelled, JobState::Queued { due: until }];
    for state in ends.chain(holds).chain(others) {
        for source in [Source::Smtp, Source::Sftp("billing".into())] {
            for known in [true, false] {
                let mut job = job(state.clone(), Vec::new());
                if !known {
                    (job.recipient, job.number, job.pages) = (None, None, None);
                }
                let account = Account { source: source.clone(), ..account(vec![job]) };
                let letter = letter(&account, AnswerKind::Final, None);
                for sentence in [&letter.headline, &letter.sections[0].next] {
                    assert!(sentence.is_empty() || sentence.ends_with('.'), "{state:?}: {sentence}");
                    assert!(!sentence.contains("  ") && !sentence.contains(".."), "{state:?}: {sentence}");
                }
                assert!(letter.headline.len() > 20, "{state:?}: {}", letter.headline);
            }
        }
    }
}

#[test]
fn what_an_earlier_try_left_behind_is_told() {
    let partly = || AttemptAccount {
        pages_sent: Some(2),
        sent: Some(Sent::Some),
        ..attempt(1, "14:06:00", "14:08:00", Some(Cause::PartlySent))
    };
    let lost = || AttemptAccount {
        outcome: Some("unclear".into()),
        cause: None,
        sent: Some(Sent::Perhaps),
        ..attempt(1, "14:06:00", "15:07:00", None)
    };
    let last = delivered_attempt(2, "15:20:00", "15:22:00");
    let table = [
        (
            JobState::Cancelled,
            vec![partly()],
            "is not tried again. But pages 1-2 were through in an earlier try.",
        ),
        (JobState::Cancelled, vec![lost()], "is not tried again. But an earlier try may have arrived."),
        (JobState::Cancelled, vec![], "was not sent."),
        (JobState::Failed { cause: Cause::Expired }, vec![lost()], "But an earlier try may have arrived."),
        (
            JobState::Delivered,
            vec![partly(), last.clone()],
            "15:22 UTC. But pages 1-2 were through in an earlier try, and may lie there twice.",
        ),
        (
            JobState::Delivered,
            vec![lost(), last.clone()],
            "15:22 UTC. But an earlier try may have arrived, and may lie there twice.",
        ),
        (JobState::Delivered, vec![last], "15:22 UTC."),
    ];
    for (state, attempts, expected) in table {
        let letter = letter(&account(vec![job(state, attempts)]), AnswerKind::Final, None);
        assert!(letter.headline.ends_with(expected), "{}", letter.headline);
    }
}

#[test]
fn a_person_s_word_is_not_the_provider_s() {
    let stated = AttemptAccount {
        raw_text: Some("stated by a person".into()),
        stated: true,
        ..attempt(1, "14:06:00", "15:07:00", None)
    };
    let lost = AttemptAccount { outcome: Some("unclear".into()), ..attempt(1, "14:06:00", "15:07:00", None) };
    for attempt in [stated, lost] {
        let letter = letter(&account(vec![job(JobState::Delivered, vec![attempt])]), AnswerKind::Final, None);
        assert_eq!(
            letter.sections[0].next,
            "A person stated that it arrived; the fax provider did not confirm it."
        );
    }
}

#[test]
fn a_person_s_no_is_a_no() {
    let stated = AttemptAccount {
        outcome: Some("unclear".into()),
        raw_text: Some("stated by a person".into()),
        stated: true,
        ..attempt(1, "14:06:00", "15:07:00", None)
    };
    for attempts in [vec![stated], Vec::new()] {
        let account = account(vec![job(JobState::Failed { cause: Cause::NotReceived }, attempts)]);
        let letter = letter(&account, AnswerKind::Final, None);
        assert_eq!(
            letter.headline,
            "Not sent: somebody closed the fax to Mercy Radiology at +1 212-555-0199 as not delivered."
        );
        assert_eq!(record::record(&account, AnswerKind::Final)["state"], "failed");
    }
}

#[test]
fn whatever_came_from_outside_stays_text() {
    let mut account = delivered();
    account.organization = "Clinic <b>& Sons</b>".into();
    let job = &mut account.jobs[0];
    job.reference = Some("<script>alert('1')</script>\r\nBcc: all@example.com".into());
    job.recipient = Some(("key\u{202e}".into(), "A \"B\" <img src=x>\nNot sent: forged".into()));
    job.attempts[0].raw_text = Some("</td></tr>\r\n--\n<a href='http://example.com'>".into());
    job.attempts[0].remote_id = Some("<i>\u{7}".into());
    let letter = letter(&account, AnswerKind::Final, None);
    let (html, text) = (html::render(&letter), text::render(&letter));
    for forbidden in ["<script", "<img", "<a ", "<i>", "<b>", "\u{202e}", "\u{7}", "\r"] {
        assert!(!html.contains(forbidden), "{forbidden} in {html}");
    }
    assert!(!letter.subject.contains(['\r', '\n']), "{:?}", letter.subject);
    assert!(!text.lines().any(|line| line.starts_with("Not sent") || line.starts_with("Bcc")), "{text}");
    assert!(text.lines().filter(|line| line.trim() == "--").count() == 1, "{text}");
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)"), "{html}");
}

#[test]
fn the_same_account_gives_the_same_bytes() {
    let key = SigningKey::ephemeral().unwrap();
    let post = Post {
        from: "fax@example.com".into(),
        to: "jane@example.net".into(),
        reply_to: None,
        host: "fax.example.com".into(),
        at: at("14:22:10"),
    };
    let one = compose(&delivered(), AnswerKind::Final, Some(&post), &key).unwrap();
    assert_eq!(one, compose(&delivered(), AnswerKind::Final, Some(&post), &key).unwrap());
    let signed: Value = serde_json::from_slice(&one.json).unwrap();
    assert_eq!(signature::verify(&signed).unwrap(), key.id());
    assert_eq!(signed["receipt"], record::record(&delivered(), AnswerKind::Final));
    assert_eq!(compose(&delivered(), AnswerKind::Final, None, &key).unwrap().mail, None);
}

#[test]
fn an_unknown_time_zone_means_utc_and_other_days_show_their_date() {
    let mut account = no_answer();
    account.time_zone = "Nowhere/Atall".into();
    account.accepted_at = "2026-11-21T23:50:00Z".parse().unwrap();
    let letter = letter(&account, AnswerKind::Final, None);
    assert!(letter.headline.ends_with("(4 tries until 2026-11-22 15:43 UTC)."), "{}", letter.headline);
    assert!(letter.sections[0].attempts[0].starts_with("1. 2026-11-22 14:06:00 to 14:06:40 UTC"));
}

fn answerable() -> Post {
    Post {
        from: "fax@example.com".into(),
        to: "jane@example.net".into(),
        reply_to: Some("reply+x@fax.example.com".into()),
        host: "fax.example.com".into(),
        at: at("14:06:00"),
    }
}

#[test]
fn an_acceptance_says_when_it_goes_out() {
    let until = |text| Some(at(text));
    let table = [
        (JobState::Queued { due: at("14:05:59") }, None, "It goes out now."),
        (JobState::Sending { attempt: 1, since: at("14:05:59") }, None, "It goes out now."),
        (JobState::Queued { due: at("16:00:00") }, None, "It goes out from 16:00 UTC."),
        (
            JobState::Queued { due: at("14:05:59") },
            until("20:00:00"),
            "from 20:00 UTC; until then its recipient takes no calls.",
        ),
        (JobState::Queued { due: at("21:00:00") }, until("20:00:00"), "It goes out from 21:00 UTC."),
        (JobState::Queued { due: at("14:05:59") }, until("14:00:00"), "It goes out now."),
    ];
    for (state, quiet_until, expected) in table {
        let mut job = job(state, Vec::new());
        job.quiet_until = quiet_until;
        let letter = letter(&account(vec![job]), AnswerKind::Accepted, Some(&answerable()));
        assert_eq!(letter.headline, "Accepted: 3 pages for Mercy Radiology at +1 212-555-0199.");
        assert_eq!(letter.subject, "Fax accepted: number ending in 0199, your reference 483920");
        assert!(letter.sections[0].next.contains(expected), "{}", letter.sections[0].next);
        assert!(letter.sections[0].next.ends_with("To stop it, answer this mail with: cancel"));
    }
    let mut several = held_unverified();
    several.jobs.push(job(JobState::Queued { due: at("14:05:59") }, Vec::new()));
    let letter = letter(&several, AnswerKind::Accepted, Some(&answerable()));
    assert_eq!(letter.sections.len(), 1, "what is held has a notice of its own");
}

#[test]
fn a_mail_that_can_be_answered_says_how_and_others_do_not() {
    let held = letter(&held_unverified(), AnswerKind::Held, Some(&answerable()));
    assert!(held.sections[0].next.ends_with("To give it up, answer this mail with: cancel"));
    assert!(held.footer.last().unwrap().contains("one of the words status, cancel, release"));
    let silent = letter(&held_unverified(), AnswerKind::Held, Some(&Post { reply_to: None, ..answerable() }));
    assert!(!silent.sections[0].next.contains("answer this mail"));
    assert!(silent.footer.last().unwrap().contains("read by nobody"));
    let until = at("20:00:00");
    for hold in [Hold::PartlySent, Hold::Unclear] {
        let account = account(vec![job(JobState::Held { hold, until }, Vec::new())]);
        let letter = letter(&account, AnswerKind::Held, Some(&answerable()));
        assert!(letter.sections[0].next.contains("release sends it again, whole; cancel gives it up."));
    }
}

#[test]
fn the_answer_to_a_command_begins_with_what_was_done() {
    let mut account = batch();
    let verdict = |outcome| AccountVerdict::Command {
        id: "06d0s8mk2c0000c3".parse().unwrap(),
        outcome,
        sentence: "Done: the fax is cancelled.".into(),
    };
    account.verdict = verdict(CommandOutcome::Done);
    let done = letter(&account, AnswerKind::Command, Some(&answerable()));
    assert_eq!(done.headline, "Done: the fax is cancelled.");
    assert_eq!(done.subject, "Done: 3 faxes: 1 delivered, 1 cancelled, 1 failed");
    assert_eq!(done.sections.len(), 3);
    assert_eq!(record::record(&account, AnswerKind::Command)["command"]["submission"], "06d0s8mk2c0000c3");
    let key = SigningKey::ephemeral().unwrap();
    let mail = compose(&account, AnswerKind::Command, Some(&answerable()), &key).unwrap().mail.unwrap();
    assert_eq!(mail.message_id, "<06d0s8mk2c0000c3.command@fax.example.com>");
    // One who may not hear of it hears nothing of it.
    account.jobs.clear();
    account.verdict = verdict(CommandOutcome::NotDone);
    let refused = letter(&account, AnswerKind::Command, Some(&Post { reply_to: None, ..answerable() }));
    assert_eq!(refused.subject, "Nothing changed: Fax");
    assert!(refused.sections.is_empty() && refused.footer.len() == 1, "{:?}", refused.footer);
}
