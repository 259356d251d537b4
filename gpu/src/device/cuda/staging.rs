//! Copies between the program and the device, through memory that does not move. The driver copies other memory through
//! such memory too, but it waits for the device first.

use cudarc::driver::result as driver;
use cudarc::driver::sys;

use super::{Event, failed};
use crate::error::Result;
use crate::memory::Address;

/// Bytes of a piece. Reading a file, copying from it and sending go on at the same time with several of them.
const PIECE: usize = 4 << 20;
const PIECES: usize = 4;

/// Pieces of pinned memory, used in turn.
pub(super) struct Staging {
    stream: sys::CUstream,
    pieces: Vec<Piece>,
    next: usize,
}

struct Piece {
    start: *mut u8,
    /// When the device is done with it.
    free: Event,
}

impl Staging {
    pub(super) fn new(stream: sys::CUstream) -> Result<Staging> {
        let mut pieces = Vec::with_capacity(PIECES);
        for _ in 0..PIECES {
            // SAFETY: `free` frees it.
            let start =
                unsafe { driver::malloc_host(PIECE, 0) }.map_err(failed("allocating pinned memory"))?;
            let free = Event::new()?;
            free.record(stream)?;
            pieces.push(Piece { start: start.cast(), free });
        }
        Ok(Staging { stream, pieces, next: 0 })
    }

    pub(super) fn free(&mut self) {
        for piece in self.pieces.drain(..) {
            // SAFETY: `new` allocated it, and the device is done.
            let _ = unsafe { driver::free_host(piece.start.cast()) };
        }
    }

    /// The next piece, when the device is done with it.
    fn piece(&mut self) -> Result<&Piece> {
        self.next = (self.next + 1) % PIECES;
        let piece = &self.pieces[self.next];
        piece.free.wait()?;
        Ok(piece)
    }

    pub(super) fn upload(&mut self, to: Address, bytes: &[u8]) -> Result<()> {
        let stream = self.stream;
        for (number, part) in bytes.chunks(PIECE).enumerate() {
            let piece = self.piece()?;
            // SAFETY: the piece is free and as large as a part; the caller's buffer has room for all of them.
            unsafe {
                let pinned = std::slice::from_raw_parts_mut(piece.start, part.len());
                pinned.copy_from_slice(part);
                driver::memcpy_htod_async(to + (number * PIECE) as u64, pinned, stream)
            }
            .map_err(failed("copying to the device"))?;
            piece.free.record(stream)?;
        }
        Ok(())
    }

    pub(super) fn download(&mut self, from: Address, bytes: &mut [u8]) -> Result<()> {
        let stream = self.stream;
        for (number, part) in bytes.chunks_mut(PIECE).enumerate() {
            let piece = self.piece()?;
            // SAFETY: as in `upload`; the copy is waited for before the piece is read.
            unsafe {
                let pinned = std::slice::from_raw_parts_mut(piece.start, part.len());
                driver::memcpy_dtoh_async(pinned, from + (number * PIECE) as u64, stream)
                    .map_err(failed("copying from the device"))?;
                piece.free.record(stream)?;
                piece.free.wait()?;
                part.copy_from_slice(pinned);
            }
        }
        Ok(())
    }
}
