//! The sweeper: ends sessions that nobody visits, once their time has come, and takes down what is left of environments (CL-1). Requests notice ends by
//! themselves; without it only the reclaiming waits (TM-6).
//!
//! ```text
//!  due by the index ─► verdict ─► ended, many in one transaction
//!  ended, environment not gone ─► taken down once more
//!  known to the kernel ─► of a session that lives, is being made or is being taken down? ─► no: taken down
//! ```

use crate::engine::Engine;
use crate::error::EngineError;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::HashSet;
use std::time::Duration;
use tenure_environment::EnvironmentId;
use tenure_session::{Presence, Session, SessionId, Verdict, Work, cleanup_check, verdict};

/// Most sessions in one look at the store.
const BATCH: u32 = 1000;
/// Sessions that are ended together: as many as the store takes into one transaction.
const TOGETHER: usize = 256;
/// Environments that are taken down together.
const DISCARD_TOGETHER: usize = 16;
/// How often the sweeper also looks for leftovers.
const LEFTOVERS_EVERY_MS: u64 = 60_000;

/// Whether a sweep is done, or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// It says what it would do, and does nothing.
    Dry,
    /// It is done.
    Real,
}

/// What one sweep did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that were looked at: those whose stored deadline had passed, and those that had ended and were not tidied up.
    pub checked: u64,
    /// Those that it ended.
    pub ended: Vec<SessionId>,
    /// Those that had ended before, and of whose environment nothing is left now.
    pub tidied: Vec<SessionId>,
    /// Environments of no living session, which it took down.
    pub orphans: Vec<EnvironmentId>,
    /// Environments that should be gone and are not: the next sweep tries again.
    pub left: Vec<String>,
}

/// What became of one session that was due.
enum Due {
    /// This sweep ended it.
    Ended(SessionId),
    /// It lives, or somebody else ended it.
    NotOurs,
}

