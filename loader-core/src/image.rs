//! What every format must answer about a parsed file. Object-safe, so one load set can hold both formats.
//!
//! A format answers questions; it never calls back into the engine. `session` asks them in order.

use crate::{
    Addr, ErrorKind, MapPlan, NameFilter, Placement, Rivals, Rva,
    hash::{gnu_hash, terminated},
};
use std::{borrow::Cow, ffi::CStr, fmt, ops::Range};

/// The file format of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Format {
    /// An ELF shared object, ours or one that the host process has.
    Elf,
    /// A Windows PE DLL.
    Pe,
    /// Functions of the host program: no image at all.
    Host,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Elf => "ELF",
            Self::Pe => "PE",
            Self::Host => "host",
        })
    }
}

/// By which searchList a loadfile's imported symbols are resolved (TNS/R guide, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImportControl {
    /// The program's list, to which every open appends: the UNIX rule, an earlier definition pre-empts a library's own.
    Globalized,
    /// The loadfile itself, then the program's list (`DF_SYMBOLIC`).
    SemiGlobalized,
    /// Itself, its libList, and what those libraries re-export; PE goes further and asks the named DLL only.
    Localized,
}

/// A library that a loadfile names directly: an entry of its libList.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The name as the file spells it.
    pub name: Box<str>,
    /// The name in the form in which loaded modules are compared (PE: lower case, with `.dll`; ELF: as it is).
    pub key: Box<str>,
    /// Clients of this loadfile also search the named library (a TNS/R re-export).
    pub reexported: bool,
}

/// Directories in which a file wants its needs to be looked for, as the file spells them: separated by colons,
/// `$ORIGIN` and its like not expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchPath<'a> {
    /// Before the user's own directories (ELF: `DT_RPATH`).
    pub before: &'a str,
    /// After the user's own directories (ELF: `DT_RUNPATH`).
    pub after: &'a str,
    /// The system's directories are not for it (ELF: `DF_1_NODEFLIB`).
    pub own_only: bool,
}

/// A parsed file. It knows nothing of live addresses: the same `Image` can be placed many times.
pub trait Image: Send + Sync + fmt::Debug {
    /// The file's format.
    fn format(&self) -> Format;

    /// The name that the file gives itself (`DT_SONAME`, the export directory's name), in key form.
    fn own_name(&self) -> Option<&str>;

    /// What has to be in memory.
    fn plan(&self) -> &MapPlan;

    /// The libList, in file order.
    fn needs(&self) -> &[Need];

    /// Libraries that forwarded exports lead to, each once; empty for formats without forwarders.
    fn forwards_to(&self) -> &[Need] {
        &[]
    }

