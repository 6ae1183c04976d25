//! Terminals: they go on while nobody looks, and show what they printed to whoever comes back (EN-7).

use crate::world::{World, alice, bob, code, gone, run, soon, until};
use tenure_engine::*;
use tenure_session::*;
use tenure_store::Store;

const SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };
const END_OF_INPUT: &[u8] = b"\x04";

fn wanted(cmd: &[&str]) -> Result<TerminalRequest, EngineError> {
    Ok(TerminalRequest { exec_id: None, cmd: cmd.iter().map(|&word| word.to_owned()).collect(), size: SIZE })
}

fn again(exec: &ExecId) -> Result<TerminalRequest, EngineError> {
    Ok(TerminalRequest { exec_id: Some(exec.to_string()), cmd: Vec::new(), size: SIZE })
}

async fn open(world: &World, id: &SessionId, request: Result<TerminalRequest, EngineError>) -> Terminal {
    world.engine.terminal_open(&alice(), id.as_str(), request).await.unwrap()
}

async fn refused(world: &World, id: &SessionId, request: Result<TerminalRequest, EngineError>) -> EngineError {
    world.engine.terminal_open(&alice(), id.as_str(), request).await.map(drop).unwrap_err()
}

/// What is printed up to this text.
async fn sees(terminal: &mut Terminal, text: &str) -> String {
    let mut seen = String::new();
    while !seen.ends_with(text) {
        match soon(terminal.next()).await.unwrap().expect("it goes on") {
            TerminalEvent::Output(bytes) => seen.push_str(std::str::from_utf8(&bytes).unwrap()),
            TerminalEvent::Status(_) => {}
        }
    }
    seen
}

async fn status(terminal: &mut Terminal) -> TerminalStatus {
    loop {
        if let TerminalEvent::Status(status) = soon(terminal.next()).await.unwrap().expect("it goes on") {
            return *status;
        }
    }
}

async fn hears_of_the_end(terminal: &mut Terminal) -> End {
    loop {
        match soon(terminal.next()).await {
            Ok(event) => assert!(event.is_some(), "the program's end is told, and not the session's"),
            error => return gone(error),
        }
    }
}

/// EN-7, EN-4, LC-8
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_typed_on_resized_and_ended() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut terminal = open(&world, &id, wanted(&["echo", "hello "])).await;
    let first = status(&mut terminal).await;
    assert_eq!(
        (first.state, first.exec.state, &first.exec.id),
        (State::Running, ExecLedgerState::Started, terminal.exec_id())
    );
    assert_eq!(world.stored(&id).await.state, State::Running, "a terminal is work as an exec is");
    let input = terminal.input().unwrap();
    input.write(b"typed ").await.unwrap();
    input.resize(WindowSize { rows: 33, cols: 101 }).await.unwrap();
    assert_eq!(sees(&mut terminal, "]").await, "hello typed [33x101]");
    let record = world.store.exec_get(&id, terminal.exec_id()).await.unwrap().unwrap();
    assert_eq!((record.tag.as_deref(), record.background, record.timeout_ms), (Some("terminal"), true, None));
    assert!(world.actions(&id).await.contains(&"terminal".to_owned()));
    input.write(END_OF_INPUT).await.unwrap();
    let last = status(&mut terminal).await;
    assert_eq!(last.exec.outcome.unwrap().exit_code, Some(0));
    assert_eq!(soon(terminal.next()).await.unwrap(), None);
    let output = world.engine.exec_get(&alice(), id.as_str(), record.id.as_str()).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"hello typed [33x101]"[..], &b""[..]));
}

