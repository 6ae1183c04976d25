//! Environments that outlive their manager, their keeper, or both: who takes them over, with which proof, and what is known of what happened meanwhile.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

#[path = "adoption/boot.rs"]
mod boot;
#[path = "adoption/chaos.rs"]
mod chaos;
mod ground;
#[path = "adoption/host.rs"]
mod host;
#[path = "adoption/keeper_dies.rs"]
mod keeper_dies;
#[path = "adoption/manager.rs"]
mod manager;
#[path = "adoption/proof.rs"]
mod proof;
#[path = "adoption/reboot.rs"]
mod reboot;
#[path = "adoption/versions.rs"]
mod versions;

use host::{agents, boot_ms, is_dead, is_frozen, until};
use libtest_mimic::{Arguments, Trial};
use manager::{Manager, Place};
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Names the tests of a file.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(stringify!($name), || { $name(); Ok(()) })),*]
    };
}

fn main() -> ExitCode {
    manager::play();
    let arguments = Arguments::from_args();
    if !ground::is_root() {
        ground::skipped("adoption", "these tests look at control groups and a storage pool, which need root");
        return ExitCode::SUCCESS;
    }
    let mut trials: Vec<Trial> = tests![
        what_runs_and_prints_is_taken_over_and_no_byte_is_lost_or_there_twice,
        how_a_program_ended_meanwhile_is_known,
        what_is_frozen_is_taken_over_frozen,
        a_deadline_that_was_moved_while_frozen_holds_after_the_thaw,
        how_an_environment_ended_meanwhile_is_known,
        one_whose_agent_is_silent_lives,
        a_keeper_holds_nothing_of_its_manager,
        a_keeper_with_nothing_to_keep_leaves_with_its_manager,
        what_belongs_to_nobody_is_never_taken_over,
        the_deadline_of_what_is_frozen_holds_without_a_manager,
        a_second_manager_is_refused_while_the_first_one_lives,
    ];
    trials.extend(keeper_dies::tests());
    trials.extend(proof::tests());
    trials.extend(versions::tests());
    trials.extend(chaos::tests());
    trials.extend(reboot::tests());
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Prints 1, 2, 3, … for ever.
pub const COUNTS: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.004; done";

/// The size of a file that may not be there yet.
pub fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

/// Waits until somebody writes to it, by more than the few lines that [`assert_counts`] asks for.
#[track_caller]
pub fn until_it_grows(path: &Path) {
    let before = size(path);
    until("its output grows", || size(path) > before + 8);
}

/// The output of [`COUNTS`], whole and once.
#[track_caller]
pub fn assert_counts(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 3, "{} lines", lines.len());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, (index + 1).to_string(), "line {index} of {}", lines.len());
    }
}

/// EN-4, EN-10
fn what_runs_and_prints_is_taken_over_and_no_byte_is_lost_or_there_twice() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    first.exec(&id, "counts", COUNTS, &place.output());
    until_it_grows(&place.output());
    let (pids, keeper) = (agents(place.uuid()), first.keeper);
    first.kill();
    until_it_grows(&place.output());

    let mut second = Manager::start(place.path());
    assert_eq!(second.keeper, keeper, "the keeper lives");
    assert_eq!(second.known(), std::slice::from_ref(&id));
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    assert_eq!(agents(place.uuid()), pids);
    until_it_grows(&place.output());
    let execs = second.does("execs", &id);
    assert_eq!((&execs["execs"][0]["exec_id"], &execs["execs"][0]["ended"]), (&json!("counts"), &json!(null)));
    second.ask(json!({ "do": "signal", "id": id, "exec": "counts" }));
    let ended = second.ask(json!({ "do": "wait", "id": id, "exec": "counts" }));
    assert_eq!(ended["signal"], 9);
    assert_counts(&place.output());
    assert_eq!(second.does("limits", &id)["disk"], json!(2_u64 << 30));
    assert_eq!(second.does("destroy", &id)["end"], json!({ "kind": "exited", "value": 0 }));
    assert!(second.known().is_empty());
    place.end(second);
}

