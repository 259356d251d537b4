//! How many heaps glibc's allocator keeps.

/// One heap a core, and no fewer than two, in place of glibc's eight a core.
///
/// A server allocates on many threads, and a heap keeps most of what it once held. In nine rounds of
/// `serve/tests/load.py` on two cores memory grew from 306 to 548 MiB. With two heaps its median was 257 MiB, and the
/// last round's 270. To be called before threads begin.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a call of the C library")]
pub fn limit_arenas() {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let most = cores.clamp(2, 1024) as libc::c_int;
    // SAFETY: mallopt takes two numbers by value, and this one may be set at any time.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, most) };
}

/// Other allocators keep no heap for each thread, or give it back.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit_arenas() {}
