//! Access, authorized or denied by hand: an operator's tool (EN-8).

use crate::asked::{Answered, Asked, Empty, no_content, ok};
use crate::wire::access::{AuthorizeRequest, DenyRequest, GrantedBody};

pub(crate) async fn authorize(mut asked: Asked) -> Answered {
    let sent = asked.json::<AuthorizeRequest>(Empty::Refused).await?;
    let request = match sent.body {
        Ok(request) => request,
        Err(error) => return Err(asked.misread(error).await),
    };
    let call = asked.call()?;
    let granted = asked.door.engine.access_authorize(&call, &request.session_id, &request.user_id).await?;
    ok(&GrantedBody::new(&granted))
}

pub(crate) async fn deny(mut asked: Asked) -> Answered {
    let sent = asked.json::<DenyRequest>(Empty::Refused).await?;
    let request = match sent.body {
        Ok(request) => request,
        Err(error) => return Err(asked.misread(error).await),
    };
    let (session, user) = (request.session_id.as_deref(), request.user_id.as_deref());
    asked.door.engine.access_deny(&asked.call()?, session, user, &request.reason).await?;
    Ok(no_content())
}
