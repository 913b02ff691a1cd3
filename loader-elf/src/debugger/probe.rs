//! SystemTap probes: named places in code, which a file lists in notes
//! (<https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation>).
//!
//! Where the system's loader was built with them, gdb waits at its probes and not in the function of `r_debug`.

use object::{
    LittleEndian,
    read::elf::{ElfFile64, FileHeader, SectionHeader},
};

/// `NT_STAPSDT`, the type of their notes.
const STAPSDT: u32 = 3;

/// The link-time address of a probe in a file.
pub(super) fn find(file: &[u8], provider: &str, name: &str) -> Option<u64> {
    let elf = ElfFile64::<LittleEndian>::parse(file).ok()?;
    let sections = elf.elf_header().sections(LittleEndian, file).ok()?;
    let (_, section) = sections.section_by_name(LittleEndian, b".note.stapsdt")?;
    let base = sections.section_by_name(LittleEndian, b".stapsdt.base");
    let base = base.map(|(_, section)| section.sh_addr(LittleEndian));
    let mut notes = section.notes(LittleEndian, file).ok()??;
    while let Ok(Some(note)) = notes.next() {
        if note.name() == b"stapsdt" && note.n_type(LittleEndian).0 == STAPSDT {
            let [at, written_base, _semaphore] = *note.desc().as_chunks::<8>().0.first_chunk::<3>()?;
            let mut texts = note.desc()[24..].split(|&b| b == 0);
            if texts.next() == Some(provider.as_bytes()) && texts.next() == Some(name.as_bytes()) {
                let (at, written_base) = (u64::from_le_bytes(at), u64::from_le_bytes(written_base));
                // Where the file was moved after it was linked, its base section went along, and the notes did not.
                return Some(at.wrapping_add(base.unwrap_or(written_base)).wrapping_sub(written_base));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind, write::Object};

    fn note(at: u64, base: u64, name: &str) -> Vec<u8> {
        let texts = format!("rtld\0{name}\0-4@%eax\0");
        let mut out = Vec::new();
        for number in [8, 24 + texts.len() as u32, STAPSDT] {
            out.extend(number.to_le_bytes());
        }
        out.extend(b"stapsdt\0");
        for number in [at, base, 0] {
            out.extend(number.to_le_bytes());
        }
        out.extend(texts.bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn file(notes: &[u8], with_base: bool) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let id = object.add_section(Vec::new(), b".note.stapsdt".to_vec(), SectionKind::Note);
        object.append_section_data(id, notes, 4);
        if with_base {
            // A section of an object file is at 0.
            object.add_section(Vec::new(), b".stapsdt.base".to_vec(), SectionKind::ReadOnlyData);
        }
        object.write().unwrap()
    }

    #[test]
    fn a_probe_is_found_by_its_names() {
        let notes = [note(0x1000, 0x500, "map_start"), note(0x2000, 0x500, "unmap_complete")].concat();
        assert_eq!(find(&file(&notes, false), "rtld", "unmap_complete"), Some(0x2000));
        assert_eq!(find(&file(&notes, false), "rtld", "unmap"), None);
        assert_eq!(find(&file(&notes, false), "libc", "unmap_complete"), None);
    }

    #[test]
    fn a_probe_moves_with_the_base_section() {
        // Linked with the base at 0x500, and moved so that it is at 0 now: 0x2000 - 0x500.
        let notes = note(0x2000, 0x500, "unmap_complete");
        assert_eq!(find(&file(&notes, true), "rtld", "unmap_complete"), Some(0x1b00));
    }

    #[test]
    fn cut_notes_are_no_probes() {
        let whole = note(0x1000, 0, "unmap_complete");
        for len in 0..whole.len() - 8 {
            let _ = find(&file(&whole[..len], false), "rtld", "unmap_complete"); // no panic
        }
        assert_eq!(find(b"no ELF", "rtld", "unmap_complete"), None);
    }
}
