//! Static TLS: memory at a distance from the thread pointer that is the same in every thread, for images whose code
//! counts on that (initial-exec).
//!
//! The memory is part of this program's own thread-local block, which every thread has from its start. Images get
//! pieces of it. What a piece starts as has to be there in the calling thread, in threads that start later (they copy
//! this program's `PT_TLS` segment, so it is changed) and in those that run already (see `donor`).
//!
//! `unsafe` because all of that is memory that is reached by address; who owns which part of it is decided here alone.
#![allow(unsafe_code)]

use super::{Shape, donor};
use crate::ErrorKind;
use std::{
    arch::asm,
    cell::UnsafeCell,
    ffi::{c_int, c_void},
    ops::Range,
    ptr, slice,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// How many bytes all loaded images together can have. Threads pay for it from their stacks, so it is chosen when the
/// engine is compiled: `LOADER_STATIC_TLS=bytes` in the environment of the build.
pub const STATIC_TLS: usize = size(option_env!("LOADER_STATIC_TLS"), 16 << 10);

/// Every thread pointer is a multiple of this (psABI: the alignment of the thread control block).
const ALIGNED: usize = 64;

/// A decimal number, or what stands for none.
const fn size(text: Option<&str>, default: usize) -> usize {
    let Some(text) = text else { return default };
    let (digits, mut n, mut i) = (text.as_bytes(), 0, 0);
    while i < digits.len() {
        assert!(digits[i].is_ascii_digit(), "LOADER_STATIC_TLS must be a number of bytes");
        n = n * 10 + (digits[i] - b'0') as usize;
        i += 1;
    }
    n
}

/// What every thread has of this.
#[repr(C, align(64))]
struct PerThread {
    /// First, so that it is as aligned as the whole.
    memory: UnsafeCell<[u8; STATIC_TLS]>,
    /// See [`cell`].
    cell: UnsafeCell<usize>,
    /// Not zero, so that the linker gives all of it a place in the segment that new threads copy.
    initialised: UnsafeCell<u64>,
}

thread_local! {
    static PER_THREAD: PerThread = const {
        PerThread {
            memory: UnsafeCell::new([0; STATIC_TLS]),
            cell: UnsafeCell::new(0),
            initialised: UnsafeCell::new(1),
        }
    };
}

/// Where it is.
struct Home {
    /// From the thread pointer to a [`PerThread`].
    offset: i64,
    /// The [`PerThread`] that new threads copy.
    image: usize,
}

/// Where the reserve is; `None` where this program's block is not at one distance in all threads (it is part of a
/// library that was loaded when threads ran already).
fn home() -> Option<&'static Home> {
    static HOME: OnceLock<Option<Home>> = OnceLock::new();
    HOME.get_or_init(|| {
        let here = PER_THREAD.with(|t| ptr::from_ref(t).expose_provenance());
        let mut search = Search { here, first: true, found: None };
        // SAFETY: `look` is what `dl_iterate_phdr` wants, and the search outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
        let (main, base, image) = search.found?;
        let offset = (here as u64).wrapping_sub(thread_pointer()).cast_signed();
        (main || donor::is_static(base, here)).then_some(Home { offset, image })
    })
    .as_ref()
}

/// A search for the library that an address of the calling thread's TLS belongs to.
struct Search {
    here: usize,
    first: bool,
    /// Whether it is the main program, its base, and where the address is copied from.
    found: Option<(bool, usize, usize)>,
}

unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: `home` handed its search to `dl_iterate_phdr`.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the system's loader gives an entry of its list, which stays during the call.
    let info = unsafe { &*info };
    // SAFETY: the headers are `dlpi_phnum` in number and stay as long.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let main = std::mem::take(&mut search.first);
    let tls = headers.iter().find(|h| h.p_type == libc::PT_TLS);
    let start = info.dlpi_tls_data.addr();
    if let Some(tls) = tls
        && (start..start + tls.p_memsz as usize).contains(&search.here)
        && start != 0
    {
        let base = info.dlpi_addr as usize;
        search.found = Some((main, base, base + tls.p_vaddr as usize + (search.here - start)));
    }
    c_int::from(search.found.is_some())
}

