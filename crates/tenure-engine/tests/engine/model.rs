//! Random operations at random times, against a small model of a session: the first reason wins, one end in the audit, legal states only.

use crate::attempt::content;
use crate::world::{World, alice, root, run};
use proptest::prelude::*;
use tenure_engine::*;
use tenure_session::*;

const LIFETIME_MS: u64 = 20_000;
const IDLE_MS: u64 = 3000;

#[derive(Debug, Clone, Copy)]
enum Step {
    Pass(u64),
    Run,
    Write,
    Read,
    Pause,
    Resume,
    Extend(u64),
    Terminate { admin: bool },
    Delete,
    Undelete,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..2500u64).prop_map(Step::Pass),
        1 => (2500..6000u64).prop_map(Step::Pass),
        4 => Just(Step::Run),
        2 => Just(Step::Write),
        2 => Just(Step::Read),
        2 => Just(Step::Pause),
        3 => Just(Step::Resume),
        1 => (1..5000u64).prop_map(Step::Extend),
        1 => any::<bool>().prop_map(|admin| Step::Terminate { admin }),
        1 => Just(Step::Delete),
        1 => Just(Step::Undelete),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a session is, without a store, a driver or an engine.
#[derive(Debug)]
struct Model {
    now_ms: u64,
    state: State,
    paused_from: State,
    lifetime_ends_ms: u64,
    active_ms: u64,
    end: Option<(TerminationReason, u64)>,
    deleted: bool,
}

impl Model {
    fn new() -> Model {
        Model {
            now_ms: 0,
            state: State::Ready,
            paused_from: State::Ready,
            lifetime_ends_ms: LIFETIME_MS,
            active_ms: 0,
            end: None,
            deleted: false,
        }
    }

    /// Every operation that does something looks at the limits first.
    fn limits(&mut self) {
        let idle = self.state != State::Paused && self.now_ms >= self.active_ms + IDLE_MS;
        if self.end.is_none() && self.now_ms >= self.lifetime_ends_ms {
            self.ends(TerminationReason::MaxLifetime, self.lifetime_ends_ms);
        } else if self.end.is_none() && idle {
            self.ends(TerminationReason::IdleTimeout, self.active_ms + IDLE_MS);
        }
    }

    fn ends(&mut self, reason: TerminationReason, at_ms: u64) {
        self.end = Some((reason, at_ms));
        self.state = State::Terminated;
    }

    /// What is answered: done, or which code.
    fn step(&mut self, step: Step) -> Result<(), Code> {
        match step {
            Step::Pass(ms) => self.now_ms += ms,
            Step::Undelete => {
                self.limits();
                self.deleted = false;
            }
            Step::Terminate { admin } => {
                self.limits();
                let reason = TerminationReason::by_default(admin);
                if self.end.is_none() {
                    self.ends(reason, self.now_ms);
                }
            }
            Step::Delete => {
                self.limits();
                if self.end.is_none() {
                    self.ends(TerminationReason::Deleted, self.now_ms);
                }
                self.deleted = true;
            }
            Step::Run | Step::Write | Step::Read | Step::Pause | Step::Resume | Step::Extend(_) => {
                self.limits();
                if self.end.is_some() {
                    return Err(Code::Gone);
                }
                return self.work(step);
            }
        }
        Ok(())
    }

    fn work(&mut self, step: Step) -> Result<(), Code> {
        match (step, self.state) {
            (Step::Extend(ms), _) => self.lifetime_ends_ms += ms,
            (Step::Pause, State::Paused) => {}
            (Step::Pause, from) => {
                (self.paused_from, self.state, self.active_ms) = (from, State::Paused, self.now_ms);
            }
            (Step::Resume, State::Paused) => (self.state, self.active_ms) = (self.paused_from, self.now_ms),
            (Step::Resume, _) => {}
            (_, State::Paused) => return Err(Code::SessionPaused),
            (Step::Run, _) => (self.state, self.active_ms) = (State::Running, self.now_ms),
            (_, _) => self.active_ms = self.now_ms,
        }
        Ok(())
    }
}

async fn take(world: &World, id: &str, step: Step) -> Result<(), Code> {
    let engine = &world.engine;
    let done = match step {
        Step::Pass(ms) => {
            world.clock.pass(ms);
            Ok(())
        }
        Step::Run => match engine.exec_run(&alice(), id, Ok(run(&["say"]))).await {
            Ok(Answer::Fresh { result, .. }) => result.map(drop),
            Ok(Answer::Replayed(_)) => panic!("replayed"),
            Err(error) => Err(error),
        },
        Step::Write => engine.file_write(&alice(), id, "a", content(b"hello")).await.map(drop),
        Step::Read => engine.dir_list(&alice(), id, "/workspace").await.map(drop),
        Step::Pause => engine.session_pause(&alice(), id).await.map(drop),
        Step::Resume => engine.session_resume(&alice(), id).await.map(drop),
        Step::Extend(by_ms) => engine.session_extend(&root(), id, Ok(ExtendRequest { by_ms })).await.map(drop),
        Step::Terminate { admin } => {
            let call = if admin { root() } else { alice() };
            engine.session_terminate(&call, id, Ok(TerminateRequest::default())).await.map(drop)
        }
        Step::Delete => engine.session_delete(&alice(), id).await.map(drop),
        Step::Undelete => engine.session_undelete(&alice(), id).await.map(drop),
    };
    done.map_err(|error| error.code())
}

async fn check(steps: Vec<Step>) {
    let world = World::new().await;
    let limits = LimitRequest {
        max_lifetime_ms: Some(LIFETIME_MS),
        idle_timeout_ms: Some(Some(IDLE_MS)),
        ..LimitRequest::default()
    };
    let session = world.session(limits).await;
    let (id, begun) = (&session.id, session.created_at);
    let mut model = Model::new();
    for step in steps {
        let expected = model.step(step);
        assert_eq!(take(&world, id.as_str(), step).await, expected, "{step:?} {model:?}");
        let stored = world.stored(id).await;
        assert_eq!(stored.state, model.state, "{step:?}");
        let end = stored.end.map(|end| (end.reason, end.at.ms_since(begun)));
        assert_eq!((end, stored.deleted_at.is_some()), (model.end, model.deleted), "{step:?}");
        assert_eq!(world.ends(id).await, usize::from(model.end.is_some()), "{step:?}");
    }
    let shown = Call { include_deleted: true, ..alice() };
    let entries = world.engine.session_audit(&shown, id.as_str(), PageRequest { limit: 1000, cursor: None }).await;
    let moves = entries.unwrap().items;
    for entry in &moves {
        if let (Some(from), Some(to)) = (entry.old_state, entry.new_state) {
            assert!(from == to || transition(from, to).is_ok(), "{entry:?}");
        }
    }
    let states: Vec<State> = moves.iter().filter_map(|entry| entry.new_state).collect();
    let before: Vec<State> = moves.iter().skip(1).filter_map(|entry| entry.old_state).collect();
    assert_eq!(states[..states.len() - 1], before[..], "each goes on from where the one before it led");
    if model.end.is_none() {
        world.engine.session_delete(&alice(), id.as_str()).await.unwrap();
    }
    world.quiet().await;
    assert_eq!(world.engine.audit_verify(&root(), Vec::new(), None).await.unwrap().problem, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// TM-1, TM-2, TM-4, LC-1, LC-3, LC-7, LC-9, GV-3, GV-8
    #[test]
    fn a_session_is_what_the_model_says_whatever_is_done_to_it(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps));
    }
}
