//! "Did you mean": the allowed word nearest to what was written.

/// The one of `allowed` that `written` was most likely meant to be; none when nothing is near.
pub(crate) fn nearest<'a>(written: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    // A third of the letters may be wrong, and at least one: `lisen` is listen, `mail` is not name.
    let tolerance = (written.chars().count() / 3).max(1);
    allowed
        .into_iter()
        .map(|word| (distance(&written, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Letters to insert, drop, replace or swap with their neighbour (optimal string alignment).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // No word that long is near to any key, and a table for it would be the price of finding out.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut cost =
                (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped =
                i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) && !before.is_empty();
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word() {
        let allowed = ["listen", "hostname", "tls_key", "max_sessions", "name", "networks", "logins"];
        for (written, meant) in [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("Listen", Some("listen")),
            ("host_name", Some("hostname")),
            ("tls-key", Some("tls_key")),
            ("network", Some("networks")),
            ("nmae", Some("name")),
            ("port", None),
            ("", None),
            ("zzzzzzzzzzzzz", None),
        ] {
            assert_eq!(nearest(written, allowed), meant, "{written}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
