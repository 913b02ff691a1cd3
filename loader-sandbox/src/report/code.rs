//! The instructions round the one that faulted.

use super::{copies::Copies, module::Modules};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use serde::Serialize;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is, as Intel writes it.
    pub text: String,
    /// It is the one that the thread was at.
    pub current: bool,
}

/// As many instructions are shown before the one that faulted, and after it.
const AROUND: usize = 6;
/// The longest instruction of the architecture, in bytes.
const LONGEST: usize = 15;
/// The instructions round `rip`; none where there is no code.
pub(super) fn around(rip: u64, modules: &Modules<'_>, copies: &Copies) -> Vec<Line> {
    let code = copies.from(rip);
    let mut lines = before(rip, modules, copies);
    lines.extend(decode(rip, code).take(AROUND + 1).map(|i| line(&i, rip, i.ip() - rip, code)));
    lines
}

/// The instructions before `rip`. Where one begins shows only from the front: from the function's first, or else from
/// the nearest place that leads to `rip`.
fn before(rip: u64, modules: &Modules<'_>, copies: &Copies) -> Vec<Line> {
    let near = rip.saturating_sub((AROUND * LONGEST) as u64);
    let starts = function(rip, modules).into_iter().chain(near..rip);
    let leads_to_rip = |start: u64| {
        let code = copies.from(start).get(..(rip - start) as usize)?;
        let found: Vec<_> = decode(start, code).collect();
        let valid = found.iter().all(|i| !i.is_invalid()) && found.last().is_some_and(|i| i.next_ip() == rip);
        let lines = found.iter().map(|i| line(i, rip, i.ip() - start, code));
        valid.then(|| lines.skip(found.len().saturating_sub(AROUND)).collect())
    };
    starts.filter(|start| *start < rip).find_map(leads_to_rip).unwrap_or_default()
}

/// Where the function begins that an address lies in.
fn function(at: u64, modules: &Modules<'_>) -> Option<u64> {
    let found = modules.find(at)?;
    let image = found.image?;
    let listed = image.start_of_function(found.offset);
    let start = listed.or_else(|| image.symbol(found.offset).map(|symbol| symbol.at))?;
    found.module.at.start.checked_add(start)
}

fn decode(at: u64, code: &[u8]) -> impl Iterator<Item = Instruction> + '_ {
    let mut decoder = Decoder::with_ip(64, code, at, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
}

fn line(instruction: &Instruction, rip: u64, from: u64, code: &[u8]) -> Line {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_small_hex_numbers_in_decimal(true);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    let from = from as usize;
    let bytes = code.get(from..from + instruction.len()).unwrap_or_default().into();
    Line { address: instruction.ip(), bytes, text, current: instruction.ip() == rip }
}
