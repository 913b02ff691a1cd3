//! advapi32's functions of the registry: each process has one of its own, empty at first, for as long as it lives. They
//! answer with the error number itself and leave the last error alone.
#![allow(non_snake_case)]

pub(crate) mod tree;

use crate::{
    guest::Ptr,
    kernel32::{
        environment::expand,
        error::code,
        strings::{ansi, from_ansi},
        time::file_time,
    },
    lock, teb,
    text::{self, Text},
};
use std::sync::Mutex;
use tree::{Tree, Units, Value};

/// The registry of a process.
pub(crate) type Registry = Mutex<Tree>;

const SUCCESS: u32 = 0;
const MORE_DATA: u32 = 234;
const NO_MORE_ITEMS: u32 = 259;
const UNSUPPORTED_TYPE: u32 = 1630;

const REG_SZ: u32 = 1;
const REG_EXPAND_SZ: u32 = 2;
const REG_MULTI_SZ: u32 = 7;

fn is_text(kind: u32) -> bool {
    matches!(kind, REG_SZ | REG_EXPAND_SZ | REG_MULTI_SZ)
}

/// Does something to the registry of the calling code's process.
fn with<R>(f: impl FnOnce(&mut Tree) -> R) -> R {
    f(&mut lock(&teb::process().registry))
}

fn answer(result: Result<(), u32>) -> u32 {
    result.err().unwrap_or(SUCCESS)
}

fn units_of(bytes: &[u8]) -> Units {
    bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect()
}

/// A value's data as callers of this width see it: text is kept as the wide ones have it.
fn seen<T: Text>(value: &Value) -> Vec<u8> {
    match size_of::<T>() == 1 && is_text(value.kind) {
        true => ansi(&units_of(&value.data)),
        false => value.data.clone(),
    }
}

/// A value's data as it is kept.
fn kept<T: Text>(kind: u32, data: Vec<u8>) -> Vec<u8> {
    match size_of::<T>() == 1 && is_text(kind) {
        true => from_ansi(&data).iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        false => data,
    }
}

fn open<T: Text>(key: usize, path: Ptr<T>, out: Ptr<usize>) -> u32 {
    if out.is_null() {
        return code::INVALID_PARAMETER;
    }
    let path = T::units(path);
    answer(with(|tree| tree.open(key, &path)).map(|handle| out.set(handle)))
}

fn create<T: Text>(key: usize, path: Ptr<T>, out: Ptr<usize>, how: Ptr<u32>) -> u32 {
    const CREATED_NEW: u32 = 1;
    const OPENED: u32 = 2;
    if out.is_null() || path.is_null() {
        return code::INVALID_PARAMETER;
    }
    let path = T::units(path);
    answer(with(|tree| tree.create(key, &path, file_time())).map(|(handle, made)| {
        out.set(handle);
        how.put(if made { CREATED_NEW } else { OPENED });
    }))
}

/// Data goes where there is room for it; who brings none learns how long it is.
fn give(data: &[u8], to: Ptr<u8>, len: Ptr<u32>) -> Result<(), u32> {
    if len.is_null() {
        return if to.is_null() { Ok(()) } else { Err(code::INVALID_PARAMETER) };
    }
    let room = len.get() as usize;
    len.set(text::length(data.len()));
    match () {
        () if to.is_null() => Ok(()),
        () if room < data.len() => Err(MORE_DATA),
        () => {
            to.fill(data);
            Ok(())
        }
    }
}

fn query<T: Text>(key: usize, name: Ptr<T>, kind: Ptr<u32>, to: Ptr<u8>, len: Ptr<u32>) -> Result<(), u32> {
    if !to.is_null() && len.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let name = T::units(name);
    let value = with(|tree| tree.value(key, &name))?;
    kind.put(value.kind);
    give(&seen::<T>(&value), to, len)
}

