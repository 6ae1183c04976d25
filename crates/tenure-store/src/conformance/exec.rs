//! What every store promises of the ledger of execs (EN-4).

use super::{Subject, actions, at, change, create, crowd, done, end, entry, pages, read, ready, session, unique};
use crate::{
    AuditDraft, ExecIntended, ExecIntent, ExecLedgerState, ExecOutcome, ExecRecord, PageRequest, SessionMove,
    StreamTotal,
};
use tenure_session::{ExecId, Session, SessionId, State};

/// An exec with everything that one can have.
fn record(session_id: &SessionId) -> ExecRecord {
    ExecRecord {
        id: ExecId::new(unique().to_be_bytes()),
        session_id: session_id.clone(),
        generation: 1,
        cmd: vec!["sh".into(), "-c".into(), "printf '\u{e9}\n'".into(), String::new()],
        cwd: "/work space".into(),
        user: Some("1000".into()),
        tag: Some("a tag".into()),
        background: true,
        timeout_ms: Some(30_000),
        state: ExecLedgerState::Intended,
        created_at: at(30),
        started_at: None,
        outcome: None,
    }
}

/// The intent of a user's exec, at second 30.
pub(super) fn intent(session_id: &SessionId) -> ExecIntent {
    let running = AuditDraft { new_state: Some(State::Running), ..entry(session_id, "session_move") };
    ExecIntent {
        record: record(session_id),
        claim: None,
        activity: Some("exec".into()),
        running_entry: running,
        entry: entry(session_id, "exec"),
    }
}

pub(super) async fn intended(store: &Subject, intent: ExecIntent) -> Session {
    match store.exec_intend(intent).await.unwrap() {
        ExecIntended::Done(session) => session,
        other @ (ExecIntended::Refused(_) | ExecIntended::Claimed(_) | ExecIntended::Missing) => {
            panic!("not intended: {other:?}")
        }
    }
}

fn outcome(state: ExecLedgerState) -> ExecOutcome {
    ExecOutcome {
        state,
        ended_at: at(32),
        exit_code: (state == ExecLedgerState::Exited).then_some(-7),
        signal: (state == ExecLedgerState::Killed).then_some(9),
        timed_out: state == ExecLedgerState::Killed,
        oom_killed: false,
        error: (state == ExecLedgerState::Failed).then(|| "no such program: \u{e9}".to_owned()),
        stdout: StreamTotal { bytes: 64 << 20, dropped: 1 << 40 },
        stderr: StreamTotal::default(),
        duration_ms: (state != ExecLedgerState::Unknown).then_some(1000),
    }
}

async fn stored(store: &Subject, record: &ExecRecord) -> ExecRecord {
    store.exec_get(&record.session_id, &record.id).await.unwrap().expect("it is in the ledger")
}

/// EN-4: intended, started, and each of the ends, as they were given.
pub async fn an_exec_goes_from_intended_to_its_outcome(store: &Subject) {
    use ExecLedgerState::{Exited, Killed, Unknown};
    let id = ready(store, "alice").await.id;
    for end in [Exited, Killed, Unknown] {
        let intent = intent(&id);
        let record = intent.record.clone();
        intended(store, intent).await;
        assert_eq!(stored(store, &record).await, record);
        assert_eq!(store.exec_unsettled(&id).await.unwrap(), std::slice::from_ref(&record));

        store.exec_started(&record.id, at(31)).await.unwrap();
        let started = ExecRecord { state: ExecLedgerState::Started, started_at: Some(at(31)), ..record };
        assert_eq!(stored(store, &started).await, started);
        assert_eq!(store.exec_unsettled(&id).await.unwrap(), std::slice::from_ref(&started));

        let outcome = outcome(end);
        assert!(store.exec_settle(&started.id, outcome.clone(), None).await.unwrap());
        let settled = ExecRecord { state: end, outcome: Some(outcome), ..started };
        assert_eq!(stored(store, &settled).await, settled);
        assert_eq!(store.exec_unsettled(&id).await.unwrap(), []);
    }
}

/// LC-8, LC-7, GV-3: with the exec, in one; and once.
pub async fn the_first_exec_makes_a_ready_session_running(store: &Subject) {
    let made = ready(store, "alice").await;
    let before = actions(store, &made.id).await.len();
    let said = crowd(store, |_, store| {
        let intent = intent(&made.id);
        async move { intended(&store, intent).await }
    })
    .await;
    for session in &said {
        assert_eq!((session.state, session.last_activity_at), (State::Running, at(30)));
        assert_eq!(session.last_activity, "exec");
    }
    assert_eq!(read(store, &made.id).await.state, State::Running);
    let audited = actions(store, &made.id).await.split_off(before);
    assert_eq!(audited.iter().filter(|action| *action == "session_move").count(), 1);
    assert_eq!(audited.iter().filter(|action| *action == "exec").count(), said.len());
    assert_eq!(store.exec_unsettled(&made.id).await.unwrap().len(), said.len());
}

/// TP-1: the start command is in the ledger, and is neither activity nor work.
pub async fn a_start_command_moves_nothing(store: &Subject) {
    let made = ready(store, "alice").await;
    let intent = ExecIntent { activity: None, ..intent(&made.id) };
    let record = intent.record.clone();
    let session = intended(store, intent).await;
    assert_eq!(session, made);
    assert_eq!(read(store, &made.id).await, made);
    assert_eq!(stored(store, &record).await, record);
    let audited = actions(store, &made.id).await;
    assert_eq!(audited.iter().filter(|action| *action == "exec").count(), 1);
    assert_eq!(audited.iter().filter(|action| *action == "session_move").count(), 2, "those that made it ready");
}

