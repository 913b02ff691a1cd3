//! One module on its way in. The type says how far it has come; a step that is not allowed does not compile.

use crate::{
    Addr, Error, ErrorKind, FileId, Image, ImageMut, LateFixup, Lifecycle, Placement, Resolve, Result,
    Rights, Source, Stage, TlsHome,
    call::{Caller, Stubs},
    index::Listing,
    set::LazyCalls,
    space::{AddressSpace, Backing, Block},
    tls::TlsSlot,
};
use std::{fs::File, path::PathBuf, sync::Arc};

/// What is known of a module before anything of it is in memory.
#[derive(Debug)]
pub struct Identity {
    /// The name the user knows it by.
    pub name: Box<str>,
    /// Every name it answers to, in key form.
    pub keys: Vec<Box<str>>,
    /// Its file, where it has one.
    pub path: Option<PathBuf>,
    /// Which file that is.
    pub file: Option<FileId>,
    /// Its bytes, kept where another open of that name must be compared with them.
    pub source: Option<Arc<Source>>,
}

/// Read and understood; nothing is in memory.
#[derive(Debug)]
pub struct Parsed {
    source: Arc<Source>,
    file: Option<File>,
}
/// In memory; every address is known.
#[derive(Debug)]
pub struct Mapped(Body);
/// The fixups that need no names are done.
#[derive(Debug)]
pub struct Relocated(Body);
/// Nothing is undefined; or nothing was bound, and nothing will be called.
#[derive(Debug)]
pub struct Bound(Body, Option<Lifecycle>);
/// Nobody may write to it any more: there is no way back to `Block::window`.
#[derive(Debug)]
pub struct Sealed(Body, Option<Lifecycle>);

/// What a module has from `map` on. Dropped as it is, it takes everything back.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) at: Placement,
    pub(crate) tls: Option<TlsHome>,
    pub(crate) stubs: Option<Box<dyn Stubs>>,
    /// Boxed: the image holds the address.
    pub(crate) calls: Option<Box<LazyCalls>>,
    late: Vec<LateFixup>,
    slot: Option<TlsSlot>,
    /// From before its first instruction runs; dropped before the memory.
    listing: Option<Listing>,
    block: Box<dyn Block>,
}

impl Body {
    /// The image's memory; stubs, unbound calls and the thread-local slot go.
    pub(crate) fn into_block(self) -> Box<dyn Block> {
        self.block
    }

    fn image_mut<'a>(&'a mut self, image: &dyn Image) -> ImageMut<'a> {
        ImageMut {
            window: self.block.window(),
            start: image.plan().window().start,
            at: self.at,
            tls: self.tls,
            late: &mut self.late,
        }
    }
}

/// One module on its way in.
#[derive(Debug)]
pub struct Module<S> {
    pub(crate) identity: Arc<Identity>,
    pub(crate) image: Arc<dyn Image>,
    stage: S,
}

impl<S> Module<S> {
    fn blame(&self, stage: Stage) -> impl Fn(ErrorKind) -> Error + use<S> {
        let identity = self.identity.clone();
        move |kind| Error::new(&identity.name, stage, kind)
    }

    fn to<T>(identity: Arc<Identity>, image: Arc<dyn Image>, stage: T) -> Module<T> {
        Module { identity, image, stage }
    }
}

impl Module<Parsed> {
    /// A module that was read and understood; `file` is where its pages may be mapped from.
    #[must_use]
    pub fn new(identity: Identity, image: Arc<dyn Image>, source: Arc<Source>, file: Option<File>) -> Self {
        Self { identity: Arc::new(identity), image, stage: Parsed { source, file } }
    }

    /// Reserves memory and puts the regions in place. The file is closed here.
    ///
    /// # Errors
    /// What the address space says; TLS slots exhausted.
    pub fn map(self, space: &dyn AddressSpace) -> Result<Module<Mapped>> {
        let blame = self.blame(Stage::Map);
        let plan = self.image.plan();
        let Parsed { source, file } = &self.stage;
        let from = Backing { bytes: source.bytes(), file: file.as_ref().or(source.file()) };
        let block = space.place(plan, from).map_err(&blame)?;
        block.name(&self.identity.name);
        let at = Placement { link_base: plan.link_base(), base: block.base(), len: plan.len().get() };
        let slot = self.image.tls().map(TlsSlot::reserve).transpose().map_err(&blame)?;
        let tls = slot.as_ref().map(TlsSlot::home);
        let body = Body { at, tls, stubs: None, calls: None, late: Vec::new(), slot, listing: None, block };
        Ok(Self::to(self.identity, self.image, Mapped(body)))
    }
}

impl Module<Mapped> {
    /// Where the image is.
    #[must_use]
    pub fn at(&self) -> Placement {
        self.stage.0.at
    }

    /// Where its thread-local blocks are.
    #[must_use]
    pub fn tls(&self) -> Option<TlsHome> {
        self.stage.0.tls
    }

