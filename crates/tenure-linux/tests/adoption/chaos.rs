//! Kills at any instant: whoever dies, the next manager understands what is left, and nothing of it stays.

use crate::host::{agents, keeper, signal};
use crate::manager::{Manager, Place};
use crate::tests;
use libtest_mimic::Trial;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

pub fn tests() -> Vec<Trial> {
    tests![whoever_is_killed_and_whenever_what_was_given_out_is_taken_over]
}

const ROUNDS: u64 = 20;

/// A small generator of numbers: the test's only need is that they differ.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn seed() -> u64 {
    let given = std::env::var("TENURE_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) ^ crate::boot_ms())
}

/// EN-1, EN-10, TM-8: managers are killed while they make and end environments, with or without their keeper. What somebody was told of is alive afterwards
/// or was told to end; what nobody was told of is gone or can be discarded; and in the end nothing is left.
fn whoever_is_killed_and_whenever_what_was_given_out_is_taken_over() {
    let place = Place::new();
    let seed = seed();
    println!("seed: TENURE_TEST_SEED={seed}");
    let mut random = Random(seed);
    // What was given out, and what was asked to end: of that, either is right.
    let (mut ours, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let mut manager = Manager::start_with(place.path(), 1);
        place.uuid();
        check(&mut manager, &mut ours, &ending, &format!("seed {seed}, round {round}"));
        // One that was told to end in an earlier round may still be at it.
        ending.retain(|id| ours.contains(id));
        let which = random.below(4);
        let killer = std::thread::spawn({
            let (pid, keeper) = (manager.pid(), manager.keeper);
            let waits = Duration::from_micros(random.below(60_000));
            move || {
                std::thread::sleep(waits);
                match which {
                    0 => signal(keeper, Signal::KILL),
                    1 => {
                        signal(keeper, Signal::KILL);
                        signal(pid, Signal::KILL);
                    }
                    _ => signal(pid, Signal::KILL),
                }
            }
        });
        for step in 0..6 {
            let pooled = random.below(2) == 0;
            match ours.iter().nth(random.below(6) as usize).cloned().filter(|_| step % 2 == 1) {
                Some(id) => {
                    ending.insert(id.clone());
                    if manager.tell(json!({ "do": "destroy", "id": id })).get("end").is_some() {
                        ours.remove(&id);
                        ending.remove(&id);
                    }
                }
                None => {
                    let made = manager.tell(json!({ "do": "create", "pooled": pooled }));
                    ours.extend(made["id"].as_str().map(str::to_owned));
                }
            }
        }
        killer.join().unwrap();
        if which == 0 {
            // Its manager lives: it gets another keeper, and knows what it has.
            manager.known();
        }
        manager.kill_if_alive();
    }
    let mut last = Manager::start(place.path());
    check(&mut last, &mut ours, &ending, &format!("seed {seed}, at the end"));
    for id in last.known() {
        last.does("discard", &id);
    }
    assert!(last.known().is_empty());
    assert!(agents(place.uuid()).is_empty(), "seed {seed}");
    assert!(keeper(place.path()).is_some());
    place.end(last);
}

/// How often an environment that is neither proven alive nor proven dead is asked again.
const SILENT_TRIES: u32 = 20;
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Takes over what was given out, and discards what nobody was told of.
fn check(manager: &mut Manager, ours: &mut BTreeSet<String>, ending: &BTreeSet<String>, context: &str) {
    for id in ours.clone() {
        let mut found: Value = manager.adopt(&id);
        // One that dies just now, or is late, is asked again, as a server would.
        for _ in 0..SILENT_TRIES {
            if found["found"] == "silent" {
                std::thread::sleep(ASK_EVERY);
                found = manager.adopt(&id);
            }
        }
        let dead = matches!(found["found"].as_str(), Some("ended" | "lost"));
        assert!(found["found"] == "alive" || dead && ending.contains(&id), "{context}: {id}: {found}");
        if dead {
            ours.remove(&id);
        }
    }
    for id in manager.known() {
        if !ours.contains(&id) {
            manager.does("discard", &id);
        }
    }
    let known: BTreeSet<String> = manager.known().into_iter().collect();
    // What was told to end before may end only now.
    let expected: BTreeSet<String> =
        ours.iter().filter(|id| known.contains(*id) || !ending.contains(*id)).cloned().collect();
    assert_eq!(known, expected, "{context}");
    *ours = known;
}
