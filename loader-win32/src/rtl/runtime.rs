//! The functions of the C runtime that ntdll has too: msvcrt's.

use crate::{crt, guest::Ptr, kernel32::strings::to_case, variadic};
use loader_core::{HostFn, HostTable};

/// Where they are, msvcrt's own before what it shares with ucrtbase.
const FROM: &[HostTable] = &[
    variadic::MSVCRT,
    crt::convert::MSVCRT,
    crt::ctype::MSVCRT,
    crt::files::MSVCRT,
    crt::print::MSVCRT,
    crt::wide::MSVCRT,
    crt::convert::TABLE,
    crt::ctype::TABLE,
    crt::files::TABLE,
    crt::folders::TABLE,
    crt::math::TABLE,
    crt::memory::TABLE,
    crt::sort::TABLE,
    crt::string::TABLE,
    crt::wide::TABLE,
];

/// Those that ntdll has.
const NAMES: [&str; 159] = [
    "abs",
    "atan",
    "atan2",
    "_atoi64",
    "bsearch",
    "bsearch_s",
    "ceil",
    "cos",
    "fabs",
    "floor",
    "_i64toa",
    "_i64toa_s",
    "_i64tow",
    "_i64tow_s",
    "isalnum",
    "isalpha",
    "iscntrl",
    "isdigit",
    "isgraph",
    "islower",
    "isprint",
    "ispunct",
    "isspace",
    "isupper",
    "iswalnum",
    "iswalpha",
    "iswascii",
    "iswctype",
    "iswdigit",
    "iswgraph",
    "iswlower",
    "iswprint",
    "iswspace",
    "iswxdigit",
    "isxdigit",
    "_itoa",
    "_itoa_s",
    "_itow",
    "_itow_s",
    "labs",
    "_lfind",
    "log",
    "_ltoa",
    "_ltoa_s",
    "_ltow",
    "_ltow_s",
    "_makepath_s",
    "mbstowcs",
    "_memccpy",
    "memchr",
    "memcmp",
    "memcpy",
    "memcpy_s",
    "_memicmp",
    "memmove",
    "memmove_s",
    "memset",
    "pow",
    "qsort",
    "qsort_s",
    "sin",
    "_snprintf",
    "_snprintf_s",
    "_snwprintf",
    "_snwprintf_s",
    "_splitpath",
    "_splitpath_s",
    "sprintf",
    "sprintf_s",
    "sqrt",
    "sscanf",
    "strcat",
    "strcat_s",
    "strchr",
    "strcmp",
    "_strcmpi",
    "strcpy",
    "strcpy_s",
    "strcspn",
    "_stricmp",
    "strlen",
    "_strlwr",
    "_strlwr_s",
    "strncat",
    "strncat_s",
    "strncmp",
    "strncpy",
    "strncpy_s",
    "_strnicmp",
    "strnlen",
    "strpbrk",
    "strrchr",
    "strspn",
    "strstr",
    "strtok_s",
    "strtol",
    "strtoul",
    "_strupr",
    "_strupr_s",
    "_swprintf",
    "swprintf",
    "swprintf_s",
    "tan",
    "_tolower",
    "tolower",
    "_toupper",
    "toupper",
    "_ui64toa",
    "_ui64toa_s",
    "_ui64tow",
    "_ui64tow_s",
    "_ultoa",
    "_ultoa_s",
    "_ultow",
    "_ultow_s",
    "_vscprintf",
    "_vscwprintf",
    "_vsnprintf",
    "_vsnprintf_s",
    "_vsnwprintf",
    "_vsnwprintf_s",
    "vsprintf",
    "vsprintf_s",
    "_vswprintf",
    "vswprintf_s",
    "wcscat",
    "wcscat_s",
    "wcschr",
    "wcscmp",
    "wcscpy",
    "wcscpy_s",
    "wcscspn",
    "_wcsicmp",
    "wcslen",
    "_wcslwr",
    "_wcslwr_s",
    "wcsncat",
    "wcsncat_s",
    "wcsncmp",
    "wcsncpy",
    "wcsncpy_s",
    "_wcsnicmp",
    "wcsnlen",
    "wcspbrk",
    "wcsrchr",
    "wcsspn",
    "wcsstr",
    "_wcstoi64",
    "wcstok",
    "wcstok_s",
    "wcstol",
    "wcstombs",
    "_wcstoui64",
    "wcstoul",
    "_wcsupr",
    "_wcsupr_s",
    "_wmakepath_s",
    "_wsplitpath_s",
    "_wtoi64",
];

/// Whether two names are the same.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while a.len() == b.len() && i < a.len() && a[i] == b[i] {
        i += 1;
    }
    a.len() == b.len() && i == a.len()
}

/// The function of that name in the first table that has it.
const fn found(name: &str) -> HostFn {
    let mut table = 0;
    while table < FROM.len() {
        let mut i = 0;
        while i < FROM[table].len() {
            if same(FROM[table][i].0, name) {
                return FROM[table][i].1;
            }
            i += 1;
        }
        table += 1;
    }
    panic!("no table has a function of that name")
}

const FUNCTIONS: [(&str, HostFn); NAMES.len()] = {
    let mut all = [("", found(NAMES[0])); NAMES.len()];
    let mut i = 0;
    while i < NAMES.len() {
        all[i] = (NAMES[i], found(NAMES[i]));
        i += 1;
    }
    all
};

/// The C functions of ntdll.
pub(crate) const TABLE: HostTable = &FUNCTIONS;

// What ntdll does in its own way: numbers that do not fit are cut off, and letters have the case of the system.

/// The number at the start of a text: 32 bits of it.
fn number(units: impl Iterator<Item = u16>) -> i32 {
    let blank = |unit: &u16| matches!(unit, 9..=13 | 0x20 | 0xa0);
    let mut units = units.skip_while(blank).peekable();
    let sign = units.next_if(|unit| [b'-', b'+'].map(u16::from).contains(unit));
    let digits = units.map_while(|unit| char::from_u32(unit.into()).and_then(|c| c.to_digit(10)));
    let amount = digits.fold(0u32, |n, digit| n.wrapping_mul(10).wrapping_add(digit)).cast_signed();
    if sign == Some(b'-'.into()) { amount.wrapping_neg() } else { amount }
}

extern "win64" fn atoi(text: Ptr<u8>) -> i32 {
    number(text.text().iter().map(|&byte| byte.into()))
}

extern "win64" fn _wtoi(text: Ptr<u16>) -> i32 {
    number(text.text().iter().copied())
}

/// Only letters of Latin-1 are made small.
extern "win64" fn towlower(unit: u16) -> u16 {
    match unit {
        0..0x100 => to_case(unit, false),
        _ => unit,
    }
}

extern "win64" fn towupper(unit: u16) -> u16 {
    to_case(unit, true)
}

table! {
    /// ntdll's own.
    pub(crate) OWN: atoi, atol = atoi, _wtoi, _wtol = _wtoi, towlower, towupper
}
