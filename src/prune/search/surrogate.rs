//! What the quality of a choice is expected to be before it is measured.
//!
//! A loss is -ln(quality / quality of the whole model). A layer that keeps less is expected to lose something, whatever
//! the other layers keep. So the loss of a choice is a sum over its layers. First guesses come from importance, from
//! the models with one change that were measured, and from what lies between two widths. What the models with several
//! changes lost beside that is spread over the changes they share, by a ridge regression. Since it stays a sum, the
//! best choices that keep a budget are those of a knapsack.

use secateur_encoders::architecture::SubLayer;
use secateur_encoders::prune::Importance;

use super::choice::{Choice, Costs, Layer, WHOLE, ways};

/// How far a loss is trusted: the variance of what no sum explains, in units of that of a layer's part.
const RIDGE: f64 = 0.5;

/// Partial choices of about one cost that are kept in the knapsack.
const KEPT: usize = 12;

/// Steps in which the knapsack tells costs apart.
const BINS: usize = 200;

/// A quality below this share of the whole model's is as bad as none.
const WORST: f64 = 0.01;

/// The loss of a quality.
pub(super) fn loss(quality: f64, whole: f64) -> f64 {
    -(quality / whole).max(WORST).ln()
}

/// What is changed in a model with one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Drop(SubLayer),
    /// An MLP keeps half of its width.
    Halve,
}

impl Change {
    pub(super) const ALL: [Change; 4] = [
        Change::Drop(SubLayer::Block),
        Change::Drop(SubLayer::Mlp),
        Change::Drop(SubLayer::Attention),
        Change::Halve,
    ];

    /// What is left of a layer, if it has what changes.
    pub(super) fn of(self, layer: Layer) -> Option<Layer> {
        let Layer { attention, quarters } = layer;
        match self {
            Change::Drop(SubLayer::Block) => {
                (attention && quarters > 0).then_some(Layer { attention: false, quarters: 0 })
            }
            Change::Drop(SubLayer::Mlp) => (quarters > 0).then_some(Layer { attention, quarters: 0 }),
            Change::Drop(SubLayer::Attention) => attention.then_some(Layer { attention: false, quarters }),
            Change::Halve => (quarters == WHOLE).then_some(Layer { attention, quarters: WHOLE / 2 }),
        }
    }

    /// The sub-layer whose importance says how much it may matter.
    pub(super) fn sub_layer(self) -> SubLayer {
        match self {
            Change::Drop(sub_layer) => sub_layer,
            Change::Halve => SubLayer::Mlp,
        }
    }
}

/// A choice that was measured, and its loss.
pub(super) type Measured = (Choice, f64);

/// Expected losses.
pub(super) struct Surrogate {
    /// For each layer all that it can keep, and what that is expected to lose.
    layers: Vec<Vec<(Layer, f64)>>,
}

impl Surrogate {
    /// The expectation after these measurements of a model.
    pub(super) fn new(whole: &Choice, importance: &Importance, measured: &[Measured]) -> Surrogate {
        let singles = Singles::new(whole, importance, measured);
        let layers = whole.0.iter().enumerate().map(|(number, all)| {
            let expected = |layer: Layer| (layer, singles.expect(number, *all, layer));
            ways(*all).into_iter().map(expected).collect()
        });
        let mut surrogate = Surrogate { layers: layers.collect() };
        surrogate.correct(whole, measured);
        surrogate
    }

    /// The expected loss of a choice.
    fn expect(&self, choice: &Choice) -> f64 {
        let of = |(layer, ways): (&Layer, &Vec<(Layer, f64)>)| {
            ways.iter().find(|(way, _)| way == layer).map_or(f64::INFINITY, |(_, loss)| *loss)
        };
        choice.0.iter().zip(&self.layers).map(of).sum()
    }

