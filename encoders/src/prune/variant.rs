//! How many sub-layers are taken out of a model's depth, and which ones (paper, section 4.1).

use std::fmt;
use std::str::FromStr;

use super::scores::Importance;
use crate::architecture::{Remaining, SubLayer};
use crate::error::Result;
use crate::prune_error::PruneError;

/// A variant of the paper's Tables 1 and 2: how many sub-layers are dropped. As text: "full", "8M", "8A", "8B",
/// "16M8A" (in any order), "last-16B".
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

    /// The variant in steps of one sub-layer of each kind, blocks first. The model is measured again before each
    /// step.
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

    /// What is left of `remaining`, by the importance of all sub-layers (equations 4 and 5). First the last blocks go,
    /// then the least important blocks. Of what is left then, the least important MLPs and attentions go.
    ///
    /// # Errors
    ///
    /// [`PruneError::TooManyDrops`]; [`PruneError::ScoresRequired`] without `importance` where it decides.
    pub fn choose(&self, remaining: &Remaining, importance: Option<&Importance>) -> Result<Remaining> {
        if importance.is_none() && self.needs_scores() {
            return Err(PruneError::ScoresRequired { variant: self.to_string() }.into());
        }
        let mut remaining = remaining.clone();
        remaining.drop_last(SubLayer::Block, self.last_blocks)?;
        for (sub_layer, count) in
            [(SubLayer::Block, self.blocks), (SubLayer::Mlp, self.mlp), (SubLayer::Attention, self.attention)]
        {
            let order = importance.map(|importance| importance.drop_order(sub_layer));
            remaining.drop_in_order(sub_layer, order.unwrap_or_default(), count)?;
        }
        Ok(remaining)
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
        // Layer 1 has no attention.
        let model =
            Remaining { attention: vec![true, false, true, true], intermediate_sizes: vec![Some(6); 4] };
        let importance = Importance {
            attention: vec![Some(0.4), None, Some(0.2), Some(0.1)],
            mlp: vec![Some(0.1), Some(0.2), Some(0.3), Some(0.05)],
            block: vec![Some(0.5), Some(0.15), Some(0.4), Some(0.2)],
        };
        let without = |attention: &[usize], mlp: &[usize]| {
            let mut remaining = model.clone();
            attention.iter().for_each(|layer| remaining.attention[*layer] = false);
            mlp.iter().for_each(|layer| remaining.intermediate_sizes[*layer] = None);
            remaining
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
            let chosen = variant.choose(&model, Some(&importance)).unwrap();
            assert_eq!(chosen, without(attention, mlp), "{text}");
        }
        // What goes anyway is beyond the count.
        let named = without(&[], &[3]);
        let chosen = Variant { mlp: 1, ..Variant::default() }.choose(&named, Some(&importance));
        assert_eq!(chosen.unwrap(), without(&[], &[0, 3]));

        for (text, want) in [
            ("5M", "cannot drop 5 MLP sub-layers: the model has 4, in 4 layers"),
            ("4A", "cannot drop 4 attention sub-layers: the model has 3"),
            ("last-1B4M", "cannot drop 4 MLP sub-layers: the model has 3"),
            ("last-5B", "cannot drop 5 block"),
        ] {
            let variant: Variant = text.parse().unwrap();
            let message = variant.choose(&model, Some(&importance)).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
        let message = Variant { mlp: 1, ..Variant::default() }.choose(&model, None);
        assert!(message.unwrap_err().to_string().contains("1M"));
    }
}
