//! Import slots get the addresses of what the image imports. Bound imports are bound anew, as Windows does since
//! libraries move; delay-loaded ones are left to the image's own helper.

use crate::{
    malformed,
    needs::{ImportTable, Imports},
    view::{Span, View},
};
use loader_core::{ErrorKind, ImageMut, Query, Resolution, Resolve, Rva, Symbol};
use object::pe::IMAGE_ORDINAL_FLAG64;

/// Fills every import slot and returns how many there are.
pub(crate) fn bind(
    view: View<'_>,
    from: &Imports,
    mem: &mut ImageMut<'_>,
    resolve: Resolve<'_>,
) -> Result<usize, ErrorKind> {
    imports(view, from, |query, slot| match resolve.resolve(query)? {
        Resolution::At(at) => mem.write_u64(slot, at.0),
        Resolution::Absent => mem.write_u64(slot, 0),
        Resolution::Resolver(at) => mem.late(slot, at, 0),
        Resolution::Tls { offset, .. } => {
            Err(ErrorKind::Unsupported { what: "import of a thread-local variable", value: offset })
        }
    })
}

/// Shows every import and its slot to `each`; returns how many there are.
pub(crate) fn imports(
    view: View<'_>,
    from: &Imports,
    mut each: impl FnMut(&Query<'_>, Rva) -> Result<(), ErrorKind>,
) -> Result<usize, ErrorKind> {
    // Every import has a slot and a name of its own: tables that share them until they pass the image are a trap.
    let mut room = view.len();
    let mut done = 0;
    for table in &from.tables {
        let key = &from.needs[table.need].key;
        let home = view.home(table.names).map(|home| view.span(&home));
        for import in thunks(view, table)? {
            let (thunk, slot) = import?;
            asked(view, home, thunk, key, |query| {
                room = match room.checked_sub(8 + name_len(query)) {
                    Some(rest) => rest,
                    None => return malformed("more imports than the image has room for", slot.0),
                };
                each(query, slot)
            })?;
            done += 1;
        }
    }
    Ok(done)
}

/// The lookup entries of one library, each with its slot, up to the terminating zero.
fn thunks<'a>(
    view: View<'a>,
    table: &ImportTable,
) -> Result<impl Iterator<Item = Result<(u64, Rva), ErrorKind>> + use<'a>, ErrorKind> {
    let span: Span<'a> = view.at(table.names, "import lookup table")?;
    let (names, slots) = (table.names, table.slots);
    let mut offset = Some(0_usize);
    Ok(std::iter::from_fn(move || {
        let at = offset?;
        match span.get(at).map(u64::from_le_bytes) {
            Some(0) => offset = None,
            Some(thunk) => {
                offset = at.checked_add(8);
                return Some(Ok((thunk, Rva(slots.0 + at as u64))));
            }
            None => {
                offset = None;
                return Some(malformed("import lookup table without an end", names));
            }
        }
        None
    }))
}

/// Shows `each` what a lookup entry asks for: an ordinal, or a name behind a hint, most likely in `home`. A query stays where
/// it is made: copying what was just written in parts waits for the writes.
fn asked(
    view: View<'_>,
    home: Option<Span<'_>>,
    thunk: u64,
    from: &str,
    each: impl FnOnce(&Query<'_>) -> Result<(), ErrorKind>,
) -> Result<(), ErrorKind> {
    if thunk & IMAGE_ORDINAL_FLAG64 != 0 {
        return each(&Query::ordinal(thunk as u16).of(from));
    }
    let Some(at) = u32::try_from(thunk).ok().filter(|at| at.checked_add(2).is_some()) else {
        return malformed("lookup entry of an import", thunk);
    };
    let here = |at| home.and_then(|home| home.from(at)).or_else(|| view.find(at));
    let entry = here(at);
    let hint = entry.and_then(|entry| entry.get(0)).map(u16::from_le_bytes).map(u32::from);
    let span = entry.and_then(|entry| entry.skip(2)).or_else(|| here(at + 2));
    let named =
        span.and_then(|span| Query::terminated(span.window()).or_else(|| span.name().map(Query::name)));
    match named {
        Some(named) => each(&Query { hint, from: Some(from), ..named }),
        None => malformed("name of an import", at + 2),
    }
}

fn name_len(query: &Query<'_>) -> u64 {
    match query.symbol {
        Symbol::Name(name) => name.len() as u64,
        Symbol::Ordinal(_) => 0,
    }
}
