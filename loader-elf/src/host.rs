//! What the host process has loaded already: found with `dl_iterate_phdr`, read where it is, never loaded twice.
//!
//! A room for `unsafe`: the tables of these libraries are memory that the system's loader owns. It stays mapped
//! because every library is pinned (`Pin`) before it is read and for as long as its [`HostImage`] lives; it does
//! not change because only segments without the right to write are read through slices.
#![allow(unsafe_code)]

use crate::{
    dynamic::{
        DF_STATIC_TLS, DT_GNU_HASH, DT_HASH, DT_JMPREL, DT_RELA, DT_RELR, DT_SONAME, DT_STRTAB, DT_SYMTAB,
        DT_VERDEF, DT_VERNEED, DT_VERSYM, Dynamic,
    },
    exports::Tables,
    image::{Paths, control, export},
    malformed, needs,
    plan::{self, Segments},
    relocate::Fixups,
    spots::Spots,
    unwinder::{self, iterate_host},
};
use goblin::elf::{
    ProgramHeader,
    program_header::{PF_R, PF_W, PF_X, PT_LOAD, program_header64::SIZEOF_PHDR},
};
use loader_core::{
    Addr, ErrorKind, Export, FileId, Format, Image, ImageMut, ImportControl, Lifecycle, MapPlan, NameFilter,
    NearSymbol, Need, Placement, Query, Resolve, Rva, SearchPath, TlsHome, TlsTemplate, page_floor,
};
use once_cell::race::OnceBox;
use std::{
    arch::asm,
    ffi::{CStr, CString, c_int, c_void},
    fs,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    ptr, slice,
    sync::{Arc, PoisonError, RwLock},
};

/// A library, or the main program, that the host process has loaded.
#[derive(Debug)]
pub struct Adopted {
    /// Its file.
    pub path: PathBuf,
    /// The names by which others need it: its own name, its file's name.
    pub names: Vec<String>,
    /// Where it is.
    pub at: Placement,
    /// What it answers.
    pub image: Arc<dyn Image>,
    /// Which file it was loaded from, where that file is still there.
    pub id: Option<FileId>,
    /// The thread-local block that every thread has of it.
    pub tls: Option<TlsHome>,
}

/// What the host process has loaded, in link order: the main program first. Libraries whose tables cannot be read
/// in place are left out, with a warning.
#[must_use]
pub fn adopt() -> Vec<Adopted> {
    // Pinned by name, then listed again: what is in both lists was there when it was pinned, and is now held.
    let pins: Vec<_> = loaded().into_iter().map(|l| (Pin::new(&l), l)).collect();
    let listed = loaded();
    let mut out = Vec::with_capacity(pins.len());
    for (pin, old) in pins {
        let still = |l: &&Loaded| l.base == old.base && l.name == old.name;
        let adopted = match (pin, listed.iter().find(still)) {
            (Some(pin), Some(library)) => library.adopt(pin),
            _ => Err(malformed("gone before it could be held", old.base)),
        };
        match adopted {
            Ok(adopted) => out.push(adopted),
            Err(why) => log::warn!("{}: not adopted: {why}", old.path().display()),
        }
    }
    out
}

/// How many libraries the host process has loaded and unloaded so far: while these stay the same, so does what
/// [`adopt`] returns.
#[must_use]
pub fn generation() -> (u64, u64) {
    let mut count = (0, 0);
    each(&mut |info| {
        count = (info.dlpi_adds, info.dlpi_subs);
        false
    });
    count
}

/// The number that a tag of the main program's dynamic section has.
pub(crate) fn main_program(tag: u64) -> Option<u64> {
    let main = loaded().into_iter().find(|l| l.main)?;
    let segments = main.segments().ok()?;
    let plan = MapPlan::check(plan::layout(&segments, true).ok()?, u64::MAX).ok()?;
    main.dynamic(&segments, main.placement(&plan)).ok()?.get(tag)
}

/// The library that the host process has loaded at a base: what its addresses have more than its file's.
pub(crate) fn at(base: u64) -> Option<Loaded> {
    loaded().into_iter().find(|l| l.base == base)
}

/// Whether the process was given rights that its user does not have (`AT_SECURE`).
pub(crate) fn has_more_rights_than_its_user() -> bool {
    auxiliary(libc::AT_SECURE) != 0
}

/// A number of the auxiliary vector that the kernel gave the process; 0 where it gave none.
fn auxiliary(key: libc::c_ulong) -> u64 {
    // SAFETY: `getauxval` reads a table that the C library keeps for as long as the process lives.
    unsafe { libc::getauxval(key) }
}

