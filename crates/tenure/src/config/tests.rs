//! That settings are read from where they should be, in the right order, and refused with the place where they stand.
#![allow(clippy::unwrap_used)]

use super::key::{KEYS, Key, Kind};
use super::{Config, Flag, Problem, layer::Written, resolve::resolve};
use std::path::{Path, PathBuf};

const FILE: &str = "/etc/tenure/tenure.toml";

fn resolved(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    resolve(&written(file, variables, flags), Some(PathBuf::from("/var/lib/tenure")))
}

fn written(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Written {
    let mut written = Written::defaults();
    written.file(Path::new(FILE), file);
    written.variables(variables.iter().copied());
    let flag =
        |(key, text): &(&str, &str)| Flag { key: (*key).into(), text: (*text).into(), written: format!("--set {key}") };
    written.flags(&flags.iter().map(flag).collect::<Vec<_>>());
    written
}

fn refused(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<String> {
    let problems = resolved(file, variables, flags).unwrap_err();
    problems.into_iter().map(|problem| format!("{} | {} | {}", problem.key, problem.source, problem.problem)).collect()
}

/// CF-1: what nobody sets is what the law and the engine would choose themselves.
#[test]
fn the_table_says_what_the_engine_would_choose() {
    let config = resolved("", &[], &[]).unwrap();
    let dir = PathBuf::from("/output");
    let wanted = format!("{:#?}", tenure_engine::Settings::new(dir.clone()));
    assert_eq!(format!("{:#?}", config.engine_settings(dir)), wanted);
    assert_eq!(config.data_dir, Path::new("/var/lib/tenure"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7070");
}

/// CF-1: file, then variables, then flags; each value knows where it was written.
#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let file = "listen = '127.0.0.1:1'\ngrace_ms = 1\nlog = 'debug'\n[limits]\ndefault_memory_bytes = '64M'\n";
    let variables = [("TENURE_LISTEN", "127.0.0.1:2"), ("TENURE_GRACE_MS", "2s"), ("HOME", "/nowhere")];
    let flags = [("listen", "127.0.0.1:3")];
    let config = resolved(file, &variables, &flags).unwrap();
    assert_eq!((config.listen.port(), config.grace_ms, config.log.as_str()), (3, 2000, "debug"));
    assert_eq!(config.limits.default.memory_bytes, 64 << 20);
    let written = written(file, &variables, &flags);
    let sources = ["listen", "grace_ms", "log", "limits.default_memory_bytes", "limits.default_pids"];
    let sources = sources.map(|key| written.source(key));
    assert_eq!(sources, ["--set listen", "TENURE_GRACE_MS", FILE, FILE, "default"]);
}

/// CF-1: a key that is not in the table is refused, wherever it stands.
#[test]
fn unknown_keys_are_refused_and_named() {
    let file = "lisen = 1\n[limits]\nmemory = 3\n[lease]\ndefault_pids = 1\n";
    assert_eq!(
        refused(file, &[("TENURE_LISTN", "x")], &[("lease.ttl", "1")]),
        [
            "lease.default_pids | /etc/tenure/tenure.toml | there is no such setting; there is limits.default_pids",
            "limits.memory | /etc/tenure/tenure.toml | there is no such setting",
            "lisen | /etc/tenure/tenure.toml | there is no such setting",
            "TENURE_LISTN | TENURE_LISTN | there is no such setting",
            "lease.ttl | --set lease.ttl | there is no such setting",
        ]
    );
    assert!(
        resolved("", &[("TENURE_PORT", "tcp://1"), ("TENURE_SERVICE_HOST", "1"), ("TENURE_URL", "x")], &[]).is_ok()
    );
}

/// CF-1: a value that its key cannot have is refused, and all of them are told at once.
#[test]
fn impossible_values_are_refused_and_named() {
    let wrong = refused(
        "listen = 7\ngrace_ms = -1\n[sweeper]\nenabled = 'yes'\ninterval_ms = 0\n",
        &[("TENURE_LOG", ""), ("TENURE_INIT_TIMEOUT_MS", "soon"), ("TENURE_PREVIEW_DOMAIN", "a..b")],
        &[("limits.default_on_exec_limit", "explode"), ("allowed_hosts", "http://x/")],
    );
    assert_eq!(
        wrong,
        [
            "grace_ms | /etc/tenure/tenure.toml | -1 is less than nothing",
            "listen | /etc/tenure/tenure.toml | is an integer, wanted is an address and port",
            "sweeper.enabled | /etc/tenure/tenure.toml | is a string, wanted is true or false",
            "init_timeout_ms | TENURE_INIT_TIMEOUT_MS | \"soon\" is no time, as in 30s or, in milliseconds, 30000",
            "limits.default_on_exec_limit | --set limits.default_on_exec_limit | \"explode\" is none of terminate, reject",
            "sweeper.interval_ms | /etc/tenure/tenure.toml | must be more than nothing",
            "preview_domain | TENURE_PREVIEW_DOMAIN | is no domain name, as in preview.example.net",
            "allowed_hosts | --set allowed_hosts | \"http://x/\" is no host name, without scheme and path",
        ]
    );
}

/// CF-1, GV-1: values that contradict each other are refused.
#[test]
fn values_that_contradict_each_other_are_refused() {
    let check = |flags: &[(&str, &str)], key: &str| {
        let wrong = refused("", &[], flags);
        assert!(wrong.len() == 1 && wrong[0].starts_with(&format!("{key} | ")), "{wrong:?}");
    };
    check(&[("limits.default_pids", "3")], "limits.default_pids");
    check(&[("limits.max_memory_bytes", "16M")], "limits.default_memory_bytes");
    check(&[("limits.min_cpu_millis", "70000")], "limits.min_cpu_millis");
    check(&[("lease.default_ttl_ms", "4s"), ("lease.min_ttl_ms", "1s")], "lease.default_heartbeat_interval_ms");
    check(&[("retention.purge_after_ms", "30d")], "retention.purge_after_ms");
    check(&[("limits.default_memory_bytes", "")], "limits.default_memory_bytes");
    check(&[("limits.default_pids", "4294967296"), ("limits.max_pids", "4294967296")], "limits.default_pids");
    let open = resolved("", &[], &[("limits.default_idle_timeout_ms", "off")]).unwrap();
    assert_eq!(open.limits.default.idle_timeout_ms, None);
}

/// CF-1, AU-1: a key for tokens pins its algorithm, and its file is found beside the configuration.
#[test]
fn a_token_key_has_the_file_that_its_algorithm_needs() {
    let key = |more: &str| format!("[[jwt]]\nname = 'idp'\nissuer = 'https://idp'\naudience = 'tenure'\n{more}\n");
    let config = resolved(&key("algorithm = 'HS256'\nsecret_file = 'jwt.secret'"), &[], &[]).unwrap();
    assert_eq!(config.jwt[0].file(), Path::new("/etc/tenure/jwt.secret"));
    for more in [
        "algorithm = 'HS256'",
        "algorithm = 'none'\nsecret_file = 'x'",
        "algorithm = 'EdDSA'\nsecret_file = 'x'",
        "algorithm = 'HS256'\nsecret_file = 'x'\nsecret = 'y'",
        "algorithm = 'HS256'\nsecret_file = 'x'\nuser_claim = 'email'",
    ] {
        let wrong = refused(&key(more), &[], &[]);
        assert!(wrong.len() == 1 && wrong[0].starts_with("jwt | /etc/tenure/tenure.toml | [0]: "), "{wrong:?}");
    }
    let wrong = refused("", &[("TENURE_JWT", "x")], &[]);
    assert_eq!(wrong, ["jwt | TENURE_JWT | can be written in the file only"]);
}

/// CF-1: the reference is made from the table, and the table has no key twice.
#[test]
fn the_reference_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let wanted = reference();
    if std::env::var_os("TENURE_BLESS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/configuration.md is out of date: TENURE_BLESS=1 cargo test -p tenure rewrites it");
    let variables: std::collections::BTreeSet<String> = KEYS.iter().map(Key::variable).collect();
    assert_eq!(variables.len(), KEYS.len(), "two keys have the same variable");
}

fn reference() -> String {
    let row = |key: &Key| {
        let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
        let variable = if key.kind == Kind::Tokens { "–".to_owned() } else { format!("`{}`", key.variable()) };
        format!("| `{}` | {variable} | {default} | {} |\n", key.name, key.about)
    };
    let rows: String = KEYS.iter().map(row).collect();
    include_str!("reference.md").replace("{{table}}\n", &rows)
}
