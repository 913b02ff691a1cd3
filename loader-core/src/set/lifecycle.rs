//! Running what modules bring to be run: initialisers, terminators, thread notices. No state lock is held meanwhile;
//! other threads wait for a module's phase, or for the loader lock where the module is a Windows image.

use super::{
    Closed, Handle, Hold, LoadSet, LoaderLock, ModuleId, Origin, Request, Stayed,
    state::{Info, Loaded, Phase},
};
use crate::{
    Entry, Error, ErrorKind, Event, Format, InMemory, Lifecycle, Result, Stage,
    call::Occasion,
    event::Topics,
    quarantine::Quarantine,
    threads, tls,
    turnstile::{Pass, this_thread},
};
use std::{
    mem,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::ThreadId,
};

impl LoadSet {
    /// Runs the initialisers of everything that `root` needs and that has not had them, dependencies first. Returns
    /// when all of it is live, whoever ran it.
    pub(super) fn attach(&self, root: ModuleId, fresh: &[Arc<Info>], request: &Request<'_>) -> Result<()> {
        let verbose = request.mode.verbose;
        let order = self.lock().ready_order(root, fresh);
        for (nth, &id) in order.iter().enumerate() {
            // Before the claim: who is in an entry point meanwhile may need this very module first.
            let _entry = self.entry_point_of(id, verbose);
            let unfinished = Unfinished { set: self, order: &order[nth..] };
            if let Some(mine) = self.claim(id, verbose)? {
                self.initialise(id, &mine, verbose)?;
            }
            mem::forget(unfinished);
        }
        Ok(())
    }

    /// Waits until the module is live, or makes it this thread's to initialise.
    fn claim(&self, id: ModuleId, verbose: Topics) -> Result<Option<Arc<Info>>> {
        let me = this_thread();
        let mut state = self.lock();
        let mut told = false;
        loop {
            let Some(m) = state.modules.get_mut(id) else {
                return Ok(None);
            };
            let info = m.info.clone();
            match m.phase {
                Phase::Live => return Ok(None),
                Phase::Running(t) if t == me => return Ok(None), // it opens what leads back to itself
                // Whoever comes first: the thread that brought it may be waiting for this one.
                Phase::Pending(_) => {
                    m.phase = Phase::Running(me);
                    return Ok(Some(info));
                }
                Phase::Failed => {
                    return Err(Error::new(&info.identity.name, Stage::Attach, ErrorKind::Abandoned));
                }
                Phase::Running(_) if !told => {
                    told = true;
                    drop(state);
                    self.emit(verbose, &Event::Waiting { name: &info.identity.name });
                    state = self.lock();
                }
                Phase::Running(_) => {
                    let runs = |m: &Loaded| matches!(m.phase, Phase::Running(_));
                    state = self.settled.wait_while(state, |s| s.modules.get(id).is_some_and(runs));
                }
            }
        }
    }

    fn initialise(&self, id: ModuleId, info: &Arc<Info>, verbose: Topics) -> Result<()> {
        let Some((lifecycle, origin)) = self.lock().modules.get(id).map(|m| (m.lifecycle.clone(), m.origin))
        else {
            return Ok(());
        };
        let blame = |kind| Error::new(&info.identity.name, Stage::Attach, kind);
        let occasion = match origin {
            Origin::Open => Occasion::Loaded,
            Origin::Host | Origin::Program => Occasion::LoadedWithProgram,
        };
        info.tls.map_or(Ok(()), tls::spread).map_err(blame)?;
        // Windows lists a module before it calls it: what its entry point loads comes after it, and goes before it.
        let turn = (info.image.format() == Format::Pe).then(|| self.lock().turn());
        self.enter(info.image.format()).map_err(blame)?;
        self.tools().iter().for_each(|tools| tools.starting(&info.shown()));
        for entry in &lifecycle.attach {
            if !self.call(info, *entry, occasion, verbose).map_err(blame)? {
                // Told FALSE, the entry point is called at once with PROCESS_DETACH (DllMain reference).
                self.terminate(info, &lifecycle, Occasion::Unloaded);
                return Err(blame(ErrorKind::Refused { what: entry.kind }));
            }
        }
        self.lock().attached(id, turn);
        self.settled.notify_all();
        self.emit(verbose, &Event::Attached { name: &info.identity.name });
        Ok(())
    }

