//! `DT_INIT`, `DT_INIT_ARRAY`, `DT_FINI_ARRAY`, `DT_FINI`: what is called when the image comes and goes.

use crate::{
    dynamic::{DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_INIT, DT_INIT_ARRAY, DT_INIT_ARRAYSZ, Dynamic},
    malformed,
    symbol::code,
};
use loader_core::{Addr, Entry, EntryKind, ErrorKind, ImageMut, Lifecycle, MapPlan, Rights, Rva};

/// A list of functions: where it is and how many bytes it has.
type List = Option<(Rva, usize)>;

/// The calls as the dynamic section has them; the lists hold live addresses only once the image is bound.
#[derive(Debug)]
pub(crate) struct Calls {
    init: Option<Rva>,
    init_array: List,
    fini_array: List,
    fini: Option<Rva>,
}

impl Calls {
    /// Finds the calls.
    pub(crate) fn read(dynamic: &Dynamic, plan: &MapPlan) -> Result<Self, ErrorKind> {
        let function = |tag| dynamic.get(tag).filter(|&at| at != 0);
        let list = |at, len| list(dynamic.get(at), dynamic.get(len), plan);
        Ok(Self {
            init: function(DT_INIT).map(|at| code(plan, at)).transpose()?,
            init_array: list(DT_INIT_ARRAY, DT_INIT_ARRAYSZ)?,
            fini_array: list(DT_FINI_ARRAY, DT_FINI_ARRAYSZ)?,
            fini: function(DT_FINI).map(|at| code(plan, at)).transpose()?,
        })
    }

    /// The calls of a bound image, in order.
    pub(crate) fn entries(&self, mem: &ImageMut<'_>, plan: &MapPlan) -> Result<Lifecycle, ErrorKind> {
        let one = |at: Option<Rva>| at.map(|at| mem.at.addr(at));
        let mut fini = functions(self.fini_array, mem, plan)?;
        fini.reverse();
        let attach = one(self.init).into_iter().chain(functions(self.init_array, mem, plan)?);
        let detach = fini.into_iter().chain(one(self.fini));
        let call = |kind| move |at| Entry { at, kind };
        Ok(Lifecycle {
            attach: attach.map(call(EntryKind::Init)).collect(),
            detach: detach.map(call(EntryKind::Fini)).collect(),
            thread: Vec::new(),
        })
    }
}

fn list(at: Option<u64>, len: Option<u64>, plan: &MapPlan) -> Result<List, ErrorKind> {
    let (Some(at), Some(len)) = (at, len.filter(|&n| n != 0)) else {
        return Ok(None);
    };
    if len % 8 != 0 {
        return Err(malformed("length of a list of functions", len));
    }
    let start = at.checked_sub(plan.link_base().0).map(Rva);
    start
        .zip(usize::try_from(len).ok())
        .map(Some)
        .ok_or_else(|| malformed("list of functions outside the image", at))
}

/// The live addresses in a list. 0 and -1 are the marks that old linkers leave at its ends.
fn functions(list: List, mem: &ImageMut<'_>, plan: &MapPlan) -> Result<Vec<Addr>, ErrorKind> {
    let Some((at, len)) = list else {
        return Ok(Vec::new());
    };
    let words = mem.bytes(at, len)?.as_chunks().0.iter();
    let mut out = Vec::with_capacity(words.len());
    for entry in words.map(|w| Addr(u64::from_le_bytes(*w))) {
        if matches!(entry.0, 0 | u64::MAX) {
            continue;
        }
        let ours = mem.at.rva_of(entry);
        if ours.is_some_and(|rva| !plan.allows(rva, Rights::EXECUTE)) {
            return Err(malformed("listed function outside the image's code", entry.0));
        }
        out.push(entry);
    }
    Ok(out)
}
