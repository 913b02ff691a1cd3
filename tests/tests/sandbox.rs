//! A sandbox: what it gives back, what it says of each way in which a guest can end, and what it keeps from the guest.
//!
//! What comes of each kind of mischief is in `mischief.rs`; that nothing is left of ten thousand of them, in
//! `sandbox_endurance.rs`.

use loader::{
    Addr, Engine, ErrorKind, SymbolName,
    sandbox::{Argument, Failure, Limit, Output, Sandbox},
};
use loader_core::maps::Maps;
use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;
/// The library of mischief and the plain one, of both formats.
const FORMATS: [(&str, &str); 2] = [
    ("mischief/elf/libmischief.so", "elf/plain/libplain.so"),
    ("mischief/pe/mischief.dll", "pe/plain/plain.dll"),
];

fn image(path: &str) -> Vec<u8> {
    fs::read(corpus::root().join(path)).unwrap()
}

fn with(path: &str, builder: loader::sandbox::Builder) -> Sandbox {
    let mut sandbox = builder.start().unwrap();
    sandbox.load_bytes(path.rsplit('/').next().unwrap(), &image(path)).unwrap();
    sandbox
}

/// A sandbox with the C library of the system, which is there as a guest's is.
fn with_libc() -> Sandbox {
    let mut sandbox = Sandbox::builder().start().unwrap();
    sandbox.load("libc.so.6").unwrap();
    sandbox
}

/// How long something takes, with what it says.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

#[test]
fn numbers_and_text_go_in_and_come_out() {
    for (_, path) in FORMATS {
        let mut sandbox = with(path, Sandbox::builder());
        assert_eq!(sandbox.call("plain_add", [2.into(), (-5).into()]).unwrap().i32(), -3);
        assert_eq!(sandbox.call("plain_scale", [2.5f64.into(), 4f32.into()]).unwrap().f64(), 10.0);
        assert_eq!(sandbox.call("plain_half", [3f32.into()]).unwrap().f32(), 1.5);
        assert_eq!(sandbox.call("plain_length", ["hello".into()]).unwrap().u32(), 5);
        assert!(sandbox.call("plain_even", [(-4i64).into()]).unwrap().bool());
        let wide = sandbox.call("plain_wide", [0x5555_5555_5555_5555u64.into()]).unwrap();
        assert_eq!(wide.u64(), u64::MAX);
        let mixed = (1..=9i32).map(|n| match n % 2 {
            1 => Argument::from(n),
            _ => f64::from(n).into(),
        });
        let mixed = sandbox.call("plain_mix", mixed.chain([10.5f64.into()])).unwrap();
        assert_eq!(mixed.f64(), 390.0, "more than there are registers");
        let name = sandbox.call("plain_name", []).unwrap();
        assert_eq!(sandbox.memory().text(Addr(name.u64()), 100).unwrap(), b"plain");
    }
}

#[test]
fn buffers_go_in_and_come_out_whatever_their_length() {
    let mut sandbox = with_libc();
    for len in [1, 64, 65, 4096, 3 << 20] {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let (mut first, mut second) = (vec![7; len], vec![9; len]);
        let arguments = [first.as_mut_slice().into(), bytes.as_slice().into(), (len - 1).into()];
        sandbox.call("memcpy", arguments).unwrap();
        sandbox.call("memset", [second.as_mut_slice().into(), 5.into(), (len / 2).into()]).unwrap();
        assert_eq!(first[..len - 1], bytes[..len - 1]);
        assert_eq!(first[len - 1], 7, "what the function leaves alone is as it was");
        assert!(second[..len / 2].iter().all(|&b| b == 5) && second[len / 2..].iter().all(|&b| b == 9));
    }
}

#[test]
fn a_path_is_loaded_as_well_as_bytes_and_each_library_can_be_asked() {
    let mut sandbox = Sandbox::builder().read(corpus::root()).start().unwrap();
    let elf = sandbox.load(corpus::root().join("elf/plain/libplain.so")).unwrap();
    let pe = sandbox.load(corpus::root().join("pe/plain/plain.dll")).unwrap();
    sandbox.call_in(elf, "plain_keep", [1.into()]).unwrap();
    sandbox.call_in(pe, "plain_keep", [2.into()]).unwrap();
    assert_eq!(sandbox.call_in(elf, "plain_kept", []).unwrap().i32(), 1);
    assert_eq!(sandbox.call_in(pe, "plain_kept", []).unwrap().i32(), 2);
    assert_eq!(sandbox.call("plain_kept", []).unwrap().i32(), 1, "the first that has it");
    sandbox.close(elf).unwrap();
    assert_eq!(sandbox.call("plain_kept", []).unwrap().i32(), 2);
    let Err(Failure::Refused(error)) = sandbox.call_in(elf, "plain_kept", []) else { panic!("closed") };
    assert_eq!(error.kind, ErrorKind::InvalidHandle);
    let Err(Failure::Refused(error)) = sandbox.call_in(pe, SymbolName::Ordinal(99), []) else {
        panic!("no such ordinal")
    };
    assert_eq!(error.kind, ErrorKind::SymbolNotFound { symbol: SymbolName::Ordinal(99) });
}

