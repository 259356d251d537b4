//! Training examples from plain texts that have no queries.

use std::collections::VecDeque;

use secateur_random::SplitMix64;

use super::example::TrainingExample;
use crate::document::Passage;
use crate::error::Result;

/// How texts become examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClozeOptions {
    /// A passage ends with the sentence in which it reaches this many words.
    pub passage_words: usize,
    /// Shorter sentences are no queries.
    pub min_query_words: usize,
    /// The query is a span of a sentence, of at most this many words and at least `min_query_words`, drawn at random.
    /// Without this it is the whole sentence. People's queries are shorter than sentences.
    pub max_query_words: Option<usize>,
    /// Decides which sentence of a passage is taken, and which span of it.
    pub seed: u64,
}

impl Default for ClozeOptions {
    /// Passages of 100 words, queries of 5 words or more, seed 42.
    fn default() -> ClozeOptions {
        ClozeOptions { passage_words: 100, min_query_words: 5, max_query_words: None, seed: 42 }
    }
}

/// The inverse cloze task (Lee et al. 2019, "Latent Retrieval for Weakly Supervised Open Domain Question Answering").
/// A text is cut into passages of whole sentences. One sentence of each passage is the query; the other sentences are
/// the positive.
///
/// A sentence ends with a full stop, question mark or exclamation mark before white space, or with a line. A passage
/// is left out if no sentence is long enough, or if it has only one sentence. Texts are read as examples are asked
/// for.
///
/// ```
/// use secateur_datasets::triples::{ClozeExamples, ClozeOptions};
/// use secateur_datasets::Passage;
///
/// let text = "Roses are pruned in late winter. Cut above an outward bud.".to_owned();
/// let texts = [Ok(Passage { title: String::new(), text })];
/// let options = ClozeOptions { min_query_words: 6, ..ClozeOptions::default() };
/// let example = ClozeExamples::new(texts.into_iter(), options).next().unwrap()?;
/// assert_eq!(example.query, "Roses are pruned in late winter.");
/// assert_eq!(example.positives, ["Cut above an outward bud."]);
/// # Ok::<(), secateur_datasets::Error>(())
/// ```
pub struct ClozeExamples<I> {
    texts: I,
    options: ClozeOptions,
    random: SplitMix64,
    passages: VecDeque<Vec<String>>,
}

impl<I: Iterator<Item = Result<Passage>>> ClozeExamples<I> {
    /// Examples of texts; a title is the first sentence of its text.
    pub fn new(texts: I, options: ClozeOptions) -> ClozeExamples<I> {
        let random = SplitMix64::new(options.seed);
        ClozeExamples { texts, options, random, passages: VecDeque::new() }
    }

    fn example(&mut self, mut sentences: Vec<String>) -> Option<TrainingExample> {
        let long: Vec<usize> = (0..sentences.len())
            .filter(|i| sentences[*i].split_whitespace().count() >= self.options.min_query_words)
            .collect();
        if long.is_empty() || sentences.len() < 2 {
            return None;
        }
        let sentence = sentences.remove(long[self.random.below(long.len() as u64) as usize]);
        let query = match self.options.max_query_words {
            Some(most) => self.span(&sentence, most),
            None => sentence,
        };
        Some(TrainingExample { query, positives: vec![sentences.join(" ")], ..TrainingExample::default() })
    }
}

impl<I> ClozeExamples<I> {
    /// Some words of a sentence, side by side: any number from the fewest to the most, and any place.
    fn span(&mut self, sentence: &str, most: usize) -> String {
        let words: Vec<&str> = sentence.split(' ').collect();
        let most = most.clamp(1, words.len());
        let least = self.options.min_query_words.clamp(1, most);
        let mut below = |end: usize| self.random.below(end as u64) as usize;
        let count = least + below(most - least + 1);
        let first = below(words.len() - count + 1);
        words[first..first + count].join(" ")
    }
}

impl<I: Iterator<Item = Result<Passage>>> Iterator for ClozeExamples<I> {
    type Item = Result<TrainingExample>;

