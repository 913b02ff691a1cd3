//! Reading and writing: at once, or with an `OVERLAPPED` in which the outcome stands. Whatever is begun is done when the call
//! returns, so there is nothing that could be pending, or be cancelled.

use super::{
    Bool, FALSE, TRUE, answer,
    error::{code, from_os},
    fail,
    file::{APPEND_DATA, READ_DATA, WRITE_DATA, needs, on_file},
    named::SetEvent,
    opened::{SKIP_PORT_ON_SUCCESS, Told},
    pool::Transfer,
    port::{self, Packet},
    wait::{WaitForSingleObject, object},
};
use crate::{
    guest::Ptr,
    object::{Call, INHERIT, Kind, Object},
    teb,
    text::length,
};
use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::{FileExt, FileTypeExt},
    sync::atomic::Ordering::Relaxed,
};

const STATUS_PENDING: u64 = 0x103;
const STATUS_END_OF_FILE: u64 = 0xc000_0011;
const NO_DATA: u32 = 232;

/// `OVERLAPPED`: what is read or written at a place of the caller's choice is done when the call returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Overlapped {
    status: u64,
    transferred: u64,
    offset: u64,
    event: usize,
}

impl Overlapped {
    /// The place in the file.
    pub(crate) fn offset(self) -> u64 {
        self.offset
    }
}

/// Whether its other end may be closed, and where it is read or written is not a question.
pub(super) fn is_pipe(file: &File) -> bool {
    file.metadata().is_ok_and(|m| m.file_type().is_fifo() || m.file_type().is_socket())
}

/// Tries at a place; what has no places is read or written as it comes.
fn at_place(result: io::Result<usize>, otherwise: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) if e.raw_os_error() == Some(libc::ESPIPE) => otherwise(),
        other => other,
    }
}

/// Whether memory that the guest allocated itself cannot be had for a transfer: it is not there, or may not be read, or
/// written to. Of other memory this is found out when it is used.
fn refuses(at: Ptr<u8>, len: u32, writes: bool) -> bool {
    const COMMITTED: u32 = 0x1000;
    const WRITABLE: u32 = 0xcc;
    const READABLE: u32 = WRITABLE | 0x22;
    const GUARD: u32 = 0x100;
    let memory = &teb::process().memory;
    let mut page = at.addr() as u64;
    let end = page.saturating_add(len.into());
    while page < end && memory.has(page) {
        let info = memory.query(page);
        let wanted = if writes { WRITABLE } else { READABLE };
        if info.state != COMMITTED || info.protect & GUARD != 0 || info.protect & wanted == 0 {
            return true;
        }
        page = info.base.saturating_add(info.size.max(1));
    }
    false
}

/// Reads, at a place or where the file stands; nothing at all means that the file ends here.
pub(crate) fn read(handle: usize, to: Ptr<u8>, len: u32, offset: Option<u64>) -> Result<usize, u32> {
    needs(handle, READ_DATA)?;
    if len != 0 && (to.is_null() || refuses(to, len, true)) {
        return Err(code::NOACCESS);
    }
    let mut buffer = vec![0; len as usize];
    let (n, pipe) = on_file(handle, |f| {
        let mut file = f;
        let n = match offset {
            None => file.read(&mut buffer),
            Some(at) => at_place(f.read_at(&mut buffer, at), || file.read(&mut buffer)),
        };
        Ok((n?, is_pipe(f)))
    })
    .map_err(|e| not_permitted(handle, e))?;
    if n == 0 && len != 0 && pipe {
        return Err(code::BROKEN_PIPE);
    }
    to.fill(&buffer[..n]);
    Ok(n)
}

/// Writes all of it, at a place or where the file stands.
pub(crate) fn write(handle: usize, from: Ptr<u8>, len: u32, offset: Option<u64>) -> Result<usize, u32> {
    const INVALID_USER_BUFFER: u32 = 1784;
    needs(handle, WRITE_DATA | APPEND_DATA)?;
    if len != 0 && (from.is_null() || refuses(from, len, false)) {
        return Err(INVALID_USER_BUFFER);
    }
    let bytes = from.slice(len as usize);
    on_file(handle, |f| {
        let mut file = f;
        match offset {
            None => file.write_all(&bytes).map(|()| bytes.len()),
            Some(at) => at_place(f.write_all_at(&bytes, at).map(|()| bytes.len()), || {
                file.write_all(&bytes).map(|()| bytes.len())
            }),
        }
    })
    .map_err(|e| if e == code::BROKEN_PIPE { NO_DATA } else { not_permitted(handle, e) })
}

