//! Environments as ntdll has them: blocks of `NAME=value` texts with a zero each and one more at the end. None is the
//! process's own.

use super::counted::Text;
use crate::{
    guest::Ptr,
    heap,
    kernel32::{environment, strings::to_case},
    nt::status::{BUFFER_TOO_SMALL, INVALID_PARAMETER, NO_MEMORY, SUCCESS, VARIABLE_NOT_FOUND},
    teb,
};
use std::sync::atomic::Ordering::SeqCst;

const EQUALS: u16 = b'=' as u16;

/// The texts of a block.
fn lines(block: Ptr<u16>) -> Vec<Vec<u16>> {
    if block.is_null() {
        let own = teb::process().environment.block();
        return own.split(|&unit| unit == 0).filter(|line| !line.is_empty()).map(<[u16]>::to_vec).collect();
    }
    let mut at = block;
    std::iter::from_fn(|| {
        let line = at.text().into_owned();
        at = at.at(line.len() + 1);
        Some(line).filter(|line| !line.is_empty())
    })
    .collect()
}

/// Name and value; a name may begin with the sign.
fn parts(line: &[u16]) -> Option<(&[u16], &[u16])> {
    let at = 1 + line.get(1..)?.iter().position(|&unit| unit == EQUALS)?;
    Some((&line[..at], &line[at + 1..]))
}

fn capitals(name: &[u16]) -> Vec<u16> {
    name.iter().map(|&unit| to_case(unit, true)).collect()
}

fn find(block: Ptr<u16>, name: &[u16]) -> Option<Vec<u16>> {
    let wanted = capitals(name);
    let all = lines(block);
    all.iter().filter_map(|line| parts(line)).find(|(n, _)| capitals(n) == wanted).map(|(_, v)| v.to_vec())
}

/// A block with these texts.
fn block_of(lines: &[Vec<u16>]) -> Result<Ptr<u16>, u32> {
    let units: Vec<u16> = lines.iter().flat_map(|line| line.iter().copied().chain([0])).chain([0]).collect();
    let block = heap::alloc(units.len() * 2, false).cast::<u16>();
    if block.is_null() {
        return Err(NO_MEMORY);
    }
    block.fill(&units);
    Ok(block)
}

extern "win64" fn RtlCreateEnvironment(inherit: u8, out: Ptr<Ptr<u16>>) -> u32 {
    let own = if inherit == 0 { Vec::new() } else { lines(Ptr::NULL) };
    match block_of(&own) {
        Ok(block) => {
            out.put(block);
            SUCCESS
        }
        Err(status) => status,
    }
}

extern "win64" fn RtlDestroyEnvironment(block: Ptr<u16>) -> u32 {
    heap::free(block.cast());
    SUCCESS
}

/// Lengths are in units.
extern "win64" fn RtlQueryEnvironmentVariable(
    block: Ptr<u16>,
    name: Ptr<u16>,
    name_len: usize,
    to: Ptr<u16>,
    room: usize,
    done: Ptr<usize>,
) -> u32 {
    let Some(value) = find(block, &name.slice(name_len)) else {
        return VARIABLE_NOT_FOUND;
    };
    if value.len() > room || to.is_null() {
        done.put(value.len() + 1);
        return BUFFER_TOO_SMALL;
    }
    to.fill(&value);
    if value.len() < room {
        to.at(value.len()).set(0);
    }
    done.put(value.len());
    SUCCESS
}

extern "win64" fn RtlQueryEnvironmentVariable_U(block: Ptr<u16>, name: Ptr<Text>, out: Ptr<Text>) -> u32 {
    let Some(value) = find(block, &name.get().units()) else {
        return VARIABLE_NOT_FOUND;
    };
    let mut text = out.get();
    let Ok(length) = u16::try_from(value.len() * 2) else { return BUFFER_TOO_SMALL };
    text.length = length;
    out.set(text);
    if length > text.room {
        return BUFFER_TOO_SMALL;
    }
    text.at.fill(&value);
    if length + 2 <= text.room {
        text.at.at(value.len()).set(0);
    }
    SUCCESS
}

