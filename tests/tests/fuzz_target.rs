//! A fuzzer's view of a function: its memory is put back after each input, and the blocks that are reached are counted.

use corpus::Format;
use loader::{Engine, fuzz::FuzzTarget};

fn planted(format: Format) -> std::path::PathBuf {
    let file = if format == Format::Elf { "elf/planted/libplanted.so" } else { "pe/planted/planted.dll" };
    corpus::root().join(file)
}

#[test]
#[allow(unsafe_code)]
fn memory_is_put_back_after_each_input() {
    for format in Format::ALL {
        let library = Engine::new().unwrap().open(planted(format)).unwrap();
        // SAFETY: `int planted_counts(const unsigned char *, unsigned long long)`, in an engine of its own.
        let target = unsafe { FuzzTarget::new(library, "planted_counts") }.unwrap();
        assert_eq!((0..3).map(|_| target.run(b"x").unwrap()).collect::<Vec<_>>(), [1, 1, 1]);
        let library = Engine::new().unwrap().open(planted(format)).unwrap();
        // SAFETY: it is refused.
        let nothing = unsafe { FuzzTarget::new(library, "no_such_function") };
        assert!(nothing.unwrap_err().to_string().contains("no_such_function"));
    }
}

/// What AFL's fork server is: a socket pair's ends would do, pipes are what it has.
mod afl {
    #![allow(unsafe_code)]

    use std::{
        fs,
        io::{self, PipeReader, PipeWriter, Read, Write},
        os::{fd::AsRawFd, unix::process::CommandExt},
        path::Path,
        process::{Child, Command, Stdio},
    };

    const MAP: usize = 1 << 16;

    /// The fuzzer's side of the protocol.
    pub(super) struct Afl {
        target: Child,
        control: PipeWriter,
        status: PipeReader,
        input: tempfile::NamedTempFile,
        map: (i32, *mut u8),
    }

    impl Afl {
        pub(super) fn start(library: &Path, function: &str) -> io::Result<Self> {
            // SAFETY: new memory of the system's.
            let id = unsafe { libc::shmget(libc::IPC_PRIVATE, MAP, libc::IPC_CREAT | 0o600) };
            // SAFETY: new address space.
            let map = unsafe { libc::shmat(id, std::ptr::null(), 0) };
            assert!(id >= 0 && map.addr() != usize::MAX, "{}", io::Error::last_os_error());
            let ((their_control, control), (mut status, their_status)) = (io::pipe()?, io::pipe()?);
            let input = tempfile::NamedTempFile::new()?;
            let mut command = Command::new(env!("CARGO_BIN_EXE_afl-target"));
            command.arg(library).arg(function).arg(input.path());
            command.env("__AFL_SHM_ID", id.to_string()).stderr(Stdio::null());
            let ends = [(their_control.as_raw_fd(), 198), (their_status.as_raw_fd(), 199)];
            let give = move || {
                // SAFETY: only numbers are passed.
                let given = ends.iter().all(|&(own, agreed)| unsafe { libc::dup2(own, agreed) } == agreed);
                if given { Ok(()) } else { Err(io::Error::last_os_error()) }
            };
            // SAFETY: between fork and exec it makes system calls only.
            let target = unsafe { command.pre_exec(give) }.spawn()?;
            drop((their_control, their_status));
            status.read_exact(&mut [0; 4])?; // it is there
            Ok(Self { target, control, status, input, map: (id, map.cast()) })
        }

        /// How a case ended, as `waitpid` says, and how many places of the map it has set.
        pub(super) fn run(&mut self, input: &[u8]) -> io::Result<(i32, usize)> {
            fs::write(self.input.path(), input)?;
            // SAFETY: the map is as long as it was asked for.
            unsafe { self.map.1.write_bytes(0, MAP) };
            self.control.write_all(&[0; 4])?;
            let (mut number, mut status) = ([0; 4], [0; 4]);
            self.status.read_exact(&mut number)?;
            self.status.read_exact(&mut status)?;
            assert_ne!(i32::from_ne_bytes(number), 0);
            // SAFETY: as above; the case has ended, so nobody writes.
            let map = unsafe { std::slice::from_raw_parts(self.map.1, MAP) };
            Ok((i32::from_ne_bytes(status), map.iter().filter(|&&n| n != 0).count()))
        }
    }

    impl Drop for Afl {
        fn drop(&mut self) {
            let _ = self.target.kill();
            let _ = self.target.wait();
            // SAFETY: the map is not used again.
            unsafe { libc::shmdt(self.map.1.cast()) };
            // SAFETY: only a number is passed.
            unsafe { libc::shmctl(self.map.0, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

#[test]
fn afl_learns_which_blocks_an_input_reaches_and_which_input_crashes() {
    for format in Format::ALL {
        let mut afl = afl::Afl::start(&planted(format), "planted_check").unwrap();
        let mut run = |input: &[u8]| afl.run(input).unwrap();
        let inputs =
            [&b"xxxxxxx"[..], b"Pxxxxxx", b"PLxxxxx", b"PLNxxxx", b"PLNT\x01\x01\x01", b"PLNT\xa0\x01\x01"];
        let (ended, blocks): (Vec<_>, Vec<_>) = inputs.iter().map(|input| run(input)).unzip();
        assert_eq!(ended, [0; 6], "{format:?}");
        assert!(blocks.is_sorted_by(|a, b| a < b), "each byte of the magic word is a block more: {blocks:?}");
        let (crashed, _) = run(b"PLNT\xa0\xff!");
        assert!(libc::WIFSIGNALED(crashed), "{format:?}: {crashed:#x}");
        assert_eq!(run(inputs[5]), (0, blocks[5]), "{format:?}: and the next case finds all breakpoints");
    }
}
