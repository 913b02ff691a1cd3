//! A toy format, so that the rules of the load set are tested without a compiler, without memory maps and without
//! running anything. A file is a few words of text: `need b; import f; export g; refuses`. Its "code" is a script in
//! this process: it logs each call and does what a test told it to ([`Toy::when`]).
//!
//! [`Toy`] is a load set over such files, with a log of what happened. [`File`] has the words of the format.

use loader_core::{
    Addr, Entry, EntryKind, Error, ErrorKind, Event, Export, Format, Forward, Found, Handle, Image, ImageMut,
    ImportControl, InMemory, Layout, Lifecycle, LinkAddr, LoadSet, Locator, MapPlan, Mode, Need, Occasion,
    Origin, Query, Region, Request, Requester, Resolution, Resolve, Rights, Rules, Rva, Source, Symbol,
    SymbolName, TlsTemplate, Tools, Wanted,
    call::{Caller, Dry, Stubs},
    space::{AddressSpace, Backing, Block, Flat},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Range,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

/// The files of a world, by name.
pub type Files = BTreeMap<String, File>;

/// One toy file. Its text is a list of phrases, separated by `;` or new lines:
///
/// | phrase | meaning |
/// |---|---|
/// | `need b`, `reexport b` | an entry of the libList; clients of this file also search it |
/// | `import f`, `import f from b` | a symbol that must be defined, by whoever comes first or by `b` |
/// | `export f`, `resolver f`, `null f` | a definition; one by an ifunc resolver; one whose value is 0 |
/// | `unique f` | a definition of which the process has one |
/// | `forward f b g` | an export that stands for `g` of `b` |
/// | `pe` | a Windows file: an ELF file is meant otherwise |
/// | `semi-globalized`, `localized` | the import control; globalized is meant otherwise |
/// | `stays` | the file wants never to be unloaded |
/// | `refuses`, `fails` | the initialiser answers FALSE; it does not come to an end |
/// | `opens b` | the initialiser opens `b`, if that can be opened, and the terminator closes it |
/// | `garbage`, `huge`, `broken` | the file cannot be parsed; there is no room for it; a fixup leaves the image |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Whose rules it follows.
    pub format: Format,
    /// The libList.
    pub needs: Vec<Need>,
    /// What it imports, in order, and from whom where that is fixed.
    pub imports: Vec<(String, Option<String>)>,
    /// What it exports.
    pub exports: Vec<(String, Definition)>,
    /// Its import control.
    pub control: ImportControl,
    /// Whether it wants never to be unloaded.
    pub stays: bool,
    /// What its initialiser does.
    pub start: Start,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What stands behind an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Definition {
    /// A place in the file.
    Here,
    /// Whatever a resolver answers.
    Resolver,
    /// A place in the file, unless another file's definition is the process's.
    Unique,
    /// Nothing: the symbol's value is 0.
    Null,
    /// Another file's export.
    Forward(String, String),
}

/// What an initialiser does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It does its work.
    #[default]
    Agrees,
    /// It answers FALSE.
    Refuses,
    /// It does not come to an end: it calls what nobody defines.
    Fails,
    /// It opens another file, and the terminator closes that one.
    Opens(String),
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is found, but cannot be parsed.
    Garbage,
    /// It is parsed, but does not fit into the address space.
    Huge,
    /// It is mapped, but a fixup leaves it.
    Broken,
}

impl Default for File {
    fn default() -> Self {
        Self {
            format: Format::Elf,
            needs: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            control: ImportControl::Globalized,
            stays: false,
            start: Start::Agrees,
            fault: Fault::None,
        }
    }
}

/// An entry of a libList.
#[must_use]
pub fn need(name: &str, reexported: bool) -> Need {
    Need { name: name.into(), key: name.into(), reexported }
}

impl File {
    /// The definition of a symbol.
    #[must_use]
    pub fn definition(&self, symbol: &str) -> Option<&Definition> {
        self.exports.iter().find(|(name, _)| name == symbol).map(|(_, definition)| definition)
    }

