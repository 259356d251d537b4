//! Text files, plain or compressed, one line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use secateur_files::AtPath;

use crate::error::{Error, Result};
use crate::fault::Fault;

/// The longest line that is accepted, in bytes. It only keeps a file without line breaks out of memory.
const MAX_LINE: u64 = 256 << 20;

/// Large reads keep the decompressors busy; the system's default of 8 KiB halves their speed.
const BUFFER: usize = 128 << 10;

/// How a file is compressed, told from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// The end of the names, what the format is called, and the bytes that a file begins with, one way or another.
    fn beginnings(self) -> Option<(&'static str, &'static str, &'static [&'static [u8]])> {
        match self {
            Compression::None => None,
            Compression::Gzip => Some((".gz", "gzip", &[b"\x1f\x8b"])),
            // pzstd puts a frame of its own first, which readers skip.
            Compression::Zstd => Some((".zst", "Zstandard", &[b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])),
        }
    }
}

/// Opens a file for reading and decompresses it if its name ends in `.gz` (of any number of members) or `.zst`.
///
/// ```
/// use std::io::{Read, Write};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("greeting.txt.gz");
/// let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&path)?, flate2::Compression::fast());
/// gzip.write_all(b"hello")?;
/// gzip.finish()?;
/// let mut text = String::new();
/// secateur_datasets::open(&path)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened; [`Error::IsFolder`] for a folder; [`Error::NotCompressed`] if it does
/// not begin as its name says.
pub fn open(path: impl AsRef<Path>) -> Result<Box<dyn BufRead + Send>> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(Error::IsFolder { path: path.to_owned() });
    }
    let compression = Compression::of(path);
    let mut file = BufReader::with_capacity(BUFFER, File::open(path).at("open", path)?);
    let Some((ending, format, beginnings)) = compression.beginnings() else { return Ok(Box::new(file)) };
    let start = file.fill_buf().at("read", path)?;
    // One that is cut off sooner is not known to be anything else.
    let begins = |with: &&[u8]| start.iter().zip(*with).all(|(found, expected)| found == expected);
    if !beginnings.iter().any(begins) {
        return Err(Error::NotCompressed { path: path.to_owned(), ending, format });
    }
    Ok(match compression {
        Compression::Zstd => {
            let frames = zstd::stream::read::Decoder::with_buffer(file).at("decompress", path)?;
            Box::new(BufReader::with_capacity(BUFFER, frames))
        }
        _ => Box::new(BufReader::with_capacity(BUFFER, flate2::bufread::MultiGzDecoder::new(file))),
    })
}

/// Reads a text file as a whole, decompressed as by [`open`] and without its byte order mark.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("latin1.txt");
/// std::fs::write(&path, b"tea\ncaf\xe9\n")?;
/// let error = secateur_datasets::read_text(&path).unwrap_err().to_string();
/// assert!(error.contains("latin1.txt:2: byte 4 is not valid UTF-8"), "{error}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Io`] or [`Error::Read`] if the file cannot be read; [`Error::Line`] where it is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let whole = open(path)?.read_to_end(&mut bytes);
    whole.map_err(|source| {
        let lines_read = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Error::Read { path: path.to_owned(), lines_read, source }
    })?;
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count() as u64;
        let start = valid.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let fault = Fault::NotUtf8 { column: valid.len() - start + 1 };
        Error::Line { path: path.to_owned(), line, fault }
    })
}

/// The lines of a text, each with its number.
///
/// A byte order mark at the start and the carriage return of a Windows line end are removed. A line that is not UTF-8
/// is an error of that line; the next call returns the next line.
///
/// ```
/// use secateur_datasets::Lines;
///
/// let mut lines = Lines::of("-", Box::new(&b"tea\n\ncaf\xe9\nmilk"[..]));
/// assert_eq!(lines.next_line().unwrap()?, (1, "tea"));
/// assert_eq!(lines.next_line().unwrap()?, (2, ""));
/// let error = lines.next_line().unwrap().unwrap_err().to_string();
/// assert_eq!(error, "-:3: byte 4 is not valid UTF-8: convert the file to UTF-8");
/// assert_eq!(lines.next_line().unwrap()?, (4, "milk"));
/// assert!(lines.next_line().is_none());
/// # Ok::<(), secateur_datasets::Error>(())
/// ```
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: u64,
    finished: bool,
}

