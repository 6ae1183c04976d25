//! The tables of one row per tool. Tools take turns in short blocks, so that a busy moment of the machine hits all alike.

use std::io;
use std::time::Duration;

use bench::measure::{Samples, Table, repeat};
use bench::peer::Peer;

/// How many samples are taken.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    blocks: usize,
    per_block: usize,
    per_block_spaced: usize,
}

/// For figures to quote: 200 back to back, 50 spaced.
pub const FULL: Effort = Effort { blocks: 10, per_block: 20, per_block_spaced: 5 };
/// For a look.
pub const QUICK: Effort = Effort { blocks: 2, per_block: 10, per_block_spaced: 3 };

const CREATE_PAUSE: Duration = Duration::from_millis(100);
const EXEC_PAUSE: Duration = Duration::from_millis(50);

type Measure = fn(&mut dyn Peer) -> io::Result<Duration>;

/// From starting the tool to its end.
pub fn whole(peers: &mut [Box<dyn Peer>], effort: Effort) -> Table {
    let head = ["tool", "back to back, ms: median (p99)", "100 ms apart", "samples", "without"];
    let mut table = Table::new("Run /bin/true in an environment made and removed for it", &head);
    let mut active: Vec<&mut dyn Peer> = peers.iter_mut().map(|p| &mut **p as &mut dyn Peer).collect();
    fill(&mut table, &mut active, effort, CREATE_PAUSE, |peer| peer.create_and_destroy());
    table
}

/// A program in a running environment.
pub fn exec(peers: &mut [Box<dyn Peer>], effort: Effort) -> Table {
    let head = ["tool", "back to back, ms: median (p99)", "50 ms apart", "samples", "without"];
    let mut table = Table::new("Run /bin/true in a running environment", &head);
    let mut active: Vec<&mut dyn Peer> = Vec::new();
    for peer in peers {
        match peer.start() {
            Ok(true) => active.push(&mut **peer),
            Ok(false) => table.note(format!("{} cannot do this.", peer.name())),
            Err(error) => table.note(format!("{} did not start: {error}", peer.name())),
        }
    }
    fill(&mut table, &mut active, effort, EXEC_PAUSE, |peer| peer.exec());
    active.iter_mut().for_each(|peer| peer.stop());
    table
}

fn fill(table: &mut Table, peers: &mut [&mut dyn Peer], effort: Effort, pause: Duration, measure: Measure) {
    let fresh = |_: &&mut dyn Peer| (Samples::default(), Samples::default(), None::<io::Error>);
    let mut results: Vec<_> = peers.iter().map(fresh).collect();
    for _ in 0..effort.blocks {
        for (peer, (quick, spaced, failed)) in peers.iter_mut().zip(&mut results) {
            if failed.is_none() {
                *failed = block(*peer, effort, pause, measure, quick, spaced).err();
            }
        }
    }
    for (peer, (quick, spaced, failed)) in peers.iter().zip(results) {
        let counts = format!("{} + {}", quick.len(), spaced.len());
        table.row([peer.name(), &quick.cell(), &spaced.cell(), &counts, peer.differs()]);
        if let Some(error) = failed {
            table.note(format!("{} failed: {error}", peer.name()));
        }
    }
}

fn block(
    peer: &mut dyn Peer,
    effort: Effort,
    pause: Duration,
    measure: Measure,
    quick: &mut Samples,
    spaced: &mut Samples,
) -> io::Result<()> {
    let share = if peer.is_slow() { 4 } else { 1 };
    measure(peer)?; // the first after others had their turn warms up and is not counted
    quick.append(repeat((effort.per_block / share).max(2), Duration::ZERO, |_| measure(peer))?);
    spaced.append(repeat((effort.per_block_spaced / share).max(2), pause, |_| measure(peer))?);
    Ok(())
}
