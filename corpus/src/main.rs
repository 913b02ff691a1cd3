//! `corpus rebuild` makes every image again from its sources; `corpus check` does so beside them and compares bytes;
//! `corpus hostile FOLDER` writes the hostile images to files, for tools that want to open them.
//!
//! The first two build in a temporary copy of the sources, so that a command in a `case.txt` sees the same relative paths on every
//! machine. Only the last step differs: copy the results back, or compare them.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use corpus::{Case, Format, patch::Pe};
use object::{LittleEndian as LE, U32, pe};

const USAGE: &str = "usage: corpus rebuild | check | hostile FOLDER";

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rebuild"] => run(Mode::Rebuild),
        ["check"] => run(Mode::Check),
        ["hostile", folder] => write_hostile(Path::new(folder)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_hostile(folder: &Path) -> Outcome<bool> {
    let images = corpus::hostile::images();
    fs::create_dir_all(folder)?;
    for image in &images {
        fs::write(folder.join(image.name), &image.bytes)?;
    }
    println!("{} images", images.len());
    Ok(true)
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Rebuild,
    Check,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The whole story; true if everything was built and, when checked, is the same.
fn run(mode: Mode) -> Outcome<bool> {
    let cases: Vec<Case> =
        corpus::cases()?.into_iter().chain([corpus::oracle()?]).chain(corpus::mischief()?).collect();
    let work = Scratch::new()?;
    for folder in ["elf", "pe", "oracle", "mischief"] {
        copy_sources(&corpus::root().join(folder), &work.0.join(folder))?;
    }
    let (mut same, mut changed, mut failed, mut skipped) = (0, 0, 0, 0);
    for format in Format::ALL {
        let of_format: Vec<_> = cases.iter().filter(|case| case.format == format).collect();
        if let Some(needed) = missing_tool(format) {
            println!("skipped: needs {needed}");
            skipped += of_format.iter().map(|case| case.committed().count()).sum::<usize>();
            continue;
        }
        prepare(format, &work.0.join(format.folder()))?;
        for case in of_format {
            let name = case.folder.strip_prefix(corpus::root())?;
            let folder = work.0.join(name);
            let left_out = match build(case, &folder) {
                Ok(left_out) => left_out,
                Err(error) => {
                    println!("{}: {error}", name.display());
                    failed += case.committed().count();
                    continue;
                }
            };
            for file in case.committed() {
                if left_out.contains(file) {
                    skipped += 1;
                    continue;
                }
                let (path, bytes) = (case.path(file), fs::read(folder.join(file))?);
                if fs::read(&path).is_ok_and(|committed| committed == bytes) {
                    same += 1;
                    continue;
                }
                changed += 1;
                println!("{}/{file}: {}", name.display(), if path.exists() { "differs" } else { "is new" });
                if mode == Mode::Rebuild {
                    fs::create_dir_all(path.parent().unwrap_or(&path))?;
                    fs::write(&path, bytes)?;
                }
            }
        }
    }
    let verb = if mode == Mode::Rebuild { "written" } else { "different" };
    println!(
        "{} images: {same} same, {changed} {verb}, {failed} failed, {skipped} skipped",
        same + changed + failed + skipped
    );
    Ok(failed == 0 && (changed == 0 || mode == Mode::Rebuild))
}

/// What a `$TOKEN` of a `case.txt` stands for.
const TOKENS: [(&str, &str); 12] = [
    ("$CC", "gcc"),
    ("$CXX", "g++"),
    (
        "$SO",
        "gcc -shared -fPIC -Os -s -fno-ident -fno-asynchronous-unwind-tables -fno-stack-protector -fcf-protection=none \
         -nostartfiles -nodefaultlibs -Wl,--build-id=none,-z,noseparate-code,--hash-style=gnu,--enable-new-dtags \
         -Wl,-rpath,$ORIGIN",
    ),
    ("$MINGW", "x86_64-w64-mingw32-gcc"),
    (
        "$DLL",
        "x86_64-w64-mingw32-gcc -shared -Os -s -fno-ident -nostdlib -e DllMain -Wl,--no-insert-timestamp",
    ),
    (
        "$TRACED",
        "x86_64-w64-mingw32-gcc -shared -O1 -s -w -fno-ident -fno-builtin -fno-stack-protector -nostdlib -Wl,-e,DllMain \
         -Wl,--no-insert-timestamp",
    ),
    (
        "$PROGRAM",
        "x86_64-w64-mingw32-gcc -O1 -s -w -fno-ident -fno-builtin -fno-stack-protector -nostdlib -Wl,-e,start \
         -Wl,--subsystem,console -Wl,--no-insert-timestamp",
    ),
    ("$MINGW32", "i686-w64-mingw32-gcc"),
    ("$WINDRES", "x86_64-w64-mingw32-windres"),
    ("$TLOG", "../libtlog.a"),
    ("$DLLTOOL", "x86_64-w64-mingw32-dlltool --deterministic-libraries"),
    ("$DIRECTORY", ":directory"),
];

/// The words of a command, tokens replaced. There is no shell: a word is what stands between spaces.
fn words(command: &str) -> Vec<&str> {
    let token = |word| TOKENS.into_iter().find_map(|(token, text)| (token == word).then_some(text));
    command.split_whitespace().flat_map(|word| token(word).unwrap_or(word).split_whitespace()).collect()
}

fn missing_tool(format: Format) -> Option<&'static str> {
    let needed: &[_] = match format {
        Format::Elf => &["gcc", "g++"],
        Format::Pe => &["x86_64-w64-mingw32-gcc"],
    };
    needed.iter().copied().find(|tool| is_missing(tool))
}

fn is_missing(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_err()
}

/// Everything but images: those must come out of the commands, not be found lying there.
fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    const SOURCES: [&str; 8] = ["c", "cpp", "h", "s", "def", "ld", "map", "rc"];
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_sources(&path, &target)?;
        } else if path.extension().is_some_and(|kind| SOURCES.iter().any(|source| kind == *source)) {
            fs::copy(&path, target)?;
        }
    }
    Ok(())
}

