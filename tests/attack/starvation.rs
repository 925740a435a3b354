//! Clients that take all of something, and the others beside them.

/// What a sender's documents cost is that sender's.
mod preparing {
    use std::time::{Duration, Instant};

    use faxbridge::store::Submission;
    use lopdf::{Document, Object, Stream, dictionary};
    use tokio::time::MissedTickBehavior;

    use crate::support::smtp::Session;
    use crate::support::stage::BASE;
    use crate::support::{Stage, documents, smtp};

    const WAYS: &str = r#"
[smtp]
listen = ["127.0.0.1:0"]
hostname = "fax.clinic.example"

[[sender]]
name = "somebody"
addresses = ["mallory@elsewhere.example"]
networks = ["127.0.0.0/8"]

[[sender]]
name = "front desk"
addresses = ["jane@clinic.example"]
networks = ["127.0.0.0/8"]

[[rule]]
name = "named recipient"
to = "{recipient}@fax.clinic.example"

[limits]
workers = 2
worker_time = "20 s"
"#;

    const JANE: &str = "jane@clinic.example";
    const MALLORY: &str = "mallory@elsewhere.example";
    const TO: &str = "mercy-radiology@fax.clinic.example";

    /// A small PDF that keeps its reader busy: each of its pages unfolds the same stream to 60 MB of blanks.
    fn bomb() -> Vec<u8> {
        let mut document = Document::with_version("1.5");
        let tree = document.new_object_id();
        let mut content = Stream::new(dictionary! {}, vec![b' '; 60 << 20]);
        content.compress().unwrap();
        let content = document.add_object(content);
        let kids: Vec<Object> = (0..290)
            .map(|_| {
                let page = dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content };
                document.add_object(page).into()
            })
            .collect();
        document.objects.insert(
            tree,
            Object::Dictionary(dictionary! {
                "Type" => "Pages", "Count" => 290, "Kids" => kids, "Resources" => dictionary! {},
                "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
            }),
        );
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
        document.trailer.set("Root", catalog);
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        bytes
    }

    async fn stage() -> Stage {
        // Nobody is in the register, so that nothing is sent: how long preparing takes is the question.
        let mut stage = Stage::with(&format!("{BASE}{WAYS}"), |_| {}).await;
        stage.start().await;
        stage
    }

    /// Six of them delayed the next mail by three minutes.
    #[tokio::test(flavor = "multi_thread")]
    async fn slow_documents_of_one_sender_delay_nobody_else() {
        let mut stage = stage().await;
        let bomb = bomb();
        assert!(bomb.len() < 200_000, "{} bytes", bomb.len());
        for n in 0..6 {
            let mail = documents::mail(MALLORY, TO, &format!("<bomb{n}@x>"), "Bomb", &[("bomb.pdf", &bomb)]);
            smtp::send(stage.smtp(), MALLORY, &[TO], &mail).await.unwrap();
        }
        stage
            .until("two workers at it", async || {
                let begun = stage.submissions().await.iter().filter(|s| s.prepare_tries > 0).count();
                (begun >= 2).then_some(())
            })
            .await;
        for n in 0..3 {
            let id = format!("<good{n}@x>");
            let good = documents::mail(JANE, TO, &id, "Good", &[("good.pdf", &documents::pdf("good", 1))]);
            let began = Instant::now();
            smtp::send(stage.smtp(), JANE, &[TO], &good).await.unwrap();
            stage
                .until("the other sender's job", async || {
                    let all = stage.submissions().await;
                    let mine =
                        |s: &&Submission| s.sender == "front desk" && s.message_id.as_deref() == Some(&id);
                    all.iter().find(mine).filter(|s| s.verdict.is_some()).map(|_| ())
                })
                .await;
            let took = began.elapsed();
            let slow = stage
                .submissions()
                .await
                .iter()
                .filter(|s| s.sender == "somebody" && s.verdict.is_none())
                .count();
            eprintln!("prepared after {took:?}, with {slow} slow ones waiting or at work");
            assert!(slow > 0, "the bombs are none");
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
        stage.daemon().kill().await;
    }

    /// Unprepared Submissions, and how long the oldest of them waits.
    async fn behind(stage: &Stage) -> (usize, Duration) {
        let now = faxbridge::clock::Clock::now(&faxbridge::clock::SystemClock);
        let all = stage.submissions().await;
        let waiting = all.iter().filter(|submission| submission.verdict.is_none());
        let oldest = waiting.clone().map(|s| now.duration_since(s.accepted_at)).max();
        (waiting.count(), oldest.and_then(|age| age.try_into().ok()).unwrap_or_default())
    }

    /// At a steady 33 a second half were unprepared after 24 s, because there was never a quiet period.
    #[tokio::test(flavor = "multi_thread")]
    async fn preparing_keeps_pace_with_arriving() {
        let mut stage = stage().await;
        let pdf = documents::pdf("good", 1);
        let mail =
            |n: usize| documents::mail(JANE, TO, &format!("<pace{n}@x>"), "Good", &[("good.pdf", &pdf)]);
        let mut session = Session::connect(stage.smtp()).await.unwrap();
        // What the machine can do while nothing arrives.
        const FIRST: usize = 40;
        for n in 0..FIRST {
            session.send(JANE, &[TO], &mail(n)).await.unwrap();
        }
        let (left, began) = (behind(&stage).await.0, Instant::now());
        stage.until("all prepared", async || (behind(&stage).await.0 == 0).then_some(())).await;
        let each = began.elapsed() / u32::try_from(left.max(1)).unwrap();
        // A third of that, but no slower than what leaves no quiet period.
        let gap = (each * 3).clamp(Duration::from_millis(25), Duration::from_millis(36));
        eprintln!("{left} prepared in {each:?} each; then one every {gap:?}");
        let mut ticks = tokio::time::interval(gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut n, mut most, mut oldest) = (FIRST, 0, Duration::ZERO);
        let until = Instant::now() + Duration::from_secs(12);
        while Instant::now() < until {
            ticks.tick().await;
            session.send(JANE, &[TO], &mail(n)).await.unwrap();
            n += 1;
            if n % 16 == 0 {
                let (count, age) = behind(&stage).await;
                (most, oldest) = (most.max(count), oldest.max(age));
            }
        }
        eprintln!("{} mails in 12 s: at most {most} unprepared, the oldest for {oldest:?}", n - FIRST);
        // A machine that cannot do both has no time left; then nothing is promised.
        if each < Duration::from_millis(15) {
            assert!(oldest < Duration::from_secs(2), "{oldest:?}");
        } else {
            assert!(oldest < Duration::from_secs(6), "{oldest:?}");
        }
        stage.daemon().kill().await;
    }
}
