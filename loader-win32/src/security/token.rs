//! What a process may do, as its token says it: who it runs for, in which groups, at which level. The host's user is a user of
//! this machine; the host's root is an administrator with all rights in force. Nobody here holds privileges.

use super::sid::Sid;
use crate::{
    guest::Ptr,
    kernel32::{
        Bool, FALSE, TRUE, answer,
        error::code,
        fail,
        system::{computer_name, name, process_of},
        wait::object,
    },
    object::Kind,
    teb,
    text::{self, Text},
};
use rustix::process::geteuid;

const NO_TOKEN: u32 = 1008;
const NOT_ALL_ASSIGNED: u32 = 1300;
const NO_SUCH_PRIVILEGE: u32 = 1313;
const NONE_MAPPED: u32 = 1332;

/// Users of this machine have numbers from here on, less what the host counts up to for people.
const FIRST_USER: u32 = 1000;
/// The numbers that stand for this machine: it never joined anything that would have given it others.
const MACHINE: [u32; 4] = [21, 0, 0, 0];

fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that the process runs for.
fn user() -> Sid {
    let id = geteuid().as_raw();
    let number = if id < FIRST_USER { id.saturating_add(500) } else { id };
    Sid::new(5, &[&MACHINE[..], &[number]].concat())
}

/// The group `None`, which every user of a machine is in.
fn primary_group() -> Sid {
    Sid::new(5, &[&MACHINE[..], &[513]].concat())
}

/// Everyone, the users; administrators where it is one; interactive and authenticated users.
fn groups() -> Vec<Sid> {
    let administrators = is_root().then(|| Sid::new(5, &[32, 544]));
    let usual = [Sid::new(1, &[0]), Sid::new(5, &[32, 545]), Sid::new(5, &[4]), Sid::new(5, &[11])];
    std::iter::once(primary_group()).chain(usual).chain(administrators).collect()
}

/// High for an administrator, else medium.
fn level() -> Sid {
    Sid::new(16, &[if is_root() { 0x3000 } else { 0x2000 }])
}

const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;

/// The token of this process; others have none that could be opened.
extern "win64" fn OpenProcessToken(process: usize, _access: u32, out: Ptr<usize>) -> Bool {
    if out.is_null() {
        return fail(code::NOACCESS);
    }
    match process_of(process, PROCESS_QUERY_LIMITED_INFORMATION) {
        Ok(None) => {
            out.set(teb::process().objects.open(Kind::Token));
            TRUE
        }
        Ok(Some(_)) => fail(code::ACCESS_DENIED),
        Err(error) => fail(error),
    }
}

/// No thread speaks for anybody else.
extern "win64" fn OpenThreadToken(_thread: usize, _access: u32, _own: Bool, _out: Ptr<usize>) -> Bool {
    fail(NO_TOKEN)
}

/// That a handle is one of a token, or stands for that of this process; threads have none of their own.
pub(crate) fn is_token(handle: usize) -> Result<(), u32> {
    const OF_PROCESS: usize = usize::MAX - 3;
    const OF_THREAD: usize = usize::MAX - 4;
    const OF_EITHER: usize = usize::MAX - 5;
    match handle {
        OF_PROCESS | OF_EITHER => return Ok(()),
        OF_THREAD => return Err(NO_TOKEN),
        _ => {}
    }
    match object(handle)?.kind {
        Kind::Token => Ok(()),
        _ => Err(code::INVALID_HANDLE),
    }
}

/// Mandatory, enabled by default, enabled; and of the level: integrity.
const GROUP: u32 = 7;
const INTEGRITY: u32 = 0x60;

/// A structure that names identifiers which lie behind it: before each stands where it is, behind it what it is.
fn with_sids(head: &[u8], sids: &[(Sid, Option<u32>)], at: usize) -> Vec<u8> {
    let entry = |attributes: &Option<u32>| if attributes.is_some() { 16 } else { 8 };
    let mut place = at + head.len() + sids.iter().map(|(_, attributes)| entry(attributes)).sum::<usize>();
    let mut out = head.to_vec();
    for (sid, attributes) in sids {
        out.extend(place.to_le_bytes());
        attributes.iter().for_each(|a| out.extend(u64::from(*a).to_le_bytes()));
        place += sid.bytes().len();
    }
    sids.iter().for_each(|(sid, _)| out.extend(sid.bytes()));
    out
}

