//! After the host has booted: a session's environment is made again over its files, as its next life; the session's own state stays (EN-11).
//!
//! ```text
//!  files of life n survived ─┬─ n is stored ────► programs settled as unknown ─► life n+1 recorded, recovering ─┐
//!                            └─ n+1 is stored: it was recorded, and never began ────────────────────────────────┤
//!      ready or frozen, recorded ◄─ start command ◄─ freezer, deadline ◄─ adopted ◄─ made again by the driver ◄─┘
//! ```
//!
//! Whatever is killed on the way: the next start finds life n, whose files are still there, or life n+1, which it adopts and finishes. Requests are told
//! that the session is recovering until then.

use crate::ending::unseen;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::provision::enforced;
use serde_json::{Value, json};
use std::time::Duration;
use tenure_environment::{Enforced, Environment, EnvironmentError, EnvironmentSpec, Generation};
use tenure_session::{EnforcedLimits, EnvironmentState, Session, SessionEnvironment, Trigger};
use tenure_store::{AuditDraft, AuditFilter, Changed, ExecLedgerState, PageRequest, SessionRemake, TemplateRecord};

/// What the audit calls it when another life is about to be made.
const BEGUN: &str = "environment_remake";
/// What the audit calls it when that life can be worked in.
const DONE: &str = "environment_remade";
/// Why programs of the life before have ended.
const BOOTED: &str = "the host was restarted";
/// For how long requests wait for it. Later ones are told that the session is recovering, and it can be ended.
const KEEPS_WAITING: Duration = Duration::from_secs(2);
/// Entries that are read together.
const PAGE: u32 = 500;

/// What came of an attempt.
pub(crate) enum Remade {
    /// It lives again, or its session has ended meanwhile.
    Settled,
    /// There are no files any more.
    NoFiles,
    /// Not now, for this reason; its files are kept.
    Later(String),
}

impl Engine {
    /// Makes an environment again of whose files the driver says that they are those of this life.
    pub(crate) async fn remake(&self, session: &Session, survived: Generation, evidence: &str) -> Remade {
        match self.remake_now(session, survived, evidence).await {
            Ok(remade) => remade,
            Err(error) => Remade::Later(error.chain().map_or_else(|| error.to_string(), str::to_owned)),
        }
    }

    async fn remake_now(&self, session: &Session, survived: Generation, evidence: &str) -> Result<Remade, EngineError> {
        let live = self.live().take_up(session, self.now());
        let _turn = live.turn.lock().await;
        let stored = self.store().session_get(&session.id).await?.filter(|now| now.end.is_none());
        // Whoever ended it looks after what is left of its environment.
        let Some(session) = stored else { return Ok(Remade::Settled) };
        let Some(session) = self.life_begins(session, survived, evidence).await? else { return Ok(Remade::Settled) };
        let template = self.template_find(&session.template).await?;
        let spec = self.remaking_spec(&session, &template)?;
        let timeout = Duration::from_millis(self.settings().init_timeout_ms);
        let making = async {
            let mut making = self.driver().remake(spec);
            match tokio::time::timeout(KEEPS_WAITING, &mut making).await {
                Ok(made) => made,
                Err(_) => {
                    live.looked_at();
                    making.await
                }
            }
        };
        let made = tokio::select! {
            made = tokio::time::timeout(timeout, making) => made,
            () = live.ended.cancelled() => return Ok(Remade::Settled),
        };
        match made {
            Ok(Ok(environment)) => {
                self.adopted_in_turn(&session, &live, environment).await?;
                Ok(Remade::Settled)
            }
            Ok(Err(EnvironmentError::Gone)) => Ok(Remade::NoFiles),
            Ok(Err(error)) => Ok(Remade::Later(error.to_string())),
            // The driver goes on; what it has made by the next look is adopted.
            Err(_) => Ok(Remade::Later(format!("not made within {} ms", timeout.as_millis()))),
        }
    }

    /// Records that the next life begins, unless that is recorded already; the session as it is then. `None` where it has ended meanwhile.
    async fn life_begins(
        &self,
        session: Session,
        survived: Generation,
        evidence: &str,
    ) -> Result<Option<Session>, EngineError> {
        self.execs_lost(&session, survived).await?;
        let Some(record) = session.environment.clone() else { return Ok(None) };
        if record.generation > survived.0 {
            return Ok(Some(session));
        }
        let next =
            SessionEnvironment { generation: survived.next().0, state: EnvironmentState::Recovering, ..record.clone() };
        let metadata = json!({ "environment_id": next.id, "generation": next.generation, "evidence": evidence });
        let change = self.life(&session, record.generation, next, None, (BEGUN, metadata));
        match self.store().session_remake(change).await? {
            Changed::Done(session) => {
                tracing::warn!(session = %session.id, evidence, "its environment is made again over its files");
                Ok(Some(session))
            }
            Changed::Refused(_) | Changed::Missing => Ok(None),
        }
    }

