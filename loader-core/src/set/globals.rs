//! The globalized searchList, and what its members may define: most names that are looked for, nobody on it has.

use super::{Info, ModuleId, Origin};
use crate::filter::{CountedFilter, First, HashIndex};
use ahash::AHashSet;
use std::sync::Arc;

/// An entry of the globalized searchList.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: ModuleId,
    pub(crate) origin: Origin,
    pub(crate) info: Arc<Info>,
}

/// From so many members that are not the host's, one filter over all of them is worth its making.
const MANY: usize = 16;

/// The globalized searchList, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globals {
    members: Vec<Member>,
    /// Those that are the host's, which stay.
    hosts: Vec<Member>,
    /// Their names.
    host_names: HashIndex,
    /// The names of the others, from when these were many for the first time.
    others: Option<CountedFilter>,
    /// How many members are not the host's.
    count: usize,
}

impl Globals {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter()
    }

    /// The members that are not the host's.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.origin != Origin::Host)
    }

    /// Whether a member of the host's may define a name of this GNU hash, whose lowest bit does not count.
    #[inline]
    pub(crate) fn host_may_have(&self, hash: u32) -> bool {
        self.host_names.may_have(hash)
    }

    /// Whether another member may.
    #[inline]
    pub(crate) fn others_may_have(&self, hash: u32) -> bool {
        self.others.as_ref().map_or(self.count != 0, |names| names.may_have(hash))
    }

    /// The members that may define a name of this GNU hash, in order, and where they may have it; all of them where none is
    /// given.
    pub(crate) fn candidates(&self, hash: Option<u32>) -> impl Iterator<Item = (&Member, Option<u32>)> {
        let anybody = Some(First { module: 0, nth: None });
        let first = hash.map_or(anybody, |hash| self.host_names.first(hash));
        let others = hash.is_none_or(|hash| self.others_may_have(hash));
        let (hosts, mixed) = match (first, others) {
            (_, true) => (&[][..], &self.members[..]),
            (Some(first), false) => (&self.hosts[first.module..], &[][..]),
            (None, false) => (&[][..], &[][..]),
        };
        let mixed = mixed.iter().filter(move |m| m.origin != Origin::Host || first.is_some());
        let hint = first.and_then(|first| first.nth);
        let hinted = std::iter::once(hint).chain(std::iter::repeat(None));
        hosts.iter().zip(hinted).chain(mixed.map(|m| (m, None)))
    }

    /// Adds a member at the end.
    pub(crate) fn push(&mut self, member: Member) {
        let image = member.info.image.clone();
        let is_host = member.origin == Origin::Host;
        if is_host {
            self.hosts.push(member.clone());
        }
        self.members.push(member);
        if is_host {
            return self.host_names.add(&*image);
        }
        self.count += 1;
        match &mut self.others {
            Some(names) => names.add(&*image),
            None if self.count >= MANY => {
                let mut names = CountedFilter::default();
                self.others().for_each(|m| names.add(&*m.info.image));
                self.others = Some(names);
            }
            None => {}
        }
    }

    /// Takes members out. Who goes came late, nearly always: those before the first of them are not looked at.
    pub(crate) fn remove(&mut self, gone: &AHashSet<ModuleId>) {
        let mut left = gone.len();
        let is_first = |m: &Member| {
            left -= usize::from(gone.contains(&m.id));
            left == 0
        };
        let first = self.members.iter().rposition(is_first).unwrap_or(0);
        for m in self.members.extract_if(first.., |m| gone.contains(&m.id)) {
            if m.origin != Origin::Host {
                self.count -= 1;
                self.others.iter_mut().for_each(|names| names.remove(&*m.info.image));
            }
        }
    }
}
