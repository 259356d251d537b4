//! From the hidden states of a text's tokens to one vector.

use std::fmt;
use std::ops::Range;

use secateur_files::UnknownName;
use serde::{Deserialize, Serialize, Serializer};
use strum::{Display, EnumString, VariantArray, VariantNames};

use crate::spans::Spans;

/// Which hidden states make the vector of a text.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantArray, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// The mean over all tokens.
    Mean,
    /// The last token's.
    LastToken,
    /// The mean over all tokens, the first with weight 1, the second with weight 2 and so on (Muennighoff 2022, SGPT).
    WeightedMean,
    /// The largest number of any token, in each column.
    Max,
    /// The sum over all tokens divided by the root of their number.
    MeanSqrtLen,
}

/// One pooling, or several whose vectors stand one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poolings(Vec<Pooling>);

impl Poolings {
    /// Several, of which there must be one at least.
    pub(crate) fn new(poolings: Vec<Pooling>) -> Option<Poolings> {
        (!poolings.is_empty()).then_some(Poolings(poolings))
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Pooling> + '_ {
        self.0.iter().copied()
    }

    /// The only one, if it is.
    pub fn single(&self) -> Option<Pooling> {
        if let [pooling] = self.0[..] { Some(pooling) } else { None }
    }
}

impl From<Pooling> for Poolings {
    fn from(pooling: Pooling) -> Poolings {
        Poolings(vec![pooling])
    }
}

impl PartialEq<Pooling> for Poolings {
    fn eq(&self, other: &Pooling) -> bool {
        self.single() == Some(*other)
    }
}

/// "mean", or "cls+mean".
impl fmt::Display for Poolings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pooling) in self.iter().enumerate() {
            let plus = if number > 0 { "+" } else { "" };
            write!(f, "{plus}{pooling}")?;
        }
        Ok(())
    }
}

impl Serialize for Poolings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<Pooling>("a pooling", found)
}

impl Pooling {
    /// Pools hidden states (T, `dim`) into vectors (B, `dim`). The first `skipped` tokens of each text are left out:
    /// those of a prompt that the model does not count. A text that has no other tokens keeps them.
    ///
    /// ```
    /// use secateur_encoders::{Pooling, compute::Spans};
    /// let hidden = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
    /// let spans = Spans::from_lengths([2, 1]);
    /// assert_eq!(Pooling::Mean.pool(&hidden, 2, &spans, 0), [2.0, 3.0, 5.0, 9.0]);
    /// assert_eq!(Pooling::LastToken.pool(&hidden, 2, &spans, 0), [3.0, 4.0, 5.0, 9.0]);
    /// ```
    pub fn pool(self, hidden: &[f32], dim: usize, spans: &Spans, skipped: usize) -> Vec<f32> {
        let mut vectors = Vec::with_capacity(spans.len() * dim);
        for span in spans.iter() {
            let row = |token: usize| &hidden[token * dim..(token + 1) * dim];
            let first = self.first(span.start..span.end, skipped);
            match self {
                Pooling::Cls => vectors.extend_from_slice(row(first)),
                Pooling::LastToken => vectors.extend_from_slice(row(span.end - 1)),
                Pooling::Max => {
                    let mut largest = row(first).to_vec();
                    for token in first + 1..span.end {
                        largest.iter_mut().zip(row(token)).for_each(|(max, x)| *max = max.max(*x));
                    }
                    vectors.extend(largest);
                }
                Pooling::Mean | Pooling::WeightedMean | Pooling::MeanSqrtLen => {
                    let mut mean = vec![0.0; dim];
                    let mut total = 0.0;
                    for token in first..span.end {
                        let weight = self.weight(token - span.start);
                        total += weight;
                        for (sum, x) in mean.iter_mut().zip(row(token)) {
                            *sum += weight * x;
                        }
                    }
                    let scale = self.scale(total);
                    vectors.extend(mean.iter().map(|sum| sum * scale));
                }
            }
        }
        vectors
    }

    /// The first token of a text that counts.
    pub(crate) fn first(self, span: Range<usize>, skipped: usize) -> usize {
        match self {
            // Of a text that is all prompt the first token is its first.
            Pooling::Cls if span.start + skipped >= span.end => span.start,
            _ => (span.start + skipped).min(span.end - 1),
        }
    }

