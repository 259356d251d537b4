//! Asking for memory before it is read.

/// Asks for the cache lines of a row, which will be read soon.
#[inline]
pub(crate) fn prefetch<T>(rows: &[T], row: u32, stride: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = rows.get(row as usize * stride..).and_then(|rest| rest.get(..stride)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let bytes = row.as_ptr().cast::<i8>();
        for at in (0..size_of_val(row)).step_by(LINE) {
            // SAFETY: `at` is within the slice, and a prefetch reads nothing that the program can see.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (rows, row, stride);
}
