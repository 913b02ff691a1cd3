//! Which pages were written to: the kernel's own write-protection of a `userfaultfd`, which it takes away at the first
//! write by itself (`UFFD_FEATURE_WP_ASYNC`), and `PAGEMAP_SCAN`, which tells of it and sets it again. Made for this very
//! purpose; since Linux 6.7. Where either is refused, writes cannot be watched.
//!
//! Unsafe because the kernel's structures are handed over by address.
#![allow(unsafe_code)]

use super::book::Full;
use std::{
    fs::File,
    ops::Range,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

// linux/userfaultfd.h, linux/fs.h
const UFFD_API: u64 = 0xaa;
const UFFD_USER_MODE_ONLY: i32 = 1;
const UFFD_FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const UFFD_FEATURE_WP_ASYNC: u64 = 1 << 15;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1;
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PM_SCAN_WP_MATCHING: u64 = 1;
const PM_SCAN_CHECK_WPASYNC: u64 = 2;
const PAGE_IS_WRITTEN: u64 = 1 << 1;

/// `struct uffdio_api`, `uffdio_register` (with a fourth word) and `uffdio_writeprotect`: words all.
type Words<const N: usize> = [u64; N];

/// `struct pm_scan_arg`.
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The watch over this process's pages. What was watched no longer is once it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    faults: OwnedFd,
    pagemap: File,
}

/// One request to the kernel: what it answers, at least 0.
fn ask<T>(fd: &impl AsRawFd, request: u64, argument: &mut T) -> Result<usize, Full> {
    // SAFETY: the requests used here read and write the structure that belongs to them, and what it points to.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut *argument) };
    usize::try_from(done).map_err(|_| Full)
}

impl Watch {
    /// `None` where the kernel cannot, or will not.
    pub(crate) fn open() -> Option<Self> {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: makes a descriptor, which nobody else has.
        let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
        let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0)?;
        // SAFETY: the descriptor was just made and is owned by nobody.
        let faults = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut api: Words<3> = [UFFD_API, UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED, 0];
        ask(&faults, UFFDIO_API, &mut api).ok()?;
        let watch = Self { faults, pagemap: File::open("/proc/self/pagemap").ok()? };
        watch.scan(0..0, &mut [Region::default()]).ok()?;
        Some(watch)
    }

    /// Begins to watch: none of these pages was written to.
    pub(crate) fn begin(&self, range: Range<u64>) -> Result<(), Full> {
        let len = range.end - range.start;
        let mut register: Words<4> = [range.start, len, UFFDIO_REGISTER_MODE_WP, 0];
        ask(&self.faults, UFFDIO_REGISTER, &mut register)?;
        let mut protect: Words<3> = [range.start, len, UFFDIO_WRITEPROTECT_MODE_WP];
        ask(&self.faults, UFFDIO_WRITEPROTECT, &mut protect).map(drop)
    }

    /// Which pages were written to since this was last asked, or since the watch began.
    pub(crate) fn take(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, Full> {
        let mut found = Vec::new();
        let mut regions = [Region::default(); 64];
        let mut at = range.start;
        while at < range.end {
            let (count, walked) = self.scan(at..range.end, &mut regions)?;
            found.extend(regions[..count].iter().map(|r| r.start..r.end));
            at = if walked > at { walked } else { range.end };
        }
        Ok(found)
    }

    /// One call: how many regions it found, and how far it came.
    fn scan(&self, range: Range<u64>, to: &mut [Region]) -> Result<(usize, u64), Full> {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
            start: range.start,
            end: range.end,
            walk_end: 0,
            vec: to.as_mut_ptr().expose_provenance() as u64,
            vec_len: to.len() as u64,
            max_pages: 0,
            category_inverted: 0,
            category_mask: PAGE_IS_WRITTEN,
            category_anyof_mask: 0,
            return_mask: PAGE_IS_WRITTEN,
        };
        let count = ask(&self.pagemap, PAGEMAP_SCAN, &mut scan)?;
        Ok((count.min(to.len()), scan.walk_end))
    }
}
