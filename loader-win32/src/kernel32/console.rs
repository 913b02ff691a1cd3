//! The console: standard handles, what is typed and what is written. A terminal of the host is a console, and nothing else
//! is: for every other handle these functions fail. What a program wants of its screen, `screen` does.

use super::{
    Bool, TRUE, answer,
    error::{code, from_io, from_os},
    fail,
    wait::object,
};
use crate::{
    guest::Ptr,
    lock,
    object::{Kind, Object, STD_HANDLES},
    text::{self, length},
};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::{
    collections::VecDeque,
    fs::File,
    io::{IsTerminal, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};

/// Where -10, -11 and -12 lead; `SetStdHandle` changes it for the whole program.
static STANDARD: [AtomicUsize; 3] =
    [AtomicUsize::new(STD_HANDLES[0]), AtomicUsize::new(STD_HANDLES[1]), AtomicUsize::new(STD_HANDLES[2])];

fn standard(which: u32) -> Option<&'static AtomicUsize> {
    STANDARD.get(usize::try_from(-10i64 - i64::from(which.cast_signed())).ok()?)
}

extern "win64" fn GetStdHandle(which: u32) -> usize {
    match standard(which) {
        Some(handle) => handle.load(Relaxed),
        None => {
            fail(code::INVALID_HANDLE);
            usize::MAX
        }
    }
}

extern "win64" fn SetStdHandle(which: u32, handle: usize) -> Bool {
    match standard(which) {
        Some(place) => {
            place.store(handle, Relaxed);
            TRUE
        }
        None => fail(code::INVALID_HANDLE),
    }
}

/// Which side of a console a handle is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Input,
    Screen,
}

/// The console that a handle is of: its object, for as long as it is used.
pub(super) struct Console {
    object: Arc<Object>,
    pub side: Side,
}

impl Console {
    /// The console behind a handle.
    pub(super) fn of(handle: usize) -> Result<Self, u32> {
        let object = object(handle)?;
        let side = if object.opened.input.load(Relaxed) { Side::Input } else { Side::Screen };
        match &object.kind {
            Kind::File(f) if f.is_terminal() => Ok(Self { object, side }),
            _ => Err(code::INVALID_HANDLE),
        }
    }

    /// The same, for what only the one side can do.
    pub(super) fn side(handle: usize, side: Side) -> Result<Self, u32> {
        Self::of(handle)
            .and_then(|console| if console.side == side { Ok(console) } else { Err(code::INVALID_HANDLE) })
    }

    /// The terminal.
    pub(super) fn file(&self) -> Result<&File, u32> {
        match &self.object.kind {
            Kind::File(f) => Ok(f),
            _ => Err(code::INVALID_HANDLE),
        }
    }

    /// What was said of it.
    pub(super) fn mode(&self) -> Result<u32, u32> {
        mode(self)
    }

    /// Writes to the terminal.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), u32> {
        let mut file = self.file()?;
        file.write_all(bytes).map_err(|e| from_io(&e))
    }
}

/// The bits of an input mode that the host's terminal knows too: keys that interrupt, whole lines, echo.
const TYPING: [(u32, LocalModes); 3] =
    [(1, LocalModes::ISIG), (2, LocalModes::ICANON), (4, LocalModes::ECHO)];
const LINE_INPUT: u32 = 2;
const ECHO_INPUT: u32 = 4;
const ALL_TYPING: u32 = 7;
const KNOWN_INPUT: u32 = 0x3ff;
const KNOWN_OUTPUT: u32 = 0x1f;

/// What else was said of input (windows, mice, quick edits), and all that was said of output: a terminal that turns lines
/// into lines and understands escapes.
static INPUT: AtomicU32 = AtomicU32::new(0x1f0);
static OUTPUT: AtomicU32 = AtomicU32::new(7);

fn mode(console: &Console) -> Result<u32, u32> {
    if console.side == Side::Screen {
        return Ok(OUTPUT.load(Relaxed));
    }
    let terminal = tcgetattr(console.file()?).map_err(|e| from_os(e.raw_os_error()))?;
    let on = TYPING.iter().filter(|(_, host)| terminal.local_modes.contains(*host));
    Ok(on.fold(INPUT.load(Relaxed), |mode, (bit, _)| mode | bit))
}

fn set_mode(console: &Console, mode: u32) -> Result<(), u32> {
    if console.side == Side::Screen {
        if mode & !KNOWN_OUTPUT != 0 {
            return Err(code::INVALID_PARAMETER);
        }
        OUTPUT.store(mode, Relaxed);
        return Ok(());
    }
    if mode & !KNOWN_INPUT != 0 || mode & (ECHO_INPUT | LINE_INPUT) == ECHO_INPUT {
        return Err(code::INVALID_PARAMETER);
    }
    let mut terminal = tcgetattr(console.file()?).map_err(|e| from_os(e.raw_os_error()))?;
    TYPING.iter().for_each(|&(bit, host)| terminal.local_modes.set(host, mode & bit != 0));
    INPUT.store(mode & !ALL_TYPING, Relaxed);
    tcsetattr(console.file()?, OptionalActions::Drain, &terminal).map_err(|e| from_os(e.raw_os_error()))
}

