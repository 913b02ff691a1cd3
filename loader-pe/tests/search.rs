//! Where a DLL is looked for.

use loader_core::Requester;
use loader_pe::{Search, key, search::on_disk};
use std::{fs, path::Path};

#[test]
fn keys_are_what_modules_are_compared_by() {
    for (name, wanted) in [
        ("KERNEL32", "kernel32.dll"),
        ("Kernel32.DLL", "kernel32.dll"),
        ("C:\\Windows\\System32\\User32.dll", "user32.dll"),
        ("dir/Foo", "foo.dll"),
        ("noext.", "noext"),
        ("module.pyd", "module.pyd"),
        ("kernelbase.dll", "kernelbase.dll"),
        ("api-ms-win-crt-stdio-l1-1-0.dll", "ucrtbase.dll"),
        ("API-MS-Win-Core-Synch-L1-2-0", "kernel32.dll"),
        ("ext-ms-win-ntuser-window-l1-1-0", "user32.dll"),
    ] {
        assert_eq!(&*key(name), wanted, "{name}");
    }
}

/// Real names of API sets, and the library that documents the functions in them.
#[test]
fn api_sets_stand_for_the_libraries_that_have_their_functions() {
    for (name, wanted) in [
        ("api-ms-win-core-processthreads-l1-1-3", "kernel32.dll"),
        ("api-ms-win-core-libraryloader-l1-2-0.dll", "kernel32.dll"),
        ("api-ms-win-core-rtlsupport-l1-1-0.dll", "ntdll.dll"),
        ("api-ms-win-core-version-l1-1-0.dll", "version.dll"),
        ("api-ms-win-core-winrt-string-l1-1-0.dll", "combase.dll"),
        ("api-ms-win-core-shlwapi-obsolete-l1-1-0.dll", "shlwapi.dll"),
        ("api-ms-win-crt-private-l1-1-0.dll", "ucrtbase.dll"),
        ("api-ms-win-security-base-l1-2-0.dll", "advapi32.dll"),
        ("api-ms-win-eventing-provider-l1-1-0.dll", "advapi32.dll"),
        ("api-ms-win-mm-time-l1-1-0.dll", "winmm.dll"),
        ("api-ms-win-rtcore-ntuser-window-l1-1-0.dll", "user32.dll"),
        ("api-ms-win-power-base-l1-1-0.dll", "powrprof.dll"),
        ("api-ms-win-downlevel-advapi32-l1-1-0.dll", "advapi32.dll"),
        ("api-ms-win-downlevel-shlwapi-l2-1-0.dll", "shlwapi.dll"),
        ("ext-ms-win-kernel32-package-l1-1-0.dll", "kernel32.dll"),
        ("ext-ms-win-ntuser-windowstation-l1-1-0.dll", "user32.dll"),
        ("ext-ms-win-rtcore-gdi-object-l1-1-0.dll", "gdi32.dll"),
        ("ext-ms-win-ole32-clipboard-ie-l1-1-0.dll", "ole32.dll"),
        ("ext-ms-win-shell32-shellfolders-l1-1-0.dll", "shell32.dll"),
        // Those that a desktop Windows has not are names like any other: the file is not found.
        ("ext-ms-onecore-foo-l1-1-0.dll", "ext-ms-onecore-foo-l1-1-0.dll"),
        ("ext-ms-win-nobody-l1-1-0.dll", "ext-ms-win-nobody-l1-1-0.dll"),
        ("api-ms-windows.dll", "api-ms-windows.dll"),
    ] {
        assert_eq!(&*key(name), wanted, "{name}");
    }
}

fn requester(path: Option<&Path>) -> Requester<'_> {
    Requester { name: "", path, image: None }
}

#[test]
fn folder_of_the_requester_comes_first_and_case_does_not_matter() {
    let (own, extra) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let search = Search { dirs: vec![extra.path().into()] };
    fs::write(own.path().join("FOO.dll"), "").unwrap();
    fs::write(extra.path().join("foo.dll"), "").unwrap();
    let asks = own.path().join("asks.dll");
    let found: Vec<_> = search.candidates("Foo", &requester(Some(&asks))).collect();
    let wanted = [
        own.path().join("Foo.dll"),
        own.path().join("FOO.dll"),
        extra.path().join("Foo.dll"),
        extra.path().join("foo.dll"),
    ];
    assert_eq!(found, wanted);
    let found: Vec<_> = search.candidates("foo.dll", &requester(None)).filter(|p| p.exists()).collect();
    assert_eq!(found, [extra.path().join("foo.dll")]);
}

#[test]
fn path_is_that_file_only() {
    let own = tempfile::tempdir().unwrap();
    fs::write(own.path().join("Foo.dll"), "").unwrap();
    let search = Search { dirs: vec!["/elsewhere".into()] };
    let asked = format!("{}\\foo.dll", own.path().display());
    let found: Vec<_> = search.candidates(&asked, &requester(None)).collect();
    assert_eq!(found, [own.path().join("foo.dll"), own.path().join("Foo.dll")]);
}

#[test]
fn api_set_is_looked_for_as_the_library_behind_it() {
    let search = Search { dirs: vec!["/nowhere".into()] };
    let found: Vec<_> = search.candidates("api-ms-win-crt-math-l1-1-0.dll", &requester(None)).collect();
    assert_eq!(found, [Path::new("/nowhere/ucrtbase.dll")]);
}

#[test]
fn a_path_has_no_case_and_what_is_not_there_stays_as_it_is() {
    let held = tempfile::tempdir().unwrap();
    let at = |path: &str| held.path().join(path);
    fs::create_dir_all(at("Some/Folder")).unwrap();
    fs::write(at("Some/Folder/A.dll"), "").unwrap();
    for (asked, found) in [
        ("Some/Folder/A.dll", "Some/Folder/A.dll"),
        ("SOME/folder/a.DLL", "Some/Folder/A.dll"),
        ("some/../SOME/folder", "Some/../Some/Folder"),
        ("some/folder/New.txt", "Some/Folder/New.txt"),
        ("nowhere/A.dll", "nowhere/A.dll"),
    ] {
        assert_eq!(on_disk(&at(asked)), at(found), "{asked}");
    }
}
