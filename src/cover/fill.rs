//! What stands on the sheet: from what is known about a Job to a [`Sheet`]. Pure.

use jiff::Zoned;

use super::Sheet;
use super::author::Author;
use crate::config::{Config, Sender};
use crate::job::{FaxNumber, JobId};
use crate::register::Entry;
use crate::routing::Route;

/// Everything that the sheet draws on.
#[derive(Debug)]
pub struct Known<'a> {
    /// Organization, notice, labels, paper.
    pub config: &'a Config,
    /// The sender's entry in the configuration.
    pub sender: Option<&'a Sender>,
    /// Who wrote the mail, if it is one.
    pub author: Author<'a>,
    /// The subject, where the cover shows one.
    pub subject: Option<&'a str>,
    /// The message to the recipient.
    pub message: Option<&'a str>,
    /// For whose attention, where the sender says it.
    pub attention: Option<&'a str>,
    /// Who sends it, where that is said in the mail and the configuration leaves it open.
    pub from: Option<&'a str>,
    /// The register's entry, where there is one.
    pub entry: Option<&'a Entry>,
    /// The number, where it is known.
    pub number: Option<&'a FaxNumber>,
    /// What the rule says.
    pub route: &'a Route,
    /// The Job.
    pub job: JobId,
    /// Pages, cover included.
    pub pages: u32,
    /// When, in the organization's time zone.
    pub at: Zoned,
}

/// Fills a sheet. What is not known stays blank; what the sender's entry says goes before what the mail says.
#[must_use]
pub fn sheet(known: &Known<'_>) -> Sheet {
    let organization = &known.config.organization;
    let sender = known.sender;
    let entry = known.entry;
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let from_mail = sender
        .and_then(|sender| sender.mail.clone())
        .or_else(|| known.author.address.map(str::to_owned))
        .or_else(|| organization.mail.clone());
    Sheet {
        paper: known.config.cover.paper,
        labels: known.config.cover.labels.clone(),
        to_name: entry.map(|entry| entry.name.clone()).unwrap_or_default(),
        to_department: entry
            .map(|entry| {
                let both = [entry.organization.as_deref(), entry.department.as_deref()];
                both.into_iter().flatten().collect::<Vec<_>>().join(", ")
            })
            .unwrap_or_default(),
        to_attention: known
            .attention
            .map(str::to_owned)
            .unwrap_or_else(|| entry.map(|entry| text(entry.attention.as_ref())).unwrap_or_default()),
        to_fax: known.number.map(crate::job::number_words).unwrap_or_default(),
        from_name: sender
            .and_then(|sender| sender.cover_name.clone())
            .or_else(|| known.from.map(str::to_owned))
            .or_else(|| known.author.name.map(str::to_owned))
            .unwrap_or_default(),
        from_organization: sender
            .and_then(|sender| sender.organization.clone())
            .unwrap_or_else(|| organization.name.clone()),
        from_phone: sender
            .and_then(|sender| sender.phone.clone())
            .or_else(|| organization.phone.clone())
            .unwrap_or_default(),
        from_mail: from_mail.unwrap_or_default(),
        date: known.at.strftime("%-d %B %Y, %H:%M %Z").to_string(),
        subject: known.subject.map(str::to_owned),
        identifier: known.route.identifier.clone(),
        reference: known.route.reference.clone(),
        job: Some(known.job.to_string()),
        pages: Some(known.pages),
        notice: known.config.cover.notice.clone(),
        message: known.message.map(str::to_owned),
    }
}
