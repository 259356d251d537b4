//! Building the graph: algorithm 1 of the paper, for many rows at once.
//!
//! Rows come in batches. The rows of a batch look for their neighbors in parallel. They search the graph of the batches
//! before, which does not change meanwhile. Each row is also compared with all other rows of the batch. Then all new
//! edges are added, those of each row in one step. So the graph does not depend on the number of threads. Codes are
//! compared in integers, so the graph does not depend on the machine either.
//!
//! Rows of higher levels come first: the upper levels, through which searches descend, are complete before level 0 is
//! filled.
//!
//! Of rows with equal codes only the first is inserted.

use rayon::prelude::*;
use secateur_random::hash;

use super::copies;
use super::links::{LinksBuf, NONE, level};
use super::params::HnswParams;
use super::repair;
use super::select::{Candidate, Selection};
use super::traversal::{GraphView, Scratch};
use crate::pages::Pages;
use crate::quantization::codes::Codes;
use crate::quantization::int8::Int8CodesBuf;
use crate::quantization::kernel::int8::Int8Kernel;

/// The most rows of a batch. Comparing a row with the others of its batch costs a tenth of its search in the graph.
const MAX_BATCH: usize = 1024;

/// The fewest rows of a batch: the first batch has no graph to search.
const MIN_BATCH: usize = 64;

/// The graph of rows.
pub(crate) fn build(codes: &Int8CodesBuf, params: &HnswParams) -> LinksBuf {
    let num_rows = codes.metas.len();
    let (next, is_copy) = copies::find(&codes.borrow());
    let level = |row| if is_copy.contains(row) { 0 } else { level(params.seed, row, params.m) as u8 };
    let levels: Vec<u8> = (0..num_rows as u32).map(level).collect();
    let mut order: Vec<u32> = (0..num_rows as u32).filter(|row| !is_copy.contains(*row)).collect();
    // Hashed a second time, because the first hash gave the levels and would order the rows within a level.
    order.par_sort_unstable_by_key(|row| {
        (std::cmp::Reverse(levels[*row as usize]), hash(!params.seed, *row), *row)
    });
    let mut builder = Builder::new(codes, params, levels, order.first().copied());
    let mut done = 0;
    while done < order.len() {
        let len = done.clamp(MIN_BATCH, MAX_BATCH).min(order.len() - done);
        builder.insert(&order[done..done + len], done == 0);
        done += len;
    }
    repair::connect(&mut builder.links, &codes.borrow(), builder.kernel, &is_copy);
    LinksBuf { copies: next, ..builder.links }
}

struct Builder<'c> {
    codes: &'c Int8CodesBuf,
    ef_construction: usize,
    kernel: Int8Kernel,
    levels: Vec<u8>,
    links: LinksBuf,
    /// The similarities of the neighbors in `links.base` and `links.upper`, at the same positions.
    base_similarities: Pages<f32>,
    upper_similarities: Vec<f32>,
}

/// A new edge: from a row of a batch to one of its neighbors, which is to get the reverse edge.
struct Edge {
    level: u8,
    to: u32,
    from: u32,
    similarity: f32,
}

impl<'c> Builder<'c> {
    fn new(codes: &'c Int8CodesBuf, params: &HnswParams, levels: Vec<u8>, first: Option<u32>) -> Self {
        let mut num_blocks = 0;
        let first_blocks = levels.iter().map(|level| {
            let block = if *level > 0 { num_blocks } else { NONE };
            num_blocks += u32::from(*level);
            block
        });
        let first_blocks = first_blocks.collect();
        let (base, upper) = (levels.len() * 2 * params.m, num_blocks as usize * params.m);
        let links = LinksBuf {
            m: params.m,
            base: Pages::filled(base, NONE),
            first_blocks,
            upper: vec![NONE; upper],
            copies: Vec::new(),
            entry_point: first.unwrap_or(NONE),
            max_level: first.map_or(0, |first| usize::from(levels[first as usize])),
        };
        Builder {
            codes,
            ef_construction: params.ef_construction,
            kernel: Int8Kernel::detect(),
            levels,
            links,
            base_similarities: Pages::zeros(base),
            upper_similarities: vec![0.0; upper],
        }
    }

