//! Lists come in pages, each with a cursor to the next.

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Most items in it: 1 to 1000.
    pub limit: u32,
    /// Where the page before it ended, as that page said; the first page where none is given.
    pub cursor: Option<String>,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` where this is the last.
    pub next_cursor: Option<String>,
}
