//! What TNS/R's rules say must happen, in as few lines as they can be said: the loadList, added and operating load
//! sets, who is searched for a symbol, who starts and ends when, and what a close takes away. It knows nothing of
//! addresses, sessions or locks; a random world must do exactly what the model says (`tests/graphs.rs`).
//!
//! Pages in brackets are those of the rules' sources, see `tests/README.md`.

use crate::toy::{Definition, File, Files, Start, failure, line};
use loader_core::{Error, ErrorKind, Format, ImportControl, Mode, Occasion, Stage, SymbolName, mode::Load};
use std::collections::BTreeSet;

/// A loadfile that is loaded.
#[derive(Clone, Debug)]
struct Loaded {
    name: String,
    with_program: bool,
    /// What must stay as long as this does: the libList, and whoever it is bound to.
    uses: BTreeSet<String>,
    /// Its initialiser was called.
    starting: bool,
    /// Its place among the initialisers that came to an end.
    started: Option<usize>,
    /// What its initialiser opened, for its terminator to close.
    opened: Option<usize>,
}

/// A world by the rules.
#[derive(Clone, Debug, Default)]
pub struct Model {
    files: Files,
    /// The operating load set, in load order [3-2].
    loaded: Vec<Loaded>,
    /// What is no member any more and whose terminators have not all run.
    leaving: Vec<Loaded>,
    /// Every handle that was ever given out, and its target while it is open; the main program has no name.
    handles: Vec<Option<Option<String>>>,
    starts: usize,
    log: Vec<String>,
}

impl Model {
    /// A world where nothing is loaded.
    #[must_use]
    pub fn new(files: Files) -> Self {
        Self { files, ..Self::default() }
    }

    /// `dlopen` [3-2]: the number of the new handle, counted from 0.
    ///
    /// # Errors
    /// What `dlopen` must say.
    pub fn open(&mut self, name: &str, mode: Mode, with_program: bool) -> Result<usize, Error> {
        let before = self.loaded.len();
        if !self.is_loaded(name) {
            if mode.load == Load::Never {
                return Err(Error::new(name, Stage::Find, ErrorKind::NotLoaded));
            }
            self.add(name, with_program)?;
        }
        self.handles.push(Some(Some(name.into())));
        let handle = self.handles.len() - 1;
        let added: Vec<String> = self.loaded[before..].iter().map(|m| m.name.clone()).collect();
        // Begun by an outer open: what needs a module that is at it waits for that one, and is the outer open's to start.
        let waits = |model: &Self, name: &str| {
            !added.iter().any(|a| a == name) && model.start_order(name).iter().any(|n| model.is_at_it(n))
        };
        let order = if waits(self, name) { Vec::new() } else { self.start_order(name) };
        for name in order {
            if waits(self, &name) {
                continue;
            }
            if let Err(error) = self.start(&name) {
                self.handles[handle] = None;
                self.unload(|nth, _| nth >= before, Occasion::Unloaded); // nothing of it stays
                self.collect();
                return Err(error);
            }
        }
        Ok(handle)
    }

    /// `dlopen(NULL)`: a handle for the main program.
    pub fn open_program(&mut self) -> usize {
        self.handles.push(Some(None));
        self.handles.len() - 1
    }

    /// The added load set: found, mapped and bound, or nothing of it stays.
    fn add(&mut self, name: &str, with_program: bool) -> Result<(), Error> {
        let added = self.load_list(name, |name| self.is_loaded(name))?;
        self.say(added.iter().map(|n| format!("mapped {n}")));
        let scope: Vec<String> = self.names().into_iter().chain(added.iter().cloned()).collect();
        let mut bound = Vec::new();
        for name in added.into_iter().rev() {
            let uses = self.bind(&name, &scope)?;
            bound.push(Loaded { name, with_program, uses, starting: false, started: None, opened: None });
        }
        self.loaded.extend(bound.into_iter().rev());
        Ok(())
    }

    /// The loadList [4-2]: breadth-first over libLists, each name once, in first-seen order; what is loaded already is
    /// neither loaded nor walked again [rld 1-5].
    fn load_list(&self, root: &str, is_loaded: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let mut list: Vec<String> = Vec::new();
        let see = |list: &mut Vec<String>, name: &str, needed_by: &str| {
            if !self.files.contains_key(name) {
                let kind = ErrorKind::NotFound { needed_by: needed_by.into() };
                return Err(Error::new(name, Stage::Find, kind));
            }
            if !is_loaded(name) && !list.iter().any(|n| n == name) {
                list.push(name.into());
            }
            Ok(())
        };
        see(&mut list, root, "")?;
        let mut next = 0;
        while next < list.len() {
            let (by, file) = self.files.get_key_value(&list[next]).expect("it was seen");
            file.needs.iter().try_for_each(|need| see(&mut list, &need.name, by))?;
            next += 1;
        }
        Ok(list)
    }

