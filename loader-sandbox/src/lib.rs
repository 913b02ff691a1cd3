//! Foreign code in a process of its own: what it does there, it does to nobody else.
//!
//! ```text
//! the user's process                       the helper: the same program, started again, which never reaches `main`
//! Sandbox ── Process ── channel, shared memory ──► warden ── fork ──► serve: an engine behind `Harness`
//!    │          ├ limits: looked at while it waits     └ kills and reaps what the guest started
//!    │          └ Refusals: a thread that answers what confinement refuses
//!    └ Outcome: what came back, or how it failed
//! ```
//! Read in this order: [`Builder`] → [`Sandbox`] → [`Failure`] → `process` (the user's side) → `shared` and `protocol`
//! (what both sides know) → `serve` and `warden` (the helper's side) → [`report`] (what a fault was).
//!
//! This crate knows no engine: `loader` brings one, and the constructor that turns a started program into a helper. Its
//! users have it as `loader::sandbox`.
//!
//! Many cases of one function, each in the time of a fork or less: [`server`].
//!
//! [`Child`] is the plain tool beside it: any program, watched.

mod builder;
mod child;
pub mod confine;
mod memory;
mod os;
mod outcome;
mod process;
mod protocol;
mod refusals;
pub mod report;
mod sandbox;
pub mod serve;
pub mod server;
mod shared;
mod usage;
mod warden;

pub use builder::{Builder, Output};
pub use child::{Child, Ending, Report, behave_as_child, signal_name};
pub use memory::{Memory, Pages};
pub use outcome::{Failure, Limit, Outcome, Returned};
pub use protocol::{EngineSetup, Module, Target};
pub use sandbox::{Argument, Change, Happened, Loaded, Sandbox};
