//! Virtual memory by NT's calls: places and lengths come back as they were rounded, and how high a place may be can be said.

use super::{
    objects::done,
    status::{self, ACCESS_VIOLATION, INFO_LENGTH_MISMATCH, INVALID_PARAMETER, SUCCESS, last},
};
use crate::{
    guest::Ptr,
    kernel32::{
        Bool, FALSE, TRUE,
        error::code,
        fail,
        memory::{
            GetWriteWatch, ReadProcessMemory, ResetWriteWatch, VirtualAllocEx, VirtualFreeEx, VirtualLock,
            VirtualProtectEx, VirtualQueryEx, VirtualUnlock, WriteProcessMemory, extent,
        },
        section::FlushViewOfFile,
        system::process_of,
    },
    memory::{GRANULARITY, Info, TOP, book::TOP_DOWN, protect::Protect},
    teb,
};
use loader_core::PAGE;

const RESERVE: u32 = 0x2000;
const DECOMMIT: u32 = 0x4000;
const RELEASE: u32 = 0x8000;

const NOT_COMMITTED: u32 = 0xc000_002d;
const INVALID_PAGE_PROTECTION: u32 = 0xc000_0045;
const FREE_VM_NOT_AT_BASE: u32 = 0xc000_009f;
const PARTIAL_COPY: u32 = 0x8000_000d;

/// More places than this are not tried.
const TRIES: usize = 0x1_0000;

/// Where an allocation may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    low: u64,
    /// The first address behind.
    high: u64,
    /// The place is a multiple of this.
    align: u64,
}

impl Bounds {
    /// What is left when so many upper bits of the lower half are to be zero, or, from 32 on, those that are zero in front of
    /// the number.
    ///
    /// # Errors
    /// 22 to 31 bits leave nothing.
    pub(super) fn of_zero_bits(zero_bits: u64) -> Result<Option<Self>, u32> {
        let high = match zero_bits {
            0 => return Ok(None),
            1..=21 => 1 << (32 - zero_bits),
            22..=31 => return Err(INVALID_PARAMETER),
            mask => 1u64.checked_shl(64 - mask.leading_zeros()).unwrap_or(TOP),
        };
        Ok((high < TOP).then_some(Self { low: 0, high, align: GRANULARITY }))
    }

    /// The last address that may be used, and one more.
    pub(super) fn high(&self) -> u64 {
        self.high
    }

    /// The places for so many bytes, from below.
    fn places(self, len: u64) -> impl DoubleEndedIterator<Item = u64> {
        let last = self.high.checked_sub(len).map_or(0, |at| at / self.align + 1);
        let first = self.low.max(GRANULARITY).div_ceil(self.align);
        (first..last).map(move |nth| nth * self.align)
    }

    /// The lowest place where an attempt succeeds, or the highest: it fails with 487 where somebody has the place.
    pub(super) fn find(
        self,
        len: u64,
        top_down: bool,
        attempt: impl Fn(u64) -> Result<u64, u32>,
    ) -> Result<u64, u32> {
        let mut places = self.places(len);
        let mut next = || if top_down { places.next_back() } else { places.next() };
        for _ in 0..TRIES {
            let Some(at) = next() else { break };
            match attempt(at) {
                Err(code::INVALID_ADDRESS) => {}
                done => return done,
            }
        }
        Err(code::NOT_ENOUGH_MEMORY)
    }
}

/// `VirtualAllocEx`, with the error.
fn allocate(process: usize, at: u64, len: u64, kind: u32, protect: u32) -> Result<u64, u32> {
    match VirtualAllocEx(process, at, len, kind, protect) {
        0 => Err(teb::with(|t| t.last_error.get())),
        place => Ok(place),
    }
}

/// A place at a multiple of a number, wherever there is one: such a one is looked for in a longer stretch, and taken.
fn aligned(process: usize, len: u64, kind: u32, protect: u32, align: u64) -> Result<u64, u32> {
    let longer = len.checked_add(align).ok_or(code::INVALID_PARAMETER)?;
    for _ in 0..8 {
        let stretch = allocate(process, 0, longer, RESERVE, protect)?;
        VirtualFreeEx(process, stretch, 0, RELEASE);
        match allocate(process, stretch.next_multiple_of(align), len, kind, protect) {
            Err(code::INVALID_ADDRESS) => {} // somebody was quicker
            done => return done,
        }
    }
    Err(code::NOT_ENOUGH_MEMORY)
}

