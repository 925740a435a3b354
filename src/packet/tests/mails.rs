//! Mails as offices and attackers send them: what counts as a document, what is left out, what holds.

use super::super::samples::{bmp, jpeg, tnef, tnef_properties, winmail};
use super::*;

/// A mail of one container with these parts as they are, headers included.
fn container(kind: &str, parts: &[&str]) -> String {
    let boundary = kind.replace('/', "-");
    let mut text = format!("Content-Type: {kind}; boundary=\"{boundary}\"\r\n\r\n");
    for part in parts {
        text += &format!("--{boundary}\r\n{part}\r\n");
    }
    text + &format!("--{boundary}--\r\n")
}

fn part(header: &str, body: &str) -> String {
    format!("{}\r\n\r\n{body}", header.replace('\n', "\r\n"))
}

fn plain(body: &str) -> String {
    part("Content-Type: text/plain; charset=utf-8", body)
}

fn html(body: &str) -> String {
    part("Content-Type: text/html; charset=utf-8", body)
}

fn file(header: &str, bytes: &[u8]) -> String {
    part(&format!("{header}\nContent-Transfer-Encoding: base64"), &base64_lines(bytes))
}

fn document_part(name: &str, lines: &[&str]) -> String {
    part(&attached(name), &base64_lines(&pdf(lines)))
}

fn mail_of(content: &str) -> Vec<u8> {
    format!("From: Jane <jane@example.com>\r\nSubject: x\r\nMIME-Version: 1.0\r\n{content}").into_bytes()
}

fn reason(contents: &Contents, number: usize) -> &str {
    contents.parts[number].left_out.as_deref().unwrap_or_default()
}

#[test]
fn attached_mails_are_opened() {
    let inner =
        container("multipart/mixed", &[&plain("see below"), &document_part("b.pdf", &["one", "two"])]);
    let inner =
        format!("From: x@example.com\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\nSubject: inner\r\n{inner}");
    let shapes = [
        part("Content-Type: message/rfc822", &inner),
        file("Content-Type: message/rfc822", inner.as_bytes()),
        file("Content-Type: application/octet-stream; name=a.eml", inner.as_bytes()),
        part("Content-Type: application/octet-stream", &inner),
        file("Content-Type: text/plain; name=a.EML", inner.as_bytes()),
        // A mail in a mail in a mail.
        part(
            "Content-Type: message/rfc822",
            &format!("From: y@example.com\r\n{}", file("Content-Type: message/rfc822", inner.as_bytes())),
        ),
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let raw = mail_of(&container(
            "multipart/related",
            &[&plain("outer"), shape, &document_part("c.pdf", &["three"])],
        ));
        let contents = open(&raw).contents;
        assert_eq!(contents.hold, None, "{number}");
        assert_eq!(contents.pages, 3, "{number}");
        assert_eq!(contents.text.as_deref(), Some("outer"), "{number}");
        let mails = if number == 5 { 2 } else { 1 };
        assert_eq!(contents.parts.len(), 4 + mails, "{number}: {:?}", fates(&contents));
        assert_eq!(
            (contents.parts[1].kind, reason(&contents, 1)),
            (PartKind::Mail, "the attached mail; its own parts follow")
        );
        assert_eq!(reason(&contents, 1 + mails), "the text of the attached mail; it is not faxed as pages");
        assert_eq!(contents.parts[2 + mails].pages, Some((1, 2)), "{number}");
        assert_eq!(contents.parts.iter().map(|part| part.body).filter(|body| *body).count(), 1);
        assert!(contents.parts[0].body);
    }
    assert_eq!(open(&mail_of(&container("multipart/mixed", &[&shapes[2]]))).contents.parts[0].name, "a.eml");
    // The same mail twice, in one buffer: its delimiters are counted where they lie.
    let twice = mail_of(&container("multipart/related", &[&shapes[0], &shapes[0]]));
    assert_eq!(open(&twice).contents.pages, 4);
}

