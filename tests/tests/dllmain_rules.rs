//! The rules of `DllMain` (Windows, and Windows Embedded Compact 2013) and of loading and freeing DLLs by count, as
//! `LoadLibrary`, `FreeLibrary` and P/Invoke's users know it; one test a rule and named after it. `README.md` of this
//! crate has the list.
//!
//! Images of the corpus show them, with a `tlog.dll` of this program's that keeps their lines; who is told what in which
//! thread is read off the events, or shown with toy files of the Windows kind.

use corpus::Format::Pe;
use loader::{Addr, EntryCalls, ErrorKind, Rules, SymbolName, win32};
use loader_core::Occasion;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};
use tests::{
    toy::Toy,
    world::{World, path, said},
};

fn dll(case: &str, stem: &str) -> PathBuf {
    path(Pe, case, stem)
}

fn load(w: &World, case: &str, stem: &str) -> Result<Addr, loader::Error> {
    win32::load_library(&w.engine, &w.path(case, stem).to_string_lossy())
}

/// The calls of one occasion that the events tell of, as the stems of the modules.
fn told(w: &World, occasion: &str) -> Vec<String> {
    let of_occasion = |line: String| {
        let (module, what) = line.strip_prefix("calling ")?.split_once(": ")?;
        what.ends_with(occasion).then(|| module.to_owned())
    };
    w.events(&["calling"]).into_iter().filter_map(of_occasion).collect()
}

// What DllMain receives.

#[test]
fn the_handle_is_the_base_address_and_the_module_handle() {
    let w = World::new(Pe);
    let module = load(&w, "init-arguments", "init-arguments").unwrap();
    assert_eq!(said(), ["1, null"], "and not: not the base");
    assert_eq!(win32::get_module_handle(&w.engine, Some("init-arguments.dll")), Some(module));
    let info = w.engine.load_set().module_at(module).unwrap();
    assert_eq!(info.at.base, module);
    let symbol = SymbolName::Name(b"arguments_base"[..].into());
    let at = win32::get_proc_address(&w.engine, module, &symbol).unwrap();
    assert_eq!(w.call_at(at.0, 0) & 0xff, 1, "DllMain saw the base that the image has");
}

#[test]
fn reserved_is_null_for_a_dynamic_load_and_for_a_free() {
    let w = World::new(Pe);
    let handle = w.now("init-arguments", "init-arguments");
    assert_eq!(said(), ["1, null"]);
    assert_eq!(w.close(handle), 0);
    assert_eq!(said(), ["0, null"]);
}

#[test]
fn reserved_is_not_null_for_the_main_programs_load_set_and_when_the_process_ends() {
    let w = World::with(Pe, |builder| builder.program(dll("init-arguments", "init-arguments")));
    assert_eq!(said(), ["1, reserved"]);
    w.engine.program_ends();
    assert_eq!(said(), ["0, reserved"]);
    // What was loaded later was told null, and is told at the end like the rest.
    let w = World::new(Pe);
    let handle = w.now("init-arguments", "init-arguments");
    w.engine.program_ends();
    assert_eq!(said(), ["1, null", "0, reserved"]);
    assert_ne!(w.close(handle), 0, "its handle went with the process");
    drop(w);
    assert_eq!(said(), [""; 0], "nobody is told twice");
}

#[test]
fn tls_callbacks_run_before_dll_main_for_every_reason_and_their_reserved_is_null() {
    let w = World::with(Pe, |builder| builder.program(dll("initialiser-order", "initialiser-order")));
    assert_eq!(said(), ["first callback attach", "second callback attach", "DllMain attach static"]);
    let _ = w.events(&[]);
    w.engine.load_set().thread_starts();
    let kinds = ["TLS callback", "TLS callback", "DllMain"];
    let expected = |occasion| kinds.map(|kind| format!("calling initialiser-order: {kind}, {occasion}"));
    assert_eq!(w.events(&["calling"]), expected("a thread starts"));
    w.engine.load_set().thread_ends();
    assert_eq!(w.events(&["calling"]), expected("a thread ends"));
    w.engine.program_ends();
    assert_eq!(said(), ["first callback detach", "second callback detach", "DllMain detach static"]);
}

