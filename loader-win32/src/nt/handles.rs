//! Handles: copies of them, and what can be asked of the objects behind them.

use super::{
    file::Attributes,
    objects::{create, done, object_for, open},
    status::{self, ACCESS_VIOLATION, SUCCESS},
    types,
};
use crate::{
    guest::Ptr,
    kernel32::{
        opened,
        system::{is_this_process, process_access},
        wait::object,
    },
    object::{INHERIT, Kind, Object, PROTECTED},
    rtl::counted::Text,
    teb,
    text::{length, wide},
};
use std::sync::{Arc, atomic::Ordering::Relaxed};

const DUPLICATE_CLOSE_SOURCE: u32 = 1;
const DUPLICATE_SAME_ACCESS: u32 = 2;
const DUPLICATE_SAME_ATTRIBUTES: u32 = 4;
const OBJ_INHERIT: u32 = 2;
const OBJ_PROTECT: u32 = 1;

/// Between this process and itself: others have no handles here.
pub(crate) extern "win64" fn NtDuplicateObject(
    from: usize,
    handle: usize,
    to: usize,
    out: Ptr<usize>,
    access: u32,
    attributes: u32,
    options: u32,
) -> u32 {
    let objects = &teb::process().objects;
    let copied = is_this_process(from).and_then(|()| object(handle)).map_err(status::of).and_then(|o| {
        if out.is_null() {
            return Ok(()); // it is only closed
        }
        out.set(0);
        is_this_process(to).map_err(status::of)?;
        let same = options & DUPLICATE_SAME_ACCESS != 0;
        let copy = match &o.kind {
            Kind::Process { child, .. } if !same => {
                objects.open(Kind::Process { access: process_access(access), child: child.clone() })
            }
            _ => {
                let granted = objects.access(handle).filter(|_| same);
                let wanted = || types::of(&o.kind).granted(access);
                objects.add_for(Arc::clone(&o), granted.unwrap_or_else(wanted))
            }
        };
        let flags = if options & DUPLICATE_SAME_ATTRIBUTES != 0 {
            objects.flags(handle)
        } else {
            u32::from(attributes & OBJ_INHERIT != 0) * INHERIT
                + u32::from(attributes & OBJ_PROTECT != 0) * PROTECTED
        };
        objects.set_flags(copy, INHERIT | PROTECTED, flags);
        out.set(copy);
        Ok(())
    });
    if options & DUPLICATE_CLOSE_SOURCE != 0 && is_this_process(from).is_ok() {
        objects.close(handle);
    }
    done(copied)
}

/// Whether two handles are of one object.
pub(crate) extern "win64" fn NtCompareObjects(one: usize, other: usize) -> u32 {
    const NOT_SAME_OBJECT: u32 = 0xc000_01ac;
    match (object(one), object(other)) {
        (Ok(a), Ok(b)) => {
            // Of this process there may be several objects.
            let same = matches!(
                (&a.kind, &b.kind),
                (Kind::Process { child: None, .. }, Kind::Process { child: None, .. })
            );
            if same || Arc::ptr_eq(&a, &b) { SUCCESS } else { NOT_SAME_OBJECT }
        }
        _ => status::INVALID_HANDLE,
    }
}

/// What an object is called, from the root of all names.
fn name(object: &Object) -> Option<String> {
    match &object.kind {
        Kind::File(_) => {
            let path = opened::guest_path(object)?;
            Some(format!(r"\Device\HarddiskVolume1{}", path.get(2..).unwrap_or(&path)))
        }
        _ => object.path.get().cloned(),
    }
}

/// A text behind a structure that ends with where the text is: a `UNICODE_STRING`, and what is to follow it.
fn with_text(to: Ptr<u8>, text: &[u16], between: &[u8]) -> Vec<u8> {
    let bytes = u16::try_from(text.len() * 2).unwrap_or(u16::MAX - 1);
    let at = if text.is_empty() { 0 } else { to.addr() + 16 + between.len() };
    let room = if text.is_empty() { 0 } else { bytes.saturating_add(2) };
    let mut all = Vec::new();
    all.extend(bytes.to_le_bytes());
    all.extend(room.to_le_bytes());
    all.extend([0; 4]);
    all.extend(at.to_le_bytes());
    all.extend(between);
    if !text.is_empty() {
        text.iter().chain(&[0]).for_each(|unit| all.extend(unit.to_le_bytes()));
    }
    all
}

