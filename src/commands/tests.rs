use jiff::SignedDuration;

use super::*;
use crate::addressing::MailFacts;
use crate::job::state::{Context, Event, step};
use crate::job::{Actor, FaxNumber, Hold, JobState, Source};
use crate::register::{Entry, EntryState};
use crate::sealed::{Part, PartKind};
use crate::spool::Spool;
use crate::store::{Document, NewJob, NewSubmission, SourceKeys, Verdict};
use crate::vault::MasterKey;

const CONFIG: &str = r#"
[organization]
name = "Example"
country = "US"
time_zone = "UTC"
[store]
data_dir = "/nonexistent"
master_key = "env:NONE"
[receipt]
relay = "127.0.0.1:25"
from = "fax@clinic.example"
reply_to = "reply@fax.clinic.example"
[[sender]]
name = "front desk"
addresses = ["jane@clinic.example", "@desk.clinic.example"]
[[sender]]
name = "claims"
addresses = ["@claims.clinic.example"]
"#;

const JANE: &str = "jane@clinic.example";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

struct Rig {
    desk: Desk,
    store: Store,
    replies: Replies,
    spool: Spool,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let config: Arc<Config> = Arc::new(toml::from_str(CONFIG).unwrap());
        let spool =
            Spool::open(folder.path().join("spool"), MasterKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let store = Store::open(folder.path(), "test").await.unwrap();
        let replies = Replies::of(&config, spool.vault()).unwrap();
        let desk = Desk::new(config, store.clone(), spool.vault().clone());
        let entry = |key: &str, number: &str, state| Entry {
            key: key.into(),
            name: key.into(),
            organization: None,
            department: None,
            attention: None,
            number: FaxNumber::from_e164(number).unwrap(),
            typed: number.into(),
            csid: None,
            state,
            state_reason: None,
            verified_how: Some("website".into()),
            evidence: None,
            verified_by: Some("test".into()),
            verified_account: None,
            second_by: None,
            second_account: None,
            verified_at: Some(at(-100)),
            valid_until: None,
            notes: None,
            quiet_hours: None,
            voice_count: 0,
            created_at: at(-100),
            updated_at: at(-100),
        };
        let entries = vec![
            entry("mercy", "+12125550199", EntryState::Verified),
            entry("labs", "+12125550110", EntryState::Suspended),
        ];
        assert_eq!(store.add_recipients(entries, &Actor::Daemon, at(-100)).await.unwrap(), None);
        Rig { desk, store, replies, spool, _folder: folder }
    }

    async fn submit(&self, n: u64, sender: &str, receipt_to: &str) -> Submission {
        let id = SubmissionId::new(at(0), n);
        let new = NewSubmission {
            id,
            source: Source::Smtp,
            source_keys: SourceKeys::default(),
            sender: sender.into(),
            receipt_to: Some(self.spool.vault().seal_address(receipt_to).unwrap()),
            accepted_at: at(0),
            wrapped_key: self.spool.vault().new_key().unwrap().1.0,
            facts: vec![],
            documents: vec![Document { name: format!("doc{n}"), bytes: 1, sha256: "00".into() }],
        };
        self.store.insert_submission(new, at(-1)).await.unwrap().unwrap();
        self.store.submission(id).await.unwrap().unwrap()
    }

    /// A Submission of the front desk with one Job in each of these states, to `key` at `number`.
    async fn fax(&self, n: u64, key: &str, number: &str, states: Vec<JobState>) -> SubmissionId {
        let submission = self.submit(n, "front desk", JANE).await;
        let jobs = (0..).zip(states).map(|(place, state)| NewJob {
            id: JobId::new(at(0), n * 100 + place),
            version: 1,
            recipient: Some(key.into()),
            number: Some(FaxNumber::from_e164(number).unwrap()),
            rule: "r".into(),
            route: vec!["sim".into()],
            state,
            deadline: at(86_400),
            send_at: None,
            priority: crate::job::Priority::Normal,
            packet: None,
            facts: vec![],
            mark: None,
        });
        let jobs = jobs.collect();
        let done = self.store.record_prepared(submission.id, Verdict::Jobs, vec![], jobs, false, at(1)).await;
        assert!(done.unwrap());
        submission.id
    }

