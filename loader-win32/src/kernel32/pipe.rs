//! Pipes without names, as those that standard files are: how they are read, and what is in them. There are no named ones.

use super::{Bool, answer, error::code, fail, file::on_file, transfer::is_pipe};
use crate::{guest::Ptr, text::length};
use rustix::{
    io::ioctl_fionread,
    pipe::{SpliceFlags, pipe, tee},
};
use std::{
    fs::File,
    io::{self, Read},
};

const INVALID_FUNCTION: u32 = 1;
const NO_WAIT: u32 = 1;
const MESSAGES: u32 = 2;

/// That a handle is one of a pipe.
fn of_pipe<R>(handle: usize, f: impl FnOnce(&File) -> io::Result<R>) -> Result<R, u32> {
    on_file(handle, |file| Ok(if is_pipe(file) { Some(f(file)?) } else { None }))
        .and_then(|result| result.ok_or(INVALID_FUNCTION))
}

/// A pipe is read byte by byte, and who reads waits: that may be asked for, and nothing else.
extern "win64" fn SetNamedPipeHandleState(
    handle: usize,
    mode: Ptr<u32>,
    collected: Ptr<u32>,
    time: Ptr<u32>,
) -> Bool {
    answer(of_pipe(handle, |_| Ok(())).and_then(|()| match () {
        () if !collected.is_null() || !time.is_null() => Err(code::INVALID_PARAMETER),
        () if mode.is_null() || mode.get() == 0 => Ok(()),
        () if mode.get() & !(NO_WAIT | MESSAGES) != 0 || mode.get() & MESSAGES != 0 => {
            Err(code::INVALID_PARAMETER)
        }
        () => Err(code::NOT_SUPPORTED),
    }))
}

/// What is collected before it is sent, and when, only an end on another machine has; a user's name has the server's.
fn state(handle: usize, numbers: [Ptr<u32>; 2], others: [bool; 3]) -> Bool {
    answer(of_pipe(handle, |_| Ok(())).and_then(|()| match others {
        [false, false, false] => {
            let [mode, instances] = numbers;
            mode.put(0);
            instances.put(1);
            Ok(())
        }
        _ => Err(code::INVALID_PARAMETER),
    }))
}

extern "win64" fn GetNamedPipeHandleStateA(
    handle: usize,
    mode: Ptr<u32>,
    instances: Ptr<u32>,
    collected: Ptr<u32>,
    time: Ptr<u32>,
    user: Ptr<u8>,
    _room: u32,
) -> Bool {
    state(handle, [mode, instances], [!collected.is_null(), !time.is_null(), !user.is_null()])
}

extern "win64" fn GetNamedPipeHandleStateW(
    handle: usize,
    mode: Ptr<u32>,
    instances: Ptr<u32>,
    collected: Ptr<u32>,
    time: Ptr<u32>,
    user: Ptr<u16>,
    _room: u32,
) -> Bool {
    state(handle, [mode, instances], [!collected.is_null(), !time.is_null(), !user.is_null()])
}

/// What kind of pipe it is: this end did not make it, and messages are bytes.
extern "win64" fn GetNamedPipeInfo(
    handle: usize,
    flags: Ptr<u32>,
    room_out: Ptr<u32>,
    room_in: Ptr<u32>,
    instances: Ptr<u32>,
) -> Bool {
    const ROOM: u32 = 0x1_0000;
    answer(of_pipe(handle, |_| Ok(())).map(|()| {
        flags.put(0);
        room_out.put(ROOM);
        room_in.put(ROOM);
        instances.put(1);
    }))
}

/// The bytes that a pipe has next, without taking them away: the host copies them into another pipe.
fn next_bytes(from: &File, room: usize) -> io::Result<Vec<u8>> {
    let (mut reader, writer) = pipe().map(|(reader, writer)| (File::from(reader), writer))?;
    let n = tee(from, &writer, room, SpliceFlags::NONBLOCK)?;
    let mut bytes = vec![0; n];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether nobody can write into it any more, and nothing is left.
fn is_over(file: &File) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&zero)).is_ok()
        && polled[0].revents().contains(PollFlags::HUP)
        && !polled[0].revents().contains(PollFlags::IN)
}

extern "win64" fn PeekNamedPipe(
    handle: usize,
    to: Ptr<u8>,
    room: u32,
    read: Ptr<u32>,
    available: Ptr<u32>,
    left: Ptr<u32>,
) -> Bool {
    let found = of_pipe(handle, |file| {
        let there = ioctl_fionread(file)?;
        let wanted = if to.is_null() { 0 } else { there.min(room.into()).min(0x1_0000) };
        let bytes = if wanted == 0 { Vec::new() } else { next_bytes(file, wanted as usize)? };
        Ok((u32::try_from(there).unwrap_or(u32::MAX), bytes, is_over(file)))
    });
    answer(found.and_then(|(there, bytes, over)| {
        if over {
            return Err(code::BROKEN_PIPE);
        }
        to.fill(&bytes);
        read.put(length(bytes.len()));
        available.put(there);
        left.put(0);
        Ok(())
    }))
}

/// Nobody else's pipes can be known by name, and so none can be made for them.
extern "win64" fn CreateNamedPipeW() -> usize {
    fail(code::NOT_SUPPORTED);
    usize::MAX
}

/// No pipe of that name is there.
extern "win64" fn WaitNamedPipeW() -> Bool {
    fail(code::FILE_NOT_FOUND)
}

/// Mailslots are pipes of messages by another name: there are none either.
extern "win64" fn GetMailslotInfo(
    handle: usize,
    _most: Ptr<u32>,
    _next: Ptr<u32>,
    _count: Ptr<u32>,
    _time: Ptr<u32>,
) -> Bool {
    let _ = handle;
    fail(code::INVALID_HANDLE)
}

extern "win64" fn SetMailslotInfo(handle: usize, _time: u32) -> Bool {
    GetMailslotInfo(handle, Ptr::NULL, Ptr::NULL, Ptr::NULL, Ptr::NULL)
}

/// Only the end that was made with a name can do this.
extern "win64" fn not_a_server(handle: usize) -> Bool {
    answer(of_pipe(handle, |_| Ok(())).and(Err(INVALID_FUNCTION)))
}

table! {
    /// Pipes.
    pub(crate) TABLE:
        SetNamedPipeHandleState, GetNamedPipeHandleStateA, GetNamedPipeHandleStateW, GetNamedPipeInfo, PeekNamedPipe,
        CreateNamedPipeA = CreateNamedPipeW, CreateNamedPipeW, WaitNamedPipeA = WaitNamedPipeW, WaitNamedPipeW,
        CreateMailslotA = CreateNamedPipeW, CreateMailslotW = CreateNamedPipeW, GetMailslotInfo, SetMailslotInfo,
        ConnectNamedPipe = not_a_server, DisconnectNamedPipe = not_a_server,
        GetNamedPipeClientProcessId = not_a_server, GetNamedPipeServerProcessId = not_a_server
}
