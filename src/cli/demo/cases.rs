//! What the demo shows: six submissions, and the register that they meet.

use std::collections::BTreeMap;

use anyhow::bail;
use faxbridge::clock::SharedClock;
use faxbridge::register::number::NumberRules;
use faxbridge::register::{NewEntry, VerifiedHow, Word};
use faxbridge::store::Store;

use super::papers;

/// One thing that somebody wants faxed.
pub(super) struct Case {
    /// From 1.
    pub(super) n: usize,
    /// In the table.
    pub(super) what: &'static str,
    /// In the names of files.
    pub(super) stem: &'static str,
    pub(super) way: Way,
    pub(super) paper: fn() -> anyhow::Result<Vec<u8>>,
    /// Pages of that paper.
    pub(super) pages: u32,
    /// Where it is to ring.
    pub(super) number: &'static str,
    pub(super) promise: Promise,
}

/// How it comes in.
pub(super) enum Way {
    Mail { to: &'static str, subject: &'static str, text: &'static str, name: &'static str },
    Sftp { file: &'static str },
    Folder { file: &'static str },
}

/// What must become of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Faxed, at this attempt.
    Faxed { attempt: i64 },
    /// Held, because nobody verified its number.
    Held,
}

/// The name of the SFTP user.
pub(super) const SFTP_USER: &str = "billing";

/// The six. What happens to a number is decided by its last two digits (`faxbridge::simulator::script`).
pub(super) const CASES: [Case; 6] = [
    Case {
        n: 1,
        what: "mail to mercy-radiology",
        stem: "1-mail-to-mercy-radiology",
        way: Way::Mail {
            to: "mercy-radiology@fax.clinic.example",
            subject: "Laboratory report as asked for",
            text: "Dear colleagues,\r\n\r\nthree pages follow. Please call if one is hard to read.\r\n\r\nJane Alvarado\r\n",
            name: "laboratory report.pdf",
        },
        paper: papers::laboratory_report,
        pages: 3,
        number: "+12125550199",
        promise: Promise::Faxed { attempt: 1 },
    },
    Case {
        n: 2,
        what: "mail to +12125550142",
        stem: "2-mail-to-a-number",
        way: Way::Mail {
            to: "+12125550142@fax.clinic.example",
            subject: "Request for records",
            text: "Please see the attached page.\r\n",
            name: "request.pdf",
        },
        paper: papers::records_request,
        pages: 1,
        number: "+12125550142",
        promise: Promise::Faxed { attempt: 1 },
    },
    Case {
        n: 3,
        what: "SFTP 483920_+12125550177.pdf",
        stem: "3-sftp-483920",
        way: Way::Sftp { file: "483920_+12125550177.pdf" },
        paper: papers::billing_statement,
        pages: 2,
        number: "+12125550177",
        promise: Promise::Faxed { attempt: 1 },
    },
    Case {
        n: 4,
        what: "folder harbor-cardiology.pdf",
        stem: "4-folder-harbor-cardiology",
        way: Way::Folder { file: "harbor-cardiology.pdf" },
        paper: papers::scanned_referral,
        pages: 1,
        number: "+12125550155",
        promise: Promise::Faxed { attempt: 1 },
    },
    Case {
        n: 5,
        what: "mail to riverside-pharmacy",
        stem: "5-mail-to-riverside-pharmacy",
        way: Way::Mail {
            to: "riverside-pharmacy@fax.clinic.example",
            subject: "Refill request",
            text: "One page follows.\r\n\r\nJane Alvarado\r\n",
            name: "refill.pdf",
        },
        paper: papers::refill_request,
        pages: 1,
        // Busy at the first try.
        number: "+12125550110",
        promise: Promise::Faxed { attempt: 2 },
    },
    Case {
        n: 6,
        // One digit off that of mercy-radiology.
        what: "mail to +12125550189",
        stem: "6-mail-to-an-unverified-number",
        way: Way::Mail {
            to: "+12125550189@fax.clinic.example",
            subject: "Referral",
            text: "One page follows.\r\n",
            name: "referral.pdf",
        },
        paper: papers::referral,
        pages: 1,
        number: "+12125550189",
        promise: Promise::Held,
    },
];

/// The register: key, name, organization, department, number.
const REGISTER: [[&str; 5]; 5] = [
    ["mercy-radiology", "Mercy Radiology", "Mercy General Hospital", "Diagnostic Imaging", "+1 212 555 0199"],
    ["kessler-boyd", "Kessler & Boyd LLP", "", "Records", "(212) 555-0142"],
    ["beacon-claims", "Beacon Health Plan", "", "Claims", "+1 212 555 0177"],
    ["harbor-cardiology", "Harbor Cardiology", "", "Scheduling", "+1 212 555 0155"],
    ["riverside-pharmacy", "Riverside Pharmacy", "", "", "+1 212 555 0110"],
];

/// Enters the recipients into the register and verifies them, as a records clerk would with `faxbridge recipient`.
pub(super) async fn register(store: &Store, clock: &SharedClock) -> anyhow::Result<usize> {
    let rules = NumberRules::new("US", &[]).map_err(anyhow::Error::msg)?;
    let now = clock.now();
    let mut entries = Vec::new();
    for [key, name, organization, department, number] in REGISTER {
        let fields = BTreeMap::from([
            ("key", key),
            ("name", name),
            ("organization", organization),
            ("department", department),
            ("number", number),
        ]);
        let new = NewEntry::check(&fields, &rules).map_err(|faults| anyhow::Error::msg(faults.join(" ")))?;
        let mut entry = new.into_entry(now);
        let evidence = "invented for the demo";
        entry.verify(
            &Word { by: "demo", account: "demo", how: VerifiedHow::Callback, evidence, until: None },
            false,
            now,
        )?;
        entries.push(entry);
    }
    if let Some(key) = store.add_recipients(entries, &crate::cli::actor(), now).await? {
        bail!("the register of a new demo already knows {key}");
    }
    Ok(REGISTER.len())
}
