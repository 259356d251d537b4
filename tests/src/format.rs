//! The layout of structs against the tables of `index/FORMAT.md`.

use std::ops::Range;

/// The bytes that fields of a struct take.
///
/// ```
/// #[repr(C)]
/// struct Head {
///     length: u32,
///     crc: u32,
/// }
/// assert_eq!(secateur_testkit::byte_ranges!(Head: length, crc), [0..4, 4..8]);
/// ```
#[macro_export]
macro_rules! byte_ranges {
    ($name:ident: $($field:ident),+) => {
        [$({
            let at = std::mem::offset_of!($name, $field);
            at..at + $crate::format::size_of_field(|value: &$name| &value.$field)
        }),+]
    };
}

/// The size of what a function borrows.
pub const fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// The ranges of bytes in the first column of a table of FORMAT.md. The table is given by the beginning of its
/// section's heading and its number in the section. Rows without two numbers, such as `64..`, are left out.
pub fn documented(section: &str, table: usize) -> Vec<Range<usize>> {
    let path = crate::workspace_root().join("index/FORMAT.md");
    let text = std::fs::read_to_string(path).expect("the repository has index/FORMAT.md");
    let heading = format!("## {section}");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&heading)).skip(1).peekable();
    let mut tables: Vec<Vec<&str>> = vec![Vec::new()];
    while let Some(line) = lines.next_if(|line| !line.starts_with("## ")) {
        match (line.starts_with('|'), tables.last_mut()) {
            (true, Some(table)) => table.push(line),
            (false, Some(table)) if !table.is_empty() => tables.push(Vec::new()),
            _ => {}
        }
    }
    let rows = tables.get(table).unwrap_or_else(|| panic!("{heading} has no table {table}"));
    rows.iter().filter_map(|row| range(row.split('|').nth(1)?.trim())).collect()
}

fn range(cell: &str) -> Option<Range<usize>> {
    let (start, end) = cell.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}
