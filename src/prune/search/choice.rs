//! What can be chosen: for each layer whether its attention stays, and how much of its MLP.

use secateur_encoders::prune::{MaskedMlp, NeuronMask, NeuronScores, Remaining};

/// MLPs are narrowed in quarters of their width.
pub(super) const WHOLE: u8 = 4;

/// What a layer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Layer {
    /// Whether its attention stays.
    pub attention: bool,
    /// The quarters of its MLP's width that stay; 0 where the MLP is dropped.
    pub quarters: u8,
}

/// What every layer keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Choice(pub Vec<Layer>);

impl Choice {
    /// All that remains of a model.
    pub(super) fn of(model: &Remaining) -> Choice {
        let layers = model.attention.iter().zip(&model.intermediate_sizes);
        let all = |(attention, width): (&bool, &Option<usize>)| Layer {
            attention: *attention,
            quarters: if width.is_some() { WHOLE } else { 0 },
        };
        Choice(layers.map(all).collect())
    }

    /// Which sub-layers stay, with the widths of `model`.
    pub(super) fn depth(&self, model: &Remaining) -> Remaining {
        let widths = self.0.iter().zip(&model.intermediate_sizes);
        Remaining {
            attention: self.0.iter().map(|layer| layer.attention).collect(),
            intermediate_sizes: widths.map(|(layer, width)| width.filter(|_| layer.quarters > 0)).collect(),
        }
    }

    /// What stays, with the widths that are left.
    pub(super) fn remaining(&self, model: &Remaining) -> Remaining {
        let depth = self.depth(model);
        let widths = self.0.iter().zip(&depth.intermediate_sizes);
        let narrow =
            |(layer, width): (&Layer, &Option<usize>)| width.map(|width| kept(width, layer.quarters));
        Remaining { intermediate_sizes: widths.map(narrow).collect(), ..depth.clone() }
    }

    /// The neurons that go: the least important of each MLP that is narrowed.
    pub(super) fn mask(&self, neurons: &NeuronScores) -> NeuronMask {
        let layers = self.0.iter().zip(&neurons.layers).map(|(layer, scores)| {
            let scores = scores.as_ref()?;
            let gone = match layer.quarters {
                0 => 0,
                quarters => scores.len() - kept(scores.len(), quarters),
            };
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)));
            let mut masked = order[..gone].to_vec();
            masked.sort_unstable();
            Some(MaskedMlp { width: scores.len(), masked })
        });
        NeuronMask { layers: layers.collect() }
    }

    /// What it lacks of `whole`, in few words: "blocks 1, 2; attention 0; MLP 3; MLP 4 at 50 %". "whole" if it is that.
    pub(super) fn name(&self, whole: &Choice) -> String {
        let mut parts: Vec<String> = Vec::new();
        let lost = |layer: usize| {
            let (now, before) = (self.0[layer], whole.0[layer]);
            (before.attention && !now.attention, before.quarters > 0 && now.quarters == 0)
        };
        for (noun, plural, kind) in [
            ("block", "blocks", (true, true)),
            ("attention", "attentions", (true, false)),
            ("MLP", "MLPs", (false, true)),
        ] {
            let layers: Vec<String> = (0..self.0.len())
                .filter(|layer| lost(*layer) == kind)
                .map(|layer| layer.to_string())
                .collect();
            match layers.len() {
                0 => {}
                1 => parts.push(format!("{noun} {}", layers[0])),
                _ => parts.push(format!("{plural} {}", layers.join(", "))),
            }
        }
        for (number, layer) in
            self.0.iter().enumerate().filter(|(_, layer)| (1..WHOLE).contains(&layer.quarters))
        {
            parts.push(format!("MLP {number} at {} %", 25 * layer.quarters));
        }
        if parts.is_empty() { "whole".to_owned() } else { parts.join("; ") }
    }

    /// A name for files: for each layer `a` or `-`, and the quarters.
    pub(super) fn code(&self) -> String {
        let layer = |layer: &Layer| format!("{}{}", if layer.attention { 'a' } else { '-' }, layer.quarters);
        self.0.iter().map(layer).collect()
    }
}

/// The neurons of `width` that some quarters are, rounded up.
fn kept(width: usize, quarters: u8) -> usize {
    (width * usize::from(quarters)).div_ceil(usize::from(WHOLE))
}

/// All that a layer of the whole model can keep, less first.
pub(super) fn ways(whole: Layer) -> Vec<Layer> {
    let attentions = if whole.attention { vec![false, true] } else { vec![false] };
    let of = |attention| (0..=whole.quarters).map(move |quarters| Layer { attention, quarters });
    attentions.into_iter().flat_map(of).collect()
}

