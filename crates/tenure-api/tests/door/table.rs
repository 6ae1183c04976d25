//! Every operation in every state for everybody, with what must come out written down here by hand.

use crate::house::{As, House, said, text};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tenure_environment::EnvironmentEnd;
use tenure_session::Operation::{self, *};

/// In which state a session is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Initializing,
    Ready,
    Running,
    Paused,
    Terminated,
    Failed,
    PastItsLimit,
    Deleted,
}

impl In {
    fn lives(self) -> bool {
        matches!(self, In::Initializing | In::Ready | In::Running | In::Paused)
    }
}

const ALL: [In; 8] =
    [In::Initializing, In::Ready, In::Running, In::Paused, In::Terminated, In::Failed, In::PastItsLimit, In::Deleted];

/// What the caller holds of the session's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// There is no lease.
    NoLease,
    /// There is one, and the caller says nothing of it.
    Nothing,
    /// The token that was given last.
    Current,
    /// A token from before somebody took over.
    Stale,
}

/// A session in a state, with one exec where it ever ran.
struct Set {
    id: String,
    exec: String,
    token: Option<u64>,
}

/// What needs the current token while a lease is held.
const FENCED: [Operation; 13] = [
    SessionPause,
    SessionResume,
    SessionTransition,
    LeaseHeartbeat,
    LeaseRelease,
    ExecRun,
    ExecStdin,
    ExecKill,
    FileWrite,
    FileDelete,
    PreviewRegister,
    PreviewRemove,
    Terminal,
];

const NO_EXEC: &str = "x_0000000000000000";
const PORT: u16 = 8080;

/// Puts a lease on a session; which token the caller has of it.
async fn lease(house: &House, id: &str, holds: Holds) -> Option<u64> {
    let take = async |takeover: bool| {
        let terms = json!({ "ttl_ms": 3_600_000, "takeover": takeover });
        let taken = house.post(As::Owner, &format!("/v1/sessions/{id}/lease"), terms).await;
        assert_eq!(taken.status(), 200);
        taken.json::<Value>().await.unwrap()["lease"]["token"].as_u64()
    };
    if holds == Holds::NoLease {
        return None;
    }
    let token = take(false).await;
    match holds {
        Holds::NoLease | Holds::Nothing => None,
        Holds::Current => token,
        Holds::Stale => {
            take(true).await;
            token
        }
    }
}

async fn session_in(house: &House, state: In, holds: Holds) -> Set {
    if state == In::Initializing {
        let id = house.session_initializing().await;
        let token = lease(house, &id, holds).await;
        return Set { id, exec: NO_EXEC.to_owned(), token };
    }
    let limits = if state == In::PastItsLimit { json!({ "max_lifetime_ms": 60_000 }) } else { json!({}) };
    let id = text(&house.session(json!({ "limits": limits })).await, "id");
    let base = format!("/v1/sessions/{id}");
    let wrote = house.request(As::Owner, "PUT", &format!("{base}/files?path=file")).body("x").send().await.unwrap();
    assert_eq!(wrote.status(), 204);
    assert_eq!(house.post(As::Owner, &format!("{base}/previews"), json!({ "port": PORT })).await.status(), 200);
    let exec = if state == In::Ready { NO_EXEC.to_owned() } else { house.exec_running(&id).await };
    if state == In::Paused {
        assert_eq!(house.post(As::Owner, &format!("{base}/pause"), json!({})).await.status(), 200);
    }
    let token = lease(house, &id, holds).await;
    match state {
        In::Initializing | In::Ready | In::Running | In::Paused => {}
        In::Terminated => {
            assert_eq!(house.post(As::Owner, &format!("{base}/terminate"), json!({})).await.status(), 200);
        }
        In::Failed => {
            house.environment(&id).await.die(EnvironmentEnd::Killed(9));
            house.until(&id, "failed").await;
        }
        In::PastItsLimit => house.pass(60_001),
        In::Deleted => assert_eq!(house.request(As::Owner, "DELETE", &base).send().await.unwrap().status(), 200),
    }
    Set { id, exec, token }
}

/// What an operation comes to for whoever may: in initializing, ready, running, paused; after the end; once deleted.
struct Row {
    operation: Operation,
    method: &'static str,
    path: &'static str,
    body: Value,
    admin_only: bool,
    live: [&'static str; 4],
    ended: &'static str,
    deleted: &'static str,
}

impl Row {
    fn expected(&self, state: In) -> &'static str {
        match state {
            In::Initializing => self.live[0],
            In::Ready => self.live[1],
            In::Running => self.live[2],
            In::Paused => self.live[3],
            In::Terminated | In::Failed | In::PastItsLimit => self.ended,
            In::Deleted => self.deleted,
        }
    }