    fn life(
        &self,
        session: &Session,
        from: u64,
        environment: SessionEnvironment,
        enforced: Option<EnforcedLimits>,
        (action, metadata): (&str, Value),
    ) -> SessionRemake {
        let at = self.now();
        let entry = AuditDraft {
            session_id: Some(session.id.clone()),
            at,
            old_state: Some(session.state),
            new_state: Some(session.state),
            trigger: Trigger::Recovery,
            actor: "system".to_owned(),
            action: action.to_owned(),
            reason: Some(BOOTED.to_owned()),
            metadata,
        };
        SessionRemake { id: session.id.clone(), from, environment, enforced, at, entry }
    }

    /// What ran in the lives up to this one ended with the host's boot, and nobody saw how.
    async fn execs_lost(&self, session: &Session, survived: Generation) -> Result<(), EngineError> {
        let unsettled = self.store().exec_unsettled(&session.id).await?;
        for exec in unsettled.into_iter().filter(|exec| exec.generation <= survived.0) {
            let (stdout, stderr) = self.output_totals(&session.id, &exec.id).await;
            let outcome = unseen(ExecLedgerState::Unknown, self.now(), BOOTED, stdout, stderr);
            self.store().exec_settle(&exec.id, outcome, None).await?;
        }
        Ok(())
    }

    /// What it is made from: what it was made from before. What was accepted at its creation is accepted again, and no more.
    fn remaking_spec(&self, session: &Session, template: &TemplateRecord) -> Result<EnvironmentSpec, EngineError> {
        let EnforcedLimits { cpu, memory, pids, disk } = session.enforced;
        let went_without = !Enforced { cpu, memory, pids, disk }.missing().is_empty();
        let allow_unenforced = went_without || template.allow_unenforced || self.settings().allow_unenforced;
        self.spec(session, &template.base, allow_unenforced)
    }

    /// Whether this life of its environment was recorded as begun, and is not recorded as one that can be worked in.
    pub(crate) async fn is_being_remade(&self, session: &Session) -> Result<bool, EngineError> {
        let Some(record) = &session.environment else { return Ok(false) };
        if record.generation == Generation::first().0 || record.state != EnvironmentState::Recovering {
            return Ok(false);
        }
        let filter = AuditFilter {
            session_id: Some(session.id.clone()),
            action: Some(DONE.to_owned()),
            ..AuditFilter::default()
        };
        let mut cursor = None;
        loop {
            let page = self.store().audit_list(filter.clone(), PageRequest { limit: PAGE, cursor }).await?;
            let of_this_life = |metadata: &Value| metadata["generation"] == record.generation;
            if page.items.iter().filter_map(|entry| entry.metadata.as_ref()).any(of_this_life) {
                return Ok(false);
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(true),
            }
        }
    }

    /// It lives again, in line with what is stored: its start command runs unless the session is paused, then it can be worked in.
    pub(crate) async fn life_begun(
        &self,
        session: &Session,
        environment: &dyn Environment,
        state: EnvironmentState,
    ) -> Result<(), EngineError> {
        let Some(record) = session.environment.clone() else { return Ok(()) };
        // Before anybody works in it: whatever is in the ledger of this life by then is the start command.
        if state == EnvironmentState::Ready {
            self.start_command_if_owed(session).await?;
        }
        let enforced = enforced(environment);
        let metadata = json!({ "environment_id": record.id, "generation": record.generation });
        let begun = SessionEnvironment { state, ..record.clone() };
        let change = self.life(session, record.generation, begun, Some(enforced), (DONE, metadata));
        self.store().session_remake(change).await?;
        tracing::info!(session = %session.id, environment = %record.id, generation = record.generation, "made again");
        Ok(())
    }

    /// The template's start command, where the session's environment was made again and has not run it in this life.
    pub(crate) async fn start_command_owed(&self, session: &Session) -> Result<Option<TemplateRecord>, EngineError> {
        let generation = session.environment.as_ref().map_or(0, |record| record.generation);
        if generation <= Generation::first().0 {
            return Ok(None);
        }
        let template = self.template_find(&session.template).await?;
        if template.start_command.is_none() {
            return Ok(None);
        }
        let mut cursor = None;
        loop {
            let page = self.store().exec_list(&session.id, PageRequest { limit: PAGE, cursor }).await?;
            if page.items.iter().any(|exec| exec.generation == generation) {
                return Ok(None);
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(Some(template)),
            }
        }
    }

    /// Runs it then.
    pub(crate) async fn start_command_if_owed(&self, session: &Session) -> Result<(), EngineError> {
        if let Some(template) = self.start_command_owed(session).await? {
            self.start_command(session, &template).await;
        }
        Ok(())
    }
}