#[test]
fn a_dll_without_an_entry_point_is_not_called() {
    let w = World::new(Pe);
    let handle = w.now("no-entry", "no-entry");
    w.engine.load_set().thread_starts();
    w.engine.load_set().thread_ends();
    assert_eq!(w.call(handle, c"no_entry_value", 0), 5);
    assert_eq!(w.close(handle), 0);
    assert_eq!(w.events(&["calling"]), [""; 0]);
}

// Order.

#[test]
fn attach_is_dependencies_first_in_import_order_detach_the_exact_reverse() {
    let w = World::new(Pe);
    let handle = w.now("diamond", "diamond");
    assert_eq!(said(), ["attach bottom", "attach left", "attach right", "attach top"]);
    assert_eq!(w.close(handle), 0);
    assert_eq!(said(), ["detach top", "detach right", "detach left", "detach bottom"]);
    let handle = w.now("cycle", "cycle-b");
    assert_eq!(said(), ["attach a", "attach b"]);
    assert_eq!(w.close(handle), 0);
    assert_eq!(said(), ["detach b", "detach a"]);
}

#[test]
fn at_process_end_all_are_detached_in_reverse_whoever_holds_them() {
    let w = World::with(Pe, |builder| builder.program(dll("chain", "chain3")));
    let (_two, _one) = (w.now("chain", "chain2"), w.now("chain", "chain1"));
    assert_eq!(said(), ["attach 4", "attach 3", "attach 2", "attach 1"]);
    w.engine.program_ends();
    assert_eq!(said(), ["detach 1", "detach 2", "detach 3", "detach 4"]);
    assert!(w.loaded().is_empty());
}

// Refusals.

#[test]
fn false_from_attach_is_detached_at_once_unloaded_and_fails_the_load_with_1114() {
    let w = World::new(Pe);
    let error = load(&w, "failing-initialiser", "failing").unwrap_err();
    assert_eq!(error.win32(), 1114);
    assert_eq!(said(), ["attach helper", "attach failing", "detach failing, null", "detach helper"]);
    assert!(w.loaded().is_empty());
    assert_eq!(win32::get_module_handle(&w.engine, Some("failing.dll")), None);
    assert_eq!(w.events(&["unmapped"]).len(), 2);
}

#[test]
fn false_from_a_dependency_undoes_those_before_it_and_never_calls_those_after_it() {
    let w = World::new(Pe);
    let error = load(&w, "init-refused-in-dependency", "refused").unwrap_err();
    assert_eq!(error.win32(), 1114);
    assert_eq!(said(), ["attach first", "attach second", "detach second", "detach first"]);
}

#[test]
fn false_from_attach_of_the_main_programs_load_set_fails_the_process_start() {
    let _ = said();
    let tlog = loader::HostModule::new("tlog.dll").function("tlog", heard as *const ());
    let started = loader::Engine::builder().host(tlog).program(dll("failing-initialiser", "failing")).build();
    assert_eq!(started.unwrap_err().win32(), 1114);
}

extern "win64" fn heard(_: *const u8) {}

#[test]
fn the_result_for_every_other_reason_is_ignored() {
    // This DLL answers 0 to everything but PROCESS_ATTACH.
    let toy = Toy::new(&[("a", "pe")]);
    for occasion in [Occasion::ThreadStarts, Occasion::ThreadEnds, Occasion::Unloaded] {
        toy.when("a", occasion, |_| false);
    }
    let a = toy.open("a").unwrap();
    toy.set.thread_starts();
    toy.set.thread_ends();
    assert_eq!(toy.loaded(), ["a"]);
    assert_eq!(toy.close(a).len(), 1);
    let told = toy.log_of(&["starts", "thread", "ends", "detached"]);
    assert_eq!(told, ["starts a", "thread starts a", "thread ends a", "ends a", "detached a"]);
}

#[test]
fn an_attach_that_does_not_come_to_an_end_is_not_detached_and_fails_the_load() {
    let toy = Toy::new(&[("a", "pe; need b; need c"), ("b", "pe"), ("c", "pe; fails")]);
    assert!(toy.open("a").is_err());
    let told = toy.log_of(&["starts", "ends"]);
    assert_eq!(told, ["starts b", "starts c", "ends b"], "c was never told to end");
    assert_eq!((toy.loaded(), toy.in_memory()), (vec![], 0));
}

