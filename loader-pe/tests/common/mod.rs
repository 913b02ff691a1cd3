//! What the tests share: an image placed in a plain buffer, and a DLL built by hand.
#![allow(dead_code)] // Each test file is a program of its own and uses a part of this.

pub mod build;

use loader_core::{Addr, Image, ImageMut, LateFixup, MapPlan, Placement, Query, Resolution, Source};
use loader_pe::PeImage;
use std::sync::Arc;

/// Parses bytes.
pub fn parse(bytes: &[u8]) -> Result<Arc<PeImage>, loader_core::ErrorKind> {
    PeImage::parse(&Arc::new(Source::owned(bytes)))
}

/// An image in a buffer, at an address that is only claimed.
pub struct Placed {
    pub window: Vec<u8>,
    pub at: Placement,
    pub late: Vec<LateFixup>,
}

impl Placed {
    /// Copies what the plan says.
    pub fn new(bytes: &[u8], plan: &MapPlan, base: u64) -> Self {
        let mut window = vec![0; plan.len().get() as usize];
        for fill in plan.regions().iter().filter_map(|r| r.fill.as_ref()) {
            let from = &bytes[fill.file.start.0 as usize..fill.file.end.0 as usize];
            window[fill.at.0 as usize..][..from.len()].copy_from_slice(from);
        }
        let at = Placement { link_base: plan.link_base(), base: Addr(base), len: plan.len().get() };
        Self { window, at, late: Vec::new() }
    }

    pub fn mem(&mut self) -> ImageMut<'_> {
        ImageMut {
            window: &mut self.window,
            start: loader_core::Rva(0),
            at: self.at,
            tls: None,
            late: &mut self.late,
        }
    }

    pub fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.window[at as usize..][..8].try_into().unwrap())
    }
}

/// Every import as `library!symbol`.
pub fn imports(image: &PeImage) -> Vec<String> {
    let mut all = Vec::new();
    image.imports(&mut |q| all.push(show(q))).unwrap();
    all
}

pub fn show(q: &Query<'_>) -> String {
    format!("{}!{}", q.from.unwrap_or(""), q.symbol.text())
}

/// Resolves everything to one address.
pub fn anywhere(_: &Query<'_>) -> Result<Resolution, loader_core::ErrorKind> {
    Ok(Resolution::At(Addr(0x1234_5678)))
}
