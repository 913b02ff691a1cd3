//! What the process could do by being who it is.

use super::{Enforced, Measure, enforced::Finding};
use rustix::{
    process::{Signal, getppid, parent_process_death_signal, set_parent_process_death_signal},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};
use std::io;

/// Gives up all capabilities, and any way to get some.
pub(super) fn drop_all(enforced: &mut Enforced) {
    enforced.note(Measure::Capabilities, Finding::of(no_capabilities(), "all given up"));
    let none_new = set_no_new_privs(true).and_then(|()| no_new_privs());
    enforced.note(
        Measure::NoNewPrivileges,
        match none_new {
            Ok(true) => Finding::on("for good"),
            Ok(false) => Finding::absent("the system took the wish and did not heed it"),
            Err(error) => Finding::absent(error.to_string()),
        },
    );
}

fn no_capabilities() -> io::Result<()> {
    // Without the right to do this there is nothing that the bounding set could add, given that no new privileges are.
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    let _ = clear_ambient_capability_set();
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    match capabilities(None)? == none {
        true => Ok(()),
        false => Err(io::Error::other("the system took the wish and did not heed it")),
    }
}

/// The process dies with its parent. One that has lost it already is dead to its supervisor, who will not miss it.
pub(super) fn die_with_parent() -> Finding {
    let parent = getppid();
    let set = set_parent_process_death_signal(Some(Signal::KILL));
    match (set, parent_process_death_signal(), parent == getppid()) {
        (Ok(()), Ok(Some(Signal::KILL)), true) => Finding::on("SIGKILL"),
        (_, _, false) => Finding::absent("the parent is gone already"),
        (Err(error), ..) | (_, Err(error), _) => Finding::absent(error.to_string()),
        _ => Finding::absent("the system took the wish and did not heed it"),
    }
}
