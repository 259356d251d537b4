use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

type List = Vec<(u8, f64)>;
type Fuse = fn(&[RankedList<'_, u8>]) -> Result<Vec<(u8, f64)>, Error>;

fn rrf(lists: &[RankedList<'_, u8>]) -> Result<Vec<(u8, f64)>, Error> {
    reciprocal_rank_fusion(lists, DEFAULT_RRF_K)
}

const METHODS: [Fuse; 2] = [rrf, weighted_sum];

/// A list over few keys, so that lists overlap, with few scores, so that there are ties; best first.
fn list() -> impl Strategy<Value = List> {
    proptest::collection::btree_map(0..12_u8, -4..5_i32, 0..10).prop_map(|scores| {
        let mut list: List = scores.into_iter().map(|(key, score)| (key, f64::from(score) / 3.0)).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        list
    })
}

fn lists() -> impl Strategy<Value = Vec<(List, f64)>> {
    let weight = prop_oneof![Just(1.0), Just(0.0), 0.0..3.0];
    proptest::collection::vec((list(), weight), 0..5)
}

fn borrow(lists: &[(List, f64)]) -> Vec<RankedList<'_, u8>> {
    lists.iter().map(|(hits, weight)| RankedList { hits, weight: *weight }).collect()
}

fn score_of(fused: &[(u8, f64)], key: u8) -> f64 {
    fused.iter().find(|(k, _)| *k == key).map_or(0.0, |(_, score)| *score)
}

/// The definition of reciprocal rank fusion, key by key.
fn naive_rrf(lists: &[(List, f64)], key: u8) -> f64 {
    let mut score = 0.0;
    for (hits, weight) in lists {
        for rank in 1..=hits.len() {
            if hits[rank - 1].0 == key {
                score += weight / (60.0 + rank as f64);
            }
        }
    }
    score
}

/// The definition of the weighted sum, key by key, for scores that are no thirds of large numbers.
fn naive_sum(lists: &[RankedList<'_, u8>], key: u8) -> f64 {
    let mut sum = 0.0;
    for list in lists.iter().filter(|list| !list.hits.is_empty()) {
        let (greatest, last) = (list.hits[0].1, list.hits[list.hits.len() - 1].1);
        let least = last.min(0.0);
        let score = list.hits.iter().find(|(k, _)| *k == key).map(|(_, score)| *score);
        let share = |score: f64| if greatest == least { 1.0 } else { (score - least) / (greatest - least) };
        sum += list.weight * score.map_or(0.0, share);
    }
    sum
}

proptest! {
    /// At most 4 terms below 3, of a few roundings each.
    #[test]
    fn weighted_sum_is_its_definition(lists in lists()) {
        let lists = borrow(&lists);
        let fused = weighted_sum(&lists).unwrap();
        for (key, score) in fused {
            prop_assert!((score - naive_sum(&lists, key)).abs() <= 4.0 * 3.0 * 8.0 * f64::EPSILON);
        }
    }

    #[test]
    fn rrf_is_its_definition(lists in lists()) {
        let fused = rrf(&borrow(&lists)).unwrap();
        for key in 0..12 {
            // At most 4 terms below 3/61: each is rounded twice and each sum once, to a relative 2^-53.
            let difference = (score_of(&fused, key) - naive_rrf(&lists, key)).abs();
            prop_assert!(difference <= 12.0 * 0.2 * f64::EPSILON / 2.0, "key {key}: {difference:e}");
        }
    }

    #[test]
    fn the_result_is_a_total_order_over_the_union(lists in lists()) {
        for method in METHODS {
            let fused = method(&borrow(&lists)).unwrap();
            for pair in fused.windows(2) {
                prop_assert!(pair[0].1 > pair[1].1 || (pair[0].1 == pair[1].1 && pair[0].0 > pair[1].0));
            }
            let counted = lists.iter().filter(|(_, weight)| *weight > 0.0);
            let union: BTreeSet<u8> = counted.flat_map(|(hits, _)| hits.iter().map(|(key, _)| *key)).collect();
            prop_assert_eq!(fused.iter().map(|(key, _)| *key).collect::<BTreeSet<u8>>(), union);
            prop_assert_eq!(fused.len(), union_len(&lists));
        }
    }

    #[test]
    fn the_order_of_the_lists_has_no_effect(
        (lists, shuffled) in lists().prop_flat_map(|lists| (Just(lists.clone()), Just(lists).prop_shuffle()))
    ) {
        for method in METHODS {
            prop_assert_eq!(method(&borrow(&lists)), method(&borrow(&shuffled)));
        }
    }

    #[test]
    fn arguments_are_unchanged_and_calls_repeat(lists in lists()) {
        let before = lists.clone();
        for method in METHODS {
            let borrowed = borrow(&lists);
            let first = method(&borrowed);
            prop_assert_eq!(first, method(&borrowed));
        }
        prop_assert_eq!(before, lists);
    }

    #[test]
    fn moving_up_in_a_list_never_lowers_the_score(lists in lists(), which: prop::sample::Index, at: prop::sample::Index) {
        let candidates: Vec<usize> = (0..lists.len()).filter(|l| lists[*l].0.len() >= 2).collect();
        prop_assume!(!candidates.is_empty());
        let l = candidates[which.index(candidates.len())];
        let i = at.index(lists[l].0.len() - 1);
        let (upper, lower) = (lists[l].0[i].0, lists[l].0[i + 1].0);
        let mut moved = lists.clone();
        // The keys change places, the scores stay.
        moved[l].0[i].0 = lower;
        moved[l].0[i + 1].0 = upper;
        for method in METHODS {
            let (before, after) = (method(&borrow(&lists)).unwrap(), method(&borrow(&moved)).unwrap());
            prop_assert!(score_of(&after, lower) >= score_of(&before, lower));
            prop_assert!(score_of(&after, upper) <= score_of(&before, upper));
            for key in (0..12).filter(|key| *key != lower && *key != upper) {
                prop_assert_eq!(score_of(&after, key), score_of(&before, key));
            }
        }
    }

    #[test]
    fn missing_from_a_list_is_never_rewarded(lists in lists(), which: prop::sample::Index, at: prop::sample::Index) {
        let candidates: Vec<usize> = (0..lists.len()).filter(|l| lists[*l].0.len() >= 2).collect();
        prop_assume!(!candidates.is_empty());
        let l = candidates[which.index(candidates.len())];
        let i = at.index(lists[l].0.len() - 1);
        let mut without = lists.clone();
        let (key, _) = without[l].0.remove(i);
        for method in METHODS {
            let (with, without) = (method(&borrow(&lists)).unwrap(), method(&borrow(&without)).unwrap());
            prop_assert!(score_of(&without, key) <= score_of(&with, key) + 1e-12);
        }
    }

    #[test]
    fn one_list_keeps_its_order(hits in list()) {
        let fused = rrf(&[RankedList::new(&hits)]).unwrap();
        let keys = |list: &[(u8, f64)]| list.iter().map(|(key, _)| *key).collect::<Vec<u8>>();
        prop_assert_eq!(keys(&fused), keys(&hits));
        // `hits` is sorted by the same total order, and normalization keeps the ties of thirds of small integers.
        let fused = weighted_sum(&[RankedList::new(&hits)]).unwrap();
        prop_assert_eq!(keys(&fused), keys(&hits));
    }

    #[test]
    fn normalized_scores_do_not_depend_on_scale(hits in list(), other in list()) {
        // Powers of two scale without rounding.
        let scaled: List = hits.iter().map(|(key, score)| (*key, score * 1024.0)).collect();
        let fused = weighted_sum(&[RankedList::new(&hits), RankedList::new(&other)]);
        prop_assert_eq!(fused, weighted_sum(&[RankedList::new(&scaled), RankedList::new(&other)]));
    }
}

fn union_len(lists: &[(List, f64)]) -> usize {
    let mut counts: HashMap<u8, usize> = HashMap::new();
    for (hits, _) in lists.iter().filter(|(_, weight)| *weight > 0.0) {
        for (key, _) in hits {
            *counts.entry(*key).or_default() += 1;
        }
    }
    counts.len()
}

#[test]
fn weighted_sum_normalizes_each_list() {
    let a = [("x", 1e308), ("y", 0.0), ("z", -1e308)];
    let b = [("z", 7.0), ("w", 7.0)];
    let fused =
        weighted_sum(&[RankedList::new(&a), RankedList { weight: 0.25, ..RankedList::new(&b) }]).unwrap();
    assert_eq!(fused, [("x", 1.0), ("y", 0.5), ("z", 0.25), ("w", 0.25)]);
}

#[test]
fn no_lists_and_empty_lists_fuse_to_nothing() {
    let empty: [(u8, f64); 0] = [];
    for method in METHODS {
        assert_eq!(method(&[]), Ok(vec![]));
        assert_eq!(method(&[RankedList::new(&empty)]), Ok(vec![]));
    }
}

#[test]
fn bad_arguments_are_named() {
    let good = [(1, 0.5)];
    for k in [-1.0, f64::NAN, f64::INFINITY] {
        let error = reciprocal_rank_fusion(&[RankedList::new(&good)], k).unwrap_err();
        assert!(matches!(error, Error::InvalidK { .. }), "{error}");
    }
    for method in METHODS {
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            let error = method(&[RankedList::new(&good), RankedList { weight, ..RankedList::new(&good) }])
                .unwrap_err();
            assert!(matches!(error, Error::InvalidWeight { list: 2, .. }), "{error}");
        }
        let repeated = [(1, 0.5), (2, 0.4), (1, 0.3)];
        let error = method(&[RankedList::new(&repeated)]).unwrap_err();
        assert_eq!(error, Error::RepeatedKey { list: 1, rank: 3 });
    }
    let error = weighted_sum(&[RankedList::new(&[(1, 0.5), (2, f64::NEG_INFINITY)])]).unwrap_err();
    assert_eq!(error, Error::NonFiniteScore { list: 1, rank: 2, score: f64::NEG_INFINITY });
}
