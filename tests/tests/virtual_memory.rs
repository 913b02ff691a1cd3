//! The memory of the Windows process as the embedder sees it: what `VirtualAlloc`, `MapViewOfFile` and `HeapCreate` took is
//! counted, goes with the engine, and is kept apart when threads take and give at once. The rules themselves are tested
//! with the book (`loader-win32/src/memory/tests.rs`) and by the corpus's `virtual-memory`, whose functions are called here.

use corpus::Format::Pe;
use loader::{
    Addr, SymbolName,
    win32::{self, MemoryUse},
};
use std::{sync::Barrier, thread};
use tests::world::World;

const CASE: &str = "virtual-memory";

/// The corpus's DLL in an engine of its own.
struct Memory {
    world: World,
    module: Addr,
}

impl Memory {
    fn new() -> Self {
        let world = World::new(Pe);
        let path = world.path(CASE, CASE);
        let module = win32::load_library(&world.engine, &path.to_string_lossy()).unwrap();
        Self { world, module }
    }

    fn call(&self, function: &str, argument: i32) -> i32 {
        let symbol = SymbolName::Name(function.as_bytes().into());
        let at = win32::get_proc_address(&self.world.engine, self.module, &symbol).unwrap();
        self.world.call_at(at.0, argument)
    }

    fn usage(&self) -> MemoryUse {
        win32::memory_use(&self.world.engine)
    }
}

/// Bytes of private memory that this process may touch.
fn writable() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let private = maps.lines().filter(|line| line.contains(" rw-p "));
    let size = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    private.filter_map(size).sum()
}

#[test]
fn every_page_is_counted_and_none_is_lost() {
    let m = Memory::new();
    let nothing = m.usage();
    assert_eq!((nothing.allocations, nothing.reserved, nothing.heaps), (0, 0, 0));
    for function in [
        "life_of_a_page",
        "kinds_of_allocation",
        "process_handles",
        "views_of_sections",
        "heaps",
        "many",
        "locking",
    ] {
        assert_eq!(m.call(function, 0), 0, "{function}");
        assert_eq!(m.usage(), nothing, "{function}");
    }
    assert_eq!(m.call("forget", 0x12345), 1);
    let kept = m.usage();
    assert_eq!((kept.allocations, kept.reserved, kept.committed), (1, 0x13000, 0x13000));
}

#[test]
fn what_was_never_freed_goes_with_the_engine() {
    const FORGOTTEN: i32 = 512 << 20;
    let before = writable();
    // A thread that ran Windows code keeps the process until it ends.
    let kept = thread::spawn(move || {
        let m = Memory::new();
        assert_eq!(m.call("forget", FORGOTTEN), 1);
        writable().saturating_sub(before)
    });
    let kept = kept.join().unwrap();
    let left = writable().saturating_sub(before);
    // Other tests of this program run meanwhile; none of them takes half as much.
    assert!(kept >= FORGOTTEN as u64 && left < FORGOTTEN as u64 / 2, "{kept:#x} {left:#x}");
}

#[test]
fn writes_are_watched_where_the_kernel_can() {
    match Memory::new().call("watching_writes", 0) {
        0 => {}
        1000 => {
            eprintln!("not shown: this system has no asynchronous write protection (Linux 6.7, userfaultfd)")
        }
        line => panic!("memory.c:{line}"),
    }
}

#[test]
fn threads_take_and_give_at_once() {
    let m = Memory::new();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for seed in 1..=4 {
            let (m, start) = (&m, &start);
            scope.spawn(move || {
                start.wait();
                assert_eq!(m.call("many", seed), 0);
            });
        }
    });
    assert_eq!(m.usage(), MemoryUse::default());
}
