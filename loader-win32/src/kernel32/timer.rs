//! Timers that can be waited for, and that have a thread make a call. Nobody keeps their time: whoever waits looks at the clock.

use super::{Bool, TRUE, answer, error::code, time::GetSystemTimeAsFileTime};
use crate::{
    futex,
    guest::Ptr,
    lock,
    nt::{objects::object_for, status, types::MODIFY_STATE},
    object::{Call, Kind, current_thread_id},
    teb,
};
use std::{sync::Mutex, time::Duration};

/// A timer's state.
pub(crate) struct Timer {
    /// It stays set until it is set anew.
    manual: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    set: bool,
    /// When it is set next, since boot.
    due: Option<Duration>,
    /// How long after that again; zero: never.
    period: Duration,
    routine: Option<Routine>,
}

/// What a thread is to call, in an alertable wait, when the time has come.
#[derive(Clone, Copy)]
struct Routine {
    thread: u32,
    function: usize,
    argument: usize,
    /// The time has come, and the call was not made yet.
    due: bool,
}

impl State {
    /// The state that the clock has made of it.
    fn now(&mut self) -> &mut Self {
        let now = futex::now();
        while let Some(due) = self.due.filter(|&due| due <= now) {
            self.set = true;
            self.routine.iter_mut().for_each(|routine| routine.due = true);
            // Times that nobody waited for are one.
            let missed = (now - due).as_nanos().checked_div(self.period.as_nanos());
            self.due = missed.map(|n| due + self.period.saturating_mul((n as u32).saturating_add(1)));
        }
        self
    }
}

impl Timer {
    pub(crate) fn kind(manual: bool) -> Kind {
        Kind::Timer(Self { manual, state: Mutex::default() })
    }

    /// Whether a wait for it would end at once.
    pub(crate) fn is_set(&self) -> bool {
        lock(&self.state).now().set
    }

    /// When it will be set.
    pub(crate) fn due(&self) -> Option<Duration> {
        lock(&self.state).now().due
    }

    /// How long it is until then, in hundreds of nanoseconds; less than nothing where that is over, or never was.
    pub(crate) fn left(&self) -> i64 {
        let due = self.due().map(|due| due.saturating_sub(futex::now()).as_nanos() / 100);
        due.map_or(-1, |left| i64::try_from(left).unwrap_or(i64::MAX))
    }

    /// The call that a thread is to make for it now.
    pub(crate) fn call(&self, thread: u32) -> Option<Call> {
        let mut state = lock(&self.state);
        let routine = state.now().routine.as_mut().filter(|r| r.thread == thread && r.due)?;
        routine.due = false;
        let (mut wall, Routine { function, argument, .. }) = (0i64, *routine);
        GetSystemTimeAsFileTime(crate::exception::local(&mut wall));
        Some(Call { function, arguments: [argument, wall as u32 as usize, (wall >> 32) as usize] })
    }

    /// A wait for it has ended.
    pub(crate) fn take(&self) {
        lock(&self.state).set = self.manual;
    }
}

/// A file time, or how long from now where it is negative, as a time since boot.
pub(crate) fn moment(due: i64) -> Duration {
    let mut wall = 0;
    GetSystemTimeAsFileTime(crate::exception::local(&mut wall));
    let left = if due < 0 { due.saturating_neg() } else { due.saturating_sub(wall).max(0) };
    futex::now() + Duration::from_nanos(left.unsigned_abs().saturating_mul(100))
}

/// Changes a timer's state, and says whether it was set before; who waits looks again. Errors are statuses.
fn change(handle: usize, f: impl FnOnce(&mut State)) -> Result<bool, u32> {
    object_for(handle, MODIFY_STATE)?.change(|kind| match kind {
        Kind::Timer(timer) => {
            let mut state = lock(&timer.state);
            let was = state.now().set;
            f(&mut state);
            Ok(was)
        }
        _ => Err(status::OBJECT_TYPE_MISMATCH),
    })
}

/// Sets a timer; whether it was set before.
pub(crate) fn set(
    handle: usize,
    due: i64,
    period: u32,
    function: usize,
    argument: usize,
) -> Result<bool, u32> {
    let (due, period) = (Some(moment(due)), Duration::from_millis(period.into()));
    let thread = current_thread_id();
    let routine = (function != 0).then_some(Routine { thread, function, argument, due: false });
    let was = change(handle, |state| *state = State { set: false, due, period, routine })?;
    if routine.is_some() {
        let process = teb::process();
        let _ = process.objects.current_thread(); // calls are made by threads that are known
        process.objects.get(handle).iter().for_each(|timer| teb::own(|o| o.keep_timer(timer)));
    }
    Ok(was)
}

/// It stays as it is: one that is set stays set.
pub(crate) fn cancel(handle: usize) -> Result<bool, u32> {
    change(handle, |state| {
        state.now().due = None;
        state.routine = None;
    })
}

extern "win64" fn SetWaitableTimer(
    handle: usize,
    due: Ptr<i64>,
    period: i32,
    function: usize,
    argument: usize,
    _resume: Bool,
) -> Bool {
    let Ok(period) = u32::try_from(period) else { return super::fail(code::INVALID_PARAMETER) };
    if due.is_null() {
        return super::fail(code::INVALID_PARAMETER);
    }
    answer(set(handle, due.get(), period, function, argument).map(drop).map_err(status::dos_error))
}

extern "win64" fn SetWaitableTimerEx(
    handle: usize,
    due: Ptr<i64>,
    period: i32,
    routine: usize,
    argument: usize,
    _reason: usize,
    _tolerance: u32,
) -> Bool {
    SetWaitableTimer(handle, due, period, routine, argument, TRUE)
}

extern "win64" fn CancelWaitableTimer(handle: usize) -> Bool {
    answer(cancel(handle).map(drop).map_err(status::dos_error))
}

table! {
    /// Timers.
    pub(crate) TABLE:
        SetWaitableTimer, SetWaitableTimerEx, CancelWaitableTimer
}
