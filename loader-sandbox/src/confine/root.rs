//! A root folder of its own, in which there is nothing but what the policy names: what is not there can neither be opened
//! nor asked about.
//!
//! Unsafe because no library has `mount_setattr`.
#![allow(unsafe_code)]

use super::{Policy, namespaces::part};
use rustix::{
    fs::{AtFlags, CWD},
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
        mount_remount, move_mount, open_tree, unmount,
    },
    process::{chdir, pivot_root},
    thread::UnshareFlags,
};
use std::{
    env,
    fs::{self, File, FileType},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

/// Where the new root is put together. What is there already is hidden by it; nobody else sees that.
const STAGE: &str = "/proc";

/// A file or folder that is to be there.
struct Place {
    /// By which name the policy knows it.
    asked: PathBuf,
    /// The same, without links.
    real: PathBuf,
    kind: FileType,
    writable: bool,
}

/// What the system says of processes. The confined one is not there yet, so it is all of this or nothing; what of it can
/// be opened is up to Landlock.
const PROC: &str = "/proc";

/// Moves into a root folder with what the policy names. When it fails, the process is good for nothing any more.
pub(super) fn change(policy: &Policy) -> io::Result<()> {
    let places = places(policy);
    let folder = env::current_dir();
    part(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    // From here on nobody else sees what is mounted.
    let mounts = outermost(&places);
    let trees = mounts.iter().map(|place| tree(place)).collect::<io::Result<Vec<_>>>()?;
    mount("tmpfs", STAGE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755,size=1m")?;
    mounts.iter().zip(&trees).try_for_each(|(place, tree)| put(place, tree))?;
    places.iter().try_for_each(link)?;
    chdir(STAGE)?;
    pivot_root(".", ".")?; // the old root lies over the new one now
    unmount(".", UnmountFlags::DETACH)?;
    // From here on nothing else is there.
    let fixed = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount("/", fixed, c"")?;
    chdir("/")?;
    let _ = folder.map(chdir); // if it is there
    Ok(())
}

/// What is to be there and exists, folders before what is in them.
fn places(policy: &Policy) -> Vec<Place> {
    let place = |path: &PathBuf, writable| {
        let path = if path.starts_with(PROC) { Path::new(PROC) } else { path };
        let real = path.canonicalize().ok()?;
        let kind = real.metadata().ok()?.file_type();
        Some(Place { asked: path.into(), real, kind, writable })
    };
    let read = policy.read.iter().filter_map(|path| place(path, false));
    let mut places: Vec<_> = read.chain(policy.write.iter().filter_map(|path| place(path, true))).collect();
    places.sort_by(|a, b| (&a.real, a.writable).cmp(&(&b.real, b.writable)));
    places
}

/// Those that are not in one of the others anyway, with the right to write if they have it.
fn outermost(places: &[Place]) -> Vec<&Place> {
    let mut kept: Vec<&Place> = Vec::new();
    for place in places {
        let covers =
            |other: &&Place| place.real.starts_with(&other.real) && (other.writable || !place.writable);
        if !kept.iter().any(covers) {
            kept.push(place);
        }
    }
    kept
}

/// The mounts of a file or folder, and all that is mounted below, without the right to write where it is not given.
fn tree(place: &Place) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &place.real, flags)?;
    let read_only = if place.writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    let no_devices = if place.kind.is_char_device() { 0 } else { libc::MOUNT_ATTR_NODEV };
    let attributes = libc::mount_attr {
        attr_set: read_only | no_devices | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = AtFlags::EMPTY_PATH.bits() | libc::AT_RECURSIVE.cast_unsigned();
    // SAFETY: the path is empty and ends in a zero; the structure is as long as is said.
    let done = unsafe {
        let len = size_of::<libc::mount_attr>();
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            len,
        )
    };
    match done {
        0 => Ok(tree),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts a file or folder where it is by its real name.
fn put(place: &Place, tree: &OwnedFd) -> io::Result<()> {
    let target = staged(&place.real);
    if !target.exists() {
        make_parents(&target)?;
        match place.kind.is_dir() {
            true => fs::create_dir(&target)?,
            false => File::create(&target).map(drop)?,
        }
    }
    Ok(move_mount(tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// In a new root folder, and a process of a new namespace: from here on `/proc`, if it is there, speaks of the processes of
/// that namespace. The kernel allows it because the other one lies below, as read-only as this one.
pub(crate) fn show_own_processes() -> io::Result<()> {
    let fixed = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match Path::new(PROC).exists() {
        true => Ok(mount("proc", PROC, "proc", fixed, None)?),
        false => Ok(()),
    }
}

/// Makes the policy's name lead to the real one. The link is relative: while it is staged, it must lead to the stage too.
fn link(place: &Place) -> io::Result<()> {
    let name = staged(&place.asked);
    if name.symlink_metadata().is_ok() {
        return Ok(());
    }
    make_parents(&name)?;
    let depth = place.asked.components().filter(|part| matches!(part, Component::Normal(_))).count();
    let up: PathBuf = [".."].repeat(depth.saturating_sub(1)).into_iter().collect();
    symlink(up.join(inside(&place.real)), name)
}

fn staged(path: &Path) -> PathBuf {
    Path::new(STAGE).join(inside(path))
}

/// A path as seen from the root.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn make_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
