//! Kernel objects: what a handle stands for, and waiting for one or several of them.
//!
//! All states change under one lock a process (the dispatcher's), so that "take all of these or none" is one step. A
//! thread that has to wait leaves its [`Parker`] with each object and sleeps on its own word; no lock is held then.

use crate::{
    futex::{self, Deadline},
    kernel32::{child::Child, job::Job, opened::Opened, port::Port, time::file_time},
    lock,
    names::Names,
    nt::types,
    teb,
};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{
            AtomicBool, AtomicI32, AtomicPtr, AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
    thread::JoinHandle,
    time::Duration,
};

/// `GetCurrentProcess()`.
pub(crate) const CURRENT_PROCESS: usize = usize::MAX;
/// Everything that may be done with a process.
pub(crate) const PROCESS_ALL_ACCESS: u32 = 0x1f_ffff;
/// `GetCurrentThread()`.
pub(crate) const CURRENT_THREAD: usize = usize::MAX - 1;
/// The handles of standard input, output and error: the first three of every process.
pub(crate) const STD_HANDLES: [usize; 3] = [4, 8, 12];
/// What `GetExitCodeThread` says of a thread that still runs.
pub(crate) const STILL_ACTIVE: u32 = 259;

/// What all waits are decided under; it has the number of the thread that ends the process, once one does. For that
/// thread all others are gone, and they wait for ever.
type Dispatcher = Mutex<Option<u32>>;

/// A kernel object.
pub(crate) struct Object {
    pub kind: Kind,
    /// Its name, from the root of all names, if it has one.
    pub path: OnceLock<String>,
    /// What an open file is beside a file of the host.
    pub opened: Opened,
    dispatcher: Arc<Dispatcher>,
    waiters: Mutex<Vec<Arc<Parker>>>,
}

/// What kind of object, with its state.
pub(crate) enum Kind {
    /// An event; `manual`: it stays set until it is reset.
    Event {
        manual: bool,
        set: AtomicBool,
    },
    /// A semaphore.
    Semaphore {
        count: AtomicI32,
        max: i32,
    },
    /// A mutex: its owner's thread id, how often it holds it, and whether an owner ended without giving it back.
    Mutex {
        owner: AtomicU32,
        depth: AtomicU32,
        abandoned: AtomicBool,
    },
    /// A waitable timer: see `kernel32::timer`.
    Timer(crate::kernel32::timer::Timer),
    /// A thread.
    Thread(Thread),
    /// A process, and what a handle of it may be used for: this one, never over while anyone can ask, or a child.
    Process {
        access: u32,
        child: Option<Arc<Child>>,
    },
    /// An open file of the host.
    File(File),
    /// A section of a file, or of memory: see `kernel32::section`.
    Section(crate::kernel32::section::Section),
    /// A port that learns what was completed: see `kernel32::port`.
    Port(Port),
    /// A job: see `kernel32::job`.
    Job(Mutex<Job>),
    /// What this process may do: see `security::token`.
    Token,
    /// A keyed event: see `nt::keyed`.
    KeyedEvent,
    /// A directory of names, and a link to another name: see `names`.
    Directory,
    Link(String),
    /// What a process had at a moment: see `kernel32::toolhelp`.
    Snapshot(crate::kernel32::toolhelp::Snapshot),
    /// A search of a folder.
    Find(Mutex<crate::kernel32::find::Search>),
}

/// The state of a thread object.
#[derive(Default)]
pub(crate) struct Thread {
    pub id: AtomicU32,
    pub exit_code: AtomicU32,
    pub priority: AtomicI32,
    /// How often it was suspended; it starts when this is zero.
    pub suspended: AtomicU32,
    /// It is in code of the guest, or may be; not while it waits to tell the modules that it starts or ends.
    inside: AtomicBool,
    /// Somebody asked it to end: it does at its next wait.
    pub doomed: AtomicBool,
    /// 1 while the thread waits in a signal's handler because it is suspended.
    pub halted: AtomicU32,
    /// Its registers then.
    pub registers: AtomicPtr<libc::ucontext_t>,
    /// What can be asked of it that no wait depends on.
    pub facts: crate::nt::thread::Facts,
    /// 1 where it was alerted: see `nt::keyed`.
    pub alerted: AtomicU32,
    gone: AtomicBool,
    /// Nothing of it is left but the host's thread, which is about to end.
    over: AtomicBool,
    /// The host's thread, for whoever waits for this one first.
    pub host: Mutex<Option<JoinHandle<()>>>,
    /// Calls that it is to make in its next alertable wait.
    calls: Mutex<VecDeque<Call>>,
    parked: Mutex<Option<Arc<Parker>>>,
}

