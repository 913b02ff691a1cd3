//! What a module's C runtime start calls: tables of initialisers, tables of functions for the end, arguments, locks.
#![allow(unsafe_code)] // calls into the guest

use super::{
    files::{BINARY, FILE_MODE, TEXT},
    invalid::invalid,
};
use crate::{guest::Ptr, heap, lock, object::current_thread_id, process, teb, text};
use std::{
    ffi::CString,
    sync::{
        OnceLock,
        atomic::{
            AtomicI32, AtomicU32, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

/// An initialiser or terminator: no arguments; the result counts only where `_initterm_e` asks for it.
type Function = unsafe extern "win64" fn() -> i32;

fn call(f: usize) -> i32 {
    // SAFETY: guest code passed the address in a table of functions of this type.
    let f: Function = unsafe { std::mem::transmute(f) };
    // SAFETY: as above; no lock is held and nothing owned.
    unsafe { f() }
}

/// Calls what is not null from `first` up to `last`.
extern "win64" fn _initterm(first: Ptr<usize>, last: Ptr<usize>) {
    super::time::note_start();
    let n = (last.addr() - first.addr()) / 8;
    (0..n).map(|i| first.at(i).get()).filter(|&f| f != 0).for_each(|f| {
        call(f);
    });
}

/// The same, until one of them returns something else than zero.
extern "win64" fn _initterm_e(first: Ptr<usize>, last: Ptr<usize>) -> i32 {
    super::time::note_start();
    let n = (last.addr() - first.addr()) / 8;
    (0..n).map(|i| first.at(i).get()).filter(|&f| f != 0).map(call).find(|&r| r != 0).unwrap_or(0)
}

/// `_onexit_table_t`: where its functions begin and end, and where the room ends. The pointers are encoded.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table {
    first: u64,
    last: u64,
    end: u64,
}

fn decode(p: u64) -> usize {
    crate::kernel32::code::DecodePointer(p) as usize
}

fn encode(p: usize) -> u64 {
    crate::kernel32::code::EncodePointer(p as u64)
}

fn functions(at: usize) -> Ptr<usize> {
    // SAFETY: the address came out of a table that guest code keeps, and that only the functions below write to.
    unsafe { Ptr::new(std::ptr::with_exposed_provenance_mut(at)) }
}

/// One lock for all tables: they change rarely. It is never held while guest code runs.
static TABLES: std::sync::Mutex<()> = std::sync::Mutex::new(());

extern "win64" fn _initialize_onexit_table(table: Ptr<Table>) -> i32 {
    if table.is_null() {
        return -1;
    }
    let t = table.get();
    if t.first == t.end {
        let nothing = encode(0);
        table.set(Table { first: nothing, last: nothing, end: nothing });
    }
    0
}

extern "win64" fn _register_onexit_function(table: Ptr<Table>, f: usize) -> i32 {
    if table.is_null() {
        return -1;
    }
    let _one_at_a_time = lock(&TABLES);
    let t = table.get();
    let (mut first, mut last, mut end) = (decode(t.first), decode(t.last), decode(t.end));
    if last == end {
        let used = last - first;
        let room = (used * 2).max(32 * 8);
        let block = heap::resize(functions(first).cast(), room, false);
        if block.is_null() {
            return -1;
        }
        first = block.addr();
        (last, end) = (first + used, first + room);
    }
    functions(last).set(encode(f) as usize);
    table.set(Table { first: encode(first), last: encode(last + 8), end: encode(end) });
    0
}

/// Takes the newest function out of a table; a table without functions gives its room back.
fn pop(table: Ptr<Table>) -> Option<usize> {
    let _one_at_a_time = lock(&TABLES);
    let t = table.get();
    let (first, last) = (decode(t.first), decode(t.last));
    if last == first {
        heap::free(functions(first).cast());
        let nothing = encode(0);
        table.set(Table { first: nothing, last: nothing, end: nothing });
        return None;
    }
    table.set(Table { last: encode(last - 8), ..t });
    Some(decode(functions(last - 8).get() as u64))
}

/// Calls the functions, the newest first; one that registers another has it called too.
extern "win64" fn _execute_onexit_table(table: Ptr<Table>) -> i32 {
    if table.is_null() {
        return -1;
    }
    while let Some(f) = pop(table) {
        if f != 0 {
            call(f);
        }
    }
    0
}

/// msvcrt's older form: two pointers of the module, not encoded, and a table that ends exactly at the second.
extern "win64" fn __dllonexit(f: usize, first: Ptr<usize>, last: Ptr<usize>) -> usize {
    let _one_at_a_time = lock(&TABLES);
    let used = last.get() - first.get();
    let block = heap::resize(functions(first.get()).cast(), used + 8, false);
    if block.is_null() {
        return 0;
    }
    block.at(used).cast::<usize>().set(f);
    first.set(block.addr());
    last.set(block.addr() + used + 8);
    f
}

/// The process's own list: what the program, not a DLL, wants called at its end.
extern "win64" fn _crt_atexit(f: usize) -> i32 {
    lock(&teb::process().runtime.at_exit).push(f);
    0
}

extern "win64" fn _onexit(f: usize) -> usize {
    _crt_atexit(f);
    f
}

/// Lets the main thread's own objects go, and runs the process's own list, the newest first.
extern "win64" fn _cexit() {
    super::endings::thread_ends();
    loop {
        let next = lock(&teb::process().runtime.at_exit).pop();
        match next {
            Some(f) => call(f),
            None => return,
        };
    }
}

extern "win64" fn exit(code: i32) {
    _cexit();
    _exit(code)
}

/// Without the functions that wait for the end. Libraries are told all the same, as by `ExitProcess`.
extern "win64" fn _exit(code: i32) {
    teb::process().exit(code.cast_unsigned())
}

/// The default is a message and the code 3; a handler of the signal is called before.
pub(crate) extern "win64" fn abort() {
    super::signal::raise(super::signal::ABORT);
    _exit(3);
}

/// Says which of the runtime's own errors it was, and ends the program with 255.
extern "win64" fn _amsg_exit(number: i32) {
    eprintln!("runtime error {number}");
    _exit(255);
}

// Arguments.

/// Argument vectors: made once, because callers keep their addresses.
struct Arguments {
    count: i32,
    narrow: usize,
    wide: usize,
}

fn vector<T: 'static>(texts: Vec<Box<[T]>>) -> usize {
    let mut places: Vec<usize> =
        texts.into_iter().map(|t| Box::leak(t).as_ptr().expose_provenance()).collect();
    places.push(0);
    Box::leak(places.into_boxed_slice()).as_ptr().expose_provenance()
}

fn kept() -> &'static Arguments {
    static KEPT: OnceLock<Arguments> = OnceLock::new();
    KEPT.get_or_init(|| {
        let all = process::arguments();
        Arguments {
            count: all.len() as i32,
            narrow: vector(
                all.iter()
                    .map(|a| CString::new(a.as_str()).unwrap_or_default().into_bytes_with_nul().into())
                    .collect(),
            ),
            wide: vector(all.iter().map(|a| text::wide_z(a).into()).collect()),
        }
    })
}

