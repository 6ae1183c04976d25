//! API keys: made, listed, revoked, given another secret, and checked with every request (AU-1).

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::engine::{Engine, missing};
use crate::error::EngineError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use tenure_session::{Caller, InvalidField, KeyId, Operation, Role, Timestamp, Trigger, UserId};
use tenure_store::{AuditDraft, KeyRecord};
use tokio::sync::watch;

/// What every secret begins with, so that scanners for leaked secrets know one when they see it.
const PREFIX: &str = "tnr_";
const LABEL_MAX: usize = 256;
/// Longest life that a key with an end can have: ten years. One without is revoked when it is not wanted any more.
const EXPIRES_IN_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;
/// Longest sleep before the clock is looked at again: timers stand still while the host sleeps, expiry does not.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// What a new key is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What it lets its bearer do.
    pub role: Role,
    /// Who bears it.
    pub user: String,
    /// What its maker calls it: at most 256 bytes.
    #[serde(default)]
    pub label: Option<String>,
    /// For how long it is good, in milliseconds; until it is revoked where nothing is given.
    #[serde(default)]
    pub expires_in_ms: Option<u64>,
}

/// A key and its secret, which is told this once and kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMade {
    /// The key.
    pub record: KeyRecord,
    /// Its secret: `tnr_` and 64 hex digits.
    pub secret: String,
}

impl std::fmt::Debug for KeyMade {
    /// Without the secret, which must not come into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyMade").field("record", &self.record).finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes a key.
    pub async fn key_create(&self, call: &Call, body: Result<KeyRequest, EngineError>) -> Result<KeyMade, EngineError> {
        self.admit_service(call, Operation::KeyCreate)?;
        let request = body?;
        let user = key_user(&request)?;
        let (now, secret) = (self.now(), self.secret()?);
        let record = KeyRecord {
            id: KeyId::new(self.random()?),
            digest: digest(&secret),
            role: request.role,
            user,
            label: request.label,
            created_at: now,
            expires_at: request.expires_in_ms.map(|ms| now.plus_ms(ms)),
            revoked_at: None,
        };
        let entry = draft::of_service(call, Operation::KeyCreate, now, about(&record));
        self.key_keep(record, secret, entry).await
    }

    /// Lists all keys, revoked ones too, oldest first.
    pub async fn key_list(&self, call: &Call) -> Result<Vec<KeyRecord>, EngineError> {
        self.admit_service(call, Operation::KeyList)?;
        Ok(self.store().key_list().await?)
    }

    /// Revokes a key, for ever. Revoked already is as good.
    pub async fn key_revoke(&self, call: &Call, id: &str) -> Result<KeyRecord, EngineError> {
        self.admit_service(call, Operation::KeyRevoke)?;
        let id: KeyId = id.parse()?;
        let now = self.now();
        let entry = draft::of_service(call, Operation::KeyRevoke, now, json!({ "key_id": id }));
        let engine = self.clone();
        self.apart(async move {
            let _turn = engine.keys().turn().await;
            let revoked = engine.store().key_revoke(&id, now, entry).await?;
            let revoked = revoked.ok_or_else(|| no_key(&id))?;
            engine.keys().put(revoked.clone());
            Ok(revoked)
        })
        .await
    }

    /// Gives a key another secret; the one it had is good for nothing from then on.
    pub async fn key_rotate(&self, call: &Call, id: &str) -> Result<KeyMade, EngineError> {
        self.admit_service(call, Operation::KeyRotate)?;
        let id: KeyId = id.parse()?;
        let (now, secret) = (self.now(), self.secret()?);
        let entry = draft::of_service(call, Operation::KeyRotate, now, json!({ "key_id": id }));
        let engine = self.clone();
        self.apart(async move {
            let _turn = engine.keys().turn().await;
            let rotated = engine.store().key_rotate(&id, &digest(&secret), now, entry).await?;
            let record = rotated.ok_or_else(|| no_key(&id))?;
            engine.keys().put(record.clone());
            Ok(KeyMade { record, secret })
        })
        .await
    }

    /// Makes the first key, an administrator's, where the store has none at all. Its secret is handed out before the key is good, so that a crash
    /// in between leaves no key whose secret nobody has; the next start then makes another.
    pub async fn key_first_admin(
        &self,
        hand_out: impl FnOnce(&str) -> std::io::Result<()>,
    ) -> Result<Option<KeyRecord>, EngineError> {
        if !self.store().key_list().await?.is_empty() {
            return Ok(None);
        }
        let (now, secret) = (self.now(), self.secret()?);
        hand_out(&secret).map_err(|error| EngineError::Unavailable {
            what: "the first key's secret cannot be kept",
            chain: error.to_string(),
        })?;
        let user: UserId = "admin".parse().map_err(|_| EngineError::Internal("admin is no user".to_owned()))?;
        let record = KeyRecord {
            id: KeyId::new(self.random()?),
            digest: digest(&secret),
            role: Role::Admin,
            user,
            label: Some("made by the first start".to_owned()),
            created_at: now,
            expires_at: None,
            revoked_at: None,
        };
        let entry = AuditDraft {
            session_id: None,
            at: now,
            old_state: None,
            new_state: None,
            trigger: Trigger::ApiCall,
            actor: "system".to_owned(),
            action: Operation::KeyCreate.row().name.to_owned(),
            reason: Some("first start".to_owned()),
            metadata: about(&record),
        };
        Ok(Some(self.key_keep(record, secret, entry).await?.record))
    }

