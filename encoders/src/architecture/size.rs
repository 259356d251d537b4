//! How many bytes a model's weights take.

use serde::Serialize;

use super::Architecture;

/// How the linear layers of a transformer are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// In 32 bits.
    F32,
    /// In 16 bits: F16 or BF16.
    #[serde(rename = "16 bits")]
    Half,
    /// In 8 bits, with a scale in f32 for each [`INT8_GROUP`] numbers of a row.
    Int8,
    /// As 4-bit NormalFloat in blocks of 64 with double quantization (Dettmers et al. 2023, QLoRA).
    Nf4,
}

/// Numbers of a row that share a scale in 8 bits.
pub const INT8_GROUP: usize = 128;

/// Bytes of a matrix in 8 bits: one for each number, and a scale in f32 for each group of a row.
///
/// ```
/// use secateur_encoders::architecture::int8_bytes;
/// assert_eq!(int8_bytes(1536, 384), 589_824 + 4 * 1536 * 3);
/// assert_eq!(int8_bytes(2, 129), 258 + 4 * 2 * 2);
/// ```
pub fn int8_bytes(rows: usize, columns: usize) -> usize {
    rows * columns + 4 * rows * columns.div_ceil(INT8_GROUP)
}

/// Bytes of a matrix of `elements` numbers in NF4. Each number takes half a byte. Each block of 64 has its largest
/// absolute value in one byte, and each 256 of these bytes have a scale in f32.
///
/// ```
/// use secateur_encoders::architecture::nf4_bytes;
/// assert_eq!(nf4_bytes(4096 * 14336), 29_360_128 + 917_504 + 4 * 3_584);
/// assert_eq!(nf4_bytes(65), 33 + 2 + 4);
/// ```
pub fn nf4_bytes(elements: usize) -> usize {
    let blocks = elements.div_ceil(64);
    elements.div_ceil(2) + blocks + 4 * blocks.div_ceil(256)
}

impl Architecture {
    /// Bytes of the weights with the linear layers stored in this way, and all else (embeddings, norms, biases) in f32.
    ///
    /// With the language-model head in f32, 4 bytes a parameter, this gives all six sizes of the EffiR paper's Table
    /// 6 (arXiv 2512.20612). Mistral-7B whole, without 8 and without 16 MLPs has 14.0, 11.4 and 8.7 GB in 16 bits. In
    /// NF4 it has 4.3, 3.7 and 3.0 GB. A GB is 2^30 bytes. The paper does not say how it counts. With embeddings and
    /// head in 16 bits, or a GB of 10^9 bytes, the figures do not fit.
    pub fn stored_bytes(&self, storage: Storage) -> usize {
        let bytes = |rows: usize, columns: usize| match storage {
            Storage::F32 => 4 * rows * columns,
            Storage::Half => 2 * rows * columns,
            Storage::Int8 => int8_bytes(rows, columns),
            Storage::Nf4 => nf4_bytes(rows * columns),
        };
        let tensors = self.tensors();
        let sizes = tensors.iter().map(|tensor| match tensor.shape[..] {
            [rows, columns] if tensor.is_linear() => bytes(rows, columns),
            _ => 4 * tensor.elements(),
        });
        sizes.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{SubLayer, known_models};

    #[test]
    fn sizes_are_those_of_table_6() {
        let mistral = known_models::find("mistral-7b").unwrap();
        for (mlp, half, nf4) in [(0, "14.0", "4.3"), (8, "11.4", "3.7"), (16, "8.7", "3.0")] {
            let mut remaining = mistral.architecture().remaining();
            remaining.drop_last(SubLayer::Mlp, mlp).unwrap();
            let architecture = mistral.architecture().keep(&remaining);
            let head = 4 * architecture.vocab_size * architecture.hidden_size;
            let gib = |storage| (architecture.stored_bytes(storage) + head) as f64 / f64::from(1 << 30);
            assert_eq!(format!("{:.1}", gib(Storage::Half)), half, "{mlp} MLPs dropped, 16 bits");
            assert_eq!(format!("{:.1}", gib(Storage::Nf4)), nf4, "{mlp} MLPs dropped, NF4");
        }
    }

    #[test]
    fn in_f32_every_parameter_takes_four_bytes() {
        for backbone in known_models::all() {
            let architecture = backbone.architecture();
            assert_eq!(architecture.stored_bytes(Storage::F32), 4 * architecture.parameters().total());
        }
    }
}
