//! ws2_32 without a network: no socket can be had, so nothing is one, and no name leads anywhere. Events are KERNEL32's.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    kernel32::{
        Bool, FALSE,
        named::{CreateEventW, ResetEvent, SetEvent},
        system::computer_name,
        wait::{CloseHandle, WaitForMultipleObjectsEx},
    },
    teb,
    text::Text,
};

const INVALID_SOCKET: usize = usize::MAX;
const SOCKET_ERROR: i32 = -1;
const WSAEFAULT: u32 = 10014;
const WSAEINVAL: u32 = 10022;
const WSAENOTSOCK: u32 = 10038;
const WSAEAFNOSUPPORT: u32 = 10047;
const WSAHOST_NOT_FOUND: u32 = 11001;
const WSANO_DATA: u32 = 11004;

fn refuse(error: u32) -> i32 {
    teb::set_last_error(error);
    SOCKET_ERROR
}

/// No family of addresses has sockets here.
extern "win64" fn socket() -> usize {
    refuse(WSAEAFNOSUPPORT);
    INVALID_SOCKET
}

/// What is done to a socket, for nothing is one.
extern "win64" fn not_a_socket() -> i32 {
    refuse(WSAENOTSOCK)
}

extern "win64" fn accept() -> usize {
    refuse(WSAENOTSOCK);
    INVALID_SOCKET
}

/// The same with the answer that is a truth value.
extern "win64" fn no_result() -> Bool {
    refuse(WSAENOTSOCK);
    FALSE
}

/// Waits for what no set names.
extern "win64" fn select(
    _highest: i32,
    to_read: Ptr<u32>,
    to_write: Ptr<u32>,
    to_fail: Ptr<u32>,
    _time: Ptr<[i32; 2]>,
) -> i32 {
    let sets = [to_read, to_write, to_fail];
    let any = sets.iter().any(|set| !set.is_null() && set.get() != 0);
    refuse(if any { WSAENOTSOCK } else { WSAEINVAL })
}

extern "win64" fn gethostname<T: Text>(to: Ptr<T>, room: i32) -> i32 {
    let name = [&T::of(&computer_name())[..], &[T::default()]].concat();
    if to.is_null() || usize::try_from(room).map_or(true, |room| room < name.len()) {
        return refuse(WSAEFAULT);
    }
    to.fill(&name);
    0
}

/// No name is known.
extern "win64" fn no_address(_name: usize, _service: usize, _hints: usize, out: Ptr<usize>) -> u32 {
    out.put(0);
    teb::set_last_error(WSAHOST_NOT_FOUND);
    WSAHOST_NOT_FOUND
}

/// Frees nothing: none was ever given.
extern "win64" fn free_addresses(_list: usize) {}

/// No address has a name.
extern "win64" fn no_name() -> u32 {
    teb::set_last_error(WSAHOST_NOT_FOUND);
    WSAHOST_NOT_FOUND
}

/// The older forms, whose answer is an address.
extern "win64" fn no_host() -> usize {
    refuse(WSAHOST_NOT_FOUND);
    0
}

/// No list of services or protocols.
extern "win64" fn no_entry() -> usize {
    refuse(WSANO_DATA);
    0
}

extern "win64" fn WSACreateEvent() -> usize {
    CreateEventW(Ptr::NULL, 1, 0, Ptr::NULL)
}

table! {
    /// The part of ws2_32 that is about sockets, by name.
    pub(crate) TABLE:
        socket, WSASocketA = socket, WSASocketW = socket, accept, bind = not_a_socket, closesocket = not_a_socket,
        connect = not_a_socket, getpeername = not_a_socket, getsockname = not_a_socket, getsockopt = not_a_socket,
        ioctlsocket = not_a_socket, listen = not_a_socket, recv = not_a_socket, recvfrom = not_a_socket, select,
        send = not_a_socket, sendto = not_a_socket, setsockopt = not_a_socket, shutdown = not_a_socket,
        WSARecv = not_a_socket, WSARecvFrom = not_a_socket, WSASend = not_a_socket, WSASendTo = not_a_socket,
        WSAIoctl = not_a_socket, WSADuplicateSocketA = not_a_socket, WSADuplicateSocketW = not_a_socket,
        WSAEventSelect = not_a_socket, WSAEnumNetworkEvents = not_a_socket, WSAGetOverlappedResult = no_result,
        gethostname = gethostname::<u8>, GetHostNameW = gethostname::<u16>, gethostbyname = no_host, gethostbyaddr = no_host, getservbyname = no_entry,
        getservbyport = no_entry, getprotobyname = no_entry, getprotobynumber = no_entry, getaddrinfo = no_address,
        GetAddrInfoW = no_address, freeaddrinfo = free_addresses, FreeAddrInfoW = free_addresses,
        getnameinfo = no_name, GetNameInfoW = no_name, WSACreateEvent, WSACloseEvent = CloseHandle,
        WSASetEvent = SetEvent, WSAResetEvent = ResetEvent, WSAWaitForMultipleEvents = WaitForMultipleObjectsEx
}

/// The same by ordinal, as most images ask for them.
pub(crate) const ORDINALS: [(u16, *const ()); 24] = [
    (1, accept as *const ()),
    (2, not_a_socket as *const ()),
    (3, not_a_socket as *const ()),
    (4, not_a_socket as *const ()),
    (5, not_a_socket as *const ()),
    (6, not_a_socket as *const ()),
    (7, not_a_socket as *const ()),
    (10, not_a_socket as *const ()),
    (13, not_a_socket as *const ()),
    (16, not_a_socket as *const ()),
    (17, not_a_socket as *const ()),
    (18, select as *const ()),
    (19, not_a_socket as *const ()),
    (20, not_a_socket as *const ()),
    (21, not_a_socket as *const ()),
    (22, not_a_socket as *const ()),
    (23, socket as *const ()),
    (51, no_host as *const ()),
    (52, no_host as *const ()),
    (53, no_entry as *const ()),
    (54, no_entry as *const ()),
    (55, no_entry as *const ()),
    (56, no_entry as *const ()),
    (57, gethostname::<u8> as *const ()),
];
