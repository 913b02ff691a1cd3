//! The thread pool: work, timers and waits whose functions are called in threads that nobody made. Unsafe because those
//! functions are the guest's.
//!
//! Threads come one after the other while calls are queued and nobody is idle, so that calls that wait for each other
//! come to an end; they go when nothing is left that could want one. All pools share them: what a pool of the guest's has of its
//! own is how many of its calls are made at a time. What guest code holds (`PTP_WORK` and the like) are numbers, which may be
//! stale. The functions by which all this is used: `pool_functions`, `queues`.
#![allow(unsafe_code)]

use super::{
    calls,
    module::FreeLibrary,
    named::{ReleaseMutex, ReleaseSemaphore, SetEvent},
    sync::LeaveCriticalSection,
    thread::spawn,
};
use crate::{
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    nt::status::dos_error,
    object::{Kind, Object, Wait, Waited, current_thread_id},
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
    /// The pools that may make only so many calls at a time.
    pools: HashMap<usize, Limits>,
    made: usize,
    queue: VecDeque<Job>,
    threads: u32,
    /// Threads that wait for a call, and threads that are made to take one.
    idle: u32,
    coming: u32,
}

/// What a pool may do, and does.
#[derive(Clone, Copy, Debug)]
struct Limits {
    most: u32,
    busy: u32,
    /// Whose call was made last: others come first.
    last: usize,
}

/// A call to make.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// Whose it is; 0: nobody's.
    item: usize,
    pool: usize,
    function: usize,
    /// The arguments, or all but the instance where the function takes one.
    arguments: [usize; 5],
    /// The first argument is what [`Instance`] is for.
    instance: bool,
    /// What came of a transfer is handed over as a block.
    outcome: bool,
    /// What is called afterwards, with the instance and the context.
    finally: usize,
}

/// What came of a transfer: where the caller's `OVERLAPPED` is, a status, a number of bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transfer {
    pub overlapped: usize,
    pub status: u32,
    pub bytes: usize,
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
    /// That of a file's transfers, as [`Style::Instance`]: the `OVERLAPPED`, an error number, how many bytes.
    File,
    /// The same by ntdll: the `OVERLAPPED`, a block with the status and how many bytes.
    NtFile,
    /// That of a file's transfers without a pool's interface: an error number, how many bytes, the `OVERLAPPED`.
    Bound,
}

/// What a new item is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub function: usize,
    pub context: usize,
    pub style: Style,
    pub environment: Environment,
}

/// Work, a timer or a wait.
struct Item {
    function: usize,
    context: usize,
    style: Style,
    /// Its pool, who closes it together with others, what they call then, what is called after each call.
    environment: Environment,
    /// Calls that are queued, and the threads in which calls are being made.
    queued: u32,
    running: Vec<u32>,
    closed: bool,
    /// It is there for one call, and nobody holds it.
    once: bool,
    timer: Option<Timer>,
    /// Its timer was set, and not unset since.
    was_set: bool,
    /// Transfers that were announced, and are not done.
    announced: u32,
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
    fn new(plan: Plan, once: bool) -> Self {
        let Plan { function, context, style, environment } = plan;
        Self {
            function,
            context,
            style,
            environment,
            queued: 0,
            running: Vec::new(),
            closed: once,
            once,
            timer: None,
            was_set: false,
            announced: 0,
            watch: None,
            done: 0,
        }
    }

    fn job(&self, id: usize, result: usize, transfer: Transfer) -> Job {
        let (function, context) = (self.function, self.context);
        let Transfer { overlapped, status, bytes } = transfer;
        let error = dos_error(status) as usize;
        let (arguments, instance) = match self.style {
            Style::Instance => ([context, id, result, 0, 0], true),
            Style::Timer => ([context, 1, 0, 0, 0], false),
            Style::Wait => ([context, (result == TIMED_OUT).into(), 0, 0, 0], false),
            Style::File => ([context, overlapped, error, bytes, id], true),
            Style::NtFile => ([context, overlapped, status as usize, bytes, id], true),
            Style::Bound => ([error, bytes, overlapped, 0, 0], false),
        };
        let Environment { pool, finalization: finally, .. } = self.environment;
        let outcome = self.style == Style::NtFile;
        Job { item: id, pool, function, arguments, instance, outcome, finally }
    }

    fn is_idle(&self) -> bool {
        self.queued == 0 && self.running.is_empty()
    }

    fn is_over(&self) -> bool {
        self.closed && self.is_idle()
    }
}

