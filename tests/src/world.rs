//! An engine over the corpus, and what was seen of it: events, and the lines that images log. Lines are kept per thread,
//! so that tests run side by side in one process. Both formats have the same images under their own names; here they
//! have one name, the *stem*: `diamond-left` is `libdiamond-left.so` or `diamond-left.dll`.
//!
//! `unsafe` because images hand pointers to `tlog` and `write`, and because exports are called by address.
#![allow(unsafe_code)]

use corpus::Format;
use loader::{Builder, Engine, Event, HostModule, Mode, dl};
use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

thread_local! {
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What images logged in this thread since this was last asked.
#[must_use]
pub fn said() -> Vec<String> {
    SAID.take()
}

/// `tlog` of `tlog.dll`: how PE images log.
extern "win64" fn tlog(line: *const c_char) {
    // SAFETY: the corpus calls this with a string.
    let line = unsafe { CStr::from_ptr(line) };
    SAID.with_borrow_mut(|said| said.push(line.to_string_lossy().into()));
}

/// `write`, which comes before the system's: lines for descriptor 198 are how ELF images log.
extern "C" fn write(file: i32, bytes: *const u8, len: usize) -> isize {
    if file != 198 {
        // SAFETY: the arguments are those of the caller's own `write`.
        return unsafe { libc::write(file, bytes.cast(), len) };
    }
    // SAFETY: the caller's `write` reads `len` bytes there.
    let text = unsafe { std::slice::from_raw_parts(bytes, len) };
    let text = String::from_utf8_lossy(text);
    SAID.with_borrow_mut(|said| said.extend(text.lines().map(String::from)));
    len.cast_signed()
}

/// An image's path.
#[must_use]
pub fn path(format: Format, case: &str, stem: &str) -> PathBuf {
    let file = match format {
        Format::Elf => format!("lib{stem}.so"),
        Format::Pe => format!("{stem}.dll"),
    };
    corpus::root().join(format.folder()).join(case).join(file)
}

fn stem(name: &str) -> &str {
    let name = Path::new(name).file_name().and_then(|n| n.to_str()).unwrap_or(name);
    match name.strip_suffix(".so") {
        Some(elf) => elf.strip_prefix("lib").unwrap_or(elf),
        None => name.strip_suffix(".dll").unwrap_or(name),
    }
}

/// An engine for the images of one format, and what happened in it.
#[derive(Debug)]
pub struct World {
    /// The engine.
    pub engine: Engine,
    /// The format.
    pub format: Format,
    events: Arc<Mutex<Vec<String>>>,
}

/// A handle as `dlopen` gives it: 0 for none.
pub type Dl = u64;

impl World {
    /// A world with the engine's defaults.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self::with(format, |builder| builder)
    }

    /// A world of each format.
    pub fn each() -> impl Iterator<Item = Self> {
        Format::ALL.into_iter().map(Self::new)
    }

    /// A world with other rules.
    ///
    /// # Panics
    /// When the engine cannot be made.
    #[must_use]
    pub fn with(format: Format, change: impl FnOnce(Builder) -> Builder) -> Self {
        let _ = said(); // the last words of an earlier world
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let ear = events.clone();
        let builder = Engine::builder()
            .host(HostModule::new("tlog.dll").function("tlog", tlog as *const ()))
            .host(HostModule::new("lines").global().function("write", write as *const ()))
            .observe(move |event: &Event<'_>| {
                if let Some(line) = line(event) {
                    ear.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            });
        let engine = change(builder).build().unwrap_or_else(|error| panic!("{error}"));
        Self { engine, format, events }
    }

    /// The path of an image.
    #[must_use]
    pub fn path(&self, case: &str, stem: &str) -> PathBuf {
        path(self.format, case, stem)
    }

    /// `dlopen` of an image; 0 when that fails.
    #[must_use]
    pub fn open(&self, case: &str, stem: &str, mode: u32) -> Dl {
        let path = self.path(case, stem).to_string_lossy().into_owned();
        dl::dlopen(&self.engine, Some(&CString::new(path).unwrap_or_default()), mode)
    }

    /// `dlopen(…, NOW)` of an image.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn now(&self, case: &str, stem: &str) -> Dl {
        match self.open(case, stem, Mode::NOW) {
            0 => panic!("{stem}: {}", dl::dlerror().unwrap_or_default()),
            handle => handle,
        }
    }

    /// `dlclose`.
    #[must_use]
    pub fn close(&self, handle: Dl) -> i32 {
        dl::dlclose(&self.engine, handle)
    }

    /// `dlsym`.
    #[must_use]
    pub fn sym(&self, handle: Dl, name: &CStr) -> u64 {
        dl::dlsym(&self.engine, handle, name)
    }

    /// Calls an `int f(int)` of the corpus, or an `int f(void)`.
    ///
    /// # Panics
    /// When there is no such function.
    #[must_use]
    pub fn call(&self, handle: Dl, name: &CStr, argument: i32) -> i32 {
        let at = self.sym(handle, name);
        assert_ne!(at, 0, "{}", dl::dlerror().unwrap_or_default());
        self.call_at(at, argument)
    }

    /// Calls an `int f(int)` of the corpus by address.
    ///
    /// # Panics
    /// When the thread cannot be made ready for code of the format.
    #[must_use]
    pub fn call_at(&self, at: u64, argument: i32) -> i32 {
        let at = at as usize as *const ();
        match self.format {
            Format::Elf => {
                // SAFETY: tests ask for functions that the corpus's sources declare so, of images that are loaded.
                let f: extern "C" fn(i32) -> i32 = unsafe { std::mem::transmute(at) };
                f(argument)
            }
            Format::Pe => {
                let ready = self.engine.load_set().enter(loader::Format::Pe);
                assert_eq!(ready, Ok(()));
                // SAFETY: as above.
                let f: extern "win64" fn(i32) -> i32 = unsafe { std::mem::transmute(at) };
                f(argument)
            }
        }
    }

    /// What happened since this was last asked, of these kinds: the first words of the lines.
    #[must_use]
    pub fn events(&self, kinds: &[&str]) -> Vec<String> {
        let all = std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner));
        let of_kind = |line: &String| kinds.iter().any(|kind| line.split(' ').next() == Some(kind));
        all.into_iter().filter(of_kind).collect()
    }

    /// Everything of the corpus that is loaded, as stems in load order.
    #[must_use]
    pub fn loaded(&self) -> Vec<String> {
        let mut modules = self.engine.modules();
        modules.retain(|m| m.origin != loader::Origin::Host);
        modules.iter().map(|m| stem(&m.name).into()).collect()
    }

    /// The loadList of a handle's target, as stems, less what the host has.
    #[must_use]
    pub fn load_list(&self, handle: Dl) -> Vec<String> {
        let mut list =
            self.engine.load_set().load_list(loader::Handle::from_bits(handle)).unwrap_or_default();
        list.retain(|m| m.origin != loader::Origin::Host);
        list.iter().map(|m| stem(&m.name).into()).collect()
    }
}

fn line(event: &Event<'_>) -> Option<String> {
    Some(match event {
        Event::Trying { name, .. } => format!("trying {}", stem(name)),
        Event::Mapped { name, .. } => format!("mapped {}", stem(name)),
        Event::Bound { from, symbol, to, .. } => {
            format!("bound {}: {} -> {}", stem(from), symbol.text(), stem(to))
        }
        Event::Missing { from, symbol, .. } => format!("missing {}: {}", stem(from), symbol.text()),
        Event::StandIn { name, .. } => format!("stand-in {}", stem(name)),
        Event::Calling { name, kind, occasion } => format!("calling {}: {kind}, {occasion}", stem(name)),
        Event::Attached { name } => format!("attached {}", stem(name)),
        Event::Detached { name } => format!("detached {}", stem(name)),
        Event::Unmapped { name } => format!("unmapped {}", stem(name)),
        Event::Waiting { name } => format!("waiting {}", stem(name)),
        _ => return None,
    })
}
