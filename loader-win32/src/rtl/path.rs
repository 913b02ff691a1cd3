//! Paths as ntdll reads them: what kind a path is, where it leads from the current folder, and what NT calls it.

use super::counted::Text;
use crate::{
    guest::Ptr,
    kernel32::strings::{ansi, to_case},
    nt::status::{INVALID_PARAMETER, OBJECT_NAME_INVALID, SUCCESS},
    teb,
    text::{length, wide, wide_z},
};

/// `RTL_PATH_TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    /// `\\server\share`
    Share = 1,
    /// `C:\x`
    Drive,
    /// `C:x`
    InDrive,
    /// `\x`
    Rooted,
    /// `x`
    Relative,
    /// `\\.\x` or `\\?\x`
    Device,
    /// `\\.` or `\\?`
    Devices,
}

fn is_separator(c: u8) -> bool {
    matches!(c, b'\\' | b'/')
}

/// What kind a path is.
pub(crate) fn kind(path: &str) -> Kind {
    match path.as_bytes() {
        [a, b, b'.' | b'?'] if is_separator(*a) && is_separator(*b) => Kind::Devices,
        [a, b, b'.' | b'?', c, ..] if is_separator(*a) && is_separator(*b) && is_separator(*c) => {
            Kind::Device
        }
        [a, b, ..] if is_separator(*a) && is_separator(*b) => Kind::Share,
        [a, ..] if is_separator(*a) => Kind::Rooted,
        [_, b':', c, ..] if is_separator(*c) => Kind::Drive,
        [_, b':', ..] => Kind::InDrive,
        _ => Kind::Relative,
    }
}

/// Names that are devices in every folder, whatever follows behind a dot or a colon: where in the path, and how long.
pub(crate) fn device(path: &str) -> Option<(usize, usize)> {
    let start = match kind(path) {
        Kind::Share | Kind::Devices => return None,
        Kind::Device => return path[4..].eq_ignore_ascii_case("CON").then_some((4, 3)),
        Kind::Drive | Kind::InDrive => 2,
        Kind::Rooted | Kind::Relative => 0,
    };
    let start = path[start..].rfind(['\\', '/']).map_or(start, |at| start + at + 1);
    let last = &path[start..];
    let name = last.split(['.', ':']).next().unwrap_or(last).trim_end_matches(' ');
    let numbered = |head: &str| {
        let (begin, digit) = (name.get(..3), name.as_bytes().get(3));
        name.len() == 4
            && begin.is_some_and(|b| b.eq_ignore_ascii_case(head))
            && matches!(digit, Some(b'1'..=b'9'))
    };
    let known =
        ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].iter().any(|d| name.eq_ignore_ascii_case(d));
    (known || numbered("COM") || numbered("LPT")).then_some((start, name.len()))
}

/// A path from its root on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub path: String,
    /// Where its last name begins, in UTF-16 units, where it has one.
    pub name: Option<usize>,
}

