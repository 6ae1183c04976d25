//! Previews: ports inside a session that can be reached from outside, through its agent (EN-6).

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::permit::Permit;
use serde_json::json;
use std::time::Duration;
use tenure_environment::agent::DialStream;
use tenure_environment::protocol::FailureCode;
use tenure_environment::{AgentError, EnvironmentError};
use tenure_session::Operation;
use tenure_store::PreviewRecord;

/// How long a health probe may take.
const PROBE: Duration = Duration::from_secs(5);

/// A connection to a port inside, and the leave to use it.
pub struct PreviewConnection {
    /// Held while it is used; races the session's end.
    pub permit: Permit,
    /// The bytes.
    pub stream: DialStream,
}

/// Whether something answers at a port, as far as the connection goes.
pub enum PreviewHealth {
    /// Something listens; whoever speaks its protocol asks on, for at most what is left of the probe's time.
    Listens(Box<PreviewConnection>, Duration),
    /// Nothing does.
    Silent(String),
}

impl Engine {
    /// Registers a port. Registered already is as good.
    pub async fn preview_register(
        &self,
        call: &Call,
        id: &str,
        port: Result<u64, EngineError>,
    ) -> Result<PreviewRecord, EngineError> {
        let permit = self.admit(call, id, Operation::PreviewRegister).await?;
        let port = port_valid(port?)?;
        let now = self.now();
        let preview = PreviewRecord { session_id: permit.session().id.clone(), port, created_at: now };
        let entry = draft::by_caller(call, permit.session(), Operation::PreviewRegister, now, json!({ "port": port }));
        permit.race_whole(async { Ok(self.store().preview_put(preview.clone(), entry).await?) }).await?;
        Ok(preview)
    }

    /// Lists a session's ports.
    pub async fn preview_list(&self, call: &Call, id: &str) -> Result<Vec<PreviewRecord>, EngineError> {
        let permit = self.admit(call, id, Operation::PreviewList).await?;
        Ok(self.store().preview_list(&permit.session().id).await?)
    }

    /// Removes a port.
    pub async fn preview_remove(&self, call: &Call, id: &str, port: &str) -> Result<(), EngineError> {
        let permit = self.admit(call, id, Operation::PreviewRemove).await?;
        let port = port_parse(port)?;
        let metadata = json!({ "port": port });
        let entry = draft::by_caller(call, permit.session(), Operation::PreviewRemove, self.now(), metadata);
        let removing = async { Ok(self.store().preview_remove(&permit.session().id, port, entry).await?) };
        match permit.race_whole(removing).await? {
            true => Ok(()),
            false => Err(not_registered(port)),
        }
    }

    /// Connects to a registered port.
    pub async fn preview_open(&self, call: &Call, id: &str, port: &str) -> Result<PreviewConnection, EngineError> {
        let permit = self.admit(call, id, Operation::PreviewProxy).await?;
        self.preview_dial(permit, port).await
    }

    /// Connects to a registered port, to see whether something answers.
    pub async fn preview_health(&self, call: &Call, id: &str, port: &str) -> Result<PreviewHealth, EngineError> {
        let permit = self.admit(call, id, Operation::PreviewHealth).await?;
        let begun = tokio::time::Instant::now();
        match tokio::time::timeout(PROBE, self.preview_dial(permit, port)).await {
            Ok(Ok(connection)) => {
                let left = PROBE.saturating_sub(begun.elapsed());
                Ok(PreviewHealth::Listens(Box::new(connection), left))
            }
            Ok(Err(EngineError::Unreachable { why, .. })) => Ok(PreviewHealth::Silent(why)),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(PreviewHealth::Silent("no answer within 5 s".to_owned())),
        }
    }

    async fn preview_dial(&self, permit: Permit, port: &str) -> Result<PreviewConnection, EngineError> {
        let port = port_parse(port)?;
        let registered = self.store().preview_list(&permit.session().id).await?;
        if !registered.iter().any(|preview| preview.port == port) {
            return Err(not_registered(port));
        }
        let environment = permit.environment()?;
        let dialed = async {
            let dialed = async { Ok::<_, EnvironmentError>(environment.connect().await?.dial(port).await?) };
            dialed.await.map_err(|error| match error {
                EnvironmentError::Agent(AgentError::Failed { code: FailureCode::Unreachable, message }) => {
                    EngineError::Unreachable { port, why: message }
                }
                other => other.into(),
            })
        };
        let stream = permit.race(dialed).await?;
        Ok(PreviewConnection { permit, stream })
    }
}

fn port_parse(port: &str) -> Result<u16, EngineError> {
    let number = port.parse::<u64>().map_err(|_| EngineError::field("port", "must be 1024 to 65535"))?;
    port_valid(number)
}

fn port_valid(port: u64) -> Result<u16, EngineError> {
    let valid = u16::try_from(port).ok().filter(|port| *port >= 1024);
    valid.ok_or_else(|| EngineError::field("port", "must be 1024 to 65535"))
}

fn not_registered(port: u16) -> EngineError {
    crate::engine::missing(Code::PreviewNotFound, format!("port {port} is not registered"))
}
