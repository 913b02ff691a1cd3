//! What the Windows functions ask of the engine.

use loader_core::{Addr, Error, ErrorKind, Found, Rights, Symbol};
use std::{fmt, ops::Range, path::PathBuf};

/// Where a loaded image is, and what its pages were mapped with.
#[derive(Clone, Debug)]
pub struct ImagePages {
    /// Which image: another one at the same place has another number.
    pub id: u64,
    /// The base.
    pub base: Addr,
    /// The length in bytes: whole pages.
    pub len: u64,
    /// The rights of every page, lowest first.
    pub rights: Vec<(Range<u64>, Rights)>,
}

impl ImagePages {
    pub(crate) fn range(&self) -> Range<u64> {
        self.base.0..self.base.0 + self.len
    }
}

/// What the documentation of `DllMain` says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It may be made, and often leads to trouble.
    Risky,
    /// It must not be made.
    Never,
    /// It must not be made when a library goes.
    NotInDetach,
}

/// Where guest code wants DLLs to be looked for: what `SetDllDirectory`, `AddDllDirectory` and `SetDefaultDllDirectories`
/// said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DllFolders {
    /// The folder of `SetDllDirectory`.
    pub own: Option<PathBuf>,
    /// Those of `AddDllDirectory`, the last one first.
    pub added: Vec<PathBuf>,
    /// The flags of `SetDefaultDllDirectories`; 0 before it was called.
    pub default: u32,
}

/// What KERNEL32 cannot know by itself. The front door implements it; every call comes from guest code, on a thread
/// that has entered, with no lock of this crate held. Names are as the caller spelled them.
pub trait Services: Send + Sync {
    /// `LoadLibraryEx`: opens a library (one more reference) and says where it is. Of the flags those count that say
    /// where it is looked for.
    ///
    /// # Errors
    /// Why it cannot be loaded; the caller sees [`Error::win32`].
    fn load_library(&self, name: &str, flags: u32) -> Result<Addr, Error>;

    /// Opens a library for one that needs it from now on, which holds it as long as it is loaded itself.
    ///
    /// # Errors
    /// As [`Services::load_library`].
    fn bring_library(&self, importer: Addr, name: &str) -> Result<Addr, Error>;

    /// Finds the file that [`Services::load_library`] would load if nothing were loaded yet.
    ///
    /// # Errors
    /// Why there is none.
    fn find_library(&self, name: &str, flags: u32) -> Result<Found, Error>;

    /// Looks for libraries in these folders too from now on.
    fn look_in(&self, folders: DllFolders);

    /// `FreeLibrary`: gives one reference back.
    ///
    /// # Errors
    /// The Win32 error number.
    fn free_library(&self, base: Addr) -> Result<(), u32>;

    /// `GetProcAddress`: an export of one loaded library.
    ///
    /// # Errors
    /// Why there is none; the caller sees [`Error::win32`].
    fn get_proc_address(&self, base: Addr, symbol: Symbol<'_>) -> Result<Addr, Error>;

    /// `GetModuleHandle`: a loaded library by name, or the program itself; no reference is taken.
    fn module_handle(&self, name: Option<&str>) -> Option<Addr>;

    /// Takes one more reference to a loaded library.
    ///
    /// # Errors
    /// The Win32 error number.
    fn add_ref(&self, base: Addr) -> Result<(), u32>;

    /// Keeps a loaded library for the engine's whole life.
    ///
    /// # Errors
    /// The Win32 error number.
    fn pin(&self, base: Addr) -> Result<(), u32>;

    /// The host path of a loaded library, or of the program.
    fn module_file_name(&self, base: Option<Addr>) -> Option<String>;

    /// The base of the loaded library that holds an address.
    fn module_at(&self, at: Addr) -> Option<Addr>;

    /// The pages of the loaded library that holds an address, of whatever format it is.
    fn image_pages(&self, at: Addr) -> Option<ImagePages>;

    /// Whether an address lies in anything that is loaded now, the host's own code included.
    fn is_loaded(&self, at: Addr) -> bool;

    /// `DisableThreadLibraryCalls`: no thread notices for this library from now on.
    ///
    /// # Errors
    /// The Win32 error number (126 for a library with static thread-local storage).
    fn disable_thread_library_calls(&self, base: Addr) -> Result<(), u32>;

    /// The calling thread was made by guest code and is about to run its start routine: the modules are told, if
    /// `goes_on` says so when it is this thread's turn to tell them. Whether they were.
    fn thread_starts(&self, goes_on: &dyn Fn() -> bool) -> bool;

    /// The calling thread, for which [`Services::thread_starts`] was called, has left its start routine: the modules are
    /// told, if `goes_on` says so when it is this thread's turn.
    fn thread_ends(&self, goes_on: &dyn Fn() -> bool);

    /// The process is about to end, in this thread: every library is told, and none is unloaded.
    fn process_ends(&self);

    /// A thread of guest code, or what it does at its end, failed by this.
    fn thread_failed(&self, error: &ErrorKind);

    /// Guest code calls a function that entry points had better not call; whether this is one, the engine knows.
    ///
    /// # Errors
    /// The Win32 error number, where the call is to fail.
    fn note(&self, function: &'static str, advice: Advice) -> Result<(), u32>;
}

/// References to loaded libraries, as far as taking one and giving it back is nothing but counting. Who asks keeps nothing
/// alive: this may outlive the engine.
pub trait Counts: fmt::Debug + Send + Sync {
    /// `LoadLibrary` without flags, of a library that a reference was taken to by just this name: one more reference, and
    /// nothing else. `None` where there may be more to do.
    fn load_again(&self, name: &str) -> Option<Addr>;

    /// `FreeLibrary`, where that takes a reference away and does nothing else; false where there may be more to do.
    fn free_spare(&self, base: Addr) -> bool;
}
