//! The older random numbers of advapi32: a provider without keys.
#![allow(non_snake_case)]

use crate::{
    bcrypt,
    guest::Ptr,
    kernel32::{Bool, answer, error::code},
};

/// The one provider that can be had.
const PROVIDER: usize = 0x82;
const VERIFY_CONTEXT: u32 = 0xf000_0000;
/// `CRYPT_NEWKEYSET`, `CRYPT_DELETEKEYSET`, `CRYPT_MACHINE_KEYSET`, `CRYPT_SILENT`, `CRYPT_VERIFYCONTEXT`.
const FLAGS: u32 = VERIFY_CONTEXT | 0x78;
const BAD_FLAGS: u32 = 0x8009_0009;
const BAD_TYPE: u32 = 0x8009_0014;
const NO_KEYS: u32 = 0x8009_0016;
/// `PROV_RSA_FULL` and `PROV_RSA_AES`.
const TYPES: [u32; 2] = [1, 24];

/// A provider for those who need no keys of their own: there are none.
fn acquire(out: Ptr<usize>, kind: u32, flags: u32) -> Bool {
    answer(match () {
        () if out.is_null() => Err(code::INVALID_PARAMETER),
        () if flags & !FLAGS != 0 => Err(BAD_FLAGS),
        () if !TYPES.contains(&kind) => Err(BAD_TYPE),
        () if flags & VERIFY_CONTEXT != VERIFY_CONTEXT => Err(NO_KEYS),
        () => {
            out.set(PROVIDER);
            Ok(())
        }
    })
}

extern "win64" fn CryptAcquireContextA(
    out: Ptr<usize>,
    _keys: Ptr<u8>,
    _provider: Ptr<u8>,
    kind: u32,
    flags: u32,
) -> Bool {
    acquire(out, kind, flags)
}

extern "win64" fn CryptAcquireContextW(
    out: Ptr<usize>,
    _keys: Ptr<u16>,
    _provider: Ptr<u16>,
    kind: u32,
    flags: u32,
) -> Bool {
    acquire(out, kind, flags)
}

fn provider(handle: usize) -> Result<(), u32> {
    if handle == PROVIDER { Ok(()) } else { Err(code::INVALID_PARAMETER) }
}

extern "win64" fn CryptReleaseContext(handle: usize, flags: u32) -> Bool {
    answer(provider(handle).and(if flags == 0 { Ok(()) } else { Err(BAD_FLAGS) }))
}

extern "win64" fn CryptGenRandom(handle: usize, len: u32, to: Ptr<u8>) -> Bool {
    answer(provider(handle).and_then(|()| match () {
        () if to.is_null() => Err(code::INVALID_PARAMETER),
        () if bcrypt::fill_guest(to, len as usize) => Ok(()),
        () => Err(code::GEN_FAILURE),
    }))
}

table! {
    /// Its part of advapi32.
    pub(crate) ADVAPI32: CryptAcquireContextA, CryptAcquireContextW, CryptReleaseContext, CryptGenRandom
}