#[test]
fn a_named_text_in_a_container_of_its_own_within_a_form_is_a_document() {
    let notes =
        part("Content-Type: text/plain; name=notes.txt\nContent-Disposition: inline", "two pages of notes");
    let form =
        container("multipart/mixed", &[&html("<p>hello</p>"), &notes, &document_part("a.pdf", &["one"])]);
    let contents = open(&mail_of(&container("multipart/alternative", &[&plain("hello"), &form]))).contents;
    assert_eq!(
        contents.hold.as_deref(),
        Some("notes.txt is a text file; only PDF files can be faxed for now. Send it as PDF.")
    );
}

#[test]
fn text_that_is_too_long_to_be_read_whole_is_not_taken_for_whole() {
    for (filler, cut) in [(10, false), (600 << 10, true)] {
        let page = format!("<p>begin</p><!--{}--><p>end</p>", "x".repeat(filler));
        let contents = open(&mail_of(&container("multipart/mixed", &[&html(&page)]))).contents;
        assert_eq!(contents.text_cut, cut, "{filler}");
        assert_eq!(contents.text.is_some_and(|text| text.contains("end")), !cut);
    }
}

#[test]
fn an_attached_mail_without_a_document_holds() {
    let inner = |content: &str| {
        part("Content-Type: message/rfc822", &format!("From: x@example.com\r\nSubject: y\r\n{content}"))
    };
    let sentence = "an attached mail is a mail within the mail without a document; only PDF files can be faxed for now. \
                    Attach the documents themselves.";
    for (content, hold) in [
        (plain("all there is"), sentence),
        (inner(&plain("deeper")), sentence),
        (
            part("Content-Type: text/csv; name=a.csv", "1,2"),
            "a.csv is a text file; only PDF files can be faxed for now. Send it as PDF.",
        ),
    ] {
        let raw =
            mail_of(&container("multipart/mixed", &[&inner(&content), &document_part("a.pdf", &["one"])]));
        assert_eq!(open(&raw).contents.hold.as_deref(), Some(hold), "{content}");
    }
}

#[test]
fn winmail_dat_is_unpacked() {
    let rtf = tnef_properties(&[(0x0102, 0x1009, b"LZFu"), (0x001e, 0x1000, b"typed in Outlook\0")]);
    let mut dat = tnef(&[(1, 0x0006_9003, &rtf)]);
    dat.extend_from_slice(
        &winmail(&[("scan.pdf", &pdf(&["one", "two"])), ("card.vcf", b"BEGIN:VCARD\r\n")])[6..],
    );
    let head = "Content-Type: application/ms-tnef; name=winmail.dat";
    let by_content = "Content-Type: application/octet-stream; name=winmail.dat";
    for head in [head, by_content] {
        let raw = mail_of(&container("multipart/mixed", &[&plain("typed in Outlook"), &file(head, &dat)]));
        let contents = open(&raw).contents;
        assert_eq!(contents.hold, None);
        assert_eq!(
            fates(&contents),
            [
                "text of the mail: left out",
                "winmail.dat: left out",
                "text of the mail: left out",
                "text of the mail: left out",
                "scan.pdf: 1-2",
                "card.vcf: left out"
            ]
        );
        assert_eq!(
            (contents.parts[1].kind, reason(&contents, 1)),
            (PartKind::Other, "Outlook's wrapping; its contents follow")
        );
        assert_eq!(reason(&contents, 3), "the mail's text in Outlook's own form");
        assert_eq!(contents.text.as_deref(), Some("typed in Outlook"));
    }
    // Without a text around it, the one inside is the mail's.
    let contents = open(&mail_of(&file(head, &dat))).contents;
    assert_eq!(contents.text.as_deref(), Some("typed in Outlook"));
    assert!(contents.parts[1].body && contents.hold.is_none());
    // One byte changed, or cut: it holds.
    let mut flipped = dat.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    for broken in [&flipped[..], &dat[..dat.len() - 3]] {
        let contents = open(&mail_of(&file(head, broken))).contents;
        assert!(
            contents.hold.unwrap_or_default().contains("Outlook's own wrapping of attachments, and damaged")
        );
    }
    let object = tnef_properties(&[(0x000d, 0x3701, b"0123456789abcdefmail")]);
    let object = tnef(&[(2, 0x0006_9002, &[0; 14]), (2, 0x0006_9005, &object)]);
    assert!(open(&mail_of(&file(head, &object))).contents.hold.unwrap().contains("only Outlook can open"));
}

