//! The thread block: what Windows code finds behind GS, one for every thread that ever entered.
//!
//! Everything here is unsafe because the block lives in pages of its own that images read and write by offset without
//! asking anyone, and because the GS base is the processor's. The block belongs to its thread: only that thread reaches
//! it through [`with`], except for the slots that [`clear_tls_slot`] zeroes under the list's lock.
//!
//! A thread's block goes when the thread ends, in a destructor of the C library that runs after all of Rust's.
#![allow(unsafe_code)]

use crate::{
    Counts, Process, Services,
    fiber::Fibers,
    lock,
    object::Object,
    peb::Peb,
    stack::{self, Stack},
};
use loader_core::ErrorKind;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::{
    arch::asm,
    cell::{Cell, RefCell},
    ffi::CString,
    mem::offset_of,
    ops::Range,
    ptr,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed},
    },
};

/// What a thread that never was a fiber has in place of one.
const OS2_VERSION: usize = 0x1e00;
const SIZE: usize = 0x2000;
/// After the block comes a stack for signal handlers: that of an overflow cannot run on the stack that did.
const MAPPED: usize = SIZE + 0x1_0000;

/// How many TLS slots lie in the block itself, and how many follow on demand.
pub(crate) const TLS_SLOTS: usize = 64;
/// Slots of the table that [`Teb::tls_expansion`] leads to.
pub(crate) const TLS_EXPANSION: usize = 1024;
/// Slots of the fiber-local table.
pub(crate) const FLS_SLOTS: usize = 128;

/// The values of fiber-local slots.
pub(crate) type Values = [AtomicUsize; FLS_SLOTS];

/// The block. Offsets are Windows' up to `0x1900`; what follows is ours.
#[repr(C)]
#[allow(missing_docs)]
pub(crate) struct Teb {
    pub exception_list: Cell<usize>,
    pub stack_base: Cell<usize>,
    pub stack_limit: Cell<usize>,
    _sub_system: usize,
    pub fiber_data: Cell<usize>,
    _arbitrary: usize,
    pub this: Cell<*const Teb>,
    _environment: usize,
    pub process_id: Cell<usize>,
    pub thread_id: Cell<usize>,
    _rpc: usize,
    pub tls_vector: Cell<*mut *mut u8>,
    pub peb: Cell<*const Peb>,
    pub last_error: Cell<u32>,
    _70: [u8; 0x1250 - 0x6c],
    pub last_status: Cell<u32>,
    _1254: [u8; 0x1478 - 0x1254],
    pub deallocation_stack: Cell<usize>,
    pub tls_slots: [AtomicUsize; TLS_SLOTS],
    _1680: [u8; 0x16b0 - 0x1680],
    pub error_mode: Cell<u32>,
    _16b4: [u8; 0x1748 - 0x16b4],
    pub guaranteed_stack: Cell<u32>,
    _174c: [u8; 0x1780 - 0x174c],
    pub tls_expansion: AtomicPtr<[AtomicUsize; TLS_EXPANSION]>,
    _1788: [u8; 0x17c8 - 0x1788],
    pub fls: AtomicPtr<Values>,
    _17d0: [u8; 0x17ee - 0x17d0],
    pub flags: Cell<u16>,
    _17f0: [u8; 0x1900 - 0x17f0],
    process: Cell<*const Process>,
    ours: Cell<*const Own>,
    /// The stack's last pages were given to the thread; they are taken back when it next enters.
    overflowed: Cell<bool>,
}

