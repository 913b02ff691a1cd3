//! Many cases of one function, `int f(const uint8_t *bytes, size_t len)`: the library is loaded once, and every case finds it
//! as it was then.
//!
//! ```text
//! the user's process                                   the helper: one thread, little memory
//! Server::run_all ── a batch of inputs ──► cases: Forks    fork ─► call ─► its answer, or how the copy ended
//!    │                                            Restores call ─► writable memory of what was loaded put back
//!    └ a batch that came to no good: one by one, each in a sandbox that nothing happened in
//! ```
//! Read [`Server`], then `cases` (the helper's side), then [`Snapshot`].

pub(crate) mod cases;
pub mod coverage;
mod snapshot;

pub use snapshot::Snapshot;

use crate::{
    Builder, Failure, Outcome, Returned, Sandbox,
    protocol::{self, Call, Ran, Target},
    sandbox::ending,
};
use loader_core::SymbolName;
use serde::{Deserialize, Serialize};
use std::{fmt, os::unix::process::ExitStatusExt, process::ExitStatus};

/// How a case is kept from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Each runs in a copy of the process, which ends with it. Whatever a case does, the next knows nothing of it.
    Forks,
    /// All run in one process, and after each the writable memory of what was loaded is what it was. Much faster; what
    /// lies elsewhere (thread-local variables, memory of the allocator, files) is not put back. A case that ends the
    /// process costs the start of another.
    Restores,
}

/// A function that is called for many inputs.
///
/// # Limits
/// Those of the sandbox hold for each case. A case that is over one when somebody looks is killed with the helper, and the next
/// one gets a new one; a copy of the process looks itself when its case is over.
pub struct Server<'l> {
    builder: Builder,
    load: Load<'l>,
    call: Call,
    mode: Mode,
    sandbox: Option<Sandbox>,
}

impl fmt::Debug for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("call", &self.call).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Loads what the function is in.
type Load<'l> = Box<dyn Fn(&mut Sandbox) -> Outcome<()> + 'l>;

/// How many inputs are sent at a time.
const BATCH: usize = 128;
/// Bytes of inputs that are sent at a time, unless one alone has more.
const BYTES: usize = 1 << 20;

impl<'l> Server<'l> {
    /// Starts a sandbox and lets `load` load what the function is in. It is called again whenever a case has ended the
    /// helper.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn start(
        builder: Builder,
        mode: Mode,
        symbol: impl Into<SymbolName>,
        load: impl Fn(&mut Sandbox) -> Outcome<()> + 'l,
    ) -> Outcome<Self> {
        let builder = if mode == Mode::Forks { builder.copies() } else { builder };
        let call = Call { target: Target::First, symbol: symbol.into() };
        let mut server = Self { builder, load: Box::new(load), call, mode, sandbox: None };
        server.sandbox()?;
        Ok(server)
    }

    fn sandbox(&mut self) -> Outcome<&mut Sandbox> {
        if self.sandbox.is_none() {
            let mut sandbox = self.builder.clone().start()?;
            (self.load)(&mut sandbox)?;
            self.sandbox = Some(sandbox);
        }
        self.sandbox.as_mut().ok_or(Failure::Gone)
    }

    /// Runs one case.
    ///
    /// # Errors
    /// Any [`Failure`]. A case that faults in a copy of the process is told by its signal alone ([`Failure::Died`]);
    /// [`Server::explain`] has more.
    pub fn run(&mut self, input: &[u8]) -> Outcome<Returned> {
        self.run_all(&[input]).pop().unwrap_or(Err(Failure::Garbled))
    }

    /// Runs cases, in this order. Many at a time are quicker than one after the other.
    pub fn run_all(&mut self, inputs: &[&[u8]]) -> Vec<Outcome<Returned>> {
        let mut outcomes = Vec::with_capacity(inputs.len());
        let mut rest = inputs;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(few(rest));
            match self.batch(batch) {
                Ok(batch) => outcomes.extend(batch),
                Err((failure, Blame::Case)) => outcomes.push(Err(failure)),
                Err((_, Blame::Somebody)) => outcomes.extend(batch.iter().map(|input| self.run(input))),
            }
            rest = later;
        }
        outcomes
    }

    fn batch(&mut self, inputs: &[&[u8]]) -> Result<Vec<Outcome<Returned>>, (Failure, Blame)> {
        let (call, mode) = (self.call.clone(), self.mode);
        let unused = self.sandbox.is_none();
        let blame = |alone| if alone && inputs.len() == 1 { Blame::Case } else { Blame::Somebody };
        let sandbox = self.sandbox().map_err(|failure| (failure, blame(true)))?;
        let ran = sandbox.cases(call, mode, inputs);
        let outcomes = ran.and_then(|ran| match ran.len() == inputs.len() {
            true => Ok(ran.into_iter().map(|ran| outcome(sandbox, ran)).collect()),
            false => Err(Failure::Garbled),
        });
        outcomes.map_err(|failure| match failure.is_survived() {
            true => (failure, blame(true)),
            false => {
                self.sandbox = None;
                (failure, blame(unused || mode == Mode::Forks))
            }
        })
    }

    /// Runs one case in a sandbox of its own, which is not copied: slow, and what is told of a fault is all that is known.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub fn explain(&self, input: &[u8]) -> Outcome<Returned> {
        let mut sandbox = self.builder.clone().start()?;
        (self.load)(&mut sandbox)?;
        sandbox.called(self.call.target, self.call.symbol.clone(), vec![input.into(), input.len().into()])
    }
}

/// Who is to blame for a batch that came to no good.
enum Blame {
    /// It is a single case, and nothing that others left can have led to it.
    Case,
    /// Nobody knows who: each has to be tried in a helper where nothing happened before.
    Somebody,
}

/// How many of these make a batch.
fn few(inputs: &[&[u8]]) -> usize {
    let mut bytes = 0;
    let fits = |input: &&&[u8]| {
        bytes += input.len();
        bytes <= BYTES
    };
    inputs.iter().take(BATCH).take_while(fits).count().max(1)
}

/// What one case came to.
fn outcome(sandbox: &Sandbox, ran: Ran) -> Outcome<Returned> {
    match ran {
        Ran::Returned(integer, float) => Ok(Returned { integer, float }),
        Ran::Failed(bytes) => Err(sandbox.trouble(protocol::decode(&bytes)?)),
        Ran::Ended(status) => Err(ending(ExitStatus::from_raw(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As this one is: no constructor of it turns it into a helper.
    #[test]
    fn a_program_that_cannot_be_started_again_is_told_so() {
        let server = Server::start(Builder::default(), Mode::Forks, "f", |_| Ok(()));
        let said = server.unwrap_err().to_string();
        assert_eq!(said, "cannot start a helper: this program cannot be started again as one");
    }

    #[test]
    fn a_batch_is_not_too_long_and_never_empty() {
        let (small, large) = ([0; 10], vec![0; BYTES]);
        assert_eq!(few(&[&small, &small]), 2);
        assert_eq!(few(&vec![&small[..]; 1000]), BATCH);
        assert_eq!(few(&[&small, &large, &small]), 1);
        assert_eq!(few(&[&large[..], &large]), 1);
        assert_eq!(few(&[&vec![0; BYTES + 1], &small]), 1);
    }
}
