//! Messages with inserts: `%1`, `%2!d!`, `%n`, lines that are wrapped to a width. `FormatMessage` is made of this.

use crate::{
    format::{self, Arguments, Style, Width},
    guest::Ptr,
    kernel32::resource::Home,
    nt::status::{BUFFER_OVERFLOW, INVALID_PARAMETER, MESSAGE_NOT_FOUND, RESOURCE_DATA_NOT_FOUND, SUCCESS},
};
use loader_pe::resources::ResourceId;
use std::iter;

/// No line is wrapped, but line ends of the message itself are blanks.
const ENDLESS: u32 = 0xff;
/// The longest format between exclamation marks.
const LONGEST: usize = 30;

const CR: u16 = 13;
const LF: u16 = 10;
const TAB: u16 = 9;
const BLANK: u16 = 32;

/// Where inserts come from. An array has them by number. Of a list each is read once and kept; what a `*` takes is kept
/// too, what follows a `*` is not.
#[derive(Clone, Debug)]
pub(crate) enum Inserts {
    Array { slots: Ptr<u64>, last: usize },
    List { kept: Vec<u64>, rest: Ptr<u64> },
}

impl Inserts {
    pub(crate) fn array(slots: Ptr<u64>) -> Self {
        Self::Array { slots, last: 0 }
    }

    pub(crate) fn list(rest: Ptr<u64>) -> Self {
        Self::List { kept: Vec::new(), rest }
    }

    fn is_null(&self) -> bool {
        let (Self::Array { slots: at, .. } | Self::List { rest: at, .. }) = self;
        at.is_null()
    }

    fn number(&mut self, number: usize) -> u64 {
        match self {
            Self::Array { slots, last } => {
                *last = number.max(*last);
                slots.at(number - 1).get()
            }
            Self::List { kept, rest } => {
                while kept.len() < number {
                    kept.push(rest.get());
                    *rest = rest.at(1);
                }
                kept[number - 1]
            }
        }
    }

    fn next(&mut self, keep: bool) -> u64 {
        match self {
            Self::Array { slots, last } => {
                *last += 1;
                slots.at(*last - 1).get()
            }
            Self::List { kept, rest } => {
                let value = rest.get();
                *rest = rest.at(1);
                if keep {
                    kept.push(value);
                }
                value
            }
        }
    }
}

/// How a message is to be written.
pub(crate) struct Message<'m> {
    pub text: &'m [u16],
    /// 0 leaves lines as they are.
    pub width: u32,
    pub ignore_inserts: bool,
    /// Text that is inserted is narrow where nothing else is said.
    pub narrow: bool,
    /// So many units at most.
    pub room: usize,
}

/// Lines as they come.
struct Lines {
    out: Vec<u16>,
    room: usize,
    width: u32,
    /// Where the line begins, and where its last blank is.
    line: usize,
    blank: Option<usize>,
}

impl Lines {
    fn put(&mut self, unit: u16) -> Result<(), u32> {
        if self.out.len() >= self.room {
            return Err(BUFFER_OVERFLOW);
        }
        self.out.push(unit);
        Ok(())
    }

    /// A unit of a line, after which the line may have to end.
    fn add(&mut self, unit: u16) -> Result<(), u32> {
        self.put(unit)?;
        self.wrap()
    }

    fn end_line(&mut self) -> Result<(), u32> {
        if self.room - self.out.len() < 2 {
            return Err(BUFFER_OVERFLOW);
        }
        self.out.extend([CR, LF]);
        self.begin();
        Ok(())
    }

    fn begin(&mut self) {
        (self.line, self.blank) = (self.out.len(), None);
    }

    fn wraps(&self) -> bool {
        !matches!(self.width, 0 | ENDLESS..)
    }

    /// A blank, where the line may end.
    fn blank(&mut self) -> Result<(), u32> {
        self.blank = Some(self.out.len());
        self.add(BLANK)
    }

    /// Ends a line that is as long as it may be: at its last blank, where there is one.
    fn wrap(&mut self) -> Result<(), u32> {
        if !self.wraps() || self.out.len() - self.line < self.width as usize {
            return Ok(());
        }
        let Some(blank) = self.blank else { return self.end_line() };
        let white = |unit: &&u16| matches!(**unit, TAB | BLANK);
        let before = self.out[self.line..blank].iter().rev().take_while(white).count();
        let after = self.out[blank..].iter().take_while(white).count();
        self.out.splice(blank - before..blank + after, [CR, LF]);
        (self.line, self.blank) = (blank - before + 2, None);
        if self.out.len() > self.room { Err(BUFFER_OVERFLOW) } else { Ok(()) }
    }

    /// Text from elsewhere, which is not broken.
    fn insert(&mut self, text: &[u16]) -> Result<(), u32> {
        let left = self.room - self.out.len();
        if text.len() < left {
            self.out.extend(text);
            return self.wrap();
        }
        if let Some(fit) = left.checked_sub(1) {
            self.out.extend(&text[..fit]);
            self.out.push(0);
        }
        Err(BUFFER_OVERFLOW)
    }
}

