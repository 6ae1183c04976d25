//! The limit on every field. A message past one of these is refused by whoever reads it.

/// Longest frame body in bytes: a kind byte and its payload.
pub const FRAME_MAX: usize = 256 * 1024;
/// Most bytes of stream data in one frame: the body less its kind and its stream.
pub const DATA_MAX: usize = 64 * 1024;
/// Longest path in bytes, as the kernel's `PATH_MAX` less its terminator.
pub const PATH_MAX: usize = 4095;
/// Most words in a command.
pub const ARGS_MAX: usize = 4096;
/// Most variables for one exec.
pub const ENV_MAX: usize = 4096;
/// Most bytes of a command and of its variables, together.
pub const ARGS_BYTES_MAX: usize = 128 * 1024;
/// Longest exec ID, tag or user name in bytes.
pub const NAME_MAX: usize = 255;
/// Most directory entries in one [`crate::Reply::Entries`].
pub const ENTRIES_MAX: usize = 512;
/// Most processes in one [`crate::Reply::Processes`].
pub const PROCESSES_MAX: usize = 1024;
/// Most execs that an agent remembers, running ones and ended ones that nobody has asked it to forget.
pub const EXECS_MAX: usize = 4096;
/// Most execs in one [`crate::Reply::Execs`].
pub const EXECS_PAGE: usize = 128;
/// Most connections that an agent serves at once.
pub const CONNECTIONS_MAX: usize = 256;