    /// How its initialiser is called.
    #[must_use]
    pub fn entry_kind(&self) -> EntryKind {
        if self.format == Format::Pe { EntryKind::DllMain } else { EntryKind::Init }
    }
}

impl FromStr for File {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut file = Self::default();
        for phrase in text.split([';', '\n']) {
            let words: Vec<&str> = phrase.split_whitespace().collect();
            let mut export = |name: &str, what| file.exports.push((name.into(), what));
            match *words {
                [] | ["elf"] => {}
                ["pe"] => file.format = Format::Pe,
                ["need", name] => file.needs.push(need(name, false)),
                ["reexport", name] => file.needs.push(need(name, true)),
                ["import", symbol] => file.imports.push((symbol.into(), None)),
                ["import", symbol, "from", name] => file.imports.push((symbol.into(), Some(name.into()))),
                ["export", symbol] => export(symbol, Definition::Here),
                ["resolver", symbol] => export(symbol, Definition::Resolver),
                ["unique", symbol] => export(symbol, Definition::Unique),
                ["stays"] => file.stays = true,
                ["null", symbol] => export(symbol, Definition::Null),
                ["forward", symbol, of, there] => {
                    export(symbol, Definition::Forward(of.into(), there.into()))
                }
                ["semi-globalized"] => file.control = ImportControl::SemiGlobalized,
                ["localized"] => file.control = ImportControl::Localized,
                ["refuses"] => file.start = Start::Refuses,
                ["fails"] => file.start = Start::Fails,
                ["opens", name] => file.start = Start::Opens(name.into()),
                ["garbage"] => file.fault = Fault::Garbage,
                ["huge"] => file.fault = Fault::Huge,
                ["broken"] => file.fault = Fault::Broken,
                _ => return Err(format!("not a phrase of a toy file: {phrase}")),
            }
        }
        Ok(file)
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.format == Format::Pe { "pe" } else { "elf" })?;
        for need in &self.needs {
            write!(f, "; {} {}", if need.reexported { "reexport" } else { "need" }, need.name)?;
        }
        for (symbol, from) in &self.imports {
            write!(f, "; import {symbol}")?;
            from.iter().try_for_each(|name| write!(f, " from {name}"))?;
        }
        for (symbol, what) in &self.exports {
            match what {
                Definition::Here => write!(f, "; export {symbol}")?,
                Definition::Resolver => write!(f, "; resolver {symbol}")?,
                Definition::Unique => write!(f, "; unique {symbol}")?,
                Definition::Null => write!(f, "; null {symbol}")?,
                Definition::Forward(of, there) => write!(f, "; forward {symbol} {of} {there}")?,
            }
        }
        f.write_str(match self.control {
            ImportControl::Globalized => "",
            ImportControl::SemiGlobalized => "; semi-globalized",
            ImportControl::Localized => "; localized",
        })?;
        f.write_str(if self.stays { "; stays" } else { "" })?;
        match &self.start {
            Start::Agrees => {}
            Start::Refuses => f.write_str("; refuses")?,
            Start::Fails => f.write_str("; fails")?,
            Start::Opens(name) => write!(f, "; opens {name}")?,
        }
        f.write_str(match self.fault {
            Fault::None => "",
            Fault::Garbage => "; garbage",
            Fault::Huge => "; huge",
            Fault::Broken => "; broken",
        })
    }
}

/// What a failing initialiser meets.
#[must_use]
pub fn failure() -> ErrorKind {
    ErrorKind::MissingCalled { symbol: SymbolName::Name(b"nobody_has_this"[..].into()), from: None }
}

/// A parsed file. Image position 0 is its initialiser, 8 its terminator, definitions follow from 0x10; the slots of
/// its imports are on the second page.
#[derive(Debug)]
struct ToyImage {
    file: File,
    plan: MapPlan,
}

const DATA: u64 = 0x1000;

