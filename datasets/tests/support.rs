//! What several tests need.

use std::io::Write;
use std::path::Path;

/// Writes a file, compressed if its name says so.
pub fn write(path: &Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).unwrap();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
        }
        Some("zst") => zstd::stream::copy_encode(bytes, file, zstd::DEFAULT_COMPRESSION_LEVEL).unwrap(),
        _ => file.write_all(bytes).unwrap(),
    }
}
