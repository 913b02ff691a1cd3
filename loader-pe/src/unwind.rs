//! Where the image's functions and their unwind data are listed (`.pdata`).

use crate::{image::Directory, malformed, view::View};
use loader_core::{ErrorKind, Rva};

/// Length of a `RUNTIME_FUNCTION`: start, end, unwind data.
const ENTRY: u32 = 12;

/// The whole entries of the exception directory; empty where there is none.
pub(crate) fn functions(view: View<'_>, at: Option<Directory>) -> Result<std::ops::Range<Rva>, ErrorKind> {
    let Some(Directory { at, len }) = at else {
        return Ok(Rva(0)..Rva(0));
    };
    let (start, end) = (u64::from(at), u64::from(at) + u64::from(len - len % ENTRY));
    if end > view.len() {
        return malformed("exception directory", at);
    }
    Ok(Rva(start)..Rva(end))
}
