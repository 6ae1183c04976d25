//! Leases: taken, renewed, given up; who is shut out by whom; what a restart leaves of them (LS-1…7, GV-7).

use crate::attempt::content;
use crate::world::{World, alice, bob, code, fresh, gone, root, run, soon, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use tenure_engine::*;
use tenure_session::*;

/// The same call by the holder of this token.
fn with(call: Call, token: u64) -> Call {
    Call { token: Some(LeaseToken(token)), ..call }
}

fn take(ttl_ms: u64, heartbeat_interval_ms: u64, takeover: bool) -> Result<LeaseTakeRequest, EngineError> {
    let (ttl_ms, heartbeat_interval_ms) = (Some(ttl_ms), Some(heartbeat_interval_ms));
    Ok(LeaseTakeRequest { ttl_ms, heartbeat_interval_ms, takeover })
}

fn over() -> Result<LeaseTakeRequest, EngineError> {
    take(60_000, 5_000, true)
}

/// A session that alice holds, by token 1, for a minute.
async fn held(world: &World) -> Session {
    let lease = Some(LeaseRequest::default());
    world.create(CreateRequest { lease, ..CreateRequest::default() }).await.unwrap()
}

async fn counted(world: &World, line: &str) -> bool {
    world.engine.metrics_text(&root()).await.unwrap().lines().any(|counted| counted == line)
}

/// LS-1, LS-2, LS-6
#[tokio::test]
async fn a_heartbeat_renews_once_per_interval() {
    let world = World::new().await;
    let session = held(&world).await;
    let (id, begun) = (session.id.as_str(), session.lease.unwrap());
    let beat = async || world.engine.lease_heartbeat(&with(alice(), 1), id).await.map(|heard| heard.lease.expires_at);
    let now = || session.created_at.plus_ms(world.clock.boot_ms() - 1_000_000);
    assert_eq!((begun.token, begun.expires_at), (LeaseToken(1), now().plus_ms(60_000)));
    world.clock.pass(1_000);
    let first = beat().await.unwrap();
    assert_eq!(first, now().plus_ms(60_000));
    world.clock.pass(4_999);
    assert_eq!(beat().await.unwrap(), first, "within the interval");
    assert_eq!(world.stored(&session.id).await.lease.unwrap().last_heartbeat_at, Some(now().minus(4_999)));
    world.clock.pass(1);
    assert_eq!(beat().await.unwrap(), now().plus_ms(60_000));
    world.clock.pass(10_001);
    assert_eq!(beat().await.unwrap(), now().plus_ms(60_000));
    assert_eq!(world.stored(&session.id).await.lease.unwrap().expires_at, now().plus_ms(60_000));
    assert_eq!(world.stored(&session.id).await.last_activity_at, session.last_activity_at, "no activity");
    assert!(counted(&world, "tenure_sessions_heartbeat_total 4").await);
    assert!(counted(&world, "tenure_sessions_heartbeat_late_total 1").await);

    world.clock.pass(59_999);
    beat().await.unwrap();
    world.clock.pass(60_000);
    let ends_at = now();
    let end = gone(beat().await);
    assert_eq!((end.reason, end.at), (TerminationReason::LeaseExpired, ends_at));
    assert_eq!(gone(beat().await), end);
    assert!(counted(&world, "tenure_sessions_lease_expired_total{previous_state=\"ready\"} 1").await);
    world.quiet().await;
}

trait Minus {
    fn minus(self, ms: i64) -> Timestamp;
}

impl Minus for Timestamp {
    fn minus(self, ms: i64) -> Timestamp {
        Timestamp::from_ms(self.as_ms() - ms)
    }
}

/// LS-2, LS-3, LS-7: what a heartbeat is answered that is none.
#[tokio::test]
async fn a_heartbeat_is_heard_from_the_holder_only() {
    let world = World::new().await;
    let free = world.session(LimitRequest::default()).await;
    let beat = async |call: Call, id: &SessionId| code(world.engine.lease_heartbeat(&call, id.as_str()).await);
    assert_eq!(beat(alice(), &free.id).await, Code::NoLease);
    let session = held(&world).await;
    world.engine.lease_heartbeat(&with(alice(), 1), session.id.as_str()).await.unwrap();
    world.engine.lease_heartbeat(&with(root(), 1), session.id.as_str()).await.unwrap();
    for call in [alice(), with(alice(), 0), with(alice(), 2), root()] {
        assert_eq!(beat(call, &session.id).await, Code::StaleLease);
    }
    // What was seen at the last heartbeat tells nothing to anybody else.
    assert_eq!(beat(with(bob(), 1), &session.id).await, Code::NotFound);
    let unknown = code(world.engine.lease_heartbeat(&alice(), "exec_20261121_020944_00000000").await);
    assert_eq!(unknown, Code::NotFound);
}

/// LS-7
#[tokio::test]
async fn a_lease_is_taken_taken_over_and_given_up() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let (engine, id) = (&world.engine, id.as_str());
    let taken = engine.lease_take(&alice(), id, take(60_000, 5_000, false)).await.unwrap();
    assert!(taken.shows_lease);
    assert_eq!(taken.session.lease.unwrap().token, LeaseToken(1));
    assert!(!engine.session_get(&alice(), id).await.unwrap().shows_lease, "only whoever takes it sees the token");
    assert_eq!(code(engine.lease_take(&alice(), id, take(60_000, 5_000, false)).await), Code::LeaseHeld);
    assert_eq!(code(engine.lease_take(&with(alice(), 1), id, take(60_000, 5_000, false)).await), Code::LeaseHeld);
    assert_eq!(code(engine.lease_take(&alice(), id, take(50, 5, true)).await), Code::Validation);
    assert_eq!(code(engine.lease_take(&alice(), id, take(1000, 1000, true)).await), Code::Validation);
    assert_eq!(code(engine.lease_take(&bob(), id, over()).await), Code::NotFound);

    let exec = async |call: Call| engine.exec_run(&call, id, Ok(run(&["say", "hello"]))).await.and_then(fresh);
    exec(with(alice(), 1)).await.unwrap();
    for call in [alice(), with(alice(), 0), root()] {
        assert_eq!(code(exec(call).await), Code::StaleLease);
    }
    engine.file_stat(&alice(), id, "/workspace").await.unwrap();
    assert_eq!(engine.lease_take(&alice(), id, over()).await.unwrap().session.lease.unwrap().token, LeaseToken(2));
    assert_eq!(code(exec(with(alice(), 1)).await), Code::StaleLease);
    assert_eq!(code(engine.lease_heartbeat(&with(alice(), 1), id).await), Code::StaleLease);
    exec(with(alice(), 2)).await.unwrap();

    assert_eq!(code(engine.lease_release(&alice(), id).await), Code::StaleLease);
    assert_eq!(code(engine.lease_release(&with(alice(), 1), id).await), Code::StaleLease);
    engine.lease_heartbeat(&with(alice(), 2), id).await.unwrap();
    assert_eq!(engine.lease_release(&with(alice(), 2), id).await.unwrap().session.lease, None);
    assert_eq!(code(engine.lease_heartbeat(&with(alice(), 2), id).await), Code::NoLease, "not from memory either");
    engine.lease_release(&alice(), id).await.unwrap();
    exec(alice()).await.unwrap();
    let again = engine.lease_take(&alice(), id, take(1000, 100, false)).await.unwrap().session.lease.unwrap();
    assert_eq!((again.token, again.ttl_ms, again.heartbeat_interval_ms), (LeaseToken(3), 1000, 100));
    let audited: Vec<_> = world.actions(&id.parse().unwrap()).await;
    assert_eq!(audited.iter().filter(|action| *action == "lease_take").count(), 3);
    assert_eq!(audited.iter().filter(|action| *action == "lease_release").count(), 1);
}

