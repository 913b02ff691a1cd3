//! The mode of an open, as TNS/R `dlopen` validates it, and the rules a load set follows.

use crate::{ErrorKind, ImportControl, event::Topics};

/// What an open asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Whether the library may be loaded.
    pub load: Load,
    /// Who shall see its symbols.
    pub visibility: Visibility,
    /// What goes to the log.
    pub verbose: Topics,
    /// Where imports of what it brings in are looked for first.
    pub scope: Scope,
    /// It stays for as long as the load set lives, whoever closes it (`RTLD_NODELETE`).
    pub no_delete: bool,
}

/// Where the imports of what an open brings in are looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// In the global list.
    #[default]
    GlobalFirst,
    /// In the loadList of what is opened (`RTLD_DEEPBIND`). What the engine itself answers still comes first.
    OwnFirst,
}

/// Whether an open may load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Load it, all symbols bound before anything runs. TNS/R's `LAZY` acts so too.
    Now,
    /// Load it; calls of functions may be bound when they are first made. Acts as `Now` unless the rules allow it.
    Lazy,
    /// Never load: a handle if it is loaded, else an error.
    Never,
    /// Put it into memory, and no more: what it needs is not loaded, its imports are not bound, its code is not called
    /// (`DONT_RESOLVE_DLL_REFERENCES`). It stays so if it is opened again meanwhile.
    Bare,
}

/// Who sees the symbols of what an open brings in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Every globalized loadfile that is loaded later. Under the POSIX rules they join the global list when their
    /// initialisers have run: what these opened for all to see comes before them, as with glibc.
    Global,
    /// Only the loadfiles that this open brings in. Under the TNS/R rules this acts as `Global`.
    Local,
}

/// Whose rules a load set follows where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dialect {
    /// TNS/R: `LOCAL` acts as `GLOBAL`.
    #[default]
    TnsR,
    /// POSIX as glibc has it: `LOCAL` libraries are seen by what was opened with them only.
    Posix,
}

/// When the calls that an image makes through its procedure linkage table are bound to functions. Everything else is
/// bound before anything runs, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Binding {
    /// Before anything runs, whatever the mode says.
    #[default]
    Now,
    /// Under [`Dialect::Posix`], in the mode [`Load::Lazy`]: when each is first made, unless the file wants it otherwise
    /// or cannot have it so. A function that nobody defines is then met only when it is called, where it acts as under
    /// [`MissingPolicy::Trap`]. A library stays as it was first opened. Code that may run in a signal handler should be
    /// bound now: binding takes locks.
    Lazy,
}

/// What happens to an import that nobody defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum MissingPolicy {
    /// The open fails and leaves nothing.
    #[default]
    Strict,
    /// A stub takes its place, which is a typed error when called; a library that is not found becomes a stand-in
    /// of such stubs.
    Trap,
}

/// What becomes of a module that nothing holds any more but thread-local objects of its own, which their threads have
/// yet to destroy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ThreadDestructors {
    /// It stays loaded until their threads have ended, and goes with the last of them, as if it were closed there.
    #[default]
    Keep,
    /// The close destroys those of the calling thread and waits for the other threads to end.
    Wait,
    /// It goes at once, and they are never destroyed.
    Abandon,
}

/// What becomes of a file's wish never to be unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StayPolicy {
    /// It is unloaded when nothing holds it.
    #[default]
    Ignore,
    /// So too, and an event says that the file wanted to stay.
    Report,
    /// It stays for as long as the load set lives, as under glibc.
    Honour,
}

/// What becomes of calls that Windows code makes from its entry point although the documentation of `DllMain` forbids them:
/// they load or wait while the loader lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EntryCalls {
    /// They do what they do on Windows, and an event says so.
    #[default]
    Report,
    /// They fail (`ERROR_POSSIBLE_DEADLOCK`), and an event says so.
    Refuse,
}

/// The rules of a load set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whose rules, where they differ.
    pub dialect: Dialect,
    /// What happens to an import that nobody defines.
    pub missing: MissingPolicy,
    /// Whether calls may be bound when they are first made.
    pub binding: Binding,
    /// The import control of every ELF loadfile; `None`: as each file asks.
    pub control: Option<ImportControl>,
    /// What thread-local objects mean for the module that they belong to.
    pub thread_destructors: ThreadDestructors,
    /// What becomes of `DF_1_NODELETE`. Ignored unless told otherwise: every Rust library has it, and who opens and
    /// closes a library means it. Whoever opens one with [`Mode::no_delete`] means that too.
    pub nodelete: StayPolicy,
    /// What becomes of libraries with the process's single definition of a symbol (`STB_GNU_UNIQUE`). Ignored, they
    /// go when nobody is bound to them any more.
    pub unique: StayPolicy,
    /// What becomes of calls that Windows entry points must not make.
    pub entry_calls: EntryCalls,
}

