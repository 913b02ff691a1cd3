//! A console's screen: the host's terminal, driven by escapes. The buffer is as large as the window, as modern terminals of
//! Windows have it; what stands in it nobody but the terminal knows, so what would need that is refused.

use super::{
    Bool, answer,
    console::{Console, Side},
    error::code,
};
use crate::{guest::Ptr, process::program};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::getpgrp,
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};
use std::{
    fmt::Write,
    fs::File,
    io::{self, Read},
    sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering::Relaxed},
};

/// `COORD`, which is passed by value as 32 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    x: i16,
    y: i16,
}

impl Place {
    fn of(bits: u32) -> Self {
        Self { x: bits as i16, y: (bits >> 16) as i16 }
    }

    fn inside(self, size: Self) -> bool {
        (0..size.x).contains(&self.x) && (0..size.y).contains(&self.y)
    }

    /// The escape that moves the cursor there.
    fn escape(self) -> String {
        format!("\x1b[{};{}H", i32::from(self.y) + 1, i32::from(self.x) + 1)
    }
}

/// `SMALL_RECT`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Area {
    left: i16,
    top: i16,
    right: i16,
    bottom: i16,
}

/// `CONSOLE_SCREEN_BUFFER_INFO`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct ScreenInfo {
    size: Place,
    cursor: Place,
    attributes: u16,
    window: Area,
    largest: Place,
}

const _: () = assert!(size_of::<ScreenInfo>() == 22);

/// Grey on black.
const PLAIN: u16 = 7;

/// The colours of what is written next, the cursor's size, and whether it is seen.
static ATTRIBUTES: AtomicU16 = AtomicU16::new(PLAIN);
static CURSOR_SIZE: AtomicU32 = AtomicU32::new(25);
static CURSOR_SEEN: AtomicBool = AtomicBool::new(true);

/// The screen behind a handle.
fn screen(handle: usize) -> Result<Console, u32> {
    Console::side(handle, Side::Screen)
}

/// Columns and rows; a terminal that does not know has what terminals had.
fn size(file: &File) -> Place {
    let side = |n: u16, usual: i16| i16::try_from(n).ok().filter(|&n| n > 0).unwrap_or(usual);
    tcgetwinsize(file)
        .map_or(Place { x: 80, y: 25 }, |s| Place { x: side(s.ws_col, 80), y: side(s.ws_row, 25) })
}

/// Where the cursor is. The terminal is asked, if that disturbs nobody: a Windows program runs and no host around it, the
/// terminal is ours to read now, and nothing was typed. One that does not answer is not asked again.
fn cursor(file: &File) -> Option<Place> {
    static SILENT: AtomicBool = AtomicBool::new(false);
    if SILENT.load(Relaxed) || program().is_none() {
        return None;
    }
    let ours = tcgetpgrp(file).ok()? == getpgrp();
    if !ours || rustix::io::ioctl_fionread(file).ok()? != 0 {
        return None;
    }
    let before = tcgetattr(file).ok()?;
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    quiet.special_codes[SpecialCodeIndex::VMIN] = 0;
    quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(file, OptionalActions::Now, &quiet).ok()?;
    let place = ask(file);
    SILENT.store(place.is_none(), Relaxed);
    let _ = tcsetattr(file, OptionalActions::Now, &before);
    place
}

/// Asks, and reads the answer: `ESC [ row ; column R`.
fn ask(mut file: &File) -> Option<Place> {
    io::Write::write_all(&mut file, b"\x1b[6n").ok()?;
    let patience = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let mut reply = Vec::new();
    while reply.len() < 32 && reply.last() != Some(&b'R') {
        if poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&patience)).ok()? == 0 {
            return None;
        }
        let mut byte = [0];
        if file.read(&mut byte).ok()? == 0 {
            return None;
        }
        reply.extend(byte);
    }
    parse(str::from_utf8(&reply).ok()?)
}

fn parse(reply: &str) -> Option<Place> {
    let (row, column) = reply.strip_prefix("\x1b[")?.strip_suffix('R')?.split_once(';')?;
    let number = |text: &str| text.parse::<i16>().ok()?.checked_sub(1);
    Some(Place { x: number(column)?, y: number(row)? })
}

extern "win64" fn GetConsoleScreenBufferInfo(handle: usize, out: Ptr<ScreenInfo>) -> Bool {
    answer(screen(handle).and_then(|console| {
        let file = console.file()?;
        let size = size(file);
        let cursor = cursor(file).unwrap_or_default();
        out.put(ScreenInfo {
            size,
            cursor: Place { x: cursor.x.clamp(0, size.x - 1), y: cursor.y.clamp(0, size.y - 1) },
            attributes: ATTRIBUTES.load(Relaxed),
            window: Area { left: 0, top: 0, right: size.x - 1, bottom: size.y - 1 },
            largest: size,
        });
        Ok(())
    }))
}

