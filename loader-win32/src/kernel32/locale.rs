//! Locales: English (United States), which is the user's, the system's and every thread's, and the invariant one. What they
//! say is what Windows says of them; nobody has changed anything.

use super::{
    Bool, FALSE, TRUE,
    error::code,
    fail,
    strings::{ansi, give},
};
use crate::{
    crt::strftime::{DAYS, MONTHS},
    guest::Ptr,
    text,
};

/// A locale that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locale {
    English,
    Invariant,
}

use Locale::{English, Invariant};

impl Locale {
    /// The one of an identifier: neutral, the user's and the system's are the user's.
    pub(crate) fn of_id(id: u32) -> Result<Self, u32> {
        match id {
            0 | 0x400 | 0x800 | 0x409 => Ok(English),
            0x7f => Ok(Invariant),
            _ => Err(code::INVALID_PARAMETER),
        }
    }

    /// The one of a name, in any case; null means the user's.
    pub(crate) fn named(name: Ptr<u16>) -> Result<Self, u32> {
        if name.is_null() {
            return Ok(English);
        }
        match name.string().to_ascii_lowercase().as_str() {
            "en-us" | "!x-sys-default-locale" => Ok(English),
            "" => Ok(Invariant),
            _ => Err(code::INVALID_PARAMETER),
        }
    }

    fn id(self) -> u32 {
        self.number(LOCALE_ILANGUAGE).unwrap_or(0)
    }

    /// The text of a kind of information.
    pub(crate) fn text(self, kind: u32) -> Option<String> {
        let row = TEXTS.iter().find(|(k, ..)| *k == kind);
        let plain = row.map(|&(_, english, invariant)| match self {
            English => english,
            Invariant => invariant.unwrap_or(english),
        });
        plain.or_else(|| name_of_day_or_month(kind)).map(Into::into).or_else(|| {
            let n = self.number(kind)?;
            Some(match kind {
                LOCALE_ILANGUAGE | LOCALE_IDEFAULTLANGUAGE => format!("{n:04x}"),
                LOCALE_IDEFAULTEBCDICCODEPAGE => format!("{n:03}"),
                _ => n.to_string(),
            })
        })
    }

    /// The number of a kind of information that is one.
    fn number(self, kind: u32) -> Option<u32> {
        let &(_, english, invariant) = NUMBERS.iter().find(|(k, ..)| *k == kind)?;
        Some(if self == English { english } else { invariant })
    }
}

const LOCALE_ILANGUAGE: u32 = 1;
const LOCALE_IDEFAULTLANGUAGE: u32 = 9;
const LOCALE_FONTSIGNATURE: u32 = 0x58;
const LOCALE_SNAME: u32 = 0x5c;
const LOCALE_IDEFAULTEBCDICCODEPAGE: u32 = 0x1012;

/// Kinds of information (`LCTYPE`) that are numbers: in English (United States), and in the invariant locale.
const NUMBERS: &[(u32, u32, u32)] = &[
    (0x1, 1033, 127),
    (0x5, 1, 1),
    (0x9, 1033, 1033),
    (0xa, 1, 1),
    (0xb, 437, 437),
    (0xd, 1, 0),
    (0x11, 2, 2),
    (0x12, 1, 1),
    (0x19, 2, 2),
    (0x1a, 2, 2),
    (0x1b, 0, 0),
    (0x1c, 0, 0),
    (0x21, 0, 0),
    (0x22, 0, 1),
    (0x23, 0, 1),
    (0x24, 1, 1),
    (0x25, 0, 1),
    (0x26, 0, 1),
    (0x27, 0, 1),
    (0x52, 3, 3),
    (0x53, 0, 0),
    (0x54, 1, 1),
    (0x55, 0, 0),
    (0x56, 1, 1),
    (0x57, 0, 0),
    (0x5b, 244, 244),
    (0x70, 0, 0),
    (0x71, 0, 0),
    (0x74, 1, 0),
    (0x75, 1, 0),
    (0x7d, 0, 0),
    (0x1004, 1252, 1252),
    (0x1005, 0, 0),
    (0x1009, 1, 1),
    (0x100a, 1, 9),
    (0x100b, 0, 0),
    (0x100c, 6, 6),
    (0x100d, 0, 0),
    (0x1010, 1, 1),
    (0x1011, 10000, 10000),
    (0x1012, 37, 37),
    (0x1014, 1, 1),
];