/// What a choice costs: a base, and something for each sub-layer that stays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Costs {
    /// Of what cannot be taken out.
    pub base: f64,
    /// For each layer what its attention costs.
    pub attention: Vec<f64>,
    /// For each layer what its MLP costs, by the quarters that stay.
    pub mlp: Vec<[f64; WHOLE as usize + 1]>,
}

impl Costs {
    /// The costs of `model` by the cost of what remains of it, which has to be a sum over sub-layers.
    pub(super) fn by(model: &Remaining, cost: impl Fn(&Remaining) -> f64) -> Costs {
        let whole = Choice::of(model);
        let all = cost(model);
        let saved = |layer: usize, change: &dyn Fn(&mut Layer)| {
            let mut choice = whole.clone();
            change(&mut choice.0[layer]);
            all - cost(&choice.remaining(model))
        };
        let layers = 0..whole.0.len();
        let attention: Vec<f64> =
            layers.clone().map(|layer| saved(layer, &|layer| layer.attention = false)).collect();
        let mlp: Vec<[f64; WHOLE as usize + 1]> = layers
            .map(|layer| {
                let most = saved(layer, &|layer| layer.quarters = 0);
                std::array::from_fn(|quarters| {
                    most - saved(layer, &|layer| layer.quarters = layer.quarters.min(quarters as u8))
                })
            })
            .collect();
        let parts = attention.iter().sum::<f64>() + mlp.iter().map(|mlp| mlp[WHOLE as usize]).sum::<f64>();
        Costs { base: all - parts, attention, mlp }
    }

    /// What a layer costs that keeps this.
    pub(super) fn layer(&self, number: usize, layer: Layer) -> f64 {
        let attention = if layer.attention { self.attention[number] } else { 0.0 };
        attention + self.mlp[number][usize::from(layer.quarters)]
    }

    /// What a choice costs.
    pub(super) fn of(&self, choice: &Choice) -> f64 {
        let layers = choice.0.iter().enumerate();
        self.base + layers.map(|(number, layer)| self.layer(number, *layer)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secateur_encoders::Fingerprint;
    use secateur_encoders::architecture::known_models;

    fn layer(attention: bool, quarters: u8) -> Layer {
        Layer { attention, quarters }
    }

    #[test]
    fn choices_by_hand() {
        let model = Remaining {
            attention: vec![true, true, false],
            intermediate_sizes: vec![Some(6), Some(8), Some(4)],
        };
        let whole = Choice::of(&model);
        let choice = Choice(vec![layer(false, 0), layer(true, 2), layer(false, 0)]);
        assert_eq!(choice.name(&whole), "block 0; MLP 2; MLP 1 at 50 %");
        assert_eq!(choice.code(), "-0a2-0");
        assert_eq!(whole.name(&whole), "whole");
        assert_eq!(choice.depth(&model).intermediate_sizes, [None, Some(8), None]);
        assert_eq!(choice.remaining(&model).intermediate_sizes, [None, Some(4), None]);
        let scores = NeuronScores {
            model: "m".to_owned(),
            fingerprint: Fingerprint::from_bytes([0; 32]),
            layers: vec![
                Some(vec![1.0; 6]),
                Some(vec![8.0, 1.0, 7.0, 2.0, 6.0, 2.0, 5.0, 9.0]),
                Some(vec![1.0; 4]),
            ],
        };
        let mask = choice.mask(&scores);
        // The four lowest of the middle layer; of what is dropped nothing is masked.
        let masked: Vec<&[usize]> = mask.layers.iter().map(|mlp| &mlp.as_ref().unwrap().masked[..]).collect();
        assert_eq!(masked, [&[][..], &[1, 3, 5, 6], &[]]);
        assert_eq!(mask.within(&choice.depth(&model)), choice.remaining(&model));
        assert_eq!(ways(whole.0[2]), [0, 1, 2, 3, 4].map(|quarters| layer(false, quarters)));
        assert_eq!(ways(whole.0[0]).len(), 10);
    }

    #[test]
    fn costs_are_sums_of_what_stays() {
        let mistral = known_models::find("mistral-7b").unwrap().architecture();
        let model = mistral.remaining();
        let parameters = |remaining: &Remaining| mistral.keep(remaining).parameters().total() as f64;
        let costs = Costs::by(&model, parameters);
        let mut choice = Choice::of(&model);
        for (number, layer) in choice.0.iter_mut().enumerate() {
            *layer = Layer { attention: number % 3 > 0, quarters: number as u8 % 5 };
        }
        assert_eq!(costs.of(&choice), parameters(&choice.remaining(&model)));
        assert_eq!(costs.of(&Choice::of(&model)), parameters(&model));
    }
}
