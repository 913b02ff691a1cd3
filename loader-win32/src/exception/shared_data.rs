//! The page that Windows shares with every process (`KUSER_SHARED_DATA`, at 0x7ffe0000): times, the version, what the processor
//! can do. Code of some compilers reads it without asking anyone.
//!
//! Nobody would keep its clocks going here, so the page is not there. A read of it faults; then it is there for the one
//! instruction, with the times of that moment, and goes again when the processor has made that step.

use super::{
    ContextRecord,
    trap::{TRAP_FLAG, Trap, number},
};
use crate::{
    guest::Ptr,
    kernel32::{
        system::{IsProcessorFeaturePresent, memory},
        time::{file_time, hundreds, uptime},
    },
    lock,
    memory::{
        book::{LARGE_PAGE, Pages},
        host::Host,
    },
    path::SYSTEM_FOLDER,
    peb::VERSION,
    process::processors,
    teb,
    text::wide_z,
};
use loader_core::{PAGE, Rights};
use std::{
    ops::Range,
    sync::{Mutex, OnceLock},
};

const BASE: u64 = 0x7ffe_0000;
const HERE: Range<u64> = BASE..BASE + PAGE;

/// How many threads are at an instruction that reads the page, which is there while there are any.
static READERS: Mutex<usize> = Mutex::new(0);

/// Lets the thread read the page, if that is what it faulted for: it makes one step, and [`take_back`] comes next.
pub(super) fn lend(trap: &Trap, context: &mut ContextRecord) -> bool {
    const WRITES_OR_EXECUTES: u64 = 0x12;
    let reads =
        trap.number == number::PAGE && trap.error & WRITES_OR_EXECUTES == 0 && HERE.contains(&trap.address);
    if !reads || teb::own(|o| o.lent.get().is_some()) {
        return false;
    }
    let mut readers = lock(&READERS);
    if *readers == 0 && !appear() {
        return false;
    }
    fill();
    *readers += 1;
    teb::own(|o| o.lent.set(Some(context.eflags & TRAP_FLAG != 0)));
    context.eflags |= TRAP_FLAG;
    true
}

/// The step was made, or something else came before: the page goes with its last reader. True if that is all that the trap was
/// about.
pub(super) fn take_back(trap: &Trap, context: &mut ContextRecord) -> bool {
    let Some(wanted_steps) = teb::own(|o| o.lent.take()) else { return false };
    let mut readers = lock(&READERS);
    *readers -= 1;
    if *readers == 0 {
        Host::default().give_back(HERE);
    }
    if !wanted_steps {
        context.eflags &= !TRAP_FLAG;
    }
    trap.number == number::DEBUG && !wanted_steps
}

/// Maps the page, unless somebody has the place.
fn appear() -> bool {
    let pages = Host::default();
    let mapped = pages.claim(Some(BASE), PAGE).is_ok();
    if mapped && pages.protect(HERE, Rights::READ | Rights::WRITE).is_err() {
        pages.give_back(HERE);
        return false;
    }
    mapped
}

/// What the page has, by the layout of the Windows driver kit's `wdm.h`.
fn fill() {
    static CONSTANT: OnceLock<Vec<u8>> = OnceLock::new();
    Ptr::<u8>::from_guest(BASE).fill(CONSTANT.get_or_init(constant));
    let milliseconds = u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX);
    put_time(0x008, hundreds(uptime()));
    put_time(0x014, file_time().cast_unsigned());
    put_time(0x320, milliseconds);
}

/// `KSYSTEM_TIME`: the upper half twice, so that a reader without a lock sees whether it changed meanwhile.
fn put_time(at: u64, time: u64) {
    let (low, high) = (time as u32, (time >> 32) as u32);
    let place = Ptr::<u32>::from_guest(BASE + at);
    place.at(2).set(high);
    place.set(low);
    place.at(1).set(high);
}

/// How long a tick is, in milliseconds times 2 to the 24: as `GetTickCount` counts here.
const TICK_MULTIPLIER: u32 = 1 << 24;

/// What does not change.
fn constant() -> Vec<u8> {
    const AMD64: u16 = 0x8664;
    const ARCHITECTURE_AMD64: u16 = 9;
    const WORKSTATION: u32 = 1;
    const SINGLE_USER_TERMINAL: u32 = 0x100;
    const QPC_FREQUENCY: u64 = 10_000_000;
    let mut page = vec![0; PAGE as usize];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    let windows = wide_z(SYSTEM_FOLDER.trim_end_matches(r"\system32"));
    let windows: Vec<u8> = windows.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let features: Vec<u8> = (0..64).map(|feature| (IsProcessorFeaturePresent(feature) != 0).into()).collect();
    put(0x004, &TICK_MULTIPLIER.to_le_bytes());
    put(0x02c, &AMD64.to_le_bytes());
    put(0x02e, &AMD64.to_le_bytes());
    put(0x030, &windows);
    put(0x244, &(LARGE_PAGE as u32).to_le_bytes());
    put(0x260, &VERSION.2.to_le_bytes());
    put(0x264, &WORKSTATION.to_le_bytes());
    put(0x268, &[1]); // what was just said holds
    put(0x26a, &ARCHITECTURE_AMD64.to_le_bytes());
    put(0x26c, &VERSION.0.to_le_bytes());
    put(0x270, &VERSION.1.to_le_bytes());
    put(0x274, &features);
    put(0x2d0, &SINGLE_USER_TERMINAL.to_le_bytes());
    put(0x2e8, &u32::try_from(memory().0 / PAGE).unwrap_or(u32::MAX).to_le_bytes());
    put(0x300, &QPC_FREQUENCY.to_le_bytes());
    put(0x3c0, &processors().to_le_bytes());
    put(0x3c4, &[1]); // processor groups
    page
}
