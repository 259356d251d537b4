use proptest::prelude::*;
use secateur_gpu::search::{Bounds, CodeRows, Queries, promising};

use crate::device::gpu;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a loop: the largest codes there are, ranges in the middle, rows left out, queries that find too many.
    #[test]
    fn gpu_promising_rows_are_those_of_a_loop(
        num_rows in 1usize..300,
        num_queries in 1usize..12,
        range in (0usize..10, 0usize..300),
        first in 0u32..70,
        most in 1usize..40,
        seed in any::<u64>(),
    ) {
        let width = 32;
        let mut random = secateur_random::SplitMix64::new(seed);
        let mut draw = |below: u64| random.below(below) as i64;
        let codes: Vec<i8> = (0..num_rows * width).map(|_| (draw(255) - 127) as i8).collect();
        let of_query = |draw: &mut dyn FnMut(u64) -> i64| match draw(3) {
            0 => 32_639,
            1 => -32_639,
            _ => draw(65_279) - 32_639,
        };
        let query_codes: Vec<i16> = (0..num_queries * width).map(|_| of_query(&mut draw) as i16).collect();
        let metas: Vec<[f32; 2]> = (0..num_rows).map(|_| [2f32.powi(-(draw(8) as i32)), draw(8) as f32]).collect();
        let bounds: Vec<Bounds> = (0..num_queries)
            .map(|_| Bounds {
                scale: 1.0 / 65_536.0,
                term: draw(9) as f32 - 4.0,
                reach: draw(3) as f32,
                limit: if draw(4) == 0 { f32::NEG_INFINITY } else { draw(200) as f32 - 100.0 },
            })
            .collect();
        let begin = (range.0 * 16).min(num_rows / 16 * 16);
        let range = begin..(begin + range.1).min(num_rows);
        let bits: Vec<u32> = (0..(first as usize + num_rows).div_ceil(32)).map(|_| draw(1 << 32) as u32).collect();
        let gpu = gpu();
        let rows = CodeRows::upload(&gpu, &codes, &metas, width).unwrap();
        let queries = Queries::upload(&gpu, &query_codes, width).unwrap();
        let (counts, found) =
            promising(&rows, range.clone(), first, (&queries, &bounds), &gpu.upload(&bits).unwrap(), most).unwrap();
        for (number, bounds) in bounds.iter().enumerate() {
            let mut want = Vec::new();
            for (row, place) in range.clone().zip(first..) {
                let pairs = codes[row * width..][..width].iter().zip(&query_codes[number * width..][..width]);
                let sum: i32 = pairs.map(|(code, query)| i32::from(*code) * i32::from(*query)).sum();
                let [scale, error] = metas[row];
                let score = sum as f32 * (bounds.scale * scale) + bounds.term;
                let is_in = bits[place as usize / 32] >> (place % 32) & 1 == 1;
                // Products are exact, so a fused multiplication gives the same.
                if is_in && score + bounds.reach * error >= bounds.limit {
                    want.push((place, score, error));
                }
            }
            prop_assert_eq!(counts[number] as usize, want.len());
            let of_query = found.iter().filter(|found| found.query as usize == number);
            let mut got: Vec<(u32, f32, f32)> = of_query.map(|found| (found.row, found.score, found.error)).collect();
            got.sort_by_key(|(row, ..)| *row);
            if want.len() <= most {
                prop_assert_eq!(got, want);
            } else {
                prop_assert_eq!(got.len(), most);
            }
        }
    }
}
