//! Fibers: stacks that a thread changes between when the guest says so.
//!
//! Every thread runs a fiber: its own first one, on the thread's own stack, which it need not know of. What belongs to a
//! stack goes with it: the registers that a function keeps for its caller, where the stack begins and ends and which of its
//! pages are kept back, the guarded calls that are on it, the fiber-local values. Everything else is the thread's: the last
//! error, the thread-local slots, what it holds.
//!
//! A fiber that was created begins with a guarded call of its own, so a walk over its stack ends there. What comes out of
//! that call, an exception that nobody handles, or what a stub has to say, comes out of the innermost guarded call on the
//! stack of the thread that runs the fiber: to whoever called into the Windows code. That stack goes on, and the fiber is
//! over.
//!
//! Any thread may run a fiber that was created. But one that was left in the middle of another call of the engine's, an entry
//! point say, goes on in the same thread only, because that call is that thread's; so does the first fiber of a thread.
//!
//! A fiber is given back when nobody can run it any more: it is deleted, its process goes, it is over. The host's frames on its
//! stack are abandoned, as [`guarded`] says.
//!
//! Unsafe because stacks are changed by hand, and the guest is called.
#![allow(unsafe_code)]

use crate::{
    kernel32::{
        fiber::{HAS_FIBER_DATA, forget},
        thread::{self, Start},
    },
    object::current_thread_id,
    stack::Stack,
    teb::{self, Values},
};
use loader_core::{
    Addr, ErrorKind,
    call::{Guards, change_guards, guarded, innermost, leave_with},
    exception::{Exception, Registers},
};
use std::{
    arch::naked_asm,
    cell::{Cell, Ref, RefCell},
    ptr::{self, with_exposed_provenance_mut},
    sync::{
        Arc,
        atomic::{AtomicPtr, AtomicU32, Ordering::SeqCst},
    },
};

/// Who runs a fiber that nobody runs.
const NOBODY: u32 = 0;
const STATUS_THREAD_IS_TERMINATING: u32 = 0xc000_004b;

/// A stack, and what belongs to it while no thread runs on it. Guest code knows it by its address.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Fiber {
    /// What the guest keeps with it, and reads there (`GetFiberData`).
    data: Cell<usize>,
    /// Where the stack ends at the moment: what [`change`] left there is above.
    top: Cell<usize>,
    /// The number of the thread that runs it.
    runner: AtomicU32,
    /// The only thread that may run it, if it is not [`NOBODY`].
    bound: Cell<u32>,
    /// Whether the control registers of the floating-point units belong to it.
    floats: Cell<bool>,
    guards: Cell<Guards>,
    /// The stack of the first guarded call.
    first_call: Cell<Option<Addr>>,
    /// The fiber-local values; the thread's block leads to those of the fiber that runs.
    pub(crate) fls: AtomicPtr<Values>,
    start: Option<Start>,
    pub(crate) stack: Stack,
}

// SAFETY: everything that is not atomic is used by the thread that runs the fiber, or has claimed it, and by no other.
unsafe impl Send for Fiber {}
// SAFETY: as above.
unsafe impl Sync for Fiber {}

impl Drop for Fiber {
    fn drop(&mut self) {
        teb::free_fls(&self.fls);
    }
}

impl Fiber {
    fn on(stack: Stack, start: Option<Start>) -> Self {
        Self {
            data: Cell::new(0),
            top: Cell::new(0),
            runner: AtomicU32::new(NOBODY),
            bound: Cell::new(NOBODY),
            floats: Cell::new(false),
            guards: Cell::new(Guards::NONE),
            first_call: Cell::new(None),
            fls: AtomicPtr::new(ptr::null_mut()),
            start,
            stack,
        }
    }

    /// One that begins in a function of the guest; none where there is no room for its stack.
    pub(crate) fn new(stack: usize, start: Option<Start>) -> Option<Arc<Self>> {
        let fiber = Self::on(Stack::of_length(stack)?, start);
        // What `change` finds: control registers as a process starts with them, six registers, and where to go on; above
        // that nothing, for whoever follows frames further than there are any.
        let words = [0x27f << 32 | 0x1f80, 0, 0, 0, 0, 0, 0, (first as *const ()).addr(), 0, 0];
        let top = fiber.stack.all().end as usize - size_of_val(&words);
        // SAFETY: the upper end of a stack that nobody has used.
        unsafe { with_exposed_provenance_mut::<[usize; 10]>(top).write(words) };
        fiber.top.set(top);
        Some(Arc::new(fiber))
    }

    /// The address that guest code knows it by.
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// What goes with it from now on: the guest's word, and perhaps the control registers of the floating-point units.
    pub(crate) fn carries(&self, data: usize, floats: bool) {
        self.data.set(data);
        self.floats.set(floats);
    }

    /// Makes it the calling thread's to run, or to take apart. False where another thread runs it.
    pub(crate) fn claim(&self) -> bool {
        self.runner.compare_exchange(NOBODY, current_thread_id(), SeqCst, SeqCst).is_ok()
    }

    /// The same, if the calling thread may run it.
    pub(crate) fn claim_to_run(&self) -> bool {
        let claimed = self.claim();
        let allowed = claimed && [NOBODY, current_thread_id()].contains(&self.bound.get());
        if claimed && !allowed {
            self.runner.store(NOBODY, SeqCst);
        }
        allowed
    }
}

/// What a thread runs.
#[derive(Debug)]
pub(crate) struct Fibers {
    /// On the thread's own stack.
    own: Arc<Fiber>,
    current: RefCell<Arc<Fiber>>,
    /// The one before: perhaps nobody else holds it, and its stack was in use until it was left.
    left: RefCell<Option<Arc<Fiber>>>,
    /// Whether guest code knows of the thread's own.
    pub(crate) own_is_known: Cell<bool>,
}

