//! Terms on their way from the analysis to the postings.

/// The terms of documents that follow one another. Neither a term nor a document takes an allocation of its own.
#[derive(Default)]
pub(super) struct Terms {
    text: String,
    /// Where each term ends in the text.
    ends: Vec<usize>,
    /// How many terms there are up to the end of each document.
    documents: Vec<usize>,
}

impl Terms {
    /// Adds a term to the document that has not ended.
    pub fn push(&mut self, term: &str) {
        self.text.push_str(term);
        self.ends.push(self.text.len());
    }

    /// What comes now belongs to the next document.
    pub fn end_document(&mut self) {
        self.documents.push(self.ends.len());
    }

    /// The terms of each document that has ended.
    pub fn documents(&self) -> impl Iterator<Item = impl ExactSizeIterator<Item = &str>> {
        let (mut first, mut start) = (0, 0);
        self.documents.iter().map(move |end| {
            let ends = &self.ends[first..*end];
            first = *end;
            let mut from = start;
            start = ends.last().copied().unwrap_or(start);
            ends.iter().map(move |end| &self.text[std::mem::replace(&mut from, *end)..*end])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes in comes out, empty terms and documents without terms too.
    #[test]
    fn terms_come_back() {
        let documents = [&[][..], &["a"], &[], &["one", "", "two", "ü"], &["", ""]];
        let mut terms = Terms::default();
        for document in documents {
            document.iter().for_each(|term| terms.push(term));
            terms.end_document();
        }
        let found: Vec<Vec<&str>> = terms.documents().map(Iterator::collect).collect();
        assert_eq!(found, documents);
        assert_eq!(terms.documents().map(|terms| terms.len()).collect::<Vec<_>>(), [0, 1, 0, 4, 2]);
    }
}
