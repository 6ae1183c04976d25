-- Version 2: the highest lease token that a session ever gave, whatever became of that lease, so that no token is given twice (LS-7).

ALTER TABLE sessions ADD COLUMN lease_token_last INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET lease_token_last = lease_token WHERE lease_token IS NOT NULL;

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
