//! An image position becomes file bytes: the file as it will look in memory, without mapping it.
//!
//! A [`View`] is built on a checked plan, so the regions are disjoint and filled from inside the file. What a region
//! has beyond its file bytes is zero, here as in memory.

use crate::malformed;
use loader_core::{ErrorKind, FileOffset, MapPlan, Region, Rva};
use object::pod::{self, Pod};
use std::{ffi::CStr, ops::Range};

/// The longest name that is believed, in bytes. Mangled C++ names pass 4096; nothing sane passes this.
const LONGEST_NAME: usize = 1 << 14;

/// A file, seen through its plan.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    bytes: &'a [u8],
    plan: &'a MapPlan,
}

impl<'a> View<'a> {
    pub(crate) fn new(bytes: &'a [u8], plan: &'a MapPlan) -> Self {
        Self { bytes, plan }
    }

    /// The file's bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Length of the image in bytes.
    pub(crate) fn len(self) -> u64 {
        self.plan.len().get()
    }

    /// The image from `at` to the end of its region.
    pub(crate) fn at(self, at: u32, what: &'static str) -> Result<Span<'a>, ErrorKind> {
        self.find(at).map_or_else(|| malformed(what, at), Ok)
    }

    /// The same, where there is such a region.
    pub(crate) fn find(self, at: u32) -> Option<Span<'a>> {
        self.span(&self.home(at)?).from(at)
    }

    /// The whole region that holds `at`.
    pub(crate) fn home(self, at: u32) -> Option<Home> {
        let region = self.region(at)?;
        let raw = region.fill.as_ref().and_then(|f| file(self.bytes, &f.file));
        Some(Home {
            raw: raw.unwrap_or_default(),
            len: usize::try_from(region.at.end.0 - region.at.start.0).ok()?,
            at: region.at.start.0,
        })
    }

    /// What it holds.
    pub(crate) fn span(self, home: &Home) -> Span<'a> {
        Span { raw: self.bytes.get(home.raw.clone()).unwrap_or_default(), len: home.len, at: home.at }
    }

    fn region(self, at: u32) -> Option<&'a Region> {
        let at = Rva(at.into());
        let after = self.plan.regions().partition_point(|r| r.at.start <= at);
        let region = &self.plan.regions()[after.checked_sub(1)?];
        (at < region.at.end).then_some(region)
    }

    /// Where the file has `len` bytes of the image; `None` where it has not all of them.
    pub(crate) fn file_range(self, at: u32, len: usize) -> Option<Range<usize>> {
        let region = self.region(at)?;
        let fill = region.fill.as_ref()?;
        let start = fill.file.start.0 + (u64::from(at) - region.at.start.0);
        let end = start.checked_add(len as u64)?;
        let inside = end <= fill.file.end.0;
        inside.then_some(start.try_into().ok()?..end.try_into().ok()?)
    }

    /// The name at `at`, without its terminating zero.
    pub(crate) fn name(self, at: u32, what: &'static str) -> Result<&'a [u8], ErrorKind> {
        let name = self.find(at).and_then(Span::name);
        name.map_or_else(|| malformed(what, at), Ok)
    }

    /// The image position of a link-time address, as the directories that hold addresses have them.
    pub(crate) fn unlink(self, address: u64, what: &'static str) -> Result<Rva, ErrorKind> {
        let rva = address.checked_sub(self.plan.link_base().0);
        rva.filter(|&r| r <= self.len()).map_or_else(|| malformed(what, address), |r| Ok(Rva(r)))
    }
}

fn file(bytes: &[u8], range: &Range<FileOffset>) -> Option<Range<usize>> {
    let (start, end) = (range.start.0.try_into().ok()?, range.end.0.try_into().ok()?);
    (start <= end && end <= bytes.len()).then_some(start..end)
}

/// Where a region is, in the file and in the image.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    raw: Range<usize>,
    len: usize,
    at: u64,
}

/// A run of image bytes inside one region: first those that the file has, then zeros.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    /// What the file has of it.
    pub(crate) raw: &'a [u8],
    /// Its whole length.
    len: usize,
    /// Its image position.
    at: u64,
}

impl<'a> Span<'a> {
    /// The span without its first `n` bytes; `None` where it has no more than those.
    pub(crate) fn skip(self, n: usize) -> Option<Self> {
        (n < self.len).then(|| Self {
            raw: self.raw.get(n..).unwrap_or_default(),
            len: self.len - n,
            at: self.at + n as u64,
        })
    }

    /// The part of the span from the image position `at`, where it is in here.
    pub(crate) fn from(self, at: u32) -> Option<Self> {
        self.skip(usize::try_from(u64::from(at).checked_sub(self.at)?).ok()?)
    }

    /// `N` bytes at `offset`, zeros where the file has none.
    pub(crate) fn get<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        if let Some(bytes) = self.raw.get(offset..).and_then(<[u8]>::first_chunk) {
            return Some(*bytes);
        }
        (offset.checked_add(N)? <= self.len).then(|| {
            let mut out = [0; N];
            let rest = self.raw.get(offset..).unwrap_or_default();
            out.iter_mut().zip(rest).for_each(|(o, &b)| *o = b);
            out
        })
    }

    /// A structure at `offset`, where the file has all of it.
    pub(crate) fn pod<T: Pod>(self, offset: usize) -> Option<&'a T> {
        let (found, _) = pod::from_bytes(self.raw.get(offset..)?).ok()?;
        Some(found)
    }

    /// The first `len` bytes, as far as the file has them; `None` where the span is shorter.
    pub(crate) fn first(self, len: usize) -> Option<&'a [u8]> {
        (len <= self.len).then(|| &self.raw[..len.min(self.raw.len())])
    }

    /// What the file has of a name at the start of the span, and more.
    pub(crate) fn window(self) -> &'a [u8] {
        &self.raw[..self.raw.len().min(LONGEST_NAME)]
    }

    /// The name at the start of the span, without its terminating zero.
    pub(crate) fn name(self) -> Option<&'a [u8]> {
        let window = self.window();
        match CStr::from_bytes_until_nul(window) {
            Ok(name) => Some(name.to_bytes()),
            // The zero may be the first of those that the file leaves out.
            Err(_) => (window.len() == self.raw.len() && self.len > self.raw.len()).then_some(window),
        }
    }
}
