//! The cover as other programs see it: qpdf and poppler must be installed (`qpdf`, `poppler-utils`); without them this
//! test fails.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use faxbridge::cover::{Fonts, Sheet, page};

fn sheet() -> Sheet {
    Sheet {
        to_name: "Mercy General Hospital".into(),
        to_department: "Medical Records".into(),
        to_attention: "Dr. Ελένη Иванова".into(),
        to_fax: "+1 212 555 0199".into(),
        from_name: "Łukasz Doe".into(),
        from_organization: "Northside Billing".into(),
        from_phone: "+1 212 555 0100".into(),
        from_mail: "jane.doe@northside.example.com".into(),
        date: "Sunday, November 22, 2026, 15:04 EST".into(),
        subject: Some("Confirmed figures of the efficient office".into()),
        identifier: Some(("Claim".into(), "CL-2026-483920".into())),
        reference: Some("R 77".into()),
        job: Some("01JX8Z5W9Q7T".into()),
        pages: Some(5),
        notice: "Not for you? Call the sender, then destroy these pages.".into(),
        message: Some("Dear colleagues,\n\nfour pages follow.\nשלום\nالسلام عليكم لا".into()),
        ..Sheet::default()
    }
}

/// What a tool prints about the file; an error if the tool is missing or complains.
fn run(tool: &str, arguments: &[&str], file: &Path, after: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(tool)
        .args(arguments)
        .arg(file)
        .args(after)
        .output()
        .with_context(|| format!("{tool} cannot be run; install qpdf and poppler-utils"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success() && complaint.is_empty(), "{tool}: {printed} {complaint}");
    Ok(printed)
}

#[test]
fn other_programs_read_every_field_of_a_sound_file() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cover.pdf");
    let drawn = page::draw(&sheet(), &Fonts::builtin())?;
    std::fs::write(&file, drawn.pdf)?;

    run("qpdf", &["--check"], &file, &[])?;

    let facts = run("pdfinfo", &[], &file, &[])?;
    assert!(facts.lines().any(|line| line.replace(' ', "") == "Pages:1"), "{facts}");
    for key in ["Title", "Author", "Creator", "Producer", "CreationDate", "ModDate"] {
        assert!(!facts.lines().any(|line| line.starts_with(&format!("{key}:"))), "{key} is in: {facts}");
    }

    // Columns: name, type, encoding, embedded, subset, has a map to Unicode.
    let fonts = run("pdffonts", &[], &file, &[])?;
    assert!(fonts.lines().count() > 3, "{fonts}");
    for font in fonts.lines().skip(2) {
        assert!(font.contains("yes yes yes"), "{font}");
    }

    let text = run("pdftotext", &["-raw"], &file, &["-"])?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "FAX",
        "Mercy General Hospital",
        "Medical Records",
        "Dr. Ελένη Иванова",
        "+1 212 555 0199",
        "Łukasz Doe",
        "Northside Billing",
        "+1 212 555 0100",
        "jane.doe@northside.example.com",
        "Pages: 5, including this one",
        "Sunday, November 22, 2026, 15:04 EST",
        "Confirmed figures of the efficient office",
        "CL-2026-483920",
        "R 77",
        "four pages follow.",
        "שלום",
        "Not for you? Call the sender, then destroy these pages.",
        "01JX8Z5W9Q7T",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // poppler turns the letters of an Arabic ligature around; here it only matters that none is lost.
    let letters = |text: &str| {
        let mut letters: Vec<_> = text.chars().filter(|c| matches!(c, '\u{600}'..='\u{6ff}')).collect();
        letters.sort_unstable();
        letters
    };
    assert_eq!(letters(&text), letters("السلام عليكم لا"));
    Ok(())
}