/// LS-7: the upload is over when the takeover is answered, and nothing of it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_breaks_an_upload_off_before_it_is_answered() {
    let world = Arc::new(World::new().await);
    let id = held(&world).await.id;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, EngineError>>(1);
    let (uploader, of) = (world.clone(), id.clone());
    let upload = tokio::spawn(async move {
        let body = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        });
        uploader.engine.file_write(&with(alice(), 1), of.as_str(), "half", body).await
    });
    for _ in 0..3 {
        sender.send(Ok(Bytes::from_static(b"some of it"))).await.unwrap();
    }
    world.engine.lease_take(&alice(), id.as_str(), over()).await.unwrap();
    // Nobody reads it any more.
    assert!(sender.is_closed(), "the upload goes on after the takeover was answered");
    assert_eq!(code(soon(upload).await.unwrap()), Code::StaleLease);
    let stat = world.engine.file_stat(&alice(), id.as_str(), "half").await.unwrap();
    assert!(stat.stat.is_none(), "half of an upload is there");
    let late = world.engine.file_write(&with(alice(), 1), id.as_str(), "half", content(b"late")).await;
    assert_eq!(code(late), Code::StaleLease);
    world.engine.file_write(&with(alice(), 2), id.as_str(), "half", content(b"whole")).await.unwrap();
}

