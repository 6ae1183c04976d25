//! Tests of the measured store.

use super::*;
use crate::{EndGuard, ExecLedgerState, Profile, RetentionQueue, StreamTotal};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_session::{
    End, EnforcedLimits, EnvironmentId, LeaseTerms, LeaseToken, LimitRequest, Role, SessionEnvironment, SessionLimits,
    TerminationReason, Trigger,
};

/// Answers everything with the name of the method, except for one that it never answers.
struct Broken;

macro_rules! broken {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Broken {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                    $(let _ = $name;)*
                    let method = stringify!($method);
                    match method {
                        "probe" => std::future::pending().await,
                        "key_list" => Err(StoreError::Full(method.to_owned())),
                        _ => Err(StoreError::Unavailable(method.to_owned())),
                    }
                }
            )+
        }
    };
}
every_store_method!(broken);

macro_rules! call_all {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        /// Calls every method once, but for the one that never answers.
        async fn call_all(store: &impl Store) {
            $(
                if stringify!($method) != "probe" {
                    let said = store.$method($(<$type as Sample>::sample()),*).await;
                    let name = match said {
                        Err(StoreError::Full(name) | StoreError::Unavailable(name)) => name,
                        other => panic!("{other:?}"),
                    };
                    assert_eq!(name, stringify!($method), "the call went to its own method");
                }
            )+
        }
    };
}
every_store_method!(call_all);

/// Something of a type, to call a method with.
trait Sample {
    fn sample() -> Self;
}

macro_rules! samples {
    ($($type:ty = $sample:expr;)+) => { $(impl Sample for $type { fn sample() -> $type { $sample } })+ };
}

samples! {
    u16 = 8080;
    u32 = 1;
    u64 = 1;
    &'static str = "word";
    Option<u32> = None;
    Option<SessionId> = None;
    Option<AuditDraft> = None;
    Vec<AuditDraft> = Vec::new();
    Timestamp = Timestamp::default();
    SessionId = SessionId::new(Timestamp::default(), [0; 4]);
    ExecId = ExecId::new([0; 8]);
    KeyId = KeyId::new([0; 8]);
    UserId = "alice".parse().unwrap();
    &'static SessionId = leak();
    &'static ExecId = leak();
    &'static KeyId = leak();
    &'static UserId = leak();
    EnvironmentState = EnvironmentState::Ready;
    ClockAnchor = ClockAnchor { boot_id: String::new(), boot_ms: 0, at: Sample::sample(), seen_at: Sample::sample() };
    SessionCreate = SessionCreate { session: session(), state_document: json!({}), claim: None, entry: Sample::sample() };
    SessionFilter = SessionFilter::default();
    PageRequest = PageRequest { limit: 1, cursor: None };
    SessionMove = SessionMove {
        id: Sample::sample(),
        from: State::Created,
        to: State::Initializing,
        at: Sample::sample(),
        resumes_to: None,
        environment: None,
        enforced: None,
        activity: None,
        entry: Sample::sample(),
    };
    End = End { at: Sample::sample(), reason: TerminationReason::Completed, detail: None, failure: None };
    SessionEnd = SessionEnd {
        id: Sample::sample(),
        end: Sample::sample(),
        at: Sample::sample(),
        guard: EndGuard::Always,
        entry: Sample::sample(),
    };
    SessionDelete = SessionDelete {
        id: Sample::sample(),
        at: Sample::sample(),
        end: (Sample::sample(), Sample::sample()),
        entry: Sample::sample(),
    };
    SessionAttach = SessionAttach {
        id: Sample::sample(),
        environment: SessionEnvironment {
            id: EnvironmentId::new([0; 8]),
            generation: 1,
            driver: String::new(),
            state: Sample::sample(),
        },
        enforced: EnforcedLimits::default(),
        at: Sample::sample(),
        entry: Sample::sample(),
    };
    SessionRemake = SessionRemake {
        id: Sample::sample(),
        from: 1,
        environment: SessionEnvironment {
            id: EnvironmentId::new([0; 8]),
            generation: 2,
            driver: String::new(),
            state: Sample::sample(),
        },
        enforced: None,
        at: Sample::sample(),
        entry: Sample::sample(),
    };
    SessionExtend = SessionExtend { id: Sample::sample(), by_ms: 1, at: Sample::sample(), entry: Sample::sample() };
    LeaseTaking = LeaseTaking {
        id: Sample::sample(),
        terms: LeaseTerms { ttl_ms: 2, heartbeat_interval_ms: 1 },
        takeover: false,
        at: Sample::sample(),
        entry: Sample::sample(),
    };
    LeaseBeat = LeaseBeat { id: Sample::sample(), token: LeaseToken(1), at: Sample::sample() };
    LeaseGivingUp = LeaseGivingUp {
        id: Sample::sample(),
        token: LeaseToken(1),
        at: Sample::sample(),
        entry: Sample::sample(),
    };
    SessionsShift = SessionsShift { from: Sample::sample(), until: Sample::sample(), entry: Sample::sample() };
    ExecIntent = ExecIntent {
        record: exec(),
        claim: None,
        activity: None,
        running_entry: Sample::sample(),
        entry: Sample::sample(),
    };
    ExecOutcome = ExecOutcome {
        state: ExecLedgerState::Unknown,
        ended_at: Sample::sample(),
        exit_code: None,
        signal: None,
        timed_out: false,
        oom_killed: false,
        error: None,
        stdout: StreamTotal::default(),
        stderr: StreamTotal::default(),
        duration_ms: None,
    };
    StoredAnswer = StoredAnswer { status: 200, body: Vec::new() };
    PreviewRecord = PreviewRecord { session_id: Sample::sample(), port: 8080, created_at: Sample::sample() };
    bool = false;
    RetentionDue = RetentionDue { queue: RetentionQueue::Ended, by: Sample::sample(), after: None, limit: 1 };
    RetentionArchive = RetentionArchive {
        id: Sample::sample(),
        at: Sample::sample(),
        deleted_at: None,
        content: ArchiveContent { metadata: Default::default(), document: None, previews: Vec::new(), execs: Vec::new() }
            .pack()
            .unwrap(),
        output: None,
        entry: Sample::sample(),
    };
    RetentionPurge = RetentionPurge { id: Sample::sample(), at: Sample::sample(), entry: Sample::sample() };
    KeyRecord = KeyRecord {
        id: Sample::sample(),
        digest: String::new(),
        role: Role::User,
        user: Sample::sample(),
        label: None,
        created_at: Sample::sample(),
        expires_at: None,
        revoked_at: None,
    };
    TemplateRecord = TemplateRecord {
        name: "lab".to_owned(),
        version: 0,
        base: "host".to_owned(),
        limits: LimitRequest::default(),
        lease: None,
        env: Default::default(),
        start_command: None,
        profile: Profile::Plain,
        allow_unenforced: false,
        created_at: Sample::sample(),
    };
    AuditFilter = AuditFilter::default();
    AuditDraft = AuditDraft {
        session_id: None,
        at: Sample::sample(),
        old_state: None,
        new_state: None,
        trigger: Trigger::UserAction,
        actor: "system".to_owned(),
        action: "probe".to_owned(),
        reason: None,
        metadata: json!({}),
    };
}

