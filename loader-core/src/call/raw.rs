//! The assembly under the calls: a guard that a stub can return to, stubs, and calls with arguments that are known
//! only at run time. `unsafe` because it saves, restores and fills registers by hand.
#![allow(unsafe_code)]

use crate::{Addr, ErrorKind, SymbolName, exception::Raised};
use std::{arch::naked_asm, cell::Cell, ffi::c_void, ptr::null_mut};

/// An import that nobody defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingImport {
    /// The module that imports it.
    pub module: Box<str>,
    /// The symbol.
    pub symbol: SymbolName,
    /// The library that should have it, where the import says so.
    pub from: Option<Box<str>>,
}

impl MissingImport {
    fn called(&self) -> ErrorKind {
        ErrorKind::MissingCalled { symbol: self.symbol.clone(), from: self.from.clone() }
    }
}

/// What a stub hands to its handler; the handler's address comes first, because the stub jumps through it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct StubRecord {
    handler: unsafe extern "C" fn(),
    import: MissingImport,
}

impl StubRecord {
    pub(super) fn new(import: MissingImport) -> Self {
        Self { handler: stub_handler, import }
    }
}

/// `mov r11, record; jmp [r11]`: works from both calling conventions, which leave r11 to the callee.
pub(super) fn stub_code(record: &StubRecord) -> [u8; 13] {
    let mut code = [0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0x23];
    code[2..10].copy_from_slice(&(std::ptr::from_ref(record).addr() as u64).to_le_bytes());
    code
}

#[unsafe(naked)]
unsafe extern "C" fn stub_handler() {
    naked_asm!("mov rdi, r11", "and rsp, -16", "call {f}", "ud2", f = sym missing_called)
}

/// A guard's saved stack pointer, and why everything below it was left.
#[repr(C)]
struct Guard {
    rsp: u64,
    outer: *mut Guard,
    left: Option<Left>,
}

/// Why a guarded call was left.
#[allow(clippy::large_enum_variant, reason = "nothing is allocated while frames are abandoned")]
enum Left {
    /// A stub was called.
    Missing(*const StubRecord),
    /// An exception that nobody handles.
    Exception(Raised),
    /// What a guarded call on another stack was left for.
    Error(ErrorKind),
}

thread_local! {
    static INNERMOST: Cell<*mut Guard> = const { Cell::new(null_mut()) };
}

unsafe extern "C" fn missing_called(record: *const StubRecord) -> ! {
    let guard = INNERMOST.get();
    if guard.is_null() {
        // SAFETY: the stub that jumped here holds the address of its own record, which lives as long as the stub.
        let import = unsafe { &(*record).import };
        eprintln!("{}: {}, and nothing guards the call", import.module, import.called());
        std::process::abort();
    }
    // SAFETY: the guard is a local of a `guarded` call further up this thread's stack.
    unsafe { (*guard).left = Some(Left::Missing(record)) };
    // SAFETY: as above; the frames in between are foreign code and calls that own nothing (see `guarded`).
    unsafe { leave(guard) }
}

/// Leaves the innermost guarded call of this thread because of an exception that nobody handles; returns if there is no
/// such call. What is abandoned is what [`guarded`] says.
pub fn leave_for_exception(raised: Raised) {
    if let Some(guard) = left_for(raised) {
        // SAFETY: the guard is a local of a `guarded` call; the frames in between are foreign code and calls that own
        // nothing (see `guarded`).
        unsafe { leave(guard) }
    }
}

/// The same for a signal handler: the thread is to go on at the first address, with the second in RDI.
#[must_use]
pub fn leaving_for_exception(raised: Raised) -> Option<(Addr, Addr)> {
    let guard = left_for(raised)?;
    Some((Addr(leave as *const () as u64), Addr(guard.addr() as u64)))
}

/// Notes why the innermost guarded call is left.
fn left_for(raised: Raised) -> Option<*mut Guard> {
    let guard = INNERMOST.get();
    if guard.is_null() {
        return None;
    }
    raised.tell();
    // SAFETY: the guard is a local of a `guarded` call further up this thread's stack.
    unsafe { (*guard).left = Some(Left::Exception(raised)) };
    Some(guard)
}

