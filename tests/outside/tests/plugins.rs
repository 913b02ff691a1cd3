//! Plug-ins, good and bad. The process that runs these tests is the same one all the time.

use outside::{Turn, add};

const GOOD: [(&str, &[u8]); 2] = [
    ("libplain.so", include_bytes!("../../../corpus/elf/plain/libplain.so")),
    ("plain.dll", include_bytes!("../../../corpus/pe/plain/plain.dll")),
];
const BAD: [(&str, &[u8]); 2] = [
    ("libmischief.so", include_bytes!("../../../corpus/mischief/elf/libmischief.so")),
    ("mischief.dll", include_bytes!("../../../corpus/mischief/pe/mischief.dll")),
];

fn stopped(function: &str) -> [String; 2] {
    BAD.map(|(name, bytes)| match add(name, bytes, function, 1, 2).unwrap() {
        Turn::Stopped(how) => how,
        other => panic!("{function} of {name}: {other:?}"),
    })
}

#[test]
fn good_plug_ins_answer() {
    for (name, bytes) in GOOD {
        assert_eq!(add(name, bytes, "plain_add", 40, 2).unwrap(), Turn::Answer(42));
    }
}

#[test]
fn a_plug_in_that_faults_takes_nobody_with_it() {
    let [elf, pe] = stopped("calls_null");
    assert!(elf.contains("SIGSEGV"), "{elf}");
    assert!(pe.contains("0xc0000005"), "{pe}");
}

#[test]
fn a_plug_in_that_never_ends_is_ended() {
    assert!(stopped("spins").iter().all(|how| how.contains("over the limit of time")));
}

#[test]
fn a_plug_in_that_exits_exits_alone() {
    assert!(stopped("exits").iter().all(|how| how.contains("exited with code 7")));
}

#[test]
fn what_is_no_plug_in_is_said_to_be_none() {
    let Turn::Unusable(why) = add("text", b"#!/bin/sh\n", "f", 1, 2).unwrap() else { panic!("usable") };
    assert_eq!(why, "text: parse: not a loadfile: a text file");
}
