//! A corpus becomes vectors, chunk by chunk. A chunk is read while the one before is tokenized, that before computed,
//! and that before written.
//!
//! Reading and writing are done by the caller's thread, and the rest on its rayon pool. In each round every chunk comes
//! a stage further, so at most four are in memory. Nobody waits for a thread that might not come: a pool of one will
//! do.

use secateur_encoders::{Encoder, TextKind, TextName};

use super::journaled::{CHUNK_BYTES, CHUNK_TEXTS, Hash, JournaledEncoding, borrowed, hash, next_chunk};
use crate::error::{Error, Result};

/// Tokens of a chunk where there is nothing to compute.
const WITHOUT_ENCODER: usize = 16_384;

/// Bytes of a token, as a rule: a text's tokens are guessed before it is tokenized.
const TOKEN_BYTES: usize = 4;

/// Where the items of a corpus go.
pub(crate) trait Destination {
    /// A text, or a document with something beside it.
    type Item;

    /// The bytes of an item's text.
    fn bytes(&self, item: &Self::Item) -> usize;

    /// What an error calls an item, which is the one of this number in the corpus, from 0.
    fn name(&self, item: &Self::Item, number: usize) -> String;

    /// Refuses what need not be encoded first to be refused.
    fn check(&mut self, _items: &[Self::Item]) -> Result<()> {
        Ok(())
    }

    /// What the encoder of this number reads of an item: one text or more.
    fn texts(&self, item: &Self::Item, encoder: usize) -> Result<Vec<String>>;

    /// Takes items, with their vectors by each encoder.
    fn write(&mut self, items: Vec<Self::Item>, vectors: Vec<Vectors>) -> Result<()>;
}

/// The vectors that an encoder made of some items.
pub(crate) struct Vectors {
    /// (n, D)
    pub(crate) rows: Vec<f32>,
    /// Where the vectors of each item begin, and at the end n.
    pub(crate) starts: Vec<usize>,
}

/// An encoder, and the journal of the vectors that it makes of this corpus.
pub(crate) struct Stage<'e> {
    encoder: &'e Encoder,
    journal: JournaledEncoding,
}

impl<'e> Stage<'e> {
    pub(crate) fn new(encoder: &'e Encoder, journal: JournaledEncoding) -> Stage<'e> {
        Stage { encoder, journal }
    }
}

/// A chunk of items on its way.
struct Load<T> {
    items: Vec<T>,
    /// The number of the first one in the corpus.
    first: usize,
    /// What there is of them by now for each encoder.
    parts: Vec<EncoderChunk>,
}

/// The texts of a chunk for one encoder.
struct EncoderChunk {
    /// Where the texts of each item begin, and at the end their number.
    starts: Vec<usize>,
    /// All texts, as they lie in the journal.
    entries: Vec<Entry>,
    /// The texts that the journal lacks, and then their tokens.
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    /// Their vectors.
    made: Vec<f32>,
}

/// Texts that are kept together.
struct Entry {
    hash: Hash,
    num_texts: usize,
    /// Their vectors, if the journal has them.
    kept: Option<Vec<f32>>,
}

/// Gives all items to their destination, in their order, with their vectors by each encoder. What an interrupted call
/// left in the journals is not computed again. Returns the journals, which are to be removed when the vectors are safe.
///
/// # Errors
///
/// The first error of an item, an encoder, a journal or the destination. What came before it has been written.
pub(crate) fn encode<D: Destination, E>(
    items: impl IntoIterator<Item = std::result::Result<D::Item, E>>,
    stages: Vec<Stage<'_>>,
    destination: &mut D,
) -> Result<Vec<JournaledEncoding>>
where
    Error: From<E>,
{
    let encoders: Vec<&Encoder> = stages.iter().map(|stage| stage.encoder).collect();
    let kinds: Vec<TextKind> = stages.iter().map(|stage| stage.journal.kind()).collect();
    let mut ends = Ends {
        items: items.into_iter(),
        next_error: None,
        is_done: false,
        num_read: 0,
        chunk_tokens: encoders.iter().map(|encoder| encoder.chunk_tokens()).min().unwrap_or(WITHOUT_ENCODER),
        max_length: encoders.iter().map(|encoder| encoder.max_length()).max().unwrap_or(usize::MAX),
        journals: stages.into_iter().map(|stage| (stage.journal, stage.encoder.dim())).collect(),
    };
    let each = |parts: &mut [EncoderChunk], step: fn(&mut EncoderChunk, &Encoder, TextKind) -> Result<()>| {
        let with = encoders.iter().zip(&kinds);
        parts.iter_mut().zip(with).try_for_each(|(part, (encoder, kind))| step(part, encoder, *kind))
    };
    let each = &each;
    let (mut read, mut tokenized, mut computed) = (ends.read(destination), None, None);
    while read.is_some() || tokenized.is_some() || computed.is_some() {
        let mut next = None;
        let (mut tokenizing, mut computing) = (Ok(()), Ok(()));
        let written = rayon::in_place_scope(|scope| -> Result<()> {
            if let Some(Ok(Load { parts, .. })) = &mut read {
                scope.spawn(|_| tokenizing = each(parts, EncoderChunk::tokenize));
            }
            if let Some(Ok(Load { parts, .. })) = &mut tokenized {
                scope.spawn(|_| computing = each(parts, EncoderChunk::compute));
            }
            if let Some(load) = computed.take() {
                ends.write(load?, destination)?;
            }
            next = ends.read(destination);
            Ok(())
        });
        written?;
        let computing = computing.map_err(|error| match &tokenized {
            Some(Ok(load)) => load.named(error, destination),
            _ => error,
        });
        (computed, tokenized, read) = (after(tokenized, computing), after(read, tokenizing), next);
    }
    ends.journals.iter().try_for_each(|(journal, _)| journal.check_complete())?;
    Ok(ends.journals.into_iter().map(|(journal, _)| journal).collect())
}

/// A load on which a step was done, or the error of the step. An error goes on behind the loads before it.
fn after<T>(load: Option<Result<Load<T>>>, step: Result<()>) -> Option<Result<Load<T>>> {
    load.map(|load| load.and_then(|load| step.map(|()| load)))
}

impl<T> Load<T> {
    /// An error of computing these items, which now says which one it is of.
    fn named<D: Destination<Item = T>>(&self, error: Error, destination: &D) -> Error {
        match error {
            Error::Encoder(error) => {
                Error::Encoder(error.with_text(|item| {
                    TextName::Named(destination.name(&self.items[item], self.first + item))
                }))
            }
            other => other,
        }
    }
}

impl EncoderChunk {
    fn tokenize(&mut self, encoder: &Encoder, kind: TextKind) -> Result<()> {
        self.tokens = encoder.tokenize(&borrowed(&std::mem::take(&mut self.texts)), kind)?;
        Ok(())
    }

