//! Light stemmers, which take off what marks number, gender and case, and leave what makes words of words.
//!
//! Those of French, German, Italian, Portuguese and Spanish are Jacques Savoy's. They are described in "Light Stemming
//! Approaches for the French, Portuguese, German and Hungarian Languages", 2006, and "Report on CLEF-2001
//! Experiments". That of Arabic follows light10: L. S. Larkey, L. Ballesteros and M. E. Connell, "Light Stemming for
//! Arabic Information Retrieval", 2007. That of Czech is L. Dolamic's and J. Savoy's: "Indexing and stemming approaches
//! for the Czech language", 2009. The lengths of words and the order of rules are those of Lucene's filters.

mod arabic;
mod czech;
mod french;
mod german;
mod iberian;
mod italian;

pub(super) use arabic::arabic;
pub(super) use czech::czech;
pub(super) use french::french;
pub(super) use german::german;
pub(super) use iberian::{portuguese, spanish};
pub(super) use italian::italian;

/// Vowels with marks and those without, as Spanish and Italian fold them.
const VOWELS: &[(&str, char)] = &[("àáâä", 'a'), ("òóôö", 'o'), ("èéêë", 'e'), ("ùúûü", 'u'), ("ìíîï", 'i')];
