//! Somebody with the database file and SQL of their own: what was written once stays, whatever they try.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use rusqlite::Connection;
use sample::*;
use serde_json::json;
use std::path::PathBuf;
use tempfile::TempDir;
use tenure_session::{EnvironmentState, TerminationReason};
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tenure_store::*;

struct Attack {
    sql: Connection,
    path: PathBuf,
    _directory: TempDir,
}

/// A database with a live session (1), an ended one (2), a failed one (3), a deleted one (4), an archived one (5), a purged one (6), an exec with an outcome and
/// one without, a claimed key with an answer, a template, a revoked key and its audit.
async fn attack() -> Attack {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    let store =
        SqliteStore::open(SqliteOptions { heads: Some(signing(directory.path())), ..SqliteOptions::new(&path) });
    let store = store.unwrap();
    for n in 1..=4 {
        store.session_create(SessionCreate { claim: Some(claim(n)), ..create(n) }).await.unwrap();
    }
    for n in [1, 2] {
        store.exec_intend(exec(n, n)).await.unwrap();
    }
    assert_eq!(store.exec_settle(&exec_id(2), outcome(), None).await, Ok(true));
    store.idempotency_answer(&"alice".parse().unwrap(), "key-2", answer()).await.unwrap();
    store.session_end(end(2, TerminationReason::UserRequest)).await.unwrap();
    store.session_end(end(3, TerminationReason::FailedRuntime)).await.unwrap();
    let ended = end(4, TerminationReason::Deleted);
    let delete =
        SessionDelete { id: id(4), at: at(30), end: (ended.end, ended.entry), entry: entry(4, "session_delete") };
    store.session_delete(delete).await.unwrap();
    for n in [5, 6] {
        retain(&store, n).await;
    }
    store.template_put(template(), service_entry("template_put")).await.unwrap();
    store.key_create(key(1), service_entry("key_create")).await.unwrap();
    store.key_create(key(2), service_entry("key_create")).await.unwrap();
    store.key_revoke(&key(1).id, at(5), service_entry("key_revoke")).await.unwrap();
    store.close().await;
    let sql = Connection::open(&path).unwrap();
    Attack { sql, path, _directory: directory }
}

/// The n-th session with its exec and its answer, archived, and purged where it is the sixth.
async fn retain(store: &SqliteStore, n: u32) {
    store.session_create(SessionCreate { claim: Some(claim(n)), ..create(n) }).await.unwrap();
    store.exec_intend(exec(n, n)).await.unwrap();
    assert_eq!(store.exec_settle(&exec_id(n), outcome(), None).await, Ok(true));
    store.idempotency_answer(&"alice".parse().unwrap(), &format!("key-{n}"), answer()).await.unwrap();
    store.session_end(end(n, TerminationReason::Completed)).await.unwrap();
    store.session_environment(&id(n), 1, EnvironmentState::Gone, at(22), None).await.unwrap();
    let content = store.retention_content(&id(n)).await.unwrap().unwrap().pack().unwrap();
    let entry_of = |action| entry(n, action);
    let archive = RetentionArchive {
        id: id(n),
        at: at(100),
        deleted_at: None,
        content,
        output: None,
        entry: entry_of("archive"),
    };
    assert!(matches!(store.retention_archive(archive).await.unwrap(), Changed::Done(_)));
    if n == 6 {
        let purge = RetentionPurge { id: id(n), at: at(200), entry: entry_of("purge") };
        assert!(matches!(store.retention_purge(purge).await.unwrap(), Changed::Done(_)));
    }
}

impl Attack {
    /// Each of these is refused, also where REPLACE resolves conflicts, and with recursive triggers on or off; and nothing changed.
    fn all_refused(&self, table: &str, statements: &[&str]) {
        let before = self.rows(table);
        assert!(!before.is_empty(), "there is something to attack in {table}");
        for recursive in [false, true] {
            self.sql.pragma_update(None, "recursive_triggers", recursive).unwrap();
            for statement in statements {
                self.refused(statement);
                if let Some(rest) = statement.strip_prefix("UPDATE ") {
                    self.refused(&format!("UPDATE OR REPLACE {rest}"));
                }
            }
        }
        assert_eq!(self.rows(table), before, "{table} is as it was");
    }

