//! A module without an image: functions of the host program, offered to loaded images under a library's name.
//!
//! What the host provides is found by the same lookup, gives the same edge in the graph and the same event in the
//! trace as what a file provides.

use crate::{
    ErrorKind, Export, Format, Image, ImageMut, ImportControl, Lifecycle, MapPlan, NameFilter, Need, Query,
    Resolve, Symbol, TlsTemplate, hash::gnu_hash,
};
use ahash::AHashMap;
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

/// A function (or a variable) of the host, as its address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HostFn(*const ());

impl HostFn {
    /// The function at `at`: `HostFn::new(my_function as *const ())`.
    #[must_use]
    pub const fn new(at: *const ()) -> Self {
        Self(at)
    }

    /// Its address.
    #[must_use]
    pub fn addr(self) -> u64 {
        self.0.addr() as u64
    }
}

#[allow(unsafe_code)]
mod shared {
    // SAFETY: the pointer is only ever used as a number; nothing is read through it here.
    unsafe impl Send for super::HostFn {}
    // SAFETY: as above.
    unsafe impl Sync for super::HostFn {}
}

impl fmt::Debug for HostFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.0, f)
    }
}

/// A table of functions that is known when the program is compiled.
pub type HostTable = &'static [(&'static str, HostFn)];

/// Who may find a host module's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Images that name the module among their needs.
    Named,
    /// Those, and every image whose imports name no library (ELF).
    Global,
}

/// A module without an image.
///
/// ```
/// use loader_core::HostModule;
/// extern "C" fn answer() -> i32 { 42 }
/// let host = HostModule::new("libhost.so").function("answer", answer as *const ());
/// assert_eq!(host.name(), "libhost.so");
/// ```
#[derive(Clone, Debug)]
pub struct HostModule {
    name: Box<str>,
    key: Box<str>,
    /// Copies of a module have it together, until one of them gets another function.
    functions: Arc<Functions>,
    reach: Reach,
    plan: MapPlan,
}

/// What a module offers.
#[derive(Clone, Debug, Default)]
struct Functions {
    named: AHashMap<Box<str>, HostFn>,
    numbered: AHashMap<u16, HostFn>,
    /// Of the names, once somebody asked.
    filter: OnceLock<NameFilter>,
}

impl HostModule {
    /// A module without functions. A name that ends in `.dll` is compared without regard to case, as Windows does.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        Self {
            key: if lower.ends_with(".dll") { lower.into() } else { name.into() },
            name: name.into(),
            functions: Arc::default(),
            reach: Reach::Named,
            plan: MapPlan::nothing(),
        }
    }

    /// Adds a function. It must keep the calling convention and the signature that its importers expect of that name.
    #[must_use]
    pub fn function(mut self, name: &str, at: *const ()) -> Self {
        self.add(name, HostFn(at));
        self
    }

    fn add(&mut self, name: &str, function: HostFn) {
        let functions = Arc::make_mut(&mut self.functions);
        functions.named.insert(name.into(), function);
        functions.filter.take();
    }

    /// Adds a function under an ordinal.
    #[must_use]
    pub fn ordinal(mut self, ordinal: u16, at: *const ()) -> Self {
        let functions = Arc::make_mut(&mut self.functions);
        functions.numbered.insert(ordinal, HostFn(at));
        functions.filter.take();
        self
    }

    /// Adds a table of functions.
    #[must_use]
    pub fn functions(mut self, table: HostTable) -> Self {
        table.iter().for_each(|&(name, function)| self.add(name, function));
        self
    }

    /// Lets every ELF image find the functions, whether it names the module or not.
    #[must_use]
    pub fn global(mut self) -> Self {
        self.reach = Reach::Global;
        self
    }

    /// The name under which images need it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name in the form in which modules are compared.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who may find the functions.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// The names of the functions, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.named.keys().map(|n| &**n)
    }
}

impl Image for HostModule {
    fn format(&self) -> Format {
        Format::Host
    }
    fn own_name(&self) -> Option<&str> {
        Some(&self.key)
    }
    fn plan(&self) -> &MapPlan {
        &self.plan
    }
    fn needs(&self) -> &[Need] {
        &[]
    }
    fn import_control(&self) -> ImportControl {
        ImportControl::Localized
    }
    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        let found = match query.symbol {
            Symbol::Name(n) => std::str::from_utf8(n).ok().and_then(|n| self.functions.named.get(n)),
            Symbol::Ordinal(n) => self.functions.numbered.get(&n),
        };
        Ok(found.map(|f| Export::Absolute(f.addr())))
    }
    fn names(&self) -> NameFilter {
        let Functions { named, numbered, filter } = &*self.functions;
        let filter = filter.get_or_init(|| match numbered.is_empty() {
            true => NameFilter::of(named.keys().map(|n| gnu_hash(n.as_bytes()))),
            false => NameFilter::open(), // an ordinal has no hash
        });
        filter.clone()
    }
    fn export_hashes(&self) -> Option<Box<dyn Iterator<Item = u32> + '_>> {
        Some(Box::new(self.functions.named.keys().map(|n| gnu_hash(n.as_bytes()))))
    }
    fn imports(&self, _: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        Ok(())
    }
    fn tls(&self) -> Option<&TlsTemplate> {
        None
    }
    fn relocate(&self, _: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        Ok(0)
    }
    fn bind(&self, _: &mut ImageMut<'_>, _: Resolve<'_>) -> Result<usize, ErrorKind> {
        Ok(0)
    }
    fn lifecycle(&self, _: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind> {
        Ok(Lifecycle::default())
    }
}
