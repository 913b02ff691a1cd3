//! What this crate asks of the system that `rustix` has no safe function for.
//!
//! The room for `unsafe`: raw system calls, and memory that is shared with a process which nobody trusts.
#![allow(unsafe_code)]

use loader_core::memory;
use rustix::{
    mm::{MapFlags, ProtFlags},
    process::Pid,
};
use std::{
    ffi::{c_int, c_void},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, RawFd},
        unix::process::CommandExt,
    },
    process::Command,
    ptr::{self, NonNull},
    time::Duration,
};

/// A second process that goes on here. `None` in the new one.
///
/// Only for a process with one thread.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    Fork::told().fork()
}

/// How copies of this process are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fork(unsafe extern "C" fn() -> c_int);

impl Fork {
    /// Whoever asked the C library for it (`pthread_atfork`) is told, before and after.
    pub(crate) fn told() -> Self {
        Self(libc::fork)
    }

    /// They are not told, where the C library can do that (`_Fork`, since glibc 2.34): a process with one thread has nothing
    /// for them to put right, and the copy touches fewer pages.
    pub(crate) fn untold() -> Self {
        // SAFETY: the name ends with a zero.
        let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Fork".as_ptr()) };
        // SAFETY: null is none, and anything else is the function, which has this type.
        let found =
            unsafe { std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn() -> c_int>>(at) };
        found.map_or_else(Self::told, Self)
    }

    /// `None` in the copy.
    pub(crate) fn fork(self) -> io::Result<Option<Pid>> {
        // SAFETY: the process has one thread, or its caller says that the copy can live with what others leave behind.
        match unsafe { (self.0)() } {
            -1 => Err(io::Error::last_os_error()),
            pid => Ok(Pid::from_raw(pid)),
        }
    }
}

/// Lets the kernel choose the same addresses for a program every time.
pub(crate) fn place_alike(program: &mut Command) {
    let ask = || {
        // SAFETY: changes a property of this process alone.
        match unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: the closure makes one system call, which may be made between `fork` and `exec`.
    unsafe { program.pre_exec(ask) };
}

/// Ends the process; nothing is called or flushed.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Closes all descriptors from `first` on.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: closes descriptors that nobody here owns: they came with the process.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor of somebody's who will not use it again: this process is a copy.
pub(crate) fn close(descriptor: RawFd) {
    // SAFETY: in a copy of the process nobody is left who would use it.
    unsafe { libc::close(descriptor) };
}

/// Takes a variable out of the environment. Only for a process with one thread.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: the process has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(name) }
}

/// What C code has printed and not written yet is written.
pub(crate) fn flush() {
    // SAFETY: null means all streams of the C library.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// The time that all threads of a process have run for.
pub(crate) fn cpu_time(pid: Pid) -> Option<Duration> {
    clock(!pid.as_raw_nonzero().get() << 3 | 2) // the process's clock of the scheduler, as clock_getcpuclockid has it
}

/// The same of this process.
pub(crate) fn own_cpu_time() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// Whether there is room for so much more memory, which is not kept.
pub(crate) fn has_room(len: u64) -> bool {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new address space.
    let place =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len as usize, rights, MapFlags::PRIVATE) };
    // SAFETY: what was just mapped and nobody has seen.
    place.is_ok_and(|place| unsafe { rustix::mm::munmap(place, len as usize) }.is_ok())
}

fn clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the place is as large as the answer.
    let done = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if done != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it is filled in.
    let time = unsafe { time.assume_init() };
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Reads another process's memory and says how many bytes could be read.
pub(crate) fn read_memory(pid: Pid, from: u64, to: &mut [u8]) -> usize {
    // SAFETY: the buffer is the caller's to write to.
    unsafe { memory::read(pid.as_raw_nonzero().get(), from, to.as_mut_ptr(), to.len()) }
}

/// Writes to the guest's memory and says how many bytes could be written.
pub(crate) fn write_memory(pid: Pid, to: u64, from: &[u8]) -> usize {
    // SAFETY: what is written to is a guest's, who is there for it.
    unsafe { memory::write(pid.as_raw_nonzero().get(), to, from.as_ptr(), from.len()) }
}

