//! The security cookie: a random number against which `/GS` code checks its stack frames. Windows sets it while it
//! loads an image, and so do we; otherwise the C runtime gathers one from clocks and identifiers.
//!
//! The pointers of Control Flow Guard, which the same directory names, stay as the linker left them: they lead to
//! functions that allow everything.

use crate::{image::Directory, view::View};
use loader_core::{ErrorKind, ImageMut, Rva, deterministic};
use object::pe;
use std::{collections::hash_map::RandomState, hash::BuildHasher, mem::offset_of};

/// What a linker puts there, and what a cookie therefore must never be.
const DEFAULT: u64 = 0x0000_2B99_2DDF_A232;

type LoadConfig = pe::ImageLoadConfigDirectory64;

/// Where the cookie is. A load configuration that makes no sense is one without a cookie, as it is for Windows.
pub(crate) fn guard(view: View<'_>, at: Option<Directory>) -> Result<Option<Rva>, ErrorKind> {
    let Some(span) = at.and_then(|d| view.at(d.at, "load configuration").ok()) else {
        return Ok(None);
    };
    let said = span.get(0).map_or(0, u32::from_le_bytes) as usize;
    let field = |offset: usize| match span.get(offset) {
        Some(bytes) if offset + 8 <= said => u64::from_le_bytes(bytes),
        _ => 0,
    };
    let foreign = field(offset_of!(LoadConfig, chpe_metadata_pointer));
    if foreign != 0 {
        return Err(ErrorKind::Unsupported { what: "an ARM64EC image", value: foreign });
    }
    let cookie = view.unlink(field(offset_of!(LoadConfig, security_cookie)), "cookie");
    Ok(cookie.ok().filter(|at| at.0 != 0 && at.0 + 8 <= view.len()))
}

/// Replaces a cookie that nobody has set yet.
pub(crate) fn renew(mem: &mut ImageMut<'_>, at: Rva) -> Result<(), ErrorKind> {
    match mem.read_u64(at)? {
        0 | DEFAULT => mem.write_u64(at, fresh()),
        _ => Ok(()),
    }
}

/// A random number whose top 16 bits are zero, so that a string function cannot copy it whole.
fn fresh() -> u64 {
    // The standard library seeds its hashers from the system's generator.
    let random = deterministic::random().unwrap_or_else(|| RandomState::new().hash_one(DEFAULT));
    match random & 0xffff_ffff_ffff {
        0 | DEFAULT => DEFAULT + 1,
        n => n,
    }
}
