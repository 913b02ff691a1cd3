//! Programs that look into this one from outside, debuggers and profilers: who tells them what is in memory.
//!
//! A load set tells its [`Tools`] of every module that an open brought, before any of its initialisers runs, and again
//! before its memory goes. Without tools, nobody is told: images on [`Flat`](crate::space::Flat) are in no process.

use crate::{Addr, Image, Placement};
use std::{fmt, path::Path};

/// A module that is in memory.
#[derive(Clone, Copy, Debug)]
pub struct InMemory<'a> {
    /// The name the user knows it by.
    pub name: &'a str,
    /// Its file, where it has one.
    pub path: Option<&'a Path>,
    /// Where it is.
    pub at: Placement,
    /// What it was parsed to.
    pub image: &'a dyn Image,
}

/// Whoever tells tools. Called with no lock held; it must not open or close.
pub trait Tools: Send + Sync + fmt::Debug {
    /// An open brought these modules; they are in memory.
    fn came(&self, modules: &[InMemory<'_>]);

    /// None of the modules at these bases runs any more; their memory is about to be given back.
    fn going(&self, bases: &[Addr]);
}
