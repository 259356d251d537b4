//! Languages: what Lucene's analyzer of each does to a word, one row a language.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::filters::{self, StopWords};
use super::letters::{self, Letters};
use super::light;
use super::stop_words;

/// The filters of a language, in the order in which a word passes them.
#[derive(Clone, Copy)]
pub(super) struct Language {
    /// What goes before the word is looked at.
    apostrophe: Apostrophe,
    case: fn(&str, &mut String),
    stop_words: StopWords,
    /// Words that are not left to the stemmer, and their stems.
    exceptions: &'static [(&'static str, &'static str)],
    stems: Stems,
}

#[derive(Clone, Copy)]
enum Apostrophe {
    Stays,
    /// An article, in lower case, goes with its apostrophe, as "l" of "l'avion".
    Elides(&'static [&'static str]),
    /// The apostrophe goes, and what follows it.
    Ends,
}

#[derive(Clone, Copy)]
enum Stems {
    /// Snowball's algorithms of 2017, which are those of Lucene 8.
    Snowball(rust_stemmers::Algorithm),
    /// The same, for a word with letters exchanged: the pairs.
    Exchanged(rust_stemmers::Algorithm, [(char, char); 2]),
    /// Snowball's algorithms of today, where they are those of Lucene 8.
    NewSnowball(frostem::Algorithm),
    Light(fn(&mut Letters)),
}

const fn language(stop_words: &'static [&'static str], stems: Stems) -> Language {
    Language {
        apostrophe: Apostrophe::Stays,
        case: filters::lower_case,
        stop_words: StopWords(stop_words),
        exceptions: &[],
        stems,
    }
}

const fn eliding(articles: &'static [&'static str], language: Language) -> Language {
    Language { apostrophe: Apostrophe::Elides(articles), ..language }
}

use Stems::{Exchanged, Light, NewSnowball, Snowball};
use frostem::Algorithm as New;
use rust_stemmers::Algorithm as Old;

pub(super) const ARABIC: Language =
    Language { case: lower_case_and_digits, ..language(stop_words::ARABIC, Light(light::arabic)) };
pub(super) const ARMENIAN: Language = language(stop_words::ARMENIAN, NewSnowball(New::Armenian));
pub(super) const BASQUE: Language = language(stop_words::BASQUE, NewSnowball(New::Basque));
pub(super) const CATALAN: Language =
    eliding(&["d", "l", "m", "n", "s", "t"], language(stop_words::CATALAN, NewSnowball(New::Catalan)));
pub(super) const CZECH: Language = language(stop_words::CZECH, Light(light::czech));
pub(super) const DANISH: Language = language(stop_words::DANISH, Snowball(Old::Danish));
pub(super) const DUTCH: Language = Language {
    exceptions: &[("fiets", "fiets"), ("bromfiets", "bromfiets"), ("ei", "eier"), ("kind", "kinder")],
    ..language(stop_words::DUTCH, Snowball(Old::Dutch))
};
pub(super) const FINNISH: Language = language(stop_words::FINNISH, Snowball(Old::Finnish));
pub(super) const FRENCH: Language = eliding(
    &["l", "m", "t", "qu", "n", "s", "j", "d", "c", "jusqu", "quoiqu", "lorsqu", "puisqu"],
    language(stop_words::FRENCH, Light(light::french)),
);
pub(super) const GERMAN: Language = language(stop_words::GERMAN, Light(light::german));
// Lucene 8 has Snowball's first version, in which õ and û stand for the long vowels ő and ű.
pub(super) const HUNGARIAN: Language =
    language(stop_words::HUNGARIAN, Exchanged(Old::Hungarian, [('ő', 'õ'), ('ű', 'û')]));
