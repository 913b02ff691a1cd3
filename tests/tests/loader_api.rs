//! KERNEL32's ways to libraries and what is in them, from outside: where libraries are looked for, what a name means, files
//! that are loaded as data, resources that lie. What a DLL sees from inside is the corpus's `resources`. And the thread
//! pool.
//!
//! `unsafe` because declared functions are what the tests say they are.
#![allow(unsafe_code)]

use corpus::Format::Pe;
use loader::{Addr, Declared, Domain, SymbolName, win32};
use std::{
    ffi::CString,
    fs,
    path::{Path, PathBuf},
};
use tests::world::{World, path};

const MOD_NOT_FOUND: u32 = 126;
const INVALID_PARAMETER: u32 = 87;
const FILE_NOT_FOUND: u32 = 2;
const DATAFILE: u32 = 2;
const SEARCH_DLL_LOAD_DIR: u32 = 0x100;
const SEARCH_APPLICATION_DIR: u32 = 0x200;
const SEARCH_USER_DIRS: u32 = 0x400;
const SEARCH_SYSTEM32: u32 = 0x800;
const SEARCH_DEFAULT_DIRS: u32 = 0x1000;

/// KERNEL32's functions, declared as any other, and an engine for them.
struct Kernel {
    world: World,
    domain: Domain,
}

/// A function that takes up to five numbers, or pointers as numbers.
type Function = Declared<unsafe extern "win64" fn(usize, usize, usize, usize, usize) -> usize>;

impl Kernel {
    fn new() -> Self {
        Self::of(World::new(Pe))
    }

    fn of(world: World) -> Self {
        let domain = world.engine.domain();
        Self { world, domain }
    }

    /// Calls a function; the answer, or the last error where that is 0.
    fn call<const N: usize>(&self, name: &str, arguments: [usize; N]) -> Result<usize, u32> {
        let [a, b, c, d, e] = std::array::from_fn(|n| arguments.get(n).copied().unwrap_or(0));
        // SAFETY: functions of KERNEL32 take no more than that here, and a caller may pass more than they take.
        let declare = |name| -> Function { unsafe { self.domain.declare("KERNEL32.dll", name) } };
        // SAFETY: tests pass what the function is documented to take.
        match unsafe { declare(name).get().unwrap()(a, b, c, d, e) } {
            // SAFETY: it takes nothing.
            0 => Err(unsafe { declare("GetLastError").get().unwrap()(0, 0, 0, 0, 0) } as u32),
            answer => Ok(answer),
        }
    }

    fn load(&self, name: &str, flags: u32) -> Result<usize, u32> {
        let name = wide(name);
        self.call("LoadLibraryExW", [name.as_ptr().addr(), 0, flags as usize])
    }

    fn free(&self, module: usize) -> Result<usize, u32> {
        self.call("FreeLibrary", [module])
    }

    fn with_name(&self, function: &str, name: &str) -> Result<usize, u32> {
        let name = wide(name);
        self.call(function, [name.as_ptr().expose_provenance()])
    }

    fn file_of(&self, module: usize) -> String {
        let mut name = [0_u16; 512];
        let at = name.as_mut_ptr().expose_provenance();
        let len = self.call("GetModuleFileNameW", [module, at, name.len()]).unwrap();
        String::from_utf16(&name[..len]).unwrap()
    }

    /// The answer of an `int f(void)` of a module.
    fn ask(&self, module: usize, function: &str) -> Option<i32> {
        let symbol = SymbolName::Name(function.as_bytes().into());
        let at = win32::get_proc_address(&self.world.engine, Addr(module as u64), &symbol).ok()?;
        Some(self.world.call_at(at.0, 0))
    }
}

fn wide(text: &str) -> Vec<u16> {
    let text: Vec<u16> = text.encode_utf16().chain([0]).collect();
    text.as_ptr().expose_provenance();
    text
}

