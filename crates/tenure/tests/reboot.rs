//! After the host has booted: sessions go on over their files, or are lost with the proof, and the audit says so (EN-11).
//!
//! A boot is every process of a data directory killed at once, and a server that sees another boot ID.
#![allow(clippy::unwrap_used)]

#[path = "reboot/boot.rs"]
mod boot;
#[path = "leftovers/kernel.rs"]
#[allow(dead_code, reason = "only processes are asked for")]
mod kernel;
mod support;

use boot::{Boot, kill_everything};
use kernel::Traces;
use serde_json::Value;
use std::time::Duration;
use support::server::Server;
use support::{PATIENCE, eventually, needs_root};

struct Place {
    server: Server,
    traces: Traces,
}

impl Place {
    fn new() -> Place {
        let server = Server::start();
        let traces = Traces::watch(server.dir().path());
        Place { server, traces }
    }

    fn json(&self, words: &[&str]) -> Value {
        let answer = self.server.ask([&["--json"], words].concat());
        assert_eq!(answer.code, 0, "{words:?}: {answer}");
        answer.json()
    }

    fn run(&self, id: &str, script: &str) -> String {
        let answer = self.server.ask(["exec", id, "--", "sh", "-c", script]);
        let log = || std::fs::read_to_string(self.server.dir().path().join("server.log")).unwrap_or_default();
        assert_eq!(answer.code, 0, "{script}: {answer}{}", log());
        answer.out()
    }

    fn begin(&self, id: &str, script: &str) -> String {
        let begun = self.server.ask(["exec", "--background", id, "--", "sh", "-c", script]);
        assert_eq!(begun.code, 0, "{begun}");
        begun.out().trim().to_owned()
    }

    /// The host boots, and something happens while nothing runs.
    fn boot_after(&mut self, boot: &Boot, meanwhile: impl FnOnce()) {
        kill_everything(&mut self.server, &self.traces);
        meanwhile();
        self.server.start_again_from(boot.program());
    }

    /// The environment of a session: its generation and state.
    fn life(&self, id: &str) -> (u64, String) {
        let environment = &self.json(&["session", "get", id])["environment"];
        (environment["generation"].as_u64().unwrap(), environment["state"].as_str().unwrap().to_owned())
    }

    fn actions(&self, id: &str) -> Vec<String> {
        let listed = self.json(&["session", "audit", id]);
        let items = listed["items"].as_array().unwrap();
        items.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    }

    fn verify_audit(&self) {
        let verified = self.server.ask(["audit", "verify"]);
        assert_eq!((verified.code, verified.json()["intact"].as_bool()), (0, Some(true)), "{verified}");
    }
}

/// EN-11, EN-4, LC-9, GV-7, TR-5
#[test]
fn sessions_go_on_over_their_files_after_a_boot() {
    if needs_root() {
        return;
    }
    let mut place = Place::new();
    let (worked, paused) = (place.server.session(), place.server.session_with(&["--idle-timeout", "3s"]));
    // Longer than it takes to find that out, and shorter than the host is down.
    let leased = place.server.session_with(&["--lease-ttl", "4s", "--heartbeat-interval", "1s"]);
    place.run(&worked, "echo before >kept && mkdir -p deep/er && ln -s ../kept deep/link && sync");
    let printed = place.begin(&worked, "echo printed; sleep 1000");
    assert!(eventually(PATIENCE, || place.server.ask(["execs", "output", &worked, &printed]).out() == "printed\n"));
    place.run(&paused, "echo stands still >kept && sync");
    assert_eq!(place.server.ask(["session", "pause", &paused]).code, 0);

    let boot = Boot::new(1);
    place.boot_after(&boot, || std::thread::sleep(Duration::from_secs(5)));
    let lease = place.json(&["session", "get", &leased]);
    assert!(lease["terminated_at"].is_null(), "what ran out while the host was down was moved: {lease}");
    assert!(eventually(PATIENCE, || place.life(&worked) == (2, "ready".to_owned())));
    assert_eq!(place.json(&["session", "get", &worked])["state"], "running");
    assert_eq!(place.run(&worked, "cat deep/link"), "before\n");
    let exec = place.json(&["execs", "get", &worked, &printed]);
    assert_eq!((&exec["state"], &exec["exit_code"]), (&"unknown".into(), &Value::Null), "{exec}");
    assert!(exec.to_string().contains("the host was restarted"), "{exec}");
    assert_eq!(place.server.ask(["execs", "output", &worked, &printed]).out(), "printed\n");
    let actions = place.actions(&worked);
    let remade = |name: &str| actions.iter().filter(|action| *action == name).count();
    assert_eq!((remade("environment_remake"), remade("environment_remade")), (1, 1), "{actions:?}");
    let evidence = place.json(&["session", "audit", &worked]).to_string();
    assert!(evidence.contains("the host has booted since") && evidence.contains(&boot.id()), "both boots are named");

    assert_eq!(
        (place.json(&["session", "get", &paused])["state"].as_str(), place.life(&paused)),
        (Some("paused"), (2, "frozen".to_owned()))
    );
    assert_ne!(place.server.ask(["exec", &paused, "--", "true"]).code, 0);
    assert_eq!(place.server.ask(["session", "resume", &paused]).code, 0);
    assert_eq!(place.run(&paused, "cat kept"), "stands still\n");
    place.verify_audit();
    // A start within the same boot finds them as they are.
    place.server.kill();
    place.server.start_again_from(boot.program());
    assert_eq!(place.run(&worked, "cat kept"), "before\n");
    assert_eq!(place.life(&worked), (2, "ready".to_owned()));
    place.verify_audit();
}

