//! How the processors hang together, as the kernel says below `/sys/devices/system/cpu`: cores, packages, caches. Where it
//! says nothing (in a confined process, say), every processor is a core of its own, and all are one package.

use super::{Bool, answer, error::code, processors::all};
use crate::guest::Ptr;
use std::{fs, sync::OnceLock};

/// A relation between processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Core,
    Package,
    Node,
    Cache(Cache),
    Group,
}

/// What `CACHE_DESCRIPTOR` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cache {
    level: u8,
    /// 0xff: a line can be anywhere.
    ways: u8,
    line: u16,
    size: u32,
    /// Unified 0, instructions 1, data 2.
    kind: u32,
}

impl Relation {
    /// `LOGICAL_PROCESSOR_RELATIONSHIP`.
    fn number(self) -> u32 {
        match self {
            Self::Core => 0,
            Self::Node => 1,
            Self::Cache(_) => 2,
            Self::Package => 3,
            Self::Group => 4,
        }
    }
}

/// Processors that have something in common.
type Related = (Relation, u64);

/// Processors of a list like `0-3,8`, as far as they fit in one group.
fn list(text: &str) -> Option<u64> {
    let run = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse::<u32>().ok()?);
        Some((first..=last.min(63)).fold(0, |mask, n: u32| mask | 1 << n))
    };
    text.trim().split(',').try_fold(0, |mask, part| Some(mask | run(part)?))
}

/// A size like `48K`.
fn size(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => 1 << 30,
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

/// The caches of a processor have numbers from 0 on; nobody has as many.
const CACHES: u32 = 16;

fn cache(n: u32, nth: u32, read: &impl Fn(&str) -> Option<String>) -> Option<Related> {
    let field = |name: &str| read(&format!("cpu{n}/cache/index{nth}/{name}"));
    let kind = match field("type")?.as_str() {
        "Instruction" => 1,
        "Data" => 2,
        _ => 0,
    };
    let cache = Cache {
        level: field("level")?.parse().ok()?,
        ways: field("ways_of_associativity")
            .and_then(|ways| ways.parse().ok())
            .filter(|&w| w != 0)
            .unwrap_or(0xff),
        line: field("coherency_line_size")?.parse().ok()?,
        size: size(&field("size")?)?,
        kind,
    };
    Some((Relation::Cache(cache), list(&field("shared_cpu_list")?)?))
}

/// All relations between these processors, each once; `read` gives the first line of a file of the kernel.
fn relations(processors: u64, read: &impl Fn(&str) -> Option<String>) -> Vec<Related> {
    let mut found: Vec<Related> = Vec::new();
    let mut add = |relation, mask: u64| {
        let one = (relation, mask & processors);
        if one.1 != 0 && !found.contains(&one) {
            found.push(one);
        }
    };
    for n in (0..u64::BITS).filter(|n| processors >> n & 1 != 0) {
        let topology = |name: &str| read(&format!("cpu{n}/topology/{name}")).and_then(|text| list(&text));
        let core = topology("core_cpus_list").or_else(|| topology("thread_siblings_list"));
        let package = topology("package_cpus_list").or_else(|| topology("core_siblings_list"));
        add(Relation::Core, core.unwrap_or(1 << n));
        add(Relation::Package, package.unwrap_or(u64::MAX));
        let caches = (0..CACHES).map_while(|nth| cache(n, nth, read));
        caches.for_each(|(cache, mask)| add(cache, mask));
    }
    add(Relation::Node, u64::MAX);
    add(Relation::Group, u64::MAX);
    found
}

/// Those of this process's processors: asked for once, as callers ask twice, for the length and for the rest.
fn here() -> &'static [Related] {
    static HERE: OnceLock<Vec<Related>> = OnceLock::new();
    HERE.get_or_init(|| {
        relations(all(), &|path| {
            let text = fs::read_to_string(format!("/sys/devices/system/cpu/{path}")).ok()?;
            Some(text.trim_end().to_owned())
        })
    })
}

/// `SYSTEM_LOGICAL_PROCESSOR_INFORMATION`: mask, relation, and what is to be said of it.
fn short((relation, mask): Related) -> Vec<u8> {
    let mut out = mask.to_le_bytes().to_vec();
    out.extend(u64::from(relation.number()).to_le_bytes());
    match relation {
        Relation::Core => out.push((mask.count_ones() > 1).into()), // LTP_PC_SMT
        Relation::Cache(cache) => out.extend(descriptor(cache)),
        Relation::Package | Relation::Node | Relation::Group => {}
    }
    out.resize(32, 0);
    out
}

fn descriptor(cache: Cache) -> Vec<u8> {
    let mut out = vec![cache.level, cache.ways];
    out.extend(cache.line.to_le_bytes());
    out.extend(cache.size.to_le_bytes());
    out.extend(cache.kind.to_le_bytes());
    out
}

/// `SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX`: relation, length, what is to be said of it, and the processors at the end.
fn long((relation, mask): Related) -> Vec<u8> {
    let processors = mask.count_ones() as u8;
    let (said, zeros, one_group): (Vec<u8>, usize, bool) = match relation {
        Relation::Core => (vec![(processors > 1).into()], 21, true), // and one class of efficiency
        Relation::Package => (vec![0], 21, true),
        Relation::Node => (vec![0; 4], 18, true),
        Relation::Cache(cache) => (descriptor(cache), 18, true),
        Relation::Group => (vec![1, 0, 1, 0], 20, false),
    };
    let mut out = relation.number().to_le_bytes().to_vec();
    out.extend([0; 4]); // its length, when that is known
    out.extend(&said);
    out.resize(out.len() + zeros, 0);
    if one_group {
        out.extend(1u16.to_le_bytes());
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(mask.to_le_bytes()); // GROUP_AFFINITY
        out.extend([0; 8]);
    } else {
        out.extend([processors, processors]); // PROCESSOR_GROUP_INFO
        out.resize(out.len() + 38, 0);
        out.extend(mask.to_le_bytes());
    }
    let len = out.len() as u32;
    out[4..8].copy_from_slice(&len.to_le_bytes());
    out
}

