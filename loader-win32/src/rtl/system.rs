//! What programs ask ntdll about the system and the process, and what they tell a debugger.

use crate::{
    exception::debug,
    format::{self, Arguments, Style, Width},
    guest::Ptr,
    nt::status::{INVALID_PARAMETER, SUCCESS},
    peb::VERSION,
    teb,
};

/// The build number with the mark of a system that is for sale.
extern "win64" fn RtlGetNtVersionNumbers(major: Ptr<u32>, minor: Ptr<u32>, build: Ptr<u32>) {
    const FREE: u32 = 0xf000_0000;
    major.put(VERSION.0);
    minor.put(VERSION.1);
    build.put(VERSION.2 | FREE);
}

/// A workstation.
extern "win64" fn RtlGetNtProductType(out: Ptr<u32>) -> u8 {
    out.put(1);
    1
}

extern "win64" fn RtlGetCurrentPeb() -> usize {
    teb::with(|t| t.peb.get().expose_provenance())
}

/// Whether all rights that are wanted are among those that were granted.
extern "win64" fn RtlAreAllAccessesGranted(granted: u32, wanted: u32) -> u8 {
    (granted & wanted == wanted).into()
}

extern "win64" fn RtlAreAnyAccessesGranted(granted: u32, wanted: u32) -> u8 {
    (granted & wanted != 0).into()
}

fn print(prefix: &[u8], pattern: Ptr<u8>, arguments: Ptr<u64>) -> u32 {
    /// A line is not longer.
    const LONGEST: usize = 511;
    if pattern.is_null() {
        return INVALID_PARAMETER;
    }
    let style = Style::msvcrt(Width::Narrow);
    let Some(text) = format::format(pattern.text(), Arguments::new(arguments), style) else {
        return INVALID_PARAMETER;
    };
    let mut line = [prefix, &text].concat();
    line.truncate(LONGEST);
    debug::print(&line);
    SUCCESS
}

/// For whoever debugs the program; which component it is of and how much it matters is not looked at.
pub(crate) extern "win64" fn vDbgPrintEx(
    _component: u32,
    _level: u32,
    pattern: Ptr<u8>,
    arguments: Ptr<u64>,
) -> u32 {
    print(b"", pattern, arguments)
}

extern "win64" fn vDbgPrintExWithPrefix(
    prefix: Ptr<u8>,
    _component: u32,
    _level: u32,
    pattern: Ptr<u8>,
    arguments: Ptr<u64>,
) -> u32 {
    print(prefix.text(), pattern, arguments)
}

pub(crate) extern "win64" fn vDbgPrint(pattern: Ptr<u8>, arguments: Ptr<u64>) -> i32 {
    print(b"", pattern, arguments).cast_signed()
}

table! {
    /// Questions.
    pub(crate) TABLE:
        RtlGetNtVersionNumbers, RtlGetNtProductType, RtlGetCurrentPeb, RtlAreAllAccessesGranted, RtlAreAnyAccessesGranted,
        vDbgPrintEx, vDbgPrintExWithPrefix
}
