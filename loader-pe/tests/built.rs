//! One DLL that has a little of everything: each answer that a load asks for.

mod common;

use common::{
    Placed,
    build::{
        ALPHA, BASE, BETA, CALLBACK, CALLBACKS, COOKIE, CRT_SLOTS, DATA, DEFAULT_COOKIE, DLL_MAIN, INDEX,
        KERNEL32_SLOTS, POINTER, RDATA, Spec, TEMPLATE, TEXT, dll,
    },
    imports, parse, show,
};
use loader_core::{
    Addr, EntryKind, ErrorKind, Export, Image, Query, Resolution, Rights, Rva, SymbolName, Wanted,
};
use loader_pe::{PeImage, inspect, resources::ResourceId};
use object::pe;
use std::sync::Arc;

const ELSEWHERE: u64 = 0x7000_0000_0000;

fn built() -> (Vec<u8>, Arc<PeImage>) {
    let bytes = dll(&Spec::default());
    let image = parse(&bytes).unwrap();
    (bytes, image)
}

fn rva(at: u32) -> Rva {
    Rva(at.into())
}

fn refusal(spec: &Spec) -> ErrorKind {
    parse(&dll(spec)).unwrap_err()
}

#[test]
fn plan_has_header_page_and_sections() {
    let (_, image) = built();
    let plan = image.plan();
    let told: Vec<_> = plan.regions().iter().map(|r| (r.at.start, r.rights)).collect();
    let (r, rx, rw) = (Rights::READ, Rights::READ | Rights::EXECUTE, Rights::READ | Rights::WRITE);
    assert_eq!(told, [(Rva(0), r), (rva(TEXT), rx), (rva(RDATA), r), (rva(DATA), rw), (Rva(0x4000), r),]);
    assert_eq!(plan.wanted(), Wanted::Preferred(Addr(BASE)));
    assert_eq!(plan.window(), Rva(0)..Rva(plan.len().get()));
    assert_eq!(plan.align(), 0x1_0000);
}

#[test]
fn stripped_relocations_fix_the_base() {
    let spec = Spec { flags: Spec::default().flags | pe::IMAGE_FILE_RELOCS_STRIPPED, ..Spec::default() };
    assert_eq!(parse(&dll(&spec)).unwrap().plan().wanted(), Wanted::Fixed(Addr(BASE)));
}

#[test]
fn needs_are_named_as_modules_are_compared() {
    let (_, image) = built();
    let keys: Vec<_> = image.needs().iter().map(|n| &*n.key).collect();
    assert_eq!(keys, ["kernel32.dll", "ucrtbase.dll"]);
    assert_eq!(&*image.needs()[1].name, "api-ms-win-crt-heap-l1-1-0.dll");
    let delayed: Vec<_> = image.delayed().unwrap().into_iter().map(|n| n.key).collect();
    assert_eq!(delayed, ["delayed.dll".into()]);
    assert_eq!(image.own_name(), Some("built.dll"));
}

#[test]
fn exports_by_name_and_ordinal() {
    let (_, image) = built();
    let by_name = |n: &str| image.export(&Query::name(n.as_bytes())).unwrap();
    let by_ordinal = |n| image.export(&Query::ordinal(n)).unwrap();
    assert_eq!(by_name("alpha"), Some(Export::At(rva(ALPHA))));
    assert_eq!(by_ordinal(5), Some(Export::At(rva(ALPHA))));
    assert_eq!(by_ordinal(7), Some(Export::At(rva(BETA))));
    for name in ["", "alph", "alphaa", "zeta", "alpha\0", "alpha\0heap"] {
        assert_eq!(by_name(name), None, "{name:?}");
    }
    for ordinal in [0, 4, 6, 10, u16::MAX] {
        assert_eq!(by_ordinal(ordinal), None, "#{ordinal}");
    }
}

/// From some number of questions on there is an index, unless a name is not in the file.
#[test]
fn exports_are_found_however_often_they_are_asked_for() {
    let (bytes, image) = built();
    let in_file = image.plan().regions()[2].fill.as_ref().unwrap().file.start.0 as u32;
    let offset = bytes.windows(7).position(|text| text == b"number\0").unwrap() as u32;
    let name = (offset - in_file + RDATA).to_le_bytes();
    let entry = bytes.windows(4).position(|word| word == name).unwrap();
    let mut nowhere = bytes.clone();
    nowhere[entry..][..4].copy_from_slice(&0xffff_0000_u32.to_le_bytes());
    for (bytes, whole) in [(bytes, true), (nowhere, false)] {
        let image = parse(&bytes).unwrap();
        let by_name = |n: &str| image.export(&Query::name(n.as_bytes())).unwrap();
        for nth in 0..100 {
            assert_eq!(by_name("alpha"), Some(Export::At(rva(ALPHA))), "{nth}");
            assert_eq!(["alph", "alphaa", "zeta"].map(by_name), [None, None, None], "{nth}");
            let forwards = ["heap", "number"].map(by_name);
            assert!(!whole || forwards.iter().all(|f| matches!(f, Some(Export::Forward(_)))), "{nth}");
        }
    }
}

