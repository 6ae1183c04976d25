//! The process list, read from `/proc`: bounded in number, in length and in what it says.

use rustix::fs::{Mode, OFlags};
use std::os::unix::ffi::OsStrExt;
use tenure_protocol::{FRAME_MAX, PROCESSES_MAX, Process, Reply};

const CMD_MAX: usize = 256;
/// Room for the message around the list.
const ENVELOPE: usize = 256;

/// Everything that runs inside, but the agent.
pub fn list() -> Reply {
    let own = std::process::id();
    let mut pids: Vec<u32> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        pids.extend(std::str::from_utf8(entry.file_name().as_bytes()).ok().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    let mut room = FRAME_MAX - ENVELOPE;
    let mut processes = Vec::new();
    for process in pids.into_iter().filter(|pid| *pid != own).filter_map(read_process) {
        let length = serde_json::to_vec(&process).map_or(FRAME_MAX, |text| text.len() + 1);
        if processes.len() == PROCESSES_MAX || length > room {
            return Reply::Processes { processes, truncated: true };
        }
        room -= length;
        processes.push(process);
    }
    Reply::Processes { processes, truncated: false }
}

/// One process; `None` where it has ended meanwhile.
fn read_process(pid: u32) -> Option<Process> {
    let stat = read_start(&format!("/proc/{pid}/stat"), 1024)?;
    let mut process = parse_stat(pid, &String::from_utf8_lossy(&stat))?;
    let status = read_start(&format!("/proc/{pid}/status"), 2048)?;
    process.uid = parse_uid(&String::from_utf8_lossy(&status))?;
    let cmd = read_start(&format!("/proc/{pid}/cmdline"), CMD_MAX).unwrap_or_default();
    if !cmd.is_empty() {
        process.cmd = readable(&cmd);
    }
    Some(process)
}

fn read_start(path: &str, most: usize) -> Option<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut content = vec![0; most];
    let read = rustix::io::read(&file, &mut content).ok()?;
    content.truncate(read);
    Some(content)
}

/// Words apart by spaces, at most [`CMD_MAX`] bytes.
fn readable(cmd: &[u8]) -> String {
    let words: Vec<u8> = cmd.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    let mut text = String::from_utf8_lossy(&words).trim_end().to_owned();
    while text.len() > CMD_MAX {
        text.pop();
    }
    text
}

/// The name may hold spaces and parentheses: fields are counted from the last `)`.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (head, fields) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = number(11)?.saturating_add(number(12)?);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Process {
        pid,
        ppid: u32::try_from(number(1)?).ok()?,
        uid: 0,
        state: (*fields.first()?).to_owned(),
        cpu_ms: ticks.saturating_mul(1000) / per_second,
        rss_bytes: number(21)?.saturating_mul(rustix::param::page_size() as u64),
        cmd: format!("[{name}]"),
    })
}

/// The effective user.
fn parse_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_looks_like_fields_is_read_right() {
        let stat = "42 (a) R 9 (b)) S 7 42 42 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 1 4096 3 0";
        let process = parse_stat(42, stat).unwrap();
        assert_eq!((process.ppid, process.state.as_str(), process.cmd.as_str()), (7, "S", "[a) R 9 (b)]"));
        assert_eq!(process.cpu_ms, 200 * 1000 / rustix::param::clock_ticks_per_second());
        assert_eq!(process.rss_bytes, 3 * rustix::param::page_size() as u64);
    }

    #[test]
    fn a_command_line_is_cut_to_its_limit() {
        assert_eq!(readable(b"sh\0-c\0true\0"), "sh -c true");
        assert!(readable(&[0xff; 256]).len() <= CMD_MAX);
    }
}