/// The pages that were allocated, within bounds where the caller has no place of its own.
fn within(
    process: usize,
    bounds: Option<Bounds>,
    at: u64,
    len: u64,
    kind: u32,
    protect: u32,
) -> Result<u64, u32> {
    match bounds {
        Some(Bounds { low: 0, high: TOP, align }) if at == 0 => aligned(process, len, kind, protect, align),
        Some(bounds) if at == 0 => {
            let attempt = |at| allocate(process, at, len, kind | RESERVE, protect);
            bounds.find(len, kind & TOP_DOWN != 0, attempt)
        }
        _ => allocate(process, at, len, kind, protect),
    }
}

fn allocated(
    process: usize,
    bounds: Option<Bounds>,
    at: Ptr<u64>,
    len: Ptr<u64>,
    kind: u32,
    protect: u32,
) -> Result<(), u32> {
    let (wanted, n) = (at.get(), len.get());
    Protect::new(protect).map_err(|_| INVALID_PAGE_PROTECTION)?;
    let place = within(process, bounds, wanted, n, kind, protect).map_err(status::of)?;
    let start = if wanted == 0 { place } else { wanted };
    let end = start.saturating_add(n).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    at.set(place);
    len.set(end.saturating_sub(place));
    Ok(())
}

extern "win64" fn NtAllocateVirtualMemory(
    process: usize,
    at: Ptr<u64>,
    zero_bits: u64,
    len: Ptr<u64>,
    kind: u32,
    protect: u32,
) -> u32 {
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    let bounds = Bounds::of_zero_bits(zero_bits);
    done(bounds.and_then(|bounds| allocated(process, bounds, at, len, kind, protect)))
}

/// `MEM_EXTENDED_PARAMETER`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameter {
    /// In its lowest byte.
    kind: u64,
    value: u64,
}

/// `MEM_ADDRESS_REQUIREMENTS`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Requirements {
    lowest: u64,
    highest: u64,
    align: u64,
}

impl Requirements {
    fn bounds(self) -> Result<Option<Bounds>, u32> {
        let Self { lowest, highest, align } = self;
        let whole = |at: u64| at.is_multiple_of(PAGE);
        let fine = lowest.is_multiple_of(GRANULARITY)
            && (highest == 0 || highest < TOP && whole(highest + 1) && lowest < highest)
            && (align == 0 || align.is_power_of_two() && align >= GRANULARITY);
        if !fine || lowest >= TOP {
            return Err(INVALID_PARAMETER);
        }
        let bounds = Bounds {
            low: lowest,
            high: if highest == 0 { TOP } else { highest + 1 },
            align: align.max(GRANULARITY),
        };
        Ok((self.lowest | self.highest | self.align != 0).then_some(bounds))
    }
}

/// What the parameters ask for: where the memory has to be. On which node it is makes no difference here.
fn bounds(parameters: Ptr<Parameter>, count: u32) -> Result<Option<Bounds>, u32> {
    const ADDRESS_REQUIREMENTS: u8 = 1;
    const NUMA_NODE: u8 = 2;
    let mut seen = 0u32;
    let mut found = None;
    for parameter in parameters.slice(count as usize).iter() {
        let kind = parameter.kind as u8;
        let known = [ADDRESS_REQUIREMENTS, NUMA_NODE].contains(&kind);
        if !known || seen & 1 << kind != 0 {
            return Err(INVALID_PARAMETER);
        }
        seen |= 1 << kind;
        if kind == ADDRESS_REQUIREMENTS {
            let requirements = Ptr::<Requirements>::from_guest(parameter.value);
            if requirements.is_null() {
                return Err(INVALID_PARAMETER);
            }
            found = requirements.get().bounds()?;
        }
    }
    Ok(found)
}

extern "win64" fn NtAllocateVirtualMemoryEx(
    process: usize,
    at: Ptr<u64>,
    len: Ptr<u64>,
    kind: u32,
    protect: u32,
    parameters: Ptr<Parameter>,
    count: u32,
) -> u32 {
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    if count != 0 && parameters.is_null() {
        return INVALID_PARAMETER;
    }
    done(bounds(parameters, count).and_then(|bounds| match bounds {
        Some(_) if at.get() != 0 => Err(INVALID_PARAMETER), // one or the other
        bounds => allocated(process, bounds, at, len, kind, protect),
    }))
}

/// `VirtualAlloc2`: without a process, in this one.
extern "win64" fn VirtualAlloc2(
    process: usize,
    at: u64,
    len: u64,
    kind: u32,
    protect: u32,
    parameters: Ptr<Parameter>,
    count: u32,
) -> u64 {
    let process = if process == 0 { usize::MAX } else { process };
    if count != 0 && parameters.is_null() {
        return fail(code::INVALID_PARAMETER) as u64;
    }
    let bounds = bounds(parameters, count).map_err(status::dos_error);
    let done = bounds.and_then(|bounds| match bounds {
        Some(_) if at != 0 => Err(code::INVALID_PARAMETER),
        bounds => within(process, bounds, at, len, kind, protect),
    });
    done.unwrap_or_else(|error| fail(error) as u64)
}

