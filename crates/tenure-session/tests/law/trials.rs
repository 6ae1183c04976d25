//! One list per file of the suite: each check is a test of the right law, and is run against every wrong one.

use crate::law::Law;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A check by its name.
pub type Check = (&'static str, fn(&Law));

/// Makes the tests of the right law and the list for the wrong ones.
macro_rules! trials {
    [$($name:ident),+ $(,)?] => {
        pub const CHECKS: &[$crate::trials::Check] = &[$((stringify!($name), $name)),+];

        mod of_the_right_law {
            $(#[test]
            fn $name() {
                super::$name(&$crate::law::RIGHT);
            })+
        }
    };
}

/// Runs a property. The right law meets new cases in every run; a wrong one always the same, so that it is caught always or never.
pub fn property<S: Strategy>(law: &Law, cases: u32, strategy: S, check: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = if law.wrong.is_empty() {
        TestRunner::new(config)
    } else {
        let config = Config { max_shrink_iters: 0, ..config };
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let outcome = runner.run(&strategy, |value| {
        check(value);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
