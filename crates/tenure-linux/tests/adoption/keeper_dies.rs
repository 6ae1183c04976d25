//! The keeper is killed: alone, with its manager, with its agents.

use crate::host::{agents, boot_ms, is_dead, keeper, until};
use crate::manager::{Manager, Place};
use crate::{COUNTS, assert_counts, host, size, tests, until_it_grows};
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub fn tests() -> Vec<Trial> {
    tests![
        a_manager_gets_another_keeper_and_its_environments_go_on,
        what_another_keeper_has_can_do_all,
        with_manager_and_keeper_killed_everything_is_taken_over,
        with_the_agent_killed_too_it_has_ended_and_nobody_knows_how,
        the_deadline_holds_with_manager_and_keeper_dead,
        what_is_left_of_both_is_found_and_can_be_discarded,
        a_keeper_may_be_killed_again_and_again,
        what_an_ordinary_user_made_is_taken_over_as_well,
    ]
}

/// What the kernel may say of an end that no parent of ours saw: how it was, or nothing.
#[track_caller]
fn assert_killed_or_unknown(end: &Value) {
    assert!(*end == json!({ "kind": "killed", "value": 9 }) || *end == json!({ "kind": "unknown" }), "{end}");
}

/// Kills the keeper under a living manager, and waits for the next one.
fn replace(place: &Place, old: i32) -> i32 {
    host::kill(old);
    // What the dead one leaves behind can look like a keeper for a moment: the next one stays.
    let mut seen = Vec::new();
    until("there is another keeper", || {
        seen.push(keeper(place.path()).filter(|new| *new != old));
        matches!(seen[..], [.., Some(before), Some(then), Some(now)] if before == then && then == now)
    });
    seen.pop().flatten().unwrap()
}

/// EN-10
fn a_manager_gets_another_keeper_and_its_environments_go_on() {
    let place = Place::new();
    let mut manager = Manager::start(place.path());
    let (id, other) = (manager.create(), manager.create());
    manager.exec(&id, "counts", COUNTS, &place.output());
    until_it_grows(&place.output());
    let pids = agents(place.uuid());
    replace(&place, manager.keeper);
    assert_eq!(agents(place.uuid()), pids);
    until_it_grows(&place.output());
    let mut known = vec![id.clone(), other.clone()];
    known.sort();
    assert_eq!(manager.known(), known);
    let third = manager.create();
    assert_eq!(manager.does("destroy", &third)["end"], json!({ "kind": "exited", "value": 0 }));
    manager.ask(json!({ "do": "signal", "id": id, "exec": "counts" }));
    manager.ask(json!({ "do": "wait", "id": id, "exec": "counts" }));
    assert_counts(&place.output());
    for pid in pids {
        host::kill(pid);
    }
    for id in [&id, &other] {
        assert_killed_or_unknown(&manager.does("wait_end", id)["end"]);
        manager.does("destroy", id);
    }
    assert!(manager.known().is_empty());
    place.end(manager);
}

/// EN-10, LC-9, GV-4, TM-7
fn what_another_keeper_has_can_do_all() {
    let place = Place::new();
    let mut manager = Manager::start(place.path());
    let id = manager.create();
    manager.exec(&id, "counts", COUNTS, &place.output());
    replace(&place, manager.keeper);
    assert_eq!(manager.adopt(&id), json!({ "found": "alive" }));
    let lock = std::fs::File::open(place.path().join("templates/default/1/lock")).unwrap();
    let locked = rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    assert_eq!(locked, Err(rustix::io::Errno::WOULDBLOCK), "what it stands on cannot be removed");
    manager.does("freeze", &id);
    let stood_at = size(&place.output());
    assert_eq!(manager.does("limits", &id)["disk"], json!(2_u64 << 30));
    assert_eq!(manager.adopt(&id), json!({ "found": "frozen" }));
    assert_eq!(size(&place.output()), stood_at);
    manager.does("thaw", &id);
    until_it_grows(&place.output());
    manager.does("freeze", &id);
    assert_killed_or_unknown(&manager.does("destroy", &id)["end"]);
    assert!(agents(place.uuid()).is_empty());
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("nobody stands on it");
    place.end(manager);
}