/// A path as Windows code spells it: the host's tree is drive Z.
fn windows(path: &Path) -> String {
    format!("Z:{}", path.to_string_lossy().replace('/', r"\"))
}

/// Folders with different DLLs of one name: the answer of `two_roots_shared` or of `plain_kept`.
struct Folders {
    _held: tempfile::TempDir,
    plain: PathBuf,
    leaf: PathBuf,
}

impl Folders {
    fn new() -> Self {
        let held = tempfile::tempdir().unwrap();
        let folder = |name: &str, case, stem| {
            let folder = held.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::copy(path(Pe, case, stem), folder.join("same.dll")).unwrap();
            folder
        };
        let (plain, leaf) = (folder("one", "plain", "plain"), folder("two", "dependency", "dependency-leaf"));
        Self { _held: held, plain, leaf }
    }
}

/// Which of the folders' DLLs a module is.
fn kind(kernel: &Kernel, module: Result<usize, u32>) -> Result<&'static str, u32> {
    let module = module?;
    Ok(match kernel.ask(module, "dependency_leaf") {
        Some(_) => "leaf",
        None => kernel.ask(module, "plain_kept").map_or("neither", |_| "plain"),
    })
}

#[test]
fn dlls_of_one_name_from_two_folders_are_two_modules() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    let of = |folder: &Path| windows(&folder.join("same.dll"));
    let one = kernel.load(&of(&folders.plain), 0).unwrap();
    let two = kernel.load(&of(&folders.leaf), 0).unwrap();
    assert_ne!(one, two);
    assert_eq!((kind(&kernel, Ok(one)), kind(&kernel, Ok(two))), (Ok("plain"), Ok("leaf")));
    assert_eq!((kernel.file_of(one), kernel.file_of(two)), (of(&folders.plain), of(&folders.leaf)));
    for (name, module) in
        [("same", one), ("SAME.DLL", one), (&of(&folders.plain), one), (&of(&folders.leaf), two)]
    {
        assert_eq!(kernel.with_name("GetModuleHandleW", name), Ok(module), "{name}");
    }
    assert_eq!(kernel.load("same", 0), Ok(one), "a bare name is who came first");
    assert_eq!((kernel.free(one), kernel.free(one)), (Ok(1), Ok(1)));
    assert_eq!(kernel.load("same", 0), Ok(two), "and now the other");
    assert_eq!(kernel.with_name("GetModuleHandleW", &of(&folders.plain)), Err(MOD_NOT_FOUND));
}

#[test]
fn references_that_were_taken_by_any_name_are_one_librarys_and_end_with_it() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    let name = windows(&folders.plain.join("same.dll"));
    let one = kernel.load(&name, 0).unwrap();
    for spelled in [&*name, "same", "SAME.DLL", "same"] {
        assert_eq!(kernel.load(spelled, 0), Ok(one), "{spelled}");
    }
    for left in (0..5).rev() {
        assert_eq!(kernel.free(one), Ok(1));
        assert_eq!(kernel.with_name("GetModuleHandleW", "same").is_ok(), left > 0, "{left} are left");
    }
    assert_eq!(kernel.free(one), Err(MOD_NOT_FOUND));
    fs::copy(folders.leaf.join("same.dll"), folders.plain.join("same.dll")).unwrap();
    let two = kernel.load(&name, 0).unwrap();
    assert_eq!(kind(&kernel, Ok(two)), Ok("leaf"), "another library by the same name");
    kernel.world.engine.load_set().unload_all();
    assert_eq!(win32::free_library(&kernel.world.engine, Addr(two as u64)), Err(MOD_NOT_FOUND));
}

#[test]
fn an_engine_knows_nothing_of_anothers_libraries() {
    let (kernel, other) = (Kernel::new(), Kernel::new());
    let module = other.load(&windows(&path(Pe, "plain", "plain")), 0).unwrap();
    assert!(other.ask(module, "plain_kept").is_some());
    assert_eq!(kernel.ask(module, "plain_kept"), None);
    assert_eq!(kernel.free(module), Err(MOD_NOT_FOUND));
}