impl State {
    /// Queues a call of an item.
    fn queue_call(&mut self, id: usize, result: usize) {
        if let Some(item) = self.items.get_mut(&id) {
            item.queued += 1;
            self.queue.push_back(item.job(id, result, Transfer::default()));
        }
    }

    /// Takes the next call that may be made now: of a pool that is not busy enough, of somebody else than the last time
    /// if anybody else waits.
    fn take(&mut self) -> Option<Job> {
        let may = |job: &&Job| self.pools.get(&job.pool).is_none_or(|limits| limits.busy < limits.most);
        let last = |job: &Job| self.pools.get(&job.pool).map_or(0, |limits| limits.last);
        let first = self.queue.iter().position(|job| may(&job))?;
        let pool = self.queue[first].pool;
        let other = |job: &Job| job.pool == pool && job.item != last(job);
        let chosen = match other(&self.queue[first]) {
            true => first,
            false => self.queue.iter().position(other).unwrap_or(first),
        };
        let job = self.queue.remove(chosen)?;
        if let Some(limits) = self.pools.get_mut(&job.pool) {
            limits.busy += 1;
            limits.last = job.item;
        }
        if let Some(item) = self.items.get_mut(&job.item) {
            item.queued -= 1;
            item.running.push(current_thread_id());
        }
        Some(job)
    }

