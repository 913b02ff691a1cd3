//! msvcrt's own forms of `printf`, which call nothing in common: with and without a locale, which says nothing here.

use super::{
    invalid::refused,
    print::{Ending, Rules},
};
use crate::{
    guest::Ptr,
    stream::{self, Stream},
};

/// For bytes and for wide characters: each form, and the same with a locale before the arguments.
macro_rules! forms {
    ($($letter:ty, $to_file:ident:
        $sprintf:ident $sprintf_l:ident $snprintf:ident $snprintf_l:ident $scprintf:ident $scprintf_l:ident
        $sprintf_s:ident $sprintf_s_l:ident $snprintf_s:ident $snprintf_s_l:ident $snprintf_c:ident $snprintf_c_l:ident
        $sprintf_p:ident $sprintf_p_l:ident $scprintf_p:ident $scprintf_p_l:ident
        $fprintf:ident $fprintf_l:ident $fprintf_p:ident $fprintf_p_l:ident
        $printf:ident $printf_l:ident $printf_p:ident $printf_p_l:ident $cprintf:ident $cprintf_l:ident;
    )*) => {$(
        forms!($sprintf, $sprintf_l: $letter, (to: Ptr<$letter>), |pattern, arguments| {
            Rules::msvcrt().to_place(to, usize::MAX, pattern, arguments)
        });
        forms!($snprintf, $snprintf_l: $letter, (to: Ptr<$letter>, room: usize), |pattern, arguments| {
            Rules::msvcrt().to_place(to, room, pattern, arguments)
        });
        forms!($scprintf, $scprintf_l: $letter, (), |pattern, arguments| {
            Rules::msvcrt().to_place(Ptr::NULL, 0, pattern, arguments)
        });
        forms!($sprintf_s, $sprintf_s_l: $letter, (to: Ptr<$letter>, room: usize), |pattern, arguments| {
            Rules::msvcrt().to_place_s(to, room, pattern, arguments)
        });
        forms!($snprintf_s, $snprintf_s_l: $letter, (to: Ptr<$letter>, room: usize, most: usize), |pattern, arguments| {
            Rules::msvcrt().to_place_n((to, room), most, pattern, arguments)
        });
        forms!($snprintf_c, $snprintf_c_l: $letter, (to: Ptr<$letter>, room: usize), |pattern, arguments| {
            Rules::msvcrt().ending(Ending::Plain).to_place(to, room, pattern, arguments).max(-1)
        });
        forms!($sprintf_p, $sprintf_p_l: $letter, (to: Ptr<$letter>, room: usize), |pattern, arguments| {
            match to.is_null() || room == 0 {
                true => refused(),
                false => Rules::msvcrt().numbered().to_place(to, room, pattern, arguments).max(-1),
            }
        });
        forms!($scprintf_p, $scprintf_p_l: $letter, (), |pattern, arguments| {
            Rules::msvcrt().numbered().to_place(Ptr::NULL, 0, pattern, arguments)
        });
        forms!($fprintf, $fprintf_l: $letter, (file: Ptr<Stream>), |pattern, arguments| {
            Rules::msvcrt().$to_file(file, pattern, arguments)
        });
        forms!($fprintf_p, $fprintf_p_l: $letter, (file: Ptr<Stream>), |pattern, arguments| {
            Rules::msvcrt().numbered().$to_file(file, pattern, arguments)
        });
        forms!($printf, $printf_l: $letter, (), |pattern, arguments| {
            Rules::msvcrt().$to_file(stream::output(), pattern, arguments)
        });
        forms!($printf_p, $printf_p_l: $letter, (), |pattern, arguments| {
            Rules::msvcrt().numbered().$to_file(stream::output(), pattern, arguments)
        });
        forms!($cprintf, $cprintf_l: $letter, (), |pattern, arguments| {
            Rules::msvcrt().to_console(pattern, arguments)
        });
    )*};
    ($name:ident, $name_l:ident: $letter:ty, ($($arg:ident: $type:ty),*), |$pattern:ident, $arguments:ident| $body:block) => {
        pub(crate) extern "win64" fn $name($($arg: $type,)* $pattern: Ptr<$letter>, $arguments: Ptr<u64>) -> i32 $body
        pub(crate) extern "win64" fn $name_l($($arg: $type,)* pattern: Ptr<$letter>, _locale: usize, arguments: Ptr<u64>) -> i32 {
            $name($($arg,)* pattern, arguments)
        }
    };
}

forms! {
    u8, to_file:
        vsprintf _vsprintf_l _vsnprintf _vsnprintf_l _vscprintf _vscprintf_l
        vsprintf_s _vsprintf_s_l _vsnprintf_s _vsnprintf_s_l _vsnprintf_c _vsnprintf_c_l
        _vsprintf_p _vsprintf_p_l _vscprintf_p _vscprintf_p_l
        vfprintf _vfprintf_l _vfprintf_p _vfprintf_p_l
        vprintf _vprintf_l _vprintf_p _vprintf_p_l _vcprintf _vcprintf_l;
    u16, to_file_wide:
        vswprintf _vswprintf_l _vsnwprintf _vsnwprintf_l _vscwprintf _vscwprintf_l
        vswprintf_s _vswprintf_s_l _vsnwprintf_s _vsnwprintf_s_l _vswprintf_c _vswprintf_c_l
        _vswprintf_p _vswprintf_p_l _vscwprintf_p _vscwprintf_p_l
        vfwprintf _vfwprintf_l _vfwprintf_p _vfwprintf_p_l
        vwprintf _vwprintf_l _vwprintf_p _vwprintf_p_l _vcwprintf _vcwprintf_l;
}

table! {
    /// What msvcrt has.
    pub(crate) TABLE:
        vsprintf, _vsprintf_l, _vsnprintf, vsnprintf = _vsnprintf, _vsnprintf_l, _vscprintf, _vscprintf_l, vsprintf_s, _vsprintf_s_l,
        _vsnprintf_s, _vsnprintf_s_l, _vsnprintf_c, _vsnprintf_c_l, _vsprintf_p, _vsprintf_p_l, _vscprintf_p, _vscprintf_p_l,
        vfprintf, vfprintf_s = vfprintf, _vfprintf_l, _vfprintf_s_l = _vfprintf_l, _vfprintf_p, _vfprintf_p_l,
        vprintf, vprintf_s = vprintf, _vprintf_l, _vprintf_s_l = _vprintf_l, _vprintf_p, _vprintf_p_l,
        _vcprintf, _vcprintf_s = _vcprintf, _vcprintf_l,
        vswprintf, _vswprintf = vswprintf, _vswprintf_l, __vswprintf_l = _vswprintf_l, _vsnwprintf, _vsnwprintf_l, _vscwprintf,
        _vscwprintf_l, vswprintf_s, _vswprintf_s_l, _vsnwprintf_s, _vsnwprintf_s_l, _vswprintf_c, _vswprintf_c_l, _vswprintf_p,
        _vswprintf_p_l, _vscwprintf_p, _vscwprintf_p_l, vfwprintf, vfwprintf_s = vfwprintf, _vfwprintf_l,
        _vfwprintf_s_l = _vfwprintf_l, _vfwprintf_p, _vfwprintf_p_l, vwprintf, vwprintf_s = vwprintf, _vwprintf_l,
        _vwprintf_s_l = _vwprintf_l, _vwprintf_p, _vwprintf_p_l, _vcwprintf, _vcwprintf_s = _vcwprintf, _vcwprintf_l
}
