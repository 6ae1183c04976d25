//! What every store must pass: the promises of the port, tried from outside on stores that are empty.
//!
//! Each function is one promise and panics where it is broken. [`everything`] tries them all, each on a new store, and looks after each at the audit as a
//! whole: whatever a promise had written, the chains must hold. [`store_conformance!`](crate::store_conformance) makes a test of each.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod audit;
mod clock;
mod exec;
mod idempotency;
mod key;
mod lease;
mod preview;
mod retention;
mod session;
mod session_change;
mod session_end;
mod session_list;
mod template;

pub use audit::*;
pub use clock::*;
pub use exec::*;
pub use idempotency::*;
pub use key::*;
pub use lease::*;
pub use preview::*;
pub use retention::*;
pub use session::*;
pub use session_change::*;
pub use session_end::*;
pub use session_list::*;
pub use template::*;

use crate::{
    AuditDraft, AuditEntry, AuditFilter, Changed, Page, PageRequest, SessionCreate, SessionCreated, SessionMove, Store,
    StoreError,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_session::{
    EnforcedLimits, EnvironmentId, EnvironmentState, LeaseToken, Session, SessionEnvironment, SessionId, SessionLimits,
    State, Timestamp, Trigger, UserId,
};

/// The store that a promise is tried on: empty at its beginning.
pub type Subject = Arc<dyn Store>;

/// How many tasks want the same at once, where that is what a promise is about.
const CROWD: u32 = 50;

/// Makes a `#[tokio::test]` of each promise. Takes an expression that makes a new, empty store: a future of a pair of an `Arc<dyn Store>` and something that
/// is kept until the promise was tried, such as a temporary directory.
///
/// ```text
/// async fn new_store() -> (Arc<dyn Store>, TempDir) { … }
/// tenure_store::store_conformance!(new_store());
/// ```
#[macro_export]
macro_rules! store_conformance {
    (@test [$new_store:expr] $($promise:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _keep) = $new_store.await;
                $crate::conformance::$promise(&store).await;
                $crate::conformance::the_audit_holds(&store).await;
            }
        )+
    };
    (@everything [$new_store:expr] $($promise:ident)+) => {
        $({
            let (store, _keep) = $new_store.await;
            $crate::conformance::$promise(&store).await;
            $crate::conformance::the_audit_holds(&store).await;
        })+
    };
    (@list $what:ident [$new_store:expr]) => {
        $crate::store_conformance! { @$what [$new_store]
            a_store_that_works_says_so
            the_anchor_of_time_is_replaced

            a_session_is_read_as_it_was_made
            a_session_without_an_environment_is_ready_at_once
            a_taken_id_changes_nothing
            of_many_that_want_one_id_one_gets_it
            what_is_not_there_is_missing

            a_session_moves_from_the_state_it_is_in
            a_move_that_cannot_be_is_not_made
            of_many_moves_one_is_made
            pausing_remembers_where_resuming_leads
            an_environment_is_changed_in_its_own_life_only
            an_environment_is_attached_once
            an_environment_lives_again_once
            more_time_is_given_while_it_lives
            activity_only_goes_forward
            an_ended_session_is_not_worked_in

            the_first_end_is_the_only_one
            of_many_ends_one_is_written
            a_failure_is_kept_with_the_end
            a_lifetime_that_grew_meanwhile_saves_the_session
            activity_meanwhile_saves_the_session
            a_lease_that_does_not_expire_then_saves_the_session
            activity_and_idle_end_never_both_win
            deleting_ends_a_live_session_first
            deleting_an_ended_session_keeps_its_end
            of_many_deletions_one_is_made
            undeleting_brings_the_record_back_ended

            a_lease_is_taken_once
            of_many_that_take_a_lease_one_gets_it
            a_token_is_never_given_again
            a_lease_is_renewed_by_its_token_only
            a_renewal_within_the_interval_changes_nothing
            a_renewal_goes_neither_back_nor_past_the_lifetime
            what_ran_out_is_neither_renewed_nor_taken_nor_given_up
            what_has_ended_keeps_its_lease
            a_renewed_lease_does_not_expire
            renewal_and_expiry_never_both_win
            a_lease_is_due_when_it_runs_out_and_not_before_it_was_renewed_to
            a_start_moves_what_ran_out_while_it_was_down

            lists_are_filtered
            lists_are_newest_first_and_whole
            pages_are_stable_while_sessions_are_made
            filters_hold_across_pages
            a_start_finds_what_is_unfinished
            what_is_due_comes_earliest_first
            sessions_are_counted_by_state

            an_exec_goes_from_intended_to_its_outcome
            the_first_exec_makes_a_ready_session_running
            a_start_command_moves_nothing
            an_exec_is_refused_where_the_session_cannot_work
            an_outcome_is_written_once
            of_many_outcomes_one_is_written
            an_exec_that_never_started_failed
            execs_belong_to_their_session
            execs_are_listed_oldest_first

            a_claim_is_made_with_its_session
            a_claimed_key_makes_no_session
            of_many_creations_under_one_key_one_is_made
            a_claimed_key_starts_no_exec
            a_refused_exec_claims_no_key
            a_taken_id_claims_no_key
            the_first_answer_is_kept
            keys_of_requests_belong_to_their_user

            previews_are_registered_once_and_listed_by_port
            a_removed_preview_is_gone

            what_is_due_is_what_ended_or_was_deleted_by_then
            what_is_due_is_looked_at_in_pieces
            what_still_has_something_to_take_down_is_not_due
            an_archived_session_keeps_its_end_and_its_record
            a_session_is_archived_once
            of_many_that_archive_a_session_one_does
            what_changed_meanwhile_is_not_archived
            an_archived_session_is_neither_deleted_nor_brought_back
            the_archived_are_in_no_list_that_does_not_ask_for_them
            answers_outlive_the_archive
            a_purge_leaves_a_tombstone
            a_purge_erases_what_was_said_and_the_audit_holds
            what_is_not_settled_is_found_until_it_is

            keys_are_listed_oldest_first
            a_key_is_revoked_for_ever
            a_rotated_key_has_another_secret

            templates_get_versions_in_turn
            of_many_versions_none_is_given_twice
            a_removed_template_is_read_by_its_version_only
            every_version_is_removed_at_once

            entries_are_kept_in_their_order
            entries_are_filtered
            the_line_is_whole_under_a_crowd
            every_change_has_its_entry_and_a_refused_one_has_none
            heads_name_what_the_line_holds
        }
    };
    ($new_store:expr) => {
        $crate::store_conformance! { @list test [$new_store] }
    };
}