/// EN-10
fn with_manager_and_keeper_killed_everything_is_taken_over() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let (id, frozen) = (first.create(), first.create());
    first.exec(&id, "counts", COUNTS, &place.output());
    first.does("freeze", &frozen);
    until_it_grows(&place.output());
    let (pids, old) = (agents(place.uuid()), first.keeper);
    first.kill();
    host::kill(old);
    until_it_grows(&place.output());
    let mut second = Manager::start(place.path());
    assert_ne!(second.keeper, old);
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    assert_eq!(second.adopt(&frozen), json!({ "found": "frozen" }));
    assert_eq!(agents(place.uuid()), pids);
    second.ask(json!({ "do": "signal", "id": id, "exec": "counts" }));
    second.ask(json!({ "do": "wait", "id": id, "exec": "counts" }));
    assert_counts(&place.output());
    // And once more, with one that another keeper made beside one that this keeper made.
    let own = second.create();
    second.kill();
    let mut third = Manager::start(place.path());
    assert_eq!(third.adopt(&own), json!({ "found": "alive" }));
    assert_eq!(third.adopt(&id), json!({ "found": "alive" }));
    third.does("thaw", &id);
    for id in [&own, &id] {
        assert_ne!(third.does("destroy", id)["end"], json!(null));
    }
    assert_eq!(third.known(), std::slice::from_ref(&frozen));
    place.end(third);
}

/// EN-3, EN-10
fn with_the_agent_killed_too_it_has_ended_and_nobody_knows_how() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let (agent, keeper) = (agents(place.uuid())[0], first.keeper);
    first.kill();
    host::kill(keeper);
    host::kill(agent);
    until("it is reaped", || tenure_linux::process::parent_of(agent).is_none());
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "ended", "end": { "kind": "unknown" } }));
    assert_eq!(second.known(), std::slice::from_ref(&id));
    second.does("discard", &id);
    place.end(second);
}

/// TM-6
fn the_deadline_holds_with_manager_and_keeper_dead() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let deadline = boot_ms() + 3000;
    let id = first.ask(json!({ "do": "create", "deadline": deadline }))["id"].as_str().unwrap().to_owned();
    first.exec(&id, "stays", "trap '' TERM; while :; do sleep 1; done", &place.output());
    let (agent, keeper) = (agents(place.uuid())[0], first.keeper);
    first.kill();
    host::kill(keeper);
    assert!(!is_dead(agent) || boot_ms() >= deadline);
    until("it is dead", || is_dead(agent));
    assert!(boot_ms() >= deadline, "not before");
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id)["found"], "ended");
    place.end(second);
}

/// TM-8
fn what_is_left_of_both_is_found_and_can_be_discarded() {
    let place = Place::new();
    let mut first = Manager::start_with(place.path(), 1);
    let mut all: Vec<String> = (0..3).map(|_| first.create()).collect();
    all.sort();
    first.exec(&all[0], "stays", "trap '' TERM; while :; do sleep 1; done", &place.output());
    first.does("freeze", &all[1]);
    let (keeper, uuid) = (first.keeper, place.uuid().to_owned());
    first.kill();
    host::kill(keeper);
    let mut second = Manager::start(place.path());
    assert_eq!(second.known(), all);
    for id in &all {
        second.does("discard", id);
    }
    assert!(second.known().is_empty() && agents(&uuid).is_empty());
    // Nothing is bound any more: the keeper leaves with its manager, and takes the rest along.
    second.kill();
    place.assert_nothing_is_left();
}

/// EN-10
fn a_keeper_may_be_killed_again_and_again() {
    let place = Place::new();
    let mut manager = Manager::start(place.path());
    let mut all = vec![manager.create()];
    let mut last = manager.keeper;
    for _ in 0..4 {
        last = replace(&place, last);
        all.push(manager.create());
    }
    all.sort();
    assert_eq!(manager.known(), all);
    assert_eq!(agents(place.uuid()).len(), all.len());
    for id in &all {
        assert_eq!(manager.adopt(id), json!({ "found": "alive" }));
        manager.does("destroy", id);
    }
    place.end(manager);
}

/// EN-10
fn what_an_ordinary_user_made_is_taken_over_as_well() {
    let place = Place::of_nobody();
    let mut first = Manager::start(place.path());
    let made = first.tell(json!({ "do": "create" }));
    let Some(id) = made["id"].as_str().map(str::to_owned) else {
        let why = made["error"].as_str().unwrap_or_default();
        assert!(why.contains("(clone)") || why.contains("(ID maps)"), "{made}");
        crate::ground::skipped("adoption", "ordinary users cannot have user namespaces here");
        return first.quit();
    };
    let (pids, old) = (agents(place.uuid()), first.keeper);
    first.kill();
    let mut second = Manager::start(place.path());
    assert_eq!((second.keeper, second.adopt(&id)), (old, json!({ "found": "alive" })));
    let other = second.create();
    second.kill();
    host::kill(old);
    let mut third = Manager::start(place.path());
    for id in [&id, &other] {
        assert_eq!(third.adopt(id), json!({ "found": "alive" }));
    }
    assert!(pids.iter().all(|pid| agents(place.uuid()).contains(pid)));
    third.does("destroy", &id);
    third.does("discard", &other);
    assert!(agents(place.uuid()).is_empty());
    place.end(third);
}