/// `OBJECT_BASIC_INFORMATION`.
fn basic(handle: usize, object: &Arc<Object>) -> Vec<u8> {
    let objects = &teb::process().objects;
    let kind = types::of(&object.kind);
    let flags = objects.flags(handle);
    let attributes = u32::from(flags & INHERIT != 0) * OBJ_INHERIT + u32::from(flags & PROTECTED != 0);
    let granted = match &object.kind {
        Kind::Process { access, .. } => *access,
        Kind::File(_) => types::of(&object.kind).granted(object.opened.access.load(Relaxed)),
        _ => kind.granted(objects.access(handle).unwrap_or(0)),
    };
    let name = name(object).map_or(0, |name| length(wide(&name).len() * 2 + 2));
    let numbers = [
        attributes,
        granted,
        length(objects.handles_of(object)),
        length(Arc::strong_count(object)),
        0,
        0,
        0,
        0,
        0,
        name,
        length((kind.name.len() + 1) * 2),
        0,
        0,
        0,
    ];
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// `OBJECT_TYPE_INFORMATION`, with how many there are of the type, as far as there are handles of them.
fn type_of(object: &Object, to: Ptr<u8>) -> Vec<u8> {
    let kind = types::of(&object.kind);
    let of_type = teb::process().objects.of_kind(|other| types::of(other).name == kind.name);
    let handles = length(of_type.len());
    let mut objects: Vec<_> = of_type.iter().map(Arc::as_ptr).collect();
    objects.sort_unstable();
    objects.dedup();
    let objects = length(objects.len());
    let [read, write, execute, all] = kind.generic;
    let numbers = [
        objects, handles, 0, 0, 0, 0, objects, handles, 0, 0, 0, 0, 0, read, write, execute, all, all, 0, 0,
        0, 0,
    ];
    let between: Vec<u8> = numbers.iter().flat_map(|n: &u32| n.to_le_bytes()).collect();
    with_text(to, &wide(kind.name), &between)
}

extern "win64" fn NtQueryObject(handle: usize, class: u32, to: Ptr<u8>, room: u32, len: Ptr<u32>) -> u32 {
    const BASIC: u32 = 0;
    const NAME: u32 = 1;
    const TYPE: u32 = 2;
    const FLAGS: u32 = 4;
    const OBJECT_NAME: usize = 16;
    if !matches!(class, BASIC | NAME | TYPE | FLAGS) {
        return status::INVALID_INFO_CLASS;
    }
    let Ok(object) = object(handle) else { return status::INVALID_HANDLE };
    let answer = match class {
        BASIC => basic(handle, &object),
        NAME => with_text(to, &wide(&name(&object).unwrap_or_default()), &[]),
        TYPE => type_of(&object, to),
        _ => {
            let flags = teb::process().objects.flags(handle);
            vec![(flags & INHERIT != 0).into(), (flags & PROTECTED != 0).into()]
        }
    };
    len.put(length(answer.len()));
    match () {
        // A file's name may be asked for in two steps.
        () if class == NAME
            && matches!(object.kind, Kind::File(_))
            && (OBJECT_NAME..answer.len()).contains(&(room as usize)) =>
        {
            status::BUFFER_OVERFLOW
        }
        () if (room as usize) < answer.len() => status::INFO_LENGTH_MISMATCH,
        () if to.is_null() => ACCESS_VIOLATION,
        () => {
            to.fill(&answer);
            SUCCESS
        }
    }
}

/// Whether it is inherited, and whether it is protected.
extern "win64" fn NtSetInformationObject(handle: usize, class: u32, from: Ptr<[u8; 2]>, len: u32) -> u32 {
    const FLAGS: u32 = 4;
    if class != FLAGS {
        return status::INVALID_INFO_CLASS;
    }
    if len != 2 || from.is_null() {
        return status::INFO_LENGTH_MISMATCH;
    }
    if object(handle).is_err() {
        return status::INVALID_HANDLE;
    }
    let [inherit, protect] = from.get();
    let flags = u32::from(inherit != 0) * INHERIT + u32::from(protect != 0) * PROTECTED;
    teb::process().objects.set_flags(handle, INHERIT | PROTECTED, flags);
    SUCCESS
}

// Directories of names, and links.

extern "win64" fn NtCreateDirectoryObject(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    create(out, access, attributes, Kind::Directory)
}

extern "win64" fn NtOpenDirectoryObject(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Directory))
}

extern "win64" fn NtCreateSymbolicLinkObject(
    out: Ptr<usize>,
    access: u32,
    attributes: Ptr<Attributes>,
    target: Ptr<Text>,
) -> u32 {
    if target.is_null() || attributes.is_null() {
        return ACCESS_VIOLATION;
    }
    let target = target.get();
    if target.length < 2 || !target.length.is_multiple_of(2) {
        return status::INVALID_PARAMETER;
    }
    create(out, access, attributes, Kind::Link(target.string()))
}

