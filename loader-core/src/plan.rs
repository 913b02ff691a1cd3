//! What has to be in memory before an image can run: the same shape for every format, checked once.
//!
//! A format fills in a [`Layout`]; [`MapPlan::check`] proves it, and no later stage checks again.

use crate::{Addr, ErrorKind, FileOffset, LinkAddr, PAGE, PageBytes, Rva};
use std::ops::Range;

bitflags::bitflags! {
    /// What may be done with a page. Write and execute never come together.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    pub struct Rights: u8 {
        /// The page may be read.
        const READ = 1;
        /// The page may be written.
        const WRITE = 2;
        /// The page holds code.
        const EXECUTE = 4;
    }
}

impl std::fmt::Display for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (right, letter) in [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::EXECUTE, 'x')] {
            write!(f, "{}", if self.contains(right) { letter } else { '-' })?;
        }
        Ok(())
    }
}

/// Where an image has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Any place will do.
    Anywhere,
    /// This base saves the relocations; any other place will do as well.
    Preferred(Addr),
    /// Only this base: the image carries no relocations.
    Fixed(Addr),
}

/// A run of bytes that comes from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The bytes in the file.
    pub file: Range<FileOffset>,
    /// Where the first of them goes.
    pub at: Rva,
}

/// A run of whole pages with one set of rights: an ELF `PT_LOAD` segment, a PE section, the PE header page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The pages, both ends on a page boundary.
    pub at: Range<Rva>,
    /// What the file puts there; every other byte is zero.
    pub fill: Option<Fill>,
    /// The rights while the image's code runs.
    pub rights: Rights,
}

/// What a format reads out of its headers, not yet believed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The address that the static linker gave the first byte of the image, a multiple of the page size.
    pub link_base: LinkAddr,
    /// Length of the image in bytes; rounded up to pages.
    pub len: u64,
    /// Alignment of the image's first byte: a power of two, at least a page.
    pub align: u64,
    /// Where the image has to go.
    pub wanted: Wanted,
    /// The regions, in any order.
    pub regions: Vec<Region>,
    /// Pages that fixups may write until the image is sealed. ELF: the writable segments. PE: everything.
    pub window: Range<Rva>,
    /// Pages that become read-only when the image is sealed, though their region is writable (RELRO).
    pub relro: Option<Range<Rva>>,
}

/// A checked plan: regions are sorted, page-aligned, inside the image, disjoint, filled from inside the file,
/// never writable and executable at once; every writable region lies inside the window.
#[derive(Clone, Debug)]
pub struct MapPlan {
    layout: Layout,
    len: PageBytes,
    rights: Vec<(Range<Rva>, Rights)>,
}

/// The longest image that fits the address space of a process (47 bits on x86-64).
const LONGEST: u64 = 1 << 47;

impl MapPlan {
    /// Proves a layout against the length of the file that it describes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] with the offending number, or [`ErrorKind::WritableCode`].
    pub fn check(mut layout: Layout, file_len: u64) -> Result<Self, ErrorKind> {
        let malformed = |what, at| Err(ErrorKind::Malformed { what, at });
        let len = match PageBytes::covering(layout.len) {
            Some(len) if len.get() != 0 && len.get() < LONGEST => len,
            _ => return malformed("image length", layout.len),
        };
        if !layout.align.is_power_of_two() || layout.align < PAGE || layout.align > LONGEST {
            return malformed("image alignment", layout.align);
        }
        if !aligned(&(Rva(layout.link_base.0)..Rva(layout.link_base.0))) {
            return malformed("image base", layout.link_base.0);
        }
        layout.regions.sort_by_key(|r| r.at.start);
        let mut end = Rva(0);
        for r in &layout.regions {
            if !aligned(&r.at) || r.at.start > r.at.end || r.at.end.0 > len.get() {
                return malformed("region leaves the image", r.at.start.0);
            }
            if r.at.start < end {
                return malformed("regions overlap", r.at.start.0);
            }
            if r.rights.contains(Rights::WRITE | Rights::EXECUTE) {
                return Err(ErrorKind::WritableCode { at: r.at.start });
            }
            if let Some(fill) = &r.fill {
                if fill.file.start > fill.file.end || fill.file.end.0 > file_len {
                    return malformed("region leaves the file", fill.file.end.0);
                }
                let bytes = fill.file.end.0 - fill.file.start.0;
                let fits = fill.at >= r.at.start && fill.at.checked_add(bytes).is_some_and(|e| e <= r.at.end);
                if !fits {
                    return malformed("file bytes leave their region", fill.at.0);
                }
            }
            let open = r.at.start >= layout.window.start && r.at.end <= layout.window.end;
            if r.rights.contains(Rights::WRITE) && !open && r.at.start != r.at.end {
                return malformed("writable region outside the window", r.at.start.0);
            }
            end = r.at.end;
        }
        for range in [Some(&layout.window), layout.relro.as_ref()].into_iter().flatten() {
            if !aligned(range) || range.start > range.end || range.end.0 > len.get() {
                return malformed("page range leaves the image", range.start.0);
            }
        }
        if layout
            .relro
            .as_ref()
            .is_some_and(|r| r.start != r.end && (r.start < layout.window.start || r.end > layout.window.end))
        {
            return malformed("RELRO outside the window", layout.window.start.0);
        }
        let rights = final_rights(&layout, len);
        Ok(Self { layout, len, rights })
    }

