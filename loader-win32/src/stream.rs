//! `FILE`: Windows' 48 bytes in front, the host's stream behind them.
//!
//! The buffer fields stay empty, so that code which looks into them (as C++ streams do) always asks a function.
#![allow(unsafe_code)] // the host's streams are reached by pointer

use crate::{guest::Ptr, kernel32::sync::Section, lock, teb};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize, Ordering::Relaxed};

unsafe extern "C" {
    static stdin: *mut libc::FILE;
    static stdout: *mut libc::FILE;
    static stderr: *mut libc::FILE;
}

/// The flag that says that a stream has ended.
const END: i32 = 0x10;

/// A stream, as Windows code points to it.
#[repr(C)]
pub(crate) struct Stream {
    next: AtomicUsize,
    left: AtomicI32,
    base: AtomicUsize,
    flags: AtomicI32,
    file: AtomicI32,
    kept: AtomicI32,
    size: AtomicI32,
    host: AtomicPtr<libc::FILE>,
}

const _: () = assert!(size_of::<Stream>() == 48);

/// A stream that was opened. Programs of mingw lock it by a critical section that msvcrt is known to have behind it.
#[repr(C)]
struct Opened {
    stream: Stream,
    lock: Section,
}

impl Stream {
    const fn new(file: i32) -> Self {
        Self {
            next: AtomicUsize::new(0),
            left: AtomicI32::new(0),
            base: AtomicUsize::new(0),
            flags: AtomicI32::new(0),
            file: AtomicI32::new(file),
            kept: AtomicI32::new(0),
            size: AtomicI32::new(0),
            host: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The places of the buffer's beginning, of the next byte in it, and of the number of bytes left.
    pub(crate) fn buffer(&self) -> [usize; 3] {
        let at = |p: *const u8| p.expose_provenance();
        [
            at((&raw const self.base).cast()),
            at((&raw const self.next).cast()),
            at((&raw const self.left).cast()),
        ]
    }

    /// The file's number.
    pub(crate) fn file(&self) -> i32 {
        self.file.load(Relaxed)
    }

    /// Whether a text ended here before its file did: at a Ctrl-Z.
    pub(crate) fn ended(&self) -> bool {
        self.flags.load(Relaxed) & END != 0
    }

    /// A stream that was opened anew has another number.
    pub(crate) fn set_file(&self, number: i32) {
        self.file.store(number, Relaxed);
    }

    /// The buffer is empty, whatever code that looks into it left there.
    pub(crate) fn nothing_buffered(&self) {
        self.left.store(0, Relaxed);
    }

    /// Keeps a wide character that is to be read next.
    pub(crate) fn keep(&self, unit: u16) {
        self.kept.store(i32::from(unit) + 1, Relaxed);
    }

    /// The wide character that was kept.
    pub(crate) fn take_kept(&self) -> Option<u16> {
        u16::try_from(self.kept.swap(0, Relaxed) - 1).ok()
    }

    /// Says whether a text ended here; what was kept is forgotten.
    pub(crate) fn set_ended(&self, ended: bool) {
        self.kept.store(0, Relaxed);
        self.flags.store(if ended { END } else { 0 }, Relaxed);
    }

    /// The host's stream.
    pub(crate) fn host(&self) -> *mut libc::FILE {
        let host = self.host.load(Relaxed);
        if !host.is_null() {
            return host;
        }
        // SAFETY: the host's C library keeps these three from the start to the end of the program.
        let all = [unsafe { stdin }, unsafe { stdout }, unsafe { stderr }];
        usize::try_from(self.file.load(Relaxed))
            .ok()
            .and_then(|n| all.get(n))
            .copied()
            .unwrap_or(std::ptr::null_mut())
    }
}

/// Standard input, output and error, side by side as msvcrt has them.
static STANDARD: [Stream; 3] = [Stream::new(0), Stream::new(1), Stream::new(2)];

/// All three.
pub(crate) const fn standard_ones() -> *const Stream {
    STANDARD.as_ptr()
}

/// One of the three.
pub(crate) fn standard(n: u32) -> *const Stream {
    STANDARD.get(n as usize).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Standard output, as guest code would pass it.
pub(crate) fn output() -> Ptr<Stream> {
    of_ours(1)
}

/// Standard input, as guest code would pass it.
pub(crate) fn input() -> Ptr<Stream> {
    of_ours(0)
}

/// Standard error, as guest code would pass it.
pub(crate) fn errors() -> Ptr<Stream> {
    of_ours(2)
}

fn of_ours(n: u32) -> Ptr<Stream> {
    // SAFETY: the standard streams live for ever.
    unsafe { Ptr::new(standard(n).cast_mut()) }
}

/// A stream of guest code around one of the host; null stays null.
pub(crate) fn wrap(host: *mut libc::FILE) -> *const Stream {
    if host.is_null() {
        return std::ptr::null();
    }
    // SAFETY: the stream was opened by the caller just now.
    let file = unsafe { libc::fileno(host) };
    let opened = Box::new(Opened { stream: Stream::new(file), lock: Section::new() });
    opened.stream.host.store(host, Relaxed);
    let opened: *const Stream = Box::into_raw(opened).cast();
    lock(&teb::process().runtime.streams).insert(opened.expose_provenance());
    opened
}

/// Closes every stream that the program has opened; how many those were.
pub(crate) fn close_all() -> usize {
    let all = std::mem::take(&mut *lock(&teb::process().runtime.streams));
    let n = all.len();
    all.into_iter().for_each(|stream| {
        release(Ptr::from_guest(stream as u64));
    });
    n
}

/// How many streams are open, with the three standard ones.
pub(crate) fn open_ones() -> usize {
    STANDARD.len() + lock(&teb::process().runtime.streams).len()
}

/// Whether it is a stream that is open.
pub(crate) fn is_open(stream: Ptr<Stream>) -> bool {
    is_standard(stream) || lock(&teb::process().runtime.streams).contains(&stream.addr())
}

fn is_standard(stream: Ptr<Stream>) -> bool {
    STANDARD.as_ptr_range().contains(&stream.raw().cast_const())
}

/// Closes a stream. The three standard ones are only flushed: they are the host's.
pub(crate) fn close(stream: Ptr<Stream>) -> i32 {
    if is_standard(stream) {
        // SAFETY: the host's standard streams are always open.
        return unsafe { libc::fflush(stream.shared().host()) };
    }
    let open = lock(&teb::process().runtime.streams).remove(&stream.addr());
    if open { release(stream) } else { -1 }
}

/// Closes a stream that is in nobody's list any more.
fn release(stream: Ptr<Stream>) -> i32 {
    let host = stream.shared().host();
    // SAFETY: `wrap` boxed it, and it was taken from the list of open streams just now, once.
    drop(unsafe { Box::from_raw(stream.raw().cast::<Opened>()) });
    // SAFETY: the host's stream was the box's own.
    unsafe { libc::fclose(host) }
}

/// What a guest's argument is for the host: itself, except for streams.
pub(crate) trait ToHost {
    /// The host's type.
    type Host;
    /// The host's value.
    fn to_host(self) -> Self::Host;
}

impl ToHost for Ptr<Stream> {
    type Host = *mut libc::FILE;
    fn to_host(self) -> *mut libc::FILE {
        if self.is_null() { std::ptr::null_mut() } else { self.shared().host() }
    }
}