extern "win64" fn NtOpenSymbolicLinkObject(out: Ptr<usize>, access: u32, attributes: Ptr<Attributes>) -> u32 {
    open(out, access, attributes, |kind| matches!(kind, Kind::Link(_)))
}

/// Where a link leads: with a zero, which is not counted.
extern "win64" fn NtQuerySymbolicLinkObject(handle: usize, to: Ptr<Text>, len: Ptr<u32>) -> u32 {
    const QUERY: u32 = 1;
    if to.is_null() {
        return ACCESS_VIOLATION;
    }
    done(object_for(handle, QUERY).and_then(|object| {
        let Kind::Link(target) = &object.kind else { return Err(status::OBJECT_TYPE_MISMATCH) };
        let mut units = wide(target);
        units.push(0);
        len.put(length(units.len() * 2));
        let text = to.get();
        let length = u16::try_from(units.len() * 2).ok().filter(|&length| length <= text.room);
        let length = length.ok_or(status::BUFFER_TOO_SMALL)?;
        text.at.fill(&units);
        to.set(Text { length: length - 2, ..text }); // a link leads somewhere
        Ok(())
    }))
}

/// `OBJECT_DIRECTORY_INFORMATION`, one after the other, and one of zeros.
extern "win64" fn NtQueryDirectoryObject(
    handle: usize,
    to: Ptr<u8>,
    room: u32,
    single: u8,
    restart: u8,
    context: Ptr<u32>,
    len: Ptr<u32>,
) -> u32 {
    const QUERY: u32 = 1;
    const ENTRY: usize = 32;
    if context.is_null() || to.is_null() {
        return ACCESS_VIOLATION;
    }
    let directory = match object_for(handle, QUERY) {
        Ok(object) if matches!(object.kind, Kind::Directory) => object,
        Ok(_) => return status::OBJECT_TYPE_MISMATCH,
        Err(status) => return status,
    };
    let all = teb::process().objects.named_in(&directory);
    let first = if restart != 0 { 0 } else { context.get() as usize };
    let left = all.get(first..).unwrap_or_default();
    if left.is_empty() {
        len.put(0);
        return status::NO_MORE_ENTRIES;
    }
    let texts = |entry: &(String, Arc<Object>)| [wide(&entry.0), wide(types::of(&entry.1.kind).name)];
    let size = |entry: &(String, Arc<Object>)| {
        texts(entry).iter().map(|text| text.len() * 2 + 2).sum::<usize>() + ENTRY
    };
    // As many as there is room for, with the one of zeros.
    let mut used = ENTRY;
    let most = if single != 0 { 1 } else { left.len() };
    let given = left[..most].iter().take_while(|&entry| {
        used += size(entry);
        used <= room as usize
    });
    let given = given.count();
    if given == 0 {
        len.put(length(ENTRY + size(&left[0])));
        return status::BUFFER_TOO_SMALL;
    }
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    let head = (given + 1) * ENTRY;
    for text in left[..given].iter().flat_map(texts) {
        let bytes = u16::try_from(text.len() * 2).unwrap_or(u16::MAX - 1);
        entries.extend(bytes.to_le_bytes());
        entries.extend(bytes.saturating_add(2).to_le_bytes());
        entries.extend([0; 4]);
        entries.extend((to.addr() + head + names.len()).to_le_bytes());
        text.iter().chain(&[0]).for_each(|unit| names.extend(unit.to_le_bytes()));
    }
    entries.extend([0; ENTRY]);
    entries.extend(names);
    to.fill(&entries);
    context.set(length(first + given));
    len.put(length(entries.len()));
    if single == 0 && given < left.len() { status::MORE_ENTRIES } else { SUCCESS }
}

table! {
    /// Handles and names.
    pub(crate) TABLE:
        NtDuplicateObject, ZwDuplicateObject = NtDuplicateObject, NtCompareObjects, ZwCompareObjects = NtCompareObjects,
        NtQueryObject, ZwQueryObject = NtQueryObject, NtSetInformationObject,
        ZwSetInformationObject = NtSetInformationObject, NtCreateDirectoryObject,
        ZwCreateDirectoryObject = NtCreateDirectoryObject, NtOpenDirectoryObject,
        ZwOpenDirectoryObject = NtOpenDirectoryObject, NtCreateSymbolicLinkObject,
        ZwCreateSymbolicLinkObject = NtCreateSymbolicLinkObject, NtOpenSymbolicLinkObject,
        ZwOpenSymbolicLinkObject = NtOpenSymbolicLinkObject, NtQuerySymbolicLinkObject,
        ZwQuerySymbolicLinkObject = NtQuerySymbolicLinkObject, NtQueryDirectoryObject,
        ZwQueryDirectoryObject = NtQueryDirectoryObject
}
