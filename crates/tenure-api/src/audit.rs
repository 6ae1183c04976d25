//! The audit of everything: listed, and checked (TR-4, TR-5).

use crate::asked::{Answered, Asked, ok};
use crate::wire::Listed;
use crate::wire::audit::{AuditBody, VerificationBody};
use tenure_engine::{AuditFilter, EngineError};

const LIST: [&str; 5] = ["session_id", "action", "actor", "limit", "cursor"];

pub(crate) async fn list(asked: Asked) -> Answered {
    let wanted = asked.query(&LIST).and_then(|query| {
        let filter = AuditFilter {
            session_id: query.text("session_id").map(str::parse).transpose()?,
            action: query.text("action").map(str::to_owned),
            actor: query.text("actor").map(str::to_owned),
        };
        Ok((filter, query.page()?))
    });
    let (filter, page) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    let page = asked.door.engine.audit_list(&asked.call()?, filter, page).await?;
    ok(&Listed { items: page.items.iter().map(AuditBody::new).collect(), next_cursor: page.next_cursor })
}

pub(crate) async fn verify(asked: Asked) -> Answered {
    let (proof, call) = (asked.door.audit.clone(), asked.call()?);
    let heads = tokio::task::spawn_blocking(move || (proof.heads)()).await;
    let heads = heads.map_err(|error| EngineError::Internal(error.to_string()))?;
    let heads = heads.map_err(|chain| EngineError::Unavailable { what: "the signed heads cannot be read", chain })?;
    let key = asked.door.audit.key;
    let found = asked.door.engine.audit_verify(&call, heads, key).await?;
    ok(&VerificationBody::new(&found, key.is_some()))
}
