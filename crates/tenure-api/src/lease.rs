//! Leases: taken, renewed, given up (LS-1, LS-2, LS-7).

use crate::asked::{Answered, Asked, Empty, ok};
use crate::wire::lease::HeartbeatBody;
use crate::wire::session::SessionBody;

pub(crate) async fn heartbeat(asked: Asked) -> Answered {
    ok(&HeartbeatBody::new(&asked.door.engine.lease_heartbeat(&asked.call()?, asked.id()).await?))
}

pub(crate) async fn take(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Object).await?;
    ok(&SessionBody::new(&asked.door.engine.lease_take(&asked.call()?, asked.id(), sent.body).await?))
}

pub(crate) async fn release(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.lease_release(&asked.call()?, asked.id()).await?))
}
