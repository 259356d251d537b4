//! Long documents are split into passages, each short enough for the encoder to read all of it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use secateur_datasets::Document;
use secateur_encoders::Encoder;

use crate::error::{Error, Result};

/// How documents are split into passages, by the tokens of the encoder.
///
/// ```
/// use secateur::encode::Passages;
/// let passages: Passages = "200,50".parse().unwrap();
/// assert_eq!(passages, Passages { length: 200, overlap: 50 });
/// assert!("50,50".parse::<Passages>().unwrap_err().to_string().contains("OVERLAP below LENGTH"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passages {
    /// The most tokens of a passage, those of the title included; at least 1.
    pub length: usize,
    /// The tokens that a passage shares with the one before it, at least; below `length`.
    pub overlap: usize,
}

/// A text that is no [`Passages`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no LENGTH,OVERLAP: expected two numbers of tokens, OVERLAP below LENGTH, such as 200,50"
)]
pub struct InvalidPassages {
    found: String,
}

impl FromStr for Passages {
    type Err = InvalidPassages;

    fn from_str(text: &str) -> Result<Passages, InvalidPassages> {
        let numbers = text.split_once(',').and_then(|(length, overlap)| {
            Some(Passages { length: length.trim().parse().ok()?, overlap: overlap.trim().parse().ok()? })
        });
        let numbers = numbers.filter(|passages| passages.overlap < passages.length);
        numbers.ok_or_else(|| InvalidPassages { found: text.to_owned() })
    }
}

impl fmt::Display for Passages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.length, self.overlap)
    }
}

impl Passages {
    /// Checks that an encoder reads passages of this length.
    ///
    /// # Errors
    ///
    /// [`Error::PassageLength`]; the tokenizer refuses the prompt.
    pub fn check(&self, encoder: &Encoder) -> Result<()> {
        let room = encoder.passage_room()?;
        if self.length > room || self.overlap >= self.length {
            let Passages { length, overlap } = *self;
            return Err(Error::PassageLength { name: encoder.name().to_owned(), length, overlap, room });
        }
        Ok(())
    }

    /// What the encoder reads of a document: the title, the separator and a part of the text, for each part. A title
    /// that takes more than half of a passage is split with the text instead. There is at least one passage.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses the text.
    pub fn of(&self, document: &Document, separator: &str, encoder: &Encoder) -> Result<Vec<String>> {
        let Document { title, text, .. } = document;
        let head = if title.is_empty() { String::new() } else { format!("{title}{separator}") };
        let in_head = encoder.token_ranges(&head)?.len();
        let whole;
        let (head, text, length) = match 2 * in_head <= self.length {
            true => (head.as_str(), text.as_str(), self.length - in_head),
            false => {
                whole = document.passage(separator);
                ("", whole.as_str(), self.length)
            }
        };
        let parts = parts(text, &encoder.token_ranges(text)?, length, self.overlap.min(length - 1));
        let passage = |part: Range<usize>| {
            // The blank before a word may be a part of its token. The whole is trimmed as a whole document is.
            let own = if part.start == 0 { &text[part] } else { text[part].trim_start() };
            format!("{head}{own}").trim().to_owned()
        };
        Ok(parts.into_iter().map(passage).collect())
    }
}

