//! Writing to standard output: lines, JSON objects, colour where a person looks on.

use std::{
    env, fmt,
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

/// Writes a line.
pub(super) fn line(text: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes an object, on a line of its own.
pub(super) fn object(value: &serde_json::Value) -> io::Result<()> {
    line(value)
}

/// What a text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Heading,
    Good,
    Bad,
    Aside,
}

/// A text in its colour; plain where standard output is no terminal, or `NO_COLOR` is set.
pub(super) fn paint(tone: Tone, text: impl fmt::Display) -> String {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    let set = |name| env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = || env::var_os("TERM").is_some_and(|t| t == "dumb");
    if !*COLOUR.get_or_init(|| io::stdout().is_terminal() && !set("NO_COLOR") && !dumb()) {
        return text.to_string();
    }
    let code = match tone {
        Tone::Heading => "1",
        Tone::Good => "32",
        Tone::Bad => "31",
        Tone::Aside => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A heading and the lines under it; nothing where there are none.
pub(super) fn section(title: impl fmt::Display, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        line(paint(Tone::Heading, title))?;
    }
    lines.try_for_each(|l| line(format_args!("  {l}")))
}