impl Engine {
    /// Ends every session whose time has come. It costs what is due, and may be run by anybody at any time: each session ends once.
    pub async fn sweep(&self) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        loop {
            let due = self.store().session_due(self.now(), BATCH).await?;
            let last = due.len() < BATCH as usize;
            swept.checked += due.len() as u64;
            let looks = stream::iter(due).map(|session| async move { self.sweep_one(&session).await });
            let mut looks = std::pin::pin!(looks.buffer_unordered(TOGETHER));
            while let Some(became) = looks.try_next().await? {
                match became {
                    Due::Ended(id) => swept.ended.push(id),
                    Due::NotOurs => {}
                }
            }
            if last {
                return Ok(swept);
            }
        }
    }

    async fn sweep_one(&self, session: &Session) -> Result<Due, EngineError> {
        let now = self.now();
        let presence = self.presence(session);
        match verdict(session, &presence, now) {
            Verdict::End(limit, at) => Ok(match self.expire_once(session, limit, at).await? {
                (session, true) => Due::Ended(session.id),
                (_, false) => Due::NotOurs,
            }),
            // It is worked in, or may be, or was: what is stored of that is brought up to date, so that it is not due again at the next look.
            Verdict::Proceed => {
                let at = if presence.work == Work::None { presence.last_activity_at } else { Some(now) };
                let at = at.unwrap_or(session.last_activity_at);
                self.store().session_activity(&session.id, at, &session.last_activity).await?;
                Ok(Due::NotOurs)
            }
            Verdict::Gone(_) => Ok(Due::NotOurs),
        }
    }

    /// Everything: what is due, what has ended and was not tidied up, and environments of nobody.
    pub(crate) async fn sweep_all(&self) -> Result<Swept, EngineError> {
        let mut swept = self.sweep().await?;
        self.sweep_leftovers(&mut swept).await?;
        Ok(swept)
    }

    async fn sweep_leftovers(&self, swept: &mut Swept) -> Result<(), EngineError> {
        self.sweep_ended(swept).await?;
        let orphans = self.orphans().await?;
        let taken = stream::iter(orphans).map(|orphan| async move {
            tracing::warn!(environment = %orphan, "an environment of nobody is taken down");
            let taken = self.driver().discard(&orphan).await;
            (orphan, taken)
        });
        let mut taken = std::pin::pin!(taken.buffer_unordered(DISCARD_TOGETHER));
        while let Some((orphan, taken)) = taken.next().await {
            match taken {
                Ok(()) => swept.orphans.push(orphan),
                Err(error) => {
                    tracing::error!(environment = %orphan, %error, "it was not taken down");
                    swept.left.push(orphan.to_string());
                }
            }
        }
        Ok(())
    }

    /// Sessions that have ended and were not tidied up, once more.
    async fn sweep_ended(&self, swept: &mut Swept) -> Result<(), EngineError> {
        let mut leftovers = self.live().take_leftovers().into_iter();
        while let Some(id) = leftovers.next() {
            let session = match self.store().session_get(&id).await {
                Ok(Some(session)) => session,
                Ok(None) => continue,
                Err(error) => {
                    [id].into_iter().chain(leftovers).for_each(|id| self.live().leave(&id));
                    return Err(error.into());
                }
            };
            swept.checked += 1;
            if self.tear_down_found(&session).await {
                swept.tidied.push(id);
            } else {
                swept.left.extend(session.environment.map(|environment| environment.id.to_string()));
            }
        }
        Ok(())
    }

    /// Environments that the kernel knows and no session owns. Listed before anybody is asked, so that one that is made meanwhile is not among them; one that
    /// is being made was written down, or is expected by its session, before there was anything of it.
    async fn orphans(&self) -> Result<Vec<EnvironmentId>, EngineError> {
        let mut found = self.driver().known().await?;
        if found.is_empty() {
            return Ok(found);
        }
        let owned = self.live().environments();
        found.retain(|id| !owned.contains(id.as_str()));
        if found.is_empty() {
            return Ok(found);
        }
        let mut unfinished = HashSet::new();
        self.each_unfinished(|session| {
            unfinished.extend(session.environment.as_ref().map(|environment| environment.id.to_string()));
        })
        .await?;
        found.retain(|id| !unfinished.contains(id.as_str()));
        if !found.is_empty() {
            // What was being taken down in the meantime is gone by itself.
            let still: HashSet<EnvironmentId> = self.driver().known().await?.into_iter().collect();
            found.retain(|id| still.contains(id));
        }
        Ok(found)
    }

    /// What a sweep would do: from what is read alone. It costs a look at every session that lives.
    pub(crate) async fn sweep_dry(&self) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        let now = self.now();
        self.each_unfinished(|session| {
            let stored = cleanup_check(session, &Presence::default(), now);
            let told = cleanup_check(session, &self.presence(session), now);
            // What is being taken down at this moment needs nobody else.
            let in_hand = session.end.is_some() && self.live().get(&session.id).is_some();
            if !stored.should_cleanup || in_hand {
                return;
            }
            swept.checked += 1;
            match (told.should_cleanup, &session.end) {
                (true, None) => swept.ended.push(session.id.clone()),
                (true, Some(_)) => swept.tidied.push(session.id.clone()),
                (false, _) => {}
            }
        })
        .await?;
        swept.orphans = self.orphans().await?;
        Ok(swept)
    }

    /// Every session that lives, or whose environment is not known to be gone.
    async fn each_unfinished(&self, mut look: impl FnMut(&Session)) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let page = self.store().session_unfinished(after, BATCH).await?;
            page.iter().for_each(&mut look);
            match page.last() {
                Some(last) if page.len() == BATCH as usize => after = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Sweeps for as long as it is polled, about so often: never twice at the same distance, so that several do not keep step. Leftovers are looked for
    /// now and then.
    pub async fn sweep_on(&self, every: Duration) {
        let mut looked_at = self.now();
        loop {
            let jitter = self.random::<1>().map_or(0, |[byte]| u64::from(byte));
            // Between three quarters and five quarters of it.
            let pause = every.mul_f64(0.75 + jitter as f64 / 512.0);
            tokio::time::sleep(pause).await;
            let leftovers = self.now().ms_since(looked_at) >= LEFTOVERS_EVERY_MS;
            let swept = if leftovers {
                looked_at = self.now();
                self.sweep_all().await
            } else {
                self.sweep().await
            };
            match swept {
                Ok(swept) if swept.ended.is_empty() && swept.tidied.is_empty() && swept.orphans.is_empty() => {}
                Ok(swept) => tracing::info!(
                    checked = swept.checked,
                    ended = swept.ended.len(),
                    tidied = swept.tidied.len(),
                    orphans = swept.orphans.len(),
                    "swept"
                ),
                Err(error) => tracing::warn!(%error, chain = error.chain(), "a sweep broke off"),
            }
        }
    }
}
