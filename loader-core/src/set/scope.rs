//! Lookups on behalf of a loaded module: what its code sees when it asks for a name at run time.

use super::{FoundSymbol, Info, LoadSet, ModuleId, Seen, state::Reliance};
use crate::{
    Addr, Error, ErrorKind, FileId, Format, ImportControl, Placement, Query, Requester, Result, Rights, Rva,
    Stage, mode::Scope,
};
use std::{iter, ops::Range, path::Path, slice, sync::Arc};

/// The module that some code is part of.
#[derive(Clone, Debug)]
pub struct Owner {
    pub(super) id: ModuleId,
    pub(super) info: Arc<Info>,
}

impl Owner {
    /// The module. It may be one whose terminators run, which nobody else can find any more.
    #[must_use]
    pub const fn id(&self) -> ModuleId {
        self.id
    }

    /// The name the user knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.identity.name
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> Placement {
        self.info.at
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.info.image.format()
    }

    /// Its file, where it has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.info.identity.path.as_deref()
    }

    /// The rights of its pages once it is sealed, lowest first.
    #[must_use]
    pub fn rights(&self) -> &[(Range<Rva>, Rights)] {
        self.info.image.plan().rights()
    }

    /// The module as one that needs libraries.
    #[must_use]
    pub fn requester(&self) -> Requester<'_> {
        let Info { identity, image, .. } = &*self.info;
        Requester { name: &identity.name, path: identity.path.as_deref(), image: Some(&**image) }
    }
}

impl LoadSet {
    /// The module that an address lies in, if this set loaded it; also one whose terminators run.
    #[must_use]
    pub fn owner(&self, at: Addr) -> Option<Owner> {
        self.lock().owner(at)
    }

    /// The module that an address lies in: as [`LoadSet::owner`], or one of the host's.
    #[must_use]
    pub fn holder(&self, at: Addr) -> Option<Owner> {
        let state = self.lock();
        let loaded = state.at(at).map(|id| Owner { id, info: state.info(id).clone() });
        loaded.or_else(|| state.owner(at))
    }

    /// The module that answers to a name in key form, or that was loaded from the file at a path; also one whose
    /// terminators run.
    #[must_use]
    pub fn holder_named(&self, name: &str) -> Option<Owner> {
        let file = name.contains('/').then(|| FileId::at(Path::new(name))).flatten();
        self.lock().named(name, file)
    }

    /// The module whose initialiser or terminator the calling thread is in: the innermost.
    #[must_use]
    pub fn entered(&self) -> Option<Owner> {
        let (info, _) = self.innermost()?;
        self.owner(info.at.base)
    }

    /// Looks a symbol up as a module's own code sees it: in the globalized searchList, then in the group that the
    /// module was loaded with; with [`Scope::OwnFirst`] the other way round. A semi-globalized module, but for that, is
    /// asked itself before anybody else. Last come the groups of what was opened later and needs it. Nobody's code sees
    /// only the globalized searchList.
    ///
    /// As with glibc's `RTLD_DEFAULT`, whoever has the symbol stays as long as the module from then on.
    ///
    /// # Errors
    /// As [`LoadSet::symbol`].
    pub fn symbol_seen_by(&self, owner: Option<&Owner>, query: &Query<'_>) -> Result<FoundSymbol> {
        let members = self.lock().searched();
        let globals = members.iter().map(|m| m.info.clone());
        let Some(owner) = owner else {
            let list: Vec<_> = globals.collect();
            return self.first_in(&list, query).map_err(|error| blame(None, error));
        };
        let (itself, group) = (&owner.info, self.group(owner));
        let list: Vec<_> = match (itself.scope, itself.image.import_control()) {
            (Scope::OwnFirst, _) => group.into_iter().chain(globals).collect(),
            (Scope::GlobalFirst, ImportControl::SemiGlobalized) => {
                iter::once(itself.clone()).chain(globals).chain(group).collect()
            }
            (Scope::GlobalFirst, _) => globals.chain(group).collect(),
        };
        let later = iter::once_with(|| self.lock().groups(itself)).flatten();
        for info in list.into_iter().chain(later) {
            let found =
                self.seek(slice::from_ref(&info), query).map_err(|error| blame(Some(owner), error))?;
            let Some(Seen { at, module, format }) = found else { continue };
            if self.lock().rely(itself, &info) != Reliance::Gone {
                return Ok(FoundSymbol { at, module: module.into(), format });
            }
        }
        let symbol = query.symbol.to_name();
        Err(Error::new(owner.name(), Stage::Symbol, ErrorKind::SymbolNotFound { symbol }))
    }

    /// Looks for the next definition behind a module's own, in the group that the module was loaded with.
    ///
    /// # Errors
    /// As [`LoadSet::symbol`].
    pub fn symbol_after(&self, owner: Option<&Owner>, query: &Query<'_>) -> Result<FoundSymbol> {
        let group = owner.map(|owner| self.group(owner)).unwrap_or_default();
        let own = group.iter().position(|info| owner.is_some_and(|o| Arc::ptr_eq(info, &o.info)));
        self.first_in(&group[own.map_or(0, |n| n + 1)..], query).map_err(|error| blame(owner, error))
    }

    /// A module that is asked only when it is named (PE) answers to nobody here.
    fn group(&self, owner: &Owner) -> Vec<Arc<Info>> {
        let mut group = self.lock().group(owner.id);
        group.retain(|info| info.image.format() != Format::Pe);
        group
    }
}

/// Where nobody has a symbol, it is missing to whoever asked.
fn blame(owner: Option<&Owner>, error: Error) -> Error {
    match error.kind {
        kind @ ErrorKind::SymbolNotFound { .. } => {
            Error::new(owner.map_or("", Owner::name), Stage::Symbol, kind)
        }
        _ => error,
    }
}
