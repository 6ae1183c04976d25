//! Adding, finding, holding and removing.

use crate::workbench::{Bench, settings, write};
use std::collections::BTreeMap;
use std::fs;
use tenure_linux::template::{
    IdleTimeout, LeaseDefaults, LimitDefaults, Profile, Settings, Source, TemplateError, Templates,
};

fn refs(templates: &Templates) -> Vec<String> {
    templates.list().unwrap().iter().map(|template| template.reference()).collect()
}

/// TP-1, GV-1
#[test]
fn what_the_administrator_decides_is_stored_with_the_template() {
    let bench = Bench::new();
    let given = Settings {
        limits: LimitDefaults { memory_bytes: Some(1 << 28), pids: Some(64), ..LimitDefaults::default() },
        lease: Some(LeaseDefaults { ttl_ms: Some(30_000), heartbeat_interval_ms: None }),
        idle_timeout: IdleTimeout::Off,
        env: BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]),
        start: Some(vec!["/bin/server".to_owned(), "--port=80".to_owned()]),
        profile: Profile::Adventure,
        user: Some("root".to_owned()),
        cwd: Some("/srv".to_owned()),
        ..settings()
    };
    bench.templates.add("game", &Source::Host, given.clone()).unwrap();
    let again = Templates::open(&bench.path("data")).unwrap().show("game@1").unwrap();
    assert_eq!((again.name.as_str(), again.version, again.created_at_ms), ("game", 1, given.created_at_ms));
    assert_eq!((again.limits, again.lease, again.idle_timeout), (given.limits, given.lease, given.idle_timeout));
    assert_eq!((again.env, again.start, again.profile), (given.env, given.start, given.profile));
    assert_eq!((again.run_as.uid, again.run_as.home.as_str(), again.cwd.as_str()), (0, "/root", "/srv"));
}

/// TP-1
#[test]
fn each_add_makes_the_next_version_and_a_number_is_never_given_twice() {
    let bench = Bench::new();
    let add = || bench.templates.add("py", &Source::Host, settings()).unwrap().reference();
    assert_eq!([add(), add(), add()], ["py@1", "py@2", "py@3"]);
    assert_eq!(bench.templates.resolve("py").unwrap().manifest.version, 3);
    assert_eq!(bench.templates.resolve("py@2").unwrap().manifest.version, 2);
    bench.templates.remove("py", Some(3)).unwrap();
    assert_eq!(refs(&bench.templates), ["py@1", "py@2"]);
    assert_eq!(add(), "py@4");
    bench.templates.remove("py", None).unwrap();
    assert!(refs(&bench.templates).is_empty());
    assert_eq!(add(), "py@5");
}

