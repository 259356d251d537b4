//! The edges of the graph, where they lie.

use secateur_random::hash;

use crate::error::Damage;
use crate::pages::Pages;

/// Marks the end of a list of neighbors that is not full, and rows that are on level 0 only.
pub(crate) const NONE: u32 = u32::MAX;

/// The edges of a graph in flat arrays. They have no pointers, so a mapped file is searched in place.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    /// M of the paper: the most neighbors on levels above 0. On level 0 there are twice as many.
    pub m: usize,
    /// (N, 2M): the neighbors of each row on level 0.
    pub base: &'a [u32],
    /// (N): the first block in `upper` of a row that is on levels above 0.
    pub first_blocks: &'a [u32],
    /// (B, M): the neighbors on level 1 and, in the blocks that follow, on the levels above.
    pub upper: &'a [u32],
    /// (N), or nothing: for each row the next one of an equal code, or [`NONE`]. What a row leads to is no node of the
    /// graph.
    pub copies: &'a [u32],
    /// Where searches begin: a row on the highest level.
    pub entry_point: u32,
    /// The highest level.
    pub max_level: usize,
}

impl<'a> Links<'a> {
    pub fn num_rows(&self) -> usize {
        self.first_blocks.len()
    }

    /// The list of a row's neighbors; it ends at the first [`NONE`]. The row must be below N.
    #[inline]
    pub fn list(&self, level: usize, row: u32) -> Result<&'a [u32], Damage> {
        if level == 0 {
            return Ok(&self.base[row as usize * 2 * self.m..][..2 * self.m]);
        }
        let block = (self.first_blocks[row as usize] as usize).saturating_add(level - 1);
        let num_blocks = self.upper.len() / self.m;
        if block < num_blocks {
            return Ok(&self.upper[block * self.m..][..self.m]);
        }
        Err(Damage::Field {
            field: "the upper block of a row",
            expected: format!("below {num_blocks}"),
            got: block.to_string(),
        })
    }

    /// Checks that a number in a list is a row.
    #[inline]
    pub fn check(&self, row: u32) -> Result<u32, Damage> {
        if (row as usize) < self.num_rows() {
            return Ok(row);
        }
        Err(Damage::Field {
            field: "a neighbor",
            expected: format!("below {}", self.num_rows()),
            got: row.to_string(),
        })
    }
}

/// The edges of a graph that own their memory.
pub(crate) struct LinksBuf {
    pub m: usize,
    pub base: Pages<u32>,
    pub first_blocks: Vec<u32>,
    pub upper: Vec<u32>,
    pub copies: Vec<u32>,
    pub entry_point: u32,
    pub max_level: usize,
}

impl LinksBuf {
    pub fn borrow(&self) -> Links<'_> {
        Links {
            m: self.m,
            base: &self.base,
            first_blocks: &self.first_blocks,
            upper: &self.upper,
            copies: &self.copies,
            entry_point: self.entry_point,
            max_level: self.max_level,
        }
    }
}

/// The level of a row: the paper's ⌊-ln(u) mL⌋ with mL = 1 / ln(M), which reaches level l with probability M⁻ˡ. It is
/// computed in integers, so that it is the same on every machine.
pub(crate) fn level(seed: u64, row: u32, m: usize) -> usize {
    let hash = hash(seed, row);
    let mut limit = u64::MAX;
    let mut level = 0;
    loop {
        limit /= m as u64;
        if hash >= limit || level == MAX_LEVEL {
            return level;
        }
        level += 1;
    }
}

/// More levels than any graph needs: with M = 2 every second row is on the next level, too.
pub(crate) const MAX_LEVEL: usize = 31;
