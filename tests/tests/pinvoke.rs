//! Platform invoke: when the library of a declared function comes, how long it stays, and what becomes of the function
//! when somebody frees the library all the same. One test a statement; what holds for libraries of both formats is
//! shown on both.
//!
//! `unsafe` because declared functions are what the tests say they are.
#![allow(unsafe_code)]

use corpus::Format::{self, Elf, Pe};
use loader::{
    Addr, Declared, Domain, Engine, EntryPoint, ErrorKind, HostModule, SymbolName,
    win32::{free_library, get_module_handle, get_module_handle_ex, load_library},
};
use std::{
    ffi::{CString, c_char},
    fs,
    path::PathBuf,
    sync::Barrier,
    thread,
};
use tests::world::World;

/// A declared `int f(int, int)`, by whatever convention its library has.
enum Function {
    Elf(Declared<extern "C" fn(i32, i32) -> i32>),
    Pe(Declared<extern "win64" fn(i32, i32) -> i32>),
}

impl Function {
    fn declare(domain: &Domain, format: Format, library: &str, entry: &str) -> Self {
        match format {
            // SAFETY: tests declare what the corpus's sources say.
            Elf => Self::Elf(unsafe { domain.declare(library, entry) }),
            // SAFETY: as above.
            Pe => Self::Pe(unsafe { domain.declare(library, entry) }),
        }
    }

    fn call(&self, a: i32, b: i32) -> Result<i32, ErrorKind> {
        match self {
            Self::Elf(f) => f.get().map(|f| f(a, b)),
            Self::Pe(f) => f.get().map(|f| f(a, b)),
        }
        .map_err(|error| error.kind)
    }
}

/// The corpus's `plain` in a world, and its path.
struct Plain {
    world: World,
    path: String,
}

impl Plain {
    fn new(format: Format) -> Self {
        let world = World::new(format);
        let path = world.path("plain", "plain").to_string_lossy().into();
        Self { world, path }
    }

    fn each() -> impl Iterator<Item = Self> {
        Format::ALL.into_iter().map(Self::new)
    }

    fn engine(&self) -> &Engine {
        &self.world.engine
    }

    fn add(&self, domain: &Domain) -> Function {
        Function::declare(domain, self.world.format, &self.path, "plain_add")
    }

    /// Where it is, and how many references there are to it.
    fn loaded(&self) -> Option<(Addr, u32)> {
        let modules = self.engine().modules();
        let plain = modules.iter().find(|m| m.path.as_ref().is_some_and(|p| p.ends_with(&self.path)))?;
        Some((plain.at.base, plain.handles))
    }

    fn free(&self) -> Result<(), u32> {
        free_library(self.engine(), self.loaded().map_or(Addr(0), |(base, _)| base))
    }
}

#[test]
fn the_library_is_loaded_at_the_first_call_not_at_the_declaration() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        assert_eq!(plain.loaded(), None);
        assert_eq!(add.call(40, 2), Ok(42));
        assert!(matches!(plain.loaded(), Some((_, 1))));
    }
}

#[test]
fn the_library_stays_until_its_domain_ends() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        for n in 0..100 {
            assert_eq!(add.call(n, 1), Ok(n + 1));
        }
        let (base, _) = plain.loaded().unwrap();
        drop(add);
        assert_eq!(plain.loaded(), Some((base, 1)), "the declaration does not hold it, the domain does");
        let closed = domain.end().unwrap();
        assert_eq!((closed.len(), closed[0].gone.len(), plain.loaded()), (1, 1, None));
    }
}

#[test]
fn a_domain_takes_one_reference_however_many_functions_it_calls() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let (one, other) = (plain.add(&domain), plain.add(&domain));
        assert_eq!((one.call(1, 2), other.call(3, 4)), (Ok(3), Ok(7)));
        assert!(matches!(plain.loaded(), Some((_, 1))));
    }
}

