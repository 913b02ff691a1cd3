//! Random worlds: load graphs with cycles, diamonds, missing files, unbindable symbols and initialisers that refuse,
//! and random sequences of opens and closes over them. After every step the engine and the model of TNS/R's rules
//! (`tests::model`) agree on the result, on the operating load set, on what was mapped, bound, started, ended and
//! unmapped in which order, on loadLists and on lookups; and every handle is unlike all others.

use loader_core::{
    Dialect, Format, Handle, ImportControl, Mode, Origin, Request,
    mode::{Load, Visibility},
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestCaseError, TestRunner},
};
use std::collections::{BTreeMap, HashSet};
use tests::{
    model::Model,
    toy::{Definition, File, Files, Start, Toy, need, request},
};

/// The files of a world are the first letters of the alphabet.
const FILES: usize = 7;
const SYMBOLS: usize = 4;

fn name(n: usize) -> String {
    char::from(b'a' + n as u8).into()
}

fn symbol(n: usize) -> String {
    format!("f{n}")
}

/// What is done to a world.
#[derive(Clone, Debug)]
enum Step {
    /// `dlopen(name, NOW)`; the file after the last one is missing.
    Open(usize),
    /// `dlopen(name, NOLOAD)`.
    OpenLoaded(usize),
    /// `dlopen(NULL)`.
    OpenProgram,
    /// `dlclose` of one of the handles that were ever given out, open or not.
    Close(u8),
    /// `dlsym` with such a handle.
    Find(u8, usize),
}

/// A world, what comes with the program, and what is done then.
#[derive(Clone, Debug)]
struct Story {
    files: Files,
    program: Vec<usize>,
    steps: Vec<Step>,
}

fn control() -> impl Strategy<Value = ImportControl> {
    prop_oneof![
        4 => Just(ImportControl::Globalized),
        1 => Just(ImportControl::SemiGlobalized),
        2 => Just(ImportControl::Localized),
    ]
}

fn refusing() -> BoxedStrategy<Start> {
    prop_oneof![24 => Just(Start::Agrees), 1 => Just(Start::Refuses), 1 => Just(Start::Fails)].boxed()
}

/// Initialisers that open others, and terminators that close them again.
fn opening() -> BoxedStrategy<Start> {
    prop_oneof![1 => Just(Start::Agrees), 1 => (0..FILES).prop_map(|n| Start::Opens(name(n)))].boxed()
}

/// One of `count` files; seldom one that is not there.
fn needed(count: usize) -> impl Strategy<Value = usize> {
    prop_oneof![160 => 0..count, 1 => Just(FILES)]
}

fn file(count: usize, start: BoxedStrategy<Start>) -> impl Strategy<Value = File> {
    let needs = vec((needed(count), prop::bool::weighted(0.3)), 0..4);
    let exports = prop::collection::btree_set(0..SYMBOLS, 1..=SYMBOLS);
    let import = (0..SYMBOLS, prop::option::weighted(0.2, 0..4_usize));
    let imports = prop_oneof![3 => Just(Vec::new()), 2 => vec(import, 1..3)];
    let format = prop_oneof![3 => Just(Format::Elf), 1 => Just(Format::Pe)];
    (needs, exports, imports, format, control(), start).prop_map(
        |(needs, exports, imports, format, control, start)| {
            let needs: Vec<_> = needs.into_iter().map(|(n, again)| need(&name(n), again)).collect();
            // Whom an import names is one of the libList. A Windows import always names somebody.
            let from = |nth: Option<usize>| match (nth, format) {
                _ if needs.is_empty() => None,
                (None, Format::Elf) => None,
                (nth, _) => Some(needs[nth.unwrap_or(0) % needs.len()].name.to_string()),
            };
            let named = |(s, nth)| (symbol(s), from(nth));
            File {
                format,
                imports: imports.into_iter().map(named).collect(),
                exports: exports.into_iter().map(|s| (symbol(s), Definition::Here)).collect(),
                control,
                start,
                needs,
                ..File::default()
            }
        },
    )
}

fn step(count: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..count).prop_map(Step::Open),
        1 => Just(Step::Open(FILES)),
        2 => (0..=count).prop_map(Step::OpenLoaded),
        1 => Just(Step::OpenProgram),
        12 => any::<u8>().prop_map(Step::Close),
        3 => (any::<u8>(), 0..=SYMBOLS).prop_map(|(handle, s)| Step::Find(handle, s)),
    ]
}

