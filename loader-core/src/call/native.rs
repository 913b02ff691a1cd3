//! Calls into images of this process.
#![allow(unsafe_code)]

use super::{Caller, MissingImport, Occasion, Stubs, guarded, may_refuse, raw};
use crate::{
    Addr, Entry, EntryKind, ErrorKind, Format, Image, PAGE, Placement, TlsHome,
    index::{self, Listing},
    module::Identity,
};
use region::{Allocation, Protection};
use std::{
    ffi::{c_char, c_int, c_void},
    fmt,
    os::unix::ffi::OsStrExt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

type Enter = Box<dyn Fn() -> Result<(), ErrorKind> + Send + Sync>;
type Withdraw = Box<dyn Fn(Addr) + Send + Sync>;

/// Calls the code of images in this process.
#[derive(Default)]
pub struct Native {
    number: u64,
    enter_pe: OnceLock<Enter>,
    withdraw: OnceLock<Withdraw>,
}

impl Native {
    /// A caller that needs no preparation for any format.
    #[must_use]
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        arguments(); // made now: a child of `fork` would wait for ever for a thread of its parent that was making it
        Self { number: LAST.fetch_add(1, Relaxed) + 1, ..Self::default() }
    }

    /// A number that no other of this process has: modules are listed with it ([`index::Listed::of`]).
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says how a thread is made ready for Windows code. Only the first call counts.
    pub fn prepare_pe(&self, enter: impl Fn() -> Result<(), ErrorKind> + Send + Sync + 'static) {
        let _ = self.enter_pe.set(Box::new(enter));
    }

    /// Says how what a module left with the process is taken back, given the module's base. Only the first call counts.
    pub fn when_withdrawn(&self, withdraw: impl Fn(Addr) + Send + Sync + 'static) {
        let _ = self.withdraw.set(Box::new(withdraw));
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Native")
    }
}

type InitFn = unsafe extern "C-unwind" fn(c_int, *const *const c_char, *const *const c_char);
type FiniFn = unsafe extern "C-unwind" fn();
type DllFn = unsafe extern "win64-unwind" fn(*const c_void, u32, *const c_void) -> i32;
type ResolverFn = unsafe extern "C-unwind" fn() -> *const c_void;

impl Caller for Native {
    #[inline]
    fn enter(&self, format: Format) -> Result<(), ErrorKind> {
        match (format, self.enter_pe.get()) {
            // Functions of the host may be those that stand for Windows' own.
            (Format::Pe | Format::Host, Some(enter)) => enter(),
            _ => Ok(()),
        }
    }

    fn entry(&self, entry: Entry, base: Addr, occasion: Occasion) -> Result<bool, ErrorKind> {
        let code = entry.at.0 as *const ();
        let base = base.0 as *const c_void;
        let reserved = occasion.reserved() as *const c_void;
        // SAFETY (all three): the entry is what a sealed, mapped image names as its initialiser, terminator or entry
        // point; that it keeps the convention and harms nobody is the file's promise, which opening it accepts.
        let answer = guarded(|| match entry.kind {
            EntryKind::Init => {
                // SAFETY: see above.
                let f = unsafe { std::mem::transmute::<*const (), InitFn>(code) };
                let (argc, argv, envp) = arguments();
                // SAFETY: see above; the vectors end with a null and live as long as the process.
                unsafe { f(argc, argv, envp) };
                1
            }
            EntryKind::Fini => {
                // SAFETY: see above.
                let f = unsafe { std::mem::transmute::<*const (), FiniFn>(code) };
                // SAFETY: see above.
                unsafe { f() };
                1
            }
            EntryKind::TlsCallback | EntryKind::DllMain => {
                let reserved = if entry.kind == EntryKind::DllMain { reserved } else { std::ptr::null() };
                // SAFETY: see above.
                let f = unsafe { std::mem::transmute::<*const (), DllFn>(code) };
                // SAFETY: see above; `enter` made the thread ready.
                unsafe { f(base, occasion.reason(), reserved) }
            }
        })?;
        Ok(answer != 0 || !may_refuse(entry.kind, occasion))
    }