/// Memory that another process sees too, and may change at any time: it is copied from and to, never borrowed.
#[derive(Debug)]
pub(crate) struct Window {
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory is mapped until the window is dropped, and only copied from and to.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// Maps the first bytes of a file.
    pub(crate) fn open(file: impl AsFd, len: usize) -> io::Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new address space.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, rights, MapFlags::SHARED, file, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    /// New memory, which copies of this process will share.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new address space.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, rights, MapFlags::SHARED) }?;
        Ok(Self { start: start.cast(), len })
    }

    /// Puts memory of this process's own in its place, which is empty.
    pub(crate) fn part(&self) -> io::Result<()> {
        let (rights, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: the memory is the window's, which nobody borrows from.
        unsafe { rustix::mm::mmap_anonymous(self.start.cast(), self.len, rights, flags) }?;
        Ok(())
    }

    /// The address of a place in it.
    pub(crate) fn address(&self, at: usize) -> u64 {
        assert!(at <= self.len, "outside the window");
        self.start.wrapping_add(at).expose_provenance() as u64
    }

    /// A place in it for a `T`, for whoever knows how to write there.
    pub(crate) fn place_of<T>(&self, at: usize) -> NonNull<T> {
        let place = NonNull::new(self.place(at, size_of::<T>()).cast::<T>());
        place.filter(|place| place.is_aligned()).expect("a window is not at null, and `at` is aligned")
    }

    /// Copies out of it.
    pub(crate) fn get(&self, at: usize, to: &mut [u8]) {
        let from = self.place(at, to.len());
        // SAFETY: `place` checked the range; the kernel and other processes may write at the same time, which bytes bear.
        unsafe { ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
    }

    /// Copies into it.
    pub(crate) fn put(&self, at: usize, from: &[u8]) {
        let to = self.place(at, from.len());
        // SAFETY: as in `get`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    }

    /// Adds to a word and returns what it was.
    pub(crate) fn add(&self, at: usize, more: u64) -> u64 {
        self.word(at).fetch_add(more, std::sync::atomic::Ordering::Relaxed)
    }

    /// A word that was set, and everything that was written before.
    pub(crate) fn load(&self, at: usize) -> u64 {
        self.word(at).load(std::sync::atomic::Ordering::Acquire)
    }

    /// Sets a word, after everything that was written before.
    pub(crate) fn publish(&self, at: usize, value: u64) {
        self.word(at).store(value, std::sync::atomic::Ordering::Release);
    }

    fn word(&self, at: usize) -> &std::sync::atomic::AtomicU64 {
        let place = self.place(at, 8).cast::<u64>();
        assert!(place.is_aligned(), "a word at an odd place");
        // SAFETY: `place` checked the range, it is aligned, and everybody who uses it does so atomically.
        unsafe { std::sync::atomic::AtomicU64::from_ptr(place) }
    }

    fn place(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at.checked_add(len).is_some_and(|end| end <= self.len), "outside the window");
        self.start.wrapping_add(at)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `open`, and nobody has a reference into it.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
    }
}

/// Writes a byte to a descriptor that may have been closed, or be somebody else's by now.
pub(crate) fn ring(descriptor: RawFd, byte: u8) -> bool {
    // SAFETY: one byte of a local is read.
    unsafe { libc::send(descriptor, (&raw const byte).cast(), 1, libc::MSG_NOSIGNAL) == 1 }
}

/// Gives this thread a stack of its own for signal handlers, for good.
pub(crate) fn signal_stack(len: usize) -> io::Result<()> {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new address space.
    let base = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, rights, MapFlags::PRIVATE) }?;
    let stack = libc::stack_t { ss_sp: base, ss_flags: 0, ss_size: len };
    // SAFETY: the memory stays mapped for the rest of the process.
    match unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Replaces the random words that the kernel gave the process when it began, and what compilers compare with before a function
/// returns (at `fs:0x28`, by the ABI of C on this processor). What the C library hides addresses with stays.
///
/// Only where nobody returns who was called before: not from a function of C that has looked at the old one.
pub(crate) fn replace_chance(words: [u64; 2]) {
    // SAFETY: asks for a number.
    let at = unsafe { libc::getauxval(libc::AT_RANDOM) };
    if at != 0 {
        let at = ptr::with_exposed_provenance_mut::<[u64; 2]>(at as usize);
        // SAFETY: the kernel put sixteen bytes there, on the first thread's stack; there is no other thread.
        unsafe { at.write_unaligned(words) };
    }
    let guard = words[0] & !0xff; // a string does not go over it
    // SAFETY: a word of this thread's own, which is there for this.
    unsafe { std::arch::asm!("mov fs:[0x28], {}", in(reg) guard, options(nostack, preserves_flags)) };
}

/// Whether a descriptor is a socket.
pub(crate) fn is_socket(descriptor: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(descriptor).is_ok()
}
