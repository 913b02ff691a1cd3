//! Broken images: an error or a plan that holds, never a panic, never a write outside, never a loop without an end.

mod common;

use common::{
    Placed, anywhere,
    build::{Blob, Dir, Spec, dll},
    parse,
};
use loader_core::{ErrorKind, Image, PAGE, Query, Rights};
use object::pe;
use std::{fs, path::Path};

/// The window of a mutated image may be gigabytes long; that is the address space's business, not the format's.
const LONGEST_WINDOW: u64 = 1 << 24;

/// Takes an image through everything that a load does. Errors are fine.
fn survive(bytes: &[u8]) -> bool {
    let _ = loader_pe::inspect(bytes);
    let Ok(image) = parse(bytes) else { return false };
    let plan = image.plan();
    assert!(plan.regions().windows(2).all(|w| w[0].at.end <= w[1].at.start));
    let _ = (image.resources(), image.delayed(), image.tls(), image.functions());
    let _ = image.imports(&mut |q| {
        let _ = image.export(q);
    });
    (0..32).for_each(|n| drop(image.export(&Query::ordinal(n))));
    let _ = image.export(&Query::name(b"alpha"));
    if plan.len().get() > LONGEST_WINDOW {
        return true;
    }
    let mut placed = Placed::new(bytes, plan, 0x7000_0000_0000);
    let _ = image.relocate(&mut placed.mem());
    let _ = image.bind(&mut placed.mem(), &mut anywhere);
    if let Ok(calls) = image.lifecycle(&placed.mem()) {
        for entry in calls.attach {
            let at = placed.at.rva_of(entry.at).unwrap();
            assert!(plan.allows(at, Rights::EXECUTE));
        }
    }
    assert_eq!(placed.window.len() as u64 % PAGE, 0);
    true
}

fn every_truncation(whole: &[u8]) {
    for len in 0..whole.len() {
        survive(&whole[..len]);
    }
}

fn every_byte(whole: &[u8], masks: &[u8], step: usize) {
    let mut bytes = whole.to_vec();
    for at in (0..bytes.len()).step_by(step) {
        for mask in masks {
            bytes[at] ^= mask;
            survive(&bytes);
            bytes[at] ^= mask;
        }
    }
}

/// Marsaglia's xorshift: the same changes in every run.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as usize
}

#[test]
fn every_truncation_of_the_built_dll() {
    let whole = dll(&Spec::default());
    assert!(survive(&whole));
    every_truncation(&whole);
}

#[test]
fn every_byte_of_the_built_dll_changed() {
    every_byte(&dll(&Spec::default()), &[0x01, 0x80, 0xff, 0x10], 1);
}

#[test]
fn many_bytes_of_the_built_dll_changed() {
    let whole = dll(&Spec::default());
    let mut state = 0x2545_f491_4f6c_dd1d;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random(&mut state) % 6 {
            let at = random(&mut state) % bytes.len();
            bytes[at] = random(&mut state) as u8;
        }
        survive(&bytes);
    }
}

#[test]
fn corpus_images_cut_and_changed() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/pe"));
    let Some(whole) = smallest(folder) else {
        return println!("skipped: needs images in corpus/pe");
    };
    let whole = fs::read(whole).unwrap();
    assert!(survive(&whole));
    for len in (0..whole.len()).step_by(61) {
        survive(&whole[..len]);
    }
    every_byte(&whole, &[0xff], 7);
}

fn smallest(folder: &Path) -> Option<std::path::PathBuf> {
    let cases = fs::read_dir(folder).ok()?.flatten();
    let files = cases.flat_map(|c| fs::read_dir(c.path()).into_iter().flatten().flatten());
    files
        .map(|f| f.path())
        .filter(|p| p.extension().is_some_and(|e| e == "dll"))
        .min_by_key(|p| fs::metadata(p).map_or(u64::MAX, |m| m.len()))
}

/// A thousand libraries that share one table of two thousand ordinals.
fn shared_table(r: &mut Blob) -> Dir {
    let name = r.text("many.dll");
    let mut thunks = vec![pe::IMAGE_ORDINAL_FLAG64 | 1; 2000];
    thunks.push(0);
    let names = r.u64s(&thunks);
    let mut table = [names, 0, 0, name, names].repeat(1000);
    table.extend([0; 5]);
    (pe::IMAGE_DIRECTORY_ENTRY_IMPORT, r.u32s(&table), 0)
}

#[test]
fn more_imports_than_slots_are_refused() {
    let spec = Spec { imports: shared_table, resources: no_resources, ..Spec::default() };
    let image = parse(&dll(&spec)).unwrap();
    assert_eq!(image.needs().len(), 1);
    let mut seen = 0;
    let refused = image.imports(&mut |_| seen += 1);
    assert!(matches!(refused, Err(ErrorKind::Malformed { .. })));
    assert_eq!(seen, image.plan().len().get() / 8);
}

fn no_resources(_: &mut Blob) -> Dir {
    (pe::IMAGE_DIRECTORY_ENTRY_RESOURCE, 0, 0)
}

/// A directory of many entries, each of which is the directory itself.
fn circle(r: &mut Blob) -> Dir {
    let start = r.u32s(&[0, 0, 0, 40 << 16]);
    r.u32s(&[1, 1 << 31].repeat(40));
    (pe::IMAGE_DIRECTORY_ENTRY_RESOURCE, start, 0)
}

/// Three levels of directories and no leaf: 600 times 600 ways to nothing.
fn barren(r: &mut Blob) -> Dir {
    let level = |next: u32| [&[0, 0, 0, 600 << 16][..], &[1, 1 << 31 | next].repeat(600)].concat();
    let len = 16 + 600 * 8;
    let start = r.u32s(&level(len));
    r.u32s(&level(2 * len));
    r.u32s(&[0; 4]);
    (pe::IMAGE_DIRECTORY_ENTRY_RESOURCE, start, 0)
}

#[test]
fn resources_in_a_circle_end() {
    for resources in [circle, barren] {
        let spec =
            Spec { imports: |_| (pe::IMAGE_DIRECTORY_ENTRY_IMPORT, 0, 0), resources, ..Spec::default() };
        let refused = parse(&dll(&spec)).unwrap().resources();
        assert!(matches!(refused, Err(ErrorKind::Malformed { .. })), "{refused:?}");
    }
}
