//! Output of one exec: from its pipes to wherever it goes, within the cap, and never more than there is room for.

use crate::connection::OutBuffer;
use crate::poll::Source;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tenure_protocol::{DATA_MAX, Reply, Stream, Written};

/// Most reads of one stream per turn, so that a program that never stops talking does not starve others.
const READS_PER_TURN: usize = 4;
/// A terminal does not say how much it holds; its buffers hold less than this.
const TERMINAL_HOLDS: u64 = 128 * 1024;

/// One pipe or terminal that is read from.
#[derive(Debug)]
struct Tap {
    source: Source,
    stream: Stream,
    /// What is still to be read once the program has ended and somebody else keeps the pipe open.
    left: Option<u64>,
}

/// Where output goes.
#[derive(Debug)]
enum Target {
    /// To the attached connection; it waits while there is none.
    Peer,
    /// Into files, within the cap; never waits.
    Files(Files),
    /// Nowhere: whoever would have read it is gone, and whoever still writes shall not be stopped.
    Nowhere,
}

/// Most that is kept, in files, of what processes print that outlive their exec.
const LEFT_BEHIND_BYTES: u64 = 1 << 20;

/// The files of [`tenure_protocol::Sink::File`].
#[derive(Debug)]
pub struct Files {
    files: Vec<OwnedFd>,
    cap_left: u64,
    totals: [Written; 2],
    reported: [Written; 2],
}

impl Files {
    /// One file with a terminal, two without: output, then error.
    pub fn new(files: Vec<OwnedFd>, cap_bytes: u64) -> Self {
        Files { files, cap_left: cap_bytes, totals: Default::default(), reported: Default::default() }
    }

    fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let index = usize::from(stream == Stream::Error);
        let wanted = bytes.len().min(usize::try_from(self.cap_left).unwrap_or(usize::MAX));
        let written = self.files.get(index).map_or(0, |file| write_whole(file, &bytes[..wanted])) as u64;
        self.cap_left -= written;
        self.totals[index].bytes += written;
        self.totals[index].dropped += bytes.len() as u64 - written;
    }
}

