//! The lease of a session: taken, renewed, given up (LS-1…7).
//!
//! A heartbeat is the one request that comes tens of thousands of times a second. What the last one saw of the session is kept in memory: where the law,
//! asked about that, says that nothing is to be renewed, nothing is read; where it says that the lease is to be renewed, the store's guarded update is the
//! only thing that is done. Whatever else it says, and whatever the store refuses, goes the long way through the gate. What is kept errs to the safe side:
//! limits only move away, and whatever brings one nearer forgets what is kept before it is answered.

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use crate::permit::Permit;
use crate::session::SessionView;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenure_session::{
    Access, Lease, LeaseRelease, LeaseRenewal, LeaseRequest, LeaseTake, LeaseTerms, LeaseToken, Operation, Session,
    SessionId, State, Timestamp, Verdict, access, lease_release, lease_renew, lease_take, verdict,
};
use tenure_store::{Changed, LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking};

/// How often a change is tried again where the session changes between the look at it and the update.
const TRIES: u32 = 64;

/// How a lease is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseTakeRequest {
    /// For how long a renewal holds.
    pub ttl_ms: Option<u64>,
    /// How often the holder is asked to renew.
    pub heartbeat_interval_ms: Option<u64>,
    /// Whether it is taken from whoever holds it.
    pub takeover: bool,
}

/// A heartbeat that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHeartbeat {
    /// Of which session.
    pub session_id: SessionId,
    /// The lease as it is now.
    pub lease: Lease,
}

/// What the last heartbeat saw of a session.
#[derive(Default)]
pub(crate) struct Seen {
    inner: Mutex<Sight>,
}

#[derive(Default)]
struct Sight {
    /// Moves whenever what was seen before is worth nothing any more.
    epoch: u64,
    session: Option<Session>,
}

impl Seen {
    /// What was seen before is worth nothing any more: called when a lease was taken or given up, before that is answered.
    pub fn forget(&self) {
        let mut sight = self.lock();
        sight.epoch += 1;
        sight.session = None;
    }

    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Keeps a session that was read since this epoch began.
    fn keep(&self, epoch: u64, session: &Session) {
        let mut sight = self.lock();
        if sight.epoch == epoch {
            // As if its idle clock always ran, so that a session that stood still when it was seen is not believed to do so for ever.
            sight.session = Some(Session { state: State::Running, ..session.clone() });
        }
    }