/// Leaves the innermost guarded call of this thread with an error, which is returned if there is no such call. What is
/// abandoned is what [`guarded`] says.
#[must_use]
pub fn leave_with(error: ErrorKind) -> ErrorKind {
    let guard = INNERMOST.get();
    if guard.is_null() {
        return error;
    }
    // SAFETY: the guard is a local of a `guarded` call further up this thread's stack.
    unsafe { (*guard).left = Some(Left::Error(error)) };
    // SAFETY: as above; the frames in between are foreign code and calls that own nothing (see `guarded`).
    unsafe { leave(guard) }
}

/// The guarded calls of a stack that its thread has left for another one.
#[derive(Clone, Copy, Debug)]
pub struct Guards(*mut Guard);

// SAFETY: they are followed by nobody but whoever runs the stack that they lie on.
unsafe impl Send for Guards {}

impl Guards {
    /// Those of a stack on which nothing has run.
    pub const NONE: Self = Self(null_mut());
}

/// The calling thread goes on on another stack, whose guarded calls are these; those of the stack that it leaves are
/// returned.
#[must_use]
pub fn change_guards(to: Guards) -> Guards {
    Guards(INNERMOST.replace(to.0))
}

/// Where the stack of this thread's innermost guarded call begins: who called it is above.
#[must_use]
pub fn innermost() -> Option<Addr> {
    let guard = INNERMOST.get();
    // SAFETY: the guard is null, or a local of a `guarded` call further up this thread's stack.
    unsafe { guard.as_ref() }.map(|guard| Addr(guard.rsp))
}

/// The thread goes on with this stack pointer: guarded calls that began below it are over, without having returned.
pub fn goes_on_at(stack: Addr) {
    while innermost().is_some_and(|guard| guard < stack) {
        // SAFETY: the guard is a local of a `guarded` call, whose frame nobody has given to others yet.
        INNERMOST.set(unsafe { (*INNERMOST.get()).outer });
    }
}

