//! What goes wrong, as the manager is told: one table from the kernel's error numbers to failure codes.

use rustix::io::Errno;
use tenure_protocol::{FailureCode, Reply};

/// Why a request could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    pub message: String,
}

impl Failure {
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }

    /// From what the kernel said about `what`.
    pub fn of(errno: Errno, what: &str) -> Self {
        Failure::new(code_of(errno), format!("{what}: {}", text_of(errno)))
    }

    pub fn reply(self) -> Reply {
        Reply::Failed { code: self.code, message: self.message }
    }
}

/// The kernel's own words, without the number that the standard library appends.
pub fn text_of(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn code_of(errno: Errno) -> FailureCode {
    match errno {
        Errno::NOENT => FailureCode::NotFound,
        // A link that may not be followed (`/proc/…/root`, `/proc/…/fd/N`) shows as LOOP.
        Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::LOOP | Errno::TXTBSY | Errno::BUSY => FailureCode::Denied,
        Errno::NOTDIR => FailureCode::NotADirectory,
        Errno::ISDIR | Errno::NXIO => FailureCode::NotAFile,
        Errno::EXIST | Errno::NOTEMPTY => FailureCode::Exists,
        Errno::NOSPC | Errno::DQUOT => FailureCode::DiskFull,
        Errno::AGAIN => FailureCode::ProcessLimit,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::MLINK | Errno::FBIG => FailureCode::Limit,
        Errno::INVAL | Errno::NAMETOOLONG | Errno::TOOBIG | Errno::NOEXEC => FailureCode::Invalid,
        Errno::CONNREFUSED | Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::TIMEDOUT | Errno::ADDRNOTAVAIL => {
            FailureCode::Unreachable
        }
        _ => FailureCode::Io,
    }
}
