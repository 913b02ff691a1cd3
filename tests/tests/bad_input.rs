//! Bad input on a plain buffer: every truncation and every single-byte change of six images of the corpus, through
//! parse, plan, relocate and bind. And what is no library at all, through the front door.
//!
//! Nothing runs here. An input gives an error that names module, stage and number, or a plan whose invariants hold
//! (they are checked anew, not asked of the engine). It never panics and takes no time to speak of.
//!
//! `LOADER_FUZZ=full` tries all 255 other values of every byte instead of eight (with `--release`: a minute or two).

use corpus::hostile;
use loader::{Engine, ErrorKind};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};
use tests::{
    cores::{nothing_wrong, on_all_cores},
    pipeline::{Sound, try_both},
    process,
};

/// What one input may take, on a busy machine. They take microseconds.
const LIMIT: Duration = Duration::from_secs(2);
/// When an input is given up as endless.
const ENDLESS: Duration = Duration::from_secs(60);
thread_local! {
    /// What the last panic of this thread said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Tries one input; a panic is a failure like any other. Returns whether it was taken.
fn try_one(sound: &Sound, bytes: &[u8], turn: usize) -> Result<bool, String> {
    let start = Instant::now();
    let result = panic::catch_unwind(AssertUnwindSafe(|| try_both(sound, bytes, turn)));
    match result {
        Err(_) => Err(format!("it panicked: {}", PANIC.take().unwrap_or_default())),
        Ok(_) if start.elapsed() > LIMIT => Err(format!("it took {:?}", start.elapsed())),
        Ok(result) => result,
    }
}

/// The batches that are being worked on, and since when.
type Doing = Mutex<BTreeMap<String, Instant>>;

/// Runs `all` with panics kept quiet and an eye on the clock: a batch that never ends ends the process with its name.
fn watched<R: Send>(doing: &Doing, all: impl FnOnce() -> R) -> R {
    panic::set_hook(Box::new(|info| PANIC.set(Some(info.to_string()))));
    let (done, waiting) = channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(ENDLESS / 4) {
                let doing = doing.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((name, _)) = doing.iter().find(|(_, start)| start.elapsed() > ENDLESS) {
                    eprintln!("no end to {name}");
                    std::process::abort();
                }
            }
        });
        let result = all();
        drop(done);
        result
    });
    let _ = panic::take_hook();
    result
}

/// The values that every byte is tried with.
fn values(bytes: &[u8], at: usize) -> Vec<u8> {
    let old = bytes[at];
    if env::var_os("LOADER_FUZZ").is_some_and(|how| how == "full") {
        return (0..=255).filter(|&value| value != old).collect();
    }
    let interesting = hostile::single_byte_changes(&bytes[at..=at]).map(|change| change.value);
    // Three more that depend on the place only, so that every run is the same.
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = [mixed >> 24, mixed >> 36, mixed >> 48].map(|bits| bits as u8);
    let mut values: Vec<u8> = interesting.chain([old ^ 0x10]).chain(mixed).collect();
    values.sort_unstable();
    values.dedup();
    values.retain(|&value| value != old);
    values
}

/// Counts what was taken, and keeps the first few failures of a batch.
#[derive(Default)]
struct Batch {
    tried: usize,
    taken: usize,
    wrong: Vec<String>,
}

impl Batch {
    fn add(&mut self, name: impl FnOnce() -> String, result: Result<bool, String>) {
        self.tried += 1;
        match result {
            Ok(taken) => self.taken += usize::from(taken),
            Err(what) if self.wrong.len() < 8 => self.wrong.push(format!("{}: {what}", name())),
            Err(_) => {}
        }
    }
}

/// Runs batches on all cores and says what came of them.
fn batches(what: &str, sounds: &[Sound], work: impl Fn(&Sound, Range<usize>, &mut Batch) + Sync) {
    let (start, doing) = (Instant::now(), Doing::default());
    let places: Vec<(&Sound, Range<usize>)> = sounds.iter().flat_map(places).collect();
    let one = |(sound, range): &(&Sound, Range<usize>)| {
        let name = format!("{what} of {} in {range:?}", sound.name);
        doing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Instant::now());
        let mut batch = Batch::default();
        work(sound, range.clone(), &mut batch);
        doing.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        batch
    };
    let done = watched(&doing, || on_all_cores(&places, one));
    let (tried, taken) = done.iter().fold((0, 0), |(t, n), b| (t + b.tried, n + b.taken));
    println!("{what}: {tried} inputs in {:?}, {taken} of them taken", start.elapsed());
    let result = |batch: Batch| if batch.wrong.is_empty() { Ok(()) } else { Err(batch.wrong.join("\n")) };
    nothing_wrong(what, done.into_iter().map(result).collect());
}

/// Bytes that one batch is about.
const STRIDE: usize = 128;

fn places(sound: &Sound) -> impl Iterator<Item = (&Sound, Range<usize>)> {
    let end = sound.bytes.len();
    (0..end).step_by(STRIDE).map(move |start| (sound, start..end.min(start + STRIDE)))
}

