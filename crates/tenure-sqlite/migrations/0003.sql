-- Version 3: retention (TR-6). What a session leaves behind is moved, compressed, into one archive, one way; later its content goes and the tombstone
-- stays: reason, times, digests. Previous guards let exactly that through, and nothing else.

ALTER TABLE sessions ADD COLUMN archived_at INTEGER;
ALTER TABLE sessions ADD COLUMN purged_at INTEGER;

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

CREATE INDEX archives_unsettled ON archives (session_id) WHERE settled = 0;

-- What is due is found in the order in which it became due. The words are those of the queries, so that the indexes are used.
CREATE INDEX sessions_archivable ON sessions (terminated_at, id)
  WHERE archived_at IS NULL AND deleted_at IS NULL AND terminated_at IS NOT NULL AND coalesce(environment_state, 'none') IN ('none', 'gone');
CREATE INDEX sessions_archivable_deleted ON sessions (deleted_at, id)
  WHERE archived_at IS NULL AND deleted_at IS NOT NULL AND coalesce(environment_state, 'none') IN ('none', 'gone');
CREATE INDEX sessions_purgeable ON sessions (terminated_at, id) WHERE archived_at IS NOT NULL AND purged_at IS NULL;
-- The archived are not counted: their number only grows.
DROP INDEX sessions_by_state;
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

-- The end stays as it was; what its caller said about it goes with the content.
DROP TRIGGER sessions_end_once;
CREATE TRIGGER sessions_end_once BEFORE UPDATE OF state, terminated_at, termination_reason, termination_detail, failure ON sessions
  WHEN OLD.terminated_at IS NOT NULL AND (NEW.terminated_at IS NOT OLD.terminated_at
    OR NEW.termination_reason IS NOT OLD.termination_reason OR NEW.failure IS NOT OLD.failure OR NEW.state IS NOT OLD.state
    OR (NEW.termination_detail IS NOT OLD.termination_detail
      AND NOT (NEW.termination_detail IS NULL AND OLD.purged_at IS NULL AND NEW.purged_at IS NOT NULL)))
  BEGIN SELECT RAISE(ABORT, 'the end of a session is written once'); END;

DROP TRIGGER execs_stay;
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

-- A claim outlives the exec that it names, which goes into the archive: the reference becomes a guard of the insert.
CREATE TABLE idempotency_keys_next (
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
INSERT INTO idempotency_keys_next (n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body)
  SELECT n, user, key, operation, digest, session_id, exec_id, claimed_at, status, body FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_next RENAME TO idempotency_keys;

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