/// What this crate keeps for a thread.
#[derive(Default)]
pub(crate) struct Own {
    /// The thread's object, once somebody asked for a handle of it.
    pub thread: RefCell<Option<Arc<Object>>>,
    /// Where `ExitThread` leads: the stack pointer that the thread's start saved; 0 for threads of the host.
    pub escape: Cell<usize>,
    /// What runs on the thread, and on which stack.
    pub fibers: Fibers,
    /// The thread's next fault is not Windows code's: it was offered, and is made again for whoever else wants it.
    pub foreign: Cell<bool>,
    /// The thread reads the page that Windows shares with all, in one step; and whether it wanted to be told of steps anyway.
    pub lent: Cell<Option<bool>>,
    /// The C library's `errno`.
    pub errno: Cell<i32>,
    /// The C library's `_doserrno`.
    pub doserrno: Cell<u32>,
    /// What this thread's own handler of wrong arguments is.
    pub invalid_handler: Cell<usize>,
    /// Where the C library says a fault's record is.
    pub exception_pointers: Cell<usize>,
    /// The state of `rand`.
    pub seed: Cell<u32>,
    /// Where `strtok` goes on.
    pub token: Cell<usize>,
    /// The last text that `strerror` gave out.
    pub message: RefCell<CString>,
    /// The last digits that `_ecvt` or `_fcvt` gave out.
    pub digits: RefCell<CString>,
    /// The last text that `_wcserror` gave out.
    pub wide_message: RefCell<Vec<u16>>,
    /// The last broken-down time that `gmtime` or `localtime` gave out.
    pub tm: Cell<[i32; 9]>,
    /// The last text that `asctime` or `ctime` gave out.
    pub date: Cell<[u8; 32]>,
    /// The last text that `_wasctime` or `_wctime` gave out.
    pub wide_date: Cell<[u16; 32]>,
    /// Where `wcstok` goes on.
    pub wide_token: Cell<usize>,
    /// Timers that this thread makes calls for.
    timers: RefCell<Vec<Weak<Object>>>,
}

impl Own {
    /// This thread is to make calls for a timer.
    pub(crate) fn keep_timer(&self, timer: &Arc<Object>) {
        let mut timers = self.timers.borrow_mut();
        timers.retain(|kept| kept.strong_count() > 0 && kept.as_ptr() != Arc::as_ptr(timer));
        timers.push(Arc::downgrade(timer));
    }

