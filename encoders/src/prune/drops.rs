//! Which sub-layers are taken out of a model's depth (paper, section 4.1).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::scores::{Importance, Part};
use crate::architecture::{Architecture, LayerShape};
use crate::error::{Error, Result};

/// Sub-layers to take out, by the numbers of their layers. A block is both of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Layers that lose their attention.
    pub attention: BTreeSet<usize>,
    /// Layers that lose their MLP.
    pub mlp: BTreeSet<usize>,
}

impl Drops {
    /// Whether nothing is taken out.
    pub fn is_empty(&self) -> bool {
        self.attention.is_empty() && self.mlp.is_empty()
    }

    /// Adds what `other` takes out.
    pub fn extend(&mut self, other: &Drops) {
        self.attention.extend(&other.attention);
        self.mlp.extend(&other.mlp);
    }

    /// Adds a part of a layer of `architecture`; of a block what the layer still has.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSubLayer`]
    pub fn insert(&mut self, architecture: &Architecture, part: Part, layer: usize) -> Result<()> {
        let shape = architecture.layers.get(layer).filter(|shape| has(shape, part));
        let shape = shape.ok_or_else(|| Error::NoSuchSubLayer {
            part: part.name(),
            layer,
            layers: architecture.layers.len(),
        })?;
        if part != Part::Mlp && shape.attention.is_some() {
            self.attention.insert(layer);
        }
        if part != Part::Attention && shape.intermediate_size.is_some() {
            self.mlp.insert(layer);
        }
        Ok(())
    }

    /// What is left of a model.
    ///
    /// # Panics
    ///
    /// If a layer is not one of the model's.
    pub fn applied_to(&self, architecture: &Architecture) -> Architecture {
        let mut left = architecture.clone();
        self.attention.iter().for_each(|layer| left.layers[*layer].attention = None);
        self.mlp.iter().for_each(|layer| left.layers[*layer].intermediate_size = None);
        left
    }
}

fn has(shape: &LayerShape, part: Part) -> bool {
    match part {
        Part::Attention => shape.attention.is_some(),
        Part::Mlp => shape.intermediate_size.is_some(),
        Part::Block => shape.attention.is_some() || shape.intermediate_size.is_some(),
    }
}

impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |layers: &BTreeSet<usize>| layers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let named = [("attention", &self.attention), ("MLP", &self.mlp)];
        let parts: Vec<String> = named
            .into_iter()
            .filter(|(_, layers)| !layers.is_empty())
            .map(|(name, layers)| {
                let layer = if layers.len() == 1 { "layer" } else { "layers" };
                format!("{name} of {layer} {}", list(layers))
            })
            .collect();
        f.write_str(if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }.as_str())
    }
}

/// A variant of the paper's Tables 1 and 2: how many sub-layers go. As text: "full", "8M", "8A", "8B", "16M8A" (in any
/// order), "last-16B".
///
/// ```
/// use secateur_encoders::prune::Variant;
/// let variant: Variant = "16M8A".parse()?;
/// assert_eq!((variant.mlp, variant.attention, variant.blocks), (16, 8, 0));
/// assert_eq!("last-2B".parse::<Variant>()?.to_string(), "last-2B");
/// assert!("8X".parse::<Variant>().is_err());
/// # Ok::<(), secateur_encoders::prune::UnknownVariant>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Blocks at the end, whatever their importance.
    pub last_blocks: usize,
    /// The least important blocks of those that are left.
    pub blocks: usize,
    /// The least important MLPs of those that are left.
    pub mlp: usize,
    /// The least important attentions of those that are left.
    pub attention: usize,
}

impl Variant {
    /// Whether importance decides what goes.
    pub fn needs_scores(&self) -> bool {
        self.blocks + self.mlp + self.attention > 0
    }

    /// Whether nothing goes.
    pub fn is_full(&self) -> bool {
        *self == Variant::default()
    }

