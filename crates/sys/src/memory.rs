//! What the allocator gives back.

/// The size from which on a piece of memory is the kernel's own mapping, and the most that is kept at the end of a heap.
const PIECE: i32 = 1 << 20;

/// Has memory that was freed go back to the kernel. Left alone, glibc keeps more at each large message: it takes a large piece
/// that was freed as a reason to serve the next from a heap, one of which each thread may have (mallopt(3),
/// `M_MMAP_THRESHOLD`). To be called before there are threads; other C libraries have nothing to set.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: mallopt takes two integers and touches nothing but the allocator's own parameters.
        unsafe { libc::mallopt(parameter, PIECE) };
    }
}
