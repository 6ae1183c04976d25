//! Hostile managers: whatever they send, the agent goes on for everybody else.

// The helpers below stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod client;

use client::*;
use proptest::prelude::*;
use std::io::Write;
use std::sync::{Mutex, OnceLock};
use tenure_protocol::*;

/// One agent for all cases: each must leave it in order for the next.
fn agent() -> &'static Mutex<Agent> {
    static AGENT: OnceLock<Mutex<Agent>> = OnceLock::new();
    // A static is never dropped: the agent ends when this process does.
    AGENT.get_or_init(|| Mutex::new(Agent::start_with(Options { dies_with_keeper: true, ..Options::default() })))
}

fn serves_others(agent: &Agent) -> bool {
    agent.connect().ask(&Request::Ping) == Reply::Done
}

/// Sends bytes and reads whatever comes back until the agent has nothing more to say.
fn attack(mut connection: Connection, bytes: &[u8]) {
    let _ = connection.socket.write_all(bytes);
    let _ = connection.socket.shutdown(std::net::Shutdown::Write);
    while connection.try_frame().is_some() {}
}

/// A request as text: of known and unknown types, with fields that may fit or not.
fn request_text() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        Just("bind"),
        Just("deadline"),
        Just("attach"),
        Just("resize"),
        Just("signal_attached"),
        Just("detach"),
        Just("signal"),
        Just("execs"),
        Just("forget"),
        Just("processes"),
        Just("file_read"),
        Just("file_write"),
        Just("file_delete"),
        Just("stat"),
        Just("list"),
        Just("make_dir"),
        Just("rename"),
        Just("watch"),
        Just("dial"),
        Just("ping"),
        Just("exec"),
        Just("reboot"),
        Just(""),
    ];
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("true".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"/proc/none\"".to_owned()),
        Just("\"/dev/zero\"".to_owned()),
        Just("\"/proc/self/mem\"".to_owned()),
        Just("9".to_owned()),
        Just("0".to_owned()),
        "[a-z/.]{0,20}".prop_map(|text| format!("\"{text}\"")),
    ];
    let field = prop_oneof![
        Just("exec_id"),
        Just("signal"),
        Just("path"),
        Just("from"),
        Just("to"),
        Just("port"),
        Just("offset"),
        Just("length"),
        Just("mode"),
        Just("generation"),
        Just("size"),
        Just("cmd"),
        Just("sink"),
    ];
    // Nothing that removes, writes or ends: the paths above lead to nothing that the tenant may change.
    let fields = proptest::collection::vec((field, value), 0..5);
    (kind, fields).prop_map(|(kind, fields)| {
        let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        format!("{{\"type\":\"{kind}\"{fields}}}")
    })
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((payload.len() + 1) as u32).to_le_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// QA-1
    #[test]
    fn random_bytes_before_the_handshake_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let agent = agent().lock().unwrap();
        attack(agent.dial(), &bytes);
        prop_assert!(serves_others(&agent));
    }

    /// QA-1
    #[test]
    fn random_bytes_after_the_handshake_harm_nobody(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
        let agent = agent().lock().unwrap();
        attack(agent.connect(), &bytes);
        prop_assert!(serves_others(&agent));
    }

    /// QA-1
    #[test]
    fn frames_with_anything_in_them_harm_nobody(
        frames in proptest::collection::vec((0u8..3, proptest::collection::vec(any::<u8>(), 0..2000)), 0..8),
        proven in any::<bool>(),
    ) {
        let agent = agent().lock().unwrap();
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, payload)| frame(*kind, payload)).collect();
        attack(if proven { agent.connect() } else { agent.dial() }, &bytes);
        prop_assert!(serves_others(&agent));
    }

    /// QA-1
    #[test]
    fn requests_that_almost_make_sense_harm_nobody(texts in proptest::collection::vec(request_text(), 1..8)) {
        let agent = agent().lock().unwrap();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(0, text.as_bytes())).collect();
        attack(agent.connect(), &bytes);
        prop_assert!(serves_others(&agent));
    }
}

