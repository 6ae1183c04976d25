//! What is left of an instance, from the kernel's own tables and the file system (TM-8).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long after the end the kernel may take to let go: namespaces, and with them mounts and loop devices, go in the background.
const PATIENCE: Duration = Duration::from_secs(5);

/// The instances that have a lock file.
pub fn instances(data_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(data_dir.join("instances")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".lock").map(str::to_owned)).collect()
}

/// The instance whose lock a keeper holds.
pub fn instance_of(keeper: i32, data_dir: &Path) -> Option<String> {
    let all = data_dir.join("instances");
    let files = fs::read_dir(format!("/proc/{keeper}/fd")).ok()?.flatten();
    let links = files.filter_map(|fd| fs::read_link(fd.path()).ok());
    links
        .filter(|link| link.starts_with(&all))
        .find_map(|link| link.file_name()?.to_str()?.strip_suffix(".lock").map(str::to_owned))
}

/// Waits until nothing is left, or for as long as that may take; answers with what is left then.
pub fn wait_for_nothing(data_dir: &Path, uuids: &[String]) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = all(data_dir, uuids);
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Everything that is left.
pub fn all(data_dir: &Path, uuids: &[String]) -> Vec<String> {
    let mut left = files(data_dir);
    for uuid in uuids {
        left.extend(groups(uuid));
        left.extend(processes(|text| contains(text, uuid)));
    }
    left.extend(mounts(data_dir));
    left.extend(loops(data_dir));
    left
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

fn processes(ours: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for dir in pids() {
        let line = fs::read(dir.join("cmdline")).unwrap_or_default();
        if ours(&line) {
            found.push(format!("process {}: {}", dir.display(), String::from_utf8_lossy(&line)));
        }
    }
    found
}

/// All processes there are, as their directories.
pub fn pids() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbered = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(|entry| entry.file_name().to_str().is_some_and(numbered)).map(|entry| entry.path()).collect()
}

fn mounts(data_dir: &Path) -> Vec<String> {
    let wanted = data_dir.to_str().unwrap();
    let mut found = Vec::new();
    for dir in pids() {
        let Ok(text) = fs::read_to_string(dir.join("mountinfo")) else { continue };
        found
            .extend(text.lines().filter(|line| line.contains(wanted)).map(|line| format!("{}: {line}", dir.display())));
    }
    found
}

/// The control groups of an instance, in every tree.
pub fn groups(uuid: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match entry.file_name().to_str() {
                Some(name) if name.contains(uuid) => found.push(format!("group {}", entry.path().display())),
                _ => waiting.push(entry.path()),
            }
        }
    }
    found
}

fn loops(data_dir: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    backing.filter(|file| Path::new(file).starts_with(data_dir)).map(|file| format!("loop device of {file}")).collect()
}

fn files(data_dir: &Path) -> Vec<String> {
    let left = fs::read_dir(data_dir.join("instances")).into_iter().flatten().flatten();
    left.map(|entry| format!("file {}", entry.path().display())).collect()
}
