//! This engine.

use super::{Subject, Way};
use crate::{
    Image,
    images::{self, Format},
};
use loader::{Buffer, Engine, HostModule, Library};
use loader_core::Query;
use std::{
    cell::Cell,
    ffi::{CStr, c_char},
};

/// This engine, twice: with nothing provided, and with what images from bytes need provided as bytes.
#[expect(missing_debug_implementations, reason = "a cell of a buffer has none")]
pub struct Ours {
    files: Engine,
    bytes: Engine,
    /// What the next open is given.
    buffer: Cell<Option<Buffer>>,
}

impl Ours {
    /// Makes the engines and warms them.
    ///
    /// # Errors
    /// What the engine says.
    pub fn new() -> Result<Self, loader::Error> {
        let engine = || {
            let log = HostModule::new("tlog.dll").function("tlog", log as *const ());
            Engine::builder().host(log).build()
        };
        let ours = Self { files: engine()?, bytes: engine()?, buffer: Cell::default() };
        for needed in images::cases().iter().filter_map(|i| i.needs.as_ref()) {
            ours.bytes.provide(images::file_name(needed), images::read(needed));
        }
        for engine in [&ours.files, &ours.bytes] {
            // Nobody has a library of this name: all places, and the system's cache, are looked at.
            let _ = engine.open("libof-no-such-name.so");
            for image in images::cases() {
                engine.open_embedded(image.file_name(), image.bytes()).map(drop).or_else(|e| match image
                    .needs
                {
                    Some(_) => Ok(()), // not provided to this one
                    None => Err(e),
                })?;
            }
        }
        Ok(ours)
    }
}

impl Ours {
    /// Where the `dladdr` is that loaded code gets.
    #[must_use]
    pub fn dladdr(&self) -> Option<usize> {
        let set = self.files.load_set();
        let engine = set.module_named("(engine)")?;
        let found = set.symbol_in(engine.id, &Query::name(b"dladdr")).ok()?;
        Some(found.at.0 as usize)
    }
}

/// Where the images of the corpus say what they do.
extern "win64" fn log(_: *const c_char) {}

impl Subject for Ours {
    const NAME: &str = "ours";
    const WAYS: &[Way] = &[Way::File, Way::Bytes, Way::Buffer];
    const FORMATS: &[Format] = &[Format::Elf, Format::Pe];
    type Library = Library;

    fn prepare(&self, image: &Image, way: Way) {
        if way == Way::Buffer {
            self.buffer.set(Buffer::read(image.bytes(), image.bytes().len()).ok());
        }
    }

    fn open(&self, image: &Image, way: Way) -> Result<Library, String> {
        match way {
            Way::File => self.files.open(&image.path),
            Way::Bytes => self.bytes.open_embedded(image.file_name(), image.bytes()),
            Way::Buffer => {
                let buffer = self.buffer.take().ok_or("not prepared")?;
                self.bytes.open_buffer(image.file_name(), buffer)
            }
        }
        .map_err(|e| e.to_string())
    }

    fn symbol(&self, library: &Library, name: &CStr) -> usize {
        let found = library.address(&Query::name(name.to_bytes()));
        found.ok().flatten().map_or(0, |at| at.0 as usize)
    }

    fn close(&self, library: Library) -> Result<(), String> {
        library.close().map(drop).map_err(|e| e.to_string())
    }
}
