//! What training minimizes: InfoNCE, and the distance to a teacher's ranking.
//!
//! Letters: B queries, P passages of all of them, D dimensions.

use serde::{Deserialize, Serialize};

/// InfoNCE and distillation (EffiR, section 4.2; FlagEmbedding's trainer).
///
/// InfoNCE (van den Oord et al. 2018) is the mean over queries i of -log softmax_j(s_ij) at the positive of query i.
/// Here s_ij = cos(q_i, p_j) / `temperature`, and j runs over all passages of a batch.
///
/// Distillation is the mean over the queries with teacher scores t of -sum_j softmax_j(t_j / `teacher_temperature`)
/// log softmax_j(cos(q_i, p_j) / `student_temperature`). Here j runs over the passages that t scores: the query's own
/// group, or the batch. Distillation differs from the Kullback-Leibler divergence by the teacher's entropy, which has
/// no gradient.
///
/// Alignment is the mean over all queries and passages of 1 - cos(x, t), t being the teacher's vector of the same text.
/// The idea is that of Reimers & Gurevych 2020 ("Making Monolingual Sentence Embeddings Multilingual using Knowledge
/// Distillation"). A vector tells more of a text than a ranking does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// tau of InfoNCE.
    pub temperature: f64,
    /// The weight of InfoNCE.
    pub contrastive_weight: f64,
    /// The weight of distillation, where a query has teacher scores.
    pub distillation_weight: f64,
    /// The weight of alignment, where there is a teacher whose vectors are as long.
    pub alignment_weight: f64,
    /// Divides the teacher's scores.
    pub teacher_temperature: f64,
    /// Divides the cosines that are compared with the teacher's scores.
    pub student_temperature: f64,
}

impl Default for Loss {
    fn default() -> Loss {
        Loss {
            temperature: 0.02,
            contrastive_weight: 1.0,
            distillation_weight: 1.0,
            alignment_weight: 0.0,
            teacher_temperature: 1.0,
            student_temperature: 0.02,
        }
    }
}

/// What the loss has to know of a query, apart from vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Target {
    /// The place of its positive among the passages.
    pub(crate) positive: usize,
    /// Other passages that answer the query, such as the same text again. InfoNCE counts them neither as positives
    /// nor as negatives.
    pub(crate) ignored: Vec<usize>,
    /// The teacher's scores, by the place of the passage; none or at least two.
    pub(crate) teacher: Vec<(usize, f64)>,
}

/// A loss and its gradients.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LossValue {
    /// The mean over the queries.
    pub(crate) contrastive: f64,
    /// The mean over the queries with teacher scores; none where no query has any.
    pub(crate) distillation: Option<f64>,
    /// The mean over the texts; none where the teacher's vectors are not asked for.
    pub(crate) alignment: Option<f64>,
    /// What is minimized: their weighted sum.
    pub(crate) total: f64,
    /// (B, D), by the vectors as they were given.
    pub(crate) of_queries: Vec<f32>,
    /// (P, D)
    pub(crate) of_passages: Vec<f32>,
}