    /// Applies the fixups that need no names, and returns how many there were.
    ///
    /// # Errors
    /// What the image says.
    pub fn relocate(mut self) -> Result<(Module<Relocated>, usize)> {
        let blame = self.blame(Stage::Relocate);
        let image = self.image.clone();
        let mut mem = self.stage.0.image_mut(&*image);
        let count = image.relocate(&mut mem).map_err(&blame)?;
        if let (Some(TlsHome::Slot(n)), Some(at)) = (mem.tls, image.tls().and_then(|t| t.index_at)) {
            mem.write(at, n.to_le_bytes()).map_err(&blame)?;
        }
        Ok((Self::to(self.identity, image, Relocated(self.stage.0)), count))
    }
}

impl Module<Relocated> {
    /// Applies the fixups that need names, and reads what is to be called.
    ///
    /// # Errors
    /// What the image or `resolve` says.
    pub fn bind(mut self, resolve: Resolve<'_>) -> Result<Module<Bound>> {
        let blame = self.blame(Stage::Bind);
        let image = self.image.clone();
        let nameless = std::mem::take(&mut self.stage.0.late);
        let mut mem = self.stage.0.image_mut(&*image);
        image.bind(&mut mem, resolve).map_err(&blame)?;
        // Resolvers without a name are the image's own and come last: they may call whatever it is bound to.
        mem.late.extend(nameless);
        let lifecycle = image.lifecycle(&mem).map_err(&blame)?;
        self.arm().map_err(&blame)?;
        Ok(Self::to(self.identity, image, Bound(self.stage.0, Some(lifecycle))))
    }

    /// Applies no more fixups, and calls nothing.
    ///
    /// # Errors
    /// What the image says of its thread-local data.
    pub fn leave_unbound(mut self) -> Result<Module<Bound>> {
        self.stage.0.late.clear();
        self.arm().map_err(self.blame(Stage::Bind))?;
        Ok(Self::to(self.identity, self.image, Bound(self.stage.0, None)))
    }

    /// Gives the thread-local slot its template. That is data of the image: fixups may have changed it, so it is read
    /// after them.
    fn arm(&mut self) -> Result<(), ErrorKind> {
        let image = self.image.clone();
        let body = &mut self.stage.0;
        if let (Some(slot), Some(template)) = (&body.slot, image.tls()) {
            let at = template.init.start.0;
            let len = template.init.end.0.saturating_sub(at) as usize;
            let window = body.block.window();
            let init = match at.checked_sub(image.plan().window().start.0) {
                _ if len == 0 => Some(&[][..]),
                from => from.and_then(|i| window.get(i as usize..)?.get(..len)),
            };
            let outside = ErrorKind::Malformed { what: "thread-local template outside the data", at };
            return init.ok_or(outside).and_then(|init| slot.arm(init));
        }
        Ok(())
    }
}

impl Module<Bound> {
    /// Keeps what the image was bound to as long as the image: stubs, and what binds its calls when they are made.
    pub fn keep(&mut self, stubs: Option<Box<dyn Stubs>>, calls: Option<Box<LazyCalls>>) {
        (self.stage.0.stubs, self.stage.0.calls) = (stubs, calls);
    }

    /// Whether slots wait for resolvers.
    #[must_use]
    pub fn is_late(&self) -> bool {
        !self.stage.0.late.is_empty()
    }

    /// Makes the code executable, while data can still be written: ifunc resolvers run in between. Code in which slots
    /// wait for them (text relocations) stays writable, too.
    ///
    /// # Errors
    /// [`ErrorKind::Space`].
    pub fn allow_code(&mut self) -> Result<()> {
        let blame = self.blame(Stage::Seal);
        let plan = self.image.plan();
        let body = &mut self.stage.0;
        for (at, rights) in plan.rights().iter().filter(|(_, r)| r.contains(Rights::EXECUTE)) {
            let waits = body.late.iter().any(|fixup| at.contains(&fixup.slot));
            let write = if waits { Rights::WRITE } else { Rights::empty() };
            body.block.protect(at.clone(), *rights | write).map_err(&blame)?;
        }
        Ok(())
    }

    /// Has the module listed for those who walk the modules of the process: from here on its code may run.
    pub fn list(&mut self, caller: &dyn Caller) {
        let body = &mut self.stage.0;
        body.listing = caller.list(&self.identity, &self.image, body.at, body.tls);
    }

    /// Fills the slots that wait for resolvers. The first foreign code of an open runs here.
    ///
    /// # Errors
    /// What the resolver's call says.
    pub fn finish_late(&mut self, caller: &dyn Caller) -> Result<()> {
        let blame = self.blame(Stage::Seal);
        for fixup in std::mem::take(&mut self.stage.0.late) {
            let Addr(value) = caller.resolver(fixup.resolver).map_err(&blame)?;
            self.stage.0.block.patch(fixup.slot, value.wrapping_add(fixup.addend)).map_err(&blame)?;
        }
        Ok(())
    }

    /// Gives every page its final rights.
    ///
    /// # Errors
    /// [`ErrorKind::Space`].
    pub fn seal(mut self) -> Result<Module<Sealed>> {
        let blame = self.blame(Stage::Seal);
        for (at, rights) in self.image.plan().rights() {
            self.stage.0.block.protect(at.clone(), *rights).map_err(&blame)?;
        }
        Ok(Self::to(self.identity, self.image, Sealed(self.stage.0, self.stage.1)))
    }
}

impl Module<Sealed> {
    pub(crate) fn into_parts(self) -> (Body, Option<Lifecycle>) {
        (self.stage.0, self.stage.1)
    }
}
