//! Tenure as a service: the same measurements over HTTP, with the store behind them, each answer as durable as the API promises.

mod client;
mod crowd;
mod fill;
mod load;
mod overhead;
pub mod renewals;
pub mod restart;
mod server;
mod single;
pub mod sweep;

pub use overhead::serve_bare;

use std::path::Path;

use crate::side_by_side::Effort;
use bench::measure::Table;
use bench::peer::Peer;

/// All tables over HTTP. `program` is the release binary.
pub fn tables(
    program: &Path,
    work: &Path,
    peers: &mut [Box<dyn Peer>],
    effort: Effort,
    idle: usize,
) -> anyhow::Result<Vec<Table>> {
    let mut tables = single::tables(program, work, peers, effort)?;
    tables.push(crowd::fifty(program, work, effort)?);
    tables.push(crowd::idle(program, work, idle)?);
    tables.push(overhead::table(program, work, effort)?);
    Ok(tables)
}
