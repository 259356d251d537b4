//! How two vectors are compared.

use std::fmt;
use std::str::FromStr;

/// How a query vector q and a row v are compared. Scores are "higher is better" for all three.
///
/// ```
/// use secateur_index::Metric;
/// assert_eq!("cosine".parse(), Ok(Metric::Cosine));
/// assert_eq!(Metric::L2.to_string(), "l2");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// score = Σ qᵢvᵢ
    InnerProduct,
    /// score = Σ qᵢvᵢ / (‖q‖‖v‖); 0 where q or v is the zero vector.
    Cosine,
    /// score = -Σ (qᵢ - vᵢ)², the negative *squared* Euclidean distance.
    L2,
}

impl Metric {
    /// Every metric, in the order of declaration.
    pub const ALL: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

    /// The name used in files, on the command line and by [`fmt::Display`]: `inner-product`, `cosine` or `l2`.
    pub fn name(self) -> &'static str {
        match self {
            Metric::InnerProduct => "inner-product",
            Metric::Cosine => "cosine",
            Metric::L2 => "l2",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no metric's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no metric; choose inner-product, cosine or l2")]
pub struct UnknownMetric {
    /// The name that was given.
    pub name: String,
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        Metric::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| UnknownMetric { name: name.into() })
    }
}
