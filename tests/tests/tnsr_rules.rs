//! The rules of TNS/R's `dlopen`, `dlsym`, `dlclose`, `dlerror` and `dlresultcode`, and of resolving imports, one test a
//! rule and named after it. `README.md` of this crate has the list of rules; what is expected comes from there.
//!
//! Where both formats can show a rule, images of the corpus do, through the front door's [`dl`] calls; what a compiler
//! does not easily make (re-exports, a symbol whose value is 0, a fault at each stage) is shown with toy files.
//!
//! Lines that images log are compared as `+name` (initialiser) and `-name` (terminator), whatever the format calls them.

use loader::{
    Dialect, ErrorKind, Handle, HostModule, ImportControl, MissingPolicy, Mode, Origin, Rules, Stage, dl,
};
use loader_core::{Occasion, Query};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::CString,
    sync::{Arc, Mutex, Once, mpsc},
    thread,
    time::Duration,
};
use tests::{
    toy::{Toy, request},
    world::{World, said},
};

/// Code 100, the dynamic functions' own, with a detail.
const fn own(detail: u32) -> u32 {
    100 << 16 | detail
}

/// What images logged, as `+name` and `-name`.
fn lives() -> Vec<String> {
    let sign = |line: String| match line.split_once(' ') {
        Some(("init" | "attach", name)) => format!("+{name}"),
        Some(("fini" | "detach", name)) => format!("-{name}"),
        _ => line,
    };
    said().into_iter().map(sign).collect()
}

fn text(name: &str) -> CString {
    CString::new(name).expect("no zero byte")
}

/// Every order of some things.
fn orders<T: Clone>(things: &[T]) -> Vec<Vec<T>> {
    if things.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for n in 0..things.len() {
        let mut rest = things.to_vec();
        let first = rest.remove(n);
        all.extend(orders(&rest).into_iter().map(|tail| [vec![first.clone()], tail].concat()));
    }
    all
}

// Words.

#[test]
fn the_load_list_is_breadth_first_each_name_once_the_target_first() {
    for w in World::each() {
        let top = w.now("diamond", "diamond");
        let list = ["diamond", "diamond-left", "diamond-right", "diamond-bottom"];
        assert_eq!(w.load_list(top), list);
        assert_eq!(w.events(&["mapped"]), list.map(|name| format!("mapped {name}")));
        let left = w.now("diamond", "diamond-left");
        assert_eq!(w.load_list(left), ["diamond-left", "diamond-bottom"]);
    }
    let toy = Toy::new(&[
        ("a", "need b; need c"),
        ("b", "need d; need a"),
        ("c", "need b; need e; need c"),
        ("d", "need e"),
        ("e", ""),
    ]);
    let a = toy.open("a").unwrap();
    assert_eq!(toy.load_list(a), ["a", "b", "c", "d", "e"]);
    let c = toy.open("c").unwrap();
    assert_eq!(toy.load_list(c), ["c", "b", "e", "d", "a"]);
}

#[test]
fn the_new_operating_load_set_is_the_prior_one_plus_the_added_one() {
    for w in World::each() {
        assert!(w.loaded().is_empty());
        let one = w.now("two-roots", "two-roots-one");
        assert_eq!(w.loaded(), ["two-roots-one", "two-roots-shared"]);
        let two = w.now("two-roots", "two-roots-two");
        assert_eq!(w.loaded(), ["two-roots-one", "two-roots-shared", "two-roots-two"]);
        assert_eq!((w.close(one), w.close(two)), (0, 0));
    }
}

// dlopen.

#[test]
fn every_successful_open_gives_a_new_unique_handle() {
    for w in World::each() {
        let mut handles = BTreeSet::new();
        for round in 1..=20 {
            let (root, leaf) = (w.now("dependency", "dependency"), w.now("dependency", "dependency-leaf"));
            let program = dl::dlopen(&w.engine, None, Mode::NOW);
            handles.extend([root, leaf, program]);
            assert_eq!(handles.len(), 3 * round, "a handle was given out twice");
            if round % 3 == 0 {
                assert_eq!((w.close(leaf), w.close(root), w.close(program)), (0, 0, 0));
            }
        }
        assert!(!handles.contains(&0));
    }
}

#[test]
fn a_handle_is_opaque_not_an_address() {
    for w in World::each() {
        let handle = w.now("dependency", "dependency");
        assert!(w.engine.load_set().module_at(loader::Addr(handle)).is_none());
        let base = w.engine.load_set().target(Handle::from_bits(handle)).unwrap().at.base;
        assert_eq!(w.sym(base.0, c"dependency_root"), 0);
        assert_eq!(dl::dlresultcode(), own(1), "an address is no handle");
    }
}

#[test]
fn each_open_handle_counts_as_one_use_of_its_target_and_its_load_list() {
    for w in World::each() {
        let handles: Vec<_> = (0..3).map(|_| w.now("dependency", "dependency")).collect();
        assert_eq!(lives(), ["+leaf", "+root"]);
        for (nth, &handle) in handles.iter().enumerate() {
            assert_eq!(w.loaded(), ["dependency", "dependency-leaf"], "after {nth} closes");
            assert_eq!(w.call(handle, c"dependency_root", 0), 42);
            assert_eq!(w.close(handle), 0);
        }
        assert_eq!(lives(), ["-root", "-leaf"]);
        assert!(w.loaded().is_empty());
    }
}

#[test]
fn a_null_path_is_the_main_program_and_loads_nothing() {
    for w in World::each() {
        let program = dl::dlopen(&w.engine, None, Mode::NOW);
        assert_ne!(program, 0);
        assert!(w.loaded().is_empty());
        assert_eq!(w.events(&["mapped"]), [""; 0]);
        let root = w.now("dependency", "dependency");
        let _ = w.events(&[]);
        assert_eq!(w.close(program), 0, "closing it is accepted");
        assert_eq!(w.events(&["detached", "unmapped"]), [""; 0], "and unloads nothing");
        assert_eq!(w.call(root, c"dependency_root", 0), 42);
    }
}

#[test]
fn a_loaded_library_is_not_loaded_again_and_its_lib_list_is_not_walked_again() {
    for w in World::each() {
        let _first = w.now("diamond", "diamond-left");
        assert_eq!(lives(), ["+bottom", "+left"]);
        let _ = w.events(&[]);
        let _again = w.now("diamond", "diamond-left");
        assert_eq!(w.events(&["mapped", "trying", "attached"]), [""; 0]);
        let _top = w.now("diamond", "diamond");
        assert_eq!(w.events(&["mapped"]), ["mapped diamond", "mapped diamond-right"]);
        assert_eq!(lives(), ["+right", "+top"]);
    }
    // Not even to notice that the file has another libList now.
    let toy = Toy::new(&[("a", "need b"), ("b", ""), ("c", ""), ("r", "need a")]);
    let _a = toy.open("a").unwrap();
    assert_eq!(toy.sought(), ["a", "b"]);
    toy.put("a", "need b; need c");
    let _again = toy.open("a").unwrap();
    let _r = toy.open("r").unwrap();
    assert_eq!(toy.sought(), ["r"]);
    assert_eq!(toy.loaded(), ["a", "b", "r"]);
}

