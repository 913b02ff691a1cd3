//! The two passes over a stack: who handles an exception, and unwinding to whoever does.

use super::{
    Bridge, COLLIDED_UNWIND, ContextRecord, Dispatcher, EXIT_UNWIND, Kind, NESTED_CALL, NONCONTINUABLE,
    Pointers, RAX, Record, STACK_INVALID, TARGET_UNWIND, UNWINDING,
    functions::{self, Found},
    host::{self, Code},
    local, registers, status, vectored,
};
use crate::{guest::Ptr, teb};
use loader_pe::unwind::{Frame, Handler, RSP};

/// What a handler of a frame answers (`EXCEPTION_DISPOSITION`).
const CONTINUE_EXECUTION: u64 = 0;
const CONTINUE_SEARCH: u64 = 1;

/// What a context on a walk stands for.
#[allow(clippy::large_enum_variant, reason = "nothing is allocated while somebody may hold the allocator")]
enum Place {
    /// The guest's code, stepped out of.
    Code(Found, Frame),
    /// The host called the guest from here.
    Bridge(Bridge),
    /// The host's code, which was called with these registers.
    Host(ContextRecord),
    /// The end of the stack, as far as the guest is concerned.
    End,
    /// Unwind data that cannot be followed.
    Broken,
}

fn place(context: &ContextRecord, code: Code) -> Place {
    if let Some(bridge) = registers::bridge(context) {
        return Place::Bridge(bridge);
    }
    match functions::find(context.rip) {
        None => host::caller(context, code).map_or(Place::End, Place::Host),
        Some(found) => found.unwind(context).map_or(Place::Broken, |frame| Place::Code(found, frame)),
    }
}

/// Whether a frame lies on the calling thread's stack.
pub(super) fn on_stack(establisher: u64) -> bool {
    let (low, high) = teb::with(|t| (t.deallocation_stack.get() as u64, t.stack_base.get() as u64));
    (low..high).contains(&establisher) && establisher.is_multiple_of(8)
}

/// Whether code of the guest is being executed, or has called what is.
pub(super) fn leads_to_guest(context: &ContextRecord) -> bool {
    let at = context.rip;
    functions::is_in_image(at)
        || !matches!(place(context, Code::Next), Place::End)
        || !host::has(at) && teb::process().memory.has(at)
}

