//! Which threads of the process are inside given code: their program counters, and the return addresses on their stacks.
//!
//! Nothing can say this for sure of threads that run on meanwhile; what is asked here is what they do at one moment,
//! and a library that nobody can find any more is entered by none that is not in it already. A thread that waits in the
//! kernel is read as it is (`/proc/self/task/*/syscall`). One that runs is made to wait by a signal first; one that
//! blocks that signal counts as being everywhere. Stacks are read conservatively: a word that points behind a call
//! instruction of the code is taken for a return address, also where it is only left over from one. A thread whose one
//! frame in the code was interrupted by a signal handler that it is still in is not noticed. The calling thread is
//! walked frame by frame as far as there is unwind information: it is the one that has just run code of the library.
//!
//! A room for `unsafe`: signals are sent and handled, and the unwinder is called. Memory is read through `/proc/self/mem`, where a bad address is an
//! error and no fault.
#![allow(unsafe_code)]

use crate::maps::Maps;
use std::{
    ffi::c_void,
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    process,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a thread may take to follow the signal.
const PATIENCE: Duration = Duration::from_millis(200);
/// More of a stack than this is not read.
const DEEPEST: u64 = 64 << 20;
/// Ignored unless somebody wants it, so that one which comes too late does no harm.
const SIGNAL: i32 = libc::SIGURG;

/// 1 while threads that got the signal are to wait.
static GATE: AtomicU32 = AtomicU32::new(0);
/// Where the thread was that waits for the gate.
static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
/// One look at a time.
static LOOKING: Mutex<()> = Mutex::new(());

/// A thread, by the kernel's number.
pub(crate) type Tid = i32;

/// For each of several pieces of code, the threads that are inside.
pub(crate) fn inside(code: &[Vec<Range<u64>>]) -> io::Result<Vec<Vec<Tid>>> {
    let _alone = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let memory = File::open("/proc/self/mem")?;
    let stacks = readable()?;
    let me = rustix::thread::gettid().as_raw_nonzero().get();
    let look = Look { code, memory, stacks };
    let mut found = vec![Vec::new(); code.len()];
    for entry in fs::read_dir("/proc/self/task")? {
        let Some(tid) = entry?.file_name().to_str().and_then(|name| name.parse::<Tid>().ok()) else {
            continue;
        };
        let places = if tid == me { look.this_thread() } else { look.thread(tid) };
        let places = places.unwrap_or_else(|| vec![true; code.len()]);
        found.iter_mut().zip(places).filter(|(_, there)| *there).for_each(|(tids, _)| tids.push(tid));
    }
    Ok(found)
}

/// What is readable, lowest address first.
fn readable() -> io::Result<Vec<Range<u64>>> {
    let Maps(all) = Maps::read("self")?;
    Ok(all.into_iter().filter(|mapping| mapping.rights.starts_with('r')).map(|mapping| mapping.at).collect())
}

/// Where a thread waits in the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Waits {
    stack: u64,
    code: u64,
}

/// What the kernel says of a thread.
enum Says {
    Waits(Waits),
    Runs,
    Gone,
}

fn ask(tid: Tid) -> Says {
    let Ok(text) = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")) else { return Says::Gone };
    let number = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let mut last = text.split_whitespace().rev().map(number);
    match (last.next().flatten(), last.next().flatten()) {
        (Some(code), Some(stack)) => Says::Waits(Waits { stack, code }),
        _ => Says::Runs,
    }
}

struct Look<'a> {
    code: &'a [Vec<Range<u64>>],
    memory: File,
    stacks: Vec<Range<u64>>,
}