/// Tries every promise, each on a new store.
pub async fn everything<F, N, K>(new_store: F)
where
    F: Fn() -> N,
    N: Future<Output = (Subject, K)>,
{
    crate::store_conformance! { @list everything [new_store()] }
}

/// An instant: so many seconds after the one at which the suite's time begins.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_ms(1_800_000_000_000).plus_ms(seconds * 1000)
}

fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    COUNT.fetch_add(1, Ordering::Relaxed)
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// An entry about this session that can be found again by its action.
fn entry(id: &SessionId, action: &str) -> AuditDraft {
    AuditDraft { session_id: Some(id.clone()), ..service_entry(action) }
}

/// An entry about no session.
fn service_entry(action: &str) -> AuditDraft {
    AuditDraft {
        session_id: None,
        at: at(0),
        old_state: None,
        new_state: None,
        trigger: Trigger::UserAction,
        actor: "user:alice".to_owned(),
        action: action.to_owned(),
        reason: Some("it was tried".to_owned()),
        metadata: json!({"share": 1.0 / 3.0, "name": "caf\u{e9}", "none": null, "list": [1, -2, 1e300]}),
    }
}

/// A session of this owner that was just asked for.
fn session(owner: &str) -> Session {
    let limits = SessionLimits::default();
    Session {
        id: SessionId::new(at(0), (unique() as u32).to_be_bytes()),
        owner: user(owner),
        template: "default@1".to_owned(),
        state: State::Created,
        resumes_to: None,
        created_at: at(0),
        updated_at: at(0),
        limits,
        enforced: EnforcedLimits::default(),
        lifetime_ends_at: at(0).plus_ms(limits.max_lifetime_ms),
        last_activity_at: at(0),
        last_activity: "session_create".to_owned(),
        lease: None,
        lease_token_last: LeaseToken(0),
        end: None,
        deleted_at: None,
        archived_at: None,
        purged_at: None,
        environment: Some(environment(EnvironmentState::Provisioning)),
        metadata: BTreeMap::new(),
        variables: BTreeMap::new(),
    }
}

