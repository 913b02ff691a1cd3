//! Files that `fopen` opens with `ccs=`: texts in UTF-8 or UTF-16 that begin with a mark which says so.

use super::files::TEXT;
use std::{ffi::CStr, fs::File, io::Read, os::unix::ffi::OsStrExt, path::Path};

/// `_O_WTEXT`: as the file's mark says; UTF-16 where it is new.
const MARKED: i32 = 0x1_0000;
/// `_O_U16TEXT`.
pub(crate) const UTF16: i32 = 0x2_0000;
/// `_O_U8TEXT`.
const UTF8: i32 = 0x4_0000;

const MARK_OF_UTF8: &[u8] = &[0xef, 0xbb, 0xbf];
const MARK_OF_UTF16: &[u8] = &[0xff, 0xfe];

/// The encoding that the end of a mode asks for, if it does (`, ccs=UTF-8`); `None` where it makes no sense.
pub(super) fn asked(letters: &str) -> Option<Option<i32>> {
    let Some((_, end)) = letters.split_once(',') else { return Some(None) };
    let (name, value) = end.split_once('=')?;
    let is = |text: &str, wanted: &str| text.trim().eq_ignore_ascii_case(wanted);
    let encodings = [("UNICODE", MARKED), ("UTF-8", UTF8), ("UTF-16LE", UTF16)];
    let found = encodings.into_iter().find(|(encoding, _)| is(value, encoding));
    found.filter(|_| is(name, "ccs")).map(|(_, kind)| Some(kind))
}

/// How a file is read and written, after a look at how it begins.
pub(super) struct Settled {
    pub kind: i32,
    /// What is to be written before anything else.
    pub mark: &'static [u8],
    /// Where reading begins.
    pub start: i64,
}

/// Settles it for a file of the host's that is to be opened.
pub(super) fn settle(path: &CStr, letters: &str, kind: i32) -> Settled {
    if ![MARKED, UTF16, UTF8].contains(&kind) {
        return Settled { kind, mark: &[], start: 0 };
    }
    let mut head = Vec::new();
    if !letters.starts_with('w') {
        let file = File::open(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())));
        // A file that is not there has no beginning.
        let _ = file.and_then(|file| file.take(MARK_OF_UTF8.len() as u64).read_to_end(&mut head));
    }
    let writes = letters.contains(['w', 'a', '+']);
    match kind {
        _ if head.starts_with(MARK_OF_UTF8) => Settled { kind: UTF8, mark: &[], start: 3 },
        _ if head.starts_with(MARK_OF_UTF16) => Settled { kind: UTF16, mark: &[], start: 2 },
        MARKED if !head.is_empty() => Settled { kind: TEXT, mark: &[], start: 0 },
        _ if !head.is_empty() || !writes => {
            Settled { kind: if kind == UTF8 { UTF8 } else { UTF16 }, mark: &[], start: 0 }
        }
        UTF8 => Settled { kind, mark: MARK_OF_UTF8, start: 3 },
        _ => Settled { kind: UTF16, mark: MARK_OF_UTF16, start: 2 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        assert_eq!(
            (asked("r"), asked("rt, ccs=utf-8"), asked("w,CCS=Unicode")),
            (Some(None), Some(Some(UTF8)), Some(Some(MARKED)))
        );
        assert_eq!((asked("r,ccs=latin"), asked("r,"), asked("r,x=UTF-8")), (None, None, None));
        let new = settle(c"/nowhere/at/all", "w", MARKED);
        assert_eq!((new.kind, new.mark, new.start), (UTF16, MARK_OF_UTF16, 2));
        let none = settle(c"/nowhere/at/all", "r", UTF8);
        assert_eq!((none.kind, none.mark, none.start), (UTF8, &[][..], 0));
    }
}
