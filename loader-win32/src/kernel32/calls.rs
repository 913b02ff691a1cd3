//! Asynchronous procedure calls: functions that a thread calls when it next waits and may be disturbed. Unsafe because they
//! are the guest's.
#![allow(unsafe_code)]

use super::{Bool, TRUE, error::code, fail, wait::object};
use crate::{object::Call, teb};

/// Makes the calls that are left for the calling thread. Nothing is held meanwhile: a call may never come back.
pub(crate) fn make() {
    while let Some(call) = next() {
        // SAFETY: whoever left the call said that it is a function of these arguments, or of fewer.
        let function = unsafe {
            std::mem::transmute::<usize, unsafe extern "win64" fn(usize, usize, usize)>(call.function)
        };
        let [a, b, c] = call.arguments;
        // SAFETY: as above.
        unsafe { function(a, b, c) };
    }
}

fn next() -> Option<Call> {
    teb::process().objects.next_call()
}

/// What a thread does before anything else: calls that were left for it before it began.
pub(crate) extern "win64" fn first(_: usize) -> u32 {
    make();
    0
}

extern "win64" fn QueueUserAPC(function: usize, thread: usize, argument: usize) -> Bool {
    match object(thread) {
        Ok(object) if object.thread().is_some() => {
            let left = object.call(Call { function, arguments: [argument, 0, 0] });
            if left { TRUE } else { fail(code::GEN_FAILURE) } // it has ended
        }
        _ => fail(code::INVALID_HANDLE),
    }
}

table! {
    /// Calls.
    pub(crate) TABLE: QueueUserAPC
}
