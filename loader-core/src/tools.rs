//! Who keeps lists of what is in memory: for programs that look into this one from outside, debuggers and profilers, and
//! for Windows code, which finds such lists in its process block.
//!
//! A load set tells its [`Tools`] of every module that an open brought, before any of its initialisers runs, and again
//! before its memory goes. Without tools, nobody is told: images on [`Flat`](crate::space::Flat) are in no process.

use crate::{Image, Placement};
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

/// Whoever keeps a list. Called with no lock held but, where Windows images are among the modules, the loader lock.
pub trait Tools: Send + Sync + fmt::Debug {
    /// An open brought these modules; they are in memory.
    fn came(&self, modules: &[InMemory<'_>]);

    /// The initialisers of this module are about to run.
    fn starting(&self, _module: &InMemory<'_>) {}

    /// None of these modules runs any more; their memory is about to be given back.
    fn going(&self, modules: &[InMemory<'_>]);
}
