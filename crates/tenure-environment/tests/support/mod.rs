//! An agent that says exactly what a test wants it to say.
#![allow(dead_code, reason = "each test file uses its part")]

use serde::Serialize;
use tenure_environment::agent::{Client, Plain, Transport};
use tenure_environment::{AgentError, EnvironmentId, Generation};
use tenure_protocol::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub const KEY: Key = Key([7; 32]);

pub fn id() -> EnvironmentId {
    "env_0123456789abcdef".parse().unwrap()
}

/// The agent's end of a connection.
pub struct Agent {
    pub stream: DuplexStream,
    decoder: Decoder,
}

/// A connection: the manager's end and the agent's.
pub fn pair() -> (Box<dyn Transport>, Agent) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Box::new(Plain(ours)), Agent { stream: theirs, decoder: Decoder::new() })
}

/// The manager's side of a handshake with the right key.
pub async fn shake(transport: Box<dyn Transport>) -> Result<Client, AgentError> {
    Client::handshake(transport, &KEY, &id(), Generation::first()).await
}

/// A connection after the handshake.
pub async fn connected() -> (Client, Agent) {
    let (transport, mut agent) = pair();
    let (client, ()) = tokio::join!(shake(transport), agent.welcome());
    (client.unwrap(), agent)
}

pub fn encoded<T: Serialize>(message: &T) -> Vec<u8> {
    let mut wire = Vec::new();
    encode_message(message, &mut wire).unwrap();
    wire
}

pub fn data(stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    encode_data(stream, bytes, &mut wire);
    wire
}

pub fn challenge(hello: &Hello, key: &Key, side: Side, environment: &EnvironmentId, generation: u64) -> Challenge {
    let nonce = Nonce([3; 32]);
    let environment = environment.as_str();
    let transcript = Transcript { version: 1, manager: &hello.nonce, agent: &nonce, environment, generation };
    let proof = transcript.prove(key, side);
    Challenge { version: 1, environment: environment.to_owned(), generation, nonce, proof }
}

impl Agent {
    /// The next frame; `None` where the manager has closed.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await.unwrap() {
                0 => return None,
                count => self.decoder.push(&bytes[..count]),
            }
        }
    }

    pub async fn hello(&mut self) -> Hello {
        self.frame().await.unwrap().message().unwrap()
    }

    pub async fn request(&mut self) -> Request {
        self.frame().await.unwrap().message().unwrap()
    }

    pub async fn say<T: Serialize>(&mut self, message: &T) {
        self.raw(&encoded(message)).await;
    }

    pub async fn data(&mut self, stream: Stream, bytes: &[u8]) {
        self.raw(&data(stream, bytes)).await;
    }

    /// Whoever does not listen any more is no concern of a hostile agent.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// An honest handshake.
    pub async fn welcome(&mut self) {
        let hello = self.hello().await;
        self.say(&challenge(&hello, &KEY, Side::Agent, &id(), 1)).await;
        let _: Prove = self.frame().await.unwrap().message().unwrap();
        self.say(&Reply::Welcome).await;
    }
}

pub fn exec(exec_id: &str) -> Exec {
    Exec {
        exec_id: exec_id.to_owned(),
        cmd: vec!["true".into()],
        cwd: "/".into(),
        env: Default::default(),
        user: None,
        tag: None,
        timeout_ms: None,
        stdin: false,
        tty: None,
        sink: Sink::Frames,
    }
}

pub fn exited(code: i32) -> Ended {
    Ended {
        exit_code: Some(code),
        signal: None,
        timed_out: false,
        oom_killed: false,
        not_started: None,
        output: Written::default(),
        error: Written::default(),
        room_bytes: 0,
        duration_ms: 1,
    }
}

pub fn failed(code: FailureCode) -> Reply {
    Reply::Failed { code, message: "no".into() }
}