/// A file that was not opened for this is a bad descriptor of the host's, though its handle is a good one.
fn not_permitted(handle: usize, error: u32) -> u32 {
    let is_file = object(handle).is_ok_and(|object| matches!(object.kind, Kind::File(_)));
    if is_file && error == code::INVALID_HANDLE { code::ACCESS_DENIED } else { error }
}

/// The place that an `OVERLAPPED` names.
fn place(overlapped: Ptr<Overlapped>) -> Option<u64> {
    (!overlapped.is_null()).then(|| overlapped.get().offset)
}

/// Tells whoever learns of what is done with a file.
pub(super) fn tell(told: &Told, overlapped: Ptr<Overlapped>, status: u32, n: usize) {
    let overlapped = overlapped.addr();
    match told {
        Told::Port(port, key) => {
            let packet = Packet { key: *key, overlapped, status: status.into(), transferred: length(n) };
            port::post(port, packet);
        }
        Told::Item(id) => teb::process().pool.transferred(*id, Transfer { overlapped, status, bytes: n }),
    }
}

/// Says in an `OVERLAPPED` that all is done, and tells those who asked for that: its event, and the file's port.
pub(super) fn finish(handle: usize, overlapped: Ptr<Overlapped>, n: usize) {
    if overlapped.is_null() {
        return;
    }
    let o = overlapped.get();
    overlapped.set(Overlapped { status: 0, transferred: n as u64, ..o });
    if o.event & !1 != 0 {
        SetEvent(o.event & !1);
    }
    let Ok(object) = object(handle) else { return };
    if o.event & 1 == 0
        && object.opened.modes.load(Relaxed) & SKIP_PORT_ON_SUCCESS == 0
        && let Some(told) = object.opened.told.get()
    {
        tell(told, overlapped, 0, n);
    }
}

extern "win64" fn ReadFile(
    handle: usize,
    to: Ptr<u8>,
    len: u32,
    done: Ptr<u32>,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    done.put(0);
    answer(read(handle, to, len, place(overlapped)).and_then(|n| {
        done.put(length(n));
        if n == 0 && len != 0 && !overlapped.is_null() {
            overlapped.set(Overlapped { status: STATUS_END_OF_FILE, transferred: 0, ..overlapped.get() });
            return Err(code::HANDLE_EOF);
        }
        finish(handle, overlapped, n);
        Ok(())
    }))
}

extern "win64" fn WriteFile(
    handle: usize,
    from: Ptr<u8>,
    len: u32,
    done: Ptr<u32>,
    overlapped: Ptr<Overlapped>,
) -> Bool {
    done.put(0);
    answer(write(handle, from, len, place(overlapped)).map(|n| {
        done.put(length(n));
        finish(handle, overlapped, n);
    }))
}

/// Leaves the completion's call for the calling thread, which makes it when it next waits and may be disturbed.
fn call_later(routine: usize, overlapped: Ptr<Overlapped>, n: usize) {
    overlapped.set(Overlapped { status: 0, transferred: n as u64, ..overlapped.get() });
    let thread = teb::process().objects.current_thread();
    thread.call(Call { function: routine, arguments: [0, n, overlapped.addr()] });
}

extern "win64" fn ReadFileEx(
    handle: usize,
    to: Ptr<u8>,
    len: u32,
    overlapped: Ptr<Overlapped>,
    routine: usize,
) -> Bool {
    if overlapped.is_null() || routine == 0 {
        return fail(code::INVALID_PARAMETER);
    }
    teb::set_last_error(0);
    answer(read(handle, to, len, place(overlapped)).and_then(|n| {
        if n == 0 && len != 0 {
            return Err(code::HANDLE_EOF);
        }
        call_later(routine, overlapped, n);
        Ok(())
    }))
}