/// LS-7: what must not be left half done is waited for; where it hangs, nobody is told that he holds the lease.
#[tokio::test(flavor = "multi_thread")]
async fn behind_what_hangs_nobody_takes_over() {
    let world = Arc::new(World::new().await);
    let id = held(&world).await.id;
    world.driver.hangs(true);
    let (pauser, of) = (world.clone(), id.clone());
    let pause = tokio::spawn(async move { pauser.engine.session_pause(&with(alice(), 1), of.as_str()).await });
    until(async || world.driver.hanging() == 1).await;
    let refused = world.engine.lease_take(&alice(), id.as_str(), over()).await;
    assert_eq!(code(refused), Code::Unavailable);
    assert!(!pause.is_finished());
    let late = world.engine.file_write(&with(alice(), 1), id.as_str(), "a", content(b"late")).await;
    assert_eq!(code(late), Code::StaleLease);
    world.driver.hangs(false);
    let taken = world.engine.lease_take(&alice(), id.as_str(), over()).await.unwrap();
    assert_eq!(taken.session.lease.unwrap().token, LeaseToken(3));
    let _ = soon(pause).await.unwrap();
}

/// LS-7: also where nobody held it before.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_input_is_looked_at_per_chunk() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let request = ExecRequest { background: true, ..run(&["cat"]) };
    let exec = fresh(world.engine.exec_start(&alice(), id.as_str(), Ok(request)).await.unwrap()).unwrap().id;
    let input = async |call: Call| world.engine.exec_stdin(&call, id.as_str(), exec.as_str()).await;
    let free = input(alice()).await.unwrap();
    free.write(b"a").await.unwrap();
    world.engine.lease_take(&alice(), id.as_str(), take(60_000, 5_000, false)).await.unwrap();
    assert_eq!(code(free.write(b"b").await), Code::StaleLease);
    assert_eq!(input(alice()).await.err().unwrap().code(), Code::StaleLease);
    let first = input(with(alice(), 1)).await.unwrap();
    first.write(b"c").await.unwrap();
    world.engine.lease_take(&alice(), id.as_str(), over()).await.unwrap();
    assert_eq!(code(first.write(b"d").await), Code::StaleLease);
    assert_eq!(code(first.end().await), Code::StaleLease);
    let second = input(with(alice(), 2)).await.unwrap();
    second.write(b"e").await.unwrap();
    world.engine.lease_release(&with(alice(), 2), id.as_str()).await.unwrap();
    second.write(b"f").await.unwrap();
    second.end().await.unwrap();
    let read = async || world.engine.exec_get(&alice(), id.as_str(), exec.as_str()).await.unwrap();
    until(async || read().await.record.outcome.is_some()).await;
    assert_eq!(read().await.stdout, b"acef");
}

