//! The alert rules that ship with the service, against the metrics that it has and the page that explains them.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use support::needs_root;
use support::server::server;

const RULES: &str = include_str!("../../../packaging/prometheus/tenure.rules.yml");
const PAGE: &str = include_str!("../../../docs/operating.md");

/// MT-1: what the rules ask for is measured.
#[test]
fn every_alert_asks_for_metrics_that_there_are() {
    if needs_root() {
        return;
    }
    let server = server();
    // Requests are counted from the first one on.
    server.ask(["session", "list"]);
    let key = std::fs::read_to_string(server.dir().path().join("admin.key")).unwrap();
    let metrics = server.get("/metrics", key.trim());
    let there: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked = RULES.split(|c| !is_word(c)).filter(|word| word.starts_with("tenure_"));
    for name in asked {
        let family = ["_total", "_bucket"].iter().fold(name, |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
        assert!(there.contains(family), "{name} is not among {there:?}");
    }
}

/// MT-1: whoever is woken finds what to do.
#[test]
fn every_alert_is_explained() {
    let names = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        assert!(PAGE.contains(&format!("### {name}")), "{name}");
    }
}

/// MT-1: a secret of its own reads the metrics, and nothing else.
#[test]
fn the_metrics_have_a_secret_of_their_own() {
    if needs_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("metrics.token");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    let setting = format!("metrics_token_file={}", file.display());
    let server = support::server::Server::start_with(&[&setting]);
    let head = |path: &str| server.get(path, "0123456789abcdef").lines().next().unwrap_or_default().to_owned();
    assert_eq!(head("/metrics"), "HTTP/1.0 200 OK");
    assert_eq!(head("/v1/sessions"), "HTTP/1.0 401 Unauthorized");
    std::fs::write(&file, "short").unwrap();
    let elsewhere = support::DataDir::new();
    let refused = support::answer(&mut elsewhere.tenure(["serve", "--listen", "127.0.0.1:0", "--set", &setting]));
    assert_eq!(refused.code, 3, "{refused}");
}
