//! Keyed events: two threads meet at a number. Who comes first waits for one who comes from the other side. And alerts, by which a
//! thread is woken by its number.

use super::{
    calls::milliseconds,
    file::Attributes,
    objects::{create, object_for, open},
    status::{self, INVALID_PARAMETER, SUCCESS},
};
use crate::{
    futex::{self, Deadline},
    guest::Ptr,
    lock,
    object::{Kind, Object, current_thread_id},
    teb,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering::SeqCst},
};

const WAIT: u32 = 1;
const WAKE: u32 = 2;

/// One who waits at a keyed event.
struct Waiter {
    /// The event, by its address, which it keeps alive; zero for the event that belongs to the process.
    event: usize,
    key: usize,
    releases: bool,
    met: Arc<AtomicU32>,
}

/// Those who wait in a process.
#[derive(Default)]
pub(crate) struct Meetings(Mutex<Vec<Waiter>>);

extern "win64" fn NtCreateKeyedEvent(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    flags: u32,
) -> u32 {
    if flags != 0 {
        return INVALID_PARAMETER;
    }
    create(out, access, attributes, Kind::KeyedEvent)
}

extern "win64" fn NtOpenKeyedEvent(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::KeyedEvent))
}

fn event(handle: usize, access: u32) -> Result<Option<Arc<Object>>, u32> {
    if handle == 0 {
        return Ok(None);
    }
    let object = object_for(handle, 0)?;
    match object.kind {
        Kind::KeyedEvent => object_for(handle, access).map(Some),
        _ => Err(status::OBJECT_TYPE_MISMATCH),
    }
}

/// Meets one from the other side. Keys are even, so that they can be told from other words.
fn meet(handle: usize, key: usize, releases: bool, ms: u32) -> u32 {
    if key & 1 != 0 {
        return status::INVALID_PARAMETER_1;
    }
    let event = match event(handle, if releases { WAKE } else { WAIT }) {
        Ok(event) => event,
        Err(status) => return status,
    };
    let process = teb::process();
    let at = event.as_ref().map_or(0, |event| Arc::as_ptr(event).addr());
    let met = {
        let mut waiters = lock(&process.meetings.0);
        let other = waiters.iter().position(|w| w.event == at && w.key == key && w.releases != releases);
        if let Some(other) = other {
            let other = waiters.remove(other);
            other.met.store(1, SeqCst);
            futex::wake(&other.met, 1);
            return SUCCESS;
        }
        let met = Arc::new(AtomicU32::new(0));
        waiters.push(Waiter { event: at, key, releases, met: Arc::clone(&met) });
        met
    };
    let until = Deadline::after(ms);
    loop {
        futex::wait(&met, 0, until);
        if met.load(SeqCst) == 1 {
            return SUCCESS;
        }
        if until.is_over() {
            let mut waiters = lock(&process.meetings.0);
            waiters.retain(|w| !Arc::ptr_eq(&w.met, &met));
            return if met.load(SeqCst) == 1 { SUCCESS } else { status::TIMEOUT };
        }
    }
}

extern "win64" fn NtWaitForKeyedEvent(handle: usize, key: usize, _alertable: u8, time: Ptr<i64>) -> u32 {
    meet(handle, key, false, milliseconds(time))
}

extern "win64" fn NtReleaseKeyedEvent(handle: usize, key: usize, _alertable: u8, time: Ptr<i64>) -> u32 {
    meet(handle, key, true, milliseconds(time))
}

/// Wakes the thread from [`NtWaitForAlertByThreadId`], now or when it comes there.
extern "win64" fn NtAlertThreadByThreadId(id: usize) -> u32 {
    const INVALID_CID: u32 = 0xc000_000b;
    let objects = &teb::process().objects;
    let own = (id == current_thread_id() as usize).then(|| objects.current_thread());
    let known = || objects.known_thread(u32::try_from(id).ok().filter(|&id| id != 0)?);
    let Some(object) = own.or_else(known) else { return INVALID_CID };
    if let Some(thread) = object.thread() {
        thread.alerted.store(1, SeqCst);
        futex::wake(&thread.alerted, 1);
    }
    SUCCESS
}

/// The address only tells debuggers what is waited for.
extern "win64" fn NtWaitForAlertByThreadId(_address: usize, time: Ptr<i64>) -> u32 {
    const ALERTED: u32 = 0x101;
    let object = teb::process().objects.current_thread();
    let until = Deadline::after(milliseconds(time));
    let Some(thread) = object.thread() else { return status::INVALID_HANDLE };
    while thread.alerted.swap(0, SeqCst) == 0 {
        if until.is_over() {
            return status::TIMEOUT;
        }
        futex::wait(&thread.alerted, 0, until);
    }
    ALERTED
}

table! {
    /// Keyed events and alerts.
    pub(crate) TABLE:
        NtCreateKeyedEvent, ZwCreateKeyedEvent = NtCreateKeyedEvent, NtOpenKeyedEvent, ZwOpenKeyedEvent = NtOpenKeyedEvent,
        NtWaitForKeyedEvent, ZwWaitForKeyedEvent = NtWaitForKeyedEvent, NtReleaseKeyedEvent,
        ZwReleaseKeyedEvent = NtReleaseKeyedEvent, NtAlertThreadByThreadId,
        ZwAlertThreadByThreadId = NtAlertThreadByThreadId, NtWaitForAlertByThreadId,
        ZwWaitForAlertByThreadId = NtWaitForAlertByThreadId
}
