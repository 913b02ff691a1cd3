//! Atoms: names that numbers stand for. A process has a table of its own, there is one for all programs of a session
//! (which this process is alone in), and ntdll makes more of them.

use super::{
    Bool, TRUE,
    error::code::{INSUFFICIENT_BUFFER, INVALID_PARAMETER, MORE_DATA},
    fail,
    strings::to_case,
};
use crate::{
    guest::Ptr,
    lock,
    nt::status::{self, INVALID_HANDLE, NO_MEMORY, OBJECT_NAME_INVALID, OBJECT_NAME_NOT_FOUND, WAS_LOCKED},
    teb,
    text::{self, Text},
};
use std::{collections::HashMap, sync::Mutex};

/// Atoms below this are numbers that stand for themselves.
pub(crate) const FIRST_NAMED: u16 = 0xc000;
/// The longest name.
const LONGEST: usize = 255;

/// A named atom.
struct Entry {
    name: Vec<u16>,
    uses: u16,
    /// It stays, however often it is given back.
    pinned: bool,
}

/// A table of atoms.
#[derive(Default)]
pub(crate) struct Table {
    entries: Vec<Option<Entry>>,
    /// By name in capitals: the place among the entries.
    names: HashMap<Vec<u16>, usize>,
}

/// What a table says of an atom.
pub(crate) struct Known {
    pub name: Vec<u16>,
    pub uses: u16,
    pub pinned: bool,
}

/// A name as it is asked for: a number, or text.
pub(crate) enum Name {
    Number(u16),
    Text(Vec<u16>),
}

impl Name {
    /// What an argument names: a pointer that is too small to be one is a number, and so is `#` with digits.
    pub(crate) fn of<T: Text>(at: Ptr<T>) -> Result<Self, u32> {
        match u16::try_from(at.addr()) {
            Ok(number @ 1..FIRST_NAMED) => Ok(Self::Number(number)),
            Ok(_) => Err(status::INVALID_PARAMETER),
            Err(_) => Self::of_units(T::units(at)),
        }
    }

    pub(crate) fn of_units(units: Vec<u16>) -> Result<Self, u32> {
        let digits = units.strip_prefix(&[u16::from(b'#')]).map(String::from_utf16_lossy);
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|d| d.parse::<u16>().ok()).filter(|n| (1..FIRST_NAMED).contains(n));
        match number {
            Some(number) => Ok(Self::Number(number)),
            None if units.is_empty() => Err(OBJECT_NAME_INVALID),
            None if units.len() > LONGEST => Err(status::INVALID_PARAMETER),
            None => Ok(Self::Text(units)),
        }
    }
}

fn key(name: &[u16]) -> Vec<u16> {
    name.iter().map(|&unit| to_case(unit, true)).collect()
}

impl Table {
    fn entry(&mut self, atom: u16) -> Result<&mut Entry, u32> {
        let place = atom.checked_sub(FIRST_NAMED).ok_or(INVALID_HANDLE)?;
        self.entries.get_mut(usize::from(place)).and_then(Option::as_mut).ok_or(INVALID_HANDLE)
    }

    /// The atom of a name, which is used once more.
    pub(crate) fn add(&mut self, name: Name) -> Result<u16, u32> {
        let name = match name {
            Name::Number(number) => return Ok(number),
            Name::Text(name) => name,
        };
        if let Some(&place) = self.names.get(&key(&name)) {
            let entry = self.entries[place].as_mut().ok_or(INVALID_HANDLE)?;
            entry.uses = entry.uses.saturating_add(1);
            return Ok(FIRST_NAMED + place as u16);
        }
        let free = self.entries.iter().position(Option::is_none).unwrap_or(self.entries.len());
        let atom = u16::try_from(free).ok().and_then(|n| n.checked_add(FIRST_NAMED)).ok_or(NO_MEMORY)?;
        if free == self.entries.len() {
            self.entries.push(None);
        }
        self.names.insert(key(&name), free);
        self.entries[free] = Some(Entry { name, uses: 1, pinned: false });
        Ok(atom)
    }

    pub(crate) fn find(&self, name: &Name) -> Result<u16, u32> {
        match name {
            Name::Number(number) => Ok(*number),
            Name::Text(name) => {
                let place = self.names.get(&key(name)).ok_or(OBJECT_NAME_NOT_FOUND)?;
                Ok(FIRST_NAMED + *place as u16)
            }
        }
    }

    /// One use less; the last one takes it away.
    pub(crate) fn delete(&mut self, atom: u16) -> Result<(), u32> {
        if (1..FIRST_NAMED).contains(&atom) {
            return Ok(());
        }
        let entry = self.entry(atom)?;
        if entry.pinned {
            return Err(WAS_LOCKED);
        }
        entry.uses -= 1;
        if entry.uses == 0 {
            self.remove(usize::from(atom - FIRST_NAMED));
        }
        Ok(())
    }

    fn remove(&mut self, place: usize) {
        if let Some(entry) = self.entries[place].take() {
            self.names.remove(&key(&entry.name));
        }
    }

    pub(crate) fn pin(&mut self, atom: u16) -> Result<(), u32> {
        if (1..FIRST_NAMED).contains(&atom) {
            return Ok(());
        }
        self.entry(atom)?.pinned = true;
        Ok(())
    }

    /// Takes all away, or all that are not pinned.
    pub(crate) fn empty(&mut self, pinned_too: bool) {
        for place in 0..self.entries.len() {
            if self.entries[place].as_ref().is_some_and(|entry| pinned_too || !entry.pinned) {
                self.remove(place);
            }
        }
    }