/// Calls `f(data)`; returns 0 when it returns, 1 when `leave` was called on the guard.
#[unsafe(naked)]
unsafe extern "C-unwind" fn enter(
    f: unsafe extern "C-unwind" fn(*mut c_void),
    data: *mut c_void,
    guard: *mut Guard,
) -> u64 {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_offset r15, -56",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdx], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "xor eax, eax",
        "2:",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "lea rsp, [rbp - 40]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Abandons everything below a guard's `enter`, which returns 1.
#[unsafe(naked)]
unsafe extern "C" fn leave(guard: *mut Guard) -> ! {
    naked_asm!(
        "mov rsp, [rdi]",
        "lea rbp, [rsp + 48]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "mov eax, 1",
        "lea rsp, [rbp - 40]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Takes the guard off the thread's chain, also when a panic or an exception passes through.
struct Chained(*mut Guard);

impl Drop for Chained {
    /// In a function of its own: a fiber's first call may end in another thread, whose chain has another place.
    #[inline(never)]
    fn drop(&mut self) {
        INNERMOST.set(self.0);
    }
}

/// Runs `f`; a call of a missing import inside it comes back as a typed error, and so does a Windows exception that
/// nobody handles.
///
/// When that happens, everything between here and there is abandoned: foreign frames as if by `longjmp`, Rust
/// frames without running destructors. So `f` should do little but call into an image.
///
/// ```
/// assert_eq!(loader_core::call::guarded(|| 6 * 7), Ok(42));
/// ```
///
/// # Errors
/// [`ErrorKind::MissingCalled`], [`ErrorKind::Exception`].
pub fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, ErrorKind> {
    struct Work<F, R>(Option<F>, Option<R>);
    unsafe extern "C-unwind" fn work<F: FnOnce() -> R, R>(data: *mut c_void) {
        // SAFETY: `guarded` passes its own `Work<F, R>`, alive and not borrowed.
        let work = unsafe { &mut *data.cast::<Work<F, R>>() };
        if let Some(f) = work.0.take() {
            work.1 = Some(f());
        }
    }
    fn trampoline<F: FnOnce() -> R, R>(_: &Work<F, R>) -> unsafe extern "C-unwind" fn(*mut c_void) {
        work::<F, R>
    }

    let mut data = Work(Some(f), None);
    let call = trampoline(&data);
    let outer = INNERMOST.get();
    let mut guard = Guard { rsp: 0, outer, left: None };
    let chained = Chained(guard.outer);
    INNERMOST.set(&raw mut guard);
    // SAFETY: `call` fits `data`, and both outlive the call; the guard is the innermost one of this thread.
    let left = unsafe { enter(call, (&raw mut data).cast(), &raw mut guard) };
    drop(chained);
    match guard.left.filter(|_| left != 0) {
        // SAFETY: `missing_called` stored the record of a stub whose module is still loaded.
        Some(Left::Missing(record)) => return Err(unsafe { &(*record).import }.called()),
        Some(Left::Exception(raised)) => return Err(ErrorKind::Exception(Box::new(raised.named()))),
        Some(Left::Error(error)) => return Err(error),
        None => {}
    }
    Ok(data.1.take().expect("`enter` returned 0, so the work was done"))
}

/// A calling convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// System V x86-64: ELF.
    SystemV,
    /// Windows x64: PE.
    Windows,
}

/// An argument of a call whose signature is known only at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Arg {
    /// An integer or a pointer, extended to 64 bits.
    Word(u64),
    /// A `double`.
    Double(f64),
    /// A `float`.
    Float(f32),
}

impl Arg {
    fn bits(self) -> u64 {
        match self {
            Self::Word(w) => w,
            Self::Double(d) => d.to_bits(),
            Self::Float(f) => f.to_bits().into(),
        }
    }
}

/// Registers and stack of a call; the assembly below knows the offsets.
#[repr(C)]
#[derive(Default)]
struct Frame {
    target: u64,      // 0
    words: [u64; 6],  // 8: rdi rsi rdx rcx r8 r9
    floats: [u64; 8], // 56
    stack: u64,       // 120
    stack_len: u64,   // 128
    rax: u64,         // 136
    xmm0: u64,        // 144
}

#[unsafe(naked)]
unsafe extern "C-unwind" fn call_frame(frame: *mut Frame) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "sub rsp, 8",
        "mov rbx, rdi",
        // The stack arguments, last first; an odd number of them needs one word of padding.
        "mov rcx, [rbx + 128]",
        "mov rax, rcx",
        "and rax, 1",
        "shl rax, 3",
        "sub rsp, rax",
        "mov rdx, [rbx + 120]",
        "2:",
        "test rcx, rcx",
        "jz 3f",
        "dec rcx",
        "push qword ptr [rdx + rcx * 8]",
        "jmp 2b",
        "3:",
        "movsd xmm0, [rbx + 56]",
        "movsd xmm1, [rbx + 64]",
        "movsd xmm2, [rbx + 72]",
        "movsd xmm3, [rbx + 80]",
        "movsd xmm4, [rbx + 88]",
        "movsd xmm5, [rbx + 96]",
        "movsd xmm6, [rbx + 104]",
        "movsd xmm7, [rbx + 112]",
        "mov rdi, [rbx + 8]",
        "mov rsi, [rbx + 16]",
        "mov rdx, [rbx + 24]",
        "mov rcx, [rbx + 32]",
        "mov r8, [rbx + 40]",
        "mov r9, [rbx + 48]",
        "mov eax, 8",
        "call [rbx]",
        "mov [rbx + 136], rax",
        "movsd [rbx + 144], xmm0",
        "lea rsp, [rbp - 8]",
        "pop rbx",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Calls `at` with arguments that are known only at run time and returns rax and the low half of xmm0.
///
/// # Errors
/// [`ErrorKind::MissingCalled`], where the callee reached an import that nobody defines.
///
/// # Safety
/// `at` is a function of that convention which takes these arguments, in an image that stays loaded during the call.
pub unsafe fn invoke(at: Addr, convention: Convention, args: &[Arg]) -> Result<(u64, u64), ErrorKind> {
    let mut frame = Frame { target: at.0, ..Frame::default() };
    let mut stack = Vec::new();
    match convention {
        Convention::SystemV => {
            let (mut words, mut floats) = (0, 0);
            for arg in args {
                let (file, used): (&mut [u64], _) = match arg {
                    Arg::Word(_) => (&mut frame.words, &mut words),
                    _ => (&mut frame.floats, &mut floats),
                };
                match file.get_mut(*used) {
                    Some(register) => *register = arg.bits(),
                    None => stack.push(arg.bits()),
                }
                *used += 1;
            }
        }
        Convention::Windows => {
            const WORDS: [usize; 4] = [3, 2, 4, 5]; // rcx rdx r8 r9 in `Frame::words`
            stack.extend([0; 4]); // the home area of the four register arguments
            for (i, arg) in args.iter().enumerate() {
                match WORDS.get(i) {
                    Some(&w) => (frame.words[w], frame.floats[i]) = (arg.bits(), arg.bits()),
                    None => stack.push(arg.bits()),
                }
            }
        }
    }
    frame.stack = stack.as_ptr().addr() as u64;
    frame.stack_len = stack.len() as u64;
    let at = &raw mut frame;
    // SAFETY: the caller's promise about the target; the frame and the stack words outlive the call. What is
    // abandoned when a stub is met owns nothing: `stack` belongs to this function.
    guarded(|| unsafe { call_frame(at) })?;
    Ok((frame.rax, frame.xmm0))
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn many(a: u64, b: f64, c: u64, d: f32, e: u64, f: u64, g: u64, h: u64, i: u64) -> f64 {
        (a + c * 10 + e * 100 + f * 1000 + g * 10_000 + h * 100_000 + i * 1_000_000) as f64 + b + f64::from(d)
    }
    extern "win64" fn many_win(a: u64, b: f64, c: u64, d: f32, e: u64, f: f64, g: u64) -> f64 {
        (a + c * 10 + e * 100 + g * 1000) as f64 + b + f64::from(d) + f
    }

    #[test]
    fn arguments_reach_their_registers_and_the_stack_in_both_conventions() {
        use Arg::{Double, Float, Word};
        let args = [Word(1), Double(0.5), Word(2), Float(0.25), Word(3), Word(4), Word(5), Word(6), Word(7)];
        // SAFETY: the functions take exactly these arguments.
        let (_, x) = unsafe { invoke(Addr(many as *const () as u64), Convention::SystemV, &args) }.unwrap();
        assert_eq!(f64::from_bits(x), 7_654_321.75);
        let args = [Word(1), Double(0.5), Word(2), Float(0.25), Word(3), Double(0.125), Word(4)];
        // SAFETY: as above.
        let (_, x) =
            unsafe { invoke(Addr(many_win as *const () as u64), Convention::Windows, &args) }.unwrap();
        assert_eq!(f64::from_bits(x), 4321.875);
    }

    #[test]
    fn a_missing_import_comes_back_as_an_error_through_nested_guards() {
        use crate::call::{Caller, Native};
        let mut stubs = Native::new().stubs();
        let import = MissingImport {
            module: "m".into(),
            symbol: SymbolName::Name((*b"gone").into()),
            from: Some("d.dll".into()),
        };
        let at = stubs.stub(import.clone()).unwrap();
        let inner = guarded(|| {
            // SAFETY: a stub takes any arguments.
            let e = unsafe { invoke(at, Convention::Windows, &[Arg::Word(3)]) }.unwrap_err();
            assert_eq!(e, import.called());
            7
        });
        assert_eq!(inner, Ok(7));
        // SAFETY: as above.
        assert!(unsafe { invoke(at, Convention::SystemV, &[]) }.is_err());
    }

    #[test]
    fn a_panic_passes_through_a_guard() {
        let caught = std::panic::catch_unwind(|| guarded(|| panic!("through")));
        assert!(caught.is_err());
        assert!(INNERMOST.get().is_null());
    }
}