/// Kinds that are texts, and what the invariant locale has where it is another one.
const TEXTS: &[(u32, &str, Option<&str>)] = &[
    (0x2, "English (United States)", Some("Invariant Language (Invariant Country)")),
    (0x3, "ENU", Some("IVL")),
    (0x4, "English", Some("Invariant Language")),
    (0x6, "United States", Some("Invariant Country")),
    (0x7, "USA", Some("")),
    (0x8, "United States", Some("Invariant Country")),
    (0xc, ",", None),
    (0xe, ".", None),
    (0xf, ",", None),
    (0x10, "3;0", None),
    (0x13, "0123456789", None),
    (0x14, "$", Some("¤")),
    (0x15, "USD", Some("XDR")),
    (0x16, ".", None),
    (0x17, ",", None),
    (0x18, "3;0", None),
    (0x1d, "/", None),
    (0x1e, ":", None),
    (0x1f, "M/d/yyyy", Some("MM/dd/yyyy")),
    (0x20, "dddd, MMMM d, yyyy", Some("dddd, dd MMMM yyyy")),
    (0x28, "AM", None),
    (0x29, "PM", None),
    (0x50, "", Some("+")),
    (0x51, "-", None),
    (0x59, "en", Some("iv")),
    (0x5a, "US", Some("IV")),
    (0x5c, "en-US", Some("")),
    (0x5d, "hh:mm:ss", None),
    (0x5e, "0409:00000409", None),
    (0x67, "eng", Some("ivl")),
    (0x68, "USA", Some("")),
    (0x69, "NaN", None),
    (0x6a, "∞", Some("Infinity")),
    (0x6b, "-∞", Some("-Infinity")),
    (0x6c, "Latn;", None),
    (0x6d, "en", Some("")),
    (0x6e, "en-US", Some("")),
    (0x6f, "English", Some("Invariant Language")),
    (0x72, "English (United States)", Some("Invariant Language (Invariant Country)")),
    (0x73, "English (United States)", Some("Invariant Language (Invariant Region)")),
    (0x76, "%", None),
    (0x77, "‰", None),
    (0x78, "MMMM d", Some("MMMM dd")),
    (0x79, "h:mm tt", Some("HH:mm")),
    (0x7a, "ENG ", Some("dflt")),
    (0x7b, "en-US", Some("")),
    (0x7c, "dddd, MMM d", Some("dddd, MMMM dd")),
    (0x7e, "a", None),
    (0x7f, "p", None),
    (0x1001, "English", Some("Invariant Language")),
    (0x1002, "United States", Some("Invariant Country")),
    (0x1003, "h:mm:ss tt", Some("HH:mm:ss")),
    (0x1006, "MMMM yyyy", Some("yyyy MMMM")),
    (0x1007, "US Dollar", Some("International Monetary Fund")),
    (0x1008, "US Dollar", Some("International Monetary Fund")),
    (0x100e, "", None),
    (0x100f, "", None),
    (0x1013, "Default", Some("Maths Alphanumerics")),
];

/// Days and months, whole or by their first letters: each has a kind of its own. Weeks begin on Monday here.
fn name_of_day_or_month(kind: u32) -> Option<&'static str> {
    let (name, first, letters): (fn(u16) -> &'static str, u32, usize) = match kind {
        0x2a..=0x30 => (day, 0x2a, usize::MAX),
        0x31..=0x37 => (day, 0x31, 3),
        0x38..=0x43 => (month, 0x38, usize::MAX),
        0x44..=0x4f => (month, 0x44, 3),
        0x60..=0x66 => (day, 0x60, 2),
        _ => return None,
    };
    let name = name((kind - first) as u16 + 1);
    Some(&name[..name.len().min(letters)])
}

/// The name of a day of the week, from Sunday on, which is 0 or 7.
pub(crate) fn day(weekday: u16) -> &'static str {
    DAYS[usize::from(weekday) % 7]
}

/// The name of a month, counted from 1.
pub(crate) fn month(month: u16) -> &'static str {
    MONTHS[(usize::from(month) + 11) % 12]
}

/// Which characters fonts must have: those of Latin scripts (`LOCALESIGNATURE`).
const FONTS: [u16; 16] = [3, 0, 0, 0, 0, 0, 0, 0x8000, 1, 0, 0, 0x8000, 0x19f, 0, 0, 0xdfd7];

