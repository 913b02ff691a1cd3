//! One open: everything it adds, until it is committed. Dropping a session undoes all of it.
//!
//! Read [`LoadSet::open`] first: it names the steps in order.

use crate::{
    Addr, Error, ErrorKind, Event, Export, FileId, Format, Forward, Found, FoundFile, HostModule, Image,
    ImportControl, ModuleId, Need, NeededVersion, Query, Requester, Resolution, Resolver, Result, Source,
    Stage, Symbol, SymbolName,
    call::{MissingImport, Stubs},
    event::Topics,
    mode::{Dialect, Load, MissingPolicy, Rules, Scope},
    module::{Bound, Identity, Mapped, Module, Parsed, Relocated, Sealed},
    set::{Globals, Hold, Info, LazyCalls, LazyScope, LoadSet, Origin, Owner, Pins, Place, Planned, Request},
};
use ahash::AHashSet;
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    sync::Arc,
};

/// A forwarder may lead to a forwarder, but not for ever.
pub(crate) const FORWARDS: usize = 16;

/// A module, seen from a session: one that was loaded before, or the n-th that this session brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Old(ModuleId),
    New(usize),
}

/// An entry of a libList, and the module that it came to.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) key: Box<str>,
    pub(crate) node: Node,
    pub(crate) reexported: bool,
    /// The module itself, from when it was first asked for a name.
    info: OnceCell<Arc<Info>>,
}

/// Symbols of which the process has one definition only: which module's it is, and where.
type Singles = BTreeMap<Box<[u8]>, (Node, Addr)>;

/// What a need came to.
enum Sought {
    Loaded(ModuleId),
    File(FoundFile),
    Bytes(Arc<Source>),
    Host(Arc<HostModule>),
}

/// An import that nobody defines, met while the policy was to trap.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    pub(crate) symbols: Vec<MissingImport>,
    pub(crate) libraries: Vec<Box<str>>,
}

pub(crate) struct Session<'s> {
    set: &'s LoadSet,
    rules: Rules,
    /// On whose behalf the root is opened.
    by: Option<&'s Owner>,
    scope: Scope,
    /// Whether calls are bound when they are first made.
    lazy: bool,
    /// Whether the root is put into memory and no more.
    bare: bool,
    /// Whether a program is to run.
    program: bool,
    verbose: Topics,
    told: Topics,
    globals: Arc<Globals>,
    local: Vec<(Node, Arc<Info>)>,
    fresh: Vec<Arc<Info>>,
    links: Vec<Vec<Link>>,
    /// Process-wide single definitions that this session brings.
    singles: RefCell<Singles>,
    edges: Vec<Vec<Node>>,
    by_key: BTreeMap<Box<str>, usize>,
    by_file: BTreeMap<FileId, usize>,
    gaps: Gaps,
}

impl<'s> Session<'s> {
    pub(crate) fn begin(set: &'s LoadSet, request: &Request<'s>) -> Self {
        Self {
            set,
            rules: request.rules,
            by: request.by,
            scope: request.mode.scope,
            lazy: request.rules.binds_lazily(&request.mode),
            bare: request.mode.load == Load::Bare,
            program: request.origin == Origin::Program,
            verbose: request.mode.verbose,
            told: set.told(request.mode.verbose),
            globals: Arc::default(),
            local: Vec::new(),
            fresh: Vec::new(),
            links: Vec::new(),
            singles: RefCell::default(),
            edges: Vec::new(),
            by_key: BTreeMap::new(),
            by_file: BTreeMap::new(),
            gaps: Gaps::default(),
        }
    }

    fn emit(&self, event: &Event<'_>) {
        self.set.emit(self.verbose, event);
    }

    /// Whether an image is put into memory and no more.
    fn stays_bare(&self, image: &dyn Image) -> bool {
        self.bare || image.is_program() && !self.program
    }

    pub(crate) fn into_gaps(self) -> Gaps {
        self.gaps
    }

