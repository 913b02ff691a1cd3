//! Windows paths and host paths: the host's tree is drive `Z:`.

/// Names that are devices in every folder, and what they are here.
const DEVICES: [(&str, &str); 4] =
    [("NUL", "/dev/null"), ("CON", "/dev/tty"), ("CONIN$", "/dev/tty"), ("CONOUT$", "/dev/tty")];

/// The host path that a Windows path means, or `None` for a drive that does not exist.
#[must_use]
pub fn to_host(path: &str) -> Option<String> {
    let path = path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\\.\")).unwrap_or(path);
    let device = DEVICES.iter().find(|(name, _)| path.eq_ignore_ascii_case(name));
    if let Some((_, file)) = device {
        return Some((*file).into());
    }
    let rest = match path.as_bytes() {
        [b'Z' | b'z', b':', ..] => path.get(2..)?,
        [drive, b':', ..] if drive.is_ascii_alphabetic() => return None,
        _ => path,
    };
    let host = rest.replace('\\', "/");
    Some(if host.is_empty() { ".".into() } else { host })
}

/// The Windows path of a host path; a relative one stays relative.
pub(crate) fn to_guest(path: &str) -> String {
    let turned = path.replace('/', r"\");
    if path.starts_with('/') { format!("Z:{turned}") } else { turned }
}

/// An absolute Windows path without `.` and `..`, as `GetFullPathName` makes it; nothing is looked up.
pub(crate) fn absolute(path: &str, current: &str) -> String {
    let turned = path.replace('/', r"\");
    let (drive, rest) = match turned.as_bytes() {
        [d, b':', ..] if d.is_ascii_alphabetic() => turned.split_at(2),
        [b'\\', ..] => ("Z:", turned.as_str()),
        _ => ("", turned.as_str()),
    };
    let joined = match (drive, rest.starts_with('\\')) {
        ("", _) => format!("{current}\\{rest}"),
        (_, true) => rest.to_owned(),
        (_, false) => format!("\\{rest}"),
    };
    let drive = if drive.is_empty() { "Z:" } else { drive };
    let joined = joined.strip_prefix("Z:").unwrap_or(&joined);
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('\\') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("{drive}\\{}", parts.join(r"\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives() {
        assert_eq!(to_host(r"Z:\tmp\a.txt").as_deref(), Some("/tmp/a.txt"));
        assert_eq!(to_host(r"\\?\z:\tmp").as_deref(), Some("/tmp"));
        assert_eq!(to_host(r"a\b").as_deref(), Some("a/b"));
        assert_eq!(to_host(r"C:\a"), None);
        assert_eq!(to_host("nul").as_deref(), Some("/dev/null"));
        assert_eq!(to_guest("/tmp/a"), r"Z:\tmp\a");
    }

    #[test]
    fn dots() {
        assert_eq!(absolute(r"..\b\.\c", r"Z:\home\me"), r"Z:\home\b\c");
        assert_eq!(absolute(r"C:\x\..\..\y", r"Z:\"), r"C:\y");
        assert_eq!(absolute("/tmp/x", r"Z:\"), r"Z:\tmp\x");
    }
}
