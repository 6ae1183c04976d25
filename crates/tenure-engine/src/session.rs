//! What can be asked of a session itself: read it, end it, delete it, pause it, give it more time.

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::gate::Admitted;
use crate::permit::Permit;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_environment::Observation;
use tenure_session::{
    End, EnvironmentState, Explanation, Operation, Role, Session, SessionEnvironment, State, Status, TerminationReason,
    Timestamp, Trigger, deadline, explain, status,
};
use tenure_store::{
    AuditEntry, AuditFilter, Changed, EndGuard, Page, PageRequest, SessionDelete, SessionEnd, SessionExtend,
    SessionFilter, SessionMove,
};

/// Longest text that may be said about an end.
const DETAIL_MAX: usize = 1024;

/// A session, and what holds for it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// The session.
    pub session: Session,
    /// When it was last worked in, later than what is stored where that is so.
    pub last_activity_at: Timestamp,
    /// The earliest end as things stand.
    pub expires_at: Option<Timestamp>,
    /// Whether the caller may see its lease token: who just took it.
    pub shows_lease: bool,
}

/// A session's status, and what the kernel says of its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    /// The session.
    pub session: Session,
    /// What its user sees of it.
    pub status: Status,
    /// What the kernel says, where there is an environment and it could be asked.
    pub observation: Option<Observation>,
}

/// Why a session is to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TerminateRequest {
    /// `user_request` or `completed`; for administrators also `admin_request`.
    pub reason: Option<String>,
    /// Whatever else is to be remembered: at most 1024 bytes.
    pub detail: Option<String>,
}

/// Where a session is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitionRequest {
    /// The state.
    pub to: String,
    /// Why, where it is the end.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How much more time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// So much.
    pub by_ms: u64,
}

impl Engine {
    /// What holds for a session now.
    pub fn session_view(&self, session: Session) -> SessionView {
        let presence = self.presence(&session);
        let last = presence.last_activity_at.map_or(session.last_activity_at, |at| at.max(session.last_activity_at));
        let last_activity_at = last.min(self.now()).max(session.last_activity_at);
        SessionView { expires_at: deadline(&session, &presence), last_activity_at, session, shows_lease: false }
    }

    /// Reads a session.
    pub async fn session_get(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let permit = self.admit(call, id, Operation::SessionGet).await?;
        Ok(self.session_view(permit.session().clone()))
    }

    /// Lists sessions: the caller's own, or for administrators anybody's.
    pub async fn session_list(
        &self,
        call: &Call,
        mut filter: SessionFilter,
        page: PageRequest,
    ) -> Result<Page<SessionView>, EngineError> {
        self.admit_service(call, Operation::SessionList)?;
        match (call.caller.role, &filter.owner) {
            (Role::Admin, _) => {}
            (Role::User, Some(owner)) if *owner != call.caller.user => {
                return Ok(Page { items: Vec::new(), next_cursor: None });
            }
            (Role::User, _) => filter.owner = Some(call.caller.user.clone()),
        }
        let page = self.store().session_list(filter, page).await?;
        let items = page.items.into_iter().map(|session| self.session_view(session)).collect();
        Ok(Page { items, next_cursor: page.next_cursor })
    }

    /// What its user sees of a session, and what the kernel says of its environment.
    pub async fn session_status(&self, call: &Call, id: &str) -> Result<StatusView, EngineError> {
        let permit = self.admit(call, id, Operation::SessionStatus).await?;
        Ok(self.status_of(&permit).await)
    }

    pub(crate) async fn status_of(&self, permit: &Permit) -> StatusView {
        let session = permit.session().clone();
        let status = status(&session, &self.presence(&session), self.now());
        let observation = match permit.live().environment() {
            Some(environment) if session.end.is_none() => environment.observe().await.ok(),
            _ => None,
        };
        StatusView { session, status, observation }
    }

    /// Why a session is alive, or why it ended.
    pub async fn session_explain(&self, call: &Call, id: &str) -> Result<(Session, Explanation), EngineError> {
        let permit = self.admit(call, id, Operation::SessionExplain).await?;
        let session = permit.session().clone();
        let explanation = explain(&session, &self.presence(&session), self.now());
        Ok((session, explanation))
    }