    /// Spreads what was not expected over the changes that measured choices share. It is kernel ridge regression. Two
    /// choices are as alike as they have equal changes, and by one more because both are changed.
    fn correct(&mut self, whole: &Choice, measured: &[Measured]) {
        // One change is what it is expected to be.
        let has_several = |choice: &Choice| choice.0.iter().zip(&whole.0).filter(|(a, b)| a != b).count() > 1;
        let changed: Vec<&Measured> = measured.iter().filter(|(choice, _)| has_several(choice)).collect();
        let surprises: Vec<f64> = changed.iter().map(|(choice, loss)| loss - self.expect(choice)).collect();
        let alike = |a: &Choice, b: &Choice| {
            let layers = a.0.iter().zip(&b.0).zip(&whole.0);
            1.0 + layers.filter(|((a, b), whole)| a == b && a != whole).count() as f64
        };
        let kernel: Vec<Vec<f64>> = changed
            .iter()
            .enumerate()
            .map(|(row, (a, _))| {
                let of = |(column, (b, _)): (usize, &&Measured)| {
                    alike(a, b) + if row == column { RIDGE } else { 0.0 }
                };
                changed.iter().enumerate().map(of).collect()
            })
            .collect();
        let weights = solve(kernel, surprises);
        for (number, ways) in self.layers.iter_mut().enumerate() {
            for (way, loss) in ways.iter_mut().filter(|(way, _)| *way != whole.0[number]) {
                let shared = changed.iter().zip(&weights).filter(|((choice, _), _)| choice.0[number] == *way);
                *loss += shared.map(|(_, weight)| weight).sum::<f64>();
            }
        }
    }

    /// Choices that cost at most `limit`, those with the least expected loss first. Not all there are: the knapsack
    /// keeps some for each cost. Of equal ones that is first which leaves more of the model.
    pub(super) fn best(&self, costs: &Costs, limit: f64) -> Vec<Choice> {
        let whole: f64 = self
            .layers
            .iter()
            .enumerate()
            .map(|(number, ways)| ways.iter().map(|(way, _)| costs.layer(number, *way)).fold(0.0, f64::max))
            .sum();
        // What has to be saved of the most that the layers can cost.
        let needed = costs.base + whole - limit;
        let bin = |saved: f64| match saved >= needed {
            true => BINS,
            false => ((saved / needed * BINS as f64) as usize).min(BINS - 1),
        };
        let mut bins: Vec<Vec<Partial>> = vec![Vec::new(); BINS + 1];
        bins[bin(0.0)].push(Partial { saved: 0.0, loss: 0.0, layers: Vec::new() });
        for (number, ways) in self.layers.iter().enumerate() {
            let most = ways.iter().map(|(way, _)| costs.layer(number, *way)).fold(0.0, f64::max);
            let mut next: Vec<Vec<Partial>> = vec![Vec::new(); BINS + 1];
            for partial in bins.iter().flatten() {
                for (way, loss) in ways {
                    let saved = partial.saved + most - costs.layer(number, *way);
                    let layers = partial.layers.iter().copied().chain([*way]).collect();
                    next[bin(saved)].push(Partial { saved, loss: partial.loss + loss, layers });
                }
            }
            for partials in &mut next {
                partials.sort_by(Partial::order);
                partials.truncate(KEPT * if number + 1 == self.layers.len() { KEPT } else { 1 });
            }
            bins = next;
        }
        let met = bins.pop().unwrap_or_default().into_iter().map(|partial| Choice(partial.layers));
        // Sums in another order may miss the limit by their rounding.
        met.filter(|choice| costs.of(choice) <= limit).collect()
    }
}

/// What the first layers keep.
#[derive(Clone)]
struct Partial {
    saved: f64,
    loss: f64,
    layers: Vec<Layer>,
}

impl Partial {
    fn order(&self, other: &Partial) -> std::cmp::Ordering {
        self.loss
            .total_cmp(&other.loss)
            .then(self.saved.total_cmp(&other.saved))
            .then(self.layers.cmp(&other.layers))
    }
}

/// What models with one change lost, or may lose.
struct Singles {
    /// For each of [`Change::ALL`] and each layer.
    losses: [Vec<f64>; 4],
}

