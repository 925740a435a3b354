//! Mails that are made to hurt: too deep, too many, too long, or with two meanings. Each is complete, with CR LF line ends.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{JANE, RADIOLOGY};
use crate::support::documents;

/// A mail that is made to hurt.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) mail: Vec<u8>,
    /// Its document is plain to see, so that it may be faxed.
    pub(crate) may_be_faxed: bool,
}

impl Shape {
    /// The Message-ID of a shape of that name.
    pub(crate) fn id(&self) -> String {
        id(self.name)
    }
}

fn id(name: &str) -> String {
    format!("<{name}@hostile.example>")
}

fn head(name: &str) -> String {
    format!(
        "Message-ID: {}\r\nFrom: <{JANE}>\r\nTo: <{RADIOLOGY}>\r\nSubject: {name}\r\n\
         Date: Sun, 22 Nov 2026 10:00:00 -0500\r\nMIME-Version: 1.0\r\n",
        id(name)
    )
}

fn lines64(bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    text.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect()
}

/// A part with a document of one page; `fields` stand beside its type.
fn document(fields: &str) -> String {
    let pdf = lines64(&documents::pdf("the page", 1));
    format!("Content-Type: application/pdf\r\n{fields}Content-Transfer-Encoding: base64\r\n\r\n{pdf}")
}

fn mixed(parts: &[String]) -> String {
    let mut mixed = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n".to_owned();
    for part in parts {
        mixed.push_str("--b\r\n");
        mixed.push_str(part);
    }
    mixed.push_str("--b--\r\n");
    mixed
}

/// A mail with one document, whose header has `fields` more.
fn with_fields(name: &str, fields: &str) -> Vec<u8> {
    (head(name) + fields + &mixed(&[document("")])).into_bytes()
}

/// A mail with one document with `fields` more in its part.
fn with_part_fields(name: &str, fields: &str) -> Vec<u8> {
    (head(name) + &mixed(&[document(fields)])).into_bytes()
}

/// A mail with a text of that type, and one document.
fn with_text(name: &str, kind: &str, text: &str) -> Vec<u8> {
    (head(name) + &mixed(&[format!("Content-Type: {kind}\r\n\r\n{text}"), document("")])).into_bytes()
}

fn with_html(name: &str, html: &str) -> Vec<u8> {
    with_text(name, "text/html", html)
}

