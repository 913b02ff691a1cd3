//! Initialization files: sections in brackets, and keys with values below them.
//!
//! A file is read and written as a whole by each call. It is UTF-16 or UTF-8 where it begins so, and otherwise of the ANSI
//! code page, which is UTF-8 here. What is no key, as comments are, stays where it is.

use super::{
    Bool, TRUE,
    error::{
        code::{BAD_LENGTH, FILE_NOT_FOUND, INVALID_PARAMETER},
        from_io,
    },
    fail, file,
    strings::from_ansi,
};
use crate::{
    guest::Ptr,
    text::{self, Text},
};
use std::fs;

/// A file by its lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ini {
    lines: Vec<String>,
    wide: bool,
    marked: bool,
}

const WIDE_MARK: [u8; 2] = [0xff, 0xfe];
const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The name of the section that a line begins.
fn section_of(line: &str) -> Option<&str> {
    let inner = line.trim().strip_prefix('[')?;
    Some(inner.split_once(']').map_or(inner, |(name, _)| name).trim())
}

/// Key and value of a line; a comment has none.
fn pair(line: &str) -> Option<(&str, Option<&str>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(';') || line.starts_with('[') {
        return None;
    }
    match line.split_once('=') {
        Some((key, value)) => Some((key.trim_end(), Some(value.trim_start()))),
        None => Some((line, None)),
    }
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

impl Ini {
    fn parse(bytes: &[u8]) -> Self {
        let (text, wide, marked) = if let Some(units) = bytes.strip_prefix(&WIDE_MARK) {
            let units: Vec<u16> = units.as_chunks().0.iter().map(|&two| u16::from_le_bytes(two)).collect();
            (String::from_utf16_lossy(&units), true, true)
        } else {
            let marked = bytes.starts_with(&MARK);
            let bytes = if marked { &bytes[MARK.len()..] } else { bytes };
            (String::from_utf16_lossy(&from_ansi(bytes)), false, marked)
        };
        let text = text.trim_end_matches('\0');
        Self { lines: text.lines().map(|line| line.trim_end_matches('\r').into()).collect(), wide, marked }
    }

    fn bytes(&self) -> Vec<u8> {
        let text: String = self.lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
        match (self.wide, self.marked) {
            (true, _) => {
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                WIDE_MARK.into_iter().chain(units).collect()
            }
            (false, true) => [&MARK[..], text.as_bytes()].concat(),
            (false, false) => text.into_bytes(),
        }
    }

    /// The lines of a section, without its first.
    fn section(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let is_it = |line: &String| section_of(line).is_some_and(|section| same(section, name.trim()));
        let start = self.lines.iter().position(is_it)? + 1;
        let len = self.lines[start..].iter().position(|line| section_of(line).is_some());
        Some(start..len.map_or(self.lines.len(), |len| start + len))
    }

    /// The line of a key.
    fn key(&self, section: &str, key: &str) -> Option<usize> {
        let mut lines = self.section(section)?;
        lines.find(|&at| pair(&self.lines[at]).is_some_and(|(k, _)| same(k, key.trim())))
    }

    fn sections(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| section_of(line)).filter(|name| !name.is_empty()).collect()
    }

    fn pairs(&self, section: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
        let lines = self.section(section).unwrap_or(0..0);
        self.lines[lines].iter().filter_map(|line| pair(line))
    }

    fn value(&self, section: &str, key: &str) -> Option<&str> {
        let at = self.key(section, key)?;
        pair(&self.lines[at])?.1
    }

    /// Sets a value, or takes the key away.
    fn set(&mut self, section: &str, key: &str, value: Option<&str>) {
        let line = value.map(|value| format!("{}={value}", key.trim()));
        match (self.key(section, key), line) {
            (Some(at), Some(line)) => self.lines[at] = line,
            (Some(at), None) => drop(self.lines.remove(at)),
            (None, Some(line)) => {
                let place = self.place(section);
                self.lines.insert(place, line);
            }
            (None, None) => {}
        }
    }

    /// Where a section takes another line: behind its last one. It is made where there is none.
    fn place(&mut self, section: &str) -> usize {
        let Some(lines) = self.section(section) else {
            self.lines.push(format!("[{}]", section.trim()));
            return self.lines.len();
        };
        let used = self.lines[lines.clone()].iter().rposition(|line| !line.trim().is_empty());
        used.map_or(lines.start, |last| lines.start + last + 1)
    }

    fn remove(&mut self, section: &str) {
        if let Some(lines) = self.section(section) {
            self.lines.drain(lines.start - 1..lines.end);
        }
    }

    /// These lines instead of what is in a section.
    fn replace(&mut self, section: &str, new: Vec<String>) {
        let start = match self.section(section) {
            Some(lines) => {
                let start = lines.start;
                self.lines.drain(lines);
                start
            }
            None => self.place(section),
        };
        self.lines.splice(start..start, new);
    }
}