    /// What it comes to for whoever may, with a lease.
    fn expected_of(&self, state: In, holds: Holds) -> &'static str {
        let stale = matches!(holds, Holds::Nothing | Holds::Stale) && FENCED.contains(&self.operation);
        match (self.operation, holds) {
            _ if !state.lives() => self.expected(state),
            _ if stale => "412 STALE_LEASE",
            (LeaseHeartbeat, Holds::Current) => "200",
            (LeaseTake, Holds::Nothing | Holds::Current | Holds::Stale) => "409 LEASE_HELD",
            _ => self.expected(state),
        }
    }

    fn request(&self, house: &House, who: As, set: &Set) -> RequestBuilder {
        let path = self.path.replace("{id}", &set.id).replace("{exec}", &set.exec);
        let request = house.request(who, self.method, &path);
        let request = match set.token {
            Some(token) => request.header("tenure-lease-token", token),
            None => request,
        };
        match &self.body {
            Value::Null => request,
            Value::String(bytes) => request.body(bytes.clone()),
            body => {
                let text = body.to_string().replace("{id}", &set.id);
                request.header("content-type", "application/json").body(text)
            }
        }
    }
}

fn rows() -> Vec<Row> {
    let row = |operation, (method, path): (&'static str, &'static str), body, live, ended, deleted| Row {
        operation,
        method,
        path,
        body,
        admin_only: false,
        live,
        ended,
        deleted,
    };
    let read = |operation, path| row(operation, ("GET", path), Value::Null, ["200"; 4], "200", "404 NOT_FOUND");
    let none = || Value::Null;
    let gone = "410 GONE";
    let working = |done| ["409 NOT_READY", done, done, "409 SESSION_PAUSED"];
    let exec_read = ["404 EXEC_NOT_FOUND", "404 EXEC_NOT_FOUND", "200", "200"];
    let exec_work = |done| ["409 NOT_READY", "409 NOT_READY", done, "409 SESSION_PAUSED"];
    let moving = ["409 NOT_READY", "200", "200", "200"];
    let mut rows = vec![
        read(SessionGet, "/v1/sessions/{id}"),
        read(SessionStatus, "/v1/sessions/{id}/status"),
        read(SessionExplain, "/v1/sessions/{id}/explain"),
        read(SessionAudit, "/v1/sessions/{id}/audit"),
        read(SessionEvents, "/v1/sessions/{id}/events"),
        read(ExecList, "/v1/sessions/{id}/execs"),
        row(ExecGet, ("GET", "/v1/sessions/{id}/execs/{exec}"), none(), exec_read, "200", "404 NOT_FOUND"),
        row(ExecOutput, ("GET", "/v1/sessions/{id}/execs/{exec}/output"), none(), exec_read, "200", "404 NOT_FOUND"),
        row(SessionPause, ("POST", "/v1/sessions/{id}/pause"), none(), moving, gone, gone),
        row(SessionResume, ("POST", "/v1/sessions/{id}/resume"), none(), moving, gone, gone),
        row(SessionTerminate, ("POST", "/v1/sessions/{id}/terminate"), none(), ["200"; 4], "200", "200"),
        row(SessionDelete, ("DELETE", "/v1/sessions/{id}"), none(), ["200"; 4], "200", "200"),
        row(SessionUndelete, ("POST", "/v1/sessions/{id}/undelete"), none(), ["200"; 4], "200", "200"),
        row(
            SessionTransition,
            ("POST", "/v1/sessions/{id}/transition"),
            json!({ "to": "paused" }),
            ["409 INVALID_TRANSITION", "200", "200", "200"],
            "409 INVALID_TRANSITION",
            "409 INVALID_TRANSITION",
        ),
        row(ExecRun, ("POST", "/v1/sessions/{id}/exec"), json!({ "cmd": ["true"] }), working("200"), gone, gone),
        row(ExecStdin, ("POST", "/v1/sessions/{id}/execs/{exec}/stdin"), json!("bytes"), exec_work("204"), gone, gone),
        row(
            ExecKill,
            ("POST", "/v1/sessions/{id}/execs/{exec}/kill"),
            json!({ "signal": "TERM" }),
            exec_work("200"),
            gone,
            gone,
        ),
        row(FileRead, ("GET", "/v1/sessions/{id}/files?path=file"), none(), working("200"), gone, gone),
        row(FileStat, ("GET", "/v1/sessions/{id}/stat?path=file"), none(), working("200"), gone, gone),
        row(DirList, ("GET", "/v1/sessions/{id}/dirs?path=/workspace"), none(), working("200"), gone, gone),
        row(FileWatch, ("GET", "/v1/sessions/{id}/watch?path=/workspace"), none(), working("200"), gone, gone),
        row(FileWrite, ("PUT", "/v1/sessions/{id}/files?path=other"), json!("x"), working("204"), gone, gone),
        row(FileDelete, ("DELETE", "/v1/sessions/{id}/files?path=file"), none(), working("204"), gone, gone),
        row(
            PreviewRegister,
            ("POST", "/v1/sessions/{id}/previews"),
            json!({ "port": 9000 }),
            working("200"),
            gone,
            gone,
        ),
        row(PreviewList, ("GET", "/v1/sessions/{id}/previews"), none(), working("200"), gone, gone),
        row(PreviewRemove, ("DELETE", "/v1/sessions/{id}/previews/8080"), none(), working("204"), gone, gone),
        row(PreviewHealth, ("GET", "/v1/sessions/{id}/previews/8080/health"), none(), working("200"), gone, gone),
        row(
            PreviewProxy,
            ("GET", "/v1/sessions/{id}/preview/8080/"),
            none(),
            working("502 PREVIEW_UNREACHABLE"),
            gone,
            gone,
        ),
        // Without an upgrade: what the gate says, and where it lets in that this is a WebSocket.
        row(Terminal, ("GET", "/v1/sessions/{id}/terminal"), none(), working("400 BAD_REQUEST"), gone, gone),
        row(
            TicketCreate,
            ("POST", "/v1/tickets"),
            json!({ "session_id": "{id}", "use": "events" }),
            ["200"; 4],
            gone,
            gone,
        ),
    ];
    let no_lease = ["409 NO_LEASE"; 4];
    rows.push(row(LeaseHeartbeat, ("POST", "/v1/sessions/{id}/heartbeat"), none(), no_lease, gone, gone));
    rows.push(row(LeaseTake, ("POST", "/v1/sessions/{id}/lease"), json!({}), ["200"; 4], gone, gone));
    rows.push(row(LeaseRelease, ("DELETE", "/v1/sessions/{id}/lease"), none(), ["200"; 4], gone, gone));
    let admin =
        |operation, request, body, live| Row { admin_only: true, ..row(operation, request, body, live, gone, gone) };
    rows.push(admin(SessionExtend, ("POST", "/v1/sessions/{id}/extend"), json!({ "by_ms": 1000 }), ["200"; 4]));
    let environment = "/v1/sessions/{id}/environment";
    rows.push(admin(EnvironmentGet, ("GET", environment), none(), ["200"; 4]));
    rows.push(admin(EnvironmentCreate, ("POST", environment), none(), ["409 ENVIRONMENT_EXISTS"; 4]));
    rows.push(admin(EnvironmentDelete, ("DELETE", environment), none(), ["200"; 4]));
    rows.push(Row { admin_only: true, ..read(CleanupCheck, "/v1/admin/check/{id}") });
    rows
}