/// All of them.
pub(crate) fn all() -> Vec<Shape> {
    let faxable = |name, mail| Shape { name, mail, may_be_faxed: true };
    let never = |name, mail: String| Shape { name, mail: mail.into_bytes(), may_be_faxed: false };
    let repeat = |count: usize, make: &dyn Fn(usize) -> String| (0..count).map(make).collect::<String>();
    vec![
        never("multiparts-1000-deep", multiparts(1000)),
        never("mails-1000-deep", mails(1000)),
        never("encoded-mails-25-deep", encoded_mails(25)),
        never("parts-10000", parts(10_000)),
        never("empty-multiparts-10000", empty_multiparts(10_000)),
        faxable("header-100000-lines", with_fields("header-100000-lines", &"X: y\r\n".repeat(100_000))),
        faxable(
            "header-line-900-kib",
            with_fields("header-line-900-kib", &format!("X-Long: {}\r\n", "x".repeat(900 << 10))),
        ),
        faxable(
            "name-in-20000-pieces",
            with_part_fields(
                "name-in-20000-pieces",
                &format!(
                    "Content-Disposition: attachment{}\r\n",
                    repeat(20_000, &|n| format!(";\r\n filename*{n}*=a%41"))
                ),
            ),
        ),
        faxable(
            "names-20000",
            with_part_fields(
                "names-20000",
                &format!(
                    "Content-Disposition: attachment{}\r\n",
                    repeat(20_000, &|n| format!(";\r\n filename=\"{n}.pdf\""))
                ),
            ),
        ),
        faxable(
            "words-30000",
            with_fields(
                "words-30000",
                &format!("X-Words:{}\r\n", repeat(30_000, &|_| "\r\n =?utf-8?q?=41=0D=0A?=".into())),
            ),
        ),
        faxable(
            "addressees-20000",
            with_fields(
                "addressees-20000",
                &format!("Cc: a@x{}\r\n", repeat(20_000, &|n| format!(",\r\n \"{n}\" <{n}@x.example>"))),
            ),
        ),
        faxable(
            "references-20000",
            with_fields(
                "references-20000",
                &format!("References:{}\r\n", repeat(20_000, &|n| format!("\r\n <{n}@x.example>"))),
            ),
        ),
        faxable(
            "comments-200000-deep",
            with_fields("comments-200000-deep", &format!("Cc: {} a@x\r\n", "(".repeat(200_000))),
        ),
        faxable(
            "quotes-without-end",
            with_fields("quotes-without-end", &format!("Cc: \"{}\r\n", "\\\"".repeat(100_000))),
        ),
        never(
            "boundary-of-100000-characters",
            head("boundary-of-100000-characters")
                + &mixed(&[document("")])
                    .replace("boundary=\"b\"", &format!("boundary=\"{}\"", "b".repeat(100_000))),
        ),
        faxable(
            "almost-boundaries-200000",
            (head("almost-boundaries-200000")
                + &mixed(&[
                    format!("Content-Type: text/plain\r\n\r\n{}", "--bb\r\n--\r\n".repeat(200_000)),
                    document(""),
                ]))
                .into_bytes(),
        ),
        faxable("html-1000000-deep", with_html("html-1000000-deep", &"<div>\r\n".repeat(1_000_000))),
        faxable(
            "styles-without-end-300000",
            with_html("styles-without-end-300000", &"<style>\r\n".repeat(300_000)),
        ),
        faxable(
            "comments-without-end-300000",
            with_html("comments-without-end-300000", &"<!-- \r\n".repeat(300_000)),
        ),
        faxable(
            "tags-without-end-1000000",
            with_html("tags-without-end-1000000", &"<a b='\r\n".repeat(1_000_000)),
        ),
        faxable(
            "entities-1000000",
            with_html("entities-1000000", &"&lt;&#x41;&nonsense\r\n".repeat(1_000_000 / 4)),
        ),
        faxable(
            "references-to-pictures-50000",
            with_html(
                "references-to-pictures-50000",
                &repeat(50_000, &|n| format!("<img src=\"cid:{n}@x\">\r\n")),
            ),
        ),
        faxable(
            "flowed-lines-500000",
            with_text(
                "flowed-lines-500000",
                "text/plain; format=flowed; delsp=yes",
                &"> > flowed \r\n".repeat(500_000),
            ),
        ),
        faxable(
            "quotes-200000-deep",
            with_text(
                "quotes-200000-deep",
                "text/plain; format=flowed",
                &format!("{} x\r\n", ">".repeat(200_000)),
            ),
        ),
        // Nothing follows that would be a file.
        faxable(
            "old-files-200000",
            with_text("old-files-200000", "text/plain", &"begin 644 a.pdf\r\n".repeat(200_000)),
        ),
        never("tnef-that-lies", tnef_that_lies()),
        never("tnef-of-properties", tnef_of_properties()),
        never("attached-mails-20000", attached_mails(20_000)),
        never(
            "base64-without-end",
            head("base64-without-end")
                + "Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + &"====\r\n".repeat(500_000),
        ),
        faxable("two-of-each-field", two_of_each_field()),
        faxable("paths", paths()),
        faxable("line-breaks", line_breaks()),
    ]
}

fn multiparts(depth: usize) -> String {
    let mut mail = head("multiparts-1000-deep");
    for n in 0..depth {
        mail.push_str(&format!("Content-Type: multipart/mixed; boundary=\"b{n}\"\r\n\r\n--b{n}\r\n"));
    }
    mail.push_str(&document(""));
    for n in (0..depth).rev() {
        mail.push_str(&format!("--b{n}--\r\n"));
    }
    mail
}

fn mails(depth: usize) -> String {
    let mut mail = head("mails-1000-deep");
    for n in 0..depth {
        mail.push_str("Content-Type: message/rfc822\r\n\r\n");
        mail.push_str(&format!(
            "From: <{JANE}>\r\nSubject: {n}\r\nDate: Sun, 22 Nov 2026 10:00:00 -0500\r\n"
        ));
    }
    mail + &document("")
}

/// Each in base64 within the next, against the book (RFC 2046, section 5.2.1): every level has to be decoded to see the next.
fn encoded_mails(depth: usize) -> String {
    let mut inner = head("inner") + "Content-Type: text/plain\r\n\r\nthe core\r\n";
    for _ in 0..depth {
        inner = head("inner")
            + "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
            + &lines64(inner.as_bytes());
    }
    inner.replacen(&head("inner"), &head("encoded-mails-25-deep"), 1)
}

fn parts(count: usize) -> String {
    head("parts-10000")
        + &mixed(&vec![document("Content-Disposition: attachment; filename=a.pdf\r\n"); count])
}