impl Message<'_> {
    /// The message, as far as it went, and why it went no further.
    pub(crate) fn write(&self, inserts: &mut Inserts) -> (Vec<u16>, Result<(), u32>) {
        let (line, blank) = (0, None);
        let mut lines = Lines { out: Vec::new(), room: self.room, width: self.width, line, blank };
        let done = self.fill(&mut lines, inserts);
        (lines.out, done)
    }

    fn fill(&self, lines: &mut Lines, inserts: &mut Inserts) -> Result<(), u32> {
        let mut rest = self.text;
        while let Some((&unit, more)) = rest.split_first() {
            rest = more;
            match unit {
                CR | LF => {
                    rest = if unit == CR { rest.strip_prefix(&[LF]).unwrap_or(rest) } else { rest };
                    if self.width == 0 { lines.end_line()? } else { lines.blank()? }
                }
                BLANK => lines.blank()?,
                PERCENT => match self.escape(lines, inserts, rest)? {
                    Some(more) => rest = more,
                    None => return Ok(()),
                },
                _ => lines.add(unit)?,
            }
        }
        Ok(())
    }

    /// What follows a percent sign; `None` where the message ends there.
    fn escape<'t>(
        &self,
        lines: &mut Lines,
        inserts: &mut Inserts,
        rest: &'t [u16],
    ) -> Result<Option<&'t [u16]>, u32> {
        let (&unit, more) = rest.split_first().ok_or(INVALID_PARAMETER)?;
        match u8::try_from(unit).unwrap_or(0) {
            b'0' => return Ok(None),
            b'1'..=b'9' if !self.ignore_inserts => return self.numbered(lines, inserts, rest).map(Some),
            b'n' => lines.end_line()?,
            b't' if lines.wraps() => lines.end_line()?, // lines of so few columns have no tabs
            b't' => lines.put(TAB)?,
            b'r' => {
                lines.put(CR)?;
                lines.begin();
            }
            _ => {
                if self.ignore_inserts {
                    lines.add(PERCENT)?;
                }
                lines.add(unit)?;
            }
        }
        Ok(Some(more))
    }

    /// An insert of that number, as `printf` writes it.
    fn numbered<'t>(
        &self,
        lines: &mut Lines,
        inserts: &mut Inserts,
        rest: &'t [u16],
    ) -> Result<&'t [u16], u32> {
        let ascii = |unit: &u16| u8::try_from(*unit).unwrap_or(0);
        let digits = rest.iter().take(2).map(ascii).take_while(u8::is_ascii_digit);
        let (len, number) = digits.fold((0, 0), |(len, n), d| (len + 1, n * 10 + usize::from(d - b'0')));
        let mut rest = &rest[len..];
        let mut spec = b"s".to_vec();
        if let Some(format) = rest.strip_prefix(&[u16::from(b'!')]) {
            let end = format.iter().position(|&unit| unit == u16::from(b'!')).ok_or(INVALID_PARAMETER)?;
            if end > LONGEST {
                return Err(INVALID_PARAMETER);
            }
            spec = format[..end].iter().map(ascii).collect();
            rest = &format[end + 1..];
        }
        if inserts.is_null() {
            return Err(INVALID_PARAMETER);
        }
        lines.insert(&self.formatted(&spec, inserts, number)?)?;
        Ok(rest)
    }

    fn formatted(&self, spec: &[u8], inserts: &mut Inserts, number: usize) -> Result<Vec<u16>, u32> {
        let stars = spec.iter().filter(|&&c| c == b'*').count();
        let mut slots = [0; 3];
        match stars {
            0 => slots[0] = inserts.number(number),
            1 => slots[..2].copy_from_slice(&[inserts.number(number), inserts.next(false)]),
            2 => slots = [inserts.number(number), inserts.next(true), inserts.next(false)],
            _ => return Err(INVALID_PARAMETER),
        }
        if spec.is_empty() {
            return Ok(Vec::new());
        }
        let width = if self.narrow { Width::Narrow } else { Width::Wide };
        let pattern: Vec<u16> = iter::once(PERCENT).chain(spec.iter().map(|&byte| byte.into())).collect();
        let slots = Ptr::from_guest(slots.as_ptr().expose_provenance() as u64);
        format::format(&pattern, Arguments::new(slots), Style::msvcrt(width)).ok_or(INVALID_PARAMETER)
    }
}

const PERCENT: u16 = b'%' as u16;

extern "win64" fn RtlFormatMessage(
    text: Ptr<u16>,
    width: u32,
    ignore_inserts: u8,
    narrow: u8,
    array: u8,
    arguments: Ptr<Ptr<u64>>,
    to: Ptr<u16>,
    room: u32,
    done: Ptr<u32>,
) -> u32 {
    if text.is_null() || to.is_null() {
        return INVALID_PARAMETER;
    }
    let text = text.text();
    let (ignore_inserts, narrow, room) = (ignore_inserts != 0, narrow != 0, room as usize / 2);
    let message = Message { text: &text, width, ignore_inserts, narrow, room };
    let (out, written) = message.write_from(array != 0, arguments);
    to.fill(&out);
    match written {
        Err(status) => status,
        Ok(()) if out.len() >= room => BUFFER_OVERFLOW,
        Ok(()) => {
            to.at(out.len()).set(0);
            done.put(crate::text::length((out.len() + 1) * 2));
            SUCCESS
        }
    }
}