/// EN-7
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_leaves_the_program_running_and_who_comes_back_sees_what_was_printed() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut first = open(&world, &id, wanted(&["echo", "one "])).await;
    let exec = first.exec_id().clone();
    sees(&mut first, "one ").await;
    let mut second = open(&world, &id, again(&exec)).await;
    assert_eq!((first.redraw(), second.redraw()), (None, Some(SIZE)));
    assert_eq!(sees(&mut second, "one ").await, "one ");
    second.input().unwrap().write(b"two ").await.unwrap();
    assert_eq!(sees(&mut first, "two ").await, "two ", "all see what any of them types");
    drop((first, second));
    let mut third = open(&world, &id, again(&exec)).await;
    assert_eq!(sees(&mut third, "two ").await, "one two ");
    third.input().unwrap().redraw(SIZE).await.unwrap();
    assert_eq!(sees(&mut third, "[24x80]").await, "[24x79][24x80]", "only another size makes it draw again");
    third.input().unwrap().write(END_OF_INPUT).await.unwrap();
    assert!(status(&mut third).await.exec.outcome.is_some());
    let mut late = open(&world, &id, again(&exec)).await;
    assert!(late.input().is_none());
    assert_eq!(sees(&mut late, "80]").await, "one two [24x79][24x80]", "what has ended is shown, too");
    assert_eq!(status(&mut late).await.exec.outcome.unwrap().exit_code, Some(0));
    assert_eq!(soon(late.next()).await.unwrap(), None);
}

/// EN-7: the last 64 KiB.
#[tokio::test(flavor = "multi_thread")]
async fn the_scrollback_is_bounded_and_asks_nothing_again() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let much = format!("{}\x1b[cend", "ö".repeat(40_000));
    let mut first = open(&world, &id, wanted(&["echo", &much])).await;
    assert_eq!(sees(&mut first, "end").await, much, "whoever opened it sees all of it, and answers");
    let mut second = open(&world, &id, again(first.exec_id())).await;
    let seen = sees(&mut second, "end").await;
    assert!((65_000..=65_536).contains(&seen.len()) && !seen.contains('\x1b'), "{}", seen.len());
}

/// EN-7, EN-10
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_found_again_after_a_restart() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut before = open(&world, &id, wanted(&["echo", "before "])).await;
    let exec = before.exec_id().clone();
    sees(&mut before, "before ").await;
    drop(before);
    world.restart().await;
    let mut after = open(&world, &id, again(&exec)).await;
    assert_eq!(sees(&mut after, "before ").await, "before ");
    let input = after.input().unwrap();
    input.write(b"after ").await.unwrap();
    input.resize(WindowSize { rows: 5, cols: 6 }).await.unwrap();
    assert_eq!(sees(&mut after, "]").await, "after [5x6]");
    input.write(END_OF_INPUT).await.unwrap();
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    assert_eq!(world.store.exec_get(&id, &exec).await.unwrap().unwrap().outcome.unwrap().exit_code, Some(0));
}

/// GV-3
#[tokio::test(flavor = "multi_thread")]
async fn an_open_terminal_keeps_its_session_active() {
    let world = World::new().await;
    let limits = LimitRequest { idle_timeout_ms: Some(Some(10_000)), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    let terminal = open(&world, &id, wanted(&["echo"])).await;
    world.clock.pass(100_000);
    terminal.input().unwrap().write(END_OF_INPUT).await.unwrap();
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    world.clock.pass(100_000);
    world.exec(&id, &["say"]).await.expect("somebody still looks at it");
    drop(terminal);
    let ends_at = world.engine.now().plus_ms(10_000);
    let expires_at = async || world.engine.session_get(&alice(), id.as_str()).await.unwrap().expires_at;
    until(async || expires_at().await == Some(ends_at)).await;
    world.clock.pass(9_999);
    assert!(world.engine.session_status(&alice(), id.as_str()).await.unwrap().status.environment_ready);
    world.clock.pass(1);
    assert_eq!(gone(world.exec(&id, &["say"]).await).reason, TerminationReason::IdleTimeout);
}

/// TM-7, TM-6: told with whatever was printed, and a limit needs nobody else to be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_session_is_the_last_that_a_viewer_hears() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut terminal = open(&world, &id, wanted(&["echo", "here"])).await;
    sees(&mut terminal, "here").await;
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(hears_of_the_end(&mut terminal).await.reason, TerminationReason::UserRequest);
    assert_eq!(terminal.next().await.unwrap(), None);
    assert_eq!(refused(&world, &id, wanted(&["echo"])).await.code(), Code::Gone);
    drop(terminal);
    world.clock.run();
    let limits = LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    let mut terminal = open(&world, &id, wanted(&["echo"])).await;
    assert_eq!(hears_of_the_end(&mut terminal).await.reason, TerminationReason::MaxLifetime);
}

