//! What a keeper finds of the one before it: from the facts that were written down, and from the kernel's own tables.

use super::berth::Berth;
use super::facts::{Bound, End, FORMAT, Facts, FactsDir};
use super::ground::Ground;
use crate::process::{self, Identity};
use crate::storage::{Owner, Volume};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use tenure_environment::Enforced;
use tenure_protocol::Key;

/// What is there of one berth.
pub enum Recovered {
    /// Its agent lives: the same process, proven.
    Alive(Box<Facts>, OwnedFd),
    /// Its agent has ended, and nobody saw how. What it left is to be taken down.
    Ended(Box<Facts>),
    /// Somebody has to be told of it, and nothing is to be done until it is discarded: it has ended and was cleaned up, or it is lost.
    Told(Box<Facts>),
    /// As [`Recovered::Told`], of files of another boot; what runs there was not finished when its keeper died, and goes.
    Unfinished(Box<Facts>),
    /// It belongs to nobody, and is to be taken down.
    Stray,
}

/// Everything of this instance, by berth.
pub fn everything(ground: &Ground, facts: &FactsDir) -> Vec<(String, Recovered)> {
    let mut written = facts.read_all();
    let running: BTreeSet<String> = running(ground).collect();
    names(ground, &running, written.keys())
        .into_iter()
        .map(|name| {
            let found = match (written.remove(&name), ground.survivor(&name)) {
                (Some(facts), _) if facts.boot_id == ground.boot_id && facts.bound.is_some() => recover(facts),
                // What a volume says of itself is newer than what was written down elsewhere, or as old.
                (_, Some(owner)) if running.contains(&name) => {
                    Recovered::Unfinished(Box::new(survivor(ground, &name, owner)))
                }
                (_, Some(owner)) => Recovered::Told(Box::new(survivor(ground, &name, owner))),
                (Some(facts), None) if facts.bound.is_some() => Recovered::Told(Box::new(rebooted(ground, facts))),
                (Some(_) | None, None) => Recovered::Stray,
            };
            (name, found)
        })
        .collect()
}

/// What is to be told of files that another boot left in this berth, whatever was written down of it elsewhere.
pub fn survivor(ground: &Ground, name: &str, owner: Owner) -> Facts {
    let volume = Volume { path: ground.volumes.dir().join(name), limited: ground.volumes.limited() };
    Facts {
        format: FORMAT,
        evidence: Some(other_boot(&owner.boot_id, &ground.boot_id)),
        bound: Some(Bound { environment: owner.environment, generation: owner.generation }),
        boot_id: owner.boot_id,
        berth: Berth {
            name: name.to_owned(),
            group: ground.groups.group(name),
            volume,
            socket_dir: ground.socket_dir(name),
            pid: 0,
            started_ticks: 0,
            id_base: None,
            enforced: Enforced::default(),
        },
        // Nobody answers to it any more.
        key: Key([0; 32]),
        locks: Vec::new(),
        grace_ms: 0,
        deadline_boot_ms: None,
        end: None,
        survived: true,
    }
}

/// One of another boot, whose volume does not say that it is of that boot: there is none, or it was made before volumes said whose they are.
fn rebooted(ground: &Ground, facts: Facts) -> Facts {
    let (volumes, name) = (&ground.volumes, &facts.berth.name);
    let silent = volumes.exists(name) && volumes.owner(name).is_none();
    let survived = silent && facts.end.is_none() && facts.evidence.is_none();
    let evidence = other_boot(&facts.boot_id, &ground.boot_id);
    let evidence = if survived { evidence } else { format!("{evidence}; its files did not survive") };
    Facts { evidence: facts.evidence.or(Some(evidence)), survived, ..facts }
}

fn other_boot(then: &str, now: &str) -> String {
    format!("the host has booted since: {then} then, {now} now")
}

/// The berths in which an agent runs.
fn running(ground: &Ground) -> impl Iterator<Item = String> {
    let prefix = format!("{}/", ground.instance.uuid);
    process::marks(&prefix).into_iter().map(move |mark| mark[prefix.len()..].to_owned())
}

/// All berths of which anything is there.
fn names<'a>(
    ground: &Ground,
    running: &BTreeSet<String>,
    written: impl Iterator<Item = &'a String>,
) -> BTreeSet<String> {
    let sockets = std::fs::read_dir(ground.instance.sockets()).into_iter().flatten().flatten();
    let sockets = sockets.filter_map(|entry| entry.file_name().into_string().ok());
    let found =
        running.iter().cloned().chain(sockets).chain(ground.groups.existing_names()).chain(ground.volumes.existing());
    found.chain(written.cloned()).filter(|name| is_berth(name)).collect()
}

/// A tenant chooses the words of its processes: what is no berth's name is none of ours, and leads nowhere.
fn is_berth(name: &str) -> bool {
    name.strip_prefix('b')
        .is_some_and(|number| (6..=16).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

/// One of this boot.
fn recover(mut facts: Facts) -> Recovered {
    if facts.end.is_some() || facts.evidence.is_some() {
        return Recovered::Told(Box::new(facts));
    }
    let (pid, started) = (facts.berth.pid, facts.berth.started_ticks);
    match process::identify(pid, started) {
        Identity::Same(pidfd) => Recovered::Alive(Box::new(facts), pidfd),
        Identity::Gone => {
            facts.end = Some(End::default());
            Recovered::Ended(Box::new(facts))
        }
        Identity::Another(now) => {
            facts.evidence = Some(format!("process {pid} started at tick {now}, its agent at tick {started}"));
            Recovered::Told(Box::new(facts))
        }
    }
}

/// A number for the next berth that none of these has, nor any that was here earlier in this boot of the host: a manager may still speak of them.
pub fn next_number<'a>(names: impl Iterator<Item = &'a String>, boot_ms: u64) -> u64 {
    // A number past this nobody counted up to: a tenant made it up.
    const COUNTED_MAX: u64 = 1_000_000_000_000_000;
    let counted = names.filter_map(|name| name[1..].parse::<u64>().ok()).filter(|number| *number < COUNTED_MAX);
    let highest = counted.max().unwrap_or(0);
    // More than one berth per millisecond is not made.
    highest.saturating_add(1).max(boot_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-10: what a tenant calls itself leads nowhere.
    #[test]
    fn only_berths_names_are_names_of_berths() {
        assert!(is_berth("b000001") && is_berth("b1234567890"));
        for name in ["", "b", "b1", "../b000001", "b000001/..", "b00000x", "c000001", "b99999999999999999"] {
            assert!(!is_berth(name), "{name}");
        }
    }

    /// EN-10: a berth's name never passes to another one while somebody may speak of it.
    #[test]
    fn numbers_of_berths_are_not_used_again() {
        let names = ["b000009".to_owned(), "b5000".to_owned()];
        assert_eq!(next_number(names.iter(), 100), 5001);
        assert_eq!(next_number(names.iter(), 1_000_000), 1_000_000);
    }
}
