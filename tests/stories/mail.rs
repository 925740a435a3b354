//! Story: offices mail documents, with the programs they have, and read one answer in the same thread.

use crate::support::{Stage, clients, documents, smtp};

mod hostile;
mod renewal;

/// Mail from this machine in Jane's name, or in anybody's of the claims department who signs in.
const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"
tls_certificate = "FIXTURES/tls/fax.example.com.pem"
tls_key = "FIXTURES/tls/fax.example.com.key"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "claims"
addresses = ["@claims.clinic.example"]
login = "claims"
password = "file:DIR/claims.password"

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
hurry = 600
ask_first = "200 ms"
ask_at_most = "500 ms"
quiet = "1 s"
"#;

const JANE: &str = "jane@clinic.example";
const RADIOLOGY: &str = "mercy-radiology@fax.clinic.example";
const NUMBER: &str = "+12125550199";

async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    stage.secret("claims.password", b"correct horse");
    stage.verified(&[("mercy-radiology", NUMBER), ("county-labs", "+12125550110")]).await;
    stage.start().await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_swaks_becomes_a_fax_and_one_receipt_in_its_thread() {
    let stage = stage().await;
    std::fs::write(stage.path("referral.pdf"), documents::pdf("the referral", 2)).unwrap();
    let attachment = format!("@{}", stage.path("referral.pdf").display());
    let sent = clients::swaks(
        &stage,
        &["--from", JANE, "--to", RADIOLOGY, "--header", "Subject: Referral", "--body", "Please see page 2."]
            .into_iter()
            .chain(["--header", "Message-Id: <1@clinic.example>", "--attach-type", "application/pdf"])
            .chain(["--attach-name", "referral.pdf", "--attach", &attachment])
            .collect::<Vec<_>>(),
    )
    .await;
    assert!(sent.status.success(), "{}", clients::said(&sent));

    let receipt = stage.final_receipt("<1@clinic.example>").await;
    assert_eq!(receipt.envelope_from, "<>", "a bounce of a receipt goes to nobody");
    assert_eq!(receipt.envelope_to, JANE);
    assert_eq!(receipt.in_reply_to.as_deref(), Some("1@clinic.example"));
    assert_eq!(receipt.references.as_deref(), Some("1@clinic.example"));
    assert_eq!(receipt.auto_submitted.as_deref(), Some("auto-replied"));
    for text in [&receipt.text, &receipt.html] {
        assert!(text.contains("Delivered: all 3 pages"), "{text}");
        assert!(text.contains("+1 212 555 0199") || text.contains("+1 212-555-0199"), "{text}");
        assert!(!text.contains("referral.pdf"), "no file name in a receipt: {text}");
    }
    let faxes = stage.delivered(NUMBER);
    assert_eq!(faxes.len(), 1);
    assert_eq!((faxes[0].pages, faxes[0].pages_announced), (Some(3), Some(3)), "cover and two pages");
    let printed = lopdf::Document::load(stage.path(&format!("faxed/{}.pdf", faxes[0].id))).unwrap();
    assert!(printed.extract_text(&[3]).unwrap().contains("the referral"));
    assert_eq!(stage.answers("<1@clinic.example>").len(), 1, "one answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_in_over_tls_may_write_and_a_wrong_password_is_refused() {
    let stage = stage().await;
    let from = "bob@claims.clinic.example";
    std::fs::write(stage.path("claim.eml"), {
        documents::mail(from, RADIOLOGY, "<2@claims>", "Claim", &[("c.pdf", &documents::pdf("c", 1))])
    })
    .unwrap();
    let data = format!("@{}", stage.path("claim.eml").display());
    let sent = |password: &'static str, more: &'static [&'static str]| {
        let mut arguments = vec!["--from", from, "--to", RADIOLOGY, "--data", &data];
        arguments.extend(["--auth", "PLAIN", "--auth-user", "claims", "--auth-password", password]);
        arguments.extend(more);
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let stage = &stage;
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            clients::swaks(stage, &arguments).await
        }
    };
    let wrong = sent("wrong horse", &["--tls"]).await;
    assert!(!wrong.status.success() && clients::said(&wrong).contains("535"), "{}", clients::said(&wrong));
    let in_the_clear = sent("correct horse", &[]).await;
    assert!(!in_the_clear.status.success(), "no password without TLS: {}", clients::said(&in_the_clear));
    assert!(stage.submissions().await.is_empty());

    let right = sent("correct horse", &["--tls"]).await;
    assert!(right.status.success(), "{}", clients::said(&right));
    let receipt = stage.final_receipt("<2@claims>").await;
    assert_eq!(receipt.envelope_to, from);
    assert_eq!(stage.delivered(NUMBER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_mails_and_is_told_why_not_at_once() {
    let stage = stage().await;
    let mail = stage.path("mail.eml");
    std::fs::write(
        &mail,
        documents::mail(JANE, RADIOLOGY, "<3@clinic.example>", "Labs", &[("l.pdf", &documents::pdf("l", 1))]),
    )
    .unwrap();
    let sent = clients::smtplib(&stage, JANE, RADIOLOGY, &mail).await;
    assert!(sent.status.success(), "{}", clients::said(&sent));
    stage.final_receipt("<3@clinic.example>").await;

    let stranger = clients::smtplib(&stage, "mallory@elsewhere.example", RADIOLOGY, &mail).await;
    let said = clients::said(&stranger);
    assert!(!stranger.status.success() && said.contains("5.7.1"), "{said}");
    assert!(said.contains("is not known here as a sender of faxes"), "{said}");

    let nowhere = clients::smtplib(&stage, JANE, "info@elsewhere.example", &mail).await;
    let said = clients::said(&nowhere);
    assert!(!nowhere.status.success() && said.contains("5.1.1"), "{said}");
    assert!(said.contains("is not an address that is faxed here"), "{said}");
    assert_eq!(stage.submissions().await.len(), 1, "nothing was made of what was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_twice_is_one_fax_and_one_receipt() {
    let stage = stage().await;
    let mail =
        documents::mail(JANE, RADIOLOGY, "<4@clinic.example>", "Once", &[("o.pdf", &documents::pdf("o", 1))]);
    for _ in 0..2 {
        smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    }
    stage.final_receipt("<4@clinic.example>").await;
    // Again when all is over: still the same mail.
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &mail).await.unwrap();
    let other = documents::mail(
        JANE,
        RADIOLOGY,
        "<5@clinic.example>",
        "Other",
        &[("o.pdf", &documents::pdf("o", 1))],
    );
    smtp::send(stage.smtp(), JANE, &[RADIOLOGY], &other).await.unwrap();
    stage.final_receipt("<5@clinic.example>").await;
    assert_eq!(stage.submissions().await.len(), 2);
    assert_eq!(stage.delivered(NUMBER).len(), 2, "one of each mail");
    assert_eq!(stage.answers("<4@clinic.example>").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_number_is_tried_again_and_the_receipt_tells_of_it() {
    let stage = stage().await;
    let to = "county-labs@fax.clinic.example";
    let mail = documents::mail(JANE, to, "<6@clinic.example>", "Busy", &[("b.pdf", &documents::pdf("b", 1))]);
    smtp::send(stage.smtp(), JANE, &[to], &mail).await.unwrap();
    let receipt = stage.final_receipt("<6@clinic.example>").await;
    assert!(receipt.text.contains("Delivered"), "{}", receipt.text);
    assert!(receipt.text.to_lowercase().contains("busy"), "{}", receipt.text);
    assert_eq!(stage.simulator.faxes().len(), 2, "two calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_nobody_verified_is_held_and_its_sender_told() {
    let stage = stage().await;
    let to = "+12125550177@fax.clinic.example";
    let mail = documents::mail(JANE, to, "<7@clinic.example>", "New", &[("n.pdf", &documents::pdf("n", 1))]);
    smtp::send(stage.smtp(), JANE, &[to], &mail).await.unwrap();
    let notice = stage.notice("<7@clinic.example>").await;
    assert!(notice.text.contains("Held"), "{}", notice.text);
    assert!(notice.text.contains("verif"), "it says what is missing: {}", notice.text);
    assert!(stage.simulator.faxes().is_empty(), "nothing rang");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_in_the_form_of_another_country_is_understood_or_the_sender_told() {
    let stage = stage().await;
    // As Americans write it without the country code; and as Germans write theirs, which is no American number.
    let national = "2125550199@fax.clinic.example";
    let mail =
        documents::mail(JANE, national, "<8@clinic.example>", "US", &[("u.pdf", &documents::pdf("u", 1))]);
    smtp::send(stage.smtp(), JANE, &[national], &mail).await.unwrap();
    stage.final_receipt("<8@clinic.example>").await;
    assert_eq!(stage.delivered(NUMBER).len(), 1);

    let foreign = "030901820@fax.clinic.example";
    let mail =
        documents::mail(JANE, foreign, "<9@clinic.example>", "DE", &[("d.pdf", &documents::pdf("d", 1))]);
    smtp::send(stage.smtp(), JANE, &[foreign], &mail).await.unwrap();
    let notice = stage.notice("<9@clinic.example>").await;
    println!("{}", notice.text);
    assert!(notice.text.contains("030901820"), "{}", notice.text);
    assert_eq!(stage.simulator.faxes().len(), 1, "nothing more rang");
}

/// A mail server that saw no answer sends the same once more, and sometimes late: what somebody cancelled meanwhile stays so. Where
/// there is no Message-ID it may as well be a program that means another fax.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_after_its_fax_was_cancelled_stays_cancelled() {
    let stage = stage().await;
    let to = "+12125550177@fax.clinic.example";
    let pdf = documents::pdf("to a number that nobody verified", 1);
    let mail = documents::mail(JANE, to, "<9@clinic.example>", "Labs", &[("l.pdf", &pdf)]);
    let text = String::from_utf8(mail.clone()).unwrap();
    // Without a Message-ID a mail is known by its bytes.
    let nameless = text.replacen("Message-ID: <9@clinic.example>\r\n", "", 1).into_bytes();
    let send = async |mail: &[u8]| smtp::send(stage.smtp(), JANE, &[to], mail).await.unwrap();
    let (new, known) = ("250 2.0.0 accepted as ", "250 2.0.0 accepted before as ");
    for (mail, count) in [(&mail, 1), (&nameless, 2)] {
        assert!(send(mail).await.starts_with(new));
        let job = stage
            .until("a held job", async || {
                let jobs = stage.jobs().await;
                (jobs.len() == count).then(|| jobs[0].id.to_string())
            })
            .await;
        assert!(send(mail).await.starts_with(known), "it is held, and that is its state");
        let cancelled = stage.command("job", &["cancel", &job]).await;
        assert!(cancelled.status.success(), "{}", clients::said(&cancelled));
    }
    stage.final_receipt("<9@clinic.example>").await;
    stage
        .until("both answers have left", async || send(&nameless).await.starts_with(new).then_some(()))
        .await;
    assert!(send(&nameless).await.starts_with(known), "now the second one is known");
    assert!(send(&mail).await.starts_with(known));
    assert_eq!(stage.submissions().await.len(), 3);
    // Who means another fax writes another mail.
    assert!(send(text.replacen("<9@", "<10@", 1).as_bytes()).await.starts_with(new));
}
