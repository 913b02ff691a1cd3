//! What `loader call` prints when code faults: `report.snapshot` holds its shape. What is in it is held against the source of
//! the libraries in the suite of reports.

use std::{
    env,
    fmt::Write,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

const LIBRARIES: [&str; 2] = ["elf/fault-report/libfault-report.so", "pe/fault-report/fault-report.dll"];
const FAULTS: [&str; 5] = ["null_write", "sealed_write", "null_jump", "stack_overflow", "division"];

fn call(library: &str, symbol: &str, more: &[&str]) -> Output {
    let file = corpus::root().join(library);
    Command::new(env!("CARGO_BIN_EXE_loader")).arg("call").arg(file).arg(symbol).args(more).output().unwrap()
}

/// The text with what differs from machine to machine taken out: addresses outside the image, what registers happen to
/// hold, the host's frames, and what comes of where the library lies.
fn shape(text: &str, name: &str) -> String {
    let mut shape = String::new();
    let mut hosts = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match &words[..] {
            [number, place, ..] if number.starts_with('#') && !place.starts_with(name) && *place != "0x0" => {
                hosts += 1
            }
            [register, value, ..] if value.len() == 18 && value.starts_with("0x") => {
                writeln!(shape, "    {register:<6}  ADDRESS").unwrap();
            }
            _ => {
                if std::mem::take(&mut hosts) > 0 {
                    writeln!(shape, "    #... of the host").unwrap();
                }
                writeln!(shape, "{}", without_addresses(line)).unwrap();
            }
        }
    }
    shape
}

/// Numbers of more than six digits are addresses; paths of events are cut to the file.
fn without_addresses(line: &str) -> String {
    let root = format!("{}/", corpus::root().display());
    let mut words = line.replace(&root, "").split("0x").map(str::to_string).collect::<Vec<_>>();
    for word in words.iter_mut().skip(1) {
        let digits = word.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(word.len());
        let number = if digits > 6 { "ADDRESS" } else { &word[..digits] };
        *word = format!("{}{number}{}", if digits > 6 { "" } else { "0x" }, &word[digits..]);
    }
    words.concat()
}

#[test]
fn the_shape_of_the_text_is_held() {
    let mut shapes = String::new();
    for library in LIBRARIES {
        let name = library.rsplit('/').next().unwrap();
        for symbol in FAULTS {
            let output = call(library, symbol, &[]);
            assert_eq!(output.stdout, b"");
            let text = String::from_utf8(output.stderr).unwrap();
            let code = output.status.code();
            writeln!(shapes, "── {name}: {symbol}\n{}exit code {code:?}\n", shape(&text, name)).unwrap();
        }
    }
    let held = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/report.snapshot");
    if env::var_os("RENEW_SNAPSHOT").is_some() {
        fs::write(&held, &shapes).unwrap();
    }
    let held = fs::read_to_string(held).unwrap();
    let differs = held.lines().zip(shapes.lines()).find(|(held, now)| held != now);
    assert_eq!((differs, held.len()), (None, shapes.len()), "RENEW_SNAPSHOT=1 writes what is there now");
}

#[test]
fn programs_get_it_as_an_object() {
    for (library, signal, line) in
        [(LIBRARIES[0], 11.into(), 55), (LIBRARIES[1], serde_json::Value::Null, 62)]
    {
        let output = call(library, "null_write", &["--json"]);
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (error, fault) = (&object["error"], &object["error"]["fault"]);
        assert_eq!((&error["signal"], &fault["place"]["line"]["line"]), (&signal, &line.into()));
        assert_eq!(fault["stack"]["frames"][2]["symbol"]["name"], "null_write");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "a sentence for people: {text}");
    }
}
