//! Conversions against definitions.

use proptest::prelude::*;

use super::*;

/// What the bits of a finite binary16 stand for.
fn value(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// All there are, and back.
#[test]
fn all_16_bits() {
    for bits in 0..=u16::MAX {
        if bits >> 10 & 31 != 31 {
            let x = F16(bits).to_f32();
            assert_eq!((f64::from(x), x.is_sign_negative()), (value(bits), bits >> 15 == 1), "{bits:x}");
            assert_eq!(F16::nearest(x), F16(bits), "{bits:x}");
        }
        let x = Bf16(bits).to_f32();
        assert_eq!(x.to_bits(), u32::from(bits) << 16);
        if x.is_finite() {
            assert_eq!(Bf16::nearest(x), Bf16(bits), "{bits:x}");
        }
    }
}

/// A number is rounded to the nearest value: both neighbors of that value are further away, or as far and odd.
fn check_nearest(x: f32, bits: u16, value: impl Fn(u16) -> f64) {
    let distance = |bits: u16| (value(bits) - f64::from(x)).abs();
    for other in [bits.wrapping_sub(1), bits + 1] {
        let both = (distance(bits), distance(other));
        assert!(
            both.0 < both.1 || both.0 == both.1 && bits.is_multiple_of(2) || value(other).is_nan(),
            "{x}: {bits:x}, {other:x}"
        );
    }
}

proptest! {
    /// Numbers of any size that f16 has, ties among them.
    #[test]
    fn f16_is_the_nearest(x in -65_519.0f32..65_519.0, exponent in -40i32..1, bits in 0u16..0x7bff) {
        let tie = (value(bits) + value(bits + 1)) / 2.0;
        for x in [x * 2f32.powi(exponent), tie as f32, -tie as f32] {
            let F16(bits) = F16::nearest(x);
            prop_assert_eq!(bits >> 15 == 1, x.is_sign_negative());
            let edge = |bits: u16| if bits & 0x7c00 == 0x7c00 { f64::NAN } else { value(bits) };
            check_nearest(x, bits, |other| if bits & 0x7fff == 0 && other != bits && other != bits + 1 { f64::NAN } else { edge(other) });
        }
    }

    /// Numbers of any size, ties among them.
    #[test]
    fn bf16_is_the_nearest(bits in any::<u32>().prop_filter("finite", |bits| f32::from_bits(*bits).abs() < 1e38)) {
        for bits in [bits, bits & 0xffff_0000 | 0x8000] {
            let x = f32::from_bits(bits);
            let Bf16(rounded) = Bf16::nearest(x);
            let value = |bits: u16| f64::from(Bf16(bits).to_f32());
            check_nearest(x, rounded, |other| if rounded & 0x7fff == 0 && other == rounded.wrapping_sub(1) { f64::NAN } else { value(other) });
        }
    }

    /// Pieces are those of the converted numbers; rounding twice changes nothing more.
    #[test]
    fn pieces_are_those_of_numbers(numbers in prop::collection::vec(-60_000.0f32..60_000.0, 1..50), len in 1usize..9) {
        for &component in ComponentType::ALL {
            let (mut rounded, mut bytes) = (numbers.clone(), Vec::new());
            round(component, &mut rounded, &mut bytes);
            prop_assert_eq!(bytes.len(), numbers.len() * component.size());
            prop_assert!(component != ComponentType::F32 || rounded == numbers);
            // Aligned as files are.
            let words: Vec<u32> = bytes.chunks(4).map(|chunk| chunk.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))).collect();
            let rows = Rows::from_bytes(component, &bytemuck::cast_slice(&words)[..bytes.len()]);
            prop_assert_eq!(&*rows.to_f32(), &rounded);
            let pieces: Vec<f32> = rows.chunks(len).flat_map(|piece| piece.to_f32().into_owned()).collect();
            prop_assert_eq!(&pieces, &rounded);
            let mut again = rounded.clone();
            let mut same = Vec::new();
            round(component, &mut again, &mut same);
            prop_assert!(again == rounded && same == bytes);
        }
    }
}

/// Beyond the largest binary16 is infinity.
#[test]
fn f16_ends() {
    for (x, expected) in [(65_504.0, 65_504.0), (65_519.9, 65_504.0)] {
        assert_eq!(F16::nearest(x).to_f32(), expected);
    }
    assert_eq!(F16::nearest(65_520.0), F16(0x7c00));
    assert_eq!(F16::nearest(-1e30), F16(0xfc00));
}
