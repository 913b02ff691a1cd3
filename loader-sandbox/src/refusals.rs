//! Who answers the guest's refused calls, which wait in the kernel until somebody does: a thread of the user's, whether an
//! operation is waited for or not.

use crate::confine::{Listener, RefusedCall};
use std::{
    io,
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The calls that were refused, as the thread hears of them. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Refusals {
    heard: Arc<Heard>,
    /// Hangs up when it is dropped, and wakes the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Heard {
    calls: Mutex<Vec<RefusedCall>>,
    stopped: AtomicBool,
}

/// How many refused calls are kept.
const MOST: usize = 1024;
/// A guest that asks without end is answered so many times in a row, and then after a pause.
const AT_A_TIME: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);
/// The thread needs little.
const STACK: usize = 128 << 10;

impl Refusals {
    pub(crate) fn hear(listener: Listener) -> io::Result<Self> {
        let (stop, stopped) = UnixStream::pair()?;
        let heard = Arc::<Heard>::default();
        let shared = heard.clone();
        let builder = thread::Builder::new().name("refused calls".into()).stack_size(STACK);
        let thread = builder.spawn(move || shared.follow(&listener, &stopped))?;
        Ok(Self { heard, stop: Some(stop), thread: Some(thread) })
    }

    /// The calls that were refused since this was last asked; the first of them, if they were many.
    pub(crate) fn take(&self) -> Vec<RefusedCall> {
        std::mem::take(&mut self.heard.calls())
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        self.heard.stopped.store(true, Relaxed);
        self.stop = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Heard {
    /// Held while a call is answered: whoever learns what came of it finds it here.
    fn calls(&self) -> MutexGuard<'_, Vec<RefusedCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, listener: &Listener, stopped: &UnixStream) {
        while listener.wait(Some(stopped.as_fd())) && !self.stopped.load(Relaxed) {
            match self.answer(listener) {
                Ok(AT_A_TIME) => thread::sleep(PAUSE),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Answers the calls that wait, and says how many they were.
    fn answer(&self, listener: &Listener) -> io::Result<usize> {
        for count in 0..AT_A_TIME {
            let mut calls = self.calls();
            match listener.answer()? {
                Some(call) if calls.len() < MOST => calls.push(call),
                Some(_) => {}
                None => return Ok(count),
            }
        }
        Ok(AT_A_TIME)
    }
}
