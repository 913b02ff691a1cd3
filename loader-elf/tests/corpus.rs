//! The corpus: small images with known contents, and every way to break some of them.

mod common;

use common::{BASE, STATIC, Window};
use loader_core::{Addr, ErrorKind, Export, Image, ImportControl, Query, Resolution, Source};
use loader_elf::ElfImage;
use std::{collections::HashSet, fs, path::PathBuf, sync::Arc};

/// An image of the corpus; says so and returns `None` where it was not built.
fn image(path: &str) -> Option<(Arc<Source>, Arc<ElfImage>)> {
    let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/elf")).join(path);
    let Ok(bytes) = fs::read(&file) else {
        println!("skipped: needs the corpus image elf/{path}");
        return None;
    };
    let source = Arc::new(Source::owned(bytes));
    let image = ElfImage::parse(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
    Some((source, image))
}

fn find(image: &ElfImage, name: &str, version: Option<&str>) -> Option<Export> {
    let version = version.map(str::as_bytes);
    let query = Query { version, ..Query::name(name.as_bytes()) };
    image.export(&query).expect("readable tables")
}

/// The thread-local variables that an image defines or needs, as others read it.
fn thread_local(source: &Source) -> HashSet<String> {
    let seen = loader_elf::inspect(source.bytes()).expect("readable by others");
    let symbols = seen.imports.into_iter().chain(seen.exports);
    symbols.filter(|s| s.kind == "TLS").map(|s| s.name).collect()
}

/// Relocates and binds: a name gets the address `BASE` plus its length, or the place 16 in a block.
fn fix(source: &Source, image: &ElfImage, thread_local: &HashSet<String>) -> Result<Window, ErrorKind> {
    let mut window = Window::of(image, source);
    image.relocate(&mut window.open())?;
    image.bind(&mut window.open(), &mut |query: &Query<'_>| match query.symbol.text() {
        name if thread_local.contains(&*name) => Ok(Resolution::Tls { home: STATIC, offset: 16 }),
        name => Ok(Resolution::At(Addr(BASE + name.len() as u64))),
    })?;
    image.lifecycle(&window.open())?;
    Ok(window)
}

#[test]
fn versions_are_kept_apart() {
    let Some((_, image)) = image("versions/libversions.so") else { return };
    let one = find(&image, "versions_value", Some("V1"));
    let two = find(&image, "versions_value", Some("V2"));
    assert!(one.is_some() && two.is_some() && one != two);
    assert_eq!(find(&image, "versions_value", None), two, "the default");
    assert_eq!(find(&image, "versions_value", Some("V9")), None);
    assert!(find(&image, "versions_only_one", Some("V1")).is_some());
    assert_eq!(find(&image, "versions_only_one", Some("V2")), None);
    assert_eq!(find(&image, "versions_local", None), None);
}

#[test]
fn a_consumer_asks_for_the_version_it_was_linked_against() {
    for (path, wanted) in [("versions/libversions-old.so", "V1"), ("versions/libversions-new.so", "V2")] {
        let Some((_, image)) = image(path) else { return };
        let mut asked = Vec::new();
        image
            .imports(&mut |q| asked.push((q.symbol.text().into_owned(), q.version.map(<[u8]>::to_vec))))
            .expect("readable tables");
        assert!(asked.contains(&("versions_value".into(), Some(wanted.into()))), "{asked:?}");
    }
}

#[test]
fn both_kinds_of_hash_find_names() {
    for (path, name) in [("gnu-hash/libgnu-hash.so", "gnu"), ("sysv-hash/libsysv-hash.so", "sysv")] {
        let Some((source, image)) = image(path) else { continue };
        let seen = loader_elf::inspect(source.bytes()).expect("readable by others");
        let exports: Vec<_> = seen.exports.iter().filter(|e| e.value != 0).collect();
        assert!(!exports.is_empty(), "{name}");
        for e in exports {
            let at = Export::At(loader_core::Rva(e.value - image.plan().link_base().0));
            assert_eq!(find(&image, &e.name, None), Some(at), "{name}: {}", e.name);
            assert_eq!(find(&image, &format!("{}_", e.name), None), None);
        }
    }
}

#[test]
fn every_image_of_the_corpus_is_fixed_up() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/elf");
    let mut count = 0;
    for case in fs::read_dir(root).into_iter().flatten().flatten() {
        for file in fs::read_dir(case.path()).into_iter().flatten().flatten() {
            if file.path().extension().is_some_and(|e| e == "so") {
                let bytes = fs::read(file.path()).expect("readable");
                let source = Arc::new(Source::owned(bytes));
                let fixed =
                    ElfImage::parse(&source).and_then(|i| fix(&source, &i, &thread_local(&source)).map(drop));
                assert_eq!(fixed, Ok(()), "{:?}", file.path());
                count += 1;
            }
        }
    }
    match count {
        0 => println!("skipped: needs the corpus images"),
        n => println!("{n} images"),
    }
}

