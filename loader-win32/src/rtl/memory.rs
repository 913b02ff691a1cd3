//! Bytes: compared, filled, summed up, and made at random.

use crate::guest::Ptr;

/// How many bytes at the start are the same.
extern "win64" fn RtlCompareMemory(a: Ptr<u8>, b: Ptr<u8>, len: usize) -> usize {
    a.slice(len).iter().zip(b.slice(len).iter()).take_while(|(a, b)| a == b).count()
}

/// How many bytes at the start are this number again and again; what is no whole number at the end does not count.
extern "win64" fn RtlCompareMemoryUlong(at: Ptr<u32>, len: usize, number: u32) -> usize {
    at.slice(len / 4).iter().take_while(|&&n| n == number).count() * 4
}

#[allow(unsafe_code)]
extern "win64" fn RtlFillMemory(at: Ptr<u8>, len: usize, byte: u8) {
    // SAFETY: the caller passed that many writable bytes.
    unsafe { at.raw().write_bytes(byte, len) }
}

extern "win64" fn RtlZeroMemory(at: Ptr<u8>, len: usize) {
    RtlFillMemory(at, len, 0);
}

extern "win64" fn RtlFillMemoryUlong(at: Ptr<u32>, len: usize, number: u32) {
    (0..len / 4).for_each(|nth| at.at(nth).set(number));
}

extern "win64" fn RtlFillMemoryUlonglong(at: Ptr<u64>, len: usize, number: u64) {
    (0..len / 8).for_each(|nth| at.at(nth).set(number));
}

#[allow(unsafe_code)]
extern "win64" fn RtlMoveMemory(to: Ptr<u8>, from: Ptr<u8>, len: usize) {
    // SAFETY: the caller passed that many bytes on both sides, which may overlap.
    unsafe { std::ptr::copy(from.raw(), to.raw(), len) }
}

/// The sum of zlib and of many file formats, going on from one before.
extern "win64" fn RtlComputeCrc32(before: u32, bytes: Ptr<u8>, len: u32) -> u32 {
    const REVERSED: u32 = 0xedb8_8320;
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 0 { 0 } else { REVERSED };
    let sum = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.slice(len as usize).iter().fold(!before, sum)
}

/// The next number of Lehmer's sequence, below 2^31 - 1.
fn lehmer(seed: u32) -> u32 {
    ((u64::from(seed) * 0x7fff_ffed + 0x7fff_ffc3) % 0x7fff_ffff) as u32
}

extern "win64" fn RtlUniform(seed: Ptr<u32>) -> u32 {
    seed.set(lehmer(seed.get()));
    seed.get()
}

/// Two steps of the sequence, of which one says which bits of the other come first, so that neighbours have less in
/// common. Windows shuffles by a table that is nowhere documented.
extern "win64" fn RtlRandom(seed: Ptr<u32>) -> u32 {
    let first = lehmer(seed.get());
    let second = lehmer(first);
    seed.set(second);
    (first.rotate_left(second & 31) ^ second) % 0x7fff_ffff
}

table! {
    /// Bytes.
    pub(crate) TABLE:
        RtlCompareMemory, RtlCompareMemoryUlong, RtlFillMemory, RtlZeroMemory, RtlSecureZeroMemory = RtlZeroMemory,
        RtlFillMemoryUlong, RtlFillMemoryUlonglong, RtlMoveMemory, RtlCopyMemory = RtlMoveMemory,
        RtlCopyMemoryNonTemporal = RtlMoveMemory, RtlComputeCrc32, RtlUniform, RtlRandom, RtlRandomEx = RtlRandom
}
