//! Story: staff write in the mail itself what the fax is to be, and offices that come from other fax systems write it as those want
//! it. What goes out is what was asked for, or nothing with a reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Stage, documents, smtp};
use base64::Engine;
use faxbridge::job::Priority;
use faxbridge::store::Job;
use serde_json::Value;

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "records"
addresses = ["records@clinic.example"]
networks = ["127.0.0.0/8"]
readers = ["efax", "rightfax", "interfax", "hylafax", "t37"]

[[sender]]
name = "plain"
addresses = ["plain@clinic.example"]
networks = ["127.0.0.0/8"]
directives = false

[[rule]]
name = "letters"
to = "letter-{recipient}@fax.clinic.example"
body_on_cover = true
cover_may_be_left_out = true

[[rule]]
name = "texts"
to = "text-{recipient}@fax.clinic.example"
body_as_pages = true
cover_may_be_left_out = true
subject_on_cover = false

[[rule]]
name = "claims"
to = "claims@fax.clinic.example"
subject = "{topic} [claim {claim}]"
recipient = "lakeshore"
identifier = "{claim}"
identifier_label = "Claim"
pages = "1-2"

[[rule]]
name = "number in the address"
to = "{number}@fax.clinic.example"
subject_on_cover = true

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
const RECORDS: &str = "records@clinic.example";
const PLAIN: &str = "plain@clinic.example";
const MERCY: (&str, &str) = ("mercy", "+12125550199");
const LAKESHORE: (&str, &str) = ("lakeshore", "+12125550188");
const CODE: (&str, &str) = ("rightfax-62612", "+12125550177");

/// A mail and what `preview` is to say of it.
struct Case {
    name: &'static str,
    from: &'static str,
    /// The To field, display names and all.
    to: &'static str,
    subject: &'static str,
    text: &'static str,
    /// Further header lines.
    head: &'static str,
    /// Pages of its PDF; none without one.
    pdf: u32,
    /// `ready NUMBER PAGES COVERS`, for several jobs with blanks and commas between them; or `refused` or `held` with
    /// words of the reason.
    expected: &'static str,
    /// On the cover, or on the page of the text.
    printed: &'static [&'static str],
    /// On no page.
    absent: &'static [&'static str],
}

const NONE: Case = Case {
    name: "",
    from: JANE,
    to: "mercy@fax.clinic.example",
    subject: "Referral",
    text: "Dear colleague",
    head: "",
    pdf: 3,
    expected: "",
    printed: &[],
    absent: &[],
};

