//! `docs/operations.md` and `docs/failures.md` are written from the tables of the law; what stands there is what the code does (TM-3, AU-3, FL-1).
//!
//! With `TENURE_BLESS=1` in its environment, this rewrites them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::PathBuf;
use tenure_session::*;

/// TM-3, AU-3, GV-3, LS-7
#[test]
fn the_documented_operations_are_those_of_the_table() {
    compare("operations.md", &operations());
}

/// FL-1
#[test]
fn the_documented_failures_are_those_of_the_table() {
    compare("failures.md", &failures());
}

/// FL-1
#[test]
fn every_row_of_the_failures_is_what_classify_says() {
    for class in FAILURES {
        let context = FailureContext { cause: class.cause.unwrap_or("anything else").to_owned(), details: None };
        let failure = classify(class.kind, &context);
        let said = (failure.kind, failure.severity, failure.recovery_action);
        assert_eq!(said, (class.kind, class.severity, class.recovery_action), "{class:?}");
        assert_eq!((failure.message.as_str(), failure.user_message.as_str()), (class.message, class.user_message));
    }
    for kind in FailureType::ALL {
        let rows = FAILURES.iter().filter(|class| class.kind == kind && class.cause.is_none()).count();
        assert_eq!(rows, 1, "{} has one row for every other cause", kind.as_str());
    }
}

fn compare(name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("TENURE_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == expected, "docs/{name} is not what the table says; TENURE_BLESS=1 rewrites it");
}

fn operations() -> String {
    let mut text = "\
# Operations

What can be asked, of what, by whom, and what it means for the session. Written from the table in `crates/tenure-session/src/operation.rs`, from which
the gate, the router and the tests are made too; `TENURE_BLESS=1 cargo test -p tenure-session --test documents` rewrites it.

- **who**: `owner` is the session's owner and every administrator; `admin` is administrators only; `user` is anybody with a credential, `anyone` also
  without. To anybody else than its owner and administrators a session does not exist.
- **live**: in which states of a live session it is done. Otherwise it is `NOT_READY` while the session is being made or nothing runs in it,
  `SESSION_PAUSED` while it is paused, and `NO_ENVIRONMENT` where it was made without one.
- **activity**: whether it begins the idle clock anew.
- **fence**: whether it needs the current lease token while a lease is held, from administrators too.
- **after the end**: `410` names the reason and the instant of the end; `reads` answers as before, but finds a deleted session only where deleted ones are
  asked for; `done` changes nothing of the end, which is the first one: an ended record can still be deleted and brought back, and a transition to another
  state is `INVALID_TRANSITION`.

The checks come in this order, and the first that fails answers: authentication, format of the ID, existence and access, role, stored answer to the same
idempotency key, end, `max_lifetime`, `idle_timeout`, `lease_expired`, fence, state, body, number of execs.

## Of one session

| operation | what | who | live | activity | fence | after the end |
|---|---|---|---|---|---|---|
"
    .to_owned();
    for operation in Operation::ALL.iter().filter(|operation| operation.row().states != States::NoSession) {
        let row = operation.row();
        let yes = |holds: bool| if holds { "yes" } else { "" };
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} |",
            row.name,
            operation.about().trim_end_matches('.'),
            who(row.who),
            states(row.states),
            yes(row.activity),
            yes(row.fence == Fence::Token),
            after_end(row.after_end),
        )
        .unwrap();
    }
    text.push_str("\n## Of no session\n\n| operation | what | who |\n|---|---|---|\n");
    for operation in Operation::ALL.iter().filter(|operation| operation.row().states == States::NoSession) {
        let row = operation.row();
        let about = operation.about().trim_end_matches('.');
        writeln!(text, "| `{}` | {about} | {} |", row.name, who(row.who)).unwrap();
    }
    text
}

fn who(who: Who) -> &'static str {
    match who {
        Who::User => "user",
        Who::Owner => "owner",
        Who::Admin => "admin",
        Who::Anyone => "anyone",
    }
}

fn states(states: States) -> &'static str {
    match states {
        States::NoSession => "",
        States::Any | States::Live => "all",
        States::Working => "ready, running",
        States::Running => "running",
        States::Pause => "ready, running; paused is so already",
        States::Resume => "paused; ready, running are so already",
        States::Transition => "to `paused`, back to where it was paused from, to `terminated`",
    }
}

fn after_end(after_end: AfterEnd) -> &'static str {
    match after_end {
        AfterEnd::Gone => "410",
        AfterEnd::Read => "reads",
        AfterEnd::Done => "done",
        AfterEnd::NotApplicable => "",
    }
}

fn failures() -> String {
    let mut text = "\
# Failures

What a failure of a session is called, how bad it is, and what helps. Written from the table in `crates/tenure-session/src/failure.rs`, which `classify`
reads; `TENURE_BLESS=1 cargo test -p tenure-session --test documents` rewrites it.

A cause that is not listed, or is listed for another type only, is *any other* of its type. The technical details are for operators and never shown to
users.

| severity | meaning |
|---|---|
| low | nothing was lost |
| medium | one call failed |
| high | the session failed |
| critical | more than one session is concerned |

| type | cause | severity | recoverable | recovery action | message | user message |
|---|---|---|---|---|---|---|
"
    .to_owned();
    for kind in FailureType::ALL {
        let classes: Vec<_> = FAILURES.iter().filter(|class| class.kind == kind).collect();
        let other = if classes.len() == 1 { "any" } else { "any other" };
        for class in classes {
            let recoverable = if class.recovery_action == RecoveryAction::None { "no" } else { "yes" };
            writeln!(
                text,
                "| {} | {} | {} | {recoverable} | `{}` | {} | {} |",
                kind.as_str(),
                class.cause.map_or(other.to_owned(), |cause| format!("`{cause}`")),
                class.severity.as_str(),
                class.recovery_action.as_str(),
                class.message,
                class.user_message,
            )
            .unwrap();
        }
    }
    text + "
## Ends in `failed`

A session that ends for one of these reasons has a failure; one that ends for any other has none.

| reason | type |
|---|---|
" + &TerminationReason::ALL
        .iter()
        .filter_map(|reason| reason.failure_type().map(|kind| format!("| `{reason}` | {} |\n", kind.as_str())))
        .collect::<String>()
}
