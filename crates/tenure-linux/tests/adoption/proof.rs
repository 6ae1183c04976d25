//! What is not proven is not taken over, and what proves the contrary is told.

use crate::host::{agents, boot_ms, is_dead};
use crate::manager::{Manager, Place};
use crate::{host, tests};
use libtest_mimic::Trial;
use serde_json::{Value, json};

pub fn tests() -> Vec<Trial> {
    tests![
        another_generation_is_no_proof,
        another_key_is_no_proof,
        a_process_id_that_passed_on_is_no_proof,
        an_earlier_boot_of_the_host_is_no_proof,
        what_is_written_down_garbled_belongs_to_nobody,
    ]
}

/// A manager and its keeper are killed, somebody changes what was written down, and the next manager looks.
#[track_caller]
fn check(change: impl FnOnce(&mut Value), evidence: &str) {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let (agent, keeper) = (agents(place.uuid())[0], first.keeper);
    first.kill();
    host::kill(keeper);
    let (path, mut facts) = place.facts();
    change(&mut facts);
    std::fs::write(path, facts.to_string()).unwrap();

    let mut second = Manager::start(place.path());
    let found = second.adopt(&id);
    assert_eq!(found["found"], "lost", "{found}");
    assert!(found["evidence"].as_str().unwrap().contains(evidence), "{found}");
    assert!(!is_dead(agent), "what is not understood is left alone");
    assert_eq!(second.known(), std::slice::from_ref(&id));
    second.does("discard", &id);
    assert!(is_dead(agent), "until somebody decides");
    assert!(second.known().is_empty());
    place.end(second);
}

/// EN-10
fn another_generation_is_no_proof() {
    // The record and the caller agree, and the agent does not.
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let keeper = first.keeper;
    place.uuid();
    first.kill();
    host::kill(keeper);
    let (path, mut facts) = place.facts();
    facts["bound"]["generation"] = json!(2);
    std::fs::write(path, facts.to_string()).unwrap();
    let mut second = Manager::start(place.path());
    for (generation, evidence) in [(2, "its agent is in generation 1"), (1, "it is there in generation 2")] {
        let found = second.ask(json!({ "do": "adopt", "id": id, "generation": generation }));
        assert!(found["evidence"].as_str().is_some_and(|text| text.contains(evidence)), "{found}");
    }
    second.does("discard", &id);
    place.end(second);
}

/// EN-10
fn another_key_is_no_proof() {
    check(|facts| facts["key"] = json!("07".repeat(32)), "key");
}

/// EN-10
fn a_process_id_that_passed_on_is_no_proof() {
    let own = std::process::id();
    check(|facts| facts["berth"]["pid"] = json!(own), "started at tick");
}

/// EN-10
fn an_earlier_boot_of_the_host_is_no_proof() {
    check(|facts| facts["boot_id"] = json!("00000000-0000-0000-0000-000000000000"), "booted");
}

/// TM-8
fn what_is_written_down_garbled_belongs_to_nobody() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    let (agent, keeper) = (agents(place.uuid())[0], first.keeper);
    first.kill();
    host::kill(keeper);
    std::fs::write(place.facts().0, "{\"format\":1,").unwrap();
    let begun = boot_ms();
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id)["found"], "lost");
    host::until("nobody's is ended", || is_dead(agent));
    assert!(second.known().is_empty() && boot_ms() >= begun);
    place.end(second);
}
