//! The promises of the port, kept by the Linux driver.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod ground;

use ground::{Inside, Storage, keeper};

fn main() {
    ground::main(
        &[Storage::Pool],
        trials![everything_that_every_driver_promises_holds, what_every_driver_promises_of_adoption_holds],
    );
}

/// EN-3, EN-5, EN-6, TM-7
async fn everything_that_every_driver_promises_holds() {
    let inside = Inside::with(keeper(0), |spec| drop(spec.env.insert("FROM_SPEC".into(), "spec".into()))).await;
    tenure_environment::conformance::everything(inside.env.as_ref()).await;
}

/// EN-10
async fn what_every_driver_promises_of_adoption_holds() {
    let inside = Inside::new(keeper(0)).await;
    tenure_environment::conformance::every_adoption(&keeper(0).driver, inside.env.as_ref()).await;
}
