//! A small world: a session, a few holders that each remember a token, a sweeper, a clock that may be set back, a service that may crash. Every step
//! checks what must hold of it (LS-2, LS-4, LS-7, GV-6, GV-7).

use crate::law::{Law, Update};
use crate::sample::{at, end_for, session};
use tenure_session::*;

/// For how long a lease holds in these worlds, and how often it is to be renewed.
const TERMS: LeaseTerms = LeaseTerms { ttl_ms: 3, heartbeat_interval_ms: 2 };
/// When a session's life is over in these worlds.
const LIFETIME: i64 = 5;
/// Where time ends.
const LATEST: i64 = 6;
pub const HOLDERS: usize = 3;

/// A lease in few numbers: token, expiry, last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slip {
    token: u64,
    expiry: i64,
    beat: Option<i64>,
}

/// What is stored of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stored {
    lease: Option<Slip>,
    last: u64,
    over: bool,
}

/// What somebody read, and has not acted on yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    Renew,
    Take { takeover: bool },
}

/// Everything there is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    now: i64,
    stored: Stored,
    /// The token that each holder believes to have.
    tokens: [Option<u64>; HOLDERS],
    /// A request between its look at the session and its update: whose, what, what it saw, when.
    pending: Option<(usize, Intent, Stored, i64)>,
    /// The expiry that the sweeper saw pass.
    sweeping: Option<i64>,
    /// The highest token that anybody was ever given.
    given: u64,
    jumps: u8,
    crashes: u8,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Tick,
    JumpBack(i64),
    /// The service dies, and starts after so long.
    Crash(i64),
    Look(usize, Intent),
    Update,
    Release(usize),
    SweeperLooks,
    SweeperEnds,
}

impl World {
    pub fn begin(jumps: u8, crashes: u8) -> World {
        World {
            now: 0,
            stored: Stored { lease: None, last: 0, over: false },
            tokens: [None; HOLDERS],
            pending: None,
            sweeping: None,
            given: 0,
            jumps,
            crashes,
        }
    }

    /// The highest token that anybody was ever given.
    pub fn tokens_given(&self) -> u64 {
        self.given
    }

    pub fn steps(&self, holders: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.now < LATEST {
            steps.push(Step::Tick);
        }
        if self.jumps > 0 {
            steps.extend(Some(2).filter(|by| *by <= self.now).map(Step::JumpBack));
        }
        if self.crashes > 0 {
            steps.extend([1, 3].map(Step::Crash));
        }
        match self.pending {
            Some(_) => steps.push(Step::Update),
            None => {
                let intents = [Intent::Renew, Intent::Take { takeover: false }, Intent::Take { takeover: true }];
                for holder in 0..holders {
                    steps.extend(intents.map(|intent| Step::Look(holder, intent)));
                    steps.extend(self.tokens[holder].is_some().then_some(Step::Release(holder)));
                }
            }
        }
        steps.push(if self.sweeping.is_some() { Step::SweeperEnds } else { Step::SweeperLooks });
        steps
    }

    /// What is after this step; panics where something is that must not be.
    pub fn after(mut self, law: &Law, step: Step, scratch: &mut Scratch) -> World {
        match step {
            Step::Tick => self.now += 1,
            Step::JumpBack(by) => (self.now, self.jumps) = (self.now - by, self.jumps - 1),
            Step::Crash(down) => self.restart(law, down, scratch),
            Step::Look(holder, intent) => self.pending = Some((holder, intent, self.stored, self.now)),
            Step::Update => self.update(law, scratch),
            Step::Release(holder) => self.release(law, holder, scratch),
            Step::SweeperLooks => {
                let session = scratch.session(&self.stored);
                if let Verdict::End(Limit::LeaseExpired, seen) = verdict(session, &Presence::default(), at(self.now)) {
                    self.sweeping = Some(number(seen));
                }
            }
            Step::SweeperEnds => self.sweep(law, scratch),
        }
        self.fenced(law, scratch);
        self
    }

