//! The user's side of a helper: it is started, asked, watched while it works, and killed.
//!
//! Whoever asks waits, and looks meanwhile at what the guest prints, takes and uses; nothing that the guest does can make the
//! wait longer than its limit. Refused calls are another thread's matter ([`Refusals`]).

use crate::{
    Failure, Limit, Output,
    confine::RefusedCall,
    os,
    refusals::Refusals,
    serve::{self, MARK},
    shared::{self, ENDED, Shared, Word},
    usage::Usage,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg, sockopt::set_socket_passcred,
    },
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            fs::FileExt,
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// What the helper is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) folder: Option<PathBuf>,
    /// Whether the kernel is to choose the same addresses every time.
    pub(crate) same_places: bool,
    pub(crate) output: Output,
}

/// What there is only so much of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) memory: Option<u64>,
    pub(crate) cpu: Option<Duration>,
    pub(crate) wall: Duration,
    pub(crate) output: u64,
}

impl Limits {
    /// How much memory above its limit the kernel lets the guest have until somebody looks.
    pub(crate) fn leeway(&self) -> Option<u64> {
        self.memory.map(|most| most / 8 + (1 << 20))
    }

    /// More memory than this the kernel gives to nobody: a copy of the helper has some in the place of what is shared.
    pub(crate) fn hard(&self) -> Option<u64> {
        let more = self.leeway()?.saturating_add(shared::LEN as u64);
        self.memory.map(|most| most.saturating_add(more))
    }
}

/// How a wait came to its end.
#[derive(Debug)]
pub(crate) enum Woken {
    Replied(Vec<u8>),
    Faulted(Vec<u8>),
    Over(Limit),
    Ended(ExitStatus),
}

/// The helper.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    alive: OwnedFd,
    channel: UnixStream,
    shared: Shared,
    printed: [Printed; 2],
    guest: Option<Guest>,
    refusals: Option<Refusals>,
    number: u64,
    over: bool,
}

/// How often it is looked at what the guest takes. It can take more in between, but not more than the kernel lets it.
const TICK: Duration = Duration::from_millis(5);
/// How long the helper may take to start; no foreign code runs then.
const STARTING: Duration = Duration::from_secs(60);
/// How long the warden may take to kill everything.
const ENDING: Duration = Duration::from_secs(5);

impl Process {
    pub(crate) fn start(start: &Start) -> Result<Self, Failure> {
        if !serve::is_carried() {
            let error = io::Error::other("this program cannot be started again as one");
            return Err(Failure::System { what: "start a helper", error });
        }
        Self::spawn(start).map_err(Failure::system("start a helper"))
    }

    fn spawn(start: &Start) -> io::Result<Self> {
        let shared = Shared::new()?;
        let (channel, far) = UnixStream::pair()?;
        set_socket_passcred(&channel, true)?;
        channel.set_nonblocking(true)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("loader-sandbox").env_clear().envs(start.environment.iter().cloned()).env(MARK, "1");
        if let Some(folder) = &start.folder {
            command.current_dir(folder);
        }
        if start.same_places {
            os::place_alike(&mut command);
        }
        let output = || match start.output {
            Output::Kept(_) => Stdio::piped(),
            Output::Inherited => Stdio::inherit(),
            Output::Discarded => Stdio::null(),
        };
        let mut child =
            command.stdin(OwnedFd::from(far)).stdout(output()).stderr(output()).process_group(0).spawn()?;
        let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let alive = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let helper = |alive| Self {
            child,
            alive,
            channel,
            shared,
            printed: pipes.map(|pipe| Printed { pipe: pipe.map(File::from), bytes: Vec::new() }),
            guest: None,
            refusals: None,
            number: 0,
            over: false,
        };
        Ok(helper(alive?))
    }

