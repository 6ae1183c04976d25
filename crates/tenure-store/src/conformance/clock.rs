//! What every store promises of itself and of the anchor of time.

use super::{Subject, at};
use crate::ClockAnchor;

/// TR-2: a store that works says so, as often as it is asked.
pub async fn a_store_that_works_says_so(store: &Subject) {
    for _ in 0..3 {
        store.probe().await.unwrap();
    }
}

/// GV-6: there is one anchor, the last.
pub async fn the_anchor_of_time_is_replaced(store: &Subject) {
    assert_eq!(store.clock_get().await.unwrap(), None);
    for (boot_id, boot_ms) in [("first", 5), ("second", u64::MAX >> 1)] {
        let anchor = ClockAnchor { boot_id: boot_id.to_owned(), boot_ms, at: at(1), seen_at: at(2) };
        store.clock_put(anchor.clone()).await.unwrap();
        assert_eq!(store.clock_get().await.unwrap(), Some(anchor));
    }
}
