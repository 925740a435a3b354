//! What fuzz targets call (`fuzz/`): the child's work on a mail, in this process, held to what must be true of every mail.
#![allow(clippy::panic, reason = "a fuzz target fails by panicking")]

use super::opened::Opened;
use super::{Contents, Input, Rules};

/// Opens a mail under the default rules and checks what came of it.
///
/// # Panics
///
/// Where a part is not accounted for, or pages do not add up.
pub fn mail(data: &[u8]) {
    let rules = Rules { max_decompressed: 8 << 20, ..Rules::default() };
    check(&Opened::of(vec![(Input::Mail, data.to_vec())], rules).contents);
}

fn check(contents: &Contents) {
    let mut last = 0;
    for part in &contents.parts {
        let fates = [part.pages.is_some(), part.left_out.is_some(), part.holds.is_some()];
        assert_eq!(fates.iter().filter(|fate| **fate).count(), 1, "a part has exactly one fate: {fates:?}");
        if let Some((first, after)) = part.pages {
            assert!(first == last + 1 && after >= first, "pages {first}-{after} after {last}");
            last = after;
        }
        assert!(part.name.chars().count() <= 120 && !part.name.chars().any(char::is_control), "a name");
    }
    assert_eq!(last, contents.pages, "pages of the parts are the pages of the packet");
    let holding = contents.parts.iter().any(|part| part.holds.is_some());
    assert!(contents.hold.is_some() || (!holding && contents.pages > 0), "nothing holds, and nothing to fax");
    assert!(!contents.nothing || (contents.hold.is_some() && !holding && contents.pages == 0), "nothing");
    if let Some(text) = &contents.text {
        assert!(text.len() <= 64 << 10 && !text.trim().is_empty() && !text.contains('\r'), "the text");
        assert!(contents.parts.iter().any(|part| part.body), "the text comes from some part");
    }
}