impl Look<'_> {
    /// The pieces of code that a thread is inside; `None` where that cannot be told.
    fn thread(&self, tid: Tid) -> Option<Vec<bool>> {
        let nowhere = || Some(vec![false; self.code.len()]);
        let mut held = None;
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match ask(tid) {
                Says::Gone => return nowhere(),
                Says::Waits(at) => {
                    let interrupted = INTERRUPTED.load(Ordering::Acquire);
                    let places = self.stack(at.stack, &[at.code, interrupted])?;
                    // What it did not wait through was not seen.
                    if matches!(ask(tid), Says::Waits(still) if still == at) {
                        return Some(places);
                    }
                }
                Says::Runs if held.is_none() => held = Some(Held::stop(tid)),
                Says::Runs => thread::sleep(Duration::from_micros(200)),
            }
        }
        None
    }

    /// The pieces of code that the calling thread is inside.
    fn this_thread(&self) -> Option<Vec<bool>> {
        let mut walk = Walk { pcs: Vec::new(), end: 0 };
        // SAFETY: `frame` has the signature that the unwinder asks for, and `walk` outlives the call.
        unsafe { _Unwind_Backtrace(frame, (&raw mut walk).cast()) };
        // Beyond the last frame that the unwinder knows, words have to do.
        self.stack(walk.end, &walk.pcs)
    }

    /// The pieces of code that `pcs` and the return addresses from `from` to the end of its stack lie in.
    fn stack(&self, from: u64, pcs: &[u64]) -> Option<Vec<bool>> {
        let mut places = vec![false; self.code.len()];
        pcs.iter().for_each(|&pc| self.mark(pc, &mut places));
        let stack = self.stacks.iter().find(|range| range.contains(&from))?;
        let (mut at, end) = (from.next_multiple_of(8), stack.end.min(from.saturating_add(DEEPEST)));
        let mut page = [0; 4096];
        while at < end {
            let len = page.len().min((end - at) as usize);
            self.memory.read_exact_at(&mut page[..len], at).ok()?;
            for word in page[..len].as_chunks().0.iter().map(|w| u64::from_le_bytes(*w)) {
                if self.is_return_address(word) {
                    self.mark(word - 1, &mut places);
                }
            }
            at += len as u64;
        }
        Some(places)
    }

    fn mark(&self, at: u64, places: &mut [bool]) {
        for (there, ranges) in places.iter_mut().zip(self.code) {
            *there |= ranges.iter().any(|range| range.contains(&at));
        }
    }

    /// Whether a word points behind a call instruction of the code.
    fn is_return_address(&self, word: u64) -> bool {
        let mut before = [0; 7];
        self.code.iter().flatten().any(|range| range.contains(&word.wrapping_sub(1)))
            && self.memory.read_exact_at(&mut before, word.wrapping_sub(7)).is_ok()
            && ends_in_call(&before)
    }
}

/// Whether these bytes end in a call: `e8` with four bytes, or `ff /2` with whatever its operand takes.
fn ends_in_call(bytes: &[u8; 7]) -> bool {
    let indirect = |len: usize| bytes[7 - len] == 0xff && bytes[8 - len] >> 3 & 7 == 2;
    bytes[2] == 0xe8 || [2, 3, 4, 6, 7].into_iter().any(indirect)
}

/// The frames of the calling thread.
struct Walk {
    /// The addresses before which their calls are.
    pcs: Vec<u64>,
    /// Where the last frame ends.
    end: u64,
}

