//! A DLL built by hand that has a little of everything. Its parts are where the constants say.

use object::{
    pe,
    write::pe::{NtHeaders, Writer},
};

pub const BASE: u64 = 0x1_8000_0000;
pub const TEXT: u32 = 0x1000;
pub const RDATA: u32 = 0x2000;
pub const DATA: u32 = 0x3000;

/// Functions in `.text`.
pub const DLL_MAIN: u32 = TEXT;
pub const CALLBACK: u32 = TEXT + 0x10;
pub const ALPHA: u32 = TEXT + 0x20;
pub const BETA: u32 = TEXT + 0x30;

/// Words in `.data`.
pub const POINTER: u32 = DATA;
pub const COOKIE: u32 = DATA + 0x08;
pub const INDEX: u32 = DATA + 0x10;
pub const KERNEL32_SLOTS: u32 = DATA + 0x18; // two and a zero
pub const CRT_SLOTS: u32 = DATA + 0x30; // one and a zero
pub const CALLBACKS: u32 = DATA + 0x40; // one and a zero
pub const TEMPLATE: u32 = DATA + 0x50; // eight bytes

pub const DEFAULT_COOKIE: u64 = 0x0000_2B99_2DDF_A232;

/// Bytes with a place in the image.
pub struct Blob {
    base: u32,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(base: u32) -> Self {
        Self { base, bytes: Vec::new() }
    }

    /// Appends bytes at a multiple of eight and returns their place.
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + self.bytes.len() as u32;
        self.bytes.extend(bytes);
        at
    }

    pub fn text(&mut self, text: &str) -> u32 {
        self.put(format!("{text}\0").as_bytes())
    }

    pub fn u32s(&mut self, words: &[u32]) -> u32 {
        self.put(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn u64s(&mut self, words: &[u64]) -> u32 {
        self.put(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>())
    }

    pub fn end(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }
}

/// What a test may want otherwise.
pub struct Spec {
    pub machine: pe::Machine,
    pub flags: pe::FileFlags,
    pub base: u64,
    pub entry: u32,
    pub section_alignment: u32,
    pub text_flags: pe::SectionFlags,
    pub imports: fn(&mut Blob) -> Dir,
    pub resources: fn(&mut Blob) -> Dir,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            machine: pe::IMAGE_FILE_MACHINE_AMD64,
            flags: pe::IMAGE_FILE_EXECUTABLE_IMAGE | pe::IMAGE_FILE_DLL,
            base: BASE,
            entry: DLL_MAIN,
            section_alignment: 0x1000,
            text_flags: pe::IMAGE_SCN_CNT_CODE | pe::IMAGE_SCN_MEM_EXECUTE | pe::IMAGE_SCN_MEM_READ,
            imports,
            resources,
        }
    }
}

/// A directory: number, place, length.
pub type Dir = (usize, u32, u32);

fn exports(r: &mut Blob) -> Dir {
    let start = r.put(&[]);
    // Ordinals from 5: alpha, a gap, beta (without a name), two forwarders.
    let head = r.put(&[0; 40]);
    let (heap, by_number) = (r.text("NTDLL.RtlAllocateHeap"), r.text("other.name.#12"));
    let functions = r.u32s(&[ALPHA, 0, BETA, heap, by_number]);
    let names: Vec<u32> = ["alpha", "heap", "number"].map(|n| r.text(n)).into();
    let names = r.u32s(&names);
    let ordinals = r.put(&[0, 0, 3, 0, 4, 0]);
    let own = r.text("Built.DLL");
    let words = [0, 0, 0, own, 5, 5, 3, functions, names, ordinals];
    let at = (head - r.base) as usize;
    for (i, word) in words.into_iter().enumerate() {
        r.bytes[at + 4 * i..][..4].copy_from_slice(&word.to_le_bytes());
    }
    (pe::IMAGE_DIRECTORY_ENTRY_EXPORT, start, r.end() - start)
}

fn imports(r: &mut Blob) -> Dir {
    let heap = r.put(b"\x07\0HeapAlloc\0");
    let malloc = r.put(b"\0\0malloc\0");
    let kernel32 = r.u64s(&[heap.into(), pe::IMAGE_ORDINAL_FLAG64 | 17, 0]);
    let crt = r.u64s(&[malloc.into(), 0]);
    let (kernel32_name, crt_name) = (r.text("KERNEL32.dll"), r.text("api-ms-win-crt-heap-l1-1-0.dll"));
    let table = r.u32s(&[
        kernel32,
        0,
        0,
        kernel32_name,
        KERNEL32_SLOTS, //
        crt,
        0,
        0,
        crt_name,
        CRT_SLOTS, //
        0,
        0,
        0,
        0,
        0,
    ]);
    (pe::IMAGE_DIRECTORY_ENTRY_IMPORT, table, 60)
}

