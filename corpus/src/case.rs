//! One case: the images of a folder and the script of what must happen to them, read from its `case.txt`.
//!
//! The format is one `key: text` a line (see `README.md`). An action (`open`, `call`, `thread-call`, `absent`, `rights`,
//! `close`) starts a [`Step`]; `log`, `mode`, `refused`, `win32` and `glibc` say more about the step before them. The reader
//! checks what can be checked without running anything: names that are not open, images that nobody builds, roots left open.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::{Error, ErrorKind, Format};

/// A folder of images with what must come out of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The folder's name; the twin in the other format has the same.
    pub name: String,
    /// Which of the two formats its images have.
    pub format: Format,
    /// Where the folder is. Images are named relative to it.
    pub folder: PathBuf,
    /// What a reader learns from the case, one sentence or a few.
    pub teaches: String,
    /// Whether it speaks of POSIX rules where they differ from this engine's own.
    pub posix: bool,
    /// How its images are built, in build order.
    pub images: Vec<ImageRecipe>,
    /// What to do, and what must be seen, in this order.
    pub script: Vec<Step>,
    /// The images that stay mapped when everything is closed: none, unless a file asks for it.
    pub leaves: Vec<String>,
}

/// How one file is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRecipe {
    /// The file, relative to the case's folder.
    pub file: String,
    /// The command as written: words separated by spaces, run in the case's folder without a shell.
    pub command: String,
    /// Whether the file is part of the corpus (`image:`) or only needed to build others (`make:`).
    pub committed: bool,
}

/// One action and what must be seen of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line in `case.txt`, for messages.
    pub line: usize,
    /// What to do.
    pub action: Action,
    /// What the images must log meanwhile: exactly these lines, in this order.
    pub log: Vec<String>,
    /// The constant that explains how the system's `dlopen` differs here.
    pub glibc: Option<String>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Opens an image; with a refusal, the attempt must fail and leave everything as it was.
    Open(Open),
    /// Calls an export with arguments and compares the result.
    Call {
        /// The open root that is asked for the symbol.
        root: String,
        /// What is called.
        symbol: Symbol,
        /// What it is given.
        arguments: Vec<Value>,
        /// What it must return.
        result: Value,
        /// Whether the call is made in a thread that starts for it and ends after it.
        fresh_thread: bool,
    },
    /// Asks a root for a symbol that it must not offer.
    Absent {
        /// The open root that is asked.
        root: String,
        /// What it must not find.
        symbol: Symbol,
    },
    /// Compares the rights of the page that an exported object lies in.
    Rights {
        /// The open root that is asked for the symbol.
        root: String,
        /// Whose page it is.
        symbol: Symbol,
        /// As `/proc/self/maps` writes them: `r--`, `rw-`, `r-x`.
        rights: String,
    },
    /// Closes the root of this name.
    Close(String),
}

/// What an `open:` line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The image, relative to the case's folder.
    pub file: String,
    /// What later lines call this handle: the file, unless `as` says otherwise.
    pub name: String,
    /// The mode, as the system's `dlopen` reads it: `RTLD_NOW | RTLD_GLOBAL`, unless `mode` says otherwise.
    pub mode: u32,
    /// Set when the attempt must fail.
    pub refusal: Option<Refusal>,
}

/// How an attempt to open must fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Words that the error's sentence must contain, whatever the stage that refuses.
    pub words: Vec<String>,
    /// The Win32 error number that goes with it.
    pub win32: Option<u32>,
}

/// How a script names an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// `name`
    Name(String),
    /// `name@VERSION`, as `dlvsym` asks (ELF).
    Versioned(String, String),
    /// `#7` (PE).
    Ordinal(u16),
}

/// An argument or a result.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the C type that each stands for is in its name
pub enum Value {
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F32(f32),
    F64(f64),
    /// A pointer to text that ends with a zero byte.
    Str(String),
    /// The C type `_Bool`.
    Bool(bool),
    /// Only as a result.
    Void,
}

