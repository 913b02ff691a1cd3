//! The thread pool: work, timers and waits whose functions are called in threads that nobody made. Unsafe because those
//! functions are the guest's.
//!
//! Threads come one after the other while calls are queued and nobody is idle, so that calls that wait for each other
//! come to an end; they go when nothing is left that could want one. What guest code holds (`PTP_WORK` and the like) are
//! numbers, which may be stale.
#![allow(unsafe_code)]

use super::{
    Bool, FALSE, TRUE,
    module::FreeLibrary,
    named::{ReleaseMutex, ReleaseSemaphore, SetEvent},
    sync::{LeaveCriticalSection, Section},
    thread::spawn,
    timer::moment,
    wait::object,
};
use crate::{
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    object::{Kind, Object, Wait, Waited},
    teb,
};
use loader_core::Addr;
use std::{
    cell::Cell,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

/// More threads than this are never made, as on Windows.
const MOST_THREADS: u32 = 500;
/// How long a thread waits for the next call, in milliseconds.
const PATIENCE: u32 = 5000;
const TIMED_OUT: usize = 258;

/// The pool of a process.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Changes when there may be something to do.
    news: AtomicU32,
    /// Changes when a call is done.
    done: AtomicU32,
}

#[derive(Default)]
struct State {
    items: HashMap<usize, Item>,
    made: usize,
    queue: VecDeque<Job>,
    threads: u32,
    /// Threads that wait for a call, and threads that are made to take one.
    idle: u32,
    coming: u32,
}

/// A call to make.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// Whose it is; 0: nobody's.
    item: usize,
    function: usize,
    /// The last three arguments, or all but the instance where the function takes one.
    arguments: [usize; 3],
    /// The first argument is what [`Instance`] is for.
    instance: bool,
}

/// What an item's function is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The pool's own: what is to be done afterwards, the context, the item and a result.
    Instance,
    /// That of a timer queue's timer: its context, and that the time has come.
    Timer,
    /// That of a registered wait: its context, and whether the time was over.
    Wait,
}

/// Work, a timer or a wait.
struct Item {
    function: usize,
    context: usize,
    style: Style,
    /// Who closes it together with others.
    group: usize,
    /// Calls that are queued, and calls that are being made.
    queued: u32,
    running: u32,
    closed: bool,
    timer: Option<Timer>,
    /// Set when the wait is given up.
    watch: Option<Arc<Object>>,
    /// An event to be set when this item, and whatever else is to set it, is over.
    done: usize,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: Duration,
    /// Zero: once.
    period: Duration,
}

impl Item {
    fn job(&self, id: usize, result: usize) -> Job {
        let (function, context) = (self.function, self.context);
        let (arguments, instance) = match self.style {
            Style::Instance => ([context, id, result], true),
            Style::Timer => ([context, 1, 0], false),
            Style::Wait => ([context, (result == TIMED_OUT).into(), 0], false),
        };
        Job { item: id, function, arguments, instance }
    }

    fn is_over(&self) -> bool {
        self.closed && self.queued == 0 && self.running == 0
    }
}

impl State {
    /// Queues a call of an item.
    fn queue_call(&mut self, id: usize, result: usize) {
        if let Some(item) = self.items.get_mut(&id) {
            item.queued += 1;
            self.queue.push_back(item.job(id, result));
        }
    }

    /// Queues the calls of timers that are due.
    fn look_at_the_clock(&mut self) {
        let now = futex::now();
        let due: Vec<usize> = self
            .items
            .iter_mut()
            .filter_map(|(&id, item)| {
                let timer = item.timer.filter(|timer| timer.due <= now)?;
                let again = Timer { due: now + timer.period, ..timer };
                item.timer = (timer.period != Duration::ZERO).then_some(again);
                Some(id)
            })
            .collect();
        due.into_iter().for_each(|id| self.queue_call(id, 0));
    }

    /// Whether a thread more is to be made: there is, or will be, something to do, and nobody on the way to it.
    fn wants_a_thread(&mut self) -> bool {
        let something = !self.queue.is_empty() || self.items.values().any(|item| item.timer.is_some());
        let more = something && self.idle == 0 && self.coming == 0 && self.threads < MOST_THREADS;
        self.threads += u32::from(more);
        self.coming += u32::from(more);
        more
    }

    /// Takes the queued calls of an item back.
    fn cancel(&mut self, id: usize) {
        self.queue.retain(|job| job.item != id);
        self.items.get_mut(&id).into_iter().for_each(|item| item.queued = 0);
    }

