//! Mails and files from the outside in: what becomes of each part, and what the sender is told.

use std::time::{Duration, Instant};

use super::opened::Opened;
use super::samples::{attached, base64_lines, document, mail, page, pdf, png, saved, saved_modern, says};
use super::*;
use crate::sealed::PartKind;

fn open(raw: &[u8]) -> Opened {
    Opened::of(vec![(Input::Mail, raw.to_vec())], Rules::default())
}

fn open_file(name: &str, raw: Vec<u8>) -> Opened {
    Opened::file(name, raw, Rules::default())
}

/// One word per part: its name and what became of it.
fn fates(contents: &Contents) -> Vec<String> {
    let fate = |part: &Part| match (&part.pages, &part.left_out, &part.holds) {
        (Some((first, last)), None, None) => format!("{}: {first}-{last}", part.name),
        (None, Some(_), None) => format!("{}: left out", part.name),
        (None, None, Some(_)) => format!("{}: holds", part.name),
        other => panic!("a part has exactly one fate, not {other:?}"),
    };
    contents.parts.iter().map(fate).collect()
}

#[test]
fn every_part_is_accounted_for_in_order() {
    let two = pdf(&["one", "two"]);
    let raw = mail(&[
        ("Content-Type: text/plain", b"Please see attached."),
        (&attached("a.pdf"), &two),
        (
            "Content-Type: application/pkcs7-signature; name=smime.p7s\nContent-Transfer-Encoding: base64",
            b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02sig",
        ),
        ("Content-Type: text/calendar; name=invite.ics", b"BEGIN:VCALENDAR"),
        (
            "Content-Type: application/octet-stream; name=b\nContent-Transfer-Encoding: base64",
            &pdf(&["three"]),
        ),
        ("Content-Type: text/x-vcard; name=jane.vcf", b"BEGIN:VCARD"),
    ]);
    let opened = open(&raw);
    let contents = &opened.contents;
    assert_eq!(contents.hold, None);
    assert_eq!(contents.pages, 3);
    assert_eq!(contents.text.as_deref(), Some("Please see attached."));
    assert_eq!(
        fates(contents),
        [
            "text of the mail: left out",
            "a.pdf: 1-2",
            "smime.p7s: left out",
            "invite.ics: left out",
            "b: 3-3",
            "jane.vcf: left out"
        ]
    );
    let part = &contents.parts[1];
    assert_eq!((part.kind, part.media_type.as_str()), (PartKind::Pdf, "application/pdf"));
    assert_eq!(part.bytes, two.len() as u64);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &two);
    assert_eq!(part.sha256, digest.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>());
    assert_eq!(contents.parts[0].left_out.as_deref(), Some("the mail's text; it is not faxed as pages"));
}

#[test]
fn header_facts_are_decoded_to_single_lines() {
    let raw = b"From: =?utf-8?Q?J=C3=BCrgen?= <Juergen@Example.com>\r\n\
        Subject: =?utf-8?B?QmVmdW5kCmbDvHI=?= =?utf-8?Q?_Sie?=\r\n\tand more\r\n\
        Message-ID: <abc@example.com>\r\nReferences: <1@x> <2@x>\r\nIn-Reply-To: <2@x>\r\n\
        Date: Mon, 2 Nov 2026 10:00:00 +0100\r\n\r\nbody\r\n";
    let facts = open(raw).contents.mail.unwrap();
    assert_eq!(facts.subject.as_deref(), Some("Befund für Sie and more"));
    assert_eq!(facts.from_name.as_deref(), Some("Jürgen"));
    assert_eq!(facts.from_address.as_deref(), Some("Juergen@Example.com"));
    assert_eq!(facts.message_id.as_deref(), Some("abc@example.com"));
    assert_eq!(facts.references, ["1@x", "2@x"]);
    assert_eq!(facts.date, Some("2026-11-02T09:00:00Z".parse().unwrap()));
    assert_eq!(facts.automatic, None);
}