/// The thread pointer, which on x86-64 Linux is stored at the place it points to.
pub(super) fn thread_pointer() -> u64 {
    let tp: u64;
    // SAFETY: reads the first word of the thread control block, which every thread has.
    unsafe { asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// From the thread pointer to a word that is zero in every new thread, for the table of `thread`.
pub(super) fn cell() -> Option<i64> {
    home().map(|h| h.offset + std::mem::offset_of!(PerThread, cell) as i64)
}

/// Which parts of the memory are taken, in order.
struct Map {
    taken: Vec<Range<usize>>,
    /// Nothing was ever written from here on: it is zero in every thread.
    fresh: usize,
}

static MAP: Mutex<Map> = Mutex::new(Map { taken: Vec::new(), fresh: 0 });

/// While what this gives lives, no other thread changes what is taken.
pub(super) fn hold() -> impl Sized + use<> {
    map()
}

fn map() -> MutexGuard<'static, Map> {
    MAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A piece of the reserve; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Piece {
    range: Range<usize>,
    /// From the thread pointer to the memory that the range is a part of.
    memory: i64,
    /// It may hold what a former owner left there.
    used: bool,
}

impl Piece {
    /// Takes a piece of that shape.
    pub(super) fn take(shape: &Shape) -> Result<Self, ErrorKind> {
        let &Shape { size, align, skew, .. } = shape;
        let exhausted = |left| ErrorKind::StaticTlsExhausted { size, align, left };
        let home = home().ok_or(exhausted(0))?;
        let mut map = map();
        let gaps = map.gaps();
        let left = gaps.iter().map(ExactSizeIterator::len).max().unwrap_or(0) as u64;
        if align > ALIGNED as u64 {
            return Err(exhausted(left));
        }
        // The memory is aligned as thread pointers are: a distance within it says all.
        let fit = |gap: &Range<usize>| {
            let start = gap.start + ((skew as usize).wrapping_sub(gap.start) & (align as usize - 1));
            let end = start.checked_add(usize::try_from(size).ok()?)?;
            (end <= gap.end).then_some(start..end)
        };
        let range = gaps.iter().find_map(fit).ok_or(exhausted(left))?;
        let used = range.start < map.fresh;
        map.fresh = map.fresh.max(range.end);
        let at = map.taken.partition_point(|t| t.start < range.start);
        map.taken.insert(at, range.clone());
        Ok(Self { range, memory: home.offset, used })
    }

    /// From the thread pointer to the piece.
    pub(super) fn offset(&self) -> i64 {
        self.memory + self.range.start as i64
    }

    /// The calling thread's piece.
    pub(super) fn here(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(thread_pointer().wrapping_add_signed(self.offset()) as usize)
    }

    /// Makes the piece start as `init` and zeroes, in the calling thread and in those that start from now on.
    pub(super) fn fill(&self, init: &[u8]) -> Result<(), ErrorKind> {
        let Some(bytes) = self.start(init) else {
            return Ok(());
        };
        let home = home().ok_or(ErrorKind::Inconsistent { what: "a static TLS reserve that went away" })?;
        let one_at_a_time = map(); // pages are shared between pieces
        copy_to_read_only(home.image + self.range.start, &bytes)?;
        drop(one_at_a_time);
        // SAFETY: the piece is part of the calling thread's block, and nobody else has it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.here(), bytes.len()) };
        Ok(())
    }

    /// The same for the threads that run already, once `fill` was done. What the calling thread wrote since stays.
    ///
    /// The system's loader takes its lock for it, whose holder may run foreign code: none of ours may be held.
    pub(super) fn spread(&self, init: &[u8]) -> Result<(), ErrorKind> {
        let Some(bytes) = self.start(init).filter(|_| !only_thread()) else {
            return Ok(());
        };
        let mut mine = vec![0; bytes.len()];
        // SAFETY: the piece is part of the calling thread's block; only its own code writes there.
        unsafe { ptr::copy_nonoverlapping(self.here(), mine.as_mut_ptr(), mine.len()) };
        let written = donor::write(self.offset(), &bytes);
        // SAFETY: as above.
        unsafe { ptr::copy_nonoverlapping(mine.as_ptr(), self.here(), mine.len()) };
        let refused = ErrorKind::Space { what: "write static TLS of running threads", os: libc::ENOTSUP };
        written.then_some(()).ok_or(refused)
    }

    /// All that has to be written, or `None` where the piece is zero in every thread and is to be.
    fn start(&self, init: &[u8]) -> Option<Vec<u8>> {
        (self.used || init.iter().any(|&b| b != 0)).then(|| {
            let mut bytes = init.to_vec();
            bytes.resize(self.range.len(), 0);
            bytes
        })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        map().taken.retain(|t| t.start != self.range.start);
    }
}

impl Map {
    fn gaps(&self) -> Vec<Range<usize>> {
        let starts = std::iter::once(0).chain(self.taken.iter().map(|t| t.end));
        let ends = self.taken.iter().map(|t| t.start).chain(std::iter::once(STATIC_TLS));
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }
}

/// Writes to a segment that the system's loader made read-only when it had relocated it.
fn copy_to_read_only(at: usize, bytes: &[u8]) -> Result<(), ErrorKind> {
    let at = ptr::with_exposed_provenance_mut::<u8>(at);
    // SAFETY: the pages are this program's own, and get their rights back; more rights hurt nobody who reads.
    let unlocked = unsafe { region::protect_with_handle(at, bytes.len(), region::Protection::READ_WRITE) };
    let refused = |_| ErrorKind::Space { what: "write the template of static TLS", os: libc::EACCES };
    let _unlocked = unlocked.map_err(refused)?;
    // SAFETY: the reserve's part of the segment is as long as the reserve; threads that start meanwhile copy either.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
    Ok(())
}

/// Whether the calling thread is the process's only one. Then nobody can start another meanwhile. If nobody can tell, it is not.
#[must_use]
pub fn only_thread() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|s| s.st_nlink == 3) // itself, its parent, one thread
}
