//! What threads are called and wish for, and threads that are known by their numbers.

use super::{
    Bool, FALSE, TRUE,
    error::code,
    fail,
    named::inherits,
    processors,
    system::is_this_process,
    thread::{self, Start, with_thread},
    transfer::Security,
    wait::give,
};
use crate::{
    guest::Ptr,
    heap, lock,
    nt::{
        self, status,
        thread::{right, thread_for},
    },
    object::ANY_ACCESS,
    teb,
};
use std::sync::atomic::Ordering::Relaxed;

extern "win64" fn OpenThread(access: u32, inherit: Bool, id: u32) -> usize {
    match nt::thread::open(id) {
        Some(object) => give(object, access, inherit != FALSE),
        None => fail(code::INVALID_PARAMETER) as usize,
    }
}

/// Only in this process: code of others does not run.
extern "win64" fn CreateRemoteThreadEx(
    process: usize,
    security: Ptr<Security>,
    stack: usize,
    start: Option<Start>,
    argument: usize,
    flags: u32,
    attributes: usize,
    id: Ptr<u32>,
) -> usize {
    if attributes != 0 {
        return fail(code::NOT_SUPPORTED) as usize;
    }
    match is_this_process(process).and_then(|()| thread::create(stack, start, argument, flags)) {
        Ok((object, number)) => {
            id.put(number);
            give(object, ANY_ACCESS, inherits(security))
        }
        Err(error) => fail(error) as usize,
    }
}

extern "win64" fn CreateRemoteThread(
    process: usize,
    security: Ptr<Security>,
    stack: usize,
    start: Option<Start>,
    argument: usize,
    flags: u32,
    id: Ptr<u32>,
) -> usize {
    CreateRemoteThreadEx(process, security, stack, start, argument, flags, 0, id)
}

extern "win64" fn GetProcessIdOfThread(handle: usize) -> u32 {
    with_thread(handle, right::QUERY_LIMITED, 0, |_| std::process::id())
}

/// A status as an `HRESULT`.
fn hresult(result: Result<(), u32>) -> u32 {
    const NT: u32 = 0x1000_0000;
    result.err().map_or(0, |status| status | NT)
}

/// The caller frees the text with `LocalFree`.
extern "win64" fn GetThreadDescription(handle: usize, out: Ptr<usize>) -> u32 {
    out.put(0);
    hresult(thread_for(handle, right::QUERY_LIMITED).and_then(|object| {
        let mut text = object.thread().map(|t| lock(&t.facts.description).clone()).unwrap_or_default();
        text.push(0);
        let block = heap::alloc(text.len() * 2, false);
        if block.is_null() {
            return Err(status::NO_MEMORY);
        }
        block.cast::<u16>().fill(&text);
        out.put(block.addr());
        Ok(())
    }))
}

extern "win64" fn SetThreadDescription(handle: usize, text: Ptr<u16>) -> u32 {
    let text = text.text().into_owned();
    hresult(thread_for(handle, right::SET_LIMITED).and_then(|object| {
        if text.len() * 2 > usize::from(u16::MAX) {
            return Err(status::NAME_TOO_LONG);
        }
        if let Some(thread) = object.thread() {
            *lock(&thread.facts.description) = text;
        }
        Ok(())
    }))
}

extern "win64" fn GetThreadPriorityBoost(handle: usize, out: Ptr<Bool>) -> Bool {
    with_thread(handle, right::QUERY_LIMITED, FALSE, |t| {
        out.put(t.facts.unboosted.load(Relaxed).into());
        TRUE
    })
}

/// Kept, and told to who asks: the host raises priorities as it likes.
extern "win64" fn SetThreadPriorityBoost(handle: usize, disable: Bool) -> Bool {
    with_thread(handle, right::SET_LIMITED, FALSE, |t| {
        t.facts.unboosted.store(disable != FALSE, Relaxed);
        TRUE
    })
}

/// The most processors that a group has, which stands for none in particular.
const NO_PROCESSOR: u32 = 64;

/// Kept, and told to who asks: the host chooses.
extern "win64" fn SetThreadIdealProcessor(handle: usize, processor: u32) -> u32 {
    let there =
        processor == NO_PROCESSOR || processor < NO_PROCESSOR && processors::all() >> processor & 1 != 0;
    if !there {
        fail(code::INVALID_PARAMETER);
        return u32::MAX;
    }
    with_thread(handle, right::SET_LIMITED, u32::MAX, |t| match processor {
        NO_PROCESSOR => t.facts.ideal.load(Relaxed),
        _ => t.facts.ideal.swap(processor, Relaxed),
    })
}

/// `PROCESSOR_NUMBER`: group, number in the group, nothing.
type Number = [u8; 4];

extern "win64" fn GetThreadIdealProcessorEx(handle: usize, out: Ptr<Number>) -> Bool {
    with_thread(handle, right::QUERY_LIMITED, FALSE, |t| {
        out.put([0, 0, t.facts.ideal.load(Relaxed) as u8, 0]); // below 64
        TRUE
    })
}

extern "win64" fn SetThreadIdealProcessorEx(handle: usize, wanted: Ptr<Number>, before: Ptr<Number>) -> Bool {
    if wanted.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let [low, high, number, nothing] = wanted.get();
    let there = u32::from(number) < NO_PROCESSOR && processors::all() >> number & 1 != 0;
    if [low, high, nothing] != [0; 3] || !there {
        return fail(code::INVALID_PARAMETER);
    }
    with_thread(handle, right::SET_LIMITED, FALSE, |t| {
        before.put([0, 0, t.facts.ideal.swap(number.into(), Relaxed) as u8, 0]);
        TRUE
    })
}

/// What is begun is done when the call returns.
extern "win64" fn GetThreadIOPendingFlag(handle: usize, out: Ptr<Bool>) -> Bool {
    with_thread(handle, right::QUERY, FALSE, |_| {
        out.put(FALSE);
        TRUE
    })
}

/// ntdll's numbers for the kinds of message boxes that are not to be shown, which the thread keeps.
fn to_nt(mode: u32) -> u32 {
    let bit = |ours: u32, nt: u32| if mode & ours != 0 { nt } else { 0 };
    bit(1, 0x10) | bit(2, 0x20) | bit(0x8000, 0x40)
}

fn from_nt(mode: u32) -> u32 {
    let bit = |nt: u32, ours: u32| if mode & nt != 0 { ours } else { 0 };
    bit(0x10, 1) | bit(0x20, 2) | bit(0x40, 0x8000)
}

extern "win64" fn GetThreadErrorMode() -> u32 {
    from_nt(teb::with(|t| t.error_mode.get()))
}

extern "win64" fn SetThreadErrorMode(mode: u32, before: Ptr<u32>) -> Bool {
    if from_nt(to_nt(mode)) != mode {
        return fail(code::INVALID_PARAMETER);
    }
    before.put(from_nt(teb::with(|t| t.error_mode.replace(to_nt(mode)))));
    TRUE
}

table! {
    /// Threads, as they are known.
    pub(crate) TABLE:
        OpenThread, CreateRemoteThread, CreateRemoteThreadEx, GetProcessIdOfThread, GetThreadDescription,
        SetThreadDescription, GetThreadPriorityBoost, SetThreadPriorityBoost, SetThreadIdealProcessor,
        SetThreadIdealProcessorEx, GetThreadIdealProcessorEx, GetThreadIOPendingFlag, GetThreadErrorMode,
        SetThreadErrorMode
}