#[test]
fn when_one_of_two_domains_ends_the_other_goes_on() {
    for plain in Plain::each() {
        let (first, second) = (plain.engine().domain(), plain.engine().domain());
        let (ends, stays) = (plain.add(&first), plain.add(&second));
        assert_eq!((ends.call(1, 2), stays.call(1, 2)), (Ok(3), Ok(3)));
        drop(first);
        assert_eq!((ends.call(1, 2), stays.call(1, 2)), (Err(ErrorKind::Unloaded), Ok(3)));
        drop(second);
        assert_eq!((stays.call(1, 2), plain.loaded()), (Err(ErrorKind::Unloaded), None));
    }
}

#[test]
fn a_domain_that_is_over_is_over_though_others_hold_its_library() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        assert_eq!(add.call(1, 2), Ok(3));
        let base = load_library(plain.engine(), &plain.path).unwrap();
        drop(domain);
        assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
        assert_eq!((free_library(plain.engine(), base), plain.loaded()), (Ok(()), None));
    }
}

#[test]
fn a_function_that_was_never_called_before_its_domain_ended_loads_nothing() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        drop(domain);
        assert_eq!((add.call(1, 2), plain.loaded()), (Err(ErrorKind::Unloaded), None));
    }
}

#[test]
fn freeing_the_library_takes_it_out_of_the_process() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        assert_eq!(plain.add(&domain).call(1, 2), Ok(3));
        assert_eq!(plain.world.events(&["detached", "unmapped"]), [""; 0]);
        assert_eq!((plain.free(), plain.loaded()), (Ok(()), None));
        assert_eq!(plain.world.events(&["detached", "unmapped"]), ["detached plain", "unmapped plain"]);
    }
}

#[test]
fn a_call_after_the_library_was_freed_is_an_error_not_a_fault() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let (add, other) = (plain.add(&domain), plain.add(&domain));
        assert_eq!(add.call(1, 2), Ok(3));
        assert_eq!(plain.free(), Ok(()));
        for _ in 0..3 {
            assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
            assert_eq!(other.call(1, 2), Err(ErrorKind::Unloaded), "declared, never called");
        }
        assert_eq!(plain.loaded(), None, "no call loads it again by itself");
        assert_eq!(domain.end(), Ok(Vec::new()), "there is nothing to give back");
    }
}

#[test]
fn the_error_names_the_library() {
    let plain = Plain::new(Pe);
    let domain = plain.engine().domain();
    let Function::Pe(add) = plain.add(&domain) else { unreachable!() };
    assert_eq!(add.get().unwrap()(1, 2), 3);
    assert_eq!(plain.free(), Ok(()));
    let error = add.get().unwrap_err();
    assert_eq!((&*error.module, error.win32()), (&*plain.path, 126));
}

#[test]
fn a_library_that_was_loaded_before_the_call_is_freed_once_more() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        let base = load_library(plain.engine(), &plain.path).unwrap();
        assert_eq!(add.call(1, 2), Ok(3));
        assert_eq!(plain.loaded(), Some((base, 2)));
        assert_eq!((plain.free(), plain.loaded()), (Ok(()), Some((base, 1))));
        assert_eq!(add.call(1, 2), Ok(3), "the load's own reference goes first");
        assert_eq!((plain.free(), plain.loaded()), (Ok(()), None));
        assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
    }
}

#[test]
fn do_while_free_library_drains_the_count_and_ends_with_the_library_gone() {
    let plain = Plain::new(Pe);
    let domain = plain.engine().domain();
    let add = plain.add(&domain);
    assert_eq!(add.call(1, 2), Ok(3));
    load_library(plain.engine(), &plain.path).unwrap();
    let base = get_module_handle_ex(plain.engine(), "plain").unwrap();
    let freed = std::iter::from_fn(|| free_library(plain.engine(), base).ok()).count();
    assert_eq!(
        (freed, plain.loaded()),
        (3, None),
        "the domain's, the load's, and one for asking with a reference"
    );
    assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
}