    /// A session's audit.
    pub async fn session_audit(
        &self,
        call: &Call,
        id: &str,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>, EngineError> {
        let permit = self.admit(call, id, Operation::SessionAudit).await?;
        let filter = AuditFilter { session_id: Some(permit.session().id.clone()), ..AuditFilter::default() };
        Ok(self.store().audit_list(filter, page).await?)
    }

    /// Ends a session. Ended already is as good: the first end stands.
    pub async fn session_terminate(
        &self,
        call: &Call,
        id: &str,
        body: Result<TerminateRequest, EngineError>,
    ) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionTerminate, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => {
                let end = self.asked_end(call, body?)?;
                self.end_asked(call, permit.session(), end).await?
            }
        };
        Ok(self.session_view(session))
    }

    async fn end_asked(&self, call: &Call, session: &Session, end: End) -> Result<Session, EngineError> {
        let at = end.at;
        let metadata = json!({ "detail": end.detail });
        let entry = draft::ended(session, &end, at, Trigger::UserAction, &call.actor(), metadata);
        self.end(SessionEnd { id: session.id.clone(), end, at, guard: EndGuard::Always, entry }).await
    }

    fn asked_end(&self, call: &Call, request: TerminateRequest) -> Result<End, EngineError> {
        let admin = call.caller.role == Role::Admin;
        let reason = match request.reason.as_deref().map(str::parse::<TerminationReason>) {
            None if admin => TerminationReason::AdminRequest,
            None => TerminationReason::UserRequest,
            Some(Ok(reason)) if reason.may_be_given_by(admin) => reason,
            Some(_) if admin => {
                return Err(EngineError::field("reason", "must be admin_request, user_request or completed"));
            }
            Some(_) => return Err(EngineError::field("reason", "must be user_request or completed")),
        };
        if request.detail.as_ref().is_some_and(|detail| detail.len() > DETAIL_MAX) {
            return Err(EngineError::field("detail", format!("must be at most {DETAIL_MAX} bytes")));
        }
        Ok(End { at: self.now(), reason, detail: request.detail, failure: None })
    }

    /// Deletes a session, ending it first. Deleted already is as good.
    pub async fn session_delete(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionDelete, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => permit.session().clone(),
        };
        if session.deleted_at.is_some() {
            return Ok(self.session_view(session));
        }
        let at = self.now();
        let end = End { at, reason: TerminationReason::Deleted, detail: None, failure: None };
        let end_entry = draft::ended(&session, &end, at, Trigger::UserAction, &call.actor(), json!({}));
        let entry = draft::by_caller(call, &session, Operation::SessionDelete, at, json!({}));
        let lived = session.end.is_none();
        let change = SessionDelete { id: session.id.clone(), at, end: (end, end_entry), entry };
        let session = match self.store().session_delete(change).await? {
            Changed::Done(session) => {
                if lived {
                    self.on_ended(&session);
                }
                session
            }
            Changed::Refused(session) => session,
            Changed::Missing => return Err(EngineError::Internal(format!("{id} vanished"))),
        };
        Ok(self.session_view(session))
    }

    /// Brings a deleted session back, still ended, within the window for that.
    pub async fn session_undelete(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionUndelete, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => permit.session().clone(),
        };
        let Some(deleted_at) = session.deleted_at else { return Ok(self.session_view(session)) };
        let at = self.now();
        if at.ms_since(deleted_at) >= self.settings().undelete_window_ms {
            let lookup = tenure_session::Lookup::Deleted;
            return Err(EngineError::NoSession { id: id.to_owned(), lookup });
        }
        let entry = draft::by_caller(call, &session, Operation::SessionUndelete, at, json!({}));
        match self.store().session_undelete(&session.id, at, entry).await? {
            Changed::Done(session) | Changed::Refused(session) => Ok(self.session_view(session)),
            Changed::Missing => Err(EngineError::Internal(format!("{id} vanished"))),
        }
    }

    /// Gives a session more time.
    pub async fn session_extend(
        &self,
        call: &Call,
        id: &str,
        body: Result<ExtendRequest, EngineError>,
    ) -> Result<SessionView, EngineError> {
        let permit = self.admit(call, id, Operation::SessionExtend).await?;
        let by_ms = body?.by_ms;
        let longest = self.settings().limits.max_lifetime_ms.max;
        if !(1..=longest).contains(&by_ms) {
            return Err(EngineError::field("by_ms", format!("is {by_ms}, allowed is 1 to {longest}")));
        }
        let _turn = permit.live().turn.lock().await;
        let (session, at) = (permit.session(), self.now());
        let entry = draft::by_caller(call, session, Operation::SessionExtend, at, json!({ "by_ms": by_ms }));
        let change = SessionExtend { id: session.id.clone(), by_ms, at, entry };
        let session = self.changed(self.store().session_extend(change).await?)?;
        if let Some(environment) = permit.live().environment() {
            let deadline = self.timeline().boot_ms_at(session.lifetime_ends_at);
            permit.race(async { Ok(environment.set_deadline(Some(deadline)).await?) }).await?;
        }
        permit.live().publish();
        Ok(self.session_view(session))
    }

    /// Freezes every process of a session. Paused already is as good.
    pub async fn session_pause(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionPause, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => self.freeze(call, &permit).await?,
        };
        Ok(self.session_view(session))
    }

    /// Lets the processes of a session go on. Not paused is as good.
    pub async fn session_resume(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionResume, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => self.thaw(call, &permit).await?,
        };
        Ok(self.session_view(session))
    }

    /// Moves a session to another state by name: paused, back from there, or its end.
    pub async fn session_transition(
        &self,
        call: &Call,
        id: &str,
        body: Result<TransitionRequest, EngineError>,
    ) -> Result<SessionView, EngineError> {
        let operation = Operation::SessionTransition;
        let found = self.find(call, id, operation).await?;
        // Its body says where to, which the state's check needs; a body that cannot be read is told after the checks before it.
        let to = match &body {
            Ok(request) => request.to.parse::<State>().ok(),
            Err(_) => None,
        };
        let permit = match self.admit_found(call, found, operation, to).await? {
            Admitted::Already(session) => return Ok(self.session_view(session)),
            Admitted::Do(permit) => permit,
        };
        let request = body?;
        let session = match to {
            Some(State::Paused) => self.freeze(call, &permit).await?,
            Some(State::Ready | State::Running) => self.thaw(call, &permit).await?,
            Some(State::Terminated) => {
                let end = self.asked_end(call, TerminateRequest { reason: request.reason, detail: None })?;
                self.end_asked(call, permit.session(), end).await?
            }
            Some(State::Created | State::Initializing | State::Failed) | None => {
                return Err(EngineError::field("to", "must be paused, ready, running or terminated"));
            }
        };
        Ok(self.session_view(session))
    }

    /// Frozen first, then recorded: who reads `paused` finds every process standing still.
    async fn freeze(&self, call: &Call, permit: &Permit) -> Result<Session, EngineError> {
        let _turn = permit.live().turn.lock().await;
        let environment = permit.environment()?;
        permit.race(async { Ok(environment.freeze().await?) }).await?;
        let moved = self.pause_or_resume(call, permit.session(), State::Paused, Operation::SessionPause).await;
        if moved.is_err() {
            // Not paused, so not frozen. Where it has ended its environment goes anyway.
            let _ = environment.thaw().await;
        }
        moved
    }

    async fn thaw(&self, call: &Call, permit: &Permit) -> Result<Session, EngineError> {
        let _turn = permit.live().turn.lock().await;
        let session = permit.session();
        let to = session.resumes_to.ok_or_else(|| EngineError::Internal("paused from nowhere".to_owned()))?;
        let environment = permit.environment()?;
        permit.race(async { Ok(environment.thaw().await?) }).await?;
        let moved = self.pause_or_resume(call, session, to, Operation::SessionResume).await;
        if moved.is_err() {
            let _ = environment.freeze().await;
        }
        moved
    }

    async fn pause_or_resume(
        &self,
        call: &Call,
        session: &Session,
        to: State,
        operation: Operation,
    ) -> Result<Session, EngineError> {
        let at = self.now();
        let pauses = to == State::Paused;
        let state = if pauses { EnvironmentState::Frozen } else { EnvironmentState::Ready };
        let mut entry = draft::moved(session, to, at, Trigger::UserAction, &call.actor());
        entry.action = operation.row().name.to_owned();
        let change = SessionMove {
            id: session.id.clone(),
            from: session.state,
            to,
            at,
            resumes_to: pauses.then_some(session.state),
            environment: session.environment.clone().map(|record| SessionEnvironment { state, ..record }),
            enforced: None,
            activity: Some(operation.row().name.to_owned()),
            entry,
        };
        let moved = match self.store().session_move(change).await? {
            // Somebody else paused or resumed it first.
            Changed::Refused(now) if now.state == to => return Ok(now),
            changed => self.changed(changed)?,
        };
        self.meters().moved(session.state, to);
        let live = self.live().get_or_begin(&moved);
        live.activity_stored(at);
        live.publish();
        Ok(moved)
    }

    /// A guarded change as it came out: refused means that the session has ended or gone elsewhere meanwhile.
    pub(crate) fn changed(&self, changed: Changed) -> Result<Session, EngineError> {
        match changed {
            Changed::Done(session) => Ok(session),
            Changed::Refused(session) => Err(match &session.end {
                Some(end) => EngineError::Gone {
                    id: session.id.clone(),
                    state: session.state,
                    end: Box::new(end.clone()),
                    captured: None,
                },
                None => {
                    EngineError::refused(&session.id, session.state, tenure_session::Refusal::NotReady(session.state))
                }
            }),
            Changed::Missing => Err(EngineError::Internal("a session vanished".to_owned())),
        }
    }
}
