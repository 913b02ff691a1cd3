//! Time and random numbers, in a process where they are the same in every run ([`deterministic`]): the functions of the C
//! library that tell of them. Everywhere else loaded code has the C library's own.
//!
//! `unsafe` because they are C functions, which write where their callers say.
#![allow(unsafe_code)]

use crate::HostModule;
use libc::{
    c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, time_t, timespec, timeval, useconds_t,
};
use loader_core::deterministic::{self, Clock};
use std::{ptr, slice, thread, time::Duration};

pub(super) fn offer(module: HostModule) -> HostModule {
    if !deterministic::is_on() {
        return module;
    }
    module
        .function("time", time as *const ())
        .function("gettimeofday", gettimeofday as *const ())
        .function("clock_gettime", clock_gettime as *const ())
        .function("timespec_get", timespec_get as *const ())
        .function("clock", clock as *const ())
        .function("nanosleep", nanosleep as *const ())
        .function("clock_nanosleep", clock_nanosleep as *const ())
        .function("usleep", usleep as *const ())
        .function("sleep", sleep as *const ())
        .function("getrandom", getrandom as *const ())
        .function("getentropy", getentropy as *const ())
        .function("arc4random", arc4random as *const ())
        .function("arc4random_buf", arc4random_buf as *const ())
        .function("arc4random_uniform", arc4random_uniform as *const ())
}

fn now(clock: Clock) -> Duration {
    deterministic::now(clock).unwrap_or_default()
}

/// What a clock of the system's counts from; all that are not of the calendar count alike.
const fn of(clock: clockid_t) -> Clock {
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => Clock::Calendar,
        _ => Clock::Uptime,
    }
}

fn split(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

fn joined(time: &timespec) -> Option<Duration> {
    let nanoseconds = u32::try_from(time.tv_nsec).ok().filter(|&n| n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanoseconds))
}

/// Puts something where the caller wants it, if he does.
///
/// # Safety
/// It is null, or can be written to.
unsafe fn put<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's.
        unsafe { to.write(value) }
    }
}

/// The C library's way to say no.
fn refuse(number: c_int) -> c_int {
    // SAFETY: this thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { errno.write(number) };
    -1
}

unsafe extern "C" fn time(to: *mut time_t) -> time_t {
    let seconds = split(now(Clock::Calendar)).tv_sec;
    // SAFETY: the caller's own argument.
    unsafe { put(to, seconds) };
    seconds
}

unsafe extern "C" fn gettimeofday(to: *mut timeval, _: *mut c_void) -> c_int {
    let time = now(Clock::Calendar);
    let time = timeval { tv_sec: time.as_secs().cast_signed(), tv_usec: time.subsec_micros().into() };
    // SAFETY: the caller's own argument.
    unsafe { put(to, time) };
    0
}

unsafe extern "C" fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int {
    // SAFETY: the caller's own argument.
    unsafe { put(to, split(now(of(clock)))) };
    0
}

unsafe extern "C" fn timespec_get(to: *mut timespec, base: c_int) -> c_int {
    /// `TIME_UTC`, which alone every C library has.
    const CALENDAR: c_int = 1;
    if base != CALENDAR {
        return 0;
    }
    // SAFETY: the caller's own argument.
    unsafe { put(to, split(now(Clock::Calendar))) };
    base
}

/// In millionths of a second, as POSIX has it.
extern "C" fn clock() -> c_long {
    now(Clock::Uptime).as_micros() as c_long
}

fn rest(time: Duration) {
    thread::sleep(time);
    deterministic::slept(time);
}

unsafe extern "C" fn nanosleep(time: *const timespec, _: *mut timespec) -> c_int {
    // SAFETY: the caller's own argument.
    match joined(unsafe { &*time }) {
        Some(time) => rest(time),
        None => return refuse(libc::EINVAL),
    }
    0
}

unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    time: *const timespec,
    _: *mut timespec,
) -> c_int {
    // SAFETY: the caller's own argument.
    let Some(time) = joined(unsafe { &*time }) else { return libc::EINVAL };
    match flags & libc::TIMER_ABSTIME {
        0 => rest(time),
        _ => rest(time.saturating_sub(now(of(clock)))),
    }
    0
}

extern "C" fn usleep(time: useconds_t) -> c_int {
    rest(Duration::from_micros(time.into()));
    0
}

extern "C" fn sleep(time: c_uint) -> c_uint {
    rest(Duration::from_secs(time.into()));
    0
}

unsafe extern "C" fn getrandom(to: *mut c_void, len: size_t, _: c_uint) -> ssize_t {
    // SAFETY: the caller's own arguments.
    unsafe { arc4random_buf(to, len) };
    len.cast_signed()
}

unsafe extern "C" fn getentropy(to: *mut c_void, len: size_t) -> c_int {
    /// `GETENTROPY_MAX`, as POSIX has it.
    const MOST: usize = 256;
    if len > MOST {
        return refuse(libc::EIO);
    }
    // SAFETY: the caller's own arguments.
    unsafe { arc4random_buf(to, len) };
    0
}

unsafe extern "C" fn arc4random_buf(to: *mut c_void, len: size_t) {
    if len > 0 {
        // SAFETY: the caller says that so much can be written there; zeros come first, for nobody knows what is there.
        unsafe { ptr::write_bytes(to.cast::<u8>(), 0, len) };
        // SAFETY: as above.
        let _ = deterministic::fill(unsafe { slice::from_raw_parts_mut(to.cast(), len) });
    }
}

extern "C" fn arc4random() -> u32 {
    deterministic::random().unwrap_or_default() as u32
}

/// Below a bound; which numbers are a little more frequent than others is of no importance here.
extern "C" fn arc4random_uniform(bound: u32) -> u32 {
    ((u64::from(arc4random()) * u64::from(bound)) >> 32) as u32
}
