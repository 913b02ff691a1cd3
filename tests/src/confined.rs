//! What a confined process tries, scene by scene. `confined` plays a scene in a process that it confines and says what
//! became of it; what should become of it is in `tests/confinement.rs`.
//!
//! Unsafe because these are system calls that nobody in his right mind makes, some of them from machine code.
#![allow(unsafe_code)]

use crate::{runner, subject::Ours};
use libc::c_long;
use loader_sandbox::confine::{Enforced, Limits, NoMoreProcesses, Policy, Refusal, Require, no_new_code};
use serde::{Deserialize, Serialize};
use std::{
    arch::asm,
    env,
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    net::TcpStream,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::PathBuf,
    process::Command,
    ptr, thread,
    time::Duration,
};

/// What is tried, and under which policy.
#[derive(Debug)]
pub struct Scene {
    /// Its name, for the command line.
    pub name: &'static str,
    /// How the process is confined.
    pub policy: fn() -> Policy,
    /// What it does then.
    pub play: fn(),
}

/// All of them.
pub const SCENES: &[Scene] = &[
    Scene { name: "nothing", policy: everything, play: || {} },
    Scene { name: "all-required", policy: all_required, play: || say("alive", Ok(())) },
    Scene { name: "claims", policy: everything, play: claims },
    Scene { name: "files", policy: one_folder, play: files },
    Scene { name: "read-only", policy: supervised, play: read_only },
    Scene { name: "nothing-to-read", policy: nothing_to_read, play: read_only },
    Scene { name: "sockets", policy: supervised, play: sockets },
    Scene { name: "network", policy: network, play: sockets },
    Scene { name: "processes", policy: supervised, play: processes },
    Scene { name: "copies", policy: copies, play: copies_and_no_more },
    Scene { name: "signals", policy: supervised, play: signals },
    Scene { name: "abort", policy: supervised, play: || std::process::abort() },
    Scene { name: "code", policy: supervised, play: code },
    Scene { name: "writable-code", policy: writable_code, play: code },
    Scene { name: "raw", policy: supervised, play: raw },
    Scene { name: "foreign", policy: supervised, play: foreign },
    Scene { name: "privileges", policy: supervised, play: privileges },
    Scene { name: "descriptors", policy: supervised, play: descriptors },
    Scene { name: "memory", policy: everything, play: memory },
    Scene { name: "spin", policy: one_second, play: spin },
    Scene { name: "file-size", policy: everything, play: file_size },
    Scene { name: "open-files", policy: everything, play: open_files },
    Scene { name: "threads", policy: everything, play: threads },
    Scene { name: "unsupervised", policy: Policy::default, play: sockets },
    Scene { name: "orphan", policy: one_folder, play: orphan },
    Scene { name: "engine", policy: corpus_folder, play: engine },
];

