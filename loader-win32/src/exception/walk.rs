//! The two passes over a stack: who handles an exception, and unwinding to whoever does.

use super::{
    Bridge, COLLIDED_UNWIND, ContextRecord, Dispatcher, EXIT_UNWIND, Kind, NESTED_CALL, NONCONTINUABLE,
    Pointers, RAX, Record, STACK_INVALID, TARGET_UNWIND, UNWINDING,
    functions::{self, Found},
    registers, status, vectored,
};
use crate::teb;
use loader_pe::unwind::{Frame, Handler, RSP};

/// What a handler of a frame answers (`EXCEPTION_DISPOSITION`).
const CONTINUE_EXECUTION: u64 = 0;
const CONTINUE_SEARCH: u64 = 1;

/// What a context on a walk stands for.
enum Place {
    /// The guest's code, stepped out of.
    Code(Found, Frame),
    /// The host called the guest from here.
    Bridge(Bridge),
    /// The end of the stack, as far as the guest is concerned.
    End,
    /// Unwind data that cannot be followed.
    Broken,
}

fn place(context: &ContextRecord) -> Place {
    if let Some(bridge) = registers::bridge(context) {
        return Place::Bridge(bridge);
    }
    match functions::find(context.rip) {
        None => Place::End,
        Some(found) => found.unwind(context).map_or(Place::Broken, |frame| Place::Code(found, frame)),
    }
}

/// Whether a frame lies on the calling thread's stack.
fn on_stack(establisher: u64) -> bool {
    let (low, high) = teb::with(|t| (t.stack_limit.get() as u64, t.stack_base.get() as u64));
    (low..high).contains(&establisher) && establisher.is_multiple_of(8)
}

/// What a frame's handler is told of its frame.
fn dispatcher(
    found: &Found,
    frame: &Frame,
    handler: Handler,
    pc: u64,
    context: &mut ContextRecord,
) -> Dispatcher {
    Dispatcher {
        pc,
        base: found.functions.base.0,
        function: found.place(),
        establisher: frame.establisher,
        target: 0,
        context,
        routine: handler.routine.0,
        data: handler.data.0,
        history: 0,
        scope: 0,
    }
}

/// Asks or tells a frame's handler.
fn call_handler(
    record: *mut Record,
    context: *mut ContextRecord,
    kind: Kind,
    dispatcher: &mut Dispatcher,
) -> u64 {
    let dispatcher: *mut Dispatcher = dispatcher;
    // SAFETY: the caller's local.
    let told = unsafe { *dispatcher };
    let bridge = Bridge { kind, context };
    let arguments = [
        record.addr() as u64,
        told.establisher,
        context.addr() as u64,
        dispatcher.expose_provenance() as u64,
    ];
    record.expose_provenance();
    context.expose_provenance();
    // SAFETY: unwind data names handlers of this type; all pointers are to locals of frames further up.
    unsafe { bridge.call(told.routine, arguments) & 0xffff_ffff }
}

/// Tells everybody of an exception, in order, until somebody handles it; `true` if execution goes on with `context`.
/// A frame that handles it otherwise does not return here.
fn dispatch(record: *mut Record, context: *mut ContextRecord) -> bool {
    let pointers = Pointers { record, context };
    let handled = vectored::ask(&pointers) || ask_frames(record, context);
    if handled {
        vectored::ask_continuing(&pointers);
    }
    handled
}

