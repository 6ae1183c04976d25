//! Whole lives of leases, driven by nothing but the law's functions and compared step by step with the model (LS-2, LS-4, LS-7, GV-6, GV-7).

use crate::law::{Law, Update};
use crate::model::{Holder, Model};
use crate::sample::{at, end_for, session};
use crate::trials::property;
use proptest::prelude::*;
use tenure_session::*;

trials![every_lease_lives_as_in_the_model];

#[derive(Debug, Clone, Copy)]
enum Event {
    Take {
        ttl: i64,
        interval: i64,
        takeover: bool,
    },
    Renew(u64),
    Release(u64),
    Call(u64),
    Extend(i64),
    /// Time goes on, or the clock is set back.
    Clock(i64),
    /// Nobody serves for so long.
    Down(i64),
    Look,
}

/// Tokens are asked for by how old they are: 0 is the newest that was given, -1 one that was not given yet.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let age = || prop::sample::select(vec![0u64, 0, 0, 0, 1, 2, u64::MAX]);
    let take = (2..30i64, 1..30i64, any::<bool>()).prop_map(|(ttl, interval, takeover)| Event::Take {
        ttl,
        interval: interval.min(ttl - 1),
        takeover,
    });
    let event = prop_oneof![
        3 => take,
        6 => age().prop_map(Event::Renew),
        1 => age().prop_map(Event::Release),
        2 => age().prop_map(Event::Call),
        1 => (1..40i64).prop_map(Event::Extend),
        8 => (1..9i64).prop_map(Event::Clock),
        1 => (1..20i64).prop_map(|by| Event::Clock(-by)),
        1 => (0..30i64).prop_map(Event::Down),
        1 => Just(Event::Look),
    ];
    prop::collection::vec(event, 1..80)
}

/// LS-2, LS-4, LS-7, GV-6, GV-7
fn every_lease_lives_as_in_the_model(law: &Law) {
    property(law, 600, (20..200i64, events()), |(dies_at, events)| {
        let mut session = Session { lifetime_ends_at: at(dies_at), ..session(State::Running) };
        session.limits.idle_timeout_ms = None;
        let model = Model { dies_at, ..Model::default() };
        let mut life = Life { law, session, now: 0, model };
        for event in events {
            life.happens(event);
            life.compare(event);
        }
    });
}

struct Life<'a> {
    law: &'a Law,
    session: Session,
    now: i64,
    model: Model,
}

impl Life<'_> {
    fn token(&self, age: u64) -> u64 {
        self.model.given.wrapping_sub(age)
    }

    fn update(&self) -> Update<'_> {
        Update { read: &self.session, read_at: at(self.now), row: &self.session, now: at(self.now) }
    }

    fn happens(&mut self, event: Event) {
        let (law, now) = (self.law, self.now);
        self.look();
        match event {
            Event::Take { ttl, interval, takeover } => {
                let terms = LeaseTerms { ttl_ms: ttl as u64, heartbeat_interval_ms: interval as u64 };
                let answer = match (law.take_in_update)(law, &self.update(), terms, takeover) {
                    LeaseTake::Over => "over",
                    LeaseTake::Held(_) => "held",
                    LeaseTake::Taken(lease) => {
                        self.session.lease = Some(lease);
                        self.session.lease_token_last = self.session.lease_token_last.max(lease.token);
                        "taken"
                    }
                };
                assert_eq!(answer, self.model.take(ttl, interval, takeover, now), "{event:?} at {now}");
            }
            Event::Renew(age) => {
                let token = self.token(age);
                let answer = match (law.renew_in_update)(law, &self.update(), Some(LeaseToken(token))) {
                    LeaseRenewal::Over => "over",
                    LeaseRenewal::NoLease => "no lease",
                    LeaseRenewal::Stale => "stale",
                    LeaseRenewal::Fresh(_) => "fresh",
                    LeaseRenewal::Renewed { lease, .. } => {
                        self.session.lease = Some(lease);
                        "renewed"
                    }
                };
                assert_eq!(answer, self.model.renew(token, now), "{event:?} at {now}");
            }
            Event::Release(age) => {
                let token = self.token(age);
                let answer = match (law.release)(&self.session, Some(LeaseToken(token)), at(now)) {
                    LeaseRelease::Over => "over",
                    LeaseRelease::NoLease => "no lease",
                    LeaseRelease::Stale => "stale",
                    LeaseRelease::Released => {
                        self.session.lease = None;
                        "released"
                    }
                };
                assert_eq!(answer, self.model.release(token, now), "{event:?} at {now}");
            }
            Event::Call(age) => {
                let token = self.token(age);
                let through = (law.fence)(&self.session, Some(LeaseToken(token)), at(now));
                assert_eq!(through, self.model.through(token, now), "{event:?} at {now}");
            }
            Event::Extend(by) if !self.model.over => {
                self.session.lifetime_ends_at = self.session.lifetime_ends_at.plus_ms(by as u64);
                self.model.dies_at += by;
            }
            Event::Clock(by) => self.now = (now + by).max(0),
            Event::Down(ms) => self.restart(ms),
            Event::Extend(_) | Event::Look => {}
        }
    }

    /// What the sweeper does, and the gate before anything else.
    fn look(&mut self) {
        let Verdict::End(limit, passed_at) = verdict(&self.session, &Presence::default(), at(self.now)) else {
            return;
        };
        let guarded = match limit {
            Limit::LeaseExpired => (self.law.expire_in_update)(&self.session, passed_at),
            Limit::MaxLifetime | Limit::IdleTimeout => true,
        };
        assert!(guarded, "what has passed and was not moved ends it");
        self.session.end = Some(end_for(limit.reason(), passed_at));
        self.session.state = State::Terminated;
        self.model.through(0, self.now);
        assert!(self.model.over, "it ended early");
    }

    fn restart(&mut self, down_ms: i64) {
        let from = self.now;
        self.now += down_ms;
        self.model.down(from, self.now);
        let Some(shift) = (self.law.shift)(&self.session, at(from), at(self.now)) else { return };
        if let (Some(lease), Some(expires_at)) = (&mut self.session.lease, shift.lease_expires_at) {
            lease.expires_at = expires_at;
        }
        assert_eq!(shift.last_activity_at, None, "there is no idle limit");
    }

    fn compare(&self, event: Event) {
        let holder = self.session.lease.map(|lease| Holder {
            token: lease.token.0,
            ttl: lease.ttl_ms as i64,
            interval: lease.heartbeat_interval_ms as i64,
            expiry: lease.expires_at.as_ms() - at(0).as_ms(),
            beat: lease.last_heartbeat_at.map(|beat| beat.as_ms() - at(0).as_ms()),
        });
        assert_eq!(holder, self.model.holder, "after {event:?} at {}", self.now);
        assert_eq!(self.session.lease_token_last.0, self.model.given, "after {event:?} at {}", self.now);
    }
}
