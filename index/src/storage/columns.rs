//! The columns file: an inverted index of each metadata field of a segment, so that filters need not read documents.

use std::collections::{BTreeMap, HashMap};
use std::mem::offset_of;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use secateur_files::header::{HEADER_LEN, Kind, Start, seal};

use super::documents::Documents;
use crate::error::{Damage, Error, Result};
use crate::file_format::files::{FileBytes, HeadedWriter, Written, check_crc, corrupt, wrong_field};
use crate::file_format::header::read_header;
use crate::filter::{Column, Field, SharedBytes, Value, each_field, encode};

/// The file's name in the folder of a segment.
pub(super) const FILE_NAME: &str = "columns";

const KIND: Kind = Kind { mark: *b"SCTRCOLS", name: "a columns file", version: 1 };

/// Segments of fewer rows get no columns: to read their documents takes a few milliseconds, and a commit is shorter.
pub(super) const MIN_ROWS: u32 = 1024;

/// Values that are held in memory at a time while columns are written, in bytes; more if a single field has more.
const BUDGET: usize = 256 << 20;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ColumnsHeader {
    start: Start,
    rows: u32,
    /// Where the directory begins.
    directory_at: u64,
    fields: u32,
    /// CRC-32 of the directory.
    directory_crc: u32,
    zeros: [u32; 7],
    crc: u32,
}

const _: () = assert!(offset_of!(ColumnsHeader, rows) == 12);
const _: () = assert!(offset_of!(ColumnsHeader, directory_at) == 16);
const _: () = assert!(offset_of!(ColumnsHeader, fields) == 24);
const _: () = assert!(offset_of!(ColumnsHeader, directory_crc) == 28);
const _: () = assert!(offset_of!(ColumnsHeader, crc) == 60);

/// The values of fields with their rows.
type Pairs = BTreeMap<Field, Vec<(Value, u32)>>;

/// Memory for a value and its row.
fn bytes_of(value: &Value) -> usize {
    let string = if let Value::String(string) = value { string.len() } else { 0 };
    size_of::<(Value, u32)>() + string
}

/// Adds up something over the fields of all documents, in parallel on the current rayon pool.
fn over_fields<T: Send>(
    documents: &Documents,
    see: impl Fn(&mut BTreeMap<Field, T>, &[String], Vec<Value>, u32) + Sync,
    join: impl Fn(&mut T, T) + Sync,
) -> Result<BTreeMap<Field, T>> {
    (0..documents.rows())
        .into_par_iter()
        .try_fold(BTreeMap::new, |mut all, row| {
            let metadata = documents.metadata(row)?;
            each_field(&metadata, &mut |path, values| see(&mut all, path, values, row));
            Ok::<_, Error>(all)
        })
        .try_reduce(BTreeMap::new, |mut all, others| {
            for (field, other) in others {
                match all.get_mut(&field) {
                    Some(one) => join(one, other),
                    None => drop(all.insert(field, other)),
                }
            }
            Ok(all)
        })
}

/// The entry of a field, made if need be.
fn entry<'a, T: Default>(all: &'a mut BTreeMap<Field, T>, path: &[String]) -> &'a mut T {
    if !all.contains_key(path) {
        all.insert(Field::new(path.iter().cloned()), T::default());
    }
    all.get_mut(path).expect("it was inserted where it was not there")
}

/// The fields, in groups whose values fit into `budget`.
fn groups(documents: &Documents, budget: usize) -> Result<Vec<Vec<Field>>> {
    let sizes = over_fields::<usize>(
        documents,
        |sizes, path, values, _| *entry(sizes, path) += values.iter().map(bytes_of).sum::<usize>(),
        |one, other| *one += other,
    )?;
    let mut groups: Vec<Vec<Field>> = Vec::new();
    let mut room = 0;
    for (field, size) in sizes {
        match groups.last_mut().filter(|_| size <= room) {
            Some(group) => {
                group.push(field);
                room -= size;
            }
            None => {
                groups.push(vec![field]);
                room = budget.saturating_sub(size);
            }
        }
    }
    Ok(groups)
}

/// Writes the columns of all fields of these documents; no file if no field has a value.
///
/// There is none either if an earlier version took metadata that cannot be read. Then filters read the documents, and
/// name that one.
pub(super) fn write(path: &Path, documents: &Documents) -> Result<Option<Written>> {
    match write_within(path, documents, BUDGET) {
        Err(Error::InvalidMetadata { .. }) => Ok(None),
        written => written,
    }
}

