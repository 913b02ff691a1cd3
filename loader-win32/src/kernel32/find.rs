//! Searches of folders, by patterns.

use super::{
    Bool, answer,
    error::code,
    file::{AttributeData, attribute_data, attributes, host, or_invalid},
    wait::object,
};
use crate::{guest::Ptr, lock, object::Kind, teb, text};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
};

/// A search of a folder: what is left of it.
pub(crate) struct Search(std::vec::IntoIter<(String, Metadata)>);

/// What a search found.
pub(crate) struct Entry {
    pub name: String,
    pub attributes: u32,
    /// Created, read, written, in seconds since 1970.
    pub times: [i64; 3],
    pub size: u64,
}

/// `WIN32_FIND_DATA` of either width.
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct FindData<T> {
    file: AttributeData,
    reserved: [u32; 2],
    name: [T; 260],
    short: [T; 14],
}

const _: () = assert!(size_of::<FindData<u16>>() == 592 && size_of::<FindData<u8>>() == 320);

/// What in a pattern matches as programs of DOS expect it: anything before the last dot; one character, or none before a dot or
/// at the end; a dot, or the end.
const DOS_STAR: char = '<';
const DOS_QUESTION: char = '>';
const DOS_DOT: char = '"';

/// The pattern that NT is given for one of Windows: `*.*` is every name, and names without a dot have one at their end.
fn of_dos(pattern: &str) -> String {
    let whole: Vec<char> = pattern.chars().collect();
    let kept = pattern.trim_end_matches(['.', ' ']).chars().count();
    // `*.` is all that has no dot.
    let ends_in_dot = pattern.ends_with('.');
    match (pattern, kept) {
        ("*.*", _) => return "*".into(),
        (_, 0) => return pattern.into(),
        _ => {}
    }
    let unit = |n: usize| match (whole[n], whole[..kept].get(n + 1)) {
        ('?', _) => DOS_QUESTION,
        ('*', Some('.')) => DOS_STAR,
        ('*', None) if ends_in_dot => DOS_STAR,
        ('.', Some('?' | '*')) => DOS_DOT,
        (other, _) => other,
    };
    (0..kept).map(unit).collect()
}

/// Whether a name fits a pattern. All places of the pattern that the name may have come to are kept, so that no pattern takes
/// long.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let skips = |at: usize, next: Option<char>| match pattern.get(at) {
        Some('*' | &DOS_STAR) => true,
        Some(&DOS_QUESTION) => next.is_none_or(|c| c == '.'),
        Some(&DOS_DOT) => next.is_none(),
        _ => false,
    };
    let special = matches!(name, ['.'] | ['.', '.']); // these dots are letters
    // Dots that begin a name end nothing.
    let last_dot = name.iter().rposition(|&c| c == '.').filter(|&at| name[..at].iter().any(|&c| c != '.'));
    let mut places = vec![false; pattern.len() + 1];
    places[0] = true;
    for n in 0..=name.len() {
        let c = name.get(n).copied();
        let seen = c.filter(|_| !special).or(c.map(|_| 'x')); // what questions see
        for at in 0..pattern.len() {
            if places[at] && skips(at, if special { seen } else { c }) {
                places[at + 1] = true;
            }
        }
        let Some(c) = c else { break };
        let mut next = vec![false; pattern.len() + 1];
        for (at, p) in pattern.iter().enumerate().filter(|(at, _)| places[*at]) {
            match *p {
                '*' => next[at] = true,
                DOS_STAR if last_dot != Some(n) => next[at] = true,
                DOS_STAR => {}
                '?' => next[at + 1] = true,
                DOS_QUESTION => next[at + 1] |= c != '.' || special,
                DOS_DOT => next[at + 1] |= c == '.',
                p => next[at + 1] |= p == c,
            }
        }
        places = next;
    }
    places[pattern.len()]
}

pub(crate) fn search(pattern: &str) -> Result<Search, u32> {
    let host = host(pattern)?;
    let (folder, last) = host.rsplit_once('/').unwrap_or((".", &host));
    // As it was spelled: dots at its end mean something here.
    let last = pattern.rsplit(['\\', '/']).next().unwrap_or(last);
    list(if folder.is_empty() { "/" } else { folder }, &of_dos(last))
}

/// What of a folder of the host's fits a pattern, by name.
pub(crate) fn list(folder: &str, pattern: &str) -> Result<Search, u32> {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let entries = fs::read_dir(folder).map_err(|_| code::PATH_NOT_FOUND)?;
    let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let mut all: Vec<String> = [".".into(), "..".into()].into_iter().chain(names).collect();
    all.retain(|n| fits(&pattern, &n.to_lowercase().chars().collect::<Vec<_>>()));
    all.sort();
    let found: Vec<_> = all
        .into_iter()
        .filter_map(|n| Some((n.clone(), fs::metadata(format!("{folder}/{n}")).ok()?)))
        .collect();
    Ok(Search(found.into_iter()))
}

