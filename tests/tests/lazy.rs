//! Calls that are bound when they are first made: what a script cannot say of them, because it has one thread at a time,
//! sees no events, and must not end its process.
//!
//! `unsafe` because exports are called by address.
#![allow(missing_docs, unsafe_code)]

use corpus::Format;
use loader::{
    Binding, Builder, Dialect, Engine, Error, ErrorKind, Event, Library, Load, MissingPolicy, Mode, Rules,
    Scope, Symbol, SymbolName, Visibility, guarded,
};
use std::{
    ffi::CStr,
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::{Arc, Barrier, Mutex},
    thread,
};
use tests::world::path;

const LAZY: Mode = Mode {
    load: Load::Lazy,
    visibility: Visibility::Local,
    verbose: loader_core::event::Topics::empty(),
    scope: Scope::GlobalFirst,
    no_delete: false,
};

/// An engine whose opens may bind calls when they are first made.
fn posix() -> Builder {
    Engine::builder().rules(Rules { dialect: Dialect::Posix, binding: Binding::Lazy, ..Rules::default() })
}

fn open(engine: &Engine, case: &str, stem: &str) -> Result<Library, Error> {
    engine.open_with(path(Format::Elf, case, stem), LAZY)
}

fn undefined(engine: &Engine, stem: &str) -> Result<Library, Error> {
    open(engine, "lazy-undefined", stem)
}

fn function<'l, F: Copy>(library: &'l Library, name: &CStr) -> Symbol<'l, F> {
    // SAFETY: each use says what the corpus declares.
    unsafe { library.get(name) }.unwrap()
}

/// What is missing, if an error says that a function was called that nobody defines.
fn missing(error: &ErrorKind) -> Option<&SymbolName> {
    match error {
        ErrorKind::MissingCalled { symbol, from: None } => Some(symbol),
        _ => None,
    }
}

fn nowhere() -> SymbolName {
    SymbolName::Name((*b"lazy_nowhere").into())
}

/// Names of the functions that calls were bound to since the last time this was asked.
#[derive(Clone, Default)]
struct Bound(Arc<Mutex<Vec<String>>>);

