//! Nanoseconds a fixup: group `relocate`.
//!
//! * `hot`: fixups that need no names, into a buffer that was written before: what the code itself costs;
//! * `fresh`: the same into memory of this process that the file was just mapped to: with the page faults;
//! * `bind`: fixups that need names, each name asked along a load list, into a buffer that was written before.

use benches::{Image as Measured, images};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use loader_core::{
    Addr, ErrorKind, Export, Format, Image, ImageMut, LateFixup, Placement, Query, Requester, Resolution,
    Source, TlsHome,
    module::{Identity, Mapped, Module},
    space::Local,
};
use std::{fs::File, path::Path, sync::Arc};

fn main() {
    let mut criterion = benches::criterion();
    for image in images::all() {
        fixups(&mut criterion, &image);
    }
    criterion.final_summary();
}

/// Where all images pretend to be.
const BASE: Addr = Addr(0x7f00_0000_0000);
/// The thread-local block that all images pretend to have.
const TLS: TlsHome = TlsHome::Host { module: 1, thread_pointer_offset: Some(-0x1000) };

/// A parsed image, and a buffer that is its window.
struct Subject {
    source: Arc<Source>,
    image: Arc<dyn Image>,
    window: Vec<u8>,
    late: Vec<LateFixup>,
}

impl Subject {
    fn new(path: &Path) -> Self {
        let (source, image) = parsed(path);
        let window = image.plan().window();
        let window = vec![0; (window.end.0 - window.start.0) as usize];
        Self { source, image, window, late: Vec::new() }
    }

    fn memory(&mut self) -> ImageMut<'_> {
        let plan = self.image.plan();
        self.late.clear();
        ImageMut {
            window: &mut self.window,
            start: plan.window().start,
            at: Placement { link_base: plan.link_base(), base: BASE, len: plan.len().get() },
            tls: Some(TLS),
            late: &mut self.late,
        }
    }

    fn relocate(&mut self) -> usize {
        let image = self.image.clone();
        image.relocate(&mut self.memory()).expect("the image is well-formed")
    }

    fn bind(&mut self, scope: &Scope) -> usize {
        let image = self.image.clone();
        image
            .bind(&mut self.memory(), &mut |q: &Query<'_>| scope.resolve(q))
            .expect("the image is well-formed")
    }

    /// The image in memory of this process, its pages not yet touched.
    fn mapped(&self, path: &Path) -> Module<Mapped> {
        let identity =
            Identity { name: "measured".into(), keys: Vec::new(), path: None, file: None, source: None };
        let file = File::open(path).expect("it was there before");
        let module = Module::new(identity, self.image.clone(), self.source.clone(), Some(file));
        module.map(&Local).expect("there is memory")
    }
}

fn fixups(criterion: &mut Criterion, measured: &Measured) {
    let mut subject = Subject::new(&measured.path);
    let scope = Scope::of(&subject.image);
    let mut group = criterion.benchmark_group("relocate");
    let relocated = subject.relocate();
    if relocated != 0 {
        group.throughput(Throughput::Elements(relocated as u64));
        group.bench_function(BenchmarkId::new(measured.name, "hot"), |b| b.iter(|| subject.relocate()));
        group.bench_function(BenchmarkId::new(measured.name, "fresh"), |b| {
            let relocate = |m: Module<Mapped>| m.relocate().expect("the image is well-formed");
            b.iter_batched(|| subject.mapped(&measured.path), relocate, BatchSize::PerIteration);
        });
    }
    let bound = subject.bind(&scope);
    if bound != 0 {
        group.throughput(Throughput::Elements(bound as u64));
        group.bench_function(BenchmarkId::new(measured.name, "bind"), |b| b.iter(|| subject.bind(&scope)));
    }
}

fn parsed(path: &Path) -> (Arc<Source>, Arc<dyn Image>) {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let source = Arc::new(Source::mapped(&file).expect("it can be mapped"));
    let image: Arc<dyn Image> = match source.bytes() {
        [b'M', b'Z', ..] => loader_pe::PeImage::parse(&source).expect("it is well-formed"),
        _ => loader_elf::ElfImage::parse(&source).expect("it is well-formed"),
    };
    (source, image)
}

/// Who is asked for names: what the host process has, the image, what it needs. For a DLL: whoever it names, who has
/// everything.
struct Scope(Vec<Arc<dyn Image>>);

impl Scope {
    fn of(image: &Arc<dyn Image>) -> Self {
        if image.format() != Format::Elf {
            return Self(Vec::new());
        }
        let host = loader_elf::adopt();
        let mut list = vec![image.clone()];
        let (search, mut next) = (loader_elf::Search::system(), 0);
        while let Some(image) = list.get(next).cloned() {
            for need in image.needs() {
                let known = list.iter().any(|i| i.own_name() == Some(&need.name))
                    || host.iter().any(|h| h.names.iter().any(|n| **n == *need.name));
                let by = Requester { name: "measured", path: None, image: Some(&*image) };
                let found = search.candidates(&need.name, &by).find(|p| p.is_file());
                list.extend(found.filter(|_| !known).map(|path| parsed(&path).1));
            }
            next += 1;
        }
        Self(host.into_iter().map(|h| h.image).chain(list).collect())
    }

    fn resolve(&self, query: &Query<'_>) -> Result<Resolution, ErrorKind> {
        if query.from.is_some() {
            return Ok(Resolution::At(BASE));
        }
        for image in &self.0 {
            return Ok(match image.export(query)? {
                Some(Export::At(rva) | Export::Unique(rva)) => Resolution::At(Addr(BASE.0 + rva.0)),
                Some(Export::Absolute(value)) => Resolution::At(Addr(value)),
                Some(Export::Resolver(rva)) => Resolution::Resolver(Addr(BASE.0 + rva.0)),
                Some(Export::Tls { offset }) => Resolution::Tls { home: TLS, offset },
                Some(Export::Forward(_)) | None => continue,
            });
        }
        Ok(Resolution::Absent)
    }
}
