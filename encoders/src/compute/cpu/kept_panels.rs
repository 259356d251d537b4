//! Packed matrices of models that were loaded before, in a file that is mapped, so that they need not be packed again.
//!
//! The matrices of a model lie in the order in which it loads them, each after its shape. The first row of each is
//! compared with that of the weights: a file of another order, or of other weights, is not used. What cannot be read
//! or written is as if it were not there: only time is lost.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use secateur_files::{Durable, disk};

use super::isa::PANEL;
use super::packed_matrix::PackedMatrix;
use crate::weights::mapped::MappedFloats;

/// The names of the files end so.
pub(crate) const EXTENSION: &str = "panels";

/// The most bytes of one model. Beyond it packing is little beside what is computed, and the disk is the user's.
const MOST_OF_MODEL: usize = 256 << 20;

/// The most bytes of all models: the oldest files make room.
const MOST_OF_ALL: u64 = 1 << 30;

/// A matrix and what is in front of it begin at multiples of this, so that its panels lie in whole cache lines.
const ALIGNMENT: usize = 64;

/// The packed matrices of one model, while it is loaded.
pub(crate) struct KeptPanels(State);

enum State {
    /// Nothing is kept of this model.
    Off,
    Reading {
        path: PathBuf,
        map: Arc<Mmap>,
        at: usize,
    },
    Writing {
        path: PathBuf,
        file: Durable,
        written: usize,
    },
}

impl KeptPanels {
    /// Nothing is read and nothing kept.
    pub(crate) fn off() -> KeptPanels {
        KeptPanels(State::Off)
    }

    /// Reads the file at `path`, or begins it.
    pub(crate) fn open(path: &Path) -> KeptPanels {
        KeptPanels(KeptPanels::state(path).unwrap_or(State::Off))
    }

    fn state(path: &Path) -> Option<State> {
        let path = path.to_owned();
        if let Ok(file) = File::open(&path) {
            // SAFETY: files of this kind are replaced as a whole, never written in place.
            #[allow(unsafe_code)]
            let map = Arc::new(unsafe { Mmap::map(&file) }.ok()?);
            return Some(State::Reading { path, map, at: 0 });
        }
        disk::create_folders(disk::parent(&path)).ok()?;
        let file = Durable::create(&path).ok()?;
        Some(State::Writing { path, file, written: 0 })
    }

    /// The next matrix (`rows`, `depth`): the one that was kept if it begins with the row `first`, else what `pack`
    /// makes.
    pub(crate) fn matrix(
        &mut self,
        (rows, depth): (usize, usize),
        first: &[f32],
        pack: impl FnOnce() -> PackedMatrix,
    ) -> PackedMatrix {
        if let State::Reading { path, map, at } = &mut self.0 {
            if let Some((matrix, end)) = read(map, *at, (rows, depth)).filter(|(matrix, _)| {
                let panel = matrix.panel(0).iter().step_by(PANEL);
                panel.zip(first).all(|(kept, value)| kept.to_bits() == value.to_bits())
            }) {
                *at = end;
                return matrix;
            }
            // It is written anew when the model is loaded the next time.
            let _ = disk::remove_file(path);
            self.0 = State::Off;
        }
        let matrix = pack();
        if let State::Writing { file, written, .. } = &mut self.0 {
            match write(file, &matrix) {
                Ok(bytes) if *written + bytes <= MOST_OF_MODEL => *written += bytes,
                _ => self.0 = State::Off,
            }
        }
        matrix
    }

    /// Ends the file, when the whole model was found in order. Without this nothing is kept.
    pub(crate) fn finish(self) {
        if let State::Writing { path, file, written } = self.0
            && written > 0
            && file.finish().is_ok()
        {
            make_room(&path);
        }
    }
}

/// What stands in front of a matrix, in `ALIGNMENT` bytes.
fn header(rows: usize, depth: usize) -> [u8; ALIGNMENT] {
    let mut bytes = [0; ALIGNMENT];
    for (slot, number) in bytes.chunks_exact_mut(8).zip([PANEL, rows, depth]) {
        slot.copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes
}

/// The matrix at a place, and where the next one begins.
fn read(map: &Arc<Mmap>, at: usize, (rows, depth): (usize, usize)) -> Option<(PackedMatrix, usize)> {
    let start = at + ALIGNMENT;
    if map.get(at..start)? != header(rows, depth) || cfg!(target_endian = "big") {
        return None;
    }
    let end = start + PackedMatrix::len_of(rows, depth) * size_of::<f32>();
    let panels = MappedFloats::new(map, start..end)?;
    Some((PackedMatrix::mapped(panels, rows, depth), end.next_multiple_of(ALIGNMENT)))
}

/// Writes a matrix; says how many bytes it took.
fn write(file: &mut Durable, matrix: &PackedMatrix) -> io::Result<usize> {
    let panels: &[u8] = bytemuck::cast_slice(matrix.all_panels());
    let padding = panels.len().next_multiple_of(ALIGNMENT) - panels.len();
    file.write_all(&header(matrix.rows(), matrix.depth()))?;
    file.write_all(panels)?;
    file.write_all(&[0; ALIGNMENT][..padding])?;
    Ok(ALIGNMENT + panels.len() + padding)
}

/// Removes the oldest of the files beside this one until all have room.
fn make_room(kept: &Path) {
    let Some(Ok(entries)) = kept.parent().map(std::fs::read_dir) else { return };
    let mut others: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let metadata = path.metadata().ok()?;
            let is_other = path.extension().is_some_and(|end| end == EXTENSION) && path != kept;
            is_other.then_some((metadata.modified().ok()?, metadata.len(), path))
        })
        .collect();
    others.sort();
    let mut total: u64 = others.iter().map(|(_, length, _)| length).sum();
    total += kept.metadata().map_or(0, |metadata| metadata.len());
    for (_, length, path) in others {
        if total <= MOST_OF_ALL {
            break;
        }
        total -= length;
        let _ = disk::remove_file(&path);
    }
}
