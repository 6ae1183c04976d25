//! The gate: one function that every operation on a session goes through, in the order of the checks (TM-4).

use crate::call::Call;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use crate::permit::Permit;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tenure_session::{
    Access, Admission, Attempt, Limit, Lookup, Operation, Refusal, Role, Session, SessionId, State, TerminationReason,
    Timestamp, Who, access, admit, found,
};
use tenure_store::{AuditDraft, Changed, EndGuard, SessionEnd};

/// How long a request waits for its session to be looked at after a start.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(5);

/// What the gate says of an operation that it lets through.
pub(crate) enum Admitted {
    /// It is done under this permit.
    Do(Permit),
    /// What it asks for is so already.
    Already(Session),
}

impl Engine {
    /// The session, where the caller may know of it; whatever its state. Format, existence and access, in this order.
    pub(crate) async fn find(&self, call: &Call, id: &str, operation: Operation) -> Result<Session, EngineError> {
        let parsed: SessionId = id.parse().inspect_err(|_| self.meters().invalid_format(id))?;
        let unknown = |lookup| EngineError::NoSession { id: id.to_owned(), lookup };
        let session = self.store().session_get(&parsed).await?;
        let Some(session) = session else { return Err(unknown(Lookup::NeverExisted)) };
        let row = operation.row();
        match (access(&call.caller, &session), row.who) {
            (Access::Stranger, _) => {
                self.deny(call, operation);
                return Err(unknown(Lookup::NeverExisted));
            }
            (Access::Owner, Who::Admin) if call.caller.role != Role::Admin => {
                self.deny(call, operation);
                return Err(EngineError::Denied);
            }
            (Access::Owner | Access::Admin, Who::User | Who::Owner | Who::Admin | Who::Anyone) => {}
        }
        match found(&session, operation, call.include_deleted) {
            Lookup::Ok => self.looked_at(session).await,
            lookup @ (Lookup::Deleted | Lookup::Archived | Lookup::NeverExisted | Lookup::InvalidFormat) => {
                Err(unknown(lookup))
            }
        }
    }

    /// The session, once somebody has looked at it since the start.
    async fn looked_at(&self, session: Session) -> Result<Session, EngineError> {
        let pending = match session.end {
            Some(_) => None,
            None => self.live().get(&session.id).filter(|live| live.is_pending()),
        };
        let Some(live) = pending else { return Ok(session) };
        tokio::time::timeout(RECOVERY_PATIENCE, live.until_looked_at()).await.map_err(|_| EngineError::Recovering)?;
        let again = self.store().session_get(&session.id).await?;
        again.ok_or_else(|| EngineError::Internal(format!("{} vanished", session.id)))
    }

    /// Leave to do this to this session now, up to the state; the body comes next.
    pub(crate) async fn admit(&self, call: &Call, id: &str, operation: Operation) -> Result<Permit, EngineError> {
        match self.admit_to(call, id, operation, None).await? {
            Admitted::Do(permit) => Ok(permit),
            Admitted::Already(session) => {
                Err(EngineError::Internal(format!("{operation} of {} answered that it is so already", session.id)))
            }
        }
    }

    /// As [`Engine::admit`], for what may be so already.
    pub(crate) async fn admit_to(
        &self,
        call: &Call,
        id: &str,
        operation: Operation,
        to: Option<State>,
    ) -> Result<Admitted, EngineError> {
        let session = self.find(call, id, operation).await?;
        self.admit_found(call, session, operation, to).await
    }

    /// The gate's second half, for a session that was found: ended, the limits, fence, state.
    pub(crate) async fn admit_found(
        &self,
        call: &Call,
        mut session: Session,
        operation: Operation,
        to: Option<State>,
    ) -> Result<Admitted, EngineError> {
        loop {
            let now = self.now();
            let presence = self.presence(&session);
            let attempt = Attempt { operation, now, presence, token: call.token, to };
            match admit(&session, &attempt) {
                Admission::Admit => match self.permit(session, operation).await? {
                    Ok(permit) => return Ok(Admitted::Do(permit)),
                    Err(ended_meanwhile) => session = ended_meanwhile,
                },
                Admission::Already => return Ok(Admitted::Already(session)),
                Admission::End(limit, at) => session = self.expire(&session, limit, at).await?,
                Admission::Refuse(Refusal::Gone(_)) if session.archived_at.is_some() => {
                    return Err(EngineError::archived(&session));
                }
                Admission::Refuse(refusal) => return Err(EngineError::refused(&session.id, session.state, refusal)),
            }
        }
    }

