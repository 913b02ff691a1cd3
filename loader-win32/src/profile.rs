//! The folders of the user that the program runs for: parts of USERENV and SHELL32.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{Bool, TRUE, error::code, fail},
    security::token::is_token,
    teb, text,
};

/// The user's own folder: what the program's environment says, or the host's.
fn profile() -> Option<String> {
    let process = teb::process();
    let home = || {
        let home = process.environment.get("HOME").filter(|home| home.starts_with('/'))?;
        Some(process.drives.to_guest(&home))
    };
    process.environment.get("USERPROFILE").or_else(home)
}

extern "win64" fn GetUserProfileDirectoryW(token: usize, to: Ptr<u16>, room: Ptr<u32>) -> Bool {
    if room.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    let path = match is_token(token).and_then(|()| profile().ok_or(code::FILE_NOT_FOUND)) {
        Ok(path) => text::wide_z(&path),
        Err(error) => return fail(error),
    };
    let had = room.get() as usize;
    room.set(text::length(path.len()));
    if to.is_null() || had < path.len() {
        return fail(code::INSUFFICIENT_BUFFER);
    }
    to.fill(&path);
    TRUE
}

/// Folders by their identifiers, as bytes stand in memory, and where they are below the user's own folder, or which
/// variable says so.
const FOLDERS: [([u8; 16], &str, &str); 7] = [
    (guid(0x5e6c_858f, 0x0e22, 0x4760, 0x9afe_ea33_17b6_7173), "", "USERPROFILE"),
    (guid(0xf1b3_2785, 0x6fba, 0x4fcf, 0x9d55_7b8e_7f15_7091), r"\AppData\Local", "LOCALAPPDATA"),
    (guid(0x3eb6_85db, 0x65f9, 0x4cf6, 0xa03a_e3ef_6572_9f3d), r"\AppData\Roaming", "APPDATA"),
    (guid(0x62ab_5d82, 0xfdc1, 0x4dc3, 0xa9dd_070d_1d49_5d97), "", "PROGRAMDATA"),
    (guid(0xb4bf_cc3a, 0xdb2c, 0x424c, 0xb029_7fe9_9a87_c641), r"\Desktop", ""),
    (guid(0xfdd3_9ad0, 0x238f, 0x46af, 0xadb4_6c85_4803_69c7), r"\Documents", ""),
    (guid(0x374d_e290, 0x123f, 0x4565, 0x9164_39c4_925e_467b), r"\Downloads", ""),
];

const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d.to_be_bytes();
    [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7]
}

/// The path of a folder that the user has; the caller frees it with `CoTaskMemFree`.
extern "win64" fn SHGetKnownFolderPath(
    id: Ptr<[u8; 16]>,
    _flags: u32,
    _token: usize,
    out: Ptr<usize>,
) -> u32 {
    const INVALID_ARGUMENT: u32 = 0x8007_0057;
    const NO_SUCH_FILE: u32 = 0x8007_0002;
    const OUT_OF_MEMORY: u32 = 0x8007_000e;
    if out.is_null() || id.is_null() {
        return INVALID_ARGUMENT;
    }
    out.set(0);
    let id = id.get();
    let Some((_, below, variable)) = FOLDERS.iter().find(|folder| folder.0 == id) else {
        return NO_SUCH_FILE;
    };
    let said = teb::process().environment.get(variable);
    // What is not of the user has to be said.
    let derived = || profile().filter(|_| *variable != "PROGRAMDATA").map(|own| own + below);
    let Some(path) = said.or_else(derived) else { return NO_SUCH_FILE };
    let path = text::wide_z(&path);
    let block = crate::ole::task_memory(size_of_val(&*path)).cast::<u16>();
    if block.is_null() {
        return OUT_OF_MEMORY;
    }
    block.fill(&path);
    out.set(block.addr());
    0
}

table! {
    /// USERENV.
    pub(crate) USERENV: GetUserProfileDirectoryW
}

table! {
    /// SHELL32.
    pub(crate) SHELL32: SHGetKnownFolderPath
}