/// What the engine refuses here it refuses there, with the same error.
#[test]
fn errors_of_the_engine_come_back_as_they_are() {
    let engine = Engine::new().unwrap();
    let mut sandbox = Sandbox::builder().start().unwrap();
    let mut refused = |name: &str, bytes: &[u8]| {
        let here = engine.open_bytes(name, bytes).map(drop).unwrap_err();
        let Err(Failure::Refused(there)) = sandbox.load_bytes(name, bytes) else { panic!("{name}: {here}") };
        assert_eq!(there, here);
    };
    for image in corpus::hostile::images().iter().filter(|image| image.refuse) {
        refused(image.name, &image.bytes);
    }
    refused("empty", b"");
    refused("text", b"#!/bin/sh\n");
    let missing = sandbox.load("/no/such/library.so").unwrap_err();
    let here = engine.open("/no/such/library.so").map(drop).unwrap_err();
    assert!(matches!(missing, Failure::Refused(there) if there == here));
}

#[test]
fn a_fault_is_told_with_signal_address_and_place() {
    let mut sandbox = with(FORMATS[0].0, Sandbox::builder());
    let Err(Failure::Faulted(fault)) = sandbox.call("calls_null", []) else { panic!("no fault") };
    assert!(!fault.is_survived());
    assert!(fault.to_string().contains("SIGSEGV"), "{fault}");
    assert!(matches!(sandbox.call("calls_null", []), Err(Failure::Gone)));

    let mut sandbox = with(FORMATS[1].0, Sandbox::builder());
    let Err(Failure::Faulted(fault)) = sandbox.call("calls_null", []) else { panic!("no exception") };
    assert!(fault.is_survived(), "{fault}");
    assert!(fault.to_string().contains("0xc0000005"), "{fault}");
    assert!(matches!(sandbox.call("calls_null", []), Err(Failure::Faulted(_))), "and it can be asked again");
}

#[test]
fn each_limit_is_told_from_the_others() {
    for (mischief, _) in FORMATS {
        let quick = Duration::from_millis(200);
        let limited = [
            ("spins", Limit::Wall, Sandbox::builder().wall(quick)),
            ("sleeps", Limit::Wall, Sandbox::builder().wall(quick).cpu(quick)),
            ("spins", Limit::Cpu, Sandbox::builder().cpu(quick)),
            ("eats_memory", Limit::Memory, Sandbox::builder().memory(64 * MIB)),
            ("prints", Limit::Output, Sandbox::builder().output(Output::Kept(MIB))),
        ];
        for (function, limit, builder) in limited {
            let mut sandbox = with(mischief, builder);
            let (outcome, took) = timed(|| sandbox.call(function, []));
            let Err(Failure::Killed(over)) = outcome else { panic!("{mischief} {function}: {outcome:?}") };
            assert_eq!(over, limit, "{mischief} {function}");
            assert!(took < Duration::from_secs(5), "{mischief} {function}: {took:?}");
            assert!(matches!(sandbox.call(function, []), Err(Failure::Gone)));
        }
    }
}

/// Memory that a guest could share with others is no data to the kernel, and is counted all the same.
#[test]
fn shared_memory_is_memory() {
    let mut sandbox = Sandbox::builder().memory(32 * MIB).start().unwrap();
    sandbox.load("libc.so.6").unwrap();
    let (len, rights) = (64 * MIB, libc::PROT_READ | libc::PROT_WRITE);
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let arguments = [0.into(), len.into(), rights.into(), flags.into(), (-1).into(), 0.into()];
    let at = sandbox.call("mmap", arguments).unwrap().u64();
    let filled = sandbox.call("memset", [at.into(), 1.into(), len.into()]);
    assert!(matches!(filled, Err(Failure::Killed(Limit::Memory))), "{filled:?}");
}