    fn update(&mut self, law: &Law, scratch: &mut Scratch) {
        let Some((holder, intent, read, read_at)) = self.pending.take() else { return };
        let token = self.tokens[holder];
        let Scratch { read: reading, row } = scratch;
        write(reading, &read);
        write(row, &self.stored);
        let update = Update { read: reading, read_at: at(read_at), row, now: at(self.now) };
        match intent {
            Intent::Renew => {
                let renewal = (law.renew_in_update)(law, &update, token.map(LeaseToken));
                self.renewed(token, renewal);
            }
            Intent::Take { takeover } => match (law.take_in_update)(law, &update, TERMS, takeover) {
                LeaseTake::Taken(lease) => self.taken(holder, takeover, slip(&lease)),
                LeaseTake::Held(until) => {
                    assert!(
                        !takeover && self.holds().is_some_and(|held| held.expiry == number(until)),
                        "nobody held it"
                    );
                }
                LeaseTake::Over => assert!(self.is_over(), "it could have been taken"),
            },
        }
    }

    fn renewed(&mut self, token: Option<u64>, renewal: LeaseRenewal) {
        let held = self.holds();
        let current = held.is_some_and(|held| Some(held.token) == token);
        match renewal {
            LeaseRenewal::Renewed { lease, .. } => {
                let (old, new) = (held.expect("an expired lease, or none, was renewed"), slip(&lease));
                assert!(current, "a stale token renewed");
                assert_eq!(new.token, old.token, "a renewal changed the token");
                assert!(new.expiry >= old.expiry, "the expiry moved back");
                assert!(new.expiry <= LIFETIME.max(old.expiry), "the expiry is past the lifetime");
                assert_eq!(
                    new.expiry,
                    (self.now + 3).min(LIFETIME).max(old.expiry),
                    "the expiry is not one TTL from now"
                );
                assert!(old.beat.is_none_or(|beat| self.now >= beat + 2), "renewed twice within an interval");
                assert_eq!(new.beat, Some(self.now), "the heartbeat was forgotten");
                self.stored.lease = Some(new);
            }
            LeaseRenewal::Fresh(lease) => {
                assert!(current && held == Some(slip(&lease)), "what did not change was told otherwise");
                assert!(
                    held.and_then(|held| held.beat).is_some_and(|beat| self.now < beat + 2),
                    "a heartbeat was lost"
                );
            }
            LeaseRenewal::Stale => assert!(held.is_some() && !current, "the holder was turned away"),
            LeaseRenewal::NoLease => assert!(self.stored.lease.is_none() && !self.is_over(), "there was a lease"),
            LeaseRenewal::Over => assert!(self.is_over(), "a live lease was not renewed"),
        }
    }

    fn taken(&mut self, holder: usize, takeover: bool, new: Slip) {
        assert!(!self.is_over(), "what is over was taken");
        assert!(takeover || self.holds().is_none(), "a held lease was taken");
        assert!(new.token > self.given, "a token came twice");
        assert_eq!((new.expiry, new.beat), ((self.now + 3).min(LIFETIME), None), "a new lease holds for one TTL");
        (self.given, self.tokens[holder]) = (new.token, Some(new.token));
        (self.stored.lease, self.stored.last) = (Some(new), self.stored.last.max(new.token));
    }

    fn release(&mut self, law: &Law, holder: usize, scratch: &mut Scratch) {
        let token = self.tokens[holder];
        let current = self.holds().is_some_and(|held| Some(held.token) == token);
        match (law.release)(scratch.session(&self.stored), token.map(LeaseToken), at(self.now)) {
            LeaseRelease::Released => {
                assert!(current, "somebody gave up what was not theirs, or what had run out");
                self.stored.lease = None;
            }
            LeaseRelease::Stale => assert!(self.holds().is_some() && !current),
            LeaseRelease::NoLease => assert!(self.stored.lease.is_none() && !self.is_over()),
            LeaseRelease::Over => assert!(self.is_over(), "a holder could not give up"),
        }
    }

