//! PE images with one thing wrong, in the order in which a loader meets it: headers, sections, then the directories.

use super::{EITHER, Hostile, REFUSE, Row, row};
use crate::{Format, patch::Pe};
use object::{LittleEndian as LE, U16, U32, U64, pe::*, write};

/// Pointers in data, imports from one DLL.
const DATA: &[u8] = include_bytes!("../../pe/data-relocations/data.dll");
/// Exports, code, no imports.
const PLAIN: &[u8] = include_bytes!("../../pe/plain/plain.dll");
const FORWARDER: &[u8] = include_bytes!("../../pe/forwarder/forwarder.dll");
const ORDINALS: &[u8] = include_bytes!("../../pe/ordinals/ordinals.dll");
const BY_ORDINAL: &[u8] = include_bytes!("../../pe/ordinals/ordinals-user.dll");
const TLS: &[u8] = include_bytes!("../../pe/tls/tls.dll");
/// TLS callbacks, imports from tlog.dll.
const CALLBACKS: &[u8] = include_bytes!("../../pe/initialiser-order/initialiser-order.dll");
const COOKIE: &[u8] = include_bytes!("../../pe/security-cookie/security-cookie.dll");

/// Beyond every image here, but no overflow in sight.
const FAR: u32 = 0x4000_0000;

pub(super) fn images() -> impl Iterator<Item = Hostile> {
    let changed = ROWS.iter().map(|row| {
        let mut image = Pe(row.base.to_vec());
        (row.change)(&mut image);
        Hostile {
            name: row.name,
            teaches: row.teaches,
            bytes: image.0,
            format: Some(Format::Pe),
            refuse: row.refuse,
        }
    });
    changed.chain([Hostile {
        name: "pe-object-file",
        teaches: "An object file (COFF) that was never linked.",
        bytes: object_file(),
        format: None,
        refuse: REFUSE,
    }])
}

