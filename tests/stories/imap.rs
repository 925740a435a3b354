//! Story: documents lie in a mailbox of the office's own mail server, a real Dovecot, and are fetched from there.

use std::sync::atomic::Ordering;
use std::time::Duration;

mod cutter;
mod dovecot;
mod provider;
mod tokens;

use crate::support::{Clinic, JANE, NUMBER, RADIOLOGY, Stage, clients, documents, smtp};
use dovecot::{Dovecot, PASSWORD, USER};

/// One whose mailbox is at this port. Nothing is polled within any story: the server tells what comes
/// in while the daemon waits (IDLE).
pub(crate) fn clinic(port: u16) -> Clinic {
    let clinic = Clinic::new().mail().by_number().by_name().brisk();
    let clinic = clinic.radiology().recipient("county-labs", "+12125550110");
    clinic.with(&format!("imap.office.server = \"127.0.0.1:{port}\"")).with(
        r#"
[imap.office]
tls = "none"
login = "fax@clinic.example"
password = "file:DIR/imap.password"
poll = "10 min"
sender = "front desk"
"#,
    )
}

/// A mail to `to` with one page, named by `n`.
pub(crate) fn mail(to: &str, n: &str) -> Vec<u8> {
    let page = documents::pdf(&format!("page of {n}"), 1);
    documents::mail(JANE, to, &format!("<{n}@clinic.example>"), "Referral", &[("a.pdf", &page)])
}

pub(crate) fn id(n: &str) -> String {
    format!("<{n}@clinic.example>")
}

pub(crate) async fn stage(clinic: &Clinic) -> Stage {
    let stage = Stage::new(clinic).await;
    stage.secret("imap.password", PASSWORD.as_bytes());
    stage
}

