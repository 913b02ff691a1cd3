//! The pages of another process that runs nothing of its own: it makes the system calls that it is told to make, one
//! after the other, and ends when nobody is there any more to tell it.
//!
//! Its program is a handful of instructions in a memory file. So nothing of this process is in it, and all of its address
//! space is free.
//!
//! Unsafe because the program is taken from between two labels.
#![allow(unsafe_code)]

use super::{
    GRANULARITY,
    book::{Full, Pages, Shown},
};
use crate::lock;
use loader_core::Rights;
use rustix::{
    fs::MemfdFlags,
    mm::{MapFlags, ProtFlags},
    net::{RecvFlags, SendFlags, recv, send},
};
use std::{
    arch::global_asm,
    fs::File,
    io::{self, Write},
    ops::Range,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    sync::Mutex,
};

// Seven words come in at descriptor 0: the number of a system call and its arguments. Its result goes out there.
global_asm!(
    ".pushsection .rodata.puppet, \"a\", @progbits",
    ".global loader_win32_puppet",
    ".hidden loader_win32_puppet",
    "loader_win32_puppet:",
    "sub rsp, 64",
    "2:",
    "xor eax, eax", // read
    "xor edi, edi",
    "mov rsi, rsp",
    "mov edx, 56",
    "syscall",
    "cmp rax, 56",
    "jne 3f",
    "mov rax, [rsp]",
    "mov rdi, [rsp + 8]",
    "mov rsi, [rsp + 16]",
    "mov rdx, [rsp + 24]",
    "mov r10, [rsp + 32]",
    "mov r8, [rsp + 40]",
    "mov r9, [rsp + 48]",
    "syscall",
    "mov [rsp], rax",
    "mov eax, 1", // write
    "xor edi, edi",
    "mov rsi, rsp",
    "mov edx, 8",
    "syscall",
    "jmp 2b",
    "3:",
    "mov eax, 231", // exit_group
    "xor edi, edi",
    "syscall",
    ".global loader_win32_puppet_end",
    ".hidden loader_win32_puppet_end",
    "loader_win32_puppet_end:",
    ".popsection",
);

unsafe extern "C" {
    static loader_win32_puppet: u8;
    static loader_win32_puppet_end: u8;
}

/// Where the program is, out of the way of everybody who has an address in mind.
const BASE: u64 = 0x5555_0000_0000;

/// The program as an ELF file: one segment that is run, and a stack that is not.
fn program() -> Vec<u8> {
    let (start, end) = (&raw const loader_win32_puppet, &raw const loader_win32_puppet_end);
    // SAFETY: the instructions lie between the labels, in memory that is only read.
    let code = unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) };
    let headers: u64 = 64 + 2 * 56;
    let size = headers + code.len() as u64;
    let mut file = Vec::new();
    let mut word = |len: usize, value: u64| file.extend_from_slice(&value.to_le_bytes()[..len]);
    [0x0001_0102_464c_457f, 0].into_iter().for_each(|ident| word(8, ident));
    [(2, 2), (2, 62), (4, 1)].into_iter().for_each(|(len, value)| word(len, value)); // ET_EXEC, EM_X86_64
    [BASE + headers, 64, 0].into_iter().for_each(|value| word(8, value)); // entry, program headers, no sections
    word(4, 0);
    [64, 56, 2, 0, 0, 0].into_iter().for_each(|value| word(2, value));
    [1, 5].into_iter().for_each(|value| word(4, value)); // PT_LOAD, r-x
    [0, BASE, BASE, size, size, 4096].into_iter().for_each(|value| word(8, value));
    [0x6474_e551, 6].into_iter().for_each(|value| word(4, value)); // PT_GNU_STACK, rw-
    [0, 0, 0, 0, 0, 16].into_iter().for_each(|value| word(8, value));
    file.extend_from_slice(code);
    file
}

/// The other process, as long as this lives.
#[derive(Debug)]
pub(crate) struct Puppet {
    wire: Mutex<UnixStream>,
    child: Mutex<Child>,
    id: u32,
}

