//! Unwind data by address: of images, which their headers lead to, and of code that was made at run time.

use super::ContextRecord;
use crate::{
    guest::Ptr,
    lock,
    nt::status::{INVALID_PARAMETER, SUCCESS},
};
use loader_core::{Addr, Format, index::Reading};
use loader_pe::unwind::{Frame, Function, Functions, Memory};
use std::{
    mem::transmute,
    ptr::with_exposed_provenance,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// The memory of this process. What is read is what unwind data, a stack in use and code lead to: a bad address is a
/// fault here, as it is on Windows.
pub(crate) struct Live;

impl Memory for Live {
    fn read(&self, at: Addr, to: &mut [u8]) -> Option<()> {
        let from = with_exposed_provenance::<u8>(at.0 as usize);
        // SAFETY: the guest's own tables and stack say that they are there; `to` is other memory.
        unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        Some(())
    }
}

/// A word of this process's memory.
pub(crate) fn word(at: u64) -> u64 {
    let mut bytes = [0; 8];
    Live.read(Addr(at), &mut bytes).map_or(0, |()| u64::from_le_bytes(bytes))
}

/// Half a word of this process's memory.
pub(crate) fn half(at: u64) -> u32 {
    let mut bytes = [0; 4];
    Live.read(Addr(at), &mut bytes).map_or(0, |()| u32::from_le_bytes(bytes))
}

/// `PRUNTIME_FUNCTION GetRuntimeFunction(DWORD64 address, PVOID context)`.
type Callback = unsafe extern "win64" fn(u64, usize) -> usize;

/// Unwind data that guest code registered for code that it made.
#[derive(Clone, Copy, Debug)]
enum Dynamic {
    /// A table, perhaps in no order.
    Table { functions: Functions, sorted: bool },
    /// A table in order that may have more functions later, all of them below an end.
    Growable { id: u64, functions: Functions, most: u32, end: u64 },
    /// A function that is asked.
    Callback { id: u64, base: u64, len: u64, callback: Callback, context: usize },
}

impl Dynamic {
    fn id(&self) -> u64 {
        match self {
            Self::Table { functions, .. } => functions.table.0,
            Self::Growable { id, .. } | Self::Callback { id, .. } => *id,
        }
    }

    fn find(&self, at: u64) -> Option<Found> {
        match *self {
            Self::Table { functions, sorted: true } => found(functions, at),
            Self::Table { functions, .. } => (0..functions.count).find_map(|n| {
                found(
                    Functions { table: Addr(functions.table.0 + 12 * u64::from(n)), count: 1, ..functions },
                    at,
                )
            }),
            Self::Growable { functions, end, .. } if !(functions.base.0..end).contains(&at) => None,
            Self::Growable { functions, .. } => found(functions, at),
            Self::Callback { base, len, .. } if !(base..base.saturating_add(len)).contains(&at) => None,
            Self::Callback { base, callback, context, .. } => {
                // SAFETY: the guest registered a function of this type; nothing is held or owned here.
                let entry = Addr(unsafe { callback(at, context) } as u64);
                let functions = Functions { base: Addr(base), table: entry, count: 1 };
                (entry.0 != 0).then(|| found(functions, at)).flatten()
            }
        }
    }
}

static DYNAMIC: Mutex<Vec<Dynamic>> = Mutex::new(Vec::new());

/// What is known about an address in code of the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) functions: Functions,
    /// Its function and where that is listed; a leaf function is not.
    pub(crate) entry: Option<(Addr, Function)>,
}

impl Found {
    /// The address of its entry; 0 where it has none.
    pub(crate) fn place(&self) -> u64 {
        self.entry.map_or(0, |(at, _)| at.0)
    }

    /// Steps out of the frame; `None` where its unwind data is broken.
    pub(crate) fn unwind(&self, context: &ContextRecord) -> Option<Frame> {
        self.functions.unwind(&Live, self.entry.map(|e| e.1), &context.registers()).ok()
    }
}

fn found(functions: Functions, at: u64) -> Option<Found> {
    let entry = functions.find(&Live, Addr(at)).ok().flatten()?;
    Some(Found { functions, entry: Some(entry) })
}

/// Whether an address is in an image of the guest.
pub(crate) fn is_in_image(at: u64) -> bool {
    Reading::begin().at(Addr(at)).is_some_and(|listed| listed.image.format() == Format::Pe)
}

/// The functions of the image that holds an address, as its headers in memory say.
fn of_image(at: u64) -> Option<Functions> {
    const EXCEPTION_DIRECTORY: u64 = 0x88 + 3 * 8;
    let reading = Reading::begin();
    let listed = reading.at(Addr(at)).filter(|l| l.image.format() == Format::Pe)?;
    let base = listed.at.base.0;
    let directory = base + u64::from(half(base + 0x3c)) + EXCEPTION_DIRECTORY;
    let table = match half(directory) {
        0 => return Some(Functions { base: Addr(base), table: Addr(0), count: 0 }),
        rva => Addr(base + u64::from(rva)),
    };
    Some(Functions { base: Addr(base), table, count: half(directory + 4) / 12 })
}

/// What is known about an address; `None` for one that is in no code of the guest.
pub(crate) fn find(at: u64) -> Option<Found> {
    if let Some(functions) = of_image(at) {
        return found(functions, at).or(Some(Found { functions, entry: None }));
    }
    // One at a time, because a callback is the guest's code, which may register more.
    (0..).map_while(|n| lock(&DYNAMIC).get(n).copied()).find_map(|d| d.find(at))
}

