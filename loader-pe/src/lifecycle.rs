//! The calls to make: TLS callbacks, then the entry point, in that order for every reason.

use crate::malformed;
use loader_core::{Addr, Entry, EntryKind, ErrorKind, ImageMut, Lifecycle, MapPlan, Rights, Rva};

/// Reads the callback row of the relocated image.
pub(crate) fn lifecycle(
    plan: &MapPlan,
    callbacks: Option<Rva>,
    entry: Option<Rva>,
    mem: &ImageMut<'_>,
) -> Result<Lifecycle, ErrorKind> {
    let mut calls = Vec::new();
    if let Some(row) = callbacks {
        read_row(row, mem, |at| {
            calls.push(checked(plan, mem, at, EntryKind::TlsCallback)?);
            Ok(())
        })?;
    }
    if let Some(entry) = entry {
        calls.push(checked(plan, mem, mem.at.addr(entry), EntryKind::DllMain)?);
    }
    Ok(Lifecycle { attach: calls.clone(), detach: calls.clone(), thread: calls })
}

/// Shows each address of a row to `each`, up to the terminating zero; the end of the image is an error.
fn read_row(
    row: Rva,
    mem: &ImageMut<'_>,
    mut each: impl FnMut(Addr) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    for i in 0.. {
        let Some(at) = row.checked_add(i * 8) else {
            break;
        };
        let (address, _) = mem.bytes(at, 8)?.as_chunks::<8>();
        match address {
            [address] if *address != [0; 8] => each(Addr(u64::from_le_bytes(*address)))?,
            _ => return Ok(()),
        }
    }
    malformed("row of TLS callbacks without an end", row.0)
}

/// What is called must be code of the image.
fn checked(plan: &MapPlan, mem: &ImageMut<'_>, at: Addr, kind: EntryKind) -> Result<Entry, ErrorKind> {
    match mem.at.rva_of(at) {
        Some(rva) if plan.allows(rva, Rights::EXECUTE) => Ok(Entry { at, kind }),
        _ => malformed("entry that is not in the image's code", at.0),
    }
}