    /// The timers that are left of those.
    pub(crate) fn timers(&self) -> Vec<Arc<Object>> {
        self.timers.borrow().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Teb {
    /// The thread goes on on this stack.
    pub(crate) fn runs_on(&self, stack: &Stack) {
        let Range { start, end } = stack.all();
        self.stack_base.set(end as usize);
        self.stack_limit.set(stack.kept().end as usize);
        self.deallocation_stack.set(start as usize);
    }
}

const _: () = {
    assert!(offset_of!(Teb, fiber_data) == 0x20);
    assert!(offset_of!(Teb, this) == 0x30);
    assert!(offset_of!(Teb, process_id) == 0x40);
    assert!(offset_of!(Teb, tls_vector) == 0x58);
    assert!(offset_of!(Teb, peb) == 0x60);
    assert!(offset_of!(Teb, last_error) == 0x68);
    assert!(offset_of!(Teb, last_status) == 0x1250);
    assert!(offset_of!(Teb, error_mode) == 0x16b0);
    assert!(offset_of!(Teb, deallocation_stack) == 0x1478);
    assert!(offset_of!(Teb, tls_slots) == 0x1480);
    assert!(offset_of!(Teb, tls_expansion) == 0x1780);
    assert!(offset_of!(Teb, fls) == 0x17c8 && offset_of!(Teb, guaranteed_stack) == 0x1748);
    assert!(offset_of!(Teb, flags) == 0x17ee);
    assert!(size_of::<Teb>() <= SIZE);
};

thread_local! {
    /// This thread's block. Without a destructor, so it can be asked for until the very end.
    static MINE: Cell<*const Teb> = const { Cell::new(ptr::null()) };
    /// Runs the fiber-local callbacks while the thread's other Rust values still live.
    static LAST_WORDS: LastWords = const { LastWords };
}

/// Every thread's block, for clearing a slot in all of them.
static ALL: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// Every table of fiber-local values, of fibers that run and of those that do not.
static FLS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
/// Values of fiber-local slots that terminated threads and lost fibers left behind, with their slots: who frees a slot is
/// called for them.
static LEFT: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

struct LastWords;

impl Drop for LastWords {
    fn drop(&mut self) {
        if !MINE.get().is_null() && base() == MINE.get() && !is_doomed() {
            crate::kernel32::tls::run_callbacks();
        }
    }
}

/// Whether the calling thread was terminated: it tells nobody anything.
fn is_doomed() -> bool {
    own(|o| o.thread.borrow().iter().filter_map(|t| t.thread()).any(|t| t.doomed.load(Relaxed)))
}

/// Whether the processor's own instructions for the GS base may be used (Linux says so in `AT_HWCAP2`).
fn fsgsbase() -> bool {
    const HWCAP2_FSGSBASE: usize = 1 << 1;
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| rustix::param::linux_hwcap().1 & HWCAP2_FSGSBASE != 0)
}

/// The GS base, as far as it can be known: without the instruction, what this thread last set.
#[inline]
fn base() -> *const Teb {
    if !fsgsbase() {
        return MINE.get();
    }
    let base: *const Teb;
    // SAFETY: the kernel says that the instruction is enabled; it only reads a register.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

fn set_base(teb: *const Teb) {
    if fsgsbase() {
        // SAFETY: the kernel says that the instruction is enabled; nothing of the host uses GS on x86-64 Linux.
        unsafe { asm!("wrgsbase {}", in(reg) teb, options(nostack, preserves_flags)) };
        return;
    }
    const ARCH_SET_GS: i32 = 0x1001;
    // SAFETY: sets the GS base of the calling thread, which nothing of the host uses on x86-64 Linux.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, teb) };
}

/// Whether the calling thread is ready to run code of `process`: about a nanosecond.
#[inline]
pub(crate) fn is_ready_for(process: *const Process) -> bool {
    let mine = MINE.get();
    if mine.is_null() || base() != mine {
        return false;
    }
    // SAFETY: the block lives as long as its thread, and this is the thread.
    let teb = unsafe { &*mine };
    teb.process.get() == process && !teb.overflowed.get()
}

/// Makes the calling thread ready to run code of `process`.
pub(crate) fn prepare(process: &Arc<Process>) -> Result<(), ErrorKind> {
    if MINE.get().is_null() {
        create()?;
    }
    let mine = MINE.get();
    set_base(mine);
    // SAFETY: the block lives as long as its thread, and this is the thread.
    let teb = unsafe { &*mine };
    let before = teb.process.replace(Arc::into_raw(Arc::clone(process)));
    teb.peb.set(process.peb().block());
    drop_process(before);
    keep_stack();
    Ok(())
}

/// Keeps the last pages of the calling thread's stack back. `false` if that cannot be.
pub(crate) fn keep_stack() -> bool {
    own(|o| {
        let fiber = o.fibers.current();
        let kept = fiber.stack.keep();
        with(|t| {
            t.stack_limit.set(fiber.stack.kept().end as usize);
            t.overflowed.set(false);
        });
        kept
    })
}

/// Gives the last pages of the calling thread's stack to it. For signal handlers, too.
pub(crate) fn give_stack() {
    own(|o| o.fibers.current().stack.give());
    with(|t| {
        t.stack_limit.set(t.deallocation_stack.get());
        t.overflowed.set(true);
    });
}

/// Whether the calling thread could be running Windows code. For signal handlers.
pub(crate) fn is_inside() -> bool {
    !MINE.get().is_null() && base() == MINE.get()
}

fn drop_process(process: *const Process) {
    if !process.is_null() {
        // SAFETY: the pointer came from `Arc::into_raw` in `prepare` and leaves the block here, once.
        drop(unsafe { Arc::from_raw(process) });
    }
}

fn create() -> Result<(), ErrorKind> {
    crate::exception::fault::install();
    let vector = loader_core::tls::thread_table(); // first, so that its blocks outlive LAST_WORDS
    // SAFETY: new pages at a place of the kernel's choice touch nobody's memory.
    let pages = unsafe {
        mmap_anonymous(ptr::null_mut(), MAPPED, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    let pages = pages.map_err(|e| ErrorKind::Space { what: "make a thread block", os: e.raw_os_error() })?;
    let block: *const Teb = pages.cast();
    // SAFETY: zeroed pages of sufficient size and alignment are a valid `Teb`, and nobody else knows them yet.
    let teb = unsafe { &*block };
    let own = Own::default();
    teb.runs_on(&own.fibers.current().stack);
    teb.fiber_data.set(OS2_VERSION);
    teb.exception_list.set(usize::MAX);
    teb.this.set(block);
    teb.process_id.set(std::process::id() as usize);
    teb.thread_id.set(thread_id());
    teb.tls_vector.set(vector);
    own.seed.set(1);
    teb.ours.set(Box::into_raw(Box::new(own)));
    stack::handle_signals_on(signal_stack(block.addr()));
    lock(&ALL).push(block.expose_provenance());
    MINE.set(block);
    let _ = LAST_WORDS.try_with(|_| ()); // registers its destructor
    let value = pages.cast_const();
    // SAFETY: the key was made by `ending`; the value is this thread's own.
    unsafe { libc::pthread_setspecific(ending(), value) };
    Ok(())
}

/// The kernel's number of the calling thread.
pub(crate) fn thread_id() -> usize {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs() as usize
}

/// The stack for signal handlers, behind the block.
fn signal_stack(block: usize) -> Range<usize> {
    block + SIZE..block + MAPPED
}

/// The key whose destructor frees the blocks of threads that end.
fn ending() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the destructor takes what `create` stores. Without a key the blocks would merely stay.
        unsafe { libc::pthread_key_create(&raw mut key, Some(end)) };
        key
    })
}

/// The last thing that happens to a thread.
unsafe extern "C" fn end(block: *mut libc::c_void) {
    let block = block.cast::<Teb>();
    lock(&ALL).retain(|&t| t != block.addr());
    MINE.set(ptr::null());
    set_base(ptr::null());
    // SAFETY: `create` stored the block, which lives until the `munmap` below; nobody else reaches it any more.
    let teb = unsafe { &*block };
    // SAFETY: `create` boxed it; it is taken out here, once.
    let own = unsafe { Box::from_raw(teb.ours.get().cast_mut()) };
    let (process, id) = (teb.process.get(), teb.thread_id.get() as u32);
    free_table(teb.tls_expansion.load(Relaxed));
    free_fls(&teb.fls);
    own.fibers.own().stack.give(); // the C library may give the stack to another thread
    stack::no_longer_on(signal_stack(block.addr()));
    // SAFETY: the pages are those that `create` mapped, and the last reference into them was used above.
    let _ = unsafe { munmap(block.cast(), MAPPED) };
    if !process.is_null() {
        // SAFETY: the block holds one count of it, which is given back below.
        unsafe { &*process }.objects.abandon(id);
    }
    if let Some(thread) = own.thread.take() {
        thread.thread_is_gone(); // whoever waits for the thread finds nothing of it left
    }
    drop_process(process);
}

/// Frees a table of fiber-local values; those that it still has are [left](LEFT).
pub(crate) fn free_fls(at: &AtomicPtr<Values>) {
    let table = at.swap(ptr::null_mut(), Relaxed);
    lock(&FLS).retain(|&t| t != table.addr());
    // SAFETY: the table is its fiber's own, and is freed below.
    let values = unsafe { table.as_ref() }.into_iter().flatten().map(|slot| slot.load(Relaxed)).enumerate();
    lock(&LEFT).extend(values.filter(|&(_, value)| value != 0));
    free_table(table);
}

fn free_table<const N: usize>(table: *mut [AtomicUsize; N]) {
    if !table.is_null() {
        // SAFETY: `table` boxed it, and its thread has ended.
        drop(unsafe { Box::from_raw(table) });
    }
}

/// Hands the calling thread's block to `f`. The thread must have entered, as every thread that runs guest code has.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Teb) -> R) -> R {
    let teb: *const Teb;
    // SAFETY: a thread that runs guest code has entered, so GS leads to its block, whose 0x30 is its own address.
    unsafe {
        asm!("mov {}, gs:[0x30]", out(reg) teb, options(readonly, nostack, preserves_flags, pure));
    }
    // SAFETY: as above; the block lives as long as the thread.
    f(unsafe { &*teb })
}