impl ToyImage {
    fn parse(text: &[u8]) -> Result<Self, ErrorKind> {
        let malformed = |_| ErrorKind::NotALoadfile { found: "a file that is no toy" };
        let file: File = String::from_utf8_lossy(text).parse().map_err(malformed)?;
        if file.fault == Fault::Garbage {
            return Err(malformed(String::new()));
        }
        let region = |at: Range<u64>, rights| Region { at: Rva(at.start)..Rva(at.end), fill: None, rights };
        let layout = Layout {
            link_base: LinkAddr(0),
            len: if file.fault == Fault::Huge { Flat::LONGEST + DATA } else { 2 * DATA },
            align: DATA,
            wanted: Wanted::Anywhere,
            regions: vec![
                region(0..DATA, Rights::READ | Rights::EXECUTE),
                region(DATA..2 * DATA, Rights::READ | Rights::WRITE),
            ],
            window: Rva(DATA)..Rva(2 * DATA),
            relro: None,
        };
        Ok(Self { file, plan: MapPlan::check(layout, text.len() as u64)? })
    }

    fn ask(&self, mut each: impl FnMut(u64, &Query<'_>) -> Result<(), ErrorKind>) -> Result<(), ErrorKind> {
        for (n, (symbol, from)) in self.file.imports.iter().enumerate() {
            let query = Query { from: from.as_deref(), ..Query::name(symbol.as_bytes()) };
            each(DATA + 8 * n as u64, &query)?;
        }
        Ok(())
    }
}

impl Image for ToyImage {
    fn format(&self) -> Format {
        self.file.format
    }
    fn own_name(&self) -> Option<&str> {
        None
    }
    fn plan(&self) -> &MapPlan {
        &self.plan
    }
    fn needs(&self) -> &[Need] {
        &self.file.needs
    }
    fn import_control(&self) -> ImportControl {
        self.file.control
    }
    fn export(&self, query: &Query<'_>) -> Result<Option<Export>, ErrorKind> {
        let Symbol::Name(wanted) = query.symbol else { return Ok(None) };
        let nth = self.file.exports.iter().position(|(name, _)| name.as_bytes() == wanted);
        Ok(nth.map(|n| {
            let at = Rva(0x10 + 8 * n as u64);
            match &self.file.exports[n].1 {
                Definition::Here => Export::At(at),
                Definition::Resolver => Export::Resolver(at),
                Definition::Unique => Export::Unique(at),
                Definition::Null => Export::Absolute(0),
                Definition::Forward(of, there) => Export::Forward(Box::new(Forward {
                    need: need(of, false),
                    symbol: SymbolName::Name(there.as_bytes().into()),
                })),
            }
        }))
    }
    fn wants_to_stay(&self) -> bool {
        self.file.stays
    }
    fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        self.ask(|_, query| {
            each(query);
            Ok(())
        })
    }
    fn tls(&self) -> Option<&TlsTemplate> {
        None
    }
    fn relocate(&self, mem: &mut ImageMut<'_>) -> Result<usize, ErrorKind> {
        let slot = if self.file.fault == Fault::Broken { Rva(2 * DATA - 4) } else { Rva(2 * DATA - 8) };
        mem.write_u64(slot, mem.at.base.0)?;
        Ok(1)
    }
    fn bind(&self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind> {
        self.ask(|slot, query| match resolve.resolve(query)? {
            Resolution::At(Addr(at)) => mem.write_u64(Rva(slot), at),
            Resolution::Resolver(at) => mem.late(Rva(slot), at, 0),
            Resolution::Tls { .. } | Resolution::Absent => Ok(()),
        })?;
        Ok(self.file.imports.len())
    }
    fn lifecycle(&self, mem: &ImageMut<'_>) -> Result<Lifecycle, ErrorKind> {
        let entry = |at, kind| vec![Entry { at: mem.at.addr(Rva(at)), kind }];
        Ok(match self.file.format {
            Format::Pe => Lifecycle {
                attach: entry(0, EntryKind::DllMain),
                detach: entry(0, EntryKind::DllMain),
                thread: entry(0, EntryKind::DllMain),
            },
            _ => Lifecycle {
                attach: entry(0, EntryKind::Init),
                detach: entry(8, EntryKind::Fini),
                thread: Vec::new(),
            },
        })
    }
}

/// Plain buffers, each at an address of its own, that are counted.
#[derive(Clone, Debug, Default)]
struct Space {
    reserved: Arc<Mutex<u64>>,
    live: Arc<()>,
}

#[derive(Debug)]
struct Counted {
    block: Box<dyn Block>,
    _alive: Arc<()>,
}

impl AddressSpace for Space {
    fn place(&self, plan: &MapPlan, from: Backing<'_>) -> Result<Box<dyn Block>, ErrorKind> {
        let mut reserved = lock(&self.reserved);
        *reserved += 1;
        let block = Flat::at(Addr(*reserved << 16)).place(plan, from)?;
        Ok(Box::new(Counted { block, _alive: self.live.clone() }))
    }
}

impl Block for Counted {
    fn base(&self) -> Addr {
        self.block.base()
    }
    fn window(&mut self) -> &mut [u8] {
        self.block.window()
    }
    fn patch(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind> {
        self.block.patch(at, value)
    }
    fn protect(&mut self, at: Range<Rva>, rights: Rights) -> Result<(), ErrorKind> {
        self.block.protect(at, rights)
    }
}

/// The files, looked up by name. What is looked for is logged.
struct Folder(Arc<Script>);

impl Locator for Folder {
    fn locate(&self, need: &Need, _: &Requester<'_>, _: &mut dyn FnMut(&Path)) -> Result<Found, ErrorKind> {
        lock(&self.0.sought).push(need.key.to_string());
        let text = lock(&self.0.files).get(&*need.key).map(ToString::to_string);
        let text = text.ok_or(ErrorKind::NotFound { needed_by: "".into() })?;
        Ok(Found::Bytes(Arc::new(Source::owned(text.into_bytes()))))
    }
    fn parse(&self, source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
        Ok(Arc::new(ToyImage::parse(source.bytes())?))
    }
}

type Act = Arc<dyn Fn(&LoadSet) -> bool + Send + Sync>;

/// What the "code" of toy files does, and what was seen of it.
#[derive(Default)]
struct Script {
    files: Mutex<Files>,
    acts: Mutex<HashMap<(String, Occasion), Act>>,
    /// What initialisers opened, for their terminators.
    opened: Mutex<HashMap<String, Handle>>,
    resolver: Mutex<Option<Act>>,
    names: Mutex<HashMap<Addr, String>>,
    log: Mutex<Vec<String>>,
    sought: Mutex<Vec<String>>,
    set: OnceLock<Weak<LoadSet>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("files", &self.files).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    fn say(&self, line: String) {
        lock(&self.log).push(line);
    }

