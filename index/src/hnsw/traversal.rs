//! Searching a graph: algorithms 2 and 5 of the paper.
//!
//! Algorithm 2, SEARCH-LAYER, finds the `ef` rows of a level that are nearest to a query, from entry points `ep`:
//!
//! ```text
//! visited = ep; candidates C = ep; nearest W = ep
//! while C is not empty:
//!     c = the nearest of C; remove it from C
//!     if c is farther than the farthest of W, and W has ef rows: stop
//!     for each neighbor e of c on the level that is not in visited:
//!         visited.insert(e)
//!         if e is nearer than the farthest of W, or W has fewer than ef rows:
//!             C.insert(e); W.insert(e); if W has more than ef rows: remove the farthest
//! ```
//!
//! Algorithm 5, K-NN-SEARCH, descends from the entry point with ef = 1 on each level above 0, and searches level 0
//! with ef.
//!
//! The deviations:
//!
//! - C and W are one array ([`Pool`]). A row that has left W is farther than all of W, so it is never taken from C.
//! - All new neighbors of a row are compared in one call, and their codes are prefetched when they are first met.
//! - Compared are similarities of codes, higher is better, and not distances of vectors.
//! - Row numbers come from a file, so each is checked before it is used.
//! - [`GraphView::search_among`] searches the graph of the rows that match a filter.

use super::links::{Links, NONE};
use super::pool::Pool;
use super::visited::Visited;
use crate::candidates::Matches;
use crate::error::Damage;
use crate::kernel::prefetch;
use crate::quantization::codes::{Codes, CodesQuery};

/// A graph, and the codes of the rows that it connects.
#[derive(Clone, Copy)]
pub(crate) struct GraphView<'a> {
    pub links: Links<'a>,
    pub codes: Codes<'a>,
}

/// The working memory of a search, for use again.
#[derive(Default)]
pub(crate) struct Scratch {
    pub query: CodesQuery,
    pub pool: Pool,
    visited: Visited,
    fresh: Vec<u32>,
    /// Neighbors that do not match the filter.
    between: Vec<u32>,
    pub sums: Vec<i32>,
}

impl GraphView<'_> {
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
        self.codes.compare(query, &[best.0], sums, |_, similarity| best.1 = similarity);
        for level in (level + 1..=self.links.max_level).rev() {
            loop {
                let from = best.0;
                fresh.clear();
                for &row in self.links.list(level, from)?.iter().take_while(|row| **row != NONE) {
                    fresh.push(self.links.check(row)?);
                    self.codes.prefetch(row);
                }
                self.codes.compare(query, fresh, sums, |row, similarity| {
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

    /// Algorithm 2, SEARCH-LAYER: from the rows in the pool, which must not have been visited, to the best of the
    /// level.
    pub fn search_level(&self, level: usize, scratch: &mut Scratch) -> Result<(), Damage> {
        let Scratch { query, pool, visited, fresh, sums, .. } = scratch;
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
            self.codes.compare(query, fresh, sums, |row, similarity| {
                if pool.push(row, similarity) && level == 0 {
                    prefetch(self.links.base, row, 2 * self.links.m);
                }
            });
        }
        Ok(())
    }

    /// Leaves about the ef nearest matching rows in the pool, or fewer. This is SEARCH-LAYER in the graph of the
    /// matching rows. A node of several rows matches if one of them does. A row's neighbors there are its matching
    /// neighbors, and the matching neighbors of the others.
    /// That is ACORN-1 of Patel, Kraft, Guestrin and Zaharia ("ACORN: Performant and Predicate-Agnostic Search Over
    /// Vector Embeddings and Structured Data", 2024).
    pub fn search_among(
        &self,
        ef: usize,
        matches: &Matches<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Damage> {
        let start = self.descend(0, scratch)?;
        let is_match = |node: u32| -> Result<bool, Damage> {
            for row in self.links.copies(node) {
                if matches.contains(row?) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let Scratch { query, pool, visited, fresh, between, sums } = scratch;
        visited.reset(self.links.num_rows());
        visited.insert(start.0);
        pool.reset(ef);
        let mut next = Some(start.0);
        if is_match(start.0)? {
            pool.push(start.0, start.1);
            next = pool.visit_next();
        }
        while let Some(row) = next {
            fresh.clear();
            between.clear();
            for &near in self.links.list(0, row)?.iter().take_while(|row| **row != NONE) {
                if !visited.insert(self.links.check(near)?) {
                    continue;
                }
                if is_match(near)? {
                    self.codes.prefetch(near);
                    fresh.push(near);
                } else {
                    prefetch(self.links.base, near, 2 * self.links.m);
                    between.push(near);
                }
            }
            for &near in between.iter() {
                // Enough: a row of the whole graph has no more neighbors.
                if fresh.len() >= 2 * self.links.m {
                    break;
                }
                for &far in self.links.list(0, near)?.iter().take_while(|row| **row != NONE) {
                    if is_match(self.links.check(far)?)? && visited.insert(far) {
                        self.codes.prefetch(far);
                        fresh.push(far);
                    }
                }
            }
            self.codes.compare(query, fresh, sums, |row, similarity| {
                if pool.push(row, similarity) {
                    prefetch(self.links.base, row, 2 * self.links.m);
                }
            });
            next = pool.visit_next();
        }
        Ok(())
    }

    /// Leaves the rows of `rows` nearest to the query in the pool, at most ef of them: each is compared.
    pub fn compare_all(&self, ef: usize, mut rows: impl Iterator<Item = u32>, scratch: &mut Scratch) {
        /// Asked for while as many are compared.
        const AHEAD: usize = 32;
        let Scratch { query, pool, fresh, between: coming, sums, .. } = scratch;
        pool.reset(ef);
        fresh.clear();
        loop {
            coming.clear();
            coming.extend(rows.by_ref().take(AHEAD));
            coming.iter().for_each(|row| self.codes.prefetch(*row));
            self.codes.compare(query, fresh, sums, |row, similarity| {
                pool.push(row, similarity);
            });
            std::mem::swap(fresh, coming);
            if fresh.is_empty() {
                return;
            }
        }
    }
}