impl Lines {
    /// The lines of a file, decompressed as by [`open`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Lines::of(&path, open(&path)?))
    }

    /// The lines of what a reader gives; errors call it `path`.
    pub fn of(path: impl AsRef<Path>, reader: Box<dyn BufRead + Send>) -> Self {
        let path = path.as_ref().to_owned();
        Lines { path, reader, buffer: Vec::new(), number: 0, finished: false }
    }

    /// The error of the line that was returned last.
    pub(crate) fn error(&self, fault: Fault) -> Error {
        self.error_at(self.number, fault)
    }

    /// The error of an earlier line.
    pub(crate) fn error_at(&self, line: u64, fault: Fault) -> Error {
        Error::Line { path: self.path.clone(), line, fault }
    }

    /// The line that was returned last.
    pub(crate) fn current(&self) -> &str {
        // What was returned was UTF-8.
        std::str::from_utf8(line_of(&self.buffer, self.number)).unwrap_or_default()
    }

    /// The number of the line that was read last, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank, with the number of lines from the one before to it.
    pub(crate) fn next_within(&mut self) -> Option<Result<(u64, &str)>> {
        let before = self.number;
        Some(self.next()?.map(|(number, line)| (number - before, line)))
    }

    /// The next line that is not blank, without its line end, and its number, counted from 1.
    pub(crate) fn next(&mut self) -> Option<Result<(u64, &str)>> {
        loop {
            let read = self.read()?;
            if read.is_err() || !line_of(&self.buffer, self.number).trim_ascii().is_empty() {
                return Some(read.and_then(|()| self.checked()));
            }
        }
    }

    /// The next line, blank or not, without its line end, and its number, counted from 1; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Line`] for a line that is too long or not UTF-8; [`Error::Read`] if reading fails, which ends it.
    pub fn next_line(&mut self) -> Option<Result<(u64, &str)>> {
        Some(self.read()?.and_then(|()| self.checked()))
    }

    /// Reads the next line into the buffer.
    fn read(&mut self) -> Option<Result<()>> {
        if self.finished {
            return None;
        }
        self.buffer.clear();
        match self.reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.buffer) {
            Ok(0) => {
                self.finished = true;
                return None;
            }
            Ok(_) => self.number += 1,
            Err(source) => {
                self.finished = true;
                let (path, lines_read) = (self.path.clone(), self.number);
                return Some(Err(Error::Read { path, lines_read, source }));
            }
        }
        if self.buffer.len() as u64 > MAX_LINE {
            self.finished = true;
            return Some(Err(self.error(Fault::LineTooLong { limit: MAX_LINE })));
        }
        if self.number == 1 && [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| self.buffer.starts_with(*mark)) {
            self.finished = true;
            return Some(Err(self.error(Fault::Utf16)));
        }
        Some(Ok(()))
    }

    /// The line in the buffer.
    fn checked(&self) -> Result<(u64, &str)> {
        let line = std::str::from_utf8(line_of(&self.buffer, self.number));
        let line = line.map_err(|error| self.error(Fault::NotUtf8 { column: error.valid_up_to() + 1 }))?;
        Ok((self.number, line))
    }
}

/// [`Lines`] as an iterator, each line with its number.
pub(crate) struct OwnedLines(pub(crate) Lines);

impl Iterator for OwnedLines {
    type Item = Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.map(|(number, line)| (number, line.to_owned())))
    }
}

