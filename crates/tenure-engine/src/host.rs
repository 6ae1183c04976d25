//! Low-water marks of the host: with less than they say no new session is made, so that those there are can go on and be ended (GV-5).
//!
//! Looked at when a session is to be made, so that no task in the background is needed; and when somebody reads metrics or asks whether we are ready.

use crate::engine::Engine;
use crate::error::EngineError;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is free on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostFree {
    /// Bytes in the file system of the data directory; `None` where that cannot be read.
    pub disk_bytes: Option<u64>,
    /// Bytes of memory that can be had without swapping; `None` where that cannot be read.
    pub memory_bytes: Option<u64>,
    /// Bytes of disk that are held back for the database, and given to it when nothing else is left.
    pub reserve_bytes: u64,
}

/// Reads what is free on the host. Asked for each new session: it must answer at once.
pub trait HostGauge: Send + Sync {
    /// What is free now.
    fn free(&self) -> HostFree;
}

/// A host about which nothing is known: no mark is ever reached.
pub struct NoGauge;

impl HostGauge for NoGauge {
    fn free(&self) -> HostFree {
        HostFree::default()
    }
}

/// One mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowMark {
    /// The setting that it is.
    pub name: &'static str,
    /// What must be free.
    pub limit: u64,
    /// What is.
    pub value: u64,
}

/// The host as it was last looked at.
pub(crate) struct HostWatch {
    gauge: Box<dyn HostGauge>,
    disk_is_low: AtomicBool,
    memory_is_low: AtomicBool,
}

impl HostWatch {
    /// With what reads the host.
    pub fn new(gauge: Box<dyn HostGauge>) -> HostWatch {
        HostWatch { gauge, disk_is_low: AtomicBool::new(false), memory_is_low: AtomicBool::new(false) }
    }
}

impl Engine {
    /// Looks at the host: what is free goes into the metrics, and each change into the log, once. The marks that it is below.
    pub fn host_low(&self) -> Vec<LowMark> {
        let (watch, settings) = (self.host_watch(), self.settings());
        let free = watch.gauge.free();
        self.meters().host_free(free);
        let marks = [
            ("host.min_free_disk_bytes", settings.min_free_disk_bytes, free.disk_bytes, &watch.disk_is_low),
            ("host.min_free_memory_bytes", settings.min_free_memory_bytes, free.memory_bytes, &watch.memory_is_low),
        ];
        let low = marks.into_iter().filter_map(|(name, limit, free, was_low)| {
            let low = free.filter(|free| *free < limit).map(|value| LowMark { name, limit, value });
            if was_low.swap(low.is_some(), Ordering::Relaxed) != low.is_some() {
                match low {
                    Some(LowMark { value, .. }) => {
                        tracing::warn!(mark = name, limit, free = value, "the host runs low: no new sessions");
                    }
                    None => tracing::info!(mark = name, limit, free, "the host has room again: new sessions are made"),
                }
            }
            low
        });
        low.collect()
    }

    /// New sessions are made only where the host has room.
    pub(crate) fn refuse_while_low(&self) -> Result<(), EngineError> {
        self.host_low().into_iter().next().map_or(Ok(()), |mark| Err(EngineError::HostLow(mark)))
    }
}
