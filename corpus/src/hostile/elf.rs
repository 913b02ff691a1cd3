//! ELF images with one thing wrong, in the order in which a loader meets it: header, segments, dynamic entries, names,
//! fixups, initialisers.

use super::{EITHER, Hostile, REFUSE, Row, row};
use crate::{Format, patch::Elf};
use object::{LittleEndian as LE, U16, U32, U64, elf::*, write};

/// Text, a table of pointers to it (RELATIVE), a GNU hash; needs nothing.
const PLAIN: &[u8] = include_bytes!("../../elf/demo/libdemodep.so");
/// An initialiser, a finaliser, an imported function; needs the C library.
const CALLS: &[u8] = include_bytes!("../../elf/chain/libchain4.so");
/// Pointers to its own and to another library's data.
const DATA: &[u8] = include_bytes!("../../elf/data-relocations/libdata.so");
const SYSV: &[u8] = include_bytes!("../../elf/sysv-hash/libsysv-hash.so");
const GNU: &[u8] = include_bytes!("../../elf/gnu-hash/libgnu-hash.so");
const RELR: &[u8] = include_bytes!("../../elf/relr/librelr.so");
const TLS: &[u8] = include_bytes!("../../elf/tls/libtlsdep.so");
/// Needs a version; defines versions.
const NEEDS_VERSION: &[u8] = include_bytes!("../../elf/versions/libversions-old.so");
const HAS_VERSIONS: &[u8] = include_bytes!("../../elf/versions/libversions.so");
const SONAME: &[u8] = include_bytes!("../../elf/runpath/below/librunpath-dep.so");
const IFUNC: &[u8] = include_bytes!("../../elf/ifunc/libifunc.so");

/// Beyond every image here, but no overflow in sight.
const FAR: u64 = 0x4000_0000;

pub(super) fn images() -> impl Iterator<Item = Hostile> {
    let changed = ROWS.iter().map(|row| {
        let mut image = Elf(row.base.to_vec());
        (row.change)(&mut image);
        (row.name, row.refuse, image.0, row.teaches)
    });
    let written = FOREIGN.iter().map(|&(name, architecture, endianness, kind, teaches)| {
        (name, REFUSE, foreign(architecture, endianness, kind), teaches)
    });
    changed.chain(written).map(|(name, refuse, bytes, teaches)| Hostile {
        name,
        teaches,
        bytes,
        format: Some(Format::Elf),
        refuse,
    })
}