    fn compute(&mut self, encoder: &Encoder, kind: TextKind) -> Result<()> {
        let made = encoder.encode_tokens(&std::mem::take(&mut self.tokens), kind);
        // The encoder knows a text by its place among those that are computed; the caller knows items.
        self.made = made.map_err(|error| error.with_text(|text| TextName::Place(self.item_of(text))))?;
        Ok(())
    }

    /// The item that a text is of, by the place of the text among those that the journal lacks.
    fn item_of(&self, text: usize) -> usize {
        let (mut place, mut lacking) = (0, text);
        for entry in &self.entries {
            if entry.kept.is_none() {
                if lacking < entry.num_texts {
                    place += lacking;
                    break;
                }
                lacking -= entry.num_texts;
            }
            place += entry.num_texts;
        }
        self.starts.partition_point(|start| *start <= place) - 1
    }

    /// The vectors of all texts, those that were made kept in the journal.
    fn into_vectors(self, dim: usize, journal: &mut JournaledEncoding) -> Result<Vectors> {
        let mut rows = Vec::with_capacity(self.starts.last().map_or(0, |texts| texts * dim));
        let mut made = &self.made[..];
        for Entry { hash, num_texts, kept } in self.entries {
            match kept {
                Some(kept) => rows.extend(kept),
                None => {
                    let (of_entry, rest) = made.split_at(num_texts * dim);
                    journal.keep(hash, of_entry)?;
                    rows.extend_from_slice(of_entry);
                    made = rest;
                }
            }
        }
        Ok(Vectors { rows, starts: self.starts })
    }
}

/// Where chunks come from, and the journals that they go to.
struct Ends<I> {
    items: I,
    /// What was wrong with the items behind the chunk that was read last.
    next_error: Option<Error>,
    /// Whether there is nothing more, or an error was read.
    is_done: bool,
    /// Items of all chunks so far.
    num_read: usize,
    chunk_tokens: usize,
    /// No text counts as more tokens than this.
    max_length: usize,
    /// With D of their encoders.
    journals: Vec<(JournaledEncoding, usize)>,
}

impl<I> Ends<I> {
    /// The next chunk; none at the end.
    fn read<D: Destination, E>(&mut self, destination: &mut D) -> Option<Result<Load<D::Item>>>
    where
        I: Iterator<Item = std::result::Result<D::Item, E>>,
        Error: From<E>,
    {
        if self.is_done {
            return None;
        }
        let load = match self.next_error.take() {
            Some(error) => Some(Err(error)),
            None => self.try_read(destination).transpose(),
        };
        self.is_done = !matches!(load, Some(Ok(_)));
        load
    }

