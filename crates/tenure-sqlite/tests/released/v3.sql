-- A database as version 3 left it. Never changed: it stands for those that are out there.
PRAGMA application_id = 1415933557;
PRAGMA user_version = 3;

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
  deadline_at         INTEGER, lease_token_last INTEGER NOT NULL DEFAULT 0, archived_at INTEGER, purged_at INTEGER,            -- never later than the instant at which the verdict can change
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
CREATE TABLE session_documents (
  session_id  TEXT PRIMARY KEY REFERENCES sessions (id),
  document    TEXT NOT NULL               -- JSON
) STRICT;
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
CREATE TABLE templates (
  name        TEXT NOT NULL,
  version     INTEGER NOT NULL CHECK (version > 0),
  record      TEXT NOT NULL,              -- JSON
  created_at  INTEGER NOT NULL,
  removed_at  INTEGER,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
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
CREATE TABLE audit_heads (
  position   INTEGER PRIMARY KEY REFERENCES audit (position),
  line_hash  TEXT NOT NULL,
  at         INTEGER NOT NULL,
  signature  TEXT NOT NULL
) STRICT;
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
CREATE TABLE archives (
  session_id      TEXT PRIMARY KEY REFERENCES sessions (id),
  archived_at     INTEGER NOT NULL,
  purged_at       INTEGER,
  execs           INTEGER NOT NULL,     -- how many there were
  content         BLOB,                 -- a version byte, then compressed; NULL once it was purged
  content_digest  TEXT NOT NULL,        -- SHA-256 of what was compressed, in hex
  content_bytes   INTEGER NOT NULL,     -- the length of what was compressed
  output_digest   TEXT,                 -- the same of what its programs printed; NULL where nothing is kept of that
  output_bytes    INTEGER,
  settled         INTEGER NOT NULL CHECK (settled IN (0, 1)),  -- whether the files agree with this row
  CHECK ((content IS NULL) = (purged_at IS NOT NULL)),
  CHECK ((output_digest IS NULL) = (output_bytes IS NULL))
) STRICT;
CREATE TABLE "idempotency_keys" (
  n            INTEGER PRIMARY KEY CHECK (n > 0),
  user         TEXT NOT NULL,
  key          TEXT NOT NULL,
  operation    TEXT NOT NULL,
  digest       TEXT NOT NULL,
  session_id   TEXT NOT NULL REFERENCES sessions (id),
  exec_id      TEXT,
  claimed_at   INTEGER NOT NULL,
  status       INTEGER,
  body         BLOB,                    -- empty once its session was purged
  UNIQUE (user, key),
  CHECK ((status IS NULL) = (body IS NULL))
) STRICT;
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (1, 'exec_20261121_020944_00000001', 'alice', 'default@1', 'running', NULL, 1795226984050, 1795226984055, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984055, 'exec', 1, 60000, 5000, 1795227044050, NULL, NULL, NULL, NULL, NULL, NULL, 'env_0000000000000001', 1, 'linux', 'ready', '{"team":"blue"}', '{}', 1795227044050, 1, NULL, NULL);
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (2, 'exec_20261121_020944_00000002', 'alice', 'default@1', 'terminated', NULL, 1795226984050, 1795226984071, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984055, 'exec', 1, 60000, 5000, 1795227044050, NULL, 1795226984070, 'user_request', 'enough', NULL, NULL, 'env_0000000000000002', 1, 'linux', 'ready', '{"team":"blue"}', '{}', NULL, 1, NULL, NULL);
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (3, 'exec_20261121_020944_00000003', 'alice', 'default@1', 'failed', NULL, 1795226984050, 1795226984071, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984050, 'session_create', 1, 60000, 5000, 1795227044050, NULL, 1795226984070, 'failed_runtime', 'enough', '{"type":"runtime","severity":"high","message":"the environment failed while it was in use","user_message":"The session stopped unexpectedly. Create a new one.","recoverable":true,"recovery_action":"create_new"}', NULL, 'env_0000000000000003', 1, 'linux', 'ready', '{"team":"blue"}', '{}', NULL, 1, NULL, NULL);
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (4, 'exec_20261121_020944_00000004', 'alice', 'default@1', 'terminated', NULL, 1795226984050, 1795226984080, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984050, 'session_create', 1, 60000, 5000, 1795227044050, NULL, 1795226984070, 'deleted', 'enough', NULL, 1795226984080, 'env_0000000000000004', 1, 'linux', 'ready', '{"team":"blue"}', '{}', NULL, 1, NULL, NULL);
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (5, 'exec_20261121_020944_00000005', 'alice', 'default@1', 'terminated', NULL, 1795226984050, 1795226984150, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984055, 'exec', 1, 60000, 5000, 1795227044050, NULL, 1795226984070, 'user_request', 'enough', NULL, NULL, 'env_0000000000000005', 1, 'linux', 'gone', '{}', '{}', NULL, 1, 1795226984150, NULL);
INSERT INTO sessions (n, id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, environment_state, metadata, variables, deadline_at, lease_token_last, archived_at, purged_at) VALUES (6, 'exec_20261121_020944_00000006', 'alice', 'default@1', 'terminated', NULL, 1795226984050, 1795226984250, '{"max_lifetime_ms":86400000,"idle_timeout_ms":1800000,"max_concurrent_execs":16,"on_exec_limit":"terminate","cpu_millis":1000,"memory_bytes":536870912,"pids":256,"disk_bytes":2147483648,"network":"none"}', '{"cpu":false,"memory":false,"pids":false,"disk":false}', 1795313384050, 1795226984055, 'exec', 1, 60000, 5000, 1795227044050, NULL, 1795226984070, 'user_request', NULL, NULL, NULL, 'env_0000000000000006', 1, 'linux', 'gone', '{}', '{}', NULL, 1, 1795226984150, 1795226984250);
INSERT INTO session_documents (session_id, document) VALUES ('exec_20261121_020944_00000001', '{"rooms":[]}');
INSERT INTO session_documents (session_id, document) VALUES ('exec_20261121_020944_00000002', '{"rooms":[]}');
INSERT INTO session_documents (session_id, document) VALUES ('exec_20261121_020944_00000003', '{"rooms":[]}');
INSERT INTO session_documents (session_id, document) VALUES ('exec_20261121_020944_00000004', '{"rooms":[]}');
INSERT INTO execs (n, id, session_id, generation, cmd, cwd, user, tag, background, timeout_ms, state, created_at, started_at, ended_at, outcome) VALUES (1, 'x_0000000000000001', 'exec_20261121_020944_00000001', 1, '["true"]', '/', NULL, NULL, 0, NULL, 'intended', 1795226984055, NULL, NULL, NULL);
INSERT INTO execs (n, id, session_id, generation, cmd, cwd, user, tag, background, timeout_ms, state, created_at, started_at, ended_at, outcome) VALUES (2, 'x_0000000000000002', 'exec_20261121_020944_00000002', 1, '["true"]', '/', NULL, NULL, 0, NULL, 'exited', 1795226984055, NULL, 1795226984056, '{"state":"exited","ended_at":"2026-11-21T02:09:44.056Z","exit_code":0,"signal":null,"timed_out":false,"oom_killed":false,"error":null,"stdout":{"bytes":0,"dropped":0},"stderr":{"bytes":0,"dropped":0},"duration_ms":1}');
INSERT INTO keys (n, id, digest, role, user, label, created_at, expires_at, revoked_at) VALUES (1, 'key_0000000000000001', '0000000000000000000000000000000000000000000000000000000000000001', 'user', 'alice', NULL, 1795226984051, NULL, 1795226984055);
INSERT INTO keys (n, id, digest, role, user, label, created_at, expires_at, revoked_at) VALUES (2, 'key_0000000000000002', '0000000000000000000000000000000000000000000000000000000000000002', 'user', 'alice', NULL, 1795226984051, NULL, NULL);
INSERT INTO templates (name, version, record, created_at, removed_at) VALUES ('default', 1, '{"name":"default","version":1,"base":"host","limits":{},"lease":null,"env":{},"start_command":null,"profile":"plain","allow_unenforced":false,"created_at":"2026-11-21T02:09:44.051Z"}', 1795226984051, NULL);
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (1, 'exec_20261121_020944_00000001', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, '{"n":1}', '2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd', '66bc2291fd2ce0a53ee418190f8fe88203724dcf4ff2bd6f61825d4212c2f91b', '0000000000000000000000000000000000000000000000000000000000000000', '7598eafd36608261a721205f4273d0450c9792875fdd90a739c17fc99880bf78');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (2, 'exec_20261121_020944_00000002', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, '{"n":2}', '363379742f80b51bdb9206579af7754911543079b9399cb3fc315fb199f476e8', 'dd591d9d7949d0cfb728d5929fb49698d4fe0cdcdbd08bbf69b4e215f7a590f3', '0000000000000000000000000000000000000000000000000000000000000000', 'f8559916020c0b49137c207230fd6dabfdadb4cf1ce29652c79251fb06c7c2f7');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (3, 'exec_20261121_020944_00000003', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, '{"n":3}', '215ddd5567ca2590efd4ea109b4e56cbe591e2676fbf54a9262692c539166da6', 'a84ebd5107b8d74b975a6f4f72984150ecdb70b45d6f00cf6598619df6cab3b6', '0000000000000000000000000000000000000000000000000000000000000000', '2d5dfdb9aa01f28b3396bfa5147a6dc1cbd9f0ce0ddf5c22aff0d2fa3f11c7ad');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (4, 'exec_20261121_020944_00000004', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, '{"n":4}', 'f3e0792e105e2bfe88e7b3bab5097b93a59a8c5b239fe3c6f87a8d0f72ab9032', '8b288be0cc30aa6fb99899c755c6f773ae51008450223a940e5fcf1482170158', '0000000000000000000000000000000000000000000000000000000000000000', '72638c325af4f74b1887deaa8ebbae4e7f68f8a3fd9e14c8b4e3c837761fd430');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (5, 'exec_20261121_020944_00000001', 2, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_move', NULL, '{"n":1}', '2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd', '76f617731f1a639b561bb7a3aa8544b8cf91e0fd8195c87f7db81541f5d4dc6c', '66bc2291fd2ce0a53ee418190f8fe88203724dcf4ff2bd6f61825d4212c2f91b', '2d93ed7eb83e9302b6920071b952b9ffe142a580146107d902359dd90249c3bb');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (6, 'exec_20261121_020944_00000001', 3, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'exec', NULL, '{"n":1}', '2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd', 'c483d83396317b5799c63b3b56bca91123e46fda774332e6e4846a155626ba8b', '76f617731f1a639b561bb7a3aa8544b8cf91e0fd8195c87f7db81541f5d4dc6c', 'bf2b4187b1f794018961c92006a10ae72d5ef43f1061cf736b282cbefd33ad42');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (7, 'exec_20261121_020944_00000002', 2, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_move', NULL, '{"n":2}', '363379742f80b51bdb9206579af7754911543079b9399cb3fc315fb199f476e8', '87d2dbe403cede89f6a3e4f79f18b82038efad9221657680801e9ffcea1fdd14', 'dd591d9d7949d0cfb728d5929fb49698d4fe0cdcdbd08bbf69b4e215f7a590f3', 'e51514c7e65e2800d71776d4ea93cc0f4972ed0207a9f6a84100aa4cd66ef39a');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (8, 'exec_20261121_020944_00000002', 3, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'exec', NULL, '{"n":2}', '363379742f80b51bdb9206579af7754911543079b9399cb3fc315fb199f476e8', '9f26f3e844c35c9eb08e993d166504ffcfc63a7e8c3702192e172a1c522f0c91', '87d2dbe403cede89f6a3e4f79f18b82038efad9221657680801e9ffcea1fdd14', '01f5863139a5c4260e4818a9528fd8622ce94a1e6ae95912ab45855fdc7a627e');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (9, 'exec_20261121_020944_00000002', 4, 1795226984050, 'running', 'terminated', 'user_action', 'user:alice', 'session_end', NULL, '{"n":2}', '363379742f80b51bdb9206579af7754911543079b9399cb3fc315fb199f476e8', '1a0b7c89bf9db89cb90d3fc4a48d82f9c5bbbd4a1b463d02335caa9953612bbb', '9f26f3e844c35c9eb08e993d166504ffcfc63a7e8c3702192e172a1c522f0c91', '2941ff71474cc0225b2ddfc0d8a0b4779b0cff794a49072f955988ab80b78012');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (10, 'exec_20261121_020944_00000003', 2, 1795226984050, 'ready', 'failed', 'user_action', 'user:alice', 'session_end', NULL, '{"n":3}', '215ddd5567ca2590efd4ea109b4e56cbe591e2676fbf54a9262692c539166da6', '2fada566cffe6b451900e1c6299dfe04b48fd047d416fc6a07b349ca735d39a1', 'a84ebd5107b8d74b975a6f4f72984150ecdb70b45d6f00cf6598619df6cab3b6', 'b6e26659c5bd192b62695fbfefb327f6978eeb9922f5a71e0e1dcbf084b36c2f');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (11, 'exec_20261121_020944_00000004', 2, 1795226984050, 'ready', 'terminated', 'user_action', 'user:alice', 'session_end', NULL, '{"n":4}', 'f3e0792e105e2bfe88e7b3bab5097b93a59a8c5b239fe3c6f87a8d0f72ab9032', '62edd5f0d0e23be5e738c674c0bce08224e456963fc96cbc37fb580d253a0554', '8b288be0cc30aa6fb99899c755c6f773ae51008450223a940e5fcf1482170158', 'cc61aab20a65f29cf159b0e64907f3235b5a00a60f5290532604d033621ba9b6');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (12, 'exec_20261121_020944_00000004', 3, 1795226984050, 'terminated', 'terminated', 'user_action', 'user:alice', 'session_delete', NULL, '{"n":4}', 'f3e0792e105e2bfe88e7b3bab5097b93a59a8c5b239fe3c6f87a8d0f72ab9032', '8a9ad569a47152bc2202731590fc69dfc56b78e97a646c7cecbbe01800d4ec3e', '62edd5f0d0e23be5e738c674c0bce08224e456963fc96cbc37fb580d253a0554', 'de9b2b6e70a658b17758811d7c7d5a770a53d652415e1220177ac6ccda7eaf70');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (13, '', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'template_put', NULL, '{"n":0}', 'f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0', '970e3d422c0c921400dabc7556124ac2c9cae3874c28583af079c6c2a4df3780', '0000000000000000000000000000000000000000000000000000000000000000', '0bc19e5acb9ef9e4220de9ca2fd207bed11e18b9f8c477e6476f9a7c486fe9ce');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (14, '', 2, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'key_create', NULL, '{"n":0}', 'f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0', '25d680b629c6694cfc56bc1dcdb2bec1010b92d3d682bb1cc8259b3347d82a7d', '970e3d422c0c921400dabc7556124ac2c9cae3874c28583af079c6c2a4df3780', 'dda5a5d5f0c257d3f02975fa8911f1496f2665acdead5227e4de239a03a5348e');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (15, '', 3, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'key_create', NULL, '{"n":0}', 'f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0', 'ef77f22fa37b5f4252ff72929c197547c4081faac10c9bc100e39d57e4e1b48b', '25d680b629c6694cfc56bc1dcdb2bec1010b92d3d682bb1cc8259b3347d82a7d', '761e234d7903558b2f5ef1aa3672b13876aefc23cff615315f49d2b82de3a6ee');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (16, '', 4, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'key_revoke', NULL, '{"n":0}', 'f3013f933b9fb80ab6d995e7ad9da36f683837ba1d81e950c943d40111eac2f0', 'b70b7641a1558832a6462ffef517e6409d0a94e667aab691e68874f5747a1663', 'ef77f22fa37b5f4252ff72929c197547c4081faac10c9bc100e39d57e4e1b48b', '4b70bce5af5eabc1c3973d7a7949e6176375ec29b5d4896ee9d8caf96ce9a76c');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (17, 'exec_20261121_020944_00000005', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, '{"n":5}', '11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa', '20d2ebd86ac13bce27d9389cf245d520525fbc4b95003002f42f25d7e239181d', '0000000000000000000000000000000000000000000000000000000000000000', '586b11f554c8373187f67e1f3b479de7e54536d9cdb540ea979bc38c4f6b2f20');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (18, 'exec_20261121_020944_00000005', 2, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_move', NULL, '{"n":5}', '11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa', 'df3c98333d513d16c62b786cd1edf369cce2cb3c6bd9aae5fd58d0bb34a22c72', '20d2ebd86ac13bce27d9389cf245d520525fbc4b95003002f42f25d7e239181d', 'a8d52722c0819f0d81b5bf08e46ad3996f7a1d901032338273b063c4dbcc96a8');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (19, 'exec_20261121_020944_00000005', 3, 1795226984050, 'running', 'running', 'user_action', 'user:alice', 'exec', NULL, '{"n":5}', '11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa', 'd4d83db6328f51dc08a0ceaa235d8518916a2accf3071f5aa1418569e3bb2146', 'df3c98333d513d16c62b786cd1edf369cce2cb3c6bd9aae5fd58d0bb34a22c72', '9b060057c53b4d2e7e263dc4d4aa9ceb661bb5bed3a26afe01356d233f0d3614');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (20, 'exec_20261121_020944_00000005', 4, 1795226984050, 'running', 'terminated', 'user_action', 'user:alice', 'session_end', NULL, '{"n":5}', '11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa', '21371cc24a88e22d96a00035465be32d2cc7eac2d5c63cdc33ec30c4c3e7a688', 'd4d83db6328f51dc08a0ceaa235d8518916a2accf3071f5aa1418569e3bb2146', '99b5abfe7009654c392ddb816e1db8616e7b7c7818faeb2a3b2d89362f00014c');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (21, 'exec_20261121_020944_00000005', 5, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'archive', NULL, '{"n":5}', '11d0a8967009cbcdf468f09e5b09e73e7119b528c35a0e0b23f2ae052786b8fa', '6ae2f50ddedc4a80e7fab9f56b365d29de59339912d284e60410766c336179f1', '21371cc24a88e22d96a00035465be32d2cc7eac2d5c63cdc33ec30c4c3e7a688', 'caa180232dfa998c69c67e20d8e9028c53e5ca17476d947b4c51c8e217b64621');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (22, 'exec_20261121_020944_00000006', 1, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_create', NULL, NULL, 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', 'e39d7ac3d82a60538976ad23d4900e77eebf7a6cd23578ae1bd163dd6838c91f', '0000000000000000000000000000000000000000000000000000000000000000', '337799a2a28bfb244cdf86adb0b627ecfb431e579002cd8efa57ceed826213dc');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (23, 'exec_20261121_020944_00000006', 2, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'session_move', NULL, NULL, 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', 'b1cc5165239b5d398e53d62c2eea0b1748261c5e458b7ac091de650c921f7d83', 'e39d7ac3d82a60538976ad23d4900e77eebf7a6cd23578ae1bd163dd6838c91f', 'c727b24a4cdf40b78645c0160b4c96f8a0bb49a655d50ba667834e1be8e07552');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (24, 'exec_20261121_020944_00000006', 3, 1795226984050, 'running', 'running', 'user_action', 'user:alice', 'exec', NULL, NULL, 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', '2107a1f3596749d14effee66fa7c8f1642116ec36e22adc69bfaf8a8a9e3df2d', 'b1cc5165239b5d398e53d62c2eea0b1748261c5e458b7ac091de650c921f7d83', 'c06e83b6324b33789cd0a2f0288a53938de69fb3b8168cfff5a1a22dfe36b94a');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (25, 'exec_20261121_020944_00000006', 4, 1795226984050, 'running', 'terminated', 'user_action', 'user:alice', 'session_end', NULL, NULL, 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', '0dbb19f3c2ee31bc51e36544fa246d13ba779ca59c495076e6f69866eb0847d5', '2107a1f3596749d14effee66fa7c8f1642116ec36e22adc69bfaf8a8a9e3df2d', '72909d166eca630640064d5db3c53e518a502a093d61c6587164f983cd7c01ea');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (26, 'exec_20261121_020944_00000006', 5, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'archive', NULL, '{"n":6}', 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', 'e0903f8f11cd0c4462258f8b316d73dbdec9ec05de87fa3df8728b96f0e03d21', '0dbb19f3c2ee31bc51e36544fa246d13ba779ca59c495076e6f69866eb0847d5', '461596edf2ec3b2b4c06b22379394f768f71e5f0331610d1ff49c8493055aaf3');
INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, line_hash) VALUES (27, 'exec_20261121_020944_00000006', 6, 1795226984050, NULL, NULL, 'user_action', 'user:alice', 'purge', NULL, '{"n":6}', 'ade0bebbcdd770e830221a9ea5ea03aa975a54ba2b90f7077c3b5e0754faf3c8', '945452c3a4ec46b6e7e4dcbc18d82f101b5754dc76c41e1445879ce3bd9331f1', 'e0903f8f11cd0c4462258f8b316d73dbdec9ec05de87fa3df8728b96f0e03d21', '5a76ccd20e3bd6cdd654e70c499d0c97583dd41e96eb62dc7bb1444ad86aaa89');
INSERT INTO audit_heads (position, line_hash, at, signature) VALUES (16, '4b70bce5af5eabc1c3973d7a7949e6176375ec29b5d4896ee9d8caf96ce9a76c', 1795226985050, '3870e3d674edf5981f58e1f3935d852cd3182154a4084b9b2f02e156ccaa1e551b40298d662f61e485cdf3f55dfd9c86a0dd573703cd4d89b709e44c3cad7500');
INSERT INTO audit_heads (position, line_hash, at, signature) VALUES (17, '586b11f554c8373187f67e1f3b479de7e54536d9cdb540ea979bc38c4f6b2f20', 1795226985050, 'a71a5c05582dc15900656d535e8a5502a8f0449cc68f9ead6ad3f1d8e70ceef4b33fcccc697576b2dbd6414f263f24ce18fa6bcf56e213b003776fc79a10e60f');
INSERT INTO audit_heads (position, line_hash, at, signature) VALUES (27, '5a76ccd20e3bd6cdd654e70c499d0c97583dd41e96eb62dc7bb1444ad86aaa89', 1795226985050, '94a45d70860ae323a53b2f80b6a1883d92c010ff23425c2745c20f174b47937acc9039a1a1574ee5e20b9de8963f29f242feefd016a105847935a42cddd0cb06');
INSERT INTO probe (one, times) VALUES (1, 0);
INSERT INTO archives (session_id, archived_at, purged_at, execs, content, content_digest, content_bytes, output_digest, output_bytes, settled) VALUES ('exec_20261121_020944_00000005', 1795226984150, NULL, 1, x'0128b52ffd0458ad0900c6d53e205069aa034f0b8eaa29b4cced9f49dc36a06654d5cd09f49bed4cf0c9cc4ca80133003500360092e5cd8fa316d76fbb72d04bc60bbe41e076c05171b3200e7ae9208c57f4fdd84d06f76639cf2471bd5bdc57f4abd7ae6677256c2590d53749329f3eb29c370fb87e11d80de23c63ffa05fc76e90fec1d62bf263e4e68761089c74144a0819d2498af182d5834d0690f58471b5bc39c1711c00c35081a3e90ca05440a86048275ddf4b2df7e2c86ebedc8d7bb5944ef584ec5adfb04c56817edf841131080b6259d0dc18795bde2c47bfac50c0b8923b2171655bc2189993a4192807614fa8965deb643da4c99ba3e7854c755bb0611f2b7a76011400492b00e61a70a2215c41b6d43b48b690bced63b672080d3104b70871bcc1437329810f23744811b72e04c28a58515782938c459850bef59175', 'f5a283b8ef3adcd6ab8d01024cc044aa88dfa885a36e7e4a4e914ba1686af36e', 573, NULL, NULL, 0);
INSERT INTO archives (session_id, archived_at, purged_at, execs, content, content_digest, content_bytes, output_digest, output_bytes, settled) VALUES ('exec_20261121_020944_00000006', 1795226984150, 1795226984250, 1, NULL, 'cbbb78b9d0e6e40d3719089acd777fb01a9e603e0b5cc94f33ebf2f12c0de250', 573, NULL, NULL, 0);
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (1, 'alice', 'key-1', 'session_create', 'd', 'exec_20261121_020944_00000001', NULL, 1795226984050, NULL, NULL);
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (2, 'alice', 'key-2', 'session_create', 'd', 'exec_20261121_020944_00000002', NULL, 1795226984050, 201, x'7b226964223a22657865635f32303236313132315f3032303934345f3030303030303032227d');
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (3, 'alice', 'key-3', 'session_create', 'd', 'exec_20261121_020944_00000003', NULL, 1795226984050, NULL, NULL);
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (4, 'alice', 'key-4', 'session_create', 'd', 'exec_20261121_020944_00000004', NULL, 1795226984050, NULL, NULL);
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (5, 'alice', 'key-5', 'session_create', 'd', 'exec_20261121_020944_00000005', NULL, 1795226984050, 201, x'7b7d');
INSERT INTO idempotency_keys (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body) VALUES (6, 'alice', 'key-6', 'session_create', 'd', 'exec_20261121_020944_00000006', NULL, 1795226984050, 201, x'');
CREATE INDEX sessions_by_age ON sessions (created_at, id);
CREATE INDEX sessions_by_owner ON sessions (owner, created_at, id);
CREATE INDEX sessions_due ON sessions (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX sessions_unfinished ON sessions (id)
  WHERE terminated_at IS NULL OR environment_state NOT IN ('none', 'gone');
CREATE TRIGGER sessions_unique BEFORE INSERT ON sessions
  WHEN EXISTS (SELECT 1 FROM sessions WHERE id = NEW.id OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this session is there already'); END;
CREATE TRIGGER sessions_stay BEFORE DELETE ON sessions
  BEGIN SELECT RAISE(ABORT, 'sessions stay'); END;
CREATE TRIGGER sessions_origin BEFORE UPDATE OF n, id, owner, template, created_at ON sessions
  WHEN NEW.n IS NOT OLD.n OR NEW.id IS NOT OLD.id OR NEW.owner IS NOT OLD.owner OR NEW.template IS NOT OLD.template
    OR NEW.created_at IS NOT OLD.created_at
  BEGIN SELECT RAISE(ABORT, 'where a session comes from does not change'); END;
CREATE TRIGGER sessions_transition BEFORE UPDATE OF state ON sessions
  WHEN NEW.state IS NOT OLD.state AND NOT CASE OLD.state
    WHEN 'created' THEN NEW.state IN ('initializing', 'terminated', 'failed')
    WHEN 'initializing' THEN NEW.state IN ('ready', 'terminated', 'failed')
    WHEN 'ready' THEN NEW.state IN ('running', 'paused', 'terminated', 'failed')
    WHEN 'running' THEN NEW.state IN ('paused', 'terminated', 'failed')
    WHEN 'paused' THEN NEW.state IN ('ready', 'running', 'terminated', 'failed')
    ELSE FALSE END
  BEGIN SELECT RAISE(ABORT, 'no such transition'); END;
CREATE TRIGGER session_documents_unique BEFORE INSERT ON session_documents
  WHEN EXISTS (SELECT 1 FROM session_documents WHERE session_id = NEW.session_id)
  BEGIN SELECT RAISE(ABORT, 'this document is there already'); END;
CREATE INDEX execs_by_session ON execs (session_id, created_at);
CREATE INDEX execs_unsettled ON execs (session_id) WHERE ended_at IS NULL;
CREATE TRIGGER execs_unique BEFORE INSERT ON execs
  WHEN EXISTS (SELECT 1 FROM execs WHERE id = NEW.id OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this exec is there already'); END;
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
CREATE TRIGGER templates_unique BEFORE INSERT ON templates
  WHEN EXISTS (SELECT 1 FROM templates WHERE name = NEW.name AND version = NEW.version)
  BEGIN SELECT RAISE(ABORT, 'this version is there already'); END;
CREATE TRIGGER templates_stay BEFORE DELETE ON templates
  BEGIN SELECT RAISE(ABORT, 'versions stay'); END;
CREATE TRIGGER templates_version BEFORE UPDATE ON templates
  WHEN NEW.name IS NOT OLD.name OR NEW.version IS NOT OLD.version OR NEW.record IS NOT OLD.record
    OR NEW.created_at IS NOT OLD.created_at OR (OLD.removed_at IS NOT NULL AND NEW.removed_at IS NOT OLD.removed_at)
  BEGIN SELECT RAISE(ABORT, 'a version does not change'); END;
CREATE UNIQUE INDEX audit_by_chain ON audit (chain, seq);
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
CREATE TRIGGER audit_heads_grow_at_their_end BEFORE INSERT ON audit_heads
  WHEN NEW.position <= (SELECT coalesce(max(position), 0) FROM audit_heads)
  BEGIN SELECT RAISE(ABORT, 'the heads grow at their end'); END;
CREATE TRIGGER audit_heads_stay BEFORE DELETE ON audit_heads
  BEGIN SELECT RAISE(ABORT, 'the heads stay'); END;
CREATE TRIGGER audit_heads_are_not_rewritten BEFORE UPDATE ON audit_heads
  BEGIN SELECT RAISE(ABORT, 'the heads are not rewritten'); END;
CREATE TRIGGER sessions_lease_token_is_remembered BEFORE INSERT ON sessions
  WHEN NEW.lease_token > NEW.lease_token_last
  BEGIN SELECT RAISE(ABORT, 'a lease token is remembered'); END;
CREATE TRIGGER sessions_lease_token_grows BEFORE UPDATE OF lease_token, lease_token_last ON sessions
  WHEN NEW.lease_token_last < OLD.lease_token_last OR NEW.lease_token > NEW.lease_token_last
    OR (NEW.lease_token IS NOT OLD.lease_token AND NEW.lease_token <= OLD.lease_token_last)
  BEGIN SELECT RAISE(ABORT, 'a lease token only grows'); END;
CREATE TRIGGER sessions_lease_expiry_grows BEFORE UPDATE OF lease_expires_at ON sessions
  WHEN NEW.lease_token IS OLD.lease_token AND NEW.lease_expires_at < OLD.lease_expires_at
  BEGIN SELECT RAISE(ABORT, 'the expiry of a lease does not move back'); END;
CREATE TRIGGER sessions_lease_ends_with_them BEFORE UPDATE OF lease_token, lease_expires_at, lease_heartbeat_at ON sessions
  WHEN OLD.terminated_at IS NOT NULL AND (NEW.lease_token IS NOT OLD.lease_token
    OR NEW.lease_expires_at IS NOT OLD.lease_expires_at OR NEW.lease_heartbeat_at IS NOT OLD.lease_heartbeat_at)
  BEGIN SELECT RAISE(ABORT, 'the lease of an ended session stays as it was'); END;
CREATE INDEX archives_unsettled ON archives (session_id) WHERE settled = 0;
CREATE INDEX sessions_archivable ON sessions (terminated_at, id)
  WHERE archived_at IS NULL AND deleted_at IS NULL AND terminated_at IS NOT NULL AND coalesce(environment_state, 'none') IN ('none', 'gone');
CREATE INDEX sessions_archivable_deleted ON sessions (deleted_at, id)
  WHERE archived_at IS NULL AND deleted_at IS NOT NULL AND coalesce(environment_state, 'none') IN ('none', 'gone');
CREATE INDEX sessions_purgeable ON sessions (terminated_at, id) WHERE archived_at IS NOT NULL AND purged_at IS NULL;
CREATE INDEX sessions_by_state ON sessions (state) WHERE deleted_at IS NULL AND archived_at IS NULL;
CREATE TRIGGER archives_are_of_the_ended BEFORE INSERT ON archives
  WHEN NEW.purged_at IS NOT NULL OR EXISTS (SELECT 1 FROM archives WHERE session_id = NEW.session_id)
    OR NOT EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session_id AND terminated_at IS NOT NULL AND archived_at IS NULL)
    OR EXISTS (SELECT 1 FROM execs WHERE session_id = NEW.session_id AND ended_at IS NULL)
  BEGIN SELECT RAISE(ABORT, 'an ended session is archived once'); END;
CREATE TRIGGER archives_stay BEFORE DELETE ON archives
  BEGIN SELECT RAISE(ABORT, 'archives stay'); END;
CREATE TRIGGER archives_are_purged_once BEFORE UPDATE ON archives
  WHEN NEW.session_id IS NOT OLD.session_id OR NEW.archived_at IS NOT OLD.archived_at OR NEW.execs IS NOT OLD.execs
    OR NEW.content_digest IS NOT OLD.content_digest OR NEW.content_bytes IS NOT OLD.content_bytes
    OR NEW.output_digest IS NOT OLD.output_digest OR NEW.output_bytes IS NOT OLD.output_bytes
    OR (OLD.purged_at IS NOT NULL AND NEW.purged_at IS NOT OLD.purged_at)
    OR (NEW.content IS NOT OLD.content AND NEW.content IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'what was archived does not change'); END;
CREATE TRIGGER sessions_are_archived_by_their_archive BEFORE UPDATE OF archived_at, purged_at ON sessions
  WHEN (NEW.archived_at IS NOT OLD.archived_at OR NEW.purged_at IS NOT OLD.purged_at)
    AND (OLD.purged_at IS NOT NULL
      OR NEW.archived_at IS NOT (SELECT archived_at FROM archives WHERE session_id = OLD.id)
      OR NEW.purged_at IS NOT (SELECT purged_at FROM archives WHERE session_id = OLD.id))
  BEGIN SELECT RAISE(ABORT, 'a session is archived and purged once, by its archive'); END;
CREATE TRIGGER sessions_are_not_born_archived BEFORE INSERT ON sessions
  WHEN NEW.archived_at IS NOT NULL OR NEW.purged_at IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'a session is archived and purged once, by its archive'); END;
CREATE TRIGGER sessions_archived_stay_as_they_are BEFORE UPDATE OF deleted_at ON sessions
  WHEN OLD.archived_at IS NOT NULL AND NEW.deleted_at IS NOT OLD.deleted_at
  BEGIN SELECT RAISE(ABORT, 'an archived session is neither deleted nor brought back'); END;
CREATE TRIGGER sessions_words BEFORE UPDATE OF metadata, variables ON sessions
  WHEN (NEW.metadata IS NOT OLD.metadata OR NEW.variables IS NOT OLD.variables)
    AND NOT (OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL AND NEW.metadata = '{}' AND NEW.variables = '{}')
  BEGIN SELECT RAISE(ABORT, 'the words about a session go into its archive, and change in no other way'); END;
CREATE TRIGGER sessions_end_once BEFORE UPDATE OF state, terminated_at, termination_reason, termination_detail, failure ON sessions
  WHEN OLD.terminated_at IS NOT NULL AND (NEW.terminated_at IS NOT OLD.terminated_at
    OR NEW.termination_reason IS NOT OLD.termination_reason OR NEW.failure IS NOT OLD.failure OR NEW.state IS NOT OLD.state
    OR (NEW.termination_detail IS NOT OLD.termination_detail
      AND NOT (NEW.termination_detail IS NULL AND OLD.purged_at IS NULL AND NEW.purged_at IS NOT NULL)))
  BEGIN SELECT RAISE(ABORT, 'the end of a session is written once'); END;
CREATE TRIGGER execs_stay BEFORE DELETE ON execs
  WHEN NOT EXISTS (SELECT 1 FROM sessions WHERE id = OLD.session_id AND archived_at IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'execs stay until their session is archived'); END;
CREATE TRIGGER execs_are_not_of_the_archived BEFORE INSERT ON execs
  WHEN EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session_id AND archived_at IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'nothing is added to an archived session'); END;
CREATE TRIGGER session_documents_stay BEFORE DELETE ON session_documents
  WHEN NOT EXISTS (SELECT 1 FROM sessions WHERE id = OLD.session_id AND archived_at IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'the document stays until its session is archived'); END;
CREATE TRIGGER session_documents_are_not_of_the_archived BEFORE INSERT ON session_documents
  WHEN EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session_id AND archived_at IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'nothing is added to an archived session'); END;
