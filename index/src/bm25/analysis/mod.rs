//! Text to terms, as Lucene's analyzers do it.
//!
//! An analyzer is the words of a text and a chain of filters, each of which changes or leaves out terms. All of them
//! give the terms of Lucene 8.7, which `index/tests/fixtures/lucene` has recorded.

mod cjk;
#[rustfmt::skip]
mod classes;
#[rustfmt::skip]
mod compositions;
mod filters;
mod former;
#[rustfmt::skip]
mod galician_rules;
mod language;
mod letters;
mod light;
mod porter;
mod published;
#[rustfmt::skip]
mod stop_words;
mod words;

use std::ops::Range;

use cjk::Bigrams;
use former::Former;
use language::{Language, LanguageChain};
use porter::Stemmer;
use secateur_files::UnknownName;

/// How texts become terms. The names are those of Lucene's analyzers, `EnglishAnalyzer` and so on.
///
/// A database keeps its analyzer: queries are analyzed as the documents were. The analyzers of languages leave out stop
/// words, and make stems of the others.
///
/// ```
/// use secateur_index::bm25::Analyzer;
///
/// assert_eq!(Analyzer::English.analyze("The cat's whiskers: 3.5 cm! 🚀"), ["cat", "whisker", "3.5", "cm", "🚀"]);
/// assert_eq!(Analyzer::Cjk.analyze("東京都 cats"), ["東京", "京都", "cats"]);
/// assert_eq!("cjk".parse(), Ok(Analyzer::Cjk));
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::Display,
    strum::VariantArray,
    strum::VariantNames,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
#[non_exhaustive]
pub enum Analyzer {
    /// English: possessives and 33 stop words go, words are stemmed by Porter's algorithm.
    #[default]
    English,
    /// Words in lower case, of any language.
    Standard,
    /// Chinese, Japanese and Korean: pairs of neighboring characters; other words in lower case, without stop words.
    Cjk,
    /// Arabic: light stems; digits of any script are those of ASCII.
    Arabic,
    /// Armenian: stems of Snowball.
    Armenian,
    /// Basque: stems of Snowball.
    Basque,
    /// Bengali: letters of one sound are one, digits of any script are those of ASCII, light stems.
    Bengali,
    /// Bulgarian: light stems.
    Bulgarian,
    /// Catalan: articles with an apostrophe go, stems of Snowball.
    Catalan,
    /// Czech: light stems.
    Czech,
    /// Danish: stems of Snowball.
    Danish,
    /// Dutch: stems of Snowball.
    Dutch,
    /// Finnish: stems of Snowball.
    Finnish,
    /// French: articles with an apostrophe go, light stems.
    French,
    /// Galician: stems of RSLP.
    Galician,
    /// German: ae, oe, ue and ß are as ä, ö, ü and ss, light stems.
    German,
    /// Greek: letters without marks, stems of Ntais.
    Greek,
    /// Hindi: letters of one sound are one, digits of any script are those of ASCII, light stems.
    Hindi,
    /// Hungarian: stems of Snowball.
    Hungarian,
    /// Indonesian: stems of Tala.
    Indonesian,
    /// Irish: articles with an apostrophe go, and prefixed letters are parted, stems of Snowball.
    Irish,
    /// Italian: articles with an apostrophe go, light stems.
    Italian,
    /// Latvian: light stems.
    Latvian,
    /// Norwegian: stems of Snowball.
    Norwegian,
    /// Persian: letters of Arabic and Persian are one, digits of any script are those of ASCII, no stems.
    Persian,
    /// Portuguese: light stems.
    Portuguese,
    /// Romanian: stems of Snowball.
    Romanian,
    /// Russian: stems of Snowball.
    Russian,
    /// Sorani, Kurdish in Arabic letters: one letter for each sound, digits of any script are those of ASCII, light
    /// stems.
    Sorani,
    /// Spanish: light stems.
    Spanish,
    /// Swedish: stems of Snowball.
    Swedish,
    /// Turkish: what follows an apostrophe goes, I without a dot is another letter, stems of Snowball.
    Turkish,
}

fn unknown(name: &str) -> UnknownName {
    UnknownName::of::<Analyzer>("an analyzer", name)
}

impl Analyzer {
    /// Each of them.
    pub const ALL: &[Analyzer] = <Analyzer as strum::VariantArray>::VARIANTS;

    /// The name used in files and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The terms of a text, in order.
    pub fn analyze(self, text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        Analysis::new(Some(self)).for_each_term(text, |term| terms.push(term.to_owned()));
        terms
    }

