//! Libraries of the machine, read by this crate and by full parsers of other people's: the answers must be the same.

mod common;

use common::{BASE, STATIC, Window, system};
use loader_core::{Addr, Export, Image, Query, Requester, Resolution, Symbol};
use loader_elf::{Inspection, Search, inspect};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

const LIBRARIES: [&str; 8] = [
    "libz.so.1",
    "libstdc++.so.6",
    "libm.so.6",
    "libc.so.6",
    "libcrypto.so.3",
    "libsqlite3.so.0",
    "libpython3.11.so.1.0",
    "libLLVM-14.so.1",
];

fn each(test: impl Fn(&str, &[u8], &Arc<loader_elf::ElfImage>, &Inspection)) {
    for name in LIBRARIES {
        if let Some((source, image)) = system(name) {
            let seen = inspect(source.bytes()).expect("readable by others");
            test(name, source.bytes(), &image, &seen);
        }
    }
}

#[test]
fn names_and_needs_are_what_others_read() {
    each(|name, _, image, seen| {
        assert_eq!(image.own_name(), seen.own_name.as_deref(), "{name}");
        let needs: Vec<_> = image.needs().iter().map(|n| n.name.to_string()).collect();
        assert_eq!(needs, seen.needs, "{name}");
    });
}

#[test]
fn every_export_is_found_in_its_version_and_where_it_is() {
    each(|name, _, image, seen| {
        let base = image.plan().link_base().0;
        let mut found = 0;
        for e in seen.exports.iter().filter(|e| e.kind != "SECTION") {
            if e.value == 0 && e.kind != "TLS" {
                continue; // the name of a version, or nothing at all
            }
            let query =
                Query { version: e.version.as_deref().map(str::as_bytes), ..Query::name(e.name.as_bytes()) };
            let value = match image.export(&query).expect("readable tables") {
                Some(Export::At(at) | Export::Unique(at) | Export::Resolver(at)) => at.0 + base,
                Some(Export::Tls { offset }) => offset,
                Some(Export::Absolute(value)) => value,
                other => panic!("{name}: {} {:?}: {other:?}", e.name, e.version),
            };
            assert_eq!(value, e.value, "{name}: {}@{:?}", e.name, e.version);
            found += 1;
        }
        assert!(found > 0, "{name} exports something");
    });
}

#[test]
fn a_name_without_a_version_gets_the_default_one() {
    each(|name, _, image, seen| {
        let mut defaults: HashMap<&str, Vec<_>> = HashMap::new();
        for e in seen.exports.iter().filter(|e| e.value != 0 && !e.hidden) {
            defaults.entry(&e.name).or_default().push(e.value);
        }
        let hidden = seen.exports.iter().filter(|e| e.hidden && !defaults.contains_key(&*e.name));
        for e in hidden {
            let none = image.export(&Query::name(e.name.as_bytes())).expect("readable tables");
            assert_eq!(none, None, "{name}: {} has only hidden versions", e.name);
        }
        let base = image.plan().link_base().0;
        for (symbol, values) in defaults {
            match image.export(&Query::name(symbol.as_bytes())).expect("readable tables") {
                Some(Export::At(at) | Export::Unique(at) | Export::Resolver(at)) => {
                    assert!(values.contains(&(at.0 + base)), "{name}: {symbol}");
                }
                other => assert!(other.is_some(), "{name}: {symbol}"),
            }
        }
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    each(|name, _, image, seen| {
        let all: HashSet<_> = seen.exports.iter().map(|e| &*e.name).collect();
        for e in seen.exports.iter().take(2000) {
            let other = format!("{}?", e.name);
            if !all.contains(&*other) {
                let found = image.export(&Query::name(other.as_bytes())).expect("readable tables");
                assert_eq!(found, None, "{name}: {other}");
            }
            let query = Query { version: Some(b"NO_SUCH_VERSION"), ..Query::name(e.name.as_bytes()) };
            if e.version.is_some() {
                let found = image.export(&query).expect("readable tables");
                assert_eq!(found, None, "{name}: {}", e.name);
            }
        }
    });
}

#[test]
fn every_relocation_is_applied_once() {
    for name in LIBRARIES {
        let Some((source, image)) = system(name) else { continue };
        let seen = inspect(source.bytes()).expect("readable by others");
        let mut window = Window::of(&*image, &source);
        let relocated = image.relocate(&mut window.open()).expect("relocations");
        let count = |kind: &str| seen.relocations.get(kind).copied().unwrap_or(0);
        let nameless = ["X86_64_RELATIVE", "X86_64_RELATIVE64", "X86_64_IRELATIVE", "RELR"];
        assert_eq!(relocated as u64, nameless.iter().map(|k| count(k)).sum(), "{name}");
        assert_eq!(window.late().len() as u64, count("X86_64_IRELATIVE"), "{name}");
        let symbols = seen.imports.iter().chain(&seen.exports);
        let thread_local: HashSet<_> =
            symbols.filter(|s| s.kind == "TLS").map(|s| s.name.as_bytes()).collect();
        let mut asked = HashSet::new();
        let bound = image.bind(&mut window.open(), &mut |query: &Query<'_>| {
            let Symbol::Name(symbol) = query.symbol else { panic!("ELF has no ordinals") };
            assert!(asked.insert((symbol.to_vec(), query.version.map(<[u8]>::to_vec))), "{name}");
            Ok(match thread_local.contains(symbol) {
                true => Resolution::Tls { home: STATIC, offset: 8 },
                false => Resolution::At(Addr(BASE)),
            })
        });
        let all: u64 = seen.relocations.values().sum();
        assert_eq!((relocated + bound.expect("relocations")) as u64, all, "{name}");
    }
}

#[test]
fn each_import_is_asked_for_once_and_named_as_others_read_it() {
    each(|name, bytes, image, seen| {
        let mut imports = Vec::new();
        image
            .imports(&mut |q| {
                imports.push((
                    q.symbol.text().into_owned(),
                    q.version.map(|v| String::from_utf8_lossy(v).into_owned()),
                ));
            })
            .expect("readable tables");
        let all = imports.len();
        imports.sort();
        imports.dedup();
        assert_eq!(all, imports.len(), "{name}: asked twice");
        let known: HashSet<_> =
            seen.imports.iter().chain(&seen.exports).map(|s| (s.name.clone(), s.version.clone())).collect();
        for import in imports {
            assert!(known.contains(&import), "{name}: {import:?} of {} bytes", bytes.len());
        }
    });
}

#[test]
fn initialisers_are_code_of_the_image_in_order() {
    let Some((source, image)) = system("libz.so.1") else { return };
    let mut window = Window::of(&*image, &source);
    image.relocate(&mut window.open()).expect("relocations");
    let calls = image.lifecycle(&window.open()).expect("lists inside the image");
    assert!(calls.attach.len() >= 2 && calls.detach.len() >= 2 && calls.thread.is_empty());
    assert!(calls.attach.iter().all(|e| window.open().at.contains(e.at)));
}

#[test]
fn the_rules_of_the_system_lead_to_its_libraries() {
    let search = Search::system();
    let by = Requester { name: "", path: None, image: None };
    for name in LIBRARIES.into_iter().filter(|n| system(n).is_some()) {
        let found = search.candidates(name, &by).find(|p| p.exists());
        assert!(found.is_some(), "{name}");
    }
    assert!(!search.candidates("libno-such-library.so", &by).any(|p| p.exists()));
}
