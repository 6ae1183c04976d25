//! From what is written to what holds: read once, checked once, then passed on.

use super::jwt::JwtKey;
use super::layer::Written;
use super::{Config, Exec, Host, Lease, Problem, Retention, Sweeper};
use serde::de::DeserializeOwned;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tenure_session::{LimitPolicy, Network, OnExecLimit, Range, SessionLimits};

/// Reads values and notes what is wrong with them.
struct Reader<'a> {
    written: &'a Written,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        match self.written.figment.extract_inner(key) {
            Ok(value) => value,
            Err(error) => {
                self.note(key, error.kind.to_string());
                None
            }
        }
    }

    fn note(&mut self, key: &str, problem: impl Into<String>) {
        let source = self.written.source(key);
        self.problems.push(Problem { key: key.to_owned(), source, problem: problem.into() });
    }

    /// A number that must be there.
    fn number(&mut self, key: &str) -> u64 {
        match self.read::<Option<u64>>(key).flatten() {
            Some(number) => number,
            None => {
                self.note(key, "must be a number here");
                0
            }
        }
    }

    fn small(&mut self, key: &str) -> u32 {
        let number = self.number(key);
        u32::try_from(number).unwrap_or_else(|_| {
            self.note(key, format!("is {number}, the most is {}", u32::MAX));
            0
        })
    }

    /// A port; none where it is 0.
    fn port(&mut self, key: &str) -> Option<u16> {
        let number = self.number(key);
        let port = u16::try_from(number);
        if port.is_err() {
            self.note(key, format!("is {number}, no port"));
        }
        port.ok().filter(|port| *port > 0)
    }

    fn positive(&mut self, key: &str) -> u64 {
        let number = self.number(key);
        if number == 0 {
            self.note(key, "must be more than nothing");
        }
        number
    }

    fn switch(&mut self, key: &str) -> bool {
        self.read(key).unwrap_or_default()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.read::<Option<String>>(key).flatten()
    }

    /// Bounds, which a default must hold.
    fn range(&mut self, section: &str, name: &str, default: Option<u64>) -> Range {
        let (min, max) = (format!("{section}.min_{name}"), format!("{section}.max_{name}"));
        let range = Range { min: self.positive(&min), max: self.positive(&max) };
        if range.min > range.max {
            self.note(&min, format!("is {}, more than {max}, which is {}", range.min, range.max));
        } else if let Some(default) = default.filter(|default| !(range.min..=range.max).contains(default)) {
            let problem = format!("is {default}, allowed is {} to {} ({min}, {max})", range.min, range.max);
            let key = format!("{section}.default_{name}");
            // What is no number at all was noted when it was read.
            if !self.problems.iter().any(|noted| noted.key == key) {
                self.note(&key, problem);
            }
        }
        range
    }
}

/// What holds, or everything that is wrong.
pub fn resolve(written: &Written, default_data_dir: Option<PathBuf>) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { written, problems: written.problems.clone() };
    let config = read(&mut reader, default_data_dir);
    check(&mut reader, &config);
    if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
}

fn read(reader: &mut Reader<'_>, default_data_dir: Option<PathBuf>) -> Config {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Config {
        data_dir: reader.text("data_dir").map(PathBuf::from).or(default_data_dir).unwrap_or_default(),
        listen: reader.text("listen").and_then(|text| text.parse().ok()).unwrap_or(nowhere),
        allowed_hosts: reader.read("allowed_hosts").unwrap_or_default(),
        preview_domain: reader.text("preview_domain"),
        preview_https: reader.switch("preview_https"),
        preview_port: reader.port("preview_port"),
        metrics_token_file: reader.text("metrics_token_file").map(PathBuf::from),
        max_connections: reader.small("max_connections"),
        drain_timeout_ms: reader.number("drain_timeout_ms"),
        log: reader.text("log").unwrap_or_default(),
        allow_unenforced: reader.switch("allow_unenforced"),
        default_template: reader.text("default_template").unwrap_or_default(),
        init_timeout_ms: reader.positive("init_timeout_ms"),
        grace_ms: reader.number("grace_ms"),
        recover_timeout_ms: reader.positive("recover_timeout_ms"),
        pool_bytes: reader.read::<Option<u64>>("pool_bytes").flatten(),
        host: Host {
            min_free_disk_bytes: reader.number("host.min_free_disk_bytes"),
            min_free_memory_bytes: reader.number("host.min_free_memory_bytes"),
            reserve_bytes: reader.number("host.reserve_bytes"),
        },
        pool_ready: reader.small("pool.ready") as usize,
        limits: limits(reader),
        lease: lease(reader),
        exec: Exec {
            default_timeout_ms: reader.positive("exec.default_timeout_ms"),
            output_cap_bytes: reader.positive("exec.output_cap_bytes"),
            inline_output_bytes: reader.positive("exec.inline_output_bytes"),
        },
        sweeper: Sweeper {
            enabled: reader.switch("sweeper.enabled"),
            interval_ms: reader.positive("sweeper.interval_ms"),
        },
        retention: Retention {
            enabled: reader.switch("retention.enabled"),
            interval_ms: reader.positive("retention.interval_ms"),
            archive_after_ms: reader.positive("retention.archive_after_ms"),
            purge_after_ms: reader.positive("retention.purge_after_ms"),
            undelete_days: reader.small("retention.undelete_days"),
        },
        jwt: reader.read::<Vec<JwtKey>>("jwt").unwrap_or_default(),
    }
}