/// Where a path leads from a current folder. Nothing is looked up.
pub(crate) fn full(path: &str, current: &str) -> Full {
    let kind = kind(path);
    if let Some((at, len)) = device(path).filter(|_| kind != Kind::Device) {
        return Full { path: format!(r"\\.\{}", &path[at..at + len]), name: None };
    }
    let drive = current.get(..2).unwrap_or("C:");
    let below = current.get(2..).unwrap_or("");
    let same_drive = || path.get(..2).is_some_and(|d| d.eq_ignore_ascii_case(drive));
    // The root, how many names belong to it, what is above, and the rest.
    let (root, floor, above, rest) = match kind {
        Kind::Share => (r"\\", 2, "", &path[2..]),
        Kind::Devices => (if path.ends_with('?') { r"\\?\" } else { r"\\.\" }, 0, "", ""),
        Kind::Device => (if path.as_bytes()[2] == b'?' { r"\\?\" } else { r"\\.\" }, 0, "", &path[4..]),
        Kind::Drive => (&path[..2], 0, "", &path[2..]),
        Kind::InDrive if same_drive() => (drive, 0, below, &path[2..]),
        Kind::InDrive => (&path[..2], 0, "", &path[2..]),
        Kind::Rooted => (drive, 0, "", path),
        Kind::Relative => (drive, 0, below, path),
    };
    let mut names: Vec<&str> = above.split('\\').filter(|name| !name.is_empty()).collect();
    let mut ends = rest.ends_with(['\\', '/']);
    let mut parts = rest.split(['\\', '/']).filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none() && !ends;
        match part {
            "." => {}
            ".." => {
                if names.len() > floor {
                    names.pop();
                }
            }
            _ if is_last => match part.trim_end_matches(['.', ' ']) {
                "" => ends = true,
                name => names.push(name),
            },
            _ => names.push(part.strip_suffix('.').filter(|name| !name.ends_with('.')).unwrap_or(part)),
        }
    }
    let is_drive = !root.starts_with('\\');
    let root = if is_drive { format!("{root}\\") } else { root.to_owned() };
    let joined = names.join("\\");
    let end = if ends && !joined.is_empty() { "\\" } else { "" };
    let has_name = end.is_empty() && names.len() > floor;
    let path = format!("{root}{joined}{end}");
    let name = names.last().filter(|_| has_name).map(|last| wide(&path[..path.len() - last.len()]).len());
    Full { path, name }
}

extern "win64" fn RtlDetermineDosPathNameType_U(path: Ptr<u16>) -> u32 {
    if path.is_null() { 0 } else { kind(&path.string()) as u32 }
}

/// The place in the upper half and the length in the lower one, both in bytes.
extern "win64" fn RtlIsDosDeviceName_U(path: Ptr<u16>) -> u32 {
    let path = path.string();
    let found = device(&path).map(|(at, len)| (wide(&path[..at]).len() * 2, len * 2));
    found.and_then(|(at, len)| Some(u32::from(u16::try_from(at).ok()?) << 16 | len as u32)).unwrap_or(0)
}

/// In bytes: how long a text is that was written, or how much room it needs.
fn give(text: &str, room: u32, to: Ptr<u16>) -> u32 {
    let units = wide_z(text);
    if units.len() * 2 > room as usize || to.is_null() {
        return length(units.len() * 2);
    }
    to.fill(&units);
    length((units.len() - 1) * 2)
}

extern "win64" fn RtlGetFullPathName_U(name: Ptr<u16>, room: u32, to: Ptr<u16>, part: Ptr<usize>) -> u32 {
    part.put(0);
    let name = name.string();
    if name.trim_end_matches(' ').is_empty() {
        return 0;
    }
    let Full { path, name } = full(&name, &teb::process().drives.current());
    let done = give(&path, room, to);
    part.put(name.filter(|_| done < room).map_or(0, |n| to.at(n).addr()));
    done
}

/// What NT calls a path, and where its last name begins, in units.
pub(crate) fn nt_name(path: &str, current: &str) -> Result<(String, Option<usize>), u32> {
    if path.trim_end_matches(' ').is_empty() {
        return Err(OBJECT_NAME_INVALID);
    }
    // Such a path is taken as it is.
    for verbatim in [r"\\?\", r"\??\"] {
        if let Some(rest) = path.strip_prefix(verbatim).filter(|rest| !rest.is_empty() || verbatim != r"\??\")
        {
            let name = format!(r"\??\{rest}");
            let last = name.rfind('\\').map(|at| at + 1).filter(|&at| at < name.len() && !rest.is_empty());
            let last = last.map(|at| wide(&name[..at]).len());
            return Ok((name, last));
        }
    }
    let Full { path: full, name } = full(path, current);
    let (prefix, rest) = match full.strip_prefix(r"\\") {
        Some(rest) if rest.starts_with(r".\") || rest.starts_with(r"?\") => (r"\??\", &rest[2..]),
        Some(rest) => (r"\??\UNC\", rest),
        None => (r"\??\", full.as_str()),
    };
    let shift = |at: usize| (at + prefix.len() + rest.len()).checked_sub(full.len());
    Ok((format!("{prefix}{rest}"), name.and_then(shift)))
}

/// `CURDIR`, of a name that is no longer relative to any folder.
#[repr(C)]
#[derive(Clone, Copy)]
struct Folder {
    name: Text,
    handle: usize,
}

extern "win64" fn RtlDosPathNameToNtPathName_U_WithStatus(
    path: Ptr<u16>,
    out: Ptr<Text>,
    part: Ptr<usize>,
    folder: Ptr<Folder>,
) -> u32 {
    if out.is_null() {
        return INVALID_PARAMETER;
    }
    folder.put(Folder { name: Text::NONE, handle: 0 });
    let named = if path.is_null() {
        Err(OBJECT_NAME_INVALID)
    } else {
        nt_name(&path.string(), &teb::process().drives.current())
    };
    let made = named.and_then(|(name, last)| Ok((Text::new_z(&wide(&name))?, last)));
    match made {
        Ok((text, last)) => {
            out.set(text);
            part.put(last.map_or(0, |at| text.at.at(at).addr()));
            SUCCESS
        }
        Err(status) => status,
    }
}

extern "win64" fn RtlDosPathNameToNtPathName_U(
    path: Ptr<u16>,
    out: Ptr<Text>,
    part: Ptr<usize>,
    folder: Ptr<Folder>,
) -> u8 {
    (RtlDosPathNameToNtPathName_U_WithStatus(path, out, part, folder) == SUCCESS).into()
}

extern "win64" fn RtlDoesFileExists_U(path: Ptr<u16>) -> u8 {
    let host = crate::kernel32::file::host(&path.string());
    host.is_ok_and(|host| std::path::Path::new(&host).exists()).into()
}

/// Whether a name is one of eight characters and three, and whether it has blanks; it comes back in capitals.
extern "win64" fn RtlIsNameLegalDOS8Dot3(
    name: Ptr<Text>,
    out: Ptr<super::counted::Bytes>,
    blanks: Ptr<u8>,
) -> u8 {
    let units: Vec<u16> = name.get().units().iter().map(|&unit| to_case(unit, true)).collect();
    let bytes = ansi(&units);
    if bytes.len() > 12 {
        return 0;
    }
    if !out.is_null() {
        let mut to = out.get();
        let fit = bytes.len().min(to.room.into());
        to.at.fill(&bytes[..fit]);
        to.length = fit as u16; // not above the room
        out.set(to);
    }
    let legal = |part: &[u8], most: usize| {
        let sign = |b: &u8| *b < 0x20 || br#"*?<>|"+=,;[]:/\"#.contains(b);
        !part.is_empty() && part.len() <= most && !part.iter().any(sign) && !part.ends_with(b" ")
    };
    let legal = match bytes.splitn(2, |&b| b == b'.').collect::<Vec<_>>()[..] {
        _ if bytes == b"." || bytes == b".." => true,
        [name] => legal(name, 8),
        [name, end] => legal(name, 8) && legal(end, 3) && !end.contains(&b'.'),
        _ => false,
    };
    if legal {
        blanks.put(bytes.contains(&b' ').into());
    }
    legal.into()
}

table! {
    /// Paths.
    pub(crate) TABLE:
        RtlDetermineDosPathNameType_U, RtlIsDosDeviceName_U, RtlGetFullPathName_U, RtlDosPathNameToNtPathName_U,
        RtlDosPathNameToNtPathName_U_WithStatus, RtlDosPathNameToRelativeNtPathName_U = RtlDosPathNameToNtPathName_U,
        RtlDosPathNameToRelativeNtPathName_U_WithStatus = RtlDosPathNameToNtPathName_U_WithStatus, RtlDoesFileExists_U,
        RtlIsNameLegalDOS8Dot3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_paths() {
        let of = |path| full(path, r"C:\windows").path;
        for (path, expected) in [
            ("c:/test/", r"c:\test\"),
            ("c:/test  ....   ..   ", r"c:\test"),
            ("c:/test/..", r"c:\"),
            ("c:/test./file", r"c:\test\file"),
            (r"c:///test\..\file\..\//", r"c:\"),
            ("c:foo/bar", r"C:\windows\foo\bar"),
            ("d:foo", r"d:\foo"),
            (r"\foo", r"C:\foo"),
            ("..", r"C:\"),
            ("...", r"C:\windows\"),
            ("foo/..", r"C:\windows"),
            (r"C:\con\con", r"\\.\con"),
            ("COM1.txt", r"\\.\COM1"),
            ("COM0", r"C:\windows\COM0"),
            ("//server/share/../..", r"\\server\share"),
            ("//./foo/..", r"\\.\"),
            ("//?/foo", r"\\?\foo"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        assert_eq!(full("c:/ä/b", "C:").name, Some(5));
        assert_eq!(full("c:/a/", "C:").name, None);
    }

    #[test]
    fn nt_names() {
        let of = |path| nt_name(path, r"C:\windows").unwrap();
        assert_eq!(of("a.txt"), (r"\??\C:\windows\a.txt".into(), Some(15)));
        assert_eq!(of(r"\\s\h\a"), (r"\??\UNC\s\h\a".into(), Some(12)));
        assert_eq!(of(r"\\?\c:/x/.."), (r"\??\c:/x/..".into(), Some(4)));
        assert_eq!(of("nul"), (r"\??\nul".into(), None));
    }

    /// Whatever a path is, nothing panics.
    #[test]
    fn odd_paths() {
        for path in [
            "",
            "\\",
            "//",
            "///",
            "\\\\.",
            "\\\\?\\",
            "ä:",
            "ä:\\ö",
            ":",
            "::",
            "c",
            "c:",
            "\\\\.\\ä",
            "ß.:",
        ] {
            let _ = (kind(path), device(path), full(path, "C:"), nt_name(path, ""));
        }
    }
}
