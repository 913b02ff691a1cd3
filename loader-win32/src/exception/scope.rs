//! `__C_specific_handler`: the scopes of `__try` in a function, innermost first.

use super::{
    Bridge, ContextRecord, Dispatcher, EXIT_UNWIND, Kind, Pointers, Record, TARGET_UNWIND, UNWINDING,
    functions::half, walk,
};

/// A scope's filter that always handles the exception.
const ALWAYS: u32 = 1;

const CONTINUE_EXECUTION: i32 = 0;
const CONTINUE_SEARCH: i32 = 1;

/// `__try { begin … end }`, as positions in the image.
struct Scope {
    begin: u32,
    end: u32,
    /// The filter of `__except`, or the code of `__finally`.
    handler: u32,
    /// The code of `__except`; 0 for a `__finally`.
    block: u32,
}

impl Scope {
    fn read(at: u64) -> Self {
        let [begin, end, handler, block] = [0, 4, 8, 12].map(|n| half(at + n));
        Self { begin, end, handler, block }
    }

    fn covers(&self, at: u64) -> bool {
        (u64::from(self.begin)..self.end.into()).contains(&at)
    }
}

/// The handler of functions with `__try`: asks filters, or runs what `__finally` has.
pub(crate) unsafe extern "win64" fn __C_specific_handler(
    record: *mut Record,
    frame: u64,
    context: *mut ContextRecord,
    told: *mut Dispatcher,
) -> i32 {
    // SAFETY (of the function): the dispatcher passes its own record, context and dispatcher context, which stay until
    // this returns. What is copied here needs no destructor.
    let dispatcher = unsafe { *told };
    // SAFETY: see above.
    let flags = unsafe { (*record).flags };
    let (base, at) = (dispatcher.base, dispatcher.pc.wrapping_sub(dispatcher.base));
    let unwinding = flags & (UNWINDING | EXIT_UNWIND) != 0;
    for n in dispatcher.scope..half(dispatcher.data) {
        let scope = Scope::read(dispatcher.data + 4 + 16 * u64::from(n));
        if !scope.covers(at) {
            continue;
        }
        match (unwinding, scope.block) {
            (true, 0) => {
                // What goes on within the scope does not leave it.
                let target = dispatcher.target.wrapping_sub(base);
                if flags & TARGET_UNWIND != 0 && scope.covers(target) {
                    return CONTINUE_SEARCH;
                }
                // SAFETY: see above. Whoever comes here again goes on with the next scope.
                unsafe { (*told).scope = n + 1 };
                let bridge = Bridge { kind: Kind::Unwinding(told), context };
                // SAFETY: the scope table names a function `void f(BOOLEAN abnormal, void *frame)`.
                unsafe { bridge.call(base + u64::from(scope.handler), [1, frame, 0, 0]) };
            }
            // The scope that handles the exception: those around it are not left.
            (true, block) if flags & TARGET_UNWIND != 0 && base + u64::from(block) == dispatcher.target => {
                return CONTINUE_SEARCH;
            }
            (true, _) | (false, 0) => {}
            (false, block) => {
                let answer = match scope.handler {
                    ALWAYS => 1,
                    filter => ask(base + u64::from(filter), frame, record, context, told),
                };
                if answer < 0 {
                    return CONTINUE_EXECUTION;
                }
                if answer > 0 {
                    // SAFETY: see above.
                    let value = unsafe { (*record).code }.into();
                    let target = walk::Target { frame, ip: base + u64::from(block), value };
                    // SAFETY: see above; unwinding begins where the exception was raised.
                    let mut start = unsafe { *context };
                    walk::unwind(target, record, &raw mut start);
                }
            }
        }
    }
    CONTINUE_SEARCH
}

/// Asks a filter, `LONG f(EXCEPTION_POINTERS *, void *frame)`.
fn ask(
    filter: u64,
    frame: u64,
    record: *mut Record,
    context: *mut ContextRecord,
    told: *const Dispatcher,
) -> i32 {
    let pointers = Pointers { record, context };
    let bridge = Bridge { kind: Kind::Asking(told), context };
    let pointers = (&raw const pointers).expose_provenance() as u64;
    // SAFETY: the scope table names a function of this type; the pointers are to frames further up.
    (unsafe { bridge.call(filter, [pointers, frame, 0, 0]) }) as i32
}

table! {
    /// The handler, for the C runtimes.
    pub(crate) CRT: __C_specific_handler
}
