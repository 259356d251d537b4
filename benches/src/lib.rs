//! Programs that time secateur: `src/bin/`, each asserts its answer; `peers/` runs others beside them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of raw little-endian f32, in pieces, so that it is held only once.
///
/// # Errors
/// What is wrong with the file, which it names.
pub fn read_vectors(path: &Path) -> Result<Vec<f32>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let num_bytes = file.metadata().map_err(failed)?.len() as usize;
    if !num_bytes.is_multiple_of(size_of::<f32>()) {
        return Err(format!("{} is no file of f32: {num_bytes} bytes", path.display()));
    }
    let count = num_bytes / size_of::<f32>();
    let mut numbers = Vec::with_capacity(count);
    let mut buffer = vec![0; 1 << 16];
    while numbers.len() < count {
        let len = buffer.len().min(num_bytes - size_of_val(&numbers[..]));
        file.read_exact(&mut buffer[..len]).map_err(failed)?;
        numbers.extend(buffer[..len].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok(numbers)
}