fn ask_frames(record: *mut Record, context: *mut ContextRecord) -> bool {
    // SAFETY (of the function): `record` and `context` are locals of frames further up, or the guest's, which keeps
    // them during the call, as the functions that raise exceptions ask. They are used by one access at a time.
    let mut current = unsafe { *context };
    let (mut scope, mut nested) = (0, 0);
    let flags = |set: u32, clear: u32| {
        // SAFETY: see above.
        let flags = unsafe { &mut (*record).flags };
        *flags = *flags & !clear | set;
    };
    loop {
        match place(&current) {
            Place::End | Place::Broken => return false,
            Place::Bridge(bridge) => {
                match bridge.kind {
                    Kind::Asking(other) => {
                        // SAFETY: the bridge's pointers are valid while what was called over it runs.
                        nested = nested.max(unsafe { (*other).establisher });
                        flags(NESTED_CALL, 0);
                        // SAFETY: as above.
                        current = unsafe { *bridge.context };
                    }
                    Kind::Unwinding(other) => (current, scope) = collided(other),
                    // SAFETY: as above.
                    Kind::Calling => current = unsafe { *bridge.context },
                }
                continue;
            }
            Place::Code(_, frame) if !on_stack(frame.establisher) => {
                flags(STACK_INVALID, 0);
                return false;
            }
            Place::Code(found, frame) => {
                let pc = current.rip;
                current.set(&frame.caller);
                if let Some(handler) = frame.handler.filter(|h| h.exceptions) {
                    if frame.establisher > nested {
                        flags(0, NESTED_CALL);
                    }
                    let mut told = dispatcher(&found, &frame, handler, pc, &mut current);
                    told.scope = scope;
                    let kind = Kind::Asking(&raw const told);
                    match call_handler(record, context, kind, &mut told) {
                        CONTINUE_SEARCH => {}
                        // SAFETY: see above.
                        CONTINUE_EXECUTION if unsafe { (*record).flags } & NONCONTINUABLE == 0 => {
                            return true;
                        }
                        CONTINUE_EXECUTION => raise_status(status::NONCONTINUABLE_EXCEPTION, record, context),
                        _ => raise_status(status::INVALID_DISPOSITION, record, context),
                    }
                    current.set(&frame.caller);
                }
            }
        }
        scope = 0;
    }
}

/// The frame whose unwinding was interrupted, and how many of its scopes have been told.
fn collided(other: *const Dispatcher) -> (ContextRecord, u32) {
    // SAFETY: the bridge's pointers are valid while what was called over it runs.
    let other = unsafe { *other };
    // SAFETY: as above; the context is the interrupted unwinding's own.
    (unsafe { *other.context }, other.scope)
}

/// Raises an exception at a place; returns never: who handles it goes on elsewhere.
fn raise(record: *mut Record, context: *mut ContextRecord) -> ! {
    if dispatch(record, context) || vectored::last_resort(&Pointers { record, context }) {
        // SAFETY: the context is that of the guest's code, as far as whoever handled it left it so.
        unsafe { registers::restore(context) }
    }
    // SAFETY: as in `ask_frames`.
    let record = unsafe { *record };
    eprintln!("exception {:#010x} at {:#x}, and nobody handles it", record.code, record.address);
    std::process::abort()
}

/// Raises an exception about the handling of another one.
fn raise_status(code: u32, cause: *mut Record, context: *mut ContextRecord) -> ! {
    // SAFETY: as in `ask_frames`.
    let address = unsafe { (*context).rip };
    let cause = cause.expose_provenance();
    let mut record = Record { code, flags: NONCONTINUABLE, cause, address, ..Record::default() };
    // SAFETY: as above; a copy, because the first exception's handlers may look at theirs.
    let mut context = unsafe { *context };
    raise(&raw mut record, &raw mut context)
}

/// `RaiseException(code, flags, count, arguments)`.
pub(super) unsafe extern "win64" fn raise_exception(context: *mut ContextRecord, arguments: *const [u64; 4]) {
    // SAFETY: `with_registers` passes the place of the arguments.
    let [code, flags, count, from] = unsafe { *arguments };
    // SAFETY: as above.
    let address = unsafe { (*context).rip };
    let mut record =
        Record { code: code as u32, flags: flags as u32 & NONCONTINUABLE, address, ..Record::default() };
    if from != 0 {
        record.count = (count as u32).min(15);
        for (n, to) in record.information.iter_mut().enumerate().take(record.count as usize) {
            *to = functions::word(from + 8 * n as u64);
        }
    }
    raise(&raw mut record, context)
}

