//! Steps of building an environment: each has a name, so that a failure says where it happened.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;

/// A step that failed. It is passed on from process to process until it reaches the manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The step.
    pub stage: Cow<'static, str>,
    /// What the kernel said.
    pub detail: String,
}

/// The result of a step.
pub type Step<T> = Result<T, Failed>;

impl Failed {
    /// A failure in words.
    pub fn new(stage: &'static str, detail: impl ToString) -> Failed {
        Failed { stage: stage.into(), detail: detail.to_string() }
    }
}

/// Names the step in which an error happened.
pub trait Named<T> {
    /// Adds the name.
    fn step(self, name: &'static str) -> Step<T>;
}

impl<T> Named<T> for Result<T, Errno> {
    fn step(self, name: &'static str) -> Step<T> {
        self.map_err(|errno| Failed::new(name, errno))
    }
}

impl<T> Named<T> for io::Result<T> {
    fn step(self, name: &'static str) -> Step<T> {
        self.map_err(|error| Failed::new(name, error))
    }
}
