//! What somebody wrote in a mail, apart from what their mail program put around it.

/// The sender's own words.
#[must_use]
pub fn own_words(text: &str) -> String {
    text.to_owned()
}
