//! The registry itself: keys below keys, values in keys. It is empty when the process begins and goes with it; nothing of it
//! is ever in a file.

use crate::kernel32::{error::code, strings::to_case};
use std::collections::{BTreeMap, HashMap};

pub(crate) const KEY_DELETED: u32 = 1018;
pub(crate) const BAD_PATHNAME: u32 = 161;
/// Names of keys have at most so many units.
const LONGEST_NAME: usize = 255;

/// A name as it was given, found in any case.
pub(crate) type Units = Vec<u16>;

fn folded(name: &[u16]) -> Units {
    name.iter().map(|&unit| to_case(unit, true)).collect()
}

/// What a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub name: Units,
    /// `REG_SZ` and its kin.
    pub kind: u32,
    pub data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Key {
    name: Units,
    /// The key that it is in; 0 for a root.
    parent: u64,
    keys: BTreeMap<Units, u64>,
    values: BTreeMap<Units, Value>,
    /// When something in it was last changed.
    changed: i64,
}

/// All keys, and which of them are open.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    keys: HashMap<u64, Key>,
    open: HashMap<usize, u64>,
    last_key: u64,
    last_handle: usize,
}

/// The roots have handles that never change: `HKEY_CLASSES_ROOT` to `HKEY_DYN_DATA`.
const ROOTS: std::ops::RangeInclusive<usize> = 0x8000_0000..=0x8000_0006;
/// The number of a root's key; those of other keys are lower.
const ROOT_KEYS: u64 = 1 << 32;

/// Numbers of a key that are asked for together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub keys: usize,
    pub longest_key: usize,
    pub values: usize,
    pub longest_name: usize,
    pub longest_data: usize,
    pub changed: i64,
}

impl Tree {
    /// The key of a handle. A root is there from when it is first asked for.
    fn key(&mut self, handle: usize) -> Result<u64, u32> {
        let root = handle & 0xffff_ffff; // handles of 32 bits are given sign-extended too
        if ROOTS.contains(&root) {
            let key = ROOT_KEYS + root as u64;
            self.keys.entry(key).or_default();
            return Ok(key);
        }
        let key = *self.open.get(&handle).ok_or(code::INVALID_HANDLE)?;
        if self.keys.contains_key(&key) { Ok(key) } else { Err(KEY_DELETED) }
    }

    fn at(&mut self, handle: usize) -> Result<&mut Key, u32> {
        let key = self.key(handle)?;
        self.keys.get_mut(&key).ok_or(KEY_DELETED)
    }

    /// The names on a path below a key. One separator may end it, none may begin it.
    fn steps(path: &[u16]) -> Result<Vec<&[u16]>, u32> {
        const SEPARATOR: u16 = b'\\' as u16;
        let path = path.strip_suffix(&[SEPARATOR]).unwrap_or(path);
        if path.is_empty() {
            return Ok(Vec::new());
        }
        let steps: Vec<&[u16]> = path.split(|&unit| unit == SEPARATOR).collect();
        match steps.iter().find(|step| step.is_empty() || step.len() > LONGEST_NAME) {
            Some([]) => Err(BAD_PATHNAME),
            Some(_) => Err(code::INVALID_PARAMETER),
            None => Ok(steps),
        }
    }

    fn find(&mut self, handle: usize, path: &[u16]) -> Result<u64, u32> {
        let start = self.key(handle)?;
        Self::steps(path)?.into_iter().try_fold(start, |key, step| {
            let inner = self.keys.get(&key).and_then(|k| k.keys.get(&folded(step)));
            inner.copied().ok_or(code::FILE_NOT_FOUND)
        })
    }

    fn handle(&mut self, key: u64) -> usize {
        self.last_handle += 1;
        let handle = 0x1000 + self.last_handle * 4;
        self.open.insert(handle, key);
        handle
    }

    pub(crate) fn open(&mut self, handle: usize, path: &[u16]) -> Result<usize, u32> {
        let key = self.find(handle, path)?;
        Ok(self.handle(key))
    }

