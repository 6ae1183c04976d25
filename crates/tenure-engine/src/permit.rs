//! A permit: held for as long as something admitted goes on. It counts as activity, and ends with the session (TM-4, TM-6).

use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::Environment;
use tenure_session::{Fence, LeaseToken, Operation, Session, SessionId, Verdict, deadline, verdict};

/// Longest sleep before the clock is looked at again: timers stand still while the host sleeps, deadlines do not.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// How much earlier than here a deadline may pass for the agent, which ends everything inside then.
const AGENT_AHEAD: Duration = Duration::from_millis(100);

/// Leave to do one thing in one session. While it is held and counts as activity, the session is at work.
pub struct Permit {
    engine: Engine,
    operation: Operation,
    session: Session,
    live: Arc<Live>,
    /// The highest token that was given when this was: what it is held against once another is given.
    let_in_at: LeaseToken,
}

impl Permit {
    /// Begins to count. Whether the session's activity is to be stored now.
    pub(crate) fn new(engine: Engine, operation: Operation, session: Session, live: Arc<Live>) -> (Permit, bool) {
        let now = engine.now();
        let due = operation.row().activity && engine.live().work_begins(&session.id, &live, now, operation);
        let let_in_at = session.lease_token_last;
        (Permit { engine, operation, session, live, let_in_at }, due)
    }

    /// What it was given for.
    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }

    /// The session as it was when this was given.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Takes the session as it is now.
    pub(crate) fn refresh(&mut self, session: Session) {
        self.session = session;
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The session's environment.
    pub fn environment(&self) -> Result<Arc<dyn Environment>, EngineError> {
        self.live.environment().ok_or(EngineError::Recovering)
    }

    /// Does something until it is done or the session ends, by whatever reason, also by a limit that passes meanwhile: nobody else need be awake for that.
    /// What needs the lease's token is broken off when somebody else takes the lease, too.
    pub async fn race<T>(&self, work: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        self.race_with(work, self.ended()).await
    }

    /// As [`Permit::race`], for what must not be left half done: a takeover does not break it off, but waits for it. Not begun after one.
    pub(crate) async fn race_whole<T>(
        &self,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        self.race_with(work, self.ended_but_for(false)).await
    }

    async fn race_with<T>(
        &self,
        work: impl Future<Output = Result<T, EngineError>>,
        ended: impl Future<Output = EngineError>,
    ) -> Result<T, EngineError> {
        let _inside = match self.is_fenced() {
            true => Some(self.live.fence.enter(self.let_in_at).ok_or(EngineError::StaleLease)?),
            false => None,
        };
        let mut ended = pin!(ended);
        let done = tokio::select! {
            biased;
            done = work => done,
            error = &mut ended => return Err(error),
        };
        match done {
            // An environment that fails because its session ended is no failure of its own.
            Err(error) if self.live.ended.is_cancelled() => Err(self.gone_or(error).await),
            // Its agent keeps the same deadline, and may be a moment ahead of everybody here.
            Err(error @ EngineError::Unavailable { .. }) if self.ends_soon() => {
                Err(tokio::time::timeout(2 * AGENT_AHEAD, ended).await.unwrap_or(error))
            }
            done => done,
        }
    }

    fn ends_soon(&self) -> bool {
        let now = self.engine.now();
        let left = deadline(&self.session, &self.live.presence()).map(|at| Duration::from_millis(at.ms_since(now)));
        left.is_some_and(|left| left < AGENT_AHEAD)
    }

    /// Waits for the session's end, or for the instant from which this is worth nothing because somebody else took the lease; and says what to answer then.
    pub async fn ended(&self) -> EngineError {
        self.ended_but_for(self.is_fenced()).await
    }

    async fn ended_but_for(&self, fenced: bool) -> EngineError {
        // Limits only ever move away, but for that of a lease that is taken anew: what was known when this was given is early at worst until then.
        let mut session = self.session.clone();
        let mut token = self.let_in_at;
        loop {
            let nap = deadline(&session, &self.live.presence())
                .map_or(SLEEP_MAX, |at| Duration::from_millis(at.ms_since(self.engine.now())));
            tokio::select! {
                () = self.live.ended.cancelled() => {}
                () = tokio::time::sleep(nap.clamp(Duration::from_millis(1), SLEEP_MAX)) => {}
                higher = self.live.fence.raised_above(token) => token = higher,
            }
            match self.engine.still_admitted(&self.session.id).await {
                Ok(_) if fenced && self.live.fence.is_above(self.let_in_at) => return EngineError::StaleLease,
                Ok(now) => session = now,
                Err(error) => return error,
            }
        }
    }

    /// Whether it needs the lease's token while a lease is held.
    fn is_fenced(&self) -> bool {
        match self.operation.row().fence {
            Fence::Token => true,
            Fence::Open => false,
        }
    }

    async fn gone_or(&self, error: EngineError) -> EngineError {
        self.engine.still_admitted(&self.session.id).await.err().unwrap_or(error)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.operation.row().activity {
            self.engine.work_ends(&self.session.id, &self.live, self.operation);
        }
    }
}

impl Engine {
    /// Whether what was admitted may go on: not once the session has ended or a limit has passed, which is recorded then.
    pub(crate) async fn still_admitted(&self, id: &SessionId) -> Result<Session, EngineError> {
        loop {
            let session =
                self.store().session_get(id).await?.ok_or_else(|| EngineError::Internal(format!("{id} vanished")))?;
            let presence = self.presence(&session);
            match verdict(&session, &presence, self.now()) {
                Verdict::Proceed => return Ok(session),
                Verdict::Gone(end) => {
                    let end = Box::new(end.clone());
                    return Err(EngineError::Gone { id: id.clone(), state: session.state, end, captured: None });
                }
                Verdict::End(limit, at) => drop(self.expire(&session, limit, at).await?),
            }
        }
    }
}