fn write_within(path: &Path, documents: &Documents, budget: usize) -> Result<Option<Written>> {
    let groups = groups(documents, budget)?;
    if groups.is_empty() {
        return Ok(None);
    }
    let mut file = HeadedWriter::create(path.to_owned(), HEADER_LEN)?;
    let (mut directory, mut fields) = (Vec::new(), 0);
    for group in groups {
        let pairs: Pairs = over_fields(
            documents,
            |pairs: &mut Pairs, path, values, row| {
                if group.iter().any(|field| field.names() == path) {
                    entry(pairs, path).extend(values.into_iter().map(|value| (value, row)));
                }
            },
            |one, other| one.extend(other),
        )?;
        for (field, pairs) in pairs {
            let column = encode(pairs);
            directory.extend((field.names().len() as u32).to_le_bytes());
            for name in field.names() {
                directory.extend((name.len() as u32).to_le_bytes());
                directory.extend(name.as_bytes());
            }
            directory.extend(file.position().to_le_bytes());
            directory.extend((column.len() as u64).to_le_bytes());
            directory.extend(crc32fast::hash(&column).to_le_bytes());
            file.write(&column)?;
            fields += 1;
        }
    }
    let directory_at = file.position();
    file.write(&directory)?;
    let finished = file.finish(&seal(&ColumnsHeader {
        start: Start::of(&KIND),
        rows: documents.rows(),
        directory_at,
        fields,
        directory_crc: crc32fast::hash(&directory),
        ..ColumnsHeader::zeroed()
    }))?;
    Ok(Some(finished.written))
}

/// A columns file, mapped.
pub(super) struct ColumnsFile {
    path: PathBuf,
    map: FileBytes,
    rows: u32,
    /// Where the column of each field lies, and its CRC-32.
    columns: HashMap<Field, (Range<usize>, u32)>,
}

impl ColumnsFile {
    /// Opens a file of `rows` rows, and checks its header and its directory.
    pub fn open(path: PathBuf, map: FileBytes, rows: u32) -> Result<ColumnsFile> {
        let header: ColumnsHeader = read_header(&path, &map, &KIND)?;
        if header.rows != rows {
            return Err(corrupt(&path, wrong_field("rows", rows, header.rows)));
        }
        let at = usize::try_from(header.directory_at).ok().filter(|at| (HEADER_LEN..=map.len()).contains(at));
        let Some(at) = at else {
            let damage = wrong_field("the beginning of the directory", "in the file", header.directory_at);
            return Err(corrupt(&path, damage));
        };
        check_crc(&path, "the directory", header.directory_crc, crc32fast::hash(&map[at..]))?;
        let Some(columns) = directory(&map[at..], header.fields, at) else {
            return Err(corrupt(&path, Damage::Undecodable { part: "the directory" }));
        };
        Ok(ColumnsFile { path, map, rows, columns })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The fields that have a value in some row.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.columns.keys()
    }

    /// The column of a field, checked against its checksum.
    pub fn column(&self, field: &Field) -> Result<Column> {
        let Some((range, crc)) = self.columns.get(field) else { return Ok(Column::empty()) };
        check_crc(&self.path, "a column", *crc, crc32fast::hash(&self.map[range.clone()]))?;
        let bytes: SharedBytes = Arc::new(self.map.clone());
        Column::open(bytes, range.clone()).ok_or_else(|| self.undecodable())
    }

    /// Checks what the checksums cannot know.
    pub fn verify(&self) -> Result<()> {
        for field in self.columns.keys() {
            if !self.column(field)?.is_sound(self.rows) {
                return Err(self.undecodable());
            }
        }
        Ok(())
    }

    fn undecodable(&self) -> Error {
        corrupt(&self.path, Damage::Undecodable { part: "a column" })
    }
}

/// The columns that a directory lists, all of which end before `end`.
fn directory(bytes: &[u8], fields: u32, end: usize) -> Option<HashMap<Field, (Range<usize>, u32)>> {
    let mut rest = bytes;
    fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
        let (taken, left) = rest.split_at_checked(len)?;
        *rest = left;
        Some(taken)
    }
    let u32 = |rest: &mut &[u8]| Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?));
    let u64 = |rest: &mut &[u8]| usize::try_from(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)).ok();
    let mut columns = HashMap::new();
    for _ in 0..fields {
        let mut names = Vec::new();
        for _ in 0..u32(&mut rest)? {
            let len = u32(&mut rest)? as usize;
            names.push(std::str::from_utf8(take(&mut rest, len)?).ok()?.to_owned());
        }
        let (start, len, crc) = (u64(&mut rest)?, u64(&mut rest)?, u32(&mut rest)?);
        let range = start..start.checked_add(len).filter(|past| start >= HEADER_LEN && *past <= end)?;
        columns.insert(Field::new(names), (range, crc));
    }
    rest.is_empty().then_some(columns)
}

#[cfg(test)]
mod tests {
    use super::super::documents::{DocumentsWriter, NewDocument};
    use super::super::fields::Fields;
    use super::*;
    use crate::bitmap::Bitmap;
    use crate::file_format::files::Output;
    use crate::metadata;
    use proptest::prelude::*;

    #[test]
    fn the_header_is_that_of_format_md() {
        let fields = secateur_testkit::byte_ranges!(ColumnsHeader: rows, directory_at, fields, directory_crc);
        assert_eq!(secateur_testkit::format::documented("columns", 0)[..], fields);
    }

