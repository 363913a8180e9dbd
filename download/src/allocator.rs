//! How the C library's allocator keeps memory that was given back.

use std::sync::Once;

/// Blocks from this size on are given back to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 256 << 10;
/// Heaps, of which each keeps what its threads gave back.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: i32 = 2;

/// Lets the process take no more memory than what is under way needs. The GNU allocator takes the first large block that is
/// freed as a sign that blocks up to its size are best kept, in a heap for each thread: bodies of some megabytes then add up
/// to twice what they need. Elsewhere nothing is done.
pub(crate) fn give_back_large_blocks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(set);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn set() {
    unsafe extern "C" {
        fn mallopt(param: i32, value: i32) -> i32;
    }
    // malloc.h's numbers.
    const M_MMAP_THRESHOLD: i32 = -3;
    const M_ARENA_MAX: i32 = -8;
    // SAFETY: glibc's mallopt takes two integers, may be called at any time by any thread, and refuses what it does not know.
    unsafe {
        mallopt(M_MMAP_THRESHOLD, LARGE);
        mallopt(M_ARENA_MAX, HEAPS);
    }
}