impl Puppet {
    /// Starts one.
    pub(crate) fn start() -> io::Result<Self> {
        let file = rustix::fs::memfd_create("puppet", MemfdFlags::CLOEXEC)?;
        File::from(file.try_clone()?).write_all(&program())?;
        let (near, far) = UnixStream::pair()?;
        let child = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .env_clear()
            .stdin(OwnedFd::from(far))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { wire: Mutex::new(near), id: child.id(), child: Mutex::new(child) })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// It ends, and nothing of it is left.
    pub(crate) fn end(&self) {
        let mut child = lock(&self.child);
        let _ = child.kill(); // it may have gone by itself
        let _ = child.wait();
    }

    fn call(&self, number: libc::c_long, arguments: [u64; 6]) -> Result<u64, Full> {
        let mut words = [0; 56];
        let all = [number.cast_unsigned()].into_iter().chain(arguments);
        words.chunks_exact_mut(8).zip(all).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        let wire = lock(&self.wire);
        let mut answer = [0; 8];
        let sent = send(&*wire, &words, SendFlags::NOSIGNAL);
        let told = sent.and_then(|_| recv(&*wire, &mut answer, RecvFlags::WAITALL));
        let result = u64::from_le_bytes(answer);
        let failed = result.wrapping_neg() <= 4095 && result != 0;
        if told.is_ok_and(|(len, _)| len == 8) && !failed { Ok(result) } else { Err(Full) }
    }

    fn map(&self, at: u64, len: u64, flags: MapFlags) -> Result<u64, Full> {
        let flags = u64::from((flags | MapFlags::PRIVATE).bits()) | libc::MAP_ANONYMOUS as u64;
        self.call(libc::SYS_mmap, [at, len, 0, flags, u64::MAX, 0])
    }

    fn unmap(&self, range: &Range<u64>) {
        if !range.is_empty() {
            let _ = self.call(libc::SYS_munmap, [range.start, range.end - range.start, 0, 0, 0, 0]);
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.end();
    }
}

impl Pages for Puppet {
    fn arena(&self) -> Option<Range<u64>> {
        None
    }

    fn claim(&self, at: Option<u64>, len: u64) -> Result<u64, Full> {
        match at {
            Some(at) => self.map(at, len, MapFlags::FIXED_NOREPLACE),
            None => {
                let room = len.checked_add(GRANULARITY).ok_or(Full)?;
                let start = self.map(0, room, MapFlags::empty())?;
                let base = start.next_multiple_of(GRANULARITY);
                self.unmap(&(start..base));
                self.unmap(&(base + len..start + room));
                Ok(base)
            }
        }
    }

    fn give_back(&self, range: Range<u64>) {
        self.unmap(&range);
    }

    fn protect(&self, range: Range<u64>, rights: Rights) -> Result<(), Full> {
        let mut prot = ProtFlags::empty();
        prot.set(ProtFlags::READ, rights.contains(Rights::READ));
        prot.set(ProtFlags::WRITE, rights.contains(Rights::WRITE));
        prot.set(ProtFlags::EXEC, rights.contains(Rights::EXECUTE));
        let arguments = [range.start, range.end - range.start, prot.bits().into(), 0, 0, 0];
        self.call(libc::SYS_mprotect, arguments).map(drop)
    }

    fn clear(&self, range: Range<u64>) -> Result<(), Full> {
        self.map(range.start, range.end - range.start, MapFlags::FIXED).map(drop)
    }

    /// It has no files.
    fn show(&self, _: Range<u64>, _: Shown<'_>, _: Rights) -> Result<(), Full> {
        Err(Full)
    }

    fn lock(&self, range: Range<u64>) -> Result<(), Full> {
        let arguments = [range.start, range.end - range.start, 0, 0, 0, 0];
        self.call(libc::SYS_mlock, arguments).map(drop)
    }

    fn unlock(&self, range: Range<u64>) {
        let _ = self.call(libc::SYS_munlock, [range.start, range.end - range.start, 0, 0, 0, 0]);
    }

    /// Writes are watched from within, and there is nobody.
    fn can_watch(&self) -> bool {
        false
    }

    fn watch(&self, _: Range<u64>) -> Result<(), Full> {
        Err(Full)
    }

    fn written(&self, _: Range<u64>) -> Result<Vec<Range<u64>>, Full> {
        Err(Full)
    }
}