#[test]
fn decoration_is_left_out_and_pictures_of_substance_hold() {
    let pdf_part = document_part("a.pdf", &["one"]);
    let image = |name: &str, id: &str, bytes: &[u8]| {
        let id = if id.is_empty() { String::new() } else { format!("\nContent-ID: <{id}>") };
        file(&format!("Content-Type: image/png; name={name}{id}\nContent-Disposition: attachment"), bytes)
    };
    let layout = "an inline picture of the mail's layout";
    let big = png(2000, 1500);
    let filled = |start: Vec<u8>, length: usize| [start, vec![9; length]].concat();
    let (page, photo) = (filled(png(2550, 3300), 200_000), filled(jpeg(640, 480), 2 << 20));
    let banner = filled(png(2400, 600), 200_000);
    for (parts, number, reason) in [
        (vec![html("<img src=\"cid:logo%40x\">"), image("l.png", "Logo@x", &big)], 1, Some(layout)),
        (vec![html("no picture"), image("l.png", "logo@x", &big)], 1, None),
        // In the layout, but as large as a page.
        (vec![html("<img src=cid:c>"), image("card.png", "c", &page)], 1, None),
        (vec![html("<img src=cid:c>"), image("card.jpg", "c", &photo)], 1, None),
        (vec![html("<img src=cid:c>"), image("card.tif", "c", b"II*\0more")], 1, None),
        (vec![html("<img src=cid:c>"), image("banner.png", "c", &banner)], 1, Some(layout)),
        (vec![image("p.png", "", &png(1, 1))], 0, Some("a tiny picture, as in signatures")),
        (vec![image("p.png", "", &png(2000, 60))], 0, Some("a tiny picture, as in signatures")),
        (
            vec![image("p.png", "", &png(600, 200)), image("q.png", "", &png(600, 200))],
            0,
            Some("a picture that the mail repeats, as in signatures"),
        ),
        (vec![image("p.png", "", &big), image("q.png", "", &big)], 0, None),
        (
            vec![image("p.png", "", &png(300, 120)), pdf_part.clone()],
            0,
            Some("a small picture, as in signatures"),
        ),
        (vec![image("p.png", "", &png(300, 120))], 0, None),
        (vec![image("p.png", "", &png(301, 120)), pdf_part.clone()], 0, None),
        (vec![image("p.png", "", &[&png(300, 120)[..], &[0; 31 << 10]].concat()), pdf_part.clone()], 0, None),
        (vec![image("p.png", "", &bmp(800, -600)), pdf_part.clone()], 0, None),
        (vec![image("p.png", "", b"PK\x03\x04"), pdf_part.clone()], 0, None),
    ] {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let contents = open(&mail_of(&container("multipart/mixed", &parts))).contents;
        assert_eq!(contents.parts[number].left_out.as_deref(), reason, "{:?}", contents.parts);
        if reason.is_none() {
            assert!(contents.hold.unwrap().contains("only PDF files can be faxed for now"));
        }
    }
    // A picture in the layout of an attached mail is none in the mail around it.
    let inner = format!(
        "From: x@example.com\r\nSubject: y\r\n{}",
        container("multipart/mixed", &[&html("<img src=cid:a>"), &pdf_part])
    );
    let raw = mail_of(&container(
        "multipart/related",
        &[&part("Content-Type: message/rfc822", &inner), &image("l.png", "a", &big)],
    ));
    assert!(open(&raw).contents.hold.unwrap().starts_with("l.png is a picture"));
}

