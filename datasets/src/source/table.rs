//! CSV and TSV: rows of a table become documents.
//!
//! CSV is read by RFC 4180, and so is a TSV file with a header, because programs that write headers quote as well. A
//! TSV file without a header has no quotes, as MS MARCO's files have none: a quote in it is part of the text. A column
//! of numbers or booleans has values of that type, but integers beyond 64 bits stay text, digit by digit. A column of
//! vectors has lists as JSON writes them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Reader;
use super::rows::Rows;
use crate::entry::{Columns, Entry, FieldNames, parse_vector};
use crate::error::{Error, Result};
use crate::fault::Fault;

/// What a column's cells are, if all that are not empty are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    Empty,
    Boolean,
    Number,
    Text,
}

impl CellType {
    fn of(cell: &str) -> CellType {
        match cell {
            "" => CellType::Empty,
            "true" | "false" | "True" | "False" => CellType::Boolean,
            // A number as JSON writes it: 007 and +1 are no numbers.
            _ if serde_json::from_str::<serde_json::Number>(cell)
                .is_ok_and(|number| is_kept(cell, &number)) =>
            {
                CellType::Number
            }
            _ => CellType::Text,
        }
    }

    fn and(self, other: CellType) -> CellType {
        match (self, other) {
            (CellType::Empty, one) | (one, CellType::Empty) => one,
            (a, b) if a == b => a,
            _ => CellType::Text,
        }
    }

    fn value(self, cell: &str) -> Option<Value> {
        match self {
            _ if cell.is_empty() => None,
            CellType::Boolean => Some(Value::Bool(cell.eq_ignore_ascii_case("true"))),
            CellType::Number => serde_json::from_str(cell).ok(),
            CellType::Empty | CellType::Text => Some(Value::from(cell)),
        }
    }
}

/// The rows of a table, one document each.
pub(super) struct Table {
    path: PathBuf,
    rows: Rows,
    header: Vec<String>,
    columns: Columns,
    types: Vec<CellType>,
}

impl Table {
    /// Opens a table. Its first row is the header if it names the text or what is asked for. A TSV file may have no
    /// header and two columns (id, text), three (id, title, text), or MS MARCO's four (id, url, title, text).
    ///
    /// The file is read twice: a column is one of numbers only if all of its cells are numbers.
    pub fn open(path: &Path, names: &FieldNames, is_tsv: bool) -> Result<Table> {
        let at = |line, fault| Error::Line { path: path.to_owned(), line, fault };
        let delimiter = if is_tsv { '\t' } else { delimiter(path)? };
        // A file without a header has no quotes: one could seem to go on to the end of the file.
        let mut rows = Rows::open(path, delimiter, !is_tsv)?;
        rows.step()?;
        let first: Vec<String> = rows.cells().iter().map(|cell| cell.trim().to_owned()).collect();
        let columns = names.columns(&first);
        let has_header = columns.as_ref().is_ok_and(|columns| columns.text.is_some());
        let usual: Option<&[&str]> = match first.len() {
            _ if !is_tsv || names.text.is_some() || has_header => None,
            2 => Some(&["id", "text"]),
            3 => Some(&["id", "title", "text"]),
            4 => Some(&["id", "url", "title", "text"]),
            _ => None,
        };
        let header: Vec<String> = match usual {
            Some(names) => names.iter().map(|name| (*name).to_owned()).collect(),
            None => first,
        };
        let columns = names.columns(&header).map_err(|fault| at(1, fault))?;
        if columns.text.is_none() {
            return Err(at(1, Fault::NoTextColumn { found: shown(&header) }));
        }
        let mut table = Table {
            path: path.to_owned(),
            rows: Rows::open(path, delimiter, usual.is_none())?,
            types: vec![CellType::Empty; header.len()],
            header,
            columns,
        };
        let Columns { id, title, text, vector } = table.columns;
        let of_names = [id, title, text, vector];
        if table.header.len() > of_names.iter().flatten().count() {
            if usual.is_none() {
                table.step()?;
            }
            while table.step()? {
                for (known, cell) in table.types.iter_mut().zip(table.rows.cells()) {
                    *known = known.and(CellType::of(cell));
                }
            }
            table.rows = Rows::open(path, delimiter, usual.is_none())?;
        }
        if usual.is_none() {
            table.step()?;
        }
        Ok(table)
    }

    /// Reads the next row; false at the end.
    fn step(&mut self) -> Result<bool> {
        let is_row = self.rows.step()?;
        if is_row && self.rows.cells().len() != self.header.len() {
            let expected = format!("{} fields, as in the header", self.header.len()).into();
            let fault = Fault::FieldCount { expected, got: self.rows.cells().len() };
            return Err(self.error(fault));
        }
        Ok(is_row)
    }

    fn entry(&self) -> std::result::Result<Entry, Fault> {
        let cells = self.rows.cells();
        let cell = |column: Option<usize>| column.and_then(|column| cells.get(column)).map(String::as_str);
        let Columns { id, title, text, vector } = self.columns;
        let others = self.header.iter().zip(&self.types).zip(cells).enumerate();
        let fields: Map<String, Value> = others
            .filter(|(column, _)| ![id, title, text, vector].contains(&Some(*column)))
            .filter_map(|(_, ((name, kind), cell))| Some((name.clone(), kind.value(cell)?)))
            .collect();
        let vector = vector.map(|column| parse_vector(&self.header[column], &cells[column])).transpose()?;
        Ok(Entry {
            id: cell(id).filter(|id| !id.is_empty()).map(str::to_owned),
            title: cell(title).unwrap_or_default().to_owned(),
            text: cell(text).unwrap_or_default().to_owned(),
            metadata: (!fields.is_empty()).then(|| Value::Object(fields).to_string()),
            vector,
            found: self.header.join(", "),
        })
    }
}

impl Reader for Table {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        match self.step() {
            Ok(true) => Some(self.entry().map_err(|fault| self.error(fault))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn error(&self, fault: Fault) -> Error {
        Error::Line { path: self.path.clone(), line: self.rows.line(), fault }
    }

    fn line(&self) -> u64 {
        self.rows.line()
    }
}

/// Whether a number has the value that its cell has. An integer beyond 64 bits would be rounded to another.
fn is_kept(cell: &str, number: &serde_json::Number) -> bool {
    !number.is_f64() || cell.contains(['.', 'e', 'E']) || number.as_f64() == Some(0.0)
}

/// A comma, unless the first line has semicolons only, as spreadsheets of some countries write.
fn delimiter(path: &Path) -> Result<char> {
    let mut lines = crate::reader::Lines::open(path)?;
    let first = lines.next().transpose()?.map_or("", |(_, line)| line);
    Ok(if !first.contains(',') && first.contains(';') { ';' } else { ',' })
}

fn shown(cells: &[String]) -> String {
    let short = |cell: &String| format!("{:?}", cell.chars().take(30).collect::<String>());
    cells.iter().take(8).map(short).collect::<Vec<_>>().join(", ")
}
