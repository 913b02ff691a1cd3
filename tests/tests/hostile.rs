//! Every hostile image of the corpus: refused with a reason before any of its code runs, or taken without harm; in both
//! cases nothing of it stays. Each runs in a child of its own.

use corpus::{Format, hostile::Hostile};
use std::{path::Path, time::Duration};
use tests::{
    cores::{child, nothing_wrong, on_all_cores},
    survive,
};

/// No image may make a loader loop; this is for a machine that is busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Images that may be taken, and whose own initialiser is nonsense then: if it does not end by an exception, it dies.
const DIE_OF_THEMSELVES: [(&str, &str); 1] =
    [("pe-import-address-in-text", "the addresses of its imports go over the code of its DllMain")];

/// Whether a child died in the code of an image of which that is known.
fn died_of_itself(name: &str, what: &str) -> bool {
    let known = DIE_OF_THEMSELVES.iter().any(|&(known, _)| known == name);
    let last = what.trim_end().rsplit('\n').next().unwrap_or_default();
    known && what.starts_with("died of SIG") && last.contains("calling    DllMain")
}

#[test]
fn every_hostile_image_is_refused_or_taken_without_harm() {
    a_sound_image_that_should_be_refused_is_noticed();
    let folder = tempfile::tempdir().unwrap();
    let images = corpus::hostile::images();
    let results = on_all_cores(&images, |image| {
        let folder = folder.path().to_str().ok_or("a folder without a name")?;
        child(Path::new(env!("CARGO_BIN_EXE_run-case")), &["hostile", image.name, folder], LIMIT)
            .or_else(|what| if died_of_itself(image.name, &what) { Ok(()) } else { Err(what) })
            .map_err(|what| format!("{} ({}) {what}", image.name, image.teaches))
    });
    nothing_wrong("hostile images", results);
}

/// Shows that the check can fail. Not a test of its own: it compares this process's mappings, so nothing may run beside.
fn a_sound_image_that_should_be_refused_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = corpus::demo::LIBDEMODEP_SO.to_vec();
    let mut image = Hostile { name: "sound", teaches: "", bytes, format: Some(Format::Elf), refuse: false };
    assert_eq!(survive::run(&image, folder.path()), Ok(()));
    image.refuse = true;
    let noticed = survive::run(&image, folder.path()).unwrap_err();
    assert!(noticed.contains("it was taken"), "{noticed}");
}
