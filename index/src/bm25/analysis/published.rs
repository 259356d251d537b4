//! The stemmer of former databases, which is Lucene's for English words.
//!
//! frostem carries the algorithm as published (M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980).
//! Lucene runs Porter's own later program, which departs from the paper in three points
//! (tartarus.org/martin/PorterStemmer, "Points of difference from the published algorithm"):
//!
//! 1. words of one or two letters are left alone;
//! 2. step 2 maps (m>0) BLI to BLE instead of (m>0) ABLI to ABLE;
//! 3. step 2 also maps (m>0) LOGI to LOG.
//!
//! Points 2 and 3 can be applied to the published algorithm's result. A word that reaches step 2 as X + "bli" (not
//! "abli") or X + "logi" matches no published rule of steps 2 to 5. So the word comes out unchanged. From there "logi"
//! loses its i, and X + "ble" goes through the algorithm, whose steps 1 and 2 match no word with that ending.

use std::borrow::Cow;

pub(super) struct Stemmer(frostem::Stemmer);

impl Default for Stemmer {
    fn default() -> Stemmer {
        Stemmer(frostem::Stemmer::new(frostem::Algorithm::Porter))
    }
}

impl Stemmer {
    /// The stem of a word in lower case.
    pub fn stem<'a>(&self, word: &'a str) -> Cow<'a, str> {
        if word.chars().nth(2).is_none() {
            return Cow::Borrowed(word);
        }
        let stem = self.0.stem(word);
        if let Some(root) = stem.strip_suffix("bli")
            && has_positive_measure(root)
        {
            return Cow::Owned(self.0.stem(&format!("{root}ble")).into_owned());
        }
        if let Some(root) = stem.strip_suffix("logi")
            && has_positive_measure(root)
        {
            return Cow::Owned(format!("{root}log"));
        }
        stem
    }
}

/// Porter's m > 0: somewhere a vowel is followed by a consonant. y is a vowel after a consonant.
fn has_positive_measure(word: &str) -> bool {
    let mut after_vowel = false;
    let mut after_consonant = false;
    for letter in word.chars() {
        let is_vowel = match letter {
            'a' | 'e' | 'i' | 'o' | 'u' => true,
            'y' => after_consonant,
            _ => false,
        };
        if after_vowel && !is_vowel {
            return true;
        }
        after_vowel = is_vowel;
        after_consonant = !is_vowel;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        let stemmer = Stemmer::default();
        for (word, stem) in super::super::porter::STEMS {
            assert_eq!(stemmer.stem(word), stem, "{word}");
        }
    }
}
