//! One script in a process of its own: the interpreter is a DLL, `drv.dll`, which is loaded like any other and calls the
//! loader through its own imports. What it and the DLLs that it loads say goes to standard output, line by line.
//!
//! `unsafe` because the interpreter is called by address, and because `tlog` is handed pointers.
#![allow(unsafe_code)]

use loader::{
    Addr, Arg, Convention, Engine, Error, ErrorKind, Event, Format, HostModule, MissingPolicy, Mode, Origin,
    Rules, Stage, win32,
};
use loader_core::{Need, Query, Request};
use std::{
    cell::Cell,
    env,
    ffi::{CStr, CString, c_char},
    fs::File,
    io::Write,
    mem::ManuallyDrop,
    os::fd::FromRawFd,
    path::Path,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// The first argument of a process that is to play: the folder of the DLLs and the script itself follow.
pub const COMMAND: &str = "play";

/// Plays, if that is what this process was started for; otherwise returns.
pub fn asked() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [command, folder, script] = &arguments[..] else { return };
    if command != COMMAND {
        return;
    }
    loader_sandbox::behave_as_child();
    if let Err(what) = play(Path::new(folder), script) {
        eprintln!("{what}");
        std::process::exit(2);
    }
}

/// Runs a script in this process, and ends it as Windows would.
fn play(folder: &Path, script: &str) -> Result<(), String> {
    number(); // this is the first thread
    let script = CString::new(script).map_err(|error| error.to_string())?;
    env::set_current_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = env::current_dir().map_err(|error| error.to_string())?.join("drv.exe");
    win32::run_as(&program.to_string_lossy(), &[]); // the traces are those of this program
    let tlog = HostModule::new("tlog.dll")
        .function("tlog", tlog as *const ())
        .function("tlog_thread", number as *const ());
    let engine =
        Engine::builder().host(tlog).observe(unhandled).build().map_err(|error| error.to_string())?;
    let run = interpreter(&engine).map_err(|error| error.to_string())?;
    engine.load_set().enter(Format::Pe).map_err(|error| error.to_string())?;
    let text = script.into_raw(); // the interpreter cuts it into pieces
    // SAFETY: the DLL's source says `int drv_run(char *)`, which keeps the text; the DLL is never unloaded.
    match unsafe { loader::invoke(run, Convention::Windows, &[Arg::Word(text.expose_provenance() as u64)]) } {
        Ok(_) => {
            say("> main returns");
            win32::exit_process(&engine, 0)
        }
        // As Windows has it: nobody is told any more.
        Err(ErrorKind::Exception(exception)) => win32::terminate_process(exception.code),
        Err(other) => Err(other.to_string()),
    }
}

/// An exception that nobody handles ends a thread of this engine's; on Windows it ends the process.
fn unhandled(event: &Event<'_>) {
    if let Event::Failed { error: Error { stage: Stage::Call, kind: ErrorKind::Exception(e), .. } } = event {
        win32::terminate_process(e.code)
    }
}

/// Loads the interpreter for good. What it imports and nobody defines is met by those scenarios only that need it.
fn interpreter(engine: &Engine) -> Result<Addr, Error> {
    let name = "drv.dll";
    let handle = engine.load_set().open(&Request {
        need: Need { name: name.into(), key: name.into(), reexported: false },
        source: None,
        mode: Mode::default(),
        rules: Rules { missing: MissingPolicy::Trap, ..Rules::default() },
        origin: Origin::Open,
        by: None,
    })?;
    Ok(engine.load_set().symbol(handle, &Query::name(b"drv_run"))?.at)
}

/// The calling thread's number: in the order in which threads first speak.
extern "win64" fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static MINE: Cell<Option<u32>> = const { Cell::new(None) };
    }
    MINE.get().unwrap_or_else(|| {
        let number = LAST.fetch_add(1, Relaxed);
        MINE.set(Some(number));
        number
    })
}

/// `tlog` of `tlog.dll`.
extern "win64" fn tlog(line: *const c_char) {
    // SAFETY: DLLs call this with a string.
    say(&unsafe { CStr::from_ptr(line) }.to_string_lossy());
}

/// One line, written at once: the process may end at any moment.
fn say(line: &str) {
    // SAFETY: descriptor 1 is open, and is not closed here.
    let mut out = ManuallyDrop::new(unsafe { File::from_raw_fd(1) });
    let _ = out.write_all(format!("[T{}] {line}\n", number()).as_bytes());
}
