//! Names for anonymous memory, as `/proc/self/maps` shows them: `[anon:libx.so]`. `unsafe` because of a system call that
//! no crate wraps; it changes no memory.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    io,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// The longest name that the kernel takes, in bytes.
const LONGEST: usize = 79;

/// Names the anonymous mappings of a range up to the first that has a file. Kernels before 5.17, and those built
/// without `CONFIG_ANON_VMA_NAME`, have no names to give: nothing happens then.
pub(super) fn name(range: Range<usize>, name: &str) {
    static UNKNOWN: AtomicBool = AtomicBool::new(false);
    if UNKNOWN.load(Relaxed) {
        return;
    }
    let name = accepted(name);
    // SAFETY: the call attaches a text, copied by the kernel, to mappings; what they hold and allow stays.
    let done = unsafe {
        libc::prctl(
            libc::PR_SET_VMA,
            libc::PR_SET_VMA_ANON_NAME as libc::c_ulong,
            range.start,
            range.len(),
            name.as_ptr(),
        )
    };
    // Of a name that it takes and pages that are mapped, only a kernel without names says so.
    UNKNOWN.store(done != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL), Relaxed);
}

/// The last part of a name, with a mark for each character that the kernel refuses.
fn accepted(name: &str) -> CString {
    let file = name.rsplit('/').next().unwrap_or_default();
    let refused = |b: &u8| !(b' '..0x7f).contains(b) || b"\\`$[]".contains(b);
    let bytes = file.bytes().take(LONGEST).map(|b| if refused(&b) { b'?' } else { b });
    CString::new(bytes.collect::<Vec<u8>>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_what_the_kernel_accepts() {
        // prctl(2), PR_SET_VMA_ANON_NAME: printable ASCII but [ ] \ $ `, and 80 bytes with the zero.
        assert_eq!(accepted("/usr/lib/libz.so.1.2.13").as_bytes(), b"libz.so.1.2.13");
        assert_eq!(accepted("a[b]c\\d$e`f\n\0g").as_bytes(), b"a?b?c?d?e?f??g");
        assert_eq!(accepted("\u{e9}").as_bytes(), b"??");
        assert_eq!(accepted(&"x".repeat(100)).as_bytes().len(), 79);
    }

    #[test]
    fn anonymous_memory_has_its_name_where_the_kernel_has_names() {
        let page = region::alloc(crate::PAGE as usize, region::Protection::READ_WRITE).unwrap();
        let start = page.as_ptr::<u8>().addr();
        name(start..start + page.len(), "libname.so");
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|l| l.starts_with(&format!("{start:x}-")));
        match line.filter(|l| l.contains("[anon:")) {
            Some(line) => assert!(line.ends_with("[anon:libname.so]"), "{line}"),
            None => eprintln!("skipped: needs a kernel with CONFIG_ANON_VMA_NAME"),
        }
    }
}
