//! Landlock: the kernel's rules over what a process opens, by which paths; since ABI 4 over TCP ports, since ABI 6 over
//! signals and abstract sockets.
//!
//! What is refused fails with `EACCES` (signals: `EPERM`). That a file exists, and what `stat` says of it, is not kept
//! from anybody; that takes the mount namespace.

use super::{Enforced, Measure, Policy, enforced::Finding};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

/// The newest rules that are known here; a kernel that has fewer enforces those.
const NEWEST: ABI = ABI::V6;
/// The first with rules over all that the policy speaks of: files, network, signals.
const COMPLETE: ABI = ABI::V6;

/// From here on the kernel's rules are in force, for the thread that asks: whether it is `alone` makes the difference.
pub(super) fn restrict(policy: &Policy, alone: bool, enforced: &Enforced) -> Finding {
    let status = match rules(policy, enforced) {
        Ok(status) => status,
        Err(error) => return Finding::absent(error.to_string()),
    };
    match status.landlock {
        LandlockStatus::NotEnabled => Finding::absent("the kernel has it switched off"),
        LandlockStatus::NotImplemented => Finding::absent("the kernel does not have it"),
        LandlockStatus::Available { .. } if !alone => {
            Finding::partial("other threads run already, for which it does not hold")
        }
        LandlockStatus::Available { effective_abi, .. } if effective_abi < COMPLETE => {
            Finding::partial(format!(
                "ABI {}, which has no rules over all of truncation (3), TCP ports (4), devices (5) and signals (6)",
                effective_abi as i32
            ))
        }
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            let abi = kernel_abi.unwrap_or(effective_abi as i32);
            Finding::on(format!("ABI {abi}: files, TCP ports, signals, abstract sockets"))
        }
    }
}

fn rules(policy: &Policy, enforced: &Enforced) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if !policy.network {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    // Where there are only the sandbox's own processes, what one may know of itself it may know of its copies.
    let own =
        [Measure::ProcessNamespace, Measure::MountNamespace].iter().all(|&measure| enforced.is_on(measure));
    let of_processes = (own && policy.read.iter().any(|path| path.starts_with("/proc"))).then_some("/proc");
    rules
        .create()?
        .add_rules(path_beneath_rules(&policy.read, reading()))?
        .add_rules(path_beneath_rules(of_processes, reading()))?
        .add_rules(path_beneath_rules(&policy.write, reading() | writing()))?
        .restrict_self()
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

fn writing() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}
