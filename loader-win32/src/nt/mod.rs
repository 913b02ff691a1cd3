//! What programs ask of NT itself, below KERNEL32: files by their NT names, transfers, statuses.
#![allow(non_snake_case)]

pub(crate) mod calls;
pub(crate) mod completion;
pub(crate) mod file;
pub(crate) mod handles;
pub(crate) mod image;
pub(crate) mod keyed;
pub(crate) mod ldr;
pub(crate) mod memory;
mod numbers;
pub(crate) mod objects;
pub(crate) mod paths;
pub(crate) mod resource;
pub(crate) mod section;
pub(crate) mod status;
pub(crate) mod thread;
pub(crate) mod types;