#[rustfmt::skip]
const ROWS: &[Row<Pe>] = &[
    // The headers.
    row("pe-dos-stub-only", REFUSE, PLAIN, |p| { p.dos().e_lfanew.set(LE, 0); p.0.truncate(64) }, "A DOS header and nothing after it."),
    row("pe-lfanew-outside", REFUSE, PLAIN, |p| p.dos().e_lfanew.set(LE, FAR), "The NT headers are beyond the end of the file."),
    row("pe-lfanew-top", REFUSE, PLAIN, |p| p.dos().e_lfanew.set(LE, u32::MAX), "The NT headers end beyond 2^32."),
    row("pe-lfanew-at-the-end", REFUSE, PLAIN, |p| { let end = p.0.len(); p.dos().e_lfanew.set(LE, end as u32 - 4); p.0[end - 4..].copy_from_slice(b"PE\0\0") }, "The file ends after the signature."),
    row("pe-lfanew-overlapping", REFUSE, PLAIN, |p| p.dos().e_lfanew.set(LE, 4), "The NT headers overlap the DOS header, and no signature is there."),
    row("pe-signature-ne", REFUSE, PLAIN, |p| p.nt().signature.set(LE, 0x454e), "A 16-bit Windows image (NE)."),
    row("pe-machine-i386", REFUSE, PLAIN, |p| p.nt().file_header.machine.set(LE, IMAGE_FILE_MACHINE_I386), "Code for a 32-bit machine."),
    row("pe-machine-arm64", REFUSE, PLAIN, |p| p.nt().file_header.machine.set(LE, IMAGE_FILE_MACHINE_ARM64), "Code for another machine."),
    row("pe-magic-pe32", REFUSE, PLAIN, |p| p.optional().magic.set(LE, IMAGE_NT_OPTIONAL_HDR32_MAGIC), "The optional header says 32 bits."),
    row("pe-magic-rom", REFUSE, PLAIN, |p| p.optional().magic.set(LE, IMAGE_ROM_OPTIONAL_HDR_MAGIC), "The optional header says ROM image."),
    row("pe-optional-header-short", REFUSE, PLAIN, |p| p.nt().file_header.size_of_optional_header.set(LE, 32), "The optional header ends before its fields do."),
    row("pe-optional-header-huge", REFUSE, PLAIN, |p| p.nt().file_header.size_of_optional_header.set(LE, 0xfff0), "The section headers, after the optional one, are beyond the end of the file."),
    row("pe-directories-0", EITHER, PLAIN, |p| p.optional().number_of_rva_and_sizes.set(LE, 0), "No data directories: no exports."),
    row("pe-directories-255", EITHER, PLAIN, |p| p.optional().number_of_rva_and_sizes.set(LE, 255), "More data directories than there are kinds."),
    row("pe-directories-top", EITHER, PLAIN, |p| p.optional().number_of_rva_and_sizes.set(LE, u32::MAX), "More data directories than the file has bytes."),
    row("pe-size-of-headers-0", EITHER, PLAIN, |p| p.optional().size_of_headers.set(LE, 0), "Headers of no size."),
    row("pe-size-of-headers-huge", REFUSE, PLAIN, |p| p.optional().size_of_headers.set(LE, FAR), "Headers larger than the file and the image."),
    row("pe-size-of-headers-over-section", EITHER, PLAIN, |p| p.optional().size_of_headers.set(LE, 0x1200), "Headers that reach into the first section."),
    row("pe-size-of-image-0", REFUSE, PLAIN, |p| p.optional().size_of_image.set(LE, 0), "An image of no size."),
    row("pe-size-of-image-small", REFUSE, PLAIN, |p| p.optional().size_of_image.set(LE, 0x2000), "Sections lie beyond the end of the image."),
    row("pe-size-of-image-huge", EITHER, PLAIN, |p| p.optional().size_of_image.set(LE, 0xffff_f000), "An image of 4 GiB for a few pages."),
    row("pe-section-alignment-0", REFUSE, PLAIN, |p| p.optional().section_alignment.set(LE, 0), "Sections aligned to nothing."),
    row("pe-section-alignment-512", EITHER, PLAIN, |p| p.optional().section_alignment.set(LE, 0x200), "Sections aligned to less than a page, but not at their file offsets."),
    row("pe-section-alignment-3000", REFUSE, PLAIN, |p| p.optional().section_alignment.set(LE, 3000), "A section alignment that is no power of two."),
    row("pe-section-alignment-top", REFUSE, PLAIN, |p| p.optional().section_alignment.set(LE, 0x8000_0000), "A section alignment that no section here has."),
    row("pe-file-alignment-0", EITHER, PLAIN, |p| p.optional().file_alignment.set(LE, 0), "File data aligned to nothing."),
    row("pe-file-alignment-3", EITHER, PLAIN, |p| p.optional().file_alignment.set(LE, 3), "A file alignment that is no power of two."),
    row("pe-image-base-odd", EITHER, PLAIN, |p| p.optional().image_base.set(LE, 0x1_8000_1234), "A preferred base that is no multiple of 64 KiB."),
    row("pe-image-base-top", EITHER, PLAIN, |p| p.optional().image_base.set(LE, 0xffff_ffff_ffff_0000), "A preferred base where no process has memory."),
    row("pe-entry-outside", REFUSE, PLAIN, |p| p.optional().address_of_entry_point.set(LE, FAR), "The entry point is outside the image."),
    row("pe-entry-top", REFUSE, PLAIN, |p| p.optional().address_of_entry_point.set(LE, u32::MAX), "The entry point is at the last byte of 4 GiB."),
    row("pe-entry-in-data", REFUSE, DATA, |p| { let at = p.section(".data").virtual_address; p.optional().address_of_entry_point = at }, "The entry point is in data, which cannot run."),
    row("pe-entry-in-headers", REFUSE, PLAIN, |p| p.optional().address_of_entry_point.set(LE, 4), "The entry point is in the headers, which cannot run."),
    row("pe-not-a-dll", EITHER, PLAIN, |p| { let flags = p.nt().file_header.characteristics.get(LE); p.nt().file_header.characteristics.set(LE, flags.without(IMAGE_FILE_DLL)) }, "A program, not a DLL: loaded, its entry point is not called."),

    // Sections.
    row("pe-sections-0", EITHER, PLAIN, |p| p.nt().file_header.number_of_sections.set(LE, 0), "No sections."),
    row("pe-sections-65535", REFUSE, PLAIN, |p| p.nt().file_header.number_of_sections.set(LE, 0xffff), "More sections than the file can hold."),
    row("pe-section-past-end", REFUSE, PLAIN, |p| p.section(".text").pointer_to_raw_data.set(LE, FAR), "A section's bytes begin beyond the end of the file."),
    row("pe-section-raw-size-huge", REFUSE, PLAIN, |p| p.section(".text").size_of_raw_data.set(LE, FAR), "A section's bytes end beyond the end of the file."),
    row("pe-section-raw-overflow", REFUSE, PLAIN, |p| p.section(".text").pointer_to_raw_data.set(LE, 0xffff_ff00), "A section's bytes end beyond 2^32."),
    row("pe-section-outside", REFUSE, PLAIN, |p| p.section(".text").virtual_address.set(LE, FAR), "A section lies beyond the end of the image."),
    row("pe-section-overflow", REFUSE, PLAIN, |p| p.section(".text").virtual_size.set(LE, 0xffff_f000), "A section ends beyond 2^32."),
    row("pe-section-in-headers", REFUSE, PLAIN, |p| p.section(".text").virtual_address.set(LE, 0), "A section lies over the headers."),
    row("pe-section-misaligned", REFUSE, PLAIN, |p| p.section(".text").virtual_address.set(LE, 0x1010), "A section begins within a page."),
    row("pe-sections-overlap", REFUSE, DATA, |p| { let at = p.section(".text").virtual_address; p.section(".data").virtual_address = at }, "Two sections want the same addresses, with different rights."),
    row("pe-sections-descending", REFUSE, DATA, |p| p.sections().swap(0, 1), "Sections do not ascend, as the format says that they do."),
    row("pe-section-writable-executable", EITHER, PLAIN, |p| section_flags(p, ".text", IMAGE_SCN_MEM_WRITE), "A section that can be written and run."),
    row("pe-section-shared", EITHER, DATA, |p| section_flags(p, ".data", IMAGE_SCN_MEM_SHARED), "A section that all processes are to share."),
    row("pe-section-without-size", EITHER, DATA, |p| p.section(".data").virtual_size.set(LE, 0), "A section without a size in memory: that in the file counts."),
    row("pe-certificate-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_SECURITY, FAR, 0x1000), "Certificates beyond the end of the file, which no loader needs."),

    // Imports.
    row("pe-import-outside", REFUSE, DATA, |p| set(p, IMAGE_DIRECTORY_ENTRY_IMPORT, FAR, 40), "The import directory is outside the image."),
    row("pe-import-at-the-end", REFUSE, DATA, |p| { let end = p.optional().size_of_image.get(LE); set(p, IMAGE_DIRECTORY_ENTRY_IMPORT, end - 8, 40) }, "The first import descriptor leaves the image."),
    row("pe-import-unterminated", REFUSE, DATA, |p| { let at = p.directory(IMAGE_DIRECTORY_ENTRY_IMPORT).virtual_address.get(LE) + 20; *p.view::<[u8; 20]>(at) = [0xff; 20] }, "The last import descriptor is not the last."),
    row("pe-import-name-outside", REFUSE, DATA, |p| import(p).name.set(LE, FAR), "The name of a DLL is outside the image."),
    row("pe-import-name-empty", REFUSE, DATA, |p| { let name = import(p).name.get(LE); *p.view::<u8>(name) = 0 }, "The name of a DLL is empty."),
    row("pe-import-name-dot", REFUSE, DATA, |p| { let name = import(p).name.get(LE); *p.view::<[u8; 2]>(name) = [b'.', 0] }, "The name of a DLL is a lone dot, which says that it has no extension, and nothing else."),
    row("pe-import-name-not-text", REFUSE, DATA, |p| { let name = import(p).name.get(LE); *p.view::<[u8; 4]>(name) = [0xff, 0xfe, b'/', b'\\'] }, "The name of a DLL is no text, and a path."),
    row("pe-import-lookup-outside", REFUSE, DATA, |p| import(p).original_first_thunk.set(LE, FAR), "The list of imported names is outside the image."),
    row("pe-import-address-outside", REFUSE, DATA, |p| import(p).first_thunk.set(LE, FAR), "The imported addresses go outside the image."),
    row("pe-import-address-in-text", EITHER, DATA, |p| import(p).first_thunk.set(LE, 0x1000), "The imported addresses go over code."),
    row("pe-import-address-in-headers", EITHER, DATA, |p| import(p).first_thunk.set(LE, 0x10), "The imported addresses go over the headers."),
    row("pe-import-address-over-directory", EITHER, DATA, |p| { let at = p.directory(IMAGE_DIRECTORY_ENTRY_IMPORT).virtual_address; import(p).first_thunk = at }, "The imported addresses go over the import directory itself."),
    row("pe-import-hint-outside", REFUSE, DATA, |p| *thunk(p) = U64::new(LE, 0x7fff_fff0), "An imported name is outside the image."),
    row("pe-import-thunk-odd-bits", REFUSE, DATA, |p| *thunk(p) = U64::new(LE, 0x7fff_ffff_0000_7000), "An imported name with bits set that have no meaning."),
    row("pe-import-ordinal-0", REFUSE, BY_ORDINAL, |p| *thunk(p) = U64::new(LE, 1 << 63), "An import of the number 0, which the DLL does not export."),

    // Exports.
    row("pe-export-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_EXPORT, FAR, 40), "The export directory is outside the image."),
    row("pe-export-at-the-end", EITHER, PLAIN, |p| { let end = p.optional().size_of_image.get(LE); set(p, IMAGE_DIRECTORY_ENTRY_EXPORT, end - 8, 40) }, "The export directory leaves the image."),
    row("pe-export-names-huge", EITHER, PLAIN, |p| export(p).number_of_names.set(LE, u32::MAX), "More exported names than the image has bytes."),
    row("pe-export-functions-huge", EITHER, PLAIN, |p| export(p).number_of_functions.set(LE, u32::MAX), "More exports than the image has bytes."),
    row("pe-export-functions-0", EITHER, PLAIN, |p| export(p).number_of_functions.set(LE, 0), "Names, but no exports for them."),
    row("pe-export-addresses-outside", EITHER, PLAIN, |p| export(p).address_of_functions.set(LE, FAR), "The list of exported addresses is outside the image."),
    row("pe-export-names-outside", EITHER, PLAIN, |p| export(p).address_of_names.set(LE, FAR), "The list of exported names is outside the image."),
    row("pe-export-numbers-outside", EITHER, PLAIN, |p| export(p).address_of_name_ordinals.set(LE, FAR), "The list that leads from names to exports is outside the image."),
    row("pe-export-numbers-huge", EITHER, PLAIN, |p| { let at = export(p).address_of_name_ordinals.get(LE); for i in 0..8 { p.view::<U16<LE>>(at + 2 * i).set(LE, 0xffff) } }, "Names lead beyond all exports."),
    row("pe-export-name-outside", EITHER, PLAIN, |p| { let at = export(p).address_of_names.get(LE); for i in 0..8 { p.view::<U32<LE>>(at + 4 * i).set(LE, FAR) } }, "Exported names are outside the image."),
    row("pe-export-names-unsorted", EITHER, PLAIN, |p| { let at = export(p).address_of_names.get(LE); let first = *p.view::<[u8; 4]>(at); let last = std::mem::replace(p.view::<[u8; 4]>(at + 28), first); *p.view(at) = last }, "Exported names are not sorted, as the format says that they are."),
    row("pe-export-address-outside", EITHER, PLAIN, |p| { let at = export(p).address_of_functions.get(LE); for i in 0..8 { p.view::<U32<LE>>(at + 4 * i).set(LE, FAR) } }, "Exports are outside the image."),
    row("pe-export-base-top", EITHER, ORDINALS, |p| export(p).base.set(LE, u32::MAX - 1), "The exports' numbers go beyond 2^32."),
    row("pe-forwarder-to-itself", EITHER, FORWARDER, |p| forward(p, "forward-end.forward_end", "forwarder.by_name"), "A forwarder that stands for itself (as forwarder.dll)."),
    row("pe-forwarder-cycle", EITHER, FORWARDER, |p| { forward(p, "forward-end.forward_end", "forwarder.by_chain"); forward(p, "forward-middle.middle", "forwarder.by_name") }, "Two forwarders that stand for each other (as forwarder.dll)."),
    row("pe-forwarder-unterminated", EITHER, FORWARDER, |p| { let from = find(p, "forward-middle.middle"); let at = p.section(".edata").pointer_to_raw_data.get(LE) + p.section(".edata").size_of_raw_data.get(LE); p.0[from..at as usize].fill(b'.') }, "A forwarder's text that runs out of the export directory."),
    row("pe-forwarder-without-dot", EITHER, FORWARDER, |p| forward(p, "forward-middle.middle", "forward-middle"), "A forwarder that names no export."),
    row("pe-forwarder-without-module", EITHER, FORWARDER, |p| forward(p, "forward-middle.middle", ".middle"), "A forwarder that names no DLL."),
    row("pe-forwarder-number-huge", EITHER, FORWARDER, |p| forward(p, "forward-middle.middle", "forward-end.#9999999"), "A forwarder to a number beyond 65535."),
    row("pe-forwarder-number-empty", EITHER, FORWARDER, |p| forward(p, "forward-middle.middle", "forward-end.#"), "A forwarder to a number without digits."),

    // Base relocations.
    row("pe-reloc-outside", REFUSE, DATA, |p| set(p, IMAGE_DIRECTORY_ENTRY_BASERELOC, FAR, 12), "The relocations are outside the image."),
    row("pe-reloc-size-huge", REFUSE, DATA, |p| p.directory(IMAGE_DIRECTORY_ENTRY_BASERELOC).size.set(LE, FAR), "The relocations go on beyond the end of the image."),
    row("pe-reloc-block-0", REFUSE, DATA, |p| reloc(p).size_of_block.set(LE, 0), "A block of no size."),
    row("pe-reloc-block-7", REFUSE, DATA, |p| reloc(p).size_of_block.set(LE, 7), "A block that is shorter than its own header."),
    row("pe-reloc-block-huge", REFUSE, DATA, |p| reloc(p).size_of_block.set(LE, 0x7fff_fff0), "A block that ends beyond the directory."),
    row("pe-reloc-block-odd", EITHER, DATA, |p| reloc(p).size_of_block.set(LE, 11), "A block with half a relocation at its end."),
    row("pe-reloc-cut-off", EITHER, DATA, |p| p.directory(IMAGE_DIRECTORY_ENTRY_BASERELOC).size.set(LE, 15), "The directory ends within a block's header."),
    row("pe-reloc-type-unknown", REFUSE, DATA, |p| first_fixup(p, BaseRelocationType(11), 0), "A relocation of a kind that does not exist."),
    row("pe-reloc-type-highadj", EITHER, DATA, |p| first_fixup(p, IMAGE_REL_BASED_HIGHADJ, 0), "A relocation that takes the next one as its parameter."),
    row("pe-reloc-target-outside", REFUSE, DATA, |p| reloc(p).virtual_address.set(LE, FAR), "A relocation writes outside the image."),
    row("pe-reloc-target-top", REFUSE, DATA, |p| reloc(p).virtual_address.set(LE, 0xffff_f000), "A relocation writes beyond 2^32."),
    row("pe-reloc-target-straddles", REFUSE, DATA, |p| { let end = p.optional().size_of_image.get(LE); reloc(p).virtual_address.set(LE, end - 0x1000); first_fixup(p, IMAGE_REL_BASED_DIR64, 0xffc) }, "A relocation writes over the end of the image."),
    row("pe-reloc-target-in-headers", EITHER, DATA, |p| reloc(p).virtual_address.set(LE, 0), "A relocation writes to the headers."),

    // Thread-local storage, load configuration, unwinding, and the rest.
    row("pe-tls-outside", REFUSE, TLS, |p| set(p, IMAGE_DIRECTORY_ENTRY_TLS, FAR, 40), "The TLS directory is outside the image."),
    row("pe-tls-short", EITHER, TLS, |p| p.directory(IMAGE_DIRECTORY_ENTRY_TLS).size.set(LE, 8), "The TLS directory ends before its fields do."),
    row("pe-tls-template-outside", REFUSE, TLS, |p| { let end = tls(p).end_address_of_raw_data.get(LE); tls(p).end_address_of_raw_data.set(LE, end + u64::from(FAR)) }, "The TLS template ends outside the image."),
    row("pe-tls-template-backwards", REFUSE, TLS, |p| { let end = tls(p).end_address_of_raw_data.get(LE); tls(p).start_address_of_raw_data.set(LE, end + 16) }, "The TLS template ends before it begins."),
    row("pe-tls-index-outside", REFUSE, TLS, |p| { let at = tls(p).address_of_index.get(LE); tls(p).address_of_index.set(LE, at + u64::from(FAR)) }, "The TLS index is outside the image."),
    row("pe-tls-zero-fill-huge", EITHER, TLS, |p| tls(p).size_of_zero_fill.set(LE, u32::MAX), "4 GiB of zeroes for every thread."),
    row("pe-tls-alignment-15", EITHER, TLS, |p| tls(p).characteristics.set(LE, 15 << 20), "A TLS alignment that has no meaning."),
    row("pe-tls-callbacks-outside", REFUSE, CALLBACKS, |p| { let at = tls(p).address_of_call_backs.get(LE); tls(p).address_of_call_backs.set(LE, at + u64::from(FAR)) }, "The TLS callbacks' list is outside the image."),
    row("pe-tls-callbacks-unterminated", EITHER, CALLBACKS, |p| { let base = p.optional().image_base.get(LE); let end = base + u64::from(p.optional().size_of_image.get(LE)); tls(p).address_of_call_backs.set(LE, end - 4) }, "The TLS callbacks' list runs out of the image."),
    row("pe-load-config-small", EITHER, COOKIE, |p| { p.directory(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG).size.set(LE, 8); *p.table::<U32<LE>>(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG) = U32::new(LE, 8) }, "A load configuration that ends before the cookie's field."),
    row("pe-load-config-outside", EITHER, COOKIE, |p| set(p, IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG, FAR, 112), "The load configuration is outside the image."),
    row("pe-cookie-outside", EITHER, COOKIE, |p| p.table::<[U64<LE>; 12]>(IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG)[11].set(LE, 8), "The security cookie is outside the image: nothing may be written there."),
    row("pe-exception-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_EXCEPTION, FAR, 36), "The unwind table is outside the image."),
    row("pe-exception-size-odd", EITHER, PLAIN, |p| p.directory(IMAGE_DIRECTORY_ENTRY_EXCEPTION).size.set(LE, 35), "The last entry of the unwind table is cut off."),
    row("pe-delay-import-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, FAR, 64), "The delayed imports are outside the image."),
    row("pe-bound-import-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_BOUND_IMPORT, FAR, 64), "The record of bound imports, which no loader needs, is outside the image."),
    row("pe-resource-outside", EITHER, PLAIN, |p| set(p, IMAGE_DIRECTORY_ENTRY_RESOURCE, FAR, 64), "The resources are outside the image."),
];

fn set(p: &mut Pe, directory: usize, rva: u32, size: u32) {
    *p.directory(directory) =
        ImageDataDirectory { virtual_address: U32::new(LE, rva), size: U32::new(LE, size) };
}

fn section_flags(p: &mut Pe, name: &str, more: SectionFlags) {
    let flags = &mut p.section(name).characteristics;
    flags.set(LE, flags.get(LE) | more);
}

fn import(p: &mut Pe) -> &mut ImageImportDescriptor {
    p.table(IMAGE_DIRECTORY_ENTRY_IMPORT)
}

/// The first entry of the first DLL's list of imported names.
fn thunk(p: &mut Pe) -> &mut U64<LE> {
    let at = import(p).original_first_thunk.get(LE);
    p.view(at)
}

fn export(p: &mut Pe) -> &mut ImageExportDirectory {
    p.table(IMAGE_DIRECTORY_ENTRY_EXPORT)
}

fn tls(p: &mut Pe) -> &mut ImageTlsDirectory64 {
    p.table(IMAGE_DIRECTORY_ENTRY_TLS)
}

fn reloc(p: &mut Pe) -> &mut ImageBaseRelocation {
    p.table(IMAGE_DIRECTORY_ENTRY_BASERELOC)
}

/// Rewrites the first relocation of the first block.
fn first_fixup(p: &mut Pe, kind: BaseRelocationType, offset: u16) {
    let at = p.directory(IMAGE_DIRECTORY_ENTRY_BASERELOC).virtual_address.get(LE) + 8;
    p.view::<U16<LE>>(at).set(LE, kind.0 << 12 | offset);
}

/// Where a text that ends with a zero byte begins, in the file.
fn find(p: &Pe, text: &str) -> usize {
    let text = [text.as_bytes(), b"\0"].concat();
    p.0.windows(text.len()).position(|window| window == text).expect("the text is in the image")
}

/// Gives the first forwarder with this text another one that is not longer.
fn forward(p: &mut Pe, old: &str, new: &str) {
    let at = find(p, old);
    p.0[at..at + old.len()].fill(0);
    p.0[at..at + new.len()].copy_from_slice(new.as_bytes());
}

fn object_file() -> Vec<u8> {
    let mut image = write::Object::new(
        object::BinaryFormat::Coff,
        object::Architecture::X86_64,
        object::Endianness::Little,
    );
    let text = image.section_id(write::StandardSection::Text);
    image.append_section_data(text, &[0xc3; 16], 16);
    image.write().expect("an object file of one section can be written")
}
