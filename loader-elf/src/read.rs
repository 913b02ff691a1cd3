//! Numbers and texts out of byte slices. Everything in ELF is little-endian here, and every read is checked.

use std::ffi::CStr;

/// The 16-bit number at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 32-bit number at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64-bit number at `at`.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The text that starts at `at` and ends at the next zero, without the zero.
pub(crate) fn text_at(strings: &[u8], at: u64) -> Option<&[u8]> {
    let from = strings.get(usize::try_from(at).ok()?..)?;
    CStr::from_bytes_until_nul(from).ok().map(CStr::to_bytes)
}

/// Whether the text that starts at `at` is exactly `text`.
#[inline]
pub(crate) fn is_text_at(strings: &[u8], at: u32, text: &[u8]) -> bool {
    let there = strings.get(at as usize..).and_then(|rest| rest.get(..=text.len()));
    there.and_then(<[u8]>::split_last).is_some_and(|(end, there)| *end == 0 && there == text)
}