/// EN-11, TM-5
#[test]
fn a_session_whose_volume_is_gone_is_lost_with_the_proof() {
    if needs_root() {
        return;
    }
    let mut place = Place::new();
    let (gone, kept) = (place.server.session(), place.server.session());
    place.run(&kept, "echo before >kept && sync");
    let environment = place.json(&["session", "get", &gone])["environment"]["id"].as_str().unwrap().to_owned();
    // As an administrator would who mounts the pool and removes what is in it.
    let dir = place.server.dir().path().to_owned();
    let boot = Boot::new(1);
    place.boot_after(&boot, || boot::remove_volume(&dir, &environment));
    assert_eq!(place.run(&kept, "cat kept"), "before\n");
    assert!(eventually(PATIENCE, || !place.json(&["session", "get", &gone])["terminated_at"].is_null()));
    let lost = place.json(&["session", "get", &gone]);
    assert_eq!(lost["termination_reason"], "environment_lost", "{lost}");
    let explained = place.json(&["session", "audit", &gone]).to_string();
    assert!(explained.contains("the host has booted since") && explained.contains("did not survive"), "{explained}");
    place.verify_audit();
}

/// EN-11: the server and its keeper are killed at any instant of a start after a boot; the next start comes to the same.
#[test]
fn a_start_after_a_boot_that_is_killed_is_made_good_by_the_next() {
    if needs_root() {
        return;
    }
    let mut place = Place::new();
    let sessions: Vec<String> = (0..4).map(|_| place.server.session()).collect();
    for id in &sessions {
        place.run(id, &format!("echo {id} >kept && sync"));
    }
    assert_eq!(place.server.ask(["session", "pause", &sessions[0]]).code, 0);
    let mut generations = vec![1; sessions.len()];
    for round in 1..=4_u8 {
        let boot = Boot::new(round);
        kill_everything(&mut place.server, &place.traces);
        for cut in 0..3_u64 {
            place.server.start_again_from(boot.program());
            std::thread::sleep(Duration::from_millis(cut * 7 + u64::from(round) * 3));
            place.server.kill();
        }
        place.server.start_again_from(boot.program());
        for (index, id) in sessions.iter().enumerate() {
            let state = if index == 0 { "frozen" } else { "ready" };
            assert!(eventually(PATIENCE, || place.life(id).1 == state), "{:?}", place.life(id));
            let (generation, _) = place.life(id);
            assert_eq!(generation, generations[index] + 1, "one life for each boot");
            generations[index] = generation;
        }
        for id in &sessions[1..] {
            assert_eq!(place.run(id, "cat kept").trim(), id);
        }
    }
    assert_eq!(place.server.ask(["session", "resume", &sessions[0]]).code, 0);
    assert_eq!(place.run(&sessions[0], "cat kept").trim(), sessions[0]);
    place.verify_audit();
}
