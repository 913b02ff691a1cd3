//! Reports of what means no good: files, records and stacks that say anything. What they say of well-meant ones is in the
//! suites, where code is run.

use super::{
    copies::Copies,
    image::Image,
    lines::{Bytes, Lines},
    module::{Files, Modules},
    record::{RSP, Record, state},
    *,
};
use gimli::{DwarfSections, LittleEndian, SectionId};
use loader_core::{Format, LinkAddr, Placement, maps::Maps};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};
use zerocopy::{FromZeros, IntoBytes};

const ELF: &[u8] = include_bytes!("../../../corpus/elf/fault-report/libfault-report.so");
const PE: &[u8] = include_bytes!("../../../corpus/pe/fault-report/fault-report.dll");

/// Where the module is.
const BASE: u64 = 0x10_0000;
/// Where `passes_on` is after its call, in the images (`nm`, `objdump`).
const IN_ELF: u64 = 0x101d;
const IN_PE: u64 = 0x1023;
const STACK_AT: u64 = 0x7000_0000;

/// A fault at a place in a module with these bytes. All of the stack points back there.
fn fault(bytes: &[u8], format: Format, offset: u64) -> Fault {
    let file = File::from(memfd_create("image", MemfdFlags::CLOEXEC).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    let at = Placement { link_base: LinkAddr(0), base: Addr(BASE), len: 0x10_0000 };
    let module = Module { name: "image".into(), path: None, format, at, rights: Vec::new() };
    let mut record = Record::new_box_zeroed().unwrap();
    record.state = state::COPIED;
    record.rip = BASE + offset;
    record.integers[RSP] = STACK_AT;
    (record.stack_at, record.stack_len) = (STACK_AT, 0x1000);
    for word in record.stack_bytes[..0x1000].as_chunks_mut::<8>().0 {
        *word = (BASE + offset).to_le_bytes();
    }
    let given = [(module.name.clone(), Arc::new(file))];
    let scene = Scene { process: None, modules: &[module], given: &given, events: &VecDeque::new() };
    of_signal(record, &scene)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Numbers that look random (xorshift64, Marsaglia 2003).
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn changed_files_end_in_a_report() {
    let mut seed = 1;
    for (image, format, offset) in [(ELF, Format::Elf, IN_ELF), (PE, Format::Pe, IN_PE)] {
        for _ in 0..200 {
            let mut bytes = image.to_vec();
            for _ in 0..1 + random(&mut seed) % 8 {
                let at = random(&mut seed) as usize % bytes.len();
                let interesting = [0, 1, 0x7f, 0x80, 0xff, random(&mut seed) as u8];
                bytes[at] = interesting[random(&mut seed) as usize % interesting.len()];
            }
            bytes.truncate(if random(&mut seed).is_multiple_of(8) {
                random(&mut seed) as usize % bytes.len()
            } else {
                bytes.len()
            });
            let report = fault(&bytes, format, offset).report();
            assert!(report.stack.frames.len() <= 64);
        }
    }
}

#[test]
fn any_bytes_are_a_record_or_none() {
    let mut seed = 2;
    let mut bytes = vec![0u8; Record::SIZE];
    assert!(Record::read(&bytes).is_none(), "nothing happened");
    for _ in 0..200 {
        bytes
            .chunks_mut(8)
            .for_each(|word| word.copy_from_slice(&random(&mut seed).to_ne_bytes()[..word.len()]));
        let Some(record) = Record::read(&bytes) else { continue };
        let scene = Scene { process: None, modules: &[], given: &[], events: &VecDeque::new() };
        let text = of_signal(record, &scene).report().to_string();
        assert!(text.len() < 1 << 16);
    }
    assert!(Record::read(&bytes[1..]).is_none(), "too short");
}

#[test]
fn what_was_copied_first_counts_and_numbers_may_cross_copies() {
    let mut record = Record::new_box_zeroed().unwrap();
    (record.stack_at, record.stack_len) = (0x1000, 12);
    record.stack_bytes.as_mut_bytes()[..12].copy_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
    (record.code_at, record.code_len) = (0x100c, 8);
    record.code_bytes.as_mut_bytes()[..8].fill(3);
    let copies = Copies::of(&record, &Maps::default(), None);
    assert_eq!(copies.word(0x1000), Some(1));
    assert_eq!(copies.word(0x1008), Some(0x0303_0303_0000_0002));
    assert_eq!((copies.word(0x1010), copies.word(u64::MAX - 3), copies.word(0)), (None, None, None));
}

#[test]
fn unwind_data_that_is_chained_to_itself_is_not_followed() {
    let place = |image: &Image<'_>| image.function(IN_PE).map(|function| function.is_some());
    assert_eq!(place(&Image::parse(PE, soon()).unwrap()), Some(true));
    // The unwind data of `passes_on`: its flags say that it is chained, and behind its codes is its own entry.
    let file = object::File::parse(PE).unwrap();
    let section = |name| object::Object::section_by_name(&file, name).unwrap();
    let range = |name| object::ObjectSection::file_range(&section(name)).unwrap().0 as usize;
    let (pdata, xdata) = (range(".pdata"), range(".xdata"));
    let xdata_rva = (object::ObjectSection::address(&section(".xdata"))
        - object::Object::relative_address_base(&file)) as u32;
    let entry = (pdata..).step_by(12).find(|&at| {
        let begin = u32::from_le_bytes(*PE[at..].first_chunk().unwrap());
        let end = u32::from_le_bytes(*PE[at + 4..].first_chunk().unwrap());
        (u64::from(begin)..u64::from(end)).contains(&IN_PE)
    });
    let entry = entry.unwrap();
    let mut bytes = PE.to_vec();
    let unwind = xdata + (u32::from_le_bytes(*PE[entry + 8..].first_chunk().unwrap()) - xdata_rva) as usize;
    bytes[unwind] |= 4 << 3; // UNW_FLAG_CHAININFO
    let behind = unwind + 4 + 2 * bytes[unwind + 2].next_multiple_of(2) as usize;
    bytes.copy_within(entry..entry + 12, behind);
    assert_eq!(place(&Image::parse(&bytes, soon()).unwrap()), None);
    assert_eq!(fault(&bytes, Format::Pe, IN_PE).report().stack.end, End::Lost);
}

#[test]
fn an_expression_that_jumps_back_is_not_evaluated() {
    // DW_CFA_def_cfa_offset and what follows in the entry of `passes_on` (`readelf --debug-dump=frames`) is written over:
    // DW_CFA_def_cfa_expression, 3 bytes: DW_OP_skip -3.
    let endless = [0x0f, 3, 0x2f, 0xfd, 0xff];
    let file = object::File::parse(ELF).unwrap();
    let section = object::Object::section_by_name(&file, ".eh_frame").unwrap();
    let (start, len) = object::ObjectSection::file_range(&section).unwrap();
    let frames = &ELF[start as usize..(start + len) as usize];
    // DW_CFA_advance_loc 4, DW_CFA_def_cfa_offset 48: the frame of `passes_on` is 0x28 bytes.
    let at = frames.windows(3).position(|bytes| bytes == [0x44, 0x0e, 0x30]).unwrap();
    let mut bytes = ELF.to_vec();
    let code = start as usize + at + 1;
    bytes[code..code + endless.len()].copy_from_slice(&endless);
    let stack = fault(&bytes, Format::Elf, IN_ELF).report().stack;
    assert_eq!((stack.frames.len(), stack.end), (1, End::Lost));
    assert!(fault(ELF, Format::Elf, IN_ELF).report().stack.frames.len() > 1, "as it was, it leads on");
}

#[test]
fn names_are_those_of_the_source_unless_they_have_no_end() {
    let name = |text: &str| place::readable(text.as_bytes());
    // The examples of the two mangling schemes.
    assert_eq!(name("_ZN9wikipedia7article6formatEv"), "wikipedia::article::format()");
    assert_eq!(name("_RNvC6_123foo3bar"), "123foo::bar");
    assert_eq!(name("deflate"), "deflate");
    assert_eq!(name("_Z"), "_Z");
    // Each substitution stands for two of the one before.
    let bomb = format!("_Z1fPFvvE{}", (0..30).map(|_| "PFS_S_S_E").collect::<String>());
    assert!(name(&bomb).len() <= 4096);
    let long = "_Z".to_string() + &"x".repeat(5000);
    assert!(long.starts_with(&name(&long)) && name(&long).len() <= 1025);
    assert_eq!(name("a\x1b[31m\nb"), "a\u{fffd}[31m\u{fffd}b", "and terminals are told nothing");
}

#[test]
fn modules_of_the_host_come_from_what_is_mapped() {
    let text = "55d0-55e0 r--p 00000000 08:01 77 /bin/x\n55e0-55f0 r-xp 00000010 08:01 77 /bin/x\n\
                7f00-7f10 rw-p 00000000 00:00 0 [stack]\nbad line\n8000-9000 r--p 0 0 9 /data\n";
    let maps = Maps::parse(text);
    assert_eq!(maps.0.len(), 4);
    assert_eq!((maps.runs(0x55e8), maps.runs(0x55d8)), (true, false));
    let files = Files::new(&[], &[], &maps);
    let modules = Modules::new(&files);
    assert_eq!(modules.names(0x55e8).0.unwrap().to_string(), "x+0x18");
    assert!(modules.find(0x8000).is_none(), "no code in it");
}

#[test]
fn units_that_share_what_is_long_are_given_up_in_time() {
    const UNITS: usize = 50_000;
    const KINDS: u64 = 20_000;
    // DWARF 4: length, version, abbreviations at 0, size of addresses, and a first entry of kind 1 (7.5.1.1).
    let unit = [8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 1];
    let info = unit.repeat(UNITS);
    // Number, DW_TAG_compile_unit, no children, no attributes (7.5.3).
    let kind = |n: u64| {
        let digits = [n & 0x7f | 0x80, n >> 7 & 0x7f | 0x80, n >> 14].map(|digit| digit as u8);
        [&digits[..], &[0x11, 0, 0, 0]].concat()
    };
    let kinds: Vec<u8> = (1..=KINDS).flat_map(kind).chain([0]).collect();
    let section = |id| {
        let bytes: &[u8] = match id {
            SectionId::DebugInfo => &info,
            SectionId::DebugAbbrev => &kinds,
            _ => &[],
        };
        Ok::<_, gimli::Error>(Bytes::new(bytes, LittleEndian))
    };
    let start = Instant::now();
    let patience = Duration::from_millis(100);
    let lines = Lines::new(DwarfSections::load(section).unwrap(), start + patience);
    let took = start.elapsed();
    assert!(
        (patience..50 * patience).contains(&took),
        "all of it would be {} steps: {took:?}",
        UNITS as u64 * KINDS
    );
    assert_eq!(lines.find(0x1000), None);
}