impl Case {
    /// Reads the `case.txt` of a folder.
    ///
    /// # Errors
    /// The file cannot be read, or a line in it is wrong.
    pub fn read(format: Format, folder: &Path) -> Result<Self, Error> {
        let file = folder.join("case.txt");
        let text = fs::read_to_string(&file).map_err(|e| Error::io(&file, e))?;
        Self::parse(format, folder, &text)
    }

    /// Reads the text of a `case.txt` that lies, or would lie, in `folder`.
    ///
    /// # Errors
    /// A line in it is wrong; the error names the file and the line.
    pub fn parse(format: Format, folder: &Path, text: &str) -> Result<Self, Error> {
        let mut reader = Reader::default();
        let mut last = 0;
        let at = |line, kind| Error { file: folder.join("case.txt"), line, kind };
        for (line, content) in (1..).zip(text.lines()) {
            if !(content.trim().is_empty() || content.starts_with('#')) {
                reader.line(line, content).map_err(|kind| at(line, kind))?;
            }
            last = line;
        }
        let (open, missing) = (reader.open.first().cloned(), reader.missing());
        if let Some(kind) = open.map(ErrorKind::LeftOpen).or(missing.map(ErrorKind::Missing)) {
            return Err(at(last, kind));
        }
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            format,
            folder: folder.into(),
            teaches: reader.teaches,
            posix: reader.posix,
            images: reader.images,
            script: reader.script,
            leaves: reader.leaves.unwrap_or_default(),
        })
    }

    /// Where an image of this case lies.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The files that belong to the corpus, in build order.
    pub fn committed(&self) -> impl Iterator<Item = &str> {
        self.images.iter().filter(|image| image.committed).map(|image| image.file.as_str())
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    teaches: String,
    posix: bool,
    images: Vec<ImageRecipe>,
    script: Vec<Step>,
    leaves: Option<Vec<String>>,
    /// The names that are open at this point of the script, oldest first.
    open: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: usize, content: &str) -> Result<(), ErrorKind> {
        let (key, text) = content.split_once(':').ok_or(ErrorKind::NoKey)?;
        let (text, posix) = (text.trim(), self.posix);
        match key {
            "teaches" => append(&mut self.teaches, text),
            "rules" if text == "posix" => self.posix = true,
            "rules" => return Err(ErrorKind::Expected("posix")),
            "image" | "make" => self.images.push(recipe(text, key == "image")?),
            "open" => self.open(line, text)?,
            "call" | "thread-call" => self.call(line, text, key == "thread-call")?,
            "absent" => {
                let (symbol, root) = self.asked(text)?;
                self.step(line, Action::Absent { root, symbol: symbol.parse()? });
            }
            "rights" => {
                let (text, root) = self.asked(text)?;
                let (symbol, rights) = text.split_once(" = ").ok_or(ErrorKind::Expected("SYMBOL = r-x"))?;
                self.step(line, Action::Rights { root, symbol: symbol.parse()?, rights: rights.into() });
            }
            "close" => {
                let at = self.open.iter().position(|name| name == text);
                let name = self.open.remove(at.ok_or_else(|| ErrorKind::NotOpen(text.into()))?);
                self.step(line, Action::Close(name));
            }
            "log" => self.before("log")?.log.push(text.into()),
            "glibc" => {
                let constant =
                    text.strip_prefix("differs ").ok_or(ErrorKind::Expected("differs CONSTANT"))?;
                self.before("glibc")?.glibc = Some(constant.into());
            }
            "refused" => {
                let Action::Open(open) = &mut self.before("refused")?.action else {
                    return Err(ErrorKind::NothingBefore("refused"));
                };
                let first = open.refusal.is_none();
                open.refusal.get_or_insert_default().words.extend(text.split_whitespace().map(Into::into));
                if first {
                    self.open.pop();
                }
            }
            "mode" => match &mut self.before("mode")?.action {
                Action::Open(open) if posix => open.mode = mode(text)?,
                _ => return Err(ErrorKind::NothingBefore("mode")),
            },
            "win32" => match &mut self.before("win32")?.action {
                Action::Open(Open { refusal: Some(refusal), .. }) => {
                    refusal.win32 = Some(text.parse().map_err(|_| ErrorKind::Expected("NUMBER"))?);
                }
                _ => return Err(ErrorKind::NothingBefore("win32")),
            },
            "leaves" => {
                let files = text.split_whitespace().filter(|file| *file != "nothing");
                self.leaves = Some(files.map(|file| self.image(file)).collect::<Result<_, _>>()?);
            }
            _ => return Err(ErrorKind::UnknownKey(key.into())),
        }
        Ok(())
    }

    fn open(&mut self, line: usize, text: &str) -> Result<(), ErrorKind> {
        let (file, name) = text.split_once(" as ").unwrap_or((text, text));
        let (file, name) = (self.image(file)?, name.to_owned());
        if self.open.contains(&name) {
            return Err(ErrorKind::OpenAlready(name));
        }
        self.open.push(name.clone());
        self.step(line, Action::Open(Open { file, name, mode: RTLD_NOW | RTLD_GLOBAL, refusal: None }));
        Ok(())
    }

    fn call(&mut self, line: usize, text: &str, fresh_thread: bool) -> Result<(), ErrorKind> {
        const FORM: ErrorKind = ErrorKind::Expected("SYMBOL(TYPE:VALUE, …) = TYPE:VALUE [in ROOT]");
        let (text, root) = self.asked(text)?;
        let (call, result) = text.rsplit_once(") = ").ok_or(FORM)?;
        let (symbol, arguments) = call.split_once('(').ok_or(FORM)?;
        let arguments = arguments.split(',').map(str::trim).filter(|text| !text.is_empty());
        let action = Action::Call {
            root,
            symbol: symbol.parse()?,
            arguments: arguments.map(Value::argument).collect::<Result<_, _>>()?,
            result: result.parse()?,
            fresh_thread,
        };
        self.step(line, action);
        Ok(())
    }

    /// Splits `TEXT in ROOT`; without `in`, the root that was opened last is meant.
    fn asked<'a>(&self, text: &'a str) -> Result<(&'a str, String), ErrorKind> {
        match text.rsplit_once(" in ").filter(|(_, root)| !root.contains(' ')) {
            Some((text, root)) if self.open.iter().any(|name| name == root) => Ok((text, root.into())),
            Some((_, root)) => Err(ErrorKind::NotOpen(root.into())),
            None => Ok((text, self.open.last().ok_or_else(|| ErrorKind::NotOpen(text.into()))?.clone())),
        }
    }

    fn step(&mut self, line: usize, action: Action) {
        self.script.push(Step { line, action, log: Vec::new(), glibc: None });
    }

    fn before(&mut self, key: &'static str) -> Result<&mut Step, ErrorKind> {
        self.script.last_mut().ok_or(ErrorKind::NothingBefore(key))
    }

    fn image(&self, file: &str) -> Result<String, ErrorKind> {
        let made = self.images.iter().any(|image| image.committed && image.file == file);
        if made { Ok(file.into()) } else { Err(ErrorKind::NotAnImage(file.into())) }
    }

    fn missing(&self) -> Option<&'static str> {
        let required = [
            ("teaches", self.teaches.is_empty()),
            ("image", self.images.is_empty()),
            ("leaves", self.leaves.is_none()),
        ];
        required.into_iter().find_map(|(key, missing)| missing.then_some(key))
    }
}