/// What a class of information holds, made for this place in memory.
fn information(class: u32, at: usize) -> Result<Vec<u8>, u32> {
    let number = |n: u32| Ok(n.to_le_bytes().to_vec());
    match class {
        1 => Ok(with_sids(&[], &[(user(), Some(0))], at)), // TokenUser
        2 => {
            let groups: Vec<_> = groups().into_iter().map(|group| (group, Some(GROUP))).collect();
            Ok(with_sids(&groups.len().to_le_bytes(), &groups, at)) // TokenGroups
        }
        3 => number(0),                                              // TokenPrivileges: none
        4 => Ok(with_sids(&[], &[(user(), None)], at)),              // TokenOwner
        5 => Ok(with_sids(&[], &[(primary_group(), None)], at)),     // TokenPrimaryGroup
        8 => number(1),                                              // TokenType: primary
        12 => number(crate::names::SESSION),                         // TokenSessionId
        15 | 29 => number(0),                                        // TokenSandBoxInert, TokenIsAppContainer
        18 => number(1),                // TokenElevationType: there is no other token
        20 => number(is_root().into()), // TokenElevation
        25 => Ok(with_sids(&[], &[(level(), Some(INTEGRITY))], at)), // TokenIntegrityLevel
        _ => Err(code::INVALID_PARAMETER),
    }
}

extern "win64" fn GetTokenInformation(
    token: usize,
    class: u32,
    to: Ptr<u8>,
    room: u32,
    len: Ptr<u32>,
) -> Bool {
    let told = is_token(token).and_then(|()| information(class, to.addr())).and_then(|bytes| {
        len.put(text::length(bytes.len()));
        match bytes.len() > room as usize || to.is_null() {
            true => Err(code::INSUFFICIENT_BUFFER),
            false => {
                to.fill(&bytes);
                Ok(())
            }
        }
    });
    answer(told)
}

/// No privilege is there to be changed: who asks for some is told that not all were, which is no failure.
extern "win64" fn AdjustTokenPrivileges(
    token: usize,
    all_off: Bool,
    wanted: Ptr<u32>,
    room: u32,
    before: Ptr<u32>,
    needed: Ptr<u32>,
) -> Bool {
    if let Err(error) = is_token(token) {
        return fail(error);
    }
    if all_off == FALSE && wanted.is_null() || !before.is_null() && needed.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    if !before.is_null() {
        needed.set(4);
        if room < 4 {
            return fail(code::INSUFFICIENT_BUFFER);
        }
        before.set(0);
    }
    let some = all_off == FALSE && wanted.get() > 0;
    teb::set_last_error(if some { NOT_ALL_ASSIGNED } else { 0 });
    TRUE
}

/// Privileges have numbers from 2 on, in this order (winnt.h).
const PRIVILEGES: [&str; 35] = [
    "CreateToken",
    "AssignPrimaryToken",
    "LockMemory",
    "IncreaseQuota",
    "MachineAccount",
    "Tcb",
    "Security",
    "TakeOwnership",
    "LoadDriver",
    "SystemProfile",
    "Systemtime",
    "ProfileSingleProcess",
    "IncreaseBasePriority",
    "CreatePagefile",
    "CreatePermanent",
    "Backup",
    "Restore",
    "Shutdown",
    "Debug",
    "Audit",
    "SystemEnvironment",
    "ChangeNotify",
    "RemoteShutdown",
    "Undock",
    "SyncAgent",
    "EnableDelegation",
    "ManageVolume",
    "Impersonate",
    "CreateGlobal",
    "TrustedCredManAccess",
    "Relabel",
    "IncreaseWorkingSet",
    "TimeZone",
    "CreateSymbolicLink",
    "DelegateSessionUserImpersonate",
];

/// The number of a privilege, in this system, which is the only one.
fn lookup(system: &str, name: &str, out: Ptr<u64>) -> Bool {
    const RPC_SERVER_UNAVAILABLE: u32 = 1722;
    if !system.is_empty() {
        return fail(RPC_SERVER_UNAVAILABLE);
    }
    match PRIVILEGES
        .iter()
        .zip(2..)
        .find(|(known, _)| name.eq_ignore_ascii_case(&format!("Se{known}Privilege")))
    {
        Some((_, number)) => {
            out.put(number);
            TRUE
        }
        None => fail(NO_SUCH_PRIVILEGE),
    }
}

extern "win64" fn LookupPrivilegeValue<T: Text>(system: Ptr<T>, name: Ptr<T>, out: Ptr<u64>) -> Bool {
    lookup(&T::string(system), &T::string(name), out)
}