fn story(start: fn() -> BoxedStrategy<Start>) -> impl Strategy<Value = Story> {
    (1..=FILES).prop_flat_map(move |count| {
        let program = prop_oneof![2 => Just(Vec::new()), 1 => vec(0..count, 1..3)];
        (vec(file(count, start()), count), program, vec(step(count), 1..24)).prop_map(
            |(files, program, steps)| Story {
                files: files.into_iter().enumerate().map(|(n, f)| (name(n), f)).collect(),
                program,
                steps,
            },
        )
    })
}

/// How often what happened: so that a story in which nothing can go wrong is noticed.
type Census = BTreeMap<&'static str, usize>;

/// The engine and the model, side by side, and the handles that both gave out.
struct Twins {
    toy: Toy,
    model: Model,
    /// As the engine has it, and as the model counts it.
    handles: Vec<(Handle, usize)>,
    census: Census,
}

impl Twins {
    fn new(files: &Files) -> Self {
        Self {
            toy: Toy::of(files.clone()),
            model: Model::new(files.clone()),
            handles: Vec::new(),
            census: Census::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.census.entry(what).or_default() += 1;
    }

    fn open(&mut self, name: &str, load: Load, origin: Origin) -> Result<(), TestCaseError> {
        let mode = Mode { load, visibility: Visibility::Local, ..Mode::default() };
        let got = self.toy.set.open(&Request { mode, origin, ..request(name) });
        let want = self.model.open(name, mode, origin == Origin::Program);
        self.count(match &got {
            Ok(_) => "opened",
            Err(e) => e.stage_word(),
        });
        match (got, want) {
            (Ok(handle), Ok(nth)) => self.handles.push((handle, nth)),
            (got, want) => prop_assert_eq!(got.map(drop), want.map(drop)),
        }
        Ok(())
    }

    /// One of the handles that were ever given out.
    fn handle(&self, which: u8) -> Option<(Handle, usize)> {
        usize::from(which).checked_rem(self.handles.len()).map(|n| self.handles[n])
    }

    fn close(&mut self, which: u8) -> Result<(), TestCaseError> {
        let Some((handle, nth)) = self.handle(which) else { return Ok(()) };
        let got = self.toy.set.close(handle);
        let got = got.map(|closed| closed.gone.iter().map(ToString::to_string).collect::<Vec<_>>());
        self.count(match &got {
            Ok(gone) if gone.is_empty() => "closed",
            Ok(gone) if gone.len() == 1 => "closed, one went",
            Ok(_) => "closed, several went",
            Err(_) => "stale",
        });
        prop_assert_eq!(got, self.model.close(nth));
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Open(n) => self.open(&name(n), Load::Now, Origin::Open),
            Step::OpenLoaded(n) => self.open(&name(n), Load::Never, Origin::Open),
            Step::OpenProgram => {
                self.handles.push((self.toy.set.main_program(Dialect::TnsR), self.model.open_program()));
                Ok(())
            }
            Step::Close(which) => self.close(which),
            Step::Find(which, s) => {
                let Some((handle, nth)) = self.handle(which) else { return Ok(()) };
                let got = self.toy.find(handle, &symbol(s)).map(String::from);
                prop_assert_eq!(got, self.model.find(nth, &symbol(s)));
                Ok(())
            }
        }
    }

    /// What must hold after every step.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let log = self.toy.log();
        for pair in log.windows(2) {
            match (pair[0].split_once(' '), pair[1].split_once(' ')) {
                (Some(("starts", _)), Some(("mapped", _))) => self.count("loaded by an initialiser"),
                (Some(("ends", a)), Some(("ends", b))) if a != b => self.count("unloaded by a terminator"),
                _ => {}
            }
        }
        prop_assert_eq!(log, self.model.take_log());
        prop_assert_eq!(self.toy.loaded(), self.model.names());
        prop_assert_eq!(self.toy.in_memory(), self.model.names().len(), "memory of what is not loaded");
        for m in self.toy.set.modules() {
            prop_assert_eq!(m.handles as usize, self.model.handle_count(&m.name), "handles of {}", m.name);
            prop_assert!(m.attached, "{} is loaded and not live", m.name);
        }
        if let Some(&(handle, nth)) = self.handles.last() {
            prop_assert_eq!(self.toy.load_list(handle), self.model.load_list_of(nth));
        }
        Ok(())
    }

    /// What must hold of the handles of a whole story.
    fn compare_handles(&self) -> Result<(), TestCaseError> {
        for &(handle, nth) in &self.handles {
            prop_assert_eq!(self.toy.load_list(handle), self.model.load_list_of(nth));
        }
        let distinct: HashSet<u64> = self.handles.iter().map(|(handle, _)| handle.to_bits()).collect();
        prop_assert_eq!(distinct.len(), self.handles.len(), "a handle was given out twice");
        prop_assert!(!distinct.contains(&0));
        Ok(())
    }
}