impl Default for Fibers {
    /// The calling thread's.
    fn default() -> Self {
        let own = Arc::new(Fiber::on(Stack::new(), None));
        own.runner.store(teb::thread_id() as u32, SeqCst);
        let current = RefCell::new(Arc::clone(&own));
        Self { own, current, left: RefCell::default(), own_is_known: Cell::new(false) }
    }
}

impl Fibers {
    /// That of the thread's own stack.
    pub(crate) fn own(&self) -> &Arc<Fiber> {
        &self.own
    }

    /// The one that runs.
    pub(crate) fn current(&self) -> Ref<'_, Arc<Fiber>> {
        self.current.borrow()
    }

    /// Whether the thread runs on its own stack.
    pub(crate) fn is_home(&self) -> bool {
        Arc::ptr_eq(&self.current(), &self.own)
    }

    /// The thread goes on in another fiber, with what belongs to that one; returned is the one before, which stays in place
    /// until the thread leaves the next.
    fn go_to(&self, next: &Arc<Fiber>) -> Arc<Fiber> {
        let before = self.current.replace(Arc::clone(next));
        let nested = innermost() != before.first_call.get();
        before.bound.set(if nested { current_thread_id() } else { NOBODY });
        before.guards.set(change_guards(next.guards.replace(Guards::NONE)));
        teb::with(|t| {
            t.runs_on(&next.stack);
            if t.flags.get() & HAS_FIBER_DATA != 0 {
                t.fiber_data.set(next.address());
            }
        });
        drop(self.left.replace(Some(Arc::clone(&before))));
        before
    }
}

/// The block leads to the fiber-local values of another fiber.
fn change_values(from: &Fiber, to: &Fiber) {
    let next = to.fls.swap(ptr::null_mut(), SeqCst);
    from.fls.store(teb::with(|t| t.fls.swap(next, SeqCst)), SeqCst);
}

/// Goes on in a fiber that was [claimed](Fiber::claim_to_run); returns when somebody goes on in this one.
#[allow(clippy::needless_pass_by_value, reason = "nothing is held by frames that may be abandoned")]
pub(crate) fn switch(next: Arc<Fiber>) {
    let (top, floats) = (next.top.get(), next.floats.get());
    let before = teb::own(|o| o.fibers.go_to(&next));
    change_values(&before, &next);
    let (place, runner) = (before.top.as_ptr(), before.runner.as_ptr());
    drop((before, next)); // both are held by the thread
    // SAFETY: the thread has claimed the fiber, whose stack has what `change` or `new` left there; the one that is left is
    // held by the thread, and nobody else touches it before it is given free.
    unsafe { change(place, top, runner, floats) };
    teb::keep_stack();
}

/// Leaves what is to be kept at the end of the stack, and the end at `from`; gives the fiber that has it free, and goes on
/// where the other stack ends. The control registers are those that were kept there if `floats` says so.
#[unsafe(naked)]
unsafe extern "sysv64" fn change(from: *mut usize, to: usize, runner: *mut u32, floats: bool) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rsp, rsi",
        "mov dword ptr [rdx], {nobody}",
        "test cl, cl",
        "jz 2f",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "2:",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        nobody = const NOBODY,
    )
}

/// Where a new fiber's stack leads.
#[unsafe(naked)]
unsafe extern "sysv64" fn first() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip", // the host's walks end here
        "call {begin}",
        "ud2",
        ".cfi_endproc",
        begin = sym begin,
    )
}

/// The whole life of a fiber that was created, on its stack.
extern "sysv64" fn begin() -> ! {
    teb::keep_stack();
    let (start, data) = teb::own(|o| {
        let fiber = o.fibers.current();
        (fiber.start, fiber.data.get())
    });
    let ended = guarded(|| {
        teb::own(|o| o.fibers.current().first_call.set(innermost()));
        let mut unused = 0;
        // SAFETY: the guest passed a function of one argument, as `CreateFiber` asks; what it returns is not looked at.
        unsafe { thread::call_with_mark(start, data, &raw mut unused) };
    });
    match ended {
        Ok(()) => end_thread(),
        Err(error) => fail(error),
    }
}

/// A fiber that ends without going on in another one ends its thread. A thread of the host cannot be ended: there, the call
/// into Windows code fails.
pub(crate) fn end_thread() -> ! {
    thread::exit(1);
    let at = teb::own(|o| o.fibers.current().start.map_or(0, |start| (start as *const ()).addr()));
    fail(ErrorKind::Exception(Box::new(Exception {
        code: STATUS_THREAD_IS_TERMINATING,
        at: Addr(at as u64),
        place: None,
        information: Vec::new(),
        registers: Registers::default(),
    })))
}

/// The fiber that runs is over: the call into Windows code that led to it fails.
fn fail(error: ErrorKind) -> ! {
    if let Some(before) = go_home() {
        teb::own(|o| change_values(&before, o.fibers.own()));
    }
    let error = leave_with(error);
    eprintln!("{error}, and nothing guards the call");
    std::process::abort()
}

/// The calling thread goes back to its own stack for good: whatever else it runs is over, and returned. The fiber-local
/// values stay as they are.
pub(crate) fn go_home() -> Option<Arc<Fiber>> {
    teb::own(|o| {
        let fibers = &o.fibers;
        (!fibers.is_home()).then(|| {
            fibers.own.runner.store(current_thread_id(), SeqCst);
            let over = fibers.go_to(&fibers.own);
            forget(&over);
            over
        })
    })
}
