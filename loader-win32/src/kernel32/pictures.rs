//! Dates and times as a locale writes them, or by a picture like `dddd, MMMM d, yyyy` or `h:mm:ss tt`.

use super::{
    error::code,
    fail,
    locale::{self, Locale, room_is_valid},
    strings::give,
    time::{SystemTime, from_system_time, local_time, to_system_time},
};
use crate::{
    guest::Ptr,
    text::{self, Text},
};

/// A piece of a picture: text that stays, or a letter and how often it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Plain(u16),
    Field(u8, usize),
}

/// The pieces of a picture in which these letters mean something. What is between quotes stays; two quotes there are one.
fn pieces(picture: &[u16], letters: &[u8]) -> Vec<Piece> {
    const QUOTE: u16 = b'\'' as u16;
    let mut out = Vec::new();
    let mut rest = picture;
    let mut quoted = false;
    while let Some((&unit, behind)) = rest.split_first() {
        rest = behind;
        match unit {
            QUOTE if quoted && rest.first() == Some(&QUOTE) => {
                rest = &rest[1..];
                out.push(Piece::Plain(QUOTE));
            }
            QUOTE => quoted = !quoted,
            _ => match letters.iter().find(|&&letter| u16::from(letter) == unit && !quoted) {
                None => out.push(Piece::Plain(unit)),
                Some(&letter) => {
                    let more = rest.iter().take_while(|&&next| next == unit).count();
                    rest = &rest[more..];
                    out.push(Piece::Field(letter, more + 1));
                }
            },
        }
    }
    out
}

/// A number, with a zero before it where it has one digit and the picture two or more.
fn digits(n: u16, wanted: usize) -> String {
    if wanted == 1 { n.to_string() } else { format!("{n:02}") }
}

fn short(name: &str, wanted: usize) -> String {
    name.chars().take(if wanted == 3 { 3 } else { usize::MAX }).collect()
}

fn date_field(t: &SystemTime, letter: u8, wanted: usize) -> String {
    match (letter, wanted) {
        (b'd', 1 | 2) => digits(t.day, wanted),
        (b'd', _) => short(locale::day(t.weekday), wanted),
        (b'M', 1 | 2) => digits(t.month, wanted),
        (b'M', _) => short(locale::month(t.month), wanted),
        (b'y', 1 | 2) => digits(t.year % 100, wanted),
        (b'y', _) => t.year.to_string(),
        _ => "AD".into(), // g, the era
    }
}

fn date(picture: &[u16], t: &SystemTime) -> Vec<u16> {
    let mut out = Vec::new();
    for piece in pieces(picture, b"dMyg") {
        match piece {
            Piece::Plain(unit) => out.push(unit),
            Piece::Field(letter, wanted) => out.extend(date_field(t, letter, wanted).encode_utf16()),
        }
    }
    out
}

const NO_MINUTES: u32 = 1;
const NO_SECONDS: u32 = 2;
const NO_MARKER: u32 = 4;
const FORCE_24_HOURS: u32 = 8;

/// `None` for a field that the flags leave out.
fn time_field(t: &SystemTime, letter: u8, wanted: usize, flags: u32) -> Option<String> {
    let without = |flag| flags & flag != 0;
    match letter {
        b'h' if !without(FORCE_24_HOURS) => Some(digits((t.hour + 11) % 12 + 1, wanted)),
        b'h' | b'H' => Some(digits(t.hour, wanted)),
        b'm' => (!without(NO_MINUTES)).then(|| digits(t.minute, wanted)),
        b's' => (!without(NO_MINUTES | NO_SECONDS)).then(|| digits(t.second, wanted)),
        _ => {
            let marker = if t.hour < 12 { "AM" } else { "PM" };
            (!without(NO_MARKER)).then(|| marker[..wanted.min(2)].into())
        }
    }
}

/// A field that is left out takes with it what stands between it and the field before.
fn time(picture: &[u16], t: &SystemTime, flags: u32) -> Vec<u16> {
    let (mut out, mut fields_end) = (Vec::new(), 0);
    for piece in pieces(picture, b"hHmst") {
        match piece {
            Piece::Plain(unit) => out.push(unit),
            Piece::Field(letter, wanted) => match time_field(t, letter, wanted, flags) {
                Some(text) => {
                    out.extend(text.encode_utf16());
                    fields_end = out.len();
                }
                None => out.truncate(fields_end),
            },
        }
    }
    out
}

/// What the user changed does not count (`LOCALE_NOUSEROVERRIDE`): that is nothing.
const NO_OVERRIDE: u32 = 0x8000_0000;

/// What a function was given, in one form for all of them.
struct Asked {
    locale: Result<Locale, u32>,
    flags: u32,
    /// Null: now.
    at: Ptr<SystemTime>,
    /// `None`: as the locale has it.
    picture: Option<Vec<u16>>,
}

