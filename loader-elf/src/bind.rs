//! Fixups that need names. Each symbol is asked for once, however many places refer to it.

use crate::{
    exports::{Hashed, Tables},
    lazy::LazyTable,
    malformed,
    relocate::{Entry, Fixups, Rela},
    symbol::{Symbol, code},
};
use goblin::elf::reloc::*;
use loader_core::{
    Addr, ErrorKind, ImageMut, LinkAddr, MapPlan, Placement, Purpose, Query, Resolution, Resolve, Rivals,
    Rva, TlsHome, tls::descriptor,
};
use std::collections::BTreeMap;

/// The parts of an image that binding reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// The file.
    pub(crate) bytes: &'a [u8],
    /// Its symbols.
    pub(crate) tables: &'a Tables,
    /// Its relocations.
    pub(crate) fixups: &'a Fixups,
    /// Its layout.
    pub(crate) plan: &'a MapPlan,
}

impl<'a> Parts<'a> {
    /// What a reference to symbol number `index` asks for.
    pub(crate) fn query(&self, index: u32, symbol: &Symbol) -> Result<Query<'a>, ErrorKind> {
        Ok(Query {
            version: self.tables.version(self.bytes, index),
            weak: symbol.is_weak(),
            purpose: Purpose::Reference,
            ..self.tables.query(self.bytes, symbol)?
        })
    }

    /// Every name that binding will ask for, once.
    pub(crate) fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        let mut seen = vec![false; self.tables.count()];
        for r in self.fixups.other(self.bytes).filter(needs_a_name) {
            let symbol = self.tables.symbol(self.bytes, r.symbol)?;
            match seen.get_mut(r.symbol as usize) {
                Some(seen) if !*seen && !symbol.binds_to_itself() => *seen = true,
                _ => continue,
            }
            each(&self.query(r.symbol, &symbol)?);
        }
        Ok(())
    }

    /// Applies the relocations that need names and returns how many there were. Calls may wait until they are made,
    /// where the image has a table for it and whoever answers agrees.
    pub(crate) fn bind(
        self,
        mem: &mut ImageMut<'_>,
        lazy: Option<LazyTable>,
        resolve: Resolve<'_>,
    ) -> Result<usize, ErrorKind> {
        let lazy = lazy.and_then(|table| Some((table, resolve.lazy_calls()?)));
        lazy.map_or(Ok(()), |(table, calls)| table.prepare(mem, calls))?;
        let symbols = self.tables.hashed(self.bytes);
        let lazy = lazy.is_some();
        let (imports, others) = (vec![0; self.tables.imports()], BTreeMap::new());
        let mut binding = Binding { parts: self, mem, resolve, symbols, lazy, imports, others };
        let mut count = 0;
        for mut table in self.fixups.tables(self.bytes) {
            loop {
                let quick = binding.pointers(table);
                count += quick;
                let Some((entry, rest)) = table[quick..].split_first() else { break };
                table = rest;
                let r = Rela::read(entry);
                if !needs_a_name(&r) {
                    continue;
                }
                if !lazy || !self.postpone(&r, binding.mem)? {
                    binding.apply(&r)?;
                }
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Whether `relocate` has left it alone and there is something to do.
fn needs_a_name(r: &Rela) -> bool {
    !matches!(r.kind, R_X86_64_NONE | R_X86_64_RELATIVE | R_X86_64_RELATIVE64 | R_X86_64_IRELATIVE)
}

/// Whether a place gets the whole address of a symbol: nearly all do.
fn is_pointer(kind: u32) -> bool {
    matches!(kind, R_X86_64_64 | R_X86_64_GLOB_DAT | R_X86_64_JUMP_SLOT)
}

/// One image while it is bound.
struct Binding<'a, 'm, 'w, 'r> {
    parts: Parts<'a>,
    mem: &'m mut ImageMut<'w>,
    resolve: Resolve<'r>,
    /// The image's symbols, where they have hashes.
    symbols: Option<Hashed<'a>>,
    /// Whether calls may wait until they are made.
    lazy: bool,
    /// By symbol number, for those that only others can define: its address, or 0 where it is not known to have one.
    imports: Vec<u64>,
    /// What else was asked for.
    others: BTreeMap<u32, Resolution>,
}

/// The image's own definitions, found by number.
struct Own<'o> {
    symbols: Hashed<'o>,
    rivals: Rivals<'o>,
    plan: &'o MapPlan,
    at: Placement,
}

impl Own<'_> {
    /// Where a symbol is that this image exports and that nobody can have who comes before it: most are, and no name is
    /// looked at.
    #[inline]
    fn address(&self, index: u32) -> Option<u64> {
        let (symbol, hash) = self.symbols.get(index)?;
        let is_own = symbol.is_plain() && !self.rivals.may_have(hash);
        symbol.rva(self.plan).filter(|_| is_own).map(|rva| self.at.addr(rva).0)
    }
}

impl Binding<'_, '_, '_, '_> {
    /// Writes the first pointers of a table as long as they are to the image's own symbols or to others that were asked
    /// for, and returns how many that were. Most are, and nothing is called for one.
    fn pointers(&mut self, table: &[Entry]) -> usize {
        let (plan, at) = (self.parts.plan, self.mem.at);
        let own = self.symbols.zip(self.resolve.rivals());
        let own = own.map(|(symbols, rivals)| Own { symbols, rivals, plan, at });
        let address = |symbol: u32| match self.imports.get(symbol as usize) {
            Some(&address) => Some(address).filter(|&address| address != 0),
            None => own.as_ref()?.address(symbol),
        };
        let is_quick = |kind| is_pointer(kind) && !(self.lazy && kind == R_X86_64_JUMP_SLOT);
        let mut write = self.mem.writer();
        let mut rest = table;
        while let Some(first) = rest.first().map(Rela::read).filter(|r| is_quick(r.kind)) {
            let Some(address) = address(first.symbol) else { break };
            let mut done = |r: Rela| {
                let place = Rva(r.at.wrapping_sub(at.link_base.0));
                let alike = r.kind == first.kind && r.symbol == first.symbol;
                alike && write(place, address.wrapping_add(r.addend))
            };
            // Linkers sort by symbol.
            match rest.iter().position(|entry| !done(Rela::read(entry))) {
                Some(0) => break,
                Some(run) => rest = &rest[run..],
                None => rest = &[],
            }
        }
        table.len() - rest.len()
    }

    fn apply(&mut self, r: &Rela) -> Result<(), ErrorKind> {
        let at = Rva(r.at.wrapping_sub(self.mem.at.link_base.0));
        match r.kind {
            kind if is_pointer(kind) => self.pointer(r, at),
            R_X86_64_DTPMOD64 => match self.thread_local(r)? {
                Some((home, _)) => self.mem.write_u64(at, home.module_word()),
                None => Ok(()),
            },
            R_X86_64_DTPOFF64 => match self.thread_local(r)? {
                Some((_, offset)) => self.mem.write_u64(at, offset),
                None => Ok(()),
            },
            R_X86_64_TPOFF64 => match self.thread_local(r)? {
                Some((home, offset)) => {
                    let start = home.thread_pointer_offset()?;
                    self.mem.write_u64(at, offset.wrapping_add_signed(start))
                }
                None => Ok(()),
            },
            R_X86_64_TLSDESC => {
                let [function, argument] = match self.thread_local(r)? {
                    Some((home, offset)) => descriptor(Some(home), offset)?,
                    None => descriptor(None, r.addend)?,
                };
                self.mem.write_u64(at, function)?;
                self.mem.write_u64(Rva(at.0.wrapping_add(8)), argument)
            }
            R_X86_64_DTPOFF32 => match self.thread_local(r)? {
                Some((_, offset)) => self.narrow(at, offset, |v| i32::try_from(v as i64).ok()),
                None => Ok(()),
            },
            R_X86_64_PC64 => {
                let value = self.address(r)?.wrapping_sub(self.mem.at.addr(at).0);
                self.mem.write_u64(at, value)
            }
            R_X86_64_PC32 | R_X86_64_PLT32 => {
                let value = self.address(r)?.wrapping_sub(self.mem.at.addr(at).0);
                self.narrow(at, value, |v| i32::try_from(v as i64).ok())
            }
            R_X86_64_32 => {
                let value = self.address(r)?;
                self.narrow(at, value, |v| u32::try_from(v).ok().map(u32::cast_signed))
            }
            R_X86_64_32S => {
                let value = self.address(r)?;
                self.narrow(at, value, |v| i32::try_from(v as i64).ok())
            }
            R_X86_64_SIZE32 => {
                let value = self.size(r)?;
                self.narrow(at, value, |v| u32::try_from(v).ok().map(u32::cast_signed))
            }
            R_X86_64_SIZE64 => {
                let value = self.size(r)?;
                self.mem.write_u64(at, value)
            }
            R_X86_64_COPY => unsupported("copy relocation in a library", r.at),
            kind => unsupported("relocation type", kind.into()),
        }
    }

    /// The whole address of a symbol.
    fn pointer(&mut self, r: &Rela, at: Rva) -> Result<(), ErrorKind> {
        match self.answer(r.symbol)? {
            Resolution::At(a) => self.mem.write_u64(at, a.0.wrapping_add(r.addend)),
            Resolution::Absent => self.mem.write_u64(at, r.addend),
            Resolution::Resolver(f) => self.mem.late(at, f, r.addend),
            Resolution::Tls { .. } => Err(malformed("address of a thread-local variable", r.at)),
        }
    }

    /// The address of a symbol plus the addend, for places that are no whole pointers.
    fn address(&mut self, r: &Rela) -> Result<u64, ErrorKind> {
        match self.answer(r.symbol)? {
            Resolution::At(a) => Ok(a.0.wrapping_add(r.addend)),
            Resolution::Absent => Ok(r.addend),
            Resolution::Resolver(_) => unsupported("ifunc in a partial address", r.at),
            Resolution::Tls { .. } => Err(malformed("address of a thread-local variable", r.at)),
        }
    }

    fn narrow(&mut self, at: Rva, value: u64, fit: impl FnOnce(u64) -> Option<i32>) -> Result<(), ErrorKind> {
        let fitted = fit(value).ok_or(ErrorKind::Overflow { at, value })?;
        self.mem.write(at, fitted.to_le_bytes())
    }

    /// The block of a thread-local symbol, and the offset in it, addend included; `None` for a weak symbol that
    /// nobody defines.
    fn thread_local(&mut self, r: &Rela) -> Result<Option<(TlsHome, u64)>, ErrorKind> {
        let symbol = self.parts.tables.symbol(self.parts.bytes, r.symbol)?;
        let (home, offset) = if symbol.binds_to_itself() {
            (self.own_block(r.at)?, symbol.value)
        } else {
            match self.answer(r.symbol)? {
                Resolution::Tls { home, offset } => (home, offset),
                Resolution::Absent => return Ok(None),
                _ => return Err(malformed("TLS relocation against what is no TLS symbol", r.at)),
            }
        };
        Ok(Some((home, offset.wrapping_add(r.addend))))
    }

    fn own_block(&self, at: u64) -> Result<TlsHome, ErrorKind> {
        self.mem.tls.ok_or_else(|| malformed("TLS relocation without a TLS segment", at))
    }

    /// The length of what a symbol names, which only its own image knows.
    fn size(&self, r: &Rela) -> Result<u64, ErrorKind> {
        let symbol = self.parts.tables.symbol(self.parts.bytes, r.symbol)?;
        match symbol.binds_to_itself() || symbol.is_exported() {
            true => Ok(symbol.size.wrapping_add(r.addend)),
            false => unsupported("size of another library's symbol", r.at),
        }
    }

    /// What a symbol is. Asked once for each.
    fn answer(&mut self, index: u32) -> Result<Resolution, ErrorKind> {
        if let Some(&address @ 1..) = self.imports.get(index as usize) {
            return Ok(Resolution::At(Addr(address)));
        }
        if let Some(&known) = self.others.get(&index) {
            return Ok(known);
        }
        let answer = self.ask(index)?;
        match (answer, self.imports.get_mut(index as usize)) {
            (Resolution::At(Addr(address)), Some(place)) if address != 0 => *place = address,
            _ => drop(self.others.insert(index, answer)),
        }
        Ok(answer)
    }

    fn ask(&mut self, index: u32) -> Result<Resolution, ErrorKind> {
        let symbol = self.parts.tables.symbol(self.parts.bytes, index)?;
        if symbol.binds_to_itself() {
            return self.own(&symbol);
        }
        let query = self.parts.query(index, &symbol)?;
        self.resolve.resolve(&query).map_err(|e| self.linked_to(index, e))
    }

    /// Says of a version that nobody has which library had it when this one was linked.
    fn linked_to(&self, index: u32, error: ErrorKind) -> ErrorKind {
        match error {
            ErrorKind::Undefined { symbol, version, from: None } => {
                let file = self.parts.tables.version_file(self.parts.bytes, index);
                let from = file.map(|name| String::from_utf8_lossy(name).into());
                ErrorKind::Undefined { symbol, version, from }
            }
            other => other,
        }
    }

    /// Where a symbol is that this image defines for itself. Symbol 0 stands for the image.
    fn own(&self, symbol: &Symbol) -> Result<Resolution, ErrorKind> {
        if symbol.is_tls() {
            let home = self.own_block(symbol.value)?;
            return Ok(Resolution::Tls { home, offset: symbol.value });
        }
        if symbol.is_absolute() {
            return Ok(Resolution::At(Addr(symbol.value)));
        }
        let live = self.mem.at.moved(LinkAddr(symbol.value));
        match symbol.is_ifunc() {
            true => code(self.parts.plan, symbol.value).map(|_| Resolution::Resolver(live)),
            false => Ok(Resolution::At(live)),
        }
    }
}

fn unsupported<T>(what: &'static str, value: u64) -> Result<T, ErrorKind> {
    Err(ErrorKind::Unsupported { what, value })
}
