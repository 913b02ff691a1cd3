//! The guest's memory, from outside: allocated and asked about by Windows' rules, read and written as it is.

use crate::{Argument, Failure, Outcome, Sandbox, os, protocol::Target};
use loader_core::Addr;
use rustix::process::Pid;

/// The guest's memory.
///
/// Allocations are those of the guest's own `VirtualAlloc`: it can free them, and what it allocated can be freed here. So
/// they are made by the guest's process, and it must live; reading and writing is done from here, and nothing of the guest's
/// is asked.
#[derive(Debug)]
pub struct Memory<'s> {
    sandbox: &'s mut Sandbox,
}

/// What there is in a range of pages that are alike: `MEMORY_BASIC_INFORMATION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Where they begin.
    pub base: Addr,
    /// Where the allocation begins that they belong to.
    pub allocation_base: Addr,
    /// The protection that the allocation began with.
    pub allocation_protect: u32,
    /// How many bytes.
    pub len: u64,
    /// `MEM_COMMIT`, `MEM_RESERVE` or `MEM_FREE`.
    pub state: u32,
    /// Their protection.
    pub protect: u32,
    /// `MEM_PRIVATE`, `MEM_MAPPED` or `MEM_IMAGE`.
    pub kind: u32,
}

impl<'s> Memory<'s> {
    pub(crate) const fn of(sandbox: &'s mut Sandbox) -> Self {
        Self { sandbox }
    }

    /// Asks a function of Windows, which answers with something else than 0 where it succeeds.
    fn ask<const N: usize>(&mut self, function: &str, arguments: [Argument<'_>; N]) -> Outcome<u64> {
        match self.sandbox.called(Target::Windows, function.into(), arguments.into())?.u64() {
            0 => {
                let code = self.sandbox.called(Target::Windows, "GetLastError".into(), Vec::new())?;
                Err(Failure::Windows(code.u32()))
            }
            answer => Ok(answer),
        }
    }

    /// `VirtualAlloc`: at an address, or anywhere if that is null.
    ///
    /// # Errors
    /// [`Failure::Windows`], [`Failure::Gone`].
    pub fn allocate(&mut self, at: Addr, len: u64, kind: u32, protect: u32) -> Outcome<Addr> {
        self.ask("VirtualAlloc", [at.into(), len.into(), kind.into(), protect.into()]).map(Addr)
    }

    /// `VirtualFree`.
    ///
    /// # Errors
    /// As [`Memory::allocate`].
    pub fn free(&mut self, at: Addr, len: u64, kind: u32) -> Outcome<()> {
        self.ask("VirtualFree", [at.into(), len.into(), kind.into()]).map(drop)
    }

    /// `VirtualProtect`: what the first page had before.
    ///
    /// # Errors
    /// As [`Memory::allocate`].
    pub fn protect(&mut self, at: Addr, len: u64, protect: u32) -> Outcome<u32> {
        let mut before = [0; 4];
        let arguments = [at.into(), len.into(), protect.into(), before.as_mut_slice().into()];
        self.ask("VirtualProtect", arguments)?;
        Ok(u32::from_le_bytes(before))
    }

    /// `VirtualQuery`.
    ///
    /// # Errors
    /// As [`Memory::allocate`].
    pub fn query(&mut self, at: Addr) -> Outcome<Pages> {
        let mut info = [0; 48];
        let len = info.len();
        self.ask("VirtualQuery", [at.into(), info.as_mut_slice().into(), len.into()])?;
        let word = |at: usize| u64::from_le_bytes(*info[at..].first_chunk().unwrap_or(&[0; 8]));
        let half = |at: usize| u32::from_le_bytes(*info[at..].first_chunk().unwrap_or(&[0; 4]));
        Ok(Pages {
            base: Addr(word(0)),
            allocation_base: Addr(word(8)),
            allocation_protect: half(16),
            len: word(24),
            state: half(32),
            protect: half(36),
            kind: half(40),
        })
    }

    fn guest(&self) -> Outcome<Pid> {
        self.sandbox.guest().ok_or(Failure::Gone)
    }

    /// Reads as far as can be read, and says how far that was.
    ///
    /// # Errors
    /// [`Failure::Gone`].
    pub fn read(&self, from: Addr, to: &mut [u8]) -> Outcome<usize> {
        Ok(os::read_memory(self.guest()?, from.0, to))
    }

    /// Writes as far as can be written, and says how far that was.
    ///
    /// # Errors
    /// [`Failure::Gone`].
    pub fn write(&self, to: Addr, from: &[u8]) -> Outcome<usize> {
        Ok(os::write_memory(self.guest()?, to.0, from))
    }

    /// Reads text up to a zero byte, the end of what can be read, or `most` bytes.
    ///
    /// # Errors
    /// [`Failure::Gone`].
    pub fn text(&self, from: Addr, most: usize) -> Outcome<Vec<u8>> {
        const AT_ONCE: usize = 4096; // a page, so that what can be read is not missed for what comes after it
        let mut text = Vec::new();
        while text.len() < most {
            let at = from.0.wrapping_add(text.len() as u64);
            let page = AT_ONCE - at as usize % AT_ONCE;
            let mut bytes = [0; AT_ONCE];
            let bytes = &mut bytes[..page.min(most - text.len())];
            let read = self.read(Addr(at), bytes)?;
            let bytes = &bytes[..read];
            let end = bytes.iter().position(|&byte| byte == 0);
            text.extend_from_slice(&bytes[..end.unwrap_or(read)]);
            if end.is_some() || read == 0 {
                break;
            }
        }
        Ok(text)
    }
}
