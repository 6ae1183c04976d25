//! Managers of other versions than their keeper.

use crate::host::{agents, is_dead, until};
use crate::manager::{Manager, Place};
use crate::tests;
use libtest_mimic::Trial;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::{Value, json};
use std::os::fd::{AsRawFd as _, OwnedFd};

pub fn tests() -> Vec<Trial> {
    tests![
        a_manager_one_version_behind_is_understood,
        a_manager_that_speaks_no_common_version_is_told,
        what_says_nothing_sensible_is_no_manager,
    ]
}

/// A connection to the keeper, as any manager makes one.
pub fn knock(place: &Place) -> OwnedFd {
    let dir = std::fs::File::open(place.path().join("instances").join(place.uuid())).unwrap();
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/keeper", dir.as_raw_fd())).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    socket
}

pub fn say(socket: &OwnedFd, text: &str) {
    rustix::net::send(socket, text.as_bytes(), SendFlags::empty()).unwrap();
}

pub fn hear(socket: &OwnedFd) -> Option<Value> {
    let mut text = vec![0; 64 * 1024];
    let (length, _) = rustix::net::recv(socket, &mut text[..], RecvFlags::empty()).unwrap();
    (length > 0).then(|| serde_json::from_slice(&text[..length]).unwrap())
}

/// EN-10: version 1 is what managers spoke before environments outlived them. Such a one gets its own version, hears nothing that is newer, and rules.
fn a_manager_one_version_behind_is_understood() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    first.create();
    let (agent, keeper) = (agents(place.uuid())[0], first.keeper);
    first.kill();
    let old = knock(&place);
    say(&old, r#"{"version_min":1,"version_max":1}"#);
    assert_eq!(hear(&old), Some(json!({ "welcome": { "version": 1 } })));
    let up = hear(&old).unwrap();
    assert_eq!(up["up"]["storage"], "btrfs pool", "{up}");
    let (_, facts) = place.facts();
    let berth = facts["berth"]["name"].as_str().unwrap();
    say(&old, &json!({ "deadline": { "berth": berth, "deadline_boot_ms": null, "grace_ms": 100 } }).to_string());
    assert!(!is_dead(agent));
    say(&old, &json!({ "kill": { "berth": berth } }).to_string());
    // Berths that nobody had ordered anything for are cleaned up beside it.
    let of_berth = || loop {
        let said = hear(&old).unwrap();
        if ["ended", "cleaned"].iter().any(|what| said[what]["berth"] == berth) {
            return said;
        }
    };
    assert_eq!(of_berth(), json!({ "ended": { "berth": berth, "exit_code": null, "signal": 9 } }));
    assert_eq!(of_berth(), json!({ "cleaned": { "berth": berth, "problem": null } }));
    say(&old, r#""quit""#);
    while hear(&old) != Some(json!("bye")) {}
    until("the keeper is gone", || is_dead(keeper));
    place.assert_nothing_is_left();
}

/// EN-10
fn a_manager_that_speaks_no_common_version_is_told() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    place.uuid();
    first.kill();
    let ahead = knock(&place);
    say(&ahead, r#"{"version_min":7,"version_max":9,"colour":"red"}"#);
    assert_eq!(hear(&ahead), Some(json!({ "no_version": { "version_min": 1, "version_max": 3 } })));
    assert_eq!(hear(&ahead), None);
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    place.end(second);
}

/// EN-10
fn what_says_nothing_sensible_is_no_manager() {
    let place = Place::new();
    let mut first = Manager::start(place.path());
    let id = first.create();
    place.uuid();
    first.kill();
    let silent: Vec<OwnedFd> = (0..20).map(|_| knock(&place)).collect();
    let mad = knock(&place);
    say(&mad, "hello?");
    assert_eq!(hear(&mad), None);
    let mut second = Manager::start(place.path());
    assert_eq!(second.adopt(&id), json!({ "found": "alive" }));
    drop(silent);
    place.end(second);
}
