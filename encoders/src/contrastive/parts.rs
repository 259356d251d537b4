//! How the texts of a batch are divided among threads.
//!
//! Gradients are added up part by part in order, so the parts must not depend on the number of threads. But all threads
//! should finish at the same time.

/// How many parts the queries and the passages make, which have so many tokens together. Parts have at most
/// `batch_tokens` tokens and are of about the same size. Texts are not divided, so a part may have more or fewer by one
/// text. The number of all is a multiple of `multiple`, at least 2.
pub(super) fn num_parts(batch_tokens: usize, multiple: usize, num_tokens: [usize; 2]) -> [usize; 2] {
    let all: usize = num_tokens.iter().sum();
    let parts = all.div_ceil(batch_tokens).next_multiple_of(multiple).max(multiple);
    let of_queries = (parts * num_tokens[0] + all / 2) / all.max(1);
    let of_queries = of_queries.clamp(usize::from(num_tokens[0] > 0), parts - usize::from(num_tokens[1] > 0));
    [of_queries, parts - of_queries]
}

/// Texts in at most `num_parts` parts, none of them empty. The longest text comes first, and each goes to the part that
/// has the fewest tokens. The rule is that of Graham 1969 ("Bounds on Multiprocessing Timing Anomalies").
pub(super) fn even_parts(tokens: &[Vec<u32>], num_parts: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    order.sort_by_key(|text| std::cmp::Reverse(tokens[*text].len()));
    let mut parts = vec![(0, Vec::new()); num_parts];
    for text in order {
        let (size, part) =
            parts.iter_mut().min_by_key(|(size, _)| *size).expect("there is a part for every kind of text");
        *size += tokens[text].len();
        part.push(text);
    }
    parts.into_iter().map(|(_, part)| part).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every text is in one part; no part has more than an even share and the longest text beside it.
        #[test]
        fn parts_are_even(lengths in prop::collection::vec(1..200usize, 1..60), num_parts in 1..12usize) {
            let tokens: Vec<Vec<u32>> = lengths.iter().map(|length| vec![0; *length]).collect();
            let parts = even_parts(&tokens, num_parts);
            let mut seen: Vec<usize> = parts.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..tokens.len()).collect::<Vec<_>>());
            let total: usize = lengths.iter().sum();
            let longest = *lengths.iter().max().expect("there are texts");
            for part in &parts {
                let size: usize = part.iter().map(|text| lengths[*text]).sum();
                prop_assert!(size <= total / num_parts + longest);
            }
        }

        /// Both kinds have a part if they have a text, and an even share is within the bound.
        #[test]
        fn numbers_of_parts_are_shares(
            queries in 0..9000usize,
            passages in 0..9000usize,
            multiple in prop_oneof![Just(2usize), Just(4)],
        ) {
            let batch_tokens = 512;
            let [of_queries, of_passages] = num_parts(batch_tokens, multiple, [queries, passages]);
            prop_assert_eq!((of_queries + of_passages) % multiple, 0);
            prop_assert!((of_queries + of_passages) * batch_tokens >= queries + passages);
            prop_assert!((queries == 0 || of_queries > 0) && (passages == 0 || of_passages > 0));
        }
    }
}
