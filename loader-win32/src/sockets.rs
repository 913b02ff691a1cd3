//! ws2_32: the start, the end, and the numbers in network order. The sockets themselves are still to come.
#![allow(non_snake_case)]

use crate::{Advice, guest::Ptr, teb};

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

table! {
    /// ws2_32.
    pub(crate) WS2_32:
        WSAStartup, WSACleanup, WSAGetLastError, WSASetLastError, htons, ntohs = htons, htonl, ntohl = htonl
}

/// The same by ordinal, as most images ask for them.
pub(crate) const ORDINALS: [(u16, *const ()); 8] = [
    (8, htonl as *const ()),
    (9, htons as *const ()),
    (14, htonl as *const ()),
    (15, htons as *const ()),
    (111, WSAGetLastError as *const ()),
    (112, WSASetLastError as *const ()),
    (115, WSAStartup as *const ()),
    (116, WSACleanup as *const ()),
];
