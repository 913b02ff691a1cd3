//! Random numbers: the part of bcrypt and advapi32 that images use while they attach.
#![allow(non_snake_case)]

use crate::guest::Ptr;
use loader_core::deterministic;
use rustix::rand::{GetRandomFlags, getrandom};

const SUCCESS: u32 = 0;
const INVALID_HANDLE: u32 = 0xc000_0008;
const NOT_FOUND: u32 = 0xc000_0225;
const UNSUCCESSFUL: u32 = 0xc000_0001;

/// The one algorithm that can be opened.
const RNG: usize = 0x81;
const USE_SYSTEM_PREFERRED_RNG: u32 = 2;

/// Fills memory with random bytes, of the kernel where they need not be the same in every run; false where it has none.
fn fill(mut bytes: &mut [u8]) -> bool {
    if deterministic::fill(bytes) {
        return true;
    }
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(n) => bytes = &mut bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// The same for memory of the guest.
pub(crate) fn fill_guest(to: Ptr<u8>, len: usize) -> bool {
    let mut done = 0;
    let mut chunk = [0; 256];
    while done < len {
        let n = chunk.len().min(len - done);
        if !fill(&mut chunk[..n]) {
            return false;
        }
        to.at(done).fill(&chunk[..n]);
        done += n;
    }
    true
}

extern "win64" fn BCryptGenRandom(algorithm: usize, to: Ptr<u8>, len: u32, flags: u32) -> u32 {
    let known = algorithm == RNG || algorithm == 0 && flags & USE_SYSTEM_PREFERRED_RNG != 0;
    match known {
        false => INVALID_HANDLE,
        true if fill_guest(to, len as usize) => SUCCESS,
        true => UNSUCCESSFUL,
    }
}

extern "win64" fn BCryptOpenAlgorithmProvider(
    out: Ptr<usize>,
    name: Ptr<u16>,
    _implementation: usize,
    _flags: u32,
) -> u32 {
    if name.string() != "RNG" {
        return NOT_FOUND;
    }
    out.put(RNG);
    SUCCESS
}

extern "win64" fn BCryptCloseAlgorithmProvider(algorithm: usize, _flags: u32) -> u32 {
    if algorithm == RNG { SUCCESS } else { INVALID_HANDLE }
}

/// `RtlGenRandom`.
extern "win64" fn SystemFunction036(to: Ptr<u8>, len: u32) -> u8 {
    fill_guest(to, len as usize).into()
}

/// Never fails, as is documented; where the host has no random bytes, nothing can go on.
extern "win64" fn ProcessPrng(to: Ptr<u8>, len: usize) -> i32 {
    if !fill_guest(to, len) {
        crate::Process::terminate(UNSUCCESSFUL);
    }
    1
}

table! {
    /// bcryptprimitives.
    pub(crate) PRIMITIVES: ProcessPrng
}

table! {
    /// bcrypt.
    pub(crate) BCRYPT: BCryptGenRandom, BCryptOpenAlgorithmProvider, BCryptCloseAlgorithmProvider
}

table! {
    /// Its kind in advapi32.
    pub(crate) ADVAPI32: SystemFunction036
}
