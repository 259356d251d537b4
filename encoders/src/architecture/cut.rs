//! What an architecture would look like with sub-layers dropped and MLPs narrowed, for counting: no weights are touched.

use super::Architecture;
use crate::error::{Error, Result};

/// How much of a model to leave out.
///
/// Which layers lose their sub-layers is decided by importance, on data; for counting it does not matter, because the
/// layers of a model are alike. Here those nearest to the end go first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Layers that lose both their sub-layers.
    pub blocks: usize,
    /// Layers that lose their attention, beside the blocks.
    pub attention: usize,
    /// Layers that lose their MLP, beside the blocks.
    pub mlp: usize,
    /// The part of the neurons of the remaining MLPs that stays.
    pub width: f64,
}

impl Default for Cut {
    fn default() -> Cut {
        Cut { blocks: 0, attention: 0, mlp: 0, width: 1.0 }
    }
}

impl Architecture {
    /// The architecture that is left.
    ///
    /// ```
    /// use secateur_encoders::{architecture::Cut, catalog};
    /// let mistral = catalog::find("mistral-7b").unwrap().architecture();
    /// let half = mistral.cut(&Cut { mlp: 16, width: 0.7, ..Cut::default() })?;
    /// // "EffiR-3.4B": half of the MLPs, and 70 % of the neurons of the others.
    /// assert_eq!(half.parameters().total(), 3_446_448_128);
    /// # Ok::<(), secateur_encoders::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There are fewer sub-layers than are to be dropped, or the width is not above 0 and at most 1.
    pub fn cut(&self, cut: &Cut) -> Result<Architecture> {
        let mut architecture = self.clone();
        let layers = &mut architecture.layers;
        let blocks = layers.iter_mut().rev();
        let mut blocks =
            blocks.filter(|layer| layer.attention.is_some() || layer.intermediate_size.is_some());
        for number in 0..cut.blocks {
            let layer = blocks.next().ok_or_else(|| too_many("the blocks", cut.blocks, number))?;
            (layer.attention, layer.intermediate_size) = (None, None);
        }
        let mut attentions = layers.iter_mut().rev().filter(|layer| layer.attention.is_some());
        for number in 0..cut.attention {
            let layer = attentions.next();
            layer.ok_or_else(|| too_many("the attentions", cut.attention, number))?.attention = None;
        }
        let mut mlps = layers.iter_mut().rev().filter(|layer| layer.intermediate_size.is_some());
        for number in 0..cut.mlp {
            mlps.next().ok_or_else(|| too_many("the MLPs", cut.mlp, number))?.intermediate_size = None;
        }
        if !(cut.width > 0.0 && cut.width <= 1.0) {
            return Err(Error::InvalidCut {
                what: "the MLPs' width",
                asked: cut.width.to_string(),
                expected: "the part that stays is above 0 and at most 1".to_owned(),
            });
        }
        // Neurons are ranked over all layers together: their sum is rounded, not each layer's number.
        let mut before = 0;
        for width in layers.iter_mut().filter_map(|layer| layer.intermediate_size.as_mut()) {
            let kept = |neurons: usize| (neurons as f64 * cut.width).round() as usize;
            let after = before + *width;
            *width = kept(after) - kept(before);
            before = after;
        }
        Ok(architecture)
    }
}

fn too_many(what: &'static str, asked: usize, there: usize) -> Error {
    Error::InvalidCut { what, asked: asked.to_string(), expected: format!("there are {there}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::catalog;

    /// Table, model, cut, and the number of billions that is printed there.
    ///
    /// By the EffiR paper (arXiv 2512.20612): #Params of the tables on Mistral-7B and of Table 5 on LLaMA2-7B.
    #[test]
    fn parameter_counts_are_those_of_the_paper() {
        let none = Cut::default();
        let cases = [
            ("mistral-7b", none, "7.1"),
            ("mistral-7b", Cut { attention: 8, ..none }, "6.8"),
            ("mistral-7b", Cut { attention: 16, ..none }, "6.4"),
            ("mistral-7b", Cut { blocks: 8, ..none }, "5.4"),
            ("mistral-7b", Cut { blocks: 16, ..none }, "3.6"),
            ("mistral-7b", Cut { mlp: 8, ..none }, "5.7"),
            ("mistral-7b", Cut { mlp: 16, ..none }, "4.3"),
            ("mistral-7b", Cut { mlp: 20, ..none }, "3.6"),
            ("mistral-7b", Cut { mlp: 24, ..none }, "2.9"),
            ("mistral-7b", Cut { mlp: 16, attention: 8, ..none }, "4.0"),
            ("mistral-7b", Cut { mlp: 16, width: 0.7, ..none }, "3.4"),
            ("llama2-7b", none, "6.6"),
            ("llama2-7b", Cut { mlp: 20, ..none }, "3.9"),
            ("llama2-7b", Cut { mlp: 20, width: 0.7, ..none }, "3.4"),
            ("llama2-7b", Cut { mlp: 20, width: 0.5, ..none }, "3.1"),
            ("llama2-7b", Cut { mlp: 24, ..none }, "3.4"),
            ("llama2-7b", Cut { mlp: 28, ..none }, "2.8"),
        ];
        for (name, cut, want) in cases {
            let cut_model = catalog::find(name).unwrap().architecture().cut(&cut).unwrap();
            let billions = cut_model.parameters().total() as f64 / 1e9;
            assert_eq!(format!("{billions:.1}"), want, "{name} with {cut:?}: {billions}");
        }
    }

    #[test]
    fn the_widths_add_up_whatever_their_rounding() {
        let architecture = catalog::find("mistral-7b").unwrap().architecture();
        let cut = architecture.cut(&Cut { mlp: 16, width: 0.7, ..Cut::default() }).unwrap();
        let widths: Vec<usize> = cut.layers.iter().filter_map(|layer| layer.intermediate_size).collect();
        assert_eq!(widths.len(), 16);
        assert_eq!(widths.iter().sum::<usize>(), 160_563, "0.7 * 16 * 14,336 = 160,563.2");
        assert!(widths.iter().all(|width| (10_035..=10_036).contains(width)), "{widths:?}");
    }

    #[test]
    fn nothing_changes_where_nothing_is_cut() {
        for backbone in catalog::all() {
            let architecture = backbone.architecture();
            assert_eq!(architecture.cut(&Cut::default()).unwrap(), architecture, "{}", backbone.name());
        }
    }

    #[test]
    fn more_than_there_is_cannot_be_cut() {
        let architecture = catalog::find("bert-base").unwrap().architecture();
        let none = Cut::default();
        let cases = [
            (Cut { blocks: 13, ..none }, "cannot cut the blocks by 13: there are 12"),
            (Cut { attention: 13, ..none }, "cannot cut the attentions by 13: there are 12"),
            (Cut { blocks: 2, mlp: 11, ..none }, "cannot cut the MLPs by 11: there are 10"),
            (Cut { width: 0.0, ..none }, "cannot cut the MLPs' width by 0: the part that stays is above 0"),
            (Cut { width: 1.5, ..none }, "cannot cut the MLPs' width by 1.5"),
            (Cut { width: f64::NAN, ..none }, "cannot cut the MLPs' width by NaN"),
        ];
        for (cut, want) in cases {
            let message = architecture.cut(&cut).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