/// TP-1
#[test]
fn a_version_in_use_is_not_removed() {
    let bench = Bench::new();
    let template = bench.templates.add("used", &Source::Host, settings()).unwrap();
    bench.templates.add("used", &Source::Host, settings()).unwrap();
    let first = template.hold().unwrap();
    // As another process would have it: the lock goes with the last copy.
    let copy = rustix::io::dup(template.hold().unwrap().into_fd()).unwrap();
    for _ in 0..2 {
        let error = bench.templates.remove("used", None).unwrap_err();
        assert!(matches!(&error, TemplateError::InUse { reference } if reference == "used@1"), "{error}");
        assert_eq!(refs(&bench.templates), ["used@1", "used@2"], "nothing is removed if one is in use");
    }
    bench.templates.remove("used", Some(2)).unwrap();
    drop(first);
    assert!(bench.templates.remove("used", Some(1)).is_err());
    drop(copy);
    bench.templates.remove("used", Some(1)).unwrap();
    assert!(matches!(template.hold(), Err(TemplateError::NotFound { .. })));
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn what_a_crash_has_left_is_removed_by_the_next_add_and_what_is_at_work_stays() {
    let bench = Bench::new();
    write(&bench.store().join(".new-crashed/version/root/file"), "half", 0o644);
    write(&bench.store().join(".new-crashed/lock"), "", 0o600);
    write(&bench.store().join(".new-before-its-lock/x"), "", 0o600);
    write(&bench.store().join(".new-working/lock"), "", 0o600);
    let working = fs::File::open(bench.store().join(".new-working/lock")).unwrap();
    rustix::fs::flock(&working, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(bench.templates.list().unwrap().is_empty());
    bench.templates.add("a", &Source::Host, settings()).unwrap();
    assert_eq!(bench.leftovers(), [".new-working"]);
    drop(working);
    bench.templates.add("a", &Source::Host, settings()).unwrap();
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn only_names_that_follow_the_rule_are_taken() {
    let bench = Bench::new();
    for name in ["", ".a", "-a", "A", "a/b", "..", "a b", "ä", &"a".repeat(64)] {
        let error = bench.templates.add(name, &Source::Host, settings()).unwrap_err();
        assert!(matches!(error, TemplateError::Name { .. }), "{name:?}: {error}");
    }
    for name in ["0", "lock", "a.b_c-d", &"a".repeat(63)] {
        bench.templates.add(name, &Source::Host, settings()).unwrap();
    }
    let reserved = bench.templates.add("default", &Source::Host, settings()).unwrap_err();
    assert!(matches!(reserved, TemplateError::Reserved { .. }));
}

/// TP-1
#[test]
fn what_is_not_there_is_not_found() {
    let bench = Bench::new();
    bench.templates.add("a", &Source::Host, settings()).unwrap();
    for reference in ["b", "a@2", "a@", "a@x", "default"] {
        assert!(matches!(bench.templates.resolve(reference), Err(TemplateError::NotFound { .. })), "{reference}");
    }
    assert!(matches!(bench.templates.remove("a", Some(9)), Err(TemplateError::NotFound { .. })));
    assert!(matches!(bench.templates.remove("b", None), Err(TemplateError::NotFound { .. })));
}

/// TP-1
#[test]
fn settings_that_do_not_fit_the_root_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let user = Settings { user: Some("nosuch".to_owned()), ..settings() };
    let cwd = Settings { cwd: Some("relative".to_owned()), ..settings() };
    let start = Settings { start: Some(Vec::new()), ..settings() };
    for given in [user, cwd, start] {
        let error = bench.templates.add("a", &Source::Host, given).unwrap_err();
        assert!(matches!(error, TemplateError::Setting { .. }), "{error}");
    }
    assert!(bench.templates.list().unwrap().is_empty());
    assert!(bench.leftovers().is_empty());
}

/// A manifest as format 1 was first written.
const SAMPLE: &str = r#"{"format": 1, "name": "old", "version": 3, "source": "oci-archive", "digest": "sha256:00",
 "created_at_ms": 1700000000000, "run_as": {"uid": 1000, "gid": 1000, "name": "user", "home": "/home/user"},
 "cwd": "/workspace", "profile": "plain", "env": {"LANG": "C"}, "start": ["/bin/server"], "idle_timeout_ms": null,
 "limits": {"memory_bytes": 536870912}, "lease": {"ttl_ms": 60000}, "default_cmd": ["sh"], "labels": {"a": "b"}}"#;

/// TP-1
#[test]
fn an_old_manifest_is_read_and_a_newer_or_damaged_one_is_named() {
    let bench = Bench::new();
    let path = bench.store().join("old/3/manifest.json");
    write(&path, SAMPLE, 0o600);
    let manifest = bench.templates.show("old").unwrap();
    assert_eq!((manifest.version, manifest.idle_timeout), (3, IdleTimeout::Off));
    assert_eq!(manifest.limits.memory_bytes, Some(536_870_912));
    for (from, to) in [("\"format\": 1", "\"format\": 2"), ("\"cwd\"", "\"unknown\""), ("}}", "}")] {
        write(&path, SAMPLE.replace(from, to), 0o600);
        let error = bench.templates.show("old").unwrap_err();
        assert!(matches!(&error, TemplateError::Stored { path: named, .. } if *named == path), "{error}");
        assert!(!error.hint().is_empty());
    }
}