/// Where a file is: a name without a folder is in Windows' own.
fn place(name: &str) -> Result<String, u32> {
    let name = if name.is_empty() { "win.ini" } else { name };
    if name.contains(['\\', '/', ':']) {
        file::host(name)
    } else {
        file::host(&format!(r"C:\windows\{name}"))
    }
}

fn read(name: &str) -> Result<Ini, u32> {
    fs::read(place(name)?).map(|bytes| Ini::parse(&bytes)).map_err(|error| from_io(&error))
}

fn change(name: &str, f: impl FnOnce(&mut Ini)) -> Bool {
    let done = place(name).and_then(|path| {
        let mut ini = match fs::read(&path) {
            Ok(bytes) => Ini::parse(&bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ini::default(),
            Err(error) => return Err(from_io(&error)),
        };
        f(&mut ini);
        fs::write(&path, ini.bytes()).map_err(|error| from_io(&error))
    });
    super::answer(done)
}

/// Texts with a zero each and one more, as many elements as there is room for: then the last two are zeros.
fn list<T: Text>(texts: &[String], to: Ptr<T>, room: u32) -> u32 {
    let room = room as usize;
    let all: Vec<T> = texts.iter().flat_map(|text| T::of(text).into_iter().chain([T::default()])).collect();
    match room {
        _ if to.is_null() || room == 0 => 0,
        _ if all.is_empty() || room == 1 => {
            to.set(T::default());
            0
        }
        _ if all.len() + 1 < room => {
            to.fill(&all);
            to.at(all.len()).set(T::default());
            text::length(all.len())
        }
        _ => {
            to.fill(&all[..all.len().min(room - 2)]);
            to.at(room - 2).fill(&[T::default(); 2]);
            text::length(room - 2)
        }
    }
}

/// Without a pair of quotation marks around it.
fn unquoted(value: &str) -> &str {
    let inner = |mark| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn string<T: Text>(
    section: Ptr<T>,
    key: Ptr<T>,
    default: Ptr<T>,
    to: Ptr<T>,
    room: u32,
    file: Ptr<T>,
) -> u32 {
    let ini = read(&T::string(file));
    if to.is_null() || room == 0 {
        return 0;
    }
    let empty = Ini::default();
    let ini_or = ini.as_ref().unwrap_or(&empty);
    if section.is_null() {
        let all: Vec<String> = ini_or.sections().into_iter().map(Into::into).collect();
        return list(&all, to, room);
    }
    let section = T::string(section);
    if key.is_null() {
        let keys = ini_or
            .pairs(&section)
            .filter(|pair| pair.1.is_some())
            .map(|(key, _)| key.to_owned())
            .collect::<Vec<_>>();
        return list(&keys, to, room);
    }
    let found = ini_or.value(&section, &T::string(key)).map(|value| unquoted(value).to_owned());
    if found.is_none() {
        fail(ini.err().unwrap_or(FILE_NOT_FOUND));
    }
    let value = found.unwrap_or_else(|| T::string(default).trim_end_matches(' ').to_owned());
    let value = T::of(&value);
    let fit = value.len().min(room as usize - 1);
    to.fill(&value[..fit]);
    to.at(fit).set(T::default());
    text::length(fit)
}

/// The number that a value begins with: of base ten, or another that a prefix names.
fn number<T: Text>(section: Ptr<T>, key: Ptr<T>, default: i32, file: Ptr<T>) -> u32 {
    let ini = read(&T::string(file)).unwrap_or_default();
    let value =
        ini.value(&T::string(section), &T::string(key)).map(unquoted).filter(|value| !value.is_empty());
    let parsed = value.and_then(|value| crate::rtl::integer::parse(&text::wide(value), 0).ok());
    parsed.unwrap_or(default.cast_unsigned())
}

/// The lines of a section that are keys, with their values.
fn section<T: Text>(section: Ptr<T>, to: Ptr<T>, room: u32, file: Ptr<T>) -> u32 {
    if section.is_null() || to.is_null() {
        return fail(INVALID_PARAMETER) as u32;
    }
    let ini = match read(&T::string(file)) {
        Ok(ini) => ini,
        Err(error) => {
            list(&[], to, room);
            return fail(error) as u32;
        }
    };
    let line = |(key, value): (&str, Option<&str>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.to_owned(),
    };
    let name = T::string(section);
    fail(if ini.section(&name).is_none() { FILE_NOT_FOUND } else { 0 });
    list(&ini.pairs(&name).map(line).collect::<Vec<_>>(), to, room)
}

/// Without a section what was written before is said to be on its way, which it is already.
fn write_string<T: Text>(section: Ptr<T>, key: Ptr<T>, value: Ptr<T>, file: Ptr<T>) -> Bool {
    if section.is_null() {
        return fail(FILE_NOT_FOUND);
    }
    let (section, key, value) = (T::string(section), T::given(key), T::given(value));
    change(&T::string(file), |ini| match &key {
        Some(key) => ini.set(&section, key, value.as_deref()),
        None => ini.remove(&section),
    })
}

/// Texts with a zero each and one more; none take the section away.
fn write_section<T: Text + PartialEq>(section: Ptr<T>, lines: Ptr<T>, file: Ptr<T>) -> Bool {
    if section.is_null() {
        return fail(FILE_NOT_FOUND);
    }
    let section = T::string(section);
    if lines.is_null() {
        return change(&T::string(file), |ini| ini.remove(&section));
    }
    let mut at = lines;
    let mut new = Vec::new();
    while at.get() != T::default() {
        new.push(T::string(at));
        at = at.at(at.count(usize::MAX) + 1);
    }
    change(&T::string(file), |ini| ini.replace(&section, new))
}

/// Bytes as digits of base sixteen, with the sum of all behind them.
fn write_struct<T: Text>(section: Ptr<T>, key: Ptr<T>, bytes: Ptr<u8>, len: u32, file: Ptr<T>) -> Bool {
    if section.is_null() || key.is_null() {
        return write_string(section, key, Ptr::NULL, file);
    }
    if bytes.is_null() {
        return write_string(section, key, Ptr::NULL, file);
    }
    let bytes = bytes.slice(len as usize);
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let digits: String = bytes.iter().chain([&sum]).map(|byte| format!("{byte:02X}")).collect();
    let (section, key) = (T::string(section), T::string(key));
    change(&T::string(file), |ini| ini.set(&section, &key, Some(&digits)))
}

fn get_struct<T: Text>(section: Ptr<T>, key: Ptr<T>, to: Ptr<u8>, len: u32, file: Ptr<T>) -> Bool {
    let ini = match read(&T::string(file)) {
        Ok(ini) => ini,
        Err(error) => return fail(error),
    };
    let Some(digits) = ini.value(&T::string(section), &T::string(key)) else { return fail(FILE_NOT_FOUND) };
    let byte = |two: &[u8; 2]| str::from_utf8(two).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    match bytes.as_deref().filter(|_| rest.is_empty()).and_then(<[u8]>::split_last) {
        Some((sum, bytes))
            if bytes.len() == len as usize
                && bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == *sum =>
        {
            to.fill(bytes);
            TRUE
        }
        _ => fail(BAD_LENGTH),
    }
}

macro_rules! faces {
    ($($t:ty: $string:ident $int:ident $section:ident $names:ident $write:ident $write_section:ident $get_struct:ident
        $write_struct:ident $own_string:ident $own_int:ident $own_section:ident $own_write:ident $own_write_section:ident;)*) => {$(
        extern "win64" fn $string(section: Ptr<$t>, key: Ptr<$t>, default: Ptr<$t>, to: Ptr<$t>, room: u32, file: Ptr<$t>) -> u32 {
            string(section, key, default, to, room, file)
        }
        extern "win64" fn $int(section: Ptr<$t>, key: Ptr<$t>, default: i32, file: Ptr<$t>) -> u32 {
            number(section, key, default, file)
        }
        extern "win64" fn $section(name: Ptr<$t>, to: Ptr<$t>, room: u32, file: Ptr<$t>) -> u32 {
            section(name, to, room, file)
        }
        extern "win64" fn $names(to: Ptr<$t>, room: u32, file: Ptr<$t>) -> u32 {
            string(Ptr::NULL, Ptr::NULL, Ptr::NULL, to, room, file)
        }
        extern "win64" fn $write(section: Ptr<$t>, key: Ptr<$t>, value: Ptr<$t>, file: Ptr<$t>) -> Bool {
            write_string(section, key, value, file)
        }
        extern "win64" fn $write_section(section: Ptr<$t>, lines: Ptr<$t>, file: Ptr<$t>) -> Bool {
            write_section(section, lines, file)
        }
        extern "win64" fn $get_struct(section: Ptr<$t>, key: Ptr<$t>, to: Ptr<u8>, len: u32, file: Ptr<$t>) -> Bool {
            get_struct(section, key, to, len, file)
        }
        extern "win64" fn $write_struct(section: Ptr<$t>, key: Ptr<$t>, bytes: Ptr<u8>, len: u32, file: Ptr<$t>) -> Bool {
            write_struct(section, key, bytes, len, file)
        }
        extern "win64" fn $own_string(section: Ptr<$t>, key: Ptr<$t>, default: Ptr<$t>, to: Ptr<$t>, room: u32) -> u32 {
            string(section, key, default, to, room, Ptr::NULL)
        }
        extern "win64" fn $own_int(section: Ptr<$t>, key: Ptr<$t>, default: i32) -> u32 {
            number(section, key, default, Ptr::NULL)
        }
        extern "win64" fn $own_section(name: Ptr<$t>, to: Ptr<$t>, room: u32) -> u32 {
            section(name, to, room, Ptr::NULL)
        }
        extern "win64" fn $own_write(section: Ptr<$t>, key: Ptr<$t>, value: Ptr<$t>) -> Bool {
            write_string(section, key, value, Ptr::NULL)
        }
        extern "win64" fn $own_write_section(section: Ptr<$t>, lines: Ptr<$t>) -> Bool {
            write_section(section, lines, Ptr::NULL)
        }
    )*};
}

faces! {
    u8: GetPrivateProfileStringA GetPrivateProfileIntA GetPrivateProfileSectionA GetPrivateProfileSectionNamesA
        WritePrivateProfileStringA WritePrivateProfileSectionA GetPrivateProfileStructA WritePrivateProfileStructA
        GetProfileStringA GetProfileIntA GetProfileSectionA WriteProfileStringA WriteProfileSectionA;
    u16: GetPrivateProfileStringW GetPrivateProfileIntW GetPrivateProfileSectionW GetPrivateProfileSectionNamesW
        WritePrivateProfileStringW WritePrivateProfileSectionW GetPrivateProfileStructW WritePrivateProfileStructW
        GetProfileStringW GetProfileIntW GetProfileSectionW WriteProfileStringW WriteProfileSectionW;
}

table! {
    /// Initialization files.
    pub(crate) TABLE:
        GetPrivateProfileStringA, GetPrivateProfileIntA, GetPrivateProfileSectionA, GetPrivateProfileSectionNamesA,
        WritePrivateProfileStringA, WritePrivateProfileSectionA, GetPrivateProfileStructA, WritePrivateProfileStructA,
        GetProfileStringA, GetProfileIntA, GetProfileSectionA, WriteProfileStringA, WriteProfileSectionA,
        GetPrivateProfileStringW, GetPrivateProfileIntW, GetPrivateProfileSectionW, GetPrivateProfileSectionNamesW,
        WritePrivateProfileStringW, WritePrivateProfileSectionW, GetPrivateProfileStructW, WritePrivateProfileStructW,
        GetProfileStringW, GetProfileIntW, GetProfileSectionW, WriteProfileStringW, WriteProfileSectionW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_stays() {
        let mut ini = Ini::parse(b"; head\r\n[One]\r\n a = 1 \r\n;b=2\r\n\r\n[two]\r\nc='x'\r\n");
        assert_eq!(
            [ini.value("ONE", "A"), ini.value("one", "b"), ini.value("two", "c")],
            [Some("1"), None, Some("'x'")]
        );
        assert_eq!(ini.sections(), ["One", "two"]);
        ini.set("one", "d", Some("4"));
        ini.set("three", "e", Some("5"));
        ini.set("two", "c", None);
        let text = "; head\r\n[One]\r\n a = 1 \r\n;b=2\r\nd=4\r\n\r\n[two]\r\n[three]\r\ne=5\r\n";
        assert_eq!(String::from_utf8(ini.bytes()).unwrap(), text);
        ini.remove("ONE");
        assert_eq!(ini.lines, ["; head", "[two]", "[three]", "e=5"]);
    }

    #[test]
    fn any_width() {
        let wide: Vec<u8> = "\u{feff}[ä]\r\nk=ö\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let ini = Ini::parse(&wide);
        assert_eq!((ini.value("Ä", "K"), ini.bytes()), (Some("ö"), wide));
        // Broken ones too are read.
        for broken in [&b"[[[\n]=\n==\n=\n[\xff"[..], b"\xff\xfe[", b"\xef\xbb\xbf", b"[a"] {
            let mut ini = Ini::parse(broken);
            ini.set("a", "b", Some("c"));
            assert_eq!(ini.value("a", "b"), Some("c"));
        }
    }
}
