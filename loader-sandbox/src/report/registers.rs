//! The registers, and what they point to.

use super::{
    module::{Modules, short},
    place::printable,
    record::Record,
};
use loader_core::maps::Maps;
use serde::Serialize;

/// A register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Register {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub value: u64,
    /// What it points to, where it points to something.
    pub points_to: Option<String>,
}

/// The names by number, then those of the rest.
const NAMES: [&str; 20] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip", "rflags", "fs", "gs",
];

/// All registers of a record.
pub(super) fn all(record: &Record, modules: &Modules<'_>, maps: &Maps) -> Vec<Register> {
    let rest = [record.rip, record.flags, record.fs, record.gs];
    let values = record.integers.into_iter().chain(rest);
    let stack = maps.find(record.rsp()).or_else(|| maps.above(record.rsp())).map(|m| m.at.clone());
    let points_to = |value: u64| {
        if stack.as_ref().is_some_and(|stack| stack.contains(&value)) {
            return Some("stack".into());
        }
        if let (Some(module), symbol) = modules.names(value) {
            let symbol = symbol.map(|symbol| format!(" ({symbol})")).unwrap_or_default();
            return Some(format!("{module}{symbol}"));
        }
        let mapping = maps.find(value)?;
        Some(match short(&mapping.name) {
            "" => format!("memory, {}", mapping.rights),
            name => format!("{}, {}", printable(name), mapping.rights),
        })
    };
    NAMES
        .into_iter()
        .zip(values)
        .map(|(name, value)| Register { name, value, points_to: points_to(value) })
        .collect()
}
