//! The same request again: answered as it was (LC-6).

use crate::call::Call;
use crate::code::Code;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::waiting::Turn;
use tenure_session::{ExecId, Operation, SessionId, UserId};
use tenure_store::{IdempotencyClaim, IdempotencyRecord, StoredAnswer};

/// What a request that may come twice is answered.
pub enum Answer<T> {
    /// It was done now, or was done before and its answer is made again from what is remembered.
    Fresh {
        /// What became of it.
        result: Result<T, EngineError>,
        /// Where its answer is to be kept; give it the answer before it is sent.
        keep: Option<Keep>,
    },
    /// It was answered before, with this.
    Replayed(StoredAnswer),
}

/// Where the answer of a request is kept, for the next time it comes.
pub struct Keep {
    engine: Engine,
    user: UserId,
    key: String,
    _turn: Turn,
}

impl Keep {
    /// Keeps the answer. Where that fails, the next request of this key has it made again from what is remembered.
    pub async fn answered(self, status: u16, body: Vec<u8>) {
        let answer = StoredAnswer { status, body };
        if let Err(error) = self.engine.store().idempotency_answer(&self.user, &self.key, answer).await {
            tracing::warn!(%error, "the answer under an idempotency key was not kept");
        }
    }
}

/// A request's turn under its key.
pub(crate) enum Keyed {
    /// It comes without one.
    Without,
    /// It is the first under this key: what it does is to be claimed with it.
    First(Keep, Box<dyn Fn(SessionId, Option<ExecId>) -> IdempotencyClaim + Send + Sync>),
    /// It came before, and was answered with this; of which session.
    Answered(StoredAnswer, SessionId),
    /// It came before, was done, and the answer was lost.
    Done(Keep, Box<IdempotencyRecord>),
}

impl Engine {
    /// Waits for this request's turn under its key, and says what is known of it.
    pub(crate) async fn keyed(&self, call: &Call, operation: Operation) -> Result<Keyed, EngineError> {
        let Some(given) = &call.idempotency else { return Ok(Keyed::Without) };
        if !(1..=255).contains(&given.key.len()) {
            return Err(EngineError::field("Idempotency-Key", "must be 1 to 255 bytes"));
        }
        let user = call.caller.user.clone();
        let turn = self.waiting().turn(&user, &given.key).await;
        let keep = Keep { engine: self.clone(), user: user.clone(), key: given.key.clone(), _turn: turn };
        match self.store().idempotency_get(&user, &given.key).await? {
            Some(record) => {
                let replayed = replay(keep, record, operation, &given.digest)?;
                self.not_purged(&replayed).await?;
                Ok(replayed)
            }
            None => {
                let (key, digest, at) = (given.key.clone(), given.digest.clone(), self.now());
                let operation = operation.row().name.to_owned();
                let claim = move |session_id, exec_id| IdempotencyClaim {
                    user: user.clone(),
                    key: key.clone(),
                    operation: operation.clone(),
                    digest: digest.clone(),
                    session_id,
                    exec_id,
                    at,
                };
                Ok(Keyed::First(keep, Box::new(claim)))
            }
        }
    }

    /// The claim of a key outlives its session's purge, the answer does not: what is left to say is that the session is gone, why and when.
    async fn not_purged(&self, keyed: &Keyed) -> Result<(), EngineError> {
        let id = match keyed {
            Keyed::Answered(answer, id) if answer.body.is_empty() => id,
            Keyed::Done(_, record) => &record.claim.session_id,
            Keyed::Answered(..) | Keyed::First(..) | Keyed::Without => return Ok(()),
        };
        match self.store().session_get(id).await? {
            Some(session) if session.purged_at.is_some() => Err(EngineError::archived(&session)),
            Some(_) | None => Ok(()),
        }
    }
}

fn replay(keep: Keep, record: IdempotencyRecord, operation: Operation, digest: &str) -> Result<Keyed, EngineError> {
    if record.claim.operation != operation.row().name || record.claim.digest != digest {
        return Err(conflict());
    }
    Ok(match record.answer {
        Some(answer) => Keyed::Answered(answer, record.claim.session_id),
        None => Keyed::Done(keep, Box::new(record)),
    })
}

/// The key was used for another request.
pub(crate) fn conflict() -> EngineError {
    let what = "the idempotency key was used for another request".to_owned();
    EngineError::Conflict { code: Code::IdempotencyConflict, what }
}