const CASES: &[Case] = &[
    Case {
        name: "options in subject and text",
        subject: "Referral [Ref: R-17]",
        text: "Attn: Dr. Smith\nPages: 1,3\nPatient: MRN 12\n\nDear colleague",
        expected: "ready +12125550199 3 1",
        printed: &["Dr. Smith", "R-17", "Patient", "MRN 12", "Referral"],
        absent: &["Attn:", "Ref:", "[", "Dear colleague"],
        ..NONE
    },
    Case {
        name: "options of one who has them off",
        from: PLAIN,
        subject: "Referral [Ref: R-17]",
        text: "Attn: Dr. Smith\n\nDear colleague",
        expected: "ready +12125550199 4 1",
        printed: &["Referral [Ref: R-17]"],
        absent: &["Dr. Smith", "Dear colleague"],
        ..NONE
    },
    Case {
        name: "the letter on the cover",
        to: "letter-mercy@fax.clinic.example",
        text: "Re: Another subject\n\nPlease see page 2.\n",
        expected: "ready +12125550199 4 1",
        printed: &["Another subject", "Please see page 2."],
        absent: &["Referral", "Re:"],
        ..NONE
    },
    Case {
        name: "a letter that begins like an option",
        to: "letter-mercy@fax.clinic.example",
        text: "Note: please see page 2.\n",
        expected: "ready +12125550199 4 1",
        printed: &["Note: please see page 2."],
        ..NONE
    },
    Case {
        name: "no cover where that may be",
        to: "letter-mercy@fax.clinic.example",
        text: "Cover: off\n\nDear colleague",
        expected: "ready +12125550199 3 0",
        absent: &["Dear colleague"],
        ..NONE
    },
    Case {
        name: "no cover where that may not be",
        text: "Cover: off\n\nDear colleague",
        expected: "refused always has a cover",
        ..NONE
    },
    Case {
        name: "a mail of text alone as pages",
        to: "text-mercy@fax.clinic.example",
        text: "Attn: Dr. Smith\nPriority: low\n\nDear colleague,\nthe results are fine.",
        pdf: 0,
        expected: "ready +12125550199 2 1",
        printed: &["Dr. Smith", "Dear colleague,", "the results are fine."],
        absent: &["Priority", "Referral"],
        ..NONE
    },
    Case {
        name: "text and document, no cover",
        to: "text-mercy@fax.clinic.example",
        text: "Cover: no\n\nDear colleague",
        expected: "ready +12125550199 4 0",
        printed: &["Dear colleague"],
        ..NONE
    },
    Case {
        name: "a mail of text alone where the text is not faxed",
        pdf: 0,
        expected: "held no attachment",
        ..NONE
    },
    Case { name: "a slip of an option", text: "Page: 1\n\nDear", expected: "refused Pages is one", ..NONE },
    Case {
        name: "pages that are not there",
        text: "Pages: 4\n\nDear",
        expected: "refused page 4 was asked for, but the documents have only 3 pages",
        ..NONE
    },
    Case {
        name: "a later time that is past",
        text: "Send-At: 2020-01-01 08:30",
        expected: "refused is past",
        ..NONE
    },
    Case {
        name: "the rule's pages and ours",
        to: "claims@fax.clinic.example",
        subject: "X-ray [claim 4711] [Pages: 2-3]",
        expected: "ready +12125550188 2 1",
        printed: &["4711"],
        absent: &["[Pages"],
        ..NONE
    },
    Case {
        name: "another identifier than the rule's",
        to: "claims@fax.clinic.example",
        subject: "X-ray [claim 4711]",
        text: "Claim: 4712",
        expected: "refused does not fit to the identifier",
        ..NONE
    },
    Case {
        name: "two addresses, one fax each",
        to: "mercy@fax.clinic.example, +12125550188@fax.clinic.example",
        expected: "ready +12125550199 4 1, +12125550188 4 1",
        ..NONE
    },
    Case {
        name: "two addresses of one telephone",
        to: "mercy@fax.clinic.example, 2125550199@fax.clinic.example",
        expected: "ready +12125550199 4 1",
        ..NONE
    },
    Case {
        name: "efax",
        from: RECORDS,
        to: "12125550199/to=John_Doe/fr=Jane_Doe/co=Doe/cp=on@fax.clinic.example",
        expected: "ready +12125550199 4 1",
        printed: &["John Doe", "Jane Doe"],
        absent: &["John_Doe"],
        ..NONE
    },
    Case {
        name: "efax with two wishes for one telephone",
        from: RECORDS,
        to: "12125550199/to=John@fax.clinic.example, 12125550199/to=Jane@fax.clinic.example",
        expected: "refused mean the same number and ask for different faxes",
        ..NONE
    },
    Case {
        name: "efax, address against text",
        from: RECORDS,
        to: "12125550199/to=John_Doe@fax.clinic.example",
        text: "Attn: Jane Doe",
        expected: "refused does not fit to",
        ..NONE
    },
    Case {
        name: "efax of one who has it off",
        to: "12125550199/to=John_Doe@fax.clinic.example",
        expected: "refused No rule",
        ..NONE
    },
    Case {
        name: "rightfax, number in the text",
        from: RECORDS,
        to: "fax@fax.clinic.example",
        text: "<TOFAXNUM:12125550199><TONAME:John Doe>\n<UNIQUEID:R-18>\nDear",
        expected: "ready +12125550199 4 1",
        printed: &["John Doe", "R-18"],
        ..NONE
    },
    Case {
        name: "rightfax, short code",
        from: RECORDS,
        to: "fax@fax.clinic.example",
        text: "*AUTOFAX*<TOFAXNUM:62612>\n",
        expected: "ready +12125550177 4 1",
        ..NONE
    },
    Case {
        name: "rightfax, numbers in display names",
        from: RECORDS,
        to: "\"/fax=212 555-0199/\" <fax@fax.clinic.example>, \"/name=Bob/fax=+1 (212) 555-0188\" <fax@fax.clinic.example>",
        expected: "ready +12125550199 4 1, +12125550188 4 1",
        ..NONE
    },
    Case {
        name: "rightfax, display name against text",
        from: RECORDS,
        to: "\"/fax=212 555-0199/\" <fax@fax.clinic.example>",
        text: "<TOFAXNUM:12125550188>",
        expected: "refused is not the number that the address stands for",
        ..NONE
    },
    Case {
        name: "rightfax, another number than the address",
        from: RECORDS,
        text: "<TOFAXNUM:12125550188>",
        expected: "refused is not the number that the address stands for",
        ..NONE
    },
    Case {
        name: "rightfax, the number of the address again",
        from: RECORDS,
        text: "<TOFAXNUM:12125550199>",
        expected: "ready +12125550199 4 1",
        ..NONE
    },
    Case {
        name: "rightfax, a number nobody verified",
        from: RECORDS,
        to: "fax@fax.clinic.example",
        text: "<TOFAXNUM:12125550166>",
        expected: "held Nobody has verified the number",
        ..NONE
    },
    Case {
        name: "rightfax codes of one who has them off",
        text: "<TOFAXNUM:12125550188>",
        expected: "ready +12125550199 4 1",
        ..NONE
    },
    Case {
        name: "interfax",
        from: RECORDS,
        to: "letter-mercy@fax.clinic.example",
        subject: "Referral /bn /rf",
        expected: "ready +12125550199 4 1",
        printed: &["Referral"],
        absent: &["/bn", "Dear colleague"],
        ..NONE
    },
    Case {
        name: "interfax, text where it is not faxed",
        from: RECORDS,
        subject: "Referral /b",
        expected: "refused the text of a mail to this address is not faxed",
        ..NONE
    },
    Case {
        name: "hylafax",
        from: RECORDS,
        to: "john.doe@2125550199.fax.clinic.example",
        head: "X-FAX-VRes: 98\r\nX-FAX-Dialstring: +1 212 555 0199\r\n",
        expected: "ready +12125550199 4 1",
        printed: &["john doe"],
        ..NONE
    },
    Case {
        name: "hylafax, another number in the header",
        from: RECORDS,
        head: "X-FAX-Dialstring: +1 212 555 0188\r\n",
        expected: "refused is not the number that the address stands for",
        ..NONE
    },
    Case {
        name: "t37",
        from: RECORDS,
        to: "FAX=+12125550199@fax.clinic.example",
        expected: "ready +12125550199 4 1",
        ..NONE
    },
    Case {
        name: "t37 with a sub-address",
        from: RECORDS,
        to: "FAX=+12125550199/T33S=1@fax.clinic.example",
        expected: "refused sub-address",
        ..NONE
    },
    Case {
        name: "t37, packed by Exchange",
        from: RECORDS,
        to: "IMCEAFAX-John+20Doe+40+2B1+20212+20555+200199@fax.clinic.example",
        expected: "ready +12125550199 4 1",
        printed: &["John Doe"],
        ..NONE
    },
];