    /// Forgets an item that is over; returns the event that is to be set then, or zero.
    fn sweep(&mut self, id: usize) -> usize {
        if !self.items.get(&id).is_some_and(Item::is_over) {
            return 0;
        }
        let done = self.items.remove(&id).map_or(0, |item| item.done);
        if self.items.values().any(|item| item.done == done) { 0 } else { done }
    }
}

impl Pool {
    /// A new item of a group.
    pub(crate) fn add(&self, function: usize, context: usize, style: Style, group: usize) -> usize {
        let mut state = lock(&self.state);
        state.made += 1;
        let id = state.made * 16;
        let (timer, watch, done) = (None, None, 0);
        let item = Item {
            function,
            context,
            style,
            group,
            queued: 0,
            running: 0,
            closed: false,
            timer,
            watch,
            done,
        };
        state.items.insert(id, item);
        id
    }

    /// Sets when an item's function is called, and how long after that again (zero: never); whether it was set before.
    /// `None` where there is no such item.
    pub(crate) fn set_timer(&self, id: usize, times: Option<(Duration, Duration)>) -> Option<bool> {
        let timer = times.map(|(due, period)| Timer { due, period });
        self.change(|state| {
            let item = state.items.get_mut(&id).filter(|item| !item.closed)?;
            Some(std::mem::replace(&mut item.timer, timer).is_some())
        })
    }

    /// Whether an item's timer is set.
    pub(crate) fn is_set(&self, id: usize) -> bool {
        lock(&self.state).items.get(&id).is_some_and(|item| item.timer.is_some())
    }

    /// Ends items for good: what is queued is not called any more. `done` says who waits for the calls that are being made:
    /// nobody (0), the caller (the greatest number there is), or who waits for that event. False where there were such calls.
    pub(crate) fn end(&self, ids: &[usize], done: usize) -> bool {
        let event = if done == usize::MAX { 0 } else { done };
        for &id in ids {
            self.disarm(id);
            let mut state = lock(&self.state);
            state.cancel(id);
            state.items.get_mut(&id).into_iter().for_each(|item| item.done = event);
        }
        let running = |&id: &usize| lock(&self.state).items.get(&id).is_some_and(|item| item.running > 0);
        let idle = !ids.iter().any(running);
        if done == usize::MAX {
            ids.iter().for_each(|&id| self.drain(id, true));
        }
        ids.iter().for_each(|&id| self.close(id));
        if ids.is_empty() {
            tell(event);
        }
        idle || done == usize::MAX
    }

    /// The items of a group that were not closed yet.
    pub(crate) fn members(&self, group: usize) -> Vec<usize> {
        let state = lock(&self.state);
        let of_group = state.items.iter().filter(|(_, item)| item.group == group && !item.closed);
        of_group.map(|(&id, _)| id).collect()
    }

    /// Whether there is an item of that style, and of that group if one is named.
    pub(crate) fn has(&self, id: usize, style: Style, group: usize) -> bool {
        let state = lock(&self.state);
        let item = state.items.get(&id).filter(|item| !item.closed && item.style == style);
        item.is_some_and(|item| group == 0 || item.group == group)
    }

    /// A number for a group.
    pub(crate) fn number(&self) -> usize {
        let mut state = lock(&self.state);
        state.made += 1;
        state.made * 16
    }