/// `RtlRaiseException(record)`.
pub(super) unsafe extern "win64" fn raise_record(context: *mut ContextRecord, arguments: *const *mut Record) {
    // SAFETY: `with_registers` passes the place of the arguments.
    let record = unsafe { *arguments };
    // SAFETY: as above.
    let address = unsafe { (*context).rip };
    // SAFETY: the caller passes a record that stays while the exception is handled.
    unsafe { (*record).address = address };
    raise(record, context)
}

/// Where an unwinding goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// The frame; 0 for none: all are unwound.
    pub(super) frame: u64,
    /// Where execution goes on.
    pub(super) ip: u64,
    /// What is in RAX then.
    pub(super) value: u64,
}

/// `RtlUnwind(frame, ip, record, value)`.
pub(super) unsafe extern "win64" fn unwind_plainly(start: *mut ContextRecord, arguments: *const [u64; 4]) {
    // SAFETY: `with_registers` passes the place of the arguments.
    let [frame, ip, record, value] = unsafe { *arguments };
    // SAFETY: as above.
    let mut context = unsafe { *start };
    unwind(Target { frame, ip, value }, at(record), &raw mut context);
}

/// `RtlUnwindEx(frame, ip, record, value, context, history)`.
pub(super) unsafe extern "win64" fn unwind_ex(start: *mut ContextRecord, arguments: *const [u64; 6]) {
    // SAFETY: `with_registers` passes the place of the arguments.
    let [frame, ip, record, value, context, _] = unsafe { *arguments };
    let context: *mut ContextRecord = at(context);
    // SAFETY: the caller passes room for a context, as the function asks; it may have been used before.
    unsafe { context.copy_from_nonoverlapping(start, 1) };
    unwind(Target { frame, ip, value }, at(record), context);
}

/// `longjmp(buffer, value)` with a frame in the buffer: whoever is jumped over is told.
pub(super) unsafe extern "win64" fn long_jump(start: *mut ContextRecord, arguments: *const [u64; 2]) {
    // SAFETY: `with_registers` passes the place of the arguments.
    let [buffer, value] = unsafe { *arguments };
    let mut record = Record { code: status::LONGJUMP, count: 1, ..Record::default() };
    record.information[0] = buffer;
    let value = u64::from((value as u32).max(1));
    let (frame, ip) = (functions::word(buffer), functions::word(buffer + 0x50));
    unwind(Target { frame, ip, value }, &raw mut record, start);
}

