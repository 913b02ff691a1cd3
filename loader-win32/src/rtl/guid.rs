//! GUIDs and their texts.

use super::counted::Text;
use crate::{
    guest::Ptr,
    nt::status::{INVALID_PARAMETER, SUCCESS},
    text::wide,
};

/// `GUID`: three numbers, and eight bytes as they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guid(pub u32, pub u16, pub u16, pub [u8; 8]);

impl Guid {
    /// In braces, with capitals.
    pub(crate) fn text(self) -> String {
        let Self(a, b, c, [d, e, f, g, h, i, j, k]) = self;
        format!("{{{a:08X}-{b:04X}-{c:04X}-{d:02X}{e:02X}-{f:02X}{g:02X}{h:02X}{i:02X}{j:02X}{k:02X}}}")
    }

    /// Of such a text, and of nothing else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let places = [8, 13, 18, 23];
        let shaped =
            |(nth, b): (usize, u8)| if places.contains(&nth) { b == b'-' } else { b.is_ascii_hexdigit() };
        if inner.len() != 36 || !inner.bytes().enumerate().all(shaped) {
            return None;
        }
        let part = |at: usize, len: usize| u64::from_str_radix(&inner[at..at + len], 16).ok();
        let bytes = ((part(19, 4)? << 48) | part(24, 12)?).to_be_bytes();
        Some(Self(part(0, 8)? as u32, part(9, 4)? as u16, part(14, 4)? as u16, bytes))
    }
}

extern "win64" fn RtlGUIDFromString(text: Ptr<Text>, out: Ptr<Guid>) -> u32 {
    match Guid::parse(&text.get().string()) {
        Some(guid) => {
            out.put(guid);
            SUCCESS
        }
        None => INVALID_PARAMETER,
    }
}

/// Into a new block.
extern "win64" fn RtlStringFromGUID(guid: Ptr<Guid>, out: Ptr<Text>) -> u32 {
    if guid.is_null() || out.is_null() {
        return INVALID_PARAMETER;
    }
    match Text::new_z(&wide(&guid.get().text())) {
        Ok(text) => {
            out.set(text);
            SUCCESS
        }
        Err(status) => status,
    }
}

table! {
    /// GUIDs.
    pub(crate) TABLE: RtlGUIDFromString, RtlStringFromGUID
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let text = "{01020304-0506-0708-090A-0B0C0D0E0FFA}";
        let guid = Guid(0x0102_0304, 0x506, 0x708, [9, 10, 11, 12, 13, 14, 15, 0xfa]);
        assert_eq!(Guid::parse(text), Some(guid));
        assert_eq!(guid.text(), text);
        for wrong in
            ["", "{}", "{01020304-0506-0708-090A-0B0C0D0E0FFA]", "{+1020304-0506-0708-090A-0B0C0D0E0FFA}"]
        {
            assert_eq!(Guid::parse(wrong), None);
        }
    }
}
