//! The fields of an image in memory by name, to be overwritten: how the [hostile](crate::hostile) images are made.
//!
//! It works on images that are known to be sound and small: what is asked for must be there, or it panics.

use object::{
    LittleEndian as LE, elf, pe,
    pod::{Pod, from_bytes, from_bytes_mut, slice_from_bytes_mut},
};

/// The bytes of a little-endian 64-bit ELF image.
#[derive(Clone, Debug)]
pub struct Elf(pub Vec<u8>);

/// The bytes of a PE32+ image.
#[derive(Clone, Debug)]
pub struct Pe(pub Vec<u8>);

const INSIDE: &str = "the corpus image is long enough";

fn view<T: Pod>(bytes: &mut [u8], at: usize) -> &mut T {
    from_bytes_mut(&mut bytes[at..]).expect(INSIDE).0
}

impl Elf {
    /// The file header.
    pub fn header(&mut self) -> &mut elf::FileHeader64<LE> {
        view(&mut self.0, 0)
    }

    /// All program headers.
    pub fn segments(&mut self) -> &mut [elf::ProgramHeader64<LE>] {
        let header = self.header();
        let (at, count) = (header.e_phoff.get(LE) as usize, header.e_phnum.get(LE) as usize);
        slice_from_bytes_mut(&mut self.0[at..], count).expect(INSIDE).0
    }

    /// The first program header of this kind.
    pub fn segment(&mut self, kind: elf::ProgramType) -> &mut elf::ProgramHeader64<LE> {
        self.segments()
            .iter_mut()
            .find(|segment| segment.p_type.get(LE) == kind)
            .expect("a segment of this kind")
    }

    /// The second `PT_LOAD`: the one that is written to.
    pub fn data_segment(&mut self) -> &mut elf::ProgramHeader64<LE> {
        self.segments()
            .iter_mut()
            .filter(|segment| segment.p_type.get(LE) == elf::PT_LOAD)
            .nth(1)
            .expect("two segments")
    }

    /// The dynamic entry with this tag.
    pub fn dynamic(&mut self, tag: elf::DynamicTag) -> &mut elf::Dyn64<LE> {
        let segment = self.segment(elf::PT_DYNAMIC);
        let (at, count) = (
            segment.p_offset.get(LE) as usize,
            segment.p_filesz.get(LE) as usize / size_of::<elf::Dyn64<LE>>(),
        );
        let (entries, _) = slice_from_bytes_mut::<elf::Dyn64<LE>>(&mut self.0[at..], count).expect(INSIDE);
        entries.iter_mut().find(|entry| entry.d_tag.get(LE) == tag).expect("a dynamic entry with this tag")
    }

    /// Gives the dynamic entry with this tag another value.
    pub fn set(&mut self, tag: elf::DynamicTag, value: u64) {
        self.dynamic(tag).d_val.set(LE, value);
    }

    /// Where the table lies that a dynamic entry points to, as an offset in the file.
    pub fn table_at(&mut self, tag: elf::DynamicTag) -> usize {
        let address = self.dynamic(tag).d_val.get(LE);
        let covers = |s: &&mut elf::ProgramHeader64<LE>| {
            let start = s.p_vaddr.get(LE);
            s.p_type.get(LE) == elf::PT_LOAD && (start..start + s.p_filesz.get(LE)).contains(&address)
        };
        let segment = self.segments().iter_mut().find(covers).expect("a segment that covers the table");
        (address - segment.p_vaddr.get(LE) + segment.p_offset.get(LE)) as usize
    }

    /// The entry of this number in the table that a dynamic entry points to.
    pub fn table<T: Pod>(&mut self, tag: elf::DynamicTag, index: usize) -> &mut T {
        let at = self.table_at(tag) + index * size_of::<T>();
        view(&mut self.0, at)
    }
}

impl Pe {
    /// Both headers that follow the DOS stub.
    pub fn nt(&mut self) -> &mut pe::ImageNtHeaders64 {
        let at = self.nt_at();
        view(&mut self.0, at)
    }

    /// The DOS header.
    pub fn dos(&mut self) -> &mut pe::ImageDosHeader {
        view(&mut self.0, 0)
    }

    /// The optional header.
    pub fn optional(&mut self) -> &mut pe::ImageOptionalHeader64 {
        &mut self.nt().optional_header
    }

    /// The data directory of this number.
    pub fn directory(&mut self, number: usize) -> &mut pe::ImageDataDirectory {
        let at = self.nt_at() + size_of::<pe::ImageNtHeaders64>();
        view(&mut self.0, at + number * size_of::<pe::ImageDataDirectory>())
    }

    /// All section headers.
    pub fn sections(&mut self) -> &mut [pe::ImageSectionHeader] {
        let header = self.nt().file_header;
        let at = self.nt_at() + size_of::<u32>() + size_of::<pe::ImageFileHeader>();
        let at = at + header.size_of_optional_header.get(LE) as usize;
        slice_from_bytes_mut(&mut self.0[at..], header.number_of_sections.get(LE).into()).expect(INSIDE).0
    }

    /// The section of this name.
    pub fn section(&mut self, name: &str) -> &mut pe::ImageSectionHeader {
        self.sections()
            .iter_mut()
            .find(|section| section.raw_name() == name.as_bytes())
            .expect("a section of this name")
    }

    /// Where an image offset lies in the file.
    pub fn at(&mut self, rva: u32) -> usize {
        let covers = |s: &&mut pe::ImageSectionHeader| {
            let start = s.virtual_address.get(LE);
            (start..start + s.size_of_raw_data.get(LE)).contains(&rva)
        };
        let section = self.sections().iter_mut().find(covers).expect("a section that covers the offset");
        (rva - section.virtual_address.get(LE) + section.pointer_to_raw_data.get(LE)) as usize
    }

    /// What lies at an image offset.
    pub fn view<T: Pod>(&mut self, rva: u32) -> &mut T {
        let at = self.at(rva);
        view(&mut self.0, at)
    }

    /// What a data directory points to.
    pub fn table<T: Pod>(&mut self, directory: usize) -> &mut T {
        let rva = self.directory(directory).virtual_address.get(LE);
        self.view(rva)
    }

    fn nt_at(&self) -> usize {
        from_bytes::<pe::ImageDosHeader>(&self.0).expect(INSIDE).0.nt_headers_offset() as usize
    }
}
