//! Tickets for browsers, and the tokens that a preview's ticket is exchanged for (AU-2).
//!
//! ```text
//! POST /v1/tickets ─► ticket, 30 s, used once ─┬─► terminal, events: spent on the way in
//!                                              └─► preview: exchanged for a token that the browser carries on, ≤ 12 h
//! ```
//!
//! Both are 256 random bits and are kept in memory alone, as digests: a restart forgets them, and who reads the memory's copy cannot use it. Whoever spends
//! one gets the [`Grant`] and must still pass the gate; the credential behind it is looked at again then, and both end with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenure_session::{Caller, LeaseToken, SessionId, Timestamp, UserId};

/// How long a ticket waits to be used.
pub const TICKET_TTL_MS: u64 = 30_000;
/// How long a preview's token holds at most.
pub const TOKEN_TTL_MS: u64 = 12 * 3_600_000;
/// Tickets that wait to be used: per user, and of all users.
const TICKETS_MAX: Bound = Bound { each: 64, all: 16_384 };
/// Tokens of previews: per user, and of all users.
const TOKENS_MAX: Bound = Bound { each: 256, all: 65_536 };

const TICKET_PREFIX: &str = "tkt_";
const TOKEN_PREFIX: &str = "pvt_";
/// 32 bytes in base64.
const SECRET_CHARS: usize = 43;

/// What a ticket or token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A terminal, in the name of the lease's holder where there is a lease.
    Terminal {
        /// The token of the lease.
        lease: Option<LeaseToken>,
    },
    /// The stream of the session's events.
    Events,
    /// The preview of a port.
    Preview {
        /// Which.
        port: u16,
    },
}

/// What whoever holds a ticket or token may do, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// In whose name.
    pub caller: Arc<Caller>,
    /// When the credential behind it ends, where it does by itself.
    pub credential_expires_at: Option<Timestamp>,
    /// In which session, and no other.
    pub session: SessionId,
    /// For what, and nothing else.
    pub purpose: Purpose,
}

/// A secret that was just made. It is shown here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The secret.
    pub secret: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Why there is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// This user has as many as may wait.
    #[error("{} tickets wait to be used", TICKETS_MAX.each)]
    TooManyOfUser,
    /// All users together have.
    #[error("too many tickets wait to be used")]
    TooMany,
    /// The host has no random numbers.
    #[error("the host has no random numbers")]
    NoRandom,
}

/// All tickets and tokens that hold. Cheap to clone: all clones are the same.
#[derive(Clone, Default)]
pub struct Tickets {
    waiting: Arc<Mutex<Table>>,
    tokens: Arc<Mutex<Table>>,
}

impl Tickets {
    /// Makes a ticket.
    pub fn issue(&self, grant: Grant, now: Timestamp) -> Result<Issued, NotIssued> {
        let mut waiting = locked(&self.waiting);
        waiting.sweep(now);
        if waiting.of(&grant.caller.user) >= TICKETS_MAX.each {
            return Err(NotIssued::TooManyOfUser);
        }
        waiting.issue(TICKET_PREFIX, TICKETS_MAX, TICKET_TTL_MS, grant, now)
    }

    /// Spends a ticket, which is worth nothing afterwards: also where it was meant for something else, for then it is in wrong hands.
    pub fn spend(&self, ticket: &str, now: Timestamp) -> Option<Grant> {
        let mut waiting = locked(&self.waiting);
        waiting.sweep(now);
        waiting.remove(&digest(ticket)).map(|entry| entry.grant)
    }

    /// Makes a token out of what a preview's ticket granted. A user's oldest makes room where there are too many.
    pub fn exchange(&self, grant: Grant, now: Timestamp) -> Result<Issued, NotIssued> {
        let mut tokens = locked(&self.tokens);
        tokens.sweep(now);
        while tokens.of(&grant.caller.user) >= TOKENS_MAX.each {
            tokens.drop_oldest_of(&grant.caller.user);
        }
        tokens.issue(TOKEN_PREFIX, TOKENS_MAX, TOKEN_TTL_MS, grant, now)
    }

