//! What the benchmarks and the trials share: measuring, printing, and the few kernel calls that the trials are about.

pub mod files;
pub mod kernel;
pub mod measure;
pub mod memory;
pub mod peer;