    /// Calls `visit` with each term of a text, in order, and with the bytes of the text that it was made of. Neither
    /// their first bytes nor their last ones ever go back. Terms of neighboring characters overlap.
    ///
    /// ```
    /// use secateur_index::bm25::Analyzer;
    ///
    /// let (text, mut found) = ("修剪玫瑰", Vec::new());
    /// Analyzer::Cjk.for_each_token(text, |_, place| found.push(&text[place]));
    /// assert_eq!(found, ["修剪", "剪玫", "玫瑰"]);
    /// ```
    pub fn for_each_token(self, text: &str, visit: impl FnMut(&str, Range<usize>)) {
        Analysis::new(Some(self)).for_each_token(text, visit);
    }

    /// What makes it an analyzer of a language, unless it is one of those with filters of their own.
    fn language(self) -> Option<Language> {
        Some(match self {
            Analyzer::English | Analyzer::Standard | Analyzer::Cjk => return None,
            Analyzer::Arabic => language::ARABIC,
            Analyzer::Armenian => language::ARMENIAN,
            Analyzer::Basque => language::BASQUE,
            Analyzer::Bengali => language::BENGALI,
            Analyzer::Bulgarian => language::BULGARIAN,
            Analyzer::Catalan => language::CATALAN,
            Analyzer::Czech => language::CZECH,
            Analyzer::Danish => language::DANISH,
            Analyzer::Dutch => language::DUTCH,
            Analyzer::Finnish => language::FINNISH,
            Analyzer::French => language::FRENCH,
            Analyzer::Galician => language::GALICIAN,
            Analyzer::German => language::GERMAN,
            Analyzer::Greek => language::GREEK,
            Analyzer::Hindi => language::HINDI,
            Analyzer::Hungarian => language::HUNGARIAN,
            Analyzer::Indonesian => language::INDONESIAN,
            Analyzer::Irish => language::IRISH,
            Analyzer::Italian => language::ITALIAN,
            Analyzer::Latvian => language::LATVIAN,
            Analyzer::Norwegian => language::NORWEGIAN,
            Analyzer::Persian => language::PERSIAN,
            Analyzer::Portuguese => language::PORTUGUESE,
            Analyzer::Romanian => language::ROMANIAN,
            Analyzer::Russian => language::RUSSIAN,
            Analyzer::Sorani => language::SORANI,
            Analyzer::Spanish => language::SPANISH,
            Analyzer::Swedish => language::SWEDISH,
            Analyzer::Turkish => language::TURKISH,
        })
    }
}

/// An analyzer at work, with scratch space that is reused from word to word.
pub(crate) struct Analysis {
    chain: Chain,
    term: String,
}

const NON_JOINER: char = '\u{200c}';

enum Chain {
    Former(Former),
    English(Stemmer),
    Standard,
    Cjk(Bigrams),
    Language(Box<LanguageChain>),
}

impl Analysis {
    /// `None` is how texts became terms in databases that do not name their analyzer.
    pub fn new(analyzer: Option<Analyzer>) -> Analysis {
        let chain = match (analyzer, analyzer.and_then(Analyzer::language)) {
            (None, _) => Chain::Former(Former::default()),
            (_, Some(language)) => Chain::Language(Box::new(LanguageChain::new(language))),
            (Some(Analyzer::Standard), _) => Chain::Standard,
            (Some(Analyzer::Cjk), _) => Chain::Cjk(Bigrams::default()),
            (Some(_), None) => Chain::English(Stemmer::default()),
        };
        Analysis { chain, term: String::new() }
    }

    /// Calls `visit` with each term of `text`, in order.
    pub fn for_each_term(&mut self, text: &str, mut visit: impl FnMut(&str)) {
        self.for_each_token(text, |term, _| visit(term));
    }

