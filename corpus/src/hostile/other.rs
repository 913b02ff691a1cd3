//! Files that are no images at all, or only begin like one.

use super::{Hostile, REFUSE};
use crate::Format;

#[rustfmt::skip]
const FILES: &[(&str, Option<Format>, &[u8], &str)] = &[
    ("file-empty", None, b"", "A file without a byte."),
    ("file-one-byte", None, b"\x7f", "A file of one byte."),
    ("file-text", None, b"This is a text, not a library.\n", "A text."),
    ("file-linker-script", None, b"/* GNU ld script */\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( libfar.so.6 )\n", "A linker script, as some files named .so are."),
    ("file-zeroes", None, &[0; 4096], "A page of zeroes."),
    ("file-archive", None, b"!<arch>\nempty.o/        0           0     0     644     4         `\n\x7fELF", "An archive of object files."),
    ("file-elf-magic", Some(Format::Elf), b"\x7fELF", "Four bytes that begin like a shared object."),
    ("file-elf-ident", Some(Format::Elf), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", "The first 16 bytes of a shared object."),
    ("file-mz-magic", Some(Format::Pe), b"MZ", "Two bytes that begin like a DLL."),
    ("file-mz-dos-program", Some(Format::Pe), b"MZ\x40\0\x01\0\0\0\x02\0\0\0\xff\xff\0\0\0\0\0\0\0\0\0\0\x1c\0\0\0\0\0\0\0\xb8\0\x4c\xcd\x21", "A DOS program, older than the field that leads to the NT headers."),
];

pub(super) fn images() -> impl Iterator<Item = Hostile> {
    FILES.iter().map(|&(name, format, bytes, teaches)| Hostile {
        name,
        teaches,
        bytes: bytes.to_vec(),
        format,
        refuse: REFUSE,
    })
}