/// An operation in a state, by everybody.
async fn check(house: &House, row: &Row, state: In) {
    let set = session_in(house, state, Holds::NoLease).await;
    let come = async |who| said(row.request(house, who, &set).send().await.unwrap()).await;
    let what = format!("{} in {state:?}", row.operation);
    assert_eq!(come(As::Nobody).await, "401 UNAUTHENTICATED", "{what}, by nobody");
    assert_eq!(come(As::Other).await, "404 NOT_FOUND", "{what}, by somebody else");
    let owner = if row.admin_only { "403 ACCESS_DENIED" } else { row.expected(state) };
    assert_eq!(come(As::Owner).await, owner, "{what}, by the owner");
    let again = session_in(house, state, Holds::NoLease).await;
    let admin = said(row.request(house, As::Admin, &again).send().await.unwrap()).await;
    assert_eq!(admin, row.expected(state), "{what}, by an administrator");
}

/// An operation in a state while somebody holds the lease, by the owner and by an administrator, whom the fence keeps out as well.
async fn check_held(house: &House, row: &Row, state: In, holds: Holds) {
    for who in [As::Owner, As::Admin] {
        let set = session_in(house, state, holds).await;
        let come = said(row.request(house, who, &set).send().await.unwrap()).await;
        let denied = row.admin_only && who == As::Owner;
        let expected = if denied { "403 ACCESS_DENIED" } else { row.expected_of(state, holds) };
        assert_eq!(come, expected, "{} in {state:?}, holding {holds:?}, by {who:?}", row.operation);
    }
}

