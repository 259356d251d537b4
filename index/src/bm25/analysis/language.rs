//! Languages: what Lucene's analyzer of each does to a word, one row a language.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use super::filters::{self, StopWords};
use super::letters::{self, Letters};
use super::light;
use super::stop_words;

/// The filters of a language, in the order in which a word passes them.
#[derive(Clone, Copy)]
pub(super) struct Language {
    /// Whether a zero width non-joiner parts words.
    non_joiner_parts: bool,
    /// What is left out in any case, with or without an apostrophe to come.
    particles: &'static [&'static str],
    /// What goes before the word is looked at.
    apostrophe: Apostrophe,
    case: fn(&str, &mut String),
    /// Makes one spelling of many.
    spelling: Option<fn(&mut Letters)>,
    stop_words: StopWords,
    /// Letters that the stemmer knows by others: each is put in the other's place.
    exchanged: &'static [(char, char)],
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
    /// Snowball's algorithms of today, where they are those of Lucene 8.
    NewSnowball(frostem::Algorithm),
    Light(fn(&mut Letters)),
    None,
}

const fn language(stop_words: &'static [&'static str], stems: Stems) -> Language {
    Language {
        non_joiner_parts: false,
        particles: &[],
        apostrophe: Apostrophe::Stays,
        case: filters::lower_case,
        spelling: None,
        stop_words: StopWords::new(stop_words),
        exchanged: &[],
        exceptions: &[],
        stems,
    }
}

const fn spelling(spelling: fn(&mut Letters), language: Language) -> Language {
    Language { spelling: Some(spelling), ..language }
}

const fn eliding(articles: &'static [&'static str], language: Language) -> Language {
    Language { apostrophe: Apostrophe::Elides(articles), ..language }
}

use Stems::{Light, NewSnowball, Snowball};
use frostem::Algorithm as New;
use rust_stemmers::Algorithm as Old;

pub(super) const ARABIC: Language =
    Language { case: lower_case_and_digits, ..language(stop_words::ARABIC, Light(light::arabic)) };
pub(super) const ARMENIAN: Language = language(stop_words::ARMENIAN, NewSnowball(New::Armenian));
pub(super) const BASQUE: Language = language(stop_words::BASQUE, NewSnowball(New::Basque));
pub(super) const BENGALI: Language = spelling(
    light::bengali_spelling,
    Language { case: lower_case_and_digits, ..language(stop_words::BENGALI, Light(light::bengali)) },
);
pub(super) const BULGARIAN: Language = language(stop_words::BULGARIAN, Light(light::bulgarian));
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
pub(super) const GALICIAN: Language = language(stop_words::GALICIAN, Light(light::galician));
pub(super) const GERMAN: Language = language(stop_words::GERMAN, Light(light::german));
pub(super) const GREEK: Language =
    spelling(light::greek_spelling, language(stop_words::GREEK, Light(light::greek)));