    /// What this thread was to initialise will not be.
    fn give_up(&self, order: &[ModuleId]) {
        let me = this_thread();
        let mut state = self.lock();
        for &id in order {
            if let Some(m) = state.modules.get_mut(id)
                && matches!(m.phase, Phase::Pending(t) | Phase::Running(t) if t == me)
            {
                m.phase = Phase::Failed;
                state.suspect(id);
            }
        }
        drop(state);
        self.settled.notify_all();
    }

    /// The loader lock, for Windows images.
    pub(super) fn entry_point(&self, info: &Info, verbose: Topics) -> Option<Pass<'_>> {
        let waiting = || self.emit(verbose, &Event::Waiting { name: &info.identity.name });
        (info.image.format() == Format::Pe).then(|| self.entry_points.enter(waiting))
    }

    /// The same for a module that is not live yet.
    fn entry_point_of(&self, id: ModuleId, verbose: Topics) -> Option<Pass<'_>> {
        let starts = |m: &&Loaded| m.phase != Phase::Live;
        let info = self.lock().modules.get(id).filter(starts).map(|m| m.info.clone())?;
        self.entry_point(&info, verbose)
    }

    /// Calls an entry; while it runs, it is known that this thread is in it.
    fn call(
        &self,
        info: &Arc<Info>,
        entry: Entry,
        occasion: Occasion,
        verbose: Topics,
    ) -> Result<bool, ErrorKind> {
        self.emit(verbose, &Event::Calling { name: &info.identity.name, kind: entry.kind, occasion });
        let _inside = Inside::enter(self, info, occasion);
        self.caller().entry(entry, info.at.base, occasion)
    }

    /// Reports a call that entry points are advised not to make (DllMain reference), if this thread is in one. Returns
    /// whether it is to fail: `refuse` says so.
    pub fn advise(&self, what: &str, refuse: impl FnOnce(Occasion) -> bool) -> bool {
        let Some((info, occasion)) = self.innermost() else {
            return false;
        };
        let refused = refuse(occasion);
        self.emit(Topics::all(), &Event::Advice { name: &info.identity.name, what, occasion, refused });
        refused
    }

    /// The module whose entry another thread is in.
    fn entered_by_others(&self) -> Option<Arc<Info>> {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let me = this_thread();
        inside.iter().rfind(|i| i.thread != me).map(|i| i.info.clone())
    }

    /// Reports what went wrong where nobody of the host waits for an answer.
    pub fn report(&self, error: &Error) {
        self.emit(Topics::all(), &Event::Failed { error });
    }

    /// The module whose entry the calling thread is in, and why.
    pub(super) fn innermost(&self) -> Option<(Arc<Info>, Occasion)> {
        if self.rest.is_kept() {
            return None; // nearly always, and quicker than to ask who asks
        }
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let me = this_thread();
        inside.iter().rfind(|i| i.thread == me).map(|i| (i.info.clone(), i.occasion))
    }

    fn terminate(&self, info: &Arc<Info>, lifecycle: &Lifecycle, occasion: Occasion) {
        let returns = Returns { name: &info.identity.name };
        for entry in &lifecycle.detach {
            if let Err(kind) = self.call(info, *entry, occasion, Topics::all()) {
                let error = Error::new(&info.identity.name, Stage::Close, kind);
                self.emit(Topics::all(), &Event::Failed { error: &error });
            }
        }
        mem::forget(returns);
    }

    /// Takes back what a module left with the process, however far its life had come.
    fn withdraw(&self, info: &Arc<Info>) {
        let returns = Returns { name: &info.identity.name };
        if let Err(kind) = self.caller().withdraw(info.at.base) {
            let error = Error::new(&info.identity.name, Stage::Close, kind);
            self.emit(Topics::all(), &Event::Failed { error: &error });
        }
        mem::forget(returns);
    }

    /// Takes out what nothing holds any more, terminates all of it, the last attached first, then unmaps it; then what
    /// was kept by its terminators only. In the middle of an open of this thread nothing goes: that open may rely on it,
    /// and collects when it is done.
    pub(super) fn collect(&self) -> Closed {
        let mut closed = Closed::default();
        if !self.building.is_mine() {
            closed = self.collect_once();
            while self.lock().has_suspects() {
                closed.then(self.collect_once());
            }
        }
        closed
    }

    fn collect_once(&self) -> Closed {
        let building = self.building.enter(|| {});
        let taken = self.lock().take_dead();
        drop(building);
        let mut closed = self.bury(taken.dead, |_| Occasion::Unloaded);
        closed.stayed.extend(taken.stayed);
        closed
    }

    /// As [`LoadSet::collect`], but the memory of what goes stays mapped for good.
    fn collect_but_keep_memory(&self) {
        let building = self.building.enter(|| {});
        let dead = self.lock().take_dead().dead;
        drop(building);
        self.detach(&dead, |_| Occasion::Unloaded);
        self.forget(&dead);
        mem::forget(dead);
    }

    /// Everything goes: `occasion` says to each module why.
    fn bury(&self, dead: Vec<Loaded>, occasion: impl Fn(&Loaded) -> Occasion) -> Closed {
        self.detach(&dead, occasion);
        self.give_back(dead)
    }

    /// Terminates what was attached, and takes back what all of it left with the process. No code of theirs is called
    /// afterwards.
    fn detach(&self, dead: &[Loaded], occasion: impl Fn(&Loaded) -> Occasion) {
        for m in dead {
            if m.attached.is_some() {
                let _entry = self.entry_point(&m.info, Topics::all());
                if self.enter(m.info.image.format()).is_ok() {
                    self.terminate(&m.info, &m.lifecycle, occasion(m));
                }
                self.emit(Topics::all(), &Event::Detached { name: &m.info.identity.name });
            }
            self.withdraw(&m.info);
        }
        if !dead.is_empty() {
            self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Gives memory back: of the dead, and of those that were still in use when they died.
    fn give_back(&self, mut all: Vec<Loaded>) -> Closed {
        let afterlife = || self.afterlife.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = afterlife();
        all.splice(0..0, mem::take(&mut state.lingering));
        let check = state.check_threads;
        drop(state);
        let (idle, busy) = if check && !all.is_empty() { apart(all) } else { (all, Vec::new()) };
        let mut closed = Closed::default();
        for (m, threads) in busy {
            let name = m.info.identity.name.clone();
            closed.stayed.push(Stayed { name, holds: vec![Hold::Threads(threads)] });
            afterlife().lingering.push(m);
        }
        self.forget(&idle);
        closed.gone.reserve(idle.len()); // to grow between what is freed costs more than all else here
        for m in idle {
            let (identity, at) = (m.info.identity.clone(), m.info.at);
            let mut state = afterlife();
            match state.quarantine.limit {
                0 => drop(m),
                _ => m.into_block().into_iter().for_each(|b| state.quarantine.admit(identity.clone(), at, b)),
            }
            drop(state);
            self.emit(Topics::all(), &Event::Unmapped { name: &identity.name });
            closed.gone.push(identity.name.clone());
        }
        closed
    }

    /// Neither the load set nor a debugger knows them from here on.
    fn forget(&self, gone: &[Loaded]) {
        if gone.is_empty() {
            return;
        }
        self.lock().left(gone);
        let windows = gone.iter().find(|m| m.info.image.format() == Format::Pe);
        let _entry = windows.and_then(|m| self.entry_point(&m.info, Topics::all()));
        let shown: Vec<InMemory<'_>> = gone.iter().map(|m| m.info.shown()).collect();
        self.tools().iter().for_each(|tools| tools.going(&shown));
    }

    /// The program ends: everything is terminated, the last attached first, and told so (`lpvReserved` not null),
    /// whoever still holds it. All handles are invalid afterwards.
    pub fn program_ends(&self) {
        self.bury(self.take_all(), |_| Occasion::ProgramEnds);
    }

    /// The process ends: everything is terminated where it is, the last attached first, and told so. Nothing is
    /// unloaded: other threads may be in it, and nobody will need the memory. They wait for ever when they come to the
    /// loader lock. Only the first call does anything.
    pub fn process_ends(&self) {
        mem::forget(self.entry_points.enter(|| {}));
        if self.ending.swap(true, Relaxed) {
            return;
        }
        self.rest.disturb(); // for good
        let order = self.lock().in_attach_order();
        for id in order.into_iter().rev() {
            let leaves = |m: &Loaded| (m.info.clone(), m.lifecycle.clone());
            let Some((info, lifecycle)) = self.lock().modules.get(id).map(leaves) else {
                continue;
            };
            if self.enter(info.image.format()).is_ok() {
                self.terminate(&info, &lifecycle, Occasion::ProgramEnds);
            }
            self.withdraw(&info);
        }
    }

    /// What tells whether this load set is at rest.
    #[must_use]
    pub fn rest(&self) -> Rest {
        self.rest.clone()
    }

    /// Whether [`LoadSet::process_ends`] was called.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.load(Relaxed)
    }

    /// Unloads everything but what the host has, whoever still holds it: modules that came with the program are told
    /// that it ends, the others that they go. All handles are invalid afterwards.
    pub fn unload_all(&self) {
        self.destroy_own_objects();
        self.bury(self.take_all(), |m| match m.origin {
            Origin::Program => Occasion::ProgramEnds,
            Origin::Host | Origin::Open => Occasion::Unloaded,
        });
    }

    /// Whether the calling thread runs the initialisers of a module that is the root of its open.
    #[must_use]
    pub fn is_attaching(&self, id: ModuleId) -> bool {
        let me = this_thread();
        self.lock().modules.get(id).is_some_and(|m| m.phase == Phase::Running(me) && m.opens() > 0)
    }

    /// Turns thread notices off for a module; false where it has thread-local storage, for which Windows refuses.
    pub fn disable_thread_calls(&self, id: ModuleId) -> bool {
        match self.lock().modules.get_mut(id) {
            Some(m) if m.info.image.tls().is_none() => {
                m.thread_calls = false;
                true
            }
            _ => false,
        }
    }

    /// The lock under which entry points of Windows images run.
    #[must_use]
    pub fn loader_lock(&self) -> LoaderLock {
        LoaderLock(self.entry_points.clone())
    }

    /// A thread starts: every attached module that wants to know is told, in attach order, in this thread.
    pub fn thread_starts(&self) {
        self.tell_thread(Occasion::ThreadStarts);
    }

    /// A thread ends: every attached module that wants to know is told, the last attached first, in this thread.
    pub fn thread_ends(&self) {
        self.tell_thread(Occasion::ThreadEnds);
    }

    fn tell_thread(&self, occasion: Occasion) {
        let _entry = self.entry_points.enter(|| {
            let inside = self.entered_by_others();
            let name = inside.as_ref().map_or("the loader lock", |info| &info.identity.name);
            self.emit(Topics::all(), &Event::Waiting { name });
        });
        let mut order = self.lock().in_attach_order();
        if occasion == Occasion::ThreadEnds {
            order.reverse();
        }
        for id in order {
            let state = self.lock();
            let Some(m) = state.modules.get(id).filter(|m| m.thread_calls) else {
                continue;
            };
            let (info, lifecycle) = (m.info.clone(), m.lifecycle.clone());
            drop(state);
            for entry in &lifecycle.thread {
                let _ = self.call(&info, *entry, occasion, Topics::all()); // the result is ignored (DllMain reference)
            }
        }
    }
}

