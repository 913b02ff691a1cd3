//! `__C_specific_handler`: the scopes of `__try` in a function, innermost first.

use super::{
    Bridge, ContextRecord, Dispatcher, EXIT_UNWIND, Kind, Pointers, Record, TARGET_UNWIND, UNWINDING,
    functions::half, local, walk,
};
use crate::guest::Ptr;

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
pub(crate) extern "win64" fn __C_specific_handler(
    record: Ptr<Record>,
    frame: u64,
    context: Ptr<ContextRecord>,
    told: Ptr<Dispatcher>,
) -> i32 {
    let flags = record.get().flags;
    let Dispatcher { pc, base, target, data, scope: first, .. } = told.get();
    let at = |rva: u32| base.wrapping_add(rva.into());
    let targeted = |scope: &Scope| match scope.block {
        // What goes on within the scope does not leave it.
        0 => scope.covers(target.wrapping_sub(base)),
        // The scope that handles the exception: those around it are not left.
        block => at(block) == target,
    };
    for n in first..half(data) {
        let scope = Scope::read(data + 4 + 16 * u64::from(n));
        if !scope.covers(pc.wrapping_sub(base)) {
            continue;
        }
        if flags & (UNWINDING | EXIT_UNWIND) == 0 {
            match scope.filter(at, frame, Pointers { record, context }, told) {
                Answer::GoOn => return CONTINUE_EXECUTION,
                Answer::Pass => {}
                Answer::Handle => {
                    let value = record.get().code.into();
                    let target = walk::Target { frame, ip: at(scope.block), value };
                    let mut start = context.get(); // unwinding begins where the exception was raised
                    walk::unwind(target, record, local(&mut start));
                }
            }
        } else if flags & TARGET_UNWIND != 0 && targeted(&scope) {
            return CONTINUE_SEARCH;
        } else if scope.block == 0 {
            told.set(Dispatcher { scope: n + 1, ..told.get() }); // whoever comes here again goes on with the next
            let bridge = Bridge { kind: Kind::Unwinding(told), context: context.get() };
            bridge.call(at(scope.handler), [1, frame, 0, 0]); // void f(BOOLEAN abnormal, void *frame)
        }
    }
    CONTINUE_SEARCH
}

/// What a scope says of an exception.
enum Answer {
    /// Execution goes on where it was raised.
    GoOn,
    /// Somebody else may want it.
    Pass,
    /// The scope's block is to run.
    Handle,
}

impl Scope {
    /// Asks the filter, `LONG f(EXCEPTION_POINTERS *, void *frame)`; a `__finally` has none.
    fn filter(
        &self,
        at: impl Fn(u32) -> u64,
        frame: u64,
        mut pointers: Pointers,
        told: Ptr<Dispatcher>,
    ) -> Answer {
        if self.block == 0 {
            return Answer::Pass;
        }
        let bridge = Bridge { kind: Kind::Asking(told), context: pointers.context.get() };
        let answer = match self.handler {
            ALWAYS => 1,
            filter => bridge.call(at(filter), [local(&mut pointers).addr() as u64, frame, 0, 0]) as i32,
        };
        match answer {
            ..0 => Answer::GoOn,
            0 => Answer::Pass,
            1.. => Answer::Handle,
        }
    }
}

table! {
    /// The handler, for the C runtimes.
    pub(crate) CRT: __C_specific_handler
}
