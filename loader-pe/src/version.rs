//! Version resources: a tree of named values, each with its length, as `VerQueryValue` walks it.

use std::ops::Range;

/// A value of a version resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its bytes, as positions in the resource.
    pub at: Range<usize>,
    /// Its length as the resource says it: in UTF-16 units (the zero behind it counts) for text, else in bytes.
    pub len: u16,
    /// Whether it is text.
    pub text: bool,
}

/// One node: a name, a value, and more nodes.
struct Node<'a> {
    /// The whole resource, up to the node's end.
    bytes: &'a [u8],
    key: Range<usize>,
    value: Value,
    children: usize,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        let word = |n: usize| Some(u16::from_le_bytes(*bytes.get(at + n..)?.first_chunk()?));
        let (whole, len, text) = (usize::from(word(0)?), word(2)?, word(4)? == 1);
        let bytes = bytes.get(..at.checked_add(whole)?)?;
        let key = at.checked_add(6)?;
        let letters = bytes.get(key..)?.as_chunks::<2>().0.iter().position(|&unit| unit == [0, 0])?;
        let key = key..key + 2 * letters;
        let start = padded(key.end + 2).min(bytes.len());
        let size = if text { 2 * usize::from(len) } else { usize::from(len) };
        let end = start.saturating_add(size).min(bytes.len());
        Some(Self { bytes, key, value: Value { at: start..end, len, text }, children: padded(end) })
    }

    fn is(&self, name: &str) -> bool {
        let units = self.bytes[self.key.clone()].as_chunks().0.iter().map(|&unit| u16::from_le_bytes(unit));
        let key = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        key.map(|c| c.to_ascii_lowercase()).eq(name.chars().map(|c| c.to_ascii_lowercase()))
    }

    fn child(&self, name: &str) -> Option<Self> {
        let mut at = self.children;
        while let Some(child) = Node::read(self.bytes, at) {
            at = padded(child.bytes.len()); // a node has at least its own head, so every step makes progress
            if child.is(name) {
                return Some(child);
            }
        }
        None
    }
}

const fn padded(at: usize) -> usize {
    at.next_multiple_of(4)
}

/// The value at the end of a path: `\` for the numbers, `\VarFileInfo\Translation`,
/// `\StringFileInfo\040904b0\ProductName`. Letter case means nothing.
#[must_use]
pub fn query(resource: &[u8], path: &str) -> Option<Value> {
    let mut node = Node::read(resource, 0)?;
    for name in path.split('\\').filter(|name| !name.is_empty()) {
        node = node.child(name)?;
    }
    Some(node.value)
}

/// The first field of `VS_FIXEDFILEINFO`.
const SIGNATURE: u32 = 0xfeef_04bd;

/// The version of the file, as four numbers.
#[must_use]
pub fn numbers(resource: &[u8]) -> Option<[u16; 4]> {
    let fixed = resource.get(query(resource, r"\")?.at)?;
    let word = |n: usize| Some(u32::from_le_bytes(*fixed.get(4 * n..)?.first_chunk()?));
    let [high, low] = [word(2)?, word(3)?];
    (word(0)? == SIGNATURE).then_some([(high >> 16) as u16, high as u16, (low >> 16) as u16, low as u16])
}

/// A version resource of a library with this version, and nothing else.
#[must_use]
pub fn resource(version: [u16; 4]) -> Vec<u8> {
    const DLL: u32 = 2;
    const WINDOWS: u32 = 0x4_0004;
    const WHOLE: u16 = 0x28 + 13 * 4;
    let [a, b, c, d] = version.map(u32::from);
    let (high, low) = (a << 16 | b, c << 16 | d);
    let fixed = [SIGNATURE, 0x1_0000, high, low, high, low, 0x3f, 0, WINDOWS, DLL, 0, 0, 0];
    let head = [WHOLE, 13 * 4, 0].into_iter().chain("VS_VERSION_INFO\0\0".encode_utf16());
    head.flat_map(u16::to_le_bytes).chain(fixed.into_iter().flat_map(u32::to_le_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_of_numbers_is_read_back() {
        let made = resource([10, 0, 19045, 1]);
        assert_eq!(numbers(&made), Some([10, 0, 19045, 1]));
        assert_eq!(query(&made, r"\").map(|v| (v.at, v.len, v.text)), Some((0x28..made.len(), 52, false)));
        assert_eq!(query(&made, r"\StringFileInfo"), None);
    }

    /// A node by the documented layout: lengths, kind, name, value, nodes below, each at a multiple of four.
    fn built(name: &str, text: bool, value: &[u8], below: &[Vec<u8>]) -> Vec<u8> {
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        let value_len = if text { value.len() / 2 } else { value.len() } as u16;
        let mut bytes = [[0; 2], value_len.to_le_bytes(), u16::from(text).to_le_bytes()].concat();
        bytes.extend(wide(name));
        pad(&mut bytes);
        bytes.extend(value);
        for node in below {
            pad(&mut bytes);
            bytes.extend(node);
        }
        let len = bytes.len() as u16;
        bytes[..2].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn example() -> Vec<u8> {
        let strings =
            [built("Comments", true, &wide("none"), &[]), built("FileVersion", true, &wide("1.2é"), &[])];
        let table = built("040904b0", true, &[], &strings);
        let translation = built("Translation", false, &0x04b0_0409u32.to_le_bytes(), &[]);
        let infos =
            [built("StringFileInfo", true, &[], &[table]), built("VarFileInfo", true, &[], &[translation])];
        built("VS_VERSION_INFO", false, &[7; 52], &infos)
    }

    #[test]
    fn values_are_found_by_their_paths() {
        let bytes = example();
        let value = |path: &str| query(&bytes, path).map(|value| bytes[value.at].to_vec());
        assert_eq!(value(r"\"), Some(vec![7; 52]));
        assert_eq!(value(r"\VarFileInfo\Translation"), Some(vec![9, 4, 0xb0, 4]));
        assert_eq!(value(r"\stringfileinfo\040904B0\fileversion"), Some(wide("1.2é")));
        assert_eq!(value(r"\StringFileInfo\040904b0\Nothing"), None);
    }

    #[test]
    fn no_damage_leads_out_of_the_resource_or_round_in_circles() {
        let good = example();
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let found = query(&bytes, r"\StringFileInfo\040904b0\FileVersion");
                assert!(found.is_none_or(|value| value.at.end <= bytes.len()));
            }
        }
    }

    #[test]
    fn cut_off_anywhere_it_has_no_value_beyond_its_end() {
        let made = resource([1, 2, 3, 4]);
        for len in 0..made.len() {
            let cut = &made[..len];
            assert!(query(cut, r"\").is_none_or(|v| v.at.end <= len), "{len}");
        }
    }
}