impl Loss {
    /// The loss of queries (B, D) and passages (P, D), which need not have length 1. `teacher` has the teacher's
    /// vectors of the same texts, queries first, of length 1.
    pub(crate) fn of(
        &self,
        queries: &[f32],
        passages: &[f32],
        dim: usize,
        targets: &[Target],
        teacher: Option<&[f32]>,
    ) -> LossValue {
        let (unit_queries, query_lengths) = units(queries, dim);
        let (unit_passages, passage_lengths) = units(passages, dim);
        let num_passages = passages.len() / dim;
        let mut of_queries = vec![0.0; queries.len()];
        let mut of_passages = vec![0.0; passages.len()];
        let (mut contrastive, mut distillation) = (0.0, 0.0);
        let taught = targets.iter().filter(|target| !target.teacher.is_empty()).count();
        for (i, target) in targets.iter().enumerate() {
            let query = &unit_queries[i * dim..(i + 1) * dim];
            let cosines: Vec<f64> =
                unit_passages.chunks_exact(dim).map(|passage| dot(passage, query)).collect();
            // dL/dcos
            let mut slopes = vec![0.0; num_passages];
            let counted: Vec<usize> = (0..num_passages).filter(|j| !target.ignored.contains(j)).collect();
            let factor = self.contrastive_weight / targets.len() as f64 / self.temperature;
            let (logs, shares) = log_softmax(counted.iter().map(|j| cosines[*j] / self.temperature));
            for ((j, log), share) in counted.iter().zip(logs).zip(shares) {
                let wanted = if *j == target.positive { 1.0 } else { 0.0 };
                contrastive -= wanted * log / targets.len() as f64;
                slopes[*j] += factor * (share - wanted);
            }
            if !target.teacher.is_empty() {
                let factor = self.distillation_weight / taught as f64 / self.student_temperature;
                let (_, wanted) =
                    log_softmax(target.teacher.iter().map(|(_, score)| score / self.teacher_temperature));
                let (logs, shares) =
                    log_softmax(target.teacher.iter().map(|(j, _)| cosines[*j] / self.student_temperature));
                for (((j, _), wanted), (log, share)) in
                    target.teacher.iter().zip(wanted).zip(logs.into_iter().zip(shares))
                {
                    distillation -= wanted * log / taught as f64;
                    slopes[*j] += factor * (share - wanted);
                }
            }
            let of_query = &mut of_queries[i * dim..(i + 1) * dim];
            for (j, slope) in slopes.iter().enumerate().filter(|(_, slope)| **slope != 0.0) {
                let passage = &unit_passages[j * dim..(j + 1) * dim];
                let of_passage = &mut of_passages[j * dim..(j + 1) * dim];
                for (((of_query, of_passage), p), q) in
                    of_query.iter_mut().zip(of_passage).zip(passage).zip(query)
                {
                    *of_query += slope * p;
                    *of_passage += slope * q;
                }
            }
        }
        let alignment = teacher.map(|teacher| {
            let (of_queries, of_passages) = (&mut of_queries[..], &mut of_passages[..]);
            let units = unit_queries.iter().chain(&unit_passages);
            let slots = of_queries.iter_mut().chain(of_passages);
            let share = 1.0 / (teacher.len() / dim) as f64;
            let mut products = 0.0;
            for ((slot, x), t) in slots.zip(units).zip(teacher) {
                products += x * f64::from(*t);
                *slot -= self.alignment_weight * share * f64::from(*t);
            }
            1.0 - share * products
        });
        LossValue {
            contrastive,
            distillation: (taught > 0).then_some(distillation),
            alignment,
            total: self.contrastive_weight * contrastive
                + self.distillation_weight * distillation
                + self.alignment_weight * alignment.unwrap_or_default(),
            of_queries: through_units(&of_queries, &unit_queries, &query_lengths, dim),
            of_passages: through_units(&of_passages, &unit_passages, &passage_lengths, dim),
        }
    }
}

/// The inner product of two vectors. There are eight sums, so that a processor need not wait for one addition to begin
/// the next.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let ((x, last_x), (y, last_y)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, y) in x.iter().zip(y) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f64>() + last_x.iter().zip(last_y).map(|(x, y)| x * y).sum::<f64>()
}

