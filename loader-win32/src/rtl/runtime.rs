//! The functions of the C runtime that ntdll has too: msvcrt's. What ntdll does otherwise is in `letters`.

use crate::crt;
use loader_core::{HostFn, HostTable};

/// Where they are, msvcrt's own before what it shares with ucrtbase.
const FROM: [&[HostTable]; 2] = [crt::MSVCRT, crt::SHARED];

/// Those that ntdll has.
const NAMES: [&str; 137] = [
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
    "iswascii",
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
    "_toupper",
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

/// The function of that name in a list of tables.
const fn find(name: &str, tables: &[HostTable]) -> Option<HostFn> {
    let mut table = 0;
    while table < tables.len() {
        let mut i = 0;
        while i < tables[table].len() {
            if same(tables[table][i].0, name) {
                return Some(tables[table][i].1);
            }
            i += 1;
        }
        table += 1;
    }
    None
}

/// The function of that name in the first table that has it.
const fn found(name: &str) -> HostFn {
    match find(name, FROM[0]) {
        Some(function) => function,
        None => find(name, FROM[1]).expect("some table has a function of that name"),
    }
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