    fn try_read<D: Destination, E>(&mut self, destination: &mut D) -> Result<Option<Load<D::Item>>>
    where
        I: Iterator<Item = std::result::Result<D::Item, E>>,
        Error: From<E>,
    {
        let mut items = Vec::new();
        let empty = || EncoderChunk {
            starts: vec![0],
            entries: Vec::new(),
            texts: Vec::new(),
            tokens: Vec::new(),
            made: Vec::new(),
        };
        let mut parts: Vec<EncoderChunk> = self.journals.iter().map(|_| empty()).collect();
        let (mut bytes, mut tokens) = (0, 0);
        while tokens < self.chunk_tokens && bytes < CHUNK_BYTES {
            let group = next_chunk(&mut self.items, |item| destination.bytes(item)).map_err(Error::from);
            if matches!(&group, Ok(group) if group.is_empty()) {
                break;
            }
            let group = match group.and_then(|group| destination.check(&group).map(|()| group)) {
                Ok(group) => group,
                Err(error) if items.is_empty() => return Err(error),
                // What was read before it comes first.
                Err(error) => {
                    self.next_error = Some(error);
                    break;
                }
            };
            for (number, (part, (journal, _))) in parts.iter_mut().zip(&mut self.journals).enumerate() {
                let mut texts = Vec::with_capacity(group.len());
                let before = part.starts.last().copied().unwrap_or_default();
                for item in &group {
                    texts.extend(destination.texts(item, number)?);
                    part.starts.push(before + texts.len());
                }
                for texts in texts.chunks(CHUNK_TEXTS) {
                    let hash = hash(texts);
                    let kept = journal.look_up(hash)?;
                    if kept.is_none() {
                        part.texts.extend_from_slice(texts);
                    }
                    part.entries.push(Entry { hash, num_texts: texts.len(), kept });
                }
            }
            for size in group.iter().map(|item| destination.bytes(item)) {
                bytes += size;
                tokens += (1 + size / TOKEN_BYTES).min(self.max_length);
            }
            items.extend(group);
        }
        let first = self.num_read;
        self.num_read += items.len();
        Ok((!items.is_empty()).then_some(Load { items, first, parts }))
    }

