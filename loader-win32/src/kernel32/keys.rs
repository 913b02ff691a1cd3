//! A console's input as keys that go down and up: what the host's terminal sends, taken apart.

use super::{
    Bool, answer,
    console::{Console, Side, TYPED, Typed},
    error::{code, from_os},
};
use crate::{guest::Ptr, lock, text::length};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, tcflush, tcgetattr, tcsetattr,
};
use std::{collections::VecDeque, sync::Mutex};

/// `INPUT_RECORD` of a key.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    kind: u16,
    reserved: u16,
    down: Bool,
    repeat: u16,
    key: u16,
    scan: u16,
    unit: u16,
    control: u32,
}

const _: () = assert!(size_of::<Record>() == 20);

const KEY_EVENT: u16 = 1;
const CTRL: u32 = 8;
const SHIFT: u32 = 0x10;
const ENHANCED: u32 = 0x100;
const ESCAPE: u16 = 0x1b;
const VIRTUAL_TERMINAL_INPUT: u32 = 0x200;

/// Keys that a program was not given yet.
static KEYS: Mutex<VecDeque<Record>> = Mutex::new(VecDeque::new());

/// A key goes down, and up again.
fn press(key: u16, unit: u16, control: u32) -> [Record; 2] {
    [1, 0].map(|down| Record { kind: KEY_EVENT, reserved: 0, down, repeat: 1, key, scan: 0, unit, control })
}

/// The key of a unit: its number, what it types, and what is held with it.
fn plain(unit: u16) -> [Record; 2] {
    let upper = u8::try_from(unit).map_or(0, |byte| byte.to_ascii_uppercase()).into();
    match unit {
        0x0a | 0x0d => press(0x0d, 0x0d, 0), // terminals turn the one into the other
        0x08 | 0x7f => press(0x08, 0x08, 0),
        0x09 | 0x20 | ESCAPE => press(unit, unit, 0),
        1..=0x1a => press(unit + 0x40, unit, CTRL),
        0x30..=0x39 | 0x61..=0x7a => press(upper, unit, 0),
        0x41..=0x5a => press(unit, unit, SHIFT),
        _ => press(0, unit, 0),
    }
}

/// The key of an escape that begins here, and how long that is.
fn escape(units: &[u16]) -> Option<(u16, usize)> {
    let byte = |nth: usize| u8::try_from(*units.get(nth)?).ok();
    if byte(0) != Some(0x1b) || !matches!(byte(1)?, b'[' | b'O') {
        return None;
    }
    let key = match (byte(2)?, byte(3)) {
        (b'A', _) => (0x26, 3),          // up
        (b'B', _) => (0x28, 3),          // down
        (b'C', _) => (0x27, 3),          // right
        (b'D', _) => (0x25, 3),          // left
        (b'F', _) => (0x23, 3),          // end
        (b'H', _) => (0x24, 3),          // home
        (b'2', Some(b'~')) => (0x2d, 4), // insert
        (b'3', Some(b'~')) => (0x2e, 4), // delete
        (b'5', Some(b'~')) => (0x21, 4), // page up
        (b'6', Some(b'~')) => (0x22, 4), // page down
        _ => return None,
    };
    Some(key)
}

/// What was typed, as keys; a program that wants escapes as they are has them so.
fn keys(mut units: &[u16], escapes: bool) -> Vec<Record> {
    let mut all = Vec::new();
    while let Some((&first, rest)) = units.split_first() {
        match escape(units).filter(|_| !escapes) {
            Some((key, len)) => {
                all.extend(press(key, 0, ENHANCED));
                units = &units[len..];
            }
            None => {
                all.extend(plain(first));
                units = rest;
            }
        }
    }
    all
}