/// A line without its line end and, on the first line, without the byte order mark.
fn line_of(bytes: &[u8], number: u64) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read_all(path: &Path) -> Vec<std::result::Result<(u64, String), String>> {
        let mut lines = Lines::open(path).unwrap();
        let mut all = Vec::new();
        loop {
            let item = match lines.next() {
                None => return all,
                Some(Ok((number, line))) => Ok((number, line.to_owned())),
                Some(Err(error)) => Err(error.to_string()),
            };
            all.push(item);
        }
    }

    #[test]
    fn line_ends_byte_order_marks_and_blank_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        type Case<'a> = (&'a [u8], &'a [(u64, &'a str)]);
        let cases: [Case; 5] = [
            (b"", &[]),
            (b"\xef\xbb\xbfa\r\nb\n", &[(1, "a"), (2, "b")]),
            (b"a\n\n \r\nb", &[(1, "a"), (4, "b")]),
            (b"\xef\xbb\xbf\na", &[(2, "a")]),
            ("é \u{2028}x\n\u{feff}z".as_bytes(), &[(1, "é \u{2028}x"), (2, "\u{feff}z")]),
        ];
        for (bytes, expected) in cases {
            std::fs::write(&path, bytes).unwrap();
            let expected: Vec<_> =
                expected.iter().map(|(number, line)| Ok((*number, (*line).to_owned()))).collect();
            assert_eq!(read_all(&path), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named_and_passed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin1.txt");
        std::fs::write(&path, b"one\ncaf\xe9\nthree\n").unwrap();
        let all = read_all(&path);
        assert_eq!(all[0], Ok((1, "one".to_owned())));
        let message = all[1].as_ref().unwrap_err();
        assert!(
            message.ends_with("latin1.txt:2: byte 4 is not valid UTF-8: convert the file to UTF-8"),
            "{message}"
        );
        assert_eq!(all[2], Ok((3, "three".to_owned())));
    }

    #[test]
    fn utf_16_is_named_and_not_read_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("utf16.jsonl");
        for bytes in [&b"\xff\xfe{\0}\0\n\0x\0"[..], b"\xfe\xff\0{\0}\0\n\0x"] {
            std::fs::write(&path, bytes).unwrap();
            let all = read_all(&path);
            let message = all[0].as_ref().unwrap_err();
            assert!(message.contains("utf16.jsonl:1: the file is in UTF-16"), "{message}");
            assert_eq!(all.len(), 1);
        }
    }

    #[test]
    fn what_is_no_file_and_what_is_not_compressed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| {
            let errors = [Lines::open(path).err(), read_text(path).err()];
            let [lines, whole] = errors.map(|error| error.expect("it is refused").to_string());
            assert_eq!(lines, whole);
            lines
        };
        let message = said(folder.path());
        assert!(message.ends_with(" is a folder, and a file is expected"), "{message}");
        for (name, format) in [("plain.jsonl.gz", "gzip"), ("plain.jsonl.zst", "Zstandard")] {
            let path = folder.path().join(name);
            let ending = name.strip_prefix("plain.jsonl").unwrap();
            std::fs::write(&path, "{\"query\": \"q\"}\n").unwrap();
            let message = said(&path);
            let expected = format!("{name} is named {ending} and is not {format}: ");
            assert!(message.contains(&expected), "{message}");
            // A file that ends within the first bytes may be cut off.
            std::fs::write(&path, "").unwrap();
            let message = Lines::open(&path).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(!message.contains("is named"), "{message}");
        }
    }

    #[test]
    fn compressed_files_of_several_members_are_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let gzip = folder.path().join("two.gz");
        let mut bytes = Vec::new();
        for part in ["one\n", "two\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast());
            encoder.write_all(part.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        std::fs::write(&gzip, bytes).unwrap();
        let zstandard = folder.path().join("two.zst");
        let mut bytes = zstd::encode_all(&b"one\n"[..], 1).unwrap();
        bytes.extend(zstd::encode_all(&b"two\n"[..], 1).unwrap());
        std::fs::write(&zstandard, bytes).unwrap();
        for path in [gzip, zstandard] {
            assert_eq!(read_all(&path), [Ok((1, "one".to_owned())), Ok((2, "two".to_owned()))], "{path:?}");
        }
    }

    #[test]
    fn truncated_compressed_files_name_the_last_good_line() {
        let folder = tempfile::tempdir().unwrap();
        // Random numbers compress badly, so half of the bytes hold about half of the lines.
        let text: String =
            (0..200_000u64).map(|i| format!("{}\n", i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        for name in ["cut.gz", "cut.zst"] {
            let path = folder.path().join(name);
            crate::writer::write_records(&path, |file| Ok(file.write_all(text.as_bytes())?)).unwrap();
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let all = read_all(&path);
            let good = all.iter().filter(|item| item.is_ok()).count();
            assert!(good > 1000, "{name}: {good} lines before the cut");
            let message = all.last().unwrap().as_ref().unwrap_err();
            assert!(message.contains(&format!("cannot read beyond line {good}")), "{name}: {message}");
            assert_eq!(all.len(), good + 1, "{name}: reading stops at the first failure");
        }
    }
}
