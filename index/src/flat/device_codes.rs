//! The 8-bit codes of an exact index in the memory of a GPU.

use secateur_gpu::{Buffer, Gpu, search};

use super::FlatIndex;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::quantization::Int8CodesBuf;
use crate::quantization::int8::stride;

/// The 8-bit codes of an exact index in the memory of a GPU, for a [`DeviceIndex`](super::DeviceIndex) over the same
/// rows.
///
/// Memory of the GPU: for each row D bytes, rounded up to 64, and 8 more. Searches take up to 512 MB beside.
#[derive(Debug)]
pub struct DeviceCodes {
    pub(super) gpu: Gpu,
    metric: Metric,
    dim: usize,
    pub(super) segments: Vec<Segment>,
    /// The rows over all segments that are not deleted, here and there.
    alive: Bitmap,
    alive_there: Buffer<u32>,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// The number of its first row.
    pub base: u32,
    pub mean: Vec<f32>,
    pub max_length: f32,
    pub rows: search::CodeRows,
}

impl DeviceCodes {
    /// Copies the codes of an index to a GPU. Segments without codes get theirs first, which reads all their vectors.
    ///
    /// # Errors
    /// [`Error::DeviceMetric`] under [`Metric::L2`], [`Error::DeviceMemory`] if the GPU has too little,
    /// [`Error::Device`] if it fails.
    pub fn upload(index: &FlatIndex<'_>, gpu: &Gpu) -> Result<DeviceCodes> {
        let FlatIndex { metric, dim, num_rows, .. } = *index;
        if metric == Metric::L2 {
            return Err(Error::DeviceMetric { metric });
        }
        let needed = num_rows as usize * (stride(dim) + size_of::<[f32; 2]>());
        let free = gpu.memory()?.free;
        if needed > free {
            return Err(Error::DeviceMemory { needed, free });
        }
        let mut segments = Vec::with_capacity(index.segments.len());
        let mut deleted = Bitmap::default();
        for view in &index.segments {
            let made;
            let (codes, max_length) = match view.codes.and_then(|codes| Some((codes, codes.max_length?))) {
                Some(known) => known,
                None => {
                    made = Int8CodesBuf::encode(metric, dim, view.rows);
                    (made.borrow(), made.max_length)
                }
            };
            let metas: Vec<[f32; 2]> =
                codes.metas.iter().map(|[scale, .., error]| [*scale, *error]).collect();
            let rows = search::CodeRows::upload(gpu, codes.codes, &metas, stride(dim))?;
            segments.push(Segment { base: view.base, mean: codes.mean.to_vec(), max_length, rows });
            if let Some(of_segment) = view.deleted {
                deleted.unite(of_segment, view.base);
            }
        }
        let alive = deleted.complement(num_rows);
        let alive_there = gpu.upload(&halves(&alive))?;
        Ok(DeviceCodes { gpu: gpu.clone(), metric, dim, segments, alive, alive_there })
    }

    /// Refuses an index over other rows, as far as that can be told.
    pub(super) fn check(&self, index: &FlatIndex<'_>) -> Result<()> {
        let (expected, got) = (self.num_rows(), index.num_rows());
        if (self.metric, self.dim) != (index.metric, index.dim)
            || expected != got
            || self.segments.len() != index.segments.len()
        {
            return Err(Error::RowsMismatch { what: "codes on a GPU", expected, got });
        }
        Ok(())
    }

    fn num_rows(&self) -> usize {
        self.segments.iter().map(|segment| segment.rows.len()).sum()
    }

    /// The rows that may be found, here and there.
    pub(super) fn matches(&self, among: Option<&Bitmap>) -> Result<Matching<'_>> {
        let Some(among) = among else {
            return Ok(Matching { here: Held::Kept(&self.alive), there: Held::Kept(&self.alive_there) });
        };
        let mut here = self.alive.clone();
        here.intersect(among);
        let there = self.gpu.upload(&halves(&here))?;
        Ok(Matching { here: Held::Made(here), there: Held::Made(there) })
    }
}

/// Rows that may be found, as a set here and as bits there.
pub(super) struct Matching<'a> {
    here: Held<'a, Bitmap>,
    there: Held<'a, Buffer<u32>>,
}

enum Held<'a, T> {
    Kept(&'a T),
    Made(T),
}

impl<T> Held<'_, T> {
    fn get(&self) -> &T {
        match self {
            Held::Kept(value) => value,
            Held::Made(value) => value,
        }
    }
}

impl Matching<'_> {
    pub fn here(&self) -> &Bitmap {
        self.here.get()
    }

    pub fn there(&self) -> &Buffer<u32> {
        self.there.get()
    }
}

/// The words of a set, halved: bit r % 32 of number r / 32 for row r.
fn halves(rows: &Bitmap) -> Vec<u32> {
    rows.words().iter().flat_map(|word| [*word as u32, (word >> 32) as u32]).collect()
}
