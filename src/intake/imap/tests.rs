//! What needs no server. The story with a real one is `tests/imap.rs`.

use super::*;

#[test]
fn pauses_grow_and_have_an_end() {
    let seconds = |failures, slow| pause(failures, slow, 0).as_secs();
    assert_eq!([1, 2, 3, 7, 8, 40].map(|n| seconds(n, false)), [5, 10, 20, 320, 600, 600]);
    assert_eq!([1, 2, 4, 5, 40].map(|n| seconds(n, true)), [120, 240, 960, 1800, 1800]);
    assert_eq!(pause(1, false, 999), Duration::from_millis(4001));
    assert_eq!(pause(1, false, 1000), Duration::from_millis(5000));
}
