//! Where libraries are looked for: `DT_RPATH`, `LD_LIBRARY_PATH`, `DT_RUNPATH`, `/etc/ld.so.cache`, the system's
//! directories, in this order.

use crate::{
    host,
    read::{text_at, u32_at, u64_at},
};
use loader_core::{Requester, SearchPath, gnu_hash};
use std::{
    env,
    ffi::OsStr,
    fs, iter,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The directories that need no mention, in the order in which they are tried.
const SYSTEM: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// What `$LIB` stands for: on Debian and its kin, on others.
const LIB: [&str; 2] = ["lib/x86_64-linux-gnu", "lib64"];
/// What `$PLATFORM` stands for.
const PLATFORM: &str = "x86_64";

/// The rules by which libraries are looked for in this process.
#[derive(Debug)]
pub struct Search {
    user: Vec<PathBuf>,
    system: Vec<PathBuf>,
    cache_file: Option<PathBuf>,
    cache: OnceLock<Cache>,
    trusts_origin: bool,
}

impl Search {
    /// The system's rules: `LD_LIBRARY_PATH` as it is now, `/etc/ld.so.cache`, the system's directories. A process
    /// with more rights than its user pays no heed to `LD_LIBRARY_PATH` and `$ORIGIN`.
    #[must_use]
    pub fn system() -> Self {
        let trusted = !host::has_more_rights_than_its_user();
        let user = env::var_os("LD_LIBRARY_PATH").filter(|v| trusted && !v.is_empty());
        let split = |v: &OsStr| {
            let parts = v.as_bytes().split(|b| matches!(b, b':' | b';'));
            parts.map(directory).collect()
        };
        Self {
            user: user.as_deref().map(split).unwrap_or_default(),
            system: SYSTEM.map(PathBuf::from).into(),
            cache_file: Some("/etc/ld.so.cache".into()),
            cache: OnceLock::new(),
            trusts_origin: trusted,
        }
    }

    /// Only these directories, besides those that a requester names itself.
    #[must_use]
    pub fn only(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            user: directories.into_iter().collect(),
            system: Vec::new(),
            cache_file: None,
            cache: OnceLock::new(),
            trusts_origin: true,
        }
    }

    /// The paths at which a library that `by` needs may be, best first. A name with a slash is a path already.
    pub fn candidates<'a>(
        &'a self,
        name: &'a str,
        by: &Requester<'a>,
    ) -> impl Iterator<Item = PathBuf> + use<'a> {
        let origin = if self.trusts_origin { origin(by) } else { None };
        let wish = by.image.map(|i| i.search_path()).unwrap_or_default();
        let (path, places) = match name.contains('/') {
            true => (expand(name, origin.as_deref()), None),
            false => (Vec::new(), Some(self.places(name, wish, origin.as_deref()))),
        };
        path.into_iter().chain(places.into_iter().flatten())
    }

    /// The places of a plain file name.
    fn places<'a>(
        &'a self,
        name: &'a str,
        wish: SearchPath<'_>,
        origin: Option<&str>,
    ) -> impl Iterator<Item = PathBuf> + use<'a> {
        let before = directories(wish.before, origin);
        let after = directories(wish.after, origin);
        let user = before.into_iter().chain(self.user.iter().cloned()).chain(after);
        let system = self.system.iter().map(move |dir| dir.join(name));
        let system = iter::once_with(|| self.cached(name)).flatten().chain(system);
        user.map(move |dir| dir.join(name)).chain(system.filter(move |_| !wish.own_only))
    }

    fn cached(&self, name: &str) -> Option<PathBuf> {
        let read = || {
            let bytes = self.cache_file.as_ref().and_then(|f| fs::read(f).ok());
            bytes.and_then(Cache::new).unwrap_or_default()
        };
        self.cache.get_or_init(read).path(name)
    }
}

/// An element of a list of directories; an empty one is the current directory.
fn directory(element: &[u8]) -> PathBuf {
    match element {
        [] => ".".into(),
        name => OsStr::from_bytes(name).into(),
    }
}

/// The directories that a file asks for.
fn directories(path: &str, origin: Option<&str>) -> Vec<PathBuf> {
    match path {
        "" => Vec::new(),
        path => path.split(':').flat_map(|dir| expand(dir, origin)).collect(),
    }
}

/// The directory of the requester's file, for `$ORIGIN`.
fn origin(by: &Requester<'_>) -> Option<String> {
    let path = std::path::absolute(by.path?).ok()?;
    path.parent().and_then(Path::to_str).map(str::to_owned)
}

