//! A new session: everything of it appears together or not at all (LC-5).

use super::record::{self, with_mutable};
use crate::failure::Failure;
use crate::row::to_json;
use crate::writer::Writing;
use crate::{audit, idempotency};
use rusqlite::{ToSql, named_params, params};
use tenure_session::Session;
use tenure_store::{SessionCreate, SessionCreated};

/// Makes a session, its document, its claim and its first entry.
pub(crate) fn create(writing: &Writing<'_>, create: &SessionCreate) -> Result<SessionCreated, Failure> {
    if let Some(record) = idempotency::claimed(writing.sql, create.claim.as_ref())? {
        return Ok(SessionCreated::Claimed(record));
    }
    if record::get(writing.sql, &create.session.id)?.is_some() {
        return Ok(SessionCreated::IdTaken);
    }
    insert(writing, &create.session)?;
    let mut document =
        writing.sql.prepare_cached("INSERT INTO session_documents (session_id, document) VALUES (?1, ?2)")?;
    document.execute(params![create.session.id.as_str(), to_json(&create.state_document)?])?;
    idempotency::claim(writing, create.claim.as_ref())?;
    audit::append(writing, &create.entry)?;
    Ok(SessionCreated::Made)
}

fn insert(writing: &Writing<'_>, session: &Session) -> Result<(), Failure> {
    let mut insert = writing.sql.prepare_cached(
        "INSERT INTO sessions (id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at,
           last_activity_at, last_activity, lease_token, lease_token_last, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at,
           termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver,
           environment_state, metadata, variables, deadline_at)
         VALUES (:id, :owner, :template, :state, :resumes_to, :created_at, :updated_at, :limits, :enforced, :lifetime_ends_at,
           :last_activity_at, :last_activity, :lease_token, :lease_token_last, :lease_ttl_ms, :lease_interval_ms, :lease_expires_at, :lease_heartbeat_at,
           :terminated_at, :termination_reason, :termination_detail, :failure, :deleted_at, :environment_id, :environment_generation,
           :environment_driver, :environment_state, :metadata, :variables, :deadline_at)",
    )?;
    let origin: &[(&str, &dyn ToSql)] = named_params! {
        ":owner": session.owner.as_str(),
        ":template": session.template,
        ":created_at": session.created_at.as_ms(),
        ":limits": to_json(&session.limits)?,
        ":metadata": to_json(&session.metadata)?,
        ":variables": to_json(&session.variables)?,
    };
    with_mutable(session, |values| Ok(insert.execute([values, origin].concat().as_slice())?))?;
    Ok(())
}