impl Thread {
    /// It is the calling thread's.
    pub(crate) fn adopt(&self) {
        self.facts.block.store(teb::with(|t| std::ptr::from_ref(t).addr()), Relaxed);
        self.id.store(current_thread_id(), SeqCst);
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(SeqCst)
    }

    /// Whether there are calls to make, also for its timers, whose time may have come.
    fn has_calls(&self, timers: &[Arc<Object>], me: u32) -> bool {
        let mut calls = lock(&self.calls);
        calls.extend(timers.iter().filter_map(|timer| timer.call_of_timer(me)));
        !calls.is_empty()
    }
}

/// An asynchronous procedure call: a function of the guest, and its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub function: usize,
    pub arguments: [usize; 3],
}

/// One thread's sleep.
#[derive(Default)]
pub(crate) struct Parker {
    awake: AtomicU32,
    /// The event that was set for this thread alone, for as long as it looks.
    pulsed: AtomicPtr<Object>,
}

impl Parker {
    fn wake(&self) {
        self.awake.store(1, SeqCst);
        futex::wake(&self.awake, 1);
    }
}

/// What a thread waits for.
pub(crate) struct Wait<'o> {
    pub objects: &'o [Arc<Object>],
    /// For all of them together, or for any.
    pub all: bool,
    pub until: Deadline,
    /// Calls end it.
    pub alertable: bool,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// With the object of this number.
    Object(usize),
    /// With the mutex of this number, whose last owner ended without giving it back.
    Abandoned(usize),
    /// With calls to make.
    Called,
    /// Without one.
    TimedOut,
    /// With the request that this thread end.
    Doomed,
}