#[test]
fn truncations_and_single_byte_changes_are_refused_or_keep_what_a_plan_promises() {
    let sounds = Sound::all();
    for sound in &sounds {
        let taken: Vec<_> = (0..8).map(|turn| try_both(sound, &sound.bytes, turn)).collect();
        let suited = taken.iter().step_by(2).all(|taken| *taken == Ok(true));
        assert!(suited && taken.iter().all(Result::is_ok), "{}: {taken:?}", sound.name);
    }
    batches("truncations", &sounds, |sound, range, batch| {
        for end in range {
            let result = try_one(sound, &sound.bytes[..end], end);
            batch.add(|| format!("{} cut off at {end:#x}", sound.name), result);
        }
    });
    batches("single-byte changes", &sounds, |sound, range, batch| {
        let mut bytes = sound.bytes.clone();
        for at in range {
            for value in values(&sound.bytes, at) {
                bytes[at] = value;
                let result = try_one(sound, &bytes, at + usize::from(value));
                batch.add(|| format!("{} with {value:#04x} at {at:#x}", sound.name), result);
            }
            bytes[at] = sound.bytes[at];
        }
    });
}

#[test]
fn what_is_no_library_gets_one_clear_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let corpus_file = |name: &str| fs::read(corpus::root().join(name)).unwrap();
    let (mut elf_32, mut elf_arm) =
        (corpus_file("elf/plain/libplain.so"), corpus_file("elf/plain/libplain.so"));
    elf_32[4] = 1; // EI_CLASS: ELFCLASS32
    elf_arm[18] = 183; // e_machine: EM_AARCH64
    let (mut pe_32, mut pe_arm) = (corpus_file("pe/plain/plain.dll"), corpus_file("pe/plain/plain.dll"));
    let new_header = usize::from(pe_32[0x3c]) | usize::from(pe_32[0x3d]) << 8;
    pe_32[new_header + 4..][..2].copy_from_slice(&0x14c_u16.to_le_bytes()); // IMAGE_FILE_MACHINE_I386
    pe_arm[new_header + 4..][..2].copy_from_slice(&0xaa64_u16.to_le_bytes()); // IMAGE_FILE_MACHINE_ARM64
    fs::create_dir(folder.path().join("folder.so")).unwrap();
    fs::create_dir(folder.path().join("folder.dll")).unwrap();

    type Is = fn(&ErrorKind) -> bool;
    let missing: Is = |kind| matches!(kind, ErrorKind::NotFound { .. });
    let machine: Is = |kind| matches!(kind, ErrorKind::WrongMachine { .. });
    let unsupported: Is = |kind| matches!(kind, ErrorKind::Unsupported { .. });
    let no_loadfile: Is = |kind| matches!(kind, ErrorKind::NotALoadfile { .. });
    let archive = b"!<arch>\nempty.o/        0           0     0     644     4         `\n\x7fELF";
    let cases = [
        (folder.path().join("gone.so"), missing, "find: not found", 126),
        (folder.path().join("gone.dll"), missing, "find: not found", 126),
        (file("arm.so", &elf_arm), machine, "wrong machine: AARCH64 (0xb7), not x86-64", 193),
        (file("arm.dll", &pe_arm), machine, "wrong machine: arm64 (0xaa64), not x86-64", 193),
        (file("narrow.so", &elf_32), unsupported, "32-bit image", 193),
        (file("narrow.dll", &pe_32), machine, "wrong machine: i386 (0x14c), not x86-64", 193),
        (file("archive.so", archive), no_loadfile, "not a loadfile: an archive", 193),
        (file("archive.dll", archive), no_loadfile, "not a loadfile: an archive", 193),
        (file("empty.so", b""), no_loadfile, "not a loadfile: an empty file", 1006),
        (file("empty.dll", b""), no_loadfile, "not a loadfile: an empty file", 1006),
        (folder.path().join("folder.so"), no_loadfile, "not a loadfile: a directory", 193),
        (folder.path().join("folder.dll"), no_loadfile, "not a loadfile: a directory", 193),
        (file("text.so", b"a text\n"), no_loadfile, "not a loadfile: a text file", 193),
        (file("text.dll", b"a text\r\n"), no_loadfile, "not a loadfile: a text file", 193),
    ];
    let engine = Engine::new().unwrap();
    drop(engine.main_program()); // what the process itself has loaded is known from here on
    let modules = engine.modules().len();
    for (path, is, words, number) in cases {
        let error = engine.open(&path).unwrap_err();
        let sentence = error.to_string();
        assert!(is(&error.kind), "{sentence}: {:?}", error.kind);
        assert!(sentence.starts_with(&*path.to_string_lossy()) && sentence.contains(words), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert_eq!(error.win32(), number, "{sentence}");
        assert_ne!(error.dlresultcode(), 0, "{sentence}");
        assert_eq!(engine.modules().len(), modules, "{sentence}");
    }
    nothing_of_it_is_open_or_mapped(folder.path());
}

fn nothing_of_it_is_open_or_mapped(folder: &Path) {
    let mapped = process::mappings().unwrap();
    assert!(!mapped.iter().any(|mapping| Path::new(&mapping.path).starts_with(folder)), "{mapped:?}");
    let open =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let open: Vec<_> = open.filter(|path| path.starts_with(folder)).collect();
    assert!(open.is_empty(), "{open:?}");
}