    /// The weight of the token at a place of its text.
    pub(crate) fn weight(self, place: usize) -> f32 {
        if self == Pooling::WeightedMean { (place + 1) as f32 } else { 1.0 }
    }

    /// What multiplies a sum of tokens whose weights sum to `total`.
    pub(crate) fn scale(self, total: f32) -> f32 {
        if self == Pooling::MeanSqrtLen { 1.0 / total.sqrt() } else { 1.0 / total }
    }

    /// The gradient of [`Pooling::pool`]: turns gradients of vectors (B, `dim`) into gradients of hidden states (T,
    /// `dim`).
    pub(crate) fn spread(self, gradients: &[f32], dim: usize, spans: &Spans, skipped: usize) -> Vec<f32> {
        let mut hidden = vec![0.0; spans.num_tokens() * dim];
        for (span, gradient) in spans.iter().zip(gradients.chunks_exact(dim)) {
            let first = self.first(span.start..span.end, skipped);
            match self {
                Pooling::Cls => hidden[first * dim..][..dim].copy_from_slice(gradient),
                Pooling::LastToken => hidden[(span.end - 1) * dim..][..dim].copy_from_slice(gradient),
                Pooling::Max => panic!("a model that pools the maximum is not trained"),
                Pooling::Mean | Pooling::WeightedMean | Pooling::MeanSqrtLen => {
                    let weight = |token: usize| self.weight(token - span.start);
                    let scale = self.scale((first..span.end).map(weight).sum::<f32>());
                    for token in first..span.end {
                        let row = &mut hidden[token * dim..][..dim];
                        for (slot, x) in row.iter_mut().zip(gradient) {
                            *slot = weight(token) * scale * x;
                        }
                    }
                }
            }
        }
        hidden
    }
}

/// Scales each vector (B, `dim`) to length 1. A zero vector stays as it is.
pub(crate) fn normalize(vectors: &mut [f32], dim: usize) {
    for vector in vectors.chunks_exact_mut(dim) {
        let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if length > 0.0 {
            let scale = (1.0 / length) as f32;
            vector.iter_mut().for_each(|x| *x *= scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tokens_leave_the_mean_but_never_empty_it() {
        let hidden = [8.0, 1.0, 3.0, 7.0];
        let spans = Spans::from_lengths([3, 1]);
        assert_eq!(Pooling::Mean.pool(&hidden, 1, &spans, 1), [2.0, 7.0]);
        assert_eq!(Pooling::Mean.pool(&hidden, 1, &spans, 9), [3.0, 7.0]);
        // Weights go by the place in the whole text: (2 * 1 + 3 * 3) / 5.
        assert_eq!(Pooling::WeightedMean.pool(&hidden, 1, &spans, 1), [2.2, 7.0]);
        assert_eq!(Pooling::Cls.pool(&hidden, 1, &spans, 1), [1.0, 7.0]);
        assert_eq!(Pooling::Max.pool(&hidden, 1, &spans, 1), [3.0, 7.0]);
        assert_eq!(Pooling::MeanSqrtLen.pool(&hidden, 1, &spans, 1), [4.0 / 2.0f32.sqrt(), 7.0]);
    }

    /// Pooling is linear, so <pool(x), g> = <x, spread(g)> for all x and g: in whole numbers nearly exactly.
    #[test]
    fn spreading_is_the_transpose_of_pooling() {
        let (dim, spans) = (2, Spans::from_lengths([3, 1, 4]));
        let x: Vec<f32> = (0..16).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let g = [1.0, -2.0, 3.0, 0.5, -1.0, 4.0];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for pooling in
            <Pooling as VariantArray>::VARIANTS.iter().copied().filter(|pooling| *pooling != Pooling::Max)
        {
            for skipped in [0, 1, 9] {
                let there = dot(&pooling.pool(&x, dim, &spans, skipped), &g);
                let back = dot(&x, &pooling.spread(&g, dim, &spans, skipped));
                assert!((there - back).abs() < 1e-4, "{pooling}: {there} and {back}");
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for pooling in <Pooling as VariantArray>::VARIANTS {
            assert_eq!(pooling.to_string().parse::<Pooling>().unwrap(), *pooling);
        }
        assert!("min".parse::<Pooling>().unwrap_err().to_string().contains("\"min\""));
        let both = Poolings::new(vec![Pooling::Cls, Pooling::MeanSqrtLen]).unwrap();
        assert_eq!(both.to_string(), "cls+mean-sqrt-len");
    }
}