#[test]
fn loading_the_library_again_binds_the_function_again() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        for n in 0..10 {
            assert_eq!(add.call(n, 2), Ok(n + 2));
            assert_eq!((plain.free(), add.call(n, 2)), (Ok(()), Err(ErrorKind::Unloaded)));
            let base = load_library(plain.engine(), &plain.path).unwrap();
            assert_eq!(add.call(n, 3), Ok(n + 3));
            assert_eq!(plain.loaded(), Some((base, 2)), "the domain has a reference again");
            assert_eq!(plain.free(), Ok(()));
        }
        drop(domain);
        assert_eq!(plain.loaded(), None);
    }
}

#[test]
fn a_domain_gives_back_no_reference_that_is_not_its_own() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        assert_eq!(plain.add(&domain).call(1, 2), Ok(3));
        assert_eq!(plain.free(), Ok(()));
        let base = load_library(plain.engine(), &plain.path).unwrap();
        drop(domain);
        assert_eq!(plain.loaded(), Some((base, 1)));
        assert_eq!((plain.free(), plain.loaded()), (Ok(()), None));
    }
}

#[test]
fn a_library_is_replaced_while_the_program_runs() {
    for format in Format::ALL {
        let world = World::new(format);
        let (name, of) = match format {
            Elf => ("libreplaced.so", ["dependency", "plain"]),
            Pe => ("replaced.dll", ["dependency", "plain"]),
        };
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join(name);
        let path = file.to_string_lossy();
        let put = |from: PathBuf| {
            let _ = fs::remove_file(&file);
            fs::copy(from, &file).unwrap();
        };
        put(world.path(of[0], "dependency-leaf"));
        let domain = world.engine.domain();
        let add = Function::declare(&domain, format, &path, "plain_add");
        assert!(
            matches!(add.call(1, 2), Err(ErrorKind::SymbolNotFound { .. })),
            "the old one has no such function"
        );
        let old = world.engine.modules().into_iter().find(|m| m.path.as_ref() == Some(&file)).unwrap();
        assert_eq!(free_library(&world.engine, old.at.base), Ok(()));
        put(world.path(of[1], "plain"));
        assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
        load_library(&world.engine, &path).unwrap();
        assert_eq!(add.call(1, 2), Ok(3));
    }
}

/// The program that the statements come from: two buttons, and functions of KERNEL32 that are declared like any other.
#[test]
fn functions_of_kernel32_are_declared_and_free_the_library_as_the_form_with_two_buttons_does() {
    let plain = Plain::new(Pe);
    let domain = plain.engine().domain();
    // SAFETY: these are the types of Microsoft's reference.
    let free = unsafe { domain.declare::<extern "win64" fn(usize) -> i32>("kernel32.dll", "FreeLibrary") };
    // SAFETY: as above.
    let load = unsafe {
        domain.declare::<extern "win64" fn(*const c_char) -> usize>("kernel32.dll", "LoadLibraryA")
    };
    // SAFETY: as above.
    let module = unsafe {
        domain.declare::<extern "win64" fn(u32, *const c_char, *mut usize) -> i32>(
            "kernel32.dll",
            "GetModuleHandleExA",
        )
    };
    let add = plain.add(&domain);
    let (path, name) = (CString::new(&*plain.path).unwrap(), CString::new("plain").unwrap());

    for _ in 0..3 {
        // The first button.
        assert_ne!(load.get().unwrap()(path.as_ptr()), 0);
        assert_eq!(add.call(40, 2), Ok(42));
        // The second button.
        let mut handle = 0;
        assert_eq!(module.get().unwrap()(0, name.as_ptr(), &raw mut handle), 1);
        let mut freed = 0;
        while free.get().unwrap()(handle) != 0 {
            freed += 1;
        }
        assert_eq!((freed, plain.loaded()), (3, None));
        assert_eq!(module.get().unwrap()(0, name.as_ptr(), &raw mut handle), 0);
        assert_eq!(add.call(40, 2), Err(ErrorKind::Unloaded));
    }
}

