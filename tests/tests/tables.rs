//! What the tables of this crate's `README.md` name is there: cases, tests, scenes, files; and the corpus' own table has
//! every case.

use corpus::{Format, hostile};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tests::guest::SCENES;

/// The folder that has all crates.
fn workspace() -> PathBuf {
    corpus::root().join("..")
}

/// The cells of every row of a text's tables, with those of the table's head before them.
fn rows(text: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let mut found = Vec::new();
    let mut head: Option<Vec<&str>> = None;
    for line in text.lines() {
        let Some(inside) = line.strip_prefix('|') else {
            head = None;
            continue;
        };
        let cells: Vec<&str> = inside.trim_end_matches('|').split('|').map(str::trim).collect();
        match &head {
            None => head = Some(cells),
            Some(_) if cells.iter().all(|cell| cell.chars().all(|c| c == '-')) => {}
            Some(head) => found.push((head.clone(), cells)),
        }
    }
    found
}

/// What is between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of all functions under `#[test]` in a folder's sources.
fn add_tests(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            add_tests(&path, names);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = fs::read_to_string(path).unwrap();
            for part in source.split("#[test]").skip(1) {
                let function = part.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
                names.extend(function.map(|(name, _)| name.to_owned()));
            }
        }
    }
}

/// Every test of the workspace, in crates' `src` and `tests`.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(workspace()).unwrap().map(Result::unwrap) {
        let crate_folders = ["src", "tests"].map(|folder| entry.path().join(folder));
        let is_crate = entry.path().join("Cargo.toml").is_file();
        crate_folders
            .iter()
            .filter(|folder| is_crate && folder.is_dir())
            .for_each(|f| add_tests(f, &mut names));
    }
    names
}

/// Whether a name that has the looks of a file is one, from the workspace or among the suites.
fn is_file(name: &str) -> bool {
    ["", "tests", "tests/tests"].iter().any(|folder| workspace().join(folder).join(name).exists())
}

#[test]
fn every_case_and_test_that_the_tables_name_is_there() {
    let text = fs::read_to_string(workspace().join("tests/README.md")).unwrap();
    let cases: BTreeSet<String> = corpus::cases().unwrap().into_iter().map(|case| case.name).collect();
    let (tests, images) = (tests(), hostile::images());
    let scene = |name: &str| SCENES.iter().any(|scene| scene.name == name);
    let (mut missing, mut named) = (Vec::new(), 0);
    for (head, cells) in rows(&text) {
        for (&column, cell) in head.iter().zip(&cells) {
            for name in quoted(cell) {
                let is_there = match column {
                    "case" => cases.contains(name),
                    "test" => tests.contains(name) || scene(name) || is_file(name) || cases.contains(name),
                    "remark" => !name.starts_with("elf-") || images.iter().any(|image| image.name == name),
                    _ => continue,
                };
                named += 1;
                if !is_there {
                    missing.push(name);
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 250, "only {named} names were found");
}

#[test]
fn every_row_of_the_elf_table_has_a_case_or_a_test_or_says_why_not() {
    let text = fs::read_to_string(workspace().join("tests/README.md")).unwrap();
    let of_elf: Vec<_> = rows(&text).into_iter().filter(|(head, _)| head[0] == "row").collect();
    let numbers: Vec<&str> = of_elf.iter().map(|(_, cells)| cells[0]).collect();
    assert_eq!(numbers, (1..=67).map(|n| n.to_string()).collect::<Vec<_>>());
    for (_, cells) in of_elf {
        let [_, about, case, test, remark] = cells[..] else { panic!("{cells:?}") };
        let has_answer = [case, test, remark].iter().any(|cell| !cell.is_empty());
        assert!(has_answer && !about.is_empty(), "{cells:?}");
    }
}

#[test]
fn the_corpus_table_has_every_case_once_and_no_other() {
    let text = fs::read_to_string(workspace().join("corpus/README.md")).unwrap();
    let said: Vec<(String, [bool; 2])> = rows(&text)
        .into_iter()
        .filter(|(head, _)| head[..] == ["case", "about", "ELF", "PE"])
        .map(|(_, cells)| (quoted(cells[0]).collect(), [cells[2] == "yes", cells[3] == "yes"]))
        .collect();
    let cases = corpus::cases().unwrap();
    let names: BTreeSet<&String> = cases.iter().map(|case| &case.name).collect();
    let has = |name: &str, format| cases.iter().any(|case| case.format == format && case.name == name);
    let there: Vec<(String, [bool; 2])> =
        names.into_iter().map(|name| (name.clone(), Format::ALL.map(|format| has(name, format)))).collect();
    assert_eq!(said, there);
}
