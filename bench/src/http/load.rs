//! Load over HTTP from one thread: connections that each have one request on the way, and next to no work between an answer and the next request.
//!
//! Client and server share the processors, so whatever the client does is taken from the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bench::measure::{Done, Samples};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const BOUND: Duration = Duration::from_secs(60);
const HEAD_END: &[u8] = b"\r\n\r\n";
const LENGTH: &[u8] = b"content-length: ";

/// One connection, and what is asked on it.
pub struct Lane {
    address: SocketAddr,
    /// Opened for each window: the server lets nobody wait for long.
    stream: Option<TcpStream>,
    request: Vec<u8>,
    /// Where in the request the name stands that changes.
    slot: Range<usize>,
    names: Vec<String>,
    next: usize,
    answer: Vec<u8>,
    filled: usize,
    sent: Option<Instant>,
}

impl Lane {
    /// A lane that asks for each name in turn, again and again: `path` with `{}` in it, where the name goes. All names are of one length.
    pub fn new(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &str,
        names: Vec<String>,
    ) -> anyhow::Result<Lane> {
        let (before, after) = path.split_once("{}").context("no place for the name")?;
        let first = names.first().context("no names")?;
        ensure!(names.iter().all(|name| name.len() == first.len()), "names of several lengths");
        let start = method.len() + 1 + before.len();
        let request =
            format!("{method} {before}{first}{after} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n").into_bytes();
        let slot = start..start + first.len();
        let (answer, filled) = (vec![0; 16 << 10], 0);
        Ok(Lane { address, stream: None, request, slot, names, next: 0, answer, filled, sent: None })
    }

    fn connect(&mut self) -> anyhow::Result<&TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, BOUND)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(self.stream.insert(stream))
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let name = self.names.get(self.next).context("no name")?;
        self.request.get_mut(self.slot.clone()).context("no slot")?.copy_from_slice(name.as_bytes());
        self.next = (self.next + 1) % self.names.len();
        self.sent = Some(Instant::now());
        // A few hundred bytes into an empty buffer: they go out in one piece.
        let stream = self.stream.as_mut().context("not connected")?;
        ensure!(stream.write(&self.request)? == self.request.len(), "a request was cut");
        Ok(())
    }

    /// Reads what is there; how long the answer took, where it is whole now.
    fn receive(&mut self) -> anyhow::Result<Option<Duration>> {
        let room = self.answer.get_mut(self.filled..).context("the answer is too long")?;
        let read = self.stream.as_mut().context("not connected")?.read(room)?;
        ensure!(read > 0, "the server hung up");
        self.filled += read;
        let bytes = self.answer.get(..self.filled).unwrap_or_default();
        if !is_whole(bytes)? {
            return Ok(None);
        }
        self.filled = 0;
        Ok(self.sent.take().map(|sent| sent.elapsed()))
    }
}

/// Whether an answer is there in full. It must be a 200 with a length.
fn is_whole(bytes: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = find(bytes, HEAD_END) else { return Ok(false) };
    if !bytes.starts_with(b"HTTP/1.1 200") {
        bail!("{}", String::from_utf8_lossy(bytes));
    }
    let at = find(bytes, LENGTH).context("an answer without a length")? + LENGTH.len();
    let digits = bytes.get(at..head).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    Ok(bytes.len() >= head + HEAD_END.len() + length)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Asks on every lane, the next request as soon as the last is answered, until the window is over and whatever is on the way has come back.
pub fn drive(lanes: &mut [Lane], window: Duration) -> anyhow::Result<Done> {
    drive_until(lanes, |begun, _| begun.elapsed() >= window)
}

/// The same, until every lane has asked for each of its names.
pub fn drive_once_around(lanes: &mut [Lane]) -> anyhow::Result<Done> {
    lanes.iter_mut().for_each(|lane| lane.next = 0);
    drive_until(lanes, |_, lane| lane.next == 0)
}

fn drive_until(lanes: &mut [Lane], over: impl Fn(Instant, &Lane) -> bool) -> anyhow::Result<Done> {
    let events = epoll::create(CreateFlags::CLOEXEC)?;
    for (index, lane) in lanes.iter_mut().enumerate() {
        epoll::add(&events, lane.connect()?, EventData::new_u64(index as u64), EventFlags::IN)?;
    }
    let begun = Instant::now();
    lanes.iter_mut().try_for_each(Lane::send)?;
    let (mut on_the_way, mut count, mut latencies) = (lanes.len(), 0, Samples::default());
    let mut ready = Vec::with_capacity(lanes.len());
    while on_the_way > 0 {
        ready.clear();
        epoll::wait(&events, spare_capacity(&mut ready), None)?;
        for event in &ready {
            let index = event.data.u64() as usize;
            let lane = lanes.get_mut(index).context("no lane")?;
            let Some(latency) = lane.receive()? else { continue };
            latencies.push(latency);
            count += 1;
            if over(begun, lane) {
                on_the_way -= 1;
            } else {
                lane.send()?;
            }
        }
    }
    Ok(Done { count, took: begun.elapsed(), latencies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
        let check = |text: &str, whole: bool| assert_eq!(is_whole(text.as_bytes()).unwrap(), whole, "{text}");
        check("HTTP/1.1 200 OK\r\n", false);
        check(head, false);
        check(&format!("{head}ab"), false);
        check(&format!("{head}abc"), true);
        assert!(is_whole(b"HTTP/1.1 410 Gone\r\n\r\n").is_err());
    }
}
