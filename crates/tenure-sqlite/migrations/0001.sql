-- Version 1: sessions, execs, idempotency keys, previews, API keys, templates, the audit and its heads.
--
-- Instants are milliseconds since 1970 (UTC). Text that is called JSON is written and read whole.
--
-- What must never change is guarded here, whoever writes. A guard against REPLACE is a BEFORE INSERT or BEFORE UPDATE trigger: REPLACE removes the row
-- in its way without asking any trigger for UPDATE, and asks one for DELETE only where the connection has recursive triggers on.
--
-- A CHECK compares with each word, and not with a list in IN: for a list of three words or more SQLite makes a table in memory, for each statement.

CREATE TABLE sessions (
  n                   INTEGER PRIMARY KEY CHECK (n > 0),
  id                  TEXT NOT NULL UNIQUE,
  owner               TEXT NOT NULL,
  template            TEXT NOT NULL,
  state               TEXT NOT NULL CHECK (state = 'created' OR state = 'initializing' OR state = 'ready'
                            OR state = 'running' OR state = 'paused' OR state = 'terminated' OR state = 'failed'),
  resumes_to          TEXT CHECK (resumes_to IN ('ready', 'running')),
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  limits              TEXT NOT NULL,      -- JSON
  enforced            TEXT NOT NULL,      -- JSON
  lifetime_ends_at    INTEGER NOT NULL,
  last_activity_at    INTEGER NOT NULL,
  last_activity       TEXT NOT NULL,
  lease_token         INTEGER,
  lease_ttl_ms        INTEGER,
  lease_interval_ms   INTEGER,
  lease_expires_at    INTEGER,
  lease_heartbeat_at  INTEGER,
  terminated_at       INTEGER,
  termination_reason  TEXT,
  termination_detail  TEXT,
  failure             TEXT,               -- JSON
  deleted_at          INTEGER,
  environment_id      TEXT,
  environment_generation INTEGER,
  environment_driver  TEXT,
  environment_state   TEXT CHECK (environment_state = 'none' OR environment_state = 'provisioning'
                            OR environment_state = 'ready' OR environment_state = 'frozen'
                            OR environment_state = 'recovering' OR environment_state = 'lost'
                            OR environment_state = 'gone'),
  metadata            TEXT NOT NULL,      -- JSON
  variables           TEXT NOT NULL,      -- JSON
  deadline_at         INTEGER,            -- never later than the instant at which the verdict can change
  CHECK (resumes_to IS NULL OR state = 'paused'),
  CHECK ((terminated_at IS NULL) = (state NOT IN ('terminated', 'failed'))),
  CHECK ((terminated_at IS NULL) = (termination_reason IS NULL)),
  CHECK (termination_reason IS NULL OR CASE termination_reason
    WHEN 'user_request' THEN 'terminated' WHEN 'admin_request' THEN 'terminated' WHEN 'completed' THEN 'terminated'
    WHEN 'max_lifetime' THEN 'terminated' WHEN 'idle_timeout' THEN 'terminated' WHEN 'lease_expired' THEN 'terminated'
    WHEN 'exec_concurrency' THEN 'terminated' WHEN 'deleted' THEN 'terminated'
    WHEN 'environment_lost' THEN 'failed' WHEN 'failed_init' THEN 'failed' WHEN 'failed_runtime' THEN 'failed' WHEN 'failed_infra' THEN 'failed'
    ELSE 'unknown' END = state),
  CHECK (termination_detail IS NULL OR terminated_at IS NOT NULL),
  CHECK ((failure IS NOT NULL) = (state = 'failed')),
  CHECK (deleted_at IS NULL OR terminated_at IS NOT NULL),
  CHECK ((deadline_at IS NULL) = (terminated_at IS NOT NULL)),
  CHECK ((lease_token IS NULL) = (lease_ttl_ms IS NULL) AND (lease_token IS NULL) = (lease_interval_ms IS NULL)
    AND (lease_token IS NULL) = (lease_expires_at IS NULL) AND (lease_heartbeat_at IS NULL OR lease_token IS NOT NULL)),
  CHECK ((environment_id IS NULL) = (environment_generation IS NULL) AND (environment_id IS NULL) = (environment_driver IS NULL)
    AND (environment_id IS NULL) = (environment_state IS NULL))
) STRICT;