    /// The permit; or the session again, where it ended between the look at it and this.
    async fn permit(&self, session: Session, operation: Operation) -> Result<Result<Permit, Session>, EngineError> {
        let live = match session.end {
            // A read of an ended session is no work, and needs no place among the living.
            Some(_) => Arc::new(Live::of_ended(&session)),
            None => match self.live_of(&session).await? {
                Ok(live) => live,
                Err(ended) => return Ok(Err(ended)),
            },
        };
        let id = session.id.clone();
        // It counts from here on, whoever stops waiting.
        let (permit, due) = Permit::new(self.clone(), operation, session, live);
        if due {
            self.activity_store(&id, self.now(), operation).await;
        }
        Ok(Ok(permit))
    }

    /// What is known of a session that lived when it was read; or the session as it is now, where it has ended since.
    async fn live_of(&self, session: &Session) -> Result<Result<Arc<Live>, Session>, EngineError> {
        let known = self.live().get(&session.id);
        if let Some(live) = known.as_ref().filter(|live| !live.ended.is_cancelled()) {
            return Ok(Ok(live.clone()));
        }
        // First taken up, then read: who ends it later finds it here, and who ended it before shows in what is read.
        let live = known.unwrap_or_else(|| self.live().take_up(session, self.now()));
        let again = self.store().session_get(&session.id).await?;
        let again = again.ok_or_else(|| EngineError::Internal(format!("{} vanished", session.id)))?;
        if again.end.is_some() {
            if !live.ended.is_cancelled() {
                self.live().forget(&session.id, &live);
            }
            return Ok(Err(again));
        }
        Ok(Ok(live))
    }

    /// Records that a limit has passed, unless something moved it meanwhile. The session as it is then.
    pub(crate) async fn expire(&self, session: &Session, limit: Limit, at: Timestamp) -> Result<Session, EngineError> {
        Ok(self.expire_once(session, limit, at).await?.0)
    }

    /// As [`Engine::expire`]; and whether it was this that ended it.
    pub(crate) async fn expire_once(
        &self,
        session: &Session,
        limit: Limit,
        at: Timestamp,
    ) -> Result<(Session, bool), EngineError> {
        let now = self.now();
        let guard = match limit {
            Limit::MaxLifetime => EndGuard::Lifetime(at),
            Limit::IdleTimeout => {
                EndGuard::Idle(self.presence(session).last_activity_at.unwrap_or(session.last_activity_at))
            }
            Limit::LeaseExpired => EndGuard::Lease(at),
        };
        let end = tenure_session::End { at, reason: limit.reason(), detail: None, failure: None };
        let metadata = json!({ "limit_passed_at": at, "last_activity_at": session.last_activity_at, "last_activity": session.last_activity });
        let entry = AuditDraft {
            session_id: Some(session.id.clone()),
            at: now,
            old_state: Some(session.state),
            new_state: Some(end.reason.ends_in()),
            trigger: tenure_session::Trigger::SystemTimeout,
            actor: "system".to_owned(),
            action: "session_end".to_owned(),
            reason: Some(end.reason.to_string()),
            metadata,
        };
        let change = SessionEnd { id: session.id.clone(), end, at: now, guard, entry };
        self.end_once(change).await
    }

    /// Ends a session, once. The session as it is then, whoever ended it.
    pub(crate) async fn end(&self, change: SessionEnd) -> Result<Session, EngineError> {
        Ok(self.end_once(change).await?.0)
    }

    /// As [`Engine::end`]; and whether it was this that ended it.
    pub(crate) async fn end_once(&self, change: SessionEnd) -> Result<(Session, bool), EngineError> {
        let engine = self.clone();
        // Apart: an end that is recorded is told, also where whoever asked for it has gone.
        self.apart(async move {
            let (id, old_state) = (change.id.clone(), change.entry.old_state);
            match engine.store().session_end(change).await? {
                Changed::Done(session) => {
                    let reason = session.end.as_ref().map(|end| end.reason);
                    if let (Some(TerminationReason::LeaseExpired), Some(state)) = (reason, old_state) {
                        engine.meters().lease_expired(state);
                    }
                    engine.on_ended(&session);
                    Ok((session, true))
                }
                Changed::Refused(session) => Ok((session, false)),
                Changed::Missing => Err(EngineError::Internal(format!("{id} vanished"))),
            }
        })
        .await
    }

    /// Counts a denial. What is audited about it is written later, so that nothing of it shows in the answer.
    pub(crate) fn deny(&self, call: &Call, operation: Operation) {
        self.denials().note(self, &call.actor(), operation);
    }

    /// Leave to do what is about no session.
    pub(crate) fn admit_service(&self, call: &Call, operation: Operation) -> Result<(), EngineError> {
        match (operation.row().who, call.caller.role) {
            (Who::Admin, Role::User) => {
                self.deny(call, operation);
                Err(EngineError::Denied)
            }
            (Who::Admin, Role::Admin) | (Who::User | Who::Owner | Who::Anyone, Role::User | Role::Admin) => Ok(()),
        }
    }
}
