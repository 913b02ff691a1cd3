//! Security descriptors and lists of who may do what, as programs build them for what they make.

use super::sid::Sid;
use crate::{
    guest::Ptr,
    kernel32::{Bool, FALSE, TRUE, answer, error::code, fail},
};

const REVISION: u32 = 1;
const UNKNOWN_REVISION: u32 = 1305;
const REVISION_MISMATCH: u32 = 1306;
const INVALID_ACL: u32 = 1336;
const ALLOTTED_SPACE_EXCEEDED: u32 = 1344;
const INVALID_SECURITY_DESCRIPTOR: u32 = 1338;

/// `SECURITY_DESCRIPTOR`, in its absolute form.
#[repr(C)]
#[derive(Clone, Copy)]
struct Descriptor {
    revision: u8,
    filler: u8,
    control: u16,
    owner: usize,
    group: usize,
    sacl: usize,
    dacl: usize,
}

const OWNER_DEFAULTED: u16 = 1;
const GROUP_DEFAULTED: u16 = 2;
const DACL_PRESENT: u16 = 4;
const DACL_DEFAULTED: u16 = 8;
/// Offsets stand where addresses are in the absolute form.
const SELF_RELATIVE: u16 = 0x8000;

extern "win64" fn InitializeSecurityDescriptor(to: Ptr<Descriptor>, revision: u32) -> Bool {
    if revision != REVISION {
        return fail(UNKNOWN_REVISION);
    }
    to.put(Descriptor { revision: 1, filler: 0, control: 0, owner: 0, group: 0, sacl: 0, dacl: 0 });
    TRUE
}

extern "win64" fn IsValidSecurityDescriptor(at: Ptr<Descriptor>) -> Bool {
    if !at.is_null() && at.get().revision == 1 { TRUE } else { fail(INVALID_SECURITY_DESCRIPTOR) }
}

/// Changes a descriptor in the absolute form.
fn change(at: Ptr<Descriptor>, change: impl FnOnce(&mut Descriptor)) -> Result<(), u32> {
    let mut descriptor = at.get();
    if descriptor.revision != 1 {
        return Err(UNKNOWN_REVISION);
    }
    if descriptor.control & SELF_RELATIVE != 0 {
        return Err(INVALID_SECURITY_DESCRIPTOR);
    }
    change(&mut descriptor);
    at.set(descriptor);
    Ok(())
}

fn mark(control: &mut u16, bit: u16, on: bool) {
    *control = if on { *control | bit } else { *control & !bit };
}

extern "win64" fn SetSecurityDescriptorOwner(at: Ptr<Descriptor>, owner: usize, defaulted: Bool) -> Bool {
    answer(change(at, |d| {
        d.owner = owner;
        mark(&mut d.control, OWNER_DEFAULTED, defaulted != FALSE);
    }))
}

extern "win64" fn SetSecurityDescriptorGroup(at: Ptr<Descriptor>, group: usize, defaulted: Bool) -> Bool {
    answer(change(at, |d| {
        d.group = group;
        mark(&mut d.control, GROUP_DEFAULTED, defaulted != FALSE);
    }))
}

extern "win64" fn SetSecurityDescriptorDacl(
    at: Ptr<Descriptor>,
    present: Bool,
    dacl: usize,
    defaulted: Bool,
) -> Bool {
    answer(change(at, |d| {
        mark(&mut d.control, DACL_PRESENT, present != FALSE);
        if present != FALSE {
            d.dacl = dacl;
            mark(&mut d.control, DACL_DEFAULTED, defaulted != FALSE);
        }
    }))
}

extern "win64" fn GetSecurityDescriptorDacl(
    at: Ptr<Descriptor>,
    present: Ptr<Bool>,
    dacl: Ptr<usize>,
    defaulted: Ptr<Bool>,
) -> Bool {
    let d = at.get();
    if d.revision != 1 || d.control & SELF_RELATIVE != 0 {
        return fail(UNKNOWN_REVISION);
    }
    let is_there = d.control & DACL_PRESENT != 0;
    present.put(is_there.into());
    if is_there {
        dacl.put(d.dacl);
        defaulted.put((d.control & DACL_DEFAULTED != 0).into());
    }
    TRUE
}