    /// Opens a key, made where it is not there yet with all that leads to it; says whether it was made.
    pub(crate) fn create(&mut self, handle: usize, path: &[u16], now: i64) -> Result<(usize, bool), u32> {
        let mut at = self.key(handle)?;
        let mut made = false;
        for step in Self::steps(path)? {
            let known = self.keys.get(&at).and_then(|key| key.keys.get(&folded(step)));
            at = match known {
                Some(&inner) => inner,
                None => {
                    made = true;
                    self.add(at, step, now)
                }
            };
        }
        Ok((self.handle(at), made))
    }

    fn add(&mut self, parent: u64, name: &[u16], now: i64) -> u64 {
        self.last_key += 1;
        let key = self.last_key;
        if let Some(parent) = self.keys.get_mut(&parent) {
            parent.keys.insert(folded(name), key);
            parent.changed = now;
        }
        self.keys.insert(key, Key { name: name.into(), parent, changed: now, ..Key::default() });
        key
    }

    /// Roots stay open.
    pub(crate) fn close(&mut self, handle: usize) -> Result<(), u32> {
        let root = ROOTS.contains(&(handle & 0xffff_ffff));
        if root || self.open.remove(&handle).is_some() { Ok(()) } else { Err(code::INVALID_HANDLE) }
    }

    /// Deletes a key that has none below it. Who has it open finds it deleted.
    pub(crate) fn delete(&mut self, handle: usize, path: &[u16], now: i64) -> Result<(), u32> {
        let key = self.find(handle, path)?;
        if key >= ROOT_KEYS || self.keys.get(&key).is_some_and(|key| !key.keys.is_empty()) {
            return Err(code::ACCESS_DENIED);
        }
        self.take_out(key, now);
        Ok(())
    }

    fn take_out(&mut self, key: u64, now: i64) {
        let Some(gone) = self.keys.remove(&key) else { return };
        if let Some(parent) = self.keys.get_mut(&gone.parent) {
            parent.keys.remove(&folded(&gone.name));
            parent.changed = now;
        }
    }

    /// Deletes a key with all that is below it; without a path, what is in the key only.
    pub(crate) fn delete_tree(&mut self, handle: usize, path: &[u16], now: i64) -> Result<(), u32> {
        let top = self.find(handle, path)?;
        let mut all = vec![top];
        let mut next = 0;
        while next < all.len() {
            all.extend(self.keys.get(&all[next]).into_iter().flat_map(|key| key.keys.values().copied()));
            next += 1;
        }
        let only_inside = path.is_empty() || top >= ROOT_KEYS;
        for key in all.into_iter().skip(only_inside.into()).rev() {
            self.take_out(key, now);
        }
        if let Some(top) = self.keys.get_mut(&top) {
            top.values.clear();
        }
        Ok(())
    }

    pub(crate) fn value(&mut self, handle: usize, name: &[u16]) -> Result<Value, u32> {
        self.at(handle)?.values.get(&folded(name)).cloned().ok_or(code::FILE_NOT_FOUND)
    }

    pub(crate) fn set(&mut self, handle: usize, value: Value, now: i64) -> Result<(), u32> {
        let key = self.at(handle)?;
        key.changed = now;
        key.values.insert(folded(&value.name), value);
        Ok(())
    }

    pub(crate) fn unset(&mut self, handle: usize, name: &[u16], now: i64) -> Result<(), u32> {
        let key = self.at(handle)?;
        key.values.remove(&folded(name)).ok_or(code::FILE_NOT_FOUND)?;
        key.changed = now;
        Ok(())
    }

    /// The n-th key in a key, by name, and when it was changed.
    pub(crate) fn nth_key(&mut self, handle: usize, n: usize) -> Result<Option<(Units, i64)>, u32> {
        let inner = self.at(handle)?.keys.values().nth(n).copied();
        let inner = inner.and_then(|key| self.keys.get(&key));
        Ok(inner.map(|key| (key.name.clone(), key.changed)))
    }

    /// The n-th value in a key, by name.
    pub(crate) fn nth_value(&mut self, handle: usize, n: usize) -> Result<Option<Value>, u32> {
        Ok(self.at(handle)?.values.values().nth(n).cloned())
    }