#[test]
fn signed_mail_goes_and_encrypted_mail_holds() {
    let document = document_part("a.pdf", &["one"]);
    let signed = b"\x30\x82\x01\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02more";
    let enveloped = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03more";
    for (part, hold) in [
        (file("Content-Type: application/pkcs7-signature; name=smime.p7s", signed), None),
        (file("Content-Type: application/octet-stream; name=smime.p7s", signed), None),
        (
            part(
                "Content-Type: application/pgp-signature; name=signature.asc",
                "-----BEGIN PGP SIGNATURE-----",
            ),
            None,
        ),
        (
            part(
                "Content-Type: application/octet-stream; name=x.asc",
                "-----BEGIN PGP PUBLIC KEY BLOCK-----",
            ),
            None,
        ),
        (part("Content-Type: text/calendar", "BEGIN:VCALENDAR"), None),
        (part("Content-Type: text/plain; name=invite.ics", "BEGIN:VCALENDAR"), None),
        (part("Content-Type: application/octet-stream; name=jane.vcf", "begin:vcard"), None),
        (part("Content-Type: message/disposition-notification", "Disposition: displayed"), None),
        (part("Content-Type: text/plain", "-----BEGIN PGP SIGNED MESSAGE-----\r\nhello"), None),
        (file("Content-Type: application/pkcs7-mime; name=smime.p7m", signed), Some("sealed")),
        (
            file("Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", b"x"),
            Some("sealed"),
        ),
        (file("Content-Type: application/octet-stream; name=x", signed), Some("sealed")),
        (
            file("Content-Type: application/x-pkcs7-mime; smime-type=enveloped-data", enveloped),
            Some("encrypted (S/MIME)"),
        ),
        (file("Content-Type: application/octet-stream; name=x", enveloped), Some("encrypted (S/MIME)")),
        (
            part("Content-Type: text/plain", "Hello\r\n-----BEGIN PGP MESSAGE-----\r\nabc"),
            Some("encrypted (PGP)"),
        ),
        (html("<p>Hello</p><p>-----BEGIN PGP MESSAGE-----<br>abc"), Some("encrypted (PGP)")),
        (
            part("Content-Type: application/octet-stream; name=a.pdf.pgp", "-----BEGIN PGP MESSAGE-----"),
            Some("a.pdf.pgp is encrypted"),
        ),
        (part("Content-Type: text/plain", "see\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend"), Some("uuencode")),
        // What only claims to be without substance.
        (
            file("Content-Type: application/pkcs7-signature; name=smime.p7s", b"PK\x03\x04zip"),
            Some("smime.p7s is"),
        ),
        (file("Content-Type: text/calendar; name=a.ics", &png(800, 600)), Some("a.ics is a picture")),
        (
            part("Content-Type: application/pgp-signature; name=letter.txt", "Dear colleague"),
            Some("letter.txt is"),
        ),
        (part("Content-Type: application/pgp-signature; name=a.asc", ""), Some("a.asc is empty")),
        (part("Content-Type: application/pkcs7-signature; name=a.p7s", "Dear colleague"), Some("a.p7s is")),
        (part("Content-Type: application/pkcs7-signature; name=a.p7s", "MIIGqQYJKoZIhvcN"), None),
        (part("Content-Type: text/calendar; name=x.txt", "Findings"), Some("x.txt is a text file")),
        (part("Content-Type: text/calendar; name=x.ics", "\r\n"), None),
        (part("Content-Type: text/vcard; name=x.vcf", "Findings"), Some("x.vcf is a text file")),
        (part("Content-Type: application/pgp-keys; name=x.asc", "Findings"), Some("x.asc is")),
        (part("Content-Type: application/pgp-keys", "-----BEGIN PGP PUBLIC KEY BLOCK-----"), None),
        (part("Content-Type: text/x-amp-html; name=x.html", "Findings"), Some("x.html is")),
        (part("Content-Type: message/delivery-status; name=x", "Dear colleague,\r\nfindings"), Some("x is")),
        (part("Content-Type: text/rfc822-headers", "From: a@example.com\r\nSubject: x\r\n y"), None),
    ] {
        let contents = open(&mail_of(&container("multipart/mixed", &[&part, &document]))).contents;
        match hold {
            None => assert_eq!((contents.hold, contents.parts.len()), (None, 2), "{part}"),
            Some(words) => assert!(
                contents.hold.as_deref().unwrap_or_default().contains(words),
                "{part}: {:?}",
                contents.hold
            ),
        }
    }
    let pgp = container(
        "multipart/encrypted",
        &[
            &part("Content-Type: application/pgp-encrypted", "Version: 1"),
            &part(
                "Content-Type: application/octet-stream; name=encrypted.asc",
                "-----BEGIN PGP MESSAGE-----",
            ),
        ],
    );
    let contents = open(&mail_of(&pgp)).contents;
    assert_eq!(
        contents.hold.as_deref(),
        Some("The mail is encrypted (PGP) and cannot be read here. Send it without encryption.")
    );
    let calendar = container(
        "multipart/alternative",
        &[
            &plain("come"),
            &html("come"),
            &part("Content-Type: text/calendar; method=REQUEST", "BEGIN:VCALENDAR"),
        ],
    );
    let contents = open(&mail_of(&container("multipart/mixed", &[&calendar, &document]))).contents;
    assert_eq!(reason(&contents, 2), "a calendar entry");
}

