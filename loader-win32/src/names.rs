//! The names of kernel objects: a tree of directories and links, as NT has it, of which KERNEL32 shows one branch.
//!
//! Everything is in one session, and what is made without saying more belongs to it: `x` and `Local\x` are one, and `Global\x`,
//! which is the machine's, is another. A name lasts as long as its object; the directories and links that are there from the
//! beginning stay.

use crate::{
    lock,
    nt::status,
    object::{Kind, Object, Objects},
};
use std::{
    collections::HashMap,
    mem::discriminant,
    sync::{Arc, Mutex, Weak},
};

/// The session: that of who sits at the machine, and not that of its services.
pub(crate) const SESSION: u32 = 1;
/// Where the objects are that programs name.
pub(crate) const BASE: &str = r"\Sessions\1\BaseNamedObjects";
/// Where those of the machine are.
const GLOBAL: &str = r"\BaseNamedObjects";
/// What is there from the beginning: directories, and links with what they lead to.
const FIRST: &[(&str, &str)] = &[
    (r"\", ""),
    (GLOBAL, ""),
    (r"\BaseNamedObjects\Global", GLOBAL),
    (r"\BaseNamedObjects\Local", GLOBAL),
    (r"\BaseNamedObjects\Session", ""),
    (r"\BaseNamedObjects\Session\0", GLOBAL),
    (r"\BaseNamedObjects\Session\1", BASE),
    (r"\Device", ""),
    (r"\GLOBAL??", ""),
    (r"\DosDevices", r"\??"),
    (r"\??", r"\GLOBAL??"),
    (r"\KernelObjects", ""),
    (r"\KnownDlls", ""),
    (r"\ObjectTypes", ""),
    (r"\Sessions", ""),
    (r"\Sessions\1", ""),
    (BASE, ""),
    (r"\Sessions\1\BaseNamedObjects\Global", GLOBAL),
    (r"\Sessions\1\BaseNamedObjects\Local", BASE),
    (r"\Sessions\1\BaseNamedObjects\Session", r"\BaseNamedObjects\Session"),
    (r"\Windows", ""),
];
/// More links than this on one way go round in a circle.
const MOST_LINKS: u32 = 32;
/// A name is shorter than this, in bytes.
const MOST_BYTES: usize = 65534;

/// What one spelling of a name stands for. Those without a strong reference go with their last handle.
pub(crate) struct Entry {
    spelled: String,
    object: Weak<Object>,
    _stays: Option<Arc<Object>>,
}

/// The names of a process, by their capital letters.
pub(crate) type Names = Mutex<HashMap<String, Vec<Entry>>>;

/// What a caller calls an object.
#[derive(Default)]
pub(crate) struct Name {
    /// The directory in which the path begins; without one it begins at the root of all names.
    pub root: Option<Arc<Object>>,
    pub path: String,
    pub any_case: bool,
    /// One that is there already will do.
    pub open_if: bool,
}

impl Name {
    /// A name as KERNEL32 takes it.
    pub(crate) fn of_program(name: &str) -> Self {
        let path = if name.is_empty() { String::new() } else { format!(r"{BASE}\{name}") };
        Self { root: None, path, any_case: false, open_if: true }
    }

    fn is_empty(&self) -> bool {
        self.root.is_none() && self.path.is_empty()
    }

    /// From the root of all names.
    fn whole(&self) -> Result<String, u32> {
        if self.path.encode_utf16().count() * 2 >= MOST_BYTES {
            return Err(status::OBJECT_NAME_INVALID);
        }
        let Some(root) = &self.root else {
            return if self.path.starts_with('\\') {
                Ok(self.path.clone())
            } else {
                Err(status::OBJECT_PATH_SYNTAX_BAD)
            };
        };
        match (&root.kind, root.path.get()) {
            (Kind::Directory, _) if self.path.starts_with('\\') => Err(status::OBJECT_PATH_SYNTAX_BAD),
            (Kind::Directory, Some(above)) if self.path.is_empty() => Ok(above.clone()),
            (Kind::Directory, Some(above)) => Ok(below(above, &self.path)),
            (Kind::Directory, None) => Err(status::OBJECT_PATH_NOT_FOUND),
            _ => Err(status::OBJECT_TYPE_MISMATCH),
        }
    }
}

fn below(above: &str, name: &str) -> String {
    format!(r"{}\{name}", above.trim_end_matches('\\'))
}

type Entries = HashMap<String, Vec<Entry>>;

fn look(entries: &Entries, path: &str, any_case: bool) -> Option<Arc<Object>> {
    let spellings = entries.get(&path.to_uppercase())?;
    let fits = |entry: &&Entry| any_case || entry.spelled == path;
    spellings.iter().filter(fits).find_map(|entry| entry.object.upgrade())
}

/// Where a name is, with all links on its way followed, and what is there. `last`: so is one at its end.
fn walk(
    entries: &Entries,
    mut path: String,
    any_case: bool,
    last: bool,
) -> Result<(String, Option<Arc<Object>>), u32> {
    'links: for _ in 0..MOST_LINKS {
        let parts = path.strip_prefix('\\').ok_or(status::OBJECT_PATH_SYNTAX_BAD)?;
        if parts.is_empty() {
            return Ok((path.clone(), look(entries, r"\", true)));
        }
        let mut at = String::new();
        let mut rest = Some(parts);
        while let Some(left) = rest {
            let (part, more) = left.split_once('\\').map_or((left, None), |(part, more)| (part, Some(more)));
            if part.is_empty() {
                return Err(status::OBJECT_NAME_INVALID);
            }
            at = format!(r"{at}\{part}");
            let found = look(entries, &at, any_case);
            rest = more;
            match (found.as_deref().map(|o| &o.kind), more) {
                (Some(Kind::Link(target)), Some(more)) => {
                    path = below(target, more);
                    continue 'links;
                }
                (Some(Kind::Link(target)), None) if last => {
                    path.clone_from(target);
                    continue 'links;
                }
                (_, None) => return Ok((at, found)),
                (Some(Kind::Directory), Some(_)) => {}
                (Some(_), Some(_)) => return Err(status::OBJECT_TYPE_MISMATCH),
                (None, Some(_)) => return Err(status::OBJECT_PATH_NOT_FOUND),
            }
        }
    }
    Err(status::OBJECT_NAME_INVALID)
}

impl Objects {
    fn names<R>(&self, f: impl FnOnce(&mut Entries) -> R) -> R {
        let mut entries = lock(&self.names);
        if entries.is_empty() {
            for (path, target) in FIRST {
                let kind = if target.is_empty() { Kind::Directory } else { Kind::Link((*target).into()) };
                let object = self.make(kind);
                enter(&mut entries, path, &object, true);
            }
        }
        f(&mut entries)
    }

    /// A new object of that name, or without one, or the one that has the name already, where that will do; whether it was
    /// there. Errors are statuses.
    pub(crate) fn create_named(&self, name: &Name, kind: Kind) -> Result<(Arc<Object>, bool), u32> {
        if name.is_empty() {
            return Ok((self.make(kind), false));
        }
        let path = name.whole()?;
        self.names(|entries| {
            // A link is not followed by who would make one.
            let follows = !matches!(kind, Kind::Link(_));
            let (path, found) = walk(entries, path, name.any_case, follows)?;
            match found {
                Some(_) if !name.open_if => Err(status::OBJECT_NAME_COLLISION),
                Some(old) if discriminant(&old.kind) != discriminant(&kind) => {
                    Err(status::OBJECT_TYPE_MISMATCH)
                }
                Some(old) => Ok((old, true)),
                None => {
                    let new = self.make(kind);
                    enter(entries, &path, &new, false);
                    Ok((new, false))
                }
            }
        })
    }

    /// The object of that name. Errors are statuses.
    pub(crate) fn open_named(&self, name: &Name, wanted: impl Fn(&Kind) -> bool) -> Result<Arc<Object>, u32> {
        if name.is_empty() {
            return Err(status::OBJECT_PATH_SYNTAX_BAD);
        }
        let path = name.whole()?;
        let links = wanted(&Kind::Link(String::new()));
        let (_, found) = self.names(|entries| walk(entries, path, name.any_case, !links))?;
        let found = found.ok_or(status::OBJECT_NAME_NOT_FOUND)?;
        if wanted(&found.kind) { Ok(found) } else { Err(status::OBJECT_TYPE_MISMATCH) }
    }

    /// What is in a directory: names without it, and their objects.
    pub(crate) fn named_in(&self, directory: &Object) -> Vec<(String, Arc<Object>)> {
        let Some(above) = directory.path.get().map(|path| below(path, "")) else { return Vec::new() };
        let mut found: Vec<_> = self.names(|entries| {
            let all = entries.values().flatten().filter_map(|entry| {
                let name =
                    entry.spelled.strip_prefix(&above).filter(|n| !n.is_empty() && !n.contains('\\'))?;
                Some((name.to_owned(), entry.object.upgrade()?))
            });
            all.collect()
        });
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

/// Notes a name; those of objects that are gone go.
fn enter(entries: &mut Entries, path: &str, object: &Arc<Object>, stays: bool) {
    if !stays {
        entries.retain(|_, all| {
            all.retain(|entry| entry.object.strong_count() > 0);
            !all.is_empty()
        });
    }
    let _ = object.path.set(path.into()); // it is new
    entries.entry(path.to_uppercase()).or_default().push(Entry {
        spelled: path.into(),
        object: Arc::downgrade(object),
        _stays: stays.then(|| Arc::clone(object)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Name {
        Name { path: path.into(), ..Name::default() }
    }

    #[test]
    fn a_name_is_found_along_every_way() {
        let objects = Objects::new();
        let (made, existed) = objects.create_named(&Name::of_program("x"), Kind::KeyedEvent).unwrap();
        assert!(!existed && made.path.get().is_some_and(|path| path == r"\Sessions\1\BaseNamedObjects\x"));
        let at = Arc::as_ptr(&made);
        let open = |path: &str| objects.open_named(&name(path), |_| true).map(|o| Arc::as_ptr(&o) == at);
        for path in [
            r"\Sessions\1\BaseNamedObjects\x",
            r"\Sessions\1\BaseNamedObjects\Local\x",
            r"\BaseNamedObjects\Local\Session\1\x",
            r"\Sessions\1\BaseNamedObjects\Session\1\Local\x",
        ] {
            assert_eq!(open(path), Ok(true), "{path}");
        }
        assert_eq!(open(r"\BaseNamedObjects\x"), Err(status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(open(r"\BaseNamedObjects\Session\1\X"), Err(status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(open(r"\BaseNamedObjects\y\x"), Err(status::OBJECT_PATH_NOT_FOUND));
        assert_eq!(open(r"\BaseNamedObjects\Session\1\x\x"), Err(status::OBJECT_TYPE_MISMATCH));
        assert_eq!(open(r"\BaseNamedObjects\"), Err(status::OBJECT_NAME_INVALID));
        assert_eq!(open("x"), Err(status::OBJECT_PATH_SYNTAX_BAD));
        let any_case = Name { any_case: true, ..name(r"\SESSIONS\1\baseNAMEDobjects\X") };
        assert!(objects.open_named(&any_case, |_| true).is_ok());
        drop(made);
        assert_eq!(open(r"\Sessions\1\BaseNamedObjects\x"), Err(status::OBJECT_NAME_NOT_FOUND));
    }

    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let objects = Objects::new();
        let link =
            |from: &str, to: &str| objects.create_named(&name(from), Kind::Link(to.into())).map(|l| l.0);
        let _kept = (link(r"\a", r"\b").unwrap(), link(r"\b", r"\a").unwrap());
        assert_eq!(objects.open_named(&name(r"\a\c"), |_| true).err(), Some(status::OBJECT_NAME_INVALID));
    }
}
