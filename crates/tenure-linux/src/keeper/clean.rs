//! Taking down what a berth left, and what a whole instance left that ended without doing so itself.

use super::ground::Ground;
use crate::cgroup::{Layout, Parent};
use crate::instance::{self, Instance};
use crate::storage::Volumes;
use std::io;
use std::path::Path;

/// Takes down one berth, whatever of it there is.
pub fn berth(ground: &Ground, name: &str) -> io::Result<()> {
    ground.groups.group(name).destroy()?;
    ground.volumes.remove(name)?;
    remove_dir(&ground.socket_dir(name))
}

/// Takes down what is left of instances that nobody owns any more.
pub fn dead_instances(data_dir: &Path, volumes_of: impl Fn(&str) -> Volumes) -> io::Result<usize> {
    let layout = Layout::of_this_host();
    let dead = Instance::dead(data_dir)?;
    for instance in &dead {
        let mark = format!("{}/", instance.uuid);
        crate::process::kill_marked(&mark);
        let prefix = instance::group_name(&instance.uuid);
        for (_, parent) in Parent::siblings(&layout, &prefix) {
            parent.existing().iter().try_for_each(|group| group.destroy())?;
            parent.remove()?;
        }
        volumes_of(&instance.uuid).remove_all()?;
        instance.remove()?;
    }
    Ok(dead.len())
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