#[test]
fn a_mail_has_one_text() {
    let document = document_part("a.pdf", &["one"]);
    let amp = part("Content-Type: text/x-amp-html", "<html amp4email>");
    let alternative =
        container("multipart/alternative", &[&plain("plain form"), &amp, &html("<b>rich</b> form")]);
    let apple = container(
        "multipart/alternative",
        &[
            &plain(" "),
            &container("multipart/mixed", &[&html("<p>above</p>"), &document, &html("<p>below</p>")]),
        ],
    );
    for (content, text, bodies) in [
        (alternative.clone(), "plain form", 1),
        (container("multipart/mixed", &[&alternative, &document]), "plain form", 1),
        (
            container(
                "multipart/mixed",
                &[&plain("one\r\n"), &document, &plain("\r\ntwo"), &plain("list footer")],
            ),
            "one\n\ntwo\n\nlist footer",
            3,
        ),
        (apple, "above\n\nbelow", 2),
        (container("multipart/alternative", &[&plain("  "), &html("only <i>here</i>")]), "only here", 1),
        (html("<p>Dear&nbsp;all</p><style>x</style>"), "Dear\u{a0}all", 1),
        (
            part("Content-Type: text/plain; format=flowed; delsp=no", "<TOFAXNUM: \r\n12125550199>\r\n"),
            "<TOFAXNUM: 12125550199>",
            1,
        ),
        (
            part(
                "Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: quoted-printable",
                "=F0=D2=C9=\r\n=D7=C5=D4",
            ),
            "Привет",
            1,
        ),
        (part("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable", "2 = 2"), "2 = 2", 1),
    ] {
        let contents = open(&mail_of(&content)).contents;
        assert_eq!(contents.text.as_deref(), Some(text), "{content}");
        assert_eq!(contents.parts.iter().filter(|part| part.body).count(), bodies, "{content}");
    }
    let long = open(&mail_of(&plain(&"word ".repeat(20_000)))).contents;
    assert!(long.text_cut && long.text.unwrap().len() <= 64 << 10);
}