/// A mail as a mail program writes it, with the To field as it is given.
fn mail(case: &Case) -> Vec<u8> {
    let Case { from, to, subject, head, .. } = case;
    let text = case.text.replace('\n', "\r\n");
    let mut mail = format!(
        "{head}From: Jane Doe <{from}>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <1@clinic.example>\r\n\
         Date: Thu, 26 Nov 2026 10:00:00 -0500\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n\
         --b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    );
    if case.pdf > 0 {
        mail.push_str(
            "--b1\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"scan.pdf\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n",
        );
        let pdf = documents::pdf("the scan", case.pdf);
        for line in base64::prelude::BASE64_STANDARD.encode(pdf).as_bytes().chunks(76) {
            mail.push_str(std::str::from_utf8(line).unwrap());
            mail.push_str("\r\n");
        }
    }
    mail.push_str("--b1--\r\n");
    mail.into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_what_is_faxed_or_nothing_with_a_reason() {
    let stage = Stage::new(CONFIG).await;
    stage.verified(&[MERCY, LAKESHORE, CODE]).await;
    let (out, mut inputs): (PathBuf, Vec<String>) = (stage.path("out"), Vec::new());
    for (n, case) in CASES.iter().enumerate() {
        let path = stage.path(&format!("{n:02}.eml"));
        std::fs::write(&path, mail(case)).unwrap();
        inputs.push(path.display().to_string());
    }
    let out_shown = out.display().to_string();
    let arguments = ["--json", "--no-pictures", "--out", out_shown.as_str()];
    let arguments: Vec<&str> = arguments.into_iter().chain(inputs.iter().map(String::as_str)).collect();
    let ran = stage.command("preview", &arguments).await;
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), CASES.len());
    let mut wrong = Vec::new();
    for (case, line) in CASES.iter().zip(&lines) {
        if let Err(fault) = judge(case, line, &out) {
            wrong.push(format!("{}: {fault}\n  {line}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

fn judge(case: &Case, line: &Value, out: &Path) -> Result<(), String> {
    let verdict = line["verdict"].as_str().unwrap();
    if verdict != "ready" {
        let (expected, why) = case.expected.split_once(' ').unwrap();
        let reason = line["reason"].as_str().unwrap_or_default();
        return if verdict == expected && reason.contains(why) {
            Ok(())
        } else {
            Err("another verdict".into())
        };
    }
    let mut found = Vec::new();
    let mut text = String::new();
    for job in line["jobs"].as_array().unwrap() {
        let name = job["pdf"].as_str().or(line["packet"]["pdf"].as_str()).unwrap();
        let pages = lopdf::Document::load(out.join(name)).unwrap().get_pages().len();
        found.push(format!("{} {pages} {}", job["number"].as_str().unwrap(), line["packet"]["cover_pages"]));
        let read = Command::new("pdftotext").arg("-layout").arg(out.join(name)).arg("-").output().unwrap();
        text.push_str(&String::from_utf8(read.stdout).unwrap());
    }
    let body = line["parts"].as_array().unwrap().iter().find(|part| part["kind"] == "text").unwrap();
    if body["pages"].is_null() == case.to.starts_with("text-") {
        return Err(format!("the text as a part is {body}"));
    }
    let found = format!("ready {}", found.join(", "));
    if found != case.expected {
        return Err(format!("{found} instead of {}", case.expected));
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in case.printed {
        if !words.contains(expected) {
            return Err(format!("{expected:?} is not printed: {words}"));
        }
    }
    match case.absent.iter().find(|absent| words.contains(**absent)) {
        Some(absent) => Err(format!("{absent:?} is printed: {words}")),
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_addresses_make_two_faxes_and_one_receipt_and_a_later_time_is_kept() {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[MERCY, LAKESHORE]).await;
    stage.start().await;
    let send = async |id: &str, from: &'static str, to: &[&str], text: &'static str| {
        let whole = String::from_utf8(mail(&Case { from, text, pdf: 2, ..NONE })).unwrap();
        smtp::send(stage.smtp(), from, to, whole.replace("<1@clinic.example>", id).as_bytes()).await
    };
    let to = ["mercy@fax.clinic.example", "+12125550188@fax.clinic.example"];
    send("<1@clinic.example>", JANE, &to, "Pages: 2-2\nAttn: Dr. Smith\n\nDear").await.unwrap();
    let receipt = stage.final_receipt("<1@clinic.example>").await;
    assert_eq!(stage.answers("<1@clinic.example>").len(), 1, "one answer for both");
    assert_eq!(receipt.text.matches("Delivered: ").count(), 2, "{}", receipt.text);
    for (_, number) in [MERCY, LAKESHORE] {
        let faxes = stage.delivered(number);
        assert_eq!(faxes.len(), 1);
        assert_eq!(faxes[0].pages, Some(2), "cover and the one page that was asked for");
    }

    // Two names of one telephone: one fax, and the receipt says so.
    let same = ["mercy@fax.clinic.example", "2125550199@fax.clinic.example"];
    send("<6@clinic.example>", JANE, &same, "Dear").await.unwrap();
    let receipt = stage.final_receipt("<6@clinic.example>").await;
    let words = receipt.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("2 of your mail's mean this number; it is faxed there once"), "{words}");
    assert_eq!(stage.delivered(MERCY.1).len(), 2);

    // In another system's address RCPT finds what the rules find; in that of a sender without the reader, nothing.
    let efax = ["12125550199/to=John_Doe/cp=on@fax.clinic.example"];
    send("<2@clinic.example>", RECORDS, &efax, "Dear").await.unwrap();
    assert!(send("<3@clinic.example>", JANE, &efax, "Dear").await.is_err());
    stage.final_receipt("<2@clinic.example>").await;
    assert_eq!(stage.delivered(MERCY.1).len(), 3);

    // A mistake is answered, and nothing is faxed.
    send("<4@clinic.example>", JANE, &to, "Pages: all\n\nDear").await.unwrap();
    let refusal = stage.final_receipt("<4@clinic.example>").await;
    let words = refusal.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("write them in rising order, as Pages: 1-3,7"), "{words}");

    // Put off, and lying in its queue until then.
    send("<5@clinic.example>", JANE, &to[..1], "Send-At: 23:59 -12:00\nPriority: high\n\nDear")
        .await
        .unwrap();
    let late = stage
        .until("the job that was put off", async || {
            stage.jobs().await.into_iter().find(|job: &Job| job.priority == Priority::High)
        })
        .await;
    let at = late.send_at.unwrap();
    assert_eq!(late.state, faxbridge::job::JobState::Queued { due: at });
    assert_eq!(late.deadline.duration_since(at).as_hours(), 24, "its time to be tried begins then");
    let listed = stage.command("job", &["list", "--json", "--state", "queued"]).await;
    let listed: Value = serde_json::from_slice(listed.stdout.trim_ascii()).unwrap();
    assert_eq!(
        (listed["priority"].as_str(), listed["send_at"].as_str()),
        (Some("high"), Some(&*at.to_string()))
    );

    assert_eq!(stage.delivered(MERCY.1).len(), 3);
    assert_eq!(stage.delivered(LAKESHORE.1).len(), 1);
    let log = stage.log();
    for secret in ["Dr. Smith", "John_Doe", "John Doe", "Pages: all", "Send-At"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
