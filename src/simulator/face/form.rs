//! What the faces share that take a fax as a form: the upload is read to its end, the document
//! straight into a file, and its fields are held against what the provider's documentation allows.
//! What is wrong is told by field, as providers tell it.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request};
use axum::response::Response;
use reqwest::Url;

use crate::delivery::simulator::wire::DOCUMENT_AT_MOST;
use crate::job::FaxNumber;
use crate::simulator::api::{Api, disk_trouble, drain};
use crate::simulator::office::Office;
use crate::simulator::print::Incoming;

/// Largest value of a field.
const FIELD_AT_MOST: usize = 2048;

/// Fields of one form.
const FIELDS_AT_MOST: usize = 100;

/// What is wrong with a request, and in which field; without a field it is the whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) field: String,
    pub(super) what: String,
}

/// The violation `what` in `field`.
pub(super) fn wrong(field: &str, what: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), what: what.into() }
}

/// Why a form could not be read.
pub(super) enum Unread {
    Wrong(Violation),
    /// The document in this part is too large.
    TooLarge(String),
    Disk(io::Error),
}

impl Unread {
    /// What the client gets to see, of an API that tells with `invalid` what is wrong in which
    /// field.
    pub(super) fn answer<A: Api>(self, invalid: fn(&Violation) -> Response) -> Box<Response> {
        Box::new(match self {
            Unread::Wrong(violation) => invalid(&violation),
            Unread::TooLarge(part) => invalid(&wrong(&part, "the document is too large")),
            Unread::Disk(fault) => disk_trouble::<A>(&fault),
        })
    }
}

impl From<io::Error> for Unread {
    fn from(fault: io::Error) -> Self {
        Unread::Disk(fault)
    }
}

impl From<Violation> for Unread {
    fn from(violation: Violation) -> Self {
        Unread::Wrong(violation)
    }
}

/// A form as it came in.
#[derive(Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    pub(super) document: Option<Incoming>,
}

impl Form {
    /// Reads a form whose document is to be known as `id` and lies in the part called one of
    /// `files`.
    pub(super) async fn read(
        office: &Arc<Office>,
        id: &str,
        files: &[&str],
        request: Request,
    ) -> Result<Form, Unread> {
        let is_form = request
            .headers()
            .get(reqwest::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/form-data"));
        if !is_form {
            drain(request).await;
            return Err(wrong("", "the request is no multipart/form-data").into());
        }
        let broken = |what: String| Unread::Wrong(wrong("", what));
        let mut parts =
            Multipart::from_request(request, &()).await.map_err(|fault| broken(fault.body_text()))?;
        let mut form = Form::default();
        let mut fault: Option<Unread> = None;
        // Read on after a fault: a client that is still sending would see a reset in place of the
        // answer.
        while let Some(part) = parts.next_field().await.map_err(|fault| broken(fault.body_text()))? {
            let name = part.name().unwrap_or_default().to_owned();
            let whole = if files.contains(&name.as_str()) {
                form.take_document(office, id, &name, part).await
            } else {
                form.take_field(name, part).await
            };
            match whole {
                Ok(()) => {}
                Err(Unread::Disk(disk)) => return Err(disk.into()),
                Err(wrong) => fault = fault.or(Some(wrong)),
            }
        }
        fault.map_or(Ok(form), Err)
    }

    async fn take_document(
        &mut self,
        office: &Arc<Office>,
        id: &str,
        name: &str,
        mut part: Field<'_>,
    ) -> Result<(), Unread> {
        let mut fault = None;
        if part.file_name().is_none_or(str::is_empty) {
            fault = Some(wrong(name, "the part has no filename").into());
        } else if self.document.is_some() {
            fault = Some(wrong(name, "one document at a time is all that the simulator takes").into());
        }
        let mut document = match fault {
            None => Some(office.records.receive(id).await?),
            Some(_) => None,
        };
        while let Some(chunk) = part.chunk().await.map_err(|fault| wrong(name, fault.body_text()))? {
            match &mut document {
                Some(whole) if whole.bytes + chunk.len() as u64 <= DOCUMENT_AT_MOST => {
                    whole.write(&chunk).await?;
                }
                Some(_) => {
                    document = None;
                    fault = Some(Unread::TooLarge(name.to_owned()));
                }
                None => {}
            }
        }
        match document {
            Some(document) if document.bytes == 0 => Err(wrong(name, "the document is empty").into()),
            Some(mut document) => {
                document.finish().await?;
                self.document = Some(document);
                Ok(())
            }
            None => Err(fault.unwrap_or_else(|| wrong(name, "cannot be read").into())),
        }
    }

    async fn take_field(&mut self, name: String, mut part: Field<'_>) -> Result<(), Unread> {
        let mut fault = part.file_name().map(|_| "is no file");
        if self.fields.len() == FIELDS_AT_MOST {
            fault = Some("is one too many");
        }
        let mut value = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|fault| wrong(&name, fault.body_text()))? {
            if value.len() + chunk.len() > FIELD_AT_MOST {
                fault = Some("is too long");
            } else {
                value.extend_from_slice(&chunk);
            }
        }
        match (fault, String::from_utf8(value)) {
            (None, Ok(value)) => {
                self.fields.push((name, value));
                Ok(())
            }
            (None, Err(_)) => Err(wrong(&name, "is not UTF-8").into()),
            (Some(fault), _) => Err(wrong(&name, fault).into()),
        }
    }