    fn documents(folder: &Path, metadata: &[Option<String>]) -> Documents {
        let path = folder.join("documents");
        let output = Output::Folder(folder.to_owned());
        let mut writer = DocumentsWriter::create(&output, "documents").unwrap();
        for (number, metadata) in metadata.iter().enumerate() {
            let (id, metadata) = (number.to_string(), metadata.as_deref());
            writer.add(&NewDocument { id: &id, title: "", text: "x", metadata }).unwrap();
        }
        let size = writer.finish().unwrap().written.size;
        Documents::open(path.clone(), FileBytes::map(&path, size).unwrap(), metadata.len() as u32).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The columns of the file are those of the documents read one by one, however many fields are written at once.
        #[test]
        fn columns_come_back(
            values in prop::collection::vec(prop::option::of(prop::collection::btree_map(
                "[a-c]",
                prop_oneof![
                    Just("true".to_owned()), (-3i32..4).prop_map(|x| x.to_string()), Just("0.5".to_owned()),
                    Just("\"\"".to_owned()), "[a-cü]{1,3}".prop_map(|x| format!("{x:?}")), Just("null".to_owned()),
                    Just("[1, \"a\", [2], 1]".to_owned()), Just("{\"d\": 7}".to_owned()),
                ],
                0..4,
            )), 0..40),
            is_small: bool,
        ) {
            let metadata: Vec<Option<String>> = values.iter().map(|values| {
                let pairs = values.as_ref()?.iter().map(|(name, json)| format!("{name:?}: {json}"));
                Some(format!("{{{}}}", pairs.collect::<Vec<_>>().join(", ")))
            }).collect();
            let folder = tempfile::tempdir().unwrap();
            let documents = documents(folder.path(), &metadata);
            let path = folder.path().join("columns");
            let written = write_within(&path, &documents, if is_small { 0 } else { BUDGET }).unwrap();
            let mut expected: BTreeMap<Field, Vec<(Value, u32)>> = BTreeMap::new();
            for (row, metadata) in metadata.iter().enumerate() {
                let json = metadata::read("", metadata.as_deref()).unwrap();
                for names in [&["a"][..], &["b"], &["c"], &["a", "d"], &["b", "d"], &["c", "d"]] {
                    let field = Field::new(names.iter().copied());
                    let values = field.values(&json).into_iter().map(|value| (value, row as u32));
                    let values: Vec<_> = values.collect();
                    if !values.is_empty() {
                        expected.entry(field).or_default().extend(values);
                    }
                }
            }
            prop_assert_eq!(written.is_some(), !expected.is_empty());
            let Some(written) = written else { return Ok(()) };
            let bytes = FileBytes::map(&path, written.size).unwrap();
            let file = ColumnsFile::open(path, bytes, metadata.len() as u32).unwrap();
            file.verify().unwrap();
            let mut fields: Vec<&Field> = file.fields().collect();
            fields.sort();
            prop_assert_eq!(fields, expected.keys().collect::<Vec<_>>());
            for (field, pairs) in expected {
                let range = file.columns[&field].0.clone();
                prop_assert_eq!(&file.bytes()[range], &encode(pairs)[..]);
            }
            prop_assert_eq!(file.column(&Field::new(["none"])).unwrap().kinds().count(), 0);
        }
    }

    /// What an earlier version took and nobody can read is not taken for no metadata. There are no columns that would
    /// say so: the documents are read, and an error names the one.
    #[test]
    fn unreadable_metadata_has_no_columns() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = [r#"{"year":2020}"#, r#"{"year":2021,"f":1e400}"#].map(|text| Some(text.to_owned()));
        let documents = documents(folder.path(), &metadata);
        let path = folder.path().join("columns");
        assert!(write(&path, &documents).unwrap().is_none());
        assert!(!path.exists());
        let (fields, missing) = (Fields::new(None), "year is missing".parse().unwrap());
        for result in [
            fields.matching(&missing, &documents, &Bitmap::default()).map(drop),
            fields.count(&documents, &Bitmap::default(), Default::default()).map(drop),
            documents.check_metadata(&Bitmap::default()),
        ] {
            assert!(matches!(&result, Err(Error::InvalidMetadata { id, .. }) if id == "1"), "{result:?}");
        }
        // Once the document is deleted, nothing is wrong.
        let deleted: Bitmap = [1].into_iter().collect();
        documents.check_metadata(&deleted).unwrap();
        fields.matching(&missing, &documents, &deleted).unwrap();
        fields.count(&documents, &deleted, Default::default()).unwrap();
    }

    /// A changed byte anywhere is found by opening, by reading the column or by verifying, and nothing panics.
    #[test]
    fn changed_bytes_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let metadata: Vec<_> =
            (0..20).map(|n| Some(format!("{{\"n\": {}, \"s\": [\"x{n}\", true]}}", n % 3))).collect();
        let documents = documents(folder.path(), &metadata);
        let path = folder.path().join("columns");
        let written = write(&path, &documents).unwrap().unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x11;
            let path = folder.path().join(format!("changed{at}"));
            std::fs::write(&path, bytes).unwrap();
            let bytes = FileBytes::map(&path, written.size).unwrap();
            let found = ColumnsFile::open(path, bytes, 20).and_then(|file| file.verify());
            assert!(found.is_err(), "byte {at}");
        }
    }
}
