//! Wrong laws: each is the right one but for one function, and the suite must catch every one of them.
//!
//! They are values, compiled together with the suite. One that is not caught is a rule of the law that nothing proves.

mod clock;
mod gate;
mod record;

use crate::law::{Law, RIGHT};
use crate::trials::Check;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// Every list of checks there is, the cheap ones first.
const SUITE: [&[Check]; 13] = [
    crate::id::CHECKS,
    crate::machine::CHECKS,
    crate::ending::CHECKS,
    crate::caller::CHECKS,
    crate::execs::CHECKS,
    crate::limits::CHECKS,
    crate::failure::CHECKS,
    crate::order::CHECKS,
    crate::table::CHECKS,
    crate::clock::CHECKS,
    crate::crash::CHECKS,
    crate::view::CHECKS,
    crate::simulation::CHECKS,
];

thread_local! {
    /// Whether panics of this thread are expected, and are not worth a word.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// The first check that this law fails.
fn caught_by(law: &Law) -> Option<&'static str> {
    let fails = |check: &&Check| catch_unwind(AssertUnwindSafe(|| (check.1)(law))).is_err();
    SUITE.into_iter().flatten().find(fails).map(|(name, _)| *name)
}

/// Runs with the panics of this thread unheard.
fn in_silence<T>(run: impl FnOnce() -> T) -> T {
    let heard = take_hook();
    set_hook(Box::new(move |info| {
        if !EXPECTED.get() {
            heard(info);
        }
    }));
    EXPECTED.set(true);
    let result = run();
    EXPECTED.set(false);
    result
}

/// ID-1, ID-3, LC-1, LC-3, LC-4, LC-8, LC-9, TM-1, TM-2, TM-3, TM-4, TM-5, GV-1, GV-2, GV-3, GV-6, AU-3, TR-3, TR-8, ST-1, FL-1
#[test]
fn every_wrong_law_is_caught() {
    let laws: Vec<&Law> = [clock::LAWS, clock::STORED, gate::LAWS, record::LAWS].into_iter().flatten().collect();
    assert!(laws.len() >= 24, "there are {} wrong laws", laws.len());
    let verdicts: Vec<(&str, Option<&str>)> =
        in_silence(|| laws.iter().map(|law| (law.wrong, caught_by(law))).collect());
    for (wrong, caught) in &verdicts {
        println!("{wrong}: {}", caught.unwrap_or("not caught"));
    }
    let free: Vec<&str> = verdicts.iter().filter(|(_, caught)| caught.is_none()).map(|(wrong, _)| *wrong).collect();
    assert!(free.is_empty(), "not caught: {free:#?}");
}

/// TM-4, GV-3, GV-6, LC-9
#[test]
fn the_model_alone_catches_every_misread_clock() {
    let simulated = |law: &&Law| {
        let fails = |check: &Check| catch_unwind(AssertUnwindSafe(|| (check.1)(law))).is_err();
        crate::simulation::CHECKS.iter().any(fails)
    };
    let free: Vec<&str> =
        in_silence(|| clock::LAWS.iter().filter(|law| !simulated(law)).map(|law| law.wrong).collect());
    assert!(free.is_empty(), "not caught: {free:#?}");
}

/// The suite lets the right law pass also under the eyes that catch the wrong ones: what is caught is caught for what is wrong.
#[test]
fn the_right_law_is_not_caught() {
    let seeded = Law { wrong: "nothing", ..RIGHT };
    assert_eq!(caught_by(&seeded), None);
}
