//! Limits that the kernel held a session to: counted from what it says whenever it is asked, and at the end (GV-4, MT-1).

use crate::engine::Engine;
use crate::live::Live;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenure_environment::{Environment, EnvironmentError, KernelLimit, Observation};

/// How long the kernel's word on an environment is waited for: its session's end waits for it, too.
const OBSERVED_WITHIN: Duration = Duration::from_secs(1);

/// What the kernel said of an environment when it was asked last.
pub(crate) struct Reached(Mutex<Option<Observation>>);

impl Reached {
    /// Of a new one.
    pub fn of_new() -> Reached {
        Reached(Mutex::new(Some(Observation::default())))
    }

    /// Of one that was there before this start, which may have counted it: what is new begins with the first look.
    pub fn of_old() -> Reached {
        Reached(Mutex::new(None))
    }

    /// How often each limit was run into since the last look.
    fn look(&self, now: Observation) -> [(KernelLimit, u64); 3] {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(now).unwrap_or(now);
        KernelLimit::ALL.map(|limit| {
            let (before, times) = (last.times_reached(limit), now.times_reached(limit));
            // Another life of an environment counts from 0.
            (limit, times.checked_sub(before).unwrap_or(times))
        })
    }
}

impl Engine {
    /// What the kernel says of a session's environment.
    pub(crate) async fn observe(
        &self,
        live: &Live,
        environment: &dyn Environment,
    ) -> Result<Observation, EnvironmentError> {
        let observed = tokio::time::timeout(OBSERVED_WITHIN, environment.observe());
        let now = observed.await.unwrap_or(Err(EnvironmentError::Timeout))?;
        for (limit, times) in live.reached.look(now) {
            self.meters().limit_reached(limit, times);
        }
        Ok(now)
    }
}
