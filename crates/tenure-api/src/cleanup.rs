//! Clean-up by hand: whether a session is due for it, and a sweep (CL-1).

use crate::asked::{Answered, Asked, ok};
use crate::session::INCLUDE_DELETED;
use crate::wire::cleanup::{CheckBody, SweptBody};
use tenure_engine::Sweep;

pub(crate) async fn check(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED]).await?;
    let (session, check) = asked.door.engine.cleanup_check(&call, asked.id()).await?;
    ok(&CheckBody::new(&session, &check))
}

pub(crate) async fn sweep(asked: Asked) -> Answered {
    let dry_run = match asked.query(&["dry_run"]).and_then(|query| query.flag("dry_run")) {
        Ok(dry_run) => dry_run,
        Err(error) => return Err(asked.misread(error).await),
    };
    let sweep = if dry_run { Sweep::Dry } else { Sweep::Real };
    let swept = asked.door.engine.cleanup_sweep(&asked.call()?, sweep).await?;
    ok(&SweptBody::new(&swept, dry_run))
}