fn leak<T: Sample>() -> &'static T {
    Box::leak(Box::new(T::sample()))
}

fn session() -> Session {
    Session {
        id: Sample::sample(),
        owner: Sample::sample(),
        template: "lab@1".to_owned(),
        state: State::Created,
        resumes_to: None,
        created_at: Sample::sample(),
        updated_at: Sample::sample(),
        limits: SessionLimits::default(),
        enforced: EnforcedLimits::default(),
        lifetime_ends_at: Sample::sample(),
        last_activity_at: Sample::sample(),
        last_activity: String::new(),
        lease: None,
        lease_token_last: LeaseToken(0),
        end: None,
        deleted_at: None,
        archived_at: None,
        purged_at: None,
        environment: None,
        metadata: Default::default(),
        variables: Default::default(),
    }
}

fn exec() -> ExecRecord {
    ExecRecord {
        id: Sample::sample(),
        session_id: Sample::sample(),
        generation: 1,
        cmd: Vec::new(),
        cwd: String::new(),
        user: None,
        tag: None,
        background: false,
        timeout_ms: None,
        state: ExecLedgerState::Intended,
        created_at: Sample::sample(),
        started_at: None,
        outcome: None,
    }
}

/// A clock that is three milliseconds further each time it is read.
fn ticking() -> Instant {
    static READ: AtomicU64 = AtomicU64::new(0);
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let ticks = READ.fetch_add(1, Ordering::Relaxed);
    *BEGIN.get_or_init(Instant::now) + Duration::from_millis(3 * ticks)
}

fn metered() -> (Metered<Broken>, Registry) {
    let mut registry = Registry::default();
    let metered = Metered::new(Broken, &mut registry, ticking);
    (metered, registry)
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}

fn check(text: &str, series: &str) {
    assert!(text.lines().any(|line| line == series), "{series} is not in:\n{text}");
}

/// TR-9: a method with a body of its own in the port would compile without being measured.
#[test]
fn every_method_of_the_port_is_measured() {
    let port = include_str!("../store.rs");
    let declared: BTreeSet<&str> =
        port.split("async fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).collect();
    assert_eq!(declared, METHODS.iter().copied().collect());
}

/// TR-9
#[test]
fn every_method_has_its_series_before_its_first_call() {
    let (_, registry) = metered();
    let text = text(&registry);
    for method in METHODS {
        check(&text, &format!("tenure_store_requests_total{{method=\"{method}\",outcome=\"ok\"}} 0"));
        check(&text, &format!("tenure_store_request_duration_seconds_count{{method=\"{method}\"}} 0"));
    }
}

/// TR-9
#[tokio::test]
async fn every_method_is_counted_and_timed_by_its_name() {
    let (store, registry) = metered();
    for calls in 1..=2 {
        call_all(&store).await;
        let text = text(&registry);
        for method in METHODS.iter().filter(|method| **method != "probe") {
            let outcome = if *method == "key_list" { "full" } else { "unavailable" };
            check(&text, &format!("tenure_store_requests_total{{method=\"{method}\",outcome=\"{outcome}\"}} {calls}"));
            check(&text, &format!("tenure_store_request_duration_seconds_count{{method=\"{method}\"}} {calls}"));
        }
    }
}

/// TR-9
#[tokio::test]
async fn a_call_that_nobody_waits_for_is_counted_as_abandoned() {
    let (store, registry) = metered();
    assert!(tokio::time::timeout(Duration::from_millis(1), store.probe()).await.is_err());
    let text = text(&registry);
    check(&text, "tenure_store_requests_total{method=\"probe\",outcome=\"abandoned\"} 1");
    check(&text, "tenure_store_request_duration_seconds_count{method=\"probe\"} 1");
}
