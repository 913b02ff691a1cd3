//! What a process can be asked: which libraries it has, and how much memory. Only this process can be asked; of another one
//! nothing is known.

use super::{
    Bool, answer,
    error::code,
    fail,
    module::{file_name, give_name},
    system::is_this_process,
};
use crate::{
    guest::Ptr,
    ldr::Known,
    teb,
    text::{self, Text},
};
use std::fs;

/// Where the program is.
fn program() -> usize {
    let process = teb::process();
    let known = process.services().and_then(|services| services.module_handle(None));
    known.unwrap_or_else(|| process.program()).0 as usize
}

/// The program, then its libraries, in the order of their addresses.
pub(super) fn modules() -> Vec<Known> {
    let program = program();
    let libraries = teb::process().lists.known();
    let first = libraries.iter().find(|m| m.base == program).copied();
    let first = first.unwrap_or(Known { base: program, size: 0, entry_point: 0 });
    std::iter::once(first).chain(libraries.into_iter().filter(|m| m.base != program)).collect()
}

/// As many as there is room for; how many bytes all of them take is said in any case.
extern "win64" fn K32EnumProcessModules(process: usize, to: Ptr<usize>, room: u32, needed: Ptr<u32>) -> Bool {
    if needed.is_null() || to.is_null() && room != 0 {
        return fail(code::NOACCESS);
    }
    answer(is_this_process(process).map(|()| {
        let all = modules();
        all.iter().take(room as usize / 8).enumerate().for_each(|(n, m)| to.at(n).set(m.base));
        needed.set(text::length(all.len() * 8));
    }))
}

/// There are no libraries of 32 bits that a filter could ask for.
extern "win64" fn K32EnumProcessModulesEx(
    process: usize,
    to: Ptr<usize>,
    room: u32,
    needed: Ptr<u32>,
    _filter: u32,
) -> Bool {
    K32EnumProcessModules(process, to, room, needed)
}

/// `MODULEINFO`.
#[repr(C)]
#[derive(Clone, Copy)]
struct ModuleInfo {
    base: usize,
    size: u32,
    entry_point: usize,
}

extern "win64" fn K32GetModuleInformation(
    process: usize,
    module: usize,
    to: Ptr<ModuleInfo>,
    room: u32,
) -> Bool {
    answer(is_this_process(process).and_then(|()| {
        let module = if module == 0 { program() } else { module };
        // What is built in has no image: the place that it is known by is one page.
        let built_in = || Known { base: module, size: 0x1000, entry_point: 0 };
        let found = modules().into_iter().find(|m| m.base == module);
        let found =
            found.or_else(|| file_name(module).ok().map(|_| built_in())).ok_or(code::INVALID_HANDLE)?;
        if (room as usize) < size_of::<ModuleInfo>() {
            return Err(code::INSUFFICIENT_BUFFER);
        }
        to.put(ModuleInfo { base: found.base, size: found.size, entry_point: found.entry_point });
        Ok(())
    }))
}

/// The file of one of this process's modules.
fn file_of(process: usize, module: usize) -> Result<String, u32> {
    is_this_process(process)?;
    file_name(module).map_err(|_| code::INVALID_HANDLE)
}

pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

extern "win64" fn K32GetModuleFileNameEx<T: Text>(
    process: usize,
    module: usize,
    to: Ptr<T>,
    room: u32,
) -> u32 {
    match file_of(process, module) {
        Ok(file) => give_name(&T::of(&file), to, room),
        Err(error) => fail(error) as u32,
    }
}

extern "win64" fn K32GetModuleBaseName<T: Text>(process: usize, module: usize, to: Ptr<T>, room: u32) -> u32 {
    match file_of(process, module) {
        Ok(file) => give_name(&T::of(base_name(&file)), to, room),
        Err(error) => fail(error) as u32,
    }
}

/// The program's file. The length comes in and goes out through one place; it does not count the zero on success.
fn image_name<T: Text>(process: usize, to: Ptr<T>, len: Ptr<u32>) -> Result<(), u32> {
    if len.is_null() || to.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let name = T::of(&file_of(process, 0)?);
    if name.len() >= len.get() as usize {
        return Err(code::INSUFFICIENT_BUFFER);
    }
    len.set(text::answer(&name, to, len.get()));
    Ok(())
}

