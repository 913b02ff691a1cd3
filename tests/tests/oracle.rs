//! The event traces of Windows in the corpus: every scenario in a process of its own, with the result that the table of
//! `corpus/oracle/README.md` says; and the runner survives whatever a folder has in it.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};
use tests::oracle::{Folder, Verdict};

fn judge(folder: &Folder) -> Vec<Verdict> {
    folder.judge(Path::new(env!("CARGO_BIN_EXE_oracle")))
}

/// The results that the table says, by scenario.
fn table() -> BTreeMap<String, String> {
    let text = fs::read_to_string(corpus::root().join("oracle/README.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        Some((name, cells.last()?.trim_end_matches(" |").to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_scenario_has_the_result_that_the_table_says() {
    let table = table();
    let verdicts = judge(&Folder::of_corpus());
    let names: Vec<&String> = verdicts.iter().map(|verdict| &verdict.name).collect();
    assert_eq!(names, table.keys().collect::<Vec<_>>());
    let wrong: Vec<_> = verdicts
        .iter()
        .filter(|verdict| verdict.result.is_ok() != (table[&verdict.name] == "ok"))
        .map(|verdict| {
            format!("{}: {:?}, and the table says {}", verdict.name, verdict.result, table[&verdict.name])
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn whatever_a_folder_has_each_scenario_gets_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    ["scenarios", "expected", "windows"].iter().for_each(|kind| fs::create_dir(at(kind)).unwrap());
    symlink(corpus::root().join("oracle/dlls"), at("dlls")).unwrap();
    let returns = "[T0] > main returns\nexit=0\n";
    let end = format!("[T0] x0 DllMain PROCESS_DETACH reserved=nonnull\n{returns}");
    for (name, script, trace) in [
        ("dies", "load x0.dll x\nfrobnicate\ncall x x0_raise 5\n", end.as_str()),
        ("is-otherwise", "mods x0.dll\n", returns),
        ("is-right", "mods x0.dll\n", "[T0] > mods x0.dll -> -x0.dll\n[T0] > main returns\nexit=0\n"),
        (
            "knows-nothing",
            "frobnicate it\n",
            "[T0] unknown command frobnicate\n[T0] > main returns\nexit=0\n",
        ),
    ] {
        fs::write(at(&format!("scenarios/{name}.txt")), script).unwrap();
        fs::write(at(&format!("expected/{name}.txt")), trace).unwrap();
    }
    fs::write(at("scenarios/has-no-trace.txt"), "mods x0.dll\n").unwrap();
    fs::write(at("expected/has-no-script.txt"), returns).unwrap();
    fs::write(at("scenarios/is-misspelled.txt"), "mods x0.dll\n").unwrap();
    fs::write(at("windows/is-misspelled.txt"), "{{ any order\n").unwrap();
    let verdicts = judge(&Folder::new(folder.path()));
    let told: Vec<(&str, &str)> = verdicts
        .iter()
        .map(|verdict| (&*verdict.name, verdict.result.as_ref().map_or_else(String::as_str, |()| "ok")))
        .collect();
    let [dies, script, trace, misspelled, otherwise, right, nothing] = told[..] else { panic!("{told:#?}") };
    assert!(
        dies.0 == "dies" && dies.1.starts_with("line 1: wanted") && dies.1.contains("x0 DllMain"),
        "{dies:?}"
    );
    assert!(script.0 == "has-no-script" && script.1.starts_with("scenarios/has-no-script.txt"), "{script:?}");
    assert!(trace.0 == "has-no-trace" && trace.1.starts_with("expected/has-no-trace.txt"), "{trace:?}");
    assert_eq!(misspelled, ("is-misspelled", "windows/is-misspelled.txt: a block is not closed"));
    let wanted = "line 1: wanted `[T0] > main returns`, got `[T0] > mods x0.dll -> -x0.dll`";
    assert_eq!(otherwise, ("is-otherwise", wanted));
    assert_eq!([right, nothing], [("is-right", "ok"), ("knows-nothing", "ok")]);
}

#[test]
fn an_exception_that_nobody_handles_is_the_exit_code_and_nobody_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    ["scenarios", "expected"].iter().for_each(|kind| fs::create_dir(at(kind)).unwrap());
    symlink(corpus::root().join("oracle/dlls"), at("dlls")).unwrap();
    fs::write(at("scenarios/raises.txt"), "load x0.dll x\ncall x x0_raise 5\n").unwrap();
    let trace = "[T0] x0 DllMain PROCESS_ATTACH reserved=null\n[T0] > load x0.dll x -> ok\n[T0] > call x x0_raise 5 ->\nexit=5\n";
    fs::write(at("expected/raises.txt"), trace).unwrap();
    let verdicts = judge(&Folder::new(folder.path()));
    assert_eq!(verdicts, [Verdict { name: "raises".into(), result: Ok(()) }]);
}

#[test]
fn a_folder_that_is_not_there_has_no_scenarios() {
    assert_eq!(judge(&Folder::new("/nowhere")), []);
}