fn delayed(r: &mut Blob) -> Dir {
    let name = r.text("Delayed.dll");
    let names = r.u64s(&[pe::IMAGE_ORDINAL_FLAG64 | 1, 0]);
    let table = r.u32s(&[1, name, 0, 0, names, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    (pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT, table, 64)
}

fn tls(r: &mut Blob, base: u64) -> Dir {
    let va = |at: u32| base + u64::from(at);
    let table = r.u64s(&[va(TEMPLATE), va(TEMPLATE + 8), va(INDEX), va(CALLBACKS), 0x0070_0000 << 32 | 24]);
    (pe::IMAGE_DIRECTORY_ENTRY_TLS, table, 40)
}

fn load_config(r: &mut Blob, base: u64) -> Dir {
    let mut words = [0; 12];
    words[0] = 96;
    words[11] = base + u64::from(COOKIE);
    (pe::IMAGE_DIRECTORY_ENTRY_LOAD_CONFIG, r.u64s(&words), 96)
}

fn resources(r: &mut Blob) -> Dir {
    let table = |entry: [u32; 2]| [0, 0, 0, 1 << 16, entry[0], entry[1]];
    let below = 1 << 31;
    let start = r.u32s(&table([16, below | 24]));
    r.u32s(&table([1, below | 48]));
    r.u32s(&table([1033, 72]));
    r.u32s(&[start, 4, 1252, 0]);
    (pe::IMAGE_DIRECTORY_ENTRY_RESOURCE, start, r.end() - start)
}

fn data(base: u64) -> Blob {
    let va = |at: u32| base + u64::from(at);
    let mut d = Blob::new(DATA);
    d.u64s(&[va(ALPHA), DEFAULT_COOKIE, 0xffff_ffff, 0, 0, 0, 0, 0, va(CALLBACK), 0]);
    assert_eq!(d.put(b"template"), TEMPLATE);
    d
}

/// Builds the DLL.
pub fn dll(spec: &Spec) -> Vec<u8> {
    let mut rdata = Blob::new(RDATA);
    let (tls, config) = (tls(&mut rdata, spec.base), load_config(&mut rdata, spec.base));
    let addresses = [tls.1, tls.1 + 8, tls.1 + 16, tls.1 + 24, config.1 + 88, POINTER, CALLBACKS];
    let directories = [
        tls,
        config,
        exports(&mut rdata),
        (spec.imports)(&mut rdata),
        delayed(&mut rdata),
        (spec.resources)(&mut rdata),
    ];
    let (text, data) = (vec![0xc3; 0x40], data(spec.base));

    let mut out = Vec::new();
    let mut w = Writer::new(true, spec.section_alignment, 0x200, &mut out);
    w.reserve_dos_header_and_stub();
    w.reserve_nt_headers(16);
    w.reserve_section_headers(4);
    let text_at = w.reserve_section(*b".text\0\0\0", spec.text_flags, 0x40, 0x40);
    let rdata_at = w.reserve_rdata_section(rdata.bytes.len() as u32);
    let data_at = w.reserve_data_section(0x800, data.bytes.len() as u32);
    addresses.iter().for_each(|&at| w.add_reloc(at, pe::IMAGE_REL_BASED_DIR64));
    w.reserve_reloc_section();
    directories.iter().for_each(|&(n, at, len)| w.set_data_directory(n, at, len));
    w.write_dos_header_and_stub().unwrap();
    w.write_nt_headers(nt_headers(spec));
    w.write_section_headers();
    w.write_section(text_at.file_offset, &text);
    w.write_section(rdata_at.file_offset, &rdata.bytes);
    w.write_section(data_at.file_offset, &data.bytes);
    w.write_reloc_section();
    out
}

fn nt_headers(spec: &Spec) -> NtHeaders {
    NtHeaders {
        machine: spec.machine,
        time_date_stamp: 0,
        characteristics: spec.flags,
        major_linker_version: 0,
        minor_linker_version: 0,
        address_of_entry_point: spec.entry,
        image_base: spec.base,
        major_operating_system_version: 6,
        minor_operating_system_version: 0,
        major_image_version: 0,
        minor_image_version: 0,
        major_subsystem_version: 6,
        minor_subsystem_version: 0,
        subsystem: pe::IMAGE_SUBSYSTEM_WINDOWS_GUI,
        dll_characteristics: pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE,
        size_of_stack_reserve: 0,
        size_of_stack_commit: 0,
        size_of_heap_reserve: 0,
        size_of_heap_commit: 0,
    }
}