    /// Calls `visit` with each term of `text`, in order, and with the bytes of the text that it was made of.
    pub fn for_each_token(&mut self, text: &str, mut visit: impl FnMut(&str, Range<usize>)) {
        let Analysis { chain, term } = self;
        if let Chain::Former(former) = chain {
            return former.for_each_token(text, visit);
        }
        let parted;
        let text = match chain {
            Chain::Language(language) if language.non_joiner_parts() && text.contains(NON_JOINER) => {
                // As long as what it replaces, so that words stay where they are.
                parted = text.replace(NON_JOINER, "   ");
                &parted
            }
            _ => text,
        };
        let words = words::words(text);
        match chain {
            Chain::Former(_) => {}
            Chain::English(stemmer) => {
                for word in words {
                    filters::lower_case(filters::without_possessive(word.text), term);
                    if !filters::ENGLISH_STOP_WORDS.contains(term) {
                        visit(&stemmer.stem(term), word.place());
                    }
                }
            }
            Chain::Standard => {
                for word in words {
                    filters::lower_case(word.text, term);
                    visit(term, word.place());
                }
            }
            Chain::Language(language) => {
                for word in words {
                    if let Some(term) = language.term(word.text) {
                        visit(term, word.place());
                    }
                }
            }
            Chain::Cjk(bigrams) => {
                let mut visit = |term: &str, place: Range<usize>| {
                    if !filters::CJK_STOP_WORDS.contains(term) {
                        visit(term, place);
                    }
                };
                for word in words {
                    term.clear();
                    term.push_str(word.text);
                    cjk::fold_width(term);
                    let folded = std::mem::take(term);
                    filters::lower_case(&folded, term);
                    bigrams.add(&word, term, &mut visit);
                }
                bigrams.finish(&mut visit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each step does, one row a case. The expected terms follow from the definitions of the filters.
    #[test]
    fn terms_of_texts() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \n\t ,;!", &[]),
            ("The THE the", &[]),
            ("dog's DOG\u{2019}S dogs", &["dog", "dog", "dog"]),
            // The possessive goes before the stop words do, so "it's" and "that's" vanish.
            ("it's that's can't", &["can't"]),
            ("e-mail U.S.A. 1,000.5 foo_bar", &["e", "mail", "u.s.a", "1,000.5", "foo_bar"]),
            // Case folds letter by letter, as in Java: no final sigma, no dot left of İ.
            ("naïve CAFÉ ΣΑΣ İSTANBUL", &["naïv", "café", "σασ", "istanbul"]),
            ("running ponies caresses", &["run", "poni", "caress"]),
            ("日本", &["日", "本"]),
            ("made in 🇩🇪 by hand 👍🏽", &["made", "🇩🇪", "hand", "👍🏽"]),
        ];
        for (text, terms) in cases {
            assert_eq!(&Analyzer::English.analyze(text), terms, "{text:?}");
        }
    }

    #[test]
    fn long_words_are_cut_not_dropped() {
        for (letter, expected) in [("é", vec![255, 255, 90]), ("𝒙", vec![127, 127, 127, 127, 92])] {
            let terms = Analyzer::English.analyze(&letter.repeat(600));
            let lengths: Vec<usize> = terms.iter().map(|term| term.chars().count()).collect();
            assert_eq!(lengths, expected);
        }
    }

    #[test]
    fn bigrams_are_of_neighbors() {
        let cases: &[(&str, &[&str])] = &[
            ("東", &["東"]),
            ("東京 都", &["東京", "都"]),
            ("東京cats都", &["東京", "cats", "都"]),
            ("한국어 the", &["한국", "국어"]),
            ("ｶﾞｷﾞ Ｃａｔ", &["ガギ", "cat"]),
        ];
        for (text, terms) in cases {
            assert_eq!(&Analyzer::Cjk.analyze(text), terms, "{text:?}");
        }
    }

    /// Each term with the part of the text that it was made of.
    #[test]
    fn terms_know_their_places() {
        type Case<'a> = (Analyzer, &'a str, &'a [(&'a str, &'a str)]);
        let cases: &[Case<'_>] = &[
            (Analyzer::English, "the Dog's ponies, é", &[("dog", "Dog's"), ("poni", "ponies"), ("é", "é")]),
            (Analyzer::Standard, "Ein  Haus", &[("ein", "Ein"), ("haus", "Haus")]),
            (Analyzer::Persian, "a\u{200c}b", &[("a", "a"), ("b", "b")]),
            (Analyzer::Cjk, "東京都 Cats", &[("東京", "東京"), ("京都", "京都"), ("cats", "Cats")]),
            (Analyzer::Cjk, "カタカナ", &[("カタ", "カタ"), ("タカ", "タカ"), ("カナ", "カナ")]),
            // One letter of two characters: the place is that of the word.
            (Analyzer::Cjk, "x ｶﾞｷ", &[("x", "x"), ("ガキ", "ｶﾞｷ")]),
        ];
        for (analyzer, text, expected) in cases {
            let mut found = Vec::new();
            analyzer.for_each_token(text, |term, place| found.push((term.to_owned(), &text[place])));
            let found: Vec<(&str, &str)> = found.iter().map(|(term, part)| (term.as_str(), *part)).collect();
            assert_eq!(&found, expected, "{text:?}");
        }
        let mut places = Vec::new();
        Analysis::new(None).for_each_token("The dogs ran", |_, place| places.push(place));
        assert_eq!(places, [4..8, 9..12]);
    }
}