/// What becomes of the memory of an open that is undone.
pub(super) enum Memory {
    Unmapped,
    /// An exception is on its way out: its type, its destructor and the frames that it leaves are in there.
    Kept,
}

/// Takes an open back that did not come to its end.
pub(super) struct Undo<'s> {
    set: &'s LoadSet,
    root: ModuleId,
    handle: Handle,
    pub(super) memory: Memory,
}

impl<'s> Undo<'s> {
    pub(super) fn of(set: &'s LoadSet, root: ModuleId, handle: Handle) -> Self {
        Self { set, root, handle, memory: Memory::Kept }
    }

    pub(super) fn not_needed(self) {
        mem::forget(self);
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.set.take_back(self.handle);
        self.set.lock().disown(self.root); // what no handle holds
        match self.memory {
            Memory::Unmapped => _ = self.set.collect(),
            Memory::Kept => self.set.collect_but_keep_memory(),
        }
    }
}

/// Modules that this thread was to initialise. Dropped, it says that they will not be.
struct Unfinished<'s> {
    set: &'s LoadSet,
    order: &'s [ModuleId],
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.set.give_up(self.order);
    }
}

/// Ends the process when something unwinds out of a terminator, or of a handler that stands for one: those after it would never be told, and what it throws
/// lies in memory that is about to go.
struct Returns<'s> {
    name: &'s str,
}

