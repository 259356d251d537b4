//! Searching a level of the graph: algorithms 2 and 5 of the paper.

use super::codes::{Codes, Query};
use super::links::{Links, NONE};
use super::pool::Pool;
use super::visited::Visited;
use crate::error::Damage;
use crate::kernel::{CodeKernel, prefetch};

/// A graph and the vectors it connects.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub links: Links<'a>,
    pub codes: Codes<'a>,
    pub kernel: CodeKernel,
}

/// The working memory of a search, for use again.
#[derive(Default)]
pub(crate) struct Scratch {
    pub query: Query,
    pub pool: Pool,
    visited: Visited,
    fresh: Vec<u32>,
    pub sums: Vec<i32>,
}

impl View<'_> {
    /// Algorithm 5, K-NN-SEARCH, up to its last line: leaves the ef rows nearest to the query in the pool.
    pub fn search(&self, ef: usize, scratch: &mut Scratch) -> Result<(), Damage> {
        let start = self.descend(0, scratch)?;
        scratch.pool.reset(ef);
        scratch.pool.push(start.0, start.1);
        self.search_level(0, scratch)
    }

    /// Goes from the entry point to the row nearest to the query on the levels above `level`: SEARCH-LAYER with ef = 1.
    pub fn descend(&self, level: usize, scratch: &mut Scratch) -> Result<(u32, f32), Damage> {
        let Scratch { query, sums, fresh, .. } = scratch;
        let mut best = (self.links.check(self.links.entry_point)?, f32::NEG_INFINITY);
        self.codes.compare(self.kernel, query, &[best.0], sums, |_, similarity| best.1 = similarity);
        for level in (level + 1..=self.links.max_level).rev() {
            loop {
                let from = best.0;
                fresh.clear();
                for &row in self.links.list(level, from)?.iter().take_while(|row| **row != NONE) {
                    fresh.push(self.links.check(row)?);
                    self.codes.prefetch(row);
                }
                self.codes.compare(self.kernel, query, fresh, sums, |row, similarity| {
                    if similarity > best.1 {
                        best = (row, similarity);
                    }
                });
                if best.0 == from {
                    break;
                }
            }
        }
        Ok(best)
    }

    /// Algorithm 2, SEARCH-LAYER: from the rows in the pool, which must not have been visited, to the best of the level.
    pub fn search_level(&self, level: usize, scratch: &mut Scratch) -> Result<(), Damage> {
        let Scratch { query, pool, visited, fresh, sums } = scratch;
        visited.reset(self.links.num_rows());
        for (row, _) in pool.iter() {
            visited.insert(row);
        }
        while let Some(row) = pool.visit_next() {
            fresh.clear();
            for &row in self.links.list(level, row)?.iter().take_while(|row| **row != NONE) {
                if visited.insert(self.links.check(row)?) {
                    self.codes.prefetch(row);
                    fresh.push(row);
                }
            }
            self.codes.compare(self.kernel, query, fresh, sums, |row, similarity| {
                if pool.push(row, similarity) && level == 0 {
                    prefetch(self.links.base, row, 2 * self.links.m);
                }
            });
        }
        Ok(())
    }
}