#[test]
fn texts_are_bodies_or_attachments() {
    let document = document_part("a.pdf", &["one"]);
    for (header, body, holds) in [
        ("Content-Type: text/plain; name=notes.txt", "notes", true),
        ("Content-Type: text/plain\nContent-Disposition: attachment", "notes", true),
        ("Content-Type: text/html; name=page.html", "<p>page</p>", true),
        ("Content-Type: text/plain; name=ATT00001.txt", "list footer", false),
        ("Content-Type: text/html; name=ATT00002.htm", "<html><body>between</body></html>", false),
        ("Content-Type: text/plain; name=empty.txt", " \r\n", false),
        (
            "Content-Type: text/html; name=empty.htm\nContent-Disposition: attachment",
            "<html><body><br></body></html>",
            false,
        ),
        ("Content-Type: text/html; name=scan.htm", "<html><body><img src=x></body></html>", true),
        ("Content-Type: text/plain", "PK\x03\x04", true),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64", "!!!", true),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: x-unknown", "text", true),
        (
            "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64",
            "JVBERi0xLjc=!",
            true,
        ),
    ] {
        let contents =
            open(&mail_of(&container("multipart/mixed", &[&part(header, body), &document]))).contents;
        assert_eq!(contents.hold.is_some(), holds, "{header}: {:?}", contents.hold);
    }
    let named = open(&mail_of(&container(
        "multipart/mixed",
        &[&part("Content-Type: text/plain; name=e.txt", ""), &document],
    )));
    assert_eq!(reason(&named.contents, 0), "an empty text");
}

#[test]
fn nothing_to_fax_is_told_from_what_holds() {
    let only_text = open(&mail_of(&plain("hello"))).contents;
    assert!(only_text.nothing && only_text.hold.is_some());
    let mut opened = open(&mail_of(&plain("hello")));
    assert!(opened.make([Some(pdf(&["cover"])), None], None).is_err());
    let (made, output) = opened.make([Some(pdf(&["cover"])), Some(pdf(&["hello"]))], None).unwrap();
    assert_eq!((made.pages, made.body), (2, Some((2, 2))));
    assert!(says(&output, "hello"));
    let held = open(&mail_of(&part("Content-Type: text/csv; name=a.csv", "1"))).contents;
    assert!(!held.nothing && held.hold.is_some());
    let mut held = open(&mail_of(&part("Content-Type: text/csv; name=a.csv", "1")));
    assert!(held.make([None, Some(pdf(&["hello"]))], None).is_err());
    let mut long = open(&mail_of(&plain(&"word ".repeat(20_000))));
    assert!(long.make([None, Some(pdf(&["hello"]))], None).unwrap_err().contains("too long"));
    assert!(!open(b"").contents.nothing);
}

#[test]
fn what_can_be_read_in_two_ways_holds() {
    let document = document_part("a.pdf", &["one"]);
    let two = |header: &str| format!("{header}\r\n{}", plain("x"));
    for (raw, words) in [
        (mail_of(&two("Content-Type: text/html")), "in two different ways"),
        (
            mail_of(&container("multipart/mixed", &[&two("Content-Type: application/pdf"), &document])),
            "in two different ways",
        ),
        (
            mail_of(&container("multipart/mixed", &[&plain("a\r\n--multipart-mixedX\r\nb"), &document])),
            "not marked off",
        ),
        (
            mail_of(&container("multipart/mixed", &[&plain("a\r--multipart-mixed\r\nb"), &document])),
            "not marked off",
        ),
        // The same boundary twice, one in the other.
        (
            mail_of(&container(
                "multipart/mixed",
                &[&container("multipart/mixed", &[&plain("a")]), &document],
            )),
            "",
        ),
        (
            mail_of(&format!(
                "{}--multipart-mixed\r\n{}",
                container("multipart/mixed", &[&document]),
                document
            )),
            "not marked off",
        ),
    ] {
        let hold = open(&raw).contents.hold.unwrap_or_default();
        assert!(hold.contains(words) && !hold.is_empty(), "{words}: {hold:?}");
    }
}

