//! The book of a load set: modules, handles, edges, and what follows from them. Nothing here calls foreign code.

use super::{Globals, Handle, Hold, Member, ModuleId, Owner, Stayed};
use crate::{
    Addr, Error, ErrorKind, FileId, Format, Image, Lifecycle, NameFilter, Placement, Rights, Rva, Stage,
    ThreadDestructors, TlsHome,
    mode::{Dialect, Scope, StayPolicy},
    module::{Body, Identity, Module, Sealed},
    session::{Link, Node},
    space::Block,
    tools::InMemory,
    turnstile::this_thread,
};
use ahash::{AHashMap, AHashSet};
use slotmap::SlotMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    ops::Range,
    path::PathBuf,
    sync::{Arc, OnceLock},
    thread::ThreadId,
};

/// How a module came to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The host process has it, or it stands for functions of the host.
    Host,
    /// It was loaded with the program: a member of the main program's load set.
    Program,
    /// An open brought it in.
    Open,
}

/// What a handle is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The main program. By the TNS/R rules the entire operating load set is searched for it, by those of POSIX what
    /// everybody sees.
    Program(Dialect),
    /// A module.
    Module(ModuleId),
}

impl Target {
    fn module(self) -> Option<ModuleId> {
        match self {
            Self::Program(_) => None,
            Self::Module(id) => Some(id),
        }
    }
}

/// What others need to know of a module that has its place.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) identity: Arc<Identity>,
    pub(crate) image: Arc<dyn Image>,
    pub(crate) at: Placement,
    pub(crate) tls: Option<TlsHome>,
    /// Where the names that its code asks for are looked for first.
    pub(crate) scope: Scope,
    /// The names that `image` may define.
    pub(crate) names: NameFilter,
}

impl Info {
    pub(crate) fn new(
        identity: Arc<Identity>,
        image: Arc<dyn Image>,
        at: Placement,
        tls: Option<TlsHome>,
        scope: Scope,
    ) -> Arc<Self> {
        let names = image.names();
        Arc::new(Self { identity, image, at, tls, scope, names })
    }

    /// An error of a lookup in it.
    #[cold]
    pub(crate) fn blamed(&self, kind: ErrorKind) -> Error {
        Error::new(&self.identity.name, Stage::Symbol, kind)
    }

    /// As tools see it.
    pub(crate) fn shown(&self) -> InMemory<'_> {
        let Identity { name, path, .. } = &*self.identity;
        InMemory { name, path: path.as_deref(), at: self.at, image: &*self.image }
    }
}

/// A module as it stands at one moment.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// The module.
    pub id: ModuleId,
    /// The name the user knows it by.
    pub name: Box<str>,
    /// Its file, where it has one.
    pub path: Option<PathBuf>,
    /// Its format.
    pub format: Format,
    /// Where it is.
    pub at: Placement,
    /// How it came.
    pub origin: Origin,
    /// How many handles are outstanding for it.
    pub handles: u32,
    /// Whether its initialisers have run.
    pub attached: bool,
    /// Whether it stays for as long as the load set lives.
    pub pinned: bool,
    /// What it needs, by name, in order.
    pub needs: Vec<Box<str>>,
}

/// How far a module's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its initialisers are to be run by this thread, or by one that needs it sooner.
    Pending(ThreadId),
    /// Its initialisers are being run by this thread.
    Running(ThreadId),
    /// It can be used.
    Live,
    /// Its initialisers will not be run.
    Failed,
}

bitflags::bitflags! {
    /// Why a module stays for as long as the load set lives.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Pins: u8 {
        /// The embedder says so.
        const EMBEDDER = 1;
        /// Whoever opened it, or its file, says so.
        const NODELETE = 2;
        /// It has a single definition, and the rules keep those.
        const UNIQUE = 4;
    }
}

/// What took out the dead has to say.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The dead: what was attached last comes first; what was never attached comes at the end.
    pub(crate) dead: Vec<Loaded>,
    /// What might have been among them.
    pub(crate) stayed: Vec<Stayed>,
}