#[test]
fn what_cannot_be_faxed_holds_the_packet_with_one_sentence() {
    let good = pdf(&["good"]);
    let zip = b"PK\x03\x04rest".as_slice();
    for (header, bytes, sentence) in [
        (
            "Content-Type: image/heic; name=photo.heic\nContent-Transfer-Encoding: base64",
            b"\0\0\0\x18ftypheic".as_slice(),
            "photo.heic is a picture; only PDF files can be faxed for now. Send it as PDF.",
        ),
        (
            "Content-Type: application/pdf; name=notes.pdf",
            b"just some notes",
            "notes.pdf is called a PDF, but it holds plain text. Save or print the document as PDF and send that.",
        ),
        (
            "Content-Type: application/octet-stream; name=x.docx\nContent-Transfer-Encoding: base64",
            zip,
            "x.docx is a ZIP archive or an Office document; only PDF files can be faxed for now. Send it as PDF.",
        ),
        (
            "Content-Type: text/plain; name=notes.txt",
            b"notes",
            "notes.txt is a text file; only PDF files can be faxed for now. Send it as PDF.",
        ),
        (
            "Content-Type: text/csv",
            b"a,b",
            "a text without a name is a text file; only PDF files can be faxed for now. Send it as PDF.",
        ),
        ("Content-Type: application/pdf; name=e.pdf", b"", "e.pdf is empty. Send it again."),
        (
            "Content-Type: message/rfc822",
            b"From: x@example.com\r\nSubject: inner\r\n\r\ninner",
            "an attached mail is a mail within the mail without a document; only PDF files can be faxed for now. \
             Attach the documents themselves.",
        ),
        (
            "Content-Type: application/ms-tnef; name=winmail.dat",
            b"\x78\x9f\x3e\x22",
            "winmail.dat is Outlook's own wrapping of attachments, and damaged. Send the mail as HTML or plain text \
             instead of Rich Text.",
        ),
        (
            "Content-Type: image/png; name=logo.png\nContent-ID: <1>\nContent-Disposition: inline",
            &png(301, 121),
            "logo.png is a picture; only PDF files can be faxed for now. Send it as PDF.",
        ),
    ] {
        let opened = open(&mail(&[(&attached("good.pdf"), &good), (header, bytes)]));
        assert_eq!(opened.contents.hold.as_deref(), Some(sentence), "{header}");
        assert_eq!(opened.contents.parts[1].holds.as_deref(), Some(sentence), "{header}");
    }
}

#[test]
fn pictures_of_the_layout_are_left_out() {
    let raw = b"From: a@example.com\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
        Content-Type: multipart/related; boundary=r\r\n\r\n--r\r\n\
        Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nplain\r\n\
        --a\r\nContent-Type: text/html\r\n\r\n<p>html</p>\r\n--a--\r\n\
        --r\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo>\r\nContent-Disposition: inline\r\n\r\n\
        \x89PNG\r\n--r--\r\n--o--\r\n";
    let contents = open(raw).contents;
    assert_eq!(
        fates(&contents),
        ["text of the mail: left out", "HTML text of the mail: left out", "logo.png: left out"]
    );
    assert_eq!(contents.parts[2].left_out.as_deref(), Some("an inline picture of the mail's layout"));
    assert_eq!(contents.hold.as_deref(), Some("The mail has no attachment that could be faxed."));
    assert_eq!(contents.text.as_deref(), Some("plain"));
}

#[test]
fn text_for_the_cover_comes_from_html_where_there_is_no_other() {
    let raw =
        b"From: a@example.com\r\nContent-Type: text/html\r\n\r\n<p>Dear <b>all</b></p><script>x</script>";
    assert_eq!(open(raw).contents.text.as_deref().map(str::trim), Some("Dear all"));
}

#[test]
fn names_are_decoded_and_tamed() {
    for (parameters, name) in [
        ("attachment; filename*=utf-8''Befund%20f%C3%BCr.pdf", "Befund für.pdf"),
        ("attachment; filename=\"=?utf-8?Q?Befund_f=C3=BCr.pdf?=\"", "Befund für.pdf"),
        ("attachment; filename*0=\"long \"; filename*1=\"name.pdf\"", "long name.pdf"),
        ("attachment; filename=\"../../etc/x.pdf\"", "x.pdf"),
        ("attachment; filename=\"C:\\\\a\\\\b.pdf\"", "b.pdf"),
        ("attachment", "document.pdf"),
    ] {
        let header = format!(
            "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\
             Content-Disposition: {parameters}"
        );
        let opened = open(&mail(&[(&header, &pdf(&["x"]))]));
        assert_eq!(opened.contents.parts[0].name, name, "{parameters}");
        assert_eq!(opened.contents.pages, 1, "{parameters}");
    }
}

#[test]
fn a_pdf_is_one_whatever_it_is_called() {
    let file = pdf(&["x"]);
    for header in [
        "Content-Type: text/plain; name=x.txt\nContent-Transfer-Encoding: base64",
        "Content-Type: image/png\nContent-Transfer-Encoding: base64\nContent-Disposition: inline",
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64",
        "Content-Type: application/msword; name=x.doc\nContent-Transfer-Encoding: base64",
    ] {
        assert_eq!(open(&mail(&[(header, &file)])).contents.pages, 1, "{header}");
    }
    // A mail that only talks of PDF is still a mail's text.
    let talk = open(b"From: a@example.com\r\n\r\nA file starts with %PDF-1.7, they say.\r\n").contents;
    assert_eq!(fates(&talk), ["text of the mail: left out"]);
}

