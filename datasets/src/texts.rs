//! Plain texts, such as a model is calibrated on.

use std::path::Path;

use crate::beir::{BeirFolder, Documents};
use crate::document::Passage;
use crate::error::Result;
use crate::fault::Fault;
use crate::reader::Lines;
use crate::record;

/// The texts of a file or folder, read as they are asked for.
pub struct Texts(TextReader);

enum TextReader {
    Beir(Documents),
    /// One JSON object a line, or one text a line.
    Lines {
        lines: Lines,
        parse: fn(&str) -> std::result::Result<Passage, Fault>,
    },
}

impl Texts {
    /// Opens texts: a BEIR folder's corpus, a file of JSON lines, or a file with one text a line. JSON lines have
    /// `text` and perhaps `title`, and the file's name ends in `.jsonl` or `.json`. Files may be compressed, `.gz` or
    /// `.zst`. Blank lines are skipped.
    ///
    /// ```
    /// use secateur_datasets::Texts;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("texts.jsonl");
    /// std::fs::write(&path, "{\"text\": \"Roses\"}\n\n{\"title\": \"Bees\", \"text\": \"dance\"}\n")?;
    /// let texts: Vec<_> = Texts::open(&path)?.collect::<Result<_, _>>()?;
    /// assert_eq!(texts[0].joined(" "), "Roses");
    /// assert_eq!(texts[1].joined(" "), "Bees dance");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if there is no such file. The errors of [`BeirFolder::open`] for a folder. An
    /// item is an error for a bad line.
    pub fn open(path: impl AsRef<Path>) -> Result<Texts> {
        let path = path.as_ref();
        if path.is_dir() {
            return Ok(Texts(TextReader::Beir(BeirFolder::open(path)?.corpus()?)));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        let parse = if name.ends_with(".jsonl") || name.ends_with(".json") {
            record::parse_passage
        } else {
            |line: &str| Ok(Passage { title: String::new(), text: line.to_owned() })
        };
        Ok(Texts(TextReader::Lines { lines: Lines::open(path)?, parse }))
    }
}

impl Iterator for Texts {
    type Item = Result<Passage>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            TextReader::Beir(documents) => {
                Some(documents.next()?.map(|document| Passage { title: document.title, text: document.text }))
            }
            TextReader::Lines { lines, parse } => {
                let parsed = match lines.next()? {
                    Ok((_, line)) => parse(line),
                    Err(error) => return Some(Err(error)),
                };
                Some(parsed.map_err(|fault| lines.error(fault)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_each_kind() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, content: &str| {
            let path = folder.path().join(name);
            crate::writer::write_records(&path, |file| Ok(file.write_all(content.as_bytes())?)).unwrap();
            Texts::open(&path).unwrap().map(|text| text.map(|text| text.joined(" "))).collect::<Vec<_>>()
        };
        let texts = |items: Vec<Result<String>>| items.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(texts(open("a.txt", "one\n\n{\"two\"}\n")), ["one", "{\"two\"}"]);
        let json = "{\"text\": \"one\", \"url\": 3}\n{\"_id\": \"2\", \"title\": \"t\", \"text\": \"two\"}\n";
        assert_eq!(texts(open("a.jsonl.gz", json)), ["one", "t two"]);
        let bad = open("bad.jsonl", "{\"text\": \"one\"}\n{\"title\": \"no text\"}\n");
        let message = bad[1].as_ref().unwrap_err().to_string();
        assert!(message.contains("bad.jsonl:2") && message.contains("text"), "{message}");
        let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
        assert_eq!(Texts::open(mini).unwrap().count(), 63);
    }
}