extern "win64" fn __p___argc() -> *const i32 {
    &raw const kept().count
}

extern "win64" fn __p___argv() -> *const usize {
    &raw const kept().narrow
}

extern "win64" fn __p___wargv() -> *const usize {
    &raw const kept().wide
}

/// Makes the argument vectors, in whatever mode was asked for.
extern "win64" fn _configure_narrow_argv(_mode: i32) -> i32 {
    kept();
    0
}

/// The environment as a vector of `NAME=value`: a copy of this moment, as the first caller finds it.
fn environment() -> &'static [usize; 2] {
    static KEPT: OnceLock<[usize; 2]> = OnceLock::new();
    KEPT.get_or_init(|| {
        let lines = teb::process().environment.lines();
        [
            vector(
                lines
                    .iter()
                    .map(|l| CString::new(l.as_str()).unwrap_or_default().into_bytes_with_nul().into())
                    .collect(),
            ),
            vector(lines.iter().map(|l| text::wide_z(l).into()).collect()),
        ]
    })
}

extern "win64" fn _get_environ(out: Ptr<usize>) -> i32 {
    if out.is_null() {
        return invalid();
    }
    out.set(environment()[0]);
    0
}

extern "win64" fn _get_wenviron(out: Ptr<usize>) -> i32 {
    if out.is_null() {
        return invalid();
    }
    out.set(environment()[1]);
    0
}

extern "win64" fn __p__environ() -> *const usize {
    &raw const environment()[0]
}

extern "win64" fn __p__wenviron() -> *const usize {
    &raw const environment()[1]
}

extern "win64" fn _initialize_narrow_environment() -> i32 {
    environment();
    0
}

extern "win64" fn _get_initial_narrow_environment() -> usize {
    environment()[0]
}

extern "win64" fn _get_initial_wide_environment() -> usize {
    environment()[1]
}

// The runtime's own locks, by number: each can be taken several times by its thread.

struct Recursive {
    owner: AtomicU32,
    depth: AtomicUsize,
}

static LOCKS: [Recursive; 64] =
    [const { Recursive { owner: AtomicU32::new(0), depth: AtomicUsize::new(0) } }; 64];