#[rustfmt::skip]
const ROWS: &[Row<Elf>] = &[
    // The file header.
    row("elf-class-32", REFUSE, PLAIN, |e| e.header().e_ident.class = ELFCLASS32, "The header says 32 bits over 64-bit structures."),
    row("elf-class-unknown", REFUSE, PLAIN, |e| e.header().e_ident.class = FileClass(9), "The header says neither 32 nor 64 bits."),
    row("elf-big-endian", REFUSE, PLAIN, |e| e.header().e_ident.data = ELFDATA2MSB, "The header says big-endian over little-endian structures."),
    row("elf-ident-version", REFUSE, PLAIN, |e| e.header().e_ident.version = FileVersion(7), "A version of ELF that does not exist."),
    row("elf-machine-aarch64", REFUSE, PLAIN, |e| e.header().e_machine.set(LE, EM_AARCH64), "Code for another machine."),
    row("elf-type-exec", REFUSE, PLAIN, |e| e.header().e_type.set(LE, ET_EXEC), "A program with fixed addresses is not a library."),
    row("elf-type-core", REFUSE, PLAIN, |e| e.header().e_type.set(LE, ET_CORE), "A core dump is not a library."),
    row("elf-phentsize-32", REFUSE, PLAIN, |e| e.header().e_phentsize.set(LE, 32), "Program headers of the size of 32-bit ones."),
    row("elf-phentsize-0", REFUSE, PLAIN, |e| e.header().e_phentsize.set(LE, 0), "Program headers of no size."),
    row("elf-phnum-0", REFUSE, PLAIN, |e| e.header().e_phnum.set(LE, 0), "No program headers: nothing to load."),
    row("elf-phnum-65535", REFUSE, PLAIN, |e| e.header().e_phnum.set(LE, 0xffff), "More program headers than the file can hold; the number also means `look elsewhere`."),
    row("elf-phoff-outside", REFUSE, PLAIN, |e| e.header().e_phoff.set(LE, FAR), "Program headers beyond the end of the file."),
    row("elf-phoff-overflow", REFUSE, PLAIN, |e| e.header().e_phoff.set(LE, u64::MAX - 7), "The end of the program headers is beyond 2^64."),
    row("elf-shoff-outside", EITHER, PLAIN, |e| { e.header().e_shoff.set(LE, FAR); e.header().e_shnum.set(LE, 9) }, "Section headers beyond the end of the file, which no loader needs."),
    row("elf-entry-in-data", EITHER, PLAIN, |e| { let at = e.data_segment().p_vaddr.get(LE); e.header().e_entry.set(LE, at) }, "A library's entry point in its data: nobody calls it."),

    // Segments.
    row("elf-no-load", REFUSE, PLAIN, |e| for s in e.segments() { if s.p_type.get(LE) == PT_LOAD { s.p_type.set(LE, PT_NOTE) } }, "Nothing to load."),
    row("elf-load-past-end", REFUSE, PLAIN, |e| { let s = e.data_segment(); s.p_filesz.set(LE, 0x10_0000); s.p_memsz.set(LE, 0x10_0000) }, "A segment's bytes go on beyond the end of the file."),
    row("elf-load-offset-outside", REFUSE, PLAIN, |e| e.data_segment().p_offset.set(LE, FAR + 0xec0), "A segment's bytes begin beyond the end of the file."),
    row("elf-load-offset-overflow", REFUSE, PLAIN, |e| e.data_segment().p_offset.set(LE, u64::MAX - 0x13f), "A segment's bytes end beyond 2^64."),
    row("elf-load-filesz-over-memsz", REFUSE, PLAIN, |e| e.data_segment().p_memsz.set(LE, 8), "A segment has more bytes in the file than in memory."),
    row("elf-load-vaddr-top", REFUSE, PLAIN, |e| e.data_segment().p_vaddr.set(LE, 0xffff_ffff_ffff_fec0), "A segment's end is beyond 2^64."),
    row("elf-load-vaddr-kernel", REFUSE, PLAIN, |e| e.data_segment().p_vaddr.set(LE, 0xffff_8000_0000_0ec0), "A segment lies where no process has memory."),
    row("elf-load-memsz-top", REFUSE, PLAIN, |e| e.data_segment().p_memsz.set(LE, u64::MAX), "A segment is as large as the address space."),
    row("elf-load-memsz-64t", REFUSE, PLAIN, |e| e.data_segment().p_memsz.set(LE, 1 << 46), "A segment of 64 TiB."),
    row("elf-load-align-3", REFUSE, PLAIN, |e| e.data_segment().p_align.set(LE, 3), "An alignment that is no power of two."),
    row("elf-load-align-top", REFUSE, PLAIN, |e| e.data_segment().p_align.set(LE, 1 << 63), "An alignment that no address but 0 has."),
    row("elf-load-misaligned", REFUSE, PLAIN, |e| e.data_segment().p_offset.set(LE, 0x100), "Offset and address of a segment differ within the page."),
    row("elf-load-overlap", REFUSE, PLAIN, |e| { let s = e.data_segment(); s.p_vaddr.set(LE, 0); s.p_offset.set(LE, 0) }, "Two segments want the same addresses, with different rights."),
    row("elf-load-descending", EITHER, PLAIN, |e| { let at = e.segments().iter().position(|s| s.p_type.get(LE) == PT_LOAD).unwrap_or(0); e.segments().swap(at, at + 1) }, "Segments do not ascend, as the standard says that they do."),
    row("elf-load-writable-executable", EITHER, PLAIN, |e| e.segment(PT_LOAD).p_flags.set(LE, PF_R | PF_W | PF_X), "A segment that can be written and run."),
    row("elf-load-without-rights", EITHER, PLAIN, |e| e.segment(PT_LOAD).p_flags.set(LE, ProgramFlags(0)), "The segment with the tables cannot be read."),
    row("elf-relro-outside", EITHER, PLAIN, |e| e.segment(PT_GNU_RELRO).p_vaddr.set(LE, FAR), "What is to become read-only is outside the image."),
    row("elf-relro-overflow", EITHER, PLAIN, |e| e.segment(PT_GNU_RELRO).p_memsz.set(LE, u64::MAX - 0x100), "What is to become read-only ends beyond 2^64."),
    row("elf-tls-outside", REFUSE, TLS, |e| e.segment(PT_TLS).p_vaddr.set(LE, FAR), "The thread-local template is outside the image."),
    row("elf-tls-filesz-over-memsz", REFUSE, TLS, |e| e.segment(PT_TLS).p_filesz.set(LE, 0x80), "The thread-local template is larger than the block that it fills."),
    row("elf-tls-align-3", REFUSE, TLS, |e| e.segment(PT_TLS).p_align.set(LE, 3), "A thread-local alignment that is no power of two."),
    row("elf-tls-memsz-top", REFUSE, TLS, |e| e.segment(PT_TLS).p_memsz.set(LE, u64::MAX - 8), "A thread-local block as large as the address space."),
    row("elf-tls-vanished", REFUSE, TLS, |e| e.segment(PT_TLS).p_type.set(LE, PT_NOTE), "Thread-local relocations without a template."),

    // The dynamic segment and the strings.
    row("elf-no-dynamic", REFUSE, PLAIN, |e| e.segment(PT_DYNAMIC).p_type.set(LE, PT_NOTE), "No dynamic segment."),
    row("elf-dynamic-outside", REFUSE, PLAIN, |e| { let s = e.segment(PT_DYNAMIC); s.p_vaddr.set(LE, FAR); s.p_offset.set(LE, FAR) }, "The dynamic segment is outside the image."),
    row("elf-dynamic-unterminated", EITHER, PLAIN, |e| { let s = e.segment(PT_DYNAMIC); s.p_filesz.set(LE, 0x40); s.p_memsz.set(LE, 0x40) }, "The dynamic segment ends without a last entry."),
    row("elf-dynamic-misaligned", EITHER, PLAIN, |e| { let s = e.segment(PT_DYNAMIC); s.p_vaddr.set(LE, s.p_vaddr.get(LE) + 4); s.p_offset.set(LE, s.p_offset.get(LE) + 4) }, "The dynamic segment begins in the middle of a word."),
    row("elf-strtab-outside", REFUSE, CALLS, |e| e.set(DT_STRTAB, FAR), "The strings are outside the image."),
    row("elf-strtab-overflow", REFUSE, CALLS, |e| e.set(DT_STRTAB, u64::MAX - 3), "The strings end beyond 2^64."),
    row("elf-strsz-huge", REFUSE, CALLS, |e| e.set(DT_STRSZ, 1 << 40), "The strings are longer than the image."),
    row("elf-strtab-unterminated", EITHER, PLAIN, |e| { let size = e.dynamic(DT_STRSZ).d_val.get(LE); e.set(DT_STRSZ, size - 1) }, "The last string has no end."),
    row("elf-needed-outside", REFUSE, CALLS, |e| e.set(DT_NEEDED, FAR), "The name of what is needed is outside the strings."),
    row("elf-soname-outside", EITHER, SONAME, |e| e.set(DT_SONAME, FAR), "The library's own name is outside the strings."),
    row("elf-runpath-outside", EITHER, PLAIN, |e| e.set(DT_RUNPATH, FAR), "The search path is outside the strings."),
    row("elf-self-dependency", EITHER, SONAME, |e| { let name = e.dynamic(DT_SONAME).d_val; let d = e.dynamic(DT_RUNPATH); d.d_tag.set(LE, DT_NEEDED); d.d_val = name }, "A library that needs itself (librunpath-dep.so)."),
    row("elf-symtab-outside", REFUSE, CALLS, |e| e.set(DT_SYMTAB, FAR), "The symbols that relocations speak of are outside the image."),
    row("elf-syment-0", EITHER, CALLS, |e| e.set(DT_SYMENT, 0), "Symbols of no size."),

    // Hash tables and versions.
    row("elf-hash-missing", EITHER, GNU, |e| e.dynamic(DT_GNU_HASH).d_tag.set(LE, DT_DEBUG), "Symbols without a hash table: how many there are is nowhere said."),
    row("elf-gnu-hash-outside", EITHER, GNU, |e| e.set(DT_GNU_HASH, FAR), "The hash table is outside the image."),
    row("elf-gnu-hash-at-the-end", EITHER, GNU, |e| { let s = e.data_segment(); let end = s.p_vaddr.get(LE) + s.p_memsz.get(LE); e.set(DT_GNU_HASH, end - 8) }, "The hash table's own header leaves the image."),
    row("elf-gnu-hash-no-buckets", EITHER, GNU, |e| gnu(e).bucket_count.set(LE, 0), "No buckets: the hash modulo zero."),
    row("elf-gnu-hash-buckets-huge", EITHER, GNU, |e| gnu(e).bucket_count.set(LE, u32::MAX), "More buckets than the image has bytes."),
    row("elf-gnu-hash-no-bloom", EITHER, GNU, |e| gnu(e).bloom_count.set(LE, 0), "No Bloom filter words: the hash modulo zero."),
    row("elf-gnu-hash-bloom-huge", EITHER, GNU, |e| gnu(e).bloom_count.set(LE, 0x8000_0000), "More Bloom filter words than the image has bytes."),
    row("elf-gnu-hash-bloom-3", EITHER, GNU, |e| gnu(e).bloom_count.set(LE, 3), "A number of Bloom filter words that is no power of two."),
    row("elf-gnu-hash-shift-huge", EITHER, GNU, |e| gnu(e).bloom_shift.set(LE, 200), "A shift by more bits than there are."),
    row("elf-gnu-hash-base-huge", EITHER, GNU, |e| gnu(e).symbol_base.set(LE, u32::MAX), "The first hashed symbol is beyond all symbols."),
    row("elf-gnu-hash-bucket-outside", EITHER, GNU, |e| for_buckets(e, 0x7fff_ffff), "Every bucket begins beyond all symbols."),
    row("elf-gnu-hash-bucket-below-base", EITHER, GNU, |e| { gnu(e).symbol_base.set(LE, 5); for_buckets(e, 1) }, "Every bucket begins before the first hashed symbol."),
    row("elf-gnu-hash-chain-endless", EITHER, GNU, |e| for_chains(e, |link| link & !1), "No chain has an end."),
    row("elf-sysv-hash-outside", EITHER, SYSV, |e| e.set(DT_HASH, FAR), "The hash table is outside the image."),
    row("elf-sysv-hash-no-buckets", EITHER, SYSV, |e| sysv(e, 0).set(LE, 0), "No buckets: the hash modulo zero."),
    row("elf-sysv-hash-buckets-huge", EITHER, SYSV, |e| sysv(e, 0).set(LE, u32::MAX), "More buckets than the image has bytes."),
    row("elf-sysv-hash-chains-huge", EITHER, SYSV, |e| sysv(e, 1).set(LE, u32::MAX), "More chain links, and thereby symbols, than the image has bytes."),
    row("elf-sysv-hash-chain-cycle", EITHER, SYSV, |e| { let links = sysv(e, 0).get(LE) as usize + sysv(e, 1).get(LE) as usize; for i in 0..links { sysv(e, 2 + i).set(LE, 1) } }, "Every bucket and every link leads to the same symbol."),
    row("elf-sysv-hash-chain-outside", EITHER, SYSV, |e| { let links = sysv(e, 0).get(LE) as usize + sysv(e, 1).get(LE) as usize; for i in 0..links { sysv(e, 2 + i).set(LE, 0x7fff_ffff) } }, "Every bucket and every link leads beyond all symbols."),
    row("elf-symbol-name-outside", EITHER, GNU, |e| for i in 1..20 { symbol(e, i).st_name.set(LE, u32::MAX) }, "The names of symbols are outside the strings."),
    row("elf-symbol-value-outside", EITHER, GNU, |e| for i in 1..20 { symbol(e, i).st_value.set(LE, u64::MAX - 1) }, "Exports are outside the image."),
    row("elf-versym-outside", EITHER, HAS_VERSIONS, |e| e.set(DT_VERSYM, FAR), "The symbols' versions are outside the image."),
    row("elf-verdef-outside", EITHER, HAS_VERSIONS, |e| e.set(DT_VERDEF, FAR), "The definitions of versions are outside the image."),
    row("elf-verdef-count-huge", EITHER, HAS_VERSIONS, |e| e.set(DT_VERDEFNUM, u64::MAX), "More definitions of versions than the image has bytes."),
    row("elf-verdef-next-outside", EITHER, HAS_VERSIONS, |e| e.table::<Verdef<LE>>(DT_VERDEF, 0).vd_next.set(LE, u32::MAX), "The next definition of a version is outside the image."),
    row("elf-verdef-cycle", EITHER, HAS_VERSIONS, |e| { e.set(DT_VERDEFNUM, 1 << 40); e.table::<Verdef<LE>>(DT_VERDEF, 0).vd_next.set(LE, 0) }, "A definition of a version follows itself, very often."),
    row("elf-verneed-outside", EITHER, NEEDS_VERSION, |e| e.set(DT_VERNEED, FAR), "The needed versions are outside the image."),
    row("elf-verneed-cycle", EITHER, NEEDS_VERSION, |e| { e.set(DT_VERNEEDNUM, 1 << 40); verneed(e).vn_cnt.set(LE, 0xffff) }, "A needed version follows itself, very often."),
    row("elf-verneed-aux-outside", EITHER, NEEDS_VERSION, |e| verneed(e).vn_aux.set(LE, u32::MAX), "The name of a needed version is outside the image."),
    row("elf-verneed-file-outside", EITHER, NEEDS_VERSION, |e| verneed(e).vn_file.set(LE, u32::MAX), "The file that a version is needed from is outside the strings."),
    row("elf-version-unknown", EITHER, NEEDS_VERSION, |e| for i in 1..3 { e.table::<U16<LE>>(DT_VERSYM, i).set(LE, 0x7ffe) }, "Symbols have a version that nobody defines or needs."),

    // Relocations.
    row("elf-rela-outside", REFUSE, PLAIN, |e| e.set(DT_RELA, FAR), "The relocations are outside the image."),
    row("elf-rela-size-huge", REFUSE, PLAIN, |e| e.set(DT_RELASZ, u64::MAX - 15), "More relocations than the image has bytes."),
    row("elf-rela-size-odd", EITHER, PLAIN, |e| e.set(DT_RELASZ, 6 * 24 - 1), "The last relocation is cut off."),
    row("elf-rela-entry-23", REFUSE, PLAIN, |e| e.set(DT_RELAENT, 23), "Relocations of a size that they do not have."),
    row("elf-rela-entry-0", REFUSE, PLAIN, |e| e.set(DT_RELAENT, 0), "Relocations of no size."),
    row("elf-rela-count-huge", EITHER, PLAIN, |e| e.set(DT_RELACOUNT, u64::MAX), "More relative relocations than relocations."),
    row("elf-rela-count-lies", EITHER, DATA, |e| e.set(DT_RELACOUNT, 12), "Relocations that are not relative are counted as relative."),
    row("elf-rela-target-outside", REFUSE, PLAIN, |e| rela(e).r_offset.set(LE, FAR), "A relocation writes outside the image."),
    row("elf-rela-target-top", REFUSE, PLAIN, |e| rela(e).r_offset.set(LE, u64::MAX - 3), "A relocation writes beyond 2^64."),
    row("elf-rela-target-straddles", REFUSE, PLAIN, |e| { let s = e.data_segment(); s.p_memsz.set(LE, 0x1140); rela(e).r_offset.set(LE, 0x2ffc) }, "A relocation writes over the end of the image's last page."),
    row("elf-rela-target-in-text", EITHER, PLAIN, |e| rela(e).r_offset.set(LE, 0x290), "A relocation writes to code, and no DT_TEXTREL says so."),
    row("elf-rela-target-in-hole", EITHER, PLAIN, |e| { for s in e.segments() { if s.p_vaddr.get(LE) >= 0x1000 { s.p_vaddr.set(LE, s.p_vaddr.get(LE) + 0x10_0000) } } rela(e).r_offset.set(LE, 0x8_0000) }, "A relocation writes between two segments."),
    row("elf-rela-type-unknown", REFUSE, PLAIN, |e| rela(e).r_info.set(LE, 250), "A relocation of a kind that does not exist."),
    row("elf-rela-symbol-outside", REFUSE, DATA, |e| for i in 0..9 { let r: &mut Rela64<LE> = e.table(DT_RELA, i); let info = r.r_info.get(LE); if info >> 32 != 0 { r.r_info.set(LE, info | 0x7fff_ffff << 32) } }, "A relocation speaks of a symbol beyond all symbols."),
    row("elf-rela-copy", EITHER, DATA, |e| for i in 0..12 { let r: &mut Rela64<LE> = e.table(DT_RELA, i); let info = r.r_info.get(LE); if info as u32 == R_X86_64_64.0 { r.r_info.set(LE, info >> 32 << 32 | u64::from(R_X86_64_COPY.0)) } }, "A library asks for copies of another library's data, as only a program may."),
    row("elf-irelative-outside", REFUSE, IFUNC, |e| for i in 0..2 { let r: &mut Rela64<LE> = e.table(DT_RELA, i); r.r_info.set(LE, R_X86_64_IRELATIVE.0.into()); r.r_addend.set(LE, FAR as i64) }, "A resolver that is to be called is outside the image."),
    row("elf-jmprel-outside", REFUSE, CALLS, |e| e.set(DT_JMPREL, FAR), "The relocations of calls are outside the image."),
    row("elf-pltrel-rel", REFUSE, CALLS, |e| e.set(DT_PLTREL, DT_REL.0 as u64), "The relocations of calls are of the other shape, which this machine does not have."),
    row("elf-relr-outside", REFUSE, RELR, |e| e.set(DT_RELR, FAR), "The packed relocations are outside the image."),
    row("elf-relr-starts-with-bitmap", REFUSE, RELR, |e| e.table::<U64<LE>>(DT_RELR, 0).set(LE, u64::MAX), "A bitmap without an address before it."),
    row("elf-relr-target-outside", REFUSE, RELR, |e| e.table::<U64<LE>>(DT_RELR, 0).set(LE, FAR), "Packed relocations write outside the image."),
    row("elf-relr-target-top", REFUSE, RELR, |e| e.table::<U64<LE>>(DT_RELR, 0).set(LE, u64::MAX - 7), "Packed relocations write beyond 2^64."),
    row("elf-relr-size-odd", EITHER, RELR, |e| { let size = e.dynamic(DT_RELRSZ).d_val.get(LE); e.set(DT_RELRSZ, size - 3) }, "The last packed relocation is cut off."),
    row("elf-relr-entry-7", EITHER, RELR, |e| e.set(DT_RELRENT, 7), "Packed relocations of a size that they do not have."),

    // Initialisers and finalisers.
    row("elf-init-array-outside", REFUSE, CALLS, |e| e.set(DT_INIT_ARRAY, FAR), "The list of initialisers is outside the image."),
    row("elf-init-array-huge", REFUSE, CALLS, |e| e.set(DT_INIT_ARRAYSZ, u64::MAX - 7), "More initialisers than the image has bytes."),
    row("elf-init-array-size-odd", EITHER, CALLS, |e| e.set(DT_INIT_ARRAYSZ, 13), "The last initialiser is cut off."),
    row("elf-init-outside", REFUSE, CALLS, |e| { let d = e.dynamic(DT_RUNPATH); d.d_tag.set(LE, DT_INIT); d.d_val.set(LE, FAR) }, "The initialiser is outside the image."),
    row("elf-init-in-data", REFUSE, CALLS, |e| { let at = e.data_segment().p_vaddr; let d = e.dynamic(DT_RUNPATH); d.d_tag.set(LE, DT_INIT); d.d_val = at }, "The initialiser is in data, which cannot run."),
    row("elf-fini-array-outside", REFUSE, CALLS, |e| e.set(DT_FINI_ARRAY, FAR), "The list of finalisers is outside the image."),
];

