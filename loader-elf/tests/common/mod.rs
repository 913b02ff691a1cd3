//! Puts an image into a plain buffer, at a made-up address.

use loader_core::{Addr, Image, ImageMut, LateFixup, Placement, Rva, Source, TlsHome};
use loader_elf::ElfImage;
use std::{path::Path, sync::Arc};

/// The made-up address.
pub const BASE: u64 = 0x7f00_0000_0000;

/// A thread-local block at a distance from the thread pointer that every thread shares.
pub const STATIC: TlsHome = TlsHome::Host { module: 7, thread_pointer_offset: Some(-4096) };

/// The window of an image, filled from its file.
pub struct Window {
    bytes: Vec<u8>,
    start: Rva,
    at: Placement,
    tls: Option<TlsHome>,
    late: Vec<LateFixup>,
}

impl Window {
    #[allow(dead_code)]
    pub fn of(image: &dyn Image, source: &Source) -> Self {
        Self::at(Addr(BASE), image, source)
    }

    pub fn at(base: Addr, image: &dyn Image, source: &Source) -> Self {
        let (plan, file) = (image.plan(), source.bytes());
        let window = plan.window();
        let mut bytes = vec![0; (window.end.0 - window.start.0) as usize];
        for fill in plan.regions().iter().filter_map(|r| r.fill.as_ref()) {
            let from = &file[fill.file.start.0 as usize..fill.file.end.0 as usize];
            let Some(at) = fill.at.0.checked_sub(window.start.0) else { continue };
            if let Some(to) = bytes.get_mut(at as usize..).and_then(|b| b.get_mut(..from.len())) {
                to.copy_from_slice(from);
            }
        }
        Self {
            bytes,
            start: window.start,
            at: Placement { link_base: plan.link_base(), base, len: plan.len().get() },
            tls: image.tls().map(|_| STATIC),
            late: Vec::new(),
        }
    }

    pub fn open(&mut self) -> ImageMut<'_> {
        ImageMut {
            window: &mut self.bytes,
            start: self.start,
            at: self.at,
            tls: self.tls,
            late: &mut self.late,
        }
    }

    #[allow(dead_code)] // not every test looks
    pub fn late(&self) -> &[LateFixup] {
        &self.late
    }

    #[allow(dead_code)]
    pub fn word(&self, link: u64) -> u64 {
        u64::from_le_bytes(self.chunk(link))
    }

    /// The link-time address after the last byte.
    #[allow(dead_code)]
    pub fn end(&self) -> u64 {
        self.at.link_base.0 + self.start.0 + self.bytes.len() as u64
    }

    #[allow(dead_code)]
    pub fn chunk<const N: usize>(&self, link: u64) -> [u8; N] {
        let at = (link - self.at.link_base.0 - self.start.0) as usize;
        *self.bytes[at..].first_chunk().expect("in the window")
    }
}

/// Parses a file of this machine; says so and returns `None` where there is none.
#[allow(dead_code)]
pub fn system(name: &str) -> Option<(Arc<Source>, Arc<ElfImage>)> {
    let path = Path::new("/usr/lib/x86_64-linux-gnu").join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        println!("skipped: needs {}", path.display());
        return None;
    };
    let source = Arc::new(Source::mapped(&file).expect("a file that can be mapped"));
    let image = ElfImage::parse(&source).expect("a library that can be parsed");
    Some((source, image))
}