fn numbered(number: i32) -> &'static Recursive {
    &LOCKS[number.unsigned_abs() as usize % LOCKS.len()]
}

impl Recursive {
    fn enter(&self) {
        let me = current_thread_id();
        let mut now = self.owner.load(Relaxed);
        while now != me {
            match self.owner.compare_exchange(0, me, Acquire, Relaxed) {
                Ok(_) => break,
                Err(other) => crate::futex::wait(&self.owner, other, crate::futex::Deadline::after(u32::MAX)),
            }
            now = self.owner.load(Relaxed);
        }
        self.depth.fetch_add(1, Relaxed);
    }

    fn leave(&self) {
        if self.owner.load(Relaxed) == current_thread_id() && self.depth.fetch_sub(1, Relaxed) == 1 {
            self.owner.store(0, Release);
            crate::futex::wake(&self.owner, 1);
        }
    }
}

extern "win64" fn _lock(number: i32) {
    numbered(number).enter();
}

extern "win64" fn _unlock(number: i32) {
    numbered(number).leave();
}

/// The number of the lock that guards the locale.
const LOCALE: i32 = 19;

extern "win64" fn _lock_locales() {
    _lock(LOCALE);
}

extern "win64" fn _unlock_locales() {
    _unlock(LOCALE);
}

/// Frees the names that C++ type information of a module had made for it.
pub(crate) extern "win64" fn __std_type_info_destroy_list(head: Ptr<u64>) {
    let mut next = if head.is_null() { 0 } else { list_take(head) };
    while next != 0 {
        let node = functions(next as usize);
        next = node.get() as u64;
        heap::free(node.cast());
    }
}

/// Takes all entries off a list header.
fn list_take(head: Ptr<u64>) -> u64 {
    crate::kernel32::list::InterlockedFlushSList(head.cast()) as u64
}

/// The program's path, for messages.
fn program_path() -> usize {
    static PATH: OnceLock<CString> = OnceLock::new();
    let path = PATH.get_or_init(|| CString::new(process::program_path()).unwrap_or_default());
    path.as_ptr().expose_provenance()
}

extern "win64" fn _get_pgmptr(out: Ptr<usize>) -> i32 {
    out.put(program_path());
    0
}

/// What kind of program it is: a console program, which changes nothing here.
extern "win64" fn _set_app_type(_kind: i32) {}

extern "win64" fn _getpid() -> i32 {
    std::process::id().cast_signed()
}

table! {
    /// The start and the end.
    pub(crate) TABLE:
        _initterm, _initterm_e, _onexit, atexit = _crt_atexit, _cexit, exit, _exit, abort, _lock, _unlock, __p___argc, __p___argv,
        __p___wargv, __p__environ, __p__wenviron, _get_pgmptr, _getpid, _lock_locales, _unlock_locales
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        _initialize_onexit_table, _register_onexit_function, _execute_onexit_table, _crt_atexit,
        _crt_at_quick_exit = _crt_atexit, _c_exit = _nothing, _configure_narrow_argv,
        _configure_wide_argv = _configure_narrow_argv, _initialize_narrow_environment,
        _initialize_wide_environment = _initialize_narrow_environment, _get_initial_narrow_environment,
        _get_initial_wide_environment, __std_type_info_destroy_list, _set_app_type,
        _get_narrow_winmain_command_line, _get_wide_winmain_command_line, __p__acmdln, __p__wcmdln, __p__pgmptr, __p__fmode, __p__commode, _get_fmode, _set_fmode, _Exit = _exit, quick_exit = _exit
}

extern "win64" fn __p__acmdln() -> *const AtomicUsize {
    COMMAND_LINE.store(crate::kernel32::environment::GetCommandLineA().expose_provenance(), Relaxed);
    &raw const COMMAND_LINE
}

extern "win64" fn __p__wcmdln() -> *const AtomicUsize {
    static WIDE: AtomicUsize = AtomicUsize::new(0);
    WIDE.store(crate::kernel32::environment::GetCommandLineW().expose_provenance(), Relaxed);
    &raw const WIDE
}

/// How many elements of a command line are the program's name and the blanks behind it; quotes hide blanks.
fn program_len<T: Copy + PartialEq + From<u8>>(line: &[T]) -> usize {
    let mut quoted = false;
    let blank = |c: &T| *c == T::from(b' ') || *c == T::from(b'\t');
    let name = line.iter().take_while(|c| {
        quoted ^= **c == T::from(b'"');
        quoted || !blank(c)
    });
    let name = name.count();
    name + line[name..].iter().take_while(|c| blank(c)).count()
}