#[test]
fn a_mode_is_one_of_now_lazy_noload_at_most_one_of_global_local_and_verbose_to_8() {
    let mut valid = BTreeSet::new();
    for load in [Mode::NOW, Mode::LAZY, Mode::NOLOAD] {
        for visibility in [0, Mode::GLOBAL, Mode::LOCAL] {
            valid.extend((0..=8).map(|n| load | visibility | Mode::verbose(n)));
        }
    }
    assert_eq!(valid.len(), 81, "no two options share a bit");
    for bits in (0..=0xffff).chain((16..32).flat_map(|n| [1 << n, 1 << n | Mode::NOW])) {
        match Mode::from_bits(bits) {
            Ok(_) => assert!(valid.contains(&bits), "{bits:#x} was accepted"),
            Err(kind) => {
                assert!(!valid.contains(&bits), "{bits:#x} was refused");
                assert_eq!(kind, ErrorKind::BadMode { mode: bits });
            }
        }
    }
    for w in World::each() {
        let (now, lazy, noload) = (Mode::NOW, Mode::LAZY, Mode::NOLOAD);
        for bits in [
            0,
            now | lazy,
            now | noload,
            Mode::GLOBAL,
            now | Mode::GLOBAL | Mode::LOCAL,
            now | Mode::verbose(9),
        ] {
            assert_eq!(w.open("dependency", "dependency", bits), 0);
            assert_eq!(dl::dlresultcode(), own(3), "{bits:#x}");
            assert_eq!(dl::dlopen(&w.engine, None, bits), 0, "the main program's path needs a mode as well");
            assert_eq!(dl::dlresultcode(), own(3), "{bits:#x}");
        }
        assert!(w.loaded().is_empty());
    }
}

#[test]
fn lazy_acts_as_now() {
    for w in World::each() {
        let stem = if w.format == corpus::Format::Elf { "undefined" } else { "undefined-name" };
        assert_eq!(w.open("undefined", stem, Mode::LAZY), 0, "what is undefined is noticed at once");
        assert_eq!(dl::dlresultcode() >> 16, 207);
        let root = w.open("dependency", "dependency", Mode::LAZY);
        assert_eq!(w.call(root, c"dependency_root", 0), 42);
    }
}

#[test]
fn local_acts_as_global() {
    let w = World::new(corpus::Format::Elf);
    let _first = w.open("interposition", "interpose-first", Mode::NOW | Mode::LOCAL);
    let second = w.open("interposition", "interpose-second", Mode::NOW | Mode::LOCAL);
    assert_eq!(w.call(second, c"second_calls", 0), 1, "the first one's symbols are on the global list");
    // The option: POSIX, where they are not.
    let posix = Rules { dialect: Dialect::Posix, ..Rules::default() };
    let w = World::with(corpus::Format::Elf, |builder| builder.rules(posix));
    let _first = w.open("interposition", "interpose-first", Mode::NOW | Mode::LOCAL);
    let second = w.open("interposition", "interpose-second", Mode::NOW | Mode::LOCAL);
    assert_eq!(w.call(second, c"second_calls", 0), 2);
}

#[test]
fn noload_gives_a_handle_that_counts_if_the_target_is_loaded_and_never_loads() {
    for w in World::each() {
        assert_eq!(w.open("dependency", "dependency", Mode::NOLOAD), 0);
        assert_eq!(dl::dlresultcode(), own(8));
        assert!(w.loaded().is_empty());
        let root = w.now("dependency", "dependency");
        for stem in ["dependency", "dependency-leaf"] {
            let handle = w.open("dependency", stem, Mode::NOLOAD);
            assert_ne!(handle, 0);
            assert_ne!(handle, root);
            if stem == "dependency" {
                assert_eq!(w.close(handle), 0);
                continue;
            }
            assert_eq!(w.close(root), 0);
            assert_eq!(w.loaded(), [stem], "its handle holds it");
            assert_eq!(w.close(handle), 0);
        }
        assert!(w.loaded().is_empty());
    }
}

#[test]
fn noload_says_the_same_of_a_file_that_is_not_there_or_is_no_loadfile() {
    for w in World::each() {
        assert_eq!(w.open("dependency", "nowhere", Mode::NOLOAD), 0);
        assert_eq!(dl::dlresultcode(), own(8));
        let manifest = text(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert_eq!(dl::dlopen(&w.engine, Some(&manifest), Mode::NOLOAD), 0);
        assert_eq!(dl::dlresultcode(), own(8));
    }
}

thread_local! {
    static LOGGED: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what this thread's calls write to the log.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, meta: &log::Metadata<'_>) -> bool {
        meta.target() == "loader"
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOGGED.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
        }
    }
    fn flush(&self) {}
}

#[test]
fn verbose_n_says_what_the_table_says() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Logger).expect("the only logger of this program");
        log::set_max_level(log::LevelFilter::Trace);
    });
    // n: warnings and errors, files loaded, symbol resolution, file search, symbol search.
    let table = [
        (1, ""),
        (2, "errors"),
        (3, "errors files"),
        (4, "errors files symbols"),
        (5, "errors files file-search"),
        (6, "errors files symbols file-search"),
        (7, "errors files symbols symbol-search"),
        (8, "errors files symbols file-search symbol-search"),
    ];
    for w in World::each() {
        for (n, said) in table {
            LOGGED.take();
            assert_eq!(w.open("missing-dependency", "missing", Mode::NOW | Mode::verbose(n)), 0);
            let handle = w.open("dependency", "dependency", Mode::NOW | Mode::verbose(n));
            let lines: Vec<String> = LOGGED.take().into_iter().map(|(_, line)| line).collect();
            assert_eq!(w.close(handle), 0);
            let any = |word: &str| lines.iter().any(|line| line.starts_with(word));
            for (topic, word) in [
                ("errors", "failed "),
                ("files", "mapped "),
                ("files", "attached "),
                ("symbols", "bound "),
                ("file-search", "trying "),
                ("symbol-search", "asked "),
            ] {
                let expected = said.split(' ').any(|s| s == topic);
                assert_eq!(any(word), expected, "VERBOSE({n}), {topic}, {word}: {lines:#?}");
            }
        }
    }
}