// Threads.

#[test]
fn a_new_thread_attaches_all_dlls_in_attach_order_and_detaches_them_in_reverse() {
    let w = World::new(Pe);
    let _handle = w.now("diamond", "diamond");
    let order = ["diamond-bottom", "diamond-left", "diamond-right", "diamond"];
    assert_eq!(told(&w, "loaded"), order);
    thread::scope(|s| {
        s.spawn(|| {
            w.engine.load_set().thread_starts();
            assert_eq!(told(&w, "a thread starts"), order);
            w.engine.load_set().thread_ends();
            let reverse: Vec<_> = order.into_iter().rev().collect();
            assert_eq!(told(&w, "a thread ends"), reverse);
        });
    });
    let _ = w.now("dependency", "dependency");
    assert_eq!(
        told(&w, "a thread starts"),
        [""; 0],
        "no thread that is there already attaches to what comes"
    );
}

#[test]
fn a_thread_that_was_there_before_the_load_does_not_attach_but_does_detach() {
    let toy = Toy::new(&[("early", "pe"), ("late", "pe; need early"), ("elf", "")]);
    let _early = toy.open("early").unwrap();
    let (loaded, load) = mpsc::channel::<()>();
    let (ready, started) = mpsc::channel::<()>();
    thread::scope(|s| {
        let set = &toy.set;
        s.spawn(move || {
            set.thread_starts();
            ready.send(()).unwrap();
            load.recv().unwrap();
            set.thread_ends();
        });
        started.recv().unwrap();
        let opened = ["late", "elf"].map(|name| toy.open(name).unwrap());
        assert_eq!(opened.len(), 2);
        loaded.send(()).unwrap();
    });
    let told = toy.log_of(&["thread"]);
    assert_eq!(told, ["thread starts early", "thread ends late", "thread ends early"], "nothing for ELF");
}

#[test]
fn notices_are_given_in_the_thread_that_they_are_about() {
    let toy = Toy::new(&[("a", "pe")]);
    let threads = Arc::new(Mutex::new(BTreeSet::new()));
    for occasion in [Occasion::Loaded, Occasion::ThreadStarts, Occasion::ThreadEnds] {
        let threads = threads.clone();
        toy.when("a", occasion, move |_| {
            let name = thread::current().name().unwrap_or("?").to_owned();
            threads.lock().unwrap().insert(format!("{occasion} in {name}"))
        });
    }
    let in_thread = |name: &str, f: &(dyn Fn() + Sync)| {
        thread::scope(|s| {
            thread::Builder::new().name(name.into()).spawn_scoped(s, f).unwrap();
        });
    };
    in_thread("first", &|| drop(toy.open("a")));
    in_thread("second", &|| {
        toy.set.thread_starts();
        toy.set.thread_ends();
    });
    let expected = ["a thread ends in second", "a thread starts in second", "loaded in first"];
    assert_eq!(*threads.lock().unwrap(), expected.map(String::from).into());
}

#[test]
fn unloading_sends_no_thread_detach_for_threads_that_still_run() {
    let w = World::new(Pe);
    let handle = w.now("dependency", "dependency");
    let (go, stay) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|s| {
        s.spawn(|| {
            w.engine.load_set().thread_starts();
            go.wait();
            stay.wait();
        });
        go.wait();
        let _ = w.events(&[]);
        assert_eq!(w.close(handle), 0);
        let calls =
            ["dependency", "dependency-leaf"].map(|name| format!("calling {name}: DllMain, unloaded"));
        assert_eq!(w.events(&["calling"]), calls);
        stay.wait();
    });
}

