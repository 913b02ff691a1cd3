//! Which system calls a confined process may make, and why: everything that is not here is refused.
//!
//! The groups are what code needs that computes, has threads, and reads files; what reaches out of the process is let
//! through only as far as its arguments say that it stays inside. Arguments that are addresses cannot be looked at: calls
//! whose meaning hides behind one (`clone3`, `openat2`) are answered as by a kernel that does not have them, and the C
//! library takes the older call.

use super::Policy;
use libc::{c_int, c_long};
use seccompiler::{
    SeccompCmpArgLen::Dword,
    SeccompCmpOp::{Eq, MaskedEq, Ne},
    SeccompCondition, SeccompRule,
};
use std::collections::BTreeMap;

/// Calls, and the cases in which they are allowed; no case means always.
pub(super) type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Memory of the process itself. `mmap` and its kin are in [`code`].
const MEMORY: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mseal,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
];

/// Threads that live and wait. Making them is in [`tasks`].
const THREADS: &[c_long] = &[
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_arch_prctl,
    libc::SYS_gettid,
    libc::SYS_getcpu,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_get_priority_max,
    libc::SYS_getpriority,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Signals that come. Sending them is in [`signals`].
const HANDLERS: &[c_long] = &[
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_restart_syscall,
    libc::SYS_pause,
];

/// Clocks are read, timers run out.
const TIME: &[c_long] = &[
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_times,
    libc::SYS_alarm,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
];

/// What is already open is used, and so are pipes of the process to itself. `fcntl` and `ioctl` are in [`descriptors`].
const DESCRIPTORS: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_dup,
    libc::SYS_dup2,
    libc::SYS_dup3,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_getdents64,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe,
    libc::SYS_pipe2,
    // Sockets that are connected already: the way to the parent, and pairs.
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
];

/// Names of files are looked at. What can be opened is in [`files`], and up to Landlock and the mount namespace.
const NAMES: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_umask,
];

/// Files and folders come and go, where Landlock and the mount namespace let them. What Landlock has no rule for (owner,
/// mode, times, attributes) cannot be changed at all.
const CHANGES: &[c_long] = &[
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
];

/// Who and where one is.
const SELF: &[c_long] = &[
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpgrp,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getresuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit, // downwards only: there is no capability for more
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// The network, where the policy allows it.
const NETWORK: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_setsockopt,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// Calls that are answered as by a kernel that does not have them.
pub(super) fn unknown() -> Rules {
    [libc::SYS_clone3, libc::SYS_openat2].map(|call| (call, Vec::new())).into()
}

/// What a process with this number may call under a policy.
pub(super) fn rules(policy: &Policy, pid: u32) -> Rules {
    let mut rules = Rules::new();
    for group in [MEMORY, THREADS, HANDLERS, TIME, DESCRIPTORS, NAMES, SELF] {
        always(&mut rules, group);
    }
    code(&mut rules, policy);
    tasks(&mut rules, policy);
    signals(&mut rules, policy, pid);
    files(&mut rules, policy);
    descriptors(&mut rules);
    itself(&mut rules, pid);
    if policy.network {
        always(&mut rules, NETWORK);
    }
    rules
}

fn always(rules: &mut Rules, calls: &[c_long]) {
    rules.extend(calls.iter().map(|&call| (call, Vec::new())));
}

/// The bits of `mask` of an argument are `value`.
fn bits(argument: u8, mask: u64, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Dword, MaskedEq(mask), value).expect("one of six arguments")
}

/// An argument, an `int`, is `value`.
fn is(argument: u8, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, Dword, Eq, value).expect("one of six arguments")
}

/// The case in which all of these hold.
fn when<const N: usize>(conditions: [SeccompCondition; N]) -> SeccompRule {
    SeccompRule::new(conditions.into()).expect("at least one condition")
}

/// The cases in which an argument is one of these.
fn one_of(argument: u8, values: impl IntoIterator<Item = u64>) -> Vec<SeccompRule> {
    values.into_iter().map(|value| when([is(argument, value)])).collect()
}

const fn word(value: c_int) -> u64 {
    value.cast_unsigned() as u64
}

/// The calls that give memory rights; which ones is their third argument.
const RIGHTS: [c_long; 3] = [libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect];
const WRITE: u64 = word(libc::PROT_WRITE);
const EXECUTE: u64 = word(libc::PROT_EXEC);

/// Memory that can be written and executed at once is refused; one after the other is how code is loaded.
fn code(rules: &mut Rules, policy: &Policy) {
    let not_both = || [0, WRITE, EXECUTE].map(|rights| when([bits(2, WRITE | EXECUTE, rights)])).to_vec();
    for call in RIGHTS {
        rules.insert(call, if policy.write_xor_execute { not_both() } else { Vec::new() });
    }
}

/// The calls that make memory executable.
pub(super) fn new_code() -> Rules {
    RIGHTS.map(|call| (call, vec![when([bits(2, EXECUTE, EXECUTE)])])).into()
}

/// The calls that make processes, and those that send signals to others than this process.
pub(super) fn new_processes(pid: u32) -> Rules {
    let other = SeccompCondition::new(0, Dword, Ne, pid.into()).expect("one of six arguments");
    let mut rules: Rules = SIGNALS.map(|call| (call, vec![when([other.clone()])])).into();
    rules.insert(libc::SYS_clone, vec![when([bits(0, word(libc::CLONE_THREAD), 0)])]);
    always(&mut rules, &[libc::SYS_fork, libc::SYS_vfork]);
    rules
}