    /// The lease was renewed to this.
    fn renewed(&self, lease: Lease) {
        if let Some(Session { lease: Some(seen), .. }) = &mut self.lock().session
            && seen.token == lease.token
            && seen.expires_at <= lease.expires_at
        {
            *seen = lease;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sight> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Renews the lease of a session, for its holder. Within one interval of the last heartbeat nothing is changed.
    pub async fn lease_heartbeat(&self, call: &Call, id: &str) -> Result<LeaseHeartbeat, EngineError> {
        match self.heartbeat_at_once(call, id).await? {
            Some(heard) => Ok(heard),
            None => self.heartbeat_through_the_gate(call, id).await,
        }
    }

    /// The short way, where what is kept in memory is enough to say yes.
    async fn heartbeat_at_once(&self, call: &Call, id: &str) -> Result<Option<LeaseHeartbeat>, EngineError> {
        let Ok(session_id) = id.parse::<SessionId>() else { return Ok(None) };
        let Some(live) = self.live().get(&session_id).filter(|live| !live.is_pending()) else { return Ok(None) };
        let now = self.now();
        let (lease, late) = match self.renewal_seen(call, &live, now) {
            Some(LeaseRenewal::Fresh(lease)) => {
                self.meters().heartbeats.inc();
                return Ok(Some(LeaseHeartbeat { session_id, lease }));
            }
            Some(LeaseRenewal::Renewed { lease, late }) => (lease, late),
            Some(LeaseRenewal::NoLease | LeaseRenewal::Stale | LeaseRenewal::Over) | None => return Ok(None),
        };
        let beat = LeaseBeat { id: session_id.clone(), token: lease.token, at: now };
        match self.store().lease_renew(beat).await? {
            LeaseRenewed::Renewed(lease) => Ok(Some(self.heard(session_id, &live, lease, late))),
            LeaseRenewed::Refused(_) | LeaseRenewed::Missing => Ok(None),
        }
    }

    /// What the law says of what was last seen. Nothing, where that is not enough.
    fn renewal_seen(&self, call: &Call, live: &Live, now: Timestamp) -> Option<LeaseRenewal> {
        if live.ended.is_cancelled() {
            return None;
        }
        let presence = live.presence();
        let sight = live.seen.lock();
        let session = sight.session.as_ref()?;
        match (access(&call.caller, session), verdict(session, &presence, now)) {
            (Access::Owner | Access::Admin, Verdict::Proceed) => Some(lease_renew(session, call.token, now)),
            (Access::Stranger, _) | (_, Verdict::End(..) | Verdict::Gone(_)) => None,
        }
    }

    fn heard(&self, session_id: SessionId, live: &Live, lease: Lease, late: bool) -> LeaseHeartbeat {
        self.meters().heartbeats.inc();
        self.meters().heartbeats_late.inc_by(u64::from(late));
        live.seen.renewed(lease);
        LeaseHeartbeat { session_id, lease }
    }

    async fn heartbeat_through_the_gate(&self, call: &Call, id: &str) -> Result<LeaseHeartbeat, EngineError> {
        for _ in 0..TRIES {
            let known = id.parse().ok().and_then(|id| self.live().get(&id));
            let epoch = known.as_ref().map(|live| live.seen.epoch());
            let permit = self.admit(call, id, Operation::LeaseHeartbeat).await?;
            let (session, now) = (permit.session(), self.now());
            let (lease, late) = match lease_renew(session, call.token, now) {
                LeaseRenewal::Fresh(lease) => {
                    self.meters().heartbeats.inc();
                    permit.live().seen.keep(epoch.unwrap_or_default(), session);
                    return Ok(LeaseHeartbeat { session_id: session.id.clone(), lease });
                }
                LeaseRenewal::NoLease => return Err(no_lease()),
                LeaseRenewal::Stale => return Err(EngineError::StaleLease),
                // It ran out since the gate looked: the gate says so.
                LeaseRenewal::Over => continue,
                LeaseRenewal::Renewed { lease, late } => (lease, late),
            };
            permit.live().seen.keep(epoch.unwrap_or_default(), session);
            let beat = LeaseBeat { id: session.id.clone(), token: lease.token, at: now };
            match self.store().lease_renew(beat).await? {
                LeaseRenewed::Renewed(lease) => {
                    return Ok(self.heard(session.id.clone(), permit.live(), lease, late));
                }
                LeaseRenewed::Refused(_) => {}
                LeaseRenewed::Missing => return Err(EngineError::Internal(format!("{id} vanished"))),
            }
        }
        Err(busy())
    }

    /// Takes the lease of a session. What its last holder had begun is over when this returns.
    pub async fn lease_take(
        &self,
        call: &Call,
        id: &str,
        body: Result<LeaseTakeRequest, EngineError>,
    ) -> Result<SessionView, EngineError> {
        let mut permit = self.admit(call, id, Operation::LeaseTake).await?;
        let request = body?;
        let terms = self.terms_to_take(permit.session(), request).await?;
        for _ in 0..TRIES {
            match lease_take(permit.session(), terms, request.takeover, self.now()) {
                LeaseTake::Held(until) => return Err(held(until)),
                LeaseTake::Taken(_) => {
                    if let Some(session) = self.take_now(call, &permit, terms, request.takeover).await? {
                        return Ok(SessionView { shows_lease: true, ..self.session_view(session) });
                    }
                }
                LeaseTake::Over => {}
            }
            permit = self.admit(call, id, Operation::LeaseTake).await?;
        }
        Err(busy())
    }

    /// The terms of a lease that is taken: what is not asked for is as in the session's template.
    async fn terms_to_take(&self, session: &Session, request: LeaseTakeRequest) -> Result<LeaseTerms, EngineError> {
        let template = match session.template.rsplit_once('@') {
            Some((name, version)) => self.store().template_get(name, version.parse().ok()).await?,
            None => None,
        };
        let asked = LeaseRequest { ttl_ms: request.ttl_ms, heartbeat_interval_ms: request.heartbeat_interval_ms };
        let terms = self.lease_terms(Some(asked), template.and_then(|template| template.lease));
        let terms = terms.map_err(|invalid| EngineError::from(vec![invalid]))?;
        terms.ok_or_else(|| EngineError::Internal("a lease that was asked for has no terms".to_owned()))
    }

    /// Stored first; then nobody of an older token acts any more; then it is answered. Nothing where the session changed meanwhile.
    async fn take_now(
        &self,
        call: &Call,
        permit: &Permit,
        terms: LeaseTerms,
        takeover: bool,
    ) -> Result<Option<Session>, EngineError> {
        let (session, at, live) = (permit.session(), self.now(), permit.live().clone());
        let metadata = json!({
            "ttl_ms": terms.ttl_ms,
            "heartbeat_interval_ms": terms.heartbeat_interval_ms,
            "takeover": takeover && session.lease.is_some(),
        });
        let entry = draft::by_caller(call, session, Operation::LeaseTake, at, metadata);
        let taking = LeaseTaking { id: session.id.clone(), terms, takeover, at, entry };
        let engine = self.clone();
        // Apart: what is stored holds, also where whoever asked for it has gone.
        self.apart(async move {
            match engine.store().lease_take(taking).await? {
                Changed::Done(session) => {
                    live.seen.forget();
                    let all_out = live.fence.raise(session.lease_token_last).await;
                    live.publish();
                    if all_out { Ok(Some(session)) } else { Err(still_inside(session.lease_token_last)) }
                }
                Changed::Refused(_) => Ok(None),
                Changed::Missing => Err(EngineError::Internal("a session vanished".to_owned())),
            }
        })
        .await
    }

    /// Gives the lease of a session up. Where it has none, that is so already.
    pub async fn lease_release(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        for _ in 0..TRIES {
            let permit = self.admit(call, id, Operation::LeaseRelease).await?;
            let (session, at) = (permit.session(), self.now());
            let token = match (lease_release(session, call.token, at), call.token) {
                (LeaseRelease::NoLease, _) => return Ok(self.session_view(session.clone())),
                (LeaseRelease::Released, Some(token)) => token,
                (LeaseRelease::Stale, _) | (LeaseRelease::Released, None) => return Err(EngineError::StaleLease),
                (LeaseRelease::Over, _) => continue,
            };
            if let Some(session) = self.release_now(call, &permit, token, at).await? {
                return Ok(self.session_view(session));
            }
        }
        Err(busy())
    }

    async fn release_now(
        &self,
        call: &Call,
        permit: &Permit,
        token: LeaseToken,
        at: Timestamp,
    ) -> Result<Option<Session>, EngineError> {
        let (session, live, engine) = (permit.session(), permit.live().clone(), self.clone());
        let entry = draft::by_caller(call, session, Operation::LeaseRelease, at, json!({}));
        let giving_up = LeaseGivingUp { id: session.id.clone(), token, at, entry };
        self.apart(async move {
            match engine.store().lease_release(giving_up).await? {
                Changed::Done(session) => {
                    live.seen.forget();
                    live.publish();
                    Ok(Some(session))
                }
                Changed::Refused(_) => Ok(None),
                Changed::Missing => Err(EngineError::Internal("a session vanished".to_owned())),
            }
        })
        .await
    }
}

fn no_lease() -> EngineError {
    EngineError::Conflict { code: Code::NoLease, what: "the session has no lease".to_owned() }
}

fn held(until: Timestamp) -> EngineError {
    EngineError::Conflict { code: Code::LeaseHeld, what: format!("the session's lease is held until {until}") }
}

/// Nobody holds this token: it was stored and not told, since two would act at a time.
fn still_inside(token: LeaseToken) -> EngineError {
    let what = "something of the last holder of the session's lease could not be broken off yet: nobody holds it now; take it over again";
    EngineError::Unavailable { what, chain: format!("token {} was given and is not told", token.0) }
}

/// The session changed every time between the look at it and the update.
fn busy() -> EngineError {
    let chain = "the session changed each time it was looked at".to_owned();
    EngineError::Unavailable { what: "the session's lease changes too often", chain }
}
