//! The operation table, written out once more from the description of the API, and every cell of it put to the law (TM-3, AU-3, GV-3, LS-7).

use crate::law::Law;
use crate::sample::*;
use std::collections::BTreeSet;
use tenure_session::State::*;
use tenure_session::*;

trials![
    every_operation_stands_in_the_table_and_nothing_else_does,
    every_operation_has_in_every_state_the_answer_of_the_table,
    only_operations_that_the_table_calls_active_count_as_activity,
    only_operations_that_the_table_fences_ask_for_the_token,
    only_administrators_do_what_the_table_gives_to_them,
];

/// `name who answers activity fence`. The answers are those in created, initializing, ready, running, paused, and after the end:
///
/// | answer | meaning |
/// |---|---|
/// | `x` | done |
/// | `=` | so already |
/// | `n` | `NOT_READY` |
/// | `p` | `SESSION_PAUSED` |
/// | `g` | 410 |
const TABLE: &str = "
session_get         owner  xxxxx x  -    -
session_status      owner  xxxxx x  -    -
session_explain     owner  xxxxx x  -    -
session_audit       owner  xxxxx x  -    -
session_events      owner  xxxxx x  -    -
session_pause       owner  nnxx= g  act  fence
session_resume      owner  nn==x g  act  fence
session_terminate   owner  xxxxx =  -    -
session_delete      owner  xxxxx x  -    -
session_undelete    owner  ===== =  -    -
session_extend      admin  xxxxx g  -    -
lease_heartbeat     owner  xxxxx g  -    fence
lease_take          owner  xxxxx g  -    -
lease_release       owner  xxxxx g  -    fence
session_transition  owner  xxxxx g  -    fence
exec_run            owner  nnxxp g  act  fence
exec_list           owner  xxxxx x  -    -
exec_get            owner  xxxxx x  -    -
exec_output         owner  xxxxx x  -    -
exec_stdin          owner  nnnxp g  act  fence
exec_kill           owner  nnnxp g  act  fence
file_read           owner  nnxxp g  act  -
file_stat           owner  nnxxp g  act  -
dir_list            owner  nnxxp g  act  -
file_watch          owner  nnxxp g  act  -
file_write          owner  nnxxp g  act  fence
file_delete         owner  nnxxp g  act  fence
preview_register    owner  nnxxp g  act  fence
preview_list        owner  nnxxp g  act  -
preview_remove      owner  nnxxp g  act  fence
preview_health      owner  nnxxp g  -    -
preview_proxy       owner  nnxxp g  act  -
terminal            owner  nnxxp g  act  fence
ticket_create       owner  xxxxx g  -    -
environment_get     admin  xxxxx g  -    -
environment_create  admin  xxxxx g  -    -
environment_delete  admin  xxxxx g  -    -
cleanup_check       admin  xxxxx x  -    -
";

/// What is about no session, by who may.
const WITHOUT_SESSION: [(&str, &str); 3] = [
    ("user", "session_create session_list"),
    (
        "admin",
        "key_create key_list key_revoke key_rotate template_create template_list template_get template_delete \
         audit_list audit_verify access_authorize access_deny cleanup_sweep backup metrics_get",
    ),
    ("anyone", "health_get ready_get openapi_get"),
];

/// One line of [`TABLE`].
struct Line {
    operation: Operation,
    who: &'static str,
    live: &'static str,
    after_end: char,
    active: bool,
    fenced: bool,
}

fn lines() -> impl Iterator<Item = Line> {
    TABLE.lines().filter(|line| !line.is_empty()).map(|line| {
        let cells: Vec<&'static str> = line.split_whitespace().collect();
        let [name, who, live, after_end, activity, fence] = cells[..] else { panic!("{line}") };
        Line {
            operation: operation(name),
            who,
            live,
            after_end: after_end.chars().next().unwrap(),
            active: activity == "act",
            fenced: fence == "fence",
        }
    })
}

fn operation(name: &str) -> Operation {
    Operation::ALL.iter().copied().find(|operation| operation.row().name == name).unwrap_or_else(|| panic!("{name}"))
}

fn answer(admission: Admission) -> char {
    match admission {
        Admission::Admit => 'x',
        Admission::Already => '=',
        Admission::Refuse(Refusal::NotReady(_)) => 'n',
        Admission::Refuse(Refusal::Paused) => 'p',
        Admission::Refuse(Refusal::Gone(_)) => 'g',
        Admission::Refuse(Refusal::StaleLease) => 'l',
        other => panic!("{other:?}"),
    }
}

fn every_operation_stands_in_the_table_and_nothing_else_does(_: &Law) {
    let mut written: BTreeSet<&str> = lines().map(|line| line.operation.row().name).collect();
    for (_, names) in WITHOUT_SESSION {
        written.extend(names.split_whitespace());
    }
    let names: BTreeSet<&str> = Operation::ALL.iter().map(|operation| operation.row().name).collect();
    assert_eq!(written, names);
    assert_eq!(names.len(), Operation::ALL.len(), "two operations share a name");
}

/// TM-3, LC-9
fn every_operation_has_in_every_state_the_answer_of_the_table(law: &Law) {
    for line in lines() {
        let operation = line.operation;
        let ask = |session: &Session| answer((law.admit)(&owner(), session, &attempt(operation, at(1))));
        for (state, expected) in [Created, Initializing, Ready, Running, Paused].into_iter().zip(line.live.chars()) {
            assert_eq!(ask(&session(state)), expected, "{operation} when {state}");
        }
        for state in [Terminated, Failed] {
            assert_eq!(ask(&session(state)), line.after_end, "{operation} when {state}");
        }
    }
}

/// GV-3
fn only_operations_that_the_table_calls_active_count_as_activity(law: &Law) {
    for line in lines() {
        assert_eq!((law.counts_as_activity)(line.operation, None), line.active, "{}", line.operation);
    }
}

/// LS-7
fn only_operations_that_the_table_fences_ask_for_the_token(law: &Law) {
    for line in lines() {
        for state in [Created, Ready, Running, Paused] {
            let held = with_lease(session(state), at(LIFETIME));
            let without = answer((law.admit)(&owner(), &held, &attempt(line.operation, at(1))));
            assert_eq!(without == 'l', line.fenced, "{} when {state}", line.operation);
            let attempt = Attempt { token: Some(LeaseToken(5)), ..attempt(line.operation, at(1)) };
            let with = answer((law.admit)(&owner(), &held, &attempt));
            assert_eq!(with, answer((law.admit)(&owner(), &session(state), &attempt)), "{}", line.operation);
        }
    }
}

/// AU-3
fn only_administrators_do_what_the_table_gives_to_them(law: &Law) {
    for line in lines() {
        let denied = (law.may)(&owner(), &session(Running), line.operation).is_err();
        assert_eq!(denied, line.who == "admin", "{}", line.operation);
        assert!((law.may)(&admin(), &session(Running), line.operation).is_ok(), "{}", line.operation);
    }
    for (who, names) in WITHOUT_SESSION {
        for operation in names.split_whitespace().map(operation) {
            assert_eq!(operation.row().states, States::NoSession, "{operation}");
            assert!(!operation.row().activity && operation.row().fence == Fence::Open, "{operation}");
            assert_eq!(may_without_session(&owner(), operation).is_err(), who == "admin", "{operation}");
            assert_eq!(may_without_session(&admin(), operation), Ok(()), "{operation}");
        }
    }
}