impl Message<'_> {
    /// With inserts from an array, or from the place of a `va_list`, which goes on behind what was taken.
    pub(crate) fn write_from(&self, array: bool, arguments: Ptr<Ptr<u64>>) -> (Vec<u16>, Result<(), u32>) {
        if array || arguments.is_null() {
            return self.write(&mut Inserts::array(arguments.cast()));
        }
        let mut inserts = Inserts::list(arguments.get());
        let written = self.write(&mut inserts);
        if let Inserts::List { rest, .. } = inserts {
            arguments.set(rest);
        }
        written
    }
}

/// The entry of a message in a module's table: its text, whether that is wide, and where the entry is.
pub(crate) struct Entry {
    pub bytes: &'static [u8],
    pub wide: bool,
    pub at: usize,
}

/// Looks a message up in the table that a module has among its resources.
pub(crate) fn lookup(module: usize, kind: u16, language: u16, id: u32) -> Result<Entry, u32> {
    const WIDE: u16 = 1;
    let home = Home::of(module)?;
    let found = home.find(&ResourceId::Number(kind), &ResourceId::Number(1), language)?;
    let table = home.bytes(&found)?;
    let word = |at: usize| table.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four));
    let half = |at: usize| table.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two));
    let entry = || {
        let mut blocks = (0..word(0)? as usize).map_while(|nth| {
            let at = 4 + nth * 12;
            Some((word(at)?, word(at + 4)?, word(at + 8)? as usize))
        });
        let (low, _, mut at) = blocks.find(|(low, high, _)| (*low..=*high).contains(&id))?;
        for _ in low..id {
            at += usize::from(half(at)?).max(4); // an entry has at least its length and its flags
        }
        let (len, flags) = (usize::from(half(at)?), half(at + 2)?);
        let bytes = table.get(at + 4..at.checked_add(len)?)?;
        Some(Entry { bytes, wide: flags & WIDE != 0, at: table.as_ptr().expose_provenance() + at })
    };
    entry().ok_or(crate::kernel32::error::code::MR_MID_NOT_FOUND)
}

extern "win64" fn RtlFindMessage(module: usize, kind: u32, language: u32, id: u32, out: Ptr<usize>) -> u32 {
    if out.is_null() {
        return INVALID_PARAMETER;
    }
    match lookup(module, kind as u16, language as u16, id) {
        Ok(entry) => {
            out.set(entry.at);
            SUCCESS
        }
        Err(crate::kernel32::error::code::MR_MID_NOT_FOUND) => MESSAGE_NOT_FOUND,
        Err(_) => RESOURCE_DATA_NOT_FOUND,
    }
}

table! {
    /// Messages.
    pub(crate) TABLE: RtlFormatMessage, RtlFindMessage
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use crate::text::wide;

    fn of(text: &str, width: u32, slots: &[u64]) -> Result<String, u32> {
        let text = wide(text);
        // SAFETY: the slots outlive the call, and the texts take no more than are there.
        let mut inserts = Inserts::array(unsafe { Ptr::new(slots.as_ptr().cast_mut()) });
        let message = Message { text: &text, width, ignore_inserts: false, narrow: true, room: 1000 };
        let (out, done) = message.write(&mut inserts);
        done.map(|()| String::from_utf16(&out).unwrap())
    }

    #[test]
    fn inserts_and_line_ends() {
        let text = c"one".as_ptr().expose_provenance() as u64;
        let slots = [text, 2, text];
        assert_eq!(of("%1 and %2!04d!, %3!5s!", 0, &slots).unwrap(), "one and 0002,   one");
        assert_eq!(of("a%nb\nc\r\nd\re", 0, &[]).unwrap(), "a\r\nb\r\nc\r\nd\r\ne");
        assert_eq!(of("a\r\nb%nc", 0xff, &[]).unwrap(), "a b\r\nc");
        assert_eq!(of("100%% of %1%0 and no more", 0, &slots).unwrap(), "100% of one");
        assert_eq!(of("100%", 0, &[]), Err(INVALID_PARAMETER));
        assert_eq!(of("%2!d", 0, &slots), Err(INVALID_PARAMETER));
        assert_eq!(of("%1!***d!", 0, &slots), Err(INVALID_PARAMETER));
    }

    #[test]
    fn lines_are_wrapped() {
        assert_eq!(of("short long.line", 11, &[]).unwrap(), "short\r\nlong.line");
        assert_eq!(of("abcdef", 4, &[]).unwrap(), "abcd\r\nef");
        // Nothing that a width or a text may be makes it go on for ever, or panic.
        for width in 0..=260 {
            assert!(of("  a  \t bb %t%r%n %  ccc\r\n\r dddddddd ", width, &[]).is_ok());
        }
    }
}
