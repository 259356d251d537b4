//! Numbers that stay where their file is mapped.

use std::ops::{Deref, Range};
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::Dtype;

/// f32 of a file, for as long as they are in use. The file must not be written to meanwhile; it may be replaced.
#[derive(Clone)]
pub(crate) struct MappedFloats {
    map: Arc<Mmap>,
    bytes: Range<usize>,
}

impl MappedFloats {
    /// The numbers in some bytes of a map; `None` if these do not lie as f32 do.
    pub(crate) fn new(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<MappedFloats> {
        bytemuck::try_cast_slice::<u8, f32>(map.get(bytes.clone())?).ok()?;
        Some(MappedFloats { map: Arc::clone(map), bytes })
    }
}

impl Deref for MappedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // That it can be cast was checked.
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }
}

impl std::fmt::Debug for MappedFloats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedFloats").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A table of embeddings (V, D) where its file is mapped, in the type that it is stored in. The file must not be
/// written to meanwhile; it may be replaced.
#[derive(Clone, Debug)]
pub struct MappedTable {
    numbers: Numbers,
    columns: usize,
}

#[derive(Clone, Debug)]
enum Numbers {
    F32(MappedFloats),
    /// Little-endian pairs of bytes.
    Half(Half, Arc<Mmap>, Range<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    F16,
    Bf16,
}

impl Half {
    /// Exact: f32 has every number of 16 bits.
    fn widen(self, pair: [u8; 2]) -> f32 {
        match self {
            Half::F16 => f16::from_le_bytes(pair).to_f32(),
            Half::Bf16 => bf16::from_le_bytes(pair).to_f32(),
        }
    }
}

impl MappedTable {
    /// The numbers in some bytes of a map, in rows of `columns`. `None` if they are not floats of 16 or 32 bits, or if
    /// they do not lie as f32 do.
    pub(crate) fn new(
        map: &Arc<Mmap>,
        bytes: Range<usize>,
        dtype: Dtype,
        columns: usize,
    ) -> Option<MappedTable> {
        let half = |half| Numbers::Half(half, Arc::clone(map), bytes.clone());
        let numbers = match dtype {
            Dtype::F32 => Numbers::F32(MappedFloats::new(map, bytes.clone())?),
            Dtype::F16 => half(Half::F16),
            Dtype::BF16 => half(Half::Bf16),
            _ => return None,
        };
        Some(MappedTable { numbers, columns })
    }

    /// V
    pub fn rows(&self) -> usize {
        match &self.numbers {
            Numbers::F32(floats) => floats.len() / self.columns,
            Numbers::Half(_, _, bytes) => bytes.len() / 2 / self.columns,
        }
    }

    /// D
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes a row to `out`, which has [`columns`](MappedTable::columns) numbers.
    ///
    /// # Panics
    ///
    /// Without such a row.
    pub fn read(&self, row: usize, out: &mut [f32]) {
        let range = row * self.columns..(row + 1) * self.columns;
        match &self.numbers {
            Numbers::F32(floats) => out.copy_from_slice(&floats[range]),
            Numbers::Half(half, map, bytes) => {
                let pairs = &map[bytes.clone()].as_chunks().0[range];
                out.iter_mut().zip(pairs).for_each(|(slot, pair)| *slot = half.widen(*pair));
            }
        }
    }

    /// All rows, one after the other.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows() * self.columns];
        values.par_chunks_mut(self.columns.max(1)).enumerate().for_each(|(row, out)| self.read(row, out));
        values
    }

    /// Whether no number is infinite, or none at all.
    pub(crate) fn is_finite(&self) -> bool {
        let finite = |row: &mut Vec<f32>, number| {
            row.resize(self.columns, 0.0);
            self.read(number, row);
            row.iter().all(|x| x.is_finite())
        };
        (0..self.rows()).into_par_iter().map_init(Vec::new, finite).all(|finite| finite)
    }
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;
    use proptest::prelude::*;

    use super::*;

    fn mapped(bytes: &[u8]) -> Arc<Mmap> {
        let mut map = MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Arc::new(map.make_read_only().unwrap())
    }

    proptest! {
        /// Each number is the one that its bytes stand for, and a table is finite if all its numbers are.
        #[test]
        fn a_mapped_table_has_the_numbers_of_its_bytes(
            values in prop::collection::vec(prop_oneof![9 => -1e3f32..1e3, 1 => any::<f32>()], 3..60),
            columns in 1..4usize,
        ) {
            let values = &values[..values.len() / columns * columns];
            let halves: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            let brains: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
            let cases: [(Dtype, Vec<u8>, Vec<f32>); 3] = [
                (Dtype::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect(), values.to_vec()),
                (
                    Dtype::F16,
                    halves.iter().flat_map(|x| x.to_le_bytes()).collect(),
                    halves.iter().map(|x| x.to_f32()).collect(),
                ),
                (
                    Dtype::BF16,
                    brains.iter().flat_map(|x| x.to_le_bytes()).collect(),
                    brains.iter().map(|x| x.to_f32()).collect(),
                ),
            ];
            for (dtype, bytes, want) in cases {
                // Something lies before the table.
                let map = mapped(&[&[0; 8][..], &bytes].concat());
                let table = MappedTable::new(&map, 8..8 + bytes.len(), dtype, columns).unwrap();
                prop_assert_eq!((table.rows(), table.columns()), (want.len() / columns, columns));
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&table.to_vec()), bits(&want));
                prop_assert_eq!(table.is_finite(), want.iter().all(|x| x.is_finite()));
            }
        }
    }

    #[test]
    fn other_types_are_not_read_where_they_are_mapped() {
        assert!(MappedTable::new(&mapped(&[0; 64]), 0..64, Dtype::F64, 4).is_none());
        assert!(MappedTable::new(&mapped(&[0; 64]), 0..64, Dtype::I8, 4).is_none());
        assert!(MappedTable::new(&mapped(&[0; 64]), 2..62, Dtype::F32, 5).is_none());
    }
}