/// EN-3, EN-10
fn how_a_program_ended_meanwhile_is_known() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    first.exec(&id, "ends", "sleep 1; echo last; exit 7", &place.output());
    place.uuid();
    first.kill();
    until("it has said its last word", || size(&place.output()) == 5);
    let mut second = Manager::start(place.path());
    second.adopt(&id);
    let ended = second.ask(json!({ "do": "wait", "id": id, "exec": "ends" }));
    assert_eq!(ended, json!({ "exit_code": 7, "signal": null }));
    place.end(second);
}

/// LC-9, EN-10
fn what_is_frozen_is_taken_over_frozen() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    first.exec(&id, "counts", COUNTS, &place.output());
    until_it_grows(&place.output());
    first.does("freeze", &id);
    let stood_at = size(&place.output());
    place.uuid();
    first.kill();
    let mut second = Manager::start(place.path());
    assert!(is_frozen(place.uuid()));
    assert_eq!(second.adopt(&id), json!({ "found": "frozen" }));
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_frozen(place.uuid()) && second.does("observe", &id)["frozen"] == true);
    assert_eq!(size(&place.output()), stood_at, "it was never thawed");
    second.does("thaw", &id);
    until_it_grows(&place.output());
    assert_counts(&place.output());
    second.does("freeze", &id);
    second.does("destroy", &id);
    place.end(second);
}

/// TM-6, LC-9
fn a_deadline_that_was_moved_while_frozen_holds_after_the_thaw() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    // Time enough for making it.
    let soon = boot_ms() + if std::env::var_os("TENURE_TEST_VM").is_some() { 10_000 } else { 1500 };
    let id = first.ask(json!({ "do": "create", "deadline": soon }))["id"].as_str().unwrap().to_owned();
    first.exec(&id, "counts", COUNTS, &place.output());
    first.does("freeze", &id);
    first.ask(json!({ "do": "deadline", "id": id, "at": boot_ms() + 600_000 }));
    place.uuid();
    first.kill();
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "frozen" }));
    until("the first deadline has passed", || boot_ms() > soon + 700);
    second.does("thaw", &id);
    std::thread::sleep(Duration::from_millis(2500));
    until_it_grows(&place.output());
    // A second one, in time.
    second.ask(json!({ "do": "deadline", "id": id, "at": boot_ms() + 500 }));
    assert_eq!(second.does("wait_end", &id)["end"], json!({ "kind": "exited", "value": 0 }));
    place.end(second);
}

/// EN-10
fn how_an_environment_ended_meanwhile_is_known() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let (killed, other) = (first.create(), first.create());
    let all = agents(place.uuid());
    let (_, facts) = place.facts();
    let of = facts["bound"]["environment"].as_str().unwrap();
    let pid = facts["berth"]["pid"].as_i64().unwrap() as i32;
    assert!(all.len() == 2 && all.contains(&pid));
    let (gone, alive) = if of == killed { (killed, other) } else { (other, killed) };
    first.kill();
    host::kill(pid);
    let mut second = Manager::start(place.path());
    let ended = json!({ "found": "ended", "end": { "kind": "killed", "value": 9 } });
    assert_eq!(second.adopt(&gone), ended);
    assert_eq!(second.adopt(&alive), json!({ "found": "alive" }));
    assert_eq!(second.adopt(&gone), ended, "until somebody has heard of it");
    // It is written down: a keeper that is killed as well takes nothing of it along.
    let keeper = second.keeper;
    second.kill();
    host::kill(keeper);
    let mut third = Manager::start(place.path());
    assert_eq!(third.adopt(&gone), ended);
    third.does("discard", &gone);
    assert_eq!(third.known(), std::slice::from_ref(&alive));
    third.does("discard", &alive);
    place.end(third);
}