/// What became of a scene.
#[derive(Debug, Serialize, Deserialize)]
pub struct Account {
    /// What was enforced; or why the process did not go on.
    pub enforced: Result<Enforced, Refusal>,
    /// What it said, line by line.
    pub said: Vec<String>,
    /// The calls of which the supervisor heard.
    pub refused: Vec<String>,
    /// The code with which it exited by itself.
    pub exit: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// A variable that names a folder which the scene may write to.
pub const FOLDER: &str = "CONFINED_FOLDER";
/// A variable that names a TCP port of this machine at which somebody listens.
pub const PORT: &str = "CONFINED_PORT";
/// A descriptor that is open when the process is confined, without being meant to be.
pub const LEAKED: i32 = 77;

fn supervised() -> Policy {
    Policy { supervised: true, ..Policy::default() }
}

fn everything() -> Policy {
    let limits = Limits {
        memory: Some(1 << 30),
        cpu: Some(60),
        file_size: Some(1 << 20),
        open_files: Some(64),
        tasks: Some(16),
    };
    Policy { limits, ..supervised() }
}

fn all_required() -> Policy {
    Policy { require: Require::All, ..everything() }
}

fn one_folder() -> Policy {
    Policy { write: vec![folder()], ..supervised() }
}

fn nothing_to_read() -> Policy {
    Policy { read: vec![], ..supervised() }
}

fn network() -> Policy {
    Policy { network: true, ..supervised() }
}

fn copies() -> Policy {
    Policy { processes: true, ..supervised() }
}

fn writable_code() -> Policy {
    Policy { write_xor_execute: false, ..supervised() }
}

fn one_second() -> Policy {
    Policy { limits: Limits { cpu: Some(1), ..Limits::default() }, ..supervised() }
}

fn corpus_folder() -> Policy {
    let mut policy = supervised();
    policy.read.push(corpus::root());
    policy
}

fn folder() -> PathBuf {
    env::var_os(FOLDER).expect("a folder").into()
}

/// Says what became of an attempt: `what: ok` or `what: EPERM`.
fn say<T>(what: impl Display, result: io::Result<T>) {
    let name = match result.as_ref().map_err(io::Error::raw_os_error) {
        Ok(_) => "ok".to_owned(),
        Err(Some(libc::EPERM)) => "EPERM".to_owned(),
        Err(Some(libc::EACCES)) => "EACCES".to_owned(),
        Err(Some(libc::ENOENT)) => "ENOENT".to_owned(),
        Err(Some(libc::EROFS)) => "EROFS".to_owned(),
        Err(Some(libc::EBADF)) => "EBADF".to_owned(),
        Err(Some(libc::ENOMEM)) => "ENOMEM".to_owned(),
        Err(Some(libc::EMFILE)) => "EMFILE".to_owned(),
        Err(Some(libc::EAGAIN)) => "EAGAIN".to_owned(),
        Err(Some(libc::ENETUNREACH)) => "ENETUNREACH".to_owned(),
        Err(other) => format!("{other:?}"),
    };
    println!("{what}: {name}");
}

/// A system call by the C library.
fn call(number: c_long, arguments: [c_long; 4]) -> io::Result<c_long> {
    let [a, b, c, d] = arguments;
    // SAFETY: what the scenes ask for is refused, or does no harm; addresses among the arguments are of things that live.
    match unsafe { libc::syscall(number, a, b, c, d) } {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// One attempt for each thing that is said to be kept from happening, made otherwise than the probe makes it.
fn claims() {
    say("files", fs::read("/etc/passwd"));
    let port = env::var(PORT).expect("a port").parse().expect("a number");
    say("network", TcpStream::connect(("127.0.0.1", port)));
    let parent = c_long::from(rustix::process::getppid().expect("a parent").as_raw_nonzero().get());
    say("signals", call(libc::SYS_kill, [parent, libc::SIGCONT.into(), 0, 0]));
    say(
        "processes",
        Command::new("/proc/self/exe").arg("no-such-scene").spawn().and_then(|mut child| child.wait()),
    );
    say("code", map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC));
}

fn files() {
    let inside = folder().join("inside");
    say("write inside", fs::write(&inside, "text"));
    say("read inside", fs::read(&inside));
    say("folder inside", fs::create_dir(folder().join("sub")));
    say("rename inside", fs::rename(&inside, folder().join("sub/moved")));
    say("mode inside", fs::set_permissions(folder(), fs::Permissions::from_mode(0o700)));
    let outside = folder().parent().expect("a folder around it").join("outside");
    say("write outside", fs::write(&outside, "text"));
    say("read outside", fs::read("/etc/passwd"));
    say("read a library", File::open("/proc/self/maps"));
    say("rename outside", fs::rename(folder().join("sub/moved"), outside));
}

fn read_only() {
    say("read", File::open("/etc/ld.so.cache"));
    say("write", File::options().append(true).open("/etc/ld.so.cache"));
    say("remove", fs::remove_file("/etc/ld.so.cache"));
}

fn sockets() {
    say("tcp", call(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0, 0]));
    say("unix", call(libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, 0]));
    let thread =
        thread::spawn(|| call(libc::SYS_socket, [libc::AF_INET6.into(), libc::SOCK_DGRAM.into(), 0, 0]));
    say("udp in a thread", thread.join().expect("no panic"));
    say("pair", std::os::unix::net::UnixStream::pair());
    say("pair of datagrams", std::os::unix::net::UnixDatagram::pair());
}

