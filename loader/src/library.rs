//! One open handle, and what is found through it.
//!
//! `unsafe` because a symbol's type is the caller's word, and an address becomes what that word says.
#![allow(unsafe_code)]

use crate::{
    Arg, Closed, Convention, Engine, Error, ErrorKind, Format, FoundSymbol, Handle, ModuleInfo, Stage,
    SymbolName, invoke,
};
use loader_core::{Addr, Query, set::SearchList};
use std::{
    ffi::CStr,
    fmt,
    marker::PhantomData,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// An open library. Dropping it closes its handle; the library itself goes when no open handle leads to it any more.
#[derive(Debug)]
#[must_use = "dropping a library closes it"]
pub struct Library {
    engine: Engine,
    handle: Handle,
    name: Box<str>,
    /// What is searched for it, and how often handles had been closed when the handle was last known to be open, plus 1.
    list: OnceLock<SearchList>,
    checked: AtomicU64,
}

impl Library {
    pub(crate) fn new(engine: Engine, handle: Handle, name: &str) -> Self {
        Self { engine, handle, name: name.into(), list: OnceLock::new(), checked: AtomicU64::new(0) }
    }

    /// The name it was opened by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its handle.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// The engine it is loaded in.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The module behind the handle; `None` for the main program's handle.
    #[must_use]
    pub fn module(&self) -> Option<ModuleInfo> {
        self.engine.load_set().target(self.handle)
    }

    /// Looks a name up in the library, then in what it needs, in loadList order.
    ///
    /// `F` is a function pointer or a pointer to a variable. Functions of Windows DLLs have the `extern "win64"`
    /// convention, those of ELF libraries `extern "C"`.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`].
    ///
    /// # Panics
    /// When the program is compiled, if `F` is not as large as a pointer.
    ///
    /// # Safety
    /// The symbol is what `F` says. Like every use of what a library has, using the symbol is right only while the
    /// library is loaded; the borrow sees to that for `Symbol`, not for copies that were taken out of it.
    pub unsafe fn get<F: Copy>(&self, name: &CStr) -> Result<Symbol<'_, F>, Error> {
        self.lookup(&Query::name(name.to_bytes()))
    }

    /// As [`Library::get`], with a version: ELF only.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`].
    ///
    /// # Safety
    /// As [`Library::get`].
    pub unsafe fn get_version<F: Copy>(&self, name: &CStr, version: &CStr) -> Result<Symbol<'_, F>, Error> {
        self.lookup(&Query { version: Some(version.to_bytes()), ..Query::name(name.to_bytes()) })
    }

    /// Looks an ordinal of a PE export table up.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`].
    ///
    /// # Safety
    /// As [`Library::get`].
    pub unsafe fn get_ordinal<F: Copy>(&self, ordinal: u16) -> Result<Symbol<'_, F>, Error> {
        self.lookup(&Query::ordinal(ordinal))
    }

    /// Where a symbol is, whatever it is.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`].
    pub fn find(&self, query: &Query<'_>) -> Result<FoundSymbol, Error> {
        self.engine.load_set().symbol(self.handle, query)
    }

    /// Where a symbol is, if it is anywhere, as [`Library::find`] finds it: the quick way for those who ask often.
    ///
    /// # Errors
    /// As [`Library::find`], but a name that is not there is no error.
    #[inline]
    pub fn address(&self, query: &Query<'_>) -> Result<Option<Addr>, Error> {
        Ok(self.look(query)?.map(|(at, _)| at))
    }

    fn look(&self, query: &Query<'_>) -> Result<Option<(Addr, Format)>, Error> {
        match self.list() {
            Some(list) => self.engine.load_set().address(list, query),
            None => match self.find(query) {
                Ok(found) => Ok(Some((found.at, found.format))),
                Err(Error { kind: ErrorKind::SymbolNotFound { .. }, .. }) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// What is searched, asked for once; `None` for the main program, whose list grows, and after somebody else has
    /// closed the handle.
    #[inline]
    fn list(&self) -> Option<&SearchList> {
        let set = self.engine.load_set();
        let closes = set.closes();
        if self.checked.load(Relaxed) != closes + 1 {
            let list = set.searched(self.handle)?;
            self.list.get_or_init(|| list);
            self.checked.store(closes + 1, Relaxed);
        }
        self.list.get()
    }

    fn lookup<F: Copy>(&self, query: &Query<'_>) -> Result<Symbol<'_, F>, Error> {
        match self.look(query)? {
            // SAFETY: the caller of `get` promised that the symbol is an `F`.
            Some((at, format)) if at.0 != 0 => Ok(unsafe { Symbol::new(at, format, &self.engine) }),
            _ => Err(self.nowhere(query)), // null is no function pointer
        }
    }

    #[cold]
    fn nowhere(&self, query: &Query<'_>) -> Error {
        let module = self.module().map_or("".into(), |m| m.name);
        Error::new(&module, Stage::Symbol, ErrorKind::SymbolNotFound { symbol: query.symbol.to_name() })
    }

    /// Calls a function with arguments that are known only at run time, and returns rax and the low half of xmm0: where
    /// functions leave what they return.
    ///
    /// # Errors
    /// [`ErrorKind::SymbolNotFound`], [`ErrorKind::MissingCalled`], [`ErrorKind::Exception`].
    ///
    /// # Safety
    /// The symbol is a function that takes these arguments.
    pub unsafe fn invoke(&self, symbol: &SymbolName, arguments: &[Arg]) -> Result<(u64, u64), Error> {
        let (found, convention) = self.find_function(&Query::lookup(symbol.as_symbol()))?;
        // SAFETY: the caller's word; the library is open during the call.
        unsafe { call(&self.engine, &found, convention, arguments) }
    }

    /// Where a function is, and by which convention it is called.
    pub(crate) fn find_function(&self, query: &Query<'_>) -> Result<(FoundSymbol, Convention), Error> {
        let found = self.find(query)?;
        let convention = match found.format {
            Format::Elf => Convention::SystemV,
            Format::Pe => Convention::Windows,
            // A function of the host has the convention of those for whom it is there.
            Format::Host if self.module().is_some_and(|m| m.format == Format::Pe) => Convention::Windows,
            Format::Host => Convention::SystemV,
        };
        Ok((found, convention))
    }

    /// Closes the handle; returns what went, in the order in which it was terminated, and what stayed and why.
    ///
    /// # Errors
    /// None that this library's own handle can meet; the result is that of [`LoadSet::close`](loader_core::LoadSet::close).
    pub fn close(self) -> Result<Closed, Error> {
        let this = std::mem::ManuallyDrop::new(self);
        let closed = this.engine.load_set().close(this.handle);
        drop_parts(this);
        closed
    }
}

/// Calls a function that was found among what an engine has loaded.
///
/// # Errors
/// [`ErrorKind::MissingCalled`], [`ErrorKind::Exception`].
///
/// # Safety
/// It is a function of this convention, which takes these arguments, and whose it is stays loaded meanwhile.
pub(crate) unsafe fn call(
    engine: &Engine,
    found: &FoundSymbol,
    convention: Convention,
    arguments: &[Arg],
) -> Result<(u64, u64), Error> {
    let blame = |kind| Error::new(&found.module, Stage::Call, kind);
    let format = if convention == Convention::Windows { Format::Pe } else { Format::Elf };
    engine.load_set().enter(format).map_err(blame)?;
    // SAFETY: the caller's word.
    unsafe { invoke(found.at, convention, arguments) }.map_err(blame)
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.engine.load_set().close(self.handle);
    }
}

/// A function or a variable of a library, usable as the `F` it was asked for.
///
/// Using it makes the calling thread ready for the code's format first (for Windows code: a thread environment block
/// behind GS, and its thread-local storage), which costs about a nanosecond when it is ready already.
pub struct Symbol<'lib, F> {
    value: F,
    format: Format,
    engine: &'lib Engine,
    library: PhantomData<&'lib Library>,
}

impl<'lib, F: Copy> Symbol<'lib, F> {
    /// # Safety
    /// At `at`, which is not null, is an `F` of code of that format.
    pub(crate) unsafe fn new(at: Addr, format: Format, engine: &'lib Engine) -> Self {
        const { assert!(size_of::<F>() == size_of::<*const ()>(), "a symbol is an address") };
        Self { value: read_as(at.0 as usize), format, engine, library: PhantomData }
    }
}

impl<F> Symbol<'_, F> {
    /// The address itself. What it is used for must end before the library is closed.
    #[must_use]
    pub fn into_raw(self) -> F
    where
        F: Copy,
    {
        self.value
    }
}

impl<F> Deref for Symbol<'_, F> {
    type Target = F;

    /// # Panics
    /// Where the system has no memory for the thread's environment block.
    fn deref(&self) -> &F {
        if let Err(kind) = self.engine.load_set().enter(self.format) {
            panic!("the thread cannot be made ready for {} code: {kind}", self.format);
        }
        &self.value
    }
}

impl<F> fmt::Debug for Symbol<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({})", self.format)
    }
}

mod raw {
    use super::Library;
    use std::mem::ManuallyDrop;

    pub(super) fn read_as<F: Copy>(address: usize) -> F {
        // SAFETY: `F` is as large as an address (`Symbol::new` asserts it), and the caller of that promised that the
        // symbol is an `F`; the address is not null.
        unsafe { std::mem::transmute_copy(&address) }
    }

    pub(super) fn drop_parts(mut library: ManuallyDrop<Library>) {
        // SAFETY: the library is not used again; its fields are dropped once each, without its own `Drop`.
        unsafe { std::ptr::drop_in_place(&raw mut library.engine) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw mut library.name) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw mut library.list) };
    }
}
use raw::{drop_parts, read_as};