/// QA-1
#[test]
fn whoever_never_reads_is_never_waited_for() {
    let agent = Agent::start();
    let mut greedy = agent.connect();
    greedy.socket.set_nonblocking(true).unwrap();
    let mut wire = Vec::new();
    encode_message(&Request::Processes, &mut wire).unwrap();
    let mut sent = 0usize;
    for _ in 0..200_000 {
        match greedy.socket.write(&wire) {
            Ok(written) if written == wire.len() => sent += 1,
            _ => break,
        }
    }
    assert!(sent < 200_000, "the agent stops reading from who does not read");
    assert!(serves_others(&agent));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 * 1024, "and holds little for it: {kib} KiB");
}

/// QA-1
#[test]
fn an_unfinished_handshake_frame_of_any_length_is_cut_off() {
    let agent = Agent::start();
    let mut connection = agent.dial();
    let mut bytes = (FRAME_MAX as u32).to_le_bytes().to_vec();
    bytes.resize(20_000, b' ');
    connection.socket.write_all(&bytes).unwrap();
    assert!(connection.is_closed());
}

/// QA-1
#[test]
fn data_that_only_the_agent_sends_is_out_of_turn() {
    let agent = Agent::start();
    for stream in [Stream::Output, Stream::Error] {
        let mut connection = agent.connect();
        let mut wire = Vec::new();
        encode_data(stream, b"x", &mut wire);
        connection.socket.write_all(&wire).unwrap();
        assert!(connection.is_closed());
    }
    let mut connection = agent.connect();
    connection.start(&agent.exec(&["sleep", "1000"]));
    connection.send(&Request::Ping);
    assert!(connection.is_closed(), "another request while attached");
    let mut connection = agent.connect();
    connection.send(&Request::FileWrite { path: agent.path("file"), mode: None });
    connection.send(&Request::Ping);
    assert!(connection.is_closed(), "another request within an upload");
    eventually("the upload is undone", || std::fs::read_dir(agent.work()).unwrap().count() == 0);
}

/// QA-1
#[test]
fn a_crowd_of_execs_at_once_is_served() {
    let agent = Agent::start();
    let mut connections: Vec<Connection> = (0..40).map(|_| agent.connect()).collect();
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.send(&Request::Exec(agent.shell(&format!("echo {index}; exit {index}")).0));
    }
    for (index, connection) in connections.iter_mut().enumerate() {
        let outcome = connection.outcome();
        assert_eq!((outcome.text(), outcome.ended.exit_code), (format!("{index}\n"), Some(index as i32)));
    }
}

/// Processor time used by the agent itself, in clock ticks.
fn ticks(agent: &Agent) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// QA-1
#[test]
fn an_agent_that_waits_for_others_sleeps() {
    let agent = Agent::start();
    // Everything that can be waited for, all at once: nobody reads, nobody writes, pipes and sockets are hung up.
    let flood = agent.shell("yes & yes; exit 0");
    agent.connect().start(&flood);
    let mut unread = agent.connect();
    unread.start(&agent.shell("yes"));
    agent.connect().start(&agent.shell("echo unread; exit 0"));
    let mut deaf = agent.connect();
    deaf.start(&agent.shell("exec <&-; sleep 1000").stdin());
    let mut unfed = agent.connect();
    unfed.start(&agent.shell("sleep 1000").stdin());
    unfed.data(&vec![0; 150_000]);
    let mut limited = agent.connect();
    limited.start(&agent.shell("sleep 1000").timeout(3_600_000));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut dialled = agent.connect();
    assert_eq!(dialled.ask(&Request::Dial { port }), Reply::Done);
    let (mut server, _) = listener.accept().unwrap();
    dialled.data(b"");
    assert_eq!(std::io::Read::read(&mut server, &mut [0]).unwrap(), 0);
    let mut background = agent.connect();
    background.start(&agent.shell("sleep 1000 & exit 0"));
    background.rest(0);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = ticks(&agent);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let used = ticks(&agent) - before;
    assert!(used < 20, "{used} ticks of 200: it spins");
    assert!(serves_others(&agent));
}
