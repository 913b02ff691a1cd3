//! Tables of atoms that programs make themselves, and the session's table by NT's names.

use crate::{
    guest::Ptr,
    heap,
    kernel32::atom::{self, Known, Name, Table},
    lock,
    nt::status::{
        BUFFER_TOO_SMALL, INFO_LENGTH_MISMATCH, INVALID_INFO_CLASS, INVALID_PARAMETER, NO_MEMORY, SUCCESS,
    },
    teb,
};

/// What a table's memory begins with: `Atom`.
const SIGNATURE: u32 = u32::from_le_bytes(*b"Atom");

fn status(done: Result<(), u32>) -> u32 {
    done.err().unwrap_or(SUCCESS)
}

/// Does something with a table that was made.
fn with<R>(at: Ptr<u32>, f: impl FnOnce(&mut Table) -> Result<R, u32>) -> Result<R, u32> {
    lock(&teb::process().atoms.made).get_mut(&at.addr()).ok_or(INVALID_PARAMETER).and_then(f)
}

/// A place that has a table already keeps it.
extern "win64" fn RtlCreateAtomTable(_buckets: u32, out: Ptr<Ptr<u32>>) -> u32 {
    if out.is_null() {
        return INVALID_PARAMETER;
    }
    if !out.get().is_null() {
        return if with(out.get(), |_| Ok(())).is_ok() { SUCCESS } else { INVALID_PARAMETER };
    }
    let block = heap::alloc(size_of::<u32>(), true).cast::<u32>();
    if block.is_null() {
        return NO_MEMORY;
    }
    block.set(SIGNATURE);
    lock(&teb::process().atoms.made).insert(block.addr(), Table::default());
    out.set(block);
    SUCCESS
}

extern "win64" fn RtlDestroyAtomTable(at: Ptr<u32>) -> u32 {
    let gone = lock(&teb::process().atoms.made).remove(&at.addr());
    if gone.is_none() {
        return INVALID_PARAMETER;
    }
    heap::free(at.cast());
    SUCCESS
}

extern "win64" fn RtlEmptyAtomTable(at: Ptr<u32>, pinned_too: u8) -> u32 {
    status(with(at, |table| {
        table.empty(pinned_too != 0);
        Ok(())
    }))
}

extern "win64" fn RtlAddAtomToAtomTable(at: Ptr<u32>, name: Ptr<u16>, out: Ptr<u16>) -> u32 {
    status(Name::of(name).and_then(|name| with(at, |table| table.add(name))).map(|atom| out.put(atom)))
}

extern "win64" fn RtlLookupAtomInAtomTable(at: Ptr<u32>, name: Ptr<u16>, out: Ptr<u16>) -> u32 {
    status(Name::of(name).and_then(|name| with(at, |table| table.find(&name))).map(|atom| out.put(atom)))
}

extern "win64" fn RtlDeleteAtomFromAtomTable(at: Ptr<u32>, atom: u16) -> u32 {
    status(with(at, |table| table.delete(atom)))
}

extern "win64" fn RtlPinAtomInAtomTable(at: Ptr<u32>, atom: u16) -> u32 {
    status(with(at, |table| table.pin(atom)))
}

/// The name as far as there is room for it with a zero; without any room, how long it is.
extern "win64" fn RtlQueryAtomInAtomTable(
    at: Ptr<u32>,
    atom: u16,
    uses: Ptr<u32>,
    pins: Ptr<u32>,
    to: Ptr<u16>,
    len: Ptr<u32>,
) -> u32 {
    status(with(at, |table| table.known(atom)).and_then(|known| {
        uses.put(known.uses.into());
        pins.put(known.pinned.into());
        if len.is_null() || to.is_null() && len.get() != 0 {
            return Ok(());
        }
        let room = len.get() as usize / 2;
        let fit = known.name.len().min(room.saturating_sub(1));
        if room == 0 {
            len.set((known.name.len() * 2) as u32); // names are short
            return Err(BUFFER_TOO_SMALL);
        }
        to.fill(&known.name[..fit]);
        to.at(fit).set(0);
        len.set((fit * 2) as u32);
        Ok(())
    }))
}

/// Does something with the session's table.
fn session<R>(f: impl FnOnce(&mut Table) -> R) -> R {
    atom::with(true, f)
}

/// A name of so many bytes.
fn named(name: Ptr<u16>, len: u32) -> Result<Name, u32> {
    match name.addr() {
        0..0x1_0000 => Name::of(name),
        _ => Name::of_units(name.slice(len as usize / 2).into_owned()),
    }
}

extern "win64" fn NtAddAtom(name: Ptr<u16>, len: u32, out: Ptr<u16>) -> u32 {
    status(named(name, len).and_then(|name| session(|table| table.add(name))).map(|atom| out.put(atom)))
}

extern "win64" fn NtFindAtom(name: Ptr<u16>, len: u32, out: Ptr<u16>) -> u32 {
    status(named(name, len).and_then(|name| session(|table| table.find(&name))).map(|atom| out.put(atom)))
}

extern "win64" fn NtDeleteAtom(atom: u16) -> u32 {
    status(session(|table| table.delete(atom)))
}

const BASIC: u32 = 0;
const TABLE_INFORMATION: u32 = 1;

/// What is known of an atom (`ATOM_BASIC_INFORMATION`), or which atoms there are.
extern "win64" fn NtQueryInformationAtom(
    atom: u16,
    class: u32,
    to: Ptr<u16>,
    len: u32,
    done: Ptr<u32>,
) -> u32 {
    const HEAD: usize = 8;
    match class {
        BASIC if (len as usize) < HEAD => INFO_LENGTH_MISMATCH,
        BASIC => status(session(|table| table.known(atom)).and_then(|Known { name, uses, pinned }| {
            let room = (len as usize - HEAD) / 2;
            let fit = if room == 0 { name.len() } else { name.len().min(room) };
            to.fill(&[uses, pinned.into(), (fit * 2) as u16]);
            done.put((HEAD + fit * 2) as u32);
            if room == 0 {
                return Err(BUFFER_TOO_SMALL);
            }
            to.at(3).fill(&name[..fit]);
            to.at(3 + fit).set(0);
            Ok(())
        })),
        TABLE_INFORMATION => {
            let all = session(|table| table.all());
            let needed = size_of::<u32>() + all.len() * 2;
            done.put(needed as u32); // at most 16,384 atoms
            if needed > len as usize {
                return INFO_LENGTH_MISMATCH;
            }
            to.cast::<u32>().set(all.len() as u32);
            to.at(2).fill(&all);
            SUCCESS
        }
        _ => INVALID_INFO_CLASS,
    }
}

table! {
    /// Atoms.
    pub(crate) TABLE:
        RtlCreateAtomTable, RtlDestroyAtomTable, RtlEmptyAtomTable, RtlAddAtomToAtomTable, RtlLookupAtomInAtomTable,
        RtlDeleteAtomFromAtomTable, RtlPinAtomInAtomTable, RtlQueryAtomInAtomTable, NtAddAtom, NtFindAtom, NtDeleteAtom,
        NtQueryInformationAtom, ZwAddAtom = NtAddAtom, ZwFindAtom = NtFindAtom, ZwDeleteAtom = NtDeleteAtom,
        ZwQueryInformationAtom = NtQueryInformationAtom
}