/// One line of the system loader's list.
#[derive(Debug)]
pub(crate) struct Loaded {
    name: CString,
    base: u64,
    headers: Vec<ProgramHeader>,
    tls_module: u64,
    tls_data: u64,
    main: bool,
}

/// Tables of a library that can be read where they are, for as long as it is held.
pub(crate) struct InPlace {
    /// Where the library is.
    pub(crate) at: Placement,
    segments: Segments,
    dynamic: Dynamic,
    /// The segment that has the tables.
    pub(crate) bytes: &'static [u8],
    /// The same segment, for those who look for a table in `bytes`.
    only: Segments,
}

impl InPlace {
    pub(crate) fn tables(&self) -> Result<Tables, ErrorKind> {
        Tables::find(&self.dynamic, &self.only, self.bytes)
    }

    /// Its relocations, which are done.
    pub(crate) fn fixups(&self) -> Result<Fixups, ErrorKind> {
        Fixups::find(&self.dynamic, &self.only)
    }

    /// The live addresses of what is read-only since it was relocated.
    pub(crate) fn relro(&self) -> Range<u64> {
        self.segments.relro.as_ref().map_or(0..0, |r| {
            let live = |at: u64| page_floor(at).wrapping_add(self.at.slide());
            live(r.p_vaddr)..live(r.p_vaddr.saturating_add(r.p_memsz))
        })
    }
}

/// The libraries of the process, without the one that the kernel puts into every process.
fn loaded() -> Vec<Loaded> {
    let kernel = auxiliary(libc::AT_SYSINFO_EHDR);
    let mut out: Vec<Loaded> = Vec::new();
    each(&mut |info| {
        let one = Loaded::of(info, out.is_empty());
        // The engine's own means to write static TLS are no libraries.
        let donor = one.headers.iter().any(|h| h.p_type == loader_core::tls::DONOR);
        if !donor && (kernel == 0 || info.dlpi_addr != kernel) {
            out.push(one);
        }
        true
    });
    out
}

/// Read while this engine walks the system loader's list.
static WALK: RwLock<()> = RwLock::new(());

/// While what this gives lives, no other thread of this engine walks the system loader's list. It is for the time of a
/// `fork`: the lock of that list stays taken in the child for ever if another thread has it (glibc 2.36).
#[must_use]
pub fn hold() -> impl Sized + use<> {
    let slots = unwinder::hold();
    (slots, WALK.write().unwrap_or_else(PoisonError::into_inner))
}

