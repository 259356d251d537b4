//! Postings in memory, and tantivy's files of them.
//!
//! tantivy has a writer of its own, which gives the same files. But it takes each term through a tokenizer, a buffer
//! and a list of blocks, and sorts all terms on one thread. With few terms a document that took most of the time of
//! adding documents.

use std::io;

use tantivy::Segment;
use tantivy::index::SegmentComponent;
use tantivy::postings::{FieldSerializer, InvertedIndexSerializer};
use tantivy::schema::Field;

use crate::strings::{Interner, in_order};

/// The terms of documents that follow one another. A posting takes 4 bytes, or 8 where its term comes several times in
/// the document.
#[derive(Default)]
pub(super) struct Postings {
    terms: Interner,
    /// By the number of a term.
    of_terms: Vec<OfTerm>,
    /// The terms of the documents, each once a document: its number twice, and one more if its frequency, which then
    /// follows, is above 1. The order within a document says nothing.
    entries: Vec<u32>,
    /// Where the entries of each document end.
    ends: Vec<usize>,
    num_terms: u64,
    /// The terms of a document that is being added, with their frequencies.
    current: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Default)]
struct OfTerm {
    /// How many documents have it.
    num_documents: u32,
    /// The last of them, counted from 1.
    last: u32,
    /// Its place in [`Postings::current`], if that document is being added.
    at: u32,
}

impl Postings {
    /// The bytes of memory in use.
    pub fn num_bytes(&self) -> usize {
        self.terms.num_bytes()
            + size_of_val(&self.of_terms[..])
            + size_of_val(&self.entries[..])
            + size_of_val(&self.ends[..])
    }

    /// Adds a document with these terms.
    pub fn add<'t>(&mut self, terms: impl Iterator<Item = &'t str>) {
        self.current.clear();
        let document = self.ends.len() as u32 + 1;
        for term in terms {
            self.num_terms += 1;
            let number = self.terms.intern(term);
            // Entries are twice the number. A part with so many terms would have a document of several GiB of them.
            debug_assert!(number < 1 << 31, "a part of more than 2^31 different terms");
            if number as usize == self.of_terms.len() {
                self.of_terms.push(OfTerm::default());
            }
            let of_term = &mut self.of_terms[number as usize];
            if of_term.last == document {
                self.current[of_term.at as usize].1 += 1;
            } else {
                let at = self.current.len() as u32;
                *of_term = OfTerm { num_documents: of_term.num_documents + 1, last: document, at };
                self.current.push((number, 1));
            }
        }
        for (number, frequency) in &self.current {
            match frequency {
                1 => self.entries.push(2 * number),
                _ => self.entries.extend([2 * number + 1, *frequency]),
            }
        }
        self.ends.push(self.entries.len());
    }

    /// Writes the postings in place of the empty ones of a segment, whose other files are written.
    pub fn write(&self, segment: &Segment, field: Field) -> tantivy::Result<()> {
        let most = GROUP_BYTES.max(self.num_bytes() / 2) / size_of::<(u32, u32)>();
        self.write_in_groups(segment, field, most)
    }

    /// In groups of terms that have at most so many postings, or of one with more.
    fn write_in_groups(&self, segment: &Segment, field: Field, most: usize) -> tantivy::Result<()> {
        // tantivy writes nothing of a field without terms.
        if self.num_terms == 0 {
            return Ok(());
        }
        let directory = segment.index().directory();
        for empty in [SegmentComponent::Terms, SegmentComponent::Postings, SegmentComponent::Positions] {
            tantivy::Directory::delete(directory, &segment.relative_path(empty))
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        let mut files = InvertedIndexSerializer::open(segment)?;
        let mut of_field = files.new_field(field, self.num_terms, None)?;
        self.write_terms(&mut of_field, most)?;
        of_field.close()?;
        files.close()?;
        Ok(())
    }

    fn write_terms(&self, out: &mut FieldSerializer<'_>, most: usize) -> io::Result<()> {
        let order = in_order(self.terms.len() as u32, |number| self.terms.string(number));
        // Where the next posting of a term belongs among those of a group of terms.
        let mut next = vec![NONE; self.of_terms.len()];
        let mut postings = Vec::new();
        let mut rest = &order[..];
        while !rest.is_empty() {
            let (mut len, mut sum) = (0, 0);
            for number in rest {
                let num_documents = self.of_terms[*number as usize].num_documents;
                if len > 0 && sum as usize + num_documents as usize > most {
                    break;
                }
                next[*number as usize] = sum;
                sum += num_documents;
                len += 1;
            }
            let (group, others) = rest.split_at(len);
            rest = others;
            postings.resize(sum as usize, (0, 0));
            self.gather(&mut next, &mut postings);
            let mut start = 0;
            for number in group {
                // What is left is behind the term's last posting.
                let end = std::mem::replace(&mut next[*number as usize], NONE) as usize;
                out.new_term(self.terms.string(*number).as_bytes(), (end - start) as u32, true)?;
                for (document, frequency) in &postings[start..end] {
                    out.write_doc(*document, *frequency, &[]);
                }
                out.close_term()?;
                start = end;
            }
        }
        Ok(())
    }

    /// Puts the postings of some terms, each a document and a frequency, where `next` says.
    fn gather(&self, next: &mut [u32], postings: &mut [(u32, u32)]) {
        let mut start = 0;
        for (document, end) in (0..).zip(&self.ends) {
            let mut entries = self.entries[start..*end].iter();
            while let Some(entry) = entries.next() {
                let frequency = if entry % 2 == 1 { entries.next().copied().unwrap_or(1) } else { 1 };
                let next = &mut next[(entry / 2) as usize];
                if *next != NONE {
                    postings[*next as usize] = (document, frequency);
                    *next += 1;
                }
            }
            start = *end;
        }
    }
}

