use secateur_gpu::{Gpu, select};

use crate::numbers::Numbers;

/// Against a sort: (scores, width of a slice, k, how many different scores there are, 0 for any).
#[test]
fn gpu_top_k_is_a_stable_sort() {
    let gpu = Gpu::emulated();
    for (columns, width, k, levels) in
        [(1500, 512, 20, 0), (700, 256, 10, 7), (50, 64, 100, 3), (600, 200, 300, 2)]
    {
        let rows = 2;
        let mut numbers = Numbers::new(columns as u64);
        let scores: Vec<f32> = numbers
            .full(rows * columns)
            .into_iter()
            .map(|x| match levels {
                0 => x,
                levels => (x * levels as f32).floor(),
            })
            .collect();
        let slices = columns.div_ceil(width);
        let mut out = gpu.buffer(rows * slices * k).unwrap();
        let mut places = gpu.buffer(rows * slices * k).unwrap();
        select::top_k(&gpu.upload(&scores).unwrap(), (columns, width), k, 7, (&mut out, &mut places))
            .unwrap();
        let (out, places) = (out.to_vec().unwrap(), places.to_vec().unwrap());
        for row in 0..rows {
            for slice in 0..slices {
                let range = slice * width..columns.min((slice + 1) * width);
                let mut want: Vec<(f32, u32)> =
                    range.map(|column| (scores[row * columns + column], column as u32 + 7)).collect();
                want.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                want.truncate(k);
                let first = (row * slices + slice) * k;
                let mut got: Vec<(f32, u32)> = out[first..first + k]
                    .iter()
                    .copied()
                    .zip(places[first..first + k].iter().copied())
                    .collect();
                assert!(got[want.len()..].iter().all(|missing| *missing == (f32::NEG_INFINITY, u32::MAX)));
                got.truncate(want.len());
                got.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                assert_eq!(got, want, "{columns} scores in slices of {width}, k {k}, {levels} levels");
            }
        }
    }
}