extern "win64" fn WriteFileEx(
    handle: usize,
    from: Ptr<u8>,
    len: u32,
    overlapped: Ptr<Overlapped>,
    routine: usize,
) -> Bool {
    if overlapped.is_null() || routine == 0 {
        return fail(code::INVALID_PARAMETER);
    }
    teb::set_last_error(0);
    answer(write(handle, from, len, place(overlapped)).map(|n| call_later(routine, overlapped, n)))
}

/// What came of a transfer. One that somebody else has marked as pending is waited for by its event, or the file's handle.
extern "win64" fn GetOverlappedResult(
    handle: usize,
    overlapped: Ptr<Overlapped>,
    transferred: Ptr<u32>,
    wait: Bool,
) -> Bool {
    GetOverlappedResultEx(handle, overlapped, transferred, if wait == FALSE { 0 } else { u32::MAX }, FALSE)
}

extern "win64" fn GetOverlappedResultEx(
    handle: usize,
    overlapped: Ptr<Overlapped>,
    transferred: Ptr<u32>,
    ms: u32,
    _alertable: Bool,
) -> Bool {
    const IO_INCOMPLETE: u32 = 996;
    if overlapped.get().status == STATUS_PENDING {
        let event = overlapped.get().event & !1;
        if ms == 0 {
            return fail(IO_INCOMPLETE);
        }
        match WaitForSingleObject(if event == 0 { handle } else { event }, ms) {
            0 if overlapped.get().status != STATUS_PENDING => {}
            u32::MAX => return FALSE,
            _ => return fail(IO_INCOMPLETE),
        }
    }
    let o = overlapped.get();
    transferred.put(o.transferred as u32);
    match crate::nt::status::dos_error(o.status as u32) {
        0 => TRUE,
        error => fail(error),
    }
}

/// Nothing of this thread's is under way.
extern "win64" fn CancelIo(handle: usize) -> Bool {
    answer(on_file(handle, |_| Ok(())))
}

/// Nothing is under way that could be found.
extern "win64" fn CancelIoEx(handle: usize, _overlapped: usize) -> Bool {
    answer(on_file(handle, |_| Ok(())).and(Err(1168))) // ERROR_NOT_FOUND
}

/// What was said stays said.
extern "win64" fn SetFileCompletionNotificationModes(handle: usize, modes: u8) -> Bool {
    const SKIP_SET_EVENT_ON_HANDLE: u8 = 2;
    if modes & !(SKIP_PORT_ON_SUCCESS | SKIP_SET_EVENT_ON_HANDLE) != 0 {
        return fail(code::INVALID_PARAMETER);
    }
    answer(object(handle).and_then(|object| match &object.kind {
        Kind::File(_) => {
            object.opened.modes.fetch_or(modes, Relaxed);
            Ok(())
        }
        _ => Err(code::INVALID_HANDLE),
    }))
}

/// `SECURITY_ATTRIBUTES`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Security {
    length: u32,
    descriptor: usize,
    pub inherit: Bool,
}

/// A pipe; the host decides how much it holds.
extern "win64" fn CreatePipe(
    read: Ptr<usize>,
    write: Ptr<usize>,
    security: Ptr<Security>,
    _size: u32,
) -> Bool {
    if read.is_null() || write.is_null() {
        return fail(code::NOACCESS);
    }
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    answer(pipe.map_err(|e| from_os(e.raw_os_error())).map(|(reader, writer)| {
        let objects = &teb::process().objects;
        let inherit = !security.is_null() && security.get().inherit != FALSE;
        for (out, end, access) in [(read, reader, READ_DATA), (write, writer, WRITE_DATA)] {
            let object: std::sync::Arc<Object> = objects.make(Kind::File(File::from(end)));
            object.opened.access.store(access, Relaxed);
            let handle = objects.add(object);
            objects.set_flags(handle, INHERIT, inherit.into());
            out.set(handle);
        }
    }))
}

table! {
    /// Reading and writing.
    pub(crate) TABLE:
        ReadFile, WriteFile, ReadFileEx, WriteFileEx, GetOverlappedResult, GetOverlappedResultEx, CancelIo, CancelIoEx,
        SetFileCompletionNotificationModes, CreatePipe
}
