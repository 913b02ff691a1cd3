//! Real DLLs, cross-checked against two full parsers: those of the corpus, and those of a folder that `LOADER_DLLS` names.

mod common;

use common::{Placed, anywhere, imports, parse};
use loader_core::{ErrorKind, Export, Image, Query};
use loader_pe::{Inspection, PeImage, inspect, key};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/pe");

/// All DLLs under a folder.
fn dlls(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        match () {
            () if path.is_dir() => found.extend(dlls(&path)),
            () if extension == "dll" || extension == "pyd" => found.push(path),
            () => {}
        }
    }
    found.sort();
    found
}

#[test]
fn corpus_agrees_with_full_parsers() {
    let found = dlls(Path::new(CORPUS));
    if found.is_empty() {
        println!("skipped: needs images in corpus/pe");
    }
    check_all(&found);
}

#[test]
fn real_dlls_agree_with_full_parsers() {
    match std::env::var_os("LOADER_DLLS") {
        Some(folder) => check_all(&dlls(Path::new(&folder))),
        None => println!("skipped: needs LOADER_DLLS, a folder of Windows DLLs"),
    }
}

fn check_all(found: &[PathBuf]) {
    let mut refused = BTreeMap::new();
    for path in found {
        let bytes = fs::read(path).unwrap();
        match parse(&bytes) {
            Ok(image) => check(path, &bytes, &image),
            Err(
                e @ (ErrorKind::WrongMachine { .. }
                | ErrorKind::Unsupported { .. }
                | ErrorKind::WritableCode { .. }),
            ) => {
                *refused.entry(format!("{e}")).or_insert(0) += 1;
            }
            Err(e) => panic!("{}: {e}", path.display()),
        }
    }
    println!("{} images, refused: {refused:?}", found.len());
}

fn check(path: &Path, bytes: &[u8], image: &PeImage) {
    let told = inspect(bytes).unwrap_or_else(|e| panic!("{}: inspect: {e}", path.display()));
    agrees_with_object(path, image, &told);
    agrees_with_goblin(path, bytes, &told);
    can_be_made_ready(path, bytes, image, &told);
    image.resources().unwrap_or_else(|e| panic!("{}: resources: {e}", path.display()));
}

fn agrees_with_object(path: &Path, image: &PeImage, told: &Inspection) {
    let theirs: Vec<_> =
        told.imports.iter().flat_map(|l| l.symbols.iter().map(|s| format!("{}!{s}", key(&l.name)))).collect();
    assert_eq!(imports(image), theirs, "{}: imports", path.display());
    let theirs: Vec<_> = told.delayed.iter().map(|l| key(&l.name)).collect();
    let ours: Vec<_> = image.delayed().unwrap().into_iter().map(|n| n.key).collect();
    assert_eq!(ours, theirs, "{}: delay imports", path.display());
    for export in &told.exports {
        let by_ordinal = image.export(&Query::ordinal(export.ordinal as u16)).unwrap();
        let by_name = export.name.as_ref().map(|n| image.export(&Query::name(n.as_bytes())).unwrap());
        for found in [Some(by_ordinal), by_name].into_iter().flatten() {
            match (found, &export.forward) {
                (Some(Export::At(at)), None) => assert_eq!(at.0, export.at.into()),
                (Some(Export::Forward(forward)), Some(text)) => {
                    assert_eq!(format!("{}.{}", forward.need.name, forward.symbol), *text);
                }
                other => panic!("{}: {export:?} is {other:?}", path.display()),
            }
        }
    }
    assert_eq!(image.export(&Query::name(b"no such name")).unwrap(), None);
    assert_eq!((image.functions().end.0 - image.functions().start.0) / 12, told.functions as u64);
    assert_eq!(image.tls().is_some(), told.tls.is_some());
}

fn agrees_with_goblin(path: &Path, bytes: &[u8], told: &Inspection) {
    let theirs = match goblin::pe::PE::parse(bytes) {
        Ok(theirs) => theirs,
        Err(e) => return println!("{}: goblin cannot read it: {e}", path.display()),
    };
    let ours: usize = told.imports.iter().map(|l| l.symbols.len()).sum();
    assert_eq!(theirs.imports.len(), ours, "{}: imports", path.display());
    let named = told.exports.iter().filter(|e| e.name.is_some()).count();
    let their_named = theirs.exports.iter().filter(|e| e.name.is_some()).count();
    assert_eq!(their_named, named, "{}: exports", path.display());
    assert_eq!(theirs.entry, told.entry);
}

fn can_be_made_ready(path: &Path, bytes: &[u8], image: &PeImage, told: &Inspection) {
    let mut placed = Placed::new(bytes, image.plan(), 0x7f00_0000_0000);
    let done = image.relocate(&mut placed.mem()).unwrap();
    let theirs: usize =
        told.relocations.iter().filter(|&(&kind, _)| kind != "ABSOLUTE").map(|(_, n)| n).sum();
    assert_eq!(done, theirs, "{}: relocations", path.display());
    let bound = image.bind(&mut placed.mem(), &mut anywhere).unwrap();
    assert_eq!(bound, imports(image).len());
    let calls = image.lifecycle(&placed.mem()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(calls.attach, calls.detach);
}
