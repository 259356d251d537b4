//! The data sets that the BEIR project publishes as archives.
//!
//! Names, splits and md5 sums come from the table in BEIR's README. Archive sizes are the ones that ir_datasets
//! checks. BioASQ, Signal-1M, TREC-NEWS and Robust04 have no public archive.

/// A data set that can be downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedDataset {
    /// The name, which is also that of the folder in the archive.
    pub name: &'static str,
    /// The md5 sum of the archive, in lower-case hexadecimal.
    pub md5: &'static str,
    /// The size of the archive in bytes.
    pub archive_bytes: u64,
    /// The number of documents.
    pub documents: u64,
    /// The splits that have judgments.
    pub splits: &'static [&'static str],
    /// The split that results are reported on.
    pub default_split: &'static str,
    /// Whether MTEB's rule set drops a result whose id is the query's (`ignore_identical_ids` of its task). BEIR's own
    /// evaluation drops it on every data set.
    pub mteb_drops_identical_ids: bool,
    /// The subfolders that are the data sets, if there is more than one. The data set's score is the mean of their
    /// scores.
    pub parts: &'static [&'static str],
}

impl PublishedDataset {
    /// The address of the archive.
    ///
    /// ```
    /// let scifact = secateur_datasets::known_datasets::find("scifact").unwrap();
    /// assert_eq!(
    ///     scifact.url(),
    ///     "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/scifact.zip"
    /// );
    /// ```
    pub fn url(&self) -> String {
        format!("{ARCHIVES}/{}.zip", self.name)
    }
}

/// The address of the folder that holds the archives.
pub const ARCHIVES: &str = "https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets";

/// The published data set of that name.
pub fn find(name: &str) -> Option<&'static PublishedDataset> {
    PUBLISHED.iter().find(|dataset| dataset.name == name)
}

const ALL_SPLITS: &[&str] = &["train", "dev", "test"];

/// All published data sets, by name.
pub static PUBLISHED: &[PublishedDataset] = &[
    PublishedDataset {
        name: "arguana",
        md5: "8ad3e3c2a5867cdced806d6503f29b99",
        archive_bytes: 3_773_617,
        documents: 8_674,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: true,
        parts: &[],
    },
    PublishedDataset {
        name: "climate-fever",
        md5: "8b66f0a9126c521bae2bde127b4dc99d",
        archive_bytes: 1_228_666_652,
        documents: 5_416_593,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "cqadupstack",
        md5: "4e41456d7df8ee7760a7f866133bda78",
        archive_bytes: 5_343_728_040,
        documents: 457_199,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[
            "android",
            "english",
            "gaming",
            "gis",
            "mathematica",
            "physics",
            "programmers",
            "stats",
            "tex",
            "unix",
            "webmasters",
            "wordpress",
        ],
    },
    PublishedDataset {
        name: "dbpedia-entity",
        md5: "c2a39eb420a3164af735795df012ac2c",
        archive_bytes: 639_285_131,
        documents: 4_635_922,
        splits: &["dev", "test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "fever",
        md5: "5a818580227bfb4b35bb6fa46d9b6c03",
        archive_bytes: 1_236_988_269,
        documents: 5_416_568,
        splits: ALL_SPLITS,
        default_split: "test",
        mteb_drops_identical_ids: true,
        parts: &[],
    },
    PublishedDataset {
        name: "fiqa",
        md5: "17918ed23cd04fb15047f73e6c3bd9d9",
        archive_bytes: 17_948_027,
        documents: 57_638,
        splits: ALL_SPLITS,
        default_split: "test",
        mteb_drops_identical_ids: true,
        parts: &[],
    },
    PublishedDataset {
        name: "hotpotqa",
        md5: "f412724f78b0d91183a0e86805e16114",
        archive_bytes: 654_025_350,
        documents: 5_233_329,
        splits: ALL_SPLITS,
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "msmarco",
        md5: "444067daf65d982533ea17ebd59501e4",
        archive_bytes: 1_082_258_632,
        documents: 8_841_823,
        splits: ALL_SPLITS,
        default_split: "dev",
        mteb_drops_identical_ids: true,
        parts: &[],
    },
    PublishedDataset {
        name: "nfcorpus",
        md5: "a89dba18a62ef92f7d323ec890a0d38d",
        archive_bytes: 2_448_432,
        documents: 3_633,
        splits: ALL_SPLITS,
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "nq",
        md5: "d4d3d2e48787a744b6f6e691ff534307",
        archive_bytes: 498_307_926,
        documents: 2_681_468,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "quora",
        md5: "18fb154900ba42a600f84b839c173167",
        archive_bytes: 15_853_968,
        documents: 522_931,
        splits: &["dev", "test"],
        default_split: "test",
        mteb_drops_identical_ids: true,
        parts: &[],
    },
    PublishedDataset {
        name: "scidocs",
        md5: "38121350fc3a4d2f48850f6aff52e4a9",
        archive_bytes: 142_471_588,
        documents: 25_657,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "scifact",
        md5: "5f7d1de60b170fc8027bb7898e2efca1",
        archive_bytes: 2_816_079,
        documents: 5_183,
        splits: &["train", "test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "trec-covid",
        md5: "ce62140cb23feb9becf6270d0d1fe6d1",
        archive_bytes: 73_876_720,
        documents: 171_332,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
    PublishedDataset {
        name: "webis-touche2020",
        md5: "46f650ba5a527fc69e0a6521c5a23563",
        archive_bytes: 227_132_363,
        documents: 382_545,
        splits: &["test"],
        default_split: "test",
        mteb_drops_identical_ids: false,
        parts: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_well_formed() {
        assert!(PUBLISHED.is_sorted_by(|a, b| a.name < b.name));
        for dataset in PUBLISHED {
            assert_eq!(find(dataset.name), Some(dataset));
            let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(dataset.md5.len() == 32 && dataset.md5.chars().all(hexadecimal), "{}", dataset.name);
            assert!(dataset.splits.contains(&dataset.default_split), "{}", dataset.name);
            assert!(dataset.documents > 0 && dataset.archive_bytes > 0, "{}", dataset.name);
        }
        assert_eq!(find("msmarco").unwrap().default_split, "dev");
        assert_eq!(find("mini"), None);
    }
}
