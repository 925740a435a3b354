//! Whether each of the six became what was promised: everything is looked up at its far end, nothing is taken on the bridge's
//! word alone. Each thing that is missing is one sentence.

use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::digest::{SHA256, digest};
use faxbridge::delivery::simulator::wire::Standing;
use faxbridge::job::{Hold, JobState};
use faxbridge::receipt::signature;
use faxbridge::simulator::server::Fax;
use faxbridge::store::{Job, PacketRow};
use serde_json::Value;

use super::cases::{Promise, Way};
use super::follow::{Followed, Receipt};
use super::papers;
use super::place::Place;

/// Dots per inch of the covers' pictures.
const PICTURE: f32 = 110.0;

/// What lies where, for one of the six.
pub(super) struct Evidence<'a> {
    pub(super) followed: &'a Followed,
    /// Everything that the provider took.
    pub(super) faxes: &'a [Fax],
    /// The signed record: the result file that was picked up for a drop, the bridge's own copy for a mail.
    pub(super) record: Option<&'a [u8]>,
}

/// Looks at the evidence, puts it where people find it, and returns what is missing.
pub(super) fn prove(evidence: &Evidence<'_>, place: &Place) -> anyhow::Result<Vec<String>> {
    let mut missing = Missing { what: evidence.followed.case.what, sentences: Vec::new() };
    let followed = evidence.followed;
    let Some(job) = &followed.job else {
        missing.say("no job was made of it");
        return Ok(missing.sentences);
    };
    missing.unless(
        followed.receipts.len() == 1,
        &format!("{} receipts came by mail, not one", followed.receipts.len()),
    );
    if let Some(receipt) = followed.receipts.first() {
        let kept = place.receipts().join(format!("{}.eml", followed.case.stem));
        std::fs::rename(&receipt.letter.path, &kept).context("a receipt could not be put in its place")?;
        check_receipt(followed, receipt, &mut missing);
    }
    match followed.case.promise {
        Promise::Held => check_held(evidence, job, &mut missing),
        Promise::Faxed { attempt } => match &job.packet {
            Some(packet) if job.state == JobState::Delivered => {
                check_fax(evidence, job, packet, place, &mut missing)?;
                let tries = followed.attempts.len();
                missing.unless(
                    followed.attempts.last().is_some_and(|last| last.n == attempt),
                    &format!("it took {tries} attempts instead of {attempt}"),
                );
            }
            _ => missing.say(&match &job.state {
                JobState::Failed { cause } => {
                    format!(
                        "it was not delivered, but failed for the cause {}",
                        cause.as_str().replace('_', " ")
                    )
                }
                state => format!("it was not delivered in time, but is {}", state.as_str().replace('_', " ")),
            }),
        },
    }
    Ok(missing.sentences)
}

/// Sentences about one of the six.
struct Missing {
    what: &'static str,
    sentences: Vec<String>,
}

impl Missing {
    fn say(&mut self, what: &str) {
        self.sentences.push(format!("{}: {what}.", self.what));
    }

    fn unless(&mut self, good: bool, what: &str) {
        if !good {
            self.say(what);
        }
    }
}

fn check_receipt(followed: &Followed, receipt: &Receipt, missing: &mut Missing) {
    missing.unless(
        receipt.letter.from.is_empty(),
        "its receipt has an envelope sender, so a bounce of it could loop",
    );
    missing.unless(receipt.auto_submitted, "its receipt does not say that a machine wrote it");
    if matches!(followed.case.way, Way::Mail { .. }) {
        missing.unless(
            receipt.in_reply_to.as_deref() == Some(followed.message_id.as_str()),
            "its receipt is not in the thread of the mail",
        );
        missing.unless(receipt.letter.to == ["jane@clinic.example"], "its receipt did not go to its sender");
    }
}

