//! What a Windows image expects of its process: a thread block behind GS, a process block, and the functions of
//! KERNEL32, ntdll and the C runtime, offered as modules without an image.
//!
//! ```text
//! engine ── Process::new(services) ──► modules(): KERNEL32.dll, ntdll.dll, ucrtbase.dll, msvcrt.dll …
//!        └─ process.enter() ─────────► the calling thread has a TEB of this process behind GS
//! guest  ── call through its IAT ────► extern "win64" fn ── what only the engine knows ──► Services
//! ```
//! Read in this order: [`Services`] (what is asked of the engine) → [`Process`] → `teb` and `peb` (what images read
//! without asking) → `guest` (pointers that images hand in) → `table` (how a function becomes one of a module) →
//! `memory` (the book of virtual memory) → `object` and `names` (what handles are of, and what they are called) → `kernel32`
//! and `crt`, one file a subject → `nt` and `query` (the same by NT's calls) → `rtl` (ntdll's own library) → `exception`. A
//! function that is not in a table does not exist: nothing here is a stub that pretends.
//!
//! Choices that hold everywhere:
//! - "ANSI" text is UTF-8 (code page 65001), as a Windows program can choose it too.
//! - The host's file tree is drive `Z:`, or one folder of it is drive `C:`; other drives do not exist. Text files that the
//!   program opens have Windows' line ends; standard input, output and error have the host's.
//! - Allocations of virtual memory are carved from one reservation, so that bottom-up and top-down mean something.
//! - One heap serves `malloc`, `HeapAlloc` and `LocalAlloc`; its blocks are the host's `malloc` blocks.
//! - The environment is a copy that the process takes when it is made; changing it does not change the host's.

#[macro_use]
mod table;

mod bcrypt;
mod com;
mod crt;
mod crypt;
mod dbghelp;
mod exception;
mod fiber;
mod format;
mod futex;
mod guest;
mod heap;
mod jump;
mod kernel32;
mod ldr;
mod memory;
mod names;
mod nt;
mod ntdll;
mod object;
mod ole;
mod path;
mod peb;
mod powrprof;
mod process;
mod profile;
mod query;
mod registry;
mod rtl;
mod scan;
mod security;
mod services;
mod shell32;
mod sockets;
mod stack;
mod stream;
mod teb;
#[cfg(test)]
mod tests;
mod text;
mod tracing;
mod unconnected;
mod user32;
mod variadic;
mod version;
mod wsprintf;

pub use kernel32::child::OtherProcess;
pub use ldr::Listed;
pub use memory::Info as MemoryInfo;
pub use memory::book::MemoryUse;
pub use path::{Drives, SYSTEM_FOLDER, in_system_folder};
pub use process::{Process, program, run_as, substitutes};
pub use services::{Advice, Counts, DllFolders, ImagePages, Services};

/// Locks a mutex; what a panicking holder left behind is taken as it is, because guest code cannot be told.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