/// What a path with `$ORIGIN`, `$LIB` and `$PLATFORM` in it may mean: nothing where there is no origin.
fn expand(path: &str, origin: Option<&str>) -> Vec<PathBuf> {
    let replace = |text: &str, token: &str, by: &str| {
        text.replace(&format!("${{{token}}}"), by).replace(&format!("${token}"), by)
    };
    if !path.contains('$') {
        return vec![directory(path.as_bytes())];
    }
    let path = match origin {
        Some(origin) => replace(path, "ORIGIN", origin),
        None if path.contains("$ORIGIN") || path.contains("${ORIGIN}") => return Vec::new(),
        None => path.to_owned(),
    };
    let path = replace(&path, "PLATFORM", PLATFORM);
    let mut out: Vec<_> = LIB.map(|lib| PathBuf::from(replace(&path, "LIB", lib))).into();
    out.dedup();
    out
}

/// `/etc/ld.so.cache`: which file a library's name stands for.
#[derive(Debug, Default)]
struct Cache {
    bytes: Vec<u8>,
    /// The hash of a name and the number of its entry, sorted. The file is sorted as well, but by an order of glibc's
    /// own that has changed before.
    index: Vec<(u32, u32)>,
    /// Where the header starts; the offsets in entries count from here.
    base: usize,
}

/// How a cache in the format of glibc 2.2 and later begins.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// How one begins that serves still older ones as well, the newer format following.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
/// Length of the header in bytes.
const CACHE_HEADER: usize = 48;
/// Length of an entry in bytes.
const CACHE_ENTRY: usize = 24;
/// The flags of a library for x86-64: ELF, for glibc 2, 64 bits.
const X86_64: u32 = 0x0303;

impl Cache {
    /// Understands a cache file; `None` where it is none.
    fn new(bytes: Vec<u8>) -> Option<Self> {
        let base = match bytes.starts_with(OLD_MAGIC) {
            true => (u32_at(&bytes, OLD_MAGIC.len())? as usize)
                .checked_mul(12)?
                .checked_add(OLD_MAGIC.len() + 4)?
                .checked_next_multiple_of(8)?,
            false => 0,
        };
        if !bytes.get(base..)?.starts_with(MAGIC) {
            return None;
        }
        let mut cache = Self { index: Vec::new(), base, bytes };
        let count = u32_at(&cache.bytes, base + MAGIC.len())?;
        let hash = |n| Some((gnu_hash(cache.name(n)?), n));
        let mut index: Vec<_> =
            (0..count).map_while(|n| cache.flags(n).map(|_| n)).filter_map(hash).collect();
        index.sort_unstable();
        cache.index = index;
        Some(cache)
    }

    fn entry(&self, number: u32) -> Option<&[u8; CACHE_ENTRY]> {
        let start = self.base + CACHE_HEADER + number as usize * CACHE_ENTRY;
        self.bytes.get(start..)?.first_chunk()
    }

    fn flags(&self, number: u32) -> Option<u32> {
        u32_at(self.entry(number)?, 0)
    }

    /// A text that an entry points to.
    fn text(&self, number: u32, field: usize) -> Option<&[u8]> {
        let at = u32_at(self.entry(number)?, field)?;
        text_at(self.bytes.get(self.base..)?, at.into())
    }

    /// The name of an entry that every x86-64 machine can use; those for newer processors only are left out.
    fn name(&self, number: u32) -> Option<&[u8]> {
        let entry = self.entry(number)?;
        let usable = u32_at(entry, 0)? == X86_64 && u64_at(entry, 16)? == 0;
        self.text(number, 4).filter(|_| usable)
    }