/// Names in the form of the kernel (flag 1) are not known here.
extern "win64" fn QueryFullProcessImageName<T: Text>(
    process: usize,
    flags: u32,
    to: Ptr<T>,
    len: Ptr<u32>,
) -> Bool {
    if flags == 0 { answer(image_name(process, to, len)) } else { fail(code::INVALID_PARAMETER) }
}

/// `PROCESS_MEMORY_COUNTERS_EX`: the last number is missing in the shorter form.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Counters {
    size: u32,
    faults: u32,
    most_resident: usize,
    resident: usize,
    pools: [usize; 4],
    committed: usize,
    most_committed: usize,
    private: usize,
}

const LONG: usize = size_of::<Counters>();
const SHORT: usize = LONG - size_of::<usize>();

/// A line of what the kernel says of a process, in bytes.
fn bytes_of(status: &str, name: &str) -> usize {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// How often pages were missing: two numbers behind the name, which may hold anything.
fn faults(stat: &str) -> u32 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let number = |n: usize| fields.clone().nth(n).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    (number(7) + number(9)) as u32
}

fn counters() -> Counters {
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let status = read("status");
    let private = bytes_of(&status, "RssAnon") + bytes_of(&status, "VmSwap");
    Counters {
        faults: faults(&read("stat")),
        most_resident: bytes_of(&status, "VmHWM"),
        resident: bytes_of(&status, "VmRSS"),
        committed: private,
        most_committed: private,
        private,
        ..Counters::default()
    }
}

extern "win64" fn K32GetProcessMemoryInfo(process: usize, to: Ptr<u8>, room: u32) -> Bool {
    answer(is_this_process(process).and_then(|()| {
        let size = match room as usize {
            LONG.. => LONG,
            SHORT.. => SHORT,
            _ => return Err(code::INSUFFICIENT_BUFFER),
        };
        let c = Counters { size: size as u32, ..counters() };
        let heads = [c.size, c.faults].into_iter().flat_map(u32::to_le_bytes);
        let resident = [c.most_resident, c.resident].into_iter().chain(c.pools);
        let sizes = resident.chain([c.committed, c.most_committed, c.private]);
        let all: Vec<u8> = heads.chain(sizes.flat_map(usize::to_le_bytes)).collect();
        to.fill(&all[..size]);
        Ok(())
    }))
}

table! {
    /// What a process can be asked.
    pub(crate) TABLE:
        K32EnumProcessModules, K32EnumProcessModulesEx, K32GetModuleInformation,
        K32GetModuleFileNameExW = K32GetModuleFileNameEx::<u16>, K32GetModuleFileNameExA = K32GetModuleFileNameEx::<u8>,
        K32GetModuleBaseNameW = K32GetModuleBaseName::<u16>, K32GetModuleBaseNameA = K32GetModuleBaseName::<u8>,
        K32GetProcessMemoryInfo, QueryFullProcessImageNameW = QueryFullProcessImageName::<u16>,
        QueryFullProcessImageNameA = QueryFullProcessImageName::<u8>
}

table! {
    /// The same under the names that psapi has for them.
    pub(crate) PSAPI:
        EnumProcessModules = K32EnumProcessModules, EnumProcessModulesEx = K32EnumProcessModulesEx,
        GetModuleInformation = K32GetModuleInformation, GetModuleFileNameExW = K32GetModuleFileNameEx::<u16>,
        GetModuleFileNameExA = K32GetModuleFileNameEx::<u8>, GetModuleBaseNameW = K32GetModuleBaseName::<u16>,
        GetModuleBaseNameA = K32GetModuleBaseName::<u8>, GetProcessMemoryInfo = K32GetProcessMemoryInfo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_memory() {
        let status = "Name:\tx) y\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\nRssAnon:\t     12 kB\n";
        assert_eq!(bytes_of(status, "VmHWM"), 5 << 20);
        assert_eq!((bytes_of(status, "RssAnon"), bytes_of(status, "VmSwap")), (12 << 10, 0));
        assert_eq!(faults("12 (x) y) S 1 2 3 4 5 6 700 8 90 10"), 790);
        assert_eq!((SHORT, LONG), (72, 80), "PROCESS_MEMORY_COUNTERS and its longer form");
        assert_eq!(base_name(r"C:\a\b.dll"), "b.dll");
    }
}
