//! The environment of a session, for administrators: looked at, made, ended.

use crate::asked::{Answered, Asked, json_answer, ok, with_generation};
use crate::wire::environment::EnvironmentViewBody;
use crate::wire::session::SessionBody;
use http::StatusCode;

pub(crate) async fn get(asked: Asked) -> Answered {
    let view = asked.door.engine.environment_get(&asked.call()?, asked.id()).await?;
    let answer = ok(&EnvironmentViewBody::new(&view))?;
    Ok(match &view.environment {
        Some(environment) => with_generation(answer, environment.generation),
        None => answer,
    })
}

pub(crate) async fn create(asked: Asked) -> Answered {
    let view = asked.door.engine.environment_create(&asked.call()?, asked.id()).await?;
    json_answer(StatusCode::CREATED, &SessionBody::new(&view))
}

pub(crate) async fn delete(asked: Asked) -> Answered {
    ok(&SessionBody::new(&asked.door.engine.environment_delete(&asked.call()?, asked.id()).await?))
}
