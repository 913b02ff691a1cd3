//! The registry, as it is here: its roots are there, nothing is in them, and nothing can be written. All functions answer
//! with an error number and leave the last error alone.
#![allow(non_snake_case)]

use crate::{guest::Ptr, kernel32::error::code};

const SUCCESS: u32 = 0;
const NO_MORE_ITEMS: u32 = 259;

/// `HKEY_CLASSES_ROOT` to `HKEY_CURRENT_USER_LOCAL_SETTINGS`, as 32 bits that are sign-extended or not.
fn root(key: usize) -> Result<(), u32> {
    let low = key as u32;
    let whole = [low as usize, low.cast_signed() as usize].contains(&key);
    if whole && (0x8000_0000..=0x8000_0007).contains(&low) { Ok(()) } else { Err(code::INVALID_HANDLE) }
}

fn number(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(SUCCESS)
}

/// The key itself, which a missing or empty name stands for; no other key is there.
fn open(key: usize, itself: bool, out: Ptr<usize>, otherwise: u32) -> u32 {
    number(root(key).and_then(|()| match () {
        () if out.is_null() => Err(code::INVALID_PARAMETER),
        () if !itself => Err(otherwise),
        () => {
            out.set(key);
            Ok(())
        }
    }))
}

extern "win64" fn RegOpenKeyExA(
    key: usize,
    name: Ptr<u8>,
    _options: u32,
    _rights: u32,
    out: Ptr<usize>,
) -> u32 {
    open(key, name.text().is_empty(), out, code::FILE_NOT_FOUND)
}

extern "win64" fn RegOpenKeyExW(
    key: usize,
    name: Ptr<u16>,
    _options: u32,
    _rights: u32,
    out: Ptr<usize>,
) -> u32 {
    open(key, name.text().is_empty(), out, code::FILE_NOT_FOUND)
}

extern "win64" fn RegCreateKeyExW(
    key: usize,
    name: Ptr<u16>,
    _reserved: u32,
    _class: Ptr<u16>,
    _options: u32,
    _rights: u32,
    _security: usize,
    out: Ptr<usize>,
    _what: Ptr<u32>,
) -> u32 {
    if name.is_null() {
        return code::INVALID_PARAMETER;
    }
    open(key, false, out, code::ACCESS_DENIED)
}

extern "win64" fn RegCloseKey(key: usize) -> u32 {
    number(root(key))
}

/// What looks for a value or a key in a root, and finds none.
extern "win64" fn absent(key: usize) -> u32 {
    number(root(key).and(Err(code::FILE_NOT_FOUND)))
}

/// What would change a root.
extern "win64" fn denied(key: usize) -> u32 {
    number(root(key).and(Err(code::ACCESS_DENIED)))
}

/// What lists a root: there is nothing, however often it is asked.
extern "win64" fn none_left(key: usize) -> u32 {
    number(root(key).and(Err(NO_MORE_ITEMS)))
}

/// How many keys and values there are, and how long names and values are: all of it nothing.
extern "win64" fn RegQueryInfoKeyW(
    key: usize,
    class: Ptr<u16>,
    class_len: Ptr<u32>,
    _reserved: usize,
    keys: Ptr<u32>,
    key_len: Ptr<u32>,
    key_class_len: Ptr<u32>,
    values: Ptr<u32>,
    value_name_len: Ptr<u32>,
    value_len: Ptr<u32>,
    security_len: Ptr<u32>,
    written: Ptr<u64>,
) -> u32 {
    number(root(key).map(|()| {
        if !class.is_null() && !class_len.is_null() && class_len.get() > 0 {
            class.set(0);
        }
        [class_len, keys, key_len, key_class_len, values, value_name_len, value_len, security_len]
            .iter()
            .for_each(|n| n.put(0));
        written.put(0);
    }))
}

table! {
    /// The registry's part of advapi32.
    pub(crate) TABLE:
        RegOpenKeyExA, RegOpenKeyExW, RegCreateKeyExW, RegCloseKey, RegQueryInfoKeyW, RegQueryValueExA = absent,
        RegQueryValueExW = absent, RegGetValueA = absent, RegGetValueW = absent, RegDeleteValueA = absent,
        RegDeleteValueW = absent, RegDeleteKeyA = absent, RegDeleteKeyW = absent, RegSetValueExA = denied,
        RegSetValueExW = denied, RegEnumKeyA = none_left, RegEnumKeyW = none_left, RegEnumKeyExA = none_left,
        RegEnumKeyExW = none_left, RegEnumValueA = none_left, RegEnumValueW = none_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots() {
        let current_user = 0xffff_ffff_8000_0001;
        assert_eq!(root(current_user), Ok(()));
        assert_eq!(root(0x8000_0007), Ok(()));
        for key in [0, 0x8000_0008, 0x7fff_ffff, 0x1_8000_0000, usize::MAX] {
            assert_eq!(root(key), Err(code::INVALID_HANDLE), "{key:x}");
        }
        assert_eq!((absent(current_user), none_left(current_user), denied(0)), (2, 259, 6));
    }
}