fn set<T: Text>(key: usize, name: Ptr<T>, kind: u32, from: Ptr<u8>, len: u32) -> Result<(), u32> {
    if from.is_null() && len != 0 {
        return Err(code::NOACCESS);
    }
    // A zero that stands behind a text and was not counted is counted, as NT does it.
    let unit = size_of::<T>();
    let end = |at: usize| (at..at + unit).all(|n| from.at(n).get() == 0);
    let len = len as usize;
    let uncounted = is_text(kind) && len >= unit && !end(len - unit) && end(len);
    let data =
        if len == 0 { Vec::new() } else { from.slice(len + usize::from(uncounted) * unit).into_owned() };
    let value = Value { name: T::units(name), kind, data: kept::<T>(kind, data) };
    with(|tree| tree.set(key, value, file_time()))
}

/// A name and a zero into so many elements; the length without the zero is what comes back.
fn give_name<T: Text>(name: &[u16], to: Ptr<T>, len: Ptr<u32>) -> Result<(), u32> {
    if to.is_null() || len.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let name = T::of_units(name);
    if name.len() >= len.get() as usize {
        return Err(MORE_DATA);
    }
    to.fill(&name);
    to.at(name.len()).set(T::default());
    len.set(text::length(name.len()));
    Ok(())
}

/// No key has a class.
fn no_class<T: Text>(class: Ptr<T>, len: Ptr<u32>) {
    if !class.is_null() && !len.is_null() && len.get() > 0 {
        class.set(T::default());
    }
    len.put(0);
}

fn enumerate_keys<T: Text>(
    key: usize,
    n: u32,
    to: Ptr<T>,
    len: Ptr<u32>,
    class: (Ptr<T>, Ptr<u32>),
    changed: Ptr<i64>,
) -> Result<(), u32> {
    let (name, when) = with(|tree| tree.nth_key(key, n as usize))?.ok_or(NO_MORE_ITEMS)?;
    give_name(&name, to, len)?;
    no_class(class.0, class.1);
    changed.put(when);
    Ok(())
}

fn enumerate_values<T: Text>(
    key: usize,
    n: u32,
    name: (Ptr<T>, Ptr<u32>),
    kind: Ptr<u32>,
    data: (Ptr<u8>, Ptr<u32>),
) -> Result<(), u32> {
    if name.0.is_null() || name.1.is_null() || !data.0.is_null() && data.1.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let value = with(|tree| tree.nth_value(key, n as usize))?.ok_or(NO_MORE_ITEMS)?;
    give_name(&value.name, name.0, name.1)?;
    kind.put(value.kind);
    give(&seen::<T>(&value), data.0, data.1)
}

// What RegGetValue restricts values to, and what it is to do.
const RT_ANY: u32 = 0xffff;
const RT_REG_EXPAND_SZ: u32 = 4;
const NOEXPAND: u32 = 0x1000_0000;
const ZERO_ON_FAILURE: u32 = 0x2000_0000;

/// Whether a restriction lets a kind through: each of the usual ones has a bit.
fn lets_through(flags: u32, kind: u32) -> bool {
    // REG_NONE, REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_MULTI_SZ, REG_QWORD
    const BITS: [(u32, u32); 7] = [(0, 1), (1, 2), (2, 4), (3, 8), (4, 0x10), (7, 0x20), (11, 0x40)];
    let allowed = flags & RT_ANY;
    allowed == RT_ANY || BITS.iter().any(|&(k, bit)| k == kind && allowed & bit != 0)
}

fn get<T: Text>(
    key: usize,
    path: Ptr<T>,
    name: Ptr<T>,
    flags: u32,
    kind: Ptr<u32>,
    to: Ptr<u8>,
    len: Ptr<u32>,
) -> Result<(), u32> {
    let expands = flags & NOEXPAND == 0;
    let asks_for_what_is_expanded = flags & RT_REG_EXPAND_SZ != 0 && flags & RT_ANY != RT_ANY;
    if !to.is_null() && len.is_null() || expands && asks_for_what_is_expanded {
        return Err(code::INVALID_PARAMETER);
    }
    let (path, name) = (T::units(path), T::units(name));
    let mut value = with(|tree| {
        let inner = tree.open(key, &path)?;
        let value = tree.value(inner, &name);
        tree.close(inner).and(value)
    })?;
    if value.kind == REG_EXPAND_SZ && expands {
        let units = units_of(&value.data);
        let end = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
        let expanded = text::wide_z(&expand(&String::from_utf16_lossy(&units[..end])));
        value.data = expanded.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        value.kind = REG_SZ;
    }
    kind.put(value.kind);
    if !lets_through(flags, value.kind) {
        return Err(UNSUPPORTED_TYPE);
    }
    let missing = match value.kind {
        REG_SZ | REG_EXPAND_SZ => usize::from(!value.data.ends_with(&[0, 0])) * 2,
        _ => 0,
    };
    value.data.resize(value.data.len() + missing, 0); // texts that are given out so end in a zero
    let room = if len.is_null() { 0 } else { len.get() };
    give(&seen::<T>(&value), to, len).inspect_err(|_| {
        if flags & ZERO_ON_FAILURE != 0 && !to.is_null() && room > 0 {
            to.set(0);
        }
    })
}