impl Object {
    /// Changes the state and lets those who wait look again.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&Kind) -> R) -> R {
        let _dispatcher = lock(&self.dispatcher);
        let result = f(&self.kind);
        lock(&self.waiters).iter().for_each(|w| w.wake());
        result
    }

    /// Sets an event for those who wait for it now, or for the first of them where each takes it away from the others, and
    /// leaves it reset. Whether it was set; none where this is no event.
    pub(crate) fn pulse(&self) -> Option<bool> {
        let _dispatcher = lock(&self.dispatcher);
        let Kind::Event { manual, set } = &self.kind else { return None };
        let waiters = lock(&self.waiters);
        for waiter in waiters.iter().take(if *manual { usize::MAX } else { 1 }) {
            waiter.pulsed.store(std::ptr::from_ref(self).cast_mut(), Relaxed);
            waiter.wake();
        }
        Some(set.swap(false, Relaxed))
    }

    /// The thread has ended and nothing of it is left.
    pub(crate) fn thread_is_gone(&self) {
        self.change(|kind| {
            if let Kind::Thread(t) = kind {
                let _ = t.exit_code.compare_exchange(STILL_ACTIVE, 0, SeqCst, SeqCst);
                t.gone.store(true, SeqCst);
                t.over.store(true, SeqCst);
            }
        });
    }

    /// Waits for the end of the host's thread, where this is a thread that is over: then its stack is free for the next.
    fn join(&self) {
        let over = self.thread().filter(|t| t.over.load(SeqCst));
        let host = over.and_then(|t| lock(&t.host).take());
        host.into_iter().for_each(|host| _ = host.join());
    }

    /// The thread goes into code of the guest; false where it was asked to end before that.
    pub(crate) fn goes_in(&self) -> bool {
        self.change(|kind| match kind {
            Kind::Thread(t) if !t.doomed.load(SeqCst) => {
                t.inside.store(true, SeqCst);
                true
            }
            _ => false,
        })
    }

    /// The thread is out of the guest's code, and comes back only through [`Object::goes_in`].
    pub(crate) fn comes_out(&self) {
        self.change(|kind| {
            if let Kind::Thread(t) = kind {
                t.inside.store(false, SeqCst);
                t.gone.store(t.doomed.load(SeqCst), SeqCst);
            }
        });
    }

    /// Asks the thread to end at its next wait. One that is not in code of the guest never will be: for the guest it is
    /// gone already.
    pub(crate) fn doom(&self, code: u32) {
        self.change(|kind| {
            if let Kind::Thread(t) = kind
                && !t.gone.load(SeqCst)
            {
                t.exit_code.store(code, SeqCst);
                t.doomed.store(true, SeqCst);
                t.gone.store(!t.inside.load(SeqCst), SeqCst);
                lock(&t.parked).iter().for_each(|p| p.wake());
            }
        });
    }

    /// Leaves a call for the thread; false where it has ended.
    pub(crate) fn call(&self, call: Call) -> bool {
        self.change(|kind| match kind {
            Kind::Thread(t) if !t.gone.load(SeqCst) => {
                lock(&t.calls).push_back(call);
                lock(&t.parked).iter().for_each(|p| p.wake());
                true
            }
            _ => false,
        })
    }

    /// The thread's state, where this is one.
    pub(crate) fn thread(&self) -> Option<&Thread> {
        match &self.kind {
            Kind::Thread(t) => Some(t),
            _ => None,
        }
    }

    /// Whether a wait for it would end at once. Under the dispatcher's lock.
    fn is_signalled(&self, me: u32, last: Option<u32>) -> bool {
        match &self.kind {
            Kind::Event { set, .. } => set.load(Relaxed),
            Kind::Semaphore { count, .. } => count.load(Relaxed) > 0,
            Kind::Mutex { owner, .. } => [0, me].contains(&owner.load(Relaxed)),
            Kind::Thread(t) => t.gone.load(Relaxed) || last.is_some_and(|last| last != t.id.load(Relaxed)),
            Kind::Timer(t) => t.is_set(),
            Kind::File(_) | Kind::KeyedEvent => true,
            Kind::Process { child, .. } => child.as_ref().is_some_and(|c| c.has_ended()),
            Kind::Port(port) => port.has_packets(),
            Kind::Section(_)
            | Kind::Find(_)
            | Kind::Job(_)
            | Kind::Token
            | Kind::Directory
            | Kind::Snapshot(_)
            | Kind::Link(_) => false,
        }
    }

    /// What a timer wants the thread of that number to call now.
    fn call_of_timer(&self, thread: u32) -> Option<Call> {
        match &self.kind {
            Kind::Timer(t) => t.call(thread),
            _ => None,
        }
    }

    /// When it will be signalled by itself.
    fn due(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Timer(t) => t.due(),
            _ => None,
        }
    }

    /// What a wait that ends does to it; whether it was abandoned. Under the dispatcher's lock.
    fn take(&self, me: u32) -> bool {
        match &self.kind {
            Kind::Event { manual: false, set } => set.store(false, Relaxed),
            Kind::Semaphore { count, .. } => {
                count.fetch_sub(1, Relaxed);
            }
            Kind::Mutex { owner, depth, abandoned } => {
                owner.store(me, Relaxed);
                depth.fetch_add(1, Relaxed);
                return abandoned.swap(false, Relaxed);
            }
            Kind::Timer(t) => t.take(),
            _ => {}
        }
        false
    }
}

/// A handle: what it stands for, and what may be done with that through it.
#[derive(Clone)]
struct Slot {
    object: Arc<Object>,
    access: u32,
}

/// Every right that there is.
pub(crate) const ANY_ACCESS: u32 = u32::MAX;

/// The objects of a process: its handles and its names.
pub(crate) struct Objects {
    dispatcher: Arc<Dispatcher>,
    handles: Mutex<Vec<Option<Slot>>>,
    pub(crate) names: Names,
    /// Those that there were; by their numbers they are found.
    threads: Mutex<Vec<Weak<Object>>>,
    /// Those that a thread may own when it ends.
    mutexes: Mutex<Vec<Weak<Object>>>,
    /// What was said of handles that are otherwise than the rest: [`INHERIT`], [`PROTECTED`].
    flags: Mutex<HashMap<usize, u32>>,
}

