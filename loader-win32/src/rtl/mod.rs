//! ntdll's run-time library: what programs call there by `Rtl` names, and the C functions that ntdll has too. One module
//! for each subject, as in `kernel32`, which has the same under other names where both have it.
#![allow(non_snake_case)]

pub(crate) mod address;
pub(crate) mod atom;
pub(crate) mod bitmap;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod counted;
pub(crate) mod environment;
pub(crate) mod error;
pub(crate) mod guid;
pub(crate) mod integer;
pub(crate) mod letters;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod path;
pub(crate) mod runtime;
pub(crate) mod system;
pub(crate) mod time;
pub(crate) mod unicode;

use loader_core::HostTable;

/// All of it.
pub(crate) const TABLES: &[HostTable] = &[
    address::TABLE,
    atom::TABLE,
    bitmap::TABLE,
    compare::TABLE,
    convert::TABLE,
    counted::TABLE,
    environment::TABLE,
    error::TABLE,
    guid::TABLE,
    integer::TABLE,
    letters::TABLE,
    memory::TABLE,
    message::TABLE,
    path::TABLE,
    runtime::TABLE,
    system::TABLE,
    time::TABLE,
    crate::variadic::NTDLL,
    unicode::TABLE,
    crate::kernel32::zones::NTDLL,
];
