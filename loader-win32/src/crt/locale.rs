//! The locale: "C", and no other.

use super::memory::{copy_z, malloc};
use crate::{guest::Ptr, heap::Block};
use std::{ffi::CStr, ptr};

const C: &CStr = c"C";

/// The name of the locale where it is asked for or set to what it is; null where another is wanted.
extern "win64" fn setlocale(category: i32, name: Ptr<u8>) -> *const u8 {
    let known = name.is_null() || matches!(name.text(), b"" | b"C" | b"POSIX");
    if (0..=5).contains(&category) && known { C.as_ptr().cast() } else { ptr::null() }
}

extern "win64" fn _wsetlocale(category: i32, name: Ptr<u16>) -> *const u16 {
    static WIDE_C: [u16; 2] = [b'C' as u16, 0];
    let known = name.is_null() || matches!(name.string().as_str(), "" | "C" | "POSIX");
    if (0..=5).contains(&category) && known { WIDE_C.as_ptr() } else { ptr::null() }
}

/// `struct lconv`: ten texts, eight numbers, and the texts again in wide form.
#[repr(C)]
struct Conventions {
    texts: [*const u8; 10],
    numbers: [u8; 8],
    wide: [*const u16; 8],
}

#[allow(unsafe_code)]
// SAFETY: all of it is constant.
unsafe impl Sync for Conventions {}

static EMPTY: [u16; 1] = [0];
static POINT: [u16; 2] = [b'.' as u16, 0];
static CONVENTIONS: Conventions = {
    let none: *const u8 = c"".as_ptr().cast();
    let mut texts = [none; 10];
    texts[0] = c".".as_ptr().cast();
    let mut wide = [EMPTY.as_ptr(); 8];
    wide[0] = POINT.as_ptr();
    Conventions { texts, numbers: [127; 8], wide }
};

extern "win64" fn localeconv() -> *const Conventions {
    &raw const CONVENTIONS
}

/// The locale's code page: none.
extern "win64" fn ___lc_codepage_func() -> u32 {
    0
}

extern "win64" fn ___mb_cur_max_func() -> i32 {
    1
}

extern "win64" fn ___mb_cur_max_l_func(_locale: usize) -> i32 {
    1
}

/// `_locale_t`: where a locale's own tables are. Nobody looks into them but the runtime.
type Locale = Ptr<[usize; 2]>;

fn create(category: i32, known: bool) -> Locale {
    if !(0..=5).contains(&category) || !known {
        return Locale::NULL;
    }
    crate::heap::alloc(size_of::<[usize; 2]>(), true).cast()
}

/// A locale for the functions that are given one: "C", or none.
extern "win64" fn _create_locale(category: i32, name: Ptr<u8>) -> Locale {
    create(category, !name.is_null() && matches!(name.text(), b"" | b"C"))
}

extern "win64" fn _wcreate_locale(category: i32, name: Ptr<u16>) -> Locale {
    create(category, !name.is_null() && matches!(name.string().as_str(), "" | "C"))
}

/// A copy of the current one.
extern "win64" fn _get_current_locale() -> Locale {
    create(0, true)
}

extern "win64" fn _free_locale(locale: Locale) {
    crate::heap::free(locale.cast());
}

/// One name for each category; null means "C".
extern "win64" fn ___lc_locale_name_func() -> *const [usize; 6] {
    static NAMES: [usize; 6] = [0; 6];
    &raw const NAMES
}

/// Whether threads have locales of their own: they never do (2).
extern "win64" fn _configthreadlocale(kind: i32) -> i32 {
    if kind == 1 { -1 } else { 2 }
}

const DAYS: &str = ":Sun:Sunday:Mon:Monday:Tue:Tuesday:Wed:Wednesday:Thu:Thursday:Fri:Friday:Sat:Saturday";
const MONTHS: &str = ":Jan:January:Feb:February:Mar:March:Apr:April:May:May:Jun:June:Jul:July:Aug:August:Sep:September:Oct:October:Nov:November:Dec:December";

fn wide_copy(text: &str) -> Ptr<u16> {
    let units = crate::text::wide_z(text);
    let block = malloc(units.len() * 2).cast::<u16>();
    block.fill(&units);
    block
}

/// The caller frees it.
extern "win64" fn _Getdays() -> Block {
    copy_z(DAYS.as_bytes())
}

extern "win64" fn _Getmonths() -> Block {
    copy_z(MONTHS.as_bytes())
}

extern "win64" fn _W_Getdays() -> Ptr<u16> {
    wide_copy(DAYS)
}

extern "win64" fn _W_Getmonths() -> Ptr<u16> {
    wide_copy(MONTHS)
}

// The runtime's own table of names and formats for dates: 43 narrow texts, two numbers, 43 wide ones. `_Gettnames` gives
// a copy with everything in one block, which the caller frees.
const NARROW: usize = 43;

/// The texts in the table's order: days short and long, months short and long, halves of the day, formats.
fn names() -> Vec<&'static str> {
    let of = |list: &'static str, start: usize| list.split(':').skip(start).step_by(2);
    of(DAYS, 1)
        .chain(of(DAYS, 2))
        .chain(of(MONTHS, 1))
        .chain(of(MONTHS, 2))
        .chain(["AM", "PM", "MM/dd/yy", "dddd, MMMM dd, yyyy", "HH:mm:ss"])
        .collect()
}

extern "win64" fn _Gettnames() -> Block {
    let names = names();
    let head = NARROW * 8 + 8 + NARROW * 8 + 8;
    let narrow: usize = names.iter().map(|n| n.len() + 1).sum();
    let block = crate::heap::alloc(head + narrow.next_multiple_of(2) + narrow * 2, true);
    if block.is_null() {
        return block;
    }
    let (mut at, mut wide_at) = (block.at(head), block.at(head + narrow.next_multiple_of(2)).cast::<u16>());
    for (i, name) in names.iter().enumerate() {
        at.fill(name.as_bytes());
        block.at(i * 8).cast::<usize>().set(at.addr());
        at = at.at(name.len() + 1);
        wide_at.fill(&crate::text::wide(name));
        block.at(NARROW * 8 + 8 + i * 8).cast::<usize>().set(wide_at.addr());
        wide_at = wide_at.at(name.len() + 1);
    }
    block.at(NARROW * 8).cast::<u32>().set(1); // the Gregorian calendar
    block
}

table! {
    /// The locale.
    pub(crate) TABLE:
        setlocale, _wsetlocale, localeconv, ___lc_codepage_func, ___lc_collate_cp_func = ___lc_codepage_func,
        ___mb_cur_max_func, ___lc_locale_name_func, _configthreadlocale, _Getdays, _Getmonths, _W_Getdays, _W_Getmonths,
        _Gettnames, _W_Gettnames = _Gettnames, _create_locale, _wcreate_locale, _get_current_locale, _free_locale
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT: ___mb_cur_max_l_func
}
