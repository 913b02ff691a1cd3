//! Pointers that Windows code hands us.
//!
//! A [`Ptr`] comes into being in one way only: guest code passes it as an argument (or a test makes one and vouches for
//! it). Whoever passes it promises what the called function's documentation asks, so the functions themselves need no
//! `unsafe` to use it; that promise is the whole reason why this module may allow it.
#![allow(unsafe_code)]

use std::{borrow::Cow, ffi::CStr, mem::size_of, slice};

/// A pointer from guest code: null, or valid for what the called function is documented to do with it.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Ptr<T>(*mut T);

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ptr<T> {}

impl<T> Ptr<T> {
    /// The null pointer, which nothing may be read from.
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    /// # Safety
    /// `at` is null or valid for what the function it is passed to is documented to do with it.
    pub(crate) const unsafe fn new(at: *mut T) -> Self {
        Self(at)
    }

    /// An address that guest code passed as a number, among arguments of which not all are pointers.
    pub(crate) fn from_guest(at: u64) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(at as usize))
    }

    /// Whether it is null.
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The address.
    pub(crate) fn addr(self) -> usize {
        self.0.expose_provenance()
    }

    /// The bare pointer.
    pub(crate) fn raw(self) -> *mut T {
        self.0
    }

    /// The same place, as something else.
    pub(crate) fn cast<U>(self) -> Ptr<U> {
        Ptr(self.0.cast())
    }

    /// The element `n` further on: still the caller's memory where the function's contract says so.
    pub(crate) fn at(self, n: usize) -> Self {
        Self(self.0.wrapping_add(n))
    }

    /// The thing itself, for types that are made to be shared (atomics, cells). At an odd place there can be none: the caller
    /// gets an exception.
    pub(crate) fn shared<'a>(self) -> &'a T {
        const DATATYPE_MISALIGNMENT: u32 = 0x8000_0002;
        while !self.0.is_aligned() {
            crate::exception::raise(DATATYPE_MISALIGNMENT, &[]);
        }
        // SAFETY: the caller of the Windows function keeps the object alive during the call, as every one of them asks.
        unsafe { &*self.0 }
    }
}

impl<T: Copy> Ptr<T> {
    /// Reads it.
    pub(crate) fn get(self) -> T {
        // SAFETY: the caller passed a readable place, as the function's contract says.
        unsafe { self.0.read_unaligned() }
    }

    /// Writes it.
    pub(crate) fn set(self, value: T) {
        // SAFETY: the caller passed a writable place, as the function's contract says.
        unsafe { self.0.write_unaligned(value) }
    }

    /// Writes an optional result: nothing happens where the caller passed null.
    pub(crate) fn put(self, value: T) {
        if !self.is_null() {
            self.set(value);
        }
    }

    /// `len` elements, or none where the pointer is null. Those at an odd place, which Windows code may have, are copied.
    pub(crate) fn slice(&self, len: usize) -> Cow<'_, [T]> {
        if self.is_null() || len > isize::MAX as usize / size_of::<T>().max(1) {
            return Cow::Borrowed(&[]);
        }
        if !self.0.is_aligned() {
            return (0..len).map(|nth| self.at(nth).get()).collect();
        }
        // SAFETY: the caller passed `len` readable elements, as the function's contract says.
        Cow::Borrowed(unsafe { slice::from_raw_parts(self.0, len) })
    }

    /// Copies elements there.
    pub(crate) fn fill(self, from: &[T]) {
        if !self.is_null() {
            // SAFETY: the caller passed room for that many, as the function's contract says; what is copied may be the
            // caller's too. Bytes are copied, for the place may be an odd one.
            unsafe { std::ptr::copy(from.as_ptr().cast(), self.0.cast::<u8>(), size_of_val(from)) }
        }
    }
}

impl<T: Copy + Default + PartialEq> Ptr<T> {
    /// How many elements come before the first zero, at most `limit`.
    pub(crate) fn count(&self, limit: usize) -> usize {
        if self.is_null() {
            return 0;
        }
        (0..limit).find(|&i| self.at(i).get() == T::default()).unwrap_or(limit)
    }
}

impl Ptr<u8> {
    /// Pages that were just allocated for guest code, which is handed their address.
    pub(crate) fn of_pages(at: u64) -> Self {
        Self(std::ptr::with_exposed_provenance_mut(at as usize))
    }

    /// `len` bytes of memory that guest code keeps in place: an image's, or a file's that it has loaded as data.
    pub(crate) fn bytes<'a>(self, len: usize) -> &'a [u8] {
        // SAFETY: the guest holds a handle of the module that it asks about; one that it gives back meanwhile dangles, as
        // on Windows. Nobody writes to what is read-only there.
        unsafe { slice::from_raw_parts(self.0, len) }
    }

    /// The bytes before the first zero; none where the pointer is null.
    pub(crate) fn text(&self) -> &[u8] {
        if self.is_null() {
            return &[];
        }
        // SAFETY: the caller passed a text that a zero ends, as the function's contract says.
        unsafe { CStr::from_ptr(self.0.cast()) }.to_bytes()
    }

    /// A zero-terminated text; what is not UTF-8 is replaced.
    pub(crate) fn lossy(&self) -> Cow<'_, str> {
        // Whether there is anything to replace is found out quicker than what.
        str::from_utf8(self.text()).map_or_else(|_| String::from_utf8_lossy(self.text()), Cow::Borrowed)
    }

    /// The same as a `String`.
    pub(crate) fn string(&self) -> String {
        self.lossy().into_owned()
    }
}

impl Ptr<u16> {
    /// The units before the first zero; none where the pointer is null.
    pub(crate) fn text(&self) -> Cow<'_, [u16]> {
        self.slice(self.count(usize::MAX))
    }

    /// A zero-terminated wide text as a `String`; lone surrogates are replaced.
    pub(crate) fn string(&self) -> String {
        String::from_utf16_lossy(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_text_may_stand_at_an_odd_place() {
        let mut bytes = *b"_\x41\0\x42\x01\0\0____";
        let odd = |nth: usize, bytes: &mut [u8]| Ptr(bytes[nth..].as_mut_ptr().cast::<u16>());
        assert_eq!(*odd(1, &mut bytes).text(), [0x41, 0x142]);
        assert_eq!(*odd(1, &mut bytes).slice(1), [0x41]);
        odd(7, &mut bytes).fill(&[0x43]);
        assert_eq!(&bytes[6..10], b"\0\x43\0_");
        // Of two neighbouring places one is odd.
        assert_eq!(*odd(0, &mut bytes).slice(1), [0x415f]);
    }
}
