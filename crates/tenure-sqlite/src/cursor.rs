//! Where a page ended, as text that only the store understands.

use crate::failure::Failure;
use tenure_store::{Page, PageRequest};

/// How many rows are asked for: one more than the page holds, to know whether there is another page.
pub(crate) fn rows_wanted(page: &PageRequest) -> i64 {
    i64::from(page_size(page)) + 1
}

fn page_size(page: &PageRequest) -> u32 {
    page.limit.clamp(1, 1000)
}

/// Cuts what was read to a page; the cursor is made from the last item in it.
pub(crate) fn page<T>(mut items: Vec<T>, request: &PageRequest, cursor: impl Fn(&T) -> String) -> Page<T> {
    let size = page_size(request) as usize;
    let more = items.len() > size;
    items.truncate(size);
    let next_cursor = items.last().filter(|_| more).map(cursor);
    Page { items, next_cursor }
}

/// Reads a cursor of two parts.
pub(crate) fn pair(text: &str) -> Result<(i64, String), Failure> {
    let (first, second) = text.split_once('.').ok_or_else(|| no_cursor(text))?;
    Ok((first.parse().map_err(|_| no_cursor(text))?, second.to_owned()))
}

/// Reads a cursor of one number.
pub(crate) fn number(text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| no_cursor(text))
}

fn no_cursor(text: &str) -> Failure {
    Failure::Cursor(text.to_owned())
}