/// The number is wanted, not its text.
const RETURN_NUMBER: u32 = 0x2000_0000;
/// What does not change the answer here: no overrides by the user, the system's code page, months as in dates.
const NO_MATTER: u32 = 0xd000_0000;

/// What is asked for, in the units in which it is given out.
fn information(locale: Locale, asked: u32) -> Result<Vec<u16>, u32> {
    let kind = asked & !NO_MATTER;
    if kind & RETURN_NUMBER != 0 {
        let number = locale.number(kind & !RETURN_NUMBER).ok_or(code::INVALID_FLAGS)?;
        return Ok(vec![number as u16, (number >> 16) as u16]);
    }
    match kind {
        LOCALE_FONTSIGNATURE => Ok(FONTS.to_vec()),
        _ => locale.text(kind).map(|text| text::wide_z(&text)).ok_or(code::INVALID_FLAGS),
    }
}

/// Where an answer of so many elements may go; without room, its length is wanted.
pub(crate) fn room_is_valid<T>(to: Ptr<T>, room: i32) -> Result<(), u32> {
    if room < 0 || room > 0 && to.is_null() { Err(code::INVALID_PARAMETER) } else { Ok(()) }
}

extern "win64" fn GetLocaleInfoEx(name: Ptr<u16>, kind: u32, to: Ptr<u16>, room: i32) -> i32 {
    let locale = room_is_valid(to, room).and_then(|()| Locale::named(name));
    locale.and_then(|locale| information(locale, kind)).map_or_else(fail, |info| give(&info, to, room))
}

extern "win64" fn GetLocaleInfoW(id: u32, kind: u32, to: Ptr<u16>, room: i32) -> i32 {
    let locale = room_is_valid(to, room).and_then(|()| Locale::of_id(id));
    locale.and_then(|locale| information(locale, kind)).map_or_else(fail, |info| give(&info, to, room))
}

/// Numbers and the fonts' bits are the same bytes.
extern "win64" fn GetLocaleInfoA(id: u32, kind: u32, to: Ptr<u8>, room: i32) -> i32 {
    let locale = room_is_valid(to, room).and_then(|()| Locale::of_id(id));
    let bytes = locale.and_then(|locale| information(locale, kind)).map(|info| {
        match kind & RETURN_NUMBER != 0 || kind & !NO_MATTER == LOCALE_FONTSIGNATURE {
            true => info.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            false => ansi(&info),
        }
    });
    bytes.map_or_else(fail, |bytes: Vec<u8>| give(&bytes, to, room))
}

/// The user's language: English (United States), the one whose messages are known.
extern "win64" fn GetUserDefaultLCID() -> u32 {
    English.id()
}

extern "win64" fn GetUserDefaultLangID() -> u16 {
    English.id() as u16
}

extern "win64" fn GetUserDefaultLocaleName(to: Ptr<u16>, room: i32) -> i32 {
    give(&text::wide_z("en-US"), to, room.max(1))
}

extern "win64" fn IsValidLocale(locale: u32, _flags: u32) -> Bool {
    Locale::of_id(locale).is_ok().into()
}

extern "win64" fn IsValidLocaleName(name: Ptr<u16>) -> Bool {
    (!name.is_null() && Locale::named(name).is_ok()).into()
}

extern "win64" fn LocaleNameToLCID(name: Ptr<u16>, _flags: u32) -> u32 {
    Locale::named(name).map_or_else(|error| fail(error) as u32, Locale::id)
}

extern "win64" fn LCIDToLocaleName(id: u32, to: Ptr<u16>, room: i32, _flags: u32) -> i32 {
    let name = room_is_valid(to, room).and_then(|()| Locale::of_id(id));
    let name = name.map(|locale| text::wide_z(&locale.text(LOCALE_SNAME).unwrap_or_default()));
    name.map_or_else(fail, |name| give(&name, to, room))
}

/// A function that guest code has called for every locale, with its text.
type Each = unsafe extern "win64" fn(*mut u16, u32, usize) -> Bool;

/// Calls it with a text that it may write to.
fn call(f: Each, text: &str, flags: u32, own: usize) -> Bool {
    let mut units = text::wide_z(text);
    #[allow(unsafe_code)]
    // SAFETY: the guest passed a function that takes a text and what else its enumeration gives, as this is one.
    unsafe {
        f(units.as_mut_ptr(), flags, own)
    }
}