/// Hands what this crate keeps for the calling thread to `f`.
pub(crate) fn own<R>(f: impl FnOnce(&Own) -> R) -> R {
    // SAFETY: `create` boxed it, and it lives as long as the block.
    with(|t| f(unsafe { &*t.ours.get() }))
}

/// A place of [`Own`] that guest code may keep the address of: it stays while the thread lives.
pub(crate) fn own_place<T>(f: impl FnOnce(&Own) -> &Cell<T>) -> *mut T {
    own(|o| f(o).as_ptr())
}

/// The process that the calling thread runs code of.
pub(crate) fn process() -> Arc<Process> {
    with(|t| {
        let process = t.process.get();
        // SAFETY: the block holds one count of it, so there is at least one.
        unsafe { Arc::increment_strong_count(process) };
        // SAFETY: the count that was just added is the one this value gives back.
        unsafe { Arc::from_raw(process) }
    })
}

/// Hands that process to `f`, which runs no guest code.
fn with_process<R>(f: impl FnOnce(&Process) -> R) -> R {
    // SAFETY: the block holds one count of the process, and the thread enters no other before this is over.
    with(|t| f(unsafe { &*t.process.get() }))
}

/// The engine of the process that the calling thread runs code of, while it exists.
pub(crate) fn services() -> Option<Arc<dyn Services>> {
    with_process(Process::services)
}

