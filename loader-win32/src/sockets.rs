//! ws2_32: the start, the end, numbers in network order, addresses as text. The sockets themselves are still to come.
#![allow(non_snake_case)]

use crate::{Advice, guest::Ptr, rtl::address::v4, teb};
use std::{
    cell::Cell,
    net::{Ipv4Addr, Ipv6Addr},
};

/// `WSADATA`, 64 bits: the version agreed on, the highest there is, and texts.
#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    version: u16,
    highest: u16,
    sockets: u16,
    datagram: u16,
    vendor: usize,
    description: [u8; 257],
    status: [u8; 129],
}

const _: () = assert!(size_of::<Data>() == 408);

const HIGHEST: u16 = 0x0202;

/// Agrees on a version: the one wanted, at most 2.2.
extern "win64" fn WSAStartup(wanted: u16, out: Ptr<Data>) -> i32 {
    if teb::process().note("WSAStartup", Advice::Never).is_err() {
        return 10091; // WSASYSNOTREADY
    }
    let order = |v: u16| v.swap_bytes(); // the major version is the low byte
    if wanted & 0xff == 0 {
        return 10092; // WSAVERNOTSUPPORTED
    }
    let version = if order(wanted) > order(HIGHEST) { HIGHEST } else { wanted };
    out.put(Data {
        version,
        highest: HIGHEST,
        sockets: 0,
        datagram: 0,
        vendor: 0,
        description: [0; 257],
        status: [0; 129],
    });
    0
}

extern "win64" fn WSACleanup() -> i32 {
    0
}

extern "win64" fn WSAGetLastError() -> u32 {
    teb::with(|t| t.last_error.get())
}

extern "win64" fn WSASetLastError(code: u32) {
    teb::set_last_error(code);
}

extern "win64" fn htons(n: u16) -> u16 {
    n.to_be()
}

extern "win64" fn htonl(n: u32) -> u32 {
    n.to_be()
}

const AF_INET: i32 = 2;
const AF_INET6: i32 = 23;
const WSAEFAULT: u32 = 10014;
const WSAEAFNOSUPPORT: u32 = 10047;
const INVALID_PARAMETER: u32 = 87;

/// One to four numbers, of which the last fills what the others leave, and nothing else.
fn address(text: &str) -> Option<u32> {
    v4(text, false).ok().filter(|found| found.1 == text.len()).map(|found| found.0)
}

extern "win64" fn inet_addr(text: Ptr<u8>) -> u32 {
    address(&text.string()).map_or(u32::MAX, u32::to_be)
}

thread_local! {
    /// The last text that `inet_ntoa` gave out.
    static TEXT: Cell<[u8; 16]> = const { Cell::new([0; 16]) };
}

extern "win64" fn inet_ntoa(address: u32) -> usize {
    let text = Ipv4Addr::from(address.to_ne_bytes()).to_string();
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    TEXT.with(|place| {
        place.set(bytes);
        place.as_ptr().expose_provenance()
    })
}

/// 1, 0 for a text that is no address, or -1 and why.
extern "win64" fn inet_pton(family: i32, text: Ptr<u8>, out: Ptr<u8>) -> i32 {
    if text.is_null() || out.is_null() {
        teb::set_last_error(WSAEFAULT);
        return -1;
    }
    let text = text.string();
    let bytes = match family {
        AF_INET => text.parse::<Ipv4Addr>().map(|a| a.octets().to_vec()),
        AF_INET6 => text.parse::<Ipv6Addr>().map(|a| a.octets().to_vec()),
        _ => {
            teb::set_last_error(WSAEAFNOSUPPORT);
            return -1;
        }
    };
    bytes.map_or(0, |bytes| {
        out.fill(&bytes);
        1
    })
}

/// The text, or null and why.
extern "win64" fn inet_ntop(family: i32, from: Ptr<u8>, to: Ptr<u8>, room: usize) -> Ptr<u8> {
    let text = match family {
        AF_INET => Ipv4Addr::from(from.cast::<[u8; 4]>().get()).to_string(),
        AF_INET6 => Ipv6Addr::from(from.cast::<[u8; 16]>().get()).to_string(),
        _ => {
            teb::set_last_error(WSAEAFNOSUPPORT);
            return Ptr::NULL;
        }
    };
    if text.len() >= room {
        teb::set_last_error(INVALID_PARAMETER);
        return Ptr::NULL;
    }
    to.fill(text.as_bytes());
    to.at(text.len()).set(0);
    to
}

/// `fd_set`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sockets {
    count: u32,
    sockets: [usize; 64],
}

extern "win64" fn __WSAFDIsSet(socket: usize, set: Ptr<Sockets>) -> i32 {
    let set = set.get();
    set.sockets.iter().take(set.count as usize).any(|&s| s == socket).into()
}

table! {
    /// ws2_32.
    pub(crate) WS2_32:
        WSAStartup, WSACleanup, WSAGetLastError, WSASetLastError, htons, ntohs = htons, htonl, ntohl = htonl,
        inet_addr, inet_ntoa, inet_pton, inet_ntop, __WSAFDIsSet
}

/// The same by ordinal, as most images ask for them.
pub(crate) const ORDINALS: [(u16, *const ()); 11] = [
    (8, htonl as *const ()),
    (9, htons as *const ()),
    (11, inet_addr as *const ()),
    (12, inet_ntoa as *const ()),
    (14, htonl as *const ()),
    (15, htons as *const ()),
    (111, WSAGetLastError as *const ()),
    (112, WSASetLastError as *const ()),
    (115, WSAStartup as *const ()),
    (116, WSACleanup as *const ()),
    (151, __WSAFDIsSet as *const ()),
];
