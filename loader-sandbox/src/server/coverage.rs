//! Which basic blocks of code are reached for the first time: by breakpoints, each of which goes when it is met.
//!
//! Blocks are found by following branches and calls from a function on; what only leads on through a register or a table is
//! not followed, so nothing that may be data is ever changed. Code that has met all its breakpoints runs at full speed.
//!
//! Unsafe because a signal handler reads what the kernel hands over by address, and lets the thread go on elsewhere.
#![allow(unsafe_code)]

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use loader_core::{Addr, Placement, maps::Maps, signals::Link};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

/// The one-byte instruction that traps.
const BREAKPOINT: u8 = 0xcc;
/// More blocks than this are left alone.
const MOST: usize = 1 << 20;

/// A block's first instruction, and the byte that belongs there.
#[derive(Clone, Copy, Debug)]
struct Spot {
    at: u64,
    byte: u8,
}

/// What the handler knows.
struct Planted {
    /// Ascending.
    spots: Vec<Spot>,
    counters: &'static [AtomicU8],
}

/// This process's memory as a file, which can be written to whatever the rights of its pages. A copy of the process has to
/// open its own.
fn memory() -> io::Result<File> {
    File::options().read(true).write(true).open("/proc/self/mem")
}

static PLANTED: OnceLock<Planted> = OnceLock::new();
static LINK: Link = Link::new(libc::SIGTRAP);

/// Plants a breakpoint at the start of each block that can be found from `function` on, in the code of `places`. When a
/// thread comes to one, the breakpoint goes and the block's counter is set: they follow each other as the blocks do in
/// memory, and begin again where there are too few. Returns how many blocks there are.
///
/// # Errors
/// If this process has done so before; if its memory cannot be read or written.
///
/// # Safety
/// The places hold modules' code, which nobody runs yet and which stays for the rest of the process.
pub unsafe fn plant(
    function: Addr,
    places: &[Placement],
    counters: &'static [AtomicU8],
) -> io::Result<usize> {
    let memory = memory()?;
    let code = Code::read(places, &memory)?;
    let spot = |at| Some(Spot { at, byte: *code.bytes(at)?.first()? });
    let spots: Vec<Spot> = code.blocks(function.0).into_iter().filter_map(spot).collect();
    let count = spots.len();
    let again =
        || io::Error::new(io::ErrorKind::AlreadyExists, "blocks are watched for the whole process, once");
    PLANTED.set(Planted { spots, counters }).map_err(|_| again())?;
    LINK.install(on_trap);
    let planted = PLANTED.get().ok_or_else(again)?;
    planted.spots.iter().try_for_each(|spot| memory.write_all_at(&[BREAKPOINT], spot.at))?;
    Ok(count)
}

extern "C" fn on_trap(_: c_int, info: *mut siginfo_t, state: *mut c_void) {
    // SAFETY: the kernel hands a handler of this kind the thread's state, until the handler returns.
    let registers = unsafe { &mut (*state.cast::<ucontext_t>()).uc_mcontext.gregs };
    let next = &mut registers[libc::REG_RIP as usize];
    if PLANTED.get().is_some_and(|planted| planted.met(next.cast_unsigned().wrapping_sub(1))) {
        *next -= 1; // the instruction that belongs there comes now
    } else {
        // SAFETY: and what it knows of the signal.
        LINK.pass_on(unsafe { &mut *info }, state);
    }
}

impl Planted {
    /// In the handler: a breakpoint was met. False if it is none of these.
    fn met(&self, at: u64) -> bool {
        let Ok(nth) = self.spots.binary_search_by_key(&at, |spot| spot.at) else { return false };
        if let Some(counter) = self.counters.get(nth % self.counters.len().max(1)) {
            counter.store(1, Relaxed);
        }
        memory().and_then(|memory| memory.write_all_at(&[self.spots[nth].byte], at)).is_ok()
    }
}

/// Executable memory: where it begins, and what is there.
struct Code(BTreeMap<u64, Vec<u8>>);

impl Code {
    fn read(places: &[Placement], memory: &File) -> io::Result<Self> {
        let inside = |range: &Range<u64>| {
            places.iter().any(|place| place.base.0 <= range.start && range.end <= place.base.0 + place.len)
        };
        let read = |range: Range<u64>| {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            memory.read_exact_at(&mut bytes, range.start).map(|()| (range.start, bytes))
        };
        Maps::read("self")?.with("r-x").filter(inside).map(read).collect::<io::Result<_>>().map(Self)
    }

    /// What is there from an address on.
    fn bytes(&self, at: u64) -> Option<&[u8]> {
        let (start, bytes) = self.0.range(..=at).next_back()?;
        bytes.get(usize::try_from(at - start).ok()?..).filter(|bytes| !bytes.is_empty())
    }

    /// Where the blocks begin that can be reached from a function, ascending.
    fn blocks(&self, function: u64) -> Vec<u64> {
        let (mut todo, mut blocks) = (vec![function], BTreeSet::new());
        while let Some(at) = todo.pop() {
            if let Some(bytes) = self.bytes(at)
                && blocks.len() < MOST
                && blocks.insert(at)
            {
                follow(bytes, at, &mut todo);
            }
        }
        blocks.into_iter().collect()
    }
}

/// Decodes a block to its end, and adds where it leads.
fn follow(bytes: &[u8], at: u64, todo: &mut Vec<u64>) {
    let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall | FlowControl::Interrupt => {}
            FlowControl::Call => todo.push(instruction.near_branch_target()),
            FlowControl::UnconditionalBranch => return todo.push(instruction.near_branch_target()),
            FlowControl::ConditionalBranch => {
                todo.push(instruction.near_branch_target());
                return todo.push(instruction.next_ip());
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_followed_through_branches_and_calls_and_end_where_nobody_knows() {
        #[rustfmt::skip]
        let code = [
            0x85, 0xff,                   // 00 test edi, edi
            0x74, 0x06,                   // 02 je 0a
            0xe8, 0x09, 0x00, 0x00, 0x00, // 04 call 12
            0xc3,                         // 09 ret
            0xeb, 0x02,                   // 0a jmp 0e
            0xff, 0xff,                   // 0c nobody comes here
            0xff, 0xe0,                   // 0e jmp rax
            0xff, 0xff,                   // 10
            0x0f, 0x0b,                   // 12 ud2
        ];
        let code = Code(BTreeMap::from([(0x1000, code.to_vec())]));
        assert_eq!(code.blocks(0x1000), [0x1000, 0x1004, 0x100a, 0x100e, 0x1012]);
        assert_eq!(code.blocks(0x2000), []);
    }
}