fn empty_multiparts(count: usize) -> String {
    let parts: Vec<String> = (0..count)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=i{n}\r\n\r\n--i{n}\r\n\r\n--i{n}--\r\n"))
        .collect();
    head("empty-multiparts-10000") + &mixed(&parts)
}

/// Outlook's wrapping whose attributes say that they are four gigabytes long, and many small ones before.
fn tnef_that_lies() -> String {
    let mut tnef = vec![0x78, 0x9f, 0x3e, 0x22, 1, 0];
    for _ in 0..200_000 {
        // An attachment begins, again and again: level, attribute, length, nothing, checksum.
        tnef.extend([2, 0x02, 0x90, 0x06, 0, 0, 0, 0, 0, 0, 0]);
    }
    tnef.extend([2, 0x0f, 0x80, 0x06, 0, 0xff, 0xff, 0xff, 0xff]);
    let part = format!(
        "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        lines64(&tnef)
    );
    head("tnef-that-lies") + &mixed(&[part])
}

/// Outlook's wrapping with one attachment of a million properties, the last of which says that it has four milliards of values.
fn tnef_of_properties() -> String {
    let attribute = |level: u8, number: u32, data: &[u8]| {
        let sum = data.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        let mut bytes = vec![level];
        bytes.extend(number.to_le_bytes());
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        bytes.extend(sum.to_le_bytes());
        bytes
    };
    let mut properties = 1_000_001_u32.to_le_bytes().to_vec();
    for n in 0..1_000_000_u32 {
        properties.extend([3, 0]);
        properties.extend(u16::try_from(n % 0x8000).unwrap().to_le_bytes());
        properties.extend(n.to_le_bytes());
    }
    properties.extend([0x1f, 0x10, 0x01, 0x37, 0xff, 0xff, 0xff, 0xff]);
    let mut tnef = vec![0x78, 0x9f, 0x3e, 0x22, 1, 0];
    tnef.extend(attribute(1, 0x0008_9006, &0x0001_0000_u32.to_le_bytes()));
    tnef.extend(attribute(2, 0x0006_9002, &[0; 14]));
    tnef.extend(attribute(2, 0x0006_9005, &properties));
    let part = format!(
        "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        lines64(&tnef)
    );
    head("tnef-of-properties") + &mixed(&[part])
}

/// Side by side, each with a document.
fn attached_mails(count: usize) -> String {
    let inner = head("inner") + &document("");
    head("attached-mails-20000")
        + &mixed(&vec![format!("Content-Type: message/rfc822\r\n\r\n{inner}"); count])
}

fn two_of_each_field() -> Vec<u8> {
    let part = document(
        "Content-Type: text/plain; name=\"second.txt\"\r\nContent-Disposition: inline; filename=\"one.txt\"\r\n\
         Content-Disposition: attachment; filename=\"two.pdf\"; filename=\"three.pdf\"\r\n",
    );
    let fields = "From: <mallory@elsewhere.example>\r\nTo: <mallory@elsewhere.example>\r\nSubject: the second\r\n\
                  Message-ID: <second@hostile.example>\r\nDate: Sun, 22 Nov 2020 10:00:00 -0500\r\n";
    (head("two-of-each-field") + fields + &mixed(&[part])).into_bytes()
}

fn paths() -> Vec<u8> {
    let names = [
        "../../../etc/faxbridge-was-here.pdf",
        "/tmp/faxbridge-was-here.pdf",
        "C:\\faxbridge-was-here.pdf",
        "..",
        "a\0b.pdf",
    ];
    let parts: Vec<String> = names
        .iter()
        .map(|name| {
            document(&format!("Content-Disposition: attachment; filename*=utf-8''{}\r\n", percent(name)))
        })
        .collect();
    (head("paths") + &mixed(&parts)).into_bytes()
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Line breaks in everything that is decoded and might be written into a header, a log or a file name.
fn line_breaks() -> Vec<u8> {
    let trap = "=?utf-8?Q?trap=0D=0AX-Injected:_yes=0D=0A=0D=0AInjected?=";
    let fields = format!(
        "Reply-To: {trap} <{JANE}>\r\nIn-Reply-To: {trap}\r\nReferences: <a@x>\r\n {trap}\r\nComments: {trap}\r\n"
    );
    let head = head("line-breaks")
        .replace("Subject: line-breaks", &format!("Subject: {trap}"))
        .replace(&format!("From: <{JANE}>"), &format!("From: {trap} <{JANE}>"));
    let part = document("Content-Disposition: attachment; filename*=utf-8''a%0D%0AX-Injected:%20yes.pdf\r\n");
    (head + &fields + &mixed(&[part])).into_bytes()
}