/// Words for the census.
trait StageWord {
    fn stage_word(&self) -> &'static str;
}

impl StageWord for loader_core::Error {
    fn stage_word(&self) -> &'static str {
        use loader_core::{ErrorKind, Stage};
        match (self.stage, &self.kind) {
            (_, ErrorKind::NotLoaded) => "not loaded",
            (Stage::Find, _) => "missing",
            (Stage::Bind, _) => "undefined",
            (Stage::Attach, _) => "refused",
            _ => "other",
        }
    }
}

/// Lives through a story, engine and model together; a failed step is the step's number and what differs.
fn live(story: &Story) -> Result<Census, TestCaseError> {
    let mut twins = Twins::new(&story.files);
    for &n in &story.program {
        twins.open(&name(n), Load::Now, Origin::Program)?;
        if twins.handles.len() == 1 {
            twins.count("with a program");
        }
        twins.compare()?;
    }
    for (n, step) in story.steps.iter().enumerate() {
        let in_step = |e: TestCaseError| TestCaseError::fail(format!("step {n}, {step:?}: {e}"));
        twins.take(step).and_then(|()| twins.compare()).map_err(in_step)?;
    }
    twins.compare_handles()?;
    twins.toy.set.program_ends();
    twins.model.program_ends();
    twins.compare()?;
    prop_assert_eq!(twins.toy.loaded(), Vec::<String>::new());
    Ok(twins.census)
}

fn text(story: &Story) -> String {
    let files: Vec<String> = story.files.iter().map(|(name, file)| format!("  {name}: {file}\n")).collect();
    let program: Vec<String> = story.program.iter().map(|&n| name(n)).collect();
    format!("{}  program: {program:?}\n  steps: {:?}", files.concat(), story.steps)
}

proptest! {
    #![proptest_config(Config { cases: 2000, ..Config::default() })]

    #[test]
    fn engine_and_model_agree_on_random_graphs(story in story(refusing)) {
        live(&story).map_err(|e| TestCaseError::fail(format!("{e}\n{}", text(&story))))?;
    }

    #[test]
    fn engine_and_model_agree_where_initialisers_open_and_terminators_close(story in story(opening)) {
        live(&story).map_err(|e| TestCaseError::fail(format!("{e}\n{}", text(&story))))?;
    }
}

/// The stories above are worth living through: every outcome is met, and none is rare.
#[test]
fn random_graphs_meet_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut census = Census::new();
    let mut cycles = 0;
    for n in 0..400 {
        let story = story(if n < 200 { refusing } else { opening });
        let story = story.new_tree(&mut runner).expect("a story").current();
        cycles += usize::from(has_cycle(&story.files));
        for (what, count) in live(&story).expect("engine and model agree") {
            *census.entry(what).or_default() += count;
        }
    }
    for what in [
        "opened",
        "not loaded",
        "missing",
        "undefined",
        "refused",
        "closed",
        "closed, one went",
        "closed, several went",
        "stale",
        "with a program",
        "loaded by an initialiser",
        "unloaded by a terminator",
    ] {
        assert!(census.get(what).is_some_and(|&n| n >= 12), "{what} is rare: {census:?}");
    }
    assert!((40..=360).contains(&cycles), "{cycles} of 400 worlds have a cycle");
}

/// Whether some file needs itself over at least one other one.
fn has_cycle(files: &Files) -> bool {
    files.keys().any(|root| {
        let (mut todo, mut seen) = (vec![root], HashSet::new());
        while let Some(at) = todo.pop() {
            for need in files.get(at).into_iter().flat_map(|f| &f.needs) {
                if *need.name == **root && at != root {
                    return true;
                }
                if let Some((next, _)) = files.get_key_value(&*need.name)
                    && seen.insert(next)
                {
                    todo.push(next);
                }
            }
        }
        false
    })
}