/// The limits hold for what runs before anybody calls anything.
#[test]
fn initialisers_are_guests_too() {
    for (folder, before, after) in [("mischief/elf", "libborn-", ".so"), ("mischief/pe", "born-", ".dll")] {
        let born = |how: &str| {
            let mut sandbox = Sandbox::builder().wall(Duration::from_secs(1)).start().unwrap();
            let name = format!("{before}{how}{after}");
            sandbox.load_bytes(&name, &image(&format!("{folder}/{name}"))).map(drop)
        };
        assert!(matches!(born("exits"), Err(Failure::Exited(_))), "{folder}: {:?}", born("exits"));
        assert!(matches!(born("spins"), Err(Failure::Killed(Limit::Wall))), "{folder}: {:?}", born("spins"));
        assert!(matches!(born("faults"), Err(Failure::Faulted(_))), "{folder}: {:?}", born("faults"));
    }
}

#[test]
fn what_the_guest_prints_is_kept_and_belongs_to_the_call_that_printed_it() {
    let mut sandbox = with_libc();
    sandbox.call("puts", ["one".into()]).unwrap();
    assert_eq!(sandbox.printed(), (b"one\n".to_vec(), Vec::new()));
    sandbox.call("puts", ["two".into()]).unwrap();
    sandbox.call("perror", ["three".into()]).unwrap();
    let (out, err) = sandbox.printed();
    assert_eq!(out, b"two\n");
    assert!(err.starts_with(b"three: "));
}

#[test]
fn the_guest_has_the_environment_and_the_folder_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Sandbox::builder().env("GIVEN", "yes").current_dir(folder.path()).read(folder.path());
    let mut sandbox = builder.start().unwrap();
    sandbox.load("libc.so.6").unwrap();
    let mut variable = |name: &str| {
        let at = sandbox.call("getenv", [name.into()]).unwrap().u64();
        (at != 0).then(|| sandbox.memory().text(Addr(at), 100).unwrap())
    };
    assert_eq!(variable("GIVEN").as_deref(), Some(&b"yes"[..]));
    for name in ["PATH", "HOME", "CARGO_MANIFEST_DIR", "LOADER_SANDBOX"] {
        assert_eq!(variable(name), None, "{name}");
    }
    let mut cwd = [0; 4096];
    let len = cwd.len();
    sandbox.call("getcwd", [cwd.as_mut_slice().into(), len.into()]).unwrap();
    let end = cwd.iter().position(|&b| b == 0).unwrap();
    assert_eq!(&cwd[..end], folder.path().canonicalize().unwrap().as_os_str().as_encoded_bytes());
}

/// A descriptor that this process lets its children have is none of the guest's all the same.
#[test]
fn the_guest_has_none_of_this_processs_descriptors() {
    use std::os::fd::AsRawFd;
    let file = fs::File::open("/proc/self/maps").unwrap();
    #[allow(unsafe_code)]
    // SAFETY: a duplicate of a descriptor that is open, which `CLOEXEC` does not close.
    let open = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, 100) };
    assert!(open >= 100);
    let mut sandbox = with_libc();
    let is_open = |sandbox: &mut Sandbox, fd: i32| {
        sandbox.call("fcntl", [fd.into(), libc::F_GETFD.into()]).unwrap().i32() >= 0
    };
    assert!(is_open(&mut sandbox, 1));
    assert!((10..200).all(|fd| !is_open(&mut sandbox, fd)));
}

const MEM_COMMIT: u32 = 0x1000;
const MEM_RESERVE: u32 = 0x2000;
const MEM_RELEASE: u32 = 0x8000;
const PAGE_READONLY: u32 = 2;
const PAGE_READWRITE: u32 = 4;

#[test]
fn the_guests_memory_is_allocated_read_and_written_from_outside() {
    let mut sandbox = with_libc();
    let mut memory = sandbox.memory();
    let at = memory.allocate(Addr(0), 0x3000, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE).unwrap();
    let pages = memory.query(at).unwrap();
    assert_eq!((pages.base, pages.len, pages.state), (at, 0x3000, MEM_COMMIT));
    assert_eq!((pages.protect, pages.allocation_base), (PAGE_READWRITE, at));
    assert_eq!(memory.write(at, b"hello\0").unwrap(), 6);
    assert_eq!(sandbox.call("strlen", [at.into()]).unwrap().u64(), 5);
    sandbox.call("memset", [at.into(), i32::from(b'x').into(), 3.into()]).unwrap();
    let mut memory = sandbox.memory();
    let mut back = [0; 6];
    assert_eq!(memory.read(at, &mut back).unwrap(), 6);
    assert_eq!(&back, b"xxxlo\0");
    assert_eq!(memory.protect(at, 0x1000, PAGE_READONLY).unwrap(), PAGE_READWRITE);
    assert_eq!(memory.query(at).unwrap().protect, PAGE_READONLY);
    assert_eq!(memory.write(at, b"no").unwrap(), 0);
    memory.free(at, 0, MEM_RELEASE).unwrap();
    assert_eq!(memory.read(at, &mut back).unwrap(), 0);
    let again = memory.free(at, 0, MEM_RELEASE);
    assert!(matches!(again, Err(Failure::Windows(487))), "ERROR_INVALID_ADDRESS: {again:?}");
    sandbox.kill();
    assert!(matches!(sandbox.memory().read(at, &mut back), Err(Failure::Gone)));
}

