//! KERNEL32 and KERNELBASE: one table for each subject. Windows' own spellings are kept, so that a reader can look
//! every function up where it is documented.
#![allow(non_snake_case)]

pub(crate) mod atom;
pub(crate) mod calls;
pub(crate) mod changes;
pub(crate) mod child;
pub(crate) mod code;
pub(crate) mod console;
pub(crate) mod control;
pub(crate) mod copy;
pub(crate) mod datafile;
pub(crate) mod dates;
pub(crate) mod delay;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod fiber;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod heaps;
pub(crate) mod information;
pub(crate) mod job;
pub(crate) mod keys;
pub(crate) mod list;
pub(crate) mod locale;
pub(crate) mod locks;
pub(crate) mod lstr;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod module;
pub(crate) mod named;
pub(crate) mod old_files;
pub(crate) mod opened;
pub(crate) mod pictures;
pub(crate) mod pipe;
pub(crate) mod pool;
pub(crate) mod pool_functions;
pub(crate) mod port;
pub(crate) mod processors;
pub(crate) mod profile;
pub(crate) mod psapi;
pub(crate) mod queues;
pub(crate) mod resource;
pub(crate) mod screen;
pub(crate) mod search;
pub(crate) mod section;
pub(crate) mod sharing;
pub(crate) mod space;
pub(crate) mod strings;
pub(crate) mod suspend;
pub(crate) mod sync;
pub(crate) mod system;
pub(crate) mod thread;
pub(crate) mod thread_facts;
pub(crate) mod time;
pub(crate) mod timer;
pub(crate) mod tls;
pub(crate) mod toolhelp;
mod topology;
pub(crate) mod transfer;
pub(crate) mod tree;
mod utf7;
pub(crate) mod volume;
pub(crate) mod wait;
pub(crate) mod zones;

use loader_core::HostTable;

/// Windows' `BOOL`.
pub(crate) type Bool = i32;
/// Success.
pub(crate) const TRUE: Bool = 1;
/// Failure: the last error says why.
pub(crate) const FALSE: Bool = 0;

/// All of it.
pub(crate) const TABLES: &[HostTable] = &[
    atom::TABLE,
    child::TABLE,
    calls::TABLE,
    code::TABLE,
    crate::jump::KERNEL32,
    console::TABLE,
    control::TABLE,
    copy::TABLE,
    dates::TABLE,
    delay::TABLE,
    environment::TABLE,
    error::TABLE,
    crate::exception::functions::TABLE,
    crate::exception::registers::TABLE,
    crate::exception::scope::CRT,
    crate::exception::vectored::TABLE,
    fiber::TABLE,
    file::TABLE,
    find::TABLE,
    heaps::TABLE,
    information::TABLE,
    job::TABLE,
    keys::TABLE,
    list::TABLE,
    locale::TABLE,
    lstr::TABLE,
    locks::TABLE,
    memory::TABLE,
    crate::nt::memory::NEWER,
    message::TABLE,
    module::TABLE,
    named::TABLE,
    old_files::TABLE,
    profile::TABLE,
    psapi::TABLE,
    queues::TABLE,
    pictures::TABLE,
    pipe::TABLE,
    pool_functions::TABLE,
    port::TABLE,
    processors::TABLE,
    resource::TABLE,
    search::TABLE,
    screen::TABLE,
    section::TABLE,
    space::TABLE,
    strings::TABLE,
    suspend::TABLE,
    sync::TABLE,
    system::TABLE,
    thread::TABLE,
    thread_facts::TABLE,
    time::TABLE,
    timer::TABLE,
    tls::TABLE,
    toolhelp::TABLE,
    topology::TABLE,
    transfer::TABLE,
    tree::TABLE,
    volume::TABLE,
    wait::TABLE,
    zones::TABLE,
];

/// Fails with an error number.
pub(crate) fn fail(code: u32) -> Bool {
    crate::teb::set_last_error(code);
    FALSE
}

/// Turns a result into a `BOOL` and the last error.
pub(crate) fn answer(result: Result<(), u32>) -> Bool {
    result.map_or_else(fail, |()| TRUE)
}