#[test]
fn a_failed_open_leaves_the_operating_load_set_exactly_as_it_was() {
    for w in World::each() {
        let held = w.now("dependency", "dependency");
        let (before, _) = (w.loaded(), lives());
        let undefined = if w.format == corpus::Format::Elf { "undefined" } else { "undefined-name" };
        for (case, stem) in [
            ("missing-dependency", "missing"),
            ("missing-dependency", "nowhere"),
            ("undefined", undefined),
            ("init-refused-in-dependency", "refused"),
        ] {
            assert_eq!(w.open(case, stem, Mode::NOW), 0, "{stem}");
            assert_ne!(dl::dlresultcode(), 0);
            assert_eq!(w.loaded(), before, "after {stem}");
        }
        // Only a Windows image can refuse once something ran; then all that ran is undone.
        let ran = ["+first", "+second", "-second", "-first"];
        let ran: &[&str] = if w.format == corpus::Format::Pe { &ran } else { &[] };
        assert_eq!(lives(), ran);
        assert_eq!(w.call(held, c"dependency_root", 0), 42);
    }
    // At whichever stage it fails: at the last file of the list each time, so that there is something to undo.
    for (fault, stage) in [
        ("need gone", Stage::Find),
        ("garbage", Stage::Parse),
        ("huge", Stage::Map),
        ("broken", Stage::Relocate),
        ("import nobody_has_this", Stage::Bind),
        ("refuses", Stage::Attach),
        ("fails", Stage::Attach),
    ] {
        let toy = Toy::new(&[
            ("r", "need a; need z; import f"),
            ("a", "need h; export f"),
            ("h", "export f"),
            ("z", fault),
        ]);
        let _h = toy.open("h").unwrap();
        let _ = toy.log();
        let error = toy.open("r").unwrap_err();
        assert_eq!(error.stage, stage, "{fault}: {error}");
        assert_eq!((toy.loaded(), toy.in_memory()), (vec!["h".to_owned()], 1), "{fault}");
        let (ran, ended) = (toy.log_of(&["attached", "detached"]), stage == Stage::Attach);
        assert_eq!(ran, if ended { vec!["attached a", "detached a"] } else { vec![] }, "{fault}");
        // Nothing remembers that it was there: the next open is like the first.
        toy.put("z", "");
        let r = toy.open("r").unwrap();
        assert_eq!(toy.load_list(r), ["r", "a", "z", "h"]);
    }
}

#[test]
fn a_failed_load_with_the_program_leaves_nothing_either() {
    let toy =
        Toy::new(&[("p", "need q"), ("q", ""), ("r", "need a; need p; need z"), ("a", ""), ("z", "refuses")]);
    toy.load_with_program("p").unwrap();
    assert!(toy.load_with_program("r").is_err());
    assert_eq!(toy.loaded(), ["p", "q"]);
    assert_eq!(toy.log_of(&["detached"]), ["detached a"]);
}

#[test]
fn unresolved_symbols_are_an_error_or_a_warning_as_the_engine_is_told() {
    for w in World::each() {
        let stem = if w.format == corpus::Format::Elf { "undefined" } else { "undefined-name" };
        assert_eq!(w.open("undefined", stem, Mode::NOW), 0);
        let error = dl::last_error().unwrap();
        assert!(matches!(error.kind, ErrorKind::Undefined { .. }), "{error}");
        assert!(w.loaded().is_empty(), "as an error: nothing is loaded");

        let w = World::with(w.format, |builder| builder.missing(MissingPolicy::Trap));
        assert_ne!(w.open("undefined", stem, Mode::NOW), 0);
        let symbol = "undefined_nobody_has_this";
        assert_eq!(w.events(&["missing"]), [format!("missing {stem}: {symbol}")]);
        assert_ne!(w.open("missing-dependency", "missing", Mode::NOW), 0);
        assert_eq!(w.events(&["stand-in"]), ["stand-in missing-gone"]);
    }
}

#[test]
fn initialisers_run_after_the_libraries_are_in_place_and_before_the_handle_is_returned() {
    for w in World::each() {
        let top = w.now("diamond", "diamond");
        let all = ["bottom", "left", "right", "top"];
        assert_eq!(lives(), all.map(|name| format!("+{name}")));
        let events = w.events(&["mapped", "bound", "attached"]);
        let first = events.iter().position(|e| e.starts_with("attached")).unwrap();
        assert!(events[first..].iter().all(|e| e.starts_with("attached")), "{events:#?}");
        assert_eq!(w.call(top, c"diamond_top", 0), 21);
    }
}

#[test]
fn symbols_of_the_prior_load_set_are_never_bound_again_because_of_an_open() {
    let w = World::new(corpus::Format::Elf);
    let second = w.now("interposition", "interpose-second");
    assert_eq!(w.call(second, c"second_calls", 0), 2);
    let _first = w.now("interposition", "interpose-first");
    assert_eq!((w.call(second, c"second_calls", 0), w.call(second, c"second_reads", 0)), (2, 20));
    // Nor because of a close: who was bound to stays.
    let toy = Toy::new(&[("a", "export f"), ("b", "import f; export f"), ("c", "export f")]);
    let (a, _b) = (toy.open("a").unwrap(), toy.open("b").unwrap());
    assert_eq!(toy.close(a), []);
    let _c = toy.open("c").unwrap();
    assert_eq!(toy.log_of(&["bound"]), ["bound b: f -> a"]);
    assert_eq!(toy.loaded(), ["a", "b", "c"]);
}

// dlsym.

#[test]
fn dlsym_searches_the_target_then_its_load_list_in_order() {
    for w in World::each() {
        let (root, leaf) = (w.now("dependency", "dependency"), w.now("dependency", "dependency-leaf"));
        let through_root = w.sym(root, c"dependency_leaf");
        assert_ne!(through_root, 0, "what the target needs is searched too");
        assert_eq!(through_root, w.sym(leaf, c"dependency_leaf"));
        assert_eq!(w.sym(leaf, c"dependency_root"), 0, "what needs the target is not");
    }
    let w = World::new(corpus::Format::Elf);
    let (first, second) =
        (w.now("interposition", "interpose-first"), w.now("interposition", "interpose-second"));
    assert_eq!(w.call(first, c"interposed", 0), 1);
    assert_eq!(w.call(second, c"interposed", 0), 2, "the target comes before an earlier library");
    // The first occurrence in loadList order wins, whatever import controls and re-exports say.
    let toy = Toy::new(&[
        ("a", "localized; need b; need c; export own"),
        ("b", "pe; need d"),
        ("c", "export f; export g"),
        ("d", "export f; export h"),
    ]);
    let a = toy.open("a").unwrap();
    let found: Vec<_> = ["own", "f", "g", "h"].map(|s| toy.find(a, s).unwrap().to_string()).into();
    assert_eq!(found, ["a", "c", "c", "d"], "d, which nobody re-exports, is in the loadList, after c");
}

