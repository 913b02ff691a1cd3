//! Fixups that need names, for images of other machines. Each symbol is asked for once.

use super::{
    exports::Tables,
    machine::{Fixup, Machine, Named, TlsWord, Word},
    relocate::{Fixups, addend, place},
};
use crate::{malformed, symbol::Symbol};
use goblin::elf::Reloc;
use loader_core::{Addr, ErrorKind, ImageMut, LinkAddr, Purpose, Query, Resolution, Resolve, Rva, TlsHome};

/// The parts of an image that binding reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// The file.
    pub(crate) bytes: &'a [u8],
    /// What its relocations mean.
    pub(crate) machine: Machine,
    /// Its symbols.
    pub(crate) tables: &'a Tables,
    /// Its relocations.
    pub(crate) fixups: &'a Fixups,
}

impl<'a> Parts<'a> {
    /// What a reference to symbol number `index` asks for.
    fn query(&self, index: usize, symbol: &Symbol) -> Result<Query<'a>, ErrorKind> {
        Ok(Query {
            version: self.tables.version(self.bytes, index),
            weak: symbol.is_weak(),
            purpose: Purpose::Reference,
            ..self.tables.query(self.bytes, symbol)?
        })
    }

    /// The relocations that `relocate` has left alone, and what they mean.
    fn named(&self) -> impl Iterator<Item = Result<(Reloc, Named), ErrorKind>> + use<'a> {
        let machine = self.machine;
        self.fixups.all(self.bytes).filter_map(move |r| match machine.fixup(r.r_type) {
            Some(Fixup::None | Fixup::Relative) => None,
            Some(Fixup::Named(named)) => Some(Ok((r, named))),
            None => Some(unsupported("relocation type", r.r_type.into())),
        })
    }

    /// Every name that binding will ask for, once.
    pub(crate) fn imports(&self, each: &mut dyn FnMut(&Query<'_>)) -> Result<(), ErrorKind> {
        let mut seen = vec![false; self.tables.count()];
        for named in self.named() {
            let (r, _) = named?;
            let symbol = self.tables.symbol(self.bytes, r.r_sym)?;
            match seen.get_mut(r.r_sym) {
                Some(seen) if !*seen && !symbol.binds_to_itself() => *seen = true,
                _ => continue,
            }
            each(&self.query(r.r_sym, &symbol)?);
        }
        Ok(())
    }

    /// Applies the relocations that need names and returns how many there were.
    pub(crate) fn bind(self, mem: &mut ImageMut<'_>, resolve: Resolve<'_>) -> Result<usize, ErrorKind> {
        let answers = vec![None; self.tables.count()];
        let mut binding = Binding { word: self.machine.word(), parts: self, mem, resolve, answers };
        let mut count = 0;
        for named in self.named() {
            let (r, named) = named?;
            binding.apply(&r, named)?;
            count += 1;
        }
        Ok(count)
    }
}

/// One image while it is bound.
struct Binding<'a, 'm, 'w, 'r> {
    word: Word,
    parts: Parts<'a>,
    mem: &'m mut ImageMut<'w>,
    resolve: Resolve<'r>,
    /// By symbol number.
    answers: Vec<Option<Resolution>>,
}

impl Binding<'_, '_, '_, '_> {
    fn apply(&mut self, r: &Reloc, named: Named) -> Result<(), ErrorKind> {
        let at = place(r, self.mem);
        let value = match named {
            Named::Refused(what) => return unsupported(what, r.r_offset),
            Named::Slot => self.address(r, at)?.wrapping_add(r.r_addend.unwrap_or(0).cast_unsigned()),
            Named::Address => self.address(r, at)?.wrapping_add(self.addend(r, at)?),
            Named::Distance => {
                let here = self.mem.at.addr(at).0;
                self.address(r, at)?.wrapping_add(self.addend(r, at)?).wrapping_sub(here)
            }
            Named::Size => self.size(r)?.wrapping_add(self.addend(r, at)?),
            Named::ThreadLocal(word) => match self.thread_local(r)? {
                Some(variable) => self.thread_local_word(r, at, word, variable)?,
                None => return Ok(()), // weak, and nobody defines it
            },
        };
        self.word.write(self.mem, at, value)
    }

    fn addend(&mut self, r: &Reloc, at: Rva) -> Result<u64, ErrorKind> {
        addend(self.word, r, at, self.mem)
    }

