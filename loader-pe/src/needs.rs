//! The libraries that an image names: import descriptors, and delay-import descriptors for those who ask.

use crate::{
    image::{Directory, need},
    malformed,
    view::View,
};
use loader_core::{ErrorKind, Need, Rva};
use object::{LittleEndian as LE, pe, pod::Pod};
use std::collections::BTreeMap;

/// What an image imports.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    /// The libraries, each once, in file order.
    pub(crate) needs: Vec<Need>,
    /// One entry a descriptor; a library may have several.
    pub(crate) tables: Vec<ImportTable>,
}

/// Names and the slots for their addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImportTable {
    /// The library: an index of [`Imports::needs`].
    pub(crate) need: usize,
    /// What is wanted: the lookup table, or the slots themselves where there is none.
    pub(crate) names: u32,
    /// Where the addresses go.
    pub(crate) slots: Rva,
}

/// Reads the import descriptors. Like Windows it goes by the terminator, not by the directory's length.
pub(crate) fn needs(view: View<'_>, at: Option<Directory>) -> Result<Imports, ErrorKind> {
    let mut imports = Imports::default();
    let mut known = BTreeMap::new();
    let Some(at) = at else { return Ok(imports) };
    for import in descriptors::<pe::ImageImportDescriptor>(view, at, "import directory")? {
        let (name, slots) = (import.name.get(LE), import.first_thunk.get(LE));
        if name == 0 || slots == 0 {
            break;
        }
        let need = library(view, name)?;
        let index = *known.entry(need.key.clone()).or_insert_with(|| {
            imports.needs.push(need);
            imports.needs.len() - 1
        });
        imports.tables.push(ImportTable {
            need: index,
            names: match import.original_first_thunk.get(LE) {
                0 => slots,
                names => names,
            },
            slots: Rva(slots.into()),
        });
    }
    Ok(imports)
}

/// Reads the delay-import descriptors. Those without the flag "positions, not addresses" are from 32-bit times.
pub(crate) fn delayed(view: View<'_>, at: Option<Directory>) -> Result<Vec<Need>, ErrorKind> {
    let Some(at) = at else { return Ok(Vec::new()) };
    descriptors::<pe::ImageDelayloadDescriptor>(view, at, "delay-import directory")?
        .take_while(|d| d.dll_name_rva.get(LE) != 0)
        .filter(|d| d.attributes.get(LE) & pe::IMAGE_DELAYLOAD_RVA_BASED != 0)
        .map(|d| library(view, d.dll_name_rva.get(LE)))
        .collect()
}

/// The structures from `at` to the end of the file's bytes there; what lies behind is zero, as a terminator is.
fn descriptors<'a, T: Pod>(
    view: View<'a>,
    at: Directory,
    what: &'static str,
) -> Result<impl Iterator<Item = &'a T>, ErrorKind> {
    let span = view.at(at.at, what)?;
    if span.skip(size_of::<T>() - 1).is_none() {
        return malformed(what, at.at);
    }
    Ok((0..).map_while(move |i: usize| span.pod(i.checked_mul(size_of::<T>())?)))
}

fn library(view: View<'_>, at: u32) -> Result<Need, ErrorKind> {
    const WHAT: &str = "name of an imported library";
    need(view.name(at, WHAT)?).map_or_else(|| malformed(WHAT, at), Ok)
}
