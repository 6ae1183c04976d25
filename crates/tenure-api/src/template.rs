//! Templates: made of what the server has, or of an archive that is uploaded; listed, read, removed (TP-1).

use crate::asked::{Answered, Asked, Empty, json_answer, no_content, ok};
use crate::body;
use crate::problem::Problem;
use crate::wire::Listed;
use crate::wire::template::TemplateBody;
use axum::body::Body;
use futures_util::StreamExt;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use std::path::{Path, PathBuf};
use std::pin::pin;
use tenure_engine::{EngineError, TemplateRequest};
use tenure_session::{Operation, may_without_session};
use tokio::io::AsyncWriteExt;

pub(crate) async fn create(mut asked: Asked) -> Answered {
    let is_archive = asked.parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.starts_with(b"application/octet-stream") || kind.starts_with(b"application/x-tar")
    });
    if is_archive {
        return create_from_archive(asked).await;
    }
    let sent = asked.json::<TemplateRequest>(Empty::Refused).await?;
    let template = asked.door.engine.template_create(&asked.call()?, sent.body, None).await?;
    json_answer(StatusCode::CREATED, &TemplateBody::new(&template))
}

/// The archive is the body; everything else stands in the query: `name`, and whatever else as JSON in `request`.
async fn create_from_archive(mut asked: Asked) -> Answered {
    let wanted = asked.query(&["name", "request"]).and_then(|query| {
        let mut request: TemplateRequest = match query.text("request") {
            Some(text) => body::json(text.as_bytes())?,
            None => TemplateRequest::default(),
        };
        if let Some(name) = query.text("name") {
            name.clone_into(&mut request.name);
        }
        Ok(request)
    });
    // Nobody else's archive is worth the disk it takes.
    may_without_session(&asked.credential.caller, Operation::TemplateCreate).map_err(|_| EngineError::Denied)?;
    let request = match wanted {
        Ok(request) => request,
        Err(error) => return Err(asked.misread(error).await),
    };
    let sent = asked.take_body();
    let upload = Upload::receive(&asked.door.upload_dir, sent).await?;
    let path = Some(upload.path.clone());
    let template = asked.door.engine.template_create(&asked.call()?, Ok(request), path).await?;
    json_answer(StatusCode::CREATED, &TemplateBody::new(&template))
}

/// An archive that was uploaded; removed when nobody needs it any more.
struct Upload {
    path: PathBuf,
}

impl Upload {
    async fn receive(dir: &Path, sent: Body) -> Result<Upload, Problem> {
        let unavailable = |error: std::io::Error| EngineError::Unavailable {
            what: "the archive cannot be kept now",
            chain: error.to_string(),
        };
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| EngineError::Unavailable {
            what: "the host has no random numbers",
            chain: error.to_string(),
        })?;
        let upload = Upload { path: dir.join(format!("upload-{}", hex::encode(name))) };
        let mut file = tokio::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&upload.path).await.map_err(unavailable)?;
        let mut chunks = pin!(body::streamed(sent));
        while let Some(chunk) = chunks.next().await {
            file.write_all(&chunk.map_err(EngineError::from)?).await.map_err(unavailable)?;
        }
        file.flush().await.map_err(unavailable)?;
        Ok(upload)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "an uploaded archive was not removed");
        }
    }
}

pub(crate) async fn list(asked: Asked) -> Answered {
    let templates = asked.door.engine.template_list(&asked.call()?).await?;
    ok(&Listed { items: templates.iter().map(TemplateBody::new).collect(), next_cursor: None })
}

pub(crate) async fn get(asked: Asked) -> Answered {
    ok(&TemplateBody::new(&asked.door.engine.template_get(&asked.call()?, asked.name("name")).await?))
}

pub(crate) async fn delete(asked: Asked) -> Answered {
    asked.door.engine.template_delete(&asked.call()?, asked.name("name")).await?;
    Ok(no_content())
}
