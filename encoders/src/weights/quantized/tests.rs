//! Against bitsandbytes: `tests/fixtures/nf4`, which its generate.py describes.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use secateur_testkit::workspace_root;

use super::dynamic;
use super::nf4::{Nf4Matrix, Scales};

/// Tensors by name, as bytes.
struct Fixture(BTreeMap<String, Vec<u8>>);

impl Fixture {
    fn read() -> Fixture {
        let path = workspace_root().join("tests/fixtures/nf4/cases.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        Fixture(file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect())
    }

    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        self.0[name].as_chunks().0.to_vec()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_le_bytes).collect()
    }

    fn sizes(&self, name: &str) -> Vec<usize> {
        self.words(name).into_iter().map(|word| u32::from_le_bytes(word) as usize).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().filter_map(|name| name.strip_suffix(".codes")).collect()
    }
}

/// The fixture's formula.
fn formula(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(|_| ((0..4).map(|_| uniform()).sum::<f64>() - 2.0) as f32).collect()
}

/// Fowler, Noll and Vo, variant 1a, 64 bits.
fn fnv1a64(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn codes_scales_and_values_are_those_of_bitsandbytes() {
    let fixture = Fixture::read();
    assert_eq!(fixture.names().len(), 16);
    for name in fixture.names() {
        let of = |part: &str| format!("{name}.{part}");
        let [rows, columns] = fixture.sizes(&of("shape"))[..] else { panic!("{name} has two dimensions") };
        let by_formula = !fixture.0.contains_key(&of("weights"));
        let weights = if by_formula { formula(rows * columns) } else { fixture.floats(&of("weights")) };
        let matrix = Nf4Matrix::quantize(&weights, rows, columns);
        assert_eq!(matrix.codes, fixture.0[&of("codes")], "{name}");
        let Scales::Nested(nested) = &**matrix.scales() else { panic!("scales are quantized") };
        assert_eq!(bits(&[nested.offset]), bits(&fixture.floats(&of("offset"))), "{name}");
        assert_eq!(nested.codes, fixture.0[&of("absmax")], "{name}");
        assert_eq!(bits(&nested.scales), bits(&fixture.floats(&of("nested_absmax"))), "{name}");
        let back = matrix.dequantize();
        if by_formula {
            let hash = fnv1a64(back.iter().flat_map(|x| x.to_le_bytes()));
            assert_eq!(hash.to_le_bytes(), fixture.0[&of("dequantized_hash")][..], "{name}");
        } else {
            assert_eq!(bits(&back), bits(&fixture.floats(&of("dequantized"))), "{name}");
        }
        let by_element = (0..rows * columns).map(|i| matrix.code(i / columns, i % columns));
        let pairs: Vec<u8> = by_element.collect::<Vec<_>>();
        let packed = pairs.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(7));
        assert_eq!(packed.collect::<Vec<_>>(), matrix.codes, "{name}");
    }
}

#[test]
fn the_dynamic_map_is_that_of_bitsandbytes() {
    assert_eq!(bits(&*dynamic::MAP), bits(&Fixture::read().floats("map")));
}

#[test]
fn means_are_those_of_one_thread_of_torch() {
    let fixture = Fixture::read();
    let sizes = fixture.sizes("mean_sizes");
    let mut numbers = formula(*sizes.last().unwrap());
    numbers.iter_mut().for_each(|x| *x += 1.0);
    for (size, want) in sizes.iter().zip(fixture.floats("means")) {
        assert_eq!(dynamic::mean(&numbers[..*size]).to_bits(), want.to_bits(), "{size}");
    }
}
