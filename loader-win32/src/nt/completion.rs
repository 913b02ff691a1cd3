//! Completion ports by their NT names, and jobs.

use super::{
    calls::milliseconds,
    file::{Attributes, Outcome},
    objects::{ask, create, done, object_for, open},
    status::{self, ACCESS_VIOLATION, INVALID_PARAMETER, SUCCESS},
    types::{MODIFY_STATE, QUERY_STATE},
};
use crate::{
    guest::Ptr,
    kernel32::port::{Packet, Port, post, take},
    object::{Kind, Object},
    text::length,
};
use std::sync::{Arc, Mutex};

/// How many threads run at a time is theirs to say: all of them that find something to do.
extern "win64" fn NtCreateIoCompletion(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    _threads: u32,
) -> u32 {
    create(out, access, attributes, Kind::Port(Port::default()))
}

extern "win64" fn NtOpenIoCompletion(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Port(_)))
}

fn port(handle: usize, access: u32) -> Result<Arc<Object>, u32> {
    let object = object_for(handle, 0)?;
    match object.kind {
        Kind::Port(_) => object_for(handle, access),
        _ => Err(status::OBJECT_TYPE_MISMATCH),
    }
}

extern "win64" fn NtSetIoCompletion(
    handle: usize,
    key: usize,
    value: usize,
    status: u32,
    count: usize,
) -> u32 {
    done(port(handle, MODIFY_STATE).map(|port| {
        let packet = Packet { key, overlapped: value, status: status.into(), transferred: length(count) };
        post(&port, packet);
    }))
}

/// What there was instead of a packet, as a status.
fn instead(error: u32) -> u32 {
    const ABANDONED: u32 = 0x80;
    match error {
        258 | 192 => error, // the time is over, or calls were made: the numbers are the same
        735 => ABANDONED,
        other => status::of(other),
    }
}

extern "win64" fn NtRemoveIoCompletion(
    handle: usize,
    key: Ptr<usize>,
    value: Ptr<usize>,
    outcome: Ptr<Outcome>,
    time: Ptr<i64>,
) -> u32 {
    if key.is_null() || value.is_null() || outcome.is_null() {
        return ACCESS_VIOLATION;
    }
    let taken = port(handle, MODIFY_STATE)
        .and_then(|_| take(handle, 1, milliseconds(time), 0).map_err(instead))
        .map(|packets| packets.first().copied());
    match taken {
        Ok(Some(packet)) => {
            key.set(packet.key);
            value.set(packet.overlapped);
            outcome.set(Outcome::new(packet.status as u32, packet.transferred.into()));
            SUCCESS
        }
        Ok(None) => status::TIMEOUT,
        Err(status) => status,
    }
}

/// `FILE_IO_COMPLETION_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Completion {
    key: usize,
    value: usize,
    outcome: Outcome,
}

extern "win64" fn NtRemoveIoCompletionEx(
    handle: usize,
    to: Ptr<Completion>,
    room: u32,
    removed: Ptr<u32>,
    time: Ptr<i64>,
    alertable: u8,
) -> u32 {
    if room == 0 {
        return INVALID_PARAMETER;
    }
    if to.is_null() || removed.is_null() {
        return ACCESS_VIOLATION;
    }
    let taken = port(handle, MODIFY_STATE)
        .and_then(|_| take(handle, room as usize, milliseconds(time), alertable.into()).map_err(instead));
    match taken {
        Ok(packets) => {
            for (nth, packet) in packets.iter().enumerate() {
                let outcome = Outcome::new(packet.status as u32, packet.transferred.into());
                to.at(nth).set(Completion { key: packet.key, value: packet.overlapped, outcome });
            }
            removed.set(length(packets.len()));
            SUCCESS
        }
        Err(status) => {
            removed.set(1); // as Windows counts where there is none
            status
        }
    }
}

extern "win64" fn NtQueryIoCompletion(
    handle: usize,
    class: u32,
    to: Ptr<u32>,
    room: u32,
    len: Ptr<u32>,
) -> u32 {
    ask(class, to, room, len, || {
        port(handle, QUERY_STATE).map(|object| match &object.kind {
            Kind::Port(port) => length(port.depth()),
            _ => 0,
        })
    })
}

extern "win64" fn NtCreateJobObject(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    create(out, access, attributes, Kind::Job(Mutex::default()))
}

extern "win64" fn NtOpenJobObject(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Job(_)))
}

table! {
    /// Completion ports and jobs.
    pub(crate) TABLE:
        NtCreateIoCompletion, ZwCreateIoCompletion = NtCreateIoCompletion, NtOpenIoCompletion,
        ZwOpenIoCompletion = NtOpenIoCompletion, NtSetIoCompletion, ZwSetIoCompletion = NtSetIoCompletion,
        NtRemoveIoCompletion, ZwRemoveIoCompletion = NtRemoveIoCompletion, NtRemoveIoCompletionEx,
        ZwRemoveIoCompletionEx = NtRemoveIoCompletionEx, NtQueryIoCompletion, ZwQueryIoCompletion = NtQueryIoCompletion,
        NtCreateJobObject, ZwCreateJobObject = NtCreateJobObject, NtOpenJobObject, ZwOpenJobObject = NtOpenJobObject
}