    async fn states(&self, id: SubmissionId) -> Vec<String> {
        let filter = JobFilter { submission: Some(id), ..JobFilter::default() };
        self.store.jobs(&filter, 10).await.unwrap().iter().map(|job| job.state.as_str().to_owned()).collect()
    }

    /// What comes of `text`, written by `from` of `sender`.
    async fn say(&self, n: u64, (sender, from): (&str, &str), about: SubmissionId, text: &str) -> Carried {
        let submission = self.submit(n, sender, from).await;
        self.say_again(&submission, from, about, text).await
    }

    async fn say_again(
        &self,
        submission: &Submission,
        from: &str,
        about: SubmissionId,
        text: &str,
    ) -> Carried {
        let contents = mail(from, text);
        let letter = Letter {
            submission,
            to: &[],
            proof: Some(Proof::Network),
            envelope_from: Some(from),
            contents: &contents,
        };
        self.desk.carry_out(letter, about, at(10)).await.unwrap()
    }
}

fn mail(from: &str, text: &str) -> Contents {
    Contents {
        mail: Some(MailFacts { from_address: Some(from.into()), ..MailFacts::default() }),
        text: Some(text.into()),
        hold: Some("There is no attachment.".into()),
        ..Contents::default()
    }
}

fn queued() -> JobState {
    JobState::Queued { due: at(0) }
}

fn held(hold: Hold) -> JobState {
    JobState::Held { hold, until: at(1000) }
}

const DESK: (&str, &str) = ("front desk", JANE);

#[tokio::test]
async fn cancel_stops_what_has_not_ended_and_is_in_the_ledger() {
    let rig = Rig::new().await;
    let about = rig.fax(1, "mercy", "+12125550199", vec![held(Hold::Unverified)]).await;
    let carried = rig.say(2, DESK, about, "cancel\n\nJane").await;
    assert_eq!((carried.about, carried.outcome), (Some(about), CommandOutcome::Done));
    assert_eq!(carried.sentence, "Done: the fax is cancelled, and will not be sent.");
    assert_eq!(rig.states(about).await, ["cancelled"]);
    let job =
        rig.store.jobs(&JobFilter { submission: Some(about), ..JobFilter::default() }, 1).await.unwrap();
    let history = rig.store.history(job[0].id).await.unwrap();
    let actor = format!("sender front desk by mail {}", SubmissionId::new(at(0), 2));
    assert!(history.iter().any(|row| row.actor == actor && row.detail == "held -> cancelled"), "{history:?}");
    // A second such mail finds nothing left to do.
    let again = rig.say(3, DESK, about, "cancel").await;
    assert_eq!(again.outcome, CommandOutcome::NotDone);
    assert_eq!(again.sentence, "Nothing was changed: not cancelled, it has ended already.");
    let none = rig.fax(4, "mercy", "+12125550199", vec![]).await;
    assert!(rig.say(5, DESK, none, "cancel").await.sentence.contains("no fax came of that mail"));
}

#[tokio::test]
async fn a_command_of_several_jobs_may_name_one() {
    let rig = Rig::new().await;
    let about =
        rig.fax(1, "mercy", "+12125550199", vec![queued(), held(Hold::Part), JobState::Cancelled]).await;
    let second = JobId::new(at(0), 101);
    let other = rig.say(2, DESK, about, "cancel 06d0s8mk2c0000b2").await;
    assert!(other.sentence.contains("is none of this mail's"), "{}", other.sentence);
    assert!(other.sentence.contains("as in: cancel "), "it shows how: {}", other.sentence);
    let one = rig.say(3, DESK, about, &format!("cancel {second}")).await;
    assert_eq!(one.outcome, CommandOutcome::Done);
    assert_eq!(rig.states(about).await, ["queued", "cancelled", "cancelled"]);
    let all = rig.say(4, DESK, about, "cancel").await;
    assert!(all.sentence.starts_with("1 of 3 changed. Job "), "{}", all.sentence);
    assert_eq!(rig.states(about).await, ["cancelled", "cancelled", "cancelled"]);
}