    fn refused(&self, statement: &str) {
        let done = self.sql.execute(statement, []);
        let error = done.expect_err(statement);
        let code = error.sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation), "{statement}: {error}");
    }

    /// Everything in a table, as text.
    fn rows(&self, table: &str) -> Vec<String> {
        let mut query = self.sql.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            let values: Result<Vec<_>, _> = (0..columns).map(|n| row.get::<_, rusqlite::types::Value>(n)).collect();
            Ok(format!("{:?}", values?))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

/// TM-1, TM-2
#[tokio::test]
async fn the_end_of_a_session_is_not_cleared_changed_or_taken_back() {
    let attack = attack().await;
    let (ended, failed, deleted) = (id(2), id(3), id(4));
    let mut statements = Vec::new();
    for id in [&ended, &failed, &deleted] {
        for change in [
            "terminated_at = NULL",
            "terminated_at = terminated_at + 1",
            "termination_reason = NULL",
            "termination_reason = 'max_lifetime'",
            "termination_reason = 'failed_infra'",
            "termination_detail = 'another'",
            "termination_detail = NULL",
            "state = 'running'",
            "state = 'failed', termination_reason = 'failed_infra', failure = '{}'",
            "state = 'ready', terminated_at = NULL, termination_reason = NULL, termination_detail = NULL, failure = NULL, deadline_at = 1",
            "deadline_at = 1",
        ] {
            statements.push(format!("UPDATE sessions SET {change} WHERE id = '{id}'"));
        }
    }
    statements.push(format!("UPDATE sessions SET failure = NULL WHERE id = '{failed}'"));
    statements.push(format!("UPDATE sessions SET failure = '{{}}' WHERE id = '{failed}'"));
    statements.push(format!("UPDATE sessions SET failure = '{{}}' WHERE id = '{ended}'"));
    let statements: Vec<_> = statements.iter().map(String::as_str).collect();
    attack.all_refused("sessions", &statements);
}

/// TM-1, LC-3, LC-4
#[tokio::test]
async fn a_live_session_does_not_get_what_it_cannot_have() {
    let attack = attack().await;
    let live = id(1);
    let changes = [
        "state = 'sleeping'",
        "state = 'created'",
        "state = 'ready'",
        "state = 'terminated'",
        "terminated_at = 5",
        "termination_reason = 'user_request'",
        "state = 'terminated', terminated_at = 5, deadline_at = NULL",
        "state = 'terminated', terminated_at = 5, termination_reason = 'boredom', deadline_at = NULL",
        "state = 'terminated', terminated_at = 5, termination_reason = 'failed_infra', deadline_at = NULL",
        "state = 'failed', terminated_at = 5, termination_reason = 'failed_infra', deadline_at = NULL",
        "state = 'failed', terminated_at = 5, termination_reason = 'user_request', failure = '{}', deadline_at = NULL",
        "state = 'failed', terminated_at = 5, termination_reason = 'environment_lost', deadline_at = NULL",
        "deleted_at = 5",
        "deadline_at = NULL",
        "resumes_to = 'ready'",
        "state = 'paused', resumes_to = 'failed'",
        "environment_state = 'happy'",
        "environment_generation = NULL",
        "lease_token = NULL",
        "lease_token = 2",
        "lease_token = NULL, lease_ttl_ms = NULL, lease_interval_ms = NULL, lease_expires_at = NULL, lease_token_last = 0",
        "lease_token = 0",
        "lease_token = 2",
        "lease_token_last = 0",
        "lease_expires_at = lease_expires_at - 1",
        "created_at = 'yesterday'",
        "owner = 'mallory'",
        "id = 'exec_20260101_000000_00000000'",
        "n = 99",
        "n = 2",
        "template = 'other@1'",
        "created_at = 1",
    ];
    let statements = changes.map(|change| format!("UPDATE sessions SET {change} WHERE id = '{live}'"));
    attack.all_refused("sessions", &statements.each_ref().map(String::as_str));
}

/// TM-1, TR-1
#[tokio::test]
async fn sessions_are_not_removed_or_replaced() {
    let attack = attack().await;
    let columns: Vec<String> = {
        let mut query = attack.sql.prepare("SELECT name FROM pragma_table_info('sessions')").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let copied = |changes: &[(&str, &str)]| {
        let change = |name: &String| changes.iter().find(|(of, _)| of == name).map(|(_, to)| (*to).to_owned());
        columns.iter().map(|name| change(name).unwrap_or_else(|| name.clone())).collect::<Vec<_>>().join(", ")
    };
    let live = [
        ("state", "'running'"),
        ("terminated_at", "NULL"),
        ("termination_reason", "NULL"),
        ("termination_detail", "NULL"),
    ];
    let same_id = copied(&[&live[..], &[("n", "NULL"), ("deadline_at", "1")]].concat());
    let same_place = copied(&[&live[..], &[("id", "'exec_20260101_000000_00000000'"), ("deadline_at", "1")]].concat());
    let names = columns.join(", ");
    let from = |columns: &str| {
        format!("INTO sessions ({names}) SELECT {columns} FROM sessions WHERE state = 'terminated' LIMIT 1")
    };
    let statements = [
        "DELETE FROM sessions".to_owned(),
        format!("INSERT OR REPLACE {}", from(&same_id)),
        format!("INSERT OR REPLACE {}", from(&same_place)),
        format!("REPLACE {}", from(&names)),
        format!("INSERT {} ON CONFLICT (id) DO UPDATE SET terminated_at = NULL", from(&same_id)),
        format!("UPDATE sessions SET id = '{}' WHERE id = '{}'", id(2), id(1)),
        format!("UPDATE sessions SET rowid = (SELECT n FROM sessions WHERE id = '{}') WHERE id = '{}'", id(2), id(1)),
        "DELETE FROM execs".to_owned(),
        "DELETE FROM idempotency_keys".to_owned(),
        "DELETE FROM keys".to_owned(),
        "DELETE FROM templates".to_owned(),
    ];
    attack.all_refused("sessions", &statements.each_ref().map(String::as_str));
}

/// TR-4, TR-5
#[tokio::test]
async fn the_audit_is_not_rewritten() {
    let attack = attack().await;
    let columns = "chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash";
    let copy = |position: &str| {
        format!("INTO audit (position, {columns}) SELECT {position}, {columns} FROM audit WHERE position = 3")
    };
    let mut statements: Vec<String> = [
        "actor = 'user:mallory'",
        "action = 'nothing'",
        "at = at + 1",
        "old_state = 'paused'",
        "new_state = 'paused'",
        "reason = 'another'",
        "trigger = 'recovery'",
        "trigger = 'fate'",
        "metadata = '{}'",
        "metadata_hash = ''",
        "hash = ''",
        "prev_hash = ''",
        "line_hash = ''",
        "seq = seq + 1",
        "chain = 'other'",
        "position = position + 1000",
        "position = 4",
    ]
    .map(|change| format!("UPDATE audit SET {change} WHERE position = 3"))
    .into();
    statements.extend([
        "DELETE FROM audit".to_owned(),
        "DELETE FROM audit WHERE position = (SELECT max(position) FROM audit)".to_owned(),
    ]);
    for position in ["3", "NULL", "0", "-1", "1000"] {
        statements.push(format!("INSERT {}", copy(position)));
        statements.push(format!("INSERT OR REPLACE {}", copy(position)));
    }
    attack.all_refused("audit", &statements.iter().map(String::as_str).collect::<Vec<_>>());
    let heads = [
        "DELETE FROM audit_heads",
        "UPDATE audit_heads SET signature = ''",
        "INSERT OR REPLACE INTO audit_heads SELECT position, line_hash, at, 'other' FROM audit_heads",
        "INSERT INTO audit_heads SELECT 1, line_hash, at, 'other' FROM audit_heads",
    ];
    attack.all_refused("audit_heads", &heads);

    // Metadata can be erased, and erasing it breaks no chain.
    assert_eq!(attack.sql.execute("UPDATE audit SET metadata = NULL WHERE position = 3", []), Ok(1));
    attack.all_refused("audit", &["UPDATE audit SET metadata = '{}' WHERE position = 3"]);
    let store = SqliteStore::open(SqliteOptions::new(&attack.path)).unwrap();
    audit_holds(&store).await;
}

/// EN-4, LC-6
#[tokio::test]
async fn outcomes_and_answers_are_written_once() {
    let attack = attack().await;
    let settled = exec_id(2);
    let open = exec_id(1);
    let execs = [
        format!("UPDATE execs SET outcome = '{{}}' WHERE id = '{settled}'"),
        format!("UPDATE execs SET state = 'started', ended_at = NULL, outcome = NULL WHERE id = '{settled}'"),
        format!("UPDATE execs SET state = 'unknown' WHERE id = '{settled}'"),
        format!("UPDATE execs SET ended_at = 7 WHERE id = '{settled}'"),
        format!("UPDATE execs SET id = '{settled}' WHERE id = '{open}'"),
        format!("UPDATE execs SET n = 2 WHERE id = '{open}'"),
        format!("UPDATE execs SET cmd = '[]' WHERE id = '{open}'"),
        format!("UPDATE execs SET state = 'dreaming' WHERE id = '{open}'"),
        format!("UPDATE execs SET state = 'exited' WHERE id = '{open}'"),
        format!("UPDATE execs SET session_id = '{}' WHERE id = '{open}'", id(2)),
        "INSERT OR REPLACE INTO execs SELECT * FROM execs".to_owned(),
        "INSERT OR REPLACE INTO execs (n, id, session_id, generation, cmd, cwd, background, state, created_at) \
         SELECT n, 'x_00000000000000ff', session_id, 1, '[]', '/', 0, 'intended', 1 FROM execs WHERE n = 2"
            .to_owned(),
    ];
    attack.all_refused("execs", &execs.each_ref().map(String::as_str));
    let keys = [
        "UPDATE idempotency_keys SET body = x'00' WHERE key = 'key-2'",
        "UPDATE idempotency_keys SET status = NULL, body = NULL WHERE key = 'key-2'",
        "UPDATE idempotency_keys SET digest = 'other' WHERE key = 'key-1'",
        "UPDATE idempotency_keys SET key = 'key-2' WHERE key = 'key-1'",
        "INSERT OR REPLACE INTO idempotency_keys SELECT * FROM idempotency_keys",
        "INSERT OR REPLACE INTO idempotency_keys SELECT NULL, user, key, operation, 'other', session_id, NULL, 1, NULL, NULL \
         FROM idempotency_keys WHERE key = 'key-2'",
    ];
    attack.all_refused("idempotency_keys", &keys);
}

/// AU-1, TP-1
#[tokio::test]
async fn a_revoked_key_and_a_version_stay_what_they_are() {
    let attack = attack().await;
    let (revoked, other) = (key(1), key(2));
    let keys = [
        format!("UPDATE keys SET revoked_at = NULL WHERE id = '{}'", revoked.id),
        format!("UPDATE keys SET role = 'admin' WHERE id = '{}'", other.id),
        format!("UPDATE keys SET digest = '{}' WHERE id = '{}'", revoked.digest, other.id),
        format!("UPDATE keys SET id = '{}' WHERE id = '{}'", revoked.id, other.id),
        "INSERT OR REPLACE INTO keys SELECT n, id, digest, 'admin', user, label, created_at, NULL, NULL FROM keys".to_owned(),
        "INSERT OR REPLACE INTO keys SELECT NULL, 'key_00000000000000ff', digest, 'admin', user, label, created_at, NULL, NULL FROM keys"
            .to_owned(),
        "INSERT INTO keys SELECT 99, 'key_00000000000000ff', 'new', 'god', user, label, 1, NULL, NULL FROM keys".to_owned(),
    ];
    attack.all_refused("keys", &keys.each_ref().map(String::as_str));
    let templates = [
        "UPDATE templates SET record = '{}'",
        "UPDATE templates SET version = 7",
        "REPLACE INTO templates SELECT name, version, '{}', created_at, removed_at FROM templates",
    ];
    attack.all_refused("templates", &templates);
}

/// TM-1, TR-6: after archiving, and after a purge, the end is as it was, and nothing leads back.
#[tokio::test]
async fn the_end_of_an_archived_session_is_not_cleared_or_changed_and_nothing_brings_it_back() {
    let attack = attack().await;
    let mut statements = Vec::new();
    for id in [id(5), id(6)] {
        for change in [
            "terminated_at = NULL",
            "terminated_at = terminated_at + 1",
            "termination_reason = NULL",
            "termination_reason = 'max_lifetime'",
            "termination_detail = 'another'",
            "state = 'running'",
            "state = 'ready', terminated_at = NULL, termination_reason = NULL, termination_detail = NULL, deadline_at = 1",
            "archived_at = NULL",
            "archived_at = archived_at + 1",
            "archived_at = NULL, purged_at = NULL",
            "purged_at = 5",
            "deleted_at = 5",
            "metadata = '{\"team\":\"red\"}'",
            "variables = '{\"a\":\"b\"}'",
        ] {
            statements.push(format!("UPDATE sessions SET {change} WHERE id = '{id}'"));
        }
        statements.push(format!("DELETE FROM sessions WHERE id = '{id}'"));
        statements.push(format!("REPLACE INTO sessions SELECT * FROM sessions WHERE id = '{id}'"));
    }
    statements.push(format!("UPDATE sessions SET purged_at = NULL WHERE id = '{}'", id(6)));
    statements.push(format!("UPDATE sessions SET termination_detail = NULL WHERE id = '{}'", id(5)));
    // Without an archive there is nothing to be archived by, and words do not go anywhere else.
    for n in [1, 2, 4] {
        for change in [
            "archived_at = 5",
            "archived_at = 5, metadata = '{}', variables = '{}'",
            "purged_at = 5",
            "metadata = '{}'",
        ] {
            statements.push(format!("UPDATE sessions SET {change} WHERE id = '{}'", id(n)));
        }
    }
    let statements: Vec<_> = statements.iter().map(String::as_str).collect();
    attack.all_refused("sessions", &statements);
}

/// TR-6, EN-4: an archive does not change, and rows leave for one, or not at all.
#[tokio::test]
async fn archives_stay_and_only_an_archive_takes_rows_away() {
    let attack = attack().await;
    let (live, ended, archived, purged) = (id(1), id(2), id(5), id(6));
    let columns = "session_id, archived_at, execs, content, content_digest, content_bytes, settled";
    let archives = [
        "DELETE FROM archives".to_owned(),
        "UPDATE archives SET content_digest = 'another'".to_owned(),
        "UPDATE archives SET content_bytes = 1".to_owned(),
        "UPDATE archives SET output_digest = 'd', output_bytes = 1".to_owned(),
        "UPDATE archives SET execs = 7".to_owned(),
        "UPDATE archives SET archived_at = 5".to_owned(),
        format!("UPDATE archives SET content = x'01' WHERE session_id = '{archived}'"),
        format!("UPDATE archives SET content = NULL WHERE session_id = '{archived}'"),
        format!("UPDATE archives SET purged_at = NULL WHERE session_id = '{purged}'"),
        format!("UPDATE archives SET purged_at = 7 WHERE session_id = '{purged}'"),
        format!("UPDATE archives SET purged_at = NULL, content = x'01' WHERE session_id = '{purged}'"),
        format!("UPDATE archives SET session_id = '{ended}' WHERE session_id = '{archived}'"),
        format!("INSERT INTO archives ({columns}) VALUES ('{live}', 1, 0, x'01', 'd', 1, 0)"),
        format!("INSERT INTO archives ({columns}) VALUES ('{archived}', 1, 0, x'01', 'd', 1, 0)"),
        format!("REPLACE INTO archives ({columns}) VALUES ('{purged}', 1, 0, x'01', 'd', 1, 0)"),
        "REPLACE INTO archives SELECT * FROM archives".to_owned(),
    ];
    attack.all_refused("archives", &archives.each_ref().map(String::as_str));
    let rows = [
        format!("DELETE FROM execs WHERE session_id = '{ended}'"),
        format!("DELETE FROM session_documents WHERE session_id = '{ended}'"),
        format!("INSERT INTO session_documents (session_id, document) VALUES ('{archived}', '{{}}')"),
        format!("INSERT INTO previews (session_id, port, created_at) VALUES ('{purged}', 8080, 1)"),
        format!(
            "INSERT INTO execs (id, session_id, generation, cmd, cwd, background, state, created_at) \
             VALUES ('x_00000000000000ff', '{archived}', 1, '[]', '/', 0, 'intended', 1)"
        ),
    ];
    attack.all_refused("execs", &rows.each_ref().map(String::as_str));
    let keys = [
        format!("UPDATE idempotency_keys SET body = x'' WHERE session_id = '{archived}'"),
        format!("UPDATE idempotency_keys SET body = x'00' WHERE session_id = '{purged}'"),
        format!("UPDATE idempotency_keys SET status = 500 WHERE session_id = '{purged}'"),
        format!("UPDATE idempotency_keys SET status = NULL, body = NULL WHERE session_id = '{purged}'"),
        format!("DELETE FROM idempotency_keys WHERE session_id = '{purged}'"),
        format!(
            "INSERT INTO idempotency_keys (user, key, operation, digest, session_id, exec_id, claimed_at) \
             VALUES ('alice', 'new', 'exec', 'd', '{live}', 'x_00000000000000ff', 1)"
        ),
    ];
    attack.all_refused("idempotency_keys", &keys.each_ref().map(String::as_str));
}

/// LC-5
#[tokio::test]
async fn nothing_belongs_to_a_session_that_is_not_there() {
    let attack = attack().await;
    let orphan = "exec_20260101_000000_00000000";
    let statements = [
        format!("INSERT INTO session_documents (session_id, document) VALUES ('{orphan}', '{{}}')"),
        format!("INSERT INTO previews (session_id, port, created_at) VALUES ('{orphan}', 8080, 1)"),
        format!(
            "INSERT INTO execs (id, session_id, generation, cmd, cwd, background, state, created_at) \
             VALUES ('x_00000000000000ff', '{orphan}', 1, '[]', '/', 0, 'intended', 1)"
        ),
        format!(
            "INSERT INTO idempotency_keys (user, key, operation, digest, session_id, claimed_at) \
             VALUES ('alice', 'new', 'exec', 'd', '{orphan}', 1)"
        ),
        "INSERT INTO audit_heads (position, line_hash, at, signature) VALUES (1000, '', 1, '')".to_owned(),
        format!("UPDATE session_documents SET session_id = '{orphan}' WHERE session_id = '{}'", id(1)),
        format!("INSERT OR REPLACE INTO session_documents (session_id, document) VALUES ('{}', '{{}}')", id(1)),
        format!("INSERT INTO previews (session_id, port, created_at) VALUES ('{}', 80, 1)", id(1)),
    ];
    attack.all_refused("session_documents", &statements.each_ref().map(String::as_str));
}

fn outcome() -> ExecOutcome {
    ExecOutcome {
        state: ExecLedgerState::Exited,
        ended_at: at(6),
        exit_code: Some(0),
        signal: None,
        timed_out: false,
        oom_killed: false,
        error: None,
        stdout: StreamTotal::default(),
        stderr: StreamTotal::default(),
        duration_ms: Some(1),
    }
}

fn answer() -> StoredAnswer {
    StoredAnswer { status: 201, body: json!({"id": id(2)}).to_string().into_bytes() }
}