/// Takes what the terminal has, key by key; waits for the first if that is wanted.
fn pull(console: &Console, waits: bool) -> Result<(), u32> {
    let file = console.file()?;
    let os = |e: rustix::io::Errno| from_os(e.raw_os_error());
    let before = tcgetattr(file).map_err(os)?;
    let mut raw = before.clone();
    raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(file, OptionalActions::Now, &raw).map_err(os)?;
    let there = rustix::io::ioctl_fionread(file).map_err(os);
    let mut typed = lock(&TYPED);
    let typed = typed.get_or_insert_with(Typed::default);
    let taken = match there {
        Ok(0) if !waits || !typed.units.is_empty() => Ok(true),
        Ok(_) => typed.wait(console),
        Err(error) => Err(error),
    };
    let _ = tcsetattr(file, OptionalActions::Now, &before);
    let units: Vec<u16> = typed.units.drain(..).collect();
    let escapes = console.mode()? & VIRTUAL_TERMINAL_INPUT != 0;
    lock(&KEYS).extend(keys(&units, escapes));
    // Of a terminal that is gone nobody should wait for keys for ever.
    if taken? || !waits { Ok(()) } else { Err(code::INVALID_HANDLE) }
}

/// Gives keys to the caller; they stay where they are if it only looks.
fn give(handle: usize, to: Ptr<Record>, room: u32, done: Ptr<u32>, looks: bool) -> Bool {
    answer(Console::side(handle, Side::Input).and_then(|console| {
        if to.is_null() || done.is_null() {
            return Err(code::NOACCESS);
        }
        while lock(&KEYS).is_empty() {
            pull(&console, !looks)?;
            if looks {
                break;
            }
        }
        let mut keys = lock(&KEYS);
        let n = keys.len().min(room as usize);
        keys.iter().take(n).enumerate().for_each(|(nth, key)| to.at(nth).set(*key));
        if !looks {
            keys.drain(..n);
        }
        done.set(length(n));
        Ok(())
    }))
}

extern "win64" fn ReadConsoleInputW(handle: usize, to: Ptr<Record>, room: u32, done: Ptr<u32>) -> Bool {
    give(handle, to, room, done, false)
}

extern "win64" fn PeekConsoleInputW(handle: usize, to: Ptr<Record>, room: u32, done: Ptr<u32>) -> Bool {
    give(handle, to, room, done, true)
}

extern "win64" fn GetNumberOfConsoleInputEvents(handle: usize, out: Ptr<u32>) -> Bool {
    answer(Console::side(handle, Side::Input).and_then(|console| {
        pull(&console, false)?;
        out.put(length(lock(&KEYS).len()));
        Ok(())
    }))
}

/// What was typed and not read is forgotten.
extern "win64" fn FlushConsoleInputBuffer(handle: usize) -> Bool {
    answer(Console::side(handle, Side::Input).and_then(|console| {
        *lock(&TYPED) = None;
        lock(&KEYS).clear();
        tcflush(console.file()?, QueueSelector::IFlush).map_err(|e| from_os(e.raw_os_error()))
    }))
}

table! {
    /// Keys.
    pub(crate) TABLE: ReadConsoleInputW, PeekConsoleInputW, GetNumberOfConsoleInputEvents, FlushConsoleInputBuffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_are_keys() {
        let typed = |text: &str, escapes| {
            let units: Vec<u16> = text.encode_utf16().collect();
            let down = keys(&units, escapes).into_iter().filter(|key| key.down != 0);
            down.map(|key| (key.key, key.unit, key.control)).collect::<Vec<_>>()
        };
        assert_eq!(typed("aA", false), [(0x41, 0x61, 0), (0x41, 0x41, SHIFT)]);
        assert_eq!(typed("\n\x7f\x03", false), [(0x0d, 0x0d, 0), (8, 8, 0), (0x43, 3, CTRL)]);
        assert_eq!(typed("\x1b[A\x1b", false), [(0x26, 0, ENHANCED), (0x1b, 0x1b, 0)]);
        assert_eq!(typed("\x1b[3~", false), [(0x2e, 0, ENHANCED)]);
        assert_eq!(typed("\x1b[A", true).len(), 3);
        assert_eq!(typed("\u{1f600}", false).len(), 2, "two units");
        assert!(typed("", false).is_empty());
    }
}