/// What [`RegQueryInfoKeyW`] tells, in the order of its arguments.
#[derive(Clone, Copy)]
struct Told {
    keys: Ptr<u32>,
    longest_key: Ptr<u32>,
    longest_class: Ptr<u32>,
    values: Ptr<u32>,
    longest_name: Ptr<u32>,
    longest_data: Ptr<u32>,
    security: Ptr<u32>,
    changed: Ptr<i64>,
}

fn tell(key: usize, told: Told) -> Result<(), u32> {
    let summary = with(|tree| tree.summary(key))?;
    told.keys.put(text::length(summary.keys));
    told.longest_key.put(text::length(summary.longest_key));
    told.longest_class.put(0);
    told.values.put(text::length(summary.values));
    told.longest_name.put(text::length(summary.longest_name));
    told.longest_data.put(text::length(summary.longest_data));
    told.security.put(0);
    told.changed.put(summary.changed);
    Ok(())
}

// Each function is there for both widths of text.

extern "win64" fn RegOpenKeyEx<T: Text>(
    key: usize,
    path: Ptr<T>,
    _options: u32,
    _rights: u32,
    out: Ptr<usize>,
) -> u32 {
    open(key, path, out)
}

/// Without a path this gives the key itself.
extern "win64" fn RegOpenKey<T: Text>(key: usize, path: Ptr<T>, out: Ptr<usize>) -> u32 {
    open(key, path, out)
}

extern "win64" fn RegCreateKeyEx<T: Text>(
    key: usize,
    path: Ptr<T>,
    reserved: u32,
    _class: Ptr<T>,
    _options: u32,
    _rights: u32,
    _security: usize,
    out: Ptr<usize>,
    how: Ptr<u32>,
) -> u32 {
    if reserved == 0 { create(key, path, out, how) } else { code::INVALID_PARAMETER }
}

extern "win64" fn RegCreateKey<T: Text>(key: usize, path: Ptr<T>, out: Ptr<usize>) -> u32 {
    if path.is_null() { open(key, path, out) } else { create(key, path, out, Ptr::NULL) }
}

extern "win64" fn RegCloseKey(key: usize) -> u32 {
    answer(with(|tree| tree.close(key)))
}

/// All is where it is to be already.
extern "win64" fn RegFlushKey(key: usize) -> u32 {
    answer(with(|tree| tree.summary(key)).map(drop))
}

extern "win64" fn RegDeleteKey<T: Text>(key: usize, path: Ptr<T>) -> u32 {
    if path.is_null() {
        return code::INVALID_PARAMETER;
    }
    let path = T::units(path);
    answer(with(|tree| tree.delete(key, &path, file_time())))
}

extern "win64" fn RegDeleteKeyEx<T: Text>(key: usize, path: Ptr<T>, _rights: u32, reserved: u32) -> u32 {
    if reserved == 0 { RegDeleteKey(key, path) } else { code::INVALID_PARAMETER }
}

extern "win64" fn RegDeleteTree<T: Text>(key: usize, path: Ptr<T>) -> u32 {
    let path = T::units(path);
    answer(with(|tree| tree.delete_tree(key, &path, file_time())))
}

extern "win64" fn RegQueryValueEx<T: Text>(
    key: usize,
    name: Ptr<T>,
    reserved: usize,
    kind: Ptr<u32>,
    to: Ptr<u8>,
    len: Ptr<u32>,
) -> u32 {
    if reserved != 0 {
        return code::INVALID_PARAMETER;
    }
    answer(query(key, name, kind, to, len))
}