#[test]
fn a_name_without_an_extension_is_a_dlls_and_one_with_a_dot_at_its_end_has_none() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    fs::copy(folders.leaf.join("same.dll"), folders.plain.join("bare")).unwrap();
    let of = |name: &str| windows(&folders.plain.join(name));
    assert_eq!(kind(&kernel, kernel.load(&of("same"), 0)), Ok("plain"));
    assert_eq!(kernel.load(&of("bare"), 0), Err(MOD_NOT_FOUND));
    assert_eq!(kind(&kernel, kernel.load(&of("bare."), 0)), Ok("leaf"));
}

#[test]
fn folders_that_were_added_are_searched_when_flags_say_so() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    let user = SEARCH_USER_DIRS;
    assert_eq!(kernel.load("same.dll", user), Err(MOD_NOT_FOUND));
    let cookie = kernel.with_name("AddDllDirectory", &windows(&folders.leaf)).unwrap();
    assert_eq!(kernel.load("same.dll", 0), Err(MOD_NOT_FOUND), "not without a flag");
    assert_eq!(kernel.load("same.dll", SEARCH_SYSTEM32), Err(MOD_NOT_FOUND), "nor with another");
    for flags in [user, SEARCH_DEFAULT_DIRS, user | SEARCH_SYSTEM32] {
        let module = kernel.load("same.dll", flags);
        assert_eq!(kind(&kernel, module), Ok("leaf"), "{flags:#x}");
        assert_eq!(kernel.free(module.unwrap()), Ok(1));
    }
    assert_eq!(kernel.call("RemoveDllDirectory", [cookie]), Ok(1));
    assert_eq!(kernel.load("same.dll", user), Err(MOD_NOT_FOUND));
    assert_eq!(kernel.call("RemoveDllDirectory", [cookie]), Err(INVALID_PARAMETER));
}

#[test]
fn a_folder_to_add_is_a_whole_path_and_there() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    let nowhere = windows(&folders.plain.join("nowhere"));
    assert_eq!(kernel.with_name("AddDllDirectory", "relative"), Err(INVALID_PARAMETER));
    assert_eq!(kernel.with_name("AddDllDirectory", ""), Err(INVALID_PARAMETER));
    assert_eq!(kernel.with_name("AddDllDirectory", &nowhere), Err(FILE_NOT_FOUND));
}

#[test]
fn set_dll_directory_puts_one_folder_before_the_systems() {
    let folders = Folders::new();
    let world = World::with(Pe, |builder| builder.dll_path(&folders.plain));
    let kernel = Kernel::of(world);
    let loaded = |flags| {
        let module = kernel.load("same.dll", flags);
        let kind = kind(&kernel, module);
        let _ = module.map(|module| kernel.free(module));
        kind
    };
    assert_eq!(loaded(0), Ok("plain"));
    assert_eq!(kernel.with_name("SetDllDirectoryW", &windows(&folders.leaf)), Ok(1));
    let mut text = [0_u16; 256];
    let at = text.as_mut_ptr().expose_provenance();
    let len = kernel.call("GetDllDirectoryW", [text.len(), at]).unwrap();
    assert_eq!(String::from_utf16_lossy(&text[..len]), windows(&folders.leaf));
    assert_eq!(
        (loaded(0), loaded(SEARCH_USER_DIRS), loaded(SEARCH_SYSTEM32)),
        (Ok("leaf"), Ok("leaf"), Ok("plain"))
    );
    assert_eq!(kernel.call("SetDllDirectoryW", [0]), Ok(1));
    assert_eq!((loaded(0), loaded(SEARCH_USER_DIRS)), (Ok("plain"), Err(MOD_NOT_FOUND)));
}

