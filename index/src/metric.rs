//! How two vectors are compared.

use secateur_files::UnknownName;

/// How a query vector q and a row v are compared. Scores are "higher is better" for all three.
///
/// ```
/// use secateur_index::Metric;
/// assert_eq!("cosine".parse(), Ok(Metric::Cosine));
/// assert_eq!(Metric::L2.to_string(), "l2");
/// let error = "angle".parse::<Metric>().unwrap_err();
/// assert_eq!(error.to_string(), "\"angle\" is not a metric; expected inner-product, cosine or l2");
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::Display,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Metric {
    /// score = Σ qᵢvᵢ
    InnerProduct,
    /// score = Σ qᵢvᵢ / (‖q‖‖v‖); 0 where q or v is the zero vector.
    Cosine,
    /// score = -Σ (qᵢ - vᵢ)², the negative *squared* Euclidean distance.
    L2,
}

fn unknown(name: &str) -> UnknownName {
    UnknownName::of::<Metric>("a metric", name)
}

impl Metric {
    /// Every metric, in the order of declaration.
    pub const ALL: &[Metric] = <Metric as strum::VariantArray>::VARIANTS;

    /// The name used in files, on the command line and by [`Display`](std::fmt::Display): `inner-product`, `cosine`
    /// or `l2`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The number used in files.
    pub(crate) fn number(self) -> u32 {
        match self {
            Metric::InnerProduct => 0,
            Metric::Cosine => 1,
            Metric::L2 => 2,
        }
    }
}