fn gnu(e: &mut Elf) -> &mut GnuHashHeader<LE> {
    e.table(DT_GNU_HASH, 0)
}

/// The index, in words from the header's start, of the first bucket.
fn first_bucket(e: &mut Elf) -> usize {
    4 + 2 * gnu(e).bloom_count.get(LE) as usize
}

fn for_buckets(e: &mut Elf, value: u32) {
    let first = first_bucket(e);
    for i in 0..gnu(e).bucket_count.get(LE) as usize {
        e.table::<U32<LE>>(DT_GNU_HASH, first + i).set(LE, value);
    }
}

/// Changes all links, of which the case's library has 21.
fn for_chains(e: &mut Elf, change: fn(u32) -> u32) {
    let first = first_bucket(e) + gnu(e).bucket_count.get(LE) as usize;
    for i in 0..21 {
        let link: &mut U32<LE> = e.table(DT_GNU_HASH, first + i);
        link.set(LE, change(link.get(LE)));
    }
}

fn sysv(e: &mut Elf, word: usize) -> &mut U32<LE> {
    e.table(DT_HASH, word)
}

fn symbol(e: &mut Elf, index: usize) -> &mut Sym64<LE> {
    e.table(DT_SYMTAB, index)
}

fn verneed(e: &mut Elf) -> &mut Verneed<LE> {
    e.table(DT_VERNEED, 0)
}

