//! Numbers that stay where their file is mapped.

use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// f32 of a file, for as long as they are in use. The file must not be written to meanwhile; it may be replaced.
#[derive(Clone)]
pub struct MappedFloats {
    map: Arc<Mmap>,
    bytes: Range<usize>,
}

impl MappedFloats {
    /// The numbers in some bytes of a map; `None` if these do not lie as f32 do.
    pub(crate) fn new(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<MappedFloats> {
        bytemuck::try_cast_slice::<u8, f32>(map.get(bytes.clone())?).ok()?;
        Some(MappedFloats { map: Arc::clone(map), bytes })
    }
}

impl Deref for MappedFloats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // That it can be cast was checked.
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }
}

impl std::fmt::Debug for MappedFloats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedFloats").field("len", &self.len()).finish_non_exhaustive()
    }
}