impl Drop for Returns<'_> {
    fn drop(&mut self) {
        eprintln!("{}: an exception or a panic left a terminator", self.name);
        std::process::abort();
    }
}

/// A thread in an entry of a module.
#[derive(Debug)]
pub(super) struct Entered {
    thread: ThreadId,
    info: Arc<Info>,
    occasion: Occasion,
}

impl Entered {
    pub(super) fn is_of(&self, thread: ThreadId) -> bool {
        self.thread == thread
    }
}

/// Keeps a thread listed while it is in an entry, however it leaves it.
struct Inside<'s>(&'s LoadSet);

impl<'s> Inside<'s> {
    fn enter(set: &'s LoadSet, info: &Arc<Info>, occasion: Occasion) -> Self {
        let entered = Entered { thread: this_thread(), info: info.clone(), occasion };
        set.rest.disturb();
        set.inside.lock().unwrap_or_else(PoisonError::into_inner).push(entered);
        Self(set)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let me = this_thread();
        let mut list = self.0.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = list.iter().rposition(|i| i.thread == me);
        mine.map(|nth| list.remove(nth));
        self.0.rest.calm();
    }
}

/// Whether a load set is at rest: no thread is in an entry of a module, and the process does not end. Who asks waits for
/// nobody, and keeps no load set alive.
#[derive(Clone, Debug, Default)]
pub struct Rest(Arc<AtomicUsize>);

