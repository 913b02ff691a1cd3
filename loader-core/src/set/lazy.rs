//! Calls that are bound when they are first made. Until then a call's slot leads back into its own image, and from there
//! to [`LazyCalls::bind`]: it searches what binding at load would have searched, as that is now.
//!
//! `unsafe` because the slot of a call is written while other threads call through it.
#![allow(unsafe_code)]

use super::{
    LoadSet,
    state::{Info, Reliance},
};
use crate::{
    Addr, Error, ErrorKind, Event, Export, Format, Query, Result, Rva, Stage,
    call::{MissingImport, Stubs},
    event::Topics,
    mode::Scope,
    registers,
};
use std::{
    iter,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Release},
    },
};

/// What the calls of all modules that one open brings in have in common.
#[derive(Clone, Debug)]
pub(crate) struct LazyScope {
    set: Weak<LoadSet>,
    /// The root's loadList, as the session searched it. Whoever goes is missed by nobody.
    local: Arc<[Weak<Info>]>,
}

/// The calls of one module that are bound when they are first made.
#[derive(Debug)]
pub struct LazyCalls {
    scope: LazyScope,
    caller: Arc<Info>,
    /// Whether the module's own definitions come first of all.
    itself_first: bool,
    /// Stand for functions that nobody defined when they were called. Taken only under the state lock.
    stubs: Mutex<Option<Box<dyn Stubs>>>,
}

impl LazyCalls {
    pub(crate) fn new(scope: LazyScope, caller: Arc<Info>, itself_first: bool) -> Box<Self> {
        registers::prepare();
        Box::new(Self { scope, caller, itself_first, stubs: Mutex::default() })
    }

    /// What an image holds of it.
    pub(crate) fn addr(&self) -> Addr {
        Addr(std::ptr::from_ref(self).expose_provenance() as u64)
    }

    /// Binds the call that stands at place `nth` of the module's linkage table; returns where it leads.
    ///
    /// A function that nobody defines leads to a stub, as under [`crate::MissingPolicy::Trap`]. What cannot be answered
    /// at all ends the process with a message: there is nobody to return to.
    #[must_use]
    pub fn bind(&self, nth: u64) -> Addr {
        let went = || {
            let kind = ErrorKind::Inconsistent { what: "a call of a library whose load set went" };
            Error::new(&self.caller.identity.name, Stage::Bind, kind)
        };
        let bound = self.scope.set.upgrade().ok_or_else(went).and_then(|set| set.bind_call(self, nth));
        bound.unwrap_or_else(|error| {
            eprintln!("{error}");
            std::process::abort()
        })
    }

    /// From now on the call leads to `at`. Other threads may be making it: each goes there, or comes here as well.
    fn settle(&self, slot: Rva, at: Addr) {
        let slot = self.caller.at.addr(slot).0 as *mut u64;
        // SAFETY: `slot` is an aligned word in pages that stay writable (`bind_call` asked the plan), of a module whose
        // memory outlives this value. After `seal` nobody has a reference to it: only calls read it, and this writes it.
        let slot = unsafe { AtomicU64::from_ptr(slot) };
        slot.store(at.0, Release);
    }
}

impl LoadSet {
    /// Where calls are looked for that are bound when first made, in the order of `local`; `None` for a load set that
    /// is not [shared](LoadSet::shared).
    pub(crate) fn lazy_scope(&self, local: Arc<[Weak<Info>]>) -> Option<LazyScope> {
        let set = self.me.clone();
        (set.strong_count() != 0).then_some(LazyScope { set, local })
    }

    fn bind_call(&self, calls: &LazyCalls, nth: u64) -> Result<Addr> {
        let Info { image, identity, .. } = &*calls.caller;
        let blame = |kind| Error::new(&identity.name, Stage::Bind, kind);
        let call = image.lazy_call(nth).map_err(blame)?;
        let call = call.filter(|(_, slot)| image.plan().stays_writable(*slot));
        let unknown = || blame(ErrorKind::Malformed { what: "number of a call", at: nth });
        let (query, slot) = call.ok_or_else(unknown)?;
        match self.callee(calls, &query).map_err(blame)? {
            Some((at, reliance)) => {
                if reliance == Reliance::Lasting {
                    calls.settle(slot, at);
                }
                Ok(at)
            }
            None if query.weak => Ok(Addr(0)), // what a call of it at load would have been bound to
            None => {
                let stub = self.stand_in(calls, &query).map_err(blame)?;
                calls.settle(slot, stub);
                Ok(stub)
            }
        }
    }

    /// The first definition that is there, and whether the caller keeps it there.
    fn callee(&self, calls: &LazyCalls, query: &Query<'_>) -> Result<Option<(Addr, Reliance)>, ErrorKind> {
        let globals = self.lock().searched();
        let global = globals.iter().map(|m| m.info.clone());
        let engine = global.clone().filter(|info| info.image.format() == Format::Host);
        let local = calls.scope.local.iter().filter_map(Weak::upgrade);
        let before = (calls.caller.scope == Scope::OwnFirst).then(|| engine.chain(local.clone()));
        let itself = calls.itself_first.then(|| calls.caller.clone());
        let list = itself.into_iter().chain(before.into_iter().flatten()).chain(global).chain(local);
        let later = iter::once_with(|| self.lock().groups(&calls.caller)).flatten();
        for info in list.chain(later).filter(|info| info.names.may_have(query.hash)) {
            let Some(export) = info.image.export(query)? else { continue };
            // Before anything of it is called: from here on it stays.
            let reliance = self.lock().rely(&calls.caller, &info);
            if reliance == Reliance::Gone {
                continue;
            }
            let at = match export {
                Export::At(rva) | Export::Unique(rva) => info.at.addr(rva), // compilers make no function unique
                Export::Absolute(value) => Addr(value),
                // Asked anew, not remembered: the module may not be there for good yet.
                Export::Resolver(rva) => self.caller().resolver(info.at.addr(rva))?,
                Export::Tls { offset } => {
                    return Err(ErrorKind::Malformed { what: "call of a thread-local variable", at: offset });
                }
                Export::Forward(_) => continue,
            };
            if self.told(Topics::all()).contains(Topics::SYMBOLS) {
                let (from, to) = (&calls.caller.identity.name, &info.identity.name);
                self.emit(Topics::all(), &Event::Bound { from, symbol: query.symbol, to, at });
            }
            return Ok(Some((at, reliance)));
        }
        Ok(None)
    }

    fn stand_in(&self, calls: &LazyCalls, query: &Query<'_>) -> Result<Addr, ErrorKind> {
        let module = calls.caller.identity.name.clone();
        self.emit(Topics::all(), &Event::Missing { from: &module, symbol: query.symbol, of: query.from });
        let import = MissingImport { module, symbol: query.symbol.to_name(), from: None };
        let _state = self.lock(); // nobody forks meanwhile
        let mut stubs = calls.stubs.lock().unwrap_or_else(PoisonError::into_inner);
        stubs.get_or_insert_with(|| self.caller().stubs()).stub(import)
    }
}
