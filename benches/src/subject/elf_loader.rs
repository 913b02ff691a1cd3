//! The `elf_loader` crate, used as its own benchmarks use it: a `Linker` that finds dependencies by the system's
//! cache, in a fresh context that has the system's runtime libraries as host modules. What stays in the context when it
//! is released (`NODELETE`, `STB_GNU_UNIQUE`) goes with the context, which is dropped as part of closing.
//!
//! `unsafe` because that crate's ways to host libraries and to symbols are.
#![allow(unsafe_code)]

use super::{Subject, Way};
use crate::{
    Image,
    images::{self, Format},
};
use elf_loader::{
    AddressSpaceId, Domain, LinkContext, Linker, Loader, Relocator,
    arch::NativeArch,
    host,
    image::ModuleHandle,
    input::{ElfBinary, Path, PathBuf},
    linker::{
        GraphModule, KeyResolver, LdCache, LoadResult, ResolveInput, ResolveRequest, ResolvedKey,
        SearchConfig, SearchPathResolver,
    },
    relocation::BindingMode,
    tls::DefaultTlsResolver,
};
use std::{cell::RefCell, ffi::CStr};

/// The libraries that stay the system's.
const RUNTIMES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

type Context = LinkContext<(), NativeArch, DefaultTlsResolver>;

/// What is opened: a path, and bytes where the file is not to be read.
struct Root {
    path: PathBuf,
    bytes: Option<&'static [u8]>,
}

/// Looks for dependencies as its own resolver does; takes roots from bytes as well.
struct Roots(SearchPathResolver);

impl KeyResolver for Roots {
    type Root = Root;

    fn root_key<'a>(&self, root: &'a Root) -> &'a [u8] {
        root.path.as_bytes()
    }

    fn resolve<'cfg>(&self, request: ResolveRequest<'_, Root>) -> elf_loader::Result<ResolvedKey<'cfg>> {
        if let ResolveInput::Root { root: Root { path, bytes: Some(bytes) } } = request.input() {
            return ResolvedKey::load(ElfBinary::new(path.clone(), bytes));
        }
        self.0.resolve(request.map_root(|root| root.path))
    }
}

/// The `elf_loader` crate.
pub struct ElfLoader {
    linker: Linker<NativeArch, Loader, Roots>,
    domain: Domain<NativeArch, DefaultTlsResolver>,
    hosts: Vec<(&'static str, ModuleHandle)>,
    context: RefCell<Option<Context>>,
}

impl std::fmt::Debug for ElfLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ElfLoader").finish_non_exhaustive()
    }
}

impl ElfLoader {
    /// Makes the context and warms it.
    ///
    /// # Errors
    /// What the crate says.
    pub fn new() -> Result<Self, String> {
        let this = Self::prepared().map_err(|e| e.to_string())?;
        for image in images::cases().iter().filter(|i| i.format == Format::Elf) {
            this.prepare(image, Way::File);
            this.close(this.open(image, Way::File)?)?;
        }
        Ok(this)
    }

    fn prepared() -> elf_loader::Result<Self> {
        let cache = LdCache::load_system()?;
        let domain = Domain::native(AddressSpaceId::PROCESS).with_tls(DefaultTlsResolver::new())?;
        let mut hosts = Vec::new();
        for name in RUNTIMES {
            let Some(path) = cache.candidates(name).next() else { continue };
            // SAFETY: the library is one of the process's own, and stays.
            let module = unsafe { host::open(&domain, Path::new(path.as_bytes()), name) }?;
            hosts.push((name, module));
        }
        let search = SearchPathResolver::with_config(SearchConfig::new().cache(cache));
        let linker = Linker::new()
            .with_loader(Loader::new())
            .with_resolver(Roots(search))
            .map_relocator(|r: Relocator| r.with_binding(BindingMode::Eager));
        Ok(Self { linker, domain, hosts, context: RefCell::default() })
    }
}

impl Subject for ElfLoader {
    const NAME: &str = "elf_loader";
    const WAYS: &[Way] = &[Way::File, Way::Bytes];
    const FORMATS: &[Format] = &[Format::Elf];
    type Library = LoadResult;

    fn prepare(&self, _: &Image, _: Way) {
        let mut context = Context::new(self.domain.clone());
        let hosts = self.hosts.iter().map(|(name, module)| GraphModule::new(*name, module.clone()));
        context.insert_batch(hosts).expect("the context is empty");
        self.context.replace(Some(context));
    }

    fn open(&self, image: &Image, way: Way) -> Result<LoadResult, String> {
        let path = PathBuf::from(image.path.to_str().unwrap_or_default());
        let bytes = (way == Way::Bytes).then(|| image.bytes());
        let root = Root { path, bytes };
        let mut context = self.context.borrow_mut();
        let context = context.as_mut().ok_or("not prepared")?;
        self.linker.run().load(context, root).map_err(|e| e.to_string())
    }

    /// Of the library alone, whatever it needs: there is no lookup along a load list.
    fn symbol(&self, library: &LoadResult, name: &CStr) -> usize {
        let context = self.context.borrow();
        let Some(Ok(module)) = context.as_ref().map(|c| c.module(library.root())) else { return 0 };
        // SAFETY: the symbol's address is only compared with 0.
        let symbol = unsafe { module.get::<*const ()>(name.to_bytes()) };
        symbol.ok().flatten().map_or(0, |s| s.into_raw().addr())
    }

    fn close(&self, library: LoadResult) -> Result<(), String> {
        let mut context = self.context.take().ok_or("not prepared")?;
        library.release(&mut context).map(drop).map_err(|e| e.to_string())
    }
}