/// What `WinMain` is given: the command line without the program's name.
extern "win64" fn _get_narrow_winmain_command_line() -> *const u8 {
    let line =
        Ptr::<u8>::from_guest(crate::kernel32::environment::GetCommandLineA().expose_provenance() as u64);
    line.at(program_len(line.text())).raw()
}

extern "win64" fn _get_wide_winmain_command_line() -> *const u16 {
    let line =
        Ptr::<u16>::from_guest(crate::kernel32::environment::GetCommandLineW().expose_provenance() as u64);
    line.at(program_len(&line.text())).raw()
}

extern "win64" fn __p__pgmptr() -> *const AtomicUsize {
    PROGRAM_PATH.store(program_path(), Relaxed);
    &raw const PROGRAM_PATH
}

extern "win64" fn __p__fmode() -> *const AtomicI32 {
    &raw const FILE_MODE
}

extern "win64" fn __p__commode() -> *const AtomicU32 {
    &raw const COMMIT_MODE
}

extern "win64" fn _get_fmode(out: Ptr<i32>) -> i32 {
    out.put(FILE_MODE.load(Relaxed));
    0
}

extern "win64" fn _set_fmode(mode: i32) -> i32 {
    if ![TEXT, BINARY].contains(&mode) {
        return invalid();
    }
    FILE_MODE.store(mode, Relaxed);
    0
}

/// What `_c_exit` leaves to do: nothing.
extern "win64" fn _nothing() {}

/// Variables of msvcrt: how files are opened (without commit), the environment as `main` is given it.
static COMMIT_MODE: AtomicU32 = AtomicU32::new(0);
static INITIAL_ENVIRONMENT: AtomicUsize = AtomicUsize::new(0);
/// ... and the command line.
static COMMAND_LINE: AtomicUsize = AtomicUsize::new(0);

/// ... the arguments and the environment again, by other names, and the program's path.
static COUNT: AtomicI32 = AtomicI32::new(0);
static ARGUMENTS: AtomicUsize = AtomicUsize::new(0);
static WIDE_ARGUMENTS: AtomicUsize = AtomicUsize::new(0);
static VARIABLES: AtomicUsize = AtomicUsize::new(0);
static WIDE_VARIABLES: AtomicUsize = AtomicUsize::new(0);
static WIDE_INITIAL_ENVIRONMENT: AtomicUsize = AtomicUsize::new(0);
static PROGRAM_PATH: AtomicUsize = AtomicUsize::new(0);

/// Gives msvcrt's variables their values: the start asks for the arguments before anything else.
fn set_variables() {
    COUNT.store(kept().count, Relaxed);
    ARGUMENTS.store(kept().narrow, Relaxed);
    WIDE_ARGUMENTS.store(kept().wide, Relaxed);
    VARIABLES.store(environment()[0], Relaxed);
    WIDE_VARIABLES.store(environment()[1], Relaxed);
    PROGRAM_PATH.store(program_path(), Relaxed);
    __p__acmdln();
    super::time::set_variables();
}

/// What `main` is given. Whether patterns among the arguments are to be expanded is not looked at: nobody has asked a
/// shell to leave them.
extern "win64" fn __getmainargs(
    count: Ptr<i32>,
    arguments: Ptr<usize>,
    variables: Ptr<usize>,
    _expand: i32,
    _start: usize,
) -> i32 {
    set_variables();
    count.put(kept().count);
    arguments.put(kept().narrow);
    variables.put(environment()[0]);
    0
}

extern "win64" fn __wgetmainargs(
    count: Ptr<i32>,
    arguments: Ptr<usize>,
    variables: Ptr<usize>,
    _expand: i32,
    _start: usize,
) -> i32 {
    set_variables();
    count.put(kept().count);
    arguments.put(kept().wide);
    variables.put(environment()[1]);
    0
}

table! {
    /// What msvcrt has.
    pub(crate) MSVCRT: __dllonexit, _amsg_exit, __set_app_type = _set_app_type, __getmainargs, __wgetmainargs,
        _fmode = &raw const FILE_MODE, _commode = &raw const COMMIT_MODE, __initenv = &raw const INITIAL_ENVIRONMENT,
        _acmdln = &raw const COMMAND_LINE, __p__fmode, __p__commode, __p__acmdln, __p__wcmdln, _c_exit = _nothing,
        __argc = &raw const COUNT, __argv = &raw const ARGUMENTS, __wargv = &raw const WIDE_ARGUMENTS,
        _environ = &raw const VARIABLES, _wenviron = &raw const WIDE_VARIABLES, __winitenv = &raw const WIDE_INITIAL_ENVIRONMENT,
        _pgmptr = &raw const PROGRAM_PATH, _get_environ, _get_wenviron
}