#[test]
fn default_folders_hold_for_loads_without_flags_and_for_what_dlls_need() {
    let folders = Folders::new();
    let kernel = Kernel::of(World::with(Pe, |builder| builder.dll_path(&folders.plain)));
    let set = |flags: u32| kernel.call("SetDefaultDllDirectories", [flags as usize]);
    for odd in [0, SEARCH_DLL_LOAD_DIR, 1, SEARCH_USER_DIRS | 0x8000] {
        assert_eq!(set(odd), Err(INVALID_PARAMETER), "{odd:#x}");
    }
    assert_eq!(set(SEARCH_USER_DIRS), Ok(1));
    assert_eq!(
        kernel.load("same.dll", 0),
        Err(MOD_NOT_FOUND),
        "the system's folder is not one of the user's"
    );
    // What a DLL needs is looked for there as well, after its own folder.
    let dependency = folders.plain.join("dependency.dll");
    fs::copy(path(Pe, "dependency", "dependency"), &dependency).unwrap();
    assert_eq!(kernel.load(&windows(&dependency), 0), Err(MOD_NOT_FOUND));
    fs::copy(path(Pe, "dependency", "dependency-leaf"), folders.leaf.join("dependency-leaf.dll")).unwrap();
    kernel.with_name("AddDllDirectory", &windows(&folders.leaf)).unwrap();
    let module = kernel.load(&windows(&dependency), 0).unwrap();
    assert_eq!(kernel.ask(module, "dependency_root"), Some(42));
}

#[test]
fn flags_hold_for_what_a_dll_needs_too() {
    let (kernel, folders) = (Kernel::new(), Folders::new());
    let (dependency, leaf) = (folders.plain.join("dependency.dll"), "dependency-leaf.dll");
    let name = windows(&dependency);
    fs::copy(path(Pe, "dependency", "dependency"), &dependency).unwrap();
    let put = |folder: &Path| fs::copy(path(Pe, "dependency", "dependency-leaf"), folder.join(leaf)).unwrap();
    let loaded = |flags| {
        let module = kernel.load(&name, flags)?;
        let answer = kernel.ask(module, "dependency_root");
        kernel.free(module).map(|_| answer)
    };
    put(&folders.leaf);
    kernel.with_name("AddDllDirectory", &windows(&folders.leaf)).unwrap();
    assert_eq!(loaded(0), Err(MOD_NOT_FOUND), "it is not beside it");
    assert_eq!(loaded(SEARCH_DLL_LOAD_DIR), Err(MOD_NOT_FOUND));
    assert_eq!(loaded(SEARCH_SYSTEM32), Err(MOD_NOT_FOUND));
    assert_eq!((loaded(SEARCH_USER_DIRS), loaded(SEARCH_DEFAULT_DIRS)), (Ok(Some(42)), Ok(Some(42))));
    fs::remove_file(folders.leaf.join(leaf)).unwrap();
    put(&folders.plain);
    assert_eq!(loaded(0), Ok(Some(42)), "it is beside it");
    assert_eq!(loaded(SEARCH_DLL_LOAD_DIR), Ok(Some(42)));
    assert_eq!(loaded(SEARCH_DLL_LOAD_DIR | SEARCH_SYSTEM32), Ok(Some(42)));
    assert_eq!((loaded(SEARCH_SYSTEM32), loaded(SEARCH_USER_DIRS)), (Err(MOD_NOT_FOUND), Err(MOD_NOT_FOUND)));
}

#[test]
fn the_programs_folder_is_searched_when_flags_say_so() {
    let kernel = Kernel::new();
    let program = std::env::current_exe().unwrap();
    let name = format!("beside-{}.dll", std::process::id());
    let beside = program.with_file_name(&name);
    fs::copy(path(Pe, "plain", "plain"), &beside).unwrap();
    let found = [SEARCH_APPLICATION_DIR, SEARCH_DEFAULT_DIRS, SEARCH_SYSTEM32].map(|flags| {
        let module = kernel.load(&name, flags);
        module.is_ok_and(|module| kernel.free(module).is_ok())
    });
    fs::remove_file(beside).unwrap();
    assert_eq!(found, [true, true, false]);
}