    /// The address of a symbol; 0 for a weak one that nobody defines.
    fn address(&mut self, r: &Reloc, at: Rva) -> Result<u64, ErrorKind> {
        match self.answer(r.r_sym)? {
            Resolution::At(a) => self.word.fit(at, a.0),
            Resolution::Absent => Ok(0),
            Resolution::Resolver(f) => unsupported("ifunc of another machine", f.0),
            Resolution::Tls { .. } => Err(malformed("address of a thread-local variable", r.r_offset)),
        }
    }

    /// The length of what a symbol names, which only its own image knows.
    fn size(&self, r: &Reloc) -> Result<u64, ErrorKind> {
        let symbol = self.parts.tables.symbol(self.parts.bytes, r.r_sym)?;
        match symbol.binds_to_itself() || symbol.is_exported() {
            true => Ok(symbol.size),
            false => unsupported("size of another library's symbol", r.r_offset),
        }
    }

    /// What `word` is for the variable at `offset` in the block `home`.
    fn thread_local_word(
        &mut self,
        r: &Reloc,
        at: Rva,
        word: TlsWord,
        (home, offset): (TlsHome, u64),
    ) -> Result<u64, ErrorKind> {
        let distance = || {
            let start = self.word.fit_signed(at, thread_pointer_offset(home)?)?;
            Ok(start.wrapping_add(offset))
        };
        Ok(match word {
            TlsWord::Module => self.word.fit(at, module(home))?,
            TlsWord::Offset => {
                offset.wrapping_add(self.addend(r, at)?).wrapping_sub(self.parts.machine.tls_bias())
            }
            TlsWord::ThreadPointer => distance()?.wrapping_add(self.addend(r, at)?),
            TlsWord::BelowThreadPointer => {
                let distance = distance()?;
                self.addend(r, at)?.wrapping_sub(distance)
            }
        })
    }

    /// The block of a thread-local symbol, and the offset in it; `None` for a weak symbol that nobody defines.
    fn thread_local(&mut self, r: &Reloc) -> Result<Option<(TlsHome, u64)>, ErrorKind> {
        let symbol = self.parts.tables.symbol(self.parts.bytes, r.r_sym)?;
        if symbol.binds_to_itself() {
            return Ok(Some((self.own_block(r.r_offset)?, symbol.value)));
        }
        match self.answer(r.r_sym)? {
            Resolution::Tls { home, offset } => Ok(Some((home, offset))),
            Resolution::Absent => Ok(None),
            Resolution::At(_) | Resolution::Resolver(_) => {
                Err(malformed("TLS relocation against what is no TLS symbol", r.r_offset))
            }
        }
    }

    fn own_block(&self, at: u64) -> Result<TlsHome, ErrorKind> {
        self.mem.tls.ok_or_else(|| malformed("TLS relocation without a TLS segment", at))
    }

    /// Where a symbol is. Asked once for each.
    fn answer(&mut self, index: usize) -> Result<Resolution, ErrorKind> {
        if let Some(&Some(answer)) = self.answers.get(index) {
            return Ok(answer);
        }
        let symbol = self.parts.tables.symbol(self.parts.bytes, index)?;
        let answer = match symbol.binds_to_itself() {
            true => self.own(&symbol)?,
            false => self.resolve.resolve(&self.parts.query(index, &symbol)?)?,
        };
        self.answers[index] = Some(answer); // `symbol` would not have found a number without a place
        Ok(answer)
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
        let live = Addr(self.word.wrap(self.mem.at.moved(LinkAddr(symbol.value)).0));
        Ok(match symbol.is_ifunc() {
            true => Resolution::Resolver(live),
            false => Resolution::At(live),
        })
    }
}

/// The number of a block's TLS module, counted from 1 as the ABIs do. There is nobody here who would have to tell
/// this engine's modules from the system's.
fn module(home: TlsHome) -> u64 {
    match home {
        TlsHome::Slot(n) => u64::from(n) + 1,
        TlsHome::Host { module, .. } => module,
    }
}

/// How far the start of a block is from the thread pointer, where that is the same in every thread.
fn thread_pointer_offset(home: TlsHome) -> Result<i64, ErrorKind> {
    match home {
        TlsHome::Host { thread_pointer_offset: Some(n), .. } => Ok(n),
        home => unsupported("static TLS (initial-exec) of a block without a fixed place", module(home)),
    }
}

fn unsupported<T>(what: &'static str, value: u64) -> Result<T, ErrorKind> {
    Err(ErrorKind::Unsupported { what, value })
}
