//! The instructions round the one that faulted.

use super::{carefully, copies::Copies, module::Modules};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use serde::Serialize;
use std::ops::Range;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is, as Intel writes it.
    pub text: String,
    /// What is at the address that it names.
    pub target: Option<String>,
    /// It is the one that the thread was at.
    pub current: bool,
}

/// As many instructions are shown before the one that faulted, and after it.
const AROUND: usize = 6;
/// The longest instruction of the architecture, in bytes.
const LONGEST: usize = 15;

/// The instructions round `rip`, of the same function; none where there is no code.
pub(super) fn around(rip: u64, modules: &Modules<'_>, copies: &Copies) -> Vec<Line> {
    let function = function(rip, modules);
    let end = function.as_ref().map_or(u64::MAX, |function| function.end);
    let ahead = decode(rip, copies.from(rip)).take_while(|i| i.ip() < end).take(AROUND + 1);
    let behind = before(rip, function, copies);
    let line = |instruction: &Instruction| line(instruction, rip, modules, copies);
    behind.iter().chain(&ahead.collect::<Vec<_>>()).map(line).collect()
}

/// The instructions before `rip`. Where one begins shows only from the front: from the function's first, or else from
/// the nearest place that leads to `rip`.
fn before(rip: u64, function: Option<Range<u64>>, copies: &Copies) -> Vec<Instruction> {
    let near = rip.saturating_sub((AROUND * LONGEST) as u64);
    let starts = function.map(|function| function.start).into_iter().chain(near..rip);
    let leads_to_rip = |start: u64| {
        let code = copies.from(start).get(..usize::try_from(rip - start).ok()?)?;
        let mut found: Vec<_> = decode(start, code).collect();
        let valid = found.iter().all(|i| !i.is_invalid()) && found.last().is_some_and(|i| i.next_ip() == rip);
        valid.then(|| found.split_off(found.len().saturating_sub(AROUND)))
    };
    starts.filter(|start| *start < rip).find_map(leads_to_rip).unwrap_or_default()
}

/// The bounds of the function that an address lies in.
fn function(at: u64, modules: &Modules<'_>) -> Option<Range<u64>> {
    let found = modules.find(at)?;
    let bounds = carefully(|| found.image?.bounds(found.offset))?;
    let base = found.module.at.start;
    Some(base.checked_add(bounds.start)?..base.saturating_add(bounds.end))
}

fn decode(at: u64, code: &[u8]) -> impl Iterator<Item = Instruction> + '_ {
    let mut decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
}

fn line(instruction: &Instruction, rip: u64, modules: &Modules<'_>, copies: &Copies) -> Line {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    let named = match instruction {
        i if i.is_ip_rel_memory_operand() => i.ip_rel_memory_address(),
        i => i.near_branch_target(), // 0 where it is none
    };
    Line {
        address: instruction.ip(),
        bytes: copies.from(instruction.ip()).iter().take(instruction.len()).copied().collect(),
        text,
        target: modules.names(named).1.map(|symbol| symbol.to_string()),
        current: instruction.ip() == rip,
    }
}
