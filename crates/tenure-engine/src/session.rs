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
    Admission, Attempt, End, EnvironmentState, Explanation, Operation, Refusal, Role, Session, SessionEnvironment,
    State, Status, Step, TerminationReason, Timestamp, Trigger, admit, deadline, explain, status, step,
};
use tenure_store::{
    ArchiveRecord, AuditEntry, AuditFilter, Changed, EndGuard, Page, PageRequest, SessionDelete, SessionEnd,
    SessionExtend, SessionFilter, SessionMove,
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
    /// Its archive, or the tombstone that is left of it, where it was asked for alone.
    pub archive: Option<ArchiveRecord>,
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

/// What the law says of an operation whose turn has come.
enum Again {
    Go(Session),
    Already(Session),
}

impl Engine {
    /// What holds for a session now.
    pub fn session_view(&self, session: Session) -> SessionView {
        let presence = self.presence(&session);
        let last = presence.last_activity_at.map_or(session.last_activity_at, |at| at.max(session.last_activity_at));
        let last_activity_at = last.min(self.now()).max(session.last_activity_at);
        SessionView {
            expires_at: deadline(&session, &presence),
            last_activity_at,
            session,
            shows_lease: false,
            archive: None,
        }
    }

    /// Reads a session.
    pub async fn session_get(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let permit = self.admit(call, id, Operation::SessionGet).await?;
        let archive = match permit.session().archived_at {
            Some(_) => self.store().retention_record(&permit.session().id).await?,
            None => None,
        };
        let session = self.archived_words(permit.session().clone()).await?;
        Ok(SessionView { archive, ..self.session_view(session) })
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
            Some(environment) if session.end.is_none() => self.observe(permit.live(), &*environment).await.ok(),
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

    pub(crate) async fn end_asked(&self, call: &Call, session: &Session, end: End) -> Result<Session, EngineError> {
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
        let ended_by_this = session.end.is_none().then(|| end.clone());
        let change = SessionDelete { id: session.id.clone(), at, end: (end, end_entry), entry };
        let engine = self.clone();
        let changed = self.apart(async move {
            let changed = engine.store().session_delete(change).await?;
            if let Changed::Done(session) = &changed
                && ended_by_this.is_some()
                && session.end == ended_by_this
            {
                engine.on_ended(session);
            }
            Ok(changed)
        });
        match changed.await? {
            Changed::Done(session) | Changed::Refused(session) => Ok(self.session_view(session)),
            Changed::Missing => Err(EngineError::Internal(format!("{id} vanished"))),
        }
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
        let (engine, call) = (self.clone(), call.clone());
        let session = self.apart(async move { engine.extend(&call, &permit, by_ms).await }).await?;
        Ok(self.session_view(session))
    }

    async fn extend(&self, call: &Call, permit: &Permit, by_ms: u64) -> Result<Session, EngineError> {
        let _turn = permit.live().turn.lock().await;
        let (session, at) = (permit.session(), self.now());
        let entry = draft::by_caller(call, session, Operation::SessionExtend, at, json!({ "by_ms": by_ms }));
        let change = SessionExtend { id: session.id.clone(), by_ms, at, entry };
        let session = self.changed(self.store().session_extend(change).await?)?;
        if let Some(environment) = permit.live().environment() {
            self.deadline_tell(&session, permit.live(), &*environment).await;
        }
        permit.live().publish();
        Ok(session)
    }

    /// Freezes every process of a session. Paused already is as good.
    pub async fn session_pause(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionPause, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => self.freeze_or_thaw(call, permit, None).await?,
        };
        Ok(self.session_view(session))
    }

    /// Lets the processes of a session go on. Not paused is as good.
    pub async fn session_resume(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let session = match self.admit_to(call, id, Operation::SessionResume, None).await? {
            Admitted::Already(session) => session,
            Admitted::Do(permit) => self.freeze_or_thaw(call, permit, None).await?,
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
            Some(State::Paused | State::Ready | State::Running) => self.freeze_or_thaw(call, permit, to).await?,
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

    /// Does in a session's own turn what it was admitted for: of those that freeze and thaw it, one at a time.
    async fn freeze_or_thaw(&self, call: &Call, permit: Permit, to: Option<State>) -> Result<Session, EngineError> {
        let (engine, call) = (self.clone(), call.clone());
        self.apart(async move {
            let _turn = permit.live().turn.lock().await;
            engine.freeze_or_thaw_now(&call, &permit, to).await
        })
        .await
    }

    async fn freeze_or_thaw_now(
        &self,
        call: &Call,
        permit: &Permit,
        to: Option<State>,
    ) -> Result<Session, EngineError> {
        loop {
            // What it was admitted to may be so already by now, or be another state.
            let session = match self.look_again(call, permit, to).await? {
                Again::Go(session) => session,
                Again::Already(session) => return Ok(session),
            };
            let Some(step) = step(&session, permit.operation(), to) else { return Ok(session) };
            match self.take_step(call, permit, &session, step).await? {
                Changed::Refused(now) if now.end.is_none() => {}
                changed => return self.changed(changed),
            }
        }
    }

    /// The law, asked again about an operation that has its permit.
    async fn look_again(&self, call: &Call, permit: &Permit, to: Option<State>) -> Result<Again, EngineError> {
        loop {
            let session = self.still_admitted(&permit.session().id).await?;
            let presence = self.presence(&session);
            let attempt = Attempt { operation: permit.operation(), now: self.now(), presence, token: call.token, to };
            match admit(&session, &attempt) {
                Admission::Admit => return Ok(Again::Go(session)),
                Admission::Already => return Ok(Again::Already(session)),
                Admission::Refuse(refusal) => return Err(EngineError::refused(&session.id, session.state, refusal)),
                // Recorded in the next round.
                Admission::End(..) => {}
            }
        }
    }

    /// Frozen first, then recorded: who reads `paused` finds every process standing still. What could not be recorded is undone, unless the session has
    /// ended: then its environment goes anyway, and nothing in it runs again.
    async fn take_step(
        &self,
        call: &Call,
        permit: &Permit,
        session: &Session,
        step: Step,
    ) -> Result<Changed, EngineError> {
        let pauses = step.to == State::Paused;
        let environment = match session.environment {
            Some(_) => Some(permit.environment()?),
            None => None,
        };
        if let Some(environment) = &environment {
            let stand_still = async { if pauses { environment.freeze().await } else { environment.thaw().await } };
            permit.race_whole(async { Ok(stand_still.await?) }).await?;
        }
        // Asked before anybody can work in it: one that was made again while it was paused has not run its start command.
        let owed = if pauses { None } else { self.start_command_owed(session).await? };
        let moved = self.record_step(call, permit, session, step).await;
        let done = matches!(&moved, Ok(Changed::Done(_)));
        match environment {
            Some(environment) if !done && !permit.live().ended.is_cancelled() => {
                let undone = if pauses { environment.thaw().await } else { environment.freeze().await };
                if let Err(error) = undone {
                    tracing::error!(session = %session.id, %error, "an environment is not as its session's state says");
                }
            }
            Some(environment) if done && !pauses => {
                // Those that were frozen when the service started could not be asked before.
                if let Err(error) = self.execs_find(session, &environment).await {
                    tracing::error!(session = %session.id, %error, chain = error.chain(), "programs were not found again; asking again");
                    self.execs_find_later(permit.live().clone(), session.id.clone(), environment);
                }
                if let (Some(template), Ok(Changed::Done(session))) = (&owed, &moved) {
                    self.start_command(session, template).await;
                }
            }
            Some(_) | None => {}
        }
        moved
    }

    async fn record_step(
        &self,
        call: &Call,
        permit: &Permit,
        session: &Session,
        step: Step,
    ) -> Result<Changed, EngineError> {
        let at = self.now();
        let pauses = step.to == State::Paused;
        let operation = if pauses { Operation::SessionPause } else { Operation::SessionResume };
        let state = if pauses { EnvironmentState::Frozen } else { EnvironmentState::Ready };
        let mut entry = draft::moved(session, step.to, at, Trigger::UserAction, &call.actor());
        entry.action = operation.row().name.to_owned();
        let change = SessionMove {
            id: session.id.clone(),
            from: session.state,
            to: step.to,
            at,
            resumes_to: step.resumes_to,
            environment: session.environment.clone().map(|record| SessionEnvironment { state, ..record }),
            enforced: None,
            activity: Some(operation.row().name.to_owned()),
            entry,
        };
        let changed = self.store().session_move(change).await?;
        if let Changed::Done(_) = &changed {
            self.meters().moved(session.state, step.to);
            permit.live().activity_stored(at);
            permit.live().publish();
        }
        Ok(changed)
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
                None => EngineError::refused(
                    &session.id,
                    session.state,
                    match session.state {
                        State::Paused => Refusal::Paused,
                        State::Created
                        | State::Initializing
                        | State::Ready
                        | State::Running
                        | State::Terminated
                        | State::Failed => Refusal::NotReady(session.state),
                    },
                ),
            }),
            Changed::Missing => Err(EngineError::Internal("a session vanished".to_owned())),
        }
    }
}