/// Sets a variable, or takes it away where there is no value. A block that is not the process's own may move.
extern "win64" fn RtlSetEnvironmentVariable(block: Ptr<Ptr<u16>>, name: Ptr<Text>, value: Ptr<Text>) -> u32 {
    let name = name.get().units();
    if name.is_empty() || name[1..].contains(&EQUALS) {
        return INVALID_PARAMETER;
    }
    let value = (!value.is_null()).then(|| value.get().units());
    if block.is_null() || block.get().is_null() {
        let of = |units: &[u16]| String::from_utf16_lossy(units);
        teb::process().environment.set(&of(&name), value.as_deref().map(of));
        return SUCCESS;
    }
    let old = block.get();
    let wanted = capitals(&name);
    let mut all = lines(old);
    let before = all.iter().position(|line| parts(line).is_some_and(|(n, _)| capitals(n) == wanted));
    // Names are sorted.
    let place = before.unwrap_or_else(|| {
        let behind = |line: &Vec<u16>| parts(line).is_some_and(|(n, _)| capitals(n) > wanted);
        all.iter().position(behind).unwrap_or(all.len())
    });
    let line = value.map(|value| [&name[..], &[EQUALS], &value].concat());
    if before.is_none() && line.is_none() {
        return SUCCESS;
    }
    all.splice(place..place + usize::from(before.is_some()), line);
    match block_of(&all) {
        Ok(new) => {
            block.set(new);
            heap::free(old.cast());
            SUCCESS
        }
        Err(status) => status,
    }
}

/// The process takes over a block and its variables. The one before comes back, or goes.
extern "win64" fn RtlSetCurrentEnvironment(new: Ptr<u16>, old: Ptr<Ptr<u16>>) -> u32 {
    let process = teb::process();
    let fresh = match old.is_null() || process.environment.made_of.load(SeqCst) != 0 {
        true => Ptr::NULL,
        false => match block_of(&lines(Ptr::NULL)) {
            Ok(block) => block,
            Err(status) => return status,
        },
    };
    let of = |units: &[u16]| String::from_utf16_lossy(units);
    let pairs = if new.is_null() { Vec::new() } else { lines(new) };
    let pairs = pairs.iter().filter_map(|line| parts(line)).map(|(name, value)| (of(name), of(value)));
    process.environment.replace(pairs);
    let before = match process.environment.made_of.swap(new.addr(), SeqCst) {
        0 => fresh,
        block => Ptr::from_guest(block as u64),
    };
    match old.is_null() {
        true => heap::free(before.cast()),
        false => old.set(before),
    }
    SUCCESS
}

fn expand(block: Ptr<u16>, from: &[u16]) -> Vec<u16> {
    let value =
        |name: &str| find(block, &crate::text::wide(name)).map(|value| String::from_utf16_lossy(&value));
    crate::text::wide(&environment::expand_with(&String::from_utf16_lossy(from), value))
}

/// What it comes to with its zero, in bytes, comes back in any case.
extern "win64" fn RtlExpandEnvironmentStrings_U(
    block: Ptr<u16>,
    from: Ptr<Text>,
    out: Ptr<Text>,
    done: Ptr<u32>,
) -> u32 {
    let units = expand(block, &from.get().units());
    let needed = (units.len() + 1) * 2;
    done.put(crate::text::length(needed));
    let mut text = out.get();
    if needed > text.room.into() {
        return BUFFER_TOO_SMALL;
    }
    text.at.fill(&units);
    text.at.at(units.len()).set(0);
    text.length = (needed - 2) as u16; // below the room
    out.set(text);
    SUCCESS
}

/// Lengths are in units.
extern "win64" fn RtlExpandEnvironmentStrings(
    block: Ptr<u16>,
    from: Ptr<u16>,
    len: usize,
    to: Ptr<u16>,
    room: usize,
    done: Ptr<usize>,
) -> u32 {
    let units = expand(block, &from.slice(len));
    done.put(units.len() + 1);
    if units.len() >= room {
        return BUFFER_TOO_SMALL;
    }
    to.fill(&units);
    to.at(units.len()).put(0);
    SUCCESS
}

table! {
    /// Environments.
    pub(crate) TABLE:
        RtlCreateEnvironment, RtlDestroyEnvironment, RtlQueryEnvironmentVariable, RtlQueryEnvironmentVariable_U,
        RtlSetEnvironmentVariable, RtlSetCurrentEnvironment, RtlExpandEnvironmentStrings_U, RtlExpandEnvironmentStrings
}