impl Bound {
    fn watched_by(&self, builder: Builder) -> Engine {
        let list = self.0.clone();
        let watch = move |event: &Event<'_>| {
            if let Event::Bound { symbol, .. } = event {
                list.lock().unwrap().push(symbol.text().into());
            }
        };
        builder.observe(watch).build().unwrap()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn a_call_is_bound_when_it_is_made_and_only_once() {
    let bound = Bound::default();
    let engine = bound.watched_by(posix());
    let library = open(&engine, "lazy-registers", "lazy-registers").unwrap();
    assert_eq!(bound.take(), Vec::<String>::new());
    let sum = function::<extern "C" fn() -> f64>(&library, c"lazy_variadic");
    assert_eq!((sum(), bound.take()), (511.5, vec!["lazy_sum".to_owned()]));
    assert_eq!((sum(), bound.take()), (511.5, vec![]));
}

#[test]
fn everything_is_bound_at_once_unless_dialect_rules_and_mode_agree_to_wait() {
    let posix = Rules { dialect: Dialect::Posix, ..Rules::default() };
    let lazy = Rules { binding: Binding::Lazy, ..posix };
    let tnsr = Rules { dialect: Dialect::TnsR, ..lazy };
    let opens = |rules, mode| {
        let engine = Engine::builder().rules(rules).build().unwrap();
        engine.open_with(path(Format::Elf, "lazy-undefined", "lazy-undefined"), mode).is_ok()
    };
    let bits = |mode| Mode::from_bits(mode).unwrap();
    let rtld = |mode| Mode::from_rtld(mode).unwrap();
    assert!(opens(lazy, LAZY) && opens(lazy, rtld(Mode::LAZY)));
    assert!(!opens(tnsr, LAZY) && !opens(posix, LAZY));
    assert!(!opens(lazy, rtld(Mode::NOW)) && !opens(lazy, rtld(Mode::NOW | Mode::LAZY)));
    assert!(!opens(lazy, bits(Mode::LAZY)), "the mode of TNS/R, which means NOW by it");
    // Whoever asks what is missing is told, whatever waits.
    let engine = Engine::builder().rules(lazy).build().unwrap();
    let report = engine.missing_imports(path(Format::Elf, "lazy-undefined", "lazy-undefined")).unwrap();
    assert_eq!(report.symbols.len(), 2);
}

#[test]
fn threads_that_make_the_same_call_at_once_all_arrive() {
    const THREADS: usize = 4;
    let engine = posix().build().unwrap();
    for _ in 0..100 {
        let library = open(&engine, "lazy-registers", "lazy-registers").unwrap();
        let start = Barrier::new(THREADS);
        let sums: Vec<f64> = thread::scope(|scope| {
            let call = || {
                let sum = function::<extern "C" fn() -> f64>(&library, c"lazy_variadic");
                start.wait();
                sum()
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(call)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(sums, [511.5; THREADS]);
        assert_eq!(library.close().unwrap().gone.len(), 2);
    }
}

/// Either the call is bound first, and what it is bound to stays; or that goes first, and nobody is called.
#[test]
fn what_goes_while_a_call_is_being_bound_is_not_called() {
    let engine = posix().build().unwrap();
    let open = |stem, mode| engine.open_with(path(Format::Elf, "lazy-binding", stem), mode).unwrap();
    let global = Mode { visibility: Visibility::Global, ..LAZY };
    let start = Barrier::new(2);
    let (mut stayed, mut went) = (0, 0);
    for n in 0..400 {
        let (user, provider) = (open("lazy-user", LAZY), open("lazy-provider", global));
        let value = function::<extern "C" fn() -> i32>(&user, c"user_value");
        let (called, closed) = thread::scope(|scope| {
            let closing = scope.spawn(|| {
                start.wait();
                (0..n % 50).for_each(|_| std::hint::spin_loop());
                provider.close().unwrap().gone.len()
            });
            start.wait();
            let called = guarded(|| value());
            (called, closing.join().unwrap())
        });
        match called {
            Ok(7) => stayed += 1,
            Err(error) if missing(&error).is_some() => went += 1,
            other => panic!("{other:?}"),
        }
        // Whoever the call was bound to goes with its caller.
        assert_eq!(user.close().unwrap().gone.len() + closed, 2);
    }
    println!("{stayed} calls came first, {went} closes");
}

#[test]
fn the_static_chain_reaches_the_callee() {
    let engine = posix().build().unwrap();
    let library = open(&engine, "lazy-registers", "lazy-registers").unwrap();
    assert_eq!(function::<extern "C" fn() -> i32>(&library, c"lazy_registers")(), 0);
    assert_eq!(function::<extern "C" fn() -> i32>(&library, c"lazy_chain_kept")(), 1);
}

#[test]
fn a_resolver_makes_calls_before_its_library_is_there() {
    let bound = Bound::default();
    let engine = bound.watched_by(posix());
    let library = open(&engine, "lazy-ifunc", "lazy-early").unwrap();
    let early = function::<extern "C" fn() -> i32>(&library, c"lazy_call_early");
    assert_eq!(early(), 7);
    assert_eq!(bound.take(), ["lazy_chosen", "choice"], "the pointer, then the resolver's call, for now");
    // What the library was bound to before it was there would not have been held by it.
    let chosen = function::<extern "C" fn() -> i32>(&library, c"lazy_chosen");
    assert_eq!((chosen(), bound.take()), (7, vec!["choice".to_owned()]), "the resolver's call, for good");
}

#[test]
fn what_nobody_defines_is_a_typed_error_where_its_call_is_guarded() {
    for policy in [MissingPolicy::Strict, MissingPolicy::Trap] {
        let engine = posix().missing(policy).build().unwrap();
        let library = undefined(&engine, "lazy-undefined").unwrap();
        let idle = function::<extern "C" fn(i32) -> i32>(&library, c"lazy_idle");
        for _ in 0..2 {
            let error = guarded(|| idle(1)).unwrap_err();
            assert_eq!(missing(&error), Some(&nowhere()));
        }
        assert_eq!(idle(0), 7);
        library.close().unwrap();
    }
}

#[test]
fn an_initialiser_that_calls_what_nobody_defines_refuses_the_open() {
    let engine = posix().build().unwrap();
    drop(engine.main_program()); // which has it look at what the process has
    let before = engine.modules().len();
    let error = undefined(&engine, "lazy-undefined-init").unwrap_err();
    assert_eq!(missing(&error.kind), Some(&nowhere()));
    assert!(error.module.ends_with("liblazy-undefined-init.so"), "{error}");
    assert_eq!(engine.modules().len(), before, "nothing stays");
}

#[test]
fn a_finaliser_that_calls_what_nobody_defines_is_reported() {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let list = reported.clone();
    let watch = move |event: &Event<'_>| {
        if let Event::Failed { error } = event {
            list.lock().unwrap().extend(missing(&error.kind).cloned());
        }
    };
    let engine = posix().observe(watch).build().unwrap();
    let closed = undefined(&engine, "lazy-undefined-fini").unwrap().close().unwrap();
    assert_eq!(closed.gone.len(), 1, "it goes all the same");
    assert_eq!(*reported.lock().unwrap(), [nowhere()]);
}

#[test]
#[ignore = "ends its process"]
fn calls_what_nobody_defines() {
    let engine = posix().build().unwrap();
    let library = undefined(&engine, "lazy-undefined").unwrap();
    function::<extern "C" fn(i32) -> i32>(&library, c"lazy_idle")(1);
}

#[test]
fn elsewhere_it_ends_the_process_with_a_message_that_names_module_and_function() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "calls_what_nobody_defines", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{err}");
    let said = |line: &str| line.contains("liblazy-undefined.so") && line.contains("lazy_nowhere");
    assert!(err.lines().any(said), "{err}");
}
