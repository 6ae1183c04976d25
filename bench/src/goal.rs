//! Goals, and whether this run reached them.

use crate::side_by_side::Outcome;
use bench::measure::{Table, ms};

/// What a row's median may be at most.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// So many milliseconds.
    Ms(f64),
    /// One part in so many of what the peer takes.
    Share {
        /// The peer, by the beginning of its row's name.
        of: &'static str,
        /// How many.
        parts: f64,
    },
}

/// A goal for the row of this name.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The row.
    pub row: &'static str,
    /// Its bound.
    pub bound: Bound,
}

/// A verdict, for a cell.
pub fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**not reached**" }
}

/// Compares what was measured with the goals.
pub fn table(title: &str, goals: &[Goal], outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(title, &["goal, at the median", "back to back", "spaced"]);
    for goal in goals {
        let wanted = match goal.bound {
            Bound::Ms(most) => format!("{} ≤ {most} ms", goal.row),
            Bound::Share { of, parts } => format!("{} ≤ 1/{parts} of {of}", goal.row),
        };
        table.row([wanted, cell(goal, outcomes, |o| o.quick), cell(goal, outcomes, |o| o.spaced)]);
    }
    table
}

fn cell(goal: &Goal, outcomes: &[Outcome], median: fn(&Outcome) -> Option<f64>) -> String {
    let of = |found: Option<&Outcome>| found.and_then(median);
    let own = of(outcomes.iter().find(|outcome| outcome.name == goal.row));
    match (goal.bound, own) {
        (Bound::Ms(most), Some(own)) => format!("{} ms: {}", ms(own), verdict(own <= most)),
        (Bound::Share { of: peer, parts }, Some(own)) => {
            match of(outcomes.iter().find(|outcome| outcome.name.starts_with(peer))) {
                Some(its) => format!("1/{:.1}: {}", its / own, verdict(own * parts <= its)),
                None => "not measured".to_owned(),
            }
        }
        (_, None) => "not measured".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_judged_by_the_peer_of_the_same_run() {
        let outcome = |name: &str, median| Outcome { name: name.into(), quick: Some(median), spaced: None };
        let outcomes = [outcome("own", 4.0), outcome("crun 1.8", 8.0)];
        let check = |bound, expected: &str| {
            assert_eq!(cell(&Goal { row: "own", bound }, &outcomes, |o| o.quick), expected);
        };
        check(Bound::Ms(4.0), "4.00 ms: reached");
        check(Bound::Ms(3.9), "4.00 ms: **not reached**");
        check(Bound::Share { of: "crun", parts: 2.0 }, "1/2.0: reached");
        check(Bound::Share { of: "crun", parts: 3.0 }, "1/2.0: **not reached**");
        check(Bound::Share { of: "podman", parts: 3.0 }, "not measured");
    }
}
