//! Rows in memory, on their way to the files of a segment.

use super::documents::NewDocument;

/// Documents with their vectors in each generation. What they hold lies one after the other, so that it is written at
/// once, and a document takes no allocation of its own.
pub(super) struct Batch {
    /// The id, title, text and metadata of each row.
    strings: String,
    rows: Vec<Row>,
    generations: Vec<Vectors>,
}

/// Where the strings of a row end. Those of the next row begin there.
struct Row {
    id: usize,
    title: usize,
    text: usize,
    metadata: usize,
    has_metadata: bool,
}

/// The vectors of the rows in a generation.
#[derive(Default)]
pub(super) struct Vectors {
    /// (N, D) row-major.
    pub components: Vec<f32>,
    /// The number of components of each row: a multiple of D.
    pub lengths: Vec<usize>,
}

impl Batch {
    /// No rows, for a segment with so many generations.
    pub fn new(num_generations: usize) -> Batch {
        let generations = std::iter::repeat_with(Vectors::default).take(num_generations).collect();
        Batch { strings: String::new(), rows: Vec::new(), generations }
    }

    /// Adds a row, with its vectors in each generation.
    pub fn push(&mut self, document: &NewDocument<'_>, vectors: &[&[f32]]) {
        let NewDocument { id, title, text, metadata } = *document;
        let strings = &mut self.strings;
        let mut end_of = |string: &str| {
            strings.push_str(string);
            strings.len()
        };
        self.rows.push(Row {
            id: end_of(id),
            title: end_of(title),
            text: end_of(text),
            metadata: end_of(metadata.unwrap_or_default()),
            has_metadata: metadata.is_some(),
        });
        for (generation, vectors) in self.generations.iter_mut().zip(vectors) {
            generation.components.extend_from_slice(vectors);
            generation.lengths.push(vectors.len());
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of strings and vectors.
    pub fn num_bytes(&self) -> usize {
        let vectors = self.generations.iter().map(|vectors| size_of_val(&vectors.components[..]));
        self.strings.len() + vectors.sum::<usize>()
    }

    /// Bytes of memory that the rows take, besides those.
    pub fn num_bytes_besides(&self) -> usize {
        size_of_val(&self.rows[..])
            + self.generations.iter().map(|vectors| size_of_val(&vectors.lengths[..])).sum::<usize>()
    }

    /// The documents in their order.
    pub fn documents(&self) -> impl Iterator<Item = NewDocument<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let document = NewDocument {
                id: &self.strings[start..row.id],
                title: &self.strings[row.id..row.title],
                text: &self.strings[row.title..row.text],
                metadata: row.has_metadata.then(|| &self.strings[row.text..row.metadata]),
            };
            start = row.metadata;
            document
        })
    }

    /// The vectors of each generation.
    pub fn generations(&self) -> &[Vectors] {
        &self.generations
    }

    /// Removes the rows, and keeps the memory for others.
    pub fn clear(&mut self) {
        self.strings.clear();
        self.rows.clear();
        for Vectors { components, lengths } in &mut self.generations {
            components.clear();
            lengths.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes in comes out, empty strings and absent metadata too, also when the memory is used again.
    #[test]
    fn rows_come_back() {
        let row = |id, title, text, metadata| NewDocument { id, title, text, metadata };
        let rows = [
            row("a", "", "", None),
            row("b", "title", "", Some("{}")),
            row("ü", "", "text", Some("")),
            row("d", "t", "x", None),
        ];
        let mut batch = Batch::new(2);
        for _ in 0..2 {
            for (number, document) in rows.iter().enumerate() {
                batch.push(document, &[&[number as f32; 3], &[0.5; 2].repeat(number + 1)]);
            }
            assert_eq!(batch.documents().collect::<Vec<_>>(), rows);
            assert_eq!((batch.len(), batch.num_bytes()), (4, 1 + 8 + 6 + 3 + 4 * (12 + 20)));
            let [one, several] = batch.generations() else { panic!("two generations") };
            assert_eq!((one.components[3..6].to_vec(), &one.lengths[..]), (vec![1.0; 3], &[3; 4][..]));
            assert_eq!((several.components.len(), &several.lengths[..]), (20, &[2, 4, 6, 8][..]));
            batch.clear();
            assert_eq!((batch.len(), batch.num_bytes()), (0, 0));
        }
    }
}
