//! The parts of VCRUNTIME140 that need no exceptions, for where the real library is not to be found. The real one is
//! preferred, because it brings C++ exceptions and run-time types with it.

use super::{
    memory::strdup,
    rtti::__RTCastToVoid,
    startup::__std_type_info_destroy_list,
    string::{memchr, memcmp, memcpy, memmove, memset, strchr, strrchr, strstr},
    wide::{wcschr, wcsrchr, wcsstr},
};
use crate::{
    exception::registers::{__RTDynamicCast, __RTtypeid},
    guest::Ptr,
};

/// How many C++ exceptions are in flight in this thread: none, as there is nobody here who could throw one.
extern "win64" fn __uncaught_exceptions() -> i32 {
    0
}

/// The same, as a truth value.
extern "win64" fn __uncaught_exception() -> bool {
    false
}

/// Takes who is to be called when memory runs out in the Windows Runtime, which is not here: nobody calls it. Its kind
/// in the real library keeps it for that alone.
extern "win64" fn _SetWinRTOutOfMemoryExceptionCallback(_callback: usize) {}

/// What `std::exception` keeps: a text, and whether it is to be freed.
#[repr(C)]
#[derive(Clone, Copy)]
struct What {
    text: Ptr<u8>,
    owned: u8,
}

/// A copy that owns its text, where the other owns one.
extern "win64" fn __std_exception_copy(from: Ptr<What>, to: Ptr<What>) {
    let what = from.get();
    let copy = if what.owned != 0 { strdup(what.text) } else { what.text };
    to.set(What { text: copy, owned: (what.owned != 0 && !copy.is_null()).into() });
}

extern "win64" fn __std_exception_destroy(what: Ptr<What>) {
    let old = what.get();
    if old.owned != 0 {
        crate::heap::free(old.text);
    }
    what.set(What { text: Ptr::NULL, owned: 0 });
}

/// The decorated name of a type, behind the address of the other one; its first letter is a dot.
fn decorated(type_info: Ptr<usize>) -> Ptr<u8> {
    type_info.at(1).cast::<u8>().at(1)
}

/// Types are the same where their names are.
extern "win64" fn __std_type_info_compare(a: Ptr<usize>, b: Ptr<usize>) -> i32 {
    if a.addr() == b.addr() { 0 } else { decorated(a).text().cmp(decorated(b).text()) as i32 }
}

/// FNV-1a over the name, with its upper half mixed into the lower one.
extern "win64" fn __std_type_info_hash(type_info: Ptr<usize>) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    let name = decorated(type_info);
    let hash = name.text().iter().fold(START, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash ^ hash >> 32
}

table! {
    /// What ucrtbase has of these.
    pub(crate) UCRT:
        __std_exception_copy, __std_exception_destroy, __std_type_info_compare, __std_type_info_hash,
        __std_type_info_destroy_list
}

table! {
    /// What VCRUNTIME140 has without exceptions.
    pub(crate) TABLE:
        memcpy, memmove, memset, memcmp, memchr, strchr, strrchr, strstr, wcschr, wcsrchr, wcsstr,
        __std_exception_copy, __std_exception_destroy, __std_type_info_compare, __std_type_info_hash,
        __std_type_info_destroy_list, __uncaught_exceptions, __uncaught_exception, __RTCastToVoid,
        __RTDynamicCast, __RTtypeid, _SetWinRTOutOfMemoryExceptionCallback
}
