//! The corpus runner notices what is wrong. One test in a process of its own: the runner compares this process's mappings, so
//! nothing may run beside it.

use corpus::{Case, Format};
use tests::{
    runner::{Failure, run},
    subject::{Glibc, Ours, Subject},
};

/// What the runner makes of a script about the images of one folder of the corpus.
fn told<S: Subject>(format: Format, folder: &str, file: &str, script: &str) -> Result<(), Failure> {
    let text = format!("teaches: x\nimage: {file} <- x\n{script}\nleaves: nothing\n");
    let folder = corpus::root().join(format.folder()).join(folder);
    run::<S>(&Case::parse(format, &folder, &text).unwrap())
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let plain = |script: &str| told::<Ours>(Format::Elf, "plain", "libplain.so", script);
    let failing = |script: &str| told::<Ours>(Format::Elf, "failing-initialiser", "libfailing.so", script);
    let missing = |script: &str| told::<Ours>(Format::Pe, "missing-dependency", "missing.dll", script);
    let glibc = |script: &str| told::<Glibc>(Format::Elf, "failing-initialiser", "libfailing.so", script);
    plain("open: libplain.so\ncall: plain_add(i32:2, i32:3) = i32:5\nclose: libplain.so").unwrap();
    let (open, close) = ("open: libplain.so", "close: libplain.so");
    let (init, fini) = ("log: init failing", "log: fini failing");
    let (opens, closes) = ("open: libfailing.so", "close: libfailing.so");
    for (result, line, words) in [
        (
            plain(&format!("{open}\ncall: plain_add(i32:2, i32:3) = i32:6\n{close}")),
            4,
            "gave i32:5, not i32:6",
        ),
        (plain(&format!("{open}\nthread-call: plain_half(f32:1) = f32:1\n{close}")), 4, "gave f32:0.5"),
        (plain(&format!("{open}\ncall: nowhere() = void\n{close}")), 4, "nowhere is not there"),
        (plain(&format!("{open}\nabsent: plain_add\n{close}")), 4, "plain_add is there"),
        (plain(&format!("{open}\nrights: plain_add = rw-\n{close}")), 4, "is r-x, not rw-"),
        (plain(&format!("{open}\nrefused: libplain.so")), 3, "should have been refused"),
        (plain(&format!("{open}\nlog: hello\n{close}")), 3, "said [], not [\"hello\"]"),
        (failing(&format!("{opens}\n{closes}\n{fini}")), 3, "said [\"init failing\"], not []"),
        (
            failing(&format!("{opens}\n{init}\n{fini}\n{closes}")),
            3,
            "not [\"init failing\", \"fini failing\"]",
        ),
        (failing(&format!("{opens}\n{init}\nglibc: differs NOT_A_CONSTANT\n{closes}")), 3, "no constant"),
        (missing("open: missing.dll\nclose: missing.dll"), 3, "refused: missing-gone.dll"),
        (missing("open: missing.dll\nrefused: missing.dll elsewhere"), 3, "does not say `elsewhere`"),
        (missing("open: missing.dll\nrefused: missing.dll\nwin32: 127"), 3, "refused with 126, not 127"),
        (
            glibc(&format!("{opens}\n{init}\nglibc: differs SIBLING_ORDER\n{closes}")),
            3,
            "nothing differs here",
        ),
    ] {
        let failure = result.unwrap_err();
        assert!(failure.line == line && failure.what.contains(words), "{failure}; wanted {line}: {words}");
    }
}