/// EN-4, TM-3: nothing is started where nothing can be, and nothing is written of it.
pub async fn an_exec_is_refused_where_the_session_cannot_work(store: &Subject) {
    let created = create(store, session("alice")).await;
    let initializing = create(store, session("alice")).await;
    let initializing = done(store.session_move(change(&initializing.id, State::Created, State::Initializing)).await);
    let paused = ready(store, "alice").await;
    let pause = SessionMove { resumes_to: Some(State::Ready), ..change(&paused.id, State::Ready, State::Paused) };
    let paused = done(store.session_move(pause).await);
    let ended = done(store.session_end(end(&ready(store, "alice").await.id, 20)).await);
    for session in [created, initializing, paused, ended] {
        let before = actions(store, &session.id).await;
        for activity in [Some("exec".to_owned()), None] {
            let intent = ExecIntent { activity, ..intent(&session.id) };
            let exec_id = intent.record.id.clone();
            assert_eq!(store.exec_intend(intent).await.unwrap(), ExecIntended::Refused(session.clone()));
            assert_eq!(store.exec_get(&session.id, &exec_id).await.unwrap(), None);
        }
        assert_eq!(read(store, &session.id).await, session);
        assert_eq!(actions(store, &session.id).await, before);
    }
}

/// EN-4: the first outcome stands, and a late word that it started changes nothing.
pub async fn an_outcome_is_written_once(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let intent = intent(&id);
    let record = intent.record.clone();
    intended(store, intent).await;
    let settle = |state| store.exec_settle(&record.id, outcome(state), Some(entry(&id, "exec_end")));
    assert!(settle(ExecLedgerState::Unknown).await.unwrap());
    let settled = stored(store, &record).await;
    assert!(!settle(ExecLedgerState::Exited).await.unwrap());
    store.exec_started(&record.id, at(40)).await.unwrap();
    assert_eq!(stored(store, &record).await, settled);
    assert_eq!(settled.state, ExecLedgerState::Unknown);
    assert_eq!(actions(store, &id).await.iter().filter(|action| *action == "exec_end").count(), 1);

    let nowhere = ExecId::new([0xff; 8]);
    assert!(!store.exec_settle(&nowhere, outcome(ExecLedgerState::Exited), None).await.unwrap());
}

/// EN-4: also where many saw it end.
pub async fn of_many_outcomes_one_is_written(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let intent = intent(&id);
    let record = intent.record.clone();
    intended(store, intent).await;
    let said = crowd(store, |n, store| {
        let outcome = ExecOutcome { exit_code: Some(n as i32), ..outcome(ExecLedgerState::Exited) };
        let (exec, entry) = (record.id.clone(), entry(&id, "exec_end"));
        async move { (n as i32, store.exec_settle(&exec, outcome, Some(entry)).await.unwrap()) }
    })
    .await;
    let first: Vec<_> = said.into_iter().filter(|(_, first)| *first).map(|(n, _)| Some(n)).collect();
    assert_eq!(first, [stored(store, &record).await.outcome.unwrap().exit_code]);
    assert_eq!(actions(store, &id).await.iter().filter(|action| *action == "exec_end").count(), 1);
}

/// EN-4: its row says why, and that it was not started.
pub async fn an_exec_that_never_started_failed(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let intent = intent(&id);
    let record = intent.record.clone();
    intended(store, intent).await;
    let outcome = outcome(ExecLedgerState::Failed);
    assert!(store.exec_settle(&record.id, outcome.clone(), None).await.unwrap());
    let expected = ExecRecord { state: ExecLedgerState::Failed, outcome: Some(outcome), ..record };
    assert_eq!(stored(store, &expected).await, expected);
}

/// TR-3: an exec is found under its own session only.
pub async fn execs_belong_to_their_session(store: &Subject) {
    let mine = ready(store, "alice").await.id;
    let other = ready(store, "mallory").await.id;
    let intent = intent(&mine);
    let record = intent.record.clone();
    intended(store, intent).await;
    assert_eq!(store.exec_get(&other, &record.id).await.unwrap(), None);
    assert_eq!(store.exec_unsettled(&other).await.unwrap(), []);
    let listed = store.exec_list(&other, PageRequest { limit: 10, cursor: None }).await.unwrap();
    assert_eq!(listed.items, []);
    assert_eq!(stored(store, &record).await, record);
}

/// EN-4: oldest first, none twice, none left out, also where many were asked for at one instant.
pub async fn execs_are_listed_oldest_first(store: &Subject) {
    let id = ready(store, "alice").await.id;
    for seconds in [30, 31, 31, 31, 31, 32, 33] {
        let mut intent = intent(&id);
        intent.record.created_at = at(seconds);
        intended(store, intent).await;
    }
    let whole = store.exec_list(&id, PageRequest { limit: 100, cursor: None }).await.unwrap();
    assert_eq!(whole.next_cursor, None);
    let times: Vec<_> = whole.items.iter().map(|exec| exec.created_at).collect();
    assert_eq!(times, [30, 31, 31, 31, 31, 32, 33].map(at));
    for limit in 1..8 {
        assert_eq!(pages(limit, |page| store.exec_list(&id, page)).await, whole.items, "in pages of {limit}");
    }
    assert_eq!(read(store, &id).await.last_activity_at, at(33));
}