    pub(crate) fn summary(&mut self, handle: usize) -> Result<Summary, u32> {
        let key = self.at(handle)?;
        Ok(Summary {
            keys: key.keys.len(),
            longest_key: key.keys.keys().map(Vec::len).max().unwrap_or(0),
            values: key.values.len(),
            longest_name: key.values.keys().map(Vec::len).max().unwrap_or(0),
            longest_data: key.values.values().map(|value| value.data.len()).max().unwrap_or(0),
            changed: key.changed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::wide;

    const USER: usize = 0x8000_0001;

    fn value(name: &str, data: &[u8]) -> Value {
        Value { name: wide(name), kind: 3, data: data.into() }
    }

    #[test]
    fn keys_are_found_in_any_case_until_they_are_deleted() {
        let mut tree = Tree::default();
        let (inner, made) = tree.create(USER, &wide(r"Software\One\Two"), 1).unwrap();
        assert!(made && !tree.create(USER, &wide(r"SOFTWARE\one\TWO\"), 2).unwrap().1);
        assert_eq!(tree.open(USER, &wide("other")), Err(code::FILE_NOT_FOUND));
        assert_eq!(tree.open(USER, &wide(r"\Software")), Err(BAD_PATHNAME));
        assert_eq!(tree.open(USER, &[b'x'.into(); 256]), Err(code::INVALID_PARAMETER));
        assert_eq!(tree.open(4711, &[]), Err(code::INVALID_HANDLE));
        assert_eq!(tree.delete(USER, &wide(r"Software\One"), 3), Err(code::ACCESS_DENIED));
        tree.delete(USER, &wide(r"software\one\two"), 3).unwrap();
        assert_eq!(tree.value(inner, &[]), Err(KEY_DELETED));
        assert_eq!((tree.close(inner), tree.close(inner)), (Ok(()), Err(code::INVALID_HANDLE)));
        assert_eq!(tree.close(USER), Ok(()));
        assert_eq!(tree.delete(USER, &[], 3), Err(code::ACCESS_DENIED));
    }

    #[test]
    fn values_are_listed_by_name_and_counted() {
        let mut tree = Tree::default();
        for (name, data) in [("b", &b"12"[..]), ("A", b"1234"), ("", b"1")] {
            tree.set(USER, value(name, data), 7).unwrap();
        }
        tree.set(USER, value("B", b"123"), 8).unwrap();
        tree.create(USER, &wide("key"), 9).unwrap();
        let names: Vec<_> = (0..4)
            .map(|n| tree.nth_value(USER, n).unwrap().map(|v| String::from_utf16(&v.name).unwrap()))
            .collect();
        assert_eq!(names, [Some("".into()), Some("A".into()), Some("B".into()), None]);
        let expected =
            Summary { keys: 1, longest_key: 3, values: 3, longest_name: 1, longest_data: 4, changed: 9 };
        assert_eq!(tree.summary(USER), Ok(expected));
        assert_eq!(tree.nth_key(USER, 0), Ok(Some((wide("key"), 9))));
        assert_eq!(tree.nth_key(USER, 1), Ok(None));
        assert_eq!(
            (tree.unset(USER, &wide("a"), 9), tree.unset(USER, &wide("a"), 9)),
            (Ok(()), Err(code::FILE_NOT_FOUND))
        );
    }

    #[test]
    fn a_tree_goes_as_a_whole() {
        let mut tree = Tree::default();
        for path in [r"a\b\c", r"a\d", "e"] {
            tree.create(USER, &wide(path), 1).unwrap();
        }
        let (a, _) = tree.create(USER, &wide("a"), 1).unwrap();
        tree.set(a, value("v", b""), 1).unwrap();
        tree.delete_tree(a, &[], 2).unwrap();
        let kept = Summary { changed: 2, ..Summary::default() };
        assert_eq!(tree.summary(a), Ok(kept), "the key itself stays");
        tree.delete_tree(USER, &wide("a"), 3).unwrap();
        assert_eq!(tree.summary(a), Err(KEY_DELETED));
        assert_eq!(tree.summary(USER).unwrap().keys, 1);
    }
}
