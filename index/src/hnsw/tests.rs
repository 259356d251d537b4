//! The graph and its index against the exact index, and what must be true of every graph.

use proptest::prelude::*;

use super::links::{NONE, level};
use super::*;
use crate::bitmap::Bitmap;
use crate::error::Error;
use crate::flat::FlatIndex;
use crate::metric::Metric;
use crate::quantization::CodeType;
use crate::quantization::codes::CodesBuf;
use crate::search::{ApproximateIndex, SearchOptions, VectorSearch};
use crate::testing::{clustered, in_pool, random};

/// Codes and entry point, then the links.
type Parts = (Vec<u8>, Vec<u32>, Vec<u32>, Vec<u32>, Vec<u32>);

/// All that a graph is made of.
fn parts_of(graph: &Graph) -> Parts {
    let sections: [&[u8]; 3] = match &graph.codes {
        CodesBuf::Int8(codes, _) => [
            bytemuck::cast_slice(&codes.codes),
            bytemuck::cast_slice(&codes.metas),
            bytemuck::cast_slice(&codes.mean),
        ],
        CodesBuf::OneBit(bits, _) => {
            [bytemuck::cast_slice(&bits.records), &[], bytemuck::cast_slice(&bits.mean)]
        }
    };
    let mut bytes = sections.concat();
    bytes.extend([graph.links.entry_point, graph.links.max_level as u32].map(u32::to_le_bytes).concat());
    let links = &graph.links;
    (bytes, links.base.to_vec(), links.first_blocks.clone(), links.upper.clone(), links.copies.clone())
}

