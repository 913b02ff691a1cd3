//! UTF-7 (code page 65000, RFC 2152): what is not plain ASCII stands as base64 of UTF-16 between `+` and `-`.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether a unit stands for itself.
fn is_plain(unit: u16) -> bool {
    u8::try_from(unit).is_ok_and(|b| b.is_ascii_alphanumeric() || b"\0\t\n\r '(),-./:?".contains(&b))
}

/// The same text in UTF-7.
pub(super) fn encode(units: &[u16]) -> Vec<u8> {
    const PLUS: u16 = b'+' as u16;
    let mut out = Vec::with_capacity(units.len());
    for run in units.chunk_by(|a, b| ![*a, *b].iter().any(|&unit| is_plain(unit) || unit == PLUS)) {
        match *run {
            [PLUS] => out.extend(b"+-"),
            [unit] if is_plain(unit) => out.push(unit as u8),
            _ => {
                out.push(b'+');
                let bytes: Vec<u8> = run.iter().flat_map(|unit| unit.to_be_bytes()).collect();
                for three in bytes.chunks(3) {
                    let bits = three.iter().fold(0u32, |bits, &byte| bits << 8 | u32::from(byte))
                        << (24 - 8 * three.len());
                    let digit = |nth: usize| DIGITS[(bits >> (18 - 6 * nth) & 63) as usize];
                    out.extend((0..=three.len()).map(digit));
                }
                out.push(b'-');
            }
        }
    }
    out
}

/// UTF-16 of UTF-7. Bytes that should not be there stand for themselves; bits that are no whole unit go.
pub(super) fn decode(bytes: &[u8]) -> Vec<u16> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        if byte != b'+' {
            out.push(byte.into());
            continue;
        }
        if let Some(more) = rest.strip_prefix(b"-") {
            out.push(byte.into());
            rest = more;
            continue;
        }
        let (mut bits, mut n) = (0u32, 0);
        while let Some((digit, more)) = rest.split_first() {
            let Some(value) = DIGITS.iter().position(|d| d == digit) else { break };
            bits = bits << 6 | value as u32;
            n += 6;
            rest = more;
            if n >= 16 {
                n -= 16;
                out.push((bits >> n) as u16);
                bits &= (1 << n) - 1;
            }
        }
        rest = rest.strip_prefix(b"-").unwrap_or(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::wide;

    #[test]
    fn there_and_back() {
        for (text, encoded) in [
            ("Hi Mom -\u{263a}-!", "Hi Mom -+Jjo--+ACE-"), // as the RFC has it, and its `!` as Windows has it
            ("1 + 1", "1 +- 1"),
            ("\u{65e5}\u{672c}\u{8a9e}", "+ZeVnLIqe-"),
            ("\u{1f600}", "+2D3eAA-"),
            ("", ""),
        ] {
            assert_eq!(encode(&wide(text)), encoded.as_bytes());
            assert_eq!(decode(encoded.as_bytes()), wide(text));
        }
        assert_eq!(decode(b"+T2B-+T+\xff"), [0x4f60, 0xff]);
    }
}