fn limits(reader: &mut Reader<'_>) -> LimitPolicy {
    let on_exec_limit = match reader.text("limits.default_on_exec_limit").as_deref() {
        Some("reject") => OnExecLimit::Reject,
        _ => OnExecLimit::Terminate,
    };
    let default = SessionLimits {
        max_lifetime_ms: reader.number("limits.default_max_lifetime_ms"),
        idle_timeout_ms: reader.read::<Option<u64>>("limits.default_idle_timeout_ms").flatten(),
        max_concurrent_execs: reader.small("limits.default_max_concurrent_execs"),
        on_exec_limit,
        cpu_millis: reader.small("limits.default_cpu_millis"),
        memory_bytes: reader.number("limits.default_memory_bytes"),
        pids: reader.small("limits.default_pids"),
        disk_bytes: reader.number("limits.default_disk_bytes"),
        network: Network::None,
    };
    let mut range = |name, default| reader.range("limits", name, default);
    LimitPolicy {
        default,
        max_lifetime_ms: range("max_lifetime_ms", Some(default.max_lifetime_ms)),
        idle_timeout_ms: range("idle_timeout_ms", default.idle_timeout_ms),
        max_concurrent_execs: range("max_concurrent_execs", Some(default.max_concurrent_execs.into())),
        cpu_millis: range("cpu_millis", Some(default.cpu_millis.into())),
        memory_bytes: range("memory_bytes", Some(default.memory_bytes)),
        pids: range("pids", Some(default.pids.into())),
        disk_bytes: range("disk_bytes", Some(default.disk_bytes)),
    }
}

fn lease(reader: &mut Reader<'_>) -> Lease {
    let default_ttl_ms = reader.number("lease.default_ttl_ms");
    Lease {
        ttl_ms: reader.range("lease", "ttl_ms", Some(default_ttl_ms)),
        default_ttl_ms,
        default_heartbeat_interval_ms: reader.positive("lease.default_heartbeat_interval_ms"),
    }
}

/// What cannot be seen from one value alone.
fn check(reader: &mut Reader<'_>, config: &Config) {
    if config.data_dir.as_os_str().is_empty() {
        reader.note("data_dir", "must be given: there is no home directory to keep data in");
    }
    if config.max_connections == 0 {
        reader.note("max_connections", "must be more than nothing");
    }
    if config.default_template.is_empty() {
        reader.note("default_template", "must not be empty");
    }
    if config.pool_bytes.is_some_and(|bytes| bytes == 0) {
        reader.note("pool_bytes", "must be more than nothing");
    }
    if config.lease.default_heartbeat_interval_ms >= config.lease.default_ttl_ms {
        reader.note("lease.default_heartbeat_interval_ms", "must be shorter than lease.default_ttl_ms");
    }
    if config.retention.purge_after_ms <= config.retention.archive_after_ms {
        reader.note("retention.purge_after_ms", "must be longer than retention.archive_after_ms");
    }
    if config.preview_domain.as_deref().is_some_and(|domain| !is_domain(domain)) {
        reader.note("preview_domain", "is no domain name, as in preview.example.net");
    }
    for host in config.allowed_hosts.iter().filter(|host| !is_host(host)) {
        reader.note("allowed_hosts", format!("{host:?} is no host name, without scheme and path"));
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 190 && text.split('.').all(is_label)
}

/// A name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let name = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(text, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.is_ok() || is_domain(&name.to_ascii_lowercase())
}
