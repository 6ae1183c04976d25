//! The client: one proven connection, and what is asked and answered on it.

use crate::agent::connection::{FrameReader, FrameWriter, out_of_turn, split};
use crate::agent::{Transport, handshake};
use crate::error::AgentError;
use crate::id::{EnvironmentId, Generation};
use std::collections::BTreeMap;
use std::fmt;
use tenure_protocol::{Key, Reply, Request};

/// One proven connection to an environment's agent.
pub struct Client {
    pub(super) reader: FrameReader,
    pub(super) writer: FrameWriter,
    identity: Identity,
    /// Whether an answer is still due, or the connection broke: then nothing more can be asked on it.
    spent: bool,
}

/// Whom a client speaks to: what is left of it while its two streams are out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    generation: Generation,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("generation", &self.identity.generation)
            .field("spent", &self.spent)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Proves both sides to each other and makes a client of the stream.
    ///
    /// `generation` is the one that must answer; [`Generation::UNBOUND`] for an agent that waits in a pool. Fails with
    /// [`AgentError::WrongProof`] for whoever does not hold the key, [`AgentError::WrongGeneration`] for the right environment in
    /// another life, and [`AgentError::Failed`] where the agent refuses.
    pub async fn handshake(
        transport: Box<dyn Transport>,
        key: &Key,
        environment: &EnvironmentId,
        generation: Generation,
    ) -> Result<Client, AgentError> {
        let (mut reader, mut writer) = split(transport);
        handshake::shake(&mut reader, &mut writer, key, environment, generation).await?;
        Ok(Client { reader, writer, identity: Identity { generation }, spent: false })
    }

    /// The generation that everything this client answers comes from.
    pub fn generation(&self) -> Generation {
        self.identity.generation
    }

    /// Whether another request can be made on this connection.
    pub fn is_usable(&self) -> bool {
        !self.spent
    }

    /// Begins a request: checks it, and marks the client as spent until [`Client::rest`].
    pub(super) async fn begin(&mut self, request: &Request) -> Result<(), AgentError> {
        if self.spent {
            return Err(AgentError::Abandoned);
        }
        request.validate()?;
        self.spent = true;
        self.reader.quiet().await
    }

    /// The connection is at rest: the last answer came whole and nothing more is due.
    pub(super) fn rest(&mut self) {
        self.spent = false;
    }

    /// A failure is an answer too: after it the connection is at rest.
    pub(super) fn settle_failure<T>(&mut self, answer: Result<T, AgentError>) -> Result<T, AgentError> {
        if matches!(answer, Err(AgentError::Failed { .. })) {
            self.rest();
        }
        answer
    }

    /// Takes the client apart for an operation that goes on for a while.
    pub(super) fn into_parts(self) -> (FrameReader, FrameWriter, Identity) {
        (self.reader, self.writer, self.identity)
    }

    /// Puts a client together again whose connection is at rest.
    pub(super) fn from_parts(reader: FrameReader, writer: FrameWriter, identity: Identity) -> Client {
        Client { reader, writer, identity, spent: false }
    }

    /// Sends a request and reads the one reply to it; the client stays spent until the caller found it to be the right one.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Reply, AgentError> {
        self.begin(request).await?;
        self.writer.message(request).await?;
        let reply = self.reader.reply().await;
        self.settle_failure(reply)
    }

    /// Sends a request to which the answer is that it is done.
    pub(super) async fn command(&mut self, request: &Request) -> Result<(), AgentError> {
        match self.ask(request).await? {
            Reply::Done => {
                self.rest();
                Ok(())
            }
            _ => out_of_turn(),
        }
    }

    /// Gives a pooled environment to its session, once. The client speaks for that generation from here on.
    pub async fn bind(
        &mut self,
        environment: &EnvironmentId,
        generation: Generation,
        deadline_boot_ms: Option<u64>,
        env: BTreeMap<String, String>,
    ) -> Result<(), AgentError> {
        self.command(&Request::Bind {
            environment: Some(environment.to_string()),
            generation: generation.0,
            deadline_boot_ms,
            env,
        })
        .await?;
        self.identity.generation = generation;
        Ok(())
    }

    /// Moves the hard deadline, or takes it away.
    pub async fn deadline(&mut self, deadline_boot_ms: Option<u64>) -> Result<(), AgentError> {
        self.command(&Request::Deadline { deadline_boot_ms }).await
    }

    /// Begins the end of everything inside: SIGTERM now, SIGKILL after the grace. Returns when the agent has heard it.
    pub async fn shutdown(&mut self, grace_ms: u64) -> Result<(), AgentError> {
        self.command(&Request::Shutdown { grace_ms }).await
    }

    /// Asks whether anybody is there.
    pub async fn ping(&mut self) -> Result<(), AgentError> {
        self.command(&Request::Ping).await
    }
}