/// A handle of the guest's process is good for whatever Windows code does to the memory of another process.
#[test]
fn windows_code_here_works_on_the_guests_memory_by_a_handle() {
    type AllocEx = extern "win64" fn(usize, u64, u64, u32, u32) -> u64;
    type FreeEx = extern "win64" fn(usize, u64, u64, u32) -> i32;
    type Write = extern "win64" fn(usize, u64, *const u8, usize, *mut usize) -> i32;
    let engine = Engine::new().unwrap();
    let kernel32 = engine.open("KERNEL32.dll").unwrap();
    let guest = Arc::new(Mutex::new(with_libc()));
    let process = loader::sandbox::process_handle(&engine, guest.clone());
    #[allow(unsafe_code)]
    // SAFETY: the function is declared so.
    let alloc = unsafe { kernel32.get::<AllocEx>(c"VirtualAllocEx") }.unwrap();
    #[allow(unsafe_code)]
    // SAFETY: as above.
    let free = unsafe { kernel32.get::<FreeEx>(c"VirtualFreeEx") }.unwrap();
    #[allow(unsafe_code)]
    // SAFETY: as above.
    let write = unsafe { kernel32.get::<Write>(c"WriteProcessMemory") }.unwrap();
    engine.load_set().enter(loader::Format::Pe).unwrap();
    let at = alloc(process, 0, 0x1000, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    assert_ne!(at, 0);
    let mut written = 0;
    assert_ne!(write(process, at, c"hello".as_ptr().cast(), 6, &raw mut written), 0);
    assert_eq!(written, 6);
    assert_eq!(guest.lock().unwrap().call("strlen", [at.into()]).unwrap().u64(), 5);
    assert_ne!(free(process, at, 0, MEM_RELEASE), 0);
    assert_eq!(free(process, at, 0, MEM_RELEASE), 0, "it is free already");
    guest.lock().unwrap().kill();
    assert_eq!(alloc(process, 0, 0x1000, MEM_RESERVE, PAGE_READWRITE), 0, "it has ended");
}

#[test]
fn events_tell_what_the_engine_does() {
    let mut sandbox = with(FORMATS[1].1, Sandbox::builder());
    let events: Vec<String> = sandbox.events().iter().map(ToString::to_string).collect();
    let steps = ["found", "mapped", "relocated", "sealed", "committed", "opened"];
    let mut rest = events.iter();
    for step in steps {
        assert!(rest.any(|e| e.starts_with(step) && e.contains("plain.dll")), "{step}: {events:#?}");
    }
    assert!(sandbox.events().is_empty(), "each is told once");
    let module = sandbox.modules().iter().find(|m| &*m.name == "plain.dll").unwrap();
    assert_eq!(module.format, loader::Format::Pe);
}

/// The guest's threads run on when nobody waits for it, and what they ask for is refused all the same.
#[test]
fn refused_calls_are_answered_at_all_times() {
    let mut sandbox = with(FORMATS[0].0, Sandbox::builder());
    assert_eq!(sandbox.call("asks_in_a_thread", []).unwrap().i32(), 0);
    thread::sleep(Duration::from_millis(500));
    let answers = sandbox.call("times_answered", []).unwrap().i32();
    assert!(answers > 10, "{answers}");
    let refused = sandbox.refused();
    assert!(refused.len() > 10 && refused.iter().all(|call| call.name() == Some("socket")), "{refused:?}");
}

#[test]
fn a_new_engine_knows_nothing_of_the_old_one() {
    for (_, path) in FORMATS {
        let mut sandbox = Sandbox::builder().start().unwrap();
        let name = path.rsplit('/').next().unwrap();
        let library = sandbox.load_bytes(name, &image(path)).unwrap();
        let at = sandbox.find(library, "plain_add").unwrap().at;
        let last = sandbox.renew().unwrap();
        assert!(last.iter().any(|module| *module.name == *name), "{last:?}");
        assert_eq!(sandbox.modules().len(), 0);
        let guest = Maps::of(sandbox.id().unwrap());
        assert!(!guest.0.is_empty() && !guest.runs(at.0), "its terminators ran and its memory is gone");
        assert!(
            matches!(sandbox.close(library), Err(Failure::Refused(e)) if e.kind == ErrorKind::InvalidHandle)
        );
        assert!(matches!(sandbox.call("plain_add", []), Err(Failure::Refused(_))));
        sandbox.load_bytes(name, &image(path)).unwrap();
        assert_eq!(sandbox.call("plain_add", [2.into(), (-5).into()]).unwrap().i32(), -3);
        sandbox.end().unwrap();
    }
}

#[test]
fn what_is_discarded_is_neither_kept_nor_too_much() {
    let wall = Duration::from_millis(300);
    let mut sandbox = with(FORMATS[0].0, Sandbox::builder().output(Output::Discarded).wall(wall));
    assert!(matches!(sandbox.call("prints", []), Err(Failure::Killed(Limit::Wall))));
    assert_eq!(sandbox.printed(), (Vec::new(), Vec::new()));
}

#[test]
fn a_sandbox_that_was_killed_says_so() {
    let mut sandbox = with(FORMATS[0].1, Sandbox::builder());
    sandbox.kill();
    assert!(matches!(sandbox.call("plain_kept", []), Err(Failure::Gone)));
    sandbox.kill();
}

/// The channel is the guest's to break: what came over it before counts, and nobody waits for what cannot come.
#[test]
fn a_guest_that_closes_the_channel_hurts_only_itself() {
    for (mischief, _) in FORMATS {
        for function in ["closes_descriptors", "closes_everything"] {
            let mut sandbox = with(mischief, Sandbox::builder());
            let answer = sandbox.call(function, []).unwrap();
            assert_eq!(answer.i64(), 0, "{mischief} {function}");
            let (after, took) = timed(|| sandbox.call("spins", []));
            assert!(
                matches!(after, Err(Failure::Gone | Failure::Exited(0))),
                "{mischief} {function}: {after:?}"
            );
            assert!(took < Duration::from_secs(2), "{took:?}");
        }
    }
}

/// Where the guest has the memory in which requests and replies are.
fn shared_memory(sandbox: &Sandbox) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{}/maps", sandbox.id().unwrap())).unwrap();
    let line = maps.lines().find(|line| line.contains("memfd:sandbox")).unwrap();
    u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()
}

