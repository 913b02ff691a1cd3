//! Encoded pointers.

use std::sync::OnceLock;

/// A number that belongs to this run of the program.
fn cookie() -> u64 {
    static COOKIE: OnceLock<u64> = OnceLock::new();
    *COOKIE.get_or_init(|| u64::from_le_bytes(crate::bcrypt::random()))
}

pub(crate) extern "win64" fn EncodePointer(pointer: u64) -> u64 {
    (pointer ^ cookie()).rotate_right(17)
}

pub(crate) extern "win64" fn DecodePointer(pointer: u64) -> u64 {
    pointer.rotate_left(17) ^ cookie()
}

table! {
    /// Encoded pointers.
    pub(crate) TABLE:
        EncodePointer, DecodePointer
}