fn at<T>(address: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// Tells every frame from `current` to the target that it is unwound, and goes on there. Returns only if the end of the
/// stack was meant and reached.
pub(super) fn unwind(target: Target, record: *mut Record, current: *mut ContextRecord) {
    // SAFETY (of the function): as in `ask_frames`.
    let rip = unsafe { (*current).rip };
    let mut own = Record { code: status::UNWIND, address: rip, ..Record::default() };
    let record = if record.is_null() { &raw mut own } else { record };
    let mut passing = if target.frame == 0 { UNWINDING | EXIT_UNWIND } else { UNWINDING };
    let mut scope = 0;
    loop {
        // SAFETY: see above.
        match place(unsafe { &*current }) {
            Place::End if target.frame == 0 => return,
            Place::End => return beyond(target, record, current),
            Place::Broken => raise_status(status::BAD_FUNCTION_TABLE, record, current),
            Place::Bridge(bridge) => {
                let (next, told) = match bridge.kind {
                    Kind::Unwinding(other) => {
                        passing |= COLLIDED_UNWIND;
                        collided(other)
                    }
                    // SAFETY: the bridge's pointers are valid while what was called over it runs.
                    Kind::Asking(_) | Kind::Calling => (unsafe { *bridge.context }, 0),
                };
                scope = told;
                // SAFETY: see above.
                unsafe { *current = next };
            }
            Place::Code(_, frame) if !on_stack(frame.establisher) => {
                raise_status(status::BAD_STACK, record, current)
            }
            Place::Code(_, frame) if target.frame != 0 && frame.establisher > target.frame => {
                return beyond(target, record, current);
            }
            Place::Code(found, frame) => {
                let last = frame.establisher == target.frame;
                if let Some(handler) = frame.handler.filter(|h| h.terminations) {
                    let flags = if last { passing | TARGET_UNWIND } else { passing };
                    // SAFETY: see above.
                    unsafe { (*record).flags = (*record).flags & !(TARGET_UNWIND | COLLIDED_UNWIND) | flags };
                    // SAFETY: see above.
                    let registers = unsafe { &mut *current };
                    registers.integers[RAX] = target.value;
                    let pc = registers.rip;
                    let mut told = dispatcher(&found, &frame, handler, pc, registers);
                    (told.target, told.scope) = (target.ip, scope);
                    let kind = Kind::Unwinding(&raw const told);
                    if call_handler(record, current, kind, &mut told) != CONTINUE_SEARCH {
                        raise_status(status::INVALID_DISPOSITION, record, current);
                    }
                }
                (scope, passing) = (0, passing & !COLLIDED_UNWIND);
                if last {
                    break;
                }
                // SAFETY: see above.
                unsafe { (*current).set(&frame.caller) };
            }
        }
    }
    // SAFETY: see above.
    let registers = unsafe { &mut *current };
    registers.integers[RAX] = target.value;
    // SAFETY: see above.
    if unsafe { (*record).code } != status::UNWIND_CONSOLIDATE {
        registers.rip = target.ip;
    }
    resume(current, record)
}

/// The frame that was to be the last was not met. A jump needs none; everything else would go on in the wrong frame.
fn beyond(target: Target, record: *mut Record, context: *mut ContextRecord) {
    // SAFETY: as in `ask_frames`.
    let code = unsafe { (*record).code };
    match code {
        status::LONGJUMP => {
            // SAFETY: as above.
            unsafe { (*context).integers[RAX] = target.value };
            resume(context, record)
        }
        _ => raise_status(status::BAD_STACK, record, context),
    }
}

/// Goes on with the registers of a context, unless the record says with which.
fn resume(context: *mut ContextRecord, record: *const Record) -> ! {
    // SAFETY: null, or a record as in `ask_frames`.
    if let Some(record) = unsafe { record.as_ref() } {
        // SAFETY: as in `ask_frames`.
        let registers = unsafe { &mut *context };
        match (record.code, record.count) {
            (status::LONGJUMP, 1..) => from_jump_buffer(registers, record.information[0]),
            (status::UNWIND_CONSOLIDATE, 1..) => {
                let bridge = Bridge { kind: Kind::Calling, context };
                let arguments = [std::ptr::from_ref(record).expose_provenance() as u64, 0, 0, 0];
                // SAFETY: the record names a function of this type; it may leave by an exception.
                registers.rip = unsafe { bridge.call(record.information[0], arguments) };
            }
            _ => {}
        }
    }
    // SAFETY: the context is that of a frame of the guest further up the stack.
    unsafe { registers::restore(context) }
}

/// `_JUMP_BUFFER`: frame, RBX, RSP, RBP, RSI, RDI, R12 to R15, RIP, MXCSR, x87 control word, XMM6 to XMM15.
fn from_jump_buffer(context: &mut ContextRecord, buffer: u64) {
    const REGISTERS: [usize; 9] = [3, RSP, 5, 6, 7, 12, 13, 14, 15];
    for (n, register) in REGISTERS.into_iter().enumerate() {
        context.integers[register] = functions::word(buffer + 8 + 8 * n as u64);
    }
    context.rip = functions::word(buffer + 0x50);
    context.mxcsr = functions::half(buffer + 0x58);
    context.float[0] = context.float[0] & !0xffff | u128::from(functions::half(buffer + 0x5c) & 0xffff);
    for n in 0..10 {
        let at = buffer + 0x60 + 16 * n as u64;
        context.xmm[6 + n] = u128::from(functions::word(at)) | u128::from(functions::word(at + 8)) << 64;
    }
}

/// Goes on with the registers of a context.
pub(crate) unsafe extern "win64" fn RtlRestoreContext(context: *mut ContextRecord, record: *const Record) {
    resume(context, record)
}
