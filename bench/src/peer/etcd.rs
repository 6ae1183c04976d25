//! etcd: one member on loopback with a directory of its own, as it comes (each put flushed), asked over gRPC.
//!
//! Its own `benchmark` is not packaged. The client here does what that does with as many connections as clients: one stream of keep-alives, or one put at
//! a time, on each. It writes the few messages that it needs by hand, over the `h2` crate, on one thread: as little work as an HTTP/2 client can be.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::version;
use crate::measure::{Done, Samples};
use anyhow::{Context as _, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);
const LEASE_S: u64 = 3600;
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const PUT: &str = "/etcdserverpb.KV/Put";
const KEY_BYTES: usize = 32;
const VALUE_BYTES: usize = 64;

/// A share of the leases.
type Numbers = std::iter::StepBy<std::ops::RangeInclusive<u64>>;

/// A running member.
pub struct Etcd {
    /// Its name and version.
    pub name: String,
    dir: PathBuf,
    member: Child,
    address: SocketAddr,
    connections: usize,
    leases: u64,
    runtime: Runtime,
}

impl Etcd {
    /// Starts one with so many leases.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn start(work: &Path, connections: usize, leases: usize) -> anyhow::Result<Etcd> {
        let name = version("etcd")?.replace(" Version:", "");
        let dir = work.join("etcd");
        fs::create_dir(&dir)?;
        let (address, peers) = (free_port()?, free_port()?);
        let log = fs::File::create(dir.join("log"))?;
        let member = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.join("data"))
            .args(["--name", "bench", "--initial-cluster", &format!("bench=http://{peers}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peers}")])
            .args(["--listen-peer-urls", &format!("http://{peers}")])
            .args(["--listen-client-urls", &format!("http://{address}")])
            .args(["--advertise-client-urls", &format!("http://{address}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = Etcd { name, dir, member, address, connections, leases: leases as u64, runtime };
        own.await_first_put()?;
        own.grant()?;
        Ok(own)
    }

    fn await_first_put(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let put = async { Connection::open(self.address).await?.ask(PUT, put(0)).await };
            let error = match self.runtime.block_on(put) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            ensure!(begun.elapsed() < PATIENCE, "it does not answer: {error:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes the leases, numbered from one on.
    fn grant(&self) -> anyhow::Result<()> {
        let lane = move |mut connection: Connection, numbers: Numbers| async move {
            for number in numbers {
                connection.ask(GRANT, message(&[(1, LEASE_S), (2, number)])).await?;
            }
            Ok(Samples::default())
        };
        self.on_all(lane).map(drop)
    }

    /// Renews leases for as long: one stream per connection, one renewal on its way on each.
    ///
    /// # Errors
    /// When a renewal is refused.
    pub fn keep_alive(&self, window: Duration) -> anyhow::Result<Done> {
        let lane = move |mut connection: Connection, numbers: Numbers| async move {
            let (mut samples, begun) = (Samples::default(), Instant::now());
            let (mut to, mut from) = connection.stream(KEEP_ALIVE).await?;
            for number in numbers.cycle().take_while(|_| begun.elapsed() < window) {
                let sent = Instant::now();
                to.send_data(message(&[(1, number)]), false)?;
                let answer = from.next().await?.context("the stream ended")?;
                ensure!(field(&answer, 3).is_some_and(|ttl| ttl > 0), "lease {number} is not known");
                samples.push(sent.elapsed());
            }
            to.send_data(Bytes::new(), true)?;
            Ok(samples)
        };
        self.on_all(lane)
    }

    /// Puts for as long: one at a time on each connection.
    ///
    /// # Errors
    /// When a put is refused.
    pub fn put(&self, window: Duration) -> anyhow::Result<Done> {
        let lane = move |mut connection: Connection, numbers: Numbers| async move {
            let (mut samples, begun) = (Samples::default(), Instant::now());
            for number in numbers.cycle().take_while(|_| begun.elapsed() < window) {
                let sent = Instant::now();
                connection.ask(PUT, put(number)).await?;
                samples.push(sent.elapsed());
            }
            Ok(samples)
        };
        self.on_all(lane)
    }

    /// Does something on every connection at once, with a share of the leases each; all that was done, and how long that took without connecting.
    fn on_all<F>(&self, work: impl Fn(Connection, Numbers) -> F) -> anyhow::Result<Done>
    where
        F: Future<Output = anyhow::Result<Samples>> + 'static,
    {
        let local = tokio::task::LocalSet::new();
        local.block_on(&self.runtime, async {
            let mut connections = Vec::new();
            for _ in 0..self.connections {
                connections.push(Connection::open(self.address).await?);
            }
            let begun = Instant::now();
            let mut lanes = JoinSet::new();
            for (first, connection) in (1..).zip(connections) {
                lanes.spawn_local(work(connection, (first..=self.leases).step_by(self.connections)));
            }
            let mut latencies = Samples::default();
            while let Some(done) = lanes.join_next().await {
                latencies.append(done??);
            }
            Ok(Done { count: latencies.len() as u64, took: begun.elapsed(), latencies })
        })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Its own child, and what it keeps is of no worth.
        let _ = self.member.kill();
        let _ = self.member.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One connection, over which calls are made.
struct Connection {
    calls: SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (calls, connection) = h2::client::Builder::new().initial_window_size(1 << 20).handshake(stream).await?;
        Ok(Connection { calls, driver: tokio::spawn(connection) })
    }

    /// Begins a call.
    async fn begin(&mut self, path: &str) -> anyhow::Result<(h2::client::ResponseFuture, SendStream<Bytes>)> {
        let request = Request::post(format!("http://localhost{path}"))
            .version(http::Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        futures_ready(&mut self.calls).await?;
        Ok(self.calls.send_request(request, false)?)
    }

    /// Begins a call of many messages each way.
    async fn stream(&mut self, path: &str) -> anyhow::Result<(SendStream<Bytes>, Answers)> {
        let (response, to) = self.begin(path).await?;
        Ok((to, Answers { response: Some(response), body: None, bytes: BytesMut::new() }))
    }

    /// Makes a call of one message each way.
    async fn ask(&mut self, path: &str, message: Bytes) -> anyhow::Result<Bytes> {
        let (response, mut to) = self.begin(path).await?;
        to.send_data(message, true)?;
        let mut answers = Answers { response: Some(response), body: None, bytes: BytesMut::new() };
        let answer = answers.next().await?;
        let trailers = match &mut answers.body {
            Some(body) => body.trailers().await?,
            None => None,
        };
        let status = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        ensure!(status.is_some_and(|status| status == "0"), "{path}: {trailers:?}");
        answer.context("no answer")
    }
}

/// Waits until another call may begin.
async fn futures_ready(calls: &mut SendRequest<Bytes>) -> Result<(), h2::Error> {
    std::future::poll_fn(|context| calls.poll_ready(context)).await
}

/// What comes back from a call.
struct Answers {
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    bytes: BytesMut,
}

impl Answers {
    /// The next message; nothing where there are no more.
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        if let Some(response) = self.response.take() {
            self.body = Some(response.await?.into_body());
        }
        let body = self.body.as_mut().context("no answer")?;
        loop {
            if let Some(length) = self.bytes.get(1..5).and_then(|length| length.try_into().ok()) {
                let end = 5 + u32::from_be_bytes(length) as usize;
                if self.bytes.len() >= end {
                    return Ok(Some(self.bytes.split_to(end).freeze().slice(5..)));
                }
            }
            let Some(more) = body.data().await.transpose()? else { return Ok(None) };
            body.flow_control().release_capacity(more.len())?;
            self.bytes.extend_from_slice(&more);
        }
    }
}

/// A message of whole numbers, framed for gRPC.
fn message(fields: &[(u8, u64)]) -> Bytes {
    let mut content = Vec::new();
    for (number, value) in fields {
        content.push(number << 3);
        varint(&mut content, *value);
    }
    framed(&content)
}

fn put(number: u64) -> Bytes {
    let mut content = Vec::new();
    for (field, value) in [(1, format!("{number:0>KEY_BYTES$}")), (2, "x".repeat(VALUE_BYTES))] {
        content.push(field << 3 | 2);
        varint(&mut content, value.len() as u64);
        content.extend_from_slice(value.as_bytes());
    }
    framed(&content)
}

fn framed(content: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(content.len() + 5);
    bytes.put_u8(0);
    bytes.put_u32(content.len() as u32);
    bytes.put_slice(content);
    bytes.freeze()
}

fn varint(into: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        into.push(value as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

/// A whole number of a message, by its field.
fn field(message: &[u8], wanted: u8) -> Option<u64> {
    let mut rest = message.iter().copied();
    loop {
        let key = rest.next()?;
        let value = read_varint(&mut rest)?;
        match key & 7 {
            0 if key >> 3 == wanted => return Some(value),
            0 => {}
            2 => rest.by_ref().take(value as usize).for_each(|_| ()),
            _ => return None,
        }
    }
}

fn read_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// An address that nobody listens on now.
fn free_port() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_behind_others() {
        // A header of two bytes, a lease's number, its time to live.
        let message = [0x0a, 2, 8, 1, 0x10, 0xac, 0x02, 0x18, 60];
        assert_eq!(field(&message, 2), Some(300));
        assert_eq!(field(&message, 3), Some(60));
        assert_eq!(field(&message, 4), None);
    }

    #[test]
    fn a_message_is_framed_with_its_length() {
        assert_eq!(message(&[(1, 300)]).as_ref(), [0, 0, 0, 0, 3, 8, 0xac, 0x02]);
    }
}