/// Processes that are made inherit the handle.
pub(crate) const INHERIT: u32 = 1;
/// The handle is not closed.
pub(crate) const PROTECTED: u32 = 2;

impl Objects {
    /// The standard files, and nothing else.
    pub(crate) fn new() -> Self {
        let objects = Self {
            dispatcher: Arc::default(),
            handles: Mutex::default(),
            names: Names::default(),
            threads: Mutex::default(),
            mutexes: Mutex::default(),
            flags: Mutex::default(),
        };
        for fd in 0..3 {
            match standard(fd) {
                Some(file) => {
                    let file = objects.make(Kind::File(file));
                    file.opened.input.store(fd == 0, Relaxed);
                    objects.add(file);
                }
                None => lock(&objects.handles).push(None),
            }
        }
        objects
    }

    /// A new object without a handle.
    pub(crate) fn make(&self, kind: Kind) -> Arc<Object> {
        let new = Object {
            kind,
            path: OnceLock::new(),
            opened: Opened::default(),
            dispatcher: Arc::clone(&self.dispatcher),
            waiters: Mutex::default(),
        };
        // Who opens it says otherwise.
        new.opened.access.store(types::of(&new.kind).all(), Relaxed);
        let new = Arc::new(new);
        if let Kind::Mutex { .. } = new.kind {
            let mut mutexes = lock(&self.mutexes);
            mutexes.retain(|mutex| mutex.strong_count() > 0);
            mutexes.push(Arc::downgrade(&new));
        }
        new
    }

    /// The thread of that number has ended: what it owned is anybody's.
    pub(crate) fn abandon(&self, thread: u32) {
        let mutexes: Vec<_> = lock(&self.mutexes).iter().filter_map(Weak::upgrade).collect();
        for mutex in mutexes {
            mutex.change(|kind| {
                if let Kind::Mutex { owner, depth, abandoned } = kind
                    && owner.load(Relaxed) == thread
                {
                    owner.store(0, Relaxed);
                    depth.store(0, Relaxed);
                    abandoned.store(true, Relaxed);
                }
            });
        }
    }

    /// A new object and a handle of it.
    pub(crate) fn open(&self, kind: Kind) -> usize {
        self.add(self.make(kind))
    }

    /// A handle of an object, for everything: a multiple of four, as on Windows.
    pub(crate) fn add(&self, object: Arc<Object>) -> usize {
        self.add_for(object, ANY_ACCESS)
    }

    /// A handle of an object, for some of what may be done with it.
    pub(crate) fn add_for(&self, object: Arc<Object>, access: u32) -> usize {
        let mut handles = lock(&self.handles);
        let free = handles.iter().skip(3).position(Option::is_none);
        let index = free.map_or(handles.len(), |i| i + 3);
        let new = Some(Slot { object, access });
        match handles.get_mut(index) {
            Some(slot) => *slot = new,
            None => handles.push(new),
        }
        (index + 1) * 4
    }

    /// The object behind a handle.
    pub(crate) fn get(&self, handle: usize) -> Option<Arc<Object>> {
        match handle {
            CURRENT_PROCESS => Some(self.make(Kind::Process { access: PROCESS_ALL_ACCESS, child: None })),
            CURRENT_THREAD => Some(self.current_thread()),
            _ => self.slot(handle).map(|slot| slot.object),
        }
    }

    fn slot(&self, handle: usize) -> Option<Slot> {
        let index = (handle / 4).checked_sub(1)?; // the last two bits are the caller's own
        lock(&self.handles).get(index)?.clone()
    }

    /// What may be done through a handle.
    pub(crate) fn access(&self, handle: usize) -> Option<u32> {
        match handle {
            CURRENT_PROCESS | CURRENT_THREAD => Some(ANY_ACCESS),
            _ => self.slot(handle).map(|slot| slot.access),
        }
    }

    /// The thread of that number, as long as somebody knows it, even if it has ended.
    pub(crate) fn known_thread(&self, id: u32) -> Option<Arc<Object>> {
        let threads: Vec<_> = lock(&self.threads).iter().filter_map(Weak::upgrade).collect();
        threads.into_iter().find(|object| object.thread().is_some_and(|t| t.id.load(SeqCst) == id))
    }

