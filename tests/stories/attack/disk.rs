//! Mails that fill the disk.

use std::time::{Duration, Instant};

use faxbridge::job::FaxNumber;
use lopdf::{Document, Object, Stream, dictionary};

use crate::support::disk::sealed_files;
use crate::support::stage::Came;
use crate::support::{Clinic, JANE, Stage, documents, smtp};

const RECIPIENTS: u32 = 60;

/// The last two digits say what the simulator makes of a call.
fn number(n: u32) -> String {
    format!("+1212{}0199", 320 + n)
}

/// A page with a picture of `bytes` bytes that nothing makes smaller.
fn large(bytes: usize) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let mut noise = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut noise).unwrap();
    let rows = i64::try_from(bytes / 4096).unwrap();
    let picture = document.add_object(Stream::new(
        dictionary! {
            "Type" => "XObject", "Subtype" => "Image", "Width" => 4096, "Height" => rows, "BitsPerComponent" => 8,
            "ColorSpace" => "DeviceGray",
        },
        noise,
    ));
    let resources = dictionary! { "XObject" => dictionary! { "Im1" => picture } };
    let content = document.add_object(Stream::new(dictionary! {}, b"600 0 0 780 6 6 cm /Im1 Do".to_vec()));
    let page = document.add_object(dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content });
    document.objects.insert(
        tree,
        Object::Dictionary(dictionary! {
            "Type" => "Pages", "Count" => 1, "Kids" => vec![Object::from(page)], "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 612.into(), 792.into()],
        }),
    );
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

/// It was 250, and then the disk was full for ever: a packet of 30 MB for each recipient.
#[tokio::test(flavor = "multi_thread")]
async fn one_large_mail_to_sixty_recipients_is_faxed_from_a_small_disk() {
    let clinic = Clinic::new().mail().by_number().with(
        r#"
provider.simulator.timeout = "60 s"
retention.documents = "2 s"
limits.disk_reserve = "8 MiB"
[policy]
ask_first = "200 ms"
ask_at_most = "1 s"
"#,
    );
    // The far end throws away what it has printed.
    let (mut stage, disk) = Stage::on_small_disk(&clinic, "112m", |options| options.keep = false).await;
    let numbers: Vec<(String, String)> = (0..RECIPIENTS).map(|n| (format!("r{n}"), number(n))).collect();
    stage.verified(&numbers).await;
    stage.start().await;
    let before = disk.free();

    let pdf = large(30_000_000);
    let addresses: Vec<String> =
        numbers.iter().map(|(_, number)| format!("{number}@fax.clinic.example")).collect();
    let to: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mail = documents::mail(JANE, to[0], "<large@x>", "Large", &[("large.pdf", &pdf)]);
    let began = Instant::now();
    smtp::send(stage.smtp(), JANE, &to, &mail).await.unwrap();
    let mut least = disk.free();
    let patience = Duration::from_secs(300);
    stage
        .until_in(patience, Duration::from_millis(50), "sixty faxes", async || {
            least = least.min(disk.free());
            let faxes = stage.simulator.faxes();
            (faxes.iter().filter(|fax| fax.was_delivered()).count() == RECIPIENTS as usize).then_some(())
        })
        .await;
    let took = began.elapsed();
    let faxes = stage.simulator.faxes();
    let mut called: Vec<&str> = faxes.iter().map(|fax| fax.number.as_str()).collect();
    called.sort_unstable();
    called.dedup();
    assert_eq!((called.len(), faxes.len()), (RECIPIENTS as usize, RECIPIENTS as usize), "each of them once");
    // What left is what was noted: each its own cover, all the same pages.
    for job in stage.jobs().await {
        let packet = job.packet.unwrap();
        assert!(packet.shared.is_some());
        let attempts = stage.store.attempts(job.id).await.unwrap();
        let fax =
            faxes.iter().find(|fax| Some(fax.number.as_str()) == job.number.as_ref().map(FaxNumber::as_str));
        let fax = fax.unwrap();
        assert_eq!(attempts.len(), 1);
        assert_eq!(attempts[0].sha256.as_deref(), Some(fax.sha256.as_str()));
        assert_eq!(
            (attempts[0].sha256.as_deref(), fax.bytes),
            (Some(packet.document.sha256.as_str()), packet.document.bytes)
        );
        assert_eq!(fax.pages, Some(packet.pages));
    }
    let receipt = stage.final_receipt("<large@x>").await;
    assert!(receipt.text.contains("60"), "{}", receipt.text);
    // The space comes back.
    stage
        .until("all files gone", async || (sealed_files(&stage.path("small/data")) == 0).then_some(()))
        .await;
    let mb = |bytes: u64| bytes / 1_000_000;
    eprintln!(
        "a disk of 112 MiB: {} MB free before, {} at the least, {} afterwards; sixty faxes in {took:?}",
        mb(before),
        mb(least),
        mb(disk.free())
    );
    assert!(before.saturating_sub(disk.free()) < 8_000_000, "what stays is the database");
    assert!(least > 8 << 20, "the reserve is never touched");
    assert!(stage.daemon().stop().await.success());
    drop(disk);
}
