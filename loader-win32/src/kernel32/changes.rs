//! What is changed about files of the host by their names, and by handles. The host's devices, which `NUL` and `CON` are, stay as
//! they are whoever asks: they are not the program's to remove, to replace or to close to others, even where the host would let
//! it.

use std::{
    fs::{self, File, FileTimes, Metadata, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// What the host says to those who may not.
fn refused() -> io::Error {
    io::Error::from_raw_os_error(libc::EACCES)
}

fn may_change(m: &Metadata) -> io::Result<()> {
    let kind = m.file_type();
    let stays = kind.is_char_device() || kind.is_block_device() || kind.is_socket() || kind.is_fifo();
    if stays { Err(refused()) } else { Ok(()) }
}

/// Whether what is called so, if there is anything, may be changed.
fn check(path: impl AsRef<Path>) -> io::Result<()> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        m => may_change(&m?),
    }
}

/// Removes a file's name.
pub(crate) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    // A link is no device, wherever it leads.
    if !path.as_ref().is_symlink() {
        check(&path)?;
    }
    fs::remove_file(path)
}

/// Gives a file another name, which it takes from whatever had it.
pub(crate) fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    check(&from)?;
    check(&to)?;
    fs::rename(from, to)
}

/// Gives a file a name more.
pub(crate) fn hard_link(existing: impl AsRef<Path>, new: impl AsRef<Path>) -> io::Result<()> {
    check(&existing)?;
    fs::hard_link(existing, new)
}

/// Says what may be done with a file by name.
pub(crate) fn set_permissions(path: impl AsRef<Path>, rights: Permissions) -> io::Result<()> {
    check(&path)?;
    fs::set_permissions(path, rights)
}

/// The same of an open file.
pub(crate) fn set_permissions_of(file: &File, rights: Permissions) -> io::Result<()> {
    may_change(&file.metadata()?)?;
    file.set_permissions(rights)
}

/// Says when an open file was read and written.
pub(crate) fn set_times(file: &File, times: FileTimes) -> io::Result<()> {
    may_change(&file.metadata()?)?;
    file.set_times(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_stay() {
        let device = "/dev/null";
        let before = fs::metadata(device).unwrap().permissions();
        let own = std::env::temp_dir().join(format!("changes-{}", std::process::id()));
        fs::write(&own, "x").unwrap();
        assert!(remove_file(device).is_err());
        assert!(rename(device, &own).is_err() && rename(&own, device).is_err());
        assert!(hard_link(device, own.with_extension("link")).is_err());
        assert!(set_permissions(device, before.clone()).is_err());
        assert!(set_permissions_of(&File::open(device).unwrap(), before.clone()).is_err());
        assert!(set_times(&File::open(device).unwrap(), FileTimes::new()).is_err());
        let after = fs::metadata(device).unwrap();
        assert!(after.file_type().is_char_device() && after.permissions() == before);
        assert!(remove_file(&own).is_ok());
    }
}