impl Rest {
    /// Whether it is so now, as far as the calling thread can know: of its own entries it knows.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.load(Relaxed) == 0
    }

    fn disturb(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn calm(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// So many threads are in entries, as it turns out in a child of `fork`.
    pub(super) fn count_again(&self, entries: usize) {
        self.0.store(entries, Relaxed);
    }
}

impl Drop for LoadSet {
    fn drop(&mut self) {
        self.unload_all();
        let afterlife = self.afterlife.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Threads are inside: better memory that nobody gives back than no ground under their feet.
        mem::forget(mem::take(&mut afterlife.lingering));
    }
}

/// What went and still has its addresses, and who decides that.
#[derive(Debug, Default)]
pub(super) struct Afterlife {
    pub(super) check_threads: bool,
    /// Terminated, found by nobody, and in use by a thread when that was last looked at.
    lingering: Vec<Loaded>,
    pub(super) quarantine: Quarantine,
}

/// A module, and the threads that are inside its code.
type Busy = (Loaded, Box<[i32]>);

/// Modules that no thread is inside of, and the others.
fn apart(modules: Vec<Loaded>) -> (Vec<Loaded>, Vec<Busy>) {
    let threads = in_use(&modules);
    let (mut idle, mut busy) = (Vec::with_capacity(modules.len()), Vec::new());
    for (m, threads) in modules.into_iter().zip(threads) {
        match threads {
            Some(threads) => busy.push((m, threads)),
            None => idle.push(m),
        }
    }
    (idle, busy)
}

/// For each module, the threads that are inside its code: none, or a list that is empty where that cannot be told.
fn in_use(modules: &[Loaded]) -> Vec<Option<Box<[i32]>>> {
    let code: Vec<_> = modules.iter().map(Loaded::code).collect();
    match threads::inside(&code) {
        Ok(found) => found.into_iter().map(|tids| (!tids.is_empty()).then(|| tids.into())).collect(),
        Err(_) => vec![Some(Box::default()); modules.len()],
    }
}