#[test]
fn a_dll_from_bytes_has_a_file_name_and_is_found_by_it() {
    let kernel = Kernel::new();
    let bytes = fs::read(path(Pe, "plain", "plain")).unwrap();
    let library = kernel.world.engine.open_bytes("plain.dll", bytes).unwrap();
    let module = library.module().unwrap().at.base.0 as usize;
    assert_eq!(kernel.file_of(module), "plain.dll");
    assert_eq!(kernel.with_name("GetModuleHandleW", &kernel.file_of(module)), Ok(module));
    assert_eq!((kernel.load("PLAIN", 0), kernel.free(module)), (Ok(module), Ok(1)));
}

/// The resources of an image that cannot be loaded are there all the same.
#[test]
fn an_image_of_another_machine_is_loaded_as_data() {
    let kernel = Kernel::new();
    let mut bytes = fs::read(path(Pe, "resources", "resources")).unwrap();
    let header = u32::from_le_bytes(*bytes[0x3c..].first_chunk().unwrap()) as usize;
    bytes[header + 4..header + 6].copy_from_slice(&0xaa64_u16.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arm.dll");
    fs::write(&file, bytes).unwrap();
    let name = windows(&file);
    assert_eq!(kernel.load(&name, 0), Err(193));
    let module = kernel.load(&name, DATAFILE).unwrap();
    let found = kernel.call("FindResourceW", [module, 1, 10]).unwrap();
    assert_eq!(kernel.call("SizeofResource", [module, found]), Ok("Hello".len()));
    assert_eq!(kernel.free(module), Ok(1));
    assert_eq!(
        kernel.load(&windows(&path(Pe, "resources", "resources").with_file_name("case.txt")), DATAFILE),
        Err(193)
    );
    fs::write(&file, []).unwrap();
    assert_eq!(kernel.load(&name, DATAFILE), Err(1006));
}

/// Every word of the resource directory says something else once; whatever the functions answer, they do answer.
#[test]
fn resources_that_lie_give_error_numbers_and_never_a_fault() {
    let bytes = fs::read(path(Pe, "resources", "resources")).unwrap();
    let file = loader_pe::resources::ResourceFile::parse(&bytes).unwrap();
    let (at, len) = (file.offset(file.directory().unwrap()).unwrap() as usize, 0x2c0);
    let functions = [
        "names_and_numbers",
        "languages",
        "enumerations",
        "strings",
        "version",
        "as_data_file",
        "as_image_resource",
    ];
    let kernel = Kernel::new();
    let mut refused = 0;
    for place in (at..at + len).step_by(4) {
        for lie in [0, 0x7fff_fff0, 0x8000_0000, 0x8000_0010, 0xffff_ffff, 0x0000_1000, 0xffff_0000] {
            let mut lying = bytes.clone();
            lying[place..place + 4].copy_from_slice(&u32::to_le_bytes(lie));
            kernel.world.engine.provide("resources-data.dll", lying.clone());
            kernel.world.engine.provide("resources.dll", lying);
            let module = kernel.load("resources.dll", 0).unwrap();
            let answers = functions.map(|function| kernel.ask(module, function).unwrap());
            refused += answers.iter().filter(|&&line| line != 0).count();
            assert_eq!(kernel.free(module), Ok(1));
        }
    }
    assert!(refused > 1000, "{refused}: most of the lies are noticed");
    let name = CString::new("resources.dll").unwrap();
    assert_eq!(kernel.call("GetModuleHandleA", [name.as_ptr().expose_provenance()]), Err(MOD_NOT_FOUND));
}

/// A directory entry's position in the image, and a converter from there to the file.
fn directory(bytes: &[u8], index: usize) -> usize {
    let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    word(word(0x3c) + 0x88 + 8 * index)
}

/// A DLL that a tool has bound carries the addresses of another day, and a table that says so.
#[test]
fn imports_that_were_bound_are_bound_anew() {
    const IMPORTS: usize = 1;
    const BOUND_IMPORTS: usize = 11;
    let mut bytes = fs::read(path(Pe, "dependency", "dependency")).unwrap();
    let at = directory(&bytes, IMPORTS);
    let offset = |bytes: &[u8], rva: usize| {
        let file = loader_pe::resources::ResourceFile::parse(bytes).unwrap();
        file.offset(loader_core::Rva(rva as u64)).unwrap() as usize
    };
    let first = offset(&bytes, at);
    let mut descriptor = first;
    while bytes[descriptor + 12..descriptor + 16] != [0; 4] {
        bytes[descriptor + 4..descriptor + 12].fill(0xff); // bound the new way; no forwarders
        let slots = u32::from_le_bytes(*bytes[descriptor + 16..].first_chunk().unwrap()) as usize;
        let mut slot = offset(&bytes, slots);
        while bytes[slot..slot + 8] != [0; 8] {
            bytes[slot..slot + 8].copy_from_slice(&0x7ff8_1234_5678_u64.to_le_bytes());
            slot += 8;
        }
        descriptor += 20;
    }
    assert!(descriptor > first, "it has imports");
    let header = u32::from_le_bytes(*bytes[0x3c..].first_chunk().unwrap()) as usize;
    let entry = header + 0x88 + 8 * BOUND_IMPORTS;
    bytes[entry..entry + 8].copy_from_slice(&[0x80, 2, 0, 0, 0x20, 0, 0, 0]);

    let kernel = Kernel::new();
    kernel.world.engine.provide("bound.dll", bytes);
    let leaf = fs::read(path(Pe, "dependency", "dependency-leaf")).unwrap();
    kernel.world.engine.provide("dependency-leaf.dll", leaf);
    let module = kernel.load("bound.dll", 0).unwrap();
    assert_eq!(kernel.ask(module, "dependency_root"), Some(42));
}

#[test]
fn what_an_import_is_forwarded_to_lives_as_long_as_the_importer() {
    let kernel = Kernel::new();
    let exporter = kernel.load(&windows(&path(Pe, "forwarder-alone", "alone")), 0).unwrap();
    assert_eq!(kernel.world.loaded(), ["alone"], "nothing is forwarded yet");
    let importer = kernel.load(&windows(&path(Pe, "forwarder-alone", "alone-user")), 0).unwrap();
    assert_eq!(kernel.world.loaded(), ["alone", "alone-user", "alone-end"]);
    assert_eq!(kernel.free(importer), Ok(1));
    assert_eq!(kernel.world.loaded(), ["alone"]);
    assert_eq!(kernel.free(exporter), Ok(1));
}

#[test]
fn what_a_lookup_is_forwarded_to_lives_as_long_as_the_exporter() {
    let kernel = Kernel::new();
    let exporter = kernel.load(&windows(&path(Pe, "forwarder-alone", "alone")), 0).unwrap();
    let name = CString::new("alone").unwrap();
    let found = kernel.call("GetProcAddress", [exporter, name.as_ptr().expose_provenance()]).unwrap();
    assert_eq!(kernel.world.loaded(), ["alone", "alone-end"]);
    let importer = kernel.load(&windows(&path(Pe, "forwarder-alone", "alone-user")), 0).unwrap();
    assert_eq!(kernel.free(importer), Ok(1));
    assert_eq!(kernel.world.call_at(found as u64, 0), 5);
    assert_eq!(kernel.free(exporter), Ok(1));
    assert_eq!(kernel.world.loaded(), [""; 0]);
}

/// Not part of the corpus's script, which compares what is mapped: a thread of the pool ends when it likes, and the C
/// library gives its stack back when the next one ends.
#[test]
fn the_thread_pool_does_work_waits_and_keeps_time() {
    let kernel = Kernel::new();
    let module = kernel.load(&windows(&path(Pe, "synchronisation", "synchronisation")), 0).unwrap();
    for function in ["work", "pool_timers", "pool_waits"] {
        assert_eq!(kernel.ask(module, function), Some(0), "the line of {function} that is not so");
    }
}
