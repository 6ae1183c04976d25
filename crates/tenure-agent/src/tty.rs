//! Terminals: a pair per exec that wants one, its size, and who is in its foreground.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};
use tenure_protocol::WindowSize;

/// What a terminal's line discipline takes for the end of input.
pub const END_OF_INPUT: u8 = 4;

/// Opens a terminal: our side and the program's. Rights must be taken on already, so that the terminal is the tenant's.
pub fn open(size: WindowSize) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    resize(&master, size)?;
    Ok((master, slave))
}

/// Gives the terminal another size; the kernel tells the foreground (SIGWINCH).
pub fn resize(master: impl AsFd, size: WindowSize) -> Result<(), Errno> {
    tcsetwinsize(master, Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 })
}

/// The process group in the foreground, where there is one.
pub fn foreground(master: impl AsFd) -> Option<i32> {
    tcgetpgrp(master).ok().map(|group| group.as_raw_nonzero().get())
}
