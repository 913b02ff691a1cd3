//! The pipeline on a plain buffer: parse, plan, relocate and bind, with every answer on the way looked at. Nothing runs.
//!
//! An input gives an error that names module, stage and number, or a plan whose invariants hold: they are checked anew,
//! not asked of the engine. `tests/bad_input.rs` tries truncations and changed bytes, `fuzz` what a fuzzer thinks of.

use crate::survive::{is_about_the_file, texts};
use corpus::{FUZZED, Format};
use loader::{Addr, Error, ErrorKind, Stage};
use loader_core::{
    Export, Image, ImageMut, MapPlan, PAGE, Placement, Query, Resolution, Resolve, Resolver, Rights, Rva,
    Source, Symbol, TlsHome, Wanted,
    module::{Identity, Module},
    space::Flat,
    tls::TlsSlot,
};
use object::{Object, ObjectSymbol};
use std::{fs, ops::Range, sync::Arc};

/// Where the images pretend to be.
const BASE: Addr = Addr(0x7000_0000_0000);
/// The longest image that gets memory; the six have a few pages.
const LONGEST: u64 = 64 << 20;
/// What answers of `resolve` lead to: some place outside every image.
const ELSEWHERE: Addr = Addr(0x5000_0000_1230);

/// One of the small images that bad input is made of.
#[derive(Debug)]
pub struct Sound {
    /// Where it lies in the corpus.
    pub name: &'static str,
    /// Whose reader gets what is made of it.
    pub format: Format,
    /// The file.
    pub bytes: Vec<u8>,
    /// Names that it exports.
    exports: Vec<Vec<u8>>,
    /// Names of thread-local variables.
    thread_local: Vec<Vec<u8>>,
}

impl Sound {
    /// All of them.
    ///
    /// # Panics
    /// Where one of them is not sound, or not there.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let read = |&(name, format): &(&'static str, Format)| {
            let bytes = fs::read(corpus::root().join(name)).unwrap();
            let image = parse(format, &Arc::new(Source::owned(&*bytes))).unwrap();
            let is_export = |text: &&[u8]| matches!(image.export(&Query::name(text)), Ok(Some(_)));
            let exports: Vec<_> = texts(&bytes).into_iter().filter(is_export).map(<[u8]>::to_vec).collect();
            assert!(!exports.is_empty(), "{name} exports something");
            let symbols = object::File::parse(&*bytes).unwrap();
            let tls = symbols.dynamic_symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Tls);
            let thread_local = tls.map(|symbol| symbol.name_bytes().unwrap().to_vec()).collect();
            Self { name, format, bytes, exports, thread_local }
        };
        FUZZED.iter().map(read).collect()
    }

    /// Those of one format as one: the names of all, the bytes of the first.
    ///
    /// # Panics
    /// As [`Sound::all`].
    #[must_use]
    pub fn of(format: Format) -> Self {
        let both = |mut one: Self, other: Self| {
            one.exports.extend(other.exports);
            one.thread_local.extend(other.thread_local);
            one
        };
        let all = Self::all().into_iter().filter(|sound| sound.format == format);
        all.reduce(both).expect("there are some of each format")
    }
}

fn parse(format: Format, source: &Arc<Source>) -> Result<Arc<dyn Image>, ErrorKind> {
    Ok(match format {
        Format::Elf => loader_elf::ElfImage::parse(source)?,
        Format::Pe => loader_pe::PeImage::parse(source)?,
    })
}

/// Answers everything: with what suits the sound image (even turns), or with a place, a thread-local variable, nothing
/// and a resolver one after the other.
fn answers(sound: &Sound, turn: usize) -> impl FnMut(&Query<'_>) -> Result<Resolution, ErrorKind> {
    let tls = TlsHome::Host { module: 3, thread_pointer_offset: Some(-64) };
    let (at, tls) = (Resolution::At(ELSEWHERE), Resolution::Tls { home: tls, offset: 8 });
    let all = [at, tls, Resolution::Absent, Resolution::Resolver(ELSEWHERE)];
    let mut turns = turn / 2..;
    move |query| match (turn.is_multiple_of(2), query.symbol) {
        (true, Symbol::Name(name)) if sound.thread_local.iter().any(|tls| tls == name) => Ok(tls),
        (true, _) => Ok(at),
        (false, _) => Ok(all[turns.next().unwrap_or_default() % all.len()]),
    }
}