    /// The key with this secret, where it is good now. Looked up by digest, so that how long it takes tells nothing about any secret.
    pub fn key_check(&self, secret: &str) -> Option<KeyRecord> {
        let now = self.now();
        self.keys().get(&digest(secret)).filter(|key| is_good(key, now))
    }

    /// Moves whenever a key changes.
    pub fn key_watch(&self) -> watch::Receiver<u64> {
        self.keys().watch()
    }

    /// Waits until a caller's credential is good for nothing any more: it expired, or its key was revoked or given another secret. For streams, which
    /// outlive the request that was checked (AU-2). The expiry handed in is that of a token; a key's own is known here.
    pub fn credential_ended(
        &self,
        caller: &Caller,
        expires_at: Option<Timestamp>,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        let engine = self.clone();
        let mut changed = engine.keys().watch();
        let key = caller.credential.parse::<KeyId>().ok();
        let began_with = key.as_ref().map(|id| engine.keys().by_id(id));
        async move {
            loop {
                let now = engine.now();
                let known = key.as_ref().map(|id| engine.keys().by_id(id));
                let same_secret = known.as_ref().map(|key| key.as_ref().map(|key| &key.digest))
                    == began_with.as_ref().map(|key| key.as_ref().map(|key| &key.digest));
                let good = match &known {
                    Some(Some(key)) => same_secret && is_good(key, now),
                    Some(None) => false,
                    None => true,
                };
                let ends_at = [expires_at, known.flatten().and_then(|key| key.expires_at)].into_iter().flatten().min();
                if !good || ends_at.is_some_and(|at| now >= at) {
                    return;
                }
                let nap = ends_at.map_or(SLEEP_MAX, |at| Duration::from_millis(at.ms_since(now)));
                tokio::select! {
                    // The sender lives in the engine, which is held here.
                    _ = changed.changed() => {}
                    () = tokio::time::sleep(nap.clamp(Duration::from_millis(1), SLEEP_MAX)) => {}
                }
            }
        }
    }

    async fn key_keep(&self, record: KeyRecord, secret: String, entry: AuditDraft) -> Result<KeyMade, EngineError> {
        let engine = self.clone();
        self.apart(async move {
            let _turn = engine.keys().turn().await;
            engine.store().key_create(record.clone(), entry).await?;
            engine.keys().put(record.clone());
            Ok(KeyMade { record, secret })
        })
        .await
    }

    fn secret(&self) -> Result<String, EngineError> {
        Ok(format!("{PREFIX}{}", hex::encode(self.random::<32>()?)))
    }
}

fn digest(secret: &str) -> String {
    tenure_digest::digest_bytes(secret.as_bytes()).to_string()
}

/// What of a key is for the audit: everything but digest and secret.
fn about(key: &KeyRecord) -> serde_json::Value {
    json!({ "key_id": key.id, "role": key.role, "user": key.user, "label": key.label, "expires_at": key.expires_at })
}

fn is_good(key: &KeyRecord, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|at| now < at)
}

fn no_key(id: &KeyId) -> EngineError {
    missing(Code::KeyNotFound, format!("there is no key {id}, or it was revoked"))
}

/// Checks a request, and says whose key it asks for.
fn key_user(request: &KeyRequest) -> Result<UserId, EngineError> {
    let mut invalid = Vec::new();
    if request.label.as_ref().is_some_and(|label| label.len() > LABEL_MAX) {
        invalid.push(InvalidField::new("label", format!("must be at most {LABEL_MAX} bytes")));
    }
    if request.expires_in_ms.is_some_and(|ms| !(1..=EXPIRES_IN_MS_MAX).contains(&ms)) {
        invalid.push(InvalidField::new("expires_in_ms", format!("must be 1 to {EXPIRES_IN_MS_MAX}")));
    }
    match request.user.parse::<UserId>() {
        Ok(user) if invalid.is_empty() => Ok(user),
        Ok(_) => Err(invalid.into()),
        Err(error) => {
            invalid.push(InvalidField::new("user", format!("must be {}", error.form)));
            Err(invalid.into())
        }
    }
}