/// Waits until the mails in `folder` are these, in any order.
pub(crate) async fn lies(stage: &Stage, dovecot: &Dovecot, folder: &str, expected: &[&str]) {
    let mut expected: Vec<String> = expected.iter().map(|n| id(n)).collect();
    expected.sort();
    stage
        .until_in(
            Duration::from_secs(45),
            Duration::from_millis(100),
            &format!("{expected:?} in {folder}"),
            async || {
                let mut mails = dovecot.mails(folder).await;
                mails.sort();
                (mails == expected).then_some(())
            },
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_mailbox_and_what_comes_becomes_faxes_and_lies_in_faxed() {
    let dovecot = Dovecot::start("", "").await;
    let mut stage = stage(&clinic(dovecot.port)).await;
    dovecot.deliver("INBOX", &mail(RADIOLOGY, "before")).await;
    stage.start().await;
    stage.final_receipt(&id("before")).await;
    lies(&stage, &dovecot, "Faxed", &["before"]).await;
    assert_eq!(dovecot.mails("INBOX").await, Vec::<String>::new());
    assert!(!dovecot.flags("Faxed").await.contains("Seen"), "a fetched mail is not read by anybody");

    // Ten minutes until the next look: it is the server that tells.
    dovecot.deliver("INBOX", &mail(RADIOLOGY, "while-waiting")).await;
    lies(&stage, &dovecot, "Faxed", &["before", "while-waiting"]).await;
    stage.final_receipt(&id("while-waiting")).await;
    assert_eq!(stage.delivered(NUMBER).len(), 2);
    assert!(stage.daemon().stop().await.success());
    assert!(!stage.log().contains(JANE) && !stage.log().contains("clinic.example"), "{}", stage.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_lies_in_held_and_what_is_not_faxed_in_refused() {
    let dovecot = Dovecot::start("", "").await;
    let mut stage = stage(&clinic(dovecot.port).with("limits.submission = \"200 kB\"")).await;
    stage.start().await;
    let nowhere = mail("somebody@elsewhere.example", "nowhere");
    let large = documents::mail(JANE, RADIOLOGY, &id("large"), "x", &[("a.pdf", &vec![b'x'; 200_000])]);
    // Nobody verified these numbers.
    let first = mail("+12125550177@fax.clinic.example", "cancelled");
    let second = mail("+12125550178@fax.clinic.example", "released");
    for mail in [&nowhere, &large, &first, &second] {
        dovecot.deliver("INBOX", mail).await;
    }
    lies(&stage, &dovecot, "Refused", &["nowhere", "large"]).await;
    lies(&stage, &dovecot, "Held", &["cancelled", "released"]).await;
    assert_eq!(dovecot.mails("INBOX").await, Vec::<String>::new());
    assert!(stage.answers(&id("nowhere")).is_empty(), "nothing of it was accepted, so nothing is answered");
    let log = stage.log();
    assert!(
        log.contains("it names no address that a rule takes")
            && log.contains("larger than limits.submission"),
        "{log}"
    );

    stage.verified(&[("late", "+12125550178")]).await;
    for job in stage.jobs().await {
        let number = job.number.clone().unwrap().to_string();
        let word = if number.ends_with("77") { "cancel" } else { "release" };
        let arguments = [word, job.id.as_str()];
        let done = stage.command("job", &arguments).await;
        assert!(done.status.success(), "{}", clients::said(&done));
    }
    lies(&stage, &dovecot, "Faxed", &["released"]).await;
    lies(&stage, &dovecot, "Refused", &["nowhere", "large", "cancelled"]).await;
    assert_eq!(dovecot.mails("Held").await, Vec::<String>::new());
    assert_eq!(stage.delivered("+12125550178").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_its_server_vouches_for_is_taken_and_no_other() {
    let dovecot = Dovecot::start("", "").await;
    let upstream = "imap.office.authserv_id = \"mx.clinic.example\"\n[[sender]]\nname = \"front desk\"\n\
                    addresses = [\"jane@clinic.example\"]\nproof = [\"upstream\"]";
    let clinic = clinic(dovecot.port).without("imap.office.sender").without("sender").with(upstream);
    let mut stage = stage(&clinic).await;
    stage.start().await;
    let pass = "Authentication-Results: mx.clinic.example; dmarc=pass header.from=clinic.example\r\n";
    let fail = "Authentication-Results: mx.clinic.example; dmarc=fail header.from=clinic.example\r\n";
    let other = "Authentication-Results: mx.evil.example; dmarc=pass header.from=clinic.example\r\n";
    for (line, n) in [(pass, "vouched"), (fail, "failed"), (other, "elsewhere"), ("", "nothing")] {
        dovecot.deliver("INBOX", &[line.as_bytes(), &mail(RADIOLOGY, n)].concat()).await;
    }
    lies(&stage, &dovecot, "Faxed", &["vouched"]).await;
    lies(&stage, &dovecot, "Refused", &["failed", "elsewhere", "nothing"]).await;
    stage.final_receipt(&id("vouched")).await;
    for n in ["failed", "elsewhere", "nothing"] {
        assert!(stage.answers(&id(n)).is_empty(), "nobody is answered whom nothing proves");
    }
    assert_eq!(stage.submissions().await.len(), 1);
}

/// Killed at every step, with a server that moves, with one that only copies, and with one that does not even say where to.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_at_any_step_faxes_once_and_leaves_no_mail_behind() {
    let none = "imap_capability = IMAP4rev1 IDLE UIDPLUS\n";
    for capability in ["", none] {
        let dovecot = Dovecot::start(capability, "").await;
        let mut stage = stage(&clinic(dovecot.port)).await;
        let steps = ["imap.accepted", "imap.recorded", "imap.moving", "imap.copied", "imap.moved"];
        for (at, step) in steps.iter().enumerate() {
            dovecot.deliver("INBOX", &mail(RADIOLOGY, &step.replace('.', "-"))).await;
            stage.start_with(&[("FAXBRIDGE_CRASH_AT", (*step).to_owned())]).await;
            let status = stage.daemon().ended().await;
            assert!(!status.success(), "{step}");
            stage.start().await;
            let expected: Vec<String> =
                steps.iter().take(at + 1).map(|step| step.replace('.', "-")).collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            lies(&stage, &dovecot, "Faxed", &expected).await;
            lies(&stage, &dovecot, "INBOX", &[]).await;
            stage.final_receipt(&id(&step.replace('.', "-"))).await;
            stage.daemon().kill().await;
        }
        assert_eq!(stage.submissions().await.len(), steps.len());
        assert_eq!(stage.delivered(NUMBER).len(), steps.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_a_new_uidvalidity_is_read_anew_and_nothing_faxed_twice() {
    let dovecot = Dovecot::start("", "").await;
    let mut stage = stage(&clinic(dovecot.port)).await;
    let unnamed = {
        let text = String::from_utf8(mail(RADIOLOGY, "unnamed")).unwrap();
        text.replace("Message-ID: <unnamed@clinic.example>\r\n", "")
    };
    dovecot.deliver("INBOX", &mail(RADIOLOGY, "named")).await;
    dovecot.deliver("INBOX", unnamed.as_bytes()).await;
    // Both are recorded, and still lie where they came in.
    stage.start_with(&[("FAXBRIDGE_CRASH_AT", "imap.recorded:2".into())]).await;
    stage.daemon().ended().await;
    assert_eq!(dovecot.mails("INBOX").await.len(), 2);
    dovecot.change_uidvalidity("INBOX", 777).await;
    stage.start().await;
    stage.until("both in Faxed", async || (dovecot.mails("Faxed").await.len() == 2).then_some(())).await;
    stage.until("two faxes", async || (stage.delivered(NUMBER).len() == 2).then_some(())).await;
    assert_eq!(stage.submissions().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_over_smtp_and_twice_in_the_mailbox_is_one_fax() {
    let dovecot = Dovecot::start("", "").await;
    let mut stage = stage(&clinic(dovecot.port)).await;
    stage.start().await;
    let mail = mail(RADIOLOGY, "same");
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    dovecot.deliver("INBOX", &mail).await;
    dovecot.deliver("INBOX", &[b"Received: by another way\r\n".as_slice(), &mail].concat()).await;
    lies(&stage, &dovecot, "Faxed", &["same", "same"]).await;
    stage.final_receipt(&id("same")).await;
    assert_eq!(stage.submissions().await.len(), 1);
    assert_eq!(stage.delivered(NUMBER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_the_middle_of_a_mail_is_begun_anew() {
    let dovecot = Dovecot::start("", "").await;
    let (port, cuts) = cutter::cutter(dovecot.port, 100_000, 1).await;
    let mut stage = stage(&clinic(port)).await;
    let pages = documents::pdf(&"many words ".repeat(30_000), 1);
    dovecot.deliver("INBOX", &documents::mail(JANE, RADIOLOGY, &id("cut"), "x", &[("a.pdf", &pages)])).await;
    stage.start().await;
    lies(&stage, &dovecot, "Faxed", &["cut"]).await;
    assert_eq!(cuts.load(Ordering::SeqCst), 1);
    assert_eq!(stage.submissions().await.len(), 1);
    assert!(stage.log().contains("mailbox office is not fetched, again in"), "{}", stage.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_what_was_moved_from_here_and_nothing_else() {
    // The second server neither moves nor deletes one mail alone, and does not tell of new ones: it is asked every second.
    for capability in ["", "imap_capability = IMAP4rev1\n"] {
        let dovecot = Dovecot::start(capability, "").await;
        dovecot.make("Faxed").await;
        dovecot.deliver("Faxed", &mail(RADIOLOGY, "of-a-person")).await;
        let poll = if capability.is_empty() { "10 min" } else { "1 s" };
        let often = format!("retention.mailboxes = \"1 s\"\nimap.office.poll = \"{poll}\"");
        let mut stage = stage(&clinic(dovecot.port).with(&often)).await;
        stage.start().await;
        dovecot.deliver("INBOX", &mail(RADIOLOGY, "ours")).await;
        dovecot.deliver("INBOX", &mail("+12125550177@fax.clinic.example", "held")).await;
        dovecot.deliver("INBOX", &mail("x@elsewhere.example", "refused")).await;
        stage.final_receipt(&id("ours")).await;
        stage
            .until("one mail deleted in each of two folders", async || {
                (stage.log().matches(": 1 mails deleted").count() == 2).then_some(())
            })
            .await;
        lies(&stage, &dovecot, "INBOX", &[]).await;
        lies(&stage, &dovecot, "Faxed", &["of-a-person"]).await;
        lies(&stage, &dovecot, "Refused", &[]).await;
        lies(&stage, &dovecot, "Held", &["held"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_setting_of_a_mailbox_is_wrong() {
    let dovecot = Dovecot::start("", "").await;
    let stage = stage(&clinic(dovecot.port)).await;
    let authorities = format!("authorities = \"{}\"\n", dovecot.authority().display());
    let plain = |lines: &str| clinic(dovecot.port).with(&format!("[imap.office]\n{lines}"));
    let secure = |tls: &str, port: u16, more: &str| {
        clinic(port).with(&format!("[imap.office]\ntls = \"{tls}\"\n{more}"))
    };
    let good = [
        plain(""),
        secure("implicit", dovecot.tls_port, &authorities),
        secure("starttls", dovecot.port, &authorities),
    ];
    for config in &good {
        stage.configure(config);
        let checked = stage.command("check", &[]).await;
        let said = clients::said(&checked);
        assert!(said.contains("the mailbox office lets us in; the daemon will make the missing folders \"Faxed\", \"Held\", \"Refused\""), "{said}");
    }
    std::fs::write(stage.path("wrong"), "close sesame").unwrap();
    let cases = [
        (secure("implicit", dovecot.tls_port, ""), "imap.office.authorities", "none of the authorities"),
        (secure("starttls", dovecot.port, ""), "imap.office.authorities", "none of the authorities"),
        (
            secure("implicit", dovecot.port, &authorities),
            "imap.office.tls",
            "does not speak TLS on this port",
        ),
        (plain("server = \"127.0.0.1:1\""), "imap.office.server", "cannot be reached"),
        (
            plain("password = \"file:DIR/wrong\""),
            "imap.office.password",
            "does not take this login and password",
        ),
        (plain("folder = \"Nowhere\""), "imap.office.folder", "no folder \"Nowhere\""),
    ];
    for (config, key, says) in cases {
        stage.configure(config);
        let checked = stage.command("check", &[]).await;
        let said = clients::said(&checked);
        let line = clients::fault(&said, key);
        assert!(line.contains(says), "{line}");
        assert_eq!(checked.status.code(), Some(1), "it lies outside of this machine:\n{said}");
        assert!(!said.contains(USER) && !said.contains("sesame"), "{said}");
    }
    assert_eq!(dovecot.mails("Faxed").await, Vec::<String>::new());
}