#[tokio::test]
async fn what_is_being_sent_is_wished_to_stop() {
    let rig = Rig::new().await;
    let about =
        rig.fax(1, "mercy", "+12125550199", vec![JobState::Sending { attempt: 1, since: at(2) }]).await;
    let carried = rig.say(2, DESK, about, "cancel").await;
    assert!(carried.sentence.starts_with("Asked for: the fax is being sent already"), "{}", carried.sentence);
    assert_eq!(rig.states(about).await, ["sending"]);
    let again = rig.say(3, DESK, about, "cancel").await;
    assert_eq!(again.sentence, "Nothing was changed: not cancelled, that was asked for before.");
}

#[tokio::test]
async fn release_lets_on_what_only_asks_whether_to_send_it_again() {
    for hold in Hold::ALL {
        let rig = Rig::new().await;
        let about = rig.fax(1, "mercy", "+12125550199", vec![held(*hold)]).await;
        let carried = rig.say(2, DESK, about, "release").await;
        let goes = matches!(hold, Hold::PartlySent | Hold::Unclear);
        assert_eq!(
            carried.outcome,
            if goes { CommandOutcome::Done } else { CommandOutcome::NotDone },
            "{hold}"
        );
        assert_eq!(rig.states(about).await, [if goes { "queued" } else { "held" }], "{hold}");
        assert!(carried.sentence.ends_with('.') && !carried.sentence.contains(".."), "{}", carried.sentence);
    }
    let rig = Rig::new().await;
    // The register has the last word, as with `faxbridge job release`.
    let about = rig.fax(1, "labs", "+12125550110", vec![held(Hold::Unclear)]).await;
    let carried = rig.say(2, DESK, about, "release").await;
    assert_eq!(carried.outcome, CommandOutcome::NotDone);
    assert!(
        carried.sentence.contains("the register does not stand behind its number"),
        "{}",
        carried.sentence
    );
    assert_eq!(rig.states(about).await, ["held"]);
}

#[tokio::test]
async fn only_the_sender_commands_and_nobody_else_learns_anything() {
    let rig = Rig::new().await;
    let about = rig.fax(1, "mercy", "+12125550199", vec![queued()]).await;
    let unknown = SubmissionId::new(at(0), 999);
    let table = [
        ("another sender", ("claims", "bob@claims.clinic.example"), about),
        ("another sender in the name of the first", ("claims", JANE), about),
        ("an address that is not the sender's", ("front desk", "mallory@elsewhere.example"), about),
        ("no such submission", DESK, unknown),
    ];
    for (n, (name, who, about)) in (10..).zip(table) {
        let carried = rig.say(n, who, about, "cancel").await;
        assert_eq!((carried.about, carried.outcome), (None, CommandOutcome::NotDone), "{name}");
        assert!(carried.sentence.contains("only the sender of a fax"), "{name}: {}", carried.sentence);
    }
    assert_eq!(rig.states(about).await, ["queued"]);
    let colleague = rig.say(20, ("front desk", "Bob@DESK.clinic.example"), about, "status").await;
    assert_eq!((colleague.about, colleague.outcome), (Some(about), CommandOutcome::Told));
}