    /// Where the file wants its needs to be looked for; nowhere in particular for formats without such wishes.
    fn search_path(&self) -> SearchPath<'_> {
        SearchPath::default()
    }

    /// Which searchList the file asks for when the engine has no other orders.
    fn import_control(&self) -> ImportControl;

    /// Looks a name up among the file's exports. Whoever asks has asked [`Image::names`]: a name that these rule out is none,
    /// even where tables that contradict each other have it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the export tables contradict the file.
    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind>;

    /// The names that [`Image::export`] may find.
    fn names(&self) -> NameFilter {
        NameFilter::open()
    }

    /// The GNU hashes of all names that [`Image::export`] can find (their lowest bit does not count), or `None` where
    /// they cannot be listed cheaply. Of those that are equal the first is the one that a query should have as its hint.
    fn export_hashes(&self) -> Option<Box<dyn Iterator<Item = u32> + '_>> {
        None
    }

    /// The versions that libraries must define for this file (ELF: `DT_VERNEED`).
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the tables contradict the file.
    fn needed_versions(&self, _each: &mut dyn FnMut(&NeededVersion<'_>)) -> Result<(), ErrorKind> {
        Ok(())
    }

    /// Whether the file defines a version (ELF: `DT_VERDEF`); `None` where it defines none at all, and anything goes.
    fn defines_version(&self, _version: &[u8]) -> Option<bool> {
        None
    }

    /// Whether the file is a program. Opened like a library it is put into memory and no more, as Windows does.
    fn is_program(&self) -> bool {
        false
    }

    /// Whether the file wants to stay loaded once it is (ELF: `DF_1_NODELETE`).
    fn wants_to_stay(&self) -> bool {
        false
    }

    /// Every name that the file imports, as [`Image::bind`] will ask for it.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the import tables contradict the file.
    fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind>;

    /// The template of the thread-local block that every thread has of this module.
    fn tls(&self) -> Option<&TlsTemplate>;

    /// Applies the fixups that need no names and returns how many there were.
    ///
    /// # Errors
    /// A malformed or unsupported relocation.
    fn relocate(&self, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind>;

    /// Applies the fixups that need names, asking `resolve` for each name once or more; returns how many there were.
    /// Calls may be left to be bound when they are first made, where `resolve` has [`Resolver::lazy_calls`].
    ///
    /// # Errors
    /// What `resolve` says, or a malformed or unsupported relocation.
    fn bind(&self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind>;

    /// The function that a call means which [`Image::bind`] has left to be bound when it is first made, by its place in
    /// the linkage table, and the slot through which the call goes.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where the tables contradict the file.
    fn lazy_call(&self, _nth: u64) -> Result<Option<(Query<'_>, Rva)>, ErrorKind> {
        Ok(None)
    }

    /// The calls to make when the module is attached and detached, read from the bound image.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for a list or an entry outside the image or outside its code.
    fn lifecycle(&self, mem: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind>;

    /// What those are told who walk the modules of a process; nothing for formats that they do not know.
    fn outline(&self) -> Outline<'_> {
        Outline::default()
    }

    /// The symbol that an image position belongs to: of those that cover it the one that starts last, of those the one
    /// that the file has first. One without a size covers one byte; thread-local and absolute ones cover none.
    fn symbol_at(&self, _: Rva) -> Option<NearSymbol<'_>> {
        None
    }
}

/// What unwinders, debuggers and `dl_iterate_phdr` want to know of an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outline<'a> {
    /// The program headers, as the file has them.
    pub headers: &'a [u8],
    /// Where the header of the unwind table is (`PT_GNU_EH_FRAME`).
    pub unwind: Option<Rva>,
    /// Where the dynamic section is.
    pub dynamic: Option<Rva>,
    /// The whole file.
    pub file: &'a [u8],
}

/// A symbol that was found by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearSymbol<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// Where it starts.
    pub at: Rva,
    /// Its entry in the symbol table, as the file has it.
    pub entry: &'a [u8],
}

/// How [`Image::bind`] asks for a name.
pub type Resolve<'a> = &'a mut dyn Resolver;

/// Who answers [`Image::bind`]. A closure that answers queries will do.
pub trait Resolver {
    /// What a name means to the image.
    ///
    /// # Errors
    /// [`ErrorKind::Undefined`], or what whoever was asked says.
    fn resolve(&mut self, query: &Query<'_>) -> Result<Resolution, ErrorKind>;

    /// Who may have a name that the image itself defines and comes before it: where nobody does, the name means that
    /// definition, and nobody needs to be asked. `None` where everybody is to be asked all the same.
    fn rivals(&self) -> Option<Rivals<'_>> {
        None
    }

    /// Where the image's [`LazyCalls`] are, if its calls may be bound when they are first made.
    ///
    /// [`LazyCalls`]: crate::set::LazyCalls
    fn lazy_calls(&mut self) -> Option<Addr> {
        None
    }
}

impl<F: FnMut(&Query<'_>) -> Result<Resolution, ErrorKind>> Resolver for F {
    fn resolve(&mut self, query: &Query<'_>) -> Result<Resolution, ErrorKind> {
        self(query)
    }
}

/// A name as the importing file wrote it. ELF leaves `from` empty (the first definition in scope wins); PE always
/// fills it in (only that library is asked).
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What is sought.
    pub symbol: Symbol<'a>,
    /// The version that must be matched: ELF only.
    pub version: Option<&'a [u8]>,
    /// The library that must answer, in key form.
    pub from: Option<&'a str>,
    /// Nobody minds when it is not found.
    pub weak: bool,
    /// The GNU hash of the name, computed once by whoever asks; 0 for ordinals.
    pub hash: u32,
    /// Where the library may have it. PE: its number in the table of names when the importer was linked. ELF: its number in
    /// [`Image::export_hashes`].
    pub hint: Option<u32>,
    /// What the answer is for.
    pub purpose: Purpose,
}