/// The postings that are ordered at a time take so many bytes, or half of what all take if that is more. All are gone
/// through for each such group.
const GROUP_BYTES: usize = 16 << 20;

/// No posting has this place.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tantivy::directory::RamDirectory;
    use tantivy::tokenizer::{TokenizerManager, WhitespaceTokenizer};
    use tantivy::{Directory, Index, SingleSegmentIndexWriter, TantivyDocument};

    use super::super::schema::{TOKENIZER, schema, settings};
    use super::*;

    /// The files of an index of these texts, whose terms stand between blanks, but for the files' names. The postings
    /// are those of tantivy's own writer, or ours in place of none, written in groups of so many.
    fn files(texts: &[String], ours: Option<usize>) -> Vec<(SegmentComponent, Vec<u8>)> {
        let (schema, field) = schema();
        let directory = RamDirectory::create();
        let tokenizers = TokenizerManager::new();
        tokenizers.register(TOKENIZER, WhitespaceTokenizer::default());
        let mut writer: SingleSegmentIndexWriter = Index::builder()
            .schema(schema)
            .settings(settings())
            .tokenizers(tokenizers)
            .single_segment_index_writer(directory.clone(), 1 << 20)
            .unwrap();
        let mut postings = Postings::default();
        for text in texts {
            let mut document = TantivyDocument::default();
            if ours.is_some() {
                postings.add(text.split_ascii_whitespace());
            } else {
                document.add_text(field, text);
            }
            writer.add_document(document).unwrap();
        }
        let segment = writer.finalize().unwrap().searchable_segments().unwrap().remove(0);
        if let Some(most) = ours {
            postings.write_in_groups(&segment, field, most).unwrap();
        }
        let components = [
            SegmentComponent::Terms,
            SegmentComponent::Postings,
            SegmentComponent::Positions,
            SegmentComponent::FastFields,
            SegmentComponent::FieldNorms,
        ];
        components
            .map(|component| {
                let path = segment.relative_path(component.clone());
                let bytes = directory.open_read(&path).unwrap().read_bytes().unwrap();
                (component, bytes.to_vec())
            })
            .to_vec()
    }

    proptest! {
        /// Byte for byte what tantivy's writer writes.
        #[test]
        fn as_tantivy_writes_them(
            texts in prop::collection::vec("([ab]|ü|longer than eight [xy]|[0-9]{1,3}| ){0,20}", 0..60),
            most in prop::sample::select(vec![1, 10, 1000]),
        ) {
            prop_assert_eq!(files(&texts, Some(most)), files(&texts, None));
        }
    }

    /// So many that terms have blocks and are sorted in parallel, and that they are written in several groups.
    #[test]
    fn many_documents() {
        let text = |number: usize| format!("every {number} w{} w{} w{0}", number % 3, number % 1000);
        let texts: Vec<String> = (0..20_000).map(text).collect();
        assert_eq!(files(&texts, Some(7_000)), files(&texts, None));
    }
}