#[test]
fn limits_count_over_all_wrappings() {
    let mut nested = document_part("a.pdf", &["one"]);
    for level in 0..49 {
        let inner = format!("From: x@example.com\r\n{nested}");
        let header = "Content-Type: message/rfc822";
        // Each encoding is a third more.
        nested = if level % 12 == 0 { file(header, inner.as_bytes()) } else { part(header, &inner) };
    }
    let began = Instant::now();
    let deep = mail_of(&container("multipart/mixed", &[&nested]));
    assert_eq!(open(&deep).contents.hold, None);
    let deeper = mail_of(&container("multipart/mixed", &[&container("multipart/related", &[&nested])]));
    assert!(open(&deeper).contents.hold.unwrap().contains("nests more than 50"));
    let files: Vec<(String, Vec<u8>)> =
        (0..499).map(|number| (format!("{number}.vcf"), b"BEGIN:VCARD".to_vec())).collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let head = "Content-Type: application/ms-tnef";
    assert_eq!(open(&mail_of(&file(head, &winmail(&files)))).contents.parts.len(), 500);
    let two = container("multipart/mixed", &[&file(head, &winmail(&files)), &plain("x")]);
    assert!(open(&mail_of(&two)).contents.hold.unwrap().contains("more than 500 parts"));
    let long = part(&format!("X: {}\nContent-Type: text/plain", "x".repeat(2 << 20)), "x");
    assert!(
        open(&mail_of(&container("multipart/mixed", &[&long])))
            .contents
            .hold
            .unwrap()
            .contains("longer than 1024 KiB")
    );
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

mod any_shape {
    use proptest::prelude::*;

    use super::*;

    /// Parts of all kinds, in one another.
    fn shape() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(plain("some words")),
            Just(html("<p>some <b>words</b></p>")),
            Just(document_part("a.pdf", &["one"])),
            Just(file("Content-Type: image/png; name=l.png\nContent-ID: <a>", &png(20, 20))),
            Just(file("Content-Type: application/ms-tnef", &winmail(&[("b.pdf", &pdf(&["two"]))]))),
            Just(part("Content-Type: text/calendar", "BEGIN:VCALENDAR")),
            Just(part("Content-Type: text/csv; name=a.csv", "1,2")),
        ];
        leaf.prop_recursive(5, 30, 4, |inner| {
            prop_oneof![
                (
                    prop::sample::select(vec!["mixed", "alternative", "related", "signed"]),
                    0..1_000_000u32,
                    prop::collection::vec(inner.clone(), 1..4)
                )
                    .prop_map(|(kind, boundary, parts)| {
                        let mut text =
                            format!("Content-Type: multipart/{kind}; boundary=b{boundary:07}\r\n\r\n");
                        for part in parts {
                            text += &format!("--b{boundary:07}\r\n{part}\r\n");
                        }
                        text + &format!("--b{boundary:07}--\r\n")
                    }),
                inner.clone().prop_map(|inner| part(
                    "Content-Type: message/rfc822",
                    &format!("From: x@example.com\r\nSubject: y\r\n{inner}")
                )),
                inner.prop_map(|inner| file(
                    "Content-Type: message/rfc822",
                    format!("From: x@example.com\r\n{inner}").as_bytes()
                )),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Every PDF that was put in comes out as pages, or the mail is held.
        #[test]
        fn no_document_gets_lost(shape in shape()) {
            let documents = |text: &str| text.matches("filename=\"a.pdf\"").count();
            let contents = open(&mail_of(&shape)).contents;
            let pages = contents.parts.iter().filter(|part| part.pages.is_some()).count();
            prop_assert!(contents.hold.is_some() || pages >= documents(&shape), "{:?}", fates(&contents));
            fuzzing::mail(&mail_of(&shape));
        }

        /// Whatever becomes of a mail on its way.
        #[test]
        fn damage_keeps_the_accounts_straight(
            shape in shape(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut raw = mail_of(&shape);
            for (place, value) in changes {
                let place = place.index(raw.len());
                raw[place] = value;
            }
            if let Some(cut) = cut {
                raw.truncate(cut.index(raw.len()));
            }
            fuzzing::mail(&raw);
        }

        #[test]
        fn any_header_keeps_the_accounts_straight(header in "(Content-Type: |multipart/mixed|text/plain|; boundary=a|; name=|--a|--|\r\n|\n| |message/rfc822|=\\?utf-8\\?Q\\?=0A\\?=|x){0,30}") {
            fuzzing::mail(header.as_bytes());
        }
    }
}
