//! Wine, as a process that loads and frees a DLL as often as it is told to, and says how long that took.

use crate::dlls::{compile, folder};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// A program of Windows' kind that runs under Wine; it ends with this.
#[derive(Debug)]
pub struct Wine {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

/// Where Debian puts it, besides the search path.
const PLACES: [&str; 2] = ["/usr/lib/wine", "/usr/lib/wine64"];

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(PLACES.map(PathBuf::from));
    folders.flat_map(|f| ["wine", "wine64"].map(|name| f.join(name))).find(|file| file.is_file())
}

/// A host path as Wine names it.
fn windows(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

impl Wine {
    /// Starts it for one DLL, with another one held meanwhile.
    ///
    /// # Errors
    /// In a word, why it cannot be.
    pub fn start(dll: &Path, held: Option<&Path>) -> Result<Self, String> {
        let wine = program().ok_or("needs wine (Debian's package wine64)")?;
        let folder = folder();
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/dlls/timer.c");
        compile(&folder, &["-Os", "-s", "-o", "timer.exe", source])?;
        let mut child = Command::new(wine)
            .arg(folder.join("timer.exe"))
            .args([windows(dll), held.map(windows).unwrap_or_default()])
            .env("WINEPREFIX", folder.join("wine"))
            .env("WINEDEBUG", "-all")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let from = BufReader::new(from.ok_or("no pipe")?);
        let mut wine = Self { child, to, from };
        wine.time("open", 1)?; // starts Wine's server, and makes its files if there are none
        Ok(wine)
    }

    /// Has something done that often.
    ///
    /// # Errors
    /// Where it ended instead.
    pub fn time(&mut self, what: &str, times: u64) -> Result<Duration, String> {
        let to = self.to.as_mut().ok_or("no pipe")?;
        writeln!(to, "{what} {times}").and_then(|()| to.flush()).map_err(|e| e.to_string())?;
        let mut line = String::new();
        self.from.read_line(&mut line).map_err(|e| e.to_string())?;
        let took = line.trim().parse().map_err(|_| format!("Wine's program says {line:?}"))?;
        Ok(Duration::from_nanos(took))
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        self.to = None; // its input ends, and so does it
        let _ = self.child.wait();
    }
}