impl Rules {
    /// Whether calls that an open in this mode brings in are bound when they are first made.
    pub(crate) fn binds_lazily(&self, mode: &Mode) -> bool {
        (self.dialect, self.binding, mode.load) == (Dialect::Posix, Binding::Lazy, Load::Lazy)
    }
}

impl Mode {
    /// Bind everything now (`LAZY` on TNS/R acts as this).
    pub const LAZY: u32 = 1;
    /// Bind everything now.
    pub const NOW: u32 = 2;
    /// Never load.
    pub const NOLOAD: u32 = 4;
    /// The symbols join the global list.
    pub const GLOBAL: u32 = 0x100;
    /// The symbols stay with this open (acts as `GLOBAL` under the TNS/R rules).
    pub const LOCAL: u32 = 0x200;
    const VERBOSE_SHIFT: u32 = 12;

    /// The bits of `VERBOSE(n)`, n = 0…8.
    ///
    /// ```
    /// use loader_core::Mode;
    /// assert!(Mode::from_bits(Mode::NOW | Mode::verbose(8)).is_ok());
    /// assert!(Mode::from_bits(Mode::NOW | Mode::verbose(9)).is_err());
    /// ```
    #[must_use]
    pub const fn verbose(n: u32) -> u32 {
        n << Self::VERBOSE_SHIFT
    }

    /// Reads a mode: exactly one of `NOW`, `LAZY`, `NOLOAD`; at most one of `GLOBAL`, `LOCAL`; any with `VERBOSE(n)`.
    ///
    /// # Errors
    /// [`ErrorKind::BadMode`] for anything else, 0 included (TNS/R guide 3-2).
    pub fn from_bits(bits: u32) -> Result<Self, ErrorKind> {
        let bad = ErrorKind::BadMode { mode: bits };
        let load = match bits & 0xff {
            Self::NOW | Self::LAZY => Load::Now,
            Self::NOLOAD => Load::Never,
            _ => return Err(bad),
        };
        let visibility = match bits & 0xf00 {
            0 | Self::LOCAL => Visibility::Local,
            Self::GLOBAL => Visibility::Global,
            _ => return Err(bad),
        };
        let verbose = topics(bits >> Self::VERBOSE_SHIFT).ok_or(bad)?;
        Ok(Self { load, visibility, verbose, ..Self::default() })
    }

    /// Reads a mode of the system's `dlopen`: `RTLD_LAZY` or `RTLD_NOW`, with any of `RTLD_NOLOAD`, `RTLD_DEEPBIND`,
    /// `RTLD_GLOBAL` and `RTLD_NODELETE`. (The last has the bit of TNS/R's `VERBOSE(1)`: no number can be read both
    /// ways.)
    ///
    /// # Errors
    /// [`ErrorKind::BadMode`] for anything else, 0 included.
    pub fn from_rtld(bits: u32) -> Result<Self, ErrorKind> {
        const BINDING: u32 = Mode::LAZY | Mode::NOW;
        const DEEPBIND: u32 = 8;
        const NODELETE: u32 = 0x1000;
        let has = |bit| bits & bit != 0;
        let known = BINDING | Self::NOLOAD | DEEPBIND | Self::GLOBAL | NODELETE;
        if !has(BINDING) || has(!known) {
            return Err(ErrorKind::BadMode { mode: bits });
        }
        Ok(Self {
            load: if has(Self::NOLOAD) {
                Load::Never
            } else if has(Self::NOW) {
                Load::Now
            } else {
                Load::Lazy
            },
            visibility: if has(Self::GLOBAL) { Visibility::Global } else { Visibility::Local },
            scope: if has(DEEPBIND) { Scope::OwnFirst } else { Scope::GlobalFirst },
            no_delete: has(NODELETE),
            ..Self::default()
        })
    }
}

impl Default for Mode {
    /// `NOW`, and what the log wants.
    fn default() -> Self {
        Self {
            load: Load::Now,
            visibility: Visibility::Local,
            verbose: Topics::all(),
            scope: Scope::GlobalFirst,
            no_delete: false,
        }
    }
}

/// What `VERBOSE(n)` lets through (TNS/R guide 3-3).
fn topics(n: u32) -> Option<Topics> {
    let trouble = Topics::TROUBLE;
    let files = trouble | Topics::FILES;
    let symbols = files | Topics::SYMBOLS;
    Some(match n {
        0 | 2 => trouble,
        1 => Topics::empty(),
        3 => files,
        4 => symbols,
        5 => files | Topics::FILE_SEARCH,
        6 => symbols | Topics::FILE_SEARCH,
        7 => symbols | Topics::SYMBOL_SEARCH,
        8 => Topics::all(),
        _ => return None,
    })
}