    /// Binds one loadfile's imports [4-1 … 4-13], and says who must stay because of it.
    fn bind(&mut self, name: &str, scope: &[String]) -> Result<BTreeSet<String>, Error> {
        let file = self.files[name].clone();
        let mut uses: BTreeSet<String> = file.needs.iter().map(|need| need.name.to_string()).collect();
        for (symbol, from) in &file.imports {
            let list = match from {
                Some(from) => file.needs.iter().filter(|n| *n.name == **from).map(|_| from.clone()).collect(),
                None => self.search_list(name, &file, scope),
            };
            let Some(definer) = self.first_of(&list, symbol) else {
                let symbol = SymbolName::Name(symbol.as_bytes().into());
                let from = from.as_deref().map(Into::into);
                let kind = ErrorKind::Undefined { symbol, version: None, from };
                return Err(Error::new(name, Stage::Bind, kind));
            };
            self.say([format!("bound {name}: {symbol} -> {definer}")]);
            uses.insert(definer);
        }
        Ok(uses)
    }

    fn search_list(&self, name: &str, file: &File, scope: &[String]) -> Vec<String> {
        let itself = [name.to_owned()].into_iter();
        let flat = scope.iter().filter(|n| self.files[*n].format == Format::Elf).cloned();
        match file.control {
            ImportControl::Globalized => flat.collect(),
            ImportControl::SemiGlobalized => itself.chain(flat).collect(),
            ImportControl::Localized => {
                let mut list: Vec<String> =
                    itself.chain(file.needs.iter().map(|n| n.name.to_string())).collect();
                let mut next = 1;
                while next < list.len() {
                    let reexported = self.files[&list[next]].needs.iter().filter(|n| n.reexported);
                    list.extend(
                        reexported
                            .map(|n| n.name.to_string())
                            .filter(|n| !list.contains(n))
                            .collect::<Vec<_>>(),
                    );
                    next += 1;
                }
                list
            }
        }
    }

    fn first_of(&self, list: &[String], symbol: &str) -> Option<String> {
        let defines = |name: &&String| self.files[*name].definition(symbol) == Some(&Definition::Here);
        list.iter().find(defines).cloned()
    }

    /// Dependencies before dependents; a cycle is entered where it is first met.
    fn start_order(&self, root: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.depth_first(root, &mut BTreeSet::new(), &mut order);
        order
    }

    /// Whether a module's initialiser is running.
    fn is_at_it(&self, name: &str) -> bool {
        self.loaded.iter().any(|m| m.name == name && m.starting && m.started.is_none())
    }

    fn depth_first(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if seen.insert(name.into()) {
            for need in &self.files[name].needs {
                self.depth_first(&need.name, seen, order);
            }
            order.push(name.into());
        }
    }

    /// The next place in the order in which modules start.
    fn turn(&mut self) -> usize {
        self.starts += 1;
        self.starts
    }

    /// Runs an initialiser that has not run. One that refuses is told to end at once, one that fails is not, as on Windows.
    fn start(&mut self, name: &str) -> Result<(), Error> {
        let (start, kind) = (self.files[name].start.clone(), self.files[name].entry_kind());
        let Some(nth) = self.loaded.iter().position(|m| m.name == name && !m.starting) else {
            return Ok(());
        };
        self.loaded[nth].starting = true;
        let with_program = self.loaded[nth].with_program;
        let occasion = if with_program { Occasion::LoadedWithProgram } else { Occasion::Loaded };
        self.say([line(name, occasion)]);
        // Windows lists a module before it calls it: what its entry point loads comes after it, and goes before it.
        let turn = (self.files[name].format == Format::Pe).then(|| self.turn());
        match start {
            Start::Agrees | Start::Opens(_) => {
                if let Start::Opens(other) = start {
                    self.loaded[nth].opened = self.open(&other, Mode::default(), false).ok();
                }
                let turn = turn.unwrap_or_else(|| self.turn());
                self.loaded[nth].started = Some(turn);
                self.say([format!("attached {name}")]);
                Ok(())
            }
            Start::Refuses => {
                self.say([line(name, Occasion::Unloaded)]);
                Err(Error::new(name, Stage::Attach, ErrorKind::Refused { what: kind }))
            }
            Start::Fails => Err(Error::new(name, Stage::Attach, failure())),
        }
    }