/// What a [`Query`] is for: the two read versions differently, as they do for the system's loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A reference in a file. Without a version it was linked before there were any: the oldest definition is meant.
    /// With one, a definition that has no version at all will do.
    Reference,
    /// A lookup by name at run time. Without a version the default one is meant; with one, that and no other.
    Lookup,
}

/// A version that a library must define before a file that was linked against it can be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededVersion<'a> {
    /// The version.
    pub version: &'a [u8],
    /// The library, as the file names it among its needs.
    pub of: &'a [u8],
    /// It is worth a warning only when the library does not have it.
    pub weak: bool,
}

impl<'a> Query<'a> {
    /// A strong, unversioned lookup of a name, asked of nobody in particular.
    ///
    /// ```
    /// use loader_core::Query;
    /// assert_eq!(Query::name(b"printf").hash, 0x156b_2bb8); // the example of the GNU hash specification
    /// ```
    #[inline]
    #[must_use]
    pub fn name(name: &'a [u8]) -> Self {
        Self::hashed(name, gnu_hash(name))
    }

    /// As [`Query::name`], for the name at the start of `bytes`, which ends before the first zero; `None` where there is none.
    ///
    /// ```
    /// use loader_core::Query;
    /// assert_eq!(Query::terminated(b"printf\0scanf\0").map(|q| q.hash), Some(Query::name(b"printf").hash));
    /// assert!(Query::terminated(b"printf").is_none());
    /// ```
    #[inline]
    #[must_use]
    pub fn terminated(bytes: &'a [u8]) -> Option<Self> {
        let (name, hash) = terminated(bytes)?;
        Some(Self::hashed(name, hash))
    }

    #[inline]
    fn hashed(name: &'a [u8], hash: u32) -> Self {
        let symbol = Symbol::Name(name);
        Self { symbol, version: None, from: None, weak: false, hash, hint: None, purpose: Purpose::Lookup }
    }

    /// A query for an ordinal.
    #[inline]
    #[must_use]
    pub fn ordinal(ordinal: u16) -> Self {
        Self { symbol: Symbol::Ordinal(ordinal), hash: 0, ..Self::name(&[]) }
    }

    /// A query for a name or an ordinal.
    #[must_use]
    pub fn lookup(symbol: Symbol<'a>) -> Self {
        match symbol {
            Symbol::Name(name) => Self::name(name),
            Symbol::Ordinal(ordinal) => Self::ordinal(ordinal),
        }
    }

    /// The same query, to be answered by one library only.
    #[inline]
    #[must_use]
    pub fn of(self, from: &'a str) -> Self {
        Self { from: Some(from), ..self }
    }
}

/// A name or an ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol<'a> {
    /// A name, without a terminating zero.
    Name(&'a [u8]),
    /// An ordinal of a PE export table.
    Ordinal(u16),
}

impl Symbol<'_> {
    /// The symbol with its own storage.
    #[must_use]
    pub fn to_name(self) -> SymbolName {
        match self {
            Symbol::Name(n) => SymbolName::Name(n.into()),
            Symbol::Ordinal(n) => SymbolName::Ordinal(n),
        }
    }

    /// The symbol as text: `crc32`, `#17`.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Symbol::Name(n) => String::from_utf8_lossy(n),
            Symbol::Ordinal(n) => format!("#{n}").into(),
        }
    }
}

/// A [`Symbol`] that owns its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SymbolName {
    /// A name, without a terminating zero.
    Name(Box<[u8]>),
    /// An ordinal.
    Ordinal(u16),
}

impl From<&str> for SymbolName {
    fn from(name: &str) -> Self {
        Self::Name(name.as_bytes().into())
    }
}

impl SymbolName {
    /// A borrowed view.
    #[must_use]
    pub fn as_symbol(&self) -> Symbol<'_> {
        match self {
            Self::Name(n) => Symbol::Name(n),
            Self::Ordinal(n) => Symbol::Ordinal(*n),
        }
    }
}

impl fmt::Display for SymbolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_symbol().text())
    }
}

