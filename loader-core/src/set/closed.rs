//! What a close came to: what went, and why the rest is still there.

use std::fmt;

/// What a close came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// What went, by name, in the order in which it was terminated.
    pub gone: Vec<Box<str>>,
    /// What could have gone and did not: the handle's target, or libraries that what went was bound to.
    pub stayed: Vec<Stayed>,
}

impl Closed {
    /// What came later: some of what stayed may have gone, or stays for fewer reasons.
    pub(super) fn then(&mut self, later: Self) {
        let again = |name: &str| later.stayed.iter().any(|stayed| *stayed.name == *name);
        self.stayed.retain(|stayed| !later.gone.contains(&stayed.name) && !again(&stayed.name));
        self.gone.extend(later.gone);
        self.stayed.extend(later.stayed);
    }
}

/// A library that is still loaded, and what keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stayed {
    /// Its name.
    pub name: Box<str>,
    /// Every reason there is, less long lists of clients: the first few stand for all.
    pub holds: Vec<Hold>,
}

/// What is done before memory is given back, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unloading {
    /// Every thread of the process is looked at before a library is unmapped. One that is inside keeps it mapped,
    /// terminated and found by nobody, until a later open or close meets nobody inside ([`Hold::Threads`]).
    pub check_threads: bool,
    /// So many libraries that went keep their addresses, without any rights: a use after unload is a fault that
    /// [`LoadSet::quarantined`](crate::LoadSet::quarantined) has a name for. The oldest goes first.
    pub quarantine: usize,
}

/// Why a library stays loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// So many handles of its own are open.
    Handles(u32),
    /// A library that stays names it among its needs.
    NeededBy(Box<str>),
    /// A library that stays is bound to a symbol of it.
    BoundBy(Box<str>),
    /// The embedder pinned it.
    Pinned,
    /// It was opened with `RTLD_NODELETE`, or its file says `DF_1_NODELETE` and the rules honour that.
    NoDelete,
    /// It has the process's single definition of a symbol, and the rules keep those for good.
    UniqueSymbol,
    /// Its initialisers are being run, or are about to be.
    Initialising,
    /// It was loaded with the main program.
    PartOfProgram,
    /// So many thread-local objects of its are for threads to destroy when they end.
    ThreadObjects(u32),
    /// Nobody can find it any more, but these threads (kernel numbers) are inside its code, so it is not unmapped yet.
    /// None: that could not be told.
    Threads(Box<[i32]>),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handles(1) => f.write_str("1 handle is open"),
            Self::Handles(n) => write!(f, "{n} handles are open"),
            Self::NeededBy(name) => write!(f, "needed by {name}"),
            Self::BoundBy(name) => write!(f, "{name} is bound to it"),
            Self::Pinned => f.write_str("pinned"),
            Self::NoDelete => f.write_str("marked NODELETE"),
            Self::UniqueSymbol => f.write_str("has a symbol of which the process has one definition"),
            Self::Initialising => f.write_str("its initialisers are running"),
            Self::PartOfProgram => f.write_str("loaded with the main program"),
            Self::ThreadObjects(1) => f.write_str("a thread has an object of it to destroy"),
            Self::ThreadObjects(n) => write!(f, "threads have {n} objects of it to destroy"),
            Self::Threads(them) => match **them {
                [] => f.write_str("cannot tell whether a thread is inside"),
                [one] => write!(f, "in use by thread {one}"),
                [first, ref more @ ..] => write!(f, "in use by thread {first} and {} more", more.len()),
            },
        }
    }
}

impl fmt::Display for Stayed {
    /// `libz.so.1: needed by libpng16.so.16, 2 handles are open`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let mut separator = ": ";
        for hold in &self.holds {
            write!(f, "{separator}{hold}")?;
            separator = ", ";
        }
        Ok(())
    }
}