fn fork() -> io::Result<()> {
    // SAFETY: the process has one thread.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: ends the copy; nothing is called or flushed.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn processes() {
    say("fork", fork());
    say("spawn", Command::new("/bin/true").status());
    let null = ptr::null::<u8>().addr() as c_long;
    say("exec", call(libc::SYS_execve, [null, null, null, 0]));
    say("namespace", call(libc::SYS_clone, [(libc::CLONE_THREAD | libc::CLONE_NEWUSER).into(), 0, 0, 0]));
    say("thread", thread::Builder::new().spawn(|| 1).map(|thread| thread.join().expect("no panic")));
}

fn copies_and_no_more() {
    say("fork", fork());
    NoMoreProcesses::prepare().and_then(|mut filter| filter.enforce()).expect("a stricter filter");
    say("fork again", fork());
    say("thread", thread::Builder::new().spawn(|| 1).map(|thread| thread.join().expect("no panic")));
    let me = c_long::from(std::process::id());
    say("signal to itself", call(libc::SYS_kill, [me, 0, 0, 0]));
    say("signal to init", call(libc::SYS_kill, [1, 0, 0, 0]));
}

fn signals() {
    let me = c_long::from(std::process::id());
    let parent = c_long::from(rustix::process::getppid().expect("a parent").as_raw_nonzero().get());
    say("parent", call(libc::SYS_kill, [parent, libc::SIGKILL.into(), 0, 0]));
    say("parent's thread", call(libc::SYS_tgkill, [parent, parent, libc::SIGKILL.into(), 0]));
    say("thread of anybody", call(libc::SYS_tkill, [parent, libc::SIGKILL.into(), 0, 0]));
    say("everybody", call(libc::SYS_kill, [-1, libc::SIGKILL.into(), 0, 0]));
    say("group", call(libc::SYS_kill, [0, libc::SIGKILL.into(), 0, 0]));
    say("descriptor of the parent", call(libc::SYS_pidfd_open, [parent, 0, 0, 0]));
    say("receiver", call(libc::SYS_fcntl, [0, libc::F_SETOWN.into(), parent, 0]));
    say("limits", call(libc::SYS_prlimit64, [parent, libc::RLIMIT_CPU.into(), 0, 0]));
    say("trace", call(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent, 0, 0]));
    say("new session", call(libc::SYS_setsid, [0; 4]));
    say("live on", call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0]));
    say("itself", call(libc::SYS_kill, [me, 0, 0, 0]));
    // SAFETY: sends this thread a signal that nobody minds.
    say(
        "raise",
        match unsafe { libc::raise(libc::SIGCONT) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        },
    );
}

