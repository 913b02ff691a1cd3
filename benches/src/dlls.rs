//! The DLLs that are measured beside Wine: some that are made here, and OpenBLAS where it is to be had.

use crate::images::{file_name, read};
use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// Links of the chain.
const CHAIN: usize = 50;
/// Exports of one DLL, all of which another one imports.
pub const EXPORTS: usize = 500;
/// Pointers in its data.
const POINTERS: usize = 10_000;

/// What results call them.
pub const NAMES: [&str; 4] = ["dll-tiny", "dll-big", "dll-chain", "libscipy_openblas"];

/// What is asked of one that is loaded.
pub const CALLS: [&str; 2] = ["GetProcAddress", "LoadLibrary again"];

/// A DLL that is measured.
#[derive(Debug)]
pub struct Dll {
    /// What results call it.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// What is loaded and freed with it, in the order in which it is mapped; the DLL itself comes last.
    pub parts: Vec<PathBuf>,
    /// What is held open meanwhile.
    pub held: Option<PathBuf>,
    bytes: Vec<(String, Arc<[u8]>)>,
}

impl Dll {
    fn new(name: &'static str, path: PathBuf, before: Vec<PathBuf>, held: Option<PathBuf>) -> Self {
        let parts = [before, vec![path.clone()]].concat();
        let bytes = parts.iter().map(|part| (file_name(part).to_owned(), read(part).into())).collect();
        Self { name, path, parts, held, bytes }
    }

    /// The names of the parts' files and their bytes.
    #[must_use]
    pub fn bytes(&self) -> &[(String, Arc<[u8]>)] {
        &self.bytes
    }
}

/// The DLLs that there are. Others are named, with what they need.
#[must_use]
pub fn all() -> Vec<Dll> {
    let made = match make(&folder()) {
        Ok(made) => made,
        Err(why) => {
            println!("{}: skipped: {why}", NAMES[..3].join(", "));
            Vec::new()
        }
    };
    let blas = openblas();
    if blas.is_none() {
        println!("{}: skipped: needs LOADER_DLLS, a folder with the wheel scipy or numpy", NAMES[3]);
    }
    made.into_iter().chain(blas.map(|path| Dll::new(NAMES[3], path, Vec::new(), None))).collect()
}

/// The DLL whose names are looked up: `export_000` to `export_499`.
#[must_use]
pub fn exporter() -> PathBuf {
    folder().join("exporter.dll")
}

/// Where DLLs are made, and Wine keeps its files.
#[must_use]
pub fn folder() -> PathBuf {
    crate::results::folder().with_file_name("dlls")
}

fn openblas() -> Option<PathBuf> {
    let files = corpus::files_below(Path::new(&env::var_os("LOADER_DLLS")?)).ok()?;
    files.into_iter().find(|path| file_name(path).starts_with("libscipy_openblas-"))
}

/// Compiles for Windows, in the folder.
///
/// # Errors
/// What is missing.
pub fn compile(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    const COMPILER: &str = "x86_64-w64-mingw32-gcc";
    let output = Command::new(COMPILER).current_dir(folder).args(arguments).output();
    let output = output.map_err(|_| format!("needs {COMPILER} (Debian's package gcc-mingw-w64-x86-64)"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

const MAIN: &str = "int DllMain(void *image, unsigned reason, void *reserved) { return 1; }\n";

/// A DLL out of this source, linked with others of the folder.
fn dll(folder: &Path, name: &str, source: &str, with: &[&str]) -> Result<PathBuf, String> {
    let (code, file) = (format!("{name}.c"), format!("{name}.dll"));
    fs::write(folder.join(&code), format!("{MAIN}{source}")).map_err(|e| e.to_string())?;
    let fixed = ["-shared", "-Os", "-s", "-nostdlib", "-e", "DllMain", "-o", &file, &code];
    compile(folder, &[&fixed, with].concat())?;
    Ok(folder.join(file))
}

fn make(folder: &Path) -> Result<Vec<Dll>, String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    let tiny = dll(
        folder,
        "tiny",
        "__declspec(dllexport) void *tiny(void) { return tiny; } void *self = tiny;",
        &[],
    )?;

    let (mut exporter, mut big) = (String::new(), String::new());
    let mut uses = String::new();
    for n in 0..EXPORTS {
        let _ = writeln!(exporter, "__declspec(dllexport) int export_{n:03}(void) {{ return {n}; }}");
        let _ = writeln!(big, "__declspec(dllimport) int export_{n:03}(void);");
        let _ = write!(uses, "+ export_{n:03}()");
    }
    let _ =
        writeln!(big, "__declspec(dllexport) int sum(void) {{ return 0 {uses}; }}\nint cells[{POINTERS}];");
    let pointers: String = (0..POINTERS).map(|n| format!("cells + {n},")).collect();
    let _ = writeln!(big, "__declspec(dllexport) int *pointers[] = {{ {pointers} }};");
    let exporter = dll(folder, "exporter", &exporter, &[])?;
    let big = dll(folder, "big", &big, &["exporter.dll"])?;

    let mut links = vec![dll(folder, "chain0", "__declspec(dllexport) int link0(void) { return 0; }", &[])?];
    for n in 1..CHAIN {
        let before = n - 1;
        let source = format!(
            "__declspec(dllimport) int link{before}(void); __declspec(dllexport) int link{n}(void) {{ return link{before}(); }}"
        );
        links.push(dll(folder, &format!("chain{n}"), &source, &[&format!("chain{before}.dll")])?);
    }
    let last = links.remove(CHAIN - 1);
    Ok(vec![
        Dll::new(NAMES[0], tiny, Vec::new(), None),
        Dll::new(NAMES[1], big, Vec::new(), Some(exporter)),
        Dll::new(NAMES[2], last, links, None),
    ])
}