CREATE TRIGGER previews_are_not_of_the_archived BEFORE INSERT ON previews
  WHEN EXISTS (SELECT 1 FROM sessions WHERE id = NEW.session_id AND archived_at IS NOT NULL)
  BEGIN SELECT RAISE(ABORT, 'nothing is added to an archived session'); END;
CREATE INDEX idempotency_keys_by_session ON idempotency_keys (session_id);
CREATE TRIGGER idempotency_keys_unique BEFORE INSERT ON idempotency_keys
  WHEN EXISTS (SELECT 1 FROM idempotency_keys WHERE (user = NEW.user AND key = NEW.key) OR n = NEW.n)
  BEGIN SELECT RAISE(ABORT, 'this key is claimed already'); END;
CREATE TRIGGER idempotency_keys_name_what_is_there BEFORE INSERT ON idempotency_keys
  WHEN NEW.exec_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM execs WHERE id = NEW.exec_id)
  BEGIN SELECT RAISE(ABORT, 'a key is claimed for an exec that is there'); END;
CREATE TRIGGER idempotency_keys_stay BEFORE DELETE ON idempotency_keys
  BEGIN SELECT RAISE(ABORT, 'claimed keys stay'); END;
CREATE TRIGGER idempotency_keys_answered_once BEFORE UPDATE ON idempotency_keys
  WHEN NEW.n IS NOT OLD.n OR NEW.user IS NOT OLD.user OR NEW.key IS NOT OLD.key
    OR NEW.operation IS NOT OLD.operation OR NEW.digest IS NOT OLD.digest OR NEW.session_id IS NOT OLD.session_id
    OR NEW.exec_id IS NOT OLD.exec_id OR NEW.claimed_at IS NOT OLD.claimed_at
    OR (OLD.status IS NOT NULL AND (NEW.status IS NOT OLD.status OR (NEW.body IS NOT OLD.body
      AND NOT (NEW.body IS x'' AND EXISTS (SELECT 1 FROM sessions WHERE id = OLD.session_id AND purged_at IS NOT NULL)))))
  BEGIN SELECT RAISE(ABORT, 'the answer to a request is written once'); END;