    /// Changes the state, and sees to it that somebody does what there is to do.
    fn change<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.state);
        let result = f(&mut state);
        let more = state.wants_a_thread();
        drop(state);
        self.news.fetch_add(1, SeqCst);
        futex::wake(&self.news, u32::MAX >> 1);
        if more {
            self.make_a_thread();
        }
        result
    }

    fn make_a_thread(&self) {
        if spawn(&teb::process(), 0, work, 0, 0).is_err() {
            let mut state = lock(&self.state);
            state.threads -= 1;
            state.coming -= 1;
        }
    }

    /// The calling thread was made for the pool, and is there now.
    fn arrive(&self) {
        lock(&self.state).coming -= 1;
    }

    /// The next call for the calling thread; none when it is not needed any more.
    fn next(&self) -> Option<Job> {
        let patience = Deadline::after(PATIENCE);
        loop {
            let mut state = lock(&self.state);
            state.look_at_the_clock();
            if let Some(job) = state.queue.pop_front() {
                if let Some(item) = state.items.get_mut(&job.item) {
                    item.queued -= 1;
                    item.running += 1;
                }
                // This call may take long: somebody else sees to the rest.
                let more = state.wants_a_thread();
                drop(state);
                if more {
                    self.make_a_thread();
                }
                return Some(job);
            }
            let due = state.items.values().filter_map(|item| item.timer).map(|timer| timer.due).min();
            if state.items.is_empty() || due.is_none() && patience.is_over() {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let seen = self.news.load(SeqCst);
            drop(state);
            futex::wait(&self.news, seen, due.map_or(patience, |due| patience.or_at(due)));
            lock(&self.state).idle -= 1;
        }
    }

    fn finished(&self, id: usize) {
        let mut state = lock(&self.state);
        state.items.get_mut(&id).into_iter().for_each(|item| item.running -= 1);
        let done = state.sweep(id);
        drop(state);
        tell(done);
        self.done.fetch_add(1, SeqCst);
        futex::wake(&self.done, u32::MAX >> 1);
    }

    /// Waits until no call of an item is left.
    fn drain(&self, id: usize, cancel: bool) {
        loop {
            let seen = self.done.load(SeqCst);
            let mut state = lock(&self.state);
            if cancel {
                state.cancel(id);
            }
            if state.items.get(&id).is_none_or(|item| item.queued == 0 && item.running == 0) {
                return;
            }
            drop(state);
            futex::wait(&self.done, seen, Deadline::after(u32::MAX));
        }
    }

    fn close(&self, id: usize) {
        self.disarm(id);
        tell(self.change(|state| {
            state.items.get_mut(&id).into_iter().for_each(|item| item.closed = true);
            state.sweep(id)
        }));
    }

    /// No timer and no wait of the item calls anything any more, except for calls that are queued.
    fn disarm(&self, id: usize) {
        let watch = lock(&self.state).items.get_mut(&id).and_then(|item| {
            item.timer = None;
            item.watch.take()
        });
        watch.into_iter().for_each(|given_up| set(&given_up));
    }
}

/// Sets the event of a handle, where there is one.
fn tell(event: usize) {
    if event != 0 {
        SetEvent(event);
    }
}

fn set(event: &Object) {
    event.change(|kind| {
        if let Kind::Event { set, .. } = kind {
            set.store(true, SeqCst);
        }
    });
}

/// The part of `TP_CALLBACK_ENVIRON` that counts here.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Environment {
    version: u32,
    pool: usize,
    group: usize,
}

/// `PTP_CALLBACK_INSTANCE`: what is to be done when the call has returned.
#[derive(Default)]
pub(crate) struct Instance {
    section: Cell<usize>,
    mutex: Cell<usize>,
    semaphore: Cell<(usize, i32)>,
    event: Cell<usize>,
    library: Cell<usize>,
}

impl Instance {
    fn settle(&self) {
        if self.section.get() != 0 {
            LeaveCriticalSection(Ptr::from_guest(self.section.get() as u64));
        }
        if self.mutex.get() != 0 {
            ReleaseMutex(self.mutex.get());
        }
        if let (handle @ 1.., count) = self.semaphore.get() {
            ReleaseSemaphore(handle, count, Ptr::NULL);
        }
        if self.event.get() != 0 {
            SetEvent(self.event.get());
        }
        if self.library.get() != 0 {
            FreeLibrary(self.library.get());
        }
    }
}

/// A thread of the pool.
extern "win64" fn work(_: usize) -> u32 {
    teb::process().pool.arrive();
    while let Some(job) = teb::process().pool.next() {
        make(job);
    }
    0
}

/// Makes a call. Nothing is held meanwhile: it may never come back.
fn make(job: Job) {
    let known = teb::process().services().is_some_and(|s| s.is_loaded(Addr(job.function as u64)));
    if known {
        let instance = Instance::default();
        let [a, b, c] = job.arguments;
        let arguments = match job.instance {
            true => [std::ptr::from_ref(&instance).expose_provenance(), a, b, c],
            false => [a, b, c, 0],
        };
        call(job.function, arguments);
        instance.settle();
    }
    teb::process().pool.finished(job.item);
}

fn call(function: usize, [a, b, c, d]: [usize; 4]) {
    // SAFETY: the guest passed a function of these arguments, or of fewer, and its library is still loaded.
    let function = unsafe {
        std::mem::transmute::<usize, unsafe extern "win64" fn(usize, usize, usize, usize)>(function)
    };
    // SAFETY: as above.
    unsafe { function(a, b, c, d) };
}

// Work.

extern "win64" fn CreateThreadpoolWork(
    function: usize,
    context: usize,
    environment: Ptr<Environment>,
) -> usize {
    let group = if environment.is_null() { 0 } else { environment.get().group };
    teb::process().pool.add(function, context, Style::Instance, group)
}

