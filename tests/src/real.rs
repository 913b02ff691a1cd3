//! Libraries of the system, loaded from bytes, at their work.
//!
//! `unsafe` because their functions are called as their manuals have them.
#![allow(unsafe_code)]

use crate::process;
use loader::{Engine, Library, Origin, Place};
use std::{
    ffi::{CStr, c_char, c_int, c_uchar, c_void},
    fs,
    path::PathBuf,
    ptr::{null, null_mut},
};

/// A library, and what it is made to do.
pub struct Real {
    /// Its name.
    pub name: &'static str,
    /// Loads it from bytes, uses it and unloads it; in a process of its own.
    pub at_work: fn() -> Result<(), String>,
}

impl std::fmt::Debug for Real {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const SQLITE: &str = "libsqlite3.so.0";
const CRYPTO: &str = "libcrypto.so.3";
const PYTHON: &str = "libpython3.11.so.1.0";

/// All of them.
pub const LIBRARIES: [Real; 3] = [
    Real { name: SQLITE, at_work: sqlite },
    Real { name: CRYPTO, at_work: crypto },
    Real { name: PYTHON, at_work: python },
];

impl Real {
    /// Whether the system has it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        Engine::new().is_ok_and(|engine| file(&engine, self.name).is_ok())
    }
}

fn text(e: impl ToString) -> String {
    e.to_string()
}

/// The file that a name means.
fn file(engine: &Engine, name: &str) -> Result<PathBuf, String> {
    match engine.plan(name).map_err(text)?.into_iter().next().map(|library| library.place) {
        Some(Place::File(path, _)) => Ok(path),
        other => Err(format!("{name} is not in a file: {other:?}")),
    }
}

/// Loads a library from its bytes, has it used, and looks that nothing the engine loaded is mapped when it is gone.
fn from_bytes(name: &str, used: impl FnOnce(&Library) -> Result<(), String>) -> Result<(), String> {
    let engine = Engine::new().map_err(text)?;
    let bytes = fs::read(file(&engine, name)?).map_err(text)?;
    let library = engine.open_bytes(name, bytes).map_err(text)?;
    used(&library)?;
    let ours = engine.modules().into_iter().filter(|m| m.origin == Origin::Open).map(|m| m.at.base.0);
    let ours: Vec<u64> = ours.collect();
    library.close().map_err(text)?;
    drop(engine);
    let left = process::mappings().map_err(text)?;
    let left = left.into_iter().filter(|m| ours.contains(&m.start)).map(|m| m.path);
    same("still mapped", &left.collect::<Vec<_>>(), &Vec::new())
}

fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, String> {
    // SAFETY: every `F` here is what the library's manual says of that name; it is used while the library is open.
    unsafe { library.get::<F>(name) }.map(loader::Symbol::into_raw).map_err(text)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, wanted: &T) -> Result<(), String> {
    (got == wanted).then_some(()).ok_or_else(|| format!("{what}: {got:?}, not {wanted:?}"))
}

/// A table, rows, and a sum over them.
fn sqlite() -> Result<(), String> {
    type Row = unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
    type Open = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;
    type Exec = unsafe extern "C" fn(*mut c_void, *const c_char, Row, *mut c_void, *mut *mut c_char) -> c_int;
    unsafe extern "C" fn row(
        sum: *mut c_void,
        _: c_int,
        row: *mut *mut c_char,
        _: *mut *mut c_char,
    ) -> c_int {
        // SAFETY: the query's result is one column.
        let first = unsafe { row.read() };
        // SAFETY: a column that is not null is text that ends with a zero byte.
        let text = unsafe { CStr::from_ptr(first) }.to_string_lossy().into_owned();
        // SAFETY: `exec` was given the address of a string.
        unsafe { *sum.cast::<String>() = text };
        0
    }
    from_bytes(SQLITE, |library| {
        let open: Open = function(library, c"sqlite3_open")?;
        let exec: Exec = function(library, c"sqlite3_exec")?;
        let close: unsafe extern "C" fn(*mut c_void) -> c_int = function(library, c"sqlite3_close")?;
        let sql = c"create table t(n); \
            with recursive c(x) as (select 1 union all select x+1 from c where x < 100) insert into t select x from c; \
            select sum(n) from t;";
        let (mut db, mut sum) = (null_mut(), String::new());
        // SAFETY: as the manual has it; the database is in memory.
        same("sqlite3_open", &unsafe { open(c":memory:".as_ptr(), &raw mut db) }, &0)?;
        // SAFETY: as the manual has it.
        let done = unsafe { exec(db, sql.as_ptr(), row, (&raw mut sum).cast(), null_mut()) };
        same("sqlite3_exec", &done, &0)?;
        // SAFETY: the database is open.
        same("sqlite3_close", &unsafe { close(db) }, &0)?;
        same("the sum of 1 to 100", &&*sum, &"5050")
    })
}

/// SHA-256 of "abc": FIPS 180-4, the first example of its SHA-256 appendix.
const ABC: [u8; 32] = [
    0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0,
    0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
];

fn crypto() -> Result<(), String> {
    type Sha = unsafe extern "C" fn(*const c_uchar, usize, *mut c_uchar) -> *mut c_uchar;
    from_bytes(CRYPTO, |library| {
        let sha: Sha = function(library, c"SHA256")?;
        let mut digest = [0; 32];
        // SAFETY: three bytes to read, 32 to write, as the manual has it.
        unsafe { sha(b"abc".as_ptr(), 3, digest.as_mut_ptr()) };
        same("SHA-256", &digest, &ABC)
    })
}

/// Extension modules from files, which Python opens with `dlopen`: they need what came from bytes.
const SCRIPT: &CStr = c"
import ctypes, decimal, hashlib, json, sqlite3, ssl, threading
assert hashlib.sha256(b'abc').hexdigest().startswith('ba7816bf8f01cfea')
assert json.loads(json.dumps({'a': [1, 2]})) == {'a': [1, 2]}
assert decimal.Decimal('0.1') * 3 == decimal.Decimal('0.3')
assert sqlite3.connect(':memory:').execute('select 6 * 7').fetchone() == (42,)
assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
assert ctypes.CDLL(None).strlen(b'four') == 4
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
assert sorted(done) == [0, 1, 2, 3]
";

fn python() -> Result<(), String> {
    type Run = unsafe extern "C" fn(*const c_char, *const c_void) -> c_int;
    from_bytes(PYTHON, |library| {
        let initialize: extern "C" fn() = function(library, c"Py_Initialize")?;
        let run: Run = function(library, c"PyRun_SimpleStringFlags")?;
        let finalize: extern "C" fn() -> c_int = function(library, c"Py_FinalizeEx")?;
        initialize();
        // SAFETY: the text ends with a zero byte, and null stands for no flags.
        same("the script", &unsafe { run(SCRIPT.as_ptr(), null()) }, &0)?;
        let modules = library.engine().modules();
        let ours = |file: &str| modules.iter().any(|m| m.origin == Origin::Open && m.name.contains(file));
        same("extension modules are the engine's", &(ours("/_ssl."), ours("/_ctypes.")), &(true, true))?;
        same("Py_FinalizeEx", &finalize(), &0)
    })
}