impl Singles {
    fn new(whole: &Choice, importance: &Importance, measured: &[Measured]) -> Singles {
        let losses = Change::ALL.map(|change| {
            let scores = importance.of(change.sub_layer());
            let known: Vec<Option<f64>> = (0..whole.0.len())
                .map(|number| {
                    let mut single = whole.clone();
                    single.0[number] = change.of(whole.0[number])?;
                    measured.iter().find(|(choice, _)| *choice == single).map(|(_, loss)| *loss)
                })
                .collect();
            // Losses are expected to be a multiple of the importance, the same one for all layers.
            let (mut products, mut squares) = (0.0, 0.0);
            for (loss, score) in known.iter().zip(scores) {
                if let (Some(loss), Some(score)) = (loss, score) {
                    products += loss * score;
                    squares += score * score;
                }
            }
            let unknown = if change == Change::Halve { 0.5 } else { 1.0 };
            let multiple = if squares > 0.0 { (products / squares).max(0.0) } else { unknown };
            let guess = |score: &Option<f64>| multiple * score.unwrap_or(0.0);
            // What gains by itself is not expected to gain with others: among equals, less is taken out.
            let of =
                |(known, score): (&Option<f64>, _)| known.map_or_else(|| guess(score), |loss| loss.max(0.0));
            known.iter().zip(scores).map(of).collect()
        });
        Singles { losses }
    }

    fn of(&self, change: Change, layer: usize) -> f64 {
        let place = Change::ALL.iter().position(|other| *other == change).unwrap_or(0);
        self.losses[place][layer]
    }

    /// What a layer that has `all` is expected to lose when it keeps `left`.
    fn expect(&self, number: usize, all: Layer, left: Layer) -> f64 {
        let loses_attention = all.attention && !left.attention;
        if loses_attention && all.quarters > 0 && left.quarters == 0 {
            return self.of(Change::Drop(SubLayer::Block), number);
        }
        let attention =
            if loses_attention { self.of(Change::Drop(SubLayer::Attention), number) } else { 0.0 };
        let dropped = self.of(Change::Drop(SubLayer::Mlp), number);
        let halved = self.of(Change::Halve, number);
        let width = match left.quarters {
            quarters if quarters == all.quarters => 0.0,
            0 => dropped,
            1 => f64::midpoint(halved, dropped),
            2 => halved,
            _ => halved / 2.0,
        };
        attention + width
    }
}