extern "C" fn from_the_program() -> i32 {
    7
}

#[test]
fn a_handle_for_the_main_program_searches_the_program_then_the_entire_operating_load_set() {
    for format in corpus::Format::ALL {
        let offered = HostModule::new("offered").global().function("demo_add", from_the_program as *const ());
        let w = World::with(format, |builder| builder.host(offered));
        let program = dl::dlopen(&w.engine, None, Mode::NOW);
        assert_ne!(w.sym(program, c"malloc"), 0, "what the program was started with");
        assert_eq!(w.sym(program, c"dependency_leaf"), 0);
        let _root = w.now("dependency", "dependency");
        assert_ne!(w.sym(program, c"dependency_leaf"), 0, "what was opened since, and what that needs");
        let demo = w.now("demo", "demo");
        assert_ne!(w.sym(demo, c"demo_add"), from_the_program as *const () as usize as u64);
        assert_eq!(
            w.sym(program, c"demo_add"),
            from_the_program as *const () as usize as u64,
            "the program comes first"
        );
    }
}

#[test]
fn by_the_posix_rules_a_handle_for_the_main_program_searches_what_everybody_sees() {
    let posix = Rules { dialect: Dialect::Posix, ..Rules::default() };
    let w = World::with(corpus::Format::Elf, |builder| builder.rules(posix));
    let program = dl::dlopen(&w.engine, None, Mode::NOW);
    assert_ne!(w.sym(program, c"malloc"), 0);
    let _local = w.open("dependency", "dependency", Mode::NOW | Mode::LOCAL);
    assert_eq!(w.sym(program, c"dependency_leaf"), 0);
    let global = w.open("dependency", "dependency", Mode::NOW | Mode::GLOBAL);
    assert_eq!(w.sym(program, c"dependency_leaf"), w.sym(global, c"dependency_leaf"));
}

#[test]
fn dlsym_is_0_for_a_bad_handle_for_no_symbol_and_for_a_value_of_0_which_is_no_error() {
    for format in corpus::Format::ALL {
        let offered = HostModule::new("offered").global().function("null_value", std::ptr::null());
        let w = World::with(format, |builder| builder.host(offered));
        let root = w.now("dependency", "dependency");
        assert_eq!(w.sym(root, c"nobody_has_this"), 0);
        assert_eq!(dl::dlresultcode(), own(2));
        assert_eq!(w.sym(root + (1 << 40), c"dependency_root"), 0);
        assert_eq!(dl::dlresultcode(), own(1));
        let program = dl::dlopen(&w.engine, None, Mode::NOW);
        assert_eq!(w.sym(root, c"nobody_has_this"), 0, "so that there is an error to be cleared");
        assert_eq!(w.sym(program, c"null_value"), 0);
        assert_eq!((dl::dlerror(), dl::dlresultcode()), (None, 0));
    }
    // The null definition is one all the same: later ones are not looked at.
    let toy = Toy::new(&[("a", "need b; null f"), ("b", "export f")]);
    let a = toy.open("a").unwrap();
    let found = toy.set.symbol(a, &Query::name(b"f")).unwrap();
    assert_eq!((found.at.0, &*found.module), (0, "a"));
}

// dlclose.

#[test]
fn close_invalidates_the_handle_and_using_it_again_in_any_call_is_an_error() {
    for w in World::each() {
        let (stale, held) = (w.now("dependency", "dependency"), w.now("dependency", "dependency"));
        assert_eq!(w.close(stale), 0);
        // The target is still loaded, its slot is still used; then it is gone; then it is back.
        for round in 0..3 {
            match round {
                0 => {}
                1 => assert_eq!(w.close(held), 0),
                _ => assert_ne!(w.now("dependency", "dependency"), stale),
            }
            for handle in [stale, 0, u64::MAX, 1, stale ^ 1 << 32] {
                assert_ne!(w.close(handle), 0);
                assert_eq!(dl::dlresultcode(), own(1));
                assert_eq!(w.sym(handle, c"dependency_root"), 0);
                assert_eq!(dl::dlresultcode(), own(1));
            }
            assert_eq!(w.loaded().is_empty(), round == 1, "a stale handle closes nothing");
        }
    }
}

#[test]
fn the_last_close_unloads_a_target_that_was_opened() {
    for w in World::each() {
        let handles = [(); 2].map(|()| w.now("cycle", "cycle-a"));
        assert_eq!(w.close(handles[1]), 0);
        assert_eq!(w.events(&["detached", "unmapped"]), [""; 0]);
        assert_eq!(w.close(handles[0]), 0);
        assert_eq!(
            w.events(&["detached", "unmapped"]),
            ["detached cycle-a", "detached cycle-b", "unmapped cycle-a", "unmapped cycle-b"],
        );
        assert!(w.loaded().is_empty());
    }
}

#[test]
fn the_main_program_and_what_was_loaded_with_it_is_never_unloaded_by_a_close() {
    for format in corpus::Format::ALL {
        let root = tests::world::path(format, "dependency", "dependency");
        let w = World::with(format, |builder| builder.program(root));
        assert_eq!(lives(), ["+leaf", "+root"]);
        let _ = w.events(&[]);
        for stem in ["dependency", "dependency-leaf"] {
            let handles = [(); 3].map(|()| w.now("dependency", stem));
            for handle in handles {
                assert_eq!(w.close(handle), 0, "the handle is invalidated");
                assert_ne!(w.close(handle), 0);
            }
        }
        let programs = [(); 3].map(|()| dl::dlopen(&w.engine, None, Mode::NOW));
        assert_eq!(programs.map(|handle| w.close(handle)), [0; 3]);
        assert_eq!(w.events(&["mapped", "detached", "unmapped"]), [""; 0]);
        assert_eq!(w.loaded(), ["dependency", "dependency-leaf"]);
        assert!(lives().is_empty());
    }
}

#[test]
fn what_the_host_process_has_is_never_loaded_again_and_never_unloaded() {
    let w = World::new(corpus::Format::Elf);
    let libc = dl::dlopen(&w.engine, Some(c"libc.so.6"), Mode::NOW);
    assert_ne!(libc, 0);
    assert_eq!(w.events(&["mapped", "calling"]), [""; 0]);
    assert_eq!(w.sym(libc, c"getpid"), libc::getpid as *const () as usize as u64);
    assert_eq!(w.close(libc), 0);
    assert_eq!(w.events(&["detached", "unmapped"]), [""; 0]);
    let module = w.engine.load_set().module_named("libc.so.6").unwrap();
    assert_eq!((module.origin, module.handles), (Origin::Host, 0));
}