pub(super) const HINDI: Language = spelling(
    light::hindi_spelling,
    Language { case: lower_case_and_digits, ..language(stop_words::HINDI, Light(light::hindi)) },
);
// Lucene 8 has Snowball's first version, in which õ and û stand for the long vowels ő and ű.
pub(super) const HUNGARIAN: Language = Language {
    exchanged: &[('ő', 'õ'), ('ű', 'û')],
    ..language(stop_words::HUNGARIAN, Snowball(Old::Hungarian))
};
pub(super) const INDONESIAN: Language = language(stop_words::INDONESIAN, Light(light::indonesian));
pub(super) const IRISH: Language = Language {
    particles: &["h", "n", "t"],
    case: filters::irish_lower_case,
    ..eliding(&["d", "m", "b"], language(stop_words::IRISH, NewSnowball(New::Irish)))
};
pub(super) const ITALIAN: Language = eliding(
    &[
        "c", "l", "all", "dall", "dell", "nell", "sull", "coll", "pell", "gl", "agl", "dagl", "degl", "negl",
        "sugl", "un", "m", "t", "s", "v", "d",
    ],
    language(stop_words::ITALIAN, Light(light::italian)),
);
pub(super) const LATVIAN: Language = language(stop_words::LATVIAN, Light(light::latvian));
pub(super) const NORWEGIAN: Language = language(stop_words::NORWEGIAN, Snowball(Old::Norwegian));
pub(super) const PERSIAN: Language = Language {
    non_joiner_parts: true,
    case: lower_case_and_digits,
    ..spelling(light::persian_spelling, language(stop_words::PERSIAN, Stems::None))
};
pub(super) const PORTUGUESE: Language = language(stop_words::PORTUGUESE, Light(light::portuguese));
pub(super) const ROMANIAN: Language = language(stop_words::ROMANIAN, Snowball(Old::Romanian));
pub(super) const RUSSIAN: Language = language(stop_words::RUSSIAN, Snowball(Old::Russian));
pub(super) const SORANI: Language = spelling(
    light::sorani_spelling,
    Language { case: lower_case_and_digits, ..language(stop_words::SORANI, Light(light::sorani)) },
);
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
    None,
    Snowball(rust_stemmers::Stemmer),
    NewSnowball(frostem::Stemmer),
    Light(fn(&mut Letters)),
}

impl LanguageChain {
    pub fn new(language: Language) -> LanguageChain {
        let stemmer = match language.stems {
            Snowball(algorithm) => Stemmer::Snowball(rust_stemmers::Stemmer::create(algorithm)),
            NewSnowball(algorithm) => Stemmer::NewSnowball(frostem::Stemmer::new(algorithm)),
            Light(stemmer) => Stemmer::Light(stemmer),
            Stems::None => Stemmer::None,
        };
        LanguageChain {
            language,
            stemmer,
            letters: Letters::default(),
            lower: String::new(),
            stem: String::new(),
        }
    }

    /// Whether a zero width non-joiner parts words.
    pub fn non_joiner_parts(&self) -> bool {
        self.language.non_joiner_parts
    }

    /// The term of a word, or `None` if it is left out.
    pub fn term(&mut self, word: &str) -> Option<&str> {
        if self.language.particles.iter().any(|particle| particle.eq_ignore_ascii_case(word)) {
            return None;
        }
        let word = match self.language.apostrophe {
            Apostrophe::Stays => word,
            Apostrophe::Elides(articles) => filters::without_article(word, articles),
            Apostrophe::Ends => filters::before_apostrophe(word),
        };
        (self.language.case)(word, &mut self.lower);
        if let Some(spelling) = self.language.spelling {
            self.letters.read(&self.lower);
            spelling(&mut self.letters);
            self.letters.write(&mut self.lower);
        }
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
        if let Stemmer::None = stemmer {
            stem.clone_from(lower);
            return;
        }
        if let Stemmer::Light(light) = stemmer {
            letters.read(lower);
            light(letters);
            letters.write(stem);
            return;
        }
        exchange(lower, language.exchanged);
        // Snowball counts characters, where Lucene has pairs.
        let has_pairs = lower.chars().any(|c| c.len_utf16() > 1);
        if has_pairs {
            *lower = letters::units(lower).collect();
        }
        let snowball = match stemmer {
            Stemmer::Snowball(stemmer) => stemmer.stem(lower),
            Stemmer::NewSnowball(stemmer) => stemmer.stem(lower),
            Stemmer::Light(_) | Stemmer::None => return,
        };
        stem.clear();
        match has_pairs {
            true => stem.extend(letters::characters(snowball.chars())),
            false => stem.push_str(&snowball),
        }
        exchange(stem, language.exchanged);
    }
}

/// Puts each letter of a pair in the place of the other.
fn exchange(word: &mut String, pairs: &[(char, char)]) {
    let other = |c: char| {
        let pair = pairs.iter().find(|(a, b)| *a == c || *b == c);
        pair.map_or(c, |(a, b)| if *a == c { *b } else { *a })
    };
    if word.contains(|c| other(c) != c) {
        *word = word.chars().map(other).collect();
    }
}