    /// Whether a call waits that may be made now.
    fn has_something(&self) -> bool {
        self.queue.iter().any(|job| self.pools.get(&job.pool).is_none_or(|l| l.busy < l.most))
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
        let something = self.has_something() || self.items.values().any(|item| item.timer.is_some());
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
    /// A new item.
    pub(crate) fn add(&self, plan: Plan) -> usize {
        let mut state = lock(&self.state);
        state.made += 1;
        let id = state.made * 16;
        state.items.insert(id, Item::new(plan, false));
        id
    }

    /// Queues one call.
    pub(crate) fn call_once(&self, plan: Plan) {
        self.change(|state| {
            state.made += 1;
            let id = state.made * 16;
            state.items.insert(id, Item::new(plan, true));
            state.queue_call(id, 0);
        });
    }

    /// Queues a call of an item.
    pub(crate) fn call(&self, id: usize) {
        self.change(|state| state.queue_call(id, 0));
    }

    /// Sets when an item's function is called, and how long after that again (zero: never); whether it was set before.
    /// `None` where there is no such item.
    pub(crate) fn set_timer(&self, id: usize, times: Option<(Duration, Duration)>) -> Option<bool> {
        let timer = times.map(|(due, period)| Timer { due, period });
        self.change(|state| {
            let item = state.items.get_mut(&id).filter(|item| !item.closed)?;
            item.was_set = timer.is_some();
            Some(std::mem::replace(&mut item.timer, timer).is_some())
        })
    }

    /// Whether an item's timer is set.
    pub(crate) fn is_set(&self, id: usize) -> bool {
        lock(&self.state).items.get(&id).is_some_and(|item| item.timer.is_some())
    }

    /// Whether an item's timer was set, and not unset since.
    pub(crate) fn was_set(&self, id: usize) -> bool {
        lock(&self.state).items.get(&id).is_some_and(|item| item.was_set)
    }

    /// A transfer is announced, whose end an item is to be called for; or one is not begun after all.
    pub(crate) fn announce(&self, id: usize, begun: bool) {
        self.change(|state| {
            let item = state.items.get_mut(&id);
            let change = |n: u32| if begun { n.saturating_add(1) } else { n.saturating_sub(1) };
            item.into_iter().for_each(|item| item.announced = change(item.announced));
        });
        self.tell_waiting();
    }

    /// A transfer is done that an item is to be called for, if it was announced, as those of pools must be.
    pub(crate) fn transferred(&self, id: usize, transfer: Transfer) {
        self.change(|state| {
            let Some(item) = state.items.get_mut(&id) else { return };
            if item.style != Style::Bound {
                let Some(left) = item.announced.checked_sub(1) else { return };
                item.announced = left;
            }
            item.queued += 1;
            state.queue.push_back(item.job(id, 0, transfer));
        });
    }

    /// How many calls of a pool are made at a time.
    pub(crate) fn limit(&self, pool: usize, most: u32) {
        self.change(|state| {
            let limits = state.pools.entry(pool).or_insert(Limits { most, busy: 0, last: 0 });
            limits.most = most.max(1);
        });
    }

    /// A pool may make as many calls as it likes.
    pub(crate) fn unlimit(&self, pool: usize) {
        self.change(|state| state.pools.remove(&pool));
    }

    /// Whether a pool makes as many calls as it may.
    pub(crate) fn is_busy(&self, pool: usize) -> bool {
        lock(&self.state).pools.get(&pool).is_some_and(|limits| limits.busy >= limits.most)
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
        // Who ends its own wait knows that its call is being made.
        let me = current_thread_id();
        let counts = |item: &Item, thread: u32| item.style != Style::Wait || thread != me;
        let running = |&id: &usize| {
            let state = lock(&self.state);
            let item = state.items.get(&id);
            item.is_some_and(|item| item.running.iter().any(|&thread| counts(item, thread)))
        };
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

    /// The items of a group that were not closed yet, and calls of it that were not made.
    pub(crate) fn members(&self, group: usize) -> Vec<usize> {
        let state = lock(&self.state);
        let open = |item: &Item| item.environment.group == group && (item.once || !item.closed);
        let mut ids: Vec<usize> =
            state.items.iter().filter(|(_, item)| open(item)).map(|(&id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits for the calls of a member of a group and closes it. What is to be called, with its context, where its calls were
    /// taken back.
    pub(crate) fn dismiss(&self, id: usize, cancel: bool) -> Option<(usize, usize)> {
        self.disarm(id);
        let told = {
            let mut state = lock(&self.state);
            if cancel {
                state.cancel(id);
            }
            // One call that is being made already cannot be taken back.
            let item = state.items.get(&id)?;
            (cancel && (!item.once || item.running.is_empty()))
                .then_some((item.environment.cancelled, item.context))
        };
        self.drain(id, cancel);
        // Who was closed in its own call is gone.
        let there = lock(&self.state).items.get(&id).is_some_and(|item| item.once || !item.closed);
        self.close(id);
        told.filter(|told| there && told.0 != 0)
    }

    /// Whether there is an item of that style, and of that group if one is named.
    pub(crate) fn has(&self, id: usize, style: Style, group: usize) -> bool {
        let state = lock(&self.state);
        let item = state.items.get(&id).filter(|item| !item.closed && item.style == style);
        item.is_some_and(|item| group == 0 || item.environment.group == group)
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
            if let Some(job) = state.take() {
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

    fn finished(&self, id: usize, pool: usize) {
        let limited = {
            let mut state = lock(&self.state);
            let limits = state.pools.get_mut(&pool);
            limits.map(|limits| limits.busy = limits.busy.saturating_sub(1)).is_some()
        };
        self.let_go(id);
        if limited {
            self.change(|_| {}); // somebody may have waited for this
        }
    }

    /// The calling thread's call of an item counts no longer, though it may go on.
    pub(crate) fn let_go(&self, id: usize) {
        let me = current_thread_id();
        let mut state = lock(&self.state);
        if let Some(item) = state.items.get_mut(&id)
            && let Some(mine) = item.running.iter().position(|&thread| thread == me)
        {
            item.running.swap_remove(mine);
        }
        let done = state.sweep(id);
        drop(state);
        tell(done);
        self.tell_waiting();
    }

    /// Those who wait for calls look again.
    fn tell_waiting(&self) {
        self.done.fetch_add(1, SeqCst);
        futex::wake(&self.done, u32::MAX >> 1);
    }

    /// Waits until no call of an item is left.
    pub(crate) fn drain(&self, id: usize, cancel: bool) {
        loop {
            let seen = self.done.load(SeqCst);
            let mut state = lock(&self.state);
            if cancel {
                state.cancel(id);
                state.items.get_mut(&id).into_iter().for_each(|item| item.announced = 0);
            }
            // Nobody waits for the call that it makes itself.
            let me = current_thread_id();
            let is_done = |item: &Item| {
                item.queued == 0 && item.announced == 0 && item.running.iter().all(|&thread| thread == me)
            };
            if state.items.get(&id).is_none_or(is_done) {
                return;
            }
            drop(state);
            futex::wait(&self.done, seen, Deadline::after(u32::MAX));
        }
    }

    pub(crate) fn close(&self, id: usize) {
        self.disarm(id);
        tell(self.change(|state| {
            state.items.get_mut(&id).into_iter().for_each(|item| item.closed = true);
            state.sweep(id)
        }));
    }

    /// No timer and no wait of the item calls anything any more, except for calls that are queued; whether there was a wait.
    pub(crate) fn disarm(&self, id: usize) -> bool {
        let watch = lock(&self.state).items.get_mut(&id).and_then(|item| {
            item.timer = None;
            item.watch.take()
        });
        watch.map(|given_up| set(&given_up)).is_some()
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

/// `TP_CALLBACK_ENVIRON`, as far as it has the same parts in all versions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Environment {
    pub version: u32,
    pub pool: usize,
    pub group: usize,
    /// What is called for each member of the group whose calls are taken back.
    pub cancelled: usize,
    race_dll: usize,
    activation: usize,
    /// What is called after each call.
    pub finalization: usize,
    flags: u32,
    /// From version 3 on.
    pub priority: u32,
}

const _: () = assert!(size_of::<Environment>() == 64);

impl Environment {
    /// One that only says who is closed together.
    pub(crate) fn of_group(group: usize) -> Self {
        Self { version: 1, group, ..Self::default() }
    }
}

/// `PTP_CALLBACK_INSTANCE`: what is to be done when the call has returned.
#[derive(Default)]
pub(crate) struct Instance {
    pub section: Cell<usize>,
    pub mutex: Cell<usize>,
    pub semaphore: Cell<(usize, i32)>,
    pub event: Cell<usize>,
    pub library: Cell<usize>,
    /// Whose call it is, and of which pool.
    pub item: usize,
    pub pool: usize,
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
    let known =
        |function: usize| teb::process().services().is_some_and(|s| s.is_loaded(Addr(function as u64)));
    if known(job.function) {
        let instance = Instance { item: job.item, pool: job.pool, ..Instance::default() };
        let of_instance = std::ptr::from_ref(&instance).expose_provenance();
        let [a, b, c, d, e] = job.arguments;
        match (job.instance, job.outcome) {
            (true, true) => {
                let block = [c, d];
                let block = std::ptr::from_ref(&block).expose_provenance();
                call(job.function, [of_instance, a, b, block, e, 0]);
            }
            (true, false) => call(job.function, [of_instance, a, b, c, d, e]),
            (false, _) => call(job.function, [a, b, c, d, e, 0]),
        }
        instance.settle();
        if job.finally != 0 && known(job.finally) {
            call(job.finally, [of_instance, a, 0, 0, 0, 0]);
        }
    }
    teb::process().pool.finished(job.item, job.pool);
}

/// Calls a function of the guest's that is told how far a copy came.
pub(crate) fn call_progress(function: usize, arguments: [usize; 9]) -> u32 {
    type Progress =
        unsafe extern "win64" fn(usize, usize, usize, usize, u32, u32, usize, usize, usize) -> u32;
    // SAFETY: the guest passed a function of these arguments.
    let function = unsafe { std::mem::transmute::<usize, Progress>(function) };
    let [a, b, c, d, e, f, g, h, i] = arguments;
    // SAFETY: as above; the caller holds nothing but handles.
    unsafe { function(a, b, c, d, e as u32, f as u32, g, h, i) }
}

/// Calls a function of the guest's.
pub(crate) fn call(function: usize, [a, b, c, d, e, f]: [usize; 6]) {
    // SAFETY: the guest passed a function of these arguments, or of fewer, and its library is still loaded.
    let function = unsafe {
        std::mem::transmute::<usize, unsafe extern "win64" fn(usize, usize, usize, usize, usize, usize)>(
            function,
        )
    };
    // SAFETY: as above.
    unsafe { function(a, b, c, d, e, f) };
}

// Waits. Each has a thread of its own while it lasts.

/// A wait that a thread is to make: for an object, until it is given up or its time is over.
struct Watch {
    id: usize,
    /// It may be disturbed by calls.
    alertable: bool,
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
    pub(crate) fn watch(&self, id: usize, object: Arc<Object>, patience: Patience, alertable: bool) -> bool {
        let process = teb::process();
        let given_up = process.objects.make(Kind::Event { manual: true, set: AtomicBool::new(false) });
        let watch = Watch { id, alertable, objects: [Arc::clone(&given_up), object], patience };
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
            item.running.push(current_thread_id());
            item.job(watch.id, result, Transfer::default())
        })
    }
}

extern "win64" fn keep_watch(at: usize) -> u32 {
    let at = std::ptr::with_exposed_provenance_mut::<Watch>(at);
    // SAFETY: boxed for this thread, which takes it once.
    let watch = *unsafe { Box::from_raw(at) };
    loop {
        let until = watch.patience.deadline();
        let wait = Wait { objects: &watch.objects, all: false, until, alertable: watch.alertable };
        let waited = teb::process().objects.wait(&wait);
        let result = match waited {
            Waited::Object(1) => 0,
            Waited::Abandoned(1) => 0x80,
            Waited::TimedOut => TIMED_OUT,
            Waited::Called => {
                calls::make();
                continue;
            }
            _ => return 0,
        };
        let Some(job) = teb::process().pool.take_over(&watch, result) else { return 0 };
        make(job);
        if !matches!(watch.patience, Patience::Always(_)) {
            return 0;
        }
    }
}