#[test]
fn a_mail_that_may_lack_a_part_is_held() {
    let head = "From: a@example.com\r\nMIME-Version: 1.0\r\n";
    let file = base64_lines(&pdf(&["x"]));
    let part = format!("{}\r\n\r\n{file}\r\n", attached("x.pdf").replace('\n', "\r\n"));
    for (raw, word) in [
        (format!("{head}Content-Type: multipart/mixed\r\n\r\n--b\r\n{part}--b--\r\n"), "boundary is missing"),
        (
            format!("{head}Content-Type: multipart/mixed; boundary=c\r\n\r\n--b\r\n{part}--b--\r\n"),
            "boundary is missing",
        ),
        (format!("{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n{part}"), "cut off"),
        // The inner container is never closed: the parser swallows the outer's next part with it.
        (
            format!(
                "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                 Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\ntext\r\n--b\r\n{part}--b--\r\n"
            ),
            "not marked off",
        ),
        (
            format!(
                "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
                 Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\n\r\ntext\r\n--b\r\n{part}--i--\r\n\
                 --b\r\n{part}--b--\r\n"
            ),
            "not marked off",
        ),
        ("".into(), "empty"),
        ("\r\n\r\n".into(), "empty"),
        (format!("{head}X: {}\r\n\r\nbody", "x".repeat(2 << 20)), "longer than 1024 KiB"),
    ] {
        let hold = open(raw.as_bytes()).contents.hold.unwrap_or_default();
        assert!(hold.contains(word), "{word}: {hold:?}");
    }
}

#[test]
fn hostile_shapes_get_their_sentence_soon() {
    let nested = |depth: usize| {
        let mut raw = String::from("From: a@example.com\r\n");
        for level in 0..depth {
            raw += &format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n");
        }
        raw += "Content-Type: text/plain\r\n\r\nx\r\n";
        for level in (0..depth).rev() {
            raw += &format!("--b{level}--\r\n");
        }
        raw
    };
    let many = |count: usize| {
        let part = ("Content-Type: text/plain; name=x.txt", b"x".as_slice());
        mail(&vec![part; count])
    };
    let messages = |depth: usize| "Content-Type: message/rfc822\r\n\r\n".repeat(depth);
    for (what, raw, word) in [
        ("1,000 nested multiparts", nested(1000).into_bytes(), "nests more than 50 parts"),
        ("20,000 nested multiparts", nested(20_000).into_bytes(), "nests more than 50 parts"),
        ("501 parts", many(501), "has more than 500 parts"),
        ("100,000 parts", many(100_000), "has more than 500 parts"),
        ("20,000 mails in mails", messages(20_000).into_bytes(), "nests more than 50 parts"),
        ("10 MB header", format!("X: {}", "x".repeat(10 << 20)).into_bytes(), "longer than 1024 KiB"),
        (
            "100,000 header lines",
            "To: a@example.com\r\n".repeat(100_000).into_bytes(),
            "longer than 1024 KiB",
        ),
        ("no header", b"\0\0\0\0".to_vec(), ""),
    ] {
        let began = Instant::now();
        // The child works on a large stack too.
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        let hold =
            thread.spawn(move || open(&raw).contents.hold).unwrap().join().unwrap().unwrap_or_default();
        assert!(hold.contains(word) && !hold.is_empty(), "{what}: {hold:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{what} took {:?}", began.elapsed());
    }
}

#[test]
fn files_that_are_no_whole_pdf_hold_with_their_reason() {
    let good = saved_modern(document(&["one", "two", "three"]));
    let cut = good[..good.len() * 6 / 10].to_vec();
    let mut flipped = good.clone();
    let at = memchr::memmem::find(&good, b"/ObjStm").unwrap();
    flipped[at + 1] = b'X';
    let mut wrong_count = document(&["one", "two"]);
    let tree = wrong_count.catalog().unwrap().get(b"Pages").unwrap().as_reference().unwrap();
    wrong_count.get_dictionary_mut(tree).unwrap().set("Count", 3);
    let mut no_content = document(&["one", "two"]);
    let first = page(&no_content, 0);
    let lost = no_content.get_dictionary(first).unwrap().get(b"Contents").unwrap().as_reference().unwrap();
    no_content.objects.remove(&lost);
    for (what, bytes, word) in [
        ("empty", Vec::new(), "a.pdf is empty"),
        ("truncated", cut, "ends too early"),
        ("text", b"just text".to_vec(), "holds plain text"),
        ("only a head", b"%PDF-1.7\n".to_vec(), "ends too early"),
        ("flipped", flipped, "damaged"),
        ("no pages", saved(document(&[])), "has no pages"),
        ("wrong count", saved(wrong_count), "damaged"),
        ("content lost", saved(no_content), "damaged"),
    ] {
        let opened = open_file("dir/a.pdf", bytes);
        let hold = opened.contents.hold.unwrap_or_default();
        assert!(hold.contains(word), "{what}: {hold:?}");
    }
}