/// Shows `f` each line of the system loader's list until it returns false. The list is held meanwhile: nothing of it
/// is unloaded.
pub(crate) fn each(f: &mut dyn FnMut(&libc::dl_phdr_info) -> bool) {
    type Visitor<'a> = &'a mut dyn FnMut(&libc::dl_phdr_info) -> bool;
    unsafe extern "C-unwind" fn visit(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `data` is the visitor that `each` passed, borrowed for the length of that call.
        let f = unsafe { &mut *data.cast::<Visitor<'_>>() };
        // SAFETY: `dl_iterate_phdr` gives a line that is valid until this function returns.
        let info = unsafe { &*info };
        c_int::from(!f(info))
    }
    let mut f: Visitor<'_> = f;
    let _walk = WALK.read().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `visit` has the signature that is asked for, and `f` outlives the call.
    unsafe { iterate_host(visit, (&raw mut f).cast()) };
}

fn name(info: &libc::dl_phdr_info) -> CString {
    if info.dlpi_name.is_null() {
        return CString::default();
    }
    // SAFETY: the system's loader gives a text that ends in a zero and stays while the list is held.
    unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned()
}

fn headers(info: &libc::dl_phdr_info) -> Vec<ProgramHeader> {
    if info.dlpi_phdr.is_null() {
        return Vec::new();
    }
    let start = info.dlpi_phdr.cast::<[u8; SIZEOF_PHDR]>();
    // SAFETY: the system's loader gives `dlpi_phnum` program headers, mapped while the list is held.
    let all = unsafe { slice::from_raw_parts(start, info.dlpi_phnum.into()) };
    all.iter().filter_map(plan::header).collect()
}

/// Keeps a library of the host mapped: one more open of it, which the host cannot take away.
#[derive(Debug)]
struct Pin(*mut c_void);

// SAFETY: the handle is a number to us; only `dlclose` looks behind it, and that may be called from any thread.
unsafe impl Send for Pin {}
// SAFETY: as above; nothing is done through a shared pin.
unsafe impl Sync for Pin {}

impl Pin {
    /// Holds a library that is loaded; never loads one.
    fn new(library: &Loaded) -> Option<Self> {
        let name = match library.main {
            true => ptr::null(), // the main program
            false => library.name.as_ptr(),
        };
        // SAFETY: the name is null or ends in a zero, and with `RTLD_NOLOAD` no initialiser runs.
        let handle = unsafe { libc::dlopen(name, libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
        (!handle.is_null()).then(|| Self(handle)) // not `then_some`: nothing may be made of null
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // SAFETY: the handle came from `dlopen` and is given back once.
        unsafe { libc::dlclose(self.0) };
    }
}

impl Loaded {
    /// Reads a line; the first is that of the main program.
    pub(crate) fn of(info: &libc::dl_phdr_info, main: bool) -> Self {
        Self {
            name: name(info),
            base: info.dlpi_addr,
            headers: headers(info),
            tls_module: info.dlpi_tls_modid as u64,
            tls_data: info.dlpi_tls_data.addr() as u64,
            main,
        }
    }

    /// Reads a library that `pin` holds.
    fn adopt(&self, pin: Pin) -> Result<Adopted, ErrorKind> {
        let (here, plan) = self.in_place()?;
        let tables = here.tables()?;
        let InPlace { at, dynamic, bytes, .. } = here;
        let strings = tables.strings(bytes);
        let image = HostImage {
            own_name: dynamic.text(strings, DT_SONAME)?,
            needs: needs::needs(&dynamic, strings)?,
            paths: Paths::read(&dynamic, strings)?,
            control: control(&dynamic),
            plan,
            tables,
            bytes,
            spots: OnceBox::new(),
            _pin: pin,
        };
        let path = self.path();
        Ok(Adopted {
            names: names(&image, &path),
            id: FileId::at(&path),
            at,
            tls: self.tls(&dynamic),
            path,
            image: Arc::new(image),
        })
    }

    fn placement(&self, plan: &MapPlan) -> Placement {
        Placement {
            link_base: plan.link_base(),
            base: Addr(plan.link_base().0.wrapping_add(self.base)),
            len: plan.len().get(),
        }
    }

    /// Whether a live address lies in its code.
    pub(crate) fn has_code(&self, at: u64) -> bool {
        let inside = |h: &ProgramHeader| at.wrapping_sub(h.p_vaddr.wrapping_add(self.base)) < h.p_memsz;
        self.headers.iter().any(|h| h.p_type == PT_LOAD && h.p_flags & PF_X != 0 && inside(h))
    }

    /// Finds its tables.
    pub(crate) fn in_place(&self) -> Result<(InPlace, MapPlan), ErrorKind> {
        let segments = self.segments()?;
        let plan = MapPlan::check(plan::layout(&segments, true)?, u64::MAX)?;
        let at = self.placement(&plan);
        let dynamic = self.dynamic(&segments, at)?;
        let (bytes, only) = self.readable(&segments, &dynamic)?;
        Ok((InPlace { at, segments, dynamic, bytes, only }, plan))
    }

    /// Its file. The main program has no name in the list.
    pub(crate) fn path(&self) -> PathBuf {
        match self.main {
            true => fs::read_link("/proc/self/exe").unwrap_or_default(),
            false => Path::new(std::ffi::OsStr::from_bytes(self.name.to_bytes())).into(),
        }
    }

    fn segments(&self) -> Result<Segments, ErrorKind> {
        let mut headers = self.headers.clone();
        for header in headers.iter_mut().filter(|h| h.p_flags & PF_W != 0) {
            header.p_flags &= !PF_X; // what the host lets be is not ours to refuse
        }
        Segments::sort(headers, u64::MAX)
    }

    /// The dynamic section, with every address as the static linker wrote it: the system's loader has changed most
    /// of them, in most libraries, to live ones.
    fn dynamic(&self, segments: &Segments, at: Placement) -> Result<Dynamic, ErrorKind> {
        const ADDRESSES: [u64; 10] = [
            DT_STRTAB,
            DT_SYMTAB,
            DT_HASH,
            DT_GNU_HASH,
            DT_VERSYM,
            DT_VERDEF,
            DT_VERNEED,
            DT_RELA,
            DT_JMPREL,
            DT_RELR,
        ];
        let header = segments.dynamic.as_ref();
        let header = header.ok_or_else(|| malformed("no dynamic section", self.base))?;
        let start = header.p_vaddr.wrapping_sub(at.link_base.0);
        if start.checked_add(header.p_memsz).is_none_or(|end| end > at.len) {
            return Err(malformed("dynamic section outside the image", header.p_vaddr));
        }
        let live = header.p_vaddr.wrapping_add(self.base);
        // SAFETY: the section lies inside the image, which is mapped because it is pinned.
        let table = unsafe { copied(live, header.p_memsz) };
        Ok(Dynamic::read(&table).map(|tag, value| match at.rva_of(Addr(value)) {
            Some(rva) if ADDRESSES.contains(&tag) => at.link_base.0 + rva.0,
            _ => value,
        }))
    }

    /// The segment that has the tables of its symbols.
    fn readable(
        &self,
        segments: &Segments,
        dynamic: &Dynamic,
    ) -> Result<(&'static [u8], Segments), ErrorKind> {
        let at = dynamic.get(DT_SYMTAB).unwrap_or(0);
        let holds = |l: &&ProgramHeader| {
            at.checked_sub(l.p_vaddr).is_some_and(|n| n < l.p_filesz) && l.p_flags & (PF_R | PF_W) == PF_R
        };
        let load = segments.loads.iter().find(holds);
        let load = load.ok_or_else(|| malformed("symbols in no read-only segment", at))?;
        // SAFETY: a segment that is readable and not writable, of a library that is pinned: its bytes stay.
        let bytes = unsafe { viewed(load.p_vaddr.wrapping_add(self.base), load.p_filesz) };
        let mut only = load.clone();
        only.p_offset = 0; // `bytes` is the segment, not the file
        Ok((bytes, Segments { loads: vec![only], ..Segments::default() }))
    }

    /// Its thread-local block. The distance from the thread pointer is the same in every thread where code counts on
    /// it: in the main program and in libraries that say so.
    fn tls(&self, dynamic: &Dynamic) -> Option<TlsHome> {
        let fixed = self.tls_data != 0 && (self.main || dynamic.flag(DF_STATIC_TLS));
        (self.tls_module != 0).then(|| TlsHome::Host {
            module: self.tls_module,
            thread_pointer_offset: fixed.then(|| self.tls_data.wrapping_sub(thread_pointer()).cast_signed()),
        })
    }
}

/// The names by which others need a library.
fn names(image: &HostImage, path: &Path) -> Vec<String> {
    let file = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut names: Vec<String> = image.own_name.as_deref().map(str::to_owned).into_iter().collect();
    names.extend(file.filter(|f| image.own_name.as_deref() != Some(f)));
    names
}

/// The bytes at a live address, as they are now.
///
/// # Safety
/// They must be mapped and readable.
unsafe fn copied(at: u64, len: u64) -> Vec<u8> {
    let mut out = vec![0; len as usize];
    let from = ptr::with_exposed_provenance::<u8>(at as usize);
    // SAFETY: the caller says that `len` bytes are readable there; `out` is new and as long.
    unsafe { ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
    out
}

/// The bytes at a live address.
///
/// # Safety
/// They must be mapped and must not change, for as long as anybody looks at them.
unsafe fn viewed(at: u64, len: u64) -> &'static [u8] {
    // SAFETY: the caller says so.
    unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(at as usize), len as usize) }
}

/// The thread pointer, which on x86-64 Linux is stored at the place it points to.
fn thread_pointer() -> u64 {
    let tp: u64;
    // SAFETY: reads the first word of the thread control block, which every thread has.
    unsafe { asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// A library that the host process has loaded. The system's loader has relocated and bound it and runs its
/// initialisers: to this engine it only answers questions.
#[derive(Debug)]
pub struct HostImage {
    own_name: Option<Box<str>>,
    needs: Vec<Need>,
    paths: Paths,
    control: ImportControl,
    plan: MapPlan,
    tables: Tables,
    bytes: &'static [u8], // valid while `_pin` is
    /// Made when the first address is looked up.
    spots: OnceBox<Spots>,
    _pin: Pin,
}

impl Image for HostImage {
    fn format(&self) -> Format {
        Format::Elf
    }

    fn own_name(&self) -> Option<&str> {
        self.own_name.as_deref()
    }

    fn plan(&self) -> &MapPlan {
        &self.plan
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn search_path(&self) -> SearchPath<'_> {
        self.paths.view()
    }

    fn import_control(&self) -> ImportControl {
        self.control
    }

    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        export(&self.tables, self.bytes, &self.plan, query)
    }

    fn defines_version(&self, version: &[u8]) -> Option<bool> {
        self.tables.defines_version(self.bytes, version)
    }

    fn names(&self) -> NameFilter {
        self.tables.names(self.bytes)
    }

    fn export_hashes(&self) -> Option<Box<dyn Iterator<Item = u32> + '_>> {
        Some(Box::new(self.tables.hashes(self.bytes)?))
    }

    fn imports(&self, _: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        Ok(())
    }

    fn tls(&self) -> Option<&TlsTemplate> {
        None // the system's loader makes the blocks: `Adopted::tls` says where they are
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

    fn symbol_at(&self, at: Rva) -> Option<NearSymbol<'_>> {
        let spots = self.spots.get_or_init(|| Box::new(Spots::of(&self.tables, self.bytes, &self.plan)));
        spots.symbol(at, &self.tables, self.bytes, &self.plan)
    }
}