fn rela(e: &mut Elf) -> &mut Rela64<LE> {
    e.table(DT_RELA, 0)
}

/// Images written from nothing: sound ones of their kind, but no kind that this machine loads.
#[rustfmt::skip]
const FOREIGN: &[(&str, object::Architecture, object::Endianness, FileType, &str)] = &[
    ("elf-object-file", object::Architecture::X86_64, object::Endianness::Little, ET_REL, "An object file that was never linked."),
    ("elf-i386", object::Architecture::I386, object::Endianness::Little, ET_DYN, "A 32-bit library, true to its header."),
    ("elf-x32", object::Architecture::X86_64_X32, object::Endianness::Little, ET_DYN, "A 32-bit library for this machine."),
    ("elf-s390x", object::Architecture::S390x, object::Endianness::Big, ET_DYN, "A big-endian library, true to its header."),
    ("elf-aarch64", object::Architecture::Aarch64, object::Endianness::Little, ET_DYN, "A 64-bit library for another machine."),
];

fn foreign(architecture: object::Architecture, endianness: object::Endianness, kind: FileType) -> Vec<u8> {
    let mut image = write::Object::new(object::BinaryFormat::Elf, architecture, endianness);
    let text = image.section_id(write::StandardSection::Text);
    image.append_section_data(text, &[0; 16], 16);
    let mut bytes = image.write().expect("an object file of one section can be written");
    let kind =
        if endianness == object::Endianness::Big { kind.0.to_be_bytes() } else { kind.0.to_le_bytes() };
    bytes[16..18].copy_from_slice(&kind); // e_type, in every class
    bytes
}
