//! The rows of a table in a text file, by RFC 4180: a cell in quotes may hold delimiters, line breaks and doubled
//! quotes.

use std::path::Path;

use crate::error::Result;
use crate::fault::Fault;
use crate::reader::Lines;

/// The rows of a file, one at a time.
pub(super) struct Rows {
    lines: Lines,
    delimiter: char,
    quoting: bool,
    cells: Vec<String>,
    /// The line that the row began on.
    line: u64,
}

impl Rows {
    /// Opens a file. Without `quoting` a quote is a character like any other.
    pub fn open(path: &Path, delimiter: char, quoting: bool) -> Result<Rows> {
        Ok(Rows { lines: Lines::open(path)?, delimiter, quoting, cells: Vec::new(), line: 0 })
    }

    /// Reads the next row; false at the end. Blank lines are skipped.
    pub fn step(&mut self) -> Result<bool> {
        self.cells.clear();
        let Some(line) = self.lines.next() else { return Ok(false) };
        let (number, line) = line?;
        self.line = number;
        let mut state = State { cells: &mut self.cells, cell: String::new(), is_quoted: false };
        if !self.quoting {
            state.cells.extend(line.split(self.delimiter).map(str::to_owned));
            return Ok(true);
        }
        state.read(line, self.delimiter);
        while state.is_quoted {
            // The cell goes on in the next line; blank ones are part of it.
            let breaks = match self.lines.next_within() {
                Some(next) => {
                    let (between, line) = next?;
                    state.cell.push_str(&"\n".repeat(between as usize));
                    state.read(line, self.delimiter);
                    continue;
                }
                None => Fault::OpenQuote,
            };
            return Err(self.lines.error(breaks));
        }
        let State { cells, cell, .. } = state;
        cells.push(cell);
        Ok(true)
    }

    /// The cells of the row that was read last.
    pub fn cells(&self) -> &[String] {
        &self.cells
    }

    /// The line that the row began on, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// A row that is being read.
struct State<'c> {
    cells: &'c mut Vec<String>,
    cell: String,
    /// Whether a quote is open.
    is_quoted: bool,
}

impl State<'_> {
    fn read(&mut self, line: &str, delimiter: char) {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if self.is_quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    self.cell.push('"');
                }
                '"' if self.is_quoted => self.is_quoted = false,
                _ if self.is_quoted => self.cell.push(c),
                // A quote opens a cell at its beginning only, as in Python's csv module.
                '"' if self.cell.is_empty() => self.is_quoted = true,
                _ if c == delimiter => self.cells.push(std::mem::take(&mut self.cell)),
                _ => self.cell.push(c),
            }
        }
    }
}