/// The escape for colours: blue, green and red are the bits of Windows, red, green and blue those of terminals.
fn colours(attributes: u16) -> String {
    if attributes == PLAIN {
        return "\x1b[0m".into();
    }
    let colour = |bits: u16| (bits & 1) << 2 | bits & 2 | bits >> 2 & 1;
    let (front, back) = (attributes & 15, attributes >> 4 & 15);
    let of = |bits: u16, base: u16| base + colour(bits) + if bits & 8 == 0 { 0 } else { 60 };
    let mut out = format!("\x1b[0;{};{}", of(front, 30), of(back, 40));
    if attributes & 0x4000 != 0 {
        out += ";7"; // the other way round
    }
    if attributes & 0x8000 != 0 {
        out += ";4"; // underlined
    }
    out + "m"
}

extern "win64" fn SetConsoleTextAttribute(handle: usize, attributes: u16) -> Bool {
    answer(screen(handle).and_then(|console| {
        console.write(colours(attributes).as_bytes())?;
        ATTRIBUTES.store(attributes, Relaxed);
        Ok(())
    }))
}

extern "win64" fn SetConsoleCursorPosition(handle: usize, to: u32) -> Bool {
    answer(screen(handle).and_then(|console| {
        let to = Place::of(to);
        match to.inside(size(console.file()?)) {
            true => console.write(to.escape().as_bytes()),
            false => Err(code::INVALID_PARAMETER),
        }
    }))
}

/// `CONSOLE_CURSOR_INFO`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CursorInfo {
    size: u32,
    seen: Bool,
}

extern "win64" fn GetConsoleCursorInfo(handle: usize, out: Ptr<CursorInfo>) -> Bool {
    let info = || CursorInfo { size: CURSOR_SIZE.load(Relaxed), seen: CURSOR_SEEN.load(Relaxed).into() };
    answer(screen(handle).map(|_| out.put(info())))
}

/// The terminal shows the cursor or hides it; how much of a cell it fills, the terminal's owner says.
extern "win64" fn SetConsoleCursorInfo(handle: usize, info: Ptr<CursorInfo>) -> Bool {
    answer(screen(handle).and_then(|console| {
        if info.is_null() || !(1..=100).contains(&info.get().size) {
            return Err(code::INVALID_PARAMETER);
        }
        let CursorInfo { size, seen } = info.get();
        console.write(if seen == 0 { b"\x1b[?25l" } else { b"\x1b[?25h" })?;
        CURSOR_SIZE.store(size, Relaxed);
        CURSOR_SEEN.store(seen != 0, Relaxed);
        Ok(())
    }))
}

/// What the cursor does not notice: it is where it was afterwards, and so are the colours.
fn aside(what: &str) -> String {
    format!("\x1b7{what}\x1b8{}", colours(ATTRIBUTES.load(Relaxed)))
}

/// Writes a character again and again from a place on, to the end of the screen at most.
fn fill(handle: usize, c: char, len: u32, at: u32, written: Ptr<u32>) -> Bool {
    answer(screen(handle).and_then(|console| {
        let (size, at) = (size(console.file()?), Place::of(at));
        if !at.inside(size) {
            return Err(code::INVALID_PARAMETER);
        }
        let width = u32::from(size.x.unsigned_abs());
        let before = u32::from(at.y.unsigned_abs()) * width + u32::from(at.x.unsigned_abs());
        let len = len.min(width * u32::from(size.y.unsigned_abs()) - before);
        let c = if c.is_control() { ' ' } else { c };
        let mut out = String::new();
        let (mut place, mut left) = (at, len);
        while left > 0 {
            let n = left.min(u32::from((size.x - place.x).unsigned_abs()));
            out += &place.escape();
            out.extend((0..n).map(|_| c));
            (place, left) = (Place { x: 0, y: place.y + 1 }, left - n);
        }
        console.write(aside(&out).as_bytes())?;
        written.put(len);
        Ok(())
    }))
}

extern "win64" fn FillConsoleOutputCharacterA(
    handle: usize,
    c: u8,
    len: u32,
    at: u32,
    written: Ptr<u32>,
) -> Bool {
    fill(handle, if c.is_ascii() { c.into() } else { char::REPLACEMENT_CHARACTER }, len, at, written)
}

extern "win64" fn FillConsoleOutputCharacterW(
    handle: usize,
    c: u16,
    len: u32,
    at: u32,
    written: Ptr<u32>,
) -> Bool {
    fill(handle, char::from_u32(c.into()).unwrap_or(char::REPLACEMENT_CHARACTER), len, at, written)
}

/// A terminal cannot colour what it shows already.
extern "win64" fn FillConsoleOutputAttribute(
    handle: usize,
    _attributes: u16,
    _len: u32,
    _at: u32,
    written: Ptr<u32>,
) -> Bool {
    answer(screen(handle).and_then(|_| {
        written.put(0);
        Err(code::NOT_SUPPORTED)
    }))
}