/// What an image says of one of its exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// It is here.
    At(Rva),
    /// It is here, and the process is to have one definition of it only, whoever asks (`STB_GNU_UNIQUE`).
    Unique(Rva),
    /// Another library has it.
    Forward(Box<Forward>),
    /// A function here says where it is (`STT_GNU_IFUNC`).
    Resolver(Rva),
    /// It is in the thread-local block, this many bytes from its start.
    Tls {
        /// Bytes from the start of the block.
        offset: u64,
    },
    /// It has this value wherever the image is (`SHN_ABS`; functions of the host).
    Absolute(u64),
}

/// Where a forwarded export really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The library that has it.
    pub need: Need,
    /// The symbol there.
    pub symbol: SymbolName,
}

/// The answer to a [`Query`], in live addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It is here.
    At(Addr),
    /// Call this once code may run; what it returns is the address. Hand it on with [`ImageMut::late`].
    Resolver(Addr),
    /// It is a thread-local variable.
    Tls {
        /// Whose block it is in.
        home: TlsHome,
        /// Bytes from the start of that block.
        offset: u64,
    },
    /// A weak symbol that nobody defines.
    Absent,
}

/// The thread-local block that every thread has of one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsHome {
    /// A block that this engine keeps: the number of its slot, which `__tls_get_addr` and Windows code index with.
    Slot(u32),
    /// A block of the host process's own TLS.
    Host {
        /// The module number that the system's `__tls_get_addr` knows.
        module: u64,
        /// Bytes from the thread pointer to the start of the block, where that is the same in all threads.
        thread_pointer_offset: Option<i64>,
    },
}

impl TlsHome {
    /// Set in a TLS module word that means one of this engine's slots, never in one of the host's.
    pub const OURS: u64 = 1 << 63;

    /// The word that stands for this block in a `tls_index` pair (the value of a `DTPMOD64` relocation): for a slot,
    /// how far into a thread's table its entry is.
    #[must_use]
    pub const fn module_word(self) -> u64 {
        match self {
            Self::Slot(n) => Self::OURS | (n as u64 * size_of::<*mut u8>() as u64),
            Self::Host { module, .. } => module,
        }
    }
}

/// What a new thread's block of a module starts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTemplate {
    /// The initialised part, as image positions; read from the image after relocation.
    pub init: Range<Rva>,
    /// Length of the whole block in bytes; what `init` does not cover is zero.
    pub size: u64,
    /// Alignment of the block in bytes: a power of two.
    pub align: u64,
    /// The block starts this many bytes after a multiple of `align` (ELF: `p_vaddr % p_align`).
    pub skew: u64,
    /// Where the image wants its slot number written as 32 bits (PE). Such blocks exist in every thread from the
    /// start, because the code looks them up without asking; others are made when a thread first asks.
    pub index_at: Option<Rva>,
}

/// Calls that a module's life consists of, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// When the module comes.
    pub attach: Vec<Entry>,
    /// When it goes.
    pub detach: Vec<Entry>,
    /// When a thread starts or ends.
    pub thread: Vec<Entry>,
}

/// A function of the image that the engine calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its live address.
    pub at: Addr,
    /// How it is called.
    pub kind: EntryKind,
}

/// How an [`Entry`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EntryKind {
    /// `void f(int argc, char **argv, char **envp)`, System V convention (`DT_INIT`, `DT_INIT_ARRAY`).
    Init,
    /// `void f(void)`, System V convention (`DT_FINI_ARRAY`, `DT_FINI`).
    Fini,
    /// `void f(void *base, uint32_t reason, void *reserved)`, Windows convention.
    TlsCallback,
    /// `BOOL f(void *base, uint32_t reason, void *reserved)`, Windows convention; FALSE at attach refuses the load.
    DllMain,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Init => "initialiser",
            Self::Fini => "terminator",
            Self::TlsCallback => "TLS callback",
            Self::DllMain => "DllMain",
        })
    }
}

/// A fixup that waits for code: the slot gets what `resolver` returns, plus `addend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateFixup {
    /// The 64-bit slot.
    pub slot: Rva,
    /// A function without arguments, System V convention.
    pub resolver: Addr,
    /// What is added to its answer, modulo 2^64.
    pub addend: u64,
}

