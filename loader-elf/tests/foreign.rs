//! Libraries for other machines: what they become at a pretended base, compared with arithmetic and with what `object`
//! reads of their relocations. The images are those of `corpus/foreign`, some built here to order, and those of the
//! cross compilers' packages where these are installed.

#[path = "common/abi.rs"]
mod abi;
#[path = "common/build.rs"]
mod build;
mod common;

use abi::{Library as Reading, Machine, Target};
use build::{DATA, Entry, LINK, Library, Sym};
use common::{STATIC, Window};
use loader_core::{
    Addr, ErrorKind, Export, Found, Image, LoadSet, Locator, MapPlan, Mode, Need, Origin, Query, Request,
    Requester, Resolution, Rights, Rules, Rva, Source, Stage, SymbolName, TlsHome,
    call::Dry,
    space::{AddressSpace, Backing, Block, Flat},
};
use loader_elf::{ElfImage, ForeignImage, parse_any};
use object::{Object, ObjectSymbol, elf};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

/// Where another library's thread-local block is.
const ELSEWHERE: TlsHome = TlsHome::Host { module: 9, thread_pointer_offset: Some(640) };

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/foreign")
}

fn file(machine: Machine, name: &str) -> Vec<u8> {
    let path = corpus().join(machine.folder()).join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(bytes: &[u8]) -> Result<(Arc<Source>, Arc<ForeignImage>), ErrorKind> {
    let source = Arc::new(Source::owned(bytes));
    let image = ForeignImage::parse(&source)?;
    Ok((source, image))
}

/// Eight bytes of the image, or the last four.
fn read(window: &Window, at: u64) -> [u8; 8] {
    let [a, b, c, d] = window.chunk(at);
    let [.., e, f, g, h] = match window.end() - at {
        4 => [0; 8],
        _ => window.chunk::<8>(at),
    };
    [a, b, c, d, e, f, g, h]
}

/// Plain buffers side by side; what they hold when they are sealed is kept.
#[derive(Clone, Debug)]
struct SideBySide {
    next: Arc<Mutex<Addr>>,
    sealed: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

#[derive(Debug)]
struct Kept {
    block: Box<dyn Block>,
    /// The address of the window.
    window: u64,
    sealed: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

impl SideBySide {
    fn from(base: Addr) -> Self {
        Self { next: Arc::new(Mutex::new(base)), sealed: Arc::default() }
    }

    fn read(&self, at: u64) -> [u8; 8] {
        let sealed = self.sealed.lock().expect("no panic");
        let (start, bytes) = sealed.range(..=at).next_back().expect("a window below");
        let mut word = [0; 8];
        let from = &bytes[(at - start) as usize..];
        let len = from.len().min(8);
        word[..len].copy_from_slice(&from[..len]);
        word
    }
}

impl AddressSpace for SideBySide {
    fn place(&self, plan: &MapPlan, from: Backing<'_>) -> Result<Box<dyn Block>, ErrorKind> {
        let mut next = self.next.lock().expect("no panic");
        let block = Flat::at(*next).place(plan, from)?;
        let window = next.0 + plan.window().start.0;
        *next = Addr(next.0 + plan.len().get() + 0x5000); // a distance that no two libraries have from each other
        Ok(Box::new(Kept { block, window, sealed: self.sealed.clone() }))
    }
}

impl Block for Kept {
    fn base(&self) -> Addr {
        self.block.base()
    }
    fn window(&mut self) -> &mut [u8] {
        self.block.window()
    }
    fn patch(&mut self, at: Rva, value: u64) -> Result<(), ErrorKind> {
        self.block.patch(at, value)
    }
    fn protect(&mut self, at: Range<Rva>, rights: Rights) -> Result<(), ErrorKind> {
        let bytes = self.block.window().to_vec();
        self.sealed.lock().expect("no panic").insert(self.window, bytes);
        self.block.protect(at, rights)
    }
}

/// The libraries of one machine, by name.
struct Folder(Machine);

impl Locator for Folder {
    fn locate(&self, need: &Need, _: &Requester<'_>, _: &mut dyn FnMut(&Path)) -> Result<Found, ErrorKind> {
        Ok(Found::Bytes(Arc::new(Source::owned(file(self.0, &need.name)))))
    }
    fn parse(&self, source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
        parse_any(source)
    }
}

fn open(name: &str) -> Request<'_> {
    Request {
        need: Need { name: name.into(), key: name.into(), reexported: false },
        source: None,
        mode: Mode::default(),
        rules: Rules::default(),
        origin: Origin::Open,
        by: None,
    }
}

#[test]
fn a_load_set_binds_the_libraries_of_each_machine_to_each_other() {
    for machine in Machine::ALL {
        let space = SideBySide::from(machine.base());
        let set = LoadSet::new(space.clone(), Arc::new(Dry), Folder(machine));
        let handle = set.open(&open("libuser.so")).unwrap_or_else(|e| panic!("{machine:?}: {e}"));
        let modules = set.modules();
        let names: Vec<_> = modules.iter().map(|m| &*m.name).collect();
        assert_eq!(names, ["libuser.so", "libprovider.so"], "{machine:?}");
        let files: Vec<_> = names.iter().map(|name| file(machine, name)).collect();
        let read = |(n, file): (usize, _)| Reading::read(machine, file, n, 0, modules[n].at.base);
        let libraries: Vec<_> = files.iter().map(Vec::as_slice).enumerate().map(read).collect();
        let find = |name: &str| libraries.iter().find_map(|l| l.export(name)).unwrap_or(Target::Absent);
        let mut numbers = BTreeMap::new();
        for library in &libraries {
            let word = |at| machine.read(space.read(library.base.0 + at));
            let seen = library.compare(word, find);
            assert!(seen.words > 3, "{machine:?}: {seen:?}");
            for (owner, number) in seen.modules {
                assert_eq!(
                    *numbers.entry(owner).or_insert(number),
                    number,
                    "{machine:?}: one module, one number"
                );
            }
        }
        let [user, provider] = [numbers[&0], numbers[&1]];
        assert!(user != provider && user != 0 && provider != 0, "{machine:?}: {numbers:?}");

        let at = |name: &str| match set.symbol(handle, &Query::name(name.as_bytes())) {
            Ok(found) => found.at.0,
            Err(e) => panic!("{machine:?}: {e}"),
        };
        let holds = |name: &str| machine.read(space.read(at(name)));
        let width = if machine.wide() { 8 } else { 4 };
        assert_eq!(holds("user_number"), at("provided_numbers") + 8, "{machine:?}: int 2 of the array");
        assert_eq!(holds("user_function"), at("provided_function"), "{machine:?}");
        assert_eq!(holds("user_missing"), 0, "{machine:?}");
        assert_eq!(space.read(holds("user_own"))[..4], 2i32.to_le_bytes(), "{machine:?}");
        assert_eq!(space.read(holds("provider_hidden"))[..4], 9i32.to_le_bytes(), "{machine:?}");
        assert_eq!(holds("provider_pointers"), at("provided_numbers") + 4, "{machine:?}");
        let second = machine.read(space.read(at("provider_pointers") + width));
        assert_eq!(second, at("provided_numbers") + 12, "{machine:?}");
        assert_eq!(set.close(handle).map(|closed| closed.gone.len()), Ok(2), "{machine:?}");
    }
}

#[test]
fn a_load_that_fails_says_where_and_why_and_leaves_nothing() {
    for machine in [Machine::I386, Machine::Arm] {
        let set = LoadSet::new(SideBySide::from(Addr(0xffff_f000)), Arc::new(Dry), Folder(machine));
        let error = set.open(&open("libuser.so")).expect_err("it ends beyond 32 bits");
        assert_eq!((&*error.module, error.stage), ("libuser.so", Stage::Relocate), "{machine:?}");
        assert!(matches!(error.kind, ErrorKind::Overflow { value: 0x1_0000_0000.., .. }), "{error}");
        assert!(set.modules().is_empty(), "{machine:?}");
    }
    for (machine, pointer) in Machine::ALL.into_iter().zip([1, 2, 257, 2]) {
        let library = Library {
            symbols: vec![undefined("there")],
            relocations: vec![entry(DATA, pointer, 1, Some(0))],
            ..of(machine)
        };
        let set = LoadSet::new(SideBySide::from(machine.base()), Arc::new(Dry), Folder(machine));
        let request = Request { source: Some(Arc::new(Source::owned(library.bytes()))), ..open("built") };
        let error = set.open(&request).expect_err("nobody has it");
        assert_eq!((&*error.module, error.stage), ("built", Stage::Bind), "{machine:?}");
        let symbol = SymbolName::Name((*b"there").into());
        assert_eq!(error.kind, ErrorKind::Undefined { symbol, version: None, from: None }, "{machine:?}");
        assert!(set.modules().is_empty(), "{machine:?}");
    }
}

#[test]
fn variables_at_a_fixed_distance_from_the_thread_pointer_are_where_the_abi_says() {
    for machine in Machine::ALL {
        let bytes = file(machine, "libfixed.so");
        let (source, image) = parse(&bytes).expect("a library");
        let mut window = Window::at(machine.base(), &*image, &source);
        image.relocate(&mut window.open()).expect("relocations");
        let provided = Resolution::Tls { home: ELSEWHERE, offset: 16 };
        let count = image.bind(&mut window.open(), &mut |_: &Query<'_>| Ok(provided)).expect("bindings");
        let reading = Reading::read(machine, &bytes, 0, -4096, machine.base());
        let find = |_: &str| Target::Tls { owner: 1, start: 640, offset: 16 };
        let seen = reading.compare(|at| machine.read(read(&window, at)), find);
        assert_eq!((seen.words, count), (2, 2), "{machine:?}");
        let moving = Resolution::Tls { home: TlsHome::Slot(3), offset: 0 };
        let refused = image.bind(&mut window.open(), &mut |_: &Query<'_>| Ok(moving));
        assert!(matches!(refused, Err(ErrorKind::Unsupported { value: 4, .. })), "{machine:?}: {refused:?}");
    }
}

#[test]
fn every_export_is_found_where_object_says_by_either_hash_and_by_none() {
    for machine in Machine::ALL {
        for name in ["libprovider.so", "libuser.so", "libfixed.so"] {
            let bytes = file(machine, name);
            let (_, image) = parse(&bytes).expect("a library");
            assert_eq!(image.own_name(), Some(name));
            let object = object::File::parse(&*bytes).expect("object reads it");
            let mut exports = 0;
            for s in object.dynamic_symbols().filter(|s| !s.is_undefined() && s.is_global()) {
                let query = Query::name(s.name_bytes().expect("a name"));
                let wanted = match s.kind() {
                    object::SymbolKind::Tls => Export::Tls { offset: s.address() },
                    _ => Export::At(Rva(s.address())),
                };
                assert_eq!(image.export(&query), Ok(Some(wanted)), "{machine:?} {name} {:?}", s.name());
                exports += 1;
            }
            assert!(exports > 1, "{machine:?} {name}");
            for absent in ["nobody_has_this", "", "provided_numbersX", "provided_function\0"] {
                assert_eq!(image.export(&Query::name(absent.as_bytes())), Ok(None), "{machine:?} {absent}");
            }
        }
        let built = Library { symbols: vec![variable("here", DATA + 8), undefined("there")], ..of(machine) };
        let (_, image) = parse(&built.bytes()).expect("a library without a hash");
        assert_eq!(image.export(&Query::name(b"here")), Ok(Some(Export::At(Rva(DATA + 8 - LINK)))));
        assert_eq!(image.export(&Query::name(b"there")), Ok(None));
    }
}

fn of(machine: Machine) -> Library {
    Library { machine: machine.number(), wide: machine.wide(), ..Library::default() }
}

fn variable(name: &'static str, value: u64) -> Sym {
    Sym { name, kind: elf::STT_OBJECT.0, section: 1, value, size: 12 }
}

fn undefined(name: &'static str) -> Sym {
    Sym { name, kind: elf::STT_NOTYPE.0, section: 0, value: 0, size: 0 }
}

fn entry(at: u64, kind: u32, symbol: u32, addend: Option<i64>) -> Entry {
    Entry { at, kind, symbol, addend }
}

/// Relocates and binds a library that was built to order, at `base`.
fn fix(library: &Library, base: Addr, answer: Resolution) -> Result<Window, ErrorKind> {
    let (source, image) = parse(&library.bytes())?;
    let mut window = Window::at(base, &*image, &source);
    image.relocate(&mut window.open())?;
    image.bind(&mut window.open(), &mut |_: &Query<'_>| Ok(answer))?;
    Ok(window)
}

/// As [`fix`]; the words of data that the relocations are for.
fn words(machine: Machine, library: &Library, answer: Resolution) -> Vec<u64> {
    let window = fix(library, machine.base(), answer).unwrap_or_else(|e| panic!("{machine:?}: {e}"));
    library.relocations.iter().map(|r| machine.read(read(&window, r.at))).collect()
}

#[test]
fn kinds_that_compilers_seldom_ask_for_come_to_what_the_abi_says() {
    let there = 0x9000_0000;
    let place = |machine: Machine, n: u64| machine.base().0 + (DATA - LINK) + n;
    // S + A - P, the length of a symbol plus A, and A less a distance from the thread pointer.
    let i386 = Library {
        symbols: vec![undefined("there"), variable("here", DATA)],
        relocations: vec![
            entry(DATA, elf::R_386_PC32.0, 1, None),
            entry(DATA + 4, elf::R_386_SIZE32.0, 2, None),
            entry(DATA + 8, elf::R_386_PC32.0, 1, Some(-4)),
            entry(DATA + 12, elf::R_386_32.0, 1, Some(-1)),
        ],
        words: vec![(DATA, 0xffff_fffc), (DATA + 4, 100), (DATA + 8, 0x1234)],
        ..of(Machine::I386)
    };
    let distance = |n| (there as u32).wrapping_sub(4).wrapping_sub(place(Machine::I386, n) as u32).into();
    assert_eq!(
        words(Machine::I386, &i386, Resolution::At(Addr(there))),
        [distance(0), 112, distance(8), there - 1],
        "an addend in the place, or in the relocation whatever is in the place"
    );
    let below = Library {
        symbols: vec![undefined("there")],
        relocations: vec![
            entry(DATA, elf::R_386_TLS_TPOFF32.0, 1, None),
            entry(DATA + 4, elf::R_386_TLS_TPOFF.0, 1, None),
        ],
        words: vec![(DATA, 4), (DATA + 4, 4)],
        ..of(Machine::I386)
    };
    let variable = Resolution::Tls { home: STATIC, offset: 16 };
    let (up, down) = (4 + 4096 - 16, (4i32 - 4096 + 16).cast_unsigned().into());
    assert_eq!(words(Machine::I386, &below, variable), [up, down]);
    let arm = Library {
        symbols: vec![undefined("there")],
        relocations: vec![entry(DATA, elf::R_ARM_REL32.0, 1, None)],
        words: vec![(DATA, 8)],
        ..of(Machine::Arm)
    };
    let distance = (there as u32).wrapping_add(8).wrapping_sub(place(Machine::Arm, 0) as u32);
    assert_eq!(words(Machine::Arm, &arm, Resolution::At(Addr(there))), [distance.into()]);
}

#[test]
fn an_image_may_go_below_its_link_time_address() {
    for (machine, relative, pointer) in [
        (Machine::I386, elf::R_386_RELATIVE.0, elf::R_386_32.0),
        (Machine::Arm, elf::R_ARM_RELATIVE.0, elf::R_ARM_ABS32.0),
        (Machine::Aarch64, elf::R_AARCH64_RELATIVE.0, elf::R_AARCH64_ABS64.0),
        (Machine::Riscv64, elf::R_RISCV_RELATIVE.0, elf::R_RISCV_64.0),
    ] {
        let library = Library {
            // Symbol 0 is the image itself.
            relocations: vec![
                entry(DATA, relative, 0, Some(DATA.cast_signed())),
                entry(DATA + 8, pointer, 0, Some(DATA.cast_signed())),
            ],
            ..of(machine)
        };
        let below = Addr(0x3000);
        let window = fix(&library, below, Resolution::Absent).unwrap_or_else(|e| panic!("{machine:?}: {e}"));
        for at in [DATA, DATA + 8] {
            assert_eq!(machine.read(read(&window, at)), below.0 + DATA - LINK, "{machine:?}");
        }
    }
}

#[test]
fn what_lazy_binding_begins_with_is_no_addend() {
    for (machine, kind) in [(Machine::I386, elf::R_386_JMP_SLOT.0), (Machine::Arm, elf::R_ARM_JUMP_SLOT.0)] {
        let library = Library {
            symbols: vec![undefined("there")],
            relocations: vec![entry(DATA, kind, 1, None)],
            words: vec![(DATA, 0x1006)],
            ..of(machine)
        };
        assert_eq!(words(machine, &library, Resolution::At(Addr(0x1234_5678))), [0x1234_5678]);
    }
}

#[test]
fn packed_relocations_reach_as_many_words_as_a_word_has_bits() {
    for machine in Machine::ALL {
        let width: u64 = if machine.wide() { 8 } else { 4 };
        let bits = width * 8 - 1;
        // A place, the first and the last word of one bitmap, and the first of the next.
        let places = [0, 1, bits, bits + 1].map(|n| DATA + n * width);
        let all_but = DATA + 2 * width;
        let library = Library {
            packed: vec![DATA, 1 | 1 << 1 | 1 << bits, 1 | 1 << 1],
            words: places.iter().chain([&all_but]).map(|&at| (at, at)).collect(),
            ..of(machine)
        };
        let window = fix(&library, machine.base(), Resolution::Absent).expect("packed relocations");
        for at in places {
            assert_eq!(machine.read(read(&window, at)), machine.base().0 + at - LINK, "{machine:?} {at:#x}");
        }
        assert_eq!(machine.read(read(&window, all_but)), all_but, "{machine:?}: not named, not moved");
    }
}

#[test]
fn what_does_not_fit_a_32_bit_word_is_refused() {
    for (machine, pointer, module, thread) in [
        (Machine::I386, elf::R_386_32.0, elf::R_386_TLS_DTPMOD32.0, elf::R_386_TLS_TPOFF.0),
        (Machine::Arm, elf::R_ARM_ABS32.0, elf::R_ARM_TLS_DTPMOD32.0, elf::R_ARM_TLS_TPOFF32.0),
    ] {
        let with = |kind| Library {
            symbols: vec![undefined("there")],
            relocations: vec![entry(DATA, kind, 1, None)],
            ..of(machine)
        };
        let overflow = |library: &Library, base: u64, answer| match fix(library, Addr(base), answer) {
            Err(ErrorKind::Overflow { value, .. }) => Some(value),
            Err(other) => panic!("{machine:?}: {other}"),
            Ok(_) => None,
        };
        let there = |at| Resolution::At(Addr(at));
        let highest = 0x1_0000_0000 - 0x2000; // the image has two pages
        assert_eq!(overflow(&with(pointer), highest, there(0xffff_ffff)), None);
        assert_eq!(overflow(&with(pointer), highest + 0x1000, there(0)), Some(0x1_0000_0fff));
        assert_eq!(overflow(&with(pointer), 0x7f00_0000_0000, there(0)), Some(0x7f00_0000_1fff));
        assert_eq!(overflow(&with(pointer), u64::MAX - 0xfff, there(0)), Some(u64::MAX));
        assert_eq!(overflow(&with(pointer), highest, there(0x1_0000_0000)), Some(0x1_0000_0000));
        let home = |module, start| {
            let home = TlsHome::Host { module, thread_pointer_offset: Some(start) };
            Resolution::Tls { home, offset: 0 }
        };
        assert_eq!(overflow(&with(module), highest, home(0xffff_ffff, 0)), None);
        assert_eq!(overflow(&with(module), highest, home(1 << 32, 0)), Some(1 << 32));
        assert_eq!(overflow(&with(thread), highest, home(1, -(1 << 31))), None);
        assert_eq!(overflow(&with(thread), highest, home(1, 1 << 31)), Some(1 << 31));
    }
}

#[test]
fn what_only_the_images_own_code_could_answer_is_refused() {
    use Machine::*;
    let kinds = [
        (I386, elf::R_386_IRELATIVE.0, "ifunc"),
        (Arm, elf::R_ARM_IRELATIVE.0, "ifunc"),
        (Aarch64, elf::R_AARCH64_IRELATIVE.0, "ifunc"),
        (Riscv64, elf::R_RISCV_IRELATIVE.0, "ifunc"),
        (I386, elf::R_386_TLS_DESC.0, "TLS descriptor"),
        (Arm, elf::R_ARM_TLS_DESC.0, "TLS descriptor"),
        (Aarch64, elf::R_AARCH64_TLSDESC.0, "TLS descriptor"),
        (Riscv64, 12, "TLS descriptor"),
        (I386, elf::R_386_COPY.0, "copy relocation"),
        (Arm, elf::R_ARM_COPY.0, "copy relocation"),
        (Aarch64, elf::R_AARCH64_COPY.0, "copy relocation"),
        (Riscv64, elf::R_RISCV_COPY.0, "copy relocation"),
        (I386, 200, "relocation type"),
        (Arm, 255, "relocation type"),
        (Aarch64, 5000, "relocation type"),
        (Riscv64, 200, "relocation type"),
    ];
    for (machine, kind, words) in kinds {
        let library = Library {
            symbols: vec![undefined("there")],
            relocations: vec![entry(DATA, kind, 1, Some(0))],
            ..of(machine)
        };
        match fix(&library, machine.base(), Resolution::At(machine.base())).map(drop) {
            Err(ErrorKind::Unsupported { what, .. }) => assert!(what.contains(words), "{machine:?}: {what}"),
            other => panic!("{machine:?} {kind}: {other:?}"),
        }
    }
    for (machine, kind) in
        [(I386, elf::R_386_32.0), (Arm, elf::R_ARM_ABS32.0), (Aarch64, elf::R_AARCH64_ABS64.0), (Riscv64, 2)]
    {
        let library = Library {
            symbols: vec![undefined("there")],
            relocations: vec![entry(DATA, kind, 1, Some(0))],
            ..of(machine)
        };
        let resolver = Resolution::Resolver(machine.base());
        let refused = fix(&library, machine.base(), resolver).map(drop);
        assert!(matches!(refused, Err(ErrorKind::Unsupported { .. })), "{machine:?}: {refused:?}");
    }
}

#[test]
fn each_reader_takes_its_own_machines_and_no_other() {
    for machine in Machine::ALL {
        let source = Arc::new(Source::owned(file(machine, "libuser.so")));
        assert!(ForeignImage::parse(&source).is_ok() && parse_any(&source).is_ok(), "{machine:?}");
        match ElfImage::parse(&source).map(drop) {
            Err(ErrorKind::WrongMachine { machine: n, .. }) => assert_eq!(n, machine.number()),
            Err(ErrorKind::Unsupported { what: "32-bit image", value: 1 }) => assert!(!machine.wide()),
            other => panic!("{machine:?}: {other:?}"),
        }
    }
    let own = |machine, wide| Library { machine, wide, ..Library::default() }.bytes();
    let foreign = |bytes: &[u8]| parse(bytes).map(drop);
    let unsupported = |what, value| Err(ErrorKind::Unsupported { what, value });
    let x86_64 = own(elf::EM_X86_64.0, true);
    assert_eq!(foreign(&x86_64), unsupported("machine", 62));
    assert!(parse_any(&Arc::new(Source::owned(x86_64))).is_ok());
    assert_eq!(foreign(&own(elf::EM_AARCH64.0, false)), unsupported("machine", 183), "a class it has not");
    assert_eq!(foreign(&own(elf::EM_PPC64.0, true)), unsupported("machine", 21));
    let mut big = own(elf::EM_ARM.0, false);
    big[5] = 2;
    assert_eq!(foreign(&big), unsupported("big-endian image", 2));
    let mut odd = own(elf::EM_ARM.0, false);
    odd[4] = 7;
    assert_eq!(foreign(&odd), unsupported("class of ELF", 7));
}

/// Everything that can be done with an image, on bytes of which nothing is known. Big images are left alone.
/// Names get what suits the sound image, or (`absent`) nothing.
fn use_it(machine: Machine, bytes: &[u8], absent: bool) -> Result<(), ErrorKind> {
    let (source, image) = parse(bytes)?;
    for name in ["provided_function", "user_sum", "nobody_has_this"] {
        let _ = image.export(&Query::name(name.as_bytes()));
    }
    let _ = image.imports(&mut |_| {});
    if image.plan().len().get() > 1 << 20 {
        return Ok(());
    }
    let mut window = Window::at(machine.base(), &*image, &source);
    image.relocate(&mut window.open())?;
    image.bind(&mut window.open(), &mut |query: &Query<'_>| match query
        .symbol
        .text()
        .contains("thread_local")
    {
        _ if absent => Ok(Resolution::Absent),
        true => Ok(Resolution::Tls { home: ELSEWHERE, offset: 16 }),
        false => Ok(Resolution::At(machine.base())),
    })?;
    image.lifecycle(&window.open()).map(drop)
}

#[test]
fn damaged_images_are_refused_or_used_but_break_nothing() {
    for machine in Machine::ALL {
        let sound = file(machine, "libuser.so");
        assert_eq!(use_it(machine, &sound, false), Ok(()), "{machine:?}");
        let mut refused = 0;
        for len in 0..sound.len() {
            refused += u32::from(use_it(machine, &sound[..len], len % 2 == 1).is_err());
        }
        assert!(refused > 1000, "{machine:?}: {refused} truncations");
        let mut refused = 0;
        let mut bytes = sound.clone();
        for at in 0..sound.len() {
            for damage in [0x01, 0xff] {
                bytes[at] = sound[at] ^ damage;
                refused += u32::from(use_it(machine, &bytes, damage == 0xff).is_err());
            }
            bytes[at] = sound[at];
        }
        assert!(refused > 200, "{machine:?}: {refused} changes");
    }
}

#[test]
fn a_chain_that_runs_in_a_circle_ends() {
    for machine in Machine::ALL {
        let mut bytes = file(machine, "libfixed.so");
        let object = object::File::parse(&*bytes).expect("object reads it");
        let hash = object::ObjectSection::file_range(&object.sections().find(is_hash).expect("a hash"));
        let (start, _) = hash.expect("in the file");
        let word = |n: u64| (start + n * 4) as usize..(start + n * 4 + 4) as usize;
        let buckets = u32::from_le_bytes(bytes[word(0)].try_into().expect("four bytes"));
        let chains = u32::from_le_bytes(bytes[word(1)].try_into().expect("four bytes"));
        for n in 0..buckets + chains {
            bytes[word(2 + u64::from(n))].copy_from_slice(&1u32.to_le_bytes()); // everything leads to symbol 1
        }
        let (_, image) = parse(&bytes).expect("nothing is wrong at first sight");
        assert_eq!(image.export(&Query::name(b"nobody_has_this")), Ok(None), "{machine:?}");
    }
}

fn is_hash<'d>(section: &impl object::ObjectSection<'d>) -> bool {
    section.name() == Ok(".hash")
}

/// Where Debian's cross compilers have a machine's libraries, and which packages bring them.
fn packaged(machine: Machine) -> (PathBuf, String) {
    let (triple, name) = match machine {
        Machine::I386 => ("i686-linux-gnu", "i386"),
        Machine::Arm => ("arm-linux-gnueabihf", "armhf"),
        Machine::Aarch64 => ("aarch64-linux-gnu", "arm64"),
        Machine::Riscv64 => ("riscv64-linux-gnu", "riscv64"),
    };
    let packages = format!("libc6-{name}-cross, libgcc-s1-{name}-cross, libstdc++6-{name}-cross");
    (Path::new("/usr").join(triple).join("lib"), packages)
}

#[test]
fn real_libraries_become_what_object_and_the_abi_say() {
    for machine in Machine::ALL {
        let (folder, packages) = packaged(machine);
        for name in ["libstdc++.so.6", "libm.so.6", "libc.so.6", "libgcc_s.so.1", "libresolv.so.2"] {
            let Ok(bytes) = fs::read(folder.join(name)) else {
                println!("skipped: needs {name} of {packages}");
                continue;
            };
            let reading = Reading::read(machine, &bytes, 0, -4096, machine.base());
            let (source, image) = parse(&bytes).unwrap_or_else(|e| panic!("{machine:?} {name}: {e}"));
            let mut window = Window::at(machine.base(), &*image, &source);
            let relative = image.relocate(&mut window.open()).expect("relocations");
            let thread_local = reading.file.dynamic_symbols().filter(|s| s.kind() == object::SymbolKind::Tls);
            let thread_local: HashSet<_> = thread_local.map(|s| s.name().expect("a name")).collect();
            let made_up = |name: &str| match thread_local.contains(name) {
                true => Target::Tls { owner: 1, start: 640, offset: 16 },
                false => Target::At(0x1000_0000 + name.len() as u64),
            };
            let bound = image.bind(&mut window.open(), &mut |query: &Query<'_>| {
                Ok(match made_up(&query.symbol.text()) {
                    Target::Tls { offset, .. } => Resolution::Tls { home: ELSEWHERE, offset },
                    Target::At(at) => Resolution::At(Addr(at)),
                    Target::Absent => Resolution::Absent,
                })
            });
            if reading.needs_code() {
                assert!(matches!(bound, Err(ErrorKind::Unsupported { .. })), "{machine:?} {name}: {bound:?}");
                println!("{machine:?} {name}: {relative} relocated, then refused: it needs code that runs");
                continue;
            }
            let bound = bound.unwrap_or_else(|e| panic!("{machine:?} {name}: {e}"));
            let seen = reading.compare(|at| machine.read(read(&window, at)), made_up);
            assert_eq!(seen.words + seen.modules.len(), relative + bound, "{machine:?} {name}");
            let modules = seen.modules.iter().all(|&(owner, n)| n == [7, 9][owner]);
            assert!(modules, "{machine:?} {name}: {:?}", seen.modules);
            println!("{machine:?} {name}: {} words, as the ABI says", seen.words);
        }
    }
}

#[test]
fn real_libraries_find_each_others_symbols_in_their_versions() {
    for machine in Machine::ALL {
        let (folder, packages) = packaged(machine);
        let loader =
            ["ld-linux.so.2", "ld-linux-armhf.so.3", "ld-linux-aarch64.so.1", "ld-linux-riscv64-lp64d.so.1"];
        let names = ["libm.so.6", "libgcc_s.so.1", "libresolv.so.2", "libc.so.6", loader[machine as usize]];
        let files: Vec<_> = names.iter().filter_map(|name| fs::read(folder.join(name)).ok()).collect();
        if files.len() < names.len() {
            println!("skipped: needs {names:?} of {packages}");
            continue;
        }
        let images: Vec<_> = files.iter().map(|bytes| parse(bytes).expect("a library").1).collect();
        let mut versions = 0;
        for image in &images {
            let mut found = Vec::new();
            let mut ask = |query: &Query<'_>| {
                let anyone = |query| images.iter().any(|i| matches!(i.export(query), Ok(Some(_))));
                found.push((query.symbol.to_name(), query.weak || anyone(query)));
                if let Some(version) = query.version {
                    let other = [version, b"x"].concat();
                    assert!(!anyone(&Query { version: Some(&other), ..*query }), "{:?}", query.symbol.text());
                    versions += 1;
                }
            };
            image.imports(&mut ask).expect("readable tables");
            let missing: Vec<_> = found.iter().filter(|(_, found)| !found).collect();
            assert!(missing.is_empty(), "{machine:?} {:?}: {missing:?}", image.own_name());
            image
                .needed_versions(&mut |needed| {
                    let of = images.iter().find(|i| i.own_name().map(str::as_bytes) == Some(needed.of));
                    assert_eq!(of.and_then(|i| i.defines_version(needed.version)), Some(true), "{needed:?}");
                })
                .expect("readable versions");
        }
        assert!(versions > 100, "{machine:?}: {versions}");
    }
}

#[test]
fn the_images_come_from_their_sources() {
    for compiler in
        ["i686-linux-gnu-gcc", "arm-linux-gnueabihf-gcc", "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc"]
    {
        let version = Command::new(compiler).arg("-dumpfullversion").output();
        if !version.is_ok_and(|v| v.stdout.starts_with(b"12.2.")) {
            println!("skipped: needs {compiler} 12.2");
            return;
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign");
    let built = Command::new(corpus().join("build.sh")).arg(&folder).status().expect("a shell");
    assert!(built.success());
    for machine in Machine::ALL {
        for name in ["libprovider.so", "libuser.so", "libfixed.so"] {
            let new = fs::read(folder.join(machine.folder()).join(name)).expect("a library");
            assert!(new == file(machine, name), "{machine:?} {name} differs from the committed image");
        }
    }
    fs::remove_dir_all(&folder).expect("our own folder");
}
