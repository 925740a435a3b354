//! To come.
/// Rules.
#[derive(Debug)]
pub struct Rules;
impl Rules {
    /// c
    #[must_use]
    pub fn could_take(&self, _source: &str, _sender: &str, _to: &str) -> bool {
        true
    }
}