    /// The same in steps of one sub-layer of each kind, for a model that is measured again before each: blocks first.
    ///
    /// ```
    /// use secateur_encoders::prune::Variant;
    /// let steps: Vec<String> = "1B2M1A".parse::<Variant>()?.steps().map(|step| step.to_string()).collect();
    /// assert_eq!(steps, ["1B", "1M1A", "1M"]);
    /// # Ok::<(), secateur_encoders::prune::UnknownVariant>(())
    /// ```
    pub fn steps(&self) -> impl Iterator<Item = Variant> + use<> {
        let Variant { last_blocks, blocks, mlp, attention } = *self;
        let last = (last_blocks > 0).then_some(Variant { last_blocks, ..Variant::default() });
        let blocks = (0..blocks).map(|_| Variant { blocks: 1, ..Variant::default() });
        let sub_layers = (0..mlp.max(attention)).map(move |step| Variant {
            mlp: usize::from(step < mlp),
            attention: usize::from(step < attention),
            ..Variant::default()
        });
        last.into_iter().chain(blocks).chain(sub_layers)
    }

    /// The sub-layers that go from `architecture`, beyond `drops`, by the importance of all its sub-layers (equations 4 and
    /// 5): first the last blocks, then the least important blocks, then the least important MLPs and attentions of what is
    /// left.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyDrops`]; [`Error::ScoresRequired`] without `importance` where it decides.
    pub fn choose(
        &self,
        architecture: &Architecture,
        importance: Option<&Importance>,
        drops: &Drops,
    ) -> Result<Drops> {
        let mut chosen = drops.clone();
        if importance.is_none() && self.needs_scores() {
            return Err(Error::ScoresRequired { variant: self.to_string() });
        }
        let last_first: Vec<usize> = (0..architecture.layers.len()).rev().collect();
        let order = |part| importance.map(|importance| importance.drop_order(part)).unwrap_or_default();
        for (part, order, count) in [
            (Part::Block, last_first, self.last_blocks),
            (Part::Block, order(Part::Block), self.blocks),
            (Part::Mlp, order(Part::Mlp), self.mlp),
            (Part::Attention, order(Part::Attention), self.attention),
        ] {
            let left = chosen.applied_to(architecture);
            let there = |layer: &usize| left.layers.get(*layer).is_some_and(|shape| has(shape, part));
            let candidates: Vec<usize> = order.into_iter().filter(there).collect();
            if count > candidates.len() && count > 0 {
                return Err(Error::TooManyDrops {
                    part: part.name(),
                    asked: count,
                    available: left.layers.iter().filter(|shape| has(shape, part)).count(),
                    layers: left.layers.len(),
                });
            }
            for layer in candidates.into_iter().take(count) {
                chosen.insert(architecture, part, layer)?;
            }
        }
        Ok(chosen)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_full() {
            return f.pad("full");
        }
        let mut text = String::new();
        if self.last_blocks > 0 {
            text.push_str(&format!("last-{}B", self.last_blocks));
        }
        for (count, letter) in [(self.blocks, 'B'), (self.mlp, 'M'), (self.attention, 'A')] {
            if count > 0 {
                text.push_str(&format!("{count}{letter}"));
            }
        }
        f.pad(&text)
    }
}

/// A string is not a variant.
#[derive(Debug, thiserror::Error)]
#[error(
    "{found:?} is not a variant; expected full, or numbers with M (MLPs), A (attentions) or B (blocks), such as 8M, 16M8A, \
     2B or last-2B"
)]
pub struct UnknownVariant {
    found: String,
}

