//! Looking an address up: which symbol it belongs to, as the system's `dladdr` has it.
//!
//! Symbols may nest and overlap, and a table may be hostile; so the image is cut once into stretches that belong to one
//! symbol each, and a question is one binary search whatever the table is like.

use crate::exports::Tables;
use loader_core::{MapPlan, NearSymbol, Rva};
use std::{cmp::Reverse, num::NonZeroU32};

/// Every stretch of an image that belongs to one symbol, or to none.
#[derive(Debug)]
pub(crate) struct Spots {
    /// Where they start, lowest first.
    starts: Box<[u64]>,
    /// Whose they are: the number of a symbol.
    owners: Box<[Option<NonZeroU32>]>,
}

/// What one symbol covers.
struct Cover {
    start: u64,
    end: u64,
    owner: NonZeroU32,
}

impl Spots {
    /// Sorts the symbols that can be found by name.
    pub(crate) fn of(tables: &Tables, bytes: &[u8], plan: &MapPlan) -> Self {
        let len = plan.len().get();
        let cover = |index: u32| {
            let symbol = tables.symbol(bytes, index).ok().filter(|s| s.has_a_place())?;
            let start = symbol.value.checked_sub(plan.link_base().0).filter(|&start| start < len)?;
            let end = start.saturating_add(symbol.size.max(1)).min(len); // no size: it covers its first byte
            Some(Cover { start, end, owner: NonZeroU32::new(index)? })
        };
        let mut covers: Vec<Cover> = tables.listed(bytes).filter_map(cover).collect();
        // Later ones hide earlier ones: those that start later, and of equals those that the file has first.
        covers.sort_unstable_by_key(|c| (c.start, Reverse(c.owner)));
        let mut cut = Cut::default();
        for cover in covers {
            cut.end_before(cover.start);
            cut.begin(cover.start, Some(cover.owner));
            cut.open.push(cover);
        }
        cut.end_before(len);
        let (starts, owners): (Vec<_>, Vec<_>) = cut.stretches.into_iter().unzip();
        Self { starts: starts.into(), owners: owners.into() }
    }

    /// The number of the symbol that an image position belongs to.
    pub(crate) fn at(&self, at: Rva) -> Option<u32> {
        let after = self.starts.partition_point(|&start| start <= at.0);
        self.owners.get(after.checked_sub(1)?)?.map(NonZeroU32::get)
    }

    /// The symbol that an image position belongs to.
    pub(crate) fn symbol<'a>(
        &self,
        at: Rva,
        tables: &Tables,
        bytes: &'a [u8],
        plan: &MapPlan,
    ) -> Option<NearSymbol<'a>> {
        let index = self.at(at)?;
        let symbol = tables.symbol(bytes, index).ok()?;
        Some(NearSymbol {
            name: tables.text(bytes, &symbol)?,
            at: Rva(symbol.value.checked_sub(plan.link_base().0)?),
            entry: tables.entry(bytes, index)?,
        })
    }
}

/// The image while it is cut, from its first byte on.
#[derive(Default)]
struct Cut {
    stretches: Vec<(u64, Option<NonZeroU32>)>,
    /// What covers the place where the cutting is; the last hides the others.
    open: Vec<Cover>,
}

impl Cut {
    fn begin(&mut self, at: u64, owner: Option<NonZeroU32>) {
        match self.stretches.last_mut() {
            Some((start, last)) if *start == at => *last = owner,
            _ => self.stretches.push((at, owner)),
        }
    }

    /// What ends at `to` or before it gives way to what it hid.
    fn end_before(&mut self, to: u64) {
        while let Some(ended) = self.open.pop_if(|c| c.end <= to) {
            while self.open.pop_if(|hidden| hidden.end <= ended.end).is_some() {}
            self.begin(ended.end, self.open.last().map(|c| c.owner));
        }
    }
}
