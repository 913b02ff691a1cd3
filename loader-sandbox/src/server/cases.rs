//! The helper's side: one call for each input of a batch, kept from the next one as the [`Mode`] says.

use super::{Mode, Snapshot};
use crate::{
    confine,
    os::{self, Window},
    protocol::{self, Call, Ran, Reply, Trouble},
    serve::Harness,
    shared::Mapped,
};
use loader_core::call::Arg;
use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, WaitOptions, setrlimit, waitpid},
};
use std::{
    io,
    ops::Range,
    os::{fd::AsRawFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// What outlives a batch.
#[derive(Debug)]
pub(crate) struct Cases {
    /// Whether copies are kept from making processes, which this one may only because it makes the copies.
    confined: bool,
    /// Memory as it was before the first case.
    before: Option<Snapshot>,
    /// What a copy of the process writes its answer to.
    slate: Option<Window>,
}

/// How long an answer may be.
const ANSWER: usize = 64 << 10;

/// What a copy of the process has of its parent and gives up.
pub(crate) struct Ties<'h> {
    pub(crate) channel: &'h UnixStream,
    pub(crate) shared: &'h Mapped,
    pub(crate) cpu: Option<Duration>,
}

impl Cases {
    pub(crate) const fn new(confined: bool) -> Self {
        Self { confined, before: None, slate: None }
    }

    /// Runs a batch: the bytes of all inputs, and which of them are whose.
    pub(crate) fn run(
        &mut self,
        harness: &mut dyn Harness,
        call: &Call,
        mode: Mode,
        inputs: impl Iterator<Item = Range<u64>>,
        ties: &Ties<'_>,
    ) -> io::Result<Vec<Ran>> {
        match mode {
            Mode::Forks => {
                let slate = match &self.slate {
                    Some(slate) => slate,
                    None => self.slate.insert(Window::anonymous(8 + ANSWER)?),
                };
                let cut = || ties.cut(self.confined);
                inputs.map(|input| in_copy(harness, call, &input, cut, slate)).collect()
            }
            Mode::Restores => {
                let before = match &self.before {
                    Some(before) => before,
                    None => self.before.insert(kept::snapshot(harness)?),
                };
                let here = |input: Range<u64>| {
                    let answer = answer(harness, call, &input);
                    before.restore();
                    Ran::Answered(answer)
                };
                Ok(inputs.map(here).collect())
            }
        }
    }
}

/// Calls the function and gives the answer as it is sent.
fn answer(harness: &mut dyn Harness, call: &Call, input: &Range<u64>) -> Vec<u8> {
    let arguments = [Arg::Word(input.start), Arg::Word(input.end - input.start)];
    let called = harness.call(call.target, &call.symbol, &arguments);
    os::flush();
    let reply = called.map(|(integer, float)| Reply::Called { integer, float }).map_err(Trouble::from);
    protocol::encode(&reply).unwrap_or_default()
}

fn in_copy(
    harness: &mut dyn Harness,
    call: &Call,
    input: &Range<u64>,
    cut: impl Fn() -> io::Result<()>,
    slate: &Window,
) -> io::Result<Ran> {
    slate.publish(0, 0);
    let Some(copy) = os::fork()? else {
        let answered = catch_unwind(AssertUnwindSafe(|| {
            cut()?;
            let answer = answer(harness, call, input);
            if answer.len() <= ANSWER {
                slate.put(8, &answer);
                slate.publish(0, answer.len() as u64);
            }
            io::Result::Ok(())
        }));
        os::exit(i32::from(!matches!(answered, Ok(Ok(())))))
    };
    let status = end_of(copy)?;
    let len = slate.load(0) as usize;
    if status != 0 || len == 0 || len > ANSWER {
        return Ok(Ran::Ended(status));
    }
    let mut answer = vec![0; len];
    slate.get(8, &mut answer);
    Ok(Ran::Answered(answer))
}

fn end_of(copy: Pid) -> io::Result<i32> {
    loop {
        match waitpid(Some(copy), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.as_raw()),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Ties<'_> {
    /// In the copy: what the user's side is told comes from the original alone, and a fault ends the copy by its signal.
    fn cut(&self, confined: bool) -> io::Result<()> {
        self.shared.part()?;
        if confined {
            confine::no_more_processes()?;
        }
        os::close(self.channel.as_raw_fd());
        if let Some(cpu) = self.cpu {
            let most = Some(cpu.as_secs() + u64::from(cpu.subsec_nanos() != 0));
            setrlimit(Resource::Cpu, Rlimit { current: most, maximum: most.map(|s| s + 1) })?;
        }
        Ok(())
    }
}

/// Unsafe because of the memory that is put back.
#[allow(unsafe_code)]
mod kept {
    use super::{Harness, Snapshot, io};

    /// The memory of what was loaded. It stays loaded: a helper that serves cases is asked for nothing else.
    pub(super) fn snapshot(harness: &dyn Harness) -> io::Result<Snapshot> {
        // SAFETY: see above; the helper's one thread takes the snapshot and puts it back, between calls. What threads of
        // the guest's do meanwhile, they do to this process alone, which is there for it.
        unsafe { Snapshot::take(&harness.places()) }
    }
}
