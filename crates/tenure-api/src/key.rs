//! API keys: made, listed, revoked, given another secret (AU-1).

use crate::asked::{Answered, Asked, Empty, json_answer, ok};
use crate::wire::Listed;
use crate::wire::key::KeyBody;
use http::StatusCode;

pub(crate) async fn create(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Refused).await?;
    let made = asked.door.engine.key_create(&asked.call()?, sent.body).await?;
    json_answer(StatusCode::CREATED, &KeyBody::new(&made.record, Some(&made.secret)))
}

pub(crate) async fn list(asked: Asked) -> Answered {
    let keys = asked.door.engine.key_list(&asked.call()?).await?;
    ok(&Listed { items: keys.iter().map(|key| KeyBody::new(key, None)).collect(), next_cursor: None })
}

pub(crate) async fn revoke(asked: Asked) -> Answered {
    let key = asked.door.engine.key_revoke(&asked.call()?, asked.name("key_id")).await?;
    asked.door.tickets.revoke_credential(key.id.as_str());
    ok(&KeyBody::new(&key, None))
}

pub(crate) async fn rotate(asked: Asked) -> Answered {
    let made = asked.door.engine.key_rotate(&asked.call()?, asked.name("key_id")).await?;
    asked.door.tickets.revoke_credential(made.record.id.as_str());
    ok(&KeyBody::new(&made.record, Some(&made.secret)))
}