/// Without a length, all of what was reserved together.
extern "win64" fn NtFreeVirtualMemory(process: usize, at: Ptr<u64>, len: Ptr<u64>, kind: u32) -> u32 {
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    let (place, n) = (at.get() & !(PAGE - 1), len.get());
    let whole = extent(process, place).unwrap_or_default();
    if n == 0 && whole == 0 && [DECOMMIT, RELEASE].contains(&kind) && is_inside(process, place) {
        return FREE_VM_NOT_AT_BASE;
    }
    let end = at.get().saturating_add(n).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    let all = n == 0 || kind & RELEASE != 0 && end - place == whole;
    if VirtualFreeEx(process, place, if all { 0 } else { n }, kind) == FALSE {
        return last();
    }
    at.set(place);
    match kind {
        RELEASE => len.set(whole),
        _ if n != 0 => len.set(end - place),
        _ => {}
    }
    SUCCESS
}

fn info(process: usize, at: u64) -> Result<Info, u32> {
    const PROCESS_QUERY_INFORMATION: u32 = 0x400;
    match process_of(process, PROCESS_QUERY_INFORMATION)? {
        None => Ok(teb::process().memory.query(at)),
        Some(child) => child.alive()?.query(at),
    }
}

/// Whether a page is in an allocation that begins before it.
fn is_inside(process: usize, page: u64) -> bool {
    info(process, page).is_ok_and(|info| info.allocation_base != 0 && info.allocation_base < page)
}

extern "win64" fn NtProtectVirtualMemory(
    process: usize,
    at: Ptr<u64>,
    len: Ptr<u64>,
    protect: u32,
    old: Ptr<u32>,
) -> u32 {
    if at.is_null() || len.is_null() || old.is_null() {
        return ACCESS_VIOLATION;
    }
    if Protect::new(protect).is_err() {
        return INVALID_PAGE_PROTECTION;
    }
    let (start, n) = (at.get(), len.get());
    if VirtualProtectEx(process, start, n, protect, old) == FALSE {
        return match teb::with(|t| t.last_error.get()) {
            code::INVALID_ADDRESS => NOT_COMMITTED,
            code::INVALID_PARAMETER if n != 0 => INVALID_PAGE_PROTECTION,
            error => status::of(error),
        };
    }
    at.set(start & !(PAGE - 1));
    len.set((start + n).next_multiple_of(PAGE) - (start & !(PAGE - 1)));
    SUCCESS
}

/// `MEMORY_REGION_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    base: u64,
    protect: u32,
    kind: u32,
    len: u64,
    committed: u64,
}

/// What a page is like, or the allocation that it is in.
extern "win64" fn NtQueryVirtualMemory(
    process: usize,
    at: u64,
    class: u32,
    to: Ptr<u8>,
    room: usize,
    needed: Ptr<usize>,
) -> u32 {
    const BASIC: u32 = 0;
    const REGION: u32 = 3;
    if at >= TOP {
        return INVALID_PARAMETER;
    }
    match class {
        BASIC if room < size_of::<Info>() => INFO_LENGTH_MISMATCH,
        BASIC => match VirtualQueryEx(process, at, to.cast(), room) {
            0 => last(),
            given => {
                needed.put(given);
                SUCCESS
            }
        },
        REGION => done(region(process, at, to, room).map(|given| needed.put(given))),
        _ => status::INVALID_INFO_CLASS,
    }
}

/// Its first 24 bytes have to fit; the rest is given as far as there is room.
fn region(process: usize, at: u64, to: Ptr<u8>, room: usize) -> Result<usize, u32> {
    const LEAST: usize = 24;
    if room < LEAST {
        return Err(INFO_LENGTH_MISMATCH);
    }
    if to.is_null() {
        return Err(ACCESS_VIOLATION);
    }
    let first = info(process, at).map_err(status::of)?;
    if first.allocation_base == 0 {
        return Err(INVALID_PARAMETER);
    }
    let len = extent(process, first.allocation_base).unwrap_or(first.size);
    to.cast().set(first.allocation_base);
    to.at(8).cast().set(first.allocation_protect);
    to.at(12).cast().set(0u32);
    to.at(16).cast().set(len);
    if room < size_of::<Region>() {
        return Ok(LEAST);
    }
    to.at(24).cast().set(committed(process, first.allocation_base, len));
    Ok(size_of::<Region>())
}