fn check_held(evidence: &Evidence<'_>, job: &Job, missing: &mut Missing) {
    let held = matches!(job.state, JobState::Held { hold: Hold::Unverified, .. });
    missing.unless(held, "it is not held for want of a verified number");
    let number = evidence.followed.case.number;
    let untried =
        evidence.followed.attempts.is_empty() && evidence.faxes.iter().all(|fax| fax.number != number);
    missing.unless(untried, "the provider was asked to call a number that nobody has verified");
    let told = evidence.followed.receipts.first().is_some_and(|receipt| receipt.text.contains("verified"));
    missing.unless(told, "its sender was not told that the number is not verified");
}

fn check_fax(
    evidence: &Evidence<'_>,
    job: &Job,
    packet: &PacketRow,
    place: &Place,
    missing: &mut Missing,
) -> anyhow::Result<()> {
    let followed = evidence.followed;
    let (case, sha256) = (followed.case, followed.sha256.as_deref().unwrap_or_default());
    missing.unless(packet.document.digest().is_none(), "the digest of the PDF is in the database still");
    missing.unless(packet.cover_pages == 1, "the bridge counts no page of cover");
    missing.unless(
        packet.pages == case.pages + 1,
        &format!("the bridge counts {} pages instead of a cover and {}", packet.pages, case.pages),
    );
    let delivered: Vec<&Fax> = evidence
        .faxes
        .iter()
        .filter(|fax| fax.job() == job.id.as_str() && fax.status == Standing::Delivered)
        .collect();
    missing.unless(delivered.len() == 1, &format!("the provider delivered it {} times", delivered.len()));
    if let Some(fax) = delivered.first() {
        missing.unless(fax.number == case.number, "the provider called another number");
        missing.unless(fax.deleted && followed.copies_deleted(), "the provider still has its copy");
        let printed = place.provider().join(format!("{}.pdf", fax.id));
        let pdf = std::fs::read(&printed).context("the provider's PDF")?;
        missing.unless(
            hex_digest(&pdf) == sha256,
            "the digest of the PDF that was faxed is not that of the job",
        );
        let pages = lopdf::Document::load_mem(&pdf).map_or(0, |pdf| pdf.get_pages().len());
        missing.unless(pages == packet.pages as usize, &format!("the PDF that was faxed has {pages} pages"));
        std::fs::copy(&printed, place.faxed().join(format!("{}.pdf", case.stem)))?;
        let picture = papers::picture(pdf, PICTURE)?;
        std::fs::write(place.covers().join(format!("{}.png", case.stem)), picture)?;
    }
    let in_mail = followed.receipts.first().is_some_and(|receipt| receipt.text.contains(sha256));
    missing.unless(in_mail, "the digest of the PDF is not in its receipt");
    match evidence.record {
        None => missing.say("there is no result file or signed record of it"),
        Some(record) => {
            std::fs::write(place.receipts().join(format!("{}.json", case.stem)), record)?;
            check_record(record, sha256, packet.pages, missing);
        }
    }
    let submission = followed.submission.as_ref();
    let key_gone = submission.is_some_and(|one| one.destroyed_at.is_some() && one.wrapped_key.is_none());
    let facts_gone = job.facts.is_empty() && submission.is_some_and(|one| one.facts.is_empty());
    missing.unless(
        key_gone && facts_gone && followed.unlinked,
        "its key and documents were not destroyed in time",
    );
    Ok(())
}

fn check_record(record: &[u8], sha256: &str, pages: u32, missing: &mut Missing) {
    let signed: Value = serde_json::from_slice(record).unwrap_or_default();
    missing.unless(signature::verify(&signed).is_ok(), "the signature of its record is not good");
    let job = signed.pointer("/receipt/jobs/0").cloned().unwrap_or_default();
    missing.unless(job["state"] == "delivered", "its record does not say that it was delivered");
    missing.unless(job["sha256"] == sha256, "the digest in its record is another one");
    missing.unless(job["pages"] == pages, "the page count in its record is another one");
}

/// Sealed files that are left in the spool of `data`, by name.
pub(super) fn sealed_files(data: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders: Vec<PathBuf> = vec![data.join("spool")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    // The spool's own check of its master key.
    names.retain(|name| name != "key-check");
    Ok(names)
}

fn hex_digest(bytes: &[u8]) -> String {
    faxbridge::text::hex(digest(&SHA256, bytes).as_ref())
}
