//! The tile registers of AMX. Each holds 16 rows of 64 bytes. One instruction multiplies two of them and adds the
//! products to 16 x 16 sums in a third.
//!
//! Rust has no stable functions for these instructions, so they are written by name. The compiler itself never uses the
//! eight registers `tmm`, whose content stays from one instruction to the next.

#![allow(unsafe_code, reason = "instructions of the processor at hand")]

use std::arch::asm;
use std::sync::LazyLock;

/// Rows of a tile register.
pub(super) const TILE_ROWS: usize = 16;

/// Bytes of a row of a tile register.
pub(super) const ROW_BYTES: usize = 64;

/// Whether the processor has the instructions and the system lets this process use them. The answer holds for all of
/// its threads.
pub(super) fn is_there() -> bool {
    static IS_THERE: LazyLock<bool> = LazyLock::new(|| {
        numkong::available() & numkong::cap::SAPPHIREAMX != 0 && numkong::configure_thread()
    });
    *IS_THERE
}

/// What `ldtilecfg` reads: all eight registers have 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = {
    let mut shapes =
        Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let mut register = 0;
    while register < 8 {
        (shapes.row_bytes[register], shapes.rows[register]) = (ROW_BYTES as u16, TILE_ROWS as u8);
        register += 1;
    }
    shapes
};

/// The tile registers of this thread, all of them with 16 rows of 64 bytes. Other code of the thread may give them
/// other shapes, so each product begins with this. They are given back when it ends: a thread's switch then saves
/// nothing.
pub(super) struct Tiles(());

impl Tiles {
    /// # Safety
    ///
    /// [`is_there`] has said yes.
    pub(super) unsafe fn configure() -> Tiles {
        // SAFETY: the processor has the instruction, which reads 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly, preserves_flags));
        }
        Tiles(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: whoever configured the tiles knows that the instruction is there.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }
}

/// Fills a register with zeros.
macro_rules! zero {
    ($tile:literal) => {
        std::arch::asm!(concat!("tilezero ", $tile), options(nostack, nomem, preserves_flags))
    };
}
pub(super) use zero;

/// Fills a register with 16 rows of 64 bytes, from `$from` on and `$stride` bytes apart.
macro_rules! load {
    ($tile:literal, $from:expr, $stride:expr) => {
        std::arch::asm!(
            concat!("tileloadd ", $tile, ", [{from} + {stride}]"),
            from = in(reg) $from,
            stride = in(reg) $stride,
            options(nostack, readonly, preserves_flags)
        )
    };
}
pub(super) use load;

/// sums += a b, by an instruction of this name.
macro_rules! add_products {
    ($instruction:literal, $sums:literal, $a:literal, $b:literal) => {
        std::arch::asm!(
            concat!($instruction, " ", $sums, ", ", $a, ", ", $b),
            options(nostack, nomem, preserves_flags)
        )
    };
}
pub(super) use add_products;

/// Writes a register as 16 rows of 64 bytes.
macro_rules! store {
    ($tile:literal, $to:expr) => {
        std::arch::asm!(
            concat!("tilestored [{to} + {stride}], ", $tile),
            to = in(reg) $to,
            stride = in(reg) $crate::compute::cpu::amx::ROW_BYTES,
            options(nostack, preserves_flags)
        )
    };
}
pub(super) use store;
