//! The TLS directory. Its fields are addresses; the file has them as the linker wrote them.

use crate::{image::Directory, malformed, view::View};
use loader_core::{ErrorKind, Rva, TlsTemplate};
use object::{LittleEndian as LE, pe};

/// Alignment of a block whose directory asks for none: that of the heap it comes from on Windows.
const DEFAULT_ALIGN: u64 = 16;

/// What the TLS directory says.
pub(crate) struct Tls {
    pub(crate) template: TlsTemplate,
    /// A row of addresses, the last one zero.
    pub(crate) callbacks: Option<Rva>,
}

/// Reads the TLS directory.
pub(crate) fn tls(view: View<'_>, at: Option<Directory>) -> Result<Option<Tls>, ErrorKind> {
    let Some(at) = at else { return Ok(None) };
    let span = view.at(at.at, "TLS directory")?;
    let Some(head) = span.pod::<pe::ImageTlsDirectory64>(0) else {
        return malformed("TLS directory", at.at);
    };
    let start = head.start_address_of_raw_data.get(LE);
    let end = head.end_address_of_raw_data.get(LE);
    let Some(len) = end.checked_sub(start) else {
        return malformed("end of the TLS template", end);
    };
    let init = match len {
        0 => Rva(0)..Rva(0),
        _ => view.unlink(start, "TLS template")?..view.unlink(end, "end of the TLS template")?,
    };
    Ok(Some(Tls {
        template: TlsTemplate {
            init,
            size: len + u64::from(head.size_of_zero_fill.get(LE)),
            align: alignment(head.characteristics.get(LE)),
            skew: 0,
            index_at: place(view, head.address_of_index.get(LE), 4, "TLS index")?,
        },
        callbacks: place(view, head.address_of_call_backs.get(LE), 8, "TLS callbacks")?,
    }))
}

/// The image position of an address at which there are `len` bytes; `None` for zero.
fn place(view: View<'_>, address: u64, len: u64, what: &'static str) -> Result<Option<Rva>, ErrorKind> {
    if address == 0 {
        return Ok(None);
    }
    let at = view.unlink(address, what)?;
    match at.checked_add(len) {
        Some(end) if end.0 <= view.len() => Ok(Some(at)),
        _ => malformed(what, address),
    }
}

/// The section-alignment bits: one more than the power of two; zero and the highest number say nothing.
fn alignment(characteristics: u32) -> u64 {
    match characteristics >> 20 & 0xf {
        0 | 0xf => DEFAULT_ALIGN,
        n => 1 << (n - 1),
    }
}