/// `ACL`: revision, length with all entries, how many they are.
#[repr(C)]
#[derive(Clone, Copy)]
struct List {
    revision: u8,
    filler: u8,
    len: u16,
    count: u16,
    filler_2: u16,
}

const HEAD: u32 = size_of::<List>() as u32;
const LIST_REVISIONS: std::ops::RangeInclusive<u32> = 2..=4;

extern "win64" fn InitializeAcl(to: Ptr<List>, len: u32, revision: u32) -> Bool {
    if !LIST_REVISIONS.contains(&revision) || len > 0xffff {
        return fail(code::INVALID_PARAMETER);
    }
    if len < HEAD {
        return fail(code::INSUFFICIENT_BUFFER);
    }
    // Entries are multiples of four bytes.
    to.put(List { revision: revision as u8, filler: 0, len: len as u16 & !3, count: 0, filler_2: 0 });
    TRUE
}

/// Where the next entry of a list goes, if all that are there lie in it.
fn end(at: Ptr<List>) -> Result<usize, u32> {
    let list = at.get();
    if !LIST_REVISIONS.contains(&list.revision.into()) {
        return Err(INVALID_ACL);
    }
    (0..list.count).try_fold(HEAD as usize, |from, _| {
        let len = (from + 4 <= list.len.into()).then(|| {
            let entry = at.cast::<u8>().at(from + 2);
            usize::from(u16::from_le_bytes(entry.cast::<[u8; 2]>().get()))
        });
        let to = from + len.filter(|&len| len >= 4).ok_or(INVALID_ACL)?;
        if to <= list.len.into() { Ok(to) } else { Err(INVALID_ACL) }
    })
}

const ALLOWED: u8 = 0;
const DENIED: u8 = 1;

/// An entry says who, and what of it.
fn add(at: Ptr<List>, revision: u32, entry: (u8, u32, u32), sid: Ptr<u8>) -> Result<(), u32> {
    let (kind, flags, rights) = entry;
    let who = Sid::read(sid)?.bytes();
    let (from, mut list) = (end(at)?, at.get());
    if !LIST_REVISIONS.contains(&revision) {
        return Err(REVISION_MISMATCH);
    }
    let len = 8 + who.len();
    if from + len > list.len.into() {
        return Err(ALLOTTED_SPACE_EXCEEDED);
    }
    let mut bytes = vec![kind, flags as u8];
    bytes.extend((len as u16).to_le_bytes());
    bytes.extend(rights.to_le_bytes());
    bytes.extend(who);
    at.cast::<u8>().at(from).fill(&bytes);
    list.count += 1;
    list.revision = list.revision.max(revision as u8);
    at.set(list);
    Ok(())
}

extern "win64" fn AddAccessAllowedAce(list: Ptr<List>, revision: u32, rights: u32, sid: Ptr<u8>) -> Bool {
    answer(add(list, revision, (ALLOWED, 0, rights), sid))
}

extern "win64" fn AddAccessAllowedAceEx(
    list: Ptr<List>,
    revision: u32,
    flags: u32,
    rights: u32,
    sid: Ptr<u8>,
) -> Bool {
    answer(add(list, revision, (ALLOWED, flags, rights), sid))
}

extern "win64" fn AddAccessDeniedAce(list: Ptr<List>, revision: u32, rights: u32, sid: Ptr<u8>) -> Bool {
    answer(add(list, revision, (DENIED, 0, rights), sid))
}

extern "win64" fn IsValidAcl(list: Ptr<List>) -> Bool {
    (!list.is_null() && end(list).is_ok()).into()
}

table! {
    /// Descriptors and lists, in advapi32.
    pub(crate) TABLE:
        InitializeSecurityDescriptor, IsValidSecurityDescriptor, SetSecurityDescriptorOwner, SetSecurityDescriptorGroup,
        SetSecurityDescriptorDacl, GetSecurityDescriptorDacl, InitializeAcl, AddAccessAllowedAce, AddAccessAllowedAceEx,
        AddAccessDeniedAce, IsValidAcl
}