/// How much of an allocation is committed.
fn committed(process: usize, base: u64, len: u64) -> u64 {
    const COMMIT: u32 = 0x1000;
    let (mut at, mut sum) = (base, 0);
    while let Some(part) = info(process, at).ok().filter(|part| at < base + len && part.size != 0) {
        sum += if part.state == COMMIT { part.size } else { 0 };
        at = part.base + part.size;
    }
    sum
}

/// What a copy between processes answers: that it was not the whole is known apart.
fn copied(done: Bool) -> u32 {
    match done {
        TRUE => SUCCESS,
        _ if teb::with(|t| t.last_error.get()) == code::PARTIAL_COPY => PARTIAL_COPY,
        _ => last(),
    }
}

extern "win64" fn NtReadVirtualMemory(
    process: usize,
    from: u64,
    to: Ptr<u8>,
    len: usize,
    done: Ptr<usize>,
) -> u32 {
    copied(ReadProcessMemory(process, from, to, len, done))
}

extern "win64" fn NtWriteVirtualMemory(
    process: usize,
    to: u64,
    from: Ptr<u8>,
    len: usize,
    done: Ptr<usize>,
) -> u32 {
    copied(WriteProcessMemory(process, to, from, len, done))
}

/// A function of one range of this process, by NT's name: the range comes back as whole pages.
fn on_range(process: usize, at: Ptr<u64>, len: Ptr<u64>, f: impl FnOnce(u64, u64) -> Bool) -> u32 {
    if at.is_null() || len.is_null() {
        return ACCESS_VIOLATION;
    }
    match process_of(process, 0) {
        Err(error) => return status::of(error),
        Ok(Some(_)) => return status::NOT_SUPPORTED,
        Ok(None) => {}
    }
    let (start, n) = (at.get(), len.get());
    if f(start, n) == FALSE {
        return last();
    }
    let first = start & !(PAGE - 1);
    at.set(first);
    len.set(start.saturating_add(n).checked_next_multiple_of(PAGE).map_or(n, |end| end - first));
    SUCCESS
}

extern "win64" fn NtLockVirtualMemory(process: usize, at: Ptr<u64>, len: Ptr<u64>, _kind: u32) -> u32 {
    on_range(process, at, len, |at, len| VirtualLock(at, len))
}

extern "win64" fn NtUnlockVirtualMemory(process: usize, at: Ptr<u64>, len: Ptr<u64>, _kind: u32) -> u32 {
    on_range(process, at, len, |at, len| VirtualUnlock(at, len))
}

extern "win64" fn NtFlushVirtualMemory(process: usize, at: Ptr<u64>, len: Ptr<u64>, _outcome: usize) -> u32 {
    on_range(process, at, len, |at, len| FlushViewOfFile(at, len))
}

/// The status of a function of write watches.
fn watched(process: usize, f: impl FnOnce() -> u32) -> u32 {
    match process_of(process, 0) {
        Err(error) => status::of(error),
        Ok(Some(_)) => status::NOT_SUPPORTED,
        Ok(None) if f() == 0 => SUCCESS,
        Ok(None) => last(),
    }
}

extern "win64" fn NtGetWriteWatch(
    process: usize,
    flags: u32,
    at: u64,
    len: u64,
    to: Ptr<u64>,
    count: Ptr<usize>,
    granularity: Ptr<u32>,
) -> u32 {
    watched(process, || GetWriteWatch(flags, at, len, to, count, granularity))
}

extern "win64" fn NtResetWriteWatch(process: usize, at: u64, len: u64) -> u32 {
    watched(process, || ResetWriteWatch(at, len))
}

table! {
    /// Virtual memory.
    pub(crate) TABLE:
        NtAllocateVirtualMemory, ZwAllocateVirtualMemory = NtAllocateVirtualMemory, NtAllocateVirtualMemoryEx,
        NtFreeVirtualMemory, ZwFreeVirtualMemory = NtFreeVirtualMemory, NtProtectVirtualMemory,
        ZwProtectVirtualMemory = NtProtectVirtualMemory, NtQueryVirtualMemory,
        ZwQueryVirtualMemory = NtQueryVirtualMemory, NtReadVirtualMemory, ZwReadVirtualMemory = NtReadVirtualMemory,
        NtWriteVirtualMemory, ZwWriteVirtualMemory = NtWriteVirtualMemory, NtLockVirtualMemory, NtUnlockVirtualMemory,
        NtFlushVirtualMemory, NtGetWriteWatch, NtResetWriteWatch
}

table! {
    /// What KERNEL32 has of it.
    pub(crate) NEWER: VirtualAlloc2
}