#[test]
fn disable_thread_library_calls_turns_notices_off_and_fails_with_static_tls() {
    let w = World::new(Pe);
    let handles = [w.now("dependency", "dependency"), w.now("tls", "tls")];
    let named = |name: &str| w.engine.load_set().module_named(name).unwrap().id;
    assert!(w.engine.load_set().disable_thread_calls(named("dependency-leaf.dll")));
    assert!(!w.engine.load_set().disable_thread_calls(named("tls.dll")));
    let _ = w.events(&[]);
    w.engine.load_set().thread_starts();
    assert_eq!(told(&w, "a thread starts"), ["dependency", "tls"]);
    w.engine.load_set().thread_ends();
    assert_eq!(told(&w, "a thread ends"), ["tls", "dependency"]);
    assert_eq!(handles.map(|handle| w.close(handle)), [0, 0]);
    let calls = w.events(&["calling"]);
    assert!(
        calls.contains(&"calling dependency-leaf: DllMain, unloaded".to_owned()),
        "only threads': {calls:?}"
    );
}

#[test]
fn threads_that_were_there_before_have_tls_blocks_of_a_dll_that_comes() {
    let w = World::new(Pe);
    let (there, loaded) = (Barrier::new(2), Barrier::new(2));
    let found = Mutex::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            w.engine.load_set().enter(loader::Format::Pe).unwrap(); // as a thread that runs Windows code
            there.wait();
            loaded.wait();
            let next = *found.lock().unwrap();
            assert_eq!([(); 2].map(|()| w.call_at(next, 0)), [1, 2]);
        });
        there.wait();
        let handle = w.now("tls", "tls");
        *found.lock().unwrap() = w.sym(handle, c"tls_next");
        assert_eq!(w.call(handle, c"tls_next", 0), 1);
        loaded.wait();
    });
}

// The loader lock.

#[test]
fn entry_points_are_serialised_process_wide_and_the_wait_is_visible() {
    let names = ["a", "b", "c", "d"];
    let toy = Toy::new(&names.map(|name| (name, "pe")));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let others_wait = Arc::new(AtomicBool::new(false));
    let seen = others_wait.clone();
    toy.set.observe(move |event: &loader::Event<'_>| {
        if matches!(event, loader::Event::Waiting { .. }) {
            seen.store(true, SeqCst);
        }
    });
    for name in names {
        let (inside, most, others_wait) = (inside.clone(), most.clone(), others_wait.clone());
        toy.when(name, Occasion::Loaded, move |_| {
            most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
            while !others_wait.load(SeqCst) {
                thread::sleep(Duration::from_millis(1)); // until somebody is seen waiting for this one
            }
            inside.fetch_sub(1, SeqCst);
            true
        });
    }
    thread::scope(|s| names.map(|name| s.spawn(|| toy.open(name).unwrap())).map(|t| t.join().unwrap()));
    assert_eq!(most.load(SeqCst), 1, "two entry points ran at once");
    assert_eq!(toy.loaded().len(), 4);
}

#[test]
fn the_thread_that_is_in_an_entry_point_may_enter_another() {
    let toy = Toy::new(&[("a", "pe"), ("b", "pe; need c"), ("c", "pe")]);
    toy.when("a", Occasion::Loaded, |set| set.open(&tests::toy::request("b")).is_ok());
    let _a = toy.open("a").unwrap();
    let told = toy.log_of(&["starts", "attached"]);
    let expected = ["starts a", "starts c", "attached c", "starts b", "attached b", "attached a"];
    assert_eq!(told, expected, "the attach of what it loads completes inside");
}

#[test]
fn a_refusing_dll_main_that_loaded_others_takes_only_itself_away() {
    let toy = Toy::new(&[("a", "pe; refuses"), ("b", "pe")]);
    toy.when("a", Occasion::Loaded, |set| set.open(&tests::toy::request("b")).is_ok());
    assert!(toy.open("a").is_err());
    assert_eq!(toy.loaded(), ["b"], "its own open of b still counts, as LoadLibrary's does");
}

