//! One mail, several spellings of one telephone: a mail server that splits it, or somebody with a copy who wants it printed often.
//! And one who may send faxes, and would like to be somebody else.

use faxbridge::store::{JobFilter, Verdict};

use crate::support::{Clinic, JANE, NUMBER, Stage, documents, smtp};

const MERCY: &str = "mercy@fax.clinic.example";

async fn stage() -> Stage {
    let partner =
        "[[sender]]\nname = \"partner\"\naddresses = [\"b@partner.example\"]\nnetworks = [\"127.0.0.0/8\"]";
    let clinic = Clinic::new().mail().with(partner).by_number().by_name().brisk();
    clinic
        .recipient("mercy", NUMBER)
        .recipient("mercy-er", NUMBER)
        .recipient("labs", "+12125550142")
        .open()
        .await
}

fn letter(id: &str) -> Vec<u8> {
    documents::letter(JANE, MERCY, id)
}

async fn send(stage: &Stage, to: &[&str], mail: &[u8]) -> String {
    let to: Vec<String> = to.iter().map(|to| format!("{to}@fax.clinic.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    smtp::send(stage.smtp(), JANE, &to, mail).await.unwrap()
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
    let again = letters.iter().filter(|letter| letter.words().contains("is not faxed a second time"));
    let again: Vec<_> = again.collect();
    assert_eq!(again.len(), spellings.len() - 1);
    for letter in again {
        let text = letter.words();
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
    assert!(both.words().contains("this number gets it once"), "{}", both.text);
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
    let told = async |id: &str| stage.final_receipt(id).await.words();
    let sentence =
        "The address in From is not one that you may send faxes from, so the cover does not show it";
    assert!(told("<forged@clinic.example>").await.contains(sentence));
    assert!(!told("<own@clinic.example>").await.contains(sentence));
    let faxes = stage.delivered(NUMBER);
    assert_eq!(faxes.len(), 2, "the same mail of another sender is another mail");
}
