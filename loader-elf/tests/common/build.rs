//! Writes a small library for any machine, to order: one writable segment with every table in it, then a page of data.

use std::ops::Range;

/// The link-time address of the image.
pub const LINK: u64 = 0x1_0000;
/// The link-time address of its page of data.
pub const DATA: u64 = LINK + 0x1000;
/// Where the thread-local block's initial bytes are.
const TLS: Range<u64> = DATA + 0xf00..DATA + 0x1000;

/// A relocation; with an addend of its own, or with the one in its place.
#[derive(Clone, Copy)]
pub struct Entry {
    pub at: u64,
    pub kind: u32,
    pub symbol: u32,
    pub addend: Option<i64>,
}

/// A global symbol; `section` 0 is nobody's.
#[derive(Clone, Copy)]
pub struct Sym {
    pub name: &'static str,
    pub kind: u8,
    pub section: u16,
    pub value: u64,
    pub size: u64,
}

/// What the library is to have.
#[derive(Clone, Default)]
pub struct Library {
    pub machine: u16,
    /// Words of eight bytes, else of four.
    pub wide: bool,
    /// Counted from 1.
    pub symbols: Vec<Sym>,
    pub relocations: Vec<Entry>,
    pub packed: Vec<u64>,
    /// What is in the data, by link-time address.
    pub words: Vec<(u64, u64)>,
}

impl Library {
    fn word(&self, out: &mut Vec<u8>, value: u64) {
        match self.wide {
            true => out.extend(value.to_le_bytes()),
            false => out.extend((value as u32).to_le_bytes()),
        }
    }

    fn words(&self, values: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        values.iter().for_each(|&v| self.word(&mut out, v));
        out
    }

    fn by_class(&self, wide: u64, narrow: u64) -> u64 {
        if self.wide { wide } else { narrow }
    }

    fn header(&self) -> Vec<u8> {
        let mut out = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(self.wide), 1, 1];
        out.resize(16, 0);
        out.extend(3u16.to_le_bytes()); // ET_DYN
        out.extend(self.machine.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        let header = self.by_class(64, 52);
        [0, header, 0].iter().for_each(|&v| self.word(&mut out, v));
        out.extend(0u32.to_le_bytes());
        for half in [header as u16, self.by_class(56, 32) as u16, 3, 0, 0, 0] {
            out.extend(half.to_le_bytes());
        }
        out
    }

    /// A program header of a readable and writable segment, at the same place in the file as in the image.
    fn segment(&self, kind: u32, at: Range<u64>, align: u64) -> Vec<u8> {
        let mut out = kind.to_le_bytes().to_vec();
        let flags = 6u32.to_le_bytes();
        if self.wide {
            out.extend(flags);
        }
        let len = at.end - at.start;
        [at.start - LINK, at.start, at.start, len, len].iter().for_each(|&v| self.word(&mut out, v));
        if !self.wide {
            out.extend(flags);
        }
        self.word(&mut out, align);
        out
    }

    fn symbol(&self, name: u32, s: &Sym) -> Vec<u8> {
        let mut out = name.to_le_bytes().to_vec();
        let numbers = self.words(&[s.value, s.size]);
        let [low, high] = s.section.to_le_bytes();
        let rest = [1 << 4 | s.kind, 0, low, high]; // STB_GLOBAL, STV_DEFAULT
        match self.wide {
            true => out.extend([&rest[..], &numbers].concat()),
            false => out.extend([&numbers[..], &rest].concat()),
        }
        out
    }

    /// The symbol table, then the strings.
    fn names(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut symbols, mut strings) = (vec![0; self.by_class(24, 16) as usize], vec![0]);
        for s in &self.symbols {
            symbols.extend(self.symbol(strings.len() as u32, s));
            strings.extend([s.name.as_bytes(), &[0]].concat());
        }
        (symbols, strings)
    }

    /// The relocations with addends of their own, or the others.
    fn table(&self, addends: bool) -> Vec<u8> {
        let entry = |e: &Entry| {
            let info = self.by_class(
                u64::from(e.symbol) << 32 | u64::from(e.kind),
                u64::from(e.symbol << 8 | e.kind & 0xff),
            );
            match e.addend {
                Some(addend) => self.words(&[e.at, info, addend.cast_unsigned()]),
                None => self.words(&[e.at, info]),
            }
        };
        self.relocations.iter().filter(|e| e.addend.is_some() == addends).flat_map(entry).collect()
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = self.header();
        file.extend(self.segment(1, LINK..DATA + 0x1000, 0x1000)); // PT_LOAD
        file.extend(self.segment(2, LINK + 0x200..LINK + 0x400, 8)); // PT_DYNAMIC
        file.extend(self.segment(7, TLS, 16)); // PT_TLS
        file.resize(0x400, 0);
        let mut put = |table: Vec<u8>| {
            let at = LINK + file.len() as u64;
            file.extend(&table);
            file.resize(file.len().next_multiple_of(8), 0);
            (at, table.len() as u64)
        };
        let (symbols, strings) = self.names();
        let (symbols, strings) = (put(symbols), put(strings));
        let (rel, rela) = (put(self.table(false)), put(self.table(true)));
        let relr = put(self.words(&self.packed));
        assert!(file.len() <= 0x1000, "the tables fit before the data");
        file.resize(0x2000, 0);
        let width = self.by_class(8, 4);
        let entry = self.by_class(24, 16);
        let mut dynamic = vec![5, strings.0, 10, strings.1, 6, symbols.0, 11, entry]; // DT_STRTAB … DT_SYMENT
        // DT_REL, DT_RELA and DT_RELR, with what belongs to each.
        for (tags, (at, len), entry) in
            [([17, 18, 19], rel, 2 * width), ([7, 8, 9], rela, 3 * width), ([36, 35, 37], relr, width)]
        {
            if len != 0 {
                dynamic.extend([tags[0], at, tags[1], len, tags[2], entry]);
            }
        }
        dynamic.extend([0, 0]); // DT_NULL
        let dynamic = self.words(&dynamic);
        file[0x200..][..dynamic.len()].copy_from_slice(&dynamic);
        for &(at, value) in &self.words {
            let word = self.words(&[value]);
            file[(at - LINK) as usize..][..word.len()].copy_from_slice(&word);
        }
        file
    }
}
