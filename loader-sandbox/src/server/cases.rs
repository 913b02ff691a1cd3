//! The helper's side: one call for each input of a batch, kept from the next one as the [`Mode`] says.

use super::{Mode, Snapshot};
use crate::{
    Limit,
    confine::NoMoreProcesses,
    os::{self, Window},
    process::Limits,
    protocol::{self, Call, Ran, Trouble},
    serve::Harness,
    shared::Mapped,
};
use loader_core::{Error, call::Arg, deterministic::Moment, tls};
use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, waitpid},
};
use std::{
    collections::VecDeque,
    io,
    ops::Range,
    os::{fd::AsRawFd, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What outlives a batch.
#[derive(Debug)]
pub(crate) struct Cases {
    /// Whether copies are kept from making processes, which this one may only because it makes the copies.
    confined: bool,
    /// Memory as it was before the first case, and when that was.
    before: Option<(Snapshot, Moment)>,
    copies: Option<Copies>,
}

/// What copies of the process need, made once.
#[derive(Debug)]
struct Copies {
    /// What copies write their answers to: there are as many of them at a time as there are slates. While one ends, the
    /// next one is made.
    slates: [Slate; 2],
    /// What a copy is kept from.
    filter: Option<NoMoreProcesses>,
    fork: os::Fork,
}

/// Memory that a copy of the process shares with it.
#[derive(Debug)]
struct Slate(Window);

/// Where a slate has what: whether there is anything ([`RETURNED`], or the length of trouble), and two registers, or trouble.
const STATE: usize = 0;
const ANSWER: usize = 8;
/// How long trouble may be.
const LONGEST: usize = 64 << 10;
const RETURNED: u64 = u64::MAX;

/// What a copy of the process has of its parent and gives up.
pub(crate) struct Ties<'h> {
    pub(crate) channel: &'h UnixStream,
    pub(crate) shared: &'h Mapped,
    pub(crate) limits: Limits,
}

impl Cases {
    pub(crate) const fn new(confined: bool) -> Self {
        Self { confined, before: None, copies: None }
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
        let function = match harness.find(call.target, &call.symbol) {
            Ok(function) => function,
            Err(error) => return Ok(inputs.map(|_| failed(error.clone())).collect()),
        };
        match mode {
            Mode::Forks => {
                let copies = match &mut self.copies {
                    Some(copies) => copies,
                    None => self.copies.insert(Copies::new(self.confined)?),
                };
                copies.run(inputs, ties, |input| called(harness.call(&function, &arguments(&input))))
            }
            Mode::Restores => {
                let (memory, moment) = match &self.before {
                    Some(before) => before,
                    None => self.before.insert((kept::snapshot(harness)?, Moment::take())),
                };
                let here = |input| {
                    let ran = called(harness.call(&function, &arguments(&input)));
                    memory.restore();
                    moment.restore();
                    ran
                };
                Ok(inputs.map(here).collect())
            }
        }
    }
}

/// What the function is called with: where the input is, and its length.
fn arguments(input: &Range<u64>) -> [Arg; 2] {
    [Arg::Word(input.start), Arg::Word(input.end - input.start)]
}

/// What a call came to. What was printed is on its way.
fn called(result: Result<(u64, u64), Error>) -> Ran {
    os::flush();
    match result {
        Ok((integer, float)) => Ran::Returned(integer, float),
        Err(error) => failed(error),
    }
}

fn failed(trouble: impl Into<Trouble>) -> Ran {
    Ran::Failed(protocol::encode(&trouble.into()).unwrap_or_default())
}

impl Copies {
    fn new(confined: bool) -> io::Result<Self> {
        let filter = confined.then(NoMoreProcesses::prepare).transpose()?;
        // Only copies run code of the guest's from here on, so there will be no more threads than there are.
        let fork = if tls::only_thread() { os::Fork::untold() } else { os::Fork::told() };
        Ok(Self { slates: [Slate::new()?, Slate::new()?], filter, fork })
    }

    /// Runs each case in a copy of this process of its own.
    fn run(
        &mut self,
        inputs: impl Iterator<Item = Range<u64>>,
        ties: &Ties<'_>,
        mut case: impl FnMut(Range<u64>) -> Ran,
    ) -> io::Result<Vec<Ran>> {
        let (mut all, mut running) = (Vec::new(), VecDeque::new());
        for (input, slate) in inputs.zip((0..self.slates.len()).cycle()) {
            if running.len() == self.slates.len() {
                all.extend(self.oldest(&mut running)?);
            }
            match self.begin(slate, ties, || case(input)) {
                Ok(copy) => running.push_back((copy, slate)),
                Err(error) => {
                    while self.oldest(&mut running).is_ok_and(|ran| ran.is_some()) {}
                    return Err(error);
                }
            }
        }
        while let Some(ran) = self.oldest(&mut running)? {
            all.push(ran);
        }
        Ok(all)
    }

    /// Makes a copy of this process, which runs the case and ends.
    fn begin(&mut self, slate: usize, ties: &Ties<'_>, case: impl FnOnce() -> Ran) -> io::Result<Pid> {
        let slate = &self.slates[slate];
        slate.wipe();
        if let Some(copy) = self.fork.fork()? {
            return Ok(copy);
        }
        let answered = catch_unwind(AssertUnwindSafe(|| {
            ties.cut()?;
            self.filter.as_mut().map_or(Ok(()), NoMoreProcesses::enforce)?;
            let ran = case();
            slate.write(&ties.excess().map_or(ran, |limit| failed(Trouble::Over(limit))));
            io::Result::Ok(())
        }));
        os::exit(i32::from(!matches!(answered, Ok(Ok(())))))
    }

    /// What came of the copy that was made first, when it has ended; `None` where there is none.
    fn oldest(&self, running: &mut VecDeque<(Pid, usize)>) -> io::Result<Option<Ran>> {
        let Some((copy, slate)) = running.pop_front() else { return Ok(None) };
        let status = end_of(copy)?;
        let answer = self.slates[slate].read().filter(|_| status == 0);
        Ok(Some(answer.unwrap_or(Ran::Ended(status))))
    }
}

impl Slate {
    fn new() -> io::Result<Self> {
        Window::anonymous(ANSWER + LONGEST).map(Self)
    }

    fn wipe(&self) {
        self.0.publish(STATE, 0);
    }

    fn write(&self, ran: &Ran) {
        match ran {
            Ran::Returned(integer, float) => {
                self.0.put(ANSWER, &integer.to_le_bytes());
                self.0.put(ANSWER + 8, &float.to_le_bytes());
                self.0.publish(STATE, RETURNED);
            }
            Ran::Failed(trouble) if trouble.len() <= LONGEST => {
                self.0.put(ANSWER, trouble);
                self.0.publish(STATE, trouble.len() as u64);
            }
            Ran::Failed(_) | Ran::Ended(_) => {}
        }
    }

    /// What a copy has written, if it has.
    fn read(&self) -> Option<Ran> {
        let register = |at| {
            let mut bytes = [0; 8];
            self.0.get(at, &mut bytes);
            u64::from_le_bytes(bytes)
        };
        match self.0.load(STATE) {
            RETURNED => Some(Ran::Returned(register(ANSWER), register(ANSWER + 8))),
            len @ 1.. => {
                let mut trouble = vec![0; usize::try_from(len).ok().filter(|&len| len <= LONGEST)?];
                self.0.get(ANSWER, &mut trouble);
                Some(Ran::Failed(trouble))
            }
            0 => None,
        }
    }
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
    fn cut(&self) -> io::Result<()> {
        self.shared.part()?;
        os::close(self.channel.as_raw_fd());
        Ok(())
    }

    /// In the copy: the limit that it is over when its case is, and that nobody has noticed yet.
    fn excess(&self) -> Option<Limit> {
        if self.limits.leeway().is_some_and(|leeway| !os::has_room(leeway)) {
            return Some(Limit::Memory);
        }
        self.limits.cpu.is_some_and(|most| os::own_cpu_time() > most).then_some(Limit::Cpu)
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