/// What a frame's handler is told of its frame.
fn dispatcher(
    found: &Found,
    frame: &Frame,
    handler: Handler,
    pc: u64,
    context: Ptr<ContextRecord>,
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
fn call_handler(record: Ptr<Record>, context: Ptr<ContextRecord>, kind: Kind, told: Ptr<Dispatcher>) -> u64 {
    let Dispatcher { establisher, routine, .. } = told.get();
    let arguments = [record.addr() as u64, establisher, context.addr() as u64, told.addr() as u64];
    Bridge { kind, context: context.get() }.call(routine, arguments) & 0xffff_ffff
}

/// Changes the flags of an exception.
fn flags(record: Ptr<Record>, clear: u32, set: u32) {
    let old = record.get();
    record.set(Record { flags: old.flags & !clear | set, ..old });
}

/// Tells everybody of an exception, in order, until somebody handles it; `true` if execution goes on with `context`.
/// A frame that handles it otherwise does not return here.
pub(super) fn dispatch(record: Ptr<Record>, context: Ptr<ContextRecord>) -> bool {
    let mut pointers = Pointers { record, context };
    let pointers = local(&mut pointers);
    let handled = vectored::ask(pointers) || ask_frames(record, context) || vectored::last_resort(pointers);
    if handled {
        vectored::ask_continuing(pointers);
    }
    handled
}

fn ask_frames(record: Ptr<Record>, context: Ptr<ContextRecord>) -> bool {
    let mut current = context.get();
    // How many of the next frame's scopes have been asked, and up to which frame somebody is asked already.
    let (mut scope, mut nested) = (0, 0);
    let mut code = Code::Next;
    loop {
        match place(&current, code) {
            Place::End | Place::Broken => return false,
            Place::Host(called) => {
                (current, code) = (called, Code::Returned);
                continue;
            }
            Place::Bridge(Bridge { kind: Kind::Unwinding(other), context }) => {
                (current, scope, code) = (context, other.get().scope, Code::Next);
                continue;
            }
            Place::Bridge(bridge) => {
                if let Kind::Asking(other) = bridge.kind {
                    nested = nested.max(other.get().establisher);
                    flags(record, 0, NESTED_CALL);
                }
                (current, code) = (bridge.context, Code::Next);
                continue;
            }
            Place::Code(_, frame) if !on_stack(frame.establisher) => {
                flags(record, 0, STACK_INVALID);
                return false;
            }
            Place::Code(found, frame) => {
                let pc = current.rip;
                current.set(&frame.caller);
                code = Code::Returned;
                if let Some(handler) = frame.handler.filter(|h| h.exceptions) {
                    if frame.establisher > nested {
                        flags(record, NESTED_CALL, 0);
                    }
                    // The handler may write to the context it is shown.
                    let mut shown = current;
                    let told = dispatcher(&found, &frame, handler, pc, local(&mut shown));
                    let mut told = Dispatcher { scope, ..told };
                    let told = local(&mut told);
                    match call_handler(record, context, Kind::Asking(told), told) {
                        CONTINUE_SEARCH => {}
                        CONTINUE_EXECUTION if record.get().flags & NONCONTINUABLE == 0 => return true,
                        CONTINUE_EXECUTION => raise_status(status::NONCONTINUABLE_EXCEPTION, record, context),
                        _ => raise_status(status::INVALID_DISPOSITION, record, context),
                    }
                }
            }
        }
        scope = 0;
    }
}

/// The call into Windows code that led here fails, because nobody handles an exception. Returns if nobody guards it.
pub(super) fn leave(record: Ptr<Record>, context: Ptr<ContextRecord>) {
    loader_core::call::leave_for_exception(record.get().raised(&context.get()));
}

/// Raises an exception at a place. Who handles it goes on elsewhere, or there; if nobody does, the call into Windows code
/// that led here fails. A call that nobody guards ends with the process, as on Windows.
fn raise(record: Ptr<Record>, context: Ptr<ContextRecord>) -> ! {
    if dispatch(record, context) {
        registers::resume(context)
    }
    nobody_handles(record, context)
}

fn nobody_handles(record: Ptr<Record>, context: Ptr<ContextRecord>) -> ! {
    leave(record, context);
    let Record { code, address, .. } = record.get();
    eprintln!("exception {code:#010x} at {address:#x}, and nobody handles it");
    std::process::abort()
}

/// Raises an exception about the handling of another one.
fn raise_status(code: u32, cause: Ptr<Record>, context: Ptr<ContextRecord>) -> ! {
    if cause.get().code == code {
        nobody_handles(cause, context); // whoever was asked would answer as before, for ever
    }
    // A copy, because the first exception's handlers may look at theirs.
    let mut context = context.get();
    let (address, cause) = (context.rip, cause.addr());
    let mut record = Record { code, flags: NONCONTINUABLE, cause, address, ..Record::default() };
    raise(local(&mut record), local(&mut context))
}

/// An exception without arguments, for which execution cannot go on.
pub(crate) fn raise_code(code: u32, context: Ptr<ContextRecord>) -> ! {
    let mut record = Record { code, flags: NONCONTINUABLE, address: context.get().rip, ..Record::default() };
    raise(local(&mut record), context)
}

/// `RaiseException(code, flags, count, arguments)`.
pub(super) extern "win64" fn raise_exception(context: Ptr<ContextRecord>, arguments: Ptr<[u64; 4]>) {
    let [code, flags, count, from] = arguments.get();
    let (code, flags, address) = (code as u32, flags as u32 & NONCONTINUABLE, context.get().rip);
    let mut record = Record { code, flags, address, ..Record::default() };
    if from != 0 {
        record.count = (count as u32).min(15);
        for (n, to) in record.information.iter_mut().enumerate().take(record.count as usize) {
            *to = functions::word(from + 8 * n as u64);
        }
    }
    raise(local(&mut record), context)
}

/// `RtlRaiseException(record)`.
pub(super) extern "win64" fn raise_record(context: Ptr<ContextRecord>, arguments: Ptr<Ptr<Record>>) {
    let record = arguments.get();
    record.set(Record { address: context.get().rip, ..record.get() });
    raise(record, context)
}

/// `RtlCaptureStackBackTrace(skip, count, addresses, hash)`: where the frames of the guest's code go on, innermost first,
/// and how many there were.
pub(super) extern "win64" fn back_trace(start: Ptr<ContextRecord>, arguments: Ptr<[u64; 4]>) -> u64 {
    let [skip, count, addresses, hash] = arguments.get();
    let (skip, count) = (u64::from(skip as u32), u64::from(count as u32).min(u64::from(u16::MAX)));
    let addresses = Ptr::<u64>::from_guest(addresses);
    let (mut current, mut seen, mut sum) = (start.get(), 0, 0u64);
    let mut code = Code::Next;
    while seen < skip + count {
        match place(&current, code) {
            Place::End | Place::Broken => break,
            Place::Bridge(bridge) => (current, code) = (bridge.context, Code::Next),
            Place::Host(called) => (current, code) = (called, Code::Returned),
            Place::Code(_, frame) if !on_stack(frame.establisher) => break,
            Place::Code(_, frame) => {
                if seen >= skip {
                    addresses.at((seen - skip) as usize).set(current.rip);
                    sum = sum.wrapping_add(current.rip);
                }
                seen += 1;
                code = Code::Returned;
                current.set(&frame.caller);
            }
        }
    }
    Ptr::<u32>::from_guest(hash).put(sum as u32);
    seen.saturating_sub(skip)
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
pub(super) extern "win64" fn unwind_plainly(start: Ptr<ContextRecord>, arguments: Ptr<[u64; 4]>) {
    let [frame, ip, record, value] = arguments.get();
    unwind(Target { frame, ip, value }, Ptr::from_guest(record), start);
}

/// `RtlUnwindEx(frame, ip, record, value, context, history)`: the context is room that the caller lends.
pub(super) extern "win64" fn unwind_ex(start: Ptr<ContextRecord>, arguments: Ptr<[u64; 6]>) {
    let [frame, ip, record, value, context, _] = arguments.get();
    let context = Ptr::from_guest(context);
    context.set(start.get());
    unwind(Target { frame, ip, value }, Ptr::from_guest(record), context);
}

/// `longjmp(buffer, value)` with a frame in the buffer: whoever is jumped over is told.
pub(super) extern "win64" fn long_jump(start: Ptr<ContextRecord>, arguments: Ptr<[u64; 2]>) {
    let [buffer, value] = arguments.get();
    let mut record = Record { code: status::LONGJUMP, count: 1, ..Record::default() };
    record.information[0] = buffer;
    let value = u64::from((value as u32).max(1));
    let (frame, ip) = (functions::word(buffer), functions::word(buffer + 0x50));
    unwind(Target { frame, ip, value }, local(&mut record), start);
}

/// Tells every frame from `context` to the target that it is unwound, and goes on there. Returns only if the end of the
/// stack was meant and reached.
pub(super) fn unwind(target: Target, record: Ptr<Record>, context: Ptr<ContextRecord>) {
    let mut own = Record { code: status::UNWIND, address: context.get().rip, ..Record::default() };
    let record = if record.is_null() { local(&mut own) } else { record };
    let all = if target.frame == 0 { UNWINDING | EXIT_UNWIND } else { UNWINDING };
    let (mut scope, mut again) = (0, 0);
    let mut code = Code::Next;
    loop {
        let mut current = context.get();
        match place(&current, code) {
            Place::End if target.frame == 0 => return,
            Place::End => return beyond(target, record, context),
            Place::Broken => raise_status(status::BAD_FUNCTION_TABLE, record, context),
            Place::Bridge(Bridge { kind: Kind::Unwinding(other), context: interrupted }) => {
                (scope, again, code) = (other.get().scope, COLLIDED_UNWIND, Code::Next);
                context.set(interrupted);
            }
            Place::Bridge(bridge) => {
                code = Code::Next;
                context.set(bridge.context);
            }
            Place::Host(called) => {
                code = Code::Returned;
                context.set(called);
            }
            Place::Code(_, frame) if !on_stack(frame.establisher) => {
                raise_status(status::BAD_STACK, record, context)
            }
            Place::Code(_, frame) if target.frame != 0 && frame.establisher > target.frame => {
                return beyond(target, record, context);
            }
            Place::Code(found, frame) => {
                let last = frame.establisher == target.frame;
                if let Some(handler) = frame.handler.filter(|h| h.terminations) {
                    let last = if last { TARGET_UNWIND } else { 0 };
                    flags(record, TARGET_UNWIND | COLLIDED_UNWIND, all | last | again);
                    current.integers[RAX] = target.value;
                    context.set(current);
                    let told = dispatcher(&found, &frame, handler, current.rip, context);
                    let mut told = Dispatcher { target: target.ip, scope, ..told };
                    let told = local(&mut told);
                    if call_handler(record, context, Kind::Unwinding(told), told) != CONTINUE_SEARCH {
                        raise_status(status::INVALID_DISPOSITION, record, context);
                    }
                }
                if last {
                    break;
                }
                (scope, again, code) = (0, 0, Code::Returned);
                current.set(&frame.caller);
                context.set(current);
            }
        }
    }
    let mut registers = context.get();
    registers.integers[RAX] = target.value;
    if record.get().code != status::UNWIND_CONSOLIDATE {
        registers.rip = target.ip;
    }
    context.set(registers);
    RtlRestoreContext(context, record)
}

/// The frame that was to be the last was not met. A jump needs none; everything else would go on in the wrong frame.
fn beyond(target: Target, record: Ptr<Record>, context: Ptr<ContextRecord>) {
    if record.get().code != status::LONGJUMP {
        raise_status(status::BAD_STACK, record, context);
    }
    let mut registers = context.get();
    registers.integers[RAX] = target.value;
    context.set(registers);
    RtlRestoreContext(context, record)
}

/// Goes on with the registers of a context, unless the record says with which: those of a jump buffer, or where a
/// function of the guest says.
pub(crate) extern "win64" fn RtlRestoreContext(context: Ptr<ContextRecord>, record: Ptr<Record>) {
    if !record.is_null() {
        let Record { code, count, information, .. } = record.get();
        let mut registers = context.get();
        match (code, count) {
            (status::LONGJUMP, 1..) => from_jump_buffer(&mut registers, information[0]),
            (status::UNWIND_CONSOLIDATE, 1..) => {
                let bridge = Bridge { kind: Kind::Calling, context: registers };
                registers.rip = bridge.call(information[0], [record.addr() as u64, 0, 0, 0]);
            }
            _ => {}
        }
        context.set(registers);
    }
    registers::resume(context)
}

/// As a debugger or a runtime of its own has it: goes on with the registers of a context.
pub(crate) extern "win64" fn NtContinue(context: Ptr<ContextRecord>, _alert: u8) {
    registers::resume(context)
}

/// Raises an exception at a place of the caller's; a second chance is for debuggers only, and there is none.
pub(crate) extern "win64" fn NtRaiseException(
    record: Ptr<Record>,
    context: Ptr<ContextRecord>,
    first_chance: u8,
) -> u32 {
    if first_chance == 0 {
        nobody_handles(record, context);
    }
    raise(record, context)
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
    context.float[1] = context.float[1] & !(0xffff_ffff << 64) | u128::from(context.mxcsr) << 64;
    for (n, xmm) in context.xmm[6..].iter_mut().enumerate() {
        let at = buffer + 0x60 + 16 * n as u64;
        *xmm = u128::from(functions::word(at)) | u128::from(functions::word(at + 8)) << 64;
    }
}
