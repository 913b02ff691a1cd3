//! References to modules that were taken by address: what `LoadLibrary` and `FreeLibrary` count.

use ahash::AHashMap;
use loader_core::{Addr, Handle, Rest};
use loader_win32::Counts;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many names of one module are remembered.
const NAMES: usize = 8;

/// The references of all modules.
#[derive(Debug)]
pub(super) struct References {
    /// Whether the load set is at rest: in an entry point there is more to do than to count.
    rest: Rest,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    taken: AHashMap<Addr, Taken>,
    /// The modules by the names that references to them were taken by.
    named: AHashMap<Box<str>, Addr>,
}

/// References to one module: interchangeable handles, and one of them stands for so many more.
#[derive(Debug, Default)]
struct Taken {
    handles: Vec<Handle>,
    more: usize,
    names: Vec<Box<str>>,
}

/// What giving a reference back comes to.
pub(super) enum GivenBack {
    NoneWasTaken,
    OthersAreLeft,
    /// This handle has to be closed.
    Last(Handle),
}

impl References {
    pub(super) fn new(rest: Rest) -> Self {
        Self { rest, book: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a handle.
    pub(super) fn take(&self, base: Addr, handle: Handle) {
        self.lock().taken.entry(base).or_default().handles.push(handle);
    }

    /// Counts a handle that is to be the last of its module's.
    pub(super) fn lend(&self, base: Addr, handle: Handle) {
        self.lock().taken.entry(base).or_default().handles.insert(0, handle);
    }

    /// One more reference to the module that `find` finds, if somebody has one of it already: a number goes up, and nothing
    /// else happens.
    pub(super) fn take_more(&self, find: impl FnOnce() -> Option<Addr>) -> Option<Addr> {
        let mut book = self.lock();
        let base = find()?;
        book.taken.get_mut(&base)?.more += 1;
        Some(base)
    }

    /// Remembers by which name a reference was taken.
    pub(super) fn name(&self, base: Addr, name: &str) {
        let Book { taken, named } = &mut *self.lock();
        let Some(of_module) = taken.get_mut(&base).filter(|of_module| of_module.names.len() < NAMES) else {
            return;
        };
        if named.insert(name.into(), base).is_none() {
            of_module.names.push(name.into());
        }
    }

    /// Takes one reference away.
    pub(super) fn give_back(&self, base: Addr) -> GivenBack {
        let mut book = self.lock();
        let Some(of_module) = book.taken.get_mut(&base) else { return GivenBack::NoneWasTaken };
        if of_module.give_spare() {
            return GivenBack::OthersAreLeft;
        }
        let handle = of_module.handles.pop();
        book.forget_unless_held(base);
        handle.map_or(GivenBack::NoneWasTaken, GivenBack::Last)
    }

    /// Takes the reference away that a handle was lent as; `None` where `FreeLibrary` took it.
    pub(super) fn take_back(&self, handle: Handle) -> Option<GivenBack> {
        let mut book = self.lock();
        let mut all = book.taken.iter_mut();
        let (&base, of_module) = all.find(|(_, of_module)| of_module.handles.contains(&handle))?;
        if of_module.give_spare() {
            return Some(GivenBack::OthersAreLeft); // the handle stands for one of the others from now on
        }
        of_module.handles.retain(|&h| h != handle);
        book.forget_unless_held(base);
        Some(GivenBack::Last(handle))
    }

    /// A module goes, whoever has references to it.
    pub(super) fn forget(&self, base: Addr) {
        self.lock().forget(base);
    }
}

impl Counts for References {
    /// As long as there are references to the module that a reference was taken by this name to, that module is what the name
    /// means.
    fn load_again(&self, name: &str) -> Option<Addr> {
        if !self.rest.is_kept() {
            return None;
        }
        let mut book = self.lock();
        let base = *book.named.get(name)?;
        book.taken.get_mut(&base)?.more += 1;
        Some(base)
    }

    /// A reference that is no handle's.
    fn free_spare(&self, base: Addr) -> bool {
        self.rest.is_kept() && self.lock().taken.get_mut(&base).is_some_and(Taken::give_spare)
    }
}

impl Book {
    fn forget_unless_held(&mut self, base: Addr) {
        if self.taken.get(&base).is_some_and(|of_module| of_module.handles.is_empty()) {
            self.forget(base);
        }
    }

    fn forget(&mut self, base: Addr) {
        let names = self.taken.remove(&base).map(|of_module| of_module.names);
        for name in names.into_iter().flatten() {
            self.named.remove(&name);
        }
    }
}

impl Taken {
    fn give_spare(&mut self) -> bool {
        let rest = self.more.checked_sub(1);
        self.more = rest.unwrap_or(0);
        rest.is_some()
    }
}