    /// `dlclose` [3-6]: what neither the main program's load set nor an open handle leads to is unloaded.
    ///
    /// # Errors
    /// What `dlclose` must say.
    pub fn close(&mut self, handle: usize) -> Result<Vec<String>, Error> {
        if self.handles.get_mut(handle).and_then(Option::take).is_none() {
            return Err(Error::new("", Stage::Close, ErrorKind::InvalidHandle));
        }
        Ok(self.collect())
    }

    /// Unloads what nothing leads to any more; while the terminators of what goes run, they lead to what it uses.
    fn collect(&mut self) -> Vec<String> {
        let held = self.loaded.iter().filter(|m| m.with_program || self.handle_count(&m.name) > 0);
        let used = self.leaving.iter().flat_map(|m| &m.uses);
        let mut todo: Vec<String> = held.map(|m| &m.name).chain(used).cloned().collect();
        let mut stay = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if stay.insert(name.clone()) {
                todo.extend(self.loaded.iter().filter(|m| m.name == name).flat_map(|m| m.uses.clone()));
            }
        }
        let mut gone = self.unload(|_, m| !stay.contains(&m.name), Occasion::Unloaded);
        if !gone.is_empty() {
            gone.extend(self.collect());
        }
        gone
    }

    /// The program ends: all that is loaded ends with it, whoever holds it.
    pub fn program_ends(&mut self) {
        self.handles.iter_mut().for_each(|h| *h = None);
        self.unload(|_, _| true, Occasion::ProgramEnds);
    }

    /// All terminators in the inverse order of loading, which is that of the initialisers; then all unmapping
    /// [rld 1-5]. What never started is unmapped last, in the inverse order too.
    fn unload(&mut self, goes: impl Fn(usize, &Loaded) -> bool, why: Occasion) -> Vec<String> {
        let which = |&(nth, m): &(usize, &Loaded)| goes(nth, m);
        let mut gone: Vec<Loaded> =
            self.loaded.iter().enumerate().filter(which).map(|(_, m)| m.clone()).collect();
        self.loaded.retain(|m| !gone.iter().any(|g| g.name == m.name));
        gone.reverse();
        gone.sort_by_key(|m| std::cmp::Reverse(m.started));
        self.leaving.extend(gone.iter().cloned());
        for m in gone.iter().filter(|m| m.started.is_some()) {
            self.say([line(&m.name, why)]);
            let _ = m.opened.map(|handle| self.close(handle)); // refused when the program ends: all are closed
            self.say([format!("detached {}", m.name)]);
        }
        self.leaving.retain(|m| !gone.iter().any(|g| g.name == m.name));
        self.say(gone.iter().map(|m| format!("unmapped {}", m.name)));
        gone.into_iter().map(|m| m.name).collect()
    }

    /// `dlsym` [3-5]: the loadfile in which a symbol is found.
    ///
    /// # Errors
    /// What `dlsym` must say.
    pub fn find(&self, handle: usize, symbol: &str) -> Result<String, Error> {
        let Some(target) = self.target(handle) else {
            return Err(Error::new("", Stage::Symbol, ErrorKind::InvalidHandle));
        };
        let list = match target {
            Some(_) => self.load_list_of(handle),
            None => self.names(),
        };
        let symbol_name = || SymbolName::Name(symbol.as_bytes().into());
        let first = list.first().map_or("", |n| n);
        let not_found =
            || Error::new(first, Stage::Symbol, ErrorKind::SymbolNotFound { symbol: symbol_name() });
        self.first_of(&list, symbol).ok_or_else(not_found)
    }

    /// The loadList of a handle's target; the main program's load set for its handle; empty for a closed one.
    #[must_use]
    pub fn load_list_of(&self, handle: usize) -> Vec<String> {
        match self.target(handle) {
            Some(Some(name)) => self.load_list(name, |_| false).unwrap_or_default(),
            Some(None) => self.loaded.iter().filter(|m| m.with_program).map(|m| m.name.clone()).collect(),
            None => Vec::new(),
        }
    }

    fn target(&self, handle: usize) -> Option<Option<&str>> {
        self.handles.get(handle)?.as_ref().map(Option::as_deref)
    }

    fn is_loaded(&self, name: &str) -> bool {
        self.loaded.iter().any(|m| m.name == name)
    }

    fn say(&mut self, lines: impl IntoIterator<Item = String>) {
        self.log.extend(lines);
    }

    /// How many handles are open for a loadfile.
    #[must_use]
    pub fn handle_count(&self, name: &str) -> usize {
        self.handles.iter().filter(|h| matches!(h, Some(Some(target)) if target == name)).count()
    }

    /// The operating load set, in load order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.loaded.iter().map(|m| m.name.clone()).collect()
    }

    /// What happened since this was last asked.
    #[must_use]
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