#[tokio::test]
async fn what_is_no_command_changes_nothing_and_is_told_how_to_write_one() {
    let rig = Rig::new().await;
    let about = rig.fax(1, "mercy", "+12125550199", vec![queued()]).await;
    for (n, text) in (10..).zip(["Thanks!", "", "please cancel", "> cancel"]) {
        let carried = rig.say(n, DESK, about, text).await;
        assert_eq!((carried.about, carried.outcome), (Some(about), CommandOutcome::NotDone), "{text}");
        assert!(carried.sentence.contains("status, cancel, release"), "{}", carried.sentence);
    }
    let submission = rig.submit(20, "front desk", JANE).await;
    let mut contents = mail(JANE, "cancel");
    let part = |pages, left_out: Option<&str>| Part {
        name: "scan.pdf".into(),
        kind: PartKind::Pdf,
        media_type: "application/pdf".into(),
        sha256: String::new(),
        bytes: 1,
        pages,
        left_out: left_out.map(str::to_owned),
        holds: None,
        body: false,
    };
    contents.parts = vec![part(None, Some("a signature")), part(Some((1, 2)), None)];
    let letter = Letter {
        submission: &submission,
        to: &[],
        proof: Some(Proof::Network),
        envelope_from: Some(JANE),
        contents: &contents,
    };
    let carried = rig.desk.carry_out(letter, about, at(10)).await.unwrap();
    assert!(carried.sentence.contains("has no attachments"), "{}", carried.sentence);
    assert_eq!(rig.states(about).await, ["queued"]);
    let mut without = contents.clone();
    without.parts.pop();
    let letter = Letter { contents: &without, ..letter };
    assert_eq!(rig.desk.carry_out(letter, about, at(10)).await.unwrap().outcome, CommandOutcome::Done);
}

/// As after a crash between the change and the answer's commit.
#[tokio::test]
async fn a_command_that_is_begun_again_acts_once() {
    let rig = Rig::new().await;
    let about = rig.fax(1, "mercy", "+12125550199", vec![held(Hold::PartlySent)]).await;
    let command = rig.submit(2, "front desk", JANE).await;
    let first = rig.say_again(&command, JANE, about, "release").await;
    // Meanwhile it was held again, for the same reason as at first.
    let job = rig.store.job(JobId::new(at(0), 100)).await.unwrap().unwrap();
    let context = Context::plain(at(11), at(1000));
    let held_again = step(&job.state, Event::Hold(Hold::PartlySent), &context).unwrap();
    rig.store.save_step(&job, held_again, &Actor::Daemon, false, at(11)).await.unwrap();
    let second = rig.say_again(&command, JANE, about, "release").await;
    assert_eq!(second, first, "the same answer");
    assert_eq!(rig.states(about).await, ["held"], "and nothing was released twice");
}

#[tokio::test]
async fn addresses_tell_commands_from_faxes() {
    let rig = Rig::new().await;
    let (one, two) = (SubmissionId::new(at(0), 1), SubmissionId::new(at(0), 2));
    let reply = |id| rig.replies.address(id, at(0));
    let fax = "mercy@fax.clinic.example".to_owned();
    let late = at(0).checked_add(SignedDuration::from_hours(100)).unwrap();
    let sort = |to: &[String], at| rig.desk.sort(to, at);
    assert_eq!(sort(std::slice::from_ref(&fax), at(1)), Sorted::NotACommand);
    assert_eq!(sort(&[], at(1)), Sorted::NotACommand);
    assert_eq!(sort(&[reply(one)], at(1)), Sorted::Command(one));
    assert_eq!(sort(&[reply(one), reply(one).to_uppercase()], at(1)), Sorted::Command(one));
    for (to, when, part) in [
        (vec![reply(one), fax.clone()], at(1), "in mails of their own"),
        (vec![fax, reply(one)], at(1), "in mails of their own"),
        (vec![reply(one), reply(two)], at(1), "several receipts"),
        (vec![reply(one)], late, "is over"),
        (vec!["reply@fax.clinic.example".into()], at(1), "no address at which"),
    ] {
        let Sorted::Neither(carried) = sort(&to, when) else { panic!("{to:?}") };
        assert_eq!((carried.about, carried.outcome), (None, CommandOutcome::NotDone));
        assert!(carried.sentence.contains(part), "{}", carried.sentence);
    }
}