#[test]
fn what_an_entry_point_is_advised_not_to_call_is_reported_with_module_function_and_reason() {
    let toy = Toy::new(&[("a", "pe")]);
    for occasion in [Occasion::Loaded, Occasion::Unloaded] {
        toy.when("a", occasion, |set| {
            set.advise("LoadLibrary", |_| false);
            true
        });
    }
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let ear = heard.clone();
    toy.set.observe(move |event: &loader::Event<'_>| {
        if let loader::Event::Advice { name, what, occasion, .. } = event {
            ear.lock().unwrap().push(format!("{name}: {what}, {occasion}"));
        }
    });
    let a = toy.open("a").unwrap();
    toy.set.advise("LoadLibrary", |_| false); // in no entry point: nobody minds
    toy.set.close(a).unwrap();
    assert_eq!(*heard.lock().unwrap(), ["a: LoadLibrary, loaded", "a: LoadLibrary, unloaded"]);
}

/// An engine over the DLLs of the event traces, and what their entry points were advised against.
fn advised(rules: Rules) -> (loader::Engine, Arc<Mutex<Vec<String>>>) {
    let advice: Arc<Mutex<Vec<String>>> = Arc::default();
    let ear = advice.clone();
    let engine = loader::Engine::builder()
        .rules(rules)
        .dll_path(corpus::root().join("oracle/dlls"))
        .host(loader::HostModule::new("tlog.dll").function("tlog", heard as *const ()))
        .observe(move |event: &loader::Event<'_>| {
            if let loader::Event::Advice { .. } = event {
                ear.lock().unwrap().push(event.to_string());
            }
        });
    (engine.build().unwrap(), advice)
}

#[test]
fn calls_of_the_loader_in_dll_main_work_and_are_reported() {
    let (engine, advice) = advised(Rules::default());
    let la = win32::load_library(&engine, "la.dll").unwrap();
    assert!(win32::get_module_handle(&engine, Some("x0.dll")).is_some(), "its DllMain loaded that");
    win32::free_library(&engine, la).unwrap();
    assert_eq!(win32::get_module_handle(&engine, Some("x0.dll")), None, "and freed it");
    let told = [
        "advice     la.dll: LoadLibraryA called from its entry point (loaded)",
        "advice     la.dll: FreeLibrary called from its entry point (unloaded)",
    ];
    assert_eq!(*advice.lock().unwrap(), told);
}

#[test]
fn calls_of_the_loader_in_dll_main_can_be_refused() {
    let (engine, advice) = advised(Rules { entry_calls: EntryCalls::Refuse, ..Rules::default() });
    let la = win32::load_library(&engine, "la.dll").unwrap();
    assert_eq!(win32::get_module_handle(&engine, Some("x0.dll")), None);
    win32::free_library(&engine, la).unwrap();
    let sf = win32::load_library(&engine, "sf.dll").unwrap_err();
    assert_eq!(sf.win32(), 1114, "FreeLibrary is forbidden in detach only");
    let told = [
        "advice     la.dll: LoadLibraryA called from its entry point (loaded), and refused",
        "advice     sf.dll: FreeLibrary called from its entry point (loaded)",
    ];
    assert_eq!(*advice.lock().unwrap(), told);
}

#[test]
fn a_thread_that_waits_to_give_its_notices_is_seen() {
    let toy = Toy::new(&[("a", "pe")]);
    let (says, waits) = mpsc::channel();
    toy.set.observe(move |event: &loader::Event<'_>| {
        if let loader::Event::Waiting { name } = event {
            says.send((*name).to_owned()).unwrap();
        }
    });
    let (enters, entered) = mpsc::channel();
    let waits = Mutex::new(waits);
    toy.when("a", Occasion::Loaded, move |_| {
        enters.send(()).unwrap();
        waits.lock().unwrap().recv_timeout(Duration::from_secs(60)).is_ok_and(|name| name == "a")
    });
    thread::scope(|s| {
        let opens = s.spawn(|| toy.open("a").is_ok());
        entered.recv().unwrap();
        toy.set.thread_starts();
        assert!(opens.join().unwrap(), "a's entry point saw that a thread waits for it");
    });
    assert_eq!(toy.log_of(&["thread"]), ["thread starts a"], "told when it could be");
}

// Counting, as P/Invoke's users do it.

#[test]
fn one_more_load_library_needs_one_more_free_library() {
    let w = World::new(Pe);
    let first = load(&w, "dependency", "dependency").unwrap();
    let second = load(&w, "dependency", "dependency").unwrap();
    assert_eq!(first, second, "one module, one handle");
    assert_eq!(said(), ["attach leaf", "attach root"]);
    assert_eq!(win32::free_library(&w.engine, first), Ok(()));
    assert_eq!(said(), [""; 0]);
    assert_eq!(win32::free_library(&w.engine, first), Ok(()));
    assert_eq!(said(), ["detach root", "detach leaf"]);
}

