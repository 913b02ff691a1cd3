//! Files by name alone, and the names that NT has for paths of Windows.

use super::{
    file::{Attributes, Outcome, named},
    objects::done,
    status::{self, ACCESS_VIOLATION, SUCCESS},
};
use crate::{
    guest::Ptr,
    kernel32::file::{attributes as bits, delete, on_file, on_path, times},
    rtl::counted::Text,
    teb,
    text::wide,
};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
};

/// What a path says of where it begins: the numbers of `RTL_PATH_TYPE`.
fn kind(path: &str) -> u32 {
    let separator = |c: Option<&u8>| c.is_some_and(|c| [b'\\', b'/'].contains(c));
    let b = path.as_bytes();
    match (separator(b.first()), separator(b.get(1))) {
        (true, true) if b.get(2) == Some(&b'.') || b.get(2) == Some(&b'?') => {
            match (b.len(), separator(b.get(3))) {
                (3, _) => 7,
                (_, true) => 6,
                _ => 1,
            }
        }
        (true, true) => 1,
        (true, false) => 4,
        _ if b.first().is_some() && b.get(1) == Some(&b':') => {
            if separator(b.get(2)) {
                2
            } else {
                3
            }
        }
        _ => 5,
    }
}

extern "win64" fn RtlDetermineDosPathNameType_U(path: Ptr<u16>) -> u32 {
    if path.is_null() { 0 } else { kind(&path.string()) }
}

/// The name that NT has for a path: below `\??\`, whole, as `GetFullPathName` makes it, unless it says that it is whole.
fn to_nt(path: &str) -> Result<String, u32> {
    if path.is_empty() {
        return Err(status::OBJECT_NAME_INVALID);
    }
    if let Some(rest) = path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\??\")) {
        return Ok(format!(r"\??\{rest}"));
    }
    match kind(path) {
        1 => Ok(format!(r"\??\UNC\{}", path.trim_start_matches(['\\', '/']).replace('/', r"\"))),
        6 => Ok(format!(r"\??\{}", path[4..].replace('/', r"\"))),
        7 => Ok(r"\??\".into()),
        _ if path.trim_end_matches(' ').is_empty() => Err(status::OBJECT_NAME_INVALID),
        _ => Ok(format!(r"\??\{}", teb::process().drives.absolute(path))),
    }
}

/// `RTL_RELATIVE_NAME_U`: no name is relative to the current folder here.
type Relative = [u64; 4];

/// The caller frees the text with `RtlFreeUnicodeString`; `part` is where its last name begins.
extern "win64" fn RtlDosPathNameToNtPathName_U_WithStatus(
    path: Ptr<u16>,
    out: Ptr<Text>,
    part: Ptr<usize>,
    relative: Ptr<Relative>,
) -> u32 {
    if path.is_null() {
        return status::OBJECT_NAME_INVALID;
    }
    if out.is_null() {
        return ACCESS_VIOLATION;
    }
    done(to_nt(&path.string()).and_then(|name| {
        let units = wide(&name);
        let text = Text::new_z(&units)?;
        let last = units.iter().rposition(|&unit| unit == u16::from(b'\\')).map_or(0, |at| at + 1);
        part.put(if last < units.len() { text.at.at(last).addr() } else { 0 });
        relative.put([0; 4]);
        out.set(text);
        Ok(())
    }))
}

extern "win64" fn RtlDosPathNameToNtPathName_U(
    path: Ptr<u16>,
    out: Ptr<Text>,
    part: Ptr<usize>,
    relative: Ptr<Relative>,
) -> u8 {
    (RtlDosPathNameToNtPathName_U_WithStatus(path, out, part, relative) == SUCCESS).into()
}

/// Nothing was kept open for a relative name.
extern "win64" fn RtlReleaseRelativeName(_relative: Ptr<Relative>) {}

extern "win64" fn NtDeleteFile(attributes: Ptr<Attributes>) -> u32 {
    done(named(attributes).and_then(|name| {
        on_path(&name, |path| if fs::metadata(&path)?.is_dir() { fs::remove_dir(path) } else { delete(path) })
            .map_err(status::of)
    }))
}

/// Of the file that the attributes name.
fn metadata(attributes: Ptr<Attributes>) -> Result<Metadata, u32> {
    named(attributes).and_then(|name| on_path(&name, fs::metadata).map_err(status::of))
}

/// Created, read, written, changed.
fn four(m: &Metadata) -> [i64; 4] {
    let [created, read, written] = times(m);
    [created, read, written, written]
}

/// `FILE_BASIC_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Basic {
    times: [i64; 4],
    attributes: u32,
}

extern "win64" fn NtQueryAttributesFile(attributes: Ptr<Attributes>, to: Ptr<Basic>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(metadata(attributes).map(|m| to.set(Basic { times: four(&m), attributes: bits(&m) })))
}

/// `FILE_NETWORK_OPEN_INFORMATION`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Full {
    times: [i64; 4],
    allocated: u64,
    size: u64,
    attributes: u32,
}

extern "win64" fn NtQueryFullAttributesFile(attributes: Ptr<Attributes>, to: Ptr<Full>) -> u32 {
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(metadata(attributes).map(|m| {
        let size = if m.is_dir() { 0 } else { m.len() };
        to.set(Full { times: four(&m), allocated: m.blocks() * 512, size, attributes: bits(&m) });
    }))
}

extern "win64" fn NtFlushBuffersFile(handle: usize, outcome: Ptr<Outcome>) -> u32 {
    let flushed = done(on_file(handle, fs::File::sync_all).map_err(status::of));
    if flushed == SUCCESS {
        outcome.put(Outcome::new(SUCCESS, 0));
    }
    flushed
}

table! {
    /// Files by name.
    pub(crate) TABLE:
        RtlDetermineDosPathNameType_U, RtlDosPathNameToNtPathName_U, RtlDosPathNameToNtPathName_U_WithStatus,
        RtlDosPathNameToRelativeNtPathName_U = RtlDosPathNameToNtPathName_U,
        RtlDosPathNameToRelativeNtPathName_U_WithStatus = RtlDosPathNameToNtPathName_U_WithStatus,
        RtlReleaseRelativeName, NtDeleteFile, ZwDeleteFile = NtDeleteFile, NtQueryAttributesFile,
        ZwQueryAttributesFile = NtQueryAttributesFile, NtQueryFullAttributesFile,
        ZwQueryFullAttributesFile = NtQueryFullAttributesFile, NtFlushBuffersFile, ZwFlushBuffersFile = NtFlushBuffersFile
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn where_paths_begin() {
        // The numbers of RTL_PATH_TYPE: UNC 1, of a drive 2, relative to a drive 3, of the current drive 4, relative 5, a device 6,
        // the root of devices 7.
        let paths = [
            (r"\\a\b", 1),
            (r"C:\a", 2),
            ("C:a", 3),
            (r"\a", 4),
            ("a", 5),
            (r"\\.\a", 6),
            (r"\\.", 7),
            ("", 5),
        ];
        for (path, expected) in paths {
            assert_eq!(kind(path), expected, "{path}");
        }
    }
}