    /// How many threads there are that have not ended.
    pub(crate) fn living(&self) -> usize {
        let threads: Vec<_> = lock(&self.threads).iter().filter_map(Weak::upgrade).collect();
        threads.iter().filter(|object| object.thread().is_some_and(|t| !t.is_gone())).count()
    }

    /// How many handles there are of an object.
    pub(crate) fn handles_of(&self, object: &Arc<Object>) -> usize {
        lock(&self.handles).iter().flatten().filter(|slot| Arc::ptr_eq(&slot.object, object)).count()
    }

    /// The objects of a kind that there are handles of.
    pub(crate) fn of_kind(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<Arc<Object>> {
        let handles = lock(&self.handles);
        let objects = handles.iter().flatten().map(|slot| &slot.object);
        objects.filter(|object| wanted(&object.kind)).cloned().collect()
    }

    /// How many handles there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.handles).iter().flatten().count()
    }

    /// Gives a handle back, unless that was forbidden.
    pub(crate) fn close(&self, handle: usize) -> Option<Arc<Object>> {
        let handle = handle & !3;
        let index = (handle / 4).checked_sub(1)?; // the last two bits are the caller's own
        let (object, last) = {
            let mut handles = lock(&self.handles);
            let mut flags = lock(&self.flags);
            if flags.get(&handle).is_some_and(|flags| flags & PROTECTED != 0) {
                return None;
            }
            flags.remove(&handle);
            let object = handles.get_mut(index)?.take()?.object; // the object itself goes after the lock
            // Only these want to know: to look at all handles takes its time.
            let wants_to_know = matches!(object.kind, Kind::Port(_) | Kind::Job(_));
            let last =
                wants_to_know && !handles.iter().flatten().any(|other| Arc::ptr_eq(&other.object, &object));
            (object, last)
        };
        match &object.kind {
            Kind::Port(port) if last => object.change(|_| port.abandon()),
            Kind::Job(job) if last => Job::closed(job),
            _ => {}
        }
        Some(object)
    }

    /// What was said of a handle.
    pub(crate) fn flags(&self, handle: usize) -> u32 {
        lock(&self.flags).get(&(handle & !3)).copied().unwrap_or(0)
    }

    /// Says something of a handle, in the bits of `mask`.
    pub(crate) fn set_flags(&self, handle: usize, mask: u32, value: u32) {
        let mut flags = lock(&self.flags);
        let handle = handle & !3;
        let place = flags.entry(handle).or_default();
        *place = *place & !mask | value & mask;
        if *place == 0 {
            flags.remove(&handle);
        }
    }

    /// The process ends, and all handles with it: names of files go that were to go with them. The handles themselves stay
    /// for threads that still run.
    pub(crate) fn end(&self) {
        lock(&self.handles).iter().flatten().for_each(|slot| slot.object.opened.end());
    }

    /// A new thread object; the thread that it is for adopts it.
    pub(crate) fn new_thread(&self, suspended: u32) -> Arc<Object> {
        let thread = Thread::default();
        thread.facts.created.store(file_time(), Relaxed);
        thread.exit_code.store(STILL_ACTIVE, Relaxed);
        thread.suspended.store(suspended, Relaxed);
        let new = self.make(Kind::Thread(thread));
        let mut threads = lock(&self.threads);
        threads.retain(|thread| thread.strong_count() > 0);
        threads.push(Arc::downgrade(&new));
        new
    }

    /// The calling thread's object.
    pub(crate) fn current_thread(&self) -> Arc<Object> {
        teb::own(|own| {
            let mut mine = own.thread.borrow_mut();
            Arc::clone(mine.get_or_insert_with(|| {
                let new = self.new_thread(0);
                new.goes_in();
                new.thread().iter().for_each(|t| t.adopt());
                new
            }))
        })
    }

    /// The calling thread ends the process.
    pub(crate) fn last_thread(&self) {
        *lock(&self.dispatcher) = Some(current_thread_id());
    }

    /// The next call that the calling thread is to make.
    pub(crate) fn next_call(&self) -> Option<Call> {
        let mine = teb::own(|o| o.thread.borrow().clone())?;
        lock(&mine.thread()?.calls).pop_front()
    }