#[test]
fn forwarders_name_library_and_symbol() {
    let (_, image) = built();
    let forward = |name: &str| match image.export(&Query::name(name.as_bytes())).unwrap() {
        Some(Export::Forward(forward)) => (forward.need.key, forward.symbol),
        other => panic!("{other:?}"),
    };
    assert_eq!(forward("heap"), ("ntdll.dll".into(), SymbolName::Name((*b"RtlAllocateHeap").into())));
    assert_eq!(forward("number"), ("other.name".into(), SymbolName::Ordinal(12)));
    let keys: Vec<_> = image.forwards_to().iter().map(|n| &*n.key).collect();
    assert_eq!(keys, ["ntdll.dll", "other.name"]);
}

#[test]
fn relocations_move_addresses() {
    let (bytes, image) = built();
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    assert_eq!(image.relocate(&mut placed.mem()), Ok(7));
    assert_eq!(placed.u64(POINTER.into()), ELSEWHERE + u64::from(ALPHA));
    assert_eq!(placed.u64(CALLBACKS.into()), ELSEWHERE + u64::from(CALLBACK));
}

#[test]
fn image_at_its_own_base_is_left_alone() {
    let (bytes, image) = built();
    let mut placed = Placed::new(&bytes, image.plan(), BASE);
    let before = placed.window.clone();
    assert_eq!(image.relocate(&mut placed.mem()), Ok(7));
    placed.window[COOKIE as usize..][..8].copy_from_slice(&DEFAULT_COOKIE.to_le_bytes());
    assert!(placed.window == before);
}

#[test]
fn security_cookie_is_renewed_once() {
    let (bytes, image) = built();
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    image.relocate(&mut placed.mem()).unwrap();
    let fresh = placed.u64(COOKIE.into());
    assert!(fresh != DEFAULT_COOKIE && fresh != 0 && fresh >> 48 == 0, "{fresh:#x}");

    let mut own = Placed::new(&bytes, image.plan(), ELSEWHERE);
    own.window[COOKIE as usize] ^= 1;
    let set = own.u64(COOKIE.into());
    image.relocate(&mut own.mem()).unwrap();
    assert_eq!(own.u64(COOKIE.into()), set);
}

#[test]
fn imports_ask_the_named_library_and_fill_its_slots() {
    let (bytes, image) = built();
    let wanted = ["kernel32.dll!HeapAlloc", "kernel32.dll!#17", "ucrtbase.dll!malloc"];
    assert_eq!(imports(&image), wanted);
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    let mut asked = Vec::new();
    let done = image.bind(&mut placed.mem(), &mut |q: &Query<'_>| {
        asked.push(show(q));
        Ok(match asked.len() {
            1 => Resolution::At(Addr(0x1111)),
            2 => Resolution::Absent,
            _ => Resolution::Resolver(Addr(0x3333)),
        })
    });
    assert_eq!((done, &*asked), (Ok(3), &wanted.map(String::from)[..]));
    assert_eq!(placed.u64(KERNEL32_SLOTS.into()), 0x1111);
    assert_eq!(placed.u64(u64::from(KERNEL32_SLOTS) + 8), 0);
    assert_eq!(placed.late.len(), 1);
    assert_eq!((placed.late[0].slot, placed.late[0].resolver), (rva(CRT_SLOTS), Addr(0x3333)));
}

