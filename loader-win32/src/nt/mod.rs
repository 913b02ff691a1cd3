//! What programs ask of NT itself, below KERNEL32: files by their NT names, transfers, statuses.
#![allow(non_snake_case)]

pub(crate) mod calls;
pub(crate) mod file;
mod numbers;
pub(crate) mod status;