    /// Breadth first, each name once, the root first: the loadList. Nothing is in memory yet.
    pub(crate) fn find(&mut self, request: &Request<'_>) -> Result<Root> {
        let mut found: Vec<Module<Parsed>> = Vec::new();
        let root = match self.node(&mut found, None, &request.need, request.source.clone()) {
            Ok(Node::Old(id)) => return Ok(Root::Loaded(id)),
            // Whatever there is to say about its file: it is not loaded, and NOLOAD asked nothing else.
            _ if request.refuses_to_load() => {
                return Err(Error::new(&request.need.name, Stage::Find, ErrorKind::NotLoaded));
            }
            Ok(Node::New(n)) => n,
            Err(error) => return Err(error),
        };
        debug_assert_eq!(root, 0);
        let mut next = 0;
        while next < found.len() {
            let image = found[next].image.clone();
            if self.stays_bare(&*image) {
                next += 1;
                continue;
            }
            for need in image.needs() {
                self.link(&mut found, next, need)?;
            }
            self.follow_forwards(&mut found, next)?;
            next += 1;
        }
        self.check_versions(&found)?;
        Ok(Root::Fresh(found))
    }

    /// Refuses a file whose needs are there but do not define the versions that it was linked against.
    fn check_versions(&self, found: &[Module<Parsed>]) -> Result<()> {
        if self.rules.missing == MissingPolicy::Trap {
            return Ok(()); // what is bound to such a version is trapped by name
        }
        for (module, links) in found.iter().zip(&self.links) {
            let name = &module.identity.name;
            let mut missing = None;
            let check = &mut |needed: &NeededVersion<'_>| {
                let link = links.iter().find(|l| l.key.as_bytes() == needed.of);
                let lacks = |l: &&Link| self.linked(found, l).defines_version(needed.version) == Some(false);
                let Some(link) = link.filter(lacks) else { return };
                let version = String::from_utf8_lossy(needed.version);
                match needed.weak {
                    true => self.emit(&Event::NoVersion { name, version: &version, of: &link.key }),
                    false => {
                        let of = link.key.clone();
                        missing.get_or_insert(ErrorKind::VersionNotFound { version: version.into(), of });
                    }
                }
            };
            let blame = |kind| Error::new(name, Stage::Find, kind);
            module.image.needed_versions(check).map_err(blame)?;
            missing.map_or(Ok(()), |kind| Err(blame(kind)))?;
        }
        Ok(())
    }

    /// What was found, and what of it is loaded already, breadth first.
    pub(crate) fn planned(&self, found: &[Module<Parsed>]) -> Vec<Planned> {
        let links = self.links.iter().enumerate().flat_map(|(n, links)| links.iter().map(move |l| (n, l)));
        let mut seen = AHashSet::from([Node::New(0)]);
        let first = (Node::New(0), "".into());
        let rest = links.filter(|(_, l)| seen.insert(l.node));
        let rest = rest.map(|(n, l)| (l.node, found[n].identity.name.clone()));
        std::iter::once(first)
            .chain(rest)
            .map(|(node, needed_by)| self.place(found, node, needed_by))
            .collect()
    }

    fn place(&self, found: &[Module<Parsed>], node: Node, needed_by: Box<str>) -> Planned {
        let (name, place) = match node {
            Node::Old(id) => {
                let info = self.set.lock().describe(id);
                (info.name.clone(), Place::Loaded(info))
            }
            Node::New(n) => {
                let (identity, format) = (&found[n].identity, found[n].image.format());
                let place = match (&identity.path, format) {
                    (_, Format::Host) => Place::Nowhere,
                    (Some(path), _) => Place::File(path.clone(), format),
                    (None, _) => Place::Memory(format),
                };
                (identity.name.clone(), place)
            }
        };
        Planned { name, needed_by, place }
    }

    /// Adds an entry to a module's libList, once.
    fn link(&mut self, found: &mut Vec<Module<Parsed>>, by: usize, need: &Need) -> Result<Node> {
        if let Some(link) = self.links[by].iter_mut().find(|l| l.key == need.key) {
            link.reexported |= need.reexported;
            return Ok(link.node);
        }
        let node = self.node(found, Some(by), need, None)?;
        let (key, reexported) = (need.key.clone(), need.reexported);
        self.links[by].push(Link { key, node, reexported, info: OnceCell::new() });
        Ok(node)
    }

    /// The module that a need leads to: one that is loaded, one already found, or a new one.
    fn node(
        &mut self,
        found: &mut Vec<Module<Parsed>>,
        by: Option<usize>,
        need: &Need,
        given: Option<Arc<Source>>,
    ) -> Result<Node> {
        if let Some(&n) = self.by_key.get(&need.key) {
            return Ok(Node::New(n));
        }
        let needed_by: Box<str> = by.map_or("".into(), |i| found[i].identity.name.clone());
        let sought = match given {
            Some(source) => Ok(Sought::Bytes(source)),
            None => self.seek(found, by, need),
        };
        let blame = |stage, kind| Error::new(&need.name, stage, kind);
        let (source, file) = match sought {
            Ok(Sought::Loaded(id)) => return Ok(Node::Old(id)),
            Ok(Sought::File(f)) => {
                if let Some(&n) = self.by_file.get(&f.id) {
                    self.by_key.entry(need.key.clone()).or_insert(n);
                    return Ok(Node::New(n));
                }
                (Arc::new(f.source().map_err(|k| blame(Stage::Find, k))?), Some(f))
            }
            Ok(Sought::Bytes(source)) => (source, None),
            Ok(Sought::Host(module)) => {
                let (name, format) = (&*need.name, Format::Host);
                self.emit(&Event::Found { name, format, needed_by: &needed_by, path: None });
                return Ok(self.without_file(found, need, module));
            }
            Err(ErrorKind::NotFound { .. }) if by.is_some() && self.rules.missing == MissingPolicy::Trap => {
                return Ok(self.stand_in(found, need, &needed_by));
            }
            Err(ErrorKind::NotFound { .. }) => {
                return Err(blame(Stage::Find, ErrorKind::NotFound { needed_by }));
            }
            Err(kind) => return Err(blame(Stage::Find, kind)),
        };
        let image = self.set.locator().parse(&source).map_err(|k| blame(Stage::Parse, k))?;
        let path = file.as_ref().map(|f| f.path.clone());
        self.emit(&Event::Found {
            name: &need.name,
            format: image.format(),
            needed_by: &needed_by,
            path: path.as_deref(),
        });
        let mut keys = vec![need.key.clone()];
        let file_name = || path.as_ref().and_then(|p| p.file_name());
        match image.format() {
            Format::Pe => keys.extend(file_name().map(|n| n.to_string_lossy().to_ascii_lowercase().into())),
            _ => keys.extend(image.own_name().map(Into::into)),
        }
        let identity = Identity {
            name: need.name.clone(),
            keys,
            path,
            file: file.as_ref().map(|f| f.id),
            source: file.is_none().then(|| source.clone()),
        };
        Ok(self.add(found, Module::new(identity, image, source, file.map(|f| f.file))))
    }

    fn add(&mut self, found: &mut Vec<Module<Parsed>>, module: Module<Parsed>) -> Node {
        let n = found.len();
        for key in &module.identity.keys {
            self.by_key.entry(key.clone()).or_insert(n);
        }
        if let Some(id) = module.identity.file {
            self.by_file.insert(id, n);
        }
        found.push(module);
        self.links.push(Vec::new());
        self.edges.push(Vec::new());
        Node::New(n)
    }

    /// Looks among what is loaded, then where the locator says.
    fn seek(&self, found: &[Module<Parsed>], by: Option<usize>, need: &Need) -> Result<Sought, ErrorKind> {
        if let Some(id) = self.set.lock().by_key(&need.key) {
            return Ok(Sought::Loaded(id));
        }
        let requester = match (by.map(|i| &found[i]), self.by) {
            (Some(m), _) => {
                Requester { name: &m.identity.name, path: m.identity.path.as_deref(), image: Some(&*m.image) }
            }
            (None, Some(owner)) => owner.requester(),
            (None, None) => Requester::default(),
        };
        let mut trying = |path: &std::path::Path| self.emit(&Event::Trying { name: &need.name, path });
        match self.set.locator().locate(need, &requester, &mut trying)? {
            Found::File(f) => Ok(match self.set.lock().by_file(f.id) {
                Some(id) => Sought::Loaded(id),
                None => Sought::File(f),
            }),
            Found::Bytes(source) => Ok(Sought::Bytes(source)),
            Found::Host(module) => Ok(Sought::Host(module)),
        }
    }

    fn stand_in(&mut self, found: &mut Vec<Module<Parsed>>, need: &Need, needed_by: &str) -> Node {
        self.emit(&Event::StandIn { name: &need.name, needed_by });
        self.gaps.libraries.push(need.name.clone());
        self.without_file(found, need, Arc::new(HostModule::new(&need.name)))
    }

    /// Functions of the host in the place of a file.
    fn without_file(&mut self, found: &mut Vec<Module<Parsed>>, need: &Need, image: Arc<HostModule>) -> Node {
        let identity = Identity {
            name: need.name.clone(),
            keys: vec![need.key.clone()],
            path: None,
            file: None,
            source: None,
        };
        self.add(found, Module::new(identity, image, Arc::new(Source::embedded(&[])), None))
    }

    /// A library whose export is only forwarded elsewhere needs that other library for this importer.
    fn follow_forwards(&mut self, found: &mut Vec<Module<Parsed>>, by: usize) -> Result<()> {
        let importer = found[by].image.clone();
        let mut todo: Vec<(Need, SymbolName)> = Vec::new();
        let links = &self.links[by];
        if links.iter().all(|l| self.linked(found, l).forwards_to().is_empty()) {
            return Ok(());
        }
        let forward = |image: &dyn Image, q: &Query<'_>| match image.export(q) {
            Ok(Some(Export::Forward(forward))) => Some((forward.need, forward.symbol)),
            _ => None, // `bind` meets whatever else it is, and reports it
        };
        importer
            .imports(&mut |q| {
                let link = q.from.and_then(|from| links.iter().find(|l| &*l.key == from));
                todo.extend(link.and_then(|l| forward(self.linked(found, l), q)));
            })
            .map_err(|k| Error::new(&found[by].identity.name, Stage::Find, k))?;
        for (mut need, mut symbol) in todo {
            for _ in 0..FORWARDS {
                let node = self.link(found, by, &need)?;
                let next = forward(&*self.image_of(found, node), &query_of(&symbol));
                let Some(further) = next else { break };
                (need, symbol) = further;
            }
        }
        Ok(())
    }

    /// The image that an entry of a libList came to.
    fn linked<'l>(&'l self, found: &'l [Module<Parsed>], link: &'l Link) -> &'l dyn Image {
        match link.node {
            Node::New(n) => &*found[n].image,
            Node::Old(_) => &*self.info_of(link).image,
        }
    }

    fn image_of(&self, found: &[Module<Parsed>], node: Node) -> Arc<dyn Image> {
        match node {
            Node::New(n) => found[n].image.clone(),
            Node::Old(id) => self.set.lock().info(id).image.clone(),
        }
    }

    pub(crate) fn map(&mut self, modules: Vec<Module<Parsed>>) -> Result<Vec<Module<Mapped>>> {
        let mapped = modules
            .into_iter()
            .map(|m| {
                let m = m.map(self.set.space())?;
                self.emit(&Event::Mapped { name: &m.identity.name, at: m.at() });
                Ok(m)
            })
            .collect::<Result<Vec<_>>>()?;
        let info =
            |m: &Module<Mapped>| Info::new(m.identity.clone(), m.image.clone(), m.at(), m.tls(), self.scope);
        self.fresh = mapped.iter().map(info).collect();
        // Taken together: an observer may have opened something that one of them has.
        self.globals = self.set.lock().searched();
        self.local = self.local_list();
        Ok(mapped)
    }

    /// The root's loadList, less what answers only when it is named and, unless it is to be asked first, what the
    /// global list has already.
    fn local_list(&self) -> Vec<(Node, Arc<Info>)> {
        let own_first = self.scope == Scope::OwnFirst;
        let state = self.set.lock();
        let (mut list, mut seen, mut next) = (vec![Node::New(0)], AHashSet::from([Node::New(0)]), 0);
        while next < list.len() {
            let needs: Vec<Node> = match list[next] {
                Node::New(n) => self.links[n].iter().map(|l| l.node).collect(),
                // Under the TNS/R rules what it needs is in the global list as it is itself.
                Node::Old(id)
                    if self.rules.dialect == Dialect::TnsR && !own_first && state.modules[id].is_global() =>
                {
                    Vec::new()
                }
                Node::Old(id) => state.needs(id).iter().map(|&id| Node::Old(id)).collect(),
            };
            list.extend(needs.into_iter().filter(|&node| seen.insert(node)));
            next += 1;
        }
        let global = |node: &Node| matches!(node, Node::Old(id) if state.modules[*id].is_global());
        list.retain(|node| own_first || !global(node));
        drop(state);
        let named_only = |info: &Info| info.image.format() == Format::Pe;
        list.into_iter().map(|node| (node, self.info(node))).filter(|(_, info)| !named_only(info)).collect()
    }

    fn info_of<'l>(&self, link: &'l Link) -> &'l Arc<Info> {
        link.info.get_or_init(|| self.info(link.node))
    }

    fn info(&self, node: Node) -> Arc<Info> {
        match node {
            Node::New(n) => self.fresh[n].clone(),
            Node::Old(id) => self.set.lock().info(id).clone(),
        }
    }

    pub(crate) fn relocate(&self, modules: Vec<Module<Mapped>>) -> Result<Vec<Module<Relocated>>> {
        modules
            .into_iter()
            .map(|m| {
                let (m, count) = m.relocate()?;
                self.emit(&Event::Relocated { name: &m.identity.name, count });
                Ok(m)
            })
            .collect()
    }

    /// The last of the loadList is bound first: a definition of which there is to be one only is most often that of a
    /// module that others need.
    pub(crate) fn bind(&mut self, modules: Vec<Module<Relocated>>) -> Result<Vec<Module<Bound>>> {
        let lazy = self.lazy_scope();
        let mut bound = Vec::with_capacity(modules.len());
        for (n, module) in modules.into_iter().enumerate().rev() {
            if self.stays_bare(&*module.image) {
                bound.push(module.leave_unbound()?);
                continue;
            }
            let lazy = lazy.as_ref();
            let place = self.local.iter().position(|(node, _)| *node == Node::New(n));
            let mut importer = Importer { session: self, n, place, lazy, calls: None, stubs: None };
            let mut module = module.bind(&mut importer)?;
            module.keep(importer.stubs, importer.calls);
            bound.push(module);
        }
        bound.reverse();
        Ok(bound)
    }

    /// Where calls that are bound when they are first made will be looked for; `None` where all are bound now.
    fn lazy_scope(&self) -> Option<LazyScope> {
        let local = || self.local.iter().map(|(_, info)| Arc::downgrade(info)).collect();
        self.lazy.then(|| self.set.lazy_scope(local())).flatten()
    }

    /// Who is asked before the n-th module itself, as `ask_list` has it, whose place in the root's loadList is `place`; `None`
    /// where observers want to hear of it.
    fn rivals(&self, n: usize, place: Option<usize>) -> Option<Rivals<'_>> {
        if self.told.intersects(Topics::SYMBOLS | Topics::SYMBOL_SEARCH) {
            return None;
        }
        match self.control(n) {
            ImportControl::Localized | ImportControl::SemiGlobalized => Some(Rivals::NOBODY),
            ImportControl::Globalized => {
                Some(Rivals { globals: Some(&self.globals), local: &self.local[..place?] })
            }
        }
    }

    fn control(&self, n: usize) -> ImportControl {
        let own = self.fresh[n].image.import_control();
        self.rules.control.unwrap_or(match (self.scope, own) {
            // Its loadList comes first, itself in its place there: so glibc has `DF_SYMBOLIC` and deep binding.
            (Scope::OwnFirst, ImportControl::SemiGlobalized) => ImportControl::Globalized,
            _ => own,
        })
    }

    /// Answers one import of the n-th module, and records the edge.
    fn resolve(
        &mut self,
        n: usize,
        q: &Query<'_>,
        stubs: &mut Option<Box<dyn Stubs>>,
    ) -> Result<Resolution, ErrorKind> {
        let answer = match q.from {
            Some(from) => self.ask_named(n, from, q)?,
            None => self.ask_list(n, q)?,
        };
        let Some((node, resolution)) = answer else {
            return self.nobody(n, q, stubs);
        };
        self.bound_to(n, node);
        if self.told.contains(Topics::SYMBOLS) {
            let at = match resolution {
                Resolution::At(a) | Resolution::Resolver(a) => a,
                Resolution::Tls { .. } | Resolution::Absent => Addr(0),
            };
            let (from, to) = (&self.fresh[n].identity.name, &self.info(node).identity.name);
            self.emit(&Event::Bound { from, symbol: q.symbol, to, at });
        }
        Ok(resolution)
    }

    /// Records the edge of an import that was answered.
    #[inline]
    fn bound_to(&mut self, n: usize, node: Node) {
        if node != Node::New(n) && self.edges[n].last() != Some(&node) && !self.edges[n].contains(&node) {
            self.edges[n].push(node);
        }
    }

    /// What [`Session::resolve`] comes to nearly always where an import names its library: that has the name itself, and
    /// nobody listens.
    #[inline]
    fn resolve_named(&mut self, n: usize, q: &Query<'_>) -> Option<Addr> {
        let from = q.from.filter(|_| !self.told.intersects(Topics::SYMBOLS | Topics::SYMBOL_SEARCH))?;
        let link = self.links[n].iter().find(|l| &*l.key == from)?;
        let (info, node) = (self.info_of(link), link.node);
        let Ok(Some(Export::At(rva))) = info.image.export(q) else { return None };
        let at = info.at.addr(rva);
        self.bound_to(n, node);
        Some(at)
    }

    fn nobody(
        &mut self,
        n: usize,
        q: &Query<'_>,
        stubs: &mut Option<Box<dyn Stubs>>,
    ) -> Result<Resolution, ErrorKind> {
        if q.weak {
            return Ok(Resolution::Absent);
        }
        if self.rules.missing == MissingPolicy::Strict {
            return Err(ErrorKind::undefined(q));
        }
        let module = self.fresh[n].identity.name.clone();
        self.emit(&Event::Missing { from: &module, symbol: q.symbol, of: q.from });
        let import = MissingImport { module, symbol: q.symbol.to_name(), from: q.from.map(Into::into) };
        self.gaps.symbols.push(import.clone());
        let stubs = stubs.get_or_insert_with(|| self.set.caller().stubs());
        stubs.stub(import).map(Resolution::At)
    }

    /// Only the library that the import names is asked, and those that its answer leads to.
    fn ask_named(
        &self,
        n: usize,
        from: &str,
        q: &Query<'_>,
    ) -> Result<Option<(Node, Resolution)>, ErrorKind> {
        let mut asked = self.ask_linked(n, from, q)?;
        for _ in 1..FORWARDS {
            let forward = match asked {
                Asked::Answer(node, r) => return Ok(Some((node, r))),
                Asked::Nothing => return Ok(None),
                Asked::Elsewhere(forward) => forward,
            };
            let Query { symbol, hash, .. } = query_of(&forward.symbol);
            asked = self.ask_linked(n, &forward.need.key, &Query { symbol, hash, hint: None, ..*q })?;
        }
        match asked {
            Asked::Answer(node, r) => Ok(Some((node, r))),
            Asked::Nothing => Ok(None),
            Asked::Elsewhere(forward) => Err(ErrorKind::ForwardLoop { symbol: forward.symbol }),
        }
    }

    /// Asks the library of this name in the n-th module's libList.
    #[inline]
    fn ask_linked(&self, n: usize, key: &str, q: &Query<'_>) -> Result<Asked, ErrorKind> {
        match self.links[n].iter().find(|l| &*l.key == key) {
            Some(link) => self.ask(n, link.node, self.info_of(link), q),
            None => Ok(Asked::Nothing),
        }
    }

    /// The libraries of the importer's searchList are asked in order; the first answer wins.
    fn ask_list(&self, n: usize, q: &Query<'_>) -> Result<Option<(Node, Resolution)>, ErrorKind> {
        let me = &self.fresh[n];
        // Whoever cannot have the name is not asked, unless somebody listens.
        let listens = self.told.contains(Topics::SYMBOL_SEARCH);
        let members = || self.globals.candidates((!listens).then_some(q.hash));
        let ask_at = |node, info: &Arc<Info>, hint| {
            Ok(match self.ask(n, node, info, &Query { hint, ..*q })? {
                Asked::Answer(node, r) => Some((node, r)),
                Asked::Nothing | Asked::Elsewhere(..) => None,
            })
        };
        let ask = |node, info: &Arc<Info>| ask_at(node, info, None);
        match self.control(n) {
            ImportControl::Localized => {
                for (node, info) in self.own_list(n) {
                    if let Some(answer) = ask(node, &info)? {
                        return Ok(Some(answer));
                    }
                }
                for (member, hint) in members().filter(|(m, _)| m.origin == Origin::Host) {
                    if let Some(answer) = ask_at(Node::Old(member.id), &member.info, hint)? {
                        return Ok(Some(answer));
                    }
                }
                return Ok(None);
            }
            ImportControl::SemiGlobalized => {
                if let Some(answer) = ask(Node::New(n), me)? {
                    return Ok(Some(answer));
                }
            }
            ImportControl::Globalized => {}
        }
        if self.scope == Scope::OwnFirst {
            for (member, hint) in members().filter(|(m, _)| m.info.image.format() == Format::Host) {
                if let Some(answer) = ask_at(Node::Old(member.id), &member.info, hint)? {
                    return Ok(Some(answer));
                }
            }
            for (node, info) in &self.local {
                if let Some(answer) = ask(*node, info)? {
                    return Ok(Some(answer));
                }
            }
        }
        for (member, hint) in members() {
            if let Some(answer) = ask_at(Node::Old(member.id), &member.info, hint)? {
                return Ok(Some(answer));
            }
        }
        for (node, info) in &self.local {
            if let Some(answer) = ask(*node, info)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// A localized loadfile's searchList: itself, its libList, and breadth-first what those re-export.
    fn own_list(&self, n: usize) -> Vec<(Node, Arc<Info>)> {
        let mut list = vec![Node::New(n)];
        list.extend(self.links[n].iter().map(|l| l.node));
        let mut next = 1;
        while next < list.len() {
            let reexports: Vec<Node> = match list[next] {
                Node::New(m) => self.links[m].iter().filter(|l| l.reexported).map(|l| l.node).collect(),
                Node::Old(id) => self.set.lock().reexports(id).iter().map(|&id| Node::Old(id)).collect(),
            };
            for node in reexports {
                if !list.contains(&node) {
                    list.push(node);
                }
            }
            next += 1;
        }
        list.into_iter().map(|node| (node, self.info(node))).collect()
    }

    #[inline]
    fn ask(&self, n: usize, node: Node, info: &Arc<Info>, q: &Query<'_>) -> Result<Asked, ErrorKind> {
        if self.told.contains(Topics::SYMBOL_SEARCH) {
            let (from, of) = (&self.fresh[n].identity.name, &info.identity.name);
            self.emit(&Event::Asked { from, symbol: q.symbol, of });
        }
        if !info.names.may_have(q.hash) {
            return Ok(Asked::Nothing);
        }
        let Some(export) = info.image.export(q)? else {
            return Ok(Asked::Nothing);
        };
        Ok(match export {
            Export::At(rva) => Asked::Answer(node, Resolution::At(info.at.addr(rva))),
            Export::Unique(rva) => {
                let (node, at) = self.single(q.symbol, node, info.at.addr(rva));
                Asked::Answer(node, Resolution::At(at))
            }
            Export::Absolute(value) => Asked::Answer(node, Resolution::At(Addr(value))),
            Export::Resolver(rva) => {
                let at = info.at.addr(rva);
                let answer = match node {
                    Node::New(_) => Resolution::Resolver(at),
                    Node::Old(_) => Resolution::At(self.set.resolved(at)?),
                };
                Asked::Answer(node, answer)
            }
            Export::Tls { offset } => match info.tls {
                Some(home) => Asked::Answer(node, Resolution::Tls { home, offset }),
                None => {
                    return Err(ErrorKind::Malformed {
                        what: "thread-local symbol without a block",
                        at: offset,
                    });
                }
            },
            Export::Forward(forward) => Asked::Elsewhere(forward),
        })
    }

    /// The one definition of a symbol of which the process has one only: the first that anybody was bound to.
    fn single(&self, symbol: Symbol<'_>, node: Node, at: Addr) -> (Node, Addr) {
        let Symbol::Name(name) = symbol else {
            return (node, at);
        };
        match self.set.lock().single(name) {
            Some((owner, at)) => (Node::Old(owner), at),
            None => *self.singles.borrow_mut().entry(name.into()).or_insert((node, at)),
        }
    }

    pub(crate) fn seal(&self, mut modules: Vec<Module<Bound>>) -> Result<Vec<Module<Sealed>>> {
        modules.iter_mut().for_each(|m| m.list(self.set.caller()));
        if modules.iter().any(Module::is_late) {
            // A resolver may call into all of them.
            modules.iter_mut().try_for_each(Module::allow_code)?;
            // Who is used first: a resolver may call whatever its own module needs and is bound to.
            for n in self.used_first() {
                modules[n].finish_late(self.set.caller())?;
            }
        }
        modules
            .into_iter()
            .map(|m| {
                let m = m.seal()?;
                self.emit(&Event::Sealed { name: &m.identity.name });
                Ok(m)
            })
            .collect()
    }

    /// What a module needs, then what it is bound to, before the module.
    fn used_first(&self) -> Vec<usize> {
        crate::set::post_order(0usize, |&n, nth| {
            let (links, edges) = (&self.links[n], &self.edges[n]);
            let bound = nth.checked_sub(links.len()).and_then(|nth| edges.get(nth).copied());
            links.get(nth).map(|l| l.node).or(bound).map(|node| match node {
                Node::New(m) => Some(m),
                Node::Old(_) => None,
            })
        })
    }

    /// The session's modules become the set's: the only step that others can see. Returns the root, and all of them.
    ///
    /// # Errors
    /// Only before anything is visible: something that a module is bound to was closed in this very thread meanwhile.
    pub(crate) fn commit(
        mut self,
        modules: Vec<Module<Sealed>>,
        origin: Origin,
    ) -> Result<(ModuleId, Vec<Arc<Info>>)> {
        let modules = modules.into_iter().zip(self.fresh.iter().cloned()).collect();
        self.globals = Arc::default(); // so that the set need not copy its list to change it
        let mut state = self.set.lock();
        // Under the TNS/R rules all join the global list; elsewhere the mode says who does.
        let global = self.rules.dialect == Dialect::TnsR;
        let ids = state.insert(modules, &self.links, &self.edges, global, origin);
        let ids = ids.map_err(|kind| Error::new(&self.fresh[0].identity.name, Stage::Seal, kind))?;
        let root = ids[0];
        let owners = state.claim_singles(self.singles.take().into_iter().map(|(name, (_, at))| (name, at)));
        let wishing = ids.into_iter().filter(|&id| state.info(id).image.wants_to_stay()).collect();
        let overruled = [
            (Hold::NoDelete, state.let_stay(wishing, Pins::NODELETE, self.rules.nodelete)),
            (Hold::UniqueSymbol, state.let_stay(owners, Pins::UNIQUE, self.rules.unique)),
        ];
        drop(state);
        for info in &self.fresh {
            self.emit(&Event::Committed { name: &info.identity.name });
        }
        for (hold, them) in &overruled {
            for identity in them {
                self.emit(&Event::WantsToStay { name: &identity.name, hold });
            }
        }
        Ok((root, self.fresh))
    }
}

/// One module of a session while its imports are answered.
struct Importer<'i, 's> {
    session: &'i mut Session<'s>,
    n: usize,
    /// Its place in the root's loadList.
    place: Option<usize>,
    lazy: Option<&'i LazyScope>,
    calls: Option<Box<LazyCalls>>,
    stubs: Option<Box<dyn Stubs>>,
}

/// Who comes before an image when its own names are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Rivals<'s> {
    /// The globalized searchList.
    globals: Option<&'s Globals>,
    /// Those of the root's loadList that come first.
    local: &'s [(Node, Arc<Info>)],
}

