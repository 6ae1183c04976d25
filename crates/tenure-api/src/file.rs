//! Files of a session: read and written as streams, looked at, listed, deleted (EN-5).

use crate::asked::{Answered, Asked, no_content, ok, with_generation};
use crate::body;
use crate::problem::Problem;
use crate::wire::file::{DirBody, StatBody};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use tenure_engine::{EngineError, FileContent};

/// The path of a request; empty where it has none, which the engine refuses in its turn.
async fn path(asked: &Asked) -> Result<String, Problem> {
    let path = asked.query(&["path"]).map(|query| query.text("path").unwrap_or_default().to_owned());
    match path {
        Ok(path) => Ok(path),
        Err(error) => Err(asked.misread(error).await),
    }
}

pub(crate) async fn stat(asked: Asked) -> Answered {
    let path = path(&asked).await?;
    let found = asked.door.engine.file_stat(&asked.call()?, asked.id(), &path).await?;
    Ok(with_generation(ok(&StatBody::new(&found))?, found.generation))
}

pub(crate) async fn dirs(asked: Asked) -> Answered {
    let path = path(&asked).await?;
    let listing = asked.door.engine.dir_list(&asked.call()?, asked.id(), &path).await?;
    Ok(with_generation(ok(&DirBody::new(&listing))?, listing.generation))
}

pub(crate) async fn read(asked: Asked) -> Answered {
    let wanted = asked.query(&["path", "offset", "length"]).and_then(|query| {
        let path = query.text("path").unwrap_or_default().to_owned();
        Ok((path, query.parsed::<u64>("offset")?.unwrap_or(0), query.parsed::<u64>("length")?))
    });
    let (path, offset, length) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    let content = asked.door.engine.file_read(&asked.call()?, asked.id(), &path, (offset, length)).await?;
    Ok(file_answer(content, &path, offset, length))
}

fn file_answer(content: FileContent, path: &str, offset: u64, length: Option<u64>) -> Response {
    let generation = content.generation;
    // What the kernel makes up as it is read, as below /proc, has no size before.
    let left = (content.stat.size > 0).then(|| {
        let rest = content.stat.size.saturating_sub(offset);
        length.map_or(rest, |length| length.min(rest))
    });
    let mut response = Response::new(Body::from_stream(chunks(content, left)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_DISPOSITION, attachment(path));
    if let Some(left) = left {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(left));
    }
    with_generation(response, generation)
}

/// The bytes of a file as they come; no more than were announced, should it have grown meanwhile.
fn chunks(content: FileContent, left: Option<u64>) -> impl Stream<Item = Result<Bytes, EngineError>> + Send {
    stream::unfold(Some((content, left)), |state| async move {
        let (mut content, left) = state?;
        if left == Some(0) {
            return None;
        }
        match content.next().await {
            Ok(Some(mut chunk)) => {
                let left = left.map(|left| {
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left - chunk.len() as u64
                });
                Some((Ok(chunk), Some((content, left))))
            }
            Ok(None) => None,
            // The answer has begun: it breaks off, so that nobody takes it for the whole file.
            Err(error) => Some((Err(error), None)),
        }
    })
}

/// A browser saves it, and never shows it: it is a stranger's.
fn attachment(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or_default();
    let holds = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let text = if holds { format!("attachment; filename=\"{name}\"") } else { "attachment".to_owned() };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

pub(crate) async fn write(mut asked: Asked) -> Answered {
    let path = path(&asked).await?;
    let sent = asked.take_body();
    asked.door.engine.file_write(&asked.call()?, asked.id(), &path, body::streamed(sent)).await?;
    Ok(no_content())
}

pub(crate) async fn delete(asked: Asked) -> Answered {
    let wanted = asked
        .query(&["path", "recursive"])
        .and_then(|query| Ok((query.text("path").unwrap_or_default().to_owned(), query.flag("recursive")?)));
    let (path, recursive) = match wanted {
        Ok(wanted) => wanted,
        Err(error) => return Err(asked.misread(error).await),
    };
    asked.door.engine.file_delete(&asked.call()?, asked.id(), &path, recursive).await?;
    Ok(no_content())
}