extern "win64" fn SubmitThreadpoolWork(id: usize) {
    teb::process().pool.change(|state| state.queue_call(id, 0));
}

extern "win64" fn WaitForThreadpoolWorkCallbacks(id: usize, cancel: Bool) {
    teb::process().pool.drain(id, cancel != FALSE);
}

extern "win64" fn CloseThreadpoolWork(id: usize) {
    teb::process().pool.close(id);
}

extern "win64" fn TrySubmitThreadpoolCallback(
    function: usize,
    context: usize,
    _environment: Ptr<Environment>,
) -> Bool {
    let job = Job { item: 0, function, arguments: [context, 0, 0], instance: true };
    teb::process().pool.change(|state| state.queue.push_back(job));
    TRUE
}

extern "win64" fn QueueUserWorkItem(function: usize, context: usize, _flags: u32) -> Bool {
    let job = Job { item: 0, function, arguments: [context, 0, 0], instance: false };
    teb::process().pool.change(|state| state.queue.push_back(job));
    TRUE
}

// Timers.

/// No time disarms a timer; whether it was armed is the answer.
extern "win64" fn SetThreadpoolTimerEx(id: usize, due: Ptr<i64>, period: u32, _window: u32) -> Bool {
    let times = (!due.is_null()).then(|| (moment(due.get()), Duration::from_millis(period.into())));
    teb::process().pool.set_timer(id, times).unwrap_or(false).into()
}

extern "win64" fn SetThreadpoolTimer(id: usize, due: Ptr<i64>, period: u32, window: u32) {
    SetThreadpoolTimerEx(id, due, period, window);
}

extern "win64" fn IsThreadpoolTimerSet(id: usize) -> Bool {
    teb::process().pool.is_set(id).into()
}

// Waits. Each has a thread of its own while it lasts.

/// A wait that a thread is to make: for an object, until it is given up or its time is over.
struct Watch {
    id: usize,
    objects: [Arc<Object>; 2],
    patience: Patience,
}

/// How long a wait lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Until then, if ever.
    Until(Option<Duration>),
    /// So many milliseconds.
    Once(u32),
    /// The same, again and again.
    Always(u32),
}

impl Patience {
    fn deadline(self) -> Deadline {
        match self {
            Self::Until(None) => Deadline::after(u32::MAX),
            Self::Until(Some(due)) => Deadline::after(u32::MAX).or_at(due),
            Self::Once(time) | Self::Always(time) => Deadline::after(time),
        }
    }
}

impl Pool {
    /// Has a thread of its own wait for an object and make the item's call then; false where there can be none.
    pub(crate) fn watch(&self, id: usize, object: Arc<Object>, patience: Patience) -> bool {
        let process = teb::process();
        let given_up = process.objects.make(Kind::Event { manual: true, set: AtomicBool::new(false) });
        let watch = Watch { id, objects: [Arc::clone(&given_up), object], patience };
        let at = Box::into_raw(Box::new(watch));
        if let Some(item) = lock(&self.state).items.get_mut(&id) {
            item.watch = Some(given_up);
        }
        let made = spawn(&process, 0, keep_watch, at.expose_provenance(), 0).is_ok();
        if !made {
            // SAFETY: boxed above, and the thread that would take it was not made.
            drop(unsafe { Box::from_raw(at) });
        }
        made
    }

    /// The call that a wait leads to, if the wait was not given up meanwhile; the calling thread makes it.
    fn take_over(&self, watch: &Watch, result: usize) -> Option<Job> {
        let mut state = lock(&self.state);
        let item = state.items.get_mut(&watch.id)?;
        let mine = item.watch.as_ref().is_some_and(|w| Arc::ptr_eq(w, &watch.objects[0]));
        mine.then(|| {
            if !matches!(watch.patience, Patience::Always(_)) {
                item.watch = None;
            }
            item.running += 1;
            item.job(watch.id, result)
        })
    }
}

/// No object gives the wait up; whether there was one is the answer.
extern "win64" fn SetThreadpoolWaitEx(id: usize, handle: usize, timeout: Ptr<i64>, _reserved: usize) -> Bool {
    let process = teb::process();
    let armed = lock(&process.pool.state).items.get(&id).is_some_and(|item| item.watch.is_some());
    process.pool.disarm(id);
    if let Some(object) = (handle != 0).then(|| object(handle).ok()).flatten() {
        let due = (!timeout.is_null()).then(|| moment(timeout.get()));
        process.pool.watch(id, object, Patience::Until(due));
    }
    armed.into()
}

