//! Windows paths and host paths.

use crate::teb;
use std::path::{Path, PathBuf};

/// Names that are devices in every folder, and what they are here.
const DEVICES: [(&str, &str); 4] =
    [("NUL", "/dev/null"), ("CON", "/dev/tty"), ("CONIN$", "/dev/tty"), ("CONOUT$", "/dev/tty")];

/// The name that the drive's volume has by itself, behind the prefix of such names: the same as long as there is one volume.
pub(crate) const VOLUME: &str = "Volume{5a1c0de0-0000-0000-0000-100000000000}";

/// Which drives there are: what of the host's files has a Windows name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drives {
    /// The host's tree is drive `Z:`.
    #[default]
    Host,
    /// This folder, by its whole path, is drive `C:`; no other file has a name. Links in it lead where they lead.
    Folder(PathBuf),
}

impl Drives {
    fn letter(&self) -> &'static str {
        match self {
            Self::Host => "Z:",
            Self::Folder(_) => "C:",
        }
    }

    /// The host path that a Windows path means, or `None` for a drive that does not exist.
    #[must_use]
    pub fn to_host(&self, path: &str) -> Option<String> {
        let as_it_is = path.strip_prefix(r"\\?\");
        let path = as_it_is.or_else(|| path.strip_prefix(r"\\.\")).unwrap_or(path);
        let of_volume = path.get(..VOLUME.len()).filter(|name| name.eq_ignore_ascii_case(VOLUME));
        let path = if of_volume.is_some() { &path[VOLUME.len()..] } else { path };
        let path = if of_volume.is_some() && path.is_empty() { r"\" } else { path };
        let device = DEVICES.iter().find(|(name, _)| path.eq_ignore_ascii_case(name));
        if let Some((_, file)) = device {
            return Some((*file).into());
        }
        let rest = match path.as_bytes() {
            [drive, b':', ..] if drive.is_ascii_alphabetic() => {
                let (drive, rest) = path.split_at(2);
                drive.eq_ignore_ascii_case(self.letter()).then_some(rest)?
            }
            _ => path,
        };
        let rest = if as_it_is.is_some() { rest } else { without_dots(rest) };
        match self {
            Self::Host if rest.is_empty() => Some(".".into()),
            Self::Host => Some(rest.replace('\\', "/")),
            // Without `..`, which would lead out of it.
            Self::Folder(folder) => {
                let inside = self.absolute(rest)[3..].replace('\\', "/");
                folder.join(inside).into_os_string().into_string().ok()
            }
        }
    }

    /// The Windows path of a host path; a relative one stays relative. What has no name here is called after itself.
    pub(crate) fn to_guest(&self, path: &str) -> String {
        let turned = |path: &str| path.replace('/', r"\");
        match self {
            _ if !path.starts_with('/') => turned(path),
            Self::Host => ["Z:", &turned(path)].concat(),
            Self::Folder(folder) => {
                let path = Path::new(path);
                let name = path.strip_prefix(folder).ok().or_else(|| path.file_name().map(Path::new));
                format!(r"C:\{}", turned(&name.unwrap_or(Path::new("")).to_string_lossy()))
            }
        }
    }

    /// The current folder, in Windows form.
    pub(crate) fn current(&self) -> String {
        match self {
            Self::Host => std::env::current_dir()
                .map_or_else(|_| r"Z:\".into(), |folder| self.to_guest(&folder.to_string_lossy())),
            Self::Folder(_) => r"C:\".into(),
        }
    }

    /// The folder for temporary files, in Windows form. It need not exist.
    pub(crate) fn temporary(&self) -> String {
        match self {
            Self::Host => self.to_guest(std::env::temp_dir().to_string_lossy().trim_end_matches('/')) + r"\",
            Self::Folder(_) => r"C:\Temp\".into(),
        }
    }

    /// An absolute Windows path without `.` and `..`, as `GetFullPathName` makes it; nothing is looked up.
    pub(crate) fn absolute(&self, path: &str) -> String {
        absolute(path, &self.current(), self.letter())
    }
}

/// [`Drives::to_host`] of the process whose code this thread runs, with the name that the file has there: case means nothing.
pub(crate) fn to_host(path: &str) -> Option<String> {
    let host = teb::process().drives.to_host(path)?;
    loader_pe::search::on_disk(Path::new(&host)).into_os_string().into_string().ok()
}

/// The folder that Windows code believes its libraries in. It need not exist: what stands for it has no files.
pub const SYSTEM_FOLDER: &str = r"C:\windows\system32";

/// The bare name of what a path means that leads into the system's folder.
#[must_use]
pub fn in_system_folder(path: &str) -> Option<&str> {
    let (folder, name) = path.split_at_checked(SYSTEM_FOLDER.len())?;
    let same = folder.replace('/', r"\").eq_ignore_ascii_case(SYSTEM_FOLDER);
    name.strip_prefix(['\\', '/']).filter(|name| same && !name.is_empty() && !name.contains(['\\', '/']))
}

/// [`Drives::to_guest`] of the process whose code this thread runs.
pub(crate) fn to_guest(path: &str) -> String {
    teb::process().drives.to_guest(path)
}

/// The last name of a path has no dots and spaces at its end, unless it has nothing else.
pub(crate) fn without_dots(path: &str) -> &str {
    let ends = ['.', ' '];
    let name = path.rfind(['\\', '/', ':']).map_or(0, |at| at + 1);
    let kept = path.trim_end_matches(ends);
    match path[name..].trim_end_matches(ends).is_empty() {
        true => path,
        false => kept,
    }
}

fn absolute(path: &str, current: &str, own: &str) -> String {
    let turned = path.replace('/', r"\");
    let (drive, rest) = match turned.as_bytes() {
        [d, b':', ..] if d.is_ascii_alphabetic() => turned.split_at(2),
        [b'\\', ..] => (own, turned.as_str()),
        _ => ("", turned.as_str()),
    };
    let joined = match (drive, rest.starts_with('\\')) {
        ("", _) => format!("{current}\\{rest}"),
        (_, true) => rest.to_owned(),
        // Of the own drive the current folder is known.
        (drive, false) if drive.eq_ignore_ascii_case(own) => format!("{current}\\{rest}"),
        (_, false) => format!("\\{rest}"),
    };
    let drive = if drive.is_empty() { own } else { drive };
    let joined = joined.strip_prefix(own).unwrap_or(&joined);
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('\\') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    // The last name has no dots and spaces at its end; a separator that ends the path stays.
    let ends = if parts.is_empty() || !turned.ends_with('\\') { "" } else { r"\" };
    format!("{drive}\\{}{ends}", parts.join(r"\").trim_end_matches(['.', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives() {
        let to_host = |path: &str| Drives::Host.to_host(path);
        assert_eq!(to_host(r"Z:\tmp\a.txt").as_deref(), Some("/tmp/a.txt"));
        assert_eq!(to_host(r"\\?\z:\tmp").as_deref(), Some("/tmp"));
        assert_eq!(to_host(r"a\b").as_deref(), Some("a/b"));
        assert_eq!(to_host(r"C:\a"), None);
        assert_eq!(to_host("nul").as_deref(), Some("/dev/null"));
        assert_eq!(to_host(&format!(r"\\?\{VOLUME}\tmp")).as_deref(), Some("/tmp"));
        assert_eq!(to_host(&format!(r"\\?\{VOLUME}")).as_deref(), Some("/"));
        assert_eq!(Drives::Host.to_guest("/tmp/a"), r"Z:\tmp\a");
    }

    #[test]
    fn a_folder_is_all_there_is() {
        let drives = Drives::Folder("/srv/guest".into());
        let to_host = |path| drives.to_host(path);
        for inside in [
            r"C:\a\b",
            r"c:/a/b",
            r"\a\b",
            r"a\b",
            r"\\?\C:\a\b",
            r"..\..\a\b",
            r"C:\x\..\..\..\a\b",
            "/a/./b",
        ] {
            assert_eq!(to_host(inside).as_deref(), Some("/srv/guest/a/b"), "{inside}");
        }
        assert_eq!(to_host(r"C:\").as_deref(), Some("/srv/guest/"));
        assert_eq!(to_host(r"Z:\etc\passwd"), None);
        assert_eq!(drives.to_guest("/srv/guest/a/b"), r"C:\a\b");
        assert_eq!(drives.to_guest("/usr/lib/x.dll"), r"C:\x.dll", "where it is is nobody's business");
        assert_eq!(drives.current(), r"C:\");
    }

    #[test]
    fn dots() {
        assert_eq!(absolute(r"..\b\.\c", r"Z:\home\me", "Z:"), r"Z:\home\b\c");
        assert_eq!(absolute(r"C:\x\..\..\y", r"Z:\", "Z:"), r"C:\y");
        assert_eq!(absolute("/tmp/x", r"Z:\", "Z:"), r"Z:\tmp\x");
        assert_eq!(absolute("a/b/", r"Z:\", "Z:"), r"Z:\a\b\");
        assert_eq!(absolute("a. .", r"Z:\b", "Z:"), r"Z:\b\a");
        assert_eq!(absolute("Z:a", r"Z:\b", "Z:"), r"Z:\b\a");
        assert_eq!(absolute("z:", r"Z:\b", "Z:"), r"z:\b");
        let names = [("a.", "a"), (r"b\a. .", r"b\a"), ("..", ".."), (r"a\..", r"a\.."), (r"a.\", r"a.\")];
        for (path, kept) in names {
            assert_eq!(without_dots(path), kept, "{path}");
        }
    }
}
