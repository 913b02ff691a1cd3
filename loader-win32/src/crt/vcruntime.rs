//! The parts of VCRUNTIME140 that need no exceptions, for where the real library is not to be found. The real one is
//! preferred, because it brings C++ exceptions and run-time types with it.

use super::{
    rtti::__RTCastToVoid,
    startup::__std_type_info_destroy_list,
    string::{memchr, memcmp, memcpy, memmove, memset, strchr, strrchr, strstr},
    wide::{wcschr, wcsrchr, wcsstr},
};
use crate::exception::registers::{__RTDynamicCast, __RTtypeid};

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

table! {
    /// What VCRUNTIME140 has without exceptions.
    pub(crate) TABLE:
        memcpy, memmove, memset, memcmp, memchr, strchr, strrchr, strstr, wcschr, wcsrchr, wcsstr,
        __std_type_info_destroy_list, __uncaught_exceptions, __uncaught_exception, __RTCastToVoid,
        __RTDynamicCast, __RTtypeid, _SetWinRTOutOfMemoryExceptionCallback
}
