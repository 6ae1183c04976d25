//! Environments from Linux namespaces: the walls, the storage and the control groups behind them, and the keeper that makes them.
//!
//! Entry points: [`keeper::start`] forks the keeper, before any thread is started; [`LinuxDriver::connect`] then is the
//! [`tenure_environment::Driver`]. What is where: [`walls`] (namespaces, mounts, capabilities, system calls), [`cgroup`] (limits),
//! [`storage`] (files), [`template`] (base roots), [`keeper`] (processes).

mod adopt;
pub mod cgroup;
pub mod doctor;
mod driver;
mod environment;
pub mod instance;
pub mod keeper;
mod pool;
pub mod process;
pub mod storage;
mod sys;
pub mod template;
mod transport;
mod walls;

pub use driver::LinuxDriver;
pub use environment::LinuxEnvironment;