    /// The plan of a module without an image: one page that is never mapped.
    #[must_use]
    pub(crate) fn nothing() -> Self {
        let empty = Rva(0)..Rva(0);
        let layout = Layout {
            link_base: LinkAddr(0),
            len: PAGE,
            align: PAGE,
            wanted: Wanted::Anywhere,
            regions: Vec::new(),
            window: empty,
            relro: None,
        };
        Self { layout, len: PageBytes::covering(PAGE).unwrap_or_default(), rights: Vec::new() }
    }

    /// The address that the static linker gave the first byte of the image.
    #[must_use]
    pub fn link_base(&self) -> LinkAddr {
        self.layout.link_base
    }

    /// The image's length.
    #[must_use]
    pub fn len(&self) -> PageBytes {
        self.len
    }

    /// Never: a plan has at least one page. Here because [`MapPlan::len`] is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Alignment of the image's first byte, in bytes: a power of two, at least a page.
    #[must_use]
    pub fn align(&self) -> u64 {
        self.layout.align
    }

    /// Where the image has to go.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.layout.wanted
    }

    /// The regions, lowest first.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.layout.regions
    }

    /// The pages that fixups may write until the image is sealed.
    #[must_use]
    pub fn window(&self) -> Range<Rva> {
        self.layout.window.clone()
    }

    /// The rights of every page of the image once it is sealed, holes included, lowest first, neighbours merged.
    #[must_use]
    pub fn rights(&self) -> &[(Range<Rva>, Rights)] {
        &self.rights
    }

    /// Whether `at` is an aligned 64-bit word that can still be written to once the image is sealed.
    #[must_use]
    pub fn stays_writable(&self, at: Rva) -> bool {
        let after = self.rights.partition_point(|(pages, _)| pages.start <= at);
        let within = after.checked_sub(1).and_then(|i| self.rights.get(i));
        at.0.is_multiple_of(8)
            && within.is_some_and(|(pages, rights)| at < pages.end && rights.contains(Rights::WRITE))
    }

    /// Whether `at` lies in a region with all of `rights`.
    #[must_use]
    pub fn allows(&self, at: Rva, rights: Rights) -> bool {
        let after = self.layout.regions.partition_point(|r| r.at.start <= at);
        after.checked_sub(1).is_some_and(|i| {
            let r = &self.layout.regions[i];
            at < r.at.end && r.rights.contains(rights)
        })
    }
}

fn aligned(range: &Range<Rva>) -> bool {
    range.start.0.is_multiple_of(PAGE) && range.end.0.is_multiple_of(PAGE)
}

/// Regions with RELRO cut out of them and holes filled in with no rights.
fn final_rights(layout: &Layout, len: PageBytes) -> Vec<(Range<Rva>, Rights)> {
    let mut out: Vec<(Range<Rva>, Rights)> = Vec::with_capacity(layout.regions.len() * 2 + 2);
    let mut push = |at: Range<Rva>, rights: Rights| {
        if at.start >= at.end {
            return;
        }
        match out.last_mut() {
            Some((last, r)) if *r == rights && last.end == at.start => last.end = at.end,
            _ => out.push((at, rights)),
        }
    };
    let mut end = Rva(0);
    for r in &layout.regions {
        push(end..r.at.start, Rights::empty());
        let relro = layout.relro.clone().unwrap_or(Rva(0)..Rva(0));
        let (start, stop) = (relro.start.clamp(r.at.start, r.at.end), relro.end.clamp(r.at.start, r.at.end));
        push(r.at.start..start.min(stop), r.rights);
        push(start..stop, r.rights - Rights::WRITE);
        push(stop.max(start)..r.at.end, r.rights);
        end = r.at.end;
    }
    push(end..Rva(len.get()), Rights::empty());
    out
}