#[test]
fn with_a_library_goes_its_load_set_unless_the_program_or_a_handle_holds_it() {
    for w in World::each() {
        let (one, two) = (w.now("two-roots", "two-roots-one"), w.now("two-roots", "two-roots-two"));
        let _ = lives();
        assert_eq!(w.close(one), 0);
        assert_eq!(lives(), ["-one"], "the other root's load set has the shared one");
        assert_eq!(w.call(two, c"two_roots_two", 0), 1);
        assert_eq!(w.close(two), 0);
        assert_eq!(lives(), ["-two", "-shared"]);
        // Held by a handle of its own; and by the program.
        let (one, shared) = (w.now("two-roots", "two-roots-one"), w.now("two-roots", "two-roots-shared"));
        let _ = lives();
        assert_eq!((w.close(one), lives()), (0, vec!["-one".to_owned()]));
        assert_eq!((w.close(shared), lives()), (0, vec!["-shared".to_owned()]));
        let program = w.path("two-roots", "two-roots-two");
        let w = World::with(w.format, |builder| builder.program(program));
        let one = w.now("two-roots", "two-roots-one");
        let _ = lives();
        assert_eq!((w.close(one), lives()), (0, vec!["-one".to_owned()]));
        assert_eq!(w.loaded(), ["two-roots-two", "two-roots-shared"]);
    }
}

#[test]
fn the_new_operating_load_set_is_the_old_one_less_what_was_unloaded() {
    for w in World::each() {
        let chain = w.now("chain", "chain3");
        let all = w.now("chain", "chain1");
        assert_eq!(w.loaded(), ["chain3", "chain4", "chain1", "chain2"]);
        let gone = w.engine.load_set().close(Handle::from_bits(all)).unwrap().gone;
        assert_eq!(gone.len(), 2);
        assert_eq!(w.loaded(), ["chain3", "chain4"]);
        assert_eq!(w.close(chain), 0);
        assert!(w.loaded().is_empty());
    }
}

