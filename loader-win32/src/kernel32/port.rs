//! I/O completion ports: queues of what was completed, from which threads take what they work on.

use super::{
    Bool, FALSE, TRUE, answer,
    error::code,
    fail,
    opened::Told,
    wait::{object, wait_and_answer},
};
use crate::{
    futex::Deadline,
    guest::Ptr,
    lock,
    object::{Kind, Object},
    teb,
    text::length,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

const INVALID_HANDLE_VALUE: usize = usize::MAX;
const ABANDONED_WAIT_0: u32 = 735;
const WAIT_TIMEOUT: u32 = 258;
const WAIT_IO_COMPLETION: u32 = 192;

/// What a port tells of one completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// The number that was given with the file, or by who posted this.
    pub key: usize,
    /// Where the caller's `OVERLAPPED` is.
    pub overlapped: usize,
    /// 0, or why it failed.
    pub status: u64,
    /// How many bytes.
    pub transferred: u32,
}

/// A port's state.
#[derive(Default)]
pub(crate) struct Port {
    packets: Mutex<VecDeque<Packet>>,
    /// Nobody has a handle of it any more.
    abandoned: AtomicBool,
}

impl Port {
    /// Whether a wait for it would end at once.
    pub(crate) fn has_packets(&self) -> bool {
        self.abandoned.load(Relaxed) || !lock(&self.packets).is_empty()
    }

    /// How many packets there are.
    pub(crate) fn depth(&self) -> usize {
        lock(&self.packets).len()
    }

    /// Its last handle was given back: who waits need wait no longer.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }
}

/// Leaves a packet.
pub(crate) fn post(port: &Object, packet: Packet) {
    port.change(|kind| {
        if let Kind::Port(port) = kind {
            lock(&port.packets).push_back(packet);
        }
    });
}

/// The port behind a handle.
fn port(handle: usize) -> Result<Arc<Object>, u32> {
    object(handle).and_then(|object| match object.kind {
        Kind::Port(_) => Ok(object),
        _ => Err(code::INVALID_HANDLE),
    })
}

/// How many threads run at a time is theirs to say: all of them that find something to do.
extern "win64" fn CreateIoCompletionPort(file: usize, existing: usize, key: usize, _threads: u32) -> usize {
    let objects = &teb::process().objects;
    let made = match (file, existing) {
        (INVALID_HANDLE_VALUE, 0) => Ok(objects.open(Kind::Port(Port::default()))),
        (INVALID_HANDLE_VALUE, _) => Err(code::INVALID_PARAMETER),
        (file, existing) => associate(file, existing, key),
    };
    made.unwrap_or_else(|error| fail(error) as usize)
}

/// A file, which has no port yet, gets one that is there, or a new one.
fn associate(file: usize, existing: usize, key: usize) -> Result<usize, u32> {
    let objects = &teb::process().objects;
    let file = object(file)?;
    if !matches!(file.kind, Kind::File(_)) {
        return Err(code::INVALID_HANDLE);
    }
    let (port, handle) = match existing {
        0 => (objects.make(Kind::Port(Port::default())), None),
        handle => (port(handle)?, Some(handle)),
    };
    file.opened.told.set(Told::Port(Arc::clone(&port), key)).map_err(|_| code::INVALID_PARAMETER)?;
    Ok(handle.unwrap_or_else(|| objects.add(port)))
}

extern "win64" fn PostQueuedCompletionStatus(
    handle: usize,
    transferred: u32,
    key: usize,
    overlapped: usize,
) -> Bool {
    answer(port(handle).map(|port| post(&port, Packet { key, overlapped, status: 0, transferred })))
}

/// Up to `most` packets, at least one; or why there are none.
pub(crate) fn take(handle: usize, most: usize, ms: u32, alertable: Bool) -> Result<Vec<Packet>, u32> {
    let object = port(handle)?;
    let Kind::Port(port) = &object.kind else { return Err(code::INVALID_HANDLE) };
    let until = Deadline::after(ms);
    loop {
        let waited = wait_and_answer(&object, left(until, ms), alertable);
        if waited == WAIT_IO_COMPLETION {
            return Err(WAIT_IO_COMPLETION);
        }
        let mut packets = lock(&port.packets);
        if !packets.is_empty() {
            let n = packets.len().min(most);
            return Ok(packets.drain(..n).collect());
        }
        if port.abandoned.load(Relaxed) {
            return Err(ABANDONED_WAIT_0);
        }
        if waited == WAIT_TIMEOUT {
            return Err(WAIT_TIMEOUT);
        }
        if waited != 0 {
            return Err(code::INVALID_HANDLE); // the thread is to end, and could not
        }
    }
}

/// What is left of a timeout.
fn left(until: Deadline, ms: u32) -> u32 {
    match until.left() {
        None => ms,
        Some(left) => u32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u32::MAX - 1).min(ms),
    }
}

extern "win64" fn GetQueuedCompletionStatus(
    handle: usize,
    transferred: Ptr<u32>,
    key: Ptr<usize>,
    overlapped: Ptr<usize>,
    ms: u32,
) -> Bool {
    match take(handle, 1, ms, FALSE).map(|packets| packets.first().copied()) {
        Ok(Some(packet)) => {
            transferred.put(packet.transferred);
            key.put(packet.key);
            overlapped.put(packet.overlapped);
            match crate::nt::status::dos_error(packet.status as u32) {
                0 => TRUE,
                error => fail(error),
            }
        }
        Ok(None) => fail(WAIT_TIMEOUT),
        Err(error) => {
            overlapped.put(0);
            fail(error)
        }
    }
}

/// `OVERLAPPED_ENTRY`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    key: usize,
    overlapped: usize,
    internal: usize,
    transferred: u32,
}

const _: () = assert!(size_of::<Entry>() == 32);

extern "win64" fn GetQueuedCompletionStatusEx(
    handle: usize,
    entries: Ptr<Entry>,
    count: u32,
    removed: Ptr<u32>,
    ms: u32,
    alertable: Bool,
) -> Bool {
    if entries.is_null() || count == 0 {
        return fail(code::INVALID_PARAMETER);
    }
    match take(handle, count as usize, ms, alertable) {
        Ok(packets) => {
            for (nth, packet) in packets.iter().enumerate() {
                let Packet { key, overlapped, status, transferred } = *packet;
                entries.at(nth).set(Entry { key, overlapped, internal: status as usize, transferred });
            }
            removed.put(length(packets.len()));
            TRUE
        }
        Err(error) => {
            removed.put(0);
            fail(error)
        }
    }
}

table! {
    /// Completion ports.
    pub(crate) TABLE:
        CreateIoCompletionPort, PostQueuedCompletionStatus, GetQueuedCompletionStatus, GetQueuedCompletionStatusEx
}
