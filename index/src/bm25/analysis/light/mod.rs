//! Light stemmers, which take off what marks number, gender and case, and leave what makes words of words.
//!
//! Those of French, German, Italian, Portuguese and Spanish are Jacques Savoy's. They are described in "Light
//! Stemming Approaches for the French, Portuguese, German and Hungarian Languages", 2006, and "Report on CLEF-2001
//! Experiments". Bulgarian is his too: "Searching Strategies for the Bulgarian Language", 2007. That of Arabic
//! follows light10: L. S. Larkey, L. Ballesteros and M. E. Connell, "Light Stemming for Arabic Information
//! Retrieval", 2007. That of Czech is L. Dolamic's and J. Savoy's: "Indexing and stemming approaches for the Czech
//! language", 2009. The endings of Hindi are those of A. Ramanathan and D. D. Rao, "A Lightweight Stemmer for Hindi",
//! 2003. Those of Bengali are of P. Sengupta and B. B. Chaudhuri, "Natural Language Processing in an Indian Language
//! (Bengali)-I: Verb Phrase Analysis". Indonesian is F. Z. Tala's: "A Study of Stemming Effects on Information
//! Retrieval in Bahasa Indonesia", 2003. Latvian takes the endings of nouns and adjectives of K. Kreslins, "A
//! Stemming Algorithm for Latvian". Greek is G. Ntais's: "Development of a Stemmer for the Greek Language", 2006.
//! Galician has the rules of the Biblioteca Virtual Galega, in the form of RSLP: V. M. Orengo and C. Huyck, "A
//! Stemming Algorithm for the Portuguese Language", 2001. The lengths of words and the order of rules are those of
//! Lucene's filters.

mod arabic;
mod bulgarian;
mod czech;
mod french;
mod galician;
mod german;
mod greek;
mod iberian;
mod indic;
mod indonesian;
mod italian;
mod latvian;
mod persian;
mod sorani;

pub(super) use arabic::arabic;
pub(super) use bulgarian::bulgarian;
pub(super) use czech::czech;
pub(super) use french::french;
pub(super) use galician::galician;
pub(super) use german::german;
pub(super) use greek::{greek, greek_spelling};
pub(super) use iberian::{portuguese, spanish};
pub(super) use indic::{bengali, bengali_spelling, hindi, hindi_spelling};
pub(super) use indonesian::indonesian;
pub(super) use italian::italian;
pub(super) use latvian::latvian;
pub(super) use persian::persian_spelling;
pub(super) use sorani::{sorani, sorani_spelling};

/// Vowels with marks and those without, as Spanish and Italian fold them.
const VOWELS: &[(&str, char)] = &[("àáâä", 'a'), ("òóôö", 'o'), ("èéêë", 'e'), ("ùúûü", 'u'), ("ìíîï", 'i')];