/// The number under which the modules of that process are listed.
pub(crate) fn caller() -> u64 {
    with_process(Process::caller)
}

/// Counts references of that process.
pub(crate) fn counts<R>(f: impl FnOnce(&dyn Counts) -> R) -> R {
    with_process(|process| f(process.counts()))
}

/// The calling thread's table behind a table pointer of its block, made when first asked for.
pub(crate) fn table<const N: usize>(at: &AtomicPtr<[AtomicUsize; N]>) -> &[AtomicUsize; N] {
    if at.load(Relaxed).is_null() {
        let new: Box<[AtomicUsize; N]> = Box::new([const { AtomicUsize::new(0) }; N]);
        at.store(Box::into_raw(new), Relaxed);
    }
    // SAFETY: boxed above and freed only with the block that `at` lies in.
    unsafe { &*at.load(Relaxed) }
}

/// The fiber-local values behind a table pointer.
pub(crate) fn fls(at: &AtomicPtr<Values>) -> &Values {
    let known = !at.load(Relaxed).is_null();
    let values = table(at);
    if !known {
        lock(&FLS).push(ptr::from_ref(values).expose_provenance());
    }
    values
}

/// Zeroes one TLS slot in every thread.
pub(crate) fn clear_tls_slot(slot: usize) {
    for &block in lock(&ALL).iter() {
        // SAFETY: blocks leave the list before they go, and the list is locked; the slots are atomic.
        let teb = unsafe { &*ptr::with_exposed_provenance::<Teb>(block) };
        // SAFETY: as above; the table goes only after its block has left the list.
        let more = unsafe { teb.tls_expansion.load(Relaxed).as_ref() };
        let found = match slot.checked_sub(TLS_SLOTS) {
            None => teb.tls_slots.get(slot),
            Some(n) => more.and_then(|t| t.get(n)),
        };
        found.iter().for_each(|s| s.store(0, Relaxed));
    }
}

/// Takes the values of a fiber-local slot out of every fiber, also of those that are no more.
pub(crate) fn take_fls(slot: usize) -> Vec<usize> {
    let value = |&table: &usize| {
        // SAFETY: tables leave the list before they go, and the list is locked; the slots are atomic.
        let values = unsafe { &*ptr::with_exposed_provenance::<Values>(table) };
        values.get(slot).map_or(0, |s| s.swap(0, Relaxed))
    };
    let mut values: Vec<usize> = lock(&FLS).iter().map(value).filter(|&value| value != 0).collect();
    values.extend(lock(&LEFT).extract_if(.., |(of, _)| *of == slot).map(|(_, value)| value));
    values
}

/// How many threads have a block: for tests.
#[cfg(test)]
pub(crate) fn count() -> usize {
    lock(&ALL).len()
}

/// Sets what `RtlGetLastNtStatus` returns.
pub(crate) fn set_last_status(status: u32) {
    with(|t| t.last_status.set(status));
}

/// Sets what `GetLastError` returns.
#[inline]
pub(crate) fn set_last_error(code: u32) {
    with(|t| t.last_error.set(code));
}