    /// What a preview's token grants, and until when.
    pub fn token(&self, token: &str, now: Timestamp) -> Option<(Grant, Timestamp)> {
        let mut tokens = locked(&self.tokens);
        tokens.sweep(now);
        tokens.entries.get(&digest(token)).map(|entry| (entry.grant.clone(), entry.expires_at))
    }

    /// Takes everything back that was granted on a credential.
    pub fn revoke_credential(&self, credential: &str) {
        self.revoke(|grant| grant.caller.credential == credential);
    }

    /// Takes everything back that was granted in a session.
    pub fn revoke_session(&self, session: &SessionId) {
        self.revoke(|grant| grant.session == *session);
    }

    /// Takes back what was granted for a preview of a port.
    pub fn revoke_preview(&self, session: &SessionId, port: u16) {
        self.revoke(|grant| grant.session == *session && grant.purpose == Purpose::Preview { port });
    }

    fn revoke(&self, which: impl Fn(&Grant) -> bool) {
        locked(&self.waiting).remove_all(&which);
        locked(&self.tokens).remove_all(&which);
    }
}

/// Whether a text is written as a ticket is.
pub fn is_ticket(text: &str) -> bool {
    is_secret(text, TICKET_PREFIX)
}

/// Whether a text is written as a preview's token is.
pub fn is_token(text: &str) -> bool {
    is_secret(text, TOKEN_PREFIX)
}

fn is_secret(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == SECRET_CHARS && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[derive(Clone, Copy)]
struct Bound {
    each: usize,
    all: usize,
}

type Digest = [u8; 32];

struct Entry {
    grant: Grant,
    expires_at: Timestamp,
}

/// Grants by the digest of their secret, by when they end, and by whose they are.
#[derive(Default)]
struct Table {
    entries: HashMap<Digest, Entry>,
    ends: BTreeSet<(Timestamp, Digest)>,
    /// Oldest first.
    users: HashMap<UserId, VecDeque<Digest>>,
}

impl Table {
    fn of(&self, user: &UserId) -> usize {
        self.users.get(user).map_or(0, VecDeque::len)
    }

    fn issue(
        &mut self,
        prefix: &str,
        bound: Bound,
        ttl_ms: u64,
        grant: Grant,
        now: Timestamp,
    ) -> Result<Issued, NotIssued> {
        if self.entries.len() >= bound.all {
            return Err(NotIssued::TooMany);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| NotIssued::NoRandom)?;
        let secret = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
        let full = now.plus_ms(ttl_ms);
        let expires_at = grant.credential_expires_at.map_or(full, |credential| credential.min(full));
        let key = digest(&secret);
        self.ends.insert((expires_at, key));
        self.users.entry(grant.caller.user.clone()).or_default().push_back(key);
        self.entries.insert(key, Entry { grant, expires_at });
        Ok(Issued { secret, expires_at })
    }

    fn remove(&mut self, key: &Digest) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.ends.remove(&(entry.expires_at, *key));
        if let Some(keys) = self.users.get_mut(&entry.grant.caller.user) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.users.remove(&entry.grant.caller.user);
            }
        }
        Some(entry)
    }

    fn remove_all(&mut self, which: impl Fn(&Grant) -> bool) {
        let found = self.entries.iter().filter(|(_, entry)| which(&entry.grant));
        for key in found.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    fn drop_oldest_of(&mut self, user: &UserId) {
        if let Some(oldest) = self.users.get(user).and_then(|keys| keys.front().copied()) {
            self.remove(&oldest);
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        while let Some((at, key)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            // What stands in one index stands in all; were it not so, this must end all the same.
            self.ends.remove(&(at, key));
            self.remove(&key);
        }
    }
}

fn digest(secret: &str) -> Digest {
    Sha256::digest(secret.as_bytes()).into()
}

fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
