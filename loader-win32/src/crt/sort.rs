//! Sorting and searching with the guest's comparison, which may do anything, even never come back: nothing is owned
//! while it runs. Random numbers, too.
#![allow(unsafe_code)] // calls into the guest

use super::invalid::invalid;
use crate::{guest::Ptr, teb};

/// The guest's comparison.
type Compare = unsafe extern "win64" fn(*const u8, *const u8) -> i32;
/// The same with a context in front.
type CompareWith = unsafe extern "win64" fn(usize, *const u8, *const u8) -> i32;

fn swap(a: Ptr<u8>, b: Ptr<u8>, len: usize) {
    // SAFETY: two different elements of the caller's array.
    unsafe { std::ptr::swap_nonoverlapping(a.raw(), b.raw(), len) };
}

/// A heap sort: in place, never quadratic, whatever the comparison says. A few elements are sorted as Microsoft's runtime
/// does it, the greatest of what is left put last again and again, for what it does with equal ones has been relied on.
fn sort(base: Ptr<u8>, n: usize, len: usize, greater: impl Fn(Ptr<u8>, Ptr<u8>) -> bool) {
    const FEW: usize = 8;
    let at = |i: usize| base.at(i * len);
    if len == 0 {
        return;
    }
    if n <= FEW {
        for last in (1..n).rev() {
            let greatest = (1..=last).fold(0, |max, i| if greater(at(i), at(max)) { i } else { max });
            if greatest != last {
                swap(at(greatest), at(last), len);
            }
        }
        return;
    }
    let sift = |mut root: usize, end: usize| {
        while let Some(left) = root.checked_mul(2).map(|r| r + 1).filter(|&l| l < end) {
            let right = left + 1;
            let child = if right < end && greater(at(right), at(left)) { right } else { left };
            if !greater(at(child), at(root)) {
                return;
            }
            swap(at(root), at(child), len);
            root = child;
        }
    };
    (0..n / 2).rev().for_each(|root| sift(root, n));
    for end in (1..n).rev() {
        swap(at(0), at(end), len);
        sift(0, end);
    }
}

extern "win64" fn qsort(base: Ptr<u8>, n: usize, len: usize, compare: Compare) {
    // SAFETY: the caller passes a comparison of elements, as `qsort` asks.
    sort(base, n, len, |a, b| unsafe { compare(a.raw(), b.raw()) > 0 });
}

extern "win64" fn qsort_s(base: Ptr<u8>, n: usize, len: usize, compare: CompareWith, context: usize) {
    // SAFETY: the caller passes a comparison of elements, as `qsort_s` asks.
    sort(base, n, len, |a, b| unsafe { compare(context, a.raw(), b.raw()) > 0 });
}

fn search(
    key: Ptr<u8>,
    base: Ptr<u8>,
    n: usize,
    len: usize,
    compare: impl Fn(Ptr<u8>, Ptr<u8>) -> i32,
) -> Ptr<u8> {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = base.at(middle * len);
        match compare(key, at) {
            0 => return at,
            less if less < 0 => high = middle,
            _ => low = middle + 1,
        }
    }
    Ptr::NULL
}

extern "win64" fn bsearch(key: Ptr<u8>, base: Ptr<u8>, n: usize, len: usize, compare: Compare) -> Ptr<u8> {
    // SAFETY: the caller passes a comparison of the key with elements, as `bsearch` asks.
    search(key, base, n, len, |key, at| unsafe { compare(key.raw(), at.raw()) })
}

extern "win64" fn bsearch_s(
    key: Ptr<u8>,
    base: Ptr<u8>,
    n: usize,
    len: usize,
    compare: CompareWith,
    context: usize,
) -> Ptr<u8> {
    // SAFETY: the caller passes a comparison of the key with elements, as `bsearch_s` asks.
    search(key, base, n, len, |key, at| unsafe { compare(context, key.raw(), at.raw()) })
}

extern "win64" fn _lfind(key: Ptr<u8>, base: Ptr<u8>, n: Ptr<u32>, len: u32, compare: Compare) -> Ptr<u8> {
    let mut elements = (0..n.get()).map(|i| base.at((i * len) as usize));
    // SAFETY: the caller passes a comparison of the key with elements, as `_lfind` asks.
    elements.find(|at| unsafe { compare(key.raw(), at.raw()) } == 0).unwrap_or(Ptr::NULL)
}

/// As `_lfind`; what is not there is put behind the others.
extern "win64" fn _lsearch(key: Ptr<u8>, base: Ptr<u8>, n: Ptr<u32>, len: u32, compare: Compare) -> Ptr<u8> {
    let found = _lfind(key, base, n, len, compare);
    if !found.is_null() {
        return found;
    }
    let end = base.at((n.get() * len) as usize);
    end.fill(&key.slice(len as usize));
    n.set(n.get() + 1);
    end
}

extern "win64" fn rand_s(out: Ptr<u32>) -> i32 {
    if out.is_null() {
        return invalid();
    }
    out.set(u32::from_le_bytes(crate::bcrypt::random()));
    0
}

extern "win64" fn srand(seed: u32) {
    teb::own(|o| o.seed.set(seed));
}

/// The sequence that Windows programs know: 15 bits of a linear congruence.
extern "win64" fn rand() -> i32 {
    teb::own(|o| {
        let next = o.seed.get().wrapping_mul(214_013).wrapping_add(2_531_011);
        o.seed.set(next);
        (next >> 16 & 0x7fff).cast_signed()
    })
}

table! {
    /// Sorting.
    pub(crate) TABLE: qsort, qsort_s, bsearch, bsearch_s, _lfind, lfind = _lfind, _lsearch, lsearch = _lsearch, rand_s, srand, rand
}
