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
        let mut state =
            State { cells: &mut self.cells, cell: String::new(), is_quoted: false, has_opened: false };
        if !self.quoting {
            state.cells.extend(line.split(self.delimiter).map(str::to_owned));
            return Ok(true);
        }
        state.read(line, self.delimiter);
        let (mut line_of_quote, mut line_read) = (number, number);
        while state.is_quoted {
            // The cell goes on in the next line; blank ones are part of it.
            let Some(next) = self.lines.next_within() else {
                return Err(self.lines.error_at(line_of_quote, Fault::OpenQuote));
            };
            let (between, line) = next?;
            line_read += between;
            state.cell.push_str(&"\n".repeat(between as usize));
            state.has_opened = false;
            state.read(line, self.delimiter);
            if state.has_opened {
                line_of_quote = line_read;
            }
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
    /// Whether one was opened by what was read last.
    has_opened: bool,
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
                '"' if self.cell.is_empty() => {
                    self.is_quoted = true;
                    self.has_opened = true;
                }
                _ if c == delimiter => self.cells.push(std::mem::take(&mut self.cell)),
                _ => self.cell.push(c),
            }
        }
    }
}