/// How long what a module is bound to will be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reliance {
    /// As long as the module.
    Lasting,
    /// For now: the module is not among the loaded ones yet, or any more.
    Passing,
    /// It went.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) info: Arc<Info>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) origin: Origin,
    pub(crate) phase: Phase,
    pub(crate) attached: Option<u64>,
    pins: Pins,
    pub(crate) thread_calls: bool,
    /// The module whose open brought it in: first of the group that it was loaded with.
    first: ModuleId,
    /// How many of its thread-local objects threads have yet to destroy.
    objects: u32,
    /// Whether a close waits for that.
    awaited: bool,
    /// The libList.
    needs: Vec<ModuleId>,
    /// What of the libList its clients also search.
    reexports: Vec<ModuleId>,
    /// The libList and whatever else it is bound to.
    edges: Vec<ModuleId>,
    /// Whose edges lead here, for modules that may go.
    users: Vec<ModuleId>,
    opens: u32,
    /// The process-wide single definitions that are this module's.
    singles: Vec<Box<[u8]>>,
    /// Place in load order.
    nth: u64,
    /// A member of the globalized searchList.
    global: bool,
    load_list: OnceLock<Arc<[Arc<Info>]>>,
    /// Dropped last of all: the image's memory.
    home: Home,
}

/// What keeps a module's memory: nothing for what the host process has.
#[derive(Debug)]
enum Home {
    Image(Body),
    /// The page that gives a module of the host an address; none for what the host process has loaded itself.
    Stub(#[expect(dead_code, reason = "held to be dropped with the module")] Option<Box<dyn Block>>),
}

/// What must be known of a module while its terminators run: they may ask on its behalf, and what it is bound to is there
/// for as long as they do.
#[derive(Debug)]
struct Leaving {
    info: Arc<Info>,
    first: ModuleId,
    needs: Vec<ModuleId>,
    edges: Vec<ModuleId>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) modules: SlotMap<ModuleId, Loaded>,
    order: BTreeMap<u64, ModuleId>,
    loads: u64,
    handles: SlotMap<Handle, Target>,
    /// Who answers to a name, the first loaded first.
    by_key: AHashMap<Box<str>, Vec<ModuleId>>,
    by_file: AHashMap<FileId, ModuleId>,
    by_base: BTreeMap<Addr, ModuleId>,
    globals: Arc<Globals>,
    /// Symbols of which the process has one definition only, and whose it is.
    singles: AHashMap<Box<[u8]>, (ModuleId, Addr)>,
    attaches: u64,
    /// Modules that are gone for everybody else, whose terminators run.
    leaving: AHashMap<ModuleId, Leaving>,
    /// Modules that lost a hold since the dead were last taken out.
    suspects: Vec<ModuleId>,
    /// Whether there ever was an object that a close waits for.
    waits: bool,
}

impl State {
    pub(crate) fn by_key(&self, key: &str) -> Option<ModuleId> {
        self.by_key.get(key)?.first().copied()
    }

    pub(crate) fn by_file(&self, file: FileId) -> Option<ModuleId> {
        self.by_file.get(&file).copied()
    }

    pub(crate) fn at(&self, at: Addr) -> Option<ModuleId> {
        let (_, &id) = self.by_base.range(..=at).next_back()?;
        self.modules[id].info.at.contains(at).then_some(id)
    }

    /// The module that an address lies in, if it is not one of the host's; also one whose terminators run.
    pub(crate) fn owner(&self, at: Addr) -> Option<Owner> {
        let loaded = self.at(at).filter(|&id| self.modules[id].origin != Origin::Host);
        let loaded = loaded.map(|id| Owner { id, info: self.info(id).clone() });
        loaded.or_else(|| {
            let (&id, m) = self.leaving.iter().find(|(_, m)| m.info.at.contains(at))?;
            Some(Owner { id, info: m.info.clone() })
        })
    }

    /// The module that answers to a name, or is the file's; also one whose terminators run.
    pub(crate) fn named(&self, key: &str, file: Option<FileId>) -> Option<Owner> {
        let id = self.by_key(key).or_else(|| self.by_file(file?));
        let loaded = id.map(|id| Owner { id, info: self.info(id).clone() });
        loaded.or_else(|| {
            let is_it =
                |m: &&Identity| m.keys.iter().any(|k| &**k == key) || file.is_some() && m.file == file;
            let (&id, m) = self.leaving.iter().find(|(_, m)| is_it(&&*m.info.identity))?;
            Some(Owner { id, info: m.info.clone() })
        })
    }

    /// What a module is, loaded or leaving.
    pub(crate) fn info_of(&self, id: ModuleId) -> Option<&Arc<Info>> {
        self.seen(id).map(|(info, ..)| info)
    }