    /// All fields are among `known`, or are entries `MAP[KEY]` of one of `maps`.
    pub(super) fn knows_only(&self, known: &[&str], maps: &[&str]) -> Result<(), Violation> {
        let of_map = |name: &str| maps.iter().any(|map| key_in(map, name).is_some());
        match self.fields.iter().find(|(name, _)| !known.contains(&name.as_str()) && !of_map(name)) {
            Some((name, _)) => Err(wrong(name, "there is no such field")),
            None => Ok(()),
        }
    }

    /// The value of a field that may stand there once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Violation> {
        let mut values =
            self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() { Err(wrong(name, "stands there twice")) } else { Ok(first) }
    }

    /// The entries of the map `map`, as `MAP[KEY]=VALUE`.
    pub(super) fn entries(&self, map: &str) -> Vec<(&str, &str)> {
        self.fields.iter().filter_map(|(name, value)| Some((key_in(map, name)?, value.as_str()))).collect()
    }

    /// A telephone number in E.164 form.
    pub(super) fn number(&self, name: &str) -> Result<Option<&str>, Violation> {
        match self.one(name)? {
            Some(number) if FaxNumber::from_e164(number).is_err() => {
                Err(wrong(name, "is not a valid phone number"))
            }
            number => Ok(number),
        }
    }

    /// One of the words that are allowed.
    pub(super) fn word(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, Violation> {
        match self.one(name)? {
            Some(word) if !allowed.contains(&word) => {
                Err(wrong(name, format!("must be one of {}", allowed.join(", "))))
            }
            word => Ok(word),
        }
    }

    /// A whole number within a range.
    pub(super) fn whole(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, Violation> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(wrong(name, format!("must be from {} to {}", range.start(), range.end()))),
        }
    }

    /// A text of so many characters at most.
    pub(super) fn short(&self, name: &str, at_most: usize) -> Result<Option<&str>, Violation> {
        match self.one(name)? {
            Some(text) if text.chars().count() > at_most => {
                Err(wrong(name, format!("has more than {at_most} characters")))
            }
            text => Ok(text),
        }
    }

    /// The URL of a webhook.
    pub(super) fn url(&self, name: &str) -> Result<Option<&str>, Violation> {
        let good = |url: &str| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        match self.one(name)? {
            Some(url) if !good(url) => Err(wrong(name, "is no http or https URL")),
            url => Ok(url),
        }
    }
}

/// `KEY` in `MAP[KEY]`.
fn key_in<'a>(map: &str, name: &'a str) -> Option<&'a str> {
    let key = name.strip_prefix(map)?.strip_prefix('[')?.strip_suffix(']')?;
    (!key.is_empty() && !key.contains(['[', ']'])).then_some(key)
}

/// What a question asks for. Each name may stand there once.
pub(super) struct Question(Vec<(String, String)>);

impl Question {
    /// The query of a URL, whose names are all `known`.
    pub(super) fn new(query: Vec<(String, String)>, known: &[&str]) -> Result<Question, Violation> {
        for (index, (name, _)) in query.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(wrong(name, "there is no such parameter"));
            }
            if query.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(wrong(name, "stands there twice"));
            }
        }
        Ok(Question(query))
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A value that can be read as what it should be.
    pub(super) fn read<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Violation> {
        self.one(name).map(|text| text.parse().map_err(|_| wrong(name, "cannot be read"))).transpose()
    }

    /// A whole number within a range.
    pub(super) fn whole(
        &self,
        name: &str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, Violation> {
        let number = self.read(name)?.unwrap_or(default);
        if range.contains(&number) {
            Ok(number)
        } else {
            Err(wrong(name, format!("must be from {} to {}", range.start(), range.end())))
        }
    }
}

/// Page `page` (from 1) of a list that is cut into pages of `size`.
pub(super) fn page_of<T>(list: &[T], page: usize, size: usize) -> &[T] {
    list.chunks(size.max(1)).nth(page.saturating_sub(1)).unwrap_or_default()
}
