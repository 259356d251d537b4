//! Exact search on a GPU.

use std::sync::Arc;

use secateur_encoders::Device;
use secateur_gpu::Gpu;
use secateur_index::storage::VectorIndex;
use secateur_index::{Error as IndexError, Metric};

use super::Database;
use crate::error::Result;

impl Database {
    /// Searches the vectors on a GPU from now on, and says whether it does. The index must be exact, and its metric the
    /// inner product or the cosine. The hits and scores are those of the CPU; many queries over many vectors take less
    /// time. The vectors' 8-bit codes are copied to the GPU now, a byte a component.
    ///
    /// That holds until something is committed or refreshed, or another generation is read. Of several GPUs the first
    /// one searches.
    ///
    /// # Errors
    ///
    /// There is no such GPU, or it has too little memory for the codes. A file is damaged.
    pub fn search_on(&mut self, device: Device) -> Result<bool> {
        let open = |number| Gpu::open(number).map_err(IndexError::from);
        self.codes = None;
        if !self.can_search_on_gpu() {
            return Ok(false);
        }
        match device {
            Device::Cpu => Ok(false),
            Device::Auto => Gpu::open(0).map_or(Ok(false), |gpu| self.search_on_gpu(&gpu)),
            Device::AllCuda => self.search_on_gpu(&open(0)?),
            Device::Cuda(number) => self.search_on_gpu(&open(number)?),
        }
    }

    fn can_search_on_gpu(&self) -> bool {
        let vectors = self.snapshot.settings().vectors;
        vectors.is_some_and(|vectors| vectors.index == VectorIndex::Flat && vectors.metric != Metric::L2)
    }

    fn search_on_gpu(&mut self, gpu: &Gpu) -> Result<bool> {
        self.codes = Some(Arc::new(self.snapshot.upload_codes(gpu)?));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use secateur_datasets::Document;

    use super::*;
    use crate::search::SearchParams;

    /// With deletions, ties and a filter; until the next commit.
    #[test]
    fn gpu_search_finds_what_the_cpu_finds() {
        let folder = tempfile::tempdir().unwrap();
        let vector = |number: usize| [(number % 7) as f32 - 3.0, (number % 3) as f32, 1.0];
        let document = |number: usize| {
            Document::new(number.to_string(), "text").metadata(format!(r#"{{"year": {}}}"#, number % 5))
        };
        let documents: Vec<Document> = (0..200).map(document).collect();
        let vectors: Vec<f32> = (0..200).flat_map(vector).collect();
        let mut database = Database::builder(folder.path().join("db")).vectors(3).create().unwrap();
        database.add_with_vectors(&documents, &vectors).unwrap();
        database.commit().unwrap();
        for number in [3, 77, 150] {
            database.delete(&number.to_string()).unwrap();
        }
        database.commit().unwrap();
        assert!(!database.search_on(Device::Cpu).unwrap());
        let all = SearchParams { k: 20, ..SearchParams::default() };
        let some = SearchParams { filter: Some("year >= 3".parse().unwrap()), ..all.clone() };
        let query = [0.5, -1.0, 2.0];
        let hits =
            |database: &Database| [&all, &some].map(|params| database.search_vector(&query, params).unwrap());
        let want = hits(&database);
        assert!(database.search_on_gpu(&Gpu::emulated()).unwrap() && database.codes.is_some());
        assert_eq!(hits(&database), want);
        assert_eq!(hits(&database.reader()), want);
        database.delete(&want[0][0].doc_id).unwrap();
        database.commit().unwrap();
        assert!(database.codes.is_none() && hits(&database)[0][0] == want[0][1]);
    }
}
