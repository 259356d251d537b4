//! What a training step sees of an example.

use secateur_random::SplitMix64;

use super::example::TrainingExample;

/// A query, one passage that answers it, and some that do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The query.
    pub query: String,
    /// The positive, then the negatives.
    pub passages: Vec<String>,
    /// A teacher's score of each passage, where all of them have one.
    pub scores: Option<Vec<f32>>,
}

impl TrainingExample {
    /// One of the positives and up to `num_negatives` different negatives, drawn by `seed`. The seed differs for each
    /// batch and each place in it, so that another epoch draws others.
    ///
    /// ```
    /// use secateur_datasets::triples::TrainingExample;
    /// let example = TrainingExample {
    ///     query: "q".to_owned(),
    ///     positives: vec!["yes".to_owned()],
    ///     negatives: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
    ///     ..TrainingExample::default()
    /// };
    /// let group = example.group(2, &[42, 0, 0]);
    /// assert_eq!((group.passages.len(), &group.passages[0][..]), (3, "yes"));
    /// assert_eq!(group, example.group(2, &[42, 0, 0]));
    /// ```
    pub fn group(&self, num_negatives: usize, seed: &[u64]) -> Group {
        let mut random = SplitMix64::keyed(seed);
        let mut below = |end: usize| random.below(end as u64) as usize;
        let positive = below(self.positives.len());
        let mut left: Vec<usize> = (0..self.negatives.len()).collect();
        let drawn: Vec<usize> =
            (0..num_negatives.min(left.len())).map(|_| left.swap_remove(below(left.len()))).collect();
        let passages = std::iter::once(&self.positives[positive]);
        let scores = match (&self.positive_scores, &self.negative_scores) {
            (Some(positives), Some(negatives)) => Some((positives, &negatives[..])),
            // If there are no negatives, none of them lacks a score.
            (Some(positives), None) if drawn.is_empty() => Some((positives, &[][..])),
            _ => None,
        };
        Group {
            query: self.query.clone(),
            passages: passages.chain(drawn.iter().map(|i| &self.negatives[*i])).cloned().collect(),
            scores: scores.map(|(positives, negatives)| {
                std::iter::once(positives[positive]).chain(drawn.iter().map(|i| negatives[*i])).collect()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_drawn_with_their_scores() {
        let texts =
            |letter: &str, count: usize| (0..count).map(|i| format!("{letter}{i}")).collect::<Vec<_>>();
        let example = TrainingExample {
            query: "q".to_owned(),
            positives: texts("p", 3),
            negatives: texts("n", 5),
            positive_scores: Some(vec![10.0, 11.0, 12.0]),
            negative_scores: Some(vec![0.0, 1.0, 2.0, 3.0, 4.0]),
            ..TrainingExample::default()
        };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let group = example.group(7, &[seed]);
            assert_eq!(group.passages.len(), 6);
            let score = |text: &String| {
                let base = if text.starts_with('p') { 10.0 } else { 0.0 };
                base + text[1..].parse::<f32>().unwrap()
            };
            let scores: Vec<f32> = group.passages.iter().map(score).collect();
            assert_eq!(group.scores.as_ref(), Some(&scores));
            let distinct: std::collections::BTreeSet<&String> = group.passages.iter().collect();
            assert_eq!(distinct.len(), 6);
            seen.insert((group.passages[0].clone(), group.passages[1].clone()));
        }
        // Every pair of a positive and a first negative.
        assert_eq!(seen.len(), 15);
        let unscored = TrainingExample { negative_scores: None, ..example };
        assert_eq!(unscored.group(1, &[1]).scores, None);
        assert_eq!(unscored.group(0, &[1]).scores.unwrap().len(), 1);
    }
}