const SHORT_DATE: u32 = 1;
const LONG_DATE: u32 = 2;
const YEAR_MONTH: u32 = 8;
const MONTH_DAY: u32 = 0x80;
/// The flags that choose a picture of the locale.
const CHOICE: u32 = SHORT_DATE | LONG_DATE | YEAR_MONTH | MONTH_DAY;
/// Another calendar where there is one, and the direction of reading.
const DATE_FLAGS: u32 = CHOICE | NO_OVERRIDE | 0x74;

/// The locale's own picture, as information of that kind.
fn usual(locale: Locale, kind: u32) -> Vec<u16> {
    text::wide(&locale.text(kind).unwrap_or_default())
}

impl Asked {
    fn date(self) -> Result<Vec<u16>, u32> {
        let chosen = self.flags & CHOICE;
        let choices = chosen.count_ones() + u32::from(self.picture.is_some());
        if choices > 1 || self.flags & !DATE_FLAGS != 0 {
            return Err(code::INVALID_FLAGS);
        }
        let (locale, at) = (self.locale?, self.at);
        let given = if at.is_null() { local_time() } else { at.get() };
        let midnight = SystemTime { hour: 0, minute: 0, second: 0, millisecond: 0, ..given };
        // The day of the week is what it is, whatever is said of it.
        let day = from_system_time(&midnight).and_then(to_system_time).ok_or(code::INVALID_PARAMETER)?;
        let kind = match chosen {
            LONG_DATE => 0x20,
            YEAR_MONTH => 0x1006,
            MONTH_DAY => 0x78,
            _ => 0x1f,
        };
        Ok(date(&self.picture.unwrap_or_else(|| usual(locale, kind)), &day))
    }

    fn time(self) -> Result<Vec<u16>, u32> {
        let known = NO_MINUTES | NO_SECONDS | NO_MARKER | FORCE_24_HOURS | NO_OVERRIDE;
        if self.flags & !known != 0 {
            return Err(code::INVALID_FLAGS);
        }
        let (locale, at) = (self.locale?, self.at);
        let t = if at.is_null() { local_time() } else { at.get() };
        if t.hour >= 24 || t.minute >= 60 || t.second >= 60 {
            return Err(code::INVALID_PARAMETER);
        }
        Ok(time(&self.picture.unwrap_or_else(|| usual(locale, 0x1003)), &t, self.flags))
    }
}

/// The text with its zero, where there is room for it.
fn give_text<T: Text>(text: Result<Vec<u16>, u32>, to: Ptr<T>, room: i32) -> i32 {
    let text = room_is_valid(to, room).and(text);
    text.map_or_else(fail, |text| give(&[&T::of_units(&text)[..], &[T::default()]].concat(), to, room))
}

fn picture<T: Text>(picture: Ptr<T>) -> Option<Vec<u16>> {
    (!picture.is_null()).then(|| T::units(picture))
}

extern "win64" fn GetDateFormatEx(
    name: Ptr<u16>,
    flags: u32,
    at: Ptr<SystemTime>,
    pattern: Ptr<u16>,
    to: Ptr<u16>,
    room: i32,
    _calendar: usize,
) -> i32 {
    let asked = Asked { locale: Locale::named(name), flags, at, picture: picture(pattern) };
    give_text(asked.date(), to, room)
}

extern "win64" fn GetDateFormat<T: Text>(
    id: u32,
    flags: u32,
    at: Ptr<SystemTime>,
    pattern: Ptr<T>,
    to: Ptr<T>,
    room: i32,
) -> i32 {
    let asked = Asked { locale: Locale::of_id(id), flags, at, picture: picture(pattern) };
    give_text(asked.date(), to, room)
}

extern "win64" fn GetTimeFormatEx(
    name: Ptr<u16>,
    flags: u32,
    at: Ptr<SystemTime>,
    pattern: Ptr<u16>,
    to: Ptr<u16>,
    room: i32,
) -> i32 {
    let asked = Asked { locale: Locale::named(name), flags, at, picture: picture(pattern) };
    give_text(asked.time(), to, room)
}

extern "win64" fn GetTimeFormat<T: Text>(
    id: u32,
    flags: u32,
    at: Ptr<SystemTime>,
    pattern: Ptr<T>,
    to: Ptr<T>,
    room: i32,
) -> i32 {
    let asked = Asked { locale: Locale::of_id(id), flags, at, picture: picture(pattern) };
    give_text(asked.time(), to, room)
}

table! {
    /// Dates and times as texts.
    pub(crate) TABLE:
        GetDateFormatEx, GetDateFormatW = GetDateFormat::<u16>, GetDateFormatA = GetDateFormat::<u8>, GetTimeFormatEx,
        GetTimeFormatW = GetTimeFormat::<u16>, GetTimeFormatA = GetTimeFormat::<u8>
}
