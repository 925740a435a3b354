//! One mail, several spellings of one telephone: a mail server that splits it, or somebody with a copy who wants it printed often.
//! And one who may send faxes, and would like to be somebody else.

use faxbridge::store::{JobFilter, Verdict};

use crate::support::{Stage, documents, smtp};

const CONFIG: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "partner"
addresses = ["b@partner.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "number"
to = "{number}@fax.clinic.example"

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[policy]
ask_first = "200 ms"
ask_at_most = "500 ms"
"#;

const JANE: &str = "jane@clinic.example";
const MERCY: &str = "mercy@fax.clinic.example";
const NUMBER: &str = "+12125550199";

async fn stage() -> Stage {
    let mut stage = Stage::new(CONFIG).await;
    stage.verified(&[("mercy", NUMBER), ("mercy-er", NUMBER), ("labs", "+12125550142")]).await;
    stage.start().await;
    stage
}

fn letter(id: &str) -> Vec<u8> {
    let pdf = documents::pdf("referral", 1);
    documents::mail(JANE, MERCY, id, "A referral", &[("a.pdf", &pdf)])
}

async fn send(stage: &Stage, to: &[&str], mail: &[u8]) -> String {
    let to: Vec<String> = to.iter().map(|to| format!("{to}@fax.clinic.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    smtp::send(stage.smtp(), JANE, &to, mail).await.unwrap()
}

/// Without the line breaks that a mail has.
fn unfolded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// When everything that came has been prepared, and every fax has ended.
async fn settled(stage: &Stage) {
    stage
        .until("an end of everything", async || {
            let prepared = stage.submissions().await.iter().all(|submission| submission.final_at.is_some());
            prepared.then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_to_many_spellings_of_one_telephone_is_faxed_once() {
    let stage = stage().await;
    let mail = letter("<split@clinic.example>");
    // The name, the number in several ways, and another name of the same telephone; all at once, so that two are prepared together.
    let spellings =
        ["mercy", NUMBER, "12125550199", "2125550199", "+1-212-555-0199", "+1.212.555.0199", "mercy-er"];
    let all = spellings.map(|to| {
        let (stage, mail) = (&stage, &mail);
        async move { send(stage, &[to], mail).await }
    });
    for reply in futures_util::future::join_all(all).await {
        assert!(reply.starts_with("250 2.0.0 accepted as"), "nobody knows at the door: {reply}");
    }
    settled(&stage).await;
    assert_eq!(stage.delivered(NUMBER).len(), 1, "{}", stage.log_tail());
    let jobs = stage.store.jobs(&JobFilter::default(), 99).await.unwrap();
    let [job] = jobs.as_slice() else { panic!("one job: {jobs:?}") };
    let known = stage.submissions().await;
    let known: Vec<_> =
        known.iter().filter(|submission| submission.verdict == Some(Verdict::Known)).collect();
    assert_eq!(known.len(), spellings.len() - 1);
    // Each is answered, with the fax that stands for it.
    let letters = stage
        .until("an answer to each", async || {
            let letters = stage.answers("split@clinic.example");
            (letters.len() == spellings.len()).then_some(letters)
        })
        .await;
    let again = letters.iter().filter(|letter| unfolded(&letter.text).contains("is not faxed a second time"));
    let again: Vec<_> = again.collect();
    assert_eq!(again.len(), spellings.len() - 1);
    for letter in again {
        let text = unfolded(&letter.text);
        for words in [job.id.as_str(), job.submission.as_str(), "this number gets it once"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    // Sent again to one of those addresses, it is known at once, as the one that was faxed.
    let reply = send(&stage, &["2125550199"], &mail).await;
    assert!(reply.contains(&format!("accepted before as {}", job.submission)), "{reply}");
    // Who writes it anew means it.
    send(&stage, &[NUMBER], &letter("<anew@clinic.example>")).await;
    settled(&stage).await;
    assert_eq!(stage.delivered(NUMBER).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_of_a_mail_goes_and_what_is_known_is_told_beside_it() {
    let stage = stage().await;
    let mail = letter("<more@clinic.example>");
    send(&stage, &["mercy"], &mail).await;
    settled(&stage).await;
    send(&stage, &["labs", "12125550199"], &mail).await;
    settled(&stage).await;
    assert_eq!((stage.delivered(NUMBER).len(), stage.delivered("+12125550142").len()), (1, 1));
    let letters = stage
        .until("both receipts", async || {
            let letters = stage.answers("more@clinic.example");
            (letters.len() == 2).then_some(letters)
        })
        .await;
    let both = letters.iter().find(|letter| letter.text.contains("2 faxes: 2 delivered"));
    let both = both.unwrap_or_else(|| panic!("a receipt of two: {}", letters[1].text));
    assert!(unfolded(&both.text).contains("this number gets it once"), "{}", both.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_send_faxes_sends_none_in_the_name_of_another() {
    let stage = stage().await;
    // From is jane; what the network proves is the envelope.
    smtp::send(stage.smtp(), "b@partner.example", &[MERCY], &letter("<forged@clinic.example>"))
        .await
        .unwrap();
    smtp::send(stage.smtp(), JANE, &[MERCY], &letter("<own@clinic.example>")).await.unwrap();
    settled(&stage).await;
    let told = async |id: &str| unfolded(&stage.final_receipt(id).await.text);
    let sentence =
        "The address in From is not one that you may send faxes from, so the cover does not show it";
    assert!(told("<forged@clinic.example>").await.contains(sentence));
    assert!(!told("<own@clinic.example>").await.contains(sentence));
    let faxes = stage.delivered(NUMBER);
    assert_eq!(faxes.len(), 2, "the same mail of another sender is another mail");
}