    /// The guest's process, as this one knows it.
    pub(crate) fn guest(&self) -> Option<Pid> {
        self.guest.as_ref().map(|guest| guest.pid)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// What the guest printed since this was last asked: to its standard output, and to its standard error.
    pub(crate) fn take_printed(&mut self) -> [Vec<u8>; 2] {
        self.printed.each_mut().map(|printed| std::mem::take(&mut printed.bytes))
    }

    /// The calls that were refused since this was last asked; the first of them, if they were many.
    pub(crate) fn take_refused(&self) -> Vec<RefusedCall> {
        self.refusals.as_ref().map(Refusals::take).unwrap_or_default()
    }

    /// Asks the helper to begin, and finds out which process the guest is to live in.
    pub(crate) fn begin(&mut self, request: &[u8]) -> io::Result<Woken> {
        let file = self.shared.file().try_clone()?;
        let limits = Limits { memory: None, cpu: None, wall: STARTING, output: u64::MAX };
        let woken = self.ask(request, Some(&file), &limits)?;
        if let Some(guest) = &mut self.guest {
            guest.base = guest.usage().unwrap_or_default();
        }
        Ok(woken)
    }

    /// Asks for something and waits for what comes of it.
    pub(crate) fn ask(
        &mut self,
        request: &[u8],
        attached: Option<&File>,
        limits: &Limits,
    ) -> io::Result<Woken> {
        self.number += 1;
        if !self.shared.ask(self.number, request)? {
            return Err(Errno::TOOBIG.into());
        }
        let used = self.cpu_time();
        self.send(attached)?;
        self.wait(limits, used)
    }

    fn send(&self, attached: Option<&File>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        let descriptors = attached.map(|file| [file.as_fd()]);
        if let Some(descriptors) = &descriptors {
            message.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        match sendmsg(&self.channel, &[IoSlice::new(&[1])], &mut message, SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::AGAIN) => Ok(()), // the wait says how it ended, or ends
            Err(error) => Err(error.into()),
        }
    }

    fn wait(&mut self, limits: &Limits, used: Duration) -> io::Result<Woken> {
        let until = Instant::now().checked_add(limits.wall);
        let mut looked = Instant::now();
        loop {
            let left = until.map_or(TICK, |until| until.saturating_duration_since(Instant::now()));
            let ended = self.sleep(left.min(TICK))?;
            self.hear()?;
            let now = Instant::now();
            let woken = self.woken()?;
            let at_last = woken.is_some() || ended || until.is_some_and(|until| now >= until);
            if self.printed.iter().map(|p| p.bytes.len() as u64).sum::<u64>() > limits.output {
                return Ok(Woken::Over(Limit::Output));
            }
            if at_last || now - looked >= TICK {
                looked = now;
                if let Some(limit) = self.excess(limits, used) {
                    return Ok(Woken::Over(limit));
                }
            }
            match woken {
                Some(woken) => return Ok(woken),
                None if ended => return self.ending().map(Woken::Ended),
                None if at_last => return Ok(Woken::Over(Limit::Wall)),
                None => {}
            }
        }
    }

    /// Sleeps until something happens, and says whether the helper has ended.
    fn sleep(&self, time: Duration) -> io::Result<bool> {
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let mut all =
            vec![PollFd::new(&self.alive, PollFlags::IN), PollFd::new(&self.channel, PollFlags::IN)];
        let pipes = self.printed.iter().filter_map(|printed| printed.pipe.as_ref());
        all.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut all, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => Ok(all[0].revents().contains(PollFlags::IN)),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the guest printed, and what the helper says of itself.
    fn hear(&mut self) -> io::Result<()> {
        self.printed.iter_mut().try_for_each(Printed::hear)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(1))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 256];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        if recvmsg(&self.channel, &mut [IoSliceMut::new(&mut bytes)], &mut message, flags).is_err() {
            return Ok(());
        }
        for message in message.drain() {
            match message {
                RecvAncillaryMessage::ScmCredentials(sender) if self.guest.is_none() => {
                    self.guest = Guest::new(sender.pid).ok();
                }
                // With the first answer; no foreign code has run by then.
                RecvAncillaryMessage::ScmRights(mut descriptors) if self.number == 1 => {
                    self.refusals =
                        descriptors.next().map(|listener| Refusals::hear(listener.into())).transpose()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What has come: a fault goes before an answer.
    fn woken(&self) -> io::Result<Option<Woken>> {
        if self.shared.word(Word::Faults)? != 0 {
            return self.shared.record().map(Woken::Faulted).map(Some);
        }
        Ok(self.shared.answer(self.number)?.map(Woken::Replied))
    }

    /// The limit that the guest is over, or a copy of it: each of them may use as much.
    fn excess(&self, limits: &Limits, used: Duration) -> Option<Limit> {
        let guest = self.guest.as_ref()?;
        let of_a_copy = || guest.copies().find_map(|copy| copy.excess(limits, Duration::ZERO));
        guest.excess(limits, used).or_else(of_a_copy)
    }

    fn cpu_time(&self) -> Duration {
        self.guest.as_ref().map(Guest::cpu_time).unwrap_or_default()
    }

    /// How the guest's process ended, now that its warden has: as the warden says.
    fn ending(&mut self) -> io::Result<ExitStatus> {
        let own = self.child.wait()?;
        self.over = true;
        let told = self.shared.word(Word::Ending)?;
        let told = (told & ENDED != 0).then(|| ExitStatus::from_raw((told as u32).cast_signed()));
        Ok(told.unwrap_or(own))
    }

    /// Kills the guest and everything that it started, and reaps the helper.
    pub(crate) fn end(&mut self) {
        if self.over {
            return;
        }
        self.over = true;
        let _ = self.channel.shutdown(Shutdown::Both); // the warden's sign
        let time = Timespec { tv_sec: ENDING.as_secs() as i64, tv_nsec: 0 };
        let mut gone = [PollFd::new(&self.alive, PollFlags::IN)];
        while poll(&mut gone, Some(&time)) == Err(Errno::INTR) {}
        let _ = self.child.kill(); // a warden that somebody stopped
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// One of the guest's two outputs.
#[derive(Debug)]
struct Printed {
    pipe: Option<File>,
    bytes: Vec<u8>,
}

impl Printed {
    /// Takes what is there. What comes faster than it can be taken is left for the next time.
    fn hear(&mut self) -> io::Result<()> {
        const AT_ONCE: usize = 1 << 20;
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let before = self.bytes.len();
        while self.bytes.len() - before < AT_ONCE && is_readable(pipe)? {
            let mut bytes = [0; 1 << 16];
            match pipe.read(&mut bytes)? {
                0 => {
                    self.pipe = None;
                    return Ok(());
                }
                len => self.bytes.extend_from_slice(&bytes[..len]),
            }
        }
        Ok(())
    }
}

fn is_readable(pipe: &File) -> io::Result<bool> {
    let mut one = [PollFd::new(pipe, PollFlags::IN)];
    match poll(&mut one, Some(&Timespec::default())) {
        Ok(n) => Ok(n > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The process in which the guest's code runs, or a copy of it.
#[derive(Debug)]
struct Guest {
    pid: Pid,
    /// Its pages, as the system counts them.
    pages: File,
    /// The processes that it made, where the kernel lists them.
    children: Option<File>,
    base: Usage,
}

impl Guest {
    fn new(pid: Pid) -> io::Result<Self> {
        let own = |name: String| File::open(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
        let children = own(format!("task/{}/children", pid.as_raw_nonzero())).ok();
        Ok(Self { pid, pages: own("statm".into())?, children, base: Usage::default() })
    }

    /// The copies of this process that there are now.
    fn copies(&self) -> impl Iterator<Item = Self> {
        let mut text = [0; 4096];
        let len = self.children.as_ref().and_then(|list| list.read_at(&mut text, 0).ok()).unwrap_or(0);
        let pids: Vec<i32> = text[..len]
            .split(|&b| b == b' ')
            .filter_map(|pid| str::from_utf8(pid).ok()?.parse().ok())
            .collect();
        // In the place of what is shared a copy has memory of its own.
        let base = Usage { data: self.base.data + shared::LEN as u64, ..self.base };
        pids.into_iter().filter_map(move |pid| Some(Self { base, ..Self::new(Pid::from_raw(pid)?).ok()? }))
    }

    fn cpu_time(&self) -> Duration {
        os::cpu_time(self.pid).unwrap_or_default()
    }

    /// The limit that it is over, when it had used so much time before.
    fn excess(&self, limits: &Limits, used: Duration) -> Option<Limit> {
        if limits.memory.is_some_and(|most| self.is_over(most)) {
            return Some(Limit::Memory);
        }
        let cpu = self.cpu_time().saturating_sub(used);
        limits.cpu.is_some_and(|most| cpu > most).then_some(Limit::Cpu)
    }

    fn usage(&self) -> Option<Usage> {
        Usage::read(&self.pages)
    }

    /// Whether it has taken more than this since it began.
    fn is_over(&self, most: u64) -> bool {
        let shared = most.saturating_add(shared::LEN as u64);
        self.usage().is_some_and(|now| {
            now.data.saturating_sub(self.base.data) > most
                || now.shared.saturating_sub(self.base.shared) > shared
        })
    }
}