extern "win64" fn RegGetValue<T: Text>(
    key: usize,
    path: Ptr<T>,
    name: Ptr<T>,
    flags: u32,
    kind: Ptr<u32>,
    to: Ptr<u8>,
    len: Ptr<u32>,
) -> u32 {
    answer(get(key, path, name, flags, kind, to, len))
}

extern "win64" fn RegSetValueEx<T: Text>(
    key: usize,
    name: Ptr<T>,
    _reserved: u32,
    kind: u32,
    from: Ptr<u8>,
    len: u32,
) -> u32 {
    answer(set(key, name, kind, from, len))
}

extern "win64" fn RegDeleteValue<T: Text>(key: usize, name: Ptr<T>) -> u32 {
    let name = T::units(name);
    answer(with(|tree| tree.unset(key, &name, file_time())))
}

extern "win64" fn RegEnumKeyEx<T: Text>(
    key: usize,
    n: u32,
    to: Ptr<T>,
    len: Ptr<u32>,
    _reserved: usize,
    class: Ptr<T>,
    class_len: Ptr<u32>,
    changed: Ptr<i64>,
) -> u32 {
    answer(enumerate_keys(key, n, to, len, (class, class_len), changed))
}

extern "win64" fn RegEnumValue<T: Text>(
    key: usize,
    n: u32,
    name: Ptr<T>,
    name_len: Ptr<u32>,
    _reserved: usize,
    kind: Ptr<u32>,
    to: Ptr<u8>,
    len: Ptr<u32>,
) -> u32 {
    answer(enumerate_values(key, n, (name, name_len), kind, (to, len)))
}

extern "win64" fn RegQueryInfoKey<T: Text>(
    key: usize,
    class: Ptr<T>,
    class_len: Ptr<u32>,
    _reserved: usize,
    keys: Ptr<u32>,
    longest_key: Ptr<u32>,
    longest_class: Ptr<u32>,
    values: Ptr<u32>,
    longest_name: Ptr<u32>,
    longest_data: Ptr<u32>,
    security: Ptr<u32>,
    changed: Ptr<i64>,
) -> u32 {
    let told =
        Told { keys, longest_key, longest_class, values, longest_name, longest_data, security, changed };
    answer(tell(key, told).map(|()| no_class(class, class_len)))
}

table! {
    /// The registry, in advapi32.
    pub(crate) TABLE:
        RegOpenKeyExW = RegOpenKeyEx::<u16>, RegOpenKeyExA = RegOpenKeyEx::<u8>, RegOpenKeyW = RegOpenKey::<u16>,
        RegOpenKeyA = RegOpenKey::<u8>, RegCreateKeyExW = RegCreateKeyEx::<u16>, RegCreateKeyExA = RegCreateKeyEx::<u8>,
        RegCreateKeyW = RegCreateKey::<u16>, RegCreateKeyA = RegCreateKey::<u8>, RegCloseKey, RegFlushKey,
        RegDeleteKeyW = RegDeleteKey::<u16>, RegDeleteKeyA = RegDeleteKey::<u8>, RegDeleteKeyExW = RegDeleteKeyEx::<u16>,
        RegDeleteKeyExA = RegDeleteKeyEx::<u8>, RegDeleteTreeW = RegDeleteTree::<u16>, RegDeleteTreeA = RegDeleteTree::<u8>,
        RegQueryValueExW = RegQueryValueEx::<u16>, RegQueryValueExA = RegQueryValueEx::<u8>, RegGetValueW = RegGetValue::<u16>,
        RegGetValueA = RegGetValue::<u8>, RegSetValueExW = RegSetValueEx::<u16>, RegSetValueExA = RegSetValueEx::<u8>,
        RegDeleteValueW = RegDeleteValue::<u16>, RegDeleteValueA = RegDeleteValue::<u8>, RegEnumKeyExW = RegEnumKeyEx::<u16>,
        RegEnumKeyExA = RegEnumKeyEx::<u8>, RegEnumValueW = RegEnumValue::<u16>, RegEnumValueA = RegEnumValue::<u8>,
        RegQueryInfoKeyW = RegQueryInfoKey::<u16>, RegQueryInfoKeyA = RegQueryInfoKey::<u8>
}