    /// A number is called after itself, and stays.
    pub(crate) fn known(&mut self, atom: u16) -> Result<Known, u32> {
        match atom {
            0 => Err(status::INVALID_PARAMETER),
            1..FIRST_NAMED => Ok(Known { name: text::wide(&format!("#{atom}")), uses: 1, pinned: true }),
            _ => {
                let Entry { name, uses, pinned } = self.entry(atom)?;
                Ok(Known { name: name.clone(), uses: *uses, pinned: *pinned })
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<u16> {
        let atoms = self.entries.iter().zip(FIRST_NAMED..);
        atoms.filter(|(entry, _)| entry.is_some()).map(|(_, atom)| atom).collect()
    }
}

/// The tables of a process: its own, that of the session, and those that were made, by address.
#[derive(Default)]
pub(crate) struct Atoms {
    pub own: Mutex<Table>,
    pub session: Mutex<Table>,
    pub made: Mutex<HashMap<usize, Table>>,
}

/// Does something with the session's table, or with the process's own.
pub(crate) fn with<R>(session: bool, f: impl FnOnce(&mut Table) -> R) -> R {
    let process = teb::process();
    f(&mut lock(if session { &process.atoms.session } else { &process.atoms.own }))
}

fn fail_with(status: u32) -> u16 {
    fail(status::dos_error(status)) as u16
}

fn add<T: Text>(name: Ptr<T>, session: bool) -> u16 {
    if name.is_null() {
        return 0;
    }
    Name::of(name).and_then(|name| with(session, |table| table.add(name))).unwrap_or_else(fail_with)
}

fn find<T: Text>(name: Ptr<T>, session: bool) -> u16 {
    if name.is_null() {
        return 0;
    }
    Name::of(name).and_then(|name| with(session, |table| table.find(&name))).unwrap_or_else(fail_with)
}

/// A name in a buffer. Of a name in the process's table as much as fits; one of the session must fit, or is wide and has no
/// zero then.
fn name<T: Text>(atom: u16, to: Ptr<T>, room: i32, session: bool) -> u32 {
    let known = with(session, |table| table.known(atom));
    let known = match known {
        Ok(known) => T::of_units(&known.name),
        Err(status) => return fail_with(status).into(),
    };
    let Some(room) = usize::try_from(room).ok().filter(|&room| room > 0 && !to.is_null()) else {
        return fail(MORE_DATA) as u32;
    };
    let wide = size_of::<T>() == 2;
    let fit = if session && wide { known.len().min(room) } else { known.len().min(room - 1) };
    to.fill(&known[..fit]);
    if fit < room {
        to.at(fit).set(T::default());
    }
    match fit == known.len() {
        true => text::length(fit),
        false if session && !wide => fail(MORE_DATA) as u32,
        false if fit == 0 => fail(INSUFFICIENT_BUFFER) as u32,
        false => text::length(fit),
    }
}

macro_rules! faces {
    ($($session:literal: $add_a:ident $add_w:ident $find_a:ident $find_w:ident $name_a:ident $name_w:ident;)*) => {$(
        extern "win64" fn $add_a(name: Ptr<u8>) -> u16 {
            add(name, $session)
        }
        extern "win64" fn $add_w(name: Ptr<u16>) -> u16 {
            add(name, $session)
        }
        extern "win64" fn $find_a(name: Ptr<u8>) -> u16 {
            find(name, $session)
        }
        extern "win64" fn $find_w(name: Ptr<u16>) -> u16 {
            find(name, $session)
        }
        extern "win64" fn $name_a(atom: u16, to: Ptr<u8>, room: i32) -> u32 {
            name(atom, to, room, $session)
        }
        extern "win64" fn $name_w(atom: u16, to: Ptr<u16>, room: i32) -> u32 {
            name(atom, to, room, $session)
        }
    )*};
}

faces! {
    false: AddAtomA AddAtomW FindAtomA FindAtomW GetAtomNameA GetAtomNameW;
    true: GlobalAddAtomA GlobalAddAtomW GlobalFindAtomA GlobalFindAtomW GlobalGetAtomNameA GlobalGetAtomNameW;
}

/// 0, or the atom itself where there is none of that number.
extern "win64" fn DeleteAtom(atom: u16) -> u16 {
    let deleted = with(false, |table| table.delete(atom));
    deleted.map_or_else(
        |status| {
            fail_with(status);
            atom
        },
        |()| 0,
    )
}

/// Always 0: only the last error says that there was none.
extern "win64" fn GlobalDeleteAtom(atom: u16) -> u16 {
    let deleted = with(true, |table| table.delete(atom));
    deleted.map_or_else(fail_with, |()| 0)
}

/// A table grows as it needs to.
extern "win64" fn InitAtomTable(buckets: u32) -> Bool {
    if buckets == 0 { fail(INVALID_PARAMETER) } else { TRUE }
}

table! {
    /// Atoms.
    pub(crate) TABLE:
        AddAtomA, AddAtomW, FindAtomA, FindAtomW, GetAtomNameA, GetAtomNameW, DeleteAtom, GlobalAddAtomA, GlobalAddAtomW,
        GlobalFindAtomA, GlobalFindAtomW, GlobalGetAtomNameA, GlobalGetAtomNameW, GlobalDeleteAtom, InitAtomTable
}