    fn sweep(&mut self, law: &Law, scratch: &mut Scratch) {
        let Some(seen) = self.sweeping.take() else { return };
        if (law.expire_in_update)(scratch.session(&self.stored), at(seen)) {
            let row = self.stored.lease.filter(|_| !self.stored.over).expect("it has no lease, and ended for one");
            // A clock that was set back does not undo what had passed; a renewal does.
            assert_eq!(row.expiry, seen, "a renewed lease expired");
            self.stored.over = true;
        }
    }

    fn restart(&mut self, law: &Law, down: i64, scratch: &mut Scratch) {
        (self.pending, self.sweeping) = (None, None);
        self.crashes -= 1;
        let from = self.now;
        self.now += down;
        let shift = (law.shift)(scratch.session(&self.stored), at(from), at(self.now));
        let moved = shift.and_then(|shift| shift.lease_expires_at).map(number);
        let row = self.stored.lease.filter(|_| !self.stored.over);
        let ran_out = row.is_some_and(|row| from < row.expiry && row.expiry <= self.now);
        assert_eq!(moved.is_some(), ran_out, "only what ran out in the down time is moved");
        if let (Some(lease), Some(expiry)) = (&mut self.stored.lease, moved) {
            assert!(expiry >= lease.expiry && expiry <= LIFETIME.max(lease.expiry));
            lease.expiry = expiry;
        }
    }

    /// At most one holder gets through, and it is the last that took the lease.
    fn fenced(&self, law: &Law, scratch: &mut Scratch) {
        let session = scratch.session(&self.stored);
        let Some(held) = self.holds() else {
            if self.is_over() {
                assert!(!(law.fence)(session, self.tokens[0].map(LeaseToken), at(self.now)), "it is over");
            }
            return;
        };
        assert_eq!(held.token, self.given, "the current token is not the newest");
        assert!(!(law.fence)(session, None, at(self.now)), "no token gets through");
        let mut through = 0;
        for token in self.tokens.into_iter().flatten() {
            let admitted = (law.fence)(session, Some(LeaseToken(token)), at(self.now));
            assert_eq!(admitted, token == self.given, "a stale token gets through, or the holder does not");
            through += u32::from(admitted);
        }
        assert!(through <= 1, "there are two holders");
    }

    fn holds(&self) -> Option<Slip> {
        self.stored.lease.filter(|_| !self.is_over())
    }

    fn is_over(&self) -> bool {
        let expired = self.stored.lease.is_some_and(|lease| self.now >= lease.expiry);
        // A life that is over without a lease is the verdict's to end, not the lease's.
        self.stored.over || expired
    }
}

/// Two sessions that are written over and over: making one anew takes longer than all the rest.
pub struct Scratch {
    read: Session,
    row: Session,
}

impl Scratch {
    pub fn new() -> Scratch {
        let mut session = Session { lifetime_ends_at: at(LIFETIME), ..session(State::Running) };
        session.limits.idle_timeout_ms = None;
        Scratch { read: session.clone(), row: session }
    }

    fn session(&mut self, stored: &Stored) -> &Session {
        write(&mut self.row, stored);
        &self.row
    }
}

fn write(session: &mut Session, stored: &Stored) {
    session.lease = stored.lease.map(|slip| Lease {
        token: LeaseToken(slip.token),
        ttl_ms: TERMS.ttl_ms,
        heartbeat_interval_ms: TERMS.heartbeat_interval_ms,
        expires_at: at(slip.expiry),
        last_heartbeat_at: slip.beat.map(at),
    });
    session.lease_token_last = LeaseToken(stored.last);
    session.state = if stored.over { State::Terminated } else { State::Running };
    if session.end.is_some() != stored.over {
        session.end = stored.over.then(|| end_for(TerminationReason::LeaseExpired, at(0)));
    }
}

fn slip(lease: &Lease) -> Slip {
    Slip { token: lease.token.0, expiry: number(lease.expires_at), beat: lease.last_heartbeat_at.map(number) }
}

fn number(instant: Timestamp) -> i64 {
    instant.as_ms() - at(0).as_ms()
}
