//! The table of settings: every key, how its value is read, what holds where nothing is said, and what it is for.
//!
//! The file, the variables, the flags, `config show` and docs/configuration.md are all made from these rows.

/// How the value of a key is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A path on this host; a relative one in the file begins where the file is.
    Path,
    /// An address and a port.
    Address,
    /// A whole number.
    Count,
    /// Bytes: a number, or text as in `512M`.
    Bytes,
    /// Milliseconds: a number, or text as in `30s`.
    Time,
    /// `true` or `false`.
    Switch,
    /// A list of words; in one text separated by commas.
    Words,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The keys that sign tokens: tables, which only a file can hold.
    Tokens,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name, with dots between sections.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// What holds where nothing is said, as it would be written; nothing where it is empty.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

impl Key {
    /// The variable that sets it.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// What our variables begin with.
pub const PREFIX: &str = "TENURE_";

/// The row of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, about }
}

use Kind::{Address, Bytes, Count, OneOf, Path, Switch, Text, Time, Tokens, Words};

/// All of them, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key(
        "data_dir",
        Path,
        "",
        "Where everything is kept. `/var/lib/tenure` as root, else `tenure` in the XDG state directory.",
    ),
    key("listen", Address, "127.0.0.1:7070", "Where the server listens."),
    key("allowed_hosts", Words, "", "Names by which the server may be called, beside its own address and `localhost`."),
    key(
        "preview_domain",
        Text,
        "",
        "The domain below which each preview has a host name of its own. Must not be the console's.",
    ),
    key("preview_https", Switch, "false", "Whether browsers reach previews' host names over HTTPS, through a proxy."),
    key(
        "preview_port",
        Count,
        "0",
        "The port at which browsers reach previews' host names. 0 is the server's own, or 443 with `preview_https`.",
    ),
    key(
        "metrics_token_file",
        Path,
        "",
        "A file with a secret, alone on one line, that reads `/metrics` as a bearer token and does nothing else.",
    ),
    key("max_connections", Count, "4096", "Connections that are served at once."),
    key("drain_timeout_ms", Time, "10s", "How long requests in progress have to end after SIGTERM."),
    key("log", Text, "info", "What is logged: a level, or levels by module as in `info,tenure_engine=debug`."),
    key("allow_unenforced", Switch, "false", "Whether sessions may go without limits that this host does not enforce."),
    key("default_template", Text, "default", "The template of a session that names none."),
    key("init_timeout_ms", Time, "60s", "How long making an environment may take."),
    key("grace_ms", Time, "5s", "How long programs have between SIGTERM and SIGKILL at the end of their session."),
    key("recover_timeout_ms", Time, "60s", "How long an environment may be silent after a restart before it is ended."),
    key(
        "pool_bytes",
        Bytes,
        "",
        "The size of the storage pool, where it is made first. Chosen by the free space where it is empty.",
    ),
    key(
        "host.min_free_disk_bytes",
        Bytes,
        "256M",
        "With less free in the data directory's file system no new session is made. `0` looks at nothing.",
    ),
    key(
        "host.min_free_memory_bytes",
        Bytes,
        "64M",
        "With less memory free on the host no new session is made. `0` looks at nothing.",
    ),
    key(
        "host.reserve_bytes",
        Bytes,
        "32M",
        "Disk that is held back in the data directory, for the database when nothing else is left. `0` holds nothing back.",
    ),
    key("pool.ready", Count, "2", "Environments per template that are made ahead of time."),
    key(
        "limits.default_max_lifetime_ms",
        Time,
        "24h",
        "How long a session lives, where neither it nor its template says.",
    ),
    key("limits.min_max_lifetime_ms", Time, "1ms", "The shortest lifetime."),
    key("limits.max_max_lifetime_ms", Time, "30d", "The longest lifetime."),
    key(
        "limits.default_idle_timeout_ms",
        Time,
        "30m",
        "How long a session lives without work. `off` never ends an idle session.",
    ),
    key("limits.min_idle_timeout_ms", Time, "1ms", "The shortest idle timeout."),
    key("limits.max_idle_timeout_ms", Time, "7d", "The longest idle timeout."),
    key("limits.default_max_concurrent_execs", Count, "16", "Programs that a session may run at once."),
    key("limits.min_max_concurrent_execs", Count, "1", "The fewest."),
    key("limits.max_max_concurrent_execs", Count, "1024", "The most."),
    key(
        "limits.default_on_exec_limit",
        OneOf(&["terminate", "reject"]),
        "terminate",
        "What one program too many does: ends the session, or is refused.",
    ),
    key("limits.default_cpu_millis", Count, "1000", "Processor time, in thousandths of a core."),
    key("limits.min_cpu_millis", Count, "10", "The least."),
    key("limits.max_cpu_millis", Count, "64000", "The most."),
    key("limits.default_memory_bytes", Bytes, "512M", "Memory."),
    key("limits.min_memory_bytes", Bytes, "8M", "The least."),
    key("limits.max_memory_bytes", Bytes, "64G", "The most."),
    key("limits.default_pids", Count, "256", "Processes and threads."),
    key("limits.min_pids", Count, "4", "The fewest."),
    key("limits.max_pids", Count, "32768", "The most."),
    key("limits.default_disk_bytes", Bytes, "2G", "Writable files."),
    key("limits.min_disk_bytes", Bytes, "1M", "The least."),
    key("limits.max_disk_bytes", Bytes, "256G", "The most."),
    key("lease.default_ttl_ms", Time, "60s", "How long a lease holds, where it asks for nothing else."),
    key("lease.min_ttl_ms", Time, "100ms", "The shortest lease."),
    key("lease.max_ttl_ms", Time, "24h", "The longest lease."),
    key(
        "lease.default_heartbeat_interval_ms",
        Time,
        "5s",
        "How often the holder is asked to renew it. Shorter than the lease.",
    ),
    key("exec.default_timeout_ms", Time, "5m", "How long a program may run, where its request does not say."),
    key(
        "exec.output_cap_bytes",
        Bytes,
        "64M",
        "Most bytes kept of one program's output, of both streams together; never more than half of what its session's disk limit leaves for output. After its end 1 MiB more, of what processes print that it left behind.",
    ),
    key("exec.inline_output_bytes", Bytes, "1M", "Most bytes of each stream in an answer."),
    key(
        "sweeper.enabled",
        Switch,
        "true",
        "Whether the sweeper ends sessions whose time has come. Requests notice it in any case.",
    ),
    key("sweeper.interval_ms", Time, "1s", "How often it looks."),
    key(
        "retention.enabled",
        Switch,
        "true",
        "Whether sessions are archived and purged. Without it everything is kept as it is.",
    ),
    key("retention.interval_ms", Time, "1h", "How often is looked for what is to be archived and purged."),
    key(
        "retention.undelete_days",
        Count,
        "7",
        "Days for which a deleted session can be brought back. Then it is archived.",
    ),
    key("retention.archive_after_ms", Time, "30d", "How long after its end a session is archived, one way."),
    key(
        "retention.purge_after_ms",
        Time,
        "90d",
        "How long after its end the content of an archived session is purged. Longer than `retention.archive_after_ms`.",
    ),
    key("jwt", Tokens, "", "The keys whose tokens are taken, as `[[jwt]]` tables in the file. See below."),
];
