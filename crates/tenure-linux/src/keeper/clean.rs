//! Taking down what a berth left, and what a whole instance left that ended without doing so itself.

use super::ground::Ground;
use crate::cgroup::{Layout, Parent};
use crate::instance::{self, Instance};
use crate::storage::Volumes;
use std::io;
use std::path::Path;

/// What becomes of a berth's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// They go, but for those that another boot left: no life of this boot has been given them yet.
    KeepSurvivors,
    /// They go.
    Remove,
}

/// Takes down one berth, whatever of it there is.
pub fn berth(ground: &Ground, name: &str, files: Files) -> io::Result<()> {
    ground.groups.group(name).destroy()?;
    if files == Files::Remove || ground.survivor(name).is_none() {
        ground.volumes.remove(name)?;
    }
    remove_dir(&ground.socket_dir(name))
}

/// As [`berth`], where an agent may still run that is not this keeper's.
pub fn stray(ground: &Ground, name: &str, files: Files) -> io::Result<()> {
    crate::process::kill_exactly(&ground.mark(name).to_string_lossy());
    berth(ground, name, files)
}

/// Takes down the groups of one instance, whatever of them there is.
pub fn groups(parent: &Parent) -> io::Result<()> {
    parent.existing().iter().try_for_each(|group| group.destroy())?;
    parent.remove()
}

/// Takes down what is left of instances that nobody owns any more. One that resists is left to a later start, and harms none of the others.
pub fn dead_instances(data_dir: &Path, volumes_of: impl Fn(&str) -> Volumes) -> io::Result<usize> {
    let dead = Instance::dead(data_dir)?;
    if dead.is_empty() {
        return Ok(0);
    }
    // They may have been started from another group than this one.
    let parents = Parent::all_named(&Layout::of_this_host(), &instance::group_name(""));
    let take_down = |instance: &Instance| {
        crate::process::kill_marked(&format!("{}/", instance.uuid));
        let name = instance::group_name(&instance.uuid);
        parents.iter().filter(|(found, _)| *found == name).try_for_each(|(_, parent)| groups(parent))?;
        volumes_of(&instance.uuid).remove_all()?;
        // Last, since it is what a later start would find the rest by.
        instance.remove()
    };
    dead.iter().map(take_down).fold(Ok(()), io::Result::and).map(|()| dead.len())
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
