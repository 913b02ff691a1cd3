//! advapi32's part of security: identifiers, tokens, descriptors. What they say is true of the process; nothing is guarded by
//! them here, as the host decides who may do what.
#![allow(non_snake_case)]

pub(crate) mod descriptor;
pub(crate) mod sid;
pub(crate) mod token;