#[test]
fn files_of_both_kinds_become_pages() {
    for file in [pdf(&["one", "two"]), saved_modern(document(&["one", "two"]))] {
        let mut opened = open_file("x.pdf", file);
        assert_eq!(opened.contents.hold, None);
        let (made, output) = opened.make([Some(pdf(&["cover"])), None], None).unwrap();
        assert_eq!((made.pages, made.cover_pages, made.parts), (3, 1, vec![Some((2, 3))]));
        for text in ["cover", "one", "two"] {
            assert!(says(&output, text), "{text}");
        }
    }
}

#[test]
fn every_way_to_cut_a_file_is_noticed() {
    for good in [pdf(&["one", "two", "three"]), saved_modern(document(&["one", "two", "three"]))] {
        for length in 0..good.len() - 1 {
            let opened = open_file("x.pdf", good[..length].to_vec());
            // The last bytes are the end mark and a line end, of which readers need not see all.
            assert!(opened.contents.hold.is_some(), "cut at {length} of {}", good.len());
        }
    }
}

#[test]
fn selections_span_parts_and_count_the_cover() {
    let raw = mail(&[
        (&attached("a.pdf"), &pdf(&["a1", "a2"])),
        ("Content-Type: text/plain", b"see above"),
        (&attached("b.pdf"), &pdf(&["b1", "b2"])),
        (&attached("c.pdf"), &pdf(&["c1"])),
    ]);
    let mut opened = open(&raw);
    let selection: crate::addressing::Selection = "2-3,5".parse().unwrap();
    let (made, output) = opened.make([Some(pdf(&["cover"])), None], Some(&selection)).unwrap();
    assert_eq!(made.pages, 4);
    assert_eq!(made.parts, [Some((2, 2)), None, Some((3, 3)), Some((4, 4))]);
    for (text, there) in
        [("a1", false), ("a2", true), ("b1", true), ("b2", false), ("c1", true), ("cover", true)]
    {
        assert_eq!(says(&output, text), there, "{text}");
    }
    // Another sheet, another selection, from the same opened document.
    let (made, output) = opened.make([Some(pdf(&["second"])), None], Some(&"1".parse().unwrap())).unwrap();
    assert_eq!(made.parts, [Some((2, 2)), None, None, None]);
    assert!(
        says(&output, "a1") && says(&output, "second") && !says(&output, "cover") && !says(&output, "a2")
    );
    let error = opened.make([Some(pdf(&["cover"])), None], Some(&"1-9".parse().unwrap())).unwrap_err();
    assert_eq!(error, "Page 9 was asked for, but the documents have only 5 pages.");
}

#[test]
fn too_many_pages_are_counted_with_the_cover_after_the_selection() {
    let rules = Rules { max_pages: 3, ..Rules::default() };
    let mut opened = Opened::file("x.pdf", pdf(&["1", "2", "3"]), rules);
    let error = opened.make([Some(pdf(&["cover"])), None], None).unwrap_err();
    assert!(error.contains("4 pages; at most 3"), "{error}");
    assert!(opened.make([Some(pdf(&["cover"])), None], Some(&"2-3".parse().unwrap())).is_ok());
}

#[test]
fn a_flipped_bit_never_costs_a_page_in_silence() {
    for good in [pdf(&["one", "two", "three"]), saved_modern(document(&["one", "two", "three"]))] {
        for place in 0..good.len() {
            for bit in [0, 2, 5] {
                let mut flipped = good.clone();
                flipped[place] ^= 1 << bit;
                let mut opened = open_file("x.pdf", flipped);
                if opened.contents.hold.is_none() {
                    assert_eq!(opened.contents.pages, 3, "bit {bit} at {place}");
                    match opened.make([Some(pdf(&["cover"])), None], None) {
                        Ok((made, _)) => assert_eq!(made.pages, 4, "bit {bit} at {place}"),
                        Err(sentence) => {
                            assert!(sentence.starts_with("Page "), "bit {bit} at {place}: {sentence}");
                        }
                    }
                }
            }
        }
    }
}

mod mails;
