//! `PT_TLS`: what every thread's block of this module starts as.

use crate::malformed;
use goblin::elf::ProgramHeader;
use loader_core::{ErrorKind, MapPlan, Rights, Rva, TlsTemplate};

/// The longest block, and the greatest alignment, that is believed: 4 GiB, far beyond what any thread could have.
const LONGEST: u64 = 1 << 32;

/// Checks the segment against the plan; an empty one asks for nothing.
pub(crate) fn template(
    segment: Option<&ProgramHeader>,
    plan: &MapPlan,
) -> Result<Option<TlsTemplate>, ErrorKind> {
    let Some(tls) = segment.filter(|t| t.p_memsz != 0) else {
        return Ok(None);
    };
    let align = tls.p_align.max(1);
    if !align.is_power_of_two() || align > LONGEST {
        return Err(malformed("PT_TLS alignment", tls.p_align));
    }
    if tls.p_filesz > tls.p_memsz || tls.p_memsz > LONGEST {
        return Err(malformed("PT_TLS length", tls.p_memsz));
    }
    Ok(Some(TlsTemplate {
        init: init(tls, plan).ok_or_else(|| malformed("PT_TLS outside the image", tls.p_vaddr))?,
        size: tls.p_memsz,
        align,
        skew: tls.p_vaddr % align,
        index_at: None,
    }))
}

/// Where the initialised part is; it must be readable from end to end.
fn init(tls: &ProgramHeader, plan: &MapPlan) -> Option<std::ops::Range<Rva>> {
    let start = Rva(tls.p_vaddr.checked_sub(plan.link_base().0)?);
    let end = start.checked_add(tls.p_filesz)?;
    if start == end {
        return Some(Rva(0)..Rva(0));
    }
    let within = |r: &loader_core::Region| r.at.start <= start && end <= r.at.end;
    let region = plan.regions().iter().find(|r| within(r))?;
    region.rights.contains(Rights::READ).then_some(start..end)
}
