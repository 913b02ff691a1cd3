//! What a close says: what went, what stayed and why; and the policies that decide who may stay.

use loader_core::{
    Handle, Hold, Load, Mode, Request, Rules, StayPolicy, ThreadDestructors, mode::Dialect, mode::Visibility,
};
use std::sync::{Arc, Mutex};
use tests::toy::{Toy, request};

/// Opens a file under other rules, in another mode.
fn open(toy: &Toy, name: &str, rules: Rules, mode: Mode) -> Result<Handle, loader_core::Error> {
    toy.set.open(&Request { rules, mode, ..request(name) })
}

/// What stayed after a close, each with its reasons.
fn stayed(toy: &Toy, handle: Handle) -> Vec<String> {
    toy.set.close(handle).unwrap().stayed.iter().map(ToString::to_string).collect()
}

const HONOUR: Rules = Rules {
    dialect: Dialect::TnsR,
    missing: loader_core::MissingPolicy::Strict,
    binding: loader_core::Binding::Now,
    control: None,
    nodelete: StayPolicy::Honour,
    unique: StayPolicy::Honour,
    thread_destructors: ThreadDestructors::Keep,
    entry_calls: loader_core::EntryCalls::Report,
};

#[test]
fn a_close_names_what_went_and_says_of_what_stayed_why() {
    let toy = Toy::new(&[
        ("app", "need left; need right"),
        ("left", "need base; need alone"),
        ("right", "need base"),
        ("base", "export f"),
        ("alone", ""),
        ("bound", "import f"),
    ]);
    let (one, two) = (toy.open("app").unwrap(), toy.open("app").unwrap());
    let right = toy.open("right").unwrap();
    let bound = toy.open("bound").unwrap();
    toy.set.pin(toy.set.target(right).unwrap().id);
    assert_eq!(stayed(&toy, one), ["app: 1 handle is open"]);
    let closed = toy.set.close(two).unwrap();
    assert_eq!(closed.gone.iter().map(|n| &**n).collect::<Vec<_>>(), ["app", "left", "alone"]);
    let text: Vec<String> = closed.stayed.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        ["right: 1 handle is open, pinned", "base: needed by right, bound is bound to it"],
        "what went was bound to them"
    );
    assert_eq!(stayed(&toy, right), ["right: pinned"]);
    assert_eq!(stayed(&toy, bound), ["base: needed by right"], "it kept base while it was there");
    assert_eq!(toy.loaded(), ["right", "base"]);
}

#[test]
fn what_came_with_the_program_says_so() {
    let toy = Toy::new(&[("program", "need part"), ("part", "")]);
    toy.load_with_program("program").unwrap();
    let part = toy.open("part").unwrap();
    assert_eq!(toy.set.close(part).unwrap().stayed[0].holds[0], Hold::PartOfProgram);
}

#[test]
fn what_is_being_initialised_says_so() {
    let toy = Toy::new(&[("a", "")]);
    let heard: Arc<Mutex<Vec<Hold>>> = Arc::default();
    let ear = heard.clone();
    toy.when("a", loader_core::Occasion::Loaded, move |set| {
        let again = set.open(&request("a")).unwrap();
        ear.lock().unwrap().extend(set.close(again).unwrap().stayed.remove(0).holds);
        true
    });
    let a = toy.open("a").unwrap();
    // Its opener's handle is there already, and the initialiser that asks is still running.
    assert_eq!(*heard.lock().unwrap(), [Hold::Handles(1), Hold::Initialising]);
    assert_eq!(toy.close(a).len(), 1);
}