/// LS-7
#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_of_the_lease_ends_the_view_of_its_last_holder() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut terminal = open(&world, &id, wanted(&["echo", "here"])).await;
    sees(&mut terminal, "here").await;
    let input = terminal.input().unwrap();
    let taken = world.engine.lease_take(&alice(), id.as_str(), Ok(LeaseTakeRequest::default())).await.unwrap();
    assert_eq!(code(input.write(b"late").await), Code::StaleLease);
    assert_eq!(code(soon(terminal.next()).await), Code::StaleLease);
    assert_eq!(refused(&world, &id, again(terminal.exec_id())).await.code(), Code::StaleLease);
    let holder = Call { token: Some(taken.session.lease.unwrap().token), ..alice() };
    let request = again(terminal.exec_id());
    let mut own = world.engine.terminal_open(&holder, id.as_str(), request).await.unwrap();
    assert_eq!(sees(&mut own, "here").await, "here", "what was typed too late did not arrive");
    own.input().unwrap().write(b" now").await.unwrap();
    assert_eq!(sees(&mut own, "now").await, " now");
}

/// EN-7, TR-3, GV-2, TM-4
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_terminal_cannot_be_looked_at() {
    let world = World::new().await;
    let limits = LimitRequest {
        max_concurrent_execs: Some(1),
        on_exec_limit: Some(OnExecLimit::Reject),
        ..LimitRequest::default()
    };
    let id = world.session(limits).await.id;
    let foreign = world.engine.terminal_open(&bob(), id.as_str(), wanted(&["echo"])).await.map(drop);
    assert!(matches!(foreign, Err(EngineError::NoSession { lookup: Lookup::NeverExisted, .. })), "{foreign:?}");
    let exec = world.exec(&id, &["say"]).await.unwrap().record;
    assert_eq!(refused(&world, &id, again(&exec.id)).await.code(), Code::ExecNotFound);
    assert_eq!(refused(&world, &id, again(&"x_0000000000000001".parse().unwrap())).await.code(), Code::ExecNotFound);
    let both = TerminalRequest { cmd: vec!["echo".to_owned()], ..again(&exec.id).unwrap() };
    assert_eq!(refused(&world, &id, Ok(both)).await.code(), Code::Validation);
    for (rows, cols) in [(0, 80), (24, 0), (1001, 80), (24, u16::MAX)] {
        let odd = TerminalRequest { size: WindowSize { rows, cols }, ..wanted(&["echo"]).unwrap() };
        assert_eq!(refused(&world, &id, Ok(odd)).await.code(), Code::Validation);
    }
    let terminal = open(&world, &id, wanted(&["echo"])).await;
    let odd = terminal.input().unwrap().resize(WindowSize { rows: 0, cols: 0 }).await;
    assert_eq!(code(odd), Code::Validation);
    assert_eq!(refused(&world, &id, wanted(&["echo"])).await.code(), Code::ExecLimit);
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    assert_eq!(refused(&world, &id, again(terminal.exec_id())).await.code(), Code::SessionPaused);
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    world.engine.drain();
    assert!(world.engine.terminal_open(&alice(), id.as_str(), again(terminal.exec_id())).await.is_ok());
    assert_eq!(
        code(world.exec(&id, &run(&["say"]).cmd.iter().map(String::as_str).collect::<Vec<_>>()).await),
        Code::Unavailable
    );
}

/// ST-2
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_told_that_the_session_is_paused() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut terminal = open(&world, &id, wanted(&["echo"])).await;
    assert_eq!(status(&mut terminal).await.state, State::Running);
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    assert_eq!(status(&mut terminal).await.state, State::Paused);
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    assert_eq!(status(&mut terminal).await.state, State::Running);
}