    fn write<D: Destination>(&mut self, load: Load<D::Item>, destination: &mut D) -> Result<()> {
        let Load { items, parts, .. } = load;
        let vectors = parts.into_iter().zip(&mut self.journals);
        let vectors = vectors.map(|(part, (journal, dim))| part.into_vectors(*dim, journal));
        let vectors = vectors.collect::<Result<_>>()?;
        destination.write(items, vectors)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secateur_encoders::LoadOptions;
    use secateur_gpu::Gpu;

    use super::super::default_encoder::{FILES, default_encoder};
    use super::*;

    /// Keeps what arrives, and refuses one text.
    #[derive(Default)]
    struct Kept {
        texts: Vec<String>,
        rows: Vec<f32>,
        refused: Option<String>,
    }

    impl Destination for Kept {
        type Item = String;

        fn bytes(&self, text: &String) -> usize {
            text.len()
        }

        fn name(&self, _: &String, number: usize) -> String {
            format!("line {}", number + 1)
        }

        fn check(&mut self, texts: &[String]) -> Result<()> {
            let refused = texts.iter().find(|text| Some(*text) == self.refused.as_ref());
            refused.map_or(Ok(()), |text| Err(Error::EmptyDocument { doc_id: text.clone() }))
        }

        fn texts(&self, text: &String, _: usize) -> Result<Vec<String>> {
            Ok(vec![text.clone()])
        }

        fn write(&mut self, texts: Vec<String>, vectors: Vec<Vectors>) -> Result<()> {
            assert_eq!(vectors[0].starts, (0..=texts.len()).collect::<Vec<_>>());
            self.texts.extend(texts);
            self.rows.extend(&vectors[0].rows);
            Ok(())
        }
    }

    /// Texts of about 60 tokens each.
    fn texts() -> Vec<String> {
        (0..800).map(|number| format!("{number} {}", "roses are pruned in winter ".repeat(9))).collect()
    }

    fn run(encoder: &Encoder, journal: &Path, texts: &[String], kept: &mut Kept) -> Result<()> {
        let journal = JournaledEncoding::open(journal, encoder, TextKind::Passage)?;
        let items = texts.iter().map(|text| Ok::<_, Error>(text.clone()));
        encode(items, vec![Stage::new(encoder, journal)], kept).map(drop)
    }

    /// The vectors are those of one call, in the order of the texts, on a pool of one thread as well.
    #[test]
    fn chunks_arrive_in_order() {
        let encoder = default_encoder(&LoadOptions::default()).unwrap();
        let texts = texts();
        let want = encoder.encode(&borrowed(&texts), TextKind::Passage).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::default();
        run(&encoder, &folder.path().join("a"), &texts, &mut kept).unwrap();
        assert!(kept.texts == texts && kept.rows == want);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let mut kept = Kept::default();
        one.install(|| run(&encoder, &folder.path().join("b"), &texts, &mut kept)).unwrap();
        assert!(kept.texts == texts && kept.rows == want);
    }

    /// What comes before an error is kept, and is not computed again.
    #[test]
    fn work_goes_on_where_it_stopped() {
        let encoder = default_encoder(&LoadOptions::default()).unwrap();
        let (texts, folder, dim) = (texts(), tempfile::tempdir().unwrap(), encoder.dim());
        let path = folder.path().join("journal");
        // Nobody's vectors, to be told from computed ones.
        let mut journal = JournaledEncoding::open(&path, &encoder, TextKind::Passage).unwrap();
        for texts in texts[..256].chunks(CHUNK_TEXTS) {
            journal.keep(hash(texts), &vec![9.0; texts.len() * dim]).unwrap();
        }
        drop(journal);
        let mut kept = Kept { refused: Some(texts[700].clone()), ..Kept::default() };
        let error = run(&encoder, &path, &texts, &mut kept).unwrap_err();
        assert!(matches!(&error, Error::EmptyDocument { doc_id } if *doc_id == texts[700]), "{error}");
        let written = kept.texts.len();
        assert!(written == 640 && kept.texts == texts[..written], "{written} texts");
        let mut all = Kept::default();
        run(&encoder, &path, &texts, &mut all).unwrap();
        assert!(all.texts == texts && all.rows[..256 * dim].iter().all(|x| *x == 9.0));
        assert_eq!(
            all.rows[256 * dim..],
            encoder.encode(&borrowed(&texts[256..]), TextKind::Passage).unwrap()
        );
        // Other texts: nothing would be kept, which is refused.
        let others: Vec<String> = texts.iter().map(|text| format!("{text}!")).collect();
        assert!(run(&encoder, &path, &others, &mut Kept::default()).is_err());
    }

    /// An encoder on an emulated GPU with so many bytes, and the memory that is left.
    fn on_gpu(bytes: usize) -> (Encoder, usize) {
        let gpu = Gpu::emulated_with(bytes);
        let encoder =
            Encoder::from_parts_on(gpu.clone(), "default", &FILES, &LoadOptions::default()).unwrap();
        gpu.release().unwrap();
        let free = gpu.memory().unwrap().free;
        (encoder, free)
    }

    /// Among texts that the journal has and texts that it lacks, in a later chunk than the first.
    #[test]
    fn a_text_too_long_for_a_gpu_is_named() {
        const ALL: usize = 1 << 30;
        let weights = ALL - on_gpu(ALL).1;
        // The rows of 256 tokens take 393 KB even before anything is computed of them.
        let (encoder, _) = on_gpu(weights + (256 << 10));
        let mut texts: Vec<String> = (0..CHUNK_TEXTS + 2).map(|number| format!("{number}")).collect();
        texts[CHUNK_TEXTS + 1] = "roses are pruned in winter ".repeat(60);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = JournaledEncoding::open(&path, &encoder, TextKind::Passage).unwrap();
        journal.keep(hash(&texts[..CHUNK_TEXTS]), &vec![9.0; CHUNK_TEXTS * encoder.dim()]).unwrap();
        drop(journal);
        let message = run(&encoder, &path, &texts, &mut Kept::default()).unwrap_err().to_string();
        assert!(message.starts_with("line 130 has 256 tokens, for which the GPU has no memory"), "{message}");
    }

    /// Entries that the journal has are passed over, and an item may have no text or several.
    #[test]
    fn a_text_is_found_in_its_item() {
        let entry = |num_texts, kept: bool| Entry { hash: [0; 32], num_texts, kept: kept.then(Vec::new) };
        let part = EncoderChunk {
            starts: vec![0, 2, 2, 3, 7, 8],
            entries: vec![entry(2, true), entry(1, false), entry(3, true), entry(2, false)],
            texts: Vec::new(),
            tokens: Vec::new(),
            made: Vec::new(),
        };
        assert_eq!([0, 1, 2].map(|text| part.item_of(text)), [2, 3, 4]);
    }
}