/// Gives what there is to whoever has room for all of it, and says how long that is.
fn give(all: &[u8], to: Ptr<u8>, len: Ptr<u32>) -> Result<(), u32> {
    if len.is_null() {
        return Err(code::INVALID_PARAMETER);
    }
    let room = len.get() as usize;
    len.set(all.len() as u32);
    match room < all.len() || to.is_null() {
        true => Err(code::INSUFFICIENT_BUFFER),
        false => {
            to.fill(all);
            Ok(())
        }
    }
}

extern "win64" fn GetLogicalProcessorInformation(to: Ptr<u8>, len: Ptr<u32>) -> Bool {
    let known = here().iter().copied().filter(|(relation, _)| *relation != Relation::Group);
    answer(give(&known.flat_map(short).collect::<Vec<u8>>(), to, len))
}

/// `RelationAll`.
const EVERYTHING: u32 = 0xffff;

extern "win64" fn GetLogicalProcessorInformationEx(which: u32, to: Ptr<u8>, len: Ptr<u32>) -> Bool {
    if which > 4 && which != EVERYTHING {
        return answer(Err(code::INVALID_PARAMETER));
    }
    let wanted = here().iter().copied().filter(|(r, _)| which == EVERYTHING || r.number() == which);
    answer(give(&wanted.flat_map(long).collect::<Vec<u8>>(), to, len))
}

table! {
    /// How processors hang together.
    pub(crate) TABLE: GetLogicalProcessorInformation, GetLogicalProcessorInformationEx
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two packages of two cores with two threads each; a cache of its own for each core, and one for each package.
    fn file(path: &str) -> Option<String> {
        let (n, name) = path.strip_prefix("cpu")?.split_once('/')?;
        let n: u32 = n.parse().ok().filter(|&n| n < 8)?;
        let (core, package) = (n & !1, n & !3);
        let cores = format!("{core}-{}", core + 1);
        let text = match name {
            "topology/core_cpus_list" | "cache/index0/shared_cpu_list" => cores,
            "topology/package_cpus_list" | "cache/index1/shared_cpu_list" => {
                format!("{package},{}-{}", package + 1, package + 3)
            }
            "cache/index0/type" => "Data".into(),
            "cache/index0/level" => "1".into(),
            "cache/index0/size" => "48K".into(),
            "cache/index0/ways_of_associativity" => "12".into(),
            "cache/index1/type" => "Unified".into(),
            "cache/index1/level" => "3".into(),
            "cache/index1/size" => "32M".into(),
            "cache/index0/coherency_line_size" | "cache/index1/coherency_line_size" => "64".into(),
            _ => return None,
        };
        Some(text)
    }

    fn masks(of: &[Related], wanted: Relation) -> Vec<u64> {
        of.iter().filter(|(relation, _)| *relation == wanted).map(|(_, mask)| *mask).collect()
    }

    #[test]
    fn what_the_kernel_says_of_cores_packages_and_caches() {
        let found = relations(0xff, &file);
        assert_eq!(masks(&found, Relation::Core), [3, 12, 0x30, 0xc0]);
        assert_eq!(masks(&found, Relation::Package), [0xf, 0xf0]);
        let data = Cache { level: 1, ways: 12, line: 64, size: 48 << 10, kind: 2 };
        let unified = Cache { level: 3, ways: 0xff, line: 64, size: 32 << 20, kind: 0 };
        assert_eq!(masks(&found, Relation::Cache(data)), [3, 12, 0x30, 0xc0]);
        assert_eq!(masks(&found, Relation::Cache(unified)), [0xf, 0xf0]);
        assert_eq!(
            masks(&relations(0b110, &file), Relation::Core),
            [2, 4],
            "only those that there are for us"
        );
    }

    #[test]
    fn where_nothing_is_said_every_processor_is_a_core() {
        let found = relations(7, &|_| None);
        let all = [Relation::Package, Relation::Node, Relation::Group];
        assert_eq!(masks(&found, Relation::Core), [1, 2, 4]);
        assert!(all.iter().all(|&relation| masks(&found, relation) == [7]));
        assert_eq!(found.len(), 6);
    }

    #[test]
    fn numbers_of_the_kernel_that_are_none_are_not_believed() {
        for (text, mask) in
            [("0", Some(1)), ("1-2,63", Some(6 | 1 << 63)), ("62-99", Some(3 << 62)), ("3-1", Some(0))]
        {
            assert_eq!(list(text), mask, "{text}");
        }
        assert!(["", "x", "1-", "-1", "1,,2"].iter().all(|text| list(text).is_none()));
        assert_eq!(["48K", "1024", "4096M", "x", ""].map(size), [Some(49_152), Some(1024), None, None, None]);
    }

    /// The lengths that winnt.h's types have on x64.
    #[test]
    fn lengths_of_what_is_given() {
        let cache = Cache { level: 1, ways: 8, line: 64, size: 1 << 15, kind: 2 };
        let relations =
            [Relation::Core, Relation::Node, Relation::Cache(cache), Relation::Package, Relation::Group];
        assert_eq!(relations.map(|r| long((r, 5)).len()), [48, 48, 56, 48, 80]);
        assert!(relations.iter().all(|&r| short((r, 5)).len() == 32));
        let core = long((Relation::Core, 5));
        assert_eq!((core[8], core[30], core[32]), (1, 1, 5), "threads share it, one group, the processors");
    }
}
