//! What a buffer may hold.
#![allow(unsafe_code)] // Views of plain numbers as bytes.

use half::bf16;

/// Plain old data: any bytes are a value, and there is no padding.
///
/// # Safety
///
/// The type is `Copy`, has no padding and no invalid bit pattern.
pub unsafe trait Element: Copy + Default + Send + Sync + 'static {}

// SAFETY: numbers have neither padding nor invalid patterns.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for bf16 {}
// SAFETY: as above.
unsafe impl Element for u8 {}
// SAFETY: as above.
unsafe impl Element for i8 {}
// SAFETY: as above.
unsafe impl Element for i32 {}
// SAFETY: as above.
unsafe impl Element for u32 {}
// SAFETY: an array of numbers is as plain as they are.
unsafe impl<T: Element, const N: usize> Element for [T; N] where [T; N]: Default {}

pub(crate) fn bytes_of<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: `Element` has no padding, and u8 may alias anything.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

pub(crate) fn bytes_of_mut<T: Element>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are a value of an `Element`.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}
