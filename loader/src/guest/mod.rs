//! What loaded code is given in the place of the process's own functions, where those would not know its modules.
//!
//! The functions are bound, never interposed: the imports of loaded ELF modules lead here, the rest of the process keeps
//! its own. Each is told the address that it was called from, and so which engine and which module asks. Code that no
//! engine loaded (a program's function that got the pointer from a library) gets what the process's own function does.
//!
//! * [`dl`]: `dlopen` and its kin; [`address`]: `dladdr` and its kin;
//! * [`exit`]: handlers for the end of the process; [`thread_end`]: objects that threads destroy at their end;
//! * [`keys`]: destructors of thread-specific data; [`fork`]: handlers for forks, and the engines themselves across one;
//! * [`chance`]: time and random numbers, where they are to be the same in every run.

mod address;
mod chance;
mod dl;
mod exit;
mod fork;
mod keys;
mod thread_end;

use crate::{Error, HostModule, Rules, host::HostLibraries};
use loader_core::{Addr, LoadSet, ModuleId, Owner, call::Native};
use std::{
    ffi::c_void,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak},
};

/// Defines functions that pass the address they were called from on as one more argument: `name => function, register
/// of that argument;`.
macro_rules! told_their_caller {
    ($($name:ident => $function:ident, $register:literal;)*) => {$(
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            std::arch::naked_asm!(
                concat!("mov ", $register, ", [rsp]"),
                "jmp {function}",
                function = sym $function
            )
        }
    )*};
}
use told_their_caller;

/// An engine, as the code that it loaded sees it.
#[derive(Debug)]
pub(crate) struct Guests {
    set: Weak<LoadSet>,
    rules: Rules,
    host: Arc<HostLibraries>,
    /// The module of the functions themselves.
    own: ModuleId,
}

/// The engines of this process.
static ENGINES: RwLock<Vec<Weak<Guests>>> = RwLock::new(Vec::new());

fn engines() -> RwLockReadGuard<'static, Vec<Weak<Guests>>> {
    ENGINES.read().unwrap_or_else(PoisonError::into_inner)
}

fn engines_to_change() -> RwLockWriteGuard<'static, Vec<Weak<Guests>>> {
    ENGINES.write().unwrap_or_else(PoisonError::into_inner)
}

impl Guests {
    /// Adds the functions to a load set. They come before what the process has.
    pub(crate) fn install(
        set: &Arc<LoadSet>,
        native: &Native,
        rules: Rules,
        host: Arc<HostLibraries>,
    ) -> Result<Arc<Self>, Error> {
        fork::prepare_once();
        exit::prepare_once();
        let tls_get_addr = loader_core::tls::tls_get_addr as *const ();
        let module = HostModule::new("(engine)").global().function("__tls_get_addr", tls_get_addr);
        let module = [
            dl::offer,
            address::offer,
            exit::offer,
            thread_end::offer,
            fork::offer,
            keys::offer,
            chance::offer,
        ]
        .into_iter()
        .fold(module, |module, offer: fn(HostModule) -> HostModule| offer(module));
        let own = set.add_host(module)?;
        native.when_withdrawn(|base| {
            exit::withdraw(base);
            fork::withdraw(base);
            keys::withdraw(base);
        });
        let guests = Arc::new(Self { set: Arc::downgrade(set), rules, host, own });
        engines_to_change().push(Arc::downgrade(&guests));
        Ok(guests)
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        engines_to_change().retain(|engine| !std::ptr::eq(engine.as_ptr(), self));
        dl::forget(&self.set);
    }
}

/// Loaded code at work: the engine that loaded it, and the module, where that can be told.
struct Guest {
    engine: Arc<Guests>,
    set: Arc<LoadSet>,
    module: Option<Owner>,
}

impl Guest {
    /// The module that an address lies in, if an engine of this process loaded it.
    fn at(address: *const c_void) -> Option<Self> {
        let at = Addr(address.addr() as u64);
        Self::all(|set| set.owner(at)).find(|guest| guest.module.is_some())
    }

    /// Who calls, given where the call returns to.
    ///
    /// A call that is the last thing a function does returns to whoever called that function, which may be the
    /// engine: then it is the module whose initialiser or finaliser this thread is in. Or it may be the program: then
    /// it is the only engine there is, or nobody knows.
    fn calling(caller: *const c_void) -> Option<Self> {
        Self::at(caller).or_else(|| {
            let all: Vec<Self> = Self::all(LoadSet::entered).collect();
            let only = all.len() == 1;
            all.into_iter().find(|guest| only || guest.module.is_some())
        })
    }

    /// Every engine, with the module of its that is meant.
    fn all(module: impl Fn(&LoadSet) -> Option<Owner>) -> impl Iterator<Item = Self> {
        let engines: Vec<_> = engines().iter().filter_map(Weak::upgrade).collect(); // and the list is free again
        engines.into_iter().filter_map(move |engine| {
            let set = engine.set.upgrade()?;
            Some(Self { module: module(&set), engine, set })
        })
    }
}

/// Whose a registration is: where the module starts that one of the two addresses lies in; none where no engine loaded
/// that.
fn registrant(handle: *const c_void, caller: *const c_void) -> Option<Addr> {
    let guest = Guest::at(handle).or_else(|| Guest::calling(caller))?;
    Some(guest.module?.at().base)
}