    fn view(&self) -> GraphView<'_> {
        GraphView { links: self.links.borrow(), codes: Codes::Int8(self.codes.borrow(), self.kernel) }
    }

    /// Mmax of the paper.
    fn max_neighbors(&self, level: usize) -> usize {
        if level == 0 { 2 * self.links.m } else { self.links.m }
    }

    fn insert(&mut self, batch: &[u32], is_first: bool) {
        let found: Vec<Vec<Vec<Candidate>>> = batch
            .par_iter()
            .map_init(
                || (Scratch::default(), Selection::default()),
                |(scratch, selection), row| self.neighbors(*row, batch, is_first, scratch, selection),
            )
            .collect();
        let mut edges = Vec::new();
        for (&from, lists) in batch.iter().zip(&found) {
            for (level, list) in lists.iter().enumerate() {
                self.set(level, from, list);
                edges.extend(list.iter().map(|&(to, similarity)| Edge {
                    level: level as u8,
                    to,
                    from,
                    similarity,
                }));
            }
        }
        edges.par_sort_unstable_by_key(|edge| (edge.level, edge.to, edge.from));
        let groups: Vec<&[Edge]> = edges.chunk_by(|a, b| (a.level, a.to) == (b.level, b.to)).collect();
        let lists: Vec<Vec<Candidate>> = groups
            .par_iter()
            .map_init(Selection::default, |selection, edges| self.with_reverse_edges(edges, selection))
            .collect();
        for (edges, list) in groups.iter().zip(&lists) {
            self.set(usize::from(edges[0].level), edges[0].to, list);
        }
    }

    /// The neighbors of a new row on each of its levels.
    fn neighbors(
        &self,
        row: u32,
        batch: &[u32],
        is_first: bool,
        scratch: &mut Scratch,
        selection: &mut Selection,
    ) -> Vec<Vec<Candidate>> {
        let (view, codes) = (self.view(), self.codes.borrow());
        codes.row_as_query(row, &mut scratch.query.int8);
        let mut mates = Vec::with_capacity(batch.len());
        codes.compare(self.kernel, &scratch.query.int8, batch, &mut scratch.sums, |mate, similarity| {
            if mate != row {
                mates.push((mate, similarity));
            }
        });
        let top = usize::from(self.levels[row as usize]);
        // A graph under construction names only its rows.
        const WHOLE: &str = "a graph under construction names only its rows";
        let mut entries = Vec::new();
        if !is_first {
            entries.push(view.descend(top, scratch).expect(WHOLE));
        }
        let mut candidates = Vec::new();
        let mut lists = vec![Vec::new(); top + 1];
        for level in (0..=top).rev() {
            scratch.pool.reset(self.ef_construction);
            entries.iter().for_each(|&(row, similarity)| {
                scratch.pool.push(row, similarity);
            });
            view.search_level(level, scratch).expect(WHOLE);
            entries.clear();
            entries.extend(scratch.pool.iter());
            for &(mate, similarity) in &mates {
                if usize::from(self.levels[mate as usize]) >= level {
                    scratch.pool.push(mate, similarity);
                }
            }
            candidates.clear();
            candidates.extend(scratch.pool.iter());
            selection.choose(&codes, self.kernel, &candidates, self.max_neighbors(level));
            lists[level].extend_from_slice(&selection.chosen);
        }
        lists
    }

    /// The new neighbors of a row to which new rows have edges. They are the old and the new ones if there is room,
    /// else the choice of algorithm 4.
    fn with_reverse_edges(&self, edges: &[Edge], selection: &mut Selection) -> Vec<Candidate> {
        let (level, row) = (usize::from(edges[0].level), edges[0].to);
        let mut list: Vec<Candidate> = self.list(level, row).collect();
        for edge in edges {
            if !list.iter().any(|(known, _)| *known == edge.from) {
                list.push((edge.from, edge.similarity));
            }
        }
        list.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let max = self.max_neighbors(level);
        if list.len() <= max {
            return list;
        }
        selection.choose(&self.codes.borrow(), self.kernel, &list, max);
        selection.chosen.clone()
    }

    fn position(&self, level: usize, row: u32) -> usize {
        match level {
            0 => row as usize * 2 * self.links.m,
            _ => (self.links.first_blocks[row as usize] as usize + level - 1) * self.links.m,
        }
    }

    fn list(&self, level: usize, row: u32) -> impl Iterator<Item = Candidate> + '_ {
        let (rows, similarities) = match level {
            0 => (&self.links.base[..], &self.base_similarities[..]),
            _ => (&self.links.upper[..], &self.upper_similarities[..]),
        };
        let first = self.position(level, row);
        let range = first..first + self.max_neighbors(level);
        let pairs = rows[range.clone()].iter().zip(&similarities[range]);
        pairs.take_while(|(row, _)| **row != NONE).map(|(row, similarity)| (*row, *similarity))
    }

    fn set(&mut self, level: usize, row: u32, list: &[Candidate]) {
        let first = self.position(level, row);
        let range = first..first + self.max_neighbors(level);
        let (rows, similarities) = match level {
            0 => (&mut self.links.base[..], &mut self.base_similarities[..]),
            _ => (&mut self.links.upper[..], &mut self.upper_similarities[..]),
        };
        rows[range.clone()].fill(NONE);
        for (position, (row, similarity)) in range.zip(list) {
            rows[position] = *row;
            similarities[position] = *similarity;
        }
    }
}
