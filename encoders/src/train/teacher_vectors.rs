//! A teacher's vectors by text, in a file: computed once, and read by as many trainings as there are.
//!
//! First there is a [header] with the mark `SCTRTEAC`, and then an index of the texts, in the order of their keys. The
//! vectors follow in f16, in the order in which they were made. TRAINING.md has the table. The file is mapped, so a
//! training holds the pages that it reads.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::mem::offset_of;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use half::f16;
use memmap2::Mmap;
use secateur_files::header::{self, HEADER_LEN, Kind, Start};
use secateur_files::{AtPath, Durable};

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::pooling::normalize;
use crate::text_kind::TextKind;
use crate::weights::shards::map_file;

const KIND: Kind = Kind { mark: *b"SCTRTEAC", name: "a file of a teacher's vectors", version: 1 };

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct VectorsHeader {
    start: Start,
    /// D
    dim: u32,
    /// N
    num_texts: u32,
    /// The teacher's fingerprint.
    teacher: [u8; 32],
    /// The beginning of the BLAKE3 hash of all that follows the header.
    body_hash: [u8; 8],
    crc: u32,
}

const _: () = assert!(offset_of!(VectorsHeader, dim) == 12);
const _: () = assert!(offset_of!(VectorsHeader, num_texts) == 16);
const _: () = assert!(offset_of!(VectorsHeader, teacher) == 20);
const _: () = assert!(offset_of!(VectorsHeader, body_hash) == 52);
const _: () = assert!(offset_of!(VectorsHeader, crc) == 60);

/// Which text a vector is of: the beginning of the BLAKE3 hash of its kind and its bytes. Among 2^32 texts two have one
/// key with a chance below 2^-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextKey([u8; 12]);

impl TextKey {
    /// The key of a text, without the teacher's prompt.
    pub fn of(text: &str, kind: TextKind) -> TextKey {
        let hash = blake3::Hasher::new().update(&[kind as u8]).update(text.as_bytes()).finalize();
        let mut key = [0; 12];
        key.copy_from_slice(&hash.as_bytes()[..12]);
        TextKey(key)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

/// Characters of a text that messages show.
const SHOWN: usize = 80;

/// A text of the index.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Entry {
    key: [u8; 12],
    /// The number of its vector.
    row: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// The vectors of one teacher by text, from one file or several.
///
/// [`TeacherVectors::rows`] and [`TeacherVectors::write`] make a file, [`TeacherVectors::open`] reads it.
/// [`Trainer::with_teacher_vectors`](super::Trainer::with_teacher_vectors) learns from it.
pub struct TeacherVectors {
    files: Vec<Mapped>,
    dim: usize,
}

struct Mapped {
    path: PathBuf,
    map: Mmap,
    header: VectorsHeader,
}

impl TeacherVectors {
    /// Maps files of one teacher. Each is read through once, so that damage is found before the training begins.
    ///
    /// # Errors
    ///
    /// [`Error::TeacherVectors`] if a file is none of a teacher's vectors, or is damaged. [`Error::OtherTeacher`] if
    /// two files are of two teachers. There is no such file.
    ///
    /// # Panics
    ///
    /// If there is no path.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<TeacherVectors> {
        let files = paths.iter().map(|path| Mapped::open(path.as_ref())).collect::<Result<Vec<_>>>()?;
        let first = &files[0];
        let teacher = first.header.teacher;
        let is_other = |file: &&Mapped| file.header.teacher != teacher || file.header.dim != first.header.dim;
        if let Some(other) = files.iter().find(is_other) {
            return Err(Error::OtherTeacher { path: first.path.clone(), other: other.path.clone() });
        }
        Ok(TeacherVectors { dim: first.header.dim as usize, files })
    }

    /// D, the length of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The teacher's fingerprint.
    pub fn teacher(&self) -> &[u8; 32] {
        &self.files[0].header.teacher
    }

    /// How many vectors there are.
    pub fn num_texts(&self) -> usize {
        self.files.iter().map(|file| file.header.num_texts as usize).sum()
    }

    /// What the files are called, in messages.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|file| file.path.display().to_string()).collect();
        names.join(", ")
    }