fn check_invariants(graph: &Graph) {
    let view = graph.view();
    let num_rows = graph.num_rows() as u32;
    let is_copy: Bitmap = view.links.copies.iter().copied().filter(|next| *next != NONE).collect();
    let level_of =
        |row| if is_copy.contains(row) { 0 } else { level(graph.params.seed, row, graph.params.m) };
    assert_eq!(level_of(view.links.entry_point), view.links.max_level);
    let mut reached = Bitmap::default();
    let mut open = vec![view.links.entry_point];
    reached.insert(view.links.entry_point);
    while let Some(row) = open.pop() {
        let list = view.links.list(0, row).unwrap();
        open.extend(list.iter().take_while(|near| **near != NONE).filter(|near| reached.insert(**near)));
    }
    let rows: Vec<u32> =
        reached.iter().flat_map(|node| view.links.copies(node)).collect::<Result<_, _>>().unwrap();
    let distinct: Bitmap = rows.iter().copied().collect();
    assert!(rows.len() == num_rows as usize && distinct.len() == num_rows, "each row is reached by one way");
    assert!(is_copy.iter().all(|row| !reached.contains(row) && view.links.list(0, row).unwrap()[0] == NONE));
    for row in 0..num_rows {
        assert!(level_of(row) <= view.links.max_level);
        for level in 0..=level_of(row) {
            let list = view.links.list(level, row).unwrap();
            assert_eq!(list.len(), if level == 0 { 2 * graph.params.m } else { graph.params.m });
            let len = list.iter().take_while(|near| **near != NONE).count();
            assert!(list[len..].iter().all(|near| *near == NONE), "nothing after the end");
            let distinct: Bitmap = list[..len].iter().copied().collect();
            assert_eq!(distinct.len() as usize, len, "no neighbor twice");
            assert!(
                list[..len].iter().all(|near| *near != row && *near < num_rows && level_of(*near) >= level)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Sizes around those of batches, with equal rows and zero rows. The invariants hold, and the graph is the same
    /// on 1, 2 and 3 threads. A search with a row's own vector finds the row or an equal one, and there are as many
    /// hits as rows.
    #[test]
    fn graphs_are_whole_and_repeatable(
        num_rows in prop_oneof![1usize..80, 900usize..1200],
        dim in 1usize..20,
        m in 2usize..12,
        distinct in 1usize..2000,
        seed: u64,
        codes in prop::sample::select(CodeType::ALL),
    ) {
        let mut rows = clustered(num_rows.min(distinct), dim, 7, seed % 1000);
        rows.extend_from_within(..dim);
        rows.extend(vec![0.0; dim]);
        while rows.len() < num_rows * dim {
            rows.extend_from_within(..((num_rows * dim - rows.len()).min(rows.len())));
        }
        rows.truncate(num_rows * dim);
        let params = HnswParams { m, ef_construction: 40, seed, codes };
        for &metric in Metric::ALL {
            let [graph, second, third] =
                [1, 2, 3].map(|threads| in_pool(threads, || Graph::build(metric, dim, &rows, &params).unwrap()));
            prop_assert!(parts_of(&graph) == parts_of(&second) && parts_of(&graph) == parts_of(&third));
            check_invariants(&graph);
            let index = ApproximateIndex::new(&rows, &graph).unwrap();
            let flat = FlatIndex::new(metric, dim, &rows).unwrap();
            let query = &rows[..dim];
            let hits = index.search(query, 5, &SearchOptions::new(20)).unwrap();
            prop_assert_eq!(hits.len(), 5.min(num_rows));
            prop_assert!(hits.is_sorted_by(|a, b| a.rank(b).is_lt()));
            let exact = flat.search(query, num_rows).unwrap();
            prop_assert!(hits.iter().all(|hit| exact.contains(hit)), "scores are the exact ones");
            prop_assert_eq!(index.search(query, num_rows + 3, &SearchOptions::new(1)).unwrap(), exact);
        }
    }

    /// Filters and deletions, in one part with a graph and one without: nothing else is found, and no fewer hits than
    /// match.
    #[test]
    fn filters_are_kept(
        share in 1u32..100,
        seed in 0u64..1000,
        k in 1usize..30,
        codes in prop::sample::select(CodeType::ALL),
    ) {
        let (dim, num_rows) = (8, 1500);
        let rows = clustered(num_rows, dim, 10, seed);
        let params = HnswParams { codes, ..HnswParams::default() };
        let graph = Graph::build(Metric::Cosine, dim, &rows[..1000 * dim], &params).unwrap();
        let filter: Bitmap = (0..num_rows as u32).filter(|row| secateur_random::hash(seed, *row) % 100 < u64::from(share)).collect();
        let deleted: Bitmap = (0..1000).filter(|row| row % 3 == 0).collect();
        let mut index = ApproximateIndex::empty(Metric::Cosine, dim);
        index.push(&rows[..1000 * dim], Some(&deleted), None, Some(&graph));
        index.push(&rows[1000 * dim..], None, None, None);
        let query = &rows[dim * 700..][..dim];
        let expected = index.flat().search_among(query, k, &filter).unwrap();
        for filter in [Some(&filter), None] {
            let hits = index.search(query, k, &SearchOptions { filter, ..SearchOptions::new(10) }).unwrap();
            let exact = match filter {
                Some(_) => expected.clone(),
                None => index.flat().search(query, k).unwrap(),
            };
            prop_assert_eq!(hits.len(), exact.len());
            for hit in hits {
                prop_assert!(filter.is_none_or(|filter| filter.contains(hit.row.0)));
                prop_assert!(hit.row.0 >= 1000 || !deleted.contains(hit.row.0));
            }
        }
    }
}

/// Among very many copies of one row the others are found, and as many of the copies as are asked for; filtered or not.
#[test]
fn copies_hide_nothing() {
    let (num_copies, num_others, dim) = (5000, 300, 16);
    let others = clustered(num_others, dim, 1, 3);
    // The copies lie between all others, so that they are the nearest neighbors of most.
    let mut copy = vec![0.0; dim];
    for row in others.chunks_exact(dim) {
        copy.iter_mut().zip(row).for_each(|(sum, x)| *sum += x / num_others as f32);
    }
    let mut rows = Vec::new();
    for at in 0..num_others {
        rows.extend(copy.repeat(num_copies / num_others + usize::from(at == 0) * (num_copies % num_others)));
        rows.extend_from_slice(&others[at * dim..][..dim]);
    }
    let num_rows = (rows.len() / dim) as u32;
    let is_copy = |row: u32| rows[row as usize * dim..][..dim] == copy[..];
    for (&metric, &codes) in [Metric::L2, Metric::Cosine].iter().zip(CodeType::ALL) {
        let params = HnswParams { codes, ..HnswParams::default() };
        let graph = Graph::build(metric, dim, &rows, &params).unwrap();
        check_invariants(&graph);
        let index = ApproximateIndex::new(&rows, &graph).unwrap();
        let recall = index.recall(&others, 1, &[100]).unwrap()[0].mean;
        assert!(recall >= 0.99, "{metric}, {codes}: {recall}");
        let options = SearchOptions::new(100);
        for k in [1, 10, 200] {
            let hits = index.search(&copy, k, &options).unwrap();
            assert!(hits.len() == k && hits.iter().all(|hit| is_copy(hit.row.0)), "{metric}, {k}");
        }
        // One copy in a hundred matches, and not the first.
        let filter: Bitmap = (0..num_rows).filter(|row| row % 100 == 99 || !is_copy(*row)).collect();
        let options = SearchOptions { filter: Some(&filter), ..options };
        let hits = index.search(&copy, 20, &options).unwrap();
        assert_eq!(hits, index.flat().search_among(&copy, 20, &filter).unwrap());
    }
}

/// About all of the true ten are found under every metric, with rows in the order of their clusters.
#[test]
fn recall_is_high() {
    let (num_rows, dim) = (6000, 24);
    let rows = clustered(num_rows, dim, 60, 5);
    let queries = clustered(200, dim, 60, 5);
    for &metric in Metric::ALL {
        let graph = Graph::build(metric, dim, &rows, &HnswParams::default()).unwrap();
        check_invariants(&graph);
        let index = ApproximateIndex::new(&rows, &graph).unwrap();
        let recall = |ef| {
            let found = index.search_batch(&queries, 10, &SearchOptions::new(ef)).unwrap();
            let exact = index.flat().search_batch(&queries, 10).unwrap();
            let pairs = found.iter().zip(&exact);
            pairs.map(|(a, b)| a.iter().filter(|hit| b.contains(hit)).count()).sum::<usize>() as f64 / 2000.0
        };
        let (low, high) = (recall(10), recall(100));
        assert!(high >= 0.99 && low >= 0.6 && low <= high, "{metric}: {low}, {high}");
        let single = index.search(&queries[..dim], 10, &SearchOptions::new(50)).unwrap();
        assert_eq!(index.search_batch(&queries, 10, &SearchOptions::new(50)).unwrap()[0], single);
    }
}

/// A search by 1-bit codes finds the true ten with a large ef. The graph has the edges of one with 8-bit codes. Its
/// codes take an eighth of the memory of 8-bit codes.
#[test]
fn one_bit_finds_the_way() {
    let (num_rows, dim) = (4000, 256);
    let rows = clustered(num_rows, dim, 60, 5);
    let queries = clustered(100, dim, 60, 5);
    for &metric in Metric::ALL {
        let build =
            |codes| Graph::build(metric, dim, &rows, &HnswParams { codes, ..HnswParams::default() }).unwrap();
        let (graph, int8) = (build(CodeType::OneBit), build(CodeType::Int8));
        let ((bits, links, ..), (bytes, same, ..)) = (parts_of(&graph), parts_of(&int8));
        assert!(links == same && bits.len() * 5 < bytes.len(), "{} and {}", bits.len(), bytes.len());
        let index = ApproximateIndex::new(&rows, &graph).unwrap();
        let [low, high] = [10, 200].map(|ef| index.recall(&queries, 10, &[ef]).unwrap()[0].mean);
        assert!(high >= 0.98 && low < high, "{metric}: {low}, {high}");
        let exact = index.flat().search(&queries[..dim], 10).unwrap();
        let hits = index.search(&queries[..dim], 10, &SearchOptions::new(200)).unwrap();
        assert!(
            hits.iter().filter(|hit| exact.contains(hit)).count() >= 8,
            "{metric}: scores are the exact ones"
        );
    }
}

/// Whichever plan is chosen, as many hits as match are found, and about all of them are true. This holds also if the
/// filter depends on the vectors, so that matches are far from the query.
#[test]
fn filtered_recall_is_high() {
    let (num_rows, dim, ef) = (16_000, 24, 40);
    let rows = clustered(num_rows, dim, 160, 5);
    let queries = clustered(200, dim, 160, 5);
    let graph = Graph::build(Metric::Cosine, dim, &rows, &HnswParams::default()).unwrap();
    let deleted: Bitmap = (0..num_rows as u32).filter(|row| row % 13 == 2).collect();
    let mut index = ApproximateIndex::empty(Metric::Cosine, dim);
    index.push(&rows[..], Some(&deleted), None, Some(&graph));
    for per_mille in [800, 500, 350, 250, 100, 30, 10, 1, 0] {
        let scattered = |row: u32| secateur_random::hash(9, row) % 1000 < per_mille;
        // The first clusters, which are no nearer to one query than to another.
        let together = |row: u32| u64::from(row) * 1000 < per_mille * num_rows as u64;
        for filter in [
            (0..num_rows as u32).filter(|row| scattered(*row)).collect::<Bitmap>(),
            (0..num_rows as u32).filter(|row| together(*row)).collect(),
        ] {
            let options = SearchOptions { filter: Some(&filter), ..SearchOptions::new(ef) };
            let found = index.search_batch(&queries, 10, &options).unwrap();
            let exact = index.flat().search_batch_among(&queries, 10, &filter).unwrap();
            let (mut shared, mut wanted) = (0, 0);
            for (found, exact) in found.iter().zip(&exact) {
                assert_eq!(found.len(), exact.len());
                assert!(found.iter().all(|hit| filter.contains(hit.row.0) && !deleted.contains(hit.row.0)));
                shared += found.iter().filter(|hit| exact.contains(hit)).count();
                wanted += exact.len();
            }
            assert!(shared * 100 >= wanted * 98, "{per_mille} in 1000: {shared} of {wanted}");
        }
    }
}

/// The least ef for a recall is found, and every point is what a search with its ef finds.
#[test]
fn tuning_finds_the_least_ef() {
    let (num_rows, dim) = (4000, 24);
    let rows = clustered(num_rows, dim, 4000, 5);
    let queries: Vec<f32> = random(77).take(100 * dim).collect();
    let graph = Graph::build(Metric::L2, dim, &rows, &HnswParams::default()).unwrap();
    let index = ApproximateIndex::new(&rows, &graph).unwrap();
    let mut last = 0;
    for target in [0.5, 0.9, 0.97] {
        let curve = index.tune(&queries, 10, target).unwrap();
        assert!(curve.ef_search >= last && curve.points.is_sorted_by(|a, b| a.ef_search < b.ef_search));
        last = curve.ef_search;
        let point = curve.points.iter().find(|point| point.ef_search == last).unwrap();
        assert!(point.mean >= target && point.percentile_5 <= point.mean, "{curve:?}");
        let below = curve.points.iter().rfind(|point| point.ef_search < last);
        assert!(below.is_none_or(|below| below.mean < target), "{curve:?}");
        assert!(below.is_none_or(|below| last - below.ef_search <= last / 8), "{curve:?}");
        let found = index.search_batch(&queries, 10, &SearchOptions::new(last)).unwrap();
        let exact = index.flat().search_batch(&queries, 10).unwrap();
        let pairs = found.iter().zip(&exact);
        let shared: usize = pairs.map(|(a, b)| a.iter().filter(|hit| b.contains(hit)).count()).sum();
        // A sum of 100 tenths, each rounded.
        assert!((shared as f64 / 1000.0 - point.mean).abs() < 1e-12);
    }
    assert!(last > 10, "the last target is not for nothing");
    // A graph search may miss a row; a comparison of all rows does not.
    let all = index.tune(&queries, 10, 1.0).unwrap();
    assert_eq!(index.recall(&queries, 10, &[all.ef_search]).unwrap()[0].mean, 1.0);
    assert_eq!(index.recall(&queries, 10, &[num_rows]).unwrap()[0].percentile_5, 1.0);
    for (name, result) in [
        ("target", index.tune(&queries, 10, 1.5)),
        ("target", index.tune(&queries, 10, f64::NAN)),
        ("k", index.tune(&queries, 0, 0.5)),
        ("queries", index.tune(&[], 10, 0.5)),
    ] {
        assert!(matches!(result, Err(Error::InvalidParameter { name: named, .. }) if named == name));
    }
}

/// Rows far from the origin and from each other only by little are told apart: the mean is taken away before rounding.
#[test]
fn a_common_offset_does_no_harm() {
    let (num_rows, dim) = (2000, 16);
    let rows: Vec<f32> = clustered(num_rows, dim, 2000, 9).iter().map(|x| x / 100.0 + 50.0).collect();
    let graph = Graph::build(Metric::L2, dim, &rows, &HnswParams::default()).unwrap();
    let index = ApproximateIndex::new(&rows, &graph).unwrap();
    let found = (0..100).filter(|row| {
        let hits = index.search(&rows[row * dim..][..dim], 1, &SearchOptions::new(50)).unwrap();
        hits[0].row.0 as usize == *row
    });
    assert!(found.count() >= 98);
}

/// Levels are as frequent as the paper says: one row in M goes on.
#[test]
fn levels_thin_out() {
    for m in [2, 16] {
        let mut counts = [0u32; 4];
        for row in 0..100_000 {
            counts[level(7, row, m).min(3)] += 1;
        }
        let above: u32 = counts[1..].iter().sum();
        // A binomial count of mean N / M: six times its deviation either way.
        let mean = 100_000.0 / m as f64;
        assert!((f64::from(above) - mean).abs() < 6.0 * mean.sqrt(), "{counts:?}");
        let twice: u32 = counts[2..].iter().sum();
        assert!((f64::from(twice) - mean / m as f64).abs() < 6.0 * mean.sqrt(), "{counts:?}");
    }
}

/// Another seed gives another graph; so does another M.
#[test]
fn seeds_and_parameters_matter() {
    let rows = clustered(500, 6, 10, 3);
    let build = |params| Graph::build(Metric::L2, 6, &rows, &params).unwrap();
    let graph = build(HnswParams::default());
    assert_ne!(parts_of(&graph), parts_of(&build(HnswParams { seed: 1, ..HnswParams::default() })));
    assert_ne!(parts_of(&graph).1, parts_of(&build(HnswParams { m: 8, ..HnswParams::default() })).1);
}

#[test]
fn bad_input_is_refused() {
    let params = HnswParams::default();
    for (name, params) in [
        ("m", HnswParams { m: 1, ..params }),
        ("m", HnswParams { m: 257, ..params }),
        ("ef_construction", HnswParams { ef_construction: 0, ..params }),
    ] {
        let result = Graph::build(Metric::L2, 2, &[0.0; 4], &params);
        assert!(matches!(result, Err(Error::InvalidParameter { name: named, .. }) if named == name));
    }
    assert!(matches!(Graph::build(Metric::L2, 2, &[0.0; 3], &params), Err(Error::RaggedVectors { .. })));
    assert!(matches!(Graph::build(Metric::L2, 1, &[f32::NAN], &params), Err(Error::NotFinite { .. })));
    let graph = Graph::build(Metric::L2, 2, &[0.0, 1.0, 2.0, 3.0], &params).unwrap();
    assert!(matches!(
        ApproximateIndex::new(&[0.0; 6], &graph),
        Err(Error::RowsMismatch { expected: 2, got: 3, .. })
    ));
    let index_rows = [0.0, 1.0, 2.0, 3.0];
    let index = ApproximateIndex::new(&index_rows, &graph).unwrap();
    let options = SearchOptions::default();
    assert!(matches!(index.search(&[0.0], 1, &options), Err(Error::DimensionMismatch { .. })));
    assert!(matches!(index.search(&[0.0, f32::NAN], 1, &options), Err(Error::NotFinite { .. })));
    let result = index.search(&[0.0, 1.0], 1, &SearchOptions::new(0));
    assert!(matches!(result, Err(Error::InvalidParameter { name: "ef_search", .. })));
    assert!(index.search(&[0.0, 1.0], 0, &options).unwrap().is_empty());
    assert!(index.search_batch(&[], 3, &options).unwrap().is_empty());
    let empty = Graph::build(Metric::L2, 2, &[], &params).unwrap();
    assert!(ApproximateIndex::new(&[], &empty).unwrap().search(&[0.0, 1.0], 3, &options).unwrap().is_empty());
}
