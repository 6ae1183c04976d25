//! Whole lives of sessions, driven by nothing but the law's functions and compared step by step with the model (TM-1…4, GV-3, GV-6, LC-9, ST-1, TR-8).

use crate::law::Law;
use crate::model::{Model, Wish};
use crate::sample::{at, end_for, owner, session, with_environment, with_lease};
use crate::trials::property;
use proptest::prelude::*;
use tenure_session::*;

trials![every_life_goes_as_in_the_model, whoever_looks_when_sees_the_same_end];

/// What happens next in a life.
#[derive(Debug, Clone, Copy)]
enum Event {
    Wish(Wish),
    WorkEnds,
    /// The service starts again, and does not know what runs.
    Unasked,
    /// It knows again.
    Asked,
    /// Its making goes on.
    Made,
    /// Somebody looks: the sweeper, say.
    Look,
    /// The lease is renewed.
    Renew(i64),
    /// An administrator gives more time.
    Extend(i64),
    /// The environment dies.
    Dies,
    /// Time goes on, or the clock is set back.
    Clock(i64),
}

/// How a life begins: lifetime, idle timeout, lease, and whether its making is part of it.
type Birth = (i64, Option<i64>, Option<i64>, bool);

const STEP: i64 = 10;

fn births() -> impl Strategy<Value = Birth> {
    let steps = |most: i64| (1..most).prop_map(|n| n * STEP);
    (steps(60), prop::option::weighted(0.8, steps(12)), prop::option::weighted(0.4, steps(20)), any::<bool>())
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let operation = prop::sample::select(vec![
        "session_get",
        "exec_run",
        "exec_run",
        "file_read",
        "file_write",
        "preview_health",
        "session_pause",
        "session_pause",
        "session_resume",
        "session_transition",
        "session_transition",
        "session_transition",
    ]);
    let last = prop::sample::select(vec!["session_terminate", "session_delete", "session_undelete"]);
    let operation = prop_oneof![12 => operation, 1 => last];
    let token = prop::sample::select(vec![Some(5), Some(5), Some(5), Some(4), None]);
    let common = prop::sample::select(vec!["ready", "running", "paused"]);
    let rare = prop::sample::select(vec!["created", "initializing", "terminated", "failed"]);
    let to = prop_oneof![12 => common, 1 => rare];
    let event = prop_oneof![
        6 => (operation, token, to).prop_map(|(operation, token, to)| Event::Wish(Wish { operation, token, to })),
        2 => Just(Event::WorkEnds),
        1 => Just(Event::Unasked),
        2 => Just(Event::Asked),
        1 => Just(Event::Made),
        1 => Just(Event::Look),
        1 => (1..20i64).prop_map(|n| Event::Renew(n * STEP)),
        1 => (1..20i64).prop_map(|n| Event::Extend(n * STEP)),
        8 => (1..6i64).prop_map(|n| Event::Clock(n * STEP)),
        1 => (1..20i64).prop_map(|n| Event::Clock(-n * STEP)),
    ];
    let rarely = prop_oneof![30 => event, 1 => Just(Event::Dies)];
    prop::collection::vec(rarely, 1..60)
}

/// A session that only the law moves, and the model beside it.
struct Life<'a> {
    law: &'a Law,
    session: Session,
    presence: Presence,
    work: u32,
    unasked: bool,
    now: i64,
    model: Model,
    first_end: Option<End>,
}

/// TM-1, TM-2, TM-3, TM-4, GV-3, GV-6, LC-1, LC-8, LC-9, ST-1, TR-8
fn every_life_goes_as_in_the_model(law: &Law) {
    property(law, 400, (births(), events()), |(birth, events)| {
        let mut life = Life::begin(law, birth);
        life.compare();
        for event in events {
            life.happens(event);
            life.compare();
        }
    });
}

/// TM-1, TM-4
fn whoever_looks_when_sees_the_same_end(law: &Law) {
    property(law, 200, (births(), events(), 0..500i64), |(birth, events, later)| {
        let mut life = Life::begin(law, birth);
        for event in events {
            life.happens(event);
        }
        let Some(deadline) = (law.deadline)(&life.session, &life.presence) else { return };
        let first = (law.verdict)(&life.session, &life.presence, deadline);
        let Verdict::End(_, first_at) = first else { panic!("nothing happens at the deadline") };
        assert_eq!(first_at, deadline);
        // Later another limit may have passed as well, and may be the reason; none that had not passed by then is.
        let late = deadline.plus_ms(later as u64);
        let Verdict::End(_, passed_at) = (law.verdict)(&life.session, &life.presence, late) else {
            panic!("an end that was due is not")
        };
        assert!(deadline <= passed_at && passed_at <= late);
    });
}