#[test]
fn data_points_where_it_should() {
    let Some((source, image)) = image("data-relocations/libdata.so") else { return };
    let window = fix(&source, &image, &thread_local(&source)).expect("a good image");
    let seen = loader_elf::inspect(source.bytes()).expect("readable by others");
    let elf = goblin::elf::Elf::parse(source.bytes()).expect("readable by others");
    let (mut relative, mut named) = (0, 0);
    for r in elf.dynrelas.iter() {
        let addend = r.r_addend.unwrap_or(0).cast_unsigned();
        match r.r_type {
            goblin::elf::reloc::R_X86_64_RELATIVE => {
                assert_eq!(window.word(r.r_offset), BASE + addend);
                relative += 1;
            }
            goblin::elf::reloc::R_X86_64_64 | goblin::elf::reloc::R_X86_64_GLOB_DAT => {
                let symbol = elf.dynsyms.get(r.r_sym).expect("a symbol");
                let name = elf.dynstrtab.get_at(symbol.st_name).expect("a name");
                assert_eq!(window.word(r.r_offset), BASE + name.len() as u64 + addend, "{name}");
                named += 1;
            }
            _ => {}
        }
    }
    assert!(relative > 0 && named > 0, "{:?}", seen.relocations);
}

#[test]
fn thread_local_blocks_have_a_template_and_offsets() {
    let Some((source, image)) = image("tls/libtls.so") else { return };
    let tls = image.tls().expect("a PT_TLS segment");
    assert!(tls.size >= tls.init.end.0 - tls.init.start.0 && tls.align.is_power_of_two());
    let window = fix(&source, &image, &thread_local(&source)).expect("a good image");
    let elf = goblin::elf::Elf::parse(source.bytes()).expect("readable by others");
    let mut seen = 0;
    for r in elf.dynrelas.iter() {
        let own = elf.dynsyms.get(r.r_sym).is_some_and(|s| s.st_bind() == 0);
        let addend = r.r_addend.unwrap_or(0).cast_unsigned();
        match r.r_type {
            goblin::elf::reloc::R_X86_64_DTPMOD64 => {
                assert_eq!(window.word(r.r_offset), STATIC.module_word());
            }
            goblin::elf::reloc::R_X86_64_DTPOFF64 if !own => {
                assert_eq!(window.word(r.r_offset), 16 + addend);
            }
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen > 0, "thread-local relocations");
}

#[test]
fn a_symbolic_library_prefers_itself() {
    let Some((_, symbolic)) = image("interposition/libinterpose-symbolic.so") else { return };
    assert_eq!(symbolic.import_control(), ImportControl::SemiGlobalized);
    let Some((_, plain)) = image("plain/libplain.so") else { return };
    assert_eq!(plain.import_control(), ImportControl::Globalized);
}

const BROKEN: [&str; 5] = [
    "data-relocations/libdata.so",
    "tls/libtls.so",
    "versions/libversions.so",
    "relr/librelr.so",
    "sysv-hash/libsysv-hash.so",
];

/// Everything that is done with a file before its code runs; what comes out is no matter, but it must come.
fn try_all(bytes: Vec<u8>) -> Result<(), ErrorKind> {
    let source = Arc::new(Source::owned(bytes));
    let image = ElfImage::parse(&source)?;
    for name in ["versions_value", "data", "counter", "_init", "?"] {
        for version in [None, Some(&b"V1"[..]), Some(b"?")] {
            let _ = image.export(&Query { version, ..Query::name(name.as_bytes()) });
        }
    }
    let _ = image.imports(&mut |_| ());
    if image.plan().len().get() > 1 << 26 {
        return Ok(()); // a plan may ask for more than a test wants to give
    }
    let names = HashSet::from(["tls_shared".to_owned()]);
    fix(&source, &image, &names).map(drop)
}

#[test]
fn no_truncation_is_more_than_an_error() {
    for path in BROKEN {
        let Some((source, _)) = image(path) else { continue };
        let whole = source.bytes();
        let refused = (0..whole.len()).filter(|&n| try_all(whole[..n].to_vec()).is_err()).count();
        assert!(refused > 64, "{path}: {refused} of {} refused", whole.len());
    }
}

#[test]
fn no_changed_byte_is_more_than_an_error() {
    for path in BROKEN {
        let Some((source, _)) = image(path) else { continue };
        let whole = source.bytes();
        let mut refused = 0;
        for at in 0..whole.len() {
            for with in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = if with == 1 { bytes[at] ^ 1 } else { with };
                refused += usize::from(bytes[at] != whole[at] && try_all(bytes).is_err());
            }
        }
        println!("{path}: {refused} refused");
    }
}

#[test]
fn what_is_no_library_is_told_apart() {
    let parse = |bytes: &[u8]| ElfImage::parse(&Arc::new(Source::owned(bytes))).map(drop);
    let not = |found| Err(ErrorKind::NotALoadfile { found });
    assert_eq!(parse(b""), not("an empty file"));
    assert_eq!(parse(b"!<arch>\nfoo.o/"), not("an archive"));
    assert_eq!(parse(b"INPUT ( libfoo.so.1 )\n"), not("a text file"));
    assert_eq!(parse(b"\x00\x01\x02"), not("not an ELF file"));
    assert_eq!(
        parse(b"\x7fELF\x02\x01\x01"),
        Err(ErrorKind::Malformed { what: "file ends inside its header", at: 7 })
    );
    let Some((source, _)) = image("plain/libplain.so") else { return };
    let with = |at: usize, value: u8| {
        let mut bytes = source.bytes().to_vec();
        bytes[at] = value;
        parse(&bytes)
    };
    let unsupported = |what, value| Err(ErrorKind::Unsupported { what, value });
    assert_eq!(with(4, 1), unsupported("32-bit image", 1));
    assert_eq!(with(5, 2), unsupported("big-endian image", 2));
    assert_eq!(with(18, 183), Err(ErrorKind::WrongMachine { machine: 183, name: "AARCH64" }));
    assert_eq!(with(16, 2), unsupported("executable (ET_EXEC)", 2));
    assert_eq!(with(16, 1), unsupported("object file (ET_REL)", 1));
}