/// Writes until it is done or the file takes no more; says how much it took.
fn write_whole(file: &OwnedFd, bytes: &[u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::write(file, &bytes[done..]) {
            Ok(0) => break,
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    done
}

/// All output of one exec.
#[derive(Debug)]
pub struct Output {
    taps: Vec<Tap>,
    target: Target,
    terminal: bool,
    /// Whether the exec has ended for its reader: what still comes is from processes it left behind.
    over: bool,
}

impl Output {
    /// Sources in the order output, error; only one for a terminal. Without files it goes to the peer.
    pub fn new(sources: Vec<Source>, files: Option<Files>, terminal: bool) -> Self {
        let streams = [Stream::Output, Stream::Error];
        let taps =
            sources.into_iter().zip(streams).map(|(source, stream)| Tap { source, stream, left: None }).collect();
        Output { taps, target: files.map_or(Target::Peer, Target::Files), terminal, over: false }
    }

    pub fn goes_to_peer(&self) -> bool {
        matches!(self.target, Target::Peer)
    }

    /// Whether every pipe is at its end.
    pub fn closed(&self) -> bool {
        self.taps.is_empty()
    }

    /// Whether there is nothing left that belongs to the exec itself.
    pub fn drained(&self) -> bool {
        self.taps.iter().all(|tap| tap.left == Some(0))
    }

    /// Totals so far, output and error.
    pub fn totals(&self) -> [Written; 2] {
        match &self.target {
            Target::Files(files) => files.totals,
            Target::Peer | Target::Nowhere => Default::default(),
        }
    }

    /// How much more is written into files.
    pub fn room(&self) -> Option<u64> {
        match &self.target {
            Target::Files(files) => Some(files.cap_left),
            Target::Peer | Target::Nowhere => None,
        }
    }

    /// The totals are told, and from here on it is little that is written into files: for whoever holds a pipe that the program left behind. Says how much.
    pub fn leave_behind(&mut self) -> u64 {
        let closed = self.closed();
        match &mut self.target {
            Target::Files(files) => {
                files.cap_left = if closed { 0 } else { files.cap_left.min(LEFT_BEHIND_BYTES) };
                files.cap_left
            }
            Target::Peer | Target::Nowhere => 0,
        }
    }

    /// The program is gone, and others keep its pipes open: what they hold now still belongs to it.
    pub fn settle(&mut self) {
        for tap in &mut self.taps {
            let held = if self.terminal { Ok(TERMINAL_HOLDS) } else { rustix::io::ioctl_fionread(&tap.source) };
            tap.left.get_or_insert(held.unwrap_or(0));
        }
    }

    pub fn settled(&self) -> bool {
        self.taps.iter().all(|tap| tap.left.is_some())
    }

    /// The exec is over for whoever read it. Files go on being filled; frames go nowhere.
    pub fn finish(&mut self) {
        self.over = true;
        if self.goes_to_peer() {
            self.target = Target::Nowhere;
        }
    }

    /// Reads what there is, as far as there is room for it.
    pub fn pump(&mut self, mut peer: Option<&mut OutBuffer>, scratch: &mut [u8]) {
        let mut index = 0;
        while index < self.taps.len() {
            match self.pump_tap(index, peer.as_deref_mut(), scratch) {
                Flow::Ended => drop(self.taps.remove(index)),
                Flow::Going => index += 1,
            }
        }
        self.report(peer.as_deref_mut());
        self.update_interest(peer.as_deref());
    }

    fn wants(&self, tap: &Tap, peer: Option<&OutBuffer>) -> bool {
        if !self.over && tap.left == Some(0) {
            return false;
        }
        match self.target {
            Target::Peer => peer.is_some_and(OutBuffer::has_room),
            Target::Files(_) | Target::Nowhere => true,
        }
    }

    fn pump_tap(&mut self, index: usize, mut peer: Option<&mut OutBuffer>, scratch: &mut [u8]) -> Flow {
        for _ in 0..READS_PER_TURN {
            if !self.wants(&self.taps[index], peer.as_deref()) {
                break;
            }
            let over = self.over;
            let tap = &mut self.taps[index];
            let left = tap.left.filter(|_| !over).unwrap_or(u64::MAX);
            let most = scratch.len().min(DATA_MAX).min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = match rustix::io::read(&tap.source, &mut scratch[..most]) {
                // A terminal whose last user is gone answers EIO.
                Ok(0) | Err(Errno::IO) => return Flow::Ended,
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    tap.left = tap.left.map(|_| 0);
                    break;
                }
                Err(_) => return Flow::Ended,
            };
            tap.left = tap.left.map(|left| left.saturating_sub(read as u64));
            match (&mut self.target, peer.as_deref_mut()) {
                (Target::Peer, Some(peer)) => peer.data(tap.stream, &scratch[..read]),
                (Target::Files(files), _) => files.append(tap.stream, &scratch[..read]),
                (Target::Peer, None) | (Target::Nowhere, _) => {}
            }
        }
        Flow::Going
    }

    /// Tells the peer about files that have grown, once what it was told before is on its way.
    fn report(&mut self, peer: Option<&mut OutBuffer>) {
        let (Target::Files(files), Some(peer)) = (&mut self.target, peer) else { return };
        if files.totals != files.reported && peer.is_empty() && !self.over {
            let [output, error] = files.totals;
            peer.reply(&Reply::Progress { output, error });
            files.reported = files.totals;
        }
    }

    fn update_interest(&mut self, peer: Option<&OutBuffer>) {
        for index in 0..self.taps.len() {
            let wants = self.wants(&self.taps[index], peer);
            self.taps[index].source.want(if wants { EventFlags::IN } else { EventFlags::empty() });
        }
    }
}

enum Flow {
    Going,
    Ended,
}
