//! Tables for people: columns with two spaces between them, readable without color, one row per line.

use comfy_table::{ContentArrangement, Table, presets};

/// Heads and rows as text.
pub fn render(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().copied());
    rows.into_iter().for_each(|row| {
        // What a tenant wrote must not move the cursor of whoever looks at it.
        table.add_row(row.iter().map(|cell| clean(cell)));
    });
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Text without control characters.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