/// The solution of a symmetric positive definite system, by Cholesky's decomposition.
fn solve(mut matrix: Vec<Vec<f64>>, mut values: Vec<f64>) -> Vec<f64> {
    let n = values.len();
    for row in 0..n {
        for column in 0..=row {
            let pairs = matrix[row].iter().zip(&matrix[column]).take(column);
            let sum = pairs.fold(matrix[row][column], |sum, (a, b)| sum - a * b);
            matrix[row][column] = if row == column { sum.sqrt() } else { sum / matrix[column][column] };
        }
    }
    for row in 0..n {
        for k in 0..row {
            values[row] -= matrix[row][k] * values[k];
        }
        values[row] /= matrix[row][row];
    }
    for row in (0..n).rev() {
        for k in row + 1..n {
            values[row] -= matrix[k][row] * values[k];
        }
        values[row] /= matrix[row][row];
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_encoders::prune::Remaining;

    fn model() -> (Remaining, Choice, Costs) {
        let model = Remaining { attention: vec![true; 3], intermediate_sizes: vec![Some(8); 3] };
        let cost = |remaining: &Remaining| {
            let attention = remaining.attention.iter().filter(|kept| **kept).count();
            10.0 + 8.0 * attention as f64
                + 2.0 * remaining.intermediate_sizes.iter().flatten().sum::<usize>() as f64
        };
        let costs = Costs::by(&model, cost);
        let whole = Choice::of(&model);
        (model, whole, costs)
    }

    fn importance() -> Importance {
        Importance {
            attention: vec![Some(0.3), Some(0.1), Some(0.2)],
            mlp: vec![Some(0.1), Some(0.3), Some(0.2)],
            block: vec![Some(0.5), Some(0.5), Some(0.5)],
        }
    }

    /// Every choice of three layers.
    fn all(whole: &Choice) -> Vec<Choice> {
        let mut choices = vec![Vec::new()];
        for layer in &whole.0 {
            choices = choices
                .iter()
                .flat_map(|begun: &Vec<Layer>| {
                    ways(*layer).into_iter().map(|way| begun.iter().copied().chain([way]).collect())
                })
                .collect();
        }
        choices.into_iter().map(Choice).collect()
    }

    /// The knapsack against all choices.
    #[test]
    fn the_best_choices_are_those_of_a_search_through_all() {
        let (_, whole, costs) = model();
        let surrogate = Surrogate::new(&whole, &importance(), &[]);
        for share in [0.2, 0.4, 0.5, 0.7, 0.9] {
            let limit = share * costs.of(&whole);
            let mut wanted: Vec<Choice> =
                all(&whole).into_iter().filter(|choice| costs.of(choice) <= limit).collect();
            wanted.sort_by(|a, b| surrogate.expect(a).total_cmp(&surrogate.expect(b)));
            let got = surrogate.best(&costs, limit);
            let loss = |choices: &[Choice], place: usize| surrogate.expect(&choices[place]);
            let least = wanted.len().min(8);
            assert!(got.len() >= least, "{share}: {} of {}", got.len(), wanted.len());
            for place in 0..least {
                let error = loss(&got, place) - loss(&wanted, place);
                assert!(error.abs() < 1e-9, "{share}, {place}: {error}");
            }
            assert!(got.iter().all(|choice| costs.of(choice) <= limit));
        }
    }

    #[test]
    fn guesses_come_from_what_was_measured() {
        let (_, whole, _) = model();
        let single = |change: Change, layer: usize| {
            let mut choice = whole.clone();
            choice.0[layer] = change.of(choice.0[layer]).unwrap();
            choice
        };
        let attention = Change::Drop(SubLayer::Attention);
        let measured = [(single(attention, 1), 0.2), (single(Change::Halve, 0), 0.4)];
        let surrogate = Surrogate::new(&whole, &importance(), &measured);
        // Twice the importance, as with attention 1; half the width as measured, and a quarter lost half of it.
        let close = |choice: &Choice, want: f64| {
            let got = surrogate.expect(choice);
            assert!((got - want).abs() < 1e-9, "{choice:?}: {got}, not {want}");
        };
        close(&whole, 0.0);
        close(&single(attention, 1), 0.2);
        close(&single(attention, 0), 0.6);
        close(&single(Change::Halve, 0), 0.4);
        let mut three_quarters = whole.clone();
        three_quarters.0[0].quarters = 3;
        close(&three_quarters, 0.2);
    }

    #[test]
    fn what_several_changes_lose_together_is_learned() {
        let (_, whole, _) = model();
        let pair = |layers: [usize; 2]| {
            let mut choice = whole.clone();
            layers.iter().for_each(|layer| choice.0[*layer].attention = false);
            choice
        };
        let before = Surrogate::new(&whole, &importance(), &[]);
        let measured = [(pair([0, 1]), 3.0)];
        let after = Surrogate::new(&whole, &importance(), &measured);
        assert!(after.expect(&pair([0, 1])) > before.expect(&pair([0, 1])) + 1.0);
        assert!(after.expect(&pair([1, 2])) > before.expect(&pair([1, 2])));
        let mut other = whole.clone();
        other.0[2].quarters = 0;
        assert_eq!(after.expect(&other), before.expect(&other));
    }

    #[test]
    fn a_system_by_hand() {
        let solution = solve(vec![vec![4.0, 2.0], vec![2.0, 3.0]], vec![10.0, 8.0]);
        assert!((solution[0] - 1.75).abs() < 1e-12 && (solution[1] - 1.5).abs() < 1e-12);
        assert_eq!(loss(0.5, 0.5), 0.0);
        assert_eq!(loss(0.0, 0.5), loss(0.001, 0.5));
    }
}
