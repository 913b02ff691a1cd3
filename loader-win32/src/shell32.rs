//! shell32: a command line's words, and the folders that have names.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    heap,
    kernel32::error::code,
    process, teb,
    text::{wide, wide_z},
};

/// The words of a command line, by the rules of `CommandLineToArgvW`. The program's path comes first: it ends where its
/// quotes do, and backslashes are nothing special in it.
fn words(line: &[u16]) -> Vec<Vec<u16>> {
    let blank = |c: u16| c == u16::from(b' ') || c == u16::from(b'\t');
    let quote = u16::from(b'"');
    let (program, mut rest) = match line.split_first() {
        Some((&c, inside)) if c == quote => {
            let end = inside.iter().position(|&c| c == quote);
            (&inside[..end.unwrap_or(inside.len())], end.map_or(&[][..], |end| &inside[end + 1..]))
        }
        // Anything up to a space ends it.
        _ => line.split_at(line.iter().position(|&c| c <= u16::from(b' ')).unwrap_or(line.len())),
    };
    let mut words = vec![program.to_vec()];
    loop {
        let start = rest.iter().position(|&c| !blank(c));
        let Some(start) = start else { return words };
        let (word, len) = word(&rest[start..], blank);
        words.push(word);
        rest = &rest[start + len..];
    }
}

/// The word that a text begins with, and how long it is there. Backslashes count only before a quote, where two of them
/// are one; the third of three quotes in a row stands for itself.
fn word(text: &[u16], blank: impl Fn(u16) -> bool) -> (Vec<u16>, usize) {
    let (quote, backslash) = (u16::from(b'"'), u16::from(b'\\'));
    let (mut word, mut backslashes, mut quotes, mut at) = (Vec::new(), 0usize, 0, 0);
    while let Some(&c) = text.get(at).filter(|&&c| quotes != 0 || !blank(c)) {
        at += 1;
        if c != quote {
            backslashes = if c == backslash { backslashes + 1 } else { 0 };
            word.push(c);
            continue;
        }
        word.truncate(word.len() - backslashes.div_ceil(2));
        if std::mem::take(&mut backslashes) % 2 == 1 {
            word.push(c);
            continue;
        }
        quotes += 1;
        while text.get(at) == Some(&quote) {
            at += 1;
            quotes += 1;
            if quotes == 3 {
                word.push(quote);
                quotes = 0;
            }
        }
        quotes %= 2;
    }
    (word, at)
}

/// One block with the addresses of the words and the words: the caller gives it to `LocalFree`. Without a text, the words
/// are the program's path alone.
extern "win64" fn CommandLineToArgvW(line: Ptr<u16>, count: Ptr<i32>) -> Ptr<usize> {
    if line.is_null() || count.is_null() {
        teb::set_last_error(code::INVALID_PARAMETER);
        return Ptr::NULL;
    }
    let line = line.text();
    let words = if line.is_empty() { vec![wide(&process::program_path())] } else { words(&line) };
    let head = (words.len() + 1) * size_of::<usize>();
    let units: usize = words.iter().map(|word| word.len() + 1).sum();
    let block = heap::alloc(head + units * 2, true);
    if block.is_null() {
        teb::set_last_error(code::NOT_ENOUGH_MEMORY);
        return Ptr::NULL;
    }
    let (places, mut to) = (block.cast::<usize>(), block.at(head).cast::<u16>());
    for (nth, word) in words.iter().enumerate() {
        places.at(nth).set(to.addr());
        to.fill(word);
        to = to.at(word.len() + 1);
    }
    count.set(i32::try_from(words.len()).unwrap_or(i32::MAX));
    places
}

const S_OK: u32 = 0;
const E_INVALIDARG: u32 = 0x8007_0057;
const E_OUTOFMEMORY: u32 = 0x8007_000e;
/// `HRESULT_FROM_WIN32(ERROR_FILE_NOT_FOUND)`.
const NOT_FOUND: u32 = 0x8007_0002;

/// Folders that have a number, the variable that says where each is, and what follows there.
const FOLDERS: [(u128, &str, &str); 9] = [
    (0x5e6c858f_0e22_4760_9afe_ea3317b67173, "USERPROFILE", ""),
    (0x3eb685db_65f9_4cf6_a03a_e3ef65729f3d, "APPDATA", ""),
    (0xf1b32785_6fba_4fcf_9d55_7b8e7f157091, "LOCALAPPDATA", ""),
    (0x62ab5d82_fdc1_4dc3_a9dd_070d1d495d97, "ProgramData", ""),
    (0x905e63b6_c1bf_494e_b29c_65b732d3d21a, "ProgramFiles", ""),
    (0x7c5a40ef_a0fb_4bfc_874a_c0f2e0b9fa8e, "ProgramFiles(x86)", ""),
    (0xf38bf404_1d43_42f2_9305_67de0b28fc23, "SystemRoot", ""),
    (0x1ac14e77_02e7_4e5d_b744_2eb1ae5198b7, "SystemRoot", r"\system32"),
    (0xfdd39ad0_238f_46af_adb4_6c85480369c7, "USERPROFILE", r"\Documents"),
];

/// `GUID`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Id {
    a: u32,
    b: u16,
    c: u16,
    rest: [u8; 8],
}

/// Where a folder is, as far as the environment says so. There are no users beside the one.
extern "win64" fn SHGetKnownFolderPath(
    folder: Ptr<Id>,
    _flags: u32,
    _user: usize,
    out: Ptr<Ptr<u16>>,
) -> u32 {
    if out.is_null() {
        return E_INVALIDARG;
    }
    out.set(Ptr::NULL);
    if folder.is_null() {
        return E_INVALIDARG;
    }
    let Id { a, b, c, rest } = folder.get();
    let id = u128::from(a) << 96
        | u128::from(b) << 80
        | u128::from(c) << 64
        | u128::from(u64::from_be_bytes(rest));
    let path = FOLDERS.iter().find(|(known, ..)| *known == id).and_then(|(_, variable, rest)| {
        Some(teb::process().environment.get(variable)?.trim_end_matches('\\').to_owned() + rest)
    });
    let Some(path) = path else { return NOT_FOUND };
    let path = wide_z(&path);
    let block = heap::alloc(path.len() * 2, false).cast::<u16>();
    if block.is_null() {
        return E_OUTOFMEMORY;
    }
    block.fill(&path);
    out.set(block);
    S_OK
}

table! {
    /// shell32.
    pub(crate) TABLE: CommandLineToArgvW, SHGetKnownFolderPath
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        for (line, expected) in [
            (r"a b", &["a", "b"][..]),
            (r#""a b" c"#, &["a b", "c"]),
            (r#" a"#, &["", "a"]),
            (r#"p "a b" c\d "e\\" "f\"g""#, &["p", "a b", r"c\d", r"e\", r#"f"g"#]),
            (r#"p a\\\"b c\\"d e" f"#, &["p", r#"a\"b"#, r"c\d e", "f"]),
            (r#"p """a""" b"#, &["p", r#""a""#, "b"]),
            (r#"p "" b"#, &["p", "", "b"]),
        ] {
            let words: Vec<_> = words(&wide(line)).iter().map(|w| String::from_utf16_lossy(w)).collect();
            assert_eq!(words, expected, "{line}");
        }
    }
}