/// How an input ends that does not get to the end of the pipeline.
enum Stop {
    /// It was refused: as it should be.
    Refused(Stage, ErrorKind),
    /// Something does not hold that should.
    Wrong(String),
}

fn holds(what: &str, it_does: bool) -> Result<(), Stop> {
    if it_does { Ok(()) } else { Err(Stop::Wrong(what.into())) }
}

fn at(stage: Stage) -> impl Fn(ErrorKind) -> Stop {
    move |kind| Stop::Refused(stage, kind)
}

/// The whole way on a buffer that has exactly the window's length, and a look at every answer on the way.
fn walk(sound: &Sound, image: &dyn Image, bytes: &[u8], turn: usize) -> Result<(), Stop> {
    let plan = image.plan();
    plan_holds(plan, bytes.len() as u64)?;
    answers_hold(sound, image, bytes.len())?;
    if plan.len().get() > LONGEST {
        let kind = ErrorKind::Space { what: "reserve memory", os: libc::ENOMEM };
        return Err(Stop::Refused(Stage::Map, kind));
    }
    calls_hold(image, bytes)?;
    let mut window = fill(plan, bytes);
    let mut late = Vec::new();
    let base = if let Wanted::Fixed(base) = plan.wanted() { base } else { BASE };
    let placement = Placement { link_base: plan.link_base(), base, len: plan.len().get() };
    let slot = slot(image)?;
    let tls = slot.as_ref().map(TlsSlot::home);
    let mut mem =
        ImageMut { window: &mut window, start: plan.window().start, at: placement, tls, late: &mut late };
    image.relocate(&mut mem).map_err(at(Stage::Relocate))?;
    if let Some(index) = image.tls().and_then(|template| template.index_at) {
        mem.write(index, [7, 0, 0, 0]).map_err(at(Stage::Relocate))?;
    }
    image.bind(&mut mem, &mut answers(sound, turn) as Resolve<'_>).map_err(at(Stage::Bind))?;
    let lifecycle = image.lifecycle(&mem).map_err(at(Stage::Bind))?;
    for entry in lifecycle.attach.iter().chain(&lifecycle.detach).chain(&lifecycle.thread) {
        // What the file lists may be another image's function.
        let code = placement.rva_of(entry.at).is_none_or(|at| plan.allows(at, Rights::EXECUTE));
        holds("what will be called of the image is code", code)?;
    }
    for fixup in &late {
        let inside = covers(&plan.window(), fixup.slot, 8);
        holds("a slot that waits for a resolver is in the window", inside)?;
        let code = placement.rva_of(fixup.resolver).is_some_and(|at| plan.allows(at, Rights::EXECUTE));
        holds("a resolver is code of the image, or an answer", code || fixup.resolver == ELSEWHERE)?;
    }
    Ok(())
}

/// A thread-local slot for an image that asks for one.
fn slot(image: &dyn Image) -> Result<Option<TlsSlot>, Stop> {
    image.tls().map(TlsSlot::reserve).transpose().map_err(at(Stage::Map))
}

/// Lets calls wait until they are made; answers everything else with a place.
struct Patient;

impl Resolver for Patient {
    fn resolve(&mut self, _: &Query<'_>) -> Result<Resolution, ErrorKind> {
        Ok(Resolution::At(ELSEWHERE))
    }

    fn lazy_calls(&mut self) -> Option<Addr> {
        Some(ELSEWHERE)
    }
}

/// The same where calls are bound when they are first made: what each asks for then, and where the answer goes.
fn calls_hold(image: &dyn Image, bytes: &[u8]) -> Result<(), Stop> {
    let plan = image.plan();
    let (mut window, mut late) = (fill(plan, bytes), Vec::new());
    let placement = Placement { link_base: plan.link_base(), base: BASE, len: plan.len().get() };
    let slot = slot(image).map_or_else(|stop| is_refusal(stop).map(|()| None), Ok)?;
    let tls = slot.as_ref().map(TlsSlot::home);
    let mut mem =
        ImageMut { window: &mut window, start: plan.window().start, at: placement, tls, late: &mut late };
    image.bind(&mut mem, &mut Patient).map(drop).map_err(at(Stage::Bind)).or_else(is_refusal)?;
    for nth in [0, 1, 2, 3, 1 << 20, u64::MAX] {
        match image.lazy_call(nth) {
            Ok(Some((_, slot))) => {
                let home = plan.rights().iter().find(|(pages, _)| covers(pages, slot, 8));
                let writable = home.is_some_and(|(_, rights)| rights.contains(Rights::WRITE));
                holds("the slot of a call can be written to when it is made", writable)?;
            }
            Ok(None) => {}
            Err(kind) => is_refusal(Stop::Refused(Stage::Bind, kind))?,
        }
    }
    Ok(())
}

fn covers(range: &Range<Rva>, at: Rva, len: u64) -> bool {
    range.start <= at && at.checked_add(len).is_some_and(|end| end <= range.end)
}

/// The window's bytes as the plan says.
fn fill(plan: &MapPlan, bytes: &[u8]) -> Vec<u8> {
    let window = plan.window();
    let mut filled = vec![0; (window.end.0 - window.start.0) as usize];
    for region in plan.regions() {
        if let Some(fill) = &region.fill
            && covers(&window, region.at.start, region.at.end.0 - region.at.start.0)
        {
            let from = &bytes[fill.file.start.0 as usize..fill.file.end.0 as usize];
            filled[(fill.at.0 - window.start.0) as usize..][..from.len()].copy_from_slice(from);
        }
    }
    filled
}

/// What a plan promises, read from the plan itself.
fn plan_holds(plan: &MapPlan, file: u64) -> Result<(), Stop> {
    let len = plan.len().get();
    let whole = Rva(0)..Rva(len);
    let pages = |r: &Range<Rva>| {
        r.start.0.is_multiple_of(PAGE)
            && r.end.0.is_multiple_of(PAGE)
            && r.start <= r.end
            && r.end <= whole.end
    };
    let both = |rights: Rights| rights.contains(Rights::WRITE) && rights.contains(Rights::EXECUTE);
    holds("the length is whole pages, and some", len != 0 && len.is_multiple_of(PAGE))?;
    holds("the alignment is one", plan.align().is_power_of_two() && plan.align() >= PAGE)?;
    holds("the image begins on a page", plan.link_base().0.is_multiple_of(PAGE))?;
    holds("the window is pages of the image", pages(&plan.window()))?;
    let mut end = Rva(0);
    for region in plan.regions() {
        holds("a region is pages of the image", pages(&region.at))?;
        holds("regions ascend and keep apart", region.at.start >= end)?;
        holds("no region is writable and executable", !both(region.rights))?;
        let length = region.at.end.0 - region.at.start.0;
        let open = !region.rights.contains(Rights::WRITE) || length == 0;
        holds("what is writable is in the window", open || covers(&plan.window(), region.at.start, length))?;
        if let Some(fill) = &region.fill {
            let from = fill.file.start.0..fill.file.end.0;
            holds("a region's bytes are in the file", from.start <= from.end && from.end <= file)?;
            holds("a region's bytes are in the region", covers(&region.at, fill.at, from.end - from.start))?;
        }
        end = region.at.end;
    }
    let mut end = Rva(0);
    for (range, rights) in plan.rights() {
        holds("rights are of pages", pages(range) && range.start < range.end)?;
        holds("rights leave nothing out", range.start == end)?;
        holds("no page is writable and executable", !both(*rights))?;
        let home = plan.regions().iter().find(|r| covers(&r.at, range.start, PAGE));
        let most = home.map_or(Rights::empty(), |region| region.rights);
        holds("no page has more rights than its region", most.contains(*rights))?;
        end = range.end;
    }
    holds("rights go to the end", end == whole.end)
}

/// What an image says of itself lies inside it.
fn answers_hold(sound: &Sound, image: &dyn Image, file: usize) -> Result<(), Stop> {
    let whole = Rva(0)..Rva(image.plan().len().get());
    for need in image.needs().iter().chain(image.forwards_to()) {
        holds("a need has a name", !need.name.is_empty() && !need.key.is_empty())?;
        holds("a name has no zero byte", !need.name.contains('\0') && !need.key.contains('\0'))?;
    }
    if let Some(template) = image.tls() {
        let init = &template.init;
        let length = init.end.0.checked_sub(init.start.0);
        holds("the template has a length", length.is_some_and(|length| length <= template.size))?;
        holds("the template is in the image", covers(&whole, init.start, length.unwrap_or(0)))?;
        holds("a block is aligned to something", template.align.is_power_of_two())?;
        holds("a block starts within its alignment", template.skew < template.align)?;
        holds("the index is in the image", template.index_at.is_none_or(|at| covers(&whole, at, 4)))?;
    }
    let mut imports = 0;
    let counted = image.imports(&mut |_| imports += 1);
    holds("there are no more imports than bytes", imports <= file)?;
    counted.map_err(at(Stage::Bind)).or_else(is_refusal)?;
    let versions = [None, Some(&b"V1"[..])];
    let names = sound.exports.iter().flat_map(|name| versions.map(|v| (&name[..], v)));
    let named = names.map(|(name, version)| Query { version, ..Query::name(name) });
    for query in named.chain([0, 1, 20, 0xffff].map(Query::ordinal)) {
        match image.export(&query) {
            Ok(Some(Export::At(rva) | Export::Unique(rva) | Export::Resolver(rva))) => {
                holds("an export is in the image", rva <= whole.end)?;
            }
            Ok(Some(Export::Forward(forward))) => {
                holds("a forwarder names a library", !forward.need.key.is_empty())?;
            }
            Ok(_) => {}
            Err(kind) => is_refusal(Stop::Refused(Stage::Symbol, kind))?,
        }
    }
    Ok(())
}

/// A refusal on the way is no end of it, as long as it is one that the file is to blame for.
fn is_refusal(stop: Stop) -> Result<(), Stop> {
    match stop {
        Stop::Refused(stage, kind) => {
            let sentence = Error::new("m", stage, kind.clone()).to_string();
            match is_about_the_file(&kind, &sentence) {
                true => Ok(()),
                false => Err(Stop::Wrong(format!("a refusal that blames nobody: {sentence}"))),
            }
        }
        wrong => Err(wrong),
    }
}

/// The same way as the engine goes it, on its own flat address space.
fn engine(sound: &Sound, image: Arc<dyn Image>, source: Arc<Source>, turn: usize) -> Result<(), Error> {
    let name = sound.name.into();
    let identity = Identity { name, keys: Vec::new(), path: None, file: None, source: None };
    let space = Flat::at(BASE).no_longer_than(LONGEST);
    let (relocated, _) = Module::new(identity, image, source, None).map(&space)?.relocate()?;
    relocated.bind(&mut answers(sound, turn)).map(drop)
}

/// Tries one input both ways, which must come to the same. Returns whether it was taken. `turn` says what its imports
/// are answered with.
///
/// # Errors
/// What does not hold that should.
pub fn try_both(sound: &Sound, bytes: &[u8], turn: usize) -> Result<bool, String> {
    let source = Arc::new(Source::owned(bytes));
    let (walked, went) = match parse(sound.format, &source) {
        Err(kind) => {
            (Err(Stop::Refused(Stage::Parse, kind.clone())), Err(Error::new(sound.name, Stage::Parse, kind)))
        }
        Ok(image) => (walk(sound, &*image, bytes, turn), engine(sound, image, source, turn)),
    };
    let walked = match walked {
        Ok(()) => None,
        Err(Stop::Wrong(what)) => return Err(format!("it does not hold that {what}")),
        Err(Stop::Refused(stage, kind)) => Some((stage, kind)),
    };
    if let Err(error) = &went {
        let sentence = error.to_string();
        let stage = format!("{}: {}: ", sound.name, error.stage);
        if !sentence.starts_with(&stage) || !is_about_the_file(&error.kind, &sentence) {
            return Err(format!("an error that does not say enough: {sentence} ({:?})", error.kind));
        }
    }
    let went = went.err().map(|error| (error.stage, error.kind));
    match (&walked, &went) {
        _ if walked == went => Ok(went.is_none()),
        // Only the engine makes thread-local blocks, and looks whether they could be made.
        (None, Some((Stage::Bind, ErrorKind::Malformed { what, .. })))
            if what.starts_with("thread-local") =>
        {
            Ok(false)
        }
        _ => Err(format!("two ways, two ends: {walked:?} and {went:?}")),
    }
}

/// For a fuzzer, which wants a panic: tries one input, whose length says what its imports are answered with.
///
/// # Panics
/// When something does not hold that should.
pub fn must_hold(sound: &Sound, bytes: &[u8]) {
    if let Err(what) = try_both(sound, bytes, bytes.len()) {
        panic!("{what}");
    }
}