#[test]
fn nodelete_is_ignored_reported_or_honoured_as_the_rules_say() {
    let files = [("root", "need lib"), ("lib", "stays")];
    let toy = Toy::new(&files);
    let root = toy.open("root").unwrap();
    assert_eq!(toy.log_of(&["overruled"]), [""; 0]);
    assert_eq!(toy.close(root).len(), 2, "who closes a library means it");

    let toy = Toy::new(&files);
    let rules = Rules { nodelete: StayPolicy::Report, ..Rules::default() };
    let root = open(&toy, "root", rules, Mode::default()).unwrap();
    assert_eq!(toy.log_of(&["overruled"]), ["overruled lib"]);
    assert_eq!(toy.close(root).len(), 2);

    let toy = Toy::new(&files);
    let root = open(&toy, "root", HONOUR, Mode::default()).unwrap();
    assert_eq!(stayed(&toy, root), ["lib: marked NODELETE"]);
    assert_eq!(toy.loaded(), ["lib"]);
}

#[test]
fn who_opens_with_nodelete_means_it_also_later() {
    let toy = Toy::new(&[("a", "need b"), ("b", ""), ("c", "")]);
    let a = toy.open("a").unwrap();
    let c = toy.open("c").unwrap();
    let keep = Mode { load: Load::Never, no_delete: true, ..Mode::default() };
    let again = open(&toy, "a", Rules::default(), keep).unwrap();
    assert_eq!(stayed(&toy, again), ["a: 1 handle is open, marked NODELETE"]);
    assert_eq!(stayed(&toy, a), ["a: marked NODELETE"]);
    assert_eq!(toy.close(c), ["c".into()]);
    assert_eq!(toy.loaded(), ["a", "b"], "with what it needs");
}

#[test]
fn a_single_definition_in_use_stays_where_the_rules_keep_those() {
    let files = [("one", "unique f; import f"), ("two", "unique f; import f")];
    let toy = Toy::new(&files);
    let (one, two) = (toy.open("one").unwrap(), toy.open("two").unwrap());
    assert_eq!(stayed(&toy, one), ["one: two is bound to it"]);
    assert_eq!(toy.close(two).len(), 2);

    // Bound to it and nothing else: NODELETE comes as a side effect of binding.
    let toy = Toy::new(&files);
    let one = open(&toy, "one", HONOUR, Mode::default()).unwrap();
    let two = open(&toy, "two", HONOUR, Mode::default()).unwrap();
    assert_eq!(toy.close(two).len(), 1);
    assert_eq!(stayed(&toy, one), ["one: has a symbol of which the process has one definition"]);
}

#[test]
fn a_failed_open_takes_back_also_what_wants_to_stay() {
    for broken in ["fails", "import nobody_has_this", "need nowhere", "broken"] {
        let toy = Toy::new(&[("root", &format!("need lib; unique f; import f; {broken}")), ("lib", "stays")]);
        for _ in 0..2 {
            let keep = Mode { no_delete: true, ..Mode::default() };
            assert!(open(&toy, "root", HONOUR, keep).is_err(), "{broken}");
            assert_eq!(toy.loaded(), [""; 0], "{broken}");
            assert_eq!(toy.in_memory(), 0, "{broken}");
        }
        // What was there before, and stays, is not touched by a failure.
        let lib = open(&toy, "lib", HONOUR, Mode::default()).unwrap();
        assert!(open(&toy, "root", HONOUR, Mode::default()).is_err(), "{broken}");
        assert_eq!(stayed(&toy, lib), ["lib: marked NODELETE"]);
    }
}

#[test]
fn a_promotion_is_taken_back_when_the_open_fails() {
    let posix = Rules { dialect: Dialect::Posix, ..Rules::default() };
    let global = Mode { visibility: Visibility::Global, ..Mode::default() };
    let toy = Toy::new(&[("def", "export f"), ("root", "need def; fails"), ("user", "import f")]);
    let _def = open(&toy, "def", posix, Mode::default()).unwrap();
    assert!(open(&toy, "root", posix, global).is_err());
    assert!(open(&toy, "user", posix, Mode::default()).is_err(), "def is as local as it was");
    let _again = open(&toy, "def", posix, Mode { load: Load::Never, ..global }).unwrap();
    assert!(open(&toy, "user", posix, Mode::default()).is_ok());
}