    /// The group that a module was loaded with, breadth first, or itself and what it needs where the first of that
    /// group is gone.
    pub(crate) fn group(&self, id: ModuleId) -> Vec<Arc<Info>> {
        let first = self.seen(id).map_or(id, |(_, first, _)| first);
        [first, id]
            .into_iter()
            .map(|root| self.load_list_ids(root))
            .find(|list| list.contains(&id))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|id| self.seen(id).map(|(info, ..)| info.clone()))
            .collect()
    }

    /// The groups that a module is in because what was opened needs it, first opened first.
    pub(crate) fn groups(&self, info: &Arc<Info>) -> Vec<Arc<Info>> {
        let roots = self.order.values().filter(|&&root| self.modules[root].first == root);
        let groups = roots.map(|&root| self.load_list(root));
        groups
            .filter(|list| list.iter().any(|i| Arc::ptr_eq(i, info)))
            .flat_map(|l| l.iter().cloned())
            .collect()
    }

    /// What a module, loaded or leaving, is, came with and needs.
    fn seen(&self, id: ModuleId) -> Option<(&Arc<Info>, ModuleId, &[ModuleId])> {
        let loaded = self.modules.get(id).map(|m| (&m.info, m.first, &*m.needs));
        loaded.or_else(|| self.leaving.get(&id).map(|m| (&m.info, m.first, &*m.needs)))
    }

    /// The terminators of these have run: they use nothing any more.
    pub(crate) fn left(&mut self, gone: &[Loaded]) {
        let left = |_: &ModuleId, m: &mut Leaving| gone.iter().any(|g| Arc::ptr_eq(&g.info, &m.info));
        for (id, m) in self.leaving.extract_if(left) {
            for to in m.edges {
                let used = self.modules.get_mut(to).filter(|to| to.origin != Origin::Host);
                if let Some(used) = used {
                    used.users.retain(|&u| u != id);
                    self.suspects.push(to);
                }
            }
        }
    }

    pub(crate) fn info(&self, id: ModuleId) -> &Arc<Info> {
        &self.modules[id].info
    }

    pub(crate) fn needs(&self, id: ModuleId) -> &[ModuleId] {
        &self.modules[id].needs
    }

    pub(crate) fn reexports(&self, id: ModuleId) -> &[ModuleId] {
        &self.modules[id].reexports
    }

    /// The definition that everybody is bound to, of a symbol of which the process has one only.
    pub(crate) fn single(&self, name: &[u8]) -> Option<(ModuleId, Addr)> {
        self.singles.get(name).copied()
    }

    /// The globalized searchList, and the names that the host's members of it may define.
    pub(crate) fn searched(&self) -> Arc<Globals> {
        self.globals.clone()
    }

    pub(crate) fn target(&self, handle: Handle) -> Option<Target> {
        self.handles.get(handle).copied()
    }

    /// The module that a handle is for; `None` for the main program's, too.
    pub(crate) fn target_module(&self, handle: Handle) -> Option<ModuleId> {
        self.target(handle)?.module()
    }

    /// The main program's load set, in load order.
    pub(crate) fn program(&self) -> Vec<ModuleId> {
        let with_program = |id: &&ModuleId| self.modules[**id].origin != Origin::Open;
        self.order.values().filter(with_program).copied().collect()
    }

    pub(crate) fn list(&self) -> Vec<ModuleInfo> {
        self.order.values().map(|&id| self.describe(id)).collect()
    }

    pub(crate) fn describe(&self, id: ModuleId) -> ModuleInfo {
        let m = &self.modules[id];
        let name = |&id: &ModuleId| self.modules.get(id).map(|m| m.info.identity.name.clone());
        ModuleInfo {
            id,
            name: m.info.identity.name.clone(),
            path: m.info.identity.path.clone(),
            format: m.info.image.format(),
            at: m.info.at,
            origin: m.origin,
            handles: m.opens,
            attached: m.phase == Phase::Live,
            pinned: !m.pins.is_empty() || m.origin != Origin::Open,
            needs: m.needs.iter().filter_map(name).collect(),
        }
    }

    /// Counts an open of `target`; returns the handle and how many the target has now.
    pub(crate) fn open(&mut self, target: Target) -> (Handle, u32) {
        let opens = target.module().map_or(0, |id| {
            let m = &mut self.modules[id];
            m.opens += 1;
            m.opens
        });
        (self.handles.insert(target), opens)
    }

    /// Takes a handle back: `None` where there is no such handle, else its target and how many that has left.
    #[allow(clippy::option_option, reason = "no such handle, and the main program's, are different answers")]
    pub(crate) fn close(&mut self, handle: Handle) -> Option<Option<(Arc<Info>, u32)>> {
        let target = self.handles.remove(handle)?.module();
        self.suspects.extend(target);
        Some(target.map(|id| {
            let m = &mut self.modules[id];
            m.opens -= 1;
            (m.info.clone(), m.opens)
        }))
    }

    /// What `dlsym` searches for this handle.
    pub(crate) fn search_list(&self, handle: Handle) -> Option<Arc<[Arc<Info>]>> {
        Some(match self.target(handle)? {
            Target::Module(id) => self.load_list(id).clone(),
            Target::Program(Dialect::Posix) => self.globals.iter().map(|m| m.info.clone()).collect(),
            Target::Program(Dialect::TnsR) => {
                let named = |m: &&Loaded| m.global || m.info.image.format() != Format::Host;
                let all = self.order.values().map(|&id| &self.modules[id]);
                all.filter(named).map(|m| m.info.clone()).collect()
            }
        })
    }

    fn load_list(&self, id: ModuleId) -> &Arc<[Arc<Info>]> {
        self.modules[id]
            .load_list
            .get_or_init(|| self.load_list_ids(id).into_iter().map(|id| self.info(id).clone()).collect())
    }

    /// Breadth first over needs, each once, the module itself first.
    pub(crate) fn load_list_ids(&self, id: ModuleId) -> Vec<ModuleId> {
        let (mut list, mut seen, mut next) = (vec![id], AHashSet::from([id]), 0);
        while next < list.len() {
            let needs = self.seen(list[next]).map_or(&[][..], |(.., needs)| needs);
            list.extend(needs.iter().filter(|&&n| seen.insert(n)));
            next += 1;
        }
        list
    }

    /// Dependencies before dependents; a cycle is entered where it was first met.
    pub(crate) fn attach_order(&self, root: ModuleId) -> Vec<ModuleId> {
        post_order(root, |&id, nth| self.modules[id].needs.get(nth).map(|&n| Some(n)))
    }

    /// The same for an open that has brought in `fresh`, less what must wait: an open from inside an initialiser leaves to
    /// the outer open what that has brought and what needs the very module that is not initialised yet. So glibc and
    /// Windows have it.
    pub(crate) fn ready_order(&self, root: ModuleId, fresh: &[Arc<Info>]) -> Vec<ModuleId> {
        let mut order = self.attach_order(root);
        let me = this_thread();
        let is_at_it = |id: &ModuleId| self.modules[*id].phase == Phase::Running(me);
        if order.iter().any(is_at_it) {
            let is_fresh = |id| fresh.iter().any(|f| Arc::ptr_eq(f, self.info(id)));
            let waits = |id| !is_fresh(id) && self.attach_order(id).iter().any(is_at_it);
            match waits(root) {
                true => order.clear(), // with all that it needs
                false => order.retain(|&id| !waits(id)),
            }
        }
        order
    }

    /// A module, and those that it keeps and that keep it: they come and go together.
    pub(crate) fn cycle(&self, id: ModuleId) -> Vec<ModuleId> {
        let reached = |root| post_order(root, |&id, nth| self.modules[id].edges.get(nth).map(|&e| Some(e)));
        reached(id).into_iter().filter(|&other| reached(other).contains(&id)).collect()
    }

    /// The next place in the order in which modules attach.
    pub(crate) fn turn(&mut self) -> u64 {
        self.attaches += 1;
        self.attaches
    }

    /// The initialisers of a module have run; its place in the order is the one that it took, or the next.
    pub(crate) fn attached(&mut self, id: ModuleId, turn: Option<u64>) {
        let turn = turn.unwrap_or_else(|| self.turn());
        let m = &mut self.modules[id];
        m.attached = Some(turn);
        m.phase = Phase::Live;
    }

    /// Modules whose initialisers have run, in their order.
    pub(crate) fn in_attach_order(&self) -> Vec<ModuleId> {
        let attached = |&id: &ModuleId| self.modules[id].attached.map(|n| (n, id));
        let mut list: Vec<(u64, ModuleId)> = self.order.values().filter_map(attached).collect();
        list.sort_unstable();
        list.into_iter().map(|(_, id)| id).collect()
    }

    /// Adds a module of the host, which is live from the start.
    pub(crate) fn insert_host(
        &mut self,
        info: Arc<Info>,
        block: Option<Box<dyn Block>>,
        global: bool,
    ) -> ModuleId {
        let loaded = Loaded {
            info,
            lifecycle: Arc::default(),
            origin: Origin::Host,
            phase: Phase::Live,
            attached: None,
            pins: Pins::empty(),
            thread_calls: false,
            first: ModuleId::default(),
            objects: 0,
            awaited: false,
            needs: Vec::new(),
            reexports: Vec::new(),
            edges: Vec::new(),
            users: Vec::new(),
            opens: 0,
            singles: Vec::new(),
            nth: 0,
            global,
            load_list: OnceLock::new(),
            home: Home::Stub(block),
        };
        self.add(loaded)
    }

    /// Gives adopted modules their needs, once all of them are there.
    pub(crate) fn connect_hosts(&mut self, fresh: &[ModuleId]) {
        for &id in fresh {
            let image = self.modules[id].info.image.clone();
            let needs: Vec<ModuleId> = image.needs().iter().filter_map(|n| self.by_key(&n.key)).collect();
            self.modules[id].edges = needs.clone();
            self.modules[id].needs = needs;
        }
    }

    /// Adds what a session brings, the root first, each with what others know of it; returns them in that order.
    pub(crate) fn insert(
        &mut self,
        modules: Vec<(Module<Sealed>, Arc<Info>)>,
        links: &[Vec<Link>],
        edges: &[Vec<Node>],
        global: bool,
        origin: Origin,
    ) -> Result<Vec<ModuleId>, ErrorKind> {
        let needed = links.iter().flatten().map(|l| l.node).chain(edges.iter().flatten().copied());
        for node in needed {
            if let Node::Old(id) = node
                && !self.modules.contains_key(id)
            {
                return Err(ErrorKind::Inconsistent {
                    what: "a library went while another one was bound to it",
                });
            }
        }
        let me = this_thread();
        let ids: Vec<ModuleId> = modules
            .into_iter()
            .map(|(module, info)| {
                let (body, lifecycle) = module.into_parts();
                let visible = global && info.image.format() == Format::Elf;
                let loaded = Loaded {
                    info,
                    phase: if lifecycle.is_some() { Phase::Pending(me) } else { Phase::Live },
                    lifecycle: Arc::new(lifecycle.unwrap_or_default()),
                    origin,
                    attached: None,
                    pins: Pins::empty(),
                    thread_calls: true,
                    first: ModuleId::default(),
                    objects: 0,
                    awaited: false,
                    needs: Vec::new(),
                    reexports: Vec::new(),
                    edges: Vec::new(),
                    users: Vec::new(),
                    opens: 0,
                    singles: Vec::new(),
                    nth: 0,
                    global: visible,
                    load_list: OnceLock::new(),
                    home: Home::Image(body),
                };
                self.add(loaded)
            })
            .collect();
        let id_of = |node: Node| match node {
            Node::Old(id) => id,
            Node::New(n) => ids[n],
        };
        for ((&id, links), bound) in ids.iter().zip(links).zip(edges) {
            let needs: Vec<ModuleId> = links.iter().map(|l| id_of(l.node)).collect();
            let mut edges = needs.clone();
            edges.extend(bound.iter().map(|&n| id_of(n)));
            edges.sort_unstable();
            edges.dedup();
            for &to in &edges {
                self.used(to, id);
            }
            let m = &mut self.modules[id];
            m.reexports = links.iter().filter(|l| l.reexported).map(|l| id_of(l.node)).collect();
            (m.first, m.needs, m.edges) = (ids[0], needs, edges);
        }
        Ok(ids)
    }

    /// Remembers the single definitions that a session's modules were bound to; returns whose they are.
    pub(crate) fn claim_singles(
        &mut self,
        singles: impl IntoIterator<Item = (Box<[u8]>, Addr)>,
    ) -> BTreeSet<ModuleId> {
        let mut owners = BTreeSet::new();
        for (name, at) in singles {
            if let Some(owner) = self.at(at) {
                self.modules[owner].singles.push(name.clone());
                self.singles.insert(name, (owner, at));
                owners.insert(owner);
            }
        }
        owners
    }

    /// Keeps a module, and what it needs, for as long as the load set lives.
    pub(crate) fn pin(&mut self, id: ModuleId, pin: Pins) {
        if let Some(m) = self.modules.get_mut(id) {
            m.pins |= pin;
        }
    }

    /// Lets modules stay for good that want to, where the policy is to honour that. Returns those that are overruled
    /// and to be reported.
    pub(crate) fn let_stay(
        &mut self,
        wishing: BTreeSet<ModuleId>,
        pin: Pins,
        policy: StayPolicy,
    ) -> Vec<Arc<Identity>> {
        match policy {
            StayPolicy::Ignore => Vec::new(),
            StayPolicy::Report => wishing.into_iter().map(|id| self.info(id).identity.clone()).collect(),
            StayPolicy::Honour => {
                wishing.into_iter().for_each(|id| self.pin(id, pin));
                Vec::new()
            }
        }
    }

    /// The module and its loadList join the globalized searchList, in order.
    pub(crate) fn promote(&mut self, root: ModuleId) {
        for id in self.load_list_ids(root) {
            let m = &mut self.modules[id];
            if !m.global && m.info.image.format() == Format::Elf {
                m.global = true;
                let member = Member { id, origin: m.origin, info: m.info.clone() };
                Arc::make_mut(&mut self.globals).push(member);
            }
        }
    }

    fn add(&mut self, mut loaded: Loaded) -> ModuleId {
        self.loads += 1;
        loaded.nth = self.loads;
        let (info, origin, global) = (loaded.info.clone(), loaded.origin, loaded.global);
        let id = self.modules.insert(loaded);
        self.order.insert(self.loads, id);
        for key in &info.identity.keys {
            let answer = self.by_key.entry(key.clone()).or_default();
            if !answer.contains(&id) {
                answer.push(id);
            }
        }
        if let Some(file) = info.identity.file {
            self.by_file.entry(file).or_insert(id);
        }
        self.by_base.insert(info.at.base, id);
        if global {
            Arc::make_mut(&mut self.globals).push(Member { id, origin, info });
        }
        id
    }

    /// Remembers that `to` is used by `by`, where `to` is one of those that may go.
    fn used(&mut self, to: ModuleId, by: ModuleId) {
        let m = &mut self.modules[to];
        if m.origin != Origin::Host {
            m.users.push(by);
        }
    }

    /// The module at `base` needs the handle's target from now on; returns that target.
    pub(crate) fn link(&mut self, base: Addr, handle: Handle) -> Option<Owner> {
        let (from, to) = (self.at(base)?, self.target_module(handle)?);
        self.connect(from, to);
        Some(Owner { id: to, info: self.info(to).clone() })
    }

    fn connect(&mut self, from: ModuleId, to: ModuleId) {
        if from != to && !self.modules[from].edges.contains(&to) {
            self.modules[from].edges.push(to);
            self.used(to, from);
        }
    }

    /// A call of `from` is about to be bound to `to`, which stays as long as `from` from now on, where that is loaded.
    pub(crate) fn rely(&mut self, from: &Arc<Info>, to: &Arc<Info>) -> Reliance {
        let loaded = |info: &Arc<Info>| {
            let id = self.by_base.get(&info.at.base).copied();
            id.filter(|&id| Arc::ptr_eq(self.info(id), info))
        };
        let leaves = |info: &Arc<Info>| self.leaving.values().any(|m| Arc::ptr_eq(&m.info, info));
        match (loaded(from), loaded(to)) {
            (Some(from), Some(to)) => {
                self.connect(from, to);
                Reliance::Lasting
            }
            (Some(_), None) => Reliance::Gone,
            (None, None) if leaves(from) && !leaves(to) => Reliance::Gone,
            (None, _) => Reliance::Passing,
        }
    }

    /// What came with `root` neither belongs to the program nor stays for good after all: its load failed.
    pub(crate) fn disown(&mut self, root: ModuleId) {
        let first = self.modules[root].nth;
        for id in self.load_list_ids(root) {
            let m = &mut self.modules[id];
            if m.nth >= first && m.origin == Origin::Program {
                m.origin = Origin::Open;
            }
            if m.nth >= first && m.opens == 0 {
                m.pins.remove(Pins::NODELETE | Pins::UNIQUE);
            }
        }
    }

    /// Only this thread is left, in a child of `fork`; `objects` are the modules of the objects that it has. What other
    /// threads were loading goes with the opens that will never return.
    pub(crate) fn only_thread(&mut self, me: ThreadId, objects: &[ModuleId]) {
        for (id, m) in &mut self.modules {
            m.objects = objects.iter().filter(|&&of| of == id).count() as u32;
            if matches!(m.phase, Phase::Pending(thread) | Phase::Running(thread) if thread != me) {
                m.phase = Phase::Failed;
                m.opens = 0;
            }
            self.suspects.push(id);
        }
        let failed = |id: ModuleId| self.modules.get(id).is_some_and(|m| m.phase == Phase::Failed);
        self.handles.retain(|_, target| !target.module().is_some_and(failed));
    }

    /// A thread has one more object of a module to destroy; false where the module is gone.
    pub(crate) fn add_object(&mut self, id: ModuleId, rule: ThreadDestructors) -> bool {
        let Some(m) = self.modules.get_mut(id) else {
            return false;
        };
        m.objects += 1;
        m.awaited |= rule == ThreadDestructors::Wait;
        self.waits |= m.awaited;
        true
    }

    /// It has destroyed it.
    pub(crate) fn remove_object(&mut self, id: ModuleId) {
        if let Some(m) = self.modules.get_mut(id) {
            m.objects -= 1;
            self.suspects.push(id);
        }
    }

    /// Whether a module is loaded and threads have yet to destroy objects of it.
    pub(crate) fn has_objects(&self, id: ModuleId) -> bool {
        self.modules.get(id).is_some_and(|m| m.objects > 0)
    }

    /// Modules that only objects which a close waits for hold.
    pub(crate) fn awaited(&self) -> Vec<ModuleId> {
        if !self.waits {
            return Vec::new();
        }
        let holds = |m: &Loaded| m.is_wanted() || m.objects > 0 && !m.awaited;
        let mut todo: Vec<ModuleId> =
            self.modules.iter().filter(|(_, m)| holds(m)).map(|(id, _)| id).collect();
        let mut alive = AHashSet::new();
        while let Some(id) = todo.pop() {
            if alive.insert(id) {
                todo.extend(&self.modules[id].edges);
            }
        }
        self.modules.iter().filter(|(id, m)| m.objects > 0 && !alive.contains(id)).map(|(id, _)| id).collect()
    }

    /// Says that a module may have lost what held it.
    pub(crate) fn suspect(&mut self, id: ModuleId) {
        self.suspects.push(id);
    }

    /// Whether something lost a hold since the dead were taken out.
    pub(crate) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Takes out what nothing holds: no open handle, no pin, no running initialiser and not the main program's load
    /// set leads to it.
    pub(crate) fn take_dead(&mut self) -> Taken {
        let suspects = mem::take(&mut self.suspects);
        if suspects.is_empty() {
            return Taken::default();
        }
        let cone = self.cone(&suspects);
        // Whatever is outside the cone is alive: no hold was lost from which it could be reached.
        let used_from_outside = |m: &Loaded| m.users.iter().any(|u| !cone.contains(u));
        let mut todo: Vec<ModuleId> = cone
            .iter()
            .copied()
            .filter(|&id| self.modules[id].is_held() || used_from_outside(&self.modules[id]))
            .collect();
        let mut alive = AHashSet::new();
        while let Some(id) = todo.pop() {
            if alive.insert(id) {
                todo.extend(self.modules[id].edges.iter().filter(|e| cone.contains(e)));
            }
        }
        let gone: Vec<ModuleId> = cone.difference(&alive).copied().collect();
        // Only what lost a hold just now is worth a word: suspects, and what the dead were bound to.
        let bound = gone.iter().flat_map(|&id| &self.modules[id].edges).copied();
        let mut stayed: Vec<ModuleId> =
            suspects.into_iter().chain(bound).filter(|id| alive.contains(id)).collect();
        stayed.sort_unstable();
        stayed.dedup();
        let dead = self.take_out(gone);
        Taken { dead, stayed: stayed.into_iter().filter_map(|id| self.stayed(id)).collect() }
    }

    /// What can be reached from the suspects: nothing else can have died. What is held keeps what it leads to.
    fn cone(&self, suspects: &[ModuleId]) -> AHashSet<ModuleId> {
        let mut todo = suspects.to_vec();
        let mut cone = AHashSet::new();
        while let Some(id) = todo.pop() {
            let may_go = self.modules.get(id).filter(|m| m.origin != Origin::Host);
            if let Some(m) = may_go
                && cone.insert(id)
                && !m.is_held()
            {
                todo.extend(&m.edges);
            }
        }
        cone
    }

    /// Why a module is still there; `None` where only those use it that are leaving. Of many clients the first few are
    /// named.
    fn stayed(&self, id: ModuleId) -> Option<Stayed> {
        const NAMED: usize = 8;
        let m = &self.modules[id];
        let own = [
            (m.opens > 0, Hold::Handles(m.opens)),
            (m.origin == Origin::Program, Hold::PartOfProgram),
            (m.is_busy(), Hold::Initialising),
            (m.objects > 0, Hold::ThreadObjects(m.objects)),
            (m.pins.contains(Pins::EMBEDDER), Hold::Pinned),
            (m.pins.contains(Pins::NODELETE), Hold::NoDelete),
            (m.pins.contains(Pins::UNIQUE), Hold::UniqueSymbol),
        ];
        let client = |by: &Loaded| {
            let name = by.info.identity.name.clone();
            if by.needs.contains(&id) { Hold::NeededBy(name) } else { Hold::BoundBy(name) }
        };
        let clients = m.users.iter().filter(|&&by| by != id).filter_map(|&by| self.modules.get(by));
        let own = own.into_iter().filter_map(|(applies, hold)| applies.then_some(hold));
        let holds: Vec<_> = own.chain(clients.take(NAMED).map(client)).collect();
        (!holds.is_empty()).then(|| Stayed { name: m.info.identity.name.clone(), holds })
    }

    /// Takes out everything but what the host has; all handles are invalid afterwards.
    pub(crate) fn take_all(&mut self) -> Vec<Loaded> {
        self.handles.clear();
        let ours = self.modules.iter().filter(|(_, m)| m.origin != Origin::Host);
        let all = ours.map(|(id, _)| id).collect();
        self.take_out(all)
    }

    fn take_out(&mut self, mut gone: Vec<ModuleId>) -> Vec<Loaded> {
        if gone.is_empty() {
            return Vec::new();
        }
        let when = |id: &ModuleId| (self.modules[*id].attached, self.modules[*id].nth);
        gone.sort_by_key(|id| std::cmp::Reverse(when(id)));
        let global: AHashSet<ModuleId> = gone.iter().copied().filter(|&id| self.modules[id].global).collect();
        if !global.is_empty() {
            Arc::make_mut(&mut self.globals).remove(&global);
        }
        let mut taken = Vec::with_capacity(gone.len());
        taken.extend(gone.iter().filter_map(|&id| self.modules.remove(id)));
        for (&id, m) in gone.iter().zip(&mut taken) {
            self.forget(id, m);
            let (needs, edges) = (mem::take(&mut m.needs), mem::take(&mut m.edges));
            self.leaving.insert(id, Leaving { info: m.info.clone(), first: m.first, needs, edges });
        }
        taken
    }

    /// Takes a module that is gone out of every index.
    fn forget(&mut self, id: ModuleId, m: &Loaded) {
        self.order.remove(&m.nth);
        for key in &m.info.identity.keys {
            if let Some(answer) = self.by_key.get_mut(key) {
                answer.retain(|&a| a != id);
                if answer.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        if let Some(file) = m.info.identity.file
            && self.by_file.get(&file) == Some(&id)
        {
            self.by_file.remove(&file);
        }
        self.by_base.remove(&m.info.at.base);
        for name in &m.singles {
            self.singles.remove(name);
        }
    }
}

impl Loaded {
    /// How many need it, if it goes when they go.
    pub(super) fn users(&self) -> Option<usize> {
        let goes = self.origin == Origin::Open && self.pins.is_empty();
        goes.then_some(self.users.len())
    }

    fn is_held(&self) -> bool {
        self.is_wanted() || self.objects > 0
    }

    /// Whether more holds it than what its threads have yet to destroy.
    fn is_wanted(&self) -> bool {
        let with_program = self.origin != Origin::Open && self.phase != Phase::Failed;
        self.opens > 0 || !self.pins.is_empty() || with_program || self.is_busy()
    }

    fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Pending(_) | Phase::Running(_))
    }

    /// How many handles are outstanding for it.
    pub(crate) fn opens(&self) -> u32 {
        self.opens
    }

    /// Where its code is, in live addresses.
    pub(crate) fn code(&self) -> Vec<Range<u64>> {
        let live = |at: &Range<Rva>| self.info.at.addr(at.start).0..self.info.at.addr(at.end).0;
        let code = self.info.image.plan().rights().iter().filter(|(_, r)| r.contains(Rights::EXECUTE));
        code.map(|(at, _)| live(at)).collect()
    }

    /// The memory of its image; everything else that the module has goes.
    pub(crate) fn into_block(self) -> Option<Box<dyn Block>> {
        match self.home {
            Home::Image(body) => Some(body.into_block()),
            Home::Stub(_) => None,
        }
    }

    pub(crate) fn is_global(&self) -> bool {
        self.global
    }
}

/// Depth first from `root`: children before parents, each node once. `child(node, n)` gives the n-th child: `None`
/// after the last, `Some(None)` for one that does not count.
pub(crate) fn post_order<N: Copy + Eq + std::hash::Hash>(
    root: N,
    child: impl Fn(&N, usize) -> Option<Option<N>>,
) -> Vec<N> {
    let (mut out, mut seen, mut path) = (Vec::new(), AHashSet::from([root]), vec![(root, 0)]);
    while let Some((node, nth)) = path.last_mut() {
        match child(node, *nth) {
            None => {
                out.push(*node);
                path.pop();
            }
            Some(next) => {
                *nth += 1;
                path.extend(next.filter(|&n| seen.insert(n)).map(|n| (n, 0)));
            }
        }
    }
    out
}