/// Threads always, copies of the process where the policy allows them; neither in namespaces of their own, which would
/// give them capabilities there.
fn tasks(rules: &mut Rules, policy: &Policy) {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let thread = word(libc::CLONE_THREAD);
    if policy.processes {
        rules.insert(libc::SYS_clone, vec![when([bits(0, word(namespaces), 0)])]);
        always(rules, &[libc::SYS_fork, libc::SYS_vfork]);
    } else {
        rules.insert(libc::SYS_clone, vec![when([bits(0, word(namespaces) | thread, thread)])]);
    }
}

/// The calls that send signals; the first argument says to which process.
const SIGNALS: [c_long; 4] =
    [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo];

/// Signals to the process itself. Copies of it have other numbers: where they are allowed, it is up to Landlock that
/// nobody else is reached.
fn signals(rules: &mut Rules, policy: &Policy, pid: u32) {
    let own = || if policy.processes { Vec::new() } else { one_of(0, [pid.into()]) };
    for call in SIGNALS {
        rules.insert(call, own());
    }
}

/// Opening files: only for reading where nothing may be written, and not at all where nothing may be read either.
fn files(rules: &mut Rules, policy: &Policy) {
    let change = word(libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC);
    let reading = |flags| vec![when([bits(flags, change, word(libc::O_RDONLY))])];
    if !policy.write.is_empty() {
        always(rules, &[libc::SYS_open, libc::SYS_openat]);
        always(rules, CHANGES);
    } else if !policy.read.is_empty() {
        rules.insert(libc::SYS_open, reading(1));
        rules.insert(libc::SYS_openat, reading(2));
    }
}

/// Requests to what is open that stay with it. Left out are those that name a receiver of signals (`F_SETOWN`,
/// `F_SETSIG`), put words into a terminal's input (`TIOCSTI`), or reach a driver.
fn descriptors(rules: &mut Rules) {
    let fcntl = [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_GETLK,
        libc::F_SETLK,
        libc::F_SETLKW,
        libc::F_OFD_GETLK,
        libc::F_OFD_SETLK,
        libc::F_OFD_SETLKW,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
        libc::F_GETPIPE_SZ,
    ];
    rules.insert(libc::SYS_fcntl, one_of(1, fcntl.map(word)));
    let ioctl =
        [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];
    // The listener is answered in this process too, for as long as the filter is tried out.
    let answers = [libc::SECCOMP_IOCTL_NOTIF_RECV, libc::SECCOMP_IOCTL_NOTIF_SEND];
    rules.insert(libc::SYS_ioctl, one_of(1, ioctl.into_iter().chain(answers)));
    // Not pairs of SOCK_DGRAM: with such a socket one can send to any other that has a name.
    let pair = |kind| when([is(0, word(libc::AF_UNIX)), bits(1, 0xf, word(kind))]);
    rules.insert(libc::SYS_socketpair, [libc::SOCK_STREAM, libc::SOCK_SEQPACKET].map(pair).to_vec());
}

/// Calls that name a process, for this one; and what a process may set of itself. Its parent's death stays its own, and
/// so does who may look at it.
fn itself(rules: &mut Rules, pid: u32) {
    for call in [libc::SYS_process_vm_readv, libc::SYS_process_vm_writev] {
        rules.insert(call, one_of(0, [pid.into()]));
    }
    rules.insert(libc::SYS_prlimit64, one_of(0, [0, pid.into()]));
    rules.insert(libc::SYS_sched_setaffinity, one_of(0, [0]));
    let prctl = [
        libc::PR_SET_NAME,
        libc::PR_SET_NO_NEW_PRIVS,
        libc::PR_GET_NAME,
        libc::PR_SET_VMA,
        libc::PR_GET_PDEATHSIG,
        libc::PR_GET_DUMPABLE,
        libc::PR_GET_NO_NEW_PRIVS,
        libc::PR_GET_SECCOMP,
        libc::PR_CAPBSET_READ,
        libc::PR_GET_TIMERSLACK,
        libc::PR_SET_TIMERSLACK,
        GET_AUXV,
    ];
    rules.insert(libc::SYS_prctl, one_of(0, prctl.map(word)));
    // More filters: all that they can do is to refuse more.
    let (add, all_threads) = (libc::SECCOMP_SET_MODE_FILTER.into(), libc::SECCOMP_FILTER_FLAG_TSYNC);
    rules.insert(libc::SYS_seccomp, vec![when([is(0, add), is(1, all_threads)])]);
}

/// `PR_GET_AUXV`, of linux/prctl.h.
const GET_AUXV: c_int = 0x4155_5856;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_out_of_the_process_is_in_no_group() {
        let policy =
            Policy { write: vec!["/tmp".into()], network: true, processes: true, ..Policy::default() };
        let rules = rules(&policy, 1);
        let dangerous = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_keyctl,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_chmod,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_tkill,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_personality,
            libc::SYS_process_madvise,
            libc::SYS_clone3,
        ];
        for call in dangerous {
            assert!(!rules.contains_key(&call), "{}", super::super::names::name(call).unwrap());
        }
    }
}