fn map(rights: i32) -> io::Result<*mut u8> {
    // SAFETY: new address space.
    let start =
        unsafe { libc::mmap(ptr::null_mut(), 4096, rights, libc::MAP_PRIVATE | libc::MAP_ANON, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

fn protect(start: *mut u8, rights: i32) -> io::Result<()> {
    // SAFETY: a page of the scene's own.
    match unsafe { libc::mprotect(start.cast(), 4096, rights) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

const READ: i32 = libc::PROT_READ;
const WRITE: i32 = libc::PROT_WRITE;
const EXECUTE: i32 = libc::PROT_EXEC;

fn code() {
    say("both at once", map(READ | WRITE | EXECUTE));
    let page = map(READ | WRITE).expect("a page");
    say("both later", protect(page, READ | WRITE | EXECUTE));
    say("execute after write", protect(page, READ | EXECUTE));
    say("write after execute", protect(page, READ | WRITE));
    no_new_code().expect("a stricter filter");
    say("execute, when all is loaded", protect(page, READ | EXECUTE));
    say("code of a file, when all is loaded", map(READ | EXECUTE));
    say("write, when all is loaded", map(READ | WRITE));
}

/// Machine code of the scene's own asks for a socket, past the C library: here, and in a thread.
fn raw() {
    // mov eax, 41; mov edi, 2; mov esi, 1; xor edx, edx; syscall; ret
    const CODE: &[u8] = b"\xb8\x29\x00\x00\x00\xbf\x02\x00\x00\x00\xbe\x01\x00\x00\x00\x31\xd2\x0f\x05\xc3";
    let page = map(READ | WRITE).expect("a page");
    // SAFETY: the page is longer than the code.
    unsafe { ptr::copy_nonoverlapping(CODE.as_ptr(), page, CODE.len()) };
    protect(page, READ | EXECUTE).expect("executable");
    // SAFETY: the code changes no register that a C function may not change.
    let ask: extern "C" fn() -> i64 = unsafe { std::mem::transmute(page) };
    let answer =
        |answer: i64| if answer < 0 { Err(io::Error::from_raw_os_error(-answer as i32)) } else { Ok(()) };
    say("here", answer(ask()));
    say("in a thread", answer(thread::spawn(move || ask()).join().expect("no panic")));
}

/// `getpid` by the rules of other programs: number 20 of i386, 39 of x32.
fn foreign() {
    let mut answer: i32 = 20;
    // SAFETY: asks for the process's number. rbx is not touched: the call has no arguments.
    unsafe { asm!("int 0x80", inout("eax") answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
    say("i386", if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(()) });
    say("x32", call(0x4000_0000 | libc::SYS_getpid, [0; 4]));
    say("usual", call(libc::SYS_getpid, [0; 4]));
}

fn privileges() {
    let status = fs::read_to_string("/proc/self/status").expect("what the system says of this process");
    let lines = status.lines().filter(|line| line.starts_with("Cap") || line.starts_with("NoNewPrivs"));
    lines.for_each(|line| println!("{}", line.replace('\t', " ")));
    say("mount", call(libc::SYS_mount, [0; 4]));
    say("unshare", call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0]));
    say("setuid", call(libc::SYS_setuid, [0; 4]));
    say("chroot", call(libc::SYS_chroot, [0; 4]));
}

fn descriptors() {
    let is_open = |fd: i32| call(libc::SYS_fcntl, [fd.into(), libc::F_GETFD.into(), 0, 0]);
    say("output", is_open(1));
    say("leaked", is_open(LEAKED));
}

fn memory() {
    let get = |bytes: usize| {
        let mut memory: Vec<u8> = Vec::new();
        memory.try_reserve_exact(bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))
    };
    say("64 MiB", get(64 << 20));
    say("2 GiB", get(2 << 30));
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// The signal that comes when a file grows too large ends the process.
fn file_size() {
    let mut file =
        File::from(rustix::fs::memfd_create("large", rustix::fs::MemfdFlags::CLOEXEC).expect("a file"));
    say("1 MiB", file.write_all(&vec![0; 1 << 20]));
    say("1 byte more", file.write_all(&[0]));
}

fn open_files() {
    let mut files = Vec::new();
    let last = loop {
        match File::open("/proc/self/maps") {
            Ok(file) if files.len() < 1000 => files.push(file),
            other => break other,
        }
    };
    say("many", last);
    println!("highest: {}", files.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(0));
}

fn threads() {
    let sleep = || thread::Builder::new().stack_size(1 << 16).spawn(thread::park);
    let made = (0..100).map(|_| sleep()).take_while(Result::is_ok).count();
    println!("threads: {made}");
    say("one more", sleep());
}

fn orphan() {
    fs::write(folder().join("pid"), std::process::id().to_string()).expect("a file");
    thread::sleep(Duration::from_secs(60));
}

/// Libraries of both formats at their work: threads, thread-local storage, exceptions, files that they need.
fn engine() {
    let cases = [
        "elf/dependency",
        "elf/tls",
        "elf/thread-objects",
        "elf/cxx-exceptions",
        "elf/lazy-binding",
        "elf/ifunc",
        "pe/dependency",
        "pe/tls",
        "pe/thread-notices",
        "pe/exceptions",
        "pe/cxx-exceptions",
        "pe/synchronisation",
        "pe/mingw-crt",
    ];
    for case in corpus::cases().expect("the corpus") {
        let name = format!("{}/{}", case.format.folder(), case.name);
        if cases.contains(&&*name) {
            match runner::run::<Ours>(&case) {
                Ok(()) => println!("{name}: ok"),
                Err(failure) => println!("{name}: {failure}"),
            }
        }
    }
}
