//! Every order of events in small worlds: breadth first, so that what is found wrong is found by the shortest way to it.

use crate::law::Law;
use crate::world::{HOLDERS, Scratch, World};
use std::collections::{HashSet, VecDeque};

trials![two_holders_a_clock_set_back_and_a_crash, three_holders_that_take_over_from_each_other,];

/// LS-2, LS-4, LS-7, GV-6, GV-7
fn two_holders_a_clock_set_back_and_a_crash(law: &Law) {
    let walked = walk(law, World::begin(1, 1), 2, 3);
    assert!(walked > 5_000, "{walked} worlds are few");
}

/// LS-2, LS-4, LS-7
fn three_holders_that_take_over_from_each_other(law: &Law) {
    let walked = walk(law, World::begin(0, 0), HOLDERS, 3);
    assert!(walked > 5_000, "{walked} worlds are few");
}

/// How many worlds there are, after at most so many tokens.
fn walk(law: &Law, begin: World, holders: usize, tokens: u64) -> usize {
    let mut scratch = Scratch::new();
    let mut seen = HashSet::from([begin]);
    let mut next = VecDeque::from([begin]);
    while let Some(world) = next.pop_front() {
        for step in world.steps(holders) {
            let after = world.after(law, step, &mut scratch);
            if after.tokens_given() <= tokens && seen.insert(after) {
                next.push_back(after);
            }
        }
    }
    seen.len()
}
