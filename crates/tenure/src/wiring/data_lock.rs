//! The lock on the data directory: one server at a time, held for as long as its process lives (TR-7).

use crate::failure::{Code, Failure};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The lock. Dropping it lets the next server in.
pub struct DataLock {
    _file: File,
}

/// How long a process may hold the lock that it inherited from a server that died: a child that the server had just forked, and that has not let go yet.
const INHERITED_FOR: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Takes the lock, or says who has it.
pub fn take(data_dir: &Path) -> Result<DataLock, Failure> {
    let path = data_dir.join("server.lock");
    let refused = |error: std::io::Error| {
        Failure::new(Code::Unavailable, format!("cannot use the data directory {}: {error}", data_dir.display()))
    };
    let mut options = OpenOptions::new();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(refused)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => {
                let taker = taker(&file);
                if taker.is_some_and(is_alive) || begun.elapsed() > INHERITED_FOR {
                    return Err(taken(data_dir, taker));
                }
                std::thread::sleep(LOOK_EVERY);
            }
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(refused)?;
    Ok(DataLock { _file: file })
}

/// Who took it last, as far as that was written down.
fn taker(file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let size = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..size]).ok()?.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn taken(data_dir: &Path, taker: Option<u32>) -> Failure {
    let who = taker.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let message = format!("another server{who} uses the data directory {}", data_dir.display());
    Failure::new(Code::Unavailable, message).hint("one process owns a data directory; choose another with --data-dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Locks it for somebody else, as this process.
    fn locked_by(dir: &Path, pid: u32) -> File {
        let file = File::create(dir.join("server.lock")).unwrap();
        file.try_lock().unwrap();
        writeln!(&file, "{pid}").unwrap();
        file
    }

    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    /// TR-7
    #[test]
    fn a_directory_that_a_living_server_uses_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _held = locked_by(dir.path(), std::process::id());
        let Err(failure) = take(dir.path()) else { panic!("it was taken twice") };
        assert!(failure.to_string().contains(&format!("process {}", std::process::id())), "{failure}");
    }

    /// TR-7, EN-10: a server that is killed while it starts may leave a child that still holds what it inherited; the next start waits for that.
    #[test]
    fn what_a_dead_server_left_locked_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = locked_by(dir.path(), dead());
        let lets_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        let ours = take(dir.path());
        assert!(lets_go.is_finished() && ours.is_ok());
        assert_eq!(
            std::fs::read_to_string(dir.path().join("server.lock")).unwrap().trim(),
            std::process::id().to_string()
        );
    }
}