/// Vectors of length 1 in f64, and the lengths. A zero vector stays as it is.
fn units(vectors: &[f32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let length = |vector: &[f32]| vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    let lengths: Vec<f64> =
        vectors.chunks_exact(dim).map(length).map(|length| if length > 0.0 { length } else { 1.0 }).collect();
    let rows = vectors.chunks_exact(dim).zip(&lengths);
    (rows.flat_map(|(vector, length)| vector.iter().map(move |x| f64::from(*x) / length)).collect(), lengths)
}

/// Turns gradients of unit vectors u = v / |v| into gradients of v: (g - u (g u)) / |v|.
fn through_units(gradients: &[f64], units: &[f64], lengths: &[f64], dim: usize) -> Vec<f32> {
    let rows = gradients.chunks_exact(dim).zip(units.chunks_exact(dim)).zip(lengths);
    rows.flat_map(|((gradient, unit), length)| {
        let along: f64 = gradient.iter().zip(unit).map(|(g, u)| g * u).sum();
        gradient.iter().zip(unit).map(move |(g, u)| ((g - along * u) / length) as f32)
    })
    .collect()
}

/// log softmax and softmax.
fn log_softmax(scores: impl Iterator<Item = f64>) -> (Vec<f64>, Vec<f64>) {
    let scores: Vec<f64> = scores.collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = max + scores.iter().map(|score| (score - max).exp()).sum::<f64>().ln();
    let logs: Vec<f64> = scores.iter().map(|score| score - log_sum).collect();
    let shares = logs.iter().map(|log| log.exp()).collect();
    (logs, shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Gradients against central differences. Steps are 1e-3, vectors have lengths of about 1, and temperatures are
        /// at least 0.2. So the third derivatives leave less than 1e-3 of the largest slope.
        #[test]
        fn gradients_are_differences(
            values in prop::collection::vec(-1.0f32..1.0, 9 * 4),
            scores in prop::collection::vec(-2.0f64..2.0, 3),
            weights in (0.0..2.0f64, 0.0..2.0f64, 0.0..2.0f64),
            teacher in prop::collection::vec(-1.0f32..1.0, 9 * 4),
        ) {
            let dim = 4;
            let loss = Loss {
                temperature: 0.3,
                contrastive_weight: weights.0,
                distillation_weight: weights.1,
                alignment_weight: weights.2,
                teacher_temperature: 0.7,
                student_temperature: 0.25,
            };
            let ranking = scores.iter().enumerate().map(|(j, score)| (j, *score)).collect();
            let targets = [
                Target { positive: 0, ignored: vec![4], teacher: ranking },
                Target { positive: 3, ..Target::default() },
                Target { positive: 5, ignored: vec![1, 2], teacher: vec![(5, 1.0), (3, 0.5)] },
            ];
            let split = 3 * dim;
            prop_assume!(values.chunks_exact(dim).all(|v| v.iter().map(|x| x * x).sum::<f32>() > 0.25));
            let at =
                |values: &[f32]| loss.of(&values[..split], &values[split..], dim, &targets, Some(&teacher));
            let value = at(&values);
            let got = [&value.of_queries[..], &value.of_passages].concat();
            let largest = got.iter().fold(1.0f32, |a, b| a.max(b.abs()));
            let h = 1e-3;
            for place in 0..values.len() {
                let moved = |by: f32| {
                    let mut moved = values.clone();
                    moved[place] += by;
                    (at(&moved).total, f64::from(moved[place]))
                };
                let ((above, right), (below, left)) = (moved(h), moved(-h));
                let want = (above - below) / (right - left);
                prop_assert!((f64::from(got[place]) - want).abs() < 2e-3 * f64::from(largest));
            }
        }
    }

    /// Two queries whose passages are at right angles: s = (1, 0) / tau, so the loss is log(1 + e^(-1 / tau)).
    #[test]
    fn two_orthogonal_pairs() {
        let loss = Loss { temperature: 0.5, ..Loss::default() };
        let pairs = [3.0, 0.0, 0.0, 2.0];
        let targets = [0, 1].map(|positive| Target { positive, ..Target::default() });
        let value = loss.of(&pairs, &pairs, 2, &targets, None);
        assert!((value.total - (1.0 + (-2f64).exp()).ln()).abs() < 1e-12);
        assert_eq!(value.distillation, None);
        // A passage that is ignored leaves nothing to tell the positive from.
        let targets =
            [0, 1].map(|positive| Target { positive, ignored: vec![1 - positive], teacher: vec![] });
        assert_eq!(loss.of(&pairs, &pairs, 2, &targets, None).total, 0.0);
    }

    /// A vector in the direction of the teacher's costs 0; one at a right angle costs 1.
    #[test]
    fn alignment_is_the_mean_angle() {
        let loss = Loss { contrastive_weight: 0.0, alignment_weight: 3.0, ..Loss::default() };
        let vectors = [3.0, 0.0, 0.0, 2.0];
        let targets = [0, 1].map(|positive| Target { positive, ..Target::default() });
        let of = |teacher: [f32; 8]| loss.of(&vectors, &vectors, 2, &targets, Some(&teacher));
        let value = of([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!((value.alignment, value.total), (Some(0.0), 0.0));
        assert!(value.of_queries.iter().chain(&value.of_passages).all(|slope| *slope == 0.0));
        assert_eq!(of([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]).total, 0.75);
    }
}