    /// The teacher's vector of a text, of length 1 but for the rounding to f16: (D). `None` if there is none.
    pub fn get<'a>(&'a self, text: &str, kind: TextKind) -> Option<impl Iterator<Item = f32> + use<'a>> {
        let key = TextKey::of(text, kind);
        let row = self.files.iter().find_map(|file| file.row(&key))?;
        Some(row.iter().map(|bits| f16::from_bits(*bits).to_f32()))
    }

    /// Vectors of texts of a kind: (B) -> (B, D), row-major, of length 1 but for the rounding to f16.
    ///
    /// # Errors
    ///
    /// [`Error::NotTaught`] for the first text that has no vector.
    pub fn vectors(&self, texts: &[&str], kind: TextKind) -> Result<Vec<f32>> {
        let mut vectors = Vec::with_capacity(texts.len() * self.dim);
        for text in texts {
            vectors.extend(self.get(text, kind).ok_or_else(|| self.not_taught(text, kind))?);
        }
        Ok(vectors)
    }

    /// Finds out whether there is a vector of a text, without reading it.
    ///
    /// # Errors
    ///
    /// [`Error::NotTaught`] if there is none.
    pub fn check(&self, text: &str, kind: TextKind) -> Result<()> {
        self.get(text, kind).map(|_| ()).ok_or_else(|| self.not_taught(text, kind))
    }

    fn not_taught(&self, text: &str, kind: TextKind) -> Error {
        Error::NotTaught {
            files: self.name(),
            kind: match kind {
                TextKind::Query => "query",
                TextKind::Passage => "passage",
            },
            text: text.chars().take(SHOWN).collect(),
        }
    }

    /// What a file holds of texts of a kind: the teacher's vectors, scaled to length 1, in f16. The bytes of B texts
    /// are 2 B D.
    ///
    /// # Errors
    ///
    /// Those of [`Encoder::encode`].
    pub fn rows(teacher: &Encoder, texts: &[&str], kind: TextKind) -> Result<Vec<u8>> {
        let mut vectors = teacher.encode(texts, kind)?;
        normalize(&mut vectors, teacher.dim());
        Ok(vectors.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect())
    }

    /// Writes the file `path`, which appears whole or not at all. `rows` gives the vectors of the texts with these
    /// keys, in their order, any number at a time, as [`TeacherVectors::rows`] makes them.
    ///
    /// # Errors
    ///
    /// One of `rows`; the file cannot be written.
    ///
    /// # Panics
    ///
    /// If there are not as many rows as keys, or more than 2^32.
    pub fn write<E: From<secateur_files::PathError>>(
        path: &Path,
        teacher: &Encoder,
        keys: &[TextKey],
        rows: impl Iterator<Item = std::result::Result<Vec<u8>, E>>,
    ) -> std::result::Result<(), E> {
        let num_texts = u32::try_from(keys.len()).expect("at most 2^32 texts");
        let dim = teacher.dim();
        let mut entries: Vec<Entry> =
            keys.iter().zip(0..).map(|(key, row)| Entry { key: key.0, row }).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        let mut file = Durable::create_alone(path)?;
        let mut hasher = blake3::Hasher::new();
        let mut add = |file: &mut Durable, bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes).at("write", path)
        };
        file.write_all(&[0; HEADER_LEN]).at("write", path)?;
        add(&mut file, bytemuck::cast_slice(&entries))?;
        let mut num_bytes = 0;
        for rows in rows {
            let rows = rows?;
            num_bytes += rows.len();
            add(&mut file, &rows)?;
        }
        assert_eq!(num_bytes, keys.len() * dim * size_of::<f16>(), "each key has a row");
        let mut body_hash = [0; 8];
        body_hash.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let header = VectorsHeader {
            start: Start::of(&KIND),
            dim: dim as u32,
            num_texts,
            teacher: *teacher.fingerprint().as_bytes(),
            body_hash,
            crc: 0,
        };
        let sealed = header::seal(&header);
        file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&sealed)).at("write", path)?;
        Ok(file.finish()?)
    }
}

impl Mapped {
    fn open(path: &Path) -> Result<Mapped> {
        let file = File::open(path).at("open", path)?;
        let map = map_file(&file, path)?;
        let damaged = |problem: String| Error::TeacherVectors { path: path.to_owned(), problem };
        let header: VectorsHeader = header::read(&map, &KIND).map_err(|fault| damaged(fault.to_string()))?;
        let text = size_of::<Entry>() as u128 + u128::from(header.dim) * size_of::<f16>() as u128;
        let expected = HEADER_LEN as u128 + u128::from(header.num_texts) * text;
        if map.len() as u128 != expected {
            return Err(damaged(format!(
                "it has {} bytes, and its header says {expected}, for {} vectors of {} numbers",
                map.len(),
                header.num_texts,
                header.dim
            )));
        }
        let mut hasher = blake3::Hasher::new();
        if !hasher.update_rayon(&map[HEADER_LEN..]).finalize().as_bytes().starts_with(&header.body_hash) {
            return Err(damaged("its bytes are not those that its header's hash is of".to_owned()));
        }
        let mapped = Mapped { path: path.to_owned(), map, header };
        let entries = mapped.entries();
        if header.dim == 0 || entries.iter().any(|entry| entry.row >= header.num_texts) {
            return Err(damaged("its index names vectors that it has not".to_owned()));
        }
        if !entries.is_sorted_by(|a, b| a.key < b.key) {
            return Err(damaged("its index is not in order".to_owned()));
        }
        Ok(mapped)
    }

    /// The index, by key.
    fn entries(&self) -> &[Entry] {
        let len = self.header.num_texts as usize * size_of::<Entry>();
        bytemuck::cast_slice(&self.map[HEADER_LEN..][..len])
    }

    /// The bits of f16, (D).
    fn row(&self, key: &TextKey) -> Option<&[u16]> {
        let entries = self.entries();
        let place = entries.binary_search_by_key(&key.0, |entry| entry.key).ok()?;
        let dim = self.header.dim as usize;
        let rows = &self.map[HEADER_LEN + size_of_val(entries)..];
        let len = dim * size_of::<f16>();
        Some(bytemuck::cast_slice(&rows[entries[place].row as usize * len..][..len]))
    }
}
