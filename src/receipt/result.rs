//! The result file beside a drop: its name. Its body is the signed record.

/// The name for the result of a dropped file: its base name with `.json`, or `.NOTICE.json` for another word about it; with
/// `-2`, `-3`, ... where that is taken.
///
/// A result is never written over another: programs that wait for one would read half of two answers.
#[must_use]
pub fn name(dropped: &str, notice: Option<&str>, taken: impl Fn(&str) -> bool) -> String {
    let mut base = base(dropped);
    if let Some(notice) = notice {
        base = format!("{base}.{notice}");
    }
    let first = format!("{base}.json");
    if !taken(&first) {
        return first;
    }
    let mut n = 2u64;
    loop {
        let next = format!("{base}-{n}.json");
        if !taken(&next) {
            return next;
        }
        n += 1;
    }
}

/// What is left of a name without its folder, its ending, and all that could make it a path or hide it.
fn base(dropped: &str) -> String {
    let name = dropped.rsplit(['/', '\\']).next().unwrap_or("");
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    let mut base: String = stem.trim_start_matches('.').chars().filter(|c| !c.is_control()).collect();
    // 255 bytes are what file systems take; the ending and a number need a few.
    while base.len() > 220 {
        base.pop();
    }
    if base.is_empty() { "result".into() } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_lie_beside_the_base_name() {
        let long = "x".repeat(400);
        let table = [
            ("483920_+12125550199.pdf", "483920_+12125550199.json"),
            ("scan", "scan.json"),
            ("a.b.PDF", "a.b.json"),
            (".pdf", "pdf.json"),
            ("../../etc/passwd", "passwd.json"),
            ("in\\..\\x.pdf", "x.json"),
            ("", "result.json"),
            ("..", "result.json"),
            ("a\nb\0.pdf", "ab.json"),
            (long.as_str(), &format!("{}.json", "x".repeat(220))),
        ];
        for (dropped, expected) in table {
            assert_eq!(name(dropped, None, |_| false), expected, "{dropped:?}");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let there = ["scan.json", "scan-2.json", "scan-3.json"];
        assert_eq!(name("scan.pdf", Some("held"), |_| false), "scan.held.json");
        assert_eq!(name("scan", Some("again"), |name| name == "scan.again.json"), "scan.again-2.json");
        assert_eq!(name("scan.pdf", None, |name| there.contains(&name)), "scan-4.json");
        assert_eq!(name("scan.tif", None, |name| name == "scan.json"), "scan-2.json");
    }
}