extern "win64" fn SetThreadpoolWait(id: usize, handle: usize, timeout: Ptr<i64>) {
    SetThreadpoolWaitEx(id, handle, timeout, 0);
}

extern "win64" fn keep_watch(at: usize) -> u32 {
    let at = std::ptr::with_exposed_provenance_mut::<Watch>(at);
    // SAFETY: boxed for this thread, which takes it once.
    let watch = *unsafe { Box::from_raw(at) };
    loop {
        let until = watch.patience.deadline();
        let wait = Wait { objects: &watch.objects, all: false, until, alertable: false };
        let waited = teb::process().objects.wait(&wait);
        let result = match waited {
            Waited::Object(1) => 0,
            Waited::Abandoned(1) => 0x80,
            Waited::TimedOut => TIMED_OUT,
            _ => return 0,
        };
        let Some(job) = teb::process().pool.take_over(&watch, result) else { return 0 };
        make(job);
        if !matches!(watch.patience, Patience::Always(_)) {
            return 0;
        }
    }
}

// Pools and groups. There is one pool; groups are numbers.

extern "win64" fn CreateThreadpool(_reserved: usize) -> usize {
    teb::process().pool.number()
}

extern "win64" fn CloseThreadpool(_pool: usize) {}

extern "win64" fn SetThreadpoolThreadMaximum(_pool: usize, _most: u32) {}

extern "win64" fn SetThreadpoolThreadMinimum(_pool: usize, _least: u32) -> Bool {
    TRUE
}

/// Waits for all calls of a group's members and closes them.
extern "win64" fn CloseThreadpoolCleanupGroupMembers(group: usize, cancel: Bool, _context: usize) {
    let process = teb::process();
    for id in process.pool.members(group) {
        process.pool.disarm(id);
        process.pool.drain(id, cancel != FALSE);
        process.pool.close(id);
    }
}

// What a call wants done when it has returned.

extern "win64" fn SetEventWhenCallbackReturns(instance: Ptr<Instance>, event: usize) {
    instance.shared().event.set(event);
}

extern "win64" fn ReleaseSemaphoreWhenCallbackReturns(instance: Ptr<Instance>, semaphore: usize, count: i32) {
    instance.shared().semaphore.set((semaphore, count));
}

extern "win64" fn ReleaseMutexWhenCallbackReturns(instance: Ptr<Instance>, mutex: usize) {
    instance.shared().mutex.set(mutex);
}

extern "win64" fn LeaveCriticalSectionWhenCallbackReturns(instance: Ptr<Instance>, section: Ptr<Section>) {
    instance.shared().section.set(section.addr());
}

extern "win64" fn FreeLibraryWhenCallbackReturns(instance: Ptr<Instance>, library: usize) {
    instance.shared().library.set(library);
}

/// A thread more is made whenever one is wanted, so nothing changes.
extern "win64" fn CallbackMayRunLong(_instance: Ptr<Instance>) -> Bool {
    TRUE
}

table! {
    /// The thread pool.
    pub(crate) TABLE:
        CreateThreadpoolWork, SubmitThreadpoolWork, WaitForThreadpoolWorkCallbacks, CloseThreadpoolWork,
        TrySubmitThreadpoolCallback, QueueUserWorkItem, CreateThreadpoolTimer = CreateThreadpoolWork, SetThreadpoolTimer,
        SetThreadpoolTimerEx, IsThreadpoolTimerSet, WaitForThreadpoolTimerCallbacks = WaitForThreadpoolWorkCallbacks,
        CloseThreadpoolTimer = CloseThreadpoolWork, CreateThreadpoolWait = CreateThreadpoolWork, SetThreadpoolWait,
        SetThreadpoolWaitEx, WaitForThreadpoolWaitCallbacks = WaitForThreadpoolWorkCallbacks,
        CloseThreadpoolWait = CloseThreadpoolWork, CreateThreadpool, CloseThreadpool, SetThreadpoolThreadMaximum,
        SetThreadpoolThreadMinimum, CreateThreadpoolCleanupGroup = CreateThreadpool,
        CloseThreadpoolCleanupGroup = CloseThreadpool, CloseThreadpoolCleanupGroupMembers, SetEventWhenCallbackReturns,
        ReleaseSemaphoreWhenCallbackReturns, ReleaseMutexWhenCallbackReturns, LeaveCriticalSectionWhenCallbackReturns,
        FreeLibraryWhenCallbackReturns, CallbackMayRunLong
}
