//! The measures by name.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use super::ranking::JudgedRanking;
use super::{Error, average_precision, ndcg, precision, recall, reciprocal_rank};

/// A measure of one query's ranking, from 0 (worst) to 1 (best), averaged over queries.
///
/// Its name is printed as the field spells it: `nDCG@10`, `Recall@100`, `P@10`, `MAP`, `MAP@100`, `MRR`, `MRR@10`.
/// Parsing ignores case. A cutoff `@k` means that only the first `k` documents are looked at.
///
/// ```
/// use secateur::eval::Measure;
///
/// let measure: Measure = "ndcg@10".parse()?;
/// assert_eq!(measure.to_string(), "nDCG@10");
/// assert_eq!(Measure::DEFAULT.map(|measure| measure.to_string()), ["nDCG@10", "Recall@100", "MAP", "MRR@10", "P@10"]);
/// assert!("nDCG@0".parse::<Measure>().is_err());
/// # Ok::<(), secateur::eval::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Normalized discounted cumulative gain with linear gain; trec_eval's `ndcg_cut_k`.
    Ndcg(NonZeroUsize),
    /// The share of the relevant documents that is among the first `k`; trec_eval's `recall_k`.
    Recall(NonZeroUsize),
    /// Mean average precision, over the whole list or its first `k` documents; trec_eval's `map` and `map_cut_k`.
    Map(Option<NonZeroUsize>),
    /// Mean reciprocal rank of the first relevant document, over the whole list or its first `k` documents;
    /// trec_eval's `recip_rank`.
    Mrr(Option<NonZeroUsize>),
    /// Precision: the share of the first `k` ranks that holds a relevant document; trec_eval's `P_k`.
    Precision(NonZeroUsize),
}

const TEN: NonZeroUsize = NonZeroUsize::new(10).unwrap();
const HUNDRED: NonZeroUsize = NonZeroUsize::new(100).unwrap();

impl Measure {
    /// The measures reported unless others are asked for; the first is BEIR's headline measure.
    pub const DEFAULT: [Measure; 5] = [
        Measure::Ndcg(TEN),
        Measure::Recall(HUNDRED),
        Measure::Map(None),
        Measure::Mrr(Some(TEN)),
        Measure::Precision(TEN),
    ];

    /// How many documents it looks at; `None` for the whole list.
    pub fn cutoff(self) -> Option<NonZeroUsize> {
        match self {
            Measure::Ndcg(k) | Measure::Recall(k) | Measure::Precision(k) => Some(k),
            Measure::Map(k) | Measure::Mrr(k) => k,
        }
    }

    pub(super) fn value(self, ranking: &JudgedRanking) -> f64 {
        match self {
            Measure::Ndcg(k) => ndcg::ndcg(ranking, k),
            Measure::Recall(k) => recall::recall(ranking, k),
            Measure::Map(k) => average_precision::average_precision(ranking, k),
            Measure::Mrr(k) => reciprocal_rank::reciprocal_rank(ranking, k),
            Measure::Precision(k) => precision::precision(ranking, k),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, cutoff) = match *self {
            Measure::Ndcg(k) => ("nDCG", Some(k)),
            Measure::Recall(k) => ("Recall", Some(k)),
            Measure::Map(k) => ("MAP", k),
            Measure::Mrr(k) => ("MRR", k),
            Measure::Precision(k) => ("P", Some(k)),
        };
        match cutoff {
            // `pad` and not `write`, so that widths and alignment apply to the whole name.
            Some(k) => f.pad(&format!("{name}@{k}")),
            None => f.pad(name),
        }
    }
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, cutoff) = match text.split_once('@') {
            Some((name, cutoff)) => (name, Some(cutoff)),
            None => (text, None),
        };
        let given = || text.to_owned();
        let optional = || match cutoff {
            // `parse` alone would take "+10".
            Some(k) if k.starts_with(|c: char| c.is_ascii_digit()) => match k.parse() {
                Ok(k) => Ok(Some(k)),
                Err(_) => Err(Error::InvalidCutoff { text: given() }),
            },
            Some(_) => Err(Error::InvalidCutoff { text: given() }),
            None => Ok(None),
        };
        let required = || optional()?.ok_or_else(|| Error::MissingCutoff { text: given() });
        match name.to_ascii_lowercase().as_str() {
            "ndcg" => Ok(Measure::Ndcg(required()?)),
            "recall" => Ok(Measure::Recall(required()?)),
            "map" => Ok(Measure::Map(optional()?)),
            "mrr" => Ok(Measure::Mrr(optional()?)),
            "p" => Ok(Measure::Precision(required()?)),
            _ => Err(Error::UnknownMeasure { text: given() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for name in ["nDCG@10", "Recall@100", "MAP", "MAP@1000", "MRR", "MRR@10", "P@1"] {
            let measure: Measure = name.parse().unwrap();
            assert_eq!(measure.to_string(), name);
            assert_eq!(name.to_lowercase().parse::<Measure>().unwrap(), measure);
        }
    }

    #[test]
    fn names_are_padded_as_a_whole() {
        assert_eq!(format!("{:>8}|", Measure::Precision(TEN)), "    P@10|");
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        let text = |text: &str| text.to_owned();
        let cases = [
            ("", Error::UnknownMeasure { text: text("") }),
            ("nDCG10", Error::UnknownMeasure { text: text("nDCG10") }),
            ("ndcg_cut_10", Error::UnknownMeasure { text: text("ndcg_cut_10") }),
            (" MAP", Error::UnknownMeasure { text: text(" MAP") }),
            ("nDCG", Error::MissingCutoff { text: text("nDCG") }),
            ("P", Error::MissingCutoff { text: text("P") }),
            ("Recall", Error::MissingCutoff { text: text("Recall") }),
            ("MRR@", Error::InvalidCutoff { text: text("MRR@") }),
            ("MAP@0", Error::InvalidCutoff { text: text("MAP@0") }),
            ("P@-1", Error::InvalidCutoff { text: text("P@-1") }),
            ("P@+1", Error::InvalidCutoff { text: text("P@+1") }),
            ("P@1.5", Error::InvalidCutoff { text: text("P@1.5") }),
            ("P@10@10", Error::InvalidCutoff { text: text("P@10@10") }),
            ("P@99999999999999999999999", Error::InvalidCutoff { text: text("P@99999999999999999999999") }),
        ];
        for (name, expected) in cases {
            let error = name.parse::<Measure>().unwrap_err();
            assert_eq!(error, expected);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
    }
}