/// Their identifiers, as eight digits; the function takes no more than the text.
extern "win64" fn EnumSystemLocalesW(f: Option<Each>, _flags: u32) -> Bool {
    let Some(f) = f else { return fail(code::INVALID_PARAMETER) };
    call(f, &format!("{:08x}", English.id()), 0, 0);
    TRUE
}

/// A locale that belongs to Windows, with a region (`LOCALE_WINDOWS`, `LOCALE_SPECIFICDATA`).
const WINDOWS: u32 = 0x21;

/// Their names: the invariant one first, whose name is empty.
extern "win64" fn EnumSystemLocalesEx(f: Option<Each>, _flags: u32, own: usize, reserved: usize) -> Bool {
    let Some(f) = f.filter(|_| reserved == 0) else { return fail(code::INVALID_PARAMETER) };
    let goes_on = call(f, "", 1, own) != FALSE;
    if goes_on {
        call(f, "en-US", WINDOWS, own);
    }
    TRUE
}

/// Languages are given by identifier (`MUI_LANGUAGE_ID`), not by name.
const BY_ID: u32 = 4;
const BY_NAME: u32 = 8;

/// The languages in which messages are shown, each with a zero, and one more at the end.
extern "win64" fn GetUserPreferredUILanguages(
    flags: u32,
    count: Ptr<u32>,
    to: Ptr<u16>,
    room: Ptr<u32>,
) -> Bool {
    if count.is_null() || room.is_null() || flags & BY_ID != 0 && flags & BY_NAME != 0 || flags & !0xfff != 0
    {
        return fail(code::INVALID_PARAMETER);
    }
    let list = text::wide(if flags & BY_ID != 0 { "0409\0\0" } else { "en-US\0\0" });
    let had = room.get() as usize;
    if to.is_null() && had != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    room.set(text::length(list.len()));
    if !to.is_null() && had < list.len() {
        return fail(code::INSUFFICIENT_BUFFER);
    }
    count.set(1);
    if !to.is_null() {
        to.fill(&list);
    }
    TRUE
}

table! {
    /// Locales.
    pub(crate) TABLE:
        GetLocaleInfoEx, GetLocaleInfoW, GetLocaleInfoA, GetUserDefaultLCID, GetSystemDefaultLCID = GetUserDefaultLCID,
        GetThreadLocale = GetUserDefaultLCID, GetUserDefaultLocaleName, GetSystemDefaultLocaleName = GetUserDefaultLocaleName,
        IsValidLocale, IsValidLocaleName, LocaleNameToLCID, LCIDToLocaleName, EnumSystemLocalesW, EnumSystemLocalesEx,
        GetUserDefaultLangID, GetSystemDefaultLangID = GetUserDefaultLangID, GetUserDefaultUILanguage = GetUserDefaultLangID,
        GetSystemDefaultUILanguage = GetUserDefaultLangID, GetUserPreferredUILanguages,
        GetSystemPreferredUILanguages = GetUserPreferredUILanguages, GetThreadPreferredUILanguages = GetUserPreferredUILanguages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_listed_once_and_in_order() {
        assert!(NUMBERS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TEXTS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(TEXTS.iter().all(|row| NUMBERS.iter().all(|number| number.0 != row.0)));
    }

    /// By Microsoft's tables of LCTYPE constants.
    #[test]
    fn what_locales_say() {
        let said = |locale: Locale, kind| locale.text(kind).unwrap();
        assert_eq!(
            [1, 9, 0x1f, 0x1003, 0x1004, 0x1012].map(|k| said(English, k)),
            ["0409", "0409", "M/d/yyyy", "h:mm:ss tt", "1252", "037"]
        );
        assert_eq!(
            [0x2a, 0x30, 0x31, 0x37, 0x60, 0x38, 0x43, 0x44, 0x4f].map(|k| said(Invariant, k)),
            ["Monday", "Sunday", "Mon", "Sun", "Mo", "January", "December", "Jan", "Dec"]
        );
        assert_eq!(said(Invariant, LOCALE_SNAME), "");
        assert_eq!(English.text(0x9999), None);
        assert_eq!((day(0), day(6), month(1), month(12)), ("Sunday", "Saturday", "January", "December"));
    }
}