#[test]
fn missing_import_ends_the_binding() {
    let (bytes, image) = built();
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    let refused = image.bind(&mut placed.mem(), &mut |q: &Query<'_>| Err(ErrorKind::undefined(q)));
    let Err(ErrorKind::Undefined { symbol, from, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((symbol.to_string(), from), ("HeapAlloc".into(), Some("kernel32.dll".into())));
}

#[test]
fn tls_directory_is_a_template() {
    let (_, image) = built();
    let tls = image.tls().unwrap();
    assert_eq!(tls.init, rva(TEMPLATE)..rva(TEMPLATE + 8));
    assert_eq!((tls.size, tls.align, tls.skew), (32, 64, 0));
    assert_eq!(tls.index_at, Some(rva(INDEX)));
}

#[test]
fn callbacks_come_right_before_the_entry_point() {
    let (bytes, image) = built();
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    image.relocate(&mut placed.mem()).unwrap();
    let calls = image.lifecycle(&placed.mem()).unwrap();
    let told: Vec<_> = calls.attach.iter().map(|e| (e.at.0 - ELSEWHERE, e.kind)).collect();
    let wanted = [(u64::from(CALLBACK), EntryKind::TlsCallback), (u64::from(DLL_MAIN), EntryKind::DllMain)];
    assert_eq!(told, wanted);
    assert_eq!(calls.detach, calls.attach);
    assert_eq!(calls.thread, calls.attach);
}

#[test]
fn entry_outside_the_code_is_refused() {
    let spec = Spec { entry: DATA, ..Spec::default() };
    let bytes = dll(&spec);
    let image = parse(&bytes).unwrap();
    let mut placed = Placed::new(&bytes, image.plan(), ELSEWHERE);
    image.relocate(&mut placed.mem()).unwrap();
    let refused = image.lifecycle(&placed.mem()).unwrap_err();
    assert!(matches!(refused, ErrorKind::Malformed { at, .. } if at == ELSEWHERE + u64::from(DATA)));
}

#[test]
fn image_without_an_entry_point_is_fine() {
    let spec = Spec { entry: 0, ..Spec::default() };
    assert_eq!(parse(&dll(&spec)).unwrap().entry(), None);
}

#[test]
fn resources_have_kind_name_and_language() {
    let (_, image) = built();
    let found = image.resources().unwrap();
    assert_eq!(found[0].path, [16, 1, 1033].map(ResourceId::Number));
    assert_eq!((found.len(), found[0].code_page), (1, 1252));
}

#[test]
fn inspection_tells_it_all() {
    let told = inspect(&dll(&Spec::default())).unwrap();
    assert_eq!((told.machine_name, told.bits, told.is_dll), ("x86-64", 64, true));
    assert_eq!(told.imports[0].symbols, ["HeapAlloc", "#17"]);
    assert_eq!(told.delayed[0].name, "Delayed.dll");
    assert_eq!(told.relocations["DIR64"], 7);
    assert_eq!(told.flags, ["dynamic-base"]);
    assert!(told.has_cookie && told.tls.unwrap().has_callbacks);
    let forwards: Vec<_> = told.exports.iter().filter_map(|e| e.forward.as_deref()).collect();
    assert_eq!(forwards, ["NTDLL.RtlAllocateHeap", "other.name.#12"]);
}

#[test]
fn other_machines_are_named() {
    let refused = |machine| refusal(&Spec { machine, ..Spec::default() });
    let wrong = |machine: pe::Machine, name| ErrorKind::WrongMachine { machine: machine.0, name };
    for (machine, name) in [
        (pe::IMAGE_FILE_MACHINE_I386, "i386"),
        (pe::IMAGE_FILE_MACHINE_ARM64, "arm64"),
        (pe::Machine(0x1234), "unknown"),
    ] {
        assert_eq!(refused(machine), wrong(machine, name));
    }
}

#[test]
fn what_is_no_library_is_refused_in_words() {
    let unsupported = |spec: &Spec| match refusal(spec) {
        ErrorKind::Unsupported { what, .. } => what,
        other => panic!("{other}"),
    };
    let flags = pe::IMAGE_FILE_DLL;
    assert_eq!(unsupported(&Spec { flags, ..Spec::default() }), "an image with unresolved references");
    let flags = pe::IMAGE_FILE_EXECUTABLE_IMAGE;
    assert!(parse(&dll(&Spec { flags, ..Spec::default() })).unwrap().is_program());
    let section_alignment = 0x200;
    assert_eq!(unsupported(&Spec { section_alignment, ..Spec::default() }), "sections that share pages");
    let text_flags = Spec::default().text_flags | pe::IMAGE_SCN_MEM_WRITE;
    let refused = refusal(&Spec { text_flags, ..Spec::default() });
    assert_eq!(refused, ErrorKind::WritableCode { at: rva(TEXT) });

    let mut narrow = dll(&Spec::default());
    let magic = narrow.windows(4).position(|w| w == b"PE\0\0").unwrap() + 24;
    narrow[magic..][..2].copy_from_slice(&0x10b_u16.to_le_bytes());
    let refused = parse(&narrow).unwrap_err();
    assert!(matches!(refused, ErrorKind::Unsupported { what: "a 32-bit image", .. }));
}

#[test]
fn other_files_are_told_apart() {
    let found = |bytes: &[u8]| match parse(bytes) {
        Err(ErrorKind::NotALoadfile { found }) => found,
        other => panic!("{other:?}"),
    };
    let dos = |at: u32, tail: &[u8]| [b"MZ", &[0; 58][..], &at.to_le_bytes(), tail].concat();
    assert_eq!(found(b""), "an empty file");
    assert_eq!(found(b"hello"), "not a Windows library");
    assert_eq!(found(&dos(0, b"")), "a DOS program");
    assert_eq!(found(&dos(u32::MAX, b"")), "a DOS program");
    assert_eq!(found(&dos(64, b"NE and so on")), "a 16-bit Windows or OS/2 program");
    assert!(matches!(parse(b"MZ"), Err(ErrorKind::Malformed { .. })));
    assert!(matches!(parse(&dos(64, b"PE\0\0")), Err(ErrorKind::Malformed { .. })));
}

/// The bytes of a section header's field, by the field's offset.
fn field<'a>(bytes: &'a mut [u8], section: &[u8; 8], offset: usize) -> &'a mut [u8] {
    let at = bytes.windows(8).position(|w| w == section).unwrap();
    &mut bytes[at + offset..][..4]
}

const VIRTUAL_SIZE: usize = 8;
const VIRTUAL_ADDRESS: usize = 12;
const RAW_SIZE: usize = 16;
const RAW_AT: usize = 20;

#[test]
fn virtual_size_of_zero_means_the_raw_size() {
    let mut bytes = dll(&Spec::default());
    field(&mut bytes, b".text\0\0\0", VIRTUAL_SIZE).fill(0);
    let image = parse(&bytes).unwrap();
    assert_eq!(image.plan().regions()[1].at, rva(TEXT)..rva(RDATA));
}

#[test]
fn raw_data_starts_at_a_sector() {
    let mut bytes = dll(&Spec::default());
    let whole = parse(&bytes).unwrap().plan().regions()[1].fill.clone();
    field(&mut bytes, b".text\0\0\0", RAW_AT)[0] |= 0x10;
    assert_eq!(parse(&bytes).unwrap().plan().regions()[1].fill, whole);
}

#[test]
fn sections_stay_inside_file_and_image_and_apart() {
    let refused = |section, offset, value: u32| {
        let mut bytes = dll(&Spec::default());
        field(&mut bytes, section, offset).copy_from_slice(&value.to_le_bytes());
        match parse(&bytes) {
            Err(ErrorKind::Malformed { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(b".data\0\0\0", RAW_AT, 0x10_0000), "region leaves the file");
    assert_eq!(refused(b".reloc\0\0", RAW_SIZE, u32::MAX), "region leaves the file");
    assert_eq!(refused(b".data\0\0\0", VIRTUAL_ADDRESS, TEXT), "sections overlap or do not ascend");
    assert_eq!(refused(b".data\0\0\0", VIRTUAL_ADDRESS, 0x3010), "section off the alignment");
    assert_eq!(refused(b".reloc\0\0", VIRTUAL_SIZE, u32::MAX), "region leaves the image");
}

#[test]
fn import_without_a_lookup_table_is_read_from_its_slots() {
    let mut bytes = dll(&Spec::default());
    let wanted = imports(&parse(&bytes).unwrap());
    let table = bytes.windows(4).position(|w| w == KERNEL32_SLOTS.to_le_bytes()).unwrap() - 16;
    let lookup = u32::from_le_bytes(bytes[table..][..4].try_into().unwrap());
    let file_at = |at: u32| match at {
        DATA.. => {
            at - DATA
                + u32::from_le_bytes(field(&mut bytes.clone(), b".data\0\0\0", RAW_AT).try_into().unwrap())
        }
        _ => {
            at - RDATA
                + u32::from_le_bytes(field(&mut bytes.clone(), b".rdata\0\0", RAW_AT).try_into().unwrap())
        }
    } as usize;
    let (from, to) = (file_at(lookup), file_at(KERNEL32_SLOTS));
    bytes.copy_within(from..from + 24, to);
    bytes[table..][..4].fill(0);
    assert_eq!(imports(&parse(&bytes).unwrap()), wanted);
}

#[test]
fn image_base_is_a_multiple_of_the_granularity() {
    let spec = Spec { base: BASE + 0x1000, ..Spec::default() };
    let (what, at) = ("image base", BASE + 0x1000);
    assert_eq!(refusal(&spec), ErrorKind::Malformed { what, at });
}
