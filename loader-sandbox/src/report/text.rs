//! A report for people.

use super::{Instruction, Place, Register, Report};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        writeln!(f, "    at {}", self.place)?;
        heading(f, "code", &self.code)?;
        self.code.iter().try_for_each(|line| instruction(f, line, &self.place))?;
        heading(f, "registers", &self.registers)?;
        self.registers.iter().try_for_each(|each| register(f, each))?;
        heading(f, "stack", &self.stack.frames)?;
        self.frames(f)?;
        heading(f, "last events", &self.events)?;
        self.events.iter().try_for_each(|event| writeln!(f, "    {event}"))
    }
}

impl Report {
    /// The frames; what calls itself over and over is shown once.
    fn frames(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut number = 0;
        for run in self.stack.frames.chunk_by(|a, b| a.address == b.address) {
            let times = if run.len() > 1 { format!("  ({} times)", run.len()) } else { String::new() };
            writeln!(f, "    #{number:<3} {}{times}", run[0])?;
            number += run.len();
        }
        writeln!(f, "         {}", self.stack.end)
    }
}

fn heading<T>(f: &mut fmt::Formatter<'_>, title: &str, of: &[T]) -> fmt::Result {
    if of.is_empty() { Ok(()) } else { writeln!(f, "{title}") }
}

fn instruction(f: &mut fmt::Formatter<'_>, line: &Instruction, place: &Place) -> fmt::Result {
    let mark = if line.current { "=>" } else { "  " };
    let at = match &place.module {
        Some(module) => module.offset.wrapping_add(line.address.wrapping_sub(place.address)),
        None => line.address,
    };
    let bytes: Vec<String> = line.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let target = line.target.as_deref().map(|target| format!("  ; {target}")).unwrap_or_default();
    writeln!(f, " {mark} {at:#8x}  {:<30}  {}{target}", bytes.join(" "), line.text)
}

fn register(f: &mut fmt::Formatter<'_>, register: &Register) -> fmt::Result {
    let points_to = register.points_to.as_deref().map(|to| format!("  {to}")).unwrap_or_default();
    writeln!(f, "    {:<6}  {:#018x}{points_to}", register.name, register.value)
}