/// Whether an identifier is in force for the process: no token can be named that is not its own.
extern "win64" fn CheckTokenMembership(token: usize, sid: Ptr<u8>, out: Ptr<Bool>) -> Bool {
    let token = if token == 0 { Ok(()) } else { is_token(token) };
    let sid = token.and_then(|()| Sid::read(sid).map_err(|_| code::INVALID_PARAMETER));
    answer(sid.map(|sid| out.put((sid == user() || groups().contains(&sid)).into())))
}

/// The name of the host's user: what the environment says, or its number.
fn user_name() -> String {
    let said = ["USERNAME", "USER", "LOGNAME"].iter().find_map(|n| teb::process().environment.get(n));
    said.filter(|name| !name.is_empty()).unwrap_or_else(|| geteuid().as_raw().to_string())
}

/// The length comes in and goes out through one place, and counts the zero.
fn counted<T: Copy + Default>(text: &[T], to: Ptr<T>, len: Ptr<u32>) -> Bool {
    if len.is_null() {
        return fail(code::INVALID_PARAMETER);
    }
    if to.is_null() || len.get() as usize <= text.len() {
        len.set(text::length(text.len() + 1));
        return fail(code::INSUFFICIENT_BUFFER);
    }
    let done = name(text, to, len);
    len.set(text::length(text.len() + 1));
    done
}

extern "win64" fn GetUserName<T: Text>(to: Ptr<T>, len: Ptr<u32>) -> Bool {
    counted(&T::of(&user_name()), to, len)
}

/// `SID_NAME_USE`: a user; a group that is known everywhere; one of this machine.
const USER: u32 = 1;
const ALIAS: u32 = 4;
const WELL_KNOWN: u32 = 5;

/// Name, domain and kind of those that a token has.
fn account(sid: &Sid) -> Result<(String, String, u32), u32> {
    let known: [(u64, &[u32], &str, &str, u32); 5] = [
        (1, &[0], "Everyone", "", WELL_KNOWN),
        (5, &[11], "Authenticated Users", "NT AUTHORITY", WELL_KNOWN),
        (5, &[18], "SYSTEM", "NT AUTHORITY", WELL_KNOWN),
        (5, &[32, 544], "Administrators", "BUILTIN", ALIAS),
        (5, &[32, 545], "Users", "BUILTIN", ALIAS),
    ];
    if *sid == user() {
        return Ok((user_name(), computer_name(), USER));
    }
    let found = known.iter().find(|(authority, numbers, ..)| *sid == Sid::new(*authority, numbers));
    found.map(|&(_, _, name, domain, kind)| (name.into(), domain.into(), kind)).ok_or(NONE_MAPPED)
}

/// Both texts go where there is room for both; then their lengths are without the zero, else with it.
fn tell<T: Copy + Default>(texts: [&[T]; 2], places: [(Ptr<T>, Ptr<u32>); 2]) -> Result<(), u32> {
    if places.iter().any(|(_, len)| len.is_null()) {
        return Err(code::INVALID_PARAMETER);
    }
    let all = || texts.iter().zip(&places);
    let fits = all().all(|(text, (_, len))| text.len() < len.get() as usize);
    for (text, (to, len)) in all() {
        if fits && !to.is_null() {
            text::answer(text, *to, len.get());
        }
        len.set(text::length(text.len() + usize::from(!fits)));
    }
    if fits { Ok(()) } else { Err(code::INSUFFICIENT_BUFFER) }
}

extern "win64" fn LookupAccountSid<T: Text>(
    _machine: Ptr<T>,
    sid: Ptr<u8>,
    name: Ptr<T>,
    name_len: Ptr<u32>,
    domain: Ptr<T>,
    domain_len: Ptr<u32>,
    kind: Ptr<u32>,
) -> Bool {
    let found = Sid::read(sid).map_err(|_| code::INVALID_PARAMETER).and_then(|sid| account(&sid));
    answer(found.and_then(|(n, d, k)| {
        let [n, d] = [n, d].map(|text| T::of(&text));
        tell([&n, &d], [(name, name_len), (domain, domain_len)])?;
        kind.put(k);
        Ok(())
    }))
}

table! {
    /// Tokens, privileges and accounts, in advapi32.
    pub(crate) TABLE:
        OpenProcessToken, OpenThreadToken, GetTokenInformation, AdjustTokenPrivileges,
        LookupPrivilegeValueW = LookupPrivilegeValue::<u16>, LookupPrivilegeValueA = LookupPrivilegeValue::<u8>,
        CheckTokenMembership, GetUserNameW = GetUserName::<u16>, GetUserNameA = GetUserName::<u8>,
        LookupAccountSidW = LookupAccountSid::<u16>, LookupAccountSidA = LookupAccountSid::<u8>
}