    fn resolver(&self, at: Addr) -> Result<Addr, ErrorKind> {
        // SAFETY: `at` is what a symbol or relocation of a sealed image, or of the host, names as its resolver.
        let f = unsafe { std::mem::transmute::<*const (), ResolverFn>(at.0 as *const ()) };
        // SAFETY: as above.
        guarded(|| unsafe { f() }).map(|p| Addr(p.addr() as u64))
    }

    fn withdraw(&self, base: Addr) -> Result<(), ErrorKind> {
        self.withdraw.get().map_or(Ok(()), |withdraw| guarded(|| withdraw(base)))
    }

    fn stubs(&self) -> Box<dyn Stubs> {
        Box::new(Pages::default())
    }

    fn list(
        &self,
        identity: &Identity,
        image: &Arc<dyn Image>,
        at: Placement,
        tls: Option<TlsHome>,
    ) -> Option<Listing> {
        let has_code = image.format() != Format::Host;
        has_code.then(|| index::list(identity, image.clone(), at, tls, self.number))
    }
}

/// What the process was started with, as initialisers get it.
fn arguments() -> (c_int, *const *const c_char, *const *const c_char) {
    struct Argv(Vec<*const c_char>);
    // SAFETY: the strings are leaked and never written by Rust.
    unsafe impl Send for Argv {}
    // SAFETY: as above.
    unsafe impl Sync for Argv {}
    static ARGV: OnceLock<Argv> = OnceLock::new();
    let argv = ARGV.get_or_init(|| {
        let owned = |a: std::ffi::OsString| {
            let bytes: Vec<u8> = a.as_bytes().iter().copied().chain([0]).collect();
            bytes.leak().as_ptr().cast::<c_char>()
        };
        Argv(std::env::args_os().map(owned).chain([std::ptr::null()]).collect())
    });
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: libc defines `environ` in every process; it is read here as getenv reads it.
    let envp = unsafe { environ };
    ((argv.0.len() - 1) as c_int, argv.0.as_ptr(), envp)
}

/// Stubs in pages of their own, which go when the stubs' owner goes.
#[derive(Default)]
struct Pages {
    pages: Vec<Allocation>,
    used: usize,
    #[allow(clippy::vec_box, reason = "stubs hold the records' addresses")]
    records: Vec<Box<raw::StubRecord>>,
}

// SAFETY: the pages are plain memory that only `stub`, through `&mut`, writes.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pages({} stubs)", self.records.len())
    }
}

impl Stubs for Pages {
    fn stub(&mut self, import: MissingImport) -> Result<Addr, ErrorKind> {
        const STUB: usize = 16;
        let space = |_| ErrorKind::Space { what: "reserve memory for stubs", os: libc::ENOMEM };
        if self.pages.is_empty() || self.used + STUB > PAGE as usize {
            self.pages.push(region::alloc(PAGE as usize, Protection::READ).map_err(space)?);
            self.used = 0;
        }
        let record = Box::new(raw::StubRecord::new(import));
        let code = raw::stub_code(&record);
        let page = self.pages.last_mut().expect("one was just pushed");
        let at = page.as_mut_ptr::<u8>().wrapping_add(self.used);
        // SAFETY: the page belongs to these stubs alone; nobody runs a stub while its import is being bound.
        unsafe { region::protect(at, 1, Protection::READ_WRITE) }.map_err(space)?;
        // SAFETY: a stub fits behind `used`, and the page is writable now.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), at, code.len()) };
        // SAFETY: as for the protect above.
        unsafe { region::protect(at, 1, Protection::READ_EXECUTE) }.map_err(space)?;
        self.used += STUB;
        self.records.push(record);
        Ok(Addr(at.addr() as u64))
    }
}