#[test]
fn do_while_free_library_drains_the_count_and_ends_with_the_image_gone() {
    let w = World::new(Pe);
    let loaded = [(); 5].map(|()| load(&w, "dependency", "dependency").unwrap());
    let module = loaded[4];
    let freed = (0..100).take_while(|_| win32::free_library(&w.engine, module).is_ok()).count();
    assert_eq!(freed, 5);
    assert!(w.loaded().is_empty());
    assert_eq!(win32::free_library(&w.engine, module), Err(126));
    let symbol = SymbolName::Name(b"dependency_root"[..].into());
    let error = win32::get_proc_address(&w.engine, module, &symbol).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidHandle);
}

#[test]
fn get_module_handle_takes_no_reference_and_its_ex_form_takes_one() {
    let w = World::new(Pe);
    assert_eq!(win32::get_module_handle_ex(&w.engine, "dependency.dll"), None, "it loads nothing");
    let module = load(&w, "dependency", "dependency").unwrap();
    for name in ["dependency.dll", "DEPENDENCY.DLL", "dependency"] {
        assert_eq!(win32::get_module_handle(&w.engine, Some(name)), Some(module), "{name}");
    }
    assert_eq!(win32::get_module_handle_ex(&w.engine, "dependency"), Some(module));
    assert_eq!(win32::free_library(&w.engine, module), Ok(()));
    assert_eq!(w.loaded().len(), 2);
    assert_eq!(win32::free_library(&w.engine, module), Ok(()));
    assert!(w.loaded().is_empty());
    assert_eq!(win32::get_module_handle(&w.engine, Some("dependency.dll")), None);
}

#[test]
fn freeing_a_null_or_stale_module_fails_with_6_or_126() {
    let w = World::new(Pe);
    assert_eq!(win32::free_library(&w.engine, Addr(0)), Err(6));
    let module = load(&w, "no-entry", "no-entry").unwrap();
    assert_eq!(win32::free_library(&w.engine, Addr(module.0 + 8)), Err(126), "not the base");
    assert_eq!(win32::free_library(&w.engine, module), Ok(()));
    assert_eq!(win32::free_library(&w.engine, module), Err(126));
}

#[test]
fn what_is_part_of_the_process_is_freed_in_vain() {
    let w = World::with(Pe, |builder| builder.program(dll("dependency", "dependency")));
    let module = win32::get_module_handle(&w.engine, Some("dependency.dll")).unwrap();
    for _ in 0..5 {
        assert_eq!(win32::free_library(&w.engine, module), Ok(()));
    }
    assert_eq!(w.loaded(), ["dependency", "dependency-leaf"]);
}

#[test]
fn an_embedders_library_outlives_every_free_library() {
    let w = World::new(Pe);
    let library = w.engine.open(dll("dependency", "dependency")).unwrap();
    let module = library.module().unwrap().at.base;
    assert_eq!(load(&w, "dependency", "dependency").unwrap(), module);
    assert_eq!(win32::free_library(&w.engine, module), Ok(()));
    let _ = win32::free_library(&w.engine, module);
    assert_eq!(
        w.loaded(),
        ["dependency", "dependency-leaf"],
        "a Library is no reference that others can give back"
    );
    assert_eq!(library.close().unwrap().gone.len(), 2);
}

#[test]
fn get_proc_address_asks_that_one_module() {
    let w = World::new(Pe);
    let root = load(&w, "dependency", "dependency").unwrap();
    let leaf = win32::get_module_handle(&w.engine, Some("dependency-leaf.dll")).unwrap();
    let symbol = SymbolName::Name(b"dependency_leaf"[..].into());
    assert!(win32::get_proc_address(&w.engine, leaf, &symbol).is_ok());
    let error = win32::get_proc_address(&w.engine, root, &symbol).unwrap_err();
    assert_eq!(error.win32(), 127);
}