    /// Waits for one of the objects or for all of them.
    pub(crate) fn wait(&self, wait: &Wait<'_>) -> Waited {
        let me = current_thread_id();
        let mine = teb::own(|o| o.thread.borrow().clone());
        let state = mine.as_ref().and_then(|mine| mine.thread());
        let timers = if wait.alertable { teb::own(|o| o.timers()) } else { Vec::new() };
        let mut parker: Option<Arc<Parker>> = None;
        let outcome = loop {
            let guard = lock(&self.dispatcher);
            if guard.is_some_and(|last| last != me) {
                drop(guard);
                loop {
                    std::thread::park();
                }
            }
            if state.is_some_and(|t| t.doomed.load(Relaxed)) {
                break Waited::Doomed;
            }
            if wait.alertable
                && let Some(thread) = state
                && thread.has_calls(&timers, me)
            {
                break Waited::Called;
            }
            let pulsed = parker
                .as_ref()
                .map_or(std::ptr::null_mut(), |p| p.pulsed.swap(std::ptr::null_mut(), Relaxed));
            if let Some(found) = take(wait, me, *guard, pulsed) {
                break found;
            }
            if wait.until.is_over() {
                break Waited::TimedOut;
            }
            let parked = parker.get_or_insert_with(|| enlist(wait.objects, mine.as_deref()));
            parked.awake.store(0, SeqCst);
            let due = wait.objects.iter().chain(&timers).filter_map(|o| o.due());
            let until = due.fold(wait.until, Deadline::or_at);
            drop(guard);
            futex::wait(&parked.awake, 0, until);
        };
        if let Some(parker) = parker {
            let _dispatcher = lock(&self.dispatcher);
            withdraw(wait.objects, mine.as_deref(), &parker);
        }
        wait.objects.iter().for_each(|o| o.join());
        outcome
    }
}

/// Takes the objects if they can be had; one may be set for this thread alone. Under the dispatcher's lock.
fn take(wait: &Wait<'_>, me: u32, last: Option<u32>, pulsed: *const Object) -> Option<Waited> {
    let ready = |o: &Arc<Object>| o.is_signalled(me, last) || Arc::as_ptr(o) == pulsed;
    let (first, taken) = match wait.all {
        true => (0, Some(wait.objects).filter(|all| !all.is_empty() && all.iter().all(ready))?),
        false => {
            let found = wait.objects.iter().position(ready)?;
            (found, &wait.objects[found..=found])
        }
    };
    let abandoned = taken.iter().fold(false, |abandoned, o| o.take(me) | abandoned);
    Some(if abandoned { Waited::Abandoned(first) } else { Waited::Object(first) })
}

/// Leaves a new parker wherever a change must wake us. Under the dispatcher's lock.
fn enlist(objects: &[Arc<Object>], mine: Option<&Object>) -> Arc<Parker> {
    let parker = Arc::<Parker>::default();
    for o in objects {
        lock(&o.waiters).push(Arc::clone(&parker));
    }
    if let Some(t) = mine.and_then(Object::thread) {
        *lock(&t.parked) = Some(Arc::clone(&parker));
    }
    parker
}

/// Takes it away again. Under the dispatcher's lock.
fn withdraw(objects: &[Arc<Object>], mine: Option<&Object>, parker: &Arc<Parker>) {
    for o in objects {
        lock(&o.waiters).retain(|w| !Arc::ptr_eq(w, parker));
    }
    if let Some(t) = mine.and_then(Object::thread) {
        *lock(&t.parked) = None;
    }
}

/// The calling thread's number.
pub(crate) fn current_thread_id() -> u32 {
    teb::with(|t| u32::try_from(t.thread_id.get()).unwrap_or(0))
}

/// A copy of a standard file, so that closing the handle closes nothing of the host.
fn standard(fd: u8) -> Option<File> {
    use std::os::fd::AsFd;
    let copy = match fd {
        0 => std::io::stdin().as_fd().try_clone_to_owned(),
        1 => std::io::stdout().as_fd().try_clone_to_owned(),
        _ => std::io::stderr().as_fd().try_clone_to_owned(),
    };
    copy.ok().map(File::from)
}