impl Search {
    /// One that finds nothing more.
    pub(crate) fn over() -> Self {
        Self(Vec::new().into_iter())
    }

    /// What is left, and nothing is taken away.
    pub(crate) fn rest(&self) -> &[(String, Metadata)] {
        self.0.as_slice()
    }

    /// That many entries were seen.
    pub(crate) fn skip(&mut self, n: usize) {
        self.0.by_ref().take(n).for_each(drop);
    }

    /// The next entry.
    pub(crate) fn entry(&mut self) -> Option<Entry> {
        let (name, m) = self.0.next()?;
        let times = [m.ctime(), m.atime(), m.mtime()];
        Some(Entry { name, attributes: attributes(&m), times, size: m.len() })
    }

    /// Gives the next entry to the caller.
    fn next<T: Copy + Default>(
        &mut self,
        out: Ptr<FindData<T>>,
        encode: impl FnOnce(&str) -> Vec<T>,
    ) -> Result<(), u32> {
        let (found, m) = self.0.next().ok_or(code::NO_MORE_FILES)?;
        let mut name = [T::default(); 260];
        name.iter_mut().take(259).zip(encode(&found)).for_each(|(to, c)| *to = c);
        out.put(FindData { file: attribute_data(&m), reserved: [0; 2], name, short: [T::default(); 14] });
        Ok(())
    }
}

/// A search, by the handle that it gets, whose first entry the caller is given.
fn find_first(pattern: &str, next: impl FnOnce(&mut Search) -> Result<(), u32>) -> usize {
    or_invalid(search(pattern).and_then(|mut search| {
        next(&mut search).map_err(|_| code::FILE_NOT_FOUND)?;
        Ok(teb::process().objects.open(Kind::Find(search.into())))
    }))
}

fn find_next(handle: usize, next: impl FnOnce(&mut Search) -> Result<(), u32>) -> Bool {
    answer(object(handle).and_then(|o| match &o.kind {
        Kind::Find(search) => next(&mut lock(search)),
        _ => Err(code::INVALID_HANDLE),
    }))
}

fn narrow(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

extern "win64" fn FindFirstFileA(pattern: Ptr<u8>, out: Ptr<FindData<u8>>) -> usize {
    find_first(&pattern.string(), |search| search.next(out, narrow))
}

extern "win64" fn FindFirstFileW(pattern: Ptr<u16>, out: Ptr<FindData<u16>>) -> usize {
    find_first(&pattern.string(), |search| search.next(out, text::wide))
}

extern "win64" fn FindFirstFileExW(
    pattern: Ptr<u16>,
    _level: u32,
    out: Ptr<FindData<u16>>,
    _op: u32,
    _filter: usize,
    _flags: u32,
) -> usize {
    FindFirstFileW(pattern, out)
}

extern "win64" fn FindFirstFileExA(
    pattern: Ptr<u8>,
    _level: u32,
    out: Ptr<FindData<u8>>,
    _op: u32,
    _filter: usize,
    _flags: u32,
) -> usize {
    FindFirstFileA(pattern, out)
}

extern "win64" fn FindNextFileA(handle: usize, out: Ptr<FindData<u8>>) -> Bool {
    find_next(handle, |search| search.next(out, narrow))
}

extern "win64" fn FindNextFileW(handle: usize, out: Ptr<FindData<u16>>) -> Bool {
    find_next(handle, |search| search.next(out, text::wide))
}

extern "win64" fn FindClose(handle: usize) -> Bool {
    answer(teb::process().objects.close(handle).map(drop).ok_or(code::INVALID_HANDLE))
}

table! {
    /// Searches.
    pub(crate) TABLE: FindFirstFileA, FindFirstFileW, FindFirstFileExA, FindFirstFileExW, FindNextFileA, FindNextFileW, FindClose
}

#[cfg(test)]
mod tests {
    use super::{fits, of_dos};

    #[test]
    fn patterns() {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        for (pattern, name, expected) in [
            ("*.dll", "a.dll", true),
            ("?.d*", "a.dll", true),
            ("a", "ab", false),
            ("*", "", true),
            ("*.*", "a", true),
            ("*.", "a", true),
            ("*.", "a.b", false),
            ("*.", ".a", true),
            ("a.*", "a", true),
            ("???.b", "a.b", true),
            ("???.b", "abcd.b", false),
            ("a?", "a", true),
            ("*.b", "a.b.b", true),
            ("*.b", "a.b.c", false),
        ] {
            assert_eq!(fits(&chars(&of_dos(pattern)), &chars(name)), expected, "{pattern} {name}");
        }
        let long = "*a".repeat(200);
        assert!(!fits(&chars(&long), &chars(&"a".repeat(199))));
    }
}
