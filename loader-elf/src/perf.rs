//! The map of code without a file that `perf` reads: `/tmp/perf-<pid>.map`, a line for each function, in hexadecimal
//! `START SIZE NAME`. What has a file needs no lines.

use loader_core::{InMemory, LinkAddr};
use object::{Object, ObjectSymbol, SymbolKind};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// The map of this process.
#[must_use]
pub fn path() -> PathBuf {
    format!("/tmp/perf-{}.map", std::process::id()).into()
}

/// Appends the functions of these images to the map. What is written stays: the format has no way to take it back.
///
/// # Errors
/// What the system says of the file.
pub fn describe<'a>(modules: impl Iterator<Item = &'a InMemory<'a>>) -> io::Result<()> {
    let lines: String = modules.map(lines).collect();
    if lines.is_empty() {
        return Ok(());
    }
    // Others can write to the folder: no link of theirs is followed, and they are not to read what is loaded.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path())?.write_all(lines.as_bytes())
}

/// The lines of one image; none for one that is not ELF.
fn lines(module: &InMemory<'_>) -> String {
    let Ok(file) = object::File::parse(module.image.outline().file) else {
        return String::new();
    };
    // Exported functions are in both tables, and many have several names: the first is as good as any.
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let inside = module.at.rva(LinkAddr(symbol.address())).is_some();
        if symbol.kind() == SymbolKind::Text && symbol.is_definition() && inside {
            functions.entry(symbol.address()).or_insert(symbol);
        }
    }
    let mut out = String::new();
    for (at, symbol) in functions {
        let name = String::from_utf8_lossy(symbol.name_bytes().unwrap_or_default());
        if symbol.size() != 0 && !name.is_empty() && !name.contains('\n') {
            let at = module.at.moved(LinkAddr(at)).0;
            let _ = writeln!(out, "{at:x} {:x} {name}", symbol.size()); // a String takes everything
        }
    }
    out
}