const RTLD_LAZY: u32 = 1;
const RTLD_NOW: u32 = 2;
const RTLD_GLOBAL: u32 = 0x100;

/// The number of a mode in words; `RTLD_NOW` goes without saying.
fn mode(text: &str) -> Result<u32, ErrorKind> {
    let (lazy, rest): (Vec<&str>, Vec<&str>) = text.split_whitespace().partition(|word| *word == "lazy");
    let binding = if lazy.is_empty() { RTLD_NOW } else { RTLD_LAZY };
    rest.into_iter().try_fold(binding, |mode, word| {
        let bit = match word {
            "local" => 0,
            "global" => RTLD_GLOBAL,
            "noload" => 4,
            "deepbind" => 8,
            "nodelete" => 0x1000,
            _ => return Err(ErrorKind::Expected("lazy, local, global, noload, deepbind, nodelete")),
        };
        Ok(mode | bit)
    })
}

fn append(sentence: &mut String, text: &str) {
    if !sentence.is_empty() {
        sentence.push(' ');
    }
    sentence.push_str(text);
}

fn recipe(text: &str, committed: bool) -> Result<ImageRecipe, ErrorKind> {
    let (file, command) = text.split_once(" <- ").ok_or(ErrorKind::Expected("FILE <- COMMAND"))?;
    Ok(ImageRecipe { file: file.trim().into(), command: command.trim().into(), committed })
}