#[test]
fn all_terminators_run_in_the_inverse_order_of_loading_before_any_unmapping() {
    for w in World::each() {
        let top = w.now("diamond", "diamond");
        let _ = (lives(), w.events(&[]));
        assert_eq!(w.close(top), 0);
        assert_eq!(lives(), ["-top", "-right", "-left", "-bottom"]);
        let order = ["diamond", "diamond-right", "diamond-left", "diamond-bottom"];
        let expected: Vec<_> = ["detached", "unmapped"]
            .iter()
            .flat_map(|what| order.map(|name| format!("{what} {name}")))
            .collect();
        assert_eq!(w.events(&["detached", "unmapped"]), expected);
    }
    // Every terminator still sees everything in memory, across separate opens as well.
    let toy = Toy::new(&[("a", "need b"), ("b", "need c"), ("c", ""), ("d", "need a")]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let toy = Arc::new(toy);
    for name in ["a", "b", "c", "d"] {
        let (seen, weak) = (seen.clone(), Arc::downgrade(&toy));
        toy.when(name, Occasion::Unloaded, move |set| {
            let toy = weak.upgrade().expect("the test holds it");
            seen.lock().unwrap().push((toy.in_memory(), set.modules().len()));
            true
        });
    }
    let (b, d) = (toy.open("b").unwrap(), toy.open("d").unwrap());
    assert_eq!(toy.close(b), []);
    let _ = toy.log();
    assert_eq!(toy.close(d).len(), 4);
    assert_eq!(toy.log_of(&["ends"]), ["ends d", "ends a", "ends b", "ends c"]);
    assert_eq!(*seen.lock().unwrap(), [(4, 0); 4], "all in memory, none to be found");
}

#[test]
fn reopening_loads_afresh_with_whatever_of_the_lib_list_is_not_loaded_and_gives_a_new_handle() {
    for w in World::each() {
        let first = w.now("two-roots", "two-roots-one");
        assert_eq!([(); 3].map(|()| w.call(first, c"two_roots_one", 0)), [1, 2, 3]);
        let shared = w.now("two-roots", "two-roots-shared");
        assert_eq!(w.close(first), 0);
        let _ = (lives(), w.events(&[]));
        let second = w.now("two-roots", "two-roots-one");
        assert_ne!(first, second);
        assert_eq!(w.events(&["mapped"]), ["mapped two-roots-one"], "what is loaded stays as it is");
        assert_eq!(lives(), ["+one"]);
        assert_eq!(w.call(second, c"two_roots_one", 0), 4, "the shared one kept its state");
        assert_eq!((w.close(second), w.close(shared)), (0, 0));
        let third = w.now("two-roots", "two-roots-one");
        assert_eq!(w.events(&["mapped"]), ["mapped two-roots-one", "mapped two-roots-shared"]);
        assert_eq!(w.call(third, c"two_roots_one", 0), 1, "all is new");
        assert_eq!(BTreeSet::from([first, second, third, shared]).len(), 4);
    }
}

#[test]
fn dlclose_is_0_when_the_handle_was_invalidated_and_not_0_otherwise() {
    for w in World::each() {
        let (root, program) = (w.now("dependency", "dependency"), dl::dlopen(&w.engine, None, Mode::NOW));
        for handle in [root, program] {
            assert_eq!(w.close(handle), 0);
            assert_ne!(w.close(handle), 0);
            assert_ne!(w.close(0), 0);
        }
    }
}

#[test]
fn closing_in_every_order_keeps_what_is_still_led_to_and_nothing_else() {
    let names = ["one", "two", "shared", "one"];
    for format in corpus::Format::ALL {
        for order in orders(&[0, 1, 2, 3]) {
            let w = World::new(format);
            let mut open = names.map(|name| Some(w.now("two-roots", &format!("two-roots-{name}"))));
            for &n in &order {
                assert_eq!(open[n].take().map(|handle| w.close(handle)), Some(0));
                let still = names.iter().zip(open).filter(|(_, handle)| handle.is_some());
                let mut expected: BTreeSet<_> = still.map(|(name, _)| format!("two-roots-{name}")).collect();
                if !expected.is_empty() {
                    expected.insert("two-roots-shared".to_owned());
                }
                assert_eq!(w.loaded().into_iter().collect::<BTreeSet<_>>(), expected, "{order:?}, after {n}");
            }
        }
    }
}

#[test]
fn a_cycle_stays_as_long_as_any_member_is_open_and_goes_as_one() {
    for w in World::each() {
        for [opened, kept] in [["cycle-a", "cycle-b"], ["cycle-b", "cycle-a"]] {
            let (first, second) = (w.now("cycle", opened), w.now("cycle", kept));
            assert_eq!(w.close(first), 0);
            assert_eq!(w.loaded().len(), 2);
            assert_eq!(w.close(second), 0);
            assert!(w.loaded().is_empty());
        }
    }
}

// dlerror and dlresultcode.

#[test]
fn dlerror_and_dlresultcode_speak_of_the_latest_call_and_of_nothing_when_it_succeeded() {
    let quiet = || (dl::dlerror(), dl::dlresultcode()) == (None, 0);
    for format in corpus::Format::ALL {
        thread::spawn(move || {
            assert!(quiet(), "there was no call yet");
            let w = World::new(format);
            assert!(quiet());
            assert_eq!(w.open("dependency", "nowhere", Mode::NOW), 0);
            assert_eq!(dl::dlresultcode() >> 16, 200);
            assert!(dl::dlerror().unwrap().contains("nowhere"));
            let root = w.now("dependency", "dependency");
            assert!(quiet(), "dlopen succeeded");
            assert_eq!(w.sym(root, c"nobody_has_this"), 0);
            assert!(dl::dlerror().unwrap().contains("nobody_has_this"));
            assert_ne!(w.sym(root, c"dependency_root"), 0);
            assert!(quiet(), "dlsym succeeded");
            assert_ne!(w.close(0), 0);
            assert_eq!(dl::dlresultcode(), own(1), "the latest one's, not dlsym's");
            assert_eq!(w.close(root), 0);
            assert!(quiet(), "dlclose succeeded");
        })
        .join()
        .unwrap();
    }
}

#[test]
fn neither_dlerror_nor_dlresultcode_resets_anything_or_affects_the_other() {
    for w in World::each() {
        assert_ne!(w.close(0), 0);
        let (error, code) = (dl::dlerror(), dl::dlresultcode());
        assert!(error.is_some() && code == own(1));
        for _ in 0..3 {
            assert_eq!((dl::dlresultcode(), dl::dlresultcode()), (code, code));
            assert_eq!((dl::dlerror(), dl::dlerror()), (error.clone(), error.clone()));
        }
    }
}

#[test]
fn the_error_text_is_displayable_and_has_no_newline() {
    for w in World::each() {
        let extension = if w.format == corpus::Format::Elf { "so" } else { "dll" };
        for name in ["a\nb", "bell\x07", "\x1b[31mred", "tab\t", "\u{85}next", "del\x7f"] {
            let name = text(&format!("{name}.{extension}"));
            assert_eq!(dl::dlopen(&w.engine, Some(&name), Mode::NOW), 0);
            let error = dl::dlerror().unwrap();
            assert!(!error.chars().any(char::is_control), "{error:?}");
            let root = w.now("dependency", "dependency");
            assert_eq!(w.sym(root, &name), 0);
            let error = dl::dlerror().unwrap();
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
    }
}

#[test]
fn dlresultcode_has_the_error_code_in_its_upper_half_and_the_detail_in_its_lower() {
    for w in World::each() {
        let undefined = if w.format == corpus::Format::Elf { "undefined" } else { "undefined-name" };
        let code = |case, stem| {
            assert_eq!(w.open(case, stem, Mode::NOW), 0);
            (dl::dlresultcode() >> 16, dl::dlresultcode() & 0xffff)
        };
        let stage = |stage: Stage| stage as u32 + 1;
        assert_eq!(code("dependency", "nowhere"), (200, stage(Stage::Find)));
        assert_eq!(code("missing-dependency", "missing"), (200, stage(Stage::Find)));
        assert_eq!(code("undefined", undefined), (207, stage(Stage::Bind)));
        if w.format == corpus::Format::Pe {
            assert_eq!(code("failing-initialiser", "failing"), (212, stage(Stage::Attach)));
        }
        let manifest = text(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert_eq!(dl::dlopen(&w.engine, Some(&manifest), Mode::NOW), 0);
        assert_eq!(dl::dlresultcode(), 202 << 16 | stage(Stage::Parse));
    }
}

#[test]
fn the_details_of_code_100() {
    let detail = |failed: bool, detail| {
        assert!(failed);
        assert_eq!(dl::dlresultcode(), own(detail));
    };
    for w in World::each() {
        let root = w.now("dependency", "dependency");
        detail(w.sym(0, c"dependency_root") == 0, 1);
        detail(w.close(0) != 0, 1);
        detail(w.sym(root, c"nobody_has_this") == 0, 2);
        detail(w.open("dependency", "dependency", 0) == 0, 3);
        detail(dl::dlopen(&w.engine, Some(c""), Mode::NOW) == 0, 4);
        detail(w.open("diamond", "diamond", Mode::NOLOAD) == 0, 8);
    }
}

#[test]
fn what_an_open_is_bound_to_may_be_closed_meanwhile_and_stays_for_it() {
    // An ifunc resolver, the first foreign code of an open, closes what the open is being bound to.
    let toy = Toy::new(&[("a", "export f"), ("b", "import f; resolver g; import g")]);
    let a = toy.open("a").unwrap();
    toy.when_resolving(move |set| drop(set.close(a)));
    let b = toy.open("b").unwrap();
    assert_eq!(toy.loaded(), ["a", "b"]);
    toy.close(b);
    assert_eq!((toy.loaded(), toy.in_memory()), (vec![], 0));
}

#[test]
fn inconsistent_state_found_in_an_open_is_detail_6() {
    // A thread waits for an initialiser that another thread runs, and that one refuses.
    let toy = Toy::new(&[("a", "need r"), ("r", "refuses"), ("b", "need r")]);
    let (waits, waiting) = mpsc::channel();
    toy.set.observe(move |event: &loader::Event<'_>| {
        if matches!(event, loader::Event::Waiting { name: "r" }) {
            let _ = waits.send(());
        }
    });
    let (runs, running) = mpsc::channel();
    let waiting = Mutex::new(waiting);
    toy.when("r", Occasion::Loaded, move |_| {
        let _ = runs.send(());
        waiting.lock().unwrap().recv().is_ok()
    });
    let (first, second) = thread::scope(|s| {
        let first = s.spawn(|| toy.open("a").unwrap_err());
        running.recv().unwrap();
        let second = s.spawn(|| toy.open("b").unwrap_err());
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first.dlresultcode() >> 16, 212, "{first}");
    assert_eq!(second.dlresultcode(), own(6), "{second}");
    assert_eq!((toy.loaded(), toy.in_memory()), (vec![], 0));
}

#[test]
fn the_last_result_is_kept_per_thread() {
    for w in World::each() {
        assert_ne!(w.close(0), 0);
        thread::scope(|s| {
            s.spawn(|| {
                assert_eq!((dl::dlerror(), dl::dlresultcode()), (None, 0));
                assert_eq!(dl::dlopen(&w.engine, None, 0), 0);
                assert_eq!(dl::dlresultcode(), own(3));
            });
        });
        assert_eq!(dl::dlresultcode(), own(1), "another thread's calls change nothing here");
    }
}

// Resolving imported symbols.

#[test]
fn globalized_an_earlier_definition_pre_empts_a_librarys_own() {
    let w = World::new(corpus::Format::Elf);
    let _first = w.now("interposition", "interpose-first");
    let second = w.now("interposition", "interpose-second");
    assert_eq!((w.call(second, c"second_calls", 0), w.call(second, c"second_reads", 0)), (1, 10));
    // The program's list comes first; each open appends what it added, in loadList order.
    let toy = Toy::new(&[
        ("p", "need q; export f"),
        ("q", "export g"),
        ("a", "need b; export f; export g; export h"),
        ("b", "export h; export i; export j"),
        ("c", "need d; import f; import g; import h; import i; import j; import k; export i; export k"),
        ("d", "export j; export k"),
    ]);
    toy.load_with_program("p").unwrap();
    let _a = toy.open("a").unwrap();
    let _c = toy.open("c").unwrap();
    let bound = ["f -> p", "g -> q", "h -> a", "i -> b", "j -> b", "k -> c"];
    assert_eq!(toy.log_of(&["bound"]), bound.map(|b| format!("bound c: {b}")));
}

#[test]
fn semi_globalized_the_loadfile_itself_comes_first() {
    let w = World::new(corpus::Format::Elf);
    let _first = w.now("interposition", "interpose-first");
    let symbolic = w.now("interposition", "interpose-symbolic"); // DF_SYMBOLIC
    assert_eq!(w.call(symbolic, c"symbolic_calls", 0), 2);
    // As the engine's option.
    let rules = Rules { control: Some(ImportControl::SemiGlobalized), ..Rules::default() };
    let w = World::with(corpus::Format::Elf, |builder| builder.rules(rules));
    let _first = w.now("interposition", "interpose-first");
    let second = w.now("interposition", "interpose-second");
    assert_eq!(w.call(second, c"second_calls", 0), 2);
    let toy = Toy::new(&[
        ("a", "export f; export g"),
        ("b", "semi-globalized; need c; import f; import g; import h; export f"),
        ("c", "export g; export h"),
    ]);
    let _a = toy.open("a").unwrap();
    let _b = toy.open("b").unwrap();
    assert_eq!(toy.log_of(&["bound"]), ["bound b: f -> b", "bound b: g -> a", "bound b: h -> c"]);
}

#[test]
fn process_wide_single_definitions_bind_to_one_definition_whatever_the_import_control() {
    for control in [ImportControl::Globalized, ImportControl::SemiGlobalized, ImportControl::Localized] {
        let rules = Rules { control: Some(control), ..Rules::default() };
        let w = World::with(corpus::Format::Elf, |builder| builder.rules(rules));
        let one = w.now("unique", "unique-one");
        let two = w.now("unique", "unique-two");
        let value = w.sym(one, c"unique_value");
        assert_eq!(w.sym(two, c"unique_value"), value, "{control:?}: one definition for dlsym too");
        let _ = w.call(one, c"one_set", 5);
        assert_eq!(w.call(two, c"two_get", 0), 5, "{control:?}");
        assert_eq!(w.close(one), 0);
        assert_eq!(w.call(two, c"two_get", 0), 5, "{control:?}: who is bound to it keeps it");
        assert_eq!(w.close(two), 0);
        // It went with the last that was bound to it: the next is a fresh one.
        let two = w.now("unique", "unique-two");
        assert_eq!(w.call(two, c"two_get", 0), 1, "{control:?}");
    }
}

#[test]
fn localized_itself_its_lib_list_then_breadth_first_what_those_re_export_and_nothing_else() {
    let rules = Rules { control: Some(ImportControl::Localized), ..Rules::default() };
    let w = World::with(corpus::Format::Elf, |builder| builder.rules(rules));
    let _first = w.now("interposition", "interpose-first");
    let second = w.now("interposition", "interpose-second");
    assert_eq!((w.call(second, c"second_calls", 0), w.call(second, c"second_reads", 0)), (2, 20));

    let files = [
        ("early", "export f; export g; export h; export i; export j"),
        ("a", "localized; need b; need c; import f; import g; import h; import i; import j; export f"),
        ("b", "need d; reexport e; export g"),
        ("c", "reexport x; export g; export h"),
        ("d", "export i; export j"),
        ("e", "export h; export i; reexport y"),
        ("x", "export i"),
        ("y", "export j"),
    ];
    let bound = ["f -> a", "g -> b", "h -> c", "i -> e", "j -> y"].map(|b| format!("bound a: {b}"));
    let toy = Toy::new(&files);
    let _early = toy.open("early").unwrap();
    let _a = toy.open("a").unwrap();
    assert_eq!(toy.log_of(&["bound"]), bound);
    // The same when what re-exports was loaded before.
    let toy = Toy::new(&files);
    for name in ["early", "c", "b", "a"] {
        let _ = toy.open(name).unwrap();
    }
    assert_eq!(toy.log_of(&["bound"]), bound);
    // What is only in the loadList, or only on the global list, is not asked.
    let toy = Toy::new(&[
        ("early", "export f"),
        ("a", "localized; need b; import f"),
        ("b", "need d"),
        ("d", "export f"),
    ]);
    let _early = toy.open("early").unwrap();
    let error = toy.open("a").unwrap_err();
    assert_eq!((&*error.module, error.stage), ("a", Stage::Bind), "{error}");
}

#[test]
fn a_windows_import_asks_the_named_library_only() {
    let toy = Toy::new(&[
        ("early", "export f"),
        ("early.dll", "pe; export f"),
        ("a.dll", "pe; need b.dll; need c.dll; import f from c.dll; export f"),
        ("b.dll", "pe; export f"),
        ("c.dll", "pe; export f"),
        ("bad.dll", "pe; need d.dll; import f from d.dll; export f"),
        ("d.dll", "pe; need b.dll"),
    ]);
    let opened = ["early", "early.dll", "a.dll"].map(|name| toy.open(name).unwrap());
    assert_eq!(toy.log_of(&["bound"]), ["bound a.dll: f -> c.dll"]);
    assert!(
        matches!(toy.open("bad.dll").unwrap_err().kind, ErrorKind::Undefined { from: Some(from), .. } if &*from == "d.dll")
    );
    assert_eq!(opened.len(), 3);
}

#[test]
fn import_control_of_one_loadfile_never_changes_how_anothers_imports_are_resolved() {
    let controls = ["", "semi-globalized", "localized"];
    for mine in controls {
        for other in controls {
            let toy = Toy::new(&[
                ("early", "export f; export g"),
                ("a", &format!("{mine}; need b; import f; import g; export f")),
                ("b", &format!("{other}; import g; export g; export f")),
            ]);
            let _early = toy.open("early").unwrap();
            let _a = toy.open("a").unwrap();
            let mine = match mine {
                "" => ["f -> early", "g -> early"],
                "semi-globalized" => ["f -> a", "g -> early"],
                _ => ["f -> a", "g -> b"],
            };
            let other = if other.is_empty() { "g -> early" } else { "g -> b" };
            let bound = [
                format!("bound b: {other}"),
                format!("bound a: {}", mine[0]),
                format!("bound a: {}", mine[1]),
            ];
            assert_eq!(toy.log_of(&["bound"]), bound);
        }
    }
}

extern "C" fn interposed_by_the_host() -> i32 {
    9
}

#[test]
fn the_system_library_is_an_implicit_last_entry_of_every_search_list() {
    for control in [ImportControl::SemiGlobalized, ImportControl::Localized] {
        let offered = HostModule::new("offered").global();
        let offered = offered.function("interposed", interposed_by_the_host as *const ());
        let rules = Rules { control: Some(control), ..Rules::default() };
        let w = World::with(corpus::Format::Elf, |builder| builder.rules(rules).host(offered));
        let second = w.now("interposition", "interpose-second");
        assert_eq!(w.call(second, c"second_calls", 0), 2, "{control:?}: after the file's own list");
    }
    for control in ["", "semi-globalized", "localized"] {
        let toy = Toy::new(&[("a", &format!("{control}; need b; import f; import g")), ("b", "export f")]);
        let system = HostModule::new("system").global().function("g", interposed_by_the_host as *const ());
        toy.set.add_host(system).unwrap();
        let _a = toy.open("a").unwrap();
        assert_eq!(toy.log_of(&["bound"]), ["bound a: f -> b", "bound a: g -> system"], "{control}");
    }
}

// Initialisers and terminators.

#[test]
fn initialisers_of_one_file_run_in_its_order_and_terminators_in_theirs() {
    let scripts = [
        (
            corpus::Format::Elf,
            &[
                "DT_INIT",
                "constructor 200",
                "constructor 300",
                "constructor of the first file",
                "constructor of the second file",
            ][..],
            &["destructor of the second file", "destructor 300", "destructor 200", "DT_FINI"][..],
        ),
        (
            corpus::Format::Pe,
            &["first callback attach", "second callback attach", "DllMain attach"][..],
            &["first callback detach", "second callback detach", "DllMain detach"][..],
        ),
    ];
    for (format, starts, ends) in scripts {
        let w = World::new(format);
        let handle = w.now("initialiser-order", "initialiser-order");
        assert_eq!(said(), starts);
        assert_eq!(w.close(handle), 0);
        assert_eq!(said(), ends);
    }
}

#[test]
fn static_objects_are_constructed_and_destroyed_with_their_library() {
    let w = World::new(corpus::Format::Elf);
    for _ in 0..2 {
        let handle = w.now("cxx-statics", "cxx-statics");
        assert_eq!(said(), ["construct first", "construct second"]);
        assert_eq!(w.close(handle), 0);
        assert_eq!(said(), ["destroy second", "destroy first"]);
    }
}

#[test]
fn an_initialiser_may_open_look_up_and_close() {
    // The engine's own promise: no lock is held while foreign code runs.
    for format in ["elf", "pe"] {
        let text = |rest: &str| format!("{format}; {rest}");
        let toy = Toy::new(&[
            ("a", &text("need b")),
            ("b", &text("export f")),
            ("x", &text("need b; need y; export g")),
            ("y", &text("")),
        ]);
        toy.when("b", Occasion::Loaded, |set| {
            let handle = set.open(&request("x")).expect("b is on its way, the rest is not there yet");
            assert_eq!(&*set.symbol(handle, &Query::name(b"g")).unwrap().module, "x");
            set.close(handle).is_ok()
        });
        let a = toy.open("a").unwrap();
        let happened = toy.log_of(&["starts", "attached", "ends", "detached"]);
        let expected = [
            "starts b",
            "starts y",
            "attached y",
            "starts x",
            "attached x", // the inner open, complete
            "ends x",
            "detached x",
            "ends y",
            "detached y", // the inner close
            "attached b",
            "starts a",
            "attached a",
        ];
        assert_eq!(happened, expected, "{format}");
        assert_eq!(toy.loaded(), ["a", "b"]);
        assert_eq!(toy.close(a).len(), 2);
    }
}

#[test]
fn an_initialiser_may_open_what_another_thread_is_loading() {
    // One thread is in x's initialiser, which opens y while another thread is about to initialise y.
    for (x, y) in
        [("elf", "elf"), ("elf", "elf; need x"), ("pe", "pe"), ("pe", "pe; need x"), ("pe", "elf; need x")]
    {
        let toy = Arc::new(Toy::new(&[("x", x), ("y", y)]));
        let (is_in_x, in_x) = mpsc::channel();
        let (is_on_y, on_y) = mpsc::channel();
        let (waits, on_y) = (is_on_y.clone(), Mutex::new(on_y));
        toy.set.observe(move |event: &loader::Event<'_>| {
            if matches!(event, loader::Event::Waiting { .. }) {
                let _ = waits.send(());
            }
        });
        toy.when("x", Occasion::Loaded, move |set| {
            let _ = (is_in_x.send(()), on_y.lock().unwrap().recv());
            set.open(&request("y")).is_ok()
        });
        let (ends, ended) = mpsc::channel();
        let open = |name: &'static str, then: mpsc::Sender<()>| {
            let (toy, ends) = (toy.clone(), ends.clone());
            thread::spawn(move || {
                let opened = toy.open(name).is_ok();
                let _ = then.send(());
                ends.send(opened)
            })
        };
        open("x", is_on_y.clone());
        in_x.recv().unwrap();
        open("y", is_on_y);
        for _ in 0..2 {
            assert_eq!(
                ended.recv_timeout(Duration::from_secs(20)),
                Ok(true),
                "x: {x}, y: {y}: {:?}",
                toy.log()
            );
        }
        let starts = toy.log_of(&["starts"]);
        assert_eq!(starts, ["starts x", "starts y"], "each once");
    }
}

#[test]
fn where_tnsr_and_posix_differ_tnsr_is_the_default() {
    let rules = Rules::default();
    assert_eq!((rules.dialect, rules.missing, rules.control), (Dialect::TnsR, MissingPolicy::Strict, None));
}