#[test]
fn a_library_or_an_entry_point_that_is_not_there_is_an_error_of_the_call() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let format = plain.world.format;
        let nowhere = Function::declare(&domain, format, "/nowhere/plain.dll", "plain_add");
        let nothing = Function::declare(&domain, format, &plain.path, "plain_nothing");
        for _ in 0..2 {
            assert!(matches!(nowhere.call(1, 2), Err(ErrorKind::NotFound { .. })));
            let symbol = SymbolName::Name(b"plain_nothing"[..].into());
            assert_eq!(nothing.call(1, 2), Err(ErrorKind::SymbolNotFound { symbol }));
        }
    }
}

#[test]
fn a_function_is_declared_by_number() {
    let world = World::new(Pe);
    let path = world.path("ordinals", "ordinals");
    let domain = world.engine.domain();
    let declare = |entry: EntryPoint| {
        // SAFETY: the functions of the case take nothing and answer with their numbers.
        unsafe { domain.declare::<extern "win64" fn() -> i32>(&path.to_string_lossy(), entry) }
    };
    assert_eq!(declare(5.into()).get().unwrap()(), 5);
    assert_eq!(declare("#90".into()).get().unwrap()(), 90);
    assert!(declare(6.into()).get().is_err());
}

extern "win64" fn bare() -> u8 {
    b' '
}
extern "win64" fn ansi() -> u8 {
    b'A'
}
extern "win64" fn wide() -> u8 {
    b'W'
}

#[test]
fn names_are_exact_or_have_the_suffix_of_their_character_set() {
    let (bare, ansi, wide) = (bare as *const (), ansi as *const (), wide as *const ());
    let names = HostModule::new("names.dll")
        .function("All", bare)
        .function("AllA", ansi)
        .function("AllW", wide)
        .function("PairA", ansi)
        .function("PairW", wide)
        .function("Bare", bare);
    let engine = Engine::builder().host(names).build().unwrap();
    let domain = engine.domain();
    let found = |entry: EntryPoint| {
        // SAFETY: all functions of the module are of this type.
        let function = unsafe { domain.declare::<extern "win64" fn() -> u8>("names.dll", entry) };
        function.get().map(|f| f().into()).unwrap_or('-')
    };
    // Per name: exactly so; ANSI, which prefers the name as it is; Unicode, which prefers the suffix.
    for (name, by) in [("All", " W"), ("AllW", "WW"), ("Pair", "AW"), ("Bare", "  "), ("PairA", "AA")] {
        let of = [EntryPoint::Ansi(name.into()), EntryPoint::Unicode(name.into())].map(found);
        assert_eq!(String::from_iter(of), by, "{name}");
    }
    assert_eq!(["All", "Pair", "PairW"].map(|name| found(name.into())), [' ', '-', 'W']);
}

#[test]
fn threads_that_call_first_at_once_take_one_reference() {
    for plain in Plain::each() {
        for _ in 0..20 {
            let domain = plain.engine().domain();
            let (add, start) = (plain.add(&domain), Barrier::new(4));
            thread::scope(|scope| {
                for n in 0..4 {
                    let (add, start) = (&add, &start);
                    scope.spawn(move || {
                        start.wait();
                        assert_eq!(add.call(n, n), Ok(2 * n));
                    });
                }
            });
            assert!(matches!(plain.loaded(), Some((_, 1))));
            drop(domain);
            assert_eq!(plain.loaded(), None);
        }
    }
}

#[test]
fn after_the_program_has_ended_declared_functions_are_errors() {
    for plain in Plain::each() {
        let domain = plain.engine().domain();
        let add = plain.add(&domain);
        assert_eq!(add.call(1, 2), Ok(3));
        plain.engine().program_ends();
        assert_eq!(add.call(1, 2), Err(ErrorKind::Unloaded));
        assert_eq!(get_module_handle(plain.engine(), Some("plain")), None);
    }
}