/// The window of one placed image while fixups may write to it. All fixups of all formats go through here, and all
/// of it is safe code.
#[derive(Debug)]
pub struct ImageMut<'a> {
    /// The writable pages.
    pub window: &'a mut [u8],
    /// The image position of the first of them.
    pub start: Rva,
    /// Where the image is.
    pub at: Placement,
    /// The image's own thread-local block, where it has one.
    pub tls: Option<TlsHome>,
    /// Fixups for when code may run.
    pub late: &'a mut Vec<LateFixup>,
}

/// The `N` bytes at `at` in a window whose first byte is at `start`.
#[inline]
fn slot<const N: usize>(window: &mut [u8], start: Rva, at: Rva) -> Option<&mut [u8; N]> {
    let i = usize::try_from(at.0.checked_sub(start.0)?).ok()?;
    window.get_mut(i..)?.first_chunk_mut::<N>()
}

impl ImageMut<'_> {
    #[inline]
    fn slot<const N: usize>(&mut self, at: Rva) -> Result<&mut [u8; N], ErrorKind> {
        // No `ok_or`: an error that is built to be dropped costs more than the fixup.
        match slot(self.window, self.start, at) {
            Some(slot) => Ok(slot),
            None => Err(ErrorKind::WriteOutside { at, len: N }),
        }
    }

    /// The `len` bytes at `at`.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] where they are not all in the window.
    pub fn bytes(&self, at: Rva, len: usize) -> Result<&[u8], ErrorKind> {
        at.0.checked_sub(self.start.0)
            .and_then(|i| usize::try_from(i).ok())
            .and_then(|i| self.window.get(i..)?.get(..len))
            .ok_or(ErrorKind::Malformed { what: "read outside the window", at: at.0 })
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::WriteOutside`] where they are not all in the window.
    pub fn read<const N: usize>(&mut self, at: Rva) -> Result<[u8; N], ErrorKind> {
        self.slot::<N>(at).map(|s| *s)
    }

    /// Writes `N` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::WriteOutside`] where they are not all in the window.
    #[inline]
    pub fn write<const N: usize>(&mut self, at: Rva, value: [u8; N]) -> Result<(), ErrorKind> {
        *self.slot::<N>(at)? = value;
        Ok(())
    }

    /// Reads a little-endian 64-bit number.
    ///
    /// # Errors
    /// As [`ImageMut::read`].
    #[inline]
    pub fn read_u64(&mut self, at: Rva) -> Result<u64, ErrorKind> {
        self.read(at).map(u64::from_le_bytes)
    }

    /// Writes a little-endian 64-bit number.
    ///
    /// # Errors
    /// As [`ImageMut::write`].
    #[inline]
    pub fn write_u64(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind> {
        self.write(at, value.to_le_bytes())
    }

    /// For loops: writes a little-endian 64-bit number, and says whether its place is in the window. Where it is not,
    /// [`ImageMut::write_u64`] says what is wrong.
    #[inline]
    pub fn writer(&mut self) -> impl FnMut(Rva, u64) -> bool + '_ {
        let (start, window) = (self.start, &mut *self.window);
        move |at, value| match slot(window, start, at) {
            Some(slot) => {
                *slot = value.to_le_bytes();
                true
            }
            None => false,
        }
    }

    /// Adds `n` modulo 2^64 to the number at `at`: the RELATIVE fixup of RELR tables and of `DIR64` blocks.
    ///
    /// # Errors
    /// As [`ImageMut::write`].
    #[inline]
    pub fn add_u64(&mut self, at: Rva, n: u64) -> Result<(), ErrorKind> {
        let slot = self.slot::<8>(at)?;
        *slot = u64::from_le_bytes(*slot).wrapping_add(n).to_le_bytes();
        Ok(())
    }

    /// Leaves a slot to be filled when code may run, with what `resolver` answers plus `addend`.
    ///
    /// # Errors
    /// [`ErrorKind::WriteOutside`] where the slot is not in the window.
    pub fn late(&mut self, slot: Rva, resolver: Addr, addend: u64) -> Result<(), ErrorKind> {
        self.slot::<8>(slot)?;
        self.late.push(LateFixup { slot, resolver, addend });
        Ok(())
    }
}