    fn hear(&self, event: &Event<'_>) {
        self.say(match event {
            Event::Mapped { name, at } => {
                lock(&self.names).insert(at.base, (*name).to_owned());
                format!("mapped {name}")
            }
            Event::Bound { from, symbol, to, .. } => format!("bound {from}: {} -> {to}", symbol.text()),
            Event::Missing { from, symbol, .. } => format!("missing {from}: {}", symbol.text()),
            Event::StandIn { name, .. } => format!("stand-in {name}"),
            Event::Attached { name } => format!("attached {name}"),
            Event::Detached { name } => format!("detached {name}"),
            Event::Unmapped { name } => format!("unmapped {name}"),
            Event::WantsToStay { name, .. } => format!("overruled {name}"),
            Event::Waiting { name } => format!("waiting {name}"),
            _ => return,
        });
    }

    fn act(&self, act: Option<Act>) -> bool {
        match (act, self.set.get().and_then(Weak::upgrade)) {
            (Some(act), Some(set)) => act(&set),
            _ => true,
        }
    }
}

/// Runs the script instead of code.
#[derive(Debug)]
struct Player(Arc<Script>);

impl Caller for Player {
    fn enter(&self, _: Format) -> Result<(), ErrorKind> {
        Ok(())
    }
    fn entry(&self, _: Entry, base: Addr, occasion: Occasion) -> Result<bool, ErrorKind> {
        let name = lock(&self.0.names).get(&base).cloned().unwrap_or_default();
        self.0.say(line(&name, occasion));
        let act = lock(&self.0.acts).get(&(name.clone(), occasion)).cloned();
        let agreed = self.0.act(act);
        let start = lock(&self.0.files).get(&name).map_or(Start::Agrees, |f| f.start.clone());
        let set = self.0.set.get().and_then(Weak::upgrade);
        let starts = matches!(occasion, Occasion::Loaded | Occasion::LoadedWithProgram);
        match (start, set) {
            (Start::Refuses, _) if starts => return Ok(false),
            (Start::Fails, _) if starts => return Err(failure()),
            (Start::Opens(other), Some(set)) if starts => {
                if let Ok(handle) = set.open(&request(&other)) {
                    lock(&self.0.opened).insert(name, handle);
                }
            }
            (Start::Opens(_), Some(set)) if occasion.reason() == 0 => {
                let opened = lock(&self.0.opened).remove(&name);
                let _ = opened.map(|handle| set.close(handle)); // refused when the program ends: all are closed
            }
            _ => {}
        }
        Ok(agreed)
    }
    fn resolver(&self, at: Addr) -> Result<Addr, ErrorKind> {
        let act = lock(&self.0.resolver).clone();
        self.0.act(act);
        Ok(at)
    }
    fn stubs(&self) -> Box<dyn Stubs> {
        Dry.stubs()
    }
}

/// Logs what tools outside the process are told.
#[derive(Debug)]
struct Viewer(Arc<Script>);

impl Tools for Viewer {
    fn came(&self, modules: &[InMemory<'_>]) {
        for m in modules {
            self.0.say(format!("shown {}", m.name));
        }
    }
    fn going(&self, modules: &[InMemory<'_>]) {
        for m in modules {
            self.0.say(format!("hidden {}", m.name));
        }
    }
}

/// How a call is logged.
#[must_use]
pub fn line(name: &str, occasion: Occasion) -> String {
    match occasion {
        Occasion::Loaded => format!("starts {name}"),
        Occasion::LoadedWithProgram => format!("starts {name} with the program"),
        Occasion::Unloaded => format!("ends {name}"),
        Occasion::ProgramEnds => format!("ends {name} with the program"),
        Occasion::ThreadStarts => format!("thread starts {name}"),
        Occasion::ThreadEnds => format!("thread ends {name}"),
    }
}

/// A load set over toy files, and what happened in it.
#[derive(Debug)]
pub struct Toy {
    /// The load set.
    pub set: Arc<LoadSet>,
    script: Arc<Script>,
    live: Arc<()>,
}

impl Toy {
    /// A world of files, each a name and its text.
    ///
    /// # Panics
    /// When a text is not of the format.
    #[must_use]
    pub fn new(files: &[(&str, &str)]) -> Self {
        Self::of(parsed(files))
    }

    /// The same, with tools outside the process: the log also has what is `shown` to them and `hidden` again.
    ///
    /// # Panics
    /// When a text is not of the format.
    #[must_use]
    pub fn viewed(files: &[(&str, &str)]) -> Self {
        Self::made(parsed(files), |set, script| set.tell(Viewer(script)))
    }

    /// A world of files.
    #[must_use]
    pub fn of(files: Files) -> Self {
        Self::made(files, |_, _| {})
    }

    fn made(files: Files, finish: impl FnOnce(&LoadSet, Arc<Script>)) -> Self {
        let script = Arc::new(Script { files: Mutex::new(files), ..Script::default() });
        let space = Space::default();
        let live = space.live.clone();
        let set = LoadSet::new(space, Arc::new(Player(script.clone())), Folder(script.clone()));
        let set = Arc::new(set);
        finish(&set, script.clone());
        let _ = script.set.set(Arc::downgrade(&set));
        let ear = script.clone();
        set.observe(move |event: &Event<'_>| ear.hear(event));
        Self { set, script, live }
    }

    /// Replaces a file, or adds one.
    ///
    /// # Panics
    /// When the text is not of the format.
    pub fn put(&self, name: &str, text: &str) {
        let file = text.parse().unwrap_or_else(|error| panic!("{error}"));
        lock(&self.script.files).insert(name.to_owned(), file);
    }

    /// What the code of a file does when it is called; false refuses.
    pub fn when(
        &self,
        name: &str,
        occasion: Occasion,
        act: impl Fn(&LoadSet) -> bool + Send + Sync + 'static,
    ) {
        lock(&self.script.acts).insert((name.to_owned(), occasion), Arc::new(act));
    }

    /// What every ifunc resolver does before it answers with its own address.
    pub fn when_resolving(&self, act: impl Fn(&LoadSet) + Send + Sync + 'static) {
        let act = move |set: &LoadSet| {
            act(set);
            true
        };
        *lock(&self.script.resolver) = Some(Arc::new(act));
    }

    /// Opens a file as `dlopen(name, NOW)` does.
    ///
    /// # Errors
    /// As [`LoadSet::open`].
    pub fn open(&self, name: &str) -> Result<Handle, Error> {
        self.set.open(&request(name))
    }

    /// Opens a file as part of the main program's load set, and forgets the handle.
    ///
    /// # Errors
    /// As [`LoadSet::open`].
    pub fn load_with_program(&self, name: &str) -> Result<(), Error> {
        let handle = self.set.open(&Request { origin: Origin::Program, ..request(name) })?;
        self.set.close(handle).map(drop)
    }

    /// Closes a handle that is open.
    ///
    /// # Panics
    /// When it is not.
    pub fn close(&self, handle: Handle) -> Vec<Box<str>> {
        self.set.close(handle).expect("an open handle").gone
    }

    /// Which file a symbol is found in.
    ///
    /// # Errors
    /// As [`LoadSet::symbol`].
    pub fn find(&self, handle: Handle, symbol: &str) -> Result<Box<str>, Error> {
        self.set.symbol(handle, &Query::name(symbol.as_bytes())).map(|found| found.module)
    }

    /// What happened since this was last asked.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.script.log))
    }

    /// What happened since this was last asked, of these kinds: the first words of the lines.
    #[must_use]
    pub fn log_of(&self, kinds: &[&str]) -> Vec<String> {
        let of_kind = |line: &String| kinds.iter().any(|kind| line.split(' ').next() == Some(kind));
        self.log().into_iter().filter(of_kind).collect()
    }

    /// The names that were looked for since this was last asked.
    #[must_use]
    pub fn sought(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.script.sought))
    }

    /// The operating load set: everything loaded, in load order.
    #[must_use]
    pub fn loaded(&self) -> Vec<String> {
        self.set.modules().iter().map(|m| m.name.to_string()).collect()
    }

    /// The loadList of a handle's target; empty for a handle that is not open.
    #[must_use]
    pub fn load_list(&self, handle: Handle) -> Vec<String> {
        let list = self.set.load_list(handle).unwrap_or_default();
        list.iter().map(|m| m.name.to_string()).collect()
    }

    /// How many images have memory.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        Arc::strong_count(&self.live) - 2 // this one, and the address space's own
    }
}

fn parsed(files: &[(&str, &str)]) -> Files {
    let parse = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}"));
    files.iter().map(|&(name, text)| (name.to_owned(), parse(text))).collect()
}

/// A request for a file, with the engine's defaults.
#[must_use]
pub fn request(name: &str) -> Request<'static> {
    Request {
        need: need(name, false),
        source: None,
        mode: Mode::default(),
        rules: Rules::default(),
        origin: Origin::Open,
        by: None,
    }
}