/// It is the guest's to write to.
#[test]
fn a_guest_that_forges_replies_is_told_from_one_that_answers() {
    let mut sandbox = with(FORMATS[0].0, Sandbox::builder());
    let base = shared_memory(&sandbox);
    // Words of it, as `shared.rs` has them.
    let [request, reply, reply_len, events] = [0, 16, 24, 48].map(|at| Addr(base + at));
    let write = |sandbox: &mut Sandbox, at, word: u64| {
        assert_eq!(sandbox.memory().write(at, &word.to_ne_bytes()).unwrap(), 8);
    };
    // More events than there can be: of those that make no sense nothing is known.
    write(&mut sandbox, events, u64::MAX);
    assert!(matches!(sandbox.call("no_such_function", []), Err(Failure::Refused(_))));
    assert!(sandbox.events().len() <= 8192);
    // The answer to the next request is there before it is asked, and longer than the memory.
    let mut number = [0; 8];
    sandbox.memory().read(request, &mut number).unwrap();
    write(&mut sandbox, reply_len, u64::MAX);
    write(&mut sandbox, reply, u64::from_ne_bytes(number) + 1);
    let (forged, took) = timed(|| sandbox.call("sleeps", []));
    assert!(matches!(forged, Err(Failure::Garbled | Failure::Refused(_))), "{forged:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    // An empty one is none.
    let mut sandbox = with(FORMATS[0].0, Sandbox::builder());
    let base = shared_memory(&sandbox);
    sandbox.memory().read(Addr(base), &mut number).unwrap();
    write(&mut sandbox, Addr(base + 24), 0);
    write(&mut sandbox, Addr(base + 16), u64::from_ne_bytes(number) + 1);
    assert!(matches!(sandbox.call("sleeps", []), Err(Failure::Garbled)));
    assert!(matches!(sandbox.call("sleeps", []), Err(Failure::Gone)), "nobody asks it again");
}