unsafe extern "C" {
    fn _Unwind_Backtrace(each: extern "C" fn(*mut c_void, *mut c_void) -> i32, data: *mut c_void) -> i32;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// Takes one frame down; 0 asks for the next.
extern "C" fn frame(context: *mut c_void, walk: *mut c_void) -> i32 {
    // SAFETY: the walk that `this_thread` passed, borrowed for the length of that call.
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    // SAFETY: the unwinder's own context.
    let pc = unsafe { _Unwind_GetIP(context) };
    // SAFETY: as above.
    let end = unsafe { _Unwind_GetCFA(context) };
    walk.pcs.push((pc as u64).wrapping_sub(1));
    walk.end = end as u64;
    0
}

/// A thread that waits until this is dropped, once it has followed the signal.
struct Held {
    before: libc::sigaction,
}

impl Held {
    fn stop(tid: Tid) -> Self {
        // SAFETY: a `sigaction` is plain numbers, for which zeros are valid.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
        action.sa_sigaction = wait as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        INTERRUPTED.store(0, Ordering::Release);
        GATE.store(1, Ordering::Release);
        // SAFETY: `wait` does only what a signal handler may; the old action is kept, and put back by `drop`.
        unsafe { libc::sigaction(SIGNAL, &raw const action, &raw mut before) };
        // SAFETY: sends a signal that is handled, to a thread of this process; one that is gone gets none.
        unsafe { libc::syscall(libc::SYS_tgkill, process::id(), tid, SIGNAL) };
        Self { before }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        GATE.store(0, Ordering::Release);
        // SAFETY: wakes whoever waits for the word, which is static.
        unsafe { libc::syscall(libc::SYS_futex, GATE.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
        // SAFETY: the action that was there before.
        unsafe { libc::sigaction(SIGNAL, &raw const self.before, std::ptr::null_mut()) };
        INTERRUPTED.store(0, Ordering::Release);
    }
}

/// The handler: says where the thread was, and waits until the gate opens.
extern "C" fn wait(_: i32, _: *mut libc::siginfo_t, context: *mut c_void) {
    if GATE.load(Ordering::Acquire) == 0 {
        return; // too late: nobody looks any more
    }
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel hands a handler of this kind the context that it interrupted.
    let pc = unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    INTERRUPTED.store(pc.cast_unsigned(), Ordering::Release);
    // SAFETY: the address of this thread's `errno`.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: this thread's own.
    let kept = unsafe { *errno };
    while GATE.load(Ordering::Acquire) == 1 {
        // SAFETY: waits while the static word is 1; the kernel checks that and looks at nothing else.
        unsafe { libc::syscall(libc::SYS_futex, GATE.as_ptr(), libc::FUTEX_WAIT, 1, std::ptr::null::<u8>()) };
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier, atomic::AtomicBool};

    #[test]
    fn calls_are_told_by_their_bytes() {
        let ends = |bytes: &[u8]| {
            let mut seven = [0x90; 7];
            seven[7 - bytes.len()..].copy_from_slice(bytes);
            ends_in_call(&seven)
        };
        assert!(ends(&[0xe8, 1, 2, 3, 4])); // call rel32
        assert!(ends(&[0xff, 0xd0])); // call *%rax
        assert!(ends(&[0x41, 0xff, 0xd7])); // call *%r15
        assert!(ends(&[0xff, 0x15, 1, 2, 3, 4])); // call *x(%rip)
        assert!(ends(&[0xff, 0x50, 8])); // call *8(%rax)
        assert!(ends(&[0xff, 0x94, 0xc8, 1, 2, 3, 4])); // call *x(%rax,%rcx,8)
        assert!(!ends(&[0xff, 0xe0])); // jmp *%rax
        assert!(!ends(&[0xc3]));
    }

    /// The code of a function, more or less: without optimisation it calls what reads the flag.
    fn code_of(f: *const ()) -> Range<u64> {
        let at = f.addr() as u64;
        at..at + 64
    }

    #[inline(never)]
    extern "C" fn spins(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {}
    }

    #[test]
    fn a_thread_that_runs_and_one_that_waits_are_seen_and_neither_notices() {
        let (stop, barrier) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(3)));
        let (tids, ends) = std::sync::mpsc::channel();
        let tid = || rustix::thread::gettid().as_raw_nonzero().get();
        let runs = thread::spawn({
            let (stop, barrier, tids) = (stop.clone(), barrier.clone(), tids.clone());
            move || {
                tids.send((true, tid())).unwrap();
                barrier.wait();
                spins(&stop);
            }
        });
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let waits = thread::spawn({
            let barrier = barrier.clone();
            move || {
                tids.send((false, tid())).unwrap();
                barrier.wait();
                closed.recv().is_err()
            }
        });
        barrier.wait();
        let mut found: Vec<(bool, Tid)> = vec![ends.recv().unwrap(), ends.recv().unwrap()];
        found.sort_unstable();
        thread::sleep(Duration::from_millis(20));
        let code = [code_of(spins as *const ()), 0x10..0x20].map(|range| [range].to_vec());
        // Threads of other tests may begin, end or be too busy to say where they are: they count as inside.
        let own =
            |seen: Vec<Tid>| seen.into_iter().filter(|tid| found.iter().any(|(_, own)| own == tid)).collect();
        let seen = || inside(&code).unwrap().into_iter().map(own).collect::<Vec<Vec<Tid>>>();
        assert_eq!(seen(), [vec![found[1].1], vec![]]);
        stop.store(true, Ordering::Relaxed);
        drop(open);
        runs.join().unwrap();
        assert!(waits.join().unwrap());
        assert_eq!(seen(), [[], []]);
    }
}
