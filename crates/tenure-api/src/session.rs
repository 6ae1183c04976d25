//! Sessions: made, listed, read, followed, paused, resumed, ended, deleted, given more time.

use crate::asked::{Answered, Asked, Empty, kept, ok, replayed};
use crate::sse;
use crate::wire::Listed;
use crate::wire::audit::AuditBody;
use crate::wire::explanation::ExplanationBody;
use crate::wire::session::{SessionBody, StatusBody};
use futures_util::stream;
use http::StatusCode;
use tenure_engine::{Answer, EngineError, SessionFilter, SessionView};
use tenure_session::UserId;

/// The parameter of every read that finds deleted sessions, too.
pub(crate) const INCLUDE_DELETED: &str = "include_deleted";

impl Asked {
    /// The call of a read that takes no other parameter than whether deleted sessions are read, too.
    pub(crate) async fn reading(&self, known: &[&str]) -> Result<tenure_engine::Call, crate::problem::Problem> {
        let flag = self.query(known).and_then(|query| query.flag(INCLUDE_DELETED));
        match flag {
            Ok(include_deleted) => Ok(tenure_engine::Call { include_deleted, ..self.call()? }),
            Err(error) => Err(self.misread(error).await),
        }
    }
}

pub(crate) async fn create(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Object).await?;
    let call = tenure_engine::Call { idempotency: sent.idempotency, ..asked.call()? };
    match asked.door.engine.session_create(&call, sent.body).await? {
        Answer::Replayed(answer) => Ok(replayed(answer)),
        Answer::Fresh { result, keep } => {
            let view = result.map(|session| {
                // Whoever makes a session holds its lease.
                let view = asked.door.engine.session_view(session);
                SessionView { shows_lease: true, ..view }
            });
            kept(view.as_ref().map(|view| (StatusCode::CREATED, SessionBody::new(view))).map_err(Clone::clone), keep)
                .await
        }
    }
}

const LIST: [&str; 8] = ["state", "phase", "owner", "template", "metadata*", INCLUDE_DELETED, "limit", "cursor"];

pub(crate) async fn list(asked: Asked) -> Answered {
    let wanted = asked.query(&LIST).and_then(|query| {
        let metadata = query.all("metadata").map(|word| {
            let word = word.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
            word.ok_or_else(|| EngineError::BadRequest("the parameter \"metadata\" is written key:value".to_owned()))
        });
        let filter = SessionFilter {
            owner: query.parsed::<UserId>("owner")?,
            state: query.parsed("state")?,
            phase: query.parsed("phase")?,
            template: query.text("template").map(str::to_owned),
            metadata: metadata.collect::<Result<_, _>>()?,
            include_deleted: query.flag(INCLUDE_DELETED)?,
        };
        Ok((filter, query.page()?))
    });
    let (filter, page) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    let page = asked.door.engine.session_list(&asked.call()?, filter, page).await?;
    ok(&Listed { items: page.items.iter().map(SessionBody::new).collect(), next_cursor: page.next_cursor })
}

pub(crate) async fn get(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED]).await?;
    ok(&SessionBody::new(&asked.door.engine.session_get(&call, asked.id()).await?))
}

pub(crate) async fn status(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED]).await?;
    ok(&StatusBody::new(&asked.door.engine.session_status(&call, asked.id()).await?))
}

pub(crate) async fn explain(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED]).await?;
    let (session, explanation) = asked.door.engine.session_explain(&call, asked.id()).await?;
    ok(&ExplanationBody::new(&session, &explanation))
}

pub(crate) async fn audit(asked: Asked) -> Answered {
    let known = [INCLUDE_DELETED, "limit", "cursor"];
    let call = asked.reading(&known).await?;
    let page = match asked.query(&known).and_then(|query| query.page()) {
        Ok(page) => page,
        Err(error) => return Err(asked.misread(error).await),
    };
    let page = asked.door.engine.session_audit(&call, asked.id(), page).await?;
    ok(&Listed { items: page.items.iter().map(AuditBody::new).collect(), next_cursor: page.next_cursor })
}

pub(crate) async fn events(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED, "ticket"]).await?;
    let events = asked.door.engine.session_events(&call, asked.id()).await?;
    let told = stream::unfold(Some(events), |events| async move {
        let mut events = events?;
        match events.next().await {
            Ok(Some(view)) => Some((sse::event("status", &StatusBody::new(&view)), Some(events))),
            Ok(None) => None,
            Err(error) => Some((sse::failed(error), None)),
        }
    });
    Ok(sse::answer(&asked, told))
}

pub(crate) async fn pause(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.session_pause(&asked.call()?, asked.id()).await?))
}

pub(crate) async fn resume(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.session_resume(&asked.call()?, asked.id()).await?))
}

pub(crate) async fn terminate(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Object).await?;
    ok(&SessionBody::new(&asked.door.engine.session_terminate(&asked.call()?, asked.id(), sent.body).await?))
}

pub(crate) async fn delete(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.session_delete(&asked.call()?, asked.id()).await?))
}

pub(crate) async fn undelete(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.session_undelete(&asked.call()?, asked.id()).await?))
}

pub(crate) async fn extend(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Refused).await?;
    ok(&SessionBody::new(&asked.door.engine.session_extend(&asked.call()?, asked.id(), sent.body).await?))
}

pub(crate) async fn transition(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Refused).await?;
    ok(&SessionBody::new(&asked.door.engine.session_transition(&asked.call()?, asked.id(), sent.body).await?))
}