fn environment(state: EnvironmentState) -> SessionEnvironment {
    let id = EnvironmentId::new(unique().to_be_bytes());
    SessionEnvironment { id, generation: 1, driver: "suite".to_owned(), state }
}

fn creation(session: Session) -> SessionCreate {
    let entry = entry(&session.id, "session_create");
    SessionCreate { session, state_document: json!({"turn": 0}), claim: None, entry }
}

async fn create(store: &Subject, session: Session) -> Session {
    let made = store.session_create(creation(session.clone())).await.unwrap();
    assert_eq!(made, SessionCreated::Made);
    session
}

/// Makes a session that can be worked in.
async fn ready(store: &Subject, owner: &str) -> Session {
    let session = create(store, session(owner)).await;
    let id = &session.id;
    done(store.session_move(change(id, State::Created, State::Initializing)).await);
    let environment = Some(SessionEnvironment { state: EnvironmentState::Ready, ..session.environment.unwrap() });
    done(store.session_move(SessionMove { environment, ..change(id, State::Initializing, State::Ready) }).await)
}

/// A move and nothing else, ten seconds after the suite's time begins.
fn change(id: &SessionId, from: State, to: State) -> SessionMove {
    SessionMove {
        id: id.clone(),
        from,
        to,
        at: at(10),
        resumes_to: None,
        environment: None,
        enforced: None,
        activity: None,
        entry: AuditDraft { old_state: Some(from), new_state: Some(to), ..entry(id, "session_move") },
    }
}

async fn read(store: &Subject, id: &SessionId) -> Session {
    store.session_get(id).await.unwrap().expect("the session is there")
}

fn done(changed: Result<Changed, StoreError>) -> Session {
    match changed.unwrap() {
        Changed::Done(session) => session,
        other @ (Changed::Refused(_) | Changed::Missing) => panic!("not done: {other:?}"),
    }
}

fn refused(changed: Result<Changed, StoreError>) -> Session {
    match changed.unwrap() {
        Changed::Refused(session) => session,
        other @ (Changed::Done(_) | Changed::Missing) => panic!("not refused: {other:?}"),
    }
}

fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

/// Reads a list to its end, page by page.
async fn pages<T, N>(limit: u32, mut list: impl FnMut(PageRequest) -> N) -> Vec<T>
where
    N: Future<Output = Result<Page<T>, StoreError>>,
{
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = list(page(limit, cursor)).await.unwrap();
        assert!(page.items.len() <= limit as usize, "a page holds no more than was asked for");
        assert!(page.next_cursor.is_none() || !page.items.is_empty(), "a page that is not the last has items");
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

async fn entries(store: &Subject, filter: AuditFilter) -> Vec<AuditEntry> {
    pages(7, |page| store.audit_list(filter.clone(), page)).await
}

/// What was audited about this session, in its order.
async fn actions(store: &Subject, id: &SessionId) -> Vec<String> {
    let filter = AuditFilter { session_id: Some(id.clone()), ..AuditFilter::default() };
    entries(store, filter).await.into_iter().map(|entry| entry.action).collect()
}

/// Runs what `task` makes, many at once, and gives back what they said.
async fn crowd<T, N>(store: &Subject, task: impl Fn(u32, Subject) -> N) -> Vec<T>
where
    T: Send + 'static,
    N: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..CROWD).map(|n| tokio::spawn(task(n, store.clone()))).collect();
    let mut said = Vec::new();
    for task in tasks {
        said.push(task.await.unwrap());
    }
    said
}

/// How many of the guarded changes were made. The others were refused.
fn count_done(changes: &[Result<Changed, StoreError>]) -> usize {
    assert!(changes.iter().all(|change| matches!(change, Ok(Changed::Done(_) | Changed::Refused(_)))), "{changes:?}");
    changes.iter().filter(|change| matches!(change, Ok(Changed::Done(_)))).count()
}
