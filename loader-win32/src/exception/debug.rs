//! Texts for a debugger. There is none: they go where its output would be read, to standard error; and as on Windows, an
//! exception tells the vectored handlers of each. Nobody else is asked, and whatever they answer, execution goes on.

use super::{ContextRecord, Pointers, Record, local, vectored};
use crate::{guest::Ptr, text::wide_z};
use std::io::Write;

const PRINT: u32 = 0x4001_0006;
const PRINT_WIDE: u32 = 0x4001_000a;

/// Asks the vectored handlers of an exception with these arguments; `true` if one wants execution to go on.
fn tell(context: Ptr<ContextRecord>, code: u32, arguments: &[u64]) -> bool {
    let mut record = Record { code, address: context.get().rip, ..Record::default() };
    record.count = arguments.len() as u32;
    record.information[..arguments.len()].copy_from_slice(arguments);
    let mut context = context.get();
    let mut pointers = Pointers { record: local(&mut record), context: local(&mut context) };
    vectored::ask(local(&mut pointers))
}

/// The number of units with the zero, and where they are.
fn said<T>(units: &[T]) -> [u64; 2] {
    [units.len() as u64, units.as_ptr().expose_provenance() as u64]
}

/// Writes a text where the debugger's output would be read.
pub(crate) fn print(text: &[u8]) {
    let _ = std::io::stderr().write_all(text);
}

/// `OutputDebugStringA(text)`
pub(super) extern "win64" fn bytes(context: Ptr<ContextRecord>, arguments: Ptr<Ptr<u8>>) {
    let text = [arguments.get().text(), &[0]].concat();
    tell(context, PRINT, &said(&text));
    print(&text[..text.len() - 1]);
}

/// `OutputDebugStringW(text)`: who does not know of wide texts is told of a narrow one.
pub(super) extern "win64" fn units(context: Ptr<ContextRecord>, arguments: Ptr<Ptr<u16>>) {
    let text = arguments.get().string();
    let wide = wide_z(&text);
    let narrow = [text.as_bytes(), &[0]].concat();
    let both = [said(&wide), said(&narrow)].concat();
    if !tell(context, PRINT_WIDE, &both) {
        tell(context, PRINT, &said(&narrow));
    }
    print(text.as_bytes());
}