impl Rivals<'_> {
    /// Nobody comes before it.
    const NOBODY: Self = Self { globals: None, local: &[] };

    /// Whether one of them may define a name of this GNU hash, whose lowest bit does not count.
    #[inline]
    #[must_use]
    pub fn may_have(&self, hash: u32) -> bool {
        let may = |info: &Info| info.names.may_have_either(hash);
        let others = |all: &Globals| all.others_may_have(hash) && all.others().any(|m| may(&m.info));
        self.globals.is_some_and(|all| all.host_may_have(hash) || others(all))
            || self.local.iter().any(|(_, info)| may(info))
    }
}

impl Resolver for Importer<'_, '_> {
    fn resolve(&mut self, q: &Query<'_>) -> Result<Resolution, ErrorKind> {
        match self.session.resolve_named(self.n, q) {
            Some(at) => Ok(Resolution::At(at)),
            None => self.session.resolve(self.n, q, &mut self.stubs),
        }
    }

    fn rivals(&self) -> Option<Rivals<'_>> {
        self.session.rivals(self.n, self.place)
    }

    fn lazy_calls(&mut self) -> Option<Addr> {
        let itself_first = match self.session.control(self.n) {
            ImportControl::Globalized => false,
            ImportControl::SemiGlobalized => true,
            ImportControl::Localized => return None, // a searchList of its own, for as long as it is built only
        };
        let caller = self.session.fresh[self.n].clone();
        let calls = LazyCalls::new(self.lazy?.clone(), caller, itself_first);
        Some(self.calls.insert(calls).addr())
    }
}

/// What a search for the root came to.
pub(crate) enum Root {
    Loaded(ModuleId),
    Fresh(Vec<Module<Parsed>>),
}

/// What one library says to one query.
enum Asked {
    Answer(Node, Resolution),
    Elsewhere(Box<Forward>),
    Nothing,
}

/// A query for a symbol that a forwarder names.
pub(crate) fn query_of(symbol: &SymbolName) -> Query<'_> {
    match symbol {
        SymbolName::Name(n) => Query::name(n),
        SymbolName::Ordinal(n) => Query::ordinal(*n),
    }
}
