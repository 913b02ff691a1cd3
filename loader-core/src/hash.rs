//! The hash of names in `.gnu.hash` tables, eight bytes at a time.

/// The hash of no name at all.
const START: u32 = 5381;
const BASE: u32 = 33;
/// By exponent.
const POWERS: [u32; 9] = {
    let mut powers = [1u32; 9];
    let mut n = 1;
    while n < 9 {
        powers[n] = powers[n - 1].wrapping_mul(BASE);
        n += 1;
    }
    powers
};

/// The hash of a symbol name in `.gnu.hash` tables (Bernstein's, times 33 from 5381, modulo 2^32).
#[inline]
#[must_use]
pub fn gnu_hash(name: &[u8]) -> u32 {
    let (eights, rest) = name.as_chunks();
    let hash = eights.iter().fold(START, |hash, eight| append(hash, u64::from_le_bytes(*eight), 8));
    match name.last_chunk() {
        _ if rest.is_empty() => hash,
        Some(last) => {
            append(hash, u64::from_le_bytes(*last) & (u64::MAX << (64 - 8 * rest.len())), rest.len())
        }
        None => append(hash, rest.iter().fold(0, |word, &b| word >> 8 | u64::from(b) << 56), rest.len()),
    }
}

/// The name at the start of `bytes`, which ends before the first zero, and its hash.
pub(crate) fn terminated(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (mut hash, mut len) = (START, 0);
    while let Some(eight) = bytes[len..].first_chunk() {
        let word = u64::from_le_bytes(*eight);
        match first_zero(word) {
            Some(0) => return Some((&bytes[..len], hash)),
            Some(nth) => return Some((&bytes[..len + nth], append(hash, word << (64 - 8 * nth), nth))),
            None => (hash, len) = (append(hash, word, 8), len + 8),
        }
    }
    let name = &bytes[..len + bytes[len..].iter().position(|&b| b == 0)?];
    Some((name, gnu_hash(name)))
}

/// The hash with `count` bytes more: the last ones of `word`, in whose other bytes there are zeros, which add nothing.
#[inline]
fn append(hash: u32, word: u64, count: usize) -> u32 {
    hash.wrapping_mul(POWERS[count]).wrapping_add(of_eight(word))
}

/// What eight bytes come to, the lowest of them first: as pairs, then as fours, then all of them. No lane overflows.
#[inline]
fn of_eight(word: u64) -> u32 {
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const FOURS: u64 = 0x0000_ffff_0000_ffff;
    let pairs = (word & PAIRS) * POWERS[1] as u64 + (word >> 8 & PAIRS);
    let fours = (pairs & FOURS) * POWERS[2] as u64 + (pairs >> 16 & FOURS);
    (fours as u32).wrapping_mul(POWERS[4]).wrapping_add((fours >> 32) as u32)
}

/// Which of the bytes is the first zero (Mycroft's test, whose lowest mark is right).
#[inline]
fn first_zero(word: u64) -> Option<usize> {
    const LOWEST: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    let marks = word.wrapping_sub(LOWEST) & !word & HIGHEST;
    (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of every length up to five eights, of the bytes that come highest in their lanes and of others.
    fn names() -> impl Iterator<Item = Vec<u8>> {
        let bytes = |n: u8| [n.wrapping_mul(37).max(1), 0xff, b'_'];
        (0..3).flat_map(move |which| (0..40).map(move |len| (0..len).map(|n| bytes(n)[which]).collect()))
    }

    #[test]
    fn a_name_hashes_the_same_in_steps_of_eight() {
        for name in names() {
            let plain = name.iter().fold(5381u32, |h, &b| h.wrapping_mul(33).wrapping_add(b.into()));
            assert_eq!(gnu_hash(&name), plain, "{name:x?}");
        }
    }

    #[test]
    fn a_name_ends_before_the_first_zero_wherever_the_bytes_end() {
        for name in names() {
            assert_eq!(terminated(&name), None, "{name:x?}");
            for after in 0..20 {
                let bytes = [&name[..], &[0], &vec![b'x'; after]].concat();
                assert_eq!(terminated(&bytes), Some((&name[..], gnu_hash(&name))), "{name:x?}");
            }
        }
    }
}