/// What the cases of a format share: for PE the import library of the module that the runner offers.
fn prepare(format: Format, folder: &Path) -> Outcome<()> {
    match format {
        Format::Elf => Ok(()),
        Format::Pe => execute("$DLLTOOL --temp-prefix tlog -d tlog.def -l libtlog.a", folder),
    }
}

/// Builds the images of a case in `folder`, which holds its sources. Returns what was not built: a tool is missing on
/// this machine, or something that was not built would be needed.
fn build<'a>(case: &'a Case, folder: &Path) -> Outcome<BTreeSet<&'a str>> {
    let mut left_out = BTreeSet::new();
    for image in &case.images {
        let words = words(&image.command);
        let tool = words.first().filter(|tool| !tool.starts_with(':') && is_missing(tool));
        if tool.is_some() || words.iter().any(|word| left_out.contains(word)) {
            tool.iter().for_each(|tool| println!("{}: skipped: needs {tool}", image.file));
            left_out.insert(&*image.file);
            continue;
        }
        if let Some(parent) = folder.join(&image.file).parent() {
            fs::create_dir_all(parent)?;
        }
        execute(&image.command, folder)?;
    }
    Ok(left_out)
}

fn execute(command: &str, folder: &Path) -> Outcome<()> {
    let words = words(command);
    match words[..] {
        [] => Err("an empty command".into()),
        [":directory", file, number, section] => set_directory(&folder.join(file), number.parse()?, section),
        [program, ref arguments @ ..] => {
            let output = Command::new(program)
                .args(arguments)
                .env("LC_ALL", "C")
                .env("PWD", "/proc/self/cwd") // what compilers write into debug information
                .current_dir(folder)
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            Err(format!("{}\n{}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim_end()).into())
        }
    }
}

/// `$DIRECTORY FILE NUMBER SECTION`: makes a section a PE data directory, its size being the section's own first word.
/// The linker knows no name for the load configuration, so this is how an image gets one. With `none` for the section the
/// directory is emptied; the header of an image without base relocations then says that they were stripped.
fn set_directory(file: &Path, number: usize, section: &str) -> Outcome<()> {
    let mut image = Pe(fs::read(file)?);
    let (rva, size) = if section == "none" {
        (0, 0)
    } else {
        let rva = image.section(section).virtual_address.get(LE);
        (rva, image.view::<U32<LE>>(rva).get(LE))
    };
    *image.directory(number) =
        pe::ImageDataDirectory { virtual_address: U32::new(LE, rva), size: U32::new(LE, size) };
    if (number, size) == (pe::IMAGE_DIRECTORY_ENTRY_BASERELOC, 0) {
        let flags = &mut image.nt().file_header.characteristics;
        flags.set(LE, flags.get(LE) | pe::IMAGE_FILE_RELOCS_STRIPPED);
    }
    Ok(fs::write(file, image.0)?)
}

/// A folder of its own under the system's temporary folder, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("corpus-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary folder is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}