impl FromStr for Variant {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> std::result::Result<Variant, UnknownVariant> {
        let unknown = || UnknownVariant { found: text.to_owned() };
        let mut variant = Variant::default();
        if text == "full" {
            return Ok(variant);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (last, numbered) = match rest.strip_prefix("last-") {
                Some(numbered) => (true, numbered),
                None => (false, rest),
            };
            let digits = numbered.bytes().take_while(u8::is_ascii_digit).count();
            let count: usize = numbered[..digits].parse().map_err(|_| unknown())?;
            let place = match (last, numbered[digits..].chars().next()) {
                (true, Some('B')) => &mut variant.last_blocks,
                (false, Some('B')) => &mut variant.blocks,
                (false, Some('M')) => &mut variant.mlp,
                (false, Some('A')) => &mut variant.attention,
                _ => return Err(unknown()),
            };
            if count == 0 || *place != 0 {
                return Err(unknown());
            }
            *place = count;
            rest = &numbered[digits + 1..];
        }
        if variant.is_full() { Err(unknown()) } else { Ok(variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, AttentionShape};
    use crate::architecture::{Biases, LayerAttention, NormKind, Positions};

    fn architecture(layers: usize) -> Architecture {
        let attention = Some(LayerAttention { window: None, rotary: None });
        Architecture {
            family: "llama",
            vocab_size: 10,
            hidden_size: 4,
            positions: Positions::Rotary { max_tokens: 8 },
            embedding_scale: 1.0,
            attention: AttentionShape {
                num_heads: 2,
                num_key_value_heads: 2,
                head_dim: 2,
                scale: 1.0,
                softcap: None,
                causal: true,
            },
            activation: Activation::Silu,
            norm: NormKind::Rms { offset: 0.0 },
            norm_eps: 1e-5,
            biases: Biases { query_key_value: false, attention_output: false, mlp: false },
            layers: vec![LayerShape { attention, intermediate_size: Some(6) }; layers],
        }
    }

    #[test]
    fn variants_are_read_and_written() {
        for text in ["full", "8M", "16M8A", "2B", "last-16B", "last-1B2B3M4A"] {
            assert_eq!(text.parse::<Variant>().unwrap().to_string(), text);
        }
        assert_eq!("8A16M".parse::<Variant>().unwrap().to_string(), "16M8A");
        for text in ["", "8", "M", "8m", "0M", "1M1M", "last-2M", "full8M", "8M ", "99999999999999999999M"] {
            assert!(text.parse::<Variant>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_least_important_of_what_is_left_go() {
        let mut model = architecture(4);
        model.layers[1].attention = None;
        let importance = Importance {
            attention: vec![Some(0.4), None, Some(0.2), Some(0.1)],
            mlp: vec![Some(0.1), Some(0.2), Some(0.3), Some(0.05)],
            block: vec![Some(0.5), Some(0.15), Some(0.4), Some(0.2)],
        };
        let cases: [(&str, &[usize], &[usize]); 8] = [
            ("full", &[], &[]),
            ("2M", &[], &[0, 3]),
            ("1A", &[3], &[]),
            ("2M2A", &[2, 3], &[0, 3]),
            // Layer 1 has no attention to lose.
            ("1B", &[], &[1]),
            ("2B", &[3], &[1, 3]),
            ("last-2B", &[2, 3], &[2, 3]),
            // The MLP of block 3 is gone with it.
            ("last-1B1M", &[3], &[0, 3]),
        ];
        for (text, attention, mlp) in cases {
            let variant: Variant = text.parse().unwrap();
            let drops = variant.choose(&model, Some(&importance), &Drops::default()).unwrap();
            let want =
                Drops { attention: attention.iter().copied().collect(), mlp: mlp.iter().copied().collect() };
            assert_eq!(drops, want, "{text}");
        }
        // What goes anyway is beyond the count.
        let named = Drops { mlp: BTreeSet::from([3]), ..Drops::default() };
        let drops = Variant { mlp: 1, ..Variant::default() }.choose(&model, Some(&importance), &named);
        assert_eq!(drops.unwrap().mlp, BTreeSet::from([0, 3]));

        for (text, want) in [
            ("5M", "cannot drop 5 MLP sub-layers: the model has 4, in 4 layers"),
            ("4A", "cannot drop 4 attention sub-layers: the model has 3"),
            ("last-1B4M", "cannot drop 4 MLP sub-layers: the model has 3"),
            ("last-5B", "cannot drop 5 block"),
        ] {
            let variant: Variant = text.parse().unwrap();
            let message =
                variant.choose(&model, Some(&importance), &Drops::default()).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
        let message = Variant { mlp: 1, ..Variant::default() }.choose(&model, None, &Drops::default());
        assert!(message.unwrap_err().to_string().contains("1M"));
        let message = Drops::default().insert(&model, Part::Attention, 1).unwrap_err().to_string();
        assert!(message.contains("layer 1 has no attention"), "{message}");
    }

    #[test]
    fn what_is_left_can_be_applied_twice() {
        let model = architecture(3);
        let drops = Drops { attention: BTreeSet::from([0]), mlp: BTreeSet::from([0, 2]) };
        let left = drops.applied_to(&model);
        assert_eq!(drops.applied_to(&left), left);
        assert_eq!(left.layers[1], model.layers[1]);
        assert_eq!(drops.to_string(), "attention of layer 0; MLP of layers 0, 2");
        assert!(!has(&left.layers[0], Part::Block));
    }
}
