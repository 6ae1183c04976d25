//! Execs: run and waited for, followed, in the background; listed, read, fed, signalled (EN-3, EN-4).

use crate::asked::{Answered, Asked, Empty, json_answer, kept, no_content, ok, replayed, with_generation};
use crate::body;
use crate::session::INCLUDE_DELETED;
use crate::sse;
use crate::wire::Listed;
use crate::wire::exec::{ExecBody, ExecOutputEvent, ExecStarted};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use std::pin::pin;
use tenure_engine::{Answer, Call, EngineError, ExecEvent, ExecFollow, ExecRequest, OutputRead, OutputStream};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

const OFFSET: HeaderName = HeaderName::from_static("tenure-offset");
const NEXT_OFFSET: HeaderName = HeaderName::from_static("tenure-next-offset");
const RUNNING: HeaderName = HeaderName::from_static("tenure-running");
const DROPPED: HeaderName = HeaderName::from_static("tenure-dropped");

pub(crate) async fn run(mut asked: Asked) -> Answered {
    let sent = asked.json::<ExecRequest>(Empty::Refused).await?;
    let call = Call { idempotency: sent.idempotency, ..asked.call()? };
    let (engine, id) = (&asked.door.engine, asked.id());
    let (stream, background) = sent.body.as_ref().map_or((false, false), |body| (body.stream, body.background));
    if stream {
        let follow = engine.exec_stream(&call, id, sent.body).await?;
        return Ok(sse::answer(&asked, followed(follow)));
    }
    if background {
        return match engine.exec_start(&call, id, sent.body).await? {
            Answer::Replayed(answer) => Ok(replayed(answer)),
            Answer::Fresh { result, keep } => {
                let body = result.as_ref().map(|record| (StatusCode::ACCEPTED, ExecBody::new(record)));
                let answer = kept(body.map_err(Clone::clone), keep).await?;
                Ok(with_generation(answer, result.map_or(0, |record| record.generation)))
            }
        };
    }
    match engine.exec_run(&call, id, sent.body).await? {
        Answer::Replayed(answer) => Ok(replayed(answer)),
        Answer::Fresh { result, keep } => {
            let body = result.as_ref().map(|result| (StatusCode::OK, ExecBody::with_output(result)));
            let answer = kept(body.map_err(Clone::clone), keep).await?;
            Ok(with_generation(answer, result.map_or(0, |result| result.record.generation)))
        }
    }
}

/// The events of a program that is followed.
fn followed(follow: ExecFollow) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(Some(follow), |follow| async move {
        let mut follow = follow?;
        match follow.next().await {
            Ok(Some(event)) => Some((written(&event), Some(follow))),
            Ok(None) => None,
            Err(error) => Some((sse::failed(error), None)),
        }
    })
}

fn written(event: &ExecEvent) -> Bytes {
    match event {
        ExecEvent::Started(record) => {
            sse::event("started", &ExecStarted { exec_id: &record.id, generation: record.generation })
        }
        ExecEvent::Stdout(bytes) => sse::event("stdout", &ExecOutputEvent::new(bytes)),
        ExecEvent::Stderr(bytes) => sse::event("stderr", &ExecOutputEvent::new(bytes)),
        ExecEvent::Exit(record) => sse::event("exit", &ExecBody::new(record)),
    }
}

pub(crate) async fn list(asked: Asked) -> Answered {
    let known = [INCLUDE_DELETED, "limit", "cursor"];
    let call = asked.reading(&known).await?;
    let page = match asked.query(&known).and_then(|query| query.page()) {
        Ok(page) => page,
        Err(error) => return Err(asked.misread(error).await),
    };
    let page = asked.door.engine.exec_list(&call, asked.id(), page).await?;
    ok(&Listed { items: page.items.iter().map(ExecBody::new).collect(), next_cursor: page.next_cursor })
}

pub(crate) async fn get(asked: Asked) -> Answered {
    let call = asked.reading(&[INCLUDE_DELETED]).await?;
    let result = asked.door.engine.exec_get(&call, asked.id(), asked.name("exec_id")).await?;
    Ok(with_generation(ok(&ExecBody::with_output(&result))?, result.record.generation))
}

pub(crate) async fn output(asked: Asked) -> Answered {
    let known = [INCLUDE_DELETED, "stream", "offset"];
    let call = asked.reading(&known).await?;
    let wanted = asked.query(&known).and_then(|query| {
        let stream = match query.text("stream") {
            None | Some("stdout") => OutputStream::Stdout,
            Some("stderr") => OutputStream::Stderr,
            Some(_) => {
                return Err(EngineError::BadRequest("the parameter \"stream\" is stdout or stderr".to_owned()));
            }
        };
        Ok((stream, query.parsed::<u64>("offset")?.unwrap_or(0)))
    });
    let (stream, offset) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    let exec = asked.name("exec_id");
    Ok(output_answer(asked.door.engine.exec_output(&call, asked.id(), exec, stream, offset).await?))
}

fn output_answer(read: OutputRead) -> Response {
    let OutputRead { file, offset, bytes, running, dropped } = read;
    let mut response = Response::new(Body::from_stream(ReaderStream::new(file.take(bytes))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(OFFSET, HeaderValue::from(offset));
    headers.insert(NEXT_OFFSET, HeaderValue::from(offset + bytes));
    headers.insert(RUNNING, HeaderValue::from_static(if running { "true" } else { "false" }));
    headers.insert(DROPPED, HeaderValue::from(dropped));
    response
}

pub(crate) async fn stdin(mut asked: Asked) -> Answered {
    let eof = match asked.query(&["eof"]).and_then(|query| query.flag("eof")) {
        Ok(eof) => eof,
        Err(error) => return Err(asked.misread(error).await),
    };
    let sent = asked.take_body();
    let input = asked.door.engine.exec_stdin(&asked.call()?, asked.id(), asked.name("exec_id")).await?;
    let mut chunks = pin!(body::streamed(sent));
    while let Some(chunk) = chunks.next().await {
        input.write(&chunk.map_err(EngineError::from)?).await?;
    }
    if eof {
        input.end().await?;
    }
    Ok(no_content())
}

pub(crate) async fn kill(mut asked: Asked) -> Answered {
    let sent = asked.json(Empty::Refused).await?;
    let exec = asked.name("exec_id");
    let record = asked.door.engine.exec_kill(&asked.call()?, asked.id(), exec, sent.body).await?;
    Ok(with_generation(json_answer(StatusCode::OK, &ExecBody::new(&record))?, record.generation))
}