    /// The path of the first entry of that name.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let hash = gnu_hash(name.as_bytes());
        let start = self.index.partition_point(|&(h, _)| h < hash);
        let same = self.index[start..].iter().take_while(|&&(h, _)| h == hash);
        let mut named = same.filter(|&&(_, n)| self.name(n) == Some(name.as_bytes()));
        let path = self.text(named.next()?.1, 8)?;
        Some(OsStr::from_bytes(path).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loader_core::{Image, Need};

    /// A cache with these names, paths, flags and hardware capabilities.
    fn cache(entries: &[(&str, &str, u32, u64)]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend((entries.len() as u32).to_le_bytes());
        out.resize(CACHE_HEADER, 0);
        let mut strings = Vec::new();
        let start = CACHE_HEADER + entries.len() * CACHE_ENTRY;
        for (name, path, flags, hwcap) in entries {
            let mut put = |text: &str| {
                let at = (start + strings.len()) as u32;
                strings.extend(text.bytes().chain([0]));
                at
            };
            let (name, path) = (put(name), put(path));
            [*flags, name, path, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
            out.extend(hwcap.to_le_bytes());
        }
        out.extend(strings);
        out
    }

    const ENTRIES: [(&str, &str, u32, u64); 4] = [
        ("liba.so", "/v3/liba.so", X86_64, 1 << 62),
        ("liba.so", "/x/liba.so", X86_64, 0),
        ("liba.so", "/y/liba.so", X86_64, 0),
        ("libb.so", "/i386/libb.so", 0x0003, 0),
    ];

    #[test]
    fn the_cache_gives_the_first_entry_for_any_machine() {
        let cache = Cache::new(cache(&ENTRIES)).unwrap();
        assert_eq!(cache.path("liba.so"), Some("/x/liba.so".into()));
        assert_eq!(cache.path("libb.so"), None);
        assert_eq!(cache.path("libc.so"), None);
    }

    #[test]
    fn a_cache_behind_one_of_the_oldest_format_is_found() {
        let mut bytes = OLD_MAGIC.to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.resize((16 + 12usize).next_multiple_of(8), 7);
        bytes.extend(cache(&ENTRIES));
        let cache = Cache::new(bytes).unwrap();
        assert_eq!(cache.path("liba.so"), Some("/x/liba.so".into()));
    }

    #[test]
    fn no_truncated_or_changed_cache_is_read_past_its_end() {
        let whole = cache(&ENTRIES);
        for len in 0..whole.len() {
            Cache::new(whole[..len].to_vec()).and_then(|c| c.path("liba.so"));
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            Cache::new(bytes).and_then(|c| c.path("liba.so"));
        }
    }

    #[test]
    fn tokens_are_replaced_and_an_unknown_origin_drops_the_path() {
        let paths = |p, origin| {
            let all = expand(p, origin).into_iter();
            all.map(|p| p.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths("/a/b", None), ["/a/b"]);
        assert_eq!(paths("$ORIGIN/../x", Some("/o")), ["/o/../x"]);
        assert_eq!(paths("${ORIGIN}y", Some("/o")), ["/oy"]);
        assert_eq!(paths("$ORIGIN", None), [""; 0]);
        assert_eq!(paths("/$LIB", None), ["/lib/x86_64-linux-gnu", "/lib64"]);
        assert_eq!(paths("/p/$PLATFORM", None), ["/p/x86_64"]);
        assert_eq!(paths("", None), ["."]);
    }

    /// An image that only has wishes.
    #[derive(Debug)]
    struct Wishing(SearchPath<'static>, loader_core::HostModule);

    #[rustfmt::skip]
    impl Image for Wishing {
        fn format(&self) -> loader_core::Format { loader_core::Format::Elf }
        fn own_name(&self) -> Option<&str> { None }
        fn plan(&self) -> &loader_core::MapPlan { self.1.plan() }
        fn needs(&self) -> &[Need] { &[] }
        fn search_path(&self) -> SearchPath<'_> { self.0 }
        fn import_control(&self) -> loader_core::ImportControl { self.1.import_control() }
        fn export(&self, q: &loader_core::Query<'_>) -> Result<Option<loader_core::Export>, loader_core::ErrorKind> { self.1.export(q) }
        fn imports(&self, e: &mut dyn FnMut(&loader_core::Query<'_>)) -> Result<(), loader_core::ErrorKind> { self.1.imports(e) }
        fn tls(&self) -> Option<&loader_core::TlsTemplate> { None }
        fn relocate(&self, _: &mut loader_core::ImageMut<'_>) -> Result<usize, loader_core::ErrorKind> { Ok(0) }
        fn bind(&self, _: &mut loader_core::ImageMut<'_>, _: loader_core::Resolve<'_>) -> Result<usize, loader_core::ErrorKind> { Ok(0) }
        fn lifecycle(&self, _: &loader_core::ImageMut<'_>) -> Result<loader_core::Lifecycle, loader_core::ErrorKind> { Ok(Default::default()) }
    }

    #[test]
    fn places_come_in_the_order_of_the_system() {
        let mut search = Search::only(["/user".into()]);
        search.system = vec!["/system".into()];
        search.cache = OnceLock::from(Cache::new(cache(&[("n", "/cached/n", X86_64, 0)])).unwrap());
        let wish = SearchPath { before: "/rpath:$ORIGIN", after: "/runpath", own_only: false };
        let paths = |wish, name| {
            let image = Wishing(wish, loader_core::HostModule::new("x"));
            let by = Requester { name: "x", path: Some(Path::new("/home/x.so")), image: Some(&image) };
            let all = search.candidates(name, &by);
            all.map(|p| p.display().to_string()).collect::<Vec<_>>()
        };
        let user = ["/rpath/n", "/home/n", "/user/n", "/runpath/n"];
        assert_eq!(paths(wish, "n"), [&user[..], &["/cached/n", "/system/n"]].concat());
        assert_eq!(paths(SearchPath { own_only: true, ..wish }, "n"), user);
        assert_eq!(paths(wish, "sub/n"), ["sub/n"]);
        assert_eq!(paths(wish, "$ORIGIN/n"), ["/home/n"]);
    }
}