/// LS-7: who waits for a program is told; the program goes on, and so does the session.
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_ends_the_wait_for_a_program_and_not_the_program() {
    let world = Arc::new(World::new().await);
    let id = held(&world).await.id;
    let (waiter, of) = (world.clone(), id.clone());
    let waiting = tokio::spawn(async move {
        waiter.engine.exec_run(&with(alice(), 1), of.as_str(), Ok(run(&["stay"]))).await.and_then(fresh)
    });
    let page = || PageRequest { limit: 10, cursor: None };
    let execs = async || world.engine.exec_list(&alice(), id.as_str(), page()).await.unwrap().items;
    until(async || execs().await.iter().any(|exec| exec.started_at.is_some())).await;
    world.engine.lease_take(&alice(), id.as_str(), over()).await.unwrap();
    assert_eq!(code(soon(waiting).await.unwrap()), Code::StaleLease);
    assert_eq!(execs().await[0].outcome, None, "it runs");
    let kill = |token| {
        let (engine, call, id) = (world.engine.clone(), with(alice(), token), id.clone());
        let exec = execs();
        async move {
            let exec = exec.await.remove(0).id;
            engine.exec_kill(&call, id.as_str(), exec.as_str(), Ok(KillRequest { signal: "KILL".into() })).await
        }
    };
    assert_eq!(code(kill(1).await), Code::StaleLease);
    kill(2).await.unwrap();
    until(async || execs().await[0].outcome.is_some()).await;
    assert_eq!(world.stored(&id).await.state, State::Running);
}