    fn next(&mut self) -> Option<Result<TrainingExample>> {
        loop {
            while let Some(sentences) = self.passages.pop_front() {
                if let Some(example) = self.example(sentences) {
                    return Some(Ok(example));
                }
            }
            match self.texts.next()? {
                Ok(text) => self.passages = passages(&text, self.options.passage_words).into(),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The sentences of each passage of a text.
fn passages(text: &Passage, words: usize) -> Vec<Vec<String>> {
    let mut passages = Vec::new();
    let (mut current, mut count) = (Vec::new(), 0);
    for sentence in [&text.title, &text.text].into_iter().flat_map(|part| sentences(part)) {
        count += sentence.split_whitespace().count();
        current.push(sentence);
        if count >= words {
            passages.push(std::mem::take(&mut current));
            count = 0;
        }
    }
    if !current.is_empty() {
        passages.push(current);
    }
    passages
}

/// The sentences of a text, white space within them made one space.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in text.lines() {
        let mut sentence: Vec<&str> = Vec::new();
        for word in line.split_whitespace() {
            sentence.push(word);
            if word.trim_end_matches(['"', '\'', ')', '”', '’']).ends_with(['.', '?', '!']) {
                sentences.push(std::mem::take(&mut sentence).join(" "));
            }
        }
        if !sentence.is_empty() {
            sentences.push(sentence.join(" "));
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(text: &str, options: ClozeOptions) -> Vec<TrainingExample> {
        let texts = [Ok(Passage { title: String::new(), text: text.to_owned() })];
        ClozeExamples::new(texts.into_iter(), options).collect::<Result<_>>().expect("no text is an error")
    }

    #[test]
    fn sentences_end_where_they_should() {
        let text = "He said \"no.\" Then, at 3.5 degrees,\nit froze! Why?";
        let want = ["He said \"no.\"", "Then, at 3.5 degrees,", "it froze!", "Why?"];
        assert_eq!(sentences(text), want);
        assert!(sentences(" \n ").is_empty());
    }

    /// Queries and passages together hold every word of the text once.
    #[test]
    fn nothing_is_lost_but_what_is_too_short() {
        let text: String = (0..200).map(|i| format!("this is sentence number n{i}. ")).collect();
        let options = ClozeOptions { passage_words: 20, ..ClozeOptions::default() };
        let examples = examples(&text, options);
        assert_eq!(examples.len(), 50);
        let mut found: Vec<&str> = examples
            .iter()
            .flat_map(|example| example.query.split(' ').chain(example.positives[0].split(' ')))
            .collect();
        let mut all: Vec<&str> = text.split_whitespace().collect();
        found.sort_unstable();
        all.sort_unstable();
        assert_eq!(found, all);
        assert!(examples.iter().any(|example| example.query != examples[0].query));
    }

    /// A query of few words stands in a sentence as it is. The whole sentence leaves the passage.
    #[test]
    fn queries_may_be_spans() {
        let text: String = (0..400).map(|i| format!("a{i} b{i} c{i} d{i} e{i} f{i}. ")).collect();
        let whole = ClozeOptions { passage_words: 20, min_query_words: 2, ..ClozeOptions::default() };
        let spans = examples(&text, ClozeOptions { max_query_words: Some(4), ..whole.clone() });
        assert_eq!(spans.len(), examples(&text, whole).len());
        let mut lengths = [0; 8];
        for TrainingExample { query, positives, .. } in &spans {
            lengths[query.split(' ').count()] += 1;
            assert!(text.contains(query), "{query}");
            assert!(!positives[0].contains(query.trim_end_matches('.')), "{query}: {positives:?}");
            assert_eq!(positives[0].split(' ').count(), 18);
        }
        // 100 queries of 2, 3 and 4 words: fewer than 15 of one kind would be 4 deviations off.
        assert!(lengths[2..5].iter().all(|count| *count >= 15), "{lengths:?}");
        assert_eq!(lengths[2..5].iter().sum::<usize>(), spans.len());
        let first = |query: &str| query.starts_with('a');
        assert!(spans.iter().any(|e| first(&e.query)) && spans.iter().any(|e| !first(&e.query)));
    }

    #[test]
    fn what_makes_no_pair_is_left_out() {
        assert!(examples("Only one sentence of many words.", ClozeOptions::default()).is_empty());
        assert!(examples("Too short. Also this. And this.", ClozeOptions::default()).is_empty());
    }
}