pub(super) const ITALIAN: Language = eliding(
    &[
        "c", "l", "all", "dall", "dell", "nell", "sull", "coll", "pell", "gl", "agl", "dagl", "degl", "negl",
        "sugl", "un", "m", "t", "s", "v", "d",
    ],
    language(stop_words::ITALIAN, Light(light::italian)),
);
pub(super) const NORWEGIAN: Language = language(stop_words::NORWEGIAN, Snowball(Old::Norwegian));
pub(super) const PORTUGUESE: Language = language(stop_words::PORTUGUESE, Light(light::portuguese));
pub(super) const ROMANIAN: Language = language(stop_words::ROMANIAN, Snowball(Old::Romanian));
pub(super) const RUSSIAN: Language = language(stop_words::RUSSIAN, Snowball(Old::Russian));
pub(super) const SPANISH: Language = language(stop_words::SPANISH, Light(light::spanish));
pub(super) const SWEDISH: Language = language(stop_words::SWEDISH, Snowball(Old::Swedish));
pub(super) const TURKISH: Language = Language {
    apostrophe: Apostrophe::Ends,
    case: filters::turkish_lower_case,
    ..language(stop_words::TURKISH, Snowball(Old::Turkish))
};

fn lower_case_and_digits(word: &str, out: &mut String) {
    filters::lower_case(word, out);
    if out.chars().any(|c| !c.is_ascii() && c.general_category() == GeneralCategory::DecimalNumber) {
        *out = out.chars().map(filters::ascii_digit).collect();
    }
}

/// A language at work.
pub(super) struct LanguageChain {
    language: Language,
    stemmer: Stemmer,
    letters: Letters,
    lower: String,
    stem: String,
}

enum Stemmer {
    Snowball(rust_stemmers::Stemmer),
    NewSnowball(frostem::Stemmer),
    Light(fn(&mut Letters)),
}

impl LanguageChain {
    pub fn new(language: Language) -> LanguageChain {
        let stemmer = match language.stems {
            Snowball(algorithm) | Exchanged(algorithm, _) => {
                Stemmer::Snowball(rust_stemmers::Stemmer::create(algorithm))
            }
            NewSnowball(algorithm) => Stemmer::NewSnowball(frostem::Stemmer::new(algorithm)),
            Light(stemmer) => Stemmer::Light(stemmer),
        };
        LanguageChain {
            language,
            stemmer,
            letters: Letters::default(),
            lower: String::new(),
            stem: String::new(),
        }
    }

    /// The term of a word, or `None` if it is left out.
    pub fn term(&mut self, word: &str) -> Option<&str> {
        let word = match self.language.apostrophe {
            Apostrophe::Stays => word,
            Apostrophe::Elides(articles) => filters::without_article(word, articles),
            Apostrophe::Ends => filters::before_apostrophe(word),
        };
        (self.language.case)(word, &mut self.lower);
        if self.language.stop_words.contains(&self.lower) {
            return None;
        }
        self.stem();
        Some(&self.stem)
    }

    /// Makes `stem` of `lower`.
    fn stem(&mut self) {
        let LanguageChain { language, stemmer, letters, lower, stem } = self;
        if let Some((_, to)) = language.exceptions.iter().find(|(word, _)| word == lower) {
            stem.clear();
            stem.push_str(to);
            return;
        }
        if let Stemmer::Light(light) = stemmer {
            letters.read(lower);
            light(letters);
            letters.write(stem);
            return;
        }
        if let Exchanged(_, pairs) = language.stems {
            exchange(lower, &pairs);
        }
        // Snowball counts characters, where Lucene has pairs.
        let has_pairs = lower.chars().any(|c| c.len_utf16() > 1);
        if has_pairs {
            *lower = letters::units(lower).collect();
        }
        let snowball = match stemmer {
            Stemmer::Snowball(stemmer) => stemmer.stem(lower),
            Stemmer::NewSnowball(stemmer) => stemmer.stem(lower),
            Stemmer::Light(_) => return,
        };
        stem.clear();
        match has_pairs {
            true => stem.extend(letters::characters(snowball.chars())),
            false => stem.push_str(&snowball),
        }
        if let Exchanged(_, pairs) = language.stems {
            exchange(stem, &pairs);
        }
    }
}

/// Puts each letter of a pair in the place of the other.
fn exchange(word: &mut String, pairs: &[(char, char)]) {
    let other = |c: char| {
        let pair = pairs.iter().find(|(a, b)| *a == c || *b == c);
        pair.map_or(c, |(a, b)| if *a == c { *b } else { *a })
    };
    if !word.is_ascii() {
        *word = word.chars().map(other).collect();
    }
}