CREATE INDEX sessions_by_age ON sessions (created_at, id);
CREATE INDEX sessions_by_owner ON sessions (owner, created_at, id);
CREATE INDEX sessions_due ON sessions (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX sessions_unfinished ON sessions (id)
  WHERE terminated_at IS NULL OR environment_state NOT IN ('none', 'gone');
CREATE INDEX sessions_by_state ON sessions (state) WHERE deleted_at IS NULL;

CREATE TRIGGER sessions_unique BEFORE INSERT ON sessions
  WHEN EXISTS (SELECT 1 FROM sessions WHERE id = NEW.id OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this session is there already'); END;
CREATE TRIGGER sessions_stay BEFORE DELETE ON sessions
  BEGIN SELECT RAISE(ABORT, 'sessions stay'); END;
CREATE TRIGGER sessions_origin BEFORE UPDATE OF n, id, owner, template, created_at ON sessions
  WHEN NEW.n IS NOT OLD.n OR NEW.id IS NOT OLD.id OR NEW.owner IS NOT OLD.owner OR NEW.template IS NOT OLD.template
    OR NEW.created_at IS NOT OLD.created_at
  BEGIN SELECT RAISE(ABORT, 'where a session comes from does not change'); END;
CREATE TRIGGER sessions_end_once BEFORE UPDATE OF state, terminated_at, termination_reason, termination_detail, failure ON sessions
  WHEN OLD.terminated_at IS NOT NULL AND (NEW.terminated_at IS NOT OLD.terminated_at
    OR NEW.termination_reason IS NOT OLD.termination_reason OR NEW.termination_detail IS NOT OLD.termination_detail
    OR NEW.failure IS NOT OLD.failure OR NEW.state IS NOT OLD.state)
  BEGIN SELECT RAISE(ABORT, 'the end of a session is written once'); END;
CREATE TRIGGER sessions_transition BEFORE UPDATE OF state ON sessions
  WHEN NEW.state IS NOT OLD.state AND NOT CASE OLD.state
    WHEN 'created' THEN NEW.state IN ('initializing', 'terminated', 'failed')
    WHEN 'initializing' THEN NEW.state IN ('ready', 'terminated', 'failed')
    WHEN 'ready' THEN NEW.state IN ('running', 'paused', 'terminated', 'failed')
    WHEN 'running' THEN NEW.state IN ('paused', 'terminated', 'failed')
    WHEN 'paused' THEN NEW.state IN ('ready', 'running', 'terminated', 'failed')
    ELSE FALSE END
  BEGIN SELECT RAISE(ABORT, 'no such transition'); END;

CREATE TABLE session_documents (
  session_id  TEXT PRIMARY KEY REFERENCES sessions (id),
  document    TEXT NOT NULL               -- JSON
) STRICT;

CREATE TRIGGER session_documents_unique BEFORE INSERT ON session_documents
  WHEN EXISTS (SELECT 1 FROM session_documents WHERE session_id = NEW.session_id)
  BEGIN SELECT RAISE(ABORT, 'this document is there already'); END;

CREATE TABLE execs (
  n           INTEGER PRIMARY KEY CHECK (n > 0),
  id          TEXT NOT NULL UNIQUE,
  session_id  TEXT NOT NULL REFERENCES sessions (id),
  generation  INTEGER NOT NULL,
  cmd         TEXT NOT NULL,              -- JSON
  cwd         TEXT NOT NULL,
  user        TEXT,
  tag         TEXT,
  background  INTEGER NOT NULL CHECK (background IN (0, 1)),
  timeout_ms  INTEGER,
  state       TEXT NOT NULL CHECK (state = 'intended' OR state = 'started' OR state = 'exited' OR state = 'killed'
                            OR state = 'failed' OR state = 'unknown'),
  created_at  INTEGER NOT NULL,
  started_at  INTEGER,
  ended_at    INTEGER,
  outcome     TEXT,                       -- JSON
  CHECK ((ended_at IS NULL) = (state IN ('intended', 'started'))),
  CHECK ((ended_at IS NULL) = (outcome IS NULL))
) STRICT;

CREATE INDEX execs_by_session ON execs (session_id, created_at);
CREATE INDEX execs_unsettled ON execs (session_id) WHERE ended_at IS NULL;

CREATE TRIGGER execs_unique BEFORE INSERT ON execs
  WHEN EXISTS (SELECT 1 FROM execs WHERE id = NEW.id OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this exec is there already'); END;
CREATE TRIGGER execs_stay BEFORE DELETE ON execs
  BEGIN SELECT RAISE(ABORT, 'execs stay'); END;
CREATE TRIGGER execs_settled_once BEFORE UPDATE ON execs
  WHEN OLD.ended_at IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'the outcome of an exec is written once'); END;
CREATE TRIGGER execs_origin BEFORE UPDATE ON execs
  WHEN NEW.n IS NOT OLD.n OR NEW.id IS NOT OLD.id OR NEW.session_id IS NOT OLD.session_id OR NEW.generation IS NOT OLD.generation
    OR NEW.cmd IS NOT OLD.cmd OR NEW.cwd IS NOT OLD.cwd OR NEW.user IS NOT OLD.user OR NEW.tag IS NOT OLD.tag
    OR NEW.background IS NOT OLD.background OR NEW.timeout_ms IS NOT OLD.timeout_ms OR NEW.created_at IS NOT OLD.created_at
    OR (OLD.started_at IS NOT NULL AND NEW.started_at IS NOT OLD.started_at)
    OR (OLD.state = 'started' AND NEW.state = 'intended')
  BEGIN SELECT RAISE(ABORT, 'what an exec was asked to do does not change'); END;

CREATE TABLE idempotency_keys (
  n            INTEGER PRIMARY KEY CHECK (n > 0),
  user         TEXT NOT NULL,
  key          TEXT NOT NULL,
  operation    TEXT NOT NULL,
  digest       TEXT NOT NULL,
  session_id   TEXT NOT NULL REFERENCES sessions (id),
  exec_id      TEXT REFERENCES execs (id),
  claimed_at   INTEGER NOT NULL,
  status       INTEGER,
  body         BLOB,
  UNIQUE (user, key),
  CHECK ((status IS NULL) = (body IS NULL))
) STRICT;

CREATE TRIGGER idempotency_keys_unique BEFORE INSERT ON idempotency_keys
  WHEN EXISTS (SELECT 1 FROM idempotency_keys WHERE (user = NEW.user AND key = NEW.key) OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this key is claimed already'); END;
CREATE TRIGGER idempotency_keys_stay BEFORE DELETE ON idempotency_keys
  BEGIN SELECT RAISE(ABORT, 'claimed keys stay'); END;
CREATE TRIGGER idempotency_keys_answered_once BEFORE UPDATE ON idempotency_keys
  WHEN OLD.status IS NOT NULL OR NEW.n IS NOT OLD.n OR NEW.user IS NOT OLD.user OR NEW.key IS NOT OLD.key
    OR NEW.operation IS NOT OLD.operation OR NEW.digest IS NOT OLD.digest OR NEW.session_id IS NOT OLD.session_id
    OR NEW.exec_id IS NOT OLD.exec_id OR NEW.claimed_at IS NOT OLD.claimed_at
  BEGIN SELECT RAISE(ABORT, 'the answer to a request is written once'); END;

CREATE TABLE previews (
  session_id  TEXT NOT NULL REFERENCES sessions (id),
  port        INTEGER NOT NULL CHECK (port BETWEEN 1024 AND 65535),
  created_at  INTEGER NOT NULL,
  PRIMARY KEY (session_id, port)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
  n           INTEGER PRIMARY KEY CHECK (n > 0),
  id          TEXT NOT NULL UNIQUE,
  digest      TEXT NOT NULL UNIQUE,
  role        TEXT NOT NULL CHECK (role IN ('user', 'admin')),
  user        TEXT NOT NULL,
  label       TEXT,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER,
  revoked_at  INTEGER
) STRICT;

CREATE TRIGGER keys_unique BEFORE INSERT ON keys
  WHEN EXISTS (SELECT 1 FROM keys WHERE id = NEW.id OR digest = NEW.digest OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this key is there already'); END;
CREATE TRIGGER keys_stay BEFORE DELETE ON keys
  BEGIN SELECT RAISE(ABORT, 'keys stay'); END;
CREATE TRIGGER keys_revoked_once BEFORE UPDATE ON keys
  WHEN OLD.revoked_at IS NOT NULL OR NEW.n IS NOT OLD.n OR NEW.id IS NOT OLD.id OR NEW.role IS NOT OLD.role
    OR NEW.user IS NOT OLD.user OR NEW.created_at IS NOT OLD.created_at
    OR EXISTS (SELECT 1 FROM keys WHERE digest = NEW.digest AND n <> OLD.n)
  BEGIN SELECT RAISE(ABORT, 'a revoked key stays revoked, and no key becomes another'); END;

CREATE TABLE templates (
  name        TEXT NOT NULL,
  version     INTEGER NOT NULL CHECK (version > 0),
  record      TEXT NOT NULL,              -- JSON
  created_at  INTEGER NOT NULL,
  removed_at  INTEGER,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER templates_unique BEFORE INSERT ON templates
  WHEN EXISTS (SELECT 1 FROM templates WHERE name = NEW.name AND version = NEW.version)
  BEGIN SELECT RAISE(ABORT, 'this version is there already'); END;
CREATE TRIGGER templates_stay BEFORE DELETE ON templates
  BEGIN SELECT RAISE(ABORT, 'versions stay'); END;
CREATE TRIGGER templates_version BEFORE UPDATE ON templates
  WHEN NEW.name IS NOT OLD.name OR NEW.version IS NOT OLD.version OR NEW.record IS NOT OLD.record
    OR NEW.created_at IS NOT OLD.created_at OR (OLD.removed_at IS NOT NULL AND NEW.removed_at IS NOT OLD.removed_at)
  BEGIN SELECT RAISE(ABORT, 'a version does not change'); END;

-- No foreign key to sessions: what is noted may be about an ID that nobody ever gave out.
CREATE TABLE audit (
  position       INTEGER PRIMARY KEY CHECK (position > 0),
  chain          TEXT NOT NULL,           -- the session, or '' for none
  seq            INTEGER NOT NULL CHECK (seq > 0),
  at             INTEGER NOT NULL,
  old_state      TEXT CHECK (old_state = 'created' OR old_state = 'initializing' OR old_state = 'ready'
                            OR old_state = 'running' OR old_state = 'paused' OR old_state = 'terminated'
                            OR old_state = 'failed'),
  new_state      TEXT CHECK (new_state = 'created' OR new_state = 'initializing' OR new_state = 'ready'
                            OR new_state = 'running' OR new_state = 'paused' OR new_state = 'terminated'
                            OR new_state = 'failed'),
  trigger        TEXT NOT NULL CHECK (trigger = 'user_action' OR trigger = 'api_call' OR trigger = 'system_timeout'
                            OR trigger = 'recovery' OR trigger = 'error'),
  actor          TEXT NOT NULL,
  action         TEXT NOT NULL,
  reason         TEXT,
  metadata       TEXT,                    -- JSON; NULL once it was erased
  metadata_hash  TEXT NOT NULL,
  hash           TEXT NOT NULL,
  prev_hash      TEXT NOT NULL,
  line_hash      TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX audit_by_chain ON audit (chain, seq);

-- Both ends are asked for, so that nothing is put in between or in the place of another.
CREATE TRIGGER audit_grows_at_its_end BEFORE INSERT ON audit
  WHEN NEW.position IS NOT (SELECT coalesce(max(position), 0) + 1 FROM audit)
    OR NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit WHERE chain = NEW.chain)
  BEGIN SELECT RAISE(ABORT, 'the audit grows at its end'); END;
CREATE TRIGGER audit_stays BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit stays'); END;
CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
  WHEN NEW.metadata IS NOT NULL OR NEW.position IS NOT OLD.position OR NEW.chain IS NOT OLD.chain OR NEW.seq IS NOT OLD.seq
    OR NEW.at IS NOT OLD.at OR NEW.old_state IS NOT OLD.old_state OR NEW.new_state IS NOT OLD.new_state
    OR NEW.trigger IS NOT OLD.trigger OR NEW.actor IS NOT OLD.actor OR NEW.action IS NOT OLD.action OR NEW.reason IS NOT OLD.reason
    OR NEW.metadata_hash IS NOT OLD.metadata_hash OR NEW.hash IS NOT OLD.hash OR NEW.prev_hash IS NOT OLD.prev_hash
    OR NEW.line_hash IS NOT OLD.line_hash
  BEGIN SELECT RAISE(ABORT, 'the audit is not rewritten'); END;

CREATE TABLE audit_heads (
  position   INTEGER PRIMARY KEY REFERENCES audit (position),
  line_hash  TEXT NOT NULL,
  at         INTEGER NOT NULL,
  signature  TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_heads_grow_at_their_end BEFORE INSERT ON audit_heads
  WHEN NEW.position <= (SELECT coalesce(max(position), 0) FROM audit_heads)
  BEGIN SELECT RAISE(ABORT, 'the heads grow at their end'); END;
CREATE TRIGGER audit_heads_stay BEFORE DELETE ON audit_heads
  BEGIN SELECT RAISE(ABORT, 'the heads stay'); END;
CREATE TRIGGER audit_heads_are_not_rewritten BEFORE UPDATE ON audit_heads
  BEGIN SELECT RAISE(ABORT, 'the heads are not rewritten'); END;

CREATE TABLE clock (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  boot_id   TEXT NOT NULL,
  boot_ms   INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  seen_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE probe (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  times  INTEGER NOT NULL
) STRICT;
INSERT INTO probe (one, times) VALUES (1, 0);