/// Every row in every state, but for two that wait until the environment is made, which here it never is.
fn cells() -> impl Iterator<Item = (Row, In)> {
    let waits = |row: &Row| matches!(row.operation, SessionExtend | EnvironmentCreate);
    let cells = ALL.into_iter().flat_map(|state| rows().into_iter().map(move |row| (row, state)));
    cells.filter(move |(row, state)| !(waits(row) && *state == In::Initializing))
}

/// TM-3, TM-4, AU-3, AP-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_in_every_state_to_everybody_as_the_table_says() {
    let house = House::open().await;
    for (row, state) in cells() {
        check(&house, &row, state).await;
    }
}

/// LS-7, TM-4: no token, the current one, a stale one; without a lease it is the table above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_in_every_state_to_every_holder_as_the_table_says() {
    let house = House::open().await;
    for (row, state) in cells() {
        // Nobody holds what has ended.
        let all = [Holds::Stale, Holds::Nothing, Holds::Current];
        for holds in if state.lives() { &all[..] } else { &all[..1] } {
            check_held(&house, &row, state, *holds).await;
        }
    }
}

/// What an operation about no session comes to: for a user, for an administrator, for nobody.
fn services() -> Vec<(Operation, &'static str, &'static str, Value, [&'static str; 3])> {
    let (denied, nobody, none) = ("403 ACCESS_DENIED", "401 UNAUTHENTICATED", Value::Null);
    let session = "exec_20261121_020944_4ad060d9";
    vec![
        (SessionCreate, "POST", "/v1/sessions", json!({}), ["201", "201", nobody]),
        (SessionList, "GET", "/v1/sessions", none.clone(), ["200", "200", nobody]),
        (KeyCreate, "POST", "/v1/keys", json!({ "role": "user", "user": "carol" }), [denied, "201", nobody]),
        (KeyList, "GET", "/v1/keys", none.clone(), [denied, "200", nobody]),
        (KeyRevoke, "DELETE", "/v1/keys/key_0000000000000000", none.clone(), [denied, "404 KEY_NOT_FOUND", nobody]),
        (
            KeyRotate,
            "POST",
            "/v1/keys/key_0000000000000000/rotate",
            none.clone(),
            [denied, "404 KEY_NOT_FOUND", nobody],
        ),
        (TemplateCreate, "POST", "/v1/templates", json!({ "name": "t", "base": "default" }), [denied, "201", nobody]),
        (TemplateList, "GET", "/v1/templates", none.clone(), [denied, "200", nobody]),
        (TemplateGet, "GET", "/v1/templates/t", none.clone(), [denied, "200", nobody]),
        (TemplateDelete, "DELETE", "/v1/templates/t", none.clone(), [denied, "204", nobody]),
        (AuditList, "GET", "/v1/audit", none.clone(), [denied, "200", nobody]),
        (AuditVerify, "POST", "/v1/audit/verify", none.clone(), [denied, "200", nobody]),
        (
            AccessAuthorize,
            "POST",
            "/v1/access/authorize",
            json!({ "session_id": session, "user_id": "alice" }),
            [denied, denied, nobody],
        ),
        (AccessDeny, "POST", "/v1/access/deny", json!({ "reason": "why" }), [denied, denied, nobody]),
        (CleanupSweep, "POST", "/v1/admin/sweep?dry_run=true", none.clone(), [denied, "200", nobody]),
        (Backup, "POST", "/v1/admin/backup", none.clone(), [denied, "200", nobody]),
        (MetricsGet, "GET", "/metrics", none.clone(), [denied, "200", nobody]),
        (HealthGet, "GET", "/healthz", none.clone(), ["200"; 3]),
        (ReadyGet, "GET", "/readyz", none.clone(), ["200"; 3]),
        (OpenapiGet, "GET", "/openapi.json", none, ["200"; 3]),
    ]
}

/// AU-3, EN-8, AP-1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_about_no_session_answers_to_everybody_as_the_table_says() {
    let house = House::open().await;
    for (operation, method, path, body, expected) in services() {
        for (who, expected) in [As::Owner, As::Admin, As::Nobody].into_iter().zip(expected) {
            let request = house.request(who, method, path);
            let request = if body.is_null() { request } else { request.json(&body) };
            assert_eq!(said(request.send().await.unwrap()).await, expected, "{operation} by {who:?}");
        }
    }
}

/// AP-1
#[test]
fn no_operation_is_left_out_of_these_tables() {
    let mut tried: BTreeSet<Operation> = rows().iter().map(|row| row.operation).collect();
    tried.extend(services().iter().map(|row| row.0));
    assert_eq!(tried, Operation::ALL.iter().copied().collect());
}
