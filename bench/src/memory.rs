//! Memory and processor time of processes, as the kernel tells them.

use std::fs;

use anyhow::Context as _;

/// Memory of a process, each page that others map too counted in part.
///
/// # Errors
/// When the process is gone.
pub fn pss_kib(pid: &str) -> anyhow::Result<u64> {
    kib_in(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Memory that programs could have now.
///
/// # Errors
/// When the kernel does not say.
pub fn machine_free_kib() -> anyhow::Result<u64> {
    kib_in("/proc/meminfo", "MemAvailable:")
}

fn kib_in(path: &str, key: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in {path}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// A field of `stat`, counted from the one after the name, which may hold anything.
fn stat_field(pid: &str, index: usize) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let field = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(index));
    Ok(field.context("a stat of another form")?.parse()?)
}

/// Clock ticks spent in the program and in the kernel.
///
/// # Errors
/// When the process is gone.
pub fn ticks(pid: &str) -> anyhow::Result<u64> {
    Ok(stat_field(pid, 11)? + stat_field(pid, 12)?)
}

/// The processes whose parent this is.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children_of(parent: i32) -> anyhow::Result<Vec<i32>> {
    let all = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(all.filter(|pid| stat_field(&pid.to_string(), 1).is_ok_and(|ppid| ppid == parent as u64)).collect())
}

/// A process and all that descend from it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn family(of: i32) -> anyhow::Result<Vec<i32>> {
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(children_of(one)?);
        next += 1;
    }
    Ok(found)
}