impl FromStr for Symbol {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        const FORM: ErrorKind = ErrorKind::Expected("NAME, NAME@VERSION or #ORDINAL");
        if text.is_empty() || text.contains(char::is_whitespace) {
            return Err(FORM);
        }
        match (text.strip_prefix('#'), text.split_once('@')) {
            (Some(ordinal), _) => ordinal.parse().map(Self::Ordinal).map_err(|_| FORM),
            (None, Some((name, version))) => Ok(Self::Versioned(name.into(), version.into())),
            (None, None) => Ok(Self::Name(text.into())),
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Versioned(name, version) => write!(f, "{name}@{version}"),
            Self::Ordinal(ordinal) => write!(f, "#{ordinal}"),
        }
    }
}

impl Value {
    fn argument(text: &str) -> Result<Self, ErrorKind> {
        text.parse().and_then(|value| {
            if value == Self::Void { Err(ErrorKind::BadValue(text.into())) } else { Ok(value) }
        })
    }
}

impl FromStr for Value {
    type Err = ErrorKind;

    fn from_str(text: &str) -> Result<Self, ErrorKind> {
        let bad = || ErrorKind::BadValue(text.into());
        let Some((kind, value)) = text.split_once(':') else {
            return if text == "void" { Ok(Self::Void) } else { Err(bad()) };
        };
        match kind {
            "i32" => value.parse().ok().map(Self::I32),
            "u32" => value.parse().ok().map(Self::U32),
            "i64" => value.parse().ok().map(Self::I64),
            "u64" => value.parse().ok().map(Self::U64),
            "f32" => value.parse().ok().map(Self::F32),
            "f64" => value.parse().ok().map(Self::F64),
            "bool" => value.parse().ok().map(Self::Bool),
            "str" => Some(Self::Str(value.into())),
            _ => None,
        }
        .ok_or_else(bad)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::I32(value) => write!(f, "i32:{value}"),
            Self::U32(value) => write!(f, "u32:{value}"),
            Self::I64(value) => write!(f, "i64:{value}"),
            Self::U64(value) => write!(f, "u64:{value}"),
            Self::F32(value) => write!(f, "f32:{value}"),
            Self::F64(value) => write!(f, "f64:{value}"),
            Self::Str(value) => write!(f, "str:{value}"),
            Self::Bool(value) => write!(f, "bool:{value}"),
            Self::Void => f.write_str("void"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse(Format::Elf, Path::new("elf/sample"), text).map_err(|error| error.to_string())
    }

    const SAMPLE: &str = "\
# a comment
teaches: One thing.
teaches: And another.
make: libgone.so <- $SO -o libgone.so gone.c
image: liba.so <- $SO -o liba.so a.c
open: liba.so
log: init a
open: liba.so as again
call: sum(i32:-2, f64:1.5, str:hi there) = i64:7 in liba.so
thread-call: sum@V1() = void
glibc: differs NO_SUCH_THING
absent: #7
rights: sum = r-x in liba.so
close: liba.so
close: again
log: fini a
open: liba.so as third
refused: liba.so missing
win32: 126
leaves: nothing
";

    #[test]
    fn a_case_reads_as_it_is_written() {
        let case = parse(SAMPLE).unwrap();
        assert_eq!((case.name.as_str(), case.teaches.as_str()), ("sample", "One thing. And another."));
        assert_eq!(case.committed().collect::<Vec<_>>(), ["liba.so"]);
        assert_eq!(case.images[0].command, "$SO -o libgone.so gone.c");
        assert_eq!(case.script.len(), 9);
        assert_eq!((case.script[0].line, &case.script[0].log[..]), (6, &["init a".to_owned()][..]));
        assert_eq!(
            case.script[2].action,
            Action::Call {
                root: "liba.so".into(),
                symbol: Symbol::Name("sum".into()),
                arguments: vec![Value::I32(-2), Value::F64(1.5), Value::Str("hi there".into())],
                result: Value::I64(7),
                fresh_thread: false,
            }
        );
        let versioned = Symbol::Versioned("sum".into(), "V1".into());
        assert!(matches!(&case.script[3].action, Action::Call { root, symbol, fresh_thread: true, .. }
            if root == "again" && *symbol == versioned));
        assert_eq!(case.script[3].glibc.as_deref(), Some("NO_SUCH_THING"));
        assert_eq!(
            case.script[4].action,
            Action::Absent { root: "again".into(), symbol: Symbol::Ordinal(7) }
        );
        let refusal = Refusal { words: vec!["liba.so".into(), "missing".into()], win32: Some(126) };
        assert!(
            matches!(&case.script[8].action, Action::Open(open) if open.refusal.as_ref() == Some(&refusal))
        );
        assert!(case.leaves.is_empty());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let image = "image: liba.so <- $SO a.c\n";
        for (text, want) in [
            ("teaches", "elf/sample/case.txt:1: expected `key: text`"),
            ("teach: x", "1: unknown key `teach`"),
            ("image: liba.so", "1: expected `FILE <- COMMAND`"),
            ("log: x", "1: `log:` speaks of the action before it"),
            ("open: liba.so", "1: no `image:` line makes liba.so"),
            (&format!("{image}open: liba.so\nopen: liba.so"), "3: liba.so is open already"),
            (&format!("{image}close: liba.so"), "2: liba.so is not open here"),
            (&format!("{image}call: f() = void"), "2: f() = void is not open here"),
            (&format!("{image}open: liba.so\ncall: f() = void in b"), "3: b is not open here"),
            (&format!("{image}open: liba.so\ncall: f = i32:1"), "3: expected `SYMBOL(TYPE:VALUE"),
            (&format!("{image}open: liba.so\ncall: f(i32:x) = void"), "3: `i32:x` is not a value"),
            (&format!("{image}open: liba.so\ncall: f(void) = void"), "3: `void` is not a value"),
            (
                &format!("{image}open: liba.so\nabsent: #70000"),
                "3: expected `NAME, NAME@VERSION or #ORDINAL`",
            ),
            (&format!("{image}open: liba.so\nwin32: 5"), "3: `win32:` speaks of the action before it"),
            (&format!("{image}open: liba.so\nclose: liba.so\nrefused: x"), "4: `refused:` speaks of"),
            (&format!("{image}open: liba.so\nmode: local"), "3: `mode:` speaks of"),
            (&format!("rules: posix\n{image}open: liba.so\nmode: late"), "4: expected `lazy, local, global"),
            (&format!("{image}open: liba.so\nrights: f"), "3: expected `SYMBOL = r-x`"),
            (&format!("{image}open: liba.so\nglibc: same"), "3: expected `differs CONSTANT`"),
            (&format!("{image}open: liba.so"), "2: liba.so is never closed"),
            (&format!("{image}leaves: nothing"), "2: has no `teaches:` line"),
            (&format!("teaches: x\n{image}"), "2: has no `leaves:` line"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text:?} gave {error:?}, not {want:?}");
        }
    }
}