/// EN-10
fn one_whose_agent_is_silent_lives() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let agent = agents(place.uuid())[0];
    first.kill();
    host::signal(agent, Signal::STOP);
    let mut second = Manager::start(place.path());
    let adopt = json!({ "do": "adopt", "id": id, "patience": 700 });
    assert_eq!(second.ask(adopt.clone()), json!({ "found": "silent" }));
    host::signal(agent, Signal::CONT);
    assert_eq!(second.ask(adopt.clone()), json!({ "found": "alive" }));
    host::signal(agent, Signal::STOP);
    assert_eq!(second.ask(adopt), json!({ "found": "silent" }));
    assert_eq!(second.does("destroy", &id)["end"], json!({ "kind": "killed", "value": 9 }));
    place.end(second);
}

/// EN-10: whoever waits for the server's output to end does not wait for its environments, and its directory can go.
fn a_keeper_holds_nothing_of_its_manager() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    place.uuid();
    let keeper = first.keeper;
    let link = |of: &str| std::fs::read_link(format!("/proc/{keeper}/{of}")).unwrap();
    assert_eq!(link("cwd"), Path::new("/"));
    for stream in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(stream), Path::new("/dev/null"));
    }
    let session = rustix::process::getsid(rustix::process::Pid::from_raw(keeper)).unwrap();
    assert_eq!(session.as_raw_nonzero().get(), keeper, "no terminal hangs it up");
    // Its whole process group is killed, and its output read to the end.
    first.kill();
    assert!(!is_dead(keeper));
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    place.end(second);
}

/// TM-8
fn a_keeper_with_nothing_to_keep_leaves_with_its_manager() {
    let place = Place::new();
    let mut manager = Manager::start(place.path());
    let id = manager.create();
    place.uuid();
    manager.does("destroy", &id);
    let keeper = manager.keeper;
    manager.kill();
    until("the keeper is gone", || is_dead(keeper));
    place.assert_nothing_is_left();
}

/// EN-1, EN-10
fn what_belongs_to_nobody_is_never_taken_over() {
    let place = Place::new();
    let mut first = Manager::start_with(place.path(), 2);
    let id = first.ask(json!({ "do": "create", "pooled": true }))["id"].as_str().unwrap().to_owned();
    until("the pool is full", || first.ask(json!({ "do": "pooled" }))["pooled"] == 2);
    assert_eq!(agents(place.uuid()).len(), 3);
    first.kill();
    until("those of nobody are gone", || agents(place.uuid()).len() == 1);
    let mut second = Manager::start_with(place.path(), 2);
    assert_eq!(second.known(), std::slice::from_ref(&id));
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    // One comes from the pool, and is taken over as any other.
    let other = second.ask(json!({ "do": "create", "pooled": true }))["id"].as_str().unwrap().to_owned();
    until("the pool is full", || second.ask(json!({ "do": "pooled" }))["pooled"] == 2);
    let third = second.ask(json!({ "do": "create", "pooled": true }))["id"].as_str().unwrap().to_owned();
    second.kill();
    let mut last = Manager::start(place.path());
    let mut all = vec![id, other, third];
    all.sort();
    assert_eq!(last.known(), all);
    for id in &all {
        assert_eq!(last.adopt(id), json!({ "found": "alive" }));
    }
    place.end(last);
}

/// TM-6
fn the_deadline_of_what_is_frozen_holds_without_a_manager() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let deadline = boot_ms() + 2000;
    let id = first.ask(json!({ "do": "create", "deadline": deadline }))["id"].as_str().unwrap().to_owned();
    let agent = agents(place.uuid())[0];
    first.does("freeze", &id);
    first.kill();
    until("it is dead", || is_dead(agent));
    assert!(boot_ms() >= deadline, "not before");
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "ended", "end": { "kind": "killed", "value": 9 } }));
    second.does("discard", &id);
    place.end(second);
}

/// EN-10
fn a_second_manager_is_refused_while_the_first_one_lives() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let socket = versions::knock(&place);
    versions::say(&socket, r#"{"version_min":1,"version_max":2}"#);
    assert_eq!(versions::hear(&socket), Some(json!("busy")));
    first.does("execs", &id);
    place.end(first);
}
