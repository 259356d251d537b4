//! Connecting what choosing neighbors has cut off.

use super::links::{LinksBuf, NONE};
use crate::bitmap::Bitmap;
use crate::quantization::int8::{Int8Codes, Int8Query};
use crate::quantization::kernel::int8::Int8Kernel;

/// Adds edges on level 0 until every row but copies of others can be reached there from the entry point. A row may lose
/// its last incoming edge when its neighbors choose others; few do.
pub(crate) fn connect(links: &mut LinksBuf, codes: &Int8Codes<'_>, kernel: Int8Kernel, is_copy: &Bitmap) {
    let num_rows = links.first_blocks.len() as u32;
    let mut reached = Bitmap::default();
    if num_rows > 0 {
        reach(links, links.entry_point, &mut reached);
    }
    let mut query = Int8Query::default();
    let mut full = 0;
    for row in 0..num_rows {
        if reached.contains(row) || is_copy.contains(row) {
            continue;
        }
        codes.row_as_query(row, &mut query);
        let nearby = links.borrow().base[row as usize * 2 * links.m..][..2 * links.m].to_vec();
        let nearby = nearby.into_iter().filter(|near| *near != NONE);
        let host = nearest(links, codes, kernel, &query, &reached, nearby).or_else(|| {
            // Among many equal rows none of the neighbors may be reachable. Then any reachable row with room gets the
            // edge.
            full += (full..num_rows).take_while(|row| !has_room(links, *row)).count() as u32;
            nearest(links, codes, kernel, &query, &reached, full..num_rows.min(full.saturating_add(FEW)))
                .or_else(|| (full..num_rows).find(|row| reached.contains(*row) && has_room(links, *row)))
        });
        // Happens only if every reachable list is full; then there is no room for the edge.
        let Some(host) = host else { return };
        let list = &mut links.base[host as usize * 2 * links.m..][..2 * links.m];
        if let Some(free) = list.iter_mut().find(|near| **near == NONE) {
            *free = row;
        }
        reach(links, row, &mut reached);
    }
}

/// Rows that are compared to find a place for one whose neighbors offer none.
const FEW: u32 = 256;

fn has_room(links: &LinksBuf, row: u32) -> bool {
    links.base[(row as usize + 1) * 2 * links.m - 1] == NONE
}

/// The nearest of `rows` that is reached and has room for another neighbor.
fn nearest(
    links: &LinksBuf,
    codes: &Int8Codes<'_>,
    kernel: Int8Kernel,
    query: &Int8Query,
    reached: &Bitmap,
    rows: impl Iterator<Item = u32>,
) -> Option<u32> {
    let rows: Vec<u32> = rows.filter(|row| reached.contains(*row) && has_room(links, *row)).collect();
    let mut best = None;
    codes.compare(kernel, query, &rows, &mut Vec::new(), |row, similarity| {
        if best.is_none_or(|(_, highest)| similarity > highest) {
            best = Some((row, similarity));
        }
    });
    best.map(|(row, _)| row)
}

/// Adds what can be reached from a row.
fn reach(links: &LinksBuf, from: u32, reached: &mut Bitmap) {
    let mut open = vec![from];
    reached.insert(from);
    while let Some(row) = open.pop() {
        let list = &links.base[row as usize * 2 * links.m..][..2 * links.m];
        open.extend(list.iter().filter(|near| **near != NONE && reached.insert(**near)));
    }
}
