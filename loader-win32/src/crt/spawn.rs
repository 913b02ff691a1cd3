//! Starting other programs, which is not done here: what is asked for is looked at, and refused as Windows refuses it.

use super::{invalid::refused, set_errno};
use crate::{
    guest::Ptr,
    kernel32::{child::program, error::code},
    teb,
    text::Text,
};

const ECHILD: i32 = 10;
const ENOEXEC: i32 = 8;
/// `_P_WAIT` to `_P_DETACH`.
const LAST_MODE: i32 = 4;

/// Refuses to start a program: it is not there, is no program, or could only be started elsewhere.
fn refuse<T: Text>(mode: i32, name: Ptr<T>, arguments: usize) -> isize {
    let name = match T::given(name) {
        Some(name) if !name.is_empty() && arguments != 0 && (0..=LAST_MODE).contains(&mode) => name,
        _ => return refused() as isize,
    };
    let (error, number) = match program(&name, "") {
        Ok(()) => (libc::EINVAL, code::NOT_SUPPORTED),
        Err(error @ (code::FILE_NOT_FOUND | code::PATH_NOT_FOUND)) => (libc::ENOENT, error),
        Err(error) => (ENOEXEC, error),
    };
    teb::own(|o| o.doserrno.set(number));
    set_errno(error);
    -1
}

/// With a list of arguments, or with the first of those in line.
extern "win64" fn _spawnv(mode: i32, name: Ptr<u8>, arguments: usize) -> isize {
    refuse(mode, name, arguments)
}

extern "win64" fn _wspawnv(mode: i32, name: Ptr<u16>, arguments: usize) -> isize {
    refuse(mode, name, arguments)
}

/// In place of this program.
extern "win64" fn _execv(name: Ptr<u8>, arguments: usize) -> isize {
    refuse(0, name, arguments)
}

extern "win64" fn _wexecv(name: Ptr<u16>, arguments: usize) -> isize {
    refuse(0, name, arguments)
}

/// There are no children to wait for.
extern "win64" fn _cwait(status: Ptr<i32>, _process: isize, _action: i32) -> isize {
    status.put(-1);
    set_errno(ECHILD);
    -1
}

/// There is no command interpreter to run a command and be read from.
extern "win64" fn _popen(_command: usize, _mode: usize) -> usize {
    set_errno(libc::ENOENT);
    0
}

extern "win64" fn _pclose(_stream: usize) -> i32 {
    refused()
}

table! {
    /// Other programs.
    pub(crate) TABLE:
        _spawnv, _spawnve = _spawnv, _spawnvp = _spawnv, _spawnvpe = _spawnv, _spawnl = _spawnv, _spawnle = _spawnv,
        _spawnlp = _spawnv, _spawnlpe = _spawnv, _wspawnv, _wspawnve = _wspawnv, _wspawnvp = _wspawnv, _wspawnvpe = _wspawnv,
        _wspawnl = _wspawnv, _wspawnle = _wspawnv, _wspawnlp = _wspawnv, _wspawnlpe = _wspawnv, _execv, _execve = _execv,
        _execvp = _execv, _execvpe = _execv, _execl = _execv, _execle = _execv, _execlp = _execv, _execlpe = _execv, _wexecv,
        _wexecve = _wexecv, _wexecvp = _wexecv, _wexecvpe = _wexecv, _wexecl = _wexecv, _wexecle = _wexecv,
        _wexeclp = _wexecv, _wexeclpe = _wexecv, _cwait, _popen, _wpopen = _popen, _pclose
}