/// The parts of a text, each of at most `length` of its tokens, which lie at `tokens`. A part shares at least `overlap`
/// tokens with the one before it. Parts begin and end between words, if a word is no longer than a part allows.
fn parts(text: &str, tokens: &[Range<usize>], length: usize, overlap: usize) -> Vec<Range<usize>> {
    let begins_word = |token: usize| {
        let start = tokens[token].start;
        let is_space = |c: Option<char>| c.is_some_and(char::is_whitespace);
        is_space(text[..start].chars().next_back()) || is_space(text[start..].chars().next())
    };
    let mut parts = Vec::new();
    let (mut first, mut last_end) = (0, 0);
    while tokens.len() - first > length {
        // Beyond the end of the part before, and so that the next part can begin after this one does.
        let least = (first + overlap).max(last_end) + 1;
        let most = first + length;
        let end = (least..=most).rev().find(|token| begins_word(*token)).unwrap_or(most);
        parts.push(first..end);
        let next = (first + 1..=end - overlap).rev().find(|token| begins_word(*token));
        (first, last_end) = (next.unwrap_or(end - overlap), end);
    }
    parts.push(first..tokens.len());
    let start = |token: usize| if token == 0 { 0 } else { tokens[token].start };
    let end = |token: usize| if token == tokens.len() { text.len() } else { tokens[token].start };
    parts.into_iter().map(|part| start(part.start)..end(part.end)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_encoders::{LoadOptions, TextKind};

    use super::*;
    use crate::encode::default_encoder;

    /// Tokens of at most three characters within words, as byte ranges.
    fn tokens(text: &str) -> Vec<Range<usize>> {
        let mut tokens: Vec<Range<usize>> = Vec::new();
        let mut in_token = 0;
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            if c.is_whitespace() {
                in_token = 0;
            } else if in_token == 0 || in_token == 3 {
                tokens.push(at..end);
                in_token = 1;
            } else if let Some(last) = tokens.last_mut() {
                last.end = end;
                in_token += 1;
            }
        }
        tokens
    }

    #[test]
    fn parts_by_hand() {
        let text = "one two three four five six seven";
        let split = |length, overlap| -> Vec<&str> {
            parts(text, &tokens(text), length, overlap).into_iter().map(|part| &text[part]).collect()
        };
        // Tokens: one two thr ee fou r fiv e six sev en.
        assert_eq!(split(11, 2), [text]);
        assert_eq!(split(4, 0), ["one two three ", "four five ", "six seven"]);
        assert_eq!(split(4, 1), ["one two three ", "three four ", "four five ", "five six ", "six seven"]);
        assert_eq!(
            split(1, 0),
            ["one ", "two ", "thr", "ee ", "fou", "r ", "fiv", "e ", "six ", "sev", "en"]
        );
        assert_eq!(parts("", &[], 4, 1), vec![0..0; 1]);
    }

    proptest! {
        /// Parts cover the text in order, each with at most `length` tokens and `overlap` of the one before, and each
        /// ends further than that. Without overlap a word is cut only if it is longer than a part.
        #[test]
        fn parts_cover_the_text(text in "[a-dü ]{0,80}", length in 1usize..12, overlap in 0usize..11) {
            let overlap = overlap.min(length - 1);
            let tokens = tokens(&text);
            let parts = parts(&text, &tokens, length, overlap);
            prop_assert_eq!((parts[0].start, parts.last().unwrap().end), (0, text.len()));
            let within = |part: &Range<usize>| {
                tokens.iter().filter(|token| token.start >= part.start && token.end <= part.end).count()
            };
            for part in &parts {
                prop_assert!(within(part) <= length, "{:?}", &text[part.clone()]);
            }
            for pair in parts.windows(2) {
                prop_assert!(pair[0].start < pair[1].start && pair[0].end < pair[1].end);
                prop_assert!(pair[1].start <= pair[0].end, "nothing is left out");
                prop_assert!(within(&(pair[1].start..pair[0].end)) >= overlap);
                let cuts_word = !text[..pair[0].end].ends_with(char::is_whitespace);
                let words = text[pair[0].clone()].split_whitespace().count();
                prop_assert!(overlap > 0 || !cuts_word || words == 1, "{}", &text[pair[0].clone()]);
            }
        }
    }

    /// Each passage has the title, the encoder cuts none, and the last one has the end of the text.
    #[test]
    fn documents_become_passages() {
        let encoder = default_encoder(&LoadOptions::default()).unwrap();
        let words: Vec<String> = (0..900).map(|number| format!("word{number}")).collect();
        let document = Document::new("1", words.join(" ")).title("A title");
        let passages = Passages { length: 40, overlap: 10 };
        passages.check(&encoder).unwrap();
        let parts = passages.of(&document, " — ", &encoder).unwrap();
        assert!(parts.len() > 20, "{}", parts.len());
        assert!(parts.iter().all(|part| part.starts_with("A title — word")));
        assert!(parts.last().unwrap().ends_with("word899"));
        let borrowed: Vec<&str> = parts.iter().map(String::as_str).collect();
        let special = encoder.tokenize(&["a"], TextKind::Passage).unwrap()[0].len() - 1;
        let lengths = encoder.tokenize(&borrowed, TextKind::Passage).unwrap();
        assert!(lengths.iter().all(|ids| ids.len() <= 40 + special));
        assert_eq!(encoder.num_cut_texts(), 0);

        // A title as long as a text is split, too; nothing is one passage.
        let titled = Document::new("2", "the text").title(words.join(" "));
        let parts = passages.of(&titled, " ", &encoder).unwrap();
        assert!(parts.len() > 20 && parts.last().unwrap().ends_with("the text"));
        assert_eq!(passages.of(&Document::new("3", ""), " ", &encoder).unwrap(), [""]);
        let error = Passages { length: 100_000, overlap: 0 }.check(&encoder).unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("reads"), "{error}");
    }
}