pub(crate) extern "win64" fn RtlAddFunctionTable(table: Ptr<Function>, count: u32, base: u64) -> u8 {
    let functions = Functions { base: Addr(base), table: Addr(table.addr() as u64), count };
    let begin = |n: usize| half(functions.table.0 + 12 * n as u64);
    let sorted = (1..count as usize).all(|n| begin(n - 1) <= begin(n));
    lock(&DYNAMIC).push(Dynamic::Table { functions, sorted });
    1
}

pub(crate) extern "win64" fn RtlDeleteFunctionTable(table: Ptr<Function>) -> u8 {
    let mut all = lock(&DYNAMIC);
    let at = all.iter().position(|d| d.id() == table.addr() as u64);
    at.map(|at| all.remove(at)).is_some().into() // one that was added twice is there once more
}

/// The name of the callback's DLL is for debuggers.
pub(crate) extern "win64" fn RtlInstallFunctionTableCallback(
    id: u64,
    base: u64,
    len: u32,
    callback: usize,
    context: usize,
    _dll: usize,
) -> u8 {
    if id & 3 != 3 || callback == 0 {
        return 0;
    }
    // SAFETY: the guest passes a function of this type, as the function is documented.
    let callback = unsafe { transmute::<usize, Callback>(callback) };
    lock(&DYNAMIC).push(Dynamic::Callback { id, base, len: len.into(), callback, context });
    1
}

/// The next growable table's name: no address of a table and no callback's name is one.
static NEXT: AtomicU64 = AtomicU64::new(0x1001);

/// A table that will grow: how many functions it has, how many at most, and where their code is.
extern "win64" fn RtlAddGrowableFunctionTable(
    out: Ptr<u64>,
    table: Ptr<Function>,
    count: u32,
    most: u32,
    base: u64,
    end: u64,
) -> u32 {
    if out.is_null() || table.is_null() || count > most || base >= end {
        return INVALID_PARAMETER;
    }
    let functions = Functions { base: Addr(base), table: Addr(table.addr() as u64), count };
    let id = NEXT.fetch_add(4, Relaxed);
    lock(&DYNAMIC).push(Dynamic::Growable { id, functions, most, end });
    out.set(id);
    SUCCESS
}

/// The table has more functions now, behind those that it had.
extern "win64" fn RtlGrowFunctionTable(table: u64, count: u32) {
    for known in lock(&DYNAMIC).iter_mut() {
        if let Dynamic::Growable { id, functions, most, .. } = known
            && *id == table
        {
            functions.count = count.clamp(functions.count, *most);
        }
    }
}

extern "win64" fn RtlDeleteGrowableFunctionTable(table: u64) {
    lock(&DYNAMIC).retain(|known| !matches!(known, Dynamic::Growable { id, .. } if *id == table));
}

/// The function that holds an address, and the base that its numbers count from; null for leaf functions.
pub(crate) extern "win64" fn RtlLookupFunctionEntry(at: u64, base: Ptr<u64>, _history: usize) -> u64 {
    let Some(found) = find(at) else { return 0 };
    base.put(found.functions.base.0);
    found.place()
}

/// `KNONVOLATILE_CONTEXT_POINTERS`: where each register was found; places that did not change are left as they are.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Places {
    xmm: [Addr; 16],
    integers: [Addr; 16],
}

/// Steps out of a frame and returns the handler that applies there. Unwind data that cannot be followed ends the walk:
/// the caller has no address.
pub(crate) extern "win64" fn RtlVirtualUnwind(
    kind: u32,
    base: u64,
    pc: u64,
    function: Ptr<[u32; 3]>,
    context: Ptr<ContextRecord>,
    data: Ptr<u64>,
    establisher: Ptr<u64>,
    places: Ptr<Places>,
) -> u64 {
    let mut registers = ContextRecord { rip: pc, ..context.get() };
    let table = find(pc).map(|f| f.functions).filter(|f| f.base.0 == base);
    let functions = table.unwrap_or(Functions { base: Addr(base), table: Addr(0), count: 0 });
    let [begin, end, unwind] = function.get();
    let found = Found { functions, entry: Some((Addr(0), Function { begin, end, unwind })) };
    let Some(frame) = found.unwind(&registers) else {
        registers.rip = 0;
        context.set(registers);
        return 0;
    };
    registers.set(&frame.caller);
    context.set(registers);
    establisher.put(frame.establisher);
    if !places.is_null() {
        let newer = |new: Addr, old: Addr| if new.0 == 0 { old } else { new };
        let old = places.get();
        places.set(Places {
            xmm: std::array::from_fn(|n| newer(frame.saved.xmm[n], old.xmm[n])),
            integers: std::array::from_fn(|n| newer(frame.saved.integers[n], old.integers[n])),
        });
    }
    let wanted =
        |h: &loader_pe::unwind::Handler| h.exceptions && kind & 1 != 0 || h.terminations && kind & 2 != 0;
    let handler = frame.handler.filter(wanted);
    handler.iter().for_each(|handler| data.put(handler.data.0));
    handler.map_or(0, |h| h.routine.0)
}

table! {
    /// Unwind data.
    pub(crate) TABLE:
        RtlAddFunctionTable, RtlDeleteFunctionTable, RtlInstallFunctionTableCallback, RtlLookupFunctionEntry,
        RtlVirtualUnwind
}

table! {
    /// What only ntdll has.
    pub(crate) GROWABLE: RtlAddGrowableFunctionTable, RtlGrowFunctionTable, RtlDeleteGrowableFunctionTable
}