extern "win64" fn GetConsoleMode(handle: usize, out: Ptr<u32>) -> Bool {
    answer(Console::of(handle).and_then(|console| mode(&console)).map(|mode| out.put(mode)))
}

extern "win64" fn SetConsoleMode(handle: usize, mode: u32) -> Bool {
    answer(Console::of(handle).and_then(|console| set_mode(&console, mode)))
}

extern "win64" fn GetConsoleCP() -> u32 {
    65001
}

/// Text is UTF-8, and nothing else.
extern "win64" fn SetConsoleCP(page: u32) -> Bool {
    if page == GetConsoleCP() { TRUE } else { fail(code::INVALID_PARAMETER) }
}

extern "win64" fn WriteConsoleA(
    handle: usize,
    from: Ptr<u8>,
    len: u32,
    written: Ptr<u32>,
    _reserved: usize,
) -> Bool {
    let console = Console::side(handle, Side::Screen);
    answer(console.and_then(|c| c.write(&from.slice(len as usize))).map(|()| written.put(len)))
}

extern "win64" fn WriteConsoleW(
    handle: usize,
    from: Ptr<u16>,
    len: u32,
    written: Ptr<u32>,
    _reserved: usize,
) -> Bool {
    let text = String::from_utf16_lossy(&from.slice(len as usize));
    let console = Console::side(handle, Side::Screen);
    answer(console.and_then(|c| c.write(text.as_bytes())).map(|()| written.put(len)))
}

/// What was typed and not asked for yet: the rest of a line, for one who took less, and the first bytes of a character.
#[derive(Default)]
pub(super) struct Typed {
    pub units: VecDeque<u16>,
    bytes: Vec<u8>,
}

pub(super) static TYPED: Mutex<Option<Typed>> = Mutex::new(None);

impl Typed {
    /// Takes what the terminal has, waiting for it; false where there will be nothing more.
    pub(super) fn wait(&mut self, console: &Console) -> Result<bool, u32> {
        let mut chunk = [0; 1024];
        let n = console.file()?.read(&mut chunk).map_err(|e| from_io(&e))?;
        let lines = mode(console)? & LINE_INPUT != 0;
        self.bytes.extend(&chunk[..n]);
        // A character whose last bytes are still to come stays for the next time.
        let whole = match str::from_utf8(&self.bytes) {
            Err(e) if e.error_len().is_none() && n != 0 => e.valid_up_to(),
            _ => self.bytes.len(),
        };
        let bytes: Vec<u8> = self.bytes.drain(..whole).collect();
        let typed = String::from_utf8_lossy(&bytes);
        let typed = if lines { typed.replace('\n', "\r\n") } else { typed.into_owned() };
        self.units.extend(text::wide(&typed));
        Ok(n != 0)
    }
}

/// Up to `len` units of what is typed, waiting for the first.
fn read(handle: usize, len: usize) -> Result<Vec<u16>, u32> {
    let console = Console::side(handle, Side::Input)?;
    let mut typed = lock(&TYPED);
    let typed = typed.get_or_insert_with(Typed::default);
    while typed.units.is_empty() && len != 0 && typed.wait(&console)? {}
    let n = typed.units.len().min(len);
    Ok(typed.units.drain(..n).collect())
}

extern "win64" fn ReadConsoleW(
    handle: usize,
    to: Ptr<u16>,
    len: u32,
    done: Ptr<u32>,
    _control: usize,
) -> Bool {
    answer(read(handle, len as usize).map(|units| {
        to.fill(&units);
        done.put(length(units.len()));
    }))
}

/// A character of which not all bytes have room is left for the next time.
extern "win64" fn ReadConsoleA(
    handle: usize,
    to: Ptr<u8>,
    len: u32,
    done: Ptr<u32>,
    _control: usize,
) -> Bool {
    answer(read(handle, len as usize).map(|units| {
        let mut bytes = Vec::new();
        let mut used = 0;
        for c in char::decode_utf16(units.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)) {
            if bytes.len() + c.len_utf8() > len as usize {
                break;
            }
            used += c.len_utf16();
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if let Some(typed) = lock(&TYPED).as_mut() {
            units[used.min(units.len())..].iter().rev().for_each(|&unit| typed.units.push_front(unit));
        }
        to.fill(&bytes);
        done.put(length(bytes.len()));
    }))
}

/// Nobody debugs: the text goes where the debugger's output would be read, to standard error.
pub(crate) fn debug_text(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

extern "win64" fn OutputDebugStringA(text: Ptr<u8>) {
    debug_text(&text.string());
}

extern "win64" fn OutputDebugStringW(text: Ptr<u16>) {
    debug_text(&text.string());
}

/// There is no console window.
extern "win64" fn GetConsoleWindow() -> usize {
    0
}

table! {
    /// The console.
    pub(crate) TABLE:
        GetStdHandle, SetStdHandle, GetConsoleMode, SetConsoleMode, GetConsoleCP, GetConsoleOutputCP = GetConsoleCP,
        SetConsoleCP, SetConsoleOutputCP = SetConsoleCP, WriteConsoleA, WriteConsoleW, ReadConsoleA, ReadConsoleW, OutputDebugStringA, OutputDebugStringW, GetConsoleWindow
}
