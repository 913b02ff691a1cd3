//! What debuggers and profilers are told of loaded libraries.

use loader_core::{InMemory, Tools};
use loader_elf::{debugger, perf};

/// What of loaded ELF libraries a debugger (gdb 12 or later, with glibc 2.35 or later) is shown: breakpoints by source
/// line, `info sharedlibrary`, backtraces with names.
///
/// Libraries stand in a list that debuggers read when they attach, and are told to read again when it changes, before
/// initialisers run. Symbols come from a library's file. One that was opened from bytes has none and is copied to a
/// memory file for as long as it is loaded: a descriptor and the copy's memory.
///
/// The list itself, once made, stays in the process, empty when nothing is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Debugger {
    /// Libraries with a file; others if a debugger is there when they are opened.
    #[default]
    Auto,
    /// All.
    Always,
    /// None, unless [`Engine::show_to_debugger`](crate::Engine::show_to_debugger) asks for it.
    Never,
}

/// Who is told what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outside {
    pub(crate) debugger: Debugger,
    pub(crate) perf_map: bool,
}

impl Tools for Outside {
    fn came(&self, modules: &[InMemory<'_>]) {
        match self.debugger {
            Debugger::Auto => debugger::show(modules, debugger::is_listening()),
            Debugger::Always => debugger::show(modules, true),
            Debugger::Never => {}
        }
        if self.perf_map {
            let without_file = modules.iter().filter(|m| m.path.is_none());
            if let Err(why) = perf::describe(without_file) {
                log::warn!("{}: {why}", perf::path().display());
            }
        }
    }

    fn going(&self, modules: &[InMemory<'_>]) {
        debugger::hide(modules);
    }
}