impl Life<'_> {
    fn begin(law: &Law, (lifetime, idle, lease, from_the_first): Birth) -> Life<'_> {
        let state = if from_the_first { State::Created } else { State::Ready };
        let mut session = Session { lifetime_ends_at: at(lifetime), ..session(state) };
        session.limits.idle_timeout_ms = idle.map(|idle| idle as u64);
        let session = lease.map_or(session.clone(), |lease| with_lease(session, at(lease)));
        let model = Model {
            state: if from_the_first { "created" } else { "ready" },
            paused_from: "",
            dies_at: lifetime,
            idle,
            lease: lease.map(|lease| (5, lease)),
            active: 0,
            work: 0,
            unasked: false,
            over: None,
            deleted: false,
        };
        Life { law, session, presence: Presence::default(), work: 0, unasked: false, now: 0, model, first_end: None }
    }

    fn happens(&mut self, event: Event) {
        let now = self.now;
        let over = self.model.is_over(now).is_some();
        match event {
            Event::Wish(wish) => {
                let answer = self.ask(wish);
                assert_eq!(answer, self.model.ask(wish, now), "{wish:?} at {now}");
            }
            Event::Look => self.look(),
            Event::Clock(by) => self.now = (now + by).max(0),
            Event::WorkEnds if self.work > 0 && !over => {
                self.work -= 1;
                self.active();
                self.knows_work();
                self.model.work_ends(now);
            }
            Event::Unasked | Event::Asked if !over => {
                self.unasked = matches!(event, Event::Unasked);
                self.model.unasked = self.unasked;
                self.knows_work();
            }
            Event::Made if !over => {
                self.makes();
                self.model.makes(now);
            }
            Event::Renew(ttl) if !over => {
                if let Some(lease) = &mut self.session.lease {
                    lease.expires_at = lease.expires_at.max(at(now + ttl));
                }
                self.model.lease = self.model.lease.map(|(token, expiry)| (token, expiry.max(now + ttl)));
            }
            Event::Extend(by) if !over => {
                self.session.lifetime_ends_at = self.session.lifetime_ends_at.plus_ms(by as u64);
                self.model.dies_at += by;
            }
            Event::Dies if !over => {
                self.end(TerminationReason::FailedRuntime, at(now));
                self.model.finish("failed", "failed_runtime", now);
            }
            Event::WorkEnds
            | Event::Unasked
            | Event::Asked
            | Event::Made
            | Event::Renew(_)
            | Event::Extend(_)
            | Event::Dies => {}
        }
    }

    /// What the making of its environment does.
    fn makes(&mut self) {
        let to = match self.session.state {
            State::Created => State::Initializing,
            State::Initializing => State::Ready,
            State::Ready | State::Running | State::Paused | State::Terminated | State::Failed => return,
        };
        assert_eq!((self.law.transition)(self.session.state, to), Ok(()));
        self.session.state = to;
        if to == State::Ready {
            self.session = with_environment(self.session.clone(), EnvironmentState::Ready);
            self.active();
        }
    }

    fn knows_work(&mut self) {
        self.presence.work = match (self.work, self.unasked) {
            (0, true) => Work::Unknown,
            (0, false) => Work::None,
            (1.., _) => Work::InProgress,
        };
    }

    fn active(&mut self) {
        self.presence = (self.law.active_at)(self.presence, at(self.now));
    }

    /// What the sweeper does: asks the verdict and records an end, stores activity.
    fn look(&mut self) {
        if (self.law.is_to_be_stored)(&self.presence, &self.session) {
            self.session.last_activity_at = self.presence.last_activity_at(&self.session);
        }
        if let Verdict::End(limit, passed_at) = (self.law.verdict)(&self.session, &self.presence, at(self.now)) {
            self.end(limit.reason(), passed_at);
        }
        if let (None, Some((reason, at))) = (self.model.over, self.model.is_over(self.now)) {
            self.model.finish("terminated", reason, at);
        }
    }

    fn ask(&mut self, wish: Wish) -> &'static str {
        let operation = *Operation::ALL.iter().find(|operation| operation.row().name == wish.operation).unwrap();
        let to = (operation == Operation::SessionTransition).then(|| wish.to.parse().unwrap());
        let attempt =
            Attempt { operation, now: at(self.now), presence: self.presence, token: wish.token.map(LeaseToken), to };
        match (self.law.admit)(&owner(), &self.session, &attempt) {
            Admission::End(limit, passed_at) => {
                assert!(self.session.end.is_none(), "it ends twice");
                self.end(limit.reason(), passed_at);
                self.ask(wish)
            }
            Admission::Already => "already",
            Admission::Admit => self.act(operation, to),
            Admission::Refuse(refusal) => match refusal {
                Refusal::Gone(end) => {
                    assert_eq!(Some(&end), self.session.end.as_ref());
                    "gone"
                }
                Refusal::StaleLease => "stale",
                Refusal::Paused => "paused",
                Refusal::NotReady(_) => "not_ready",
                Refusal::Transition(_) => "illegal",
                other @ (Refusal::NoEnvironment | Refusal::Recovering | Refusal::ExecLimit { .. }) => {
                    panic!("{other:?}")
                }
            },
        }
    }

    fn act(&mut self, operation: Operation, to: Option<State>) -> &'static str {
        let live = self.session.end.is_none();
        if live && (self.law.counts_as_activity)(operation, to) {
            self.active();
        }
        if let Some(step) = (self.law.step)(&self.session, operation, to).filter(|_| live) {
            assert_eq!((self.law.transition)(self.session.state, step.to), Ok(()));
            (self.session.state, self.session.resumes_to) = (step.to, step.resumes_to);
        }
        match operation {
            Operation::ExecRun => {
                self.work += 1;
                self.knows_work();
            }
            Operation::SessionTerminate => self.end(TerminationReason::UserRequest, at(self.now)),
            Operation::SessionTransition if to == Some(State::Terminated) => {
                self.end(TerminationReason::UserRequest, at(self.now));
            }
            Operation::SessionDelete => {
                self.end(TerminationReason::Deleted, at(self.now));
                self.session.deleted_at = Some(at(self.now));
            }
            Operation::SessionUndelete => self.session.deleted_at = None,
            _ => {}
        }
        "admit"
    }

    fn end(&mut self, reason: TerminationReason, when: Timestamp) {
        match (self.law.end)(&self.session, end_for(reason, when)) {
            Ok(Ending::Ends(state, end)) => {
                assert_eq!((self.law.transition)(self.session.state, state), Ok(()));
                self.session.state = state;
                self.session.end = Some(end);
                self.session.resumes_to = None;
                self.first_end.get_or_insert(end_for(reason, when));
            }
            Ok(Ending::Stands(first)) => assert_eq!(Some(first), self.first_end.as_ref()),
            Err(error) => panic!("{error}"),
        }
    }

    /// The law and the model tell the same story, and the law does not contradict itself.
    fn compare(&self) {
        let (law, now, session, presence) = (self.law, at(self.now), &self.session, &self.presence);
        let over = self.model.is_over(self.now);
        assert_eq!(session.state.as_str(), self.model.state);
        assert_eq!(session.end, self.first_end, "the end changed");
        let told = match (law.verdict)(session, presence, now) {
            Verdict::Proceed => None,
            Verdict::End(limit, at) => Some((limit.reason().as_str(), at)),
            Verdict::Gone(end) => Some((end.reason.as_str(), end.at)),
        };
        assert_eq!(told, over.map(|(reason, ms)| (reason, at(ms))), "at {}", self.now);
        assert_eq!((law.deadline)(session, presence), self.model.deadline().map(at));
        let status = (law.status)(session, presence, now);
        let ended = matches!(status.display_state, DisplayState::Terminated | DisplayState::Error);
        assert_eq!(ended, over.is_some(), "the status contradicts the verdict");
        if over.is_some() {
            assert!(!status.environment_ready && status.remaining_seconds == 0);
        }
        self.compare_explanation(over.is_some());
        assert_eq!((law.phase)(session) == Phase::Deleted, self.model.deleted);
    }

    fn compare_explanation(&self, over: bool) {
        let (law, session, presence) = (self.law, &self.session, &self.presence);
        let explanation = (law.explain)(session, presence, at(self.now));
        assert_eq!(explanation.alive, !over, "the explanation contradicts the verdict");
        assert_eq!(explanation.ended.is_some(), over);
        assert_eq!(explanation.ends_first.is_none(), over);
        if let Some(first) = explanation.ends_first {
            // What it says will happen, happens if nothing changes, and not before.
            let Verdict::End(limit, when) = (law.verdict)(session, presence, first.at) else {
                panic!("{first:?} does not happen")
            };
            assert_eq!((limit.reason(), when), (first.reason, first.at));
            let before = Timestamp::from_ms(first.at.as_ms() - 1);
            assert_eq!((law.verdict)(session, presence, before), Verdict::Proceed);
        }
    }
}
