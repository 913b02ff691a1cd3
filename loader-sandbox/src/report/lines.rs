//! Source lines, from DWARF.
//!
//! `addr2line` looks at all units of a file before it answers, and units may share what is long: a small file can keep it
//! busy for years. So the unit that an address belongs to is looked for here, for a time, and `addr2line` is given that one.

use addr2line::Context;
use gimli::{DebugAranges, DebugInfo, Dwarf, DwarfSections, EndianSlice, LittleEndian, Section};
use std::{ops::Range, time::Instant};

/// Bytes with the order of x86-64.
pub(super) type Bytes<'d> = EndianSlice<'d, LittleEndian>;

/// The debug information of a file.
pub(super) struct Lines<'d> {
    sections: DwarfSections<Bytes<'d>>,
    /// Which addresses a unit has, and where it is in `.debug_info`.
    units: Vec<(Range<u64>, Range<usize>)>,
}

/// As many ranges of addresses are kept.
const MOST: usize = 1 << 20;

impl<'d> Lines<'d> {
    /// Reads which unit has which addresses, as far as it gets in time.
    pub(super) fn new(sections: DwarfSections<Bytes<'d>>, until: Instant) -> Self {
        let dwarf = sections.borrow(|bytes| *bytes);
        let mut lines = Self { sections, units: Vec::new() };
        let mut headers = dwarf.units();
        while let Ok(Some(header)) = headers.next()
            && Instant::now() < until
        {
            let Some(start) = header.debug_info_offset() else { continue };
            let place = start.0..start.0.saturating_add(header.length_including_self());
            let Ok(unit) = dwarf.unit(header) else { continue };
            let Ok(mut ranges) = dwarf.unit_ranges(&unit) else { continue };
            while let Ok(Some(range)) = ranges.next() {
                if lines.units.len() == MOST {
                    return lines;
                }
                lines.units.push((range.begin..range.end, place.clone()));
            }
        }
        lines
    }

    /// The file and the line of an address.
    pub(super) fn find(&self, address: u64) -> Option<(String, u32)> {
        let (_, unit) = self.units.iter().find(|(range, _)| range.contains(&address))?;
        let info = self.sections.debug_info.reader().slice().get(unit.clone())?;
        let dwarf = Dwarf {
            debug_info: DebugInfo::new(info, LittleEndian),
            debug_aranges: DebugAranges::new(&[], LittleEndian),
            ..self.sections.borrow(|bytes| *bytes)
        };
        let context = Context::from_dwarf(dwarf).ok()?;
        let location = context.find_location(address).ok()??;
        Some((location.file?.into(), location.line?))
    }
}
