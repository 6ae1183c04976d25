//! Which control groups this host has, and where in them this process is: read from `/proc/self/mountinfo` and `/proc/self/cgroup`.

use std::path::{Path, PathBuf};

/// The trees that can hold our groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Version 1, or the hybrid in which version 2 has no controllers.
    V1(V1Layout),
    /// Version 2.
    V2(V2Layout),
    /// None that is mounted.
    Absent,
}

/// This process's group in each tree of version 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct V1Layout {
    /// In the tree of the memory controller.
    pub memory: Option<PathBuf>,
    /// In the tree of the cpu controller.
    pub cpu: Option<PathBuf>,
    /// In the tree of the pids controller.
    pub pids: Option<PathBuf>,
    /// In the tree of the freezer.
    pub freezer: Option<PathBuf>,
}

/// Version 2: the tree and this process's group in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V2Layout {
    /// Where the tree is mounted.
    pub mount: PathBuf,
    /// This process's group.
    pub own: PathBuf,
}

impl Layout {
    /// The layout of this host.
    pub fn of_this_host() -> Layout {
        let read = |file| std::fs::read_to_string(file).unwrap_or_default();
        Layout::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// The layout that two such texts describe. A controller of version 1 wins over version 2, since a controller lives in one of them only.
    pub fn parse(mountinfo: &str, own_groups: &str) -> Layout {
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
        let own = |controller: &str| own_groups.lines().find_map(|line| own_path(line, controller));
        let v1 = |controller: &str| {
            let mount = mounts
                .iter()
                .find(|mount| mount.kind == "cgroup" && mount.options.split(',').any(|o| o == controller))?;
            Some(mount.resolve(own(controller)?))
        };
        let layout = V1Layout { memory: v1("memory"), cpu: v1("cpu"), pids: v1("pids"), freezer: v1("freezer") };
        if layout.memory.is_some() || layout.pids.is_some() || layout.cpu.is_some() {
            return Layout::V1(layout);
        }
        match (mounts.iter().find(|mount| mount.kind == "cgroup2"), own("")) {
            (Some(mount), Some(path)) => Layout::V2(V2Layout { mount: mount.point.into(), own: mount.resolve(path) }),
            _ => Layout::Absent,
        }
    }
}

/// The path in a line `7:cpu,cpuacct:/path` if it is the controller's; the line of version 2 is `0::/path`.
fn own_path<'a>(line: &'a str, controller: &str) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    controllers.split(',').any(|name| name == controller).then_some(path)
}

/// One line of `mountinfo`, as far as it matters here.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, point) = (before.next()?, before.next()?);
        let (kind, _source, options) = (after.next()?, after.next()?, after.next()?);
        Some(Mount { root, point, kind, options })
    }

    /// Where the group at `path` of the tree is to be found, since a mount may show only a part of it.
    fn resolve(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.point).join(below.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    /// GV-4: on a hybrid host the controllers are where version 1 has them.
    #[test]
    fn a_hybrid_host_is_read_as_version_1_with_what_it_has() {
        let own = "9:cpu,cpuacct:/\n4:memory:/jobs/a\n3:pids:/jobs/a\n0::/\n";
        let Layout::V1(layout) = Layout::parse(HYBRID, own) else { panic!("not version 1") };
        assert_eq!(layout.memory, Some("/sys/fs/cgroup/memory/jobs/a".into()));
        assert_eq!(layout.cpu, Some("/sys/fs/cgroup/cpu,cpuacct/".into()));
        assert_eq!(layout.freezer, None);
    }

    /// GV-4: a version 2 host.
    #[test]
    fn a_version_2_host_is_read_with_our_own_group() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected =
            V2Layout { mount: "/sys/fs/cgroup".into(), own: "/sys/fs/cgroup/system.slice/tenure.service".into() };
        assert_eq!(Layout::parse(mounts, "0::/system.slice/tenure.service\n"), Layout::V2(expected));
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_tree_is_resolved_within_it() {
        let mounts = "30 24 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let Layout::V2(layout) = Layout::parse(mounts, "0::/docker/abc/inner\n") else { panic!("not version 2") };
        assert_eq!(layout.own, PathBuf::from("/sys/fs/cgroup/inner"));
    }

    #[test]
    fn nothing_mounted_is_absent() {
        assert_eq!(Layout::parse("", "0::/\n"), Layout::Absent);
    }
}