/// Nor can it move a part of that.
extern "win64" fn ScrollConsoleScreenBufferW(
    handle: usize,
    _area: Ptr<Area>,
    _clip: Ptr<Area>,
    _to: u32,
    _fill: Ptr<Cell>,
) -> Bool {
    answer(screen(handle).and(Err(code::NOT_SUPPORTED)))
}

/// `CHAR_INFO`: a character, of either width, and its colours.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cell {
    unit: u16,
    attributes: u16,
}

/// Writes a rectangle of cells, as much of it as lies in the screen and in the caller's cells.
fn write_cells(handle: usize, cells: Ptr<Cell>, shape: u32, from: u32, area: Ptr<Area>, wide: bool) -> Bool {
    answer(screen(handle).and_then(|console| {
        if cells.is_null() || area.is_null() {
            return Err(code::NOACCESS);
        }
        let (size, shape, from, wanted) =
            (size(console.file()?), Place::of(shape), Place::of(from), area.get());
        if !from.inside(shape) {
            return Err(code::INVALID_PARAMETER);
        }
        // A part that begins outside begins so much later in the caller's cells, too.
        let (left, top) = (wanted.left.max(0), wanted.top.max(0));
        let skipped = (i32::from(left) - i32::from(wanted.left), i32::from(top) - i32::from(wanted.top));
        let first = (i32::from(from.x) + skipped.0, i32::from(from.y) + skipped.1);
        let columns =
            (i32::from(shape.x) - first.0).min(i32::from(wanted.right.min(size.x - 1)) - i32::from(left) + 1);
        let rows =
            (i32::from(shape.y) - first.1).min(i32::from(wanted.bottom.min(size.y - 1)) - i32::from(top) + 1);
        let mut out = String::new();
        for row in 0..rows.max(0) {
            out += &Place { x: left, y: (i32::from(top) + row) as i16 }.escape();
            let mut units = Vec::new();
            for column in 0..columns.max(0) {
                let nth =
                    (first.1 + row) as usize * shape.x.unsigned_abs() as usize + (first.0 + column) as usize;
                let Cell { unit, attributes } = cells.at(nth).get();
                let unit = if wide { unit } else { unit & 0xff };
                units.push((if unit < 0x20 { 0x20 } else { unit }, attributes));
            }
            for run in units.chunk_by(|a, b| a.1 == b.1) {
                let text: Vec<u16> = run.iter().map(|cell| cell.0).collect();
                let _ = write!(out, "{}{}", colours(run[0].1), String::from_utf16_lossy(&text));
            }
        }
        console.write(aside(&out).as_bytes())?;
        let (right, bottom) = (i32::from(left) + columns - 1, i32::from(top) + rows - 1);
        area.set(Area { left, top, right: right as i16, bottom: bottom as i16 });
        Ok(())
    }))
}

extern "win64" fn WriteConsoleOutputA(
    handle: usize,
    cells: Ptr<Cell>,
    shape: u32,
    from: u32,
    area: Ptr<Area>,
) -> Bool {
    write_cells(handle, cells, shape, from, area, false)
}

extern "win64" fn WriteConsoleOutputW(
    handle: usize,
    cells: Ptr<Cell>,
    shape: u32,
    from: u32,
    area: Ptr<Area>,
) -> Bool {
    write_cells(handle, cells, shape, from, area, true)
}

table! {
    /// The screen.
    pub(crate) TABLE:
        GetConsoleScreenBufferInfo, SetConsoleTextAttribute, SetConsoleCursorPosition, GetConsoleCursorInfo,
        SetConsoleCursorInfo, FillConsoleOutputCharacterA, FillConsoleOutputCharacterW, FillConsoleOutputAttribute,
        ScrollConsoleScreenBufferW, WriteConsoleOutputA, WriteConsoleOutputW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_says_where_its_cursor_is() {
        assert_eq!(parse("\x1b[3;10R"), Some(Place { x: 9, y: 2 }));
        for wrong in ["", "\x1b[3R", "\x1b[0;-32768R", "\x1b[;R", "3;10R"] {
            assert_eq!(parse(wrong).filter(|place| place.x >= 0), None, "{wrong:?}");
        }
    }

    #[test]
    fn colours_of_windows_are_those_of_terminals() {
        assert_eq!(colours(7), "\x1b[0m");
        assert_eq!(colours(4), "\x1b[0;31;40m", "red");
        assert_eq!(colours(0x1f), "\x1b[0;97;44m", "bright white on blue");
        assert_eq!(colours(0x4007), "\x1b[0;37;40;7m");
    }

    #[test]
    fn a_place_is_a_column_and_a_row() {
        assert_eq!(Place::of(0x0002_0009).escape(), "\x1b[3;10H");
        assert!(!Place::of(0xffff).inside(Place { x: 80, y: 25 }));
    }
}