/// LS-2, LS-4: 50 clients renew and come late; a lease that was renewed never expires, one that expired is never renewed, and the end is when it ran out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_renew_and_come_late_nobody_is_lied_to() {
    let world = Arc::new(World::new().await);
    let request = LeaseRequest { ttl_ms: Some(120), heartbeat_interval_ms: Some(1) };
    let mut sessions = Vec::new();
    for _ in 0..10 {
        let create = CreateRequest {
            lease: Some(request),
            environment: Some(EnvironmentKind::None),
            ..CreateRequest::default()
        };
        sessions.push(world.create(create).await.unwrap().id);
    }
    world.clock.run();
    let heard = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..50u64)
        .map(|client| {
            let (world, id) = (world.clone(), sessions[client as usize % 10].clone());
            let heard = heard.clone();
            tokio::spawn(async move {
                let last = AtomicI64::new(0);
                for round in 0..400u64 {
                    // Now and then nobody of a session comes in time.
                    let late = (round + 1) % (40 + client % 10 * 25) == 0;
                    let wait = if late { 110 + client % 5 * 5 } else { 1 + (client * 7 + round * 13) % 9 };
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    match world.engine.lease_heartbeat(&with(alice(), 1), id.as_str()).await {
                        Ok(beat) => {
                            let expires = beat.lease.expires_at.as_ms();
                            assert!(expires >= last.fetch_max(expires, Ordering::SeqCst), "an expiry moved back");
                            heard.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(EngineError::Gone { end, .. }) => {
                            return (id, last.load(Ordering::SeqCst), Some(*end));
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
                (id, last.load(Ordering::SeqCst), None)
            })
        })
        .collect();
    let mut ends = Vec::new();
    for client in clients {
        ends.push(soon(client).await.unwrap());
    }
    assert!(heard.load(Ordering::SeqCst) > 100);
    tokio::time::sleep(Duration::from_millis(150)).await;
    for (id, promised, told) in ends {
        let end = gone(world.engine.lease_heartbeat(&with(alice(), 1), id.as_str()).await);
        assert_eq!(end.reason, TerminationReason::LeaseExpired);
        assert!(told.is_none_or(|told| told == end), "two ends");
        assert!(promised <= end.at.as_ms(), "it ended at {} and was promised {promised}", end.at.as_ms());
        let stored = world.stored(&id).await;
        assert_eq!(stored.lease.unwrap().expires_at, end.at, "it was renewed after its end");
        assert_eq!(world.ends(&id).await, 1);
    }
}

/// LS-5: with nobody who sweeps, in every live state.
#[tokio::test]
async fn a_lease_expires_in_every_live_state_and_what_it_held_is_let_go() {
    let world = World::new().await;
    let ready = held(&world).await;
    let running = held(&world).await;
    let call = with(alice(), 1);
    fresh(world.engine.exec_run(&call, running.id.as_str(), Ok(run(&["say"]))).await.unwrap()).unwrap();
    let paused = held(&world).await;
    world.engine.session_pause(&call, paused.id.as_str()).await.unwrap();
    world.clock.pass(60_000);
    for (session, before) in [(ready, "ready"), (running, "running"), (paused, "paused")] {
        let end = gone(world.engine.lease_heartbeat(&call, session.id.as_str()).await);
        assert_eq!((end.reason, end.at), (TerminationReason::LeaseExpired, session.lease.unwrap().expires_at));
        assert!(
            counted(&world, &format!("tenure_sessions_lease_expired_total{{previous_state=\"{before}\"}} 1")).await
        );
        assert_eq!(gone(world.engine.lease_take(&call, session.id.as_str(), over()).await), end);
        assert_eq!(gone(world.engine.lease_release(&call, session.id.as_str()).await), end);
    }
    world.quiet().await;
}

/// LS-4: limits other than the lease are looked at by heartbeats that go the short way, too.
#[tokio::test]
async fn heartbeats_keep_no_session_from_being_idle() {
    let world = World::new().await;
    let limits = LimitRequest { idle_timeout_ms: Some(Some(30_000)), ..LimitRequest::default() };
    let lease = Some(LeaseRequest::default());
    let session = world.create(CreateRequest { limits, lease, ..CreateRequest::default() }).await.unwrap();
    let (call, id) = (with(alice(), 1), session.id.as_str());
    world.engine.session_pause(&call, id).await.unwrap();
    world.engine.lease_heartbeat(&call, id).await.unwrap();
    world.clock.pass(50_000);
    world.engine.lease_heartbeat(&call, id).await.unwrap();
    world.engine.session_resume(&call, id).await.unwrap();
    for _ in 0..5 {
        world.clock.pass(5_999);
        world.engine.lease_heartbeat(&call, id).await.unwrap();
    }
    world.clock.pass(5);
    assert_eq!(gone(world.engine.lease_heartbeat(&call, id).await).reason, TerminationReason::IdleTimeout);
}

/// LS-7, GV-7: what a start makes good, and what it does not.
#[tokio::test]
async fn a_start_makes_good_for_what_ran_out_while_nobody_served() {
    let mut world = World::new().await;
    let forgotten = held(&world).await;
    world.clock.pass(30_000);
    let alive = held(&world).await;
    world.clock.pass(40_000);
    world.engine.sign_of_life().await.unwrap();
    world.clock.pass(100_000);
    world.restart().await;
    let started = alive.created_at.plus_ms(140_000);
    let end = gone(world.engine.lease_heartbeat(&with(alice(), 1), forgotten.id.as_str()).await);
    assert_eq!((end.reason, end.at), (TerminationReason::LeaseExpired, forgotten.lease.unwrap().expires_at));
    assert_eq!(world.stored(&alive.id).await.lease.unwrap().expires_at, started.plus_ms(60_000));
    assert_eq!(world.actions(&alive.id).await.last().map(String::as_str), Some("sessions_shift"));
    world.engine.lease_heartbeat(&with(alice(), 1), alive.id.as_str()).await.unwrap();
    let over = world.engine.lease_take(&alice(), alive.id.as_str(), over()).await.unwrap();
    assert_eq!(over.session.lease.unwrap().token, LeaseToken(2), "tokens outlive the service");
    // Another start: what was given runs out, and only once.
    world.engine.sign_of_life().await.unwrap();
    world.restart().await;
    world.clock.pass(60_000);
    let end = gone(world.engine.lease_heartbeat(&with(alice(), 2), alive.id.as_str()).await);
    assert_eq!(end.at, over.session.lease.unwrap().expires_at);
}
